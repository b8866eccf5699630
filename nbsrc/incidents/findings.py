"""Alerts as OCSF Detection Findings (class 2004) with the events that they are about."""

from collections.abc import Iterator
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import polars as pl

from nbsrc.scoring.alerts import CREATE, LEARNING, NEW, UNKNOWN, VERSION

PRODUCT = {"name": "nbsrc.incidents", "vendor_name": "nbsrc"}


def incident_findings(alerts: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """One finding for each row of the command's file.

    The events' uids are in `related_events`, and with their positions in `evidences`, too. The
    severity is unknown: a score says how rare such an alert is, not how much harm was done."""
    for alert in alerts.iter_rows(named=True):
        first, last = (int(alert[name].timestamp() * 1000) for name in ("start", "end"))
        events = [uid for uid in alert["uids"] if uid is not None]
        named = f"{alert['entity']} {alert['value']} {first} {alert['rows']} {alert['score']!r}"
        uid = str(uuid5(NAMESPACE_OID, named))
        finding = {
            "uid": uid,
            "title": f"Unusual together: {', '.join(alert['kinds'])}",
            "desc": alert["reason"],
            "first_seen_time": first,
            "last_seen_time": last,
            "analytic": {"name": PRODUCT["name"], "type_id": LEARNING},
        }
        if events:
            finding["related_events"] = [{"uid": event} for event in events]
        told = {
            name: alert[name] for name in ("alert", "score", "entity", "value", "rows", "kinds")
        }
        yield {
            "activity_id": CREATE,
            "category_uid": 2,
            "class_uid": 2004,
            "type_uid": 200400 + CREATE,
            "severity_id": UNKNOWN,
            "status_id": NEW,
            "time": last,
            "start_time": first,
            "end_time": last,
            "message": f"{alert['reason']} (score {alert['score']:.1f})",
            "metadata": {"uid": uid, "version": VERSION, "product": PRODUCT},
            "finding_info": finding,
            "evidences": [{"data": told}],
        }
