"""Put the figures that the cells drew into the page itself, where they follow light and dark mode.

A cell draws with matplotlib as ever; its output is SVG. As an <img> that SVG could not see the
page's colours. As an element of the page it can: what was drawn in the ink and paper colours of
``nbsrc.palette`` takes the theme's text and background, every other colour stays as drawn.

A figure's panels, which ``nbsrc.plots.panels`` makes subfigures, become drawings of their own, side
by side where there is room and below each other on a phone.
"""

import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

from nbsrc.palette import INK, PAPER

logger = logging.getLogger(__name__)
PANEL = '<g class="panel">'
NUMBERS = re.compile(r'(?<=[\s(])(d|x|y|points|transform|viewBox)="([^"]*)"')


def shorten(attribute: re.Match) -> str:
    """Coordinates to a hundredth of a point, which no screen shows."""
    value = re.sub(
        r"-?\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), attribute[2]
    )
    return f'{attribute[1]}="{" ".join(value.split())}"'


def compact(svg: str) -> str:
    """matplotlib's SVG without what says only when and by what it was drawn."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    return re.sub(r">\s+<", "><", NUMBERS.sub(shorten, svg))


def for_page(svg: str, *, name: str, alt: str) -> str:
    """matplotlib's SVG as an element of a page, its ids made unique by ``name``."""
    svg = re.sub(r"<style.*?</style>", "", compact(svg), flags=re.DOTALL)
    svg = re.sub(r'<g id="subfigure_\d+">', PANEL, svg.replace("xlink:href", "href"))
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = svg.replace(INK, "currentColor")
    svg = re.sub(rf"(<(?!text|tspan)[^>]*?){PAPER}", r"\1var(--pst-color-background)", svg)
    svg = re.sub(
        r"(font(?:-family)?: [^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1var(--pst-font-family-base)", svg
    )
    whole = float(re.search(r'viewBox="\S+ \S+ (\S+)', svg)[1])
    drawings = "".join(
        f'<svg class="figure" style="--share: {99.9 * width / whole:.1f}%" '
        f'width="{round(width * 4 / 3)}" height="{round(height * 4 / 3)}" '
        f'viewBox="{left:g} {top:g} {width:g} {height:g}" stroke-linejoin="round">{drawing}</svg>'
        for drawing, (left, top, width, height) in panels_of(svg)
    )
    return f'<div class="panels" role="img" aria-label="{escape(alt)}">{drawings}</div>'


def panels_of(svg: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    """What each panel draws, and its left edge, top, width and height, in points.

    Marks and clips that the panels share are defined once, in the first that uses them or in the
    last: an id holds for the whole page.
    """
    start, inside = svg.strip().removesuffix("</svg>").split(">", 1)
    _, *panels = inside.split(PANEL)
    if not panels:
        left, top, width, height = map(float, re.search(r'viewBox="([^"]+)"', start)[1].split())
        return [(inside, (left, top, width, height))]
    panels[-1], shared = panels[-1].rsplit("</g></g>", 1)
    panels[-1] += f"</g>{shared}"
    found = []
    for panel in panels:
        corners = re.search(r' d="([^"]+)"', panel)[1]  # a subfigure draws its own edge first
        points = [tuple(map(float, p.split())) for p in re.findall(r"[-\d.]+ [-\d.]+", corners)]
        (left, right), (top, bottom) = ((min(n), max(n)) for n in zip(*points, strict=True))
        found.append(("<g>" + panel, (left, top, right - left, bottom - top)))
    return found


def inline_figures(app, doctree: nodes.document, docname: str) -> None:
    if app.builder.format != "html":
        return
    drawn = Path(app.outdir).parent / "jupyter_execute"
    for number, node in enumerate(list(doctree.findall(nodes.image))):
        path = Path(app.srcdir, node["uri"])
        if path.suffix != ".svg" or drawn not in path.resolve().parents:
            continue
        if not node.get("alt"):
            logger.warning("figure without alt text (mystnb: image: alt:)", location=node)
        name = f"{docname.replace('/', '-')}-figure-{number}"
        svg = for_page(path.read_text(encoding="utf-8"), name=name, alt=node.get("alt", ""))
        node.replace_self(nodes.raw("", svg, format="html"))


def setup(app) -> dict:
    app.connect("doctree-resolved", inline_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
