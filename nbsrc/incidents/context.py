"""How unexpected an event is after what its user or address did before: the residual TCN of
`nbsrc.sequences`, on the little of events that windows need, too."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
from torch import Tensor

from nbsrc.detection.base import HELD_OUT
from nbsrc.incidents.entities import PAIR, Entities
from nbsrc.sequences.contexts import NETWORKS
from nbsrc.sequences.next_event import WINDOW, NextEventSurprise
from nbsrc.sequences.streams import as_frame, since, streams_of
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.encoder import EventEncoder

STEPS = 200  # of training: some seconds
AT_ONCE = 50_000  # events whose texts are encoded together
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
    those without a time are left out. Learned: `encoder_`, `surprise_` (None where there was
    nothing to learn from), `recent_` (the last past events of each stream; then none, too) and
    `held_out_`, the scores of the past's last part as `scores` gives them: training does not see
    them."""

    surprise_: NextEventSurprise | None

    def __init__(self, entities: Entities, *, seed: int = 0, steps: int = STEPS) -> None:
        self.entities = entities
        self.seed = seed
        self.steps = steps
        own = [name for name in entities.entities if name != PAIR]
        self.followed = [name for name in FOLLOWED if name in own] or own[:2]

    def fit(self, past: pl.DataFrame) -> "ContextSurprise":
        """Train on past events. Raises ValueError if none of them has a time."""
        past = self._in_time(past)
        if past.is_empty():
            raise ValueError("no past event has a time: without one there is no order")
        self.encoder_ = EventEncoder().fit(self._fields(past), whole_cycles=True)
        encoded = self._encoded(past)
        streams = streams_of(past.select(self.followed), encoded.time)
        past = past.drop("row", strict=False)
        self.held_out_, self.recent_ = pl.DataFrame(schema=SCORES), past.clear()
        self.surprise_ = None
        if not streams.rows or not encoded.cardinalities:  # nobody to follow, or nothing to predict
            return self
        self.surprise_ = self._untrained().fit(encoded, streams)
        first = int((1 - HELD_OUT) * past.height)
        late = since(streams, first, before=BEFORE)
        scores = self.surprise_.decision_function(encoded, late)
        self.held_out_ = as_frame(late, scores, encoded.time).filter(pl.col("row") >= first)
        last = [rows[-BEFORE:] for rows in streams.rows]
        self.recent_ = past[np.unique(np.concatenate(last))]
        return self

    def restore(
        self, encoder: EventEncoder, recent: pl.DataFrame, network: dict[str, Tensor]
    ) -> "ContextSurprise":
        """As fitted, but for `held_out_`, from what was learned: `encoder_`, `recent_`, and the
        `tensors` of `surprise_`, none where it is None. Raises KeyError or RuntimeError if they do
        not belong together."""
        self.encoder_, self.recent_, self.surprise_ = encoder, recent, None
        if network:
            self.surprise_ = self._untrained().restore(encoder.transform(pl.DataFrame()), network)
        return self

    def _untrained(self) -> NextEventSurprise:
        return NextEventSurprise(NETWORKS["Residual TCN"], seed=self.seed, steps=self.steps)

    def scores(self, events: pl.DataFrame) -> pl.DataFrame:
        """The score of each new event in each stream that it is in: `row`, `time` (epoch
        milliseconds), `score` (higher is stranger), `entity`, `value`.

        events: with `row`, their positions."""
        if self.surprise_ is None:
            return pl.DataFrame(schema=SCORES)
        new = self._in_time(events)
        both = pl.concat([self.recent_, new.select(self.recent_.columns)])
        encoded = self._encoded(both)
        first = self.recent_.height
        streams = streams_of(both.select(self.followed), encoded.time)
        streams = since(streams, first, before=BEFORE)
        if not streams.rows:
            return pl.DataFrame(schema=SCORES)
        scores = self.surprise_.decision_function(encoded, streams)
        frame = as_frame(streams, scores, encoded.time).filter(pl.col("row") >= first)
        return frame.with_columns(new["row"].gather(frame["row"] - first).alias("row"))

    def _fields(self, events: pl.DataFrame) -> pl.DataFrame:
        def named() -> Iterator[pl.Expr]:
            for i, name in enumerate(["act", "failed", *self.entities.roles]):
                own = pl.col(name)
                text = own if name == "failed" else own.cast(pl.String)
                yield text.alias(f"{OBJECTS.get(name, f'field{i}')}.{i}")

        return events.select("time", *named())

    def _encoded(self, events: pl.DataFrame) -> EncodedEvents:
        slices = events.iter_slices(AT_ONCE)
        parts = [self.encoder_.transform(self._fields(own)) for own in slices]
        return replace(
            parts[0],
            numeric=np.concatenate([part.numeric for part in parts]),
            categorical=np.concatenate([part.categorical for part in parts]),
            time=np.concatenate([part.time for part in parts]),
        )

    def _in_time(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events that have a time, in its order; of equal times in one that does not depend on that
        of the rows. Of their columns, what the network reads and whom it follows."""
        read = ["time", "act", "failed", *self.entities.roles, *self.followed]
        order = ["row"] if "row" in events.columns else []
        timed = events.select(list(dict.fromkeys([*order, *read]))).filter(pl.col("time") != 0)
        return timed.sort("time", *order, maintain_order=True)
