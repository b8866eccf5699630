"""What the command learned, on disk beside the detector's model: the little of past events that
windows need. All that is counted is counted again from it."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl

from nbsrc.incidents.entities import Entities
from nbsrc.support.command import first_line
from nbsrc.support.files import whole

FILE = "incidents.parquet"
FORMAT = "2"


def save_past(past: pl.DataFrame, entities: Entities, folder: Path) -> None:
    """Write past events, as `IncidentFinder.fit` takes them, into a model's folder."""
    about = {"nbsrc": FORMAT, "entities": json.dumps(asdict(entities))}
    with whole(folder / FILE) as part:
        past.write_parquet(part, metadata=about)


def load_past(folder: Path) -> tuple[pl.DataFrame, Entities]:
    """What `save_past` wrote. Raises ValueError if it is damaged, or of another version."""
    path = folder / FILE
    try:
        about = pl.read_parquet_metadata(path)
        if about.get("nbsrc") != FORMAT:
            raise ValueError("it is of another version")
        return pl.read_parquet(path), Entities(**json.loads(about["entities"]))
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"{path} cannot be loaded: {first_line(error)}") from error
