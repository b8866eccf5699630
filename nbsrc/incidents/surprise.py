"""How surprising a window is: beside what its entity did in the past, and beside what the entity's
peers did; and the alerts that follow."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from nbsrc.incidents.alerts import ALERTS, ranked
from nbsrc.incidents.entities import Entities
from nbsrc.incidents.reasons import contributing, sentence
from nbsrc.incidents.windows import (
    KEYS,
    PERIODS,
    Seen,
    in_order,
    shared_out,
    window_parts,
    window_table,
)

DAY = PERIODS["day"]
WARM_UP = 0.3  # the first share of the past, in which everything is new: no window of it counts
PRIOR = 4.0  # windows of its peers that an entity's own past weighs against
BEYOND = 2.0  # what is beyond all of the past is as rare as in a tail with this exponent
MEASURES = 3  # that make a window's score
DIGITS = 6  # of a surprise: sums of floats differ beyond, by the order of the events
LEAST = -1.0  # nats: windows of which more come each day than exp(1) are no surprise
CANDIDATES = 300  # windows a day, the most surprising ones, that may become alerts
FEWEST, NAMED = 2, 100  # events that an alert of windows names


class WindowSurprise:
    """Ranks entity windows by how unlike the past they are; nothing is learned but counts.

    Each measure of a window (`window_table`) is asked twice: on how many windows of a past day was
    it as large with any of the entity's peers; and was it as far above the entity's own mean, in
    standard deviations of its logarithm? (Mean and deviation are drawn towards the peers' by
    `PRIOR` windows, so that a new entity is judged by its peers alone.) A measure's surprise is the
    mean of both answers: -log of the number of such windows that the past had a day. A window's
    score is the sum over the three measures that surprise most; of measures of one thing (its sum
    and its maximum) the one that does most counts.

    entities: where events tell what they are about. `fit` and `alerts` take events as
    `Entities.narrow` gives them."""

    def __init__(self, entities: Entities) -> None:
        self.entities = entities

    def fit(self, past: pl.DataFrame) -> "WindowSurprise":
        """Count past events. Raises ValueError if none of them has a time."""
        past = past.drop("row", strict=False).with_row_index("row")
        times = past.filter(pl.col("time") != 0)["time"]
        if not len(times):
            raise ValueError("no past event has a time: without one there is no hour and no day")
        low, high = int(times.min()), int(times.max())  # type: ignore[arg-type]
        first = low + WARM_UP * (high - low)
        self.seen_ = Seen(past, self.entities)
        self.days_ = max((high - first) / DAY, 1 / 24)
        table = window_table(past, self.entities, self.seen_, past=True)
        # of a past shorter than its windows, all count
        warm = table.filter(pl.col("window") >= first)
        self.past_ = warm if warm.height else table
        return self

    def windows(self, events: pl.DataFrame) -> pl.DataFrame:
        """The windows of new events, those without any surprise left out: `KEYS`, `score`,
        `measure` (the one that surprises most) and `amount` (its value).

        events: with `row`, their positions."""
        return pl.concat([pl.DataFrame(schema=_SCORED), *self._scores(events)])

    def _scores(self, events: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """`windows`, in the parts that `window_parts` gives."""
        best = pl.col("measure", "amount").sort_by("surprise", "measure").last()
        most = pl.col("surprise").clip(0).top_k(MEASURES).sum().round(DIGITS)
        for entity, period, own in window_parts(events, self.entities, self.seen_):
            past = self.past_.filter(entity=entity, period=period)
            parts = list(_surprises(past, own, self.days_)) if past.height else []
            if parts:
                one = pl.concat(parts).group_by(*KEYS, "about").agg(pl.col("surprise").max(), best)
                scored = one.group_by(KEYS).agg(most.alias("score"), best)
                yield scored.select(_SCORED.names()).cast(_SCORED)

    def alerts(self, events: pl.DataFrame, *, budget: int = CANDIDATES) -> pl.DataFrame:
        """Alerts (a frame of `ALERTS`), not deduplicated: of each day, the `budget` windows that
        surprise most, with the events that make them so."""
        roles = [*self.entities.roles, *self.entities.entities]
        read = dict.fromkeys(["row", "time", "act", "failed", *roles, *self.entities.quantities])
        events = events.select(list(read))  # copied once for each kind of entity
        scored = pl.DataFrame(schema=_SCORED)
        day = pl.from_epoch("end", "ms").dt.date()
        for part in self._scores(events):
            by = ["score", *KEYS]
            scored = pl.concat([scored, part]).sort(by, descending=[True, *[False] * len(KEYS)])
            scored = scored.filter(pl.int_range(pl.len()).over(day) < budget)
        scored = scored.with_row_index("alert")
        parts = []
        for (entity,), own in scored.group_by("entity", maintain_order=True):
            name = str(entity)
            own = own.cast({"value": events.schema[name]})
            for share in shared_out(events, name):
                theirs = share.filter(pl.col(name).is_in(own["value"].implode()))
                windows = own.filter(pl.col("value").is_in(theirs[name].unique().implode()))
                if windows.height:
                    ordered = in_order(theirs, name, self.entities, self.seen_)
                    parts.append(self._told(windows, ordered.rename({name: "value"})))
        return ranked(pl.concat([pl.DataFrame(schema=ALERTS), *parts]))

    def _told(self, windows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """Alerts of one kind of entity, from its windows and its events in order."""
        named = contributing(windows, events)
        named = named.filter(pl.col("rows").list.len() >= FEWEST)
        usual = self._usual(windows)
        rows = []
        for window in windows.join(named, on="alert").join(usual, on="alert").iter_rows(named=True):
            rows.append(
                (window["score"], window["entity"], window["value"], window["first"],
                 window["last"], window["rows"], [window["measure"]], sentence(window))
            )  # fmt: skip
        kinds = {"start": pl.Int64, "end": pl.Int64}
        names = [(name, kinds.get(name, kind)) for name, kind in ALERTS.items()]
        return pl.DataFrame(rows, schema=names, orient="row").cast(ALERTS)

    def _usual(self, windows: pl.DataFrame) -> pl.DataFrame:
        """For each window, the most that was usual for its measure: `usual`, the 99th percentile
        among its peers' past windows, or `own`, the entity's own highest one, null if it has no
        past."""
        parts = []
        for (period, measure), own in windows.group_by("period", "measure"):
            past = self.past_.filter(entity=own["entity"][0], period=period)
            amount = pl.col(str(measure))
            peers = past.select(amount.quantile(0.99, "higher")).item()
            highest = past.group_by("value").agg(amount.max().alias("own"))
            parts.append(
                own.select("alert", "value")
                .join(highest, on="value", how="left")
                .select("alert", "own", pl.lit(peers, pl.Float64).alias("usual"))
            )
        return pl.concat(parts)


_SCORED = pl.Schema({
    "entity": pl.String, "value": pl.String, "period": pl.String, "window": pl.Int64,
    "start": pl.Int64, "end": pl.Int64, "score": pl.Float64, "measure": pl.String,
    "amount": pl.Float64,
})  # fmt: skip


def _surprises(past: pl.DataFrame, new: pl.DataFrame, days: float) -> Iterator[pl.DataFrame]:
    """For each measure the new windows that it makes surprising: `KEYS`, `measure`, `amount`,
    `about` (what it measures), `surprise` (nats)."""
    whose = pl.concat([past["value"], new["value"]]).cast(pl.Categorical).to_physical()
    place = whose.rank("dense").to_numpy().astype(np.int64) - 1
    before, now = place[: past.height], place[past.height :]
    for measure in new.columns:
        if measure in KEYS:
            continue
        old, amounts = (frame[measure].fill_null(0).to_numpy() for frame in (past, new))
        some = np.flatnonzero(amounts > 0)
        if not len(some):
            continue
        amounts = amounts[some]
        own = _deviation(np.log1p(old.clip(0)), before, np.log1p(amounts), now[some])
        nats = (rarity(old, amounts, days) + rarity(*own, days)) / 2
        keep = nats > LEAST
        yield new[some[keep]].select(
            *KEYS,
            pl.lit(measure).alias("measure"),
            pl.col(measure).alias("amount"),
            pl.lit(measure.split(" ", 1)[-1]).alias("about"),
            pl.Series("surprise", nats[keep].round(DIGITS), pl.Float64),
        )


def rarity(past: np.ndarray, values: np.ndarray, days: float) -> np.ndarray:
    """-log of how many windows a day are at least as large, by the past's; beyond all of them, it
    rises on as in a tail with exponent `BEYOND`.

    Shape: past (windows,) in so many days, values (n,) -> (n,)

    >>> rarity(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 6.0]), 1.0).round(2).tolist()
    [-1.25, -0.41, 2.08]
    """
    ordered = np.sort(past)
    # values that differ by less are equal
    least = values - 1e-9 * np.maximum(np.abs(values), 1)
    at_least = len(ordered) - np.searchsorted(ordered, least)
    top = max(float(ordered[-1]), 1.0)
    return -np.log((at_least + 0.5) / days) + BEYOND * np.log(np.maximum(values, top) / top)


def _deviation(
    old: np.ndarray, before: np.ndarray, new: np.ndarray, now: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far each past and each new value is from its entity's past mean, in standard deviations;
    a past value is not compared with itself.

    Shape: old (past windows,), new (windows,); before and now, alike: which entity's."""
    size = max(before.max(initial=0), now.max(initial=0)) + 1
    count = np.bincount(before, minlength=size).astype(float)
    total = np.bincount(before, old, size)
    square = np.bincount(before, old * old, size)
    mean, variance = old.mean(), old.var() + 1e-3

    def of(values: np.ndarray, whose: np.ndarray, without: int) -> np.ndarray:
        n = count[whose] - without
        sums, squares = total[whose] - without * values, square[whose] - without * values**2
        own = (sums + PRIOR * mean) / (n + PRIOR)
        spread = (squares - 2 * own * sums + n * own**2).clip(0)
        return (values - own) / np.sqrt((spread + PRIOR * variance) / (n + PRIOR))

    return of(old, before, 1), of(new, now, 0)
