"""Labelled traces: normal ones to learn from, and normal and other ones to score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Trace = np.ndarray


class Labelled(NamedTuple):
    """Traces whose symbols are 0 to `n_symbols` - 1 where `past` has them, and `n_symbols` where it
    does not.

    past: normal traces to learn from. new: others, to be scored. group (new,), text: "" for a
    normal one, else which attack or fault it is a part of."""

    past: list[Trace]
    new: list[Trace]
    group: np.ndarray
    n_symbols: int


def labelled(
    past: Sequence[Trace], normal: Sequence[Trace], abnormal: Sequence[Trace], group: Sequence[str]
) -> Labelled:
    """Traces of any numbers as `Labelled` ones; `group` names that of each abnormal trace."""
    known = np.unique(np.concatenate(past))

    def renamed(trace: Trace) -> Trace:
        place = np.searchsorted(known, trace).clip(max=len(known) - 1)
        own: Trace = np.where(known[place] == trace, place, len(known)).astype(np.int64)
        return own

    new = [renamed(trace) for trace in [*normal, *abnormal]]
    names = np.array([""] * len(normal) + list(group))
    return Labelled([renamed(trace) for trace in past], new, names, len(known))
