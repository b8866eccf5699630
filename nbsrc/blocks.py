"""The building blocks of residual networks for images.

He et al. 2016a, "Deep residual learning for image recognition" (arXiv:1512.03385), and He et
al. 2016b, "Identity mappings in deep residual networks" (arXiv:1603.05027). Argument and
attribute names are torchvision's, so that published weights load.

Every block maps (batch, in_channels, height, width) to
(batch, channels * expansion, ceil(height / stride), ceil(width / stride)).
"""

import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size at stride 1; no bias: BatchNorm follows."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution: the same linear map of the channels at every pixel."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


class PadShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, zeros for new channels. No parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(
                f"option A can't drop channels, however: {in_channels=}, {out_channels=}"
            )
        self.extra = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


def make_shortcut(
    in_channels: int, out_channels: int, stride: int, option: str
) -> nn.Module | None:
    """The skip path of a block, None where it is the identity (He et al. 2016a, Sec. 4.1).

    Where the shape changes, option "A" pads with zeros and "B" projects with a 1x1 convolution;
    option "C" projects in every block.

    Raises ValueError for another option.
    """
    if option not in ("A", "B", "C"):
        raise ValueError(f"shortcut must be 'A', 'B' or 'C', however: {option!r}")
    if option != "C" and stride == 1 and in_channels == out_channels:
        return None
    if option == "A":
        return PadShortcut(in_channels, out_channels, stride)
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


class PlainBlock(nn.Module):
    """A basic block without its skip, for plain nets (He et al. 2016a, Fig. 3, middle)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a skip: relu(F(x) + x) (He et al. 2016a, Fig. 5, left).

    >>> import torch
    >>> BasicBlock(64, 128, stride=2)(torch.zeros(1, 64, 32, 32)).shape
    torch.Size([1, 128, 16, 16])
    """

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, shortcut: str = "B"
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        # A projection where the shape changes, None where x can be added as it is.
        self.downsample = make_shortcut(in_channels, channels, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)  # the skip path
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))  # F(x), of either sign: no ReLU yet
        out += identity  # F(x) + x
        return self.relu(out)


class PreActBlock(nn.Module):
    """BatchNorm and ReLU before each convolution (He et al. 2016b, Fig. 4e).

    Nothing follows the addition, so the skip path of a block that keeps its shape is a true
    identity. Where the shape changes, the shortcut starts from the activated input, as in the
    authors' code.
    """

    expansion = 1
    pre_activation = True  # a network of these ends in one more BatchNorm and ReLU

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, shortcut: str = "B"
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.downsample = make_shortcut(in_channels, channels, stride, shortcut)
        if isinstance(self.downsample, nn.Sequential):
            self.downsample = self.downsample[0]  # the next block normalizes the sum

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(x))  # before the convolution
        identity = x if self.downsample is None else self.downsample(out)
        out = self.conv1(out)
        out = self.conv2(self.relu(self.bn2(out)))
        return out + identity


class BottleneckBlock(nn.Module):
    """1x1 to reduce, 3x3 to compute, 1x1 to expand (He et al. 2016a, Fig. 5, right).

    ``channels`` is the narrow width; the block's output has ``4 * channels``.

    >>> import torch
    >>> BottleneckBlock(256, 64)(torch.zeros(1, 256, 56, 56)).shape
    torch.Size([1, 256, 56, 56])
    """

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, shortcut: str = "B"
    ) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        # NOTE[DIFF] The paper strides in the first 1x1; torchvision, and so this, in the
        # 3x3 ("ResNet v1.5"), which drops no pixel unseen.
        self.conv2 = conv3x3(channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, channels * self.expansion)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(in_channels, channels * self.expansion, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))  # reduce
        out = self.relu(self.bn2(self.conv2(out)))  # compute
        out = self.bn3(self.conv3(out))  # expand
        out += identity
        return self.relu(out)
