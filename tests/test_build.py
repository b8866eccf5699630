"""`make build` on a small book: it fails where it should, and executes no more and no less than it
must."""

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chapters import ChapterError, execute
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parents[1]

CHAPTER = """---
file_format: mystnb
kernelspec:
  display_name: Python 3
  name: python3
---

# A chapter

Some prose.

```{code-cell} ipython3
from nbsrc.used import VALUE
print("value", VALUE)
```
"""


@pytest.fixture
def book(tmp_path):
    """A book of an index and one chapter, with this book's own configuration and extensions."""
    for name in ("_config.yml", "requirements.txt", "references.bib"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("_ext", "_static", "_templates"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("package.json", "package-lock.json", "node_modules"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    package = tmp_path / "nbsrc"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "used.py").write_text("from nbsrc.deeper import VALUE\n")
    (package / "deeper.py").write_text("VALUE = 1\n")
    (package / "unused.py").write_text("VALUE = 1\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n  - file: chapter\n"
    )
    (tmp_path / "index.md").write_text("# A book\n\nSee {doc}`chapter`.\n")
    (tmp_path / "chapter.md").write_text(CHAPTER)
    return tmp_path


def build(book: Path) -> subprocess.CompletedProcess:
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", "--quiet", "--warningiserror", "--keep-going", "."]
    return subprocess.run(
        command, cwd=book, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
    )


def test_only_what_a_chapter_runs_on_makes_it_run_again(book):
    page = book / "_build" / "html" / "chapter.html"
    first = build(book)
    assert first.returncode == 0, first.stdout
    assert "chapter: executing 1 cells" in first.stdout and "chapter: executed in" in first.stdout
    assert "value 1" in page.read_text()

    (book / "chapter.md").write_text(CHAPTER.replace("Some prose", "Some other prose"))
    (book / "nbsrc" / "unused.py").write_text("VALUE = 2\n")
    prose = build(book)
    assert prose.returncode == 0 and "executing" not in prose.stdout
    assert "Some other prose" in page.read_text() and "value 1" in page.read_text()

    (book / "nbsrc" / "deeper.py").write_text("VALUE = 2\n")
    module = build(book)
    assert module.returncode == 0 and "executing" in module.stdout
    assert "value 2" in page.read_text()


def test_a_failing_cell_fails_the_build_and_is_named(book):
    with open(book / "chapter.md", "a") as file:
        file.write("\n```{code-cell} ipython3\n1 / 0\n```\n")
    result = build(book)
    assert result.returncode != 0
    assert (
        "chapter, code cell 2 (line 18): ZeroDivisionError: division by zero\n    1 / 0"
        in result.stdout
    )
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(
    "source, reason",
    [
        ("import os; os._exit(3)", "the kernel died with exit code 3"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "the kernel died of signal 9, SIGKILL; out of memory?",
        ),
        (
            "import os, signal; os.kill(os.getppid(), signal.SIGTERM)",
            "the kernel was shut down, by an interrupt of this process",
        ),
    ],
)
def test_a_cell_that_takes_the_kernel_down_is_named_with_how_it_ended(source, reason, caplog):
    cells = [new_code_cell("1"), new_code_cell(source), new_code_cell("2")]
    notebook = new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    with pytest.raises(ChapterError) as error:
        execute(notebook, "chapter")
    said = str(error.value)
    assert said.startswith(f"chapter, code cell 2: {reason}") and said.endswith(f"\n    {source}")
    del error  # and with it what it keeps alive
    notebook = new_notebook(
        cells=[new_code_cell("import time; time.sleep(2)")], metadata=notebook.metadata
    )
    execute(notebook, "another")  # what was left behind would run on here
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_broken_reference_fails_the_build_and_is_named(book):
    (book / "chapter.md").write_text(
        CHAPTER.replace("Some prose", "See {ref}`nowhere` and {cite:p}`nobody2020`")
    )
    result = build(book)
    assert result.returncode != 0
    assert (
        "chapter.md:10" in result.stdout
        and "nowhere" in result.stdout
        and "nobody2020" in result.stdout
    )
