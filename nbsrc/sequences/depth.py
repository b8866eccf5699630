"""Does the skip help over time, too? Plain and residual stacks of growing depth read the digits of
Part 1 pixel by pixel, and say at the last one which digit it was.

Bai et al. 2018, Sec. 4, read MNIST's 784 pixels in the same way ("sequential MNIST"); these digits
have 64."""

from collections.abc import Sequence
from itertools import product

import polars as pl
import torch
from torch import Tensor, nn

from nbsrc.digits import load_digits
from nbsrc.sequences.blocks import TCN, PlainTemporalBlock, TemporalBlock
from nbsrc.training import evaluate, fit, one_thread

KINDS = {"plain": PlainTemporalBlock, "residual": TemporalBlock}
CHANNELS = 16
DILATIONS = (1, 2, 4, 8)  # over and over: five blocks and more see all 64 pixels
RATES = (0.05, 0.2)  # the schedule's peaks: each net has the one that it learns more with


class LastMoment(nn.Module):
    """What a network over time says at the last moment: (batch, 1, time) -> (batch, classes)"""

    def __init__(self, net: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.net = net
        self.output = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.net(x)[..., -1])


def depth_over_time(*, depths: Sequence[int], seeds: Sequence[int], epochs: int) -> pl.DataFrame:
    """Train a plain and a residual stack of each depth (blocks), once with each seed, by the recipe
    of Part 1 and with the learning rate of `RATES` that gives the lower training error.

    Returns one row a net: `depth`, `kind`, `seed`, `rate`, `train_error` and `test_error` (shares
    of wrong answers, 0 to 1)."""
    digits = load_digits()
    train_pixels, test_pixels = (
        images.flatten(2) for images in (digits.train_images, digits.test_images)
    )
    rows = []
    for depth, (kind, block), seed, rate in product(depths, KINDS.items(), seeds, RATES):
        dilations = [DILATIONS[i % len(DILATIONS)] for i in range(depth)]
        with torch.random.fork_rng(), one_thread():
            torch.manual_seed(seed)
            net = TCN(1, CHANNELS, dilations=dilations, block=block)
            model = LastMoment(net, CHANNELS, 10)
            fit(
                model, train_pixels, digits.train_labels,
                epochs=epochs, lr=rate, seed=seed, device="cpu", progress=False,
            )  # fmt: skip
            train = evaluate(model, train_pixels, digits.train_labels, device="cpu")
            test = evaluate(model, test_pixels, digits.test_labels, device="cpu")
        errors = {"train_error": 1 - train["accuracy"], "test_error": 1 - test["accuracy"]}
        rows.append({"depth": depth, "kind": kind, "seed": seed, "rate": rate, **errors})
    names = ["depth", "kind", "seed"]
    return pl.DataFrame(rows).sort("train_error").unique(names, keep="first").sort(names)
