"""A fitted encoder on disk: one file of tensors, with its columns as JSON beside them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.columns import Column

FORMAT = 2
SCALES = ("center", "scale")  # of the columns, kept as float64 so that not a bit is lost


def write_encoder(path: Path, settings: dict[str, Any], columns: list[Column]) -> None:
    """Write EventEncoder's arguments, and what it decided, to the file `path`."""
    told = [asdict(c) for c in columns]
    scales = {k: torch.tensor([c.pop(k) for c in told], dtype=torch.float64) for k in SCALES}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, scales, {"format": FORMAT, "settings": settings, "columns": told})


def read_encoder(path: Path) -> tuple[dict[str, Any], list[Column]]:
    """What `write_encoder` wrote.

    Raises FileNotFoundError if `path` is not there, ValueError if it is damaged, something else or
    of another format.
    """
    if not path.exists():
        raise FileNotFoundError(f"no saved encoder: {path} is not there")
    try:
        scales, about = read_tensors(path)
        if about["format"] != FORMAT:
            raise ValueError(
                f"its format is {about['format']}, and this version of nbsrc reads {FORMAT}"
            )
        rows = zip(about["columns"], *(scales[name].tolist() for name in SCALES), strict=True)
        columns = [Column(**told, center=center, scale=scale) for told, center, scale in rows]
        settings = about["settings"]
        return settings | {"exclude": tuple(settings["exclude"])}, columns
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"the encoder in {path} cannot be loaded: {error}") from error
