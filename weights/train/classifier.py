"""The two judges: small Vision Transformers, their tensors named as timm's VisionTransformer names them.

Not here: what they judge with (sample.py). Reads WORK/set.npz and WORK/vae, writes WORK/classifier/{object,style}
(config.json, model.safetensors) and WORK/classifier.json, the verdict on pictures kept from training: fresh
placements of known drawings, and drawings never seen (one an object that has ten or more).
"""
import json
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import common

CONFIG = dict(architecture="vision_transformer", img_size=64, patch_size=8, in_chans=3, embed_dim=64, depth=4,
              num_heads=4, mlp_ratio=4.0, qkv_bias=True, class_token=True, global_pool="token", norm_eps=1e-6,
              mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], interpolation="bilinear")


class Block(nn.Module):
    """timm Block: x += attn(norm1(x)); x += mlp(norm2(x))."""

    def __init__(self, width, heads, ratio):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict(dict(qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width)))
        hidden = int(width * ratio)
        self.mlp = nn.ModuleDict(dict(fc1=nn.Linear(width, hidden), fc2=nn.Linear(hidden, width)))

    def forward(self, x):
        b, n, w = x.shape
        q, k, v = self.attn["qkv"](self.norm1(x)).view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, w)
        x = x + self.attn["proj"](y)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class ViT(nn.Module):
    """timm VisionTransformer with a class token, no dropout, head on the token."""

    def __init__(self, classes, c=CONFIG):
        super().__init__()
        w, p = c["embed_dim"], c["patch_size"]
        self.patch_embed = nn.ModuleDict(dict(proj=nn.Conv2d(c["in_chans"], w, p, p)))
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, w))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + (c["img_size"] // p) ** 2, w))
        self.blocks = nn.ModuleList(Block(w, c["num_heads"], c["mlp_ratio"]) for _ in range(c["depth"]))
        self.norm, self.head = nn.LayerNorm(w, eps=c["norm_eps"]), nn.Linear(w, classes)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x)[:, 0])


def load(folder):
    """A judge and its label names."""
    from safetensors.torch import load_file
    config = json.loads((folder / "config.json").read_text())
    net = ViT(config["num_classes"], config)
    net.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return net.eval(), config["label_names"]


def write(folder, net, labels):
    from safetensors.torch import save_file
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().half().contiguous() for k, v in net.state_dict().items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(dict(CONFIG, num_classes=len(labels), label_names=labels),
                                                   indent=2) + "\n")


def judge(net, pictures):
    """Class probabilities [B,classes] of uint8 pictures [B,64,64,3]."""
    with torch.no_grad():
        return torch.cat([net(b.permute(0, 3, 1, 2).float() / 127.5 - 1).softmax(-1) for b in pictures.split(256)])


def verdict(folder, pictures, pairs):
    """What the judges say of pictures meant as (object, style) pairs."""
    o, s = (torch.tensor([p[i] for p in pairs]) for i in (0, 1))
    po, ps = judge(load(folder / "object")[0], pictures), judge(load(folder / "style")[0], pictures)
    right_o, right_s = po.argmax(1) == o, ps.argmax(1) == s
    p = po[torch.arange(len(o)), o]
    worst = p.argsort()[:10].tolist()
    return dict(of=len(pairs), objects_right=int(right_o.sum()), styles_right=int(right_s.sum()),
                per_object={n: int(right_o[o == i].sum()) for i, n in enumerate(common.OBJECTS)},
                per_style={n: int(right_s[s == i].sum()) for i, n in enumerate(common.STYLES)},
                worst=[[common.OBJECTS[pairs[i][0]], common.STYLES[pairs[i][1]], round(p[i].item(), 5)] for i in worst])


def augment(x, rng):
    """Shift, mirror, blur, grain, brightness: what a generated picture may differ by. x [B,3,64,64] in -1..1."""
    if rng.random() < 0.5:
        x = x.flip(3)
    shift = int(rng.integers(-4, 5)), int(rng.integers(-4, 5))
    x = F.pad(x, (4, 4, 4, 4), mode="replicate")[:, :, 4 + shift[0]:68 + shift[0], 4 + shift[1]:68 + shift[1]]
    if rng.random() < 0.5:
        n = int(rng.integers(54, 64))
        x = F.interpolate(F.interpolate(x, size=n, mode="bilinear", antialias=True), size=64, mode="bilinear")
    if rng.random() < 0.3:
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x * rng.uniform(0.85, 1.1) + rng.uniform(-0.1, 0.1)
    return x + rng.uniform(0, 0.12) * torch.randn_like(x)


def main():
    p = common.arguments(__doc__)
    p.add_argument("--seconds", type=float, default=300, help="training time; objects take 1.6 times it, styles 0.4")
    p.add_argument("--judges", nargs="+", default=["style", "object"], help="which to train")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--round-trips", type=int, default=6000,
                   help="pictures also shown as the autoencoder returns them from slightly noisy latents: half of all")
    a = p.parse_args()
    _, device = common.prepare(a)
    torch.manual_seed(0)
    data = np.load(a.work / "set.npz")
    x, obj, sty, src = data["x"], data["obj"], data["sty"], data["art"]
    rng = np.random.default_rng(3)
    unseen = []
    for i in range(len(common.OBJECTS)):
        mine = np.unique(src[obj == i])
        if len(mine) >= 10:
            unseen.append(rng.choice(mine))
    new = np.isin(src, unseen)
    fresh = ~new & (np.arange(len(x)) // len(common.STYLES) % 20 == 0)
    train = np.flatnonzero(~new & ~fresh)

    if a.round_trips:
        from diffusers import AutoencoderKL
        vae = AutoencoderKL.from_pretrained(a.work / "vae").eval().requires_grad_(False)
        pick, back = rng.choice(train, a.round_trips, replace=False), []
        for i in range(0, len(pick), 64):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                z = vae.encode(torch.from_numpy(x[pick[i:i + 64]]).permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist
                z = z.sample() + 0.4 * torch.rand(len(z.mean), 1, 1, 1) * torch.randn_like(z.mean)
                y = vae.decode(z).sample
            back.append(((y.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
        first = len(x)
        x, obj, sty = np.concatenate([x, *back]), np.concatenate([obj, obj[pick]]), np.concatenate([sty, sty[pick]])
        fresh, new = (np.concatenate([m, np.zeros(a.round_trips, bool)]) for m in (fresh, new))
        train = np.concatenate([train, np.repeat(np.arange(first, len(x)), len(train) // a.round_trips)])
        print("round trips made", flush=True)

    facts_file = a.work / "classifier.json"
    facts = json.loads(facts_file.read_text()) if facts_file.exists() else {}
    for name, label, classes in (("style", sty, common.STYLES), ("object", obj, common.OBJECTS)):
        if name not in a.judges:
            continue
        net, y = ViT(len(classes)).to(device), torch.from_numpy(label).to(device)
        check, step, used = a.work / f"classifier-{name}.pt", 0, 0.0
        seconds = a.seconds * (0.4 if name == "style" else 1.6)      # styles are easy
        opt = torch.optim.AdamW(net.parameters(), lr=a.lr, weight_decay=0.03)
        if check.exists():
            c = torch.load(check, map_location=device)
            net.load_state_dict(c["net"])
            opt.load_state_dict(c["opt"])
            step, used = c["step"], c["used"]
        elif a.start:
            from safetensors.torch import load_file
            net.load_state_dict(load_file(a.start / "classifier" / name / "model.safetensors"))
        clock = common.Clock(seconds, used)
        while clock.share() < 1:
            for g in opt.param_groups:
                g["lr"] = a.lr * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * clock.share()))
            i = rng.choice(train, a.batch)
            b = augment(torch.from_numpy(x[i]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1, rng)
            loss = F.cross_entropy(net(b), y[torch.from_numpy(i).to(device)], label_smoothing=0.05)
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            step += 1
            if step % 100 == 0:
                print(name, step, f"{clock.elapsed():.0f} s loss {loss.item():.3f}", flush=True)
            if step % 500 == 0:
                common.save_atomically(torch, check, dict(net=net.state_dict(), opt=opt.state_dict(), step=step,
                                                          used=clock.elapsed()))
        common.save_atomically(torch, check, dict(net=net.state_dict(), opt=opt.state_dict(), step=step,
                                                  used=clock.elapsed()))
        write(a.work / "classifier" / name, net, classes)
        net = load(a.work / "classifier" / name)[0]
        facts[name] = dict(pictures_seen=step * a.batch)
        for what, mask in (("fresh_placements", fresh), ("unseen_drawings", new)):
            hit = judge(net, torch.from_numpy(x[mask])).argmax(1) == torch.from_numpy(label[mask])
            facts[name][what] = round(hit.float().mean().item(), 4)
        print(name, facts[name], flush=True)
        facts_file.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
