"""Flat event columns in, arrays out: which column is a category, a quantity or a time, and what
becomes of it.

The kind of a column is what the OCSF schema says it is; where the schema does not know the column,
its values decide. Everything else is decided by the values of the fitted rows alone, and told by
`EventEncoder.describe()`."""

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from nbsrc.events.kinds import check_frame, is_pattern
from nbsrc.tabular.columns import Column
from nbsrc.tabular.encoded import MISSING, UNSEEN, EncodedEvents
from nbsrc.tabular.expressions import (
    Expression,
    feature_names,
    features,
    index,
    is_null,
    matrix,
    number,
)
from nbsrc.tabular.rules import (
    TIME_COLUMNS,
    counts_of,
    drop_near_times,
    drop_repetitions,
    has_moments,
    is_own,
    judge,
    tell_cycles,
    tell_missing,
)
from nbsrc.tabular.saving import read_encoder, write_encoder
from nbsrc.tabular.values import as_moment

AT_ONCE = 10_000  # rows that one thread encodes: what lies between them and the arrays stays small


class EventEncoder(BaseEstimator):  # type: ignore[misc]
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

    def fit(
        self,
        rows: pl.DataFrame,
        y: None = None,
        *,
        written: Mapping[str, str] | None = None,
        whole_cycles: bool = False,
    ) -> Self:
        """Decide on every column from `rows` alone; neither the order of rows nor that of columns
        matters. `written` says, for `describe`, how the files write columns that have another name
        there, as `nbsrc.events.flatten.flattened` tells it. With `whole_cycles`, hours and weekdays
        are learned only from rows that cover a day or a week, nearly.

        Raises ValueError if a column is nested or has a pattern for a name, or `max_categories` is
        not positive.
        """
        if self.max_categories < 1:
            raise ValueError(f"max_categories must be positive, however: {self.max_categories}")
        _refuse_nested(rows)
        rows = rows.select(sorted(rows.columns))
        counts = counts_of(rows)

        def decide(series: pl.Series, own: pl.DataFrame) -> Column:
            excluded = self._excluded(series.name)
            return judge(series, own, excluded=excluded, max_categories=self.max_categories)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            columns = list(pool.map(decide, rows.get_columns(), counts))
        drop_near_times(rows, columns)
        if whole_cycles:
            tell_cycles(rows, columns)
        drop_repetitions(rows, columns, counts)
        tell_missing(rows, columns)
        for column in columns:
            if written and column.column in written:
                column.reason += f"; written as {written[column.column]}"
        self._learned(columns)
        return self

    def _learned(self, columns: list[Column]) -> None:
        kept = [c for c in columns if c.kept]
        self.columns_ = columns
        self._numbers = [c for c in kept if c.values is None]
        self._categories = [c for c in kept if c.values is not None]
        told = sum(c.present for c in self._numbers)
        numbers = [*map(_numbers, self._categories), *[None] * told]
        self._whole = tuple(numbers) if any(n is not None for n in numbers) else ()
        # What does not outlive a fit: columns warned of, expressions over columns by their types.
        self._warned: set[str] = set()
        self._made: dict[tuple[Expression, str, pl.DataType], pl.Expr] = {}

    def transform(self, rows: pl.DataFrame) -> EncodedEvents:
        """Encode `rows`, each by itself. Columns unknown at fit are ignored with one warning;
        absent ones are missing.

        Raises NotFittedError before `fit`; ValueError if a column is nested.
        """
        check_is_fitted(self)
        _refuse_nested(rows)
        self._warn_of_new(rows.columns)
        names = self._numeric_names(), self._categorical_names()
        amounts = self._over(rows, self._numbers, number)
        indices = self._over(rows, self._categories, index)
        nulls = self._over(rows, self._categories, is_null)
        told = [c.present for c in self._numbers]
        numeric = np.empty((rows.height, len(names[0])), np.float32)
        categorical = np.empty((rows.height, len(names[1])), np.int64)

        def encode(start: int) -> None:
            here, part = slice(start, start + AT_ONCE), rows.slice(start, AT_ONCE)
            values = matrix(part, amounts, math.nan)
            made = (features(c, own) for c, own in zip(self._numbers, values.T, strict=True))
            for i, x in enumerate(x for several in made for x in several):
                numeric[here, i] = x
            unseen = matrix(part, indices, np.int32(UNSEEN))
            own = np.where(matrix(part, nulls, True), MISSING, unseen)
            present = np.where(np.isnan(values[:, told]), MISSING, UNSEEN + 1)
            categorical[here] = np.hstack([own, present])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(encode, range(0, rows.height, AT_ONCE)))
        return EncodedEvents(
            numeric=numeric,
            categorical=categorical,
            cardinalities=tuple(
                [c.cardinality for c in self._categories if c.cardinality] + [3] * sum(told)
            ),
            numeric_names=names[0],
            categorical_names=names[1],
            time=self._times(rows),
            numbers=self._whole,
        )

    def fit_transform(self, rows: pl.DataFrame, y: None = None) -> EncodedEvents:
        """`fit(rows).transform(rows)`."""
        return self.fit(rows).transform(rows)

    def get_feature_names_out(self, input_features: None = None) -> np.ndarray:
        """The names of the numeric columns, then of the categorical ones. Raises NotFittedError
        before `fit`."""
        check_is_fitted(self)
        return np.array(self._numeric_names() + self._categorical_names(), dtype=object)

    def describe(self) -> pl.DataFrame:
        """One row a column of the fitted frame: column, kind, decision, reason, cardinality, scale,
        missing.

        `cardinality` counts the two reserved indices; `scale` is the interquartile range by which a
        quantity is divided (after the logarithm, where the reason says so); `missing` is a share of
        the rows. Raises NotFittedError before `fit`."""
        check_is_fitted(self)
        rows = [
            (c.column, c.kind, c.decision, c.reason, c.cardinality, scale, c.missing)
            for c in self.columns_
            for scale in [c.scale if c.kept and c.kind == "quantity" else None]
        ]
        texts = dict.fromkeys(("column", "kind", "decision", "reason"), pl.String)
        schema = texts | {"cardinality": pl.Int64, "scale": pl.Float64, "missing": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted encoder to the file `path`, as safetensors; its folder is made if need
        be."""
        check_is_fitted(self)
        write_encoder(Path(path), self.get_params(), self.columns_)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The encoder saved in the file `path`.

        Raises FileNotFoundError if there is none, ValueError if it is damaged or of another format.
        """
        settings, columns = read_encoder(Path(path))
        encoder = cls(**settings)
        encoder._learned(columns)
        return encoder

    def _warn_of_new(self, names: list[str]) -> None:
        new = sorted(set(names) - {c.column for c in self.columns_} - self._warned)
        new = [name for name in new if not self._excluded(name)]
        if new:
            self._warned.update(new)
            more = f" and {len(new) - 5} more" if len(new) > 5 else ""
            told = f"columns unknown at fit are ignored: {', '.join(new[:5])}{more}"
            warnings.warn(told, stacklevel=3)

    def _over(
        self, rows: pl.DataFrame, columns: Sequence[Column], expression: Expression
    ) -> list[pl.Expr | None]:
        """The expression over each column, None for those that are not there."""
        schema = rows.schema
        return [
            self._expression(c, schema[c.column], expression) if c.column in schema else None
            for c in columns
        ]

    def _expression(self, c: Column, dtype: pl.DataType, expression: Expression) -> pl.Expr:
        # To make 500 of them takes as long as to encode 1000 events.
        key = expression, c.column, dtype
        if key not in self._made:
            self._made[key] = expression(c, dtype).alias(c.column)
        return self._made[key]

    def _times(self, rows: pl.DataFrame) -> np.ndarray:
        """Each event's own time: the first of OCSF's times; where none of them was there at fit,
        the first with a name that says so, or the only time that was kept."""
        times = [c for c in self.columns_ if c.kind == "time"]
        kept = [c for c in times if has_moments(c)]
        named = [c for c in kept if is_own(c)]
        named.sort(key=lambda c: (c.missing, c.column.count("."), c.column))
        own = tuple(c.column for c in named or kept[: len(kept) == 1])
        if any(c.column in TIME_COLUMNS for c in times):
            own = TIME_COLUMNS
        time = pl.repeat(None, rows.height, dtype=pl.Int64, eager=True)
        for name in own:
            if name in rows.columns and time.has_nulls():
                moments = rows.select(as_moment(name, rows.schema[name])).to_series()
                time = time.zip_with(time.is_not_null(), moments)
        return time.fill_null(0).to_numpy().copy()

    def _excluded(self, name: str) -> bool:
        return any(name == field or name.startswith(field + ".") for field in self.exclude)

    def _numeric_names(self) -> tuple[str, ...]:
        return tuple(name for c in self._numbers for name in feature_names(c))

    def _categorical_names(self) -> tuple[str, ...]:
        present = [f"{c.column}.present" for c in self._numbers if c.present]
        return (*(c.column for c in self._categories), *present)


def _numbers(category: Column) -> np.ndarray | None:
    """`EncodedEvents.numbers` of one column."""
    numbers = category.numbers
    return None if numbers is None else np.array([math.nan, math.nan, *numbers])


def _refuse_nested(rows: pl.DataFrame) -> None:
    check_frame(rows)
    for name, dtype in rows.schema.items():
        if dtype.is_nested():
            raise ValueError(f"column {name!r} is nested ({dtype}): flatten the events first")
        if is_pattern(name):
            raise ValueError(f"Polars takes the column's name {name!r} for a pattern: rename it")
