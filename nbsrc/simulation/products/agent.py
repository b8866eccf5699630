"""The agent on laptops and servers, which sees programs start and end: OCSF Process Activity
(1007)."""

from collections.abc import Mapping
from hashlib import sha256

from nbsrc.simulation.company import Host, User
from nbsrc.simulation.products.base import Event, Sensor, coded, digits
from nbsrc.simulation.products.objects import account_of, device

# Program: vendor, typical size in bytes, usual parent.
# fmt: off
_PROGRAMS = {
    "chrome": ("Browsix", 3_100_000, "desktop"), "mailer": ("Deskly", 8_200_000, "desktop"),
    "sheets": ("Deskly", 9_400_000, "desktop"), "writer": ("Deskly", 7_700_000, "desktop"),
    "meeting": ("Callup", 5_600_000, "desktop"), "desktop": ("System", 4_900_000, "init"),
    "shell": ("System", 900_000, "desktop"), "script": ("System", 1_400_000, "shell"),
    "python": ("Commons", 5_500_000, "shell"), "gitcli": ("Commons", 3_700_000, "shell"),
    "compile": ("Commons", 21_000_000, "make"), "make": ("Commons", 240_000, "shell"),
    "docker": ("Commons", 38_000_000, "shell"), "remote": ("Commons", 850_000, "shell"),
    "archive": ("Commons", 620_000, "shell"), "encrypt": ("Commons", 980_000, "script"),
    "copy": ("System", 150_000, "shell"), "volumes": ("System", 310_000, "shell"),
    "service": ("System", 720_000, "init"), "updater": ("System", 1_900_000, "service"),
    "cronjob": ("System", 450_000, "service"), "agent": ("Sentry", 6_300_000, "service"),
    "init": ("System", 1_600_000, "init"), "sqldb": ("Commons", 9_900_000, "service"),
}
_ARGUMENTS = ("--config", "--input", "--output", "--verbose", "--profile", "--target", "--mode")
_WORDS = (
    "daily", "report", "export", "project", "archive", "shared", "invoice", "release", "draft",
    "plan",
)
# fmt: on


class EndpointAgent(Sensor):
    class_uid, class_name, category = 1007, "Process Activity", "System Activity"
    activities: Mapping[int, str] = {1: "Launch", 2: "Terminate"}
    product = ("Sentrywise", "Endpoint Agent", "")  # each host has a version of its own

    def __call__(
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
        profiles = ["host", "security_control", *(["datetime"] if host.agent == "7.12.1" else [])]
        activity, ok = 2 if terminate else 1, rng.random() > 0.01
        event = self.event(time, activity, profiles, ok=ok, version=host.agent)
        event |= self.control()
        event["device"] = device(rng, host, self.start, detail=0.6)
        event["actor"] = {"user": account_of(rng, user, self.start, detail=0.2)}
        process = event["process"] = self._process(time, host, program, user, detail=0.6)
        arguments = " ".join(
            f"{rng.choice(_ARGUMENTS)} {rng.choice(_WORDS)}-{rng.randint(1, 99)}"
            for _ in range(rng.randint(1, 3))
        )
        process["cmd_line"] = f"{process['file']['path']} {arguments}"
        started, parent = time - rng.randint(1000, 9_000_000), parent or _PROGRAMS[program][2]
        above = process["parent_process"] = self._process(started, host, parent, user, detail=0.3)
        if rng.random() < 0.6:
            caller = {"pid": above["pid"], "name": above["name"], "file": dict(above["file"])}
            event["actor"]["process"] = caller
        if rng.random() < 0.3:
            event["actor"]["session"] = {"uid": digits(rng, 32), "is_remote": host.is_server}
        if terminate or rng.random() < 0.2:
            event["exit_code"] = 0 if rng.random() < 0.96 else 1
        if duration is not None and rng.random() < 0.5:
            event["duration"] = int(duration)
        if rng.random() < 0.15:
            event |= {"requested_permissions": 2097151, "actual_permissions": 2097151}
        if rng.random() < 0.15:
            prevalence = {
                "name": "process.name",
                "value": process["name"],
                "type": "prevalence",
                "provider": "inventory",
                "data": {"hosts": rng.randint(1, 200)},
            }
            event["enrichments"] = [prevalence]
        return event

    def _process(self, time: int, host: Host, program: str, user: User, *, detail: float) -> Event:
        rng = self.rng
        vendor, size, _ = _PROGRAMS[program]
        if host.windows:
            folder, name = f"C:\\Program Files\\{vendor}", f"{program}.exe"
            path, owner = f"{folder}\\{name}", "SYSTEM"
        else:
            folder, name = f"/opt/{vendor.lower()}/bin", program
            path, owner = f"{folder}/{name}", "root"
        file: Event = {"name": name, "path": path, **coded("type", 1, "Regular File")}
        out: Event = {"pid": rng.randint(300, 65000), "name": name, "file": file}
        if rng.random() < detail:
            file |= {
                "parent_folder": folder,
                "size": size,
                "ext": "exe" if host.windows else "bin",
                "company_name": vendor,
                "version": "1.0",
                "is_system": vendor == "System",
                "modified_time": self.start - size * 900,
                "created_time": self.start - size * 1000,
                "owner": {"name": owner, "type_id": 3},
            }
            if rng.random() < 0.5:  # the hash follows from program and system: all run one release
                digest = sha256(f"{program} {host.os[0]}".encode()).hexdigest()
                file["hashes"] = [{**coded("algorithm", 3, "SHA-256"), "value": digest}]
        if rng.random() < detail:
            out |= {
                "uid": digits(rng, 64),
                "created_time": time,
                "tid": rng.randint(300, 65000),
                **coded("integrity", 3, "Medium"),
                "user": account_of(rng, user, self.start, detail=0.1),
            }
        if rng.random() < detail * 0.6:
            out["session"] = {
                "uid": digits(rng, 32),
                "created_time": time - int(rng.lognormvariate(15, 1)),
                "is_remote": host.is_server,
                "issuer": "corp.example",
            }
        return out
