"""What keeps a reader from the built site who reads it by ear, by keyboard or with tired eyes."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from book import chapter_paths

PAGES = [*(path.stem for path in chapter_paths()), "search", "genindex", "404"]


def contrast(one: str, other: str) -> float:
    """Of two colours as a browser gives them, as WCAG 2.1 defines it."""

    def luminance(color: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_keys_of_an_event_are_readable(scheme, look_at):
    page = look_at("part2-tabular-resnet", scheme=scheme)
    colors = page.locator("details.tree code").evaluate_all(
        """all => all.map(key => {
          const grounds = []
          for (let e = key; e; e = e.parentElement)
            grounds.push(getComputedStyle(e).backgroundColor)
          return [getComputedStyle(key).color, grounds.find(color => !color.endsWith(", 0)"))]
        })"""
    )
    assert len(colors) > 20
    assert min(contrast(text, ground) for text, ground in colors) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_against_wcag(name, scheme, look_at):
    query = "?q=bottleneck" if name == "search" else ""
    page = look_at(name, query=query, scheme=scheme)
    if query:
        page.locator("#search-results li").first.wait_for()
    # The theme makes what scrolls reachable by keyboard 300 ms after load.
    page.wait_for_timeout(300)
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
    options = {"runOnly": rules, "resultTypes": ["violations", "incomplete"], "preload": False}
    # What is drawn inside of a picture or a formula is one element to a screen reader; leaving it
    # out saves a minute.
    context = {"exclude": [["svg *"], [".katex-html *"]]}
    response = Axe().run(page, context=context, options=options).response
    # To axe, text in the colour of its ground is undecided: it might be hidden on purpose.
    report = [
        f"{v['id']}: {n['html'][:150]} {n['failureSummary'][:300]}"
        for v in response["violations"] + response["incomplete"]
        for n in v["nodes"]
        if v in response["violations"] or "a 1:1 contrast ratio" in n["failureSummary"]
    ]
    assert not report, "\n".join(report)
