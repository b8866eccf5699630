"""Anomalies over several records: alerts that name events, and incidents that they find.

May import: what scores events (`detection`, `scoring`, `sequences`), `events`, `tabular`,
`support`.
A new way to alerts is a file that returns a frame of `nbsrc.incidents.alerts.ALERTS`.
"""
