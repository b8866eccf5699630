"""A fortnight of a made-up company's OCSF events, with labelled incidents in it, from a seed.

Run it: ``python -m nbsrc.simulate --events 100000 --out DIR``.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from random import Random
from typing import Any

import numpy as np
import polars as pl

from nbsrc.company import ROLES, Company, User
from nbsrc.habits import DAY, DAYS, Habits
from nbsrc.sensors import Event, Sensors

HOUR = 3_600_000
SCENARIOS: tuple[str, ...] = ()


def _start_ms(start: str | datetime) -> int:
    moment = datetime.fromisoformat(start) if isinstance(start, str) else start
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _moments(count: int, users: Sequence[User], start: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Draw who acts, and when: `count` indices into `users` and as many epoch milliseconds within the fortnight."""
    midnight = start // DAY * DAY
    weekend = np.array([datetime.fromtimestamp((midnight + d * DAY) / 1000, UTC).weekday() >= 5 for d in range(DAYS)])
    rates = np.array([[user.rate * (user.weekends if off else 1.0) for off in weekend] for user in users])
    rates *= rng.random(rates.shape) > 0.05  # a day off
    if not rates.any():
        rates[:] = 1.0
    cell = rng.choice(rates.size, size=count, p=(rates / rates.sum()).ravel())
    who, day = np.divmod(cell, DAYS)
    hour = np.array([user.starts for user in users])[who] + 8.8 * rng.beta(1.3, 1.3, count)
    r = rng.random(count)
    hour = np.where(r < 0.07, hour + 4 + rng.exponential(1.8, count), hour)  # evenings
    hour = np.where(r > 0.985, rng.uniform(0, 24, count), hour)  # on call, sleepless, another time zone
    utc = np.array([user.place.utc for user in users])[who]
    time = midnight + day * DAY + ((hour - utc) * HOUR).astype(np.int64)
    # Two weeks on, the hour and the weekday are the same: what falls outside the stream goes to its other end.
    return who.tolist(), (start + (time - start) % (DAYS * DAY)).tolist()


def _people(habits: Habits, count: int, rng: np.random.Generator) -> list[Event]:
    """What people do at their desks: `count` events, each by somebody at an hour that suits them."""
    users = habits.company.users
    acts: tuple[Callable[[int, User], Event], ...] = (habits.logon, habits.call, habits.browse, habits.flow, habits.run)
    steps = {role: list(accumulate(weights)) for role, (_, weights) in ROLES.items()}
    events = []
    for who, time, r in zip(*_moments(count, users, habits.start, rng), rng.uniform(0, 100, count).tolist(), strict=True):
        user = users[who]
        events.append(acts[bisect_right(steps[user.role], r)](time, user))
    return events


def _machines(habits: Habits, count: int, rng: np.random.Generator) -> list[Event]:
    """What machines do by themselves: services call each other in step with the staff, probes and jobs at any hour."""
    company, sensors, draw, start = habits.company, habits.sensors, habits.rng, habits.start
    _, busy = _moments(count, company.users, start, rng)
    any_time = (start + rng.integers(0, DAYS * DAY, count)).tolist()
    accounts = {account.name: account for account in company.accounts}
    monitor, etl, deploy = accounts["svc-monitor"], accounts["svc-etl"], accounts["svc-deploy"]
    events = []
    for i, r in enumerate(rng.random(count).tolist()):
        time = busy[i] if r * 100 % 1 < 0.75 else any_time[i]
        service = draw.choices(company.services, habits.service_weights)[0]
        if r < 0.38:
            events.append(habits.request(time, draw.choice(habits.servers["app"] + habits.servers["web"]), service, None))
        elif r < 0.60:
            kind, port = draw.choice((("db", 5432), ("db", 5432), ("app", 443), ("file", 445), ("app", 53)))
            events.append(sensors.network(time, draw.choice(company.servers), draw.choice(habits.servers[kind]), port,
                                          up=90 + draw.lognormvariate(8, 1.6), down=90 + draw.lognormvariate(9.5, 2),
                                          duration=draw.lognormvariate(5, 1.8), activity=draw.choices((1, 2, 6), (1, 1, 8))[0]))
        elif r < 0.68:
            events.append(habits.request(any_time[i], monitor.host, service, monitor))
        elif r < 0.80:
            account = draw.choice((etl, deploy, accounts["svc-report"]))
            events.append(habits.run(time, account, host=draw.choice(habits.servers["build"] + habits.servers["batch"])))
        elif r < 0.90:
            events.append(habits.call(time, draw.choice(company.accounts)))
        elif r < 0.94:
            events.append(habits.logon(time, draw.choice(company.accounts), ok=draw.random() > 0.03))
        else:
            site = draw.choice(company.sites[-2:])
            events.append(habits.request(time, draw.choice(company.servers), site, None))
    return events


def simulate_events(n: int, *, seed: int, start: str | datetime = "2026-03-02T00:00:00Z",
                    scenarios: Sequence[str] = SCENARIOS) -> tuple[list[Event], pl.DataFrame]:
    """Simulate `n` OCSF events of a company's fortnight."""
    start_ms = _start_ms(start)
    seeds = Random(seed)
    company = Company(max(24, min(2000, n // 800)), Random(seeds.getrandbits(64)))
    sensors = Sensors(company, Random(seeds.getrandbits(64)), start_ms)
    habits = Habits(company, sensors, Random(seeds.getrandbits(64)), start_ms)
    rng = np.random.default_rng(seeds.getrandbits(64))
    machines = int(n * 0.36)
    events = _machines(habits, machines, rng) + _people(habits, n - machines, rng)
    events.sort(key=lambda event: (event["time"], event["metadata"]["uid"]))
    labels: list[dict[str, Any]] = []
    return events, pl.DataFrame(labels, schema={"uid": pl.String, "scenario": pl.String, "instance": pl.Int64})
