"""What goes wrong in the simulated company: nine kinds of incident, each leaving only the traces
that it would leave.

An incident is written by the same sensors as everything else, from addresses, browsers, programs,
sites and calls of the API that staff use too. `EACH_NORMAL` names the kinds whose events are, one
by one, ordinary: only several together (how many, how regular, how far apart) tell. The others
leave single events in an unusual combination."""

from collections.abc import Callable
from datetime import UTC, datetime

from nbsrc.simulation.habits import Habits
from nbsrc.simulation.products.base import Event
from nbsrc.simulation.world import DAY, HOUR, MINUTE, SECOND


def _at_hour(time: int, hour: float, utc: int) -> int:
    """The first moment from `time` on at which it is `hour` o'clock where the offset from UTC is
    `utc` hours."""
    wanted = int((hour - utc) * HOUR) % DAY
    return time + (wanted - time) % DAY


def password_spraying(habits: Habits, at: int, scale: float) -> list[Event]:
    """One or two guesses at each of many accounts, from a handful of addresses within an hour or
    two."""
    rng, company = habits.rng, habits.company
    place = habits.somebody().place
    sources = rng.sample(company.pools[place.city, rng.choice(("mobile", "hosting"))], 3)
    victims = rng.sample(company.users, min(len(company.users), round(12 * scale)))
    return [
        habits.logon(
            at + round(i * rng.uniform(2, 6) * MINUTE), victim, source=rng.choice(sources), ok=False
        )
        for i, victim in enumerate(victims)
    ]


def brute_force(habits: Habits, at: int, scale: float) -> list[Event]:
    """Guess after guess at one account until one is right; then a look around."""
    rng, victim = habits.rng, habits.somebody()
    source = rng.choice(habits.company.pools[victim.place.city, rng.choice(("mobile", "hosting"))])
    events, time = [], at
    for _ in range(round(rng.uniform(7, 12) * scale)):
        time += round(rng.uniform(3, 40) * SECOND)
        events.append(habits.logon(time, victim, source=source, ok=False))
    events.append(habits.logon(time + 20 * SECOND, victim, source=source))
    for minutes in (2, 5):
        operation = rng.choice(("ListObjects", "GetIdentity", "ListUsers"))
        events.append(
            habits.call(time + minutes * MINUTE, victim, source=source, operation=operation)
        )
    return events


def impossible_travel(habits: Habits, at: int, scale: float) -> list[Event]:
    """One account, two distant towns, less than an hour apart; each logon is like any
    traveller's."""
    rng, victim = habits.rng, habits.somebody()
    first = habits.company.abroad(rng, away_from=victim.place)
    second = habits.company.abroad(rng, away_from=first.place)
    later = at + round(rng.uniform(15, 50) * MINUTE)
    return [
        habits.logon(at, victim, source=first),
        habits.logon(later, victim, source=second),
        habits.call(later + 3 * MINUTE, victim, source=second),
    ]


def privilege_escalation(habits: Habits, at: int, scale: float) -> list[Event]:
    """Somebody outside operations gives themselves rights, then uses them, all within half an
    hour."""
    rng = habits.rng
    user = habits.somebody()
    while user.role == "operations":
        user = habits.somebody()
    source, time, events = habits.where(user, at), at, []
    steps = [
        rng.choice(("ListUsers", "ListRoles")),
        "AttachUserPolicy",
        rng.choice(("CreateAccessKey", "UpdateLoginProfile")),
        "AssumeRole",
        "GetSecretValue",
    ]
    for operation in steps:
        time += round(rng.uniform(1, 6) * MINUTE)
        events.append(habits.call(time, user, source=source, operation=operation))
    return events


def exfiltration_fast(habits: Habits, at: int, scale: float) -> list[Event]:
    """Gigabytes leave a laptop at night for a file-sharing site, in a few flows."""
    rng, user = habits.rng, habits.somebody()
    site = rng.choice([site for site in habits.company.sites if site.category == "files"])
    time = _at_hour(at, rng.uniform(22, 28) % 24, user.place.utc)
    events = []
    for _ in range(rng.randint(2, 4)):
        size = rng.lognormvariate(21.5, 0.8)
        time += round(rng.uniform(2, 12) * MINUTE)
        events.append(habits.upload(time, user.host, site, user, size))
    return events


def exfiltration_slow(habits: Habits, at: int, scale: float) -> list[Event]:
    """Two working days of small uploads, each as large as anybody's, from one laptop to one
    file-sharing site."""
    rng, user = habits.rng, habits.somebody()
    site = rng.choice([site for site in habits.company.sites if site.category == "files"])
    midnight = at // DAY * DAY
    other = -DAY if datetime.fromtimestamp((midnight + DAY) / 1000, UTC).weekday() >= 5 else DAY
    events = []
    for _ in range(round(9 * scale)):
        hours = user.starts - user.place.utc + rng.uniform(0, 8.5)
        time = midnight + rng.choice((0, other)) + round(hours * HOUR)
        events.append(habits.flow(time if time >= habits.start else time + DAY, user, site=site))
    return events


def beaconing(habits: Habits, at: int, scale: float) -> list[Event]:
    """A laptop calls a little-known site at an almost regular beat; each call is a small, ordinary
    flow."""
    rng, user = habits.rng, habits.somebody()
    site = rng.choices(habits.company.tail, habits.tail_weights)[0]
    period, time, events = rng.uniform(4, 20) * MINUTE, at, []
    up, down = site.up * rng.lognormvariate(1, 0.8), site.down * rng.lognormvariate(1, 0.8)
    for _ in range(round(14 * scale)):
        time += round(period * rng.uniform(0.93, 1.07))
        events.append(
            habits.sensors.network(
                time,
                user.host,
                site,
                443,
                up=up * rng.uniform(0.95, 1.1),
                down=down * rng.uniform(0.95, 1.1),
                user=user,
                duration=rng.lognormvariate(7.5, 1.0),
            )
        )
    return events


def ransomware(habits: Habits, at: int, scale: float) -> list[Event]:
    """In a minute or two, off hours: a document starts a script, and the script copies, encrypts,
    removes snapshots."""
    rng, user = habits.rng, habits.somebody()
    if rng.random() < 0.3:  # it came in through a job on a server
        user = rng.choice(habits.company.accounts)
    time = _at_hour(at, rng.uniform(19, 30) % 24, user.place.utc)
    events = [
        habits.sensors.process(
            time, user.host, user, "script", parent=rng.choice(("writer", "mailer", "sheets"))
        )
    ]
    for _ in range(round(13 * scale)):
        time += round(rng.uniform(1, 9) * SECOND)
        program = rng.choices(
            ("encrypt", "copy", "archive", "volumes", "shell"), (50, 20, 10, 8, 12)
        )[0]
        events.append(
            habits.sensors.process(
                time, user.host, user, program, parent="script", duration=rng.lognormvariate(8, 1)
            )
        )
    return events


def service_storm(habits: Habits, at: int, scale: float) -> list[Event]:
    """For a quarter of an hour a service queues for its database: callers wait, then get errors."""
    rng, company = habits.rng, habits.company
    service = rng.choices(company.services, habits.service_weights)[0]
    database, events = rng.choice(habits.servers["db"]), []
    for _ in range(round(11 * scale)):
        user = habits.somebody() if rng.random() < 0.5 else None
        host = user.host if user else rng.choice(habits.servers["app"] + habits.servers["web"])
        failed = rng.random() < 0.6
        events.append(
            habits.sensors.http(
                at + round(rng.uniform(0, 15) * MINUTE),
                host,
                service,
                user=user,
                method=rng.choices(("GET", "POST", "PUT"), (70, 25, 5))[0],
                code=rng.choice((500, 503, 504)) if failed else 200,
                up=120 + 500 * rng.lognormvariate(0, 1.1),
                down=80 + service.size * rng.lognormvariate(0, 1.2),
                latency=service.latency * rng.lognormvariate(3.2, 0.5),
            )
        )
    for _ in range(round(3 * scale)):
        events.append(
            habits.sensors.network(
                at + round(rng.uniform(0, 15) * MINUTE),
                service.host,
                database,
                5432,
                up=rng.lognormvariate(8, 1.6),
                down=rng.lognormvariate(9.5, 2),
                duration=rng.lognormvariate(10.5, 0.8),
                user=rng.choice(company.accounts),
            )
        )
    return events


INCIDENTS: dict[str, Callable[[Habits, int, float], list[Event]]] = {
    scenario.__name__: scenario
    for scenario in (
        password_spraying,
        brute_force,
        impossible_travel,
        privilege_escalation,
        exfiltration_fast,
        exfiltration_slow,
        beaconing,
        ransomware,
        service_storm,
    )
}

# No score of single events can find these: their events are drawn as ordinary ones are.
EACH_NORMAL = ("password_spraying", "impossible_travel", "exfiltration_slow", "beaconing")
