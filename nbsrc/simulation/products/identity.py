"""The identity provider, where people log on and off: OCSF Authentication (3002)."""

from collections.abc import Mapping

from nbsrc.simulation.company import Source, User
from nbsrc.simulation.products.base import Event, Sensor, coded, uuid
from nbsrc.simulation.products.objects import account_of, device, public_address
from nbsrc.simulation.world import BROWSERS

_FACTORS = ((5, "Push Notification"), (6, "Hardware Token"), (8, "Email"))


class IdentityProvider(Sensor):
    class_uid, class_name, category = 3002, "Authentication", "Identity & Access Management"
    activities: Mapping[int, str] = {1: "Logon", 2: "Logoff"}
    product = ("Keyring", "Identity Cloud", "2026.02")

    def __call__(
        self,
        time: int,
        user: User,
        source: Source,
        app: str,
        *,
        ok: bool = True,
        logoff: bool = False,
        mfa: bool = True,
        browser: int | None = None,
    ) -> Event:
        """A logon or logoff of `user` at `app` from the public address of `source`; `browser`
        other than the user's own is an index of BROWSERS."""
        rng, remote = self.rng, source.kind != "office"
        event = self.event(time, 2 if logoff else 1, ["host"] if user.host.rich else [], ok=ok)
        event["user"] = account_of(rng, user, self.start, detail=0.7)
        event["src_endpoint"] = public_address(rng, source)
        event["src_endpoint"]["port"] = rng.randint(1024, 65535)
        event["service"] = {"name": app, "uid": f"app-{app}"}
        event |= {"is_mfa": mfa, "is_remote": remote, **coded("auth_protocol", 5, "SAML")}
        agent = BROWSERS[user.browser if browser is None else browser]
        event["http_request"] = {"user_agent": agent}
        if rng.random() < 0.3:
            event |= coded("auth_protocol", 6, "OAUTH 2.0")
        if rng.random() < 0.5:
            network = rng.random() < 0.7
            event |= coded("logon_type", *((3, "Network") if network else (2, "Interactive")))
        if rng.random() < 0.4:
            factor = {
                **coded("factor_type", *_FACTORS[user.factor]),
                "email_addr": f"{user.name}@corp.example",
                "provider": "Keyring",
            }
            event["auth_factors"] = [factor]
        if rng.random() < 0.5:
            event["session"] = {
                "uid": uuid(rng),
                "created_time": time,
                "expiration_time": time + 28_800_000,
                "issuer": "idp.corp.example",
                "is_remote": remote,
                "is_mfa": mfa,
                "is_vpn": source.kind == "hosting",
            }
        if rng.random() < 0.35:
            event["status_code"] = "0" if ok else "7"
            event["status_detail"] = "Accepted" if ok else "Rejected"
        if rng.random() < 0.25:
            event["dst_endpoint"] = {"hostname": "idp.corp.example", "svc_name": "sso", "port": 443}
        if user.host.rich:
            if rng.random() < 0.5:
                event["device"] = device(rng, user.host, self.start, detail=0.3)
            if rng.random() < 0.3:
                event["actor"] = {
                    "user": account_of(rng, user, self.start, detail=0.1),
                    "idp": {"name": "Keyring", "uid": "idp-1"},
                }
        if rng.random() < 0.2:
            event["message"] = f"{event['activity_name']} {event['status'].lower()}"
            event["duration"] = int(rng.lognormvariate(6, 0.8))
        return event
