"""What several test files share: the browser, and a small encoded stream with habits to learn, for
tests that need no OCSF."""

from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from nbsrc.tabular.encoded import EncodedEvents

# Small networks gain nothing from more, and lose much beside other processes.
torch.set_num_threads(1)

pytest_plugins = ["browser"]

# Tests that need one of these build a book or start a cluster, and are not in `make test-fast`.
LONG = {"executed", "site", "book", "built", "ray", "torchrun"}
# Files of tests that need one of these begin in this order, all others come after the first: while
# one process builds the site to print it, the other builds small books; then both look at the site.
PLACES = {"executed": 0, "articles": 2, "built": 3, "site": 4}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests that take their time, and put the files of those that are to run in order. A
    file's tests run in one process, so that what they share is made once."""
    for item in items:
        if LONG.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("long")
    result = yield  # those that are not to run are taken out
    places = {item.path: set() for item in items}
    for item in items:
        needs = getattr(item, "fixturenames", ())
        places[item.path] |= {PLACES[fixture] for fixture in PLACES if fixture in needs}

    def order(item):
        place = min(places[item.path], default=1)
        # Of the site, what looks at the same page, which stays open.
        page = item.callspec.params.get("name", "") if hasattr(item, "callspec") else ""
        return place, (item.path.name, page) if place == PLACES["site"] else ()

    items.sort(key=order)
    return result


@pytest.fixture(scope="session")
def building():
    """Held by whoever executes chapters or builds the site; another process waits, and finds what
    was made."""
    lock = Path(__file__).parents[1] / "_build" / "tests.lock"
    lock.parent.mkdir(exist_ok=True)
    return FileLock(lock)


USERS, HOSTS, OPERATIONS = 20, 20, 8
CATEGORICAL = (
    "actor.user.name",
    "actor.user.uid",
    "src_endpoint.hostname",
    "src_endpoint.ip",
    "api.operation",
    "status",
)
NUMERIC = ("traffic.bytes", "time.hour_sin", "time.hour_cos")


def make_events(
    n: int, *, seed: int, unusual: float = 0.0, copies: bool = False
) -> tuple[EncodedEvents, np.ndarray]:
    """Events and which of them are unusual. A user works from one of two hosts, has a role with its
    operations, and an operation moves its own amount of bytes. An unusual event breaks one habit: a
    stranger's host, another role's operation, or 30 times the bytes. With `copies`, all unusual
    events are one event, repeated: an attack that loops."""
    rng = np.random.default_rng(seed)
    user = rng.integers(USERS, size=n)
    host = np.where(rng.random(n) < 0.8, user, (user + 1) % HOSTS)
    role = user % 2
    operation = role * (OPERATIONS // 2) + rng.integers(OPERATIONS // 2, size=n)
    size = operation / 2 + rng.normal(size=n) * 0.2
    hour = (9 + 4 * role + rng.normal(size=n) * 1.5) * np.pi / 12
    bad = rng.random(n) < unusual
    kind = rng.integers(3, size=n)
    host = np.where(bad & (kind == 0), (host + rng.integers(5, 15, size=n)) % HOSTS, host)
    operation = np.where(bad & (kind == 1), (operation + OPERATIONS // 2) % OPERATIONS, operation)
    size = np.where(bad & (kind == 2), size + 3.4, size)
    status = rng.random(n) < 0.05
    categorical = np.stack([user, user, host, host, operation, status], 1).astype(np.int64) + 2
    numeric = np.stack([size, np.sin(hour), np.cos(hour)], 1).astype(np.float32)
    if copies and bad.any():
        categorical[bad], numeric[bad] = categorical[bad][0], numeric[bad][0]
    cardinalities = tuple(k + 2 for k in (USERS, USERS, HOSTS, HOSTS, OPERATIONS, 2))
    return EncodedEvents(
        numeric,
        categorical,
        cardinalities,
        NUMERIC,
        CATEGORICAL,
        np.arange(n, dtype=np.int64) * 1000,
    ), bad


@pytest.fixture(scope="session")
def small_events():
    """make_events, as a fixture: test modules cannot import each other."""
    return make_events
