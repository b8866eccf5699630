"""What a trained net loses when blocks are taken out or change places, without training again.

Veit et al. 2016, "Residual networks behave like ensembles of relatively shallow networks"
(arXiv:1605.06431), Sec. 4. NOTE[DIFF] Only blocks that keep their shape are touched, in the plain
net and in the residual one alike.
"""

import copy
from collections.abc import Sequence

import numpy as np
import polars as pl
from torch import Tensor, nn

from nbsrc.degradation import Run
from nbsrc.resnet import ResNet
from nbsrc.training import evaluate

Place = tuple[str, int]  # a block's stage and its number there, such as ("layer2", 1)


def places(net: ResNet) -> list[Place]:
    """The blocks that keep their shape, in depth order: all but the first of each later stage."""
    stages = [name for name in ("layer1", "layer2", "layer3", "layer4")
              if isinstance(getattr(net, name), nn.Sequential)]  # fmt: skip
    return [(stage, i) for stage in stages for i in range(len(getattr(net, stage)))
            if i > 0 or stage == "layer1"]  # fmt: skip


def without(net: ResNet, gone: Sequence[Place]) -> ResNet:
    """A copy of the net in which the identity stands for each of these blocks."""
    net = copy.deepcopy(net)
    for stage, i in gone:
        getattr(net, stage)[i] = nn.Identity()
    return net


def swapped(net: ResNet, one: Place, other: Place) -> ResNet:
    """A copy of the net in which two blocks of one stage have changed places.

    Raises ValueError if they are of two stages, whose blocks have unlike shapes.
    """
    if one[0] != other[0]:
        raise ValueError(f"only blocks of one stage can change places, however: {one=}, {other=}")
    net = copy.deepcopy(net)
    blocks = getattr(net, one[0])
    blocks[one[1]], blocks[other[1]] = blocks[other[1]], blocks[one[1]]
    return net


def lesions_of(
    run: Run, images: Tensor, labels: Tensor, *, several: Sequence[int], draws: int
) -> list[tuple[int, str, int, str, int, float]]:
    """The rows of `lesion_experiment` for one net."""
    found = places(run.net)
    rng = np.random.default_rng(run.seed)
    nets = [("none", 0, run.net)]
    nets += [("one out", i, without(run.net, [place])) for i, place in enumerate(found, 1)]
    for number in several:
        if number <= len(found):
            for _ in range(draws):
                gone = rng.choice(len(found), number, replace=False)
                nets.append(("several out", number, without(run.net, [found[i] for i in gone])))
    for number, stage in enumerate(sorted({stage for stage, _ in found}), 1):
        own = [place for place in found if place[0] == stage]
        nets.append(("two swapped", number, swapped(run.net, own[0], own[-1])))
    return [
        (*run[:3], lesion, number, 1 - evaluate(net, images, labels)["accuracy"])
        for lesion, number, net in nets
    ]


def lesion_experiment(
    runs: Sequence[Run], images: Tensor, labels: Tensor, *, several: Sequence[int], draws: int = 3
) -> pl.DataFrame:
    """The error of trained nets after each lesion, on the given images.

    Returns a table with columns depth, kind, seed, lesion, number and error. Lesions are "none";
    "one out", where number says which block (1 is next to the input); "several out", so many blocks
    drawn at random, ``draws`` times each; and "two swapped", the first and the last that keep their
    shape of the stage ``number``.
    """
    rows = [
        row for run in runs for row in lesions_of(run, images, labels, several=several, draws=draws)
    ]
    columns = ["depth", "kind", "seed", "lesion", "number", "error"]
    return pl.DataFrame(rows, schema=columns, orient="row")
