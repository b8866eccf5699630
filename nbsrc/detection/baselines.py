"""Usual methods on the encoded columns, to compare the detectors with: none reads a network.

They rank, and set no threshold."""

import math

import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from nbsrc.detection.base import REFERENCES, Ranker, check_fitted, held_out, sorted_columns, tails
from nbsrc.detection.frequencies import Frequencies
from nbsrc.detection.surprise import MOST_SURPRISING
from nbsrc.selfsupervised.objects import objects_of
from nbsrc.tabular.encoded import EncodedEvents, rows_of

DISTANCE_WIDTH = 256  # of the vectors whose distances stand for those of all columns
NEIGHBOURS = 20


class Rarity(Ranker):
    """Each field by itself, as histogram-based scores (HBOS; Goldstein and Dengel 2012) take it.

    A category's rarity is -log of its share in the baseline, a quantity's its distance from the
    median; each is compared with those of the same field in the held-out baseline (`tails`). The
    score is the sum over the three objects with the rarest field: on the streams that settings were
    chosen on, this ranks better than to sum up an object's fields, as SurpriseDetector does."""

    def fit(self, baseline: EncodedEvents) -> "Rarity":
        """Count each column's categories."""
        owners = np.array(objects_of(baseline.numeric_names + baseline.categorical_names))
        self.columns_ = [np.flatnonzero(owners == name) for name in np.unique(owners)]
        self.frequencies_ = Frequencies.of(baseline)
        self.past_ = sorted_columns(self._rarity(held_out(baseline)))
        return self

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger."""
        check_fitted(self)
        fields = tails(self.past_, self._rarity(encoded)).numpy()
        objects = np.stack([fields[:, own].max(1) for own in self.columns_], 1)
        scores: np.ndarray = np.sort(objects, 1)[:, -MOST_SURPRISING:].sum(1)
        return scores

    def _rarity(self, encoded: EncodedEvents) -> torch.Tensor:
        return _columns(encoded, self.frequencies_).abs()


class Forest(Ranker):
    """Isolation Forest (Liu et al. 2008), which sees each category as how rare it is: splitting the
    encoder's indices would split by chance."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def fit(self, baseline: EncodedEvents) -> "Forest":
        """Grow the trees on the baseline."""
        self.frequencies_ = Frequencies.of(baseline)
        past = _columns(baseline, self.frequencies_).numpy()
        self.forest_ = IsolationForest(
            n_estimators=200, max_samples=min(4096, len(past)), random_state=self.seed
        ).fit(past)
        return self

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger."""
        check_fitted(self)
        normality: np.ndarray = self.forest_.score_samples(
            _columns(encoded, self.frequencies_).numpy()
        )
        return -normality


class Distance(Ranker):
    """kNN (Ramaswamy et al. 2000) and, with `local`, LOF (Breunig et al. 2000), on the columns.

    The squared distance of two events is the number of categories in which they differ, plus half
    the squared difference of the quantities; random signs (Johnson and Lindenstrauss; Achlioptas
    2003) keep it to about a tenth in 256 columns, which makes it affordable."""

    def __init__(self, *, seed: int, local: bool = False) -> None:
        self.local = local
        self.seed = seed

    def fit(self, baseline: EncodedEvents) -> "Distance":
        """Draw the signs, and a sample of the baseline to compare with."""
        rng = np.random.default_rng(self.seed)
        self.signs_ = [
            rng.choice([-1.0, 1.0], (n, DISTANCE_WIDTH)) / math.sqrt(2 * DISTANCE_WIDTH)
            for n in baseline.cardinalities
        ]
        chosen = rng.permutation(len(baseline.time))[:REFERENCES]
        kind = LocalOutlierFactor(NEIGHBOURS, novelty=True) if self.local else NearestNeighbors()
        self.neighbours_ = kind.fit(self._vectors(rows_of(baseline, chosen)))
        return self

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger."""
        check_fitted(self)
        vectors = self._vectors(encoded)
        scores: np.ndarray
        if self.local:
            scores = -self.neighbours_.score_samples(vectors)
        else:
            scores = self.neighbours_.kneighbors(vectors, NEIGHBOURS)[0][:, -1]
        return scores

    def _vectors(self, encoded: EncodedEvents) -> np.ndarray:
        summed = np.zeros((len(encoded.time), DISTANCE_WIDTH), np.float32)
        for i, signs in enumerate(self.signs_):
            summed += signs.astype(np.float32)[encoded.categorical[:, i]]
        return np.concatenate([encoded.numeric * np.float32(math.sqrt(0.5)), summed], 1)


def _columns(events: EncodedEvents, frequencies: Frequencies) -> torch.Tensor:
    """`Frequencies.columns` of all events at once."""
    return frequencies.columns(
        torch.from_numpy(events.numeric), torch.from_numpy(events.categorical)
    )
