"""Execute the chapters before Sphinx reads them, and cache what they print.

MyST-NB can execute and cache a chapter by itself, but its cache (jupyter-cache) looks at the
chapter's code cells alone: a change in a module of ``nbsrc`` that the cells import would go
unseen. So every chapter gets a fingerprint of those modules, of data that the cells name and of
the lock file in its kernelspec, which the cache does look at. The execution itself is done here as
well, to show its progress and to name the cell that fails.
"""

import ast
import asyncio
import hashlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "_build" / ".jupyter_cache"
TIMEOUT = 600  # seconds a cell may take
# Polars gives back at once what it has freed.
ALLOCATOR = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}


class ChapterError(Exception):
    """A chapter did not run to its end; the message names the chapter, the cell and the error."""


def names_imported(source: str, inside: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """What ``source`` imports, as the parts of dotted names; ``inside`` is the package it is in."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names |= {(*base, alias.name) for alias in node.names}
    return names


def imported_modules(source: str, package: Path = ROOT / "nbsrc") -> set[Path]:
    """Files of ``package`` that the Python ``source`` runs by its imports, directly or through each
    other: ``import nbsrc.a.b`` runs ``nbsrc/__init__.py``, ``nbsrc/a/__init__.py`` and
    ``nbsrc/a/b.py``."""
    found: set[Path] = set()
    waiting = names_imported(source)
    while waiting:
        name = waiting.pop()
        for end in range(1, len(name) + 1) if name[0] == package.name else ():
            path = package.parent.joinpath(*name[:end])
            for file in (path / "__init__.py", path.with_suffix(".py")):
                if file.is_file() and file not in found:
                    found.add(file)
                    inside = file.parent.relative_to(package.parent).parts
                    waiting |= names_imported(file.read_text(encoding="utf-8"), inside)
    return found


def code_of(notebook: NotebookNode) -> str:
    """The Python of all code cells, without the lines that only IPython understands.

    What a cell runs by ``python -m nbsrc.NAME`` stands at the end, as imports.
    """
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    lines = ["pass" if line.startswith(("%", "!")) else line for line in code.split("\n")]
    for command in re.findall(r"-m\W+(nbsrc(?:\.\w+)*)", code):
        lines.append(f"import {command}, {command}.__main__")
    return "\n".join(lines)


def data_files(code: str) -> set[Path]:
    """Files of the repository that a cell names, such as ``"results/table.csv"``."""
    constants = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    named = [value for value in constants if isinstance(value, str) and len(value) < 200]
    paths = [ROOT / name for name in named if re.fullmatch(r"[\w.-]+(/[\w.-]+)+", name)]
    return {path for path in paths if path.is_file()}


def parse(text: str, path: Path) -> NotebookNode:
    return read_myst_markdown_notebook(
        text, config=MdParserConfig(), add_source_map=True, path=str(path)
    )


def with_fingerprint(text: str, path: Path) -> tuple[str, set[Path]]:
    """The chapter's text with a fingerprint of what it runs on in its kernelspec, and those files.

    The number of lines stays the same, so that warnings name the right one.
    """
    code = code_of(parse(text, path))
    files = imported_modules(code) | data_files(code)
    digest = hashlib.sha256()
    for file in [ROOT / "requirements.txt", *sorted(files)]:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT).as_posix()} {len(content)}\n".encode() + content)
    _, matter, body = text.split("---\n", 2)
    metadata = yaml.safe_load(matter)
    metadata["kernelspec"]["fingerprint"] = digest.hexdigest()
    return f"---\n{json.dumps(metadata)}{chr(10) * matter.count(chr(10))}---\n{body}", files


def read_chapter(path: Path) -> NotebookNode:
    """The chapter as a notebook without outputs, its fingerprint in its metadata."""
    return parse(with_fingerprint(path.read_text(encoding="utf-8"), path)[0], path)


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


async def to_its_end(client: NotebookClient) -> None:
    # A kernel that ends too early leaves nbclient's watch over it behind, whose last words nobody
    # wants to hear.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    await client.async_execute(env=os.environ | ALLOCATOR | {"PYTHONPATH": search})


def execute(notebook: NotebookNode, name: str, *, folder: Path = ROOT) -> float:
    """Run every cell of ``notebook`` in place, in a fresh kernel; return the seconds it took.

    Raises ChapterError if a cell raises, runs too long, or takes the kernel down.
    """
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
        record_timing=False,  # it would write into the metadata that the cache compares
        on_cell_start=started,
        on_cell_executed=finished,
    )
    kernel = client.create_kernel_manager()
    start = time.perf_counter()
    try:
        asyncio.run(to_its_end(client))
    except (
        CellExecutionError,
        CellTimeoutError,
        RuntimeError,
        AssertionError,
    ) as error:  # the last two: no kernel
        cell = notebook.cells[running]
        lines = notebook.metadata.get("source_map")
        where = f" (line {lines[running] + 1})" if lines else ""
        if isinstance(error, CellExecutionError):
            reason = f"{error.ename}: {error.evalue}"
        elif isinstance(error, CellTimeoutError):
            reason = f"ran for more than {TIMEOUT} seconds"
        else:
            reason = how_it_ended(kernel)
        number = code_cells.index(running) + 1
        source = "\n".join("    " + line for line in cell.source.split("\n"))
        raise ChapterError(f"{name}, code cell {number}{where}: {reason}\n{source}") from None
    finally:
        bar.close()
    return time.perf_counter() - start


def executed_chapter(path: Path) -> NotebookNode:
    """The chapter with its outputs: from the cache where nothing it runs on has changed."""
    cache = get_cache(CACHE)
    notebook = read_chapter(path)
    try:
        return cache.merge_match_into_notebook(notebook)[1]
    except KeyError:
        pass
    print(
        f"{path.stem}: executing {sum(c.cell_type == 'code' for c in notebook.cells)} cells",
        flush=True,
    )
    seconds = execute(notebook, path.stem, folder=path.parent)
    bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": seconds})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    print(f"{path.stem}: executed in {seconds:.0f} s", flush=True)
    return notebook


def is_chapter(path: Path) -> bool:
    return path.suffix == ".md" and is_myst_markdown_notebook(path.read_text(encoding="utf-8"))


def execute_outdated(app, env, docnames: list[str]) -> None:
    for docname in docnames:
        path = Path(env.doc2path(docname))
        if is_chapter(path):
            try:
                executed_chapter(path)
            except (
                ChapterError
            ) as error:  # one message, without Sphinx's and Jupyter Book's tracebacks
                sys.exit(f"\n{error}")


def add_fingerprint(app, docname: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(docname))
    if is_chapter(path):
        source[0], files = with_fingerprint(source[0], path)
        for file in files:
            app.env.note_dependency(str(file))


def setup(app) -> dict:
    sys.path.insert(0, str(ROOT))
    app.connect("env-before-read-docs", execute_outdated)
    app.connect("source-read", add_fingerprint)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
