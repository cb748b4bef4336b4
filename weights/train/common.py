"""What every stage shares: names, paths, captions, the clock, and safe files.

Not here: any network or any image. Data flow of the folder:

    art.json + emoji sets --art.py--> drawings --styles.py--> pictures --dataset.py--> WORK/set.npz
    set.npz --vae.py--> WORK/vae --dataset.py latents--> WORK/latents.npz --unet.py--> WORK/{unet,text}
    set.npz --classifier.py--> WORK/classifier
    WORK/{unet,text,vae,classifier} --export.py networks--> WORK/emojicanvas --hooks.py--> WORK/hooks.json
    WORK/emojicanvas --sae.sh, saeuron sweep--> WORK/emojicanvas/sae --saeuron eval--> WORK/eval-DOMAIN
    WORK/emojicanvas, all measurements --card.py, export.py finish--> weights/emojicanvas
"""
import argparse
import json
import os
import pathlib
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = HERE.parent / "emojicanvas"

OBJECTS = list(json.loads((HERE / "art.json").read_text())["objects"])
STYLES = ["Seed_Images", "Bricks", "Glowing_Sunset", "Ink_Art", "Mosaic", "Neon_Lines",
          "On_Fire", "Pop_Art", "Rust", "Sketch", "Winter"]
HOOKS = {"object": "up_blocks.0.attentions.2", "style": "up_blocks.1.attentions.2"}
TEMPLATES = {"styled": "An image of {object} in {style} style.", "plain": "An image of {object}."}
STEPS = 50
SEED = 188


def caption(obj, style):
    """The caption of an object (name) in a style (name); Seed_Images is the unstyled one."""
    if style == "Seed_Images":
        return TEMPLATES["plain"].format(object=obj)
    return TEMPLATES["styled"].format(object=obj, style=style.replace("_", " "))


def with_style(line, style):
    """A calibration line in a style, spelled as SAeUron's released code spells it:
    stripped, one final full stop dropped, then the style, its underscores spaces."""
    line = line.strip()
    line = line[:-1] if line.endswith(".") else line
    if style == "Seed_Images":
        return line + "."
    return f"{line} in {style.replace('_', ' ')} style."


def calibration(folder=HERE / "prompts"):
    """{object: its calibration lines, stripped}"""
    return {o: [s.strip() for s in (pathlib.Path(folder) / f"{o}.txt").read_text().splitlines() if s.strip()]
            for o in OBJECTS}


def arguments(text):
    """The options every stage takes."""
    p = argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--work", type=pathlib.Path, default=os.environ.get("WORK", HERE / "work"),
                   help="folder of intermediate files and checkpoints")
    p.add_argument("--emoji", type=pathlib.Path, default=os.environ.get("EMOJI", ROOT.parent / "shared" / "emoji"),
                   help="folder of the emoji sets (SET/icons.json and manifest.json)")
    p.add_argument("--device", default=os.environ.get("DEVICE", "cpu"), help="cpu, cuda, ...")
    p.add_argument("--threads", type=int, default=int(os.environ.get("THREADS", "2")), help="CPU threads of PyTorch")
    p.add_argument("--from", dest="start", type=pathlib.Path, default=None,
                   help="a model folder to start from (weights/emojicanvas, say); default: what WORK holds, or nothing")
    return p


def prepare(args):
    """Threads, work folder, the torch module, the device."""
    import torch
    torch.set_num_threads(args.threads)
    args.work = pathlib.Path(args.work)
    args.work.mkdir(parents=True, exist_ok=True)
    return torch, torch.device(args.device)


class Clock:
    """Training time left, across restarts. `used` is what earlier runs of the stage spent;
    `until` (HH:MM, today) overrides `seconds`: the run then ends at that hour."""

    def __init__(self, seconds, used=0.0, until=None):
        self.used, self.t0 = used, time.time()
        if until:
            now = time.localtime()
            h, m = map(int, until.split(":"))
            seconds = used + max(1, (h - now.tm_hour) * 3600 + (m - now.tm_min) * 60 - now.tm_sec)
        self.seconds = seconds

    def elapsed(self):
        return self.used + time.time() - self.t0

    def share(self):
        """Elapsed share of the whole, 0 to 1 and beyond."""
        return self.elapsed() / self.seconds


def save_atomically(torch, path, value):
    """torch.save that leaves either the old file or the new one."""
    part = path.with_suffix(path.suffix + ".part")
    torch.save(value, part)
    os.replace(part, path)


def replace_folder(new, old):
    """The folder `new` takes the place of `old`."""
    import shutil
    away = old.with_name(old.name + ".old")
    if away.exists():
        shutil.rmtree(away)
    if old.exists():
        os.rename(old, away)
    os.rename(new, old)
    if away.exists():
        shutil.rmtree(away)
