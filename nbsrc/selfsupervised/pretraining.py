"""Pre-training of a `MaskedModel` on past events: both questions, validated on the latest ones."""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nbsrc.selfsupervised.batches import BATCH, check_columns
from nbsrc.selfsupervised.checkpoint import History, resume, save_checkpoint
from nbsrc.selfsupervised.inference import column_nll
from nbsrc.selfsupervised.model import MaskedModel
from nbsrc.tabular.encoded import EncodedEvents, rows_of
from nbsrc.training import default_device, one_cycle, watched

MASKED_SHARE = 0.35  # of an event's objects, in training
REPLACED_SHARE = 0.3  # of an event's objects, in training
REPLACED_WEIGHT = 0.5  # of the replaced-object loss, beside the masked-field loss
TRIMMED_SHARE = 0.03  # of a batch's events, the least likely ones: a baseline is never clean
FEWEST_EVENTS = 40  # to learn from

Arrays = tuple[Tensor, Tensor]  # events' quantities and categories


def pretrain(
    model: MaskedModel,
    encoded: EncodedEvents,
    *,
    epochs: int,
    seed: int,
    device: torch.device | str | None = None,
    batch_size: int = 256,
    lr: float = 4e-2,
    weight_decay: float = 1e-5,
    validation: float = 0.15,
    patience: int = 3,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train `model` in place on past events, and leave it in eval mode with the weights of its best
    epoch.

    The loss is that of the masked fields plus half that of the replaced objects. The last
    `validation` share of the events, by time, is not trained on; training stops when their loss has
    not fallen for `patience` epochs. Categories that occur once only among the others are treated
    as unseen ones (`MaskedModel.learn_known`). In each batch the least likely 3% of the events are
    not learned from (masked fields): past events may contain attacks.

    `lr` is the highest learning rate for batches of 256; for others it grows with the root of their
    size (Malladi et al. 2022, arXiv:2205.10287, on Adam).

    With `checkpoint`, the state is written there after each epoch, and training goes on from there
    if the file exists; the result is that of a run that was never interrupted.

    Returns one row per epoch: `epoch` (from 1), `lr`, `train_loss` (both losses, with dropout) and
    `validation_loss` (nats per event, by `column_nll`, without dropout).
    Equal arguments and initial weights give equal results on one machine's CPU.

    Raises ValueError if there are too few events, a numeric value is not finite, the columns are
    not the model's, or the checkpoint belongs to another run."""
    if epochs < 1 or batch_size < 2 or not 0 < validation < 1:
        raise ValueError(
            "training needs an epoch, batches of two and a validation share between 0 and 1, "
            f"however: {epochs=}, {batch_size=}, {validation=}"
        )
    check_events(model, encoded)
    device = torch.device(device or default_device())
    model.to(device)
    past, recent = (
        _on(device, rows_of(encoded, rows)) for rows in split_by_time(encoded.time, validation)
    )
    model.learn_known(past[1])
    steps = max(1, len(past[0]) // batch_size)
    highest = lr * math.sqrt(batch_size / 256)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=weight_decay, fused=True)
    run = {
        "epochs": epochs, "seed": seed, "batch_size": batch_size, "lr": lr,
        "weight_decay": weight_decay, "validation": validation, "patience": patience,
        "events": _digest(encoded),
    }  # fmt: skip
    history: History = []
    best = _weights(model)
    if checkpoint is not None and Path(checkpoint).exists():
        history, best = resume(Path(checkpoint), model, optimizer, run)
    with tqdm(
        total=epochs * steps,
        initial=len(history) * steps,
        unit="step",
        disable=not (progress and watched()),
    ) as bar:
        while len(history) < epochs and not exhausted(history, patience):
            epoch = len(history)
            bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
            rates = [
                highest * one_cycle((epoch * steps + step) / (epochs * steps))
                for step in range(steps)
            ]
            train_loss = train_epoch(model, optimizer, past, rates, seed=(seed, epoch), bar=bar)
            history.append({
                "epoch": epoch + 1,
                "lr": rates[-1],
                "train_loss": train_loss,
                "validation_loss": validation_loss(model, recent),
            })  # fmt: skip
            if history[-1]["validation_loss"] == min(row["validation_loss"] for row in history):
                best = _weights(model)
            if checkpoint is not None:
                save_checkpoint(Path(checkpoint), model, optimizer, best, history, run)
    model.load_state_dict(best)
    model.eval()
    return history


def check_enough(n: int) -> None:
    """Raises ValueError if so many events are too few to learn from."""
    if n < FEWEST_EVENTS:
        raise ValueError(
            f"too few events to learn from: {n}, and at least {FEWEST_EVENTS} are needed"
        )


def check_events(model: MaskedModel, encoded: EncodedEvents) -> None:
    """Raises ValueError if `model` cannot be trained on the events."""
    check_columns(model, encoded)
    check_enough(len(encoded.time))


def split_by_time(time: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the earlier events and those of the last `share` of them, each in the order of
    time."""
    order = np.argsort(time, kind="stable")
    held_out = min(max(1, round(share * len(order))), len(order) - 1)
    return order[:-held_out], order[-held_out:]


def train_epoch(
    model: MaskedModel,
    optimizer: torch.optim.Optimizer,
    past: Arrays,
    rates: list[float],
    *,
    seed: tuple[int, int],
    bar: tqdm,
) -> float:
    """One step for each learning rate, on batches of equal size; returns the mean of both losses.

    The draws depend on `seed` alone, of the run and the epoch, so that a resumed run draws what an
    uninterrupted one does."""
    numeric, categorical = past
    device, n = numeric.device, len(numeric)
    model.train()
    total = torch.zeros((), device=device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        batches = torch.randperm(n, device=device).tensor_split(len(rates))
        for rows, rate in zip(batches, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss = both_losses(model, numeric[rows], categorical[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            bar.update()
    return float(total) / n


def both_losses(model: MaskedModel, numeric: Tensor, categorical: Tensor) -> Tensor:
    """The masked-field loss plus the weighted replaced-object loss, of objects drawn by chance."""
    chance = torch.rand(2, len(numeric), len(model.objects), device=numeric.device)
    masked, replaced = chance[0] < MASKED_SHARE, chance[1] < REPLACED_SHARE
    loss = model.masked_loss(numeric, categorical, masked, trimmed=TRIMMED_SHARE)
    return loss + REPLACED_WEIGHT * model.replaced_loss(numeric, categorical, replaced)


@torch.no_grad()
def validation_loss(model: MaskedModel, recent: Arrays) -> float:
    """Mean surprise, in nats per event, without dropout."""
    model.eval()
    batches = zip(*(torch.split(part, BATCH) for part in recent), strict=True)
    sums = [column_nll(model, *batch).sum() for batch in batches]
    return float(torch.stack(sums).sum()) / len(recent[0])


def exhausted(history: History, patience: int) -> bool:
    """Whether the validation loss has not fallen for `patience` epochs."""
    losses = [row["validation_loss"] for row in history]
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience


def _on(device: torch.device, encoded: EncodedEvents) -> Arrays:
    return (
        torch.tensor(encoded.numeric, device=device),
        torch.tensor(encoded.categorical, device=device),
    )


def _weights(model: MaskedModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _digest(encoded: EncodedEvents) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for array in (encoded.numeric, encoded.categorical, encoded.time):
        digest.update(array.tobytes())
    return digest.hexdigest()
