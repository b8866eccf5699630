"""The web gateway, which every request to a site or a service passes: OCSF HTTP Activity (4002)."""

from collections.abc import Mapping

from nbsrc.simulation.company import Host, Service, Site, User
from nbsrc.simulation.products.base import Event, Sensor, digits, uuid
from nbsrc.simulation.products.connections import far_end, near_end, tls, traffic
from nbsrc.simulation.products.objects import account_of, device
from nbsrc.simulation.world import BROWSERS, TOOLS

_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE")


class WebGateway(Sensor):
    class_uid, class_name, category = 4002, "HTTP Activity", "Network Activity"
    activities: Mapping[int, str] = {i: name.title() for i, name in enumerate(_METHODS, 1)}
    product = ("Gatehouse", "Web Gateway", "11.4")

    def __call__(
        self,
        time: int,
        host: Host,
        target: Site | Service,
        *,
        method: str = "GET",
        code: int = 200,
        up: float,
        down: float,
        latency: float,
        user: User | None = None,
        path: str | None = None,
    ) -> Event:
        """A request from `host`: `up` and `down` in bytes, `latency` in milliseconds; `path` is one
        of the target's own unless given."""
        rng = self.rng
        activity, profiles = _METHODS.index(method) + 1, ["host", "security_control"]
        event = self.event(time, activity, profiles, ok=code < 400)
        event |= self.control(ok=code not in (403, 429))
        path = path or rng.choice(target.paths)
        event["src_endpoint"] = near_end(rng, host)
        event["dst_endpoint"] = far_end(rng, target, 443)
        agent = BROWSERS[user.browser] if user and user.role != "service" else TOOLS[3]
        request: Event = {
            "http_method": method,
            "length": int(up),
            "version": "1.1" if rng.random() < 0.4 else "2",
            "user_agent": agent,
            "url": {"hostname": target.domain, "path": path, "scheme": "https", "port": 443},
        }
        if rng.random() < 0.4:
            query = f"page={rng.randint(1, 40)}&size=50"
            request["url"] |= {
                "url_string": f"https://{target.domain}{path}",
                "domain": target.domain,
                "resource_type": "document",
                "query_string": query,
            }
            request["args"] = query
        if rng.random() < 0.3:
            headers = {"Accept": "*/*", "Accept-Language": "en"}
            request["http_headers"] = [{"name": k, "value": v} for k, v in headers.items()]
            request["referrer"] = f"https://{target.domain}/"
            request["x_forwarded_for"] = [host.ip]
        if rng.random() < 0.3:
            request["uid"] = uuid(rng)
        response: Event = {"code": code, "length": int(down), "latency": int(latency)}
        if rng.random() < 0.6:
            response["content_type"] = "application/json" if rng.random() < 0.6 else "text/html"
        if rng.random() < 0.2:
            response["http_headers"] = [{"name": "Server", "value": "gateway"}]
        event |= {"http_request": request, "http_response": response, "duration": int(latency)}
        if rng.random() < 0.6:
            event["http_status"] = code
        if rng.random() < 0.6:
            event["traffic"] = traffic(rng, up, down)
        if rng.random() < 0.5:
            event["tls"] = tls(rng, target.domain, self.start)
        if rng.random() < 0.5:
            direction = 3 if isinstance(target, Service) else 2
            connection = {"direction_id": direction, "protocol_num": 6, "protocol_name": "tcp"}
            event["connection_info"] = connection
        if rng.random() < 0.3:
            event |= {"start_time": time - int(latency), "end_time": time, "app_name": "web"}
        if user is not None and rng.random() < 0.7:
            event["actor"] = {"user": account_of(rng, user, self.start, detail=0.2)}
        if rng.random() < 0.25:
            event["device"] = device(rng, host, self.start, detail=0.3)
        if rng.random() < 0.1:
            proxy = {"ip": "10.20.9.5", "hostname": "proxy.corp.example", "port": 3128}
            event["proxy"] = {**proxy, "uid": "px-1"}
        if rng.random() < 0.1:
            cookie = {"name": "sid", "value": digits(rng, 64), "is_http_only": True}
            event["http_cookies"] = [cookie]
        return event
