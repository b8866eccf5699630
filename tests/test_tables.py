"""What the chapter says of the skip on tables, and of methods tuned alike, rests on fair
experiments."""

from functools import partial

import numpy as np
import polars as pl
import pytest
import torch

from nbsrc.events.flatten import flatten
from nbsrc.simulation.stream import simulate_events
from nbsrc.support.results import read_result
from nbsrc.tables import __main__ as command
from nbsrc.tables import comparison as compared
from nbsrc.tables import depth
from nbsrc.tables.comparison import METHODS, comparison, tuned
from nbsrc.tables.depth import KINDS, depth_experiment, network, train_one
from nbsrc.tables.tasks import Part, Task, next_activity_of, public


def small_task(seed: int = 0) -> Task:
    """Two classes on either side of a plane, in four columns."""
    rng = np.random.default_rng(seed)

    def part(n: int) -> Part:
        rows = rng.normal(size=(n, 4)).astype(np.float32)
        return Part(torch.from_numpy(rows), torch.from_numpy((rows[:, 0] > rows[:, 1]).astype(int)))

    return Task(4, (), 2, part(256), part(64), part(128))


def test_the_parts_of_a_public_table_share_no_row_and_are_scaled_by_the_first():
    task = public("digits", seed=3)
    sizes = [len(part.targets) for part in (task.train, task.validation, task.test)]
    assert sum(sizes) == 1797 and sizes[0] == pytest.approx(0.6 * 1797, abs=2)
    assert task.train.inputs.mean(0).abs().max() < 1e-5
    assert task.test.inputs.mean(0).abs().max() > 1e-3
    assert not torch.equal(task.train.targets, public("digits", seed=4).train.targets)
    assert public("breast cancer", seed=0).n_numeric == 30


def test_what_a_person_does_next_is_told_from_the_past_alone():
    simulated, _ = simulate_events(3000, seed=1)
    rows = flatten(pl.DataFrame(simulated, infer_schema_length=None, strict=False)).sort("time")
    task = next_activity_of(rows)
    # a slow and plain way to the targets of the last part
    who = (rows["actor.user.name"].to_list(), rows["user.name"].to_list())
    person = [a or b for a, b in zip(*who, strict=True)]
    kinds, cut = rows["type_uid"].to_list(), int(0.7 * rows.height)
    following = [
        next((kinds[j] for j in range(i + 1, rows.height) if person[j] == person[i]), None)
        for i in range(cut, rows.height)
        if person[i]
    ]
    first = rows[: int(0.6 * rows.height)]
    known = set(first["type_uid"])
    wanted = [kind for kind in following if kind in known]
    assert abs(len(task.test.targets) - len(wanted)) < 0.01 * len(wanted)
    share = np.bincount(task.test.targets, minlength=task.classes) / len(task.test.targets)
    counts = np.array([wanted.count(kind) for kind in sorted(known)]) / len(wanted)
    assert np.sort(share)[::-1][:5] == pytest.approx(np.sort(counts)[::-1][:5], abs=0.02)
    # The future changes nothing that the net is trained on.
    earlier = next_activity_of(
        pl.concat([rows[:cut], rows[cut:].with_columns(pl.lit(1, pl.Int64).alias("type_uid"))])
    )
    assert torch.equal(earlier.train.inputs, task.train.inputs)
    assert torch.equal(earlier.train.targets, task.train.targets)


def test_both_kinds_start_from_equal_weights_and_differ_by_the_skip_alone():
    task = small_task()
    plain, residual = (network(task, 3, kind, seed=5).eval() for kind in KINDS)
    for ours, theirs in zip(plain.parameters(), residual.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    x = torch.randn(6, depth.WIDTH)
    for without, block in zip(plain.net.blocks, residual.net.blocks, strict=True):
        assert torch.allclose(without(x), block(x) - x, atol=1e-5)


def test_a_run_measures_the_gradient_at_the_first_and_the_last_block():
    task = small_task()
    net = network(task, 2, "plain", seed=0)
    loss = torch.nn.functional.cross_entropy(net(task.train.inputs[:512]), task.train.targets[:512])
    loss.backward()
    first, last = (net.net.blocks[i].block.linear1.weight.grad.norm() for i in (0, 1))
    row = train_one(task, 2, "plain", 0, 1e-3, 2)
    assert row["first_before"] == pytest.approx(first.item(), rel=1e-4)
    assert row["last_before"] == pytest.approx(last.item(), rel=1e-4)
    assert row["first_after"] != row["first_before"]


def test_the_learning_rate_is_chosen_on_a_task_that_is_not_reported(monkeypatch):
    seen, losses = [], {3e-4: 3.0, 1e-3: 1.0, 3e-3: 2.0}

    def pretend(task, blocks, kind, seed, rate, steps):
        seen.append((seed, rate))
        return {"validation_loss": losses[rate]}

    monkeypatch.setattr(depth, "train_one", pretend)
    monkeypatch.setattr(depth, "side_by_side", lambda calls, _: [f(*a, **k) for f, a, k in calls])
    made = []
    table = depth_experiment(lambda seed: made.append(seed), blocks=(1,), seeds=(0, 1))
    assert made == [depth.TUNING_SEED, 0, 1]
    assert {seed for seed, rate in seen if rate != 1e-3} == {depth.TUNING_SEED}
    assert table["rate"].unique().to_list() == [1e-3] and table.height == 4


def test_every_method_learns_and_is_given_equally_many_trials(monkeypatch):
    monkeypatch.setattr(compared, "STEPS", 20)
    for name, method in METHODS.items():
        drawn = []
        counted = method._replace(
            draw=lambda rng, m=method, d=drawn: d.append(m.draw(rng)) or d[-1]
        )
        monkeypatch.setitem(METHODS, name, counted)
        row = tuned(name, small_task(), 0, 3)
        assert len(drawn) == 3 and row["error"] < 0.25 and row["loss"] < 0.6, name


def test_the_choice_among_trials_does_not_see_the_test_part():
    task = small_task()
    other = task._replace(test=Part(task.test.inputs, 1 - task.test.targets))
    ours, theirs = (tuned("linear", own, 0, 4) for own in (task, other))
    assert ours["settings"] == theirs["settings"]
    assert ours["error"] == pytest.approx(1 - theirs["error"])


def test_the_comparison_has_a_row_for_each_method_and_seed(monkeypatch):
    monkeypatch.setattr(compared, "STEPS", 2)
    monkeypatch.setattr(
        compared, "side_by_side", lambda calls, _: [f(*a, **k) for f, a, k in calls]
    )
    table = comparison(small_task, seeds=(0, 1), trials=1)
    assert table.select("method", "seed").rows() == [(m, s) for m in METHODS for s in (0, 1)]
    assert table["cpu_seconds"].min() >= 0 and table.filter(seed=0)["settings"].n_unique() >= 3


def test_the_command_stores_its_runs_with_what_made_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.TASKS, "digits", (lambda seed: small_task(seed), "a small table"))
    monkeypatch.setattr(command, "BLOCKS", (1, 2))
    monkeypatch.setattr(command, "depth_experiment", partial(depth_experiment, steps=3))
    monkeypatch.setattr(depth, "side_by_side", lambda calls, _: [f(*a, **k) for f, a, k in calls])
    monkeypatch.setattr(depth, "RATES", (1e-3,))
    out = tmp_path / "depth.json"
    assert command.main(["depth", "--task", "digits", "--seeds", "1", "--out", str(out)]) == 0
    rows, about = read_result(out)
    assert about["data"] == "a small table" and "--task digits" in about["command"]
    assert rows["blocks"].to_list() == [1, 1, 2, 2]
    for arguments, message in [
        (["depth", "--task", "digits", "--seeds", "0", "--out", str(out)], "--seeds 0"),
        (["depth", "--task", "digits", "--out", str(tmp_path / "no" / "x.json")], "no folder"),
        (["comparison", "--task", "events", "--out", str(out)], "numeric columns only"),
    ]:
        assert command.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
