"""Who ranks events by their context relies on streams in order, on past scores without the future,
and on sets that forget nothing but the order."""

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.exceptions import NotFittedError

from nbsrc.sequences import simulated
from nbsrc.sequences.contexts import NETWORKS
from nbsrc.sequences.depth import depth_over_time
from nbsrc.sequences.next_event import WINDOW, NextEventSurprise
from nbsrc.sequences.sets import NearestSets, SetForest, pooled
from nbsrc.sequences.streams import as_frame, gaps, since, streams_of
from nbsrc.tabular.encoded import EncodedEvents, rows_of


def routine(n, *, users=4, seed=0):
    """Events of users who do kinds 2, 3, 4, 5 in turn, one a minute each: (encoded, entities)"""
    rng = np.random.default_rng(seed)
    user = np.arange(n) % users
    kind = 2 + (np.arange(n) // users + user) % 4
    encoded = EncodedEvents(
        numeric=(0.1 * rng.normal(size=(n, 1))).astype(np.float32),
        categorical=np.stack([kind, user + 2], 1),
        cardinalities=(6, users + 2),
        numeric_names=("traffic.bytes",),
        categorical_names=("kind_id", "user.name"),
        time=np.arange(n) // users * 60_000 + 1_700_000_000_000,
    )
    return encoded, pl.DataFrame({"user": [f"u{i}" for i in user]})


def test_streams_are_in_the_order_of_time_whatever_that_of_the_rows():
    entities = pl.DataFrame({"user": ["a", "b", None, "a"], "address": ["x", "x", "x", None]})
    streams = streams_of(entities, np.array([30, 10, 20, 10]))
    assert list(zip(streams.entity, streams.value, strict=True)) == [
        ("user", "a"), ("user", "b"), ("address", "x")
    ]  # fmt: skip
    assert [rows.tolist() for rows in streams.rows] == [[3, 0], [1], [1, 2, 0]]


def test_new_events_keep_a_piece_of_their_past_and_no_more():
    streams = streams_of(pl.DataFrame({"user": list("aaaabb")}), np.arange(6))
    kept = since(streams, 3, before=2)
    assert [rows.tolist() for rows in kept.rows] == [[1, 2, 3], [4, 5]]
    assert [rows.tolist() for rows in since(streams, 4, before=0).rows] == [[4, 5]]


def test_the_time_to_an_event_is_since_the_one_before_of_the_same_stream():
    streams = streams_of(pl.DataFrame({"user": list("aba")}), np.array([0, 5_000, 9_000]))
    own = gaps(streams, np.array([0, 5_000, 9_000]))
    np.testing.assert_allclose(own[0], [np.nan, np.log1p(9)])
    np.testing.assert_allclose(own[1], [np.nan])


def test_scores_go_back_to_their_events():
    streams = streams_of(pl.DataFrame({"user": list("aba")}), np.array([7, 8, 9]))
    frame = as_frame(streams, [np.array([1.0, 2.0]), np.array([3.0])], np.array([7, 8, 9]))
    assert frame.rows() == [(0, 7, 1.0, "user", "a"), (2, 9, 2.0, "user", "a"),
                            (1, 8, 3.0, "user", "b")]  # fmt: skip


def fitted(name="Residual TCN", *, n=1200, steps=120):
    encoded, entities = routine(n)
    streams = streams_of(entities, encoded.time)
    return NextEventSurprise(NETWORKS[name], seed=0, steps=steps).fit(encoded, streams)


@pytest.mark.parametrize("name", ["Residual TCN", "Transformer"])
def test_an_event_out_of_turn_surprises(name):
    """By itself it is like any other: only the ones before tell."""
    model = fitted(name)
    new, entities = routine(240, seed=1)
    odd = 200  # user 0's fiftieth event
    new.categorical[odd, 0] = 2 + (new.categorical[odd, 0] - 1) % 4
    (first, *_) = model.decision_function(new, streams_of(entities, new.time))
    warm = 10  # events from which a user's turn can be told
    assert first[warm:].argmax() == odd // 4 - warm


def test_the_future_changes_no_past_score():
    model = fitted(steps=3)
    new, entities = routine(400, seed=1)
    early = rows_of(new, np.arange(300))
    cut = model.decision_function(early, streams_of(entities[:300], early.time))
    whole = model.decision_function(new, streams_of(entities, new.time))
    for before, after in zip(cut, whole, strict=True):
        np.testing.assert_allclose(before, after[: len(before)], atol=1e-4)


def test_asked_for_some_events_the_network_says_of_them_what_it_says_of_all():
    model = fitted(steps=3).model_
    generator = torch.Generator().manual_seed(0)
    numeric = torch.randn(3, 20, 2, generator=generator)
    categorical = torch.randint(6, (3, 20, 2), generator=generator)
    asked = torch.rand(3, 20, generator=generator) < 0.4
    with torch.inference_mode():
        some, every = model(numeric, categorical, asked), model(numeric, categorical)
    assert 10 < len(some) < 40
    torch.testing.assert_close(some, every[asked])


def test_the_order_of_the_rows_changes_no_score():
    model = fitted(steps=3)
    new, entities = routine(200, seed=1)
    order = np.random.default_rng(0).permutation(200)
    mixed = rows_of(new, order)
    a = as_frame(s := streams_of(entities, new.time), model.decision_function(new, s), new.time)
    t = streams_of(entities[order], mixed.time)
    b = as_frame(t, model.decision_function(mixed, t), mixed.time)
    np.testing.assert_allclose(a["score"], b["score"], atol=1e-4)
    assert a["row"].to_list() == order[b["row"].to_numpy()].tolist()


def test_past_events_are_context_for_new_ones():
    model = fitted(steps=80)
    events, entities = routine(1200, seed=2)
    streams = streams_of(entities, events.time)
    alone = model.decision_function(events, since(streams, 1000, before=0))[0]
    known = model.decision_function(events, since(streams, 1000, before=WINDOW))[0][WINDOW:]
    assert known[0] < alone[0] and len(alone) == len(known)


def test_a_model_that_has_learned_nothing_says_so():
    encoded, entities = routine(20)
    with pytest.raises(NotFittedError, match="NextEventSurprise"):
        NextEventSurprise(NETWORKS["GRU"], seed=0, steps=1).decision_function(
            encoded, streams_of(entities, encoded.time)
        )


def test_pooling_is_the_loop_that_one_would_write_and_forgets_the_order():
    values = np.random.default_rng(0).normal(size=(20, 3))
    sets = [np.array([4, 1, 7]), np.array([2]), np.array([1, 4, 7])]
    for rows, own in zip(sets, pooled(values, sets), strict=True):
        expected = [*values[rows].mean(0), *values[rows].max(0), np.log(len(rows))]
        np.testing.assert_allclose(own, expected)


def test_an_empty_set_is_named():
    with pytest.raises(ValueError, match="set 1 has none"):
        pooled(np.ones((2, 1)), [np.array([0]), np.array([], int)])


@pytest.mark.parametrize("method", [NearestSets, SetForest])
def test_a_set_unlike_the_past_ones_stands_out(method):
    past = np.random.default_rng(0).normal(size=(300, 5))
    odd = np.array([[0.0] * 5, [6.0] * 5])
    usual, strange = method(seed=0).fit(past).decision_function(odd)
    assert strange > usual


def test_streams_are_cut_at_full_hours():
    time = np.array([0, 1, 3_599_999, 3_600_000, 9_000_000])
    streams = simulated.hours(streams_of(pl.DataFrame({"user": list("aaaaa")}), time), time)
    assert [rows.tolist() for rows in streams.rows] == [[0, 1, 2], [3], [4]]
    assert streams.value == ["a"] * 3


def test_kinds_are_numbered_by_the_past_and_others_are_one():
    encoded, _ = routine(8, users=2)
    kinds, n = simulated.kinds_of_event(encoded, 4)  # the past has kinds 2, 3 and 4
    assert n == 3 and kinds.tolist() == [0, 1, 1, 2, 2, 3, 3, 0]


@pytest.fixture(scope="module")
def stream():
    return simulated.simulated_stream(1500, seed=0)


def test_no_labelled_event_is_learned_from_and_no_new_one_is_lost(stream):
    assert len(stream.events.time) == stream.entities.height
    assert stream.cut < len(stream.events.time) and stream.incidents.height
    assert (stream.incidents["row"] >= stream.cut).all()
    assert (np.diff(stream.events.time) >= 0).all()


def test_every_method_ends_in_alerts_about_new_events(stream):
    found = dict(simulated.alerts_by_context(stream, seed=0, seconds=0.01))
    found |= dict(simulated.alerts_by_sets(stream, seed=0, epochs=1))
    assert set(NETWORKS) < set(found) and len(found) == 9
    for name, alerts in found.items():
        assert alerts.height, name
        assert alerts["rows"].explode().min() >= stream.cut, name
        assert alerts["score"].is_sorted(descending=True), name


def test_every_net_is_trained_once_a_seed():
    table = depth_over_time(depths=[1, 2], seeds=[0], epochs=1)
    assert table.select("depth", "kind").rows() == [
        (1, "plain"), (1, "residual"), (2, "plain"), (2, "residual")
    ]  # fmt: skip
    assert table.select(pl.col("train_error", "test_error").is_between(0, 1).all()).row(0) == (
        True, True
    )  # fmt: skip
    assert torch.is_grad_enabled()
