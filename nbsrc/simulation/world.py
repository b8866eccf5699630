"""Tables of the made-up world: places, names, machines, services, sites and user agents.

All names end in ``.example`` or belong to nobody."""

from typing import NamedTuple

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000  # in milliseconds


class Place(NamedTuple):
    """A town, with its offset from UTC in hours."""

    country: str
    region: str
    city: str
    lat: float
    long: float
    utc: int


# fmt: off
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
OFFICE_SHARES = (40, 18, 22, 12, 8)

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
TITLES = {
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
GIVEN_NAMES = (
    "Anna", "Ben", "Carla", "David", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kavya",
    "Lena", "Marek", "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Samir", "Tilda", "Umar", "Vera",
    "Wanda", "Xenia", "Yusuf", "Zoe", "Amit", "Bruno", "Celia", "Dario",
)
SURNAMES = (
    "Adler", "Bauer", "Clarke", "Desai", "Evans", "Fischer", "Gupta", "Hansen", "Iyer", "Jansen",
    "Kowalski", "Lopez", "Meyer", "Novak", "Okafor", "Patel", "Quinn", "Rossi", "Schmidt", "Turner",
    "Ueda", "Vogel", "Walker", "Xu", "Young", "Zielinski", "Brandt", "Costa", "Dubois", "Engel",
)
# Account and the kind of server that it works on.
SERVICE_ACCOUNTS = {
    "svc.backup": "backup", "svc.deploy": "build", "svc.etl": "batch", "svc.monitor": "batch",
    "svc.report": "batch", "svc.scan": "batch",
}
OSES = (  # name, type_id, type, version, build, edition
    ("Windows", 100, "Windows", "10.0.22631", "22631.3296", "Enterprise"),
    ("macOS", 300, "macOS", "14.4.12309", "23E22.4101", "Standard"),
    ("Ubuntu", 200, "Linux", "22.04.4015", "50150.0101", "Longterm"),
    ("Windows", 100, "Windows", "10.0.20348", "20348.2402", "Datacenter"),
)
# Machines in the server room: kind and how many.
SERVERS = {"web": 4, "app": 10, "db": 4, "build": 4, "backup": 2, "batch": 3, "file": 3}
# Internal services: name, calls per hour relative to the others, typical latency in ms, typical
# response in bytes.
SERVICES = (
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
SITES = (
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
TAIL_WORDS = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "iris", "juniper",
    "kelp", "lumen", "maple", "north", "olive", "pearl",
)
# Public addresses by kind: which quarter of a town's addresses, how many are drawn beforehand, and
# the name of whoever runs them.
SOURCES = {
    "office": (0, 3, "Fibrelink"), "mobile": (1, 24, "Mobinet"), "hotel": (2, 12, "Staywifi"),
    "hosting": (3, 24, "Rackspan"), "home": (3, 0, "Homecable"),
}
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/122.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/121.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15) AppleWebKit/537.36 Chrome/122.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux amd64) AppleWebKit/537.36 Chrome/123.0 Safari/537.36",
)
TOOLS = (
    "CloudCommand/2.15.30 (Linux 5.15; x64) Python/3.11.8 CloudCore/2.5.3 Prompt/off Installer/exe",
    "CloudLibraryGo/1.50.9 (go1.22.1; linux; amd64) CloudCore/1.50.9 Region/default Retry/standard",
    "InfrastructureAsCode/1.7.4 (Linux 5.15; x64) CloudProvider/5.41.0 CloudLibraryGo/1.50.9 "
    "Plan/apply",
    "PythonRequests/2.31.0 (Linux 5.15; x64) Python/3.11.8 HttpPool/2.2.1 CertStore/2024.2 "
    "Session/keep",
)
# fmt: on
