"""Files of events in, one file of scores out, in batches: memory does not grow with the files."""

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from tqdm import tqdm

from nbsrc.events.flatten import flatten
from nbsrc.events.kinds import stack
from nbsrc.events.lines import Reject
from nbsrc.events.read import iter_events
from nbsrc.scoring.scorer import Scorer
from nbsrc.support.command import printable
from nbsrc.support.files import whole
from nbsrc.training import watched

LARGEST = 200_000  # events of the baseline that are kept in memory and trained on
EVENTS_AT_ONCE = 6_000  # that are read and scored together: of wide events, more take gigabytes
SHOWN = 10  # most anomalous events
SHOWN_REJECTS = 5


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

    def add_read(self, events: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """The records that were read next."""
        self.read += events.height + rejects.height
        self.rejected += rejects.height
        self.first_rejects += rejects.head(SHOWN_REJECTS - len(self.first_rejects)).rows()

    def add_scores(self, scores: pl.DataFrame) -> None:
        """The scores of the events that were read next."""
        self.flagged += int(scores["flagged"].sum())
        best = pl.concat([self.most_anomalous, scores], how="diagonal")
        self.most_anomalous = best.sort("score", "row", descending=[True, False]).head(SHOWN)

    def check(self, paths: list[Path]) -> None:
        """Raise ValueError if none of the records is an event."""
        if not self.scored:
            why = "".join(f": {describe(*reject)}" for reject in self.first_rejects[:1])
            raise ValueError(f"no event can be read from {', '.join(map(str, paths))}{why}")


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
        closing(iter_events(paths, batch_size=EVENTS_AT_ONCE)) as batches,
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
    scorer: Scorer, paths: list[Path], out: str | Path, *, events_at_once: int = EVENTS_AT_ONCE
) -> Report:
    """Write the scores of the files' events to the Parquet file `out`, in place of what is there.

    One row for each event that could be read, in the order given, with the columns of
    `Scorer.score`. `out` is there as a whole or not at all.

    Raises FileNotFoundError if a path does not exist, ValueError if no event can be read or none
    shares a column with the model."""
    report, writer = Report(), None
    with (
        whole(Path(out)) as part,
        ExitStack() as opened,
        tqdm(desc="scoring", unit=" events", disable=not watched()) as bar,
        closing(iter_events(paths, batch_size=events_at_once)) as batches,
    ):
        for events, rejects in batches:
            if events.height:
                rows = flatten(events)
                report.columns |= set(rows.columns)
                scores = scorer.score_rows(rows).with_columns(pl.col("row") + report.scored)
                report.add_scores(scores)
                table = scores.to_arrow(compat_level=pl.CompatLevel.oldest())
                if writer is None:
                    writer = opened.enter_context(
                        pq.ParquetWriter(part, table.schema, compression="zstd")
                    )
                writer.write_table(table)
            report.add_read(events, rejects)
            bar.update(events.height)
        report.check(paths)
        scorer.check_columns(report.columns)
    report.ignored = report.columns - scorer.known
    return report
