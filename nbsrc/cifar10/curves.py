"""The command: `python -m nbsrc.cifar10.curves runs/plain20 runs/resnet20 --out FILE`, which puts
the curves of finished or unfinished runs into one file, for a chapter to draw."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

from nbsrc.support.command import Parser, run
from nbsrc.support.results import provenance, write_result

PROG = "python -m nbsrc.cifar10.curves"
SHARED = ("data", "epochs")  # what runs must have in common to be compared


def curves(folders: Sequence[Path]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The epochs of runs that `python -m nbsrc.cifar10` has written, and what made them.

    Returns one row a finished epoch: model, seed, epoch, train_loss (nats), train_error, test_loss,
    test_error (shares of images, 0 to 1) and seconds; and data and epochs of all runs, with
    command, date, hardware and versions of each. A run without a finished epoch has no row.

    Raises FileNotFoundError if a folder holds no run, ValueError if runs differ in data or planned
    epochs, two are of one model and seed, or no run has an epoch."""
    rows: list[pl.DataFrame] = []
    about: dict[str, Any] = {}
    runs: dict[str, Any] = {}
    for folder in folders:
        path = folder / "run.json"
        if not path.is_file():
            raise FileNotFoundError(f"no run in {folder}: it has no run.json")
        record = json.loads(path.read_text(encoding="utf-8"))
        settings = record["settings"]
        model, seed = settings["model"], settings["seed"]
        name = f"{model}, seed {seed}"
        for shared in SHARED:
            if about.setdefault(shared, settings[shared]) != settings[shared]:
                raise ValueError(
                    f"{folder} has {shared} {settings[shared]!r}, not {about[shared]!r}"
                )
        if name in runs:
            raise ValueError(f"{folder} is the second run of {name}")
        runs[name] = record["sessions"]
        if (folder / "log.csv").is_file():
            log = pl.read_csv(folder / "log.csv")
            rows.append(
                log.select(
                    pl.lit(model).alias("model"),
                    pl.lit(seed).alias("seed"),
                    "epoch",
                    pl.col("train_loss").round(4),
                    (1 - pl.col("train_accuracy")).round(4).alias("train_error"),
                    pl.col("test_loss").round(4),
                    (1 - pl.col("test_accuracy")).round(4).alias("test_error"),
                    "seconds",
                )
            )
    if not rows:
        raise ValueError(f"no run has a finished epoch: {', '.join(map(str, folders))}")
    return pl.concat(rows), {**about, "runs": runs}


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    parser = Parser(prog=PROG, description="Put the curves of runs on CIFAR-10 into one file.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a JSON file")
    args = parser.parse_args(argv)
    return run(PROG, partial(_write, args), interrupted=lambda: "Nothing written.")


def _write(args: argparse.Namespace) -> None:
    if not args.out.parent.is_dir():
        raise ValueError(f"--out {args.out}: there is no folder {args.out.parent}")
    rows, about = curves(args.runs)
    command = f"{PROG} {' '.join(map(str, args.runs))} --out {args.out}"
    collected = provenance(command, torch.device("cpu"), ["polars"])
    write_result(args.out, rows, {**collected, **about, "seconds": round(rows["seconds"].sum())})
    for name in about["runs"]:
        done = rows.filter(pl.format("{}, seed {}", "model", "seed") == name).height
        print(f"{name}: {done} of {about['epochs']} epochs")


if __name__ == "__main__":
    sys.exit(main())
