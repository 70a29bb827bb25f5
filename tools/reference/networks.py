#!/usr/bin/env python3
"""Float64 reference values of small networks: outputs, J v, J^T u and NTKs by PyTorch's autograd.

    python tools/reference/networks.py crates/entk/tests/golden/networks [NAME ...]

needs torch, torchvision, timm, transformers, peft and safetensors; nothing is downloaded. Each
network is the class of its package at a small size, or a few lines of PyTorch with the names of
the implementation that is used most. What the files hold: crates/entk/tests/golden/README.md.
"""
import json
import math
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

EXAMPLES, OUTPUTS, SEED = 4, 3, 15
# Largest difference between two ways to the same derivative, relative to its norm. At initial
# weights a ReLU may get exactly zero, where its derivative is 0 and central differences give half.
AGREEMENT, DIFFERENCES = 1e-12, {"initial": 1e-1, "moved": 1e-6}
NETWORKS = {}


def network(make):
    NETWORKS[make.__name__] = make
    return make


def image(side):
    return lambda g: torch.randn(EXAMPLES, 3, side, side, generator=g)


def tokens(vocabulary, length):
    return lambda g: torch.randint(0, vocabulary, (EXAMPLES, length), generator=g)


class Logits(nn.Module):
    """Logits of a transformers model: all of them, or of the first tokens at the last position."""

    def __init__(self, net, last=False):
        super().__init__()
        self.net, self.last = net, last

    def forward(self, x):
        logits = self.net(x).logits
        return logits[:, -1, :OUTPUTS] if self.last else logits


class ResNet(nn.Module):
    """torchvision's ResNet, blocks and names, at any width."""

    def __init__(self, block, blocks, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for stage, count in enumerate(blocks):
            filters = width * 2**stage
            layers = []
            for at in range(count):
                stride = 2 if stage > 0 and at == 0 else 1
                shortcut = None
                if stride != 1 or channels != filters * block.expansion:
                    conv = nn.Conv2d(channels, filters * block.expansion, 1, stride, bias=False)
                    shortcut = nn.Sequential(conv, nn.BatchNorm2d(filters * block.expansion))
                layers.append(block(channels, filters, stride, shortcut, base_width=64))
                channels = filters * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, OUTPUTS)
        self.stages = len(blocks)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


@network
def resnet18():
    from torchvision.models.resnet import BasicBlock

    return ResNet(BasicBlock, [2, 2, 2, 2], 2), image(32)


@network
def resnet_bottleneck():
    from torchvision.models.resnet import Bottleneck

    return ResNet(Bottleneck, [1, 2, 1], 3), image(32)


class WideBlock(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.convShortcut = None
        if channels != filters:
            self.convShortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x):
        normal = F.relu(self.bn1(x))
        branch = self.conv2(F.relu(self.bn2(self.conv1(normal))))
        return (x if self.convShortcut is None else self.convShortcut(normal)) + branch


@network
def wide_resnet():
    """Zagoruyko and Komodakis' network; names of github.com/xternalz/WideResNet-pytorch."""

    class WideResNet(nn.Module):
        def __init__(self, blocks, base, factor):
            super().__init__()
            widths = [base, base * factor, 2 * base * factor, 4 * base * factor]
            self.conv1 = nn.Conv2d(3, base, 3, 1, 1, bias=False)
            for group in range(3):
                part = nn.Module()
                inputs = [widths[group]] + [widths[group + 1]] * (blocks - 1)
                strides = [1 if group == 0 else 2] + [1] * (blocks - 1)
                sizes = zip(inputs, strides)
                layers = [WideBlock(i, widths[group + 1], s) for i, s in sizes]
                part.layer = nn.Sequential(*layers)
                setattr(self, f"block{group + 1}", part)
            self.bn1, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], OUTPUTS)
            for m in self.modules():
                if isinstance(m, nn.Conv2d):
                    nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(self.fc.bias)

        def forward(self, x):
            x = self.conv1(x)
            for group in range(3):
                x = getattr(self, f"block{group + 1}").layer(x)
            return self.fc(F.relu(self.bn1(x)).mean((2, 3)))

    return WideResNet(2, 2, 2), image(16)


def vgg_of(batch_norm):
    from torchvision.models.vgg import VGG, make_layers

    net = VGG(make_layers([4, "M", 8, "M", 8, 12, "M"], batch_norm), num_classes=OUTPUTS)
    net.avgpool = nn.AdaptiveAvgPool2d(3)
    net.classifier[0] = nn.Linear(12 * 9, 16)
    net.classifier[3] = nn.Linear(16, 16)
    net.classifier[6] = nn.Linear(16, OUTPUTS)
    for at in (0, 3, 6):
        nn.init.normal_(net.classifier[at].weight, 0, 0.01)
        nn.init.zeros_(net.classifier[at].bias)
    return net, image(40)


@network
def vgg():
    return vgg_of(False)


@network
def vgg_bn():
    return vgg_of(True)


@network
def mobilenet_v2():
    from torchvision.models import MobileNetV2

    setting = [[1, 32, 1, 1], [4, 32, 2, 2], [3, 48, 1, 2]]
    net = MobileNetV2(OUTPUTS, width_mult=0.25, inverted_residual_setting=setting)
    last = net.features[-1][0].in_channels
    net.features[-1][0] = nn.Conv2d(last, 24, 1, bias=False)
    net.features[-1][1] = nn.BatchNorm2d(24)
    net.classifier[1] = nn.Linear(24, OUTPUTS)
    nn.init.kaiming_normal_(net.features[-1][0].weight, mode="fan_out")
    nn.init.normal_(net.classifier[1].weight, 0, 0.01)
    nn.init.zeros_(net.classifier[1].bias)
    return net, image(24)


@network
def convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    stages = [CNBlockConfig(6, 12, 2), CNBlockConfig(12, None, 1)]
    return ConvNeXt(stages, num_classes=OUTPUTS), image(32)


class UNet(nn.Module):
    """Ronneberger's network with padding; names of github.com/milesial/Pytorch-UNet. Its output
    here is the mean of its maps over the pixels."""

    class Double(nn.Module):
        def __init__(self, channels, filters, between=None):
            super().__init__()
            between = between or filters
            self.double_conv = nn.Sequential(
                nn.Conv2d(channels, between, 3, padding=1, bias=False),
                nn.BatchNorm2d(between),
                nn.ReLU(inplace=True),
                nn.Conv2d(between, filters, 3, padding=1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(inplace=True),
            )

        def forward(self, x):
            return self.double_conv(x)

    class Down(nn.Module):
        def __init__(self, channels, filters):
            super().__init__()
            self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), UNet.Double(channels, filters))

        def forward(self, x):
            return self.maxpool_conv(x)

    class Up(nn.Module):
        def __init__(self, channels, filters, bilinear):
            super().__init__()
            if bilinear:
                self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
                self.conv = UNet.Double(channels, filters, channels // 2)
            else:
                self.up = nn.ConvTranspose2d(channels, channels // 2, 2, 2)
                self.conv = UNet.Double(channels, filters)

        def forward(self, x, skip):
            x = self.up(x)
            high, wide = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = F.pad(x, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
            return self.conv(torch.cat([skip, x], 1))

    def __init__(self, width, depth, bilinear):
        super().__init__()
        self.depth = depth
        self.inc = UNet.Double(3, width)
        less = 2 if bilinear else 1
        widths = [width * 2**level for level in range(depth + 1)]
        for level in range(depth):
            filters = widths[level + 1] // (less if level == depth - 1 else 1)
            setattr(self, f"down{level + 1}", UNet.Down(widths[level], filters))
        for level in range(depth, 0, -1):
            filters = widths[level - 1] // (less if level > 1 else 1)
            up = UNet.Up(widths[level], filters, bilinear)
            setattr(self, f"up{depth - level + 1}", up)
        self.outc = nn.Module()
        self.outc.conv = nn.Conv2d(width, OUTPUTS, 1)

    def forward(self, x):
        skips = [self.inc(x)]
        for level in range(self.depth):
            skips.append(getattr(self, f"down{level + 1}")(skips[-1]))
        x = skips.pop()
        for level in range(self.depth):
            x = getattr(self, f"up{level + 1}")(x, skips.pop())
        return self.outc.conv(x).mean((2, 3))


@network
def unet():
    return UNet(3, 2, False), image(14)


@network
def unet_bilinear():
    return UNet(4, 2, True), image(14)


@network
def vit():
    from timm.models.vision_transformer import VisionTransformer

    sizes = dict(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3)
    return VisionTransformer(num_classes=OUTPUTS, **sizes), image(16)


@network
def deit():
    from timm.models.deit import VisionTransformerDistilled

    sizes = dict(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3)
    return VisionTransformerDistilled(num_classes=OUTPUTS, **sizes), image(16)


def gpt2_config():
    from transformers import GPT2Config

    sizes = dict(vocab_size=20, n_positions=8, n_embd=12, n_layer=2, n_head=3)
    more = dict(pad_token_id=None, bos_token_id=None, eos_token_id=None, use_cache=False)
    return GPT2Config(num_labels=OUTPUTS, **sizes, **more)


@network
def gpt2():
    from transformers import GPT2LMHeadModel

    return Logits(GPT2LMHeadModel(gpt2_config()), last=True), tokens(20, 7)


@network
def gpt2_labels():
    from transformers import GPT2ForSequenceClassification

    class Classifier(nn.Module):
        """GPT2ForSequenceClassification without padding: the logits of the last position."""

        def __init__(self):
            super().__init__()
            self.net = GPT2ForSequenceClassification(gpt2_config())

        def forward(self, x):
            return self.net.score(self.net.transformer(x).last_hidden_state[:, -1])

    return Classifier(), tokens(20, 7)


@network
def gpt2_lora():
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2LMHeadModel

    sizes = dict(r=2, lora_alpha=6, target_modules=["c_attn"], fan_in_fan_out=True)
    net = get_peft_model(GPT2LMHeadModel(gpt2_config()), LoraConfig(**sizes))
    return Logits(net, last=True), tokens(20, 7)


class QueryValue(nn.Module):
    """Low-rank terms of the queries and of the values of a joint projection of GPT-2."""

    def __init__(self, base, rank, alpha):
        super().__init__()
        width, self.scale = base.weight.shape[0], alpha / rank
        self.base_layer = base.requires_grad_(False)
        self.lora_A = nn.ModuleDict({k: nn.Linear(width, rank, bias=False) for k in "qv"})
        self.lora_B = nn.ModuleDict({k: nn.Linear(rank, width, bias=False) for k in "qv"})
        for k in "qv":
            nn.init.zeros_(self.lora_B[k].weight)

    def forward(self, x):
        q, v = (self.scale * self.lora_B[k](self.lora_A[k](x)) for k in "qv")
        return self.base_layer(x) + torch.cat([q, torch.zeros_like(q), v], -1)


@network
def gpt2_lora_qv():
    """As `gpt2_lora`, on queries and values alone, each an adapter of its own name."""
    from transformers import GPT2LMHeadModel

    net = GPT2LMHeadModel(gpt2_config()).requires_grad_(False)
    for block in net.transformer.h:
        block.attn.c_attn = QueryValue(block.attn.c_attn, 2, 6)
    return Logits(net, last=True), tokens(20, 7)


@network
def bert():
    from transformers import BertConfig, BertForSequenceClassification

    sizes = dict(vocab_size=20, hidden_size=12, num_hidden_layers=2, num_attention_heads=3)
    more = dict(intermediate_size=20, max_position_embeddings=8, num_labels=OUTPUTS)
    config = BertConfig(pad_token_id=None, **sizes, **more)
    return Logits(BertForSequenceClassification(config)), tokens(20, 7)


@network
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.models.llama import modeling_llama

    class Norm(modeling_llama.LlamaRMSNorm):
        """Without its round trip through float32."""

        def forward(self, x):
            return self.weight * (x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt())

    class Rotary(nn.Module):
        """Rotary angles in float64 throughout."""

        def forward(self, x, position_ids):
            powers = torch.arange(0, 4, 2, dtype=torch.float64) / 4
            angles = position_ids[..., None].to(torch.float64) * 10000.0**-powers
            angles = torch.cat([angles, angles], -1)
            return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    sizes = dict(vocab_size=20, hidden_size=12, num_hidden_layers=2, intermediate_size=20)
    heads = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=4)
    more = dict(max_position_embeddings=16, use_cache=False, tie_word_embeddings=False)
    net = LlamaForCausalLM(LlamaConfig(pad_token_id=None, **sizes, **heads, **more))
    for module in list(net.modules()):
        if isinstance(module, modeling_llama.LlamaRMSNorm):
            module.__class__ = Norm
    net.model.rotary_emb = Rotary()
    return Logits(net, last=True), tokens(20, 7)


class Recurrent(nn.Module):
    """`lstm` over a sequence, and a dense layer `fc` on the last step."""

    def __init__(self, bidirectional, layers):
        super().__init__()
        options = dict(batch_first=True, num_layers=layers, bidirectional=bidirectional)
        self.lstm = nn.LSTM(4, 10, **options)
        self.fc = nn.Linear(20 if bidirectional else 10, OUTPUTS)

    def forward(self, x):
        return self.fc(self.lstm(x)[0][:, -1])


@network
def lstm():
    return Recurrent(False, 2), lambda g: torch.randn(EXAMPLES, 6, 4, generator=g)


@network
def lstm_bidirectional():
    return Recurrent(True, 2), lambda g: torch.randn(EXAMPLES, 5, 4, generator=g)


def move(model, g):
    """Generic weights: none is zero or one; running variances are positive."""
    def normal(p, scale):
        return torch.randn(p.shape, generator=g) * scale

    with torch.no_grad():
        for name, p in model.named_parameters():
            last = name.split(".")[-1]
            if last == "layer_scale":
                p.copy_(0.7 + normal(p, 0.2))
            elif p.dim() == 1:
                p.copy_(1 + normal(p, 0.2) if last == "weight" else normal(p, 0.2))
            elif last in ("cls_token", "dist_token", "pos_embed"):
                p.copy_(normal(p, 0.5))
            elif any(part in name for part in ("wte", "wpe", "embed")):
                p.copy_(normal(p, 0.6))
            else:
                p.copy_(normal(p, 1.2 / math.sqrt(p[0].numel())))
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.copy_(normal(m.running_mean, 0.3))
                m.running_var.copy_(0.5 + torch.rand(m.running_var.shape, generator=g))


def stream(count, seed):
    """Numbers in [-1, 1): SplitMix64's finaliser of a counter."""
    mask, values = 2**64 - 1, []
    for i in range(1, count + 1):
        z = (seed * 0x9E3779B97F4A7C15 + i * 0xD1342543DE82EF95) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        values.append(((z ^ (z >> 31)) >> 11) / 2**52 - 1.0)
    return torch.tensor(values, dtype=torch.float64)


def direction(theta):
    """One stream over the parameters, names in ascending order."""
    values, start, parts = stream(sum(p.numel() for p in theta.values()), 1), 0, {}
    for name in sorted(theta, key=own):
        count = theta[name].numel()
        parts[name] = values[start : start + count].reshape(theta[name].shape)
        start += count
    return {name: parts[name] for name in theta}


def relative(a, b):
    return float((a - b).norm() / b.norm())


def differences(f, theta, v, tangent):
    """Error of central differences at the best of some steps: kinks lie between large ones, and
    a hidden round trip through float32 would show at all."""
    def at(step):
        ends = [f({n: p + s * v[n] for n, p in theta.items()}) for s in (step, -step)]
        return relative((ends[0] - ends[1]) / (2 * step), tangent)

    return min(at(step) for step in (1e-6, 1e-7, 1e-8, 1e-9))


def jacobian(f, theta, x):
    """All rows, one example and one output at a time: (N C, P), names in ascending order."""
    names, rows = sorted(theta, key=own), []
    parts = {name: theta[name].clone().requires_grad_() for name in names}
    for i in range(len(x)):
        y = f(parts, x[i : i + 1])
        for c in range(OUTPUTS):
            wanted = [parts[name] for name in names]
            grads = torch.autograd.grad(y[0, c], wanted, retain_graph=True, allow_unused=True)
            grads = [torch.zeros_like(p) if d is None else d for d, p in zip(grads, wanted)]
            rows.append(torch.cat([d.reshape(-1) for d in grads]))
    return torch.stack(rows)


def values(model, x, point):
    """Outputs, derivatives and kernels at the model's weights, in float64."""
    model = model.double()
    theta = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    names = sorted(theta, key=own)

    def f(parts, x):
        return functional_call(model, parts, (x,), tie_weights=True)

    x = x.double() if x.is_floating_point() else x
    outputs, v = f(theta, x), direction(theta)
    flat = torch.cat([v[name].reshape(-1) for name in names])
    j = jacobian(f, theta, x)
    tangent = jvp(lambda parts: f(parts, x), (theta,), (v,))[1]
    errors = [relative(tangent.reshape(-1), j @ flat)]
    errors.append(differences(lambda parts: f(parts, x), theta, v, tangent))
    assert errors[0] <= AGREEMENT and errors[1] <= DIFFERENCES[point], errors
    u = stream(len(x) * OUTPUTS, 2)
    gradient, start = u @ j, 0
    full = j @ j.T
    four = full.reshape(len(x), OUTPUTS, len(x), OUTPUTS)
    found = dict(outputs=outputs, jvp=tangent, ntk_full=full)
    found["ntk_trace"] = torch.einsum("ncmc->nm", four).contiguous()
    for name in names:
        count = theta[name].numel()
        found[f"vjp/{own(name)}"] = gradient[start : start + count].reshape(theta[name].shape).clone()
        start += count
    print(f"    P {start}, forward mode {errors[0]:.0e}, differences {errors[1]:.0e}")
    return {name: t.detach().contiguous() for name, t in found.items()}


def state(model):
    """The state dict, each tensor once, as files of safetensors hold it."""
    seen, kept = set(), {}
    for name, t in model.state_dict().items():
        if t.data_ptr() not in seen:
            kept[own(name)] = t.clone().contiguous()
        seen.add(t.data_ptr())
    return kept


def own(name):
    """A name as the files of the package have it: without the wrapper that picks the outputs, the
    base of a low-rank layer as without it, and peft's adapters as peft saves them."""
    name, prefix = name.removeprefix("net.").removeprefix("base_model.model."), "base_model.model."
    name = name.replace(".base_layer.", ".").replace(".default.", ".")
    return prefix + name if ".lora_" in name else name


def write(name, folder):
    torch.manual_seed(SEED)
    g = torch.Generator().manual_seed(SEED)
    model, sample = NETWORKS[name]()
    model.eval()
    x = sample(g)
    tensors = {"inputs": x}
    trainable = sorted(own(n) for n, p in model.named_parameters() if p.requires_grad)
    for point in ("initial", "moved"):
        print(name, point)
        if point == "moved":
            move(model.float(), g)
        tensors |= {f"{point}/state/{n}": t for n, t in state(model).items()}
        with sdpa_kernel(SDPBackend.MATH):
            tensors |= {f"{point}/{n}": t for n, t in values(model, x, point).items()}
    metadata = {"trainable": json.dumps(trainable), "seed": str(SEED), "torch": torch.__version__}
    save_file(tensors, os.path.join(folder, f"{name}.safetensors"), metadata)


def main():
    folder, *names = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for name in names or NETWORKS:
        write(name, folder)


if __name__ == "__main__":
    main()
