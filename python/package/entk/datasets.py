"""Images that come with the package."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import _entk


class Split(NamedTuple):
    """Training and test images with their labels."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def fashion_mnist_slice(*, standardized: bool = True) -> Split:
    """6,000 training and 2,000 test images of Fashion-MNIST, (N, 1, 28, 28) in float32, with labels
    0 to 9, (N,) in uint8; no file and no network is needed.

    Ten classes of 600 and 200 images in published order. Pixels are from 0 to 1, or
    ``standardized`` with mean and deviation of the training images. The images are (c) Zalando SE,
    MIT licence.
    """
    (x_train, y_train), (x_test, y_test) = _entk.fashion_mnist_slice(bool(standardized))
    return Split(x_train, y_train, x_test, y_test)
