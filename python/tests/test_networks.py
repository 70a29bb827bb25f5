"""Networks and their parameters, by name and from archives."""

import numpy as np
import pytest
from conftest import ARCHIVES, read_safetensors

import entk


@pytest.mark.parametrize("name", entk.Network.names())
def test_every_name_is_a_network(name):
    shape = (16,) if name in ("gpt2", "bert", "llama") else (3, 32, 32)
    network = entk.Network.named(name, shape, outputs=2)
    assert network.outputs == 2 and network.input_shape == shape
    assert any(kind == "trained" for _, _, kind in network.parameters)
    assert str(network).count("\n") > 3


def test_parameters_are_a_mapping_of_arrays(lenet, theta):
    assert list(theta) == [name for name, _, _ in lenet.parameters]
    assert theta["fc3.weight"].shape == (3, 84) and theta["fc3.weight"].dtype == np.float64
    assert theta.count == sum(array.size for array in theta.values())
    assert "fc9.weight" not in theta
    with pytest.raises(KeyError):
        theta["fc9.weight"]
    again = lenet.params_from(dict(theta))
    assert all(np.array_equal(again[name], array) for name, array in theta.items())
    assert theta.astype("float32").dtype == np.float32


def test_parameters_do_not_change_with_arrays_that_were_taken_out(theta):
    theta["fc3.weight"][:] = 0.0
    assert theta["fc3.weight"].any()


def test_seeds_are_seeds(lenet):
    draws = [lenet.init(seed=seed)["conv1.weight"] for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


def test_parameters_are_files(lenet, theta, tmp_path):
    theta.save(tmp_path / "theta.safetensors")
    read = lenet.load_params(tmp_path / "theta.safetensors", dtype="float64")
    assert all(np.array_equal(read[name], theta[name]) for name in theta)


def test_outputs_are_those_of_the_formula():
    network = entk.Network.named("mlp", (1, 2, 2), outputs=2)
    theta = network.init(dtype=np.float64)
    x = np.linspace(-1.0, 1.0, 12).reshape(3, 1, 2, 2)
    z = x.reshape(3, 4)
    for layer in ("fc1", "fc2", "fc3"):
        z = z @ theta[f"{layer}.weight"].T + theta[f"{layer}.bias"]
        z = np.maximum(z, 0.0) if layer != "fc3" else z
    assert np.allclose(network(x, theta), z, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["mlp", "resnet18", "vit", "gpt2_classifier", "unet"])
def test_archives_give_the_numbers_of_pytorch(name):
    network = entk.Network.from_pt2(ARCHIVES / f"{name}.pt2", dtype="float64")
    stored = read_safetensors(ARCHIVES / f"{name}.safetensors")
    outputs = stored["outputs"]
    inputs = stored["inputs"] if "inputs" in stored else token_inputs(ARCHIVES, name)
    found = network(inputs)
    assert np.abs(found - outputs.reshape(found.shape)).max() <= 1e-10 * np.abs(outputs).max()


def token_inputs(folder, name):
    """Inputs that are whole numbers."""
    import json

    data = (folder / f"{name}.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + length])["inputs"]
    begin, end = (8 + length + at for at in entry["data_offsets"])
    types = {"I64": np.int64, "I32": np.int32}
    return np.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])


def test_some_parameters_are_trained(lenet, theta, images):
    head = lenet.with_trainable(["fc3.*"])
    kinds = {name: kind for name, _, kind in head.parameters}
    assert kinds["fc3.bias"] == "trained" and kinds["conv1.weight"] == "frozen"
    of_head = entk.gram(head, images, head.params_from(theta))
    of_layer = entk.gram(lenet, images, theta, layers=["fc3.weight"])
    assert np.allclose(of_head, of_layer, rtol=1e-12)
    rest = lenet.with_trainable(frozen=["fc3.*"])
    assert rest.params_from(theta).count == theta.count - 3 * 85


def test_an_archive_keeps_its_parameters_when_others_are_trained():
    network = entk.Network.from_pt2(ARCHIVES / "mlp.pt2")
    name = network.parameters[0][0]
    head = network.with_trainable([name])
    assert head.params.count == head.params[name].size < network.params.count
