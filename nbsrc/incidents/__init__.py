"""Anomalies over several records: alerts that name events, and incidents that they find.

May import: what scores single events (`detection`, `scoring`), `events`, `tabular`, `support`.
A new way to alerts is a file that returns a frame of `nbsrc.incidents.alerts.ALERTS`.
"""
