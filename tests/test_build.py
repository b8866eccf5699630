"""`make build` on a small book: it fails where it should, and executes no more and no less than it
must."""

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import chapters
import psutil
import pytest
from bs4 import BeautifulSoup
from citations import author_year, cited, references
from dependencies import code_of, data_files, imported_modules
from execution import ChapterError, execute
from joblib import cpu_count
from nbformat.v4 import new_code_cell, new_notebook
from pybtex.database import parse_file

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

{cite:t}`he2016deep`, {cite:t}`ioffe2015batch`, {cite:p}`he2016identity,jordan2024airbench`

```{bibliography}
```
"""


def write_package(package: Path, modules: dict[str, str]) -> None:
    for name, source in modules.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(source)


@pytest.fixture
def book(tmp_path):
    return write_book(tmp_path)


def write_book(tmp_path: Path) -> Path:
    """A book of an index and one chapter, with this book's own configuration and extensions."""
    for name in ("_config.yml", "pyproject.toml", "requirements.txt", "references.bib"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("_ext", "_static", "_templates"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("package.json", "package-lock.json", "node_modules"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    write_package(
        tmp_path / "nbsrc",
        {
            "__init__.py": "",
            "used.py": "from nbsrc.room import VALUE\n",
            "room/__init__.py": "VALUE = 1\n",
            "unused.py": "VALUE = 1\n",
        },
    )
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


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, str, str]:
    """A book after its first build, what the build said, and the chapter's page."""
    book = write_book(tmp_path_factory.mktemp("book"))
    first = build(book)
    assert first.returncode == 0, first.stdout
    return book, first.stdout, (book / "_build/html/chapter.html").read_text()


def test_only_what_a_chapter_runs_on_makes_it_run_again_and_a_broken_reference_is_named(built):
    """In one book, as a build takes its time."""
    book, said, first_page = built
    page = book / "_build" / "html" / "chapter.html"
    assert "chapter: executing 1 cells" in said and "chapter: executed in" in said
    assert "value 1" in first_page

    broken = "Some other prose, {ref}`nowhere` and {cite:p}`nobody2020`"
    (book / "chapter.md").write_text(CHAPTER.replace("Some prose", broken))
    (book / "nbsrc" / "unused.py").write_text("VALUE = 2\n")
    prose = build(book)
    assert prose.returncode != 0 and "executing" not in prose.stdout
    assert "chapter.md:10" in prose.stdout
    assert "nowhere" in prose.stdout and "nobody2020" in prose.stdout
    assert "Some other prose" in page.read_text() and "value 1" in page.read_text()

    (book / "chapter.md").write_text(CHAPTER)
    (book / "nbsrc" / "room" / "__init__.py").write_text("VALUE = 2\n")
    module = build(book)
    assert module.returncode == 0 and "executing" in module.stdout
    assert "value 2" in page.read_text()


@pytest.mark.parametrize(
    "source, runs",
    [
        ("import nbsrc", "__init__"),
        ("import os\nimport nbsrc.flat as f", "__init__ flat"),
        ("from nbsrc import flat, room", "__init__ flat room/__init__"),
        ("from nbsrc.room.door import WIDTH", "__init__ room/__init__ room/door"),
        ("from nbsrc.room import door", "__init__ room/__init__ room/door"),
        ("import nbsrc.room.windows", "__init__ room/__init__ room/door room/windows flat"),
        ("from nbsrc.room.walls import door", "__init__ room/__init__ room/walls room/door"),
        ("from nbsrc.bare.floor import *", "__init__ bare/floor"),
        ("import nbsrc_other, nbsrc.absent\nfrom . import flat", "__init__"),
    ],
)
def test_every_file_that_an_import_runs_is_found(source, runs, tmp_path):
    write_package(
        tmp_path / "nbsrc",
        {
            "__init__.py": "",
            "flat.py": "",
            "room/__init__.py": "",
            "room/door.py": "WIDTH = 1\n",
            "room/windows.py": "from . import door\nfrom ..flat import *\n",
            "room/walls.py": "from .door import WIDTH\n",
            "room/unused.py": "",
            "bare/floor.py": "",  # a folder without __init__.py is a package, too
        },
    )
    found = imported_modules(source, tmp_path / "nbsrc")
    assert found == {tmp_path / "nbsrc" / f"{name}.py" for name in runs.split()}


@pytest.mark.parametrize(
    "cell",
    [
        "!python -m nbsrc.simulation --events 10",
        "%run -m nbsrc.simulation",
        'import subprocess, sys\nsubprocess.run([sys.executable, "-m", "nbsrc.simulation"])',
        "from nbsrc.simulation.__main__ import main",
    ],
)
def test_a_command_that_a_cell_runs_is_found(cell):
    found = imported_modules(code_of(new_notebook(cells=[new_code_cell(cell)])))
    assert {ROOT / "nbsrc/simulation/__main__.py", ROOT / "nbsrc/simulation/stream.py"} <= found


def test_data_that_a_cell_names_is_found():
    assert data_files("read('_static/logo.svg', '/etc/hosts', 'logo.svg', '_static/no')") == {
        ROOT / "_static/logo.svg"
    }


def test_works_are_cited_alike_on_the_page_in_its_list_and_in_the_notebook(built):
    page = BeautifulSoup(built[2], "html.parser")
    works = parse_file(str(ROOT / "references.bib")).entries
    deep, identity, batch = (works[k] for k in ("he2016deep", "he2016identity", "ioffe2015batch"))
    airbench = works["jordan2024airbench"]
    said = [cited([deep], in_text=True), cited([batch], in_text=True)]
    said.append(cited([identity, airbench], in_text=False))
    assert ", ".join(said) in " ".join(page.get_text().split())
    assert said[0] == "He et al. [2016a]" and said[2] == "[He et al., 2016b; Jordan, 2024]"
    labels = [
        " ".join(span.get_text().strip("[]").split()) for span in page.select(".citation .label")
    ]
    assert labels == [label for label, _ in references([deep, identity, batch, airbench])]
    assert labels[:2] == ["He et al., 2016a", "He et al., 2016b"]


def test_no_author_is_written_in_latex():
    """A label shows a name's letters as they stand in the file: Alcal\\'a for Alcalá."""
    works = parse_file(str(ROOT / "references.bib")).entries.values()
    names = [str(person) for work in works for person in work.persons["author"]]
    assert len(names) > 100 and [name for name in names if "\\" in name] == []


def test_no_two_works_read_alike():
    works = parse_file(str(ROOT / "references.bib")).entries.values()
    assert len({author_year(work) for work in works}) == len(works)


def test_a_failing_cell_fails_the_build_and_is_named(book):
    with open(book / "chapter.md", "a") as file:
        file.write("\n```{code-cell} ipython3\n1 / 0\n```\n")
    result = build(book)
    assert result.returncode != 0
    assert "chapter, line 23: ZeroDivisionError: division by zero\n    1 / 0" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.long
def test_a_cell_that_takes_the_kernel_down_is_named_with_how_it_ended(caplog, tmp_path):
    def notebook_of(*sources):
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        return new_notebook(cells=[new_code_cell(s) for s in sources], metadata=metadata)

    for source, reason in (
        ("import os; os._exit(3)", "the kernel died with exit code 3"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "the kernel died of signal 9, SIGKILL; out of memory?",
        ),
        (
            "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)",
            "the kernel was shut down, by an interrupt of this process",
        ),
    ):
        with pytest.raises(ChapterError) as error:
            execute(notebook_of("1", source, "2"), "chapter", folder=tmp_path)
        said = str(error.value)
        assert said.startswith(f"chapter, code cell 2: {reason}")
        assert said.endswith(f"\n    {source}")
        del error  # and with it what it keeps alive
    # What was left behind would run on here.
    execute(notebook_of("import time; time.sleep(2)"), "another", folder=tmp_path)
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


MEETS = """---
file_format: mystnb
kernelspec: {{name: python3, display_name: Python 3}}
---
# {own}

```{{code-cell}}
import os, time
from pathlib import Path

Path("{place}/{own}").write_text(str(os.getpid()))
waited = 0
while not Path("{place}/{other}").exists() and waited < 30:
    time.sleep(0.1)
    waited += 0.1
print("met", waited < 30, os.environ["OMP_NUM_THREADS"], os.environ["LOKY_MAX_CPU_COUNT"])
```

```{{code-cell}}
{then}
```
"""


def side_by_side(folder, monkeypatch, **then):
    monkeypatch.setattr(chapters, "CACHE", folder / "cache")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    paths = [folder / f"{name}.md" for name in then]
    for path, other in zip(paths, reversed(paths), strict=True):
        text = MEETS.format(own=path.stem, other=other.stem, place=folder, then=then[path.stem])
        path.write_text(text)
    return paths, chapters.executed_chapters(paths)


def test_two_chapters_run_side_by_side_and_share_the_cores(tmp_path, monkeypatch):
    paths, executed = side_by_side(tmp_path, monkeypatch, one="", two="")
    half = max(1, cpu_count() // 2)
    for path in paths:
        (output,) = executed[path].cells[1].outputs
        assert output.text == f"met True {half} {half}\n"
    monkeypatch.setattr(chapters, "run_beside", None)  # from now on it would fail
    cached = chapters.executed_chapters(paths)
    assert all(cached[path].cells[1].outputs == executed[path].cells[1].outputs for path in paths)


def test_a_chapter_that_fails_is_named_and_stops_the_one_beside_it(tmp_path, monkeypatch):
    end = tmp_path / "end"
    with pytest.raises(ChapterError, match=r"^one, line 20: ZeroDivisionError"):
        side_by_side(
            tmp_path, monkeypatch, one="1 / 0", two=f"time.sleep(10); Path({str(end)!r}).touch()"
        )
    assert not end.exists() and not psutil.pid_exists(int((tmp_path / "two").read_text()))
