"""What the command runs: entity windows and single-event scores, each beside its past, in one list
of alerts."""

import numpy as np
import polars as pl

from nbsrc.incidents.alerts import alerts_from_scores, deduplicated
from nbsrc.incidents.entities import EVERY, PAIR, Entities
from nbsrc.incidents.surprise import DAY, WindowSurprise
from nbsrc.incidents.together import Rate, together

TOP = 3  # single events of one entity and hour that make an alert


class IncidentFinder:
    """Alerts about several events, learned from past events without labels.

    entities: where events tell what they are about. All methods take events as `Entities.narrow`
    gives them, with `row` (their positions) and `score` (of single events, by any detector; higher
    is stranger; null where unknown)."""

    def __init__(self, entities: Entities) -> None:
        self.entities = entities

    def fit(self, past: pl.DataFrame) -> "IncidentFinder":
        """Learn from past events. Scores of past events count where the detector was not trained
        on them; others must be null. Raises ValueError if no event has a time."""
        self.windows_ = WindowSurprise(self.entities).fit(past)
        self.rates_ = {"windows": Rate(self.windows_.past_scores_, self.windows_.days_)}
        scored = past.filter(pl.col("score").is_not_null(), pl.col("time") != 0)
        if scored.height:
            low, high = (int(t) for t in scored.select(l=pl.min("time"), h=pl.max("time")).row(0))
            alerts = self._single(scored)["score"].to_numpy()
            self.rates_["single events"] = Rate(alerts, max((high - low) / DAY, 1 / 24))
        return self

    def lists(self, events: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """The alerts of each method by itself, not deduplicated."""
        found = {"windows": self.windows_.alerts(events)}
        if "single events" in self.rates_:
            timed = events.filter(pl.col("score").is_not_null(), pl.col("time") != 0)
            found["single events"] = self._single(timed)
        return found

    def alerts(self, events: pl.DataFrame) -> pl.DataFrame:
        """One list of alerts, highest first: a frame of `nbsrc.incidents.alerts.ALERTS`. The score
        is -log of the number of such alerts that the past had a day."""
        lists = self.lists(events)
        return together({name: (alerts, self.rates_[name]) for name, alerts in lists.items()})

    def _single(self, events: pl.DataFrame) -> pl.DataFrame:
        owners = [name for name in self.entities.entities if name not in (PAIR, EVERY)]
        whose = [
            pl.when(pl.col(name).is_not_null()).then(pl.lit(name)).alias(name) for name in owners
        ]
        scored = events.select(
            "row",
            "time",
            "score",
            pl.coalesce(*whose, pl.lit(None, pl.String)).alias("entity"),
            pl.coalesce(*owners, pl.lit(None, pl.String)).alias("value"),
            *(name for name in events.columns if name == "field"),
        )
        return alerts_from_scores(scored, top=TOP)


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
