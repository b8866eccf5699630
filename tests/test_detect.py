"""Detectors: better than untrained, blind to what they must not see, and steady when the past is
not clean."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score

from nbsrc.detection import surprise
from nbsrc.detection.base import tails
from nbsrc.detection.knn import KNNDetector
from nbsrc.detection.surprise import SurpriseDetector
from nbsrc.selfsupervised.model import masked_model
from nbsrc.selfsupervised.pretraining import pretrain, split_by_time
from nbsrc.tabular.encoded import rows_of

DETECTORS = [SurpriseDetector, KNNDetector]
SEEDS = [0, 1, 2]


def untrained(encoded, seed):
    return masked_model(encoded, seed=seed, d_block=32, dropout1=0.0)


def trained(encoded, seed):
    model = untrained(encoded, seed)
    pretrain(model, encoded, epochs=12, seed=seed, batch_size=64, patience=12, device="cpu")
    return model


@pytest.fixture(scope="module")
def past(small_events):
    return {seed: small_events(3000, seed=seed)[0] for seed in SEEDS}


@pytest.fixture(scope="module")
def new(small_events):
    return {seed: small_events(3000, seed=100 + seed, unusual=0.02) for seed in SEEDS}


@pytest.fixture(scope="module")
def models(past):
    return {seed: trained(past[seed], seed) for seed in SEEDS}


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("seed", SEEDS)
def test_training_is_what_finds_the_unusual_events(detector, seed, past, new, models):
    events, unusual = new[seed]
    twin = untrained(past[seed], seed)
    found = [
        average_precision_score(unusual, detector(model).fit(past[seed]).decision_function(events))
        for model in (models[seed], twin)
    ]
    assert found[0] > 0.9
    assert found[0] > found[1] + 0.05


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_threshold_keeps_to_its_budget_on_events_it_has_not_seen(detector, past, new, models):
    events, unusual = new[0]
    fitted = detector(models[0], false_alarms=0.02).fit(past[0])
    flagged = fitted.predict(events)
    assert 0.002 < flagged[~unusual].mean() < 0.05
    assert flagged[unusual].mean() > 0.8
    assert np.array_equal(
        flagged, (fitted.decision_function(events) > fitted.threshold_).astype(int)
    )


def test_copies_of_one_attack_in_the_past_do_not_make_it_normal(small_events, past, new):
    """1% of the past is one attack's event, repeated; its next copies must stand out among the
    neighbours."""
    events, unusual = new[0]
    attack, _ = small_events(1, seed=777, unusual=1.0)
    rng = np.random.default_rng(0)

    def planted(encoded, rows):
        copy = rows_of(encoded, np.arange(len(encoded.time)))
        copy.numeric[rows], copy.categorical[rows] = attack.numeric[0], attack.categorical[0]
        return copy

    dirty = planted(past[0], rng.choice(3000, 30, replace=False))
    rows = rng.choice(np.flatnonzero(~unusual), 20, replace=False)
    later = planted(events, rows)
    copies = np.isin(np.arange(3000), rows)
    model = trained(dirty, 0)
    scores = KNNDetector(model).fit(dirty).decision_function(later)
    assert average_precision_score(copies[~unusual], scores[~unusual]) > 0.5
    for detector in DETECTORS:  # what else is unusual is still found
        scores = detector(model).fit(dirty).decision_function(later)
        assert average_precision_score(unusual[~copies], scores[~copies]) > 0.8


def test_fit_takes_its_statistics_from_the_last_part_of_the_baseline_only(past, models):
    """The rows that the threshold and the tails come from are not those that the model was trained
    on."""
    earlier, recent = split_by_time(past[0].time, 0.15)
    detector = SurpriseDetector(models[0]).fit(past[0])
    changed = past[0].categorical.copy()
    changed[earlier] = 2
    again = SurpriseDetector(models[0]).fit(replace(past[0], categorical=changed))
    assert np.array_equal(detector.reference_, again.reference_)
    assert detector.reference_.shape[1] == len(recent)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_score_depends_on_its_event_alone(detector, past, new, models):
    """Scoring learns nothing from the events that it scores: their order, number and company do not
    matter."""
    events, _ = new[0]
    fitted = detector(models[0]).fit(past[0])
    scores = fitted.decision_function(events)
    order = np.random.default_rng(0).permutation(len(scores))[:777]
    np.testing.assert_allclose(
        fitted.decision_function(rows_of(events, order)), scores[order], rtol=1e-4, atol=1e-3
    )
    assert fitted.decision_function(rows_of(events, order[:0])).shape == (0,)
    assert np.array_equal(scores, detector(models[0]).fit(past[0]).decision_function(events))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "field", ["actor.user.name", "src_endpoint.hostname", "src_endpoint.ip", "api.operation"]
)
def test_reasons_name_the_field_that_was_tampered_with(field, seed, past, new, models):
    """In normal events with one field exchanged, that field is among the three reasons.

    It need not be the first: of two objects that disagree, a user and a host, each is surprising
    given the other."""
    events, unusual = new[seed]
    normal = rows_of(events, np.flatnonzero(~unusual)[:300])
    column = normal.categorical_names.index(field)
    categorical = normal.categorical.copy()
    size = normal.cardinalities[column] - 2
    categorical[:, column] = (categorical[:, column] - 2 + size // 2) % size + 2
    _, reasons = (
        SurpriseDetector(models[seed])
        .fit(past[seed])
        .judge(replace(normal, categorical=categorical))
    )
    named = reasons == models[seed].names.index(field)
    assert named.shape == (300, 3)
    assert named.any(1).mean() > 0.95


def test_misuse_is_named(past, new, models):
    events, _ = new[0]
    for detector in DETECTORS:
        with pytest.raises(NotFittedError, match="call fit"):
            detector(models[0]).decision_function(events)
        with pytest.raises(ValueError, match="other columns than the model"):
            detector(models[0]).fit(
                replace(past[0], categorical_names=("a", "b", "c", "d", "e", "f"))
            )
        with pytest.raises(ValueError, match="false_alarms=0"):
            detector(models[0], false_alarms=0).fit(past[0])
    with pytest.raises(ValueError, match="k=5, copies=5"):
        KNNDetector(models[0], k=5)
    with pytest.raises(ValueError, match="more than 10 unlike events, however: 9"):
        KNNDetector(models[0]).fit(rows_of(past[0], np.arange(11)))


def test_a_quantity_that_is_far_out_is_the_first_reason(past, new, models):
    events, unusual = new[0]
    normal = rows_of(events, np.flatnonzero(~unusual)[:300])
    numeric = normal.numeric.copy()
    numeric[:, 0] = 10.0
    _, reasons = SurpriseDetector(models[0]).fit(past[0]).judge(replace(normal, numeric=numeric))
    assert (reasons[:, 0] == models[0].names.index("traffic.bytes")).mean() > 0.95


def test_an_object_counts_for_no_more_than_its_surprise():
    """Of two values that are about equally likely, the second ranks last all the time, and is no
    rarity."""
    past = torch.tensor([[0.6] * 500 + [0.8] * 500, [0.1] * 999 + [9.0]])
    scores, first = surprise.most(
        surprise.rarity(past, torch.tensor([[0.8, 0.1], [0.6, 9.0], [0.9, 0.1]]))
    )
    assert scores == pytest.approx([0.6941, 6.5030, 0.9005], abs=2e-3)
    assert first[:, 0].tolist() == [0, 1, 0]


def test_surprises_that_differ_by_rounding_are_equally_rare():
    """Processors round differently: a value that the past has had a thousand times must not become
    the largest."""
    past = torch.full((1, 1000), 1.1)
    assert tails(past, torch.tensor([[1.1], [1.1 - 1e-5], [1.1 + 1e-5]])).max() < 0.01
