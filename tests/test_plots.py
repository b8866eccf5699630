"""A figure that a reader can't read is lost: every one has marks, labelled axes, and colours that
are told apart."""

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest
import torch

from nbsrc import event_plots, plots, stored_plots
from nbsrc.detection.methods import METHODS
from nbsrc.gradient_flow import KINDS, gradient_flow

DEGRADATION = pl.DataFrame(
    [
        {
            "depth": depth,
            "kind": kind,
            "seed": seed,
            "train_error": 0.01 * depth,
            "test_error": 0.02 * depth,
        }
        for depth in (8, 20)
        for kind in ("plain", "residual")
        for seed in (0, 1)
    ]
)
LESIONS = pl.DataFrame(
    [
        {"depth": depth, "kind": kind, "lesion": lesion, "number": number, "error": number / 10}
        for depth, kind in ((20, "plain"), (20, "residual"), (56, "residual"))
        for lesion, number in (("none", 0), ("one out", 1), ("one out", 2), ("several out", 2))
    ]
)
HISTORY = [
    {
        "epoch": i,
        "training_loss": 1 / i,
        "test_loss": 2 / i,
        "training_accuracy": 0.5,
        "test_accuracy": 0.4,
    }
    for i in (1, 2, 3)
]
PHOTOGRAPHS = pl.DataFrame(
    [
        {
            "model": model,
            "seed": seed,
            "epoch": epoch,
            "train_error": error / epoch,
            "test_error": error,
        }
        for model, seed, epochs, error in (
            ("plain20", 0, 2, 0.6),
            ("plain20", 1, 2, 0.4),
            ("resnet56", 0, 1, 0.8),
        )
        for epoch in range(1, epochs + 1)
    ]
)
LABELS, LOGITS = torch.tensor([0, 1, 2, 2]), torch.eye(3)[[0, 1, 2, 0]] * 4
NAMES = ["cat", "dog", "owl"]
PUBLISHED = {
    "adult": [(0.8, 0.01), (0.9, 0.01), None, (0.9, 0.01), None],
    "year": [(9.0, 0.1), (8.0, 0.1), (7.0, 0.1), (8.5, 0.1), (8.6, 0.1)],
}
DESCRIBED = pl.DataFrame(
    {
        "decision": ["kept", "kept", "dropped"],
        "cardinality": [5, None, 3],
        "missing": [0.0, 0.5, 0.1],
    }
)
BYTES = pl.Series("traffic.bytes", [1, 10, None, 1000])
COSTS = pl.DataFrame(
    {
        "model": ["ResNet", "ResNet", "FT-Transformer"],
        "batch": [8, 8, 8],
        "features": [16, 32, 16],
        "seconds": [0.1, 0.2, 0.3],
    }
)
EPOCHS = [
    {"epoch": i, "lr": 0.1, "train_loss": 1 / i, "validation_loss": 20 / i} for i in (1, 2, 3)
]
LENGTHS = pl.DataFrame({"epochs": [2, 2, 8], "seed": [0, 1, 0], "validation_loss": [9.0, 8.0, 5.0]})
FOUND = pl.DataFrame(
    [
        {"scenario": scenario, "method": method, "roc_auc": auc + 0.05 * seed}
        for scenario, auc in (("all", 0.7), ("beaconing", 0.5), ("ransomware", 0.8))
        for method in ("Surprise", "Rarity")
        for seed in (0, 1)
    ]
)
SETS = pl.DataFrame(
    [
        {"set": name, "method": method, "seed": seed, "average_precision": ap + 0.1 * seed}
        for name, ap in (("wine", 0.6), ("glass", 0.2))
        for method in ("Surprise", "Rarity")
        for seed in (0, 1)
        if (name, method) != ("wine", "Rarity")
    ]
)
SHOWN = {name: METHODS[name] for name in ("Surprise", "Rarity")}
FIGURES = {
    "degradation": lambda: plots.plot_degradation(DEGRADATION),
    "gradient flow": lambda: plots.plot_gradient_flow(
        gradient_flow(depths=(3, 4), seeds=(0,), device="cpu")
    ),
    "gradients in training": lambda: plots.plot_gradient_flow(
        gradient_flow(depths=(3, 4), seeds=(0, 1), device="cpu").rename({"norm": "gradient"}),
        titles=["before", "after"],
        value="gradient",
    ),
    "similarity": lambda: plots.plot_similarity(DEGRADATION.rename({"train_error": "cosine"})),
    "lesions": lambda: plots.plot_lesions(LESIONS),
    "learning curves": lambda: plots.plot_learning_curves(HISTORY),
    "confusion": lambda: plots.plot_confusion(LABELS, LOGITS.argmax(1), NAMES),
    "published": lambda: event_plots.plot_published(PUBLISHED, ["year"]),
    "encoded": lambda: event_plots.plot_encoded(DESCRIBED, BYTES, np.array([-1.0, 0.0, 0.0, 1.0])),
    "rarity": lambda: event_plots.plot_rarity(
        np.array([0.1, 0.01, 0.2]),
        pl.Series([None, "beaconing", None]),
        np.array([True, False, True]),
        {"beaconing": np.array([True, False, False])},
    ),
    "costs": lambda: event_plots.plot_costs(COSTS),
    "lengths": lambda: event_plots.plot_lengths(LENGTHS),
    "pretraining": lambda: event_plots.plot_pretraining(EPOCHS),
    "map": lambda: event_plots.plot_map(
        np.eye(4, 2), pl.Series(["a", "b", "a", "b"]), np.array([False, False, True, False])
    ),
    "scenarios": lambda: event_plots.plot_scenarios(FOUND, SHOWN),
    "sets": lambda: event_plots.plot_sets(SETS, SHOWN),
    "photographs": lambda: stored_plots.plot_photographs(PHOTOGRAPHS),
}


@pytest.fixture(autouse=True)
def figures():
    plt.switch_backend("agg")
    plt.close("all")  # another test's
    plots.use_style()
    yield
    plt.close("all")


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_is_labelled_and_not_empty(name):
    FIGURES[name]()
    (number,) = plt.get_fignums()
    axes = plt.figure(number).axes
    for ax in axes:
        assert ax.lines or ax.patches or ax.collections or ax.images
        assert ax.get_xlabel()
        named_ticks = not any(
            label.get_text().replace("\N{MINUS SIGN}", "").isdigit()
            for label in ax.get_yticklabels()
        )
        assert ax.get_ylabel() or named_ticks
        # Nothing is drawn outside of what the axes show.
        (low, high), (bottom, top) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
        for line in ax.lines:
            x, y = (np.asarray(values, dtype=float) for values in line.get_data())
            if len(x) and line.get_transform() == ax.transData:
                assert low <= np.nanmin(x) and np.nanmax(x) <= high
                assert bottom <= np.nanmin(y) and np.nanmax(y) <= top


@pytest.mark.parametrize("name", FIGURES)
def test_no_label_is_cut_by_the_edge_of_its_panel(name):
    """The page shows each panel alone."""
    FIGURES[name]()
    figure = plt.gcf()
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    for part in figure.subfigs or [figure]:
        box = part.bbox.padded(1)
        for ax in part.axes:
            for label in (ax.title, ax.xaxis.label, ax.yaxis.label):
                if not label.get_text():
                    continue
                extent = label.get_window_extent(renderer)
                assert box.x0 <= extent.x0 and extent.x1 <= box.x1, label.get_text()
                assert box.y0 <= extent.y0 and extent.y1 <= box.y1, label.get_text()


def test_predictions_say_what_was_taken_for_what():
    plots.plot_predictions(torch.rand(4, 3, 8, 8), LABELS, LOGITS, NAMES, columns=2)
    titles = [ax.get_title().split("\n")[0] for ax in plt.gcf().axes]
    assert sorted(titles[:3]) == ["cat", "dog", "owl"]
    assert titles[3:] == ["", "cat, not owl", "", "", ""]


def test_maps_keep_their_signs():
    values = torch.tensor([[[2.0, -1.0], [0.0, 1.0]]])
    plots.plot_channels([("one", values), ("two", torch.cat([values, -values]))])
    axes = plt.gcf().axes
    assert [ax.get_title(loc="left") for ax in axes] == ["one", "", "two", ""]
    (shown,) = axes[0].images
    assert shown.get_clim() == (-2.0, 2.0) and not axes[1].images
    plt.close("all")
    plots.plot_convolution(values[0], values[0], values[0])
    assert [text.get_text() for text in plt.gcf().axes[1].texts] == ["2", "-1", "0", "1"]


def test_methods_keep_colours_that_are_told_apart():
    assert len({plots.COLORS[kind] for kind in KINDS}) == 4
    for looks in ({m.color for m in METHODS.values()}, {m.marker for m in METHODS.values()}):
        assert len(looks) == len(METHODS)
    assert set(plots.MARKERS) == set(plots.COLORS)


def test_scenarios_are_rows_in_the_order_of_the_first_method_and_all_is_left_out():
    event_plots.plot_scenarios(FOUND, SHOWN)
    assert [label.get_text() for label in plt.gca().get_yticklabels()] == [
        "beaconing",
        "ransomware",
    ]
    assert plt.gca().lines[0].get_xdata() == pytest.approx([0.525, 0.825])


def test_sets_are_rows_in_the_order_of_the_first_method_and_a_method_may_lack_one():
    event_plots.plot_sets(SETS, SHOWN)
    assert [label.get_text() for label in plt.gca().get_yticklabels()] == ["glass", "wine"]
    first, second = (line.get_xdata() for line in plt.gca().lines[:2])
    assert list(first) == pytest.approx([0.25, 0.65]) and list(second) == pytest.approx([0.25])


def test_a_table_has_headers_and_escapes_what_it_shows():
    table = plots.Table(
        pl.DataFrame({"error": [0.125, None], "a <b>": ["x & y", "z"]}), {"error": ".1%"}
    )
    page = table._repr_html_()
    assert '<th scope="col" style="text-align: right">error</th>' in page
    assert ">12.5%</td>" in page and "a &lt;b&gt;" in page and "x &amp; y" in page
    assert repr(table).splitlines()[1].split() == ["12.5%", "x", "&", "y"]


def test_a_sentence_in_a_table_has_a_column_that_is_not_narrow():
    page = plots.Table(pl.DataFrame({"why": ["rare " * 20, "rare"]}))._repr_html_()
    assert page.count("min-width") == 1 and 'min-width: 14rem">rare rare' in page


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="without rows; its columns: kind, error"):
        plots.Table(pl.DataFrame(schema={"kind": pl.String, "error": pl.Float64}))


def test_a_long_name_may_break_in_a_table_and_a_short_one_or_a_number_may_not():
    name = "process.parent_process.user.name"
    short = "device.hw_info.cpu_count"
    table = plots.Table(pl.DataFrame({"field": [name, short], "x": [0.5, 1.5]}))
    page = table._repr_html_()
    assert ">process.<wbr>parent_process.user.name<" in page
    assert f">{short}<" in page and ">0.5<" in page


def test_a_tree_shows_every_attribute_of_a_nested_event():
    event = {"time": 1, "actor": {"user": {"name": "<ana>"}}, "tags": ["a", {"b": None}]}
    page = event_plots.Tree(event, name="Event")._repr_html_()
    assert page.count("<details") == 5  # the event, actor, user, tags, and the object in it
    assert "&lt;ana&gt;" in page and "null" in page and "<ana>" not in page


def test_the_page_note_names_device_versions_and_seed():
    note = plots.page_note(0.0, device=torch.device("cpu"), seed=7)
    assert "CPU" in note and torch.__version__ in note and "seed 7" in note


def test_photographs_show_each_net_as_far_as_it_got_with_the_range_over_seeds():
    stored_plots.plot_photographs(PHOTOGRAPHS)
    training, test = plt.gcf().axes
    for ax, means, band in ((training, [0.5, 0.25], (0.2, 0.6)), (test, [0.5, 0.5], (0.4, 0.6))):
        plain, residual = ax.lines
        assert plain.get_label() == "plain, 20 layers" and list(plain.get_xdata()) == [1, 2]
        assert residual.get_label() == "residual, 56 layers" and list(residual.get_xdata()) == [1]
        assert list(plain.get_ydata()) == pytest.approx(means)
        heights = ax.collections[0].get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == pytest.approx(band)
        assert plain.get_color() != residual.get_color()
        assert plain.get_linestyle() != residual.get_linestyle()
