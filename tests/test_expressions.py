"""A column's values become the same numbers whatever type a frame has them in."""

import math

import numpy as np
import polars as pl
import pytest

from nbsrc.tabular.columns import Column
from nbsrc.tabular.expressions import (
    each,
    feature_names,
    features,
    index,
    is_missing,
    is_null,
    matrix,
    number,
    value,
)

MONDAY = 1_704_067_200_000  # 2024-01-01T00:00:00Z
LARGEST = 2**63 - 1


def read(expression, column, values, dtype=None):
    frame = pl.DataFrame({column.column: pl.Series(values, dtype=dtype)})
    found = each(frame, [column], expression)[column.column]
    assert expression is not index or found.dtype == pl.Int32
    return found.to_list()


def category(*values):
    return Column("x", "category", values=list(values))


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (["6", "17", "x", "", None, "16"], pl.String, [2, 3, 4, 0, None, None]),
        ([6, 17, 16, None], pl.Int64, [2, 3, None, None]),
        ([6, 17, 16, None], pl.Int8, [2, 3, None, None]),
        ([6, 17, 16, None], pl.UInt64, [2, 3, None, None]),
        ([6.0, 17.0, 6.5, float("nan")], pl.Float64, [2, 3, None, None]),
        ([True, None], pl.Boolean, [None, None]),
    ],
)
def test_a_value_has_the_index_of_its_text(values, dtype, expected):
    assert read(index, category("6", "17", "x"), values, dtype) == expected


def test_numbers_are_known_only_as_they_are_written():
    """007 is no 7, and what is beyond 64 bits is no number of this column."""
    texts = [str(n) for n in (LARGEST, LARGEST + 1, -LARGEST - 1, -LARGEST - 2)]
    column = category("007", "-0", "0", "+5", "1" * 20, *texts)
    numbers = [7, 0, 5, LARGEST, -LARGEST - 1, -1]
    assert read(index, column, numbers) == [None, 4, None, 7, 9, None]
    assert read(index, column, [LARGEST + 1], pl.UInt64) == [8]


def test_a_category_of_no_values_knows_none():
    assert read(index, category(), ["a", ""]) == [None, 0]
    assert read(index, category(), [1]) == [None]


def test_ports_have_their_own_index_or_that_of_their_range():
    column = Column("x", "port", values=["443", "8443", "22", "1024-49151", "49152-65535"])
    ports = [443, 8443, 22, 80, 1023, 1024, 49151, 49152, 65535, 65536, -1, None]
    expected = [2, 3, 4, None, None, 5, 5, 6, 6, None, None, None]
    assert read(index, column, ports) == expected
    assert read(index, column, [None if p is None else str(p) for p in ports]) == expected
    assert read(index, column, [None if p is None else float(p) for p in ports]) == expected


@pytest.mark.parametrize(
    ("kind", "values", "dtype", "missing"),
    [
        ("category", ["a", "", None], pl.String, [False, True, True]),
        ("category", [1.0, float("nan"), None], pl.Float64, [False, True, True]),
        ("category", [0, None], pl.Int64, [False, True]),
        ("category", [False, None], pl.Boolean, [False, True]),
        ("category", [b"a", b"", None], pl.Binary, [False, True, True]),
        ("category", [None], pl.Null, [True]),
        ("port", ["a", "", None], pl.String, [False, True, True]),
        ("quantity", ["1", "a", "", None], pl.String, [False, True, True, True]),
        ("quantity", [1.0, float("inf"), None], pl.Float64, [False, True, True]),
        ("time", ["2024-01-01", "a", "0"], pl.String, [False, True, True]),
        ("time", [5, 0], pl.Int64, [False, True]),
    ],
)
def test_what_is_missing_is_told_for_every_kind_and_type(kind, values, dtype, missing):
    column = Column("x", kind, values=[] if kind in ("category", "port") else None)
    assert read(is_missing, column, values, dtype) == missing
    assert [v is None for v in read(value, column, values, dtype)] == missing
    if column.values is not None:  # `index` knows empty texts
        nulls = [m and (v != "" or kind == "port") for m, v in zip(missing, values, strict=True)]
        assert read(is_null, column, values, dtype) == nulls


def test_objects_are_missing_to_the_encoder():
    frame = pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)})
    assert frame.with_columns(is_missing(category(), pl.Object()).alias("m"))["m"].to_list() == [
        True
    ]


def test_numbers_are_floats_of_the_quantity_or_of_the_moment():
    assert read(number, Column("x", "quantity"), ["7", None]) == [7.0, None]
    moments = read(number, Column("x", "time"), ["2024-01-01", None])
    assert moments == [float(MONDAY), None] and isinstance(moments[0], float)


def test_a_matrix_has_a_column_for_every_expression_and_no_nulls():
    rows = pl.DataFrame({"a": [1, None, 3], "b": [4, 5, 6]}, schema={"a": pl.Int32, "b": pl.Int32})
    found = matrix(rows, [pl.col("b"), None, pl.col("a")], np.int32(1))
    assert found.tolist() == [[4, 1, 1], [5, 1, 1], [6, 1, 3]] and found.dtype == np.int32
    assert matrix(rows, [None], True).tolist() == [[True]] * 3
    assert matrix(rows, [], math.nan).shape == (3, 0)
    assert np.isnan(matrix(rows.cast(pl.Float64), [pl.col("a")], math.nan)[:, 0]).tolist() == [
        False, True, False
    ]  # fmt: skip


def test_a_quantity_is_centered_scaled_and_clipped():
    column = Column("x", "quantity", center=3.0, scale=2.0)
    values = np.array([3.0, 4.0, 23.0, 23.5, -17.0, -18.0, 1e308, np.nan])
    (x,) = features(column, values)
    assert x.tolist() == [0, 0.5, 10, 10, -10, -10, 10, 0]
    assert feature_names(column) == ["x"]


def test_a_logged_quantity_keeps_its_sign():
    column = Column("x", "quantity", log=True, center=math.log(2), scale=0.5)
    (x,) = features(column, np.array([1.0, 3.0, -1.0]))
    np.testing.assert_allclose(x, [0, 2 * math.log(2), -4 * math.log(2)], atol=1e-12)


def test_what_overflows_is_clipped_in_silence(recwarn):
    (x,) = features(Column("x", "quantity", center=-1e308, scale=1e-3), np.array([1e308, -1.7e308]))
    assert x.tolist() == [10, -10] and not recwarn.list


def test_moments_are_angles_of_the_hour_and_of_the_weekday():
    column = Column("x", "time")
    assert feature_names(column) == ["x.hour_sin", "x.hour_cos", "x.weekday_sin", "x.weekday_cos"]
    hour, day = 3_600_000, 86_400_000
    moments = [MONDAY, MONDAY + 6 * hour, MONDAY + 3 * day + 9 * hour, -hour, np.nan]
    found = np.array(features(column, np.array(moments, float))).T
    thursday, late = 3 * math.tau / 7, -math.tau / 24
    wednesday = 2 * math.tau / 7
    expected = [
        [0, 1, 0, 1],
        [1, 0, 0, 1],
        [0.5**0.5, -(0.5**0.5), math.sin(thursday), math.cos(thursday)],
        [math.sin(late), math.cos(late), math.sin(wednesday), math.cos(wednesday)],
        [0, 0, 0, 0],
    ]  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=1e-9)
