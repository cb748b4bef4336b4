#!/usr/bin/env python3
"""Writes the goldens of tests/golden/ from stock PyTorch, diffusers and transformers; the tests of each network check them.

    make.py [--only PART,...] [--model weights/emojicanvas] [--released DIR] [--program ./saeuron]

    PART: layers text unet gradient vae vit ddim sae train emojicanvas classifier      (default: all; the last two only where --model is a whole folder)
    --released DIR   also compares this file's SAE, scores, hooks and training with a checkout of the released SAeUron code
                     (cywinski/SAeUron at commit 1a4302a) and what `saeuron train` writes with its reader, into RELEASED.md. None of it is copied here.

What a golden holds. One .safetensors file a part (of vae two, one each way); the dtype says how a tensor is compared:
    F64   the truth: the same module run in float64 on the float32 weights and inputs. NAME.distance [2] is PyTorch's own
          distance to it in float32: root mean square and largest, each the worst over {oneDNN on, off} x {1, 2 threads}.
          docs/contract.md section 9 turns the two into bars.
    F32   bits, equal.      I64   integers, equal.      U8   pixels of stock diffusers, float32.
Maps lie channels last, [B,H,W,C], as the C code has them. A tensor of more than SAMPLE elements is sampled (edits
are kept whole): the golden is [SAMPLE], its element j the tensor's element value(0, hash(NAME), j) mod count. PyTorch's
distance is over the sample too.

What it does not hold: weights and inputs. Both come from the counter-based hash of docs/contract.md section 6, so the
C test makes the same bits. All in uint64, wrapping:
    mix(x)      x ^= x >> 30; x *= 0xBF58476D1CE4E5B9; x ^= x >> 27; x *= 0x94D049BB133111EB; x ^= x >> 31
    hash(text)  h = 0; for each little-endian 8-byte word w of the UTF-8 bytes, the last padded with zeros:
                h = mix(h + w + 0x9E3779B97F4A7C15); at the end h = mix(h ^ number of bytes)
    value(seed, stream, i) = mix(mix(seed ^ mix(stream)) + (i + 1) * 0x9E3779B97F4A7C15)
    uniform = (value >> 40) * 2^-24; symmetric(a) = float32 product (2 uniform - 1) * a
    weight  element i (in PyTorch's order) of tensor NAME is drawn with stream hash(NAME) and the seed SEED:
            2 and more dimensions: symmetric((float32) sqrt(3 / fan_in)), fan_in the product of shape[1:];
            1 dimension: symmetric(0.1f) where NAME ends in "bias" or "b_dec", else 1.0f + symmetric(0.1f)
    input   element i (in PyTorch's order, so [B,C,H,W] for maps) is symmetric(a) with stream hash(NAME), seed SEED.

Two places depart from stock. The time embedding's table is the contract's, correctly rounded, in both precisions
(torch's float32 exp misrounds one in a hundred), because the truth must be a function of the same frequencies; the
pixels of whole images are stock without it. And DDIM's bits are those of a correctly rounded square root: see ieee_sqrt."""

import argparse
import contextlib
import copy
import json
import math
import os
import re
import struct
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside other work two threads would spend their time spinning
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np  # noqa: E402
import torch  # noqa: E402

warnings.filterwarnings("ignore", message="TF32")  # said once for every use of mkldnn.flags

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 1
SAMPLE = 1500
LEAST_MARGIN = 2e-5  # of a decision at a hook, in whole images: closer ones are float32's to flip
LEAST_SHARE = 2e-6  # of a decision in training, as a share of the largest pre-activation: likewise
UNIT = math.sqrt(3)  # +-UNIT has variance 1
MASK = (1 << 64) - 1
GOLDEN_RATIO = 0x9E3779B97F4A7C15


# ---- the hash ----

def mix(x):
    with np.errstate(over="ignore"):
        x = np.asarray(x, np.uint64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def hash_text(text):
    data, h = text.encode(), 0
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at:at + 8], "little")
        h = int(mix((h + word + GOLDEN_RATIO) & MASK))
    return int(mix(h ^ len(data)))


def value(seed, stream, n):
    """value(seed, stream, i) for i < n."""
    start = mix(np.uint64(seed ^ int(mix(stream))))
    return mix(start + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(GOLDEN_RATIO))


def uniform(seed, stream, n):
    return ((value(seed, stream, n) >> np.uint64(40)).astype(np.float32) * np.float32(2.0 ** -24))


def symmetric(name, n, a, seed=SEED):
    return (np.float32(2) * uniform(seed, hash_text(name), n) - np.float32(1)) * np.float32(a)


def hash_input(name, shape, a=UNIT):
    return torch.from_numpy(symmetric(name, math.prod(shape), a).reshape(shape))


def hash_weight(name, shape):
    n = math.prod(shape)
    if len(shape) >= 2:
        values = symmetric(name, n, math.sqrt(3 / math.prod(shape[1:])))
    elif name.endswith(("bias", "b_dec")):
        values = symmetric(name, n, 0.1)
    else:
        values = np.float32(1) + symmetric(name, n, 0.1)
    return torch.from_numpy(values.reshape(shape))


def hash_fill(module, prefix=""):
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.copy_(hash_weight(prefix + name, tuple(p.shape)))
    return module.eval()


# ---- a golden file ----

def four_ways():
    for onednn in (True, False):
        for threads in (1, 2):
            with torch.backends.mkldnn.flags(enabled=onednn):
                torch.set_num_threads(threads)
                yield f"oneDNN {'on' if onednn else 'off'}, {threads} threads"
    torch.set_num_threads(2)


def channels_last(x):
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def sampled(name, x, sample=SAMPLE):
    x = np.ascontiguousarray(x)
    if x.size <= sample:
        return x
    return x.reshape(-1)[(value(0, hash_text(name), sample) % np.uint64(x.size)).astype(np.int64)]


DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "uint8": "U8"}


def save(path, tensors, metadata=None):
    """A safetensors file, the same bytes every time (the library's own writer shuffles the metadata)."""
    header, data = {}, []
    if metadata:
        header["__metadata__"] = {k: str(v) for k, v in sorted(metadata.items())}
    at = 0
    for name, x in sorted(tensors.items(), key=lambda t: (-t[1].itemsize, t[0])):
        x = np.ascontiguousarray(x)
        header[name] = {"dtype": DTYPES[x.dtype.name], "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        data.append(x.tobytes())
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


class Golden:
    def __init__(self, part):
        self.part, self.tensors, self.worst = part, {}, {}

    def exact(self, name, x, dtype):
        assert name not in self.tensors, name
        self.tensors[name] = np.ascontiguousarray(np.asarray(x), dtype)

    def measure(self, run, sample=SAMPLE):
        """run(dtype) gives {name: tensor}; its float64 result is the truth, float32 is measured four ways."""
        truth = {k: sampled(k, channels_last(v).detach().double().numpy(), sample) for k, v in run(torch.float64).items()}
        distance = {k: np.zeros(2) for k in truth}
        for _ in four_ways():
            for k, v in run(torch.float32).items():
                e = np.abs(sampled(k, channels_last(v).detach().numpy(), sample).astype(np.float64) - truth[k])
                distance[k] = np.maximum(distance[k], [math.sqrt(np.mean(e * e)), e.max()])
        for k in truth:
            assert np.isfinite(truth[k]).all(), k
            self.exact(k, truth[k], np.float64)
            self.exact(k + ".distance", distance[k], np.float64)

    def save(self, **metadata):
        path = os.path.join(HERE, self.part + ".safetensors")
        import diffusers
        import transformers
        metadata = {"torch": torch.__version__, "diffusers": diffusers.__version__,
                    "transformers": transformers.__version__, **metadata}
        save(path, self.tensors, metadata)
        print(f"{path}: {len(self.tensors)} tensors, {os.path.getsize(path):,} bytes", flush=True)


def config(name):
    with open(os.path.join(HERE, "configs", name + ".json")) as f:
        return json.load(f)


# ---- the time embedding of contract 5 ----

def timestep_embedding(t, dim, flip=False, shift=1.0):
    half = dim // 2
    exponent = np.float32(-math.log(10000)) * np.arange(half, dtype=np.float32) / np.float32(half - shift)
    frequency = np.exp(exponent.astype(np.float64)).astype(np.float32)
    angle = (np.asarray(t, np.float32)[:, None] * frequency[None]).astype(np.float64)
    parts = [np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)]
    return np.concatenate(parts[::-1] if flip else parts, axis=1)


@contextlib.contextmanager
def contract_time_embedding():
    from diffusers.models import embeddings

    def ours(timesteps, embedding_dim, flip_sin_to_cos=False, downscale_freq_shift=1, scale=1, max_period=10000):
        assert scale == 1 and max_period == 10000 and embedding_dim % 2 == 0
        return torch.from_numpy(timestep_embedding(timesteps.numpy(), embedding_dim, flip_sin_to_cos, downscale_freq_shift))

    stock, embeddings.get_timestep_embedding = embeddings.get_timestep_embedding, ours
    try:
        yield
    finally:
        embeddings.get_timestep_embedding = stock


# ---- layers alone ----

def run_layer(case, dtype):
    """One case of configs/layers.json by torch.nn.functional; the result channels last."""
    F, c, name = torch.nn.functional, case, case["name"]

    def x(part, shape, a=UNIT):
        return hash_input(f"{name}.{part}", shape, c.get("a", a)).to(dtype)

    def w(part, shape):
        return hash_weight(f"{name}.{part}", shape).to(dtype)

    if c["op"] == "linear":
        return F.linear(x("x", (c["M"], c["K"])), w("weight", (c["N"], c["K"])), w("bias", (c["N"],)) if c["bias"] else None)
    if c["op"] == "conv":
        y = x("x", (c["B"], c["ci"], c["H"], c["W"]))
        before, after = c["pad_before"], c["pad_after"]
        if before != after:  # diffusers Downsample2D with padding 0
            y, before = F.pad(y, (before, after, before, after)), 0
        return F.conv2d(y, w("weight", (c["co"], c["ci"], c["k"], c["k"])), w("bias", (c["co"],)), c["stride"], before)
    if c["op"] == "group_norm":
        y = F.group_norm(x("x", (c["B"], c["C"], c["P"], 1)), c["G"], w("weight", (c["C"],)), w("bias", (c["C"],)), c["eps"])
        return F.silu(y) if c["silu"] else y
    if c["op"] == "layer_norm":
        return F.layer_norm(x("x", (c["M"], c["D"])), (c["D"],), w("weight", (c["D"],)), w("bias", (c["D"],)), c["eps"])
    if c["op"] == "softmax":
        return F.softmax(x("x", (c["M"], c["N"])), -1)
    if c["op"] in ("silu", "gelu"):
        return getattr(F, c["op"])(x("x", (c["n"],)))
    if c["op"] == "quick_gelu":
        from transformers.activations import ACT2FN
        return ACT2FN["quick_gelu"](x("x", (c["n"],)))
    if c["op"] == "geglu":
        hidden, gate = x("x", (c["M"], 2 * c["D"])).chunk(2, -1)
        return hidden * F.gelu(gate)
    if c["op"] == "attention":
        q, k, v = (x(part, (c["B"], n, c["heads"] * c["head"])).view(c["B"], n, c["heads"], c["head"]).transpose(1, 2)
                   for part, n in (("q", c["Nq"]), ("k", c["Nk"]), ("v", c["Nk"])))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=c["causal"])
        return y.transpose(1, 2).reshape(c["B"], c["Nq"], -1)
    raise ValueError(c["op"])


def make_layers():
    g = Golden("layers")
    for case in config("layers"):
        name = case["name"]
        if case["op"] == "timestep_embedding":
            g.exact(name, timestep_embedding(case["t"], case["dim"], case["flip"], case["shift"]), np.float32)
        elif case["op"] == "upsample":
            y = torch.nn.functional.interpolate(hash_input(name + ".x", (case["B"], case["C"], case["H"], case["W"])), scale_factor=2.0, mode="nearest")
            g.exact(name, channels_last(y), np.float32)
        else:
            g.measure(lambda dtype: {name: run_layer(case, dtype)})
    # VaeImageProcessor: denormalize, to numpy, to 8 bits. Every halfway case of a byte, its neighbours, and beyond the ends.
    halfway = (np.arange(-2, 258, dtype=np.float64) + 0.5) / 127.5 - 1
    near = halfway.astype(np.float32)
    x = np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9)), symmetric("pixel.x", 1000, 1.2)])
    from diffusers.image_processor import VaeImageProcessor
    image = VaeImageProcessor().postprocess(torch.from_numpy(x).view(1, 1, 1, -1).expand(1, 3, 1, -1), output_type="np")
    from diffusers.image_processor import VaeImageProcessor as processor
    pixels = np.asarray(processor.numpy_to_pil(image)[0])[0, :, 0]
    g.exact("pixel.x", x, np.float32)
    g.exact("pixel", pixels, np.uint8)
    g.save()


# ---- networks ----

def tapped(module, wanted, run, prefix=""):
    """run()'s result and the outputs of the modules whose path the pattern wants, on the way."""
    seen, handles = {}, []
    for path, child in module.named_modules():
        if re.fullmatch(wanted, path):
            def hook(_, __, output, path=path):
                seen[prefix + path] = output[0] if isinstance(output, tuple) else output
            handles.append(child.register_forward_hook(hook))
    try:
        result = run()
    finally:
        for h in handles:
            h.remove()
    return result, seen


def in_both(module):
    return {torch.float32: module, torch.float64: copy.deepcopy(module).double()}


def token_ids(name, shape, vocab):
    n = math.prod(shape)
    return torch.from_numpy((value(SEED, hash_text(name), n) % np.uint64(vocab)).astype(np.int64).reshape(shape))


@torch.no_grad()
def make_text():
    from transformers import CLIPTextConfig, CLIPTextModel
    g = Golden("text")
    for name, shape in (("text15", (2, 77)), ("text2", (3, 20))):
        cfg = CLIPTextConfig.from_dict(config(name))
        cfg._attn_implementation = "sdpa"
        ids = token_ids(name + ".ids", shape, cfg.vocab_size)
        both = in_both(hash_fill(CLIPTextModel(cfg), "text_model."))

        def run(dtype):
            y, seen = tapped(both[dtype], r"encoder\.layers\.\d+", lambda: both[dtype](ids).last_hidden_state, name + ".")
            return {**seen, name: y}
        g.measure(run)
    g.save()


BLOCK = r"((down|up)_blocks\.\d+|mid_block)"
UNET_MODULES = (rf"time_embedding|conv_in|conv_out|{BLOCK}\.resnets\.\d+|{BLOCK}\.(up|down)samplers\.0"
                rf"|{BLOCK}\.attentions\.\d+(\.transformer_blocks\.0\.(attn1|attn2|ff))?")


@torch.no_grad()
def make_unet():
    from diffusers import UNet2DConditionModel
    for name in ("unet15", "unet2"):
        g = Golden(name)
        cfg = config(name)
        both = in_both(hash_fill(UNet2DConditionModel.from_config(cfg)))
        B, side = 2, cfg["sample_size"]
        x = hash_input(name + ".latents", (B, 4, side, side))
        text = hash_input(name + ".text", (B, 77, cfg["cross_attention_dim"]))

        def run(dtype, t):
            return tapped(both[dtype], UNET_MODULES,
                          lambda: both[dtype](x.to(dtype), t, text.to(dtype)).sample, f"{name}.")

        def boundaries(dtype):
            seen = run(dtype, 501)[1]
            seen[name + ".time_embedding"] = seen[name + ".time_embedding"][:1]
            return seen

        with contract_time_embedding():
            g.measure(boundaries)
            g.measure(lambda dtype: {f"{name}.t{t}": run(dtype, t)[0] for t in (1, 261, 601, 999)})
            # A map that is not square, of other than sample_size.
            x, text = hash_input(name + ".wide", (1, 4, 8, 24)), hash_input(name + ".short", (1, 11, cfg["cross_attention_dim"]))
            g.measure(lambda dtype: {f"{name}.wide": run(dtype, 741)[0]})
        g.save()


# A tensor of each kind of layer, of the UNet and of the text encoder.
UNET_TENSORS = """conv_in.weight time_embedding.linear_1.weight time_embedding.linear_2.bias down_blocks.0.resnets.0.norm1.weight
    down_blocks.1.resnets.0.conv_shortcut.weight down_blocks.1.resnets.1.time_emb_proj.weight down_blocks.0.attentions.1.norm.bias
    down_blocks.0.attentions.0.proj_in.weight down_blocks.1.downsamplers.0.conv.weight mid_block.resnets.0.conv1.weight
    mid_block.attentions.0.transformer_blocks.0.attn1.to_v.weight up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_k.weight
    up_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj.weight up_blocks.2.attentions.1.transformer_blocks.0.norm3.weight
    up_blocks.0.upsamplers.0.conv.bias up_blocks.2.resnets.2.conv2.weight conv_norm_out.weight conv_out.weight""".split()
TEXT_TENSORS = """embeddings.token_embedding.weight embeddings.position_embedding.weight encoder.layers.0.self_attn.k_proj.weight
    encoder.layers.1.mlp.fc1.bias encoder.layers.1.layer_norm2.weight final_layer_norm.bias""".split()


def make_gradient():
    """Derivatives of mean((UNet(x, 501, text) - target)^2) by x, text and weights; of sum(text states * dy) by the embeddings and weights."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel
    g = Golden("gradient")
    for name in ("unet15", "unet2"):
        cfg = config(name)
        both = in_both(hash_fill(UNet2DConditionModel.from_config(cfg)))
        side = cfg["sample_size"]
        inputs = {n: hash_input(f"{name}.{n}", s) for n, s in
                  (("latents", (2, 4, side, side)), ("text", (2, 77, cfg["cross_attention_dim"])), ("target", (2, 4, side, side)))}

        def run(dtype):
            net = both[dtype]
            net.zero_grad()
            x, text, target = (v.to(dtype).clone() for v in inputs.values())
            x.requires_grad_()
            text.requires_grad_()
            torch.mean((net(x, 501, text).sample - target) ** 2).backward()
            weights = dict(net.named_parameters())
            return {f"{name}.d.latents": x.grad, f"{name}.d.text": text.grad,
                    # [co,ci,k,k] as PyTorch has it, and not as a map, channels last
                    **{f"{name}.d.{t}": weights[t].grad.flatten() for t in UNET_TENSORS}}
        with contract_time_embedding():
            g.measure(run)
    for name, shape in (("text15", (2, 77)), ("text2", (3, 20))):
        cfg = CLIPTextConfig.from_dict(config(name))
        cfg._attn_implementation = "sdpa"
        ids = token_ids(name + ".ids", shape, cfg.vocab_size)
        both = in_both(hash_fill(CLIPTextModel(cfg), "text_model."))
        dy = hash_input(name + ".dy", (*shape, cfg.hidden_size))

        def run(dtype):
            net, seen = both[dtype], {}
            net.zero_grad()
            weights = {k.removeprefix("text_model."): v for k, v in net.named_parameters()}
            embeddings = dict(net.named_modules())["text_model.embeddings" if "text_model.embeddings" in dict(net.named_modules()) else "embeddings"]

            def keep(_, __, output):
                output.retain_grad()
                seen["tokens"] = output
            handle = embeddings.register_forward_hook(keep)
            (net(ids).last_hidden_state * dy.to(dtype)).sum().backward()
            handle.remove()
            return {f"{name}.d.tokens": seen["tokens"].grad, **{f"{name}.d.{t}": weights[t].grad.flatten() for t in TEXT_TENSORS}}
        g.measure(run)
    g.save()


VAE_DECODER = r"decoder\.(conv_in|conv_out|mid_block|up_blocks\.\d+\.(resnets\.\d+|upsamplers\.0))"
VAE_ENCODER = r"quant_conv|encoder\.(conv_in|conv_out|mid_block|down_blocks\.\d+\.(resnets\.\d+|downsamplers\.0))"


@torch.no_grad()
def make_vae():
    from diffusers import AutoencoderKL
    g, e = Golden("vae"), Golden("vae_encoder")
    for name, (h, w) in (("vae15", (8, 8)), ("vae_plain", (6, 10))):
        cfg = config(name)
        both = in_both(hash_fill(AutoencoderKL.from_config(cfg)))
        z = hash_input(name + ".latents", (2, cfg["latent_channels"], h, w))
        scale = 2 ** (len(cfg["block_out_channels"]) - 1)
        x = hash_input(name + ".image", (2, 3, h * scale, w * scale), 1)
        factor, shift = both[torch.float32].config.scaling_factor, both[torch.float32].config.shift_factor or 0

        def run(dtype):
            y, seen = tapped(both[dtype], VAE_DECODER,
                             lambda: both[dtype].decode(z.to(dtype) / factor + shift).sample, name + ".")
            assert torch.equal(y, seen[f"{name}.decoder.conv_out"])
            return seen

        def encode(dtype):
            d, seen = tapped(both[dtype], VAE_ENCODER, lambda: both[dtype].encode(x.to(dtype)).latent_dist, name + ".")
            seen[name + ".moments"] = torch.cat([d.mean, d.logvar], 1)
            seen[name + ".mode"] = (d.mode() - shift) * factor  # as the image-to-image pipelines scale it
            return seen
        g.measure(run)
        e.measure(encode)
    e.exact("image", stock_pixels(), np.float32)
    g.save()
    e.save()


def stock_pixels():
    """What VaeImageProcessor makes of each byte."""
    from diffusers.image_processor import VaeImageProcessor
    from PIL import Image
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    return VaeImageProcessor().preprocess(Image.fromarray(every))[0, 0].flatten().numpy()


# ---- the classifier ----

def import_timm():
    """timm without torchvision, of whose transforms nothing here has need: torchvision's wheels on PyPI hold operators for
    CUDA builds of torch alone, and beside a CPU build they break every import of transformers. What timm names of it is empty."""
    import importlib.abc
    import importlib.machinery
    import sys
    import types

    class Nothing(type):
        def __getattr__(cls, name):
            return Nothing(name, (), {})

    class Module(types.ModuleType):
        __path__ = []

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Nothing(name, (), {})

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name, path, target=None):
            return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

        def create_module(self, spec):
            return Module(spec.name)

        def exec_module(self, module):
            pass

    finder = Finder()
    if "timm" not in sys.modules:
        before = set(sys.modules)
        sys.meta_path.insert(0, finder)
        try:
            import timm
        finally:
            sys.meta_path.remove(finder)
            for name in set(sys.modules) - before:      # transformers asks whether torchvision is there, and must hear no
                if name.split(".")[0] == "torchvision":
                    del sys.modules[name]
    import timm
    return timm


def make_classifier(cfg):
    """The network of a config.json: by timm's own reader where the config is in its hub's layout."""
    timm = import_timm()
    if "pretrained_cfg" in cfg:
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "config.json"), "w") as f:
                json.dump(cfg, f)
            return timm.create_model("local-dir:" + folder)
    takes = ("img_size", "patch_size", "in_chans", "num_classes", "global_pool", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias",
             "class_token", "fc_norm")
    return timm.models.VisionTransformer(**{k: cfg[k] for k in takes if k in cfg})


def picture(name, height, width):
    """Bytes of the hash, [height,width,3]."""
    return (value(SEED, hash_text(name), height * width * 3) >> np.uint64(56)).astype(np.uint8).reshape(height, width, 3)


def preprocess(cfg, pictures):
    """As UnlearnCanvas' evaluation: Pillow's bilinear resize to the network's side, then what torchvision's ToTensor and
    Normalize compute, (byte / 255 - mean) / std."""
    from PIL import Image
    how = cfg.get("pretrained_cfg", cfg)
    side = how["input_size"][1] if "input_size" in how else how["img_size"]
    x = [np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.BILINEAR)) for p in pictures]
    mean, std = (torch.tensor(how[k], dtype=torch.float32)[:, None, None] for k in ("mean", "std"))
    return (torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2).contiguous().float() / 255 - mean) / std


def resized_hashes(count):
    """[count,5]: W, H, w, h and the digest of Pillow's bilinear resize of picture("resize.W.H.w.h"): sizes drawn, with a few that matter."""
    import random
    from PIL import Image
    draw, rows = random.Random(SEED), []
    some = (1, 2, 3, 16, 64, 224)
    sizes = [(512, 512, 224, 224), (64, 64, 224, 224), (224, 224, 64, 64), (64, 64, 64, 64), (64, 50, 64, 64), (50, 64, 64, 64), (1, 1, 9, 7),
             (9, 7, 1, 1), (3, 301, 20, 20), (3, 299, 2, 20), (100, 300, 50, 199), (100, 300, 50, 200), (100, 300, 50, 201), (4000, 2, 5, 3), (2, 4000, 3, 5)]
    while len(sizes) < count:
        sizes.append(tuple(draw.choice(some) if draw.random() < 0.3 else draw.randint(1, 300) for _ in range(4)))
    for W, H, w, h in sizes:
        y = np.asarray(Image.fromarray(picture(f"resize.{W}.{H}.{w}.{h}", H, W)).resize((w, h), Image.Resampling.BILINEAR))
        rows.append((W, H, w, h, digest(y.tobytes())))
    return np.array(rows, np.uint64).view(np.int64)


@torch.no_grad()
def make_vit():
    g = Golden("vit")
    for name, (height, width) in (("vit_plain", (50, 45)), ("vit_hub", (30, 30)), ("vit_gap", (64, 7)), ("vit_fc_norm", (20, 90))):
        cfg = config(name)
        both = in_both(hash_fill(make_classifier(cfg)))
        norm = "fc_norm" if isinstance(both[torch.float32].norm, torch.nn.Identity) else "norm"
        x = preprocess(cfg, [picture(f"{name}.{i}", height, width) for i in range(3)])
        g.exact(name + ".x", channels_last(x), np.float32)
        g.measure(lambda dtype: tapped(both[dtype], rf"patch_embed|blocks\.\d+|{norm}|head", lambda: both[dtype](x.to(dtype)), name + ".")[1])
    g.exact("resize", resized_hashes(150), np.int64)
    for name in ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_large_patch16_224", "vision_transformer"):
        timm = import_timm()
        with torch.device("meta"):
            net = timm.models.VisionTransformer() if name == "vision_transformer" else timm.create_model(name)
        attn, mlp = net.blocks[0].attn, net.blocks[0].mlp
        g.exact("architecture." + name, np.array([net.patch_embed.img_size[0], net.patch_embed.patch_size[0], net.embed_dim, len(net.blocks), attn.num_heads,
                                                  mlp.fc1.out_features, net.num_classes]), np.int64)
    g.save()


# ---- DDIM ----

@contextlib.contextmanager
def ieee_sqrt():
    """x ** 0.5 of a 0-dimensional float32 tensor, correctly rounded, as DDIMScheduler.step needs for the contract's bits.
    torch hands it to MKL, whose answer depends on the CPU: on an AMD EPYC one in five is an ulp off (torch 2.13)."""
    stock = torch.Tensor.__pow__

    def power(x, exponent):
        if exponent == 0.5 and x.dim() == 0 and x.dtype == torch.float32:
            return torch.from_numpy(np.sqrt(x.numpy()[None]))[0]
        return stock(x, exponent)

    torch.Tensor.__pow__ = power
    try:
        yield
    finally:
        torch.Tensor.__pow__ = stock


@ieee_sqrt()
def make_ddim():
    from diffusers import DDIMScheduler
    g = Golden("ddim")
    n = 500
    for name in ("ddim15", "ddim2", "ddim_to_one"):
        # As StableDiffusionPipeline.__init__ does to whatever scheduler was saved.
        s = DDIMScheduler.from_config({**config(name), "steps_offset": 1, "clip_sample": False})
        g.exact(name + ".alphas", s.alphas_cumprod.numpy(), np.float32)
        for steps in (1, 7, 20, 25, 50, 100, 333, 999):
            s.set_timesteps(steps)
            g.exact(f"{name}.timesteps.{steps}", s.timesteps.numpy(), np.int64)
        for steps in (20, 50):
            s.set_timesteps(steps)
            for i in (0, steps // 2, steps - 1):
                x, e = hash_input(f"ddim.x.{i}", (n,)), hash_input(f"ddim.e.{i}", (n,))
                g.exact(f"{name}.step.{steps}.{i}", s.step(e, s.timesteps[i], x).prev_sample.numpy(), np.float32)
    u, c = hash_input("guide.u", (n,)), hash_input("guide.c", (n,))
    g.exact("guide", (u + 7.5 * (c - u)).numpy(), np.float32)
    g.save()


# ---- the SAE, scores and edits, written again from docs/method.md ----

class Sae:
    """TopK SAE at use: f = the k largest of relu(W_enc (x - b_dec) + b_enc) a token, ties to the lower index."""

    def __init__(self, k, tensors, dtype, twins=((), ())):
        self.k, self.dtype, self.twins = k, dtype, twins
        self.W_enc, self.b_enc = tensors["encoder.weight"].to(dtype), tensors["encoder.bias"].to(dtype)
        self.W_dec, self.b_dec = tensors["W_dec"].to(dtype), tensors["b_dec"].to(dtype)

    def pre(self, x):
        z = torch.relu(torch.nn.functional.linear(x.to(self.dtype) - self.b_dec, self.W_enc, self.b_enc))
        row, twin = self.twins
        z[:, list(twin)] = z[:, list(row)]  # equal rows tie exactly, whatever the matrix product's order
        return z

    def encode(self, x):
        """f [M,n] and the indices [M,k] of the k largest, value then lower index first."""
        z = self.pre(x)
        order = torch.sort(z, dim=-1, descending=True, stable=True)
        idx = order.indices[:, :self.k]
        return torch.zeros_like(z).scatter_(-1, idx, order.values[:, :self.k]), idx

    def decode(self, f):
        return f @ self.W_dec + self.b_dec


EDIT_STEPS = (0, 2)
SAE_ROW, SAE_TWIN = [3, 100, 101], [200, 40, 255]  # latents with equal encoder rows: TopK ties


def sae_tensors(d, n):
    t = {name: hash_weight(name, shape) for name, shape in
         (("encoder.weight", (n, d)), ("encoder.bias", (n,)), ("W_dec", (n, d)), ("b_dec", (d,)))}
    t["encoder.bias"] -= 0.9  # so that some tokens have fewer than k positive latents
    t["encoder.weight"][SAE_TWIN] = t["encoder.weight"][SAE_ROW]
    t["encoder.bias"][SAE_TWIN] = t["encoder.bias"][SAE_ROW]
    t["W_dec"] /= t["W_dec"].norm(dim=1, keepdim=True)
    return t


def made_up_latents(cfg):
    """Token means of latents as `gather` would find them: {concept: [prompts, T, n]} float32."""
    T, n, out = len(cfg["timesteps"]), cfg["n"], {}
    for concept, prompts in cfg["concepts"].items():
        base = 0.6 + symmetric(f"stats.{concept}", T * n, 0.6).reshape(1, T, n)
        spread = 1 + symmetric(f"stats.{concept}.prompts", prompts * T * n, 0.5).reshape(prompts, T, n)
        out[concept] = torch.from_numpy((base * spread).astype(np.float32))
    return out


def scores(mu, prompts, concept, t):
    """s [n] in float64 of the stored float32 means: the concept's share of activation less all others' pooled share."""
    mine = mu[concept][t].double()
    others = [c for c in mu if c != concept]
    if not others:
        return mine
    pooled = sum(prompts[c] * mu[c][t].double() for c in others) / sum(prompts[c] for c in others)
    return mine / (mine.sum() + 1e-8) - pooled / (pooled.sum() + 1e-8)


def select(s, how):
    """Latents with s above the percentile (torch.quantile's line, in float64), or the K best; and the margin of the choice."""
    s = s.numpy()
    if "top" in how:
        order = np.lexsort((np.arange(s.size), -s))
        chosen, rest = order[:how["top"]], order[how["top"]:]
        return np.sort(chosen), s[chosen].min() - s[rest].max() if rest.size else math.inf
    r = how["percentile"] / 100 * (s.size - 1)
    v, lo = np.sort(s), int(math.floor(r))
    line = v[lo] + (r - lo) * (v[min(lo + 1, s.size - 1)] - v[lo])
    return np.flatnonzero(s > line), np.abs(s - line).min()


def edit(sae, x, forget, thresholds, residual, decisions=None, steer=()):
    """The hook's output. x [M,d]; forget [(latents, mu, gamma)] in the order named; thresholds [n]; steer [(latent, factor)].
    Audit A20: a steered latent is multiplied by its factor wherever it fires, whatever concept selects it.
    Audit A5: masks are taken on the original f, and of the factors that apply to a latent the one furthest from 1 wins.
    decisions, a list, collects what a rounding could flip: see decide."""
    f, _ = sae.encode(x)
    factor = torch.ones_like(f)
    for latents, mu, gamma in forget:
        for i in latents:
            mine = torch.tensor(float(np.float32(gamma) * np.float32(mu[i])), dtype=f.dtype)
            take = (f[:, i] > thresholds[i].to(f.dtype)) & ((mine - 1).abs() > (factor[:, i] - 1).abs())
            factor[:, i] = torch.where(take, mine, factor[:, i])
    for i, mine in steer:
        factor[:, i] = float(np.float32(mine))
    if decisions is not None:
        chosen = sorted({int(i) for latents, _, _ in forget for i in latents} | {i for i, _ in steer})
        line = thresholds.clone()
        line[[i for i, _ in steer]] = 0
        decisions.append(decide(sae, x, f, line, chosen if residual == "paper" else None))
    edited = f * factor
    x = x.to(f.dtype)
    if residual == "paper":
        return x + (edited - f) @ sae.W_dec
    if residual == "released":  # audit A1: the error's sign is reversed
        return sae.decode(edited) + (sae.decode(f) - x)
    return sae.decode(edited)


def decide(sae, x, f, thresholds, chosen):
    """The decisions that an edit rests on, and the least margin of any: which chosen latents fire above their threshold
    and so are changed; without chosen (the SAE's whole output returns), which latents are among the k largest.
    Exact ties do not count: the index decides them, and no rounding."""
    z = sae.pre(x)
    top = z.sort(-1, descending=True).values
    last, first_out = top[:, sae.k - 1:sae.k], top[:, sae.k:sae.k + 1]
    never = torch.full_like(z[:, :1], math.inf)
    if chosen is None:
        gap = (last - first_out)[last > first_out]
        return (f > 0).numpy(), float(gap.min()) if gap.numel() else math.inf
    z, f, line = z[:, chosen], f[:, chosen], thresholds[chosen].to(f.dtype)
    leave = torch.where((z > first_out) & (f > 0), z - first_out, never)     # fall out of the k largest
    enter = torch.where((z < last) & (f == 0) & (z > line), last - z, never)  # come in, and fire
    cross = torch.where(f > 0, (z - line).abs(), never)
    return (f > line).numpy(), float(torch.minimum(torch.where(f > line, leave, never), torch.minimum(enter, cross)).min())


def save_sae(cfg, tensors, mu, prompts):
    """A sparsify folder, and statistics in this project's format (docs/formats.md)."""
    folder = os.path.join(HERE, "sae")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "cfg.json"), "w") as f:
        json.dump({"expansion_factor": cfg["n"] // cfg["d"], "normalize_decoder": True, "num_latents": 0, "k": cfg["k"],
                   "batch_topk": True, "sample_topk": False, "input_unit_norm": False, "multi_topk": False, "d_in": cfg["d"]}, f)
        f.write("\n")
    save(os.path.join(folder, "sae.safetensors"), {k: v.numpy() for k, v in tensors.items()})
    common = {"hook": cfg["hook"], "steps": len(cfg["timesteps"]), "timesteps": json.dumps(cfg["timesteps"]), "seed": 188, "cfg": 9}
    for name, concepts in (("stats", list(mu)), ("stats_one", ["Cats"])):
        metadata = {**common, "prompts": json.dumps({c: prompts[c] for c in concepts})}
        save(os.path.join(folder, name + ".safetensors"), {c: mu[c].numpy() for c in concepts}, metadata)


def forget_list(mu, prompts, forgets, t, thresholds=None):
    """thresholds [T,n]: for choices with min_lift, the least multiple of them that a selected latent's mu is."""
    out = []
    for how in forgets:
        score, mine = scores(mu, prompts, how["concept"], t), mu[how["concept"]][t].numpy()
        lifted = np.arange(len(mine))
        if "min_lift" in how:
            lifted = np.flatnonzero((mine > 0) & (mine.astype(np.float64) >= how["min_lift"] * thresholds[t].float().double().numpy()))
        latents, _ = select(score[lifted], how)
        out.append((lifted[latents], mine, how["strength"]))
    return out


@torch.no_grad()
def make_sae():
    cfg = config("sae")
    g = Golden("sae")
    T, d, n, k = len(cfg["timesteps"]), cfg["d"], cfg["n"], cfg["k"]
    M = cfg["batch"] * cfg["side"] ** 2
    tensors = sae_tensors(d, n)
    latents = made_up_latents(cfg)
    prompts = cfg["concepts"]
    mu = {c: v.double().mean(0).float() for c, v in latents.items()}
    save_sae(cfg, tensors, mu, prompts)
    both = {dtype: Sae(k, tensors, dtype, (SAE_ROW, SAE_TWIN)) for dtype in (torch.float32, torch.float64)}
    truth = both[torch.float64]

    # TopK: indices equal, padded with zeros where fewer than k values are positive. Row 0 is b_dec itself: none are.
    x = hash_input("sae.x", (M, d))
    x[0] = tensors["b_dec"]
    f, idx = truth.encode(x)
    z = truth.pre(x).sort(-1, descending=True).values
    gap = (z[:, k - 1] - z[:, k])
    tie = (gap == 0) & (z[:, k] > 0)
    print(f"sae: smallest TopK margin {float(gap[(gap > 0)].min()):.1e}; {int(tie.sum())} rows tie at k; positive values "
          f"{int((z > 0).sum(-1).min())} to {int((z > 0).sum(-1).max())}")
    assert float(gap[gap > 0].min()) > 5e-6 and tie.any()
    count = (f > 0).sum(-1)
    ascending = torch.where(f.gather(-1, idx) > 0, idx, n).sort(-1).values
    filler = ascending == n
    ascending[filler] = 0
    g.exact("sae.x", x.numpy(), np.float32)
    g.exact("sae.idx", ascending.numpy(), np.int64)
    g.exact("sae.count", count.numpy(), np.int64)
    g.measure(lambda dtype: {"sae.f": both[dtype].encode(x)[0].gather(-1, ascending).masked_fill(filler, 0),
                             "sae.decode": both[dtype].encode(x)[0] @ both[dtype].W_dec})

    # Scores, thresholds, selections.
    thresholds = torch.stack([mu[c].double() for c in mu]).mean(0)
    g.measure(lambda dtype: {"select.threshold": torch.stack([mu[c].to(dtype) for c in mu]).mean(0)})

    def float32_scores(concept):  # the released arithmetic on per-prompt latents
        mine = latents[concept].mean(0)
        pooled = torch.cat([latents[c] for c in latents if c != concept]).mean(0)
        return mine / (mine.sum(-1, keepdim=True) + 1e-8) - pooled / (pooled.sum(-1, keepdim=True) + 1e-8)
    for concept in mu:
        g.measure(lambda dtype: {f"select.score.{concept}": float32_scores(concept) if dtype == torch.float32 else
                                 torch.stack([scores(mu, prompts, concept, t) for t in range(T)])})
    for i, how in enumerate(cfg["select"]):
        chosen = [select(scores(mu, prompts, how["concept"], t), how) for t in range(T)]
        assert min(m for _, m in chosen) > 1e-8, how
        g.exact(f"select.{i}", np.stack([c for c, _ in chosen]), np.int64)
        alone = [select(mu["Cats"][t].double(), how) for t in range(T)]
        g.exact(f"select.one.{i}", np.stack([c for c, _ in alone]), np.int64)

    # Edits: every residual form, two steps. Whole tensors: a strong edit multiplies the rounding of a few latents, and
    # the largest error over a sample would be one number's luck.
    for case in cfg["ablate"]:
        for residual in ("paper", "released", "none"):
            for t in EDIT_STEPS:
                forget = forget_list(mu, prompts, case["forget"], t)
                steer = [(s["latent"], s["factor"]) for s in case.get("steer", [])]
                decisions = []
                edit(truth, x, forget, thresholds[t], residual, decisions, steer)
                assert decisions[0][1] > 1e-6, (case["name"], residual, t, decisions[0][1])
                name = f"ablate.{case['name']}.{residual}.{t}"
                g.measure(lambda dtype: {name: edit(both[dtype], x, forget, thresholds[t], residual, steer=steer)}, sample=math.inf)
        changed = int((edit(truth, x, forget, thresholds[t], "paper", steer=steer) != x).any(-1).sum())
        print(f"sae: ablate.{case['name']} changes {changed} of {M} tokens at the last step")
    g.save()
    return cfg, tensors, latents, mu, x



# ---- training, written again from docs/method.md ----

TENSORS = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")


def training_data(cfg, name, scale=1):
    """[batches,batch,d] float32, every operation rounded once: a mean, three of 64 directions a token, noise; times scale, a power of
    two: short tokens have long gradients, which clipping then meets."""
    T, d = cfg["batches"] * cfg["batch"], cfg["d"]
    mean = symmetric(name + ".mean", d, 1)
    atoms = symmetric(name + ".atoms", 64 * d, 1).reshape(64, d)
    which = (value(SEED, hash_text(name + ".which"), 3 * T) % np.uint64(64)).astype(np.int64).reshape(T, 3)
    weight = uniform(SEED, hash_text(name + ".weight"), 3 * T).reshape(T, 3)
    x = np.broadcast_to(mean, (T, d))
    for r in range(3):
        x = x + weight[:, r:r + 1] * atoms[which[:, r]]
    x = x + symmetric(name + ".noise", T * d, 0.1).reshape(T, d)
    x = x * np.float32(scale)
    assert x.dtype == np.float32
    return torch.from_numpy(x.reshape(cfg["batches"], cfg["batch"], d))


def training_start(cfg, case, name):
    """Parameters, and tokens since each latent fired: the first `dead` of them are beyond the threshold, and shorter in
    the encoder, so that they seldom are among the k largest and auxk has them for more than a step."""
    d, n = cfg["d"], cfg["n"]
    weight = torch.from_numpy(symmetric(name + ".encoder.weight", n * d, 1 / math.sqrt(d)).reshape(n, d))
    weight[:case.get("dead", 0)] *= case.get("shrink", 0.25)
    start = {"encoder.weight": weight, "encoder.bias": torch.from_numpy(symmetric(name + ".encoder.bias", n, 0.05)), "W_dec": weight.clone(),
             "b_dec": torch.from_numpy((symmetric(name + ".mean", d, 1) + symmetric(name + ".b_dec", d, 0.1)) * np.float32(case.get("scale", 1)))}
    count = torch.zeros(n, dtype=torch.long)
    count[:case.get("dead", 0)] = cfg["dead_threshold"] + 1
    return start, count


def geometric_median(x):
    """Weiszfeld from the mean: at most 100 rounds, until a change below 1e-5."""
    guess = x.mean(0)
    for _ in range(100):
        w = 1 / (x - guess).norm(dim=1)
        last, guess = guess, ((w / w.sum())[:, None] * x).sum(0)
        if (guess - last).norm() < 1e-5:
            break
    return guess


class Training:
    """SaeTrainer's step and the SAE under it, dense, with torch's autograd and Adam, in one dtype. After step(): loss terms and
    measures in `report`, gradients as backward left them in `grad`, the selected latents in `chosen`, and, in float64, how
    near the closest decision so far was, as a share of its step's largest pre-activation: `margin`."""

    def __init__(self, cfg, case, start, count, dtype):
        self.cfg, self.case, self.dtype = cfg, case, dtype
        self.p = {k: start[k].to(dtype).clone().requires_grad_() for k in TENSORS}
        self.count, self.steps = count.clone(), 0
        self.adam = torch.optim.Adam(self.p.values(), lr=cfg["lr"], eps=6.25e-10, fused=True)
        self.margin = math.inf

    def topk(self, z, k):
        """z but for the k largest of each row set to 0 (BatchTopK: the M*k largest of all rows); and which those are."""
        rows = z.reshape(1, -1) if self.case.get("batch_topk") else z
        top = rows.topk(k * z.shape[0] // rows.shape[0], sorted=False)
        f = torch.zeros_like(rows).scatter(-1, top.indices, top.values)
        chosen = torch.zeros_like(rows, dtype=torch.bool).scatter(-1, top.indices, True)
        if self.dtype == torch.float64:
            self.near(rows.detach(), k * z.shape[0] // rows.shape[0])
        return f.view_as(z), chosen.view_as(z)

    def near(self, rows, k):
        """The least gap between a row's k-th value and the next, where one of them is positive: zeros are all alike."""
        if k >= rows.shape[1]:
            return
        top = rows.topk(k + 1).values
        gap = (top[:, k - 1] - top[:, k])[top[:, k - 1] > 0]
        self.margin = min([self.margin, *(gap / self.largest).tolist()])

    def step(self, x):
        c, p, alpha = self.cfg, self.p, self.cfg["auxk_alpha"]
        x, dead = x.to(self.dtype), self.count > c["dead_threshold"]
        with torch.no_grad():
            p["W_dec"] /= p["W_dec"].norm(dim=1, keepdim=True) + torch.finfo(self.dtype).eps

        raw = torch.nn.functional.linear(x - p["b_dec"], p["encoder.weight"], p["encoder.bias"])
        z = torch.relu(raw)
        self.largest = float(raw.detach().abs().max())
        f, chosen = self.topk(z, c["k"])
        y = f @ p["W_dec"] + p["b_dec"]
        variance = (x - x.mean(0)).pow(2).sum()
        fvu = (y - x).pow(2).sum() / variance

        auxk, some = torch.zeros((), dtype=self.dtype), c["d"] // 2
        if dead.any():
            k = min(some, int(dead.sum()))
            g, _ = self.topk(torch.where(dead, z, -math.inf), k)
            if self.dtype == torch.float64:  # a dead latent near 0 may fire in one precision and not in the other
                self.margin = min(self.margin, float(raw.detach()[:, dead].abs().min()) / self.largest)
            if self.case.get("released_auxk"):  # audit A2: the error's sign is reversed, live latents get gradient, and the bias is added
                error = (g @ p["W_dec"] + p["b_dec"]) - (y - x)
            else:
                error = g @ p["W_dec"] - (x - y).detach()
            auxk = min(int(dead.sum()) / some, 1.0) * error.pow(2).sum() / variance

        multi, fired = torch.zeros((), dtype=self.dtype), chosen
        if self.case.get("multi_topk"):
            g, fired = self.topk(z, 4 * c["k"])
            multi = (g @ p["W_dec"] + p["b_dec"] - x).pow(2).sum() / variance
        loss = fvu + alpha * auxk + multi / 8
        self.adam.zero_grad()
        loss.backward()
        self.grad = {k: v.grad.clone() for k, v in p.items()}

        norm = torch.nn.utils.clip_grad_norm_(p.values(), 1.0)
        with torch.no_grad():
            w, dw = p["W_dec"], p["W_dec"].grad
            dw -= (dw * w).sum(1, keepdim=True) * w
        self.adam.param_groups[0]["lr"] = c["lr"] * max(0.0, (c["steps"] - self.steps) / c["steps"])
        self.adam.step()
        self.steps += 1
        self.count += c["batch"]
        self.count[fired.any(0)] = 0

        explained = 1 - (y - x).pow(2).sum(1) / (x - x.mean(0)).pow(2).sum(1)
        self.chosen = fired
        self.report = {"fvu": fvu, "auxk": auxk, "multi": multi, "loss": loss, "grad_norm": norm, "explained": explained.mean(), "explained_dev": explained.std(),
                       "l0": (f > 0).sum(1).to(self.dtype).mean()}
        self.integers = {"dead": int(dead.sum()), "fired": int(fired.any(0).sum())}

    def tensors(self, prefix):
        return {prefix + k: v.detach().clone() for k, v in self.p.items()}


def doubtful(cfg, t, name):
    """Whether Adam's first step magnifies rounding: it is lr g / (|g| + eps), and for a gradient near eps its slope, lr eps / (|g| + eps)^2, times
    what float32 leaves open of the gradient (its row's largest, times 2^-24) is more than an ulp of the parameter. Of the elements that
    golden NAME.parameter samples."""
    for k, p in t.p.items():
        g = p.grad.abs()
        slope = torch.where(g > 0, cfg["lr"] * 6.25e-10 / (g + 6.25e-10) ** 2, 0)
        magnified = slope * g.amax(-1, keepdim=True) * 2.0 ** -24
        if (sampled(f"{name}.{k}", magnified.numpy()) > 2.0 ** -24 * float(p.detach().abs().max())).any():
            return True
    return False


def told_apart(cfg, case, x, start, count, name):
    """Whether float32 can tell every decision of the first ten steps, and the first step of Adam's."""
    t = Training(cfg, case, start, count, torch.float64)
    for s in range(10):
        t.step(x[s % len(x)])
        if t.margin < LEAST_SHARE or (s == 0 and doubtful(cfg, t, name + ".step1")):
            return False
    return True


def train_case(g, cfg, case, attempt):
    """One case's goldens, on the attempt-th draw of data; False where the first ten steps are float32's to flip."""
    name, draw = f"train.{case['name']}", f"train.{case['name']}.{attempt}"
    x, (start, count) = training_data(cfg, draw, case.get("scale", 1)), training_start(cfg, case, draw)
    if not told_apart(cfg, case, x, start, count, name):
        return False
    seen = []

    def run(dtype):
        t, out, chosen, dead, fvu = Training(cfg, case, start, count, dtype), {}, [], [], []
        for s in range(cfg["steps"]):
            t.step(x[s % len(x)])
            dead.append(int((t.count > cfg["dead_threshold"]).sum()))
            fvu.append(t.report["fvu"].detach())
            if s == 0:
                out.update({f"{name}.grad.{k}": v for k, v in t.grad.items()})
                out.update({f"{name}.{k}": v.reshape(1) for k, v in t.report.items()})
                integers = t.integers
            if s in (0, 9):
                out.update(t.tensors(f"{name}.step{s + 1}."))
            if s < 10:
                chosen.append(t.chosen)
                margin, since = t.margin, t.count.clone()
        out[f"{name}.trace"] = torch.stack(fvu)
        seen.append({"chosen": torch.stack(chosen), "dead": dead, "since": since, "integers": integers, "margin": margin})
        return out

    t = Golden("train")
    t.measure(run)
    exact, single = seen[0], seen[1:]
    flips = [int((s["chosen"] != exact["chosen"]).sum()) for s in single]
    if any(flips) or any(not torch.equal(s["since"], exact["since"]) for s in single):
        print(f"{name}: draw {attempt} is passed over: flips {flips}", flush=True)
        return False
    g.tensors.update(t.tensors)
    dead = np.array([s["dead"] for s in seen])
    g.exact(name + ".draw", np.array([attempt]), np.int64)
    g.exact(name + ".dead", np.stack([dead.min(0), dead.max(0)], 1), np.int64)
    g.exact(name + ".since", exact["since"].numpy(), np.int64)
    g.exact(name + ".first", np.array([exact["integers"][k] for k in ("dead", "fired")]), np.int64)
    trace = t.tensors[name + ".trace"]
    print(f"{name}: draw {attempt}, smallest margin of ten steps {exact['margin']:.1e}; first norm of gradients {t.tensors[name + '.grad_norm'][0]:.2f}, FVU {trace[0]:.4f}, after 100 steps {trace[-1]:.5f}, PyTorch's distance "
          f"{t.tensors[name + '.trace.distance'][1]:.1e}; dead at most {dead.max()}, at the end {sorted(set(dead[:, -1].tolist()))}", flush=True)
    return True


def make_train():
    cfg, g = config("train"), Golden("train")
    for case in cfg["cases"]:
        attempt = 0
        while not train_case(g, cfg, case, attempt):
            attempt += 1
    x = training_data(cfg, "train.median")[0]
    g.measure(lambda dtype: {"train.median": geometric_median(x.to(dtype))})
    g.save()
    return cfg,


# ---- whole images ----

class Unlearning:
    """What `--forget` does at one hook: SAE, statistics and choices of a model folder's sae/HOOK/, as a forward hook."""

    def __init__(self, folder, hook, concepts, dtype):
        from safetensors import safe_open
        from safetensors.torch import load_file
        folder = os.path.join(folder, "sae", hook)
        with open(os.path.join(folder, "cfg.json")) as f:
            k = json.load(f)["k"]
        self.sae = Sae(k, load_file(os.path.join(folder, "sae.safetensors")), dtype)
        with safe_open(os.path.join(folder, "stats.safetensors"), "pt") as f:
            self.mu = {c: f.get_tensor(c).float() for c in sorted(f.keys())}
            self.timesteps = [int(t) for t in re.findall(r"\d+", f.metadata()["timesteps"])]
            prompts = json.loads(f.metadata()["prompts"])
        self.prompts = prompts if isinstance(prompts, dict) else dict.fromkeys(self.mu, prompts)
        with open(os.path.join(folder, "forget.json")) as f:
            choices = json.load(f)
        self.choices = [{"concept": c, **choices[c]} for c in concepts]
        self.thresholds = sum(m.double() for m in self.mu.values()) / len(self.mu)

    def begin(self, timesteps, residual):
        """The sampling step's row of the statistics: the nearest timestep's, ties the earlier row."""
        self.rows = [min(range(len(self.timesteps)), key=lambda r: abs(self.timesteps[r] - t)) for t in timesteps]
        self.residual, self.step, self.decisions = residual, 0, []

    def __call__(self, module, inputs, output):
        x = channels_last(output[0]).clone()
        t = self.rows[self.step]
        self.step += 1
        [half] = {c.get("half", "both") for c in self.choices}
        rows = {"both": x, "unconditional": x[:len(x) // 2], "conditional": x[len(x) // 2:]}[half]  # views: diffusers' batch has the one with the prompt last
        y = edit(self.sae, rows.reshape(-1, x.shape[-1]), forget_list(self.mu, self.prompts, self.choices, t, self.thresholds), self.thresholds[t],
                 self.residual, self.decisions)
        rows[:] = y.view(rows.shape)
        return (x.permute(0, 3, 1, 2),)


class Pipeline:
    """StableDiffusionPipeline of a folder, in float32 or float64, with concepts forgotten."""

    def __init__(self, folder, dtype):
        from diffusers import DDIMScheduler, StableDiffusionPipeline
        from diffusers.utils import logging
        import transformers
        for library in (logging, transformers.utils.logging):
            library.set_verbosity_error()
            library.disable_progress_bar()
        self.folder, self.dtype = folder, dtype
        self.pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False, dtype=torch.float32)
        self.pipe.scheduler = DDIMScheduler.from_config(self.pipe.scheduler.config)
        self.pipe.set_progress_bar_config(disable=True)
        for part in (self.pipe.unet, self.pipe.vae, self.pipe.text_encoder):
            part.to(dtype)
        s = self.pipe.scheduler
        s.alphas_cumprod, s.final_alpha_cumprod = s.alphas_cumprod.to(dtype), s.final_alpha_cumprod.to(dtype)
        with open(os.path.join(folder, "concepts.json")) as f:
            self.concepts = json.load(f)

    def hooks(self, concepts):
        """{module path: Unlearning} for the concepts, each at its domain's hook, in the order named."""
        at = {}
        for c in concepts:
            [hook] = [d["hook"] for d in self.concepts["domains"].values() if c in d["concepts"]]
            at.setdefault(hook, []).append(c)
        return {hook: Unlearning(self.folder, hook, cs, self.dtype) for hook, cs in at.items()}

    @torch.no_grad()
    def __call__(self, case):
        """Final latents [1,C,h,w], pixels [H,W,3], and the decisions at the hooks."""
        hooks, handles = self.hooks(case["forget"]), []
        steps = case.get("steps", self.concepts["steps"])
        self.pipe.scheduler.set_timesteps(steps)
        for path, hook in hooks.items():
            hook.begin(self.pipe.scheduler.timesteps.tolist(), case.get("residual", "paper"))
            handles.append(self.pipe.unet.get_submodule(path).register_forward_hook(hook))
        scale, side = self.pipe.vae_scale_factor, self.pipe.unet.config.sample_size
        height, width = case.get("size", (side * scale, side * scale))
        place = case.get("noise_index", 0)
        noise = torch.randn((place + 1, self.pipe.unet.config.in_channels, height // scale, width // scale), generator=torch.Generator().manual_seed(case["seed"]))[place:]
        try:
            latents = self.pipe(case["prompt"], height=height, width=width, negative_prompt=case.get("negative"), num_inference_steps=steps,
                                guidance_scale=case.get("guidance", self.concepts["guidance"]), latents=noise.to(self.dtype), output_type="latent").images
        finally:
            for h in handles:
                h.remove()
        image = self.pipe.vae.decode(latents / self.pipe.vae.config.scaling_factor).sample
        pixels = self.pipe.image_processor.numpy_to_pil(self.pipe.image_processor.postprocess(image.float(), output_type="np"))[0]
        return latents, np.asarray(pixels), [d for h in hooks.values() for d in h.decisions]


def file_digest(path):
    with open(path, "rb") as f:
        return digest(f.read())


def digest(data):
    """hash of bytes, as nn_hash has it."""
    h = 0
    for (word,) in struct.iter_unpack("<Q", data + bytes(-len(data) % 8)):
        h = (h + word + GOLDEN_RATIO) & MASK
        h = ((h ^ h >> 30) * 0xBF58476D1CE4E5B9) & MASK
        h = ((h ^ h >> 27) * 0x94D049BB133111EB) & MASK
        h ^= h >> 31
    return int(mix(h ^ len(data)))


def model_files(folder):
    names = ["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors",
             "vae/config.json", "tokenizer/merges.txt", "concepts.json"]
    for hook in sorted(os.listdir(os.path.join(folder, "sae"))):
        names += [f"sae/{hook}/{f}" for f in ("sae.safetensors", "stats.safetensors", "forget.json")]
    return names


def make_emojicanvas(folder):
    g = Golden("emojicanvas")
    for name in model_files(folder):
        g.exact("file." + name, np.array([file_digest(os.path.join(folder, name))], np.uint64).view(np.int64), np.int64)
    both = {dtype: Pipeline(folder, dtype) for dtype in (torch.float32, torch.float64)}
    for case in config("emojicanvas"):
        while not one_image(g, case, both):
            case["seed"] += 1
        g.exact(f"{case['name']}.seed", np.array([case["seed"]]), np.int64)
    g.save()


def one_image(g, case, both):
    """Adds the goldens of one case. False where a decision at a hook is too close for float32: another seed is to be taken."""
    name, seen = case["name"], []

    def run(dtype):
        latents, _, decisions = both[dtype](case)
        seen.append(decisions)
        return {f"{name}.latents": latents.flatten()}  # as PyTorch has them, [C,h,w]

    with contract_time_embedding():
        g.measure(run)
    margin = min((d[1] for d in seen[0]), default=math.inf)
    flips = sum(int((a[0] != b[0]).sum()) for other in seen[1:] for a, b in zip(seen[0], other))
    edits = sum(int(d[0].sum()) for d in seen[0])
    if flips or margin < LEAST_MARGIN:
        print(f"emojicanvas: {name}: seed {case['seed']} is passed over: smallest margin {margin:.1e}, {flips} decisions flip in float32", flush=True)
        del g.tensors[f"{name}.latents"], g.tensors[f"{name}.latents.distance"]
        return False
    stock, exact = both[torch.float32](case)[1], both[torch.float64](case)[1]
    apart = np.abs(stock.astype(int) - exact.astype(int))
    print(f"emojicanvas: {name}: PyTorch's latents rms, max {g.tensors[name + '.latents.distance']}, {int((apart > 0).sum())} of {apart.size} bytes "
          f"differ between float32 and float64, at most by {apart.max()}; {edits} latents decided for at the hooks, smallest margin {margin:.1e}", flush=True)
    g.exact(f"{name}.rgb", stock, np.uint8)
    return True


@torch.no_grad()
def make_judges(folder):
    """The trained classifiers, both, as they lie in the folder, on pictures that nobody drew: of their own size and of others."""
    from safetensors.torch import load_file
    g = Golden("classifier")
    for kind in ("object", "style"):
        at = os.path.join(folder, "classifier", kind)
        for name in ("config.json", "model.safetensors"):
            g.exact(f"file.classifier/{kind}/{name}", np.array([file_digest(os.path.join(at, name))], np.uint64).view(np.int64), np.int64)
        with open(os.path.join(at, "config.json")) as f:
            cfg = json.load(f)
        net = make_classifier(cfg)
        net.load_state_dict({k: v.float() for k, v in load_file(os.path.join(at, "model.safetensors")).items()})
        both = in_both(net.eval())
        for height, width in ((64, 64), (512, 512), (40, 70)):
            name = f"{kind}.{width}x{height}"
            x = preprocess(cfg, [picture(f"{name}.{i}", height, width) for i in range(5)])
            g.measure(lambda dtype: {name: both[dtype](x.to(dtype))})
    g.save()


# ---- the released code, run beside ours ----

class Comparison:
    """Rows of RELEASED.md."""

    def __init__(self):
        self.rows, self.failed = [], False

    def add(self, what, found, good=None):
        verdict = {None: "as documented", True: "agrees", False: "**DIFFERS**"}[good]
        self.failed |= good is False
        self.rows.append(f"| {what} | {found} | {verdict} |")
        print(f"released: {what}: {found}: {verdict}")


def released_trainer(folder, cfg, case, start, count, maps):
    """The released SaeTrainer's own fit() over the maps [rows,N,d], from our start: what it computed on the way."""
    import dataclasses
    import importlib.machinery
    import sys
    import tempfile
    import types
    for name in ("datasets", "matplotlib", "matplotlib.pyplot"):  # imported there for an annotation and for wandb's pictures
        if name not in sys.modules:
            module = types.ModuleType(name)
            module.__spec__, module.__path__ = importlib.machinery.ModuleSpec(name, None), []
            module.Dataset = module.pyplot = object
            sys.modules[name] = module
    sys.path.insert(0, folder)
    from SAE.config import SaeConfig, TrainConfig
    from SAE.trainer import SaeTrainer
    for name in ("datasets", "matplotlib", "matplotlib.pyplot"):
        if not hasattr(sys.modules[name], "__file__"):
            del sys.modules[name]
    hook = "hook"
    sae = SaeConfig(num_latents=cfg["n"], k=cfg["k"], batch_topk=case.get("batch_topk", False), multi_topk=case.get("multi_topk", False))
    run = TrainConfig(sae=sae, effective_batch_size=cfg["batch"], num_workers=0, persistent_workers=False, prefetch_factor=None, lr=cfg["lr"],
                      lr_scheduler="linear", lr_warmup_steps=0, auxk_alpha=cfg["auxk_alpha"], dead_feature_threshold=cfg["dead_threshold"],
                      hookpoints=[hook], log_to_wandb=False)
    run.device, run.dtype, run.num_epochs = "cpu", torch.float32, 1  # scripts/train.py adds these
    with contextlib.redirect_stdout(None):
        trainer = SaeTrainer(run, {hook: [{"activations": m, "timestep": 0} for m in maps]})
    module, seen = trainer.saes[hook], {"grad": None, "reports": [], "after": []}
    seen["fresh"] = {k: v.detach().clone() for k, v in module.named_parameters()}
    with torch.no_grad():
        for k, v in module.named_parameters():
            v.copy_(start[k])
    trainer.num_tokens_since_fired[hook] = count.clone()
    module.register_forward_hook(lambda m, x, out: seen["reports"].append(out))

    def before_clip(parameters, largest, stock=torch.nn.utils.clip_grad_norm_):
        if seen["grad"] is None:
            seen["median"] = module.b_dec.detach().clone()
            seen["grad"] = {k: v.grad.clone() for k, v in module.named_parameters()}
        return stock(parameters, largest)

    trainer.optimizer.register_step_post_hook(lambda *_: seen["after"].append({k: v.detach().clone() for k, v in module.named_parameters()}))
    stock, here, precision = torch.nn.utils.clip_grad_norm_, os.getcwd(), torch.get_float32_matmul_precision()
    torch.nn.utils.clip_grad_norm_ = before_clip
    with tempfile.TemporaryDirectory() as away:  # it saves where it stands
        run.save_json = lambda path: None
        os.chdir(away)
        try:
            with contextlib.redirect_stdout(None), contextlib.redirect_stderr(open(os.devnull, "w")):
                trainer.fit()
        finally:
            os.chdir(here)
            torch.nn.utils.clip_grad_norm_ = stock
            torch.set_float32_matmul_precision(precision)
    seen["since"] = trainer.num_tokens_since_fired[hook]
    return seen


def compare_trainer(table, folder):
    """Rows of RELEASED.md: fit() over ten whole batches and a ragged one, every case of configs/train.json, beside Training."""
    cfg = {**config("train"), "steps": 10}
    rows, N = cfg["batch"] // cfg["map"], cfg["map"]
    terms = ("fvu", "auxk", "multi", "explained", "explained_dev")
    worst = {dtype: {k: 0.0 for k in (*terms, "grad", "after")} for dtype in (torch.float32, torch.float64)}
    since, median, fresh = 0, 0.0, 0.0
    paper = 0.0

    def apart(a, b):  # of tensors: the largest difference, as a share of the largest magnitude
        return float((a.double() - b.double()).abs().max() / max(float(b.double().abs().max()), 1e-30))

    for case in cfg["cases"]:
        draw = f"released.{case['name']}"
        maps = training_data(cfg, draw, case.get("scale", 1)).reshape(-1, N, cfg["d"])[:10 * rows + 2]
        start, count = training_start(cfg, case, draw)
        case = {**case, "released_auxk": True}
        its = released_trainer(folder, cfg, case, start, count, maps)
        first = maps[:rows].reshape(-1, cfg["d"])
        median = max(median, apart(its["median"], geometric_median(first.double())))
        w = its["fresh"]["encoder.weight"]
        unit = w / (w.norm(dim=1, keepdim=True) + torch.finfo(torch.float32).eps)
        fresh = max(fresh, float((its["fresh"]["W_dec"] - unit).abs().max()), float(its["fresh"]["encoder.bias"].abs().max()),
                    float(its["fresh"]["b_dec"].abs().max()), float(w.abs().max()) - 1 / math.sqrt(cfg["d"]))
        start = {**start, "b_dec": geometric_median(first)}
        for dtype, far in worst.items():
            t = Training(cfg, case, start, count, dtype)
            for s in range(11):
                t.step(maps[s * rows:(s + 1) * rows].reshape(-1, cfg["d"]))
                out = its["reports"][s]
                theirs = (out.fvu, out.auxk_loss, out.multi_topk_fvu, out.explained_variance.mean(), out.explained_variance.std())
                for k, v in zip(terms, theirs):
                    far[k] = max(far[k], abs(float(v.detach()) - float(t.report[k].detach())))
                if s == 0:
                    far["grad"] = max([far["grad"], *(apart(its["grad"][k], t.grad[k]) for k in TENSORS)])
            far["after"] = max([far["after"], *(apart(its["after"][10][k], t.p[k].detach()) for k in TENSORS)])
            since += int((its["since"] != t.count).sum())
        if case.get("dead"):
            ours = Training(cfg, {**case, "released_auxk": False}, start, count, torch.float64)
            ours.step(first)
            paper = max(paper, apart(its["grad"]["encoder.weight"], ours.grad["encoder.weight"]))

    single, double = worst.values()
    kinds = f"{len(cfg['cases'])} runs: TopK and BatchTopK, multi-topk on and off, 0, 6, 30 and 60 latents dead at the start"
    for far, name in ((single, "float32"), (double, "float64")):
        table.add(f"`SaeTrainer.fit`, ten whole batches and a ragged one ({kinds}), against `Training` in {name}: largest difference of a loss term or measure in any step",
                  ", ".join(f"{k} {far[k]:.0e}" for k in terms), max(far[k] for k in terms) < 1e-5)
        kinds = "the same runs"
    table.add("its gradients after the first backward against float32, float64: largest difference as a share of the tensor's largest element",
              f"{single['grad']:.1e}, {double['grad']:.1e}", double["grad"] < 1e-5)
    table.add("its parameters after the eleven steps, likewise", f"{single['after']:.1e}, {double['after']:.1e}", double["after"] < 1e-4)
    table.add("its counters of tokens since a latent fired: latents that differ (the ragged batch counts as a whole one)", f"{since}", since == 0)
    table.add("its start: W_enc within 1/sqrt(d), biases 0, W_dec = W_enc's rows over (norm + eps): largest deviation", f"{fresh:.1e}", fresh < 1e-6)
    table.add("its `geometric_median` of the first batch, b_dec at the first backward, against float64: largest difference as a share of the largest element", f"{median:.1e}", median < 1e-5)
    table.add("A2: the paper's auxk (`--auxk paper`, ours by default) against the released one: the encoder's first gradient is another, by this share of its largest element",
              f"{paper:.1e}")


def save_maps(path, maps):
    """[rows,N,d] float32 as `saeuron collect` would have written it."""
    rows = str(len(maps))
    save(path, {"activations": maps.numpy()}, {"format": "saeuron-activations-1", "hook": "up_blocks.1.attentions.1", "model": "0" * 16, "seed": 0, "cfg": 9, "steps": 50,
         "timesteps": 981, "size": "512x512", "negative_prompt": "", "every": 50, "diff": 0, "first_prompt": 0, "prompts": rows, "all_prompts": rows,
         "prompts_digest": "0" * 16, "shard": "0/1"})


@torch.no_grad()
def compare_folder(table, folder, program):
    """Rows of RELEASED.md: what `saeuron train` leaves, by the released Sae.load_from_disk and in its own hands."""
    import subprocess
    import tempfile
    import sys
    sys.path.insert(0, folder)
    from SAE.sae import Sae as ReleasedSae
    cfg = config("train")
    maps = training_data(cfg, "released.folder").reshape(-1, cfg["map"], cfg["d"])
    x = maps.reshape(-1, cfg["d"])
    for kind in ("batch", "token"):
        with tempfile.TemporaryDirectory() as away:
            data, out = os.path.join(away, "maps.safetensors"), os.path.join(away, "sae")
            save_maps(data, maps)
            subprocess.run([program, "train", "-q", "--data", data, "-o", out, "--latents", str(cfg["n"]), "--k", str(cfg["k"]), "--batch", str(cfg["batch"]), "--epochs", "5",
                            "--lr", "2e-3", "--topk", kind], check=True, stdout=subprocess.DEVNULL)
            said = json.loads(subprocess.run([program, "measure", out, "--data", data, "--json", "-q"], check=True, capture_output=True, text=True).stdout)
            sae = ReleasedSae.load_from_disk(out).eval()
            from safetensors.torch import load_file
            kept = load_file(os.path.join(out, "sae.safetensors"))
        same = sorted(kept) == sorted(k for k, _ in sae.named_parameters()) and all(torch.equal(v, kept[k]) for k, v in sae.named_parameters())
        acts, indices = sae.encode(maps)
        y = sae.decode(acts, indices)
        fvu, l0 = float((y - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum()), float((acts > 0).sum(-1).float().mean())
        table.add(f"`Sae.load_from_disk` of a folder that `saeuron train --topk {kind}` wrote: parameters equal; its FVU, L0 on the training data, `saeuron measure`'s",
                  f"{same}; {fvu:.6f}, {l0:.3f}; {said['fvu']:.6f}, {said['l0']:.3f}", same and abs(fvu - said["fvu"]) < 1e-5 and abs(l0 - said["l0"]) < 1e-3)


def as_output(cfg, x):
    """[M,d] tokens as the tuple that a hooked Transformer2DModel returns."""
    side = cfg["side"]
    return (x.view(cfg["batch"], side, side, -1).permute(0, 3, 1, 2),)


def as_tokens(output):
    y = output[0]
    return y.permute(0, 2, 3, 1).reshape(-1, y.shape[1])


@torch.no_grad()
def compare_released(folder, program, cfg, tensors, latents, mu, x):
    import sys
    sys.path.insert(0, folder)
    from SAE.sae import Sae as ReleasedSae
    from SAE.unlearning_utils import compute_feature_importance
    from utils import hooks
    table, T, prompts, small = Comparison(), len(cfg["timesteps"]), cfg["concepts"], config("train")
    sae = ReleasedSae.load_from_disk(os.path.join(HERE, "sae")).eval()
    exact = Sae(cfg["k"], tensors, torch.float64, (SAE_ROW, SAE_TWIN))
    M = x.shape[0]

    def largest(a, b):
        return float((a.double() - b.double()).abs().max())

    # TopK
    acts, idx = sae.encode(x.view(cfg["batch"], -1, cfg["d"]))
    f, _ = exact.encode(x)
    theirs = torch.zeros(M, cfg["n"]).scatter_(-1, idx, acts)
    apart = ((theirs > 0) != (f > 0)).any(-1)
    z = exact.pre(x).sort(-1, descending=True).values
    tied = (z[:, cfg["k"] - 1] == z[:, cfg["k"]]) & (z[:, cfg["k"]] > 0)
    table.add("`Sae.encode`: tokens whose TopK set is another",
              f"{int(apart.sum())} of {M}, all among the {int(tied.sum())} with an exact tie at k (torch.topk leaves ties open)",
              not bool((apart & ~tied).any()))
    same = ~apart
    table.add("`Sae.encode`: largest difference of a latent, where the sets agree", f"{largest(theirs[same], f[same]):.1e}", largest(theirs[same], f[same]) < 1e-5)
    table.add("`batch_topk: true` in cfg.json is forced off at loading (A4)", str(not sae.cfg.batch_topk), not sae.cfg.batch_topk)

    # Scores
    worst = max(largest(compute_feature_importance(latents, c, t), scores(mu, prompts, c, t)) for c in mu for t in range(T))
    table.add("`compute_feature_importance` on float32 latents: largest difference of a score", f"{worst:.1e}", worst < 1e-8)
    alone = max(largest(compute_feature_importance({"Cats": latents["Cats"]}, "Cats", t), mu["Cats"][t]) for t in range(T))
    table.add("the same in a domain of one concept (s = mu)", f"{alone:.1e}", alone < 1e-6)

    # Hooks
    def hook(concepts, percentile, gamma, keep):
        return hooks.SAEMaskedUnlearningHook(concepts, percentile, gamma, compute_feature_importance, latents, sae, T, keep)
    for percentile in (80, 95, 98.5, 99, 99.9):
        h = {c: hook([c], percentile, -1.0, True) for c in mu}
        wrong = sum(h[c].top_feature_idxs[t].tolist() != select(scores(mu, prompts, c, t), {"percentile": percentile})[0].tolist()
                    for c in mu for t in range(T))
        table.add(f"`SAEMaskedUnlearningHook`: selections at percentile {percentile} that are another set", f"{wrong} of {len(mu) * T}", wrong == 0)
    thresholds = torch.stack([mu[c].double() for c in mu]).mean(0)
    h = hook(["Cats"], 95, -1.0, True)
    worst = max(largest(h.all_concept_avg_acts[t], thresholds[t][h.top_feature_idxs[t]]) for t in range(T))
    table.add("its thresholds: the mean over all concepts, c included; largest difference", f"{worst:.1e}", worst < 1e-6)

    for residual, keep in (("released", True), ("none", False)):
        worst = 0
        for gamma in (-1.0, -10.0):
            h = hook(["Cats"], 95, gamma, keep)
            for t in range(T):
                forget = forget_list(mu, prompts, [{"concept": "Cats", "percentile": 95, "strength": gamma}], t)
                want = edit(exact, x, forget, thresholds[t], residual)
                worst = max(worst, largest(as_tokens(h(None, None, as_output(cfg, x)))[same], want[same]))
        table.add(f"its output with preserve_error={keep}, against our `--residual {residual}`, strengths -1 and -10, all steps: largest difference",
                  f"{worst:.1e}", worst < 5e-5)
    h = hook(["Cats"], 100, -1.0, True)
    identity = as_tokens(h(None, None, as_output(cfg, x)))
    table.add("A1: with nothing selected (percentile 100) it returns 2 decode(f) - x: largest difference from that; from x",
              f"{largest(identity[same], (2 * exact.decode(f) - x.double())[same]):.1e}; {largest(identity, x):.2f}")
    h = hook(["Trees", "Cats"], 80, -1.0, True)
    shared, other = 0, 0
    for t in range(T):
        forget = forget_list(mu, prompts, [{"concept": c, "percentile": 80, "strength": -1} for c in ("Trees", "Cats")], t)
        want = edit(exact, x, forget, thresholds[t], "released")
        got = as_tokens(h(None, None, as_output(cfg, x)))
        shared += len(set(forget[0][0]) & set(forget[1][0]))
        other += int(((got.double() - want).abs().max(-1).values > 1e-4)[same].sum())
    table.add("A5: two concepts that share latents: latents shared, tokens whose output is another (the last write wins there; ours: the factor furthest from 1)",
              f"{shared} over {T} steps, {other} of {T * int(same.sum())}")

    got = as_tokens(hooks.SAEReconstructHook(sae)(None, None, as_output(cfg, x)))
    table.add("`SAEReconstructHook` against decode(f): largest difference", f"{largest(got[same], exact.decode(f)[same]):.1e}", largest(got[same], exact.decode(f)[same]) < 1e-5)
    latent = int((f > 0).sum(0).argmax())
    steered = f.clone()
    steered[:, latent] *= -3
    got = as_tokens(hooks.SAEFeatureInterventionHook(sae, latent, -3)(None, None, as_output(cfg, x)))
    table.add(f"`SAEFeatureInterventionHook` (A20), latent {latent} times -3: largest difference", f"{largest(got[same], exact.decode(steered)[same]):.1e}",
              largest(got[same], exact.decode(steered)[same]) < 1e-5)

    with torch.enable_grad():
        compare_trainer(table, folder)
    compare_folder(table, folder, program)
    with open(os.path.join(HERE, "RELEASED.md"), "w") as out:
        out.write(f"""# Our reading of the released code, run beside it

`tests/golden/make.py --only sae --released DIR` writes this page, where DIR is a checkout of cywinski/SAeUron at commit
1a4302a (with `einops`, `natsort` and `simple-parsing` installed, which it imports; `datasets` and `matplotlib`, which its trainer
imports for a name and for pictures, may be absent). None of its code is in this repository, and none of it is changed to run.

Both run in float32 on the CPU on the made-up SAE and statistics of `tests/golden/sae` ({cfg["d"]} wide, {cfg["n"]} latents, k = {cfg["k"]},
{len(cfg["concepts"])} concepts, {T} steps, {M} tokens), torch {torch.__version__}. The released scripts convert SAE and latents to half precision (A8); that is not
repeated here. "Ours" is make.py's rewriting in float64, which `tests/test_train.c` holds the C code to. Where a row counts
differences of outputs, tokens with an exact tie at k are left out, since torch.topk leaves open which latent it takes.
The trainer's own rows are of the data of `configs/train.json` ({small["d"]} wide, {small["n"]} latents, k = {small["k"]}, {small["batch"]} tokens a step);
`Training` is make.py's rewriting of it, of which train.safetensors is made.

| what | found | verdict |
|---|---|---|
""" + "\n".join(table.rows) + "\n")
    if table.failed:
        raise SystemExit("the released code differs from our reading of it: see RELEASED.md")

PARTS = {"layers": make_layers, "text": make_text, "unet": make_unet, "gradient": make_gradient, "vae": make_vae, "vit": make_vit, "ddim": make_ddim, "sae": make_sae, "train": make_train}
TRAINED = {"emojicanvas": make_emojicanvas, "classifier": make_judges}  # from --model


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="")
    p.add_argument("--model", default=os.path.join(HERE, "..", "..", "weights", "emojicanvas"))
    p.add_argument("--released")
    p.add_argument("--program", default=os.path.join(HERE, "..", "..", "saeuron"))
    a = p.parse_args()
    wanted = [w for w in a.only.split(",") if w] or [*PARTS, *(TRAINED if os.path.exists(os.path.join(a.model, "sae")) else [])]
    for part in wanted:
        made = TRAINED[part](a.model) if part in TRAINED else PARTS[part]()
        if part == "sae" and a.released:
            compare_released(a.released, a.program, *made)


if __name__ == "__main__":
    main()
