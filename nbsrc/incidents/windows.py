"""Entity windows: what a user, a host, an address or a pair did in an hour and in a day.

A window knows nothing of what comes after it. Windows overlap by half, so that what lies across
the border of two lies within a third."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from nbsrc.incidents.entities import PAIR, Entities

HOUR = 3_600_000  # milliseconds
PERIODS = {"hour": HOUR, "day": 24 * HOUR}
EVEN = 0.15  # gaps within this share of their median are a beat
SHORTEST = 1000  # milliseconds of a beat: what comes at once is a burst
FEWEST_BEATS, SHARE_BEATS = 6, 0.6  # of an entity's gaps in a window
AT_ONCE = 100_000  # events whose windows are counted together
SHARE = 250_000  # events of some entities that are put in order together
KEYS = ("entity", "value", "period", "window", "start", "end")


def window_table(
    events: pl.DataFrame, entities: Entities, seen: "Seen", *, past: bool = False
) -> pl.DataFrame:
    """All windows of all entities in the events: one row each.

    events: as `Entities.narrow` gives them, in any order, with `row`, their positions; those
    without a time (0) are left out. seen: what the past knows; with `past`, the events are that
    past.

    Columns: `entity`, `value`, `period`, `window` (its start, epoch milliseconds), `start`, `end`
    (of its events), and measures: `count`, `failed`, `beat` (gaps of equal length), for each other
    role and act `distinct ROLE` and `new ROLE` (values that this entity was never seen with
    before, each weighed by -log of the share of its peers that were, in nats), for each quantity
    `sum NAME` and `most NAME`. A measure that a window has nothing for is 0."""
    parts = window_parts(events, entities, seen, past=past)
    table = pl.concat([part for _, _, part in parts], how="diagonal_relaxed")
    return table.with_columns(pl.col(pl.Float64).fill_null(0.0))


def window_parts(
    events: pl.DataFrame, entities: Entities, seen: "Seen", *, past: bool = False
) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """`window_table`, one entity, period and stretch of time at once: of a million events, all
    together would be gigabytes."""
    for entity in entities.entities:
        measures = _measures(entity, entities)
        for share in shared_out(events, entity):
            own = in_order(share, entity, entities, seen, past=past)
            for period, inside in in_windows(own):
                inside = inside.with_columns(is_even(entity, "window").alias("even"))
                table = inside.group_by(entity, "window").agg(
                    pl.col("time").min().alias("start"),
                    pl.col("time").max().alias("end"),
                    *measures,
                )
                yield (
                    entity,
                    period,
                    table.select(
                        pl.lit(entity).alias("entity"),
                        pl.col(entity).alias("value"),
                        pl.lit(period).alias("period"),
                        "window",
                        pl.exclude(entity, "window"),
                    ),
                )


def in_windows(ordered: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The windows of events in the order of time: a period, and each event with the starts of its
    windows as `window`. About `AT_ONCE` events at once, cut so that each window is whole."""
    if ordered.is_empty():
        return
    times = ordered["time"].to_numpy()
    for period, length in PERIODS.items():
        half = length // 2
        halves = times // half
        cuts = [halves[0] - 1, *np.unique(halves[AT_ONCE::AT_ONCE]), halves[-1] + 1]
        for first, end in pairwise(cuts):
            low, high = np.searchsorted(halves, (first, end + 1))
            here = ordered[low:high]
            # an event lies in two windows: the one that began last, and the one before
            both = pl.concat([
                here.with_columns((pl.col("time") // half - back).alias("window"))
                for back in (0, 1)
            ])  # fmt: skip
            both = both.filter(pl.col("window").is_between(first, end, closed="left"))
            yield period, both.with_columns(pl.col("window") * half)


def shared_out(events: pl.DataFrame, entity: str) -> Iterator[pl.DataFrame]:
    """The events that have the entity and a time, in shares of about `SHARE`, all of one entity's
    in one of them: whatever is done with a share takes its memory several times."""
    there = (events["time"] != 0) & events[entity].is_not_null()
    shares = max(1, int(there.sum()) // SHARE)
    whose = events[entity].hash() % shares
    for share in range(shares):
        yield events.filter(there & (whose == share))


def in_order(
    events: pl.DataFrame, entity: str, entities: Entities, seen: "Seen", *, past: bool = False
) -> pl.DataFrame:
    """Events that have the entity, by time, with the `gap` to its event before (milliseconds)
    and, for each other role, `new ROLE` as in `window_table`. Of their columns, what windows
    count."""
    counted = ["row", "time", entity, *others_of(entity, entities), "failed", *entities.quantities]
    own = events.select(list(dict.fromkeys(counted)))
    own = own.sort("time", "row")
    return own.with_columns(
        pl.col("time").diff().over(entity).alias("gap"),
        *_novelties(own, entity, others_of(entity, entities), seen, past),
    )


def others_of(entity: str, entities: Entities) -> list[str]:
    """What is counted of an entity's events: the other roles, and acts."""
    inside = {"address", "destination"} if entity == PAIR else {entity}
    return [*(role for role in entities.roles if role not in inside), "act"]


def _measures(entity: str, entities: Entities) -> list[pl.Expr]:
    even, gaps = pl.col("even").sum(), pl.col("gap").count()
    beats = (even >= FEWEST_BEATS) & (even >= SHARE_BEATS * gaps)
    own = [
        pl.len().alias("count"),
        pl.col("failed").sum().alias("failed"),
        pl.when(beats).then(even).otherwise(0).alias("beat"),
    ]
    for other in others_of(entity, entities):
        own += [
            pl.col(other).drop_nulls().n_unique().alias(f"distinct {other}"),
            pl.col(f"new {other}").sum(),
        ]
    for name in entities.quantities:
        own += [pl.col(name).sum().alias(f"sum {name}"), pl.col(name).max().alias(f"most {name}")]
    return [measure.cast(pl.Float64) for measure in own]


def is_even(*group: str) -> pl.Expr:
    """Whether the gap before an event is about as long as the median one of its group: by the
    median absolute deviation one late call of many breaks no beat. Events that come at once are a
    burst and no beat: the gaps of a beat have a median of a second or more."""
    middle = pl.col("gap").median().over(*group)
    return ((pl.col("gap") - middle).abs() <= EVEN * middle) & (middle >= SHORTEST)


def _novelties(
    own: pl.DataFrame, entity: str, others: Sequence[str], seen: "Seen", past: bool
) -> list[pl.Expr]:
    """For each other role: the weight of the event if it is the first in which the entity has this
    value of it, else 0."""
    made = []
    for other in others:
        pairs = own.select(pl.struct(entity, other).hash()).to_series()
        first = pairs.is_first_distinct() & own[other].is_not_null()
        if not past:
            first &= ~pairs.is_in(seen.pairs[entity, other].implode())
        # in the past itself, an entity is not among its own peers
        weight = seen.nats(entity, other, own[other], without=int(past))
        made.append((first.cast(pl.Float64) * weight).alias(f"new {other}"))
    return [pl.lit(series) for series in made]


class Seen:
    """Which values each entity was seen with in the past, and with how many of its peers each value
    was.

    past: events as `Entities.narrow` gives them. `rows`: all that is asked of them, each
    combination of values once; from these, another `Seen` is equal."""

    def __init__(self, past: pl.DataFrame, entities: Entities) -> None:
        asked = {n: None for own in entities.entities for n in (own, *others_of(own, entities))}
        past = past.select(list(asked)).unique(maintain_order=True)
        self.rows = past
        self.pairs: dict[tuple[str, str], pl.Series] = {}
        self.peers: dict[tuple[str, str], pl.DataFrame] = {}
        self.known: dict[str, int] = {}
        for entity in entities.entities:
            self.known[entity] = past[entity].drop_nulls().n_unique()
            for other in others_of(entity, entities):
                own = past.select(entity, other).drop_nulls().unique()
                self.pairs[entity, other] = own.select(pl.struct(pl.all()).hash()).to_series()
                self.peers[entity, other] = own.group_by(other).agg(pl.len().alias("peers"))

    def nats(self, entity: str, other: str, values: pl.Series, *, without: int = 0) -> pl.Series:
        """-log of the share of the past's entities that were seen with each value; `without` so
        many of them."""
        peers = values.to_frame(other).join(
            self.peers[entity, other], on=other, how="left", maintain_order="left"
        )["peers"]
        return -((peers.fill_null(0) - without).clip(0) + 0.5).log() + np.log(
            self.known[entity] + 1
        )
