"""A value means the same whatever type its column has."""

import polars as pl
import pytest

from nbsrc.tabular.values import as_dated_moment, as_moment, as_number, as_port

MONDAY = 1_704_067_200_000  # 2024-01-01T00:00:00Z


def read(expression, values, dtype=None):
    """What an expression reads from a column of these values; it stays under the column's name, and
    its type is the expression's."""
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    found = frame.with_columns(expression("x", frame.schema["x"]))
    assert found.schema == {"x": pl.Float64 if expression is as_number else pl.Int64}
    return found["x"].to_list()


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, -2, None], pl.Int8, [1.0, -2.0, None]),
        (["1.5", "-2", "1e3", "x", ""], pl.String, [1.5, -2.0, 1000.0, None, None]),
        ([float("nan"), float("inf"), 0.5], pl.Float64, [None, None, 0.5]),
        (["nan", "-inf", "1e999"], pl.String, [None] * 3),
        ([1500], pl.Duration("ms"), [1500.0]),
        ([1_500_000], pl.Duration("us"), [1500.0]),
        ([True, None], pl.Boolean, [None, None]),
        ([MONDAY], pl.Datetime("ms"), [None]),
    ],
)
def test_numbers_are_finite_floats(values, dtype, expected):
    assert read(as_number, values, dtype) == expected


def test_ports_are_0_to_65535():
    assert read(as_port, [-1, 0, 443, 65535, 65536, None]) == [None, 0, 443, 65535, None, None]
    assert read(as_port, ["443", "https", "1e30", ""]) == [443, None, None, None]


@pytest.mark.parametrize(
    ("number", "ms"),
    [
        (1, 1_000),
        (-(10**9), -(10**12)),
        (10**11 - 1, (10**11 - 1) * 1000),
        (10**11, 10**11),
        (10**14 - 1, 10**14 - 1),
        (10**14, 10**11),
        (10**17 - 1000, 10**14 - 1),
        (10**17, 10**11),
        (-(10**17), -(10**11)),
        (0, None),
        (None, None),
    ],
)
def test_numbers_are_moments_in_the_unit_that_their_size_says(number, ms):
    assert read(as_moment, [number], pl.Int64) == [ms]
    assert read(as_moment, [number], pl.Float64) == [ms]
    assert read(as_moment, [None if number is None else str(number)], pl.String) == [ms]


def test_numbers_beyond_any_date_are_no_moments():
    assert read(as_moment, [1e300, -1e300, float("inf"), float("nan")]) == [None] * 4


TEXTS = {
    "2024-01-01T00:00:00Z": MONDAY,
    "2024-01-01T07:00:00.250+07:00": MONDAY + 250,
    "2024-01-01T00:00:01.5": MONDAY + 1500,
    "2024-01-01 00:00:01.5": MONDAY + 1500,
    "2024-01-01": MONDAY,
    " 2024/01/01 ": MONDAY,
    f"/Date({MONDAY + 250})/": MONDAY + 250,  # as .NET writes it
    "01/Jan/2024:07:00:00 +0700": MONDAY,  # as web servers do
    "1970-01-01": None,  # 0: many producers write it for "never"
    "2024-13-01": None,
    "today": None,
    "": None,
}


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_moments_in_iso_8601_and_its_relatives(text):
    assert read(as_moment, [text]) == [TEXTS[text]]


def test_texts_of_one_column_may_be_written_in_many_ways():
    assert read(as_moment, [*TEXTS]) == [*TEXTS.values()]


def test_dates_are_moments_within_the_calendar():
    assert read(as_moment, [MONDAY // 86_400_000, None], pl.Date) == [MONDAY, None]
    first, last = -62_135_596_800_000, 253_402_300_799_999
    beyond = [first - 1, first, last, last + 1]
    assert read(as_moment, beyond, pl.Datetime("ms")) == [None, first, last, None]
    assert read(as_moment, [MONDAY * 1000 + 999], pl.Datetime("us")) == [MONDAY]


@pytest.mark.parametrize("dtype", [pl.Boolean, pl.Time, pl.Duration("ms"), pl.Binary])
def test_what_is_no_moment_in_any_way_is_missing(dtype):
    assert read(as_moment, [None], dtype) == [None]


def test_a_dated_moment_has_a_year_and_a_month():
    def dated(name, dtype):
        return as_dated_moment(name)

    texts = ["2024-01-01", "2024/01/01", "1704067200", "20240101", "24-01-01"]
    assert read(dated, texts) == [MONDAY, MONDAY, None, None, None]
