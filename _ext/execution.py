"""Run notebooks' cells in fresh kernels, with their progress, and name the cell that fails."""

import asyncio
import os
import signal
import time
from pathlib import Path

from joblib import cpu_count
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from tqdm import tqdm

TIMEOUT = 600  # seconds a cell may take
# Polars gives back at once what it has freed.
ALLOCATOR = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}


class ChapterError(Exception):
    """A chapter did not run to its end; the message names the chapter, the cell and the error."""


def how_it_ended(kernel) -> str:
    """In words, what the process of a kernel manager ended with."""
    process = kernel.provisioner.process
    if process is None:
        return (
            "the kernel was shut down, by an interrupt of this process or because it gave no answer"
        )
    code = process.poll()
    if code >= 0:
        return f"the kernel died with exit code {code}"
    hint = "; out of memory?" if code == -signal.SIGKILL else ""
    return f"the kernel died of signal {-code}, {signal.Signals(-code).name}{hint}"


def share_of_cores(kernels: int) -> dict[str, str]:
    """What tells torch and joblib in each of so many kernels how many cores are theirs."""
    cores = str(max(1, cpu_count() // kernels))
    return {"OMP_NUM_THREADS": cores, "LOKY_MAX_CPU_COUNT": cores}


def execute(notebook: NotebookNode, name: str, *, folder: Path) -> float:
    """Run every cell of ``notebook`` in place, in a fresh kernel; return the seconds it took.

    Raises ChapterError if a cell raises, runs too long, or takes the kernel down. It names the
    cell by its line in the chapter where the cell's metadata has one, else by its number.
    """
    return asyncio.run(execute_beside(notebook, name, folder=folder))


async def execute_beside(
    notebook: NotebookNode, name: str, *, folder: Path, kernels: int = 1
) -> float:
    """`execute`, for one of several ``kernels`` that share the cores."""
    # A kernel that ends too early leaves nbclient's watch over it behind, whose last words nobody
    # wants to hear.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    code_cells = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    running = 0
    bar = tqdm(total=len(code_cells), desc=name, unit="cell", disable=None, leave=False)

    def started(cell: NotebookNode, cell_index: int) -> None:
        nonlocal running
        running = cell_index

    def finished(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
        bar.update(cell.cell_type == "code")

    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=40"],  # without ipykernel's warnings about its transport
        record_timing=False,
        on_cell_start=started,
        on_cell_executed=finished,
    )
    kernel = client.create_kernel_manager()
    start = time.perf_counter()
    try:
        await client.async_execute(env=share_of_cores(kernels) | os.environ | ALLOCATOR)
    # The last two: there is no kernel any more.
    except (CellExecutionError, CellTimeoutError, RuntimeError, AssertionError) as error:
        cell = notebook.cells[running]
        if isinstance(error, CellExecutionError):
            reason = f"{error.ename}: {error.evalue}"
        elif isinstance(error, CellTimeoutError):
            reason = f"ran for more than {TIMEOUT} seconds"
        else:
            reason = how_it_ended(kernel)
        line = cell.metadata.get("line")
        where = f"line {line}" if line else f"code cell {code_cells.index(running) + 1}"
        source = "\n".join("    " + line for line in cell.source.split("\n"))
        raise ChapterError(f"{name}, {where}: {reason}\n{source}") from None
    finally:
        bar.close()
    return time.perf_counter() - start
