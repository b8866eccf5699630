"""What does an entity do next? A network predicts each event of a stream, all of its fields and the
time to it, from the events before; an event that it did not expect is a surprise in its context."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nbsrc.detection.base import check_fitted, sorted_columns, tails
from nbsrc.detection.surprise import MOST_SURPRISING
from nbsrc.selfsupervised.model import FieldsHead
from nbsrc.selfsupervised.objects import objects_of
from nbsrc.sequences.streams import Streams, gaps
from nbsrc.sequences.symbols import windows
from nbsrc.sequences.training import train
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.network import ColumnEmbeddings
from nbsrc.training import one_thread

WIDTH = 64
WINDOW = 64  # events that a network is given at once
BATCH = 8  # windows
HELD_OUT = 0.15  # of the windows, the latest ones: surprises are compared with theirs


class NextEvent(nn.Module):
    """Predicts each event of a stream from those before it.

    context: one of `nbsrc.sequences.contexts.NETWORKS`, given `width`. The other arguments are
    those of the events' columns; the last quantity is the time to the event.

    Shape: numeric (batch, time, quantities), categorical (batch, time, categories) -> nats (batch,
    time, quantities + categories): -log likelihood of each field; with `asked` (batch, time), bool,
    of these events only: (asked, quantities + categories)
    """

    def __init__(
        self,
        context: Callable[[int], nn.Module],
        *,
        n_numeric: int,
        cardinalities: tuple[int, ...],
        width: int = WIDTH,
    ) -> None:
        super().__init__()
        self.embeddings = ColumnEmbeddings(cardinalities)
        self.input_projection = nn.Linear(n_numeric + sum(self.embeddings.widths), width)
        self.start = nn.Parameter(torch.zeros(width))  # stands before the first event
        self.context = context(width)
        columns = range(n_numeric), range(len(cardinalities))
        self.head = FieldsHead(width, *columns, cardinalities)

    def forward(self, numeric: Tensor, categorical: Tensor, asked: Tensor | None = None) -> Tensor:
        batch, time = numeric.shape[:2]
        quantities, categories = numeric.flatten(0, 1), categorical.flatten(0, 1)
        features = torch.cat([torch.asinh(quantities), self.embeddings(categories)], 1)
        events = self.input_projection(features).view(batch, time, -1)
        before = torch.cat([self.start.expand(batch, 1, -1), events[:, :-1]], 1)
        expected = self.context(before)
        if asked is not None:  # most of the work is the head's
            nats: Tensor = self.head(expected[asked], numeric[asked], categorical[asked])
            return nats
        nats = self.head(expected.flatten(0, 1), quantities, categories)
        return nats.view(batch, time, -1)


class NextEventSurprise:
    """How unexpected each event is, given what its entity did before.

    The surprise of an event's objects (the actor, the destination, the time to the event) is the
    sum over their fields, compared with those of the same object in the latest past windows, which
    training does not see: -log of the share that surprised as much. The score is the sum over the
    three objects that surprise most, as in `nbsrc.detection.surprise`, whose surprises are those of
    an event's parts given its other parts.

    It trains for `steps`, or for `seconds` of a CPU core. Learned: `model_`, `steps_`, `past_`
    (objects, events), `gap_` (median and interquartile range of the logarithm of the time to an
    event), `owner_` (columns,), the object of each."""

    def __init__(
        self,
        context: Callable[[int], nn.Module],
        *,
        seed: int,
        seconds: float = 0.0,
        steps: int = 0,
    ) -> None:
        self.context = context
        self.seed = seed
        self.seconds = seconds
        self.steps = steps

    def fit(self, encoded: EncodedEvents, streams: Streams) -> "NextEventSurprise":
        """Learn from past events and the streams that they make up."""
        known = np.concatenate(gaps(streams, encoded.time))
        known = known[~np.isnan(known)]
        low, middle, high = np.quantile(known if len(known) else np.zeros(1), (0.25, 0.5, 0.75))
        self.gap_ = float(middle), max(float(high - low), 0.1)
        self._build(encoded)
        laid = self._laid_out(encoded, streams)
        last = torch.where(laid.scored, laid.time[laid.places], 0).amax(1)
        learned, held_out = _split(last.argsort(stable=True))

        def loss(generator: torch.Generator) -> Tensor:
            chosen = learned[torch.randint(len(learned), (BATCH,), generator=generator)]
            there = laid.scored[chosen].flip(1).cumsum(1).flip(1) > 0  # no padding
            return self.model_(*laid.fields(chosen))[there].mean()

        losses = train(self.model_, loss, steps=self.steps, seconds=self.seconds, seed=self.seed)
        self.steps_ = len(losses)
        self.past_ = sorted_columns(
            torch.cat([surprise for _, surprise in self._surprises(laid, held_out)])
        )
        return self

    def tensors(self) -> dict[str, Tensor]:
        """What was learned, by name. Raises NotFittedError before `fit`."""
        check_fitted(self)  # type: ignore[arg-type]
        model = {f"model.{name}": tensor for name, tensor in self.model_.state_dict().items()}
        return model | {"past": self.past_, "gap": torch.tensor(self.gap_, dtype=torch.float64)}

    def restore(self, encoded: EncodedEvents, tensors: dict[str, Tensor]) -> "NextEventSurprise":
        """As fitted, from what `tensors` gave and any events of the same encoder. Raises KeyError
        or RuntimeError if they do not belong together."""
        self._build(encoded)
        own = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        self.model_.load_state_dict(own)
        self.model_.eval()
        middle, spread = tensors["gap"].tolist()
        self.gap_, self.past_ = (middle, spread), tensors["past"]
        return self

    def _build(self, encoded: EncodedEvents) -> None:
        """The untrained network for events like these, and whose each of their columns is."""
        owners = objects_of((*encoded.numeric_names, "gap.seconds", *encoded.categorical_names))
        names = sorted(set(owners))
        self.owner_ = torch.tensor([names.index(owner) for owner in owners])
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.model_ = NextEvent(
                self.context,
                n_numeric=len(encoded.numeric_names) + 1,
                cardinalities=encoded.cardinalities,
            )

    def decision_function(self, encoded: EncodedEvents, streams: Streams) -> list[np.ndarray]:
        """The score of each stream's events, (events,) each; higher is stranger.

        An event is scored by those of its stream before it: give past events with the new ones.
        Raises NotFittedError before `fit`."""
        check_fitted(self)  # type: ignore[arg-type]
        laid = self._laid_out(encoded, streams)
        scores = torch.zeros(len(laid.rows))
        for places, surprise in self._surprises(laid, torch.arange(len(laid.places))):
            rarity = torch.minimum(tails(self.past_, surprise), surprise)
            most = min(MOST_SURPRISING, rarity.shape[1])
            scores[places] = rarity.topk(most, dim=1).values.sum(1)
        return np.split(scores.numpy(), np.cumsum([len(own) for own in streams.rows])[:-1])

    def _laid_out(self, encoded: EncodedEvents, streams: Streams) -> "_LaidOut":
        middle, spread = self.gap_
        gap = (
            np.nan_to_num(np.concatenate(gaps(streams, encoded.time)), nan=middle) - middle
        ) / spread
        rows = np.concatenate(streams.rows)
        numeric = np.concatenate([encoded.numeric[rows], gap[:, None]], 1).astype(np.float32)
        ends = np.cumsum([len(own) for own in streams.rows])
        pieces = np.split(np.arange(len(rows)), ends[:-1])
        places, scored, _ = windows(pieces, length=WINDOW)
        return _LaidOut(
            torch.from_numpy(rows),
            torch.from_numpy(encoded.time[rows]),
            torch.from_numpy(numeric),
            torch.from_numpy(encoded.categorical),
            places,
            scored,
        )

    def _surprises(self, laid: "_LaidOut", chosen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The events that the chosen windows are to score, by their places, and the surprise of
        their objects: (events,), (events, objects)"""
        objects = int(self.owner_.max()) + 1
        with torch.inference_mode(), one_thread():
            for batch in chosen.split(4 * BATCH):
                nats = self.model_(*laid.fields(batch), asked=laid.scored[batch])
                summed = nats.new_zeros(len(nats), objects).index_add(1, self.owner_, nats)
                yield laid.places[batch][laid.scored[batch]], summed


class _LaidOut(NamedTuple):
    """Streams one after the other: of each place its event, time and quantities with the time to
    it; of each event its categories; windows of places, and which of theirs each is to score."""

    rows: Tensor
    time: Tensor
    numeric: Tensor
    categorical: Tensor
    places: Tensor
    scored: Tensor

    def fields(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The quantities and categories of the chosen windows, as `NextEvent` takes them."""
        places = self.places[chosen]
        return self.numeric[places], self.categorical[self.rows[places]]


def _split(order: Tensor) -> tuple[Tensor, Tensor]:
    """The windows to learn from, and the last ones; where there is but one, it is both."""
    cut = max(1, int(len(order) * (1 - HELD_OUT)))
    return order[:cut], order[cut:] if cut < len(order) else order
