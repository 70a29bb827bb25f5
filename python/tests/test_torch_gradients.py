"""Modules whose gradients are a matter of convention, or their own: kinks, roots, hooks, functions
of autograd; and the predictor of a module's linearization. Needs torch."""

import doctest
import pathlib
import re

import numpy as np
import pytest

import entk

torch = pytest.importorskip("torch", reason="torch is not installed")
nn, functional = torch.nn, torch.nn.functional


class Entries(nn.Module):
    """A function of x + b, entry by entry: its full kernel is the square of its slopes."""

    def __init__(self, function, count):
        super().__init__()
        self.function = function
        self.b = nn.Parameter(torch.zeros(count, dtype=torch.float64))

    def forward(self, x):
        return self.function(x + self.b)


KINKS = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardtanh": functional.hardtanh,
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "leaky_relu": functional.leaky_relu,
    "elu": lambda x: functional.elu(x, alpha=2.0),
    "celu": lambda x: functional.celu(x, alpha=2.0),
    "selu": functional.selu,
    "prelu": lambda x: functional.prelu(x, x.new_tensor([0.25])),
    "threshold": lambda x: functional.threshold(x, 1.0, 7.0),
    "hardshrink": functional.hardshrink,
    "softshrink": functional.softshrink,
    "clamp": lambda x: x.clamp(-1, 1),
    "clamp_min": lambda x: x.clamp(min=1.0),
    "clamp_max": lambda x: x.clamp(max=1.0),
    "abs": torch.abs,
    "max of an axis": lambda x: torch.stack([x, torch.ones_like(x)], -1).max(-1).values,
    "min of an axis": lambda x: torch.stack([torch.ones_like(x), x], -1).min(-1).values,
}
AT = torch.tensor([-6.0, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 6], dtype=torch.float64)


def slopes(function, at):
    """|f'| here, and f' of torch."""
    module, x = Entries(function, len(at)), torch.stack([at, at])
    network = entk.Network.from_module(module, x, dtype="float64")
    ours = np.sqrt(entk.gram(network, at[None], outputs="full").diagonal())
    at = at.clone().requires_grad_()
    return ours, torch.autograd.grad(function(at).sum(), at)[0].numpy()


@pytest.mark.parametrize("name", KINKS)
def test_slopes_at_kinks_are_those_of_torch(name):
    ours, theirs = slopes(KINKS[name], AT)
    assert np.allclose(ours, np.abs(theirs), rtol=0, atol=1e-7)


@pytest.mark.parametrize("function", [torch.maximum, torch.minimum])
def test_ties_of_two_go_to_the_first_and_are_shared_by_torch(function):
    ours, theirs = slopes(lambda x: function(x, torch.ones_like(x)), AT)
    tie = AT.numpy() == 1.0
    assert np.allclose(ours[~tie], theirs[~tie]) and (ours[tie], theirs[tie]) == (1.0, 0.5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.sqrt(functional.relu(x)),
        lambda x: torch.stack([x, torch.ones_like(x)], -1).std(-1),
        lambda x: torch.linalg.vector_norm(x[..., None], dim=-1),
    ],
    ids=["sqrt", "std", "norm"],
)
def test_roots_of_zero_are_refused_by_their_cause(function):
    at = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with pytest.raises(entk.Error, match="root of zero.*add a small constant under the root") as e:
        slopes(function, at)
    assert "--dtype" not in str(e.value)


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x.sign()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Body(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.body, self.head, self.between = nn.Linear(4, 3), nn.Linear(3, 2), between

    def forward(self, x):
        return self.head(self.between(self.body(x)))


def notes(module, **settings):
    return entk.Network.from_module(module, torch.randn(2, 4), **settings).notes


def test_gradients_of_the_modules_own_are_noted():
    assert notes(Body(torch.tanh)) == ()
    (note,) = notes(Body(StraightThrough.apply))
    assert "torch.autograd.Function is not exported (StraightThrough)" in note
    hooked = Body(torch.tanh)
    hooked.body.weight.register_hook(lambda gradient: -gradient)
    hooked.head.register_full_backward_hook(lambda module, given, taken: None)
    (note,) = notes(hooked)
    assert "hooks on gradients are not exported (body.weight, head)" in note
    checkpoint = torch.utils.checkpoint.checkpoint
    assert notes(Body(lambda x: checkpoint(torch.tanh, x, use_reentrant=False))) == ()


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * self.calls


def test_buffers_that_forward_changes_are_noted_and_left_alone():
    module = Counting()
    (note,) = notes(module)
    assert "buffers that forward changes" in note and "calls" in note
    assert module.calls.item() == 0.0


def test_rounding_of_parameters_is_noted():
    module = Body(torch.tanh).double()
    (note,) = entk.Network.from_module(module, torch.randn(2, 4).double()).notes
    assert "rounded to float32" in note
    x = torch.randn(2, 4, dtype=torch.float64)
    assert entk.Network.from_module(module, x, dtype="float64").notes == ()


def no_grad(x):
    with torch.no_grad():
        return torch.tanh(x)


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (no_grad, r"`torch.no_grad\(\)`.*requires_grad_\(False\)"),
        (lambda x: functional.dropout(x, training=True), "training=self.training"),
        (
            lambda x: functional.batch_norm(x, None, None, training=True),
            "training=self.training",
        ),
        (lambda x: torch.linalg.svd(x)[1] if x.sum() > 0 else x, "use torch.where"),
    ],
    ids=["no_grad", "dropout", "batch norm", "branch"],
)
def test_refusals_say_what_to_write(between, words, capfd):
    with pytest.raises(entk.InvalidInput, match=words) as error:
        notes(Body(between))
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_the_example_of_predict_is_the_linearization():
    """Its minimum of ||f - y|| nearest to theta_0, by least squares over Jacobians; the trace is
    not."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 30), nn.Tanh(), nn.Linear(30, 3)).double()
    x, x_new = torch.randn(8, 5).double(), torch.randn(4, 5).double()
    y = torch.randn(8, 3).double().numpy()
    theta = {name: p.detach() for name, p in module.named_parameters()}

    def jacobian(x):
        def f(theta):
            return torch.func.functional_call(module, theta, (x,))

        rows = torch.func.jacrev(f)(theta).values()
        return torch.cat([row.reshape(3 * len(x), -1) for row in rows], 1).numpy()

    f0, f0_new = (module(x).detach().numpy().reshape(-1) for x in (x, x_new))
    step = np.linalg.lstsq(jacobian(x), y.reshape(-1) - f0, rcond=None)[0]
    expected = (f0_new + jacobian(x_new) @ step).reshape(4, 3)

    network = entk.Network.from_module(module, x, dtype="float64")
    names = {"entk": entk, "network": network, "x": x, "x_new": x_new, "y": y}
    examples = doctest.DocTestParser().get_examples(entk.predict.__doc__)
    for example in examples:
        exec(compile(example.source, "<predict>", "single"), names)  # noqa: S102
    found = names["found"].outputs.reshape(-1, network.outputs)
    assert np.allclose(found, expected, rtol=0, atol=1e-8)
    trace = entk.predict(
        entk.gram(network, x),
        entk.cross_gram(network, x_new, x),
        y,
        f0=f0.reshape(8, 3),
        f0_test=f0_new.reshape(4, 3),
    )
    assert np.abs(trace.outputs - expected).max() > 0.01


def test_kernels_of_the_book_are_those_of_torch_func():
    """The Python of "In one look", as it stands there."""
    book = pathlib.Path(__file__).parents[2] / "docs/book/src/names.md"
    blocks = re.findall(r"```python\n(.*?)```", book.read_text(), re.DOTALL)
    assert len(blocks) == 2
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.GELU(), nn.Linear(8, 3)).double()
    theirs = {"model": model, "x": torch.randn(4, 1, 6, 6).double()}
    ours = dict(theirs)
    for block, names in zip(blocks, (theirs, ours), strict=True):
        exec(block, names)  # noqa: S102
    for name in ("trace", "full"):
        assert np.allclose(ours[name], theirs[name].numpy(), rtol=1e-10, atol=1e-12)


def test_a_trained_module_hands_in_its_weights():
    module, x = Body(torch.tanh), torch.randn(3, 4)
    network = entk.Network.from_module(module, x)
    before = entk.gram(network, x)
    with torch.no_grad():
        module.head.weight.mul_(2.0)
    assert np.array_equal(entk.gram(network, x), before)
    trained = entk.Network.from_module(module, x)
    assert np.array_equal(entk.gram(network, x, module.state_dict()), entk.gram(trained, x))
