"""How unusual each field of an event is by itself, as tables to look up."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nbsrc.detection.base import sorted_columns, tails
from nbsrc.detection.frequencies import Frequencies
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.expressions import CLIP

STEPS = 100  # an interquartile range: finer differences of a quantity are none
BINS = 10
FLOOR = 0.1  # of a bin's share: an empty one counts for no more than -log of this


class Fields(NamedTuple):
    """What each value of each field counts for.

    quantities (quantities, places from -10 to 10 interquartile ranges), categories (all columns'
    categories,)."""

    quantities: Tensor
    categories: Tensor

    def look_up(self, frequencies: Frequencies, numeric: Tensor, categorical: Tensor) -> Tensor:
        """(rows, quantities), (rows, categories) -> (rows, columns)"""
        n, places = self.quantities.shape
        first = torch.arange(n, device=numeric.device) * places
        place = ((numeric + CLIP) * STEPS).round().long().clamp(0, places - 1)
        categories = self.categories.take(categorical + frequencies.first)
        return torch.cat([self.quantities.take(place + first), categories], 1)


def places() -> Tensor:
    """The values that quantities are rounded to."""
    return torch.linspace(-CLIP, CLIP, int(2 * CLIP * STEPS) + 1)


def extremes(past: EncodedEvents, frequencies: Frequencies) -> Fields:
    """How far out: both tails of each quantity, as ECOD takes them (Li et al. 2022, Sec. 3), and
    the rare end of each category.

    A quantity: -log of twice the share of past values that are as far out, on the side where it is
    less; beyond all of them, it rises on by one for each interquartile range. A category: -log of
    the share of past events whose category is at least as rare. NOTE[DIFF] ECOD sums one tail over
    all columns; here a quantity counts with the tail that it is further out in."""
    numeric = torch.from_numpy(past.numeric)
    at = places()[:, None].expand(-1, numeric.shape[1])
    far = torch.maximum(tails(sorted_columns(-numeric), -at), tails(sorted_columns(numeric), at))
    nats = frequencies.nats.split(past.cardinalities)
    columns = zip(torch.from_numpy(past.categorical).T, nats, strict=True)
    rare = [tails(sorted_columns(n[c, None]), n[:, None])[:, 0] for c, n in columns]
    return Fields(
        (far.T - math.log(2)).clamp(min=0).contiguous(), torch.cat([*rare, far.new_zeros(0)])
    )


def densities(past: EncodedEvents, frequencies: Frequencies) -> Fields:
    """How few past values lie nearby, as HBOS does (Goldstein and Dengel 2012): -log of a
    bin's share, over that of the fullest bin, of ten equal bins from the least to the largest past
    value; a category is its own bin.

    What lies between two heaps of values is unusual here, and what is a little off in every column
    adds up. No bin counts for more than an empty one, so that no column outvotes the others.
    NOTE[DIFF] The values are the encoder's: heavy tails are logarithms, which equal bins need. A
    category of whole numbers counts twice: as a category and by its histogram."""
    quantities = [_density(values, places().numpy()) for values in past.numeric.T]
    categories = []
    numbers = frequencies.number.split(past.cardinalities)
    ordered = set(frequencies.ordered.tolist())
    for i, (values, own) in enumerate(zip(past.categorical.T, numbers, strict=True)):
        counts = np.bincount(values, minlength=len(own))
        density = -np.log(counts / counts.max() + FLOOR)
        if i in ordered:
            density += _density(own.numpy()[values], own.numpy())
        categories.append(density)
    width = len(places())
    return Fields(
        torch.from_numpy(np.stack([np.empty(width), *quantities])[1:]).float().contiguous(),
        torch.from_numpy(np.concatenate([*categories, np.empty(0)])).float(),
    )


def _density(past: np.ndarray, values: np.ndarray) -> np.ndarray:
    """-log of the share of past values in each value's bin, over that in the fullest."""
    counts, edges = np.histogram(past, BINS)
    near = 0.5 / STEPS  # values are rounded to places
    inside = (values >= edges[0] - near) & (values <= edges[-1] + near)
    own = (np.searchsorted(edges, values, "right") - 1).clip(0, BINS - 1)
    density: np.ndarray = -np.log(np.where(inside, counts[own], 0) / counts.max() + FLOOR)
    return density
