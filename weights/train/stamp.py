"""stamp.py: writes into each stats.safetensors which SAE and which model it belongs to, as digests that saeuron checks.

    python weights/train/stamp.py MODEL_DIR [--saeuron ./saeuron]

Not here: the statistics themselves (sae.py). Run it once all weights are final: a digest is of their bytes.
"""
import argparse
import json
import pathlib
import subprocess

from safetensors import safe_open
from safetensors.numpy import save_file


def digest(saeuron, folder):
    out = subprocess.run([saeuron, "info", "--json", str(folder)], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["digest"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--saeuron", default="./saeuron")
    a = p.parse_args()
    model = digest(a.saeuron, a.model)
    for path in sorted(a.model.glob("sae/*/stats.safetensors")):
        with safe_open(path, "np") as f:
            metadata, tensors = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}
        metadata.update(model=model, sae=digest(a.saeuron, path.parent))
        save_file(tensors, path, metadata=metadata)
        print(path, metadata["sae"])


if __name__ == "__main__":
    main()
