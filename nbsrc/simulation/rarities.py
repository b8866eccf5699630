"""What is rare in the simulated company and yet legitimate: nights, bursts and repetitions that
resemble an incident."""

from collections.abc import Callable, Sequence
from copy import copy

from nbsrc.simulation.habits import DAYS, Habits
from nbsrc.simulation.products.base import Event
from nbsrc.simulation.world import DAY, HOUR, MINUTE, SECOND

Story = Callable[[Habits, int], list[Event]]


def rarities(
    habits: Habits, n: int, typical: list[int], further: Sequence[Story] = ()
) -> list[Event]:
    """Draw the rare events of a stream of `n`, about 4% of them; `typical` are moments at which
    people act, `further` are stories to tell besides those of this module."""
    rng, start, end = habits.rng, habits.start, habits.start + DAYS * DAY
    events: list[Event] = []
    for night in range(DAYS):
        events += _nightly_jobs(habits, start + night * DAY, n)
    stories: list[Story] = [_stale_password, _regular_polling, _handover, _new_colleague]
    stories *= max(1, n // 8000)
    stories += [_night_deployment, _new_laptop] * max(1, n // 25_000)
    stories += list(further) * max(2, n // 4000)
    for story in stories:
        events += story(habits, rng.choice(typical))
    rng.shuffle(events)
    return [event for event in events if start <= event["time"] < end][: n // 8]


def _nightly_jobs(habits: Habits, midnight: int, n: int) -> list[Event]:
    """The backup, which moves as much as an exfiltration, and a batch of jobs that starts many
    processes at once."""
    rng, company = habits.rng, habits.company
    backup, etl = company.accounts[0], company.accounts[2]
    vault = company.sites[6]
    events = []
    for _ in range(1 + n // 25_000):
        size = rng.lognormvariate(21.5, 1.0)
        time = midnight + round(rng.uniform(0.5, 5) * HOUR)
        host = rng.choice(habits.servers["backup"])
        events.append(habits.upload(time, host, vault, backup, size))
    time, host = midnight + round(rng.uniform(1, 3) * HOUR), rng.choice(habits.servers["batch"])
    for _ in range(5 + n // 5000):
        time += round(rng.uniform(1, 12) * SECOND)
        program = rng.choices(
            ("script", "python", "copy", "archive", "encrypt", "volumes"), (10, 25, 25, 20, 17, 3)
        )[0]
        events.append(
            habits.sensors.process(
                time,
                host,
                etl,
                program,
                parent=rng.choice(("cronjob", "script")),
                duration=rng.lognormvariate(8, 1),
            )
        )
    return events


def _stale_password(habits: Habits, at: int) -> list[Event]:
    """Somebody back from holiday guesses, or a telephone keeps sending the password of last
    month."""
    rng, user = habits.rng, habits.rng.choice(habits.company.users)
    source = rng.choice(
        (user.home, user.office, rng.choice(habits.company.pools[user.place.city, "mobile"]))
    )
    pause = rng.choice((20 * SECOND, 5 * MINUTE))
    return [
        habits.logon(at + round(i * pause * rng.uniform(0.5, 1.5)), user, source=source, ok=False)
        for i in range(rng.randint(4, 12))
    ]


def _regular_polling(habits: Habits, at: int) -> list[Event]:
    """A small tool on somebody's laptop asks its site for news, at a regular beat."""
    rng, user = habits.rng, habits.rng.choice(habits.company.users)
    site = rng.choices(habits.company.tail, habits.tail_weights)[0]
    period = rng.uniform(3, 30) * MINUTE
    return [
        habits.flow(at + round(period * (i + rng.uniform(-0.05, 0.05))), user, site=site)
        for i in range(rng.randint(10, 25))
    ]


def _handover(habits: Habits, at: int) -> list[Event]:
    """A film, a disk image or a year's books go to a customer, now and then after hours."""
    rng, user = habits.rng, habits.rng.choice(habits.company.users)
    site = rng.choice(
        [site for site in habits.company.sites if site.category in ("files", "media")]
    )
    size = rng.lognormvariate(20.8, 1.0)
    time = at + (round(rng.uniform(3, 9) * HOUR) if rng.random() < 0.3 else 0)
    return [habits.upload(time, user.host, site, user, size)]


def _new_colleague(habits: Habits, at: int) -> list[Event]:
    """Rights are given to somebody new, by operations or by whoever covers for them."""
    rng = habits.rng
    staff = [
        user for user in habits.company.users if user.role == "operations" or rng.random() < 0.15
    ]
    user = rng.choice(staff)
    source = habits.where(user, at)
    return [
        habits.call(
            at + round(i * rng.uniform(1, 8) * MINUTE), user, source=source, operation=operation
        )
        for i, operation in enumerate(
            ("ListUsers", "AttachUserPolicy", "CreateAccessKey", "UpdateLoginProfile")
        )
    ]


def _night_deployment(habits: Habits, at: int) -> list[Event]:
    """A release at night: processes on servers, changes in the cloud, and a service that fails for
    a moment."""
    rng, company = habits.rng, habits.company
    user = rng.choice(
        [user for user in company.users if user.role in ("operations", "engineering")]
    )
    time = at // DAY * DAY + round((22 - user.place.utc + rng.uniform(0, 3)) * HOUR)
    service = rng.choice(company.services)
    events = []
    for _ in range(12):
        time += round(rng.uniform(5, 120) * SECOND)
        events += [
            habits.run(time, user, host=service.host),
            habits.call(
                time,
                user,
                operation=rng.choice(("UpdateServiceSize", "DescribeService", "GetSecretValue")),
            ),
        ]
    for _ in range(8):
        caller = rng.choice(company.users) if rng.random() < 0.5 else None
        host = caller.host if caller else rng.choice(habits.servers["web"])
        events.append(
            habits.sensors.http(
                time + rng.randint(0, 120) * SECOND,
                host,
                service,
                user=caller,
                code=rng.choice((200, 500, 502, 503)),
                up=500,
                down=400,
                latency=service.latency * rng.lognormvariate(2.5, 0.8),
            )
        )
    return events


def _new_laptop(habits: Habits, at: int) -> list[Event]:
    """A new machine: updates, large downloads, logons with another browser."""
    rng, user = habits.rng, copy(habits.rng.choice(habits.company.users))
    user.host, user.browser = copy(user.host), rng.randrange(4)
    user.host.name = f"new{rng.randint(5000, 9999)}.corp.example"
    user.host.uid, user.host.ip = (
        f"{rng.getrandbits(64):016x}",
        f"10.20.{user.host.subnet}.{rng.randint(220, 250)}",
    )
    packages = habits.company.sites[-1]
    events = []
    for _ in range(8):
        at += round(rng.uniform(10, 400) * SECOND)
        events += [
            habits.logon(at, user),
            habits.sensors.process(at, user.host, user, rng.choice(("updater", "agent"))),
            habits.request(at, user.host, packages, user),
            habits.flow(at, user, site=packages),
        ]
    return events
