"""Security events in: files become one Polars frame of nested columns.

    events, rejects = read_events("events.jsonl.gz")
    rows = flatten(events)
    encoded = EventEncoder().fit_transform(rows)

A file is read in layers: its bytes (`files`), the records in them (`lines`, `parquet`), the events
that records hold (`wrappers`), and their values as columns (`kinds`)."""

import json
import tempfile
from collections import Counter, deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, BinaryIO, TypeVar, cast

import polars as pl

from nbsrc.events.decode import FAILURES, encoded, once, parsed
from nbsrc.events.files import File, Paths, as_utf8, chunks_of, files_of, opened, peeked
from nbsrc.events.formats import HEAD, no_events
from nbsrc.events.kinds import columns, stack
from nbsrc.events.lines import records
from nbsrc.events.parquet import row_groups
from nbsrc.events.wrappers import unwrapped
from nbsrc.support.command import first_line

Texts = list[tuple[int, bytes]]  # row and JSON text
Events = list[tuple[int, dict[str, Any]]]  # row and value
Rejects = list[tuple[int, str]]  # row and reason
Batch = tuple[pl.DataFrame, Rejects]
Item = TypeVar("Item")
REJECTS = {"file": pl.String, "row": pl.Int64, "reason": pl.String}
PIECE = 2**24  # bytes of records that become columns at once, by one thread
AHEAD = 1  # pieces, and threads


def read_events(
    paths: Paths, *, notes: Counter[str] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read events of any classes and versions from JSON, JSON Lines or Parquet files, also those
    that are compressed (gzip, zstd, bzip2, xz).

    `paths` is one path or many; `-` is the standard input. A folder stands for all files in it and
    below, sorted by name, through links too; left out are names that begin with `_` or `.` and an
    Iceberg table's `metadata`. Names of folders such as `region=eu-west-1` right above a file make
    columns.

    Returns `(events, rejects)`. `events` has one row a record, in the order given, and one column a
    top-level attribute of any record (nested ones are structs and lists). `rejects` has the columns
    `file`, `row` (line of a JSON Lines file, else the number of the record in it, from 1; 0 is the
    whole file) and `reason`. `notes` gains what was done to the files otherwise, and how often:
    events taken out of wrappers, files left out.

    Every record given is in one of the two, and no record or file ends the reading of others. A
    record is an object, however it is written: one a line, one after the other, indented, in an
    array; the events of a wrapper (`nbsrc.events.wrappers`); a row of Parquet. What stands between
    objects and is none is a reject, as is a file that cannot be read, or not to its end.

    Rejected are also: what is not JSON or not UTF-8 or UTF-16 (the literal NaN too), what is not an
    object, a key given twice in one object, a number beyond a 64-bit float, nesting deeper than 64
    levels. Read with a change are: integers beyond 64 bits, as floats; an attribute whose type
    differs between records, as text (JSON for lists and objects; integers and floats together are
    floats); half a surrogate pair, as U+FFFD; objects with over 1000 distinct keys over the records
    read together, as JSON text; Parquet's moments of a time zone, as the same in UTC.

    Raises FileNotFoundError if a path does not exist.
    """
    parts = list(iter_events(paths, batch_size=10_000, notes=notes))
    empty = pl.DataFrame(schema=REJECTS)
    return stack([events for events, _ in parts]), pl.concat([empty, *(r for _, r in parts)])


def iter_events(
    paths: Paths, *, batch_size: int = 20_000, notes: Counter[str] | None = None
) -> Generator[tuple[pl.DataFrame, pl.DataFrame]]:
    """As `read_events`, in batches of at most `batch_size` records, each from one file, in the
    order given.

    Memory grows with the batch, and with the largest single record or wrapper. A batch's frame has
    the columns that occur in it, in the types that hold their values in this batch. A fitted
    `EventEncoder` encodes them equally all the same, except where an attribute is a list or an
    object in one record and something else in another (it is one JSON text in the batches with
    both), has over 1000 keys, or holds numbers beyond 2^53 or outside of 0.001 to 10^15 beside
    fractions or texts (rounded, or written differently as texts).

    Raises ValueError if `batch_size` is not positive; FileNotFoundError, before the first batch, if
    a path does not exist."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, however: {batch_size=}")
    notes = Counter() if notes is None else notes
    return batches_of(files_of(paths, notes), batch_size, notes)


def batches_of(
    files: list[File], size: int, notes: Counter[str]
) -> Generator[tuple[pl.DataFrame, pl.DataFrame]]:
    """`iter_events` for what `files_of` found."""
    for file in files:
        failed: Rejects = []
        for events, rejects in _as_far_as_it_goes(_batches_of(file, size, notes, failed), failed):
            yield _with_columns(events, file.columns), _framed(file.name, rejects)
        if failed:
            yield pl.DataFrame(), _framed(file.name, failed)


def _as_far_as_it_goes(items: Iterator[Item], failed: Rejects) -> Iterator[Item]:
    """The items up to an exception, of whatever library: it is a reject, and ends nothing else."""
    try:
        yield from items
    except FAILURES as error:
        failed.append((0, f"the file cannot be read to its end: {_said(error)}"))


def _batches_of(file: File, size: int, notes: Counter[str], failed: Rejects) -> Iterator[Batch]:
    with opened(file) as raw, tempfile.TemporaryFile() as copy:
        at_hand = raw.seekable() and raw.read(4) == b"PAR1"
        if raw.seekable():
            raw.seek(0)
        head, chunks = peeked(_as_far_as_it_goes(chunks_of(raw), failed), HEAD)
        if other := no_events(head):
            failed.append((0, other))
            return
        if not head.startswith(b"PAR1"):
            texts = _as_far_as_it_goes(records(as_utf8(chunks)), failed)
            pieces = _as_far_as_it_goes(_pieces(texts, size, notes), failed)
            batches = _frames(pieces)
        elif at_hand:
            batches = row_groups(raw, size)
        else:  # from a pipe, or compressed: its end must be at hand
            copy.writelines(chunks)
            batches = row_groups(cast(BinaryIO, copy), size)
        yield from _sized(_as_far_as_it_goes(batches, failed), size)


def _pieces(
    values: Iterator[tuple[int, Any, bytes]], size: int, notes: Counter[str]
) -> Iterator[tuple[Texts, Rejects]]:
    """The texts of about `size` events at once, or of `PIECE` bytes."""
    texts: Texts = []
    rejects: Rejects = []
    left = PIECE
    first = list(islice(values, 2))
    for row, value, text in chain(first, values):
        left -= len(text)
        try:
            if isinstance(value, ValueError):
                raise value
            events = unwrapped(value, notes, alone=len(first) == 1)
            if len(events) == 1 and events[0] is value and isinstance(value, dict):
                texts.append((row, text))
            else:
                once(text)
                for event in events:
                    if not isinstance(event, dict):
                        raise ValueError(f"not an object: {json.dumps(event)[:40]}")
                    texts.append((row, encoded(event)))
        except ValueError as error:
            rejects.append((row, _said(error)))
        if len(texts) + len(rejects) >= size or left < 0:
            yield texts, rejects
            texts, rejects, left = [], [], PIECE
    yield texts, rejects


def _frames(pieces: Iterator[tuple[Texts, Rejects]]) -> Iterator[Batch]:
    """The pieces as frames: while one is decoded, Arrow makes columns of those before it."""
    moments = None
    waiting: deque[tuple[Texts, Rejects, Future[Any]]] = deque()
    with ThreadPoolExecutor(AHEAD) as pool:
        for piece in chain(pieces, [None] * AHEAD):
            if piece:
                texts, rejects = piece
                parsing = pool.submit(parsed, [text for _, text in texts], moments)
                waiting.append((texts, rejects, parsing))
            if waiting and (len(waiting) > AHEAD or not piece):
                texts, rejects, parsing = waiting.popleft()
                frame, moments = parsing.result()
                yield (_closely(texts, rejects) if frame is None else frame), rejects


def _closely(texts: Texts, rejects: Rejects) -> pl.DataFrame:
    """The events as a frame, each looked at by itself."""
    events: Events = []
    for row, text in texts:
        try:
            events.append((row, once(text)))
        except ValueError as error:
            rejects.append((row, _said(error)))
    frame = _by_halves(events, rejects)
    rejects.sort()
    return frame


def _by_halves(events: Events, rejects: Rejects) -> pl.DataFrame:
    """The events as a frame; the one that a library fails on is looked for, and rejected."""
    try:
        return columns([event for _, event in events])
    except FAILURES as error:
        if len(events) < 2:
            rejects += [(row, f"cannot be held in a table: {_said(error)}") for row, _ in events]
            return pl.DataFrame()
        half = len(events) // 2
        return stack([_by_halves(part, rejects) for part in (events[:half], events[half:])])


def _sized(pieces: Iterator[Batch], size: int) -> Iterator[Batch]:
    """The pieces' events `size` at a time."""
    frames: list[pl.DataFrame] = []
    rejects: Rejects = []
    for events, more in pieces:
        frames.append(events)
        rejects += more
        while sum(frame.height for frame in frames) >= size or len(rejects) >= size:
            whole = stack(frames)
            yield whole.head(size), rejects
            frames, rejects = [whole.slice(size)], []
    if frames or rejects:
        yield stack(frames), rejects


def _with_columns(events: pl.DataFrame, columns: dict[str, str | None]) -> pl.DataFrame:
    new = {name: value for name, value in columns.items() if name not in events.columns}
    return events.with_columns(pl.lit(v, dtype=pl.String).alias(n) for n, v in new.items())


def _framed(file: str, rejects: Rejects) -> pl.DataFrame:
    rows = [(file, row, reason) for row, reason in rejects]
    return pl.DataFrame(rows, schema=REJECTS, orient="row")


def _said(error: BaseException) -> str:
    return first_line(error)[:200]
