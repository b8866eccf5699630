"""A value as a number, a port or a moment, whatever type its column has; null where it is none.

Expressions over one column, as `nbsrc.events.text.as_text` is."""

import polars as pl

TIME_FORMATS = (
    "%+", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%d-%b-%Y:%H:%M:%S %z",
)  # fmt: skip
# A text that has a year and a month; 02/Mar/2026 as web servers write it, /Date(0)/ as .NET does.
DATED = r"\d{4}[-/]\d|^\d\d/[A-Z][a-z][a-z]/\d{4}:|^/Date\(-?\d+"
FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999, in ms


def as_number(name: str, dtype: pl.DataType) -> pl.Expr:
    """The value as a finite number; a duration in milliseconds."""
    column = pl.col(name)
    if dtype == pl.Duration:
        column = column.dt.total_milliseconds()
    elif not (dtype.is_numeric() or dtype == pl.String):
        return pl.lit(None, dtype=pl.Float64).alias(name)
    column = column.cast(pl.Float64, strict=False)
    return pl.when(column.is_finite()).then(column)


def as_port(name: str, dtype: pl.DataType) -> pl.Expr:
    """The value as a whole number from 0 to 65535."""
    port = as_number(name, dtype).cast(pl.Int64, strict=False)
    return pl.when(port.is_between(0, 65535)).then(port)


def as_moment(name: str, dtype: pl.DataType) -> pl.Expr:
    """The value as UTC epoch milliseconds; 0 is no moment."""
    column = pl.col(name)
    if dtype in (pl.Date, pl.Datetime):
        moment = column.cast(pl.Datetime("ms")).dt.epoch("ms")
    elif dtype == pl.String:
        iso = column.str.strip_chars().str.replace_all("/", "-", literal=True)
        parsed = [
            iso.str.to_datetime(f, time_unit="ms", time_zone="UTC", strict=False).dt.epoch("ms")
            for f in TIME_FORMATS
        ]
        number = column.str.strip_prefix("/Date(").str.strip_suffix(")/")
        moment = pl.coalesce(_epoch(number.cast(pl.Float64, strict=False)), *parsed)
    elif dtype.is_numeric():
        moment = _epoch(column.cast(pl.Float64))
    else:
        return pl.lit(None, dtype=pl.Int64).alias(name)
    return pl.when(moment.is_between(FIRST, LAST) & (moment != 0)).then(moment).alias(name)


def as_dated_moment(name: str) -> pl.Expr:
    """The moment of a text that is written as a date."""
    return pl.when(pl.col(name).str.contains(DATED)).then(as_moment(name, pl.String()))


def _epoch(number: pl.Expr) -> pl.Expr:
    """Seconds, milliseconds, microseconds or nanoseconds to milliseconds, by size: all four name
    1973 to 5138."""
    size = number.abs()
    seconds = pl.when(size < 1e11).then(number * 1e3)
    by_size = seconds.when(size < 1e14).then(number).when(size < 1e17).then(number / 1e3)
    return by_size.otherwise(number / 1e6).cast(pl.Int64, strict=False)
