"""Experiment: depth, initialization, normalization and skip, in all combinations.

The stacks are those of `nbsrc.gradient_flow`.
"""

import math
from collections.abc import Sequence
from itertools import product

import polars as pl
import torch
from torch import nn

from nbsrc.digits import load_digits
from nbsrc.gradient_flow import KINDS, Stack, gradient_norms
from nbsrc.training import one_cycle, one_thread, train_epochs

INITIALIZATIONS = ("PyTorch's", "He et al.'s")
RATE = 1e-3  # the learning rate's peak


def stack_experiment(*, depths: Sequence[int], seed: int, epochs: int) -> pl.DataFrame:
    """Gradients before training, and the loss in training, of every stack, on the digits.

    One row a stack: depth, initialization, kind; `gradients`, the norm at each
    layer's weights, the layer next to the input first; `losses`, before training and the mean over
    each epoch (nats; null where it overflows). AdamW with a one-cycle schedule, on one thread: new
    processes would take longer to start than most stacks to train."""
    stacks = product(sorted(depths), INITIALIZATIONS, KINDS)
    return pl.DataFrame([stack_once(*stack, seed=seed, epochs=epochs) for stack in stacks])


def stack_once(
    depth: int, initialization: str, kind: str, *, seed: int, epochs: int
) -> dict[str, object]:
    """One row of `stack_experiment`."""
    digits = load_digits()
    images, labels = digits.train_images, digits.train_labels
    with one_thread():
        torch.manual_seed(seed)
        stack = Stack(kind, depth)
        if initialization == "He et al.'s":  # 2015, Eq. 10
            for linear in stack.layers.modules():
                if isinstance(linear, nn.Linear):
                    nn.init.kaiming_normal_(linear.weight)
                    nn.init.zeros_(linear.bias)
        gradients = gradient_norms(stack, images, labels)[:-1]
        with torch.no_grad():
            losses = [nn.functional.cross_entropy(stack(images), labels).item()]
        optimizer = torch.optim.AdamW(stack.parameters(), lr=RATE)
        for row in train_epochs(
            stack, optimizer, images, labels, epochs=epochs, batch_size=128, lr=RATE,
            schedule=one_cycle, seed=seed, device=torch.device("cpu"), progress=False,
        ):  # fmt: skip
            losses.append(row["train_loss"])
    return {
        "depth": depth,
        "initialization": initialization,
        "kind": kind,
        "gradients": gradients,
        "losses": [loss if math.isfinite(loss) else None for loss in losses],
    }
