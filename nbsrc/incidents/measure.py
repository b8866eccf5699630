"""The unit that a security team works in: incidents found at a fixed number of alerts a day.

One measure for every method: an alert names its events, and finds an incident if at least three of
them, or 30% of them, are the incident's."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from nbsrc.incidents.alerts import ALERTS, within_budget

BUDGETS = (5, 10, 20)  # alerts a day
EVENTS, SHARE = 3, 0.3  # of an alert's events that must be an incident's: either is enough


def incidents_of(labels: pl.DataFrame, uids: pl.Series, times: pl.Series) -> pl.DataFrame:
    """The labelled events among those judged, one row each: `row`, `time` (UTC), `scenario`,
    `instance`.

    labels: as `simulate_events` returns them. uids and times (epoch milliseconds): of the events
    that are judged, in their order."""
    events = pl.DataFrame({"uid": uids, "time": times}).with_row_index("row")
    found = events.join(labels, on="uid", maintain_order="left")
    return found.select(
        pl.col("row").cast(pl.Int64),
        pl.col("time").cast(pl.Datetime("ms", "UTC")),
        "scenario",
        "instance",
    )


def found(alerts: pl.DataFrame, incidents: pl.DataFrame, *, budget: int) -> pl.DataFrame:
    """One row an incident: was it found by the `budget` highest alerts of each day?

    alerts: a frame of `ALERTS`. incidents: as `incidents_of` gives them.

    Columns: `scenario`, `instance`, `events`, `found`, `alerts` (how many find it), `delay` (hours
    from its first event to the end of the earliest alert that finds it; null if none does; an
    alert that names an event from before the incident can still be raised only at its own
    end)."""
    names = ["scenario", "instance"]
    own = _hits(within_budget(alerts, budget), incidents)
    first = incidents.group_by(names).agg(
        pl.len().alias("events"), pl.col("time").min().alias("first")
    )
    hits = own.group_by(names).agg(pl.len().alias("alerts"), pl.col("end").min())
    hours = (pl.col("end") - pl.col("first")).dt.total_milliseconds() / 3_600_000
    return (
        first.join(hits, on=names, how="left")
        .with_columns(pl.col("alerts").fill_null(0))
        .select(
            *names, "events", (pl.col("alerts") > 0).alias("found"), "alerts", hours.alias("delay")
        )
        .sort(names)
    )


def judged(
    alerts: pl.DataFrame, incidents: pl.DataFrame, *, budgets: Sequence[int] = BUDGETS
) -> pl.DataFrame:
    """One row a budget: `budget`, `incidents`, `found`, `alerts` (raised in all), `precision` (the
    share of them that find an incident; several that find the same one all do, but it is found
    once), `named` (mean number of events of an alert), `delay` (median hours, of those found)."""
    rows = []
    for budget in budgets:
        raised = within_budget(alerts, budget)
        own = found(alerts, incidents, budget=budget)
        right = _hits(raised, incidents)["alert"].n_unique()
        rows.append({
            "budget": budget,
            "incidents": own.height,
            "found": int(own["found"].sum()),
            "alerts": raised.height,
            "precision": right / raised.height if raised.height else 0.0,
            "named": raised["rows"].list.len().mean() or 0.0,
            "delay": own["delay"].median(),
        })  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"delay": pl.Float64})


def interval(
    found: np.ndarray, *, level: float = 0.9, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The share found, as an interval: bootstrap over incidents (Efron 1979), percentiles.

    found: (incidents,), whether each was found. Raises ValueError without incidents.

    >>> interval(np.array([True] * 9))
    (1.0, 1.0)
    """
    if not len(found):
        raise ValueError("no incident, no share of them that is found")
    draws = np.random.default_rng(seed).integers(len(found), size=(samples, len(found)))
    low, high = np.quantile(found[draws].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _hits(raised: pl.DataFrame, incidents: pl.DataFrame) -> pl.DataFrame:
    """Which alert finds which incident: `alert` (its place), `end`, `scenario`, `instance`."""
    of_row: dict[int, list[tuple[str, int]]] = {}
    for row, scenario, instance in incidents.select("row", "scenario", "instance").iter_rows():
        of_row.setdefault(row, []).append((scenario, instance))
    hits = []
    for i, (rows, end) in enumerate(raised.select("rows", "end").iter_rows()):
        counts = Counter(name for row in set(rows) for name in of_row.get(row, ()))
        for (scenario, instance), n in counts.items():
            if n >= EVENTS or n >= SHARE * len(set(rows)):
                hits.append((i, end, scenario, instance))
    names = ["alert", "end", "scenario", "instance"]
    types = [pl.Int64(), ALERTS["end"], pl.String(), pl.Int64()]
    return pl.DataFrame(hits, schema=list(zip(names, types, strict=True)), orient="row")
