"""Reading: every record is read or rejected, whatever the bytes; flattening keeps every scalar."""

import decimal
import gzip
import io
import json
import math
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbsrc.events.flatten import flatten
from nbsrc.events.kinds import stack
from nbsrc.events.read import iter_events, read_events
from nbsrc.tabular.encoder import EventEncoder

EXAMPLES = Path(__file__).parents[1].parent / "shared" / "data" / "ocsf-examples"
EVENTS = [
    {
        "class_uid": 3002,
        "time": 1,
        "metadata": {"version": "1.1.0"},
        "user": {"name": "anaya", "uid": "u1"},
        "is_mfa": True,
    },
    {
        "class_uid": 4001,
        "time": 2,
        "metadata": {"version": "1.3.0"},
        "traffic": {"bytes": 344, "packets": 8},
        "duration": 0.006,
    },
    {
        "class_uid": 6003,
        "time": 3,
        "metadata": {"version": "1.2.0"},
        "resources": [{"name": "a"}, {"name": "b", "type": "pod"}],
    },
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("abc") | st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(["a", "b", "time", "user"]), values, max_size=4)


@pytest.fixture
def write(tmp_path):
    def writer(data, name="events.json"):
        data = data.encode() if isinstance(data, str) else data
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return writer


def without_nulls(value):
    """A frame does not tell an absent key from a null one."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


def lines(events):
    return "\n".join(map(json.dumps, events))


@pytest.mark.parametrize(
    "form",
    [
        "lines",
        "lines.gz",
        "array",
        "indented array",
        "array.gz",
        "parquet",
        "crlf",
        "bom",
        "indented objects",
    ],
)
def test_the_same_events_are_read_from_every_form_of_file(form, tmp_path):
    path = tmp_path / "events"
    if form == "parquet":
        pl.DataFrame(EVENTS, infer_schema_length=None).write_parquet(path)
    else:
        text = {
            "lines": lines(EVENTS),
            "array": json.dumps(EVENTS),
            "indented array": json.dumps(EVENTS, indent=2),
            "crlf": lines(EVENTS).replace("\n", "\r\n"),
            "bom": "\ufeff" + lines(EVENTS),
            "indented objects": "\n".join(json.dumps(e, indent=1) for e in EVENTS),
        }[form.removesuffix(".gz")].encode()
        path.write_bytes(gzip.compress(text) if form.endswith(".gz") else text)
    events, rejects = read_events(path)
    assert [without_nulls(e) for e in events.to_dicts()] == EVENTS
    assert rejects.is_empty() and rejects.columns == ["file", "row", "reason"]


def test_one_object_is_one_event(write):
    assert read_events(write(json.dumps(EVENTS[0], indent=4)))[0].height == 1
    assert read_events(write(json.dumps(EVENTS[0])))[0].to_dicts() == EVENTS[:1]


def test_real_events_of_six_products_and_four_schema_versions_are_read_in_one_call(tmp_path):
    files = sorted(EXAMPLES.glob("*.json"))
    if (
        not files
    ):  # the same shapes: pretty-printed, one event a file, a type that differs from file to file
        for i, event in enumerate(
            [
                *EVENTS,
                {
                    "time": "2022-10-13T21:02:36Z",
                    "src_endpoint": {"port": "15083"},
                    "answers": {"type": "A"},
                },
            ]
        ):
            (tmp_path / f"{i}.json").write_text("\n" + json.dumps(event, indent=2))
        files = sorted(tmp_path.glob("*.json"))
    events, rejects = read_events(files)
    assert (events.height, rejects.height) == (len(files), 0)
    for event, file in zip(events.to_dicts(), files, strict=True):
        truth = json.loads(file.read_text())
        assert str(event["time"]) == str(truth.get("time"))
        assert event["metadata"] is None or without_nulls(event["metadata"]) == without_nulls(
            truth["metadata"]
        )
    assert flatten(events).height == len(files)


def test_a_folder_stands_for_its_files(tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "b.json").write_text('{"n": 1}')
    (tmp_path / "day" / "c.json").write_text('{"n": 2}')
    (tmp_path / ".hidden").write_text("x")
    events, rejects = read_events([tmp_path, str(tmp_path / "b.json")])
    assert (events["n"].to_list(), rejects.height) == ([1, 2, 1], 0)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*nothing\.json"):
        read_events([tmp_path / "nothing.json"])
    with pytest.raises(FileNotFoundError, match="nothing"):
        iter_events(tmp_path / "nothing", batch_size=1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"a": 1', "not JSON"),
        (b"nonsense", "not JSON"),
        (b"null", "not an object"),
        (b"7", "not an object"),
        (b'{"a": 1, "a": 2}', "key given twice: 'a'"),
        (b'{"b": {"c": {"d": 1}, "c": {"e": 2}}}', "key given twice: 'c'"),
        (b'{"a": 1e999}', "number too large"),
        (b'{"a": -1e999}', "number too large"),
        (b'{"a": %s}' % (b"9" * 400), "number too large"),
        (b'{"a": %s}' % (b"9" * 5000), "integer"),
        (b'{"a": NaN}', "not JSON: NaN"),
        (b'{"a": -Infinity}', "not JSON: -Infinity"),
        (b'{"a": "\xff"}', "not UTF-8: byte 8"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested deeper than 64"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "nested deeper than 64"),
        (b'{"a":' * 50_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}'.replace(b"a", rb"\u0022"), "key given twice"),
        (b'{"a": "x\ty"}', "not JSON"),
        (b'{"a": 01}', "not JSON"),
    ],
)
def test_one_bad_line_costs_one_line_and_says_why(bad, reason, write):
    good = b'{"a": 5, "b": {"c": "x"}}'
    events, rejects = read_events(write(b"\n".join([good, bad, b"", good])))
    assert events.to_dicts() == [{"a": 5, "b": {"c": "x"}}] * 2
    assert rejects["row"].to_list() == [2]
    assert reason in rejects["reason"][0]


def test_an_array_loses_only_its_broken_element(write):
    def read(text):
        events, rejects = read_events(write(text))
        return events["a"].to_list(), rejects["row"].to_list()

    assert read('[{"a":1},{"a":nope,"q":[{"r":1},{"r":2}]},{"a":3}]') == ([1, 3], [2])
    assert read('[{"a":1},{"a":"no end},{"a":3},{"a":4}]') == ([1, 3, 4], [2])
    assert read('[{"a":1},{"a":[2},{"a":3}]') == ([1, 3], [2])
    assert read('[\n {"a": 1},\n {"a": {"b": ,\n {"a": 3}\n]') == ([1, 3], [2])
    assert read('[{"a":1},7,{"a":3}]') == ([1, 3], [2])
    assert read('[{"a":1},{"a":2},{"a"') == ([1, 2], [3, 0])
    assert read('[{"a":1}') == ([1], [0])
    assert read('[{"a":1}] {"a":2}') == ([1, 2], [])


def test_a_broken_gzip_stream_keeps_what_came_before(write):
    whole = gzip.compress(
        "\n".join(f'{{"a": {i}, "b": "{i * 7919 % 10007}"}}' for i in range(20_000)).encode()
    )
    events, rejects = read_events(write(whole[: len(whole) // 2]))
    assert events.height > 1000 and events["a"].drop_nulls().to_list() == list(range(events.height))
    assert 0 in rejects["row"] and "cannot be read to its end" in rejects.filter(row=0)["reason"][0]


def test_a_damaged_parquet_file_is_a_reject(write):
    events, rejects = read_events([write(b"PAR1 and nothing", "bad"), write('{"a": 1}', "good")])
    assert events["a"].to_list() == [1]
    assert rejects["row"].to_list() == [0] and "Parquet" in rejects["reason"][0]


@pytest.mark.parametrize("batch_size", [7, 10, 100])
@pytest.mark.parametrize("damaged", range(4))
def test_a_damaged_row_group_costs_only_its_own_rows(damaged, batch_size, tmp_path):
    pq.write_table(
        pa.table({"a": range(40)}),
        tmp_path / "p",
        row_group_size=10,
        use_dictionary=False,
        compression="zstd",
    )
    data = bytearray((tmp_path / "p").read_bytes())
    column = pq.ParquetFile(tmp_path / "p").metadata.row_group(damaged).column(0)
    start, size = column.data_page_offset, column.total_compressed_size
    data[start : start + size] = bytes(size)
    (tmp_path / "p").write_bytes(data)
    parts = list(iter_events(tmp_path / "p", batch_size=batch_size))
    lost = range(damaged * 10, damaged * 10 + 10)
    assert [a for events, _ in parts for a in events.to_dict(as_series=False).get("a", [])] == [
        a for a in range(40) if a not in lost
    ]
    rejects = pl.concat(rejects for _, rejects in parts)
    assert (
        rejects["row"].to_list() == [a + 1 for a in lost]
        and rejects["reason"].str.starts_with("not readable: ").all()
    )


def test_bytes_that_are_not_utf8_in_parquet_are_rejects(tmp_path):
    text = pa.array([b"fine", b"\xff\xfe", b"fine"]).view(pa.string())
    pq.write_table(pa.table({"a": text}), tmp_path / "text", row_group_size=1)
    events, rejects = read_events(tmp_path / "text")
    assert events["a"].to_list() == ["fine", "fine"]
    assert rejects["row"].to_list() == [2] and "UTF8" in rejects["reason"][0]
    for part in (b"the_name", b"the_key"):
        pq.write_table(
            pa.table({"the_name": [1]}).replace_schema_metadata({"the_key": "1"}), tmp_path / "p"
        )
        (tmp_path / "p").write_bytes(
            (tmp_path / "p").read_bytes().replace(part, b"\xff" * len(part))
        )
        events, rejects = read_events(tmp_path / "p")
        assert (events.height, rejects["row"].to_list()) == (
            (0, [0]) if part == b"the_name" else (1, [])
        )


def test_a_decimal_with_more_digits_than_can_be_held_is_a_reject_and_not_another_number(tmp_path):
    pq.write_table(
        pa.table(
            {"x": [{"a": decimal.Decimal("1.5")}]},
            pa.schema({"x": pa.struct({"a": pa.decimal256(60, 2)})}),
        ),
        tmp_path / "p",
    )
    events, rejects = read_events(tmp_path / "p")
    assert events.is_empty() and rejects["row"].to_list() == [0]
    assert rejects["reason"][0].endswith("x.a is decimal with 60 digits, and 38 can be held")


def test_a_type_that_differs_from_record_to_record_keeps_every_value(write):
    def column(*texts):
        return read_events(write("\n".join(f'{{"a": {text}}}' for text in texts)))[0]["a"].to_list()

    assert column("1", '"x"') == ["1", "x"]
    assert column("1", "2.5") == [1.0, 2.5]
    assert column("1", "true", "null") == ["1", "true", None]
    assert column("true", "2.0", '"x"') == ["true", "2", "x"]
    assert column('"x"', '{"b": [1.5], "c": null}') == ["x", '{"b": [1.5]}']
    assert column("[1]", "2", '{"b": "é"}') == ["[1]", "2", '{"b": "é"}']
    assert column("[1, true]", '["x"]') == [["1", "true"], ["x"]]
    assert column("[[1], 2]") == [["[1]", "2"]]
    assert column("[1, true]", "[2.5]") == [["1", "true"], ["2.5"]]
    assert column("9223372036854775807", "-1") == [2**63 - 1, -1]
    assert column("9223372036854775808", "1") == [2.0**63, 1.0]
    assert column(r'"\ud83d\ude00"', r'"\ud800x"', r'"\\ud800"', r'"\udc00\ud800"') == [
        "\U0001f600",
        "\ufffdx",
        "\\ud800",
        "\ufffd\ufffd",
    ]


def test_a_field_that_comes_late_is_read(write):
    rows = [{"a": 1}] * 12_000 + [{"a": 2, "late": {"x": "y"}}] + [{"a": True}]
    events, _ = read_events(write(lines(rows)))
    assert events["late"].drop_nulls().to_list() == [{"x": "y"}]
    assert events["a"][-1] == "true" and events["a"][0] == "1"


def test_a_map_with_ids_for_keys_becomes_text_and_not_a_thousand_columns(write):
    rows = [{"labels": {f"id-{i}-{j}": i for j in range(3)}} for i in range(700)]
    events, _ = read_events(write(lines(rows)))
    assert [json.loads(text) for text in events["labels"]] == [row["labels"] for row in rows]


def test_parquet_of_a_data_lake_keeps_its_types(tmp_path):
    table = pa.table(
        {
            "time": pa.array([1_700_000_000_000], pa.timestamp("ms")),
            "tags": pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())),
            "src_endpoint": [{"port": 1, "ip": "10.0.0.1"}],
            "traffic.bytes": pa.array([7], pa.uint64()),
        }
    )
    pq.write_table(table, tmp_path / "p")
    (tmp_path / "j").write_text('{"time": "x", "traffic": {"bytes": 8}}')
    rows = flatten(read_events([tmp_path / "p", tmp_path / "j"])[0])
    assert rows["traffic.bytes"].to_list() == [7, 8]
    assert rows["src_endpoint.port"].to_list() == [1, None]
    assert rows["time"].to_list() == ["2023-11-14 22:13:20.000", "x"]


def test_a_map_of_parquet_is_an_object_with_its_keys(tmp_path):
    maps = [[("region", "eu"), ("zone", "1")], None, [], [("region", None), ("tier", "x")]]
    many = [[(f"id-{i}-{row}", i) for i in range(300)] for row in range(4)]
    texts, integers = pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.int64())
    inner = pa.array([[("n", index)] for index in range(4)], integers)
    table = {
        "labels": pa.array(maps, texts),
        "x": pa.StructArray.from_arrays([inner], ["y"]),
        "many": pa.array(many, integers),
        "list": pa.array([[[(7, True)]]] * 4, pa.list_(pa.map_(pa.int64(), pa.bool_()))),
        "unmapped": pa.array(maps, texts),
    }
    pq.write_table(pa.table(table), tmp_path / "p")
    events, rejects = read_events(tmp_path / "p")
    rows = flatten(events)
    assert rejects.is_empty()
    assert rows.columns == [
        "labels.region",
        "labels.zone",
        "labels.tier",
        "x.y.n",
        "many",
        "list.length",
        "list.first.7",
    ]
    assert rows["labels.region"].to_list() == ["eu", None, None, None] and rows[
        "labels.tier"
    ].to_list() == [None, None, None, "x"]
    assert rows["x.y.n"].to_list() == [0, 1, 2, 3] and rows["list.first.7"].to_list() == [True] * 4
    assert json.loads(rows["many"][3]) == {f"id-{i}-3": i for i in range(300)}
    (tmp_path / "j").write_text('{"labels": {"region": "us"}, "x": 1}')
    both = flatten(read_events([tmp_path / "p", tmp_path / "j"])[0])
    assert both["labels.region"].to_list() == ["eu", None, None, None, "us"]


ARROW = {
    "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    "bytes": pa.array([b"\xff"]),
    "uuid": pa.array([b"\xff" * 16], pa.uuid()),
    "json": pa.array(['{"a": 1}'], pa.json_()),
    "bool8": pa.array([1], pa.bool8()),
    "null": pa.nulls(1),
    "category": pa.array(["x"]).dictionary_encode(),
    "half": pa.array([1.5], pa.float16()),
    "decimal": pa.array([decimal.Decimal("1.5")], pa.decimal128(38, 1)),
    "uint": pa.array([2**64 - 1], pa.uint64()),
    "time": pa.array([1], pa.time64("us")),
    "duration": pa.array([1], pa.duration("ns")),
    "date": pa.array([2**31 - 1], pa.date32()),
    "datetime": pa.array([2**62], pa.timestamp("us", "Europe/Berlin")),
    "array": pa.array([[1, 2]], pa.list_(pa.int8(), 2)),
    "view": pa.array(["x"], pa.string_view()),
}


@pytest.mark.parametrize("within", ["", "struct", "list", "map"])
@pytest.mark.parametrize("name", ARROW)
def test_every_type_of_arrow_is_encoded_and_beside_a_text_becomes_text(name, within, tmp_path):
    column = ARROW[name]
    if within == "struct":
        column = pa.StructArray.from_arrays([column], ["a"])
    elif within == "list":
        column = pa.ListArray.from_arrays([0, 1], column)
    elif within == "map":
        column = pa.MapArray.from_arrays([0, 1], ["k"], column)
    pq.write_table(pa.table({"a": column, "b": [1]}), tmp_path / "p")
    (tmp_path / "j").write_text('{"a": "text"}')
    events, rejects = read_events(tmp_path / "p")
    assert events.height == 1 and rejects.is_empty()
    EventEncoder().fit_transform(flatten(events))
    both = read_events([tmp_path / "p", tmp_path / "j"])[0]["a"]
    assert (
        both.dtype == pl.String
        and both[1] == "text"
        and (both[0] is None) == (name == "null" and not within)
    )


def test_numbers_and_bytes_beside_texts_are_written_in_one_way():
    frames = [
        pl.DataFrame({"a": values}) for values in ([2.0, 0.5], [b"\xff"], [[b"\xff", b"x"]], ["x"])
    ]
    assert stack(frames)["a"].to_list() == ["2", "0.5", "ff", '["ff", "78"]', "x"]


@pytest.mark.parametrize(
    "suffix", ["jsonl", "jsonl.gz", "array", "many groups.parquet", "one group.parquet"]
)
def test_batches_hold_the_same_events_as_one_reading(suffix, tmp_path):
    rows = [{"n": i, "x": {"y": [i, i + 1]}, **({"s": "x"} if i % 7 else {})} for i in range(100)]
    path = tmp_path / suffix
    if suffix.endswith("parquet"):
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(
            path, row_group_size=13 if "many" in suffix else 1000
        )
    else:
        data = json.dumps(rows).encode() if suffix == "array" else lines(rows).encode()
        path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    batches = [events for events, _ in iter_events(path, batch_size=17)]
    assert [b.height for b in batches] == [17] * 5 + [15]
    assert [without_nulls(row) for b in batches for row in b.to_dicts()] == rows
    with pytest.raises(ValueError, match="batch_size must be positive, however: batch_size=0"):
        iter_events(path, batch_size=0)


PEAK = """
import resource, sys
from pathlib import Path
from nbsrc.events.flatten import flatten
from nbsrc.events.read import iter_events
rows = sum(flatten(events).height for events, _ in iter_events(sys.argv[1], batch_size=1000))
status = Path("/proc/self/status")  # getrusage also covers whoever forked
if status.exists():
    peak = status.read_text().split("VmHWM:")[1].split()[0]
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(rows, peak)
"""


@pytest.mark.parametrize("form", ["lines", "parquet"])
def test_memory_grows_with_the_batch_and_not_with_the_file(form, tmp_path):
    peak = {}
    for n in (10_000, 110_000):  # more than the batches that are in memory at once
        path = tmp_path / str(n)
        if form == "parquet":  # one row group
            table = pa.table(
                {
                    "n": range(n),
                    "user": [{"name": f"user {i}", "note": "x" * 900} for i in range(n)],
                }
            )
            pq.write_table(
                table,
                path,
                row_group_size=n,
                use_dictionary=False,
                compression="none",
                data_page_size=2**16,
            )
        else:
            with path.open("w") as file:
                file.writelines(
                    f'{{"n": {i}, "user": {{"name": "user {i}", "note": "{"x" * 900}"}}}}\n'
                    for i in range(n)
                )
        out = subprocess.run(
            [sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(out[0]) == n
        peak[n] = int(out[1]) * 1024
    assert peak[110_000] - peak[10_000] < 100_000 * 900 / 2  # less than half of the text alone


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.binary(max_size=30)
        | st.sampled_from(
            [b'{"a":1}', b'{"a":{"b":2}}', b'{"a":[', b"[", b'{"a":"x"}', b'{"a":true}', b"{}"]
        ),
        max_size=6,
    )
)
@example([b'{"\\u0000":1}', b"{}", b"x"])
@example([b"{", b"\0"])  # an object that begins on a line of its own, and never ends
def test_read_and_rejected_make_given_for_any_lines(parts):
    parts = [
        b'{"first":1}',
        *(p.replace(b"\n", b" ") for p in parts),
    ]  # the first line makes it JSON Lines
    events, rejects = read_bytes(b"\n".join(parts))
    good = [part for part in parts if is_object(part)]
    given = [part for part in parts if part.strip(b"[], \t\r\x0b\x0c")]
    assert events.height >= len(good)
    if not any(re.match(rb"\s*\{(.*[{[,])?\s*\Z", part, re.DOTALL) for part in parts):  # may go on
        assert events.height + rejects.height >= len(given)
    if not any(set(b"{}[],") & set(part) for part in parts if part not in good):
        assert (events.height, rejects.height) == (len(good), len(given) - len(good))


def is_object(text):
    try:
        return isinstance(json.loads(text, parse_constant=lambda c: 1 / 0), dict)
    except (ValueError, ZeroDivisionError):
        return False


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text('{}[]",:1ae\n \\', max_size=30).map(str.encode))
def test_any_bytes_are_read_or_rejected(data):
    events, rejects = read_bytes(data)
    between = data.replace(b"\xef\xbb\xbf", b"").strip(b"[], \t\r\n\x0b\x0c")
    assert bool(events.height + rejects.height) >= bool(between)
    assert flatten(events).height == events.height


PARQUET = io.BytesIO()
pq.write_table(
    pa.table(
        {
            "n": range(40),
            "user": [{"name": f"user {i % 7}", "tags": ["x"] * (i % 3)} for i in range(40)],
        }
    ),
    PARQUET,
    row_group_size=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(4, len(PARQUET.getvalue()) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=3,
    )
)
def test_every_row_of_a_damaged_parquet_file_is_read_or_rejected(damage):
    data = bytearray(PARQUET.getvalue())
    for at, byte in damage:
        data[at] = byte
    events, rejects = read_bytes(bytes(data))
    assert flatten(events).height == events.height
    if rejects["row"].to_list() != [0]:
        assert events.height + rejects.height == 40


@pytest.mark.parametrize("bit", [1, 4])
def test_no_row_is_lost_for_any_bit_of_a_parquet_files_end(bit):
    whole = PARQUET.getvalue()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for at in range(start, len(whole)):
        events, rejects = read_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        assert rejects["row"].to_list() == [0] or events.height + rejects.height == 40, at


def read_bytes(data):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return read_events(file.name)


def big(value):
    """Whether the value holds what is documented to be read with a change or rejected."""
    if isinstance(value, dict | list):
        return any(map(big, value.values() if isinstance(value, dict) else value))
    return (isinstance(value, int) and abs(value) >= 2**63) or (
        isinstance(value, float) and not math.isfinite(value)
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(objects.filter(lambda o: not big(o)), max_size=6))
def test_no_value_of_any_record_is_lost(records):
    events, rejects = read_bytes("\n".join(map(json.dumps, [{"first": 1}, *records])).encode())
    assert rejects.is_empty()
    for record, row in zip(records, events.to_dicts()[1:], strict=True):
        assert told(row) == told(record)


def told(value):
    """A record's values without their types: what a text, a JSON text or a wider number still
    says."""
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return told(inner) if inner is not None else value
    if isinstance(value, dict):
        return {
            k.encode("utf-16", "surrogatepass").decode("utf-16", "replace"): told(v)
            for k, v in value.items()
            if v is not None
        }
    if isinstance(value, list):
        return [told(v) for v in value]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@pytest.mark.parametrize(
    "odd",
    [
        '{"a": 1.5}',
        '{"\\u0061": 1.5}',
        '{"a": -1e-1}',
        '{"a": true}',
        '{"a": "x"}',
        '{"a": [1]}',
        '{"a": {"b": 1}}',
        '{"a": 9223372036854775808}',
        '{"a": null}',
        '{"l": "x"}',
        '{"l": [1.5, true]}',
        '{"o": [{"n": 1}]}',
        '{"o": {"n": 1.5}}',
        '{"o": {}}',
        '{"late": {"x": 1}}',
        '{"f": 1}',
        '{"f": 1, "a": 2.5}',
        "{}",
    ],
)
def test_what_a_sample_of_the_lines_does_not_show_is_read_all_the_same(odd, write):
    usual = '{"a": 1, "f": 0.5, "l": ["s"], "o": {"n": 1}}'
    events, rejects = read_events(write("\n".join([usual] * 3_001 + [odd] + [usual] * 1_000)))
    assert rejects.is_empty()
    for row, line in ((0, usual), (3_000, usual), (3_001, odd), (3_002, usual)):
        assert {"o": {}} | told(events.row(row, named=True)) == {"o": {}} | told(json.loads(line))


def encoded(encoder, batches):
    parts = [encoder.transform(flatten(events)) for events, _ in batches]
    return [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("numeric", "categorical", "time")
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(objects, max_size=6), st.lists(objects, max_size=6))
def test_any_objects_are_read_flattened_and_encoded(fitted, others):
    encoder = EventEncoder()
    for records in (fitted, others):
        events, rejects = read_bytes("\n".join(map(json.dumps, [{"first": 1}, *records])).encode())
        assert events.height + rejects.height == 1 + len(records)
        rows = flatten(events)
        if records is fitted:
            encoder.fit(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # columns unknown at fit
            assert len(encoder.transform(rows).time) == events.height


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.integers(-(10**6), 10**6).map(lambda n: n / 1000)
    | st.sampled_from(
        [
            "",
            "a",
            "b",
            "true",
            "7",
            "2.0",
            "443",
            443,
            443.0,
            7,
            7.0,
            "2024-05-01T10:00:00Z",
            1_700_000_000_000,
            1_700_000_000_000.0,
        ]
    )
)
mixed = st.fixed_dictionaries(
    {},
    optional={
        "time": scalars,
        "x": scalars,
        "is_mfa": scalars,
        "tags": st.lists(scalars, max_size=3),
        "traffic": st.fixed_dictionaries({}, optional={"bytes": scalars, "packets": scalars}),
        "src_endpoint": st.fixed_dictionaries({}, optional={"port": scalars}),
        "resources": st.lists(
            st.fixed_dictionaries({}, optional={"name": scalars, "size": scalars}), max_size=2
        ),
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(mixed, min_size=1, max_size=8), st.integers(1, 4))
def test_types_that_differ_are_encoded_equally_in_batches_of_any_size(records, batch_size):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        path.write_text(lines([{"first": 1}, *records]))
        whole = list(iter_events(path))
        encoder = EventEncoder().fit(flatten(whole[0][0]))
        for a, b in zip(
            encoded(encoder, whole),
            encoded(encoder, iter_events(path, batch_size=batch_size)),
            strict=True,
        ):
            assert np.array_equal(a, b)


def test_flatten_names_scalars_by_their_path_and_sums_up_lists():
    rows = flatten(
        pl.DataFrame(
            {
                "actor": [
                    {
                        "user": {
                            "name": "a",
                            "groups": [{"name": "g1", "tags": ["z"]}, {"name": "g2", "tags": []}],
                        }
                    },
                    None,
                ],
                "metadata": [{"profiles": ["host", "cloud", "host", None]}, {"profiles": []}],
                "unmapped": [{"x": 1}, None],
                "raw_data": ["x", "y"],
                "observables": [[{"v": 1}], []],
            }
        )
    )
    assert rows.to_dicts() == [
        {
            "actor.user.name": "a",
            "actor.user.groups.length": 2,
            "actor.user.groups.first.name": "g1",
            "actor.user.groups.first.tags.length": 1,
            "actor.user.groups.first.tags.all": "z",
            "metadata.profiles.length": 4,
            "metadata.profiles.all": "cloud,host",
        },
        {
            "actor.user.name": None,
            "actor.user.groups.length": None,
            "actor.user.groups.first.name": None,
            "actor.user.groups.first.tags.length": None,
            "actor.user.groups.first.tags.all": None,
            "metadata.profiles.length": 0,
            "metadata.profiles.all": None,
        },
    ]
    assert "unmapped.x" in flatten(pl.DataFrame({"unmapped": [{"x": 1}]}), exclude=()).columns


def test_flat_and_nested_sources_of_one_name_make_one_column():
    rows = flatten(
        pl.DataFrame({"user.name": ["a", None, None], "user": [None, {"name": 1}, {"name": None}]})
    )
    assert rows.to_dict(as_series=False) == {"user.name": ["a", "1", None]}


def test_flatten_of_nothing_is_nothing():
    assert flatten(pl.DataFrame()).shape == (0, 0)
    assert flatten(pl.DataFrame({"a": [{}, None]})).shape == (2, 0)
    assert flatten(
        pl.DataFrame({"a": []}, schema={"a": pl.Struct({"b": pl.List(pl.String)})})
    ).columns == ["a.b.length", "a.b.all"]
