"""The command's detector: each ranker against a slow and plain way to its numbers, and what the
mean of them finds that one alone does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

from nbsrc.detection.combined import WEIGHTS, CombinedDetector, Rankers
from nbsrc.detection.extremes import Extremes
from nbsrc.detection.frequencies import Frequencies
from nbsrc.detection.neighbours import Neighbours
from nbsrc.detection.surprise import SurpriseDetector
from nbsrc.detection.trees import Trees
from nbsrc.selfsupervised.model import masked_model
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.encoded import EncodedEvents, rows_of


@pytest.fixture(scope="module")
def past(small_events):
    return small_events(400, seed=0)[0]


@pytest.fixture(scope="module")
def new(small_events):
    return small_events(60, seed=1, unusual=0.3)[0]


@pytest.fixture(scope="module")
def model(past):
    return masked_model(past, seed=1, d_block=8, n_blocks=1).eval()


@pytest.fixture(scope="module")
def fitted(past, model):
    return CombinedDetector(model, false_alarms=0.05).fit(past)


def tensors(encoded):
    return torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.categorical)


@pytest.mark.parametrize(("rows", "columns"), [(2, 1), (3, 2), (40, 2), (300, 12)])
def test_trees_from_arrays_score_as_scikit_learns(rows, columns):
    rng = np.random.default_rng(rows)
    past = torch.tensor(rng.normal(size=(rows, columns)).round(1), dtype=torch.float32)
    new = torch.cat([past, torch.tensor(3 * rng.normal(size=(200, columns)), dtype=torch.float32)])
    trees = Trees.of(past, 3)
    thresholds = trees.threshold[trees.threshold.isfinite()][:200]
    new[: len(thresholds), 0] = thresholds[: len(new)]  # values that decide by their last digit
    forest = IsolationForest(n_estimators=64, max_samples=min(256, rows), random_state=3)
    wanted = -forest.fit(past.numpy()).score_samples(new.numpy())
    np.testing.assert_allclose(trees.score(new), wanted, atol=1e-6)


def test_fields_are_far_out_by_the_share_of_past_events_that_are_as_far(past, new):
    frequencies = Frequencies.of(past)
    found = Extremes.of(past, frequencies).nats(frequencies, *tensors(new)).numpy()
    n = len(past.time)

    def nats(as_far, beyond=0.0):
        return -np.log((as_far + 0.5) / (n + 1)) + beyond

    for i, values in enumerate(past.numeric.T):
        for row, x in enumerate(new.numeric[:, i]):
            x = round(float(x) * 100) / 100
            high = nats((values > x - 1e-3).sum(), max(0, x - values.max()))
            low = nats((values < x + 1e-3).sum(), max(0, values.min() - x))
            assert found[row, i] == pytest.approx(max(0, max(high, low) - np.log(2)), abs=2e-2)
    for i, values in enumerate(past.categorical.T):
        counts = np.bincount(values, minlength=past.cardinalities[i])
        for row, x in enumerate(new.categorical[:, i]):
            rare = counts[values] <= counts[x]
            if counts[x]:
                assert found[row, 3 + i] == pytest.approx(nats(rare.sum()), abs=1e-4)
            else:
                assert found[row, 3 + i] > nats(0) - 1e-4


def test_what_never_came_is_rarer_than_what_came_once(past):
    frequencies = Frequencies.of(past)
    unseen, column = past.categorical.copy(), 5
    unseen[:, column] = 1
    seen = Extremes.of(past, frequencies).nats(frequencies, *tensors(past))[:, 3 + column]
    never = Extremes.of(past, frequencies).nats(
        frequencies, *tensors(replace(past, categorical=unseen))
    )[:, 3 + column]
    assert never.min() > seen.max()


def test_the_tenth_neighbour_is_another_event(past, new):
    columns = Frequencies.of(past).columns(*tensors(past))
    others = Frequencies.of(past).columns(*tensors(new))
    near = NearestNeighbors(n_neighbors=11).fit(columns[:50])
    neighbours = Neighbours(columns[:50])
    np.testing.assert_allclose(
        neighbours.score(others), near.kneighbors(others)[0][:, 9], rtol=1e-3, atol=1e-3
    )
    own = torch.arange(60) < 50
    found = neighbours.score(columns[:60], own)
    wanted = near.kneighbors(columns[:60])[0]
    np.testing.assert_allclose(found[:50], wanted[:50, 10], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[50:], wanted[50:, 9], rtol=1e-3, atol=1e-3)


def test_a_score_is_the_mean_of_four_rankers_in_units_of_their_own_past(fitted, past, new, model):
    """Each part less its median in the past, over the mean of what exceeds it."""
    surprise = SurpriseDetector(model).fit(past)
    held_out = surprise.held_out_.numpy()

    def sums(rarity):
        return np.stack([np.sort(rarity, 1)[:, -3:].sum(1), rarity.sum(1)], 1)

    objects = surprise.objects()
    with torch.inference_mode():
        rarity = objects(*tensors(new))[0].numpy()
    rankers, usual = Rankers.of(past, 0)
    columns = rankers.frequencies.columns(*tensors(new))
    far = np.sort(rankers.extremes.nats(rankers.frequencies, *tensors(new)).numpy(), 1)
    parts = [*sums(rarity).T, far[:, -3:].sum(1), far[:, -10:].sum(1)]
    parts += [rankers.trees.score(columns).numpy(), rankers.neighbours.score(columns).numpy()]
    wanted = np.zeros(len(new.time))
    for part, own, weight in zip(parts, [*sums(held_out).T, *usual.T], WEIGHTS, strict=True):
        own = np.asarray(own)
        median = np.sort(own)[(len(own) - 1) // 2]
        scaled = (part - median) / (own[own > median] - median).mean()
        wanted += weight * np.maximum(scaled, -1)
    np.testing.assert_allclose(fitted.decision_function(new), wanted, rtol=1e-3, atol=1e-3)
    assert sum(WEIGHTS) == 1


def test_a_saved_detector_is_the_same_and_one_of_another_version_is_refused(fitted, new, tmp_path):
    fitted.save(tmp_path / "detector")
    again = CombinedDetector.load(tmp_path / "detector")
    assert (again.threshold_, again.false_alarms) == (fitted.threshold_, 0.05)
    for theirs, ours in zip(again.judge(new), fitted.judge(new), strict=True):
        assert np.array_equal(theirs, ours)
    assert {path.suffix for path in (tmp_path / "detector").iterdir()} == {".safetensors"}
    path = tmp_path / "detector" / "combined.safetensors"
    kept, about = read_tensors(path)
    write_tensors(path, kept, about | {"format": 99})
    with pytest.raises(ValueError, match="no detector of this version: fit it again"):
        CombinedDetector.load(tmp_path / "detector")
    with pytest.raises(NotFittedError):
        CombinedDetector(fitted.model).save(tmp_path / "none")


def test_nothing_to_score_gives_nothing(fitted, new):
    scores, reasons = fitted.judge(rows_of(new, np.arange(0)))
    assert scores.shape == (0,) and reasons.shape == (0, 3)


def test_the_threshold_keeps_to_its_budget_on_events_of_the_same_kind(fitted, small_events):
    flagged = fitted.predict(small_events(2000, seed=7)[0])
    assert 0.01 < flagged.mean() < 0.15


def test_a_budget_that_the_past_is_too_short_for_raises_the_threshold(past, model, small_events):
    """Of 60 held-out events, one in a thousand is none: the largest score is not the limit."""
    largest = CombinedDetector(model, false_alarms=1 / 60.1).fit(past)
    rare = CombinedDetector(model, false_alarms=0.001).fit(past)
    assert rare.threshold_ > largest.threshold_ + 1
    assert rare.predict(small_events(2000, seed=7)[0]).mean() < 0.01


def test_a_quantity_that_is_far_out_is_not_drowned_by_categories(fitted, new, model):
    """It is found and named, although nothing else in its event is unusual."""
    numeric = new.numeric.copy()
    numeric[7, 0] = 10.0
    scores, reasons = fitted.judge(replace(new, numeric=numeric))
    assert reasons[7, 0] == model.names.index("traffic.bytes")
    assert (scores > scores[7]).mean() < 0.1


def numbers(rows: np.ndarray) -> EncodedEvents:
    """A table of a few quantities, without categories and without time."""
    n, columns = rows.shape
    names = tuple(f"f{i}" for i in range(columns))
    none = np.zeros((n, 0), np.int64)
    return EncodedEvents(
        rows.astype(np.float32).clip(-10, 10), none, (), names, (), np.zeros(n, np.int64)
    )


def test_a_table_of_numbers_that_are_all_a_little_off_is_seen():
    """Where three fields decide, as for the surprise alone, most of it is not."""
    rng = np.random.default_rng(0)
    past, new = numbers(rng.normal(size=(150, 20))), rng.normal(size=(400, 20))
    odd = np.arange(400) < 20
    new[odd] += 1.1 * rng.choice([-1, 1], (20, 20))
    model = masked_model(past, seed=0, d_block=8).eval()
    found = [
        average_precision_score(odd, detector(model).fit(past).decision_function(numbers(new)))
        for detector in (CombinedDetector, SurpriseDetector)
    ]
    assert found[0] > 0.5 and found[0] > found[1] + 0.1


def test_a_column_that_never_varied_and_a_past_of_one_kind_are_no_obstacle(model, past, new):
    same = rows_of(past, np.zeros(400, np.int64))
    scores = CombinedDetector(model).fit(same).decision_function(new)
    assert np.isfinite(scores).all()
