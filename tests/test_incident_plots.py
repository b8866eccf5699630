"""What Part 4 draws shows every method and every event that it is given."""

from datetime import UTC, datetime, timedelta

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest

from nbsrc import incident_plots


@pytest.fixture(autouse=True)
def figures():
    yield
    plt.close("all")


def test_each_method_has_its_line_at_all_budgets():
    found = pl.DataFrame(
        [(method, budget, 0.1 * i + budget / 100, 0.0, 1.0)
         for i, method in enumerate(incident_plots.LOOKS) for budget in (5, 10, 20)],
        schema=["method", "budget", "share", "low", "high"], orient="row",
    )  # fmt: skip
    incident_plots.plot_found(found, (5, 10, 20))
    lines = {line.get_label(): line.get_ydata() for line in plt.gca().lines}
    assert set(lines) == set(incident_plots.LOOKS)
    assert list(lines["rules"]) == pytest.approx([0.25, 0.3, 0.4])


def test_each_kind_has_a_row_with_every_method():
    found = pl.DataFrame(
        {"scenario": ["a_b", "c"] * 2, "method": ["rules"] * 2 + ["windows"] * 2,
         "share": [0.2, 0.9, 0.4, 1.0]}
    )  # fmt: skip
    incident_plots.plot_kinds(found)
    assert [label.get_text() for label in plt.gca().get_yticklabels()] == ["a b", "c"]
    shares = {line.get_label(): list(line.get_xdata()) for line in plt.gca().lines}
    assert shares == {"rules": [0.2, 0.9], "windows": [0.4, 1.0]}


def test_the_story_shows_every_event_and_when_the_alert_can_be_raised():
    at = datetime(2026, 3, 2, tzinfo=UTC)
    events = pl.DataFrame(
        {"time": [at + timedelta(minutes=i) for i in range(5)], "user": ["cy", "di"] * 2 + ["cy"],
         "failed": [True, True, False, False, True], "incident": [True, True, False, False, False]}
    )  # fmt: skip
    incident_plots.plot_story(events, lane="user", raised=at + timedelta(minutes=1))
    points = [line for line in plt.gca().lines if line.get_marker() in ("o", "x")]
    assert sum(len(line.get_xdata()) for line in points) == 5
    (moment,) = [line for line in plt.gca().lines if line.get_linestyle() == ":"]
    assert list(moment.get_xdata()) == [1, 1]


def test_gaps_of_all_pairs_share_one_axis_and_usual_marks_the_new_window():
    incident_plots.plot_gaps({"a": np.array([1.0, 2.0]), "b": np.array([50.0, 60.0])})
    limits = {ax.get_ylim() for part in plt.gcf().subfigs for ax in part.axes}
    assert len(limits) == 1
    incident_plots.plot_usual(np.array([0.0, 0.0, 1.0]), 7.0, what="failures")
    assert [list(line.get_xdata()) for line in plt.gca().lines] == [[7.0, 7.0]]
