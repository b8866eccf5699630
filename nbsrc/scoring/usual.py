"""What is usual: how often each value came in the baseline, with each user, host and class."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from nbsrc.events.text import as_text
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.columns import Column
from nbsrc.tabular.expressions import value

# Where other logs than OCSF's have the user: Windows', Azure's, Google Cloud's and Okta's.
USERS_ELSEWHERE = (
    r"(.*[._])?(target_?user_?name|user_?principal_?name)",
    r"(.*[._])?(subject_?user_?name|principal_?email)",
    r"actor\.(alternate_?id|email|login)",
)
# An event's user is in the first of the columns with such a name that it has; OCSF's names first.
KINDS = {
    "user": (
        r"actor\.user\.(name|uid)",
        r"user\.(name|uid)",
        r"(.*[._])?user(_?name|_?id)?",
        *USERS_ELSEWHERE,
    ),
    "host": (
        r"device\.(hostname|ip)",
        r"src_endpoint\.(hostname|ip)",
        r"id\.orig_h",  # of Zeek
        r"(?!.*(dst|dest))(.*[._])?"
        r"(host(_?name)?|computer|((src|source|client|remote|caller)_?)?ip(_?address)?)",
    ),
    "class": (r"class_(name|uid)", r"(.*[._])?event_?(name|type|code)", r"(.*[._])?event_?id"),
}
EVERY = "all events"
FEWEST = 20  # events of a user, host or class, before anything is usual for it
HOUR, WEEKDAY = ".hour", ".weekday"  # of a column of times; Monday is 1


def kinds_of(names: Iterable[str]) -> dict[str, list[str]]:
    """The columns in which events may have their user, host and class, by their names.

    >>> kinds_of(["eventID", "eventName", "sourceIPAddress", "userIdentity.userName"])["class"]
    ['eventName', 'eventID']
    """
    ordered = sorted(names)
    found = {
        kind: [name for way in ways for name in ordered if re.fullmatch(way, name, re.IGNORECASE)]
        for kind, ways in KINDS.items()
    }
    return {kind: list(dict.fromkeys(own)) for kind, own in found.items()}


def contexts_of(rows: pl.DataFrame, kinds: dict[str, list[str]]) -> pl.DataFrame:
    """The event's user, host and class, such as `user cy`, null where it has none; and `EVERY`.

    kinds: the columns that may tell them."""
    schema = rows.schema
    found = [
        pl.coalesce(
            *(as_text(name, schema[name]) for name in names if name in schema),
            pl.lit(None, pl.String),
        ).alias(kind)
        for kind, names in kinds.items()
    ]
    labels = [pl.format(f"{kind} {{}}", pl.col(kind)).alias(kind) for kind in kinds]
    every = pl.repeat(EVERY, pl.len()).alias("every")
    made = rows.select(*found, every).with_columns(labels)
    return made.head(rows.height)  # of no rows, nulls would make one


def values_of(series: pl.Series, column: Column) -> list[pl.Series]:
    """What is counted: a quantity as numbers, of a time hour and weekday, all else as texts."""
    values = series.to_frame().select(value(column, series.dtype).alias(column.column)).to_series()
    if column.kind != "time":
        return [values]
    moment = pl.from_epoch(values, "ms").dt
    parts = {HOUR: moment.hour()} if column.hours else {}
    parts |= {WEEKDAY: moment.weekday()} if column.weekdays else {}
    return [own.cast(pl.String).alias(column.column + part) for part, own in parts.items()]


TABLES: dict[str, dict[str, type[pl.DataType]]] = {
    # How often a value came with a user, with a host, in a class, in all events.
    "counts": {"context": pl.String, "field": pl.String, "value": pl.String, "count": pl.Int64},
    # With how many users, hosts and classes a value came.
    "holders": {"field": pl.String, "value": pl.String} | dict.fromkeys(KINDS, pl.Int64),
    # How many quantities came in a context, and what 98% of them lie between.
    "limits": {"context": pl.String, "field": pl.String, "count": pl.Int64}
    | {"low": pl.Float64, "high": pl.Float64},
}


class Usual:
    """How often each value came in the baseline, in each context: with a user, with a host, in a
    class of events, and in all events; of quantities, what 98% of them lie between.

    Users, hosts and classes with fewer than 20 events are left out.

    tables: those of `TABLES`. events: how many events each context has. kinds: the columns that
    tell an event's user, host and class."""

    def __init__(
        self, tables: dict[str, pl.DataFrame], events: dict[str, int], kinds: dict[str, list[str]]
    ) -> None:
        self.tables = tables
        self.events = events
        self.kinds = kinds
        self._read: dict[str, dict[str, dict[str, int]]] = {}

    @classmethod
    def of(cls, rows: pl.DataFrame, columns: Sequence[Column], known: Iterable[str]) -> "Usual":
        """Count the baseline's flattened events: the values of `columns`, for the users, hosts and
        classes in the columns that are `known`."""
        kinds = kinds_of(known)
        contexts = contexts_of(rows, kinds)
        counts = [contexts[kind].drop_nulls().value_counts().rows() for kind in contexts.columns]
        events = {c: n for own in counts for c, n in own if n >= FEWEST or c == EVERY}
        parts: dict[str, list[pl.DataFrame]] = {
            name: [pl.DataFrame(schema=schema)] for name, schema in TABLES.items()
        }
        for series in (s for c in columns for s in values_of(rows[c.column], c)):
            having = contexts.with_columns(series.alias("value")).drop_nulls("value")
            for name, part in _counted(having):
                part = part.with_columns(pl.lit(series.name).alias("field"))
                parts[name].append(part.select(pl.col(n).cast(t) for n, t in TABLES[name].items()))
        tables = {name: pl.concat(own).sort(pl.col(pl.String)) for name, own in parts.items()}
        for name in ("counts", "limits"):
            tables[name] = tables[name].filter(pl.col("context").is_in(list(events)))
        return cls(tables, events, kinds)

    def counts(self, context: str, field: str) -> dict[str, int]:
        """How often each value came in this context, the most frequent one first."""
        if context not in self._read:
            self._read[context] = defaultdict(dict)
            own = self.tables["counts"].filter(context=context)
            for _, name, text, count in own.sort(
                "count", descending=True, maintain_order=True
            ).iter_rows():
                self._read[context][name][text] = count
        return self._read[context].get(field, {})

    def limits(self, context: str, field: str) -> tuple[int, float, float] | None:
        """How many quantities came in this context, and what 98% of them lie between."""
        return self._limits.get((context, field))

    def holders(self, kind: str, field: str, text: str) -> int:
        """With how many users, hosts or classes the value came."""
        counts = self._holders.get((field, text))
        return counts[list(KINDS).index(kind)] if counts else 0

    @cached_property
    def _limits(self) -> dict[tuple[str, str], tuple[int, float, float]]:
        return {(row[0], row[1]): row[2:] for row in self.tables["limits"].iter_rows()}

    @cached_property
    def _holders(self) -> dict[tuple[str, str], tuple[int, ...]]:
        return {(row[0], row[1]): row[2:] for row in self.tables["holders"].iter_rows()}

    def save(self, path: Path) -> None:
        """Write the counts as one safetensors file."""
        about: dict[str, Any] = {"format": 1, "events": self.events, "kinds": self.kinds}
        tensors = {}
        for table, frame in self.tables.items():
            for series in frame:
                name = f"{table}.{series.name}"
                if series.dtype == pl.String:
                    about[name] = series.unique().sort().to_list()
                    series = series.rank("dense").cast(pl.Int64) - 1
                small = pl.Float64 if series.dtype == pl.Float64 else pl.Int32
                tensors[name] = series.cast(small).to_torch()
        write_tensors(path, tensors, about)

    @classmethod
    def load(cls, path: Path) -> "Usual":
        """What `save` wrote. Raises ValueError if the file is something else, or damaged."""
        tensors, about = read_tensors(path)
        if about.get("format") != 1:
            raise ValueError(f"{path} holds no counts of this version")

        def column(name: str) -> pl.Series:
            series = pl.Series(tensors[name].numpy())
            return pl.Series(about[name]).gather(series) if name in about else series

        tables = {
            table: pl.DataFrame({n: column(f"{table}.{n}").cast(t) for n, t in schema.items()})
            for table, schema in TABLES.items()
        }
        return cls(tables, about["events"], about["kinds"])


def _counted(events: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The values of one field counted, as parts of the tables."""
    value = pl.col("value")
    limits = value.quantile(0.01, "nearest"), value.quantile(0.99, "nearest")
    if text := events.schema["value"] == pl.String:
        holders = [pl.col(kind).drop_nulls().n_unique() for kind in KINDS]
        yield "holders", events.group_by("value").agg(holders)
    for kind in [*KINDS, "every"]:
        own = events.select(pl.col(kind).alias("context"), "value").drop_nulls()
        if text:
            yield "counts", own.group_by("context", "value").agg(pl.len().alias("count"))
        else:
            told = pl.len().alias("count"), limits[0].alias("low"), limits[1].alias("high")
            yield "limits", own.group_by("context").agg(told)
