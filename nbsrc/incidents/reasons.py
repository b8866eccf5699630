"""Which events make a window surprising, and a sentence that says so with its numbers."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from nbsrc.incidents.windows import in_windows, is_even

NAMED = 100  # events that an alert names, at most
BULK = 0.8  # of a sum: the largest events that make up so much of it are named
SHORT = 40  # characters of a value in a sentence
BY_SCORE = ("unusual events", "unexpected events")  # kinds of alerts that scores of events made
TOLD = 3  # events of such an alert


def contributing(windows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The events that make each window's measure what it is: `alert`, `rows` (positions, sorted),
    `first` and `last` (their times), `gap` (median, milliseconds), `values` (of what is counted, a
    few).

    windows: one kind of entity's, with `alert`, `value`, `period`, `window` and `measure`. events:
    that entity's, as `in_order` gives them, its name in `value`."""
    parts = [part for period, inside in in_windows(events)
             for part in _contributing(windows.filter(period=period), inside)]  # fmt: skip
    return pl.concat(parts)


def _contributing(windows: pl.DataFrame, events: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """`contributing` for windows of one period, and events as `in_windows` gives them."""
    own_windows = "value", "window"
    events = events.join(windows, on=own_windows, how="semi")
    for (measure,), own in windows.group_by("measure", maintain_order=True):
        what, _, of = str(measure).partition(" ")
        columns = {"row", "time", *own_windows, "gap", "failed"} | ({of} if of else set())
        columns |= {str(measure)} if what == "new" else set()
        inside = own.select("alert", *own_windows).join(
            events.select(sorted(columns)), on=own_windows
        )
        inside = inside.sort("alert", "time", "row")
        of_each = pl.col(of if of else "time")
        if what == "failed":
            keep = pl.col("failed")
        elif what == "beat":
            keep = is_even("alert")
        elif what == "new":
            keep = pl.col(str(measure)) > 0
        elif what == "distinct":
            keep = of_each.is_not_null() & pl.struct("alert", of).is_first_distinct()
        elif what in ("sum", "most"):
            by_size = of_each.fill_null(0).sort(descending=True)
            before = by_size.cum_sum() - by_size
            least = by_size.filter(before < BULK * by_size.sum()).min().over("alert")
            keep = of_each >= least
        else:
            keep = pl.lit(True)
        shown = of_each.cast(pl.String).unique(maintain_order=True).head(3)
        yield (
            inside.filter(keep)
            .group_by("alert")
            .agg(
                pl.col("row").tail(NAMED).cast(pl.Int64).sort().alias("rows"),
                pl.col("time").min().alias("first"),
                pl.col("time").max().alias("last"),
                pl.len().alias("events"),
                pl.col("gap").cast(pl.Float64).median(),
                shown.alias("values"),
            )
        )


def sentence(window: dict[str, Any]) -> str:
    """What a window's measure is, in words: how much, whose, in what time, and what is usual.

    window: a row with the columns of `WindowSurprise.windows`, of `contributing`, and `own` and
    `usual`."""
    what, _, of = window["measure"].partition(" ")
    whose = f"{window['entity']} {window['value'][: 2 * SHORT]}"
    span = duration(window["last"] - window["first"])
    values = ", ".join(value[:SHORT] for value in window["values"] if value)
    n = window["events"]
    if what == "new":
        told = f"{n} {plural(of, n)} never seen with {whose} before in {span} ({values})"
        return f"{told}; {novel(window['own'])}"
    amount = window["amount"]
    told = {
        "count": f"{amount:.0f} events of {whose} in {span}",
        "failed": f"{amount:.0f} failures of {whose} in {span}",
        "beat": f"{amount:.0f} events of {whose} at a beat of {duration(window['gap'] or 0)}",
        "distinct": f"{amount:.0f} {plural(of, amount)} with {whose} in {span} ({values})",
        "sum": f"{of} of {whose} add up to {short(amount)} in {span}",
        "most": f"{of} of {whose} reaches {short(amount)}",
    }[what]
    limit = window["usual"] if window["own"] is None else window["own"]
    whom = kin(window["entity"]) if window["own"] is None else "it"
    most = f"at most {short(limit)}" if limit else "none"
    within = f"in {'an hour' if window['period'] == 'hour' else 'a day'}"
    return f"{told}; usual for {whom}: {most} {within}"


def with_events(alerts: pl.DataFrame, events: pl.DataFrame, roles: Sequence[str]) -> list[str]:
    """The alerts' reasons; those that only say how many events are unusual, with what the events
    were: when, what was done, and with whom.

    events: as `Entities.narrow` gives them, a row at each of the alerts' `rows`."""
    return [
        f"{alert['reason']}: {'; '.join(_event(e, alert['entity'], roles) for e in own)}"
        if alert["kinds"][0] in BY_SCORE
        else alert["reason"]
        for alert in alerts.iter_rows(named=True)
        for own in [events[alert["rows"][:TOLD]].iter_rows(named=True)]
    ]


def _event(event: dict[str, Any], entity: str, roles: Sequence[str]) -> str:
    moment = datetime.fromtimestamp(event["time"] / 1000, UTC)
    what = [event["act"][:SHORT]] if event["act"] else []
    what += ["failed"] if event["failed"] else []
    what += [f"{r} {event[r][:SHORT]}" for r in roles if event[r] and r not in entity.split(" > ")]
    return f"{moment:%H:%M} {', '.join(what) or 'nothing else is known'}"


def kin(entity: str) -> str:
    """All entities of a kind."""
    return "such pairs" if " > " in entity else plural(entity, 2)


def novel(own: float | None) -> str:
    """What the past says about novelties of an entity."""
    if own is None:
        return "it has no past"
    return "rare among its peers, too"


def plural(of: str, n: float) -> str:
    """A role's name for so many."""
    if n == 1:
        return of
    return f"{of}es" if of.endswith("s") else f"{of}s"


def short(amount: float) -> str:
    """A number in three digits: 3, 41, 1.2 thousand, 5.4 billion.

    >>> short(12_000), short(5.4e9), short(2.5e12)
    ('12 thousand', '5.4 billion', '2,500 billion')
    """
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e4, "thousand")):
        if amount >= size:
            amount /= 1e3 if name == "thousand" else size
            return f"{amount:,.0f} {name}" if amount >= 100 else f"{amount:.3g} {name}"
    return f"{amount:.4g}"


def duration(milliseconds: float) -> str:
    """A stretch of time in one unit: 40 seconds, 7.5 minutes, 3 hours.

    >>> duration(2_400_000)
    '40 minutes'
    >>> duration(7_190_000)
    '120 minutes'
    """
    for size, name in ((3_600_000, "hours"), (60_000, "minutes")):
        if milliseconds >= 2 * size:
            amount = milliseconds / size
            return f"{amount:,.0f} {name}" if amount >= 10 else f"{amount:.2g} {name}"
    return f"{milliseconds / 1000:.0f} seconds"
