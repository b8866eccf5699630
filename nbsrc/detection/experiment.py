"""Simulated streams to try detectors on, and how well scores find what is labelled in them.

No label reaches anything that is fitted. Settings, of the detectors and of the others, were chosen
on simulated streams with the seeds 101 to 103, by average precision and ROC AUC, and on none with
other seeds."""

import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

from nbsrc.detection.base import FALSE_ALARMS, threshold
from nbsrc.events.flatten import flatten_objects
from nbsrc.simulation.stream import simulate_events
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.encoder import EventEncoder

PAST = 0.7  # share of a stream, by time, that is baseline
CONTAMINATION = 0.015  # share of labelled events in the contaminated baseline, copies included


def stream(
    events: int, *, seed: int, contaminated: bool
) -> tuple[EncodedEvents, EncodedEvents, np.ndarray]:
    """A simulated baseline, the events after it, and those events' scenarios ("" for a normal one).

    The baseline is the first 70% of the stream, by time, without any labelled event; where it is
    contaminated, labelled events, repeated, are 1.5% of it. The encoder sees the baseline only."""
    rows, scenario = _simulated(events, seed)
    cut = int(PAST * rows.height)
    kept = np.flatnonzero(scenario[:cut] == "")
    if contaminated:
        labelled = np.flatnonzero(scenario[:cut] != "")
        wanted = int(CONTAMINATION / (1 - CONTAMINATION) * len(kept))
        kept = np.sort(np.concatenate([kept, np.resize(labelled, wanted)]))
    # copies: a slice would keep all rows in memory
    past, new = rows[kept], rows[np.arange(cut, rows.height)]
    del rows
    encoder = EventEncoder().fit(past)
    return encoder.transform(past), encoder.transform(new), scenario[cut:]


def _simulated(events: int, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Flattened events and their scenarios."""
    simulated, labels = simulate_events(events, seed=seed)
    names = dict(zip(labels["uid"], labels["scenario"], strict=True))
    scenario = np.array([names.get(event["metadata"]["uid"], "") for event in simulated])
    return flatten_objects(simulated), scenario


def evaluate(
    scores: np.ndarray, scenarios: np.ndarray, *, false_alarms: float = FALSE_ALARMS
) -> pl.DataFrame:
    """One row overall ("all") and one per scenario: how well its events stand out from the normal
    ones.

    Shape: scores (rows,), higher is stranger; scenarios (rows,), text, "" for a normal event.
    Columns: scenario, events, average_precision, roc_auc (each of the scenario's events against all
    normal ones), and recall at the score that the share `false_alarms` of the normal events
    exceeds.

    Raises ValueError if there is no normal event or no other.

    >>> evaluate(np.array([0.1, 0.2, 0.3, 0.9]), np.array(["", "", "", "spraying"])).row(0)
    ('all', 1, 1.0, 1.0, 1.0)
    """
    normal = scenarios == ""
    if normal.all() or not normal.any():
        raise ValueError(
            "normal and other events are needed, "
            f"however: {normal.sum()} of {len(normal)} are normal"
        )
    limit = threshold(scores[normal], false_alarms)
    rows = []
    for name in ["all", *sorted(set(scenarios[~normal]))]:
        wanted = ~normal if name == "all" else scenarios == name
        among = wanted[wanted | normal], scores[wanted | normal]
        rows.append({
            "scenario": name,
            "events": int(wanted.sum()),
            "average_precision": float(average_precision_score(*among)),
            "roc_auc": float(roc_auc_score(*among)),
            "recall": float((scores[wanted] > limit).mean()),
        })  # fmt: skip
    return pl.DataFrame(rows)
