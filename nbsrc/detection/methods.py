"""The one table of methods that the experiment measures and the figures draw.

A new detector is a file that keeps the contract of `nbsrc.detection.base`, a row here, and a
test."""

from collections.abc import Callable
from typing import NamedTuple

from nbsrc import palette
from nbsrc.detection.base import Ranker
from nbsrc.detection.baselines import Distance, Forest, Rarity
from nbsrc.detection.combined import CombinedDetector
from nbsrc.detection.knn import KNNDetector
from nbsrc.detection.surprise import SurpriseDetector
from nbsrc.selfsupervised.model import MaskedModel


class Method(NamedTuple):
    """How a detector is made, from a network that was pre-trained on the same baseline and a seed,
    and how it looks in figures. Where it reads the network, its twin on an untrained one is
    measured, too."""

    make: Callable[[MaskedModel, int], Ranker]
    reads_network: bool
    color: str
    marker: str


METHODS = {
    "Combined": Method(
        lambda model, seed: CombinedDetector(model, seed=seed), True, palette.ORANGE, "v"
    ),
    "Surprise": Method(lambda model, _: SurpriseDetector(model), True, palette.BLUE, "o"),
    "kNN, embeddings": Method(
        lambda model, seed: KNNDetector(model, seed=seed), True, palette.GREEN, "D"
    ),
    "Rarity": Method(lambda *_: Rarity(), False, palette.VERMILION, "s"),
    "Isolation Forest": Method(lambda _, seed: Forest(seed=seed), False, palette.PURPLE, "^"),
    "LOF": Method(lambda _, seed: Distance(local=True, seed=seed), False, palette.YELLOW, "X"),
    "kNN": Method(lambda _, seed: Distance(seed=seed), False, palette.SKY, "P"),
}
