"""The model folder: from WORK's parts to weights/emojicanvas.

Not here: any training. `export.py networks` writes WORK/emojicanvas, a diffusers pipeline folder in half precision
with the judges and concepts.json, on which sae.sh, the sweeps and the evaluation then work and where they put what
they make; with --keep the networks, judges and licences of a model folder instead (--judges: but WORK's judges). `export.py finish` adds licences and
the model card, checks the whole, and puts it in the place of weights/emojicanvas; `export.py check` checks a folder: it
loads in diffusers and transformers, holds every file and no other SAE, and is small enough.
"""
import json
import shutil

import common

LIMIT = 20_000_000
SCHEDULER = {
    "_class_name": "DDIMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": False,
    "steps_offset": 1, "thresholding": False, "timestep_spacing": "leading", "trained_betas": None}
INDEX = {
    "_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None], "image_encoder": [None, None],
    "requires_safety_checker": False, "safety_checker": [None, None], "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}


def dump(path, value, indent=2):
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def halve(source, target, prefix=""):
    """A safetensors file in half precision, the prefix put before names that lack it."""
    from safetensors.torch import load_file, save_file
    tensors = {prefix + k.removeprefix(prefix): v.half().contiguous() for k, v in load_file(source).items()}
    save_file(tensors, target, metadata={"format": "pt"})


def networks(a):
    out = a.work / "emojicanvas"
    # What is measured on networks belongs to them; of kept ones the marks alone go, so that all is put in place again.
    marks = ["sae/done.install-*", *(f"done.{s}" for s in ("grid", "hooks", "sae", "sweep-*", "eval-*", "card", "finish"))]
    for older in ["emojicanvas", *marks, *([] if a.keep else ["grid.json", "hooks.json", "sae", "sweep-*", "eval-*"])]:
        for path in a.work.glob(older):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if a.keep:
        shutil.copytree(a.keep, out, ignore=lambda at, names: {"sae", "README.md"} if at == str(a.keep) else set())
        if a.judges:
            shutil.copytree(a.work / "classifier", out / "classifier", dirs_exist_ok=True)
        concepts(a, out)
        print(out, size(out), "bytes")
        return
    import diffusers
    scale = json.loads((a.work / "unet.json").read_text())["scale"]
    files = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
    for name, file in files.items():
        (out / name).mkdir(parents=True)
        config = json.loads((a.work / name / "config.json").read_text())
        config.pop("_name_or_path", None)
        if name == "vae":
            config["scaling_factor"] = scale
        if name == "text_encoder":
            config["dtype"] = "float16"
        dump(out / name / "config.json", config)
        # SD 1.5's text encoder carries its tensors under `text_model.`; so does ours.
        prefix = "text_model." if name == "text_encoder" else ""
        halve(a.work / name / f"{file}.safetensors", out / name / f"{file}.safetensors", prefix)
    shutil.copytree(a.work / "tokenizer", out / "tokenizer")
    (out / "scheduler").mkdir()
    dump(out / "scheduler" / "scheduler_config.json", dict(SCHEDULER, _diffusers_version=diffusers.__version__))
    dump(out / "model_index.json", dict(INDEX, _diffusers_version=diffusers.__version__))
    shutil.copytree(a.work / "classifier", out / "classifier")
    concepts(a, out)
    print(out, size(out), "bytes")


def concepts(a, out):
    dump(out / "concepts.json", {
        "domains": {
            "style": {"hook": common.HOOKS["style"], "concepts": common.STYLES[1:], "classes": common.STYLES},
            "object": {"hook": common.HOOKS["object"], "concepts": common.OBJECTS}},
        "templates": common.TEMPLATES, "calibration": common.calibration(),
        "steps": common.STEPS, "guidance": a.guidance}, indent=1)


def licences(a):
    sets = json.loads((a.emoji / "manifest.json").read_text())["sets"]
    rows = "\n".join(f"| {n} | [{s['author']['name']}]({s['author']['url']}) | [{s['license']}]({s['license_url']}) | "
                     f"`{s['npm']}` |" for n, s in sets.items())
    return f"""# Where the art comes from

EmojiCanvas was trained on drawings of these emoji sets, as packed by Iconify for npm. The drawings themselves are
not in this repository; `weights/train/art.json` names the ones used. They were scaled, mirrored, moved and, for the
ten styles, filtered (`weights/train/styles.py`). The weights in this folder are works derived by training.

| set | author | licence | npm package |
|---|---|---|---|
{rows}

The calibration prompts (`weights/train/prompts`) were written for this project and carry its licence.
"""


def size(folder):
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def finish(a):
    new = a.work / "emojicanvas.new"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(a.work / "emojicanvas", new)
    if not (new / "LICENSES.md").exists():                  # else they came with the networks
        (new / "LICENSES.md").write_text(licences(a), encoding="utf-8")
    shutil.copy(a.work / "README.md", new)
    check(a, new)
    staged = a.out.with_name(a.out.name + ".new")           # beside the target: a rename then suffices
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(new, staged)
    common.replace_folder(staged, a.out)
    print("published", a.out)


def check(a, folder):
    """Everything there, everything loads, small enough; one line."""
    import torch
    from diffusers import StableDiffusionPipeline
    from safetensors import safe_open
    from transformers import CLIPTextModel, CLIPTokenizer

    import classifier

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    _, info = CLIPTextModel.from_pretrained(folder / "text_encoder", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    assert tokenizer.model_max_length == pipe.text_encoder.config.max_position_embeddings
    assert len(tokenizer) == pipe.text_encoder.config.vocab_size
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (
        len(tokenizer) - 2, len(tokenizer) - 1, len(tokenizer) - 1)
    pipe.set_progress_bar_config(disable=True)
    pipe.to(torch.float32)
    image = pipe("An image of Cats in Sketch style.", num_inference_steps=2, height=64, width=64).images[0]
    assert image.size == (64, 64), image.size
    table = json.loads((folder / "concepts.json").read_text())
    for domain, d in table["domains"].items():
        net, labels = classifier.load(folder / "classifier" / domain)
        assert labels == d.get("classes", d["concepts"])
        sae = folder / "sae" / d["hook"]
        n = json.loads((sae / "cfg.json").read_text())["num_latents"]
        with safe_open(sae / "stats.safetensors", "pt") as f:
            assert set(f.keys()) == set(d["concepts"])
            assert all(f.get_slice(k).get_shape() == [table["steps"], n] for k in f.keys())
            assert len(f.metadata()["timesteps"].split(",")) == table["steps"]
        assert set(json.loads((sae / "forget.json").read_text())) == set(d["concepts"])
    theirs = {"text_encoder", *(d["hook"] for d in table["domains"].values())}
    assert {f.name for f in (folder / "sae").iterdir()} == theirs, f"{folder}/sae: only {', '.join(sorted(theirs))} belong there"
    assert (folder / "LICENSES.md").exists()
    total = size(folder)
    assert total <= LIMIT, total
    print(folder, "complete,", total, "bytes")


def main():
    p = common.arguments(__doc__)
    p.add_argument("stage", choices=["networks", "finish", "check"])
    p.add_argument("--out", type=common.pathlib.Path, default=common.MODEL)
    p.add_argument("--guidance", type=float, default=6.0, help="the model's default guidance")
    p.add_argument("--keep", type=common.pathlib.Path, help="networks: take them from this model folder")
    p.add_argument("--judges", action="store_true", help="networks --keep: take the judges from WORK all the same")
    a = p.parse_args()
    a.work, a.out = common.pathlib.Path(a.work), common.pathlib.Path(a.out)
    check(a, a.out) if a.stage == "check" else globals()[a.stage](a)


if __name__ == "__main__":
    main()
