"""How long to train: the loss of whole runs of different lengths, on the stream of Part 3.

python -m benchmarks.lengths --out results/lengths.json"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from nbsrc.events.flatten import flatten
from nbsrc.selfsupervised.lengths import losses_by_length
from nbsrc.simulation.stream import simulate_events
from nbsrc.support.command import Parser, run
from nbsrc.support.results import provenance, write_result
from nbsrc.tabular.encoded import rows_of
from nbsrc.tabular.encoder import EventEncoder

EVENTS, PAST, LATEST = 40_000, 0.7, 3000
LENGTHS, SEEDS = (4, 8, 16, 32, 64), (0, 1, 2)


def measured() -> pl.DataFrame:
    """`losses_by_length` on the latest past events of the chapter's stream."""
    simulated, _ = simulate_events(EVENTS, seed=0)
    rows = flatten(pl.DataFrame(simulated, infer_schema_length=None, strict=False)).sort("time")
    past = rows[: int(PAST * rows.height)]
    latest = rows_of(EventEncoder().fit_transform(past), np.arange(past.height)[-LATEST:])
    return losses_by_length(latest, LENGTHS, seeds=SEEDS, device="cpu")


def _run(args: argparse.Namespace) -> None:
    started = time.perf_counter()
    rows = measured().with_columns(pl.col("validation_loss").round(2))
    command = "python -m benchmarks.lengths --out results/lengths.json"
    about = provenance(command, torch.device("cpu"), ("polars",))
    about |= {
        "data": f"the latest {LATEST} past events of a simulated stream of {EVENTS}, seed 0",
        "seconds": round(time.perf_counter() - started),
    }
    write_result(args.out, rows, about)


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.lengths", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    work = partial(_run, parser.parse_args(argv))
    return run("python -m benchmarks.lengths", work, interrupted=lambda: "Nothing written.")


if __name__ == "__main__":
    sys.exit(main())
