"""Checks the calibration prompts: 80 lines an object, and no two of all lines equal, case aside, once the
object's name and its variants are taken out. Prints one line; exit status 1 where something is wrong.

Not here: whether a prompt is a good one. The prompts are training data (unet.py), the activations' source (sae.sh)
and part of concepts.json (export.py).
"""
import re
import sys

import common

VARIANTS = {
    "Architectures": "architectures architecture building buildings", "Bears": "bears bear",
    "Birds": "birds bird", "Butterfly": "butterfly butterflies", "Cats": "cats cat", "Dogs": "dogs dog",
    "Fishes": "fishes fish", "Flame": "flame flames", "Flowers": "flowers flower", "Frogs": "frogs frog",
    "Horses": "horses horse", "Human": "human humans person people", "Jellyfish": "jellyfish jellyfishes",
    "Rabbits": "rabbits rabbit", "Sandwiches": "sandwiches sandwich", "Sea": "sea seas",
    "Statues": "statues statue", "Towers": "towers tower", "Trees": "trees tree", "Waterfalls": "waterfalls waterfall",
}
LINES = 80


def without(line, obj):
    """The line's words, lower case, the object's own left out, possessives too."""
    words = re.findall(r"[^\W_]+", re.sub(r"['’]s\b", "", line.lower()))
    return " ".join(w for w in words if w not in VARIANTS[obj].split())


def main():
    wrong, seen = [], {}
    for obj, lines in common.calibration().items():
        if len(lines) != LINES:
            wrong.append(f"{obj}: {len(lines)} lines, not {LINES}")
        for line in lines:
            other = seen.setdefault(without(line, obj), (obj, line))
            if other != (obj, line) or sum(line == s for s in lines) > 1:
                wrong.append(f"{obj}: {line!r} equals {other[0]}: {other[1]!r}")
    print(*wrong, sep="\n") if wrong else print(f"{len(seen)} prompts, no two equal without their object's name")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
