"""Alerts: what every method of Part 4 ends in. An alert names an entity, a stretch of time and the
events that it is about, so that all methods are judged alike."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

# One row an alert. score: higher is stranger. entity, value: a field and what stands in it. start
# and end: the times of its first and last event, UTC; at its end it can be raised. rows: the
# positions of its events. kinds: what about them is unusual. reason: the same in a sentence.
ALERTS = pl.Schema({
    "score": pl.Float64(),
    "entity": pl.String(),
    "value": pl.String(),
    "start": pl.Datetime("ms", "UTC"),
    "end": pl.Datetime("ms", "UTC"),
    "rows": pl.List(pl.Int64()),
    "kinds": pl.List(pl.String()),
    "reason": pl.String(),
})  # fmt: skip
EVENT = "event"  # the entity of alerts about one event that belongs to nobody
DAY = 86_400_000  # milliseconds
AT_ONCE = 200_000  # scores that become alerts together


def alerts_from_scores(
    scored: pl.DataFrame,
    *,
    top: int = 3,
    within: timedelta = timedelta(hours=1),
    kind: str = "unusual events",
) -> pl.DataFrame:
    """Alerts of event scores: an entity's highest ones in each stretch of `within`, added up.

    This is the way of every method that scores events, each by itself or in its context, to the
    frame that `nbsrc.incidents.measure` judges. An event that belongs to several entities stands
    in several rows of `scored`. Without entities every event is an alert by itself, however
    `top` is set: single-event scores are judged by the same measure.

    scored: columns `row`, `time` (epoch milliseconds or a moment in UTC), `score` (higher is
    stranger), `entity` and `value`, null or absent where an event belongs to nobody, and, if it is
    known, `field`: what of the event is unusual, for the reason. top: how
    many of an entity's events, at most, make an alert: its score is their sum, its rows are
    theirs. Stretches are cut at multiples of `within` since 1970. kind: what such events are
    called, in the plural.

    Returns a frame of `ALERTS`, highest first, neither deduplicated (`deduplicated`) nor limited
    (`within_budget`). Raises ValueError if `top` is not positive.

    >>> scored = pl.DataFrame({"row": [0, 1], "time": [0, 9], "score": [1.0, 2.0]})
    >>> alerts_from_scores(scored)["rows"].to_list()
    [[1], [0]]
    >>> named = scored.with_columns(entity=pl.lit("user"), value=pl.lit("cy"))
    >>> alerts_from_scores(named)["score"].to_list()
    [3.0]
    """
    if top < 1:
        raise ValueError(f"top must be positive, however: {top=}")
    if "entity" not in scored.columns:
        scored = scored.with_columns(pl.lit(None, pl.String).alias("entity"))
    if "value" not in scored.columns:
        scored = scored.with_columns(pl.lit(None, pl.String).alias("value"))

    def text(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.String)

    alone = pl.col("entity").is_null() | pl.col("value").is_null()
    stretch = pl.col("time").cast(pl.Int64) // (within // timedelta(milliseconds=1))
    events = scored.select(
        pl.col("row").cast(pl.Int64),
        pl.col("time").cast(pl.Int64).cast(pl.Datetime("ms", "UTC")),
        pl.col("score").cast(pl.Float64),
        pl.when(alone).then(pl.lit(EVENT)).otherwise(text("entity")).alias("entity"),
        pl.when(alone).then(text("row")).otherwise(text("value")).alias("value"),
        stretch.alias("stretch"),
        text("field") if "field" in scored.columns else pl.lit(None, pl.String).alias("field"),
    )
    # ties are broken by the position, so that equal events give equal alerts in any order
    best = events.sort("score", "row", descending=[True, False]).group_by(
        "entity", "value", "stretch", maintain_order=True
    )
    alerts = best.agg(pl.all().head(top)).select(
        pl.col("score").list.sum(),
        "entity",
        "value",
        pl.col("time").list.min().alias("start"),
        pl.col("time").list.max().alias("end"),
        pl.col("row").list.sort().alias("rows"),
        pl.lit([kind], pl.List(pl.String)).alias("kinds"),
        _reason(kind).alias("reason"),
    )
    return ranked(alerts)


def highest_of_days(scored: pl.DataFrame, a_day: int, **options: Any) -> pl.DataFrame:
    """The `a_day` highest of each day's (UTC) `alerts_from_scores`, which takes the options.

    A few days are looked at together: of a million events, all alerts would be gigabytes."""
    days = scored["time"].to_numpy() // DAY
    found = [pl.DataFrame(schema=ALERTS)]
    if len(days):
        cuts = [*np.unique(np.sort(days)[::AT_ONCE]), days.max() + 1]
        for first, end in pairwise(cuts):
            own = scored.filter((days >= first) & (days < end))
            found.append(within_budget(alerts_from_scores(own, **options), a_day))
    return ranked(pl.concat(found))


def _reason(kind: str) -> pl.Expr:
    """How many events are unusual, whose, and by which fields."""
    n = pl.col("row").list.len()
    one, many = pl.lit(f"1 {kind.removesuffix('s')}"), pl.format(f"{{}} {kind}", n)
    events = pl.when(n == 1).then(one).otherwise(many)
    whose = (
        pl.when(pl.col("entity") == EVENT)
        .then(pl.lit(""))
        .otherwise(pl.format(" of {} {}", "entity", "value"))
    )
    fields = pl.col("field").list.drop_nulls().list.unique(maintain_order=True)
    by = (
        pl.when(fields.list.len() > 0)
        .then(pl.format(", by {}", fields.list.join(", ")))
        .otherwise(pl.lit(""))
    )
    return pl.concat_str(events, whose, by)


def ranked(alerts: pl.DataFrame) -> pl.DataFrame:
    """The alerts in the order of their scores, highest first, in an order that does not depend on
    the one given."""
    own = alerts.select(list(ALERTS)).cast(ALERTS)
    by = ["score", "end", "entity", "value", "start", "reason", "rows"]
    return own.sort(by, descending=[True, *[False] * (len(by) - 1)])


def deduplicated(alerts: pl.DataFrame, *, shared: float = 0.5) -> pl.DataFrame:
    """Without the alerts that tell what a higher one has told: one alert an entity and day (UTC),
    and none of whose events at least the share `shared` is named already."""
    told: set[int] = set()
    entities: set[tuple[str, str, object]] = set()
    keep = []
    alerts = ranked(alerts)
    days = alerts["end"].dt.date().to_list()
    for i, (entity, value, rows) in enumerate(alerts.select("entity", "value", "rows").iter_rows()):
        own = (entity, value, days[i])
        if own in entities or sum(row in told for row in rows) >= shared * len(rows):
            continue
        entities.add(own)
        told.update(rows)
        keep.append(i)
    return alerts[keep]


def within_budget(alerts: pl.DataFrame, budget: int) -> pl.DataFrame:
    """The `budget` highest alerts of each day (UTC), by the time at which they can be raised.

    Raises ValueError if `budget` is not positive."""
    if budget < 1:
        raise ValueError(f"the budget must be at least one alert a day, however: {budget=}")
    return ranked(alerts).filter(pl.int_range(pl.len()).over(pl.col("end").dt.date()) < budget)
