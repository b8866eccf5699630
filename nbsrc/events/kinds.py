"""Values as columns, of one type each.

A kind says what a column must be to hold all of its values: None (only nulls so far), a scalar
Polars type, a dict of kinds (an object), or a list of one kind."""

import json
from itertools import chain
from typing import Any

import polars as pl

from nbsrc.events.decode import MAX_DEPTH, MAX_KEYS, encoded, parsed


def columns(records: list[dict[str, Any]]) -> pl.DataFrame:
    """The records as rows, with one column a key of any of them."""
    names = dict.fromkeys(chain.from_iterable(records))
    return table([column(n, [record.get(n) for record in records]) for n in names], len(records))


def column(name: str, values: list[Any]) -> pl.Series:
    """Values of JSON as a column; as text if their types differ (integers and floats are floats).

    Raises ValueError if they are nested too deeply.
    """
    frame, _ = parsed([encoded({name: value}) for value in values])
    return by_kind(name, values) if frame is None else frame[name]


def by_kind(name: str, values: list[Any]) -> pl.Series:
    """`column`, for values of any kind, one by one."""
    kind = None
    for value in values:
        kind = merge(kind, _kind_of_value(value))
    kind = no_maps(kind)
    return pl.Series(name, [as_kind(value, kind) for value in values], dtype=dtype_of(kind))


def _kind_of_value(value: Any, depth: int = 2) -> Any:
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {name: _kind_of_value(v, depth + 1) for name, v in value.items()}
    if isinstance(value, list):
        kind = None
        for v in value:
            kind = merge(kind, _kind_of_value(v, depth + 1))
        return [kind]
    if value is None:
        return None
    if isinstance(value, bool):
        return pl.Boolean
    if isinstance(value, int):
        return pl.Int64 if -(2**63) <= value < 2**63 else pl.Float64
    return pl.Float64 if isinstance(value, float) else pl.String


def kind_of(dtype: Any) -> Any:
    if isinstance(dtype, pl.Struct):
        return {field.name: kind_of(field.dtype) for field in dtype.fields}
    if isinstance(dtype, pl.List | pl.Array):
        return [kind_of(dtype.inner)]
    return None if dtype == pl.Null else dtype


def dtype_of(kind: Any) -> Any:
    if isinstance(kind, dict):
        return pl.Struct({name: dtype_of(k) for name, k in kind.items()})
    if isinstance(kind, list):
        return pl.List(dtype_of(kind[0]))
    return pl.Null if kind is None else kind


def merge(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, dict) and isinstance(b, dict):
        for name, kind in b.items():
            a[name] = merge(a.get(name), kind)
        return a
    if isinstance(a, list) and isinstance(b, list):
        return [merge(a[0], b[0])]
    if isinstance(a, dict | list) or isinstance(b, dict | list):
        return pl.String
    if a == b:
        return a
    if a.is_numeric() and b.is_numeric():
        return pl.Int64 if a.is_signed_integer() and b.is_signed_integer() else pl.Float64
    return pl.String


def no_maps(kind: Any) -> Any:
    if isinstance(kind, dict):
        return pl.String if len(kind) > MAX_KEYS else {name: no_maps(k) for name, k in kind.items()}
    return [no_maps(kind[0])] if isinstance(kind, list) else kind


def as_kind(value: Any, kind: Any) -> Any:
    """`value` as a column of `kind` holds it."""
    if value is None:
        return None
    if isinstance(kind, dict):
        return {name: as_kind(value.get(name), k) for name, k in kind.items()}
    if isinstance(kind, list):
        return [as_kind(v, kind[0]) for v in value]
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
            kinds[name] = merge(kinds.get(name), kind_of(dtype))
    kinds = {name: no_maps(kind) for name, kind in kinds.items()}
    rows = "row".ljust(
        1 + max(map(len, kinds), default=0)
    )  # a new name: a frame without columns has rows, too
    alike = [
        table(
            [unified(series, kinds[series.name]) for series in frame.get_columns()], frame.height
        ).with_columns(pl.lit(0, dtype=pl.Int8).alias(rows))
        for frame in frames
    ]
    return pl.concat(alike, how="diagonal_relaxed").drop(rows)


def unified(series: pl.Series, kind: Any) -> pl.Series:
    mine = kind_of(series.dtype)
    if _widens(mine, kind):
        return series
    if isinstance(mine, dict | list | pl.Map) or mine == pl.Binary or mine.is_float():
        return pl.Series(
            series.name, [as_kind(value, kind) for value in values_of(series)], dtype=dtype_of(kind)
        )
    try:
        return series.cast(kind, strict=False)
    except (pl.exceptions.PanicException, pl.exceptions.PolarsError):  # as below, or a duration
        return series.to_physical().cast(kind, strict=False)


def values_of(series: pl.Series) -> list[Any]:
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


def table(columns: list[pl.Series], height: int) -> pl.DataFrame:
    frame = pl.DataFrame(columns) if columns else pl.DataFrame(height=height)
    frame.columns = [series.name for series in columns]  # Polars has named an empty one itself
    return frame


def is_pattern(name: str) -> bool:
    """Whether Polars takes the name of a column for a pattern of names: * and ^...$."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def check_frame(given: Any) -> None:
    """Raise TypeError if it is no Polars frame."""
    if not isinstance(given, pl.DataFrame):
        kind = f"{type(given).__module__.partition('.')[0]}.{type(given).__name__}"
        raise TypeError(f"events are a Polars DataFrame, not {kind}: pl.DataFrame(...) makes one")
