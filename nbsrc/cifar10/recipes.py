"""Which nets are trained on CIFAR-10, and how: the recipe of He et al. 2016, and a short one."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import nn

from nbsrc.blocks import PlainBlock
from nbsrc.resnet import cifar_resnet, resnet18, resnet34, resnet50, resnet101, resnet152
from nbsrc.training import one_cycle


class Recipe(NamedTuple):
    """How a net is trained, as far as the two recipes differ."""

    epochs: int
    schedule: Callable[[float], float]
    weight_decay: float
    nesterov: bool
    label_smoothing: float


def paper_drops(fraction: float) -> float:
    """He et al. 2016, 4.2: the rate drops tenfold after 32k and after 48k of 64k steps."""
    return 1.0 if fraction < 0.5 else 0.1 if fraction < 0.75 else 0.01


def paper_drops_after_warmup(fraction: float) -> float:
    """He et al. 2016, 4.2, for 110 layers: a tenth of the rate until the net learns, about 400
    steps.

    NOTE[DIFF]: the paper waits for a training error below 80%, which took it about 400 of its 64k
    steps."""
    return 0.1 if fraction < 400 / 64_000 else paper_drops(fraction)


LR, MOMENTUM, BATCH_SIZE = 0.1, 0.9, 128  # of both

# He et al. 2016, 4.2: 64k steps of 128 images are 164 epochs.
PAPER = Recipe(164, paper_drops, 1e-4, nesterov=False, label_smoothing=0.0)
# What short ResNet-18 runs on CIFAR-10 commonly use: weight decay 5e-4 and Nesterov momentum
# (Zagoruyko and Komodakis 2016, arXiv:1605.07146, 3), one cycle of the rate (Smith and Topin 2018,
# arXiv:1708.07120), and label smoothing (Szegedy et al. 2016, arXiv:1512.00567, 7), with the
# paper's crops and flips.
SHORT = Recipe(30, one_cycle, 5e-4, nesterov=True, label_smoothing=0.1)

_DEPTHS = (20, 32, 44, 56, 110)
_IMAGENET_NETS: dict[str, Callable[[], nn.Module]] = {
    net.__name__: partial(net, num_classes=10, stem="cifar")
    for net in (resnet18, resnet34, resnet50, resnet101, resnet152)
}
_PAPER_NETS: dict[str, Callable[[], nn.Module]] = {
    **{f"resnet{depth}": partial(cifar_resnet, depth) for depth in _DEPTHS},
    **{f"plain{depth}": partial(cifar_resnet, depth, block=PlainBlock) for depth in _DEPTHS},
}
MODELS = _IMAGENET_NETS | _PAPER_NETS


def recipe(model: str) -> Recipe:
    """The recipe for a name of `MODELS`: the paper's for its own nets, else the short one."""
    if model in _IMAGENET_NETS:
        return SHORT
    return PAPER._replace(schedule=paper_drops_after_warmup) if model.endswith("110") else PAPER
