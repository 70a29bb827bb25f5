"""Eigenpairs and what a task has to do with them, beside numpy."""

import numpy as np
import pytest

import entk


@pytest.fixture(scope="module")
def large():
    """A kernel that the iterative solver takes, (600, 600)."""
    x = np.random.default_rng(1).normal(size=(600, 40)) * 0.9 ** np.arange(40)
    return entk.Gram(x @ x.T)


@pytest.fixture(scope="module")
def y(kernel):
    return np.sign(np.random.default_rng(2).normal(size=kernel.n))


def test_leading_pairs_are_those_of_numpy(large):
    pairs = entk.eigsh(large, 6)
    array = np.asarray(large)
    values = np.linalg.eigvalsh(array)[::-1][:6]
    assert np.allclose(pairs.values, values, rtol=1e-10)
    measured = np.linalg.norm(array @ pairs.vectors - pairs.vectors * pairs.values, axis=0)
    assert (pairs.residuals <= 1e-10 * values[0]).all()
    assert np.allclose(measured, pairs.residuals, atol=1e-13 * values[0])
    assert np.allclose(pairs.vectors.T @ pairs.vectors, np.eye(6), atol=1e-12)
    assert pairs.vectors.shape == (600, 6) and len(pairs) == 6


@pytest.mark.parametrize("solver", ["auto", "krylov", "dense"])
def test_all_solvers_agree(large, solver):
    pairs = entk.eigsh(large, 4, solver=solver, tol=1e-12, seed=5)
    assert np.allclose(pairs.values, entk.eigh(large).values[:4], rtol=1e-10)


def test_all_pairs(kernel):
    pairs = entk.eigh(kernel)
    array = np.asarray(kernel)
    rebuilt = (pairs.vectors * pairs.values) @ pairs.vectors.T
    assert np.allclose(rebuilt, array, atol=1e-12 * kernel.trace())
    assert (np.diff(pairs.values) <= 0).all()
    largest = np.abs(pairs.vectors).argmax(axis=0)
    assert (pairs.vectors[largest, np.arange(20)] > 0).all()


def test_pairs_one_by_one(kernel):
    pairs = entk.eigsh(kernel, 3)
    value, vector = pairs[-1]
    assert value == pairs.values[2] and np.array_equal(vector, pairs.vectors[:, 2])
    assert [value for value, _ in pairs] == pairs.values.tolist()
    with pytest.raises(IndexError):
        pairs[3]
    assert np.shares_memory(vector, pairs.vectors) and not pairs.vectors.flags.writeable


def test_close_eigenvalues_are_named():
    pairs = entk.eigsh(np.diag([3.0, 2.0, 2.0, 1.0]), 4)
    assert pairs.clusters == [(1, 3)]


def test_pairs_are_files(kernel, tmp_path):
    pairs = entk.eigsh(kernel, 5)
    pairs.save(tmp_path / "pairs.safetensors")
    read = entk.Eigenpairs.load(tmp_path / "pairs.safetensors", kernel)
    assert np.array_equal(read.vectors, pairs.vectors)
    assert np.allclose(read.residuals, pairs.residuals, atol=1e-13 * kernel.trace())


def test_alignments(kernel, y):
    array = np.asarray(kernel)
    assert entk.alignment(kernel, y) == pytest.approx(y @ array @ y / 400, rel=1e-12)
    assert entk.rayleigh_alignment(kernel, 3 * y) == pytest.approx(y @ array @ y / 20, rel=1e-12)
    assert entk.alignment(array, y.astype(int)) == entk.alignment(kernel, y)


def test_energy(kernel, y):
    pairs = entk.eigh(kernel)
    for k in (1, 7, 20):
        energy = entk.energy_concentration(pairs, y, k)
        share = np.sum((pairs.vectors[:, :k].T @ y) ** 2) / 20
        assert energy.squared == pytest.approx(share, rel=1e-12)
        assert energy.ratio == pytest.approx(share**0.5, rel=1e-12)
