"""Paths into files, and files into the bytes of their text.

What a file is decides itself by its first bytes, not by its name."""

import bz2
import codecs
import lzma
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import zstandard

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
CHUNK = 2**20  # bytes
PACKED = 1024  # bytes that are unpacked at once: what a damaged stream may lose
# What each kind of compressed file begins with, and what unpacks it.
UNPACKERS: dict[bytes, Any] = {
    b"\x1f\x8b\x08": lambda: zlib.decompressobj(31),
    b"\x28\xb5\x2f\xfd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}
BOOKKEEPING = "files and folders left out as bookkeeping: _NAME, .NAME, a table's metadata"
NESTED = 4  # compressed files within compressed files


@dataclass(frozen=True)
class File:
    """A file to read; `path` is None for the standard input. `columns` are the values that the
    names of its folders give, such as `region=eu-west-1`."""

    name: str
    path: Path | None = None
    columns: dict[str, str | None] = field(default_factory=dict)
    error: str = ""  # why it cannot be read, if that is known


def files_of(paths: Paths, notes: Counter[str]) -> list[File]:
    """The files that the paths stand for; `-` is the standard input. Raises FileNotFoundError if a
    path does not exist."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files: list[File] = []
    for path in map(Path, given):
        if str(path) == "-":
            files.append(File("standard input"))
        elif path.is_dir():
            files += sorted(_inside(path, notes), key=lambda file: file.path or path)
        elif path.exists():
            files.append(File(str(path), path, _columns(path)))
        else:
            raise FileNotFoundError(f"no such file or folder: {path}")
    return files


def _inside(folder: Path, notes: Counter[str]) -> Iterator[File]:
    """The files in a folder and below it; links are followed, each folder is read once.

    Left out, and told in `notes`, is what tables and tools keep for themselves: names that begin
    with `_` or `.`, and the folder `metadata` of an Iceberg table."""
    seen = {os.path.realpath(folder)}
    failed: list[OSError] = []
    for top, folders, names in os.walk(folder, onerror=failed.append, followlinks=True):
        for name in list(folders):
            real = os.path.realpath(Path(top, name))
            metadata = name == "metadata" and any(Path(top, name).glob("*.metadata.json"))
            if name.startswith(("_", ".")) or metadata:
                notes[BOOKKEEPING] += 1
                folders.remove(name)
            elif real in seen:
                notes["folders left out that a link leads to again"] += 1
                folders.remove(name)
            seen.add(real)
        for name in names:
            path = Path(top, name)
            if name.startswith(("_", ".")):
                notes[BOOKKEEPING] += 1
            elif path.is_file():
                yield File(str(path), path, _columns(path))
            else:
                yield File(str(path), path, error="not a file: a link without end, or a pipe")
    for error in failed:
        yield File(str(error.filename), Path(error.filename), error=f"cannot be read: {error}")


def _columns(path: Path) -> dict[str, str | None]:
    columns: dict[str, str | None] = {}
    for folder in path.parents:
        name, equals, value = folder.name.partition("=")
        if not (name and equals):
            break
        columns[unquote(name)] = None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
    return dict(reversed(columns.items()))


@contextmanager
def opened(file: File) -> Iterator[BinaryIO]:
    """The file's bytes. Raises OSError if there are none to be had."""
    if file.error:
        raise OSError(file.error)
    if file.path is None:
        yield sys.stdin.buffer
    else:
        with file.path.open("rb") as raw:
            yield raw


def chunks_of(raw: BinaryIO) -> Iterator[bytes]:
    """The file's bytes, unpacked if they are compressed."""
    return _unpacked(iter(lambda: raw.read(CHUNK), b""), NESTED)


def peeked(chunks: Iterator[bytes], size: int = 8) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= size:
            break
    return head[:size], chain([head], chunks)


def _unpacked(chunks: Iterator[bytes], nested: int) -> Iterator[bytes]:
    head, chunks = peeked(chunks)
    new = next((new for magic, new in UNPACKERS.items() if head.startswith(magic)), None)
    if not new:
        yield from chunks
    elif not nested:
        raise ValueError("compressed too many times")
    else:
        yield from _unpacked(_members(chunks, new), nested - 1)


def _members(chunks: Iterator[bytes], new: Any) -> Iterator[bytes]:
    """What one compressed stream after the other holds."""
    unpacker = new()
    for chunk in chunks:
        for start in range(0, len(chunk), PACKED):
            packed = chunk[start : start + PACKED]
            while packed:
                if unpacker.eof:
                    packed = packed.lstrip(b"\0")  # which some writers fill up with
                    if not packed:
                        break
                    unpacker = new()
                yield unpacker.decompress(packed)
                packed = unpacker.unused_data if unpacker.eof else b""
    if not unpacker.eof:
        raise EOFError("the compressed stream is cut short")


def as_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Text as UTF-8, which may be UTF-16: of JSON in that, every second byte at first is 0; or
    UTF-32 with a mark of byte order."""
    head, chunks = peeked(chunks)
    if head.count(0) < 3:
        yield from chunks
        return
    encoding = "utf-16-be" if head.startswith((b"\xfe\xff", b"\0")) else "utf-16-le"
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        encoding = "utf-32"
    for text in codecs.iterdecode(chunks, encoding, errors="replace"):
        yield text.encode()
