"""The degradation experiment: deeper plain nets train worse, deeper residual nets don't.

He et al. 2016a (arXiv:1512.03385), Fig. 6 and Sec. 4.2, scaled down: their nets of 6n + 2 layers
with 8 filters in place of 16, on scikit-learn's digits in place of CIFAR-10.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import polars as pl
import torch
from joblib import delayed

from nbsrc.blocks import BasicBlock, PlainBlock
from nbsrc.digits import load_digits
from nbsrc.gradient_flow import gradient_norms, weights_in_order
from nbsrc.resnet import ResNet, cifar_resnet
from nbsrc.training import (
    default_device,
    evaluate,
    one_cycle,
    one_thread,
    sgd,
    side_by_side,
    train_epochs,
)

KINDS = {"plain": PlainBlock, "residual": BasicBlock}
WIDTH = 8  # filters of the first stage
LR = 0.1  # the schedule's peak


class Run(NamedTuple):
    """One net's training. Errors are shares of wrong answers, 0 to 1, in eval mode.

    ``gradients`` has for the epochs 0 (before training), 1 and the last one value a layer, the
    classifier last: the norm of the gradient as a share of the norm of the layer's weights, on the
    first 128 training images. The share makes layers of unlike shapes comparable, and suits weights
    before BatchNorm, whose scale has no effect.
    """

    depth: int
    kind: str
    seed: int
    train_error: float
    test_error: float
    gradients: dict[int, list[float]]
    net: ResNet


def depth_experiment(
    *,
    depths: Sequence[int],
    seeds: Sequence[int],
    epochs: int,
    device: torch.device | str | None = None,
) -> list[Run]:
    """Train a plain and a residual net of every depth, once with each seed, all by the same recipe.

    On a CPU the nets are trained side by side, one process and one thread each, which gives the
    same numbers on a machine with any number of cores.

    Returns the runs in the order of depth, kind ("plain" or "residual") and seed.

    Raises ValueError if a depth is not 6n + 2.
    """
    device = default_device() if device is None else torch.device(device)
    # The longest first, to fill all cores.
    order = sorted(product(depths, KINDS, seeds), key=lambda run: -run[0])
    calls = [delayed(train_one)(*run, epochs=epochs, device=device) for run in order]
    return sorted(side_by_side(calls, device), key=lambda run: run[:3])


def train_one(depth: int, kind: str, seed: int, *, epochs: int, device: torch.device | str) -> Run:
    """Train one net."""
    device = torch.device(device)
    with one_thread():
        digits = load_digits()
        images, labels = digits.train_images.to(device), digits.train_labels.to(device)
        torch.manual_seed(seed)
        net = cifar_resnet(depth, block=KINDS[kind], width=WIDTH, in_channels=1).to(device)
        gradients = {0: relative_gradients(net, images[:128], labels[:128])}
        optimizer = sgd(net, lr=LR, momentum=0.9, weight_decay=1e-4)
        for row in train_epochs(
            net, optimizer, images, labels,
            epochs=epochs, batch_size=128, lr=LR, schedule=one_cycle, seed=seed, device=device,
            progress=False,
        ):  # fmt: skip
            if row["epoch"] in (1, epochs):
                gradients[int(row["epoch"])] = relative_gradients(net, images[:128], labels[:128])
        train = evaluate(net, images, labels, device=device)
        test = evaluate(net, digits.test_images, digits.test_labels, device=device)
    errors = 1 - train["accuracy"], 1 - test["accuracy"]
    return Run(depth, kind, seed, *errors, gradients, net.cpu())


def relative_gradients(net: ResNet, images: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """Norm of each layer's gradient over the norm of its weights, in depth order."""
    sizes = [weight.norm().item() for weight in weights_in_order(net)]
    norms = gradient_norms(net, images, labels)
    return [norm / size for norm, size in zip(norms, sizes, strict=True)]


def error_table(runs: Sequence[Run]) -> pl.DataFrame:
    """One row a run: depth, kind, seed, train_error, test_error."""
    return pl.DataFrame([run[:5] for run in runs], schema=list(Run._fields[:5]), orient="row")


def gradient_table(runs: Sequence[Run]) -> pl.DataFrame:
    """One row a convolution: depth, kind, seed, epoch, layer (1 is next to the input), gradient."""
    rows = [
        (*run[:3], epoch, layer, share)
        for run in runs
        for epoch, shares in run.gradients.items()
        for layer, share in enumerate(shares[:-1], 1)
    ]
    columns = ["depth", "kind", "seed", "epoch", "layer", "gradient"]
    return pl.DataFrame(rows, schema=columns, orient="row")
