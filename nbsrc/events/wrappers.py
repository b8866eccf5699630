"""Events that come in a wrapper: what a service puts around those that it hands out."""

from collections import Counter
from typing import Any

from nbsrc.events.decode import once

LISTS = frozenset({"Records", "records", "Events", "events", "logEvents", "value", "hits"})
TEXTS = frozenset({"message", "@message", "log", "_raw"})  # of which one may be an event as JSON
NAMES = LISTS | TEXTS | {"_source"}
MANY = 10  # objects in a list


def unwrapped(record: Any, notes: Counter[str], path: str = "") -> list[Any]:
    """The events that `record` holds, and in `notes` where they were; mostly, it is one itself.

    - The list `Records`, `events`, `logEvents` or `value` of objects, and `hits.hits` of a search:
      its elements. What stands beside it describes the answer, and is left out.
    - The object `_source`: itself.
    - The text `message`, `log` or `_raw`, if it is a JSON object: that, with what stands beside it
      under names that it does not have.

    Nothing is taken out of a record that has an object beside these: it may be the event."""
    if not isinstance(record, dict):
        return [record]
    if not NAMES.isdisjoint(record) and (found := _wrapped(record)):
        where, events = found
        path = f"{path}.{where}" if path else where
        if not events:
            notes[f"empty lists of events in {path}"] += 1
        return [own for event in events for own in unwrapped(event, notes, path)]
    if path:
        notes[f"events taken from {path}"] += 1
    for name, value in record.items():
        if isinstance(value, list) and len(value) >= MANY and isinstance(value[0], dict):
            notes[f"events with a list of {MANY} or more objects in {name}, read as one each"] += 1
    return [record]


def _wrapped(record: dict[str, Any]) -> tuple[str, list[Any]] | None:
    for name in LISTS & record.keys():
        value = record[name]
        if name == "hits" and isinstance(value, dict) and isinstance(value.get("hits"), list):
            return "hits.hits[]", value["hits"]
        if isinstance(value, list) and _plain(record, name):
            if value and all(isinstance(v, dict) for v in value):
                return f"{name}[]", value
            if not value and len(record) == 1:
                return f"{name}[]", []
    if isinstance(record.get("_source"), dict) and _plain(record, "_source"):
        return "_source", [record["_source"]]
    for name in TEXTS & record.keys():
        value = record[name]
        if isinstance(value, str) and value.lstrip()[:1] == "{" and _plain(record, name):
            try:
                event = once(value.encode())
            except ValueError:
                continue  # not JSON
            beside = {k: v for k, v in record.items() if k != name and k not in event}
            return name, [{**event, **beside}]
    return None


def _plain(record: dict[str, Any], name: str) -> bool:
    """Whether no object stands beside `name`, nor a list of them."""
    return not any(
        isinstance(value, dict)
        or (isinstance(value, list) and any(isinstance(v, dict) for v in value))
        for key, value in record.items()
        if key != name
    )
