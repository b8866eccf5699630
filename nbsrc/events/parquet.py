"""Parquet files into frames, without the rows that cannot be read."""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nbsrc.events.decode import FAILURES
from nbsrc.events.kinds import by_kind, table
from nbsrc.support.command import first_line

DIGITS = 38  # of a decimal in Polars


def row_groups(
    file: BinaryIO, batch_size: int
) -> Iterator[tuple[pl.DataFrame, list[tuple[int, str]]]]:
    """The rows as frames of at most `batch_size`, and (row, reason) of those that are damaged.

    Arrow reads a row group in pieces. Polars begins it anew for each: quadratic in its length."""
    try:
        # Without these, whole row groups are held.
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=2**16)
        sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
        if sum(sizes) != parquet.metadata.num_rows:
            raise ValueError("its numbers of rows contradict each other")
        for leaf in map(parquet.schema.column, range(len(parquet.metadata.schema))):
            name = leaf.path  # ValueError if it is not UTF-8
            if leaf.precision > DIGITS:
                raise ValueError(
                    f"{name} is decimal with {leaf.precision} digits, and {DIGITS} can be held"
                )
        parquet.schema_arrow  # noqa: B018  # raises what else is wrong with it
    except FAILURES as error:
        yield pl.DataFrame(), [(0, f"not a readable Parquet file: {_said(error)}")]
        return
    for group, (start, end) in enumerate(pairwise(accumulate(sizes, initial=0))):
        row, reason = start, "not there: the file is damaged"
        try:
            for batch in parquet.iter_batches(batch_size, row_groups=[group]):
                batch.validate(full=True)  # Polars takes any bytes for UTF-8
                columns = map(_series, batch.schema.names, batch.columns)
                events = table(list(columns), batch.num_rows)
                row += events.height
                yield events, []
        except FAILURES as error:
            reason = f"not readable: {_said(error)}"
        if row < end:
            yield pl.DataFrame(), [(lost, reason) for lost in range(row + 1, end + 1)]


def _series(name: str, array: pa.Array) -> pl.Series:
    try:
        return pl.Series(name, array.cast(_plain(array.type)))
    except FAILURES:
        return by_kind(name, array.to_pylist())


def _plain(dtype: Any) -> Any:
    """The type without what Polars does not know: extension types such as JSON and UUID are their
    storage, dictionaries their values, and moments are in UTC."""
    if isinstance(dtype, pa.BaseExtensionType):
        return _plain(dtype.storage_type)
    if pa.types.is_dictionary(dtype):
        return _plain(dtype.value_type)
    if pa.types.is_timestamp(dtype) and dtype.tz:
        return pa.timestamp(dtype.unit, "UTC")
    if pa.types.is_struct(dtype):
        return pa.struct([field.with_type(_plain(field.type)) for field in dtype])
    if pa.types.is_map(dtype):
        return pa.map_(_plain(dtype.key_type), _plain(dtype.item_type))
    if pa.types.is_fixed_size_list(dtype):
        return pa.list_(_plain(dtype.value_type), dtype.list_size)
    if pa.types.is_large_list(dtype):
        return pa.large_list(_plain(dtype.value_type))
    return pa.list_(_plain(dtype.value_type)) if pa.types.is_list(dtype) else dtype


def _said(error: BaseException) -> str:
    return first_line(error)[:200]
