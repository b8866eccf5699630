"""The building blocks of residual networks over time, and a network of them.

Bai et al. 2018, "An empirical evaluation of generic convolutional and recurrent networks for
sequence modeling" (arXiv:1803.01271). The block is `nbsrc.blocks.BasicBlock` once more: its 3x3
convolutions of a pixel's neighbours are convolutions of the moments before.

Every block maps (batch, in_channels, time) to (batch, channels, time), and its output at a moment
reads no later one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class CausalConv1d(nn.Conv1d):
    """A convolution over time that reads a moment and those before it, every `dilation`-th one
    (Bai et al. 2018, Sec. 3.1 and 3.2).

    NOTE[DIFF] The paper pads both ends and cuts off what comes out too late; here zeros stand
    before the first moment only, and nothing is cut off.

    Shape: (batch, in_channels, time) -> (batch, out_channels, time)
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation)
        self.before = (kernel_size - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.before, 0)))


class PlainTemporalBlock(nn.Module):
    """A temporal block without its skip, for plain nets.

    Shape: (batch, in_channels, time) -> (batch, channels, time)
    """

    def __init__(
        self, in_channels: int, channels: int, dilation: int = 1, *, kernel_size: int = 3
    ) -> None:
        super().__init__()
        self.conv1 = weight_norm(CausalConv1d(in_channels, channels, kernel_size, dilation))
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = weight_norm(CausalConv1d(channels, channels, kernel_size, dilation))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.conv1(x))
        return self.relu(self.conv2(out))


class TemporalBlock(nn.Module):
    """Two causal dilated convolutions and a skip: relu(F(x) + x) (Bai et al. 2018, Fig. 1b).

    The weights are normalized, not the activations (Salimans and Kingma 2016): a batch's statistics
    would tell a moment about those after it.

    NOTE[DIFF] In the paper a ReLU follows the second convolution, before the addition, so that F(x)
    is never negative. Here it has either sign, as in `BasicBlock`; He et al. 2016b (Fig. 4c)
    measure what the other form costs for images.

    Shape: (batch, in_channels, time) -> (batch, channels, time)

    >>> TemporalBlock(16, 32, dilation=4)(torch.zeros(1, 16, 100)).shape
    torch.Size([1, 32, 100])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilation: int = 1,
        *,
        kernel_size: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = weight_norm(CausalConv1d(in_channels, channels, kernel_size, dilation))
        self.relu = nn.ReLU(inplace=True)
        # NOTE[DIFF] The paper drops whole channels after both convolutions, here after the first.
        self.dropout = nn.Dropout1d(dropout)
        self.conv2 = weight_norm(CausalConv1d(channels, channels, kernel_size, dilation))
        # A projection where the number of channels changes, None where x can be added as it is.
        self.downsample = nn.Conv1d(in_channels, channels, 1) if in_channels != channels else None

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)  # the skip path
        out = self.dropout(self.relu(self.conv1(x)))
        out = self.conv2(out)  # F(x), of either sign: no ReLU yet
        out = out + identity  # F(x) + x
        return self.relu(out)


class TCN(nn.Module):
    """Blocks one after the other, one for each of `dilations` (Bai et al. 2018, Sec. 3.4: powers of
    two).

    Shape: (batch, in_channels, time) -> (batch, channels, time)

    Raises ValueError if there are no dilations, or one is below 1.

    >>> TCN(1, 16, dilations=(1, 2, 4, 8))(torch.zeros(2, 1, 64)).shape
    torch.Size([2, 16, 64])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        dilations: Sequence[int],
        kernel_size: int = 3,
        block: type[TemporalBlock] | type[PlainTemporalBlock] = TemporalBlock,
    ) -> None:
        if not dilations or min(dilations) < 1:
            raise ValueError(f"dilations must be some, each at least 1, however: {dilations=}")
        super().__init__()
        widths = [in_channels, *[channels] * (len(dilations) - 1)]
        self.blocks = nn.Sequential(
            *(
                block(width, channels, dilation, kernel_size=kernel_size)
                for width, dilation in zip(widths, dilations, strict=True)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


def receptive_field(dilations: Sequence[int], *, kernel_size: int = 3) -> int:
    """How many moments an output reads, its own included: each of a block's two convolutions adds
    (kernel_size - 1) * dilation.

    >>> receptive_field([1, 2, 4, 8])
    61
    """
    return 1 + 2 * (kernel_size - 1) * sum(dilations)


def measured_receptive_field(net: nn.Module, in_channels: int, *, time: int) -> int:
    """How many moments the output at the last of `time` moments reads: the first one with a
    gradient, to the last.

    An answer of `time` says "at least". `net`: (1, in_channels, time) -> (1, channels, time)"""
    x = torch.randn(1, in_channels, time, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[..., -1].sum(), x)
    read = gradient.abs().sum((0, 1)).nonzero()
    return time - int(read[0]) if len(read) else 0
