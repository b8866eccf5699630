"""How well scores find labelled scenarios: every method of the table, on simulated streams.

No label reaches anything that is fitted. All settings, of the detectors and of the others, were
chosen on simulated streams with the seeds 101 to 103, by average precision and ROC AUC, and on none
with other seeds."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import torch
from joblib import delayed
from sklearn.metrics import average_precision_score, roc_auc_score

from nbsrc.detection.base import FALSE_ALARMS, Ranker, held_out, sorted_columns, tails, threshold
from nbsrc.detection.methods import METHODS
from nbsrc.events.flatten import flatten
from nbsrc.selfsupervised.model import masked_model
from nbsrc.selfsupervised.pretraining import pretrain
from nbsrc.simulation.stream import simulate_events
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.training import default_device, one_thread, side_by_side

PAST = 0.7  # share of a stream, by time, that is baseline
CONTAMINATION = 0.015  # share of labelled events in the contaminated baseline, copies included
PIECE = 2500  # events that become a frame at once


def detection_experiment(
    *, seeds: Sequence[int], events: int, epochs: int, device: torch.device | str | None = None
) -> pl.DataFrame:
    """Simulate a stream with each seed, fit every method on its past, and measure the scores of
    what follows.

    The baseline is the first 70% of the stream, by time: "clean", without any labelled event, or
    "contaminated", where labelled events, repeated, are 1.5%. Encoder, networks, statistics and
    thresholds see the baseline only. The seed is the simulation's and the network's. On a CPU the
    runs go side by side, one process and one thread each.

    Returns a table with columns baseline, method, seed and those of `evaluate`; and, for methods
    with a threshold of their own, `alarms`: the share of normal new events above it, for a budget
    of 0.001."""
    device = default_device() if device is None else torch.device(device)
    runs = [(seed, baseline) for seed in seeds for baseline in ("clean", "contaminated")]
    calls = [
        delayed(detect_once)(seed, baseline, events=events, epochs=epochs, device=device)
        for seed, baseline in runs
    ]
    tables: list[pl.DataFrame] = side_by_side(calls, device)
    return pl.concat(tables)


def detect_once(
    seed: int, baseline: str, *, events: int, epochs: int, device: torch.device
) -> pl.DataFrame:
    """One seed and one baseline of `detection_experiment`."""
    tables = []
    with one_thread():
        past, new, scenarios = stream(events, seed=seed, contaminated=baseline == "contaminated")
        for method, scores, limit in measured(past, new, epochs=epochs, seed=seed, device=device):
            alarms = None if limit is None else float((scores > limit)[scenarios == ""].mean())
            tables.append(
                evaluate(scores, scenarios).select(
                    pl.lit(baseline).alias("baseline"),
                    pl.lit(method).alias("method"),
                    pl.lit(seed).alias("seed"),
                    pl.all(),
                    pl.lit(alarms, dtype=pl.Float64).alias("alarms"),
                )
            )
    return pl.concat(tables)


def measured(
    past: EncodedEvents, new: EncodedEvents, *, epochs: int, seed: int, device: torch.device
) -> Iterator[tuple[str, np.ndarray, float | None]]:
    """Every method of the table, fitted on the past: its name, its scores (rows,) of the new
    events, and its threshold, if it has one.

    "Both together" adds up the detectors that read the network: for each, -log of the share of
    held-out past events that score as high."""
    recent = held_out(past)
    reading = {name: method for name, method in METHODS.items() if method.reads_network}
    for trained in (True, False):
        model = masked_model(past, seed=seed).to(device)
        if trained:
            pretrain(model, past, epochs=epochs, seed=seed, device=device, progress=False)
        together = np.zeros(len(new.time))
        for name, method in reading.items():
            detector = method.make(model, seed).fit(past)
            scores = detector.decision_function(new)
            yield (name if trained else f"{name}, untrained"), scores, _threshold(detector)
            if trained:
                together += _rarity(detector.decision_function(recent), scores)
        if trained:
            yield "Both together", together, None
    for name, method in METHODS.items():
        if not method.reads_network:
            detector = method.make(model, seed).fit(past)
            yield name, detector.decision_function(new), _threshold(detector)


def _threshold(detector: Ranker) -> float | None:
    return getattr(detector, "threshold_", None)


def _rarity(past: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """`nbsrc.detection.base.tails` of one column, of arrays."""
    column = sorted_columns(torch.from_numpy(past[:, None]))
    return tails(column, torch.from_numpy(scores[:, None])).numpy()[:, 0]


def stream(
    events: int, *, seed: int, contaminated: bool
) -> tuple[EncodedEvents, EncodedEvents, np.ndarray]:
    """A simulated baseline, the events after it, and those events' scenarios ("" for a normal
    one)."""
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
    frames = []
    while simulated:  # all objects and their frame at once are a quarter gigabyte more
        piece = pl.DataFrame(simulated[:PIECE], infer_schema_length=None, strict=False)
        frames.append(flatten(piece))
        del simulated[:PIECE]
    return pl.concat(frames, how="diagonal_relaxed", rechunk=True), scenario


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
