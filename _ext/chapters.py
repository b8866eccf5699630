"""Execute the chapters before Sphinx reads them, and cache what they print.

What runs is the chapter's notebook: its cells with all that they need, alone in an empty folder.
So one execution makes the page's outputs and proves that a reader can run the notebook. Chapters
run two at a time: each has stretches that only one core can work on.

MyST-NB can execute and cache a chapter by itself, but its cache (jupyter-cache) looks at the
chapter's code cells alone: a change in a module of ``nbsrc`` that the cells import would go
unseen. So every chapter gets a fingerprint of all that its notebook carries and of the lock file
in its kernelspec, which the cache does look at.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from book import ROOT, is_chapter, parse
from carried import Alone
from execution import ChapterError, execute_beside
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from myst import ExportError, naming
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

CACHE = ROOT / "_build" / ".jupyter_cache"
AT_ONCE = 2  # chapters that are executed side by side: a kernel takes up to two gigabytes
# Runs last, for the page only: MyST-NB finds the glued values in its outputs.
HAND_OVER = """\
import myst_nb

for name, value in glued.items():
    myst_nb.glue(name, value, display=False)
"""


def with_fingerprint(text: str, path: Path) -> tuple[str, set[Path]]:
    """The chapter's text with a fingerprint of what it runs on in its kernelspec, and those files.

    The number of lines stays the same, so that warnings name the right one.
    """
    with naming(path):
        alone = Alone(parse(text, path), path)
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for cell in alone.cells:
        digest.update(cell.source.encode())
    _, matter, body = text.split("---\n", 2)
    metadata = yaml.safe_load(matter)
    metadata["kernelspec"]["fingerprint"] = digest.hexdigest()
    return f"---\n{json.dumps(metadata)}{chr(10) * matter.count(chr(10))}---\n{body}", alone.files


def read_chapter(path: Path) -> NotebookNode:
    """The chapter as a notebook without outputs, its fingerprint in its metadata."""
    return parse(with_fingerprint(path.read_text(encoding="utf-8"), path)[0], path)


def run_alone(chapter: NotebookNode, path: Path) -> float:
    """Execute the chapter's notebook in an empty folder and put its outputs into ``chapter``;
    return the seconds it took."""
    return asyncio.run(run_beside(chapter, path))


async def run_beside(chapter: NotebookNode, path: Path, *, kernels: int = 1) -> float:
    """`run_alone`, for one of several ``kernels`` that share the cores."""
    alone = Alone(chapter, path)
    last = new_code_cell(HAND_OVER)
    kernel = {key: chapter.metadata["kernelspec"][key] for key in ("name", "display_name")}
    notebook = new_notebook(cells=[*alone.cells, last], metadata={"kernelspec": kernel})
    with TemporaryDirectory() as folder:
        seconds = await execute_beside(notebook, path.stem, folder=Path(folder), kernels=kernels)
    for count, (number, cell) in enumerate(alone.own.items(), 1):
        chapter.cells[number].update(outputs=cell.outputs, execution_count=count)
    chapter.cells[max(alone.own)].outputs += last.outputs
    chapter.metadata["language_info"] = notebook.metadata["language_info"]
    return seconds


def executed_chapters(paths: Iterable[Path]) -> dict[Path, NotebookNode]:
    """The chapters with their outputs: from the cache where nothing they run on has changed.

    The others are executed. If one fails, those beside it are stopped; what has come to its end
    before is in the cache.
    """
    cache = get_cache(CACHE)
    executed, outdated = {}, {}
    for path in paths:
        chapter = read_chapter(path)
        try:
            executed[path] = cache.merge_match_into_notebook(chapter)[1]
        except KeyError:
            outdated[path] = chapter
    if outdated:
        try:
            asyncio.run(execute_all(outdated, cache))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    return executed | outdated


async def execute_all(chapters: dict[Path, NotebookNode], cache: JupyterCacheAbstract) -> None:
    """Execute the chapters in place, ``AT_ONCE`` at a time, and put them into the cache."""
    kernels = min(AT_ONCE, len(chapters))
    free = asyncio.Semaphore(kernels)

    async def one(path: Path, chapter: NotebookNode) -> None:
        async with free:
            cells = sum(cell.cell_type == "code" for cell in chapter.cells)
            print(f"{path.stem}: executing {cells} cells", flush=True)
            seconds = await run_beside(chapter, path, kernels=kernels)
            bundle = CacheBundleIn(chapter, str(path), data={"execution_seconds": seconds})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            print(f"{path.stem}: executed in {seconds:.0f} s", flush=True)

    async with asyncio.TaskGroup() as group:
        # Every other one first: neighbours need most memory, Parts 3 and 4, and so run in turn.
        ordered = sorted(chapters)
        for path in ordered[::2] + ordered[1::2]:
            group.create_task(one(path, chapters[path]))


def execute_outdated(app, env, docnames: list[str]) -> None:
    paths = [Path(env.doc2path(docname)) for docname in docnames]
    try:
        executed_chapters(path for path in paths if is_chapter(path))
    # One message, without Sphinx's and Jupyter Book's tracebacks.
    except (ChapterError, ExportError) as error:
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
