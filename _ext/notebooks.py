"""Write notebooks/<chapter>.ipynb, a notebook that runs alone, for every chapter of the table of
contents.

jupytext and MyST-NB's own converter carry the chapter's directives over as raw text, and
sphinx-tojupyter needs Sphinx to run the book through a writer of its own, which knows neither
sphinx-design nor glued numbers; none of them brings the helper modules or live listings along.
So this is an exporter of its own, on MyST-NB's parser, for the directives that the chapters use;
one that it does not know is an error, not raw text.

What a notebook has that its chapter has not:

- The ``nbsrc`` modules that it uses, in folded %%writefile cells, and the packages for Colab.
- Where the page shows a listing, a ``%%listing`` cell: run, it puts its code into the module's
  file and loads the modules anew, so that an edit takes effect in all that follows.
- Paragraphs with glued numbers are cells that fill the numbers in.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import nbformat
import yaml
from chapters import ROOT, code_of, data_files, imported_modules, is_chapter, parse
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pybtex.database import Entry, parse_file
from pybtex.plugin import find_plugin

NOTEBOOKS = ROOT / "notebooks"
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}|:{3,})\s*(?P<info>.*?)\s*$")
DIRECTIVE = re.compile(r"^\{(?P<name>[\w:-]+)\}\s*(?P<argument>.*)$")
ROLE = re.compile(r"\{(?P<role>[\w:]+)\}(?P<ticks>`+)(?P<text>.+?)(?P=ticks)", re.DOTALL)
WITH_TITLE = re.compile(r"^(.*?)\s*<([^<>]+)>$", re.DOTALL)
VERBATIM = re.compile(  # fenced code, and code between backticks
    r"^ *(`{3,}|~{3,}).*?^ *\1`* *$|(?<!`)(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\2(?!`)",
    re.MULTILINE | re.DOTALL,
)
ROLE_OR_VERBATIM = re.compile(f"{VERBATIM.pattern}|{ROLE.pattern}", re.MULTILINE | re.DOTALL)

SETUP = """\
# The setting up of this notebook. It may stay folded: run it and read on.
import importlib
import importlib.util
import sys
from pathlib import Path

from IPython.display import Markdown

if "google.colab" in sys.modules:  # on Colab only: install what it lacks
    import subprocess

    needed = {packages}
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *needed], check=True)

Path("nbsrc").mkdir(exist_ok=True)  # the cells below write the modules that this notebook uses into it
if sys.path[0] not in ("", str(Path.cwd())):
    sys.path.insert(0, "")

numbers = {{}}  # what the text quotes


def glue(name, value, display=False):
    numbers[name] = value
"""

LISTING = """\
# What makes the listings below live: a %%listing cell holds the code of a module. Edit it and run
# it: the module's file and all that was imported from it are renewed, and the cells that follow
# use your code. (Objects made before keep the old one; make them anew.)
import ast
import types

from IPython import get_ipython
from IPython.core.magic import register_cell_magic


@register_cell_magic
def listing(line, cell):
    module, name = line.split()
    path = Path(*module.split(".")).with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    node = ast.parse(source)
    for part in name.split("."):
        node = next(n for n in node.body if getattr(n, "name", None) == part)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    indented = [" " * node.col_offset + line if line else "" for line in cell.rstrip().split("\\n")]
    lines = source.split("\\n")
    if lines[first : node.end_lineno] != indented:
        lines[first : node.end_lineno] = indented
        path.write_text("\\n".join(lines), encoding="utf-8")
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
        load_anew()
    get_ipython().push({name.split(".")[0]: getattr(importlib.import_module(module), name.split(".")[0])})


def load_anew():
    loaded = [name for name in sys.modules if name.split(".")[0] == "nbsrc"]
    for name in loaded:
        del sys.modules[name]
    for name in loaded:
        importlib.import_module(name)
    space = get_ipython().user_ns
    for name, value in list(space.items()):
        if isinstance(value, types.ModuleType) and value.__name__ in loaded:
            space[name] = sys.modules[value.__name__]
        elif isinstance(value, (type, types.FunctionType)) and value.__module__ in loaded:
            space[name] = getattr(sys.modules[value.__module__], value.__name__, value)
    if "joblib.externals.loky" in sys.modules:  # worker processes hold the old modules
        sys.modules["joblib.externals.loky"].get_reusable_executor().shutdown()
"""


class ExportError(Exception):
    """A chapter has something that the exporter can't turn into plain Markdown; the message says
    what and where."""


@dataclass
class Label:
    """What a reference to a label says: "Fig. 2", "the basic block"."""

    text: str
    number: int | None = None


@dataclass
class Book:
    """What chapters need to know of each other: labels, numbers and titles, in the order of the
    table of contents."""

    labels: dict[str, Label] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, label: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        number = self.counts[kind]
        self.labels[label] = Label(
            f"({number})" if kind == "Equation" else f"{kind} {number}", number
        )


@dataclass
class Directive:
    name: str
    argument: str
    options: dict
    body: str


def chapter_paths() -> list[Path]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"]]
    for part in [toc, *toc.get("parts", [])]:
        names += [chapter["file"] for chapter in part.get("chapters", [])]
    return [ROOT / f"{name}.md" for name in names]


def blocks(text: str) -> Iterator[str | Directive]:
    """The text cut at its directives. Directives inside a list or a quotation count as text."""
    lines, plain, i = text.split("\n"), [], 0
    while i < len(lines):
        opening = FENCE.match(lines[i])
        if not opening or (opening["indent"] and not DIRECTIVE.match(opening["info"])):
            plain.append(lines[i])
            i += 1
            continue
        fence = opening["fence"]
        closing = re.compile(rf"^ *{re.escape(fence[0])}{{{len(fence)},}}\s*$")
        end = next((j for j in range(i + 1, len(lines)) if closing.match(lines[j])), len(lines))
        directive = DIRECTIVE.match(opening["info"])
        if directive:
            if "\n".join(plain).strip():
                yield "\n".join(plain).strip("\n")
            plain = []
            body = textwrap.dedent("\n".join(lines[i + 1 : end])).split("\n")
            options, body = directive_options(body)
            yield Directive(
                directive["name"], directive["argument"], options, "\n".join(body).strip("\n")
            )
        else:
            plain += lines[i : end + 1]
        i = end + 1
    if "\n".join(plain).strip():
        yield "\n".join(plain).strip("\n")


def directive_options(body: list[str]) -> tuple[dict, list[str]]:
    if body and body[0].strip() == "---":
        end = body.index("---", 1)
        return yaml.safe_load("\n".join(body[1:end])) or {}, body[end + 1 :]
    options = {}
    while body and (match := re.match(r"^:([\w-]+):\s*(.*)$", body[0])):
        options[match[1]] = match[2]
        body = body[1:]
    return options, body


def exported_paths() -> list[Path]:
    """The chapters that have a notebook: those with cells. The landing page is no chapter."""
    return [path for path in chapter_paths()[1:] if is_chapter(path)]


def learn_labels(book: Book, path: Path) -> None:
    """Number what has numbers, as Sphinx does: through the whole book."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    book.titles[path.stem] = title[1] if title else path.stem
    for target, heading in re.findall(r"^\((.+)\)=\n+#+ (.+)$", text, re.MULTILINE):
        book.labels[target] = Label(heading)
    learn_directives(book, text)


def learn_directives(book: Book, text: str) -> None:
    for block in blocks(text):
        if isinstance(block, str):
            without_code = VERBATIM.sub("", block)
            for label in re.findall(r"\$\$ *\(([\w:-]+)\)", without_code):
                book.add("Equation", label)
            continue
        figure = (block.options.get("mystnb") or {}).get("figure") or {}
        if block.name == "code-cell" and figure:
            book.add("Fig.", figure.get("name", ""))
        elif block.name in ("figure", "mermaid") and (
            block.name == "figure" or "caption" in block.options
        ):
            book.add("Fig.", block.options.get("name", ""))
        elif block.name in ("table", "list-table", "csv-table") and block.argument:
            book.add("Table", block.options.get("name", ""))
        elif block.name == "math" and "label" in block.options:
            book.add("Equation", block.options["label"])
        elif block.name == "exercise":
            book.add("Exercise", block.options.get("label", ""))
            book.titles[block.options.get("label", "")] = block.argument
        elif block.name not in ("code-cell", "mermaid", "literalinclude", "math", "code-block"):
            learn_directives(book, block.body)


class Chapter:
    """One chapter on its way to a notebook."""

    def __init__(self, path: Path, book: Book, library: dict[str, Entry]) -> None:
        self.path, self.book, self.library = path, book, library
        self.cited: list[str] = []
        self.solving = ""  # the title of the solution that is being read
        self.cells: list[nbformat.NotebookNode] = []
        self.notebook = parse(path.read_text(encoding="utf-8"), path)
        text = "\n".join(c.source for c in self.notebook.cells if c.cell_type == "markdown")
        self.cite_in_order(text)

    # -- cells --

    def add(self, kind: str, source: str, metadata: dict | None = None) -> None:
        last = self.cells[-1] if self.cells else None
        if (
            kind == "markdown"
            and last
            and last.cell_type == "markdown"
            and not source.startswith("#")
        ):
            last.source += "\n\n" + source
            return
        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        self.cells.append(make(source=source, metadata=metadata or {}))

    def prose(self, text: str) -> None:
        """Markdown, where a paragraph that quotes glued numbers becomes a cell that fills them
        in."""
        text = self.inline(text)
        for paragraph in re.split(r"\n{2,}(?![ \n])", text.strip("\n")):
            if "\0" not in paragraph:
                self.markdown(paragraph)
                continue
            escaped = re.sub(r"\{|\}", lambda m: m[0] * 2, paragraph)
            filled = re.sub(r"\0([^\0]+)\0", lambda m: "{" + number(m[1]) + "}", escaped)
            folded = self.fold(filled) if self.solving else filled
            self.add("code", f'Markdown(rf"""\n{folded}\n""")', FOLDED)

    def markdown(self, text: str) -> None:
        for part in re.split(r"(?m)^(?=#{1,6} )", text) if not self.solving else [text]:
            if part.strip():
                self.add(
                    "markdown", self.fold(part.strip("\n")) if self.solving else part.strip("\n")
                )

    def fold(self, text: str) -> str:
        return f"<details>\n<summary>{self.solving}</summary>\n\n{text}\n\n</details>"

    # -- inline --

    def inline(self, text: str) -> str:
        """Plain Markdown for a text without directives: no roles, targets, comments or
        attributes."""
        kept: list[str] = []

        def role_or_keep(match: re.Match) -> str:
            if match["role"]:
                return self.role(match)
            kept.append(match[0])
            return f"\1{len(kept) - 1}\1"

        text = ROLE_OR_VERBATIM.sub(role_or_keep, re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL))
        text = re.sub(r"(?m)^(\([^)\s]+\)=|%.*|\+\+\+.*|\{[#.][^}]*\})$\n?", "", text)
        text = re.sub(r"(?<=[\])`\x01])\{[#.][^}\n]*\}", "", text)
        text = re.sub(r"\[([^\]]+)\]\{[#.][^}]*\}", r"\1", text)
        text = re.sub(r"(?s)\$\$(.*?)\$\$ *\(([\w:-]+)\)", self.numbered, text)
        return re.sub(r"\x01(\d+)\x01", lambda m: kept[int(m[1])], text)

    def numbered(self, match: re.Match) -> str:
        return f"$${match[1].rstrip()} \\tag{{{self.book.labels[match[2]].number}}}\n$$"

    def role(self, match: re.Match) -> str:
        role, text = match["role"], match["text"].strip()
        titled = WITH_TITLE.match(text)
        title, target = (titled[1], titled[2]) if titled else ("", text)
        if role in ("glue", "glue:text"):
            return f"\0{text}\0"
        if role == "math":
            return f"${text}$"
        if role in ("cite", "cite:p", "cite:t", "cite:ps", "cite:ts"):
            return self.citation(
                [key.strip() for key in text.split(",")], in_text=role.startswith("cite:t")
            )
        if role == "doc":
            return title or f"*{self.book.titles[Path(target).stem]}*"
        if role in ("ref", "numref", "eq", "prf:ref"):
            if target not in self.book.labels:
                raise ExportError(f"{self.path.name}: {{{role}}}`{text}`: no such label")
            label = self.book.labels[target]
            if role == "numref" and title:
                return title.replace("%s", str(label.number)).replace("{number}", str(label.number))
            return title or (label.text if label.number else f"*{label.text}*")
        if role in ("kbd", "abbr", "term", "sub", "sup", "file", "command", "code"):
            return f"`{text}`" if role in ("kbd", "file", "command", "code") else title or text
        raise ExportError(
            f"{self.path.name}: {{{role}}}`{text}`: a role that the notebook exporter doesn't know"
        )

    # -- citations --

    def cite_in_order(self, text: str) -> None:
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text):
            for key in map(str.strip, keys.split(",")):
                if key not in self.library:
                    raise ExportError(f"{self.path.name}: {key} is cited and not in references.bib")
                if key not in self.cited:
                    self.cited.append(key)

    def author_year(self, key: str) -> tuple[str, str]:
        def names(entry: Entry) -> str:
            last = [" ".join(p.prelast_names + p.last_names).replace("{", "").replace("}", "")
                    for p in entry.persons.get("author", [])]  # fmt: skip
            return last[0] + " et al." if len(last) > 2 or "others" in last else " and ".join(last)

        entry = self.library[key]
        author, year = names(entry), entry.fields["year"]
        same = sorted(
            k
            for k in self.cited
            if (names(self.library[k]), self.library[k].fields["year"]) == (author, year)
        )
        return author, year + (chr(ord("a") + same.index(key)) if len(same) > 1 else "")

    def citation(self, keys: list[str], *, in_text: bool) -> str:
        pairs = [self.author_year(key) for key in keys]
        if in_text:
            return ", ".join(f"{author} ({year})" for author, year in pairs)
        return "(" + "; ".join(f"{author}, {year}" for author, year in pairs) + ")"

    def references(self) -> str:
        style = find_plugin("pybtex.style.formatting", "plain")()
        backend = find_plugin("pybtex.backends", "markdown")()
        entries = [self.library[key] for key in sorted(self.cited, key=self.author_year)]
        lines = []
        for entry, formatted in zip(entries, style.format_entries(entries), strict=True):
            author, year = self.author_year(entry.key)
            text = re.sub(r"\\([^\w\s])", r"\1", formatted.text.render(backend).replace("\n", " "))
            lines.append(f"- **{author}, {year}.** {text}")
        return "\n".join(lines)

    # -- directives --

    def convert(self, text: str) -> None:
        for block in blocks(text):
            if isinstance(block, str):
                self.prose(block)
            else:
                self.directive(block)

    def directive(self, d: Directive) -> None:
        name = d.name
        if name in ("grid", "tab-set", "div", "card-carousel", "container"):
            self.convert(d.body)
        elif name in ("grid-item", "grid-item-card", "card", "tab-item"):
            self.prose(f"**{d.argument}**" if d.argument else "")
            self.convert(d.body)
        elif name in ("note", "tip", "warning", "important", "hint", "caution", "seealso", "admonition", "margin",
                      "sidebar", "attention", "danger", "topic", "epigraph"):  # fmt: skip
            default = (
                ""
                if name in ("admonition", "margin", "sidebar", "topic", "epigraph")
                else name.capitalize()
            )
            self.quoted(d.argument or default, d.body)
        elif name == "dropdown":
            self.folded(d.argument or "More", d.body)
        elif name == "exercise":
            label = d.options.get("label", "")
            title = f" ({d.argument})" if d.argument else ""
            self.prose(f"**{self.book.labels[label].text}{title}.**")
            self.convert(d.body)
        elif name in ("solution", "solution-start"):
            self.solving = f"Solution to {self.book.labels[d.argument].text}"
            if name == "solution":
                self.convert(d.body)
                self.solving = ""
        elif name == "solution-end":
            self.solving = ""
        elif name == "literalinclude":
            self.listing(d)
        elif name in ("code-block", "code", "sourcecode"):
            self.markdown(f"```{d.argument}\n{d.body}\n```")
        elif name == "math":
            tag = (
                f" \\tag{{{self.book.labels[d.options['label']].number}}}"
                if "label" in d.options
                else ""
            )
            self.markdown(f"$$\n{d.body}{tag}\n$$")
        elif name == "mermaid":
            self.markdown(f"```mermaid\n{d.body}\n```")
            self.caption("Fig.", d)
            if d.options.get("alt"):
                self.prose(f"*The diagram: {d.options['alt']}*")
        elif name in ("figure", "image"):
            self.prose(f"*(A picture on the book's page: {d.options.get('alt', d.argument)})*")
            self.caption("Fig.", Directive(name, "", {**d.options, "caption": d.body}, ""))
        elif name in ("list-table", "table"):
            self.caption("Table", Directive(name, "", {**d.options, "caption": d.argument}, ""))
            self.prose(pipe_table(d) if name == "list-table" else d.body)
        elif name == "bibliography":
            self.markdown(self.references())
        elif name in ("tableofcontents", "toctree"):
            pass
        else:
            raise ExportError(
                f"{self.path.name}: {{{name}}}: a directive that the notebook exporter doesn't know"
            )

    def nested(self, body: str) -> list[nbformat.NotebookNode]:
        outer, self.cells = self.cells, []
        self.convert(body)
        inner, self.cells = self.cells, outer
        return inner

    def around(self, body: str, wrap, heading: str) -> None:
        """``body`` wrapped, where all of it is text; else under a heading, since a cell can't be
        inside of text."""
        inner = self.nested(body)
        if all(cell.cell_type == "markdown" for cell in inner):
            self.add("markdown", wrap("\n\n".join(cell.source for cell in inner)))
        else:
            self.add("markdown", f"**{heading}**")
            for cell in inner:
                self.add(cell.cell_type, cell.source, cell.metadata)

    def quoted(self, title: str, body: str) -> None:
        title = self.inline(title)

        def wrap(text: str) -> str:
            lines = ([f"**{title}**", ""] if title else []) + text.split("\n")
            return "\n".join(f"> {line}".rstrip() for line in lines)

        self.around(body, wrap, title)

    def folded(self, title: str, body: str) -> None:
        title = self.inline(title)
        self.around(
            body, lambda t: f"<details>\n<summary>{title}</summary>\n\n{t}\n\n</details>", title
        )

    def caption(self, kind: str, d: Directive) -> None:
        if not d.options.get("caption"):
            return
        label = self.book.labels.get(d.options.get("name", ""))
        text = f"{label.text}. {d.options['caption']}" if label else d.options["caption"]
        self.prose(
            f"*{text}*"
            if kind == "Fig."
            else f"**{label.text}.** {d.options['caption']}"
            if label
            else text
        )

    def listing(self, d: Directive) -> None:
        path = (self.path.parent / d.argument).resolve()
        source = path.read_text(encoding="utf-8")
        if "pyobject" not in d.options or path.suffix != ".py":
            self.markdown(
                f"```{d.options.get('language', path.suffix[1:])}\n{source.rstrip()}\n```"
            )
            return
        name = d.options["pyobject"]
        node: ast.AST = ast.parse(source)
        for part in name.split("."):
            node = next(n for n in node.body if getattr(n, "name", None) == part)
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
        code = textwrap.dedent("\n".join(source.split("\n")[first : node.end_lineno]))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        self.add("code", f"%%listing {module} {name}\n{code}")

    # -- the whole --

    def code(self, cell: nbformat.NotebookNode) -> None:
        source = re.sub(r"^from myst_nb import glue\n?", "", cell.source, flags=re.MULTILINE)
        if not source.strip():
            return
        tags = set(cell.metadata.get("tags", []))
        folded = tags & {"hide-input", "hide-cell", "remove-input", "remove-cell"} or self.solving
        metadata = dict(FOLDED) if folded else {}
        if self.solving:
            metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
        self.add("code", source, metadata)
        figure = (cell.metadata.get("mystnb") or {}).get("figure") or {}
        if figure.get("caption"):
            solving, self.solving = self.solving, ""
            self.caption("Fig.", Directive("figure", "", figure, ""))
            self.solving = solving

    def exported(self) -> nbformat.NotebookNode:
        for cell in self.notebook.cells:
            if cell.cell_type == "code":
                self.code(cell)
            else:
                self.convert(cell.source)
        code = code_of(self.notebook)
        modules = sorted(imported_modules(code) | self.listed_modules())
        front = [self.setup_cell(code, modules)]
        if any(c.source.startswith("%%listing") for c in self.cells):
            front.append(nbformat.v4.new_code_cell(LISTING.rstrip(), metadata=FOLDED))
        files = [ROOT / "nbsrc/__init__.py", *modules, *sorted(data_files(code))]
        for path in dict.fromkeys(files):
            text = f"%%writefile {path.relative_to(ROOT).as_posix()}\n{path.read_text(encoding='utf-8').rstrip()}"
            front.append(nbformat.v4.new_code_cell(text, metadata=FOLDED))
        title = [c for c in self.cells[:1] if c.cell_type == "markdown"]
        cells = [*title, *front, *self.cells[len(title) :]]
        identify(cells)
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.validate(notebook)
        return notebook

    def listed_modules(self) -> set[Path]:
        named = {c.source.split()[1] for c in self.cells if c.source.startswith("%%listing")}
        return imported_modules("\n".join(f"import {module}" for module in named))

    def setup_cell(self, code: str, modules: list[Path]) -> nbformat.NotebookNode:
        sources = [code, *(path.read_text(encoding="utf-8") for path in modules)]
        imported = set()
        for node in (n for source in sources for n in ast.walk(ast.parse(source))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
        distributions = packages_distributions()
        third_party = sorted(imported - sys.stdlib_module_names - {"nbsrc", "myst_nb"})
        needed = sorted({canonicalize_name(min(distributions[module])) for module in third_party})
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        stated = map(
            Requirement, chain(project["dependencies"], *project["optional-dependencies"].values())
        )
        versions = {canonicalize_name(r.name): str(r.specifier) for r in stated}
        packages = json.dumps([name + versions.get(name, "") for name in needed])
        return nbformat.v4.new_code_cell(SETUP.format(packages=packages).rstrip(), metadata=FOLDED)


def number(role_text: str) -> str:
    name, colon, spec = role_text.partition(":")
    return f"numbers['{name}']{colon}{spec}"


def pipe_table(d: Directive) -> str:
    """A list-table's rows as a Markdown table."""
    rows: list[list[str]] = []
    for line in d.body.split("\n"):
        row, cell = (
            re.match(r"^([*-]) +([*-])(?: +(.*))?$", line),
            re.match(r"^ +[*-](?: +(.*))?$", line),
        )
        if row:
            rows.append([row[3] or ""])
        elif cell:
            rows[-1].append(cell[1] or "")
        elif line.strip():
            rows[-1][-1] += " " + line.strip()
    head = rows.pop(0) if int(d.options.get("header-rows") or 0) else [""] * len(rows[0])
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def identify(cells: list[nbformat.NotebookNode]) -> None:
    """Ids from what the cells say, so that an edit changes no other cell's id."""
    seen: dict[str, int] = {}
    for cell in cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def export() -> dict[str, str]:
    """The file name and text of every notebook of the book."""
    book = Book()
    library = parse_file(str(ROOT / "references.bib"), bib_format="bibtex").entries
    for path in chapter_paths():
        learn_labels(book, path)
    return {
        f"{path.stem}.ipynb": nbformat.writes(Chapter(path, book, library).exported(), version=4)
        + "\n"
        for path in exported_paths()
    }


def main() -> None:
    NOTEBOOKS.mkdir(exist_ok=True)
    notebooks = export()
    for old in NOTEBOOKS.glob("*.ipynb"):
        if old.name not in notebooks:
            old.unlink()
    for name, text in notebooks.items():
        (NOTEBOOKS / name).write_text(text, encoding="utf-8")
        print(f"notebooks/{name}")


if __name__ == "__main__":
    try:
        main()
    except ExportError as error:
        sys.exit(str(error))
