"""One ranked list of alerts out of several: each list's scores become the number of such alerts
that a past day had."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from nbsrc.incidents.alerts import deduplicated, ranked

TAIL = 20  # of a past's highest alerts, to which the tail of its scores is fitted


class Rate:
    """How many alerts a day score so high, learned from the alerts of a past.

    Up to the `TAIL`-th highest past score the past is counted; from there on the number falls
    exponentially, at the rate that fits the scores above (peaks over a threshold; Coles 2001,
    section 4.3, with shape 0)."""

    def __init__(self, past: np.ndarray, days: float) -> None:
        if not len(past) or days <= 0:
            raise ValueError(
                f"a rate needs past alerts and days, however: {len(past)} alerts, {days=}"
            )
        self.past = np.sort(past)
        self.days = days
        n = min(TAIL, len(past))
        self.limit = float(self.past[-n])
        self.excess = float((self.past[-n:] - self.limit).mean()) or 1.0  # of equal scores: nats
        self.above = n

    def rarity(self, scores: np.ndarray) -> np.ndarray:
        """-log of the number of alerts a day that score as high: (n,) -> (n,), higher is rarer.

        >>> Rate(np.arange(100.0), 10.0).rarity(np.array([0.0, 60.0, 79.0, 99.0])).round(2).tolist()
        [-2.3, -1.39, -0.74, 1.31]
        """
        at_least = len(self.past) - np.searchsorted(self.past, np.minimum(scores, self.limit))
        beyond = (scores - self.limit).clip(0) / self.excess
        return beyond - np.log(at_least.clip(self.above) / self.days)


def together(lists: Mapping[str, tuple[pl.DataFrame, Rate]]) -> pl.DataFrame:
    """One list of all alerts, by how rarely the past had such a one; deduplicated.

    lists: for each method its alerts and the rate of its past ones. The score becomes `Rate`'s
    rarity; what several lists tell of the same events stands once, with the kinds of all."""
    parts = [
        alerts.with_columns(pl.Series("score", rate.rarity(alerts["score"].to_numpy()), pl.Float64))
        for alerts, rate in lists.values()
    ]
    return deduplicated(ranked(pl.concat(parts)))
