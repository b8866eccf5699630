"""A window as a set of events: what is known of each event is pooled, and sets are compared.

Pooling forgets the order and the number of events is one more feature ("Deep sets", Zaheer et al.
2017, arXiv:1703.06114, sums learned features in the same way)."""

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import RobustScaler

NEIGHBOURS = 10
REFERENCES = 4000  # past sets that others are compared with by distance
FURTHEST = 10.0  # interquartile ranges that a feature may be from its median


def pooled(values: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
    """The mean and the maximum of a set's rows, and the logarithm of their number.

    values (events, features), such as embeddings or surprises; sets: the positions of each one's
    events, none empty. Returns (sets, 2 * features + 1).

    >>> pooled(np.array([[1.0], [3.0], [5.0]]), [np.array([0, 1]), np.array([2])]).round(2).tolist()
    [[2.0, 3.0, 0.69], [5.0, 5.0, 0.0]]
    """
    count = np.array([len(rows) for rows in sets])
    if not count.all():
        raise ValueError(f"a set must have events, however: set {int(count.argmin())} has none")
    start = np.cumsum(count) - count
    laid_out = values[np.concatenate(sets)]
    mean = np.add.reduceat(laid_out, start) / count[:, None]
    return np.hstack([mean, np.maximum.reduceat(laid_out, start), np.log(count)[:, None]])


class NearestSets:
    """How far a set is from the tenth nearest past one (Ramaswamy et al. 2000). Features are put on
    one scale by their past medians and interquartile ranges. Learned: `scaler_`, `neighbours_`."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def fit(self, features: np.ndarray) -> "NearestSets":
        """Learn from the pooled features of past sets: (sets, features)"""
        self.scaler_ = RobustScaler().fit(features)
        chosen = np.random.default_rng(self.seed).permutation(len(features))[:REFERENCES]
        neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(chosen)))
        self.neighbours_ = neighbours.fit(self._scaled(features[chosen]))
        return self

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        """The score of each set: (sets,), higher is stranger."""
        distance: np.ndarray = self.neighbours_.kneighbors(self._scaled(features))[0][:, -1]
        return distance

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = self.scaler_.transform(features).clip(-FURTHEST, FURTHEST)
        return scaled


class SetForest:
    """Isolation Forest (Liu et al. 2008) on pooled features. Learned: `forest_`."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def fit(self, features: np.ndarray) -> "SetForest":
        """Learn from the pooled features of past sets: (sets, features)"""
        self.forest_ = IsolationForest(
            n_estimators=200, max_samples=min(4096, len(features)), random_state=self.seed
        ).fit(features)
        return self

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        """The score of each set: (sets,), higher is stranger."""
        normality: np.ndarray = self.forest_.score_samples(features)
        return -normality
