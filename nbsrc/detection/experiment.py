"""How well scores find labelled scenarios: the detectors, beside usual methods on the encoded
columns.

No label reaches anything that is fitted. All settings, of the detectors and of the others, were
chosen on simulated streams with the seeds 101 to 103, by average precision and ROC AUC, and on none
with other seeds."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from joblib import delayed  # type: ignore[import-untyped]
from sklearn.ensemble import IsolationForest  # type: ignore[import-untyped]
from sklearn.metrics import average_precision_score, roc_auc_score  # type: ignore[import-untyped]
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors  # type: ignore[import-untyped]

from nbsrc.detection.surprise import (
    HELD_OUT,
    MOST_SURPRISING,
    KNNDetector,
    SurpriseDetector,
    sorted_columns,
    tails,
)
from nbsrc.events.flatten import flatten
from nbsrc.selfsupervised.pretraining import MaskedModel, objects_of, pretrain, split_by_time
from nbsrc.simulation.stream import simulate_events
from nbsrc.tabular.encoded import EncodedEvents, rows_of
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.tabular.network import TabularResNet
from nbsrc.training import default_device, one_thread, side_by_side

PAST = 0.7  # share of a stream, by time, that is baseline
CONTAMINATION = 0.015  # share of labelled events in the contaminated baseline, copies included
DISTANCE_WIDTH = 256  # of the vectors whose distances stand for those of all columns
PIECE = 2500  # events that become a frame at once
REFERENCES = 4000  # past events that LOF and kNN compare with: as many as KNNDetector does


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
    return pl.concat(side_by_side(calls, device))


def detect_once(
    seed: int, baseline: str, *, events: int, epochs: int, device: torch.device
) -> pl.DataFrame:
    """One seed and one baseline of `detection_experiment`."""
    with one_thread():
        past, new, scenarios = stream(events, seed=seed, contaminated=baseline == "contaminated")
        scores, thresholds = _scores(past, new, epochs=epochs, seed=seed, device=device)
    tables = []
    for method, score in scores.items():
        alarms = (
            float((score > thresholds[method])[scenarios == ""].mean())
            if method in thresholds
            else None
        )
        about = {"baseline": baseline, "method": method, "seed": seed}
        tables.append(
            evaluate(score, scenarios).select(
                *(pl.lit(value).alias(name) for name, value in about.items()),
                pl.all(),
                pl.lit(alarms, dtype=pl.Float64).alias("alarms"),
            )
        )
    return pl.concat(tables)


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
    past, new = (
        rows[kept],
        rows[np.arange(cut, rows.height)],
    )  # copies: a slice would keep all rows in memory
    del rows
    encoder = EventEncoder().fit(past)
    return encoder.transform(past), encoder.transform(new), scenario[cut:]


def _simulated(events: int, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Flattened events and their scenarios."""
    simulated, labels = simulate_events(events, seed=seed)
    names = dict(zip(labels["uid"], labels["scenario"], strict=True))
    scenario = np.array([names.get(event["metadata"]["uid"], "") for event in simulated])
    frames = []
    while (
        simulated
    ):  # piece by piece: all of the objects and their frame at once are a quarter gigabyte more
        frames.append(
            flatten(pl.DataFrame(simulated[:PIECE], infer_schema_length=None, strict=False))
        )
        del simulated[:PIECE]
    return pl.concat(frames, how="diagonal_relaxed", rechunk=True), scenario


def masked_model(
    encoded: EncodedEvents, *, seed: int, d_block: int = 64, **network: float
) -> MaskedModel:
    """An untrained model for the columns of `encoded`, with weights from `seed`; `network` goes to
    TabularResNet."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = TabularResNet(
            n_numeric=len(encoded.numeric_names), cardinalities=encoded.cardinalities, d_block=d_block, **network  # type: ignore[arg-type]
        )  # fmt: skip
        return MaskedModel(
            net, numeric_names=encoded.numeric_names, categorical_names=encoded.categorical_names
        )


def network_search(
    encoded: EncodedEvents,
    settings: Sequence[dict[str, float]],
    *,
    seeds: Sequence[int],
    epochs: int,
    device: torch.device | str | None = None,
) -> pl.DataFrame:
    """Pre-train a network with each of the settings and seeds, and measure its loss on the later
    events.

    settings: arguments of TabularResNet. On a CPU the runs go side by side, one process and one
    thread each. Returns a table with the arguments, `parameters`, `seed` and `validation_loss`, the
    least of the epochs."""
    device = default_device() if device is None else torch.device(device)

    def once(setting: dict[str, float], seed: int) -> dict[str, float]:
        with one_thread():
            model = masked_model(encoded, seed=seed, **setting)  # type: ignore[arg-type]
            history = pretrain(
                model, encoded, epochs=epochs, seed=seed, device=device, progress=False
            )
        parameters = sum(p.numel() for p in model.model.parameters())
        return setting | {
            "parameters": parameters, "seed": seed, "validation_loss": min(row["validation_loss"] for row in history)
        }  # fmt: skip

    return pl.DataFrame(
        side_by_side(
            [delayed(once)(setting, seed) for setting in settings for seed in seeds], device
        )
    )


def _scores(
    past: EncodedEvents, new: EncodedEvents, *, epochs: int, seed: int, device: torch.device
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Scores of the new events by every method, and the thresholds of the detectors."""
    recent = rows_of(past, split_by_time(past.time, HELD_OUT)[1])
    scores, thresholds = {}, {}
    for trained in (True, False):
        model = masked_model(past, seed=seed).to(device)
        if trained:
            pretrain(model, past, epochs=epochs, seed=seed, device=device, progress=False)
        together = np.zeros(len(new.time))
        for name, detector in (
            ("Surprise", SurpriseDetector(model)),
            ("kNN, embeddings", KNNDetector(model, seed=seed)),
        ):
            method = name if trained else f"{name}, untrained"
            detector.fit(past)
            scores[method] = detector.decision_function(new)
            thresholds[method] = detector.threshold_
            together += _tails(
                detector.decision_function(recent)[:, None], scores[method][:, None]
            )[:, 0]
        if trained:
            scores["Both together"] = together
    return scores | usual_scores(past, new, seed=seed), thresholds


def evaluate(
    scores: np.ndarray, scenarios: np.ndarray, *, false_alarms: float = 0.001
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
    scenarios = np.asarray(scenarios, dtype=str)
    normal = scenarios == ""
    if normal.all() or not normal.any():
        raise ValueError(
            f"normal and other events are needed, however: {normal.sum()} of {len(normal)} are normal"
        )
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


def usual_scores(
    baseline: EncodedEvents, events: EncodedEvents, *, seed: int
) -> dict[str, np.ndarray]:
    """Scores (rows,) of `events` by usual methods on the encoded columns, fitted on `baseline`.

    - Rarity: each field by itself, as histogram-based scores (HBOS; Goldstein and Dengel 2012) take
      it: -log of the share of its category in the baseline, or its distance from the median; each
      compared with those of the same field in the held-out baseline (`tails`). The score is the sum
      over the three objects with the rarest field: on the streams that settings were chosen on,
      this ranks better than to sum up an object's fields, as SurpriseDetector does.
    - Isolation Forest (Liu et al. 2008) sees each category as how rare it is: splitting the
      encoder's indices would split by chance.
    - For LOF (Breunig et al. 2000) and kNN (Ramaswamy et al. 2000) the squared distance of two
      events is the number of categories in which they differ, plus half the squared difference of
      the quantities; random signs (Johnson and Lindenstrauss; Achlioptas 2003) keep it to about a
      tenth in 256 columns, which makes it affordable.
    """
    past_rarity, rarity = _rarity(baseline, baseline), _rarity(baseline, events)
    scores = {"Rarity": _rarest(baseline, past_rarity, rarity)}
    samples = min(4096, len(past_rarity))
    forest = IsolationForest(n_estimators=200, max_samples=samples, random_state=seed).fit(
        past_rarity
    )
    scores["Isolation Forest"] = -forest.score_samples(rarity)
    rng = np.random.default_rng(seed)
    tables = [
        rng.choice([-1.0, 1.0], (n, DISTANCE_WIDTH)) / math.sqrt(2 * DISTANCE_WIDTH)
        for n in baseline.cardinalities
    ]
    chosen = rng.permutation(len(baseline.time))[:REFERENCES]
    past, new = _signs(baseline, tables)[chosen], _signs(events, tables)
    scores["LOF"] = -LocalOutlierFactor(n_neighbors=20, novelty=True).fit(past).score_samples(new)
    scores["kNN"] = NearestNeighbors(n_neighbors=20).fit(past).kneighbors(new)[0][:, -1]
    return scores


def _rarest(baseline: EncodedEvents, past: np.ndarray, new: np.ndarray) -> np.ndarray:
    n = baseline.numeric.shape[1]
    recent = past[split_by_time(baseline.time, HELD_OUT)[1]]
    far = [np.hstack([np.abs(rows[:, :n]), rows[:, n:]]) for rows in (recent, new)]
    owners = np.array(objects_of(baseline.numeric_names + baseline.categorical_names))
    surprise = _tails(*far)
    objects = np.stack([surprise[:, owners == name].max(1) for name in np.unique(owners)], 1)
    return np.sort(objects, 1)[:, -MOST_SURPRISING:].sum(1)


def _tails(past: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`nbsrc.detection.surprise.tails` of columns: (past rows, columns), (rows, columns) -> (rows,
    columns)"""
    return tails(sorted_columns(torch.from_numpy(past)), torch.from_numpy(values)).numpy()


def _rarity(baseline: EncodedEvents, events: EncodedEvents) -> np.ndarray:
    columns = [events.numeric]
    for i, n in enumerate(baseline.cardinalities):
        counts = np.bincount(baseline.categorical[:, i], minlength=n) + 1
        columns.append(
            -np.log(counts / counts.sum())[events.categorical[:, i], None].astype(np.float32)
        )
    return np.concatenate(columns, 1)


def _signs(events: EncodedEvents, tables: list[np.ndarray]) -> np.ndarray:
    summed = np.zeros((len(events.time), DISTANCE_WIDTH), np.float32)
    for i, table in enumerate(tables):
        summed += table.astype(np.float32)[events.categorical[:, i]]
    return np.concatenate([events.numeric * np.float32(math.sqrt(0.5)), summed], 1)
