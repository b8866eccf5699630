"""The state of a pre-training run on disk, from which it goes on as if it had never stopped."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nbsrc.selfsupervised.model import MaskedModel
from nbsrc.support.tensors import read_tensors, write_tensors

History = list[dict[str, float]]


def save_checkpoint(
    path: Path,
    model: MaskedModel,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    history: History,
    run: dict[str, Any],
) -> None:
    """Write a run's state: weights, the optimizer's state, the best weights so far, the epochs'
    rows. `run` is what the result depends on."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
    write_tensors(path, tensors, run | {"history": history})


def resume(
    path: Path, model: MaskedModel, optimizer: torch.optim.Optimizer, run: dict[str, Any]
) -> tuple[History, dict[str, Tensor]]:
    """Put model and optimizer into the state that `save_checkpoint` wrote; returns the epochs' rows
    and the best weights. Raises ValueError if the file is damaged or of another run."""
    tensors, about = read_tensors(path)
    for name, value in run.items():
        if about.get(name) != value:
            raise ValueError(
                f"{path} is of another run: {name} is {about.get(name)} there, "
                f"however: {value} here"
            )
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor.to(model.mask_vectors.device)
    model.load_state_dict(parts["model"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        i, _, key = name.partition(".")
        state.setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    return about["history"], parts["best"]
