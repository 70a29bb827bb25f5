"""The networks of the census, by name: NETWORKS are those of its 58 rows, OTHERS are tried beside
them. Each is a function without arguments that gives a module and the inputs of one batch. Classes
are those of torchvision, timm, transformers and peft, at small widths and with random weights."""

import contextlib
import inspect

import torch
import torch.nn as nn
import torch.nn.functional as F

N = 4
NETWORKS, OTHERS, SMALL = {}, {}, {}


def image(side, channels=3):
    return torch.randn(N, channels, side, side)


def ids(length, words=50):
    return torch.randint(2, words, (N, length))


@contextlib.contextmanager
def narrow(by):
    """Modules made within have `by` times fewer channels, for classes that fix their widths."""
    few = lambda count: count if count <= 4 else -(-count // by)
    arguments = {
        nn.Conv2d: ("in_channels", "out_channels", "groups"),
        nn.modules.batchnorm._NormBase: ("num_features",),
        nn.LayerNorm: ("normalized_shape",),
        nn.Linear: ("in_features", "out_features"),
    }
    made = {kind: kind.__init__ for kind in arguments}

    def narrowed(kind):
        signature = inspect.signature(made[kind])

        def init(self, *args, **kwargs):
            bound = signature.bind(self, *args, **kwargs)
            for name in arguments[kind]:
                if isinstance(bound.arguments.get(name), int):
                    bound.arguments[name] = few(bound.arguments[name])
            made[kind](*bound.args, **bound.kwargs)

        return init

    try:
        for kind in arguments:
            kind.__init__ = narrowed(kind)
        yield
    finally:
        for kind in arguments:
            kind.__init__ = made[kind]


class Through(nn.Module):
    """A network and what is done with its output."""

    def __init__(self, net, then):
        super().__init__()
        self.net, self.then = net, then

    def forward(self, x):
        return self.then(self.net(x))


class Mean(nn.Module):
    """A dense layer on the mean over axis 1 of what a network gives."""

    def __init__(self, net, width, then):
        super().__init__()
        self.net, self.then, self.head = net, then, nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.then(self.net(x)).mean(1))


hidden = lambda out: out.last_hidden_state
logits = lambda out: out.logits
last = lambda out: out.logits[:, -1, :3]
maps = lambda out: out.mean((2, 3))


def network(table=NETWORKS):
    def add(function):
        table[function.__name__] = function
        return function

    return add


def vision(name, side, by=8, table=NETWORKS, library="tv", **config):
    """A classifier of torchvision or timm by its name."""

    def build():
        with narrow(by):
            if library == "tv":
                import torchvision.models as models

                module = getattr(models, name)(weights=None, num_classes=3, **config)
            else:
                import timm

                module = timm.create_model(name, num_classes=3, **config)
        return module, image(side)

    table[f"{library}_{name}"] = build


vision("alexnet", 64)
vision("densenet121", 32)
vision("efficientnet_b0", 32, 4)
vision("googlenet", 48, aux_logits=False, init_weights=False)
vision("inception_v3", 80, aux_logits=False, init_weights=False)
vision("mobilenet_v2", 32)
vision("mobilenet_v3_small", 32, 4)
vision("resnet18", 40)
vision("resnet50", 40)
vision("resnext50_32x4d", 40)
vision("shufflenet_v2_x1_0", 32, 2)
vision("squeezenet1_1", 40)
vision("vgg16", 32)
vision("vgg16_bn", 32)
vision("wide_resnet50_2", 32, 16)
vision("efficientnet_lite0", 32, 4, library="timm")
vision("resnetv2_50", 40, library="timm")


@network()
def tv_convnext_tiny():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    blocks = [CNBlockConfig(8, 12, 3), CNBlockConfig(12, 16, 3), CNBlockConfig(16, None, 3)]
    return ConvNeXt(blocks, num_classes=3, layer_scale=0.5), image(32)


@network()
def tv_regnet_y_400mf():
    from torchvision.models.regnet import BlockParams, RegNet

    params = BlockParams.from_init_params(
        depth=6, w_0=8, w_a=6.0, w_m=1.9, group_width=4, se_ratio=0.25
    )
    return RegNet(params, num_classes=3, stem_width=8), image(32)


@network()
def tv_swin_t():
    from torchvision.models import SwinTransformer

    return SwinTransformer([2, 2], 12, [2, 2], [2, 4], [4, 4], num_classes=3), image(32)


@network()
def tv_vit_b_16():
    from torchvision.models import VisionTransformer

    return VisionTransformer(16, 4, 3, 2, 24, 40, num_classes=3), image(16)


@network()
def timm_convmixer_768_32():
    from timm.models.convmixer import ConvMixer

    return ConvMixer(12, 4, kernel_size=7, patch_size=4, num_classes=3, act_layer=nn.ReLU), image(24)


@network()
def timm_deit_tiny_patch16_224():
    from timm.models.vision_transformer import VisionTransformer

    net = VisionTransformer(16, 4, embed_dim=24, depth=3, num_heads=2, num_classes=3)
    return net, image(16)


@network()
def timm_mixer_s16_224():
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(num_classes=3, img_size=16, patch_size=4, num_blocks=3, embed_dim=16), image(16)


BERT = dict(
    vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
    num_labels=3, max_position_embeddings=20,
)
GPT2 = dict(vocab_size=50, n_positions=16, n_embd=24, n_layer=2, n_head=3, use_cache=False)
LLAMA = dict(
    vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, intermediate_size=40, max_position_embeddings=16, use_cache=False,
)
VIT = dict(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, image_size=16,
    patch_size=4, num_labels=3,
)


def language(name, config, head, settings, then, length, table=NETWORKS, **more):
    """A model of transformers by the names of its configuration and its class."""

    def build():
        import transformers

        config_of = getattr(transformers, config)(**settings)
        for key, value in more.items():
            setattr(config_of, key, value)
        return Through(getattr(transformers, head)(config_of), then), ids(length)

    table[name] = build


def adapted(name, of, targets, turned=False):
    """A network with low-rank adapters of peft: they alone are trained."""

    def build():
        from peft import LoraConfig, get_peft_model

        module, x = NETWORKS[of]()
        config = LoraConfig(
            r=2, lora_alpha=4, target_modules=targets, fan_in_fan_out=turned, lora_dropout=0.1
        )
        module.net = get_peft_model(module.net, config)
        return module, x

    NETWORKS[name] = build


language("hf_bert", "BertConfig", "BertForSequenceClassification", BERT, logits, 9)
language("hf_gpt2", "GPT2Config", "GPT2LMHeadModel", GPT2, last, 10)
language(
    "hf_gpt2_classifier", "GPT2Config", "GPT2ForSequenceClassification", GPT2, logits, 10,
    num_labels=3, pad_token_id=0,
)
language(
    "hf_gpt2_eager", "GPT2Config", "GPT2LMHeadModel", GPT2 | dict(attn_implementation="eager"),
    last, 10,
)
language("hf_llama", "LlamaConfig", "LlamaForCausalLM", LLAMA, last, 8)
language("hf_roberta", "RobertaConfig", "RobertaForSequenceClassification", BERT, logits, 9)
language(
    "hf_distilbert", "DistilBertConfig", "DistilBertForSequenceClassification",
    dict(vocab_size=50, dim=24, n_layers=2, n_heads=2, hidden_dim=40, num_labels=3), logits, 9,
)


@network()
def hf_vit():
    from transformers import ViTConfig, ViTForImageClassification

    return Through(ViTForImageClassification(ViTConfig(**VIT)), logits), image(16)


@network()
def hf_clip_vision():
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    net = CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=3, **VIT))
    return Through(net, lambda out: out.image_embeds), image(16)


@network()
def hf_t5_encoder():
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=50, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        relative_attention_num_buckets=8, relative_attention_max_distance=16,
    )
    return Mean(T5EncoderModel(config), 24, hidden), ids(9)


adapted("lora_gpt2", "hf_gpt2", ["c_attn"], turned=True)
adapted("lora_roberta", "hf_roberta", ["query", "value"])
adapted("lora_vit", "hf_vit", r".*\.(q_proj|v_proj|query|value)")


@network()
def lenet5():
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84),
        nn.ReLU(), nn.Linear(84, 10),
    )
    return net, image(28, 1)


@network()
def mlp_dropout():
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 24), nn.Tanh(),
        nn.Dropout(0.5), nn.Linear(24, 3),
    )
    return net, image(6, 1)


@network()
def conv3d_net():
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(108, 3)
    )
    return net, torch.randn(N, 1, 6, 6, 6)


@network()
def groupnorm_net():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 8, 3, stride=2),
        nn.InstanceNorm2d(8, affine=True), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 3),
    )
    return net, image(12)


class Recurrent(nn.Module):
    def __init__(self, kind, **config):
        super().__init__()
        self.core = kind(5, 12, batch_first=True, **config)
        self.head = nn.Linear(24 if config.get("bidirectional") else 12, 3)

    def forward(self, x):
        return self.head(self.core(x)[0][:, -1])


def recurrent(name, kind, **config):
    NETWORKS[name] = lambda: (Recurrent(kind, **config), torch.randn(N, 6, 5))


recurrent("nn_rnn", nn.RNN)
recurrent("nn_gru", nn.GRU)
recurrent("nn_lstm", nn.LSTM, num_layers=2)
recurrent("nn_lstm_bidirectional", nn.LSTM, bidirectional=True)


class Attention(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 3)
        self.weights = weights

    def forward(self, x):
        y, weights = self.attention(x, x, x, need_weights=self.weights)
        y = self.head(y.mean(1))
        return y + weights.square().mean((1, 2))[:, None] if self.weights else y


@network()
def nn_mha():
    return Attention(False), torch.randn(N, 6, 16)


@network()
def nn_mha_weights():
    return Attention(True), torch.randn(N, 6, 16)


@network()
def nn_transformer_encoder():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(encoder, nn.Flatten(), nn.Linear(96, 3)), torch.randn(N, 6, 16)


@network()
def deepsets():
    class Sets(nn.Module):
        def __init__(self):
            super().__init__()
            self.phi = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16))
            self.rho = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3))

        def forward(self, x):
            h = self.phi(x)
            return self.rho(torch.cat([h.sum(1), h.amax(1)], -1))

    return Sets(), torch.randn(N, 7, 4)


@network()
def einsum_moe():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.gate, self.o = nn.Parameter(torch.zeros(4, 8, 12)), nn.Linear(8, 4), nn.Linear(12, 3)

        def forward(self, x):
            y = torch.einsum("bi,eio,be->bo", x, self.w, self.gate(x).softmax(-1))
            return self.o(torch.relu(y))

    return Experts(), torch.randn(N, 8)


@network()
def graph_net():
    class Messages(nn.Module):
        """Edges come with the features: (x, source and target as numbers)."""

        def __init__(self):
            super().__init__()
            self.register_buffer("edges", torch.randint(0, 6, (2, 9)))
            self.m = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 8)])
            self.s = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 8)])
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            for m, s in zip(self.m, self.s):
                h = m(x)
                shape = (x.shape[0], 9, h.shape[2])
                source = self.edges[0][None, :, None].expand(shape)
                target = self.edges[1][None, :, None].expand(shape)
                sums = torch.zeros_like(h).scatter_add(1, target, h.gather(1, source))
                x = F.relu(s(x) + sums)
            return self.o(x.mean(1))

    return Messages(), torch.randn(N, 6, 4)


@network()
def siren_pinn():
    class Siren(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 1)

        def forward(self, x):
            return self.c(torch.sin(self.b(torch.sin(30 * self.a(x)))))

    return Siren(), torch.randn(N, 2)


@network()
def spectral_norm_net():
    from torch.nn.utils.parametrizations import spectral_norm

    net = nn.Sequential(spectral_norm(nn.Linear(8, 16)), nn.ReLU(), spectral_norm(nn.Linear(16, 3)))
    return net, torch.randn(N, 8)


@network()
def weight_norm():
    from torch.nn.utils.parametrizations import weight_norm as normed

    net = nn.Sequential(normed(nn.Conv1d(2, 8, 3)), nn.ReLU(), nn.Flatten(), normed(nn.Linear(112, 3)))
    return net, torch.randn(N, 2, 16)


@network()
def tied_embeddings():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.l, self.h = nn.Embedding(50, 16), nn.Linear(16, 16), nn.Linear(16, 50, bias=False)
            self.h.weight = self.e.weight

        def forward(self, x):
            return self.h(F.gelu(self.l(self.e(x).mean(1))))

    return Tied(), ids(6)


class UNet(nn.Module):
    def __init__(self, bilinear):
        super().__init__()

        def block(i, o):
            layers = [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(True)]
            return nn.Sequential(*layers, nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(True))

        up = lambda i, o: (
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(i, o, 1))
            if bilinear
            else nn.ConvTranspose2d(i, o, 2, 2)
        )
        self.d1, self.d2, self.mid = block(3, 6), block(6, 12), block(12, 18)
        self.u2, self.u1 = up(18, 12), up(12, 6)
        self.c2, self.c1 = block(24, 12), block(12, 6)
        self.out, self.pool = nn.Conv2d(6, 3, 1), nn.MaxPool2d(2)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(self.pool(a))
        y = self.c2(torch.cat([self.u2(self.mid(self.pool(b))), b], 1))
        return self.out(self.c1(torch.cat([self.u1(y), a], 1)))


@network()
def unet():
    return Through(UNet(False), maps), image(16)


@network()
def unet_bilinear():
    return Through(UNet(True), maps), image(16)


@network()
def wavenet1d():
    class WaveNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.i = nn.Conv1d(1, 8, 1)
            self.f = nn.ModuleList([nn.Conv1d(8, 16, 2, dilation=2**k) for k in range(3)])
            self.o = nn.ModuleList([nn.Conv1d(8, 8, 1) for _ in range(3)])
            self.h = nn.Linear(8, 3)

        def forward(self, x):
            x = self.i(x)
            for k, (f, o) in enumerate(zip(self.f, self.o)):
                a, b = f(F.pad(x, (2**k, 0))).chunk(2, 1)
                x = x + o(torch.tanh(a) * torch.sigmoid(b))
            return self.h(x.mean(-1))

    return WaveNet(), torch.randn(N, 1, 20)


# Beyond the census.

vision("efficientnet_v2_s", 32, 8, OTHERS)
vision("mnasnet1_0", 32, 4, OTHERS)
vision("efficientnet_b3", 32, 4, OTHERS, "timm")
vision("mobilenetv4_conv_small", 32, 4, OTHERS, "timm")
vision("repvgg_a0", 32, 8, OTHERS, "timm")
vision("seresnet18", 32, 8, OTHERS, "timm")
vision("ghostnet_100", 32, 4, OTHERS, "timm")
vision("hardcorenas_a", 32, 4, OTHERS, "timm")
vision("nfnet_f0", 32, 8, OTHERS, "timm")
vision("dpn68", 32, 1, OTHERS, "timm")
vision("resnest14d", 64, 8, OTHERS, "timm")
vision("convnextv2_atto", 32, 1, OTHERS, "timm", depths=(1, 1, 1, 1),
       dims=(8, 12, 16, 16))
vision("coatnet_0_rw_224", 64, 1, OTHERS, "timm", embed_dim=(32, 32, 32, 64), depths=(1, 1, 1, 1),
       stem_width=(8, 16), img_size=64)
vision("efficientformer_l1", 224, 1, OTHERS, "timm", embed_dims=(8, 16, 16, 24), depths=(1, 1, 1, 2))
vision("cait_xxs24_224", 16, 1, OTHERS, "timm", img_size=16, patch_size=4, embed_dim=24, depth=2,
       num_heads=2)
vision("beit_base_patch16_224", 16, 1, OTHERS, "timm", img_size=16, patch_size=4, embed_dim=24,
       depth=2, num_heads=2)
vision("eva02_tiny_patch14_224", 16, 1, OTHERS, "timm", img_size=16, patch_size=4, embed_dim=24,
       depth=2, num_heads=2)
vision("levit_128s", 64, 1, OTHERS, "timm", img_size=64, embed_dim=(16, 24, 32), key_dim=8,
       depth=(1, 1, 1), num_heads=(2, 2, 2))


@network(OTHERS)
def timm_resmlp_12_224():
    from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock

    config = dict(img_size=16, patch_size=4, num_blocks=2, embed_dim=16, mlp_ratio=4)
    return MlpMixer(num_classes=3, block_layer=ResBlock, norm_layer=Affine, **config), image(16)


@network(OTHERS)
def timm_gmlp_ti16_224():
    from timm.layers import GatedMlp
    from timm.models.mlp_mixer import MlpMixer, SpatialGatingBlock

    config = dict(img_size=16, patch_size=4, num_blocks=2, embed_dim=16, mlp_ratio=6)
    parts = dict(block_layer=SpatialGatingBlock, mlp_layer=GatedMlp)
    return MlpMixer(num_classes=3, **parts, **config), image(16)


@network(OTHERS)
def timm_poolformer_s12():
    from timm.models.metaformer import MetaFormer

    return MetaFormer(depths=(1, 1, 1, 1), dims=(8, 12, 16, 16), num_classes=3), image(32)


@network(OTHERS)
def tv_swin_v2_t():
    from torchvision.models.swin_transformer import (
        PatchMergingV2, SwinTransformer, SwinTransformerBlockV2,
    )

    net = SwinTransformer(
        [2, 2], 16, [2, 2], [2, 4], [4, 4], num_classes=3, block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
    )
    return net, image(16)


@network(OTHERS)
def tv_maxvit_t():
    from torchvision.models.maxvit import MaxVit

    net = MaxVit((32, 32), 8, 4, [8, 16], [1, 1], 4, 0.0, num_classes=3)
    return net, image(32)


language("hf_albert", "AlbertConfig", "AlbertForSequenceClassification",
         BERT | dict(embedding_size=12), logits, 9, OTHERS)
language("hf_electra", "ElectraConfig", "ElectraForSequenceClassification",
         BERT | dict(embedding_size=12), logits, 9, OTHERS)
language("hf_deberta_v2", "DebertaV2Config", "DebertaV2ForSequenceClassification",
         BERT | dict(relative_attention=True, pos_att_type=["p2c", "c2p"]), logits, 9, OTHERS)
language("hf_mpnet", "MPNetConfig", "MPNetForSequenceClassification", BERT, logits, 9, OTHERS)
language("hf_modernbert", "ModernBertConfig", "ModernBertForSequenceClassification",
         BERT | dict(pad_token_id=0, cls_token_id=1, sep_token_id=1, bos_token_id=1, eos_token_id=1),
         logits, 9, OTHERS)
language("hf_opt", "OPTConfig", "OPTForCausalLM",
         dict(vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, ffn_dim=40,
              max_position_embeddings=16, word_embed_proj_dim=24, use_cache=False), last, 8, OTHERS)
language("hf_qwen2", "Qwen2Config", "Qwen2ForCausalLM", LLAMA, last, 8, OTHERS)
language("hf_qwen3", "Qwen3Config", "Qwen3ForCausalLM", LLAMA | dict(head_dim=6), last, 8, OTHERS)
language("hf_mistral", "MistralConfig", "MistralForCausalLM", LLAMA, last, 8, OTHERS)
language("hf_gemma", "GemmaConfig", "GemmaForCausalLM", LLAMA | dict(head_dim=6), last, 8, OTHERS)
language("hf_phi", "PhiConfig", "PhiForCausalLM", LLAMA | dict(num_attention_heads=2), last, 8, OTHERS)
language("hf_gpt_neox", "GPTNeoXConfig", "GPTNeoXForCausalLM",
         dict(vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
              intermediate_size=40, max_position_embeddings=16, use_cache=False), last, 8, OTHERS)
language("hf_bloom", "BloomConfig", "BloomForCausalLM",
         dict(vocab_size=50, hidden_size=24, n_layer=2, n_head=2, use_cache=False), last, 8, OTHERS)


@network(OTHERS)
def hf_clip_text():
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2, eos_token_id=49,
        num_attention_heads=2, max_position_embeddings=16, projection_dim=3, bos_token_id=0,
    )
    x = ids(9, 49)
    x[:, -1] = 49
    return Through(CLIPTextModelWithProjection(config), lambda out: out.text_embeds), x


@network(OTHERS)
def hf_whisper_encoder():
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=24, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=40,
        num_mel_bins=8, max_source_positions=10,
    )
    return Mean(WhisperEncoder(config), 24, hidden), torch.randn(N, 8, 20)


@network(OTHERS)
def hf_wav2vec2():
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    config = Wav2Vec2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40,
        conv_dim=(8, 8), conv_stride=(4, 4), conv_kernel=(8, 4), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, num_labels=3,
        classifier_proj_size=8,
    )
    return Through(Wav2Vec2ForSequenceClassification(config), logits), torch.randn(N, 200)


@network(OTHERS)
def hf_mamba():
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(
        vocab_size=50, hidden_size=12, state_size=4, num_hidden_layers=2, use_cache=False,
        time_step_rank=3,
    )
    return Through(MambaForCausalLM(config), last), ids(6)


# Small ones for the operations that no other archive of the tests has.


@network(SMALL)
def functions():
    class Functions(nn.Module):
        def __init__(self):
            super().__init__()
            self.i, self.o = nn.Linear(5, 8), nn.Linear(8, 3)
            self.a, self.b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(4))
            self.register_buffer("base", torch.rand(8) + 0.5)

        def forward(self, x):
            h = self.i(x)
            g = 0.5 * h * (1 + torch.erf(h / 2**0.5))
            g = g + torch.exp2(0.3 * h) + torch.expm1(0.2 * h)
            g = g + torch.log2(1 + h**2) + torch.log10(2 + h**2) + self.base**h
            g = g + torch.tan(0.2 * h) + torch.sinh(0.3 * h) - torch.cosh(0.4 * h)
            g = g + F.threshold(h, 0.1, -0.4) + F.hardshrink(h, 0.3) + F.softshrink(h, 0.2)
            g = torch.addcmul(g, h, torch.outer(self.a, self.b).reshape(8), value=0.5)
            g = torch.addcdiv(g, h, 1 + h**2, value=-0.7) + F.glu(torch.cat([h, g], 1))
            pairs = g.reshape(-1, 4, 2)
            scale = F.one_hot(torch.arange(3), 3)
            y = self.o(g) + pairs.logsumexp(1).sum(1, keepdim=True)
            return (y + pairs.prod(2).mean(1, keepdim=True)) @ scale.to(y) + torch.linspace(0, 1, 3)

    return Functions(), torch.randn(N, 5)


@network(SMALL)
def windows():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.i, self.o = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(14, 3)
            self.v, self.g = nn.Parameter(torch.zeros(4, 4, 3)), nn.Parameter(torch.zeros(1, 1, 3))
            self.s = nn.Parameter(torch.zeros(4, 4, 3, 3))

        def forward(self, x):
            h = torch.tanh(self.i(x))
            weight = torch._weight_norm(self.v, self.g, 2)
            h = h + F.conv1d(h.flatten(2), weight, padding=1).reshape_as(h)
            options = dict(training=True, momentum=0.0, eps=1e-5)
            weight = F.batch_norm(self.s.reshape(1, 4, -1), None, None, **options)
            h = torch.tanh(h + F.conv2d(h, weight.reshape(self.s.shape), padding=1))
            columns = F.unfold(h, (3, 2), padding=1, stride=2, dilation=(1, 2))
            bands = F.pixel_unshuffle(h, 2).mean((2, 3)) ** 2
            mixed = F.channel_shuffle(h, 2).unfold(2, 3, 2)
            times = torch.linspace(0.5, 1.5, 6)
            down, right = torch.meshgrid(times, times.repeat_interleave(2)[::2], indexing="xy")
            tiled = (h * (down + right * down)).mean((2, 3)).tile((1, 2))
            bands = bands.repeat_interleave(2, 1)[:, ::8]
            parts = [columns.mean(2)[:, :1], columns.amax((1, 2))[:, None], tiled, bands]
            return self.o(torch.cat(parts, 1)) + mixed.sin().mean((1, 2, 3))[:, :1]

    return Windows(), image(6, 2)
