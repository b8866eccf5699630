"""The book's chapters in their order, and what a reference to a figure, table, equation, exercise
or section says."""

from pathlib import Path

import yaml
from myst import Block, blocks, is_container, naming
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]


def chapter_paths() -> list[Path]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"]]
    for part in [toc, *toc.get("parts", [])]:
        names += [chapter["file"] for chapter in part.get("chapters", [])]
    return [ROOT / f"{name}.md" for name in names]


def is_chapter(path: Path) -> bool:
    return path.suffix == ".md" and is_myst_markdown_notebook(path.read_text(encoding="utf-8"))


def exported_paths() -> list[Path]:
    """The chapters that have a notebook: those with cells. The landing page is no chapter."""
    return [path for path in chapter_paths()[1:] if is_chapter(path)]


def parse(text: str, path: Path) -> NotebookNode:
    """A chapter's text as a notebook; its metadata's ``source_map`` has the cells' first lines."""
    return read_myst_markdown_notebook(
        text, config=MdParserConfig(), add_source_map=True, path=str(path)
    )


class Book:
    """Labels, numbers and titles of chapters in their order.

    ``labels`` says what a reference to a label reads, such as "Fig. 2", "(4)" or a heading;
    ``numbers`` has the number of those that are numbered, as Sphinx counts: through the whole
    book, exercises from 1 in each chapter. ``titles`` has those of pages and of exercises.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.labels: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.titles: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        for path in paths:
            with naming(path):
                self.learn(path)

    def add(self, kind: str, label: str) -> None:
        number = self.counts[kind] = self.counts.get(kind, 0) + 1
        self.numbers[label] = number
        self.labels[label] = f"({number})" if kind == "Equation" else f"{kind} {number}"

    def learn(self, path: Path) -> None:
        self.counts.pop("Exercise", None)
        self.titles[path.stem] = path.stem
        for cell in parse(path.read_text(encoding="utf-8"), path).cells:
            if cell.cell_type == "markdown":
                self.learn_text(cell.source, path.stem)
            elif figure := cell.metadata.get("mystnb", {}).get("figure"):
                self.add("Fig.", figure.get("name", ""))

    def learn_text(self, text: str, page: str) -> None:
        target = ""
        for block in blocks(text):
            if block.kind == "heading":
                heading = block.body.lstrip("# ")
                if block.argument == "h1":
                    self.titles[page] = heading
                if target:
                    self.labels[target] = heading
            self.learn_block(block, page)
            target = block.argument if block.kind == "target" else ""

    def learn_block(self, block: Block, page: str) -> None:
        name = block.options.get("name", "")
        if block.kind == "mermaid" and "caption" in block.options:
            self.add("Fig.", name)
        elif block.kind == "list-table" and block.argument:
            self.add("Table", name)
        elif block.kind == "equation":
            self.add("Equation", block.argument)
        elif block.kind == "exercise":
            label = block.options.get("label", "")
            self.add("Exercise", label)
            self.titles[label] = block.argument
        elif is_container(block):
            self.learn_text(block.body, page)
