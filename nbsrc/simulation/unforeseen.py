"""Four kinds of incident kept for reports: nothing that detects is built or tuned for them.

No stream holds them unless `simulate_events` is asked for them by name. With each kind comes its
innocent look-alike, which then appears more often than the incident does. Their events are, one by
one, ordinary; the chain, the number or the surroundings tell."""

from collections.abc import Callable

from nbsrc.simulation.company import Host, Source, User
from nbsrc.simulation.habits import OPERATIONS, Habits
from nbsrc.simulation.products.base import Event
from nbsrc.simulation.world import MINUTE, SECOND

_READING = [name for name, *_ in OPERATIONS if name.startswith(("Get", "List", "Describe"))]


def _session(habits: Habits, at: int, user: User, here: Host, there: Host) -> list[Event]:
    """A remote session from one machine to another: its flow, and what `user` starts over there."""
    rng = habits.rng
    up, down = 90 + rng.lognormvariate(9, 1.5), 90 + rng.lognormvariate(9.5, 1.5)
    port, duration = rng.choice((22, 445)), rng.lognormvariate(9, 1.2)
    events = [
        habits.sensors.network(
            at, here, there, port, up=up, down=down, user=user, duration=duration
        )
    ]
    for _ in range(rng.randint(1, 2)):
        at += round(rng.uniform(2, 60) * SECOND)
        program = rng.choice(("shell", "script", "remote", "service", "copy"))
        lasts = rng.lognormvariate(8, 2)
        events.append(habits.sensors.process(at, there, user, program, duration=lasts))
    return events


def lateral_movement(habits: Habits, at: int, scale: float) -> list[Event]:
    """From a laptop to a server, and from each server on to the next, with one stolen account."""
    rng, user = habits.rng, habits.somebody()
    events, here = [], user.host
    for there in rng.sample(habits.company.servers, round(5 * scale)):
        at += round(rng.uniform(2, 12) * MINUTE)
        events += _session(habits, at, user, here, there)
        here = there
    return events


def maintenance_round(habits: Habits, at: int) -> list[Event]:
    """Somebody looks after servers, one by one: from their own laptop, by way of one server, or as
    a service account."""
    rng, company = habits.rng, habits.company
    first, *others = rng.sample(company.servers, rng.randint(4, 9))
    technical = [user for user in company.users if user.role in ("operations", "engineering")]
    user = rng.choice(technical if rng.random() < 0.75 else company.accounts)
    events, here = _session(habits, at, user, user.host, first), user.host
    if rng.random() < 0.4:
        here = first
    for there in others:
        at += round(rng.uniform(1, 12) * MINUTE)
        events += _session(habits, at, user, here, there)
    return events


def _knocks(habits: Habits, at: int, user: User, count: int) -> list[Event]:
    """`count` short connections from the user's machine to servers and ports drawn at random, few
    of which answer."""
    rng, events = habits.rng, []
    for _ in range(count):
        at += round(rng.uniform(0.5, 12) * SECOND)
        events.append(
            habits.sensors.network(
                at,
                user.host,
                rng.choice(habits.company.servers),
                rng.choice((22, 53, 443, 445, 5432)),
                up=90 + rng.lognormvariate(6.5, 1.5),
                down=90 + rng.lognormvariate(6.5, 1.8),
                duration=rng.lognormvariate(5, 1.8),
                user=user,
                activity=rng.choice((1, 6)),
                ok=rng.random() < 0.4,
            )
        )
    return events


def port_scan(habits: Habits, at: int, scale: float) -> list[Event]:
    """Within minutes a laptop tries the ports of many servers."""
    return _knocks(habits, at, habits.somebody(), round(14 * scale))


def planned_scan(habits: Habits, at: int) -> list[Event]:
    """The company's own scanner makes its round, or somebody technical looks for a fault."""
    rng, company = habits.rng, habits.company
    if rng.random() < 0.6:
        return _knocks(habits, at, company.accounts[-1], rng.randint(10, 25))
    technical = [user for user in company.users if user.role in ("operations", "engineering")]
    return _knocks(habits, at, rng.choice(technical), rng.randint(5, 12))


def _reads(
    habits: Habits, at: int, user: User, source: Source, count: int, *, refused: float
) -> list[Event]:
    """`count` calls of the API in quick succession that read one thing after another."""
    rng, events = habits.rng, []
    operations = rng.sample(_READING, len(_READING))
    for i in range(count):
        at += round(rng.uniform(1, 40) * SECOND)
        operation, ok = operations[i % len(operations)], rng.random() > refused
        events.append(habits.call(at, user, source=source, operation=operation, ok=ok))
    return events


def api_enumeration(habits: Habits, at: int, scale: float) -> list[Event]:
    """Whoever holds somebody's key asks for all that there is to read; much of it is refused."""
    rng, user = habits.rng, habits.somebody()
    pool = habits.company.pools[user.place.city, rng.choice(("mobile", "hosting"))]
    return _reads(habits, at, user, rng.choice(pool), round(13 * scale), refused=0.6)


def stocktaking(habits: Habits, at: int) -> list[Event]:
    """A tool lists what is in use, or somebody in a new post finds out what they may read."""
    rng, company = habits.rng, habits.company
    user = habits.somebody() if rng.random() < 0.6 else rng.choice(company.accounts)
    count, refused = rng.randint(9, 20), rng.uniform(0.1, 0.7)
    return _reads(habits, at, user, habits.where(user, at), count, refused=refused)


def dormant_account(habits: Habits, at: int, scale: float) -> list[Event]:
    """The account of somebody who left long ago, silent in the stream so far, is tried, opened and
    used from outside."""
    rng, user = habits.rng, habits.stranger()
    pool = habits.company.pools[user.place.city, rng.choice(("mobile", "hosting"))]
    source, events = rng.choice(pool), []
    for ok in (*[False] * rng.randint(0, 2), True, True):
        at += round(rng.uniform(0.2, 4) * MINUTE)
        events.append(habits.logon(at, user, source=source, ok=ok))
    for _ in range(round(6 * scale)):
        at += round(rng.uniform(0.5, 8) * MINUTE)
        events.append(habits.call(at, user, source=source))
    return events


def back_from_leave(habits: Habits, at: int) -> list[Event]:
    """A colleague who was away for all of the stream so far works for a few hours."""
    rng, user = habits.rng, habits.stranger()
    events = habits.enter(at, user)
    for _ in range(rng.randint(8, 16)):
        at += round(rng.uniform(1, 25) * MINUTE)
        if rng.random() < 0.2:
            events += habits.enter(at, user)
        act = rng.choice((habits.call, habits.call, habits.browse, habits.flow, habits.run))
        events.append(act(at, user))
    return events


Incident = Callable[[Habits, int, float], list[Event]]
Innocent = Callable[[Habits, int], list[Event]]
UNFORESEEN: dict[str, tuple[Incident, Innocent]] = {
    incident.__name__: (incident, innocent)
    for incident, innocent in (
        (lateral_movement, maintenance_round),
        (port_scan, planned_scan),
        (api_enumeration, stocktaking),
        (dormant_account, back_from_leave),
    )
}
