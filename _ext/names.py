"""Keep names such as ResNet-18 and options such as `--budget` on one line: a browser would break
them after a hyphen."""

import re

from docutils import nodes

NAME = re.compile(r"\b([A-Za-z]+-\d+|\d-grams?|FT-Transformer|scikit-learn)\b")
OPTION = re.compile(r"(^|\s)-")
AS_IT_IS = (nodes.FixedTextElement, nodes.literal, nodes.math, nodes.raw)


def keep_whole(app, doctree: nodes.document, docname: str) -> None:
    if app.builder.format != "html":
        return
    for code in doctree.findall(nodes.literal):
        if OPTION.search(code.astext()):
            code["classes"].append("options")  # _static/book.css: a line ends between its words
    for text in list(doctree.findall(nodes.Text)):
        if not NAME.search(text) or any(isinstance(p, AS_IT_IS) for p in ancestors(text)):
            continue
        parts: list[nodes.Node] = []
        end = 0
        for match in NAME.finditer(text):
            name = nodes.inline("", match[0], classes=["nowrap"])
            parts += [nodes.Text(text[end : match.start()]), name]
            end = match.end()
        text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def ancestors(node: nodes.Node):
    while node := node.parent:
        yield node


def setup(app) -> dict:
    app.connect("doctree-resolved", keep_whole)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
