"""Security events in: OCSF files become one Polars frame, and its nested columns become flat ones.

    events, rejects = read_events("events.jsonl.gz")
    rows = flatten(events)
    encoded = EventEncoder().fit_transform(rows)

What a file gives is decided by its first bytes, not by its name: Parquet, gzip, a JSON array, or
JSON objects. The fast path hands whole blocks of lines to Polars, with the types found so far, else
with their own; a line that Polars refuses, or where its result does not account for every key in
the text, is read again by Python's json module, which tells what is wrong with it."""

import gzip
import json
import os
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from nbsrc.events.text import as_text

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Line = tuple[int, bytes]  # where the record stands in its file (from 1), and its text
Reject = tuple[str, int, str]
Parsed = tuple[pl.DataFrame, list[Reject]]
Counts = tuple[int, int, int]  # values of keys: all but nulls, booleans, lists

MAX_DEPTH = 64  # OCSF nests about ten levels; Polars' own work on a column grows with its depth
# an object with more distinct keys than this over a block of records is a map, not a record
MAX_KEYS = 1000
DIGITS = 38  # of a decimal in Polars
UNREADABLE = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    ValueError,
)
REJECTS = {"file": pl.String, "row": pl.Int64, "reason": pl.String}
PIECE = 2_000  # lines that are parsed at once, by one thread
SAMPLE = 20  # of every so many lines of a block one is looked at beforehand
LEFT_OUT = ("unmapped", "raw_data", "observables", "enrichments")


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
    return _read_ahead(blocks(paths, batch_size))


def flatten(events: pl.DataFrame, *, exclude: tuple[str, ...] = LEFT_OUT) -> pl.DataFrame:
    """One column a scalar attribute, under its dotted name.

    Structs are taken apart to any depth: `actor.user.name`. A list `x` becomes `x.length`, and
    - of scalars, `x.all`: its distinct values, sorted, joined by commas (`metadata.profiles.all`);
    - of objects or lists, its first element, taken apart in the same way: `resources.first.name`.
    A map (Parquet) is an object with its keys: `labels.region`; with over 1000 distinct ones, a
    JSON text. `exclude` names attributes to leave out with all below them; by default the copies of
    what stands elsewhere and what no schema describes: `unmapped`, `raw_data`, `observables`,
    `enrichments`. Where a flat and a nested source give the same dotted name, they make one column:
    the first value that is there, as text if the types differ.

    >>> flatten(pl.DataFrame({"device": [{"ip": "10.0.0.1", "tags": ["b", "a"]}]})).row(0, named=True)
    {'device.ip': '10.0.0.1', 'device.tags.length': 2, 'device.tags.all': 'a,b'}
    """
    columns: dict[str, pl.Series] = {}
    for series in events.get_columns():
        for name, leaf in _leaves(series.name, series, series.dtype, exclude):
            columns[name] = _coalesce(columns[name], leaf) if name in columns else leaf
    return _frame(
        [s.alias(name) for name, s in columns.items()], events.height
    ).rechunk()  # for what comes next


def _leaves(
    name: str, series: pl.Series, dtype: Any, exclude: tuple[str, ...]
) -> Iterator[tuple[str, pl.Series]]:
    if name in exclude:
        return
    if isinstance(dtype, pl.Struct):
        fields = dtype.fields
        for field, own in zip(
            fields, series.struct.unnest().get_columns() if fields else [], strict=True
        ):
            yield from _leaves(f"{name}.{field.name}", own, field.dtype, exclude)
    elif isinstance(dtype, pl.Map):
        series = _objects_of(series, dtype)
        yield from _leaves(name, series, series.dtype, exclude)
    elif isinstance(dtype, pl.List | pl.Array):
        inner = dtype.inner
        series = series.cast(pl.List(inner))
        yield f"{name}.length", series.list.len().cast(pl.Int64)
        if isinstance(inner, pl.Struct | pl.Map | pl.List | pl.Array):
            yield from _leaves(
                f"{name}.first", series.list.get(0, null_on_oob=True), inner, exclude
            )
        elif inner not in (pl.Null, pl.Binary):
            yield f"{name}.all", _joined(series)
    else:
        yield name, series


def _objects_of(maps: pl.Series, dtype: Any) -> pl.Series:
    """Parquet's maps as JSON would have them: objects, or one JSON text if they have too many
    distinct keys."""
    pairs = maps.cast(pl.List(pl.Struct({"key": dtype.key, "value": dtype.value})))
    values = [
        None if row is None else {str(pair["key"]): pair["value"] for pair in row}
        for row in _values(pairs)
    ]
    kind = _no_maps({key: dtype.value for value in values if value for key in value})
    return pl.Series(maps.name, [_as(value, kind) for value in values], dtype=_dtype(kind))


def _joined(lists: pl.Series) -> pl.Series:
    """Each list's distinct texts, sorted, joined by commas: `list.sort` costs a hundred times as
    much in Polars 2.1."""
    rows = lists.to_frame("text").with_row_index("row")
    scalars = rows.explode("text").drop_nulls("text")
    dtype = scalars.schema["text"]
    text = pl.col("text") if dtype == pl.String else as_text("text", dtype)
    texts = scalars.select("row", text.alias("text")).unique().sort("row", "text")
    joined = texts.group_by("row", maintain_order=True).agg(pl.col("text").str.join(","))
    return rows.select("row").join(joined, on="row", how="left", maintain_order="left")["text"]


def _coalesce(a: pl.Series, b: pl.Series) -> pl.Series:
    kind = _merge(_kind(a.dtype), _kind(b.dtype))
    dtype = _dtype(kind)
    return _alike(a, kind).cast(dtype).zip_with(a.is_not_null(), _alike(b, kind).cast(dtype))


# Files into blocks of lines, or of Parquet rows.


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


@dataclass(frozen=True)
class Block:
    """Lines of a text file, each a record that is still to be read."""

    file: str
    lines: list[Line]


def blocks(paths: Paths, batch_size: int) -> Generator[Block | Parsed]:
    """What `iter_events` reads, batch by batch: lines that are still to be read, or what needs no
    more reading."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be positive, however: {batch_size=}")
    return _blocks(files_of(paths), batch_size)


def _blocks(files: list[Path], batch_size: int) -> Generator[Block | Parsed]:
    for path in files:
        if is_parquet(path):
            yield from _parquet(path, batch_size)
            continue
        with path.open("rb") as raw:
            magic = raw.read(2)
            raw.seek(0)
            lost: list[Reject] = []
            file = gzip.GzipFile(fileobj=raw) if magic == b"\x1f\x8b" else raw
            lines = _lines(file, str(path), lost)
            while block := list(islice(lines, batch_size)):
                yield Block(str(path), block)
            if lost:
                yield pl.DataFrame(), lost


def is_parquet(path: Path) -> bool:
    """Whether the file says that it is Parquet, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet(path: Path, batch_size: int) -> Generator[Parsed]:
    """The rows in batches of `batch_size`, however long the file's row groups are."""
    events = pl.DataFrame()
    for more, rejects in _row_groups(path, batch_size):
        if rejects:
            yield more, rejects
            continue
        events = events.vstack(more) if events.height else more
        while events.height >= batch_size:
            yield events.head(batch_size), rejects
            events = events.slice(batch_size)
    if events.height:
        yield events, []


def _row_groups(path: Path, batch_size: int) -> Generator[Parsed]:
    """Arrow reads a row group in pieces. Polars begins it anew for each: quadratic in its
    length."""
    try:
        file = pq.ParquetFile(
            path, pre_buffer=False, buffer_size=2**16
        )  # else whole row groups are held
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        if sum(sizes) != file.metadata.num_rows:
            raise ValueError("its numbers of rows contradict each other")
        for leaf in map(file.schema.column, range(len(file.metadata.schema))):
            name = leaf.path  # ValueError if it is not UTF-8
            if leaf.precision > DIGITS:
                raise ValueError(
                    f"{name} is decimal with {leaf.precision} digits, and {DIGITS} can be held"
                )
        schema = pa.schema([field.with_type(_storage(field.type)) for field in file.schema_arrow])
    except UNREADABLE as error:
        yield pl.DataFrame(), [(str(path), 0, f"not a readable Parquet file: {_first_line(error)}")]
        return
    for group, (start, end) in enumerate(pairwise(accumulate(sizes, initial=0))):
        row, reason = start, "not there: the file is damaged"
        try:
            for batch in file.iter_batches(batch_size, row_groups=[group]):
                batch.validate(full=True)  # Polars takes any bytes for UTF-8
                events = pl.DataFrame(
                    batch.cast(schema)
                )  # without metadata: Polars panics where it isn't UTF-8
                row += events.height
                yield events, []
        except UNREADABLE as error:
            reason = f"not readable: {_first_line(error)}"
        if row < end:
            yield pl.DataFrame(), [(str(path), lost, reason) for lost in range(row + 1, end + 1)]


def _storage(dtype: Any) -> Any:
    """An Arrow type without extension types, such as JSON text and UUIDs, of which Polars makes no
    text."""
    if isinstance(dtype, pa.BaseExtensionType):
        return _storage(dtype.storage_type)
    if pa.types.is_struct(dtype):
        return pa.struct([field.with_type(_storage(field.type)) for field in dtype])
    if pa.types.is_map(dtype):
        return pa.map_(dtype.key_type, _storage(dtype.item_type))
    return pa.list_(_storage(dtype.value_type)) if pa.types.is_list(dtype) else dtype


def _lines(file: BinaryIO | gzip.GzipFile, name: str, lost: list[Reject]) -> Iterator[Line]:
    """The records of a text file, each on one line. What cannot be divided into records goes to
    `lost`."""
    lines = (
        (i, line) for i, line in enumerate(_unbroken(file, name, lost), 1) if not line.isspace()
    )
    head = list(islice(lines, 2))
    if not head:
        return
    first = head[0][1].removeprefix(b"\xef\xbb\xbf")
    head[0] = head[0][0], first
    start = first.lstrip()[:1]
    # A line that is not JSON by itself, and is followed by one that starts no record: perhaps an
    # indented object.
    indented = (
        start == b"{" and len(head) == 2 and not head[1][1].startswith(b"{") and not _is_json(first)
    )
    if start == b"[" or indented:
        rest = list(chain(head, lines))
        text = b"".join(line for _, line in rest).decode("utf-8", "surrogateescape")
        elements = _array(text, name, lost) if start == b"[" else _objects(text)
        yield from rest if elements is None else elements
    else:
        yield from chain(head, lines)


def _unbroken(file: BinaryIO | gzip.GzipFile, name: str, lost: list[Reject]) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, OSError, zlib.error) as error:
        lost.append((name, 0, f"the file cannot be read to its end: {_first_line(error)}"))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _one_line(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").replace(b"\n", b" ").replace(b"\r", b" ")


SPACE = re.compile(r"[ \t\r\n]*")


def _skip(text: str, at: int) -> int:
    return SPACE.match(text, at).end()  # type: ignore[union-attr]  # the pattern matches the empty string too


def _objects(text: str) -> list[Line] | None:
    """One or more indented objects; None if the text is anything else."""
    decode, at, found = json.JSONDecoder().raw_decode, _skip(text, 0), list[Line]()
    while at < len(text):
        try:
            end = decode(text, at)[1]
        except (ValueError, RecursionError):
            return None
        found.append((len(found) + 1, _one_line(text[at:end])))
        at = _skip(text, end)
    return found


def _array(text: str, name: str, lost: list[Reject]) -> Iterator[Line]:
    """The elements of the JSON array `text`."""
    decode, row = json.JSONDecoder().raw_decode, 0
    at = _skip(text, _skip(text, 0) + 1)
    key = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"\s*:').match(text, at)
    again = (
        re.compile(r",\s*(?=" + r"\s*".join(map(re.escape, key[0].split())) + ")") if key else None
    )
    while at < len(text) and text[at] != "]":
        row += 1
        try:
            end = decode(text, at)[1]
            stop = _skip(text, end)
            whole = text[stop : stop + 1] in (",", "]", "")
        except (ValueError, RecursionError):
            whole = False
        if whole:
            yield row, _one_line(text[at:end])
        else:
            resumed = again.search(text, at + 1) if again else None
            stop = resumed.start() if resumed else len(text)
            yield (
                row,
                _one_line(text[at:stop]) + b" ",
            )  # not JSON: the reader of lines rejects it and says why
        at = stop
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    if at >= len(text):
        lost.append((name, 0, "the array has no end: the file may be cut short"))
    elif _skip(text, at + 1) < len(text):
        lost.append((name, 0, "text after the end of the array"))


# Blocks of lines into frames.


class LineReader:
    """Reads blocks of lines, with the types that those before them in their file had."""

    def __init__(self) -> None:
        self._file = ""
        self._likely: pl.Struct | None = None

    def read(self, block: Block) -> Parsed:
        """The block as a frame, and its rejects."""
        return self.joined([_read_piece(*piece) for piece in self.pieces(block)])

    def pieces(self, block: Block) -> list[tuple[list[Line], str, pl.Struct | None]]:
        """The arguments of `_read_piece` for the block's parts."""
        likely = self._types(block)
        return [
            (block.lines[i : i + PIECE], block.file, likely)
            for i in range(0, len(block.lines), PIECE)
        ]

    def joined(self, parts: list[Parsed]) -> Parsed:
        """The parts of a block as one; what they hold is likely to come again."""
        events = stack([events for events, _ in parts])
        if self._likely is not None:
            grown = _grown(self._likely, pl.Struct(events.schema))
            self._likely = grown if _plain(grown, 0) else self._likely
        return events, [row for _, rejects in parts for row in rejects]

    def _types(self, block: Block) -> pl.Struct | None:
        if block.file != self._file:
            self._file, self._likely = block.file, None
        if self._likely is None and len(block.lines) > PIECE:
            # To find the types takes as long as to read: those of a sample of the lines are mostly
            # those of all.
            self._likely = _inferred(b"\n".join(line for _, line in block.lines[::SAMPLE]))
        return self._likely


def _read_ahead(blocks: Iterator[Block | Parsed]) -> Generator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The blocks as frames and rejects; one is parsed while the next is read from its file and the
    last one is used."""
    reader = LineReader()
    with ThreadPoolExecutor(
        os.cpu_count()
    ) as pool:  # Polars lets go of the interpreter while it parses
        parsing: list[Future[Parsed]] = []
        for block in chain(blocks, [None]):
            before = parsing
            if isinstance(block, Block):
                parsing = [pool.submit(_read_piece, *piece) for piece in reader.pieces(block)]
            else:
                parsing = []
            if before:
                events, rejects = reader.joined([future.result() for future in before])
                yield events, _rejects(rejects)
            if isinstance(block, tuple):
                yield block[0], _rejects(block[1])


def _read_piece(piece: list[Line], file: str, likely: pl.Struct | None) -> Parsed:
    """Fast if the lines allow it, else fast for those of its sixteenths that do."""
    rejects: list[Reject] = []
    events = _read_fast(piece, likely)
    if events is not None:
        return events, rejects
    size = max(64, -(-len(piece) // 16))
    parts = []
    for start in range(0, len(piece), size):
        part = piece[start : start + size]
        events = _read_fast(part) if len(piece) > size else None
        parts.append(_read_slowly(part, file, rejects) if events is None else events)
    return stack(parts), rejects


def _read_fast(piece: list[Line], likely: pl.Struct | None = None) -> pl.DataFrame | None:
    """The lines as a frame, or None if they need a closer look. The type `likely` is tried before
    their own."""
    lines = [line for _, line in piece]
    text = b"\n".join(lines)
    if b"\\u" in text and (b"\\ud" in text or b"\\uD" in text):  # mostly one look
        lines = [_repair(line) for line in lines]
        text = b"\n".join(lines)
    counts, fractions = _in_text(text)
    records = (
        _decoded(lines, likely, counts) if likely and not _truncates(likely, fractions) else None
    )
    if records is None:
        own = _inferred(text)
        if own is None or (_has_number_list(own) and BOOLEAN_IN_LIST.search(text)):
            return None
        records = _decoded(lines, own, counts)
    if records is None:
        return None
    return _frame(
        records.struct.unnest().get_columns() if records.struct.fields else [], len(piece)
    )


def _inferred(text: bytes) -> pl.Struct | None:
    """The type that Polars finds in the lines; None if they need a closer look."""
    try:
        schema = pl.scan_ndjson(text, infer_schema_length=None).collect_schema()
    except pl.exceptions.PolarsError:
        return None
    return pl.Struct(schema) if all(_plain(dtype, 1) for dtype in schema.dtypes()) else None


def _decoded(lines: list[bytes], dtype: pl.Struct, counts: Counts) -> pl.Series | None:
    """The lines as a series of `dtype`; None where that does not account for what is in the
    text."""
    try:
        records = pl.Series(lines, dtype=pl.Binary).cast(pl.String).str.json_decode(dtype)
    except pl.exceptions.PolarsError:
        return None
    return None if records.null_count() or _in_series(records, dtype) != counts else records


def _grown(dtype: Any, other: Any) -> Any:
    """`dtype` with the fields of `other` that it lacks."""
    if isinstance(dtype, pl.Struct) and isinstance(other, pl.Struct):
        fields = {field.name: field.dtype for field in dtype.fields}
        for field in other.fields:
            fields[field.name] = _grown(fields.get(field.name, pl.Null()), field.dtype)
        return pl.Struct(fields)
    if isinstance(dtype, pl.List) and isinstance(other, pl.List):
        return pl.List(_grown(dtype.inner, other.inner))
    return other if dtype == pl.Null else dtype


def _plain(dtype: Any, depth: int) -> bool:
    if isinstance(dtype, pl.Struct):
        fields = dtype.fields
        return (
            depth < MAX_DEPTH
            and len(fields) <= MAX_KEYS
            and all(_plain(f.dtype, depth + 1) for f in fields)
        )
    if isinstance(dtype, pl.List):  # of lists, Polars would also make a list of lists from [1, [2]]
        return (
            depth < MAX_DEPTH
            and not isinstance(dtype.inner, pl.List)
            and _plain(dtype.inner, depth + 1)
        )
    return dtype in (pl.Null, pl.Boolean, pl.Int64, pl.Float64, pl.String)


BOOLEAN_IN_LIST = re.compile(
    rb"[\[,]\s*(?:true|false)"
)  # which Polars makes a number beside numbers


def _has_number_list(dtype: Any) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_has_number_list(field.dtype) for field in dtype.fields)
    return isinstance(dtype, pl.List) and (
        dtype.inner.is_numeric() or _has_number_list(dtype.inner)
    )


def _truncates(dtype: Any, fractions: set[bytes]) -> bool:
    """Whether Polars may cut a number's fraction off, as it does where it is told to expect an
    integer."""
    if isinstance(dtype, pl.Struct):
        return b"\\" in fractions or any(
            field.name.encode() in fractions
            if field.dtype == pl.Int64
            else _truncates(field.dtype, fractions)
            for field in dtype.fields
        )
    return isinstance(dtype, pl.List) and (
        dtype.inner == pl.Int64 or _truncates(dtype.inner, fractions)
    )


def _in_text(text: bytes) -> tuple[Counts, set[bytes]]:
    """How many keys with a value the text holds, nulls aside, and how many of those values are
    booleans, or lists; then the keys of numbers with a fraction or an exponent (a backslash for any
    key with one).

    `":` ends a key unless its quote is escaped. What this miscounts (space before a colon, an
    escaped backslash before a quote) makes the counts differ from the frame's, which costs a slow
    reading and loses nothing."""
    codes = np.frombuffer(text + b"    ", dtype=np.uint8)
    ends = np.flatnonzero((codes[1:-3] == ord('"')) & (codes[2:-2] == ord(":"))) + 1
    ends = ends[codes[ends - 1] != ord("\\")]
    at = ends + 2
    at += codes[at] == ord(" ")
    first = codes[at]
    of = np.bincount(first, minlength=256)
    counts = len(ends) - int(of[ord("n")]), int(of[ord("t")] + of[ord("f")]), int(of[ord("[")])
    going = (first == ord("-")) | _digit(
        first
    )  # the numbers, followed to their first character that is no digit
    fractions: list[int] = []
    while going.any():
        ends, at = ends[going], at[going] + 1
        next_ = codes[at]
        fractions += ends[(next_ == ord(".")) | (next_ == ord("e")) | (next_ == ord("E"))].tolist()
        going = _digit(next_)
    return counts, {_key(text, end) for end in fractions}


def _digit(codes: np.ndarray) -> np.ndarray:
    return codes - np.uint8(ord("0")) < 10  # what is below "0" wraps around


def _key(text: bytes, end: int) -> bytes:
    start = text.rfind(b'"', 0, end) + 1
    return b"\\" if b"\\" in text[max(0, start - 2) : end] else text[start:end]


def _in_series(series: pl.Series, dtype: Any) -> Counts:
    """The same counts in what was read from it.

    They differ where a key came twice or is not in the type, or where an object or a boolean was
    made a text or a number to fit, or a value a list."""
    keys = booleans = lists = 0
    if isinstance(
        dtype, pl.Struct
    ):  # its fields' types are not asked of the series: Polars builds them anew each time
        fields = [field.dtype for field in dtype.fields]
        for field, kind in zip(
            series.struct.unnest().get_columns() if fields else [], fields, strict=True
        ):
            there = len(field) - field.null_count()
            below = (
                _in_series(field, kind)
                if there and isinstance(kind, pl.Struct | pl.List)
                else (0, 0, 0)
            )
            keys += there + below[0]
            booleans += (there if isinstance(kind, pl.Boolean) else 0) + below[1]
            lists += (there if isinstance(kind, pl.List) else 0) + below[2]
    elif isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        return _in_series(series.explode(), dtype.inner)
    return keys, booleans, lists


HALF = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\."
)


def _repair(line: bytes) -> bytes:
    """Polars reads half an escaped surrogate pair as NUL; here it becomes U+FFFD."""
    return HALF.sub(lambda m: m[0] if len(m[0]) != 6 else b"\\ufffd", line)


def _read_slowly(block: list[Line], file: str, rejects: list[Reject]) -> pl.DataFrame:
    """The lines one by one, each checked, with the columns' types worked out over all of them."""
    records = []
    for row, line in block:
        try:
            records.append(_strict(line))
        except (ValueError, RecursionError) as error:
            reason = (
                "nested too deeply" if isinstance(error, RecursionError) else _first_line(error)
            )
            rejects.append((file, row, reason))
    kind: Any = {}
    for record in records:
        for name, value in record.items():
            kind[name] = _merge(kind.get(name), _kind_of(value))
    kind = {name: _no_maps(k) for name, k in kind.items()}
    columns = [
        pl.Series(name, [_as(record.get(name), k) for record in records], dtype=_dtype(k))
        for name, k in kind.items()
    ]
    return _frame(columns, len(records))


def _strict(line: bytes) -> dict[str, Any]:
    """The JSON object in `line`. Raises ValueError that says what is wrong with it."""
    try:
        text = _repair(line).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start + 1} of the record") from None
    try:
        record = json.loads(text, object_pairs_hook=_once, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON: {error.msg} at character {error.pos + 1} of the record"
        ) from None
    if not isinstance(record, dict):
        raise ValueError(f"not an object: {text.strip()[:40]}")
    _check(record, 1)
    return record


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key given twice: {next(n for n in names if names.count(n) > 1)[:80]!r}")
    return found


def _constant(literal: str) -> Any:
    raise ValueError(f"not JSON: {literal}")


def _check(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        for inner in value.values() if isinstance(value, dict) else value:
            _check(inner, depth + 1)
    elif isinstance(value, int | float) and abs(value) > 1.7976931348623157e308:
        raise ValueError("number too large for a 64-bit float")


# Kinds: what a column must be to hold all of its values. None (only nulls so far), a scalar Polars
# type, a dict of kinds (an object), or a list of one kind.


def _kind_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _kind_of(v) for name, v in value.items()}
    if isinstance(value, list):
        kind = None
        for v in value:
            kind = _merge(kind, _kind_of(v))
        return [kind]
    if value is None:
        return None
    if isinstance(value, bool):
        return pl.Boolean
    if isinstance(value, int):
        return pl.Int64 if -(2**63) <= value < 2**63 else pl.Float64
    return pl.Float64 if isinstance(value, float) else pl.String


def _kind(dtype: Any) -> Any:
    if isinstance(dtype, pl.Struct):
        return {field.name: _kind(field.dtype) for field in dtype.fields}
    if isinstance(dtype, pl.List | pl.Array):
        return [_kind(dtype.inner)]
    return None if dtype == pl.Null else dtype


def _dtype(kind: Any) -> Any:
    if isinstance(kind, dict):
        return pl.Struct({name: _dtype(k) for name, k in kind.items()})
    if isinstance(kind, list):
        return pl.List(_dtype(kind[0]))
    return pl.Null if kind is None else kind


def _merge(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, dict) and isinstance(b, dict):
        for name, kind in b.items():
            a[name] = _merge(a.get(name), kind)
        return a
    if isinstance(a, list) and isinstance(b, list):
        return [_merge(a[0], b[0])]
    if isinstance(a, dict | list) or isinstance(b, dict | list):
        return pl.String
    if a == b:
        return a
    if a.is_numeric() and b.is_numeric():
        return pl.Int64 if a.is_signed_integer() and b.is_signed_integer() else pl.Float64
    return pl.String


def _no_maps(kind: Any) -> Any:
    if isinstance(kind, dict):
        return (
            pl.String if len(kind) > MAX_KEYS else {name: _no_maps(k) for name, k in kind.items()}
        )
    return [_no_maps(kind[0])] if isinstance(kind, list) else kind


def _as(value: Any, kind: Any) -> Any:
    """`value` as a column of `kind` holds it."""
    if value is None:
        return None
    if isinstance(kind, dict):
        return {name: _as(value.get(name), k) for name, k in kind.items()}
    if isinstance(kind, list):
        return [_as(v, kind[0]) for v in value]
    if kind == pl.String and not isinstance(value, str):
        value = (
            int(value) if isinstance(value, float) and value.is_integer() else value
        )  # as Polars writes 2.0
        return (
            value.hex()
            if isinstance(value, bytes)
            else json.dumps(_there(value), ensure_ascii=False, default=_as_string)
        )
    return float(value) if kind == pl.Float64 else value


def _as_string(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _there(value: Any) -> Any:
    """Without an object's nulls: in a frame, they may only mean that another record has the key."""
    if isinstance(value, dict):
        return {name: _there(v) for name, v in value.items() if v is not None}
    return [_there(v) for v in value] if isinstance(value, list) else value


def stack(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """The frames below each other, with all columns of all; where types differ, as `read_events`
    reads them."""
    frames = [frame for frame in frames if frame.height]
    if len(frames) < 2:
        return frames[0] if frames else pl.DataFrame()
    schemas = [frame.schema for frame in frames]
    if schemas[0] and all(schema == schemas[0] for schema in schemas):
        return pl.concat(frames)
    kinds: dict[str, Any] = {}
    for schema in schemas:
        for name, dtype in schema.items():
            kinds[name] = _merge(kinds.get(name), _kind(dtype))
    kinds = {name: _no_maps(kind) for name, kind in kinds.items()}
    rows = "row".ljust(
        1 + max(map(len, kinds), default=0)
    )  # a new name: a frame without columns has rows, too
    alike = [
        _frame(
            [_alike(series, kinds[series.name]) for series in frame.get_columns()], frame.height
        ).with_columns(pl.lit(0, dtype=pl.Int8).alias(rows))
        for frame in frames
    ]
    return pl.concat(alike, how="diagonal_relaxed").drop(rows)


def _alike(series: pl.Series, kind: Any) -> pl.Series:
    mine = _kind(series.dtype)
    if _widens(mine, kind):
        return series
    if isinstance(mine, dict | list | pl.Map) or mine == pl.Binary or mine.is_float():
        return pl.Series(
            series.name, [_as(value, kind) for value in _values(series)], dtype=_dtype(kind)
        )
    try:
        return series.cast(kind, strict=False)
    except (pl.exceptions.PanicException, pl.exceptions.PolarsError):  # as below, or a duration
        return series.to_physical().cast(kind, strict=False)


def _values(series: pl.Series) -> list[Any]:
    try:
        return series.to_list()
    except (
        pl.exceptions.PanicException,
        OverflowError,
    ):  # a date beyond the calendar: its number, then
        return series.to_physical().to_list()


def _widens(mine: Any, kind: Any) -> bool:
    """Whether Polars itself makes `kind` of `mine`, without turning anything into text."""
    if mine is None or mine == kind:
        return True
    if isinstance(mine, dict):
        return isinstance(kind, dict) and all(_widens(k, kind[name]) for name, k in mine.items())
    if isinstance(mine, list):
        return isinstance(kind, list) and _widens(mine[0], kind[0])
    return not isinstance(kind, dict | list) and mine.is_numeric() and kind.is_numeric()


def _frame(columns: list[pl.Series], height: int) -> pl.DataFrame:
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=height)


def _rejects(rows: list[Reject]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=REJECTS, orient="row")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
