"""A figure whose controls the reader can change, without a server: all states are in the page.

The page's figure is the static one of the cell before. `_static/explorer.js` puts the interactive
one in its place; without the script, in print and in a notebook the static one stays.
"""

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple


class Axis(NamedTuple):
    """An axis of a panel: its label, both ends, and the values that are marked.

    On a logarithmic axis the ends and ticks are positive."""

    label: str
    ends: tuple[float, float]
    ticks: Mapping[float, str]
    log: bool = False


class Panel(NamedTuple):
    """One of the drawings side by side."""

    title: str
    x: Axis
    y: Axis


class Line(NamedTuple):
    """A line in the panel of that number. Points that are None, or beyond the panel, are not
    drawn."""

    panel: int
    x: Sequence[float]
    y: Sequence[float | None]
    color: str


class Mark(NamedTuple):
    """A dot in the panel of that number."""

    panel: int
    x: float
    y: float


class State(NamedTuple):
    """What one choice of all controls shows: lines, by their numbers, dots, and a sentence."""

    lines: Sequence[int]
    text: str
    marks: Sequence[Mark] = ()


class Control(NamedTuple):
    """A choice among options: a list, or with `slider` a slider, for options that have an order."""

    label: str
    options: Sequence[str]
    slider: bool = False


class Explorer:
    """Controls for the figure that the cell before has drawn.

    states: for each combination of the controls' options, by their numbers; start: the combination
    that the static figure shows.

    Raises ValueError if a combination is missing or names a line that is not there."""

    def __init__(
        self,
        *,
        controls: Sequence[Control],
        panels: Sequence[Panel],
        lines: Sequence[Line],
        states: Mapping[tuple[int, ...], State],
        start: tuple[int, ...],
    ) -> None:
        wanted = set(product(*(range(len(control.options)) for control in controls)))
        if missing := (wanted | {start}) - set(states):
            raise ValueError(f"a state for each combination is needed, however: none for {missing}")
        for key, state in states.items():
            if not all(0 <= number < len(lines) for number in state.lines):
                raise ValueError(f"state {key} names a line that is not there: {state.lines}")
        self.controls, self.start = list(controls), start
        self.data = {
            "panels": [[panel.title, _axis(panel.x), _axis(panel.y)] for panel in panels],
            "lines": [
                [line.panel, _short(line.x), _short(line.y), line.color] for line in lines
            ],
            "states": {
                ",".join(map(str, key)): [
                    list(state.lines), state.text, [[m.panel, *_short(m[1:])] for m in state.marks],
                ]
                for key, state in states.items()
            },
        }  # fmt: skip

    def _repr_html_(self) -> str:
        data = json.dumps(self.data, separators=(",", ":")).replace("<", "\\u003c")
        digest = hashlib.sha256(data.encode()).hexdigest()[:8]  # ids hold for the whole page
        fields = []
        for number, (control, chosen) in enumerate(zip(self.controls, self.start, strict=True)):
            label, name = html.escape(control.label), f"explorer-{digest}-{number}"
            if control.slider:
                names = html.escape(json.dumps(list(control.options)))
                field = (
                    f'<input id="{name}" type="range" min="0" max="{len(control.options) - 1}" '
                    f'value="{chosen}" data-names="{names}"> <output></output>'
                )
            else:
                options = "".join(
                    f'<option value="{i}"{" selected" if i == chosen else ""}>'
                    f"{html.escape(option)}</option>"
                    for i, option in enumerate(control.options)
                )
                field = f'<select id="{name}">{options}</select>'
            fields.append(f'<span class="field"><label for="{name}">{label}</label> {field}</span>')
        return (
            f'<form class="explorer" hidden>{"".join(fields)}<p aria-live="polite"></p>'
            f'<script type="application/json">{data}</script></form>'
        )

    def __repr__(self) -> str:
        names = ", ".join(control.label for control in self.controls)
        return f"On the book's page, the figure has controls: {names}."


def _axis(axis: Axis) -> list[object]:
    ticks = [[value, name] for value, name in axis.ticks.items()]
    return [axis.label, list(axis.ends), ticks, axis.log]


def _short(values: Sequence[float | None]) -> list[float | None]:
    """Three digits are more than a screen shows."""
    return [None if value is None else float(f"{value:.3g}") for value in values]
