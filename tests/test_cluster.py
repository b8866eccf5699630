"""Scoring by Ray: the same scores, alerts and summary as without it, whoever does the work, and one
line where it cannot be done."""

import importlib.util
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nbsrc.events.read import read_events
from nbsrc.scoring import cluster
from nbsrc.scoring.__main__ import main
from nbsrc.scoring.files import Report, score_files
from nbsrc.scoring.scorer import Scorer

LEARNED, NEW = 400, 300


def lines_of(n: int) -> list[str]:
    """Events in which a user has a host of his own, nine times in ten, and an amount of bytes."""
    rng = np.random.default_rng(0)
    user = rng.integers(12, size=n)
    host = np.where(rng.random(n) < 0.9, user, (user + 1) % 12)
    size = rng.lognormal(5 + user / 6, 1)
    return [
        json.dumps({
            "class_uid": 3002, "metadata": {"uid": f"e{i}"}, "time": 1_772_409_600_000 + i * 60_000,
            "actor": {"user": f"u{user[i]}"}, "host": f"h{host[i]}", "bytes": int(size[i]),
        }) + "\n"
        for i in range(n)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model, and new events of five batches in two files, one of them a wrapper
    and one with a reject, after a file that is none."""
    folder = tmp_path_factory.mktemp("place")
    lines = lines_of(LEARNED + NEW)
    (folder / "past.jsonl").write_text("".join(lines[:LEARNED]), encoding="utf-8")
    new = folder / "new"
    new.mkdir()
    first, second = lines[LEARNED : LEARNED + 200], lines[LEARNED + 200 :]
    (new / "b.json").write_text(f'{{"Records": [{",".join(second)}]}}', encoding="utf-8")
    (new / "a.jsonl").write_text("".join([*first[:90], "{broken\n", *first[90:]]), encoding="utf-8")
    (new / "0.gz").write_bytes(b"\x1f\x8bnothing")
    scorer = Scorer.train(read_events(folder / "past.jsonl")[0], false_alarms=0.1, epochs=1)
    scorer.save(folder / "model")
    return folder


@pytest.fixture(scope="module")
def ray():
    """One start of Ray for all tests, with as much time as a busy machine needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "300")
        patch.setenv("RAY_worker_register_timeout_seconds", "300")
        with cluster.running(2):
            yield


def scored(place: Path, workers: int) -> tuple[Report, pl.DataFrame, bytes]:
    out, alerts = place / f"{workers}.parquet", place / f"{workers}.jsonl"
    report = score_files(
        Scorer.load(place / "model"), [place / "new"], out, alerts=alerts, events_at_once=70,
        workers=workers, model=place / "model",
    )  # fmt: skip
    return report, pl.read_parquet(out), alerts.read_bytes()


def test_workers_give_what_one_process_gives(place, ray):
    report, scores, alerts = scored(place, workers=0)
    assert report.rejected == 2 and report.scored == scores.height == NEW and alerts
    assert report.notes
    for workers in (1, 2):
        other, theirs, findings = scored(place, workers)
        assert theirs.equals(scores) and findings == alerts
        assert other.most_anomalous.equals(report.most_anomalous)
        for told in vars(report).keys() - {"most_anomalous"}:
            assert getattr(other, told) == getattr(report, told), told


def test_a_file_that_is_slow_to_read_keeps_its_place(place, ray):
    """Without an order, the second file's scores would be there first."""
    slow, out = place / "slow", place / "ordered.parquet"
    os.mkfifo(slow)
    lines = lines_of(20)

    def write() -> None:
        with slow.open("w", encoding="utf-8") as pipe:
            time.sleep(4)
            pipe.writelines(lines)

    threading.Thread(target=write, daemon=True).start()
    score_files(
        Scorer.load(place / "model"), [slow, place / "new" / "a.jsonl"], out, workers=2,
        model=place / "model",
    )  # fmt: skip
    uids = [f"e{i}" for i in [*range(20), *range(LEARNED, LEARNED + 200)]]
    assert pl.read_parquet(out)["uid"].to_list() == uids


def test_a_worker_that_fails_is_told_in_one_line_and_nothing_is_written(place, ray, tmp_path):
    out = tmp_path / "scores.parquet"
    with pytest.raises(ValueError, match="Ray failed") as error:
        score_files(
            Scorer.load(place / "model"), [place / "new"], out, workers=1, model=tmp_path / "none"
        )
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_ray_that_does_not_start_is_tried_once_more_and_then_told_in_one_line(monkeypatch):
    import ray

    tried = []

    def slow(**options) -> None:
        tried.append(options)
        raise RuntimeError("the raylet timed out\nthe rest of a log")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", slow)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with (
        pytest.raises(ValueError, match=r"Ray does not start: the raylet timed out$"),
        cluster.running(1),
    ):
        pass
    assert len(tried) == 2


@pytest.mark.parametrize(
    ("options", "there", "said"),
    [
        (["--engine", "ray"], False, 'nbsrc[scale]'),
        (["--engine", "ray", "--workers", "0"], True, "--workers must be at least 1"),
        (["--engine", "ray", "--workers", "two"], True, "--workers: invalid int value"),
        (["--workers", "2"], True, "--workers is for --engine ray"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_in_one_line(
    place, tmp_path, capsys, monkeypatch, options, there, said
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: (there or None) if name == "ray" else found(name)
    )
    given = ["--model", place / "model", "--events", place / "new", "--out", tmp_path / "s.parquet"]
    try:
        status = main([*map(str, given), *options])
    except SystemExit as stopped:
        status = stopped.code
    told = capsys.readouterr().err
    assert status == 2 and said in told and told.count("\n") == 1
    assert not os.listdir(tmp_path)
