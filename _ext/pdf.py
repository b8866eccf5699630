"""Print the book: _build/book.pdf, from the built pages, through Chromium.

The pages are put one after the other into one document, so that links between them work and the
table of contents can name pages. Folded code is open, folded solutions stand at the end of their
chapter. The document is printed twice: the first print tells on which pages the headings are.
"""

import html
import sys
from pathlib import Path

import yaml
from book import ROOT, chapter_paths
from bs4 import BeautifulSoup, Tag
from chromium import MISSING, find, launched
from pypdf import PdfReader

SITE = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "book.pdf"
NOT_PRINTED = (
    ".headerlink, .toggle-button, .copybtn, script, style, .prev-next-area, nav, .tocsection"
)

STYLE = """
@page { size: A4; margin: 20mm 18mm; }
html { font-size: 10pt; }
body { background: white; }
main { display: block; }
article { break-before: page; }
.cover { height: 240mm; display: flex; flex-direction: column; justify-content: center; }
.cover img { width: 45mm; margin-bottom: 15mm; }
.cover h1 { font-size: 30pt; margin: 0 0 6mm; }
.contents { break-before: page; }
.contents ol { list-style: none; padding: 0; }
.contents li { display: flex; gap: 2mm; align-items: baseline; }
.contents li.level-1 { font-weight: bold; margin-top: 3mm; }
.contents li.level-2 { padding-left: 6mm; }
.contents a { color: inherit; text-decoration: none; }
.contents i { flex: 1; border-bottom: 1px dotted; }
h1, h2, h3, h4, caption, dt { break-after: avoid; }
figcaption { break-before: avoid; }
h2 { margin-top: 8mm; }
figure, svg, img, table, .math, .sd-card, .exercise, .admonition:not(.solution) {
  break-inside: avoid;
}
pre { white-space: pre-wrap !important; overflow-wrap: anywhere; font-size: 8pt; }
.highlight, .cell_input, .cell_output { overflow: visible !important; }
table { font-size: 8.5pt; max-width: 100%; }
table.dataframe { font-size: 7.5pt; }
table.dataframe :is(th, td) { white-space: normal; padding: 1mm; }
table.dataframe td:not(.nowrap, [style*="right"]) { overflow-wrap: anywhere; }
.cell_output .output, .pst-scrollable-table-container, div.math { overflow: visible; }
svg.diagram { max-height: 200mm; min-width: 0 !important; }
.toggle-hidden, .sd-tab-content, details > * {
  display: block; visibility: visible; height: auto; opacity: 1;
}
.sd-tab-set > input { display: none; }
a { text-decoration: none; }
summary { list-style: none; }
summary::marker { content: none; }
details:not(.sd-dropdown) > summary, summary .sd-summary-state-marker { display: none !important; }
"""


def article(path: Path) -> tuple[Tag, list[str]]:
    """The text of a page, its ids and links made those of one document; and the page's style
    sheets, since a page without formulas has none for them."""
    page = BeautifulSoup((SITE / f"{path.stem}.html").read_text(encoding="utf-8"), "html.parser")
    text = page.select_one("article.bd-article")
    for unwanted in text.select(NOT_PRINTED):
        unwanted.decompose()
    for folded in text.select("details.tree details"):  # an event, its objects not written out
        if summary := folded.summary:
            folded.replace_with(*list(summary.children))
    for folded in text.select("details"):
        folded["open"] = ""
    solutions = text.select("div.solution")
    if solutions:
        heading = page.new_tag("h2")
        heading.string = "Solutions"
        text.append(heading)
        for solution in solutions:
            text.append(solution.extract())
    references = text.find(id=["references", "bibliography"])
    if references:
        text.append(references.extract())
    for element in text.find_all(id=True):
        if element.find_parent("svg") is None:  # drawings' ids hold for the whole book, see figures
            element["id"] = f"{path.stem}--{element['id']}"
    text["id"] = path.stem
    for link in text.find_all("a", href=True):
        target, _, anchor = link["href"].partition("#")
        if not target:
            link["href"] = f"#{path.stem}--{anchor}"
        elif target.endswith(".html") and "://" not in target:
            link["href"] = f"#{target.removesuffix('.html')}" + (f"--{anchor}" if anchor else "")
    return text, [str(link) for link in page.select('link[rel="stylesheet"]')]


def headings(articles: list[Tag]) -> list[tuple[int, str, str]]:
    """Level, id and text of what the table of contents lists.

    The id is the heading's own: its section's may still stand at the foot of the page before.
    """
    found = []
    for text in articles:
        for number, heading in enumerate(text.find_all(["h1", "h2"])):
            heading["id"] = f"{text['id']}--heading-{number}"
            found.append((int(heading.name[1]), heading["id"], heading.get_text()))
    return found


def document(parsed: list[tuple[Tag, list[str]]], pages: dict[str, int]) -> str:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    articles = [text for text, _ in parsed]
    styles = dict.fromkeys(style for _, own in parsed for style in own)
    entries = "\n".join(
        f'<li class="level-{level}"><a href="#{name}">{html.escape(title)}</a>'
        f"<i></i>{pages.get(name, 0)}</li>"
        for level, name, title in headings(articles)
    )
    title, author = html.escape(config["title"]), html.escape(config["author"])
    body = "\n".join(str(text) for text in articles)
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light">
<head><meta charset="utf-8"><title>{title}</title><meta name="author" content="{author}">
{"".join(styles)}<style>{STYLE}</style></head>
<body><main class="bd-main">
<div class="cover"><img src="_static/logo.svg" alt=""><h1>{title}</h1><p>{author}</p></div>
<nav class="contents"><h2>Contents</h2><ol>{entries}</ol></nav>
{body}
</main></body></html>"""


def print_to(pdf: Path) -> int:
    """Write the book to ``pdf``; return its number of pages."""
    articles = [article(path) for path in chapter_paths()]
    printed = SITE / "_print.html"
    pages: dict[str, int] = {}
    try:
        with launched() as browser:
            page = browser.new_page()
            for _ in range(2):
                printed.write_text(document(articles, pages), encoding="utf-8")
                page.goto(printed.as_uri(), wait_until="load")
                page.evaluate("document.fonts.ready")
                page.pdf(
                    path=pdf,
                    prefer_css_page_size=True,
                    print_background=True,
                    outline=True,
                    tagged=True,
                    display_header_footer=True,
                    header_template="<span></span>",
                    footer_template='<div style="font-size:8px;width:100%;text-align:center">'
                    '<span class="pageNumber"></span></div>',
                )
                reader = PdfReader(pdf)
                pages = {
                    name.removeprefix("/"): reader.get_destination_page_number(destination) + 1
                    for name, destination in reader.named_destinations.items()
                }
    finally:
        printed.unlink(missing_ok=True)
    return len(reader.pages)


if __name__ == "__main__":
    if find() is None:
        sys.exit(MISSING)
    print(f"The book in print: {PDF.relative_to(ROOT)}, {print_to(PDF)} pages")
