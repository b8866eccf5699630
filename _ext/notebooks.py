"""Write notebooks/<chapter>.ipynb, a notebook that runs alone, for every chapter of the table of
contents, with the numbers and the outputs of the page.

jupytext and MyST-NB's own converter carry the chapter's directives over as raw text, and
sphinx-tojupyter needs Sphinx to run the book through a writer of its own, which knows neither
sphinx-design nor glued numbers; none of them brings the helper modules or live listings along.
So this is an exporter of its own, on myst-parser's tokens, for the directives that the chapters
use; one that it does not know is an error, not raw text.
"""

import ast
import json
import re
import sys

import nbformat
from book import ROOT, Book, chapter_paths, exported_paths
from chapters import executed_chapters
from conversion import Chapter
from execution import ChapterError
from figures import compact
from myst import ExportError
from nbformat import NotebookNode
from pybtex.database import parse_file

NOTEBOOKS = ROOT / "notebooks"
LARGEST = 300_000  # characters of an output; a larger one is left out


def without_results() -> dict[str, Chapter]:
    """Every exported chapter by its name, neither numbers nor outputs filled in."""
    book = Book(chapter_paths())
    library = parse_file(str(ROOT / "references.bib"), bib_format="bibtex").entries
    return {path.stem: Chapter(path, book, library) for path in exported_paths()}


def glued(executed: NotebookNode) -> dict[str, object]:
    """The values that a chapter's text takes from its cells."""
    values = {}
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name:
                (text,) = output.data.values()
                values[name] = ast.literal_eval(text)
    return values


def outputs(cell: NotebookNode) -> list[NotebookNode]:
    """What a cell of the page shows, as far as it is small."""
    shown = []
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/svg+xml" in data:
            data["image/svg+xml"] = compact(data["image/svg+xml"])
        if "scrapbook" not in output.get("metadata", {}) and len(json.dumps(output)) <= LARGEST:
            shown.append(output)
    return shown


def fill_in(chapter: Chapter, executed: NotebookNode) -> None:
    """Put the page's numbers into the text, and its outputs under the cells."""
    values = glued(executed)

    def number(match: re.Match) -> str:
        name, _, spec = match[1].partition(":")
        return format(values[name], spec)

    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub("\0(.+?)\0", number, cell.source)
    for place, cell in chapter.own.items():
        cell.outputs = outputs(executed.cells[place])
    code = [cell for cell in chapter.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count


def main() -> None:
    """Chapters that have changed are executed first, as for the page."""
    NOTEBOOKS.mkdir(exist_ok=True)
    chapters = without_results()
    for old in NOTEBOOKS.glob("*.ipynb"):
        if old.stem not in chapters:
            old.unlink()
    executed = executed_chapters(chapter.path for chapter in chapters.values())
    for name, chapter in chapters.items():
        fill_in(chapter, executed[chapter.path])
        text = nbformat.writes(chapter.notebook(), version=4) + "\n"
        (NOTEBOOKS / f"{name}.ipynb").write_text(text, encoding="utf-8")
        print(f"notebooks/{name}.ipynb")


if __name__ == "__main__":
    try:
        main()
    except (ExportError, ChapterError) as error:
        sys.exit(str(error))
