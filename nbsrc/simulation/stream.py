"""A fortnight of a made-up company's OCSF events, with labelled incidents in it, from a seed."""

import gc
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from random import Random

import numpy as np
import polars as pl
from tqdm import tqdm

from nbsrc.simulation.company import Company, User
from nbsrc.simulation.habits import DAYS, Habits
from nbsrc.simulation.products.base import Event
from nbsrc.simulation.rarities import rarities
from nbsrc.simulation.scenarios import INCIDENTS
from nbsrc.simulation.sensors import Sensors
from nbsrc.simulation.unforeseen import UNFORESEEN
from nbsrc.simulation.world import DAY, HOUR, ROLES

SCENARIOS = tuple(INCIDENTS)
_KINDS = INCIDENTS | {name: incident for name, (incident, _) in UNFORESEEN.items()}
START = "2026-03-02T00:00:00Z"  # a Monday


def checked_start(n: int, *, seed: int, start: str | datetime, scenarios: Sequence[str]) -> int:
    """Check what `simulate_events` is given; returns the start in epoch milliseconds."""
    unknown = [name for name in scenarios if name not in _KINDS]
    if unknown:
        raise ValueError(f"unknown scenario {unknown[0]!r}; there are {', '.join(_KINDS)}")
    if n < 0:
        raise ValueError(f"n={n} events: give 0 or more")
    if scenarios and n < 1000:
        raise ValueError(
            f"n={n} events are too few to hide incidents in; give at least 1000, or scenarios=()"
        )
    if seed < 0:
        raise ValueError(f"seed={seed}: give 0 or more")
    try:
        moment = datetime.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        raise ValueError(f"start={start!r} is not a date; write it like {START}") from None
    if not 1990 <= moment.year <= 9990:  # hire dates lie years before, certificates end years after
        raise ValueError(f"start={start!r} is out of range; choose a moment from 1990 to 9990")
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _moments(
    count: int, users: Sequence[User], start: int, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Draw who acts, and when: `count` indices into `users` and as many epoch milliseconds within
    the fortnight."""
    midnight = start // DAY * DAY
    weekend = np.array(
        [
            datetime.fromtimestamp((midnight + d * DAY) / 1000, UTC).weekday() >= 5
            for d in range(DAYS)
        ]
    )
    rates = np.array(
        [[user.rate * (user.weekends if off else 1.0) for off in weekend] for user in users]
    )
    rates *= rng.random(rates.shape) > 0.05  # a day off
    if not rates.any():
        rates[:] = 1.0
    cell = rng.choice(rates.size, size=count, p=(rates / rates.sum()).ravel())
    who, day = np.divmod(cell, DAYS)
    hour = np.array([user.starts for user in users])[who] + 8.8 * rng.beta(1.3, 1.3, count)
    r = rng.random(count)
    hour = np.where(r < 0.07, hour + 4 + rng.exponential(1.8, count), hour)  # evenings
    hour = np.where(
        r > 0.985, rng.uniform(0, 24, count), hour
    )  # on call, sleepless, another time zone
    utc = np.array([user.place.utc for user in users])[who]
    time = midnight + day * DAY + ((hour - utc) * HOUR).astype(np.int64)
    # Two weeks on, the hour and the weekday are the same: what falls outside the stream goes to its
    # other end.
    return who.tolist(), (start + (time - start) % (DAYS * DAY)).tolist()


def _people(habits: Habits, count: int, rng: np.random.Generator, progress: tqdm) -> list[Event]:
    """What people do at their desks: `count` events, each by somebody at an hour that suits
    them."""
    users = habits.company.users
    acts: tuple[Callable[[int, User], Event], ...] = (
        habits.call,
        habits.browse,
        habits.flow,
        habits.run,
    )
    steps = {role: list(accumulate(weights)) for role, (_, weights) in ROLES.items()}
    events: list[Event] = []
    for who, time, r in zip(
        *_moments(count, users, habits.start, rng), rng.uniform(0, 100, count).tolist(), strict=True
    ):
        user = users[who]
        act = bisect_right(steps[user.role], r)
        if act == 0:
            events += [event for event in habits.enter(time, user) if event["time"] >= habits.start]
        else:
            events.append(acts[act - 1](time, user))
        progress.update()
        if len(events) >= count:
            break
    return events[:count]


def _machines(habits: Habits, count: int, rng: np.random.Generator, progress: tqdm) -> list[Event]:
    """What machines do by themselves: services call each other in step with the staff, probes and
    jobs at any hour."""
    company, sensors, draw, start = habits.company, habits.sensors, habits.rng, habits.start
    _, busy = _moments(count, company.users, start, rng)
    any_time = (start + rng.integers(0, DAYS * DAY, count)).tolist()
    accounts = {account.name: account for account in company.accounts}
    monitor, etl, deploy = accounts["svc.monitor"], accounts["svc.etl"], accounts["svc.deploy"]
    events = []
    for i, r in enumerate(rng.random(count).tolist()):
        progress.update()
        time = busy[i] if r * 100 % 1 < 0.75 else any_time[i]
        service = draw.choices(company.services, habits.service_weights)[0]
        if r < 0.38:
            events.append(
                habits.request(
                    time, draw.choice(habits.servers["app"] + habits.servers["web"]), service, None
                )
            )
        elif r < 0.60:
            kind, port = draw.choice(
                (("db", 5432), ("db", 5432), ("app", 443), ("file", 445), ("app", 53))
            )
            events.append(
                sensors.network(
                    time,
                    draw.choice(company.servers),
                    draw.choice(habits.servers[kind]),
                    port,
                    up=90 + draw.lognormvariate(8, 1.6),
                    down=90 + draw.lognormvariate(9.5, 2),
                    duration=draw.lognormvariate(5, 1.8),
                    activity=draw.choices((1, 2, 6), (1, 1, 8))[0],
                    user=draw.choice(company.accounts),
                )
            )
        elif r < 0.68:
            events.append(habits.request(any_time[i], monitor.host, service, monitor))
        elif r < 0.80:
            account = draw.choice((etl, deploy, accounts["svc.report"]))
            events.append(
                habits.run(
                    time,
                    account,
                    host=draw.choice(habits.servers["build"] + habits.servers["batch"]),
                )
            )
        elif r < 0.90:
            events.append(habits.call(time, draw.choice(company.accounts)))
        elif r < 0.94:
            events.append(
                habits.logon(time, draw.choice(company.accounts), ok=draw.random() > 0.08)
            )
        else:
            site = draw.choice(company.sites[-2:])
            events.append(habits.request(time, draw.choice(company.servers), site, None))
    return events


def _incidents(habits: Habits, n: int, scenario: str, typical: list[int]) -> list[list[Event]]:
    """The instances of one scenario, spread over the stream; `typical` are sorted moments at which
    people act."""
    rng, start = habits.rng, habits.start
    count = 1 if n < 25_000 else max(2, n // 25_000)
    scale = min(2.0, max(1.0, (n / 50_000) ** 0.5))
    instances = []
    for i in range(count):
        first, last = start, start + DAYS * DAY
        # Whoever learns from the first 70% of the events and tests on the rest finds whole
        # instances in both.
        if count > 1 and i == 0:
            last = typical[int(0.67 * len(typical))]
        if count > 1 and i == count - 1:
            first = typical[int(0.73 * len(typical))]
        events: list[Event] = []
        while (
            not events
            or min(e["time"] for e in events) < first
            or max(e["time"] for e in events) >= last
        ):
            part = (
                rng.uniform(i, i + 1) / count
                if i < count - 1
                else rng.uniform(min(0.73, i / count), 1)
            )
            events = _KINDS[scenario](habits, typical[int(part * len(typical))], scale)
        instances.append(events)
    return instances


def simulate_events(
    n: int,
    *,
    seed: int,
    start: str | datetime = START,
    scenarios: Sequence[str] = SCENARIOS,
    show_progress: bool = False,
) -> tuple[list[Event], pl.DataFrame]:
    """Simulate `n` OCSF events of a company's fortnight and label those that belong to an incident.

    The stream always lasts 14 days from `start`, so that hours, nights and weekends are in it. `n`
    sets how large the company is: one member of staff for 800 events, from 24 to 2,000 people, each
    with about 60 events a working day. The incidents come in 1 instance of each scenario below
    25,000 events, 2 below 75,000, and one for each 25,000 events from there; they are spread over
    the fortnight and make up about 0.5% of the events (more below 15,000, since one instance takes
    about ten). A history to learn from and new events to score are two parts of one stream:

    >>> events, labels = simulate_events(3000, seed=0)
    >>> cut = events[int(0.7 * len(events))]["time"]
    >>> past = [event for event in events if event["time"] < cut]
    >>> new = [event for event in events if event["time"] >= cut]
    >>> len(past), len(new), labels.columns
    (2100, 900, ['uid', 'scenario', 'instance'])

    Args:
        n: how many events, those of the scenarios included.
        seed: equal arguments give equal events.
        start: the first moment, ISO 8601 or a datetime; UTC where it has no offset.
        scenarios: names out of `SCENARIOS`, all of which is the default, or out of `UNFORESEEN`,
            whose innocent look-alikes then appear as well; () gives a stream in which nothing goes
            wrong.
        show_progress: draw a progress bar on stderr.

    Returns:
        The events, nested dictionaries sorted by `time` (epoch milliseconds), and a frame with a
        row for each event of a scenario: its `metadata.uid`, the scenario, and the number of the
        instance, from 0. A scenario and a number are one incident, which lasts from the first to
        the last of its events. No event says it itself.

    Raises:
        ValueError: negative `n` or `seed`, fewer than 1,000 events with scenarios, an unknown
            scenario, a start that is no date or not from 1990 to 9990.
    """
    start_ms = checked_start(n, seed=seed, start=start, scenarios=scenarios)
    seeds = Random(seed)
    company = Company(max(24, min(2000, n // 800)), Random(seeds.getrandbits(64)))
    sensors = Sensors(Random(seeds.getrandbits(64)), start_ms)
    habits = Habits(company, sensors, Random(seeds.getrandbits(64)), start_ms)
    rng = np.random.default_rng(seeds.getrandbits(64))

    typical = sorted(_moments(5000, company.users, start_ms, rng)[1])
    events: list[Event] = []
    labels: list[tuple[str, str, int]] = []
    for scenario in scenarios:
        for instance, incident in enumerate(_incidents(habits, n, scenario, typical)):
            events += incident
            labels += [(event["metadata"]["uid"], scenario, instance) for event in incident]

    n -= len(events)
    look_alikes = [UNFORESEEN[name][1] for name in scenarios if name in UNFORESEEN]
    rare = rarities(habits, n, typical, look_alikes)
    machines = int(n * 0.36)
    collecting = gc.isenabled()
    # millions of small objects that all stay: looking for garbage among them doubles the time
    gc.disable()
    try:
        with tqdm(
            total=n, desc="simulating", unit=" events", disable=not show_progress
        ) as progress:
            events += rare + _machines(habits, machines, rng, progress)
            events += _people(habits, n - machines - len(rare), rng, progress)
    finally:
        if collecting:
            gc.enable()
    events.sort(key=lambda event: (event["time"], event["metadata"]["uid"]))
    schema = {"uid": pl.String, "scenario": pl.String, "instance": pl.Int64}
    return events, pl.DataFrame(labels, schema=schema, orient="row")
