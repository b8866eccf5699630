"""Rules written for the nine kinds of incident by somebody who knows them: the bar that any method
without labels has to take, and one more list of the command's.

Every rule knows OCSF's names, the kind's shape and a limit. No rule is for the kinds of
`nbsrc.simulation.unforeseen`."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from nbsrc.incidents.alerts import ALERTS, ranked
from nbsrc.incidents.entities import PAIR
from nbsrc.incidents.reasons import duration, short

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
         _is(FLOW) & (pl.col("bytes_out") > 1e8), PAIR, HOUR, pl.col("bytes_out").sum(), 3e8,
         new=True),
    Rule("uploads in two days from one address to one destination",
         _is(FLOW) & (pl.col("bytes_out") > 2000), PAIR, 48 * HOUR, pl.len(), 6, new=True),
    Rule("flows at a beat", _is(FLOW), PAIR, 6 * HOUR,
         pl.when(_spread < EVEN).then(pl.len()).otherwise(0), 9),
    Rule("programs started on one host", _is(PROCESS), "host", 5 * MINUTE,
         pl.col("program").is_in(["encrypt", "volumes", "archive", "copy"]).sum(), 6),
    Rule("errors of one service", _is(HTTP) & (pl.col("code") >= 500), "destination", 20 * MINUTE,
         pl.len(), 3),
)  # fmt: skip


class Rules:
    """All of `RULES`. Learned: `known_`, for each rule about what is new, the entities of the past.

    Events are as `Entities.narrow` gives them, new ones with `row`; on events that are not OCSF's,
    and so have no column `rule`, no rule raises an alert."""

    def fit(self, past: pl.DataFrame) -> "Rules":
        """See which entities the past had."""
        before = _unnested(past)
        self.known_ = {
            rule.name: _matching(before, rule)[rule.entity].unique().sort()
            for rule in RULES
            if rule.new and "class" in before.columns
        }
        return self

    def alerts(self, events: pl.DataFrame) -> pl.DataFrame:
        """The alerts of all rules about new events: a frame of `ALERTS`, not deduplicated. The
        score is -log of the limit over the amount."""
        now, none = _unnested(events), pl.DataFrame(schema=ALERTS)
        if "class" not in now.columns:
            return none
        return ranked(pl.concat([none, *(self._alerts(rule, now) for rule in RULES)]))

    def _alerts(self, rule: Rule, now: pl.DataFrame) -> pl.DataFrame:
        matching = _matching(now, rule)
        if rule.new and rule.name in self.known_:
            matching = matching.filter(~pl.col(rule.entity).is_in(self.known_[rule.name].implode()))
        both = pl.concat(list(_twice(matching, rule.within // 2)))
        windows = both.group_by(rule.entity, "window").agg(
            rule.amount.cast(pl.Float64).alias("amount"),
            pl.col("time").min().alias("start"),
            pl.col("time").max().alias("end"),
            pl.col("row").cast(pl.Int64).sort().alias("rows"),
        )
        limit = short(rule.least)

        def told(window: dict[str, Any]) -> str:
            span = duration(window["end"] - window["start"])
            whose = f"{rule.entity} {window[rule.entity]}"
            return f"{short(window['amount'])} {rule.name} ({whose}, {span}); limit {limit}"

        over = windows.filter(pl.col("amount") >= rule.least)
        return over.select(
            (pl.col("amount") / rule.least).log().alias("score"),
            pl.lit(rule.entity).alias("entity"),
            pl.col(rule.entity).alias("value"),
            pl.col("start", "end").cast(ALERTS["start"]),
            "rows",
            pl.lit([rule.name], pl.List(pl.String)).alias("kinds"),
            pl.Series("reason", [told(window) for window in over.iter_rows(named=True)], pl.String),
        )


def _matching(events: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """The events that a rule counts, and what it reads of them, texts as texts."""
    read = {*events.columns} & {"row", "time", rule.entity, *rule.amount.meta.root_names()}
    own = events.filter(rule.match, pl.col(rule.entity).is_not_null()).select(sorted(read))
    return own.cast({pl.Categorical: pl.String})


def _unnested(events: pl.DataFrame) -> pl.DataFrame:
    """What the rules look at, of events that have a time and are OCSF's."""
    if "rule" not in events.columns:
        return pl.DataFrame()
    at = [name for name in ("row", "time") if name in events.columns]
    return events.filter(pl.col("time") != 0).select(*at, pl.col("rule").struct.unnest())


def _twice(events: pl.DataFrame, half: int) -> Iterator[pl.DataFrame]:
    """Each event in the two windows of twice `half` that it lies in."""
    for back in (0, 1):
        yield events.with_columns((pl.col("time") // half - back).alias("window"))
