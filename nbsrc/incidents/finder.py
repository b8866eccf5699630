"""What the command runs: rules, entity windows, events in their context and single-event scores,
each beside its past, in one list of alerts."""

import numpy as np
import polars as pl

from nbsrc.detection.base import HELD_OUT, threshold
from nbsrc.incidents.alerts import alerts_from_scores, deduplicated, highest_of_days
from nbsrc.incidents.context import ContextSurprise
from nbsrc.incidents.entities import EVERY, PAIR, Entities
from nbsrc.incidents.rules import Rules
from nbsrc.incidents.surprise import CANDIDATES, DAY, WindowSurprise
from nbsrc.incidents.together import Rate, together

TOP = 3  # single events of one entity and hour that make an alert
RULES, WINDOWS = "rules", "windows"
CONTEXT, SINGLES = "events in context", "single events"


class IncidentFinder:
    """Alerts about several events, learned from past events without labels.

    entities: where events tell what they are about. All methods take events as `Entities.narrow`
    gives them, with `row` (their positions) and `score` (of single events, by any detector; higher
    is stranger; null where unknown)."""

    def __init__(self, entities: Entities) -> None:
        self.entities = entities

    def fit(self, past: pl.DataFrame) -> "IncidentFinder":
        """Learn from past events. Each list's scores are compared with those of the past's last
        part by a list that has not seen it, so that they mean what they will mean on new events.

        Scores of past events count where the detector was not trained on them (`as_if_unseen`);
        others must be null. Raises ValueError if no event has a time."""
        timed = past.drop("row", strict=False).filter(pl.col("time") != 0).with_row_index("row")
        timed = timed.with_columns(pl.col("row").cast(pl.Int64))
        if timed.is_empty():
            raise ValueError("no past event has a time: without one there is no hour and no day")
        self.rules_ = Rules().fit(timed)
        self.windows_ = WindowSurprise(self.entities).fit(timed)
        self.context_ = ContextSurprise(self.entities).fit(timed)
        since = timed["time"].quantile(1 - HELD_OUT, "lower")
        recent = timed.filter(pl.col("time") >= since)
        earlier = timed.filter(pl.col("time") < since)
        trial = WindowSurprise(self.entities).fit(earlier if earlier.height else timed)
        held_out = {
            RULES: (recent, Rules().fit(earlier).alerts(recent)),
            WINDOWS: (recent, trial.alerts(recent)),
            CONTEXT: (self.context_.held_out_, alerts_from_scores(self.context_.held_out_)),
        }
        scored = timed.filter(pl.col("score").is_not_null())
        if scored.height:
            held_out[SINGLES] = scored, alerts_from_scores(self._single(scored), top=TOP)
        self.rates_ = {
            name: Rate(deduplicated(alerts)["score"].to_numpy(), _days(events))
            for name, (events, alerts) in held_out.items()
            if alerts.height
        }
        return self

    def lists(self, events: pl.DataFrame, *, a_day: int = CANDIDATES) -> dict[str, pl.DataFrame]:
        """The alerts of each method by itself, not deduplicated: of each day, the `a_day` highest.

        That is many times what is reported of a day (`within_budget`): what is below could be
        reported only if nearly all above it told what others have told already, and a user's or
        host's alerts of one day are at most one an hour."""
        context = self.context_.scores(events)
        found = {
            RULES: self.rules_.alerts(events),
            WINDOWS: self.windows_.alerts(events, budget=a_day),
            CONTEXT: highest_of_days(context, a_day, kind="unexpected events"),
        }
        if SINGLES in self.rates_:
            scored = self._single(events).filter(pl.col("score").is_not_null(), pl.col("time") != 0)
            found[SINGLES] = highest_of_days(scored, a_day, top=TOP)
        return found

    def alerts(self, events: pl.DataFrame, *, a_day: int = CANDIDATES) -> pl.DataFrame:
        """One list of alerts, highest first: a frame of `nbsrc.incidents.alerts.ALERTS`. The score
        is -log of the number of such alerts that the past had a day. a_day: as for `lists`."""
        return self.together(self.lists(events, a_day=a_day))

    def together(self, lists: dict[str, pl.DataFrame]) -> pl.DataFrame:
        """`alerts`, from what `lists` gave."""
        nothing = Rate(np.zeros(1), 1.0)  # of a past without any such alert
        return together({n: (own, self.rates_.get(n, nothing)) for n, own in lists.items()})

    def _single(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events' scores, each with the first entity that it has, as `alerts_from_scores` takes
        them."""
        owners = [name for name in self.entities.entities if name not in (PAIR, EVERY)]
        whose = [
            pl.when(pl.col(name).is_not_null()).then(pl.lit(name)).alias(name) for name in owners
        ]
        return events.select(
            "row",
            "time",
            "score",
            pl.coalesce(*whose, pl.lit(None, pl.String)).alias("entity"),
            pl.coalesce(*owners, pl.lit(None)).alias("value"),
            *(name for name in events.columns if name == "field"),
        )


def _days(events: pl.DataFrame) -> float:
    """How long events go on, in days; at least an hour."""
    low, high = events.select(low=pl.min("time"), high=pl.max("time")).row(0)
    return max(float(high - low) / DAY, 1 / 24)


def singles(events: pl.DataFrame) -> pl.DataFrame:
    """Alerts of single events, ranked one by one: what Part 3 gives."""
    return deduplicated(alerts_from_scores(events.select("row", "time", "score")), shared=1.0)


def with_scores(
    events: pl.DataFrame, scores: np.ndarray, *, last: int | None = None
) -> pl.DataFrame:
    """Events with `row` and `score`; where only the `last` events have one, null before."""
    n = events.height if last is None else last
    padded = np.concatenate([np.full(events.height - n, np.nan), scores])
    score = pl.Series("score", padded, pl.Float64).fill_nan(None)
    return events.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64), score)


def as_if_unseen(scores: pl.Series, limit: float, false_alarms: float) -> pl.Series:
    """Scores (null where unknown) of events that a detector has compared with themselves, as it
    would score others.

    What it has seen never exceeds the largest that it has seen, and new events do. A detector's
    `threshold_` comes from events as if they were new; the scores are stretched to have as many
    above it. limit: that threshold, of the share `false_alarms`.

    >>> as_if_unseen(pl.Series([1.0, None, 2.0, 4.0]), 6.0, 0.1).to_list()
    [1.5, None, 3.0, 6.0]
    """
    known = scores.drop_nulls().to_numpy()
    own = threshold(known, false_alarms) if len(known) else 0.0
    return scores * max(1.0, limit / own) if own > 0 else scores
