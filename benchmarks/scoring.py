"""How fast the command scores, and in how much memory: `python -m benchmarks.scoring [EVENTS ...]`.

The model learns from 10,000 events, and scores files of 100,000 (or as many as are asked for, such
as 1000000) in a process of its own, as JSON Lines and as Parquet; reading, encoding and writing are
in the time."""

import contextlib
import io
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import polars as pl
import psutil

from benchmarks.memory import follow_memory
from nbsrc.events.read import read_events
from nbsrc.scoring.files import read_baseline, score_files
from nbsrc.scoring.scorer import Scorer
from nbsrc.simulation import __main__ as simulate
from nbsrc.support.command import Parser

LEARNED = 10_000


def score(model: Path, events: Path) -> None:
    """Print the events a second, and the peak memory of this process."""
    peak = [0.0]
    with tempfile.TemporaryDirectory() as scratch:
        scorer = Scorer.load(model)
        threading.Thread(target=follow_memory, args=(psutil.Process(), peak), daemon=True).start()
        start = time.perf_counter()
        report = score_files(scorer, [events], Path(scratch) / "scores.parquet")
        seconds = time.perf_counter() - start
    print(
        f"scoring {report.scored:>9,} events, {events.suffix[1:]:>7}: "
        f"{report.scored / seconds:>7,.0f} events/s, "
        f"peak {peak[0] * 1024:,.0f} MiB",
        flush=True,
    )


def simulated(folder: Path, n: int) -> list[Path]:
    """`n` events as JSON Lines and as Parquet; more than 100,000 are the same 100,000 again and
    again."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        simulate.main(["--events", str(min(n, 100_000)), "--out", str(folder)])
    lines, parquet = folder / "events.jsonl", folder / "events.parquet"
    times = max(1, n // 100_000)
    pl.concat([read_events(lines)[0]] * times).write_parquet(parquet)
    lines.write_bytes(lines.read_bytes() * times)
    return [lines, parquet]


def main(sizes: tuple[int, ...] = (100_000,)) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = time.perf_counter()
        Scorer.train(read_baseline(simulated(folder / "past", LEARNED)[:1])[0], epochs=1).save(
            folder / "model"
        )
        print(
            f"learning from {LEARNED:,} events, one epoch: {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        for n in sizes:
            for events in simulated(folder / str(n), n):
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.scoring",
                    "--score",
                    str(folder / "model"),
                    str(events),
                ]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    parser = Parser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[100_000], metavar="EVENTS",
                        help="how many are scored (default: 100000)")  # fmt: skip
    parser.add_argument("--score", type=Path, nargs=2, metavar=("MODEL", "FILE"),
                        help="score one file by a model that is there")  # fmt: skip
    args = parser.parse_args()
    if args.score:
        score(*args.score)
    else:
        main(tuple(args.sizes))
