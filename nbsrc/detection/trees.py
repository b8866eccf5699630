"""An Isolation Forest (Liu et al. 2008) as plain arrays, that are saved and scored without
pickle."""

import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from sklearn.tree import BaseDecisionTree
from torch import Tensor

TREES = 64
SAMPLE = 256  # events a tree, the paper's number


class Trees(NamedTuple):
    """The trees, each filled up to the same depth: below a leaf all goes to the left.

    Node i's children are 2i + 1 and 2i + 2, so that no pointer is needed. feature, threshold
    (trees, inner nodes): to the right goes what is larger. leaf (trees, leaves): how many splits it
    took to get there, with what the events of the leaf would have taken on average, over the
    number for all events of the tree."""

    feature: Tensor
    threshold: Tensor
    leaf: Tensor

    @classmethod
    def of(cls, past: Tensor, seed: int) -> "Trees":
        """Grow scikit-learn's forest on the past events (rows, columns), and take its arrays."""
        sample = min(SAMPLE, len(past))
        forest = IsolationForest(n_estimators=TREES, max_samples=sample, random_state=seed)
        forest.fit(past.numpy())
        depth = max(1, math.ceil(math.log2(max(sample, 2))))
        grown = zip(forest.estimators_, forest.estimators_features_, strict=True)
        arrays = [_filled(tree, features, depth) for tree, features in grown]
        feature, threshold, leaf = (
            torch.from_numpy(np.stack(a)) for a in zip(*arrays, strict=True)
        )
        return cls(feature, threshold, (leaf / _average(np.array([sample]))[0]).float())

    def score(self, x: Tensor) -> Tensor:
        """scikit-learn's score, with its sign turned: (rows, columns) -> (rows,), in (0, 1), higher
        is stranger."""
        inner = torch.arange(len(self.feature), device=x.device) * self.feature.shape[1]
        node = x.new_zeros((len(x), len(self.feature)), dtype=torch.int64)
        for _ in range(int(math.log2(self.leaf.shape[1]))):
            at = node + inner
            right = x.gather(1, self.feature.take(at)) > self.threshold.take(at)
            node = 2 * node + 1 + right
        first = torch.arange(len(self.leaf), device=x.device) * self.leaf.shape[1]
        depth = self.leaf.take(node - self.feature.shape[1] + first).mean(1)
        return torch.exp2(-depth)


def _filled(
    tree: BaseDecisionTree, features: np.ndarray, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One tree's features, thresholds and leaves, filled up to `depth`."""
    grown, inner = tree.tree_, 2**depth - 1
    feature = np.zeros(inner, np.int64)
    threshold = np.full(inner, np.inf, np.float32)
    source = np.zeros(2 * inner + 1, np.int64)  # the grown tree's node at each place
    splits = np.zeros(2 * inner + 1)
    for i in range(inner):
        node = source[i]
        left, right = grown.children_left[node], grown.children_right[node]
        split = left != right
        source[2 * i + 1 : 2 * i + 3] = (left, right) if split else node
        splits[2 * i + 1 : 2 * i + 3] = splits[i] + split
        if split:
            feature[i] = features[grown.feature[node]]
            # scikit-learn compares in double precision: the next float below decides the same.
            limit = np.float32(grown.threshold[node])
            threshold[i] = limit if limit <= grown.threshold[node] else np.nextafter(limit, -np.inf)
    ends = slice(inner, None)
    return feature, threshold, splits[ends] + _average(grown.n_node_samples[source[ends]])


def _average(n: np.ndarray) -> np.ndarray:
    """The mean number of splits that n events take to be told apart (Liu et al. 2008, Eq. 1)."""
    many = np.maximum(n, 3)
    average = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(n > 2, average, np.where(n == 2, 1.0, 0.0))
