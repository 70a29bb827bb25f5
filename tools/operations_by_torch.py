"""Prints reference numbers of operations, computed by PyTorch in float64, for
crates/entk-models/tests/it/references/operations.rs: for every operation of the list the inner
product of its result with sin(1), sin(2), ..., and that of the gradient of this number with
cos(1), cos(2), ... Inputs are whole numbers, so that maxima tie."""

import itertools

import torch
import torch.nn.functional as F

N = 2


def wave(shape, function, start=1):
    count = torch.Size(shape).numel()
    return function(torch.arange(count, dtype=torch.float64) + start).reshape(shape)


def real(*shape):
    return lambda k: torch.round(3 * wave((N, *shape), lambda i: torch.sin(3 * i + k), 0)).requires_grad_()


def positive(*shape):
    return lambda k: (real(*shape)(k).detach().abs() + 1).requires_grad_()


def ids(*shape):
    return lambda k: (torch.arange(torch.Size((N, *shape)).numel()) ** 2 % 7).reshape(N, *shape)


def show(name, function, *laws):
    inputs = [law(k) for k, law in enumerate(laws)]
    y = function(*inputs)
    value = (y * wave(y.shape, torch.sin)).sum()
    value.backward()
    moved = sum((x.grad * wave(x.shape, torch.cos)).sum() for x in inputs if x.grad is not None)
    print(f'    ("{name}", {value.item():.12f}, {float(moved):.12f}),')


WINDOWS = [
    ("tiles", dict(kernel_size=2), (6, 4)),
    ("tiles with a rest", dict(kernel_size=2), (7, 5)),
    ("overlapping", dict(kernel_size=3, stride=2, padding=1), (7, 8)),
    ("with gaps", dict(kernel_size=(2, 1), stride=(3, 2)), (8, 7)),
    ("of two sizes", dict(kernel_size=(3, 2), stride=(1, 2), padding=(1, 0)), (5, 6)),
    ("dilated", dict(kernel_size=2, stride=1, dilation=(2, 3)), (5, 7)),
    ("ceil mode", dict(kernel_size=3, stride=2, ceil_mode=True), (6, 8)),
    ("ceil mode in the padding", dict(kernel_size=3, stride=3, padding=1, ceil_mode=True), (6, 7)),
    ("whole planes", dict(kernel_size=(4, 3)), (4, 3)),
]


def pooling():
    for name, windows, size in WINDOWS:
        show(f"max pooling, {name}", lambda x: F.max_pool2d(x, **windows), real(3, *size))
        if "dilation" in windows:
            continue
        for what, count in [("", True), (", entries alone", False)]:
            pool = lambda x: F.avg_pool2d(x, count_include_pad=count, **windows)
            show(f"average pooling, {name}{what}", pool, real(3, *size))
    show("max pooling, 1-D", lambda x: F.max_pool1d(x, 3, 2, 1), real(2, 9))
    show("max pooling, adaptive", lambda x: F.adaptive_max_pool2d(x, (3, 2)), real(2, 7, 5))
    show("average pooling, 1-D", lambda x: F.avg_pool1d(x, 3, 2, 1), real(2, 9))
    show("average pooling, 1-D tiles", lambda x: F.avg_pool1d(x, 3), real(2, 9))
    show("average pooling, 3-D", lambda x: F.avg_pool3d(x, 2), real(2, 4, 5, 2))
    show("average pooling, adaptive", lambda x: F.adaptive_avg_pool2d(x, (3, 2)), real(2, 7, 5))
    show("average pooling, to more", lambda x: F.adaptive_avg_pool2d(x, (5, 4)), real(2, 3, 4))


def upsampling():
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}
    for name, kind in [
        ("nearest", None),
        ("linear", False),
        ("linear, corners aligned", True),
    ]:

        def to(axes, **lengths):
            def function(x):
                # PyTorch wants two axes before those of the grid.
                y = x if x.dim() == axes + 2 else x[:, None]
                if kind is None:
                    y = F.interpolate(y, mode="nearest", **lengths)
                else:
                    y = F.interpolate(y, mode=linear[axes], align_corners=kind, **lengths)
                return y if x.dim() == axes + 2 else y[:, 0]

            return function

        show(f"upsampling by 2, {name}", to(2, scale_factor=2.0), real(2, 4, 3))
        show(f"upsampling to 7 x 2, {name}", to(2, size=(7, 2)), real(2, 4, 3))
        by = lambda x: to(1, scale_factor=1.7)(x.reshape(N, 8, 3)).reshape(N, 2, 4, -1)
        show(f"upsampling by 1.7, {name}", by, real(2, 4, 3))
        show(f"upsampling, 3-D, {name}", to(3, size=(3, 5, 1)), real(2, 4, 3))


def shapes():
    x = real(3, 4, 5)
    show("reshape", lambda x: x.reshape(N, 10, 1, 6), x)
    show("flatten", lambda x: x.flatten(1), x)
    show("flatten the last axes", lambda x: x.flatten(2), x)
    show("permute", lambda x: x.permute(0, 3, 1, 2), x)
    show("transpose", lambda x: x.transpose(2, 3), x)
    show("slice", lambda x: x[:, :, 1:4], x)
    show("slice with a step", lambda x: x[:, :, :, 1:5:2], x)
    show("select", lambda x: x[:, :, 3], x)
    show("select the last", lambda x: x[:, :, :, 4], x)
    show("roll", lambda x: x.roll(-3, 2), x)
    show("index select", lambda x: x.index_select(2, torch.tensor([3, 0, 0, 2, 3])), x)
    show("expand", lambda x: x[:, None].expand(N, 2, 3, 4, 5), x)
    show("expand ones", lambda x: x[:, None].expand(N, 2, 3, 4, 2), real(1, 4, 1))
    show("expand a number", lambda x: x[:, None, None].expand(N, 2, 3), real())
    show("pad", lambda x: F.pad(x, (0, 0, 1, 2)), x)
    show("pad, with ones", lambda x: F.pad(x, (3, 1), value=1.0), x)
    for name, mode in [("reflected", "reflect"), ("replicated", "replicate"), ("circular", "circular")]:
        pad = lambda x: F.pad(x.flatten(1, 2), (3, 1), mode=mode).reshape(N, 3, 4, 9)
        show(f"pad, {name}", pad, x)
    parts = [real(3, 2, 5), real(3, 1, 5), real(3, 4, 5)]
    show("concat", lambda *x: torch.cat(x, 2), *parts)
    show("concat of one", lambda *x: torch.cat(x, 1), parts[0])
    equal = [real(3, 2)] * 3
    show("concat along the last axis", lambda *x: torch.cat(x, 2), *equal)
    show("stack", lambda *x: torch.stack(x, 2), *equal)
    show("stack behind", lambda *x: torch.stack(x, 3), *equal)


PAIRS = [
    ("equal shapes", (3, 4), (3, 4)),
    ("a vector", (3, 4), (4,)),
    ("a scale of channels", (3, 2, 4), (3, 1, 1)),
    ("one number", (3, 4), ()),
    ("behind", (4,), (2, 3, 4)),
    ("both repeat", (3, 1, 2), (1, 4, 1)),
    ("two axes apart", (3, 2, 4), (1, 2, 1)),
]


def of_two():
    for name, function in [
        ("add", torch.add),
        ("subtract", torch.sub),
        ("multiply", torch.mul),
        ("divide", torch.div),
    ]:
        for shapes, a, b in PAIRS:
            rank = max(len(a), len(b))
            wide = lambda x: x.reshape(N, *[1] * (rank + 1 - x.dim()), *x.shape[1:])
            second = positive(*b) if name == "divide" else real(*b)
            show(f"{name}, {shapes}", lambda x, y: function(wide(x), wide(y)), real(*a), second)


def first_max(x, axes, keep):
    axes = [axis + 1 for axis in axes]
    left = [axis for axis in range(x.dim()) if axis not in axes]
    rows = x.permute(left + axes).reshape([x.shape[axis] for axis in left] + [-1])
    at = torch.from_numpy(rows.detach().numpy().argmax(-1))
    y = rows.gather(-1, at[..., None])[..., 0]
    return y.reshape([1 if a in axes else n for a, n in enumerate(x.shape)]) if keep else y


def reductions():
    x = real(3, 4, 2, 5)
    for axes in [[0], [3], [1, 2], [0, 2], [3, 1, 0], [0, 1, 2, 3]]:
        at = [axis + 1 for axis in axes]
        show(f"sum over {axes}", lambda x: x.sum(at), x)
        show(f"mean over {axes}", lambda x: x.mean(at), x)
        show(f"max over {axes}", lambda x: first_max(x, sorted(axes), False), x)
        show(f"variance over {axes}", lambda x: x.var(at, correction=0), x)
    show("sum, axes kept", lambda x: x.sum([2, 4], keepdim=True), x)
    show("mean, axes kept", lambda x: x.mean([2, 4], keepdim=True), x)
    show("max, axes kept", lambda x: first_max(x, [1, 3], True), x)
    show("variance, unbiased, axes kept", lambda x: x.var([2, 4], keepdim=True), x)
    show("global mean", lambda x: x.mean([2, 3]), real(3, 4, 5))


def grid():
    """How many windows along one axis are taken and refused, and the sum of their products."""
    for kind in ["max", "average", "entries alone"]:
        total, taken, refused = 0.0, 0, 0
        dilations = range(1, 4) if kind == "max" else [1]
        sizes = [range(1, 9), range(1, 5), range(1, 5), range(3), dilations, [False, True]]
        for n, window, stride, padding, dilation, ceil in itertools.product(*sizes):
            x = torch.round(3 * wave((1, 1, n), lambda i: torch.sin(3 * i), 0))
            try:
                if kind == "max":
                    y = F.max_pool1d(x, window, stride, padding, dilation, ceil)
                else:
                    y = F.avg_pool1d(x, window, stride, padding, ceil, kind == "average")
            except RuntimeError:
                refused += 1
                continue
            # A window of padding alone.
            if y.isinf().any():
                refused += 1
                continue
            taken, total = taken + 1, total + (y * wave(y.shape, torch.sin)).sum().item()
        print(f'    ("{kind}", {taken}, {refused}, {total:.10f}),')
    sizes = itertools.product(range(1, 12), repeat=2)
    y = [F.adaptive_avg_pool1d(torch.round(3 * wave((1, 1, n), lambda i: torch.sin(3 * i), 0)), m) for n, m in sizes]
    print(f"adaptive average: {sum((y * wave(y.shape, torch.sin)).sum().item() for y in y):.10f}")



def norms():
    tokens, images = real(5, 2, 6), real(6, 3, 5)

    def channels(weight, x):
        return weight.reshape(N, -1, *[1] * (x.dim() - 2))

    for name, norm, x, weight in [
        ("layer norm", lambda x: F.layer_norm(x, (6,)), tokens, real(6)),
        ("layer norm over two axes", lambda x: F.layer_norm(x, (2, 6), eps=0.1), tokens, real(2, 6)),
        ("rms norm", lambda x: F.rms_norm(x, (6,)), tokens, real(6)),
        ("group norm", lambda x: F.group_norm(x, 2), images, real(6)),
        ("instance norm", F.instance_norm, images, real(6)),
    ]:
        if x is images:
            wide = lambda w, x: channels(w, x)
        else:
            wide = lambda w, x: w.reshape(N, *[1] * (x.dim() - w.dim()), *w.shape[1:])
        show(name, lambda x, w, b: norm(x) * wide(w, x) + wide(b, x), x, weight, weight)
        show(f"{name}, no bias", lambda x, w: norm(x) * wide(w, x), x, weight)
        show(f"{name}, no weight", norm, x)
    affine = lambda norm: lambda x, w, b: norm(x) * channels(w, x) + channels(b, x)
    show("group norm, 1-D", affine(lambda x: F.group_norm(x, 2)), real(4, 7), real(4), real(4))
    narrow = affine(lambda x: F.group_norm(x, 2, eps=0.1))
    show("group norm without pixels", narrow, real(6), real(6), real(6))
    weights = lambda v, g: torch.stack([torch._weight_norm(v, g, 0) for v, g in zip(v, g)])
    show("weight norm", weights, real(4, 3, 2), real(4, 1, 1))


def products():
    for name, left, right in [
        ("matrix product", (3, 4), (4, 5)),
        ("matrix product, transposed", (3, 4), (5, 4)),
        ("matrix products", (2, 3, 4), (2, 4, 5)),
        ("matrix products, transposed", (2, 3, 4), (2, 5, 4)),
        ("matrix products with one", (2, 3, 4), (4, 5)),
        ("matrix products of one", (3, 4), (2, 4, 5)),
        ("matrix products, axes that meet", (2, 1, 3, 4), (3, 4, 2)),
        ("axes that meet, transposed", (2, 1, 3, 4), (3, 2, 4)),
        ("row times column", (1, 6), (6, 1)),
    ]:

        def function(a, b):
            b = b.mT if "transposed" in name else b
            return torch.stack([a @ b for a, b in zip(a, b)])

        show(name, function, real(*left), real(*right))


def attention():
    x = real(3, 5, 4)
    for axis in range(3):
        show(f"softmax over {axis}", lambda x: x.softmax(axis + 1), x)
        show(f"log-softmax over {axis}", lambda x: x.log_softmax(axis + 1), x)
    hidden = -torch.inf
    added = torch.tensor(
        [[0.5, hidden, -1], [hidden, 0, hidden], [1, 0, 0.5], [0, 0, hidden]], dtype=torch.float64
    )
    chosen = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1], [1, 1, 0]]).bool()
    own = [real(2, 4, 5), real(2, 3, 5), real(2, 3, 6)]
    grouped = [real(6, 4, 5), real(2, 3, 5), real(2, 3, 1)]
    long = [real(1, 3, 2), real(1, 6, 2), real(1, 6, 2)]
    attend = F.scaled_dot_product_attention
    by_group = lambda **keywords: lambda q, k, v: attend(q, k, v, enable_gqa=True, **keywords)
    show("attention", attend, *own)
    show("attention, scaled", lambda q, k, v: attend(q, k, v, scale=0.2), *own)
    show("attention, causal", lambda q, k, v: attend(q, k, v, is_causal=True), *own)
    show("attention, causal on more keys", lambda q, k, v: attend(q, k, v, is_causal=True), *long)
    show("attention, masked", lambda q, k, v: attend(q, k, v, added), *own)
    show("attention, chosen keys", lambda q, k, v: attend(q, k, v, chosen), *own)
    show("attention, heads in groups", by_group(), *grouped)
    show("attention in groups, causal", by_group(is_causal=True), *grouped)
    show("attention in groups, masked", by_group(attn_mask=added), *grouped)

    def packed(**keywords):
        def function(x):
            q, k, v = x.reshape(N, 4, 3, 2, 5).permute(2, 0, 3, 1, 4)
            return attend(q, k, v, **keywords).transpose(1, 2).reshape(N, 4, 10)

        return function

    square = torch.tensor([[0, hidden, 1, 1]] * 4, dtype=torch.float64)
    square = square.masked_fill(torch.ones(4, 4).tril() == 0, hidden)
    show("attention, packed", packed(), real(4, 30))
    show("attention, packed, causal and masked", packed(attn_mask=square), real(4, 30))
    show("attention, packed, causal", packed(is_causal=True), real(4, 30))


def each(function):
    return lambda *inputs: torch.cat([function(*(t[n : n + 1] for t in inputs)) for n in range(N)])


def convolutions():
    grouped, back = dict(stride=(1, 2), padding=1), dict(stride=(2, 3), padding=1, output_padding=(1, 0))
    for name, function, keywords, x, weight in [
        ("convolution, groups", F.conv2d, dict(grouped, groups=2), (4, 5, 6), (6, 2, 3, 2)),
        ("convolution, groups of many", F.conv2d, dict(grouped, groups=2), (8, 4, 5), (8, 4, 1, 3)),
        ("convolution, depthwise", F.conv2d, dict(grouped, groups=3), (3, 5, 6), (3, 1, 3, 3)),
        ("convolution, depthwise and dilated", F.conv2d, dict(grouped, groups=3, dilation=(1, 2)), (3, 5, 6), (6, 1, 3, 2)),
        ("convolution, depthwise signals", F.conv1d, dict(stride=2, padding=1, groups=3), (3, 7), (3, 1, 3)),
        ("transposed convolution, groups", F.conv_transpose2d, dict(back, groups=2), (4, 3, 4), (4, 3, 3, 3)),
    ]:
        one = lambda x, w, b=None: function(x, w[0], None if b is None else b[0], **keywords)
        planes = each(one)(real(*x)(0), real(*weight)(1)).shape[1]
        show(name, each(one), real(*x), real(*weight), real(planes))
        show(f"{name}, no bias", each(one), real(*x), real(*weight))
    convolution_grid()


def convolution_grid():
    """Every size of one axis: how many are taken, and the sum over these of the results' products."""
    sizes = itertools.product(range(1, 8), range(1, 5), range(1, 4), range(3), range(1, 4), (1, 2))
    taken, sums = [0, 0, 0], [0.0, 0.0, 0.0]

    def add(kind, function):
        try:
            y = function()
        except (RuntimeError, ValueError):
            return
        taken[kind] += 1
        sums[kind] += (y * wave(y.shape, torch.sin)).sum().item()

    for n, k, stride, padding, dilation, groups in sizes:
        x = torch.round(3 * wave((1, 2, n), lambda i: torch.sin(3 * i), 0))
        w = torch.round(3 * wave((2, 2 // groups, k), lambda i: torch.sin(3 * i + 1), 0))
        keywords = dict(stride=stride, dilation=dilation, groups=groups)
        add(0, lambda: F.conv1d(x, w, padding=padding, **keywords))
        if padding == 0:
            add(1, lambda: F.conv1d(x, w, padding="same", **keywords))
        for extra in range(3):
            transpose = lambda: F.conv_transpose1d(x, w, padding=padding, output_padding=extra, **keywords)
            add(2, transpose)
    print(*((kind, count, f"{sum:.10f}") for kind, count, sum in zip(["zeros", "same", "transposed"], taken, sums)), sep="\n")


pooling()
upsampling()
shapes()
of_two()
reductions()
grid()
norms()
products()
attention()
convolutions()
