"""How the book looks: figure style, one colour per method, tables, what made a page."""

import html
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from nbsrc import palette
from nbsrc.palette import INK, PAPER
from nbsrc.panels import same_height, side_by_side

# Every method keeps its colour and marker in the book; detectors have theirs in
# nbsrc.detection.methods.
COLORS = {
    "plain": palette.VERMILION,
    "plain + BatchNorm": palette.PURPLE,
    "residual": palette.BLUE,
    "residual + BatchNorm": palette.SKY,
    "training": palette.GREEN,
    "test": palette.ORANGE,
    "ResNet": palette.BLUE,
    "FT-Transformer": palette.SKY,
    "TabularResNet": palette.BLUE,
    "MLP": palette.VERMILION,
    "linear": palette.ORANGE,
}
COLORS |= dict.fromkeys(("boosted trees", "XGBoost", "CatBoost"), palette.GREEN)
MARKERS = {"plain": "s", "plain + BatchNorm": "^", "residual": "o", "training": "o", "test": "s"}
MARKERS |= {"residual + BatchNorm": "D", "ResNet": "o", "FT-Transformer": "D", "CatBoost": "v"}
DOT = re.compile(r"(?<=[a-z])\.(?=[\w.]{24})")  # where a long name may break
LONG = 60  # characters of a table's cell, for which its column must not be narrow
MARKERS |= {"TabularResNet": "o", "MLP": "s", "boosted trees": "^", "linear": "v", "XGBoost": "^"}


def use_style() -> None:
    """Set the book's figure style for this session: vector figures, plain axes, text that stays
    text."""
    plt.rcParams.update(
        {
            "figure.figsize": (7, 3.2),
            "figure.constrained_layout.use": True,
            "figure.facecolor": PAPER,
            "savefig.facecolor": PAPER,
            "svg.fonttype": "none",
            "svg.hashsalt": "nbsrc",  # equal figures give equal files
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "legend.frameon": False,
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
    except (ImportError, AttributeError):  # not in a notebook
        pass


class Table:
    """A table of numbers for a page: right-aligned, with headers that screen readers can announce.

    formats: for each column that needs one, a format specification such as ".1%" or a function such
    as `two_digits`. Raises ValueError for a frame without rows: a heading over nothing.
    """

    def __init__(
        self, frame: pl.DataFrame, formats: Mapping[str, str | Callable[[float], str]] | None = None
    ) -> None:
        if frame.is_empty():
            raise ValueError(f"a table without rows; its columns: {', '.join(frame.columns)}")
        formats = formats or {}

        def text(name: str, value: object) -> str:
            how = formats.get(name, "")
            if value is None:
                return ""
            return format(value, how) if isinstance(how, str) else how(value)  # type: ignore[arg-type]

        self.header = frame.columns
        self.numeric = [dtype.is_numeric() for dtype in frame.dtypes]
        self.rows = [
            [text(name, value) for name, value in row.items()]
            for row in frame.iter_rows(named=True)
        ]

    def _repr_html_(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            side = [
                "right" if number else "left; min-width: 14rem" if len(c) > LONG else "left"
                for number, c in zip(self.numeric, cells, strict=True)
            ]
            scope = ' scope="col"' if tag == "th" else ""
            return "".join(
                f'<{tag}{scope} style="text-align: {s}">{DOT.sub(".<wbr>", html.escape(c))}</{tag}>'
                for s, c in zip(side, cells, strict=True)
            )

        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.rows)
        head = f"<thead><tr>{line(self.header, 'th')}</tr></thead>"
        return f'<table class="dataframe table">{head}<tbody>{body}</tbody></table>'

    def __repr__(self) -> str:
        lines = [self.header, *self.rows]
        width = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(c.rjust(w) for c, w in zip(line, width, strict=True)) for line in lines
        )


def two_digits(value: float) -> str:
    """A positive number by its first two digits, as one writes it.

    >>> [two_digits(value) for value in (73_120.0, 47.2, 1.0, 0.166, 1.69e-23)]
    ['73,000', '47', '1.0', '0.17', '1.7 × 10⁻²³']
    """
    digits, _, exponent = f"{value:.1e}".partition("e")
    if int(exponent) in range(-3, 6):
        return f"{float(f'{value:.1e}'):,.{max(0, 1 - int(exponent))}f}"
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits} × 10{raised}"


def page_note(started: float, *, device: torch.device, seed: int) -> str:
    """What made a page: device, versions, seed, and the seconds since ``started`` (from
    ``time.perf_counter``)."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        name = f"CPU ({platform.machine()}, {threads} thread{'s' if threads > 1 else ''})"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return (
        f"Made on {name} with {versions}; seed {seed}; {time.perf_counter() - started:.0f} seconds."
    )


def mean_and_range(ax: Axes, table: pl.DataFrame, x: str, y: str, name: str, **line: Any) -> None:
    """The mean over seeds as a line in the colour of ``name``, the range from least to greatest as
    a band; ``line`` sets more of the line, as for Matplotlib's ``plot``."""
    spread = (
        table.group_by(x).agg(pl.mean(y), pl.min(y).alias("low"), pl.max(y).alias("high")).sort(x)
    )
    style: dict[str, Any] = {"color": COLORS[name], "marker": MARKERS[name], "markersize": 4}
    ax.plot(spread[x], spread[y], **{**style, "label": name, **line})
    ax.fill_between(
        spread[x], spread["low"], spread["high"], color=COLORS[name], alpha=0.2, linewidth=0
    )


def plot_degradation(table: pl.DataFrame) -> None:
    """Training and test error against depth, from `nbsrc.degradation.depth_experiment`."""
    axes = side_by_side(2)
    for ax, part in zip(axes, ("train", "test"), strict=True):
        for kind in ("plain", "residual"):
            mean_and_range(ax, table.filter(kind=kind), "depth", f"{part}_error", kind)
        ax.set(
            title={"train": "Training images", "test": "Test images"}[part],
            xlabel="depth (weighted layers)",
            ylabel="error (share of images)",
        )
        ax.set_xticks(table["depth"].unique().sort())
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    same_height(axes)
    axes[0].legend()


def plot_gradient_flow(
    table: pl.DataFrame, *, panels: str = "depth", titles: Sequence[str] = (), value: str = "norm"
) -> None:
    """A gradient's size per layer, mean and range over seeds; one panel a value of ``panels``.

    Tables are those of `nbsrc.gradient_flow.gradient_flow` and
    `nbsrc.degradation.gradient_table`.
    """
    columns = table[panels].unique().sort()
    titles = titles or [f"{depth} layers" for depth in columns]
    axes = side_by_side(len(columns), height=3.6)
    for ax, column, title in zip(axes, columns, titles, strict=True):
        for kind in table["kind"].unique(maintain_order=True):
            own = table.filter(pl.col("kind") == kind, pl.col(panels) == column)
            size = pl.col(value)
            own = own.group_by("layer").agg(
                size.log().mean().exp(), size.min().alias("low"), size.max().alias("high")
            )
            own = own.sort("layer")
            ax.semilogy(own["layer"], own[value], color=COLORS[kind], label=kind)
            ax.fill_between(
                own["layer"], own["low"], own["high"], color=COLORS[kind], alpha=0.2, linewidth=0
            )
        ax.set(title=title, xlabel="layer, from the input")
        ax.set_ylabel(
            "norm of the weights' gradient" if value == "norm" else "gradient / weights, norms"
        )
    same_height(axes)
    axes[0].legend(fontsize=8)


def plot_similarity(table: pl.DataFrame) -> None:
    """Similarity of gradients against depth, from `nbsrc.shattered.gradient_similarity`."""
    _, ax = plt.subplots(figsize=(5, 3.2))
    for kind in ("plain", "residual"):
        mean_and_range(ax, table.filter(kind=kind), "depth", "cosine", kind)
    ax.axhline(0, color=INK, linewidth=0.8, linestyle=":")
    ax.set(xlabel="depth (weighted layers)", ylabel="cosine of the two gradients")
    ax.set_xticks(table["depth"].unique().sort())
    ax.legend()


def plot_lesions(table: pl.DataFrame) -> None:
    """Error after one block is taken out, by block, and after several, by their number."""
    axes = side_by_side(2)
    for (depth, kind), net in table.group_by("depth", "kind", maintain_order=True):
        color = COLORS[str(kind)]
        style: dict[str, Any] = {"color": color, "marker": MARKERS[str(kind)], "markersize": 4}
        style |= {"label": f"{kind}, {depth} layers", "linestyle": "--" if depth > 20 else "-"}
        for ax, lesions in zip(axes, (["one out"], ["none", "several out"]), strict=True):
            own = net.filter(pl.col("lesion").is_in(lesions)).group_by("number").agg(
                pl.mean("error"), pl.min("error").alias("low"), pl.max("error").alias("high")
            ).sort("number")  # fmt: skip
            ax.plot(own["number"], own["error"], **style)
            low, high = own["low"], own["high"]
            ax.fill_between(own["number"], low, high, color=color, alpha=0.15, linewidth=0)
    axes[0].set(title="One block out", xlabel="which block (1 is next to the input)")
    axes[1].set(title="Several blocks out", xlabel="how many blocks")
    for ax in axes:
        ax.set_ylabel("error (share of test images)")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    same_height(axes)
    axes[1].legend(fontsize=8)


def show_signed(ax: Axes, values: Tensor, largest: float) -> None:
    """A small map (height, width): white at zero, blue above, orange below."""
    shades = LinearSegmentedColormap.from_list("signed", [palette.ORANGE, PAPER, palette.BLUE])
    ax.imshow(values.detach().numpy(), cmap=shades, vmin=-largest, vmax=largest)
    ax.set_axis_off()


def plot_convolution(image: Tensor, kernel: Tensor, channel: Tensor) -> None:
    """An image, the kernel that slides over it, and what comes out, each (height, width)."""
    _, axes = plt.subplots(1, 3, figsize=(5, 1.8))
    for ax, values, title in zip(
        axes, (image, kernel, channel), ("image", "kernel", "channel"), strict=True
    ):
        show_signed(ax, values, values.abs().max().item())
        ax.set_title(title)
    for (row, column), weight in np.ndenumerate(kernel.numpy()):
        color = "#ffffff" if weight > 0 else "#1a1a1a"
        axes[1].text(column, row, f"{weight:g}", ha="center", va="center", color=color)


def plot_channels(rows: Sequence[tuple[str, Tensor]]) -> None:
    """One row of small maps for each (name, maps), scaled by the row's largest value.

    Shape of the maps: (number, height, width), with as many in each row but the image's one.
    """
    columns = max(len(maps) for _, maps in rows)
    width = 4.8  # its names are still readable on a phone
    size = width, (width / columns + 0.2) * len(rows)
    # Without the usual layout, in which a long name would push the maps apart.
    _, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="none")
    plt.subplots_adjust(0.01, 0.01, 0.99, 0.94, wspace=0.1, hspace=0.5)
    for row, (name, maps) in zip(axes, rows, strict=True):
        for ax in row:
            ax.set_axis_off()
        for ax, one in zip(row, maps, strict=False):
            show_signed(ax, one, maps.abs().max().item())
        row[0].set_title(name, loc="left")


def plot_learning_curves(history: Sequence[Mapping[str, float]]) -> None:
    """Loss and accuracy per epoch, on training and test images, from rows of a training loop."""
    epochs = [row["epoch"] for row in history]
    axes = side_by_side(2)
    for ax, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for part in ("training", "test"):
            values = [row[f"{part}_{quantity}"] for row in history]
            ax.plot(
                epochs, values, color=COLORS[part], marker=MARKERS[part], markersize=4, label=part
            )
        ax.set(xlabel="epoch", xticks=epochs if len(epochs) < 12 else epochs[:: len(epochs) // 6])
    axes[0].set_ylabel("cross-entropy (nats)")
    axes[1].set_ylabel("accuracy (share of images)")
    axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].legend()


def plot_confusion(labels: Tensor, predicted: Tensor, names: Sequence[str]) -> None:
    """How often each class (row) is taken for each class (column)."""
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (labels.numpy(), predicted.numpy()), 1)
    _, ax = plt.subplots(figsize=(5, 4.6))
    # The square root keeps single mistakes visible beside hundreds of hits.
    shade = np.sqrt(counts / counts.max())
    ax.imshow(shade, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "#ffffff" if shade[row, column] > 0.6 else "#1a1a1a"
            ax.text(column, row, str(count), ha="center", va="center", color=color)
    ax.set_xticks(range(len(names)), names, rotation=45 if max(map(len, names)) > 2 else 0)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def plot_predictions(
    images: Tensor, labels: Tensor, logits: Tensor, names: Sequence[str], *, columns: int = 4
) -> None:
    """The most confident right answers, and the most confident wrong ones, two rows of each."""
    confidence, predicted = logits.softmax(1).max(1)
    right = predicted == labels
    surest = torch.argsort(confidence, descending=True)
    parts = plt.figure(figsize=(7, 2.9)).subfigures(1, 2, squeeze=False)
    for part, chosen, title, color in (
        (parts[0, 0], right, "Right answers", COLORS["residual"]),
        (parts[0, 1], ~right, "Wrong answers", COLORS["plain"]),
    ):
        part.suptitle(title, fontsize=10, color=color)
        for ax in part.subplots(2, columns).flat:
            ax.set_axis_off()
        shown = surest[chosen[surest]][: 2 * columns].tolist()
        for ax, i in zip(part.axes, shown, strict=False):
            image = images[i].float()
            image = (image - image.min()) / (image.max() - image.min())
            ax.imshow(
                image.permute(1, 2, 0).squeeze(-1).numpy(),
                cmap="gray_r" if len(image) == 1 else None,
            )
            told = names[int(predicted[i])] + ("" if right[i] else f", not {names[int(labels[i])]}")
            ax.set_title(f"{told}\n{confidence[i]:.0%}", fontsize=8, color=color)
