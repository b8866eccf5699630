"""Alerts as OCSF Detection Findings (class 2004) with the events that they are about."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from nbsrc.scoring.alerts import finding

TOLD = ("alert", "score", "entity", "value", "rows", "kinds")


def incident_findings(alerts: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """One finding for each row of the command's file.

    The events' uids are in `related_events`, their positions in `evidences`."""
    for alert in alerts.iter_rows(named=True):
        first, last = (int(alert[name].timestamp() * 1000) for name in ("start", "end"))
        yield finding(
            product="nbsrc.incidents",
            named=f"{alert['entity']} {alert['value']} {first} {alert['rows']} {alert['score']!r}",
            title=f"Unusual together: {', '.join(alert['kinds'])}",
            text=alert["reason"],
            first=first,
            last=last,
            events=[uid for uid in alert["uids"] if uid is not None],
            told={name: alert[name] for name in TOLD},
        )
