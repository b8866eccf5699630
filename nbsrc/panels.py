"""Figures of several panels, side by side or below each other, as the page has room."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes


def side_by_side(columns: int, *, rows: int = 1, height: float = 3.2) -> list[Axes]:
    """Axes in rows, each with labels of its own: on a phone, the page puts one below the other.

    ``height`` is that of the figure, in inches.
    """
    width = min(3.5 * columns, 8.4)
    parts = plt.figure(figsize=(width, height)).subfigures(rows, columns, squeeze=False)
    return [part.subplots() for part in parts.flat]


def same_height(axes: Sequence[Axes]) -> None:
    """Give the vertical axes of panels the same ends, so that they can be compared."""
    low, high = zip(*(ax.get_ylim() for ax in axes), strict=True)
    for ax in axes:
        ax.set_ylim(min(low), max(high))
