"""A text file's bytes into records: each a line of its own, with its place in the file."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from typing import BinaryIO

Line = tuple[int, bytes]  # where the record stands in its file (from 1), and its text
Reject = tuple[str, int, str]
SPACE = re.compile(r"[ \t\r\n]*")


def lines_of(file: BinaryIO | gzip.GzipFile, name: str, lost: list[Reject]) -> Iterator[Line]:
    """The records of a text file, each on one line. What cannot be divided into records goes to
    `lost`."""
    lines = (
        (i, line) for i, line in enumerate(_unbroken(file, name, lost), 1) if not line.isspace()
    )
    head = list(islice(lines, 2))
    if not head:
        return
    first = head[0][1].removeprefix(b"\xef\xbb\xbf")
    head[0] = head[0][0], first
    start = first.lstrip()[:1]
    # A line that is not JSON by itself, and is followed by one that starts no record: perhaps an
    # indented object.
    indented = (
        start == b"{" and len(head) == 2 and not head[1][1].startswith(b"{") and not _is_json(first)
    )
    if start == b"[" or indented:
        rest = list(chain(head, lines))
        text = b"".join(line for _, line in rest).decode("utf-8", "surrogateescape")
        elements = _array(text, name, lost) if start == b"[" else _objects(text)
        yield from rest if elements is None else elements
    else:
        yield from chain(head, lines)


def _unbroken(file: BinaryIO | gzip.GzipFile, name: str, lost: list[Reject]) -> Iterator[bytes]:
    try:
        yield from file
    except (EOFError, OSError, zlib.error) as error:
        lost.append((name, 0, f"the file cannot be read to its end: {first_line(error)}"))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _objects(text: str) -> list[Line] | None:
    """One or more indented objects; None if the text is anything else."""
    decode, at, found = json.JSONDecoder().raw_decode, _skip(text, 0), list[Line]()
    while at < len(text):
        try:
            end = decode(text, at)[1]
        except (ValueError, RecursionError):
            return None
        found.append((len(found) + 1, _one_line(text[at:end])))
        at = _skip(text, end)
    return found


def _array(text: str, name: str, lost: list[Reject]) -> Iterator[Line]:
    """The elements of the JSON array `text`."""
    decode, row = json.JSONDecoder().raw_decode, 0
    at = _skip(text, _skip(text, 0) + 1)
    key = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"\s*:').match(text, at)
    again = (
        re.compile(r",\s*(?=" + r"\s*".join(map(re.escape, key[0].split())) + ")") if key else None
    )
    while at < len(text) and text[at] != "]":
        row += 1
        try:
            end = decode(text, at)[1]
            stop = _skip(text, end)
            whole = text[stop : stop + 1] in (",", "]", "")
        except (ValueError, RecursionError):
            whole = False
        if whole:
            yield row, _one_line(text[at:end])
        else:
            resumed = again.search(text, at + 1) if again else None
            stop = resumed.start() if resumed else len(text)
            yield (
                row,
                _one_line(text[at:stop]) + b" ",
            )  # not JSON: the reader of lines rejects it and says why
        at = stop
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    if at >= len(text):
        lost.append((name, 0, "the array has no end: the file may be cut short"))
    elif _skip(text, at + 1) < len(text):
        lost.append((name, 0, "text after the end of the array"))


def _one_line(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").replace(b"\n", b" ").replace(b"\r", b" ")


def _skip(text: str, at: int) -> int:
    return SPACE.match(text, at).end()  # type: ignore[union-attr]  # the pattern matches the empty string too


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
