"""No single value gives an incident away: what a lookup table of suspicious values would find
without learning."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from nbsrc.simulation.stream import SCENARIOS, simulate_events
from nbsrc.simulation.unforeseen import UNFORESEEN


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from leaves(below, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for below in value:
            yield from leaves(below, f"{path}[]")
    else:
        yield path, value


def test_no_value_belongs_to_incidents_more_than_to_the_rest() -> None:
    # Three companies with two instances each: what one victim or one address has in common is not a
    # rule, what holds for five of a scenario's six instances is.
    kinds = (*SCENARIOS, *UNFORESEEN)
    streams = [simulate_events(25_000, seed=seed, scenarios=kinds) for seed in range(3)]
    instances: dict[tuple[str, int, str, Any], set[tuple[int, int]]] = defaultdict(set)
    in_incidents: Counter[tuple[int, str, Any]] = Counter()
    everywhere: Counter[tuple[int, str, Any]] = Counter()
    for seed, (events, labels) in enumerate(streams):
        of = {uid: (scenario, instance) for uid, scenario, instance in labels.iter_rows()}
        for event in events:
            if event["metadata"]["uid"] in of:
                scenario, instance = of[event["metadata"]["uid"]]
                for path, value in set(leaves(event)):
                    in_incidents[event["class_uid"], path, value] += 1
                    instances[scenario, event["class_uid"], path, value].add((seed, instance))
    usual = {key[1:] for key, found in instances.items() if len(found) >= 5}
    assert len(usual) > 100
    for events, _ in streams:
        for event in events:
            everywhere.update(
                usual & {(event["class_uid"], path, value) for path, value in leaves(event)}
            )
    telling = {
        key: (in_incidents[key], everywhere[key])
        for key in usual
        if in_incidents[key] > 0.5 * everywhere[key]
    }
    assert telling == {}
