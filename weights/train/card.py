"""The model card and the picture of the grid, from the facts the stages left in WORK.

Not here: sampling, except by name: the grid is what `sae.py collect` drew for the captions (seed 188), the same
that `sample.py --png` draws again. Writes WORK/README.md (export.py puts it in the model folder), WORK/grid.json and,
with --png, the picture.
"""
import json

import numpy as np

import classifier
import common
from sample import save_sheet, sheet

TEXT = """# EmojiCanvas

A latent diffusion model small enough to be kept in a repository: UnlearnCanvas' experiment (20 objects, unstyled and
in styles) on emoji art at 64 x 64 pixels. `StableDiffusionPipeline.from_pretrained` loads this folder as it is. It is
made for testing and showing concept unlearning with sparse autoencoders; it is of no other use.

    An image of Cats in Sketch style.        An image of Waterfalls.

Default: {steps} DDIM steps, guidance {guidance:g}. All weights are float16. Objects and styles: `concepts.json`.

| part | shape |
|---|---|
| `vae` | AutoencoderKL, widths 20, 40, 64, factor 4, latents 4 x 16 x 16 |
| `unet` | UNet2DConditionModel of SD 1.5's kind, widths 48, 96, 96, two layers a block, {unet_m:.1f} M parameters |
| `text_encoder` | CLIPTextModel, 2 layers of 128, 32 tokens a prompt |
| `tokenizer` | CLIP's byte-level BPE, {vocab} entries |
| `classifier/style`, `classifier/object` | Vision Transformers in timm's layout, patches of 8: {shapes} |
| `sae/HOOK` | TopK sparse autoencoder, 96 to {latents}, k = {k}; statistics at {steps} steps; `forget.json` |

## Data

{drawings} drawings of seven emoji sets, chosen by eye (`weights/train/art.json`; licences in `LICENSES.md`): from
{fewest} to {most} an object. Each is scaled, mirrored, moved, and shown unstyled or through one of ten image filters
(`weights/train/styles.py`). Captions are the two templates of `concepts.json` and 1,600 calibration prompts written
for this project. No set draws a waterfall: fountains and two landscapes with falling water stand for it. Jellyfish has
four drawings, Butterfly six: these rows show memory more than generality.

## Training

On two shared CPU cores. {history}
This run: VAE on {vae_pictures:,} pictures; UNet and text encoder on {unet_samples:,} samples (running mean of the
squared error of the noise {loss:.3f} at the end; min-SNR-5; a moving average of the weights, decay (1+n)/(10+n) at step n).
It was stopped when nine tenths of its time were over, the learning rate not quite at 0. `weights/train/README.md` has
the command.

## What it draws

The grid `docs/grid.png`: every object in every style, seed {seed}, noise 0 to 219, guidance {guidance:g}, {steps}
steps, nothing selected. `python weights/train/sample.py --png docs/grid.png` draws it again, and prints its verdict.

The classifiers recognise the object in {objects_right} of {of} pictures ({objects_pc:.0f} %), the style in
{styles_right} of {of} ({styles_pc:.0f} %). {objects_half} of 20 objects and {styles_half} of 11 styles are recognised
in more than half of their pictures.

| object | of 11 | | object | of 11 | | style | of 20 |
|---|---|---|---|---|---|---|---|
{table}

The ten worst pictures, by the classifier's probability of the intended object: {worst}.

The classifiers themselves (`classifier.py`), on drawings they know, rendered anew (other places, sizes, mirrorings,
phases of the styles), the same with noise of a deviation up to {noise:g} (pictures in -1 to 1), and the same as the
autoencoder returns them:

| | pictures seen | fresh renderings | with noise | through the autoencoder |
|---|---|---|---|---|
{judges}

How far this carries to drawings they do not know: {held}.

## Sparse autoencoders and forgetting

| hook | held-out FVU | latents active | dead | tokens seen |
|---|---|---|---|---|
{saes}

`sae.py sweep` chose top K and strength of each concept from few images. `sae.py verify` then drew
{verify_images} images on other noise (seed {verify_seed}, {verify_steps} steps), half of the forgotten concept and
half of others. In percent, by the classifiers' mean probabilities (not by counting right answers; pictures without
forgetting would give less than 100 too):

| | UA | IRA | CRA |
|---|---|---|---|
{sweep}

Objects forgotten best: {best}; worst: {least} (UA + IRA). Statistics: {lines} calibration
prompts an object, 20 a style, made by `saeuron stats` with seed 42 (the sweep used its own, with seed 188).

## What fails

{fails}
"""


def main():
    p = common.arguments(__doc__)
    p.add_argument("--model", type=common.pathlib.Path, required=True)
    p.add_argument("--guidance", type=float, default=6.0)
    p.add_argument("--png", type=common.pathlib.Path, help="also write the grid here")
    a = p.parse_args()
    torch, _ = common.prepare(a)
    import art

    def facts(name):
        return json.loads((a.work / f"{name}.json").read_text())

    pairs = [(o, s) for o in range(len(common.OBJECTS)) for s in range(len(common.STYLES))]
    files = sorted((a.work / "acts").glob("grid-pictures-*.npy"), key=lambda f: int(f.stem.rsplit("-", 1)[1]))
    pics = np.concatenate([np.load(f) for f in files])
    v = classifier.verdict(a.work / "classifier", torch.from_numpy(pics), pairs)
    (a.work / "grid.json").write_text(json.dumps(v, indent=1) + "\n")
    if a.png:
        save_sheet(sheet(pics, len(common.STYLES)), a.png)
    unet, judges = facts("unet"), facts("classifier")
    sweep = {k: facts(f"verify-{k}") for k in common.HOOKS}
    order = sorted(sweep["object"]["concepts"], key=lambda n: -sum(sweep["object"]["concepts"][n][:2]))
    saes = {k: facts(f"sae-{k}") for k in common.HOOKS}
    counts = np.bincount([r[0] for r in art.chosen(a.emoji)])
    sae_dir = a.work / "sae" / common.HOOKS["object"]
    cfg = json.loads((sae_dir / "cfg.json").read_text())
    from safetensors import safe_open
    with safe_open(sae_dir / "stats.safetensors", "pt") as f:
        lines = f.metadata()["prompts"]
    earlier = json.loads((common.HERE / "history.json").read_text())
    history = " ".join(f"Started from the weights of an earlier run ({h['run']}): VAE {h['vae_pictures']:,} pictures, "
                       f"UNet {h['unet_samples']:,} samples." for h in earlier)
    po, ps = v["per_object"], v["per_style"]
    rows = []
    for i in range(11):
        left = common.OBJECTS[i] if i < 10 else ""
        right = common.OBJECTS[i + 10] if i < 10 else ""
        style = common.STYLES[i]
        rows.append(f"| {left} | {po.get(left, '')} | | {right} | {po.get(right, '')} | | {style} | {ps[style]} |")
    def of(pair):
        return f"{pair[0]:,} of {pair[1]:,} ({100 * pair[0] / pair[1]:.1f} %)"

    held = "; ".join(
        f"a judge of {k}s of the same shape that saw {h['pictures_seen']:,} pictures, none of them of {' or '.join(h['sets'])}, "
        f"is right on {of(h['fresh'])} of those sets' {h['drawings']} drawings' fresh renderings"
        for k, h in ((k, judges[k]["held_out"]) for k in ("style", "object")))
    styles = sweep["style"]["concepts"]
    stay = [n for n in styles if styles[n][0] < 0.5]
    cost = f"recognised with a mean probability of {100 * sweep['object']['ira']:.0f} %"
    weak = [f"{o} ({n})" for o, n in sorted(po.items(), key=lambda x: x[1]) if n <= 7]
    fails = [f"Objects recognised in 7 or fewer of 11 styles: {', '.join(weak)}." if weak
             else "No object is recognised in 7 or fewer of its 11 styles.",
             "Fine detail is soft: the autoencoder keeps four numbers for 48 colour values, and drops the snow of "
             "Winter and the grain of Rust.",
             f"Object latents are not specific: forgetting one object leaves the others {cost} (table above).",
             "Forgetting a style harms the object drawn: CRA in the table above."
             + (f" Styles that mostly stay: {', '.join(stay)}." if stay else "")]
    with safe_open(a.work / "unet" / "diffusion_pytorch_model.safetensors", "pt") as f:
        unet_m = sum(int(np.prod(f.get_slice(k).get_shape())) for k in f.keys()) / 1e6
    text = TEXT.format(
        steps=common.STEPS, guidance=a.guidance, seed=common.SEED, unet_m=unet_m, k=cfg["k"],
        latents=cfg["num_latents"], vocab=len(json.loads((a.work / "tokenizer" / "vocab.json").read_text())),
        drawings=int(counts.sum()), fewest=int(counts.min()), most=int(counts.max()), history=history,
        vae_pictures=facts("vae")["pictures"], unet_samples=unet["samples"], loss=unet["loss"],
        objects_right=v["objects_right"], styles_right=v["styles_right"], of=v["of"],
        objects_pc=100 * v["objects_right"] / v["of"], styles_pc=100 * v["styles_right"] / v["of"],
        objects_half=sum(n >= 6 for n in po.values()), styles_half=sum(n >= 11 for n in ps.values()),
        table="\n".join(rows), worst=", ".join(f"{o} in {s} ({q:.2g})" for o, s, q in v["worst"]),
        shapes=", ".join("{depth} layers of {embed_dim}".format(**classifier.SHAPE[k]) for k in ("style", "object")),
        noise=classifier.NOISE, held=held, judges="\n".join(
            f"| {k} | {judges[k]['pictures_seen']:,} | " + " | ".join(of(judges[k][w])
            for w in ("fresh", "noisy", "returned")) + " |" for k in ("style", "object")),
        saes="\n".join(f"| `{s['hook']}` ({k}) | {s['fvu']:.3f} | {s['l0']:.1f} | {100 * s['dead']:.1f} % "
                       f"| {s['tokens']:,} |" for k, s in saes.items()),
        verify_images=sum(s["images"] for s in sweep.values()), lines=lines,
        verify_seed=sweep["style"]["seed"], verify_steps=sweep["style"]["steps"],
        best=", ".join(order[:3]), least=", ".join(order[-3:]),
        sweep="\n".join(f"| {k} | {100 * s['ua']:.0f} | {100 * s['ira']:.0f} | {100 * s['cra']:.0f} |"
                        for k, s in sweep.items()),
        fails="\n".join("- " + s for s in fails))
    (a.work / "README.md").write_text(text, encoding="utf-8")
    print({k: v[k] for k in ("objects_right", "styles_right", "of", "worst")})


if __name__ == "__main__":
    main()
