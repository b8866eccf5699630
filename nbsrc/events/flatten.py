"""Nested columns into flat ones, one a scalar attribute."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from nbsrc.events.decode import once
from nbsrc.events.kinds import (
    as_kind,
    check_frame,
    column,
    dtype_of,
    is_pattern,
    kind_of,
    merge,
    no_maps,
    table,
    unified,
    values_of,
)
from nbsrc.events.schema import dotted
from nbsrc.events.text import as_text

LEFT_OUT = ("unmapped", "raw_data", "observables", "enrichments")
PIECE = 2500  # objects that become a frame at once


def flatten(events: pl.DataFrame, *, exclude: tuple[str, ...] = LEFT_OUT) -> pl.DataFrame:
    """One column a scalar attribute, under its dotted name.

    Structs are taken apart to any depth: `actor.user.name`. A list `x` becomes `x.length`, and
    - of scalars, `x.all`: its distinct values, sorted, joined by commas (`metadata.profiles.all`);
    - of objects or lists, its first element, taken apart in the same way: `resources.first.name`.
    A map (Parquet) is an object with its keys: `labels.region`; with over 1000 distinct ones, a
    JSON text. `exclude` names attributes to leave out with all below them; by default the copies of
    what stands elsewhere and what no schema describes: `unmapped`, `raw_data`, `observables`,
    `enrichments`. A column of texts that are all JSON objects, or all lists, is what they hold. A
    flat name is the OCSF one that it stands for: `src_endpoint_ip` is `src_endpoint.ip`. Where a
    flat and a nested source give the same dotted name, they make one column: the first value that
    is there, as text if the types differ.

    >>> events = pl.DataFrame({"device": [{"ip": "10.0.0.1", "tags": ["b", "a"]}]})
    >>> flatten(events).row(0, named=True)
    {'device.ip': '10.0.0.1', 'device.tags.length': 2, 'device.tags.all': 'a,b'}
    """
    return flattened(events, exclude=exclude)[0]


def flattened(
    events: pl.DataFrame, *, exclude: tuple[str, ...] = LEFT_OUT
) -> tuple[pl.DataFrame, dict[str, str]]:
    """`flatten`, and how those of its columns are written in `events` that have another name there
    (`src_endpoint_ip`) or are in a text (`JSON in src_endpoint`)."""
    check_frame(events)
    columns: dict[str, pl.Series] = {}
    written: dict[str, str] = {}
    leaves = [leaf for s in events for leaf in _leaves(s.name, s, s.dtype, exclude)]
    for path, leaf, text in _held(leaves, exclude):
        first, dot, rest = path.partition(".")
        name = dotted(first) + dot + rest
        name = f"'{name}'" if is_pattern(name) else name
        if text or name != path:
            written[name] = f"JSON in {text}" if text else path
        columns[name] = _coalesce(columns[name], leaf) if name in columns else leaf
    rows = table([s.alias(name) for name, s in columns.items()], events.height)
    return rows.rechunk(), written  # for what comes next


def flatten_objects(events: list[dict[str, Any]]) -> pl.DataFrame:
    """`flatten` for events as objects, which are taken out of the list, a piece at once: all of
    them and their frame together need much more memory."""
    frames = []
    while events:
        frames.append(flatten(pl.DataFrame(events[:PIECE], infer_schema_length=None)))
        del events[:PIECE]
    return pl.concat(frames, how="diagonal_relaxed", rechunk=True)


def _leaves(
    name: str, series: pl.Series, dtype: Any, exclude: tuple[str, ...]
) -> Iterator[tuple[str, pl.Series]]:
    """Dotted names and values."""
    if name in exclude:
        return
    if isinstance(dtype, pl.Struct):
        fields = dtype.fields
        own = series.struct.unnest().get_columns() if fields else []
        for field, values in zip(fields, own, strict=True):
            yield from _leaves(f"{name}.{field.name}", values, field.dtype, exclude)
    elif isinstance(dtype, pl.Map):
        series = _objects_of(series, dtype)
        yield from _leaves(name, series, series.dtype, exclude)
    elif isinstance(dtype, pl.List | pl.Array):
        inner = dtype.inner
        series = series.cast(pl.List(inner))
        yield f"{name}.length", series.list.len().cast(pl.Int64)
        if isinstance(inner, pl.Struct | pl.Map | pl.List | pl.Array):
            first = series.list.get(0, null_on_oob=True)
            yield from _leaves(f"{name}.first", first, inner, exclude)
        elif inner not in (pl.Null, pl.Binary):
            yield f"{name}.all", _joined(series)
    else:
        yield name, series


def _held(
    leaves: list[tuple[str, pl.Series]], exclude: tuple[str, ...]
) -> Iterator[tuple[str, pl.Series, str]]:
    """The leaves, those of JSON texts taken apart, and the name of the text that each was in."""
    texts = [
        values.alias(str(i)) for i, (_, values) in enumerate(leaves) if values.dtype == pl.String
    ]
    first = pl.all().filter(pl.all() != "").first().str.strip_chars_start().str.head(1)
    begins = pl.DataFrame(texts).select(first).to_dict(as_series=False) if texts else {}
    for i, (name, values) in enumerate(leaves):
        held = _decoded(values) if begins.get(str(i)) in (["{"], ["["]) else None
        if held is None:
            yield name, values, ""
        else:
            own = list(_leaves(name, held, held.dtype, exclude))
            for path, leaf, _ in _held(own, exclude):
                yield path, leaf, name


def _decoded(texts: pl.Series) -> pl.Series | None:
    """The objects or lists that the texts are as JSON; None if one of them is none."""
    try:
        held = column(texts.name, [once(text.encode()) if text else None for text in texts])
    except ValueError:
        return None
    return held if held.dtype.is_nested() else None


def _objects_of(maps: pl.Series, dtype: Any) -> pl.Series:
    """Parquet's maps as JSON would have them: objects, or one JSON text if they have too many
    distinct keys."""
    pairs = maps.cast(pl.List(pl.Struct({"key": dtype.key, "value": dtype.value})))
    values = [
        None if row is None else {str(pair["key"]): pair["value"] for pair in row}
        for row in values_of(pairs)
    ]
    kind = no_maps({key: dtype.value for value in values if value for key in value})
    return pl.Series(maps.name, [as_kind(value, kind) for value in values], dtype=dtype_of(kind))


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
    kind = merge(kind_of(a.dtype), kind_of(b.dtype))
    dtype = dtype_of(kind)
    return unified(a, kind).cast(dtype).zip_with(a.is_not_null(), unified(b, kind).cast(dtype))
