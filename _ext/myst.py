"""MyST Markdown cut into blocks, and the roles in its text replaced, by myst-parser's own tokens.

A block is one of the top level: a paragraph, a list, a formula, or a directive, whose body can be
cut again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import yaml
from docutils.parsers.rst.directives.misc import TestDirective
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.myst_role.index import myst_role
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.directives import parse_directive_text
from myst_parser.parsers.mdit import create_md_parser

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "_config.yml").read_text(encoding="utf-8"))
EXTENSIONS = set(CONFIG["parse"]["myst_enable_extensions"])
TEXT = {  # what every reader of Markdown knows
    "blockquote_open", "bullet_list_open", "code_block", "colon_fence", "fence", "hr", "html_block",
    "math_block", "ordered_list_open", "paragraph_open", "table_open",
}  # fmt: skip
QUOTED = {"note", "tip", "warning", "important", "admonition"}
CONTAINERS = QUOTED | {"dropdown", "exercise", "grid", "grid-item-card"}  # MyST is in them
DROPPED = {"front_matter", "myst_block_break", "myst_line_comment"}


class ExportError(Exception):
    """A chapter has something that can't become plain Markdown; the message says what."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the chapter's name before the message of an ExportError."""
    try:
        yield
    except ExportError as error:
        raise ExportError(f"{path.name}: {error}") from None


@dataclass
class Block:
    """``kind`` is a directive's name, ``text``, ``target``, ``equation``, ``heading``, or a token's
    type, for what only MyST understands.

    ``argument`` is a directive's, a target's name, an equation's label or a heading's tag;
    ``body`` is what stands in a directive or an equation, for other kinds the Markdown itself.
    """

    kind: str
    argument: str
    body: str
    options: dict[str, str] = field(default_factory=dict)
    roles: list[tuple[int, int, str, str]] = field(default_factory=list)

    def plain(self, role: Callable[[str, str], str]) -> str:
        """The body with each role replaced by what ``role`` gives for its name and content."""
        text = self.body
        for start, end, name, content in reversed(self.roles):
            text = text[:start] + role(name, content) + text[end:]
        return text


def role_with_its_place(state: StateInline, silent: bool) -> bool:
    start = state.pos
    found = myst_role(state, silent)
    if found and not silent:
        state.tokens[-1].meta["place"] = (start, state.pos)
    return found


PARSER = create_md_parser(MdParserConfig(enable_extensions=EXTENSIONS), RendererHTML)
PARSER.inline.ruler.at("myst_role", role_with_its_place)


def blocks(text: str) -> Iterator[Block]:
    """The blocks of ``text``, without comments.

    Raises ExportError for what can't be cut out: directives inside of lists, attributes, links
    that are defined apart.
    """
    lines = text.split("\n")
    tokens = PARSER.parse(text)
    first = [i for i, t in enumerate(tokens) if not t.level and t.nesting >= 0 and t.map]
    ends = [0, *(tokens[i].map[1] for i in first)]
    starts = [*(tokens[i].map[0] for i in first), len(lines)]
    for end, start in zip(ends, starts, strict=True):
        if left := "\n".join(lines[end:start]).strip():
            raise ExportError(f"neither text nor a directive: {left}")
    for here, after in pairwise([*first, len(tokens)]):
        token = tokens[here]
        start, end = token.map
        if token.type in DROPPED or token.content.startswith("<!--"):
            continue
        name, argument = directive(token)
        if name:
            content = parse_directive_text(TestDirective, "", token.content)
            yield Block(name, argument, "\n".join(content.body), content.options)
        elif token.type == "myst_target":
            yield Block("target", token.content, "")
        elif token.type == "math_block_label":
            yield Block("equation", token.info, token.content.strip("\n"))
        else:
            kind = "text" if token.type in TEXT else token.type.removesuffix("_open")
            body = "\n".join(lines[start:end]).rstrip()
            roles = list(places(body, start, tokens[here:after]))
            yield Block(kind, token.tag, body, roles=roles)


def is_container(block: Block) -> bool:
    """Whether the block's body is MyST, to be cut into blocks of its own."""
    return block.kind in CONTAINERS


def directive(token: Token) -> tuple[str, str]:
    """A fence's name and argument as a directive; no name where it is none."""
    if token.type not in ("fence", "colon_fence") or not token.info.strip().startswith("{"):
        return "", ""
    name, _, argument = token.info.strip().removeprefix("{").partition("}")
    return name, argument.strip()


def places(body: str, line: int, tokens: list[Token]) -> Iterator[tuple[int, int, str, str]]:
    """Where in ``body``, which starts at ``line``, its roles stand: start, end, name, content."""
    starts = [0]
    for text in body.split("\n"):
        starts.append(starts[-1] + len(text) + 1)
    position = 0
    for token in tokens:
        if token.level and directive(token)[0]:
            raise ExportError(f"a directive inside of a list or a quotation: {token.info}")
        if token.type != "inline":
            continue
        before = []  # (where a line of the token's content starts: there, and in the body)
        offset = 0
        for number, text in enumerate(token.content.split("\n"), token.map[0] - line):
            position = body.index(text, max(position, starts[number]))
            before.append((offset, position))
            offset += len(text) + 1
            position += len(text)
        for child in token.children:
            if child.type in ("footnote_ref", "span_open", "substitution_inline"):
                raise ExportError(f"{child.type}: {token.content}")
            if child.type == "myst_role":
                start, end = (
                    next(there + n - here for here, there in reversed(before) if here <= n)
                    for n in child.meta["place"]
                )
                yield start, end, child.meta["name"], " ".join(child.content.split())
