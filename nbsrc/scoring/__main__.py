"""The command:

python -m nbsrc.scoring --baseline past.jsonl --events new.jsonl --out scores.parquet
"""

import argparse
import os
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from nbsrc.detection.base import FALSE_ALARMS
from nbsrc.scoring.cluster import check_ray
from nbsrc.scoring.console import (
    OUT,
    STANDARD_INPUT,
    check_paths,
    learning_options,
    print_columns,
    print_cycles,
    print_learning,
    print_notes,
    print_rejects,
)
from nbsrc.scoring.files import LARGEST, Report, read_baseline, score_files
from nbsrc.scoring.scorer import Scorer
from nbsrc.support.command import parser, printable, run

PROG = "python -m nbsrc.scoring"
SHOWN_WIDTH = 40  # characters of a uid

ABOUT = """\
Learn from past events what is normal, and score new ones by how unlike that they are. No labels
are needed, and no list of columns: events are OCSF or any other records, nested or flat, as JSON,
JSON Lines or Parquet, also compressed, also in the wrappers of some services; a PATH is a file, -
for the standard input, or a folder that stands for all files in it."""
MORE = """\
The Parquet file has one row for each event that could be read, in the order given:
  row      its position, from 0        score    higher is stranger
  uid      its metadata.uid, or null   flagged  whether the score is above the alarm threshold
  time     in UTC, or null             reasons  the three fields that stand out most, with values
                                       why      of flagged events, reasons beside what is usual

What is read:
  JSON         objects one a line, one after the other, indented, in arrays; UTF-8 or UTF-16
  wrappers     Records, records, events, logEvents, value, hits.hits; _source; events as text in
               message, log or _raw
  Parquet      nested or flat, extension types, objects as JSON text; folders NAME=VALUE as columns
  compressed   gzip, zstd, bzip2, xz
Names that begin with _ or . in a folder, and an Iceberg table's metadata, are left out. What is
broken is rejected and reported; the rest is scored.

examples:
  python -m nbsrc.scoring --baseline march/ --events april.jsonl.gz --out scores.parquet \\
    --model company
  python -m nbsrc.scoring --model company --events may.parquet --out may-scores.parquet
  zcat today.gz | python -m nbsrc.scoring --model company --events - --out today.parquet

Exit status: 0, 2 if something is wrong with what was given, 130 after Ctrl-C; then --out is left
as it was."""
# fmt: off
OPTIONS: dict[str, dict[str, Any]] = {
    "--baseline": {"type": Path, "nargs": "+", "metavar": "PATH",
        "help": "past events, at least 40, mostly normal; of more than "
                f"{LARGEST:,}, every second (fourth, ...) one is learned from; not needed if the "
                "model is there"},
    "--events": {"type": Path, "nargs": "+", "metavar": "PATH", "required": True,
        "help": "new events, to be scored"},
    "--out": OUT,
    "--alerts": {"type": Path, "metavar": "FILE",
        "help": "write a line of JSON for each flagged event, an OCSF Detection Finding, to this "
                "file"},
    "--model": {"type": Path, "metavar": "DIR",
        "help": "load the model from this folder; if it is not there, train one and save it there"},
    "--engine": {"choices": ["here", "ray"], "default": "here",
        "help": "who scores: this process, or workers of Ray, with equal scores (default: here)"},
    "--workers": {"type": int, "metavar": "N",
        "help": "how many workers Ray has (default: one for each core)"},
    "--exclude": {"nargs": "+", "default": [], "metavar": "FIELD",
        "help": "fields not to learn from, with all below them, such as actor.session"},
    "--false-alarms": {"type": float, "metavar": "SHARE",
        "help": f"the share of normal events that may be flagged (default: {FALSE_ALARMS})"},
    **learning_options("scores"),
}
# fmt: on


def _check(args: argparse.Namespace) -> None:
    """Raise what can be known to be wrong before the work, OSError or ValueError."""
    read = [*args.events, *(args.baseline or [])]
    check_paths(read, {"--out": args.out, "--alerts": args.alerts}, args.model)
    if not args.baseline and (args.model is None or not args.model.exists()):
        raise ValueError(
            f"--baseline is needed: there is no model{f' {args.model}' if args.model else ''} yet"
        )
    if args.engine == "ray":
        check_ray()
        if STANDARD_INPUT in args.events:
            raise ValueError("--engine ray reads files, not the standard input")
    elif args.workers is not None:
        raise ValueError("--workers is for --engine ray")
    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, however: {args.workers}")
    alarms = FALSE_ALARMS if args.false_alarms is None else args.false_alarms
    if not 0 < alarms < 1 or args.epochs < 1 or args.seed < 0:
        raise ValueError(
            "--false-alarms must be between 0 and 1, --epochs at least 1 and --seed at least 0"
        )


def _scorer(args: argparse.Namespace) -> Scorer:
    """The model that is there, or a new one."""
    if args.model is None or not args.model.exists():
        events, report = read_baseline(args.baseline)
        print_learning(events.height, report)
        scorer = Scorer.train(
            events, exclude=tuple(args.exclude), false_alarms=args.false_alarms or FALSE_ALARMS,
            epochs=args.epochs, seed=args.seed,
        )  # fmt: skip
        print_cycles(scorer)
        if args.model is not None:
            scorer.save(args.model)
        return scorer
    scorer = Scorer.load(args.model)
    learned = {
        "--false-alarms": scorer.detector.false_alarms,
        "--exclude": list(scorer.encoder.exclude),
    }
    asked = {"--false-alarms": args.false_alarms, "--exclude": args.exclude}
    for option, value in asked.items():
        if value and value != learned[option]:
            raise ValueError(
                f"the model in {args.model} has {option} {learned[option]}, not {value}: "
                "train another"
            )
    print(f"The model in {args.model} is there: nothing is learned from a baseline.")
    return scorer


def _run(args: argparse.Namespace) -> None:
    _check(args)
    with warnings.catch_warnings():
        # All of them are told at the end.
        warnings.filterwarnings("ignore", "columns unknown at fit")
        scorer = _scorer(args)
        report = _scored(scorer, args)
    print(f"\nThe most anomalous events:\n{_table(report.most_anomalous)}\n")
    print_rejects(report)
    print_notes(report)
    print_columns("Columns that the model does not know and ignores", report.ignored)
    print_columns("Columns of the model that no event has", report.missing)
    print_columns("Columns of another type than in the baseline, not understood", report.changed)
    print(
        f"{args.out}: {report.read} read, {report.rejected} rejected, {report.scored} scored, "
        f"{report.flagged} flagged (score above {scorer.detector.threshold_:.1f})"
    )


def _scored(scorer: Scorer, args: argparse.Namespace) -> Report:
    score = partial(score_files, scorer, args.events, args.out, alerts=args.alerts)
    if args.engine == "here":
        return score()
    workers = args.workers or os.cpu_count() or 1
    if args.model is not None:
        return score(workers=workers, model=args.model)
    with tempfile.TemporaryDirectory() as scratch:
        scorer.save(Path(scratch) / "model")
        return score(workers=workers, model=Path(scratch) / "model")


def _table(scores: pl.DataFrame) -> str:
    """The scores as lines of text, the reasons of each below it."""
    lines = [("row", "score", "flagged", "time (UTC)", "uid")]
    for row in scores.iter_rows(named=True):
        time = "" if row["time"] is None else f"{row['time']:%Y-%m-%d %H:%M:%S}"
        flagged = "yes" if row["flagged"] else "no"
        uid = (row["uid"] or "")[:SHOWN_WIDTH]
        lines.append((str(row["row"]), f"{row['score']:.1f}", flagged, time, uid))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.ljust, line, widths)) for line in lines]
    for i, why in reversed(list(enumerate(scores["why"].to_list(), 1))):
        text[i + 1 : i + 1] = [f"    {told}" for told in why]
    return "\n".join(printable(line).rstrip() for line in text)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    args = parser(PROG, ABOUT, MORE, OPTIONS).parse_args(argv)
    return run(PROG, partial(_run, args), interrupted=lambda: "No scores written.")


if __name__ == "__main__":
    sys.exit(main())
