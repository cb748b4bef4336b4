#!/usr/bin/env python3
"""Whole images, live: ./saeuron against unmodified diffusers on prompts drawn from the caption templates by the day's date.

    live.py [--date YYYY-MM-DD] [--count 6] [--model weights/emojicanvas] [--saeuron ./saeuron]

Prompts, seeds, what is forgotten and every third picture's size, which is not square, follow from the date alone, so a failure
of CI is repeated with its --date. The steps and the guidance are the model's own. Bar (docs/contract.md, section 9): every byte within one level, at most 0.1 % of them
apart; except where a TopK or threshold decision at a hook is closer than float32 can tell, which is listed with its margin.
Forgetting in diffusers is a forward hook, written again in golden/make.py from docs/method.md."""

import argparse
import datetime
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
    print(f"{a.date}: {a.count - failed} of {a.count} within the bar")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
