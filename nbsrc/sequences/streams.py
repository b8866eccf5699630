"""Events as streams: what each user, host or other entity did, in its order."""

from typing import NamedTuple

import numpy as np
import polars as pl


class Streams(NamedTuple):
    """The events of each entity. rows: a stream's events by their positions, in the order of time;
    entity and value: a field, and what stands in it. An event may be in several streams."""

    rows: list[np.ndarray]
    entity: list[str]
    value: list[str]


def streams_of(entities: pl.DataFrame, time: np.ndarray) -> Streams:
    """A stream for each value of each column of `entities` (text; null where an event has none).

    time (rows,): the order; equal times keep the order of the rows."""
    place = pl.Series("row", np.argsort(time, kind="stable"))
    ordered = entities[place].with_columns(place)
    found = Streams([], [], [])
    for entity in entities.columns:
        own = ordered.drop_nulls(entity).group_by(entity, maintain_order=True).agg("row")
        own = own.cast({entity: pl.String}).sort(entity)
        for value, rows in zip(own[entity], own["row"], strict=True):
            found.rows.append(rows.to_numpy().astype(np.int64))
            found.entity.append(entity)
            found.value.append(value)
    return found


def since(streams: Streams, first: int, *, before: int) -> Streams:
    """The events of the positions from `first` on, with `before` of each stream's earlier ones.

    Streams without such an event are left out."""
    kept = Streams([], [], [])
    for rows, entity, value in zip(*streams, strict=True):
        new = np.flatnonzero(rows >= first)
        if len(new):
            kept.rows.append(rows[max(0, new[0] - before) :])
            kept.entity.append(entity)
            kept.value.append(value)
    return kept


def as_frame(streams: Streams, scores: list[np.ndarray], time: np.ndarray) -> pl.DataFrame:
    """Scores of streams' events as a frame: `row`, `time`, `score`, `entity`, `value`."""
    rows = np.concatenate(streams.rows)
    whose = np.repeat(np.arange(len(streams.rows)), [len(own) for own in streams.rows])
    return pl.DataFrame({
        "row": rows,
        "time": time[rows],
        "score": np.concatenate(scores),
        "entity": pl.Series(streams.entity, dtype=pl.String).gather(whose),
        "value": pl.Series(streams.value, dtype=pl.String).gather(whose),
    })  # fmt: skip


def gaps(streams: Streams, time: np.ndarray) -> list[np.ndarray]:
    """log(1 + seconds) since the event before, of each stream's events; the first one's is NaN."""
    found = []
    for rows in streams.rows:
        seconds = np.diff(time[rows], prepend=0) / 1000
        own = np.log1p(np.maximum(seconds, 0))
        own[:1] = np.nan
        found.append(own)
    return found
