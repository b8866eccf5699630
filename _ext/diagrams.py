"""Draw mermaid diagrams during the build, as SVG in the page.

Mermaid itself needs a browser, and would make every reader fetch a megabyte of script that draws
after the page is shown. beautiful-mermaid draws the same sources in Node. Its colours are CSS
variables, which _static/book.css ties to the theme, so light, dark and print are one drawing.
"""

import json
import re
import subprocess
from html import escape
from pathlib import Path

from docutils import nodes
from node import NODE
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinxcontrib.mermaid import mermaid

logger = logging.getLogger(__name__)
SCRIPT = Path(__file__).with_name("mermaid.mjs")


def draw(sources: list[str]) -> list[dict[str, str]]:
    """One {"svg": ...} or {"error": ...} for each mermaid source."""
    command = [str(NODE), str(SCRIPT)]
    done = subprocess.run(
        command,
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise ExtensionError(
            f"{SCRIPT.name} failed (is node_modules there? make setup):\n{done.stderr}"
        )
    return json.loads(done.stdout)


def ink_on(fill: str) -> str:
    """Dark or light text, whichever reads better on a fixed fill colour such as #fee or #d55e00."""
    digits = fill.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    red, green, blue = (int(digits[i : i + 2], 16) for i in (0, 2, 4))
    return "#1b1f24" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def for_page(svg: str, *, name: str, alt: str) -> str:
    """The drawing as an element of a page: no style sheet or ids of its own, a text for screen
    readers."""
    svg = re.sub(r"<style>.*?</style>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r' (width|height)="([\d.]+)"', lambda m: f' {m[1]}="{float(m[2]):.0f}"', svg, count=2
    )
    svg = re.sub(r' style="[^"]*"', "", svg, count=1)  # the colours, which book.css sets
    svg = re.sub(r'(id="|url\(#)(arrowhead|[\w-]*arrow)', rf"\1{name}-\2", svg)
    # Arrowheads of one size, whatever the width of their line
    size = 'viewBox="0 0 8 5" markerWidth="11" markerHeight="7" markerUnits="userSpaceOnUse"'
    svg = svg.replace('markerWidth="8" markerHeight="5"', size)
    svg = re.sub(r' data-[\w-]+="[^"]*"', "", svg)

    def readable(node: re.Match) -> str:  # text on a fill that does not follow the theme
        return node[1] + node[2].replace("var(--_text)", ink_on(node[3]))

    with_fill = r'(<g class="node">)((?:(?!</g>).)*?fill="(#[0-9a-fA-F]{3,6})".*?</g>)'
    svg = re.sub(with_fill, readable, svg, flags=re.DOTALL)
    width = int(re.search(r' width="(\d+)"', svg)[1]) * 0.6
    style = f'style="min-width: {width:.0f}px"'
    attributes = f'class="diagram" role="img" aria-label="{escape(alt)}" {style}'
    return svg.replace("<svg ", f"<svg {attributes} ", 1)


def draw_diagrams(app, doctree: nodes.document, docname: str) -> None:
    if app.builder.format != "html":
        return
    found = list(doctree.findall(mermaid))
    drawings = draw([node["code"] for node in found]) if found else []
    for number, (node, drawn) in enumerate(zip(found, drawings, strict=True)):
        if "error" in drawn:
            logger.warning("diagram: %s", drawn["error"], location=node)
            continue
        if not node.get("alt"):
            logger.warning(
                "diagram without :alt:, which says what it shows to who cannot see it",
                location=node,
            )
        svg = for_page(
            drawn["svg"],
            name=f"{docname.replace('/', '-')}-diagram-{number}",
            alt=node.get("alt", ""),
        )
        anchors = "".join(f'<span id="{escape(i)}"></span>' for i in node["ids"])
        # The theme's script lets the keyboard reach a container of this class when it scrolls.
        html = f'<div class="diagram pst-scrollable-table-container">{anchors}{svg}</div>'
        node.replace_self(nodes.raw("", html, format="html"))


def setup(app) -> dict:
    app.setup_extension("sphinxcontrib.mermaid")
    app.config.mermaid_output_format = "svg"  # without mermaid's own script in the pages
    app.connect("doctree-resolved", draw_diagrams)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
