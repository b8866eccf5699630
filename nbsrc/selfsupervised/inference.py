"""The surprise of an event's objects, each given the others: the short way.

`MaskedModel.masked_loss` hides objects by a pass through the whole network. To ask for each object
of an event takes a pass an object, and these differ little: the input projection is a sum over
features, so that what is common is summed up once, an object's part is taken out of the sum, and
all passes go through the blocks together."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nbsrc.selfsupervised.model import MaskedModel


def object_nll(
    model: MaskedModel,
    numeric: Tensor,
    categorical: Tensor,
    once: tuple[Tensor, Tensor] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each object, the events that have it and the surprise of its fields: (events,), (events,
    its columns)

    The surprise is the negative log-likelihood, in nats, of each field given the other objects.
    once: what `added` gives, for those who have many batches."""
    categorical = model.common(categorical)
    added_by, missing = once or added(model)
    projection = model.model.input_projection
    weight = projection.weight[:, : model.model.n_numeric]
    tamed = model.tame(numeric)
    projected = F.linear(tamed, weight, projection.bias + missing.sum(0))
    there = model.there(categorical)
    # For each object: its events, its fields in them, and what these add to the projection, less
    # what stands in their place.
    asked: list[tuple[Tensor, Tensor, Tensor]] = []
    hidden: list[Tensor] = []
    head: Any
    for i, head in enumerate(model.heads):
        rows = there[:, i].nonzero().squeeze(1)
        quantities, categories = head.own(rows, numeric, categorical)
        own = tamed.index_select(1, head.numeric).index_select(0, rows)
        part = own @ weight.index_select(1, head.numeric).T
        if len(head.categorical):
            places = categories + model.first[head.categorical]
            summed = F.embedding_bag(places, added_by, mode="sum")
            projected.index_add_(0, rows, summed - missing[i])
            part += summed
        asked.append((rows, quantities, categories))
        hidden.append(part - model.mask_vectors[i])
    x = projected.index_select(0, torch.cat([rows for rows, _, _ in asked])) - torch.cat(hidden)
    embeddings = torch.split(model.trunk(x), [len(part) for part in hidden])
    for head, embedding, (rows, *fields) in zip(model.heads, embeddings, asked, strict=True):
        yield rows, head(embedding, *fields)


def added(model: MaskedModel) -> tuple[Tensor, Tensor]:
    """What each category adds to the input projection, and what all of an object's do where they
    are missing, as most fields of an event are.

    Shape: (all categories, d_block), (objects, d_block)
    """
    network = model.model
    if network.embeddings is None:
        return model.mask_vectors[:0], torch.zeros_like(model.mask_vectors)
    by = network.embeddings.projected(network.input_projection.weight[:, network.n_numeric :])
    return by, model.object_of_category.T @ by[model.first]


def column_nll(model: MaskedModel, numeric: Tensor, categorical: Tensor) -> Tensor:
    """The surprise of each field, in nats, 0 for those of objects that the event does not have:
    (rows, columns)"""
    nll = numeric.new_zeros(len(numeric), len(model.names))
    for own, (rows, surprise) in zip(
        model.columns, object_nll(model, numeric, categorical), strict=True
    ):
        nll[rows[:, None], rows.new_tensor(own)] = surprise
    return nll
