"""What becomes of a column is decided by rules that a reader can check, and told in words."""

import numpy as np
import polars as pl
import pytest

from nbsrc.tabular.columns import Column
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.tabular.rules import counts_of, names_events, tell_cycles

HOUR = 3_600_000
NOON = 1_704_110_400_000  # 2024-01-01T12:00:00Z


def fit(values, name="x", **options):
    """The column that the encoder made of these values."""
    frame = pl.DataFrame({name: values}, strict=False)
    return EventEncoder(**options).fit(frame).columns_[0]


def fates(frame):
    """What became of each column, and the last reason for it."""
    return {
        c.column: (c.decision, c.reason.rpartition("; ")[2])
        for c in EventEncoder().fit(pl.DataFrame(frame, strict=False)).columns_
    }


def test_counts_are_of_texts_and_leave_out_what_is_missing():
    frame = pl.DataFrame({
        "text": ["b", "", None, "b"],
        "number": [1.0, 1.5, float("nan"), 1.0],
        "whole": [7, 7, None, 8],
        "nothing": [None] * 4,
        "object": pl.Series([object()] * 4, dtype=pl.Object),
    })  # fmt: skip
    told = [dict(counts.sort("value").iter_rows()) for counts in counts_of(frame)]
    assert told == [{"b": 2}, {"1": 2, "1.5": 1}, {"7": 2, "8": 1}, {}, {}]
    assert all(counts.columns == ["value", "count"] for counts in counts_of(frame))


def test_values_of_one_text_are_one_value():
    assert fit([0.0, -0.0, 0.0]).reason.endswith("constant")
    assert dict(counts_of(pl.DataFrame({"x": [0.0, -0.0]}))[0].iter_rows()) == {"0": 2}
    microseconds = pl.Series("x", [1_500, 1_700], dtype=pl.Duration("us"))
    assert counts_of(microseconds.to_frame())[0].rows() == [("1", 2)]
    assert fit(["1", "1.0"], "traffic.bytes").reason == "schema: long_t; constant"


# ---- A column by itself


def test_the_id_of_events_is_nothing_to_learn_from_also_where_it_comes_again():
    assert fit(["a", "b"] * 50, "metadata.uid").reason.endswith(
        "it names events, if not single ones"
    )
    assert fit(["a", "b"] * 50, "process.uid").decision == "kept"


def test_the_share_of_missing_values_is_told():
    assert fit(["a", "b", None, ""]).missing == 0.5
    excluded = fit(["a", "b", None, ""], exclude=("x",))
    assert excluded == Column("x", "", "dropped", "excluded", missing=0.5)
    assert fit([None, ""]) == fit([]) == Column("x", "", "dropped", "no value", missing=1.0)
    assert fit([], exclude=("x",)).missing == 0.0 and fit([None], exclude=("x",)).missing == 1.0


@pytest.mark.parametrize(
    ("values", "decision", "reason"),
    [
        ([None, ""], "dropped", "no value"),
        (["a", "a"], "dropped", "values: texts; constant"),
        (["a", None], "kept", "values: texts"),  # it tells whether it is there
        ([2.5, 2.5], "dropped", "values: numbers with a fraction; constant"),
        ([2.5, None], "kept", "values: numbers with a fraction"),
        (range(100), "dropped", "values: whole numbers, 100% distinct, counted up or over 10^15"),
        ([*"abcdefghijklmnopqrs"], "kept", "values: texts"),  # 19: too few to tell
        (
            [*"abcdefghijklmnopqrst"],
            "dropped",
            "values: texts; 100% of its values are distinct: it names or words single events",
        ),
        ([*"abcdefghij"] * 2, "kept", "values: texts"),  # a half is not above a half
        (
            [*"abcdefghijk", *"abcdefghij"],
            "dropped",
            "values: texts; 52% of its values are distinct: it names or words single events",
        ),
    ],
)
def test_a_column_is_dropped_for_a_reason(values, decision, reason):
    column = fit(list(values))
    assert (column.decision, column.reason) == (decision, reason)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{:08x}-0a1B-rest", True),
        ("{:016x}", True),
        ("0x{:016X}", True),
        ("{:015x}", False),
        ("{:016x}!", False),
        ("{:07x}-0a1B-rest", False),
        ("01HZXXXXXXXXXXXXXXXXXXX{:03}", True),  # a ULID
        ("01HZXXXXXXXXXXXXXXXXXXXX{:03}", False),
        ("01HIXXXXXXXXXXXXXXXXXXX{:03}", False),  # which has no I
    ],
)
def test_ids_that_a_few_events_share_are_known_by_how_they_are_written(text, written):
    column = fit([text.format(i // 10) for i in range(200)])  # one in ten is distinct
    why = "values: texts; 10% of its values are distinct, and written as ids or hashes"
    assert (column.reason == why) == written == (not column.kept)


def test_ids_are_dropped_by_a_share_and_by_most_of_their_values():
    ids = [f"{i:016x}" for i in range(20)]
    assert fit([*ids, *ids, *ids[:1]] + ids[:1] * 359).kept  # 20 of 400: 5%
    assert not fit(ids * 19 + ids[:19]).kept  # 20 of 399
    assert not fit(ids[:10] * 2).kept
    assert fit((ids[:10] * 2)[1:]).kept  # 19 rows are too few to tell
    assert fit([*ids[:18], "a", "b"] * 9).kept  # nine of ten
    assert not fit([*ids[:19], "a"] * 9).kept


def test_hosts_and_users_are_kept_however_many_there_are():
    names = [f"u{i}" for i in range(30)]
    assert fit(names, "user.name").kept and not fit(names, "user.full_name").kept


def test_up_to_32_values_are_all_kept_and_of_more_those_that_come_twice():
    names = [f"u{i:02}" for i in range(33)]
    few = fit([*names[:32], "u07"], "user.name")
    assert few.values[0] == "u07" and sorted(few.values) == names[:32]
    assert few.reason == "schema: username_t"
    many = fit([*names, "u07", "u05"], "user.name")
    assert many.values == ["u05", "u07"]
    assert many.reason == "schema: username_t; rare values share index 1 (31)"
    none = fit(names, "user.name")
    assert (none.kept, none.reason) == (False, "schema: username_t; no value comes twice")


@pytest.mark.parametrize(
    ("name", "values", "single"),
    [
        ("x", range(100), True),  # counted up
        ("x", [f"{i:032x}" for i in range(100)], True),
        ("user.name", [f"u{i}" for i in range(33)], True),  # of whom none comes twice
        ("x", ["a"] * 9, False),
        ("x", ["a", "b"] * 9, False),
    ],
)
def test_columns_whose_values_name_single_events_are_told_from_others(name, values, single):
    column = fit(values, name)
    assert names_events(column) == single and not (single and column.kept)


@pytest.mark.parametrize("distinct", [3, 40])
def test_the_most_frequent_values_have_an_index_of_their_own(distinct):
    values = [f"v{i:02}" for i in range(distinct) for _ in range(distinct + 2 - i)]
    assert fit(values, max_categories=2).values == ["v00", "v01"]
    assert fit(values, max_categories=1).values == ["v00"]


def test_equally_frequent_values_stand_in_alphabetical_order():
    assert fit([*"cbacbad"]).values == [*"abcd"]


def test_ports_have_an_index_if_they_are_well_known_or_frequent():
    ports = [1023, 1024, 1024, 1024, 1024, *[1025] * 5, 65535]
    column = fit(ports, "src_endpoint.port")
    assert column.values == ["1025", "1023", "1024-49151", "49152-65535"]
    assert column.reason == "schema: port_t; rare ports are known by their range (2)"
    assert fit([443, 80], "src_endpoint.port").reason == "schema: port_t"


def test_where_all_values_are_frequent_no_rare_ones_are_told():
    reason = fit([f"v{i}" for i in range(40)] * 2, "user.name").reason
    assert reason == "schema: username_t"


@pytest.mark.parametrize(("rows", "own"), [(6000, ["80", "8001"]), (6001, ["80"])])
def test_a_port_of_a_thousandth_of_the_rows_is_frequent(rows, own):
    ports = [*[8001] * 6, *[80] * (rows - 6)]
    assert fit(ports, "src_endpoint.port").values == [*own, "1024-49151", "49152-65535"]


def test_quantities_are_scaled_by_their_quartiles_or_what_is_wider():
    def scaled(values):
        column = fit(values)
        return column.center, column.scale, column.log

    assert scaled([1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 2.0, False)
    assert scaled([0.25, 0.5, 0.75, 1.0, 1.25]) == (0.75, 0.5, False)
    assert scaled([2.5] * 90 + [3.5] * 10) == (2.5, 1.0, False)  # 1st and 99th percentile
    assert scaled([2.5] * 399 + [7.5]) == (2.5, 5.0, False)  # all of the range
    assert scaled([2.5, 2.5, None]) == (2.5, 1.0, False)
    assert scaled([-1e308, 1e308, -1e308, 1e308])[1:] == (1.0, False)  # no finite one
    assert scaled([-np.inf, np.inf]) == (0.0, 1.0, False)


@pytest.mark.parametrize(("largest", "log"), [(10.0, False), (10.5, True), (-10.5, True)])
def test_a_tail_is_heavy_beyond_ten_times_the_median(largest, log):
    column = fit([1.0] * 60 + [0.5] * 20 + [largest] * 20)
    assert column.log == log and ("heavy tail, log(1 + x)" in column.reason) == log
    if log:
        assert column.center == np.log1p(1.0)
        assert column.reason == "values: numbers with a fraction; heavy tail, log(1 + x)"


def test_the_logarithm_keeps_the_sign():
    column = fit([-1.0] * 30 + [0.5] * 40 + [-50.0] * 30)
    assert column.log and column.scale == pytest.approx(np.log1p(0.5) + np.log1p(50.0))


def test_a_tail_is_told_by_the_99th_percentile():
    assert not fit([1.0] * 98 + [1.5] + [500.0]).log
    assert fit([1.0] * 97 + [1.5] + [500.0] * 2).log
    assert fit([0.0] * 60 + [0.5] * 40).log  # of a median of 0, anything is ten times


# ---- Columns that say the same


def test_times_within_an_hour_of_another_one_are_dropped():
    time = [NOON, NOON + 9 * HOUR, NOON + 30 * HOUR]
    told = fates({
        "time": time,
        "start_time": [t - HOUR + 1 for t in time],
        "end_time": [t + HOUR for t in time],
        "created_time": [t - 80 * HOUR for t in time],
        "modified_time": [t - 80 * HOUR - 5 for t in time],
        "a_time": [NOON] * 3,
    })  # fmt: skip
    near = {name: reason for name, (decision, reason) in told.items() if decision == "dropped"}
    assert near == {
        "start_time": "within an hour of time",
        "modified_time": "within an hour of created_time",
        "a_time": "constant",
    }


def test_a_time_is_kept_however_many_moments_it_has():
    assert fit([NOON + i * HOUR for i in range(40)], "time") == Column(
        "time", "time", reason="schema: timestamp_t"
    )


def test_of_ocsfs_times_the_first_is_kept():
    time = [NOON, NOON + 9 * HOUR]
    names = ["a_time", "end_time", "start_time", "time", "time_dt"]
    for first in ("time", "time_dt", "start_time", "end_time"):
        told = fates(dict.fromkeys(names, time))
        assert [name for name, (decision, _) in told.items() if decision == "kept"] == [first]
        names.remove(first)


@pytest.mark.parametrize(("far", "decision"), [(1, "dropped"), (2, "kept")])
def test_nine_of_ten_events_are_near(far, decision):
    time = [NOON + i * HOUR for i in range(10)]
    other = [t + (5 * HOUR if i < far else 0) for i, t in enumerate(time)]
    assert fates({"time": time, "seen_time": other})["seen_time"][0] == decision


@pytest.mark.parametrize(("missing", "decision"), [(1, "dropped"), (2, "kept")])
def test_nine_of_ten_events_with_the_one_have_the_other(missing, decision):
    time = [None if i < missing else NOON + i * HOUR for i in range(10)]
    seen = [NOON + i * HOUR for i in range(10)]
    assert fates({"time": time, "seen_time": seen})["seen_time"][0] == decision
    assert fates({"time": seen, "seen_time": time})["seen_time"][0] == "dropped"


def test_times_that_never_come_together_are_not_near():
    told = fates({"time": [NOON, None, None], "seen_time": [None, NOON, NOON + 5 * HOUR]})
    assert told["seen_time"][0] == "kept"


def test_the_very_same_values_are_kept_once_under_the_shortest_name():
    told = fates({"bb": [*"abca"], "a.long.name": [*"abca"], "aa": [*"abca"], "c": [*"abcb"]})
    assert told == {
        "c": ("kept", "values: texts"),
        "aa": ("kept", "values: texts"),
        "bb": ("dropped", "the same values as aa"),
        "a.long.name": ("dropped", "the same values as aa"),
    }
    excluded = EventEncoder(exclude=("a",)).fit(pl.DataFrame({"a": [*"abca"], "bb": [*"abca"]}))
    assert [c.reason for c in excluded.columns_] == ["excluded", "values: texts"]


def test_an_enumeration_is_kept_before_its_caption_however_long_its_name():
    told = fates({"severity_id": [1, 2, 1, 4], "severity": ["Low", "Mid", "Low", "High"]})
    assert told["severity"] == ("dropped", "one-to-one with severity_id of the same object")
    assert told["severity_id"][0] == "kept"


@pytest.mark.parametrize(
    ("name", "values", "decision"),
    [
        ("user.uid", [*"xyzx"], "dropped"),
        ("other.uid", [*"xyzx"], "kept"),
        ("email", [*"xyzx"], "kept"),  # of the event itself
        ("user.uid", ["x", "y", "z", None], "kept"),  # missing in other rows
        ("user.uid", [*"xyzy"], "kept"),  # not one-to-one
        ("user.uid", [*"xyxz"], "kept"),
    ],
)
def test_a_caption_is_one_to_one_with_a_category_of_the_same_object(name, values, decision):
    assert fates({"user.n": ["a", "b", "c", "a"], name: values})[name][0] == decision


def test_captions_that_are_missing_in_the_same_rows_are_dropped():
    told = fates({"user.n": ["a", "b", None, "a"], "user.uid": ["x", "y", None, "x"]})
    assert told["user.uid"] == ("dropped", "one-to-one with user.n of the same object")
    told = fates({"user.n": [None, "a", "b", "b"], "user.uid": ["x", None, "y", "y"]})
    assert told["user.uid"][0] == "kept"
    names = "user.n", "user.uid", "user.title"
    told = fates({name: [f"{name} {i}" for i in (1, 2, 1)] for name in names})
    assert told["user.title"] == ("dropped", "one-to-one with user.n of the same object")


def test_quantities_are_repeated_by_the_same_values_only():
    told = fates({"n.a": [1.5, 2.0, 5.0], "n.bb": [3.0, 4.0, 10.0], "n.ccc": [1.5, 2.0, 5.0]})
    assert told["n.bb"][0] == "kept" and told["n.ccc"] == ("dropped", "the same values as n.a")
    # A category and a quantity are two things, also of the same object or the same texts.
    assert fates({"n.a": [1.5, 2.0, 5.0], "n.bb": [*"xyz"]})["n.bb"][0] == "kept"
    assert fates({"x.port": [1, 2, 1], "y": [1.0, 2.0, 1.0]})["y"][0] == "kept"


def test_what_is_missing_is_told_once_and_only_where_something_is():
    frame = pl.DataFrame({
        "a": ["x", None, "y", "x"],
        "b": [1.5, None, 2.5, 3.5],  # missing where a is
        "c": [1.5, 2.5, None, 3.5],
        "d": [2.5, 9.5, None, 1.5],  # missing where c is
        "e": [1.5, 9.5, 2.5, 3.5],
    })  # fmt: skip
    assert [c.column for c in EventEncoder().fit(frame).columns_ if c.present] == ["c"]


# ---- Hours and weekdays


def cycles(**values):
    """Of each column of times, given by its name, what it learns, and the reason for it."""
    rows = pl.DataFrame(values)
    columns = [Column(name, "time", reason="x") for name in rows.columns]
    tell_cycles(rows, columns)
    return [(c.kept, c.hours, c.weekdays, c.reason) for c in columns]


DAY, WEEK = 18 * HOUR, 6 * 24 * HOUR  # nearly
NOTHING = (False, False, False, "x; all within less than a day: no hour is unusual")
HOURS = (True, True, False, "x; within less than a week: no weekday is unusual")
BOTH = (True, True, True, "x")


@pytest.mark.parametrize(
    ("span", "learned"), [(DAY - 1, NOTHING), (DAY, HOURS), (WEEK - 1, HOURS), (WEEK, BOTH)]
)
def test_a_day_or_a_week_must_nearly_be_covered_but_for_one_moment_in_a_hundred(span, learned):
    moments = [NOON - 90 * WEEK, *[NOON] * 99, *[NOON + span] * 99, NOON + 90 * WEEK]
    assert cycles(timestamp=moments) == [learned]


def test_moments_that_come_again_are_left_alone_and_an_events_own_are_not():
    """Others are as an event's own where they differ from event to event."""
    again = [NOON + i // 2 for i in range(100)]
    anew = [NOON + min(i, 50) for i in range(100)]
    times = {"issued_at": again, "seen_at": anew, "start_time": again, "event.timestamp": again}
    assert cycles(**times) == [BOTH, NOTHING, NOTHING, NOTHING]


def test_only_times_that_are_kept_learn_hours():
    rows = pl.DataFrame({"bytes": range(100), "time": [NOON] * 100, "user": ["a", "b"] * 50})
    columns = [Column("bytes", "quantity"), Column("time", "time"), Column("user", "category")]
    columns[1].drop("constant")
    tell_cycles(rows, columns)
    assert [(c.kept, c.hours, c.reason) for c in columns] == [
        (True, True, ""),
        (False, True, "constant"),
        (True, True, ""),
    ]
