"""The audit log of the cloud that the company rents: OCSF API Activity (6003), version 1.1.0."""

from collections.abc import Mapping

from nbsrc.simulation.company import Source, User
from nbsrc.simulation.products.base import Event, Sensor, digits, uuid
from nbsrc.simulation.products.objects import account_of, public_address
from nbsrc.simulation.world import BROWSERS, TOOLS

# What an operation does, by the first three letters of its verb; the others read.
# fmt: off
_ACTIVITIES = {
    "Cre": 1, "Run": 1, "Put": 1, "Ass": 1, "Upd": 3, "Att": 3, "Mod": 3, "Del": 4, "Det": 4,
}
# fmt: on


class CloudAuditLog(Sensor):
    class_uid, class_name, category = 6003, "API Activity", "Application Activity"
    activities: Mapping[int, str] = {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}
    product = ("AWS", "CloudTrail", "1.08")
    schema = "1.1.0"

    def __call__(
        self,
        time: int,
        user: User,
        source: Source,
        operation: str,
        *,
        service: str,
        resource: str,
        ok: bool = True,
        tool: int | None = None,
    ) -> Event:
        """A call of the API; `resource` is type/name, `tool` an index of TOOLS or None for a
        browser."""
        rng = self.rng
        kind, name = resource.split("/")
        domain = f"{service}.cloud.example"
        event = self.event(time, _ACTIVITIES.get(operation[:3], 2), ["cloud", "datetime"], ok=ok)
        event["actor"] = {"user": account_of(rng, user, self.start, detail=0.4)}
        event["cloud"] = self.cloud()
        event["src_endpoint"] = public_address(rng, source)
        event["src_endpoint"].pop("autonomous_system", None)  # not in OCSF 1.1
        event["api"] = {
            "operation": operation,
            "service": {"name": domain},
            "request": {"uid": uuid(rng)},
            "response": {"code": 200 if ok else 403},
        }
        agent = BROWSERS[user.browser] if tool is None else TOOLS[tool]
        event["http_request"] = {"user_agent": agent}
        if rng.random() < 0.6:
            event["actor"]["session"] = {
                "uid": digits(rng, 64),
                "issuer": "sts.cloud.example",
                "created_time": time - int(rng.lognormvariate(15, 1)),
                "is_mfa": True,
            }
        if rng.random() < 0.3:
            event["actor"]["idp"] = {"name": "Keyring", "uid": "idp-1"}
            event["actor"]["invoked_by"] = "console" if tool is None else "client"
        if rng.random() < 0.5:
            touched = {
                "type": kind,
                "name": name,
                "uid": f"res-{kind}-{name}",
                "region": "eu-central-1",
                "criticality": "medium",
                "namespace": "prod",
            }
            event["resources"] = [touched]
        if rng.random() < 0.4:
            event["api"]["version"] = "2016-11-15"
            event["api"]["response"]["message"] = "done" if ok else "deny"
            event["api"]["service"] |= {"uid": f"svc-{service}", "version": "1"}
        if rng.random() < 0.25:
            event["dst_endpoint"] = {"svc_name": domain, "port": 443}
            event["duration"] = int(rng.lognormvariate(4.5, 1))
        if rng.random() < 0.2:
            event["http_request"] |= {
                "http_method": "POST",
                "version": "1.1",
                "uid": uuid(rng),
                "url": {"hostname": domain, "path": "/", "scheme": "https"},
            }
        if rng.random() < 0.6:
            event["observables"] = [
                {"name": "actor.user.name", "type_id": 4, "type": "User Name", "value": user.name},
                {"name": "src_endpoint.ip", "type_id": 2, "type": "IP Address", "value": source.ip},
            ]
        return event
