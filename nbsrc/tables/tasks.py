"""Labelled tables to measure methods on: public ones, and one made of simulated events."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from nbsrc.events.flatten import flatten
from nbsrc.simulation.stream import simulate_events
from nbsrc.tabular.encoder import EventEncoder

EVENTS = 20_000
# Where the second and the third part begin.
VALIDATION, TEST = 0.6, 0.7


class Part(NamedTuple):
    """Shape: inputs (rows, columns), the numeric columns first and then the categories' numbers, as
    one float tensor; targets (rows,), class numbers."""

    inputs: Tensor
    targets: Tensor


class Task(NamedTuple):
    """A table in three parts: to fit on, to choose by, to report."""

    n_numeric: int
    cardinalities: tuple[int, ...]
    classes: int
    train: Part
    validation: Part
    test: Part


def public(name: str, *, seed: int) -> Task:
    """A table that scikit-learn brings along: "digits" (1,797 rows of 64 pixels, 10 classes) or
    "breast cancer" (569 rows of 30 measurements, 2 classes).

    The parts, 60%, 10% and 30% of the rows, are drawn by `seed` within each class, and the columns
    are standardised by the first part."""
    load = {"digits": load_digits, "breast cancer": load_breast_cancer}[name]
    inputs, targets = load(return_X_y=True)
    rest, test, rest_targets, test_targets = train_test_split(
        inputs, targets, train_size=TEST, random_state=seed, stratify=targets
    )
    train, validation, train_targets, validation_targets = train_test_split(
        rest, rest_targets, train_size=VALIDATION / TEST, random_state=seed, stratify=rest_targets
    )
    scaler = StandardScaler().fit(train)

    def part(rows: np.ndarray, own: np.ndarray) -> Part:
        scaled = scaler.transform(rows).astype(np.float32)
        return Part(torch.from_numpy(scaled), torch.from_numpy(own.astype(np.int64)))

    return Task(
        inputs.shape[1],
        (),
        len(np.unique(targets)),
        part(train, train_targets),
        part(validation, validation_targets),
        part(test, test_targets),
    )


def next_activity(*, seed: int, events: int = EVENTS) -> Task:
    """What will this person do next? `next_activity_of` a stream simulated with `seed`."""
    simulated, _ = simulate_events(events, seed=seed)
    frame = pl.DataFrame(simulated, infer_schema_length=None)
    return next_activity_of(flatten(frame).sort("time"))


def next_activity_of(rows: pl.DataFrame) -> Task:
    """From an event of a person, the `type_uid` of the person's next event, among those that occur
    in the first part.

    rows: flattened events, sorted by time. The parts are cut by time, at 60% and 70% of the events,
    and no pair of events lies across a cut. The encoder is fitted on the first part. What is to be
    predicted is in no column, since it has not happened yet."""
    cuts = [0, int(VALIDATION * rows.height), int(TEST * rows.height), rows.height]
    person = pl.coalesce("actor.user.name", "user.name")
    pairs = []
    for start, end in pairwise(cuts):
        part = rows[start:end].with_columns(pl.col("type_uid").shift(-1).over(person).alias("next"))
        pairs.append(part.filter(person.is_not_null(), pl.col("next").is_not_null()))
    names = pairs[0]["next"].unique().sort()
    encoder = EventEncoder().fit(pairs[0].drop("next"))
    parts = []
    for part in pairs:
        known = part.filter(pl.col("next").is_in(names.implode()))
        encoded = encoder.transform(known.drop("next"))
        inputs = np.concatenate([encoded.numeric, encoded.categorical.astype(np.float32)], 1)
        targets = names.search_sorted(known["next"]).to_numpy().astype(np.int64)
        parts.append(Part(torch.from_numpy(inputs), torch.from_numpy(targets)))
    return Task(len(encoded.numeric_names), encoded.cardinalities, len(names), *parts)
