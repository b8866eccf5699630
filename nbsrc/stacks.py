"""Experiment: depth, initialization, normalization and skip, in all combinations.

The stacks are those of `nbsrc.gradient_flow`. `python -m nbsrc.stacks --out FILE` runs and stores
what the chapter draws.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path

import polars as pl
import torch
from torch import nn

from nbsrc.digits import load_digits
from nbsrc.gradient_flow import KINDS, Stack, gradient_norms
from nbsrc.support.command import Parser, run
from nbsrc.support.results import provenance, write_result
from nbsrc.training import one_cycle, one_thread, train_epochs

PROG = "python -m nbsrc.stacks"
INITIALIZATIONS = ("PyTorch's", "He et al.'s")
DEPTHS = (8, 24, 64)
EPOCHS = 4
RATE = 1e-3  # the learning rate's peak


def stack_experiment(
    *, depths: Sequence[int], seeds: Sequence[int], epochs: int = EPOCHS
) -> pl.DataFrame:
    """Gradients before training, and the loss in training, of every stack, on the digits.

    One row a stack and seed: depth, initialization, kind, seed; `gradients`, the norm at each
    layer's weights, the layer next to the input first; `losses`, before training and the mean over
    each epoch (nats; null where it overflows), both to four digits. AdamW with a one-cycle
    schedule."""
    stacks = product(sorted(depths), INITIALIZATIONS, KINDS, seeds)
    return pl.DataFrame([stack_once(*stack, epochs=epochs) for stack in stacks])


def stack_once(
    depth: int, initialization: str, kind: str, seed: int, *, epochs: int
) -> dict[str, object]:
    """One row of `stack_experiment`."""
    digits = load_digits()
    images, labels = digits.train_images, digits.train_labels
    with one_thread():
        torch.manual_seed(seed)
        stack = Stack(kind, depth)
        if initialization == "He et al.'s":  # 2015, Eq. 10
            for linear in stack.layers.modules():
                if isinstance(linear, nn.Linear):
                    nn.init.kaiming_normal_(linear.weight)
                    nn.init.zeros_(linear.bias)
        gradients = gradient_norms(stack, images, labels)[:-1]
        with torch.no_grad():
            losses = [nn.functional.cross_entropy(stack(images), labels).item()]
        optimizer = torch.optim.AdamW(stack.parameters(), lr=RATE)
        for row in train_epochs(
            stack, optimizer, images, labels, epochs=epochs, batch_size=128, lr=RATE,
            schedule=one_cycle, seed=seed, device=torch.device("cpu"), progress=False,
        ):  # fmt: skip
            losses.append(row["train_loss"])
    return {
        "depth": depth,
        "initialization": initialization,
        "kind": kind,
        "seed": seed,
        "gradients": [_four_digits(norm) for norm in gradients],
        "losses": [_four_digits(loss) if math.isfinite(loss) else None for loss in losses],
    }


def _four_digits(value: float) -> float:
    return float(f"{value:.4g}")


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    parser = Parser(
        prog=PROG, description="Train stacks of all combinations of depth, initialization, "
        "normalization and skip, and store their gradients and losses.",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many (default: 3)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a JSON file")
    args = parser.parse_args(argv)
    return run(PROG, partial(_write, args), interrupted=lambda: "Nothing written.")


def _write(args: argparse.Namespace) -> None:
    if args.seeds < 1:
        raise ValueError(f"--seeds {args.seeds}: give 1 or more")
    if not args.out.parent.is_dir():
        raise ValueError(f"--out {args.out}: there is no folder {args.out.parent}")
    began = time.perf_counter()
    rows = stack_experiment(depths=DEPTHS, seeds=range(args.seeds))
    command = f"{PROG} --seeds {args.seeds} --out {args.out}"
    about = provenance(command, torch.device("cpu"), ["scikit-learn", "polars"])
    seconds = round(time.perf_counter() - began)
    data = "scikit-learn's digits, the training images"
    write_result(args.out, rows, {**about, "data": data, "seconds": seconds})
    print(f"{args.out}: {rows.height} stacks in {seconds} seconds")


if __name__ == "__main__":
    sys.exit(main())
