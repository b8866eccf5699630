"""Whoever runs `python -m nbsrc.incidents` gets alerts that name their events and say why, from any
files, and one clear line where something is wrong."""

import json
import shutil
import warnings
from functools import partial
from pathlib import Path

import jsonschema
import numpy as np
import polars as pl
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from polars.testing import assert_frame_equal

from nbsrc.incidents import files as incident_files
from nbsrc.incidents.__main__ import main
from nbsrc.incidents.context import ContextSurprise
from nbsrc.incidents.entities import EVERY, Entities
from nbsrc.incidents.finder import IncidentFinder
from nbsrc.incidents.past import FOLDER, FORMAT, LEARNED, load_finder, save_finder
from nbsrc.incidents.surprise import WindowSurprise
from nbsrc.incidents.together import Rate
from nbsrc.sequences.next_event import NextEventSurprise
from nbsrc.support.tensors import read_tensors, write_tensors

START, DAY, MINUTE = 1772409600000, 86_400_000, 60_000
SPRAYED = range(150, 162)


def make_events(n, *, seed, days, start=START):
    """OCSF logons: twelve users, each from an address of their own."""
    rng = np.random.default_rng(seed)
    times = np.sort(start + rng.integers(days * DAY, size=n))
    return [logon(int(t), int(u), f"10.0.0.{u}", int(rng.random() < 0.04))
            for t, u in zip(times, rng.integers(12, size=n), strict=True)]  # fmt: skip


def logon(time, user, address, failed):
    return {
        "class_uid": 3002, "type_name": "Authentication: Logon", "time": time,
        "metadata": {"uid": f"{time}-{user}-{address}"}, "user": {"name": f"user{user}"},
        "src_endpoint": {"ip": address}, "status_id": 2 if failed else 1,
        "duration": 100 + 7 * user,
    }  # fmt: skip


def write(path, events):
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


@pytest.fixture(scope="module", autouse=True)
def briefly():
    """Train the network of events in context for a few steps only."""
    with pytest.MonkeyPatch.context() as patched:
        few = partial(ContextSurprise, steps=5)
        patched.setattr("nbsrc.incidents.finder.ContextSurprise", few)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, briefly) -> Path:
    """past.jsonl, six days; new.jsonl, two days with one address that tries all accounts."""
    folder = tmp_path_factory.mktemp("incidents")
    write(folder / "past.jsonl", make_events(1500, seed=1, days=6))
    new = make_events(300, seed=2, days=2, start=START + 6 * DAY)
    at = new[150]["time"]
    new[150:150] = [logon(at + i * 3 * MINUTE, i, "10.66.6.6", 1) for i in range(12)]
    write(folder / "new.jsonl", new)
    arguments = (f"--baseline {folder}/past.jsonl --events {folder}/new.jsonl --epochs 1 "
                 f"--out {folder}/alerts.parquet --findings {folder}/findings.jsonl "
                 f"--model {folder}/model")  # fmt: skip
    assert main(arguments.split()) == 0
    return folder


def test_an_alert_names_its_events_and_says_with_numbers_why(folder):
    alerts = pl.read_parquet(folder / "alerts.parquet")
    assert alerts.columns == ["alert", "score", "entity", "value", "start", "end", "rows", "uids",
                              "kinds", "reason"]  # fmt: skip
    assert alerts["alert"].to_list() == list(range(1, alerts.height + 1))
    assert alerts["score"].is_sorted(descending=True)
    first = alerts.row(0, named=True)
    assert first["value"] == "10.66.6.6" and set(first["rows"]) <= set(SPRAYED)
    assert len(first["rows"]) >= 10
    new = [json.loads(line) for line in (folder / "new.jsonl").open()]
    assert first["uids"] == [new[row]["metadata"]["uid"] for row in first["rows"]]
    assert "12 users" in first["reason"] and "33 minutes" in first["reason"]


def test_each_alert_is_a_valid_detection_finding_with_its_events(folder):
    alerts = pl.read_parquet(folder / "alerts.parquet")
    findings = [json.loads(line) for line in (folder / "findings.jsonl").open()]
    assert len(findings) == alerts.height > 0
    for version in ("1.3.0", "1.8.0"):
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
        check = jsonschema.Draft202012Validator(schema.get_class_schema("detection_finding", []))
        assert [error.message for f in findings for error in check.iter_errors(f)] == []
    for finding, alert in zip(findings, alerts.iter_rows(named=True), strict=True):
        related = [event["uid"] for event in finding["finding_info"]["related_events"]]
        assert related == alert["uids"]
        assert finding["finding_info"]["desc"] == alert["reason"]


def test_a_kept_model_gives_the_same_alerts_in_any_batches(folder, capsys, monkeypatch):
    monkeypatch.setattr(incident_files, "EVENTS_AT_ONCE", 37)
    out = folder / "again.parquet"
    assert main(f"--model {folder}/model --events {folder}/new.jsonl --out {out}".split()) == 0
    assert_frame_equal(pl.read_parquet(out), pl.read_parquet(folder / "alerts.parquet"))
    told = capsys.readouterr().out
    assert "nothing is learned from a baseline" in told and "312 looked at" in told


def test_a_kept_model_is_neither_trained_nor_counted_again(folder, monkeypatch):
    def again(*_, **__):
        raise AssertionError("learned again")

    for learner in (IncidentFinder, WindowSurprise, ContextSurprise, NextEventSurprise):
        monkeypatch.setattr(learner, "fit", again)
    monkeypatch.setattr("nbsrc.sequences.next_event.train", again)
    out = folder / "kept.parquet"
    assert main(f"--model {folder}/model --events {folder}/new.jsonl --out {out}".split()) == 0
    assert_frame_equal(pl.read_parquet(out), pl.read_parquet(folder / "alerts.parquet"))


def test_events_without_identifiers_raise_alerts_that_name_none(folder):
    lines = (folder / "new.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    write(folder / "bare.jsonl", [{k: v for k, v in e.items() if k != "metadata"} for e in events])
    out = folder / "bare.parquet"
    assert main(f"--model {folder}/model --events {folder}/bare.jsonl --out {out}".split()) == 0
    uids = pl.read_parquet(out)["uids"].explode()
    assert len(uids) > 5 and uids.null_count() == len(uids)


def test_a_past_with_nobody_to_follow_is_kept_too(tmp_path):
    nobody = IncidentFinder(Entities({}, [EVERY], [], [], [], [], []))
    hours = pl.DataFrame({
        "row": range(40), "time": [START + i * 50 * MINUTE for i in range(40)], EVERY: EVERY,
        "act": [None] * 40, "failed": False, "score": [None] * 20 + [1.0] * 20,
    }, schema_overrides={"act": pl.String})  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nobody.fit(hours)
    save_finder(nobody, tmp_path)
    assert nobody.context_.surprise_ is None
    assert_frame_equal(load_finder(tmp_path).alerts(hours), nobody.alerts(hours))


def test_no_day_has_more_alerts_than_the_budget_and_a_field_can_be_an_entity(folder, capsys):
    out = folder / "few.parquet"
    options = f"--baseline {folder}/past.jsonl --events {folder}/new.jsonl --out {out} --budget 2"
    assert main(f"{options} --epochs 1 --entity duration".split()) == 0
    per_day = pl.read_parquet(out).group_by(pl.col("end").dt.date()).len()
    assert per_day["len"].max() <= 2
    told, score = capsys.readouterr().out, pl.read_parquet(out)["score"]
    assert "user, address, duration" in told
    ordinary = f"; {(score <= 0).sum()} of them no rarer than what the past had every day"
    assert (ordinary in told) == bool((score <= 0).any())


def test_broken_lines_and_events_without_a_time_are_told_and_shift_nothing(folder, capsys):
    lines = (folder / "new.jsonl").read_text().splitlines()
    timeless = json.loads(lines[0]) | {"time": None}
    given, out = folder / "broken.jsonl", folder / "broken.parquet"
    given.write_text("\n".join([json.dumps(timeless), "{", *lines[1:]]))
    assert main(f"--model {folder}/model --events {given} --out {out}".split()) == 0
    told = capsys.readouterr().out
    assert "1 rejected" in told and "without a time, in no alert: 1" in told
    assert set(pl.read_parquet(out)["rows"][0]) <= set(SPRAYED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model {f}/none --events {f}/new.jsonl --out {f}/x.parquet", "--baseline is needed"),
        ("--model {f}/model --events {f}/new.jsonl --out {f}/x.parquet --budget 0", "--budget"),
        ("--model {f}/model --events {f}/new.jsonl --out {f}/x --findings {f}/x", "name two files"),
        ("--model {f}/model --events {f}/new.jsonl --out {f}/new.jsonl", "among the events"),
        ("--model {f}/model --events {f}/lost.jsonl --out {f}/x.parquet", "no such file"),
        ("--model {f}/model --events {f}/new.jsonl --out {f}/x --entity shoe", "no entity shoe"),
        ("--baseline - --events {f}/new.jsonl --out {f}/x.parquet", "read twice"),
        ("--model {f}/damaged --events {f}/new.jsonl --out {f}/x.parquet", "cannot be loaded"),
        ("--model {f}/newer --events {f}/new.jsonl --out {f}/x.parquet", "another version"),
        ("--model {f}/earlier --events {f}/new.jsonl --out {f}/x.parquet", "earlier version"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_in_one_line_and_nothing_is_written(
    folder, options, message, capsys
):
    damaged, newer, earlier = (folder / name for name in ("damaged", "newer", "earlier"))
    for model in (damaged, newer):
        shutil.copytree(folder / "model", model, dirs_exist_ok=True)
    content = bytearray((damaged / FOLDER / LEARNED).read_bytes())
    content[-1] ^= 1
    (damaged / FOLDER / LEARNED).write_bytes(content)
    tensors, about = read_tensors(newer / FOLDER / LEARNED)
    write_tensors(newer / FOLDER / LEARNED, tensors, about | {"format": FORMAT + 1})
    earlier.mkdir(exist_ok=True)
    (earlier / "incidents.parquet").write_bytes(b"PAR1 as it was once kept")
    before = sorted(folder.iterdir())
    assert main(options.format(f=folder).split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_a_rate_follows_the_past_and_falls_exponentially_beyond_it():
    rng = np.random.default_rng(0)
    rate = Rate(rng.exponential(2.0, 5000), 10.0)
    a_day = np.exp(-rate.rarity(np.array([1.0, 4.0, 30.0])))
    assert a_day[:2] == pytest.approx(500 * np.exp([-0.5, -2.0]), rel=0.1)
    assert np.log(a_day[2]) == pytest.approx(np.log(500) - 15, rel=0.3)
    with pytest.raises(ValueError, match="0 alerts"):
        Rate(np.array([]), 1.0)
