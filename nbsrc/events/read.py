"""Security events in: OCSF files become one Polars frame, and its nested columns become flat ones.

    events, rejects = read_events("events.jsonl.gz")
    rows = flatten(events)
    encoded = EventEncoder().fit_transform(rows)

What a file gives is decided by its first bytes, not by its name: Parquet, gzip, a JSON array, or
JSON objects."""

import gzip
import os
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path

import polars as pl

from nbsrc.events.decode import Batch, LineReader, Parsed, read_piece
from nbsrc.events.kinds import stack
from nbsrc.events.lines import Reject, lines_of
from nbsrc.events.parquet import is_parquet, read_parquet

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
REJECTS = {"file": pl.String, "row": pl.Int64, "reason": pl.String}


def read_events(paths: Paths) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read OCSF events from JSON, JSON Lines (both also gzipped) or Parquet files, of any classes
    and versions.

    `paths` is one path or many; a folder stands for all files in it, sorted by name, without hidden
    ones.

    Returns `(events, rejects)`. `events` has one row a record, in the order given, and one column a
    top-level attribute of any record (nested ones are structs and lists). `rejects` has the columns
    `file`, `row` (line of a JSON Lines file, element of an array, row of a Parquet file, from 1; 0
    is the whole file) and `reason`.

    Every record given is in one of the two. A record is a line that is not blank (JSON Lines), an
    element of an array, the one object of a JSON file, a row (Parquet); an empty file holds none.
    So is each stretch of text that cannot be divided into records: an unreadable Parquet file, the
    end of a broken gzip stream, an array's missing end or what follows that end. A broken element
    of an array is one reject; where it hides its own end, reading goes on at the next `, {` that is
    followed by the key with which this array's elements start.

    Rejected are: what is not JSON or not UTF-8 (the literal NaN too), what is not an object, a key
    given twice in one object, a number beyond a 64-bit float, nesting deeper than 64 levels. Read
    with a change are: integers beyond 64 bits, as floats; an attribute whose type differs between
    records, as text (JSON for lists and objects; integers and floats together are floats); half a
    surrogate pair, as U+FFFD; objects with over 1000 distinct keys over the records read together,
    as JSON text.

    Raises FileNotFoundError if a path does not exist.
    """
    parts = list(iter_events(paths, batch_size=10_000))
    return stack([events for events, _ in parts]), pl.concat(
        [_rejects([]), *(rejects for _, rejects in parts)]
    )


def iter_events(
    paths: Paths, *, batch_size: int = 20_000
) -> Generator[tuple[pl.DataFrame, pl.DataFrame]]:
    """As `read_events`, in batches of at most `batch_size` records, each from one file, in the
    order given.

    Memory grows with the batch for JSON Lines and Parquet; a JSON array is one document, held
    whole. A batch's frame has the columns that occur in it, and may have empty ones that occur
    before it in its file, in the types that hold their values in this batch. A fitted
    `EventEncoder` encodes them equally all the same, except where an attribute is a list or an
    object in one record and something else in another (it is one JSON text in the batches with
    both), has over 1000 keys, or holds numbers beyond 2^53 or outside of 0.001 to 10^15 beside
    fractions or texts (rounded, or written differently as texts).

    Raises ValueError if `batch_size` is not positive; FileNotFoundError, before the first batch, if
    a path does not exist."""
    return _read_ahead(batches(paths, batch_size))


def files_of(paths: Paths) -> list[Path]:
    """The files that the paths stand for. Raises FileNotFoundError if one does not exist."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.is_file())
            files += sorted(
                p for p in inside if not any(x.startswith(".") for x in p.relative_to(path).parts)
            )
        elif path.exists():
            files.append(path)
        else:
            raise FileNotFoundError(f"no such file or folder: {path}")
    return files


def batches(paths: Paths, batch_size: int) -> Generator[Batch | Parsed]:
    """What `iter_events` reads, batch by batch: lines that are still to be read, or what needs no
    more reading."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, however: {batch_size=}")
    return _batches(files_of(paths), batch_size)


def _batches(files: list[Path], batch_size: int) -> Generator[Batch | Parsed]:
    for path in files:
        if is_parquet(path):
            yield from read_parquet(path, batch_size)
            continue
        with path.open("rb") as raw:
            magic = raw.read(2)
            raw.seek(0)
            lost: list[Reject] = []
            file = gzip.GzipFile(fileobj=raw) if magic == b"\x1f\x8b" else raw
            lines = lines_of(file, str(path), lost)
            while batch := list(islice(lines, batch_size)):
                yield Batch(str(path), batch)
            if lost:
                yield pl.DataFrame(), lost


def _read_ahead(batches: Iterator[Batch | Parsed]) -> Generator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The batches as frames and rejects; one is parsed while the next is read from its file and the
    last one is used."""
    reader = LineReader()
    with ThreadPoolExecutor(
        os.cpu_count()
    ) as pool:  # Polars lets go of the interpreter while it parses
        parsing: list[Future[Parsed]] = []
        for batch in chain(batches, [None]):
            before = parsing
            if isinstance(batch, Batch):
                parsing = [pool.submit(read_piece, *piece) for piece in reader.pieces(batch)]
            else:
                parsing = []
            if before:
                events, rejects = reader.joined([future.result() for future in before])
                yield events, _rejects(rejects)
            if isinstance(batch, tuple):
                yield batch[0], _rejects(batch[1])


def _rejects(rows: list[Reject]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=REJECTS, orient="row")
