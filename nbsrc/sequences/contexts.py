"""Three networks that read a sequence and say, at each moment, what they made of it so far: the
residual TCN, and the two that it is compared with.

Each maps (batch, time, width) to (batch, time, width); the output at a moment reads no later one.
"""

import torch
from torch import Tensor, nn

from nbsrc.sequences.blocks import TCN

DILATIONS = (1, 2, 4, 8)
LONGEST = 256  # moments that the transformer has a position for


class Residual(nn.Module):
    """`TCN` with the axes in the order of sequences."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tcn = TCN(width, width, dilations=DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        return self.tcn(x.transpose(1, 2)).transpose(1, 2)


class Recurrent(nn.Module):
    """One layer of gated recurrent units (Cho et al. 2014, arXiv:1406.1078)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]


class Attention(nn.Module):
    """Two layers of causal self-attention with learned positions (Vaswani et al. 2017,
    arXiv:1706.03762; as in GPT-2, the normalization comes first).

    Raises ValueError if a sequence is longer than `LONGEST`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width,
            nhead=4,
            dim_feedforward=2 * width,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, 2, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.positions = nn.Parameter(0.02 * torch.randn(LONGEST, width))

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[1]
        if time > LONGEST:
            raise ValueError(f"a sequence must not be longer than {LONGEST}, however: {time}")
        later = torch.ones(time, time, dtype=torch.bool, device=x.device).triu(1)
        return self.layers(x + self.positions[:time], mask=later)


NETWORKS = {"Residual TCN": Residual, "GRU": Recurrent, "Transformer": Attention}
