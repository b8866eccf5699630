"""An event is judged by what came before it, and one list's scores mean what another's do."""

from copy import copy
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from nbsrc.incidents.alerts import within_budget
from nbsrc.incidents.context import ContextSurprise
from nbsrc.incidents.entities import EVERY, Entities
from nbsrc.incidents.finder import RULES, IncidentFinder, as_if_unseen
from nbsrc.incidents.surprise import CANDIDATES, WindowSurprise
from nbsrc.incidents.together import Rate

MINUTE = 60_000
START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
USERS = Entities({"user": ["user"]}, ["user"], [], [], [], [], [])
ACTS = ("open", "read", "close")
PAST = 756  # events: each user ends with a close


def turns(n, *, start=START, users=6, seed=0):
    """Users who open, read and close, again and again, as `Entities.narrow` gives their events."""
    rng = np.random.default_rng(seed)
    gaps = rng.uniform(5, 9, n) * MINUTE
    return pl.DataFrame(
        {
            "row": range(n),
            "time": start + gaps.cumsum().astype(np.int64),
            "user": [f"u{i % users}" for i in range(n)],
            "act": [ACTS[i // users % 3] for i in range(n)],
            "failed": [False] * n,
        }
    )


@pytest.fixture(scope="module")
def learned():
    return ContextSurprise(USERS, steps=120).fit(turns(PAST))


def later(n):
    return turns(n, start=START + PAST * 7 * MINUTE)


def test_an_ordinary_event_at_the_wrong_moment_is_unexpected(learned):
    new = later(300)
    wrong = new.with_columns(
        act=pl.when(pl.col("row") == 150).then(pl.lit("close")).otherwise("act")
    )
    assert new["act"][150] == "read"  # as common as "close", but for what came before
    usual, odd = (learned.scores(events).sort("row") for events in (new, wrong))
    assert odd["row"].to_list() == list(range(300))
    assert odd["score"][150] > usual["score"][150] + 1


def test_the_future_changes_no_score_and_the_order_of_rows_none(learned):
    new = later(200)
    scores = learned.scores(new).sort("row")
    changed = new.with_columns(act=pl.when(pl.col("row") > 120).then(pl.lit("?")).otherwise("act"))
    assert_frame_equal(learned.scores(changed).sort("row").head(121), scores.head(121))
    assert_frame_equal(learned.scores(new[::-1]).sort("row"), scores)


def test_new_events_are_read_after_the_past_ones(learned):
    first = later(6)  # one a user: without their past, nothing would come before
    forgetful = copy(learned)
    forgetful.recent_ = learned.recent_.filter(pl.col("user") == "u0")
    with_past, without = (own.scores(first).sort("row")["score"] for own in (learned, forgetful))
    assert with_past[0] == without[0] and (with_past != without).sum() == 5


NOBODY = Entities({}, [EVERY], [], [], [], [], [])


def test_events_without_entities_are_one_stream_and_those_without_a_time_in_none():
    past, new = (own.drop("user").with_columns(pl.lit(EVERY).alias(EVERY))
                 for own in (turns(7), later(5)))  # fmt: skip
    own = ContextSurprise(NOBODY, steps=1).fit(past)
    assert own.scores(new).height == 5 and own.scores(new)["score"].is_finite().all()
    timeless = new.with_columns(time=pl.lit(0, pl.Int64))
    assert own.scores(timeless).is_empty()
    with pytest.raises(ValueError, match="no past event has a time"):
        ContextSurprise(NOBODY, steps=1).fit(timeless)


@pytest.mark.parametrize("past", [turns(1), turns(30).with_columns(user=pl.lit(None, pl.String))])
def test_where_there_is_nothing_to_learn_from_nothing_is_unexpected(past):
    own = ContextSurprise(USERS, steps=1).fit(past)
    assert own.scores(later(9)).is_empty() and own.held_out_.is_empty()


def test_as_many_alerts_a_day_as_their_score_says_where_nothing_has_changed():
    rng = np.random.default_rng(0)
    n = 4000
    own = pl.DataFrame(
        {
            "row": range(n),
            "time": np.sort(START + rng.integers(14 * 24 * 60 * MINUTE, size=n)),
            "user": [f"u{i}" for i in rng.integers(60, size=n)],
            "act": [f"a{i}" for i in rng.geometric(0.15, n)],
            "failed": rng.random(n) < 0.03,
        }
    )
    cut = int(0.7 * n)
    finder = IncidentFinder(USERS).fit(own[:cut].with_columns(score=pl.lit(None, pl.Float64)))
    new = own[cut:].with_columns(score=pl.lit(None, pl.Float64))
    # what has not seen the last of the past finds it stranger than what has
    known = own[:cut].filter(pl.col("time") >= own["time"][:cut].quantile(0.85, "lower"))
    seen = WindowSurprise(USERS).fit(own[:cut]).alerts(known)["score"].max()
    assert finder.rates_["windows"].past.max() > seen + 0.1
    scores = finder.alerts(new)["score"].to_numpy()
    for rate in (2, 5):  # of two lists together
        assert rate / 3 < (scores >= -np.log(rate)).sum() / 4.2 < 3 * 2 * rate


def test_no_alert_that_would_be_reported_is_lost_among_more_than_are_kept():
    """Each day has hundreds of alerts too many, and every event is of two streams, told twice."""
    both = Entities({"user": ["user"], "address": ["ip"]}, ["user", "address"], *[[]] * 5)
    rng = np.random.default_rng(0)

    def busy(n, start):
        who = rng.integers(120, size=n)
        return pl.DataFrame(
            {
                "row": range(n),
                "time": np.sort(start + rng.integers(2 * 24 * 60 * MINUTE, size=n)),
                "user": [f"u{i}" for i in who],
                "address": [f"10.0.0.{i}" for i in who],
                "act": [f"a{i}" for i in rng.geometric(0.15, n)],
                "failed": rng.random(n) < 0.03,
                "score": rng.exponential(1.0, n),
            }
        )

    finder = IncidentFinder(both).fit(busy(3000, START))
    new = busy(6000, START + 2 * 24 * 60 * MINUTE)
    every = finder.lists(new, a_day=10**9)
    learned = [own.height for name, own in every.items() if name != RULES]
    assert len(learned) == 3 and min(learned) > 2 * CANDIDATES
    assert_frame_equal(
        within_budget(finder.alerts(new), 10), within_budget(finder.together(every), 10)
    )


def test_scores_that_a_detector_knows_are_stretched_to_its_threshold():
    rng = np.random.default_rng(1)
    seen = np.minimum(rng.exponential(1.0, 5000), 5.0)  # compared with themselves: none exceeds
    stretched = as_if_unseen(pl.Series(seen), 9.0, 0.001).to_numpy()
    assert (stretched > 9.0).mean() <= 0.001 and stretched.max() >= 9.0
    assert Rate(stretched, 1.0).rarity(np.array([9.0])) < Rate(seen, 1.0).rarity(np.array([9.0]))
    assert (as_if_unseen(pl.Series(seen), 1.0, 0.001) == seen).all()
    assert as_if_unseen(pl.Series([None, 2.0]), 4.0, 0.1).to_list() == [None, 4.0]
    assert as_if_unseen(pl.Series([None], dtype=pl.Float64), 4.0, 0.1).to_list() == [None]
