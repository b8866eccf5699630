"""A reader of the figures on sequences sees every run where it belongs."""

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest

from nbsrc import sequence_plots
from nbsrc.palette import BLUE, PURPLE, VERMILION


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def panels():
    return [ax for part in plt.gcf().subfigs or [plt.gcf()] for ax in part.axes]


def dots(ax):
    """The positions of all markers of a panel, rounded."""
    return {
        (round(float(x), 3), round(float(y), 3))
        for line in ax.lines
        if line.get_marker() not in ("None", None, "")
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }


def test_a_method_has_one_colour_in_all_figures():
    colors = [
        sequence_plots.color_of(name) for name in ("Residual TCN", "Sets of x", "6-gram model")
    ]
    assert colors == [BLUE, PURPLE, VERMILION]


def test_found_incidents_stand_in_the_panel_of_their_budget():
    table = pl.DataFrame({
        "method": ["a", "a", "b", "b"], "budget": [5, 10, 5, 10], "found": [1, 2, 3, 4],
        "incidents": [9] * 4,
    })  # fmt: skip
    sequence_plots.plot_found(table, (5, 10))
    five, ten = panels()
    assert dots(five) == {(1, 1), (3, 0)} and dots(ten) == {(2, 1), (4, 0)}
    assert [label.get_text() for label in five.get_yticklabels()] == ["b", "a"]


def test_each_seed_of_a_trace_method_is_a_dot():
    table = pl.DataFrame({
        "method": ["a", "b", "b"], "roc_auc": [0.5, 0.7, 0.8], "low": [0.4] * 3, "high": [0.9] * 3
    })  # fmt: skip
    sequence_plots.plot_traces({"one": table})
    assert dots(panels()[0]) == {(0.5, 1), (0.7, 0), (0.8, 0)}


def test_depth_shows_every_seed_and_their_median():
    table = pl.DataFrame({
        "depth": [1, 1, 1] * 2, "kind": ["plain"] * 3 + ["residual"] * 3,
        "train_error": [0.1, 0.2, 0.9, 0.0, 0.1, 0.2], "test_error": [0.3] * 6,
    })  # fmt: skip
    sequence_plots.plot_depth(table)
    train, _ = panels()
    assert {(1, 0.1), (1, 0.2), (1, 0.9), (1, 0.0)} <= dots(train)
    medians = [line.get_ydata()[0] for line in train.lines if line.get_linestyle() == "-"]
    assert medians == pytest.approx([0.2, 0.1])


def test_what_is_not_read_is_not_drawn():
    sequence_plots.plot_reach({"net": np.array([0.0, 0.0, 0.5, 1.0])})
    (ax,) = panels()
    assert ax.lines[0].get_xdata().tolist() == [1, 0]


def test_published_figures_stand_in_a_panel_of_their_own():
    ours = pl.DataFrame({"method": ["Lengths"], "roc_auc": [0.8]})
    sequence_plots.plot_beside(ours, {"length": 0.5}, {"Lengths": "length"})
    left, right = panels()
    assert dots(left) == {(0.8, 0)} and dots(right) == {(0.5, 0)}
    assert "ROC AUC" in left.get_xlabel() and "F1" in right.get_xlabel()


def test_a_clock_has_its_place_on_the_logarithmic_axis():
    pairs = pl.DataFrame({
        "gap": [10.0, 20.0, 30.0], "deviation": [0.0, 0.1, 0.2], "multicast": [True, False, False],
        "labels": ["", "", "CC"],
    })  # fmt: skip
    sequence_plots.plot_regular(pairs, "CC")
    assert dots(panels()[0]) == {(10, 0), (20, 0.1), (30, 0.2)}  # rounded
