"""The command: `python -m nbsrc.tables depth --task digits --out FILE`."""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from nbsrc.support.command import Parser, run
from nbsrc.support.results import provenance, write_result
from nbsrc.tables.comparison import comparison
from nbsrc.tables.depth import depth_experiment
from nbsrc.tables.tasks import Task, next_activity, public

PROG = "python -m nbsrc.tables"
BLOCKS = (1, 2, 4, 8, 16, 32, 64)

TASKS: dict[str, tuple[Callable[..., Task], str]] = {
    "digits": (
        partial(public, "digits"),
        "scikit-learn's digits as a table of 64 columns, split by the seed",
    ),
    "breast-cancer": (
        partial(public, "breast cancer"),
        "scikit-learn's breast cancer, 30 columns, split by the seed",
    ),
    "events": (
        next_activity,
        "20,000 simulated events a seed: what the person of an event does next",
    ),
}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=PROG, description="Run an experiment on labelled tables and store it.")
    parser.add_argument(
        "experiment",
        choices=("depth", "comparison"),
        help="depth: nets of 1 to 64 blocks with and without the skip; comparison: methods tuned"
        " alike, on a public table",
    )
    parser.add_argument("--task", choices=tuple(TASKS), required=True, help="which table")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many (default: 3)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a JSON file")
    return parser.parse_args(argv)


def _write(args: argparse.Namespace) -> None:
    if args.seeds < 1:
        raise ValueError(f"--seeds {args.seeds}: give 1 or more")
    if args.experiment == "comparison" and args.task == "events":
        raise ValueError(
            "--task events: the comparison takes numeric columns only, so a public one"
        )
    if not args.out.parent.is_dir():
        raise ValueError(f"--out {args.out}: there is no folder {args.out.parent}")
    make, data = TASKS[args.task]
    started = time.perf_counter()

    def task(seed: int) -> Task:
        return make(seed=seed)

    seeds = range(args.seeds)
    if args.experiment == "depth":
        rows = depth_experiment(task, blocks=BLOCKS, seeds=seeds)
    else:
        rows = comparison(task, seeds=seeds)
    command = f"{PROG} {args.experiment} --task {args.task} --seeds {args.seeds} --out {args.out}"
    about = provenance(command, torch.device("cpu"), ["scikit-learn", "polars"])
    seconds = round(time.perf_counter() - started)
    write_result(args.out, rows, {**about, "data": data, "seconds": seconds})
    print(f"{args.out}: {rows.height} runs in {seconds} seconds")


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    args = _arguments(argv)
    return run(PROG, partial(_write, args), interrupted=lambda: "Nothing written.")


if __name__ == "__main__":
    sys.exit(main())
