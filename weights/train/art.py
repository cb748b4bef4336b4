"""The drawings: art.json's choice of the emoji sets, rendered to 128 x 128 RGB on white.

Not here: styles, placement, training. Each set is an Iconify JSON file (`SET/icons.json`: the SVG body and
size of every drawing), the format of the public npm packages named in the art folder's manifest.json.
"""
import io
import json

import numpy as np

from common import HERE, OBJECTS

SIZE = 128


def chosen(emoji):
    """[(object index, set, name, svg)] of every drawing of art.json that the sets hold."""
    art = json.loads((HERE / "art.json").read_text())
    sets = {s: json.loads((emoji / s / "icons.json").read_text()) for s in art["sets"]}
    out = []
    for i, obj in enumerate(OBJECTS):
        names = art["objects"][obj]
        without = {n[1:] for n in names if n.startswith("-")}
        for n in (n for n in names if not n.startswith("-")):
            pairs = [n.split("/")] if "/" in n else [(s, n) for s in art["sets"]]
            out += [(i, s, n, svg(sets[s], n)) for s, n in pairs
                    if n in sets[s]["icons"] and f"{s}/{n}" not in without]
    return out


def svg(collection, name):
    """One drawing of an Iconify collection as an SVG document."""
    icon = collection["icons"][name]
    size = {k: icon.get(k, collection.get(k, d)) for k, d in
            (("left", 0), ("top", 0), ("width", 16), ("height", 16))}
    box = "{left} {top} {width} {height}".format(**size)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{SIZE}" height="{SIZE}" viewBox="{box}">{icon["body"]}</svg>')


def render(document):
    """An SVG document as uint8 [SIZE,SIZE,3] on white."""
    import cairosvg
    from PIL import Image
    png = cairosvg.svg2png(document.encode(), output_width=SIZE, output_height=SIZE, background_color="white")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def load(emoji):
    """(pictures [K,SIZE,SIZE,3] uint8, object index [K], 'set/name' [K])"""
    rows = chosen(emoji)
    return (np.stack([render(r[3]) for r in rows]), np.array([r[0] for r in rows]),
            [f"{r[1]}/{r[2]}" for r in rows])


def place(picture, rng, low=0.84, high=1.0):
    """The picture scaled by low..high, perhaps mirrored, at a random place of a white canvas; float32 in 0..1."""
    from PIL import Image
    n = int(round(SIZE * rng.uniform(low, high)))
    z = np.asarray(Image.fromarray(picture).resize((n, n), Image.BICUBIC), np.float32) / 255
    if rng.random() < 0.5:
        z = z[:, ::-1]
    y = np.ones((SIZE, SIZE, 3), np.float32)
    top, left = rng.integers(0, SIZE - n + 1, 2)
    y[top:top + n, left:left + n] = z
    return y
