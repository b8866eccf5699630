"""Files as people have them: whatever their shape, each record is read or rejected, and what was
done to a file is told."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from collections import Counter

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from nbsrc.events import read
from nbsrc.events.files import as_utf8, chunks_of
from nbsrc.events.flatten import flatten, flattened
from nbsrc.events.lines import records
from nbsrc.events.read import iter_events, read_events
from nbsrc.tabular.encoder import EventEncoder

EVENTS = [
    {
        "class_uid": 3002,
        "time": 1_718_900_000_000 + 61_000 * i,
        "user": {"name": f"user {i % 3}"},
        "src_endpoint": {"ip": f"10.0.0.{i}", "port": 40_000 + i},
        "answers": [{"type": "A"}, {"type": "B"}],
    }
    for i in range(5)
]
LINES = "\n".join(map(json.dumps, EVENTS)).encode()
INDENTED = [json.dumps(event, indent=2) for event in EVENTS]
HITS = [{"_index": "o", "_id": str(i), "_source": event} for i, event in enumerate(EVENTS)]
MESSAGES = [{"id": str(i), "message": json.dumps(event)} for i, event in enumerate(EVENTS)]
MARK = b"\xef\xbb\xbf"

SHAPES = {
    "UTF-16 with a mark": LINES.decode().encode("utf-16"),
    "UTF-16 without one": LINES.decode().encode("utf-16-be"),
    "a mark before every line": MARK + LINES.replace(b"\n", b"\n" + MARK),
    "an array a line": b"\n".join(b"[%s]" % line for line in LINES.split(b"\n")),
    "an array of two a line": b"[%s]\n[%s]"
    % (b",".join(LINES.split(b"\n")[:2]), b",".join(LINES.split(b"\n")[2:])),
    "arrays one after the other": b"".join(b"[%s]" % line for line in LINES.split(b"\n")),
    "a bracket in place of a comma": b"[%s]" % LINES.replace(b"\n", b"]["),
    "an element a line": b"[\n%s\n]" % LINES.replace(b"\n", b",\n"),
    "objects without line ends": LINES.replace(b"\n", b""),
    "a mark of records before every line": b"\x1e" + LINES.replace(b"\n", b"\n\x1e"),
    "objects after blanks": LINES.replace(b"\n", b"  "),
    "indented objects": "\n".join(INDENTED).encode(),
    "indented objects, commas between": ",\n".join(INDENTED).encode(),
    "an indented array": json.dumps(EVENTS, indent=4).encode(),
    "objects without indentation": json.dumps(EVENTS, indent=0).encode(),
    "lines, then indented": LINES.split(b"\n")[0] + b"\n" + "\n".join(INDENTED[1:]).encode(),
    "carriage returns": LINES.replace(b"\n", b"\r\n\r\n"),
    "gzip": gzip.compress(LINES),
    "gzip within gzip": gzip.compress(gzip.compress(LINES)),
    "gzip, two members": gzip.compress(LINES[:300]) + gzip.compress(LINES[300:]),
    "zstd": zstandard.compress(LINES),
    "bzip2": bz2.compress(LINES),
    "xz": lzma.compress(LINES),
}
WRAPPED = {
    "Records[]": json.dumps({"Records": EVENTS}),
    "events[]": json.dumps({"events": EVENTS, "next": "token"}, indent=2),
    "records[]": "\n".join(json.dumps({"records": [event]}) for event in EVENTS),
    "value[]": json.dumps({"@odata.context": "x", "value": EVENTS}),
    "hits.hits[]._source": json.dumps({"took": 1, "hits": {"total": {"value": 5}, "hits": HITS}}),
    "_source": "\n".join(map(json.dumps, HITS)),
    "logEvents[].message": json.dumps({"owner": "o", "filters": ["f"], "logEvents": MESSAGES}),
    "log": "\n".join(
        json.dumps({"log": json.dumps(event) + "\n", "stream": "out"}) for event in EVENTS
    ),
}


def there(value):
    if isinstance(value, dict):
        return {k: there(v) for k, v in value.items() if v is not None}
    return [there(v) for v in value] if isinstance(value, list) else value


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def some_parquet(n=3, **columns):
    file = io.BytesIO()
    pq.write_table(pa.table({"n": range(n), **columns}), file)
    return file.getvalue()


@pytest.mark.parametrize("shape", SHAPES)
def test_records_are_read_however_they_are_written(shape, tmp_path):
    events, rejects = read_events(put(tmp_path / "f", SHAPES[shape]))
    assert rejects.is_empty(), rejects["reason"].to_list()
    assert [there(event) for event in events.to_dicts()] == EVENTS


@pytest.mark.parametrize("where", WRAPPED)
def test_the_events_in_a_wrapper_are_the_records_and_the_notes_say_so(where, tmp_path):
    notes = Counter()
    events, rejects = read_events(put(tmp_path / "f", WRAPPED[where]), notes=notes)
    assert rejects.is_empty()
    own = [{name: event[name] for name in EVENTS[0]} for event in map(there, events.to_dicts())]
    assert own == EVENTS
    assert notes == {f"events taken from {where}": 5}


def test_what_looks_like_a_wrapper_but_may_be_the_event_is_left_whole(tmp_path):
    # As an audit trail's activity, whose actor stands beside what was done.
    activity = {"id": {"time": 1}, "actor": {"email": "a"}, "events": [{"name": "login"}]}
    said = {"time": 1, "user": {"name": "a"}, "message": '{"a": 1}'}
    metric = {"name": "cpu", "value": [{"a": 1}]}
    few = {"time": 1, "items": [{"a": 1}] * 9}
    two = {"items": [{"a": 1}] * 10, "found": [{"a": 1}] * 10}
    index = {"index": {"name": "a"}}
    told = {"message": "{no JSON"}
    for event in (activity, said, told, {"time": 1, "events": []}, metric, few, two, index):
        events, _ = read_events(put(tmp_path / "f", json.dumps(event)))
        assert there(events.to_dicts()[0]) == event


def test_a_list_of_many_objects_that_is_no_known_wrapper_is_told(tmp_path):
    notes = Counter()
    read_events(put(tmp_path / "f", json.dumps({"detections": [{"a": 1}] * 50})), notes=notes)
    assert [text for text in notes if "detections" in text]


def test_lists_that_events_have_too_are_taken_out_only_of_a_files_only_record(tmp_path):
    orders = [{"order": i, "items": [{"a": 1}] * 12} for i in range(2)]
    events, _ = read_events(put(tmp_path / "f", "\n".join(map(json.dumps, orders))))
    assert events["order"].to_list() == [0, 1]
    events, _ = read_events(put(tmp_path / "f", json.dumps(orders[0])))
    assert events.to_dicts() == [{"a": 1}] * 12


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"time,user\n1,cy\n", "not JSON: it begins with 'time,user'"),
        (b'"time","user"\n1,"cy"\n', 'not JSON: it begins with \'"time","user"\''),
        (
            b"Mar  2 08:00:00 host sshd[7]: " + b"x" * 99,
            "'Mar  2 08:00:00 host sshd[7]: xxxxxxxxxx'",
        ),
        (b"PK\x03\x04\x14\0\0\0", "ZIP archive, or an Excel workbook: unpack it"),
        (gzip.compress(b"x" * 257 + b"ustar", mtime=0), "tar archive: unpack it first"),
    ],
)
def test_a_file_given_by_mistake_is_told_by_what_it_is(data, reason, tmp_path):
    events, rejects = read_events(put(tmp_path / "f", data))
    assert events.is_empty() and rejects.height == 1 and reason in rejects["reason"][0]


def test_a_key_given_twice_is_refused_in_a_wrapper_too_and_costs_one_event(tmp_path):
    twice = '{"Records": [{"a": 1}, {"a": 2, "a": 3}, {"a": 4}]}'
    events, rejects = read_events(put(tmp_path / "f", twice))
    assert events["a"].to_list() == [1, 4]
    assert rejects["reason"].to_list() == ["key given twice: 'a'"]
    hidden = json.dumps({"message": '{"a": 1, "a": 2}'})
    assert read_events(put(tmp_path / "f", hidden))[0].columns == ["message"]


@pytest.mark.parametrize("form", ["indented", "indented array", "wrapped", "wrapped lines"])
@pytest.mark.parametrize("damage", ["comma", "cut", "quote", "bracket"])
def test_a_broken_object_costs_one_record_and_not_its_lines(form, damage, tmp_path):
    if form == "wrapped lines":
        text = '{"Records": [\n' + LINES.decode().replace("\n", ",\n") + "\n]}"
    else:
        made = {"indented": None, "indented array": EVENTS, "wrapped": {"Records": EVENTS}}[form]
        text = json.dumps(made, indent=2) if made else "\n".join(INDENTED)
    begin = text.index('"time": 1718900122000')  # of the third
    at = {
        "comma": begin + 21,
        "cut": text.index('"port": 40002', begin),
        "quote": text.index('user 2"', begin) + 6,
        "bracket": text.index("}", begin),
    }[damage]
    end = text.index('"B"', at) + 3 if damage == "cut" else at + 1
    events, rejects = read_events(put(tmp_path / "f", text[:at] + text[end:]))
    assert [there(event) for event in events.to_dicts()] == EVENTS[:2] + EVENTS[3:]
    assert rejects.height == 1 and rejects["row"][0] == 3


@pytest.mark.parametrize("size", [1, 2, 10])
def test_what_is_said_of_broken_lines_does_not_depend_on_good_ones_beside_them(size, tmp_path):
    path = put(tmp_path / "f", b'{"a": NaN}\nworse\n')
    rejects = pl.concat(rejects for _, rejects in iter_events(path, batch_size=size))
    assert rejects["row"].to_list() == [1, 2]
    assert all(reason.startswith("not JSON") for reason in rejects["reason"])


def test_a_cut_wrapper_keeps_its_events(tmp_path):
    text = json.dumps({"Records": EVENTS})
    events, rejects = read_events(put(tmp_path / "f", text[:-40]))
    assert events.height == 4 and rejects["row"].to_list() == [5, 0]


@pytest.mark.parametrize("form", ["gzip", "zstd", "bzip2", "xz"])
def test_what_follows_a_compressed_stream_costs_no_record(form, tmp_path):
    events, rejects = read_events(put(tmp_path / "f", SHAPES[form] + b"garbage"))
    assert [there(event) for event in events.to_dicts()] == EVENTS
    assert rejects["row"].to_list() == [0] and "cannot be read to its end" in rejects["reason"][0]
    events, rejects = read_events(put(tmp_path / "f", SHAPES[form][:-8]))
    assert 0 in rejects["row"] and rejects["file"][0] == str(tmp_path / "f")


def test_any_first_two_bytes_cost_at_most_the_file():
    rest = b'"a": 1}\n{"b": 2}\n{"b": 3}\n'
    lost = []
    for pair in range(65_536):
        raw = io.BytesIO(pair.to_bytes(2, "big") + rest)
        found = [value for _, value, _ in records(as_utf8(chunks_of(raw)))]
        good = [value for value in found if isinstance(value, dict)]
        assert good[-2:] == [{"b": 2}, {"b": 3}], pair
        lost += [pair] if not any(isinstance(value, ValueError) for value in found) else []
    # Blanks and brackets before what is no object then, but still an object or nothing at all.
    assert all(b"{" in pair.to_bytes(2, "big") for pair in lost)


@pytest.mark.parametrize(
    "name", ["parsed", "stack", "unwrapped", "records", "chunks_of", "columns"]
)
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, pl.exceptions.PanicException])
def test_an_exception_of_any_library_costs_one_file_at_most(name, error, tmp_path, monkeypatch):
    paths = [put(tmp_path / n, LINES) for n in "ab"]
    paths.append(put(tmp_path / "c", b'{"a": 1}\n{"a": "x"}\n{"a": 1, "a": 2}'))
    before, calls = getattr(read, name), []

    def once_broken(*args, **options):
        calls.append(name)
        if len(calls) == 1:
            raise error("broken\nat length")
        return before(*args, **options)

    monkeypatch.setattr(read, name, once_broken)
    events, rejects = read_events(paths)
    assert calls and events.height >= 7
    assert events.height + rejects.height >= 13 or "broken" in rejects["reason"][0]


def test_a_record_that_a_library_fails_on_is_found_and_costs_itself(tmp_path, monkeypatch):
    def failing(events):
        if any(event["n"] == 37 for event in events):
            raise pl.exceptions.PanicException("no table for 37")
        return pl.DataFrame(events)

    monkeypatch.setattr(read, "parsed", lambda texts, moments: (None, None))
    monkeypatch.setattr(read, "columns", failing)
    lines = "\n".join(json.dumps({"n": n}) for n in range(100))
    events, rejects = read_events(put(tmp_path / "f", lines))
    assert events["n"].to_list() == [n for n in range(100) if n != 37]
    assert rejects["row"].to_list() == [38] and "no table for 37" in rejects["reason"][0]


def test_good_and_bad_files_of_a_folder_are_all_accounted_for(tmp_path):
    put(tmp_path / "a.jsonl", LINES)
    put(tmp_path / "b.parquet", b"PAR1 and nothing")
    put(tmp_path / "c.gz", gzip.compress(LINES)[:20])
    put(tmp_path / "d.txt", b"some notes\nand more")
    put(tmp_path / "e.json", LINES)
    put(tmp_path / "f.parquet.gz", gzip.compress(some_parquet(3)))
    os.symlink(tmp_path / "nowhere", tmp_path / "g")
    os.mkfifo(tmp_path / "h")
    events, rejects = read_events(tmp_path)
    assert events.height == 13
    files = [os.path.basename(file) for file in rejects["file"]]
    assert sorted(set(files)) == ["b.parquet", "c.gz", "d.txt", "g", "h"]


def test_folders_of_partitions_are_columns_and_bookkeeping_is_left_out_and_told(tmp_path):
    day = tmp_path / "lake" / "region=eu%2Dwest" / "day=20240620"
    put(day / "part-0.parquet", some_parquet(3))
    put(day / ".part-0.parquet.crc", b"x")
    put(tmp_path / "lake" / "region=us" / "day=__HIVE_DEFAULT_PARTITION__" / "p.json", b'{"n": 9}')
    put(tmp_path / "lake" / "_delta_log" / "0.json", b'{"commitInfo": {}}')
    put(tmp_path / "lake" / "_SUCCESS", b"")
    for paths in (tmp_path / "lake", [day, day.parent.parent / "region=us"]):
        notes = Counter()
        events, rejects = read_events(paths, notes=notes)
        assert rejects.is_empty() and events["n"].to_list() == [0, 1, 2, 9]
        assert events["region"].to_list() == ["eu-west"] * 3 + ["us"]
        assert events["day"].to_list() == ["20240620"] * 3 + [None]
        assert sum(notes.values()) == (3 if isinstance(paths, os.PathLike) else 1)
        assert all("bookkeeping" in text for text in notes)
    # A file's own column wins; a file that is named is read, whatever its name.
    events, _ = read_events(put(tmp_path / "n=7" / "_x.json", b'{"n": 1}'))
    assert events["n"].to_list() == [1]


def test_an_iceberg_tables_metadata_is_no_events_but_a_folder_of_that_name_is(tmp_path):
    put(tmp_path / "table" / "metadata" / "v1.metadata.json", b'{"format-version": 2}')
    put(tmp_path / "table" / "data" / "0.parquet", some_parquet(3))
    put(tmp_path / "plain" / "metadata" / "events.json", b'{"n": 1}')
    notes = Counter()
    assert read_events(tmp_path, notes=notes)[0].height == 4 and sum(notes.values()) == 1


def test_links_to_folders_are_followed_without_circles(tmp_path):
    put(tmp_path / "elsewhere" / "a.json", b'{"n": 1}')
    put(tmp_path / "given" / "b.json", b'{"n": 2}')
    os.symlink(tmp_path / "elsewhere", tmp_path / "given" / "link")
    os.symlink(tmp_path / "given", tmp_path / "elsewhere" / "back")
    os.symlink(tmp_path / "given" / "b.json", tmp_path / "given" / "c.json")
    notes = Counter()
    assert read_events(tmp_path / "given", notes=notes)[0]["n"].to_list() == [2, 2, 1]
    assert len(notes) == 1


READ = """
import sys
from nbsrc.events.read import read_events
events, rejects = read_events(sys.argv[1:])
print(events.height, rejects.rows())
"""


@pytest.mark.parametrize("data", [LINES, gzip.compress(LINES), some_parquet(5)])
def test_pipes_are_read(data):
    command = [sys.executable, "-c", READ, "-"]
    ran = subprocess.run(command, input=data, capture_output=True, check=True)
    assert ran.stdout.split() == [b"5", b"[]"]
    command[-1] = "/dev/stdin"
    assert subprocess.run(command, input=data, capture_output=True, check=True).stdout[:1] == b"5"


class Address(pa.ExtensionType):
    def __init__(self):
        super().__init__(pa.binary(4), "tests.address")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls()


def nested_types():
    addresses = pa.ExtensionArray.from_storage(Address(), pa.array([b"\1\2\3\4"] * 2, pa.binary(4)))
    text = pa.array(["a", "b"]).dictionary_encode()
    offsets = pa.array([0, 1, 2], pa.int32())
    moments = pa.array([1_718_900_000_000_000] * 2, pa.timestamp("us", "+05:30"))
    one = {
        "address": addresses,
        "json": pa.array(['{"x": 1}', '{"x": 2}'], pa.json_()),
        "uuid": pa.array([b"\1" * 16] * 2, pa.uuid()),
        "code": text,
        "moment": moments,
    }
    yield from one.items()
    for name, array in one.items():
        yield f"list of {name}", pa.ListArray.from_arrays(offsets, array)
        yield f"large list of {name}", pa.LargeListArray.from_arrays(offsets.cast("int64"), array)
        yield f"struct of {name}", pa.StructArray.from_arrays([array], ["a"])
        yield f"fixed list of {name}", pa.FixedSizeListArray.from_arrays(array, 1)


@pytest.fixture(scope="module", autouse=True)
def registered():
    pa.register_extension_type(Address())
    yield
    pa.unregister_extension_type("tests.address")


@pytest.mark.parametrize(("name", "array"), list(nested_types()))
def test_parquets_types_are_read_by_what_they_are_stored_as(name, array, tmp_path):
    pq.write_table(pa.table({"a": array, "b": [1, 2]}), tmp_path / "p")
    events, rejects = read_events(tmp_path / "p")
    assert rejects.is_empty(), rejects["reason"].to_list()
    assert events.height == 2 and "Object" not in str(events.schema)
    EventEncoder().fit_transform(flatten(events))
    if name == "moment":
        assert str(events["a"][0]) == "2024-06-20 16:13:20+00:00"


def test_objects_as_text_are_what_they_hold_and_flat_names_are_the_schemas():
    nested = pl.DataFrame(EVENTS)
    names = ("user", "src_endpoint", "answers")
    texts = nested.with_columns(
        pl.Series(name, [json.dumps(event[name]) for event in EVENTS]) for name in names
    )
    flat = nested.select(
        "class_uid",
        "time",
        pl.col("user").struct.field("name").alias("user_name"),
        pl.col("src_endpoint").struct.field("ip").alias("src_endpoint_ip"),
        pl.col("src_endpoint").struct.field("port").alias("src_endpoint_port"),
        "answers",
    )
    want = flatten(nested)
    rows, written = flattened(texts)
    assert rows.equals(want) and written["src_endpoint.ip"] == "JSON in src_endpoint"
    rows, written = flattened(flat)
    assert rows.equals(want) and written["src_endpoint.ip"] == "src_endpoint_ip"
    both = nested.with_columns(flat["src_endpoint_ip"], flat["user_name"])
    assert flatten(both).equals(want)
    assert flattened(nested)[1] == {}
    # Not all of them are objects, or the schema has the name, or none that it could stand for.
    kept = pl.DataFrame({"note": ["{}", "[x"], "status_detail": ["a", "b"], "who_knows": [1, 2]})
    assert flatten(kept).equals(kept)


def test_texts_that_look_like_dates_stay_texts(tmp_path):
    rows = [{"day": "2024-05-01", "x": {"at": "2024-05-01T10:00:00Z", "n": i}} for i in range(5000)]
    rows += [{"day": "a", "x": {"at": None}, "late": [{"t": "2024-05-01 10:00"}]}]
    events, rejects = read_events(put(tmp_path / "f", "\n".join(map(json.dumps, rows))))
    assert rejects.is_empty() and [there(row) for row in events.to_dicts()] == [
        there(row) for row in rows
    ]


@pytest.mark.parametrize("depth", [65, 254, 255, 1000, 5000])
def test_nesting_of_any_depth_costs_its_record_alone(depth, tmp_path):
    deep = '{"a": ' * depth + '{"b": 1}' + "}" * depth
    events, rejects = read_events(put(tmp_path / "f", f'{{"n": 1}}\n{deep}\n{{"n": 2}}'))
    assert events["n"].to_list() == [1, 2] and rejects["row"].to_list() == [2]
    assert "nested" in rejects["reason"][0]
    held = pl.DataFrame({"text": [deep, '{"n": 1}']})  # in texts, it is a text
    assert flatten(held).to_dict(as_series=False) == {"text": [deep, '{"n": 1}']}


@pytest.mark.parametrize("name", ["", "*", "^.*$", "a b", ".", "\U0001f600"])
def test_no_name_of_a_key_is_too_strange(name, tmp_path):
    lines = [{name: i % 3, "n": "x" if i else 1, "in": {name: i % 4}} for i in range(40)]
    events, rejects = read_events(put(tmp_path / "f", "\n".join(map(json.dumps, lines))))
    assert rejects.is_empty() and events[name].to_list() == [line[name] for line in lines]
    rows = flatten(events)
    own = f"'{name}'" if name in ("*", "^.*$") else name
    assert rows.columns == [own, "n", f"in.{name}"]
    assert EventEncoder().fit_transform(rows).categorical.shape == (40, 3)


def test_a_record_larger_than_what_is_read_at_once_is_read(tmp_path):
    large = {"a": "x" * 3_000_000, "b": [{"c": i} for i in range(1000)]}
    for text in (json.dumps(large), json.dumps(large, indent=1)):
        path = put(tmp_path / "f", f"{text}\n{text}\n[{text},{text}]")
        assert [batch.height for batch, _ in iter_events(path, batch_size=3)] == [3, 1]


def test_lines_of_a_file_are_counted_as_an_editor_does(tmp_path):
    path = put(tmp_path / "f", b'\n{"a": 1}\n\nbad\n\n{"a": 2}\nworse\n\n\n{"a": 3}\n"no"\n')
    events, rejects = read_events(path)
    assert events["a"].to_list() == [1, 2, 3] and rejects["row"].to_list() == [4, 7, 11]
