"""The two judges: small Vision Transformers, their tensors named as timm's VisionTransformer names them.

Not here: what they judge with (sample.py). Reads WORK/{set,more,fresh}.npz and WORK/vae. Writes WORK/round-trips.npz,
WORK/classifier/{object,style} (config.json, model.safetensors) and WORK/classifier.json, the verdict in counts: fresh
renderings (other placements, mirrorings, sizes) of known drawings, the same with noise, the same as the autoencoder
returns them; and of a second network, trained without them, whole icon sets (--hold-out).
timm itself is not used: it needs torchvision, whose PyPI wheel does not load beside a CPU build of PyTorch.
"""
import json
import math
import os
import shutil

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import common

SHAPE = dict(style=dict(embed_dim=64, depth=2, num_heads=2), object=dict(embed_dim=96, depth=5, num_heads=3))
CONFIG = dict(architecture="vision_transformer", img_size=64, patch_size=8, in_chans=3, mlp_ratio=4.0, qkv_bias=True,
              class_token=True, global_pool="token", norm_eps=1e-6,
              mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], interpolation="bilinear")
CLASSES = dict(style=common.STYLES, object=common.OBJECTS)
NOISE = 0.12                                    # deviation of the noise, at most; pictures are in -1..1


class Block(nn.Module):
    """timm Block: x += attn(norm1(x)); x += mlp(norm2(x)). Attention spelled out: at 65 tokens on a CPU twice as fast
    as scaled_dot_product_attention's backward pass."""

    def __init__(self, width, heads, ratio):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict(dict(qkv=nn.Linear(width, 3 * width), proj=nn.Linear(width, width)))
        hidden = int(width * ratio)
        self.mlp = nn.ModuleDict(dict(fc1=nn.Linear(width, hidden), fc2=nn.Linear(hidden, width)))

    def forward(self, x):
        b, n, w = x.shape
        d = w // self.heads
        q, k, v = self.attn["qkv"](self.norm1(x)).view(b, n, 3, self.heads, d).permute(2, 0, 3, 1, 4) \
            .reshape(3, b * self.heads, n, d)
        y = torch.bmm(torch.bmm(q * d ** -0.5, k.transpose(1, 2)).softmax(-1).to(v.dtype), v)
        x = x + self.attn["proj"](y.view(b, self.heads, n, d).transpose(1, 2).reshape(b, n, w))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class ViT(nn.Module):
    """timm VisionTransformer with a class token, no dropout, head on the token."""

    def __init__(self, classes, c):
        super().__init__()
        w, p = c["embed_dim"], c["patch_size"]
        self.patch_embed = nn.ModuleDict(dict(proj=nn.Conv2d(c["in_chans"], w, p, p)))
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, w))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + (c["img_size"] // p) ** 2, w))
        self.blocks = nn.ModuleList(Block(w, c["num_heads"], c["mlp_ratio"]) for _ in range(c["depth"]))
        self.norm, self.head = nn.LayerNorm(w, eps=c["norm_eps"]), nn.Linear(w, classes)

    def features(self, x, kept=None):
        """The class token at the end. kept [B,n]: the patches of each picture that are looked at (timm PatchDropout)."""
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        if kept is not None:
            x = x.gather(1, kept[:, :, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1), x], 1)
        for b in self.blocks:
            x = b(x)
        return self.norm(x)[:, 0]

    def forward(self, x):
        return self.head(self.features(x))


def load(folder):
    """A judge and its label names."""
    from safetensors.torch import load_file
    config = json.loads((folder / "config.json").read_text())
    net = ViT(config["num_classes"], config)
    net.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return net.eval(), config["label_names"]


def write(folder, net, config, labels):
    from safetensors.torch import save_file
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().half().contiguous() for k, v in net.state_dict().items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(dict(config, num_classes=len(labels), label_names=labels),
                                                   indent=2) + "\n")


def judge(net, pictures):
    """Class probabilities [B,classes] of uint8 pictures [B,64,64,3]."""
    with torch.no_grad():
        return torch.cat([net(scaled(b)).softmax(-1) for b in pictures.split(256)])


def scaled(pictures):
    """uint8 [B,64,64,3] as float32 [B,3,64,64] in -1..1."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


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


def augment(x, freely=False):
    """Mirror, size, place, blur, brightness and noise of each picture anew: what a generated one may differ by.
    Freely: turned, sheared, warped and recoloured too, which leaves an object what it is, but not a style.
    x [B,3,64,64] in -1..1."""
    n = len(x)

    def between(low, high):
        return low + (high - low) * torch.rand(n, 1, 1, 1, device=x.device)

    size, at = between(0.9, 1.1).view(n), torch.zeros(n, 2, 3, device=x.device)
    at[:, 0, 0], at[:, 1, 1] = size * (1 - 2 * torch.randint(2, (n,), device=x.device)), size
    at[:, :, 2] = 0.24 * torch.rand(n, 2, device=x.device) - 0.12
    if freely:
        turn, shear, flat = between(-0.2, 0.2).view(n), between(-0.12, 0.12).view(n), between(0.88, 1.12).view(n)
        turned = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).view(n, 2, 2)
        sheared = torch.stack([torch.ones_like(flat), shear, torch.zeros_like(flat), flat], 1).view(n, 2, 2)
        at[:, :, :2] = at[:, :, :2] @ turned @ sheared
    grid = F.affine_grid(at, x.shape, align_corners=False)
    if freely:                                  # 5 x 5 points pushed about, all between them following smoothly
        push = between(0, 0.08) * torch.randn(n, 2, 5, 5, device=x.device)
        grid = grid + F.interpolate(push, x.shape[2:], mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.where(between(0, 1) < 0.25, soft, x)
    if freely:
        mixed = torch.eye(3, device=x.device) + between(0, 0.35)[..., 0] * torch.randn(n, 3, 3, device=x.device)
        x = torch.einsum("nij,njhw->nihw", mixed, x) * between(0.6, 1.2) + between(-0.2, 0.2)
    else:
        x = x * between(0.85, 1.1) + between(-0.1, 0.1)
    return x + between(0, NOISE) * torch.randn_like(x)


def round_trips(a, x, device):
    """`a.round_trips` of the pictures as the autoencoder returns them, half with somewhat noisy latents: which (indices
    into x), and how they look. Made once, kept in WORK/round-trips.npz."""
    file = a.work / "round-trips.npz"
    if not file.exists():
        pick = np.random.default_rng(3).permutation(len(x))[:a.round_trips]
        back = returned(a, x[pick], device, 0.4)
        part = a.work / "round-trips.part.npz"
        np.savez(part, which=pick, x=back)
        os.replace(part, file)
    data = np.load(file)
    return data["which"], data["x"]


def returned(a, x, device, noise):
    """uint8 pictures as the autoencoder returns them; the noise's deviation is up to `noise` (half of them: 0)."""
    from diffusers import AutoencoderKL
    vae, back = AutoencoderKL.from_pretrained(a.vae or a.work / "vae").to(device).eval(), []
    for b in torch.from_numpy(x).split(64):
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
            z = vae.encode(scaled(b.to(device))).latent_dist.sample()
            much = noise * (2 * torch.rand(len(z), 1, 1, 1, device=device) - 1).clamp(min=0)
            y = vae.decode(z + much * torch.randn_like(z)).sample
        back.append(((y.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(back)


def train(a, name, pictures, x, labels, rows, device, tag=""):
    """A judge trained on so many pictures, drawn from the rows of x: labels {style, object, drawing, placement: the
    first row of the same drawing in the same place}. Half precision where autocast allows it.
    The judge of objects also learns to name the drawing, by a second head that is then dropped: it says more about a
    picture than the object's name. Returns the network and the pictures it saw."""
    config = dict(CONFIG, **SHAPE[name])
    torch.manual_seed(0)
    rng = np.random.default_rng(3)
    net = ViT(len(CLASSES[name]), config).to(device)
    extra = nn.Linear(config["embed_dim"], int(labels["drawing"].max()) + 1).to(device)
    params = [*net.parameters(), *extra.parameters()]
    opt = torch.optim.AdamW(params, lr=a.lr, weight_decay=0.05)
    check, step = a.work / f"classifier-{name}{tag}.pt", 0
    if check.exists():
        c = torch.load(check, map_location=device)
        net.load_state_dict(c["net"])
        extra.load_state_dict(c["extra"])
        opt.load_state_dict(c["opt"])
        step = c["step"]
        torch.manual_seed(step)
        rng = np.random.default_rng([3, step])
    elif a.start and not tag:
        from safetensors.torch import load_file
        net.load_state_dict(load_file(a.start / "classifier" / name / "model.safetensors"))
    features = torch.compile(net.features) if a.compile else net.features
    y, which = (torch.from_numpy(labels[k]).to(device) for k in (name, "drawing"))

    def save():
        common.save_atomically(torch, check, dict(net=net.state_dict(), extra=extra.state_dict(),
                                                  opt=opt.state_dict(), step=step))

    clock, saved, began, steps = common.Clock(1e9, until=a.until), 0.0, step, math.ceil(pictures / a.batch)
    while (share := max(step / steps, clock.share())) < 1:
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1, (step + 1) / 300) * (0.5 + 0.5 * math.cos(math.pi * share))
        i = rng.choice(rows, a.batch)
        b = scaled(torch.from_numpy(x[i]).to(device))
        if name == "object":                    # half of them part way to another style of the same placement
            far = 0.5 * (2 * torch.rand(len(b), 1, 1, 1, device=device) - 1).clamp(min=0)
            other = labels["placement"][i] + rng.integers(len(common.STYLES), size=len(i))
            b = b.lerp(scaled(torch.from_numpy(x[other]).to(device)), far)
        b, i = augment(b, freely=name == "object"), torch.from_numpy(i).to(device)
        kept = torch.rand(len(b), 64, device=device).topk(a.patches, -1)[1] if share < 0.9 else None
        with torch.autocast(device.type, dtype=torch.bfloat16):
            token = net.features(b) if kept is None else features(b, kept)
            loss = F.cross_entropy(net.head(token).float(), y[i], label_smoothing=0.05)
            if name == "object":
                loss = loss + F.cross_entropy(extra(token).float(), which[i], label_smoothing=0.05)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        step += 1
        if step % 100 == 0:
            rate = (step - began) * a.batch / clock.elapsed()
            print(f"{name}{tag} {step} of {steps} {rate:.0f} pictures/s loss {loss.item():.3f}", flush=True)
        if clock.elapsed() - saved > 60:
            save()
            saved = clock.elapsed()
    save()
    return net, config, step * a.batch


def count(net, x, label):
    """[right, of]"""
    right = judge(net.cpu().eval(), torch.from_numpy(x)).argmax(1) == torch.from_numpy(label)
    return [int(right.sum()), len(right)]


def main():
    p = common.arguments(__doc__)
    p.add_argument("--pictures", type=int, default=1_000_000, help="shown in training; the judge of styles takes an eighth")
    p.add_argument("--until", help="end each training at this time of day (HH:MM) if it has not seen them all by then")
    p.add_argument("--judges", nargs="+", default=["style", "object"], choices=["style", "object"],
                   help="to train; another is --from's, and only measured")
    p.add_argument("--hold-out", nargs="*", default=["noto", "noto-v1"], help="icon sets a second, shorter training "
                   "does without and is judged by (none: no such training)")
    p.add_argument("--hold-out-pictures", type=int, default=250_000)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--patches", type=int, default=32, help="of 64, drawn anew for each picture, that are looked at in "
                   "the first nine tenths of the training: twice as fast")
    p.add_argument("--vae", type=common.pathlib.Path, help="the autoencoder (default: WORK/vae)")
    p.add_argument("--round-trips", type=int, default=20000,
                   help="pictures also shown as the autoencoder returns them: half of all that is shown")
    p.add_argument("--compile", action="store_true", help="torch.compile: needs a C++ compiler, trains a third faster")
    a = p.parse_args()
    if not a.start and set(a.judges) != set(CLASSES):
        p.error("a judge that --judges does not name needs --from, the model folder that has it")
    _, device = common.prepare(a)
    torch.manual_seed(0)
    parts = [np.load(a.work / f"{n}.npz") for n in ("set", "more")]
    names = parts[0]["names"]
    x, obj, sty, art = (np.concatenate([p[k] for p in parts]) for k in ("x", "obj", "sty", "art"))
    which, back = round_trips(a, x, device)
    rows = np.concatenate([np.arange(len(x)), np.repeat(np.arange(len(x), len(x) + len(which)), len(x) // len(which))])
    x, obj, sty, art = (np.concatenate([v, w]) for v, w in
                        ((x, back), (obj, obj[which]), (sty, sty[which]), (art, art[which])))
    placed = np.concatenate([np.arange(len(x) - len(which)), which])        # dataset.py: every style of a placement in turn
    labels = dict(object=obj, style=sty, drawing=art, placement=placed - placed % len(common.STYLES))
    fresh = np.load(a.work / "fresh.npz")
    grain = np.random.default_rng(5)
    noisy = (fresh["x"] + 127.5 * NOISE * grain.random((len(fresh["x"]), 1, 1, 1))
             * grain.standard_normal(fresh["x"].shape)).round().clip(0, 255).astype(np.uint8)
    test = dict(fresh=fresh["x"], noisy=noisy)
    answer = dict(object=fresh["obj"], style=fresh["sty"])
    outside = np.array([n.split("/")[0] in a.hold_out for n in names])

    facts = {}
    for name in CLASSES:
        share, seen = 1 / 8 if name == "style" else 1, None
        if name in a.judges:
            net, config, seen = train(a, name, a.pictures * share, x, labels, rows, device)
            write(a.work / "classifier" / name, net, config, CLASSES[name])
        else:
            shutil.copytree(a.start / "classifier" / name, a.work / "classifier" / name, dirs_exist_ok=True)
        net = load(a.work / "classifier" / name)[0]             # judged as it ships: in half precision
        if "returned" not in test:
            test["returned"] = returned(a, fresh["x"], device, 0)
        facts[name] = dict(pictures_seen=seen, **{k: count(net, v, answer[name]) for k, v in test.items()})
        if a.hold_out:
            net, _, seen = train(a, name, a.hold_out_pictures * share, x, labels, rows[~outside[art[rows]]], device,
                                 "-held-out")
            theirs = outside[fresh["art"]]
            facts[name]["held_out"] = dict(sets=a.hold_out, drawings=int(outside.sum()), pictures_seen=seen,
                                           fresh=count(net, fresh["x"][theirs], answer[name][theirs]))
        print(name, facts[name], flush=True)
    (a.work / "classifier.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
