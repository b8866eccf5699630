"""Pre-training: what is hidden stays hidden, later events stay unseen, and a run can be repeated
and resumed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from nbsrc.selfsupervised import pretraining
from nbsrc.selfsupervised.batches import batches, for_batches
from nbsrc.selfsupervised.inference import column_nll
from nbsrc.selfsupervised.model import SMALLEST_SCALE, FieldsHead, MaskedModel, masked_model
from nbsrc.selfsupervised.pretraining import pretrain, split_by_time
from nbsrc.selfsupervised.storage import load_model, save_model
from nbsrc.support.tensors import read_tensors, write_tensors
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


def test_training_and_scoring_see_the_same_hidden_event(events):
    """The short way to score (take the hidden objects out of the projection) equals hiding it as
    training does."""
    model = small_model(events)
    x, c = next(batches(model, events))
    scores = nll(model, events)
    for i, columns in enumerate(model.columns):
        masked = (torch.arange(len(model.objects)) == i).expand(len(x), -1)
        torch.testing.assert_close(
            model.masked_loss(x, c, masked), scores[: len(x), columns].mean(), rtol=1e-4, atol=1e-5
        )


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


def test_the_learning_rate_grows_with_the_root_of_the_batch(events):
    few, many = (
        pretrain(
            small_model(events), events, epochs=1, seed=0, batch_size=size, lr=0.01, device="cpu"
        )[0]["lr"]
        for size in (60, 240)
    )  # 17 and 4 steps of 1020 events; the last one's rate is reported
    wanted = (
        0.01 * math.sqrt(60 / 256) * one_cycle(16 / 17),
        0.01 * math.sqrt(240 / 256) * one_cycle(3 / 4),
    )
    assert (few, many) == pytest.approx(wanted)


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


@pytest.mark.parametrize("after", [1, 3])
def test_interrupted_and_resumed_training_equals_uninterrupted(
    events, tmp_path, monkeypatch, after
):
    whole = small_model(events)
    expected = pretrain(whole, events, epochs=4, seed=0, device="cpu")

    def interrupted(*args):
        save(*args)
        if len(args[-2]) == after:  # the history
            raise KeyboardInterrupt

    save = pretraining.save_checkpoint
    monkeypatch.setattr(pretraining, "save_checkpoint", interrupted)
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrain(small_model(events), events, epochs=4, seed=0, device="cpu", checkpoint=checkpoint)
    monkeypatch.undo()
    resumed = small_model(events, seed=99)  # its weights come from the checkpoint
    assert (
        pretrain(resumed, events, epochs=4, seed=0, device="cpu", checkpoint=checkpoint) == expected
    )
    assert same_weights(resumed, whole)


def test_a_checkpoint_of_another_run_is_refused(events, small_events, tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    pretrain(small_model(events), events, epochs=1, seed=0, device="cpu", checkpoint=checkpoint)
    with pytest.raises(ValueError, match="of another run: seed is 0 there, however: 1 here"):
        pretrain(small_model(events), events, epochs=1, seed=1, device="cpu", checkpoint=checkpoint)
    other = small_events(1200, seed=7)[0]
    with pytest.raises(ValueError, match="of another run: events"):
        pretrain(small_model(other), other, epochs=1, seed=0, device="cpu", checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(ValueError, match="is damaged"):
        pretrain(small_model(events), events, epochs=1, seed=0, device="cpu", checkpoint=checkpoint)


def test_the_best_epoch_is_the_one_that_is_kept(events):
    """Training that gets worse stops after `patience` epochs and goes back to its best weights."""
    model = small_model(events, d_block=64)
    history = pretrain(
        model, events, epochs=40, seed=0, lr=0.1, batch_size=16, patience=2, device="cpu"
    )
    losses = [row["validation_loss"] for row in history]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1 == best + 2 < 39
    _, recent = split_by_time(events.time, 0.15)
    assert nll(model, rows_of(events, recent)).sum(1).mean().item() == pytest.approx(
        losses[best], rel=1e-5
    )


def test_categories_too_rare_to_learn_are_unseen_ones(events):
    categorical = events.categorical.copy()
    categorical[100, 4] = 9  # an operation that occurs once
    categorical[categorical[:, 4] == 9, 4] = 8
    categorical[100, 4] = 9
    model = small_model(events)
    pretrain(model, replace(events, categorical=categorical), epochs=1, seed=0, device="cpu")
    row = torch.tensor(categorical[99:102])
    row[0, 2] = 0
    assert model.common(row)[:, 4].tolist() == [categorical[99, 4], 1, categorical[101, 4]]
    assert model.common(row)[0, 2] == 0  # missing stays missing, though it never occurred


def test_what_a_head_says_is_a_likelihood_and_sure_heads_are_not_surprised_by_a_last_digit():
    head = FieldsHead(4, numeric=[0], categorical=[0, 1], cardinalities=[3, 2])
    embedding, categories = (
        torch.randn(5, 4),
        torch.tensor([[0, 1], [1, 0], [2, 1], [0, 0], [1, 1]]),
    )
    nll = head(embedding, torch.zeros(5, 1), categories)
    logits = head.outputs(embedding)[:, 2:]
    for column, own in enumerate(logits.split([3, 2], 1)):
        wanted = torch.nn.functional.cross_entropy(own, categories[:, column], reduction="none")
        torch.testing.assert_close(nll[:, 1 + column], wanted)
    with torch.no_grad():
        head.outputs.weight[:2], head.outputs.bias[:2] = (
            0,
            torch.tensor([1.0, -50.0]),
        )  # sure that it is 1
    surprise = head(embedding[:3], torch.tensor([[1.0], [1.01], [3.0]]), categories[:3])[:, 0]
    torch.testing.assert_close(surprise, torch.tensor([0.0, 0.01, 2.0]) / SMALLEST_SCALE)


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_events_with_columns_of_one_kind_can_be_learned(events, kind):
    none = {"cardinalities": (), "categorical_names": (), "categorical": events.categorical[:, :0]}
    if kind == "categorical":
        none = {"numeric_names": (), "numeric": events.numeric[:, :0]}
    encoded = replace(events, **none)
    model = small_model(encoded)
    pretrain(model, encoded, epochs=1, seed=0, device="cpu")
    assert nll(model, encoded).isfinite().all()


def test_a_saved_model_scores_as_before_and_holds_no_pickle(events, tmp_path):
    model = small_model(events)
    pretrain(model, events, epochs=1, seed=0, device="cpu")
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    assert torch.equal(nll(load_model(path), events), nll(model, events))
    with safe_open(path, "pt") as file:
        assert "about" in file.metadata()
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    tensors, about = read_tensors(path)
    write_tensors(path, tensors | {"mask_vectors": torch.zeros(99, 1)}, about)
    with pytest.raises(
        ValueError, match=r"model\.safetensors holds no model of this version: train it again"
    ):
        load_model(path)
    path.write_bytes(b"\x80\x04 not safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        load_model(path)


def test_events_that_do_not_fit_are_refused_by_name(events):
    model = small_model(events)
    renamed = replace(events, categorical_names=(*events.categorical_names[:-1], "status_code"))
    with pytest.raises(ValueError, match="other columns than the model: status, status_code"):
        pretrain(model, renamed, epochs=1, seed=0)
    with pytest.raises(ValueError, match="status has 9 categories, however: the model has 4"):
        pretrain(
            model, replace(events, cardinalities=(*events.cardinalities[:-1], 9)), epochs=1, seed=0
        )
    few = rows_of(events, np.arange(9))
    with pytest.raises(ValueError, match="too few events to learn from: 9"):
        pretrain(model, few, epochs=1, seed=0)
    hole = events.numeric.copy()
    hole[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"traffic\.bytes holds a value that is not finite"):
        pretrain(model, replace(events, numeric=hole), epochs=1, seed=0)
    beyond = events.categorical.copy()
    beyond[3, 5] = 40
    with pytest.raises(ValueError, match="status has 4 categories, however: 40 in row 3"):
        pretrain(model, replace(events, categorical=beyond), epochs=1, seed=0)
    with pytest.raises(ValueError, match="epochs=0"):
        pretrain(model, events, epochs=0, seed=0)
    with pytest.raises(ValueError, match="however: 3 and 0 names"):
        MaskedModel(model.model, numeric_names=events.numeric_names, categorical_names=())
