"""Score security events by how unlike the past they are:

    python -m nbsrc.scoring --baseline past.jsonl --events new.jsonl --out scores.parquet

The same from Python, on frames of nested (OCSF) or flat events:

    scorer = Scorer.train(read_events("past.jsonl")[0])
    scores = scorer.score(read_events("new.jsonl")[0])
"""

import argparse
import os
import sys
import tempfile
import warnings
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl
import torch
from tqdm import tqdm  # type: ignore[import-untyped]

from nbsrc.detection.surprise import SurpriseDetector
from nbsrc.events.flatten import flatten
from nbsrc.events.kinds import stack
from nbsrc.events.lines import Reject
from nbsrc.events.read import iter_events
from nbsrc.selfsupervised.pretraining import MaskedModel, pretrain
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.tabular.network import TabularResNet
from nbsrc.training import default_device, watched

__all__ = ["Report", "Scorer", "read_baseline", "score_files"]

NETWORK = {"d_block": 64, "n_blocks": 2}  # TabularResNet's arguments
EPOCHS = 10
BATCH_SIZE = 512  # in training, at most
FEWEST_STEPS = 50  # in an epoch: a small baseline is learned from in smaller batches
FALSE_ALARMS = 0.001  # the share of normal events that may be flagged
LARGEST = 200_000  # events of the baseline that are kept in memory and trained on
EVENTS_AT_ONCE = 6_000  # that are read and scored together: of wide events, more take gigabytes
SHOWN = 10  # most anomalous events
SHOWN_REJECTS = 5
SHOWN_WIDTH = 40  # characters of a value

Folder = str | Path


class Scorer:
    """An encoder and a detector that learned from the same past events; nothing it does needs a
    label.

    encoder: fitted on the flattened past events. detector: fitted on what the encoder made of them.
    Raises ValueError if the detector has other columns than the encoder.
    """

    def __init__(self, encoder: EventEncoder, detector: SurpriseDetector) -> None:
        detector.model.check_columns(encoder.transform(pl.DataFrame()))
        self.encoder = encoder
        self.detector = detector
        told = encoder.describe()
        self.known = frozenset(told["column"])
        self.kept = frozenset(told.filter(decision="kept")["column"])
        # A derived column is named COLUMN.hour_sin or COLUMN.present.
        names = detector.model.names
        self._fields = [name if name in self.kept else name.rpartition(".")[0] for name in names]

    @classmethod
    def train(
        cls,
        events: pl.DataFrame,
        *,
        exclude: tuple[str, ...] = (),
        false_alarms: float = FALSE_ALARMS,
        epochs: int = EPOCHS,
        seed: int = 0,
        progress: bool = True,
    ) -> "Scorer":
        """Learn what is normal from past events, nested or flat; `exclude` names fields to leave
        out with all below.

        `false_alarms` is the share of normal events that may be flagged. Equal arguments give equal
        scores on one machine's CPU. Raises ValueError if there are fewer events than `pretrain`
        needs, no column is worth learning, or an argument makes no sense."""
        if not 0 < false_alarms < 1 or epochs < 1 or seed < 0:
            raise ValueError(
                "false alarms must be between 0 and 1, epochs at least 1 and the seed at least 0, "
                f"however: {false_alarms}, {epochs}, {seed}"
            )
        rows = flatten(events)
        encoder = EventEncoder(exclude=exclude).fit(rows)
        encoded = encoder.transform(rows)
        if not encoded.numeric_names + encoded.categorical_names:
            raise ValueError(
                "no column is worth learning: all are constant, identifiers, empty or excluded"
            )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = TabularResNet(
                n_numeric=len(encoded.numeric_names), cardinalities=encoded.cardinalities, **NETWORK
            )  # fmt: skip
            model = MaskedModel(
                network,
                numeric_names=encoded.numeric_names,
                categorical_names=encoded.categorical_names,
            )
        batch_size = max(16, min(BATCH_SIZE, rows.height // FEWEST_STEPS))
        pretrain(model, encoded, epochs=epochs, seed=seed, batch_size=batch_size, progress=progress)
        return cls(encoder, SurpriseDetector(model, false_alarms=false_alarms).fit(encoded))

    def save(self, folder: Folder) -> None:
        """Write what was learned into the new folder `folder`, as a whole. Raises FileExistsError
        if it is there."""
        folder = Path(folder)
        if folder.exists():
            raise FileExistsError(f"{folder} is there already: name a new folder")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            made = Path(scratch) / "model"
            self.encoder.save(made / "encoder")
            self.detector.save(made)
            os.rename(made, folder)

    @classmethod
    def load(cls, folder: Folder) -> "Scorer":
        """What `save` wrote. Raises ValueError if `folder` holds no such model, a damaged or a
        newer one."""
        try:
            encoder, detector = (
                EventEncoder.load(Path(folder) / "encoder"),
                SurpriseDetector.load(folder),
            )
            detector.model.to(default_device())
            return cls(encoder, detector)
        except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"the model in {folder} cannot be loaded: {_first_line(error)}"
            ) from error

    def score(self, events: pl.DataFrame) -> pl.DataFrame:
        """One row an event, each scored by itself; `events` are nested or flat.

        Columns: `row` (from 0), `uid` (metadata.uid as text), `time` (UTC), `score` (higher is
        stranger), `flagged` (whether the score is above what the share `false_alarms` of normal
        events exceeds), `reasons` (a list of structs `field`, `value`: of the three objects of the
        event that surprise most, the field that does, the most surprising one first, and the values
        as text; null is a missing one). `uid` and `time` are null where unknown.

        The time is `time` or OCSF's other ones; without those, that of the only column of times
        there is.

        Raises ValueError if the events share no column with the model.
        """
        rows = flatten(events)
        if self.kept.isdisjoint(rows.columns):
            raise ValueError(_strangers(self.kept, rows.columns))
        return self._score(rows)

    def _score(self, rows: pl.DataFrame) -> pl.DataFrame:
        encoded = self.encoder.transform(rows)
        scores, reasons = self.detector.judge(encoded)
        uid = (
            _text(rows["metadata.uid"])
            if "metadata.uid" in rows.columns
            else pl.repeat(None, rows.height, eager=True)
        )
        time = pl.Series(encoded.time).cast(pl.Datetime("ms", "UTC"))
        return pl.DataFrame({
            "row": pl.int_range(rows.height, eager=True),
            "uid": uid.cast(pl.String),
            "time": time.set(pl.Series(encoded.time == 0), None),
            "score": scores.astype(np.float64),
            "flagged": scores > self.detector.threshold_,
            "reasons": _reasons(rows, self._fields, reasons),
        })  # fmt: skip


def _reasons(rows: pl.DataFrame, fields: list[str], chosen: np.ndarray) -> pl.Series:
    """A list of structs (field, value) for each row; chosen (rows, k) are indices into `fields`."""
    flat = chosen.ravel()
    by_field = np.argsort(flat, kind="stable")
    present, starts = np.unique(flat[by_field], return_index=True)
    parts = [pl.Series(dtype=pl.String)]
    there = set(rows.columns)
    for index, places in zip(present, np.split(by_field, starts[1:]), strict=True):
        name = fields[index]
        if name in there:
            parts.append(_text(rows[name].gather(places // chosen.shape[1])))
        else:
            parts.append(pl.repeat(None, len(places), dtype=pl.String, eager=True))
    values = pl.concat([part.alias("value") for part in parts]).gather(np.argsort(by_field))
    reasons = pl.DataFrame({"field": pl.Series(fields).gather(flat), "value": values}).to_struct()
    return reasons.reshape(chosen.shape).arr.to_list()


def _text(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Binary:
        return series.bin.encode("hex")
    if series.dtype == pl.Duration:
        return series.dt.total_milliseconds().cast(pl.String)
    try:
        return series.cast(pl.String, strict=False)
    except pl.exceptions.PanicException:  # a date beyond the calendar: its number, then
        return series.to_physical().cast(pl.String)


def _strangers(kept: frozenset[str], columns: list[str]) -> str:
    names = [", ".join(sorted(some)[:3]) or "none" for some in (columns, kept)]
    return f"the events share no column with the model: theirs are {names[0]}, ...; the model's are {names[1]}, ..."


# ---- Files


@dataclass
class Report:
    """What became of the records of some files.

    read: records, those rejected included. rejected: records, or stretches of a file, that are not
    events, and `first_rejects` the first of them as (file, row, reason). columns: those of the
    flattened events, and `ignored` those that the model does not know. most_anomalous: the rows of
    the scores with the highest ones, highest first."""

    read: int = 0
    rejected: int = 0
    first_rejects: list[Reject] = field(default_factory=list)
    flagged: int = 0
    columns: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    most_anomalous: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def scored(self) -> int:
        """All events that could be read."""
        return self.read - self.rejected

    def _add(self, more: "Report") -> None:
        """What became of the records that follow."""
        if more.most_anomalous.height:
            best = [
                self.most_anomalous,
                more.most_anomalous.with_columns(pl.col("row") + self.scored),
            ]
            self.most_anomalous = _best(pl.concat(best, how="diagonal"))
        self.read += more.read
        self.rejected += more.rejected
        self.first_rejects += more.first_rejects[: SHOWN_REJECTS - len(self.first_rejects)]
        self.flagged += more.flagged
        self.columns |= more.columns

    def _check(self, paths: list[Path]) -> None:
        if not self.scored:
            why = "".join(f": {_reject(*reject)}" for reject in self.first_rejects[:1])
            raise ValueError(f"no event can be read from {', '.join(map(str, paths))}{why}")


def _best(scores: pl.DataFrame) -> pl.DataFrame:
    return scores.sort("score", "row", descending=[True, False]).head(SHOWN)


def _read(events: pl.DataFrame, rejects: list[Reject]) -> Report:
    return Report(events.height + len(rejects), len(rejects), rejects[:SHOWN_REJECTS])


def read_baseline(paths: list[Path]) -> tuple[pl.DataFrame, Report]:
    """Past events to learn from, at most `LARGEST`: of more, every second one, fourth, ..., in the
    order given.

    Raises FileNotFoundError if a path does not exist, ValueError if no event can be read.
    """
    report, frames, step = Report(), list[pl.DataFrame](), 1
    with (
        tqdm(desc="reading the baseline", unit=" events", disable=not watched()) as bar,
        closing(iter_events(paths, batch_size=EVENTS_AT_ONCE)) as batches,
    ):
        for events, rejects in batches:
            frames.append(events.gather_every(step, -report.scored % step))
            report._add(_read(events, rejects.rows()))
            if sum(frame.height for frame in frames) > LARGEST:
                step *= 2
                frames = [stack(frames).gather_every(2)]
            bar.update(events.height)
    report._check(paths)
    return stack(frames), report


def score_files(
    scorer: Scorer, paths: list[Path], out: Folder, *, events_at_once: int = EVENTS_AT_ONCE
) -> Report:
    """Write the scores of the files' events to the Parquet file `out`, in place of what is there.

    One row for each event that could be read, in the order given, with the columns of
    `Scorer.score`. Memory does not grow with the files, and `out` is there as a whole or not at
    all.

    Raises FileNotFoundError if a path does not exist, ValueError if no event can be read or none
    shares a column with the model."""
    report, out = Report(), Path(out)
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch,
        tqdm(desc="scoring", unit=" events", disable=not watched()) as bar,
        closing(iter_events(paths, batch_size=events_at_once)) as batches,
    ):
        for i, (events, rejects) in enumerate(batches):
            part = Path(scratch) / f"part-{i:09}"
            report._add(_score_part(scorer, events, rejects.rows(), part))
            bar.update(events.height)
        report._check(paths)
        if scorer.kept.isdisjoint(report.columns):
            raise ValueError(_strangers(scorer.kept, list(report.columns)))
        report.ignored = report.columns - scorer.known
        whole = Path(scratch) / "whole.parquet"
        written = pl.scan_parquet(sorted(Path(scratch).glob("part-*")), row_index_name="row")
        written.with_columns(pl.col("row").cast(pl.Int64)).sink_parquet(whole)
        os.replace(whole, out)
    return report


def _score_part(scorer: Scorer, events: pl.DataFrame, rejects: list[Reject], name: Path) -> Report:
    report = _read(events, rejects)
    if events.height:
        rows = flatten(events)
        scores = scorer._score(rows)
        scores.drop("row").write_parquet(name)
        report.flagged = int(scores["flagged"].sum())
        report.columns = set(rows.columns)
        report.most_anomalous = _best(scores)
    return report


# ---- The command


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        self.exit(2, f"nbsrc.scoring: {message} (--help explains)\n")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m nbsrc.scoring",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Learn from past events what is normal, and score new ones by how unlike that they are. No labels are needed, and no
list of columns: events are OCSF or any other records, nested or flat, as JSON, JSON Lines (both also gzipped) or
Parquet; a PATH is a file, or a folder that stands for all files in it.""",
        epilog="""\
The Parquet file has one row for each event that could be read, in the order given:
  row      its position, from 0        score    higher is stranger
  uid      its metadata.uid, or null   flagged  whether the score is above the alarm threshold
  time     in UTC, or null             reasons  the three fields that stand out most, with their values

examples:
  python -m nbsrc.scoring --baseline march/ --events april.jsonl.gz --out scores.parquet --model company
  python -m nbsrc.scoring --model company --events may.parquet --out may-scores.parquet

Exit status: 0, 2 if something is wrong with what was given, 130 after Ctrl-C; then --out is left as it was.""",
    )
    add = parser.add_argument
    add("--baseline", type=Path, nargs="+", metavar="PATH", help=f"past events, at least 100, mostly normal; of more "
        f"than {LARGEST:,} every second (fourth, ...) is learned from; not needed if the model is there")  # fmt: skip
    add(
        "--events",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="new events, to be scored",
    )
    add(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="the Parquet file to write, replaced if it is there",
    )
    add("--model", type=Path, metavar="DIR", help="load the model from this folder; if it is not there, train one "
        "and save it there")  # fmt: skip
    add("--exclude", nargs="+", default=[], metavar="FIELD", help="fields not to learn from, with all below them, such as "
        "actor.session")  # fmt: skip
    add("--false-alarms", type=float, metavar="SHARE", help=f"the share of normal events that may be flagged (default: "
        f"{FALSE_ALARMS})")  # fmt: skip
    add(
        "--epochs",
        type=int,
        default=EPOCHS,
        metavar="N",
        help="passes over the baseline at most (default: %(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="equal seeds give equal scores on a CPU (default: 0)",
    )
    return parser.parse_args(argv)


def _check(args: argparse.Namespace) -> None:
    """Raise what can be known to be wrong before the work, OSError or ValueError."""
    if args.out.is_dir():
        raise ValueError(f"--out {args.out} is a folder: name a file in it")
    for option, path in (("--out", args.out), ("--model", args.model)):
        if path is None:
            continue
        if not path.resolve().parent.is_dir():
            raise ValueError(f"{option} {path} is in a folder that does not exist")
        for given in [*(args.baseline or []), *args.events]:
            if given.resolve() in [path.resolve(), *path.resolve().parents] or _same_file(
                given, path
            ):
                raise ValueError(
                    f"{option} {path} is among the events to read, in {given}: name another place"
                )
    if args.model is not None and args.model.resolve() in [
        args.out.resolve(),
        *args.out.resolve().parents,
    ]:
        raise ValueError(f"--out {args.out} is in the model's folder: name another place")
    for given in [*args.events, *(args.baseline or [])]:
        if not given.exists():
            raise FileNotFoundError(f"no such file or folder: {given}")
    if args.model is not None and args.model.exists():
        if not args.model.is_dir():
            raise ValueError(f"--model {args.model} is a file: name a folder")
    elif not args.baseline:
        raise ValueError(
            f"--baseline is needed: there is no model{f' {args.model}' if args.model else ''} yet"
        )
    if (
        (args.false_alarms is not None and not 0 < args.false_alarms < 1)
        or args.epochs < 1
        or args.seed < 0
    ):
        raise ValueError(
            "--false-alarms must be between 0 and 1, --epochs at least 1 and --seed at least 0"
        )


def _same_file(a: Path, b: Path) -> bool:
    return a.is_file() and b.is_file() and a.samefile(b)


def _scorer(args: argparse.Namespace) -> Scorer:
    """The model that is there, or a new one."""
    if args.model is None or not args.model.exists():
        events, report = read_baseline(args.baseline)
        print(
            f"Learning from {events.height} of the baseline's {report.read} records, {report.rejected} rejected."
        )
        _print_rejects(report)
        scorer = Scorer.train(
            events, exclude=tuple(args.exclude), false_alarms=args.false_alarms or FALSE_ALARMS,
            epochs=args.epochs, seed=args.seed,
        )  # fmt: skip
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
                f"the model in {args.model} has {option} {learned[option]}, not {value}: train another"
            )
    print(f"The model in {args.model} is there: nothing is learned from a baseline.")
    return scorer


def _run(args: argparse.Namespace) -> None:
    _check(args)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "columns unknown at fit"
        )  # all of them are told at the end
        scorer = _scorer(args)
        report = score_files(scorer, args.events, args.out)
    print(f"\nThe most anomalous events:\n{_table(report.most_anomalous)}\n")
    _print_rejects(report)
    if report.ignored:
        names = ", ".join(sorted(report.ignored)[:5]) + (", ..." if len(report.ignored) > 5 else "")
        print(
            f"Columns that the model does not know and ignores: {len(report.ignored)} ({_printable(names)})"
        )
    print(
        f"{args.out}: {report.read} read, {report.rejected} rejected, {report.scored} scored, "
        f"{report.flagged} flagged (score above {scorer.detector.threshold_:.1f})"
    )


def _print_rejects(report: Report) -> None:
    for reject in report.first_rejects:
        print(f"  rejected: {_reject(*reject)}")
    if report.rejected > len(report.first_rejects):
        print(f"  and {report.rejected - len(report.first_rejects)} more")


def _reject(file: str, row: int, reason: str) -> str:
    return _printable(f"{file}, row {row}: {reason}" if row else f"{file}: {reason}")


def _table(scores: pl.DataFrame) -> str:
    """The scores as lines of text."""
    lines = [("row", "score", "flagged", "time (UTC)", "uid", "reasons")]
    for row in scores.iter_rows(named=True):
        reasons = (
            f"{r['field']}={'(missing)' if r['value'] is None else _cut(r['value'])}"
            for r in row["reasons"]
        )
        time = "" if row["time"] is None else f"{row['time']:%Y-%m-%d %H:%M:%S}"
        uid, flagged = _cut(row["uid"] or ""), "yes" if row["flagged"] else "no"
        lines.append(
            (str(row["row"]), f"{row['score']:.1f}", flagged, time, uid, ", ".join(reasons))
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(map(str.ljust, line, widths)) for line in lines)
    return "\n".join(_printable(line).rstrip() for line in padded)


def _cut(value: str) -> str:
    return value if len(value) <= SHOWN_WIDTH else f"{value[: SHOWN_WIDTH - 3]}..."


def _printable(text: str) -> str:
    """Without what a terminal would take as a command: events hold what attackers wrote."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    args = _arguments(argv)
    try:
        _run(args)
    except (OSError, ValueError) as error:
        print(f"nbsrc.scoring: {_printable(_first_line(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. No scores written.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
