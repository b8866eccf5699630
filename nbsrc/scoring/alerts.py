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
    `related_events`, too. The severity is unknown: a score says how unusual an event is, not how
    much harm it does. An event without a time has the finding's."""
    now = int(time.time() * 1000)
    for event in scores.filter("flagged").iter_rows(named=True):
        moment = now if event["time"] is None else int(event["time"].timestamp() * 1000)
        uid = str(uuid5(NAMESPACE_OID, f"{event['uid']} {event['row']} {event['score']!r}"))
        finding = {
            "uid": uid,
            "title": f"Unusual event: {event['why'][0]}",
            "desc": "; ".join(event["why"]),
            "first_seen_time": moment,
            "analytic": {"name": "nbsrc.scoring", "type_id": LEARNING},
        }
        if event["uid"] is not None:
            finding["related_events"] = [{"uid": event["uid"]}]
        told = {name: event[name] for name in ("uid", "row", "score", "reasons", "why")}
        yield {
            "activity_id": CREATE,
            "category_uid": 2,
            "class_uid": 2004,
            "type_uid": 200400 + CREATE,
            "severity_id": UNKNOWN,
            "status_id": NEW,
            "time": moment,
            "message": f"{finding['desc']} (score {event['score']:.1f})",
            "metadata": {
                "uid": uid,
                "version": VERSION,
                "product": {"name": "nbsrc.scoring", "vendor_name": "nbsrc"},
            },
            "finding_info": finding,
            "evidences": [{"data": told | {"threshold": threshold}}],
        }
