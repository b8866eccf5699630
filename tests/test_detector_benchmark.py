"""The methods that the recorded comparison has beside ours, each against a slow and plain way."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import skew

from benchmarks import detectors
from benchmarks.connections import NUMBERS, connections
from benchmarks.detectors import (
    CHOSEN_ON,
    MANY,
    REPORTED,
    adbench,
    bundled,
    ecod,
    hbos,
    keel,
    plain,
    read_keel,
    thinned,
)
from nbsrc.detection.methods import METHODS


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
    kept = thinned(anomaly, 0.1, np.random.default_rng(0))
    assert anomaly[kept].sum() == 56 and (~anomaly[kept]).sum() == 500
    assert (np.diff(kept) > 0).all()


def test_sets_say_whether_anything_was_chosen_on_them(tmp_path):
    for number, name in ((3, "c"), (1, "a"), (2, "b")):
        np.savez(tmp_path / f"{number}_{name}.npz", X=np.zeros((4, 2)), y=np.zeros(4))
    assert [(name, chosen) for name, chosen, *_ in adbench(tmp_path)] == [
        ("a", True), ("b", True), ("c", True),
    ]  # fmt: skip
    assert all(chosen for _, chosen, *_ in bundled())
    with pytest.raises(ValueError, match="no table"):
        next(adbench(tmp_path / "none"))


def test_a_table_of_keel_is_read_with_its_types(tmp_path):
    (tmp_path / "t.dat").write_text("1, 0.5, a, ?, negative\n2,1.0, b,3,positive\n")
    rows = read_keel(tmp_path / "t.dat")
    assert rows.dtypes[:2] == [pl.Int64, pl.Float64]
    assert rows.rows() == [(1, 0.5, "a", None, "negative"), (2, 1.0, "b", 3, "positive")]
    np.testing.assert_array_equal(plain(rows[:, :-1]), [[1, 0.5, 1, 0, 3], [2, 1, 0, 1, 3]])


def test_on_a_stream_what_reads_the_network_has_an_untrained_twin(monkeypatch):
    for name, value in (("EVENTS", 2500), ("EPOCHS", 1), ("quiet", lambda: None)):
        monkeypatch.setattr(detectors, name, value)
    rows = detectors.stream(5, "contaminated")
    assert rows["past"].unique().to_list() == ["contaminated"]
    found = dict(rows.select("method", "roc_auc").iter_rows())
    twins = {f"{name}, untrained" for name, method in METHODS.items() if method.reads_network}
    assert twins and found.keys() == METHODS.keys() | twins
    assert all(found[twin] != found[twin.removesuffix(", untrained")] for twin in twins)


def test_tables_of_keel_have_rare_anomalies_and_no_more_rows_than_agreed(tmp_path):
    text = {
        "imbalanced": "1,negative\n" * 2500 + "2,positive\n" * 3,
        "balanced": "1,g\n" * 900 + "2,h\n" * 800,
    }
    wanted = {}
    for group in (CHOSEN_ON, REPORTED):
        for folder, names in group.items():
            (tmp_path / folder / "raw").mkdir(parents=True, exist_ok=True)
            for name in names:
                (tmp_path / folder / "raw" / f"{name}.dat").write_text(text[folder])
                counts = (3, MANY) if folder == "imbalanced" else (47, 900)
                wanted[name] = (group is CHOSEN_ON, *counts)
    found = {}
    for name, chosen_on, columns, y in keel(tmp_path):
        assert columns.columns == ["f0"]
        assert (columns["f0"].to_numpy() == 2).tolist() == (y == 1).tolist()
        found[name] = (chosen_on, y.sum(), (y == 0).sum())
    assert found == wanted


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
