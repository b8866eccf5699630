"""A reader who takes a notebook away, alone, can run it, change it and see the change."""

import json
import re
import sys

import nbformat
import pytest
from chapters import ROOT, execute, parse
from nbformat.v4 import new_code_cell, new_notebook

from notebooks import (
    ROLE,
    VERBATIM,
    Book,
    Chapter,
    ExportError,
    export,
    exported_paths,
    learn_directives,
)

CHAPTERS = exported_paths()
COMMITTED = ROOT / "notebooks"


def read(path):
    return nbformat.read(COMMITTED / f"{path.stem}.ipynb", as_version=4)


def exported(text, tmp_path):
    """The notebook of a chapter with this text."""
    path = tmp_path / "chapter.md"
    path.write_text(
        "---\nfile_format: mystnb\nkernelspec: {name: python3, display_name: Python 3}\n---\n"
        + text
    )
    book = Book()
    learn_directives(book, text)
    return Chapter(path, book, {}).exported()


def text_of(notebook):
    """What a reader reads: the Markdown of its text cells and of the cells that fill numbers in."""
    return "\n\n".join(
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "markdown" or cell.source.startswith("Markdown(")
    )


def test_the_committed_notebooks_are_those_of_the_chapters():
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in COMMITTED.glob("*.ipynb")}
    assert on_disk == export(), "run: make notebooks"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_reader_sees_plain_markdown_and_no_raw_directive(path):
    notebook = read(path)
    nbformat.validate(notebook)
    text = text_of(notebook)
    assert not re.search(r"^ *[`:~]{3,}\s*\{", text, re.MULTILINE)
    assert not ROLE.search(VERBATIM.sub("", text))
    assert "\0" not in text and "\1" not in text
    assert not re.search(r"^\([\w-]+\)=$", text, re.MULTILINE)
    assert "## References" in text


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_notebook_differs_only_where_its_chapter_does(path):
    notebook = read(path)
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    assert all(
        not cell.outputs and cell.execution_count is None
        for cell in notebook.cells
        if cell.cell_type == "code"
    )


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_cell_of_the_chapter_is_in_the_notebook_in_order(path):
    cells = iter(cell.source for cell in read(path).cells if cell.cell_type == "code")
    for cell in parse(path.read_text(encoding="utf-8"), path).cells:
        wanted = cell.source.replace("from myst_nb import glue", "").strip()
        if cell.cell_type == "code" and wanted:
            assert any(source.strip() == wanted for source in cells), (
                f"missing or out of order:\n{wanted}"
            )


@pytest.mark.book
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_notebook_runs_alone_in_an_empty_folder(path, tmp_path):
    notebook = read(path)
    if path.stem.startswith(
        "part2"
    ):  # the page is executed with all epochs; here only that it runs is asked
        (cell,) = [cell for cell in notebook.cells if "SEED, EPOCHS = 0, 8" in cell.source]
        cell.source = cell.source.replace("SEED, EPOCHS = 0, 8", "SEED, EPOCHS = 0, 1")
    notebook.cells.append(new_code_cell("import nbsrc\nprint(nbsrc.__file__)"))
    execute(notebook, path.stem, folder=tmp_path)
    assert str(tmp_path) in notebook.cells[-1].outputs[0].text, (
        "it ran on the installed nbsrc, not on its own"
    )
    for cell in notebook.cells:
        if cell.source.startswith("Markdown("):  # the text that quotes numbers has them
            assert not re.search(r"\{numbers|\bnan\b", cell.outputs[0].data["text/markdown"])


def run_with(cells, folder):
    notebook = new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    execute(notebook, "notebook", folder=folder)
    return "".join(output.get("text", "") for output in cells[-1].outputs)


@pytest.mark.parametrize("edit", ["", "out += identity"], ids=["as it is", "without the skip"])
def test_who_removes_the_skip_in_the_listing_sees_a_block_without_skip(edit, tmp_path):
    """The block itself, a network built of it by nbsrc, and a function imported before the edit,
    all follow."""
    cells = read(ROOT / "part1-resnet.md").cells
    first = next(
        i for i, cell in enumerate(cells) if cell.source.startswith("%%writefile nbsrc/training")
    )
    front = [cell for cell in cells[: first + 1] if cell.cell_type == "code"]
    listing = next(
        cell for cell in cells if cell.source.startswith("%%listing nbsrc.blocks BasicBlock")
    )
    assert "out += identity" in listing.source
    if edit:
        listing.source = listing.source.replace(edit, "pass")
    before = "import torch\nimport nbsrc.resnet\nfrom nbsrc.resnet import cifar_resnet, resnet18"
    after = """
block = BasicBlock(4, 4).eval()
net = cifar_resnet(8, in_channels=1).eval()
deep = resnet18().layer1[0].eval()
with torch.no_grad():
    for name, b, x in [("block", block, torch.rand(1, 4, 5, 5)), ("cifar", net.layer1[0], torch.rand(1, 16, 5, 5)),
                       ("resnet18", deep, torch.rand(1, 64, 5, 5))]:
        b.bn2.weight.zero_()  # F = 0: what is left is the skip
        print(name, "skips" if torch.equal(b(x), x) else "gives zero" if not b(x).any() else "is odd")
print(nbsrc.resnet.BasicBlock is BasicBlock)
"""
    out = run_with([*front, new_code_cell(before), listing, new_code_cell(after)], tmp_path)
    does = "gives zero" if edit else "skips"
    assert out == f"block {does}\ncifar {does}\nresnet18 {does}\nTrue\n"


def test_directives_come_out_as_what_they_mean(tmp_path):
    text = text_of(exported(CONSTRUCTS, tmp_path))
    assert "> **Mind**\n>\n> the *gap*" in text
    assert "<summary>Why</summary>\n\nBecause $x$.\n\n</details>" in text
    assert "**Left**\n\nOne, see Exercise 1 and (1)." in text
    assert "$$\na = b \\tag{1}\n$$" in text
    assert "**Table 1.** Words\n\n| a | b |\n| --- | --- |\n| 1 | 2 and more |" in text
    assert (
        "```mermaid\nflowchart LR\n  a --> b\n```\n\n*Fig. 1. A to b.*\n\n*The diagram: an edge*"
        in text
    )
    assert "<summary>Solution to Exercise 1</summary>\n\nOne." in text
    assert "`{ref}` is a role and `(x)=` a target" in text
    assert "```python\n:::{note}\n```" in text
    assert "secret" not in text and "(here)=" not in text


def test_numbers_in_the_text_are_those_that_the_cells_computed(tmp_path):
    notebook = exported(
        "# T\n\n```{code-cell}\n:tags: [remove-cell]\nfrom myst_nb import glue\nglue('third', 1 / 3)\n```\n\n"
        "About {glue:text}`third:.2f` of $x_{1}$.\n\nNo number here.\n",
        tmp_path,
    )
    execute(notebook, "numbers", folder=tmp_path)
    filled = next(cell for cell in notebook.cells if cell.source.startswith("Markdown("))
    assert filled.outputs[0].data["text/markdown"].strip() == "About 0.33 of $x_{1}$."
    assert notebook.cells[-1].source == "No number here."


@pytest.mark.parametrize("text", ["```{youtube} x\n```", "{strange}`x`", "{ref}`nowhere`"])
def test_what_the_exporter_does_not_know_is_an_error_that_names_it(text, tmp_path):
    with pytest.raises(ExportError, match=re.escape(re.search(r"\w+", text)[0])):
        exported(f"# T\n\n{text}\n", tmp_path)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_notebook_installs_packages_in_the_versions_needed_and_on_colab_only(path):
    setup = read(path).cells[1].source
    packages = set(json.loads(re.search(r"needed = (\[.*\])", setup)[1]))
    assert {"torch>=2.4", "polars>=2", "scikit-learn"} <= packages
    assert not packages & (sys.stdlib_module_names | {"nbsrc", "myst_nb", "myst-nb"})
    guard = setup.index('if "google.colab" in sys.modules:')
    assert "pip" not in setup[:guard]
    assert all(
        line.startswith("    ") or not line for line in setup[guard:].split("\n\n")[1].split("\n")
    )


CONSTRUCTS = """
# Title

<!-- secret -->
% secret

(here)=
## Here {#id .class}

:::{admonition} Mind
:class: tip
the *gap*
:::

::::{grid} 1 2
:::{grid-item-card} Left
One, see {ref}`ex-one` and {eq}`eq-a`.
:::
::::

````{tab-set}
```{tab-item} Tab
Two.
```
````

:::{dropdown} Why
Because {math}`x`.
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
:caption: A to b.
:name: fig-edge

flowchart LR
  a --> b
```

`{ref}` is a role and `(x)=` a target.

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
