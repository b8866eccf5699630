"""Anomaly scores from a pre-trained network, in PyOD's manners: fit on past events, higher is
stranger.

Neither detector looks at a label. `fit` sees the baseline only: its earlier part as what is normal,
and its last part by time, which `pretrain` did not train on, to learn which scores normal events
get."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from sklearn.exceptions import NotFittedError  # type: ignore[import-untyped]
from torch import Tensor

from nbsrc.selfsupervised.pretraining import MaskedModel, read_tensors, split_by_time, write_tensors
from nbsrc.tabular.encoded import EncodedEvents, rows_of
from nbsrc.training import one_thread

Result = TypeVar("Result")

HELD_OUT = 0.15  # the baseline's last share by time; pretrain's default
MOST_SURPRISING = 3  # objects that make an event's score
EQUAL = 1e-3  # nats: surprises that are this close are equal, as processors round differently


def threshold(scores: np.ndarray, false_alarms: float) -> float:
    """The smallest score that at most a share `false_alarms` of `scores` exceeds.

    >>> threshold(np.arange(1000.0), 0.001)
    998.0
    """
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms must be between 0 and 1, however: {false_alarms=}")
    return float(np.sort(scores)[len(scores) - 1 - int(false_alarms * len(scores))])


def sorted_columns(values: Tensor) -> Tensor:
    """(rows, columns) -> (columns, rows), each column sorted: the past of `tails`."""
    return values.T.contiguous().sort(1).values


def tails(past: Tensor, values: Tensor) -> Tensor:
    """-log of the share of a column's past values that are at least as large; beyond all of them,
    it rises on.

    Shape: past (columns, past events), each column sorted; values (rows, columns) -> (rows,
    columns)

    >>> tails(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0], [2.0], [3.0], [5.0]])).squeeze(1)
    tensor([0.1335, 0.4700, 0.9808, 4.0794])
    """
    n = past.shape[1]
    columns = values.T.contiguous()
    at_least = n - torch.searchsorted(past, columns - EQUAL)
    surprise = -torch.log((torch.arange(n + 1, device=past.device) + 0.5) / (n + 1))
    return (surprise[at_least] + (columns - past[:, -1:]).clamp(min=0)).T


class SurpriseDetector:
    """How unlikely an event's objects are, each given its others, by the masked-feature model.

    An object's surprise is the negative log-likelihood of all its fields together. Objects differ
    in how predictable they are (a destination always is less so than a device), so each surprise is
    compared with those of the same object in the held-out baseline: s = -log of the share of events
    in which it was as large, and at most the surprise itself (of two values that are about equally
    likely, the less likely one is no rarity). The score is the sum of s over the three objects that
    surprise most: a rank truncated product of p-values (Dudbridge and Koeleman 2003), here to rank
    events only, as objects are not independent. A sum over all of them (Fisher's) would drown one
    strange object in many ordinary ones.

    model: pre-trained on the same baseline. false_alarms: the share of normal events that may
    exceed `threshold_`. Learned: `reference_` (objects, held-out events), a tensor, in nats,
    sorted; `usual_` (columns,), each field's mean surprise in the held-out events that have its
    object; `threshold_`.

    Scores are computed on the device that the model is on. Methods raise ValueError if the events
    have other columns than the model, and NotFittedError before `fit`."""

    def __init__(self, model: MaskedModel, *, false_alarms: float = 0.001) -> None:
        self.model = model
        self.false_alarms = false_alarms

    def fit(self, baseline: EncodedEvents) -> "SurpriseDetector":
        """Learn from the last part of the baseline, by time, how large surprises are in normal
        events."""
        recent = rows_of(baseline, split_by_time(baseline.time, HELD_OUT)[1])
        nll = torch.cat(for_batches(self.model, self.model.column_nll, recent))
        owner = self.model.object_of_column
        objects = nll.new_zeros(len(nll), len(self.model.objects)).index_add(1, owner, nll)
        # Events must not be compared with themselves: each half, by time, gets its scores from the
        # other.
        halves = objects.tensor_split(2)
        scores = [_most(sorted_columns(b), a)[0] for a, b in (halves, halves[::-1])]
        self.threshold_ = threshold(torch.cat(scores).cpu().numpy(), self.false_alarms)
        self.reference_ = sorted_columns(objects)
        self.usual_ = nll.sum(0) / (objects > 0).sum(0)[owner].clamp(min=1)
        return self

    def judge(self, encoded: EncodedEvents) -> tuple[np.ndarray, np.ndarray]:
        """The scores (rows,) and the reasons: (rows, 3), a field of each object that the score is
        the sum of.

        Objects that surprise more come first; of each it is the field whose surprise is furthest
        above its usual one, given by its place in `model.names`. A model of fewer than three
        objects has as few reasons."""
        self._check_fitted()
        device = self.model.mask_vectors.device
        owned = [torch.tensor(own, device=device) for own in self.model.columns]
        past, usual = self.reference_.to(device), [self.usual_.to(device)[own] for own in owned]
        with (
            torch.inference_mode(),
            one_thread(),
        ):  # how many threads there are must not change a sum
            once = self.model.added()

        def judge(numeric: Tensor, categorical: Tensor) -> tuple[Tensor, Tensor]:
            surprise = numeric.new_zeros(len(numeric), len(owned))
            field = torch.stack([own[0] for own in owned]).repeat(len(numeric), 1)
            for i, (rows, nll) in enumerate(self.model.object_nll(numeric, categorical, once)):
                surprise[rows, i] = nll.sum(1)
                field[rows, i] = owned[i][(nll - usual[i]).argmax(1)]
            scores, first = _most(past, surprise)
            return scores.cpu(), field.gather(1, first).cpu()

        parts = for_batches(self.model, judge, encoded)
        if not parts:
            return np.empty(0, np.float32), np.empty(
                (0, min(MOST_SURPRISING, len(owned))), np.int64
            )
        scores, reasons = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        return scores, reasons

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger."""
        return self.judge(encoded)[0]

    def predict(self, encoded: EncodedEvents) -> np.ndarray:
        """1 where the score exceeds `threshold_`, else 0: (rows,)"""
        return (self.decision_function(encoded) > self.threshold_).astype(np.int64)

    def save(self, folder: str | Path) -> None:
        """Write the detector and its model to `folder`, as safetensors and JSON."""
        self._check_fitted()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder / "model.safetensors")
        tensors = {"reference": self.reference_, "usual": self.usual_}
        about = {"format": 1, "threshold": self.threshold_, "false_alarms": self.false_alarms}
        write_tensors(folder / "surprise.safetensors", tensors, about)

    @classmethod
    def load(cls, folder: str | Path) -> "SurpriseDetector":
        """Read what `save` wrote, onto the CPU. Raises ValueError if the files are something
        else."""
        folder = Path(folder)
        tensors, about = read_tensors(folder / "surprise.safetensors")
        if about.get("format") != 1:
            raise ValueError(
                f"{folder / 'surprise.safetensors'} holds no detector of this version: fit it again"
            )
        self = cls(
            MaskedModel.load(folder / "model.safetensors"), false_alarms=about["false_alarms"]
        )
        self.reference_, self.usual_ = tensors["reference"], tensors["usual"]
        self.threshold_ = about["threshold"]
        return self

    def _check_fitted(self) -> None:
        if not hasattr(self, "reference_"):
            raise NotFittedError(
                "this SurpriseDetector is not fitted yet: call fit with the baseline"
            )


def _most(past: Tensor, surprise: Tensor) -> tuple[Tensor, Tensor]:
    """Each event's score, and its three objects that surprise most, the first one first; past as
    for `tails`."""
    rarity = torch.minimum(tails(past, surprise), surprise)
    first = rarity.sort(dim=1, descending=True, stable=True).indices[:, :MOST_SURPRISING]
    return rarity.gather(1, first).sum(1), first


def for_batches(
    model: MaskedModel, function: Callable[[Tensor, Tensor], Result], encoded: EncodedEvents
) -> list[Result]:
    """What `function` makes of the events, batch by batch, without gradients; on a CPU, a thread
    for each batch.

    The model is left in eval mode. Its operations are too small to be shared out between threads.
    """
    model.eval()

    def once(batch: tuple[Tensor, Tensor]) -> Result:
        with torch.inference_mode():
            return function(*batch)

    threads = torch.get_num_threads() if model.mask_vectors.device.type == "cpu" else 1
    with one_thread():
        return Parallel(threads, prefer="threads")(
            delayed(once)(batch) for batch in model.batches(encoded)
        )


class KNNDetector:
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
        references: int = 4000,
        false_alarms: float = 0.001,
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
        past, recent = split_by_time(baseline.time, HELD_OUT)
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
        covariance += ridge * torch.eye(
            len(covariance), dtype=covariance.dtype, device=covariance.device
        )
        self.whitening_ = torch.linalg.cholesky(torch.linalg.inv(covariance)).float()
        self.references_ = (embedded - self.mean_) @ self.whitening_
        self.threshold_ = threshold(
            self.decision_function(rows_of(baseline, recent)), self.false_alarms
        )
        return self

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger."""
        if not hasattr(self, "references_"):
            raise NotFittedError("this KNNDetector is not fitted yet: call fit with the baseline")
        scores = []
        for embedded in self._embed(encoded).split(1024):
            distances = torch.cdist((embedded - self.mean_) @ self.whitening_, self.references_)
            scores.append(distances.kthvalue(self.k, 1).values.cpu())
        return torch.cat(scores).numpy()

    def predict(self, encoded: EncodedEvents) -> np.ndarray:
        """1 where the score exceeds `threshold_`, else 0: (rows,)"""
        return (self.decision_function(encoded) > self.threshold_).astype(np.int64)

    def _embed(self, encoded: EncodedEvents) -> Tensor:
        parts = for_batches(self.model, self.model.embed, encoded)
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
