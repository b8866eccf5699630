"""What the values of a column become, as its `Column` says, whatever type a frame has it in."""

import math
import re
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import numpy as np
import polars as pl

from nbsrc.events.text import as_text
from nbsrc.tabular.columns import Column
from nbsrc.tabular.encoded import UNSEEN
from nbsrc.tabular.values import as_moment, as_number, as_port

CLIP = 10.0  # in units of the interquartile range
HOUR = 3_600_000  # ms
HOURS, WEEKDAYS = ("hour_sin", "hour_cos"), ("weekday_sin", "weekday_cos")
WHOLE = re.compile(r"0|-?[1-9]\d{0,18}")  # as an integer is written

Expression = Callable[[Column, pl.DataType], pl.Expr]


def each(rows: pl.DataFrame, columns: Sequence[Column], expression: Expression) -> pl.DataFrame:
    """The values of the expression over each of the columns, under their names."""
    schema = rows.schema
    return rows.select(expression(c, schema[c.column]).alias(c.column) for c in columns)


def value(c: Column, dtype: pl.DataType) -> pl.Expr:
    """The value as what it is to the encoder, null where it is missing."""
    if c.kind == "time":
        return as_moment(c.column, dtype)
    return (as_number if c.kind == "quantity" else as_text)(c.column, dtype)


def is_missing(c: Column, dtype: pl.DataType) -> pl.Expr:
    """Whether `value` is null."""
    column = pl.col(c.column)
    if c.kind in ("quantity", "time") or dtype in (pl.Object, pl.Null, pl.Binary):
        return value(c, dtype).is_null()
    if dtype == pl.String:
        return column.is_null() | (column == "")
    return column.is_null() | column.is_nan() if dtype.is_float() else column.is_null()


def is_null(c: Column, dtype: pl.DataType) -> pl.Expr:
    """As `is_missing`, but for empty texts, which `index` knows."""
    if dtype == pl.String and c.kind != "port":
        return pl.col(c.column).is_null()
    return is_missing(c, dtype)


def number(c: Column, dtype: pl.DataType) -> pl.Expr:
    """A quantity, or a moment in milliseconds, as a float."""
    return value(c, dtype).cast(pl.Float64)


def index(c: Column, dtype: pl.DataType) -> pl.Expr:
    """The value's index among the categories (Int32); null where it is unseen."""
    assert c.values is not None
    if c.kind == "port":  # the last two values are the ranges
        port, last = as_port(c.column, dtype), len(c.values) + UNSEEN
        bucket = pl.when(port >= 49152).then(last).when(port >= 1024).then(last - 1)
        return pl.coalesce(_number_index(port, c.values[:-2]), bucket).cast(pl.Int32)
    if dtype.is_signed_integer():
        return _number_index(pl.col(c.column).cast(pl.Int64, strict=False), c.values)
    text = pl.col(c.column) if dtype == pl.String else as_text(c.column, dtype)
    none = max(c.values, default="") + "\0"  # not among the values: index 1 is for unseen ones
    return text.cast(pl.Enum(["", none, *c.values]), strict=False).to_physical().cast(pl.Int32)


def _number_index(numbers: pl.Expr, values: list[str]) -> pl.Expr:
    whole = {int(v): i for i, v in enumerate(values, UNSEEN + 1) if WHOLE.fullmatch(v)}
    known = {v: i for v, i in whole.items() if -(2**63) <= v < 2**63}
    return numbers.replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.Int32
    )


def matrix(rows: pl.DataFrame, expressions: list[pl.Expr | None], empty: Any) -> np.ndarray:
    """The expressions' values, column by column; `empty` where they are null or there is none."""
    there = [expression is not None for expression in expressions]
    values = np.full((rows.height, len(expressions)), empty, order="F")
    if any(there):
        made = rows.select(compress(expressions, there)).select(pl.all().fill_null(empty))
        values[:, there] = made.to_numpy()
    return values


def features(c: Column, values: np.ndarray) -> list[np.ndarray]:
    """What the network gets of a quantity, or of moments in milliseconds; NaN is a missing one."""
    if c.kind == "time":
        hour = values % (24 * HOUR) / (24 * HOUR) * math.tau
        weekday = (values // (24 * HOUR) + 3) % 7 / 7 * math.tau  # 1970-01-01 was a Thursday
        made = [np.sin(hour), np.cos(hour)] if c.hours else []
        made += [np.sin(weekday), np.cos(weekday)] if c.weekdays else []
    else:
        x = np.sign(values) * np.log1p(np.abs(values)) if c.log else values
        with np.errstate(over="ignore"):
            made = [((x - c.center) / c.scale).clip(-CLIP, CLIP)]
    return [np.nan_to_num(x, copy=False) for x in made]


def feature_names(c: Column) -> list[str]:
    """The names of what `features` gives."""
    if c.kind != "time":
        return [c.column]
    names = HOURS * c.hours + WEEKDAYS * c.weekdays
    return [f"{c.column}.{angle}" for angle in names]
