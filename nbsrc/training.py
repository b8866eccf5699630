"""Training and evaluating a classifier on tensors that fit on the device.

`fit` is the whole recipe for a chapter; `train_epochs` is the one loop under it, which a command
that saves its progress after every epoch (`nbsrc.cifar10`) drives itself."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from joblib import Parallel, cpu_count
from joblib.externals.loky import get_reusable_executor
from torch import Tensor, nn
from tqdm import tqdm

Augment = Callable[[Tensor, torch.Generator], Tensor]


def default_device() -> torch.device:
    """CUDA where there is a device for it, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """Each operation of torch takes one thread of the CPU: for small ones, of which several are
    done side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def side_by_side(calls: Sequence[Any], device: torch.device) -> list[Any]:
    """The results of joblib's delayed calls: a process each on the cores of a CPU, one after the
    other elsewhere."""
    workers = min(cpu_count(), len(calls)) if device.type == "cpu" else 1
    try:
        return Parallel(n_jobs=workers)(calls)
    finally:
        if workers > 1:  # the processes would stay, and keep a gigabyte each
            get_reusable_executor().shutdown(wait=True)


def one_cycle(fraction: float) -> float:
    """Learning rate, as a share of its peak, after `fraction` (0 to 1) of all steps.

    Up from 1/25 of the peak during the first 30% of the steps, then down to 1/250,000, both along a
    cosine: the shape of `torch.optim.lr_scheduler.OneCycleLR`, as a function of the step alone, so
    that a run can be resumed.

    NOTE[DIFF]: Smith and Topin 2018 (arXiv:1708.07120) also cycle the momentum against the rate;
    here it stays fixed.

    >>> [round(one_cycle(fraction), 3) for fraction in (0, 0.15, 0.3, 0.65, 1)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    start, end, warmup = 1 / 25, 1 / 250_000, 0.3
    if fraction < warmup:
        return 1 + (start - 1) * (1 + math.cos(math.pi * fraction / warmup)) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * (fraction - warmup) / (1 - warmup))) / 2


def fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    seed: int,
    device: torch.device | str | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    augment: Augment | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train `model` in place with SGD, momentum and a one-cycle schedule that peaks at `lr`.

    Shape: inputs (n, ...), float; targets (n,), class numbers. Both are moved to the device once,
    with the model. `augment(batch, generator)` returns the batch to train on; it must draw from
    that generator alone.

    Returns one row per epoch: `epoch` (from 1), `lr` (of the epoch's last step), `train_loss` and
    `train_accuracy` (averaged over the epoch as it ran: weights still moving, batches augmented,
    BatchNorm in train mode), and with `validation` also `validation_loss` and `validation_accuracy`
    (after the epoch, in eval mode).

    Two runs with equal arguments and equal initial weights, which are the caller's affair, give
    identical numbers on one machine's CPU. The global random state, which dropout draws from, is
    seeded for each epoch and put back. Inputs train in fp32 on a CPU, under bf16 autocast and
    channels_last on CUDA.

    Raises ValueError if lengths differ, there is no data, or `epochs` or `batch_size` is below 1.
    """
    device = torch.device(device or default_device())
    optimizer = sgd(model.to(device), lr=lr, momentum=momentum, weight_decay=weight_decay)
    rows = train_epochs(
        model, optimizer, inputs, targets,
        epochs=epochs, batch_size=batch_size, lr=lr, schedule=one_cycle, seed=seed, device=device,
        validation=validation, augment=augment, progress=progress,
    )  # fmt: skip
    return list(rows)


def sgd(
    model: nn.Module, *, lr: float, momentum: float, weight_decay: float, nesterov: bool = False
) -> torch.optim.SGD:
    """SGD over all parameters, fused: one call in place of hundreds for a deep, narrow net."""
    return torch.optim.SGD(
        model.parameters(),
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        fused=True,
    )


def train_epochs(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    schedule: Callable[[float], float],
    seed: int,
    device: torch.device,
    validation: tuple[Tensor, Tensor] | None = None,
    augment: Augment | None = None,
    label_smoothing: float = 0.0,
    start_epoch: int = 0,
    share: tuple[int, int] = (0, 1),
    progress: bool = True,
) -> Iterator[dict[str, float]]:
    """The loop under `fit`: yields each epoch's row when the epoch is over, for the caller to save
    its state.

    `schedule(fraction of all steps done)` gives the share of `lr` to take. An epoch's order and
    augmentation depend on `seed` and the epoch's number only, so training that goes on at
    `start_epoch` (epochs already done) with the weights and momentum of that moment is the training
    that was never interrupted.

    `share` is for several processes that train one model (`nbsrc.cifar10.distributed`): this one's
    number, and how many take a part of each batch. `train_loss` and `train_accuracy` are then its
    part of them: their sum is the epoch's. Raises ValueError if a batch has fewer rows."""
    _check(inputs, targets)
    if epochs < 1 or batch_size < 1:
        raise ValueError(
            f"epochs and batch_size must be at least 1, however: {epochs=}, {batch_size=}"
        )
    if validation is not None:
        _check(*validation)
        validation = (validation[0].to(device), validation[1].to(device))
    cuda = device.type == "cuda"
    inputs, targets = inputs.to(device), targets.to(device).long()
    model.to(device)
    if cuda:
        model.to(memory_format=torch.channels_last)
    n = len(inputs)
    steps = math.ceil(
        n / batch_size
    )  # an epoch; its batches differ by one image at most, so none is tiny
    generator = torch.Generator(device)
    process, processes = share
    if n // steps < processes:
        raise ValueError(f"a batch of {n // steps} has no row for each of {processes} processes")

    with tqdm(
        total=epochs * steps,
        initial=start_epoch * steps,
        unit="step",
        disable=not (progress and watched()),
    ) as bar:
        for epoch in range(start_epoch, epochs):
            bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
            model.train()
            loss_sum, correct, seen = (
                torch.zeros((), device=device),
                torch.zeros((), device=device),
                0,
            )
            epoch_seed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
            generator.manual_seed(epoch_seed)
            order = torch.randperm(n, generator=generator, device=device)
            with torch.random.fork_rng([device] if cuda else []):
                torch.manual_seed(epoch_seed)
                for step, rows in enumerate(order.tensor_split(steps), start=epoch * steps):
                    batch, labels = inputs.index_select(0, rows), targets.index_select(0, rows)
                    if augment is not None:
                        batch = augment(batch, generator)
                    batch = batch.tensor_split(processes)[process]
                    labels = labels.tensor_split(processes)[process]
                    if cuda and batch.ndim == 4:
                        batch = batch.contiguous(memory_format=torch.channels_last)
                    for group in optimizer.param_groups:
                        group["lr"] = lr * schedule(step / (epochs * steps))
                    optimizer.zero_grad()
                    with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
                        logits = model(batch)
                        loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
                    loss = loss * (len(labels) / len(rows))  # this process's part of the batch's
                    (loss * processes).backward()  # gradients are averaged over the processes
                    optimizer.step()
                    # Sums stay on the device: reading one would wait for the GPU, so only a redrawn
                    # bar does.
                    loss_sum += loss.detach() * len(rows)
                    correct += (logits.detach().argmax(1) == labels).sum()
                    seen += len(labels)
                    if bar.update():
                        bar.set_postfix(
                            train_accuracy=f"{correct.item() / seen:.3f}", refresh=False
                        )
            row: dict[str, float] = {
                "epoch": epoch + 1,
                "lr": optimizer.param_groups[0]["lr"],
                "train_loss": loss_sum.item() / n,
                "train_accuracy": correct.item() / n,
            }
            if validation is not None:
                measured = evaluate(model, *validation, device=device)
                row |= {f"validation_{name}": value for name, value in measured.items()}
            yield row


def evaluate(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    batch_size: int = 512,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """Mean cross-entropy `loss` and `accuracy` (0 to 1) of `model` in eval mode (see `predict`).

    Shape: inputs (n, ...), targets (n,). Raises ValueError if lengths differ or there is no data.
    """
    _check(inputs, targets)
    logits = predict(model, inputs, batch_size=batch_size, device=device)
    targets = targets.cpu().long()
    return {
        "loss": F.cross_entropy(logits, targets).item(),
        "accuracy": (logits.argmax(1) == targets).double().mean().item(),
    }


@torch.no_grad()
def predict(
    model: nn.Module,
    inputs: Tensor,
    *,
    batch_size: int = 512,
    device: torch.device | str | None = None,
) -> Tensor:
    """Logits of `model` in eval mode: (n, ...) -> (n, classes), fp32, on the CPU.

    Every module is left in the mode it was in.
    """
    device = torch.device(device or default_device())
    cuda = device.type == "cuda"
    modes = [(module, module.training) for module in model.modules()]
    model.to(device).eval()
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            logits = [model(batch.to(device)) for batch in inputs.split(batch_size)]
    finally:
        for module, training in modes:
            module.training = training
    return torch.cat(logits).float().cpu()


def _check(inputs: Tensor, targets: Tensor) -> None:
    if len(inputs) != len(targets):
        raise ValueError(
            f"inputs and targets must be equally long, however: {len(inputs)=}, {len(targets)=}"
        )
    if len(inputs) == 0:
        raise ValueError("there is no data: inputs and targets are empty")


def watched() -> bool:
    """Whether somebody may be looking at a progress bar: a terminal, or a notebook that can ask for
    input.

    The build of the book runs its kernels without input, which is how a page stays free of bars.
    """
    if sys.stderr.isatty():
        return True
    shell: Any = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))
