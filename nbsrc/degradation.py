"""The degradation experiment: deeper plain nets train worse, deeper residual nets don't.

He et al. 2016a (arXiv:1512.03385), Fig. 6 and Sec. 4.2, scaled down: their nets of 6n + 2 layers
with 8 filters in place of 16, on scikit-learn's digits in place of CIFAR-10."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import polars as pl
import torch
from joblib import delayed

from nbsrc.blocks import BasicBlock, PlainBlock
from nbsrc.digits import load_digits
from nbsrc.resnet import cifar_resnet
from nbsrc.training import default_device, evaluate, fit, one_thread, side_by_side

KINDS = {"plain": PlainBlock, "residual": BasicBlock}
WIDTH = 8  # filters of the first stage


def depth_experiment(
    *,
    depths: Sequence[int],
    seeds: Sequence[int],
    epochs: int,
    device: torch.device | str | None = None,
) -> pl.DataFrame:
    """Train a plain and a residual net of every depth, once with each seed, all by the same recipe.

    On a CPU the nets are trained side by side, one process and one thread each, which gives the
    same numbers on a machine with any number of cores.

    Returns a table of one row per depth, kind ("plain" or "residual") and seed, with train_loss (of
    the trained net on all training images, in eval mode), train_error and test_error (shares of
    wrong answers, 0 to 1).

    Raises ValueError if a depth is not 6n + 2.
    """
    device = default_device() if device is None else torch.device(device)
    runs = sorted(
        product(depths, KINDS, seeds), key=lambda run: -run[0]
    )  # the longest first, to fill all cores
    calls = [
        delayed(train_one)(depth, kind, seed, epochs=epochs, device=device)
        for depth, kind, seed in runs
    ]
    return pl.DataFrame(side_by_side(calls, device)).sort("depth", "kind", "seed")


def train_one(
    depth: int, kind: str, seed: int, *, epochs: int, device: torch.device
) -> dict[str, str | int | float]:
    """Train one net and return its row of the table."""
    with one_thread():
        digits = load_digits()
        torch.manual_seed(seed)
        net = cifar_resnet(depth, block=KINDS[kind], width=WIDTH, in_channels=1)
        fit(
            net, digits.train_images, digits.train_labels,
            epochs=epochs, batch_size=128, lr=0.1, seed=seed, device=device, progress=False,
        )  # fmt: skip
        train = evaluate(net, digits.train_images, digits.train_labels, device=device)
        test = evaluate(net, digits.test_images, digits.test_labels, device=device)
    return {
        "depth": depth,
        "kind": kind,
        "seed": seed,
        "train_loss": train["loss"],
        "train_error": 1 - train["accuracy"],
        "test_error": 1 - test["accuracy"],
    }
