#!/usr/bin/env python3
"""convert.py: released checkpoints into the folders that saeuron reads (docs/formats.md). Development side: torch, safetensors,
diffusers, transformers; nothing here is needed to build or use saeuron.

    convert.py folder MODEL -o OUT                       a diffusers folder whose networks are .bin files
    convert.py single FILE --config DIR -o OUT           one .ckpt or .safetensors in the original layout (CompVis, LDM)
    convert.py classifier FILE.pth -o OUT --labels NAME  a timm ViT, as UnlearnCanvas releases them
    convert.py stats FILE.pkl -o OUT.safetensors         the latents that SAeUron's gather_sae_acts_ca_prompts*.py pickle
    convert.py params FILE.pth -o OUT.json               the pairs that find_best_params_cls_sweep.py saves: our forget.json

Nothing is fetched, and no file can run code: checkpoints are read by torch.load(weights_only=True); where a checkpoint holds
more than weights (a trainer's state), and for SAeUron's plain pickles, by an unpickler that knows tensors and containers only.
Output is written beside its place and renamed: it appears whole or not at all. Numbers are never changed, except the means of
`stats`: a network keeps the type of its tensors, or takes float32 where they are of several. One line on stderr and exit code 1
when something is wrong.

Sources: github.com/cywinski/SAeUron (scripts/gather_sae_acts_ca_prompts.py and _cls.py, find_best_params_cls_sweep.py),
github.com/OPTML-Group/UnlearnCanvas (evaluation/classification.py), diffusers' StableDiffusionPipeline.from_single_file."""

import argparse
import collections
import io
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    sys.exit(f"convert.py: {missing}: install torch and safetensors")

TYPES = (torch.float32, torch.float16, torch.bfloat16)  # which saeuron reads

# The order of the classifiers' outputs: theme_available and class_available of the benchmark.
STYLES = """Abstractionism Artist_Sketch Blossom_Season Bricks Byzantine Cartoon Cold_Warm Color_Fantasy Comic_Etch Crayon Cubism Dadaism
Dapple Defoliation Early_Autumn Expressionism Fauvism French Glowing_Sunset Gorgeous_Love Greenfield Impressionism Ink_Art Joy Liquid_Dreams
Magic_Cube Meta_Physics Meteor_Shower Monet Mosaic Neon_Lines On_Fire Pastel Pencil_Drawing Picasso Pop_Art Red_Blue_Ink Rust Seed_Images
Sketch Sponge_Dabbed Structuralism Superstring Surrealism Ukiyoe Van_Gogh Vibrant_Flow Warm_Love Warm_Smear Watercolor Winter""".split()
OBJECTS = """Architectures Bears Birds Butterfly Cats Dogs Fishes Flame Flowers Frogs Horses Human Jellyfish Rabbits Sandwiches Sea Statues
Towers Trees Waterfalls""".split()


class Wrong(Exception):
    """What is wrong, in one line."""


# ---- reading without running

class Inert:
    """Stands for any object that is neither a tensor nor a container: made of anything, does nothing."""

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, _):
        pass

    def __setitem__(self, *_):
        pass

    def append(self, _):
        pass

    def extend(self, _):
        pass


def bytes_to_storage(data):
    """torch.storage._load_from_bytes, which is itself a torch.load of a pickle."""
    return torch.load(io.BytesIO(data), weights_only=True)


TENSORS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): bytes_to_storage,
    ("torch", "Size"): torch.Size,
}
TENSORS.update({("torch", f"{t}Storage"): getattr(torch, f"{t}Storage") for t in ("Float", "Half", "BFloat16", "Double", "Long", "Int")})


class Strict(pickle.Unpickler):
    """Tensors and containers; any other name is an error."""

    def find_class(self, module, name):
        if (module, name) not in TENSORS:
            raise Wrong(f"holds {module}.{name}, which is no tensor: it is not read")
        return TENSORS[module, name]


class Lenient(pickle.Unpickler):
    """Tensors and containers; any other name becomes something inert. For a trainer's checkpoints, of which only tensors are used."""

    def find_class(self, module, name):
        return TENSORS.get((module, name), Inert)


class lenient_pickle:
    """What torch.load wants of a pickle module."""
    Unpickler = Lenient
    UnpicklingError = pickle.UnpicklingError

    @staticmethod
    def load(f, **_):
        return Lenient(f).load()


def load_checkpoint(path):
    """A checkpoint's object: torch.save's, or a safetensors file's tensors."""
    if path.endswith(".safetensors"):
        return load_file(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as z:
            if any(n.endswith("/constants.pkl") for n in z.namelist()):  # torch.load would hand it to torch.jit.load
                raise Wrong(f"{path}: is a TorchScript program, not a checkpoint")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:  # more in it than weights, or damaged
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=lenient_pickle)


def state_dict(path, prefixes=("",)):
    """The tensors of a checkpoint, taken out of what a trainer wraps them in, whose names begin so."""
    found = load_checkpoint(path)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    tensors = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, torch.Tensor)} if isinstance(found, dict) else {}
    if not tensors:
        raise Wrong(f"{path}: holds no state dict of tensors")
    tensors = {k.removeprefix("module."): v for k, v in tensors.items()}
    tensors = {k: v for k, v in tensors.items() if k.startswith(prefixes)}
    for k, v in tensors.items():
        if v.is_floating_point() and v.dtype not in TYPES:
            raise Wrong(f"{path}: tensor {k} is {str(v.dtype).removeprefix('torch.')}, which saeuron does not read: save it as float32, float16 or bfloat16")
        if v.is_floating_point() and not bool(torch.isfinite(v).all()):
            raise Wrong(f"{path}: tensor {k} is not finite: the file is damaged, or training failed")
    whole, seen = {}, set()
    for k, v in tensors.items():
        v = v.detach().contiguous()
        memory = v.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() != v.numel() * v.element_size():  # safetensors stores no shared memory
            v = v.clone()
        seen.add(memory.data_ptr())
        whole[k] = v
    return whole


# ---- writing whole or not at all

def write(path, make):
    """make(temporary) writes a file or folder, which then takes path's place."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise Wrong(f"{path}: its folder does not exist")
    room = tempfile.mkdtemp(prefix=os.path.basename(path.rstrip("/")) + ".tmp-", dir=parent)
    try:
        os.chmod(room, 0o755)
        part = os.path.join(room, "part")
        try:
            make(part)
        except SafetensorError as e:
            raise Wrong(f"{path}: cannot be written: {e}") from e
        os.replace(part, path)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def new_folder(path):
    if os.path.exists(path):
        raise Wrong(f"{path}: exists already; name a new folder")


def save_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


# ---- a folder of pickles

VARIANTS = (".safetensors.index.fp16.json", ".fp16.safetensors.index.json", ".safetensors.fp16.index.json", ".fp16.safetensors")
DIFFUSERS = (".safetensors.index.json", ".safetensors", ".bin", ".bin.index.json", *VARIANTS, ".fp16.bin", ".bin.index.fp16.json")
TRANSFORMERS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", VARIANTS[-1], *VARIANTS[:-1], ".fp16.bin", ".bin.index.fp16.json")


def network_file(folder, name):
    """The file that diffusers or transformers would load the network from, in the order of docs/formats.md."""
    text = name == "text_encoder"
    for ending in TRANSFORMERS if text else DIFFUSERS:
        stem = "diffusion_pytorch_model" if not text else "pytorch_model" if ".bin" in ending else "model"
        path = os.path.join(folder, name, stem + ending)
        if os.path.isfile(path):
            return path
    stem = "pytorch_model" if text else "diffusion_pytorch_model"
    other = os.path.join(folder, name, stem + ".non_ema.bin")
    if os.path.isfile(other):
        raise Wrong(f"{other}: holds training's own weights, which diffusers takes only when asked: rename it to {stem}.bin to mean them")
    raise Wrong(f"{folder}/{name}: holds no {stem}.bin, nor weights as .safetensors")


def pickled_tensors(path):
    """The tensors of a .bin file, or of the set that its index names."""
    if path.endswith(".bin"):
        return state_dict(path)
    with open(path, encoding="utf-8") as f:
        index = json.load(f)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(s, str) for s in shards.values()):
        raise Wrong(f"{path}: is no index of shards")
    whole = {}
    for shard in sorted(set(shards.values())):
        if os.path.basename(shard) != shard:
            raise Wrong(f"{path}: names {shard}, of another folder")
        whole.update(state_dict(os.path.join(os.path.dirname(path), shard)))
    missing = sorted(set(shards) - set(whole))
    if missing:
        raise Wrong(f"{path}: tensor {missing[0]} is in none of the files that it names")
    return whole


def convert_folder(a):
    new_folder(a.output)
    networks = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
    for name in networks:
        if not os.path.isfile(os.path.join(a.input, name, "config.json")):
            raise Wrong(f"{a.input}/{name}/config.json: is missing: is this a diffusers folder?")
    if os.path.realpath(a.output).startswith(os.path.join(os.path.realpath(a.input), "")):
        raise Wrong(f"{a.output}: lies in the folder that is converted: name one outside it")
    files = {name: network_file(a.input, name) for name in networks}

    def make(part):
        # what is beside the weights, and weights that are safetensors already
        shutil.copytree(a.input, part, ignore=shutil.ignore_patterns("*.bin", "*.bin.index*.json", "*.ckpt", "*.msgpack", "safety_checker", ".*"))
        for name, stem in networks.items():
            if ".bin" in os.path.basename(files[name]):
                save_file(pickled_tensors(files[name]), os.path.join(part, name, stem + ".safetensors"), metadata={"format": "pt"})

    write(a.output, make)
    print(a.output)


# ---- one file in the original layout

def convert_single(a):
    new_folder(a.output)
    tokenizer = ("tokenizer/tokenizer.json",) if os.path.isfile(os.path.join(a.config, "tokenizer/tokenizer.json")) else ("tokenizer/vocab.json", "tokenizer/merges.txt")
    for name in ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json", *tokenizer):
        if not os.path.isfile(os.path.join(a.config, name)):
            raise Wrong(f"{a.config}/{name}: is missing: --config wants the configs and the tokenizer of the model this one was trained from")
    prefixes = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "cond_stage_model."}
    tensors = state_dict(a.input, (*prefixes.values(), "model_ema."))
    averaged = [k for k in tensors if k.startswith("model_ema.")]
    for k in averaged:
        del tensors[k]
    types = {}
    for name, prefix in prefixes.items():
        found = {v.dtype for k, v in tensors.items() if k.startswith(prefix) and v.is_floating_point()}
        if not found:
            raise Wrong(f"{a.input}: has no {prefix}*: not a whole Stable Diffusion checkpoint in the original layout")
        types[name] = found.pop() if len(found) == 1 else torch.float32  # which holds each of them exactly
    if averaged:
        print(f"convert.py: {a.input} also holds {len(averaged)} averaged tensors (model_ema.*), which diffusers leaves out, as here", file=sys.stderr)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import diffusers
    import transformers
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    from diffusers import StableDiffusionPipeline

    def make(part):
        with tempfile.TemporaryDirectory(dir=os.path.dirname(part)) as room:
            config = os.path.join(room, "config")
            shutil.copytree(a.config, config, ignore=shutil.ignore_patterns("*.bin", "*.safetensors", "*.ckpt", "*.msgpack", ".*"))
            # the pipeline's scheduler is not kept: any will do, if it reads this config
            save_json(os.path.join(config, "model_index.json"), {
                "_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None], "image_encoder": [None, None],
                "requires_safety_checker": False, "safety_checker": [None, None], "scheduler": ["diffusers", "DDIMScheduler"],
                "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
                "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})
            only_tensors = os.path.join(room, "model.safetensors")
            save_file(tensors, only_tensors)
            tensors.clear()
            pipe = StableDiffusionPipeline.from_single_file(
                only_tensors, config=config, local_files_only=True, torch_dtype=torch.float32,
                safety_checker=None, feature_extractor=None, image_encoder=None, requires_safety_checker=False)
            for name, dtype in types.items():  # back to what they were: nothing is rounded
                getattr(pipe, name).to(dtype)
            pipe.save_pretrained(part, safe_serialization=True)
            for sub in ("tokenizer", "scheduler"):  # as they were, not as this version of the libraries would write them
                shutil.rmtree(os.path.join(part, sub), ignore_errors=True)
                shutil.copytree(os.path.join(config, sub), os.path.join(part, sub))

    write(a.output, make)
    print(a.output)


# ---- classifiers

def convert_classifier(a):
    new_folder(a.output)
    tensors = state_dict(a.input)
    for name in ("patch_embed.proj.weight", "pos_embed", "cls_token", "blocks.0.mlp.fc1.weight", "norm.weight", "head.weight"):
        if name not in tensors:
            raise Wrong(f"{a.input}: tensor {name} is missing: a timm vision_transformer with a class token is expected")
    width, channels, patch, _ = tensors["patch_embed.proj.weight"].shape
    side = round((tensors["pos_embed"].shape[1] - 1) ** 0.5)
    depth = 1 + max(int(m[1]) for m in (re.match(r"blocks\.(\d+)\.", k) for k in tensors) if m)
    classes = tensors["head.weight"].shape[0]
    heads = a.heads or width // 64  # timm's Ti, S, B, L: 64 wide each
    if side * side + 1 != tensors["pos_embed"].shape[1] or heads < 1 or width % heads:
        raise Wrong(f"{a.input}: its pos_embed and width {width} are not those of a square image with {heads} heads; name --heads")
    labels = {"unlearncanvas-styles": STYLES, "unlearncanvas-objects": OBJECTS}.get(a.labels)
    if labels is None:
        with open(a.labels, encoding="utf-8") as f:
            labels = f.read().split()
    if len(labels) != classes:
        raise Wrong(f"{a.input}: has {classes} outputs, --labels {a.labels} names {len(labels)}")
    config = {
        "architecture": "vision_transformer", "img_size": side * patch, "patch_size": patch, "in_chans": channels, "embed_dim": width,
        "depth": depth, "num_heads": heads, "mlp_ratio": tensors["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors, "class_token": True, "global_pool": "token", "norm_eps": 1e-6,
        "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "num_classes": classes, "label_names": labels}

    def make(part):
        os.mkdir(part)
        save_file(tensors, os.path.join(part, "model.safetensors"), metadata={"format": "pt"})
        save_json(os.path.join(part, "config.json"), config)

    write(a.output, make)
    print(a.output)


# ---- statistics

def digest(saeuron, folder):
    """What `saeuron info FOLDER` prints as the digest of its tensors."""
    r = subprocess.run([saeuron, "info", "--json", folder], capture_output=True, text=True)
    if r.returncode:
        raise Wrong(r.stderr.strip() or f"{saeuron} info {folder} failed")
    return json.loads(r.stdout)["digest"]


def convert_stats(a):
    with open(a.input, "rb") as f:
        try:
            latents = Strict(f).load()  # {concept: half [prompts, T, n]}
        except Wrong as e:
            raise Wrong(f"{a.input}: {e}") from e
    if not isinstance(latents, dict) or not latents:
        raise Wrong(f"{a.input}: is no dictionary from concepts to tensors")
    means, prompts, shape = {}, {}, None
    for concept, x in latents.items():
        if not isinstance(concept, str) or not isinstance(x, torch.Tensor) or x.dim() != 3 or not x.shape[0] or (shape and x.shape[1:] != shape):
            raise Wrong(f"{a.input}: {concept!r} is not a tensor [prompts, steps, latents] like the others")
        if not bool(torch.isfinite(x).all()):
            raise Wrong(f"{a.input}: {concept} holds values that are not finite")
        shape = x.shape[1:]
        prompts[concept] = x.shape[0]
        total = torch.zeros(shape, dtype=torch.float64)
        for row in x:  # one prompt at a time: the whole in double would be four times the file
            total += row.double()
        means[concept] = (total / x.shape[0]).float().contiguous()
    steps = shape[0]
    if not 1 <= steps <= 1000:
        raise Wrong(f"{a.input}: {steps} sampling steps; 1 to 1000 are possible")
    hook = a.hook
    if not hook:
        name = re.fullmatch(r"(?:style|cls)_latents_dict_(.+)\.pkl", os.path.basename(a.input))
        if not name:
            raise Wrong(f"{a.input}: its name does not say at which hook it was made: use --hook")
        hook = name[1]
    each = 1000 // steps
    counts = set(prompts.values())
    metadata = {
        "hook": hook.removeprefix("unet."), "steps": str(steps), "timesteps": ",".join(str((steps - 1 - i) * each + 1) for i in range(steps)),
        "seed": str(a.seed), "cfg": f"{a.cfg:g}", "prompts": str(counts.pop()) if len(counts) == 1 else json.dumps(prompts)}
    if a.sae:
        metadata["sae"] = digest(a.saeuron, a.sae)
    if a.model:
        metadata["model"] = digest(a.saeuron, a.model)
    write(a.output, lambda part: save_file(means, part, metadata=metadata))
    print(a.output)


def convert_params(a):
    found = load_checkpoint(a.input)
    if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(v, dict) and {"percentile", "multiplier"} <= v.keys() for k, v in found.items()):
        raise Wrong(f"{a.input}: is no dictionary from concepts to percentile and multiplier")
    chosen = {k: {"percentile": float(v["percentile"]), "strength": float(v["multiplier"])} for k, v in found.items()}
    for k, v in chosen.items():
        if not 0 < v["percentile"] <= 100 or not math.isfinite(v["strength"]):
            raise Wrong(f"{a.input}: {k}: percentile {v['percentile']:g} and multiplier {v['strength']:g} are no pair")
    write(a.output, lambda part: save_json(part, chosen))
    print(a.output)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = p.add_subparsers(dest="kind", required=True)

    def kind(name, run, helps, output):
        k = kinds.add_parser(name, help=helps)
        k.add_argument("input")
        k.add_argument("-o", "--output", required=True, help=output)
        k.set_defaults(run=run)
        return k

    kind("folder", convert_folder, "a diffusers folder whose networks are .bin files", "a new folder")
    k = kind("single", convert_single, "one .ckpt or .safetensors in the original layout", "a new folder")
    k.add_argument("--config", required=True, help="a diffusers folder of the same architecture; its weights, if any, are not read")
    k = kind("classifier", convert_classifier, "a timm ViT's .pth", "a new folder")
    k.add_argument("--labels", required=True, help="unlearncanvas-styles, unlearncanvas-objects, or a file of names in the order of the outputs")
    k.add_argument("--heads", type=int, default=0, help="attention heads; else one for 64 of the width")
    k = kind("stats", convert_stats, "SAeUron's pickled latents", "a .safetensors file")
    k.add_argument("--hook", help="up_blocks.1.attentions.2; else from the file's name")
    k.add_argument("--seed", type=int, default=188, help="the released script's default")
    k.add_argument("--cfg", type=float, default=9.0, help="the released script's guidance")
    k.add_argument("--sae", help="the SAE's folder: its digest is noted, and compared by --forget")
    k.add_argument("--model", help="the model's folder: its digest is noted")
    k.add_argument("--saeuron", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "saeuron"))
    kind("params", convert_params, "the released sweep's chosen pairs", "forget.json")
    a = p.parse_args()
    warnings.simplefilter("ignore")
    try:
        a.run(a)
    except Wrong as e:
        text = str(e)
    except OSError as e:
        text = f"{e.filename2 or e.filename or a.output}: {e.strerror or e}"
    except KeyboardInterrupt:
        text = f"{a.input}: stopped"
    except Exception as e:  # whatever a library makes of a damaged file: its words, shortened
        text = f"{a.input}: {type(e).__name__}: {e}"
    else:
        return 0
    text = " ".join(text.split())
    print("convert.py:", text if len(text) < 500 else text[:500] + "...", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
