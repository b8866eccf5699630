"""What a chapter's cells run on: modules of ``nbsrc`` and data files of the repository."""

import ast
import re
from functools import cache
from pathlib import Path

from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]


@cache
def names_imported(source: str, inside: tuple[str, ...] = ()) -> frozenset[tuple[str, ...]]:
    """What ``source`` imports, as the parts of dotted names; ``inside`` is the package it is in."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names |= {(*base, alias.name) for alias in node.names}
    return frozenset(names)


def imported_modules(source: str, package: Path = ROOT / "nbsrc") -> set[Path]:
    """Files of ``package`` that the Python ``source`` runs by its imports, directly or through each
    other: ``import nbsrc.a.b`` runs ``nbsrc/__init__.py``, ``nbsrc/a/__init__.py`` and
    ``nbsrc/a/b.py``."""
    found: set[Path] = set()
    waiting = set(names_imported(source))
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
