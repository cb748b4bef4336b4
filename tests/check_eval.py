#!/usr/bin/env python3
"""Evaluations counted again by other hands: ./saeuron eval against plain Python on its predictions.tsv, scipy's intervals, timm's and
diffusers' answers.

    check_eval.py [--model weights/emojicanvas] [--saeuron ./saeuron] [--seed 288] [--steps 4] [--sample 3] [--folder DIR]

Every protocol, cut to three objects, is run on few steps: the pictures are poor, which makes the answers various. UA, IRA, CRA,
CRA_own are then counted here as docs/method.md words them, not by the protocol's rules; every interval is found from its definition by scipy's
optimize, of one class by scipy's Wilson. The style and object that ./saeuron says a picture shows are what timm says of the PNG; --sample pictures at the model's own steps are drawn again by
diffusers, forgetting as golden/make.py writes it, and must lie within one level of ours and be told alike. With --folder an
evaluation that is there is recounted, and nothing is drawn.
The last line is "N passed, N failed"."""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from scipy.linalg import sqrtm
from scipy.optimize import brentq
from scipy.stats import binomtest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "golden"))
PLAIN = "Seed_Images"
OBJECTS, STYLE, OBJECT = ("Cats", "Flame", "Towers"), "Mosaic", "Flame"  # places of these; what is forgotten
NAMES = "UA", "IRA", "CRA", "CRA_own"
results = {True: 0, False: 0}


def check(good, text):
    results[bool(good)] += 1
    if not good:
        print(f"FAIL {text}", flush=True)


# ---- counting ----

def lower(w, v, n):
    """The theta below the mean w v that lies 1.96 standard deviations away, the shares p being the likeliest with mean theta: those for
    which the slope of the likelihood, m (v - p) / (p (1 - p)) / w, is one number for all classes."""
    m, mean = n - 1 + w, w @ v
    if mean == 0:
        return 0.0

    def shares(slope):
        b = 1 + slope * w / m
        return 2 * v / (b + np.sqrt(b * b - 4 * (b - 1) * v))

    def apart(theta):
        slope = np.exp(brentq(lambda t: w @ shares(np.exp(t)) - theta, -20, 40, xtol=1e-13))
        p = shares(slope)
        return (mean - theta) / np.sqrt(w * w @ (p * (1 - p) / m)) - 1.959963984540054

    return brentq(apart, mean * 1e-9, mean * (1 - 1e-7), xtol=1e-12)


def interval(parts):
    """(value, low, high) of [(weight, right answers, pictures)]."""
    w, right, n = np.array(parts, float).T
    w = w / w.sum()
    value, low, high = w @ (right / n), lower(w, right / n, n), 1 - lower(w, 1 - right / n, n)
    if len(parts) == 1:
        c = binomtest(int(right[0]), int(n[0])).proportion_ci(0.95, "wilson")
        assert abs(c.low - low) < 1e-7 and abs(c.high - high) < 1e-7, (c, low, high)
    return value, low, high


def mean_of(numbers):
    """The mean of [(weight, parts)], as parts."""
    return [(weight * w / sum(p[0] for p in parts), right, n) for weight, parts in numbers for w, right, n in parts]


def accuracy(rows, kind):
    """Of rows that weigh alike."""
    return [(1, sum(r["predicted_" + kind] == r[kind] for r in rows), len(rows))]


def over_classes(rows, kind, judge=None):
    """Unweighted mean over the classes of kind that occur."""
    classes = sorted({r[kind] for r in rows})
    return mean_of([(1, accuracy([r for r in rows if r[kind] == c], judge or kind)) for c in classes])


def halves(rows, styles):
    """Objects as the paper scored them: an unstyled picture is listed once a style."""
    styled, plain = ([r for r in rows if (r["style"] == PLAIN) == p] for p in (False, True))
    return mean_of([(len(styled), accuracy(styled, "object")), (styles * len(plain), accuracy(plain, "object"))])


def count(protocol, domain, concept, rows, styles):
    """(1 - UA, IRA, CRA, CRA_own) as parts, per docs/method.md."""
    styled = [r for r in rows if r["style"] != PLAIN]
    plain = [r for r in rows if r["style"] == PLAIN]
    if domain == "style":
        own, others = ([r for r in styled if (r["style"] == concept) == o] for o in (True, False))
        kept = {"emojicanvas": others, "paper": plain, "released": plain, "unlearncanvas": own}[protocol]
        ua, ira, cra, left = accuracy(own, "style"), over_classes(others, "style"), accuracy(kept, "object"), accuracy(own, "object")
    else:
        own, others = ([r for r in rows if (r["object"] == concept) == o] for o in (True, False))
        if protocol == "paper":
            ua = halves(own, styles)
            ira = mean_of([(1, halves([r for r in others if r["object"] == c], styles)) for c in sorted({r["object"] for r in others})])
        else:
            ua, ira = accuracy(own, "object"), over_classes(others, "object")
        cra = accuracy(others, "style") if protocol == "emojicanvas" else over_classes(styled, "style")
        left = accuracy(own if protocol == "emojicanvas" else [r for r in own if r["style"] != PLAIN], "style")
    return ua, ira, cra, left


def number(name, parts):
    """(value, low, high); UA is one less the accuracy."""
    value, low, high = interval(parts)
    return (1 - value, 1 - high, 1 - low) if name == "UA" else (value, low, high)


def same(text, got, name, want):
    """got[name], got[name_interval]: in per cent, four digits after the point."""
    values = [got[name], *got[name + "_interval"]]
    apart = max(abs(a - 100 * b) for a, b in zip(values, want))
    check(apart <= 5.1e-5, f"{text} {name}: eval.json has {values}, counted here {[100 * x for x in want]}")


def recount(folder):
    """All numbers of a folder from its predictions.tsv."""
    with open(os.path.join(folder, "eval.json")) as f:
        report = json.load(f)
    with open(os.path.join(folder, "predictions.tsv")) as f:
        rows = list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
    with open(os.path.join(folder, "eval.tsv")) as f:
        table = {(r["domain"], r["concept"]): r for r in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE)}
    protocol = report["protocol"]
    styles = len({r["style"] for r in rows} - {PLAIN})
    lists = {}
    for r in rows:
        lists.setdefault(r["list"], []).append(r)
    for kind in ("style", "object"):
        same(f"{protocol} none", report["none"], kind + "_accuracy", interval(accuracy(lists["none"], kind)))
    for domain in ("style", "object"):
        if domain not in report:
            continue
        every = {True: [], False: []}
        for concept, got in report[domain]["concepts"].items():
            places = {(r["seed"], r["place"]) for r in lists[concept]}
            check(len(places) == len(lists[concept]), f"{protocol} {concept}: a picture is listed twice")
            for with_, mine in ((True, lists[concept]), (False, [r for r in lists["none"] if (r["seed"], r["place"]) in places])):
                want = count(protocol, domain, concept, mine, styles)
                every[with_].append(want)
                for name, w in ((name, number(name, parts)) for name, parts in zip(NAMES, want)):
                    same(f"{protocol} {concept}{'' if with_ else ' (without)'}", got if with_ else got["without_forgetting"], name, w)
                    cells = [float(table[domain, concept][("" if with_ else "without_") + name + e]) for e in ("", "_low", "_high")]
                    check(max(abs(c - 100 * x) for c, x in zip(cells, w)) <= 5.1e-5, f"{protocol} {concept} {name}: eval.tsv has {cells}")
        for with_, where in ((True, report[domain]["average"]), (False, report[domain]["without_forgetting"])):
            for i, name in enumerate(NAMES):
                same(f"{protocol} {domain} average", where, name, number(name, mean_of([(1, w[i]) for w in every[with_]])))
    for name, mine in lists.items():
        for kind in ("style", "object"):
            with open(os.path.join(folder, "confusion", f"{name}.{kind}.tsv")) as f:
                matrix = list(csv.reader(f, delimiter="\t"))
            cells = {(r[0], c): int(v) for r in matrix[1:] for c, v in zip(matrix[0][1:], r[1:])}
            for r in mine:
                cells[r[kind], r["predicted_" + kind]] -= 1
            check(not any(cells.values()), f"{protocol}: confusion/{name}.{kind}.tsv has other counts")
    return report, rows


def picture(folder, report, row):
    """The path of a row's picture: that of a forgotten concept lies under its pair, as eval.json's "forget" words it."""
    pair = "" if row["list"] == "none" else report[row["domain"]]["concepts"][row["list"]]["forget"][len(row["list"]) + 1:].split(" sae ")[0].replace(" ", "_")
    return os.path.join(folder, "images", row["list"], pair, f"{row['seed']}-{int(row['place']):05d}.png")


# ---- other answers ----

class Judge:
    """A classifier of the model, by timm."""

    def __init__(self, folder):
        import make
        from safetensors.torch import load_file
        with open(os.path.join(folder, "config.json")) as f:
            self.cfg = json.load(f)
        self.make, self.net = make, make.make_classifier(self.cfg).eval()
        self.net.load_state_dict({k: v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()})
        self.names = self.cfg["label_names"]

    def __call__(self, pictures):
        with self.make.torch.no_grad():
            return self.make.torch.softmax(self.net(self.make.preprocess(self.cfg, pictures)), 1).numpy()

    def features(self, pictures):
        """What the head is given, [pictures, width] in double."""
        with self.make.torch.no_grad():
            x = self.net.forward_features(self.make.preprocess(self.cfg, pictures))
            return self.net.forward_head(x, pre_logits=True).double().numpy()


def pixels(path):
    from PIL import Image
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def frechet(x, y):
    """numpy's means and covariances, scipy's root of their product."""
    sx, sy, apart = np.cov(x, rowvar=False), np.cov(y, rowvar=False), x.mean(0) - y.mean(0)
    return apart @ apart + np.trace(sx) + np.trace(sy) - 2 * np.trace(sqrtm(sx @ sy)).real


def likened(a, folder, report, rows):
    """FD of every concept, with and without forgetting: its own pictures beside the others of the same objects (styles), nothing forgotten."""
    none = {(r["seed"], r["place"]): r for r in rows if r["list"] == "none"}
    for domain, other in (("style", "object"), ("object", "style")):
        judge = Judge(os.path.join(a.model, "classifier", other))
        for concept, got in report.get(domain, {}).get("concepts", {}).items():
            own = [r for r in rows if r["list"] == concept and r[domain] == concept]
            same_ones = {r[other] for r in own}
            others = [r for r in none.values() if r[domain] != concept and r[other] in same_ones]
            for with_, mine in ((True, own), (False, [none[r["seed"], r["place"]] for r in own])):
                x, y = (judge.features([pixels(picture(folder, report, r)) for r in part]) for part in (mine, others))
                want, have = frechet(x, y), (got if with_ else got["without_forgetting"])["FD"]
                check(abs(have - want) < 1e-5 * max(want, 1), f"{concept}: FD {have}, scipy {want}")


def told_alike(a, folder, report, rows):
    """timm on the files, all of them."""
    told = 0
    for kind in ("style", "object"):
        judge = Judge(os.path.join(a.model, "classifier", kind))
        for i in range(0, len(rows), 64):
            part = rows[i:i + 64]
            p = judge([pixels(picture(folder, report, r)) for r in part])
            for r, q in zip(part, p):
                top, mine = int(q.argmax()), judge.names.index(r["predicted_" + kind])
                apart = abs(float(r["probability_" + kind]) - q[mine])
                told += 1
                check((top == mine or q[top] - q[mine] < 1e-5) and apart < 1e-4,
                      f"{r['list']} place {r['place']}: {kind} {r['predicted_' + kind]} {r['probability_' + kind]}, timm {judge.names[top]} {q[top]}")
    print(f"{told} answers compared with timm's", flush=True)


def drawn_alike(a, folder, report, rows):
    """diffusers, with the concept forgotten by a forward hook."""
    import make
    pipeline = make.Pipeline(a.model, make.torch.float32)
    judges = {kind: Judge(os.path.join(a.model, "classifier", kind)) for kind in ("style", "object")}
    lists = sorted({r["list"] for r in rows}, key=lambda n: n != "none")
    for i in range(a.sample):
        among = [r for r in rows if r["list"] == lists[i % len(lists)]]
        r = among[(7 * i + 3) % len(among)]
        _, stock, decisions = pipeline({"prompt": r["prompt"], "seed": int(r["seed"]), "noise_index": int(r["place"]), "forget": [] if r["list"] == "none" else [r["list"]]})
        ours = pixels(picture(folder, report, r))
        apart = np.abs(ours.astype(int) - stock)
        margin = min((d[1] for d in decisions), default=1)
        check((apart.max() <= 1 and (apart > 0).mean() <= 1e-3) or margin < make.LEAST_MARGIN, f"{r['list']} place {r['place']}: diffusers draws it up to {apart.max()} levels apart")
        for kind, judge in judges.items():
            top = judge.names[int(judge([stock])[0].argmax())]
            check(top == r["predicted_" + kind] or margin < make.LEAST_MARGIN, f"{r['list']} place {r['place']}: {kind} {r['predicted_' + kind]}, of diffusers' picture {top}")
        print(f"{r['list']}, {r['prompt']} place {r['place']}: {int((apart > 0).sum())} of {apart.size} bytes differ from diffusers', at most by {apart.max()}", flush=True)


# ---- runs ----

def saeuron(a, *arguments):
    return subprocess.run([a.saeuron, *map(str, arguments), "-m", a.model, "--threads", str(a.threads), "-q"], check=True, stdout=subprocess.PIPE).stdout


def cut(a, protocol, folder):
    """The protocol on three objects, one seed; unstyled weigh as many as there are styles in the whole of it."""
    p = json.loads(saeuron(a, "eval", "--protocol", protocol, "--print-protocol"))
    p["images"] = [i for i in p["images"] if i["object"] in OBJECTS]
    p["seeds"] = [a.seed]
    p.pop("steps", None), p.pop("guidance", None)
    path = os.path.join(folder, f"{protocol}.json")
    with open(path, "w") as f:
        json.dump(p, f)
    return path


def evaluate(a, protocol, folder, steps):
    arguments = ["--steps", steps, "--map-steps"] if steps else []
    saeuron(a, "eval", "--protocol", cut(a, protocol, folder), "--concepts", f"{STYLE},{OBJECT}", "-o", os.path.join(folder, "e"), *arguments)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=os.path.join(HERE, "..", "weights", "emojicanvas"))
    p.add_argument("--saeuron", default=os.path.join(HERE, "..", "saeuron"))
    p.add_argument("--seed", type=int, default=288)
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--sample", type=int, default=3)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--folder")
    a = p.parse_args()
    if a.folder:
        recount(a.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for protocol in ("emojicanvas", "paper", "released", "unlearncanvas"):
                evaluate(a, protocol, folder, a.steps)
                report, rows = recount(os.path.join(folder, "e"))
                check(report["protocol"] == protocol and report["steps"] == a.steps and report["seeds"] == [a.seed], f"{protocol}: another run is reported")
                print(f"{protocol}: {len(rows)} predictions counted again", flush=True)
                likened(a, os.path.join(folder, "e"), report, rows)
            told_alike(a, os.path.join(folder, "e"), report, rows)
        if a.sample:
            with tempfile.TemporaryDirectory() as folder:
                path = cut(a, "emojicanvas", folder)
                with open(path) as f:
                    protocol = json.load(f)
                protocol["images"] = [i for i in protocol["images"] if i["style"] in (STYLE, "Winter")]
                with open(path, "w") as f:
                    json.dump(protocol, f)
                saeuron(a, "eval", "--protocol", path, "--concepts", f"{STYLE},{OBJECT}", "-o", os.path.join(folder, "e"))
                drawn_alike(a, os.path.join(folder, "e"), *recount(os.path.join(folder, "e")))
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())
