"""Typeset formulas during the build, so that a page shows them at once and loads no script.

sphinxcontrib-katex hands each formula to KaTeX in Node. This takes both from this project's own
set-up, serves KaTeX's style sheet and fonts from the site itself, to the pages that have
formulas, and turns a formula that KaTeX rejects into a warning, which fails the build.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from node import NODE, PACKAGES
from sphinx.util import logging
from sphinxcontrib import katex

logger = logging.getLogger(__name__)
DIST = PACKAGES / "katex" / "dist"
STYLES = ["_static/katex/katex.min.css", "_static/katex-math.css"]


def copy_styles(app) -> None:
    """KaTeX's style sheet and the woff2 fonts, the one format that every current browser takes."""
    target = Path(app.outdir, "_static", "katex")
    shutil.rmtree(target, ignore_errors=True)
    (target / "fonts").mkdir(parents=True)
    for font in (DIST / "fonts").glob("*.woff2"):
        shutil.copy(font, target / "fonts")
    css = (DIST / "katex.min.css").read_text(encoding="utf-8")
    css = re.sub(r",url\([^)]*\.(woff|ttf)\) format\(\"\w+\"\)", "", css)
    (target / "katex.min.css").write_text(css, encoding="utf-8")


def warn_of_errors(app) -> None:
    typeset = katex.render_latex

    def render(latex: str, options: dict | None = None) -> str:
        # Sphinx numbers an equation, and KaTeX would number each line of it again.
        latex = re.sub(r"\\(begin|end)\{(align|alignat|equation|gather)\}", r"\\\1{\2*}", latex)
        try:
            return typeset(latex, options)
        except katex.KaTeXError as error:
            logger.warning("formula %r: %s", latex, error, location=app.builder.current_docname)
            return ""

    katex.render_latex = render


def stop_server(app, exception) -> None:
    """KaTeX's process outlives a build that ends in an error, unless it is stopped here."""
    if katex.KaTeXServer.katex_server:
        katex.KaTeXServer.katex_server.process.kill()


def only_where_needed(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    if 'class="katex' not in context.get("body", ""):
        context["css_files"] = [f for f in context["css_files"] if f.filename not in STYLES]


def setup(app) -> dict:
    katex.NODEJS_BINARY = str(NODE)
    katex.KATEX_DEFAULT_OPTIONS = {"throwOnError": True}
    app.setup_extension("sphinxcontrib.katex")
    app.config.katex_prerender = True
    app.config.katex_js_path = str(DIST / "katex.min.js")
    app.config.katex_css_path = "katex/katex.min.css"
    app.config.html_math_renderer_name = "katex"
    app.connect("builder-inited", copy_styles)
    app.connect("builder-inited", warn_of_errors)
    app.connect("build-finished", stop_server)
    app.connect("html-page-context", only_where_needed)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
