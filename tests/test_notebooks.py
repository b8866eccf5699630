"""A reader who takes a notebook away, alone, can run it, change it and see the change; who only
looks at it, as on GitHub, sees what the page shows."""

import json
import re
import sys
from copy import deepcopy
from functools import cache
from xml.etree import ElementTree

import nbformat
import pytest
from book import ROOT, Book, exported_paths, parse
from chapters import run_alone
from conversion import Chapter
from execution import execute
from myst import ExportError
from nbformat.v4 import new_code_cell, new_notebook

from notebooks import fill_in, without_results

CHAPTERS = exported_paths()
COMMITTED = ROOT / "notebooks"
FRONT = (
    "---\nfile_format: mystnb\nkernelspec: {name: python3, display_name: Python 3}\n---\n# T\n\n"
)


@cache
def read(path):
    return nbformat.read(COMMITTED / f"{path.stem}.ipynb", as_version=4)


def written(text, folder):
    path = folder / "chapter.md"
    path.write_text(FRONT + text)
    return path


def exported(text, folder):
    """The cells of the notebook of a chapter with this text."""
    path = written(text, folder)
    return Chapter(path, Book([path]), {}).notebook().cells


def executed(text, folder):
    """A chapter with this text as it is after its notebook has run alone, and the notebook."""
    path = written(text, folder)
    page = parse(path.read_text(), path)
    run_alone(page, path)
    chapter = Chapter(path, Book([path]), {})
    fill_in(chapter, page)
    return page, chapter.notebook()


def text_of(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_the_committed_notebooks_are_those_of_the_chapters():
    """But for the numbers that the page's run put into the text, and its outputs."""
    assert {path.stem for path in COMMITTED.glob("*.ipynb")} == {path.stem for path in CHAPTERS}
    for chapter in without_results().values():
        here = read(chapter.path).cells
        assert [c.id for c in here] == [c.id for c in chapter.cells], "run: make notebooks"
        for ours, theirs in zip(here, chapter.cells, strict=True):
            before, *parts = re.split("\0.+?\0", theirs.source)  # around the numbers
            text = ".+?".join(map(re.escape, ["", *parts]))
            rest = ours.source.removeprefix(before)
            assert before + rest == ours.source and (
                re.fullmatch(text, rest, re.DOTALL) if parts else not rest
            ), "run: make notebooks"
            assert (ours.cell_type, ours.metadata) == (theirs.cell_type, theirs.metadata)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_reader_sees_plain_markdown(path):
    notebook = read(path)
    nbformat.validate(notebook)
    text = text_of(notebook)
    assert "## References\n\n- **[" in text
    assert not re.search(r"^ *[`:~]{3,}\s*\{", text, re.MULTILINE)
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    assert "\0" not in prose and not re.search(r"^\([\w-]+\)=$", prose, re.MULTILINE)
    assert not re.search(r"(?<!\w)\{[a-z]+(:[a-z]+)?\}`", text), "a role"
    assert not re.search(r"\(\(\d+\)\)", prose), "an equation's number in brackets of its own"
    assert not re.search(r"\d[eE][-+]?\d", prose), "a number as a computer writes it"
    assert not re.search(r"\b(exercise|table|figure|fig\.|equation) \1", prose, re.IGNORECASE)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_page_s_figures_are_in_the_notebook_and_it_stays_small(path):
    assert (COMMITTED / f"{path.stem}.ipynb").stat().st_size < 2_000_000
    notebook = read(path)
    chapter = parse(path.read_text(encoding="utf-8"), path)
    figures = [cell.source for cell in chapter.cells if "mystnb" in cell.metadata]
    assert figures
    drawn = {
        cell.source: {kind for output in cell.outputs for kind in output.get("data", {})}
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert all("image/svg+xml" in drawn[source] for source in figures)
    assert not any("papermill" in kind for kinds in drawn.values() for kind in kinds)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_one_folded_cell_stands_between_the_title_and_the_chapter(path):
    title, setup, first = read(path).cells[:3]
    assert title.cell_type == "markdown" and len(title.source) > 200
    assert setup.metadata["jupyter"]["source_hidden"] and setup.metadata["cellView"] == "form"
    lists = ("nbsrc/", "results/", "needed = ")  # a file a line, and the packages
    lines = [line for line in setup.source.split("\n") if not any(mark in line for mark in lists)]
    assert max(map(len, lines)) < 200
    assert len(lines) < 120
    assert first.source.strip() in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_cell_of_the_chapter_is_in_the_notebook_in_order(path):
    cells = iter(cell.source for cell in read(path).cells if cell.cell_type == "code")
    for cell in parse(path.read_text(encoding="utf-8"), path).cells:
        wanted = cell.source.replace("from myst_nb import glue", "").strip()
        if cell.cell_type == "code" and wanted:
            assert any(source.strip() == wanted for source in cells), (
                f"missing or out of order:\n{wanted}"
            )


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_notebook_installs_packages_in_the_versions_needed_and_on_colab_only(path):
    setup = read(path).cells[1].source
    packages = set(json.loads(re.search(r"needed = (\[.*\])", setup)[1]))
    assert {"torch>=2.4", "polars>=2", "scikit-learn"} <= packages
    assert not packages & (sys.stdlib_module_names | {"nbsrc", "myst_nb", "myst-nb"})
    before, guarded = setup.split('if "google.colab" in sys.modules:')
    assert '"pip"' not in before and '    subprocess.run([sys.executable, "-m", "pip"' in guarded


ALONE = """
```{code-cell}
from myst_nb import glue

glue("third", 1 / 3)
glue("best", "it")
"shown"
```

About {glue:text}`third:.2f` of $x_{1}$.

:::{note}
The best is {glue:text}`best`.
:::

```{code-cell}
import os
from pathlib import Path

import nbsrc
from joblib import Parallel, delayed
from nbsrc.tabular.network import TabularResNet

here = Path.cwd()
print(sorted(path.name for path in here.iterdir()))
print(Path(nbsrc.__file__).relative_to(here), "network.py" in os.listdir("nbsrc/tabular"))
print(Parallel(n_jobs=2)(delayed(eval)("__import__('nbsrc').__file__") for _ in "12")
      == 2 * [nbsrc.__file__])
```

```{code-cell}
from nbsrc import plots

plots.use_style()
plots.plt.plot([1, 2])
plots.plt.show()
```

```{code-cell}
print("x" * 400_000)
```
"""


@pytest.fixture(scope="module")
def ran_alone(tmp_path_factory):
    """The page and the notebook of ALONE after one run, and the outputs of its cells in each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        page, notebook = executed(ALONE, tmp_path_factory.mktemp("alone"))
    outputs = (
        [cell.outputs for cell in cells if cell.cell_type == "code"]
        for cells in (page.cells, notebook.cells[2:])  # after the title and the setup
    )
    return page, notebook, *outputs


def test_what_runs_for_the_page_is_the_notebook_alone_in_an_empty_folder(ran_alone):
    _, _, page, notebook = ran_alone
    printed = "".join(output.text for output in page[1])
    assert printed == "['nbsrc']\nnbsrc/__init__.py True\nTrue\n"
    assert notebook[1] == page[1]


def test_numbers_in_the_text_are_those_that_the_cells_computed(ran_alone):
    _, notebook, page, outputs = ran_alone
    title, _setup, _cell, words, *_ = notebook.cells
    assert words.source == "About 0.33 of $x_{1}$.\n\n> **Note**\n>\n> The best is it."
    assert [output.data["text/plain"] for output in outputs[0]] == ["'shown'"]
    handed_over = [output for output in page[-1] if output.output_type == "display_data"]
    names = [output.metadata["scrapbook"]["name"] for output in handed_over]
    assert names == ["third", "best"]
    assert title.source == "# T"


def test_figures_are_shown_and_an_output_that_is_large_stays_on_the_page(ran_alone):
    _, _, page, notebook = ran_alone
    printed = [output for output in page[-1] if output.output_type == "stream"]
    assert len(page[-2]) == len(printed) == 1
    (figure,), nothing = notebook[-2:]
    svg = figure.data["image/svg+xml"]
    assert ElementTree.fromstring(svg).find(".//{*}path") is not None and "metadata" not in svg
    assert nothing == []


def test_who_removes_the_skip_in_the_listing_sees_a_block_without_skip(tmp_path):
    """The block itself, a network built of it by nbsrc, and a function imported before the edit,
    all follow."""
    cells = deepcopy(read(ROOT / "part1-resnet.md").cells)
    listing = next(
        cell for cell in cells if cell.source.startswith("%%listing nbsrc.blocks BasicBlock")
    )
    assert "out += identity" in listing.source
    edited = new_code_cell(listing.source.replace("out += identity", "pass"))
    before = "import torch\nimport nbsrc.resnet\nfrom nbsrc.resnet import cifar_resnet, resnet18"
    after = """
block = BasicBlock(4, 4).eval()
net = cifar_resnet(8, in_channels=1).eval()
deep = resnet18().layer1[0].eval()
with torch.no_grad():
    for name, b, x in [
        ("block", block, torch.rand(1, 4, 5, 5)),
        ("cifar", net.layer1[0], torch.rand(1, 16, 5, 5)),
        ("resnet18", deep, torch.rand(1, 64, 5, 5)),
    ]:
        b.bn2.weight.zero_()  # F = 0: what is left is the skip
        print(name, "skips" if torch.equal(b(x), x) else "gives zero" if not b(x).any() else "?")
print(nbsrc.resnet.BasicBlock is BasicBlock)
"""
    as_it_is, without_skip = new_code_cell(after), new_code_cell(after)
    notebook = new_notebook(
        cells=[cells[1], new_code_cell(before), listing, as_it_is, edited, without_skip],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    execute(notebook, "notebook", folder=tmp_path)
    for cell, does in ((as_it_is, "skips"), (without_skip, "gives zero")):
        said = "".join(output.get("text", "") for output in cell.outputs)
        assert said == f"block {does}\ncifar {does}\nresnet18 {does}\nTrue\n"


def test_directives_come_out_as_what_they_mean(tmp_path):
    text = "\n\n".join(c.source for c in exported(CONSTRUCTS, tmp_path) if c.cell_type != "code")
    assert "> **Mind**\n>\n> the *gap*" in text
    assert "<summary>Why</summary>\n\nBecause $x$.\n\n</details>" in text
    assert "**Left**\n\nOne, see Exercise 1,\nthe first and (1)." in text
    assert "$$\na = b \\tag{1}\n$$" in text
    assert "**Table 1.** Words\n\n| a | b |\n| --- | --- |\n| 1 | 2 and more |" in text
    diagram = "```mermaid\nflowchart LR\n  a --> b\n```\n\n*Fig. 1. A: to b.*"
    assert diagram + "\n\n*The diagram: an edge*" in text
    assert "<summary>Solution to Exercise 1</summary>\n\nOne." in text
    assert "`{ref}` is a role and `(x)=` a target" in text
    assert "```python\n:::{note}\n```" in text
    assert "secret" not in text and "(here)=" not in text
    assert "> quoted: *Here*,\n> twice *Here*\n\n- a list: *Here*\n  - and (1)" in text
    assert "| *Here* | (1), (1) |" in text


def test_a_term_of_the_glossary_is_a_plain_word(tmp_path):
    cells = exported("A {term}`shortcut <residual connection>`, {term}`nat`\n", tmp_path)
    assert "A shortcut, nat" in cells[0].source


@pytest.mark.parametrize(
    "text, named",
    [
        ("```{youtube} x\n```", "youtube"),
        ("{strange}`x`", "strange"),
        ("{ref}`nowhere`", "nowhere"),
        ("{cite:p}`nobody2020`", "nobody2020"),
        ("- in a list:\n\n  ```{note}\n  x\n  ```", "inside of a list or a quotation: {note}"),
        ("Term\n: its definition", "dl"),
        ("[a link]: https://example.org", "a link"),
        ("Words {{ replaced }} here", "replaced"),
    ],
)
def test_what_the_exporter_does_not_know_is_an_error_that_names_it(text, named, tmp_path):
    with pytest.raises(ExportError, match=rf"^chapter.md: .*{re.escape(named)}"):
        exported(f"{text}\n", tmp_path)


def test_exercises_are_numbered_in_each_chapter_and_figures_through_the_book(tmp_path):
    paths = [tmp_path / "one.md", tmp_path / "two.md"]
    for path in paths:
        path.write_text(
            f"{FRONT}```{{exercise}} A\n:label: ex-{path.stem}\n```\n\n"
            f"```{{mermaid}}\n:caption: C\n:name: fig-{path.stem}\n```\n"
        )
    labels = Book(paths).labels
    assert labels["ex-one"] == labels["ex-two"] == "Exercise 1"
    assert (labels["fig-one"], labels["fig-two"]) == ("Fig. 1", "Fig. 2")


CONSTRUCTS = """
<!-- secret -->
% secret

(here)=
## Here

:::{admonition} Mind
:class: tip
the *gap*
:::

::::{grid} 1 2
:gutter: 3

:::{grid-item-card} Left
One, see {ref}`ex-one`,
{ref}`the
first <ex-one>` and {eq}`eq-a`.
:::
::::

:::{dropdown} Why
Because $x$.
:::

$$
a = b
$$ (eq-a)

```{list-table} Words
:header-rows: 1
:name: tbl-words

* - a
  - b
* - 1
  - 2 and
    more
```

```{mermaid}
:alt: an edge
:caption: "A: to b."
:name: fig-edge

flowchart LR
  a --> b
```

`{ref}` is a role and `(x)=` a target.

> quoted: {ref}`here`,
> twice {ref}`here`

- a list: {ref}`here`
  - and {eq}`eq-a`

| one | two |
| --- | --- |
| {ref}`here` | {eq}`eq-a`, {eq}`eq-a` |

```python
:::{note}
```

```{exercise} Count
:label: ex-one

How many?
```

````{solution-start} ex-one
:class: dropdown
````

One.

```{code-cell}
print(1)
```

````{solution-end}
````
"""
