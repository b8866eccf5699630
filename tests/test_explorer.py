"""A figure with controls holds every state, draws what the text says, and stands in the page."""

import json

import numpy as np
import polars as pl
import pytest
from bs4 import BeautifulSoup

from nbsrc import explorer_plots
from nbsrc.detection.budget import found_by_alarms
from nbsrc.explorer import Axis, Control, Explorer, Line, Mark, Panel, State
from nbsrc.gradient_flow import KINDS
from nbsrc.plots import two_digits
from nbsrc.stacks import INITIALIZATIONS, main, stack_experiment, stack_once
from nbsrc.support.results import read_result

AXIS = Axis("x", (0, 1), {0: "0"})
ONE = {
    "controls": [
        Control("method", ["a", "b"]),
        Control("alarms", ["1 </script>", "2"], slider=True),
    ],
    "panels": [Panel("", AXIS, AXIS)],
    "lines": [Line(0, [0, 1], [0.12345, None], "#000000")],
    "states": {
        (i, j): State([0], f"{i} and {j}", [Mark(0, 0.5, 0.25)]) for i in (0, 1) for j in (0, 1)
    },
    "start": (1, 0),
}  # fmt: skip


def test_all_states_are_in_the_page_beside_labelled_controls():
    form = BeautifulSoup(Explorer(**ONE)._repr_html_(), "html.parser").form
    assert form.has_attr("hidden")  # until the script draws
    data = json.loads(form.script.string)
    assert data["states"]["1,0"] == [[0], "1 and 0", [[0, 0.5, 0.25]]] and len(data["states"]) == 4
    assert data["lines"] == [[0, [0, 1], [0.123, None], "#000000"]]
    labels = form.find_all("label")
    assert [label.text for label in labels] == ["method", "alarms"]
    choice, slider = (form.find(id=label["for"]) for label in labels)
    assert choice.select_one("option[selected]").text == "b"
    assert json.loads(slider["data-names"]) == ["1 </script>", "2"]
    assert form.p["aria-live"] == "polite"


def test_a_state_that_is_missing_or_draws_nothing_is_refused():
    with pytest.raises(ValueError, match=r"none for \{\(1, 1\)\}"):
        Explorer(**ONE | {"states": {k: v for k, v in ONE["states"].items() if k != (1, 1)}})
    with pytest.raises(ValueError, match=r"state \(0, 0\) names a line"):
        Explorer(**ONE | {"states": ONE["states"] | {(0, 0): State([1], "")}})


def test_every_stack_of_the_figure_is_trained_and_measured():
    table = stack_experiment(depths=(3, 2), seeds=(0, 1), epochs=1)
    assert table["depth"].to_list() == [2] * 16 + [3] * 16
    names = table.filter(depth=3, seed=1).select("initialization", "kind").rows()
    assert names == [(i, k) for i in INITIALIZATIONS for k in KINDS]
    assert {len(gradients) for gradients in table.filter(depth=3)["gradients"]} == {3}
    figure = explorer_plots.explore_stacks(table, start=(3, INITIALIZATIONS[1]))
    assert figure.start == (1, 1, 0, 0) and len(figure.data["states"]) == 16
    words = figure.data["states"]["1,0,1,0"][1]
    assert words.startswith("Plain + BatchNorm, 3 layers, PyTorch's initialization")
    rows = table.filter(depth=3, initialization=INITIALIZATIONS[0], kind=KINDS[1]).to_dicts()
    lines = [figure.data["lines"][at] for at in figure.data["states"]["1,0,1,0"][0]]
    for row, flow, training in zip(rows, lines[::2], lines[1::2], strict=True):  # both seeds
        assert flow[2] == pytest.approx(row["gradients"], rel=0.01)
        assert training[2] == pytest.approx(row["losses"], rel=0.01)
    ends = [row["losses"][-1] for row in rows]
    told = tuple(map(two_digits, (sum(ends) / 2, min(ends), max(ends))))
    assert words.endswith(
        "In epoch 1 the training loss is {} nats ({} to {} over 2 seeds).".format(*told)
    )


def test_he_initialization_is_what_it_says_and_training_starts_from_it():
    row = stack_once(6, "He et al.'s", "plain", seed=0, epochs=2)
    default = stack_once(6, "PyTorch's", "plain", seed=0, epochs=2)
    assert row["gradients"][0] > 20 * default["gradients"][0]
    assert row["losses"][-1] < row["losses"][0] and len(row["losses"]) == 3


def test_the_command_stores_the_figures_stacks_with_what_made_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nbsrc.stacks.DEPTHS", (2,))
    out = tmp_path / "stacks.json"
    assert main(["--seeds", "2", "--out", str(out)]) == 0
    table, about = read_result(out)
    assert table.height == 2 * 2 * len(KINDS) and table.filter(seed=1)["losses"].list.len()[0] == 5
    assert about["command"].endswith(f"--seeds 2 --out {out}") and "digits" in about["data"]
    assert main(["--seeds", "0", "--out", str(out)]) == 2
    assert main(["--out", str(tmp_path / "none" / "a.json")]) == 2
    zero, nowhere = capsys.readouterr().err.splitlines()
    assert "give 1 or more" in zero and "there is no folder" in nowhere


def test_an_overflow_is_said_in_words():
    table = pl.DataFrame(
        [
            {
                "depth": 2,
                "initialization": "i",
                "kind": k,
                "seed": seed,
                "gradients": [1.0, 2.0],
                "losses": [9.0, None if seed else 8.0],
            }
            for k in KINDS
            for seed in (0, 1)
        ]
    )
    figure = explorer_plots.explore_stacks(table, start=(2, "i"))
    assert figure.data["states"]["0,0,0,0"][1].endswith(
        "0.50 times the last layer's. The loss overflows."
    )


def test_more_false_alarms_find_more_and_the_figure_says_how_many():
    rng = np.random.default_rng(0)
    normal = rng.random(4000) > 0.02
    scores = np.round(rng.normal(size=4000) + 2 * ~normal, 1)  # with ties
    found = found_by_alarms(scores, normal, days=4, alarms=(1, 10, 100))
    for rate, number, share in found.rows():
        limit = sorted(scores[normal], reverse=True)[int(4 * rate)]
        assert number == sum(scores[~normal] > limit) and share == number / sum(~normal)
        assert sum(scores[normal] > limit) <= 4 * rate
    few, kinds = np.array([4.0, 3.0, 2.0, 1.0]), np.array([False, True, False, True])
    assert found_by_alarms(few, kinds, days=1, alarms=(0, 1, 9))["found"].to_list() == [1, 2, 2]
    table = found.with_columns(method=pl.lit("one"), color=pl.lit("#000000"))
    events = int(sum(~normal))
    figure = explorer_plots.explore_alarms(table, events=events)
    lines, words, marks = figure.data["states"]["0,2"]
    number = found["found"][2]
    assert (
        words
        == f"one at 100 false alarms a day: {number} of the {events} events of incidents are found."
    )
    assert marks == [[0, 100.0, pytest.approx(100 * found["share"][2], rel=0.01)]] and lines == [0]
    for share, step in ((0.4, 10), (0.61, 20), (1.0, 20)):  # round numbers at the ticks
        shown = explorer_plots.explore_alarms(table.with_columns(share=share), events=events)
        _, (_, top), ticks, _ = shown.data["panels"][0][2]
        assert [value for value, _ in ticks] == list(range(0, int(top) + 1, step))
    for same in (0, 4000):
        with pytest.raises(ValueError, match=f"however: {same} of 4000"):
            found_by_alarms(scores, np.full(4000, same > 0), days=1, alarms=(1,))
