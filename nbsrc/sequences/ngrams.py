"""N-grams: which short sequences normal traces contain, and what usually follows them.

No network and no training but counting."""

from collections.abc import Sequence

import numpy as np

Trace = np.ndarray
FACTOR = np.uint64(6364136223846793005)  # odd, so that no step of the hash loses anything


def codes(trace: Trace, n: int) -> np.ndarray:
    """A number for each run of `n` symbols, (symbols - n + 1,), uint64: equal runs have equal ones.

    Unequal runs have unequal ones but for a chance of 2**-64 or so."""
    symbols = trace.astype(np.uint64) + np.uint64(1)
    runs = max(0, len(symbols) - n + 1)
    found = np.zeros(runs, np.uint64)
    for i in range(n if runs else 0):
        found = (found + symbols[i : i + runs]) * FACTOR
        found ^= found >> np.uint64(29)
    return found


class UnseenNGrams:
    """The share of a trace's runs of `n` symbols that no normal trace contains (Forrest et al.
    1996, "A sense of self for Unix processes").

    A trace of fewer symbols has none. Learned: `seen_`."""

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n must be positive, however: {n=}")
        self.n = n

    def fit(self, traces: Sequence[Trace]) -> "UnseenNGrams":
        """Learn from normal traces."""
        self.seen_ = np.unique(np.concatenate([codes(trace, self.n) for trace in traces]))
        return self

    def decision_function(self, traces: Sequence[Trace]) -> np.ndarray:
        """The score of each trace: (traces,), higher is stranger."""
        ones = np.ones(len(self.seen_))
        seen = [_looked_up(codes(trace, self.n), self.seen_, ones) for trace in traces]
        return np.array([1 - own.mean() if len(own) else 0.0 for own in seen])


class NGramModel:
    """How probable each symbol is after the `n` - 1 before it, by counting.

    Where a run is rare, the shorter run counts more: Witten and Bell 1991, as interpolated by Chen
    and Goodman 1999, Sec. 2.6. Learned: `tables_`, for each length the runs, how often something
    followed, and how many different symbols did; `counts_`, how often each run of 1 to n came.

    >>> model = NGramModel(2, n_symbols=2).fit([np.array([0, 1, 0, 1, 0, 1])])
    >>> np.exp(-model.nats(np.array([0, 1, 1]))).round(2).tolist()
    [0.46, 0.86, 0.15]
    """

    def __init__(self, n: int, *, n_symbols: int) -> None:
        if n < 1:
            raise ValueError(f"n must be positive, however: {n=}")
        self.n = n
        self.n_symbols = n_symbols

    def fit(self, traces: Sequence[Trace]) -> "NGramModel":
        """Count in normal traces."""
        self.counts_, self.tables_ = [], []
        for n in range(1, self.n + 1):
            runs = np.concatenate([codes(trace, n) for trace in traces])
            before = np.concatenate([codes(trace[:-1], n - 1) for trace in traces])
            before = before if n > 1 else np.zeros(len(runs), np.uint64)
            known, first, count = np.unique(runs, return_index=True, return_counts=True)
            self.counts_.append((known, count))
            contexts, place = np.unique(before[first], return_inverse=True)
            followed = np.bincount(place, weights=count)
            self.tables_.append((contexts, followed, np.bincount(place)))
        return self

    def nats(self, trace: Trace) -> np.ndarray:
        """-log of the probability of each symbol, given those before it: (symbols,)"""
        share = np.full(len(trace), 1 / (self.n_symbols + 1))
        for n, (runs, table) in enumerate(zip(self.counts_, self.tables_, strict=True), start=1):
            own = codes(trace, n)
            before = codes(trace[:-1], n - 1) if n > 1 else np.zeros(len(own), np.uint64)
            contexts, followed, different = table
            count = _looked_up(own, *runs)
            total, kinds = (
                _looked_up(before, contexts, followed),
                _looked_up(before, contexts, different),
            )
            shorter = share[n - 1 :]
            known = np.maximum(total + kinds, 1)
            share[n - 1 :] = np.where(total > 0, (count + kinds * shorter) / known, shorter)
        nats: np.ndarray = -np.log(share)
        return nats

    def decision_function(self, traces: Sequence[Trace]) -> np.ndarray:
        """The score of each trace, its symbols' mean in nats: (traces,), higher is stranger."""
        return np.array([self.nats(trace).mean() if len(trace) else 0.0 for trace in traces])


def _looked_up(wanted: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values of those of the sorted `keys` that are wanted, 0 for others."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)
