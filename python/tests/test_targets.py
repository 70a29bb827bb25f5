"""Targets of kernels: numbers, in the order of the kernel's rows; what else is passed is refused
with what to pass in its place."""

import numpy as np
import pytest

import entk


@pytest.fixture(scope="module")
def full(lenet, theta, images):
    return entk.gram(lenet, images, theta, outputs="full")


def tasks(kernel):
    """The four functions of targets, as functions of y."""
    pairs, array = entk.eigh(kernel), np.asarray(kernel)
    return {
        "alignment": lambda y: entk.alignment(kernel, y),
        "rayleigh_alignment": lambda y: entk.rayleigh_alignment(kernel, y),
        "energy_concentration": lambda y: entk.energy_concentration(pairs, y, 3).ratio,
        "predict": lambda y: entk.predict(kernel, array, y).outputs[:, 0],
    }


NAMES = ["alignment", "rayleigh_alignment", "energy_concentration", "predict"]


@pytest.mark.parametrize("name", NAMES)
def test_class_numbers_are_no_targets(kernel, name):
    task, classes = tasks(kernel)[name], np.arange(20) % 10
    with pytest.raises(entk.InvalidInput, match=r"classes 0 to 9; .*`\(y < 5\) \* 2.0 - 1.0`"):
        task(classes)
    with pytest.raises(entk.InvalidInput, match=r"classes 0 and 1; .*signs, `y \* 2.0 - 1.0`"):
        task((classes % 2).astype(np.uint8))
    with pytest.raises(entk.InvalidInput, match=r"truth values; .*signs, `y \* 2.0 - 1.0`"):
        task(classes < 5)
    with pytest.raises(entk.InvalidInput, match="whole numbers -3 to 3"):
        task([-3, 3] * 10)
    with pytest.raises(entk.InvalidInput, match=r"y.astype\(float\)"):
        task(np.full(20, 7))
    signs = np.where(classes < 5, 1, -1)
    assert np.array_equal(task(signs), task((classes < 5) * 2.0 - 1.0))
    assert np.array_equal(task(signs.tolist()), task(signs.astype(np.int8)))
    assert np.all(np.isfinite(task(classes.astype(float))))


def test_one_hot_columns_are_numbers(kernel):
    hot = np.arange(20)[:, None] % 3 == np.arange(3)
    found = entk.predict(kernel, np.asarray(kernel), hot.astype(int), ridge=1.0)
    assert np.array_equal(
        found.outputs, entk.predict(kernel, np.asarray(kernel), hot * 1.0, ridge=1.0).outputs
    )


def test_several_columns_are_taken_one_at_a_time(kernel, full):
    for task in list(tasks(kernel).values())[:3]:
        with pytest.raises(entk.InvalidInput, match=r"shape \(20, 3\).*`y\[:, c\]`"):
            task(np.ones((20, 3)))
    with pytest.raises(entk.InvalidInput, match=r"y.reshape\(-1\)"):
        entk.alignment(full, np.ones((20, 3)))
    for function in (entk.alignment, entk.rayleigh_alignment):
        with pytest.raises(entk.InvalidInput, match=r"20 entries, the kernel 20 x 3 rows"):
            function(full, np.ones(20))
    with pytest.raises(entk.InvalidInput, match="19 entries, the kernel 20 rows"):
        entk.alignment(kernel, np.ones(19))


def test_a_full_kernel_predicts_rows(full):
    array, y = np.asarray(full), np.ones((20, 3))
    for arguments in ((y, None), (y.reshape(-1), y)):
        with pytest.raises(entk.InvalidInput, match=r"20 x 3 rows.*pass `\w+.reshape\(-1\)`"):
            entk.predict(full, array, arguments[0], f0=arguments[1], f0_test=arguments[1])
    with pytest.raises(entk.InvalidInput, match=r"y has 20 rows; expected \(60,\)"):
        entk.predict(full, array, np.ones(20))


def test_outputs_before_training_come_in_pairs(kernel):
    array, y = np.asarray(kernel), np.ones(20)
    for name, other in (("f0", "f0_test"), ("f0_test", "f0")):
        with pytest.raises(entk.InvalidInput, match=f"^{name} without {other}: give both"):
            entk.predict(kernel, array, y, **{name: y})


def test_a_cross_gram_has_new_inputs_first(lenet, theta, images, kernel):
    swapped = entk.cross_gram(lenet, images, images[:5], theta)
    with pytest.raises(entk.InvalidInput, match=r"\(20, 5\); expected \(M, 20\).*new inputs first"):
        entk.predict(kernel, swapped, np.ones(20))


def test_kernels_of_other_outputs_do_not_mix(lenet, theta, images, kernel):
    other = entk.cross_gram(lenet, images[:5], images, theta, outputs="sum")
    one = entk.gram(lenet, images, theta, outputs=2)
    assert (kernel.outputs, other.outputs, one.outputs) == ("trace", "sum", 2)
    assert repr(one) == "Gram(n=20, dtype=float64, outputs=2)"
    assert repr(other) == 'CrossGram(shape=(5, 20), dtype=float64, outputs="sum")'
    with pytest.raises(entk.InvalidInput, match='of outputs="trace" and cross of outputs="'):
        entk.predict(kernel, other, np.ones(20))
    assert entk.Gram(np.asarray(kernel)).outputs is None
    assert entk.predict(np.asarray(kernel), other, np.ones(20)).outputs.shape == (5, 1)
    single = entk.Network.named("mlp", (1, 28, 28))
    params = single.init()
    gram = entk.gram(single, images, params, outputs="sum")
    cross = entk.cross_gram(single, images[:2], images, params, outputs=0)
    assert entk.predict(gram, cross, np.ones(20), ridge=1.0).outputs.shape == (2, 1)


def test_results_are_short_in_print(lenet, theta, images, kernel):
    fit = entk.fit_linearized(
        lenet,
        images,
        np.ones((20, 3)),
        theta,
        epochs=3,
        batch=20,
        learning_rate=1e-6,
        eval_every=3,
    )
    assert repr(fit.history).startswith("History(3 epochs, completed, train_loss ")
    found = entk.predict(kernel, np.asarray(kernel), np.ones(20), ridge=1.0)
    assert repr(found).startswith(
        "Prediction(outputs (20, 1), coefficients (20, 1), residuals at most "
    )
    assert "residuals ‖K φ - λ φ‖ at most" in str(entk.eigh(kernel))
