"""One training loop for all models of sequences, and how many steps fit into a time."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nbsrc.training import one_cycle, one_thread

LR = 3e-3
CLIP = 1.0  # of the gradient's norm: a long sequence may send a large one back
TRIED = 5  # steps that are timed

Loss = Callable[[torch.Generator], Tensor]


def train(model: nn.Module, loss: Loss, *, steps: int, seed: int, lr: float = LR) -> list[float]:
    """Train `model` in place with AdamW for `steps` batches, under a one-cycle rate that peaks at
    `lr`; returns each step's loss.

    `loss(generator)` draws a batch and gives its mean loss. One thread of the CPU: equal arguments
    give equal weights on one machine."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    losses = []
    model.train()
    with one_thread():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * one_cycle(step / steps)
            value = loss(generator)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            losses.append(value.item())
    model.eval()
    return losses


def steps_within(seconds: float, model: nn.Module, loss: Loss) -> int:
    """How many steps of `train` fit into `seconds` of one CPU core: at least one.

    The model's weights stay as they are."""
    generator = torch.Generator().manual_seed(0)
    with one_thread():
        loss(generator).backward()  # what only the first step costs
        before = time.process_time()
        for _ in range(TRIED):
            loss(generator).backward()
        took = (time.process_time() - before) / TRIED
    model.zero_grad()
    return max(1, int(seconds / took))
