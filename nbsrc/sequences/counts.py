"""What is left of a trace without its order: how long it is, and how often each symbol comes."""

from collections.abc import Sequence

import numpy as np
from sklearn.neighbors import NearestNeighbors

Trace = np.ndarray


class Lengths:
    """How rare a trace's length is: -log of the share of normal traces that are at least as short,
    or at least as long, whichever is rarer. Learned: `lengths_`."""

    def fit(self, traces: Sequence[Trace]) -> "Lengths":
        """Learn from normal traces."""
        self.lengths_ = np.sort([len(trace) for trace in traces])
        return self

    def decision_function(self, traces: Sequence[Trace]) -> np.ndarray:
        """The score of each trace: (traces,), higher is stranger."""
        own = np.array([len(trace) for trace in traces])
        n = len(self.lengths_)
        shorter = np.searchsorted(self.lengths_, own, side="right")
        longer = n - np.searchsorted(self.lengths_, own, side="left")
        scores: np.ndarray = -np.log((np.minimum(shorter, longer) + 0.5) / (n + 1))
        return scores


class NearestCounts:
    """How far a trace's counts are from the nearest normal ones: the sum of the differences as a
    share of all symbols of both (Bray and Curtis 1957), 0 to 1. Learned: `neighbours_`.

    Count vectors of traces are compared in this way, by their l1 distance, by Landauer et al. 2024.
    """

    def __init__(self, *, n_symbols: int) -> None:
        self.n_symbols = n_symbols

    def fit(self, traces: Sequence[Trace]) -> "NearestCounts":
        """Learn from normal traces."""
        counts = np.unique(self._counts(traces), axis=0)
        self.neighbours_ = NearestNeighbors(metric="braycurtis", algorithm="brute").fit(counts)
        return self

    def decision_function(self, traces: Sequence[Trace]) -> np.ndarray:
        """The score of each trace: (traces,), higher is stranger."""
        # Many traces have the same counts: each is looked for once.
        counts, which = np.unique(self._counts(traces), axis=0, return_inverse=True)
        distance: np.ndarray = self.neighbours_.kneighbors(counts, 1)[0][which, 0]
        return distance

    def _counts(self, traces: Sequence[Trace]) -> np.ndarray:
        return np.stack(
            [
                np.bincount(trace, minlength=self.n_symbols + 1).astype(np.float64)
                for trace in traces
            ]
        )
