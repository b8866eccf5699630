"""What is found at so many false alarms a day, from the scores of labelled events."""

from collections.abc import Sequence

import numpy as np
import polars as pl


def found_by_alarms(
    scores: np.ndarray, normal: np.ndarray, *, days: float, alarms: Sequence[float]
) -> pl.DataFrame:
    """One row for each number of false alarms a day: `alarms`, `found`, `share`.

    Flagged is what scores above the limit that this many normal events a day exceed; `found` is the
    number of other events among it and `share` their share of all others.

    Shape: scores (rows,), higher is stranger; normal (rows,), bool; days: how long the events took.
    Raises ValueError if there is no normal event or no other.

    >>> scores, normal = np.array([4.0, 3.0, 2.0, 1.0]), np.array([False, True, False, True])
    >>> found_by_alarms(scores, normal, days=1, alarms=[0, 1]).rows()
    [(0.0, 1, 0.5), (1.0, 2, 1.0)]
    """
    if normal.all() or not normal.any():
        raise ValueError(
            f"normal and other events are needed, however: {normal.sum()} of {normal.size}"
        )
    ordered = np.append(-np.sort(-scores[normal]), -np.inf)
    limits = ordered[[min(int(rate * days), normal.sum()) for rate in alarms]]
    others = np.sort(scores[~normal])
    found = len(others) - np.searchsorted(others, limits, side="right")
    return pl.DataFrame(
        {"alarms": [float(rate) for rate in alarms], "found": found, "share": found / len(others)}
    )
