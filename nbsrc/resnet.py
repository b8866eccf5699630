"""Residual networks for images (He et al. 2016a, arXiv:1512.03385, Table 1 and Sec. 4.2).

The layout and the names are torchvision's, so that its weights load: ``conv1``, ``bn1``,
``layer1`` to ``layer4``, ``fc``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nbsrc.blocks import BasicBlock, BottleneckBlock, PlainBlock


class ResNet(nn.Module):
    """Stem, three or four stages of blocks, global average pooling, linear classifier.

    Args:
        block: the class of the blocks, such as ``BasicBlock``; it is called with
            ``(in_channels, channels, stride)`` and carries ``expansion``.
        layers: the number of blocks in each stage. A stage after the first halves height
            and width and doubles the channels.
        num_classes: the number of outputs.
        in_channels: channels of the image.
        stem: "imagenet" (7x7 convolution of stride 2 and max pooling of stride 2) or
            "cifar" (3x3 of stride 1, for images of a few dozen pixels).
        width: channels of the first stage, before ``expansion``.
        block_options: passed on to every block.

    Shape: (batch, in_channels, height, width) -> (batch, num_classes), logits.

    Raises:
        ValueError: if ``stem`` is another, or ``layers`` has not three or four entries.

    >>> net = ResNet(BasicBlock, [1, 1, 1], num_classes=10, stem="cifar")
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        block: type[nn.Module],
        layers: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: str = "imagenet",
        width: int = 64,
        **block_options: Any,
    ) -> None:
        super().__init__()
        if len(layers) not in (3, 4):
            raise ValueError(f"layers must have three or four entries, however: {layers=}")
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(
                in_channels, width, kernel_size=7, stride=2, padding=3, bias=False
            )
            self.maxpool: nn.Module = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        elif stem == "cifar":
            self.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        else:
            raise ValueError(f"stem must be 'imagenet' or 'cifar', however: {stem!r}")
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

        self._channels = width
        self.layer1 = self._stage(block, width, layers[0], 1, block_options)
        self.layer2 = self._stage(block, width * 2, layers[1], 2, block_options)
        self.layer3 = self._stage(block, width * 4, layers[2], 2, block_options)
        self.layer4 = (
            self._stage(block, width * 8, layers[3], 2, block_options)
            if len(layers) == 4
            else nn.Identity()
        )
        # He et al. 2016b, Sec. 3: after pre-activation blocks the last sum is still to be
        # activated. NOTE[DIFF] The paper also shares the stem's activation with the first
        # block; here both have their own.
        last = nn.Sequential(nn.BatchNorm2d(self._channels), nn.ReLU(inplace=True))
        self.last = last if getattr(block, "pre_activation", False) else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self._channels, num_classes)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(
        self, block: Any, channels: int, blocks: int, stride: int, options: dict[str, Any]
    ) -> nn.Sequential:
        stage = []
        for i in range(blocks):
            stage.append(block(self._channels, channels, stride if i == 0 else 1, **options))
            self._channels = channels * block.expansion  # what the next block takes
        return nn.Sequential(*stage)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = self.last(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18(**options: Any) -> ResNet:
    """ResNet-18: 1 + 4 x 2 x 2 + 1 weighted layers. Keyword arguments as for ``ResNet``."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **options)


def resnet34(**options: Any) -> ResNet:
    """ResNet-34. Keyword arguments as for ``ResNet``."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **options)


def resnet50(**options: Any) -> ResNet:
    """ResNet-50, of bottleneck blocks. Keyword arguments as for ``ResNet``."""
    return ResNet(BottleneckBlock, [3, 4, 6, 3], **options)


def resnet101(**options: Any) -> ResNet:
    """ResNet-101, of bottleneck blocks. Keyword arguments as for ``ResNet``."""
    return ResNet(BottleneckBlock, [3, 4, 23, 3], **options)


def resnet152(**options: Any) -> ResNet:
    """ResNet-152, of bottleneck blocks. Keyword arguments as for ``ResNet``."""
    return ResNet(BottleneckBlock, [3, 8, 36, 3], **options)


def cifar_resnet(
    depth: int,
    *,
    block: type[nn.Module] = BasicBlock,
    width: int = 16,
    num_classes: int = 10,
    in_channels: int = 3,
    shortcut: str = "A",
) -> ResNet:
    """The paper's nets for CIFAR-10: 6n + 2 layers in three stages of n blocks (He et al. 2016a,
    Sec. 4.2).

    ``block=PlainBlock`` gives the plain twin, which has no shortcut to choose.

    Raises:
        ValueError: if ``depth`` is not 6n + 2 with n of at least 1.

    >>> sum(p.numel() for p in cifar_resnet(20).parameters())
    269722
    """
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        below = max(8, depth - rest)
        near = f"{below}" if depth < 8 else f"{below} or {below + 6}"
        raise ValueError(f"depth must be 6n + 2, however: {depth=}; near it: {near}")
    options = {} if issubclass(block, PlainBlock) else {"shortcut": shortcut}
    return ResNet(
        block,
        [n, n, n],
        num_classes=num_classes,
        in_channels=in_channels,
        stem="cifar",
        width=width,
        **options,
    )
