"""The command's detector: each ranker against a slow and plain way to its numbers, and what all of
them together find that one alone does not."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

from nbsrc.detection import combined
from nbsrc.detection.combined import CombinedDetector, Rankers, tail_threshold
from nbsrc.detection.fields import densities, extremes
from nbsrc.detection.frequencies import Frequencies
from nbsrc.detection.neighbours import Neighbours
from nbsrc.detection.surprise import SurpriseDetector
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
    return CombinedDetector(model, false_alarms=0.05, seed=2).fit(past)


def tensors(encoded):
    return torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.categorical)


def test_fields_are_far_out_by_the_share_of_past_events_that_are_as_far(past, new):
    frequencies = Frequencies.of(past)
    found = extremes(past, frequencies).look_up(frequencies, *tensors(new)).numpy()
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


def test_a_quantity_beyond_ten_interquartile_ranges_counts_as_one_of_ten():
    past = numbers(np.random.default_rng(0).normal(size=(300, 2)))
    frequencies, at = Frequencies.of(past), torch.tensor([-12, -10, -9.99, 9.99, 10, 12])
    given = torch.stack([at, -at], 1), torch.zeros((6, 0), dtype=torch.int64)
    found = extremes(past, frequencies).look_up(frequencies, *given)
    for beyond, ten, less in (found[:3], found[3:].flip(0)):
        assert torch.equal(beyond, ten) and (ten > less).all()


def test_what_never_came_is_rarer_than_what_came_once(past):
    frequencies = Frequencies.of(past)
    unseen, column = past.categorical.copy(), 5
    unseen[:, column] = 1
    seen = extremes(past, frequencies).look_up(frequencies, *tensors(past))[:, 3 + column]
    never = extremes(past, frequencies).look_up(
        frequencies, *tensors(replace(past, categorical=unseen))
    )[:, 3 + column]
    assert never.min() > seen.max()


def test_the_tenth_neighbour_is_another_event(past, new):
    columns = Frequencies.of(past).columns(*tensors(past))
    others = Frequencies.of(past).columns(*tensors(new))
    near = NearestNeighbors(n_neighbors=11, metric="manhattan").fit(columns[:50])
    neighbours = Neighbours(columns[:50])
    np.testing.assert_allclose(
        neighbours.score(others), near.kneighbors(others)[0][:, 9], rtol=1e-3, atol=1e-3
    )
    own = torch.arange(60) < 50
    found = neighbours.score(columns[:60], own)
    wanted = near.kneighbors(columns[:60])[0]
    np.testing.assert_allclose(found[:50], wanted[:50, 10], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[50:], wanted[50:, 9], rtol=1e-3, atol=1e-3)


def test_of_few_past_events_the_farthest_but_one_counts_and_of_wide_ones_fewer_are_kept():
    few = Neighbours(torch.tensor([[0.0], [1.0], [3.0]]))
    x, own = torch.tensor([[0.0], [5.0]]), torch.tensor([True, False])
    assert few.score(x, own).tolist() == [3, 4] and few.score(x).tolist() == [1, 4]
    widths = {1: 256, 97: 256, 98: 255, 390: 64, 391: 64}
    kept = {n: len(Neighbours.of(torch.zeros(300, n)).references) for n in widths}
    assert kept == widths


def density(past, values):
    """-log of the share of past values in a value's bin of ten, over that in the fullest."""
    edges = np.linspace(past.min(), past.max(), 11)
    bins = [(past >= a) & (past < b) for a, b in pairwise(edges)]
    bins[-1] |= past == edges[-1]
    counts = np.array([own.sum() for own in bins])
    out = []
    for x in values:
        own = [n for n, a, b in zip(counts, edges[:-1], edges[1:], strict=True) if a <= x < b]
        own += [counts[-1]] * int(x == edges[-1])
        out.append(-np.log((own[0] if own else 0) / counts.max() + 0.1))
    return np.array(out)


def test_few_past_values_nearby_make_a_field_unusual_in_a_gap_as_beyond_them_all():
    """Values are rounded to hundredths, as the tables are: here they are given so."""
    rng = np.random.default_rng(0)
    heaps = np.concatenate([rng.normal(-3, 0.2, 200), rng.normal(3, 0.2, 100)]).round(2)
    past = numbers(np.stack([heaps, rng.normal(size=300).round(2)], 1))
    new = numbers(np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 0.0], [9.0, -9.0], [-3.3, 1.5]]))
    frequencies = Frequencies.of(past)
    found = densities(past, frequencies).look_up(frequencies, *tensors(new)).numpy()
    for i in range(2):
        wanted = density(past.numeric[:, i].astype(float), new.numeric[:, i].astype(float))
        np.testing.assert_allclose(found[:, i], wanted, atol=1e-6)
    assert found[2, 0] == found[3, 0] == found[:, 0].max() > found[1, 0] > found[0, 0]


def test_what_is_rounded_beyond_the_past_values_is_in_their_bins_and_the_next_is_in_none():
    past = numbers(np.repeat([-2.996, 0, 2.996], [10, 40, 20])[:, None])
    new = numbers(np.array([-3.01, -3, 3, 3.01])[:, None])
    frequencies = Frequencies.of(past)
    found = densities(past, frequencies).look_up(frequencies, *tensors(new))[:, 0]
    np.testing.assert_allclose(found, -np.log(np.array([0, 10, 20, 0]) / 40 + 0.1), rtol=1e-5)


def test_a_rare_category_is_a_bin_of_its_own(past, new):
    frequencies = Frequencies.of(past)
    found = densities(past, frequencies).look_up(frequencies, *tensors(new)).numpy()[:, 3:]
    for i, values in enumerate(past.categorical.T):
        counts = np.bincount(values, minlength=past.cardinalities[i])
        wanted = -np.log(counts / counts.max() + 0.1)[new.categorical[:, i]]
        np.testing.assert_allclose(found[:, i], wanted, rtol=1e-5)


@pytest.fixture(scope="module")
def whole():
    """One column of whole numbers, known as categories: 1, 2, 3, 4 and 50, often; indices are in
    another order."""
    values = np.array([np.nan, np.nan, 3, 50, 1, 4, 2])
    categorical = np.repeat([4, 6, 2, 5, 3], [30, 40, 50, 30, 10])[:, None]
    none = np.zeros((160, 0), np.float32)
    return EncodedEvents(
        none, categorical, (7,), (), ("f",), np.zeros(160, np.int64), numbers=(values,)
    )


def test_whole_numbers_keep_their_order_beside_how_rare_they_are(whole):
    """50 is further from 1 than 4 is, to distances, and alone in its bin."""
    frequencies = Frequencies.of(whole)
    every = torch.zeros((7, 0)), torch.arange(7)[:, None]
    columns = frequencies.columns(*every)
    assert columns.shape == (7, 2)
    came = np.repeat([1, 2, 3, 4, 50], [30, 40, 50, 30, 10])
    median, spread = np.median(came), np.diff(np.quantile(came, [0.25, 0.75]))[0]
    wanted = ((np.array([3, 50, 1, 4, 2]) - median) / spread).clip(-10, 10)
    np.testing.assert_allclose(columns[2:, 1], wanted, rtol=1e-6)
    assert columns[:2, 1].tolist() == [0, 0]  # missing and unseen ones have no number
    found = densities(whole, frequencies).look_up(frequencies, *every)[:, 0]
    as_category = -np.log(np.array([50, 10, 30, 30, 40]) / 50 + 0.1)
    past = wanted[[2, 4, 0, 3, 1]].repeat([30, 40, 50, 30, 10])
    np.testing.assert_allclose(found[2:], as_category + density(past, wanted), rtol=1e-5)


def test_a_whole_number_between_two_bins_is_in_the_upper_one():
    """From 0 to 10: each where a bin begins, or the last one ends."""
    times = np.array([9, 1, 2, 3, 4, 5, 6, 11, 8, 2, 3])
    categorical, none = np.repeat(np.arange(2, 13), times)[:, None], np.zeros((54, 0), np.float32)
    values = np.array([np.nan, np.nan, *range(11)])
    past = EncodedEvents(none, categorical, (13,), (), ("f",), categorical[:, 0], (values,))
    frequencies = Frequencies.of(past)
    every = torch.zeros((11, 0)), torch.arange(2, 13)[:, None]
    found = densities(past, frequencies).look_up(frequencies, *every)[:, 0]
    in_bins = times.copy()
    in_bins[9:] = 5
    wanted = -np.log(times / 11 + 0.1) - np.log(in_bins / 11 + 0.1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("times", "scaled"),
    [((0, 0), 0), ((100, 0), 2), ((60, 40), 1), ((5, 2), 2), ((95, 5), 1), ((399, 1), 1)],
)
def test_whole_numbers_are_scaled_by_their_quartiles_or_what_is_wider(times, scaled):
    """3 and 5 so many times, and once neither: 5 lies so many units beyond the median, 3."""
    categorical = np.repeat([2, 3, 0], [*times, 1])[:, None]
    none, values = np.zeros((len(categorical), 0), np.float32), np.array([np.nan, np.nan, 3, 5])
    past = EncodedEvents(none, categorical, (4,), (), ("f",), categorical[:, 0], numbers=(values,))
    assert Frequencies.of(past).number.tolist() == [0, 0, 0, scaled]


def test_whole_numbers_end_ten_units_from_the_median():
    categorical = np.repeat([2, 3, 4, 5], [1, 100, 100, 1])[:, None]
    none, values = np.zeros((202, 0), np.float32), np.array([np.nan, np.nan, -50, 3, 5, 90])
    past = EncodedEvents(none, categorical, (6,), (), ("f",), categorical[:, 0], (values,))
    assert Frequencies.of(past).number.tolist() == [0, 0, -10, -0.5, 0.5, 10]


def test_columns_without_an_order_have_no_number(past):
    frequencies = Frequencies.of(past)
    assert len(frequencies.ordered) == 0 and not frequencies.number.any()
    assert frequencies.columns(*tensors(past)).shape == (400, 9)


def test_a_score_adds_up_how_rare_the_rankers_scores_are_in_their_own_past(
    fitted, past, new, model
):
    """-log of the share of past scores that are as large, each with its weight."""
    surprise = SurpriseDetector(model).fit(past)
    held_out = np.sort(surprise.held_out_.numpy(), 1)[:, -3:].sum(1)
    rankers, usual = Rankers.of(past, 2)
    columns = rankers.frequencies.columns(*tensors(new))
    far = np.sort(extremes(past, rankers.frequencies).look_up(rankers.frequencies, *tensors(new)))
    dense = densities(past, rankers.frequencies).look_up(rankers.frequencies, *tensors(new))
    parts = [surprise.decision_function(new), far[:, -10:].sum(1), dense.sum(1).numpy()]
    parts.append(rankers.neighbours.score(columns).numpy())
    share = 6 / 9
    wanted = np.zeros(len(new.time))
    weights = (3 * share, 0.5, 1 - share, 2 * (1 - share))
    for part, own, weight in zip(parts, [held_out, *usual.numpy().T], weights, strict=True):
        median = np.sort(own)[(len(own) - 1) // 2]
        unit = (own[own > median] - median).mean()
        for row, x in enumerate(part):
            as_large = (own / unit > x / unit - 1e-3).sum()
            beyond = max(0, (x - own.max()) / unit)
            wanted[row] += weight * (-np.log((as_large + 0.5) / (len(own) + 1)) + beyond)
    np.testing.assert_allclose(fitted.decision_function(new), wanted, rtol=1e-3, atol=2e-2)


def test_past_parts_are_those_of_a_sample_in_which_no_event_is_its_own_neighbour(monkeypatch):
    """Of twelve fields, the ten that are furthest out."""
    monkeypatch.setattr(combined, "REFERENCES", 290)
    past = numbers(np.random.default_rng(0).normal(size=(300, 12)))
    rankers, parts = Rankers.of(past, 4)
    sample = rows_of(past, np.random.default_rng(4).permutation(300)[:290])
    frequencies = Frequencies.of(sample)
    far, dense = (
        of(sample, frequencies).look_up(frequencies, *tensors(sample)).numpy()
        for of in (extremes, densities)
    )
    near = NearestNeighbors(n_neighbors=11, metric="manhattan").fit(sample.numeric[:256])
    away = near.kneighbors(sample.numeric)[0]
    away = np.append(away[:256, 10], away[256:, 9])
    wanted = np.stack([np.sort(far)[:, -10:].sum(1), dense.sum(1), away], 1)
    np.testing.assert_allclose(parts, wanted, rtol=1e-4)
    assert len(rankers.neighbours.references) == 256


def test_what_the_network_counts_for_is_the_share_of_categories_without_an_order(past, whole):
    assert Rankers.of(past, 0)[0].weights().tolist() == pytest.approx([2, 1 / 2, 1 / 3, 2 / 3])
    assert Rankers.of(whole, 0)[0].weights().tolist() == [0, 0.5, 1, 2]
    table = numbers(np.random.default_rng(0).normal(size=(50, 3)))
    assert Rankers.of(table, 0)[0].weights().tolist() == [0, 0.5, 1, 2]


def test_a_saved_detector_is_the_same_and_one_of_another_version_is_refused(fitted, new, tmp_path):
    fitted.save(tmp_path / "detector")
    again = CombinedDetector.load(tmp_path / "detector")
    assert (again.threshold_, again.false_alarms, again.seed) == (fitted.threshold_, 0.05, 2)
    for theirs, ours in zip(again.judge(new), fitted.judge(new), strict=True):
        assert np.array_equal(theirs, ours)
    assert {path.suffix for path in (tmp_path / "detector").iterdir()} == {".safetensors"}
    path = tmp_path / "detector" / "combined.safetensors"
    kept, about = read_tensors(path)
    assert about["format"] == 3  # what readers have on disk
    write_tensors(path, kept, about | {"format": 99})
    with pytest.raises(ValueError, match="no detector of this version: fit it again"):
        CombinedDetector.load(tmp_path / "detector")
    with pytest.raises(NotFittedError):
        CombinedDetector(fitted.model).save(tmp_path / "none")


def test_nothing_to_score_gives_nothing(fitted, new):
    scores, reasons = fitted.judge(rows_of(new, np.arange(0)))
    assert scores.shape == (0,) and reasons.shape == (0, 3)
    assert scores.dtype == np.float32 and reasons.dtype == np.int64


def test_equal_seeds_give_equal_detectors(fitted, past, model, new):
    again = CombinedDetector(model, false_alarms=0.05, seed=2).fit(past)
    assert again.threshold_ == fitted.threshold_
    assert np.array_equal(again.decision_function(new), fitted.decision_function(new))
    alone = SurpriseDetector(model, false_alarms=0.05).fit(past)
    assert again.surprise_.threshold_ == alone.threshold_
    assert CombinedDetector(model).seed == 0


def test_the_threshold_keeps_to_its_budget_on_events_of_the_same_kind(fitted, small_events):
    flagged = fitted.predict(small_events(2000, seed=7)[0])
    assert 0.01 < flagged.mean() < 0.15


def test_a_threshold_is_exceeded_by_the_share_that_was_asked_for(past, model, small_events):
    """Also where it is less than one of the 60 held-out events."""
    rng = np.random.default_rng(0)
    new = rng.exponential(size=100_000)
    for share in (0.5, 0.05, 0.01, 0.001):
        limits = [tail_threshold(rng.exponential(size=2000), share) for _ in range(20)]
        flagged = np.mean([(new > limit).mean() for limit in limits])
        assert share / 1.5 < flagged < share * 1.5
    for out in (0, 1, -0.1, 1.1):
        with pytest.raises(ValueError, match=f"false_alarms={out}"):
            tail_threshold(np.zeros(3), out)
    assert tail_threshold(np.zeros(100), 0.001) == 0
    # One score of 0 to 10 is above their 90% quantile, 9, by 1.
    assert tail_threshold(np.arange(11.0), 0.001) == pytest.approx(9 + np.log(100))
    rare = CombinedDetector(model, false_alarms=0.001).fit(past)
    often = CombinedDetector(model, false_alarms=0.01).fit(past)
    assert rare.threshold_ > often.threshold_ + 1
    flagged = [d.predict(small_events(4000, seed=7)[0]).mean() for d in (rare, often)]
    assert flagged[0] < 0.004 and 0.002 < flagged[1] < 0.04


def test_reasons_are_fields_of_the_objects_that_stand_out_and_are_there(fitted, past, new, model):
    """In a slow and plain way: of each object its furthest field where that is rarer than the
    object's surprise."""
    numeric, categorical = new.numeric.copy(), new.categorical.copy()
    numeric[::2, 0] = 10
    categorical[::3, :2] = 0  # no actor, which all past events have
    categorical[::5] = 0
    given = replace(new, numeric=numeric, categorical=categorical)
    rarity, field = fitted.surprise_.objects()(*tensors(given))
    frequencies = Frequencies.of(past)
    far = extremes(past, frequencies).look_up(frequencies, *tensors(given)).tolist()
    there, wanted = model.there(tensors(given)[1]), []
    for row in range(60):
        rare, fields = rarity[row].tolist(), field[row].tolist()
        for i, own in enumerate(model.columns):
            furthest = max(own, key=far[row].__getitem__)
            if there[row, i] and far[row][furthest] > rare[i]:
                rare[i], fields[i] = far[row][furthest], furthest
        order = sorted(range(len(rare)), key=rare.__getitem__, reverse=True)  # stable
        wanted.append([fields[i] for i in order[:3]])
    assert fitted.judge(given)[1].tolist() == wanted


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
    assert found[0] > 0.7 and found[0] > found[1] + 0.1


def test_forty_events_of_one_column_are_enough():
    rng = np.random.default_rng(0)
    past = numbers(rng.normal(size=(40, 1)))
    model = masked_model(past, seed=0, d_block=8).eval()
    new = numbers(np.array([[0.0], [9.0]]))
    scores = CombinedDetector(model).fit(past).decision_function(new)
    assert scores[1] > scores[0] + 5


def test_a_column_that_never_varied_and_a_past_of_one_kind_are_no_obstacle(model, past, new):
    same = rows_of(past, np.zeros(400, np.int64))
    detector = CombinedDetector(model).fit(same)
    assert detector.excess_.tolist() == [1, 1, 1, 1]
    assert np.isfinite(detector.decision_function(new)).all()
