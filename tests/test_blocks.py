"""A reader relies on the blocks being the paper's: their shapes, their skip, their gradient."""

import pytest
import torch
from torch import nn
from torch.func import jacrev

from nbsrc.blocks import BasicBlock, BottleneckBlock, PlainBlock, PreActBlock

BLOCKS = [PlainBlock, BasicBlock, PreActBlock, BottleneckBlock]
RESIDUAL = [BasicBlock, PreActBlock, BottleneckBlock]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("stride", [1, 2])
def test_output_has_expansion_times_channels_and_is_strided(block, stride):
    out = block(16, 24, stride)(torch.randn(2, 16, 9, 9))
    side = -(-9 // stride)
    assert out.shape == (2, 24 * block.expansion, side, side)


def test_expansion_is_the_papers():
    assert [block.expansion for block in BLOCKS] == [1, 1, 1, 4]


@pytest.mark.parametrize("block", RESIDUAL)
def test_skip_is_the_identity_where_the_shape_stays(block):
    assert block(16 * block.expansion, 16).downsample is None


@pytest.mark.parametrize(
    "option, count", [("A", 0), ("B", 16 * 32 + 2 * 32), ("C", 16 * 32 + 2 * 32)]
)
def test_shortcut_options_have_the_papers_parameters(option, count):
    shortcut = BasicBlock(16, 32, stride=2, shortcut=option).downsample
    assert sum(p.numel() for p in shortcut.parameters()) == count


def test_option_c_projects_in_every_block():
    assert BasicBlock(16, 16, shortcut="C").downsample is not None


def test_option_a_keeps_every_second_pixel_and_adds_zero_channels():
    x = torch.randn(1, 4, 6, 6)
    out = BasicBlock(4, 8, stride=2, shortcut="A").downsample(x)
    assert out.shape == (1, 8, 3, 3)
    assert torch.equal(out[:, :4], x[:, :, ::2, ::2])
    assert not out[:, 4:].any()


@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_a_stride_needs_a_shortcut_even_where_the_channels_stay(option):
    block = BasicBlock(4, 4, stride=2, shortcut=option)
    assert block(torch.randn(1, 4, 6, 6)).shape == (1, 4, 3, 3)


def test_pre_activation_projects_without_a_batch_norm():
    """The sum is normalized by the block that follows."""
    projection = PreActBlock(16, 32, stride=2).downsample
    assert isinstance(projection, nn.Conv2d) and projection.bias is None
    assert projection.kernel_size == (1, 1)


def test_unknown_shortcut_is_named():
    with pytest.raises(ValueError, match=r"'A', 'B' or 'C', however: 'D'$"):
        BasicBlock(4, 4, shortcut="D")


def test_option_a_refuses_to_drop_channels():
    with pytest.raises(ValueError, match="in_channels=8, out_channels=4"):
        BasicBlock(8, 4, shortcut="A")


def last_layer(block):
    """The layer that F ends in."""
    last = {BasicBlock: "bn2", PreActBlock: "conv2", BottleneckBlock: "bn3"}[type(block)]
    return getattr(block, last)


def last_layer_to_zero(block):
    """Make F zero."""
    nn.init.zeros_(last_layer(block).weight)
    return block


@pytest.mark.parametrize("block", RESIDUAL)
def test_a_block_adds_f_and_its_input(block):
    block, x, f = block(16, 16 // block.expansion), torch.randn(2, 16, 5, 5), []
    last_layer(block).register_forward_hook(lambda layer, given, out: f.append(out.clone()))
    out = block(x)
    added = f[0] + x
    assert f[0].std() > 0.1
    assert torch.equal(out, added if isinstance(block, PreActBlock) else added.relu())


@pytest.mark.parametrize("block", RESIDUAL)
def test_block_whose_f_is_zero_is_the_identity_on_non_negative_input(block):
    x = torch.rand(2, 16, 5, 5)
    assert torch.equal(last_layer_to_zero(block(16, 16 // block.expansion))(x), x)


def test_plain_block_with_the_same_weights_is_not_the_identity():
    plain = PlainBlock(16, 16)
    nn.init.zeros_(plain.bn2.weight)
    out = plain(torch.rand(2, 16, 5, 5))
    assert out.shape == (2, 16, 5, 5) and not out.any()


def test_relu_after_the_addition_clips_the_skip_path_and_pre_activation_does_not():
    x = torch.randn(2, 16, 5, 5, requires_grad=True)
    post = last_layer_to_zero(BasicBlock(16, 16))(x)
    assert torch.equal(post, x.relu())
    assert torch.equal(torch.autograd.grad(post.sum(), x)[0], (x > 0).float())
    pre = last_layer_to_zero(PreActBlock(16, 16))(x)
    assert torch.equal(pre, x)
    assert torch.equal(torch.autograd.grad(pre.sum(), x)[0], torch.ones_like(x))


def test_gradient_of_the_block_is_that_of_f_plus_the_identity():
    block = PreActBlock(2, 2).double().eval()

    def f(x):
        out = block.conv1(block.relu(block.bn1(x)))
        return block.conv2(block.relu(block.bn2(out)))

    x = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    of_h, of_f = jacrev(block)(x).reshape(18, 18), jacrev(f)(x).reshape(18, 18)
    torch.testing.assert_close(of_h, of_f + torch.eye(18))
