"""What a training step of TabularResNet costs beside rtdl's ResNet: `python -m
benchmarks.tabular`."""

import statistics
import time

import rtdl_revisiting_models as rtdl
import torch
from torch import nn

from nbsrc.tabular.network import TabularResNet

BATCH = 1024
SHAPE = {
    "d_block": 128,
    "n_blocks": 3,
    "d_hidden_multiplier": 2.0,
    "dropout1": 0.15,
    "dropout2": 0.0,
}


class RtdlWithCategories(nn.Module):
    """Their ResNet as their users give it categories: their embeddings, flattened, beside the
    numeric columns."""

    def __init__(self, n_numeric: int, cardinalities: list[int], width: int) -> None:
        super().__init__()
        self.embeddings = rtdl.CategoricalEmbeddings(cardinalities, width, bias=False)
        self.backbone = rtdl.ResNet(d_in=n_numeric + width * len(cardinalities), d_out=2, **SHAPE)

    def forward(self, x, c):
        return self.backbone(torch.cat([x, self.embeddings(c).flatten(1)], 1))


def step_time(
    net: nn.Module, optimizer: torch.optim.Optimizer, inputs: tuple, device: torch.device
) -> float:
    """Seconds of one training step: forward, backward, update."""
    target = torch.zeros(BATCH, dtype=torch.int64, device=device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(*inputs), target).backward()
    optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(
    ours: nn.Module, our_inputs: tuple, theirs: nn.Module, their_inputs: tuple, device, repeats: int
) -> str:
    sides = []
    for net, inputs in ((ours, our_inputs), (theirs, their_inputs)):
        net.to(device).train()
        moved = tuple(v if v is None else v.to(device) for v in inputs)
        sides.append((net, torch.optim.AdamW(net.parameters()), moved))
    times: list[list[float]] = [[], []]
    for repeat in range(repeats + 5):
        for side in (0, 1) if repeat % 2 else (1, 0):  # interleaved, and neither always first
            seconds = step_time(*sides[side], device)
            if repeat >= 5:
                times[side].append(seconds)
    a, b = (statistics.median(t) for t in times)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(*times, strict=True))
    return f"ours {a * 1e3:7.2f} ms   rtdl {b * 1e3:7.2f} ms   ratio {ratio:.3f}"


def main() -> None:
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    repeats = 400 if device.type == "cuda" else 100
    print(f"training step, batch {BATCH}, {SHAPE}, {device}, {torch.get_num_threads()} threads")
    for n in (16, 128, 512):
        x = torch.randn(BATCH, n)
        ours = TabularResNet(n_numeric=n, cardinalities=[], d_out=2, **SHAPE)
        theirs = rtdl.ResNet(d_in=n, d_out=2, **SHAPE)
        print(
            f"{n:4d} numeric columns        ",
            compare(ours, (x, None), theirs, (x,), device, repeats),
        )
    for n in (10, 40):
        cardinalities = [1000] * n  # all wide: both tables are then 16 wide
        x = torch.randn(BATCH, 16)
        c = torch.stack([torch.randint(size, (BATCH,)) for size in cardinalities], 1)
        ours = TabularResNet(n_numeric=16, cardinalities=cardinalities, d_out=2, **SHAPE)
        theirs = RtdlWithCategories(16, cardinalities, 16)
        print(
            f"{n:4d} categorical, 16 numeric",
            compare(ours, (x, c), theirs, (x, c), device, repeats),
        )


if __name__ == "__main__":
    main()
