"""What all detectors have in common: the contract, in PyOD's manner, the held-out part of the
baseline, the threshold, and how large a score is beside past ones."""

from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

from nbsrc.selfsupervised.pretraining import split_by_time
from nbsrc.support.tensors import read_tensors
from nbsrc.tabular.encoded import EncodedEvents, rows_of

FALSE_ALARMS = 0.001  # the share of normal events that may exceed a threshold
HELD_OUT = 0.15  # the baseline's last share by time; pretrain's default
REFERENCES = 4000  # past events that others are compared with by distance
EQUAL = 1e-3  # nats: surprises that are this close are equal, as processors round differently


class Ranker(Protocol):
    """Learns from past events, without labels, what is usual, and ranks others by how far they are
    from it. What is learned has a name that ends in "_"."""

    def fit(self, baseline: EncodedEvents) -> Self:
        """Learn from past events."""

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger. Raises NotFittedError before
        `fit`."""


class Detector(Ranker, Protocol):
    """A ranker that also learns from the last past events, in `threshold_`, which scores are worth
    an alarm."""

    threshold_: float

    def predict(self, encoded: EncodedEvents) -> np.ndarray:
        """1 where the score exceeds `threshold_`, else 0: (rows,)"""
        return (self.decision_function(encoded) > self.threshold_).astype(np.int64)


def check_fitted(detector: Ranker) -> None:
    """Raises NotFittedError if the detector has learned nothing."""
    if not any(name.endswith("_") for name in vars(detector)):
        raise NotFittedError(
            f"this {type(detector).__name__} is not fitted yet: call fit with the baseline"
        )


def held_out(baseline: EncodedEvents) -> EncodedEvents:
    """The baseline's last part, by time, which `pretrain` did not train on."""
    return rows_of(baseline, split_by_time(baseline.time, HELD_OUT)[1])


def threshold(scores: np.ndarray, false_alarms: float) -> float:
    """The smallest score that at most a share `false_alarms` of `scores` exceeds.

    >>> threshold(np.arange(1000.0), 0.001)
    998.0
    """
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms must be between 0 and 1, however: {false_alarms=}")
    return float(np.sort(scores)[len(scores) - 1 - int(false_alarms * len(scores))])


def read_state(path: Path, version: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors that a detector's `save` wrote, and what it said about them.

    Raises FileNotFoundError if there is no such file; ValueError if it is damaged, or of another
    version of the format."""
    tensors, about = read_tensors(path)
    if about.get("format") != version:
        raise ValueError(f"{path} holds no detector of this version: fit it again")
    return tensors, about


def sorted_columns(values: Tensor) -> Tensor:
    """(rows, columns) -> (columns, rows), each column sorted: the past of `tails`."""
    return values.T.contiguous().sort(1).values


def tails(past: Tensor, values: Tensor) -> Tensor:
    """-log of the share of a column's past values that are at least as large; beyond all of them,
    it rises on.

    Shape: past (columns, past events), each column sorted; values (rows, columns) -> (rows,
    columns)

    >>> past = torch.tensor([[1.0, 2.0, 3.0]])
    >>> tails(past, torch.tensor([[0.0], [2.0], [3.0], [5.0]])).squeeze(1)
    tensor([0.1335, 0.4700, 0.9808, 4.0794])
    """
    n = past.shape[1]
    columns = values.T.contiguous()
    at_least = n - torch.searchsorted(past, columns - EQUAL)
    surprise = -torch.log((torch.arange(n + 1, device=past.device) + 0.5) / (n + 1))
    return (surprise[at_least] + (columns - past[:, -1:]).clamp(min=0)).T
