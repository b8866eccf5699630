"""The flow collector, which counts what connections move: OCSF Network Activity (4001)."""

from collections.abc import Mapping

from nbsrc.simulation.company import Host, Site, User
from nbsrc.simulation.products.base import Event, Sensor, coded, digits
from nbsrc.simulation.products.connections import far_end, near_end, tls, traffic
from nbsrc.simulation.products.objects import account_of, device

_APPS = {53: "dns", 123: "ntp", 443: "tls", 22: "ssh", 5432: "sql", 445: "smb"}


class FlowCollector(Sensor):
    class_uid, class_name, category = 4001, "Network Activity", "Network Activity"
    activities: Mapping[int, str] = {1: "Open", 2: "Close", 6: "Traffic"}
    product = ("Flowline", "Flow Collector", "5.0.2")

    def __call__(
        self,
        time: int,
        host: Host,
        target: Host | Site,
        port: int,
        *,
        up: float,
        down: float,
        duration: float,
        user: User | None = None,
        activity: int = 6,
        ok: bool = True,
    ) -> Event:
        """A flow from `host`: `up` and `down` in bytes, `duration` in milliseconds; activity 1
        open, 2 close, 6 traffic."""
        rng, inside, udp = self.rng, isinstance(target, Host), port in (53, 123)
        profiles = [*(["cloud"] if host.rich else []), "host", "security_control"]
        event = self.event(time, activity, profiles)
        event |= self.control(ok=ok)
        if host.rich:
            event["cloud"] = self.cloud()
        event["src_endpoint"] = near_end(rng, host)
        event["dst_endpoint"] = far_end(rng, target, port)
        connection: Event = {
            "direction_id": 3 if inside else 2,
            "protocol_num": 17 if udp else 6,
            "protocol_name": "udp" if udp else "tcp",
        }
        event["connection_info"] = connection
        if rng.random() < 0.5:
            connection |= {
                "boundary_id": 2 if inside else 3,
                **coded("protocol_ver", 4, "IPv4"),
                "boundary": "Internal" if inside else "External",
                "uid": digits(rng, 48),
            }
        if rng.random() < 0.5:
            connection["tcp_flags"] = rng.choice((18, 19, 24, 27))
        event["traffic"] = traffic(rng, up, down)
        event |= {"duration": int(duration), "end_time": time, "start_time": time - int(duration)}
        if rng.random() < 0.3:
            event |= {"count": rng.randint(1, 6), "app_name": _APPS.get(port, "any")}
        if rng.random() < 0.3:
            name = target.name if isinstance(target, Host) else target.domain
            event["tls"] = tls(rng, name, self.start)
        if rng.random() < 0.3:
            event["device"] = device(rng, host, self.start, detail=0.3)
        if user is not None and rng.random() < 0.5:
            event["actor"] = {"user": account_of(rng, user, self.start, detail=0.15)}
        if rng.random() < 0.15:
            event |= coded("status", *((1, "Success") if ok else (2, "Failure")))
        return event
