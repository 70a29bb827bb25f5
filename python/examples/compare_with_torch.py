"""Kernels of the same modules by entk and by torch.func, in float64: how far they are apart, and
the time of both, in turns, as medians: CPU seconds of all threads, then seconds by the clock. Needs
entk, torch and torchvision.

    python python/examples/compare_with_torch.py [--repeat 5] [--quick]

torch.func contracts the Jacobians of all examples, which vmap and jacrev give, as PyTorch's
tutorial on neural tangent kernels does; in chunks of examples where that is faster. The export of
the module is timed apart: it is needed once."""

import argparse
import statistics
import time

import numpy as np
import torch
import torchvision
from torch import nn

import entk

CHUNKS = (None, 16)


def mlp():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3072, 100),
        nn.ReLU(),
        nn.Linear(100, 100),
        nn.ReLU(),
        nn.Linear(100, 1),
    )


def lenet5(outputs=1):
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, outputs),
    )


def resnet18():
    return torchvision.models.resnet18(weights=None, num_classes=1)


# Name, module, examples, and fewer of them.
CASES = [
    ("MLP", mlp, 400, 20),
    ("LeNet5", lenet5, 400, 20),
    ("LeNet5, ten outputs", lambda: lenet5(10), 100, 10),
    ("ResNet18 of torchvision", resnet18, 24, 4),
]


def kernel_of_torch(module, x, chunk):
    """sum_c grad f_c(x_n) . grad f_c(x_m)."""
    theta = {name: p.detach() for name, p in module.named_parameters()}
    buffers = dict(module.named_buffers())

    def f(theta, x):
        return torch.func.functional_call(module, (theta, buffers), (x[None],))[0]

    jacobians = torch.func.vmap(torch.func.jacrev(f), (None, 0), chunk_size=chunk)(theta, x)
    kernel = 0
    for rows in jacobians.values():
        rows = rows.flatten(2).flatten(1)
        kernel = kernel + rows @ rows.T
    return kernel.numpy()


def timed(function):
    cpu, clock = time.process_time(), time.perf_counter()
    value = function()
    return time.process_time() - cpu, time.perf_counter() - clock, value


def compare(name, build, examples, repeat):
    torch.manual_seed(0)
    module = build().double().eval()
    x = torch.randn(examples, 3, 32, 32, dtype=torch.float64)
    exported, _, network = timed(lambda: entk.Network.from_module(module, x[:2], dtype="float64"))
    with torch.no_grad():
        chunk = min(CHUNKS, key=lambda chunk: timed(lambda: kernel_of_torch(module, x, chunk))[0])
        turns = []
        for _ in range(repeat):
            *ours, kernel = timed(lambda: np.asarray(entk.gram(network, x, progress=False)))
            *theirs, reference = timed(lambda: kernel_of_torch(module, x, chunk))
            turns.append((*ours, *theirs, theirs[0] / ours[0]))
    norms = np.sqrt(np.diag(reference))
    error = np.max(np.abs(kernel - reference) / np.outer(norms, norms))
    medians = [statistics.median(times) for times in zip(*turns)]
    ours, our_clock, theirs, their_clock, ratio = medians
    print(
        f"| {name} | {network.params.count:,} | {examples} | {error:.0e} | {ours:.2f} | "
        f"{theirs:.2f} | {ratio:.0f} | {our_clock:.2f} | {their_clock:.2f} | {exported:.1f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few examples")
    flags = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; entk {entk.__version__}")
    head = "module | parameters | N | apart | entk | torch.func | ratio | clock | clock | export"
    print(f"| {head} |")
    print("| --- |" + " ---: |" * head.count("|"))
    for name, build, many, few in CASES:
        compare(name, build, few if flags.quick else many, flags.repeat)


if __name__ == "__main__":
    main()
