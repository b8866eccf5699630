"""One run trained by several processes, each on its share of every batch (data parallelism): what
`torchrun` starts.

DistributedDataParallel averages the gradients. With the batch statistics of `JointBatchNorm`, the
steps are those of one process at the same batch, up to rounding."""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nbsrc.training import default_device


class Team(NamedTuple):
    """The processes that train together: this one's number, how many there are, and its device."""

    rank: int
    size: int
    device: torch.device

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of the rows."""
        return rows.tensor_split(self.size)[self.rank]

    @contextmanager
    def first(self) -> Iterator[None]:
        """What the first process does before the others do it, too."""
        if self.rank:
            dist.barrier()
        yield
        if self.size > 1 and not self.rank:
            dist.barrier()

    def total(self, row: dict[str, float], weights: dict[str, float]) -> dict[str, float]:
        """The row with sums over all processes in place of this one's parts: of the values whose
        names begin with one of `weights` and an underscore, each times its weight."""
        if self.size == 1:
            return row
        own = {n: v * w for n, v in row.items() if (w := weights.get(n.partition("_")[0]))}
        parts = torch.tensor(list(own.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(parts)
        return row | dict(zip(own, parts.tolist(), strict=True))

    def joined(self, model: nn.Module) -> nn.Module:
        """The model as all processes train it: equal in each, with joint gradients and batch
        statistics. Its own parameters and buffers are the ones that change."""
        if self.size == 1:
            return model
        if self.device.type == "cuda":
            model.to(memory_format=torch.channels_last)  # before gradients have a place
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = JointBatchNorm  # with all that it has
        with warnings.catch_warnings():
            # torch 2.15 says so of `broadcast_buffers`; what takes its place is not in torch 2.4.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(model, broadcast_buffers=False)  # they are equal


@contextmanager
def team() -> Iterator[Team]:
    """The processes that `torchrun` started, joined by NCCL on CUDA and by Gloo on CPUs; else this
    one alone. Raises ValueError if a process has no CUDA device of its own."""
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    device = default_device()
    if size == 1:
        yield Team(0, 1, device)
        return
    if device.type == "cuda":
        local, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if int(os.environ["LOCAL_WORLD_SIZE"]) > devices:
            raise ValueError(f"torchrun started more processes than the {devices} CUDA devices")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(rank, size, device)
    finally:
        dist.destroy_process_group()


def first_speaks(work: Callable[[], int]) -> int:
    """A command's work and its exit status; of the processes that `torchrun` started, the first
    alone prints. What goes wrong does so in all, and `torchrun` ends all with the first to fail:
    the others wait."""
    if int(os.environ.get("RANK", 0)) == 0:
        return work()
    status = 1
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            status = work()
        finally:
            if status:
                time.sleep(3)
    return status


class JointBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes together (Ioffe and Szegedy 2015, Algorithm 1, on
    the whole batch). Outside of training, it is `nn.BatchNorm2d`.

    `nn.SyncBatchNorm` is the same on CUDA, and refuses a CPU.

    Shape: (batch, channels, height, width) -> the same."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise, and follow the statistics."""
        if not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        own = x.new_tensor([x.numel() / x.shape[1]])
        count = _sum(own)
        mean = _sum(x.sum((0, 2, 3))) / count
        centered = x - mean[:, None, None]
        variance = _sum(centered.square().sum((0, 2, 3))) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised = centered * scale[:, None, None] + self.bias[:, None, None]
        return normalised.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class _Sum(torch.autograd.Function):
    """The sum over all processes; each one's gradient is the sum of what all make of it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _Sum._reduced(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum._reduced(gradients[0])

    @staticmethod
    def _reduced(own: Tensor) -> Tensor:
        joint = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(joint)
        return joint


def _sum(own: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(own)
    return total
