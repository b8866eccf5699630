"""The command:

python -m nbsrc.incidents --baseline past.jsonl --events new.jsonl --out alerts.parquet
"""

import argparse
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from nbsrc.events.flatten import flatten
from nbsrc.incidents.entities import Entities
from nbsrc.incidents.files import held_out_since, read_narrow, reported, write_alerts
from nbsrc.incidents.finder import IncidentFinder, as_if_unseen
from nbsrc.incidents.past import learned_in, load_finder, save_finder
from nbsrc.scoring.console import (
    OUT,
    STANDARD_INPUT,
    check_paths,
    learning_options,
    print_cycles,
    print_learning,
    print_notes,
    print_rejects,
)
from nbsrc.scoring.files import read_baseline
from nbsrc.scoring.scorer import Scorer
from nbsrc.support.command import parser, printable, run

PROG = "python -m nbsrc.incidents"
BUDGET = 10
SHOWN = 10  # alerts

ABOUT = """\
Look at events together: learn from past ones what users, hosts, addresses, destinations and pairs
of them do in an hour and in a day, which event follows which, and how unusual single events are;
and raise the alerts about new events that such a past would raise most rarely. Rules for nine
kinds of incident raise alerts, too, where events are OCSF's. No labels are needed, and no list of
columns: events are what python -m nbsrc.scoring takes, a PATH is a file, - for the standard input,
or a folder that stands for all files in it."""
MORE = """\
The Parquet file has one row for each alert, the rarest first, at most as many a day as --budget:
  alert    its rank, from 1                  start, end  of its events, UTC
  score    minus the logarithm of how many   rows        positions of its events among those that
           such alerts a past day had                    could be read, from 0
  entity   what it is about, such as user    uids        their metadata.uid
  value    who or which one                  kinds       what about them is unusual
                                             reason      the same in a sentence, with the numbers

examples:
  python -m nbsrc.incidents --baseline march/ --events april.jsonl.gz --out alerts.parquet \\
    --model company
  python -m nbsrc.incidents --model company --events may.parquet --out may-alerts.parquet

Exit status: 0, 2 if something is wrong with what was given, 130 after Ctrl-C; then --out is left
as it was."""
# fmt: off
OPTIONS: dict[str, dict[str, Any]] = {
    "--baseline": {"type": Path, "nargs": "+", "metavar": "PATH",
        "help": "past events, mostly normal, of several days; not needed if the model is there"},
    "--events": {"type": Path, "nargs": "+", "metavar": "PATH", "required": True,
        "help": "new events, to be looked at"},
    "--out": OUT,
    "--budget": {"type": int, "default": BUDGET, "metavar": "N",
        "help": "alerts a day, at most (default: %(default)s)"},
    "--findings": {"type": Path, "metavar": "FILE",
        "help": "write a line of JSON for each alert, an OCSF Detection Finding, to this file"},
    "--model": {"type": Path, "metavar": "DIR",
        "help": "load what was learned from this folder; if it is not there, learn and save it "
                "there; python -m nbsrc.scoring reads and writes the same folder"},
    "--entity": {"nargs": "+", "default": [], "metavar": "FIELD",
        "help": "fields whose values are looked at over time, too"},
    **learning_options("alerts"),
}
# fmt: on


def _check(args: argparse.Namespace) -> None:
    """Raise what can be known to be wrong before the work, OSError or ValueError."""
    read = [*args.events, *(args.baseline or [])]
    check_paths(read, {"--out": args.out, "--findings": args.findings}, args.model)
    if args.budget < 1 or args.epochs < 1 or args.seed < 0:
        raise ValueError("--budget and --epochs must be at least 1 and --seed at least 0")
    if args.baseline and STANDARD_INPUT in args.baseline:
        raise ValueError("--baseline is read twice, and - can be read once: name a file")
    learned = args.model is not None and learned_in(args.model)
    if not args.baseline and not learned:
        there = f" {args.model} that looks at events together" if args.model else ""
        raise ValueError(f"--baseline is needed: there is no model{there} yet")


def _finder(args: argparse.Namespace) -> tuple[Scorer, IncidentFinder]:
    """What is learned already, or is to be learned."""
    model: Path | None = args.model
    if model is not None and learned_in(model):
        finder = load_finder(model)
        missing = [name for name in args.entity if name not in finder.entities.entities]
        if missing:
            raise ValueError(f"the model in {model} has no entity {missing[0]}: learn another")
        print(f"The model in {model} is there: nothing is learned from a baseline.")
        return Scorer.load(model), finder
    sample, report = read_baseline(args.baseline)
    print_learning(sample.height, report)
    if model is not None and model.exists():
        scorer = Scorer.load(model)
    else:
        scorer = Scorer.train(sample, epochs=args.epochs, seed=args.seed)
    print_cycles(scorer)
    rows = flatten(sample)
    entities = Entities.find(rows, scorer.encoder.columns_, further=args.entity)
    since = held_out_since(scorer.encoder.transform(rows).time)
    del sample, rows
    past, _ = read_narrow(
        scorer, entities, args.baseline, since=since, told="counting the baseline"
    )
    detector = scorer.detector
    past = past.drop("uid", "field").with_columns(
        as_if_unseen(past["score"], detector.threshold_, detector.false_alarms)
    )
    finder = IncidentFinder(entities).fit(past)
    if model is not None:
        if not model.exists():
            scorer.save(model)
        save_finder(finder, model)
    return scorer, finder


def _run(args: argparse.Namespace) -> None:
    _check(args)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "columns unknown at fit")
        scorer, finder = _finder(args)
        print(f"Looked at over time: {printable(', '.join(finder.entities.entities))}")
        events, report = read_narrow(scorer, finder.entities, args.events)
    alerts = reported(finder, events, args.budget)
    write_alerts(alerts, args.out, args.findings)
    print(f"\n{_told(alerts)}\n")
    print_rejects(report)
    print_notes(report)
    timeless = int((events["time"] == 0).sum())
    if timeless:
        print(f"  events without a time, in no alert: {timeless}")
    ordinary = int((alerts["score"] <= 0).sum())
    print(
        f"{args.out}: {report.read} read, {report.rejected} rejected, {report.scored} looked at, "
        f"{alerts.height} alerts, at most {args.budget} a day"
        + (f"; {ordinary} of them no rarer than what the past had every day" if ordinary else "")
    )


def _told(alerts: pl.DataFrame) -> str:
    """The first alerts as lines of text."""
    if alerts.is_empty():
        return "No alert: nothing is more unusual than what the past had every day."
    lines = ["The rarest alerts:"]
    for alert in alerts.head(SHOWN).iter_rows(named=True):
        when = f"{alert['start']:%Y-%m-%d %H:%M} to {alert['end']:%m-%d %H:%M}"
        lines.append(f"{alert['alert']:>3}  {alert['score']:5.1f}  {when}  {alert['reason']}")
    return "\n".join(printable(line) for line in lines)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    args = parser(PROG, ABOUT, MORE, OPTIONS).parse_args(argv)
    return run(PROG, partial(_run, args), interrupted=lambda: "No alerts written.")


if __name__ == "__main__":
    sys.exit(main())
