"""The training set: curated drawings, placed at random, in all eleven styles; and its latents.

Not here: the drawings (art.py), the filters (styles.py), training. `dataset.py set` writes WORK/set.npz
(x [n,64,64,3] uint8, obj, sty, art; names of the drawings), or WORK/NAME.npz with --name: the judges learn from
more.npz too and are tried on fresh.npz, other seeds; `dataset.py latents` encodes it with WORK/vae into WORK/latents.npz
(z [n,8,16,16] float16: mean and deviation of the posterior; scale = 1 / deviation of the means).
"""
import functools
import os
from multiprocessing import Pool

import numpy as np

import art
import common
import styles


def one_object(index, pictures, which, per, seed):
    """`per` placements of one object's drawings, each drawing as often as any other, in every style."""
    rng = np.random.default_rng([seed, index])
    mine = np.flatnonzero(which == index)
    x, sty, src = [], [], []
    for k in range(per):
        if k % len(mine) == 0:
            order = rng.permutation(mine)
        i = order[k % len(mine)]
        canvas = art.place(pictures[i], rng)
        for s in range(len(common.STYLES)):
            x.append(styles.picture(canvas, s, rng))
            sty.append(s)
            src.append(i)
    return np.stack(x), np.full(len(x), index), np.array(sty), np.array(src)


def make_set(args):
    pictures, which, names = art.load(args.emoji)
    print("drawings", dict(zip(common.OBJECTS, np.bincount(which).tolist())), flush=True)
    job = functools.partial(one_object, pictures=pictures, which=which, per=args.per, seed=args.seed)
    with Pool(args.threads) as pool:
        parts = pool.map(job, range(len(common.OBJECTS)), chunksize=1)
    x, obj, sty, src = (np.concatenate(p) for p in zip(*parts))
    part = args.work / f"{args.name}.part.npz"
    np.savez(part, x=x, obj=obj, sty=sty, art=src, names=np.array(names))
    os.replace(part, args.work / f"{args.name}.npz")
    print("pictures", x.shape, flush=True)


def make_latents(args, torch, device):
    from diffusers import AutoencoderKL
    data = np.load(args.work / "set.npz")
    vae = AutoencoderKL.from_pretrained(args.work / "vae").to(device).eval()
    x, out = data["x"], []
    with torch.no_grad():
        for i in range(0, len(x), 128):
            b = torch.from_numpy(x[i:i + 128]).to(device).float().permute(0, 3, 1, 2) / 127.5 - 1
            d = vae.encode(b).latent_dist
            out.append(torch.cat([d.mean, d.std], 1).half().cpu())
    z = torch.cat(out)
    scale = 1 / z[:, :4].float().std().item()
    part = args.work / "latents.part.npz"
    np.savez(part, z=z.numpy(), obj=data["obj"], sty=data["sty"], art=data["art"], scale=scale)
    os.replace(part, args.work / "latents.npz")
    print("latents", tuple(z.shape), "scale", scale, flush=True)


if __name__ == "__main__":
    p = common.arguments(__doc__)
    p.add_argument("what", choices=["set", "latents"])
    p.add_argument("--per", type=int, default=96, help="placements an object, each in every style")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--name", default="set", help="of the set's file")
    a = p.parse_args()
    torch, device = common.prepare(a)
    make_set(a) if a.what == "set" else make_latents(a, torch, device)
