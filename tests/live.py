#!/usr/bin/env python3
"""Whole images, live: ./saeuron against unmodified diffusers on prompts drawn from the caption templates by the day's date.

    live.py [--date YYYY-MM-DD] [--count 6] [--model weights/emojicanvas] [--saeuron ./saeuron]

Prompts, seeds, what is forgotten and every third picture's size, which is not square, follow from the date alone, so a failure
of CI is repeated with its --date. The steps and the guidance are the model's own. Bar (docs/contract.md, section 9): every byte within one level, at most 0.1 % of them
apart; except where a TopK or threshold decision at a hook is closer than float32 can tell, which is listed with its margin.
Forgetting in diffusers is a forward hook, written again in golden/make.py from docs/method.md.

Then what `collect` and `stats` write, of both hooks and two concepts of unequal numbers of prompts drawn alike, against forward hooks of
the same pipeline and the SAE of golden/make.py in PyTorch. Truth is float64; our distance from it may be what section 9 allows beside
PyTorch's own in float32, which here is that of one run of 50 guided steps: see `bars`."""

import argparse
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "golden"))
import make  # noqa: E402


def draw(concepts, date, count):
    """count cases: captions with and without a style, and in turn nothing, a style, an object and both forgotten."""
    rng = random.Random(date)
    styles, objects = (concepts["domains"][d]["concepts"] for d in ("style", "object"))
    for i in range(count):
        style, thing = rng.choice(styles), rng.choice(objects)
        forget = [[], [style], [thing], [style, thing]][i % 4]
        template = concepts["templates"]["styled" if rng.random() < 0.8 or style in forget else "plain"]
        case = {"prompt": template.format(object=thing, style=style.replace("_", " ")), "seed": rng.randrange(2 ** 32), "forget": forget}
        if i % 3 == 2:  # of multiples of 16, the least side for three levels and a VAE of factor 4: odd ones among them
            case["size"] = rng.choice([(64, 96), (96, 64), (48, 80), (112, 48), (16, 80)])
        yield case


def ours(a, case, path):
    command = [a.saeuron, "generate", "-m", a.model, "-p", case["prompt"], "--seed", str(case["seed"]), "-o", path, "--quiet"]
    if case["forget"]:
        command += ["--forget", ",".join(case["forget"])]
    if "size" in case:
        command += ["--height", str(case["size"][0]), "--width", str(case["size"][1])]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with Image.open(path) as image:
        assert image.text["size"] == f"{image.width}x{image.height}" and image.size[::-1] == case.get("size", image.size[::-1]), image.text["size"]
        return np.asarray(image.convert("RGB")).astype(int)


def record(pipeline, prompts, noise, hooks):
    """Conditional halves of the hooks' outputs, [prompts, steps, N, d] each, float64; unmodified diffusers samples."""
    seen = {h: [] for h in hooks}
    handles = [pipeline.pipe.unet.get_submodule(h).register_forward_hook(
        lambda m, i, o, h=h: seen[h].append(make.channels_last(o[0].chunk(2)[1]).flatten(1, 2).double())) for h in hooks]
    with make.torch.no_grad():
        pipeline.pipe(prompts, latents=noise.to(pipeline.dtype), num_inference_steps=pipeline.concepts["steps"],
                      guidance_scale=pipeline.concepts["guidance"], output_type="latent")
    for h in handles:
        h.remove()
    return {h: make.torch.stack(v, 1) for h, v in seen.items()}


def means(sae, maps, counts):
    """[T, n] a concept: latents averaged over tokens, then over the concept's prompts."""
    latents = []
    for prompt in maps:
        f = make.torch.zeros(*prompt.shape[:2], sae.bias.shape[0], dtype=make.torch.float64)
        for t, x in enumerate(prompt):
            idx, val = sae.encode(x.to(sae.bias.dtype))
            f[t].scatter_(-1, idx, val.double())
        latents.append(f.mean(1))
    return [make.torch.stack(part).mean(0) for part in make.torch.stack(latents).split(counts)]


def bars(name, ours, stock, truth):
    """True when ours is as near the truth as contract 9 asks beside stock; prints both distances, relative to the truth's size."""
    size, top = truth.square().mean().sqrt(), truth.abs().max()
    near, far = (make.torch.stack([(x - truth).square().mean().sqrt(), (x - truth).abs().max()]) for x in (ours, stock))
    floor = make.torch.tensor([1.0, 1.0], dtype=make.torch.float64) * top * 2.0 ** -23
    good = bool((near <= make.torch.tensor([1.5, 2.0], dtype=make.torch.float64) * far + floor).all())
    print(f"{'ok' if good else 'FAILED'}: {name}: distance from float64 {near[0] / size:.1e} (largest {near[1] / top:.1e}), PyTorch's {far[0] / size:.1e} ({far[1] / top:.1e})", flush=True)
    return good


def recordings(a, pipeline, folder):
    """`collect` and `stats` against PyTorch; returns how many comparisons failed."""
    from safetensors.numpy import load_file
    torch = make.torch
    rng = random.Random("record" + a.date)
    hooks = [pipeline.concepts["domains"][d]["hook"] for d in ("object", "style")]
    counts, seed = [2, 1], rng.randrange(2 ** 32)
    names = rng.sample(pipeline.concepts["domains"]["object"]["concepts"], 2)
    concepts = {n: rng.sample(pipeline.concepts["calibration"][n], k) for n, k in zip(names, counts)}
    prompts = [line for lines in concepts.values() for line in lines]
    paths = {n: os.path.join(folder, n) for n in ("prompts.txt", "concepts.json", "acts")}
    with open(paths["prompts.txt"], "w") as f:
        f.write("\n".join(prompts))
    with open(paths["concepts.json"], "w") as f:
        json.dump(concepts, f)
    run = [a.saeuron, "collect", "-q", "-m", a.model, "--seed", str(seed), "--prompts", paths["prompts.txt"], "-o", paths["acts"]]
    subprocess.run(run + [x for h in hooks for x in ("--hook", h)], check=True, stdout=subprocess.DEVNULL)
    noise = torch.randn(len(prompts), 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    stock = record(pipeline, prompts, noise, hooks)
    truth = record(make.Pipeline(a.model, torch.float64), prompts, noise.double(), hooks)
    failed = 0
    for hook in hooks:
        acts = torch.from_numpy(load_file(os.path.join(paths["acts"], hook + ".safetensors"))["activations"]).double().view(truth[hook].shape)
        failed += not bars(f"activations of {hook}, seed {seed}", acts, stock[hook], truth[hook])
        out = os.path.join(folder, "stats.safetensors")
        subprocess.run([a.saeuron, "stats", "-q", "-m", a.model, "--seed", str(seed), "--hook", hook, "--concepts", paths["concepts.json"], "-o", out],
                       check=True, stdout=subprocess.DEVNULL)
        mu = load_file(out)
        both = [means(make.Unlearning(a.model, hook, [], dtype).sae, maps[hook], counts) for maps, dtype in ((stock, torch.float32), (truth, torch.float64))]
        for i, name in enumerate(concepts):
            failed += not bars(f"statistics of {name} at {hook}", torch.from_numpy(mu[name]).double(), both[0][i], both[1][i])
    return failed


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--date", default=datetime.date.today().isoformat())
    p.add_argument("--count", type=int, default=6)
    p.add_argument("--model", default=os.path.join(HERE, "..", "weights", "emojicanvas"))
    p.add_argument("--saeuron", default=os.path.join(HERE, "..", "saeuron"))
    a = p.parse_args()
    pipeline = make.Pipeline(a.model, make.torch.float32)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for i, case in enumerate(draw(pipeline.concepts, a.date, a.count)):
            _, stock, decisions = pipeline(case)
            apart = np.abs(ours(a, case, os.path.join(folder, f"{i}.png")) - stock)
            many, most, margin = int((apart > 0).sum()), int(apart.max()), min((d[1] for d in decisions), default=float("inf"))
            good = most <= 1 and many <= apart.size // 1000
            verdict = "ok" if good else "listed" if margin < make.LEAST_MARGIN else "FAILED"
            failed += verdict == "FAILED"
            told = f", smallest margin of a decision {margin:.1e}" if case["forget"] else ""
            print(f"{verdict}: {case['prompt']} seed {case['seed']} forget {','.join(case['forget']) or 'nothing'}"
                  f"{' {}x{}'.format(*case['size']) if 'size' in case else ''}: "
                  f"{many} of {apart.size} bytes differ, at most by {most}{told}", flush=True)
        bad = recordings(a, pipeline, folder)
    print(f"{a.date}: {a.count - failed} of {a.count} within the bar; of collect and stats {bad} comparisons failed")
    failed += bad
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
