"""A file's bytes into records, each with its place.

Most files hold one record a line: such a line is decoded as it is. Where a line is not a record,
brackets are matched. What stands between records (blanks, commas, the brackets of arrays, marks of
byte order) is passed over, so arrays, arrays one after the other, indented objects, and objects
without line ends between them need no cases of their own."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from nbsrc.events.decode import decode, once
from nbsrc.events.wrappers import LISTS

LIMIT = 2**20  # bytes of a record that does not end, before another is looked for in them
MARK = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()  # of byte order
STRING = rb'"(?:[^"\\\n]++|\\[^\n])*+"'
INSIDE = re.compile(rb'[^"{}\[\]]*+(?:' + STRING + rb'[^"{}\[\]]*+)*+')
BRACKET = re.compile(INSIDE.pattern + rb"[{}\[\]]")
BETWEEN = re.compile(rb"(?:[\s\x1e,\[\]]|" + MARK + rb")*+")
FIRST_KEY = re.compile(rb"\{\s*+(" + STRING + rb")")
# An object around a list of records that cannot be decoded as one: what stands before its list.
HEAD = re.compile(rb'"(?:[Rr]ecords|[Ee]vents|logEvents|hits)"\s*+:\s*+\[\s*+(?=\{|\Z)')
AROUND = re.compile(rb"(?:[\s\x1e,\[\]}]|" + MARK + rb")*+")


def records(chunks: Iterator[bytes]) -> Iterator[tuple[int, Any, bytes]]:
    """The place, the value and the JSON text of each record in a file's text; of what is no JSON,
    the ValueError that says why in the value's place.

    The place is the record's line where records are lines, else its number, from 1; 0 is the whole
    file: an array without an end.

    A broken record costs itself. It ends where its brackets match; if they don't, at the end of its
    line where records are lines; else where the next one begins: at the first key of the file's
    first record, or at a bracket that opens a line and is not indented further."""
    text, between = _Text(chunks), BETWEEN
    row = opened = 0
    starts = counted = True  # a line starts here; the last record's line end is counted
    while True:
        passed = text.skip(between)
        opened += passed.count(b"[") - passed.count(b"]")
        if b"\n" in passed:
            starts = True
            if passed.isspace() and not opened and (text.by_line or not row):
                row, counted = row + passed.count(b"\n") - (not counted), True
        if text.left() < len(MARK) and text.grow():
            continue
        if not text.left():
            break
        before = row
        for value, line in text.objects() if starts else ():
            row, counted = row + 1, True
            yield row, value, line
        if row > before:
            continue
        row += 1
        line = text.line() if starts else b""
        try:
            value, whole = _decoded(line)
            text.pass_over(line, good=True)
            text.by_line = counted = True
        except ValueError:
            starts = counted = False
            piece, head = text.stretch(), None
            try:
                value, whole = _decoded(piece)
            except ValueError as error:
                value, whole, head = error, piece, HEAD.search(piece[:4096])
            if head:
                piece, between = piece[: head.end()], AROUND
                row, opened = row - 1, opened + 1
            text.pass_over(piece, good=isinstance(value, dict))
            text.by_line = b"\n" not in piece
            if head:
                continue
        yield row, value, whole
    if opened > 0:
        yield 0, ValueError("the array has no end: the file may be cut short"), b""


def _decoded(text: bytes) -> tuple[Any, bytes]:
    value, text = decode(text)
    if isinstance(value, dict) and not LISTS.isdisjoint(value):
        once(text)  # if it has a key twice, its elements are read one by one
    return value, text


class _Text:
    """A window that moves over a file's text; `at` is the place in it that is read next."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._data, self._at = b"", 0
        self._indent, self._key = b"", b""
        self.by_line = False  # whether the last record was one line

    def left(self) -> int:
        return len(self._data) - self._at

    def grow(self) -> bool:
        """Let go of what is passed, and read at least as much as is left; False at the end."""
        parts, wanted = [self._data[self._at :]], max(1, self.left())
        for chunk in self._chunks:
            parts.append(chunk)
            wanted -= len(chunk)
            if wanted <= 0:
                break
        self._data, self._at = b"".join(parts), 0
        return len(self._data) > len(parts[0])

    def skip(self, pattern: re.Pattern[bytes]) -> bytes:
        """Pass over what is between records, and return it."""
        found = pattern.match(self._data, self._at)
        assert found
        self._at = found.end()
        if b"\n" in found[0]:
            indent = found[0].rpartition(b"\n")[2]
            self._indent = indent if indent.isspace() else b""
        return found[0]

    def pass_over(self, piece: bytes, *, good: bool) -> None:
        if good and not self._key:
            self._key = _first_key(piece)
        self._at += len(piece)

    def line(self) -> bytes:
        """The rest of the line; of one longer than `LIMIT`, perhaps its beginning."""
        while (end := self._data.find(b"\n", self._at)) < 0 and self.left() < LIMIT and self.grow():
            pass
        return self._data[self._at :] if end < 0 else self._data[self._at : end + 1]

    def objects(self) -> Iterator[tuple[Any, bytes]]:
        """The records from here on of which each is a line: most files are nothing else."""
        while (line := self.line()).rstrip().endswith(b"}"):
            try:
                value = orjson.loads(line)
            except ValueError:
                return
            if not isinstance(value, dict) or not LISTS.isdisjoint(value):
                return
            self.pass_over(line, good=True)
            self.by_line = True
            yield value, line

    def stretch(self) -> bytes:
        """The object that begins here, if its brackets match; else all that is before the next."""
        line = None if self._goes_on() else len(self.line().rstrip(b"\r\n"))
        if self._data[self._at] == ord("{"):
            while (size := self._matched(line)) == 0 and line is None:
                if (self.left() > LIMIT and self._next()) or not self.grow():
                    break
            if size > 0:
                return self._data[self._at : self._at + size]
        while not (size := self._next(line)):
            if line is not None or self.left() > LIMIT or not self.grow():
                size = self.left() if line is None else line
                break
        return self._data[self._at : self._at + size].rstrip(b", \t\r\n]")

    def _goes_on(self) -> bool:
        """Whether a record that is not whole in its line may go on in the next."""
        line = self.line()
        last = line.rstrip()[-1:]
        if not self.by_line or not line.endswith(b"\n"):
            return True
        if not line.startswith(b"{") or last in (b"{", b"["):
            return line.startswith(b"{")
        while not (following := self._data[self._at + len(line) :][:80].lstrip()) and self.grow():
            pass
        return last == b"," and not following.startswith((b"{", b"["))

    def _matched(self, size: int | None) -> int:
        """The size of the object that begins here; 0 if more text is needed, -1 if it is broken."""
        stop = len(self._data) if size is None else self._at + size
        place, expected = self._at, bytearray()
        while found := BRACKET.match(self._data, place, stop):
            place = found.end()
            bracket = self._data[place - 1]
            if bracket in b"{[":
                expected.append(bracket + 2)  # the closing one, in ASCII
            elif expected.pop() != bracket:
                return -1
            if not expected:
                return place - self._at
        found = INSIDE.match(self._data, place, stop)
        assert found
        return -1 if b"\n" in self._data[found.end() : stop] else 0  # a line ends in a text

    def _next(self, size: int | None = None) -> int:
        """How far away the next record begins, as far as can be told; 0 if none is seen."""
        stop = len(self._data) if size is None else self._at + size
        patterns = [rb"\n[ \t]{0,%d}(\{)" % len(self._indent)]
        if key := self._key or _first_key(self._data[self._at : self._at + 1000]):
            patterns.insert(0, rb"[\n,\[\]}]\s*+(\{\s*+" + re.escape(key) + rb"\s*+:)")
        for pattern in patterns:
            if found := re.compile(pattern).search(self._data, self._at + 1, stop):
                return found.start(1) - self._at
        return 0


def _first_key(record: bytes) -> bytes:
    found = FIRST_KEY.match(record)
    return found[1] if found else b""
