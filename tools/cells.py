"""Ruff's findings and format for the chapters' code cells, as for the rest of the code.

Ruff reads notebooks, so a chapter's cells are handed to it as one. Without arguments this
reports what is wrong, by the line in the chapter; with --fix it mends and writes back what it can.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]


def cells(text: str) -> list[tuple[int, int]]:
    """Where the code of each code cell starts and ends, as numbers of lines from 0."""
    found = []
    lines = text.split("\n")
    for token in MarkdownIt().parse(text):
        if token.type == "fence" and token.info.startswith("{code-cell}"):
            start, end = token.map[0] + 1, token.map[1] - 1
            if lines[start] == "---":  # the cell's options, in one of their two forms
                start = lines.index("---", start + 1) + 1
            while start < end and (not lines[start] or lines[start].startswith(":")):
                start += 1
            found.append((start, end))
    return found


def ruff(chapter: Path, command: str, *arguments: str, notebook: str) -> str:
    """What a ruff command prints about the cells; SystemExit where it can't read them."""
    name = chapter.with_suffix(".ipynb")  # never written; beside pyproject.toml, so that it counts
    done = subprocess.run(
        [sys.executable, "-m", "ruff", command, *arguments, "--stdin-filename", str(name), "-"],
        input=notebook,
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
    )
    if done.returncode not in (0, 1) or (done.stderr and not done.stdout):
        sys.exit(f"{chapter.name}: {done.stderr}")
    return done.stdout


def mended(chapter: Path) -> tuple[str, list[str]]:
    """The chapter's text with its cells formatted, and what is left to do by hand."""
    lines = chapter.read_text(encoding="utf-8").split("\n")
    places = cells("\n".join(lines))
    notebook = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    for start, end in places:
        notebook.cells.append(nbformat.v4.new_code_cell("\n".join(lines[start:end])))
    before = nbformat.writes(notebook)
    fixed = ruff(chapter, "check", "--fix-only", "--exit-zero", "--quiet", notebook=before)
    after = ruff(chapter, "format", "--quiet", notebook=fixed)
    found = json.loads(ruff(chapter, "check", "--output-format=json", notebook=after))
    findings = []
    for finding in found:
        line = places[finding["cell"] - 1][0] + finding["location"]["row"]
        findings.append(f"{chapter.name}:{line}: {finding['code']} {finding['message']}")
    for (start, end), cell in reversed(list(zip(places, json.loads(after)["cells"], strict=True))):
        lines[start:end] = "".join(cell["source"]).split("\n")
    return "\n".join(lines), findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fix", action="store_true", help="write the mended cells back")
    parser.add_argument("chapters", nargs="*", type=Path, help="default: all of the book")
    arguments = parser.parse_args()
    chapters = arguments.chapters or sorted(ROOT.glob("*.md"))
    messages = []
    for chapter in map(Path.resolve, chapters):
        text, findings = mended(chapter)
        messages += findings
        if text == chapter.read_text(encoding="utf-8"):
            continue
        if arguments.fix:
            chapter.write_text(text, encoding="utf-8")
        else:
            messages.append(f"{chapter.name}: run python tools/cells.py --fix to format its cells")
    sys.exit("\n".join(messages) or 0)


if __name__ == "__main__":
    main()
