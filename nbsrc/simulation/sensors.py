"""What the company's sensors write about something that happened: one OCSF event a call.

Five products, each with the schema version, profiles and gaps of its own: an identity provider
(Authentication 3002), the cloud's audit log (API Activity 6003), a web gateway (HTTP Activity
4002), flow records (Network Activity 4001) and an endpoint agent (Process Activity 1007). A sensor
cannot tell right from wrong: normal traffic and `nbsrc.simulation.scenarios` call the same methods,
and which optional fields are missing depends on the machine and on chance alone."""

from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from typing import Any

from nbsrc.simulation.company import Company, Host, Place, Service, Site, Source, User

Event = dict[str, Any]

_SEVERITY = ("Unknown", "Informational", "Low", "Medium")
_FACTORS = ((5, "Push Notification"), (6, "Hardware Token"), (8, "Email"))
_BROWSERS = tuple(
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 Chrome/{version}.0 Safari/537.36"
    for system, version in (
        ("Windows NT 10.0; Win64; x64", 122),
        ("Windows NT 10.0; Win64; x64", 121),
        ("Macintosh; Intel Mac OS X 10.15", 122),
        ("X11; Linux amd64", 123),
    )
)
_TOOLS = (
    "CloudCommand/2.15.30 (Linux 5.15; x64) Python/3.11.8 CloudCore/2.5.3 Prompt/off Installer/exe",
    "CloudLibraryGo/1.50.9 (go1.22.1; linux; amd64) CloudCore/1.50.9 Region/default Retry/standard",
    "InfrastructureAsCode/1.7.4 (Linux 5.15; x64) CloudProvider/5.41.0 CloudLibraryGo/1.50.9 Plan/apply",
    "PythonRequests/2.31.0 (Linux 5.15; x64) Python/3.11.8 HttpPool/2.2.1 CertStore/2024.2 Session/keep",
)
_REGIONS = ("eu-central-1", "eu-central-1", "eu-west-1", "us-east-1")
_CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
_METHODS = {
    "CONNECT": 1,
    "DELETE": 2,
    "GET": 3,
    "HEAD": 4,
    "OPTIONS": 5,
    "POST": 6,
    "PUT": 7,
    "TRACE": 8,
}
_NAMES = {
    3002: ("Authentication", "Identity & Access Management", {1: "Logon", 2: "Logoff"}),
    6003: (
        "API Activity",
        "Application Activity",
        {1: "Create", 2: "Read", 3: "Update", 4: "Delete"},
    ),
    4002: ("HTTP Activity", "Network Activity", {v: k.title() for k, v in _METHODS.items()}),
    4001: ("Network Activity", "Network Activity", {1: "Open", 2: "Close", 6: "Traffic"}),
    1007: ("Process Activity", "System Activity", {1: "Launch", 2: "Terminate"}),
}
# Program: vendor, typical size in bytes, usual parent.
PROGRAMS = {
    "chrome": ("Browsix", 3_100_000, "desktop"),
    "mailer": ("Deskly", 8_200_000, "desktop"),
    "sheets": ("Deskly", 9_400_000, "desktop"),
    "writer": ("Deskly", 7_700_000, "desktop"),
    "meeting": ("Callup", 5_600_000, "desktop"),
    "desktop": ("System", 4_900_000, "init"),
    "shell": ("System", 900_000, "desktop"),
    "script": ("System", 1_400_000, "shell"),
    "python": ("Commons", 5_500_000, "shell"),
    "gitcli": ("Commons", 3_700_000, "shell"),
    "compile": ("Commons", 21_000_000, "make"),
    "make": ("Commons", 240_000, "shell"),
    "docker": ("Commons", 38_000_000, "shell"),
    "remote": ("Commons", 850_000, "shell"),
    "archive": ("Commons", 620_000, "shell"),
    "encrypt": ("Commons", 980_000, "script"),
    "copy": ("System", 150_000, "shell"),
    "volumes": ("System", 310_000, "shell"),
    "service": ("System", 720_000, "init"),
    "updater": ("System", 1_900_000, "service"),
    "cronjob": ("System", 450_000, "service"),
    "agent": ("Sentry", 6_300_000, "service"),
    "init": ("System", 1_600_000, "init"),
    "sqldb": ("Commons", 9_900_000, "service"),
}
_ARGUMENTS = ("--config", "--input", "--output", "--verbose", "--profile", "--target", "--mode")
_WORDS = (
    "daily",
    "report",
    "export",
    "project",
    "archive",
    "shared",
    "invoice",
    "release",
    "draft",
    "plan",
)


def _uuid(rng: Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _date(ms: int) -> str:
    return (
        datetime.fromtimestamp(ms / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


class Sensors:
    """The sensors of `company`, whose gaps and jitter follow from `rng`; times are in epoch
    milliseconds."""

    def __init__(self, company: Company, rng: Random, start: int) -> None:
        self.company, self.rng, self.start = company, rng, start

    def _event(
        self,
        time: int,
        class_uid: int,
        activity: int,
        version: str,
        profiles: list[str],
        product: tuple[str, str, str],
        *,
        ok: bool | None = None,
    ) -> Event:
        """The attributes that all classes share; `product` is vendor, name, version; `ok` sets the
        status."""
        rng = self.rng
        name, category, activities = _NAMES[class_uid]
        r = rng.random()
        severity = 1 if r < 0.93 else 2 if r < 0.985 else 3
        lag = int(rng.lognormvariate(6.5, 1.0))
        metadata: Event = {
            "uid": _uuid(rng),
            "version": version,
            "profiles": profiles,
            "logged_time": time + lag,
            "product": {
                "vendor_name": product[0],
                "name": product[1],
                "version": product[2],
                "lang": "en",
            },
        }
        event: Event = {
            "class_uid": class_uid,
            "class_name": name,
            "category_uid": class_uid // 1000,
            "category_name": category,
            "activity_id": activity,
            "activity_name": activities[activity],
            "type_uid": class_uid * 100 + activity,
            "type_name": f"{name}: {activities[activity]}",
            "severity_id": severity,
            "severity": _SEVERITY[severity],
            "time": time,
            "metadata": metadata,
        }
        if rng.random() < 0.6:
            metadata["processed_time"] = time + lag + rng.randint(20, 4000)
        if rng.random() < 0.3:
            metadata["correlation_uid"] = f"{rng.getrandbits(64):016x}"
        if rng.random() < 0.4:
            metadata["log_name"], metadata["log_provider"] = (
                name.lower().replace(" ", "-"),
                product[1],
            )
        if rng.random() < 0.2:
            metadata["tenant_uid"], metadata["log_version"] = "t-4711", "2"
            metadata["original_time"] = str(time)
        if rng.random() < 0.5:
            metadata["product"]["feature"] = {
                "name": name,
                "uid": f"f{class_uid}",
                "version": product[2],
            }
        if rng.random() < 0.15:
            metadata["labels"] = rng.sample(("tier1", "pci", "internal", "archived"), 2)
        if rng.random() < 0.1:
            event["timezone_offset"] = 60
        if ok is not None:
            event["status_id"], event["status"] = (1, "Success") if ok else (2, "Failure")
        if "datetime" in profiles:
            event["time_dt"] = _date(time)
            metadata["logged_time_dt"] = _date(time + lag)
        return event

    def _location(self, place: Place, *, on_premises: bool = False) -> Event:
        rng = self.rng
        location: Event = {"country": place.country}
        if rng.random() < 0.9:
            location |= {"city": place.city, "region": place.region}
        if rng.random() < 0.6:
            location["coordinates"] = [place.long, place.lat]
        if rng.random() < 0.2:
            location["is_on_premises"] = on_premises
        return location

    def _outside(self, source: Source) -> Event:
        """A public address, as a login or a call of an API shows it."""
        rng = self.rng
        endpoint: Event = {"ip": source.ip}
        if rng.random() < 0.9:
            endpoint["location"] = self._location(source.place)
        if rng.random() < 0.7:
            endpoint["autonomous_system"] = {"number": source.asn, "name": source.isp}
        if rng.random() < 0.3 and "location" in endpoint:
            endpoint["location"]["isp"] = source.isp
        return endpoint

    def _target(self, target: Host | Service | Site, port: int) -> Event:
        """The other end of a connection; inside or outside, the same attributes may be there."""
        rng = self.rng
        if isinstance(target, Site):
            ip, place, name, zone, asn, isp = (
                target.source.ip,
                target.source.place,
                target.domain,
                "outside",
                target.source.asn,
                target.source.isp,
            )
        else:
            host = target.host if isinstance(target, Service) else target
            name = f"{target.name}.k8s.example" if isinstance(target, Service) else target.name
            ip, place, zone, asn, isp = host.ip, host.place, "servers", 64500, "Example Corp"
        endpoint: Event = {"ip": ip, "port": port}
        if rng.random() < 0.9:
            endpoint["hostname"] = name
        if rng.random() < 0.8:
            endpoint["location"] = self._location(place, on_premises=zone == "servers")
        if rng.random() < 0.6:
            endpoint["autonomous_system"] = {"number": asn, "name": isp}
        if rng.random() < 0.4:
            endpoint |= {"zone": zone, "type_id": 1, "type": "Server"}
        if rng.random() < 0.2:
            endpoint["svc_name"] = "https" if port == 443 else "other"
        return endpoint

    def _inside(self, host: Host) -> Event:
        """A machine of the company that opens a connection."""
        rng = self.rng
        endpoint: Event = {"ip": host.ip, "port": rng.randint(1024, 65535)}
        if rng.random() < 0.8:
            endpoint |= {
                "hostname": host.name,
                "uid": host.uid,
                "type_id": 1 if host.is_server else 3,
                "type": "Server" if host.is_server else "Laptop",
            }
        if rng.random() < 0.4:
            endpoint |= {
                "mac": host.mac,
                "vlan_uid": f"vlan-{host.subnet:03d}",
                "subnet_uid": f"net-{host.subnet:03d}",
            }
        if rng.random() < 0.3:
            endpoint["zone"] = "servers" if host.is_server else "clients"
            endpoint["os"] = {"name": host.os[0], "type_id": host.os[1], "type": host.os[2]}
        if rng.random() < 0.15:
            endpoint |= {
                "domain": "corp.example",
                "interface_name": "eth0",
                "interface_uid": f"if-{host.uid[:6]}",
                "instance_uid": f"i-{host.uid[:10]}",
            }
        if rng.random() < 0.5:
            endpoint["location"] = self._location(host.place, on_premises=True)
        return endpoint

    def _user(self, user: User, *, detail: float = 0.3) -> Event:
        """`user` as a sensor names it; with probability `detail`, with the directory's entry."""
        rng = self.rng
        kind = 3 if user.role == "service" else 2 if "admins" in user.groups else 1
        out: Event = {
            "name": user.name,
            "uid": user.uid,
            "type_id": kind,
            "type": ("User", "Admin", "System")[kind - 1],
        }
        if rng.random() < 0.6:
            out |= {
                "email_addr": f"{user.name}@corp.example",
                "full_name": user.full_name,
                "domain": "CORP",
            }
        if rng.random() < detail:
            out["groups"] = [
                {"name": name, "uid": f"g-{name}", "type": "Security"} for name in user.groups
            ]
            out["org"] = {
                "name": "Example Corp",
                "uid": "o-1",
                "ou_name": user.role,
                "ou_uid": f"ou-{user.role}",
            }
        if rng.random() < detail:
            out["account"] = {
                "name": user.name,
                "uid": f"a-{user.employee}",
                "type_id": 10,
                "type": "AWS Account",
            }
            out["uid_alt"], out["credential_uid"] = f"u{user.employee}", user.credential
        if rng.random() < detail * 0.6:
            out["ldap_person"] = {
                "employee_uid": str(user.employee),
                "job_title": user.title,
                "cost_center": f"cc-{len(user.role)}0",
                "given_name": user.full_name.split()[0],
                "surname": user.full_name.split()[1],
                "ldap_cn": user.full_name,
                "ldap_dn": f"cn={user.name},ou={user.role},dc=corp,dc=example",
                "hire_time": self.start - user.hired * 86_400_000,
                "office_location": user.place.city,
                "email_addrs": [f"{user.name}@corp.example"],
                "location": {"country": user.place.country},
            }
        return out

    def _device(self, host: Host, *, detail: float = 0.5) -> Event:
        """`host` as the endpoint agent's inventory has it; old agents know less."""
        rng = self.rng
        name, type_id, kind, version, build, edition = host.os
        out: Event = {
            "hostname": host.name,
            "uid": host.uid,
            "ip": host.ip,
            "type_id": 1 if host.is_server else 3,
            "type": "Server" if host.is_server else "Laptop",
            "os": {"name": name, "type_id": type_id, "type": kind, "version": version},
        }
        if rng.random() < detail:
            out["os"] |= {
                "build": build,
                "edition": edition,
                "cpu_bits": 64,
                "lang": "en",
                "country": host.place.country,
                "cpe_name": f"cpe:2.3:o:{kind.lower()}:{version}",
            }
            out |= {
                "domain": "corp.example",
                "mac": host.mac,
                "name": host.name.split(".")[0],
                "region": host.place.region,
                "subnet": f"10.20.{host.subnet}.0/24",
            }
        if rng.random() < detail:
            out |= {
                "is_managed": True,
                "is_compliant": rng.random() < 0.97,
                "is_personal": False,
                "is_trusted": True,
                "boot_time": self.start - host.boot * 1000,
                "first_seen_time": self.start - host.boot * 3000,
                "risk_level_id": 1,
                "risk_level": "Low",
                "risk_score": rng.randint(0, 30),
            }
        if host.rich and rng.random() < detail:
            out["hw_info"] = {
                "cpu_cores": host.cores,
                "cpu_count": 1,
                "cpu_bits": 64,
                "cpu_speed": 2400,
                "cpu_type": "x86_64",
                "ram_size": host.ram,
                "serial_number": host.serial,
                "bios_ver": "1.14.0",
                "bios_date": "2024/01/15",
                "bios_manufacturer": "Boardworks",
                "chassis": "Rack" if host.is_server else "Laptop",
            }
            out["network_interfaces"] = [
                {"name": "eth0", "ip": host.ip, "mac": host.mac, "type_id": 1, "type": "Wired"}
            ]
            out |= {
                "vlan_uid": f"vlan-{host.subnet}",
                "zone": "servers" if host.is_server else "clients",
            }
            out["agent_list"] = [
                {
                    "name": "endpoint",
                    "type_id": 1,
                    "type": "Endpoint Detection and Response",
                    "version": host.agent,
                    "uid": f"ag-{host.uid[:8]}",
                }
            ]
        if rng.random() < detail * 0.4:
            out["groups"] = [
                {
                    "name": "servers" if host.is_server else "laptops",
                    "uid": f"dg-{int(host.is_server)}",
                }
            ]
            out["location"] = self._location(host.place, on_premises=True)
            out["org"] = {"name": "Example Corp", "uid": "o-1"}
        return out

    def _cloud(self) -> Event:
        rng = self.rng
        region = rng.choice(_REGIONS)
        out: Event = {"provider": "AWS", "region": region}
        if rng.random() < 0.7:
            out["account"] = {
                "uid": "111122223333",
                "name": "example-prod",
                "type_id": 10,
                "type": "AWS Account",
            }
        if rng.random() < 0.3:
            out["zone"] = region + rng.choice("abc")
            out["org"] = {
                "name": "Example Corp",
                "uid": "o-1",
                "ou_name": "prod",
                "ou_uid": "ou-prod",
            }
        if rng.random() < 0.2:
            out["project_uid"] = "p-100"
        return out

    def _control(self, event: Event, *, ok: bool = True) -> None:
        """The security_control profile: what the product did, and a rule that now and then matches
        anything."""
        rng = self.rng
        event["action_id"], event["action"] = (1, "Allowed") if ok else (2, "Denied")
        event["disposition_id"], event["disposition"] = (1, "Allowed") if ok else (2, "Blocked")
        if rng.random() < 0.4:
            event["firewall_rule"] = {
                "uid": f"r-{rng.randint(10, 60)}",
                "name": "default policy",
                "type": "dynamic",
                "version": "12",
                "category": "general",
                "sensitivity": "medium",
            }
        if rng.random() < 0.004:  # false alarms: rules are wrong at random here
            event["attacks"] = [
                {
                    "version": "14.1",
                    "tactic": {"uid": "TA0011", "name": "Command and Control"},
                    "technique": {"uid": "T1071", "name": "Application Layer Protocol"},
                }
            ]

    def authentication(
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
        """A logon or logoff of `user` at `app` from the public address of `source`."""
        rng = self.rng
        event = self._event(
            time,
            3002,
            2 if logoff else 1,
            "1.3.0",
            ["host"] if user.host.rich else [],
            ("Keyring", "Identity Cloud", "2026.02"),
            ok=ok,
        )
        event["user"] = self._user(user, detail=0.7)
        event["src_endpoint"] = self._outside(source)
        event["src_endpoint"]["port"] = rng.randint(1024, 65535)
        event["service"] = {"name": app, "uid": f"app-{app}"}
        event |= {
            "is_mfa": mfa,
            "is_remote": source.kind != "office",
            "auth_protocol_id": 5,
            "auth_protocol": "SAML",
        }
        event["http_request"] = {
            "user_agent": _BROWSERS[user.browser if browser is None else browser]
        }
        if rng.random() < 0.3:
            event["auth_protocol_id"], event["auth_protocol"] = 6, "OAUTH 2.0"
        if rng.random() < 0.5:
            event["logon_type_id"], event["logon_type"] = (
                (3, "Network") if rng.random() < 0.7 else (2, "Interactive")
            )
        if rng.random() < 0.4:
            factor, name = _FACTORS[user.factor]
            event["auth_factors"] = [
                {
                    "factor_type_id": factor,
                    "factor_type": name,
                    "email_addr": f"{user.name}@corp.example",
                    "provider": "Keyring",
                }
            ]
        if rng.random() < 0.5:
            event["session"] = {
                "uid": _uuid(rng),
                "created_time": time,
                "expiration_time": time + 28_800_000,
                "issuer": "idp.corp.example",
                "is_remote": source.kind != "office",
                "is_mfa": mfa,
                "is_vpn": source.kind == "hosting",
            }
        if rng.random() < 0.35:
            event["status_code"], event["status_detail"] = (
                ("0", "Accepted") if ok else ("7", "Rejected")
            )
        if rng.random() < 0.25:
            event["dst_endpoint"] = {"hostname": "idp.corp.example", "svc_name": "sso", "port": 443}
        if "host" in event["metadata"]["profiles"]:
            if rng.random() < 0.5:
                event["device"] = self._device(user.host, detail=0.3)
            if rng.random() < 0.3:
                event["actor"] = {
                    "user": self._user(user, detail=0.1),
                    "idp": {"name": "Keyring", "uid": "idp-1"},
                }
        if rng.random() < 0.2:
            event["message"] = f"{event['activity_name']} {event['status'].lower()}"
            event["duration"] = int(rng.lognormvariate(6, 0.8))
        return event

    def api(
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
        """A call of the cloud's API; the activity follows from the operation's verb, the resource
        is type/name."""
        rng = self.rng
        verb = operation[:3]
        activity = {
            "Cre": 1,
            "Run": 1,
            "Put": 1,
            "Ass": 1,
            "Upd": 3,
            "Att": 3,
            "Mod": 3,
            "Del": 4,
            "Det": 4,
        }.get(verb, 2)
        event = self._event(
            time,
            6003,
            activity,
            "1.1.0",
            ["cloud", "datetime"],
            ("AWS", "CloudTrail", "1.08"),
            ok=ok,
        )
        kind, name = resource.split("/")
        event["actor"] = {"user": self._user(user, detail=0.4)}
        event["cloud"] = self._cloud()
        event["src_endpoint"] = self._endpoint_v11(source)
        event["api"] = {
            "operation": operation,
            "service": {"name": f"{service}.cloud.example"},
            "request": {"uid": _uuid(rng)},
            "response": {"code": 200 if ok else 403},
        }
        agent = _BROWSERS[user.browser] if tool is None else _TOOLS[tool]
        event["http_request"] = {"user_agent": agent}
        if rng.random() < 0.6:
            event["actor"]["session"] = {
                "uid": f"{rng.getrandbits(64):016x}",
                "issuer": "sts.cloud.example",
                "created_time": time - int(rng.lognormvariate(15, 1)),
                "is_mfa": True,
            }
        if rng.random() < 0.3:
            event["actor"]["idp"] = {"name": "Keyring", "uid": "idp-1"}
            event["actor"]["invoked_by"] = "console" if tool is None else "client"
        if rng.random() < 0.5:
            event["resources"] = [
                {
                    "type": kind,
                    "name": name,
                    "uid": f"res-{kind}-{name}",
                    "region": "eu-central-1",
                    "criticality": "medium",
                    "namespace": "prod",
                }
            ]
        if rng.random() < 0.4:
            event["api"]["version"] = "2016-11-15"
            event["api"]["response"]["message"] = "done" if ok else "deny"
            event["api"]["service"] |= {"uid": f"svc-{service}", "version": "1"}
        if rng.random() < 0.25:
            event["dst_endpoint"] = {"svc_name": f"{service}.cloud.example", "port": 443}
            event["duration"] = int(rng.lognormvariate(4.5, 1))
        if rng.random() < 0.2:
            event["http_request"] |= {
                "http_method": "POST",
                "version": "1.1",
                "uid": _uuid(rng),
                "url": {"hostname": f"{service}.cloud.example", "path": "/", "scheme": "https"},
            }
        if rng.random() < 0.6:
            event["observables"] = [
                {"name": "actor.user.name", "type_id": 4, "type": "User Name", "value": user.name},
                {"name": "src_endpoint.ip", "type_id": 2, "type": "IP Address", "value": source.ip},
            ]
        return event

    def _endpoint_v11(self, source: Source) -> Event:
        endpoint = self._outside(source)
        endpoint.pop("autonomous_system", None)  # not in OCSF 1.1
        return endpoint

    def _tls(self, sni: str) -> Event:
        rng = self.rng
        out: Event = {"version": "1.3" if rng.random() < 0.8 else "1.2", "sni": sni}
        if rng.random() < 0.5:
            out |= {
                "cipher": rng.choice(_CIPHERS),
                "key_length": 256,
                "handshake_dur": int(rng.lognormvariate(3.5, 0.6)),
                "ja3_hash": {
                    "algorithm_id": 1,
                    "algorithm": "MD5",
                    "value": f"{rng.getrandbits(20) * 7919:032x}",
                },
                "ja3s_hash": {
                    "algorithm_id": 1,
                    "algorithm": "MD5",
                    "value": f"{rng.getrandbits(12) * 104729:032x}",
                },
            }
        if rng.random() < 0.2:
            out["certificate"] = {
                "issuer": "CN=Example CA",
                "subject": f"CN={sni}",
                "serial_number": f"{rng.getrandbits(60):015x}",
                "version": "3",
                "is_self_signed": False,
                "created_time": self.start - 5_000_000_000,
                "expiration_time": self.start + 9_000_000_000,
                "fingerprints": [
                    {
                        "algorithm_id": 3,
                        "algorithm": "SHA-256",
                        "value": f"{rng.getrandbits(256):064x}",
                    }
                ],
            }
        return out

    def http(
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
        """A request from `host` to a site or a service: `up` and `down` in bytes, `latency` in
        milliseconds."""
        rng = self.rng
        inside = isinstance(target, Service)
        domain = f"{target.name}.k8s.example" if isinstance(target, Service) else target.domain
        event = self._event(
            time,
            4002,
            _METHODS[method],
            "1.3.0",
            ["host", "security_control"],
            ("Gatehouse", "Web Gateway", "11.4"),
            ok=code < 400,
        )
        self._control(event, ok=code not in (403, 429))
        path = path or rng.choice(target.paths)
        event["src_endpoint"] = self._inside(host)
        event["dst_endpoint"] = self._target(target, 443)
        request: Event = {
            "http_method": method,
            "length": int(up),
            "version": "1.1" if rng.random() < 0.4 else "2",
            "user_agent": _TOOLS[3]
            if user is None or user.role == "service"
            else _BROWSERS[user.browser],
            "url": {"hostname": domain, "path": path, "scheme": "https", "port": 443},
        }
        if rng.random() < 0.4:
            request["url"] |= {
                "url_string": f"https://{domain}{path}",
                "domain": domain,
                "resource_type": "document",
                "query_string": f"page={rng.randint(1, 40)}&size=50",
            }
            request["args"] = request["url"]["query_string"]
        if rng.random() < 0.3:
            request["http_headers"] = [
                {"name": "Accept", "value": "*/*"},
                {"name": "Accept-Language", "value": "en"},
            ]
            request["referrer"] = f"https://{domain}/"
            request["x_forwarded_for"] = [host.ip]
        if rng.random() < 0.3:
            request["uid"] = _uuid(rng)
        response: Event = {"code": code, "length": int(down), "latency": int(latency)}
        if rng.random() < 0.6:
            response["content_type"] = "application/json" if rng.random() < 0.6 else "text/html"
        if rng.random() < 0.2:
            response["http_headers"] = [{"name": "Server", "value": "gateway"}]
        event |= {"http_request": request, "http_response": response, "duration": int(latency)}
        if rng.random() < 0.6:
            event["http_status"] = code
        if rng.random() < 0.6:
            event["traffic"] = self._traffic(up, down)
        if rng.random() < 0.5:
            event["tls"] = self._tls(domain)
        if rng.random() < 0.5:
            event["connection_info"] = {
                "direction_id": 3 if inside else 2,
                "protocol_num": 6,
                "protocol_name": "tcp",
            }
        if rng.random() < 0.3:
            event |= {"start_time": time - int(latency), "end_time": time, "app_name": "web"}
        if user is not None and rng.random() < 0.7:
            event["actor"] = {"user": self._user(user, detail=0.2)}
        if rng.random() < 0.25:
            event["device"] = self._device(host, detail=0.3)
        if rng.random() < 0.1:
            event["proxy"] = {
                "ip": "10.20.9.5",
                "hostname": "proxy.corp.example",
                "port": 3128,
                "uid": "px-1",
            }
        if rng.random() < 0.1:
            event["http_cookies"] = [
                {"name": "sid", "value": f"{rng.getrandbits(64):016x}", "is_http_only": True}
            ]
        return event

    def _traffic(self, up: float, down: float) -> Event:
        rng = self.rng
        out, back = int(up), int(down)
        traffic: Event = {"bytes": out + back, "bytes_out": out, "bytes_in": back}
        if rng.random() < 0.7:
            packets_out, packets_in = (
                3 + out // rng.randint(900, 1400),
                3 + back // rng.randint(900, 1400),
            )
            traffic |= {
                "packets": packets_out + packets_in,
                "packets_out": packets_out,
                "packets_in": packets_in,
            }
        return traffic

    def network(
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
        rng = self.rng
        inside = isinstance(target, Host)
        profiles = (
            ["cloud", "host", "security_control"] if host.rich else ["host", "security_control"]
        )
        event = self._event(
            time, 4001, activity, "1.3.0", profiles, ("Flowline", "Flow Collector", "5.0.2")
        )
        self._control(event, ok=ok)
        if host.rich:
            event["cloud"] = self._cloud()
        event["src_endpoint"] = self._inside(host)
        event["dst_endpoint"] = self._target(target, port)
        udp = port in (53, 123)
        event["connection_info"] = {
            "direction_id": 3 if inside else 2,
            "protocol_num": 17 if udp else 6,
            "protocol_name": "udp" if udp else "tcp",
        }
        if rng.random() < 0.5:
            event["connection_info"] |= {
                "boundary_id": 2 if inside else 3,
                "protocol_ver_id": 4,
                "protocol_ver": "IPv4",
                "boundary": "Internal" if inside else "External",
                "uid": f"{rng.getrandbits(48):012x}",
            }
        if rng.random() < 0.5:
            event["connection_info"]["tcp_flags"] = rng.choice((18, 19, 24, 27))
        event["traffic"] = self._traffic(up, down)
        event |= {"duration": int(duration), "end_time": time, "start_time": time - int(duration)}
        if rng.random() < 0.3:
            event["count"] = rng.randint(1, 6)
            event["app_name"] = {
                53: "dns",
                123: "ntp",
                443: "tls",
                22: "ssh",
                5432: "sql",
                445: "smb",
            }.get(port, "any")
        if rng.random() < 0.3:
            event["tls"] = self._tls(target.name if isinstance(target, Host) else target.domain)
        if rng.random() < 0.3:
            event["device"] = self._device(host, detail=0.3)
        if user is not None and rng.random() < 0.5:
            event["actor"] = {"user": self._user(user, detail=0.15)}
        if rng.random() < 0.15:
            event["status_id"], event["status"] = (1, "Success") if ok else (2, "Failure")
        return event

    def _process(self, time: int, host: Host, program: str, user: User, *, detail: float) -> Event:
        rng = self.rng
        vendor, size, _ = PROGRAMS[program]
        if host.windows:
            folder, name = f"C:\\Program Files\\{vendor}", f"{program}.exe"
            path = f"{folder}\\{name}"
        else:
            folder, name = f"/opt/{vendor.lower().replace(' ', '-')}/bin", program
            path = f"{folder}/{name}"
        out: Event = {
            "pid": rng.randint(300, 65000),
            "name": name,
            "file": {"name": name, "path": path, "type_id": 1, "type": "Regular File"},
        }
        if rng.random() < detail:
            out["file"] |= {
                "parent_folder": folder,
                "size": size,
                "ext": name.partition(".")[2] or "bin",
                "company_name": vendor,
                "version": "1.0",
                "is_system": vendor == "System",
                "modified_time": self.start - size * 900,
                "created_time": self.start - size * 1000,
                "owner": {"name": "root" if not host.windows else "SYSTEM", "type_id": 3},
            }
            if rng.random() < 0.5:
                # The hash follows from the program and the system, as it does where all run one
                # release.
                digest = sha256(f"{program} {host.os[0]}".encode()).hexdigest()
                out["file"]["hashes"] = [
                    {"algorithm_id": 3, "algorithm": "SHA-256", "value": digest}
                ]
        if rng.random() < detail:
            out |= {
                "uid": f"{rng.getrandbits(64):016x}",
                "created_time": time,
                "tid": rng.randint(300, 65000),
                "integrity_id": 3,
                "integrity": "Medium",
                "user": self._user(user, detail=0.1),
            }
        if rng.random() < detail * 0.6:
            out["session"] = {
                "uid": f"{rng.getrandbits(32):08x}",
                "created_time": time - int(rng.lognormvariate(15, 1)),
                "is_remote": host.is_server,
                "issuer": "corp.example",
            }
        return out

    def process(
        self,
        time: int,
        host: Host,
        user: User,
        program: str,
        *,
        parent: str | None = None,
        terminate: bool = False,
        duration: float | None = None,
    ) -> Event:
        """`program` starts (or ends) on `host` for `user`; `duration` in milliseconds."""
        rng = self.rng
        profiles = ["host", "security_control"] + (["datetime"] if host.agent == "7.12.1" else [])
        event = self._event(
            time,
            1007,
            2 if terminate else 1,
            "1.3.0",
            profiles,
            ("Sentrywise", "Endpoint Agent", host.agent),
            ok=rng.random() > 0.01,
        )
        self._control(event)
        parent = parent or PROGRAMS[program][2]
        event["device"] = self._device(host, detail=0.6)
        event["actor"] = {"user": self._user(user, detail=0.2)}
        event["process"] = self._process(time, host, program, user, detail=0.6)
        arguments = " ".join(
            f"{rng.choice(_ARGUMENTS)} {rng.choice(_WORDS)}-{rng.randint(1, 99)}"
            for _ in range(rng.randint(1, 3))
        )
        event["process"]["cmd_line"] = f"{event['process']['file']['path']} {arguments}"
        above = self._process(time - rng.randint(1000, 9_000_000), host, parent, user, detail=0.3)
        event["process"]["parent_process"] = above
        if rng.random() < 0.6:
            event["actor"]["process"] = {
                "pid": above["pid"],
                "name": above["name"],
                "file": dict(above["file"]),
            }
        if rng.random() < 0.3:
            event["actor"]["session"] = {
                "uid": f"{rng.getrandbits(32):08x}",
                "is_remote": host.is_server,
            }
        if terminate or rng.random() < 0.2:
            event["exit_code"] = 0 if rng.random() < 0.96 else 1
        if duration is not None and rng.random() < 0.5:
            event["duration"] = int(duration)
        if rng.random() < 0.15:
            event["requested_permissions"], event["actual_permissions"] = 2097151, 2097151
        if rng.random() < 0.15:
            event["enrichments"] = [
                {
                    "name": "process.name",
                    "value": event["process"]["name"],
                    "type": "prevalence",
                    "provider": "inventory",
                    "data": {"hosts": rng.randint(1, 200)},
                }
            ]
        return event
