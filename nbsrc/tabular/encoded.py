"""Events as arrays: what the encoder gives and every network, detector and experiment takes."""

from dataclasses import dataclass, replace

import numpy as np

MISSING, UNSEEN = 0, 1  # the two reserved indices of each category; its own values start at 2


@dataclass(frozen=True)
class EncodedEvents:
    """Events as arrays. `time` is each event's own time (UTC, epoch milliseconds, 0 where unknown),
    not a feature.

    It is `time`, `time_dt`, `start_time` or `end_time`; of events fitted without these, the column
    whose name says that it is that, or the only one of times. Shapes: numeric (rows, quantities)
    float32, finite; categorical (rows, categories) int64, each column's values below its
    cardinality, 0 for missing and 1 for unseen (or rare) values; time (rows,) int64.

    numbers: for each category that stands for whole numbers, and of which nothing else is known,
    the number of each index (cardinality,), NaN for missing and unseen ones; None for the others,
    and nothing at all where there is none such."""

    numeric: np.ndarray
    categorical: np.ndarray
    cardinalities: tuple[int, ...]
    numeric_names: tuple[str, ...]
    categorical_names: tuple[str, ...]
    time: np.ndarray
    numbers: tuple[np.ndarray | None, ...] = ()


def rows_of(encoded: EncodedEvents, rows: np.ndarray) -> EncodedEvents:
    """Some of the events, in the order of `rows`."""
    return replace(
        encoded,
        numeric=encoded.numeric[rows],
        categorical=encoded.categorical[rows],
        time=encoded.time[rows],
    )
