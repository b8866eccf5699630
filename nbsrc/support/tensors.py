"""Tensors on disk, without pickle: one safetensors file with what is to be known about them and a
checksum."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nbsrc.support.files import whole

HEADER = 8  # bytes that hold the length of safetensors' header


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write `tensors`, and `about` as JSON, as one safetensors file in place of what is there."""
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    told = json.dumps(about)
    metadata = {"about": told, "sha256": _checksum(told, _values(save(tensors)))}
    with whole(path) as part:
        part.write_bytes(save(tensors, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote, and what is known about it.

    Raises FileNotFoundError if there is no such file; ValueError if it is something else, or
    damaged."""
    content = path.read_bytes()
    try:
        tensors = load(content)
        metadata = json.loads(_header(content))["__metadata__"]
        if metadata["sha256"] != _checksum(metadata["about"], _values(content)):
            raise ValueError("it is not as it was saved")
        return tensors, json.loads(metadata["about"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged, or was not written by nbsrc: {error}") from error


def _header(content: bytes) -> bytes:
    return content[HEADER : HEADER + int.from_bytes(content[:HEADER], "little")]


def _values(content: bytes) -> bytes:
    return content[HEADER + int.from_bytes(content[:HEADER], "little") :]


def _checksum(about: str, values: bytes) -> str:
    return hashlib.sha256(about.encode() + b"\0" + values).hexdigest()
