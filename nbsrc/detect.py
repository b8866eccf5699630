"""Anomaly scores from a pre-trained network, in PyOD's manners: fit, decision_function, threshold_; higher is stranger."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nbsrc.ocsf import EncodedEvents
from nbsrc.pretrain import MaskedModel, split_by_time

HELD_OUT = 0.15  # the baseline's last share by time: neither references nor, by pretrain's default, training data
BATCH = 1024  # events scored at once; larger ones fall out of a CPU's cache


def budget_threshold(scores: np.ndarray, false_alarms: float) -> float:
    """The score that a share `false_alarms` of these scores exceeds."""
    return float(np.quantile(scores, 1 - false_alarms, method="higher"))


class SurpriseDetector:
    def __init__(self, model: MaskedModel, *, false_alarms: float = 0.001) -> None:
        self.model = model
        self.false_alarms = false_alarms

    def explain(self, encoded: EncodedEvents) -> np.ndarray:
        self.model.eval()
        with torch.no_grad():
            return torch.cat([self.model.column_surprise(*b) for b in self.model.batches(encoded, BATCH)]).cpu().numpy()


class KNNDetector:
    """Distance to the k-th nearest of some past events, in the embedding."""

    def __init__(self, model: MaskedModel, *, k: int = 20, references: int = 4000, seed: int = 0, trim: float = 0.05) -> None:
        self.model, self.k, self.references, self.seed, self.trim = model, k, references, seed, trim

    def embed(self, encoded: EncodedEvents) -> Tensor:
        self.model.eval()
        with torch.no_grad():
            return torch.cat([self.model.embed(*b) for b in self.model.batches(encoded, BATCH)])

    def fit(self, e: Tensor) -> "KNNDetector":
        g = torch.Generator().manual_seed(self.seed)
        rows = torch.randperm(len(e), generator=g)[: self.references]
        self.mean, self.std = e.mean(0), e.std(0) + 1e-6
        self.ref = (e[rows] - self.mean) / self.std
        return self

    def decision_function(self, e: Tensor) -> np.ndarray:
        e = (e - self.mean) / self.std
        return torch.cat([torch.cdist(b, self.ref).topk(self.k, largest=False).values[:, -1] for b in e.split(1024)]).numpy()
