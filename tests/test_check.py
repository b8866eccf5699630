"""What is handed in is formatted, linted and typed, the chapters' cells included."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CELLS = [sys.executable, ROOT / "tools" / "cells.py"]

CHAPTER = """# A chapter

```{code-cell} ipython3
---
tags: [hide-input]
---
import os
%matplotlib inline
x = {"a": (1,
   2,)}
```

```python
y  =  "not a cell"
```

```{code-cell} ipython3
:tags: [remove-cell]

print( undefined )
```
"""


def test_make_check_finds_nothing():
    done = subprocess.run(
        ["make", "-o", ".venv/.ready", "check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run_on(chapter: Path, *options: str) -> list[str]:
    done = subprocess.run([*CELLS, *options, chapter], capture_output=True, text=True)
    assert done.returncode == bool(done.stderr)
    return done.stderr.splitlines()


def test_cells_are_checked_where_they_stand_and_mended_in_place(tmp_path):
    chapter = tmp_path / "chapter.md"
    chapter.write_text(CHAPTER)
    assert run_on(chapter) == [
        "chapter.md:7: I001 Import block is un-sorted or un-formatted",
        "chapter.md:7: F401 `os` imported but unused",
        "chapter.md:20: F821 Undefined name `undefined`",
        "chapter.md: run python tools/cells.py --fix to format its cells",
    ]
    assert chapter.read_text() == CHAPTER
    assert run_on(chapter, "--fix") == ["chapter.md:18: F821 Undefined name `undefined`"]
    expected = CHAPTER.replace("import os\n", "").replace("(1,\n   2,)", "(1, 2)")
    assert chapter.read_text() == expected.replace("print( undefined )", "print(undefined)")


def test_a_cell_that_is_no_python_is_named(tmp_path):
    chapter = tmp_path / "chapter.md"
    chapter.write_text(CHAPTER.replace("print( undefined )", "print("))
    assert "chapter.md:20: invalid-syntax unexpected EOF while parsing" in run_on(chapter)
