#!/usr/bin/env python3
"""The real size: SD 1.5's architecture with hash-filled weights, ./saeuron against diffusers and transformers in float64.

    fullsize.py [--dir build/fullsize] [--parts PART,...] [--keep] [--threads 2] [--saeuron ./saeuron]

    PART: tokens text unet vae encode variants synthetic files vit     (default: all, in this order; vit alone needs no model folder)
    --dir      the work folder: the model folder in four variants, and what the program writes. About 8 GB of disk, removed at
               the end unless --keep is given; a folder that is there is used again when it was made by this file as it is.
    --library  libsaeuron.so, for vit: there is no command that prints logits
    --threads  the program's; no bit depends on them. At most 16 GB of memory, most of it PyTorch's in float64.

No checkpoint is needed or read. Every weight is hash_weight of docs/contract.md section 6, seed 0, of the tensor's name inside
its network, rounded to float16; all variants hold those very values, so all must give the same bits. CLIP's vocabulary is taken from
CLIP_DIR (default ../shared/clip); without it a vocabulary of single bytes stands in, and this is said.

What is compared. Text states, every module boundary of one guided UNet step on 64 x 64 latents while a concept is forgotten at
each of the two hooks, the latents, every boundary of the VAE's decoder at 512 x 512, and its encoder's moments: each against the
same modules in float64, with PyTorch's own distance in float32 (worst of oneDNN on, off x 1, 2 threads) as the measure: the
bars are docs/contract.md section 9. A row gives ours / PyTorch's, root mean square and largest. The picture: bytes, against
stock float32. The edits at the hooks: one by one, as `saeuron select --explain` lists them. Forgetting in PyTorch is a forward
hook, written again in golden/make.py from docs/method.md. UnlearnCanvas' classifiers, vit_large_patch16_224 with 51 and 20 classes, as
timm saves them: logits against timm's. The statistics are those of the program's own activations in a run that
forgets nothing. Times and memory are printed and not judged. The last line is "N passed, N failed"."""

import argparse
import concurrent.futures
import ctypes
import gc
import hashlib
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import time

os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "golden")]
import make  # noqa: E402
import make_tokens  # noqa: E402
import twin  # noqa: E402
import torch  # noqa: E402

# The architecture: the config.json files of Stable Diffusion 1.5, which are facts. What they lack takes diffusers' defaults.
UNET = {"_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
        "center_input_sample": False, "cross_attention_dim": 768, "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "downsample_padding": 1, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
        "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}
VAE = {"_class_name": "AutoencoderKL", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
       "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
       "norm_num_groups": 32, "out_channels": 3, "sample_size": 512, "scaling_factor": 0.18215, "up_block_types": ["UpDecoderBlock2D"] * 4}
TEXT = {"architectures": ["CLIPTextModel"], "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2,
        "hidden_act": "quick_gelu", "hidden_size": 768, "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 3072,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 12,
        "num_hidden_layers": 12, "pad_token_id": 1, "projection_dim": 768, "vocab_size": 49408}
SCHEDULER = {"_class_name": "DDIMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
             "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": False,
             "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": None}
INDEX = {"_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None], "image_encoder": [None, None],
         "requires_safety_checker": False, "safety_checker": [None, None], "scheduler": ["diffusers", "DDIMScheduler"],
         "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
         "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}

# The paper's hooks and SAE (section 4.1), and for each hook three made concepts, of which the first is forgotten.
WIDTH, LATENTS, K = 1280, 20480, 32
SAES = {"up_blocks.1.attentions.1": {"seed": 1, "dtype": "F32", "concepts": ["Cats", "Trees", "Towers"]},
        "up_blocks.1.attentions.2": {"seed": 2, "dtype": "F16", "concepts": ["Mosaic", "Sketch", "Winter"]}}
PROMPTS = [f"An image of {a} in {b} style." for a, b in zip(*(s["concepts"] for s in SAES.values()))]
FORGET = [s["concepts"][0] for s in SAES.values()]
CHOICE = {"top": 16, "strength": -2.0}
PROMPT, NEGATIVE, SEED, GUIDANCE, TIMESTEP = PROMPTS[0], "", 0, 7.5, 1  # one step of DDIM is at timestep 1

STEMS = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
CHUNK = 1 << 18  # elements of a weight made at a time: they fit in a cache


# ---- the verdicts ----

class Report:
    """A line for each thing that was compared; how many were good."""

    def __init__(self):
        self.passed = self.failed = 0
        self.excuse = None  # a decision at a hook that float32 flipped: what comes after it is listed and not judged

    def line(self, name, good, told):
        self.passed += bool(good)
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {name:<68} {told}", flush=True)
        return good

    def distance(self, name, ours, truth, its, after_hooks=False):
        """Contract 9: ours against the float64 truth; its = PyTorch's distance, root mean square and largest."""
        if ours is None or ours.shape != truth.shape:
            return self.line(name, False, f"shape {None if ours is None else ours.shape}, not {truth.shape}")
        mine, largest = apart(ours, truth), float(np.abs(truth).max())
        floor = float(np.spacing(np.float32(largest)))
        bars = [floor + 4 * x for x in its] if truth.size < 1000 else [1.5 * its[0], 2 * its[1]]
        good = all(m <= max(b, floor) for m, b in zip(mine, bars))
        ratios = [m / d if d > 0 else m / floor for m, d in zip(mine, its)]
        told = f"rms {ratios[0]:.2f} max {ratios[1]:.2f}   (ours {mine[0]:.2e}, {mine[1]:.2e}; largest value {largest:.3g})"
        if not good and after_hooks and self.excuse:
            print(f"list {name:<68} {told}; {self.excuse}", flush=True)
            return True
        return self.line(name, good, told)


def apart(x, truth):
    """Root mean square and largest of x - truth, truth in float64; a slice at a time, since a map can have 67 million elements."""
    x, truth, total, largest = x.reshape(-1), truth.reshape(-1), 0.0, 0.0
    for at in range(0, truth.size, 1 << 22):
        e = np.abs(x[at:at + (1 << 22)].astype(np.float64) - truth[at:at + (1 << 22)])
        total += float(np.dot(e, e))
        largest = float(np.fmax(largest, e.max())) if np.isfinite(e).all() else math.inf
    return np.array([math.sqrt(total / truth.size), largest])


def measure(load, forward):
    """forward(model, dtype) gives {name: tensor}. Returns the truth in float64, PyTorch's distance to it in float32, the worst
    of four ways, and the tensors of the first of these. One model at a time: in float64 the UNet alone is 7 GB."""
    model = load(torch.float64)
    truth = {k: v.numpy() for k, v in forward(model, torch.float64).items()}
    del model
    gc.collect()
    for k, v in truth.items():
        assert np.isfinite(v).all(), f"{k}: the truth is not finite"
    model, its, stock = load(torch.float32), {k: np.zeros(2) for k in truth}, None
    for _ in make.four_ways():
        seen = {k: v.numpy() for k, v in forward(model, torch.float32).items()}
        for k in truth:
            its[k] = np.maximum(its[k], apart(seen[k], truth[k]))
        stock = stock or seen
    return truth, its, stock


# ---- the program ----

class Program:
    # A process of its own, and small: Linux counts what a process had before it became the program towards its peak.
    WATCH = """import os, sys, time
start = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)
print(f"\\n{time.perf_counter() - start} {usage.ru_maxrss}", end="", file=sys.stderr)
sys.exit(min(os.waitstatus_to_exitcode(status) % 256, 255))"""

    def __init__(self, path):
        self.path = path
        self.seconds = self.peak = 0

    def run(self, *arguments):
        """What the program prints on stdout. seconds and peak (bytes of resident memory) are then those of this run."""
        p = subprocess.run([sys.executable, "-I", "-S", "-c", self.WATCH, self.path, *map(str, arguments)], capture_output=True, text=True)
        complained, _, measured = p.stderr.rpartition("\n")
        if p.returncode:
            raise SystemExit(f"fullsize.py: {self.path} {' '.join(map(str, arguments))}: exit {p.returncode}: {complained.strip()}")
        seconds, peak = measured.split()
        self.seconds, self.peak = float(seconds), int(peak) * 1024
        return p.stdout

    def generate(self, model, out, *arguments):
        self.run("generate", "-m", model, "-p", PROMPT, "--steps", 1, "--cfg", GUIDANCE, "--seed", SEED, "--forget", ",".join(FORGET),
                 "-q", "-o", out, *arguments)


def dumped(folder):
    """{module path: array} of a --dump folder, read when asked for."""
    names = {re.sub(r"^step000\.", "", f[:-4]): os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(".npy")}
    return {name: np.load(path, mmap_mode="r") for name, path in names.items()}


def picture(path):
    """Pixels and texts of a PNG."""
    from PIL import Image
    with Image.open(path) as image:
        image.load()
        return np.asarray(image.convert("RGB")), dict(image.text)


def same_file(a, b):
    with open(a, "rb") as f, open(b, "rb") as g:
        while True:
            x, y = f.read(1 << 22), g.read(1 << 22)
            if x != y or not x:
                return x == y


# ---- writing the model ----

def networks():
    """{folder: (config, {tensor: shape})}; the names and shapes are those of the classes' own parameters."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel
    with torch.device("meta"):
        modules = {"text_encoder": CLIPTextModel(CLIPTextConfig.from_dict(TEXT)), "unet": UNet2DConditionModel.from_config(UNET),
                   "vae": AutoencoderKL.from_config(VAE)}
    prefix = {"text_encoder": "text_model."}  # transformers 5 has dropped it from the module's names, and no file has
    return {folder: (config, {prefix.get(folder, "") + name: tuple(p.shape) for name, p in modules[folder].named_parameters()})
            for folder, config in (("text_encoder", TEXT), ("unet", UNET), ("vae", VAE))}


def hash_weight(seed, name, shape, pool):
    """docs/contract.md section 6: float32 [shape], made by the pool chunk by chunk."""
    n, stream = math.prod(shape), twin.digest(0, name.encode())
    a = np.float32(math.sqrt(3.0 / math.prod(shape[1:]))) if len(shape) >= 2 else np.float32(0.1)
    centre = np.float32(0 if len(shape) >= 2 or name.endswith(("bias", "b_dec")) else 1)
    y = np.empty(n, np.float32)

    def fill(at):
        with np.errstate(over="ignore"):
            u = (twin.value(seed, stream, np.arange(at, min(at + CHUNK, n))) >> np.uint64(40)).astype(np.float32) * np.float32(2.0 ** -24)
        y[at:at + CHUNK] = (np.float32(2) * u - np.float32(1)) * a
        if centre:
            y[at:at + CHUNK] += centre
    list(pool.map(fill, range(0, n, CHUNK)))
    return y.reshape(shape)


NUMPY = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}


def write_tensors(path, shapes, dtype, values, metadata=None):
    """A safetensors file, a tensor at a time: values(name) gives it, and is asked in the file's order."""
    header, at = {"__metadata__": metadata or {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = math.prod(shape) * NUMPY[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in shapes:
            f.write(np.ascontiguousarray(values(name).astype(NUMPY[dtype])).data)


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def byte_vocabulary():
    """CLIP's vocabulary without a merge: 256 bytes, the same at the end of a word, the two special tokens at their ids. Between
    them stand pieces that no text can become, since a vocabulary must have no hole."""
    from tokenizers import pre_tokenizers
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2's table: bytes that are printed as they are come first
    characters = [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    assert sorted(characters) == sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = characters + [c + "</w>" for c in characters] + [f"unused {i}" for i in range(512, 49406)] + [make_tokens.BOS, make_tokens.EOS]
    return {piece: i for i, piece in enumerate(pieces)}


def write_tokenizer(folder, clip):
    os.makedirs(folder)
    if clip:
        for f in ("vocab.json", "merges.txt"):
            shutil.copyfile(os.path.join(clip, f), os.path.join(folder, f))
    else:
        write_json(os.path.join(folder, "vocab.json"), byte_vocabulary())
        with open(os.path.join(folder, "merges.txt"), "w") as f:
            f.write("#version: 0.2\n")
    for f, text in make_tokens.config_texts(folder, "sd15").items():
        with open(os.path.join(folder, f), "w", encoding="utf-8") as out:
            out.write(text)


def link(source, target, names=lambda f: f):
    """A folder of hard links, files named by names; None leaves one out."""
    for path, _, files in os.walk(source):
        to = os.path.join(target, os.path.relpath(path, source))
        os.makedirs(to, exist_ok=True)
        for f in files:
            if names(f):
                os.link(os.path.join(path, f), os.path.join(to, names(f)))


def clip_folder():
    folder = os.environ.get("CLIP_DIR", os.path.join(HERE, "..", "..", "shared", "clip"))
    return folder if os.path.isfile(os.path.join(folder, "vocab.json")) else None


def write_model(folder, pool):
    """FOLDER/fp16: the pipeline folder as most are, float16; its SAEs without statistics, which need a run first."""
    model = os.path.join(folder, "fp16")
    clip = clip_folder()
    print(f"tokenizer: {os.path.relpath(clip) if clip else 'no CLIP vocabulary (CLIP_DIR): single bytes stand in'}")
    write_json(os.path.join(model, "model_index.json"), INDEX)
    write_json(os.path.join(model, "scheduler", "scheduler_config.json"), SCHEDULER)
    write_tokenizer(os.path.join(model, "tokenizer"), clip)
    for sub, (config, shapes) in networks().items():
        write_json(os.path.join(model, sub, "config.json"), config)
        write_tensors(os.path.join(model, sub, STEMS[sub] + ".safetensors"), shapes, "F16",
                      lambda name: hash_weight(0, name, shapes[name], pool))
        print(f"{sub}: {len(shapes)} tensors, {sum(map(math.prod, shapes.values())):,} parameters", flush=True)
    for hook, sae in SAES.items():
        shapes = {"encoder.weight": (LATENTS, WIDTH), "encoder.bias": (LATENTS,), "W_dec": (LATENTS, WIDTH), "b_dec": (WIDTH,)}
        write_json(os.path.join(model, "sae", hook, "cfg.json"),
                   {"expansion_factor": LATENTS // WIDTH, "normalize_decoder": True, "num_latents": 0, "k": K, "batch_topk": True,
                    "sample_topk": False, "input_unit_norm": False, "multi_topk": False, "d_in": WIDTH})
        write_tensors(os.path.join(model, "sae", hook, "sae.safetensors"), shapes, sae["dtype"],
                      lambda name: hash_weight(sae["seed"], name, shapes[name], pool))


def write_statistics(folder, program):
    """stats.safetensors and forget.json of both hooks: mu of a concept is the mean over tokens of the latents of its prompt, the
    conditional half (no guidance), on the activations that the program dumps when it forgets nothing."""
    from safetensors.torch import load_file
    model, dump = os.path.join(folder, "fp16"), os.path.join(folder, "activations")
    prompts = os.path.join(folder, "prompts.txt")
    with open(prompts, "w") as f:
        f.write("\n".join(PROMPTS) + "\n")
    program.run("generate", "-m", model, "--prompts", prompts, "--steps", 1, "--cfg", 1, "--seed", 188, "--dump", dump, "-q",
                "-o", os.path.join(folder, "activations.images"))
    seen = dumped(dump)
    for hook, of in SAES.items():
        at = os.path.join(model, "sae", hook)
        sae = make.Sae(K, load_file(os.path.join(at, "sae.safetensors")), torch.float64)
        x = torch.from_numpy(np.array(seen["unet." + hook])).permute(0, 2, 3, 1).reshape(len(PROMPTS), -1, WIDTH)
        mu = {c: sae.encode(x[i])[0].mean(0)[None].float().numpy() for i, c in enumerate(of["concepts"])}
        digest = json.loads(program.run("info", at, "--json"))["digest"]
        write_tensors(os.path.join(at, "stats.safetensors"), {c: m.shape for c, m in mu.items()}, "F32", mu.get,
                      {"hook": hook, "steps": "1", "timesteps": str(TIMESTEP), "seed": "188", "cfg": "1", "prompts": "1", "sae": digest})
        write_json(os.path.join(at, "forget.json"), {c: CHOICE for c in mu})
    shutil.rmtree(dump)
    shutil.rmtree(os.path.join(folder, "activations.images"))


def write_variants(folder):
    """The same values in the other forms that checkpoints have."""
    from diffusers import UNet2DConditionModel
    from safetensors import safe_open
    source = os.path.join(folder, "fp16")
    link(source, os.path.join(folder, "variant"),
         lambda f: f.replace(".safetensors", ".fp16.safetensors") if f.split(".")[0] in STEMS.values() else f)
    for name in ("fp32", "sharded"):
        link(source, os.path.join(folder, name))
    for sub, stem in STEMS.items():
        to = os.path.join(folder, "fp32", sub, stem + ".safetensors")
        os.remove(to)
        with safe_open(os.path.join(source, sub, stem + ".safetensors"), "np") as f:
            write_tensors(to, {n: tuple(f.get_slice(n).get_shape()) for n in f.keys()}, "F32", f.get_tensor)
    shutil.rmtree(os.path.join(folder, "sharded", "unet"))
    UNet2DConditionModel.from_pretrained(os.path.join(source, "unet"), torch_dtype=torch.float16).save_pretrained(
        os.path.join(folder, "sharded", "unet"), max_shard_size="500MB")
    gc.collect()


def check_folder(folder):
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.isdir(os.path.join(folder, "fp16")):
        raise SystemExit(f"fullsize.py: --dir {folder}: not empty, and not made here: name a folder that may be removed")


def write_all(folder, program):
    with open(os.path.abspath(__file__), "rb") as f:
        stamp = hashlib.sha256(f.read().split(b"def write_all")[0] + str(clip_folder()).encode()).hexdigest()
    mark = os.path.join(folder, "written")
    if os.path.exists(mark):
        with open(mark) as f:
            if f.read() == stamp:
                print(f"{folder}: is there already")
                return
    check_folder(folder)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "fp16"))
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        write_model(folder, pool)
    write_statistics(folder, program)
    write_variants(folder)
    with open(mark, "w") as f:
        f.write(stamp)
    print(f"{folder}: written in {time.perf_counter() - start:.0f} s", flush=True)


# ---- PyTorch's side ----

def noise():
    """The program's own: prompt 0 of the seed's stream (contract 7)."""
    return torch.randn((1, UNET["in_channels"], UNET["sample_size"], UNET["sample_size"]), generator=torch.Generator().manual_seed(SEED))


@make.ieee_sqrt()
def guided_step(both, start):
    """[uncond; cond] of the UNet to the guided noise_pred and the latents after the one step, as StableDiffusionPipeline.__call__ has it."""
    from diffusers import DDIMScheduler
    s = DDIMScheduler.from_config(SCHEDULER)
    s.alphas_cumprod, s.final_alpha_cumprod = s.alphas_cumprod.to(both.dtype), s.final_alpha_cumprod.to(both.dtype)
    s.set_timesteps(1)
    assert s.timesteps.tolist() == [TIMESTEP]
    uncond, cond = both.chunk(2)
    guided = uncond + GUIDANCE * (cond - uncond)
    return {"noise_pred": guided, "latents": s.step(guided, s.timesteps[0], start.to(both.dtype)).prev_sample}


def after_step(seen):
    """What follows from a dump's conv_out, to the bit (contract 5), for a program that does not dump it."""
    return {k: v.numpy() for k, v in guided_step(torch.from_numpy(np.array(seen["unet.conv_out"])), noise()).items()}


class Forgetting(make.Unlearning):
    """The edit at a hook, and what it rested on: activations of the latents chosen, and how far each was from another decision."""

    def begin(self):
        super().begin([TIMESTEP], "paper")
        [[latents, mu, _]] = make.forget_list(self.mu, self.prompts, self.choices, 0)
        self.chosen, self.line = torch.from_numpy(latents), self.thresholds[0][latents].to(self.sae.dtype)

    def __call__(self, module, inputs, output):
        x = make.channels_last(output[0]).reshape(-1, WIDTH)
        z = self.sae.pre(x)
        top = z.topk(K + 1, -1).values
        last, first_out, z = top[:, K - 1:K], top[:, K:], z[:, self.chosen]
        self.f = torch.where(z >= last, z, 0)
        self.edits = self.f > self.line
        self.margin = torch.where(self.edits, torch.minimum(z - first_out, z - self.line), torch.maximum(last - z, self.line - z))
        return super().__call__(module, inputs, output)


class Step:
    """One guided step at the real size: text encoder, UNet, forgetting at both hooks."""

    def __init__(self, model, ids):
        self.model, self.ids, self.hooks = model, ids, {}

    def load(self, dtype):
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextModel
        text = CLIPTextModel.from_pretrained(os.path.join(self.model, "text_encoder"), dtype=dtype).eval()
        unet = UNet2DConditionModel.from_pretrained(os.path.join(self.model, "unet"), torch_dtype=dtype).eval()
        self.hooks[dtype] = {hook: Forgetting(self.model, hook, [concept], dtype) for hook, concept in zip(SAES, FORGET)}
        return text, unet

    def forward(self, model, dtype):
        text, unet = model
        handles = []
        for path, hook in self.hooks[dtype].items():
            hook.begin()
            handles.append(unet.get_submodule(path).register_forward_hook(hook))
        x = noise().to(dtype)
        try:
            states, layers = make.tapped(text, r"encoder\.layers\.\d+", lambda: text(self.ids).last_hidden_state, "text_encoder.")
            both, seen = make.tapped(unet, make.UNET_MODULES, lambda: unet(x.expand(2, -1, -1, -1), TIMESTEP, states).sample, "unet.")
        finally:
            for h in handles:
                h.remove()
        seen["unet.time_embedding"] = seen["unet.time_embedding"][None, :1]
        return {**layers, "prompt_embeds": states, **seen, **guided_step(both, x)}


# ---- the library ----

class Host(ctypes.Structure):
    """saeuron_host"""
    _fields_ = [(name, ctypes.c_void_p) for name in ("user", "alloc", "free", "map", "unmap", "progress")] + [
        ("threads", ctypes.c_int), ("isa", ctypes.c_char_p), ("pack", ctypes.c_size_t)]


def classify(library, folder, pictures, threads):
    """Logits of pictures [B,H,W,3] by the classifier of a folder; the names of its classes; seconds to open and to classify."""
    lib, handle, error = ctypes.CDLL(library), ctypes.c_void_p(), ctypes.create_string_buffer(1024)
    lib.saeuron_classes.restype, lib.saeuron_class_name.restype, lib.saeuron_class_name.argtypes = ctypes.c_size_t, ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_size_t]

    def must(code):
        if code:
            raise SystemExit(f"fullsize.py: {library}: {error.raw[4:].split(bytes(1))[0].decode()}")

    start = time.perf_counter()
    must(lib.saeuron_classifier_open(ctypes.byref(handle), ctypes.byref(Host(threads=threads)), os.fsencode(folder), error))
    y = np.empty((len(pictures), lib.saeuron_classes(handle)), np.float32)
    opened = time.perf_counter()
    pictures = np.ascontiguousarray(pictures)
    must(lib.saeuron_classify(handle, ctypes.c_void_p(pictures.ctypes.data), *map(ctypes.c_size_t, (len(pictures), pictures.shape[2], pictures.shape[1])),
                          ctypes.c_void_p(y.ctypes.data), error))
    judged = time.perf_counter()
    names = [lib.saeuron_class_name(handle, i).decode() for i in range(y.shape[1])]
    lib.saeuron_classifier_close(handle)
    return y, names, (opened - start, judged - opened)


# ---- the parts ----

class Check:
    def __init__(self, a):
        self.program, self.report, self.threads, self.dir, self.library = Program(a.saeuron), Report(), a.threads, a.dir, a.library
        self.model = os.path.join(a.dir, "fp16")
        self.out = os.path.join(a.dir, "out")
        shutil.rmtree(self.out, ignore_errors=True)  # a dump left by an earlier run would hide that one is missing
        os.makedirs(self.out)
        self.made = None

    def base(self):
        """The run that most parts look at: (picture, dump folder)."""
        if not self.made:
            self.made = os.path.join(self.out, "base.png"), os.path.join(self.out, "base")
            self.program.generate(self.model, self.made[0], "--threads", self.threads, "--dump", self.made[1])
            print(f"     a guided step with --dump, and its picture: {self.program.seconds:.1f} s, peak {self.program.peak / 1e9:.2f} GB")
        return self.made

    def ids(self):
        return torch.from_numpy(np.array([[int(i) for i in self.program.run("tokenize", "-m", self.model, "-q", t).split()]
                                          for t in (NEGATIVE, PROMPT)]))

    def tokens(self):
        tokenizer = make_tokens.load(os.path.join(self.model, "tokenizer"))
        texts = [PROMPT, NEGATIVE, "Ünïcödé 12 cats,a 🐈 & l'été!", "a long prompt " * 40]
        for t in texts:
            ours = [int(i) for i in self.program.run("tokenize", "-m", self.model, "-q", t).split()]
            theirs = tokenizer(t, padding="max_length", max_length=77, truncation=True)["input_ids"]
            self.report.line(f"tokens of {t[:40]!r}", ours == theirs, f"{len(ours)} ids")

    @torch.no_grad()
    def text(self):
        from transformers import CLIPTextModel
        ids, at = self.ids(), os.path.join(self.out, "text.npy")
        for name, text, row in (("prompt", PROMPT, 1), ("empty", NEGATIVE, 0)):
            self.program.run("encode", "-m", self.model, text, "-o", at, "-q")
            truth, its, _ = measure(lambda dtype: CLIPTextModel.from_pretrained(os.path.join(self.model, "text_encoder"), dtype=dtype).eval(),
                                    lambda m, dtype: {"y": m(ids[row:row + 1]).last_hidden_state[0]})
            self.report.distance(f"encode, {name}", np.load(at), truth["y"], its["y"])

    @torch.no_grad()
    def unet(self):
        r, (_, folder), step = self.report, self.base(), Step(self.model, self.ids())
        ours = {**after_step(dumped(folder)), **dumped(folder)}
        with make.contract_time_embedding():
            truth, its, _ = measure(step.load, step.forward)
        self.edits(step.hooks[torch.float64], step.hooks[torch.float32])
        missing = {n for n in truth if n.startswith(("text_encoder.", "unet."))} ^ {n for n in ours if n.startswith(("text_encoder.", "unet."))}
        r.line("every module boundary is dumped, and no other", not missing, " ".join(sorted(missing)) or f"{len(ours)} dumps")
        behind = False
        for name in truth:
            behind |= name == "unet." + next(iter(SAES))
            if name in ours or name not in ("prompt_embeds", "noise_pred"):
                r.distance(name, ours.get(name), truth[name], its[name], behind)

    def edits(self, exact, single):
        """The program's edits, one by one, and the truth's: which token's which latent; where they part, by how little."""
        said = self.program.run("select", "-m", self.model, "-p", PROMPT, "--steps", 1, "--cfg", GUIDANCE, "--seed", SEED, "--forget",
                                ",".join(FORGET), "--explain", "--limit", 10 ** 6, "--json", "-q", "--threads", self.threads)
        rows = [json.loads(line) for line in said.splitlines()]
        for concept, (hook, truth) in zip(FORGET, exact.items()):
            mine, place = torch.zeros_like(truth.f), {int(i): j for j, i in enumerate(truth.chosen)}
            strange = 0
            for row in rows:
                if row["concept"] == concept and row["latent"] in place:
                    mine[row["row"], place[row["latent"]]] = row["f"]
                strange += row["concept"] not in FORGET or (row["concept"] == concept and row["latent"] not in place)
            both = (mine > 0) & truth.edits
            its = (single[hook].f - truth.f).abs()[single[hook].edits & truth.edits].max()
            flipped, told = (mine > 0) != truth.edits, ""
            if flipped.any():
                worst = float(truth.margin[flipped].max())
                told = f"; {int(flipped.sum())} flipped, margins up to {worst:.1e}, where float32 is up to {its:.1e} off"
                if worst <= 2 * its:
                    self.report.excuse = f"behind {int(flipped.sum())} flipped decisions at {hook}, margins up to {worst:.1e}"
            many = int(truth.edits.any(-1).sum())
            self.report.line(f"edits at {hook}", not strange and many >= 32 and (not flipped.any() or worst <= 2 * its),
                             f"{int(both.sum())} of {int(truth.edits.sum())} in {many} of {len(mine)} tokens, smallest margin "
                             f"{float(truth.margin.min()):.1e}; PyTorch's float32 flips {int((single[hook].edits != truth.edits).sum())}{told}")
            e = (mine - truth.f).abs()[both].max()
            self.report.line(f"activations of what is edited at {hook}", e <= 2 * its, f"max {float(e / its):.2f}")

    @torch.no_grad()
    def vae(self):
        from diffusers import AutoencoderKL
        from diffusers.image_processor import VaeImageProcessor as processor
        png, folder = self.base()
        ours = dumped(folder)
        latents = torch.from_numpy(np.array(ours.get("latents", after_step(ours)["latents"])))

        def forward(vae, dtype):
            return make.tapped(vae, make.VAE_DECODER, lambda: vae.decode(latents.to(dtype) / VAE["scaling_factor"]).sample, "vae.")[1]

        truth, its, stock = measure(lambda dtype: AutoencoderKL.from_pretrained(os.path.join(self.model, "vae"), torch_dtype=dtype).eval(), forward)
        missing = sorted(set(truth) ^ {n for n in ours if n.startswith("vae.decoder")})
        self.report.line("every boundary of the VAE's decoder is dumped, and no other", not missing, " ".join(missing) or f"{len(truth)} of them")
        for name in truth:
            self.report.distance(name, ours.get(name), truth[name], its[name])
        image = processor().postprocess(torch.from_numpy(stock["vae.decoder.conv_out"]), output_type="np")
        image = np.asarray(processor.numpy_to_pil(image)[0])
        bytes_apart = np.abs(picture(png)[0].astype(int) - image)
        many, most = int((bytes_apart > 0).sum()), int(bytes_apart.max())
        self.report.line("the picture against stock diffusers, float32", most <= 1 and many <= image.size // 1000,
                         f"{many} of {image.size} bytes differ, at most by {most}")

    @torch.no_grad()
    def encode(self):
        """mean and logvar of AutoencoderKL.encode for a picture: [8,64,64]."""
        from diffusers import AutoencoderKL
        from diffusers.image_processor import VaeImageProcessor
        from PIL import Image
        if "--image" not in self.program.run("encode", "--help"):
            print("     skipped: this program has no `encode --image`")
            return
        png, at, side = os.path.join(self.out, "given.png"), os.path.join(self.out, "moments.npy"), VAE["sample_size"]
        y, x = np.mgrid[:side, :side] / side
        # Rough on purpose: on a smooth picture PyTorch's float32 is four times as far from float64, and would excuse more.
        shades = np.stack([x, y, (x + y) / 2], -1) * 50 + make.symmetric("fullsize.image", side * side * 3, 100).reshape(side, side, 3) + 102
        pixels = np.rint(shades).astype(np.uint8)
        Image.fromarray(pixels).save(png)
        self.program.run("encode", "-m", self.model, "--image", png, "-o", at, "-q", "--threads", self.threads)
        print(f"     encode --image: {self.program.seconds:.1f} s, peak {self.program.peak / 1e9:.2f} GB")
        given = VaeImageProcessor().preprocess(Image.fromarray(pixels))

        def forward(vae, dtype):
            moments = vae.encode(given.to(dtype)).latent_dist
            return {"mean": moments.mean[0], "logvar": moments.logvar[0]}

        truth, its, _ = measure(lambda dtype: AutoencoderKL.from_pretrained(os.path.join(self.model, "vae"), torch_dtype=dtype).eval(), forward)
        ours = np.load(at)
        for i, name in enumerate(("mean", "logvar")):
            self.report.distance(f"encode --image, {name}", ours[4 * i:4 * i + 4], truth[name], its[name])

    def same(self, name, model, *arguments, dump=False):
        """Another run of base(): the same picture to the byte, and with dump every intermediate."""
        mine, out = os.path.join(self.out, name + ".png"), os.path.join(self.out, name)
        self.program.generate(os.path.join(self.dir, model), mine, *arguments, *(["--dump", out] if dump else []))
        self.equal(name, *self.base(), mine, out if dump else None, model in ("fp16", "variant"))

    def equal(self, name, png, folder, mine, out, to_the_byte):
        """Two runs' pictures and, with out, dumps, which are then removed. Of weights in another precision the digest of the
        model is another, as docs/formats.md says: then (not to_the_byte) pixels and all other texts."""
        told = f"{self.program.seconds:.1f} s, peak {self.program.peak / 1e9:.2f} GB"
        good = same_file(png, mine)
        if not to_the_byte:
            (x, texts), (y, others) = picture(png), picture(mine)
            texts.pop("model"), others.pop("model")
            good = np.array_equal(x, y) and texts == others
        if out:
            files = sorted(os.listdir(folder))
            unlike = [f for f in files if not os.path.exists(os.path.join(out, f)) or not same_file(os.path.join(folder, f), os.path.join(out, f))]
            good = good and not unlike and files == sorted(os.listdir(out))
            told += f"; {len(files)} dumps" + (f", not equal: {' '.join(unlike[:5])}" if unlike else "")
            shutil.rmtree(out)
        self.report.line(f"the same bytes: {name}", good, told)

    def variants(self):
        self.same("without --dump, 2 threads", "fp16", "--threads", 2)
        self.same("1 thread", "fp16", "--threads", 1)
        if "avx2" in self.program.run("info", "-m", self.model).split("built in:")[1].split(")")[0]:
            self.same("--isa avx2", "fp16", "--threads", self.threads, "--isa", "avx2")
        else:
            print("     skipped: --isa avx2 is not built in")
        for model, name in (("fp32", "float32"), ("sharded", "UNet in shards"), ("variant", ".fp16.safetensors")):
            self.same(name, model, "--threads", self.threads, dump=True)

    def synthetic(self):
        """--synthetic sd15 makes these weights in memory; its tokenizer is the one of single bytes, and it has no SAE."""
        if "--synthetic" not in self.program.run("generate", "--help"):
            print("     skipped: this program has no --synthetic")
            return
        model = os.path.join(self.dir, "bytes")
        shutil.rmtree(model, ignore_errors=True)
        link(self.model, model)
        for sub in ("sae", "tokenizer"):
            shutil.rmtree(os.path.join(model, sub))
        write_tokenizer(os.path.join(model, "tokenizer"), None)
        made = []
        for name, where in (("bytes", ("-m", model)), ("synthetic", ("--synthetic", "sd15"))):
            made += [os.path.join(self.out, name + ".png"), os.path.join(self.out, name)]
            self.program.run("generate", *where, "-p", PROMPT, "--steps", 1, "--cfg", GUIDANCE, "--seed", SEED, "-q", "--threads", self.threads,
                             "-o", made[-2], "--dump", made[-1])
        self.equal("--synthetic sd15", *made, False)
        shutil.rmtree(made[1])

    def files(self):
        """info and digest of every variant, the time until the model is open, and that diffusers reads them too."""
        sizes = {sub: (len(shapes), sum(map(math.prod, shapes.values()))) for sub, (_, shapes) in networks().items()}
        for variant in ("fp16", "fp32", "sharded", "variant"):
            model = os.path.join(self.dir, variant)
            said = self.program.run("info", model)
            found = {sub: (int(t), int(p)) for sub, t, p in re.findall(r"^(\w+)\t(\d+) tensors\t(\d+) parameters", said, re.M)}
            saes = len(re.findall(rf"SAE {LATENTS} latents, k {K}\tstatistics of 1 steps, concepts \w+ \w+ \w+", said))
            self.report.line(f"info {variant}", found == sizes and saes == len(SAES), f"{found['unet'][1]:,} parameters in the UNet")
            for run in ("first", "again"):
                self.program.run("tokenize", "-m", model, "hello")
            print(f"     open {variant}: {self.program.seconds:.2f} s (tokenize, files in the cache), peak {self.program.peak / 1e9:.2f} GB")
        fp16 = self.digests("fp16")
        for variant, dtype in (("fp16", "<f2"), ("fp32", "<f4")):
            digests, name = self.digests(variant), "conv_norm_out.bias"
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                values = hash_weight(0, name, (UNET["block_out_channels"][0],), pool).astype("<f2").astype(dtype)
            want = f"{twin.digest(0, values.tobytes()):016x}"
            self.report.line(f"digest {variant}/unet, {name}", digests.get(name) == want and len(digests) == sizes["unet"][0],
                             f"{want}; {len(digests)} tensors")
        self.report.line("digest sharded/unet, every tensor as in one file", self.digests("sharded") == fp16, f"{len(fp16)} tensors")

    def digests(self, variant):
        """{tensor: digest} of a UNet's files."""
        folder = os.path.join(self.dir, variant, "unet")
        files = [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(".safetensors")]
        lines = [line.split("  ") for line in self.program.run("digest", *files).splitlines()]
        return {name: digest for digest, _, name in lines}


    @torch.no_grad()
    def vit(self):
        """vit_large_patch16_224 as timm.models.save_for_hf saves it, in float16 with 51 classes and in float32 with 20."""
        timm = make.import_timm()
        pictures = np.stack([make.picture(f"fullsize.vit.{i}", 512, 512) // 2 + 64 for i in range(3)])
        for classes, narrow in ((51, True), (20, False)):
            folder = os.path.join(self.out, f"vit{classes}")
            net = timm.create_model("vit_large_patch16_224", num_classes=classes)
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                for name, x in net.named_parameters():
                    x.copy_(torch.from_numpy(hash_weight(0, name, tuple(x.shape), pool)).half())
            names = [f"class {i}" for i in range(classes)]
            timm.models.save_for_hf(net.half() if narrow else net, folder, model_config={"label_names": names}, safe_serialization=True,
                                    data_config={"interpolation": "bilinear", "crop_pct": 1.0})
            del net
            gc.collect()
            ours, found, seconds = classify(self.library, folder, pictures, self.threads)
            self.report.line(f"names of the {classes} classes", found == names, "")
            x = make.preprocess(json.load(open(os.path.join(folder, "config.json"))), pictures)
            truth, its, _ = measure(lambda dtype: timm.create_model("local-dir:" + folder, pretrained=True).to(dtype).eval(), lambda m, dtype: {"y": m(x.to(dtype))})
            self.report.distance(f"logits of {classes} classes", ours, truth["y"], its["y"])
            print(f"     {classes} classes: opened in {seconds[0]:.2f} s, {len(pictures)} pictures of 512 x 512 in {seconds[1]:.1f} s")
            shutil.rmtree(folder)


PARTS = ("tokens", "text", "unet", "vae", "encode", "variants", "synthetic", "files", "vit")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dir", default=os.path.join(HERE, "..", "build", "fullsize"))
    p.add_argument("--parts", default=",".join(PARTS))
    p.add_argument("--keep", action="store_true")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--saeuron", default=os.path.join(HERE, "..", "saeuron"))
    p.add_argument("--library", default=os.path.join(HERE, "..", "build", "libsaeuron.so"))
    a = p.parse_args()
    wanted = [part for part in a.parts.split(",") if part]
    if set(wanted) - set(PARTS):
        p.error(f"--parts: choose from {','.join(PARTS)}")
    a.saeuron, a.dir, a.library = os.path.abspath(a.saeuron), os.path.abspath(a.dir), os.path.abspath(a.library)
    import diffusers
    import transformers
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    if wanted == ["vit"]:
        check_folder(a.dir)
        os.makedirs(os.path.join(a.dir, "fp16"), exist_ok=True)  # what a folder made here is known by
    else:
        write_all(a.dir, Program(a.saeuron))
    check = Check(a)
    for part in wanted:
        start = time.perf_counter()
        getattr(check, part)()
        gc.collect()
        print(f"     {part}: {time.perf_counter() - start:.0f} s", flush=True)
    if not a.keep:
        shutil.rmtree(a.dir)
    print(f"{check.report.passed} passed, {check.report.failed} failed")
    return 1 if check.report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
