"""Who prints the book gets all of it, readable, with page numbers that are true."""

import re
import unicodedata

import pytest
from book import ROOT, chapter_paths, exported_paths, parse
from chromium import launched
from myst import blocks
from pdf import article, document, print_to
from pypdf import PdfReader

CHAPTERS = exported_paths()


@pytest.fixture(scope="module")
def articles(site):
    """The text of each page as it is printed, and its style sheets."""
    return [article(path) for path in chapter_paths()]


@pytest.fixture(scope="module")
def book(site, browser_at_hand, tmp_path_factory):
    path = tmp_path_factory.mktemp("print") / "book.pdf"
    print_to(path)
    return PdfReader(path)


def fonts_of(resources):
    """The fonts of a page by their names, those of the drawings on it included."""
    fonts = dict(resources.get("/Font", {}))
    for drawing in resources.get("/XObject", {}).values():
        fonts |= fonts_of(drawing.get_object().get("/Resources", {}))
    return fonts


@pytest.fixture(scope="module")
def read(book):
    """The text of each page; and of each, whether a glyph is missing: glyph 0 of a font is the box
    that stands for a character the font has not."""
    texts, missing = [], []
    for page in book.pages:
        fonts = fonts_of(page["/Resources"])
        font, glyphs = None, set()

        def look(operator, operands, _matrix, _text_matrix, fonts=fonts, glyphs=glyphs):
            nonlocal font
            if operator == b"Tf":
                font = fonts[operands[0]].get_object()
            elif operator in (b"Tj", b"TJ") and font["/Subtype"] == "/Type0":
                for part in operands[0] if operator == b"TJ" else operands:
                    if isinstance(part, (str, bytes)):
                        code = part.original_bytes if isinstance(part, str) else bytes(part)
                        glyphs |= {code[i : i + 2] for i in range(0, len(code), 2)}

        text = unicodedata.normalize("NFKC", page.extract_text(visitor_operand_before=look))
        texts.append(" ".join(text.split()))  # without ligatures
        missing.append(b"\0\0" in glyphs)
    return texts, missing


@pytest.fixture(scope="module")
def pages(read):
    return read[0]


def test_the_book_has_about_the_pages_that_its_chapters_take(book):
    assert 15 * len(CHAPTERS) <= len(book.pages) <= 70 * len(CHAPTERS) + 10


def test_the_table_of_contents_names_the_right_pages(pages):
    first = next(i for i, text in enumerate(pages) if text.startswith("Contents"))
    contents = " ".join(pages[first : first + 2])  # it may go on on a second page
    for path in CHAPTERS:
        cells = parse(path.read_text(encoding="utf-8"), path).cells
        found = [b for c in cells if c.cell_type == "markdown" for b in blocks(c.source)]
        headings = [b.body.lstrip("# ") for b in found if b.argument in ("h1", "h2")]
        assert len(headings) > 5
        for heading in headings:
            if "`" in heading or "$" in heading:
                continue
            number = re.search(re.escape(heading) + r" (\d+)", contents)
            assert number, f"{heading} is not in the table of contents"
            assert heading in pages[int(number[1]) - 1]


def test_no_term_of_the_glossary_stands_on_the_page_before_its_meaning(pages):
    source = (ROOT / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^(\S.*)\n  \S", source.split("```{glossary}\n")[1], re.MULTILINE)
    assert len(terms) > 30 and "window" in terms
    first = max(i for i, text in enumerate(pages) if text.startswith("Glossary"))
    for number, text in enumerate(pages[first:], first + 1):
        assert not text.removesuffix(f" {number}").endswith(tuple(f". {term}" for term in terms))


def test_links_in_the_book_lead_to_places_in_the_book(book):
    places = set(book.named_destinations)
    for page in book.pages:
        for link in page.get("/Annots") or []:
            target = link.get_object().get("/Dest")
            assert target is None or target in places


def test_solutions_stand_after_the_exercises_and_open(pages):
    text = " ".join(pages)
    exercises, solutions = (
        text.rindex("Exercise 1"),
        [m.start() for m in re.finditer(r"Solution to Exercise", text)],
    )
    assert solutions and min(solutions) > text.index("Exercises", text.index("Summary"))
    assert exercises > text.index("Solutions")
    assert "Both blocks compute the same" in text  # the text of a folded solution
    assert "plots.plot_degradation" in text  # a folded cell


def test_formulas_diagrams_and_figures_are_printed(book, pages):
    text = " ".join(pages)
    assert (
        "training images" in text.lower() and "depth (weighted layers)" in text
    )  # a figure's labels
    assert "3x3 conv, BatchNorm" in text  # a diagram's
    fonts = {
        str(font.get_object()["/BaseFont"])
        for page in book.pages
        for font in page["/Resources"].get("/Font", {}).values()
        if "/BaseFont" in font.get_object()
    }
    assert any("KaTeX_Math" in font for font in fonts)


def test_the_marks_and_bands_of_figures_are_printed(articles):
    """Dots, markers, bands and clips are drawn once and referred to by their ids."""
    marks = 0
    for text, _ in articles:
        there = {element["id"] for element in text.find_all(id=True)}
        wanted = set(re.findall(r'(?:<use [^>]*?href="|url\()#([^")]+)', str(text)))
        assert wanted <= there
        marks += len(wanted)
    assert marks > 50


def test_no_glyph_is_missing(read):
    texts, missing = read
    assert not any("\N{REPLACEMENT CHARACTER}" in text for text in texts)
    assert [number for number, is_missing in enumerate(missing, 1) if is_missing] == []


def test_nothing_is_cut_or_fades_in_on_a_printed_page(articles, site, browser_at_hand):
    """Printed width is about 640 px: code wraps, and figures, tables and formulas fit; what was
    folded is as dark as all else."""
    printed = site / "_print_width.html"
    printed.write_text(document(articles, {}), encoding="utf-8")
    try:
        with launched() as browser:
            page = browser.new_page(viewport={"width": 658, "height": 900})
            page.emulate_media(media="print")
            page.goto(printed.as_uri())
            wide = page.evaluate(
                "() => ['pre', 'svg', 'img', 'table', '.katex-html']"
                ".flatMap(e => [...document.querySelectorAll(`article ${e}`)])"
                ".filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
                ".map(e => e.outerHTML.slice(0, 100) + ' ' + e.getBoundingClientRect().right)"
            )
            fading = page.evaluate(
                "() => [...document.querySelectorAll('details[open] > *')]"
                ".filter(e => getComputedStyle(e).animationName != 'none').length"
            )
            panels = page.locator("div.panels").evaluate_all(
                "all => all.map(e => [...e.children].map(svg => svg.getBoundingClientRect().left))"
            )
    finally:
        printed.unlink()
    assert wide == [] and fading == 0
    # Panels stand in their rows: two, three, or two rows of two.
    rows = {(len(lefts), len({round(left) for left in lefts})) for lefts in panels}
    assert rows <= {(1, 1), (2, 2), (3, 3), (4, 2)} and (2, 2) in rows
