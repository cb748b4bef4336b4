#!/usr/bin/env python3
"""costs.py: what the paper's recipe costs, reckoned from measurements on this machine: the tables of docs/scale.md.

    python docs/costs.py [--saeuron ./saeuron] [--write]      measures (needs NumPy, 3 GB of memory, some minutes) and prints
    python docs/costs.py --kept [--write | --check]           prints, writes or checks the tables from docs/costs.json, without measuring

Measured is one core's work for each part at Stable Diffusion 1.5's size, on hash-filled weights (`saeuron bench --synthetic
sd15 --threads 1`), and for training an SAE of 1280 x 20,480 with BatchTopK on made-up activations (`saeuron train --threads 1`, the data of
tests/bench_sae.py). Seconds are the processor's, so that a busy neighbour counts little; each is the difference of two runs
that differ by the part alone. --write puts measurements into docs/costs.json and tables between the markers of docs/scale.md.

The recipe (arXiv 2501.18052, docs/scale.md): 83,200 prompts of 50 guided steps, seen by both hooks in one pass; an SAE a hook, 5 epochs
for objects and 10 for styles; statistics of 50 styles x 20 and 20 objects x 80 prompts, 100 steps; the table's images, 100 steps
each while forgetting, and a decode; the sweep for the objects' pairs. Not in it: images without forgetting in the sweep, the classifiers."""
import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
KEPT, PAGE = os.path.join(HERE, "costs.json"), os.path.join(HERE, "scale.md")
BEGIN, END = "<!-- docs/costs.py writes from here -->\n", "<!-- to here -->\n"

PROMPTS, COLLECTED, TOKENS = 83200, 50, 256  # prompts, steps a prompt, tokens a map
EPOCHS = {"objects": 5, "styles": 10}
STEPS = 100  # of statistics and images
STATISTICS = {"objects": 20 * 80, "styles": 50 * 20}  # prompts
TABLE = {"styles": 51 * (20 * 50 + 20) * 5, "objects": 20 * (20 * 50 + 20) * 5}  # images: (forgotten, and none) x places x seeds
SWEEP = 20 * (3 * 7 * (51 + 40) + 3 * 1020 * 2)  # images: pairs x (places of stage one), the best three x all places x two seeds
MACHINE = 16  # cores that one SAE's training has, at most
CORES = (1, 16, 1000)


# ---- measuring ----

def cpu(*command):
    """The processor's seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GOMP_SPINCOUNT": "1000"})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{' '.join(command)}: {after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime:.1f} s", file=sys.stderr, flush=True)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def part(program, name, more):
    """The processor's seconds of one run of bench's row: `more` runs of it less one."""
    once, many = (cpu(program, "bench", "--synthetic", "sd15", "--threads", "1", "--only", name, "--runs", str(runs), "--json")[0] for runs in (1, 1 + more))
    return (many - once) / more


def training(program):
    """The processor's seconds a token."""
    sys.path.insert(0, os.path.join(ROOT, "tests"))
    import bench_sae
    folder = tempfile.mkdtemp(prefix="saeuron-costs-")
    try:
        data = os.path.join(folder, "activations.safetensors")
        bench_sae.save(data, bench_sae.activations(bench_sae.BATCHES))
        a = argparse.Namespace(saeuron=program, threads=1, dir=folder)
        return 1 / bench_sae.ours(a, "batch_topk", data)[1]
    finally:
        shutil.rmtree(folder)


def measure(program):
    return {"text": part(program, "text_encoder", 20), "step": part(program, "unet_step", 1), "forgetting step": part(program, "unet_forget", 1),
            "decode": part(program, "vae_decode", 1), "trained token": training(program), "processor": processor()}


def processor():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown")


# ---- the tables ----

def duration(seconds):
    for unit, size in (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{1 if seconds < 10 * size else 0}f} {unit}"
    return f"{seconds:.3g} s"


def recipe(m):
    """[(what, core-seconds, the most cores that can share it)]."""
    maps = PROMPTS * COLLECTED
    image = 2 * m["text"] + STEPS * m["forgetting step"] + m["decode"]
    return [(f"activations of both hooks: {PROMPTS:,} prompts, {COLLECTED} steps", PROMPTS * (2 * m["text"] + COLLECTED * m["step"]), PROMPTS),
            *((f"the SAE for {k}: {e} epochs of {maps * TOKENS:,} tokens", e * maps * TOKENS * m["trained token"], MACHINE) for k, e in EPOCHS.items()),
            *((f"statistics for {k}: {p:,} prompts, {STEPS} steps", p * (2 * m["text"] + STEPS * m["step"]), 20 if k == "objects" else 50) for k, p in STATISTICS.items()),
            (f"the sweep of the objects' pairs: {SWEEP:,} images", SWEEP * image, SWEEP),
            *((f"the table of {k}: {n:,} images, {STEPS} steps", n * image, n) for k, n in TABLE.items())]


def tables(m):
    step = 2 * m["text"] + COLLECTED * m["step"]
    lines = [f"Measured on one core of: {m['processor']}.", "", "| | core-seconds |", "|---|---|",
             f"| a guided step (two samples), 64 x 64 latents | {m['step']:.3g} |",
             f"| the same, forgetting two latents at each of two hooks | {m['forgetting step']:.3g} |",
             f"| a prompt's text | {m['text']:.3g} |",
             f"| a decode to 512 x 512 | {m['decode']:.3g} |",
             f"| an image of {STEPS} steps, forgetting | {2 * m['text'] + STEPS * m['forgetting step'] + m['decode']:.4g} |",
             f"| a token collected (a map has {TOKENS}; another hook in the same pass costs nothing) | {step / (COLLECTED * TOKENS):.3g} |",
             f"| a token trained on, once (1280 x 20,480, k = 32, BatchTopK) | {m['trained token']:.3g} |", "",
             "| the paper's recipe | " + " | ".join(f"{c:,} core{'s' if c > 1 else ''}" for c in CORES) + " |", "|---|" + "---|" * len(CORES)]
    total = [0.0] * len(CORES)
    for what, seconds, most in recipe(m):
        times = [seconds / min(c, most) for c in CORES]
        total = [a + b for a, b in zip(total, times)]
        lines.append(f"| {what} | " + " | ".join(map(duration, times)) + " |")
    lines.append("| all, one after the other | " + " | ".join(map(duration, total)) + " |")
    return "\n".join(lines) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--saeuron", default=os.path.join(ROOT, "saeuron"))
    p.add_argument("--kept", action="store_true")
    p.add_argument("--write", action="store_true")
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    with open(PAGE) as f:
        page = f.read()
    head, rest = page.split(BEGIN)
    old, tail = rest.split(END)
    if a.kept and not os.path.exists(KEPT):
        print("nothing was measured yet: make costs")
        return 1 if old or not a.check else 0
    if a.kept:
        with open(KEPT) as f:
            m = json.load(f)
    else:
        m = measure(a.saeuron)
        if a.write:
            with open(KEPT, "w") as f:
                json.dump(m, f, indent=1)
                f.write("\n")
    text = tables(m)
    if a.write:
        with open(PAGE, "w") as f:
            f.write(head + BEGIN + text + END + tail)
    if a.check and old != text:
        raise SystemExit("docs/scale.md: its tables are not those of docs/costs.json: python docs/costs.py --kept --write")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
