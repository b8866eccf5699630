"""The detector of the scoring command: the network's surprise, and three rankers that need none."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nbsrc.detection.base import (
    FALSE_ALARMS,
    HELD_OUT,
    REFERENCES,
    Detector,
    check_fitted,
    threshold,
)
from nbsrc.detection.extremes import Extremes
from nbsrc.detection.frequencies import Frequencies
from nbsrc.detection.neighbours import Neighbours
from nbsrc.detection.surprise import MOST_SURPRISING, SurpriseDetector, most
from nbsrc.detection.trees import Trees
from nbsrc.selfsupervised.batches import BATCH, for_batches
from nbsrc.selfsupervised.model import MaskedModel
from nbsrc.selfsupervised.pretraining import split_by_time
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.encoded import EncodedEvents, rows_of

FORMAT = 1
TINY = 1e-6
FURTHEST = (3, 10)  # sums are taken over so many of the fields that are furthest out
WEIGHTS = (1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 4, 1 / 4)  # a quarter for each of four rankers


class Rankers(NamedTuple):
    """What needs no network: learned from one past, asked for the events of a batch."""

    frequencies: Frequencies
    extremes: Extremes
    trees: Trees
    neighbours: Neighbours

    @classmethod
    def of(cls, past: EncodedEvents, seed: int) -> tuple["Rankers", Tensor]:
        """Learn from past events; and the parts of the score of those that were learned from: of a
        long past, of a sample."""
        order = np.random.default_rng(seed).permutation(len(past.time))
        sample = rows_of(past, order[:REFERENCES])
        frequencies = Frequencies.of(past)
        given = torch.from_numpy(sample.numeric), torch.from_numpy(sample.categorical)
        columns = frequencies.columns(*given)
        self = cls(
            frequencies,
            Extremes.of(sample, frequencies),
            Trees.of(columns, seed),
            Neighbours.of(columns),
        )
        rows = torch.arange(len(columns)).split(BATCH)
        n = len(self.neighbours.references)
        parts = [self.parts(given[0][some], given[1][some], some < n)[0] for some in rows]
        return self, torch.cat(parts)

    def parts(
        self, numeric: Tensor, categorical: Tensor, own: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The parts of the events' scores that need no network, and how far out each field is:
        (rows, 4), (rows, columns); own as for `Neighbours.score`."""
        columns = self.frequencies.columns(numeric, categorical)
        far = self.extremes.nats(self.frequencies, numeric, categorical)
        furthest = far.topk(min(max(FURTHEST), far.shape[1]), 1).values
        sums = [furthest[:, :n].sum(1) for n in FURTHEST]
        return (
            torch.stack([*sums, self.trees.score(columns), self.neighbours.score(columns, own)], 1),
            far,
        )

    def to(self, device: torch.device) -> "Rankers":
        """The same on another device."""
        return Rankers.of_tensors({name: t.to(device) for name, t in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """What was learned, by name."""
        return {
            f"{ranker}.{name}": tensor
            for ranker, of in self._asdict().items()
            for name, tensor in of._asdict().items()
        }

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor]) -> "Rankers":
        """What `tensors` gave. Raises KeyError if one is missing."""

        def own(ranker: str, names: tuple[str, ...]) -> Iterator[Tensor]:
            return (tensors[f"{ranker}.{name}"] for name in names)

        return cls(
            Frequencies(*own("frequencies", Frequencies._fields)),
            Extremes(*own("extremes", Extremes._fields)),
            Trees(*own("trees", Trees._fields)),
            Neighbours(*own("neighbours", Neighbours._fields)),
        )


class CombinedDetector(Detector):
    """The mean of four rankers that see different things.

    - **surprise**: how unlikely objects are, given the others (`SurpriseDetector`): the sum over
      the three objects that surprise most, and the sum over all.
    - **extremes**: how far out fields are by themselves: the sum over the three fields that are
      furthest out, and over the ten.
    - **trees**: Isolation Forest, on quantities and the categories' frequencies.
    - **neighbours**: the distance to the tenth nearest of some past events, on the same.

    A few strange fields among hundreds are drowned by a sum over all, and a table of some numbers,
    each of them a little off, is not seen by the three largest: so both sums are taken. Scores of
    different kinds are made comparable by their own past: less the median, over the mean excess
    over the median, as if each were an exponential tail, in the past half that lies above. The mean
    of several rankers varies less than each of them (Aggarwal and Sathe 2015), and is not the best
    on every set: `results/detectors.json` has where it falls behind.

    model: pre-trained on the same baseline. false_alarms: the share of normal events that may
    exceed `threshold_`. Learned: `surprise_`, `rankers_`, `median_` and `excess_` (parts of the
    score,), `threshold_`.

    Scores are computed on the device that the model is on. Methods raise ValueError if the events
    have other columns than the model, and NotFittedError before `fit`."""

    def __init__(
        self, model: MaskedModel, *, false_alarms: float = FALSE_ALARMS, seed: int = 0
    ) -> None:
        self.model = model
        self.false_alarms = false_alarms
        self.seed = seed

    def fit(self, baseline: EncodedEvents) -> "CombinedDetector":
        """Learn from all of the baseline; and how large the scores of normal events are from its
        last part, by time, with rankers that have not seen it."""
        self.surprise_ = SurpriseDetector(self.model, false_alarms=self.false_alarms).fit(baseline)
        parts = split_by_time(baseline.time, HELD_OUT)
        earlier, recent = (rows_of(baseline, rows) for rows in parts)
        surprise = sums(self.surprise_.held_out_.cpu())
        trial, past = Rankers.of(earlier, self.seed)
        self._scale(surprise, past)
        seen = trial.parts(torch.from_numpy(recent.numeric), torch.from_numpy(recent.categorical))
        scores = self._score(torch.cat([surprise, seen[0]], 1)).numpy()
        self.threshold_ = threshold(scores, self.false_alarms)
        # Of fewer events than one false alarm takes, the largest score is not rare enough. As if
        # their tail were exponential (the simplest of Siffer et al. 2017), it rises on.
        above = scores[scores > np.median(scores)] - np.median(scores)
        wanting = math.log(max(1.0, 1 / (self.false_alarms * len(scores))))
        self.threshold_ += wanting * float(above.mean() if len(above) else 0)
        self.rankers_, past = Rankers.of(baseline, self.seed)
        self._scale(surprise, past)
        return self

    def judge(self, encoded: EncodedEvents) -> tuple[np.ndarray, np.ndarray]:
        """The scores (rows,) and the reasons: (rows, 3), a field of each of three objects, given by
        its place in `model.names`.

        The first object is the one that stands out most, by its surprise or by its field that is
        furthest out; its field is the one that surprises most, or the one that is furthest out,
        whichever is rarer. A model of fewer than three objects has as few reasons."""
        check_fitted(self)
        device = self.model.mask_vectors.device
        objects, rankers = self.surprise_.objects(), self.rankers_.to(device)
        owned = [torch.tensor(own, device=device) for own in self.model.columns]

        def judge(
            model: MaskedModel, numeric: Tensor, categorical: Tensor
        ) -> tuple[Tensor, Tensor]:
            rarity, field = objects(numeric, categorical)
            parts, far = rankers.parts(numeric, categorical)
            scores = self._score(torch.cat([sums(rarity), parts], 1).cpu())
            furthest = [far.index_select(1, own).max(1) for own in owned]
            out = torch.stack([one.values for one in furthest], 1) * model.there(categorical)
            out_field = torch.stack(
                [own[one.indices] for own, one in zip(owned, furthest, strict=True)], 1
            )
            field = torch.where(out > rarity, out_field, field)
            first = most(torch.maximum(out, rarity))[1]
            return scores, field.gather(1, first).cpu()

        judged = for_batches(judge, self.model, encoded)
        if not judged:
            none = np.empty((0, min(MOST_SURPRISING, len(owned))), np.int64)
            return np.empty(0, np.float32), none
        scores, reasons = (torch.cat(part).numpy() for part in zip(*judged, strict=True))
        return scores, reasons

    def decision_function(self, encoded: EncodedEvents) -> np.ndarray:
        """The score of each event: (rows,), higher is stranger."""
        return self.judge(encoded)[0]

    def _scale(self, surprise: Tensor, past: Tensor) -> None:
        """Learn how large each part of past scores is."""
        both = [*surprise.T, *past.T]
        self.median_ = torch.stack([part.median() for part in both])
        excess = [
            (part - median).clamp(min=0).sum() / (part > median).sum().clamp(min=1)
            for part, median in zip(both, self.median_, strict=True)
        ]
        self.excess_ = torch.stack(excess)
        self.excess_[self.excess_ < TINY] = 1  # a part that never varied

    def _score(self, parts: Tensor) -> Tensor:
        """(rows, parts of the score) -> (rows,)"""
        scaled = ((parts - self.median_) / self.excess_).clamp(min=-1)
        return scaled @ scaled.new_tensor(WEIGHTS)

    def save(self, folder: str | Path) -> None:
        """Write the detector and its model to `folder`, as safetensors and JSON."""
        check_fitted(self)
        self.surprise_.save(folder)
        about = {"format": FORMAT, "threshold": self.threshold_, "false_alarms": self.false_alarms}
        write_tensors(
            Path(folder) / "combined.safetensors",
            self.rankers_.tensors() | {"median": self.median_, "excess": self.excess_},
            about | {"seed": self.seed},
        )

    @classmethod
    def load(cls, folder: str | Path) -> "CombinedDetector":
        """Read what `save` wrote, onto the CPU. Raises ValueError if the files are something
        else."""
        path = Path(folder) / "combined.safetensors"
        tensors, about = read_tensors(path)
        if about.get("format") != FORMAT:
            raise ValueError(f"{path} holds no detector of this version: fit it again")
        surprise = SurpriseDetector.load(folder)
        self = cls(surprise.model, false_alarms=about["false_alarms"], seed=about["seed"])
        self.surprise_, self.threshold_ = surprise, about["threshold"]
        self.median_, self.excess_ = tensors["median"], tensors["excess"]
        self.rankers_ = Rankers.of_tensors(tensors)
        return self


def sums(rarity: Tensor) -> Tensor:
    """The parts of the score that the objects' surprises make: (rows, objects) -> (rows, 2)"""
    return torch.stack([most(rarity)[0], rarity.sum(1)], 1)
