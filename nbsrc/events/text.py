"""A value as text: one way of writing it, whatever type its column has."""

import polars as pl


def as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """The value as a category's name; null for what is missing: null, an empty text, NaN. 2.0 is
    2."""
    column = pl.col(name)
    if dtype == pl.Binary:
        column = column.bin.encode("hex")
    elif dtype == pl.Duration:
        column = column.dt.total_milliseconds().cast(pl.String)
    elif dtype in (pl.Datetime, pl.Date):
        column = column.cast(pl.Int64).cast(
            pl.String
        )  # Polars panics on writing a date beyond its calendar
    elif dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        column = (
            pl.when(whole.cast(pl.Float64) == column)
            .then(whole.cast(pl.String))
            .otherwise(column.fill_nan(None).cast(pl.String))
        )
    elif dtype in (pl.Object, pl.Null):
        return pl.lit(None, dtype=pl.String).alias(name)
    elif dtype != pl.String:
        column = column.cast(pl.String)
    return pl.when(column != "").then(column) if dtype in (pl.String, pl.Binary) else column
