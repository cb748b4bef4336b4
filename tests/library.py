"""library.py: the library's sources, for the checks that build a driver or a shared object of them. As the Makefile has it: the method
and the rooms under it, and the classifiers beside it."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def sources():
    rooms = [f for room in ("arithmetic", "files", "layers", ".") for f in sorted((ROOT / room).glob("*.c"))]
    return [str(f) for f in rooms + sorted((ROOT / "evaluation").glob("vit.c")) + sorted((ROOT / "evaluation").glob("classifier.c"))]
