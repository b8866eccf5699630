"""How well methods tell abnormal traces from normal ones; networks have equal time to learn."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.metrics import roc_auc_score

from nbsrc.sequences.contexts import NETWORKS
from nbsrc.sequences.counts import Lengths, NearestCounts
from nbsrc.sequences.labelled import Labelled
from nbsrc.sequences.ngrams import NGramModel, UnseenNGrams
from nbsrc.sequences.symbols import NetworkSurprise

LENGTHS = (1, 2, 3, 4, 6, 8)  # of the n-grams
MODEL = 6  # symbols of the n-gram model
SAMPLES = 200  # of the bootstrap


def trace_experiment(
    load: Callable[[int], Labelled], *, seeds: Sequence[int], seconds: float
) -> pl.DataFrame:
    """Fit every method on normal traces and measure its scores of the others.

    load: the traces for a seed, which is also the networks'. seconds: of one CPU core, for each
    network to train. Methods without chance are measured once where every seed has the same traces.

    Returns one row a method and seed: `method`, `seed`, `roc_auc`, `low` and `high` (90% interval,
    bootstrap over attacks and over normal traces), `learning` (CPU seconds), `scoring` (CPU seconds
    for a million symbols), `steps` (of a network)."""
    torch.optim.AdamW([torch.zeros(1)])  # the first one takes seconds, which are no time to learn
    rows: list[dict[str, object]] = []
    data = None
    for seed in seeds:
        before, data = data, load(seed)
        same = data is before
        symbols = sum(map(len, data.new))
        for name, method in _methods(data, seed=seed, seconds=seconds):
            if same and name not in NETWORKS:
                continue
            started = time.process_time()
            method.fit(data.past)
            learned = time.process_time()
            scores = method.decision_function(data.new)
            scored = time.process_time()
            low, high = interval(scores, data.group, seed=seed)
            rows.append({
                "method": name,
                "seed": seed,
                "roc_auc": float(roc_auc_score(data.group != "", scores)),
                "low": low,
                "high": high,
                "learning": round(learned - started, 2),
                "scoring": round((scored - learned) / symbols * 1e6, 2),
                "steps": getattr(method, "steps_", None),
            })  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"steps": pl.Int64})


def _methods(data: Labelled, *, seed: int, seconds: float) -> Iterator[tuple[str, Any]]:
    yield "Lengths", Lengths()
    yield "Nearest counts", NearestCounts(n_symbols=data.n_symbols)
    for n in LENGTHS:
        yield f"Unseen {n}-grams", UnseenNGrams(n)
    yield f"{MODEL}-gram model", NGramModel(MODEL, n_symbols=data.n_symbols)
    for name, network in NETWORKS.items():
        yield (name, NetworkSurprise(network, n_symbols=data.n_symbols, seed=seed, seconds=seconds))


def interval(scores: np.ndarray, group: np.ndarray, *, seed: int) -> tuple[float, float]:
    """The ROC AUC's 90% interval (Efron 1979), attacks drawn as wholes: the traces of one attack
    are no independent evidence.

    scores (traces,); group (traces,), text: "" for a normal trace, else its attack."""
    rng = np.random.default_rng(seed)
    normal = np.sort(scores[group == ""])
    names, which = np.unique(group[group != ""], return_inverse=True)
    # An abnormal trace's share of the normal ones below it: the AUC is the mean of these.
    own = scores[group != ""]
    places = np.searchsorted(normal, own, "left"), np.searchsorted(normal, own, "right")
    aucs = []
    for _ in range(SAMPLES):
        drawn = np.bincount(rng.integers(len(normal), size=len(normal)), minlength=len(normal))
        below = np.concatenate([[0], np.cumsum(drawn)]) / len(normal)
        share = (below[places[0]] + below[places[1]]) / 2
        weight = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[which]
        aucs.append(np.average(share, weights=weight))
    low, high = np.quantile(aucs, (0.05, 0.95))
    return float(low), float(high)
