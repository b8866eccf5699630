"""The made-up company that `nbsrc.simulation.stream` watches: its people, machines, services, and
the world around it.

Everything is drawn once from a seed. Public addresses come from 198.18.0.0/15, reserved for
benchmarks (RFC 2544), and names end in ``.example`` (RFC 2606), so that no event points at anybody.
The addresses of hotels, mobile networks and hosting providers are pools that staff use now and then
and that attackers use as well."""

from dataclasses import dataclass
from random import Random
from typing import NamedTuple


class Place(NamedTuple):
    """A town, with its offset from UTC in hours."""

    country: str
    region: str
    city: str
    lat: float
    long: float
    utc: int


class Source(NamedTuple):
    """A public address, where it is and who runs it; `kind` is office, home, mobile, hotel or
    hosting."""

    ip: str
    place: Place
    kind: str
    isp: str
    asn: int


PLACES = (
    Place("DE", "DE-BE", "Berlin", 52.52, 13.4, 1),
    Place("GB", "GB-LND", "London", 51.51, -0.13, 0),
    Place("US", "US-MA", "Boston", 42.36, -71.06, -5),
    Place("IN", "IN-MH", "Mumbai", 19.08, 72.88, 5),
    Place("PL", "PL-MZ", "Warsaw", 52.23, 21.01, 1),
    Place("FR", "FR-IDF", "Paris", 48.86, 2.35, 1),
    Place("ES", "ES-MD", "Madrid", 40.42, -3.7, 1),
    Place("NL", "NL-UT", "Utrecht", 52.09, 5.12, 1),
    Place("VN", "VN-HN", "Hanoi", 21.03, 105.85, 7),
    Place("BR", "BR-PE", "Recife", -8.05, -34.88, -3),
    Place("AE", "AE-DU", "Dubai", 25.2, 55.27, 4),
    Place("US", "US-WA", "Seattle", 47.61, -122.33, -8),
    Place("CA", "CA-ON", "Toronto", 43.65, -79.38, -5),
    Place("AU", "AU-NSW", "Sydney", -33.87, 151.21, 11),
    Place("ZA", "ZA-KZN", "Durban", -29.86, 31.02, 2),
    Place("RO", "RO-DJ", "Craiova", 44.33, 23.8, 2),
)
OFFICES = PLACES[:5]
_OFFICE_SHARES = (40, 18, 22, 12, 8)

# Role: share of the staff, and what of a hundred of its events are: logons, API calls, web, flows,
# processes.
ROLES: dict[str, tuple[int, tuple[int, ...]]] = {
    "engineering": (32, (9, 26, 24, 17, 24)),
    "operations": (9, (10, 32, 16, 20, 22)),
    "data": (10, (9, 28, 22, 22, 19)),
    "sales": (17, (14, 8, 46, 22, 10)),
    "finance": (10, (14, 10, 44, 18, 14)),
    "support": (13, (13, 14, 44, 19, 10)),
    "hr": (5, (14, 8, 48, 18, 12)),
    "executive": (4, (16, 6, 48, 20, 10)),
}
_TITLES = {
    "engineering": "Software Engineer",
    "operations": "Systems Engineer",
    "data": "Data Analyst",
    "sales": "Account Manager",
    "finance": "Financial Controller",
    "support": "Support Engineer",
    "hr": "People Partner",
    "executive": "Managing Director",
    "service": "Service Account",
}
_GIVEN = (
    "Anna",
    "Ben",
    "Carla",
    "David",
    "Elif",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kavya",
    "Lena",
    "Marek",
    "Nadia",
    "Oskar",
    "Priya",
    "Quentin",
    "Rosa",
    "Samir",
    "Tilda",
    "Umar",
    "Vera",
    "Wanda",
    "Xenia",
    "Yusuf",
    "Zoe",
    "Amit",
    "Bruno",
    "Celia",
    "Dario",
)
_SURNAMES = (
    "Adler",
    "Bauer",
    "Clarke",
    "Desai",
    "Evans",
    "Fischer",
    "Gupta",
    "Hansen",
    "Iyer",
    "Jansen",
    "Kowalski",
    "Lopez",
    "Meyer",
    "Novak",
    "Okafor",
    "Patel",
    "Quinn",
    "Rossi",
    "Schmidt",
    "Turner",
    "Ueda",
    "Vogel",
    "Walker",
    "Xu",
    "Young",
    "Zielinski",
    "Brandt",
    "Costa",
    "Dubois",
    "Engel",
)
_OSES = (  # name, type_id, type, version, build, edition
    ("Windows", 100, "Windows", "10.0.22631", "22631.3296", "Enterprise"),
    ("macOS", 300, "macOS", "14.4.12309", "23E22.4101", "Standard"),
    ("Ubuntu", 200, "Linux", "22.04.4015", "50150.0101", "Longterm"),
    ("Windows", 100, "Windows", "10.0.20348", "20348.2402", "Datacenter"),
)
# Internal services: name, calls per hour relative to the others, typical latency in ms, typical
# response in bytes.
_SERVICES = (
    ("checkout", 9, 60, 1800),
    ("catalog", 14, 25, 9000),
    ("search", 12, 45, 14000),
    ("accounts", 8, 30, 1200),
    ("billing", 4, 90, 2500),
    ("reports", 2, 400, 60000),
    ("inventory", 6, 35, 4000),
    ("notify", 5, 50, 600),
    ("identity", 8, 20, 900),
    ("documents", 3, 120, 90000),
)
# Outside sites: name, category, share of visits, typical bytes up and down of one request.
_SITES = (
    ("mail", "mail", 22, 3000, 25000),
    ("chat", "chat", 20, 1200, 6000),
    ("docs", "docs", 16, 9000, 40000),
    ("crm", "crm", 14, 2500, 18000),
    ("code", "code", 12, 5000, 50000),
    ("meet", "video", 8, 90000, 160000),
    ("drive", "files", 9, 40000, 90000),
    ("transfer", "files", 2, 120000, 20000),
    ("payroll", "finance", 3, 2000, 15000),
    ("bank", "finance", 3, 1500, 12000),
    ("travel", "travel", 3, 1800, 70000),
    ("news", "news", 9, 900, 220000),
    ("video", "media", 4, 1500, 900000),
    ("jobs", "jobs", 2, 1200, 40000),
    ("telemetry", "updates", 8, 1400, 900),
    ("packages", "updates", 5, 800, 400000),
)
_TAIL_WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "iris",
    "juniper",
    "kelp",
    "lumen",
    "maple",
    "north",
    "olive",
    "pearl",
)
SERVICE_ACCOUNTS = ("svc.backup", "svc.deploy", "svc.etl", "svc.monitor", "svc.report", "svc.scan")


@dataclass(slots=True, eq=False)
class Host:
    """A laptop or a server, with its inventory record."""

    name: str
    ip: str
    mac: str
    uid: str
    serial: str
    os: tuple[str, int, str, str, str, str]
    is_server: bool
    place: Place
    subnet: int
    cores: int
    ram: int
    boot: int  # seconds before the start of the stream
    agent: str
    rich: bool  # its agent is new enough to report hardware and network interfaces

    @property
    def windows(self) -> bool:
        return self.os[2] == "Windows"


@dataclass(slots=True, eq=False)
class User:
    """A person or a service account, with habits."""

    name: str
    full_name: str
    role: str
    uid: str
    credential: str
    employee: int
    place: Place
    host: Host
    home: Source
    office: Source
    factor: int  # index into the kinds of second factor
    browser: int
    starts: float  # local hour at which the working day usually starts
    rate: float  # activity relative to colleagues
    weekends: float  # share of a working day's activity on a Saturday or Sunday
    remote: float  # share of days worked from home
    hired: int  # days before the start of the stream
    groups: tuple[str, ...]
    sites: tuple[int, ...]  # the sites this person uses most

    @property
    def title(self) -> str:
        return _TITLES[self.role]


@dataclass(slots=True, eq=False)
class Service:
    """A service of the company, on a host, with its usual latency (ms), response size (bytes) and
    errors."""

    name: str
    host: Host
    weight: int
    latency: float
    size: float
    error_rate: float
    paths: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Site:
    """A site outside, with what one request usually moves (bytes)."""

    domain: str
    category: str
    weight: float
    up: float
    down: float
    source: Source
    paths: tuple[str, ...]


class Company:
    """`n_users` people, their laptops, the servers, services and sites; all of it follows from
    `rng`."""

    def __init__(self, n_users: int, rng: Random) -> None:
        self._rng = rng
        self.calendar = Random(rng.getrandbits(64))  # trips and days at home
        self._next_host = 0
        self.pools: dict[tuple[str, str], list[Source]] = {}
        for at, place in enumerate(PLACES):
            for block, kind in enumerate(("office", "mobile", "hotel", "hosting")):
                size = {"office": 3, "mobile": 24, "hotel": 12, "hosting": 24}[kind]
                self.pools[place.city, kind] = [
                    self._source(at, block, kind, i) for i in range(size)
                ]
        self.servers = [
            self._host(f"{kind}{i:02d}", is_server=True, place=PLACES[0])
            for kind, count in (
                ("web", 4),
                ("app", 10),
                ("db", 4),
                ("build", 4),
                ("backup", 2),
                ("batch", 3),
                ("file", 3),
            )
            for i in range(1, count + 1)
        ]
        self.users = [self._user(i) for i in range(n_users)]
        self.accounts = [self._account(i, name) for i, name in enumerate(SERVICE_ACCOUNTS)]
        apps = [host for host in self.servers if host.name.startswith("app")]
        self.services = [
            Service(
                name,
                host,
                weight,
                latency,
                size,
                rng.uniform(0.004, 0.02),
                tuple(
                    f"/{part}/v{rng.randint(1, 3)}/items"
                    for part in ("orders", "status", "query", "export", "session")
                ),
            )
            for (name, weight, latency, size), host in zip(_SERVICES, apps, strict=True)
        ]
        self.sites = [
            self._site(
                f"{name}.{rng.choice(_TAIL_WORDS)}{rng.randint(1, 9)}.example",
                category,
                weight,
                up,
                down,
            )
            for name, category, weight, up, down in _SITES
        ]
        # The long tail: visited rarely, each by somebody, and small. Beacons and drop zones live
        # here too.
        self.tail = [
            self._site(
                f"{rng.choice(('api', 'cdn', 'app', 'data', 'sync'))}.{word}{i}.example",
                "other",
                1 / (i + 4),
                rng.lognormvariate(7.2, 0.8),
                rng.lognormvariate(8.5, 1.2),
            )
            for i in range(60)
            for word in [rng.choice(_TAIL_WORDS)]
        ]

    def _source(self, at: int, block: int, kind: str, i: int) -> Source:
        number = at * 8192 + block * 2048 + i * 37 % 2048
        names = {
            "office": "Fibrelink",
            "mobile": "Mobinet",
            "hotel": "Staywifi",
            "hosting": "Rackspan",
            "home": "Homecable",
        }
        return Source(
            f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}",
            PLACES[at],
            kind,
            f"{names[kind]} {PLACES[at].country}",
            64512 + at * 5 + block,
        )

    def _host(self, name: str, *, is_server: bool, place: Place) -> Host:
        rng, number = self._rng, self._next_host
        self._next_host += 1
        subnet = (10 if is_server else 100) + number // 200
        os = rng.choices(_OSES, (0, 0, 70, 30) if is_server else (58, 30, 12, 0))[0]
        return Host(
            f"{name}.corp.example",
            f"10.20.{subnet}.{10 + number % 200}",
            ":".join(f"{rng.randrange(256):02x}" for _ in range(6)),
            f"{rng.getrandbits(64):016x}",
            f"S{rng.getrandbits(40):010X}",
            os,
            is_server,
            place,
            subnet,
            rng.choice((8, 8, 16)),
            rng.choice((16384, 32768)),
            rng.randint(3600, 40 * 86400),
            rng.choice(("7.12.1", "7.12.1", "7.11.4", "6.58.0")),
            rng.random() < 0.7,
        )

    def _user(self, i: int) -> User:
        rng = self._rng
        given, surname = _GIVEN[i * 7 % 30], _SURNAMES[(i * 11 + i // 30) % 30]
        suffix = str(i // 900) if i >= 900 else ""
        place = rng.choices(OFFICES, _OFFICE_SHARES)[0]
        role = rng.choices(list(ROLES), [share for share, _ in ROLES.values()])[0]
        # One of each role exists however small the company is.
        role = list(ROLES)[i] if i < len(ROLES) else role
        host = self._host(f"{given.lower()}{i:04d}", is_server=False, place=place)
        return self._person(
            f"{given}.{surname}{suffix}".lower(), f"{given} {surname}", role, place, host, i
        )

    def _account(self, i: int, name: str) -> User:
        kind = {"svc.backup": "backup", "svc.deploy": "build", "svc.scan": "batch"}.get(
            name, "batch"
        )
        host = next(h for h in self.servers if h.name.startswith(kind))
        return self._person(
            name, f"Service {name[4:].title()}", "service", PLACES[0], host, 80_000 + i
        )

    def _person(
        self, name: str, full_name: str, role: str, place: Place, host: Host, number: int
    ) -> User:
        rng = self._rng
        at = PLACES.index(place)
        home = (
            self._source(at, 3, "home", 30 + number % 900)
            if role != "service"
            else self.pools[place.city, "office"][0]
        )
        late = 1.2 if role == "engineering" else 0.0
        return User(
            name,
            full_name,
            role,
            f"{rng.getrandbits(48):012x}",
            f"K{rng.getrandbits(60):015X}",
            10_000 + number,
            place,
            host,
            home,
            rng.choice(self.pools[place.city, "office"]),
            rng.choices((0, 1, 2), (6, 3, 1))[0],
            rng.randrange(4),
            8.3 + late + rng.gauss(0, 0.7),
            rng.lognormvariate(0, 0.5),
            rng.choice((0.01, 0.02, 0.05, 0.15)),
            rng.choice((0.1, 0.4, 0.4, 0.8)),
            rng.randint(30, 3000),
            tuple(
                sorted(
                    {
                        "staff",
                        role,
                        *(["admins"] if role == "operations" else []),
                        *(["on-call"] if rng.random() < 0.3 else []),
                    }
                )
            ),
            tuple(rng.sample(range(len(_SITES)), 5)),
        )

    def _site(self, domain: str, category: str, weight: float, up: float, down: float) -> Site:
        rng = self._rng
        place = rng.choice(PLACES)
        stems = rng.sample(
            ("sync", "items", "upload", "feed", "mailbox", "assets", "login", "search"), 4
        )
        return Site(
            domain,
            category,
            weight,
            up,
            down,
            rng.choice(self.pools[place.city, "hosting"]),
            tuple(
                f"/{stem}/{rng.choice(('v1', 'v2', 'v3'))}/{rng.choice(('items', 'batch', 'pages'))}"
                for stem in stems
            ),
        )

    def abroad(self, rng: Random, *, away_from: Place) -> Source:
        """Draw an address in another country, as a traveller (or somebody who pretends to be one)
        would have."""
        place = rng.choice([p for p in PLACES if p.country != away_from.country])
        return rng.choice(self.pools[place.city, rng.choice(("hotel", "mobile", "hosting"))])
