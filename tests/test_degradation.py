"""The degradation table has to be the same for every reader who runs it with the same seeds."""

import pytest
import torch

from nbsrc import training
from nbsrc.blocks import PlainBlock
from nbsrc.degradation import depth_experiment, error_table, gradient_table, train_one
from nbsrc.digits import load_digits
from nbsrc.gradient_flow import gradient_norms, weights_in_order
from nbsrc.resnet import cifar_resnet
from nbsrc.training import evaluate, fit


@pytest.mark.long
def test_equal_seeds_give_equal_tables_with_any_number_of_workers(monkeypatch):
    arguments = {"depths": (8,), "seeds": (1, 0), "epochs": 1, "device": "cpu"}
    parallel = depth_experiment(**arguments)
    monkeypatch.setattr(training, "cpu_count", lambda: 1)
    alone = depth_experiment(**arguments)
    assert error_table(parallel).equals(error_table(alone))
    assert gradient_table(parallel).equals(gradient_table(alone))
    assert error_table(parallel).select("depth", "kind", "seed").rows() == [
        (8, "plain", 0), (8, "plain", 1), (8, "residual", 0), (8, "residual", 1),
    ]  # fmt: skip


def test_seeds_and_kinds_make_a_difference():
    runs = [train_one(8, kind, seed, epochs=1, device="cpu")
            for kind in ("plain", "residual") for seed in (0, 1)]  # fmt: skip
    assert len({run.net.fc.weight.sum().item() for run in runs}) == 4


def test_a_shallow_net_learns_the_digits():
    run = train_one(8, "residual", 0, epochs=5, device="cpu")
    assert run.train_error < 0.05 and run.test_error < 0.1
    digits = load_digits()
    measured = evaluate(run.net, digits.test_images, digits.test_labels, device="cpu")
    assert run.test_error == 1 - measured["accuracy"]  # the net that comes back is the one measured


def test_gradients_are_recorded_beside_a_training_that_they_do_not_change():
    run = train_one(8, "plain", 0, epochs=2, device="cpu")
    assert list(run.gradients) == [0, 1, 2] and len(run.gradients[0]) == 8
    digits = load_digits()
    torch.manual_seed(0)
    net = cifar_resnet(8, block=PlainBlock, width=8, in_channels=1)
    images, labels = digits.train_images[:128], digits.train_labels[:128]
    norms = gradient_norms(net, images, labels)
    sizes = [weight.norm().item() for weight in weights_in_order(net)]
    assert run.gradients[0] == pytest.approx([n / s for n, s in zip(norms, sizes, strict=True)])
    fit(net, *digits[:2], epochs=2, lr=0.1, seed=0, device="cpu", progress=False)
    for name, value in net.state_dict().items():
        assert torch.equal(value, run.net.state_dict()[name]), name


def test_a_wrong_depth_is_named(monkeypatch):
    monkeypatch.setattr(training, "cpu_count", lambda: 1)
    with pytest.raises(ValueError, match="depth=10"):
        depth_experiment(depths=(10,), seeds=(0,), epochs=1, device="cpu")


def test_digits_are_split_by_class_and_standardised_by_the_training_set():
    digits = load_digits()
    assert len(digits.train_labels) == 1347 and len(digits.test_labels) == 450
    assert abs(digits.train_images.mean()) < 1e-5 and abs(digits.train_images.std() - 1) < 1e-5
    share = digits.train_labels.bincount() / 1347 - digits.test_labels.bincount() / 450
    assert share.abs().max() < 0.005
