"""What becomes of one batch of events, whichever process scores it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from nbsrc.events.flatten import flattened
from nbsrc.scoring.types import unread

if TYPE_CHECKING:
    from nbsrc.scoring.scorer import Scorer

Batch = tuple[pl.DataFrame, pl.DataFrame]  # events and rejects
SHOWN = 10  # most anomalous events


@dataclass
class Scored:
    """A batch's scores, and what is to be told of it.

    scores: the rows of `Scorer.score`; `best` those with the highest scores, each with its reasons
    in words. columns: those of the flattened events; `written`: how some are written that have
    another name in the files; `lost`: in whose values the model's types make no sense, and
    `understood` in whose they do. notes: what was done to the files."""

    rejects: pl.DataFrame = field(default_factory=pl.DataFrame)
    scores: pl.DataFrame = field(default_factory=pl.DataFrame)
    best: pl.DataFrame = field(default_factory=pl.DataFrame)
    columns: set[str] = field(default_factory=set)
    written: dict[str, str] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    understood: set[str] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)


def score_batch(scorer: "Scorer", batch: Batch) -> Scored:
    """Score the events of a batch; rows are counted from its first event."""
    events, rejects = batch
    if not events.height:
        return Scored(rejects)
    rows, written = flattened(events)
    lost, understood = unread(rows, scorer.columns)
    scores = scorer.score_rows(rows)
    best = highest(scores)
    best = best.with_columns(scorer.explain(rows[best["row"]], best["reasons"]))
    return Scored(rejects, scores, best, set(rows.columns), written, lost, understood)


def highest(scores: pl.DataFrame) -> pl.DataFrame:
    """The rows with the highest scores, highest first."""
    return scores.sort("score", "row", descending=[True, False]).head(SHOWN)
