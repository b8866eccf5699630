"""A reader relies on the temporal block being causal, residual, and as far-sighted as the formula
says."""

import pytest
import torch
from torch import nn

from nbsrc.sequences.blocks import (
    TCN,
    CausalConv1d,
    PlainTemporalBlock,
    TemporalBlock,
    measured_receptive_field,
    receptive_field,
)
from nbsrc.sequences.contexts import LONGEST, NETWORKS, Attention

BLOCKS = [PlainTemporalBlock, TemporalBlock]


@pytest.mark.parametrize("kernel_size, dilation", [(2, 1), (3, 1), (3, 4), (5, 2)])
def test_a_dilated_convolution_is_the_loop_that_one_would_write(kernel_size, dilation):
    conv = CausalConv1d(2, 3, kernel_size, dilation)
    x = torch.randn(2, 2, 11)
    expected = torch.zeros(2, 3, 11)
    for time in range(11):
        for k in range(kernel_size):
            before = time - (kernel_size - 1 - k) * dilation
            if before >= 0:
                expected[:, :, time] += x[:, :, before] @ conv.weight[:, :, k].T
    torch.testing.assert_close(conv(x), expected + conv.bias[:, None])


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_changes_the_channels_and_keeps_the_time(block):
    assert block(4, 6, 2)(torch.randn(3, 4, 17)).shape == (3, 6, 17)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_future_changes_nothing_that_a_block_says_of_the_past(block):
    torch.manual_seed(0)
    net = block(2, 16, 2).eval()
    x = torch.randn(1, 2, 20)
    changed = torch.cat([x[..., :12], torch.randn(1, 2, 8)], -1)
    assert torch.equal(net(x)[..., :12], net(changed)[..., :12])
    assert not torch.equal(net(x)[..., 12], net(changed)[..., 12])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_future_changes_nothing_that_a_network_says_of_the_past(name):
    net = NETWORKS[name](8).eval()
    x = torch.randn(2, 30, 8)
    changed = torch.cat([x[:, :17], torch.randn(2, 13, 8)], 1)
    torch.testing.assert_close(net(x)[:, :17], net(changed)[:, :17])
    assert not torch.allclose(net(x)[:, 17:], net(changed)[:, 17:])


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_network_says_depends_on_the_moments_before(name):
    net = NETWORKS[name](8).eval()
    x = torch.randn(1, 10, 8)
    changed = x.clone()
    changed[:, 6, 0] += 1
    assert not torch.allclose(net(x)[:, 8], net(changed)[:, 8])


def test_the_residual_of_an_untrained_f_of_zero_is_the_identity():
    """On input that is not negative, as behind the ReLU of the block before."""
    block = TemporalBlock(4, 4, 2)
    assert block.downsample is None
    nn.init.zeros_(block.conv2.parametrizations.weight.original0)
    nn.init.zeros_(block.conv2.bias)
    x = torch.rand(2, 4, 9)
    assert torch.equal(block(x), x)


def test_f_may_take_away_as_well_as_add():
    """A third ReLU before the addition would only let it add."""
    torch.manual_seed(0)
    block, x = TemporalBlock(4, 4), torch.rand(8, 4, 30) + 1
    assert (block(x) < x).any() and (block(x) > x).any()


def test_channels_that_change_are_projected():
    assert TemporalBlock(4, 8).downsample.weight.shape == (8, 4, 1)


@pytest.mark.parametrize("dilations", [(1,), (1, 2), (1, 2, 4), (4, 1), (3, 3)])
@pytest.mark.parametrize("kernel_size", [2, 3, 4])
def test_the_formula_of_the_receptive_field_is_what_gradients_measure(dilations, kernel_size):
    torch.manual_seed(1)
    net = TCN(3, 16, dilations=dilations, kernel_size=kernel_size)
    expected = receptive_field(dilations, kernel_size=kernel_size)
    assert measured_receptive_field(net, 3, time=100) == expected


def test_a_net_that_sees_all_moments_is_measured_as_at_least_all():
    net = TCN(1, 8, dilations=(1, 2, 4, 8))
    assert measured_receptive_field(net, 1, time=20) == 20


@pytest.mark.parametrize("dilations", [(), (1, 0)])
def test_impossible_dilations_are_named(dilations):
    with pytest.raises(ValueError, match="dilations="):
        TCN(1, 8, dilations=dilations)


def test_a_sequence_beyond_the_positions_is_named():
    with pytest.raises(ValueError, match=f"{LONGEST}, however: {LONGEST + 1}"):
        Attention(8)(torch.zeros(1, LONGEST + 1, 8))
