"""How the size of the gradient changes from layer to layer, in plain and residual stacks.

Three stacks of equal shape, ``depth`` fully connected layers of equal width:

- "plain": relu(W x + b),
- "plain + BatchNorm": relu(BatchNorm(W x)),
- "residual": x + relu(W x + b).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbsrc.digits import load_digits
from nbsrc.training import default_device

KINDS = ("plain", "plain + BatchNorm", "residual")


class Layer(nn.Module):
    """One layer of a stack. Shape: (batch, width) -> (batch, width)."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, however: {kind!r}")
        self.linear = nn.Linear(
            width, width
        )  # BatchNorm makes the bias idle, but so the three start from equal draws
        self.norm = nn.BatchNorm1d(width) if kind == "plain + BatchNorm" else nn.Identity()
        self.skip = kind == "residual"

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.norm(self.linear(x)))
        return x + out if self.skip else out


class Stack(nn.Module):
    """``depth`` layers of one kind and a linear classifier, with PyTorch's default initialization.

    Shape: (batch, ...) with ``width`` values a row -> (batch, num_classes), logits.
    """

    def __init__(self, kind: str, depth: int, *, width: int = 64, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be positive, however: {depth=}")
        self.layers = nn.Sequential(*(Layer(kind, width) for _ in range(depth)))
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x.flatten(1)))


def gradient_norms(model: nn.Module, inputs: Tensor, targets: Tensor) -> list[float]:
    """Norm of the cross-entropy's gradient at each layer's weights, in depth order.

    One backward pass over one batch in train mode; the L2 norm of the gradient of the weight
    of every linear and convolutional layer, in the order in which the model registers them,
    the classifier last. Norms of layers of equal shape can be compared; those of unlike
    shapes can't. Gradients and mode are left as they were found.
    """
    weights = [m.weight for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    was_training = model.training
    model.train()
    gradients = torch.autograd.grad(F.cross_entropy(model(inputs), targets), weights)
    model.train(was_training)
    # In double precision: the square of 1e-25 underflows in single.
    return [gradient.double().norm().item() for gradient in gradients]


def rate_per_layer(norms: Sequence[float]) -> float:
    """The factor by which the norm changes with each layer away from the output.

    Fitted by least squares to the logarithm of the norms of equal layers, given in depth order: 1
    means that the gradient arrives at the first layer as large as at the last; below 1 it decays on
    the way, above 1 it grows.

    >>> round(rate_per_layer([1.0, 2.0, 4.0, 8.0]), 6)
    0.5
    """
    slope = np.polyfit(np.arange(len(norms)), np.log(norms), 1)[0]
    return float(np.exp(-slope))


def gradient_flow(
    *, depths: Sequence[int], seeds: Sequence[int], device: torch.device | str | None = None
) -> pl.DataFrame:
    """Gradient norms at initialization, on all training digits, for every kind, depth and seed.

    Returns a table with columns kind, depth, seed, layer (1 is next to the input) and norm.
    """
    device = default_device() if device is None else torch.device(device)
    digits = load_digits()
    images, labels = digits.train_images.to(device), digits.train_labels.to(device)
    rows = []
    for depth in depths:
        for seed in seeds:
            for kind in KINDS:
                torch.manual_seed(
                    seed
                )  # the same draws for every kind: their linear layers start alike
                norms = gradient_norms(Stack(kind, depth).to(device), images, labels)[:-1]
                rows += [(kind, depth, seed, layer, norm) for layer, norm in enumerate(norms, 1)]
    return pl.DataFrame(rows, schema=["kind", "depth", "seed", "layer", "norm"], orient="row")
