"""The README's table of the files that are read: each of its rows is tried."""

import gzip
import io
import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from nbsrc.events.flatten import flatten
from nbsrc.events.read import read_events

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
A, B = b'{"n": 1}', b'{"n": 2}'
MARK = b"\xef\xbb\xbf"


def parquet(**columns):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


TEXTS = pa.array(['{"x": 1}'] * 2)
OFFSET = pa.array([1_718_900_000_000] * 2, pa.timestamp("ms", "+05:30"))
# The beginning of a row: files, how many events and rejects, what the notes or a column must tell.
ROWS = {
    "objects, one a line": ([A + b"\nbad\n" + B], 2, 1, None),
    "objects one after the other": ([A + B], 2, 0, None),
    "indented objects": (['{\n  "n": 1\n}\n{\n  "n" 5\n}\n{\n  "n": 2\n}'], 2, 1, None),
    "an array, arrays": ([b"[%s,%s]" % (A, B), b"[%s][%s]" % (A, B), b"[%s]\n[]" % A], 5, 0, None),
    "an array that is cut": ([b"[%s, %s" % (A, B[:-3])], 1, 2, None),
    "UTF-16": (
        [A.decode().encode("utf-16"), A.decode().encode("utf-32"), MARK + A + b"\n" + MARK + B],
        4, 0, None,
    ),
    "gzip, zstd": ([gzip.compress(zstandard.compress(A)), gzip.compress(A) + b"x"], 2, 1, None),
    "a list of objects": ([b'{"Records": [%s, %s], "x": 1}' % (A, B)], 2, 0, "Records[]"),
    "a file that is one": (
        [b'{"meta": {"n": 0}, "items": [%s]}' % b",".join([A] * 10)], 10, 0, "items[]",
    ),
    "Splunk's": ([b'{"preview": false, "offset": 0, "result": %s}' % A], 1, 0, {"n": 1}),
    "action lines": ([b'{"index": {"_id": 7}}\n' + A + b'\n{"create": {}}\n' + B], 2, 0, "action"),
    "a search's": ([b'{"hits": {"hits": [{"_source": %s}]}}' % A], 1, 0, "hits.hits[]._source"),
    "an event as text": ([json.dumps({"message": A.decode(), "id": 7})], 1, 0, "message"),
    "another list of ten": ([b'{"found": [%s]}' % b",".join([A] * 10)], 1, 0, "found"),
    "a row of Parquet": ([parquet(n=[1, 2])], 2, 0, None),
    "Parquet's extension types": (
        [parquet(u=pa.array([b"x" * 16] * 2, pa.uuid()), d=TEXTS.dictionary_encode(), t=OFFSET)],
        2, 0, {"u": b"x" * 16},
    ),
    "a file that only looks": ([b"PAR1 and no more"], 0, 1, None),
    "archives": (
        [b"PK\x03\x04" + A, b"#separator \\x09\n" + A, b"x" * 257 + b"ustar" + A], 0, 3, None,
    ),
    "a column of texts": ([parquet(o=TEXTS)], 2, 0, {"o.x": 1}),
    "a flat name": ([b'{"src_endpoint_ip": "10.0.0.1"}'], 1, 0, {"src_endpoint.ip": "10.0.0.1"}),
    "a folder": ({"b/f": A, "a": B}, 2, 0, {"n": 2}),
    "folders named": ({"region=eu/f": A}, 1, 0, {"region": "eu"}),
    "names that begin": ({"_SUCCESS": b"", ".x": b"", "f": A}, 1, 0, "bookkeeping"),
    "the standard input": (None, 2, 0, None),
    "a key given twice": ([b'{"n": 1, "n": 2}\n' + B], 1, 1, None),
    "NaN": ([b'{"n": NaN}', b'{"n": -Infinity}', b'{"n": 1e999}', b'{"n": "\xff"}'], 0, 4, None),
    "an integer beyond": ([b'{"n": 36893488147419103232}'], 1, 0, {"n": 2.0**65}),
    "half a surrogate": ([b'{"n": "\\ud800"}'], 1, 0, {"n": "\ufffd"}),
    "an attribute of several": ([b'{"n": 1, "m": 1}{"n": "x", "m": 2.5}'], 2, 0, {"n": "1"}),
    "an object with over": ([json.dumps({"o": {str(i): i for i in range(1001)}})], 1, 0, None),
    "nesting deeper": ([b'{"n": ' + b"[" * 70 + b"]" * 70 + b"}"], 0, 1, None),
    "what is JSON": ([b'1\n"x"\nnull'], 0, 3, None),
}  # fmt: skip


def told(row):
    """The row of the table that begins so."""
    table = README.split("## Which files of events are read")[1].split("\n## ")[0]
    rows = [line[2:] for line in table.splitlines() if line.startswith("| ")][2:]
    return [line for line in rows if line.startswith(row)], rows


def test_every_row_of_the_table_is_tried():
    assert len(told("")[1]) == len(ROWS)
    assert all(len(told(row)[0]) == 1 for row in ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_what_the_table_says_of_a_file_is_what_becomes_of_it(row, tmp_path, monkeypatch):
    files, n, rejected, sign = ROWS[row]
    if files is None:
        read, write = os.pipe()
        os.write(write, A + b"\n" + B)
        os.close(write)
        given = [f"/dev/fd/{read}"]
    else:
        named = files if isinstance(files, dict) else dict(enumerate(files))
        for name, content in named.items():
            path = tmp_path / str(name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        given = [tmp_path]
    notes = Counter()
    events, rejects = read_events(given, notes=notes)
    assert (events.height, rejects.height) == (n, rejected), rejects["reason"].to_list()
    if isinstance(sign, str):
        assert any(sign in note for note in notes)
    elif sign:
        first = flatten(events).row(0, named=True)
        assert {name: first[name] for name in sign} == sign
