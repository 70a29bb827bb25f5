"""From a module to an archive and to numbers in float64 that belong to it: outputs, one
Jacobian-vector product, and for small networks gradients and kernels. Used by census.py."""

import contextlib
import copy
import json
import math

import torch
import torch.nn as nn
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel


def randomised(module):
    """Weights without zeros and ones, statistics of batch norms at random: a term that is left out
    shows."""
    noise = lambda tensor, scale: torch.randn(tensor.shape) * scale
    with torch.no_grad():
        for name, p in module.named_parameters():
            last = name.split(".")[-1]
            if last in ("gamma", "original0") or "layer_scale" in name:
                p.copy_(0.7 + noise(p, 0.2))
            elif p.dim() <= 1:
                p.copy_(noise(p, 0.2) + (1 if last == "weight" else 0))
            elif any(part in name for part in ("embed", "wte", "wpe", "shared", "token")):
                p.copy_(noise(p, 0.5))
            else:
                p.copy_(noise(p, 1.2 / math.sqrt(max(p[0].numel(), 1))))
        for name, b in module.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(noise(b, 0.3))
            if name.endswith("running_var"):
                b.copy_(0.5 + 1.5 * torch.rand(b.shape))
    return module.eval()


def exported(module, x, path):
    """Writes the archive. Stack traces are left out: they name files of the machine."""
    batch = torch.export.Dim("batch", min=1, max=65536)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: batch},))
    for part in program.graph_module.modules():
        if isinstance(part, torch.fx.GraphModule):
            for node in part.graph.nodes:
                node.meta.pop("stack_trace", None)
    torch.export.save(program, path)
    return program


def double(tensor):
    return tensor.detach().clone().double() if tensor.is_floating_point() else tensor


@contextlib.contextmanager
def default_double():
    """Tensors that the program makes without naming an element type are f64, too."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def hardsigmoid(x):
    """PyTorch's own derivative has 1/6 rounded to f32 even in f64, an error of 3e-8."""
    return (x + 3).clamp(0, 6) / 6


def widened(program):
    """The exported program as a function of parameters and inputs in float64: every tensor that
    it holds and every element type that it names is widened."""
    graph = copy.deepcopy(program.graph_module)

    def swap(a):
        if a in (torch.float32, torch.bfloat16, torch.float16):
            return torch.float64
        return type(a)(swap(b) for b in a) if type(a) in (list, tuple) else a

    for part in graph.modules():
        if not isinstance(part, torch.fx.GraphModule):
            continue
        for node in list(part.graph.nodes):
            if node.op == "call_function":
                node.args = tuple(swap(a) for a in node.args)
                node.kwargs = {key: swap(a) for key, a in node.kwargs.items()}
                if node.target == torch.ops.aten.hardsigmoid.default:
                    node.target = hardsigmoid
                if "_assert" in str(node.target) and not node.users:
                    part.graph.erase_node(node)
        part.recompile()
    specs = [(spec.kind.name, spec.target) for spec in program.graph_signature.input_specs]
    tensors = {**program.constants, **program.state_dict}
    held = {target: double(tensors[target]) for kind, target in specs if kind != "USER_INPUT"}

    def function(parameters, x):
        given = {**held, **parameters}
        return graph(*[x if kind == "USER_INPUT" else given[name] for kind, name in specs])[0]

    names = [target for kind, target in specs if kind == "PARAMETER"]
    return function, {name: held[name] for name in names}


class Reference:
    """A module, its exported program and the function that both stand for."""

    def __init__(self, module, program, x):
        self.function, held = widened(program)
        named = dict(module.named_parameters(remove_duplicate=False))
        first, self.alias = {}, {}
        for name, p in named.items():
            self.alias[name] = first.setdefault(id(p), name)
        wanted = dict.fromkeys(self.alias[name] for name in held)
        stands = {self.alias[name]: held[name] for name in reversed(held)}
        self.free = {name: stands[name] for name in wanted if named[name].requires_grad}
        self.held, self.x = held, double(x)
        self.tangent = {name: torch.randn(p.shape) for name, p in self.free.items()}
        for name, part in module.named_modules():
            # Reverse mode gives the row of a padding no gradient, forward mode would.
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                if name + ".weight" in self.tangent:
                    self.tangent[name + ".weight"][part.padding_idx] = 0

    def outputs(self, free, x=None):
        given = {n: free.get(self.alias[n], p) for n, p in self.held.items()}
        return self.function(given, self.x if x is None else x)

    def jvp(self):
        """Twice in reverse: exact as forward mode, and every operation has it."""
        free = {name: p.clone().requires_grad_() for name, p in self.free.items()}
        y = self.outputs(free)
        u = torch.zeros_like(y).requires_grad_()
        options = dict(create_graph=True, allow_unused=True)
        grads = torch.autograd.grad((y * u).sum(), list(free.values()), **options)
        along = sum(
            (g * self.tangent[n].double()).sum() for g, n in zip(grads, free) if g is not None
        )
        return torch.autograd.grad(along, u)[0]

    def jacobian(self):
        """(N C, P), an example and an output at a time."""
        free = {name: p.clone().requires_grad_() for name, p in self.free.items()}
        rows = []
        for x in self.x.split(1):
            y = self.outputs(free, x)[0]
            for one in y:
                options = dict(retain_graph=True, allow_unused=True)
                grads = torch.autograd.grad(one, list(free.values()), **options)
                pairs = zip(grads, free.values())
                rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs]))
        return torch.stack(rows)

    def values(self, kernels=False):
        """What a file of values holds. With `kernels`, the Jacobian gives all but the outputs."""
        with sdpa_kernel(SDPBackend.MATH), default_double():
            tensors = dict(inputs=self.x, outputs=self.outputs(self.free))
            tensors |= {"tangent." + name: t for name, t in self.tangent.items()}
            if not kernels:
                return tensors | dict(jvp=self.jvp())
            return tensors | self.kernels(*tensors["outputs"].shape)

    def kernels(self, n, c):
        jacobian = self.jacobian()
        flat = torch.cat([t.double().flatten() for t in self.tangent.values()])
        kernel = jacobian @ jacobian.T
        blocks = kernel.reshape(n, c, n, c)
        u = torch.randn(n, c, dtype=torch.float32)
        sizes = [p.numel() for p in self.free.values()]
        grads = (u.double().flatten() @ jacobian).split(sizes)
        found = dict(
            jvp=(jacobian @ flat).reshape(n, c), cotangent=u, ntk_full=kernel,
            ntk_trace=blocks.diagonal(0, 1, 3).sum(-1), ntk_sum=blocks.sum((1, 3)),
        )
        return found | {"vjp." + k: g.reshape(p.shape) for (k, p), g in zip(self.free.items(), grads)}


def write(tensors, path):
    names = [key[8:] for key in tensors if key.startswith("tangent.")]
    # Inputs come from f32 and go back to it without loss.
    x = tensors["inputs"]
    tensors["inputs"] = x.float() if x.is_floating_point() else x
    tensors = {key: t.detach().clone().contiguous() for key, t in tensors.items()}
    save_file(tensors, path, metadata={"trainable": json.dumps(names), "torch": torch.__version__})
