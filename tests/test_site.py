"""What a reader of the built site would miss: tested in Chromium, every other host refused."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from book import chapter_paths, exported_paths
from bs4 import BeautifulSoup
from website import notebook_links

ROOT = Path(__file__).parents[1]
TEXTS = [path.stem for path in chapter_paths()]
CHAPTERS = [path.stem for path in exported_paths()]
PAGES = [*TEXTS, "search", "genindex", "404"]


@cache
def soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_asks_nobody_else(name, look_at):
    page = look_at(name)
    assert page.troubles == []
    assert_whole(page)


@pytest.mark.parametrize("name", TEXTS)
def test_a_page_is_whole_from_a_folder_without_a_server(name, open_page, site):
    page = open_page((site / f"{name}.html").as_uri())
    assert page.troubles == []
    assert_whole(page)


def assert_whole(page):
    """Diagrams and figures drawn, formulas typeset, pictures loaded."""
    drawn = page.locator("svg.diagram, div.panels:not(.still)").evaluate_all(
        "all => all.map(e => [e.getAttribute('role'), (e.getAttribute('aria-label') || '').length,"
        " e.getBoundingClientRect().width, e.getBoundingClientRect().height])"
    )
    for role, label, width, height in drawn:
        assert role == "img" and label > 10 and width > 100 and height > 30
    assert page.locator("pre.mermaid, .mermaid:not(svg)").count() == 0
    formulas = page.locator("span.math, div.math")
    assert formulas.count() == page.locator("span.math:has(.katex), div.math:has(.katex)").count()
    assert page.locator(".katex-error").count() == 0
    assert (
        page.locator("img").evaluate_all(
            "all => all.filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
        )
        == []
    )


def test_diagrams_figures_and_formulas_are_on_the_page_of_part_1(look_at):
    page = look_at("part1-resnet")
    source = (ROOT / "part1-resnet.md").read_text(encoding="utf-8")
    assert page.locator("svg.diagram").count() == source.count("```{mermaid}") > 0
    assert page.locator("div.panels:not(.live)").count() == source.count("\n  figure:\n") > 0
    assert page.locator(".katex").count() > 20
    assert page.locator(".katex-html").first.evaluate("e => getComputedStyle(e).fontFamily") != ""
    assert page.evaluate("document.fonts.check('16px KaTeX_Main')")


def chosen(form, label):
    return form.get_by_label(label, exact=True)


def lines(page):
    return page.locator("div.panels.live path.now").evaluate_all("all => all.map(e => e.outerHTML)")


@pytest.mark.parametrize("width", [1280, 375])
def test_controls_change_the_figure_without_a_server_and_by_keyboard(width, open_page, site):
    page = open_page((site / "part1-resnet.html").as_uri(), width=width, scheme="dark")
    form = page.locator("form.explorer")
    told = form.locator("[aria-live]")
    seen = {told.inner_text(): lines(page)}
    for label, key in [
        ("Skip", "ArrowDown"),
        ("Normalization", "ArrowDown"),
        ("Layers", "ArrowRight"),
    ]:
        chosen(form, label).focus()
        page.keyboard.press(key)
        assert told.inner_text() not in seen and lines(page) not in seen.values(), label
        seen[told.inner_text()] = lines(page)
    assert "Residual + BatchNorm, 64 layers" in told.inner_text()
    assert chosen(form, "Layers").get_attribute("aria-valuetext") == "64"
    # What was chosen before: in two panels, a line for each of three seeds.
    assert page.locator("div.panels.live path.before").count() == 6
    box = page.locator("div.panels.live svg.figure").first.bounding_box()
    assert 200 < box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink = page.locator("div.panels.live text").first.evaluate("e => getComputedStyle(e).fill")
    assert min(map(int, re.findall(r"\d+", ink)[:3])) > 150, f"dark ink on a dark page: {ink}"
    assert page.troubles == []


def test_the_slider_moves_along_what_is_found(open_page, site):
    page = open_page((site / "part3-anomaly-scores.html").as_uri())
    form, mark = page.locator("form.explorer"), page.locator("div.panels.live circle.mark")
    slider = chosen(form, "False alarms a day")
    slider.focus()
    page.keyboard.press("Home")
    left, words = mark.get_attribute("cx"), form.locator("[aria-live]").inner_text()
    page.keyboard.press("End")
    assert float(mark.get_attribute("cx")) > float(left) + 100
    assert form.locator("[aria-live]").inner_text() != words
    before = lines(page)
    chosen(form, "Method").select_option("Rarity")
    assert lines(page) != before and "Rarity at" in form.locator("[aria-live]").inner_text()
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    ink = mark.evaluate("e => getComputedStyle(e).stroke")
    assert min(map(int, re.findall(r"\d+", ink)[:3])) > 150, f"dark ink on a dark page: {ink}"


def test_a_figure_with_controls_is_a_still_one_in_print_and_without_scripts(
    browser, open_page, site
):
    address = (site / "part1-resnet.html").as_uri()
    page = open_page(address)
    still, live = (page.locator(f"div.panels.{kind}") for kind in ("still", "live"))
    assert live.is_visible() and not still.is_visible()
    page.emulate_media(media="print")
    assert still.is_visible() and not live.is_visible()
    assert not page.locator("form.explorer").is_visible()
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(address)
        assert page.locator("div.panels[aria-label*='24 layers']").is_visible()
        assert not page.locator("form.explorer").is_visible()


def test_the_skip_edge_is_the_highlighted_one(look_at):
    """Of the residual block's diagram, one line is vermilion, and it goes from the input to the
    sum."""
    page = look_at("part1-resnet")
    diagram = page.locator("svg.diagram[aria-label^='A residual block']").first
    lines = diagram.locator("polyline")
    colored = [i for i in range(lines.count()) if lines.nth(i).get_attribute("stroke") == "#d55e00"]
    assert len(colored) == 1
    points = [
        tuple(map(float, p.split(",")))
        for p in lines.nth(colored[0]).get_attribute("points").split()
    ]
    longest = max(points, key=lambda p: p[1])[1] - min(points, key=lambda p: p[1])[1]
    others = [
        lines.nth(i).get_attribute("points") for i in range(lines.count()) if i not in colored
    ]
    assert all(
        longest > max(ys) - min(ys)
        for ys in ([float(p.split(",")[1]) for p in o.split()] for o in others)
    )


def test_figures_and_diagrams_follow_dark_mode(open_page, address):
    page = open_page(f"{address}part1-resnet.html")
    look = """() => {
      const color = (e, what) => getComputedStyle(e)[what];
      return [color(document.querySelector('svg.figure [style*="fill: currentColor"]'), 'fill'),
              color(document.querySelector('svg.diagram text'), 'fill'),
              color(document.body, 'backgroundColor')];
    }"""
    light = page.evaluate(look)
    while page.locator("html").get_attribute("data-theme") != "dark":
        page.locator(".theme-switch-button:visible").first.click()
    dark = page.evaluate(look)
    assert all(before != after for before, after in zip(light, dark, strict=True))
    for ink in dark[:2]:
        assert min(map(int, re.findall(r"\d+", ink)[:3])) > 150, f"dark ink on a dark page: {ink}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_code_has_the_room_that_its_longest_line_needs(name, look_at):
    page = look_at(name)
    cut = page.locator("article pre:visible").evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth && !e.closest('.cell_output'))"
        ".map(e => e.innerText)"
    )
    assert cut == []
    widest = page.locator("article p:not(.admonition-title):visible").evaluate_all(
        "all => Math.max(...all.map(e => e.clientWidth / parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert 40 < widest <= 45, "lines of text are too short, or too long, to read well"


@pytest.mark.parametrize("name", CHAPTERS)
def test_what_is_folded_has_room_when_it_is_opened(name, open_page, address):
    page = open_page(f"{address}{name}.html")
    page.evaluate(
        """() => {
          document.querySelectorAll("details").forEach(e => e.open = true)
          const hidden = [...document.getElementsByClassName("toggle-hidden")]
          hidden.forEach(e => e.classList.remove("toggle-hidden"))
        }"""
    )
    room = page.locator("article pre, article .cell_output .output")
    assert room.count() > 20
    cut = room.evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText.slice(0, 80))"
    )
    assert cut == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_an_option_is_not_broken_after_its_dashes(name, open_page, address):
    page = open_page(f"{address}{name}.html")
    words = page.locator("article :is(p, li) code .pre").filter(has_text=re.compile("^-"))
    for width in range(320, 400, 8):
        page.set_viewport_size({"width": width, "height": 800})
        broken = words.evaluate_all(
            "all => all.filter(e => e.getClientRects().length > 1).map(e => e.textContent)"
        )
        assert broken == []


@pytest.mark.parametrize("name", TEXTS)
def test_links_to_the_pages_before_and_after_are_whole_on_a_phone(name, look_at):
    page = look_at(name, width=375)
    words = page.locator(".prev-next-area p, .prev-next-area i")
    assert words.count() >= 3
    assert (
        page.locator(".prev-next-area a").evaluate_all(
            "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"
        )
        == []
    )
    edges = words.evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert max(edges) <= 375


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_name_or_number_in_a_table_is_not_broken(name, width, look_at):
    """Such as ResNet-18, or 3 + 4 + 6 + 3; on a phone, a cell of words may take several lines."""
    page = look_at(name, width=width)
    table = "article " + ("table.dataframe " if width == 375 else "")
    cells = page.locator(f"{table}td:visible").evaluate_all(
        """all => all.map(cell => {
          const words = document.createRange()
          words.selectNodeContents(cell)
          const middles = [...words.getClientRects()].map(r => (r.top + r.bottom) / 2)
          return [cell.innerText, Math.max(...middles) - Math.min(...middles)]
        })"""
    )
    assert len(cells) > 20
    assert [text for text, lines in cells if len(text) <= 24 and lines > 12] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_captions_are_as_heavy_as_the_text(name, look_at):
    page = look_at(name)
    weights = page.locator("article figcaption .caption-text, article caption").evaluate_all(
        "all => all.map(e => getComputedStyle(e).fontWeight)"
    )
    assert set(weights) == {"400"}


@pytest.mark.parametrize("name", TEXTS)
def test_on_a_phone_panels_are_stacked_and_their_text_is_readable(name, look_at):
    page = look_at(name, width=375)
    small = page.locator("svg.figure text, svg.figure tspan, svg.diagram text").evaluate_all(
        """all => all.filter(e => e.getClientRects().length).map(e => {
          const drawing = e.closest("svg")
          const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width
          return [parseFloat(getComputedStyle(e).fontSize) * scale, e.textContent]
        }).filter(([size]) => size < 9)"""
    )
    assert small == []
    lefts = page.locator("div.panels").evaluate_all(
        "all => all.map(e => [...e.children].map(svg => svg.getBoundingClientRect().left))"
    )
    assert max(map(len, lefts), default=0) > 1 or name not in CHAPTERS
    assert all(len({round(left) for left in panels}) == 1 for panels in lefts)


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_says_each_thing_once_and_numbers_as_one_writes_them(name, site):
    page = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    for unread in page.select("pre, code, script, .katex-mathml, svg"):
        unread.decompose()
    text = " ".join(page.select_one("article").get_text().split())
    assert not re.findall(r"\bexercise Exercise\b.{20}", text, re.IGNORECASE)
    assert not re.findall(r"\(\(\d+\)\)", text), "a number of an equation in two parentheses"
    assert not re.findall(r"\d(?:\.\d+)?e[-+]?\d+\b|\b10\^\S+", text)


@pytest.mark.parametrize("name", CHAPTERS)
def test_works_are_cited_as_the_list_names_them(name, site):
    """Two works of one year have a letter in both."""
    page = soup(site / f"{name}.html")
    listed = [label.get_text().strip("[]") for label in page.select(".citation .label")]
    assert len(set(listed)) == len(listed) > 2
    cited = {link.get_text() for link in page.select(".bibtex-citation a")}
    years = {label.rsplit(" ", 1)[1] for label in listed}
    assert cited and all(link.rsplit(" ", 1)[-1].strip("[]") in years for link in cited)


def test_searching_for_bottleneck_finds_part_1(open_page, address):
    page = open_page(f"{address}search.html?q=bottleneck")
    page.locator("#search-results li a[href*='part1-resnet']").first.wait_for()
    page.locator("#search-results p.context").first.wait_for()
    assert page.troubles == []


def test_folded_cells_and_solutions_open_by_keyboard(open_page, address):
    page = open_page(f"{address}part1-resnet.html")
    cell = page.locator("details.hide").first
    assert cell.get_attribute("open") is None
    cell.locator("summary").focus()
    page.keyboard.press("Enter")
    assert cell.locator("pre").first.is_visible()
    solution = page.locator("div.solution.dropdown").first
    assert not solution.locator(".section, section, p").nth(1).is_visible()
    solution.locator("button.toggle-button").focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    assert solution.locator("pre").first.is_visible()


def test_every_link_inside_the_site_leads_somewhere(site):
    broken = []
    for path in site.glob("[!_]*.html"):  # without what is being printed
        if path.name == "404.html":
            continue
        for link in soup(path).find_all("a", href=True):
            target, anchor = urldefrag(link["href"])
            if re.match(r"[a-z]+:", target):
                continue
            file = (path.parent / unquote(target)).resolve() if target else path
            if not file.is_file() or (
                anchor and file.suffix == ".html" and not soup(file).find(id=unquote(anchor))
            ):
                broken.append(f"{path.name}: {link['href']}")
    assert broken == []


def test_an_address_that_does_not_exist_gets_the_book_s_own_page(open_page, address):
    page = open_page(f"{address}no-such-page.html")
    assert (
        page.troubles[0].startswith("404")
        and len([t for t in page.troubles if "no-such-page" not in t]) <= 1
    )
    assert "Page not found" in page.locator("article h1").inner_text()
    page.locator("a.navbar-brand").first.click()
    page.wait_for_url(f"{address}index.html")


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_notebook_of_a_page_downloads(name, open_page, address, tmp_path):
    page = open_page(f"{address}{name}.html")
    with page.expect_download() as download:
        page.get_by_label("Download notebook").click()
    download.value.save_as(tmp_path / "it.ipynb")
    assert download.value.suggested_filename == f"{name}.ipynb"
    nbformat.validate(nbformat.read(tmp_path / "it.ipynb", as_version=4))
    assert (tmp_path / "it.ipynb").read_bytes() == (
        ROOT / "notebooks" / f"{name}.ipynb"
    ).read_bytes()


@pytest.mark.parametrize("name", CHAPTERS)
def test_with_a_repository_the_buttons_lead_to_the_committed_notebook(name, site):
    links = notebook_links(name, repository="https://github.com/someone/book", branch="main")
    colab, binder = (link["url"] for link in links)
    prefix = "https://colab.research.google.com/github/someone/book/blob/main/"
    assert colab.startswith(prefix) and (ROOT / colab.removeprefix(prefix)).is_file()
    prefix = "https://mybinder.org/v2/gh/someone/book/main?labpath="
    assert binder.startswith(prefix) and (ROOT / unquote(binder.removeprefix(prefix))).is_file()
    for link in links:
        assert (site / link["icon"]).is_file()
    assert notebook_links(name, repository="", branch="main") == []


@pytest.mark.parametrize("name", TEXTS)
def test_without_a_repository_no_button_leads_nowhere(name, site):
    header = soup(site / f"{name}.html").select_one(".bd-header-article")
    targets = [link["href"] for link in header.find_all("a", href=True)]
    assert all(
        (site / urldefrag(target)[0]).is_file() for target in targets if urldefrag(target)[0]
    )


@pytest.mark.parametrize("name", PAGES)
def test_nothing_makes_a_page_scroll_sideways_on_a_phone(name, look_at):
    page = look_at(name, width=375)
    assert page.evaluate("document.documentElement.scrollWidth") == 375


@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("name", ["part1-resnet", "part2-tabular-resnet", "part3-anomaly-scores"])
def test_a_formula_is_shown_from_its_beginning_and_its_number_covers_nothing(
    name, width, open_page, address
):
    page = open_page(f"{address}{name}.html", width=width)
    page.evaluate("document.querySelectorAll('details').forEach(folded => folded.open = true)")
    formulas = page.evaluate(
        """() => [...document.querySelectorAll("div.math")].map(box => {
          const [formula, number] = [".katex-html", ".eqno"].map(
            part => box.querySelector(part)?.getBoundingClientRect())
          const edges = box.getBoundingClientRect()
          return [edges.left, formula.left, formula.right, number?.left ?? edges.right]
        })"""
    )
    assert formulas
    for left, begins, ends, number in formulas:
        assert left - 1 <= begins < ends <= number + 1


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_site_and_the_notebook_number_figures_tables_and_exercises_alike(name, site):
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    page = soup(site / f"{name}.html")
    captions = [
        " ".join(c.get_text().split()) for c in page.select(".caption-number, p.admonition-title")
    ]
    for kind, pattern in [
        ("Fig.", r"^\*Fig. (\d+)"),
        ("Table", r"^\*\*Table (\d+)"),
        ("Exercise", r"^\*\*Exercise (\d+)"),
    ]:
        on_page = [
            int(m[1])
            for caption in captions
            if (m := re.match(rf"{re.escape(kind)} (\d+)", caption))
        ]
        in_notebook = list(map(int, re.findall(pattern, text, re.MULTILINE)))
        # A solution repeats its exercise's number.
        assert in_notebook == list(dict.fromkeys(on_page))
        assert on_page or kind == "Table"
    equations = [int(e.get_text().strip("()#")) for e in page.select(".eqno")]
    assert list(map(int, re.findall(r"\\tag\{(\d+)\}", text))) == equations


@pytest.mark.parametrize("name", TEXTS)
def test_link_previews_have_title_description_and_picture(name, site):
    page = soup(site / f"{name}.html")
    assert page.title.string.strip()
    assert page.find("meta", attrs={"name": "description"})["content"].strip()
    for tag in ("title", "description", "image", "image:alt", "site_name"):
        assert page.find("meta", property=f"og:{tag}")["content"].strip()
    assert (site / page.find("meta", property="og:image")["content"]).is_file()
    assert (site / page.find("link", rel="icon")["href"]).is_file()


def test_a_phone_does_not_fetch_megabytes(site):
    """What every page loads, and what nothing loads, stays small: an icon font of twenty icons, no
    source maps."""
    fonts = list((site / "_static/vendor/fontawesome/webfonts").iterdir())
    assert sum(font.stat().st_size for font in fonts) < 20_000
    assert not list(site.rglob("*.map")) and not list(site.rglob("fontawesome.js"))
    assert sum(path.stat().st_size for path in site.rglob("*.js")) < 400_000
