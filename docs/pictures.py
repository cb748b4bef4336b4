"""pictures.py: docs/forgetting.png, the README's picture, made by ./saeuron alone; this only lays it out.

    python docs/pictures.py [--style Mosaic --object Flame] [--seed 0]

Columns: four prompts, two with the forgotten concepts and two without. Rows: nothing forgotten, the style forgotten, the
object forgotten. Every picture is one `saeuron generate` of the default model; nothing is chosen beyond the arguments.
"""
import argparse
import pathlib
import subprocess
import tempfile

from PIL import Image, ImageDraw

SCALE, SIDE, LEFT, TOP = 2, 64, 150, 34


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--style", default="Mosaic")
    p.add_argument("--object", default="Flame")
    p.add_argument("--seed", default="0")
    p.add_argument("--saeuron", default="./saeuron")
    p.add_argument("--out", default="docs/forgetting.png")
    a = p.parse_args()
    pairs = [(a.object, a.style), (a.object, "Winter"), ("Trees", a.style), ("Butterfly", "Sketch")]
    prompts = [f"An image of {o} in {s.replace('_', ' ')} style." for o, s in pairs]
    rows = [("nothing forgotten", []), (f"--forget {a.style}", ["--forget", a.style]), (f"--forget {a.object}", ["--forget", a.object])]
    cell = SIDE * SCALE + 8
    sheet = Image.new("RGB", (LEFT + cell * len(prompts), TOP + cell * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (o, s) in enumerate(pairs):
        draw.text((LEFT + i * cell, 4), f"{o} in\n{s.replace('_', ' ')} style", fill="black")
    with tempfile.TemporaryDirectory() as tmp:
        lines = pathlib.Path(tmp, "prompts.txt")
        lines.write_text("\n".join(prompts) + "\n")
        for j, (label, options) in enumerate(rows):
            folder = pathlib.Path(tmp, str(j))
            subprocess.run([a.saeuron, "generate", "-q", "--prompts", lines, "--seed", a.seed, "-o", folder, *options], check=True, stdout=subprocess.DEVNULL)
            draw.text((4, TOP + j * cell + cell // 2 - 8), label, fill="black")
            for i, picture in enumerate(sorted(folder.glob("*.png"))):
                image = Image.open(picture).resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.LANCZOS)
                sheet.paste(image, (LEFT + i * cell, TOP + j * cell))
    sheet.save(a.out, optimize=True)
    print(a.out)


if __name__ == "__main__":
    main()
