"""Pre-training: what is hidden stays hidden, later events stay unseen, and a run can be repeated
and resumed."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tqdm import tqdm

from benchmarks import lengths
from nbsrc import training
from nbsrc.selfsupervised import pretraining
from nbsrc.selfsupervised.batches import batches, for_batches
from nbsrc.selfsupervised.inference import column_nll
from nbsrc.selfsupervised.model import masked_model
from nbsrc.selfsupervised.pretraining import (
    both_losses,
    exhausted,
    pretrain,
    split_by_time,
    train_epoch,
    validation_loss,
)
from nbsrc.support.tensors import read_tensors
from nbsrc.tabular.encoded import rows_of
from nbsrc.training import one_cycle


def small_model(encoded, *, seed=0, **network):
    return masked_model(encoded, seed=seed, **({"d_block": 16} | network)).eval()


def nll(model, encoded):
    return torch.cat(for_batches(column_nll, model, encoded))


@pytest.fixture(scope="module")
def events(small_events):
    return small_events(1200, seed=0)[0]


def same_weights(a, b):
    return all(
        torch.equal(p, q)
        for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_a_hidden_object_cannot_be_read(events):
    """A field's likelihood must not depend on its own object's values, its twin's included: only on
    other objects."""
    model = small_model(events)
    before = nll(model, events)
    changed = events.categorical.copy()
    changed[:, 1] = 2 + (changed[:, 1] + 3) % 20  # actor.user.uid, the twin of actor.user.name
    after = nll(model, replace(events, categorical=changed))
    name, uid, host = (
        model.names.index(n) for n in ("actor.user.name", "actor.user.uid", "src_endpoint.ip")
    )
    exactly = {"rtol": 0, "atol": 1e-5}  # the object's part is taken out of a sum: rounding remains
    torch.testing.assert_close(before[:, name], after[:, name], **exactly)
    assert not torch.equal(before[:, uid], after[:, uid])
    assert not torch.allclose(before[:, host], after[:, host])
    hours = events.numeric.copy()
    hours[:, 1] += 1  # the sine of the hour must not tell its cosine
    after = nll(model, replace(events, numeric=hours))
    torch.testing.assert_close(before[:, 2], after[:, 2], **exactly)


def test_pretraining_learns_who_does_what(events):
    """Fields become likelier than by their own frequencies: the network uses the other fields."""
    model = small_model(events, d_block=32)
    history = pretrain(model, events, epochs=25, seed=0, batch_size=64, device="cpu", patience=25)
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    past, recent = split_by_time(events.time, 0.15)
    learned = nll(model, rows_of(events, recent))
    for column in (2, 4):  # the host from the user; the operation from the rest
        counts = (
            np.bincount(events.categorical[past, column], minlength=events.cardinalities[column])
            + 1
        )
        frequency = -np.log(counts / counts.sum())[events.categorical[recent, column]].mean()
        assert learned[:, len(events.numeric_names) + column].mean() < frequency - 0.5


def test_later_events_do_not_reach_the_weights(events):
    """The last events by time, wherever they stand in the file, are for validation only."""
    shuffle = np.random.default_rng(1).permutation(len(events.time))
    past, recent = split_by_time(events.time[shuffle], 0.15)
    assert events.time[shuffle][past].max() < events.time[shuffle][recent].min()
    changed = events.categorical.copy()
    changed[split_by_time(events.time, 0.15)[1]] = 2
    runs = []
    for encoded in (events, replace(events, categorical=changed)):
        model = small_model(encoded)
        runs.append(
            [
                row["train_loss"]
                for row in pretrain(model, encoded, epochs=2, seed=0, patience=9, device="cpu")
            ]
        )
    assert runs[0] == runs[1]


def test_equal_seeds_give_equal_models_and_leave_the_random_state_alone(events):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    models, histories = [], []
    for seed in (3, 3, 4):
        models.append(small_model(events))
        torch.random.set_rng_state(state)
        histories.append(pretrain(models[-1], events, epochs=2, seed=seed, device="cpu"))
        assert torch.equal(torch.random.get_rng_state(), state)
    assert histories[0] == histories[1] != histories[2]
    assert same_weights(models[0], models[1]) and not same_weights(models[0], models[2])


def test_categories_too_rare_among_the_past_events_are_unseen_ones(events, monkeypatch):
    categorical = events.categorical.copy()
    categorical[categorical[:, 4] == 9, 4] = 8
    categorical[[100, 1190, 1191], 4] = 9  # an operation that occurs once, and twice later
    model = small_model(events)
    monkeypatch.setattr(pretraining, "default_device", lambda: "cpu")
    pretrain(model, replace(events, categorical=categorical), epochs=1, seed=0)
    row = torch.tensor(categorical[99:102])
    assert model.common(row)[:, 4].tolist() == [categorical[99, 4], 1, categorical[101, 4]]


def test_chance_hides_and_replaces_their_shares_and_the_losses_are_weighed(events, monkeypatch):
    model, asked = small_model(events), {}

    def told(name, value):
        def loss(numeric, categorical, chosen, **options):
            asked[name] = chosen, options
            assert torch.equal(numeric, x) and torch.equal(categorical, c)
            return torch.tensor(value)

        monkeypatch.setattr(model, name, loss)

    told("masked_loss", 5.0)
    told("replaced_loss", 3.0)
    x, c = (part.repeat(9, 1) for part in next(batches(model, events)))
    assert both_losses(model, x, c) == 5.0 + 0.5 * 3.0
    (masked, options), (replaced, none) = asked["masked_loss"], asked["replaced_loss"]
    assert masked.shape == replaced.shape == (len(x), len(model.objects))
    assert masked.float().mean().item() == pytest.approx(0.35, abs=0.01)
    assert replaced.float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert (masked & replaced).float().mean().item() == pytest.approx(0.35 * 0.3, abs=0.01)
    assert options == {"trimmed": 0.03} and none == {}


def test_an_epoch_steps_through_all_past_events_in_an_order_of_its_own(events):
    past = torch.tensor(events.numeric[:205]), torch.tensor(events.categorical[:205])
    model, twin = small_model(events), small_model(events)
    rates = [0.1, 0.01, 0.001]

    def adam(model):
        return torch.optim.AdamW(model.parameters(), lr=9.0, fused=True)

    optimizer, state = adam(model), torch.random.get_rng_state()
    with tqdm(total=9, disable=False, file=io.StringIO()) as bar:
        loss = train_epoch(model, optimizer, past, rates, seed=(4, 2), bar=bar)
        assert bar.n == 3
    assert torch.equal(state, torch.random.get_rng_state()) and model.training
    assert optimizer.param_groups[0]["lr"] == 0.001

    optimizer, losses = adam(twin), []
    twin.train()
    torch.manual_seed(int(np.random.SeedSequence([4, 2]).generate_state(1)[0]))
    order = torch.randperm(205)
    for rows, rate in zip((order[:69], order[69:137], order[137:]), rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        step = both_losses(twin, past[0][rows], past[1][rows])
        step.backward()
        optimizer.step()
        losses.append(step.item() * len(rows))
    assert same_weights(model, twin)
    assert loss == pytest.approx(sum(losses) / 205, rel=1e-5)


def test_the_validation_loss_is_the_mean_surprise_of_an_event_without_dropout(events):
    model = small_model(events).train()
    recent = torch.tensor(events.numeric), torch.tensor(events.categorical)
    wanted = nll(model, events).sum(1).mean().item()
    assert validation_loss(model.train(), recent) == pytest.approx(wanted, rel=1e-5)


def test_the_later_share_by_time_is_held_out_and_never_all_or_none():
    past, recent = split_by_time(np.array([5, 1, 3, 1, 9, 2]), 0.34)
    assert (past.tolist(), recent.tolist()) == ([1, 3, 5, 2], [0, 4])  # the file's order in a tie
    times = np.random.default_rng(0).integers(3, size=1000)
    order = sorted(range(1000), key=times.__getitem__)  # stable
    assert np.concatenate(split_by_time(times, 0.5)).tolist() == order
    for share, held_out in ((0.01, 1), (0.99, 5), (0.41, 2)):
        assert len(split_by_time(np.arange(6), share)[1]) == held_out


def test_patience_ends_when_the_loss_has_not_fallen_for_that_many_epochs():
    def rows(*losses):
        return [{"validation_loss": loss} for loss in losses]

    assert not exhausted([], 1) and not exhausted(rows(3.0), 1)
    assert exhausted(rows(3.0, 2.0, 2.5), 1) and not exhausted(rows(3.0, 2.0, 2.5), 2)
    assert exhausted(rows(2.0, 2.0, 2.0), 2)  # as low is no fall


def test_rates_follow_one_cycle_and_grow_with_the_root_of_the_batch(events, monkeypatch):
    taken = []

    def epoch(model, optimizer, past, rates, *, seed, bar):
        assert len(past[0]) == 1020
        taken.append((rates, seed, bar.total))
        assert optimizer.param_groups[0]["weight_decay"] == decay
        assert {id(p) for p in model.parameters()} == {
            id(p) for p in optimizer.param_groups[0]["params"]
        }
        return 1.0

    monkeypatch.setattr(pretraining, "train_epoch", epoch)
    monkeypatch.setattr(pretraining, "default_device", lambda: "cuda:9")  # another is given
    options = {"epochs": 2, "seed": 7, "batch_size": 500, "lr": 0.3, "device": "cpu"}
    decay = 0.5
    history = pretrain(small_model(events), events, weight_decay=decay, **options)
    highest = 0.3 * math.sqrt(500 / 256)
    wanted = [highest * one_cycle(step / 4) for step in range(4)]
    assert [rates for rates, *_ in taken] == [pytest.approx(wanted[:2]), pytest.approx(wanted[2:])]
    assert [rest for _, *rest in taken] == [[(7, 0), 4], [(7, 1), 4]]
    assert [row["lr"] for row in history] == pytest.approx([wanted[1], wanted[3]])
    assert [row["epoch"] for row in history] == [1, 2]
    assert [row["train_loss"] for row in history] == [1.0, 1.0]
    taken.clear()
    decay = 1e-5
    pretrain(small_model(events), events, epochs=1, seed=0, batch_size=1021, device="cpu")
    default = 0.04 * math.sqrt(1021 / 256)
    assert taken[0][0] == pytest.approx([default * one_cycle(0)])  # one step at least


def scripted(monkeypatch, losses):
    """Training whose n-th epoch makes every weight n, with validation losses as given."""

    def epoch(model, optimizer, past, rates, *, seed, bar):
        epoch.done += 1
        assert bar.disable or bar.n == seed[1] * len(rates)
        bar.update(len(rates))
        with torch.no_grad():
            for weight in model.parameters():
                weight.fill_(epoch.done)
        return 0.0

    epoch.done = 0
    monkeypatch.setattr(pretraining, "train_epoch", epoch)
    left = iter(losses)
    monkeypatch.setattr(pretraining, "validation_loss", lambda model, recent: next(left))


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [
        ([5, 4, 6, 6, 6, 6], 3, 5, 2),
        ([5, 4, 6, 6], 3, 4, 2),
        ([5, 4, 4, 3], 1, 3, 3),
        ([5, 6, 4], 9, 3, 3),
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(
    events, monkeypatch, losses, patience, epochs, best
):
    scripted(monkeypatch, losses)
    model = small_model(events).train()
    history = pretrain(model, events, epochs=len(losses), seed=0, patience=patience, device="cpu")
    assert [row["validation_loss"] for row in history] == losses[:epochs]
    assert {weight.unique().item() for weight in model.parameters()} == {best}
    assert not model.training


def test_training_that_came_to_no_number_leaves_the_weights_as_they_were(events, monkeypatch):
    scripted(monkeypatch, [math.nan, math.nan])
    model = small_model(events)
    pretrain(model, events, epochs=2, seed=0, device="cpu")
    weights = zip(model.parameters(), small_model(events).parameters(), strict=True)
    assert all(torch.equal(now, before) for now, before in weights)


def test_the_state_is_saved_after_each_epoch_and_taken_up_from_there(events, monkeypatch, tmp_path):
    monkeypatch.setattr(pretraining, "watched", lambda: True)
    checkpoint = tmp_path / "run.safetensors"
    options = {"seed": 0, "epochs": 3, "device": "cpu", "checkpoint": checkpoint}
    scripted(monkeypatch, [3, 2])
    with pytest.raises((StopIteration, RuntimeError)):
        pretrain(small_model(events), events, **options)
    tensors, about = read_tensors(checkpoint)
    assert [row["validation_loss"] for row in about["history"]] == [3, 2]
    assert tensors["model.mask_vectors"].unique() == tensors["best.mask_vectors"].unique() == 2
    scripted(monkeypatch, [5])
    model = small_model(events)
    history = pretrain(model, events, **options)
    assert [row["validation_loss"] for row in history] == [3, 2, 5]
    assert model.mask_vectors.unique() == 2  # the best weights are those of the first process


def test_progress_is_shown_where_somebody_watches(events, monkeypatch, capsys):
    monkeypatch.setattr(pretraining, "watched", lambda: True)
    for silent in ({}, {"progress": False}):
        scripted(monkeypatch, [2, 1])
        options = {"epochs": 2, "seed": 0, "batch_size": 500, "device": "cpu"}
        pretrain(small_model(events), events, **options, **silent)
        told = capsys.readouterr().err
        shown = "epoch 2/2" in told and "4/4" in told and re.search(r"[\d?]step/s", told)
        assert not told if silent else shown
    monkeypatch.setattr(pretraining, "watched", lambda: False)
    scripted(monkeypatch, [2, 1])
    pretrain(small_model(events), events, **options)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("after", [1, 3])
def test_interrupted_and_resumed_training_equals_uninterrupted(
    events, tmp_path, monkeypatch, after
):
    whole = small_model(events)
    expected = pretrain(whole, events, epochs=4, seed=0, device="cpu")

    def interrupted(path, model, optimizer, best, history, run):
        save(path, model, optimizer, best, history, run)
        if len(history) == after:
            raise KeyboardInterrupt

    save = pretraining.save_checkpoint
    monkeypatch.setattr(pretraining, "save_checkpoint", interrupted)
    options = {"epochs": 4, "seed": 0, "device": "cpu", "checkpoint": tmp_path / "run.safetensors"}
    with pytest.raises(KeyboardInterrupt):
        pretrain(small_model(events), events, **options)
    monkeypatch.undo()
    resumed = small_model(events, seed=99)  # its weights come from the checkpoint
    assert pretrain(resumed, events, **options) == expected
    assert same_weights(resumed, whole)


def test_a_checkpoint_of_another_run_is_refused(events, monkeypatch, tmp_path):
    scripted(monkeypatch, [1] * 9)
    options = {
        "epochs": 1, "seed": 0, "batch_size": 256, "lr": 0.04, "weight_decay": 1e-5,
        "validation": 0.15, "patience": 3,
    }  # fmt: skip
    given = {"device": "cpu", "checkpoint": str(tmp_path / "run.safetensors")}
    pretrain(small_model(events), events, epochs=1, seed=0, **given)  # the rest are defaults
    for name, value in options.items():
        pretrain(small_model(events), events, **given, **options)
        other = options | {name: value * 2 or 1}
        told = f"of another run: {name} is {value} there, however: {other[name]} here"
        with pytest.raises(ValueError, match=told):
            pretrain(small_model(events), events, **given, **other)
    for name in ("numeric", "categorical", "time"):
        array = getattr(events, name).copy()
        array[0] += 1 if name != "categorical" else array[0] < 3
        with pytest.raises(ValueError, match="of another run: events"):
            pretrain(small_model(events), replace(events, **{name: array}), **given, **options)


def test_events_that_cannot_be_learned_from_are_refused_by_name(events):
    model = small_model(events)

    def refused(message, encoded=events, **options):
        with pytest.raises(ValueError, match=message):
            pretrain(model, encoded, **({"epochs": 1, "seed": 0, "device": "cpu"} | options))

    other = replace(events, cardinalities=(*events.cardinalities[:-1], 9))
    refused("status has 9 categories, however: the model has 4", other)
    refused("too few events to learn from: 39, and at least 40", rows_of(events, np.arange(39)))
    pretrain(model, rows_of(events, np.arange(40)), epochs=1, seed=0, device="cpu")
    hole = events.numeric.copy()
    hole[3, 0] = np.nan
    refused("traffic.bytes holds a value that is not finite", replace(events, numeric=hole))
    for option in ({"epochs": 0}, {"batch_size": 1}, {"validation": 0.0}, {"validation": 1.0}):
        ((name, value),) = option.items()
        refused(f"training needs an epoch.*{name}={value}", **option)
    pretrain(model, rows_of(events, np.arange(100)), epochs=1, seed=0, batch_size=2, device="cpu")


def test_each_run_has_a_schedule_of_its_own_length(monkeypatch, small_events):
    encoded, _ = small_events(300, seed=0)
    told = []

    def learn(model, events, *, epochs, seed, patience, device, progress):
        told.append((epochs, seed, model.mask_vectors[0, 0].item()))
        assert events is encoded and not progress and patience == epochs
        assert torch.get_num_threads() == 1
        return [{"validation_loss": 9.0}, {"validation_loss": 1.0 * epochs + seed}]

    monkeypatch.setattr(lengths, "pretrain", learn)
    monkeypatch.setattr(training, "cpu_count", lambda: 1)
    table = lengths.losses_by_length(encoded, (3, 1), (0, 1))
    assert table.rows() == [(1, 0, 1.0), (1, 1, 2.0), (3, 0, 3.0), (3, 1, 4.0)]
    assert len({first for *_, first in told}) == 2  # the seed's weights, whatever the length
