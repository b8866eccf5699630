"""Who and what events are about: users, hosts, addresses, destinations, and pairs of them, found
without configuration.

OCSF's names come first, then names that other logs use, then the schema's types and the values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from nbsrc.events.schema import schema_type
from nbsrc.events.text import as_text
from nbsrc.incidents.fields import rule_fields
from nbsrc.scoring.usual import USERS_ELSEWHERE
from nbsrc.tabular.columns import Column
from nbsrc.tabular.rules import names_events
from nbsrc.tabular.values import as_number

# An event's user is in the first of the columns with such a name that it has.
ROLES = {
    "user": (
        r"actor\.user\.name", r"user\.name", r"actor\.user\.uid", r"user\.uid",
        r"(.*[._])?user(_?name)?", *USERS_ELSEWHERE, r"(.*[._])?(user_?id|account(_?name)?|login)",
    ),
    "host": (
        r"device\.hostname", r"src_endpoint\.hostname",
        r"(?!.*(dst|dest|target|url|proxy))(.*[._])?(host(_?name)?|computer(_?name)?|machine)",
    ),
    "address": (
        r"src_endpoint\.ip", r"device\.ip", r"id\.orig_h",  # of Zeek
        r"(?!.*(dst|dest|target|proxy))"
        r"(.*[._])?((src|source|client|remote|caller)_?)?ip(_?addr(ess)?)?",
    ),
    "destination": (
        r"http_request\.url\.hostname", r"dst_endpoint\.hostname", r"dst_endpoint\.ip",
        r"id\.resp_h",
        r"(.*[._])?(dst|dest|destination|target)([._]?(host(_?name)?|ip(_?addr(ess)?)?|name))?",
    ),
    "place": (
        r"src_endpoint\.location\.city", r"(.*[._])?(city|country(_?code)?|location|region)",
    ),
}  # fmt: skip
COORDINATES = r"src_endpoint\.location\.coordinates\.all"  # [longitude, latitude] as text
TYPES = {"username_t": "user", "email_t": "user", "hostname_t": "host", "ip_t": "address"}
ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}")
CLASSES = (
    r"type_name", r"type_uid", r"class_name", r"class_uid",
    r"(.*[._])?event_?name", r"(.*[._])?event_?type", r"(.*[._])?event_?(id|code)",
)  # fmt: skip
ACTS = r"api\.operation", r"process\.name", r"(.*[._])?(operation|action|method|command)(_?name)?"
STATUS = r"status(_id)?|(.*[._])?(status|outcome|result|success)"
CODE = r"http_response\.code|(.*[._])?(http_?)?(response|status)_?code"
FAILED = r"(?i)fail|denied|deny|error|refus|reject|invalid|unauthorized|forbidden"
PAIR = "address > destination"
EVERY = "all events"
TAKEN = {"time", "act", "failed", "row", "score", "uid", "field", "gap", "window", "period",
         "value", "entity", "start", "end", "alert", "measure", "amount", "length",
         "rule"}  # fmt: skip
MOST_QUANTITIES = 8
MOST_VALUES = (
    0.2  # distinct values among events, at most, for a column to be an entity by its values
)


@dataclass(frozen=True)
class Entities:
    """Where events tell what they are about.

    roles: the columns of each role, the first one that an event has counts. entities: the roles
    whose values are looked at over time, pairs as `PAIR`. classes, acts, status, codes: columns
    that tell what was done, and whether it failed. quantities: columns that are added up. names: of
    addresses that the past knows by one name only."""

    roles: Mapping[str, list[str]]
    entities: list[str]
    classes: list[str]
    acts: list[str]
    status: list[str]
    codes: list[str]
    quantities: list[str]
    towns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def find(
        cls, rows: pl.DataFrame, columns: Sequence[Column], *, further: Sequence[str] = ()
    ) -> "Entities":
        """Find them in flattened past events.

        columns: what the encoder made of their columns. further: columns that name entities, too.
        Raises ValueError if there is no such column."""
        known = [c.column for c in columns if c.reason not in ("excluded", "no value")]
        names = sorted(name for name in known if name in rows.columns)
        for name in further:
            if name not in names:
                some = ", ".join(names[:3])
                raise ValueError(f"no event has a field {name}: there are {some}, ...")
        roles = {role: _named(ways, names) for role, ways in ROLES.items()}
        roles = {role: own for role, own in roles.items() if own}
        for name in names:  # whose role the schema's type or the values tell
            role = _role_of(rows[name])
            if role and role not in roles and not any(name in own for own in roles.values()):
                roles[role] = [name]
        if "place" in roles:
            roles["place"] = roles["place"][:1]  # a town and a country are not two places
        if not set(roles) - {"place"} and not further:
            roles |= _by_values(rows, [c for c in columns if c.column in names])
        roles |= {_free(name): [name] for name in further}
        entities = [role for role in roles if role != "place"]
        if {"address", "destination"} <= set(roles):
            entities.append(PAIR)
        amounts = [c for c in columns if c.kept and c.kind == "quantity" and c.column in names]
        amounts.sort(key=lambda c: (not c.log, c.missing))
        used = {name for own in roles.values() for name in own}
        single = {c.column for c in columns if names_events(c)}
        told = [name for name in names if name not in single]
        return cls(
            roles,
            entities or [EVERY],
            _named(CLASSES, told)[:1],
            [name for name in _named(ACTS[:2], told) or _named(ACTS, told) if name not in used],
            _named((STATUS,), names),
            _named((CODE,), names),
            [c.column for c in amounts if _free(c.column) not in roles][:MOST_QUANTITIES],
            _towns(rows, roles),
        )

    def narrow(self, rows: pl.DataFrame, time: np.ndarray) -> pl.DataFrame:
        """The little of flattened events that windows need: a row an event.

        time: (rows,), epoch milliseconds, 0 where unknown.

        Columns: `time`, one for each role and pair (text; null where the event has none), `act`
        (what was done), `failed`, one for each quantity (floats), and of OCSF events `rule`, what
        rules look at."""
        schema = rows.schema

        def text(names: Sequence[str]) -> pl.Expr:
            there = [as_text(name, schema[name]) for name in names if name in schema]
            return pl.coalesce(*there, pl.lit(None, pl.String))

        def place(names: Sequence[str]) -> pl.Expr:
            at = [name for name in rows.columns if self.towns and re.fullmatch(COORDINATES, name)]
            if not at:
                return text(names)
            # Where no past event has named a place, its coordinates would be one place more.
            known = text(at).replace_strict(self.towns, default=None, return_dtype=pl.String)
            return pl.coalesce(text(names), known)

        def number(name: str) -> pl.Expr:
            if name not in schema:
                return pl.lit(None, pl.Float64).alias(name)
            return as_number(name, schema[name]).alias(name)

        failed = [text([name]).str.contains(FAILED) | (text([name]) == _failure(name))
                  for name in self.status]  # fmt: skip
        failed += [number(name).is_between(400, 599) for name in self.codes]
        act = pl.concat_str(text(self.classes), text(self.acts), separator=": ", ignore_nulls=True)
        frame = rows.select(
            pl.Series("time", time, pl.Int64),
            *(text(names).alias(role) for role, names in self.roles.items() if role != "place"),
            *(place(names).alias("place") for role, names in self.roles.items() if role == "place"),
            pl.when(act != "").then(act).alias("act"),
            pl.any_horizontal(*failed, pl.lit(False)).fill_null(False).alias("failed"),
            *map(number, self.quantities),
        )
        if PAIR in self.entities:
            # flows always have the address, and the name only at times
            numbers = [n for n in self.roles["destination"] if re.search(r"ip(_?addr(ess)?)?$", n)]
            target = pl.coalesce(rows.select(text(numbers).alias("to"))["to"], "destination")
            frame = frame.with_columns(pl.format("{} > {}", "address", target).alias(PAIR))
        if "class_uid" in schema:
            frame = frame.with_columns(rule_fields(rows).to_struct("rule"))
        if EVERY in self.entities:
            frame = frame.with_columns(pl.lit(EVERY).alias(EVERY))
        return frame


def _towns(rows: pl.DataFrame, roles: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The name that is most often with each coordinates."""
    at = [name for name in rows.columns if re.fullmatch(COORDINATES, name)]
    if not at or "place" not in roles:
        return {}
    both = rows.select(pl.col(at[0]).alias("at"), pl.col(roles["place"][0]).alias("town"))
    counts = both.drop_nulls().group_by("at", "town").len()
    best = counts.sort("len", "town", descending=[True, False]).unique(
        "at", keep="first", maintain_order=True
    )
    return dict(best.select("at", "town").sort("at").iter_rows())


def _free(name: str) -> str:
    """A column's name as a role's: none that the columns of events or windows have."""
    return f"{name} (field)" if name in TAKEN else name


def _failure(name: str) -> str:
    """How a failure is written in a column where it is no word."""
    return "2" if name == "status_id" else "false" if name.endswith("success") else "failure"


def _named(ways: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that the ways match, in the order of the ways."""
    found = [name for way in ways for name in names if re.fullmatch(way, name, re.IGNORECASE)]
    return list(dict.fromkeys(found))


def _role_of(series: pl.Series) -> str | None:
    """What the schema's type of a column says, or the look of its values."""
    known = schema_type(series.name)
    if known:
        return TYPES.get(known[0])
    values = series.drop_nulls().head(200)
    if values.dtype != pl.String or not len(values):
        return None
    looks = sum(bool(ADDRESS.fullmatch(value)) for value in values)
    return "address" if looks >= 0.9 * len(values) else None


def _by_values(rows: pl.DataFrame, columns: Sequence[Column]) -> dict[str, list[str]]:
    """Where no name and no type tells: the text with the most distinct values that come again."""
    counts = {
        c.column: rows[c.column].n_unique()
        for c in columns
        if c.kept and c.kind == "category" and rows.schema[c.column] == pl.String
    }
    again = {n: k for n, k in counts.items() if 3 <= k <= max(3, MOST_VALUES * rows.height)}
    return {_free(best): [best] for best in sorted(again, key=lambda n: (-again[n], n))[:1]}
