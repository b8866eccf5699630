"""How many incidents each method of this room finds, on simulated streams, at so many alerts a day.

No label reaches anything that is fitted."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import torch

from nbsrc.detection.baselines import Rarity
from nbsrc.events.flatten import flatten_objects
from nbsrc.incidents.alerts import ALERTS, alerts_from_scores, deduplicated, ranked
from nbsrc.incidents.measure import found, incidents_of, judged
from nbsrc.selfsupervised.batches import for_batches
from nbsrc.selfsupervised.inference import column_nll
from nbsrc.selfsupervised.model import MaskedModel, masked_model
from nbsrc.selfsupervised.pretraining import pretrain
from nbsrc.sequences.contexts import NETWORKS
from nbsrc.sequences.next_event import WINDOW, NextEventSurprise
from nbsrc.sequences.ngrams import NGramModel
from nbsrc.sequences.sets import NearestSets, SetForest, pooled
from nbsrc.sequences.streams import Streams, as_frame, since, streams_of
from nbsrc.simulation.stream import simulate_events
from nbsrc.tabular.encoded import EncodedEvents, rows_of
from nbsrc.tabular.encoder import EventEncoder

PAST = 0.7  # share of a stream, by time, that is learned from
GRAM = 3  # events of the n-grams
HOUR = 3_600_000  # milliseconds
BUDGETS = (5, 10, 20)
USER = "actor.user.name", "user.name"
HOST = "src_endpoint.ip", "device.ip"


class Stream(NamedTuple):
    """Events in the order of time, as `flatten` gives them and encoded. The first `cut` are learned
    from. entities: a column for each kind of entity; incidents: the labelled ones of the other
    events, by their rows."""

    rows: pl.DataFrame
    events: EncodedEvents
    entities: pl.DataFrame
    cut: int
    incidents: pl.DataFrame

    def past(self) -> EncodedEvents:
        """The events to learn from."""
        return rows_of(self.events, np.arange(self.cut))


def simulated_stream(events: int, *, seed: int) -> Stream:
    """A simulated stream whose first 70%, by time, are learned from, without any labelled event.

    Entities are the user and the address that an event came from."""
    simulated, labels = simulate_events(events, seed=seed)
    rows = flatten_objects(simulated)
    own = rows["metadata.uid"].is_in(labels["uid"].implode()).to_numpy()
    kept = ~own | (np.arange(rows.height) >= int(PAST * rows.height))
    cut = int(kept[: int(PAST * rows.height)].sum())
    rows = rows.filter(kept)
    encoded = EventEncoder().fit(rows[:cut]).transform(rows)
    entities = rows.select(pl.coalesce(*USER).alias("user"), pl.coalesce(*HOST).alias("address"))
    incidents = incidents_of(labels, rows["metadata.uid"], rows["time"])
    return Stream(rows, encoded, entities, cut, incidents.filter(pl.col("row") >= cut))


def sequence_experiment(
    *, seeds: Sequence[int], events: int, seconds: float, epochs: int
) -> pl.DataFrame:
    """Every method on a simulated stream of each seed: one row a method, seed and budget.

    seconds: of one CPU core, for each network to train. epochs: of the pre-training whose
    embeddings and surprises the sets pool.

    Columns: `method`, `seed`, those of `nbsrc.incidents.measure.judged`, and `kinds`: the kinds of
    incident found, a text."""
    rows = []
    for seed in seeds:
        stream = simulated_stream(events, seed=seed)
        for method, alerts in (
            *alerts_by_context(stream, seed=seed, seconds=seconds),
            *alerts_by_sets(stream, seed=seed, epochs=epochs),
        ):
            for row in judged(alerts, stream.incidents, budgets=BUDGETS).iter_rows(named=True):
                own = found(alerts, stream.incidents, budget=row["budget"]).filter("found")
                kinds = " ".join(own["scenario"].unique().sort())
                rows.append({"method": method, "seed": seed, **row, "kinds": kinds})
    return pl.DataFrame(rows, infer_schema_length=None)


def alerts_by_context(
    stream: Stream, *, seed: int, seconds: float
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Alerts from how unexpected each event is in the stream of its user or address: by each
    network, by n-grams of kinds of event, and by rarity, which reads no context at all."""
    time = stream.events.time
    past = streams_of(stream.entities[: stream.cut], time[: stream.cut])
    new = since(streams_of(stream.entities, time), stream.cut, before=WINDOW // 2)

    def alerts(scores: list[np.ndarray]) -> pl.DataFrame:
        of_new = as_frame(new, scores, time).filter(pl.col("row") >= stream.cut)
        return deduplicated(alerts_from_scores(of_new))

    single = Rarity().fit(stream.past()).decision_function(stream.events)
    yield "Rarity, no context", alerts([single[rows] for rows in new.rows])
    kinds, n = kinds_of_event(stream.events, stream.cut)
    grams = NGramModel(GRAM, n_symbols=n).fit([kinds[rows] for rows in past.rows])
    yield f"{GRAM}-gram model", alerts([grams.nats(kinds[rows]) for rows in new.rows])
    for name, network in NETWORKS.items():
        model = NextEventSurprise(network, seed=seed, seconds=seconds).fit(stream.past(), past)
        yield name, alerts(model.decision_function(stream.events, new))


def kinds_of_event(events: EncodedEvents, cut: int) -> tuple[np.ndarray, int]:
    """Each event's kind, (events,), and how many kinds the first `cut` events have; others are kind
    number that. A kind is a combination of the categories of the event itself, such as its class,
    activity and status."""
    own = [i for i, name in enumerate(events.categorical_names) if "." not in name]
    columns = events.categorical[:, own]
    known, place = np.unique(columns, axis=0, return_inverse=True)
    past = np.unique(place[:cut])
    number = np.full(len(known), len(past))
    number[past] = np.arange(len(past))
    return number[place], len(past)


def alerts_by_sets(stream: Stream, *, seed: int, epochs: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """Alerts from the events of a user or address within an hour, as sets of embeddings and of
    surprises."""
    past = stream.past()
    model = masked_model(past, seed=seed)
    pretrain(model, past, epochs=epochs, seed=seed, device="cpu", progress=False)
    for name, values in what_is_known(model, stream.events).items():
        yield from alerts_of_sets(stream, values, seed=seed, named=name)


def what_is_known(model: MaskedModel, events: EncodedEvents) -> dict[str, np.ndarray]:
    """Of each event, its embedding and the surprise of each of its objects: (events, features)"""
    nats = torch.cat(for_batches(column_nll, model, events))
    owner = model.object_of_column
    surprise = nats.new_zeros(len(nats), len(model.objects)).index_add(1, owner, nats)
    embedding = torch.cat(for_batches(MaskedModel.embed, model, events))
    return {"embeddings": embedding.cpu().numpy(), "surprises": surprise.cpu().numpy()}


def alerts_of_sets(
    stream: Stream, values: np.ndarray, *, seed: int, named: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Alerts from pooled values (events, features) of each user's and address's hours."""
    time = stream.events.time
    past = hours(streams_of(stream.entities[: stream.cut], time[: stream.cut]), time)
    new = hours(since(streams_of(stream.entities, time), stream.cut, before=0), time)
    learned, asked = pooled(values, past.rows), pooled(values, new.rows)
    for name, method in (("kNN", NearestSets(seed=seed)), ("Forest", SetForest(seed=seed))):
        scores = method.fit(learned).decision_function(asked)
        frame = pl.DataFrame({
            "score": scores,
            "entity": new.entity,
            "value": new.value,
            "start": [time[rows[0]] for rows in new.rows],
            "end": [time[rows[-1]] for rows in new.rows],
            "rows": [rows.tolist() for rows in new.rows],
            "kinds": [["unusual set"]] * len(scores),
            "reason": [f"{len(rows)} events in an hour" for rows in new.rows],
        })  # fmt: skip
        moments = pl.col("start", "end").cast(pl.Datetime("ms", "UTC"))
        alerts = frame.with_columns(moments).select(list(ALERTS))
        yield f"Sets of {named}, {name}", deduplicated(ranked(alerts))


def hours(streams: Streams, time: np.ndarray) -> Streams:
    """Each stream cut at full hours (UTC)."""
    found = Streams([], [], [])
    for rows, entity, value in zip(*streams, strict=True):
        ends = np.flatnonzero(np.diff(time[rows] // HOUR)) + 1
        pieces = np.split(rows, ends)
        found.rows.extend(pieces)
        found.entity.extend([entity] * len(pieces))
        found.value.extend([value] * len(pieces))
    return found
