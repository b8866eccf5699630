"""Comparing scores: what the measures are, what the streams hold, and that labels only measure."""

from dataclasses import replace

import numpy as np
import pytest

from nbsrc import training
from nbsrc.detection.experiment import (
    CONTAMINATION,
    detection_experiment,
    evaluate,
    network_search,
    stream,
)
from nbsrc.detection.methods import METHODS
from nbsrc.tabular.encoded import rows_of

USUAL = [name for name, method in METHODS.items() if not method.reads_network]


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Runs this small take less time than a second process takes to start; that processes side by
    side give the same is tested in test_degradation."""
    monkeypatch.setattr(training, "cpu_count", lambda: 1)


def usual_scores(name, past, new):
    return METHODS[name].make(None, 0).fit(past).decision_function(new)


def test_measures_of_a_scenario_leave_the_other_scenarios_out():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.25, 0.9, 0.9])
    names = np.array(["", "", "", "", "slow", "fast", "fast"])
    table = evaluate(scores, names, false_alarms=0.25)
    assert table["scenario"].to_list() == ["all", "fast", "slow"] and table["events"].to_list() == [
        3,
        2,
        1,
    ]
    fast, slow = table.rows(named=True)[1:]
    assert fast["average_precision"] == fast["roc_auc"] == fast["recall"] == 1
    assert (
        slow["roc_auc"] == 0.5
        and slow["average_precision"] == pytest.approx(1 / 3)
        and slow["recall"] == 0
    )
    with pytest.raises(ValueError, match="7 of 7 are normal"):
        evaluate(scores, np.full(7, ""))


@pytest.fixture(scope="module")
def streams():
    return {dirty: stream(2500, seed=5, contaminated=dirty) for dirty in (False, True)}


def test_a_clean_past_has_no_incident_and_a_contaminated_one_its_share(streams):
    (clean, _, scenarios), (dirty, _, same) = streams[False], streams[True]
    assert (scenarios == same).all() and (scenarios != "").any()
    added = len(dirty.time) - len(clean.time)
    assert added / len(dirty.time) == pytest.approx(CONTAMINATION, abs=0.001)
    assert clean.time.max() <= streams[False][1].time.min()  # the past is before the new events


@pytest.mark.parametrize("name", USUAL)
def test_usual_methods_score_each_event_by_itself_and_by_the_past_alone(name, streams):
    past, new, _ = streams[False]
    order = np.random.default_rng(0).permutation(len(new.time))[:100]
    some = usual_scores(name, past, rows_of(new, order))
    np.testing.assert_allclose(some, usual_scores(name, past, new)[order], rtol=1e-5)


def test_a_value_that_the_past_hardly_has_is_rare(streams):
    past, new, _ = streams[False]
    column = past.categorical_names.index("class_uid")
    categorical = new.categorical.copy()
    categorical[0, column] = 1  # unseen
    odd = usual_scores("Rarity", past, replace(new, categorical=categorical))
    assert odd[0] > usual_scores("Rarity", past, new)[0]


def test_the_experiment_measures_every_method_and_can_be_repeated():
    tables = [
        detection_experiment(seeds=(5,), events=2500, epochs=1, device="cpu") for _ in range(2)
    ]
    assert tables[0].equals(tables[1])
    whole = tables[0].filter(scenario="all")
    twins = {f"{name}, untrained" for name in METHODS.keys() - USUAL}
    assert set(whole["method"]) == {*METHODS, *twins, "Both together"}
    assert set(whole["baseline"]) == {"clean", "contaminated"}
    assert whole.filter(method="Surprise")["alarms"].null_count() == 0
    assert whole["roc_auc"].is_between(0, 1).all()


def test_a_search_has_a_row_for_each_setting_and_seed(small_events):
    encoded, _ = small_events(600, seed=0)
    settings = [
        {"d_block": 8, "n_blocks": 1, "dropout1": 0.0},
        {"d_block": 16, "n_blocks": 1, "dropout1": 0.0},
    ]
    table = network_search(encoded, settings, seeds=(0, 1), epochs=1, device="cpu")
    assert table.select("d_block", "seed").rows() == [(8, 0), (8, 1), (16, 0), (16, 1)]
    narrow, wide = table["parameters"].unique(maintain_order=True)
    assert wide > narrow and table["validation_loss"].is_finite().all()
    assert table.equals(network_search(encoded, settings, seeds=(0, 1), epochs=1, device="cpu"))
