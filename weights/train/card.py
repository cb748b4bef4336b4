"""The model card, from the facts the stages left in WORK.

Not here: hooks and autoencoders (autoencoders.py), forgetting (docs/results.md); sampling: grid.json is what `sample.py` drew and judged.
With --keep the sections on data, training, drawing and judges are another card's: that of a model whose networks were
not trained again; with --judges besides, the last two are made anew. Writes WORK/README.md, which export.py puts in the
model folder.
"""
import json
import re

import autoencoders
import common

TRAINED, JUDGED = ["", "Data", "Training"], ["What it draws", "The judges"]

NETWORKS = """# EmojiCanvas

A latent diffusion model small enough to be kept in a repository: UnlearnCanvas' experiment (20 objects, unstyled and
in styles) on emoji art at 64 x 64 pixels. `StableDiffusionPipeline.from_pretrained` loads this folder as it is. It is
made for testing and showing concept unlearning with sparse autoencoders; it is of no other use.

    An image of Cats in Sketch style.        An image of Waterfalls.

Default: {steps} DDIM steps, guidance {guidance:g}. All tensors are float16, those of the SAEs float32. Objects and styles: `concepts.json`.

| part | shape |
|---|---|
| `vae` | AutoencoderKL, widths 20, 40, 64, factor 4, latents 4 x 16 x 16 |
| `unet` | UNet2DConditionModel of SD 1.5's kind, widths 48, 96, 96, two layers a block, {unet_m:.1f} M parameters |
| `text_encoder` | CLIPTextModel, 2 layers of 128, 32 tokens a prompt |
| `tokenizer` | CLIP's byte-level BPE, {vocab} entries |
| `classifier/style`, `classifier/object` | Vision Transformers in timm's layout, patches of 8: {shapes} |
| `sae/HOOK` | TopK sparse autoencoder, statistics, `forget.json`: below |
| `sae/text_encoder` | TopK sparse autoencoder of text states, 1024 latents, k 16, for `--by itd` (`DOMAINS=text sh weights/train/sae.sh`) |

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
"""

DRAWN = """## What it draws

The grid `docs/grid.png`: every object in every style, seed {seed}, noise 0 to 219, guidance {guidance:g}, {steps}
steps, nothing selected. `python weights/train/sample.py --png docs/grid.png` draws it again, and prints its verdict.

The classifiers recognise the object in {objects_right} of {of} pictures ({objects_pc:.0f} %), the style in
{styles_right} of {of} ({styles_pc:.0f} %). {objects_half} of 20 objects and {styles_half} of 11 styles are recognised
in more than half of their pictures.

| object | of 11 | | object | of 11 | | style | of 20 |
|---|---|---|---|---|---|---|---|
{table}

The ten worst pictures, by the classifier's probability of the intended object: {worst}.

What fails in drawing:

{fails}

## The judges

{history}The classifiers themselves (`classifier.py`), on drawings they know, rendered anew (other places, sizes, mirrorings,
phases of the styles), the same with noise of a deviation up to {noise:g} (pictures in -1 to 1), and the same as the
autoencoder returns them:

| | pictures seen | fresh renderings | with noise | through the autoencoder |
|---|---|---|---|---|
{judges}

How far this carries to drawings they do not know: {held}.
"""


def sections(text):
    """{title: text with its heading}, "" what stands before the first."""
    parts = re.split(r"^(?=## )", text, flags=re.M)
    return {"": parts[0], **{p[3:p.index("\n")].strip(): p for p in parts[1:]}}


def kept(path, titles):
    """These sections of an older card."""
    try:
        found = sections(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        autoencoders.wrong(f"there is no {path} to keep sections of")
    missing = [t for t in titles if t not in found]
    if missing:
        autoencoders.wrong(f"{path} has no section {' and no '.join(missing)}: it is no card of ours")
    return "".join(found[t] for t in titles)


def facts(a, name):
    return autoencoders.read(a.work / f"{name}.json")


def earlier(key, sentence):
    """A sentence on each run of history.json with such a count."""
    runs = json.loads((common.HERE / "history.json").read_text())
    return " ".join(sentence.format(**r) for r in runs if key in r)


def networks(a):
    """The networks' part, from what training left in WORK."""
    import numpy as np
    from safetensors import safe_open

    import art
    import classifier

    v, unet = facts(a, "grid"), facts(a, "unet")
    counts = np.bincount([r[0] for r in art.chosen(a.emoji)])
    with safe_open(a.work / "unet" / "diffusion_pytorch_model.safetensors", "pt") as f:
        unet_m = sum(int(np.prod(f.get_slice(k).get_shape())) for k in f.keys()) / 1e6
    return NETWORKS.format(
        steps=v["steps"], guidance=v["guidance"], unet_m=unet_m,
        vocab=len(json.loads((a.work / "tokenizer" / "vocab.json").read_text())),
        drawings=int(counts.sum()), fewest=int(counts.min()), most=int(counts.max()),
        history=earlier("unet_samples", "Started from the weights of an earlier run ({run}): VAE {vae_pictures:,} "
                        "pictures, UNet {unet_samples:,} samples."),
        vae_pictures=facts(a, "vae")["pictures"], unet_samples=unet["samples"], loss=unet["loss"],
        shapes=", ".join("{depth} layers of {embed_dim}".format(**classifier.SHAPE[k]) for k in ("style", "object")))


def drawn(a):
    """What the model draws and who judges it, from grid.json and classifier.json."""
    import classifier

    v, judges = facts(a, "grid"), facts(a, "classifier")
    po, ps = v["per_object"], v["per_style"]
    rows = []
    for i in range(11):
        left = common.OBJECTS[i] if i < 10 else ""
        right = common.OBJECTS[i + 10] if i < 10 else ""
        style = common.STYLES[i]
        rows.append(f"| {left} | {po.get(left, '')} | | {right} | {po.get(right, '')} | | {style} | {ps[style]} |")

    def of(pair):
        return f"{pair[0]:,} of {pair[1]:,} ({100 * pair[0] / pair[1]:.1f} %)"

    def seen(judge):
        return "kept as it was" if judge["pictures_seen"] is None else f"{judge['pictures_seen']:,}"

    held = "; ".join(
        f"a judge of {k}s of the same shape that saw {h['pictures_seen']:,} pictures, none of them of {' or '.join(h['sets'])}, "
        f"is right on {of(h['fresh'])} of those sets' {h['drawings']} drawings' fresh renderings"
        for k, h in ((k, judges[k]["held_out"]) for k in ("style", "object")))
    weak = [f"{o} ({n})" for o, n in sorted(po.items(), key=lambda x: x[1]) if n <= 7]
    fails = [f"Objects recognised in 7 or fewer of 11 styles: {', '.join(weak)}." if weak
             else "No object is recognised in 7 or fewer of its 11 styles.",
             "Fine detail is soft: the autoencoder keeps four numbers for 48 colour values, and drops the snow of "
             "Winter and the grain of Rust."]
    history = " ".join(filter(None, (earlier(f"{k}_pictures", f"The judge of {k}s began in an earlier run ({{run}}), in "
                                             f"which it saw {{{k}_pictures:,}} pictures.") for k in ("style", "object"))))
    return DRAWN.format(
        steps=v["steps"], guidance=v["guidance"], seed=v["seed"],
        objects_right=v["objects_right"], styles_right=v["styles_right"], of=v["of"],
        objects_pc=100 * v["objects_right"] / v["of"], styles_pc=100 * v["styles_right"] / v["of"],
        objects_half=sum(n >= 6 for n in po.values()), styles_half=sum(n >= 11 for n in ps.values()),
        table="\n".join(rows), worst=", ".join(f"{o} in {s} ({q:.2g})" for o, s, q in v["worst"]),
        noise=classifier.NOISE, held=held, history=history + "\n\n" if history else "", judges="\n".join(
            f"| {k} | {seen(judges[k])} | " + " | ".join(of(judges[k][w])
            for w in ("fresh", "noisy", "returned")) + " |" for k in ("style", "object")),
        fails="\n".join("- " + s for s in fails))


def main():
    p = common.arguments(__doc__)
    p.add_argument("--model", type=common.pathlib.Path, help="default: WORK/emojicanvas")
    p.add_argument("--keep", type=common.pathlib.Path, help="the card whose networks' part stays")
    p.add_argument("--judges", action="store_true", help="--keep less of it: what is drawn, and its judges, are described anew")
    p.add_argument("--out", type=common.pathlib.Path, help="default: WORK/README.md")
    a = p.parse_args()
    a.work = common.pathlib.Path(a.work)
    measured = autoencoders.sections(a.work, a.model or a.work / "emojicanvas")
    first = [kept(a.keep, TRAINED) if a.keep else networks(a),
             kept(a.keep, JUDGED) if a.keep and not a.judges else drawn(a)]
    out = a.out or a.work / "README.md"
    out.write_text("\n".join(t.rstrip("\n") + "\n" for t in [*first, *measured]), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
