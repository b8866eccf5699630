"""Types that changed between the baseline and new events: mended where the meaning is plain, told
where it is not."""

from collections.abc import Iterable, Iterator

import polars as pl

from nbsrc.events.text import as_text
from nbsrc.tabular.columns import Column
from nbsrc.tabular.expressions import each, index, value

BOOLEANS = (("false", "true"), ("0", "1"), ("False", "True"), ("FALSE", "TRUE"))
SAMPLE = 1000  # values of a column, enough to see whether any makes sense


def with_booleans(rows: pl.DataFrame, columns: Iterable[Column]) -> pl.DataFrame:
    """Truth values, however the new events write them, as the baseline wrote them."""
    changed = []
    for column, dtype in _of_other_types(rows, columns):
        pair = next((pair for pair in BOOLEANS if {*(column.values or ["?"])} <= {*pair}), None)
        if pair:
            own = {way: here for ways in BOOLEANS for way, here in zip(ways, pair, strict=True)}
            changed.append(as_text(column.column, dtype).replace(own).alias(column.column))
    return rows.with_columns(changed)


def unread(rows: pl.DataFrame, columns: Iterable[Column]) -> tuple[set[str], set[str]]:
    """Of the columns with values in these events: those whose values mean nothing to the encoder,
    although their type may not be the baseline's, and those that mean something."""
    rows = with_booleans(rows, columns)
    read, lost = {c.column for c in columns}.intersection(rows.columns), set()
    for column, _ in _of_other_types(rows, columns):
        there = rows[column.column].drop_nulls().head(SAMPLE)
        made = each(there.to_frame(), [column], value if column.values is None else index)
        if not made.to_series().count():
            read.remove(column.column)
            if len(there):
                lost.add(column.column)
    return lost, read


def _of_other_types(
    rows: pl.DataFrame, columns: Iterable[Column]
) -> Iterator[tuple[Column, pl.DataType]]:
    """The columns that have a type here that they may not have had in the baseline."""
    schema = rows.schema  # which takes long to make
    for column in columns:
        dtype = schema.get(column.column)
        if dtype is None:
            continue
        if column.values is None:
            other = not dtype.is_numeric()
        elif {*column.values} <= {*BOOLEANS[0]}:
            other = dtype != pl.Boolean
        elif all(text.lstrip("-").isdigit() for text in column.values):
            other = not dtype.is_integer()
        else:
            other = dtype != pl.String
        if other:
            yield column, dtype
