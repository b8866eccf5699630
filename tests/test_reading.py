"""A reader plans by the times that the pages state, so they follow from what there is to read."""

import pytest

from tools import reading

WORDS = "word " * 400
CHAPTER = f"""---
kernelspec: {{name: python3}}
---

# A chapter

**Time to read:** about 1 minutes.

{WORDS}

(sec-half)=
{WORDS}

```{{code-cell}} ipython3
{"x = 1" + 19 * chr(10) + "x = 2"}
```

```{{code-cell}} ipython3
:tags: [hide-input]

{"y = 1" + 99 * chr(10)}plots.plot_lines(y)
```

(sec-exercises)=
{WORDS}
"""


def test_words_visible_code_and_figures_count_and_exercises_do_not():
    assert reading.minutes(CHAPTER) == pytest.approx(400 / 200 * 2 + 20 / 20 + 1 / 2, abs=0.1)
    assert reading.minutes(CHAPTER, "sec-half") == pytest.approx(2, abs=0.1)


def test_stated_times_are_corrected_wherever_they_stand(monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "ROOT", tmp_path)
    (tmp_path / "chapter.md").write_text(CHAPTER)
    assert "about 5 minutes" in reading.corrected("chapter", CHAPTER)
    landing = (
        "{doc}`chapter` (about 9 minutes), {doc}`chapter` up to\n{ref}`sec-half` (about 9 minutes)"
    )
    assert reading.corrected("index", landing) == (
        "{doc}`chapter` (about 5 minutes), {doc}`chapter` up to\n{ref}`sec-half` (about 0 minutes)"
    )
