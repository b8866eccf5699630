"""Files of events in, a file of alerts out. Events are read in batches; of each, only what windows
need is kept: of a million events, some 200 MB."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from nbsrc.detection.base import HELD_OUT
from nbsrc.events.flatten import flattened
from nbsrc.events.read import iter_events
from nbsrc.events.text import as_text
from nbsrc.incidents.alerts import within_budget
from nbsrc.incidents.entities import EVERY, Entities
from nbsrc.incidents.finder import IncidentFinder
from nbsrc.incidents.findings import incident_findings
from nbsrc.incidents.reasons import with_events
from nbsrc.incidents.surprise import CANDIDATES
from nbsrc.scoring.files import Report, read_ahead
from nbsrc.scoring.scorer import Scorer
from nbsrc.scoring.types import with_booleans
from nbsrc.support.files import whole
from nbsrc.training import watched

EVENTS_AT_ONCE = 3_000  # that are read together: what is kept of all needs the memory


def read_narrow(
    scorer: Scorer,
    entities: Entities,
    paths: Sequence[Path],
    *,
    since: int | None = None,
    told: str = "looking at events",
) -> tuple[pl.DataFrame, Report]:
    """All events of files as `IncidentFinder` takes them, with `uid` and `field` (of single events'
    scores, the one that surprises most).

    since: score only events from this moment on (epoch milliseconds). Raises FileNotFoundError if a
    path does not exist, ValueError if no event can be read or none shares a column with the
    model."""
    report, frames = Report(), list[pl.DataFrame]()
    with (
        tqdm(desc=told, unit=" events", disable=not watched()) as bar,
        closing(iter_events(list(paths), batch_size=EVENTS_AT_ONCE, notes=report.notes)) as batches,
        closing(read_ahead(batches, paths)) as ahead,
    ):
        for events, rejects in ahead:
            if events.height:
                rows, written = flattened(events)
                report.columns |= set(rows.columns)
                report.written |= written
                frames.append(_narrow(scorer, entities, rows, since))
            report.add_read(events, rejects)
            bar.update(events.height)
    report.check(list(paths))
    scorer.check_columns(report.columns)
    row = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    return pl.concat(frames).select(row, pl.all()), report


def _narrow(
    scorer: Scorer, entities: Entities, rows: pl.DataFrame, since: int | None
) -> pl.DataFrame:
    rows = with_booleans(rows, scorer.columns)
    encoded = scorer.encoder.transform(rows)
    narrow = entities.narrow(rows, encoded.time)
    wanted = np.arange(rows.height) if since is None else np.flatnonzero(encoded.time >= since)
    scores, fields = np.full(rows.height, np.nan), np.full(rows.height, -1)
    if len(wanted):
        whole_batch = len(wanted) == rows.height
        part = encoded if whole_batch else scorer.encoder.transform(rows[wanted])
        scores[wanted], chosen = scorer.detector.judge(part)
        fields[wanted] = chosen[:, 0]
    uid = pl.lit(None, pl.String)
    if "metadata.uid" in rows.columns:
        uid = as_text("metadata.uid", rows.schema["metadata.uid"])
    # what was derived from a column, COLUMN.hour_sin, tells of that column
    own = [n if n in scorer.kept else n.rpartition(".")[0] for n in scorer.detector.model.names]
    names = pl.Series(own, dtype=pl.String)
    place = pl.Series(fields, dtype=pl.Int64)
    narrow = narrow.with_columns(
        pl.Series("score", scores, pl.Float64).fill_nan(None),
        names.gather(place.set(place < 0, None)).alias("field"),
    )
    # of a million events, texts are most of the memory, and few of them differ
    narrow = narrow.with_columns(pl.col(pl.String).cast(pl.Categorical))
    # copied: a text of the batch would keep all that was read with it
    uids = rows.with_columns(uid.alias("uid"))["uid"].to_list()
    return narrow.with_columns(pl.Series("uid", uids, pl.String))


def held_out_since(times: np.ndarray) -> int:
    """The moment from which on the detector was not trained on the baseline."""
    known = times[times != 0]
    return int(np.quantile(known, 1 - HELD_OUT)) if len(known) else 0


def reported(finder: IncidentFinder, events: pl.DataFrame, budget: int) -> pl.DataFrame:
    """The alerts as the command writes them, the `budget` highest of each day, highest first:
    `alert` (the rank, from 1), the columns of `ALERTS`, and after `rows` their `uids`."""
    a_day = max(CANDIDATES, 30 * budget)
    alerts = within_budget(finder.alerts(events, a_day=a_day), budget)
    uids = events["uid"]
    roles = [name for name in finder.entities.roles if name != EVERY]
    return alerts.select(
        pl.int_range(1, pl.len() + 1).alias("alert"),
        "score",
        "entity",
        "value",
        "start",
        "end",
        "rows",
        pl.Series(
            "uids", [uids.gather(rows).to_list() for rows in alerts["rows"]], pl.List(pl.String)
        ),
        "kinds",
        pl.Series("reason", with_events(alerts, events, roles), pl.String),
    )


def write_alerts(alerts: pl.DataFrame, out: Path, findings: Path | None) -> None:
    """Write both files, each as a whole or not at all."""
    with ExitStack() as opened:
        alerts.write_parquet(opened.enter_context(whole(out)))
        if findings is not None:
            beside = opened.enter_context(whole(findings))
            with beside.open("w", encoding="utf-8", newline="\n") as lines:
                lines.writelines(_lines(alerts))


def _lines(alerts: pl.DataFrame) -> Iterator[str]:
    for finding in incident_findings(alerts):
        yield json.dumps(finding) + "\n"
