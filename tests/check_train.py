#!/usr/bin/env python3
"""Training, live: ./saeuron collect, train and measure beside PyTorch on the same activations, from the same start.

    check_train.py [--model weights/emojicanvas] [--saeuron ./saeuron] [--date YYYY-MM-DD] [--prompts 12] [--every 5]

Activations of a few prompts, drawn by the day, are collected at the hook of each domain. An SAE is trained on each by the program, and by golden/make.py's
`Training` (torch's autograd and Adam, the released step) in float64 and four times in float32, which draw the same start and take the maps in
the same order by docs/contract.md section 6 alone; within a batch each of the four has the rows in another order, so that its sums round otherwise.
FVU, dead latents and all else that train.tsv holds must then lie as near to float64 as PyTorch's own runs do, by the bars of section 9, down to the first step at which a TopK decision lies closer than float32 can tell: from there on
runs may part, PyTorch's too, and must stay within 2 % of one another. The folder is read by the safetensors library; `measure` is counted again in float64. The
last line is "N passed, N failed"."""

import argparse
import csv
import datetime
import json
import math
import os
import random
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "golden")]
import make  # noqa: E402
import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

CASES = (({"batch_topk": True}, []),
         ({"multi_topk": True, "released_auxk": True}, ["--topk", "token", "--multi-topk", "--auxk", "released"]))
COLUMNS = {"loss": "loss", "fvu": "fvu", "auxk": "auxk", "multi": "multi", "explained_variance": "explained", "explained_variance_deviation": "explained_dev",
           "l0": "l0", "gradient_norm": "grad_norm"}
results = {True: 0, False: 0}


def check(good, text):
    results[bool(good)] += 1
    print(f"{'ok  ' if good else 'FAIL'} {text}", flush=True)


def saeuron(a, *arguments):
    done = subprocess.run([a.saeuron, *map(str, arguments)], capture_output=True, text=True, env={**os.environ, "GOMP_SPINCOUNT": "1000"})
    if done.returncode:
        raise SystemExit(f"saeuron {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def collect(a, folder, rng):
    """{hook: file}: maps of a few prompts."""
    with open(os.path.join(a.model, "concepts.json")) as f:
        domains = json.load(f)["domains"]
    lines = [f"An image of {rng.choice(list(domains['object']['concepts']))} in {rng.choice(list(domains['style']['concepts']))} style." for _ in range(a.prompts)]
    with open(os.path.join(folder, "prompts.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    paths = {d["hook"]: os.path.join(folder, d["hook"] + ".safetensors") for d in domains.values()}
    for hook, path in paths.items():
        saeuron(a, "collect", "-q", "-m", a.model, "--hook", hook, "--prompts", os.path.join(folder, "prompts.txt"), "--every", a.every, "-o", path)
    return paths


def shuffled(n, seed):
    """The order of an epoch: contract 6."""
    order, numbers = list(range(n)), make.value(seed, make.hash_text("shuffle"), n)
    for i in range(n - 1, 0, -1):
        j = (int(numbers[i]) >> 32) * (i + 1) >> 32
        order[i], order[j] = order[j], order[i]
    return order


def start(cfg, seed, first):
    n, d = cfg["n"], cfg["d"]
    weight = torch.from_numpy(make.symmetric("encoder.weight", n * d, 1 / math.sqrt(d), seed).reshape(n, d))
    unit = weight.double() / (weight.double().norm(dim=1, keepdim=True) + torch.finfo(torch.float32).eps)
    return {"encoder.weight": weight, "encoder.bias": torch.zeros(n), "W_dec": unit.float(), "b_dec": make.geometric_median(first.double()).float()}


def train_here(cfg, case, batches, seed, dtype):
    """What train.tsv should hold, a row a step; and the parameters at the end."""
    t, rows = make.Training(cfg, case, start(cfg, seed, batches[0]), torch.zeros(cfg["n"], dtype=torch.long), dtype), []
    for x in batches:
        t.step(x)
        rows.append({**{k: float(v.detach()) for k, v in t.report.items()}, **t.integers, "margin": t.margin})
    return rows, {k: v.detach().double().numpy() for k, v in t.p.items()}


def table(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f, delimiter="\t"))


def far(rows, exact, key):
    """Root mean square and largest difference down the steps of rows."""
    e = np.array([r[key] - t[key] for r, t in zip(rows, exact)] or [0.0])
    return np.array([math.sqrt(np.mean(e * e)), np.abs(e).max()])


def rms(a, b):
    return float(np.sqrt(np.mean((a.astype(np.float64) - b) ** 2))) if a.size else 0.0


def compare(a, name, path, case, options, folder, rng):
    with safe_open(path, "np") as f:
        maps = torch.from_numpy(f.get_tensor("activations").astype(np.float32))
    rows, N, d = maps.shape
    seed, size, epochs = rng.randrange(1 << 31), 4, 2
    cfg = {"d": d, "n": 6 * d, "k": 10, "batch": size * N, "lr": 1e-3, "auxk_alpha": 1 / 32, "dead_threshold": 12 * size * N, "steps": rows // size * epochs}
    out = os.path.join(folder, name)
    saeuron(a, "train", "-q", "--data", path, "-o", out, "--latents", cfg["n"], "--k", cfg["k"], "--batch", cfg["batch"], "--lr", cfg["lr"], "--epochs", epochs,
            "--dead-feature-threshold", cfg["dead_threshold"], "--seed", seed, "--log-every", 1, "--threads", 2, *options)

    order = shuffled(rows, seed)
    one = [maps[order[i:i + size]].reshape(-1, d) for i in range(0, rows, size)]
    exact, last = train_here(cfg, case, one * epochs, seed, torch.float64)
    torches = [train_here(cfg, case, [x[np.random.default_rng(i).permutation(len(x))] for x in one * epochs], seed, torch.float32) for i, _ in enumerate(make.four_ways())]
    mine = [{**{ours: float(r[column]) for column, ours in COLUMNS.items()}, "dead": int(r["dead"]), "fired": int(r["fired"]), "lr": float(r["lr"])} for r in table(os.path.join(out, "train.tsv"))]
    check(len(mine) == len(exact), f"{name}: {len(mine)} steps in train.tsv, {len(exact)} here")
    check(all(abs(r["lr"] - cfg["lr"] * max(0, (cfg["steps"] - s) / cfg["steps"])) < 1e-12 for s, r in enumerate(mine)), f"{name}: the learning rates")
    told = sum(r["margin"] >= make.LEAST_SHARE for r in exact)  # steps whose decisions, and all before, float32 can tell
    for key in COLUMNS.values():
        its = np.max([far(t[:told], exact, key) for t, _ in torches], axis=0)
        ours = far(mine[:told], exact, key)
        floor = make_floor(max(abs(r[key]) for r in exact))
        rest = max((abs(r[key] - t[key]) / max(abs(t[key]), 1e-3) for r, t in zip(mine[told:], exact[told:])), default=0.0)
        check((ours <= floor + 4 * its).all() and rest < 0.02, f"{name}: {key} down {told} steps: rms {ours[0]:.1e}, largest {ours[1]:.1e} from float64; PyTorch {its[0]:.1e}, {its[1]:.1e}; "
              f"in the others within {rest:.1e} of it")
    for key in ("dead", "fired"):
        every = np.array([[r[key] for r in t] for t in (exact, *(t for t, _ in torches))])
        low, high, x = every.min(0), every.max(0), np.array([r[key] for r in mine])
        room = np.where(np.arange(len(x)) < told, high - low, cfg["n"] // 50)
        check(((x >= low - room) & (x <= high + room)).all(), f"{name}: {key}: up to {x.max()}, at the end {x[-1]}; PyTorch {low[-1]} to {high[-1]}")

    tensors = load_file(os.path.join(out, "sae.safetensors"))
    begun = start(cfg, seed, one[0])
    for key in make.TENSORS:
        floor, moved = make_floor(float(np.abs(last[key]).max())), rms(begun[key].numpy(), last[key])
        room = 0.02 * moved if told < len(exact) else 0
        # Where a derivative is all rounding, Adam makes a whole step of it: float32 does not tell these few.
        untold = np.max([np.abs(p[key] - last[key]) for _, p in torches], axis=0) > 32 * floor
        for part, where, allowed in (("", ~untold, lambda x: max(1.5 * x, floor)), (", untold", untold, lambda x: floor + 4 * x)):
            its, ours = max(rms(p[key][where], last[key][where]) for _, p in torches), rms(tensors[key][where], last[key][where])
            check(ours <= max(allowed(its), room) and (room or part == "" or where.sum() < 1000), f"{name}: {key}{part}, {where.sum()} by safetensors: rms {ours:.1e} from float64; "
                  f"PyTorch {its:.1e}; training moved it by {moved:.1e}")
    with open(os.path.join(out, "cfg.json")) as f:
        kept = json.load(f)
    check(sorted(tensors) == sorted(make.TENSORS) and kept["d_in"] == d and kept["k"] == cfg["k"] and kept["num_latents"] == cfg["n"], f"{name}: cfg.json and the tensors' names")

    measured = json.loads(saeuron(a, "measure", out, "--data", path, "--json", "-q"))
    sae = make.Sae(cfg["k"], {k: torch.from_numpy(v) for k, v in tensors.items()}, torch.float64)
    x = maps.reshape(-1, d).double()
    f, _ = sae.encode(x)
    fvu = float((sae.decode(f) - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum())
    check(abs(measured["fvu"] - fvu) < 1e-5 * fvu, f"{name}: measure's FVU {measured['fvu']:.6f}, in float64 {fvu:.6f}")
    check(abs(measured["l0"] - float((f > 0).sum(1).double().mean())) < 1e-3, f"{name}: measure's L0 {measured['l0']:.3f}")
    check(measured["dead"] == int((f == 0).all(0).sum()), f"{name}: measure's dead latents {measured['dead']}")

    kept.update(activation="groupmax", k=8)  # as sparsify's fused_encoder: the largest of each of k groups
    with open(os.path.join(out, "cfg.json"), "w") as g:
        json.dump(kept, g)
    measured = json.loads(saeuron(a, "measure", out, "--data", path, "--json", "-q"))
    z = sae.pre(x)
    values, places = z.unflatten(1, (8, -1)).max(-1)
    f = torch.zeros_like(z).scatter(1, places + cfg["n"] // 8 * torch.arange(8), values)
    fvu = float((sae.decode(f) - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum())
    check(abs(measured["fvu"] - fvu) < 1e-5 * fvu, f"{name}: measure's FVU with groupmax {measured['fvu']:.6f}, in float64 {fvu:.6f}")


def make_floor(largest):
    """One float32 ulp of the largest magnitude."""
    return 2.0 ** (math.frexp(largest)[1] - 24) if largest else 0.0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=os.path.join(HERE, "..", "weights", "emojicanvas"))
    p.add_argument("--saeuron", default=os.path.join(HERE, "..", "saeuron"))
    p.add_argument("--date", default=datetime.date.today().isoformat())
    p.add_argument("--prompts", type=int, default=12)
    p.add_argument("--every", type=int, default=5)
    a = p.parse_args()
    rng = random.Random(a.date)
    print(f"--date {a.date}")
    with tempfile.TemporaryDirectory() as folder:
        for hook, path in collect(a, folder, rng).items():
            for i, (case, options) in enumerate(CASES):
                compare(a, f"{hook}.{i}", path, case, options, folder, rng)
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())
