"""check_files.py: what the programs people have think of our files, and we of theirs.

    python tests/check_files.py [--cc gcc] [--count 100000] [--seed 1]

Needs numpy, safetensors, Pillow. Builds tests/files_driver.c with the library's sources. Checks:
  numbers      decimal text -> double against float(), double and float -> shortest text against repr() and numpy
  json         valid texts and broken ones: we accept a text exactly when Python's json does (where both follow RFC 8259)
  safetensors  written by the library, read by us, and the other way round: names, shapes, values, metadata
  npy          the same with numpy.save and numpy.load; our bytes equal numpy's
  remedies     what the messages about .npy and PNG say to do, done with NumPy and Pillow
  png          Pillow's files of every kind read by us, ours by Pillow: equal pixels and texts; stored, so of known size
Prints one line a check and exits 1 when any fails. Nothing here is needed to build or use saeuron."""
import argparse, io, json, math, os, random, re, struct, subprocess, sys, tempfile, zlib
from decimal import Decimal, getcontext

import numpy as np
import safetensors.numpy
from PIL import Image, ImageDraw, PngImagePlugin

import library

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)


def build(cc, folder):
    driver = os.path.join(folder, "files_driver")
    flags = [cc, "-std=c99", "-O2", "-ffp-contract=off", "-I" + ROOT]
    subprocess.run(flags + [f"{HERE}/files_driver.c", *library.sources(), "-o", driver, "-lm"], check=True)
    return driver


class Check:
    def __init__(self, driver, folder, seed, count):
        self.driver, self.folder, self.count = driver, folder, count
        self.random, self.np = random.Random(seed), np.random.default_rng(seed)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *args, text=None):
        r = subprocess.run([self.driver, *args], input=text, capture_output=True, text=True)
        assert r.returncode == 0, (args, r.stderr)
        return r.stdout

    # ---- numbers

    def a_number(self, kind):
        r = self.random
        digits = lambda least, most: "".join(r.choices("0123456789", k=r.randint(least, most)))
        if kind == 0:  # any bits
            x = struct.unpack("<d", struct.pack("<Q", r.getrandbits(64)))[0]
            return repr(x) if math.isfinite(x) else "1"
        if kind == 1:  # any text
            return f"{digits(1, 40)}.{digits(0, 40)}e{r.randint(-360, 310)}"
        if kind == 2:  # exactly between two doubles, and a little beside
            x = struct.unpack("<d", struct.pack("<Q", r.getrandbits(62)))[0]
            middle = f"{(Decimal(x) + Decimal(math.nextafter(x, math.inf))) / 2:f}"
            return middle + (r.choice(["", "0" * 60 + "1"]) if "." in middle else "")
        if kind == 3:
            return repr(2.0 ** r.randint(-1074, 1023))
        return f"{r.gauss(0, 1) * 10 ** r.randint(-5, 5):.{r.randint(1, 17)}g}"

    def numbers(self):
        getcontext().prec = 1200
        texts = [self.a_number(i % 5) for i in range(self.count)]
        lines = self.run("numbers", text="\n".join(texts) + "\n").splitlines()
        assert len(lines) == len(texts)
        for text, line in zip(texts, lines):
            x = float(text)
            if math.isinf(x):
                assert line == "bad", (text, line)
                continue
            bits, shortest, single = line.split()
            assert int(bits, 16) == struct.unpack("<Q", struct.pack("<d", x))[0], (text, line)
            assert shortest == repr(x).removesuffix(".0"), (text, line, repr(x))
            with np.errstate(over="ignore", under="ignore"):
                f = np.float32(x)
                if not np.isinf(f):
                    assert np.float32(float(single)) == f and float(single) == float(np.format_float_scientific(f)), (text, line, f)
        return f"{len(texts)} decimal texts"

    # ---- JSON

    def json(self):
        def pairs(items):
            if len({k for k, _ in items}) < len(items):
                raise ValueError("duplicate")
            return dict(items)

        def accepts(data):
            try:
                text = data.decode("utf-8")
                value = json.loads(text, object_pairs_hook=pairs)
                if re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)):
                    return None  # Python takes half of a surrogate pair, we do not
            except (ValueError, RecursionError):
                return False
            return not text.startswith("\ufeff")

        r, files = self.random, []
        seeds = [json.dumps(x, ensure_ascii=a).encode() for a in (True, False) for x in
                 ({"a": [1, -2.5e-3, True, None, -math.inf, math.nan], "é\"\\\n": {"b": {}, "c": []}}, [[], {}, "x" * 9, 1e300, 0], "日本\U0001F600")]
        expected = []
        for i in range(2000):
            data = bytearray(r.choice(seeds))
            for _ in range(r.randint(0, 2)):
                at = r.randrange(len(data))
                what = r.randrange(3)
                if what == 0:
                    data[at] = r.choice(b'"{}[],:0123456789-+.eE\\ utfn\x00\x1f\x7f\x80\xc3\xff')
                elif what == 1:
                    del data[at]
                else:
                    data.insert(at, r.choice(b'"{}[],:0-.e\\ '))
            files.append(self.path(f"j{i}.json"))
            with open(files[-1], "wb") as f:
                f.write(data)
            expected.append((accepts(bytes(data)), bytes(data)))
        lines = self.run("json", *files).splitlines()
        good = 0
        for (want, data), line in zip(expected, lines):
            assert want is None or want == (line == "ok"), (want, data, line)
            good += line == "ok"
        return f"{len(files)} texts, {good} of them valid"

    # ---- safetensors

    def safetensors(self):
        from safetensors import safe_open
        r = self.np
        kinds = {"f4": np.float32, "f2": np.float16}
        for round_ in range(20):
            tensors = {}
            for i in range(int(r.integers(0, 12))):
                shape = tuple(int(x) for x in r.integers(0, 6, size=r.integers(0, 5)))
                tensors[f"block.{i}.ž {i}"] = r.normal(size=shape).astype(kinds[["f4", "f2"][i % 2]])
            metadata = {"hook": "up.1", "prompt": 'a "b"\n\té', "": "x"} if round_ % 2 else None
            safetensors.numpy.save_file(tensors, self.path("a.safetensors"), metadata=metadata)
            for dtype, kind in (("F32", np.float32), ("F16", np.float16)):
                self.run("safetensors", self.path("a.safetensors"), self.path("b.safetensors"), dtype)
                with safe_open(self.path("b.safetensors"), framework="np") as f:
                    assert (f.metadata() or {}) == (metadata or {}), f.metadata()
                    assert set(f.keys()) == set(tensors)
                    for k, v in tensors.items():
                        got = f.get_tensor(k)
                        assert got.dtype == kind and got.shape == v.shape and (got == v.astype(kind)).all(), k
                with open(self.path("b.safetensors"), "rb") as f:
                    assert struct.unpack("<Q", f.read(8))[0] % 8 == 0
        return "20 files each way, F32 and F16"

    # ---- npy

    def npy(self):
        r = self.np
        for _ in range(40):
            shape = tuple(int(x) for x in r.integers(0, 7, size=r.integers(0, 6)))
            x = np.asarray(r.normal(size=shape) * 1e3)
            for kind in (np.float16, np.float32, np.float64):
                np.save(self.path("a.npy"), x.astype(kind))
                self.run("npy", self.path("a.npy"), self.path("b.npy"))
                want = io.BytesIO()
                np.save(want, x.astype(kind).astype(np.float32))
                with open(self.path("b.npy"), "rb") as f:
                    assert f.read() == want.getvalue(), (shape, kind)
        with open(self.path("a.npy"), "wb") as f:
            np.lib.format.write_array(f, np.ones((3, 4), np.float32), version=(2, 0))
        self.run("npy", self.path("a.npy"), self.path("b.npy"))
        assert (np.load(self.path("b.npy")) == 1).all()
        return "40 shapes, three dtypes, our bytes equal numpy's"

    # ---- PNG

    def a_drawing(self, size):
        """Something like an emoji: shapes with soft edges and slopes of colour."""
        r = self.random
        colour = lambda: tuple(r.randrange(256) for _ in range(3)) + (255,)
        im = Image.new("RGBA", (4 * size, 4 * size), (255, 255, 255, 0))
        d = ImageDraw.Draw(im)
        for _ in range(r.randint(3, 9)):
            box = sorted(r.randrange(4 * size) for _ in range(2)) + sorted(r.randrange(4 * size) for _ in range(2))
            getattr(d, r.choice(["ellipse", "rectangle", "line"]))([box[0], box[2], box[1], box[3]], fill=colour())
        if r.random() < 0.5:
            slope = Image.linear_gradient("L").resize(im.size).rotate(r.randrange(360))
            im = Image.composite(im, Image.new("RGBA", im.size, colour()), slope.point(lambda v: 128 + v // 2))
        return im.resize((size, size), Image.LANCZOS)

    def over_white(self, im):
        a = np.asarray(im.convert("RGBA")).astype(int)
        return (a[..., :3] * a[..., 3:] + 255 * (255 - a[..., 3:]) + 127) // 255

    def check_size(self, path, size):
        """The pixels are stored: rows with filter 0, in as few blocks as there can be."""
        with open(path, "rb") as f:
            data = f.read()
        at, idat = 8, b""
        while at < len(data):
            n, kind = struct.unpack(">I4s", data[at:at + 8])
            idat += data[at + 8:at + 8 + n] if kind == b"IDAT" else b""
            at += 12 + n
        raw = size[1] * (3 * size[0] + 1)
        assert len(idat) == 2 + raw + 5 * -(-raw // 65535) + 4 and len(zlib.decompress(idat)) == raw, (size, len(idat))

    def png(self):
        pictures = 0
        for i in range(120):
            im = self.a_drawing(self.random.choice([1, 2, 3, 31, 64, 64, 64, 100, 256]))
            mode = ["RGBA", "RGB", "L", "LA", "P", "1", "PA"][i % 7]
            if mode == "P":
                im = im.convert("RGB").quantize([2, 4, 16, 200][i % 4])
            elif mode == "PA":
                im = im.quantize(16)
            else:
                im = im.convert(mode)
            info = PngImagePlugin.PngInfo()
            info.add_text("latin", "Grüße")
            info.add_itxt("utf", "žluť 😀")
            im.save(self.path("a.png"), pnginfo=info, compress_level=self.random.randrange(10), **({"bits": 4} if mode == "P" and i % 4 < 2 else {}))
            assert self.run("text", self.path("a.png"), "latin") == "Grüße" and self.run("text", self.path("a.png"), "utf") == "žluť 😀"
            self.run("png", self.path("a.png"), self.path("b.png"), "prompt", "An image\nof Cats.", "title", "žluť 😀")
            back = Image.open(self.path("b.png"))
            back.load()
            want = self.over_white(Image.open(self.path("a.png")))
            assert back.mode == "RGB" and (np.asarray(back) == want).all(), (mode, im.size)
            assert back.text == {"prompt": "An image\nof Cats.", "title": "žluť 😀"}, back.text
            self.check_size(self.path("b.png"), im.size)
            pictures += 1
        for kind in (self.np.integers(0, 256, (200, 300, 3)), np.zeros((400, 300, 3)), np.indices((256, 256)).sum(0)[..., None] * [1, 2, 3]):
            Image.fromarray((kind % 256).astype(np.uint8)).save(self.path("a.png"))
            self.run("png", self.path("a.png"), self.path("b.png"))
            assert (np.asarray(Image.open(self.path("b.png"))) == kind % 256).all()
            pictures += 1
        return f"{pictures} pictures"

    # ---- remedies

    def refused(self, words, *args):
        r = subprocess.run([self.driver, *args], capture_output=True, text=True)
        assert r.returncode != 0 and words in r.stderr, (args, r.stderr)

    def remedies(self):
        """Whoever does what a message says, with NumPy or Pillow, has a file that is read."""
        npy, png, out = self.path("a.npy"), self.path("a.png"), self.path("b")
        x = np.arange(12, dtype=np.float32).reshape(3, 4)
        fixed = {
            "save it again after numpy.ascontiguousarray": (np.asfortranarray(x), np.ascontiguousarray),
            "save it again after .astype('<f4')": (x.astype(">f4"), lambda a: a.astype("<f4")),
            "none of <f2, <f4, <f8": (x.astype(np.int64), lambda a: a.astype("<f4")),
        }
        for words, (bad, mend) in fixed.items():
            np.save(npy, bad)
            self.refused(words, "npy", npy, out)
            np.save(npy, mend(np.load(npy)))
            self.run("npy", npy, out)
            assert (np.load(out) == x).all(), words
        with open(npy, "wb") as f:
            np.lib.format.write_array(f, x, version=(3, 0))
        self.refused("3.0; 1.0 and 2.0 are read: save it again", "npy", npy, out)
        np.save(npy, np.load(npy))
        self.run("npy", npy, out)
        wide = self.np.integers(0, 65536, (5, 7)).astype(np.uint16)
        deep = Image.fromarray(wide)
        deep.save(png)
        self.refused("16 bits a sample: convert it to 8", "png", png, out)
        Image.fromarray((np.asarray(Image.open(png)) >> 8).astype(np.uint8)).save(png)
        self.run("png", png, out)
        assert (np.asarray(Image.open(out).convert("L")) == wide >> 8).all()
        Image.new("RGB", (5, 7), (1, 2, 3)).save(png, format="BMP")
        self.refused("no PNG file: convert it", "png", png, out)
        Image.open(png).save(png, format="PNG")
        self.run("png", png, out)
        Image.new("L", (8193, 2)).save(png)
        self.refused("8193 x 2 pixels, but 1 to 8192 each way are read: crop or scale it", "png", png, out)
        Image.open(png).crop((0, 0, 8192, 2)).save(png)
        self.run("png", png, out)
        return f"{len(fixed) + 4} followed"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cc", default="gcc")
    p.add_argument("--count", type=int, default=100000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--driver", help="a driver already built")
    a = p.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        check = Check(a.driver or build(a.cc, folder), folder, a.seed, a.count)
        for name in ("numbers", "json", "safetensors", "npy", "png", "remedies"):
            try:
                print(f"ok   {name}: {getattr(check, name)()}", flush=True)
            except AssertionError as e:
                failed += 1
                print(f"FAIL {name}: {str(e)[:500]} line {e.__traceback__.tb_next.tb_lineno if e.__traceback__.tb_next else 0}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
