"""What tests share: small networks, images, and archives of the repository."""

import json
import pathlib

import numpy as np
import pytest

import entk

ARCHIVES = pathlib.Path(__file__).resolve().parents[2] / "crates/entk/tests/golden/torch"


@pytest.fixture(scope="session")
def images():
    """20 images (N, 1, 28, 28), float32."""
    return entk.datasets.fashion_mnist_slice().x_train[:20]


@pytest.fixture(scope="session")
def labels():
    return entk.datasets.fashion_mnist_slice().y_train[:20]


@pytest.fixture(scope="session")
def lenet():
    """A network of three outputs."""
    return entk.Network.named("lenet5", (1, 28, 28), outputs=3, activation="tanh")


@pytest.fixture(scope="session")
def theta(lenet):
    return lenet.init(seed=1, dtype="float64")


@pytest.fixture(scope="session")
def kernel(lenet, theta, images):
    """(20, 20), float64."""
    return entk.gram(lenet, images, theta)


def read_safetensors(path):
    """The arrays of a file whose tensors are reals."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    types = {"F64": np.float64, "F32": np.float32}
    arrays = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__" and entry["dtype"] in types:
            begin, end = (8 + length + at for at in entry["data_offsets"])
            flat = np.frombuffer(data[begin:end], types[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"])
    return arrays
