"""The degradation experiment on tables: TabularResNet with and without its skip, by depth.

As `nbsrc.degradation` does with images. NOTE[DIFF] Gorishniy et al. 2021 have no net without the
skip; here it is taken away to see what it is for.
"""

from collections.abc import Callable, Sequence
from itertools import product

import polars as pl
import torch
from joblib import delayed
from torch import Tensor, nn

from nbsrc.gradient_flow import gradient_norms
from nbsrc.tables.tasks import Task
from nbsrc.tabular.network import TabularBlock, TabularResNet
from nbsrc.training import evaluate, one_cycle, one_thread, side_by_side, train_epochs

KINDS = ("plain", "residual")
WIDTH = 64
BATCH = 128
STEPS = 300
RATES = (3e-4, 1e-3, 3e-3)  # peaks of the learning rate
TUNING_SEED = 100  # of the runs that choose among them, of which nothing is reported


class WithoutSkip(nn.Module):
    """F(x) of a tabular block, alone. Shape: (rows, d_block) -> (rows, d_block)"""

    def __init__(self, block: TabularBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block.change(x)


class OnOneTensor(nn.Module):
    """A TabularResNet on the inputs of a `Part`. Shape: (rows, columns) -> (rows, classes)"""

    def __init__(self, net: TabularResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor) -> Tensor:
        n = self.net.n_numeric
        logits: Tensor = self.net(inputs[:, :n], inputs[:, n:].long())
        return logits


def depth_experiment(
    make: Callable[[int], Task], *, blocks: Sequence[int], seeds: Sequence[int], steps: int = STEPS
) -> pl.DataFrame:
    """Train a net of either kind at every depth, once with each seed.

    `make(seed)` gives the task. The learning rate of each kind and depth is the one of `RATES` with
    the lowest validation loss on the task of `TUNING_SEED`, which no reported run sees. Nets are
    trained side by side, one process and one thread each.

    Returns one row a run: blocks, kind, seed, rate, and what `train_one` measures."""
    nets = list(product(sorted(blocks, reverse=True), KINDS))  # the longest first
    task = make(TUNING_SEED)
    trials = [(*net, rate) for net in nets for rate in RATES]
    losses = _runs([(task, n, kind, TUNING_SEED, rate, steps) for n, kind, rate in trials])
    rates: dict[tuple[int, str], float] = {}
    best: dict[tuple[int, str], float] = {}
    for (n, kind, rate), row in zip(trials, losses, strict=True):
        if row["validation_loss"] < best.get((n, kind), float("inf")):
            best[n, kind], rates[n, kind] = row["validation_loss"], rate
    tasks = {seed: make(seed) for seed in seeds}
    chosen = [(n, kind, seed, rates[n, kind]) for (n, kind), seed in product(nets, seeds)]
    rows = _runs([(tasks[seed], n, kind, seed, rate, steps) for n, kind, seed, rate in chosen])
    table = pl.DataFrame(
        [
            {"blocks": n, "kind": kind, "seed": seed, "rate": rate, **row}
            for (n, kind, seed, rate), row in zip(chosen, rows, strict=True)
        ]
    )
    return table.sort("blocks", "kind", "seed")


def _runs(arguments: Sequence[tuple[Task, int, str, int, float, int]]) -> list[dict[str, float]]:
    """`train_one` of each."""
    return side_by_side([delayed(train_one)(*own) for own in arguments], torch.device("cpu"))


def network(task: Task, blocks: int, kind: str, seed: int) -> OnOneTensor:
    """A net for a task; equal seeds give both kinds equal weights. No dropout: what is asked is how
    well a net can be trained."""
    torch.manual_seed(seed)
    net = TabularResNet(
        n_numeric=task.n_numeric, cardinalities=task.cardinalities, d_out=task.classes,
        d_block=WIDTH, n_blocks=blocks, dropout1=0.0,
    )  # fmt: skip
    if kind == "plain":
        plain = [WithoutSkip(block) for block in net.blocks if isinstance(block, TabularBlock)]
        net.blocks = nn.ModuleList(plain)
    return OnOneTensor(net)


def train_one(
    task: Task, blocks: int, kind: str, seed: int, rate: float, steps: int = STEPS
) -> dict[str, float]:
    """Train one net with AdamW and a one-cycle schedule.

    Returns loss and error of each part, and the norm of the gradient at the first linear layer of
    the first and of the last block, before training and after it."""
    with one_thread():
        net = network(task, blocks, kind, seed)
        row = {f"{end}_before": norm for end, norm in ends(net, task).items()}
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4)
        batches = -(-len(task.train.targets) // BATCH)
        epochs = -(-steps // batches)
        for _ in train_epochs(
            net, optimizer, *task.train, epochs=epochs, batch_size=BATCH, lr=rate,
            schedule=one_cycle, seed=seed, device=torch.device("cpu"), progress=False,
        ):  # fmt: skip
            pass
        row |= {f"{end}_after": norm for end, norm in ends(net, task).items()}
        for name in ("train", "validation", "test"):
            measured = evaluate(net, *getattr(task, name), device="cpu")
            row |= {f"{name}_loss": measured["loss"], f"{name}_error": 1 - measured["accuracy"]}
    return row


def ends(net: OnOneTensor, task: Task) -> dict[str, float]:
    """Gradient norms at the first and at the last block, on the first 512 training rows."""
    # the projection, two layers a block, the head
    _, *blocks, _ = gradient_norms(net, task.train.inputs[:512], task.train.targets[:512])
    return {"first": blocks[0], "last": blocks[-2]}
