#!/usr/bin/env python3
"""Float64 kernels of ten outputs by torch.func: LeNet5 and ResNet18 with 8 filters.

    python tools/reference/outputs.py crates/entk/tests/golden

reads the weights of one output and the inputs of that folder, puts a head of ten outputs in the
place of the last layer, and writes `outputs.safetensors`. Needs torch, numpy and safetensors. What
the file holds: crates/entk/tests/golden/README.md.
"""
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.func import functional_call, jacrev, vmap

EXAMPLES, OUTPUTS = 4, 10
# Largest difference between the Jacobian in one pass and row by row, relative to its norm.
AGREEMENT = 1e-13


def stream(count, seed):
    """The counter-based stream of the references: values in [-1, 1)."""
    with np.errstate(over="ignore"):
        at = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64) + at * np.uint64(0xD1342543DE82EF95)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) / 2**52 - 1.0


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=2)
        self.fc1, self.fc2 = nn.Linear(1024, 120), nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, OUTPUTS)

    def forward(self, x):
        x = F.avg_pool2d(F.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Block(nn.Module):
    """Two convolutions; a stride pads after the image alone, as XLA's SAME."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.stride = stride
        padding = 1 if stride == 1 else 0
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2, self.downsample = nn.BatchNorm2d(filters), nn.Sequential()
        if stride != 1 or channels != filters:
            shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(filters))

    def forward(self, x):
        padded = x if self.stride == 1 else F.pad(x, (0, 1, 0, 1))
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(padded)))))
        return F.relu(self.downsample(x) + branch)


class ResNet18(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        channels = width
        for stage in range(4):
            filters, stride = width * 2**stage, 2 if stage else 1
            blocks = [Block(channels, filters, stride), Block(filters, filters, 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            channels = filters
        self.fc = nn.Linear(channels, OUTPUTS)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def with_head(state, name):
    """The weights with a head of ten outputs: streams 5 and 6, by the root of its inputs and 10."""
    inputs = state[f"{name}.weight"].shape[1]
    weight = stream(OUTPUTS * inputs, 5).reshape(OUTPUTS, inputs) / math.sqrt(inputs)
    return {**state, f"{name}.weight": weight, f"{name}.bias": stream(OUTPUTS, 6) / 10.0}


def kernel(net, x):
    """(N C, N C) at row n C + c, by vmap of jacrev, checked row by row."""
    params, buffers = dict(net.named_parameters()), dict(net.named_buffers())

    def outputs(params, x):
        return functional_call(net, (params, buffers), (x[None],))[0]

    parts = vmap(jacrev(outputs), (None, 0))(params, x)
    rows = torch.cat([part.flatten(2) for part in parts.values()], 2).flatten(0, 1)
    for at in range(len(rows)):
        output = net(x[at // OUTPUTS][None])[0, at % OUTPUTS]
        row = torch.cat([g.flatten() for g in torch.autograd.grad(output, list(params.values()))])
        assert (row - rows[at]).norm() <= AGREEMENT * row.norm(), at
    return (rows @ rows.T).detach().numpy()


def main(folder):
    inputs = load_file(os.path.join(folder, "inputs.safetensors"))["normal"][:EXAMPLES]
    x, kernels = torch.from_numpy(inputs.astype(np.float64)), {}
    for make, head, cases in [
        (LeNet5, "fc3", ["lenet5", "lenet5_moved"]),
        (ResNet18, "fc", ["resnet18_w8", "resnet18_w8_moved"]),
    ]:
        for case in cases:
            state = load_file(os.path.join(folder, f"{case}.safetensors"))
            state = {k: torch.from_numpy(v.astype(np.float64)) for k, v in with_head(state, head).items()}
            net = make().double().eval()
            missing, unexpected = net.load_state_dict(state, strict=False)
            assert not unexpected and all("num_batches" in name for name in missing), missing
            kernels[f"{case}/full"] = kernel(net, x)
    save_file(kernels, os.path.join(folder, "outputs.safetensors"))


if __name__ == "__main__":
    main(*sys.argv[1:])
