"""What is written is there as a whole or not at all, damage is found, and errors are one line."""

import json
import struct
from pathlib import Path

import polars as pl
import pytest
import torch

from nbsrc.support.command import Parser, run
from nbsrc.support.files import whole
from nbsrc.support.results import provenance, read_result, write_result
from nbsrc.support.tensors import read_tensors, write_tensors


def test_a_file_is_replaced_as_a_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(RuntimeError), whole(path) as part:
        part.write_text("hal")
        raise RuntimeError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    with whole(path) as part:
        part.write_text("after")
    assert path.read_text() == "after" and list(tmp_path.iterdir()) == [path]


def test_tensors_come_back_with_what_is_known_about_them(tmp_path: Path) -> None:
    path = tmp_path / "tensors"
    x = torch.arange(6.0).view(2, 3).T  # not contiguous
    write_tensors(path, {"x": x}, {"format": 1})
    tensors, about = read_tensors(path)
    assert about == {"format": 1} and torch.equal(tensors["x"], x)


def test_one_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    path = tmp_path / "tensors"
    write_tensors(path, {"x": torch.ones(3)}, {"name": "a"})
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    about = content.index(header["__metadata__"]["about"].encode()[-3:-2])
    for place in (len(content) - 1, len(content) - 12, about, 4):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged, or was not written by nbsrc"):
            read_tensors(path)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("bad \x1b[31mred\nmore"), 2, "nbsrc.x: bad \ufffd[31mred\n"),
        (OSError(), 2, "nbsrc.x: OSError\n"),
        (KeyboardInterrupt(), 130, "Interrupted. Nothing written.\n"),
    ],
)
def test_an_error_is_one_line(error, code, said, capsys) -> None:
    def work() -> None:
        raise error

    assert run("python -m nbsrc.x", work, interrupted=lambda: "Nothing written.") == code
    assert capsys.readouterr().err == said
    assert run("python -m nbsrc.x", lambda: None, interrupted=lambda: "") == 0


def test_a_wrong_option_is_one_line(capsys) -> None:
    with pytest.raises(SystemExit) as left:
        Parser(prog="python -m nbsrc.x").parse_args(["--nothing"])
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        "nbsrc.x: unrecognized arguments: --nothing (--help explains)\n"
    )


def test_a_stored_result_comes_back_with_what_made_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    rows = pl.DataFrame({"method": ["a", "b"], "score": [0.1, None], "n": [1, 2]})
    about = provenance("python -m x", torch.device("cpu"), ("polars",))
    write_result(path, rows, about | {"data": "made up"})
    table, known = read_result(path)
    assert table.equals(rows)
    assert known == about | {"data": "made up"}
    assert known["versions"].keys() == {"python", "torch", "polars"} and known["hardware"]
    assert len(path.read_text().splitlines()) == 8  # a row a line: a change shows in a diff
