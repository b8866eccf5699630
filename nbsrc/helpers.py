"""Processes that help: work that comes in pieces is shared between this process and others.

Threads are not enough where the interpreter itself has work to do: only one of them runs it at a
time."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context, parent_process
from typing import TypeVar

import torch

from nbsrc.training import one_thread

Piece = TypeVar("Piece")
Result = TypeVar("Result")


@contextmanager
def helpers(number: int) -> Generator[list[Executor]]:
    """`number` further processes, each with one thread for its work. They start while this process
    goes on.

    As with all of multiprocessing, a script that uses them has its own work under `if __name__ ==
    "__main__":`. There are none outside of the main thread, which alone can keep Ctrl-C from them.
    """
    if not number or threading.current_thread() is not threading.main_thread():
        yield []
        return
    with ExitStack() as stack:
        # Ctrl-C in a terminal reaches every process: only this one is to answer it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            started: list[Executor] = []
            for _ in range(number):
                process = ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin)
                started.append(stack.enter_context(process))
                process.submit(os.getpid)  # nothing is started before there is work
        finally:
            signal.signal(signal.SIGINT, before)
        yield started


def _begin() -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"  # Polars looks at it when it first has work
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def share(
    pieces: Iterable[Piece],
    here: Callable[[Piece], Result],
    there: Callable[[Piece], Result],
    others: Sequence[Executor],
) -> Generator[Result]:
    """The results of all pieces, in their order: `here` in a thread of this process, `there` in the
    others.

    Each has one piece at a time, a helper from when it has started. A piece whose helper died is
    done here."""
    done: dict[int, Result] = {}
    first = 0
    with one_thread(), ThreadPoolExecutor(1) as own:
        free: list[Executor] = [own]
        busy: dict[Future, tuple[int, Piece, Executor | None]] = {}
        starting: dict[Future, Executor] = {}
        for helper in others:
            with suppress(BrokenExecutor):
                starting[helper.submit(os.getpid)] = helper

        def give(who: Executor, i: int, piece: Piece) -> None:
            try:
                busy[who.submit(here if who is own else there, piece)] = i, piece, who
            except BrokenExecutor:
                busy[own.submit(here, piece)] = i, piece, None

        def collect() -> None:
            """Wait until somebody is free."""
            for future in wait([*starting, *busy], return_when=FIRST_COMPLETED).done:
                if future in starting:
                    helper = starting.pop(future)
                    if future.exception() is None:
                        free.append(helper)
                    continue
                i, piece, who = busy.pop(future)
                try:
                    done[i] = future.result()
                except BrokenExecutor:
                    busy[own.submit(here, piece)] = i, piece, None
                else:
                    if who:
                        free.append(who)

        def in_order() -> Generator[Result]:
            nonlocal first
            while first in done:
                yield done.pop(first)
                first += 1

        for i, piece in enumerate(pieces):
            while not free:
                collect()
            give(free.pop(), i, piece)
            yield from in_order()
        while busy:
            collect()
            yield from in_order()
