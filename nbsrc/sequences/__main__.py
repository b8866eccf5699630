"""The command: `python -m nbsrc.sequences adfa --data DIR --out results/sequences-adfa.json`."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch

from nbsrc.sequences.adfa import load_adfa
from nbsrc.sequences.depth import depth_over_time
from nbsrc.sequences.hdfs import load_hdfs
from nbsrc.sequences.real import trace_experiment
from nbsrc.sequences.simulated import sequence_experiment
from nbsrc.sequences.zeek import load_zeek, regularity
from nbsrc.support.command import parser, run
from nbsrc.support.results import provenance, write_result

PROG = "python -m nbsrc.sequences"
EVENTS, EPOCHS = 26_000, 3  # of the simulated streams, of the pre-training
DEPTHS, DEPTH_EPOCHS = (1, 2, 4, 8), 6
# fmt: off
OPTIONS: dict[str, dict[str, Any]] = {
    "--data": {"type": Path, "default": Path("data"), "metavar": "DIR",
        "help": "where recorded data are, or are downloaded to (default: data)"},
    "--out": {"type": Path, "required": True, "metavar": "FILE",
        "help": "where the result is written"},
    "--seeds": {"type": int, "nargs": "+", "default": [0, 1, 2], "metavar": "N",
        "help": "of the networks and of what is drawn (default: 0 1 2)"},
    "--seconds": {"type": float, "default": 25.0, "metavar": "S",
        "help": "of one CPU core, for each network to train; not for zeek and depth (default: 25)"},
}
# fmt: on


def _adfa(args: argparse.Namespace) -> tuple[pl.DataFrame, str]:
    data = load_adfa(args.data)
    table = trace_experiment(lambda _: data, seeds=args.seeds, seconds=args.seconds)
    return table, _described("ADFA-LD", len(data.past), data.group)


def _hdfs(args: argparse.Namespace) -> tuple[pl.DataFrame, str]:
    data = load_hdfs(args.data, seed=args.seeds[0])
    table = trace_experiment(
        lambda seed: load_hdfs(args.data, seed=seed), seeds=args.seeds, seconds=args.seconds
    )
    return table, _described("HDFS, the 1% sample of Landauer et al.", len(data.past), data.group)


def _zeek(args: argparse.Namespace) -> tuple[pl.DataFrame, str]:
    connections = load_zeek(args.data)
    return regularity(connections), f"Zeek's log of njRAT, {connections.height} connections"


def _simulated(args: argparse.Namespace) -> tuple[pl.DataFrame, str]:
    table = sequence_experiment(
        seeds=args.seeds, events=EVENTS, seconds=args.seconds, epochs=EPOCHS
    )
    return table, f"simulated streams of {EVENTS} events; sets pool {EPOCHS} epochs of pre-training"


def _depth(args: argparse.Namespace) -> tuple[pl.DataFrame, str]:
    table = depth_over_time(depths=DEPTHS, seeds=args.seeds, epochs=DEPTH_EPOCHS)
    return table, f"scikit-learn's digits, pixel by pixel; {DEPTH_EPOCHS} epochs"


def _described(name: str, past: int, group: Any) -> str:
    abnormal = int((group != "").sum())
    normal = len(group) - abnormal
    return f"{name}: {past} traces to learn from, {normal} normal and {abnormal} others to score"


EXPERIMENTS: dict[str, Callable[[argparse.Namespace], tuple[pl.DataFrame, str]]] = {
    "adfa": _adfa,
    "hdfs": _hdfs,
    "zeek": _zeek,
    "simulated": _simulated,
    "depth": _depth,
}


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    about = "Run an experiment on sequences and store its result with what made it."
    made = parser(PROG, about, "", OPTIONS)
    made.add_argument(
        "experiment",
        choices=EXPERIMENTS,
        help="adfa, hdfs: every method on recorded traces; zeek: beats in recorded connections;"
        " simulated: incidents that each method finds; depth: plain and residual stacks over time",
    )
    args = made.parse_args(argv)
    given = sys.argv[1:] if argv is None else argv
    # The reader's own folder says nothing about the result.
    command = shlex.join([*PROG.split(), *given]).replace(shlex.quote(str(args.data)), "DIR")

    def work() -> None:
        if args.seconds <= 0 or min(args.seeds) < 0:
            raise ValueError(
                "--seconds must be positive and --seeds at least 0, however: "
                f"{args.seconds}, {args.seeds}"
            )
        if not args.out.parent.is_dir():
            raise FileNotFoundError(f"no folder {args.out.parent} for --out")
        table, data = EXPERIMENTS[args.experiment](args)
        about = provenance(command, torch.device("cpu"), ("polars", "scikit-learn"))
        write_result(args.out, table, about | {"data": data, "threads": 1})
        print(f"Wrote {args.out}.")

    return run(PROG, work, interrupted=lambda: "Nothing written.")


if __name__ == "__main__":
    sys.exit(main())
