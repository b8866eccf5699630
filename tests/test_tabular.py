"""TabularResNet: the same network as its authors', and one that says what is wrong with its
input."""

import pytest
import rtdl_revisiting_models as rtdl
import torch

from nbsrc.tabular.network import (
    CHUNK,
    ColumnEmbeddings,
    TabularBlock,
    TabularResNet,
    embedding_width,
)

SHAPE = {"d_block": 24, "n_blocks": 3, "d_hidden_multiplier": 1.5, "dropout1": 0.0, "dropout2": 0.0}


def twins(n_numeric=11, d_out=4):
    torch.manual_seed(0)
    theirs = rtdl.ResNet(d_in=n_numeric, d_out=d_out, **SHAPE)
    for module in theirs.modules():  # running statistics that eval mode can get wrong
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    ours = TabularResNet(n_numeric=n_numeric, cardinalities=[], d_out=d_out, **SHAPE)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("d_out", [4, None])
def test_rtdl_weights_give_rtdl_outputs_and_gradients(train, d_out):
    ours, theirs = twins(d_out=d_out)
    ours.train(train), theirs.train(train)
    x = torch.randn(32, 11)
    y, expected = ours(x, None), theirs(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
    y.square().mean().backward()
    expected.square().mean().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-6, msg=name)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, q in theirs.state_dict().items():  # running statistics included
        torch.testing.assert_close(ours.state_dict()[name], q, rtol=0, atol=1e-6, msg=name)


def test_backbone_has_as_many_parameters_as_rtdl():
    ours, theirs = twins()
    count = [sum(p.numel() for p in net.parameters()) for net in (ours, theirs)]
    assert count[0] == count[1]


def test_categories_enter_as_columns_of_the_same_backbone():
    """With categories, the network is rtdl's on the columns that features() gives."""
    torch.manual_seed(1)
    net = TabularResNet(n_numeric=3, cardinalities=[5, 400, 2], d_out=2, **SHAPE)
    x, c = torch.randn(16, 3), torch.stack([torch.randint(n, (16,)) for n in net.cardinalities], 1)
    features = net.features(x, c)
    assert features.shape == (
        16,
        3 + embedding_width(5) + embedding_width(400) + embedding_width(2),
    )
    theirs = rtdl.ResNet(d_in=features.shape[1], d_out=2, **SHAPE)
    theirs.load_state_dict(
        {k: v for k, v in net.state_dict().items() if not k.startswith("embeddings")}
    )
    torch.testing.assert_close(net(x, c), theirs(features), rtol=0, atol=1e-6)


def test_dropout_acts_where_the_paper_puts_it():
    block = TabularBlock(8, 16, dropout1=0.0, dropout2=1.0)
    x = torch.randn(5, 8)
    assert torch.equal(block(x), x)  # the residual branch is dropped, the skip path is not
    block = TabularBlock(8, 16, dropout1=1.0, dropout2=0.0)
    torch.testing.assert_close(block(x), x + block.linear2.bias)


def test_what_categories_add_to_a_layer_sums_up_to_the_layer_of_their_embeddings():
    sizes = torch.tensor([3, 300, 1, 40])
    embeddings = ColumnEmbeddings(sizes.tolist())
    assert len(set(embeddings.widths)) == 2
    weight = torch.randn(7, sum(embeddings.widths))
    categorical = (torch.rand(50, 4) * sizes).long()
    added = embeddings.projected(weight)
    assert added.shape == (344, 7)
    each = added[categorical + sizes.cumsum(0) - sizes]
    torch.testing.assert_close(each.sum(1), embeddings(categorical) @ weight.T)


def test_every_category_has_an_embedding_of_its_own():
    """One table for all columns: no two categories, of one column or of two, share a row of it."""
    cardinalities = [3, 1, 50, 7]
    net = TabularResNet(n_numeric=0, cardinalities=cardinalities)
    with torch.no_grad():
        net.embeddings.table.weight.copy_(
            torch.arange(net.embeddings.table.weight.numel()).view(-1, CHUNK)
        )
    seen = []
    start = 0
    for column, n in enumerate(cardinalities):
        width = embedding_width(n)
        indices = torch.zeros(n, len(cardinalities), dtype=torch.int64)
        indices[:, column] = torch.arange(n)
        seen += net.features(None, indices)[:, start : start + width].flatten().tolist()
        start += width
    assert sorted(seen) == list(range(net.embeddings.table.weight.numel()))


@pytest.mark.parametrize(("n_numeric", "cardinalities"), [(4, []), (0, [3, 9]), (4, [3, 9])])
def test_either_kind_of_column_may_be_absent(n_numeric, cardinalities):
    net = TabularResNet(n_numeric=n_numeric, cardinalities=cardinalities, d_block=16)
    x, c = torch.randn(6, n_numeric), torch.zeros(6, len(cardinalities), dtype=torch.int64)
    assert net(x, c).shape == net.embed(x, c).shape == (6, 16)
    if not cardinalities:
        assert net(x, None).shape == (6, 16)
    if not n_numeric:
        assert net(None, c).shape == (6, 16)


X, C = torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.int64)
BEYOND, NEGATIVE = C.clone(), C.clone()
BEYOND[2, 1], NEGATIVE[0, 0] = 9, -1


@pytest.mark.parametrize(
    ("numeric", "categorical", "message"),
    [
        (torch.zeros(4, 3), C, "numeric must have the shape (rows, 2), however: (4, 3)"),
        (X, C[:, 0], "categorical must have the shape (rows, 2), however: (4,)"),
        (X, C[:, :, None], "categorical must have the shape (rows, 2), however: (4, 2, 1)"),
        (C, C, "numeric must be floating point, however: torch.int64"),
        (X, C.int(), "categorical must be int64, however: torch.int32"),
        (X[:3], C, "numeric has 3 rows, however: categorical has 4"),
        (X, None, "categorical is None, however: the network has 2 categorical columns"),
        (None, C, "numeric is None, however: the network has 2 numeric columns"),
        (X, BEYOND, "column 1 has 9 categories, however: its index in row 2 is 9"),
        (X, NEGATIVE, "column 0 has 3 categories, however: its index in row 0 is -1"),
    ],
)
def test_wrong_input_is_refused_by_name(numeric, categorical, message):
    net = TabularResNet(n_numeric=2, cardinalities=[3, 9])
    with pytest.raises((ValueError, IndexError)) as raised:
        net(numeric, categorical)
    outside = isinstance(raised.value, IndexError)
    assert str(raised.value) == ("categorical " if outside else "") + message


def test_of_a_kind_without_columns_nothing_is_asked():
    assert len(TabularResNet(n_numeric=0, cardinalities=[3, 9])(torch.zeros(1, 0).long(), C)) == 4
    assert len(TabularResNet(n_numeric=2, cardinalities=[])(X, torch.zeros(1, 0))) == 4


def test_the_last_category_of_a_column_is_one():
    net = TabularResNet(n_numeric=0, cardinalities=[3, 9])
    assert net(None, torch.tensor([[2, 8], [0, 0]])).isfinite().all()


def test_what_builds_a_network_again_is_kept():
    given = {"n_numeric": 2, "cardinalities": (3, 9), "d_out": 5, **SHAPE}
    assert TabularResNet(**given).arguments == given
    block = TabularResNet(**given | {"dropout1": 0.25, "dropout2": 0.5}).blocks[0]
    assert (block.dropout1.p, block.dropout2.p) == (0.25, 0.5)
    usual = {"d_block": 128, "n_blocks": 2, "d_hidden_multiplier": 2.0, "d_out": None}
    net = TabularResNet(n_numeric=2, cardinalities=[3])
    assert net.arguments == {
        "n_numeric": 2, "cardinalities": (3,), "dropout1": 0.15, "dropout2": 0.0, **usual
    }  # fmt: skip
    assert [block.dropout1.p for block in net.blocks] == [0.15, 0.15]
    assert [block.dropout2.p for block in net.blocks] == [0.0, 0.0]
    assert len(net.blocks) == 2 and net.blocks[0].linear1.weight.shape == (256, net.d_block)


def test_only_weights_are_saved():
    net = TabularResNet(n_numeric=2, cardinalities=[3, 9], n_blocks=1)
    assert [name for name in net.state_dict() if not name.startswith(("blocks.0.", "input_"))] == [
        "embeddings.table.weight"
    ]


def test_embeddings_start_as_rtdls():
    """Uniform within one over the root of their width."""
    torch.manual_seed(0)
    embeddings = ColumnEmbeddings([300, 3000, 2])
    assert embeddings.widths == [16, 16, 8]
    for table, width in zip(
        embeddings.table.weight.split(embeddings.rows), embeddings.widths, strict=True
    ):
        own = table.reshape(-1, width)
        assert own.abs().max() <= width**-0.5
        if len(own) > 2:
            assert own.min() < -0.99 * width**-0.5 and own.max() > 0.99 * width**-0.5
            assert own.mean().abs() < 0.02


def test_a_category_has_an_embedding_as_wide_as_its_column_asks_for():
    assert [embedding_width(n) for n in (1, 17, 18, 56, 57, 10**6)] == [8, 8, 16, 16, 16, 16]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_numeric": -1}, "n_numeric must not be negative, however: n_numeric=-1"),
        (
            {"n_numeric": 0, "cardinalities": []},
            "a network needs a column, however: n_numeric=0 and no cardinalities",
        ),
        ({"cardinalities": [3, 0]}, "cardinalities must be positive, however: cardinalities[1]=0"),
        ({"d_block": 0}, "d_block must be positive, however: 0"),
        ({"n_blocks": 0}, "n_blocks must be positive, however: 0"),
        ({"d_hidden_multiplier": 0.007}, "the hidden width must be positive, however: 0"),
        ({"d_out": 0}, "d_out must be positive or None, however: d_out=0"),
    ],
)
def test_an_impossible_network_is_refused(change, message):
    with pytest.raises(ValueError) as raised:
        TabularResNet(**({"n_numeric": 2, "cardinalities": [3]} | change))
    assert str(raised.value) == message
    with pytest.raises(ValueError, match=r"1\.5"):
        TabularResNet(n_numeric=2, cardinalities=[], dropout1=1.5)


def test_the_smallest_network_is_one():
    net = TabularResNet(
        n_numeric=1, cardinalities=[1], d_block=1, n_blocks=1, d_hidden_multiplier=1, d_out=1
    )
    assert net.eval()(torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.int64)).shape == (1, 1)
