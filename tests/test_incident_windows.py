"""Windows count what they say they count, of the right entity, and know nothing of the future."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from nbsrc.incidents.entities import EVERY, PAIR, Entities
from nbsrc.incidents.reasons import sentence, with_events
from nbsrc.incidents.surprise import WindowSurprise, rarity
from nbsrc.incidents.windows import EVEN, PERIODS, Seen, window_table
from nbsrc.tabular.encoder import EventEncoder

MINUTE, HOUR = 60_000, 3_600_000
START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
LOGONS = Entities(
    {"user": ["user"], "address": ["ip"]}, ["user", "address"], [], [], [], [], ["bytes"]
)


def events(n, *, seed, days=6.0, start=START):
    """Events of ten users with an address or two each, as `Entities.narrow` gives them."""
    rng = np.random.default_rng(seed)
    user = rng.integers(10, size=n)
    address = user + 10 * (rng.random(n) < 0.1)
    return pl.DataFrame(
        {
            "time": np.sort(start + rng.integers(int(days * 24 * HOUR), size=n)),
            "user": [None if rng.random() < 0.1 else f"u{i}" for i in user],
            "address": [f"10.0.0.{i}" for i in address],
            "act": rng.choice(["read", "write", "list"], n),
            "failed": rng.random(n) < 0.05,
            "bytes": rng.lognormal(6, 1, n),
        }
    ).with_row_index("row")


def slowly(rows, entity, seen):
    """What `window_table` counts, window by window and event by event."""
    table = {}
    for period, length in PERIODS.items():
        half = length // 2
        starts = {(t // half - back) * half for t in rows["time"] for back in (0, 1)}
        for value in rows[entity].drop_nulls().unique():
            mine = [e for e in rows.sort("time", "row").iter_rows(named=True) if e[entity] == value]
            for start in starts:
                own = [e for e in mine if start <= e["time"] < start + length]
                if own:
                    table[value, period, start] = count(own, mine, entity, seen)
    return table


OTHERS = {"user": ["address", "act"], "address": ["user", "act"]}


def count(own, mine, entity, past):
    gaps = [e["time"] - mine[mine.index(e) - 1]["time"] for e in own if mine.index(e) > 0]
    middle = np.median(gaps) if gaps else 0
    even = sum(abs(gap - middle) <= EVEN * middle for gap in gaps) if middle >= 1000 else 0
    counts = {
        "count": len(own),
        "failed": sum(e["failed"] for e in own),
        "beat": even if even >= 6 and even >= 0.6 * len(gaps) else 0,
        "sum bytes": sum(e["bytes"] for e in own),
        "most bytes": max(e["bytes"] for e in own),
    }
    peers = past[entity].drop_nulls().n_unique()
    for other in OTHERS[entity]:
        values = {e[other] for e in own} - {None}
        counts[f"distinct {other}"] = len(values)
        counts[f"new {other}"] = 0.0
        for value in values:
            before = past.filter(pl.col(entity) == own[0][entity], pl.col(other) == value).height
            earlier = any(e[other] == value and e["time"] < own[0]["time"] for e in mine)
            if not before and not earlier:
                having = past.filter(pl.col(other) == value)[entity].drop_nulls().n_unique()
                counts[f"new {other}"] += -np.log((having + 0.5) / (peers + 1))
    return counts


def test_windows_are_what_a_slow_and_plain_count_gives():
    past, new = events(60, seed=0), events(120, seed=1, days=1.5, start=START + 7 * 24 * HOUR)
    beat = pl.DataFrame({"time": [new["time"][5] + i * 4 * MINUTE for i in range(12)]})
    beat = beat.select(
        pl.arange(120, 132, dtype=pl.UInt32, eager=True).alias("row"), pl.col("time"),
        pl.lit("u77").alias("user"), pl.lit("10.9.9.9").alias("address"),
        pl.lit("beacon").alias("act"), pl.lit(False).alias("failed"), pl.lit(7.0).alias("bytes"),
    )  # fmt: skip
    new = pl.concat([new, beat], how="vertical_relaxed")
    table = window_table(new, LOGONS, Seen(past, LOGONS))
    assert table["beat"].max() == 11
    for entity in ("user", "address"):
        plain = slowly(new, entity, past)
        own = table.filter(entity=entity)
        assert own.height == len(plain)
        for row in own.iter_rows(named=True):
            expected = plain[row["value"], row["period"], row["window"]]
            assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_what_comes_at_once_is_a_burst_and_no_beat():
    past = events(60, seed=0)
    for apart, beats in ((400, 0), (1000, 11)):
        row = {"user": "u77", "address": "10.9.9.9", "act": "ping", "failed": False, "bytes": 7.0}
        burst = pl.DataFrame([row | {"row": i, "time": START + i * apart} for i in range(12)])
        assert window_table(burst, LOGONS, Seen(past, LOGONS))["beat"].max() == beats


def test_neither_the_order_of_rows_nor_a_late_event_changes_a_window():
    past, new = events(300, seed=0), events(200, seed=1, start=START + 6 * 24 * HOUR)
    learned = WindowSurprise(LOGONS).fit(past)
    keys = ["entity", "value", "period", "window"]
    whole = learned.windows(new).sort(keys)
    shuffled = new.sample(fraction=1, shuffle=True, seed=3)  # every event late or early
    assert whole.height > 20
    assert_frame_equal(learned.windows(shuffled).sort(keys), whole)
    again = WindowSurprise(LOGONS).fit(past.sample(fraction=1, shuffle=True, seed=4))
    assert_frame_equal(again.windows(new).sort(keys), whole)
    assert_frame_equal(learned.alerts(shuffled), learned.alerts(new))


@pytest.mark.parametrize(("at_once", "share"), [(1, 400), (7, 60), (50, 1)])
def test_windows_counted_a_few_events_at_once_are_whole(monkeypatch, at_once, share):
    past, new = events(300, seed=0), events(400, seed=1, start=START + 6 * 24 * HOUR)
    learned = WindowSurprise(LOGONS).fit(past)
    keys = ["entity", "value", "period", "window"]
    table, whole = window_table(new, LOGONS, learned.seen_), learned.windows(new)
    alerts = learned.alerts(new, budget=9)
    assert whole.height > 20 and alerts.height > 9
    monkeypatch.setattr("nbsrc.incidents.windows.AT_ONCE", at_once)
    monkeypatch.setattr("nbsrc.incidents.windows.SHARE", share)
    again = window_table(new, LOGONS, learned.seen_)
    assert_frame_equal(again.sort(keys), table.sort(keys))
    assert_frame_equal(learned.windows(new).sort(keys), whole.sort(keys))
    assert_frame_equal(learned.alerts(new, budget=9), alerts)


def test_the_future_changes_no_past_score():
    past, new = events(300, seed=0), events(300, seed=1, start=START + 6 * 24 * HOUR)
    learned = WindowSurprise(LOGONS).fit(past)
    # a beat goes on beyond the moment, which is the end of an hour that begins at half past
    moment = START + 8 * 24 * HOUR + HOUR // 2
    beat = pl.DataFrame(
        {
            "row": list(range(300, 345)), "act": ["beacon"] * 45, "failed": [False] * 45,
            "time": [moment - 120 * MINUTE - 1 + i * 4 * MINUTE for i in range(45)],
            "user": ["u77"] * 45, "address": ["10.9.9.9"] * 45, "bytes": [7.0] * 45,
        }
    )  # fmt: skip
    new = pl.concat([new, beat.select(new.columns)], how="vertical_relaxed")
    later = new.with_columns(
        address=pl.when(pl.col("time") > moment).then(pl.lit("10.6.6.6")).otherwise("address"),
        failed=pl.col("failed") | (pl.col("time") > moment),
    )
    keys = ["entity", "value", "period", "window"]

    def before(windows):
        length = pl.col("period").replace_strict(PERIODS)
        return windows.filter(pl.col("window") + length <= moment).sort(keys)

    ours = before(learned.windows(new))
    assert ours.height > 20
    assert_frame_equal(before(learned.windows(later)), ours)
    assert_frame_equal(before(learned.windows(new.filter(pl.col("time") <= moment))), ours)


def test_what_an_entity_never_did_surprises_and_the_alert_says_what():
    past = events(3000, seed=0)
    new = events(600, seed=1, days=2, start=START + 6 * 24 * HOUR)
    at = START + 7 * 24 * HOUR
    spray = pl.DataFrame(
        {
            "row": list(range(600, 609)), "time": [at + i * 5 * MINUTE for i in range(9)],
            "user": [f"u{i}" for i in range(9)], "address": ["10.1.1.1"] * 9, "act": ["read"] * 9,
            "failed": [True] * 9, "bytes": [500.0] * 9,
        }
    )  # fmt: skip
    alerts = (
        WindowSurprise(LOGONS).fit(past).alerts(pl.concat([new, spray], how="vertical_relaxed"))
    )
    first = alerts.row(0, named=True)
    assert (first["entity"], first["value"]) == ("address", "10.1.1.1")
    assert set(first["rows"]) <= set(range(600, 609)) and len(first["rows"]) >= 8
    assert "10.1.1.1" in first["reason"] and "minutes" in first["reason"]
    assert first["start"] >= datetime.fromtimestamp(at / 1000, UTC)


def test_one_entity_with_very_many_events_costs_no_more_than_many_with_few():
    busy = events(20_000, seed=0).with_columns(user=pl.lit("robot"), address=pl.lit("10.0.0.1"))
    learned = WindowSurprise(LOGONS).fit(busy)
    assert set(learned.windows(busy)["value"]) <= {"robot", "10.0.0.1"}
    table = window_table(busy, LOGONS, learned.seen_)
    assert table.filter(entity="user", period="day")["count"].max() > 2_500


def test_events_without_a_time_are_in_no_window_and_a_past_without_any_is_refused():
    past = events(300, seed=0)
    learned = WindowSurprise(LOGONS).fit(past)
    timeless = past.with_columns(time=pl.lit(0, pl.Int64))
    assert learned.windows(timeless).is_empty() and learned.alerts(timeless).is_empty()
    with pytest.raises(ValueError, match="no past event has a time"):
        WindowSurprise(LOGONS).fit(timeless)


def test_rarity_counts_the_past_and_rises_beyond_it():
    past = np.arange(1, 101.0)
    values = np.array([1.0, 51.0, 100.0, 200.0])
    a_day = np.array([100.5, 50.5, 1.5, 0.5]) / 4
    assert rarity(past, values, 4.0) == pytest.approx(-np.log(a_day) + [0, 0, 0, 2 * np.log(2)])


def found(rows, **more):
    encoder = EventEncoder().fit(rows)
    return Entities.find(rows, encoder.columns_, **more)


def test_names_of_other_logs_tell_who_and_what_and_ids_of_single_events_do_not():
    n = 60
    trail = pl.DataFrame({
        "eventID": [f"{i:032x}" for i in range(n)],
        "eventName": ["Get", "Put"] * (n // 2),
        "eventType": ["Call"] * n,
        "sourceIPAddress": ["10.0.0.1", "10.0.0.2"] * (n // 2),
    })  # fmt: skip
    assert found(trail).classes == ["eventName"]
    assert found(trail.drop("eventName", "eventType")).classes == []
    names = ["event_data.TargetUserName", "properties.userPrincipalName", "actor.alternateId",
             "auth.principalEmail", "event_data.SubjectUserName"]  # fmt: skip
    for name in names:
        whom = trail.with_columns(pl.Series(name, ["ann", "cy"] * (n // 2)))
        assert found(whom).roles["user"] == [name]
    zeek = pl.DataFrame(
        {"id.orig_h": ["10.0.0.1", "::1"] * 30, "id.resp_h": ["10.0.0.3", "::2"] * 30}
    )
    assert found(zeek).entities == ["address", "destination", PAIR]


def test_an_alert_that_scores_made_tells_what_its_events_were():
    events = pl.DataFrame({
        "time": [0, 3_600_000, 60_000],
        "act": ["Logon", None, "Call"],
        "failed": [True, False, False],
        "user": ["cy"] * 3,
        "address": ["10.0.0.1", None, "10.0.0.2"],
    })  # fmt: skip
    alert = {"entity": "user", "value": "cy", "rows": [0, 1], "kinds": ["unexpected events"],
             "reason": "2 unexpected events of user cy"}  # fmt: skip
    others = alert | {"kinds": ["sum bytes"], "reason": "a sentence"}
    assert with_events(pl.DataFrame([alert, others]), events, ["user", "address"]) == [
        "2 unexpected events of user cy: 00:00 Logon, failed, address 10.0.0.1; "
        "01:00 nothing else is known",
        "a sentence",
    ]


def test_entities_of_ocsf_events_are_found_by_name():
    n = 40
    rows = pl.DataFrame(
        {
            "time": [START + i for i in range(n)],
            "actor.user.name": [f"u{i % 5}" for i in range(n)],
            "user.name": [f"u{i % 3}" for i in range(n)],
            "src_endpoint.ip": [f"10.0.0.{i % 7}" for i in range(n)],
            "dst_endpoint.hostname": [None if i % 2 else f"h{i % 4}" for i in range(n)],
            "dst_endpoint.ip": [f"10.9.0.{i % 4}" for i in range(n)],
            "type_name": ["Logon"] * 30 + ["Logoff"] * 10,
            "status_id": [1 + (i == 3) for i in range(n)],
            "http_response.code": [503 if i == 4 else 200 for i in range(n)],
        }
    )
    own = found(rows)
    assert own.entities == ["user", "address", "destination", PAIR]
    narrow = own.narrow(rows, rows["time"].to_numpy())
    assert narrow["destination"].to_list()[:2] == ["h0", "10.9.0.1"]
    assert narrow[PAIR].to_list()[:2] == ["10.0.0.0 > 10.9.0.0", "10.0.0.1 > 10.9.0.1"]
    assert narrow["failed"].arg_true().to_list() == [3, 4]
    assert narrow["act"][0] == "Logon"


def test_a_town_without_a_name_is_known_by_its_coordinates():
    n = 40
    towns = {"Berlin": "13.4,52.52", "Boston": "-71.06,42.36"}
    city = ["Berlin", "Boston"] * 20
    rows = pl.DataFrame(
        {
            "time": [START + i for i in range(n)],
            "user.name": [f"u{i % 5}" for i in range(n)],
            "src_endpoint.location.city": city,
            "src_endpoint.location.coordinates.all": [towns[name] for name in city],
        }
    )
    own = found(rows)
    unnamed = rows.with_columns(
        pl.lit(None, pl.String).alias("src_endpoint.location.city"),
        pl.Series("src_endpoint.location.coordinates.all", ["-71.06,42.36", "1,2", *[None] * 38]),
    )
    places = own.narrow(unnamed, unnamed["time"].to_numpy())["place"]
    assert places.to_list()[:3] == ["Boston", None, None], "one place counts once"


def test_entities_of_plain_tables_are_found_by_name_by_type_and_by_values():
    n = 60
    base = {"time": [START + i for i in range(n)], "size": [float(i % 9) for i in range(n)]}
    named = found(pl.DataFrame(base | {"login": [f"u{i % 5}" for i in range(n)]}))
    assert named.roles == {"user": ["login"]}
    looks = found(pl.DataFrame(base | {"peer": [f"10.0.0.{i % 5}" for i in range(n)]}))
    assert looks.roles == {"address": ["peer"]}
    meters = {"meter": [f"m{i % 8}" for i in range(n)], "unit": ["a", "b"] * 30}
    again = found(pl.DataFrame(base | meters))
    assert again.roles == {"meter": ["meter"]}


def test_a_field_can_be_named_an_entity_and_one_that_is_not_there_is_refused():
    n = 40
    rows = pl.DataFrame({"time": [START + i for i in range(n)], "zone": ["a", "b"] * 20,
                         "user": [f"u{i % 5}" for i in range(n)]})  # fmt: skip
    assert found(rows, further=["zone"]).entities == ["user", "zone"]
    with pytest.raises(ValueError, match="no event has a field zoen"):
        found(rows, further=["zoen"])


def test_without_any_entity_all_events_are_one():
    times = [START + i * MINUTE for i in range(300)]
    rows = pl.DataFrame({"time": times, "size": [float(i % 90) for i in range(300)]})
    own = found(rows)
    assert own.entities == [EVERY]
    narrow = own.narrow(rows, rows["time"].to_numpy()).with_row_index("row")
    learned = WindowSurprise(own).fit(narrow)
    assert set(learned.past_["value"]) == {EVERY}
    assert learned.alerts(narrow).width == 8


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ({"measure": "failed", "amount": 41.0, "own": 3.0},
         "41 failures of address 10.0.0.7 in 40 minutes; usual for it: at most 3 in an hour"),
        ({"measure": "beat", "amount": 9.0, "own": 0.0, "gap": 480_000.0},
         "9 events of address 10.0.0.7 at a beat of 8 minutes; usual for it: none in an hour"),
        ({"measure": "beat", "amount": 9.0, "usual": 0.0, "gap": 2000.0},
         "9 events of address 10.0.0.7 at a beat of 2 seconds; usual for addresses: none in an"
         " hour"),
        ({"measure": "count", "amount": 2e6, "usual": 12.0, "entity": PAIR, "value": "a > b"},
         f"2000000 events of {PAIR} a > b in 40 minutes; usual for such pairs: at most 12 in an"
         " hour"),
    ],
)  # fmt: skip
def test_a_reason_is_a_sentence_with_what_is_usual(window, told):
    about = {"entity": "address", "value": "10.0.0.7", "period": "hour", "first": 0,
             "last": 40 * MINUTE, "events": 9, "values": [], "own": None, "usual": None,
             "gap": None}  # fmt: skip
    assert sentence(about | window) == told
