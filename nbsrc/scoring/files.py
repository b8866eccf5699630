"""Files of events in, a file of scores and one of alerts out, in batches: memory does not grow with
the files."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from tqdm import tqdm

from nbsrc.events.files import files_of
from nbsrc.events.kinds import stack
from nbsrc.events.read import batches_of, iter_events
from nbsrc.scoring.alerts import findings
from nbsrc.scoring.batch import Batch, Scored, highest, score_batch
from nbsrc.scoring.cluster import scored_by_ray
from nbsrc.scoring.scorer import Scorer
from nbsrc.support.command import printable
from nbsrc.support.files import naming, whole
from nbsrc.training import watched

LARGEST = 200_000  # events of the baseline that are kept in memory and trained on
EVENTS_AT_ONCE = 6_000  # that are read and scored together: of wide events, more take gigabytes
SHOWN_REJECTS = 5


@dataclass
class Report:
    """What became of the records of some files.

    read: records, those rejected included. rejected: records, or stretches of a file, that are not
    events, and `first_rejects` the first of them as (file, row, reason). columns: those of the
    flattened events, `ignored` those that the model does not know, `missing` the model's that no
    event has, `changed` those in whose values its own types make no sense, `understood` those in
    whose they do. notes: what was done to the files, and how often. written: how columns are
    written that have another name in the files. most_anomalous: the rows of the scores with the
    highest ones, highest first, each with its reasons in words."""

    read: int = 0
    rejected: int = 0
    first_rejects: list[tuple[str, int, str]] = field(default_factory=list)
    flagged: int = 0
    columns: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    understood: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)
    written: dict[str, str] = field(default_factory=dict)
    most_anomalous: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def scored(self) -> int:
        """All events that could be read."""
        return self.read - self.rejected

    def add_read(self, events: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """The records that were read next."""
        self.read += events.height + rejects.height
        self.rejected += rejects.height
        self.first_rejects += rejects.head(SHOWN_REJECTS - len(self.first_rejects)).rows()

    def add(self, batch: Scored) -> pl.DataFrame:
        """The batch that was scored next; returns its scores, with each row's place among all."""
        moved, scores, best = pl.col("row") + self.scored, batch.scores, batch.best
        if scores.height:
            scores, best = scores.with_columns(moved), best.with_columns(moved)
            self.flagged += int(scores["flagged"].sum())
            self.most_anomalous = highest(pl.concat([self.most_anomalous, best], how="diagonal"))
        self.columns |= batch.columns
        self.written |= batch.written
        self.changed |= batch.lost
        self.understood |= batch.understood
        self.notes.update(batch.notes)
        self.add_read(scores, batch.rejects)
        return scores

    def check(self, paths: list[Path]) -> None:
        """Raise ValueError if none of the records is an event."""
        if not self.scored:
            why = "".join(f": {describe(*reject)}" for reject in self.first_rejects[:1])
            names = ", ".join("the standard input" if str(p) == "-" else str(p) for p in paths)
            raise ValueError(f"no event can be read from {names}{why}")


def describe(file: str, row: int, reason: str) -> str:
    """A reject in one line."""
    return printable(f"{file}, row {row}: {reason}" if row else f"{file}: {reason}")


def read_baseline(paths: list[Path]) -> tuple[pl.DataFrame, Report]:
    """Past events to learn from, at most `LARGEST`: of more, every second one, fourth, ..., in the
    order given.

    Raises FileNotFoundError if a path does not exist, ValueError if no event can be read.
    """
    report, frames, step = Report(), list[pl.DataFrame](), 1
    with (
        tqdm(desc="reading the baseline", unit=" events", disable=not watched()) as bar,
        closing(iter_events(paths, batch_size=EVENTS_AT_ONCE, notes=report.notes)) as batches,
    ):
        for events, rejects in batches:
            frames.append(events.gather_every(step, -report.scored % step))
            report.add_read(events, rejects)
            if sum(frame.height for frame in frames) > LARGEST:
                step *= 2
                frames = [stack(frames).gather_every(2)]
            bar.update(events.height)
    report.check(paths)
    return stack(frames), report


def score_files(
    scorer: Scorer,
    paths: list[Path],
    out: str | Path,
    *,
    alerts: str | Path | None = None,
    events_at_once: int = EVENTS_AT_ONCE,
    workers: int = 0,
    model: Path | None = None,
) -> Report:
    """Write the scores of the files' events to the Parquet file `out`, in place of what is there.

    One row for each event that could be read, in the order given, with the columns of
    `Scorer.score`. The flagged ones also go to the file `alerts`, one OCSF Detection Finding a
    line. Both files are there as a whole or not at all. With `workers`, so many processes of Ray
    score (`nbsrc.scoring.cluster`), with the scorer saved in the folder `model`; the results are
    equal.

    Raises FileNotFoundError if a path does not exist, ValueError if no event can be read, none
    shares a column with the model, or Ray is not there or fails."""
    if workers and model is None:
        raise ValueError("workers need a saved scorer: model")
    report, threshold = Report(), scorer.detector.threshold_
    files = files_of(paths, report.notes)
    with ExitStack() as opened:
        written = _written(Path(out), Path(alerts) if alerts else None, threshold)
        write = opened.enter_context(written)
        bar = opened.enter_context(tqdm(desc="scoring", unit=" events", disable=not watched()))
        if workers and model:
            made = opened.enter_context(
                closing(scored_by_ray(model, files, events_at_once, workers))
            )
        else:
            read = opened.enter_context(closing(batches_of(files, events_at_once, report.notes)))
            ahead = opened.enter_context(closing(read_ahead(read, paths)))
            made = (score_batch(scorer, batch) for batch in ahead)
        for scored in made:
            scores = report.add(scored)
            if scores.height:
                write(scores)
            bar.update(scores.height)
        report.check(paths)
        scorer.check_columns(report.columns)
    report.ignored = report.columns - scorer.known
    report.missing = set(scorer.kept - report.columns)
    report.changed -= report.understood
    return report


def read_ahead(batches: Iterator[Batch], paths: Sequence[Path]) -> Generator[Batch]:
    """The batches of the paths, each read while the one before it is scored; from pipes one after
    the other: what waits for a pipe could not be interrupted."""
    if not all(path.is_file() or path.is_dir() for path in paths):
        yield from batches
        return
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = reader.submit(next, batches, None)
            yield batch


@contextmanager
def _written(
    out: Path, alerts: Path | None, threshold: float
) -> Iterator[Callable[[pl.DataFrame], None]]:
    """A function that appends scores to the Parquet file `out`, and their findings to `alerts`."""
    with ExitStack() as opened:
        part = opened.enter_context(whole(out))
        lines, writer = None, None
        if alerts is not None:
            beside = opened.enter_context(whole(alerts))
            lines = opened.enter_context(beside.open("w", encoding="utf-8", newline="\n"))

        def write(scores: pl.DataFrame) -> None:
            nonlocal writer
            table = scores.to_arrow(compat_level=pl.CompatLevel.oldest())
            if writer is None:
                opened.enter_context(naming(out))  # not by what is entered before it: alerts
                made = pq.ParquetWriter(part, table.schema, compression="zstd")
                writer = opened.enter_context(made)
            with naming(out):
                writer.write_table(table)
            if lines is not None:
                lines.writelines(json.dumps(f) + "\n" for f in findings(scores, threshold))

        yield write
