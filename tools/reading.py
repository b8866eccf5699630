"""Reading times by measure: a chapter's words, figures, tables and the code that is not folded.

Counted is what stands before the exercises: 200 words a minute, 20 lines of code a minute, and half
a minute for a figure or a table of numbers.

A time is stated as "**Time to read:** about 40 minutes" in a chapter, and elsewhere in brackets
after a reference to one: "{doc}`part1-resnet` (about 40 minutes)", or "{doc}`part1-resnet` up to
{ref}`sec-cnn` (about 20 minutes)". Without arguments this reports each stated time that is not the
measured one, rounded to 5 minutes; with --fix it writes the measured one.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "_ext"))

from book import parse  # noqa: E402
from carried import lines_of  # noqa: E402

WORDS, LINES, FIGURES = 200, 20, 2  # a minute
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
OWN = re.compile(r"\*\*Time to read:\*\* about (\d+) minutes")
OTHER = re.compile(
    r"\{doc\}`([\w-]+)`(?:\s+up\s+to\s+\{ref\}`([\w-]+)`)?\s+\(about\s+(\d+)\s+minutes\)"
)
# What nobody reads: diagrams' sources, a directive's first line and options, formulas, targets.
UNREAD = re.compile(
    r"```\{mermaid\}.*?```|^ *[`:]{3,}[^\n]*$|^:[\w-]+:[^\n]*$|\$\$.*?\$\$|^\([\w-]+\)=$",
    re.MULTILINE | re.DOTALL,
)


def listed(text: str) -> int:
    """The lines of the objects that the text shows by literalinclude."""
    lines = 0
    for file, name in re.findall(r"\{literalinclude\} (\S+)\n:pyobject: (\S+)", text):
        first, last = lines_of((ROOT / file).read_text(encoding="utf-8"), name)
        lines += last - first + 1
    return lines


def minutes(text: str, until: str = "sec-exercises") -> float:
    """How long it takes to read a chapter, up to a target that starts with ``until``."""
    words = lines = figures = 0
    for cell in parse(text, Path("chapter.md")).cells:
        if cell.cell_type == "code":
            tags = FOLDED.intersection(cell.metadata.get("tags", []))
            lines += 0 if tags else len(cell.source.split("\n"))
            if not tags & {"hide-cell", "remove-cell"}:
                figures += "plots.plot_" in cell.source or "plots.Table(" in cell.source
            continue
        shown, end, _ = cell.source.partition(f"({until}")
        words += len(re.findall(r"[\w'.,-]*\w", UNREAD.sub("", shown)))
        lines += listed(shown)
        figures += len(re.findall(r"\{(?:mermaid|list-table)\}", shown))
        if end:
            break
    return words / WORDS + lines / LINES + figures / FIGURES


def rounded(name: str, until: str | None = None) -> str:
    text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
    return f"{5 * round(minutes(text, until or 'sec-exercises') / 5)}"


def corrected(name: str, text: str) -> str:
    """The page's text with the measured times in it."""

    def new(match: re.Match, number: int, minutes: str) -> str:
        start, end = (place - match.start() for place in match.span(number))
        return match[0][:start] + minutes + match[0][end:]

    text = OWN.sub(lambda m: new(m, 1, rounded(name)), text)
    return OTHER.sub(lambda m: new(m, 3, rounded(m[1], m[2])), text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fix", action="store_true", help="write the measured times")
    fix = parser.parse_args().fix
    wrong = []
    for page in sorted(ROOT.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        better = corrected(page.stem, text)
        if better != text and fix:
            page.write_text(better, encoding="utf-8")
        elif better != text:
            wrong.append(f"{page.name}: a time to read is off: python tools/reading.py --fix")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
