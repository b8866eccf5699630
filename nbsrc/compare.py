"""How well scores find labelled scenarios, and the scores of usual methods on the encoded columns to compare with.

Stands above the detectors and takes their scores as arguments; no label reaches anything that is fitted.
"""

import math

import numpy as np
import polars as pl
from sklearn.ensemble import IsolationForest  # type: ignore[import-untyped]
from sklearn.metrics import average_precision_score, roc_auc_score  # type: ignore[import-untyped]
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors  # type: ignore[import-untyped]

from nbsrc.encode import EncodedEvents

DISTANCE_WIDTH = 256  # of the vectors whose distances stand for those of all columns
REFERENCES = 4000  # past events that LOF and kNN compare with: as many as KNNDetector does


def evaluate(scores: np.ndarray, scenarios: np.ndarray, *, false_alarms: float = 0.001) -> pl.DataFrame:
    """One row overall ("all") and one per scenario: how well its events stand out from the normal ones.

    Shape: scores (rows,), higher is stranger; scenarios (rows,), text, "" for a normal event.
    Columns: scenario, events, average_precision, roc_auc (each of the scenario's events against all normal ones), and
    recall at the score that the share `false_alarms` of the normal events exceeds.

    Raises ValueError if there is no normal event or no other.

    >>> evaluate(np.array([0.1, 0.2, 0.3, 0.9]), np.array(["", "", "", "spraying"])).row(0)
    ('all', 1, 1.0, 1.0, 1.0)
    """
    scenarios = np.asarray(scenarios, dtype=str)
    normal = scenarios == ""
    if normal.all() or not normal.any():
        raise ValueError(f"normal and other events are needed, however: {normal.sum()} of {len(normal)} are normal")
    limit = np.sort(scores[normal])[normal.sum() - 1 - int(false_alarms * normal.sum())]
    rows = []
    for name in ["all", *sorted(set(scenarios[~normal]))]:
        wanted = ~normal if name == "all" else scenarios == name
        rows.append({
            "scenario": name,
            "events": int(wanted.sum()),
            "average_precision": float(average_precision_score(wanted[wanted | normal], scores[wanted | normal])),
            "roc_auc": float(roc_auc_score(wanted[wanted | normal], scores[wanted | normal])),
            "recall": float((scores[wanted] > limit).mean()),
        })  # fmt: skip
    return pl.DataFrame(rows)


def usual_scores(baseline: EncodedEvents, events: EncodedEvents, *, seed: int) -> dict[str, np.ndarray]:
    """Scores (rows,) of `events` by Isolation Forest, LOF and kNN on the encoded columns, fitted on `baseline`.

    Isolation Forest (Liu et al. 2008) sees each category as how rare it is in the baseline, -log of its share:
    splitting the encoder's indices would split by chance. For LOF (Breunig et al. 2000) and kNN (Ramaswamy et al.
    2000) the squared distance of two events is the number of categories in which they differ, plus half the squared
    difference of the quantities; random signs (Johnson and Lindenstrauss; Achlioptas 2003) keep it to about a tenth
    in 256 columns, which makes it affordable.
    """
    scores = {}
    forest = IsolationForest(n_estimators=200, max_samples=1024, random_state=seed)
    forest.fit(_rarity(baseline, baseline))
    scores["Isolation Forest"] = -forest.score_samples(_rarity(baseline, events))
    rng = np.random.default_rng(seed)
    tables = [rng.choice([-1.0, 1.0], (n, DISTANCE_WIDTH)) / math.sqrt(2 * DISTANCE_WIDTH) for n in baseline.cardinalities]
    chosen = rng.permutation(len(baseline.time))[:REFERENCES]
    past, new = _signs(baseline, tables)[chosen], _signs(events, tables)
    scores["LOF"] = -LocalOutlierFactor(n_neighbors=50, novelty=True).fit(past).score_samples(new)
    scores["kNN"] = NearestNeighbors(n_neighbors=5).fit(past).kneighbors(new)[0][:, -1]
    return scores


def _rarity(baseline: EncodedEvents, events: EncodedEvents) -> np.ndarray:
    columns = [events.numeric]
    for i, n in enumerate(baseline.cardinalities):
        counts = np.bincount(baseline.categorical[:, i], minlength=n) + 1
        columns.append(-np.log(counts / counts.sum())[events.categorical[:, i], None].astype(np.float32))
    return np.concatenate(columns, 1)


def _signs(events: EncodedEvents, tables: list[np.ndarray]) -> np.ndarray:
    summed = np.zeros((len(events.time), DISTANCE_WIDTH), np.float32)
    for i, table in enumerate(tables):
        summed += table.astype(np.float32)[events.categorical[:, i]]
    return np.concatenate([events.numeric * np.float32(math.sqrt(0.5)), summed], 1)
