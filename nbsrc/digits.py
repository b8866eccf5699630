"""Real images without a download: scikit-learn's 1,797 scans of handwritten digits."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor


class Digits(NamedTuple):
    """Images (n, 1, 8, 8), float32, standardised by the training set's mean and deviation.

    Labels (n,), 0 to 9.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_digits() -> Digits:
    """The digits, three quarters to train on (1,347) and one quarter to test on (450).

    The split is fixed and stratified by digit, so that results are comparable across the book.

    >>> load_digits().train_images.shape
    torch.Size([1347, 1, 8, 8])
    """
    pixels, labels = datasets.load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.float32)
    parts = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    train_images, test_images, train_labels, test_labels = (
        torch.from_numpy(part) for part in parts
    )
    mean, std = train_images.mean(), train_images.std()
    return Digits(
        (train_images - mean) / std, train_labels, (test_images - mean) / std, test_labels
    )
