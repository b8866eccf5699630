"""Flagged events as OCSF Detection Findings (class 2004), for the tools that take alerts."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import polars as pl

VERSION = "1.3.0"  # of OCSF
LEARNING = 4  # the type of an analytic that learned what it knows
CREATE, NEW, UNKNOWN = 1, 1, 0


def findings(scores: pl.DataFrame, threshold: float) -> Iterator[dict[str, Any]]:
    """One finding for each flagged event of `Scorer.score`'s rows.

    The event's uid, its row, the score and the reasons are in `evidences`, the uid in
    `related_events`, too. An event without a time has the finding's."""
    now = int(time.time() * 1000)
    for event in scores.filter("flagged").iter_rows(named=True):
        told = {name: event[name] for name in ("uid", "row", "score", "reasons", "why")}
        yield finding(
            product="nbsrc.scoring",
            named=f"{event['uid']} {event['row']} {event['score']!r}",
            title=f"Unusual event: {event['why'][0]}",
            text="; ".join(event["why"]),
            first=now if event["time"] is None else int(event["time"].timestamp() * 1000),
            events=[] if event["uid"] is None else [event["uid"]],
            told=told | {"threshold": threshold},
        )


def finding(
    *,
    product: str,
    named: str,
    title: str,
    text: str,
    first: int,
    last: int | None = None,
    events: list[str],
    told: dict[str, Any],
) -> dict[str, Any]:
    """One finding; equal `named` give equal uids.

    text: what was found, in words. first: when, or, with `last`, from when to when, in milliseconds
    of the epoch. events: the uids of those that it is about. told: what is known of it, with its
    `score`. The severity is unknown: a score says how unusual something is, not how much harm it
    does."""
    uid = str(uuid5(NAMESPACE_OID, named))
    info: dict[str, Any] = {"uid": uid, "title": title, "desc": text, "first_seen_time": first}
    period = {}
    if last is not None:
        info["last_seen_time"] = last
        period = {"start_time": first, "end_time": last}
    info["analytic"] = {"name": product, "type_id": LEARNING}
    if events:
        info["related_events"] = [{"uid": event} for event in events]
    return {
        "activity_id": CREATE,
        "category_uid": 2,
        "class_uid": 2004,
        "type_uid": 200400 + CREATE,
        "severity_id": UNKNOWN,
        "status_id": NEW,
        "time": first if last is None else last,
        **period,
        "message": f"{text} (score {told['score']:.1f})",
        "metadata": {
            "uid": uid,
            "version": VERSION,
            "product": {"name": product, "vendor_name": "nbsrc"},
        },
        "finding_info": info,
        "evidences": [{"data": told}],
    }
