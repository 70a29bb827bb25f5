"""Networks straight from modules, beside torch.func's kernel. Needs torch, and torchvision for one
test; nothing is downloaded."""

import subprocess
import sys

import numpy as np
import pytest

import entk

torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn

TOLERANCE = 1e-10  # of sqrt(K_nn K_mm), in float64


def kernel_of_torch(module, x):
    """sum_c grad f_c(x_n) . grad f_c(x_m), by one Jacobian an example."""
    theta = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    fixed = dict(module.named_buffers())
    fixed |= {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad}

    def f(theta, x):
        return torch.func.functional_call(module, (theta, fixed), (x[None],))[0]

    rows = torch.func.vmap(torch.func.jacrev(f), (None, 0))(theta, x)
    flat = [row.flatten(2) for row in rows.values()]
    return sum(torch.einsum("ncp,mcp->nm", row, row) for row in flat).numpy()


def error(kernel, reference):
    norms = np.sqrt(np.diag(reference))
    return np.max(np.abs(np.asarray(kernel) - reference) / np.outer(norms, norms))


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 40), nn.GELU(), nn.LayerNorm(40), nn.Linear(40, 3)
    )


def lenet():
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 20),
        nn.SiLU(),
        nn.Linear(20, 4),
    )


def resnet18():
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    return models.resnet18(weights=None, num_classes=2)


@pytest.fixture
def x():
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("build", [mlp, lenet])
def test_the_kernel_is_that_of_torch(build, x):
    torch.manual_seed(1)
    module = build().double().eval()
    network = entk.Network.from_module(module, x, dtype=torch.float64)
    assert np.allclose(network(x), module(x).detach(), rtol=0, atol=1e-12)
    assert error(entk.gram(network, x), kernel_of_torch(module, x)) <= TOLERANCE
    single = entk.gram(network, x, dtype="float32")
    assert error(single, kernel_of_torch(module, x)) <= 1e-5


def test_a_resnet_of_torchvision():
    torch.manual_seed(2)
    module = resnet18().double().eval()
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    network = entk.Network.from_module(module, x[:2], dtype="float64")
    assert error(entk.gram(network, x), kernel_of_torch(module, x)) <= TOLERANCE


def test_training_mode_comes_back(x):
    module = lenet().double()
    module[4].eval()
    entk.Network.from_module(module, x)
    assert [part.training for part in module] == [at != 4 for at in range(len(module))]


def test_parameters_are_a_state_dict(x):
    module = lenet().double().eval()
    network = entk.Network.from_module(module, x, dtype="float64")
    state = module.state_dict()
    named = {name: array for name, array in state.items() if "num_batches" not in name}
    assert set(network.params) == set(named)
    assert all(np.array_equal(network.params[name], array) for name, array in named.items())
    other = lenet().double().eval()
    theta = network.params_from(other.state_dict())
    assert np.allclose(network(x, theta), other(x).detach(), rtol=0, atol=1e-12)
    assert network.params_from(other.float().state_dict()).dtype == np.float32


def test_frozen_parameters_do_not_count(x):
    module = mlp().double().eval()
    module[1].requires_grad_(False)
    network = entk.Network.from_module(module, x, dtype="float64")
    assert network.params.count == sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert error(entk.gram(network, x), kernel_of_torch(module, x)) <= TOLERANCE
    alone = entk.Network.from_module(module, x, dtype="float64", trainable=["4.*"])
    assert alone.params.count == 40 * 3 + 3


def test_an_archive_is_the_module(x, tmp_path):
    module = mlp().eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, (x.float(),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "mlp.pt2")
    read = entk.gram(entk.Network.from_pt2(tmp_path / "mlp.pt2"), x)
    assert np.array_equal(read, entk.gram(entk.Network.from_module(module, x.float()), x))


def test_tensors_and_arrays_are_the_same_inputs(x):
    network = entk.Network.from_module(mlp(), x.float())
    kernel = entk.gram(network, x.requires_grad_())
    assert np.array_equal(kernel, entk.gram(network, x.detach().numpy()))
    assert torch.as_tensor(np.array(kernel)).shape == (5, 5)


class Interacting(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x - x.mean(0))


class Branching(nn.Linear):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


@pytest.mark.parametrize(
    ("module", "inputs", "words"),
    [
        (Interacting(), torch.randn(3, 4), "examples"),
        (Branching(4, 2), torch.randn(3, 4), "torch.export cannot write"),
        (nn.Linear(4, 2), torch.randn(3, 5), "torch.export cannot write"),
        (nn.Linear(4, 2), torch.randn(1, 4), "two or more"),
        (nn.Linear(4, 2), torch.tensor(1.0), "two or more"),
        (nn.Linear(4, 2), np.ones((3, 4)), "one tensor"),
        (nn.Linear(4, 2), (torch.randn(3, 4), torch.randn(3, 4)), "one tensor"),
        (lambda x: x, torch.randn(3, 4), "expected a torch.nn.Module"),
    ],
)
def test_what_cannot_be_a_network_is_refused(module, inputs, words):
    with pytest.raises(entk.InvalidInput, match=words):
        entk.Network.from_module(module, inputs)


def test_without_torch_the_package_works():
    code = """
import sys
sys.modules["torch"] = None
import entk
network = entk.Network.named("mlp", (1, 2, 2))
try:
    entk.Network.from_module(network, [[0.0]])
except ImportError as error:
    print("from_pt2" in str(error), entk.gram(network, [[[[1, 2], [3, 4]]]], network.init()).n)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True 1\n"
