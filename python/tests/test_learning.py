"""Training of linearizations and predictions from kernels, beside their formulas in numpy."""

import numpy as np
import pytest

import entk


def test_a_linearization_follows_its_kernel(lenet, theta, images):
    """Full-batch gradient descent on the squared loss: f <- f - rate/N K (f - y)."""
    y = np.random.default_rng(3).normal(size=(20, 3))
    kernel = np.asarray(entk.gram(lenet, images, theta, outputs="full"))
    rate = 20 / np.linalg.eigvalsh(kernel)[-1]
    settings = {"batch": 20, "momentum": 0.0, "schedule": "constant", "learning_rate": rate}
    test = (images[:4], y[:4])
    fit = entk.fit_linearized(lenet, images, y, theta, epochs=5, test=test, **settings)
    f = lenet(images, theta).reshape(-1)
    start = f.copy()
    for _ in range(5):
        f = f - rate / 20 * kernel @ (f - y.reshape(-1))
    assert np.allclose(fit(images).reshape(-1), f, atol=1e-9 * np.abs(f - start).max())
    assert not np.allclose(f, start)
    history = fit.history
    assert history.epoch.tolist() == [1, 2, 3, 4, 5] and history.outcome == "completed"
    assert history.train_loss[-1] == pytest.approx(np.mean((f.reshape(20, 3) - y) ** 2) * 1.5)
    assert np.isnan(history.train_accuracy).all() and (history.train_rmse > 0).all()
    assert (np.diff(history.train_loss) < 0).all() and (np.diff(history.distance) > 0).all()
    moved = sum(np.sum((fit.params[name] - theta[name]) ** 2) for name in theta)
    assert history.distance[-1] == pytest.approx(moved**0.5)


def test_classes_and_binary_labels(lenet, theta, images, labels):
    fit = entk.fit_linearized(lenet, images, labels % 3, theta, epochs=40, batch=10)
    assert fit.history.train_accuracy[-1] > fit.history.train_accuracy[0]
    one = entk.Network.named("mlp", (1, 28, 28))
    fit = entk.fit_linearized(
        one,
        images,
        labels > 4,
        one.init(),
        epochs=500,
        batch=10,
        learning_rate=1e-3,
        stop_at_loss=0.3,
    )
    assert fit.history.outcome == "converged" and len(fit.history) < 500


def test_regression(kernel):
    array, rng = np.asarray(kernel), np.random.default_rng(4)
    y, f0, f0_test = (rng.normal(size=(rows, 2)) for rows in (15, 15, 5))
    gram, cross = entk.Gram(array[:15, :15]), entk.CrossGram(array[15:, :15])
    ridge = 0.1 * array[0, 0]
    prior = np.diag(array)[15:]
    found = entk.predict(gram, cross, y, ridge=ridge, f0=f0, f0_test=f0_test, prior=prior)
    inverse = np.linalg.inv(array[:15, :15] + ridge * np.eye(15))
    expected = f0_test + array[15:, :15] @ inverse @ (y - f0)
    assert np.allclose(found.outputs, expected, rtol=1e-8, atol=1e-9)
    assert found.residuals.shape == (2,) and found.residuals.max() < 1e-10
    variances = prior - np.einsum("mi,ij,mj->m", array[15:, :15], inverse, array[15:, :15])
    assert np.allclose(found.variances, variances, rtol=1e-8)
    assert entk.predict(array[:15, :15], array[15:, :15], y[:, 0]).outputs.shape == (5, 1)


def test_gradient_flow(kernel):
    array, y = np.asarray(kernel), np.random.default_rng(5).normal(size=20)
    values, vectors = np.linalg.eigh(array)
    time = 2.0 * 20 / values[-1]
    learned = vectors @ ((1 - np.exp(-time * values / 20)) * (vectors.T @ y))
    found = entk.predict(kernel, array, y, time=time)
    assert np.allclose(found.outputs[:, 0], learned, rtol=1e-9, atol=1e-11)
    assert found.residuals is None and found.variances is None


def test_gradient_flow_of_a_full_kernel_counts_examples(lenet, theta, images):
    full = entk.gram(lenet, images, theta, outputs="full")
    array, y = np.asarray(full), np.random.default_rng(6).normal(size=60)
    values, vectors = np.linalg.eigh(array)
    time = 20 / values[-1]
    learned = vectors @ ((1 - np.exp(-time * values / 20)) * (vectors.T @ y))
    found = entk.predict(full, array, y, time=time)
    assert np.allclose(found.outputs[:, 0], learned, rtol=1e-8, atol=1e-9)


def test_images_of_the_package():
    data = entk.datasets.fashion_mnist_slice(standardized=False)
    assert data.x_train.shape == (6000, 1, 28, 28) and data.x_test.shape == (2000, 1, 28, 28)
    assert data.x_train.dtype == np.float32 and data.y_train.dtype == np.uint8
    assert np.bincount(data.y_test).tolist() == [200] * 10
    assert data.x_train.min() == 0.0 and data.x_train.max() == 1.0
    standard = entk.datasets.fashion_mnist_slice()
    assert abs(standard.x_train.mean(dtype=float)) < 1e-4
