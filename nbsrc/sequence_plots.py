"""What the chapter on several records draws of sequences: what a block over time reads, how depth,
context and recorded data work out."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from nbsrc import palette
from nbsrc.palette import INK
from nbsrc.panels import side_by_side
from nbsrc.plots import COLORS, MARKERS

# Networks have a colour each; whatever counts is vermilion, whatever pools sets purple.
NETWORK_COLORS = {"Residual TCN": palette.BLUE, "GRU": palette.GREEN, "Transformer": palette.SKY}


def color_of(method: str) -> str:
    """A method's colour in all figures of sequences."""
    if method.startswith("Sets"):
        return palette.PURPLE
    return NETWORK_COLORS.get(method, palette.VERMILION)


def plot_reach(gradients: Mapping[str, np.ndarray]) -> None:
    """How much the last output depends on each moment before: for each named stack (time,), the
    gradient's norm, the last moment last. 0 is not read."""
    _, ax = plt.subplots(figsize=(5, 3))
    colors = (palette.ORANGE, palette.GREEN, palette.BLUE)
    for (name, norms), color in zip(gradients.items(), colors, strict=False):
        back = np.arange(len(norms))[::-1]
        read = norms > 0
        ax.plot(back[read], norms[read] / norms.max(), color=color, label=name)
        ax.axvline(back[read].max(), color=color, linewidth=0.8, linestyle=":")
    ax.set(
        yscale="log", xlabel="moments before the last one", ylabel="gradient, share of the largest"
    )
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")  # as large as other text
    ax.invert_xaxis()
    ax.legend()


def plot_depth(table: pl.DataFrame) -> None:
    """Training and test error against depth, from `nbsrc.sequences.depth`: each seed a marker, the
    median a line."""
    axes = side_by_side(2)
    for ax, part in zip(axes, ("train", "test"), strict=True):
        for kind in ("plain", "residual"):
            own = table.filter(kind=kind)
            ax.plot(
                own["depth"], own[f"{part}_error"], linestyle="none",
                color=COLORS[kind], marker=MARKERS[kind], markersize=4, alpha=0.6,
            )  # fmt: skip
            middle = own.group_by("depth").agg(pl.median(f"{part}_error")).sort("depth")
            ax.plot(middle["depth"], middle[f"{part}_error"], color=COLORS[kind], label=kind)
        ax.set(xscale="log", xlabel="blocks", ylim=(0, 1), ylabel="error (share of digits)")
        ax.set_title({"train": "Training digits", "test": "Test digits"}[part])
        depths = table["depth"].unique().sort()
        ax.set_xticks(depths, [str(depth) for depth in depths])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].legend()


def plot_found(table: pl.DataFrame, budgets: Sequence[int]) -> None:
    """Incidents found by each method at each budget, a panel each: every seed a dot, the mean a
    line. From `nbsrc.sequences.simulated`."""
    methods = table["method"].unique(maintain_order=True).to_list()[::-1]
    axes = side_by_side(len(budgets), height=3.6)
    for ax, budget in zip(axes, budgets, strict=True):
        for y, method in enumerate(methods):
            own = table.filter(method=method, budget=budget)
            _dots(ax, own["found"], y, color_of(method))
        ax.set(xlim=(-0.4, table["incidents"].max() + 0.4), xlabel="incidents found")  # type: ignore[operator]
        ax.set_title(f"{budget} alerts a day")
        ax.set_yticks(range(len(methods)), methods)


def plot_traces(tables: Mapping[str, pl.DataFrame]) -> None:
    """ROC AUC of each method on recorded traces, a panel a data set: every seed a dot, the mean a
    line, and the 90% interval of the first seed. From `nbsrc.sequences.real`."""
    axes = side_by_side(len(tables), height=3.8)
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        methods = table["method"].unique(maintain_order=True).to_list()[::-1]
        for y, method in enumerate(methods):
            own = table.filter(method=method)
            ax.hlines(y, own["low"][0], own["high"][0], color=color_of(method), alpha=0.35, lw=5)
            _dots(ax, own["roc_auc"], y, color_of(method))
        ax.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        ax.set(xlabel="ROC AUC of traces", xlim=(0.4, 1.02), title=name)
        ax.set_yticks(range(len(methods)), methods)


def plot_beside(
    ours: pl.DataFrame, published: Mapping[str, float], pairs: Mapping[str, str]
) -> None:
    """Our ROC AUC and the published F1 of like methods, in two panels, as these are two measures.

    pairs: the published method beside which each of ours stands."""
    axes = side_by_side(2, height=2.4)
    names = list(pairs)[::-1]
    for y, name in enumerate(names):
        _dots(axes[0], ours.filter(method=name)["roc_auc"], y, color_of(name))
        axes[1].plot(published[pairs[name]], y, "o", color=INK, markersize=5)
    room = {"xlim": (0.4, 1.02), "ylim": (-0.5, len(names) - 0.5)}
    axes[0].set(xlabel="ROC AUC, ours", **room)
    axes[1].set(xlabel="F1, published", **room)
    axes[0].set_yticks(range(len(names)), names)
    axes[1].set_yticks(range(len(names)), [pairs[name] for name in names])


def plot_regular(pairs: pl.DataFrame, wanted: str) -> None:
    """Each pair's gap and its deviation, from `nbsrc.sequences.zeek.regularity`; pairs with the
    label `wanted` are marked, addresses of groups are hollow."""
    _, ax = plt.subplots(figsize=(5, 3.2))
    floor = 1e-4  # a clock has no place on a logarithmic axis
    looks = (
        ("to a group of neighbours", pl.col("multicast"), palette.SKY, "o"),
        (
            "to one address",
            ~pl.col("multicast") & (pl.col("labels") != wanted),
            palette.ORANGE,
            "s",
        ),
        ("command and control", pl.col("labels") == wanted, palette.VERMILION, "D"),
    )
    for name, which, color, marker in looks:
        own = pairs.filter(which)
        deviation = own["deviation"].clip(lower_bound=floor)
        ax.plot(own["gap"], deviation, marker, color=color, markersize=6, label=name)
    ax.set(xscale="log", yscale="log", xlabel="median gap (seconds)")
    ax.set_ylabel("deviation (share of the gap)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")  # exponents are too small on a phone
    ax.legend()


def _dots(ax: Axes, values: pl.Series, y: float, color: str) -> None:
    """A dot for each value, and a short line at their mean."""
    ax.plot(values, [y] * len(values), "o", color=color, markersize=4, alpha=0.7, clip_on=False)
    ax.vlines(float(np.mean(values.to_numpy())), y - 0.3, y + 0.3, color=color)
