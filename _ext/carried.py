"""The code of a chapter as cells that run alone, in an empty folder: its own cells, its listings,
and before them one folded cell with all that they need.

Where the page shows a listing, the notebook has a ``%%listing`` cell: run, it puts its code into
the module's file and loads the modules anew, so that an edit takes effect in all that follows.
"""

import ast
import inspect
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

from book import ROOT
from dependencies import code_of, data_files, imported_modules
from myst import Block, blocks, is_container
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}

SETUP = '''\
# @title Setting up: run this cell and read on
# It writes the files that this notebook needs into this folder, where they can be read: here they
# stand one a line.
FILES = {{
{files}
}}

import sys
from pathlib import Path

for name, text in FILES.items():
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
if sys.path[0] not in ("", str(Path.cwd())):
    sys.path.insert(0, "")

if "google.colab" in sys.modules:  # on Colab only: install what it lacks
    import subprocess

    needed = {packages}
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *needed], check=True)

glued = {{}}


def glue(name, value, display=False):
    """Hand a value to the text of the book's page."""
    glued[name] = value
'''


def lines_of(source, name):
    """The first and the last line, from 1, of what ``source`` defines by a dotted name."""
    node = ast.parse(source)
    for part in name.split("."):
        node = next(n for n in node.body if getattr(n, "name", None) == part)
    decorators = [decorator.lineno for decorator in getattr(node, "decorator_list", [])]
    return min([node.lineno, *decorators]), node.end_lineno


LISTING = """

# What makes the listings below live: a %%listing cell holds the code of a module. Edit it and run
# it: the module's file and all that was imported from it are renewed, and the cells that follow
# use your code. (Objects made before keep the old one; make them anew.)
import ast
import importlib
import importlib.util
import types

from IPython import get_ipython
from IPython.core.magic import register_cell_magic


LINES_OF
@register_cell_magic
def listing(line, cell):
    module, name = line.split()
    path = Path(importlib.util.find_spec(module).origin)
    source = path.read_text(encoding="utf-8")
    first, last = lines_of(source, name)
    lines = source.split("\\n")
    margin = lines[first - 1][: -len(lines[first - 1].lstrip())]
    indented = [margin + line if line else "" for line in cell.rstrip().split("\\n")]
    if lines[first - 1 : last] != indented:
        lines[first - 1 : last] = indented
        path.write_text("\\n".join(lines), encoding="utf-8")
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
        load_anew()
    top = name.split(".")[0]
    get_ipython().push({top: getattr(importlib.import_module(module), top)})


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
""".replace("LINES_OF", inspect.getsource(lines_of) + "\n")


class Alone:
    """``cells`` in their order: the folded one, then the chapter's and its listings; ``own`` has
    the chapter's by their numbers in the chapter, ``listings`` the others; ``files`` are those that
    are carried."""

    def __init__(self, chapter: NotebookNode, path: Path) -> None:
        self.own: dict[int, NotebookNode] = {}
        self.listings: list[NotebookNode] = []
        self.cells: list[NotebookNode] = []
        for number, cell in enumerate(chapter.cells):
            if cell.cell_type == "code":
                source = re.sub(r"^from myst_nb import glue\n?", "", cell.source, flags=re.M)
                line = chapter.metadata["source_map"][number] + 1
                self.own[number] = new_code_cell(source, metadata={"line": line})
                self.cells.append(self.own[number])
            else:
                found = [listing(block, path) for block in listings(cell.source)]
                self.listings += found
                self.cells += found
        code = code_of(new_notebook(cells=self.cells))
        named = {cell.source.split()[1] for cell in self.listings}
        modules = imported_modules("\n".join([code, *(f"import {name}" for name in named)]))
        self.files = modules | data_files(code) | {ROOT / "nbsrc/__init__.py"}
        texts = {path: path.read_text(encoding="utf-8") for path in sorted(self.files)}
        lines = [f"    {str(p.relative_to(ROOT).as_posix())!r}: {t!r}," for p, t in texts.items()]
        packages = packages_of([code, *(texts[module] for module in modules)])
        setup = SETUP.format(files="\n".join(lines), packages=json.dumps(packages))
        setup += LISTING if self.listings else ""
        self.cells.insert(0, new_code_cell(setup.rstrip(), metadata=FOLDED))


def is_listing(block: Block) -> bool:
    """Whether a block shows a part of a module; whole files and others are text."""
    return block.kind == "literalinclude" and "pyobject" in block.options


def listings(text: str) -> Iterator[Block]:
    for block in blocks(text):
        if is_listing(block):
            yield block
        elif is_container(block):
            yield from listings(block.body)


def listing(block: Block, chapter: Path) -> NotebookNode:
    path = (chapter.parent / block.argument).resolve()
    source = path.read_text(encoding="utf-8")
    name = block.options["pyobject"]
    first, last = lines_of(source, name)
    code = textwrap.dedent("\n".join(source.split("\n")[first - 1 : last]))
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return new_code_cell(f"%%listing {module} {name}\n{code}")


distributions_of_packages = cache(packages_distributions)  # looks at every installed file


def packages_of(sources: list[str]) -> list[str]:
    """The third-party packages that Python sources import, in the versions that the project asks
    for."""
    imported = set()
    for node in (n for source in sources for n in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.split(".")[0])
    distributions = distributions_of_packages()
    third_party = imported - sys.stdlib_module_names - {"nbsrc", "myst_nb"}
    needed = sorted({canonicalize_name(min(distributions[module])) for module in third_party})
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = map(
        Requirement, chain(project["dependencies"], *project["optional-dependencies"].values())
    )
    versions = {canonicalize_name(r.name): str(r.specifier) for r in stated}
    return [name + versions.get(name, "") for name in needed]
