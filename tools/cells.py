"""Ruff's findings and format for the chapters' code cells, as for the rest of the code.

Ruff reads notebooks, so a chapter's cells are handed to it as one. Without --fix this reports what
is wrong, by the line in the chapter; with it, what can be mended is written back first.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]


def places(lines: list[str]) -> list[tuple[int, int]]:
    """Where the code of each cell starts and ends, as numbers of lines from 0."""
    found = []
    for token in MarkdownIt().parse("\n".join(lines)):
        if token.type == "fence" and token.info.startswith("{code-cell}"):
            start, end = token.map[0] + 1, token.map[1] - 1
            if lines[start] == "---":  # the cell's options, in one of their two forms
                start = lines.index("---", start + 1) + 1
            while start < end and (not lines[start] or lines[start].startswith(":")):
                start += 1
            found.append((start, end))
    return found


def as_notebook(lines: list[str]) -> str:
    notebook = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    for start, end in places(lines):
        notebook.cells.append(nbformat.v4.new_code_cell("\n".join(lines[start:end])))
    return nbformat.writes(notebook)


def ruff(command: str, *options: str, notebook: str) -> str:
    """What a ruff command prints about a notebook that would stand beside pyproject.toml."""
    name = ROOT / "chapter.ipynb"
    call = [sys.executable, "-m", "ruff", command, *options, "--stdin-filename", str(name), "-"]
    return subprocess.run(
        call, input=notebook, stdout=subprocess.PIPE, encoding="utf-8", cwd=ROOT
    ).stdout


def mended(lines: list[str]) -> list[str]:
    """The chapter with its cells formatted; as it was where one of them is no Python."""
    fixed = ruff("check", "--fix-only", "--exit-zero", "--quiet", notebook=as_notebook(lines))
    formatted = ruff("format", "--quiet", notebook=fixed)
    if not formatted:
        return lines
    cells = json.loads(formatted)["cells"]
    lines = list(lines)
    for (start, end), cell in reversed(list(zip(places(lines), cells, strict=True))):
        lines[start:end] = "".join(cell["source"]).split("\n")
    return lines


def findings(lines: list[str]) -> list[str]:
    """A line of the chapter and what ruff says about it, each."""
    found = json.loads(ruff("check", "--output-format=json", notebook=as_notebook(lines)))
    starts = [start for start, _ in places(lines)]
    return [
        f"{starts[f['cell'] - 1] + f['location']['row']}: {f['code']} {f['message']}" for f in found
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fix", action="store_true", help="write the mended cells back")
    parser.add_argument("chapters", nargs="*", type=Path, help="default: all of the book")
    arguments = parser.parse_args()
    messages = []
    for chapter in arguments.chapters or sorted(ROOT.glob("*.md")):
        lines = chapter.read_text(encoding="utf-8").split("\n")
        better = mended(lines)
        if arguments.fix and better != lines:
            chapter.write_text("\n".join(better), encoding="utf-8")
            lines = better
        messages += [f"{chapter.name}:{finding}" for finding in findings(lines)]
        if better != lines:
            messages.append(f"{chapter.name}: run python tools/cells.py --fix to format its cells")
    sys.exit("\n".join(messages) or 0)


if __name__ == "__main__":
    main()
