"""Reasons that a person can act on: what a field was, what is usual, and in which context."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nbsrc.scoring.reasons import reasons, show
from nbsrc.scoring.usual import Usual, contexts_of, kinds_of
from nbsrc.tabular.columns import Column
from nbsrc.tabular.expressions import each, value

MONDAY = 1_772_409_600_000  # 2026-03-02, epoch milliseconds
HOUR = 3_600_000
COLUMNS = {
    "src_endpoint.ip": "category",
    "status": "category",
    "traffic.bytes_out": "quantity",
    "time": "time",
    "url.path": "category",
}


def baseline() -> pl.DataFrame:
    """Logons of two users, on workdays from 8 to 16 h, and a few of a third; web requests of
    nobody."""
    rng = np.random.default_rng(0)
    logons = [
        {
            "class_name": "Authentication",
            "actor.user.name": user,
            "src_endpoint.ip": ip,
            "status": "Failure" if i == 7 else "Success",
            "traffic.bytes_out": 1000.0 * (1 + i % 90),
            "time": MONDAY + (i % 5 * 24 + 8 + int(rng.integers(9))) * HOUR,
        }
        for user, ip, n in (
            ("ann", "10.0.0.1", 200),
            ("cy", "10.0.0.2", 200),
            ("di", "10.0.0.1", 9),
        )
        for i in range(n)
    ]
    requests = [
        {"class_name": "HTTP Activity", "url.path": f"/{i % 50}", "time": MONDAY + i * HOUR}
        for i in range(150)
    ]
    return pl.DataFrame(logons + requests, infer_schema_length=None)


@pytest.fixture(scope="module")
def usual() -> Usual:
    rows = baseline()
    return Usual.of(rows, [Column(*pair) for pair in COLUMNS.items()], rows.columns)


def told(usual: Usual, *fields: str, **changes: Any) -> list[str]:
    """The reasons of a logon of cy with some changes."""
    usually = {"src_endpoint.ip": "10.0.0.2", "status": "Success", "traffic.bytes_out": 5000.0}
    event = {"class_name": "Authentication", "actor.user.name": "cy", "time": MONDAY + 9 * HOUR}
    rows = pl.DataFrame([usually | event | changes])
    columns = [Column(name, COLUMNS.get(name, "category")) for name in fields]
    values = each(rows, [c for c in columns if c.column in rows.columns], value)
    event = values.row(0, named=True) if values.width else {}
    return reasons(columns, event, contexts_of(rows, usual.kinds).row(0), usual)


def test_a_value_that_is_new_for_the_user_is_told_with_where_else_it_was_seen(usual):
    assert told(usual, "src_endpoint.ip", **{"src_endpoint.ip": "10.0.0.1"}) == [
        "src_endpoint.ip 10.0.0.1 new for user cy (seen 209 times with 2 other users; "
        "usual: 10.0.0.2)"
    ]


def test_a_value_that_nobody_had_is_told_as_never_seen(usual):
    assert told(usual, "src_endpoint.ip", **{"src_endpoint.ip": "192.0.2.9"}) == [
        "src_endpoint.ip 192.0.2.9 never seen before (usual for user cy: 10.0.0.2)"
    ]


def test_a_rare_value_is_told_with_how_rare(usual):
    assert told(usual, "status", status="Failure") == [
        "status Failure rare for user cy (1 of 200; usual: Success and 1 more)"
    ]


def test_a_quantity_is_told_beside_what_the_user_usually_has(usual):
    assert told(usual, "traffic.bytes_out", **{"traffic.bytes_out": 4.1e9}) == [
        "traffic.bytes_out 4.1 GB (usual for user cy: up to 89 kB)"
    ]
    assert told(usual, "traffic.bytes_out", **{"traffic.bytes_out": 3.0}) == [
        "traffic.bytes_out 3 B (usual for user cy: 1 kB or more)"
    ]


def test_a_moment_is_a_date_beside_the_usual_hours_or_weekdays(usual):
    night, sunday = MONDAY + 27 * HOUR, MONDAY + (6 * 24 + 9) * HOUR
    assert told(usual, "time", time=night) == [
        "time Tue 2026-03-03 03:00 UTC (usual for user cy: 08:00 to 16:59 UTC)"
    ]
    assert told(usual, "time", time=sunday) == [
        "time Sun 2026-03-08 09:00 UTC (usual for user cy: Mon to Fri)"
    ]


def test_without_a_known_user_the_host_is_the_context_then_the_class_then_all_events(usual):
    def bytes_out(**changes: Any) -> list[str]:
        return told(usual, "traffic.bytes_out", **{"traffic.bytes_out": 4.1e9} | changes)

    new = "traffic.bytes_out 4.1 GB (usual for {}: up to 89 kB)".format
    for user in ("mallory", "di", None):
        unknown: dict[str, Any] = {"actor.user.name": user}
        assert bytes_out(**unknown) == [new("host 10.0.0.2")]
        unknown["src_endpoint.ip"] = "192.0.2.9"
        assert bytes_out(**unknown) == [new("class Authentication")]
        assert bytes_out(**unknown, class_name=None) == [new("all events")]


def test_what_the_class_of_events_never_has_is_no_reason(usual):
    assert told(usual, "url.path", "status", status="Failure") == told(
        usual, "status", status="Failure"
    )
    assert told(usual, "src_endpoint.ip", **{"src_endpoint.ip": None}) == [
        "src_endpoint.ip missing (usual for class Authentication: 10.0.0.1, 10.0.0.2)"
    ]
    assert told(usual, "url.path") == ["no field stands out by itself"]


def test_what_is_usual_by_itself_is_told_only_where_nothing_else_is(usual):
    assert told(usual, "status") == [
        "status Success (usual for user cy: Success and 1 more; "
        "unusual beside the event's other fields)"
    ]
    new = {"src_endpoint.ip": "192.0.2.9"}
    assert told(usual, "status", "src_endpoint.ip", **new) == told(usual, "src_endpoint.ip", **new)


def test_what_is_usual_in_every_context_is_told_as_that(usual):
    elsewhere = "; unusual beside the event's other fields)"
    assert told(usual, "traffic.bytes_out", **{"traffic.bytes_out": 50_000.0}) == [
        f"traffic.bytes_out 50 kB (usual for user cy: 1 kB to 89 kB{elsewhere}"
    ]
    # an address is no context of its own
    assert told(usual, "src_endpoint.ip", **{"actor.user.name": None}) == [
        "src_endpoint.ip 10.0.0.2 (usual for class Authentication: 10.0.0.1, 10.0.0.2" + elsewhere
    ]
    # what a user always has is no reason
    assert told(usual, "src_endpoint.ip") == ["no field stands out by itself"]


def test_many_values_are_counted_and_long_ones_cut(usual):
    assert told(usual, "url.path", class_name="HTTP Activity", **{"url.path": "/" + "x" * 99}) == [
        f"url.path /{'x' * 56}... never seen before (usual for class HTTP Activity: "
        "50 different values)"
    ]


@pytest.mark.parametrize(
    ("name", "number", "shown"),
    [
        ("bytes", 999.0, "999 B"),
        ("traffic.bytes_in", 999_900.0, "1 MB"),
        ("file.size", 2.5e15, "2.5 PB"),
        ("traffic.bytes", -5.0, "-5"),
        ("packets", 3_241_127.0, "3,241,127"),
        ("ratio", 0.123456, "0.1235"),
        ("seconds", 86_399.5, "86,400"),
        ("flow_id", 1.5e18, "1.5e+18"),
    ],
)
def test_a_number_is_shown_with_its_unit_or_as_people_write_it(name, number, shown):
    assert show(Column(name, "quantity"), number) == shown


def test_users_hosts_and_classes_are_found_by_the_names_that_logs_give_them():
    names = ["eventID", "eventName", "sourceIPAddress", "userIdentity.userName", "bytes", "dst_ip"]
    assert kinds_of(names) == {
        "user": ["userIdentity.userName"],
        "host": ["sourceIPAddress"],
        "class": ["eventName", "eventID"],
    }
    ocsf = ["user.uid", "actor.user.uid", "actor.user.name", "src_endpoint.ip", "device.ip"]
    assert kinds_of(ocsf)["user"] == ["actor.user.name", "actor.user.uid", "user.uid"]
    assert kinds_of(ocsf)["host"] == ["device.ip", "src_endpoint.ip"]


def test_excluded_columns_are_no_context(usual):
    rows = baseline()
    without = Usual.of(
        rows,
        [Column(*pair) for pair in COLUMNS.items()],
        [name for name in rows.columns if name != "actor.user.name"],
    )
    assert not [context for context in without.events if context.startswith("user ")]


def test_saved_counts_are_read_as_they_were(usual, tmp_path: Path):
    usual.save(tmp_path / "usual.safetensors")
    read = Usual.load(tmp_path / "usual.safetensors")
    assert read.events == usual.events and "user di" not in read.events
    for name, table in usual.tables.items():
        assert read.tables[name].equals(table)
