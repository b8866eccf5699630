"""Results of commands that take longer than a page may, stored with what made them."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import torch

from nbsrc.support.files import whole


def provenance(command: str, device: torch.device, packages: Sequence[str]) -> dict[str, Any]:
    """The command, the date, the hardware, and the versions of Python, torch and `packages`."""
    cpu = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name: version(name) for name in packages},
        },
    }


def write_result(path: Path, rows: pl.DataFrame, about: dict[str, Any]) -> None:
    """Write a table and its provenance, with whatever else is to be said of it (`data`, `seconds`),
    as one JSON file with one line a row."""
    lines = ",\n".join(f"    {json.dumps(row)}" for row in rows.iter_rows())
    head = f'  "about": {json.dumps(about)},\n  "columns": {json.dumps(rows.columns)},\n'
    text = f'{{\n{head}  "rows": [\n{lines}\n  ]\n}}\n'
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def read_result(path: Path | str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table of a stored result, and what it says about itself."""
    result = json.loads(Path(path).read_text(encoding="utf-8"))
    table = pl.DataFrame(
        result["rows"], schema=result["columns"], orient="row", infer_schema_length=None
    )
    return table, result["about"]
