"""The command: `python -m nbsrc.simulation --events 100000 --out DIR`."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import polars as pl
from tqdm import tqdm

from nbsrc.simulation.stream import SCENARIOS, START, checked_start, simulate_events
from nbsrc.support.command import Parser, run
from nbsrc.support.files import whole

PROG = "python -m nbsrc.simulation"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=PROG,
        description="Write a simulated company's OCSF events, and which of "
        "them belong to an incident in a file of their own, labels.csv.",
    )
    add = parser.add_argument
    add(
        "--events",
        type=int,
        required=True,
        metavar="N",
        help="how many events; the company grows with them",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="an empty or new folder")
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="equal seeds give equal events (default: 0)",
    )
    add(
        "--start",
        default=START,
        metavar="TIME",
        help="the first moment of the fortnight (default: %(default)s)",
    )
    add("--format", choices=("jsonl", "parquet"), default="jsonl", help="default: jsonl")
    return parser.parse_args(argv)


def _write(args: argparse.Namespace) -> None:
    out: Path = args.out
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: name a folder")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(
            f"--out {out} is not empty: name another folder, so that events and labels stay"
            " together"
        )
    checked_start(args.events, seed=args.seed, start=args.start, scenarios=SCENARIOS)
    out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    events, labels = simulate_events(
        args.events, seed=args.seed, start=args.start, show_progress=True
    )
    files = out / f"events.{args.format}", out / "labels.csv"
    with whole(files[0]) as events_file, whole(files[1]) as labels_file:
        if args.format == "jsonl":
            with events_file.open("w", encoding="utf-8", newline="\n") as lines:
                for event in tqdm(events, desc="writing", unit=" events"):
                    lines.write(json.dumps(event, separators=(",", ":")) + "\n")
        else:
            pl.DataFrame(events, infer_schema_length=None).write_parquet(events_file)
        labels.write_csv(labels_file)
    print(
        f"{files[0]}: {len(events)} events\n{files[1]}: {len(labels)} of them belong to incidents"
    )


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    args = _arguments(argv)
    return run(PROG, partial(_write, args), interrupted=lambda: "Nothing written.")


if __name__ == "__main__":
    sys.exit(main())
