"""Which attention of the UNet decides an object, which a style: the choice of the two hooks, measured.

Not here: sparse autoencoders. Of every Transformer2DModel, on drawn pictures:
    share   of the variance of all tokens of its output (conditional half) that lies between objects, between styles
    swap    its output replaced, at every step, by what it is for another object (style) at the same latents: how many
            pictures the judge still calls by the caption's object (style), and by the other's
A hook suits a domain when a swap there decides it and its share is large beside the other domain's. Writes WORK/hooks.json.
"""
import json

import numpy as np

import classifier
import common
from sample import Model


class Swap:
    """Guided sampling in which one attention's output is recorded or replaced."""

    def __init__(self, a, torch, device):
        self.a, self.torch, self.model = a, torch, Model(a.model, device)
        self.judges = {k: classifier.load(a.model / "classifier" / k)[0] for k in ("object", "style")}
        self.names = [n for n, m in self.model.unet.named_modules() if type(m).__name__ == "Transformer2DModel"]
        self.at, self.other, self.kept, self.maps = None, False, {}, None
        for n in self.names:
            self.model.unet.get_submodule(n).register_forward_hook(lambda m, i, out, n=n: self.hook(n, out))

    def hook(self, name, out):
        if self.maps is not None:
            self.maps.setdefault(name, []).append(out[0].flatten(2).transpose(1, 2).chunk(2)[1].clone())
        if name != self.at:
            return None
        if self.other:
            self.kept[name] = out[0]
            return None
        return (self.kept[name],)

    def draw(self, noise, captions, others=None, at=None):
        """uint8 pictures of the captions; `at`: that attention sees the others instead."""
        torch, model = self.torch, self.model
        with torch.no_grad():
            nothing = model.embed([""]).expand(len(captions), -1, -1)
            text = torch.cat([nothing, model.embed(captions)])
            swapped = torch.cat([nothing, model.embed(others)]) if at else None
            model.schedule.set_timesteps(self.a.steps)
            z = noise
            for t in model.schedule.timesteps:
                both = torch.cat([z, z])
                if at:
                    self.at, self.other = at, True
                    model.unet(both, t, swapped)
                    self.other = False
                u, c = model.unet(both, t, text, return_dict=False)[0].chunk(2)
                z = model.schedule.step(u + self.a.guidance * (c - u), t, z).prev_sample
            self.at = None
        return torch.from_numpy(model.decode(z))

    def judge(self, kind, pictures):
        return classifier.judge(self.judges[kind], pictures).argmax(1).numpy()


def shares(maps, objects, styles):
    """{object, style}: share of the variance of all tokens between the classes' mean tokens, mean over steps. maps [T] of [B,N,d]."""
    out = {}
    for name, label in (("object", objects), ("style", styles)):
        rows = []
        for x in maps:
            x = x.double().numpy()
            total = ((x - x.mean((0, 1))) ** 2).sum(-1).mean()
            means = np.stack([x[label == c].mean((0, 1)) for c in np.unique(label)])
            rows.append(((means - means.mean(0)) ** 2).sum(-1).mean() / total)
        out[name] = float(np.mean(rows))
    return out


def main():
    p = common.arguments(__doc__)
    p.add_argument("--model", type=common.pathlib.Path, default=common.MODEL)
    p.add_argument("--guidance", type=float, default=6)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--pictures", type=int, default=40, help="of each swap")
    p.add_argument("--seed", type=int, default=4242, help="neither statistics', sweep's nor test's")
    a = p.parse_args()
    torch, device = common.prepare(a)
    swap, rng, n = Swap(a, torch, device), np.random.default_rng(5), a.pictures
    pairs = [(o, s) for o in range(len(common.OBJECTS)) for s in range(len(common.STYLES))]

    def captions(o, s):
        return [common.caption(common.OBJECTS[i], common.STYLES[j]) for i, j in zip(o, s)]

    every, maps = np.array(pairs).T, {}
    for first in range(0, len(pairs), 44):                  # every object in every style once, for the shares
        o, s = every[:, first:first + 44]
        swap.maps = {}
        swap.draw(swap.model.noise(len(o), a.seed, 1000 + first), captions(o, s))
        for k, v in swap.maps.items():
            maps.setdefault(k, []).append(v)
    swap.maps = None
    o, s = np.arange(n) % 20, rng.integers(0, 11, n)
    o2, s2 = (o + rng.integers(1, 20, n)) % 20, (s + rng.integers(1, 11, n)) % 11
    noise, table = swap.model.noise(n, a.seed), {}
    for name in swap.names:
        steps = [torch.cat(rows) for rows in zip(*maps[name])]
        row = dict(share={k: round(100 * v, 1) for k, v in shares(steps, *every).items()})
        for kind, mine, others, new in (("object", o, captions(o2, s), o2), ("style", s, captions(o, s2), s2)):
            seen = swap.judge(kind, swap.draw(noise, captions(o, s), others, name))
            row[kind] = dict(still=int((seen == mine).sum()), became=int((seen == new).sum()), of=n)
        table[name] = row
        print(name, json.dumps(row), flush=True)
    (a.work / "hooks.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
