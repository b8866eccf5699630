"""Batches of lines into frames.

The fast path hands whole batches of lines to Polars, with the types found so far, else with their
own; a line that Polars refuses, or where its result does not account for every key in the text, is
read again by Python's json module, which tells what is wrong with it."""

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from nbsrc.events.kinds import (
    MAX_KEYS,
    as_kind,
    dtype_of,
    frame_of,
    kind_of_value,
    merge,
    no_maps,
    stack,
)
from nbsrc.events.lines import Line, Reject, first_line

Parsed = tuple[pl.DataFrame, list[Reject]]
Counts = tuple[int, int, int]  # values of keys: all but nulls, booleans, lists
MAX_DEPTH = 64  # OCSF nests about ten levels; Polars' own work on a column grows with its depth
PIECE = 2_000  # lines that are parsed at once, by one thread
SAMPLE = 20  # of every so many lines of a batch one is looked at beforehand
BOOLEAN_IN_LIST = re.compile(
    rb"[\[,]\s*(?:true|false)"
)  # which Polars makes a number beside numbers
HALF = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\."
)


@dataclass(frozen=True)
class Batch:
    """Lines of a text file, each a record that is still to be read."""

    file: str
    lines: list[Line]


class LineReader:
    """Reads batches of lines, with the types that those before them in their file had."""

    def __init__(self) -> None:
        self._file = ""
        self._likely: pl.Struct | None = None

    def read(self, batch: Batch) -> Parsed:
        """The batch as a frame, and its rejects."""
        return self.joined([read_piece(*piece) for piece in self.pieces(batch)])

    def pieces(self, batch: Batch) -> list[tuple[list[Line], str, pl.Struct | None]]:
        """The arguments of `read_piece` for the batch's parts."""
        likely = self._types(batch)
        return [
            (batch.lines[i : i + PIECE], batch.file, likely)
            for i in range(0, len(batch.lines), PIECE)
        ]

    def joined(self, parts: list[Parsed]) -> Parsed:
        """The parts of a batch as one; what they hold is likely to come again."""
        events = stack([events for events, _ in parts])
        if self._likely is not None:
            grown = _grown(self._likely, pl.Struct(events.schema))
            self._likely = grown if _plain(grown, 0) else self._likely
        return events, [row for _, rejects in parts for row in rejects]

    def _types(self, batch: Batch) -> pl.Struct | None:
        if batch.file != self._file:
            self._file, self._likely = batch.file, None
        if self._likely is None and len(batch.lines) > PIECE:
            # To find the types takes as long as to read: those of a sample of the lines are mostly
            # those of all.
            self._likely = _inferred(b"\n".join(line for _, line in batch.lines[::SAMPLE]))
        return self._likely


def read_piece(piece: list[Line], file: str, likely: pl.Struct | None) -> Parsed:
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
    return frame_of(
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


def _repair(line: bytes) -> bytes:
    """Polars reads half an escaped surrogate pair as NUL; here it becomes U+FFFD."""
    return HALF.sub(lambda m: m[0] if len(m[0]) != 6 else b"\\ufffd", line)


def _read_slowly(piece: list[Line], file: str, rejects: list[Reject]) -> pl.DataFrame:
    """The lines one by one, each checked, with the columns' types worked out over all of them."""
    records = []
    for row, line in piece:
        try:
            records.append(_strict(line))
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else first_line(error)
            rejects.append((file, row, reason))
    kind: Any = {}
    for record in records:
        for name, value in record.items():
            kind[name] = merge(kind.get(name), kind_of_value(value))
    kind = {name: no_maps(k) for name, k in kind.items()}
    columns = [
        pl.Series(name, [as_kind(record.get(name), k) for record in records], dtype=dtype_of(k))
        for name, k in kind.items()
    ]
    return frame_of(columns, len(records))


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
