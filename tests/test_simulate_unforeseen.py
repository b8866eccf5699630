"""The incidents kept for reports: they are what they are named for, resemble much that is innocent,
and appear in no stream that doesn't ask for them."""

from collections import defaultdict
from typing import Any

import polars as pl
import pytest

from nbsrc.simulation.stream import SCENARIOS, simulate_events
from nbsrc.simulation.unforeseen import UNFORESEEN

Event = dict[str, Any]
MINUTE = 60_000


def uid(event: Event) -> str:
    return event["metadata"]["uid"]


def account(event: Event) -> str:
    user = event.get("user") or event.get("actor", {}).get("user") or {}
    return user.get("name", "")


@pytest.fixture(scope="module")
def stream() -> tuple[list[Event], pl.DataFrame]:
    return simulate_events(25_000, seed=11, scenarios=tuple(UNFORESEEN))


@pytest.fixture(scope="module")
def normal(stream) -> list[Event]:
    bad = set(stream[1]["uid"])
    return [event for event in stream[0] if uid(event) not in bad]


@pytest.fixture(scope="module")
def incidents(stream) -> dict[str, list[list[Event]]]:
    events = {uid(event): event for event in stream[0]}
    found: dict[str, list[list[Event]]] = defaultdict(list)
    for (scenario, _), rows in stream[1].group_by("scenario", "instance", maintain_order=True):
        found[scenario].append(sorted((events[u] for u in rows["uid"]), key=lambda e: e["time"]))
    return found


def test_the_usual_incidents_stay_the_same_beside_them() -> None:
    events, labels = simulate_events(3000, seed=1)
    more, all_labels = simulate_events(3000, seed=1, scenarios=(*SCENARIOS, *UNFORESEEN))
    assert len(more) == 3000 and set(labels["scenario"]) == set(SCENARIOS)
    assert all_labels.head(len(labels)).equals(labels)
    assert set(all_labels["scenario"]) == {*SCENARIOS, *UNFORESEEN} and len(UNFORESEEN) >= 4
    bad = set(labels["uid"])
    assert [e for e in events if uid(e) in bad] == [e for e in more if uid(e) in bad]


def test_they_are_rare_and_both_halves_of_a_stream_hold_them(stream, incidents) -> None:
    events, labels = stream
    assert len(labels) < 0.007 * len(events) and set(incidents) == set(UNFORESEEN)
    cut = events[int(0.7 * len(events))]["time"]
    for first, last in incidents.values():
        assert first[-1]["time"] < cut < last[0]["time"] and min(len(first), len(last)) >= 8


def test_lateral_movement_goes_from_each_machine_to_the_next(incidents) -> None:
    for events in incidents["lateral_movement"]:
        hops = [e for e in events if e["class_uid"] == 4001]
        ways = [(e["src_endpoint"]["ip"], e["dst_endpoint"]["ip"]) for e in hops]
        assert len(ways) >= 5
        assert [here for here, _ in ways[1:]] == [there for _, there in ways[:-1]]
        visited = {there for _, there in ways}
        programs = [e for e in events if e["class_uid"] == 1007]
        assert {e["device"]["ip"] for e in programs} == visited
        assert len({account(e) for e in programs}) == 1


def test_a_port_scan_tries_many_doors_within_minutes(incidents) -> None:
    for events in incidents["port_scan"]:
        assert events[-1]["time"] - events[0]["time"] < 5 * MINUTE
        assert len({e["src_endpoint"]["ip"] for e in events}) == 1
        doors = {(e["dst_endpoint"]["ip"], e["dst_endpoint"]["port"]) for e in events}
        assert len(doors) >= 10 and len([e for e in events if e["action"] == "Denied"]) >= 4


def test_an_enumeration_reads_all_kinds_of_things_and_is_often_refused(incidents) -> None:
    for events in incidents["api_enumeration"]:
        assert len({account(e) for e in events}) == len({e["src_endpoint"]["ip"] for e in events})
        assert len({e["api"]["operation"] for e in events}) >= 6
        assert all(e["activity_name"] == "Read" for e in events)
        assert len([e for e in events if e["status"] == "Failure"]) >= 3


def test_a_dormant_account_is_never_seen_but_in_its_incident(normal, incidents) -> None:
    active = {account(event) for event in normal}
    for events in incidents["dormant_account"]:
        (name,) = {account(event) for event in events}
        assert name and name not in active
        assert {event["class_uid"] for event in events} == {3002, 6003}


def test_each_has_innocent_look_alikes_more_often(normal, incidents) -> None:
    """What makes an incident stand out at a glance also holds for more that is innocent: hours in
    which an account starts programs on several servers, a machine is turned away again and again,
    or an account is refused again and again; accounts that were not there before."""

    def spells(events: list[Event], key: Any, what: Any) -> int:
        """For how many values of `key` and hours there are three or more different `what`."""
        seen: dict[tuple[Any, int], set[Any]] = defaultdict(set)
        for event in events:
            seen[key(event), event["time"] // (60 * MINUTE)].add(what(event))
        return sum(len(values) >= 3 for values in seen.values())

    programs = [e for e in normal if e["class_uid"] == 1007 and e["device"]["type"] == "Server"]
    people = [e for e in programs if not account(e).startswith("svc.")]
    rounds = spells(people, account, lambda e: e["device"]["ip"])
    assert rounds > len(incidents["lateral_movement"])
    denied = [e for e in normal if e["class_uid"] == 4001 and e["action"] == "Denied"]
    assert spells(denied, lambda e: e["src_endpoint"]["ip"], uid) > len(incidents["port_scan"])
    refused = [e for e in normal if e["class_uid"] == 6003 and e["status"] == "Failure"]
    assert spells(refused, account, uid) > len(incidents["api_enumeration"])
    first = {}
    for event in normal:
        if event["class_uid"] in (3002, 6003):
            first.setdefault(account(event), event["time"])
    begins = min(first.values())
    late = [name for name, time in first.items() if time - begins > 3 * 24 * 60 * MINUTE]
    assert len(late) > len(incidents["dormant_account"])


def test_look_alikes_come_only_with_their_incident() -> None:
    staff = 24 + 6  # people and service accounts of a company of this size
    for kinds in (SCENARIOS, (), *((kind,) for kind in UNFORESEEN)):
        events, _ = simulate_events(8000, seed=2, scenarios=kinds)
        accounts = {account(event) for event in events} - {""}
        assert (len(accounts) > staff) == ("dormant_account" in kinds)
