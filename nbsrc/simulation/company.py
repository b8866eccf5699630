"""The made-up company that `nbsrc.simulation.stream` watches: its people, machines, services, and
the world around it.

Everything is drawn once from a seed. Public addresses come from 198.18.0.0/15, reserved for
benchmarks (RFC 2544), and names end in ``.example`` (RFC 2606), so that no event points at anybody.
The addresses of hotels, mobile networks and hosting providers are pools that staff use now and then
and that attackers use as well."""

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from nbsrc.simulation import world
from nbsrc.simulation.world import PLACES, ROLES, Place


class Source(NamedTuple):
    """A public address, where it is and who runs it; `kind` is one of `world.SOURCES`."""

    ip: str
    place: Place
    kind: str
    isp: str
    asn: int


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

    @property
    def kind(self) -> tuple[int, str]:
        """OCSF's number and caption for this type of device."""
        return (1, "Server") if self.is_server else (3, "Laptop")

    @property
    def zone(self) -> str:
        return "servers" if self.is_server else "clients"


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
        return world.TITLES[self.role]


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

    @property
    def domain(self) -> str:
        return f"{self.name}.k8s.example"


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
        self._next_user = self._next_host = 0
        self.pools = {
            (place.city, kind): [self._source(at, kind, i) for i in range(size)]
            for at, place in enumerate(PLACES)
            for kind, (_, size, _) in world.SOURCES.items()
        }
        self.servers = [
            self._host(f"{kind}{i:02d}", is_server=True, place=PLACES[0])
            for kind, count in world.SERVERS.items()
            for i in range(1, count + 1)
        ]
        self.users = [self.another() for _ in range(n_users)]
        self.accounts = [
            self._person(
                name,
                f"Service {name[4:].title()}",
                "service",
                PLACES[0],
                next(host for host in self.servers if host.name.startswith(kind)),
                80_000 + i,
            )
            for i, (name, kind) in enumerate(world.SERVICE_ACCOUNTS.items())
        ]
        apps = [host for host in self.servers if host.name.startswith("app")]
        parts = ("orders", "status", "query", "export", "session")
        self.services = [
            Service(
                name,
                host,
                weight,
                latency,
                size,
                rng.uniform(0.004, 0.02),
                tuple(f"/{part}/v{rng.randint(1, 3)}/items" for part in parts),
            )
            for (name, weight, latency, size), host in zip(world.SERVICES, apps, strict=True)
        ]
        self.sites = [
            self._site(f"{name}.{word}{rng.randint(1, 9)}.example", category, weight, up, down)
            for name, category, weight, up, down in world.SITES
            for word in [rng.choice(world.TAIL_WORDS)]
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
            for word in [rng.choice(world.TAIL_WORDS)]
        ]

    def _source(self, at: int, kind: str, i: int) -> Source:
        """Address `i` of its kind in town `at`."""
        quarter, _, name = world.SOURCES[kind]
        number = at * 8192 + quarter * 2048 + i * 37 % 2048
        ip = f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}"
        isp = f"{name} {PLACES[at].country}"
        return Source(ip, PLACES[at], kind, isp, 64512 + at * 5 + quarter)

    def _host(self, name: str, *, is_server: bool, place: Place) -> Host:
        rng, number = self._rng, self._next_host
        self._next_host += 1
        subnet = (10 if is_server else 100) + number // 200
        os = rng.choices(world.OSES, (0, 0, 70, 30) if is_server else (58, 30, 12, 0))[0]
        return Host(
            name=f"{name}.corp.example",
            ip=f"10.20.{subnet}.{10 + number % 200}",
            mac=":".join(f"{rng.randrange(256):02x}" for _ in range(6)),
            uid=f"{rng.getrandbits(64):016x}",
            serial=f"S{rng.getrandbits(40):010X}",
            os=os,
            is_server=is_server,
            place=place,
            subnet=subnet,
            cores=rng.choice((8, 8, 16)),
            ram=rng.choice((16384, 32768)),
            boot=rng.randint(3600, 40 * 86400),
            agent=rng.choice(("7.12.1", "7.12.1", "7.11.4", "6.58.0")),
            rich=rng.random() < 0.7,
        )

    def another(self) -> User:
        """Draw one more person; after the staff: who is away for long, or left and kept an
        account."""
        rng, i = self._rng, self._next_user
        self._next_user += 1
        given, surname = world.GIVEN_NAMES[i * 7 % 30], world.SURNAMES[(i * 11 + i // 30) % 30]
        suffix = str(i // 900) if i >= 900 else ""
        place = rng.choices(world.OFFICES, world.OFFICE_SHARES)[0]
        role = rng.choices(list(ROLES), [share for share, _ in ROLES.values()])[0]
        # One of each role exists however small the company is.
        role = list(ROLES)[i] if i < len(ROLES) else role
        host = self._host(f"{given.lower()}{i:04d}", is_server=False, place=place)
        name = f"{given}.{surname}{suffix}".lower()
        return self._person(name, f"{given} {surname}", role, place, host, i)

    def _person(
        self, name: str, full_name: str, role: str, place: Place, host: Host, number: int
    ) -> User:
        rng = self._rng
        offices = self.pools[place.city, "office"]
        home = self._source(PLACES.index(place), "home", 30 + number % 900)
        late = 1.2 if role == "engineering" else 0.0
        return User(
            name=name,
            full_name=full_name,
            role=role,
            uid=f"{rng.getrandbits(48):012x}",
            credential=f"K{rng.getrandbits(60):015X}",
            employee=10_000 + number,
            place=place,
            host=host,
            home=home if role != "service" else offices[0],
            office=rng.choice(offices),
            factor=rng.choices((0, 1, 2), (6, 3, 1))[0],
            browser=rng.randrange(len(world.BROWSERS)),
            starts=8.3 + late + rng.gauss(0, 0.7),
            rate=rng.lognormvariate(0, 0.5),
            weekends=rng.choice((0.01, 0.02, 0.05, 0.15)),
            remote=rng.choice((0.1, 0.4, 0.4, 0.8)),
            hired=rng.randint(30, 3000),
            groups=tuple(
                sorted(
                    {
                        "staff",
                        role,
                        *(["admins"] if role == "operations" else []),
                        *(["on-call"] if rng.random() < 0.3 else []),
                    }
                )
            ),
            sites=tuple(rng.sample(range(len(world.SITES)), 5)),
        )

    def _site(self, domain: str, category: str, weight: float, up: float, down: float) -> Site:
        rng = self._rng
        place = rng.choice(PLACES)
        words = ("sync", "items", "upload", "feed", "mailbox", "assets", "login", "search")
        stems = rng.sample(words, 4)
        source = rng.choice(self.pools[place.city, "hosting"])
        versions, ends = ("v1", "v2", "v3"), ("items", "batch", "pages")
        paths = tuple(f"/{stem}/{rng.choice(versions)}/{rng.choice(ends)}" for stem in stems)
        return Site(domain, category, weight, up, down, source, paths)

    def abroad(self, rng: Random, *, away_from: Place) -> Source:
        """Draw an address in another country, as a traveller (or somebody who pretends to be one)
        would have."""
        place = rng.choice([p for p in PLACES if p.country != away_from.country])
        return rng.choice(self.pools[place.city, rng.choice(("hotel", "mobile", "hosting"))])
