"""A detector by distance in the network's embedding."""

import numpy as np
import torch
from torch import Tensor

from nbsrc.detection.base import (
    FALSE_ALARMS,
    HELD_OUT,
    REFERENCES,
    Detector,
    check_fitted,
    held_out,
    threshold,
)
from nbsrc.selfsupervised.batches import BATCH, for_batches
from nbsrc.selfsupervised.model import MaskedModel
from nbsrc.selfsupervised.pretraining import split_by_time
from nbsrc.tabular.encoded import EncodedEvents, rows_of


class KNNDetector(Detector):
    """Distance, in the embedding, to the k-th nearest of a sample of past events.

    Distances are taken after whitening (Mahalanobis): an embedding's few strong directions tell
    classes of events apart, its weak ones tell whether an event's parts belong together. Past
    events may contain an attack, and a copy of it is no evidence that an event is normal: the
    sample holds at most `copies` events with the same categories, and k is larger than that.

    model: pre-trained on the same baseline. Learned: `references_` (references, d_block),
    `threshold_`. Scores are computed on the device that the model is on. Raises ValueError if k is
    not larger than `copies`, the baseline has no more than k references, or events have other
    columns than the model; NotFittedError before `fit`."""

    def __init__(
        self,
        model: MaskedModel,
        *,
        k: int = 10,
        copies: int = 5,
        references: int = REFERENCES,
        false_alarms: float = FALSE_ALARMS,
        seed: int = 0,
    ) -> None:
        if not 0 < copies < k:
            raise ValueError(
                f"k must be larger than copies, and copies positive, however: {k=}, {copies=}"
            )
        self.model = model
        self.k = k
        self.copies = copies
        self.references = references
        self.false_alarms = false_alarms
        self.seed = seed

    def fit(self, baseline: EncodedEvents) -> "KNNDetector":
        """Sample the references from the baseline's earlier part; set the threshold on its last
        part."""
        past, _ = split_by_time(baseline.time, HELD_OUT)
        sample = np.random.default_rng(self.seed).permutation(past)
        sample = sample[_copy_number(baseline.categorical[sample]) < self.copies][: self.references]
        if len(sample) <= self.k:
            raise ValueError(
                f"{self.k} neighbours need more than {self.k} unlike events, however: {len(sample)}"
            )
        embedded = self._embed(rows_of(baseline, sample))
        self.mean_ = embedded.mean(0)
        covariance = torch.cov(embedded.T.double())
        # A direction without variance must not blow up: each is given a thousandth of the mean
        # variance.
        ridge = 1e-3 * covariance.diagonal().mean().clamp(min=1e-12)
        covariance += ridge * torch.eye(len(covariance)).to(covariance)
        self.whitening_ = torch.linalg.cholesky(torch.linalg.inv(covariance)).float()
        self.references_ = (embedded - self.mean_) @ self.whitening_
        self.threshold_ = threshold(self.decision_function(held_out(baseline)), self.false_alarms)
        return self

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger."""
        check_fitted(self)
        scores = []
        for embedded in torch.split(self._embed(encoded), BATCH):
            distances = torch.cdist((embedded - self.mean_) @ self.whitening_, self.references_)
            scores.append(distances.kthvalue(self.k, 1).values.cpu())
        return torch.cat(scores).numpy()

    def _embed(self, encoded: EncodedEvents) -> Tensor:
        parts = for_batches(MaskedModel.embed, self.model, encoded)
        return torch.cat(parts) if parts else self.model.mask_vectors.detach()[:0]


def _copy_number(categorical: np.ndarray) -> np.ndarray:
    """How many earlier rows are equal to each row.

    >>> _copy_number(np.array([[1, 2], [3, 4], [1, 2], [1, 2]])).tolist()
    [0, 0, 1, 2]
    """
    _, kind = np.unique(categorical, axis=0, return_inverse=True)
    order = np.argsort(kind.ravel(), kind="stable")
    counts = np.bincount(kind.ravel())
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return number
