#!/usr/bin/env python3
"""results.py: the tables of docs/results.md and README.md, from ./saeuron select and the tables that sweeps and evaluations left in docs/.

    python docs/results.py [--write | --check] [--saeuron ./saeuron]

--write puts them between the markers of the pages, --check fails where a page has others, where forget.json has not what the sweeps choose, or where an
evaluation is not of the pairs and SAEs in the tree. Nothing is drawn here: how each file in docs/ was made stands above its table. Only the standard library is needed."""
import argparse
import csv
import json
import math
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PAGES = [os.path.join(HERE, "results.md"), os.path.join(HERE, "..", "README.md")]
MODEL = os.path.join(HERE, "..", "weights", "emojicanvas")
METRICS = ("UA", "IRA", "CRA", "CRA_own")
with open(os.path.join(MODEL, "concepts.json")) as f:
    DOMAINS = json.load(f)["domains"]
TARGETS = {"style": [95], "object": [95, 90, 80, 70, 60, 50]}  # of UA, the highest first; of several, one counts if others keep KEEP of their IRA
KEEP = 0.85


def rows(name):
    with open(os.path.join(HERE, name), newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def table(head, lines):
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in [head, ["---"] * len(head), *lines]) + "\n"


def number(x):
    return None if x in (None, "-") else float(x)


def cell(x, digits=0):
    return "-" if x is None else f"{x:.{digits}f}"


# ---- latents ----

def selected(program, concepts, top):
    """{(concept, step): [(latent, mean, threshold)]}"""
    out = {}
    for concept in concepts:
        done = subprocess.run([program, "select", "-q", "--forget", concept, "--top", str(top)], capture_output=True, text=True, check=True)
        for row in csv.DictReader(done.stdout.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
            out.setdefault((concept, int(row["step"])), []).append((int(row["latent"]), float(row["mean"]), float(row["threshold"])))
    return out


def latents(program):
    """How steady the best latent of a concept is over the steps, and how much its own."""
    lines = []
    for name, concepts in ((f"{d}s", DOMAINS[d]["concepts"]) for d in ("style", "object")):
        best, many = selected(program, concepts, 1), selected(program, concepts, 16)
        steps = 1 + max(step for _, step in best)
        ids = {c: [best[c, t][0][0] for t in range(steps)] for c in concepts}
        same = [max(map(i.count, i)) for i in ids.values()]
        kinds = [len(set(i)) for i in ids.values()]
        own = [m / h for c in concepts for t in range(steps) for _, m, h in best[c, t] if h > 0]
        shared = [any(latent in {x[0] for x in many[d, t]} for d in concepts if d != c) for c in concepts for t in range(steps) for latent, _, _ in many[c, t]]
        alone = sum(ids[c][t] not in {ids[d][t] for d in concepts if d != c} for c in concepts for t in range(steps))
        lines.append([name, f"{statistics.mean(same):.0f} of {steps}", f"{statistics.mean(kinds):.1f}", f"{100 * alone / steps / len(concepts):.0f} %",
                      f"{statistics.median(own):.1f} of {len(concepts)}", f"{100 * statistics.mean(shared):.0f} %"])
    return table(["", "steps with the same best latent", "best latents of a concept", "best latent no other concept's", "its mean over all concepts' mean",
                  "of the best 16 another's too"], lines)


# ---- sweeps ----

def stage(name, which):
    return [r for r in rows(name) if r["stage"] == which]


def kept(r):
    known = [number(r[m]) for m in ("IRA", "CRA", "CRA_own") if number(r[m]) is not None]
    return statistics.mean(known)


def by_concept(name, which):
    out = {}
    for r in stage(name, which):
        out.setdefault(r["concept"], []).append(r)
    return out


def validated(domain):
    """The pairs of stage two, by concept. gone: what a target asks; of objects, the mean of both seeds' UA."""
    name = f"sweep-{domain}.tsv"
    key = lambda r: (r["concept"], r["select"], r["strength"])
    first = {key(r): number(r["UA"]) for r in stage(name, "1")}
    found = by_concept(name, "2")
    for r in sum(found.values(), []):
        r["gone"] = number(r["UA"])
        if domain == "object" and key(r) in first:
            r["gone"] = (r["gone"] + first[key(r)]) / 2
    return found


def choose(found, domain):
    """EQ 39. Where none reaches a target and keeps the others' IRA, what costs others least."""
    targets = TARGETS[domain]
    for target in targets:
        reach = [r for r in found if r["gone"] >= target and (len(targets) == 1 or number(r["IRA"]) >= KEEP * number(r["without_IRA"]))]
        if reach:
            return max(reach, key=lambda r: (kept(r), r["gone"]))
    least = [r for r in found if r["gone"] >= targets[-1]]
    return max(least, key=lambda r: number(r["IRA"])) if least else max(found, key=lambda r: (r["gone"], kept(r)))


def chosen(domain):
    lines, every = [], []
    for concept, found in sorted(validated(domain).items()):
        r = choose(found, domain)
        every.append(r)
        lines.append([concept, f"{r['select']}, {r['strength']}", *(cell(number(r[m])) for m in ("UA", "IRA", "CRA", "CRA_own")), cell(number(r["FD"]), 1),
                      *(cell(number(r["without_" + m])) for m in ("IRA", "CRA", "CRA_own")), cell(number(r["without_FD"]), 1)])
    mean = [statistics.mean(number(r[m]) for r in every) for m in ("UA", "IRA", "CRA", "CRA_own", "FD", "without_IRA", "without_CRA", "without_CRA_own", "without_FD")]
    lines.append(["mean", "", *(cell(x, 1) for x in mean)])
    return table(["concept", "pair", "UA", "IRA", "CRA", "CRA_own", "FD", "without: IRA", "CRA", "CRA_own", "FD"], lines)


def selection(label, found):
    """What a selection's mildest pair that forgets leaves: own pictures at the first seed, all at the second."""
    own, after, concepts = [], [], {r["concept"] for r in found}
    for concept in concepts:
        reach = [r for r in found if r["concept"] == concept and r["stage"] == "1" and number(r["UA"]) >= TARGETS["style"][0]]
        if reach:
            mildest = min(reach, key=lambda r: abs(float(r["strength"])))
            own.append(number(mildest["CRA_own"]))
            after += [r for r in found if r["stage"] == "2" and (r["concept"], r["select"], r["strength"]) == (concept, mildest["select"], mildest["strength"])]
    mean = [statistics.mean(number(r[m]) for r in after) if after else None for m in ("UA", "IRA", "CRA", "CRA_own")]
    return [label, f"{len(own)} of {len(concepts)}", cell(statistics.mean(own) if own else None), *(cell(x) for x in mean)]


SELECTION = ["selection", f"styles forgotten (UA {TARGETS['style'][0]})", "CRA_own then", "second seed: UA", "IRA", "CRA", "CRA_own"]


def selections(name):
    """Each selection of a sweep."""
    names = sorted({r["select"] for r in stage(name, "1")}, key=lambda s: ([int(x) for x in re.findall(r"\d+", s)][:1], s))
    return table(SELECTION, [selection(s, [r for r in rows(name) if r["select"] == s]) for s in names])


def ablations():
    """What docs/ablations.sh tried, below the shipped autoencoder with the same selection."""
    shipped = [r for r in rows("sweep-halves.tsv") if r["select"] == "top 12 min-lift 3 half conditional"]
    found = rows("sweep-ablations.tsv")
    lines = [selection(what, [r for r in found if r["what"] == what]) for what in dict.fromkeys(r["what"] for r in found)]
    return table(["top 12 min-lift 3 half conditional", *SELECTION[1:]], [selection("as shipped", shipped), *lines])


# ---- evaluations ----

Z = 1.959963984540054


def low_end(strata, wrong):
    """The lower end of EQ 36's interval, as evaluation/metrics.c finds it; strata: [(right, images)], all of one weight."""
    def too_low(lam):
        theta = squared = 0
        for right, n in strata:
            w, v = 1 / len(strata), (n - right if wrong else right) / n
            m = n - 1 + w
            a = lam * w / m
            p = 2 * v / (1 + a + math.sqrt((1 - a) ** 2 + 4 * a * (1 - v)))
            theta += w * p
            squared += a * a * m * p * (1 - p)
        return squared >= Z * Z, theta
    below, above = 0, 1
    while not too_low(above)[0]:
        below, above = above, 2 * above
    for _ in range(200):
        middle = (below + above) / 2
        below, above = (below, middle) if too_low(middle)[0] else (middle, above)
    return too_low(below)[1]


def share(strata, metric, prefix=""):
    """A row's columns of one metric, from the counts of one table or several."""
    value = statistics.mean(right / n for right, n in strata)
    low = low_end(strata, False) if value > 0 else 0
    high = 1 - low_end(strata, True) if value < 1 else 1
    return {prefix + metric: 100 * value, f"{prefix}{metric}_low": 100 * low, f"{prefix}{metric}_high": 100 * high,
            f"{prefix}{metric}_right": sum(r for r, _ in strata), f"{prefix}{metric}_images": sum(n for _, n in strata)}


def evaluation(domain):
    """The rows of docs/eval-DOMAIN.tsv; with docs/eval-DOMAIN-2.tsv and so on, of other seeds, the counts of all added up. Their intervals take a concept's
    pictures as alike, which makes those of IRA a little wider than eval's; FD, which cannot be added up, is the first table's."""
    first, *more = [rows(n) for n in sorted(os.listdir(HERE), key=lambda n: (len(n), n)) if re.fullmatch(rf"eval-{domain}(-\d)?\.tsv", n)]
    if not more:
        return first
    out, columns = [], [(m, p) for p in ("", "without_") for m in METRICS]
    for parts in zip(first, *more, strict=True):
        if len({(p["concept"], p["forget"]) for p in parts}) > 1:
            raise SystemExit(f"docs/eval-{domain}-*.tsv evaluate {parts[0]['concept']} by several pairs")
        row = dict(parts[0])
        if row["concept"] != "average":
            for m, p in columns:
                row.update(share([tuple(sum(int(x[f"{p}{m}_{c}"]) for x in parts) for c in ("right", "images"))], m, p))
        else:
            for m, p in columns:
                row.update(share([(r[f"{p}{m}_right"], r[f"{p}{m}_images"]) for r in out], m, p))
        out.append(row)
    return out


def interval(r, m):
    """98.6 (98.3 to 98.8)"""
    return "-" if number(r.get(m)) is None else f"{float(r[m]):.1f} ({float(r[m + '_low']):.1f} to {float(r[m + '_high']):.1f})"


def pair(r):
    """("top 4 half conditional", "-0.3", SAE) of "Cats top 4 half conditional strength -0.3 sae 0123456789abcdef statistics ..."."""
    return re.fullmatch(re.escape(r["concept"]) + r" (.*) strength (\S+) sae (\w+).*", r["forget"]).groups()


def evaluated(domain):
    """Each concept and their average, beside the same pictures with nothing forgotten."""
    lines = []
    for r in evaluation(domain):
        last = r["concept"] == "average"
        lines.append([r["concept"], "" if last else "{}, {}".format(*pair(r)), *(cell(number(r.get(m)), int(last)) for m in (*METRICS, "FD")),
                      *(cell(number(r.get("without_" + m)), int(last)) for m in (*METRICS[1:], "FD"))])
    return table([domain, "latents, strength", *METRICS, "FD", *(f"without: {m}" for m in (*METRICS[1:], "FD"))], lines)


def averages():
    """README's table: with intervals, beside the paper's."""
    lines = []
    for domain, shown_in in (("style", len(DOMAINS["object"]["concepts"])), ("object", 1 + len(DOMAINS["style"]["concepts"]))):  # 1: unstyled
        *each, r = evaluation(domain)
        seeds = int(each[0]["UA_images"]) // shown_in
        lines.append([f"EmojiCanvas, {domain}s, {seeds} seed{'s' * (seeds > 1)}", *(interval(r, m) for m in METRICS)])
        lines.append(["the same, nothing forgotten", *(interval(r, "without_" + m) for m in METRICS)])
    return table(["", *METRICS], lines + [["SAeUron's paper, styles", "96.76", "98.70", "98.10", "-"], ["SAeUron's paper, objects", "84.23", "90.05", "76.78", "-"]])


def compared(domain):
    """Each concept by the pairs before and by those of now."""
    before = {r["concept"]: r for r in rows(f"eval-{domain}-before.tsv")}
    lines = []
    for r in evaluation(domain):
        b, last = before[r["concept"]], r["concept"] == "average"
        lines.append([r["concept"], *("" if last else "{}, {}".format(*pair(x)) for x in (b, r)),
                      *(f"{cell(number(b.get(m)), int(last))}, {cell(number(r.get(m)), int(last))}" for m in METRICS)])
    return table([domain, "pair before", "pair now", *METRICS], lines)


def together():
    """Lists of concepts, and what is left of the rest."""
    lines = []
    for r in rows("eval-together.tsv"):
        names = r["concept"].split("+")
        if r["concept"] != "average":
            lines.append([", ".join(names) if len(names) < 4 else f"{names[0]} to {names[-1]} ({len(names)})", r["domain"], *(cell(number(r[m])) for m in (*METRICS, "FD")),
                          *(cell(number(r["without_" + m])) for m in (*METRICS[1:], "FD"))])
    return table(["forgotten", "counted as", *METRICS, "FD", *(f"without: {m}" for m in (*METRICS[1:], "FD"))], lines)


METHODS = {"negative": "negative prompt", "safree": "SAFREE", "itd": "Interpret-then-Deactivate", "uce": "UCE", "esd": "ESD", "sdd": "SDD",
           "ca": "Concept Ablation"}


def rivals():
    """The average over the styles of SAeUron, with five seeds, and of each method that was measured; and its worst style by UA and by what is left of its own pictures."""
    folder = os.path.join(MODEL, "sae", DOMAINS["style"]["hook"])
    kept = sum(os.path.getsize(os.path.join(folder, f)) for f in ("sae.safetensors", "stats.safetensors"))
    lines, by = [], {"sae": [{**r, "made": 0, "stored": kept} for r in evaluation("style")]}
    for r in rows("rivals.tsv"):
        by.setdefault(r["method"], []).append(r)
    for method, name in {"sae": "SAeUron", **METHODS}.items():
        *each, last = by.get(method, [None])
        if last:
            least = {m: min(each, key=lambda r: float(r[m])) for m in ("UA", "CRA_own")}
            lines.append([name, *(interval(last, m) for m in METRICS), f"{cell(number(last['FD']))} ({cell(number(last['without_FD']))})", *(f"{least[m]['concept']} {cell(number(least[m][m]))}" for m in least),
                          last["made"], f"{int(last['stored']) / 1e6:.1f}"])
    return table(["method", *METRICS, "FD (without)", "least UA", "least CRA_own", "pictures to forget", "MB kept"], lines)


def pairs_are_of_the_tree(program):
    """forget.json has what the sweeps choose, and that is what was evaluated."""
    for domain, d in DOMAINS.items():
        folder = os.path.join(MODEL, "sae", d["hook"])
        with open(os.path.join(folder, "forget.json")) as f:
            kept = json.load(f)
        sae = subprocess.run([program, "digest", folder], capture_output=True, text=True, check=True).stdout.split()[0]
        found = {r["concept"]: r for r in rows(f"eval-{domain}.tsv")}
        swept = validated(domain)
        for concept in d["concepts"]:
            k, r = kept[concept], found[concept]
            words = [f"top {k['top']}" if "top" in k else f"percentile {k['percentile']:g}", f"min-lift {k['min_lift']:g}" if "min_lift" in k else "",
                     "window {}-{}".format(*k["window"]) if "window" in k else "", f"half {k['half']}" if "half" in k else ""]
            words = " ".join(filter(None, words)), f"{k['strength']:g}"
            best = choose(swept[concept], domain)
            if words != (best["select"], best["strength"]):
                raise SystemExit(f"{folder}/forget.json has {concept} {words}, but docs/sweep-{domain}.tsv chooses {best['select']}, {best['strength']}")
            if pair(r) != (*words, sae):
                raise SystemExit(f"docs/eval-{domain}.tsv evaluates \"{r['forget']}\", but {folder} says {k} and has the digest {sae}: evaluate again")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--saeuron", default=os.path.join(HERE, "..", "saeuron"))
    p.add_argument("--write", action="store_true")
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    make = {"latents": lambda: latents(a.saeuron), "averages": averages, "compared": lambda: compared("style"),
            "compared_objects": lambda: compared("object"), "styles": lambda: evaluated("style"), "objects": lambda: evaluated("object"),
            "together": together, "rivals": rivals, "chosen": lambda: chosen("style"), "chosen_objects": lambda: chosen("object"),
            "ablations": ablations, "selections": lambda: selections("sweep-style.tsv"), "halves": lambda: selections("sweep-halves.tsv"), "halves_before": lambda: selections("sweep-halves-before.tsv")}
    pairs_are_of_the_tree(a.saeuron)
    for path in PAGES:
        with open(path) as f:
            page = f.read()
        new = re.sub(r"(<!-- results.py: (\w+) -->\n).*?(<!-- end -->\n)", lambda m: m[1] + make[m[2]]() + m[3], page, flags=re.S)
        if a.check and new != page:
            raise SystemExit(f"{path}: its tables are not those of docs/*.tsv and ./saeuron select: python docs/results.py --write")
        if a.write:
            with open(path, "w") as f:
                f.write(new)
        elif not a.check:
            print("\n".join(make[name]() for name in re.findall(r"<!-- results.py: (\w+) -->", page)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
