"""How long to train: the lowest loss of whole runs of different lengths, on the stream of Part 3.

python -m benchmarks.lengths --out results/lengths.json"""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from joblib import delayed

from nbsrc.events.flatten import flatten
from nbsrc.selfsupervised.model import masked_model
from nbsrc.selfsupervised.pretraining import pretrain
from nbsrc.simulation.stream import simulate_events
from nbsrc.support.command import Parser, run
from nbsrc.support.results import provenance, write_result
from nbsrc.tabular.encoded import EncodedEvents, rows_of
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.training import default_device, one_thread, side_by_side

EVENTS, PAST, LATEST = 40_000, 0.7, 3000
LENGTHS, SEEDS = (4, 8, 16, 32, 64), (0, 1, 2)


def losses_by_length(
    encoded: EncodedEvents, lengths: Sequence[int], seeds: Sequence[int]
) -> pl.DataFrame:
    """Pre-train a network for each number of epochs and each seed, with a schedule of that length,
    to its end.

    On a CPU the runs go side by side, one process and one thread each.
    Returns a table with epochs, seed and validation_loss, the lowest of the run's epochs (nats per
    event)."""
    device = default_device()

    def once(epochs: int, seed: int) -> dict[str, float]:
        with one_thread():
            model = masked_model(encoded, seed=seed)
            history = pretrain(
                model,
                encoded,
                epochs=epochs,
                seed=seed,
                patience=epochs,
                device=device,
                progress=False,
            )
        loss = min(row["validation_loss"] for row in history)
        return {"epochs": epochs, "seed": seed, "validation_loss": loss}

    longest_first = sorted(lengths, reverse=True)
    calls = [delayed(once)(epochs, seed) for epochs in longest_first for seed in seeds]
    return pl.DataFrame(side_by_side(calls, device)).sort("epochs", "seed")


def measured() -> pl.DataFrame:
    """`losses_by_length` on the latest past events of the chapter's stream."""
    simulated, _ = simulate_events(EVENTS, seed=0)
    rows = flatten(pl.DataFrame(simulated, infer_schema_length=None, strict=False)).sort("time")
    past = rows[: int(PAST * rows.height)]
    latest = rows_of(EventEncoder().fit_transform(past), np.arange(past.height)[-LATEST:])
    return losses_by_length(latest, LENGTHS, SEEDS)


def _run(args: argparse.Namespace) -> None:
    started = time.perf_counter()
    rows = measured().with_columns(pl.col("validation_loss").round(2))
    command = "python -m benchmarks.lengths --out results/lengths.json"
    about = provenance(command, default_device(), ("polars",))
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
