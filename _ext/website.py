"""The site around the chapters: what the header offers, and what no reader should have to fetch.

Everything that names the repository (edit, issue, Colab, Binder) hangs on the one setting
`repository: url` in _config.yml, and is absent without it.
"""

import hashlib
import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlsplit

from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont

ROOT = Path(__file__).parents[1]
BUTTONS = ["use_repository_button", "use_issues_button", "use_edit_page_button"]
ICON = re.compile(r"\bfa-[a-z0-9-]+")
CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)</\1>", re.DOTALL)
CODEPOINT = re.compile(
    r"""["'](?:\\([ef][0-9a-f]{3})|([\ue000-\uf8ff]))["']"""
)  # as an escape or as it is


def notebook_links(pagename: str, *, repository: str, branch: str) -> list[dict[str, str]]:
    """Where the page's notebook can be opened: nowhere without a repository on GitHub."""
    _, _, project = repository.rstrip("/").removesuffix(".git").partition("github.com/")
    if not project:
        return []
    notebook = f"notebooks/{pagename}.ipynb"
    return [
        {
            "text": "Open in Colab",
            "url": f"https://colab.research.google.com/github/{project}/blob/{quote(branch)}/{notebook}",
            "icon": "_static/images/logo_colab.png",
        },
        {
            "text": "Open in Binder",
            "url": f"https://mybinder.org/v2/gh/{project}/{quote(branch, safe='')}"
            f"?labpath={quote(notebook, safe='')}",
            "icon": "_static/images/logo_binder.svg",
        },
    ]


def use_repository(app, config) -> None:
    options = config.html_theme_options
    for button in BUTTONS:
        options[button] = bool(options.get("repository_url"))
    options["use_download_button"] = False  # the theme's offers the Markdown; ours the notebook
    options["navbar_persistent"] = []  # search stands in the sidebar
    config.ogp_site_url = config.html_baseurl
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path.rstrip("/") + "/"


def note_sources(app, config) -> None:
    """Write every page anew when what makes the pages has changed, which Sphinx would not see."""
    files = [
        path
        for folder in ("_ext", "_static", "_templates")
        for path in sorted((ROOT / folder).glob("*.*"))
    ]
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for path in [*files, ROOT / "package-lock.json"])
    )
    config.site_sources = digest.hexdigest()


def describe(app, doctree: nodes.document) -> None:
    """A page's front matter may hold its ``description``, for search engines and link previews."""
    metadata = app.env.metadata[app.env.docname]
    if "description" in metadata:
        doctree.insert(0, nodes.meta(name="description", content=metadata["description"]))
        metadata["og:description"] = metadata["description"]


def add_buttons(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    if not (ROOT / "notebooks" / f"{pagename}.ipynb").is_file():
        return
    options = app.config.html_theme_options
    context["notebook"] = context["pathto"](f"notebooks/{pagename}.ipynb", resource=True)
    context["notebook_links"] = notebook_links(
        pagename,
        repository=options.get("repository_url", ""),
        branch=options.get("repository_branch") or "main",
    )


def copy_notebooks(out: Path) -> None:
    shutil.rmtree(out / "notebooks", ignore_errors=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        (out / "notebooks").mkdir(exist_ok=True)
        shutil.copy(notebook, out / "notebooks")


def on_one_line(cell: re.Match) -> str:
    """A cell, kept on one line if it is short: a heading of one word, or 24 characters."""
    name, options, content = cell.groups()
    text = unescape(re.sub(r"<[^>]+>", "", content)).strip()
    if len(text) > 24 or (name == "th" and " " in text):
        return cell[0]
    if 'class="' in options:
        options = options.replace('class="', 'class="nowrap ', 1)
    else:
        options += ' class="nowrap"'
    return f"<{name}{options}>{content}</{name}>"


def mend_pages(out: Path) -> None:
    """Four things that no setting reaches.

    The theme's style sheet draws the same icons that its 1.5 MB script draws again; docutils gives
    references ARIA roles that are deprecated, or that do not belong together; a solution's link to
    its exercise begins with a space, which is underlined; and a browser would break a name such as
    ResNet-18 in a table's cell.
    """
    for page in out.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        mended = re.sub(
            r"\s*<!-- So that users can add[^>]*-->\s*<script[^>]*fontawesome\.js[^>]*></script>",
            "",
            html,
        )
        mended = mended.replace(' role="doc-biblioentry"', "").replace(
            '<div role="list" class="citation-list">', "<div>"
        )
        mended = re.sub(r"(Solution to)(<a [^>]*>) ", r"\1 \2", mended)
        mended = CELL.sub(on_one_line, mended)
        if mended != html:
            page.write_text(mended, encoding="utf-8")
    (out / "_static/scripts/fontawesome.js").unlink(missing_ok=True)


def keep_used_icons(out: Path) -> None:
    """Reduce Font Awesome's rules and fonts to the icons that occur in the pages and scripts."""
    static = out / "_static"
    texts = [p for p in out.rglob("*") if p.suffix in (".html", ".js") and p.is_file()]
    used = {icon for path in texts for icon in ICON.findall(path.read_text(encoding="utf-8"))}
    sheet = static / "styles/pydata-sphinx-theme.css"
    css = sheet.read_text(encoding="utf-8")

    def keep(rule: re.Match) -> str:
        return rule[0] if used & set(ICON.findall(rule[1])) else ""

    css = re.sub(r"((?:\.fa-[a-z0-9-]+:{1,2}before,?)+)\{content:[^}]*\}", keep, css)
    css = re.sub(r"@font-face\{[^}]*/fa-v4compatibility[^}]*\}", "", css)
    css = re.sub(
        r"url\(([^)]*/fa-[\w-]+)\.woff2\) format\(\"woff2\"\),"
        r"url\([^)]*\.ttf\) format\(\"truetype\"\)",
        r'url(\1.woff) format("woff")',
        css,
    )
    sheet.write_text(re.sub(r"/\*# sourceMappingURL=.*?\*/", "", css), encoding="utf-8")
    styles = "".join(path.read_text(encoding="utf-8") for path in static.rglob("*.css"))
    codepoints = {
        int(escape, 16) if escape else ord(char) for escape, char in CODEPOINT.findall(styles)
    }
    fonts = static / "vendor/fontawesome/webfonts"
    for path in fonts.glob("*.ttf"):
        font = TTFont(path)
        subsetter = subset.Subsetter()
        subsetter.populate(unicodes=codepoints)
        subsetter.subset(font)
        font.flavor = "woff"
        font.save(path.with_suffix(".woff"))
    for path in [*fonts.glob("*.ttf"), *fonts.glob("*.woff2")]:
        path.unlink()


def finish(app, exception) -> None:
    if exception or app.builder.format != "html":
        return
    out = Path(app.outdir)
    copy_notebooks(out)
    mend_pages(out)
    keep_used_icons(out)
    for source_map in (out / "_static").rglob("*.map"):
        source_map.unlink()
    shutil.rmtree(
        out / "_static/locales", ignore_errors=True
    )  # translations that Sphinx has already read


def setup(app) -> dict:
    app.setup_extension("sphinxext.opengraph")
    app.setup_extension("notfound.extension")
    if app.config.html_baseurl:
        app.setup_extension("sphinx_sitemap")
    app.add_config_value("site_sources", "", "html")
    app.connect("config-inited", use_repository)
    app.connect("config-inited", note_sources)
    app.connect("doctree-read", describe)
    app.connect("html-page-context", add_buttons, priority=600)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
