"""Kernels: what they are, and that numpy reads them where they are."""

import gc

import numpy as np
import pytest

import entk


def test_of_a_linear_part_it_is_the_product_of_inputs():
    """f = w3 relu(W2 relu(W1 x + b1) + b2) with all units at work is linear in W1:
    K = ||W2^T w3||^2 (x . x' + 1)."""
    network = entk.Network.named("mlp", (1, 2, 3))
    drawn = network.init(seed=3, dtype="float64")
    theta = dict(drawn)
    theta["fc1.bias"] = np.full(100, 1e3)
    theta["fc2.weight"] = np.abs(theta["fc2.weight"])
    x = np.random.default_rng(0).normal(size=(7, 1, 2, 3))
    flat = x.reshape(7, 6)
    scale = np.sum((theta["fc3.weight"] @ theta["fc2.weight"]) ** 2)
    kernel = entk.gram(network, x, theta, layers=["fc1.weight"])
    assert np.allclose(kernel, scale * (flat @ flat.T + 1.0), rtol=1e-12)


def test_it_is_the_derivative_squared(lenet, theta, images):
    """||J^T e_n||^2 by central differences along the gradient's own direction needs a gradient;
    along random directions v, E (J v)^2 = K. Here: v spans one bias, whose J v is exact."""
    step, name = 1e-5, "fc2.bias"
    jacobian = []
    for unit in range(theta[name].size):
        moved = []
        for sign in (1, -1):
            arrays = dict(theta)
            arrays[name] = arrays[name] + sign * step * np.eye(theta[name].size)[unit]
            moved.append(lenet(images[:3], lenet.params_from(arrays)))
        jacobian.append((moved[0] - moved[1]) / (2 * step))
    jacobian = np.stack(jacobian, axis=-1)  # (3, C, P)
    expected = np.einsum("ncp,mcp->nm", jacobian, jacobian)
    alone = lenet.with_trainable([name])
    kernel = entk.gram(alone, images[:3], alone.params_from(theta))
    assert np.allclose(kernel, expected, rtol=1e-7)


def test_it_is_symmetric_and_positive(kernel):
    array = np.asarray(kernel)
    assert array.shape == (20, 20) == kernel.shape and array.dtype == np.float64
    assert np.array_equal(array, array.T)
    assert np.linalg.eigvalsh(array).min() > -1e-12 * kernel.trace()
    assert np.array_equal(kernel.diagonal(), np.diag(array))
    assert kernel.trace() == pytest.approx(np.trace(array), rel=1e-14)


def test_numpy_reads_its_memory(kernel):
    first, second = np.asarray(kernel), kernel.array
    assert np.shares_memory(first, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1.0
    copy = np.array(kernel, dtype=np.float32)
    copy[0, 0] = 1.0
    assert not np.shares_memory(copy, first)


def test_an_array_keeps_its_kernel(lenet, theta, images):
    kernel = entk.gram(lenet, images[:4], theta)
    array, copy = kernel.array, np.array(kernel)
    del kernel
    gc.collect()
    [np.empty((4, 4)) for _ in range(1000)]
    assert np.array_equal(array, copy)


def test_the_kernels_of_several_outputs_are_parts_of_the_full_one(lenet, theta, images):
    full = np.asarray(entk.gram(lenet, images, theta, outputs="full")).reshape(20, 3, 20, 3)
    trace = entk.gram(lenet, images, theta)
    assert np.allclose(trace, np.einsum("ncmc->nm", full), rtol=1e-12)
    total = entk.gram(lenet, images, theta, outputs="sum")
    assert np.allclose(total, full.sum(axis=(1, 3)), rtol=1e-10, atol=1e-12 * trace.trace())
    one = entk.gram(lenet, images, theta, outputs=2)
    assert np.allclose(one, full[:, 2, :, 2], rtol=1e-12, atol=1e-12 * trace.trace())
    assert entk.gram(lenet, images[:2], theta, outputs="full").rows_per_example == 3


def test_between_two_samples(lenet, theta, images, kernel):
    cross = entk.cross_gram(lenet, images[:5], images, theta)
    assert cross.shape == (5, 20) and len(cross) == 5
    assert np.allclose(cross, np.asarray(kernel)[:5], rtol=1e-12)
    assert np.shares_memory(np.asarray(cross), cross.array)


def test_types(lenet, theta, images, kernel):
    single = entk.gram(lenet, images, theta, dtype="float32")
    assert single.dtype == np.float32 and np.asarray(single).dtype == np.float32
    scale = np.sqrt(np.outer(kernel.diagonal(), kernel.diagonal()))
    assert np.max(np.abs(np.asarray(single) - np.asarray(kernel)) / scale) < 1e-5
    assert entk.gram(lenet, images, lenet.init()).dtype == np.float32


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.astype(np.float64),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x.astype(">f4"),
        lambda x: x.tolist(),
    ],
    ids=["f64", "fortran", "strided", "big endian", "lists"],
)
def test_any_array_of_the_same_numbers_gives_the_same_bits(lenet, theta, images, kernel, view):
    assert np.array_equal(entk.gram(lenet, view(images), theta), kernel)


def test_token_ids_of_any_whole_type():
    network = entk.Network.named("gpt2", (4,), outputs=1).with_trainable(["score.*"])
    theta = network.init()
    x = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    kernels = [entk.gram(network, x.astype(kind), theta) for kind in ("int64", "uint8", "float32")]
    assert all(np.array_equal(kernel, kernels[0]) for kernel in kernels)


def test_files(kernel, tmp_path):
    kernel.save(tmp_path / "gram.npy")
    assert np.array_equal(np.load(tmp_path / "gram.npy"), kernel)
    assert np.array_equal(entk.Gram.load(tmp_path / "gram.npy"), kernel)
    cross = entk.CrossGram(np.asarray(kernel)[:3])
    cross.save(tmp_path / "cross.npy")
    assert np.array_equal(entk.CrossGram.load(tmp_path / "cross.npy"), cross)


def test_somebody_elses_kernel():
    kernel = entk.Gram([[2, 1], [1, 3]])
    assert kernel.trace() == 5.0 and kernel.n == 2 == len(kernel)
    assert "5" in str(kernel) and repr(kernel) == "Gram(n=2, dtype=float64)"
