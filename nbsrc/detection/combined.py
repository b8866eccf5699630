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
    read_state,
    sorted_columns,
    tails,
    threshold,
)
from nbsrc.detection.fields import Fields, densities, extremes
from nbsrc.detection.frequencies import Frequencies
from nbsrc.detection.neighbours import Neighbours
from nbsrc.detection.surprise import MOST_SURPRISING, SurpriseDetector, most
from nbsrc.selfsupervised.batches import BATCH, for_batches
from nbsrc.selfsupervised.model import MaskedModel
from nbsrc.selfsupervised.pretraining import split_by_time
from nbsrc.support.tensors import write_tensors
from nbsrc.tabular.encoded import EncodedEvents, rows_of

FORMAT = 3
TINY = 1e-6
FURTHEST = 10  # fields that the extremes are summed up over
PEAKS = 0.1  # share of the recent scores whose excesses tell how the tail goes on


class Rankers(NamedTuple):
    """What needs no network: learned from one past, asked for the events of a batch."""

    frequencies: Frequencies
    extremes: Fields
    densities: Fields
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
            extremes(sample, frequencies),
            densities(sample, frequencies),
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
        (rows, 3), (rows, columns); own as for `Neighbours.score`."""
        columns = self.frequencies.columns(numeric, categorical)
        far = self.extremes.look_up(self.frequencies, numeric, categorical)
        dense = self.densities.look_up(self.frequencies, numeric, categorical)
        parts = [
            far.topk(min(FURTHEST, far.shape[1]), 1).values.sum(1),
            dense.sum(1),
            self.neighbours.score(columns, own),
        ]
        return torch.stack(parts, 1), far

    def weights(self) -> Tensor:
        """What the surprise and the three parts count for, by the share of the columns that are
        categories without an order: (4,)

        Which of those go together, the network alone has learned. What is a number shows in
        densities and distances, to which the many columns of nested events, most of them missing,
        are noise. A field that is far out counts in both."""
        categories = len(self.frequencies.first) - len(self.frequencies.ordered)
        share = categories / (len(self.extremes.quantities) + len(self.frequencies.first))
        return torch.tensor([3 * share, 0.5, 1 - share, 2 * (1 - share)])

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
            Fields(*own("extremes", Fields._fields)),
            Fields(*own("densities", Fields._fields)),
            Neighbours(*own("neighbours", Neighbours._fields)),
        )


class CombinedDetector(Detector):
    """Four rankers that see different things, each as the rarity of its own past scores.

    - **surprise**: how unlikely objects are, given the others (`SurpriseDetector`): the sum over
      the three objects that surprise most.
    - **extremes**: how far out fields are by themselves: the sum over the ten that are furthest
      out, so that hundreds of ordinary fields don't drown a few.
    - **densities**: how few past values lie nearby, the sum over all fields, as HBOS takes it.
    - **neighbours**: the distance to the tenth nearest of some past events, on quantities and the
      categories' frequencies.

    Scores of different kinds are made comparable by their own past: each becomes -log of the share
    of past scores that are as large. The sum of such logarithms is Fisher's way to combine tests
    (1932), here to rank events only, as the rankers are not independent; what each of them counts
    for is in `Rankers.weights`. The mean of several rankers varies less than each of them (Aggarwal
    and Sathe 2015), and is not the best on every set: `results/detectors.json` has where it falls
    behind.

    model: pre-trained on the same baseline. false_alarms: the share of normal events that may
    exceed `threshold_`. Learned: `surprise_`, `rankers_`, `excess_` (parts,), the unit of each,
    `usual_`, the past's parts, sorted, of the surprise (1, held-out events) and the others
    (3, past events), `threshold_`.

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
        surprise = most(self.surprise_.held_out_.cpu())[0][:, None]
        self.rankers_, past = Rankers.of(earlier, self.seed)
        self._scale(surprise, past)
        numeric, categorical = (
            torch.from_numpy(recent.numeric),
            torch.from_numpy(recent.categorical),
        )
        seen = self.rankers_.parts(numeric, categorical)[0]
        self.threshold_ = tail_threshold(
            self._score(torch.cat([surprise, seen], 1)).numpy(), self.false_alarms
        )
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
            scores = self._score(torch.cat([most(rarity)[0][:, None], parts], 1).cpu())
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
        """Learn how large each part of past scores is: (held-out events, 1), (past events, 3)"""
        self.excess_ = torch.tensor([_excess(part) for part in [*surprise.T, *past.T]])
        self.usual_ = (
            sorted_columns(surprise / self.excess_[:1]),
            sorted_columns(past / self.excess_[1:]),
        )

    def _score(self, parts: Tensor) -> Tensor:
        """(rows, parts of the score) -> (rows,)"""
        surprise, others = (parts / self.excess_).split([1, parts.shape[1] - 1], 1)
        rarity = torch.cat([tails(self.usual_[0], surprise), tails(self.usual_[1], others)], 1)
        return rarity @ self.rankers_.weights()

    def save(self, folder: str | Path) -> None:
        """Write the detector and its model to `folder`, as safetensors and JSON."""
        check_fitted(self)
        self.surprise_.save(folder)
        about = {"format": FORMAT, "threshold": self.threshold_, "false_alarms": self.false_alarms}
        write_tensors(
            Path(folder) / "combined.safetensors",
            self.rankers_.tensors()
            | {"excess": self.excess_, "surprise": self.usual_[0], "past": self.usual_[1]},
            about | {"seed": self.seed},
        )

    @classmethod
    def load(cls, folder: str | Path) -> "CombinedDetector":
        """Read what `save` wrote, onto the CPU. Raises ValueError if the files are something
        else."""
        path = Path(folder) / "combined.safetensors"
        tensors, about = read_state(path, FORMAT)
        surprise = SurpriseDetector.load(folder)
        self = cls(surprise.model, false_alarms=about["false_alarms"], seed=about["seed"])
        self.surprise_, self.threshold_ = surprise, about["threshold"]
        self.excess_, self.usual_ = tensors["excess"], (tensors["surprise"], tensors["past"])
        self.rankers_ = Rankers.of_tensors(tensors)
        return self


def _excess(part: Tensor) -> float:
    """The mean of what exceeds the median: the unit of an exponential tail that begins there."""
    above = part[part > part.median()] - part.median()
    unit = float(above.mean())  # not a number where nothing does
    return unit if unit > TINY else 1.0  # a part that never varied


def tail_threshold(scores: np.ndarray, false_alarms: float) -> float:
    """The score that a share `false_alarms` of events like these exceeds, as if the highest tenth
    of the scores were an exponential tail.

    Peaks over a threshold (Siffer et al. 2017). NOTE[DIFF] They fit a generalized Pareto
    tail; the scores here are sums of -log of shares, whose tail is about exponential (shape 0), and
    a shape that is fitted to a few peaks is off by more than that.

    >>> nats = -np.log(np.arange(1, 10001) / 10000)
    >>> round(tail_threshold(nats, 0.0001), 1), round(-math.log(0.0001), 1)
    (9.2, 9.2)
    """
    if not 0 < false_alarms <= PEAKS:
        return threshold(scores, false_alarms)  # which refuses what is no share
    start = float(np.quantile(scores, 1 - PEAKS))
    above = scores[scores > start] - start
    return start + math.log(PEAKS / false_alarms) * float(above.mean() if len(above) else 0)
