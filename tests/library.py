"""library.py: the library's sources, for the checks that build a driver or a shared object of them. As the Makefile has it: the method
and the rooms under it, and the classifiers beside it."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def room(name):
    return [str(f) for f in sorted((ROOT / name).glob("*.c"))]


def sources():
    classifiers = [str(ROOT / "evaluation" / f) for f in ("vit.c", "classifier.c")]
    return [f for name in ("arithmetic", "files", "layers", ".") for f in room(name)] + classifiers
