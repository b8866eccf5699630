"""What is written is there as a whole or not at all, damage is found, and errors are one line."""

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from nbsrc.support.command import Parser, run
from nbsrc.support.files import naming, whole
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


def test_a_link_stays_one_and_two_writers_leave_one_whole_file(tmp_path: Path) -> None:
    link, path = tmp_path / "link", tmp_path / "file"
    link.symlink_to(path)
    with whole(link) as part:
        part.write_text("through it")
    assert link.is_symlink() and path.read_text() == "through it"
    write = "from pathlib import Path; from nbsrc.support.files import whole\n"
    write += f"with whole(Path({str(path)!r})) as part: part.write_text('another process')"
    with whole(path) as part:
        part.write_text("this one")
        subprocess.run([sys.executable, "-c", write], check=True)
        assert path.read_text() == "another process"
    assert path.read_text() == "this one" and len(list(tmp_path.iterdir())) == 2


def test_a_device_is_not_replaced_and_a_full_disk_names_the_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="pipe is no regular file"), whole(pipe) as part:
        part.write_text("x")
    assert pipe.is_fifo()
    full = OSError(errno.ENOSPC, "Error writing bytes")
    with pytest.raises(OSError, match="out cannot be written: no space"), whole(tmp_path / "out"):
        raise full
    with pytest.raises(OSError, match="a cannot"), naming(Path("b")), naming(Path("a")):
        raise full


def test_who_has_read_enough_ends_a_command_without_a_word() -> None:
    code = "from nbsrc.support.command import run\n"
    code += "def work():\n    for i in range(100_000): print(i)\n"
    code += "raise SystemExit(run('x', work, interrupted=str))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


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
