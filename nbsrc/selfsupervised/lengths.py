"""How long to train: the loss at the end of whole runs of different lengths."""

from collections.abc import Sequence

import polars as pl
import torch
from joblib import delayed

from nbsrc.selfsupervised.model import masked_model
from nbsrc.selfsupervised.pretraining import pretrain
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.training import default_device, one_thread, side_by_side


def losses_by_length(
    encoded: EncodedEvents,
    lengths: Sequence[int],
    *,
    seeds: Sequence[int],
    device: torch.device | str | None = None,
) -> pl.DataFrame:
    """Pre-train a network for each number of epochs and each seed, with a schedule of that length.

    On a CPU the runs go side by side, one process and one thread each.
    Returns a table with epochs, seed and validation_loss, the lowest of the run's epochs (nats per
    event)."""
    device = default_device() if device is None else torch.device(device)

    def once(epochs: int, seed: int) -> dict[str, float]:
        with one_thread():
            model = masked_model(encoded, seed=seed)
            history = pretrain(
                model, encoded, epochs=epochs, seed=seed, device=device, progress=False
            )
        loss = min(row["validation_loss"] for row in history)
        return {"epochs": epochs, "seed": seed, "validation_loss": loss}

    longest_first = sorted(lengths, reverse=True)
    calls = [delayed(once)(epochs, seed) for epochs in longest_first for seed in seeds]
    return pl.DataFrame(side_by_side(calls, device)).sort("epochs", "seed")
