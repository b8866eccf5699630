"""A run's three files, each replaced as a whole after every epoch, so that none is ever
half-written:

- `checkpoint.safetensors`: weights under `model.`, SGD's momentum under `momentum.`, and the run,
- `log.csv`: one row for each epoch,
- `run.json`: what was run, when, on what, with which versions and data.
"""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nbsrc.support.files import whole
from nbsrc.support.results import provenance
from nbsrc.support.tensors import read_tensors, write_tensors

CHECKPOINT = "checkpoint.safetensors"


class Run(NamedTuple):
    """What a run is, beside its tensors: written to all of its files, read back from the
    checkpoint."""

    settings: dict[str, Any]  # what must be equal for a run to be resumed
    sessions: list[dict[str, Any]]  # one for every time the command was started
    rows: list[dict[str, float]]  # one for every finished epoch

    def save(self, out: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write the three files into the folder `out`; no `log.csv` before the first epoch."""
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        for name, parameter in model.named_parameters():
            if "momentum_buffer" in optimizer.state[parameter]:
                tensors[f"momentum.{name}"] = optimizer.state[parameter]["momentum_buffer"]
        write_tensors(out / CHECKPOINT, tensors, self._asdict())
        result = {"epochs": len(self.rows), "seconds": sum(row["seconds"] for row in self.rows)}
        if self.rows:
            result["test_accuracy"] = self.rows[-1]["test_accuracy"]
            with (
                whole(out / "log.csv") as part,
                part.open("w", encoding="utf-8", newline="") as log,
            ):
                writer = csv.DictWriter(log, list(self.rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)
        record = {"settings": self.settings, "sessions": self.sessions, "result": result}
        with whole(out / "run.json") as part:
            part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, out: Path) -> tuple["Run", dict[str, Tensor]]:
        """The run in the folder `out` and its checkpoint's tensors.

        Raises FileNotFoundError if there is no checkpoint, ValueError if it is damaged."""
        path = out / CHECKPOINT
        if not path.is_file():
            raise FileNotFoundError(f"no checkpoint {path}: leave out --resume to start a run")
        tensors, about = read_tensors(path)
        if about.keys() != set(cls._fields):
            raise ValueError(f"{path} is no checkpoint of this command")
        return cls(**about), tensors


def restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's weights and momentum back. Raises ValueError if the weights do not fit."""
    weights = {
        name.removeprefix("model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint's tensors don't fit the model: {str(error).splitlines()[-1].strip()}"
        ) from error
    for name, parameter in model.named_parameters():
        if (momentum := tensors.get(f"momentum.{name}")) is not None:
            buffer = torch.empty_like(parameter, requires_grad=False)
            optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(momentum)


def session(command: str, device: torch.device, first_epoch: int) -> dict[str, Any]:
    """Who trains: the command, the date, the machine and the versions."""
    about = provenance(command, device, ("pillow",))
    precision = "bf16 autocast" if device.type == "cuda" else "fp32"
    return {**about, "first_epoch": first_epoch, "precision": precision}
