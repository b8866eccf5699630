"""The detector that asks the network: how unlikely are an event's objects, each given its others?

It also gives reasons, and can be saved."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nbsrc.detection.base import (
    FALSE_ALARMS,
    Detector,
    check_fitted,
    held_out,
    read_state,
    sorted_columns,
    tails,
    threshold,
)
from nbsrc.selfsupervised.batches import for_batches
from nbsrc.selfsupervised.inference import added, column_nll, object_nll
from nbsrc.selfsupervised.model import MaskedModel
from nbsrc.selfsupervised.storage import load_model, save_model
from nbsrc.support.tensors import write_tensors
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.training import one_thread

MOST_SURPRISING = 3  # objects that make an event's score
FORMAT = 1


class SurpriseDetector(Detector):
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

    def __init__(self, model: MaskedModel, *, false_alarms: float = FALSE_ALARMS) -> None:
        self.model = model
        self.false_alarms = false_alarms

    def fit(self, baseline: EncodedEvents) -> "SurpriseDetector":
        """Learn from the last part of the baseline, by time, how large surprises are in normal
        events."""
        nll = torch.cat(for_batches(column_nll, self.model, held_out(baseline)))
        owner = self.model.object_of_column
        objects = nll.new_zeros(len(nll), len(self.model.objects)).index_add(1, owner, nll)
        self.held_out_ = crossed(objects)
        self.threshold_ = threshold(most(self.held_out_)[0].cpu().numpy(), self.false_alarms)
        self.reference_ = sorted_columns(objects)
        self.usual_ = nll.sum(0) / (objects > 0).sum(0)[owner].clamp(min=1)
        return self

    def judge(self, encoded: EncodedEvents) -> tuple[np.ndarray, np.ndarray]:
        """The scores (rows,) and the reasons: (rows, 3), a field of each object that the score is
        the sum of.

        Objects that surprise more come first; of each it is the field whose surprise is furthest
        above its usual one, given by its place in `model.names`. A model of fewer than three
        objects has as few reasons."""

        def judge(
            model: MaskedModel, numeric: Tensor, categorical: Tensor
        ) -> tuple[Tensor, Tensor]:
            rarity, field = objects(numeric, categorical)
            scores, first = most(rarity)
            return scores.cpu(), field.gather(1, first).cpu()

        objects = self.objects()
        parts = for_batches(judge, self.model, encoded)
        if not parts:
            none = np.empty((0, min(MOST_SURPRISING, len(self.model.columns))), np.int64)
            return np.empty(0, np.float32), none
        scores, reasons = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        return scores, reasons

    def objects(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """A function that tells, of a batch's quantities and categories, how rare the surprise of
        each object is, and which of its fields surprises most: (rows, objects), (rows, objects)"""
        check_fitted(self)
        model, device = self.model, self.model.mask_vectors.device
        owned = [torch.tensor(own, device=device) for own in model.columns]
        past, usual = self.reference_.to(device), [self.usual_.to(device)[own] for own in owned]
        with torch.inference_mode(), one_thread():  # how many threads must not change a sum
            once = added(model)

        def objects(numeric: Tensor, categorical: Tensor) -> tuple[Tensor, Tensor]:
            surprise = numeric.new_zeros(len(numeric), len(owned))
            field = torch.stack([own[0] for own in owned]).repeat(len(numeric), 1)
            for i, (rows, nll) in enumerate(object_nll(model, numeric, categorical, once)):
                surprise[rows, i] = nll.sum(1)
                field[rows, i] = owned[i][(nll - usual[i]).argmax(1)]
            return rarity(past, surprise), field

        return objects

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger."""
        return self.judge(encoded)[0]

    def save(self, folder: str | Path) -> None:
        """Write the detector and its model to `folder`, as safetensors and JSON."""
        check_fitted(self)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, folder / "model.safetensors")
        tensors = {"reference": self.reference_, "usual": self.usual_}
        about = {"format": FORMAT, "threshold": self.threshold_, "false_alarms": self.false_alarms}
        write_tensors(folder / "surprise.safetensors", tensors, about)

    @classmethod
    def load(cls, folder: str | Path) -> "SurpriseDetector":
        """Read what `save` wrote, onto the CPU. Raises ValueError if the files are something
        else."""
        path = Path(folder) / "surprise.safetensors"
        tensors, about = read_state(path, FORMAT)
        self = cls(
            load_model(path.with_name("model.safetensors")), false_alarms=about["false_alarms"]
        )
        self.reference_, self.usual_ = tensors["reference"], tensors["usual"]
        self.threshold_ = about["threshold"]
        return self


def rarity(past: Tensor, surprise: Tensor) -> Tensor:
    """How rare each object's surprise is, in nats: (rows, objects); past as for `tails`."""
    return torch.minimum(tails(past, surprise), surprise)


def crossed(surprise: Tensor) -> Tensor:
    """`rarity` of events among themselves, (events, objects) in the order of time.

    Events must not be compared with themselves: each half, by time, gets its rarities from the
    other."""
    halves = surprise.tensor_split(2)
    return torch.cat([rarity(sorted_columns(b), a) for a, b in (halves, halves[::-1])])


def most(rarity: Tensor) -> tuple[Tensor, Tensor]:
    """Each event's score, and its three objects that surprise most, the first one first."""
    first = rarity.sort(dim=1, descending=True, stable=True).indices[:, :MOST_SURPRISING]
    return rarity.gather(1, first).sum(1), first
