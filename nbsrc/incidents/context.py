"""How unexpected an event is after what its user or address did before: the residual TCN of
`nbsrc.sequences`, on the little of events that windows need, too."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from nbsrc.detection.base import HELD_OUT
from nbsrc.incidents.entities import PAIR, Entities
from nbsrc.sequences.contexts import NETWORKS
from nbsrc.sequences.next_event import WINDOW, NextEventSurprise
from nbsrc.sequences.streams import as_frame, since, streams_of
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.encoder import EventEncoder

STEPS = 200  # of training: some seconds
BEFORE = WINDOW // 2  # events that the network is given at least, where there are so many
FOLLOWED = ("user", "address")
# What is said of whom, with whom, and what was done: a surprise is of such an object as a whole.
OBJECTS = {"user": "source", "host": "source", "address": "source", "place": "source",
           "destination": "target", "act": "what", "failed": "what"}  # fmt: skip
SCORES = {"row": pl.Int64, "time": pl.Int64, "score": pl.Float32, "entity": pl.String,
          "value": pl.String}  # fmt: skip


class ContextSurprise:
    """Scores events by how unexpected they are in the stream of their user, and of their address.

    The network predicts who, from where, with whom and what of an entity's next event, and the time
    to it, from the events before (`NextEventSurprise`). Quantities are left out: they surprise
    mostly by chance, and windows add them up. Of other kinds of events, without users and
    addresses, it follows the first two entities.

    entities: where events tell what they are about. Events are as `Entities.narrow` gives them;
    those without a time are left out. Learned: `encoder_`, `surprise_`, `recent_` (the last past
    events of each stream; none where there was nothing to learn from) and `held_out_`, the scores
    of the past's last part as `scores` gives them: training does not see them."""

    def __init__(self, entities: Entities, *, seed: int = 0, steps: int = STEPS) -> None:
        self.entities = entities
        self.seed = seed
        self.steps = steps
        own = [name for name in entities.entities if name != PAIR]
        self.followed = [name for name in FOLLOWED if name in own] or own[:2]

    def fit(self, past: pl.DataFrame) -> "ContextSurprise":
        """Train on past events. Raises ValueError if none of them has a time."""
        past = _in_time(past)
        if past.is_empty():
            raise ValueError("no past event has a time: without one there is no order")
        self.encoder_ = EventEncoder().fit(self._fields(past))
        encoded = self._encoded(past)
        streams = streams_of(past.select(self.followed), encoded.time)
        self.held_out_, self.recent_ = pl.DataFrame(schema=SCORES), past.clear()
        if not streams.rows or not encoded.cardinalities:  # nobody to follow, or nothing to predict
            return self
        network = NETWORKS["Residual TCN"]
        self.surprise_ = NextEventSurprise(network, seed=self.seed, steps=self.steps)
        self.surprise_.fit(encoded, streams)
        first = int((1 - HELD_OUT) * past.height)
        late = since(streams, first, before=BEFORE)
        scores = self.surprise_.decision_function(encoded, late)
        self.held_out_ = as_frame(late, scores, encoded.time).filter(pl.col("row") >= first)
        last = [rows[-BEFORE:] for rows in streams.rows]
        self.recent_ = past[np.unique(np.concatenate(last))]
        return self

    def scores(self, events: pl.DataFrame) -> pl.DataFrame:
        """The score of each new event in each stream that it is in: `row`, `time` (epoch
        milliseconds), `score` (higher is stranger), `entity`, `value`.

        events: with `row`, their positions."""
        if self.recent_.is_empty():
            return self.held_out_.clear()
        new = _in_time(events)
        columns = self.recent_.columns
        both = pl.concat([self.recent_, new.select(columns)], how="vertical_relaxed")
        encoded = self._encoded(both)
        first = self.recent_.height
        streams = streams_of(both.select(self.followed), encoded.time)
        streams = since(streams, first, before=BEFORE)
        if not streams.rows:
            return self.held_out_.clear()
        scores = self.surprise_.decision_function(encoded, streams)
        frame = as_frame(streams, scores, encoded.time).filter(pl.col("row") >= first)
        return frame.with_columns(new["row"].gather(frame["row"] - first).alias("row"))

    def _fields(self, events: pl.DataFrame) -> pl.DataFrame:
        def named() -> Iterator[pl.Expr]:
            for i, name in enumerate(["act", "failed", *self.entities.roles]):
                yield pl.col(name).alias(f"{OBJECTS.get(name, f'field{i}')}.{i}")

        return events.select("time", *named())

    def _encoded(self, events: pl.DataFrame) -> EncodedEvents:
        return self.encoder_.transform(self._fields(events))


def _in_time(events: pl.DataFrame) -> pl.DataFrame:
    """Events that have a time, in its order; of equal times in one that does not depend on that of
    the rows."""
    timed = events.filter(pl.col("time") != 0)
    return timed.sort("time", *(["row"] if "row" in events.columns else []), maintain_order=True)
