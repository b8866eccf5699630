"""The book's figures with controls: each as a static drawing, and as what the controls change."""

import math
from itertools import product

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nbsrc.explorer import Axis, Control, Explorer, Line, Mark, Panel, State
from nbsrc.panels import side_by_side
from nbsrc.plots import COLORS, two_digits

GRADIENTS = (1e-10, 1e10)
LOSS = (0.0, 3.0)


def plot_stacks(table: pl.DataFrame, *, depth: int, initialization: str) -> None:
    """Gradients by layer and loss by epoch of the four kinds at one depth, mean and range over the
    seeds, from `nbsrc.stacks.stack_experiment`."""
    flow, training = side_by_side(2, height=3.4)
    chosen = table.filter(depth=depth, initialization=initialization)
    for (kind,), own in chosen.group_by("kind", maintain_order=True):
        color = COLORS[str(kind)]
        gradients, losses = (_by_seed(own, name) for name in ("gradients", "losses"))
        layers, epochs = range(1, depth + 1), range(losses.shape[1])
        flow.semilogy(layers, np.exp(np.log(gradients).mean(0)), color=color, label=kind)
        training.plot(epochs, losses.mean(0), color=color)
        for ax, x, values in ((flow, layers, gradients), (training, epochs, losses)):
            ax.fill_between(x, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)
    flow.set(xlabel="layer, from the input", ylabel="norm of the weights' gradient")
    flow.set(title=f"{depth} layers, before training", ylim=GRADIENTS)
    training.set(xlabel="epoch", ylabel="training loss (nats)", title="training", ylim=LOSS)
    flow.legend(fontsize=8)


def _by_seed(rows: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """A column of lists as an array, a row a seed; what is missing is not a number."""
    return np.array(rows[name].to_list(), dtype=np.float64)


def explore_stacks(table: pl.DataFrame, *, start: tuple[int, str]) -> Explorer:
    """The same for one stack at a time, a line a seed, of which depth, initialization,
    normalization and skip can be chosen; `start` is a depth and an initialization."""
    depths = table["depth"].unique().sort().to_list()
    initializations = table["initialization"].unique(maintain_order=True).to_list()
    choices = list(product(range(len(depths)), range(len(initializations)), (0, 1), (0, 1)))
    lines: list[Line] = []
    states: dict[tuple[int, ...], State] = {}
    for choice in choices:
        depth, initialization = depths[choice[0]], initializations[choice[1]]
        kind = ("plain", "residual")[choice[3]] + (" + BatchNorm" if choice[2] else "")
        own = table.filter(depth=depth, initialization=initialization, kind=kind)
        first = len(lines)
        for row in own.iter_rows(named=True):
            epochs = range(len(row["losses"]))
            lines += [
                Line(0, range(1, depth + 1), row["gradients"], COLORS[kind]),
                Line(1, epochs, row["losses"], COLORS[kind]),
            ]
        states[choice] = State(range(first, len(lines)), _stack_in_words(own))
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    ticks = {10.0**n: f"10{str(n).translate(raised)}" for n in range(-10, 11, 5)}
    gradients = Panel(
        "gradient, before training",
        Axis("layer, from the input", (1, depths[-1]), {d: str(d) for d in (1, *depths)}),
        Axis("norm of the weights' gradient", GRADIENTS, ticks, log=True),
    )
    last = len(table["losses"][0]) - 1
    training = Panel(
        "loss in training",
        Axis("epoch", (0, last), {n: str(n) for n in range(last + 1)}),
        Axis("training loss (nats)", LOSS, {n: str(n) for n in range(4)}),
    )
    return Explorer(
        controls=[
            Control("Layers", [str(depth) for depth in depths], slider=True),
            Control("Initialization", initializations),
            Control("Normalization", ["none", "BatchNorm"]),
            Control("Skip", ["no", "yes"]),
        ],
        panels=[gradients, training],
        lines=lines,
        states=states,
        start=(depths.index(start[0]), initializations.index(start[1]), 0, 0),
    )


def _stack_in_words(rows: pl.DataFrame) -> str:
    """What the figure shows of one stack; `rows` are its seeds."""
    gradients, losses = _by_seed(rows, "gradients"), _by_seed(rows, "losses")
    ratio = float(np.exp(np.log(gradients[:, 0] / gradients[:, -1]).mean()))
    kind, epochs, ends = rows["kind"][0], losses.shape[1] - 1, losses[:, -1]
    told = f"{kind[0].upper()}{kind[1:]}, {rows['depth'][0]} layers, "
    told += f"{rows['initialization'][0]} initialization: "
    told += f"the first layer's gradient is {two_digits(ratio)} times the last layer's. "
    if not np.isfinite(ends).all():
        return told + "The loss overflows."
    low, high = two_digits(ends.min()), two_digits(ends.max())
    told += f"In epoch {epochs} the training loss is {two_digits(ends.mean())} nats"
    if low != high:
        told += f" ({low} to {high} over {len(ends)} seeds)"
    return told + (", beyond the figure." if ends.mean() > LOSS[1] else ".")


def plot_alarms(table: pl.DataFrame) -> None:
    """The share of the incidents' events that is found against false alarms a day, a line a method.

    table: `nbsrc.detection.budget.found_by_alarms`, and the columns method and color."""
    (ax,) = side_by_side(1, height=3)
    for (method, color), own in table.group_by("method", "color", maintain_order=True):
        ax.plot(own["alarms"], 100 * own["share"], color=str(color), marker=".", label=str(method))
    ax.set(xscale="log", xlabel="false alarms a day", ylabel="events of incidents found (%)")
    ax.set(ylim=(0, None))
    ax.set_xticks(ticks := table["alarms"].unique().sort(), [f"{rate:g}" for rate in ticks])
    ax.minorticks_off()
    ax.legend(fontsize=8)


def explore_alarms(table: pl.DataFrame, *, events: int) -> Explorer:
    """The same for one method and one number of false alarms a day; `events` of incidents there
    are."""
    rates = table["alarms"].unique().sort().to_list()
    groups = [(str(key[0]), own) for key, own in table.group_by("method", maintain_order=True)]
    lines: list[Line] = []
    states: dict[tuple[int, ...], State] = {}
    for number, (method, own) in enumerate(groups):
        shares = (100 * own["share"]).to_list()
        lines.append(Line(0, own["alarms"].to_list(), shares, own["color"][0]))
        for at, (rate, found) in enumerate(zip(rates, own["found"], strict=True)):
            a_day = f"{rate:g} false {'alarm' if rate == 1 else 'alarms'} a day"
            text = f"{method} at {a_day}: {found} of the {events} events of incidents are found."
            states[number, at] = State([number], text, [Mark(0, rate, shares[at])])
    top = max(10.0, 10 * math.ceil(10 * table["share"].max()))  # type: ignore[operator,arg-type]
    panel = Panel(
        "new events of the stream",
        Axis("false alarms a day", (rates[0], rates[-1]), {r: f"{r:g}" for r in rates}, log=True),
        Axis(
            "events of incidents found (%)",
            (0, top),
            {share: str(share) for share in range(0, int(top) + 1, 10 if top <= 50 else 20)},
        ),
    )
    return Explorer(
        controls=[
            Control("Method", [method for method, _ in groups]),
            Control("False alarms a day", [f"{rate:g}" for rate in rates], slider=True),
        ],
        panels=[panel],
        lines=lines,
        states=states,
        start=(0, len(rates) // 2),
    )
