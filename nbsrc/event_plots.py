"""What the chapters on tables and events draw: an event as a tree, what was published, what the
encoder made of the columns, what networks cost and learn, and how methods find incidents."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.ticker import EngFormatter, PercentFormatter

from nbsrc import palette
from nbsrc.palette import INK
from nbsrc.panels import same_height, side_by_side
from nbsrc.plots import COLORS, MARKERS


class Look(Protocol):
    """A colour and a marker, such as a row of `nbsrc.detection.methods`."""

    @property
    def color(self) -> str: ...

    @property
    def marker(self) -> str: ...


class Tree:
    """A nested event as a tree that unfolds, one line an attribute, objects and arrays closed at
    first."""

    def __init__(self, event: Mapping[str, object], *, name: str) -> None:
        self.event = event
        self.name = name

    def _repr_html_(self) -> str:
        def branch(name: str, value: object) -> str:
            if isinstance(value, Mapping):
                inside, kind = value.items(), "attribute"
            elif isinstance(value, list):
                inside, kind = {f"[{i}]": v for i, v in enumerate(value)}.items(), "element"
            else:
                return (
                    f"<li><code>{html.escape(name)}</code>: {html.escape(json.dumps(value))}</li>"
                )
            lines = "".join(branch(key, below) for key, below in inside)
            about = f"{len(value)} {kind}" + ("s" if len(value) != 1 else "")
            summary = f"<summary><code>{html.escape(name)}</code>: {about}</summary>"
            return f"<li><details>{summary}<ul>{lines}</ul></details></li>"

        lines = "".join(branch(key, value) for key, value in self.event.items())
        summary = f"<summary>{html.escape(self.name)}</summary>"
        return f'<details open class="tree">{summary}<ul>{lines}</ul></details>'

    def __repr__(self) -> str:
        return f"{self.name}\n{json.dumps(self.event, indent=2)}"


def plot_published(
    scores: Mapping[str, Sequence[tuple[float, float] | None]], lower_is_better: Sequence[str]
) -> None:
    """Improvement of ResNet, FT-Transformer, XGBoost and CatBoost over the MLP per data set, from
    (mean, deviation) of each, the MLP's first."""
    _, ax = plt.subplots(figsize=(5, 5.5))
    for which, model in enumerate(("ResNet", "FT-Transformer", "XGBoost", "CatBoost"), 1):
        style: dict[str, Any] = {
            "color": COLORS[model], "marker": MARKERS[model], "markersize": 5, "linestyle": "none",
        }  # fmt: skip
        for row, (name, models) in enumerate(reversed(list(scores.items()))):
            mlp, other = models[0], models[which]
            if mlp is None or other is None:
                continue
            (base, _), (mean, deviation) = mlp, other
            sign = -1 if name in lower_is_better else 1
            gain, spread = 100 * sign * (mean - base) / base, 100 * deviation / base
            ax.errorbar(gain, row + 0.5 - which / 5, xerr=spread, **style)
        ax.plot([], [], label=model, **style)
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(scores)), list(scores)[::-1])
    ax.set(xlabel="improvement over the MLP (% of its score)")
    ax.legend()


def plot_encoded(described: pl.DataFrame, raw: pl.Series, encoded: np.ndarray) -> None:
    """Cardinalities and missing shares of `EventEncoder.describe()`, and one quantity before and
    after encoding."""
    kept = described.filter(decision="kept")
    columns, missing, before, after = side_by_side(2, rows=2, height=5)
    cardinality = kept["cardinality"].drop_nulls().sort(descending=True)
    columns.bar(range(len(cardinality)), cardinality, width=1, color=COLORS["ResNet"])
    columns.set(
        yscale="log", xlabel="categorical column, sorted", ylabel="cardinality", title="Categories"
    )
    share = kept["missing"].sort()
    missing.plot(range(len(share)), share, color=COLORS["ResNet"])
    missing.set(xlabel="column, sorted", ylabel="missing (share of events)", title="Missing values")
    missing.yaxis.set_major_formatter(PercentFormatter(1))
    present = raw.is_not_null().to_numpy()
    before.hist(raw.drop_nulls(), bins=60, color=COLORS["ResNet"])
    before.xaxis.set_major_formatter(EngFormatter())  # 5 G, not 0.5 and "1e10" in a corner
    before.set(
        yscale="log", xlabel=f"{raw.name}, as given", ylabel="events", title="A quantity, before"
    )
    after.hist(encoded[present], bins=60, color=COLORS["ResNet"])
    after.set(xlabel=f"{raw.name}, encoded", ylabel="events", title="and after")


def plot_rarity(
    frequency: np.ndarray,
    scenario: pl.Series,
    normal: np.ndarray,
    look_alike: Mapping[str, np.ndarray],
) -> None:
    """For each scenario a row of its events and one of the normal events that look like them.

    frequency (events,): of each event's rarest value; scenario: null for a normal event; normal and
    the values of look_alike (events,): which events. Lines are medians.
    """
    rows = [("all normal events", normal, COLORS["ResNet"])]
    for name in sorted(scenario.drop_nulls().unique()):
        shown = name.replace("_", " ")
        rows.append((shown, scenario.eq_missing(name).to_numpy(), COLORS["plain"]))
        rows.append(("look-alikes", look_alike[name], COLORS["FT-Transformer"]))
    _, ax = plt.subplots(figsize=(5, 0.28 * len(rows) + 0.8))
    rng = np.random.default_rng(0)
    for row, (_, chosen, color) in enumerate(reversed(rows)):
        values = frequency[chosen]
        jitter = row + rng.uniform(-0.25, 0.25, len(values))
        few = len(values) < 200
        size, alpha = (14, 0.8) if few else (4, 0.25)
        ax.scatter(values, jitter, s=size, alpha=alpha, color=color, linewidths=0, rasterized=True)
        if len(values):
            ax.plot([np.median(values)] * 2, [row - 0.4, row + 0.4], color=INK)
    ax.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)])
    ax.set(xscale="log", xlabel="frequency of the event's rarest value in the past")
    ax.xaxis.set_major_formatter(lambda share, place: f"{share:.6%}".rstrip("0%").rstrip(".") + "%")


def plot_costs(costs: pl.DataFrame) -> None:
    """Seconds of a training step against the number of features, a panel a batch size.

    costs: columns model, batch, features and seconds.
    """
    batches = costs["batch"].unique().sort().to_list()
    axes = side_by_side(len(batches))
    for ax, batch in zip(axes, batches, strict=True):
        for name in ("FT-Transformer", "ResNet"):
            part = costs.filter(model=name, batch=batch).sort("features")
            style = {"color": COLORS[name], "marker": MARKERS[name], "label": name}
            ax.loglog(part["features"], part["seconds"], **style)
        ax.set(title=f"batches of {batch}", xlabel="number of features")
        ax.set_ylabel("seconds per training step")
        ax.set_xticks(sizes := costs["features"].unique().sort(), [str(size) for size in sizes])
        ax.minorticks_off()
    same_height(axes)
    axes[0].legend()


def plot_pretraining(history: Sequence[Mapping[str, float]]) -> None:
    """Training and validation loss per epoch, which differ in kind, from the rows that `pretrain`
    returns."""
    epochs = [row["epoch"] for row in history]
    axes = side_by_side(2)
    for ax, part, color, title in zip(
        axes,
        ("train_loss", "validation_loss"),
        ("training", "test"),
        ("Training", "Later events"),
        strict=True,
    ):
        ax.plot(
            epochs,
            [row[part] for row in history],
            color=COLORS[color],
            marker=MARKERS[color],
            markersize=4,
        )
        ax.set(title=title, xlabel="epoch", xticks=epochs)
    axes[0].set_ylabel("loss, both questions")
    axes[1].set_ylabel("nats per event")


def plot_lengths(table: pl.DataFrame) -> None:
    """The lowest loss of each run against its number of epochs: columns epochs, validation_loss."""
    spread = table.group_by("epochs").agg(
        pl.mean("validation_loss"),
        pl.min("validation_loss").alias("low"),
        pl.max("validation_loss").alias("high"),
    )
    spread = spread.sort("epochs")
    _, ax = plt.subplots(figsize=(5, 3))
    ax.vlines(spread["epochs"], spread["low"], spread["high"], color=COLORS["test"])
    ax.plot(spread["epochs"], spread["validation_loss"], color=COLORS["test"], marker="o")
    ax.set(xscale="log", xlabel="epochs of the run", ylabel="nats per event", ylim=(0, None))
    ax.set_xticks(spread["epochs"], [str(epochs) for epochs in spread["epochs"]])
    ax.minorticks_off()


def plot_map(position: np.ndarray, group: pl.Series, marked: np.ndarray) -> None:
    """Points (events, 2) in the colours of their groups, at most five; crosses where `marked`
    (events,)."""
    _, ax = plt.subplots(figsize=(5, 4.6))
    colors = (palette.BLUE, palette.ORANGE, palette.GREEN, palette.PURPLE, palette.SKY)
    for name, color in zip(sorted(set(group)), colors, strict=False):
        own = (group == name).to_numpy() & ~marked
        ax.scatter(
            position[own, 0],
            position[own, 1],
            s=5,
            color=color,
            alpha=0.6,
            linewidths=0,
            rasterized=True,
        )
        ax.scatter([], [], s=20, color=color, label=name)
    ax.scatter(
        position[marked, 0],
        position[marked, 1],
        s=22,
        color=INK,
        marker="x",
        linewidths=1,
        label="incident",
    )
    ax.set(xticks=[], yticks=[], xlabel="first coordinate", ylabel="second coordinate")
    ax.figure.legend(loc="outside lower center", ncols=2)


def plot_scenarios(found: pl.DataFrame, methods: Mapping[str, Look]) -> None:
    """ROC AUC by scenario, a row each, in the order of the first method's: mean over seeds and
    range, from the tables of `evaluate`."""
    by = found.filter(pl.col("scenario") != "all").group_by("scenario", "method")
    spread = by.agg(
        pl.mean("roc_auc"), pl.min("roc_auc").alias("low"), pl.max("roc_auc").alias("high")
    )
    names = spread.filter(method=next(iter(methods))).sort("roc_auc")["scenario"].to_list()
    _, ax = plt.subplots(figsize=(5, 5.4))
    for i, (method, look) in enumerate(methods.items()):
        values = {
            row["scenario"]: row for row in spread.filter(method=method).iter_rows(named=True)
        }
        y = np.arange(len(names)) + 0.24 - 0.16 * i
        ax.hlines(
            y,
            [values[n]["low"] for n in names],
            [values[n]["high"] for n in names],
            color=look.color,
        )
        means = [values[n]["roc_auc"] for n in names]
        (dots,) = ax.plot(means, y, look.marker, color=look.color, label=method)
        dots.set_markersize(5)
    ax.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.set(xlabel="ROC AUC against normal events", xlim=(None, 1.01))
    ax.figure.legend(loc="outside lower center", ncols=2)


def plot_sets(measured: pl.DataFrame, methods: Mapping[str, Look]) -> None:
    """Average precision by set, a row each, in the order of the first method's.

    measured: columns set, method and average_precision, of which the mean over a set is drawn."""
    mean = measured.group_by("set", "method").agg(pl.mean("average_precision"))
    first = mean.filter(method=next(iter(methods))).sort("average_precision", "set")
    names = first["set"].to_list()
    _, ax = plt.subplots(figsize=(5, 0.28 * len(names) + 1.4))
    for method, look in methods.items():
        own = dict(mean.filter(method=method).select("set", "average_precision").iter_rows())
        there = [(own[name], y) for y, name in enumerate(names) if name in own]
        x, y = zip(*there, strict=True)
        ax.plot(x, y, look.marker, color=look.color, label=method, markersize=5, alpha=0.9)
    ax.hlines(range(len(names)), 0, 1, color=INK, linewidth=0.3, alpha=0.3)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="average precision", xlim=(0, 1.01))
    ax.figure.legend(loc="outside lower center", ncols=2)
