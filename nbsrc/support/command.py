"""What the commands share: a parser and errors that say what is wrong in one line, never in a
traceback."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

PIPE = 128 + 13  # as if SIGPIPE had ended it


class Parser(argparse.ArgumentParser):
    """argparse's, with errors of one line, without the usage. `prog` is `python -m nbsrc.NAME`."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit with 2."""
        self.exit(2, f"{self.prog.split()[-1]}: {message} (--help explains)\n")


def parser(prog: str, about: str, more: str, options: Mapping[str, dict[str, Any]]) -> Parser:
    """A parser of `options`, each with its arguments of `add_argument`; `about` and `more` stand
    before and after them in the help, as they are."""
    made = Parser(
        prog=prog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=about,
        epilog=more,
    )
    for name, option in options.items():
        made.add_argument(name, **option)
    return made


def run(prog: str, work: Callable[[], None], *, interrupted: Callable[[], str]) -> int:
    """Do a command's work; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C, 141 where
    nobody reads what is printed.

    `interrupted` says what became of the work that Ctrl-C ended.
    """
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:  # as of `| head`: who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE
    except (OSError, ValueError) as error:
        print(f"{prog.split()[-1]}: {printable(first_line(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"Interrupted. {interrupted()}", file=sys.stderr)
        return 130
    return 0


def printable(text: str) -> str:
    """Without what a terminal would take as a command: events hold what attackers wrote."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its name; without the number of a system's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename is not None else "")
    return (str(error).strip() or type(error).__name__).splitlines()[0]
