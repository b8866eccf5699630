"""What the workers of Ray cost and bring: `python -m benchmarks.workers [EVENTS]`.

The model learns from 2,000 events; 20,000 others (or as many as are asked for), in one file of JSON
Lines, are scored by one process, one worker and two. The start is the time to the scores of ten
events: Ray's own, the workers', and the loading of the model."""

import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks.scoring import simulated
from nbsrc.events.read import read_events
from nbsrc.scoring.cluster import running
from nbsrc.scoring.files import score_files
from nbsrc.scoring.scorer import Scorer
from nbsrc.support.command import Parser

LEARNED, FEW = 2_000, 10


def main(n: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        past = read_events(simulated(folder / "past", LEARNED)[0])[0]
        Scorer.train(past, epochs=1).save(folder / "model")
        events = simulated(folder / "new", n)[0]
        few = folder / "few.jsonl"
        few.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:FEW]))
        for workers in (0, 1, 2):
            start = time.perf_counter()
            scorer = Scorer.load(folder / "model")
            with running(workers) if workers else nullcontext():
                for path in (few, events):
                    began = time.perf_counter()
                    score_files(
                        scorer, [path], folder / "scores.parquet", workers=workers,
                        model=folder / "model" if workers else None,
                    )  # fmt: skip
                    seconds = time.perf_counter() - began
                    if path == few:
                        started = time.perf_counter() - start
            who = f"Ray, workers: {workers}" if workers else "without Ray"
            print(
                f"{who:<14}: start {started:.1f} s, then {n:,} events in {seconds:.1f} s: "
                f"{n / seconds:,.0f} events/s",
                flush=True,
            )


if __name__ == "__main__":
    parser = Parser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=20_000, metavar="EVENTS",
                        help="how many are scored (default: 20000)")  # fmt: skip
    main(parser.parse_args().events)
