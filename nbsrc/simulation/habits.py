"""What people and machines of the company usually do: each method draws one ordinary event at a
given time.

Also where somebody is at that time, since people travel and work from home.
`nbsrc.simulation.stream` composes a fortnight from these; `nbsrc.simulation.scenarios` takes its
cover from them."""

from random import Random

from nbsrc.simulation.company import Company, Host, Service, Site, Source, User
from nbsrc.simulation.products.base import Event
from nbsrc.simulation.sensors import Sensors
from nbsrc.simulation.world import DAY, HOUR, ROLES, SERVERS

DAYS = 14  # how long a stream lasts
APPS = ("mail", "chat", "docs", "crm", "vpn", "console", "code", "payroll")

# Operation, service, kind of resource, and how often each role calls it. Administrative calls are
# rare, not absent, outside operations: somebody covers for a colleague, somebody tries and is
# refused.
OPERATIONS = (
    ("GetObject", "storage", "bucket", (20, 8, 30, 20, 20, 20, 20, 20, 20)),
    ("ListObjects", "storage", "bucket", (8, 5, 14, 10, 10, 10, 10, 10, 12)),
    ("PutObject", "storage", "bucket", (8, 4, 12, 5, 6, 5, 5, 4, 12)),
    ("DeleteObject", "storage", "bucket", (2, 2, 3, 1, 1, 1, 1, 0.5, 3)),
    ("ListInstances", "compute", "machine", (10, 14, 3, 1, 1, 4, 0.5, 0.5, 12)),
    ("RunInstances", "compute", "machine", (2, 4, 0.5, 0.1, 0.1, 0.2, 0.1, 0.1, 2)),
    ("ModifyInstanceType", "compute", "machine", (1.5, 4, 0.3, 0.1, 0.1, 0.2, 0.1, 0.1, 1)),
    ("StartQuery", "warehouse", "table", (3, 1, 25, 4, 6, 2, 1, 2, 8)),
    ("GetQueryResults", "warehouse", "table", (3, 1, 20, 6, 8, 2, 1, 3, 6)),
    ("UpdateServiceSize", "containers", "service", (4, 5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 3)),
    ("DescribeService", "containers", "service", (7, 7, 1, 0.2, 0.2, 1, 0.1, 0.1, 6)),
    ("GetSecretValue", "secrets", "secret", (3, 4, 2, 0.4, 0.4, 0.4, 0.3, 0.2, 6)),
    ("GetIdentity", "identity", "account", (5, 5, 3, 2, 2, 2, 2, 2, 3)),
    ("ListUsers", "identity", "account", (0.6, 5, 0.4, 0.4, 0.4, 1.0, 3, 0.3, 0.6)),
    ("ListRoles", "identity", "role", (0.8, 4, 0.4, 0.3, 0.3, 0.5, 0.5, 0.3, 0.6)),
    ("AssumeRole", "identity", "role", (3, 5, 2, 0.5, 0.5, 0.6, 0.4, 0.4, 5)),
    ("AttachUserPolicy", "identity", "policy", (0.3, 3, 0.2, 0.12, 0.12, 0.15, 0.15, 0.1, 0.1)),
    ("CreateAccessKey", "identity", "account", (0.4, 2.5, 0.3, 0.12, 0.12, 0.15, 0.15, 0.1, 0.2)),
    ("UpdateLoginProfile", "identity", "account", (0.2, 3, 0.2, 0.12, 0.12, 0.4, 0.6, 0.1, 0.1)),
)
_WEIGHTS = {role: [row[3][i] for row in OPERATIONS] for i, role in enumerate((*ROLES, "service"))}
_RESOURCES = {
    "bucket": ("reports", "exports", "assets", "invoices", "raw", "models"),
    "machine": ("web", "app", "db", "batch"),
    "table": ("orders", "events", "users", "ledger"),
    "service": ("checkout", "catalog", "search", "billing"),
    "secret": ("db", "api", "mail", "payroll"),
    "account": ("self", "team", "vendor"),
    "role": ("reader", "deployer", "admin", "auditor"),
    "policy": ("readonly", "support", "deploy", "admin"),
}

# fmt: off
_PROGRAMS: dict[str, dict[str, float]] = {  # how often each program is started, by role
    "office": {
        "chrome": 30, "mailer": 20, "sheets": 18, "writer": 14, "meeting": 12, "updater": 4,
        "copy": 2, "archive": 2, "shell": 1.2, "script": 0.8, "encrypt": 0.4, "volumes": 0.1,
    },
    "technical": {
        "chrome": 14, "shell": 16, "gitcli": 16, "python": 12, "compile": 10, "make": 7,
        "docker": 8, "remote": 6, "mailer": 4, "meeting": 4, "script": 4, "copy": 3, "archive": 3,
        "encrypt": 1, "updater": 3, "volumes": 0.3,
    },
    "admin": {
        "shell": 22, "remote": 20, "script": 16, "service": 5, "python": 8, "docker": 8,
        "chrome": 8, "copy": 5, "archive": 4, "volumes": 2, "encrypt": 1.5, "gitcli": 6,
    },
    "service": {
        "script": 22, "python": 18, "cronjob": 14, "copy": 10, "archive": 10, "compile": 10,
        "docker": 9, "gitcli": 8, "encrypt": 5, "sqldb": 4, "volumes": 1,
    },
}
_KIND_OF_ROLE = {
    "engineering": "technical", "data": "technical", "operations": "admin", "service": "service",
}
# fmt: on


class Habits:
    """Ordinary behaviour, drawn from `rng` and written by `sensors`; `start` is the stream's first
    moment."""

    def __init__(self, company: Company, sensors: Sensors, rng: Random, start: int) -> None:
        self.company, self.sensors, self.rng, self.start = company, sensors, rng, start
        self.site_weights = [site.weight for site in company.sites]
        self.tail_weights = [site.weight for site in company.tail]
        self.service_weights = [service.weight for service in company.services]
        self.servers = {
            kind: [h for h in company.servers if h.name.startswith(kind)] for kind in SERVERS
        }
        # The calendar is part of the company, not of who asks: it follows from the company's own
        # generator.
        calendar = company.calendar
        self.trips: dict[str, tuple[int, int, list[Source]]] = {}
        self.at_home: dict[str, list[bool]] = {}
        for user in company.users:
            self._plan(user)
            if calendar.random() < 0.14:
                first = calendar.randrange(DAYS - 2)
                away = company.abroad(calendar, away_from=user.place)
                kinds = ("hotel", "mobile", "hosting")
                pool = [s for kind in kinds for s in company.pools[away.place.city, kind]]
                last = first + calendar.randint(1, 4)
                sources = [away, *calendar.sample(pool, 2)]
                self.trips[user.name] = first, last, sources

    def _plan(self, user: User) -> None:
        calendar = self.company.calendar
        self.at_home[user.name] = [calendar.random() < user.remote for _ in range(DAYS)]

    def stranger(self) -> User:
        """Draw a person who is not among the staff and has done nothing in the stream so far."""
        user = self.company.another()
        self._plan(user)
        return user

    def somebody(self) -> User:
        """Draw a member of staff as chance draws who acts: the busy are met more often."""
        users = self.company.users
        return self.rng.choices(users, [user.rate for user in users])[0]

    def where(self, user: User, time: int) -> Source:
        """The public address from which `user` would act at `time`."""
        rng = self.rng
        if user.role == "service":
            return user.office
        day = (time - self.start) // DAY % DAYS
        if user.name in self.trips:
            first, last, sources = self.trips[user.name]
            if first <= day <= last:
                return rng.choice(sources)
        r = rng.random()
        if r < 0.1:
            return rng.choice(self.company.pools[user.place.city, "mobile"])
        if r < 0.15:
            return rng.choice(self.company.pools[user.place.city, "hosting"])
        hour = (time // HOUR + user.place.utc) % 24
        return user.home if self.at_home[user.name][day] or not 7 <= hour < 20 else user.office

    def logon(
        self, time: int, user: User, *, source: Source | None = None, ok: bool = True
    ) -> Event:
        rng = self.rng
        app = rng.choice(APPS) if rng.random() < 0.7 else "sso"
        return self.sensors.authentication(
            time,
            user,
            source or self.where(user, time),
            app,
            ok=ok,
            mfa=rng.random() < 0.5,  # asked for now and then
            browser=rng.randrange(4) if rng.random() < 0.06 else None,
        )

    def enter(self, time: int, user: User) -> list[Event]:
        """A logon as people do it: sometimes after a mistyped password or three; some log off as
        well."""
        rng, source = self.rng, self.where(user, time)
        if rng.random() < 0.12:
            return [self.sensors.authentication(time, user, source, rng.choice(APPS), logoff=True)]
        tries = rng.choices((0, 1, 2, 3, 6), (90, 6, 2, 1, 0.4))[0]
        failed = [
            self.logon(
                time - (tries - i) * rng.randint(4000, 40_000), user, source=source, ok=False
            )
            for i in range(tries)
        ]
        return [*failed, self.logon(time, user, source=source, ok=True)]

    def call(
        self,
        time: int,
        user: User,
        *,
        source: Source | None = None,
        operation: str | None = None,
        ok: bool | None = None,
    ) -> Event:
        """A call of the cloud's API; `operation` one of OPERATIONS instead of one drawn by role,
        `ok` whether it is allowed instead of nearly always."""
        rng = self.rng
        if operation is None:
            name, service, kind, _ = rng.choices(OPERATIONS, _WEIGHTS[user.role])[0]
        else:
            name, service, kind, _ = next(row for row in OPERATIONS if row[0] == operation)
        technical = user.role in _KIND_OF_ROLE
        tool = (
            rng.randrange(4)
            if rng.random() < (0.65 if technical else 0.08) or user.role == "service"
            else None
        )
        return self.sensors.api(
            time,
            user,
            source or self.where(user, time),
            name,
            service=service,
            tool=tool,
            resource=f"{kind}/{rng.choice(_RESOURCES[kind])}",
            ok=rng.random() > 0.035 if ok is None else ok,
        )

    def site(self, user: User | None) -> Site:
        """A site outside: mostly one of the user's own, sometimes any, at times one of the long
        tail."""
        rng, r = self.rng, self.rng.random()
        if user is not None and r < 0.7:
            return self.company.sites[rng.choice(user.sites)]
        if r < 0.88:
            return rng.choices(self.company.sites, self.site_weights)[0]
        return rng.choices(self.company.tail, self.tail_weights)[0]

    def request(self, time: int, host: Host, target: Site | Service, user: User | None) -> Event:
        """An HTTP request with the target's own latencies, sizes and errors."""
        rng = self.rng
        method = rng.choices(("GET", "POST", "PUT", "DELETE", "HEAD"), (66, 24, 6, 1, 3))[0]
        if isinstance(target, Service):
            latency, up, down = target.latency * rng.lognormvariate(0, 0.6), 500.0, target.size
            r = rng.random()
            code = (
                rng.choice((500, 502, 503, 504))
                if r < target.error_rate
                else rng.choice((400, 401, 403, 404, 429))
                if r < 0.05
                else 200
            )
            if code in (503, 504) or rng.random() < 0.006:  # queues, time-outs, an unlucky query
                latency *= rng.lognormvariate(2.7, 0.7)
        else:
            latency, up, down = rng.lognormvariate(4.6, 0.8), target.up, target.down
            r = rng.random()
            code = (
                rng.choice((400, 401, 403, 404, 429, 500, 503))
                if r < 0.04
                else 304
                if r < 0.1
                else 200
            )
        up *= 0.3 if method in ("GET", "HEAD") else 1.5
        return self.sensors.http(
            time,
            host,
            target,
            method=method,
            code=code,
            user=user,
            latency=latency,
            up=120 + up * rng.lognormvariate(0, 1.1),
            down=80 + down * rng.lognormvariate(0, 1.2),
        )

    def browse(self, time: int, user: User) -> Event:
        if self.rng.random() < 0.3:
            return self.request(
                time,
                user.host,
                self.rng.choices(self.company.services, self.service_weights)[0],
                user,
            )
        return self.request(time, user.host, self.site(user), user)

    def flow(self, time: int, user: User, *, site: Site | None = None) -> Event:
        """A network flow from the user's machine: mostly to sites (or to `site`), else to files,
        databases, names."""
        rng = self.rng
        target: Host | Site
        r, port = rng.random(), 443
        if site is not None or r < 0.6:
            target = site or self.site(user)
            up, down = (
                target.up * rng.lognormvariate(1, 1.6),
                target.down * rng.lognormvariate(1, 1.6),
            )
            if target.category in ("files", "video", "media") and rng.random() < 0.04:
                up *= rng.lognormvariate(6, 1)  # a film, a disk image, a handover to a customer
        else:
            kind, port = (
                ("file", 445)
                if r < 0.75
                else ("app", rng.choice((53, 123)))
                if r < 0.83
                else ("db", 5432)
                if user.role in ("data", "engineering")
                else ("web", 443)
                if user.role != "operations"
                else ("app", 22)
            )
            target = rng.choice(self.servers[kind])
            up, down = rng.lognormvariate(8.5, 1.8), rng.lognormvariate(10, 2)
        return self.sensors.network(
            time,
            user.host,
            target,
            port,
            up=90 + up,
            down=90 + down,
            user=user,
            duration=rng.lognormvariate(7.5, 1.7) + (up + down) / 8000,
            activity=rng.choices((1, 2, 6), (1, 1, 8))[0],
            ok=rng.random() > 0.015,
        )

    def upload(self, time: int, host: Host, site: Site, user: User, size: float) -> Event:
        """A flow that sends `size` bytes to `site`, as fast as the line of that moment lets it."""
        duration = size / self.rng.uniform(8000, 40_000)
        return self.sensors.network(
            time, host, site, 443, up=size, down=size / 90, user=user, duration=duration
        )

    def run(self, time: int, user: User, *, host: Host | None = None) -> Event:
        rng = self.rng
        table = _PROGRAMS[_KIND_OF_ROLE.get(user.role, "office")]
        program = rng.choices(list(table), list(table.values()))[0]
        parent = None
        if rng.random() < 0.06:
            parent = rng.choice(("desktop", "shell", "script", "writer", "mailer", "sheets"))
        return self.sensors.process(
            time,
            host or user.host,
            user,
            program,
            parent=parent,
            terminate=rng.random() < 0.15,
            duration=rng.lognormvariate(8, 2),
        )
