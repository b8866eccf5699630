"""A file is written whole or not at all: beside its place first, then moved there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; what is there at the end of the `with` statement takes the
    place of `path`, or of what it is a link to.

    Where an error ends it, `path` stays as it was, and nothing is left beside it. Two processes may
    write to one place: the last one's file is there. Raises ValueError if `path` is a device or the
    like, OSError that names it if there is no space."""
    check_replaceable(path)
    target = Path(os.path.realpath(path))
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with naming(path):
            yield part
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in errors of a full disk, which don't."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            why = os.strerror(error.errno).lower()
            raise OSError(f"{path} cannot be written: {why}") from error
        raise


def check_replaceable(path: Path) -> None:
    """Raise ValueError if there is something at `path` that a file should not take the place of."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file: name another place")
