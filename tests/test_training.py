"""What `fit` and `evaluate` promise: learning, the same numbers twice, a quiet page, and clear
errors."""

import pytest
import torch
from jupyter_client.manager import start_new_kernel
from torch import Tensor, nn

from nbsrc.digits import load_digits
from nbsrc.training import evaluate, fit, one_cycle, predict, sgd, train_epochs

DIGITS = load_digits()
TRAIN, TEST = (DIGITS.train_images, DIGITS.train_labels), (DIGITS.test_images, DIGITS.test_labels)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1),
        nn.Conv2d(8, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(144, 10),
    )  # fmt: skip


def shift(batch: Tensor, generator: torch.Generator) -> Tensor:
    return batch.roll(int(torch.randint(-1, 2, (), generator=generator)), dims=3)


def test_training_lowers_the_loss_and_classifies_unseen_digits():
    rows = fit(small_net(), *TRAIN, epochs=3, batch_size=64, seed=0, device="cpu", validation=TEST)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[0]["train_loss"] > 2 * rows[-1]["train_loss"]
    assert rows[-1]["validation_accuracy"] > 0.9
    assert rows[-1]["train_accuracy"] > 0.9


def test_equal_seeds_give_equal_numbers_and_weights_and_another_seed_others():
    def run(seed: int, *, drawn_before: int = 0) -> tuple[list[dict[str, float]], list[Tensor]]:
        net = small_net()
        torch.rand(drawn_before)
        rows = fit(
            net,
            *TRAIN,
            epochs=2,
            batch_size=64,
            seed=seed,
            device="cpu",
            validation=TEST,
            augment=shift,
        )
        return rows, list(net.state_dict().values())

    (rows, weights), (again, weights_again), (other, _) = run(0), run(0, drawn_before=5), run(1)
    assert rows == again
    assert all(torch.equal(a, b) for a, b in zip(weights, weights_again, strict=True))
    assert rows != other


def test_training_leaves_the_callers_random_numbers_alone():
    net = small_net()
    state = torch.get_rng_state()
    fit(net, *TRAIN, epochs=1, seed=0, device="cpu")
    assert torch.equal(torch.get_rng_state(), state)


def test_training_goes_on_after_an_epoch_as_if_never_interrupted():
    def rows(start: int, net: nn.Module, optimizer: torch.optim.Optimizer):
        return train_epochs(
            net, optimizer, *TRAIN, epochs=3, batch_size=64, lr=0.1, schedule=one_cycle, seed=0,
            device=torch.device("cpu"), augment=shift, start_epoch=start,
        )  # fmt: skip

    net = small_net()
    optimizer = sgd(net, lr=0.1, momentum=0.9, weight_decay=1e-4)
    whole = list(rows(0, net, optimizer))

    half = small_net()
    half_optimizer = sgd(half, lr=0.1, momentum=0.9, weight_decay=1e-4)
    first = next(rows(0, half, half_optimizer))
    resumed = small_net()
    resumed.load_state_dict(half.state_dict())
    resumed_optimizer = sgd(resumed, lr=0.1, momentum=0.9, weight_decay=1e-4)
    resumed_optimizer.load_state_dict(half_optimizer.state_dict())
    assert [first, *rows(1, resumed, resumed_optimizer)] == whole


def test_one_cycle_is_torchs_schedule():
    steps, optimizer = 40, sgd(nn.Linear(1, 1), lr=1.0, momentum=0.9, weight_decay=0.0)
    # torch's rise ends at step pct_start * total_steps - 1 and its fall at total_steps - 1.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=steps + 1,
        pct_start=(0.3 * steps + 1) / (steps + 1),
        cycle_momentum=False,
    )
    assert one_cycle(0) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
    optimizer.step()
    for step in range(1, steps + 1):
        schedule.step()
        assert one_cycle(step / steps) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)


def test_every_image_is_seen_once_an_epoch_and_no_batch_is_too_small_for_batchnorm():
    seen: list[Tensor] = []

    def record(batch: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(batch[:, 0].clone())
        return batch

    inputs, targets = torch.arange(129.0).view(-1, 1), torch.arange(129) % 2
    net = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))
    fit(net, inputs, targets, epochs=2, batch_size=128, seed=0, device="cpu", augment=record)
    assert [len(batch) for batch in seen] == [65, 64, 65, 64]
    first, second = torch.cat(seen[:2]), torch.cat(seen[2:])
    assert torch.equal(first.sort().values, inputs[:, 0])
    assert torch.equal(second.sort().values, inputs[:, 0])
    assert not torch.equal(first, second)


def test_evaluation_measures_in_eval_mode_and_leaves_every_mode_as_it_was():
    net = small_net()
    net[1].eval()  # a frozen layer in a net that trains
    modes = [module.training for module in net.modules()]
    measured = evaluate(net, *TEST, batch_size=100, device="cpu")
    assert [module.training for module in net.modules()] == modes
    net.eval()
    with torch.no_grad():
        logits = net(TEST[0])
    assert measured["loss"] == pytest.approx(
        nn.functional.cross_entropy(logits, TEST[1]).item(), rel=1e-5
    )
    assert measured["accuracy"] == pytest.approx(
        (logits.argmax(1) == TEST[1]).float().mean().item()
    )
    torch.testing.assert_close(predict(net, TEST[0], batch_size=7, device="cpu"), logits)


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "message"),
    [
        (torch.ones(3, 1), torch.ones(2), {}, r"len\(inputs\)=3, len\(targets\)=2"),
        (torch.ones(0, 1), torch.ones(0), {}, "empty"),
        (torch.ones(2, 1), torch.ones(2), {"epochs": 0}, "epochs=0"),
        (torch.ones(2, 1), torch.ones(2), {"batch_size": 0}, "batch_size=0"),
        (
            torch.ones(2, 1),
            torch.ones(2),
            {"validation": (torch.ones(1, 1), torch.ones(4))},
            r"len\(targets\)=4",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_named(inputs, targets, options, message):
    with pytest.raises(ValueError, match=message):
        fit(
            nn.Linear(1, 2),
            inputs,
            targets,
            **({"epochs": 1, "seed": 0, "device": "cpu"} | options),
        )


def test_a_progress_bar_is_shown_in_a_notebook_and_not_in_a_built_page():
    """The build runs a kernel that may not ask for input; a reader's notebook may."""
    code = """
import torch
from nbsrc.training import fit
x, y = torch.ones(64, 1), torch.ones(64)
fit(torch.nn.Linear(1, 2), x, y, epochs=1, batch_size=1, seed=0, device="cpu");
"""
    manager, client = start_new_kernel()
    try:
        printed = {}
        for reader in (False, True):
            streams: list[str] = []
            client.execute_interactive(
                code,
                allow_stdin=reader,
                timeout=120,
                output_hook=lambda message, streams=streams: streams.append(
                    str(message["content"].get("text"))
                ),
            )
            printed[reader] = "".join(streams)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "step" not in printed[False]
    assert "epoch 1/1" in printed[True]
