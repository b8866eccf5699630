"""How well detectors find labelled anomalies, in tables and in streams.

python -m benchmarks.detectors --data FOLDER --out results/detectors.json

`FOLDER` holds tables of ADBench (Han et al. 2022, NeurIPS), as its repository has them in
`adbench/datasets/Classical`: NUMBER_NAME.npz with arrays X and y, 1 for an anomaly. scikit-learn's
bundled sets are taken, too, with one class thinned out to be the anomaly. The rows of a table are
shuffled; one half is the past, as it is, anomalies included, the other half is new. The rankers of
`CombinedDetector`, their weights and their number were chosen on the tables at odd places of the
folder's list, the digits 1, 3 and 5, the second wine, and the streams with the seeds 101 to 103;
rows of other sets have `chosen_on` false."""

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.stats import skew
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from nbsrc.detection.base import Ranker
from nbsrc.detection.baselines import Rarity
from nbsrc.detection.experiment import detect_once, evaluate
from nbsrc.events.flatten import flatten
from nbsrc.scoring.scorer import Scorer
from nbsrc.support.command import Parser, run
from nbsrc.support.results import provenance, write_result

SHUFFLES, STREAMS = (0, 1), (51, 52, 53)
EVENTS, EPOCHS = 15_000, 8
Table = tuple[str, bool, np.ndarray, np.ndarray]  # name, chosen on, X, y


def adbench(folder: Path) -> Iterator[Table]:
    """The tables of a folder. Raises ValueError if there is none."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ValueError(f"no table NUMBER_NAME.npz in {folder}")
    for i, file in enumerate(files):
        with np.load(file) as arrays:
            yield file.stem.split("_", 1)[1], i % 2 == 0, arrays["X"], arrays["y"]


def bundled() -> Iterator[Table]:
    """scikit-learn's sets, of which one class is thinned out to be the anomaly."""
    rng = np.random.default_rng(0)
    cancer, wine, digits = load_breast_cancer(), load_wine(), load_digits()
    yield "breast cancer", False, *thinned(cancer.data, cancer.target == 0, 0.1, rng)
    for i in range(3):
        yield f"wine {i}", i == 1, *thinned(wine.data, wine.target == i, 0.08, rng)
    for i in range(6):
        yield f"digits {i}", i % 2 == 1, *thinned(digits.data, digits.target == i, 0.05, rng)


def thinned(
    X: np.ndarray, anomaly: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The rows with so many of the anomalies that they are a share of all; X and y."""
    wanted = max(5, round(share * (~anomaly).sum() / (1 - share)))
    kept = ~anomaly
    kept[rng.choice(np.flatnonzero(anomaly), wanted, replace=False)] = True
    return X[kept], anomaly[kept].astype(int)


def ecod(past: np.ndarray, new: np.ndarray) -> np.ndarray:
    """ECOD (Li et al. 2022, Sec. 3.2), with the past's tails for the new rows."""
    n = len(past) + 1
    ranks = [(np.sort(column), values) for column, values in zip(past.T, new.T, strict=True)]
    left = np.stack([-np.log((np.searchsorted(c, v, "right") + 1) / n) for c, v in ranks], 1)
    right = np.stack([-np.log((n - np.searchsorted(c, v, "left")) / n) for c, v in ranks], 1)
    skewed = np.where(skew(past) < 0, left, right)
    scores: np.ndarray = np.maximum.reduce([left.sum(1), right.sum(1), skewed.sum(1)])
    return scores


def hbos(past: np.ndarray, new: np.ndarray, bins: int = 10) -> np.ndarray:
    """HBOS (Goldstein and Dengel 2012) with equal bins; values outside of them are the rarest."""
    scores = np.zeros(len(new))
    for column, values in zip(past.T, new.T, strict=True):
        counts, edges = np.histogram(column, bins)
        at = (np.searchsorted(edges, values, "right") - 1).clip(0, bins - 1)
        inside = (values >= edges[0]) & (values <= edges[-1])
        share = np.where(inside, counts[at], 0) / counts.max()
        scores -= np.log(share + 0.1)
    return scores


def forest(past: np.ndarray, new: np.ndarray, seed: int) -> np.ndarray:
    scores: np.ndarray = (
        -IsolationForest(n_estimators=200, random_state=seed).fit(past).score_samples(new)
    )
    return scores


def lof(past: np.ndarray, new: np.ndarray) -> np.ndarray:
    scale = StandardScaler().fit(past)
    fitted = LocalOutlierFactor(20, novelty=True).fit(scale.transform(past))
    scores: np.ndarray = -fitted.score_samples(scale.transform(new))
    return scores


def knn(past: np.ndarray, new: np.ndarray) -> np.ndarray:
    scale = StandardScaler().fit(past)
    near = NearestNeighbors(n_neighbors=10).fit(scale.transform(past))
    scores: np.ndarray = near.kneighbors(scale.transform(new))[0][:, -1]
    return scores


def table(name: str, chosen_on: bool, X: np.ndarray, y: np.ndarray, seed: int) -> pl.DataFrame:
    """All methods on one table: the command's way through, and the others on the plain numbers."""
    order = np.random.default_rng(seed).permutation(len(y))
    halves = np.split(order, [len(y) // 2])
    records = [
        flatten(pl.DataFrame(X[half], [f"f{i}" for i in range(X.shape[1])])) for half in halves
    ]
    scorer = Scorer.train(records[0], seed=seed, progress=False)
    past, new = (scorer.encoder.transform(rows) for rows in records)
    raw = X[halves[0]].astype(float), X[halves[1]].astype(float)
    scored: dict[str, np.ndarray] = {
        "Combined": scorer.detector.decision_function(new),
        "Surprise": scorer.detector.surprise_.decision_function(new),
        "Rarity": Rarity().fit(past).decision_function(new),
        "Isolation Forest": forest(*raw, seed),
        "LOF": lof(*raw),
        "kNN": knn(*raw),
        "ECOD": ecod(*raw),
        "HBOS": hbos(*raw),
    }
    anomaly = np.where(y[halves[1]] == 1, "anomaly", "")
    detectors: dict[str, Ranker] = {
        "Combined": scorer.detector,
        "Surprise": scorer.detector.surprise_,
    }
    rows = []
    for method, scores in scored.items():
        limit = getattr(detectors.get(method), "threshold_", None)
        alarms = None if limit is None else float((scores > limit)[anomaly == ""].mean())
        rows.append(row(name, chosen_on, method, seed, evaluate(scores, anomaly), alarms))
    return pl.concat(rows)


def row(
    name: str, chosen_on: bool, method: str, seed: int, found: pl.DataFrame, alarms: float | None
) -> pl.DataFrame:
    """A result's row, from `evaluate`'s."""
    return found.filter(scenario="all").select(
        pl.lit("table").alias("kind"),
        pl.lit(name).alias("set"),
        pl.lit(chosen_on).alias("chosen_on"),
        pl.lit(method).alias("method"),
        pl.lit(seed).alias("seed"),
        "events",
        pl.col("average_precision", "roc_auc", "recall").round(4),
        pl.lit(alarms, dtype=pl.Float64).alias("alarms"),
    )


def stream(seed: int, past: str) -> pl.DataFrame:
    """All methods of `nbsrc.detection.methods` on a simulated stream."""
    found = detect_once(seed, past, events=EVENTS, epochs=EPOCHS, device=torch.device("cpu"))
    return stream_rows(found)


def stream_rows(found: pl.DataFrame) -> pl.DataFrame:
    """`row`'s columns from those of `detect_once`."""
    return found.filter(scenario="all").select(
        pl.lit("stream").alias("kind"),
        pl.format("stream {}, {} past", "seed", "baseline").alias("set"),
        pl.lit(False).alias("chosen_on"),
        "method",
        "seed",
        "events",
        pl.col("average_precision", "roc_auc", "recall").round(4),
        "alarms",
    )


def about(seconds: float) -> dict[str, Any]:
    """What is to be known of the result."""
    command = "python -m benchmarks.detectors --data FOLDER --out results/detectors.json"
    return provenance(command, torch.device("cpu"), ("polars", "scikit-learn")) | {
        "data": "tables of ADBench (Han et al. 2022), scikit-learn's bundled sets, and simulated "
        f"streams of {EVENTS} events",
        "seconds": round(seconds),
    }


def _run(args: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    started, rows = time.perf_counter(), []
    for one in [*adbench(args.data), *bundled()]:
        for seed in SHUFFLES:
            print(one[0], seed, file=sys.stderr, flush=True)
            rows.append(table(*one, seed))
    for seed in STREAMS:
        for past in ("clean", "contaminated"):
            print("stream", seed, past, file=sys.stderr, flush=True)
            rows.append(stream(seed, past))
    write_result(args.out, pl.concat(rows), about(time.perf_counter() - started))


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.detectors", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of ADBench's tables")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    work = partial(_run, parser.parse_args(argv))
    return run("python -m benchmarks.detectors", work, interrupted=lambda: "Nothing written.")


if __name__ == "__main__":
    sys.exit(main())
