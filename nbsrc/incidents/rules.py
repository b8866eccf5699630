"""Rules written for the nine kinds of incident by somebody who knows them: the bar that any method
without labels has to take.

Every rule knows OCSF's names, the kind's shape and a limit. No rule is for the kinds of
`nbsrc.simulation.unforeseen`."""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from nbsrc.incidents.alerts import ALERTS, ranked

MINUTE, HOUR = 60_000, 3_600_000
LOGON, CALL, PROCESS, FLOW, HTTP = 3002, 6003, 1007, 4001, 4002  # OCSF classes
RIGHTS = ["AttachUserPolicy", "CreateAccessKey", "UpdateLoginProfile", "AssumeRole",
          "GetSecretValue"]  # fmt: skip
EVEN = 0.1  # median absolute deviation of gaps over their median


class Rule(NamedTuple):
    """Events that match, of one entity, within a time: an alert where `amount` reaches `least`.

    new: whether only entities count that no such event of the past had."""

    name: str
    match: pl.Expr
    entity: str
    within: int  # milliseconds
    amount: pl.Expr
    least: float
    new: bool = False


def _is(class_uid: int) -> pl.Expr:
    return pl.col("class") == class_uid


_gaps = pl.col("time").sort().diff().drop_nulls()
_spread = (_gaps - _gaps.median()).abs().median() / _gaps.median()
_wait = (pl.col("time").max() - pl.col("time").min()).clip(MINUTE)
RULES = (
    Rule("accounts that fail from one address", _is(LOGON) & pl.col("failed"), "address", 2 * HOUR,
         pl.col("user").n_unique(), 3),
    Rule("failed logons of one account", _is(LOGON) & pl.col("failed"), "user", 10 * MINUTE,
         pl.len(), 4),
    Rule("towns of one account", pl.col("class").is_in([LOGON, CALL]) & ~pl.col("failed"), "user",
         HOUR, pl.col("place").drop_nulls().n_unique(), 2),
    Rule("rights that one account gives and uses", _is(CALL) & pl.col("operation").is_in(RIGHTS),
         "user", HOUR, pl.col("operation").n_unique(), 4),
    Rule("bytes from one address to one destination",
         _is(FLOW) & (pl.col("bytes_out") > 1e8), "pair", HOUR, pl.col("bytes_out").sum(), 3e8,
         new=True),
    Rule("days of uploads from one address to one destination",
         _is(FLOW) & (pl.col("bytes_out") > 2000), "pair", 48 * HOUR, pl.len(), 6, new=True),
    Rule("flows at a beat", _is(FLOW), "pair", 6 * HOUR,
         pl.when(_spread < EVEN).then(pl.len()).otherwise(0), 9),
    Rule("programs started on one host", _is(PROCESS), "host", 5 * MINUTE,
         pl.col("program").is_in(["encrypt", "volumes", "archive", "copy"]).sum(), 6),
    Rule("errors of one service", _is(HTTP) & (pl.col("code") >= 500), "destination", 20 * MINUTE,
         pl.len(), 3),
)  # fmt: skip


def rule_alerts(past: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """The alerts of all rules about new events: a frame of `ALERTS`, the score how often the limit
    is contained in the amount.

    past, new: flattened OCSF events. Raises ValueError if they have no `class_uid`."""
    if "class_uid" not in new.columns:
        raise ValueError("the rules are written for OCSF events: these have no class_uid")
    before, now = _fields(past), _fields(new).with_row_index("row")
    return ranked(
        pl.concat([pl.DataFrame(schema=ALERTS), *(_alerts(r, before, now) for r in RULES)])
    )


def _fields(rows: pl.DataFrame) -> pl.DataFrame:
    """What the rules look at, by short names."""

    def first(*names: str) -> pl.Expr:
        there = [pl.col(name) for name in names if name in rows.columns]
        return pl.coalesce(*there, pl.lit(None))

    address, target = first("src_endpoint.ip"), first("dst_endpoint.ip")
    fields = rows.select(
        first("time").alias("time"),
        first("class_uid").alias("class"),
        first("actor.user.name", "user.name").alias("user"),
        first("device.hostname").alias("host"),
        address.alias("address"),
        first("http_request.url.hostname", "dst_endpoint.hostname").alias("destination"),
        pl.format("{} > {}", address, target).alias("pair"),
        first("src_endpoint.location.city").alias("place"),
        (first("status_id") == 2).fill_null(False).alias("failed"),
        first("api.operation").alias("operation"),
        first("process.name").cast(pl.String).str.replace(r"\.\w+$", "").alias("program"),
        first("traffic.bytes_out").cast(pl.Float64).alias("bytes_out"),
        first("http_response.code").cast(pl.Int64).alias("code"),
    )
    return fields.drop_nulls("time")


def _alerts(rule: Rule, before: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    matching = now.filter(rule.match, pl.col(rule.entity).is_not_null())
    if rule.new:
        known = before.filter(rule.match)[rule.entity].drop_nulls().unique()
        matching = matching.filter(~pl.col(rule.entity).is_in(known.implode()))
    half = rule.within // 2
    both = pl.concat(list(_twice(matching, half)))
    windows = both.group_by(rule.entity, "window").agg(
        rule.amount.cast(pl.Float64).alias("amount"),
        pl.col("time").min().alias("start"),
        pl.col("time").max().alias("end"),
        pl.col("row").cast(pl.Int64).sort().alias("rows"),
    )
    told = pl.format(f"{{}} {rule.name}, {{}}; the limit is {rule.least:g}", "amount", rule.entity)
    return windows.filter(pl.col("amount") >= rule.least).select(
        (pl.col("amount") / rule.least).alias("score"),
        pl.lit(rule.entity).alias("entity"),
        pl.col(rule.entity).alias("value"),
        pl.col("start", "end").cast(ALERTS["start"]),
        "rows",
        pl.lit([rule.name], pl.List(pl.String)).alias("kinds"),
        told.alias("reason"),
    )


def _twice(events: pl.DataFrame, half: int) -> Iterator[pl.DataFrame]:
    """Each event in the two windows of twice `half` that it lies in."""
    for back in (0, 1):
        yield events.with_columns((pl.col("time") // half - back).alias("window"))
