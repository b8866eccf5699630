"""Events as numbers that distances can read: a category is how rare it is."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.expressions import CLIP

QUARTILES = (0.25, 0.75)
SPREADS = (QUARTILES, (0.01, 0.99), (0.0, 1.0))  # the first of them that is not 0 is the unit


class Frequencies(NamedTuple):
    """How rare each category was among past events, and which number it is.

    nats (all columns' categories,): -log of the category's share, counted once more than it came,
    so that what never came has one, too. first (columns,): where each column's categories begin.
    ordered (ordered columns,): those whose categories are whole numbers, which have an order.
    number (all columns' categories,): these numbers, less the median, in interquartile ranges; 0
    for all else."""

    nats: Tensor
    first: Tensor
    ordered: Tensor
    number: Tensor

    @classmethod
    def of(cls, baseline: EncodedEvents) -> "Frequencies":
        """Count the past events' categories."""
        sizes = torch.tensor(baseline.cardinalities, dtype=torch.int64)
        first = sizes.cumsum(0) - sizes
        places = (torch.from_numpy(baseline.categorical) + first).flatten()
        counts = torch.bincount(places, minlength=int(sizes.sum())) + 1
        total = torch.repeat_interleave(len(baseline.time) + sizes, sizes)
        nats = (total.double() / counts).log().float()
        number, ordered = torch.zeros_like(nats), []
        for i, (own, values) in enumerate(zip(first, baseline.numbers, strict=False)):
            if values is not None:
                ordered.append(i)
                number[own : own + sizes[i]] = _scaled(values, baseline.categorical[:, i])
        return cls(nats, first, torch.tensor(ordered, dtype=torch.int64), number)

    def columns(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """The quantities as they are, each category's nats, and the numbers of ordered ones.

        Shape: (rows, quantities) and (rows, categories) -> (rows, quantities + categories + ordered
        columns)"""
        place = categorical + self.first
        ordered = self.number.take(place.index_select(1, self.ordered))
        return torch.cat([numeric, self.nats.take(place), ordered], 1)


def _scaled(values: np.ndarray, past: np.ndarray) -> Tensor:
    """A column's numbers (categories,), NaN where there is none, as the encoder scales
    quantities; past (rows,) are the past events' categories."""
    came = values[past]
    came = came[~np.isnan(came)]
    if not len(came):
        return torch.zeros(len(values))
    spreads = (float(np.diff(np.quantile(came, q))[0]) for q in SPREADS)
    unit = next((spread for spread in spreads if spread > 0), 1.0)
    scaled = ((values - np.median(came)) / unit).clip(-CLIP, CLIP)
    return torch.from_numpy(np.nan_to_num(scaled)).float()
