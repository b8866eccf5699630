"""A chapter as a notebook: the cells that run alone, and the text between them as plain Markdown.

Numbers that the text quotes stand in it between two NUL characters, as the chapter names them,
until ``notebooks`` fills in those of the page.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import nbformat
from book import Book, parse
from carried import FOLDED, Alone, is_listing
from citations import cited, references
from myst import PARSER, QUOTED, Block, ExportError, blocks, is_container, naming
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from pybtex.database import Entry

HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}


class Chapter:
    """``cells`` are the notebook's; ``own`` has those of the chapter by their numbers in it."""

    def __init__(self, path: Path, book: Book, library: dict[str, Entry]) -> None:
        self.path, self.book, self.library = path, book, library
        self.cited: dict[str, Entry] = {}
        self.solving = ""  # the title of the solution that is being read
        self.cells: list[NotebookNode] = []
        with naming(path):
            self.read(parse(path.read_text(encoding="utf-8"), path))
        identify(self.cells)

    def read(self, chapter: NotebookNode) -> None:
        alone = Alone(chapter, self.path)
        self.own, self.listings = alone.own, iter(alone.listings)
        for number, cell in enumerate(chapter.cells):
            if cell.cell_type == "code":
                self.code(self.own[number], cell.metadata)
            else:
                self.convert(cell.source)
        titled = [cell.cell_type for cell in self.cells[:1]] == ["markdown"]
        self.cells.insert(int(titled), alone.cells[0])

    def notebook(self) -> NotebookNode:
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
        notebook = new_notebook(cells=self.cells, metadata=metadata)
        nbformat.validate(notebook)
        return notebook

    # -- cells --

    def code(self, cell: NotebookNode, options: dict) -> None:
        cell.metadata = {}
        if set(options.get("tags", [])) & HIDDEN or self.solving:
            cell.metadata = {**FOLDED, "jupyter": {"source_hidden": True}}
        if self.solving:
            cell.metadata["jupyter"]["outputs_hidden"] = True
        if cell.source.strip():
            self.cells.append(cell)
        figure = options.get("mystnb", {}).get("figure", {})
        if "caption" in figure:
            self.figure_caption(figure.get("name", ""), figure["caption"])

    def markdown(self, text: str) -> None:
        """Text, joined to text before it where that is not a code cell, and no heading begins."""
        if not text.strip():
            return
        last = self.cells[-1] if self.cells else None
        if last and last.cell_type == "markdown" and not text.startswith("#"):
            last.source += "\n\n" + text
        else:
            self.cells.append(new_markdown_cell(text))

    def around(self, body: str, wrap: Callable[[str], str], heading: str) -> None:
        """``body`` wrapped, where all of it is text; else under a heading, since a cell can't be
        inside of text."""
        outer, self.cells = self.cells, []
        self.convert(body)
        inner, self.cells = self.cells, outer
        if all(cell.cell_type == "markdown" for cell in inner):
            self.markdown(wrap("\n\n".join(cell.source for cell in inner)))
        else:
            self.markdown(f"**{heading}**")
            self.cells += inner

    # -- text --

    def convert(self, text: str) -> None:
        parts: list[str] = []
        for block in blocks(text):
            if block.kind == "text":
                parts.append(block.plain(self.role))
                continue
            self.paragraphs(parts)
            parts = [block.plain(self.role)] if block.kind == "heading" else []
            if block.kind != "heading":
                self.directive(block)
        self.paragraphs(parts)

    def paragraphs(self, parts: list[str]) -> None:
        text = "\n\n".join(parts)
        self.markdown(folded(self.solving, text) if self.solving and text else text)

    def inline(self, text: str) -> str:
        return "\n\n".join(block.plain(self.role) for block in blocks(text))

    def role(self, name: str, text: str) -> str:
        title, target = "", text
        if text.endswith(">") and "<" in text:
            title, _, target = text[:-1].rpartition("<")
            title = title.strip()
        if name == "glue:text":
            return f"\0{text}\0"
        if name in ("cite:p", "cite:t"):
            return self.citation(text, in_text=name == "cite:t")
        if name == "term":
            return title or target
        if name == "doc":
            return title or f"*{self.book.titles[Path(target).stem]}*"
        if name in ("ref", "numref", "eq"):
            if target not in self.book.labels:
                raise ExportError(f"{{{name}}}`{text}`: no such label")
            label = self.book.labels[target]
            return title or (label if target in self.book.numbers else f"*{label}*")
        raise ExportError(f"{{{name}}}`{text}`: a role that the notebook exporter doesn't know")

    def citation(self, text: str, *, in_text: bool) -> str:
        keys = [key.strip() for key in text.split(",")]
        for key in keys:
            if key not in self.library:
                raise ExportError(f"{key} is cited and not in references.bib")
            self.cited[key] = self.library[key]
        return cited([self.library[key] for key in keys], in_text=in_text)

    def figure_caption(self, name: str, text: str) -> None:
        label = self.book.labels.get(name)
        self.markdown(self.inline(f"*{label}. {text}*" if label else f"*{text}*"))

    # -- directives --

    def directive(self, block: Block) -> None:
        kind, argument, name = block.kind, block.argument, block.options.get("name", "")
        if kind == "target":
            pass
        elif kind == "equation":
            self.markdown(f"$$\n{block.body} \\tag{{{self.book.numbers[argument]}}}\n$$")
        elif kind in QUOTED:
            title = self.inline(argument) or kind.capitalize()
            self.around(block.body, lambda text: quoted(title, text), title)
        elif kind == "dropdown":
            title = self.inline(argument or "More")
            self.around(block.body, lambda text: folded(title, text), title)
        elif kind == "exercise":
            title = f" ({self.inline(argument)})" if argument else ""
            label = self.book.labels[block.options.get("label", "")]
            self.markdown(f"**{label}{title}.**")
            self.convert(block.body)
        elif kind == "solution-start":
            self.solving = f"Solution to {self.book.labels[argument]}"
        elif kind == "solution-end":
            self.solving = ""
        elif is_container(block):
            self.markdown(f"**{self.inline(argument)}**" if argument and kind != "grid" else "")
            self.convert(block.body)
        elif is_listing(block):
            self.cells.append(next(self.listings))
        elif kind == "literalinclude":
            path = self.path.parent / argument
            language = block.options.get("language", path.suffix[1:])
            self.markdown(f"```{language}\n{path.read_text(encoding='utf-8').rstrip()}\n```")
        elif kind == "mermaid":
            self.markdown(f"```mermaid\n{block.body}\n```")
            if "caption" in block.options:
                self.figure_caption(name, block.options["caption"])
            if "alt" in block.options:
                self.markdown(self.inline(f"*The diagram: {block.options['alt']}*"))
        elif kind == "list-table":
            if argument:
                self.markdown(self.inline(f"**{self.book.labels[name]}.** {argument}"))
            self.markdown(self.inline(pipe_table(block)))
        elif kind == "bibliography":
            listed = references(list(self.cited.values()))
            self.markdown("\n".join(f"- **[{label}]** {text}" for label, text in listed))
        else:
            raise ExportError(f"{{{kind}}}: a block that the notebook exporter doesn't know")


def folded(title: str, text: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def quoted(title: str, text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in [f"**{title}**", "", *text.split("\n")])


def pipe_table(block: Block) -> str:
    """A list-table's rows as a Markdown table."""
    rows: list[list[str]] = []
    for token in PARSER.parse(block.body):
        if token.type == "list_item_open" and token.level == 1:
            rows.append([])
        elif token.type == "list_item_open":
            rows[-1].append("")
        elif token.type == "inline":
            rows[-1][-1] += token.content.replace("\n", " ").replace("|", "\\|")
    head = rows.pop(0) if int(block.options.get("header-rows", 0)) else [""] * len(rows[0])
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def identify(cells: list[NotebookNode]) -> None:
    """Ids from what the cells say, so that an edit changes no other cell's id."""
    seen: dict[str, int] = {}
    for cell in cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
