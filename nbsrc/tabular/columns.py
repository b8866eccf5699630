"""What kind of column it is: a category, a port, a quantity, a time, or an identifier.

The OCSF schema says it; of columns that the schema does not know, the values of the fitted rows."""

import re
from dataclasses import dataclass

import polars as pl

from nbsrc.events.schema import schema_type
from nbsrc.tabular.values import as_dated_moment, as_moment, as_number

CODES = 64  # whole numbers that nothing is known of are codes, with at most so many distinct ones
WHOLE = "distinct whole numbers"  # a reason
ENTITIES = re.compile(r"(ip|hostname|username|email|mac|subnet|file_name|process_name)_t")
MEASURES = re.compile(
    r"bytes|packets|count|size|length|duration|latency|total|score|percent|ratio|rate|memory"
)
TIMES = re.compile(r"(.*([Tt]ime|[Tt]imestamp|TIMESTAMP|[Dd]ate|_at|[a-z]At|[Ee]poch)|(.*_)?ts)")
CENTURY = 946_684_800, 4_102_444_800  # 2000 and 2100, in seconds since 1970
SECONDS = 1, 10**3, 10**6, 10**9  # a second in seconds, milli-, micro- and nanoseconds


@dataclass
class Column:
    """What the fitted rows decided for one column."""

    column: str
    kind: str
    decision: str = "kept"
    reason: str = ""
    missing: float = 0.0
    values: list[str] | None = None  # of a category, in the order of their indices
    present: bool = False  # whether its presence is a category of its own
    hours: bool = True  # of a time: whether its hour tells anything, and its weekday
    weekdays: bool = True
    log: bool = False
    center: float = 0.0
    scale: float = 1.0

    @property
    def kept(self) -> bool:
        """Whether the network gets it."""
        return self.decision == "kept"

    @property
    def cardinality(self) -> int | None:
        """Of a category, with the two reserved indices."""
        return None if self.values is None else len(self.values) + 2

    @property
    def numbers(self) -> list[float] | None:
        """Of a category of whole numbers that nothing else is known of: these numbers."""
        if self.values is None or WHOLE not in self.reason:
            return None
        return [float(value) for value in self.values]

    def drop(self, reason: str) -> None:
        """Let the network get nothing of it."""
        self.decision, self.values, self.present = "dropped", None, False
        self.reason = "; ".join(filter(None, (self.reason, reason)))


def kind_of(series: pl.Series, counts: pl.DataFrame) -> tuple[str, str, bool]:
    """Kind and reason of a column with values, and whether those name things that come again
    (hosts, users).

    counts: its distinct values as texts, and how often each comes: `value`, `count`.
    """
    known, dtype, values = schema_type(series.name), series.dtype, counts["value"]
    last = series.name.rpartition(".")[2]
    if known:
        return _known_kind(*known, last, values)
    if last == "length" and dtype == pl.Int64:
        return "quantity", "values: length of a list", False
    if dtype.is_temporal() and dtype not in (pl.Duration, pl.Time):
        return "time", "values: dates", False
    named = TIMES.fullmatch(last) is not None
    if named and (dtype.is_float() or dtype == pl.String) and _of_this_century(values):
        return "time", "values: since 1970, named a time", False
    if dtype == pl.Duration or dtype.is_float() or dtype.is_decimal():
        return "quantity", "values: numbers with a fraction", False
    if dtype.is_integer():
        return (*_integer_kind(last, series, counts.height), False)
    if dtype == pl.String and _parses(as_dated_moment("value"), values):
        return "time", "values: dates", False
    return "category", "values: true or false" if dtype == pl.Boolean else "values: texts", False


def _known_kind(
    type_name: str, enumeration: bool, last: str, values: pl.Series
) -> tuple[str, str, bool]:
    """The kind of a column that the schema knows, unless its values are something else."""
    said = f"schema: {type_name}" + (", enumeration" if enumeration else "")
    if type_name in ("timestamp_t", "datetime_t") and _parses(
        as_moment("value", pl.String()), values.filter(values != "0")
    ):
        return "time", said, False
    if type_name == "port_t":
        return "port", said, False
    number = type_name in ("integer_t", "long_t", "float_t") and not enumeration
    if number and not last.endswith("id") and _parses(as_number("value", pl.String()), values):
        if type_name != "integer_t" or MEASURES.search(last) or len(values) > CODES:
            return "quantity", said, False
        return "category", f"{said}; {len(values)} distinct values", False
    return "category", said, ENTITIES.fullmatch(type_name) is not None


def _integer_kind(last: str, series: pl.Series, distinct: int) -> tuple[str, str]:
    present = len(series) - series.null_count()
    low, high = int(series.min()), int(series.max())  # type: ignore[arg-type]
    if last.endswith("port") and low >= 0 and high <= 65535:
        return "port", "values: 0 to 65535, named port"
    if low >= 1000 * CENTURY[0] and high < 1000 * CENTURY[1]:
        return "time", "values: milliseconds of this century"
    if TIMES.fullmatch(last) and low >= CENTURY[0]:
        return "time", "values: since 1970, named a time"
    if last.endswith("id"):
        return "category", "values: whole numbers, named an id"
    if MEASURES.search(last):
        return "quantity", "values: whole numbers, named a measure"
    if distinct <= CODES:
        return "category", f"values: {distinct} {WHOLE}"
    if distinct > 0.95 * present and (high - low < 2 * present or high > 10**15):
        share = f"{distinct / present:.0%} distinct, counted up or over 10^15"
        return "identifier", f"values: whole numbers, {share}"
    return "quantity", "values: whole numbers"


def _of_this_century(texts: pl.Series) -> bool:
    """Whether nine of ten distinct values are numbers since 1970 of these hundred years."""
    number = as_number("value", pl.String())
    within = [number.is_between(CENTURY[0] * own, CENTURY[1] * own) for own in SECONDS]
    return _parses(pl.when(pl.any_horizontal(within)).then(number), texts)


def _parses(parsed: pl.Expr, values: pl.Series) -> bool:
    """Whether nine of ten distinct values make sense as what `parsed` reads from them: of many, of
    the first 1000."""
    values = values.sort().head(1000)
    parse: int = values.to_frame().select(parsed.is_not_null().sum()).item()
    return parse >= 0.9 * len(values)
