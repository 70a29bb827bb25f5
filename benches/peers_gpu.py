"""Times the kernel of `entk verify --only time` with PyTorch or JAX, on the GPU that they find.

    python3 benches/peers_gpu.py torch resnet18 4000 --precision tf32 --block 500

Comes in: a library, a network, the number N of images of 3 x 32 x 32. Goes out: one line of JSON
with the seconds of the fastest of --repeats runs, from images on the GPU to entries on the host,
compilation left out, and the largest error of a few entries against gradients in f64, relative to
sqrt(K_ii K_jj). Jacobians of blocks of examples by vmap(grad), one product a block; blocks stay
where all fit --memory, else those of columns are made again.
"""

import argparse
import json
import time

import numpy as np

CHECKED = 16


class Torch:
    def __init__(self, model, precision):
        import torch
        from torch.func import functional_call, grad, vmap

        self.torch, self.bf16 = torch, precision == "bf16"
        tensor_cores = precision == "tf32"
        torch.set_float32_matmul_precision("high" if tensor_cores else "highest")
        torch.backends.cudnn.allow_tf32 = tensor_cores
        torch.manual_seed(0)
        self.net = self.network(model).eval().cuda()
        self.version = torch.__version__

        def rows(net, x):
            theta = {name: p.detach() for name, p in net.named_parameters()}
            state = dict(net.named_buffers())
            one = lambda theta, x: functional_call(net, (theta, state), (x[None],)).squeeze()
            gradients = vmap(grad(one), (None, 0))(theta, x)
            return torch.cat([g.flatten(1) for g in gradients.values()], 1)

        self.of = rows

    def network(self, model):
        nn = self.torch.nn
        if model == "mlp":
            return nn.Sequential(
                nn.Flatten(), nn.Linear(3072, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(),
                nn.Linear(100, 1))
        if model == "lenet5":
            return nn.Sequential(
                nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2),
                nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                nn.Linear(1024, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 1))
        import torchvision

        net = torchvision.models.resnet18(num_classes=1)
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
        return net

    def images(self, n):
        return self.torch.randn(n, 3, 32, 32, device="cuda")

    def rows(self, x):
        rows = self.of(self.net, x)
        return rows.bfloat16() if self.bf16 else rows

    def product(self, a, b):
        return (a @ b.T).float()

    def host(self, k):
        return k.cpu().numpy()

    def exact(self, x):
        """Rows in f64, for the error."""
        import copy

        rows = self.of(copy.deepcopy(self.net).double(), x.double())
        return rows.cpu().numpy()

    def parameters(self):
        return sum(p.numel() for p in self.net.parameters())

    def peak(self):
        return self.torch.cuda.max_memory_allocated()


class Jax:
    def __init__(self, model, precision):
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        names = {"f32": "highest", "tf32": "tensorfloat32", "bf16": "highest"}
        jax.config.update("jax_default_matmul_precision", names[precision])
        self.jax, self.jnp, self.bf16 = jax, jnp, precision == "bf16"
        self.version = jax.__version__
        f, self.theta = {"mlp": self.mlp, "lenet5": self.lenet5, "resnet18": self.resnet18}[model]()

        def rows(theta, x):
            gradients = jax.vmap(jax.grad(lambda theta, x: f(theta, x[None])[0, 0]), (None, 0))
            leaves = jax.tree_util.tree_leaves(gradients(theta, x))
            return jnp.concatenate([g.reshape(len(x), -1) for g in leaves], 1)

        self.of = jax.jit(rows)
        self.product = jax.jit(lambda a, b: (a @ b.T).astype(jnp.float32))

    def draw(self, *shape):
        self.seed = getattr(self, "seed", 0) + 1
        fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[-1]
        rng = np.random.default_rng(self.seed)
        return self.jnp.asarray(rng.standard_normal(shape) / np.sqrt(fan_in), "float32")

    def conv(self, w, x, stride=1, padding="SAME"):
        return self.jax.lax.conv_general_dilated(
            x, w, (stride, stride), padding, dimension_numbers=("NCHW", "OIHW", "NCHW"))

    def dense(self, *sizes):
        zeros = self.jnp.zeros
        return [(self.draw(n, m), zeros(n, "float32")) for m, n in zip(sizes, sizes[1:])]

    def through(self, layers, x):
        for at, (w, b) in enumerate(layers):
            x = x @ w.T + b
            x = self.jax.nn.relu(x) if at + 1 < len(layers) else x
        return x

    def mlp(self):
        f = lambda theta, x: self.through(theta, x.reshape(len(x), -1))
        return f, self.dense(3072, 100, 100, 1)

    def lenet5(self):
        layer = lambda c_in, c: (self.draw(c, c_in, 5, 5), self.jnp.zeros(c, "float32"))
        convs = [layer(3, 6), layer(6, 16)]

        def f(theta, x):
            for w, b in theta[0]:
                x = self.jax.nn.relu(self.conv(w, x) + b[:, None, None])
                n, c, h, _ = x.shape
                x = x.reshape(n, c, h // 2, 2, h // 2, 2).mean((3, 5))
            return self.through(theta[1], x.reshape(len(x), -1))

        return f, (convs, self.dense(1024, 120, 84, 1))

    def resnet18(self):
        jnp = self.jnp
        norm = lambda c: (jnp.ones(c, "float32"), jnp.zeros(c, "float32"))
        layer = lambda c_in, c, k: (self.draw(c, c_in, k, k), norm(c))
        blocks, c_in = [], 64
        for stage in range(4):
            c = 64 << stage
            for block in range(2):
                skip = layer(c_in, c, 1) if c != c_in else None
                blocks.append((layer(c_in, c, 3), layer(c, c, 3), skip))
                c_in = c

        def apply(part, x, stride=1):  # a convolution and its frozen norm
            w, (scale, bias) = part
            pad = (w.shape[2] // 2, w.shape[2] // 2)
            x = self.conv(w, x, stride, (pad, pad))
            return x * scale[:, None, None] + bias[:, None, None]

        def f(theta, x):
            relu = self.jax.nn.relu
            x = relu(apply(theta[0], x))
            for first, second, skip in theta[1]:
                stride = 2 if skip else 1
                y = apply(second, relu(apply(first, x, stride)))
                x = relu(y + (apply(skip, x, stride) if skip else x))
            return self.through(theta[2], x.mean((2, 3)))

        return f, (layer(3, 64, 3), blocks, self.dense(512, 1))

    def images(self, n):
        return self.jax.random.normal(self.jax.random.key(0), (n, 3, 32, 32), "float32")

    def rows(self, x):
        rows = self.of(self.theta, x)
        return rows.astype("bfloat16") if self.bf16 else rows

    def host(self, k):
        return np.asarray(k)

    def exact(self, x):
        theta = self.jax.tree_util.tree_map(lambda t: t.astype("float64"), self.theta)
        with self.jax.default_matmul_precision("highest"):
            return np.asarray(self.of(theta, x.astype("float64")))

    def parameters(self):
        return sum(t.size for t in self.jax.tree_util.tree_leaves(self.theta))

    def peak(self):
        return self.jax.devices()[0].memory_stats()["peak_bytes_in_use"]


def gram(library, x, block, stay):
    n = len(x)
    kernel = np.empty((n, n), np.float32)
    kept = {}

    def rows(i):
        if i in kept:
            return kept[i]
        made = library.rows(x[i : i + block])
        if stay:
            kept[i] = made
        return made

    for i in range(0, n, block):
        a = rows(i)
        for j in range(0, i + 1, block):
            b = a if i == j else rows(j)
            kernel[i : i + block, j : j + block] = library.host(library.product(a, b))
    return kernel


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=["torch", "jax"])
    parser.add_argument("model", choices=["mlp", "lenet5", "resnet18"])
    parser.add_argument("n", type=int)
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32")
    parser.add_argument("--block", type=int, default=500, help="examples a block; divides N")
    parser.add_argument("--memory", type=float, default=50e9, help="bytes for rows that stay")
    parser.add_argument("--repeats", type=int, default=1)
    a = parser.parse_args()
    if a.n % a.block:
        parser.error(f"--block {a.block} does not divide {a.n}")
    library = {"torch": Torch, "jax": Jax}[a.library](a.model, a.precision)
    x = library.images(a.n)
    stay = a.n * library.parameters() * (2 if a.precision == "bf16" else 4) <= a.memory
    gram(library, x[: a.block], a.block, False)
    seconds = []
    for _ in range(a.repeats):
        start = time.perf_counter()
        kernel = gram(library, x, a.block, stay)
        seconds.append(time.perf_counter() - start)
    exact = library.exact(x[:CHECKED])
    expected = exact @ exact.T
    norms = np.sqrt(np.diag(expected))
    entries = np.tril(np.ones((CHECKED, CHECKED), bool))
    error = np.abs(kernel[:CHECKED, :CHECKED] - expected) / np.outer(norms, norms)
    print(json.dumps({
        "library": f"{a.library} {library.version}", "model": a.model, "n": a.n,
        "precision": a.precision, "block": a.block, "rows_stay": stay, "seconds": min(seconds),
        "error": float(error[entries].max()), "peak_gb": library.peak() / 1e9}), flush=True)


if __name__ == "__main__":
    main()
