"""A reader relies on the networks being torchvision's and the paper's."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from nbsrc import resnet
from nbsrc.blocks import BasicBlock, BottleneckBlock, PlainBlock, PreActBlock
from nbsrc.resnet import ResNet, cifar_resnet

DEPTHS = [18, 34, 50, 101, 152]


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.fixture(params=DEPTHS)
def twins(request):
    """Our network with torchvision's weights, and torchvision's."""
    torch.manual_seed(request.param)
    theirs = getattr(torchvision.models, f"resnet{request.param}")()
    # As initialized, the running averages are the same for any two nets; let them differ from that.
    theirs(torch.randn(4, 3, 64, 64))
    ours = getattr(resnet, f"resnet{request.param}")()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def test_published_weights_load_and_give_the_same_outputs(twins):
    ours, theirs = twins
    images = torch.randn(4, 3, 64, 64)
    for net in twins:
        net.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=1e-5)
    for net in twins:
        net.train()
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=1e-5)
    # In train mode BatchNorm also moved its running averages, alike.
    expected = theirs.state_dict().values()
    for (name, a), b in zip(ours.state_dict().items(), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "depth, count", [(20, 0.27e6), (32, 0.46e6), (44, 0.66e6), (56, 0.85e6), (110, 1.7e6)]
)
def test_cifar_nets_have_the_papers_parameters(depth, count):
    digits = 1 if count > 1e6 else 2
    assert round(parameters(cifar_resnet(depth)) / 1e6, digits) == count / 1e6


def test_plain_twin_has_the_same_parameters_and_no_skip():
    assert parameters(cifar_resnet(20, block=PlainBlock)) == parameters(cifar_resnet(20))
    assert not any(
        "downsample" in name for name, _ in cifar_resnet(20, block=PlainBlock).named_modules()
    )


@pytest.mark.parametrize(
    "depth, near", [(2, "8"), (5, "8"), (9, "8 or 14"), (21, "20 or 26"), (60, "56 or 62")]
)
def test_depth_that_is_not_6n_plus_2_names_its_neighbours(depth, near):
    with pytest.raises(ValueError, match=f"depth={depth}; near it: {near}$"):
        cifar_resnet(depth)


@pytest.mark.parametrize("block", [PlainBlock, BasicBlock, PreActBlock, BottleneckBlock])
def test_cifar_net_of_any_block_maps_images_to_logits(block):
    net = cifar_resnet(8, block=block, in_channels=1, num_classes=7, shortcut="B")
    assert net(torch.randn(2, 1, 8, 8)).shape == (2, 7)


def test_stems_shrink_by_four_or_not_at_all():
    seen = {}
    for stem in ("imagenet", "cifar"):
        net = ResNet(BasicBlock, [1, 1, 1, 1], stem=stem)
        net.layer1.register_forward_hook(
            lambda m, i, output, stem=stem: seen.update({stem: output.shape[-1]})
        )
        net(torch.randn(1, 3, 64, 64))
    assert seen == {"imagenet": 16, "cifar": 64}


def test_convolutions_start_as_he_et_al_2015_by_their_outputs():
    """Weights from N(0, 2 / fan_out), so that gradients keep their size on the way back."""
    torch.manual_seed(0)
    for conv in ResNet(BasicBlock, [1, 1, 1, 1]).modules():
        if isinstance(conv, nn.Conv2d):
            fan_out = conv.out_channels * conv.kernel_size[0] ** 2
            assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
            assert conv.weight.mean().abs() < 0.1 * conv.weight.std()


def test_pre_activation_net_ends_with_a_normalized_activation():
    seen = {}
    net = cifar_resnet(8, block=PreActBlock)
    net.layer4.register_forward_hook(lambda m, i, output: seen.update(sum=output.clone()))
    net.avgpool.register_forward_hook(lambda m, inputs, output: seen.update(end=inputs[0]))
    net(torch.randn(4, 3, 8, 8))
    expected = functional.batch_norm(seen["sum"], None, None, training=True).relu()
    torch.testing.assert_close(seen["end"], expected)


def test_keyword_arguments_reach_the_network(monkeypatch):
    net = resnet.resnet50(num_classes=5, in_channels=1, stem="cifar", width=8, shortcut="C")
    assert (
        net.fc.out_features == 5 and net.conv1.in_channels == 1 and net.conv1.kernel_size == (3, 3)
    )
    assert net.layer1[1].downsample is not None
    monkeypatch.setattr(resnet, "ResNet", lambda block, layers, **options: options)
    for depth in DEPTHS:
        assert getattr(resnet, f"resnet{depth}")(width=2) == {"width": 2}


@pytest.mark.parametrize(
    "options, named", [({"stem": "vgg"}, "'vgg'"), ({"layers": [1, 1]}, r"\[1, 1\]")]
)
def test_wrong_options_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        ResNet(BasicBlock, **{"layers": [1, 1, 1]} | options)
