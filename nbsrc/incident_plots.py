"""What the chapter on several records draws: beats, what is usual and what is not, incidents found,
and one incident from its first event to its alert."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.ticker import PercentFormatter

from nbsrc import palette
from nbsrc.palette import INK
from nbsrc.panels import side_by_side

# Every way to alerts keeps its colour and marker.
LOOKS = {
    "single events": (palette.BLUE, "o"),
    "single events, by entity": (palette.SKY, "D"),
    "rules": (palette.VERMILION, "s"),
    "windows": (palette.ORANGE, "^"),
    "events in context": (palette.PURPLE, "v"),
    "together, without rules": (INK, "X"),
    "together": (palette.GREEN, "P"),
}


def plot_gaps(gaps: Mapping[str, np.ndarray]) -> None:
    """The minutes between successive events, a panel a pair, in the order in which they came; the
    line is the median."""
    every = np.concatenate([minutes[minutes > 0] for minutes in gaps.values()])
    limits = every.min() / 1.5, every.max() * 1.5
    axes = side_by_side(len(gaps), height=2.6)
    for ax, (name, minutes) in zip(axes, gaps.items(), strict=True):
        ax.plot(np.arange(1, len(minutes) + 1), minutes, "o", color=palette.VERMILION, markersize=4)
        ax.axhline(float(np.median(minutes)), color=INK, linewidth=0.8, linestyle=":")
        ax.set(title=name, xlabel="gap", ylabel="minutes", yscale="log")
        ax.set_ylim(*limits)


def plot_usual(past: np.ndarray, amount: float, *, what: str) -> None:
    """How many windows of the past had each amount, on a logarithmic axis, and where a new window
    stands."""
    _, ax = plt.subplots(figsize=(5, 3))
    values, counts = np.unique(past, return_counts=True)
    ax.vlines(values, 0.5, counts, color=palette.ORANGE, linewidth=3)
    ax.axvline(amount, color=INK, linestyle=":", linewidth=1.2)
    ax.annotate(
        "the new window", (amount, counts.max()), textcoords="offset points", xytext=(-6, 0),
        ha="right", va="top",
    )  # fmt: skip
    ax.set(yscale="log", ylim=(0.5, None), xlabel=what, ylabel="windows of the past")
    ax.yaxis.set_major_formatter("{x:,g}")  # exponents are too small on a phone


def plot_found(found: pl.DataFrame, budgets: Sequence[int]) -> None:
    """The share of incidents found against the alerts a day, a line a method: mean over streams,
    and the range of a bootstrap over incidents.

    found: columns `method`, `budget`, `share`, `low` and `high`."""
    _, ax = plt.subplots(figsize=(5, 3.6))
    for i, (method, (color, marker)) in enumerate(LOOKS.items()):
        own = found.filter(method=method).sort("budget")
        if own.is_empty():
            continue
        x = np.arange(own.height) + 0.06 * (i - len(LOOKS) / 2)
        ax.vlines(x, own["low"], own["high"], color=color)
        ax.plot(x, own["share"], color=color, marker=marker, label=method)
    ax.set_xticks(range(len(budgets)), [str(budget) for budget in budgets])
    ax.set(xlabel="alerts a day", ylabel="incidents found", ylim=(0, 1.02))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.figure.legend(loc="outside lower center", ncols=2)


def plot_kinds(found: pl.DataFrame) -> None:
    """The share found of each kind of incident, a row a kind, a dot a method.

    found: columns `scenario`, `method` and `share`."""
    order = found.group_by("scenario").agg(pl.mean("share")).sort("share", "scenario")
    names = order["scenario"].to_list()
    _, ax = plt.subplots(figsize=(5, 0.34 * len(names) + 1.4))
    methods = [method for method in LOOKS if method in set(found["method"])]
    for i, method in enumerate(methods):
        color, marker = LOOKS[method]
        shares = dict(found.filter(method=method).select("scenario", "share").iter_rows())
        y = np.arange(len(names)) + 0.3 - 0.6 * i / max(len(methods) - 1, 1)
        ax.plot([shares[n] for n in names], y, marker, color=color, label=method, markersize=5)
    ax.hlines(np.arange(len(names) - 1) + 0.5, 0, 1, color=INK, linewidth=0.3)
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.set(xlabel="found in this share of the streams", xlim=(-0.03, 1.03))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.figure.legend(loc="outside lower center", ncols=2)


def plot_story(
    events: pl.DataFrame, *, lane: str, raised: datetime, others: str = "other events"
) -> None:
    """One incident over time: the events of its entity, a lane for each value of `lane`, and the
    moment of the alert.

    events: columns `time` (UTC), `lane`, `failed`, and `incident`, whether it belongs to the
    incident."""
    lanes = events.sort("time")[lane].unique(maintain_order=True).to_list()
    first: datetime = events.filter("incident")["time"].min()  # type: ignore[assignment]
    minutes = (pl.col("time") - first).dt.total_seconds() / 60
    _, ax = plt.subplots(figsize=(5, 0.26 * len(lanes) + 1.6))
    for mine, color, label in ((False, palette.SKY, others), (True, palette.VERMILION, "incident")):
        for failed, marker in ((False, "o"), (True, "x")):
            own = events.filter(incident=mine, failed=failed)
            if own.height:
                y = [lanes.index(name) for name in own[lane]]
                told = f"{label}, {'failed' if failed else 'not failed'}"
                x = own.select(minutes).to_series()
                ax.plot(x, y, marker, color=color, label=told, markersize=6)
    moment = (raised - first).total_seconds() / 60
    ax.axvline(moment, color=INK, linestyle=":", linewidth=1.2, label="the alert can be raised")
    ax.set_yticks(range(len(lanes)), [str(name)[:24] for name in lanes])
    ax.invert_yaxis()
    ax.set(xlabel="minutes since the incident's first event")
    ax.figure.legend(loc="outside lower center", ncols=2)
