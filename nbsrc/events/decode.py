"""JSON texts into values and into frames.

orjson decodes each text: only what it takes is JSON. Arrow makes columns of many such texts at
once, in C++, and refuses what columns cannot hold: a key given twice, types that differ. What
either refuses, Python's json module explains."""

import json
import math
import re
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json as pj

# an object with more distinct keys than this over a block of records is a map, not a record
MAX_KEYS = 1000
SAMPLE = 100  # texts
MAX_DEPTH = 64  # OCSF nests about ten levels; Polars' own work on a column grows with its depth
# What a library may raise over strange values; a panic of Polars is no Exception.
FAILURES = (Exception, pl.exceptions.PanicException)
HALF = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?"
    rb"|\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\."
)
SHOWN = 40  # characters of what is no JSON
KEY = re.compile(rb'"([^"\\]*)"\s*:')


def decode(text: bytes) -> tuple[Any, bytes]:
    """The JSON value that `text` is, and itself. Raises ValueError that says why it is none.

    Of a key given twice, only `once` knows.
    """
    try:
        return orjson.loads(text), text
    except ValueError:
        value = _strict(text)
    return value, encoded(value)


def encoded(value: Any) -> bytes:
    """A value as JSON. Raises ValueError if it is nested so deeply that orjson refuses: at 255
    levels, where it reads 1024."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None


def once(text: bytes) -> Any:
    """As `decode`; ValueError also if an object has a key twice.

    orjson keeps the last of equal keys in silence. Written again, the value has fewer quotes then:
    nothing else takes any away, and only \\u0022 would add one.
    """
    value, text = decode(text)
    alike = encoded(value).count(b'"') == text.count(b'"') and rb"\u0022" not in text
    return value if alike else _strict(text)


def parsed(
    texts: list[bytes], moments: pa.DataType | None = None
) -> tuple[pl.DataFrame | None, pa.DataType | None]:
    """JSON objects as the rows of a frame; None if Arrow refuses them, or they hold maps.

    Arrow takes texts that look like dates for such; `moments` says where they are texts, and is
    returned with what was found in addition: in a sample, or all are read once more.
    """
    if not texts:
        return pl.DataFrame(), moments
    some = texts[:: 1 + len(texts) // SAMPLE]
    if _keys(some, len(texts)) > 2 * MAX_KEYS:
        return None, moments
    try:
        sample = _table(some, None)
        found = _moments(pa.struct(sample.schema))
        while True:
            moments = _both(moments, found)
            table = _table(texts, moments)
            if not (found := _moments(pa.struct(table.schema))):
                break
        whole = table.num_rows == len(texts) and _is_record(pa.struct(table.schema))
        # In the texts' order, which a schema changes.
        table = table.select(list(dict.fromkeys([*sample.schema.names, *table.schema.names])))
        frame = pl.DataFrame(table) if table.num_columns else pl.DataFrame(height=len(texts))
        frame.columns = table.column_names  # Polars has named an empty one itself
        return (frame if whole else None), moments
    except FAILURES:
        return None, moments


def _table(texts: list[bytes], moments: pa.DataType | None) -> pa.Table:
    text = b"\n".join(texts)
    return pj.read_json(
        pa.BufferReader(text),
        pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
        pj.ParseOptions(explicit_schema=moments and pa.schema(moments)),
    )


def _keys(some: list[bytes], n: int) -> float:
    """How many names of keys there may be in `n` texts of which these are some: those of maps
    become more with every text."""
    half = len(some) // 2
    known = set(KEY.findall(b"\n".join(some[:half])))
    new = set(KEY.findall(b"\n".join(some[half:]))) - known
    return len(known) + len(new) * n / (len(some) - half)


def _moments(dtype: pa.DataType) -> pa.DataType | None:
    """The part of the type that holds moments, with texts in their place."""
    if pa.types.is_struct(dtype):
        fields = [(field.name, part) for field in dtype if (part := _moments(field.type))]
        return pa.struct(fields) if fields else None
    if pa.types.is_list(dtype):
        part = _moments(dtype.value_type)
        return pa.list_(part) if part else None
    return pa.string() if pa.types.is_timestamp(dtype) else None


def _both(a: pa.DataType | None, b: pa.DataType | None) -> pa.DataType | None:
    if a is None or b is None:
        return a or b
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        parts = {field.name: field.type for field in a}
        parts |= {field.name: _both(parts.get(field.name), field.type) for field in b}
        return pa.struct(parts.items())
    if pa.types.is_list(a) and pa.types.is_list(b):
        return pa.list_(_both(a.value_type, b.value_type))
    return b


def _is_record(dtype: pa.DataType, depth: int = 1) -> bool:
    """Whether no object in it is a map with ids for keys, and it is not nested too deeply."""
    fields = [dtype.field(i).type for i in range(dtype.num_fields)]
    return (
        len(fields) <= MAX_KEYS
        and depth <= MAX_DEPTH
        and all(_is_record(field, depth + 1) for field in fields if pa.types.is_nested(field))
    )


def _strict(text: bytes) -> Any:
    try:
        # Half a surrogate pair becomes U+FFFD.
        whole = HALF.sub(lambda m: m[0] if len(m[0]) != 6 else rb"\ufffd", text).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start + 1} of the record") from None
    try:
        return json.loads(
            whole,
            object_pairs_hook=_once,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_fraction,
        )
    except json.JSONDecodeError as error:
        if (other := whole.strip())[:1] not in ("{", "["):
            begins = other[:SHOWN].splitlines()[:1]
            raise ValueError(f"not JSON: it begins with {''.join(begins)!r}") from None
        at = f"at character {error.pos + 1} of the record"
        raise ValueError(f"not JSON: {error.msg.removesuffix(' at')} {at}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key given twice: {next(n for n in names if names.count(n) > 1)[:80]!r}")
    return found


def _constant(literal: str) -> Any:
    raise ValueError(f"not JSON: {literal}")


def _integer(literal: str) -> int | float:
    value = int(literal)
    return value if -(2**63) <= value < 2**63 else _fraction(literal)


def _fraction(literal: str) -> float:
    if math.isinf(value := float(literal)):
        raise ValueError("number too large for a 64-bit float")
    return value
