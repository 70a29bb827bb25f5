"""What cannot be is an exception with words, never a panic."""

import numpy as np
import pytest
from conftest import ARCHIVES

import entk

SHAPE = (1, 28, 28)


def bad(x, value):
    x = x.copy()
    x[3, 0, 2, 1] = value
    return x


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[0], "expected .N, 1, 28, 28. with N at least 1"),
        (lambda x: x[:, :, :27], "28"),
        (lambda x: x[:0], "N at least 1"),
        (lambda x: x.reshape(20, -1), "784"),
        (lambda x: np.float32(1.0), "shape"),
        (lambda x: bad(x, np.nan), r"^x holds nan in example 3, at .0, 2, 1.; remove or repair"),
        (lambda x: bad(x, np.inf), r"inf in example 3, at .0, 2, 1."),
        (lambda x: x.astype(complex), "complex128"),
        (lambda x: x.astype(str), "dtype"),
        (lambda x: [[1.0], [1.0, 2.0]], "array"),
        (lambda x: None, "object"),
        (lambda x: x.astype(np.float64) * 1e300, "inf"),
    ],
)
def test_inputs(lenet, images, change, words):
    params = lenet.init()
    for call in (
        lambda x: entk.gram(lenet, x, params),
        lambda x: entk.cross_gram(lenet, images, x, params),
        lambda x: lenet(x, params),
        lambda x: entk.fit_linearized(lenet, x, np.zeros(20, int), params, epochs=1, batch=2),
    ):
        with pytest.raises(entk.Error) as error:
            call(change(images))
        assert isinstance(error.value, ValueError) and str(error.value)
    with pytest.raises(ValueError, match=words):
        entk.gram(lenet, change(images), params)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"outputs": "all"}, 'outputs is "all"'),
        ({"outputs": 3}, "3"),
        ({"outputs": -1}, "outputs is -1"),
        ({"outputs": 1.5}, "outputs is 1.5"),
        ({"outputs": True}, "outputs is True"),
        ({"layers": ["fc7.weight"]}, "fc7.weight"),
        ({"layers": "fc3.weight"}, "list"),
        ({"dtype": "float16"}, "float16"),
        ({"dtype": "reals"}, "dtype"),
        ({"memory": -1}, "memory"),
        ({"params": {"fc1.weight": np.ones(3)}}, "fc1.weight"),
        ({"params": None}, "params=network.init"),
    ],
)
def test_settings(lenet, theta, images, settings, words):
    with pytest.raises(entk.InvalidInput, match=words):
        entk.gram(lenet, images, **({"params": theta} | settings))


def test_memory_is_said_before_it_is_taken(lenet, theta, images):
    with pytest.raises(MemoryError, match="may be used"):
        entk.gram(lenet, images, theta, memory=1 << 20)
    with pytest.raises(entk.OutOfMemory):
        entk.Network.named("lenet5", (1, 40000, 40000)).init()


def test_parameters(lenet, theta):
    arrays = dict(theta)
    del arrays["fc3.bias"]
    with pytest.raises(ValueError, match="fc3.bias"):
        lenet.params_from(arrays)
    with pytest.raises(ValueError, match="conv1.weight"):
        lenet.params_from(dict(theta) | {"conv1.weight": np.zeros((6, 1, 3, 3))})
    with pytest.raises(ValueError, match="NaN|finite"):
        lenet.params_from(dict(theta) | {"conv1.bias": np.full(6, np.nan)})
    with pytest.raises(ValueError, match="fc9"):
        lenet.with_trainable(["fc9.*"])
    with pytest.raises(ValueError, match="list"):
        lenet.with_trainable("fc3.*")
    with pytest.raises(ValueError, match="seed"):
        lenet.init(seed=-1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lenet", SHAPE), "there are mlp, lenet5"),
        (("lenet5", (28, 28)), "channels, height, width"),
        (("gpt2", SHAPE), "tokens"),
        (("lenet5", (1, 27, 28)), "multiples of 4"),
        (("lenet5", SHAPE, 0), "outputs|widths"),
        (("lenet5", SHAPE, -1), "outputs"),
        (("lenet5", 28), "input_shape"),
        (("lenet5", (1, "28", 28)), "input_shape"),
        (("mlp", (2**62, 2**62, 1)), "more numbers"),
    ],
)
def test_names(arguments, words):
    with pytest.raises(entk.Error, match=words):
        network = entk.Network.named(*arguments)
        network.init()


def test_activations():
    with pytest.raises(ValueError, match="of its own"):
        entk.Network.named("vgg", (3, 32, 32), activation="tanh")
    with pytest.raises(ValueError, match="gelu-erf"):
        entk.Network.named("mlp", SHAPE, activation="gelu")


def test_solvers(kernel):
    for k in (0, 21, 10**9):
        with pytest.raises(ValueError, match="choose K from 1 to 20"):
            entk.eigsh(kernel, k)
    for settings in ({"k": -1}, {"k": 2.0}, {"k": 2**64}):
        with pytest.raises(ValueError, match="k is"):
            entk.eigsh(kernel, **settings)
    with pytest.raises(ValueError, match="tolerance"):
        entk.eigsh(kernel, 2, tol=0.0)
    with pytest.raises(ValueError, match="tolerance"):
        entk.eigsh(kernel, 2, tol=np.nan)
    with pytest.raises(ValueError, match="krylov"):
        entk.eigsh(kernel, 2, solver="lanczos")
    with pytest.raises(ArithmeticError, match="converged"):
        entk.eigsh(np.diag(np.arange(1.0, 601.0)), 3, solver="krylov", max_products=8)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones(3), "two axes"),
        (np.ones((2, 3)), "as many rows"),
        (np.ones((0, 0)), "empty"),
        ([[1.0, 0.0], [1.0, 1.0]], "not symmetric"),
        ([[np.nan, 0.0], [0.0, 1.0]], "NaN"),
        ([["a"]], "dtype"),
    ],
)
def test_kernels_of_others(array, words):
    with pytest.raises(entk.InvalidInput, match=words):
        entk.Gram(array)
    with pytest.raises(entk.InvalidInput, match=words):
        entk.eigsh(array, 1)


def test_targets(kernel, lenet, theta, images):
    pairs = entk.eigh(kernel)
    for y in (np.ones(19), np.ones((20, 2)), np.full(20, np.nan), ["a"] * 20):
        with pytest.raises(entk.InvalidInput):
            entk.alignment(kernel, y)
        with pytest.raises(entk.InvalidInput):
            entk.energy_concentration(pairs, y, 3)
    with pytest.raises(entk.InvalidInput, match="zero"):
        entk.energy_concentration(pairs, np.zeros(20), 3)
    with pytest.raises(entk.InvalidInput, match="expected Eigenpairs"):
        entk.energy_concentration(kernel, np.ones(20), 3)
    for y in (np.full(20, 3), np.full(20, -1), np.zeros((20, 3), int), np.zeros(19, int)):
        with pytest.raises(entk.InvalidInput):
            entk.fit_linearized(lenet, images, y, theta, epochs=1, batch=2)
    one = entk.Network.named("mlp", SHAPE)
    with pytest.raises(entk.InvalidInput, match="one output"):
        entk.fit_linearized(one, images, np.full(20, 2), one.init(), epochs=1, batch=2)


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"batch": 21},
        {"learning_rate": -1.0},
        {"momentum": 1.0},
        {"schedule": "steps"},
        {"loss": "hinge"},
        {"loss": "logistic"},
        {"stop_at_loss": -1.0},
    ],
)
def test_training(lenet, theta, images, settings):
    arguments = {"epochs": 1, "batch": 5} | settings
    with pytest.raises(entk.InvalidInput):
        entk.fit_linearized(lenet, images, np.zeros(20, int), theta, **arguments)


def test_divergence(lenet, theta, images):
    with pytest.raises(ArithmeticError, match="diverged"):
        entk.fit_linearized(
            lenet, images, np.ones((20, 3)), theta, epochs=50, batch=5, learning_rate=1e3
        )


def test_predictions(kernel):
    array = np.asarray(kernel)
    with pytest.raises(entk.InvalidInput):
        entk.predict(kernel, array[:5, :19], np.ones(20))
    with pytest.raises(entk.InvalidInput):
        entk.predict(kernel, array[:5], np.ones(19))
    with pytest.raises(entk.InvalidInput):
        entk.predict(kernel, array[:5], np.ones(20), ridge=-1.0)
    with pytest.raises(entk.InvalidInput, match="leave them out"):
        entk.predict(kernel, array[:5], np.ones(20), ridge=1.0, time=1.0)
    with pytest.raises(entk.InvalidInput):
        entk.predict(kernel, array[:5], np.ones(20), time=-1.0)
    with pytest.raises(ArithmeticError, match="raise the ridge by 1e-7 or more"):
        entk.predict(np.ones((2, 2)), np.ones((1, 2)), np.ones(2))


def test_files(tmp_path, kernel, lenet):
    absent = tmp_path / "absent"
    for call in (
        lambda: entk.Gram.load(absent),
        lambda: entk.CrossGram.load(absent),
        lambda: entk.Network.from_pt2(absent),
        lambda: lenet.load_params(absent),
        lambda: entk.Eigenpairs.load(absent, kernel),
        lambda: kernel.save(absent / "gram.npy"),
    ):
        with pytest.raises(OSError, match="absent") as error:
            call()
        assert isinstance(error.value, entk.FileError)
    junk = tmp_path / "junk.npy"
    junk.write_bytes(b"nothing of the kind")
    for call in (
        lambda: entk.Gram.load(junk),
        lambda: entk.Network.from_pt2(junk),
        lambda: lenet.load_params(junk),
        lambda: entk.Eigenpairs.load(junk, kernel),
    ):
        with pytest.raises(ValueError, match="junk"):
            call()


@pytest.mark.parametrize("path", sorted((ARCHIVES / "refuse").glob("*.pt2")), ids=lambda p: p.stem)
def test_archives_that_are_refused(path):
    with pytest.raises(entk.InvalidInput):
        entk.Network.from_pt2(path)


def test_what_is_no_network(images):
    with pytest.raises(entk.InvalidInput, match="entk.Network.from_module"):
        entk.gram(object(), images)


def test_every_exception_is_one_of_python(lenet):
    kinds = {
        entk.InvalidInput: ValueError,
        entk.FileError: OSError,
        entk.OutOfMemory: MemoryError,
        entk.ComputationError: ArithmeticError,
        entk.InternalError: RuntimeError,
    }
    for ours, builtin in kinds.items():
        assert issubclass(ours, entk.Error) and issubclass(ours, builtin)
