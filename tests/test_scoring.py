"""The scoring command: what it takes and writes, what a score depends on, and what is refused
without a trace."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import polars as pl
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from nbsrc.events.read import read_events
from nbsrc.scoring import __main__ as command
from nbsrc.scoring import files as files_module
from nbsrc.scoring import scorer as scorer_module
from nbsrc.scoring.__main__ import main
from nbsrc.scoring.console import check_paths
from nbsrc.scoring.files import read_baseline, score_files
from nbsrc.scoring.scorer import Scorer
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.columns import Column
from nbsrc.tabular.encoder import EventEncoder

COLUMNS = ["row", "uid", "time", "score", "flagged", "reasons", "why"]
START = 1_772_409_600_000  # 2026-03-02, epoch milliseconds
USERS = 12


def make_events(n: int, *, seed: int) -> list[dict[str, Any]]:
    """Logons in which a user has one host, seldom the next one, and a role with its services and
    amount of bytes."""
    rng = np.random.default_rng(seed)
    events = []
    for i in range(n):
        user = int(rng.integers(USERS))
        host = user if rng.random() < 0.9 else (user + 1) % USERS
        role = ("admin", "clerk", "guest")[user % 3]
        events.append(
            {
                "class_uid": 3002,
                "activity_id": int(rng.integers(1, 3)),
                "severity_id": 1,
                "time": START + i * 60_000 + int(rng.integers(60_000)),
                "metadata": {
                    "uid": f"e{seed}-{i}",
                    "version": "1.3.0",
                    "product": {"name": "directory"},
                },
                "actor": {"user": {"name": f"user{user}", "uid": f"u-{user}"}, "role": role},
                "src_endpoint": {"hostname": f"host{host}", "ip": f"10.0.0.{host}"},
                "service": {"name": f"{role}-{rng.integers(2)}", "labels": [role]},
                "traffic": {"bytes": int(1000 * (1 + user % 3) + rng.integers(200))},
            }
        )
    return events


def make_requests(n: int, *, seed: int) -> pl.DataFrame:
    """A web server's log, flat and with its own names: a page has its size, a client its agent."""
    rng = np.random.default_rng(seed)
    client, page = rng.integers(10, size=n), rng.integers(8, size=n)
    moments = START + np.sort(rng.integers(86_400_000, size=n))
    return pl.DataFrame({
        "ts": pl.Series(moments).cast(pl.Datetime("ms")),
        "ip": [f"192.0.2.{c}" for c in client],
        "agent": [f"Browser/{c % 4}" for c in client],
        "path": [f"/page/{p}" for p in page],
        "status": np.where(page == 7, 404, 200),
        "bytes": page * 5000 + rng.integers(300, size=n),
    })  # fmt: skip


def write_lines(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """past.jsonl and new.jsonl, the latter with 300 events of which numbers 20 and 30 were tampered
    with."""
    folder = tmp_path_factory.mktemp("files")
    write_lines(folder / "past.jsonl", make_events(1200, seed=1))
    new = make_events(300, seed=2)
    new[20]["src_endpoint"] = {"hostname": "laptop", "ip": "198.51.100.7"}
    new[30]["traffic"]["bytes"] = 900_000
    write_lines(folder / "new.jsonl", new)
    return folder


def arguments(files: Path, out: Path, *more: str) -> list[str]:
    return [
        "--baseline",
        str(files / "past.jsonl"),
        "--events",
        str(files / "new.jsonl"),
        "--out",
        str(out),
        *more,
    ]


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory) -> tuple[Path, Path]:
    """The scores and the model folder of one run of the command on past.jsonl and new.jsonl."""
    folder = tmp_path_factory.mktemp("trained")
    assert (
        main(
            arguments(
                files, folder / "scores.parquet", "--model", str(folder / "model"), "--epochs", "10"
            )
        )
        == 0
    )
    return folder / "scores.parquet", folder / "model"


@pytest.fixture(scope="module")
def scorer(trained) -> Scorer:
    return Scorer.load(trained[1])


def fields(scores: pl.DataFrame, row: int) -> list[str]:
    return [reason["field"] for reason in scores["reasons"][row].to_list()]


# ---- What it takes and writes


def test_scores_are_in_order_and_name_the_field_that_was_tampered_with(files, trained):
    scores, events = pl.read_parquet(trained[0]), read_events(files / "new.jsonl")[0]
    assert scores.columns == COLUMNS
    assert scores["row"].to_list() == list(range(300))
    assert scores["uid"].to_list() == events["metadata"].struct.field("uid").to_list()
    assert scores["time"].dt.epoch("ms").to_list() == events["time"].to_list()
    assert scores.schema["time"] == pl.Datetime("ms", "UTC")
    assert set(scores["score"].top_k(2)) == set(scores["score"].gather([20, 30]))
    assert scores["flagged"][30] and scores["flagged"].sum() < 3
    assert scores["reasons"][20][0] == {"field": "src_endpoint.ip", "value": "198.51.100.7"}
    assert scores["reasons"][30][0] == {"field": "traffic.bytes", "value": "900000"}
    user = events["actor"].struct.field("user").struct.field("name")[30]
    assert scores["why"][30][0].startswith(f"traffic.bytes 900 kB (usual for user {user}: up to ")
    assert scores["why"].is_null().equals(~scores["flagged"].alias("why"))
    assert all(len(set(fields(scores, row))) == 3 for row in range(300))


@pytest.mark.parametrize("form", ["gzip", "array", "parquet", "folder", "stdin"])
def test_every_form_of_the_same_events_gives_the_same_scores(
    form, files, trained, tmp_path, monkeypatch
):
    lines = (files / "new.jsonl").read_bytes()
    events = [json.loads(line) for line in lines.splitlines()]
    given = tmp_path / "events"
    if form == "gzip":
        given.write_bytes(gzip.compress(lines))
    elif form == "array":
        given.write_text(json.dumps(events))
    elif form == "parquet":
        pl.DataFrame(events).write_parquet(given)
    elif form == "stdin":
        given = Path("-")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    else:
        given.mkdir()
        write_lines(given / "a.jsonl", events[:100])
        pl.DataFrame(events[100:]).write_parquet(given / "b.parquet")
    out = tmp_path / "scores.parquet"
    assert main(["--model", str(trained[1]), "--events", str(given), "--out", str(out)]) == 0
    assert_same_scores(pl.read_parquet(out), pl.read_parquet(trained[0]))


def assert_same_scores(a: pl.DataFrame, b: pl.DataFrame) -> None:
    """Equal but for what the last digits of floats make of sums in another order."""
    told = ["score", "reasons", "why"]
    assert a.drop(told).equals(b.drop(told))
    np.testing.assert_allclose(a["score"], b["score"], rtol=1e-4, atol=1e-3)
    assert (a["reasons"] == b["reasons"]).mean() > 0.97


def test_a_flat_file_of_another_kind_needs_no_configuration(tmp_path, capsys):
    new = make_requests(200, seed=4)
    new[17, "agent"], new[17, "path"] = "scanner/1.0", "/setup.php"
    new[18, "bytes"] = 4_000_000
    make_requests(1000, seed=3).write_parquet(tmp_path / "past.parquet")
    new.write_parquet(tmp_path / "new.parquet")
    argv = ["--baseline", str(tmp_path / "past.parquet"), "--events", str(tmp_path / "new.parquet")]
    assert main([*argv, "--out", str(tmp_path / "scores.parquet"), "--epochs", "10"]) == 0
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores["uid"].null_count() == 200
    assert scores["time"].equals(new["ts"].dt.replace_time_zone("UTC").alias("time"))
    assert set(scores["score"].top_k(2)) == set(scores["score"].gather([17, 18]))
    assert {"field": "agent", "value": "scanner/1.0"} in scores["reasons"][17].to_list()[:2]
    assert scores["reasons"][18][0] == {"field": "bytes", "value": "4000000"}
    printed = capsys.readouterr().out
    assert "bytes 4 MB (usual for " in printed and "200 scored" in printed


def test_rejected_lines_are_counted_and_shown_and_shift_nothing(files, trained, tmp_path, capsys):
    lines = (files / "new.jsonl").read_text().splitlines()[:40]
    lines[5:5] = ["{broken", "[1, 2]"]
    lines[30:30] = ['{"a": 1, "a": 2}', *["not JSON"] * 5]
    (tmp_path / "mixed.jsonl").write_text("\n".join(lines))
    out = tmp_path / "scores.parquet"
    assert (
        main(
            [
                "--model",
                str(trained[1]),
                "--events",
                str(tmp_path / "mixed.jsonl"),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert_same_scores(pl.read_parquet(out), pl.read_parquet(trained[0]).head(40))
    printed = capsys.readouterr().out
    assert "48 read, 8 rejected, 40 scored" in printed
    assert "mixed.jsonl, row 6: not JSON" in printed and "row 31: key given twice: 'a'" in printed
    assert printed.count("  rejected: ") == 5 and "and 3 more" in printed


def test_a_folder_of_good_and_bad_files_is_scored_and_what_was_done_is_told(
    files, trained, tmp_path, capsys
):
    events = [json.loads(line) for line in (files / "new.jsonl").read_text().splitlines()]
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"Records": events[:40]}))
    (folder / "b.parquet").write_bytes(b"PAR1 and nothing")
    (folder / "c.jsonl").write_bytes(b"\x1f\x8b\x08 looks like gzip")
    (folder / "_SUCCESS").write_text("")
    texts = [{k: json.dumps(v) if k == "traffic" else v for k, v in e.items()} for e in events[40:]]
    write_lines(folder / "d.jsonl", texts)
    out = tmp_path / "scores.parquet"
    argv = ["--model", str(trained[1]), "--events", str(folder), "--out", str(out)]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "events taken from Records[]: 40" in said and "bookkeeping" in said
    assert f"{folder / 'b.parquet'}: not a readable Parquet file" in said
    assert f"{folder / 'c.jsonl'}: the file cannot be read to its end" in said
    assert "JSON in traffic" in said and f"{len(events)} scored" in said
    assert_same_scores(pl.read_parquet(out), pl.read_parquet(trained[0]))


def test_an_event_without_uid_or_time_has_null_there(scorer):
    event = make_events(1, seed=5)[0]
    del event["metadata"]["uid"], event["time"]
    scores = scorer.score(pl.DataFrame([event]))
    assert scores.select("uid", "time").row(0) == (None, None)


def test_the_table_shows_the_ten_highest_scores_of_all_batches_and_obeys_no_terminal(
    files, scorer, tmp_path
):
    events = [json.loads(line) for line in (files / "new.jsonl").read_text().splitlines()]
    events[20]["src_endpoint"]["ip"] = "\x1b[2Jhost\n7" + "x" * 100
    given = write_lines(tmp_path / "new.jsonl", events)
    report = score_files(scorer, [given], tmp_path / "scores.parquet", events_at_once=17)
    best = pl.read_parquet(tmp_path / "scores.parquet").sort("score", descending=True).head(10)
    assert report.most_anomalous.drop("why").equals(best.drop("why"))
    assert best["row"].is_in([20, 30]).sum() == 2
    table = command._table(report.most_anomalous).splitlines()
    assert sum(not line.startswith("    ") for line in table) == 11
    assert all(line.isprintable() for line in table)
    assert any("host\N{REPLACEMENT CHARACTER}7x" in line and "..." in line for line in table)


def test_columns_that_the_model_does_not_know_are_told_once(files, trained, tmp_path, capsys):
    events = [
        json.loads(line) | {"novel": i % 3} for i, line in enumerate((files / "new.jsonl").open())
    ]
    given, out = write_lines(tmp_path / "new.jsonl", events), tmp_path / "scores.parquet"
    assert main(["--model", str(trained[1]), "--events", str(given), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "ignores: 1 (novel)" in told.out and told.err == ""


@pytest.mark.parametrize("way", [(False, True), (0, 1), ("False", "True"), (0.0, 1.0)])
@pytest.mark.parametrize("learned", [(False, True), (0, 1), ("False", "True")])
def test_truth_values_are_scored_equally_however_they_are_written(learned, way):
    def logons(n: int, ways: tuple[Any, Any]) -> pl.DataFrame:
        return pl.DataFrame(
            {"mfa": [ways[i % 7 > 0] for i in range(n)], "user": [f"u{i % 7}" for i in range(n)]}
        )

    known = Scorer.train(logons(140, learned), epochs=1, progress=False)
    scores = known.score(logons(20, way))
    assert scores.drop("reasons").equals(known.score(logons(20, learned)).drop("reasons"))


def test_columns_whose_type_changed_beyond_reading_are_told_once(files, trained, tmp_path, capsys):
    events = [json.loads(line) for line in (files / "new.jsonl").open()]
    for event in events:
        event["traffic"]["bytes"] = f"{event['traffic']['bytes']} B"
        event["service"]["name"] = len(event["service"]["name"])
        event["activity_id"] = str(event["activity_id"])
        event["time"] = datetime.fromtimestamp(event["time"] / 1000, UTC).isoformat()
    given, out = write_lines(tmp_path / "new.jsonl", events), tmp_path / "scores.parquet"
    assert main(["--model", str(trained[1]), "--events", str(given), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "another type than in the baseline, not understood: 2 (service.name, traffic.b" in told


def test_an_excluded_field_is_never_a_reason(files, tmp_path):
    out, options = (
        tmp_path / "scores.parquet",
        ["--epochs", "2", "--exclude", "src_endpoint", "traffic.bytes"],
    )
    assert main(arguments(files, out, *options)) == 0
    named = pl.read_parquet(out)["reasons"].explode().struct.field("field").unique().to_list()
    assert "actor.user.name" in named or "actor.role" in named
    assert not [
        name for name in named if name.startswith("src_endpoint") or name == "traffic.bytes"
    ]


def test_values_of_every_type_are_told_as_text():
    rows = pl.DataFrame({
        "text": ["a", None],
        "whole": [7, 8],
        "bytes": [b"\xff\x00", b""],
        # the second is beyond the calendar
        "moment": pl.Series([START, 2**62]).cast(pl.Datetime("ms")),
        "span": pl.Series([1500, 2]).cast(pl.Duration("ms")),
    })  # fmt: skip
    kinds = ("category", "category", "category", "time", "quantity")
    columns = [Column(name, kind) for name, kind in zip(rows.columns, kinds, strict=True)]
    chosen = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
    reasons = scorer_module._reasons(rows, columns, chosen)
    assert [r["field"] for r in reasons[1]] == ["span", "moment", "bytes", "whole", "text"]
    assert [r["value"] for r in reasons[1]] == ["2", None, None, "8", None]
    assert [r["value"] for r in reasons[0]] == ["a", "7", "ff00", "2026-03-02 00:00:00 UTC", "1500"]


def test_columns_that_one_field_became_count_for_that_field(scorer):
    """Of the four angles of a time, and of whether a quantity is there, the field's own name is
    told."""
    rng = np.random.default_rng(0)
    hour = rng.integers(24, size=400)
    sessions = START - 86_400_000 * 400 + hour * 3_600_000
    events = pl.DataFrame({
        "time": START + np.arange(400) * 60_000,
        "session_time": sessions,
        "amount.bytes": [None if h % 3 == 0 else float(h) + 0.5 for h in hour],
        "shift": [f"s{h // 6}" for h in hour],
    })  # fmt: skip
    small = Scorer.train(events, epochs=1, progress=False)
    assert {"session_time.hour_sin", "amount.bytes.present"} <= set(small.detector.model.names)
    scores = small.score(events)
    for row in range(400):
        named = fields(scores, row)
        assert set(named) <= set(events.columns) and len(set(named)) == 3


def test_each_flagged_event_is_a_valid_detection_finding(files, scorer, tmp_path, monkeypatch):
    events = [json.loads(line) for line in (files / "new.jsonl").open()]
    del events[30]["metadata"]["uid"], events[30]["time"]
    given = write_lines(tmp_path / "new.jsonl", events)
    out, alerts = tmp_path / "scores.parquet", tmp_path / "alerts.jsonl"
    scores = scorer.score(read_events(given)[0])["score"]
    monkeypatch.setattr(scorer.detector, "threshold_", scores.top_k(9).min())
    score_files(scorer, [given], out, alerts=alerts, events_at_once=17)
    flagged = pl.read_parquet(out).filter("flagged")
    findings = [json.loads(line) for line in alerts.open()]
    assert len(findings) == flagged.height == 8
    for version in ("1.3.0", "1.8.0"):
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
        check = jsonschema.Draft202012Validator(schema.get_class_schema("detection_finding", []))
        assert [error.message for f in findings for error in check.iter_errors(f)] == []
    for finding, event in zip(findings, flagged.iter_rows(named=True), strict=True):
        evidence = finding["evidences"][0]["data"]
        assert (evidence["uid"], evidence["score"]) == (event["uid"], event["score"])
        assert finding["message"].startswith(event["why"][0])
        related = finding["finding_info"].get("related_events", [])
        assert related == ([] if event["uid"] is None else [{"uid": event["uid"]}])
    assert len({finding["metadata"]["uid"] for finding in findings}) == 8


# ---- What a score depends on


def test_another_seed_writes_other_scores_and_python_the_same_as_the_command(files, tmp_path):
    runs = []
    for seed in ("0", "1"):
        out = tmp_path / f"{seed}.parquet"
        assert main(arguments(files, out, "--epochs", "1", "--seed", seed)) == 0
        runs.append(pl.read_parquet(out))
    assert not runs[0]["score"].equals(runs[1]["score"])
    scorer = Scorer.train(read_events(files / "past.jsonl")[0], epochs=1, progress=False)
    scores = scorer.score(read_events(files / "new.jsonl")[0])
    assert scores.equals(runs[0])
    assert scores["time"][0] >= datetime(2026, 3, 2, tzinfo=UTC)


def test_a_saved_model_scores_as_the_one_that_was_just_trained(files, trained, tmp_path, capsys):
    out = tmp_path / "scores.parquet"
    assert main(arguments(files, out, "--model", str(trained[1]))) == 0
    assert "nothing is learned" in capsys.readouterr().out
    assert pl.read_parquet(out).equals(pl.read_parquet(trained[0]))
    content = {
        str(path.relative_to(trained[1])) for path in trained[1].rglob("*") if path.is_file()
    }
    assert {"encoder.safetensors", "model.safetensors"} <= content
    assert all(name.endswith(".safetensors") for name in content)
    assert sorted(os.listdir(trained[1].parent)) == ["model", "scores.parquet"]


def test_a_score_does_not_depend_on_the_other_events_nor_on_the_batch(
    files, scorer, trained, tmp_path
):
    whole = pl.read_parquet(trained[0])
    events = [json.loads(line) for line in (files / "new.jsonl").open()]
    half = scorer.score(pl.DataFrame(events[150:]))
    assert_same_scores(half, whole[150:].with_columns(pl.col("row") - 150))
    for size in (7, 300):
        score_files(scorer, [files / "new.jsonl"], tmp_path / "scores.parquet", events_at_once=size)
        assert_same_scores(pl.read_parquet(tmp_path / "scores.parquet"), whole)


def test_a_large_baseline_is_thinned_evenly_and_keeps_its_order(tmp_path, monkeypatch):
    monkeypatch.setattr(files_module, "LARGEST", 100)
    monkeypatch.setattr(files_module, "EVENTS_AT_ONCE", 32)
    paths = [
        write_lines(tmp_path / f"{i}.jsonl", [{"n": 205 * i + n} for n in range(205)])
        for i in range(2)
    ]
    events, report = read_baseline(paths)
    assert events["n"].to_list() == list(range(0, 410, 8))
    assert report.read == 410
    monkeypatch.setattr(files_module, "LARGEST", 410)
    assert read_baseline(paths)[0]["n"].to_list() == list(range(410))


# ---- What is refused


def refused(argv: list[str], folder: Path, capsys) -> str:
    """The one line that is told; nothing may have changed in `folder`."""
    before = snapshot(folder)
    try:
        code = main(argv)
    except SystemExit as stopped:
        code = stopped.code
    told = capsys.readouterr().err
    assert code == 2 and told.startswith("nbsrc.scoring: ") and told.count("\n") == 1, told
    assert snapshot(folder) == before
    return told


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def paths_of(files: Path, tmp_path: Path) -> dict[str, str]:
    """Names for the arguments of the tests below."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "note.txt").write_text("not events\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty.jsonl").touch()
    write_lines(tmp_path / "few.jsonl", make_events(30, seed=6))
    write_lines(tmp_path / "one.jsonl", [{"a": 1}])
    write_lines(tmp_path / "constant.jsonl", [{"a": 1, "b": "x"}] * 200)
    write_lines(tmp_path / "keyless.jsonl", [{}] * 200)
    write_lines(tmp_path / "strangers.jsonl", [{"colour": "red"}, {"colour": "blue"}] * 20)
    (tmp_path / "folder" / "inside.jsonl").write_text((files / "new.jsonl").read_text())
    names = {path.name.split(".")[0]: str(path) for path in tmp_path.iterdir()}
    return names | {
        "past": str(files / "past.jsonl"),
        "new": str(files / "new.jsonl"),
        "at": str(tmp_path),
    }


GIVEN = "--baseline {past} --events {new}"


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ("--events {new} --out {at}/o", "--baseline is needed"),
        ("--events {new} --out {at}/o --model {at}/none", "no model {at}/none yet"),
        ("--baseline {past} --out {at}/o", "--events"),
        (GIVEN, "--out"),
        ("--baseline {at}/none --events {new} --out {at}/o", "no such file or folder: {at}/none"),
        (GIVEN + " {at}/none --out {at}/o", "no such file or folder: {at}/none"),
        (GIVEN + " --out {folder}", "is a folder"),
        (GIVEN + " --out {at}/none/o", "folder that does not exist"),
        ("--baseline {one} --events {new} --out {at}/o", "too few events to learn from: 1"),
        (GIVEN + " --out {at}/o --model {at}/none/m", "folder that does not exist"),
        (GIVEN + " --out {at}/o --model {note}", "is a file"),
        ("--baseline {past} --events {few} --out {few}", "among the events to read"),
        ("--baseline {few} --events {new} --out {at}/folder/../few.jsonl", "among the events"),
        ("--baseline {past} --events {folder} --out {folder}/o", "among the events to read"),
        ("--baseline {past} --events {folder} --out {at}/o --model {folder}/m", "among the events"),
        (GIVEN + " --out {folder}/o --model {folder}", "in the model's folder"),
        (GIVEN + " --out {at}/o --alerts {folder}", "--alerts {folder} is a folder"),
        (GIVEN + " --out {at}/o --alerts {at}/none/a", "folder that does not exist"),
        (GIVEN + " --out {at}/o --alerts {at}/folder/../o", "name two files"),
        (GIVEN + " --out {at}/o --model {folder} --alerts {folder}/a", "in the model's folder"),
        ("--baseline {past} --events {few} --out {at}/o --alerts {few}", "among the events"),
        (GIVEN + " --out {at}/o --epochs 0", "--epochs at least 1"),
        (GIVEN + " --out {at}/o --seed -1", "--seed at least 0"),
        (GIVEN + " --out {at}/o --false-alarms 1.5", "between 0 and 1"),
        (GIVEN + " --out {at}/o --false-alarms 0", "between 0 and 1"),
        (GIVEN + " --out {at}/o --epochs many", "--epochs"),
        ("--baseline - --events - --out {at}/o", "- is the standard input, which can be read once"),
        ("--baseline {few} --events {new} --out {at}/o", "too few events to learn from: 30"),
        ("--baseline {note} --events {new} --out {at}/o", "from {note}: {note}, row 1: not JSON"),
        ("--baseline {broken} --events {new} --out {at}/o", "not a readable Parquet file"),
        ("--baseline {empty} --events {new} --out {at}/o", "no event can be read from {empty}"),
        ("--baseline {constant} --events {new} --out {at}/o", "no column is worth learning"),
        ("--baseline {keyless} --events {new} --out {at}/o", "no column is worth learning"),
        ("--model {model} --events {note} --out {at}/o", "no event can be read from {note}"),
        ("--model {model} --events {strangers} --out {at}/o", "with the model: theirs are colour"),
        ("--model {model} --events {keyless} --out {at}/o", "with the model: theirs are none"),
        ("--model {model} --events {new} --out {at}/o --false-alarms 0.2", "0.001, not 0.2"),
        ("--model {model} --events {new} --out {at}/o --exclude time", "exclude [], not "),
        ("--model {folder} --events {new} --out {at}/o", "no saved encoder"),
    ],
)  # fmt: skip
def test_bad_input_is_named_in_one_line_and_nothing_is_written(
    argv, named, files, trained, tmp_path, capsys
):
    names = paths_of(files, tmp_path) | {"model": str(trained[1])}
    told = refused([part.format(**names) for part in argv.split()], tmp_path, capsys)
    assert named.format(**names) in told


def test_a_place_that_cannot_be_written_to_is_named_before_the_work(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is no regular file"):
        check_paths([], {"--out": tmp_path / "pipe"}, None)
    monkeypatch.setattr(os, "access", lambda *_: False)  # which root always has
    for written, model in (({"--out": tmp_path / "o"}, None), ({}, tmp_path / "m")):
        with pytest.raises(PermissionError, match="cannot be written to"):
            check_paths([], written, model)


def test_a_file_under_a_second_name_is_not_overwritten(files, trained, tmp_path, capsys):
    given = write_lines(tmp_path / "new.jsonl", make_events(30, seed=7))
    os.link(given, tmp_path / "scores.parquet")
    argv = [
        "--model",
        str(trained[1]),
        "--events",
        str(given),
        "--out",
        str(tmp_path / "scores.parquet"),
    ]
    assert "among the events to read" in refused(argv, tmp_path, capsys)


def copy_of(model: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    for path in model.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(model)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(model)).write_bytes(path.read_bytes())
    return copy


def of_other_columns(model: Path) -> None:
    """Another encoder than the network's."""
    events = pl.DataFrame({"a": ["x", "y"] * 50, "b": ["u", "u", "v", "v"] * 25})
    EventEncoder().fit(events).save(model / "encoder.safetensors")


def newer_encoder(model: Path) -> None:
    tensors, about = read_tensors(model / "encoder.safetensors")
    write_tensors(model / "encoder.safetensors", tensors, about | {"format": 99})


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "other columns": of_other_columns,
    "newer": newer_encoder,
    "no network": lambda model: (model / "model.safetensors").unlink(),
    "no counts": lambda model: (model / "usual.safetensors").unlink(),
    "other counts": lambda model: (model / "usual.safetensors").write_bytes(
        (model / "surprise.safetensors").read_bytes()
    ),
    "cut": lambda model: (model / "model.safetensors").write_bytes(
        (model / "model.safetensors").read_bytes()[:-50]
    ),
    "garbage": lambda model: (model / "combined.safetensors").write_bytes(b"\xff" * 500),
    "no rankers": lambda model: (model / "combined.safetensors").unlink(),
    "other rankers": lambda model: (model / "combined.safetensors").write_bytes(
        (model / "surprise.safetensors").read_bytes()
    ),
    "other tensors": lambda model: (model / "model.safetensors").write_bytes(
        (model / "surprise.safetensors").read_bytes()
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_model_that_is_damaged_newer_or_of_other_columns_is_named(
    damage, files, trained, tmp_path, capsys
):
    model = copy_of(trained[1], tmp_path)
    DAMAGES[damage](model)
    told = refused(arguments(files, tmp_path / "o", "--model", str(model)), tmp_path, capsys)
    assert f"the model in {model} cannot be loaded: " in told


@pytest.mark.parametrize(
    ("failure", "code"), [(KeyboardInterrupt(), 130), (OSError("no space left"), 2)]
)
@pytest.mark.parametrize(
    "moment", ["saving the model", "scoring the second batch", "ending the file", "an alert"]
)
def test_what_stops_midway_leaves_the_old_file_and_no_parts(
    moment, failure, code, files, trained, scorer, tmp_path, monkeypatch, capsys
):
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    out, alerts, model = tmp_path / "scores.parquet", tmp_path / "alerts.jsonl", trained[1]
    out.write_text("the last run's")
    alerts.write_text("its alerts")
    if moment == "saving the model":
        model = tmp_path / "model"
        monkeypatch.setattr(Scorer, "train", lambda *_, **__: scorer)
        monkeypatch.setattr(scorer.detector, "save", fail)
    elif moment == "ending the file":
        monkeypatch.setattr(files_module.pq.ParquetWriter, "close", fail)
    elif moment == "an alert":
        monkeypatch.setattr(files_module, "findings", fail)
    else:
        calls = iter([Scorer.score_rows, fail])
        monkeypatch.setattr(Scorer, "score_rows", lambda *args: next(calls)(*args))
        smaller = score_files.__kwdefaults__ | {"events_at_once": 100}
        monkeypatch.setattr(score_files, "__kwdefaults__", smaller)
    argv = arguments(files, out, "--model", str(model), "--alerts", str(alerts))
    assert main(argv) == code
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and ("Interrupted. " if code == 130 else "no space left") in told
    assert snapshot(tmp_path) == {str(out): b"the last run's", str(alerts): b"its alerts"}


def test_ctrl_c_while_training_leaves_nothing(files, tmp_path):
    # `python -m nbsrc.scoring`, also where this test is a shell's background job, which would
    # ignore Ctrl-C
    start = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('nbsrc.scoring', run_name='__main__', alter_sys=True)"
    )
    argv = arguments(
        files, tmp_path / "scores.parquet", "--model", str(tmp_path / "model"), "--epochs", "100000"
    )
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", start, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout.readline().startswith("Learning from 1200 ")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Interrupted. No scores written.\n")
    assert not list(tmp_path.iterdir())


# ---- From Python


def test_misuse_from_python_is_named(scorer, tmp_path):
    with pytest.raises(ValueError, match="share no column"):
        scorer.score(pl.DataFrame({"colour": ["red"]}))
    with pytest.raises(TypeError, match=r"a Polars DataFrame, not builtins\.list"):
        scorer.score(make_events(2, seed=1))
    some = pl.DataFrame(make_events(2, seed=1))
    assert scorer.score(some.head(0)).schema == scorer.score(some).schema
    beyond = some.with_columns(severity_id=pl.lit(2**100, pl.Int128), activity_id=2**64 - 1)
    assert scorer.score(beyond)["score"].is_finite().all()
    scorer.save(tmp_path / "model")
    with pytest.raises(FileExistsError, match="is there already"):
        scorer.save(tmp_path / "model")
    for wrong in ({"false_alarms": 0.0}, {"epochs": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="false alarms must be"):
            Scorer.train(pl.DataFrame({"a": [1]}), **wrong)
