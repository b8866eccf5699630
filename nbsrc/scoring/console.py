"""What the commands about files of events say and refuse alike: places that are read and written,
rejects, notes, columns."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nbsrc.scoring.files import Report, describe
from nbsrc.scoring.scorer import EPOCHS, Scorer
from nbsrc.support.command import printable
from nbsrc.support.files import check_replaceable
from nbsrc.tabular.rules import has_moments

STANDARD_INPUT = Path("-")
OUT: dict[str, Any] = {
    "type": Path,
    "metavar": "FILE",
    "required": True,
    "help": "the Parquet file to write, replaced if it is there",
}


def learning_options(results: str) -> dict[str, dict[str, Any]]:
    """Options on how a model is learned, whose `results` are "scores" or the like."""
    return {
        "--epochs": {
            "type": int,
            "default": EPOCHS,
            "metavar": "N",
            "help": "passes over the baseline at most (default: %(default)s)",
        },
        "--seed": {
            "type": int,
            "default": 0,
            "metavar": "N",
            "help": f"equal seeds give equal {results} on a CPU (default: 0)",
        },
    }


def check_paths(
    read: Iterable[Path], written: Mapping[str, Path | None], model: Path | None
) -> None:
    """Raise what can be known to be wrong with the places before the work, OSError or ValueError.

    read: those of all events. written: the files to write, by their options."""
    given = list(read)
    if given.count(STANDARD_INPUT) > 1:
        raise ValueError("- is the standard input, which can be read once")
    given = [path for path in given if path != STANDARD_INPUT]
    files = {option: path for option, path in written.items() if path}
    for option, path in files.items():
        if path.is_dir():
            raise ValueError(f"{option} {path} is a folder: name a file in it")
        check_replaceable(path)
    for option, path in (files | ({"--model": model} if model else {})).items():
        if not path.resolve().parent.is_dir():
            raise ValueError(f"{option} {path} is in a folder that does not exist")
        if not os.access(path.resolve().parent, os.W_OK):
            raise PermissionError(f"{option} {path} is in a folder that cannot be written to")
        for place in given:
            if _is_in(path, place) or _same_file(path, place):
                raise ValueError(
                    f"{option} {path} is among the events to read, in {place}: name another place"
                )
        if option != "--model" and model is not None and _is_in(path, model):
            raise ValueError(f"{option} {path} is in the model's folder: name another place")
    options = list(files)
    for i, option in enumerate(options):
        for earlier in options[:i]:
            one, other = files[option], files[earlier]
            if _is_in(one, other) or _same_file(one, other):
                raise ValueError(f"{earlier} and {option} are both {one}: name two files")
    for place in given:
        if not place.exists():
            raise FileNotFoundError(f"no such file or folder: {place}")
    if model is not None and model.exists() and not model.is_dir():
        raise ValueError(f"--model {model} is a file: name a folder")


def _is_in(path: Path, folder: Path) -> bool:
    return folder.resolve() in [path.resolve(), *path.resolve().parents]


def _same_file(a: Path, b: Path) -> bool:
    return a.is_file() and b.is_file() and a.samefile(b)


def print_learning(events: int, report: Report) -> None:
    """How many events are learned from, and what was read for them."""
    print(
        f"Learning from {events} of the baseline's {report.read} records, "
        f"{report.rejected} rejected."
    )
    print_rejects(report)
    print_notes(report)


def print_cycles(scorer: Scorer) -> None:
    """What the baseline is too short for."""
    times = [c for c in scorer.encoder.columns_ if c.kind == "time" and has_moments(c)]
    for part, cycle, told in (("hour", "day", "hours"), ("weekday", "week", "weekdays")):
        if times and not any(getattr(c, told) for c in times):
            print(f"The baseline covers less than a {cycle}: no {part} counts as unusual.")
            return


def print_rejects(report: Report) -> None:
    """The first rejects, and how many more there are."""
    for reject in report.first_rejects:
        print(f"  rejected: {describe(*reject)}")
    if report.rejected > len(report.first_rejects):
        print(f"  and {report.rejected - len(report.first_rejects)} more")


def print_notes(report: Report) -> None:
    """What was done to the files, and which columns they write otherwise."""
    for note, times in report.notes.items():
        print(f"  {printable(note)}: {times}")
    written = {f"{name} ({how})" for name, how in report.written.items()}
    print_columns("Columns that the files write otherwise", written)


def print_columns(what: str, names: set[str]) -> None:
    """Some columns' names, in one line."""
    if names:
        some = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
        print(f"{what}: {len(names)} ({printable(some)})")
