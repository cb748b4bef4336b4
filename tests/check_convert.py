#!/usr/bin/env python3
"""check_convert.py: docs/convert.py on small inputs of every kind it takes, made of weights/emojicanvas, and what ./saeuron makes
of the results.

    check_convert.py [--model weights/emojicanvas] [--saeuron ./saeuron]

Needs torch, diffusers, transformers, safetensors. Checks:
  folder       networks as .bin files, one of them sharded: the same tensors, the same picture with concepts forgotten
  single       a trainer's checkpoint and a .safetensors in the original layout (LDM names, VAE attention as convolutions): the
               same pixels
  classifier   a wrapped .pth: the same tensors, a config that says what the model's own says, and saeuron opens it
  stats        latents pickled as the released script does: means, metadata, and the selection of `saeuron select` against scores
               computed here
  params       the released sweep's pairs: forget.json, and the picture it gives
  hostile      pickles that would run a program: none does, at any depth
  damaged      inputs that are wrong: one line, exit code 1, nothing left behind
  precedence   .bin files beside variants: what diffusers loads of the old folder is what the new one holds; and each advice followed
  single_types one file with several types, and a tokenizer as transformers 5 saves it: no number changes
  as_drawn     sizes that the UNet cannot halve, a shift_factor, clip skip written into the config, a whole CLIPModel: StableDiffusionPipeline's
               pictures
  schedulers   schedulers as other classes save them: what DDIMScheduler.from_config makes of them against saeuron's picture
Prints one line a check and exits 1 when any fails."""

import argparse
import glob
import inspect
import io
import json
import math
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
import zipfile

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(HERE, "golden"))
PROMPT = "An image of Cats in Sketch style."
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


class Program:
    """Unpickling it runs a program, unless the unpickler refuses to."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


class Callback:
    """What a trainer keeps in its checkpoints beside the weights."""

    def __init__(self):
        self.best = [1, 2]


# ---- the original layout's names

def ldm_unet(name, layers, cross_up):
    """UNet2DConditionModel's tensor name as CompVis' openaimodel.UNetModel has it."""
    resnet = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
              "conv_shortcut": "skip_connection"}
    for ours, theirs in {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
                         "conv_norm_out": "out.0", "conv_out": "out.2"}.items():
        if name.startswith(ours + "."):
            return theirs + name[len(ours):]
    part = name.split(".")

    def inside(kind, rest):
        return ".".join([resnet[rest[0]]] + rest[1:]) if kind == "resnets" else ".".join(rest)

    if part[0] == "mid_block":
        kind, j = part[1], int(part[2])
        return f"middle_block.{1 if kind == 'attentions' else 2 * j}.{inside(kind, part[3:])}"
    i, kind, j = int(part[1]), part[2], int(part[3])
    if part[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(layers + 1) * (i + 1)}.0.op.{part[5]}"
        return f"input_blocks.{(layers + 1) * i + j + 1}.{int(kind == 'attentions')}.{inside(kind, part[4:])}"
    if kind == "upsamplers":
        return f"output_blocks.{(layers + 1) * i + layers}.{2 if cross_up[i] else 1}.conv.{part[5]}"
    return f"output_blocks.{(layers + 1) * i + j}.{int(kind == 'attentions')}.{inside(kind, part[4:])}"


def ldm_vae(name, levels):
    """AutoencoderKL's tensor name as CompVis' AutoencoderKL has it."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"(encoder)\.down_blocks\.(\d+)\.resnets\.", r"\1.down.\2.block.", name)
    name = re.sub(r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.conv", r"encoder.down.\1.downsample.conv", name)
    name = re.sub(r"decoder\.up_blocks\.(\d+)\.resnets\.", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.block.", name)
    name = re.sub(r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.conv", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.upsample.conv", name)
    for ours, theirs in {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
        name = name.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    return name


def original_layout(model):
    """The model's tensors under the original names."""
    with open(os.path.join(model, "unet/config.json")) as f:
        u = json.load(f)
    with open(os.path.join(model, "vae/config.json")) as f:
        v = json.load(f)
    cross_up = [t.startswith("Cross") for t in u["up_block_types"]]
    out = {}
    for k, x in load_file(os.path.join(model, UNET)).items():
        out["model.diffusion_model." + ldm_unet(k, u["layers_per_block"], cross_up)] = x
    for k, x in load_file(os.path.join(model, VAE)).items():
        new = ldm_vae(k, len(v["block_out_channels"]))
        out["first_stage_model." + new] = x[:, :, None, None] if "attn_1" in new and x.dim() == 2 else x
    for k, x in load_file(os.path.join(model, TEXT)).items():
        out["cond_stage_model.transformer." + ("" if k.startswith("text_model.") else "text_model.") + k] = x
    out["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return out


# ---- the checks

class Check:
    def __init__(self, a, folder):
        self.a, self.folder, self.failed = a, folder, 0
        self.marker = os.path.join(folder, "ran")
        with open(os.path.join(a.model, "concepts.json")) as f:
            domains = json.load(f)["domains"]
        self.hook, self.other_hook = domains["object"]["hook"], domains["style"]["hook"]

    def path(self, name):
        return os.path.join(self.folder, name)

    def convert(self, *args, code=0, room=None):
        def limit():  # no file may grow beyond room bytes, as on a full disk
            if room:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

        r = subprocess.run([sys.executable, os.path.join(ROOT, "docs", "convert.py"), *args], capture_output=True, text=True, preexec_fn=limit)
        assert r.returncode == code, (args, r.returncode, r.stderr)
        if code:
            assert r.stderr.count("\n") == 1 and r.stderr.startswith("convert.py: "), r.stderr
            return r.stderr
        return r.stdout

    def saeuron(self, *args):
        r = subprocess.run([self.a.saeuron, *args], capture_output=True, text=True)
        assert r.returncode == 0, (args, r.stderr)
        return r.stdout

    def draw(self, model, name, *args):
        out = self.path(name)
        self.saeuron("generate", "-m", model, "-p", PROMPT, "--seed", "5", "--steps", "6", "-q", "-o", out, *args)
        return out

    def pixels(self, path):
        with Image.open(path) as i:
            return np.asarray(i.convert("RGB"))

    def a_copy(self, name):
        out = self.path(name)
        shutil.copytree(self.a.model, out, ignore=shutil.ignore_patterns("classifier", "*.md"))
        return out

    # ---- folders and single files

    def folder_(self):
        old = self.a_copy("bin")
        unet = load_file(os.path.join(old, UNET))
        os.remove(os.path.join(old, UNET))
        names, index = sorted(unet), {"metadata": {"total_size": 0}, "weight_map": {}}
        for i, part in enumerate((names[::2], names[1::2])):
            shard = f"diffusion_pytorch_model-{i + 1:05d}-of-00002.bin"
            torch.save({k: unet[k] for k in part}, os.path.join(old, "unet", shard))
            index["weight_map"].update(dict.fromkeys(part, shard))
        with open(os.path.join(old, "unet/diffusion_pytorch_model.bin.index.json"), "w") as f:
            json.dump(index, f)
        torch.save(load_file(os.path.join(old, VAE)), os.path.join(old, "vae/diffusion_pytorch_model.bin"), _use_new_zipfile_serialization=False)
        os.remove(os.path.join(old, VAE))
        text = load_file(os.path.join(old, TEXT))
        text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        torch.save(text, os.path.join(old, "text_encoder/pytorch_model.bin"))
        os.remove(os.path.join(old, TEXT))
        os.mkdir(os.path.join(old, "safety_checker"))
        r = subprocess.run([self.a.saeuron, "info", old], capture_output=True, text=True)
        assert r.returncode == 1 and "docs/convert.py" in r.stderr, r.stderr
        self.convert("folder", old, "-o", self.path("new"))
        assert not glob.glob(self.path("new/**/*.bin*"), recursive=True) and not os.path.exists(self.path("new/safety_checker"))
        for name in (UNET, VAE):
            was, is_now = load_file(os.path.join(self.a.model, name)), load_file(self.path(f"new/{name}"))
            assert was.keys() == is_now.keys() and all(is_now[k].dtype == was[k].dtype and is_now[k].equal(was[k]) for k in was), name
        forget = ["--forget", "Cats,Sketch", "--map-steps"]
        same = self.pixels(self.draw(self.a.model, "a.png", *forget)), self.pixels(self.draw(self.path("new"), "b.png", *forget))
        assert (same[0] == same[1]).all()
        return "three networks, one sharded, one in the older pickle format; forgetting with its SAEs"

    def single(self):
        tensors = original_layout(self.a.model)
        wanted = self.pixels(self.draw(self.a.model, "a.png"))
        checkpoint = {"state_dict": tensors, "epoch": 1, "callbacks": {Callback: Callback()}, "hyper": Program(self.marker)}
        torch.save(checkpoint, self.path("trainer.ckpt"))
        save_file({k: v.contiguous() for k, v in tensors.items()}, self.path("original.safetensors"))
        config = self.path("config")
        shutil.copytree(self.a.model, config, ignore=shutil.ignore_patterns("*.safetensors", "sae", "classifier", "*.md", "model_index.json"))
        for name in ("trainer.ckpt", "original.safetensors"):
            out = self.path(name + ".folder")
            r = subprocess.run([self.a.saeuron, "generate", "-m", self.path(name), "-p", PROMPT, "-o", self.path("no.png")], capture_output=True, text=True)
            assert r.returncode == 1 and "docs/convert.py makes one of it" in r.stderr, r.stderr
            self.convert("single", self.path(name), "--config", config, "-o", out)
            assert (self.pixels(self.draw(out, "b.png", "--cfg", "6")) == wanted).all(), name
            assert next(iter(load_file(os.path.join(out, UNET)).values())).dtype == torch.float16
        assert not os.path.exists(self.marker), "a checkpoint ran a program"
        return f"{len(tensors)} tensors under LDM's names, of a trainer's .ckpt and of .safetensors"

    def single_types(self):
        g = torch.Generator().manual_seed(1)
        tensors = {k: v.float() * (1 + 1e-4 * torch.rand(v.shape, generator=g)) if v.is_floating_point() else v for k, v in original_layout(self.a.model).items()}
        first = next(k for k in tensors if k.startswith("cond_stage_model.") and tensors[k].is_floating_point())
        for k, v in tensors.items():  # the UNet in half precision, the VAE in bfloat16, the text encoder of two types
            half = {"model": torch.float16, "first_stage_model": torch.bfloat16}.get(k.split(".")[0], torch.float16 if k == first else None)
            tensors[k] = (v.to(half) if half else v).contiguous()
        save_file(tensors, self.path("types.safetensors"))
        config = self.path("config5")
        shutil.copytree(self.a.model, config, ignore=shutil.ignore_patterns("*.safetensors", "sae", "classifier", "*.md", "model_index.json"))
        from transformers import CLIPTokenizer
        tokenizer = CLIPTokenizer.from_pretrained(os.path.join(config, "tokenizer"))
        shutil.rmtree(os.path.join(config, "tokenizer"))
        tokenizer.save_pretrained(os.path.join(config, "tokenizer"))
        assert not os.path.exists(os.path.join(config, "tokenizer/vocab.json"))
        out = self.path("types")
        self.convert("single", self.path("types.safetensors"), "--config", config, "-o", out)
        self.draw(out, "types.png")
        made = original_layout(out)
        for k, v in tensors.items():
            if v.is_floating_point():
                assert made[k].float().equal(v.float()) and made[k].dtype == (v.dtype if k.split(".")[0] != "cond_stage_model" else torch.float32), k
        some = {k: v for k, v in tensors.items() if not k.startswith("first_stage_model.")}
        save_file(some, self.path("novae.safetensors"))
        assert "first_stage_model" in self.convert("single", self.path("novae.safetensors"), "--config", config, "-o", self.path("no"), code=1)
        return f"{len(tensors)} tensors of three types"

    # ---- which file counts

    def precedence(self):
        from diffusers import UNet2DConditionModel
        unet = load_file(os.path.join(self.a.model, UNET))
        other = {k: v * 0.5 for k, v in unet.items()}
        stem = "unet/diffusion_pytorch_model"

        def put(model, name, tensors):
            path = os.path.join(model, stem + name)
            torch.save(tensors, path) if name.endswith(".bin") else save_file(tensors, path)

        for i, beside in enumerate((".non_ema.safetensors", ".fp16.safetensors", ".fp16.bin", ".non_ema.bin")):
            old, new = self.a_copy(f"old-{i}"), self.path(f"new-{i}")
            os.remove(os.path.join(old, UNET))
            put(old, ".bin", unet)
            put(old, beside, other)
            r = subprocess.run([self.a.saeuron, "info", old], capture_output=True, text=True)
            assert r.returncode == 1 and stem + ".bin" in r.stderr and "docs/convert.py" in r.stderr, r.stderr
            self.convert("folder", old, "-o", new)
            theirs = UNet2DConditionModel.from_pretrained(old, subfolder="unet").state_dict()
            ours = load_file(os.path.join(new, UNET))
            assert all(ours[k].float().equal(theirs[k]) and theirs[k].equal(unet[k].float()) for k in theirs), beside
            self.saeuron("info", new)
        # a whole file and an index of others
        from transformers import CLIPTextModel
        for sub, file, load, other_goes_first in (("unet", UNET, UNet2DConditionModel, True), ("text_encoder", TEXT, CLIPTextModel, False)):
            both, whole = self.a_copy("both-" + sub), load_file(os.path.join(self.a.model, file))
            name = os.path.basename(file)
            save_file({k: v * 0.5 for k, v in whole.items()}, os.path.join(both, sub, "half.safetensors"), metadata={"format": "pt"})
            with open(os.path.join(both, sub, name + ".index.json"), "w") as f:
                json.dump({"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(whole, "half.safetensors")}, f)
            theirs = next(v for k, v in load.from_pretrained(both, subfolder=sub).state_dict().items() if k.endswith("weight"))
            key = next(k for k, v in whole.items() if v.shape == theirs.shape and (v.float().equal(theirs) or (v * 0.5).float().equal(theirs)))
            assert whole[key].float().equal(theirs) != other_goes_first, sub
        # what is not the plain file alone
        for name, advice in ((".fp16.bin", None), (".non_ema.bin", ".bin"), (".non_ema.safetensors", ".safetensors")):
            old, new = self.a_copy("old-" + name.split(".")[-1] + name[1]), self.path("new-" + name.split(".")[-1] + name[1])
            os.remove(os.path.join(old, UNET))
            put(old, name, unet)
            if advice:
                r = subprocess.run([self.a.saeuron, "info", old], capture_output=True, text=True)
                assert r.returncode == 1 and f"rename it to diffusion_pytorch_model{advice}" in r.stderr, r.stderr
                self.convert("folder", old, "-o", new, code=1)
                os.rename(os.path.join(old, stem + name), os.path.join(old, stem + advice))
            self.convert("folder", old, "-o", new)
            assert all(v.equal(unet[k]) for k, v in load_file(os.path.join(new, UNET)).items())
            self.saeuron("info", new)
        said = self.convert("folder", new, "-o", os.path.join(new, "inside"), code=1)
        assert "inside: lies in the folder" in said, said
        return "4 twins beside a .bin, 3 files alone"

    # ---- classifiers, statistics, pairs

    def classifier(self):
        for kind in ("object", "style"):
            theirs = os.path.join(self.a.model, "classifier", kind)
            tensors = load_file(os.path.join(theirs, "model.safetensors"))
            with open(os.path.join(theirs, "config.json")) as f:
                config = json.load(f)
            torch.save({"model_state_dict": {"module." + k: v for k, v in tensors.items()}, "optimizer": {"lr": 0.1}, "epoch": 3}, self.path(f"{kind}.pth"))
            with open(self.path("labels.txt"), "w") as f:
                f.write("\n".join(config["label_names"]))
            out = self.path(f"classifier-{kind}")
            self.convert("classifier", self.path(f"{kind}.pth"), "-o", out, "--labels", self.path("labels.txt"), "--heads", str(config["num_heads"]))
            new = load_file(os.path.join(out, "model.safetensors"))
            assert new.keys() == tensors.keys() and all(new[k].equal(tensors[k]) for k in new)
            with open(os.path.join(out, "config.json")) as f:
                made = json.load(f)
            assert made == {k: config[k] for k in made} and made.keys() == config.keys(), set(made) ^ set(config)
            ours, before = (json.loads(self.saeuron("info", "--json", folder)) for folder in (out, theirs))
            assert ours["names"] == config["label_names"] and {**ours, "classifier": theirs} == before, ours
        said = self.convert("classifier", self.path("object.pth"), "-o", self.path("no"), "--labels", "unlearncanvas-styles", "--heads", "4", code=1)
        assert "20 outputs" in said and "51" in said
        return "tensors and config of both classifiers, and what saeuron info says of them"

    def stats(self):
        sae = os.path.join(self.a.model, "sae", self.hook)
        with safe_open(os.path.join(sae, "sae.safetensors"), "pt") as f:
            n = f.get_slice("encoder.weight").get_shape()[0]
        steps, g = 50, torch.Generator().manual_seed(1)
        counts = {"Cats": 3, "Dogs": 2, "Sea": 4}
        latents = {c: (torch.rand(p, steps, n, generator=g) ** 8).half() for c, p in counts.items()}
        path = self.path(f"cls_latents_dict_unet.{self.hook}.pkl")
        with open(path, "wb") as f:
            pickle.dump(latents, f)
        out = self.path("stats.safetensors")
        self.convert("stats", path, "-o", out, "--sae", sae, "--saeuron", self.a.saeuron)
        with safe_open(out, "pt") as f:
            m = f.metadata()
        assert m["hook"] == self.hook and m["steps"] == "50" and m["seed"] == "188" and m["cfg"] == "9" and json.loads(m["prompts"]) == counts, m
        assert m["timesteps"].startswith("981,961,") and m["timesteps"].endswith(",21,1") and len(m["timesteps"].split(",")) == 50
        mu = {c: x.double().mean(0) for c, x in latents.items()}
        for c, x in load_file(out).items():
            assert x.dtype == torch.float32 and x.equal(mu[c].float()), c
        top = 7
        rows = [json.loads(r) for r in self.saeuron("select", "-m", self.a.model, "--stats", out, "--forget", "Cats", "--top", str(top), "--json").splitlines()]
        rest = torch.cat([latents[c].double() for c in ("Dogs", "Sea")]).mean(0)
        score = mu["Cats"] / (mu["Cats"].sum(1, keepdim=True) + 1e-8) - rest / (rest.sum(1, keepdim=True) + 1e-8)
        for t in range(steps):
            ours = {r["latent"]: r["score"] for r in rows if r["step"] == t}
            assert set(ours) == set(score[t].topk(top).indices.tolist()), t
            assert all(abs(s - score[t, i]) < 1e-7 for i, s in ours.items())
        self.saeuron("generate", "-m", self.a.model, "-p", PROMPT, "--stats", out, "--forget", "Cats", "--top", "3", "-q", "-o", self.path("c.png"))
        # statistics of another SAE are refused by the digest that --sae noted
        other = os.path.join(self.a.model, "sae", self.other_hook)
        self.convert("stats", path, "-o", self.path("other.safetensors"), "--sae", other, "--saeuron", self.a.saeuron)
        r = subprocess.run([self.a.saeuron, "select", "-m", self.a.model, "--stats", self.path("other.safetensors"), "--forget", "Cats"], capture_output=True, text=True)
        assert r.returncode == 1 and "digest" in r.stderr, r.stderr
        return f"{len(counts)} concepts, {steps} steps, {n} latents; the {top} best of each step"

    def params(self):
        torch.save({"Cats": {"percentile": 99.9, "multiplier": -10.0}, "Dogs": {"percentile": 99.0, "multiplier": -5.0}}, self.path("class_params.pth"))
        model = self.a_copy("with-params")
        place = os.path.join(model, "sae", self.hook, "forget.json")
        self.convert("params", self.path("class_params.pth"), "-o", place)
        with open(place) as f:
            assert json.load(f) == {"Cats": {"percentile": 99.9, "strength": -10.0}, "Dogs": {"percentile": 99.0, "strength": -5.0}}
        by_file = self.pixels(self.draw(model, "a.png", "--forget", "Cats", "--map-steps"))
        by_hand = self.pixels(self.draw(self.a.model, "b.png", "--forget", "Cats", "--map-steps", "--percentile", "99.9", "--strength", "-10"))
        assert (by_file == by_hand).all()
        return "two concepts"

    # ---- what must not work

    def hostile(self):
        bad = Program(self.marker)
        inner = io.BytesIO()
        torch.save({"x": bad}, inner)
        depths = {"plain": {"Cats": bad}, "key": {"Cats": [torch.zeros(2), (bad,)]}}
        for name, value in depths.items():
            with open(self.path(f"{name}.pkl"), "wb") as f:
                pickle.dump(value, f)

        class Nested:  # a tensor's own bytes are a pickle again
            def __reduce__(self):
                return torch.storage._load_from_bytes, (inner.getvalue(),)

        with open(self.path("nested.pkl"), "wb") as f:
            pickle.dump({"Cats": Nested()}, f)
        for name in ("plain", "key", "nested"):
            said = self.convert("stats", self.path(f"{name}.pkl"), "-o", self.path("no.safetensors"), "--hook", self.hook, code=1)
            assert f"{name}.pkl" in said
        torch.save({"model_state_dict": bad}, self.path("bad.pth"))
        torch.save({"model_state_dict": bad}, self.path("bad-old.pth"), _use_new_zipfile_serialization=False)
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), self.path("program.pth"))
        for name in ("bad.pth", "bad-old.pth", "program.pth"):
            said = self.convert("classifier", self.path(name), "-o", self.path("no"), "--labels", "unlearncanvas-objects", code=1)
            assert ("TorchScript" in said) == (name == "program.pth"), said
        self.convert("params", self.path("bad.pth"), "-o", self.path("no.json"), code=1)
        assert not os.path.exists(self.marker), "a pickle ran a program"
        with open(self.path("plain.pkl"), "rb") as f:
            pickle.load(f)
        assert os.path.exists(self.marker), "these pickles run nothing even when they may: the check sees nothing"
        os.remove(self.marker)
        return "6 pickles and a TorchScript program"

    def damaged(self):
        before = set(os.listdir(self.folder))
        tensors = load_file(os.path.join(self.a.model, "classifier/object/model.safetensors"))
        with open(self.path("labels.txt"), "w") as f:
            f.write(" ".join(f"c{i}" for i in range(20)))
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        lame = dict(tensors, **{"head.bias": torch.full_like(tensors["head.bias"], float("nan"))})
        cases = {"short.pth": buffer.getvalue()[:-5000], "empty.pth": b"", "text.pth": b"hello"}
        for name, data in cases.items():
            with open(self.path(name), "wb") as f:
                f.write(data)
        torch.save(lame, self.path("nan.pth"))
        torch.save({"a": 1}, self.path("none.pth"))
        torch.save({k: v for k, v in tensors.items() if k != "norm.weight"}, self.path("lacks.pth"))
        for name, words in {"short.pth": "short.pth", "empty.pth": "empty.pth", "text.pth": "text.pth", "nan.pth": "head.bias", "none.pth": "state dict", "lacks.pth": "norm.weight",
                            "absent.pth": "absent.pth"}.items():
            said = self.convert("classifier", self.path(name), "-o", self.path("no"), "--labels", self.path("labels.txt"), "--heads", "4", code=1)
            assert words in said, said
        assert "exists" in self.convert("classifier", self.path("none.pth"), "-o", self.folder, "--labels", "x", code=1)
        with open(self.path("ragged.pkl"), "wb") as f:
            pickle.dump({"Cats": torch.zeros(1, 2, 4).half(), "Dogs": torch.zeros(1, 3, 4).half()}, f)
        assert "Dogs" in self.convert("stats", self.path("ragged.pkl"), "-o", self.path("no.safetensors"), "--hook", self.hook, code=1)
        with open(self.path("nameless.pkl"), "wb") as f:
            pickle.dump({"Cats": torch.zeros(1, 2, 4).half()}, f)
        assert "--hook" in self.convert("stats", self.path("nameless.pkl"), "-o", self.path("no.safetensors"), code=1)
        assert "config.json" in self.convert("folder", self.folder, "-o", self.path("no"), code=1)
        assert "tokenizer" in self.convert("single", self.path("none.pth"), "--config", self.a_copy_without_tokenizer(), "-o", self.path("no"), code=1)
        said = self.convert("folder", self.path("no-tokenizer"), "-o", self.path("no"), code=1)  # found out after the configs were copied
        assert "diffusion_pytorch_model.bin" in said, said
        # files of another kind, folders for files, places that cannot be written, disks that are full
        labels = ["--labels", self.path("labels.txt"), "--heads", "4"]
        config = ["--config", self.a.model]
        with open(os.path.join(self.a.model, UNET), "rb") as f:
            cut = f.read()[:-1000]
        with open(self.path("cut.safetensors"), "wb") as f:
            f.write(cut)
        torch.save({**tensors, "head.bias": tensors["head.bias"].double()}, self.path("double.pth"))
        torch.save(tensors, self.path("good.pth"))
        torch.save({"Cats": {"percentile": math.nan, "multiplier": -1.0}}, self.path("nan-params.pth"))
        with open(self.path("good.pkl"), "wb") as f:
            pickle.dump({"Cats": torch.zeros(4, 50, 300).half()}, f)
        with zipfile.ZipFile(self.path("other.zip"), "w") as z:
            z.writestr("a.txt", "hello")
        inputs = [("folder", "text.pth", []), ("single", "", config), ("classifier", "", labels), ("stats", "", ["--hook", self.hook]), ("params", "", []),
                  ("single", "cut.safetensors", config), ("single", "text.pth", config), ("single", "good.pth", config), ("single", "other.zip", config),
                  ("classifier", "other.zip", labels), ("stats", "good.pth", ["--hook", self.hook]), ("stats", "text.pth", ["--hook", self.hook]),
                  ("params", "text.pth", []), ("params", "nan-params.pth", []), ("classifier", "double.pth", labels),
                  ("classifier", "good.pth", ["--labels", self.path("no-labels"), "--heads", "4"]), ("classifier", "good.pth", [*labels[:3], "-4"])]
        for kind, name, more in inputs:
            said = self.convert(kind, self.path(name), "-o", self.path("no"), *more, code=1)
            assert (name or self.folder) in said or "no-labels" in said, said
        good = [("classifier", "good.pth", labels), ("stats", "good.pkl", ["--hook", self.hook])]
        for kind, name, more in good:
            said = self.convert(kind, self.path(name), "-o", self.path("nowhere/out"), *more, code=1)
            assert "nowhere/out: its folder does not exist" in said, said
            said = self.convert(kind, self.path(name), "-o", self.path("no"), *more, code=1, room=20000)
            assert self.path("no") in said, said
        said = self.convert("stats", self.path("good.pkl"), "-o", self.folder, "--hook", self.hook, code=1)
        assert self.folder in said, said
        old = self.a_copy("index")
        os.remove(os.path.join(old, UNET))
        for index in ("[]", "{}", '{"weight_map": {"a": "../x.bin"}}', '{"weight_map": {"a": "x.bin"}}', "{"):
            with open(os.path.join(old, "unet/diffusion_pytorch_model.bin.index.json"), "w") as f:
                f.write(index)
            assert "index" in self.convert("folder", old, "-o", self.path("no"), code=1) or index.endswith('"x.bin"}}')
        # what three of the messages say to do
        torch.save({k: v.float() for k, v in tensors.items()}, self.path("single.pth"))
        self.convert("classifier", self.path("single.pth"), "-o", self.path("made-1"), *labels)
        assert "name --heads" in self.convert("classifier", self.path("good.pth"), "-o", self.path("no"), *labels[:2], "--heads", "7", code=1)
        self.convert("classifier", self.path("good.pth"), "-o", self.path("made-2"), *labels)
        self.convert("stats", self.path("nameless.pkl"), "-o", self.path("made-3"), "--hook", self.hook)
        left = {n for n in set(os.listdir(self.folder)) - before if n.startswith("no") and n not in ("none.pth", "no-tokenizer")}
        assert not left and not glob.glob(self.path("*.tmp-*")), left
        return f"{14 + len(inputs) + 2 * len(good) + 6} inputs"

    def a_copy_without_tokenizer(self):
        out = self.path("no-tokenizer")
        shutil.copytree(self.a.model, out, ignore=shutil.ignore_patterns("*.safetensors", "sae", "classifier", "vocab.json"))
        return out

    # ---- against StableDiffusionPipeline

    def as_drawn(self):
        from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
        warnings.simplefilter("ignore")
        defaults = inspect.signature(StableDiffusionPipeline.__call__).parameters
        assert defaults["num_inference_steps"].default == 50 and defaults["guidance_scale"].default == 7.5  # of context.c

        # names before diffusers 0.18: this model's VAE has no attention, so another one's
        levels = {"down_block_types": ("DownEncoderBlock2D",), "up_block_types": ("UpDecoderBlock2D",), "block_out_channels": (8,), "norm_num_groups": 4}
        vae, folder = AutoencoderKL(**levels), self.path("old-vae")
        vae.save_pretrained(folder)
        file = os.path.join(folder, os.path.basename(VAE))
        old = {re.sub(r"to_(.)\.", lambda m: {"q": "query.", "k": "key.", "v": "value."}[m[1]], k.replace("to_out.0.", "proj_attn.")): v for k, v in load_file(file).items()}
        assert old.keys() != vae.state_dict().keys()
        save_file(old, file, metadata={"format": "pt"})
        assert all(v.equal(vae.state_dict()[k]) for k, v in AutoencoderKL.from_pretrained(folder).state_dict().items())

        def wrong_positions(tensors):
            return {**tensors, "text_model.embeddings.position_ids": torch.arange(77).flip(0)[None].contiguous()}

        def whole_clip(tensors):
            return {**tensors, "vision_model.embeddings.class_embedding": torch.zeros(4), "visual_projection.weight": torch.zeros(2, 4),
                    "text_projection.weight": torch.zeros(2, 4), "logit_scale": torch.tensor(1.0)}

        def nested(config):
            return {"architectures": ["CLIPModel"], "model_type": "clip", "text_config": config, "vision_config": {"hidden_size": 8}, "projection_dim": 2}

        cases = {"plain": {}, "72 x 88": {"height": 72, "width": 88}, "88 x 80": {"height": 88, "width": 80}, "48 x 136": {"height": 48, "width": 136},
                 "shift_factor": {"vae/config.json": {"shift_factor": 0.25, "latents_mean": [1.0] * 4}},
                 "clip skip": {"text_encoder/config.json": {"num_hidden_layers": 1}}, "position_ids": {TEXT: wrong_positions},
                 "whole CLIPModel": {TEXT: whole_clip, "text_encoder/config.json": nested}}
        worst, before = 0, {}
        for i, (name, changes) in enumerate(cases.items()):
            model = self.a_copy(f"drawn-{i}")
            size = {k: v for k, v in changes.items() if k in ("height", "width")}
            for file in changes.keys() - size.keys():
                path, change = os.path.join(model, file), changes[file]
                if file.endswith(".safetensors"):
                    save_file(change(load_file(path)), path, metadata={"format": "pt"})
                    continue
                with open(path) as f:
                    config = json.load(f)
                assert name != "clip skip" or config["num_hidden_layers"] > 1
                with open(path, "w") as f:
                    json.dump(change(config) if callable(change) else {**config, **change}, f)
            pipe = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, torch_dtype=torch.float32)
            pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
            pipe.set_progress_bar_config(disable=True)
            theirs = np.asarray(pipe(PROMPT, num_inference_steps=6, guidance_scale=5, generator=torch.Generator().manual_seed(5), **size).images[0]).astype(int)
            ours = self.pixels(self.draw(model, f"d{i}.png", "--cfg", "5", *(x for k, v in size.items() for x in ("--" + k, str(v)))))
            apart = np.abs(ours - theirs)
            assert apart.max() <= 1 and (apart > 0).sum() <= max(1, apart.size // 1000), (name, apart.max(), (apart > 0).sum())
            worst, before[name] = max(worst, int((apart > 0).sum())), theirs
        for name in ("shift_factor", "position_ids", "whole CLIPModel"):
            assert (before[name] == before["plain"]).all(), name
        assert (before["clip skip"] != before["plain"]).any()
        return f"{', '.join(cases)}: at most {worst} bytes apart, by one level"

    # ---- schedulers

    def schedulers(self):
        import make
        warnings.simplefilter("ignore")  # diffusers about every one of these files
        betas = {"beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000}
        saved = {
            "PNDM without steps_offset": {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "clip_sample": False, "trained_betas": None},
            "PNDM with steps_offset 0": {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "clip_sample": False, "steps_offset": 0, "set_alpha_to_one": False},
            "DDPM that clips": {"_class_name": "DDPMScheduler", "clip_sample": True, "variance_type": "fixed_small", "steps_offset": 1},
            "Euler": {"_class_name": "EulerDiscreteScheduler", "clip_sample": False, "interpolation_type": "linear", "set_alpha_to_one": False,
                      "steps_offset": 1, "timestep_spacing": "leading", "use_karras_sigmas": True},
            "Euler, from PNDM": {"_class_name": "EulerDiscreteScheduler", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
                                 "skip_prk_steps": True, "timestep_spacing": "linspace"},
            "DPM-Solver, from PNDM": {"_class_name": "DPMSolverMultistepScheduler", "clip_sample": False, "lambda_min_clipped": -math.inf,
                                      "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "linspace"},
            "trailing": {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "trailing"},
            "parallel": {"_class_name": "DDIMParallelScheduler", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1},
            "v-prediction": {"_class_name": "DDIMScheduler", "clip_sample": False, "prediction_type": "v_prediction", "set_alpha_to_one": False, "steps_offset": 1},
        }
        from diffusers import DDIMScheduler
        with tempfile.TemporaryDirectory() as folder:  # what ddim.c says of diffusers where it refuses
            with open(os.path.join(folder, "scheduler_config.json"), "w") as f:
                json.dump({**betas, "_class_name": "PNDMScheduler", "steps_offset": 1}, f)
            from diffusers import PNDMScheduler
            d = DDIMScheduler.from_config(PNDMScheduler.from_pretrained(folder).config)
            assert d.config.clip_sample
            d.set_timesteps(1000)
            assert d.timesteps[0] == len(d.alphas_cumprod)
            d = DDIMScheduler(**betas, timestep_spacing="trailing")
            d.set_timesteps(61)
            assert len(d.timesteps) == 62 and d.timesteps[-1] == -1
        # every class that may be given for another, as it saves Stable Diffusion 1.5's scheduler
        import diffusers
        classes = {n: getattr(diffusers, n) for n in dir(diffusers) if n.endswith("Scheduler") and hasattr(getattr(diffusers, n), "_get_compatibles")}
        alike = sorted(n for n, c in classes.items() if DDIMScheduler in c._get_compatibles() and not n.startswith("CogVideoX"))
        sd15 = {**betas, "_class_name": "PNDMScheduler", "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None, "clip_sample": False}
        model = self.a_copy("scheduler-of-all")
        for name in alike:
            with tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "scheduler_config.json"), "w") as f:
                    json.dump(sd15, f)
                classes[name].from_config(PNDMScheduler.from_pretrained(folder).config).save_pretrained(os.path.join(model, "scheduler"))
            self.saeuron("tokenize", "-m", model, "a cat")
        worst = 0
        for i, (name, config) in enumerate(saved.items()):
            model = self.a_copy(f"scheduler-{i}")
            with open(os.path.join(model, "scheduler/scheduler_config.json"), "w") as f:
                json.dump({**betas, **config}, f)
            with open(os.path.join(model, "model_index.json")) as f:
                index = json.load(f)
            index["scheduler"] = ["diffusers", config["_class_name"]]
            with open(os.path.join(model, "model_index.json"), "w") as f:
                json.dump(index, f)
            _, stock, _ = make.Pipeline(model, torch.float32)({"prompt": PROMPT, "seed": 5, "steps": 6, "forget": []})
            apart = np.abs(self.pixels(self.draw(model, f"s{i}.png")).astype(int) - stock)
            assert apart.max() <= 1 and (apart > 0).sum() <= max(1, apart.size // 1000), (name, apart.max(), (apart > 0).sum())
            worst = max(worst, int((apart > 0).sum()))
        return f"{len(alike)} classes read, {len(saved)} against diffusers, at most {worst} bytes of {apart.size} apart, by one level"

    def run(self, name, f):
        try:
            print(f"ok   {name}: {f()}", flush=True)
        except AssertionError as e:
            self.failed += 1
            print(f"FAIL {name}: {e}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=os.path.join(ROOT, "weights", "emojicanvas"))
    p.add_argument("--saeuron", default=os.path.join(ROOT, "saeuron"))
    p.add_argument("--only", help="one check by its name")
    a = p.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        c = Check(a, folder)
        checks = {"folder": c.folder_, "single": c.single, "classifier": c.classifier, "stats": c.stats, "params": c.params, "hostile": c.hostile,
                  "damaged": c.damaged, "precedence": c.precedence, "single_types": c.single_types, "as_drawn": c.as_drawn, "schedulers": c.schedulers}
        chosen = {n: f for n, f in checks.items() if a.only in (None, n)}
        for name, f in chosen.items():
            c.run(name, f)
        print(f"{len(chosen) - c.failed} passed, {c.failed} failed")
        return 1 if c.failed else 0


if __name__ == "__main__":
    sys.exit(main())
