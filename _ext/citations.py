"""One style of citing, on the pages and in the notebooks: author and year, in the text as in the
list of references. Two works of the same authors and year have a letter behind the year in
references.bib."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pybtex.database import Entry
from pybtex.plugin import find_plugin, register_plugin
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle
from sphinxcontrib.bibtex import plugin as bibtex
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


def author_year(entry: Entry) -> tuple[str, str]:
    """As in "He et al." and "2016a"."""
    last = [
        " ".join(person.prelast_names + person.last_names).replace("{", "").replace("}", "")
        for person in entry.persons["author"]
    ]
    several = len(last) > 2 or "others" in last
    return f"{last[0]} et al." if several else " and ".join(last), entry.fields["year"]


class AuthorYear(BaseLabelStyle):
    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        for entry in sorted_entries:
            yield ", ".join(author_year(entry))


class BookStyle(PlainStyle):
    default_label_style = AuthorYear


@dataclass
class BookReferences(AuthorYearReferenceStyle):
    bracket_parenthetical: BracketStyle = field(default_factory=lambda: BracketStyle(sep="; "))


def cited(entries: list[Entry], *, in_text: bool) -> str:
    """What the page's cite:t and cite:p say."""
    pairs = [author_year(entry) for entry in entries]
    if in_text:
        return ", ".join(f"{author} [{year}]" for author, year in pairs)
    return "[" + "; ".join(f"{author}, {year}" for author, year in pairs) + "]"


def references(entries: list[Entry]) -> list[tuple[str, str]]:
    """Label and text of each work, in the page's order, as Markdown."""
    backend = find_plugin("pybtex.backends", "markdown")()
    style = BookStyle()
    return [
        (entry.label, entry.text.render(backend).replace("\n", " "))
        for entry in style.format_entries(entries)
    ]


def setup(app) -> dict:
    register_plugin("pybtex.style.formatting", "book", BookStyle)
    bibtex.register_plugin("sphinxcontrib.bibtex.style.referencing", "book", BookReferences)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
