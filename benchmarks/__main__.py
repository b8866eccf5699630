"""Measure the budgets: `make bench`. Prints figures; asserts nothing, since times depend on the
machine.

Ratios come from steps that take turns in one process, so that both see the same moods of the
machine."""

import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
import torchvision

from benchmarks import events, scoring, tabular
from benchmarks.memory import follow_memory
from nbsrc import resnet

ROOT = Path(__file__).parents[1]


def build(folder: Path) -> tuple[float, float, bool]:
    """Seconds, peak memory in GiB, and whether a cell was executed, of one build of the book in
    ``folder``."""
    program = Path(sys.executable).with_name("jupyter-book")
    start, peak = time.perf_counter(), [0.0]
    process = subprocess.Popen(
        [program, "build", "--quiet", "--warningiserror", "--keep-going", "."],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    watcher = threading.Thread(target=follow_memory, args=(psutil.Process(process.pid), peak))
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    if process.returncode:
        sys.exit(output)
    return time.perf_counter() - start, peak[0], "executing" in output


def builds() -> None:
    """A cold build, one with nothing changed, and one with a word of prose changed, on a copy of
    the book."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "book"
        ignored = shutil.ignore_patterns(
            "_build", ".venv", ".git", "__pycache__", "node_modules", "data", "runs"
        )
        shutil.copytree(ROOT, copy, ignore=ignored)
        (copy / "node_modules").symlink_to(ROOT / "node_modules")
        for name in ("cold", "nothing changed", "one word of prose changed"):
            if "prose" in name:
                chapter = copy / "part1-resnet.md"
                text = chapter.read_text().replace(
                    "It is tempting to answer", "It is easy to answer", 1
                )
                chapter.write_text(text)
            seconds, memory, executed = build(copy)
            cells = "cells executed" if executed else "no cell executed"
            print(
                f"build, {name}: {seconds:.0f} s, peak memory {memory:.1f} GiB, {cells}", flush=True
            )


def step(net: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return run


def interleaved(
    first: Callable[[], None], second: Callable[[], None], repeats: int
) -> tuple[float, float]:
    """Median seconds of each, taking turns; the order within a turn alternates."""
    times: tuple[list[float], list[float]] = ([], [])
    for run in (first, second):
        run()
    for turn in range(repeats):
        for which in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            (first, second)[which]()
            times[which].append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def training_steps() -> None:
    """A training step of our networks beside torchvision's."""
    images, labels = torch.randn(8, 3, 64, 64), torch.randint(1000, (8,))
    for name in ("resnet18", "resnet50"):
        ours = step(getattr(resnet, name)(), images, labels)
        theirs = step(getattr(torchvision.models, name)(), images, labels)
        our_time, their_time = interleaved(ours, theirs, repeats=40)
        print(
            f"training step, {name}: {our_time * 1e3:.1f} ms, "
            f"torchvision's {their_time * 1e3:.1f} ms, ratio {our_time / their_time:.3f}",
            flush=True,
        )


def main() -> None:
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, torch {torch.__version__}, "
          f"Python {platform.python_version()}", flush=True)  # fmt: skip
    training_steps()
    tabular.main()
    events.main()
    scoring.main()
    builds()


if __name__ == "__main__":
    main()
