"""What the model card says of hooks, sparse autoencoders and forgetting: from the program's own files, and nothing else.

Not here: measuring (hooks.py, `saeuron measure`, `sweep`, `eval`), the rest of the card (card.py). Reads, of WORK,
    hooks.json                                      which attention decides what
    sae/sae/HOOK/train.json, sae/measure-HOOK.json  the SAEs; sae/before-HOOK.json, if there, of those they replace
    sweep-DOMAIN/{results.tsv,forget.json,images/none/}
    eval-DOMAIN/{eval.json,predictions.tsv}
and of MODEL sae/HOOK/stats.safetensors, sae.safetensors. A file that is absent, and files that are not of one model and
one SAE, are errors: nothing is left out and nothing made up.
"""
import collections
import csv
import filecmp
import json

from safetensors import safe_open

METRICS = ("UA", "IRA", "CRA", "CRA_own")
BOUND = 5                                                   # points of CRA from which on a concept is named
MADE_BY = "weights/train/README.md says which stage makes it"


def wrong(text):
    raise SystemExit(f"weights: {text}")


def read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        wrong(f"there is no {path}; {MADE_BY}")
    except ValueError as e:
        wrong(f"{path} is no JSON ({e}): make it again")


def rows(path):
    try:
        with open(path, newline="", encoding="utf-8") as f:
            return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
    except FileNotFoundError:
        wrong(f"there is no {path}; {MADE_BY}")


def listed(words):
    words = list(words)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def span(values):
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def rate(x, digits=1):
    """A rate of eval.json without its interval."""
    return "-" if x is None else f"{x:.{digits}f}"


def interval(rates, m, digits=1):
    """85.0 (74.4 to 91.7)"""
    if rates[m] is None:
        return "-"
    low, high = rates[f"{m}_interval"]
    return f"{rates[m]:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(head, lines):
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (head, *lines)).replace("\n", "\n" + "|---" * len(head) + "|\n", 1)


class Facts:
    """Everything read and found to belong together."""

    def __init__(self, work, model):
        self.work, self.model = work, model
        concepts = read(model / "concepts.json")
        self.steps = concepts["steps"]
        self.hook = {k: concepts["domains"][k]["hook"] for k in ("style", "object")}
        self.concepts = {k: concepts["domains"][k]["concepts"] for k in self.hook}
        self.attentions = read(work / "hooks.json")
        self.train = {k: read(work / "sae" / "sae" / h / "train.json") for k, h in self.hook.items()}
        self.measured = {k: read(work / "sae" / f"measure-{h}.json") for k, h in self.hook.items()}
        before = {k: work / "sae" / f"before-{h}.json" for k, h in self.hook.items()}
        self.before = {k: read(f) for k, f in before.items() if f.exists()}
        self.stats = {k: self.statistics(h) for k, h in self.hook.items()}
        self.swept = {k: self.sweep(k) for k in self.hook}
        self.eval = {k: read(work / f"eval-{k}" / "eval.json") for k in self.hook}
        self.drawn = {k: rows(work / f"eval-{k}" / "predictions.tsv") for k in self.hook}
        self.check()

    def statistics(self, hook):
        """Metadata of the statistics that lie beside the SAE."""
        ours, path = self.work / "sae" / "sae" / hook / "sae.safetensors", self.model / "sae" / hook / "sae.safetensors"
        for p in (ours, path):
            if not p.exists():
                wrong(f"there is no {p}; {MADE_BY}")
        if not filecmp.cmp(ours, path, shallow=False):
            wrong(f"{path} is not {ours}: install it (INSTALL=1 sh weights/train/sae.sh)")
        if not (stats := path.with_name("stats.safetensors")).exists():
            wrong(f"there is no {stats}; {MADE_BY}")
        with safe_open(stats, "np") as f:
            return f.metadata()

    def sweep(self, domain):
        """{forget: {concept: {top, strength}}, pairs, images, seeds, places, steps}"""
        from PIL import Image
        folder = self.work / f"sweep-{domain}"
        forget, table = read(folder / "forget.json"), rows(folder / "results.tsv")
        files = sorted((folder / "images" / "none").glob("*-*.png"))
        if not files or not table:
            wrong(f"there are no images in {folder}/images/none, or no rows in {folder}/results.tsv; {MADE_BY}")
        names = [f.stem.split("-") for f in files]
        with Image.open(files[0]) as picture:
            steps = picture.text["steps"]
        return dict(forget=forget, pairs=len({(r["select"], r["strength"]) for r in table}), steps=steps,
                    images=sum(int(r["images"]) for r in table) + len(files),
                    seeds=sorted({int(s) for s, _ in names}), places=len({p for _, p in names}))

    def check(self):
        """One model, one SAE a hook, one choice a concept."""
        for k, hook in self.hook.items():
            e = self.eval[k]
            model, tested = e["model"], set(e["seeds"])
            if hook not in self.attentions:
                wrong(f"{self.work}/hooks.json does not know {hook}")
            if k not in e or set(e[k]["concepts"]) != set(self.concepts[k]):
                wrong(f"{self.work}/eval-{k}/eval.json lacks {k}s of concepts.json: run `saeuron eval --domain {k}` without --concepts")
            for what, digest in (("SAE", self.train[k]["model"]), ("statistics", self.stats[k].get("model"))):
                if digest != model:
                    wrong(f"{hook}: made on model {digest}: its {what}; on model {model}: eval-{k}/eval.json; make the older again")
            if self.train[k]["hook"] != hook or self.measured[k]["hook"] != hook:
                wrong(f"{self.work}/sae: train.json or measure-{hook}.json is of another hook than {hook}")
            if self.measured[k]["latents"] != self.train[k]["latents"]:
                wrong(f"{self.work}/sae: measure-{hook}.json is of another SAE than train.json: delete done.measure-{hook}, run sae.sh")
            if set(self.swept[k]["seeds"]) & (tested | {int(self.stats[k]["seed"])}):
                wrong(f"sweep-{k} has a seed that the statistics or eval-{k}/eval.json have, too: sweep again with others")
            for c, row in e[k]["concepts"].items():
                chosen, sae = self.swept[k]["forget"].get(c), self.stats[k].get("sae")
                if not chosen or self.choice(c, row) != (self.selection(chosen), f"{chosen['strength']:g}", sae):
                    wrong(f"eval-{k}/eval.json forgot \"{row['forget']}\", but sweep-{k}/forget.json says {chosen} and the statistics are of SAE {sae}: "
                          "evaluate again, in another folder")

    @staticmethod
    def selection(chosen):
        window = f" window {chosen['window'][0]}-{chosen['window'][1]}" if "window" in chosen else ""
        return (f"top {chosen['top']}" if "top" in chosen else f"percentile {chosen['percentile']:g}") + window

    @staticmethod
    def choice(concept, row):
        """("top 8 window 3-50", "-5", SAE) of eval.json's "Cats top 8 window 3-50 strength -5 sae 0123456789abcdef statistics 0123456789abcdef"."""
        choice, _, digests = row["forget"].rpartition(" sae ")
        selection, _, strength = choice[len(concept) + 1:].rpartition(" strength ")
        return selection, f"{float(strength):g}", digests.split()[0]


def hooks(f):
    """The section on the choice of the hooks."""
    of = span(sorted({row[k]["of"] for row in f.attentions.values() for k in f.hook}))
    lines, why = [], []
    for name, row in f.attentions.items():
        mine = "".join(f" ({k}s)" for k, h in f.hook.items() if h == name)
        lines.append([f"`{name}`{mine}", *(f"{row['share'][k]:.1f}" for k in ("object", "style")),
                      *(row[k][w] for k in ("object", "style") for w in ("still", "became"))])
    for k, other in (("object", "style"), ("style", "object")):
        mine = f.attentions[f.hook[k]]
        ratio = {n: r["share"][k] / max(r["share"][other], 0.1) for n, r in f.attentions.items()}
        by_swap = 1 + sum(r[k]["became"] > mine[k]["became"] for r in f.attentions.values())
        by_ratio = 1 + sum(x > ratio[f.hook[k]] for x in ratio.values())
        why.append(f"{k.capitalize()}s are forgotten at `{f.hook[k]}`: of {len(f.attentions)} attentions it is number {by_swap} by how many "
                   f"pictures a swap turns into the other {k} ({mine[k]['became']} of {mine[k]['of']}), and number {by_ratio} by the "
                   f"share between {k}s over that between {other}s ({mine['share'][k]:.1f} to {mine['share'][other]:.1f}).")
    head = ["attention", "share between objects", "between styles", "object swapped: still", "the other's",
            "style swapped: still", "the other's"]
    return f"""An attention suits a domain when it decides it and carries little of the other. `hooks.py` measured each: the share of the
variance of its output's tokens that lies between objects and between styles, in per cent; and, its output replaced at every
step by what it is for another object (or style) at the same latents, how many of {of} pictures the judge still calls by the
caption's, and how many by the other's.

{table(head, lines)}

{' '.join(why)}"""


def autoencoders(f):
    """The SAEs, how they were measured, and the statistics."""
    def row(name, m, *trained):
        return [name, m["latents"], m["k"], *(trained or [""] * 3), f"{m['fvu']:.3f}", f"{m['l0']:.1f}", f"{100 * m['dead_share']:.1f} %"]

    def prompts(k):
        value = f.stats[k]["prompts"]
        return span([*json.loads(value).values()] if value.startswith("{") else [int(value)])

    lines = []
    for k in ("object", "style"):
        t = f.train[k]
        lines.append(row(f"`{f.hook[k]}` ({k}s)", f.measured[k], f"{t['maps']:,} x {t['epochs']}", f"{t['steps']:,}", f"{t['tokens']:,}"))
        if k in f.before:
            lines.append(row(f"the one before it ({k}s)", f.before[k]))
    held = " and ".join(sorted({f"{m['maps']:,} maps ({m['tokens']:,} tokens)" for m in f.measured.values()}))
    head = ["hook", "latents", "k", "maps x epochs", "steps", "tokens seen", "held-out FVU", "latents active", "dead"]
    width = listed(sorted({str(t["width"]) for t in f.train.values()}))
    steps, seed = (listed(sorted({s[what] for s in f.stats.values()})) for what in ("steps", "seed"))
    return f"""`weights/train/sae.sh` made the autoencoders of activations {width} wide with `saeuron collect`, `train` and `stats`.
Unexplained variance (FVU), latents active a token and dead latents are what `saeuron measure` says of prompts held out: {held}.

{table(head, lines)}

Statistics: {prompts("object")} calibration prompts an object, {prompts("style")} a style, {steps} steps, seed {seed}."""


def sweeps(f):
    text = []
    for k in ("object", "style"):
        s = f.swept[k]
        text.append(f"for {k}s {s['pairs']} pairs, {s['images']:,} pictures in {s['places']} places, seeds {listed(map(str, s['seeds']))}, "
                    f"{s['steps']} steps")
    return (f"`saeuron sweep` chose top K and strength of each concept: {'; '.join(text)}. None of these seeds is the statistics' "
            "or the evaluation's.")


def evaluation(f):
    text, lines = [], []
    for k in ("style", "object"):
        e, drawn = f.eval[k], f.drawn[k]
        none, places = sum(r["list"] == "none" for r in drawn), len({r["place"] for r in drawn})
        how = f"protocol {e['protocol']}, {e['steps']} steps, guidance {e['guidance']:g}, seed{'s' * (len(e['seeds']) > 1)} {listed(map(str, e['seeds']))}"
        text.append(f"For {k}s `saeuron eval --domain {k}{' --quick' * e['quick']}` drew {len(drawn):,} pictures ({how}; {places} places, each "
                    f"a caption with noise of its own): {none:,} with nothing forgotten, {len(drawn) - none:,} with one {k} forgotten.")
        lines.append([f"{k}s, mean of {len(e[k]['concepts'])}", *(interval(e[k]["average"], m) for m in METRICS)])
        lines.append([f"{k}s, nothing forgotten", *(interval(e[k]["without_forgetting"], m) for m in METRICS)])
    text = [" ".join(text) + " In per cent, with 95 % intervals, by the judges' first answers:", table(["", *METRICS], lines)]
    for k in ("style", "object"):
        e, lines = f.eval[k], []
        got = e[k]["concepts"]
        counts = "; ".join(f"{m}: {e[k]['counts'][m]} ({span([row[m + '_images'] for row in got.values()])} pictures a concept)"
                           for m in METRICS)
        for c, row in got.items():
            selection, strength, _ = f.choice(c, row)
            without = row["without_forgetting"]
            lines.append([c, f"{selection}, {strength}", *(interval(row, m, 0) for m in METRICS), rate(row["FD"]),
                          *(rate(without[m], 0) for m in METRICS), rate(without["FD"])])
        text.append(f"{k.capitalize()}s. {counts}; FD: Frechet distance of the forgotten {k}'s own images from the others, by the other judge's features. "
                    "The last columns are the same pictures with nothing forgotten.")
        text.append(table([k, "latents, strength", *METRICS, "FD", *(f"without: {m}" for m in (*METRICS, "FD"))], lines))
    return "\n\n".join(text)


def worst(got, m, bound=0, most=3):
    """The concepts that cost more than `bound` points of a metric: how many, and the worst in words."""
    both = [(row["without_forgetting"][m] - row[m], c) for c, row in got.items()
            if None not in (row[m], row["without_forgetting"][m])]
    lost = sorted((x for x in both if x[0] > bound), key=lambda x: (-x[0], x[1]))
    words = ", ".join(f"{c} ({rate(got[c]['without_forgetting'][m], 0)} to {rate(got[c][m], 0)})" for _, c in lost[:most])
    return len(lost), f"most by {words}" if words else "by none"


def fails(f):
    """By the numbers: what is not forgotten, and what forgetting costs."""
    lines = []
    for k, other in (("style", "object"), ("object", "style")):
        got, average, without = (f.eval[k][k][x] for x in ("concepts", "average", "without_forgetting"))
        order = sorted((row["UA"], c) for c, row in got.items() if row["UA"] is not None)
        stay = [(ua, c) for ua, c in order if ua < 50]
        words = ", ".join(f"{c} ({ua:.0f})" for ua, c in stay or order[:3])
        lines.append(f"{len(stay)} of {len(got)} {k}s stay in more than half of their pictures, UA below 50: {words}." if stay
                     else f"No {k} has a UA below 50; lowest: {words}.")
        lines.append(f"Other {k}s, where one is forgotten: IRA {rate(without['IRA'])} to {rate(average['IRA'])} on average; "
                     f"lowered {worst(got, 'IRA')[1]}.")
        many, words = worst(got, "CRA", BOUND)
        lines.append(f"{other.capitalize()}s drawn, where {'an' * (k == 'object') or 'a'} {k} is forgotten: CRA {rate(without['CRA'])} to "
                     f"{rate(average['CRA'])} on average; lowered by more than {BOUND} points by {many} of {len(got)} {k}s"
                     + (f", {words}." if many else "."))
        lines.append(f"{other.capitalize()}s left on the forgotten {k}'s own pictures: CRA_own {rate(without['CRA_own'])} to "
                     f"{rate(average['CRA_own'])} on average; lowered {worst(got, 'CRA_own')[1]}.")
    every = [row for k in f.hook for row in f.eval[k][k]["concepts"].values() if row["UA"] is not None]
    wide = max(row["UA_interval"][1] - row["UA_interval"][0] for row in every)
    left = listed(f"{100 * f.measured[k]['fvu']:.0f} % of the variance at `{h}`" for k, h in f.hook.items())
    lines.append(f"A concept's UA rests on {span([row['UA_images'] for row in every])} pictures, its interval is up to {wide:.0f} points "
                 "wide. Intervals speak of the noise, not of other prompts.")
    lines.append(f"The autoencoders leave {left} unexplained: what of a concept lies there stays.")
    return "\n".join("- " + line for line in lines)


def sections(work, model):
    """The card's last three sections, each with its heading."""
    f = Facts(work, model)
    about = "\n\n".join(part(f) for part in (autoencoders, sweeps, evaluation))
    return [f"## Which hooks\n\n{hooks(f)}", f"## Sparse autoencoders and forgetting\n\n{about}",
            f"## What fails in forgetting\n\n{fails(f)}"]
