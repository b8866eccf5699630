"""Each detector against a slow and plain way to the same scores, on untrained networks."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.lines import Line2D
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from nbsrc import palette
from nbsrc.detection.base import Detector, check_fitted, held_out, sorted_columns, tails, threshold
from nbsrc.detection.baselines import Distance, Forest, Rarity
from nbsrc.detection.frequencies import Frequencies
from nbsrc.detection.knn import KNNDetector
from nbsrc.detection.methods import METHODS
from nbsrc.detection.surprise import SurpriseDetector
from nbsrc.selfsupervised.batches import for_batches
from nbsrc.selfsupervised.inference import column_nll
from nbsrc.selfsupervised.model import MaskedModel, masked_model
from nbsrc.support.results import read_result
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.encoded import rows_of


@pytest.fixture(scope="module")
def past(small_events):
    """Past events, not in the order of time, some without a source."""
    encoded, _ = small_events(400, seed=0)
    encoded.categorical[::5, 2:4] = 0
    return rows_of(encoded, np.random.default_rng(0).permutation(400))


@pytest.fixture(scope="module")
def new(small_events):
    encoded, _ = small_events(60, seed=1, unusual=0.3)
    encoded.categorical[::7, :2] = 0
    return encoded


@pytest.fixture(scope="module")
def model(past):
    return masked_model(past, seed=1, d_block=8, n_blocks=1).eval()


def tail(past, value):
    """-log of the share of past values that are at least as large, and more beyond them all."""
    at_least = (past > value - 1e-3).sum()
    return -np.log((at_least + 0.5) / (len(past) + 1)) + max(0, value - past.max())


def latest(encoded, share=0.15):
    order = np.argsort(encoded.time)
    return rows_of(encoded, order[-round(share * len(order)) :])


def test_tails_and_their_past_are_by_column():
    rng = np.random.default_rng(0)
    past, values = rng.normal(size=(50, 3)), rng.normal(size=(20, 3)) * 2
    values[3] = past[7] + 0.9e-3  # as good as equal
    values[4] = past[7] + 1.1e-3
    found = tails(sorted_columns(torch.tensor(past)), torch.tensor(values))
    wanted = [[tail(past[:, i], v[i]) for i in range(3)] for v in values]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.1, 8), (0.19, 8), (0.2, 7), (0.05, 9), (0.99, 0), (0.001, 9)]
)
def test_a_threshold_is_the_smallest_score_that_at_most_the_share_exceeds(share, wanted):
    assert threshold(np.random.default_rng(0).permutation(10) * 1.0, share) == wanted
    for out in (0, 1, -0.1, 1.1):
        with pytest.raises(ValueError, match=f"false_alarms={out}"):
            threshold(np.zeros(3), out)


def test_the_held_out_events_are_the_last_by_time(past):
    assert np.array_equal(held_out(past).time, np.sort(past.time)[-60:])


def test_alarms_are_scores_above_the_threshold():
    class Same(Detector):
        def fit(self, baseline):
            self.threshold_ = 2.0
            return self

        def decision_function(self, encoded):
            check_fitted(self)
            return encoded

    with pytest.raises(NotFittedError, match="this Same is not fitted yet"):
        Same().predict(np.arange(4.0))
    alarms = Same().fit(None).predict(np.arange(5.0))
    assert alarms.dtype == np.int64 and alarms.tolist() == [0, 0, 0, 1, 1]


def objects(model, encoded):
    """Fields' surprises (rows, columns), and objects' (rows, objects)."""
    nll = torch.cat(for_batches(column_nll, model, encoded)).numpy()
    return nll, np.stack([nll[:, own].sum(1) for own in model.columns], 1)


def rarities(past, surprise):
    return np.minimum([[tail(p, v) for p, v in zip(past.T, row, strict=True)] for row in surprise],
                      surprise)  # fmt: skip


@pytest.fixture(scope="module")
def fitted(past, model):
    return SurpriseDetector(model, false_alarms=0.05).fit(past)


def test_surprise_learns_from_the_held_out_events(fitted, past, model):
    recent = latest(past)
    nll, whole = objects(model, recent)
    np.testing.assert_allclose(fitted.reference_, np.sort(whole, 0).T, rtol=1e-5)
    for i, own in enumerate(model.columns):
        usual = nll[:, own][whole[:, i] > 0].mean(0)
        np.testing.assert_allclose(fitted.usual_[own], usual, rtol=1e-4)
    first, second = whole[:30], whole[30:]
    scores = [
        np.sort(rarities(a, b), 1)[:, -3:].sum(1) for a, b in ((second, first), (first, second))
    ]
    assert fitted.threshold_ == pytest.approx(np.sort(np.concatenate(scores))[-4], rel=1e-5)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_what_is_usual_is_a_mean_over_the_events_that_have_the_object(times, past, model):
    rare, recent = replace(past, categorical=past.categorical.copy()), np.argsort(past.time)[-60:]
    rare.categorical[recent, 2:4] = 0
    rare.categorical[recent[:times], 2:4] = 2
    columns = [model.names.index(name) for name in past.categorical_names[2:4]]
    nll = objects(model, rows_of(rare, recent))[0][:, columns]
    usual = SurpriseDetector(model).fit(rare).usual_[columns]
    np.testing.assert_allclose(usual, nll.sum(0) / max(times, 1), rtol=1e-4)


def test_a_score_is_the_sum_of_the_three_most_surprising_objects(fitted, past, new, model):
    _, reference = objects(model, latest(past))
    nll, whole = objects(model, new)
    rarity = rarities(reference, whole)
    scores, reasons = fitted.judge(new)
    np.testing.assert_allclose(scores, np.sort(rarity, 1)[:, -3:].sum(1), rtol=1e-4)
    assert np.array_equal(fitted.decision_function(new), scores)
    for i in range(len(new.time)):
        for rank, place in enumerate(np.argsort(-rarity[i], kind="stable")[:3]):
            own = model.columns[place]
            if whole[i, place] > 0:
                above = nll[i, own] - fitted.usual_.numpy()[own]
                assert reasons[i, rank] == own[np.argmax(above)]
            else:
                assert reasons[i, rank] == own[0]


def test_nothing_to_score_gives_nothing(fitted, past, new, model):
    scores, reasons = fitted.judge(rows_of(new, np.arange(0)))
    assert scores.shape == (0,) and reasons.shape == (0, 3)
    assert scores.dtype == np.float32 and reasons.dtype == np.int64
    assert KNNDetector(model).fit(past).decision_function(rows_of(new, np.arange(0))).shape == (0,)


def test_a_model_of_two_objects_has_two_reasons(past):
    names = ("a.b", "a.c", "a.d", "e.f", "e.g", "e.h")
    two = replace(past, numeric=past.numeric[:, :0], numeric_names=(), categorical_names=names)
    detector = SurpriseDetector(masked_model(two, seed=0, d_block=8)).fit(two)
    assert detector.judge(two)[1].shape == (400, 2)
    assert detector.judge(rows_of(two, np.arange(0)))[1].shape == (0, 2)


def test_a_saved_detector_is_the_same_and_one_of_another_version_is_refused(fitted, new, tmp_path):
    folder = tmp_path / "some" / "detector"
    fitted.save(str(folder))
    fitted.save(folder)  # in place of what is there
    again = SurpriseDetector.load(str(folder))
    assert (again.threshold_, again.false_alarms) == (fitted.threshold_, 0.05)
    for theirs, ours in zip(again.judge(new), fitted.judge(new), strict=True):
        assert np.array_equal(theirs, ours)
    path = folder / "surprise.safetensors"
    tensors, about = read_tensors(path)
    for told in (about | {"format": 2}, {}):
        write_tensors(path, tensors, told)
        with pytest.raises(ValueError, match="no detector of this version: fit it again"):
            SurpriseDetector.load(folder)
    with pytest.raises(NotFittedError):
        SurpriseDetector(fitted.model).save(tmp_path / "none")


def test_neighbours_are_the_nearest_of_a_sample_with_few_copies(past, new, model):
    copied = past.categorical.copy()
    copied[:200] = copied[0]
    dirty = replace(past, categorical=copied)
    detector = KNNDetector(model, k=4, copies=3, references=90, false_alarms=0.1, seed=5).fit(dirty)
    earlier = np.argsort(dirty.time)[:340]
    sample, seen = [], {}
    for row in np.random.default_rng(5).permutation(earlier):
        kind = tuple(copied[row])
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= 3 and len(sample) < 90:
            sample.append(row)
    a, b, held = (
        torch.cat(for_batches(MaskedModel.embed, model, rows)).double().numpy()
        for rows in (rows_of(dirty, np.array(sample)), new, latest(dirty))
    )
    covariance = np.cov(a.T)
    covariance += 1e-3 * np.diag(covariance).mean() * np.eye(8)
    inverse = np.linalg.inv(covariance)

    def kth(rows):
        away = rows[:, None] - a
        return np.sort(np.sqrt(np.einsum("ijk,kl,ijl->ij", away, inverse, away)), 1)[:, 3]

    np.testing.assert_allclose(detector.decision_function(new), kth(b), rtol=1e-3, atol=1e-3)
    assert detector.references_.shape == (90, 8)
    assert detector.threshold_ == pytest.approx(np.sort(kth(held))[-7], rel=1e-3)


def test_neighbours_need_enough_unlike_events(past, model):
    for k, copies in ((5, 5), (5, 0), (4, 5)):
        with pytest.raises(ValueError, match=f"k={k}, copies={copies}"):
            KNNDetector(model, k=k, copies=copies)
    usual, least = KNNDetector(model), KNNDetector(model, k=2, copies=1)
    assert (usual.k, usual.copies, usual.references, usual.seed) == (10, 5, 4000, 0)
    assert (least.k, least.copies) == (2, 1)
    few = rows_of(past, np.argsort(past.time)[:14])  # 12 earlier ones
    assert KNNDetector(model, k=11, copies=10).fit(few)
    with pytest.raises(
        ValueError, match="12 neighbours need more than 12 unlike events, however: 12"
    ):
        KNNDetector(model, k=12, copies=10).fit(few)


def test_an_embedding_that_tells_nothing_apart_is_no_obstacle(past, new, model):
    same = masked_model(past, seed=0, d_block=8).eval()
    with torch.no_grad():
        same.model.input_projection.weight.zero_()
    scores = KNNDetector(same).fit(past).decision_function(new)
    assert np.isfinite(scores).all() and np.ptp(scores) == 0


def nats(past, encoded):
    """-log of the share of each category in the past, counted once more: (rows, columns)"""
    columns = []
    for i, n in enumerate(past.cardinalities):
        counts = np.array([(past.categorical[:, i] == value).sum() + 1 for value in range(n)])
        columns.append(-np.log(counts / counts.sum())[encoded.categorical[:, i]])
    return np.stack(columns, 1)


def test_a_category_is_read_as_how_rare_it_is_among_past_events(past, new):
    given = torch.from_numpy(new.numeric), torch.from_numpy(new.categorical)
    found = Frequencies.of(past).columns(*given)
    np.testing.assert_allclose(found, np.hstack([new.numeric, nats(past, new)]), rtol=1e-5)


FIVE_OBJECTS = ("actor.a", "actor.b", "actor.c", "actor.d", "api.operation", "status")


@pytest.mark.parametrize("names", [None, FIVE_OBJECTS])
def test_rarity_adds_up_the_three_objects_with_the_rarest_field(names, past, new):
    if names:
        past, new = (replace(events, categorical_names=names) for events in (past, new))
    recent = latest(past)
    usual = np.hstack([np.abs(recent.numeric), nats(past, recent)])
    fields = np.hstack([np.abs(new.numeric), nats(past, new)])
    rare = np.array([[tail(p, v) for p, v in zip(usual.T, row, strict=True)] for row in fields])
    objects = masked_model(past, seed=0, d_block=8).columns
    by_object = np.sort(np.stack([rare[:, own].max(1) for own in objects], 1), 1)
    found = Rarity().fit(past).decision_function(new)
    np.testing.assert_allclose(found, by_object[:, -3:].sum(1), rtol=1e-4)


def test_the_forest_sees_how_rare_categories_are(past, new):
    seen = [np.hstack([e.numeric, nats(past, e).astype(np.float32)]) for e in (past, new)]
    forest = IsolationForest(n_estimators=200, max_samples=400, random_state=3).fit(seen[0])
    np.testing.assert_array_equal(
        Forest(seed=3).fit(past).decision_function(new), -forest.score_samples(seen[1])
    )


def test_a_tree_of_a_long_past_is_grown_on_a_sample(past, monkeypatch):
    forest = "nbsrc.detection.baselines.IsolationForest"
    monkeypatch.setattr(forest, lambda **options: SimpleNamespace(fit=lambda rows: options))
    grown = Forest(seed=3).fit(rows_of(past, np.arange(5000) % 400)).forest_
    assert grown == {"n_estimators": 200, "max_samples": 4096, "random_state": 3}


def test_a_distance_is_the_number_of_unlike_categories_and_half_the_square_of_quantities(past, new):
    detector = Distance(seed=2).fit(past)
    vectors = detector._vectors(new)
    assert vectors.shape == (60, 3 + 256) and vectors.dtype == np.float32
    squared = ((vectors[:, None] - vectors) ** 2).sum(2)
    unlike = (new.categorical[:, None] != new.categorical).sum(2)
    quantities = ((new.numeric[:, None] - new.numeric) ** 2).sum(2) / 2
    wanted = unlike + quantities
    assert abs((squared - quantities).sum() / unlike.sum() - 1) < 0.02
    np.testing.assert_allclose(squared, wanted, atol=1.5)
    references = detector._vectors(past)
    near = NearestNeighbors(n_neighbors=20).fit(references).kneighbors(vectors)[0][:, 19]
    np.testing.assert_allclose(detector.decision_function(new), near, rtol=1e-5)
    local = LocalOutlierFactor(n_neighbors=20, novelty=True)
    wanted = -local.fit(references[np.random.default_rng(0).permutation(400)]).score_samples(
        vectors
    )
    found = Distance(local=True, seed=2).fit(past).decision_function(new)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_distances_are_to_a_sample_of_a_long_past(past, monkeypatch):
    long = rows_of(past, np.arange(4100) % 400)
    assert len(Distance(seed=2).fit(long).neighbours_._fit_X) == 4000
    monkeypatch.setattr("nbsrc.detection.baselines.REFERENCES", 50)
    detector = Distance(seed=2).fit(past)
    held = np.sort(detector.neighbours_._fit_X.sum(1))
    every = np.sort(detector._vectors(past).sum(1))
    assert len(held) == 50 and not np.allclose(held, every[:50])
    assert not np.allclose(held, np.sort(detector._vectors(rows_of(past, np.arange(50))).sum(1)))


@pytest.mark.parametrize("name", METHODS)
def test_a_row_of_the_table_keeps_the_contract(name, past, new, model):
    """Higher is stranger: what is far from all that was seen gets the highest score of all."""
    method = METHODS[name]
    detector = method.make(model, 0)
    with pytest.raises(NotFittedError, match="call fit with the baseline"):
        detector.decision_function(new)
    assert detector.fit(past) is detector
    odd = replace(new, numeric=new.numeric.copy(), categorical=new.categorical.copy())
    odd.numeric[0], odd.categorical[0] = 10, 1
    scores = detector.decision_function(odd)
    assert scores.shape == (60,) and scores.argmax() == 0
    again, other = (method.make(model, seed).fit(past).decision_function(odd) for seed in (0, 1))
    assert np.array_equal(scores, again)
    assert np.array_equal(scores, other) == (name in ("Surprise", "Rarity"))
    without = method.reads_network or method.make(None, 0).fit(past)
    assert without and method.reads_network == hasattr(detector, "model")
    assert getattr(detector, "false_alarms", 0.001) == 0.001


def test_methods_that_were_measured_are_in_the_table_and_all_can_be_drawn():
    measured, _ = read_result(Path(__file__).parents[1] / "results" / "detectors.json")
    names = set(measured["method"].str.strip_suffix(", untrained"))
    assert names - {"ECOD", "HBOS"} <= set(METHODS)  # these are not the book's
    assert {m.marker for m in METHODS.values()} <= set(Line2D.filled_markers)


def test_rows_of_the_table_differ(past, new, model):
    scores = {
        name: m.make(model, 0).fit(past).decision_function(new) for name, m in METHODS.items()
    }
    assert len({tuple(np.round(row, 3)) for row in scores.values()}) == len(METHODS)
    colors = [value for name, value in vars(palette).items() if name.isupper()]
    assert {m.color for m in METHODS.values()} <= set(colors) - {palette.INK, palette.PAPER}
    assert len(set(colors)) == len(colors)
