"""Names that stay whole, and exercises that a reader finds by their number in the chapter."""

from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.utils import new_document
from exercises import from_one
from names import keep_whole

APP = SimpleNamespace(builder=SimpleNamespace(format="html"))


def test_a_name_with_a_number_is_not_broken_and_code_is_left_alone():
    document = new_document("page")
    text = "ResNet-18 on CIFAR-10, 3-grams, pre-trained by scikit-learn."
    document += nodes.paragraph("", "", nodes.Text(text))
    document += nodes.paragraph("", "", nodes.literal("", "resnet-18"))
    keep_whole(APP, document, "page")
    whole = [
        node.astext() for node in document.findall(nodes.inline) if "nowrap" in node["classes"]
    ]
    assert whole == ["ResNet-18", "CIFAR-10", "3-grams", "scikit-learn"]
    assert document.astext().startswith(text)


@pytest.mark.parametrize(
    ("code", "options"),
    [("--budget", True), ("python -m nbsrc.tables", True), ("a-b", False), ("3 <- x", False)],
)
def test_code_with_options_is_marked_so_that_no_line_ends_after_a_dash(code, options):
    document = new_document("page")
    document += nodes.paragraph("", "", nodes.literal("", code))
    keep_whole(APP, document, "page")
    [literal] = document.findall(nodes.literal)
    assert ("options" in literal["classes"]) == options


def test_exercises_of_each_chapter_start_at_one():
    numbers = {
        "part1": {"exercise": {"ex-a": (1,), "ex-b": (2,)}, "figure": {"fig-a": (1,)}},
        "part2": {"exercise": {"ex-c": (3,)}, "figure": {"fig-b": (2,)}},
        "index": {},
    }
    assert from_one(APP, SimpleNamespace(toc_fignumbers=numbers)) == []
    assert numbers["part1"]["exercise"] == {"ex-a": (1,), "ex-b": (2,)}
    assert numbers["part2"] == {"exercise": {"ex-c": (1,)}, "figure": {"fig-b": (2,)}}
