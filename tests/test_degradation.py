"""The degradation table has to be the same for every reader who runs it with the same seeds."""

import pytest

from nbsrc import training
from nbsrc.degradation import depth_experiment, train_one
from nbsrc.digits import load_digits


def test_equal_seeds_give_equal_tables_with_any_number_of_workers(monkeypatch):
    arguments = {"depths": (8,), "seeds": (0, 1), "epochs": 1, "device": "cpu"}
    parallel = depth_experiment(**arguments)
    monkeypatch.setattr(training, "cpu_count", lambda: 1)
    assert parallel.equals(depth_experiment(**arguments))
    assert parallel.columns == ["depth", "kind", "seed", "train_loss", "train_error", "test_error"]
    assert parallel.select("depth", "kind", "seed").rows() == [
        (8, "plain", 0), (8, "plain", 1), (8, "residual", 0), (8, "residual", 1),
    ]  # fmt: skip


def test_seeds_and_kinds_make_a_difference():
    losses = {train_one(8, kind, seed, epochs=1, device="cpu")["train_loss"]
              for kind in ("plain", "residual") for seed in (0, 1)}  # fmt: skip
    assert len(losses) == 4


def test_a_shallow_net_learns_the_digits():
    row = train_one(8, "residual", 0, epochs=5, device="cpu")
    assert row["train_error"] < 0.05 and row["test_error"] < 0.1


def test_a_wrong_depth_is_named():
    with pytest.raises(ValueError, match="depth=10"):
        depth_experiment(depths=(10,), seeds=(0,), epochs=1, device="cpu")


def test_digits_are_split_by_class_and_standardised_by_the_training_set():
    digits = load_digits()
    assert len(digits.train_labels) == 1347 and len(digits.test_labels) == 450
    assert abs(digits.train_images.mean()) < 1e-5 and abs(digits.train_images.std() - 1) < 1e-5
    share = digits.train_labels.bincount() / 1347 - digits.test_labels.bincount() / 450
    assert share.abs().max() < 0.005
