"""pictures.py: the pictures of what forgetting leaves, made by ./saeuron alone; this only lays them out.

    python docs/pictures.py [--seed 0]

docs/forgetting.png, the README's: the first two objects and styles of concepts.json crossed; rows: nothing forgotten, the first style forgotten,
the first object forgotten. docs/own.png, of docs/results.md: each style's own pictures, of every second object; a row as drawn, a row with the
style forgotten. Every picture is one `saeuron generate` of the default model and its forget.json; nothing is chosen by eye.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

from PIL import Image, ImageDraw

SIDE, LEFT, TOP = 64, 150, 34
HERE = pathlib.Path(__file__).parent
CONCEPTS = HERE.parent / "weights" / "emojicanvas" / "concepts.json"


def words(name):
    return name.replace("_", " ")


def draw(saeuron, pairs, seed, forget):
    """Pictures of (object, style) pairs with a concept forgotten, or None."""
    with tempfile.TemporaryDirectory() as tmp:
        lines, out = pathlib.Path(tmp, "prompts.txt"), pathlib.Path(tmp, "out")
        lines.write_text("".join(f"An image of {o} in {words(s)} style.\n" for o, s in pairs))
        options = ["--forget", forget] if forget else []
        subprocess.run([saeuron, "generate", "-q", "--prompts", lines, "--seed", seed, "-o", out, *options], check=True, stdout=subprocess.DEVNULL)
        return [Image.open(p).copy() for p in sorted(out.glob("*.png"))]


def sheet(path, heads, rows, scale):
    """rows: (label, pictures)."""
    cell = SIDE * scale + 8 * scale // 2
    image = Image.new("RGB", (LEFT + cell * len(heads), TOP + cell * len(rows)), "white")
    pen = ImageDraw.Draw(image)
    for i, head in enumerate(heads):
        pen.text((LEFT + i * cell, 4), head, fill="black")
    for j, (label, pictures) in enumerate(rows):
        pen.text((4, TOP + j * cell + cell // 2 - 8), label, fill="black")
        for i, picture in enumerate(pictures):
            image.paste(picture.resize((SIDE * scale, SIDE * scale), Image.Resampling.LANCZOS), (LEFT + i * cell, TOP + j * cell))
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", default="0")
    p.add_argument("--saeuron", default="./saeuron")
    a = p.parse_args()
    domains = json.loads(CONCEPTS.read_text())["domains"]
    objects, styles = (domains[k]["concepts"] for k in ("object", "style"))
    pairs = [(o, s) for o in objects[:2] for s in styles[:2]]
    sheet(HERE / "forgetting.png", [f"{o} in\n{words(s)} style" for o, s in pairs],
          [(f"--forget {c}" if c else "nothing forgotten", draw(a.saeuron, pairs, a.seed, c)) for c in (None, styles[0], objects[0])], 2)
    rows = []
    for s in styles:
        own = [(o, s) for o in objects[::2]]
        rows += [(words(s), draw(a.saeuron, own, a.seed, None)), ("  forgotten", draw(a.saeuron, own, a.seed, s))]
    sheet(HERE / "own.png", [o if len(o) < 10 else o[:9] + "." for o in objects[::2]], rows, 1)


if __name__ == "__main__":
    main()
