"""Parquet files into frames, without the rows that cannot be read."""

from collections.abc import Generator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nbsrc.events.decode import Parsed
from nbsrc.events.lines import first_line

DIGITS = 38  # of a decimal in Polars
UNREADABLE = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    ValueError,
)


def is_parquet(path: Path) -> bool:
    """Whether the file says that it is Parquet, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def read_parquet(path: Path, batch_size: int) -> Generator[Parsed]:
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
        yield pl.DataFrame(), [(str(path), 0, f"not a readable Parquet file: {first_line(error)}")]
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
            reason = f"not readable: {first_line(error)}"
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
