"""The chapter's reading of the gradients depends on these norms, their order and the fitted
rate."""

import pytest
import torch
import torch.nn.functional as F

from nbsrc.gradient_flow import KINDS, Layer, Stack, gradient_flow, gradient_norms, rate_per_layer
from nbsrc.resnet import cifar_resnet


def test_norms_are_those_of_a_backward_pass_in_depth_order():
    torch.manual_seed(0)
    stack = Stack("residual", 3, width=8)
    x, y = torch.randn(16, 8), torch.randint(10, (16,))
    norms = gradient_norms(stack, x, y)
    F.cross_entropy(stack(x), y).backward()
    expected = [layer.linear.weight.grad.norm().item() for layer in stack.layers]
    assert norms == pytest.approx([*expected, stack.head.weight.grad.norm().item()])


def test_gradients_mode_and_running_averages_are_left_as_they_were():
    stack = Stack("plain + BatchNorm", 2).eval()
    gradient_norms(stack, torch.randn(4, 64), torch.randint(10, (4,)))
    assert not stack.training
    assert not stack.layers[0].norm.running_mean.any()
    assert all(p.grad is None for p in stack.parameters())


def test_convolutional_nets_have_a_norm_for_every_layer():
    net = cifar_resnet(8, in_channels=1)
    assert len(gradient_norms(net, torch.randn(4, 1, 8, 8), torch.randint(10, (4,)))) == 8


def test_stacks_of_one_seed_start_from_the_same_weights():
    weights = []
    for kind in KINDS:
        torch.manual_seed(1)
        weights.append([layer.linear.weight for layer in Stack(kind, 4).layers])
    for other in weights[1:]:
        assert all(torch.equal(a, b) for a, b in zip(weights[0], other, strict=True))


def test_layers_compute_what_the_chapter_says():
    torch.manual_seed(0)
    x = torch.randn(32, 8)

    def normed(values):
        return F.batch_norm(values, None, None, training=True)

    formulas = {
        "plain": lambda x, linear: torch.relu(linear(x)),
        "plain + BatchNorm": lambda x, linear: torch.relu(normed(linear(x))),
        "residual": lambda x, linear: x + linear(torch.relu(x)),
        "residual + BatchNorm": lambda x, linear: x + linear(torch.relu(normed(x))),
    }
    for kind, formula in formulas.items():
        layer = Layer(kind, 8)
        torch.testing.assert_close(layer(x), formula(x, layer.linear))


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.2])
def test_rate_is_the_factor_per_layer_away_from_the_output(rate):
    assert rate_per_layer([rate ** (9 - layer) for layer in range(10)]) == pytest.approx(rate)


def test_equal_seeds_give_equal_tables():
    tables = [gradient_flow(depths=(3, 5), seeds=(0, 1), device="cpu") for _ in range(2)]
    assert tables[0].equals(tables[1])
    assert tables[0].height == (3 + 5) * 2 * len(KINDS)
    assert tables[0].columns == ["kind", "depth", "seed", "layer", "norm"]


@pytest.mark.parametrize("arguments, named", [(("skip", 3), "'skip'"), (("plain", 0), "depth=0")])
def test_wrong_stacks_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        Stack(*arguments)
