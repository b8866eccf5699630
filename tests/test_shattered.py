"""The cosine of two gradients is about the images given, and about nothing else."""

import pytest
import torch

from nbsrc.blocks import PlainBlock
from nbsrc.resnet import cifar_resnet
from nbsrc.shattered import gradient_similarity, input_gradients, settle


@pytest.fixture
def net():
    torch.manual_seed(0)
    return cifar_resnet(8, block=PlainBlock, width=4, in_channels=1)


def test_a_settled_net_treats_each_image_alone(net):
    images = torch.randn(64, 1, 8, 8)
    settle(net, images)
    together = input_gradients(net, images)
    torch.testing.assert_close(input_gradients(net, images[:1]), together[:1])
    assert together.shape == (64, 64) and not images.requires_grad


def test_settling_takes_over_the_statistics_of_the_images(net):
    images = torch.randn(64, 1, 8, 8) * 3 + 1
    settle(net, images)
    maps = net.conv1(images)
    torch.testing.assert_close(net.bn1.running_mean, maps.mean((0, 2, 3)))


def test_without_noise_the_gradients_are_the_same_and_with_more_they_differ_more():
    still, little, much = (
        gradient_similarity(depths=(8,), seeds=(0,), change=change, images=64)["cosine"]
        for change in (0.0, 0.01, 0.3)
    )
    assert still.to_list() == pytest.approx([1, 1], abs=1e-5)
    assert (little > much).all() and (still > little).all()
