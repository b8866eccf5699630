"""How the size of the gradient changes from layer to layer, in plain and residual stacks.

Four stacks of equal shape, ``depth`` fully connected layers of equal width, one of which computes

- "plain": relu(W x + b),
- "plain + BatchNorm": relu(BatchNorm(W x + b)),
- "residual": x + W relu(x) + b,
- "residual + BatchNorm": x + W relu(BatchNorm(x)) + b.

In the residual ones ReLU stands before W, so that what is added can have either sign and the skip
is a true identity (He et al. 2016b, arXiv:1603.05027, one layer in place of two).
"""

import copy
from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbsrc.digits import load_digits
from nbsrc.training import default_device

KINDS = ("plain", "plain + BatchNorm", "residual", "residual + BatchNorm")


class Layer(nn.Module):
    """One layer of a stack. Shape: (batch, width) -> (batch, width)."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, however: {kind!r}")
        self.linear = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width) if kind.endswith("BatchNorm") else nn.Identity()
        self.skip = kind.startswith("residual")

    def forward(self, x: Tensor) -> Tensor:
        if self.skip:
            return x + self.linear(torch.relu(self.norm(x)))
        return torch.relu(self.norm(self.linear(x)))


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


def weights_in_order(model: nn.Module) -> list[Tensor]:
    """The weights of the linear and convolutional layers, in the order of their registration."""
    return [m.weight for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]


def gradient_norms(model: nn.Module, inputs: Tensor, targets: Tensor) -> list[float]:
    """Norm of the cross-entropy's gradient at each layer's weights, in depth order.

    One backward pass over one batch in train mode; the L2 norm of the gradient of the weight
    of every linear and convolutional layer, the classifier last. Norms of layers of equal shape
    can be compared; those of unlike shapes can't. The model is left as it was found.
    """
    model = copy.deepcopy(model).train()  # a pass in train mode moves BatchNorm's averages
    loss = F.cross_entropy(model(inputs), targets)
    gradients = torch.autograd.grad(loss, weights_in_order(model))
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
                # The same draws for every kind: their linear layers start alike.
                torch.manual_seed(seed)
                norms = gradient_norms(Stack(kind, depth).to(device), images, labels)[:-1]
                rows += [(kind, depth, seed, layer, norm) for layer, norm in enumerate(norms, 1)]
    return pl.DataFrame(rows, schema=["kind", "depth", "seed", "layer", "norm"], orient="row")
