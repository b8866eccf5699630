"""How alike the gradients of nearly equal images are (Balduzzi et al. 2017, arXiv:1702.08591).

They compare gradients with respect to the input at neighbouring inputs, in nets before training.
NOTE[DIFF] Theirs are mostly fully connected nets on a line of one-dimensional inputs; these are
the nets of the degradation experiment, on digits.
"""

from collections.abc import Sequence

import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbsrc.degradation import KINDS, WIDTH
from nbsrc.digits import load_digits
from nbsrc.resnet import cifar_resnet


def gradient_similarity(
    *, depths: Sequence[int], seeds: Sequence[int], change: float = 0.01, images: int = 256
) -> pl.DataFrame:
    """Cosine between the input gradients of an image and of the same image with a little noise.

    ``change`` is the noise's standard deviation, as a share of that of the pixels. The gradient is
    that of the first logit. One row a net: depth, kind, seed, cosine (mean over the images; 1 where
    the noise changes nothing, 0 where the gradients have nothing in common).
    """
    pixels = load_digits().train_images[:images]
    rows = []
    for depth in depths:
        for kind, block in KINDS.items():
            for seed in seeds:
                torch.manual_seed(seed)
                net = cifar_resnet(depth, block=block, width=WIDTH, in_channels=1)
                settle(net, pixels)
                noisy = pixels + change * torch.randn_like(pixels)
                cosine = F.cosine_similarity(
                    input_gradients(net, pixels), input_gradients(net, noisy)
                )
                rows.append((depth, kind, seed, cosine.mean().item()))
    return pl.DataFrame(rows, schema=["depth", "kind", "seed", "cosine"], orient="row")


def settle(net: nn.Module, images: Tensor) -> None:
    """Give each BatchNorm the statistics of these images for good: no image sees another then."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(images)
    net.eval()


def input_gradients(net: nn.Module, images: Tensor) -> Tensor:
    """Gradient of the first logit with respect to each image. Shape: (n, ...) -> (n, pixels)."""
    images = images.clone().requires_grad_()
    return torch.autograd.grad(net(images)[:, 0].sum(), images)[0].flatten(1)
