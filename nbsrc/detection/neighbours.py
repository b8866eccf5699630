"""How far the nearest of a few past events are."""

from typing import NamedTuple

import torch
from torch import Tensor

FEW, MANY = 64, 256  # past events that others are compared with, at least and at most
NUMBERS = 25_000  # in the references: to compare costs as much
NEIGHBOURS = 10


class Neighbours(NamedTuple):
    """The distance to the tenth nearest of a sample of past events (Ramaswamy et al. 2000), summed
    up over the columns (L1): squares, as in the Euclidean one, would be those of one or two columns
    where many count.

    A sample is not only fast: where the past has anomalies that resemble each other, few of them
    are in it (Sugiyama and Borgwardt 2013). The wider the events, the smaller it is.

    references (references, columns)."""

    references: Tensor

    @classmethod
    def of(cls, past: Tensor) -> "Neighbours":
        """Take the first of the past events (rows, columns), which are in random order."""
        return cls(past[: max(FEW, min(MANY, NUMBERS // past.shape[1]))])

    def score(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """The distances: (rows, columns) -> (rows,)

        own (rows,), bool: which of the events are references themselves, and not their own
        neighbours."""
        k = min(NEIGHBOURS, len(self.references) - 1)
        near = torch.cdist(x, self.references, p=1).topk(k + 1, 1, largest=False).values
        return near[:, k - 1] if own is None else torch.where(own, near[:, k], near[:, k - 1])
