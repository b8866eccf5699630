"""Whoever compares methods by incidents found must be able to trust the count: cases by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from nbsrc.incidents.alerts import (
    ALERTS,
    alerts_from_scores,
    deduplicated,
    highest_of_days,
    within_budget,
)
from nbsrc.incidents.measure import found, incidents_of, interval, judged

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def alert(score, rows, *, hour=1.0, day=0, value="cy", entity="user"):
    end = DAY + timedelta(days=day, hours=hour)
    return {"score": score, "entity": entity, "value": value, "start": end, "end": end,
            "rows": rows, "kinds": ["test"], "reason": "a test"}  # fmt: skip


def frame(*alerts):
    return pl.DataFrame(alerts, schema=ALERTS, orient="row")


# Two incidents: a storm of six events from midnight on, a trip of two, an hour later.
INCIDENTS = pl.DataFrame(
    {
        "row": [0, 1, 2, 3, 4, 5, 10, 11],
        "time": [DAY] * 6 + [DAY + timedelta(hours=1)] * 2,
        "scenario": ["storm"] * 6 + ["trip"] * 2,
        "instance": [0] * 8,
    }
)


def test_three_events_or_a_third_of_the_alert_find_an_incident_and_less_does_not():
    def finds(rows):
        return found(frame(alert(1, rows)), INCIDENTS, budget=1)["found"].to_list()

    ordinary = list(range(20, 120))
    assert finds([0, 1, 2, *ordinary]) == [True, False]  # three of 103
    assert finds([0, 1, *ordinary]) == [False, False]  # two of 102
    assert finds([0, *ordinary[:2]]) == [True, False]  # one of three
    assert finds([0, *ordinary[:3]]) == [False, False]  # one of four
    assert finds([0, 1, 2, 10, *ordinary[:2]]) == [True, False]  # three of six, and one of six
    assert finds([0, 0, 0, *ordinary]) == [False, False]  # an event named twice is one event
    assert finds([0, 10]) == [True, True]  # one alert may find two
    assert finds([]) == [False, False]


def test_an_incident_told_twice_is_found_once_and_each_telling_costs():
    alerts = frame(
        alert(9, [0, 1]), alert(8, [2, 3], value="di"), alert(7, [50]), alert(6, [10], hour=4)
    )
    table = judged(alerts, INCIDENTS, budgets=(1, 3, 4))
    assert table["found"].to_list() == [1, 1, 2]
    assert table["alerts"].to_list() == [1, 3, 4]
    assert table["precision"].to_list() == [1.0, 2 / 3, 3 / 4]
    assert table["named"].to_list() == [2, 5 / 3, 6 / 4]
    by_hand = found(alerts, INCIDENTS, budget=4)
    assert by_hand.select("scenario", "events", "alerts").rows() == [
        ("storm", 6, 2),
        ("trip", 2, 1),
    ]


def test_the_budget_holds_for_each_day_and_a_day_is_the_one_at_which_an_alert_can_be_raised():
    alerts = frame(alert(9, [20]), alert(8, [21]), alert(1, [0], day=1), alert(7, [10], hour=23.9))
    assert judged(alerts, INCIDENTS, budgets=(2,)).row(0)[:4] == (2, 2, 1, 3)
    assert within_budget(alerts, 2)["score"].to_list() == [9, 8, 1]
    with pytest.raises(ValueError, match="budget=0"):
        within_budget(alerts, 0)


def test_the_delay_runs_from_the_first_event_to_the_earliest_alert_that_finds_it():
    alerts = frame(
        alert(9, [0, 1], hour=5), alert(8, [2], hour=2), alert(7, [3, 60, 61, 62], hour=1)
    )
    delays = dict(found(alerts, INCIDENTS, budget=9).select("scenario", "delay").iter_rows())
    assert delays == {"storm": pytest.approx(2), "trip": None}
    assert judged(alerts, INCIDENTS, budgets=(9, 1))["delay"].to_list() == pytest.approx([2, 5])


def test_no_alert_finds_nothing():
    table = judged(frame(), INCIDENTS)
    assert table.select("budget", "incidents", "found", "precision").rows() == [
        (5, 2, 0, 0.0), (10, 2, 0, 0.0), (20, 2, 0, 0.0),
    ]  # fmt: skip


def test_labels_are_placed_by_uid_and_those_of_other_events_left_out():
    labels = pl.DataFrame({"uid": ["b", "z"], "scenario": ["trip"] * 2, "instance": [3, 4]})
    own = incidents_of(labels, pl.Series(["a", "b"]), pl.Series([0, 5]))
    assert own.select("row", "scenario", "instance").rows() == [(1, "trip", 3)]
    assert own["time"][0] == datetime(1970, 1, 1, 0, 0, 0, 5000, tzinfo=UTC)


def test_the_interval_is_a_bootstrap_over_incidents():
    some = np.arange(90) < 60
    low, high = interval(some)
    error = 1.645 * (2 / 3 * 1 / 3 / 90) ** 0.5  # of a share, normal approximation
    assert low == pytest.approx(2 / 3 - error, abs=0.02)
    assert high == pytest.approx(2 / 3 + error, abs=0.02)
    with pytest.raises(ValueError, match="no incident"):
        interval(np.array([]))


def scored(**columns):
    n = len(columns["score"])
    return pl.DataFrame({"row": range(n), "time": [0] * n} | columns)


def test_an_entitys_highest_events_of_an_hour_make_an_alert_and_no_others():
    hour = 3_600_000
    events = scored(
        score=[1, 5, 2, 4, 3, 9], time=[0, 10, 20, 30, hour, 0], entity=["user"] * 6,
        value=["cy"] * 5 + ["di"],
    )  # fmt: skip
    alerts = alerts_from_scores(events, top=2)
    assert alerts.select("score", "value", "rows").rows() == [
        (9, "di", [5]), (9, "cy", [1, 3]), (3, "cy", [4]),
    ]  # fmt: skip
    assert alerts["end"].dt.epoch("ms").to_list() == [0, 30, hour]
    with pytest.raises(ValueError, match="top=0"):
        alerts_from_scores(events, top=0)


def test_the_highest_of_each_day_are_the_same_however_many_are_looked_at_together(monkeypatch):
    rng = np.random.default_rng(0)
    day = timedelta(days=1) // timedelta(milliseconds=1)
    events = scored(
        score=rng.random(400), time=rng.integers(5 * day, size=400), entity=["user"] * 400,
        value=[f"{i}" for i in rng.integers(30, size=400)],
    )  # fmt: skip
    expected = within_budget(alerts_from_scores(events, top=2), 6)
    assert expected.height == 5 * 6
    for at_once in (1, 90, 10**6):
        monkeypatch.setattr("nbsrc.incidents.alerts.AT_ONCE", at_once)
        assert_frame_equal(highest_of_days(events, 6, top=2), expected)
    assert highest_of_days(events.clear(), 6).is_empty()


def test_events_without_an_entity_are_alerts_by_themselves():
    alone = alerts_from_scores(scored(score=[1.0, 3.0, 2.0]))
    assert alone["rows"].to_list() == [[1], [2], [0]]
    mixed = scored(score=[1.0, 2.0, 2.0], entity=["user", None, "user"], value=["cy", None, "cy"])
    assert alerts_from_scores(mixed)["rows"].to_list() == [[0, 2], [1]]


def test_alerts_do_not_depend_on_the_order_of_events_or_alerts():
    rng = np.random.default_rng(0)
    events = scored(
        score=rng.integers(5, size=60), time=rng.integers(9_999_999, size=60),
        entity=["user"] * 60, value=[f"{i % 4}" for i in range(60)],
    )  # fmt: skip
    shuffled = events.sample(fraction=1, shuffle=True, seed=1)
    assert_frame_equal(alerts_from_scores(events), alerts_from_scores(shuffled))
    alerts = alerts_from_scores(events)
    again = alerts.sample(fraction=1, shuffle=True, seed=2)
    assert_frame_equal(deduplicated(alerts), deduplicated(again))


def test_what_a_higher_alert_has_told_is_not_told_again():
    alerts = frame(
        alert(9, [0, 1, 2]),
        alert(8, [7, 8], hour=9),  # the same entity on the same day
        alert(7, [1, 2, 3, 4], entity="host"),  # half of its events are told
        alert(6, [2, 3, 4], entity="host", value="h2"),  # a third
        alert(5, [9], day=1),
    )
    assert deduplicated(alerts)["score"].to_list() == [9, 6, 5]
