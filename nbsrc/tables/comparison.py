"""TabularResNet, an MLP, gradient-boosted trees and a linear model on one table, tuned alike."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from joblib import delayed
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor, nn

from nbsrc.tables.depth import BATCH, OnOneTensor
from nbsrc.tables.tasks import Part, Task
from nbsrc.tabular.network import TabularResNet
from nbsrc.training import one_cycle, one_thread, predict, side_by_side, train_epochs

TRIALS = 8
STEPS = 200  # of a net's training

Predict = Callable[[Tensor], np.ndarray]  # (rows, columns) -> (rows, classes), probabilities
Settings = dict[str, float]


class Method(NamedTuple):
    """How to draw settings, and how to fit with them."""

    draw: Callable[[np.random.Generator], Settings]
    fit: Callable[[Task, Settings, int], Predict]


def comparison(
    make: Callable[[int], Task], *, seeds: Sequence[int], trials: int = TRIALS
) -> pl.DataFrame:
    """Tune and measure every method of `METHODS` on the tasks `make(seed)`, which have numeric
    columns only.

    With each seed a method is fitted with `trials` random settings, and the one with the lowest
    cross-entropy on the validation part is measured on the test part.

    Returns one row a method and seed: method, seed, error (share of wrong answers) and loss (nats)
    on the test part, cpu_seconds of all its trials, and the chosen settings as text."""
    order = [(name, seed) for name in METHODS for seed in seeds]
    calls = [delayed(tuned)(name, make(seed), seed, trials) for name, seed in order]
    return pl.DataFrame(side_by_side(calls, torch.device("cpu")))


def tuned(name: str, task: Task, seed: int, trials: int) -> dict[str, Any]:
    """One row of `comparison`."""
    method, rng = METHODS[name], np.random.default_rng(seed)
    started = time.process_time()
    best, chosen, fitted = math.inf, Settings(), None
    with one_thread():
        for _ in range(trials):
            settings = method.draw(rng)
            predictor = method.fit(task, settings, seed)
            loss = measured(predictor, task.validation, task.classes)["loss"]
            if loss < best:
                best, chosen, fitted = loss, settings, predictor
        if fitted is None:
            raise ValueError(f"{name}: no setting of {trials} gave a finite loss")
        seconds = time.process_time() - started
        test = measured(fitted, task.test, task.classes)
    text = ", ".join(f"{key} {value:.3g}" for key, value in chosen.items())
    return {
        "method": name, "seed": seed, **test, "cpu_seconds": round(seconds, 1), "settings": text,
    }  # fmt: skip


def measured(predictor: Predict, part: Part, classes: int) -> dict[str, float]:
    """Share of wrong answers, and cross-entropy in nats."""
    probabilities = predictor(part.inputs)
    targets = part.targets.numpy()
    return {
        "error": float((probabilities.argmax(1) != targets).mean()),
        "loss": float(log_loss(targets, probabilities, labels=list(range(classes)))),
    }


class MLP(nn.Sequential):
    """Linear, ReLU and dropout, `layers` times, and a linear layer.

    Shape: (rows, d_in) -> (rows, d_out)"""

    def __init__(self, d_in: int, d_out: int, *, layers: int, width: int, dropout: float) -> None:
        parts: list[nn.Module] = []
        for d in [d_in] + [width] * (layers - 1):
            parts += [nn.Linear(d, width), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*parts, nn.Linear(width, d_out))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _net_settings(rng: np.random.Generator) -> Settings:
    return {
        "depth": int(rng.integers(1, 5)),
        "width": 2 ** int(rng.integers(5, 9)),
        "dropout": rng.uniform(0, 0.5),
        "lr": _log_uniform(rng, 3e-4, 1e-2),
        "weight_decay": _log_uniform(rng, 1e-6, 1e-1),
    }


def _fit_net(kind: str, task: Task, settings: Settings, seed: int) -> Predict:
    torch.manual_seed(seed)
    depth, width, dropout = int(settings["depth"]), int(settings["width"]), settings["dropout"]
    net: nn.Module
    if kind == "MLP":
        net = MLP(task.n_numeric, task.classes, layers=depth, width=width, dropout=dropout)
    else:
        net = OnOneTensor(
            TabularResNet(
                n_numeric=task.n_numeric, cardinalities=(), d_out=task.classes, d_block=width,
                n_blocks=depth, dropout1=dropout,
            )
        )  # fmt: skip
    lr = settings["lr"]
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=settings["weight_decay"])
    batches = math.ceil(len(task.train.targets) / BATCH)
    for _ in train_epochs(
        net, optimizer, *task.train, epochs=math.ceil(STEPS / batches), batch_size=BATCH, lr=lr,
        schedule=one_cycle, seed=seed, device=torch.device("cpu"), progress=False,
    ):  # fmt: skip
        pass
    return lambda inputs: predict(net, inputs, device="cpu").double().softmax(1).numpy()


def _tree_settings(rng: np.random.Generator) -> Settings:
    return {
        "max_iter": int(_log_uniform(rng, 20, 200)),
        "learning_rate": _log_uniform(rng, 0.02, 0.5),
        "max_leaf_nodes": int(_log_uniform(rng, 4, 64)),
        "min_samples_leaf": int(_log_uniform(rng, 3, 40)),
        "l2_regularization": _log_uniform(rng, 1e-6, 10),
        "max_features": rng.uniform(0.3, 1),
    }


def _fit_sklearn(make: Callable[..., Any], task: Task, settings: Settings, seed: int) -> Predict:
    model = make(**settings, random_state=seed)
    model.fit(task.train.inputs.numpy(), task.train.targets.numpy())
    return lambda inputs: np.asarray(model.predict_proba(inputs.numpy()))


METHODS = {
    "TabularResNet": Method(_net_settings, partial(_fit_net, "ResNet")),
    "MLP": Method(_net_settings, partial(_fit_net, "MLP")),
    "boosted trees": Method(
        _tree_settings,
        partial(_fit_sklearn, partial(HistGradientBoostingClassifier, early_stopping=False)),
    ),
    "linear": Method(
        lambda rng: {"C": _log_uniform(rng, 1e-4, 1e2)},
        partial(_fit_sklearn, partial(LogisticRegression, max_iter=1000)),
    ),
}
