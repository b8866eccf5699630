"""Reasons in words: what a field was, what is usual, and in which context."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from nbsrc.scoring.usual import EVERY, FEWEST, HOUR, KINDS, WEEKDAY, Usual
from nbsrc.tabular.columns import Column

RARE = 0.02  # of a context's events: a share below is told as rare
USUAL = 0.95  # of a context's events have the hours, or the weekdays, that are told as usual
SHOWN = 3  # values that are told as usual
WIDTH = 60  # characters of a value
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BYTES = re.compile(r"(^|[._])(bytes|size)([._]|$)")
ELSE = "; unusual beside the event's other fields"

Value = str | float | None


class Context(NamedTuple):
    kind: str  # "user", "host", "class" or "every"
    name: str  # such as "user cy"


def reasons(
    columns: Sequence[Column], event: dict[str, Value], names: Sequence[str | None], usual: Usual
) -> list[str]:
    """An event's reasons in words: those that say what is unusual by itself, else all.

    columns: the fields to tell of. event: their values, as `nbsrc.tabular` reads them: a quantity
    is a number, a moment milliseconds, all else a text. names: the event's user, host and class,
    and `EVERY`. What events of the same class mostly lack is no reason where this one lacks it."""
    kinds = zip([*KINDS, "every"], names, strict=True)
    known = [Context(kind, name) for kind, name in kinds if name and name in usual.events]
    told = [_reason(c, event.get(c.column), known, usual) for c in columns]
    plain = [text for text in told if text and not text.endswith(f"{ELSE})")]
    return plain or [text for text in told if text] or ["no field stands out by itself"]


def _reason(column: Column, value: Value, known: list[Context], usual: Usual) -> str | None:
    name = column.column
    field = name + HOUR if column.kind == "time" else name
    if value is None:
        own = next(context.name for context in known if context.kind in ("class", "every"))
        if 2 * _number_of(own, field, usual) < usual.events[own]:
            return None
        return f"{name} missing (usual for {own}: {_usual(column, field, own, usual)})"
    having = [
        context
        for context in known
        if _number_of(context.name, field, usual) >= FEWEST
        and name not in usual.kinds.get(context.kind, ())
    ]
    if not having:
        n = _number_of(EVERY, field, usual)
        return f"{name} {show(column, value)} (in {n:,} of {usual.events[EVERY]:,} events before)"
    if column.kind == "quantity":
        return _quantity(column, float(value), having, usual)
    if column.kind == "time":
        return _moment(column, float(value), having, usual)
    return _category(column, str(value), having, usual)


def show(column: Column, value: str | float) -> str:
    """A value as a person reads it: a moment as date and time, bytes with their unit."""
    if column.kind == "time":
        return f"{_date(float(value)):%a %Y-%m-%d %H:%M} UTC"
    if isinstance(value, str):
        return value if len(value) <= WIDTH else f"{value[: WIDTH - 3]}..."
    if BYTES.search(column.column) and value >= 0:
        units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
        while float(f"{value:.3g}") >= 1000 and len(units) > 1:
            value, units = value / 1000, units[1:]
        return f"{value:.3g} {units[0]}"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"
    return f"{value:.4g}"


def _date(milliseconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _number_of(context: str, field: str, usual: Usual) -> int:
    """How many events of the context have the field."""
    limits = usual.limits(context, field)
    return limits[0] if limits else sum(usual.counts(context, field).values())


def _quantity(column: Column, value: float, having: list[Context], usual: Usual) -> str:
    """The first context in which the quantity is out of what is usual tells most."""
    text = f"{column.column} {show(column, value)}"
    for _, context in having:
        limits = usual.limits(context, column.column)
        assert limits is not None
        if value > limits[2]:
            return f"{text} (usual for {context}: up to {show(column, limits[2])})"
        if value < limits[1]:
            return f"{text} (usual for {context}: {show(column, limits[1])} or more)"
    first = having[0].name
    return f"{text} (usual for {first}: {_usual(column, column.column, first, usual)}{ELSE})"


def _moment(column: Column, value: float, having: list[Context], usual: Usual) -> str:
    """The first context in which the hour, or the weekday, is out of what is usual tells most."""
    text, date = f"{column.column} {show(column, value)}", _date(value)
    for _, context in having:
        parts = {HOUR: date.hour} | ({WEEKDAY: date.isoweekday()} if column.weekdays else {})
        for part, own in parts.items():
            counts = usual.counts(context, column.column + part)
            if own not in _stretch(counts, part):
                told = _usual(column, column.column + part, context, usual)
                return f"{text} (usual for {context}: {told})"
    first = having[0].name
    return f"{text} (usual for {first}: {_usual(column, column.column + HOUR, first, usual)}{ELSE})"


def _category(column: Column, value: str, having: list[Context], usual: Usual) -> str | None:
    name, text = column.column, f"{column.column} {show(column, value)}"
    total = usual.counts(EVERY, name).get(value, 0)
    if not total:
        first = having[0].name
        return f"{text} never seen before (usual for {first}: {_usual(column, name, first, usual)})"
    for kind, context in having:
        if value not in usual.counts(context, name):
            others = usual.holders(kind, name, value)
            plural = kind if others == 1 else {"class": "classes"}.get(kind, f"{kind}s")
            seen = "seen once" if total == 1 else f"seen {total:,} times"
            seen += f" with {others:,} other {plural}" if others else ""
            told = _usual(column, name, context, usual)
            return f"{text} new for {context} ({seen}; usual: {told})"
    for _, context in having:
        counts = usual.counts(context, name)
        if counts[value] < RARE * sum(counts.values()):
            share = f"{counts[value]:,} of {sum(counts.values()):,}"
            told = _usual(column, name, context, usual)
            return f"{text} rare for {context} ({share}; usual: {told})"
    first = having[0].name
    if len(usual.counts(first, name)) == 1:
        return None  # always so with this user, host or class
    return f"{text} (usual for {first}: {_usual(column, name, first, usual)}{ELSE})"


def _usual(column: Column, field: str, context: str, usual: Usual) -> str:
    if limits := usual.limits(context, field):
        low, high = (show(column, limit) for limit in limits[1:])
        return low if low == high else f"{low} to {high}"
    counts = usual.counts(context, field)
    if column.kind == "time":
        part = HOUR if field.endswith(HOUR) else WEEKDAY
        stretch = _stretch(counts, part)
        if part == HOUR:
            return f"{stretch[0]:02}:00 to {stretch[-1]:02}:59 UTC"
        return " to ".join(dict.fromkeys(DAYS[day - 1] for day in (stretch[0], stretch[-1])))
    total = sum(counts.values())
    common = [(text, n) for text, n in list(counts.items())[:SHOWN] if n >= RARE * total]
    if 2 * sum(n for _, n in common) < total:
        return f"{len(counts):,} different values"
    more = len(counts) - len(common)
    few = ", ".join(show(column, text) for text, _ in common)
    return few + (f" and {more:,} more" if more else "")


def _stretch(counts: dict[str, int], part: str) -> list[int]:
    """The shortest stretch of hours, or of weekdays, that holds most of the counts.

    >>> _stretch({"23": 50, "0": 50, "12": 1}, HOUR)
    [23, 0]
    """
    circle = range(24) if part == HOUR else range(1, 8)
    first, length = _arc(tuple(counts.get(str(i), 0) for i in circle))
    return [*circle, *circle][first : first + length]


@lru_cache(10_000)
def _arc(counts: tuple[int, ...]) -> tuple[int, int]:
    """First place and length of the shortest stretch of a circle that holds most of the counts."""
    around, enough = counts * 2, USUAL * sum(counts)
    for length in range(1, len(counts) + 1):
        sums = [sum(around[first : first + length]) for first in range(len(counts))]
        if max(sums) >= enough:
            break
    return sums.index(max(sums)), length
