"""A model's way through all events of an encoder, batch by batch."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor

from nbsrc.selfsupervised.model import MaskedModel
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.training import one_thread

Result = TypeVar("Result")
BATCH = 1024  # events; larger batches fall out of a CPU's cache


def for_batches(
    function: Callable[[MaskedModel, Tensor, Tensor], Result],
    model: MaskedModel,
    encoded: EncodedEvents,
) -> list[Result]:
    """What `function` of the model, quantities and categories makes of the events, batch by batch.

    There are no gradients, and the model is left in eval mode. On a CPU each batch has one thread,
    as the model's operations are too small to be shared out between threads."""
    model.eval()

    def once(batch: tuple[Tensor, Tensor]) -> Result:
        with torch.inference_mode():
            return function(model, *batch)

    threads = torch.get_num_threads() if model.mask_vectors.device.type == "cpu" else 1
    with one_thread():
        calls = (delayed(once)(batch) for batch in batches(model, encoded))
        results: list[Result] = Parallel(threads, prefer="threads")(calls)
    return results


def batches(model: MaskedModel, encoded: EncodedEvents) -> Iterator[tuple[Tensor, Tensor]]:
    """The events' quantities and categories, batch by batch, on the model's device.

    Raises ValueError if the events have other columns than the model."""
    check_columns(model, encoded)
    device = model.mask_vectors.device
    for start in range(0, len(encoded.time), BATCH):
        rows = slice(start, start + BATCH)
        yield (
            torch.tensor(encoded.numeric[rows], device=device),
            torch.tensor(encoded.categorical[rows], device=device),
        )


def check_columns(model: MaskedModel, encoded: EncodedEvents) -> None:
    """Raises ValueError if the events' columns are not those of the model, or their arrays not what
    `EncodedEvents` says."""
    theirs = (encoded.numeric_names, encoded.categorical_names)
    if theirs != (model.numeric_names, model.categorical_names):
        others = sorted(set(theirs[0] + theirs[1]) ^ set(model.names))[:3]
        told = ", ".join(others) or "the same in another order"
        raise ValueError(f"the events have other columns than the model: {told}")
    sizes = model.model.cardinalities
    for name, a, b in zip(model.categorical_names, sizes, encoded.cardinalities, strict=True):
        if a != b:
            raise ValueError(f"{name} has {b} categories, however: the model has {a}")
    n = len(encoded.time)
    for name, array, columns, dtype in (
        ("numeric", encoded.numeric, len(theirs[0]), np.float32),
        ("categorical", encoded.categorical, len(theirs[1]), np.int64),
    ):
        if array.shape != (n, columns):
            raise ValueError(
                f"{name} must have a row for each of {n} times and {columns} columns, "
                f"however: {array.shape}"
            )
        if array.dtype != dtype:
            raise ValueError(f"{name} must be {np.dtype(dtype)}, however: {array.dtype}")
    finite = np.isfinite(encoded.numeric)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(f"{theirs[0][column]} holds a value that is not finite, in row {row}")
    beyond = (encoded.categorical < 0) | (encoded.categorical >= np.array(sizes))
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise ValueError(
            f"{model.categorical_names[column]} has {sizes[column]} categories, "
            f"however: {encoded.categorical[row, column]} in row {row}"
        )
