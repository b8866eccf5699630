"""One training loop for all models of sequences: for so many steps, or for so much time."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nbsrc.training import one_cycle, one_thread

LR = 3e-3
CLIP = 1.0  # of the gradient's norm: a long sequence may send a large one back

Loss = Callable[[torch.Generator], Tensor]


def train(
    model: nn.Module, loss: Loss, *, steps: int = 0, seconds: float = 0.0, seed: int, lr: float = LR
) -> list[float]:
    """Train `model` in place with AdamW under a one-cycle rate that peaks at `lr`; returns each
    step's loss.

    It takes `steps` batches, or as many as fit into `seconds` of a CPU core's time;
    `loss(generator)` draws a batch and gives its mean loss. With `steps`, equal arguments give
    equal weights on one machine.

    Raises ValueError unless one of steps and seconds is given, and positive."""
    if (steps > 0) == (seconds > 0):
        raise ValueError(f"give steps or seconds, however: {steps=}, {seconds=}")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    losses: list[float] = []
    model.train()
    with one_thread():
        started = time.process_time()
        while True:
            done = len(losses) / steps if steps else (time.process_time() - started) / seconds
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = lr * one_cycle(done)
            value = loss(generator)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            losses.append(value.item())
    model.eval()
    return losses
