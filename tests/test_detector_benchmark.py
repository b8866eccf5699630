"""The methods that the recorded comparison has beside ours, each against a slow and plain way."""

import numpy as np
import pytest
from scipy.stats import skew

from benchmarks.connections import NUMBERS, connections
from benchmarks.detectors import adbench, bundled, ecod, hbos, thinned


@pytest.fixture
def halves():
    rng = np.random.default_rng(0)
    return rng.exponential(size=(50, 3)) * [1, -1, 1], rng.normal(size=(20, 3)) * 2


def test_ecod_takes_the_largest_of_three_sums_of_tails(halves):
    past, new = halves
    wanted = []
    for row in new:
        left = [-np.log(((c <= x).sum() + 1) / 51) for c, x in zip(past.T, row, strict=True)]
        right = [-np.log(((c >= x).sum() + 1) / 51) for c, x in zip(past.T, row, strict=True)]
        signs = skew(past)
        either = [lo if s < 0 else hi for lo, hi, s in zip(left, right, signs, strict=True)]
        wanted.append(max(sum(left), sum(right), sum(either)))
    np.testing.assert_allclose(ecod(past, new), wanted)


def test_hbos_is_larger_where_the_past_had_fewer_values_and_largest_outside(halves):
    past, _ = halves
    dense, sparse, outside = (np.tile(x, (1, 1)) for x in ([0.1], [past[:, 0].max()], [99.0]))
    scores = [hbos(past[:, :1], x)[0] for x in (dense, sparse, outside)]
    assert scores[0] < scores[1] < scores[2]


def test_a_class_is_thinned_out_to_a_share_and_nothing_else_is():
    anomaly = np.arange(1000) % 2 == 0
    X, y = thinned(np.arange(1000.0)[:, None], anomaly, 0.1, np.random.default_rng(0))
    assert y.sum() == 56 and (y == 0).sum() == 500
    assert (X[y == 1] % 2 == 0).all() and (X[y == 0] % 2 == 1).all()


def test_sets_say_whether_anything_was_chosen_on_them(tmp_path):
    for number, name in ((3, "c"), (1, "a"), (2, "b")):
        np.savez(tmp_path / f"{number}_{name}.npz", X=np.zeros((4, 2)), y=np.zeros(4))
    assert [(name, chosen) for name, chosen, *_ in adbench(tmp_path)] == [
        ("a", True), ("b", False), ("c", True),
    ]  # fmt: skip
    assert {name for name, chosen, *_ in bundled() if chosen} == {
        "wine 1", "digits 1", "digits 3", "digits 5",
    }  # fmt: skip
    with pytest.raises(ValueError, match="no table"):
        next(adbench(tmp_path / "none"))


def test_unset_values_of_a_connection_are_missing_and_numbers_are_numbers(tmp_path, monkeypatch):
    head = "#fields\tts\tuid\tlabel\tdetailedlabel\t" + "\t".join(NUMBERS)
    rows = [
        f"{ts}\tC{ts}\tBenign\t(empty)\t" + "\t".join(["-", *"1234567"]) for ts in ("9.5", "2.5")
    ]
    path = tmp_path / "conn.log"
    path.write_text("\n".join([head, *rows]))
    monkeypatch.setattr("nbsrc.sequences.zeek.fetch", lambda source, folder: path)
    log = connections(tmp_path)
    assert log["ts"].to_list() == [2.5, 9.5]
    assert log["duration"].to_list() == [None, None] and log["orig_bytes"].to_list() == [1.0, 1.0]
    assert log["detailedlabel"].to_list() == [None, None]
