"""Typeset formulas during the build, so that a page shows them at once and loads no script.

sphinxcontrib-katex writes the pages' formulas; KaTeX runs in the Node of this project's set-up.
It is asked over a pipe here and not over the extension's own socket, whose server can be called
before it listens, and outlives a build that fails. KaTeX's style sheet and fonts are served from
the site, to the pages that have formulas; a formula that KaTeX rejects is a warning, which fails
the build.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from node import NODE, PACKAGES
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinxcontrib import katex

logger = logging.getLogger(__name__)
SCRIPT = Path(__file__).with_name("katex.mjs")
DIST = PACKAGES / "katex" / "dist"
STYLES = ["_static/katex/katex.min.css", "_static/katex-math.css"]


@cache
def typesetter() -> subprocess.Popen:
    """A Node that typesets one formula a line, until this process ends and closes its pipe."""
    return subprocess.Popen(
        [str(NODE), str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


@cache
def typeset(latex: str, *, display: bool) -> dict[str, str]:
    """{"html": ...}, or {"error": ...} for what is no formula."""
    process = typesetter()
    process.stdin.write(json.dumps({"latex": latex, "displayMode": display}) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise ExtensionError(f"{SCRIPT.name} failed (is node_modules there? make setup)")
    return json.loads(answer)


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


def answer_for(app) -> None:
    def render_latex(latex: str, options: dict | None = None) -> str:
        # Sphinx numbers an equation, and KaTeX would number each line of it again.
        latex = re.sub(r"\\(begin|end)\{(align|alignat|equation|gather)\}", r"\\\1{\2*}", latex)
        answer = typeset(latex, display=bool(options))
        if "error" in answer:
            logger.warning(
                "formula %r: %s", latex, answer["error"], location=app.builder.current_docname
            )
        return answer.get("html", "")

    katex.render_latex = render_latex


def only_where_needed(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    if 'class="katex' not in context.get("body", ""):
        context["css_files"] = [f for f in context["css_files"] if f.filename not in STYLES]


def setup(app) -> dict:
    app.setup_extension("sphinxcontrib.katex")
    app.config.katex_prerender = True
    app.config.katex_css_path = "katex/katex.min.css"
    app.config.html_math_renderer_name = "katex"
    app.connect("builder-inited", copy_styles)
    app.connect("builder-inited", answer_for)
    app.connect("html-page-context", only_where_needed)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
