"""What the fitted rows decide: what becomes of a column by itself, and which columns say the same.

Each rule is told by the column's reason; none looks at the order of rows or columns."""

import hashlib
import math
import re
from typing import Any

import polars as pl

from nbsrc.events.text import as_text
from nbsrc.tabular.columns import Column, kind_of
from nbsrc.tabular.expressions import HOUR, each, is_missing, value
from nbsrc.tabular.values import as_number, as_port

TIME_COLUMNS = ("time", "time_dt", "start_time", "end_time")  # OCSF's; the first there is counts
# An event's own time in other logs, by the last part of its name.
OWN_TIME = re.compile(
    r"[@_]?(timestamp|time)|ts|(event|utc|system)_?time|datetime|published|time_?(created|local)",
    re.IGNORECASE,
)
# How much of a day, or a week, moments must cover, that an hour or weekday without any is unusual.
DAY, WEEK = 18 * HOUR, 6 * 24 * HOUR
EVENT_ID = "metadata.uid"
FEW = 20  # values below which no share of distinct ones means anything
DISTINCT = 0.5  # above this share of distinct values a text names single events
DISTINCT_ID = 0.05  # the same, for UUIDs and hashes: a trace or session spans a few events
ID_FORMAT = r"^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-.*|(?:0x)?[0-9a-fA-F]{16,}|[0-9A-HJKMNP-TV-Z]{26})$"
ENUMERATION = 32  # with at most this many distinct values each of them is kept, however rare
PORT_BUCKETS = ("1024-49151", "49152-65535")  # IANA's registered and dynamic ports
NO_COUNTS = pl.DataFrame(schema={"value": pl.String, "count": pl.UInt32})


def counts_of(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """For each column the distinct values as texts, and how often each comes (`value`, `count`);
    without what is missing."""
    # All in one query, on all cores; most columns are mostly null.
    found = rows.select(
        pl.col(name).drop_nulls().alias("value").value_counts().implode().alias(name)
        for name, dtype in rows.schema.items()
        if dtype not in (pl.Object, pl.Null)
    )
    return [
        _texts(found[name].explode().struct.unnest(), dtype) if name in found else NO_COUNTS
        for name, dtype in rows.schema.items()
    ]


def _texts(counts: pl.DataFrame, dtype: pl.DataType) -> pl.DataFrame:
    if dtype == pl.String:
        return counts.filter(pl.col("value") != "")
    counts = counts.with_columns(as_text("value", dtype).alias("value")).drop_nulls()
    # Two values may have one text, but for integers.
    return counts if dtype.is_integer() else counts.group_by("value").sum()


def _by_frequency(counts: pl.DataFrame) -> pl.DataFrame:
    return counts.sort(["count", "value"], descending=[True, False])


# ---- A column by itself


def judge(
    series: pl.Series, counts: pl.DataFrame, *, excluded: bool, max_categories: int
) -> Column:
    """What becomes of a column; its counts are those of `counts_of`."""
    present = int(counts["count"].sum())
    missing = (len(series) - present) / max(len(series), 1)
    if excluded:
        return Column(series.name, "", "dropped", "excluded", missing)
    if not present:
        return Column(series.name, "", "dropped", "no value", missing=1.0)
    kind, reason, entity = kind_of(series, counts)
    column = Column(series.name, kind, reason=reason, missing=missing)
    if kind == "time":
        return column
    if counts.height == 1 and present == len(series):
        column.drop("constant")
    elif kind == "identifier":
        column.drop("")
    elif kind == "quantity":
        _scale(column, series)
    elif kind == "port":
        _choose_ports(column, series)
    elif not entity and (why := _names_events(counts["value"], present)):
        column.drop(why)
    elif series.name == EVENT_ID:
        column.drop("it names events, if not single ones")
    else:
        _choose_values(column, _by_frequency(counts), max_categories)
    return column


def _names_events(values: pl.Series, present: int) -> str:
    """How one knows that a category's values name single events; empty where they do not."""
    share = len(values) / present
    if present >= FEW and share > DISTINCT:
        return f"{share:.0%} of its values are distinct: it names or words single events"
    if present >= FEW and share > DISTINCT_ID and values.str.contains(ID_FORMAT).mean() > 0.9:  # type: ignore[operator]
        return f"{share:.0%} of its values are distinct, and written as ids or hashes"
    return ""


def names_events(c: Column) -> bool:
    """Whether a column was dropped because its values name single events."""
    told = "values are distinct" in c.reason or c.reason.endswith("no value comes twice")
    return c.kind == "identifier" or told


def _choose_values(column: Column, counts: pl.DataFrame, max_categories: int) -> None:
    if counts.height <= ENUMERATION:
        column.values = counts["value"].head(max_categories).to_list()
        return
    frequent = counts.filter(pl.col("count") > 1).head(max_categories)
    if frequent.height:
        column.values = frequent["value"].to_list()
        if rare := counts.height - frequent.height:
            column.reason += f"; rare values share index 1 ({rare})"
    else:
        column.drop("no value comes twice")


def _choose_ports(column: Column, series: pl.Series) -> None:
    ports = series.to_frame().select(as_port(series.name, series.dtype))
    counts = _by_frequency(counts_of(ports)[0])
    often = max(5, 0.001 * len(series))
    own = counts.filter((pl.col("value").cast(pl.Int64) < 1024) | (pl.col("count") >= often))
    column.values = [*own["value"], *PORT_BUCKETS]
    if rare := counts.height - own.height:
        column.reason += f"; rare ports are known by their range ({rare})"


def _scale(column: Column, series: pl.Series) -> None:
    values = series.to_frame().select(as_number(series.name, series.dtype)).to_series().drop_nulls()
    if values.n_unique() < 2 and len(values) == len(series):
        column.drop("constant")
        return
    magnitudes = values.abs()
    if _quantile(magnitudes, 0.99) > 10 * max(_quantile(magnitudes, 0.5), 1e-9):
        column.log = True
        column.reason += "; heavy tail, log(1 + x)"
        values = values.sign() * values.abs().log1p()
    column.center = _quantile(values, 0.5)
    for low, high in ((0.25, 0.75), (0.01, 0.99), (0.0, 1.0)):
        scale = _quantile(values, high) - _quantile(values, low)
        if math.isfinite(scale) and scale > 0:
            column.scale = scale
            break


def _quantile(values: pl.Series, q: float) -> float:
    return float(values.quantile(q, "nearest") or 0.0)


# ---- Columns that say the same


def drop_near_times(rows: pl.DataFrame, columns: list[Column]) -> None:
    """Keep one of the moments that are within an hour of each other in nine of ten events that have
    both."""
    kept: list[tuple[str, pl.Series]] = []
    times = [c for c in columns if c.kind == "time"]
    all_moments = each(rows, times, value)

    def place(c: Column) -> tuple[bool | str, ...]:
        return *(c.column != name for name in TIME_COLUMNS), not is_own(c), c.column

    for c in sorted(times, key=place):
        moments = all_moments[c.column]
        near = next((name for name, other in kept if _is_near(moments, other)), None)
        if moments.n_unique() == 1:
            c.drop("constant")
        elif near:
            c.drop(f"within an hour of {near}")
        else:
            kept.append((c.column, moments))


def is_own(c: Column) -> bool:
    """Whether the name of a column says that it is an event's own time."""
    return OWN_TIME.fullmatch(c.column.rpartition(".")[2]) is not None


def has_moments(c: Column) -> bool:
    """Whether a column of times is kept, or was but for `tell_cycles`."""
    return c.kept or not c.hours


def tell_cycles(rows: pl.DataFrame, columns: list[Column]) -> None:
    """Let hours and weekdays tell nothing where nearly all moments are of less than a day, or a
    week: those that the next events bring would all be new. That is so of an event's own time, and
    of those that differ from event to event; others, as of certificates, come again."""
    times = [c for c in columns if c.kind == "time" and c.kept]
    for c, moments in zip(times, each(rows, times, value), strict=True):
        often = moments.drop_nulls().n_unique() <= DISTINCT * moments.count()
        if often and not (is_own(c) or c.column in TIME_COLUMNS):
            continue
        span = _quantile(moments, 0.99) - _quantile(moments, 0.01)
        c.hours, c.weekdays = span >= DAY, span >= WEEK
        if not c.hours:
            c.drop("all within less than a day: no hour is unusual")
        elif not c.weekdays:
            c.reason += "; within less than a week: no weekday is unusual"


def _is_near(a: pl.Series, b: pl.Series) -> bool:
    apart = (a - b).abs().drop_nulls()
    both = len(apart) >= 0.9 * (len(a) - a.null_count())
    return both and (apart < HOUR).sum() >= 0.9 * len(apart)


def drop_repetitions(rows: pl.DataFrame, columns: list[Column], counts: list[pl.DataFrame]) -> None:
    """Drop what says the same as another column: its very values, or, of one object, the caption of
    its id."""
    often = {c.column: of["count"] for c, of in zip(columns, counts, strict=True)}
    alike: dict[Any, list[Column]] = {}  # only these can be one-to-one
    for c in sorted((c for c in columns if c.kept and c.kind != "time"), key=_preference):
        own = often[c.column]
        key = (c.kind == "quantity", len(own), own.sum(), *own.top_k(FEW).sort())
        alike.setdefault(key, []).append(c)
    groups = [group for group in alike.values() if len(group) > 1]
    values = each(rows, [c for group in groups for c in group], value)
    hashes = values.select(pl.all().hash())

    def one_to_one(a: str, b: str) -> bool:
        pairs = (hashes[a] ^ (hashes[b] * 3)).n_unique()
        return (values[a].is_null() == values[b].is_null()).all() and (
            pairs == len(often[b]) + values[b].has_nulls()
        )

    for group in groups:
        for i, c in enumerate(group):
            for other in (other.column for other in group[:i]):
                if (hashes[other] == hashes[c.column]).all():
                    c.drop(f"the same values as {other}")
                    break
                of_one_object = c.kind != "quantity" and _object(c.column) == _object(other)
                if of_one_object and one_to_one(other, c.column):
                    c.drop(f"one-to-one with {other} of the same object")
                    break


def _preference(c: Column) -> tuple[bool, int, str]:
    return "enumeration" not in c.reason, len(c.column), c.column


def _object(name: str) -> str:
    return name.rpartition(".")[0]


def tell_missing(rows: pl.DataFrame, columns: list[Column]) -> None:
    """See to it that what is missing together is told once."""
    kept = [c for c in columns if c.kept]
    missing = each(rows, kept, is_missing)
    masks = {_digest(missing[c.column]) for c in kept if c.values is not None}
    for c in (c for c in kept if c.values is None):
        mask = _digest(missing[c.column])
        if missing[c.column].any() and mask not in masks:
            masks.add(mask)
            c.present = True


def _digest(series: pl.Series) -> bytes:
    return hashlib.blake2b(series.to_numpy().tobytes()).digest()
