"""Events that come in a wrapper: what a service puts around those that it hands out."""

from collections import Counter
from typing import Any

from nbsrc.events.decode import once

LISTS = frozenset({"Records", "records", "Events", "events", "logEvents", "value", "hits"})
TEXTS = frozenset({"message", "@message", "log", "_raw"})  # of which one may be an event as JSON
ANSWERS = frozenset(  # lists in a file that is one answer of a service
    {"items", "results", "result", "data", "logs", "entries", "rows", "docs", "hits", "alerts"}
)
# What stands before each document in a request of Elasticsearch's bulk API, and what is in it.
ACTIONS = frozenset({"index", "create", "update", "delete"})
ACTED_ON = frozenset({"_index", "_id", "_type", "routing", "pipeline", "version", "require_alias"})
NAMES = LISTS | TEXTS | ACTIONS | {"_source", "preview"}
MANY = 10  # objects in a list


def unwrapped(
    record: Any, notes: Counter[str], path: str = "", *, alone: bool = False
) -> list[Any]:
    """The events that `record` holds, and in `notes` where they were; mostly, it is one itself.

    - The list `Records`, `events`, `logEvents` or `value` of objects, and `hits.hits` of a search:
      its elements. What stands beside it describes the answer, and is left out.
    - The object `_source`, and `result` of Splunk: itself.
    - The text `message`, `log` or `_raw`, if it is a JSON object: that, with what stands beside it
      under names that it does not have.
    - The list `items`, `results`, `data` or the like of ten or more objects, if the record is the
      only one in its file (`alone`): its elements.
    - An action line of a bulk request: nothing.

    Nothing is taken out of a record that has an object beside these: it may be the event."""
    if not isinstance(record, dict):
        return [record]
    found = None if NAMES.isdisjoint(record) else _wrapped(record)
    if found or (alone and (found := _answer(record))):
        where, events = found
        path = f"{path}.{where}" if path else where
        if where in ACTIONS:
            notes["action lines of a bulk request left out"] += 1
        elif not events:
            notes[f"empty lists of events in {path}"] += 1
        return [own for event in events for own in unwrapped(event, notes, path)]
    if path:
        notes[f"events taken from {path}"] += 1
    for name, value in record.items():
        if isinstance(value, list) and len(value) >= MANY and isinstance(value[0], dict):
            told = f"events with a list of {MANY} or more objects in {name}, read as one each"
            notes[f"{told} (jq '.{name}[]' takes them out)"] += 1
    return [record]


def _wrapped(record: dict[str, Any]) -> tuple[str, list[Any]] | None:
    if len(record) == 1 and (action := next(iter(record))) in ACTIONS:
        about = record[action]
        if isinstance(about, dict) and about.keys() <= ACTED_ON:
            return action, []
    if isinstance(record.get("preview"), bool):  # Splunk's
        if isinstance(record.get("result"), dict):
            return "result", [record["result"]]
        if _objects(record.get("results")):
            return "results[]", record["results"]
    for name in LISTS & record.keys():
        value = record[name]
        if name == "hits" and isinstance(value, dict) and isinstance(value.get("hits"), list):
            return "hits.hits[]", value["hits"]
        if isinstance(value, list) and _plain(record, name) and _is_list(record, name):
            if _objects(value):
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


def _answer(record: dict[str, Any]) -> tuple[str, list[Any]] | None:
    """The only list of many objects in a file's only record, if its name says that it is that."""
    many = [name for name, own in record.items() if _objects(own) and len(own) >= MANY]
    if len(many) == 1 and many[0] in ANSWERS:
        return f"{many[0]}[]", record[many[0]]
    return None


def _objects(value: Any) -> bool:
    """Whether it is a list of objects, and not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _is_list(record: dict[str, Any], name: str) -> bool:
    """Whether nothing beside `value`, a name that events have, too, says that it is an event's."""
    return name != "value" or all(k == name or "odata" in k or k == "nextLink" for k in record)


def _plain(record: dict[str, Any], name: str) -> bool:
    """Whether no object stands beside `name`, nor a list of them."""
    return not any(
        isinstance(value, dict)
        or (isinstance(value, list) and any(isinstance(v, dict) for v in value))
        for key, value in record.items()
        if key != name
    )
