"""What the model card says of hooks and sparse autoencoders: from the program's own files, and nothing else.

Not here: measuring (hooks.py, `saeuron measure`), how well it forgets (docs/results.py), the rest of the card (card.py). Reads, of WORK,
    hooks.json                                      which attention decides what
    sae/sae/HOOK/train.json, sae/measure-HOOK.json  the SAEs; sae/before-HOOK.json, if there, of those they replace
and of MODEL sae/HOOK/stats.safetensors, sae.safetensors. A file that is absent, and files that are not of one model and
one SAE, are errors: nothing is left out and nothing made up.
"""
import filecmp
import json

from safetensors import safe_open

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


def listed(words):
    words = list(words)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def span(values):
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def table(head, lines):
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (head, *lines)).replace("\n", "\n" + "|---" * len(head) + "|\n", 1)


class Facts:
    """Everything read and found to belong together."""

    def __init__(self, work, model):
        self.work, self.model = work, model
        concepts = read(model / "concepts.json")
        self.hook = {k: concepts["domains"][k]["hook"] for k in ("style", "object")}
        self.attentions = read(work / "hooks.json")
        self.train = {k: read(work / "sae" / "sae" / h / "train.json") for k, h in self.hook.items()}
        self.measured = {k: read(work / "sae" / f"measure-{h}.json") for k, h in self.hook.items()}
        before = {k: work / "sae" / f"before-{h}.json" for k, h in self.hook.items()}
        self.before = {k: read(f) for k, f in before.items() if f.exists()}
        self.stats = {k: self.statistics(h) for k, h in self.hook.items()}
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

    def check(self):
        """One model, one SAE a hook."""
        for k, hook in self.hook.items():
            if hook not in self.attentions:
                wrong(f"{self.work}/hooks.json does not know {hook}")
            if self.train[k]["model"] != self.stats[k].get("model"):
                wrong(f"{hook}: the SAE was trained on model {self.train[k]['model']}, the statistics are of {self.stats[k].get('model')}: make them again")
            if self.train[k]["hook"] != hook or self.measured[k]["hook"] != hook:
                wrong(f"{self.work}/sae: train.json or measure-{hook}.json is of another hook than {hook}")
            if self.measured[k]["latents"] != self.train[k]["latents"]:
                wrong(f"{self.work}/sae: measure-{hook}.json is of another SAE than train.json: delete done.measure-{hook}, run sae.sh")


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

Statistics: {prompts("object")} calibration prompts an object, {prompts("style")} a style, {steps} steps, seed {seed}.

`saeuron sweep` chose what `forget.json` says of each concept (`weights/train/README.md`). How well it forgets, concept by concept, and what is left of the
pictures: `docs/results.md`."""


def sections(work, model):
    """The card's last two sections, each with its heading."""
    f = Facts(work, model)
    return [f"## Which hooks\n\n{hooks(f)}", f"## Sparse autoencoders\n\n{autoencoders(f)}"]
