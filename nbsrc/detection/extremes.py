"""How far out each field of an event is, by itself."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nbsrc.detection.base import sorted_columns, tails
from nbsrc.detection.frequencies import Frequencies
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.expressions import CLIP

STEPS = 100  # an interquartile range: finer differences of a quantity are none


class Extremes(NamedTuple):
    """Both tails of each quantity, as ECOD takes them (Li et al. 2022, Sec. 3), and the rare end of
    each category, as HBOS does (Goldstein and Dengel 2012), as tables to look up.

    quantities (quantities, places from -10 to 10 interquartile ranges): -log of twice the share of
    past values that are as far out, on the side where it is less; beyond all of them, it rises on
    by one for each interquartile range. rare (all columns' categories,): -log of the share of past
    events whose category is at least as rare. NOTE[DIFF] ECOD sums one tail over all columns; here
    a quantity counts with the tail that it is further out in, and the sum is left to others."""

    quantities: Tensor
    rare: Tensor

    @classmethod
    def of(cls, past: EncodedEvents, frequencies: Frequencies) -> "Extremes":
        """Count the past events' values."""
        numeric = torch.from_numpy(past.numeric)
        places = torch.linspace(-CLIP, CLIP, int(2 * CLIP * STEPS) + 1)
        places = places[:, None].expand(-1, numeric.shape[1])
        far = torch.maximum(
            tails(sorted_columns(-numeric), -places), tails(sorted_columns(numeric), places)
        )
        nats = frequencies.nats.split(past.cardinalities)
        columns = zip(torch.from_numpy(past.categorical).T, nats, strict=True)
        rare = [tails(sorted_columns(n[c, None]), n[:, None])[:, 0] for c, n in columns]
        return cls(
            (far.T - math.log(2)).clamp(min=0).contiguous(), torch.cat([*rare, far.new_zeros(0)])
        )

    def nats(self, frequencies: Frequencies, numeric: Tensor, categorical: Tensor) -> Tensor:
        """How far out each field is: (rows, quantities), (rows, categories) -> (rows, columns)"""
        n, places = self.quantities.shape
        first = torch.arange(n, device=numeric.device) * places
        place = ((numeric + CLIP) * STEPS).round().long().clamp(0, places - 1)
        rare = self.rare.take(categorical + frequencies.first)
        return torch.cat([self.quantities.take(place + first), rare], 1)
