"""Files that a reader downloads once, and that are what they should be."""

import hashlib
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from nbsrc.support.files import whole

SECONDS = 60  # to wait for an answer


class Source(NamedTuple):
    """A file: its name in the reader's folder, where it is downloaded from, its sha256."""

    name: str
    url: str
    sha256: str


def fetch(source: Source, folder: Path | str) -> Path:
    """The file in `folder`, downloaded there if it is missing.

    Raises FileNotFoundError if there is no such folder; ValueError if the file is another one than
    expected; OSError if it can't be downloaded. Nothing half is left."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no data folder {folder}: create it to have {source.name} downloaded there"
        )
    path = folder / source.name
    if path.exists():
        if checksum(path.read_bytes()) != source.sha256:
            raise ValueError(f"{path} is damaged: remove it to download it again")
        return path
    try:
        with urllib.request.urlopen(source.url, timeout=SECONDS) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:
        raise OSError(f"{source.name} could not be downloaded into {folder}: {error}") from error
    if checksum(content) != source.sha256:
        raise ValueError(f"{source.url} is not the file that it was: nothing written")
    path.parent.mkdir(exist_ok=True)
    with whole(path) as part:
        part.write_bytes(content)
    return path


def checksum(content: bytes) -> str:
    """sha256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
