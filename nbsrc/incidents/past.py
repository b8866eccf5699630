"""What the command learned, on disk beside the detector's model, in one folder: the encoder of
events in context, and a file with all else."""

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from nbsrc.incidents.context import ContextSurprise
from nbsrc.incidents.entities import Entities
from nbsrc.incidents.finder import IncidentFinder
from nbsrc.incidents.rules import Rules
from nbsrc.incidents.surprise import WindowSurprise
from nbsrc.incidents.together import Rate
from nbsrc.incidents.windows import Seen
from nbsrc.support.command import first_line
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.encoder import EventEncoder

FOLDER, ENCODER, LEARNED = "incidents", "encoder.safetensors", "learned.safetensors"
EARLIER = "incidents.parquet"  # where versions up to 2 kept past events
FORMAT = 3


def learned_in(model: Path) -> bool:
    """Whether a model's folder holds what `save_finder` wrote, in whatever state."""
    return (model / FOLDER / LEARNED).exists() or (model / EARLIER).exists()


def save_finder(finder: IncidentFinder, model: Path) -> None:
    """Write a fitted finder into a model's folder."""
    windows, context = finder.windows_, finder.context_
    frames = {"windows": windows.past_, "seen": windows.seen_.rows, "recent": context.recent_}
    frames |= {f"known.{name}": own.to_frame() for name, own in finder.rules_.known_.items()}
    tensors = {f"frame.{name}": _bytes(frame) for name, frame in frames.items()}
    tensors |= {f"rate.{n}": torch.from_numpy(rate.past) for n, rate in finder.rates_.items()}
    if context.surprise_ is not None:
        tensors |= {f"network.{n}": t for n, t in context.surprise_.tensors().items()}
    about = {
        "format": FORMAT,
        "entities": asdict(finder.entities),
        "days": windows.days_,
        "rates": {name: rate.days for name, rate in finder.rates_.items()},
    }
    (model / FOLDER).mkdir(exist_ok=True)
    context.encoder_.save(model / FOLDER / ENCODER)
    write_tensors(model / FOLDER / LEARNED, tensors, about)


def load_finder(model: Path) -> IncidentFinder:
    """What `save_finder` wrote; nothing is learned or counted again. Raises ValueError if it is not
    there, damaged, or of another version."""
    folder = model / FOLDER
    try:
        if not folder.exists():
            raise ValueError("it is of an earlier version: learn another model")
        tensors, about = read_tensors(folder / LEARNED)
        if about["format"] != FORMAT:
            raise ValueError("it is of another version: learn another model")
        entities = Entities(**about["entities"])
        finder = IncidentFinder(entities)
        finder.rules_ = Rules()
        finder.rules_.known_ = {
            name.removeprefix("frame.known."): _frame(tensor).to_series()
            for name, tensor in tensors.items()
            if name.startswith("frame.known.")
        }
        finder.windows_ = windows = WindowSurprise(entities)
        windows.past_, windows.days_ = _frame(tensors["frame.windows"]), about["days"]
        windows.seen_ = Seen(_frame(tensors["frame.seen"]), entities)
        network = {n.removeprefix("network."): t for n, t in tensors.items() if "network." in n}
        finder.context_ = ContextSurprise(entities).restore(
            EventEncoder.load(folder / ENCODER), _frame(tensors["frame.recent"]), network
        )
        finder.rates_ = {
            name: Rate(tensors[f"rate.{name}"].numpy(), days)
            for name, days in about["rates"].items()
        }
        return finder
    except (KeyError, OSError, RuntimeError, TypeError, ValueError,
            pl.exceptions.PolarsError) as error:  # fmt: skip
        raise ValueError(f"{folder} cannot be loaded: {first_line(error)}") from error


def _bytes(frame: pl.DataFrame) -> Tensor:
    """A frame as Arrow's bytes: (bytes,)"""
    file = io.BytesIO()
    frame.write_ipc(file, compression="zstd")
    return torch.from_numpy(np.frombuffer(file.getvalue(), np.uint8).copy())


def _frame(content: Tensor) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(content.numpy().tobytes()))
