"""The sparse autoencoders of both hooks, the concepts' statistics, and the small sweep that sets forget.json.

Not here: the model (it is read from --model, as exported: fp16 weights widened to float32). In order:
    sae.py collect   WORK/acts/{grid,style,object}-{hook}.npy: hook outputs, conditional half, [prompts,T,N,d]
                     and WORK/acts/grid-pictures-*.npy, the pictures of the grid
    sae.py train     WORK/sae/HOOK/{cfg.json,sae.safetensors}, WORK/sae-{domain}.json
    sae.py stats     WORK/sae/HOOK/stats.safetensors
    sae.py sweep     WORK/sae/HOOK/forget.json, WORK/sweep-{domain}.json
    sae.py verify    WORK/verify-{domain}.json: what the chosen pairs do, on new noise
Each stage but the last two goes on where it stopped. TopK sparse autoencoder:
f = topk(relu(W_enc (x - b_dec) + b_enc)), x^ = f W_dec + b_dec; trained with BatchTopK, used with TopK a token.
"""
import json

import numpy as np

import common
from sample import Model, Recorder, tokens

STYLED = common.STYLES[1:]                                  # the concepts of the style domain


def plan(prompts, lines, objects):
    """{set: prompts in noise order}. Statistics' sets run over concepts, then over a concept's prompts."""
    return {
        "grid": [common.caption(o, s) for o in common.OBJECTS for s in common.STYLES],
        "style": [common.with_style(prompts[o][0], s) for s in STYLED for o in common.OBJECTS[:objects]],
        "object": [p for o in common.OBJECTS for p in prompts[o][:lines]],
    }


def collect(a, torch, device):
    model, folder = Model(a.model, device), a.work / "acts"
    folder.mkdir(exist_ok=True)
    recorder = Recorder(model, a.batch, model.tokenizer.model_max_length)
    for name, prompts in plan(common.calibration(), a.lines, a.objects).items():
        if name not in a.sets:
            continue
        mark = folder / f"{name}.json"
        done = json.loads(mark.read_text())["done"] if mark.exists() else 0
        noise, files = model.noise(len(prompts), common.SEED), {}
        while done < len(prompts):
            part = slice(done, min(done + a.batch, len(prompts)))
            z = model.sample(prompts[part], noise[part], a.guidance)
            for k, acts in recorder.take().items():
                if k not in files:
                    path, shape = folder / f"{name}-{k}.npy", (len(prompts), *acts.shape[1:])
                    fits = path.exists() and done and np.load(path, mmap_mode="r").shape == shape
                    files[k] = np.lib.format.open_memmap(path, "r+" if fits else "w+", np.float32, shape)
                files[k][part] = acts.cpu().numpy()
            if name == "grid":
                np.save(folder / f"grid-pictures-{part.start}.npy", model.decode(z))
            done = part.stop
            mark.write_text(json.dumps(dict(done=done, of=len(prompts), guidance=a.guidance)))
            print(name, done, "of", len(prompts), flush=True)


class SAE:
    """The four tensors and the two directions. k = 0: no TopK."""

    def __init__(self, torch, enc, bias, dec, mean, k):
        self.torch, self.enc, self.bias, self.dec, self.mean, self.k = torch, enc, bias, dec, mean, k

    @classmethod
    def new(cls, torch, d, n, k, batch):
        """As torch's Linear starts: rows of W_dec those of W_enc at unit length, b_dec the batch's median."""
        enc = ((torch.rand(n, d) * 2 - 1) / d ** 0.5).to(batch.device)
        start = [enc, torch.zeros(n, device=batch.device), enc / enc.norm(dim=1, keepdim=True), geometric_median(batch)]
        return cls(torch, *(t.clone().requires_grad_() for t in start), k)

    @classmethod
    def load(cls, torch, folder, device="cpu"):
        from safetensors.torch import load_file
        t = {k: v.float().to(device) for k, v in load_file(folder / "sae.safetensors").items()}
        k = json.loads((folder / "cfg.json").read_text())["k"]
        return cls(torch, t["encoder.weight"], t["encoder.bias"], t["W_dec"], t["b_dec"], k)

    def tensors(self):
        return [self.enc, self.bias, self.dec, self.mean]

    def latents(self, x):
        return self.torch.relu((x - self.mean) @ self.enc.T + self.bias)

    def topk(self, z):
        v, i = z.topk(self.k, -1)
        return self.torch.zeros_like(z).scatter_(-1, i, v)

    def batch_topk(self, z):
        v, i = z.flatten().topk(len(z) * self.k, sorted=False)
        return self.torch.zeros_like(z).flatten().scatter(0, i, v).view_as(z)

    def decode(self, f):
        return f @ self.dec + self.mean

    def write(self, folder):
        from safetensors.torch import save_file
        folder.mkdir(parents=True, exist_ok=True)
        names = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")
        save_file({n: t.detach().cpu().half().contiguous() for n, t in zip(names, self.tensors())},
                  folder / "sae.safetensors", metadata={"format": "pt"})
        n, d = self.enc.shape
        (folder / "cfg.json").write_text(json.dumps(dict(
            activation="topk", expansion_factor=n // d, normalize_decoder=True, num_latents=n, k=self.k, d_in=d,
            multi_topk=False, signed=False, batch_topk=False, sample_topk=False, input_unit_norm=False,
            skip_connection=False), indent=2) + "\n")


def geometric_median(x, steps=100):
    """Weiszfeld's iteration from the mean."""
    guess = x.mean(0)
    for _ in range(steps):
        w = 1 / (x - guess).norm(dim=1, keepdim=True).clamp(min=1e-8)
        new = (x * w).sum(0) / w.sum()
        if (new - guess).norm() < 1e-5:
            return new
        guess = new
    return guess


def fvu(x, y):
    return ((y - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()


def maps(a, domain):
    """All recorded maps of a hook as arrays [P,T,N,d], memory-mapped."""
    files = (a.work / "acts" / f"{s}-{domain}.npy" for s in ("grid", "style", "object"))
    return [np.load(f, mmap_mode="r") for f in files if f.exists()]


def train(a, torch, device):
    for domain in a.domains:
        hook, facts_file = common.HOOKS[domain], a.work / f"sae-{domain}.json"
        out = a.work / "sae" / hook
        if facts_file.exists():
            continue
        sets = maps(a, domain)
        keys = np.array([(s, p, t) for s, m in enumerate(sets) for p in range(m.shape[0]) for t in range(m.shape[1])])
        kept = keys[:, 1] % 20 == 19                        # whole prompts, for the measurement
        held, keys = keys[kept], keys[~kept]
        rng = np.random.default_rng(42)
        keys = keys[rng.permutation(len(keys))]
        d, tokens_a_map = sets[0].shape[3], sets[0].shape[2]
        per = a.tokens // tokens_a_map

        def batch(rows):
            return torch.from_numpy(np.concatenate([sets[s][p, t] for s, p, t in rows])).to(device)

        torch.manual_seed(0)
        sae = SAE.new(torch, d, a.latents, a.k, batch(keys[:per]))
        params = sae.tensors()
        opt = torch.optim.Adam(params, lr=a.lr, eps=6.25e-10)
        total, step, idle = len(keys) // per * a.epochs, 0, torch.zeros(a.latents, device=device)
        for epoch in range(a.epochs):
            for i in range(0, len(keys) - per + 1, per):
                with torch.no_grad():
                    sae.dec /= sae.dec.norm(dim=1, keepdim=True) + 1e-8
                x = batch(keys[i:i + per])
                z = sae.latents(x)
                f = sae.batch_topk(z)
                y = sae.decode(f)
                loss = fvu(x, y)
                dead = idle > a.dead
                if dead.any():                              # auxk: the dead explain what is left over
                    m = min(d // 2, int(dead.sum()))
                    v, j = (z * dead - (~dead) * 1e9).topk(m, -1)
                    g = torch.zeros_like(z).scatter(1, j, torch.relu(v))
                    rest = ((g @ sae.dec - (x - y).detach()) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
                    loss = loss + min(1, int(dead.sum()) / (d // 2)) / 32 * rest
                opt.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(params, 1.0)
                with torch.no_grad():
                    sae.dec.grad -= (sae.dec.grad * sae.dec).sum(1, keepdim=True) * sae.dec
                for q in opt.param_groups:
                    q["lr"] = a.lr * max(0, (total - step) / total)
                opt.step()
                step += 1
                idle += len(x)
                idle[(f > 0).any(0)] = 0
                if step % 100 == 0:
                    print(hook, step, "of", total, f"loss {loss.item():.4f} dead {int(dead.sum())}", flush=True)
        sae.write(out)
        sae = SAE.load(torch, out, device)                  # as stored: half precision
        with torch.no_grad():
            x = batch(held[rng.permutation(len(held))[:400]])
            f = sae.topk(sae.latents(x))
            facts = dict(hook=hook, fvu=round(fvu(x, sae.decode(f)).item(), 4),
                         l0=round((f > 0).sum(1).float().mean().item(), 2),
                         dead=round(1 - (f > 0).any(0).float().mean().item(), 4),
                         tokens=step * per * tokens_a_map, prompts=sum(len(m) for m in sets))
        facts_file.write_text(json.dumps(facts, indent=1) + "\n")
        print(facts, flush=True)


def stats(a, torch, device):
    from safetensors.torch import save_file
    for domain, hook in common.HOOKS.items():
        out = a.work / "sae" / hook
        sae, acts = SAE.load(torch, out, device), np.load(a.work / "acts" / f"{domain}-{domain}.npy", mmap_mode="r")
        concepts = common.OBJECTS if domain == "object" else STYLED
        each, mu = len(acts) // len(concepts), {}
        for c, name in enumerate(concepts):
            rows = []
            for p in range(c * each, (c + 1) * each):
                x = torch.from_numpy(np.array(acts[p])).to(device)
                rows.append(sae.topk(sae.latents(x)).mean(1))
            mu[name] = torch.stack(rows).double().mean(0).half().cpu()
        step = 1000 // common.STEPS
        times = [i * step + 1 for i in range(common.STEPS)][::-1]
        guidance = json.loads((a.work / "acts" / f"{domain}.json").read_text())["guidance"]
        save_file(mu, out / "stats.safetensors", metadata=dict(
            hook=hook, steps=str(common.STEPS), timesteps=",".join(map(str, times)), seed=str(common.SEED),
            cfg=f"{guidance:g}", prompts=str(each), model="", sae=""))
        print(hook, len(mu), "concepts,", each, "prompts each", flush=True)


class Forget:
    """The ablation, a concept (or none) an image. mu [C,T,n] of one hook."""

    def __init__(self, model, folder, concepts):
        from safetensors.torch import load_file
        torch = self.torch = model.torch
        self.sae = SAE.load(torch, folder, model.device)
        t = load_file(folder / "stats.safetensors")
        self.mu = torch.stack([t[c].float() for c in concepts]).to(model.device)
        self.threshold = self.mu.mean(0)
        share = self.mu / (self.mu.sum(-1, keepdim=True) + 1e-8)
        other = (self.mu.sum(0) - self.mu) / (len(concepts) - 1)
        self.order = (share - other / (other.sum(-1, keepdim=True) + 1e-8)).argsort(-1, descending=True)
        self.step, self.jobs = 0, []

    def hook(self, module, inputs, output):
        torch, t = self.torch, self.step
        if not any(self.jobs):
            return None
        y = output[0] if isinstance(output, tuple) else output.sample
        x = tokens(output)
        n = self.mu.shape[-1]
        factor = torch.ones(len(self.jobs), 1, n, device=x.device)
        for b, job in enumerate(self.jobs):
            if job:
                c, k, g = job
                i = self.order[c, t, :k]
                factor[b, 0, i] = g * self.mu[c, t, i]
        factor = torch.cat([factor, factor])                # both halves of the guided batch
        f = self.sae.topk(self.sae.latents(x))
        change = torch.where(f > self.threshold[t], f * factor - f, torch.zeros_like(f))
        x = x + change @ self.sae.dec
        return (x.transpose(1, 2).reshape(y.shape),)


class Trials:
    """Images with one concept forgotten each, judged. got {(domain, concept, pair): ua, ira, cra lists}."""

    def __init__(self, a, torch, device):
        import classifier
        self.a, self.torch, self.model = a, torch, Model(a.model, device)
        self.judge = {k: (lambda net: lambda pics: classifier.judge(net, pics))(
            classifier.load(a.work / "classifier" / k)[0]) for k in ("object", "style")}
        self.names = {k: common.OBJECTS if k == "object" else STYLED for k in a.domains}
        self.forget = {k: Forget(self.model, a.work / "sae" / common.HOOKS[k], self.names[k]) for k in self.names}
        for k, f in self.forget.items():
            self.model.unet.get_submodule(common.HOOKS[k]).register_forward_hook(f.hook)
        self.rng, self.clock, self.got = np.random.default_rng(a.seed), common.Clock(a.seconds), {}

    def jobs(self, domain, c, pair, count):
        """`count` pictures of the concept, `count` of others: (domain, concept, pair, object, style, noise index)."""
        rng, n, out = self.rng, len(self.names[domain]), []
        for _ in range(count):
            other = int((c + rng.integers(1, n)) % n)
            for i in (c, other):
                o, s = (int(rng.integers(20)), i + 1) if domain == "style" else (i, int(rng.integers(11)))
                out.append((domain, c, pair, o, s, int(rng.integers(1000))))
        return out

    def at(self, step):
        for f in self.forget.values():
            f.step = (step + 1) * common.STEPS // self.a.sweep_steps - 1

    def run(self, jobs):
        """Returns False when time ran out before the last job."""
        a, torch, model = self.a, self.torch, self.model
        self.rng.shuffle(jobs)
        for i in range(0, len(jobs), a.batch):
            if self.clock.share() >= 1:
                return False
            part = jobs[i:i + a.batch]
            for k, f in self.forget.items():
                f.jobs = [(j[1], *j[2]) if j[0] == k else None for j in part]
            noise = torch.cat([model.noise(1, a.seed, j[5]) for j in part])
            captions = [common.caption(common.OBJECTS[j[3]], common.STYLES[j[4]]) for j in part]
            pics = torch.from_numpy(model.decode(model.sample(captions, noise, a.guidance, a.sweep_steps, self.at)))
            objects, styles = self.judge["object"](pics), self.judge["style"](pics)
            for b, (domain, c, pair, o, s, _) in enumerate(part):
                p = [objects[b, o].item(), styles[b, s].item()]
                own, else_ = p if domain == "object" else p[::-1]
                record = self.got.setdefault((domain, c, pair), dict(ua=[], ira=[], cra=[]))
                if c == (o if domain == "object" else s - 1):
                    record["ua"].append(1 - own)
                    record["cra"].append(else_)
                else:
                    record["ira"].append(own)
            print(f"{self.clock.elapsed():.0f} s", i + len(part), "of", len(jobs), flush=True)
        return True


def mean_score(records):
    """(score, [UA, IRA, CRA]) of some records together; what has no image counts 0."""
    m = [float(np.mean(sum((r[w] for r in records), []) or [0.0])) for w in ("ua", "ira", "cra")]
    return (m[0] + m[1] + m[2] / 2) / 2.5, m


def sweep(a, torch, device):
    """Successive rounds: all pairs on a few concepts, the best pairs on all, the best two of each concept again.
    Half the steps (--sweep-steps): their times are every second of the statistics', which are looked up by time.
    Score: (UA + IRA + CRA/2) / 2.5, by the judges' probabilities; a concept's few images are pooled with the
    mean of its domain."""
    trials = Trials(a, torch, device)
    got, names, rng = trials.got, trials.names, trials.rng
    pairs = [(k, g) for k in a.tops for g in a.strengths]

    def pooled(domain):
        table = {p: [r for (k, _, q), r in got.items() if k == domain and q == p] for p in pairs}
        return {p: mean_score(rows) for p, rows in table.items() if rows}

    def own(domain, c, prior=2):
        """{pair: shrunk score} of a concept"""
        out = {}
        for p, (score, _) in pooled(domain).items():
            r = got.get((domain, c, p))
            if r and r["ua"] and r["ira"]:
                n = len(r["ua"])
                out[p] = (n * mean_score([r])[0] + prior * score) / (n + prior)
        return out

    among = {k: [c for c, n in enumerate(names[k]) if not a.concepts or n in a.concepts] for k in names}
    trials.run([j for k in names for p in pairs for c in rng.permutation(among[k])[:a.first].tolist()
                for j in trials.jobs(k, c, p, 1)])
    best = {k: sorted(pooled(k), key=lambda p: -pooled(k)[p][0])[:a.keep] for k in names}
    print("first round", {k: [(p, round(pooled(k)[p][0], 3)) for p in best[k]] for k in best}, flush=True)
    if trials.run([j for k in names for c in among[k] for p in best[k] for j in trials.jobs(k, c, p, 1)]):
        jobs = []
        for k in names:
            for c in among[k]:
                mine = own(k, c)
                for p in sorted(mine, key=lambda p: -mine[p])[:2]:
                    jobs += trials.jobs(k, c, p, a.last)
        trials.run(jobs)

    for k in names:
        file = a.work / "sae" / common.HOOKS[k] / "forget.json"
        chosen = json.loads(file.read_text()) if a.concepts and file.exists() else {}
        for c in among[k]:
            mine = own(k, c)
            p = max(mine, key=mine.get) if mine else best[k][0] if best[k] else pairs[0]
            chosen[names[k][c]] = dict(top=p[0], strength=p[1])
        file.write_text(json.dumps(chosen, indent=1) + "\n")
        table = {f"{p[0]} {p[1]:g}": [round(x, 3) for x in v[1]] for p, v in pooled(k).items()}
        (a.work / f"sweep-{k}.json").write_text(json.dumps(table, indent=1) + "\n")
        print(k, table, flush=True)


def verify(a, torch, device):
    """The chosen pairs on new noise (--seed): UA, IRA, CRA of each concept and on the mean."""
    trials = Trials(a, torch, device)
    files = {k: a.work / "sae" / common.HOOKS[k] / "forget.json" for k in trials.names}
    chosen = {k: json.loads(f.read_text()) for k, f in files.items()}
    pair = {(k, c): (chosen[k][n]["top"], chosen[k][n]["strength"]) for k, names in trials.names.items()
            for c, n in enumerate(names)}
    trials.run([j for (k, c), p in pair.items() for j in trials.jobs(k, c, p, a.last)])
    for k, names in trials.names.items():
        rows = {n: trials.got[(k, c, pair[(k, c)])] for c, n in enumerate(names) if (k, c, pair[(k, c)]) in trials.got}
        ua, ira, cra = (round(x, 3) for x in mean_score(list(rows.values()))[1])
        report = dict(ua=ua, ira=ira, cra=cra, images=sum(len(r["ua"]) + len(r["ira"]) for r in rows.values()),
                      seed=a.seed, steps=a.sweep_steps,
                      concepts={n: [round(x, 3) for x in mean_score([r])[1]] for n, r in rows.items()})
        (a.work / f"verify-{k}.json").write_text(json.dumps(report, indent=1) + "\n")
        print(k, report, flush=True)


def main():
    p = common.arguments(__doc__)
    p.add_argument("stage", choices=["collect", "train", "stats", "sweep", "verify"])
    p.add_argument("--model", type=common.pathlib.Path, default=None, help="default: WORK/emojicanvas")
    p.add_argument("--guidance", type=float, default=6.0)
    p.add_argument("--lines", type=int, default=80, help="calibration lines an object in the statistics")
    p.add_argument("--domains", nargs="+", default=list(common.HOOKS), help="of the autoencoders, of the sweep")
    p.add_argument("--objects", type=int, default=20, help="objects whose first line the styles' statistics take")
    p.add_argument("--sets", nargs="+", default=["grid", "style", "object"],
                   help="what to collect (several processes can share it)")
    p.add_argument("--batch", type=int, default=20, help="images at once")
    p.add_argument("--latents", type=int, default=1024)
    p.add_argument("--k", type=int, default=16)
    p.add_argument("--tokens", type=int, default=4096, help="tokens a batch")
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--dead", type=int, default=200000, help="tokens without firing after which a latent is dead")
    p.add_argument("--seconds", type=float, default=600, help="time of the sweep, of verify")
    p.add_argument("--concepts", nargs="+", default=[], help="sweep these alone; the others keep their pairs")
    p.add_argument("--sweep-steps", type=int, default=25, help="steps of the sweep's images; a divisor of 50")
    p.add_argument("--first", type=int, default=6, help="concepts a pair is first tried on")
    p.add_argument("--last", type=int, default=3, help="image pairs of a concept's best two in the last round")
    p.add_argument("--keep", type=int, default=5, help="pairs that reach the sweep's second round")
    p.add_argument("--seed", type=int, default=288, help="noise of the sweep's images; give verify another")
    p.add_argument("--tops", type=int, nargs="+", default=[1, 2, 4, 8])
    p.add_argument("--strengths", type=float, nargs="+", default=[-0.5, -1.0, -2.0, -5.0])
    a = p.parse_args()
    torch, device = common.prepare(a)
    a.model = a.model or a.work / "emojicanvas"
    globals()[a.stage](a, torch, device)


if __name__ == "__main__":
    main()
