"""Figures of what commands have stored in `results/`."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nbsrc.palette import INK
from nbsrc.panels import side_by_side
from nbsrc.plots import COLORS, MARKERS, mean_and_range


def plot_depth_on_tables(tables: Mapping[str, pl.DataFrame]) -> None:
    """Training loss against the number of blocks with and without the skip, a panel a task.

    Tables are those of `nbsrc.tables.depth.depth_experiment`; dashed is the loss on the test part.
    """
    axes = side_by_side(len(tables))
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        for kind in ("plain", "residual"):
            own = table.filter(kind=kind)
            mean_and_range(ax, own, "blocks", "train_loss", kind)
            test = own.group_by("blocks").agg(pl.mean("test_loss")).sort("blocks")
            ax.plot(test["blocks"], test["test_loss"], color=COLORS[kind], linestyle="--")
        blocks = table["blocks"].unique().sort()
        ax.set_xscale("log")
        ax.set_xticks(blocks, [str(number) for number in blocks])
        ax.minorticks_off()
        ax.set(title=title, xlabel="blocks", ylabel="cross-entropy (nats)", ylim=(0, None))
    axes[0].plot([], [], color=INK, linestyle="--", label="on the test rows")
    axes[0].legend()


def plot_comparison(tables: Mapping[str, pl.DataFrame]) -> None:
    """Test error of each method, a dot a seed and a line at the mean, a panel a task, from
    `nbsrc.tables.comparison.comparison`."""
    axes = side_by_side(len(tables), height=2.6)
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        methods = table["method"].unique(maintain_order=True).to_list()
        for row, method in enumerate(reversed(methods)):
            errors = 100 * table.filter(method=method)["error"].to_numpy()
            style: dict[str, Any] = {
                "color": COLORS[method],
                "marker": MARKERS[method],
                "linestyle": "none",
            }
            ax.plot(errors, [row] * len(errors), alpha=0.6, **style)
            ax.plot([errors.mean()] * 2, [row - 0.3, row + 0.3], color=COLORS[method], linewidth=2)
        ax.set_yticks(range(len(methods)), methods[::-1])
        ax.set(
            title=title, xlabel="test error (%)", xlim=(0, None), ylim=(-0.6, len(methods) - 0.4)
        )


def plot_photographs(table: pl.DataFrame) -> None:
    """Training and test error of plain and residual nets after each epoch, mean and range over
    seeds, from `nbsrc.cifar10.curves.curves`: models `plain20`, `resnet56` and the like."""
    axes = side_by_side(2)
    for ax, part in zip(axes, ("train", "test"), strict=True):
        for (model,), own in table.group_by("model", maintain_order=True):
            kind = "plain" if str(model).startswith("plain") else "residual"
            layers = int(str(model).lstrip("abcdefghijklmnopqrstuvwxyz"))
            mean_and_range(
                ax, own, "epoch", f"{part}_error", kind,
                label=f"{kind}, {layers} layers", linestyle="--" if layers > 20 else "-",
            )  # fmt: skip
        title = {"train": "Training photographs", "test": "Test photographs"}[part]
        ax.set(title=title, xlabel="epoch", ylabel="error (share of photographs)", ylim=(0, 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].legend(fontsize=8)
