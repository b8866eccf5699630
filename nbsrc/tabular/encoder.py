"""Flat event columns in, arrays out: which column is a category, a quantity or a time, and what
becomes of it.

The kind of a column is what the OCSF schema says it is; where the schema does not know the column,
its values decide. Everything else is decided by the values of the fitted rows alone, and told by
`EventEncoder.describe()`."""

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import compress
from pathlib import Path
from typing import Any, Self

import numpy as np
import ocsf_json_schema  # type: ignore[import-untyped]
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from sklearn.base import BaseEstimator  # type: ignore[import-untyped]
from sklearn.utils.validation import check_is_fitted  # type: ignore[import-untyped]

from nbsrc.events.text import as_text

MISSING, UNSEEN = 0, 1  # the two reserved indices of each category; its own values start at 2
FORMAT = 1  # of the saved encoder

FEW = 20  # values below which no share of distinct ones means anything
DISTINCT = 0.5  # above this share of distinct values a text names single events
DISTINCT_ID = (
    0.05  # the same, for texts written as UUIDs or hashes: a trace or session spans a few events
)
ENUMERATION = 32  # with at most this many distinct values each of them is kept, however rare
CODES = (
    64  # whole numbers of which the schema says no more: up to this many distinct ones are codes
)
CLIP = 10.0  # in units of the interquartile range
HOUR = 3_600_000  # ms
# rows that one thread encodes at once: what lies between them and the arrays stays small
AT_ONCE = 10_000
TIME_COLUMNS = (
    "time",
    "time_dt",
    "start_time",
    "end_time",
)  # OCSF's; an event's time is the first that is there
ANGLES = ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos")
PORT_BUCKETS = ("1024-49151", "49152-65535")  # IANA's registered and dynamic ports

ENTITIES = {
    "ip_t",
    "hostname_t",
    "username_t",
    "email_t",
    "mac_t",
    "subnet_t",
    "file_name_t",
    "process_name_t",
}
MEASURES = re.compile(
    r"bytes|packets|count|size|length|duration|latency|total|score|percent|ratio|rate|memory"
)
ID_FORMAT = r"^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-.*|(?:0x)?[0-9a-fA-F]{16,}|[0-9A-HJKMNP-TV-Z]{26})$"
WHOLE = re.compile(r"0|-?[1-9]\d{0,18}")  # as an integer is written
TIME_FORMATS = ("%+", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d")


@dataclass(frozen=True)
class EncodedEvents:
    """Events as arrays. `time` is each event's own time (UTC, epoch milliseconds, 0 where unknown),
    not a feature.

    It is `time`, `time_dt`, `start_time` or `end_time`; of events fitted without these, the only
    column of times. Shapes: numeric (rows, quantities) float32, finite; categorical (rows,
    categories) int64, each column's values below its cardinality, 0 for missing and 1 for unseen
    (or rare) values; time (rows,) int64."""

    numeric: np.ndarray
    categorical: np.ndarray
    cardinalities: tuple[int, ...]
    numeric_names: tuple[str, ...]
    categorical_names: tuple[str, ...]
    time: np.ndarray


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
    log: bool = False
    center: float = 0.0
    scale: float = 1.0


class EventEncoder(BaseEstimator):
    """Turn a flattened frame (`nbsrc.events.flatten`) into arrays, by rules that hold for any OCSF
    events.

    - **categories**: enumerations, booleans, codes, texts. Index 0 is missing (null or an empty
      text), 1 is unseen; the `max_categories` most frequent values have an index of their own, and
      so does every value where they are at most 32; beyond those, values that come once or are not
      among the most frequent share index 1.
    - **ports**: categories of 0-1023, of the ports that 0.1% of the rows (and five of them) have,
      and of the ranges 1024-49151 and 49152-65535 for all others.
    - **quantities**: sign(x) log(1 + |x|) where heavy-tailed (the 99th percentile of |x| is over
      ten times the median), minus the median, divided by the interquartile range, clipped to 10 of
      those. Missing is 0, the median; that it is missing is a category, `NAME.present`, once for
      all columns that are missing together.
    - **times**: sine and cosine of the hour of the day and of the day of the week, in UTC, of the
      moments that are not within an hour of the event's own time. Numbers are seconds,
      milliseconds, micro- or nanoseconds since 1970, by their size; 0 is missing.
    - dropped: constants; identifiers of single events, by how many of their values are distinct and
      how those are written; repetitions; what `exclude` names, with all below. A column repeats
      another one if it has the very same values in the same rows, or if it is a category of the
      same object (`actor.user.uid` and `actor.user.name`, or two attributes of the event itself),
      one-to-one with it, and missing in the same rows (an id and its caption). A host of which each
      user has one is no repetition of the user: one day a known user comes from another host.

    Kinds come from the newest OCSF schema in `ocsf_json_schema`, whatever `metadata.version` says:
    attributes keep their type from version to version, and those unknown to it are judged by their
    values.

    >>> rows = pl.DataFrame({"severity_id": [1, 1, 4, None], "traffic.bytes": [10, 12, None, 14]})
    >>> encoded = EventEncoder().fit_transform(rows)
    >>> encoded.categorical_names, encoded.cardinalities
    (('severity_id', 'traffic.bytes.present'), (4, 3))
    >>> encoded.categorical.tolist()
    [[2, 2], [2, 2], [3, 0], [0, 2]]
    """

    def __init__(self, *, exclude: tuple[str, ...] = (), max_categories: int = 256) -> None:
        self.exclude = exclude
        self.max_categories = max_categories

    def fit(self, rows: pl.DataFrame, y: None = None) -> Self:
        """Decide on every column from `rows` alone; neither the order of rows nor that of columns
        matters.

        Raises ValueError if a column is nested, or `max_categories` is not positive.
        """
        if self.max_categories < 1:
            raise ValueError(f"max_categories must be positive, however: {self.max_categories}")
        _refuse_nested(rows)
        rows = pl.DataFrame([rows[name] for name in sorted(rows.columns)])
        counts = _counts(rows)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            columns = list(pool.map(self._judge, rows.get_columns(), counts))
        _drop_near_times(rows, columns)
        _drop_repetitions(
            rows,
            columns,
            {c.column: often["count"] for c, often in zip(columns, counts, strict=True)},
        )
        _tell_missing(rows, columns)
        self.columns_ = columns
        self._forget()
        return self

    def transform(self, rows: pl.DataFrame) -> EncodedEvents:
        """Encode `rows`, each by itself. Columns unknown at fit are ignored with one warning;
        absent ones are missing.

        Raises NotFittedError before `fit`; ValueError if a column is nested.
        """
        check_is_fitted(self, "columns_")
        _refuse_nested(rows)
        new = sorted(set(rows.columns) - {c.column for c in self.columns_} - self._warned)
        new = [name for name in new if not self._excluded(name)]
        if new:
            self._warned.update(new)
            more = f" and {len(new) - 5} more" if len(new) > 5 else ""
            warnings.warn(
                f"columns unknown at fit are ignored: {', '.join(new[:5])}{more}", stacklevel=2
            )
        kept, schema = self._kept(), rows.schema
        numbers, categories = (
            [c for c in kept if c.values is None],
            [c for c in kept if c.values is not None],
        )
        told = [c.present for c in numbers]
        amounts = self._over(schema, numbers, _number)
        indices = self._over(schema, categories, _index)
        nulls = self._over(schema, categories, _null)
        numeric = np.empty((rows.height, len(self._numeric_names())), np.float32)
        categorical = np.empty((rows.height, len(self._categorical_names())), np.int64)

        def encode(start: int) -> None:
            here, part = slice(start, start + AT_ONCE), rows.slice(start, AT_ONCE)
            values = _matrix(part, amounts, math.nan)
            for i, x in enumerate(
                x for c, own in zip(numbers, values.T, strict=True) for x in _features(c, own)
            ):
                numeric[here, i] = x
            missing = _matrix(part, nulls, True)
            categorical[here, : len(categories)] = np.where(
                missing, MISSING, _matrix(part, indices, np.int32(UNSEEN))
            )
            categorical[here, len(categories) :] = np.where(
                np.isnan(values[:, told]), MISSING, UNSEEN + 1
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(encode, range(0, rows.height, AT_ONCE)))
        return EncodedEvents(
            numeric=numeric,
            categorical=categorical,
            cardinalities=tuple(self._cardinalities()),
            numeric_names=self._numeric_names(),
            categorical_names=self._categorical_names(),
            time=self._times(rows),
        )

    def fit_transform(self, rows: pl.DataFrame, y: None = None) -> EncodedEvents:
        """`fit(rows).transform(rows)`."""
        return self.fit(rows).transform(rows)

    def get_feature_names_out(self, input_features: None = None) -> np.ndarray:
        """The names of the numeric columns, then of the categorical ones. Raises NotFittedError
        before `fit`."""
        check_is_fitted(self, "columns_")
        return np.array(self._numeric_names() + self._categorical_names(), dtype=object)

    def describe(self) -> pl.DataFrame:
        """One row a column of the fitted frame: column, kind, decision, reason, cardinality, scale,
        missing.

        `cardinality` counts the two reserved indices; `scale` is the interquartile range by which a
        quantity is divided (after the logarithm, where the reason says so); `missing` is a share of
        the rows. Raises NotFittedError before `fit`."""
        check_is_fitted(self, "columns_")
        rows = [
            (
                c.column,
                c.kind,
                c.decision,
                c.reason,
                None if c.values is None or c.decision != "kept" else len(c.values) + 2,
                c.scale if c.kind == "quantity" and c.decision == "kept" else None,
                c.missing,
            )
            for c in self.columns_
        ]
        schema = {
            "column": pl.String,
            "kind": pl.String,
            "decision": pl.String,
            "reason": pl.String,
            "cardinality": pl.Int64,
            "scale": pl.Float64,
            "missing": pl.Float64,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted encoder into the folder `path` (made if need be): encoder.json and
        scales.safetensors."""
        check_is_fitted(self, "columns_")
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        columns = [asdict(c) for c in self.columns_]
        tensors = save_tensors(
            {
                key: np.array([c.pop(key) for c in columns], np.float64)
                for key in ("center", "scale")
            }
        )
        fitted = {
            "exclude": list(self.exclude),
            "max_categories": self.max_categories,
            "columns": columns,
        }
        content = {"format": FORMAT, "sha256": _checksum(fitted, tensors), "encoder": fitted}
        for name, data in (
            ("scales.safetensors", tensors),
            ("encoder.json", json.dumps(content).encode()),
        ):
            part = folder / (name + ".part")
            part.write_bytes(data)
            os.replace(part, folder / name)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The encoder saved in the folder `path`.

        Raises FileNotFoundError if there is none, ValueError if it is damaged or of a newer format.
        """
        folder = Path(path)
        if not (folder / "encoder.json").exists():
            raise FileNotFoundError(f"no saved encoder in {folder}: encoder.json is not there")
        try:
            content = json.loads((folder / "encoder.json").read_bytes())
            if content["format"] != FORMAT:
                raise ValueError(
                    f"its format is {content['format']}, and this version of nbsrc reads {FORMAT}"
                )
            fitted, tensors = content["encoder"], (folder / "scales.safetensors").read_bytes()
            if content["sha256"] != _checksum(fitted, tensors):
                raise ValueError("encoder.json and scales.safetensors are not as they were saved")
            scales = load_tensors(tensors)
            encoder = cls(exclude=tuple(fitted["exclude"]), max_categories=fitted["max_categories"])
            encoder.columns_ = [
                Column(**c, center=float(center), scale=float(scale))
                for c, center, scale in zip(
                    fitted["columns"], scales["center"], scales["scale"], strict=True
                )
            ]
            encoder._forget()
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OSError,
            RecursionError,
            SafetensorError,
        ) as error:
            raise ValueError(f"the encoder in {folder} cannot be loaded: {error}") from error
        return encoder

    def _forget(self) -> None:
        """What does not outlive a fit: columns that were warned of, expressions over the columns by
        their types."""
        self._warned: set[str] = set()
        self._made: dict[tuple[Any, str, pl.DataType], pl.Expr] = {}

    def _over(
        self,
        schema: pl.Schema,
        columns: list[Column],
        expression: Callable[[Column, pl.DataType], pl.Expr],
    ) -> list[pl.Expr | None]:
        """The expression over each column, None for those that are not there."""
        return [
            self._expression(c, schema[c.column], expression) if c.column in schema else None
            for c in columns
        ]

    def _expression(
        self, c: Column, dtype: pl.DataType, expression: Callable[[Column, pl.DataType], pl.Expr]
    ) -> pl.Expr:
        key = (
            expression,
            c.column,
            dtype,
        )  # to make 500 of them takes as long as to encode 1000 events
        if key not in self._made:
            self._made[key] = expression(c, dtype).alias(c.column)
        return self._made[key]

    def _times(self, rows: pl.DataFrame) -> np.ndarray:
        time = pl.repeat(None, rows.height, dtype=pl.Int64, eager=True)
        for name in self._time_columns():
            if name in rows.columns and time.has_nulls():
                moments = rows.select(name).with_columns(_moment(name, rows.schema[name]))[name]
                time = time.zip_with(time.is_not_null(), moments)
        return time.fill_null(0).to_numpy().copy()

    def _excluded(self, name: str) -> bool:
        return any(name == field or name.startswith(field + ".") for field in self.exclude)

    def _judge(self, series: pl.Series, counts: pl.DataFrame) -> Column:
        name = series.name
        present = int(counts["count"].sum())
        missing = _share(len(series) - present, len(series))
        if self._excluded(name):
            return Column(name, "", "dropped", "excluded", missing=missing)
        if not present:
            return Column(name, "", "dropped", "no value", missing=1.0)
        kind, reason, entity = _kind(name, series, counts)
        column = Column(name, kind, reason=reason, missing=missing)
        if kind == "time":
            return column
        if counts.height == 1 and present == len(series):
            return _drop(column, "constant")
        if kind == "identifier":
            return _drop(column, "")
        if kind == "quantity":
            return _fit_quantity(column, series)
        if kind == "port":
            return _fit_port(column, series)
        share = counts.height / present
        if present >= FEW and not entity:
            if share > DISTINCT:
                return _drop(
                    column,
                    f"{share:.0%} of its values are distinct: it names or words single events",
                )
            if share > DISTINCT_ID and counts["value"].str.contains(ID_FORMAT).mean() > 0.9:  # type: ignore[operator]
                return _drop(
                    column, f"{share:.0%} of its values are distinct, and written as ids or hashes"
                )
        counts = _by_frequency(counts)
        if counts.height > ENUMERATION:
            frequent = counts.filter(pl.col("count") > 1).head(self.max_categories)
            if not frequent.height:
                return _drop(column, "no value comes twice")
            column.reason += f"; {counts.height - frequent.height} rare values share index 1"
            column.values = frequent["value"].to_list()
        else:
            column.values = counts["value"].head(self.max_categories).to_list()
        return column

    def _kept(self) -> list[Column]:
        return [c for c in self.columns_ if c.decision == "kept"]

    def _time_columns(self) -> tuple[str, ...]:
        """What an event's time is read from: OCSF's times; where none of them was there, the only
        time that is kept."""
        times = [c for c in self.columns_ if c.kind == "time"]
        kept = tuple(c.column for c in times if c.decision == "kept")
        ocsf = any(c.column in TIME_COLUMNS for c in times)
        return TIME_COLUMNS if ocsf or len(kept) != 1 else kept

    def _numeric_names(self) -> tuple[str, ...]:
        names: list[str] = []
        for c in self._kept():
            if c.kind == "quantity":
                names.append(c.column)
            elif c.kind == "time":
                names += [f"{c.column}.{angle}" for angle in ANGLES]
        return tuple(names)

    def _categorical_names(self) -> tuple[str, ...]:
        kept = self._kept()
        own = [c.column for c in kept if c.values is not None]
        return tuple(own + [f"{c.column}.present" for c in kept if c.present])

    def _cardinalities(self) -> list[int]:
        kept = self._kept()
        return [len(c.values) + 2 for c in kept if c.values is not None] + [
            3 for c in kept if c.present
        ]


def _checksum(fitted: dict[str, Any], tensors: bytes) -> str:
    return hashlib.sha256(json.dumps(fitted, sort_keys=True).encode() + tensors).hexdigest()


# What kind of column it is.


@lru_cache
def _schema() -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes that any OCSF class may have, and the objects, of the newest released version
    in the package."""
    released = [
        v for v in ocsf_json_schema.get_packaged_versions() if re.fullmatch(r"\d+(\.\d+)*", v)
    ]
    schema = ocsf_json_schema.get_ocsf_schema(
        max(released, key=lambda v: [int(n) for n in v.split(".")])
    )
    dictionary = schema.get("dictionary", {}).get("attributes") or schema.get(
        "dictionary_attributes", {}
    )
    classes = {
        name: a
        for c in schema["classes"].values()
        for name, a in c["attributes"].items()
        if a.get("enum")
    }
    return {**dictionary, **classes}, schema["objects"]


@lru_cache(maxsize=65536)
def schema_type(name: str) -> tuple[str, bool] | None:
    """The OCSF type of a flattened column (`traffic.bytes` is `long_t`) and whether it is an
    enumeration.

    None for a column that the schema does not know.
    """
    attributes, objects = _schema()
    parts = name.split(".")
    attribute: dict[str, Any] = {}
    for i, part in enumerate(parts):
        if attribute.get("is_array") and part == "first":
            continue
        if part not in attributes:
            return None
        attribute = attributes[part]
        if attribute.get("type") == "object_t":
            attributes = objects.get(attribute.get("object_type", ""), {}).get("attributes", {})
        else:
            attributes = {}
    type_name = attribute.get("type", "")
    return (
        None
        if type_name in ("object_t", "json_t", "")
        else (type_name, bool(attribute.get("enum")))
    )


def _kind(name: str, series: pl.Series, counts: pl.DataFrame) -> tuple[str, str, bool]:
    """Kind and reason of a column with values, and whether those name things that come again
    (hosts, users)."""
    known = schema_type(name)
    last = name.rsplit(".", 1)[-1]
    values = counts["value"]
    if known:
        kind, enumeration = known
        said = f"schema: {kind}" + (", enumeration" if enumeration else "")
        if kind in ("timestamp_t", "datetime_t") and _parses(
            _moment("value", pl.String()), values.filter(values != "0")
        ):
            return "time", said, False
        if kind == "port_t":
            return "port", said, False
        number = kind in ("integer_t", "long_t", "float_t") and not enumeration
        if number and not last.endswith("id") and _parses(_amount("value", pl.String()), values):
            if kind != "integer_t" or MEASURES.search(last) or counts.height > CODES:
                return "quantity", said, False
            return "category", f"{said}; {counts.height} distinct values", False
        return "category", said, kind in ENTITIES
    dtype = series.dtype
    if last == "length" and dtype == pl.Int64:
        return "quantity", "values: length of a list", False
    if dtype.is_temporal() and dtype not in (pl.Duration, pl.Time):
        return "time", "values: dates", False
    if dtype == pl.Duration or dtype.is_float() or dtype.is_decimal():
        return "quantity", "values: numbers with a fraction", False
    if dtype.is_integer():
        return (*_integer_kind(last, series, counts.height), False)
    if dtype == pl.String and _parses(_iso_moment("value"), values):
        return "time", "values: dates", False
    return "category", "values: true or false" if dtype == pl.Boolean else "values: texts", False


def _integer_kind(last: str, series: pl.Series, distinct: int) -> tuple[str, str]:
    present = len(series) - series.null_count()
    low, high = int(series.min()), int(series.max())  # type: ignore[arg-type]
    if last.endswith("port") and low >= 0 and high <= 65535:
        return "port", "values: 0 to 65535, named port"
    if low >= 946_684_800_000 and high < 4_102_444_800_000:
        return "time", "values: milliseconds of this century"
    if last.endswith(("time", "timestamp", "date", "_at")) and low >= 946_684_800:
        return "time", "values: since 1970, named a time"
    if last.endswith("id"):
        return "category", "values: whole numbers, named an id"
    if MEASURES.search(last):
        return "quantity", "values: whole numbers, named a measure"
    if distinct <= CODES:
        return "category", f"values: {distinct} distinct whole numbers"
    if distinct > 0.95 * present and (high - low < 2 * present or high > 10**15):
        return (
            "identifier",
            f"values: whole numbers, {_share(distinct, present):.0%} distinct, counted up or over 10^15",
        )
    return "quantity", "values: whole numbers"


def _parses(parsed: pl.Expr, values: pl.Series) -> bool:
    """Whether nine of ten distinct values make sense as what `parsed` reads from them: of many, of
    the first 1000."""
    values = values.sort().head(1000)
    return values.to_frame().select(parsed.is_not_null().sum()).item() >= 0.9 * len(values)


def _iso_moment(name: str) -> pl.Expr:
    """The moment of a text that has a year and a month."""
    return pl.when(pl.col(name).str.contains(r"\d{4}[-/]\d")).then(_moment(name, pl.String()))


# What the fitted rows decide.


def _fit_quantity(column: Column, series: pl.Series) -> Column:
    values = _apply(_amount, series).drop_nulls()
    if values.n_unique() < 2 and len(values) == len(series):
        return _drop(column, "constant")
    magnitudes = values.abs()
    if (_quantile(magnitudes, 0.99) or 0.0) > 10 * max(_quantile(magnitudes, 0.5), 1e-9):
        column.log = True
        column.reason += "; heavy tail, log(1 + x)"
        values = values.sign() * values.abs().log1p()
    column.center = _quantile(values, 0.5)
    for low, high in ((0.25, 0.75), (0.01, 0.99), (0.0, 1.0)):
        column.scale = _quantile(values, high) - _quantile(values, low)
        if math.isfinite(column.scale) and column.scale > 0:
            return column
    column.scale = 1.0
    return column


def _quantile(values: pl.Series, q: float) -> float:
    return float(values.quantile(q, "nearest") or 0.0)


def _fit_port(column: Column, series: pl.Series) -> Column:
    ports = _apply(_port, series)
    counts = _by_frequency(_counts(ports.to_frame())[0])
    often = max(5, 0.001 * len(series))
    own = counts.filter((pl.col("value").cast(pl.Int64) < 1024) | (pl.col("count") >= often))[
        "value"
    ]
    column.values = own.to_list() + list(PORT_BUCKETS)
    column.reason += f"; {counts.height - len(own)} ports are known by their range"
    return column


def _drop_near_times(rows: pl.DataFrame, columns: list[Column]) -> None:
    """Keep one of the moments that are within an hour of each other in nine of ten events that have
    both."""
    kept: list[tuple[str, pl.Series]] = []
    times = [c for c in columns if c.kind == "time" and c.decision == "kept"]
    all_moments = _each(rows, times, _value)
    for c in sorted(times, key=lambda c: (*(c.column != name for name in TIME_COLUMNS), c.column)):
        moments = all_moments[c.column]
        near = next((name for name, other in kept if _is_near(moments, other)), None)
        if moments.n_unique() == 1:
            _drop(c, "constant")
        elif near:
            _drop(c, f"within an hour of {near}")
        else:
            kept.append((c.column, moments))


def _is_near(a: pl.Series, b: pl.Series) -> bool:
    apart = (a - b).abs().drop_nulls()
    return (
        len(apart) > 0
        and (apart < HOUR).sum() >= 0.9 * len(apart)
        and len(apart) >= 0.9 * (len(a) - a.null_count())
    )


def _drop_repetitions(
    rows: pl.DataFrame, columns: list[Column], counts: dict[str, pl.Series]
) -> None:
    """Drop what says the same as another column: its very values, or, of one object, the caption of
    its id."""
    alike: dict[Any, list[Column]] = {}
    for c in sorted(
        (c for c in columns if c.decision == "kept" and c.kind != "time"), key=_preference
    ):
        often = counts[c.column]
        alike.setdefault(
            (c.kind == "quantity", len(often), often.sum(), *often.top_k(FEW).sort()), []
        ).append(c)
    groups = [group for group in alike.values() if len(group) > 1]  # only these can be one-to-one
    values = _each(rows, [c for group in groups for c in group], _value)
    hashes = values.select(pl.all().hash())
    for group in groups:
        for i, c in enumerate(group):
            for other in group[:i]:
                a, b = hashes[other.column], hashes[c.column]
                if (a == b).all():
                    _drop(c, f"the same values as {other.column}")
                    break
                if (
                    c.kind != "quantity"
                    and _parent(c.column) == _parent(other.column)
                    and (values[c.column].is_null() == values[other.column].is_null()).all()
                    and (a ^ (b * 3)).n_unique()
                    == len(counts[c.column]) + values[c.column].has_nulls()
                ):
                    _drop(c, f"one-to-one with {other.column} of the same object")
                    break


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _tell_missing(rows: pl.DataFrame, columns: list[Column]) -> None:
    """See to it that what is missing together is told once."""
    kept = [c for c in columns if c.decision == "kept"]
    missing = _each(rows, kept, _missing)
    masks = {_digest(missing[c.column]) for c in kept if c.values is not None}
    for c in (c for c in kept if c.values is None):
        mask = _digest(missing[c.column])
        if missing[c.column].any() and mask not in masks:
            masks.add(mask)
            c.present = True


def _preference(c: Column) -> tuple[bool, int, str]:
    return "enumeration" not in c.reason, len(c.column), c.column


def _digest(series: pl.Series) -> bytes:
    return hashlib.blake2b(series.to_numpy().tobytes(), digest_size=16).digest()


def _counts(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """For each column the distinct values as texts, and how often each comes; without what is
    missing."""
    columns = [name for name, dtype in rows.schema.items() if dtype not in (pl.Object, pl.Null)]
    # All in one query, on all cores; most columns are mostly null.
    values = (
        pl.col(name).drop_nulls().alias("value").value_counts().implode().alias(name)
        for name in columns
    )
    found = {
        series.name: series.explode().struct.unnest()
        for series in rows.select(values).get_columns()
    }
    return [
        _texts(found[name], dtype) if name in found else NO_COUNTS
        for name, dtype in rows.schema.items()
    ]


NO_COUNTS = pl.DataFrame(schema={"value": pl.String, "count": pl.UInt32})


def _texts(counts: pl.DataFrame, dtype: pl.DataType) -> pl.DataFrame:
    if dtype == pl.String:
        return counts.filter(pl.col("value") != "")
    counts = counts.with_columns(as_text("value", dtype).alias("value")).drop_nulls()
    return (
        counts if dtype.is_integer() else counts.group_by("value").sum()
    )  # of some types, two values have one text


def _by_frequency(counts: pl.DataFrame) -> pl.DataFrame:
    return counts.sort(["count", "value"], descending=[True, False])


def _drop(column: Column, reason: str) -> Column:
    column.decision, column.values, column.present = "dropped", None, False
    column.reason = "; ".join(filter(None, (column.reason, reason)))
    return column


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


# What a value becomes: expressions over one column, whatever type this frame has it in.


def _each(
    rows: pl.DataFrame, columns: list[Column], expression: Callable[[Column, pl.DataType], pl.Expr]
) -> pl.DataFrame:
    schema = rows.schema
    return rows.select(expression(c, schema[c.column]).alias(c.column) for c in columns)


def _apply(expression: Callable[[str, pl.DataType], pl.Expr], series: pl.Series) -> pl.Series:
    return series.to_frame().select(expression(series.name, series.dtype)).to_series()


def _value(c: Column, dtype: pl.DataType) -> pl.Expr:
    """The value as what it is to the encoder, null where it is missing."""
    if c.kind == "time":
        return _moment(c.column, dtype)
    return (_amount if c.kind == "quantity" else as_text)(c.column, dtype)


def _missing(c: Column, dtype: pl.DataType) -> pl.Expr:
    """Whether `_value` is null."""
    column = pl.col(c.column)
    if c.kind in ("quantity", "time") or dtype in (pl.Object, pl.Null, pl.Binary):
        return _value(c, dtype).is_null()
    if dtype == pl.String:
        return column.is_null() | (column == "")
    return column.is_null() | column.is_nan() if dtype.is_float() else column.is_null()


def _null(c: Column, dtype: pl.DataType) -> pl.Expr:
    """As `_missing`, but for empty texts, which `_index` knows."""
    return (
        pl.col(c.column).is_null()
        if dtype == pl.String and c.kind != "port"
        else _missing(c, dtype)
    )


def _number(c: Column, dtype: pl.DataType) -> pl.Expr:
    return _value(c, dtype).cast(pl.Float64)


def _index(c: Column, dtype: pl.DataType) -> pl.Expr:
    """The value's index among the categories (Int32); null where it is unseen."""
    assert c.values is not None
    if c.kind == "port":  # the last two values are the ranges
        port, last = _port(c.column, dtype), len(c.values) + UNSEEN
        bucket = pl.when(port >= 49152).then(last).when(port >= 1024).then(last - 1)
        return pl.coalesce(_number_index(port, c.values[:-2]), bucket).cast(pl.Int32)
    if dtype.is_signed_integer():
        return _number_index(pl.col(c.column).cast(pl.Int64), c.values)
    text = pl.col(c.column) if dtype == pl.String else as_text(c.column, dtype)
    none = (
        max(c.values, default="") + "\0"
    )  # is not among the values, and takes the index for unseen ones
    return text.cast(pl.Enum(["", none, *c.values]), strict=False).to_physical().cast(pl.Int32)


def _number_index(numbers: pl.Expr, values: list[str]) -> pl.Expr:
    whole = {int(v): i for i, v in enumerate(values, UNSEEN + 1) if WHOLE.fullmatch(v)}
    known = {v: i for v, i in whole.items() if -(2**63) <= v < 2**63}
    return numbers.replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.Int32
    )


def _port(name: str, dtype: pl.DataType) -> pl.Expr:
    port = _amount(name, dtype).cast(pl.Int64, strict=False)
    return pl.when(port.is_between(0, 65535)).then(port)


def _amount(name: str, dtype: pl.DataType) -> pl.Expr:
    """The value as a finite number, else null."""
    column = pl.col(name)
    if dtype == pl.Duration:
        column = column.dt.total_milliseconds()
    elif not (dtype.is_numeric() or dtype == pl.String):
        return pl.lit(None, dtype=pl.Float64).alias(name)
    column = column.cast(pl.Float64, strict=False)
    return pl.when(column.is_finite()).then(column)


def _moment(name: str, dtype: pl.DataType) -> pl.Expr:
    """The value as UTC epoch milliseconds, else null."""
    column = pl.col(name)
    if dtype == pl.Date or dtype == pl.Datetime:
        moment = column.cast(pl.Datetime("ms")).dt.epoch("ms")
    elif dtype == pl.String:
        iso = column.str.strip_chars().str.replace_all("/", "-", literal=True)
        parsed = [
            iso.str.to_datetime(f, time_unit="ms", time_zone="UTC", strict=False)
            for f in TIME_FORMATS
        ]
        moment = pl.coalesce(
            _epoch(column.cast(pl.Float64, strict=False)), *(p.dt.epoch("ms") for p in parsed)
        )
    elif dtype.is_numeric():
        moment = _epoch(column.cast(pl.Float64, strict=False))
    else:
        return pl.lit(None, dtype=pl.Int64).alias(name)
    return (
        pl.when(moment.is_between(-62_135_596_800_000, 253_402_300_799_999) & (moment != 0))
        .then(moment)
        .alias(name)
    )


def _epoch(number: pl.Expr) -> pl.Expr:
    """Seconds, milliseconds, microseconds or nanoseconds to milliseconds, by size: all four name
    1973 to 5138."""
    size = number.abs()
    ms = (
        pl.when(size < 1e11)
        .then(number * 1e3)
        .when(size < 1e14)
        .then(number)
        .when(size < 1e17)
        .then(number / 1e3)
        .otherwise(number / 1e6)
    )
    return ms.cast(pl.Int64, strict=False)


def _refuse_nested(rows: pl.DataFrame) -> None:
    for name, dtype in rows.schema.items():
        if dtype.is_nested():
            raise ValueError(f"column {name!r} is nested ({dtype}): flatten the events first")


def _features(c: Column, values: np.ndarray) -> list[np.ndarray]:
    """What the network gets of a quantity, or of moments in milliseconds; NaN is a missing one."""
    if c.kind == "time":
        hour = values % (24 * HOUR) / (24 * HOUR) * math.tau
        weekday = (values // (24 * HOUR) + 3) % 7 / 7 * math.tau  # 1970-01-01 was a Thursday
        features = [np.sin(hour), np.cos(hour), np.sin(weekday), np.cos(weekday)]  # ANGLES
    else:
        x = np.sign(values) * np.log1p(np.abs(values)) if c.log else values
        with np.errstate(over="ignore"):
            features = [((x - c.center) / c.scale).clip(-CLIP, CLIP)]
    return [np.nan_to_num(x, copy=False) for x in features]


def _matrix(rows: pl.DataFrame, expressions: list[pl.Expr | None], empty: Any) -> np.ndarray:
    """The expressions' values, column by column; `empty` where they are null or there is none."""
    there = [expression is not None for expression in expressions]
    if not any(there):
        return np.full((rows.height, len(expressions)), empty, order="F")
    values = rows.select(compress(expressions, there)).select(pl.all().fill_null(empty)).to_numpy()
    if all(there):
        return values
    matrix = np.full((rows.height, len(expressions)), empty, order="F")
    matrix[:, there] = values
    return matrix
