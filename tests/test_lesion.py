"""What the chapter says of a net with blocks taken out holds only if those blocks are out, and the
rest is as it was."""

import pytest
import torch

from nbsrc.blocks import BasicBlock, PlainBlock
from nbsrc.degradation import train_one
from nbsrc.digits import load_digits
from nbsrc.lesion import lesion_experiment, places, swapped, without
from nbsrc.resnet import cifar_resnet


@pytest.fixture
def net():
    torch.manual_seed(0)
    return cifar_resnet(20, width=4, in_channels=1).eval()


def test_blocks_that_change_the_shape_stay():
    torch.manual_seed(0)
    stage = ("layer1", "layer2", "layer3")
    expected = [(stage[0], 0)] + [(name, i) for name in stage for i in (1, 2)]
    assert sorted(places(cifar_resnet(20, in_channels=1))) == sorted(expected)


def test_without_a_residual_block_its_skip_remains(net):
    x = torch.randn(4, 1, 8, 8)
    silenced = cifar_resnet(20, width=4, in_channels=1).eval()
    silenced.load_state_dict(net.state_dict())
    torch.nn.init.zeros_(silenced.layer2[1].bn2.weight)  # F = 0: the same as no block
    with torch.no_grad():
        assert torch.equal(without(net, [("layer2", 1)])(x), silenced(x))
        assert not torch.equal(net(x), silenced(x))
    assert isinstance(net.layer2[1], BasicBlock)  # the net itself is whole


def test_swapped_blocks_change_places_and_nothing_else(net):
    other = swapped(net, ("layer3", 1), ("layer3", 2))
    assert torch.equal(other.layer3[1].conv1.weight, net.layer3[2].conv1.weight)
    assert torch.equal(other.layer3[2].conv1.weight, net.layer3[1].conv1.weight)
    assert torch.equal(other.layer3[0].conv1.weight, net.layer3[0].conv1.weight)
    with pytest.raises(ValueError, match="layer1"):
        swapped(net, ("layer1", 1), ("layer2", 1))


def test_every_block_is_taken_out_once_and_several_as_often_as_drawn():
    run = train_one(8, "residual", 0, epochs=1, device="cpu")
    run = run._replace(net=cifar_resnet(20, block=PlainBlock, width=4, in_channels=1))
    digits = load_digits()
    images, labels = digits.test_images[:50], digits.test_labels[:50]
    table = lesion_experiment([run], images, labels, several=(2, 4, 99), draws=3)
    counts = dict(table["lesion"].value_counts().rows())
    assert counts == {"none": 1, "one out": 7, "several out": 6, "two swapped": 3}
    assert table.filter(lesion="one out")["number"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert table.equals(lesion_experiment([run], images, labels, several=(2, 4, 99), draws=3))
