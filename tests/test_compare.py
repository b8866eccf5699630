"""Comparing scores: what the measures are, what the streams hold, and that labels only measure."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from nbsrc.detection import experiment
from nbsrc.detection.experiment import CONTAMINATION, evaluate, stream
from nbsrc.detection.methods import METHODS
from nbsrc.tabular.encoded import rows_of

USUAL = [name for name, method in METHODS.items() if not method.reads_network]


def usual_scores(name, past, new):
    return METHODS[name].make(None, 0).fit(past).decision_function(new)


def test_measures_of_a_scenario_leave_the_other_scenarios_out():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.25, 0.9, 0.9, 0.4])
    names = np.array(["", "", "", "", "slow", "fast", "fast", "slow"])
    table = evaluate(scores, names, false_alarms=0.25)
    assert table["scenario"].to_list() == ["all", "fast", "slow"]
    assert table["events"].to_list() == [4, 2, 2]
    everything, fast, slow = table.rows(named=True)
    assert fast["average_precision"] == fast["roc_auc"] == fast["recall"] == 1
    assert slow["roc_auc"] == (2 / 4 + 3.5 / 4) / 2  # a tie counts half
    wanted = average_precision_score(names[[0, 1, 2, 3, 4, 7]] != "", scores[[0, 1, 2, 3, 4, 7]])
    assert slow["average_precision"] == pytest.approx(wanted)
    assert slow["recall"] == 0.5  # one in four normal events is above 0.3, and 0.25 is not
    assert everything["recall"] == 0.75
    assert everything["roc_auc"] == pytest.approx(roc_auc_score(names != "", scores))
    for same, told in (("", "8 of 8 are normal"), ("slow", "0 of 8 are normal")):
        with pytest.raises(ValueError, match=told):
            evaluate(scores, np.full(8, same))
    few = evaluate(np.arange(3000.0), np.array([""] * 2990 + ["slow"] * 10))
    assert few["recall"].to_list() == [1.0, 1.0]
    low = evaluate(np.append(np.arange(2000.0), [1997, 1998.5]), np.array([""] * 2000 + ["x"] * 2))
    assert low["recall"][0] == 0.5  # two of 2,000 normal events are above 1997, as is 1998.5


@pytest.fixture(scope="module")
def streams():
    return {dirty: stream(2500, seed=5, contaminated=dirty) for dirty in (False, True)}


def test_a_clean_past_has_no_incident_and_a_contaminated_one_its_share(streams):
    (clean, _, scenarios), (dirty, _, same) = streams[False], streams[True]
    assert (scenarios == same).all() and (scenarios != "").any()
    added = len(dirty.time) - len(clean.time)
    assert added / len(dirty.time) == pytest.approx(CONTAMINATION, abs=0.001)
    assert clean.time.max() <= streams[False][1].time.min()  # the past is before the new events
    assert len(scenarios) == len(streams[False][1].time) == 750


class Rows:
    """In place of an encoder: the rows that it was fitted on, and those that it transforms."""

    def fit(self, past):
        self.past = past["row"].to_list()
        return self

    def transform(self, rows):
        return self.past, rows["row"].to_list()


def test_the_encoder_sees_the_past_alone_and_copies_of_incidents_stand_where_they_were(monkeypatch):
    scenario = np.full(950, "", dtype=object)
    scenario[[20, 30, 664, 665, 800]] = "slow"
    made = pl.DataFrame({"row": np.arange(950)}), scenario
    monkeypatch.setattr(experiment, "_simulated", lambda events, seed: made)
    monkeypatch.setattr(experiment, "EventEncoder", Rows)
    normal = [row for row in range(665) if row not in (20, 30, 664)]
    past, new, names = stream(950, seed=0, contaminated=False)
    assert past == (normal, normal) and new == (normal, list(range(665, 950)))
    assert names.tolist() == scenario[665:].tolist()
    dirty = sorted(normal + [20, 30, 664] * 3 + [20])  # 0.015 / 0.985 of 662: 10
    past, new, _ = stream(950, seed=0, contaminated=True)
    assert past == (dirty, dirty) and new == (dirty, list(range(665, 950)))


def test_simulated_events_are_flattened_in_pieces_and_keep_their_scenarios(monkeypatch):
    made = [{"metadata": {"uid": f"{i}"}, "time": i} for i in range(500)]
    made[390]["more"], made[395]["more"] = 1, "two"  # late in their piece, and of two types
    labels = pl.DataFrame({"uid": ["1", "499"], "scenario": ["slow", "fast"]})
    monkeypatch.setattr(experiment, "simulate_events", lambda n, seed: (made[:n], labels))
    monkeypatch.setattr("nbsrc.events.flatten.PIECE", 200)
    rows, scenario = experiment._simulated(500, 0)
    assert scenario.tolist() == ["", "slow", *[""] * 497, "fast"]
    assert rows["metadata.uid"].to_list() == [f"{i}" for i in range(500)]
    assert rows["time"].to_list() == [*range(500)]
    assert rows["more"].drop_nulls().to_list() == ["1", "two"] and rows["more"][390] == "1"


@pytest.mark.parametrize("name", USUAL)
def test_usual_methods_score_each_event_by_itself_and_by_the_past_alone(name, streams):
    past, new, _ = streams[False]
    order = np.random.default_rng(0).permutation(len(new.time))[:100]
    some = usual_scores(name, past, rows_of(new, order))
    np.testing.assert_allclose(some, usual_scores(name, past, new)[order], rtol=1e-5)
