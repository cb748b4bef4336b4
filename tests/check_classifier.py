#!/usr/bin/env python3
"""The classifier, live: classifier.c against Pillow, vit.c against timm, on sizes drawn by the day's date.

    check_classifier.py [--date YYYY-MM-DD] [--sizes 600] [--networks 12]

Resized bytes must equal Pillow's for every pair of sizes drawn. Networks of drawn sizes are saved by timm itself, hash-filled, and their
logits must lie as near to timm's in float64 as docs/contract.md section 9 asks. Everything follows from the date alone, so a failure
of CI is repeated with its --date. They are built with $CC (gcc) as check_twin.py builds them. The last line is "N passed, N failed"."""

import argparse
import ctypes
import datetime
import json
import math
import os
import random
import sys
import tempfile

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "golden")]
import check_twin  # noqa: E402
import make  # noqa: E402
import torch  # noqa: E402

SIZE = ctypes.c_size_t


def draw_side(rng):
    """Mostly small, some that matter."""
    return rng.choice((1, 2, 3, 16, 64, 224, 299, 512)) if rng.random() < 0.25 else rng.randint(1, rng.choice((9, 40, 150, 700)))


def resizes(c, rng, count):
    """How many of count pairs of sizes give Pillow's bytes; says which do not."""
    good = 0
    for i in range(count):
        W, H, w, h = (draw_side(rng) for _ in range(4))
        w, h = W if rng.random() < 0.1 else w, H if rng.random() < 0.1 else h
        if i % 3 == 0:  # as a classifier resizes: to a square
            h = w
        x = make.picture(f"check.{i}", H, W)
        if i % 5 == 0:
            x = np.where(x > 127, 255, 0).astype(np.uint8)
        y = np.empty((h, w, 3), np.uint8)
        c.lib.resize_bilinear(ctypes.byref(c.c), check_twin.pointer(y), SIZE(w), SIZE(h), check_twin.pointer(x), SIZE(W), SIZE(H))
        apart = int((y != np.asarray(Image.fromarray(x).resize((w, h), Image.Resampling.BILINEAR))).sum())
        if apart:
            print(f"FAIL {W} x {H} to {w} x {h}: {apart} of {y.size} bytes are not Pillow's")
        good += not apart
    return good


def draw_network(rng):
    heads = rng.choice((1, 2, 3, 4))
    patch = rng.randint(2, 9)
    args = {"img_size": rng.randint(patch, 40), "patch_size": patch, "embed_dim": heads * rng.choice((8, 11, 16, 40)), "depth": rng.randint(1, 3), "num_heads": heads,
            "mlp_ratio": rng.choice((1.0, 2.5, 4.0, 3.3)), "qkv_bias": rng.random() < 0.7, "num_classes": rng.choice((20, 51, 130))}
    args["global_pool"] = rng.choice(("token", "avg"))
    if rng.random() < 0.4:
        args["fc_norm"] = rng.random() < 0.5
    if args["global_pool"] == "avg":
        args["class_token"] = rng.random() < 0.5
    return args


@torch.no_grad()
def network(c, rng, folder):
    """One network: what it was, and whether its logits are good."""
    timm, args, B = make.import_timm(), draw_network(rng), 3
    W, H = (args["img_size"],) * 2 if rng.random() < 0.3 else (rng.randint(1, 90), rng.randint(1, 90))
    net = make.hash_fill(timm.create_model("vit_tiny_patch16_224", **args)).half().float()
    half = rng.random() < 0.5
    timm.models.save_for_hf(net.half() if half else net, folder, safe_serialization=True,
                            data_config={"interpolation": "bilinear", "crop_pct": 1.0, "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.3]})
    net = net.float()
    with open(os.path.join(folder, "config.json")) as f:
        cfg = json.load(f)
    pictures = np.stack([make.picture(f"check.{W}x{H}.{i}", H, W) for i in range(B)])
    handle, y, error = ctypes.c_void_p(), np.empty((B, args["num_classes"]), np.float32), ctypes.create_string_buffer(1024)
    code = c.lib.saeuron_classifier_open(ctypes.byref(handle), None, folder.encode(), error)
    if not code:
        code = c.lib.saeuron_classify(handle, check_twin.pointer(pictures), SIZE(B), SIZE(W), SIZE(H), check_twin.pointer(y), error)
        c.lib.saeuron_classifier_close(handle)
    told = f"{args}, pictures of {W} x {H}, {'F16' if half else 'F32'}"
    if code:
        return False, f"{told}: {error.raw[4:].split(bytes(1))[0].decode()}"
    golden, x = make.Golden("check"), make.preprocess(cfg, pictures)
    both = make.in_both(net)
    golden.measure(lambda dtype: {"y": both[dtype](x.to(dtype))})
    truth, its = golden.tensors["y"], golden.tensors["y.distance"]
    e, floor = np.abs(y - truth), float(np.spacing(np.float32(np.abs(truth).max())))
    mine, bars = (math.sqrt(np.mean(e * e)), e.max()), (floor + 4 * its[0], floor + 4 * its[1])  # always fewer than 1,000
    return mine[0] <= bars[0] and mine[1] <= bars[1], f"{told}: rms {mine[0]:.1e} of {bars[0]:.1e}, max {mine[1]:.1e} of {bars[1]:.1e}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--date", default=datetime.date.today().isoformat())
    p.add_argument("--sizes", type=int, default=600)
    p.add_argument("--networks", type=int, default=12)
    a = p.parse_args()
    rng = random.Random(a.date)
    print(f"--date {a.date}")
    with tempfile.TemporaryDirectory() as folder:
        c = check_twin.Comparison(check_twin.build(folder))
        passed = resizes(c, rng, a.sizes)
        failed = a.sizes - passed
        print(f"{passed} of {a.sizes} pairs of sizes give Pillow's bytes", flush=True)
        for i in range(a.networks):
            with tempfile.TemporaryDirectory() as at:
                good, told = network(c, rng, at)
            print(f"{'ok  ' if good else 'FAIL'} {told}", flush=True)
            passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
