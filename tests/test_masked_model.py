"""The model that is pre-trained, against slow and plain ways to the same numbers."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nbsrc.selfsupervised.batches import batches, check_columns, for_batches
from nbsrc.selfsupervised.inference import added, column_nll, object_nll
from nbsrc.selfsupervised.model import SMALLEST_SCALE, FieldsHead, MaskedModel, masked_model
from nbsrc.selfsupervised.objects import objects_of
from nbsrc.selfsupervised.storage import load_model, save_model
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.encoded import EncodedEvents, rows_of
from nbsrc.tabular.network import TabularResNet

NUMERIC = ("traffic.bytes", "time.hour_sin", "time.hour_cos")
CATEGORICAL = ("actor.user", "actor.session", "traffic.bytes.present", "status")
OBJECTS = {"": [6], "actor": [3, 4], "time": [1, 2], "traffic": [0, 5]}  # columns, by hand


@pytest.fixture(scope="module")
def events():
    """Rows of chance, some without an actor, some without traffic, all with a time."""
    rng = np.random.default_rng(0)
    categorical = rng.integers(1, (5, 4, 2, 3), (60, 4))
    categorical[rng.random(60) < 0.3, :2] = 0
    categorical[rng.random(60) < 0.3, 2] = 0
    numeric = rng.normal(size=(60, 3)).astype(np.float32) * 3
    return EncodedEvents(numeric, categorical, (5, 4, 2, 3), NUMERIC, CATEGORICAL, np.arange(60))


@pytest.fixture
def model(events):
    """With normalization that is not the identity, and a category that is too rare to know."""
    model = masked_model(events, seed=3, d_block=8, n_blocks=1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.weight.normal_()
                module.bias.normal_()
    model.known[3] = False  # actor.user 3
    return model.eval()


def tensors(encoded):
    return torch.tensor(encoded.numeric), torch.tensor(encoded.categorical)


def known(categorical):
    """The categories as the fixture's model takes them."""
    categorical = categorical.clone()
    categorical[categorical[:, 0] == 3, 0] = 1
    return categorical


def plain_nll(model, numeric, categorical, hidden):
    """The negative log-likelihood of one event's hidden objects' columns, one by one: (columns,)"""
    network, categorical = model.model, known(categorical[None])
    features = list(network.features(torch.asinh(numeric[None]), categorical)[0])
    widths = [1, 1, 1, *network.embeddings.widths]
    owner = [next(o for o, own in OBJECTS.items() if i in own) for i in range(7)]
    of_feature = [name for name, width in zip(owner, widths, strict=True) for _ in range(width)]
    for i, name in enumerate(of_feature):
        if name in hidden:
            features[i] = torch.zeros(())
    x = network.input_projection(torch.stack(features))
    for name in hidden:
        x = x + model.mask_vectors[list(OBJECTS).index(name)]
    x = model.normalization(network.blocks[0](x[None])).relu()
    nll = torch.zeros(7)
    for name in hidden:
        own = OBJECTS[name]
        out = model.heads[list(OBJECTS).index(name)].outputs(x)[0]
        quantities = [i for i in own if i < 3]
        location, spread, logits = out.split(
            [len(quantities)] * 2 + [len(out) - 2 * len(quantities)]
        )
        for i, mu, raw in zip(quantities, location, spread, strict=True):
            b = SMALLEST_SCALE + F.softplus(raw)
            nll[i] = -torch.distributions.Laplace(mu, b).log_prob(numeric[i]) - np.log(
                2 * SMALLEST_SCALE
            )
        columns = [i for i in own if i >= 3]
        sizes = [network.cardinalities[i - 3] for i in columns]
        for i, part in zip(columns, logits.split(sizes), strict=True):
            nll[i] = F.cross_entropy(part[None], categorical[:, i - 3])
    return nll


def has(categorical, name):
    """Whether an event has an object."""
    return name == "time" or any(categorical[i - 3] > 0 for i in OBJECTS[name] if i >= 3)


def test_columns_belong_to_objects_and_a_model_of_equal_seed_is_equal(events, model):
    assert dict(zip(model.objects, model.columns, strict=True)) == OBJECTS
    state = torch.random.get_rng_state()
    one, same, other = (masked_model(events, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(one.mask_vectors, same.mask_vectors)
    assert not torch.equal(one.mask_vectors, other.mask_vectors)
    assert one.model.d_block == 64 and len(model.model.blocks) == 1
    wide = masked_model(events, seed=0, d_block=400).mask_vectors
    assert (wide**2).sum(1).mean().item() == pytest.approx(1, abs=0.1)  # as long as embeddings are


def test_events_are_flat_where_most_columns_are_fields_of_the_event_itself():
    assert objects_of(["a.b", "c"]) == ["a", ""]
    assert objects_of(["a.b", "c", "d"]) == ["a", "c", "d"]


def test_a_loss_is_the_mean_over_hidden_fields_without_the_least_likely_events(events, model):
    x, c = tensors(events)
    masked = torch.rand(60, 4, generator=torch.Generator().manual_seed(1)) < 0.5
    masked[:5] = False
    masked[5:30] = torch.tensor([True, False, False, False])  # one field beside several
    totals, counts = [], []
    with torch.no_grad():
        for i in range(60):
            chosen = [o for o, on in zip(OBJECTS, masked[i], strict=True) if on and has(c[i], o)]
            totals.append(float(plain_nll(model, x[i], c[i], chosen).sum()))
            counts.append(sum(len(OBJECTS[o]) for o in chosen))
    totals, counts = np.array(totals), np.array(counts)
    assert model.masked_loss(x, c, masked).item() == pytest.approx(totals.sum() / counts.sum())
    for least in (1, 7, 20, 30):
        kept = np.argsort(totals / counts.clip(1))[:-least]
        trimmed = model.masked_loss(x, c, masked, trimmed=(least + 0.8) / 60)
        assert trimmed.item() == pytest.approx(totals[kept].sum() / counts[kept].sum())
    one = torch.zeros(60, 4, dtype=torch.bool)
    one[9, 0] = True  # of one event one field, the status
    wanted = plain_nll(model, x[9], c[9], [""]).sum().item()
    assert model.masked_loss(x, c, one).item() == pytest.approx(wanted)
    assert model.masked_loss(x, c, torch.zeros(60, 4, dtype=torch.bool)) == 0


def test_trimmed_events_teach_nothing(events, model):
    x, c = tensors(events)
    model.masked_loss(x, c, torch.ones(60, 4, dtype=torch.bool), trimmed=0.99).backward()
    least = model.mask_vectors.grad.clone()
    model.zero_grad()
    model.masked_loss(x, c, torch.ones(60, 4, dtype=torch.bool)).backward()
    assert least.abs().sum() > 0 and not torch.allclose(least, model.mask_vectors.grad)


def test_the_surprise_of_each_object_is_that_of_a_pass_in_which_it_alone_is_hidden(events, model):
    x, c = tensors(events)
    with torch.no_grad():
        nll = column_nll(model, x, c)
        for i in range(60):
            wanted = sum(plain_nll(model, x[i], c[i], [o]) for o in OBJECTS if has(c[i], o))
            torch.testing.assert_close(nll[i], wanted, rtol=1e-4, atol=1e-4)
        once = added(model)
        for name, (rows, found) in zip(OBJECTS, object_nll(model, x, c, once), strict=True):
            assert rows.tolist() == [i for i in range(60) if has(c[i], name)]
            torch.testing.assert_close(found, nll[rows][:, OBJECTS[name]])


def test_what_was_worked_out_once_is_what_is_used(events, model):
    x, c = tensors(events)
    with torch.no_grad():
        by, missing = added(model)
        (_, first), *_ = object_nll(model, x, c)
        (_, other), *_ = object_nll(model, x, c, (by + 1, missing))
    assert not torch.allclose(first, other)


def test_the_embedding_sees_everything_with_quantities_tamed_and_rare_categories_unseen(
    events, model
):
    x, c = tensors(events)
    torch.testing.assert_close(model.embed(x, c), model.model.embed(torch.asinh(x), known(c)))


def test_telling_replaced_objects_is_scored_against_what_did_change(events, model):
    """Objects of other events stand in where replaced; one that is replaced by its equal is not."""
    x, c = tensors(events)
    replaced = torch.rand(60, 4, generator=torch.Generator().manual_seed(2)) < 0.5
    torch.manual_seed(7)
    loss = model.replaced_loss(x, c, replaced)
    torch.manual_seed(7)
    source = torch.rand(60, 4).argsort(0)
    mixed, categories, target = x.clone(), known(c), torch.zeros(60, 4)
    for i in range(60):
        for o, own in enumerate(OBJECTS.values()):
            for column in own if replaced[i, o] else ():
                new, old = (mixed, x) if column < 3 else (categories, known(c))
                place = column if column < 3 else column - 3
                new[i, place] = old[source[i, o], place]
                target[i, o] = max(target[i, o], float(new[i, place] != old[i, place]))
    assert 0 < target.sum() < replaced.sum()  # some objects were replaced by their equals
    embedding = model.model.embed(torch.asinh(mixed), categories)
    logits = model.replaced_head(model.normalization(embedding).relu())
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, target))


def test_categories_that_come_once_are_unseen_and_missing_stays_missing(events):
    model = masked_model(events, seed=0, d_block=8)
    seen = torch.tensor([[2, 3, 1, 2], [2, 2, 1, 1], [4, 3, 1, 2]])
    model.learn_known(seen)
    given = torch.tensor([[2, 2, 0, 1], [4, 3, 1, 2], [0, 0, 0, 0], [3, 1, 1, 2]])
    none = masked_model(events, seed=0, d_block=8)
    none.learn_known(torch.zeros((3, 4), dtype=torch.int64))  # nor did the last category come
    assert torch.equal(none.common(given), given.clamp(max=1))
    wanted = torch.tensor([[2, 1, 0, 1], [1, 3, 1, 2], [0, 0, 0, 0], [1, 1, 1, 2]])
    assert torch.equal(model.common(given), wanted)


def test_an_event_has_the_objects_that_it_has_a_field_of(events, model):
    rows = torch.tensor([[0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [1, 0, 0, 2]])
    wanted = [[0, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 1, 0]]
    assert model.there(rows).int().tolist() == wanted
    first = replace(events, categorical_names=("status", *CATEGORICAL[:3]))  # alone, and the first
    there = masked_model(first, seed=0, d_block=8).there(torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]))
    assert there.int().tolist() == [[0, 0, 1, 0], [1, 0, 1, 0]]


def test_what_a_head_says_is_a_likelihood_and_sure_heads_are_not_surprised_by_a_last_digit():
    head = FieldsHead(4, numeric=[0], categorical=[0, 1], cardinalities=[3, 2])
    embedding = torch.randn(5, 4)
    categories = torch.tensor([[0, 1], [1, 0], [2, 1], [0, 0], [1, 1]])
    nll = head(embedding, torch.zeros(5, 1), categories)
    logits = head.outputs(embedding)[:, 2:]
    for column, own in enumerate(logits.split([3, 2], 1)):
        wanted = F.cross_entropy(own, categories[:, column], reduction="none")
        torch.testing.assert_close(nll[:, 1 + column], wanted)
    with torch.no_grad():  # sure that it is 1
        head.outputs.weight[:2], head.outputs.bias[:2] = 0, torch.tensor([1.0, -50.0])
    surprise = head(embedding[:3], torch.tensor([[1.0], [1.01], [3.0]]), categories[:3])[:, 0]
    torch.testing.assert_close(surprise, torch.tensor([0.0, 0.01, 2.0]) / 0.4)


def test_logits_beyond_what_an_exponential_holds_are_cut_off():
    head = FieldsHead(1, numeric=[], categorical=[0], cardinalities=[2])
    with torch.no_grad():
        head.outputs.weight[:, 0], head.outputs.bias[:] = torch.tensor([500.0, -500.0]), 0
    nll = head(torch.ones(2, 1), torch.zeros(2, 0), torch.tensor([[0], [1]]))[:, 0]
    assert nll.tolist() == pytest.approx([0, 60])


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_events_with_columns_of_one_kind_have_surprises(events, kind):
    none = {"cardinalities": (), "categorical_names": (), "categorical": events.categorical[:, :0]}
    if kind == "categorical":
        none = {"numeric_names": (), "numeric": events.numeric[:, :0]}
    encoded = replace(events, **none)
    model = masked_model(encoded, seed=0, d_block=8).eval()
    x, c = tensors(encoded)
    model.learn_known(c)
    with torch.no_grad():
        nll = column_nll(model, x, c)
        for i, own in enumerate(model.columns):
            masked = (torch.arange(len(model.objects)) == i).expand(60, -1)
            fields = len(own) * model.there(c)[:, i].sum()
            mean = nll[:, own].sum() / fields
            torch.testing.assert_close(model.masked_loss(x, c, masked), mean, rtol=1e-4, atol=1e-5)


def test_all_events_go_through_in_order_without_gradients_in_eval_mode(events, model):
    many = rows_of(events, np.arange(2500) % 60)
    assert [len(x) for x, _ in batches(model, many)] == [1024, 1024, 452]
    model.train()
    before = torch.get_num_threads()

    def seen(m, x, c):
        assert torch.is_inference_mode_enabled() and torch.get_num_threads() == 1
        assert threading.current_thread() is not threading.main_thread()
        return m.embed(x, c), x, c

    torch.set_num_threads(2)
    try:
        parts = zip(*for_batches(seen, model, many), strict=True)
        embedded, x, c = (torch.cat(part) for part in parts)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert not model.training
    assert np.array_equal(x, many.numeric) and np.array_equal(c, many.categorical)
    torch.testing.assert_close(embedded, model.embed(*tensors(many)))
    assert for_batches(seen, model, rows_of(events, np.arange(0))) == []


def test_events_of_other_columns_are_refused_by_name(events, model):
    def refused(message, **change):
        with pytest.raises(ValueError, match=message):
            check_columns(model, replace(events, **change))

    check_columns(model, events)
    hole = events.numeric.copy()
    hole[7, 1] = np.nan
    refused(f"{events.numeric_names[1]} holds a value that is not finite, in row 7", numeric=hole)
    refused("numeric must be float32, however: float64", numeric=events.numeric.astype(float))
    refused(
        "categorical must be int64, however: int32", categorical=events.categorical.astype("i4")
    )
    refused("numeric must have a row for each of 59 times", time=events.time[1:])
    refused("categorical must have a row for each", categorical=events.categorical[:9])
    refused(
        "than the model: status, status_code$", categorical_names=(*CATEGORICAL[:-1], "status_code")
    )
    refused("than the model: a, b, c$", numeric_names=("c", "b", "a"))
    refused("model: the same in another order$", numeric_names=NUMERIC[::-1])
    refused("model: the same in another order$", categorical_names=CATEGORICAL[::-1])
    with pytest.raises(ValueError, match="the same in another order"):
        for_batches(MaskedModel.embed, model, replace(events, numeric_names=NUMERIC[::-1]))
    refused("status has 9 categories, however: the model has 3", cardinalities=(5, 4, 2, 9))
    for value in (3, -1):
        beyond = events.categorical.copy()
        beyond[[7, 9], 3] = value
        refused(f"status has 3 categories, however: {value} in row 7", categorical=beyond)
    for numeric, categorical in ((NUMERIC, CATEGORICAL[:3]), (NUMERIC[:2], CATEGORICAL)):
        with pytest.raises(ValueError, match=f"{len(numeric)} and {len(categorical)} names"):
            MaskedModel(model.model, numeric_names=numeric, categorical_names=categorical)


def test_a_saved_model_is_the_same_and_one_of_another_version_is_refused(events, model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model.train(), path)
    again = load_model(path)
    assert not again.training and again.names == model.names
    assert again.model.arguments == model.model.arguments
    x, c = tensors(events)
    assert torch.equal(again.embed(x, c), model.eval().embed(x, c))
    weights, about = read_tensors(path)
    running = {name for name in weights if "normalization.running" in name or "tracked" in name}
    assert set(weights) == {*dict(model.named_parameters()), *running, "known"}
    assert about["format"] == 1  # what readers have on disk
    for changed, told in (
        (weights | {"mask_vectors": torch.zeros(99, 1)}, about),
        (weights, about | {"format": 2}),
        (weights, {key: value for key, value in about.items() if key != "format"}),
        (weights, about | {"model": {"sizes": 3}}),
    ):
        write_tensors(path, changed, told)
        with pytest.raises(ValueError, match=r"model\.safetensors holds no model of this version"):
            load_model(path)


def test_a_network_without_blocks_of_its_own_is_taken_as_it_is(events):
    network = TabularResNet(n_numeric=3, cardinalities=(5, 4, 2, 3), d_block=8, n_blocks=3)
    model = MaskedModel(network, numeric_names=NUMERIC, categorical_names=CATEGORICAL).eval()
    x = torch.randn(4, 8)
    wanted = network.blocks[2](network.blocks[1](network.blocks[0](x)))
    torch.testing.assert_close(model.trunk(x), model.normalization(wanted).relu())
