"""The kind of a column is what the OCSF schema says; where it does not, what the values say."""

import datetime

import polars as pl
import pytest

from nbsrc.events.schema import schema_type
from nbsrc.tabular.columns import Column, kind_of
from nbsrc.tabular.rules import counts_of

MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
COUNTED = "whole numbers, 100% distinct, counted up or over 10^15"
COUNTED_96 = COUNTED.replace("100", "96")
DAY = datetime.date(2024, 1, 1)


def kind(name, values, dtype=None):
    series = pl.Series(name, values, dtype=dtype, strict=False)
    return kind_of(series, counts_of(series.to_frame())[0])


def test_the_schema_types_columns_at_any_depth():
    assert schema_type("traffic.bytes") == ("long_t", False)
    assert schema_type("severity_id") == ("integer_t", True)
    assert schema_type("process.parent_process.file.size") == ("long_t", False)
    assert schema_type("actor.user.groups.first.name") == ("string_t", False)
    assert schema_type("src_endpoint.port") == ("port_t", False)
    assert schema_type("device.first.name") is None  # no list: it has no first one
    for unknown in ("nobody.knows", "device", "", "unmapped", "time.bytes", "resources.first"):
        assert schema_type(unknown) is None


def test_enumerations_of_any_class_are_known():
    """`activity_id` has its values in the classes, not in the dictionary."""
    assert schema_type("activity_id") == ("integer_t", True)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("time", [MS], ("time", "schema: timestamp_t", False)),
        ("time", ["2024-01-01", "0"], ("time", "schema: timestamp_t", False)),  # 0 is missing
        ("time", ["today"], ("category", "schema: timestamp_t", False)),
        ("time_dt", ["2024-01-01"], ("time", "schema: datetime_t", False)),
        ("src_endpoint.port", [1], ("port", "schema: port_t", False)),
        ("traffic.bytes", [1, 2], ("quantity", "schema: long_t", False)),
        ("traffic.bytes", ["1", "2"], ("quantity", "schema: long_t", False)),
        ("traffic.bytes", ["many"], ("category", "schema: long_t", False)),
        ("base_score", [1.5], ("quantity", "schema: float_t", False)),
        ("lat", [1.5], ("quantity", "schema: float_t", False)),
        ("count", [1, 2], ("quantity", "schema: integer_t", False)),
        ("severity_id", [1, 2], ("category", "schema: integer_t, enumeration", False)),
        ("flag_ids", [1, 2], ("category", "schema: integer_t, enumeration", False)),
        ("depth", ["a"], ("category", "schema: string_t, enumeration", False)),
        ("process.pid", list(range(99)), ("category", "schema: integer_t", False)),
        ("exit_code", [1, 2], ("category", "schema: integer_t; 2 distinct values", False)),
        ("exit_code", range(64), ("category", "schema: integer_t; 64 distinct values", False)),
        ("exit_code", range(65), ("quantity", "schema: integer_t", False)),
        ("is_mfa", [True], ("category", "schema: boolean_t", False)),
        ("src_endpoint.ip", ["::1"], ("category", "schema: ip_t", True)),
        ("src_endpoint.hostname", ["a"], ("category", "schema: hostname_t", True)),
        ("user.name", ["a"], ("category", "schema: username_t", True)),
        ("user.email_addr", ["a"], ("category", "schema: email_t", True)),
        ("src_endpoint.mac", ["a"], ("category", "schema: mac_t", True)),
        ("device.subnet", ["a"], ("category", "schema: subnet_t", True)),
        ("file.name", ["a"], ("category", "schema: file_name_t", True)),
        ("process.name", ["a"], ("category", "schema: process_name_t", True)),
        ("metadata.version", ["a"], ("category", "schema: string_t", False)),
        ("metadata.version", ["1", "2"], ("category", "schema: string_t", False)),
    ],
)
def test_columns_of_the_schema(name, values, expected):
    assert kind(name, list(values)) == expected


@pytest.mark.parametrize(
    ("name", "values", "dtype", "expected"),
    [
        ("x.length", [1, 2], pl.Int64, ("quantity", "length of a list")),
        ("x.length", [1, 2], pl.Int32, ("quantity", "whole numbers, named a measure")),
        ("length.x", [1, 2], pl.Int64, ("category", "2 distinct whole numbers")),
        ("x.length", ["a"], None, ("category", "texts")),
        ("x", [DAY], None, ("time", "dates")),
        ("x", [MS], pl.Datetime("ms"), ("time", "dates")),
        ("x", [datetime.time(1)], None, ("category", "texts")),
        ("x", [1], pl.Duration("ms"), ("quantity", "numbers with a fraction")),
        ("x", [1.0], None, ("quantity", "numbers with a fraction")),
        ("x", ["1.50"], pl.Decimal(10, 2), ("quantity", "numbers with a fraction")),
        ("x", [True], None, ("category", "true or false")),
        ("x", ["2024-01-01T00:00:00Z"], None, ("time", "dates")),
        ("x", ["1704067200"], None, ("category", "texts")),
        ("x", ["2024-01-01"], pl.Categorical(), ("category", "texts")),
        ("x", ["a"], None, ("category", "texts")),
        ("x.port", [0, 65535], None, ("port", "0 to 65535, named port")),
        ("x.port", [0, 65536], None, ("category", "2 distinct whole numbers")),
        ("x.port", [-1, 80], None, ("category", "2 distinct whole numbers")),
        ("port.x", [0, 80], None, ("category", "2 distinct whole numbers")),
        ("x", [946_684_800_000], None, ("time", "milliseconds of this century")),
        ("x", [4_102_444_799_999], None, ("time", "milliseconds of this century")),
        ("x", [946_684_799_999], None, ("category", "1 distinct whole numbers")),
        ("x", [4_102_444_800_000], None, ("category", "1 distinct whole numbers")),
        ("x", [MS, 1], None, ("category", "2 distinct whole numbers")),
        ("x_at", [946_684_800], None, ("time", "since 1970, named a time")),
        ("x_timestamp", [10**18], None, ("time", "since 1970, named a time")),
        ("uptime", [946_684_800], None, ("time", "since 1970, named a time")),
        ("update", [946_684_800], None, ("time", "since 1970, named a time")),
        ("ts", [1_704_067_200.5], None, ("time", "since 1970, named a time")),
        ("ts", ["1704067200.5"], None, ("time", "since 1970, named a time")),
        ("unixTime", [1_704_067_200], None, ("time", "since 1970, named a time")),
        ("createdAt", [1_704_067_200_000.0], None, ("time", "since 1970, named a time")),
        ("answer_time", [0.5, 2.5], None, ("quantity", "numbers with a fraction")),
        *(
            ("x_at", [946_684_800.0 * unit], None, ("time", "since 1970, named a time"))
            for unit in (1, 10**3, 10**6, 10**9)
        ),
        ("x_at", [946_684_799.5], None, ("quantity", "numbers with a fraction")),
        ("x_at", [*range(10**9, 10**9 + 19), 1], None, ("category", "20 distinct whole numbers")),
        ("parts", [1_704_067_200.5], None, ("quantity", "numbers with a fraction")),
        ("x", ["/Date(1704067200000)/"], None, ("time", "dates")),
        ("x", ["02/Jan/2024:00:00:00 +0000"], None, ("time", "dates")),
        ("x_at", [946_684_799], None, ("category", "1 distinct whole numbers")),
        ("x_id", [5], None, ("category", "whole numbers, named an id")),
        ("x_ratio", [5], None, ("quantity", "whole numbers, named a measure")),
        ("x", range(0, 640, 10), None, ("category", "64 distinct whole numbers")),
        ("x", range(0, 650, 10), None, ("quantity", "whole numbers")),
        ("x", range(5, 70), None, ("identifier", COUNTED)),
        ("x", range(10**6, 10**6 + 70), None, ("identifier", COUNTED)),
        ("x", range(0, 65 * 2, 2), None, ("identifier", COUNTED)),
        ("x", [*range(0, 128, 2), 130], None, ("quantity", "whole numbers")),
        ("x", [*range(0, 95), *[0] * 5], None, ("quantity", "whole numbers")),
        ("x", [*range(0, 96), *[0] * 4], None, ("identifier", COUNTED_96)),
        ("x", [*range(0, 96), *[0] * 4, *[None] * 99], None, ("identifier", COUNTED_96)),
        ("x", [*range(64), 10**15], None, ("quantity", "whole numbers")),
        ("x", [*range(64), 10**15 + 1], None, ("identifier", COUNTED)),
    ],
)  # fmt: skip
def test_columns_that_the_schema_does_not_know(name, values, dtype, expected):
    assert kind(name, list(values), dtype) == (expected[0], f"values: {expected[1]}", False)


def test_nine_of_ten_distinct_values_decide():
    texts = [f"2024-01-{day:02}" for day in range(1, 10)]
    assert kind("x", [*texts, "never"])[0] == "time"
    assert kind("x", [*texts[1:], "never"])[0] == "category"
    assert kind("x", [*texts, "never", "never", "never"])[0] == "time"


def test_of_many_values_the_first_thousand_decide():
    numbers, words = [f"{i:04}" for i in range(900)], [f"w{i}" for i in range(300)]
    assert kind("traffic.bytes", [*words, *numbers])[0] == "quantity"
    assert kind("traffic.bytes", [*words, *numbers[:899]])[0] == "category"


def test_a_measure_is_known_by_a_word_of_its_name():
    sizes = "bytes", "packets", "count", "size", "length", "total", "memory"
    for word in (*sizes, "duration", "latency", "score", "percent", "ratio", "rate"):
        assert kind(f"my_{word}_x", [5])[1] == "values: whole numbers, named a measure"


def test_of_a_column_nothing_is_decided_at_first():
    assert Column("x", "port") == Column(
        "x", "port", "kept", "", 0.0, None, present=False, hours=True, weekdays=True, log=False,
        center=0.0, scale=1.0,
    )  # fmt: skip


def test_a_category_of_whole_numbers_alone_tells_its_numbers():
    assert Column("x", "category", reason="2 distinct whole numbers").numbers is None
    assert Column("x", "category", reason="texts", values=["7"]).numbers is None
    numbers = Column("x", "category", reason="2 distinct whole numbers", values=["7", "-1"]).numbers
    assert numbers == [7.0, -1.0]


def test_a_column_that_is_dropped_has_no_categories_left():
    column = Column("x", "category", reason="schema: string_t", values=["a", "b"], present=True)
    assert column.kept and column.cardinality == 4
    column.drop("constant")
    assert column == Column("x", "category", "dropped", "schema: string_t; constant")
    assert not column.kept and column.cardinality is None
    column.drop("")
    assert column.reason == "schema: string_t; constant"
