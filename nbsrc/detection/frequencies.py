"""Events as numbers that trees and distances can read: a category is how rare it is."""

from typing import NamedTuple

import torch
from torch import Tensor

from nbsrc.tabular.encoded import EncodedEvents


class Frequencies(NamedTuple):
    """How rare each category was among past events.

    nats (all columns' categories,): -log of the category's share, counted once more than it came,
    so that what never came has one, too. first (columns,): where each column's categories begin."""

    nats: Tensor
    first: Tensor

    @classmethod
    def of(cls, baseline: EncodedEvents) -> "Frequencies":
        """Count the past events' categories."""
        sizes = torch.tensor(baseline.cardinalities, dtype=torch.int64)
        first = sizes.cumsum(0) - sizes
        places = (torch.from_numpy(baseline.categorical) + first).flatten()
        counts = torch.bincount(places, minlength=int(sizes.sum())) + 1
        total = torch.repeat_interleave(len(baseline.time) + sizes, sizes)
        return cls((total.double() / counts).log().float(), first)

    def columns(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """The quantities as they are, and each category replaced by its nats.

        Shape: (rows, quantities) and (rows, categories) -> (rows, quantities + categories)"""
        return torch.cat([numeric, self.nats.take(categorical + self.first)], 1)
