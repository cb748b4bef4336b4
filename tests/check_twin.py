"""check_twin.py: the C against tests/twin.py, bit for bit: every operation, classifiers, SAE training, one way back through the UNet, and of a picture
with forgetting every module's output, each step's latents and the file.

    python tests/check_twin.py      builds the library with $CC (gcc) and the scalar kernels, and ./saeuron; needs NumPy

Each comparison is a line, the last one "N passed, N failed". Not here: the twin itself."""
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import library
from twin import *

class Arena(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t), ("used", ctypes.c_size_t), ("peak", ctypes.c_size_t),
                ("failed", ctypes.c_bool)]


class NN(ctypes.Structure):
    _fields_ = [("kernels", ctypes.c_void_p), ("threads", ctypes.c_int), ("work", ctypes.POINTER(Arena))]


class Weight(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("type", ctypes.c_int), ("packed", ctypes.c_void_p)]


class ConvShape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("B", "H", "W", "ci", "co", "k", "stride", "before", "after")]


DT_F32, DT_F16 = 1, 2
SIZE, FLOAT, BOOL, U64C = ctypes.c_size_t, ctypes.c_float, ctypes.c_bool, ctypes.c_uint64


def build(folder):
    built = pathlib.Path(folder) / "libnn.so"
    flags = "-std=c99 -O2 -fPIC -shared -ffp-contract=off -fno-math-errno -fno-trapping-math".split()
    compiler = os.environ.get("CC", "gcc").split()
    if "clang" not in compiler[0]:
        flags.append("-fexcess-precision=fast")
    subprocess.run(["make", "-s", "-C", library.ROOT, "saeuron"], check=True)
    subprocess.run([*compiler, *flags, f"-I{library.ROOT}", *library.sources(), *library.room("training"), *library.room("gradients"), "-o", str(built), "-lm"], check=True)
    return ctypes.CDLL(str(built))


class Comparison:
    def __init__(self, lib):
        self.lib, self.passed, self.failed, self.stream = lib, 0, 0, 0
        self.memory = np.zeros(1 << 25, np.uint8)
        self.arena = Arena(self.memory.ctypes.data + -self.memory.ctypes.data % 64, (1 << 25) - 64, 0, 0, False)
        self.c = NN()
        lib.nn_init.restype = BOOL
        assert lib.nn_init(ctypes.byref(self.c), b"reference", 1, ctypes.byref(self.arena))

    def filled(self, *shape, a=1.0):
        self.stream += 1
        return symmetric(21, self.stream, int(np.prod(shape)), a).reshape(shape)

    def same(self, name, ours, theirs):
        ours, theirs = np.ascontiguousarray(ours), np.ascontiguousarray(theirs)
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, (name, ours.dtype, theirs.dtype, ours.shape, theirs.shape)
        if ours.dtype.kind == "f":
            word = U32 if ours.dtype == F else U64
            wrong = (ours.view(word) != theirs.view(word)) & ~(np.isnan(ours) & np.isnan(theirs))
        else:
            wrong = ours != theirs
        if wrong.any():
            i = int(np.flatnonzero(wrong.ravel())[0])
            print(f"FAIL {name}: {int(wrong.sum())} of {wrong.size} differ, first {i}: "
                  f"{ours.ravel()[i]!r} here, {theirs.ravel()[i]!r} from C")
            self.failed += 1
        else:
            print(f"ok   {name}: {wrong.size}")
            self.passed += 1

    def run(self, name, n, *arguments):
        """nn_NAME(&c, y, arguments...) with arrays as pointers; y float32 of shape n."""
        y = np.full(n, np.nan, F)
        passed = [pointer(a) if isinstance(a, np.ndarray) else a for a in arguments]
        getattr(self.lib, "nn_" + name)(ctypes.byref(self.c), pointer(y), *passed)
        return y

    def each(self, name, x):
        """The function of one number nn_NAME over x."""
        f = getattr(self.lib, "nn_" + name)
        f.restype, f.argtypes = (FLOAT, [FLOAT]) if x.dtype == F else (ctypes.c_double, [ctypes.c_double])
        return np.array([f(float(v)) for v in x], x.dtype)


def pointer(array):
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def some_floats(c, low, high):
    """A range evenly, both zeros, ends, and patterns of bits."""
    c.stream += 1
    patterns = value(22, c.stream, np.arange(20000)).astype(U32).view(F)
    even = np.linspace(low, high, 20001).astype(F)
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, np.nan], F)
    return np.concatenate([even, patterns, special])


def compare_functions(c):
    fmaf = c.lib.nn_fmaf
    fmaf.restype, fmaf.argtypes = FLOAT, [FLOAT] * 3
    a, b, z = (value(23, i, np.arange(30000)).astype(U32).view(F) for i in range(3))
    z[::2] = -(a * b)[::2]
    c.same("fma", fma(a, b, z), np.array([fmaf(float(x), float(y), float(w)) for x, y, w in zip(a, b, z)], F))
    for name, f, low, high in (("expf", exp, -106, 90), ("logf", log, 1e-3, 40), ("erff", erf, -4.2, 4.2), ("silu1", silu, -100, 100),
                               ("gelu1", gelu, -8, 8), ("quick_gelu1", quick_gelu, -60, 60)):
        x = some_floats(c, low, high)
        c.same(name, f(x), c.each(name, x))
    x = np.linspace(-20, 20, 2001).astype(F)
    c.same("expf_cr", exp_cr(x), c.each("expf_cr", x))
    x = np.concatenate([c.filled(20000, a=8192.0), c.filled(20000, a=4.0)]).astype(D)
    s, k = sin_cos(x)
    c.same("sin", s, c.each("sin", x))
    c.same("cos", k, c.each("cos", x))
    for t, dim, flip, shift in ((981, 320, True, 0), (1, 64, False, 1), (0, 2, True, 0)):
        y = np.empty(dim, F)
        c.lib.nn_timestep_embedding(pointer(y), FLOAT(t), SIZE(dim), BOOL(flip), FLOAT(shift))
        c.same(f"timestep_embedding {t}", timestep_embedding(t, dim, flip, shift), y)
    x = np.concatenate([np.linspace(-1.2, 1.2, 5001).astype(F), ((np.arange(256) + 0.5) / 127.5 - 1).astype(F)])
    c.lib.nn_pixel.restype, c.lib.nn_pixel.argtypes = ctypes.c_ubyte, [FLOAT]
    c.same("pixel", pixel(x), np.array([c.lib.nn_pixel(float(v)) for v in x], np.uint8))


def compare_halves(c):
    f = c.lib.nn_f16_to_f32
    f.restype, f.argtypes = FLOAT, [ctypes.c_uint16]
    bits = np.arange(65536, dtype=np.uint16)
    c.same("f16_to_f32", bits.view(np.float16).astype(F), np.array([f(int(b)) for b in bits], F))
    g, out = c.lib.nn_f32_to_f16, ctypes.c_uint16()
    g.restype, g.argtypes = BOOL, [ctypes.c_void_p, FLOAT]
    x = np.concatenate([c.filled(20000, a=70000.0), c.filled(20000, a=1e-4), c.filled(20000, a=1e-7)])
    theirs = np.array([out.value if g(ctypes.byref(out), float(v)) else 0xFFFF for v in x], np.uint16)
    narrow = x.astype(np.float16)
    c.same("f32_to_f16", np.where(np.isfinite(narrow), narrow.view(np.uint16), np.uint16(0xFFFF)), theirs)


def compare_products(c):
    for M, K, N in ((3, 1, 4), (5, 127, 7), (4, 128, 3), (4, 129, 3), (2, 2047, 3), (2, 2048, 3), (2, 2049, 3), (2, 4097, 2), (1, 6200, 2)):
        x, W, bias = c.filled(M, K), c.filled(N, K), c.filled(N)
        y = c.run("linear", (M, N), x, Weight(W.ctypes.data, DT_F32), bias, SIZE(M), SIZE(K), SIZE(N))
        c.same(f"linear {M} x {K} x {N}", linear(x, W, bias), y)
    W = c.filled(6, 200).astype(np.float16)
    x = c.filled(3, 200)
    y = c.run("linear", (3, 6), x, Weight(W.ctypes.data, DT_F16), None, SIZE(3), SIZE(200), SIZE(6))
    c.same("linear, F16, no bias", linear(x, W.astype(F), None), y)
    for B, H, Wd, ci, co, k, stride, before, after in ((2, 4, 5, 3, 4, 3, 1, 1, 1), (1, 7, 6, 20, 3, 3, 2, 0, 1), (1, 3, 3, 130, 2, 1, 1, 0, 0),
                                                       (1, 3, 4, 240, 2, 3, 1, 1, 1), (1, 8, 8, 3, 5, 4, 4, 0, 0)):
        x, W, bias = c.filled(B, H, Wd, ci), c.filled(co, ci, k, k), c.filled(co)
        ours = conv2d(x, W, bias, stride, before, after)
        shape = ConvShape(B, H, Wd, ci, co, k, stride, before, after)
        y = c.run("conv2d", ours.shape, x, Weight(W.ctypes.data, DT_F32), bias, ctypes.byref(shape))
        c.same(f"conv2d {ci} to {co}, {k} x {k}, stride {stride}", ours, y)
    for B, Nq, Nk, heads, head, causal in ((2, 3, 5, 2, 4, False), (1, 7, 7, 3, 8, True), (1, 2, 130, 1, 40, False), (1, 1, 2060, 1, 5, False)):
        q, k, v = c.filled(B, Nq, heads * head, a=4.0), c.filled(B, Nk, heads * head, a=4.0), c.filled(B, Nk, heads * head)
        y = c.run("attention", q.shape, q, k, v, SIZE(B), SIZE(Nq), SIZE(Nk), SIZE(heads), SIZE(head), BOOL(causal))
        c.same(f"attention {Nq} x {Nk}, {heads} heads of {head}{', causal' if causal else ''}", attention(q, k, v, heads, causal), y)


def compare_norms(c):
    c.lib.nn_sum16.restype = c.lib.nn_sum16_sq.restype = c.lib.nn_quantile.restype = ctypes.c_double
    for n in (1, 15, 16, 17, 1000):
        x = c.filled(n, a=100.0)
        theirs = [c.lib.nn_sum16(pointer(x), SIZE(n)), c.lib.nn_sum16_sq(pointer(x), SIZE(n), ctypes.c_double(0.3))]
        c.same(f"sums of {n}", np.array([sum16(x), sum16_sq(x, D(0.3))]), np.array(theirs))
    eps = F(1e-5)
    for M, width in ((3, 1), (4, 16), (2, 100), (2, 321)):
        x, gamma, beta = c.filled(M, width, a=5.0), c.filled(width), c.filled(width)
        y = c.run("layer_norm", x.shape, x, gamma, beta, SIZE(M), SIZE(width), FLOAT(eps))
        c.same(f"layer_norm {width}", layer_norm(x, gamma, beta, eps), y)
        c.same(f"softmax {width}", softmax(x), c.run("softmax", x.shape, x, SIZE(M), SIZE(width)))
    for B, P, C, G, activate in ((2, 9, 12, 3, False), (1, 50, 64, 32, True), (1, 7, 10, 1, False)):
        x, gamma, beta = c.filled(B, P, C, a=5.0), c.filled(C), c.filled(C)
        y = c.run("group_norm", x.shape, x, gamma, beta, SIZE(B), SIZE(P), SIZE(C), SIZE(G), FLOAT(eps), BOOL(activate))
        ours = group_norm(x, gamma, beta, G, eps)
        c.same(f"group_norm {C} in {G}", silu(ours) if activate else ours, y)
    x = c.filled(5, 60, a=4.0)
    c.same("geglu", x[:, :30] * gelu(x[:, 30:]), c.run("geglu", (5, 30), x, SIZE(5), SIZE(30)))


def compare_order(c):
    c.lib.nn_topk.restype = SIZE
    for n, k, a in ((1, 1, 1.0), (50, 7, 3.0), (3000, 32, 3.0), (20, 30, 1.0)):
        for ties in (False, True):
            z = c.filled(n, a=a)
            z = np.trunc(z) if ties else z
            idx, val = np.empty(k, U32), np.empty(k, F)
            got = c.lib.nn_topk(pointer(idx), pointer(val), pointer(z), SIZE(n), SIZE(k))
            ours = topk(z, k)
            c.same(f"topk {k} of {n}{', ties' if ties else ''}", ours, idx[:got])
            c.same(f"topk's values", z[ours], val[:got])
    for n in (1, 2, 10, 1001):
        x, scratch = c.filled(n), np.empty(n, F)
        qs = [0.0, 0.25, 0.5, 0.9999, 1.0, 1 / 3]
        theirs = [c.lib.nn_quantile(pointer(x), SIZE(n), ctypes.c_double(q), pointer(scratch)) for q in qs]
        c.same(f"quantile of {n}", np.array([quantile(x, q) for q in qs]), np.array(theirs))


def compare_random(c):
    c.lib.rng_value.restype = c.lib.nn_hash.restype = U64C
    theirs = [c.lib.rng_value(U64C(5), U64C(2**63 + 1), U64C(i)) for i in range(1000)]
    c.same("rng_value", value(5, 2**63 + 1, np.arange(1000)), np.array(theirs, U64))
    f, g = c.lib.rng_uniform, c.lib.rng_symmetric
    f.restype = g.restype = FLOAT
    c.same("rng_uniform", uniform(1, 2, 1000), np.array([f(U64C(1), U64C(2), U64C(i)) for i in range(1000)], F))
    c.same("rng_symmetric", symmetric(1, 2, 1000, 0.3), np.array([g(U64C(1), U64C(2), U64C(i), FLOAT(0.3)) for i in range(1000)], F))
    data = bytes(range(256)) * 3
    for n in (0, 1, 7, 8, 9, 16, 700):
        theirs = c.lib.nn_hash(U64C(n), data[:n], SIZE(n))
        c.same(f"nn_hash {n}", np.array([digest(n, data[:n])], U64), np.array([theirs], U64))
    for n in (16, 17, 31, 32, 33, 64, 1000, 4096):
        for seed in (0, 1, 42, 2**32 + 7):
            y = np.empty(n, F)
            assert c.lib.rng_randn(pointer(y), U64C(seed), U64C(n), U64C(0), SIZE(n))
            c.same(f"randn {n}, seed {seed}", randn(seed, n), y)


def write_classifier(folder, config, tensors):
    """A classifier's folder: config.json and a safetensors file of float16."""
    (folder / "config.json").write_text(json.dumps(config))
    header, data = {}, b""
    for name, x in tensors.items():
        part = x.astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(x.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)


def made_classifier(c, config):
    """The tensors that a config asks for, drawn and rounded to float16."""
    width, wide = config["embed_dim"], int(config["embed_dim"] * config["mlp_ratio"])
    tokens = int(config["class_token"]) + (config["img_size"] // config["patch_size"]) ** 2
    shapes = {"pos_embed": (1, tokens, width), "patch_embed.proj.weight": (width, 3, config["patch_size"], config["patch_size"]),
              "patch_embed.proj.bias": (width,), "head.weight": (config["num_classes"], width), "head.bias": (config["num_classes"],)}
    if config["class_token"]:
        shapes["cls_token"] = (1, 1, width)
    norms = ["fc_norm" if config["global_pool"] == "avg" else "norm"]
    for i in range(config["depth"]):
        norms += [f"blocks.{i}.norm1", f"blocks.{i}.norm2"]
        for name, rows, columns in (("attn.qkv", 3 * width, width), ("attn.proj", width, width), ("mlp.fc1", wide, width), ("mlp.fc2", width, wide)):
            shapes[f"blocks.{i}.{name}.weight"] = (rows, columns)
            if config["qkv_bias"] or name != "attn.qkv":
                shapes[f"blocks.{i}.{name}.bias"] = (rows,)
    for name in norms:
        shapes[name + ".weight"] = shapes[name + ".bias"] = (width,)
    return {name: (c.filled(*shape, a=0.5) + (F(1) if "norm" in name and name.endswith("weight") else F(0))).astype(np.float16).astype(F)
            for name, shape in shapes.items()}


def compare_classifiers(c):
    """Through the public interface: a folder, pictures of another size than the network's, logits."""
    common = dict(architecture="vision_transformer", norm_eps=1e-6, std=[0.5, 0.25, 0.3], mean=[0.5, 0.4, 0.1])
    cases = (dict(img_size=12, patch_size=4, embed_dim=24, depth=2, num_heads=3, mlp_ratio=4.0, qkv_bias=True, class_token=True, global_pool="token", num_classes=5),
             dict(img_size=11, patch_size=3, embed_dim=132, depth=1, num_heads=2, mlp_ratio=1.6, qkv_bias=False, class_token=True, global_pool="avg", num_classes=3),
             dict(img_size=9, patch_size=9, embed_dim=16, depth=1, num_heads=4, mlp_ratio=2.0, qkv_bias=True, class_token=False, global_pool="avg", num_classes=2))
    for case, (W, H) in zip(cases, ((17, 12), (10, 40), (9, 9))):
        config, error = {**common, **case}, ctypes.create_string_buffer(1024)
        tensors = made_classifier(c, config)
        pictures = (value(24, c.stream, np.arange(3 * H * W * 3)) >> U64(56)).astype(np.uint8).reshape(3, H, W, 3)
        with tempfile.TemporaryDirectory() as folder:
            write_classifier(pathlib.Path(folder), config, tensors)
            handle, y = ctypes.c_void_p(), np.empty((3, config["num_classes"]), F)
            code = c.lib.saeuron_classifier_open(ctypes.byref(handle), None, folder.encode(), error)
            if not code:
                code = c.lib.saeuron_classify(handle, pointer(pictures), SIZE(3), SIZE(W), SIZE(H), pointer(y), error)
                c.lib.saeuron_classifier_close(handle)
        assert not code, error.raw[4:].split(b"\0")[0].decode()
        c.same(f"classifier {case['img_size']}, patches of {case['patch_size']}, {case['global_pool']}", classifier(config, tensors, pictures), y)


def compare_resizes(c):
    for W, H, w, h in ((64, 64, 24, 24), (20, 20, 41, 41), (7, 90, 12, 12), (90, 7, 12, 12), (30, 61, 15, 30), (30, 60, 15, 30), (1, 1, 4, 3), (50, 9, 50, 4), (9, 50, 3, 50), (300, 2, 1, 1)):
        c.stream += 1
        x, y = (value(25, c.stream, np.arange(W * H * 3)) >> U64(56)).astype(np.uint8).reshape(H, W, 3), np.empty((h, w, 3), np.uint8)
        c.lib.resize_bilinear(ctypes.byref(c.c), pointer(y), SIZE(w), SIZE(h), pointer(x), SIZE(W), SIZE(H))
        c.same(f"resize {W} x {H} to {w} x {h}", resize(x, w, h), y)


class TrainConfig(ctypes.Structure):
    _fields_ = [*((name, SIZE) for name in ("d", "n", "k", "batch", "steps")), *((name, BOOL) for name in ("batch_topk", "multi_topk", "released_auxk")),
                *((name, ctypes.c_double) for name in ("lr", "beta1", "beta2", "eps", "clip", "auxk_alpha")), ("dead_threshold", U64C), ("seed", U64C)]


class TrainReport(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_double) for name in ("loss", "fvu", "auxk", "multi", "explained", "explained_dev", "l0", "grad_norm", "lr")),
                *((name, SIZE) for name in ("dead", "fired", "tokens")), ("step", U64C)]


class TrainerTensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("type", ctypes.c_int), ("ndim", ctypes.c_int), ("shape", SIZE * 2), ("count", SIZE), ("data", ctypes.c_void_p)]


class Measurement(ctypes.Structure):
    _fields_ = [*((name, SIZE) for name in ("maps", "tokens", "n", "k")), ("fvu", ctypes.c_double), ("l0", ctypes.c_double),
                ("dead", SIZE), ("bin", SIZE * 18)]


def trainer_state(lib, handle):
    """{name: array}, views of the trainer's own memory."""
    tensors = (TrainerTensor * 18)()  # TRAINER_TENSORS
    lib.trainer_tensors(handle, tensors)
    views = {}
    for t in tensors:
        kind = ctypes.c_float if t.type == DT_F32 else U64C
        views[t.name.decode()] = np.ctypeslib.as_array(ctypes.cast(t.data, ctypes.POINTER(kind)), tuple(t.shape[:t.ndim]))
    return views


def write_sae(folder, tensors, config):
    """A folder of sparsify's with the trainer's weights, for sae_load."""
    header, data = {}, b""
    for name in TENSORS:
        part = np.ascontiguousarray(tensors[name], "<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": tensors[name].shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    (folder / "sae.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    (folder / "cfg.json").write_text(json.dumps({"k": config["k"], "num_latents": config["n"], "d_in": config["d"]}))
    return str(folder).encode()


# Ten steps, then three each. d across sixteen lanes and the dot's blocks; n across train.c's blocks of 960 latents; entries of a latent and tokens across 128
# and 2,048; batches that are short; latents dead from the start, some with equal rows (ties), some that never fire; more selected than are above 0.
TRAINING = (
    dict(d=20, n=40, k=5, M=(37,) * 9 + (11,), steps=12),
    dict(d=20, n=40, k=5, M=(37, 37, 11), batch_topk=True, dead=15, ties=3),
    dict(d=33, n=70, k=4, M=(50, 50, 50), multi_topk=True, dead=6, ties=2),
    dict(d=16, n=64, k=4, M=(50, 50, 50), multi_topk=True, batch_topk=True, dead=30, released_auxk=True, ties=5),
    dict(d=130, n=24, k=3, M=(30, 30, 7), dead=9, released_auxk=True, clip=1e6),
    dict(d=7, n=9, k=6, M=(300, 300, 131), batch_topk=True, few=True),
    dict(d=5, n=12, k=5, M=(60, 60, 60), multi_topk=True, few=True, dead=4, ties=2),
    dict(d=6, n=8, k=2, M=(2300, 2049, 129), batch_topk=True, multi_topk=True, dead=3),
    dict(d=17, n=1930, k=3, M=(9, 9, 9), dead=400, ties=20),
    dict(d=17, n=1930, k=3, M=(9, 9, 9), batch_topk=True, multi_topk=True, dead=700, ties=20),
)


def compare_training(c):
    defaults = dict(steps=4, batch_topk=False, multi_topk=False, released_auxk=False, lr=3e-3, beta1=0.9, beta2=0.999, eps=6.25e-10, clip=1.0, auxk_alpha=1 / 32,
                    dead_threshold=1000, seed=9)
    for number, case in enumerate(TRAINING):
        names = [name for name, _ in TrainConfig._fields_]
        config = {**defaults, "batch": max(case["M"]), **{k: v for k, v in case.items() if k in names}}
        handle, error, report = ctypes.c_void_p(), ctypes.create_string_buffer(1024), TrainReport()
        text = f"training {number}"

        def good(code):
            assert not code, error.raw[4:].split(b"\0")[0].decode()

        good(c.lib.trainer_open(ctypes.byref(handle), None, ctypes.byref(TrainConfig(**config)), 1, (b"reference", b"scalar")[number % 2], error))
        theirs, ours, n = trainer_state(c.lib, handle), Trainer(config), config["n"]
        x = [c.filled(M, config["d"], a=2.0) + F(0.5) for M in case["M"]]
        good(c.lib.trainer_start(handle, pointer(x[0]), SIZE(len(x[0])), error))
        ours.start(x[0])
        for k in TENSORS:
            c.same(f"{text}, start: {k}", ours.s[k], theirs[k])

        bias, since = c.filled(n, a=0.1) - F(1.5 if case.get("few") else 0), np.zeros(n, U64)
        since[:case.get("dead", 0)] = 5000
        for k, v in (("encoder.bias", bias), ("tokens_since_fired", since)):
            theirs[k][...], ours.s[k] = v, v.copy()
        ties = case.get("ties", 0)
        for k in TENSORS[:2]:  # the last rows equal the first: dead, if any are
            ours.s[k][n - ties:] = ours.s[k][:ties]
            theirs[k][...] = ours.s[k]
        for i, batch in enumerate(x):
            good(c.lib.trainer_step(handle, pointer(batch), SIZE(len(batch)), ctypes.byref(report), error))
            found = ours.step(batch)
            for k in sorted(ours.s):
                c.same(f"{text}, step {i}: {k}", ours.s[k], theirs[k])
            numbers = ("loss", "fvu", "auxk", "multi", "explained", "explained_dev")
            c.same(f"{text}, step {i}: report", np.array([found[k] for k in numbers] + [D(found["norm"])]), np.array([getattr(report, k) for k in numbers] + [report.grad_norm]))
            c.same(f"{text}, step {i}: dead, fired", np.array([found["dead"], found["fired"]]), np.array([report.dead, report.fired]))

        sae, measure, result = ctypes.create_string_buffer(8192), ctypes.c_void_p(), Measurement()
        with tempfile.TemporaryDirectory() as folder:
            good(c.lib.sae_load(sae, None, None, write_sae(pathlib.Path(folder), theirs, config), error))
        good(c.lib.measure_open(ctypes.byref(measure), None, sae, 1, b"scalar", error))
        for part in (x[0][:1], x[0][1:9], x[0][9:], x[1]):
            good(c.lib.measure_add(measure, pointer(np.ascontiguousarray(part)), SIZE(len(part)), error))
        good(c.lib.measure_result(measure, ctypes.byref(result), error))
        c.lib.measure_fired.restype = ctypes.POINTER(U64C)
        fvu, l0, fired = ours.held_out(np.concatenate(x[:2]))
        c.same(f"{text}: held out", np.array([fvu, l0]), np.array([result.fvu, result.l0]))
        c.same(f"{text}: held out, fired", fired, np.ctypeslib.as_array(c.lib.measure_fired(measure), (n,)).copy())
        c.lib.measure_close(measure)
        c.lib.sae_unload(sae, None)
        c.lib.trainer_close(handle)


# ---- a derivative of EmojiCanvas ----

class GradientOptions(ctypes.Structure):
    _fields_ = [("prompt", ctypes.c_char_p), ("ids", ctypes.c_void_p), ("timestep", ctypes.c_int), ("seed", U64C), ("h", SIZE), ("w", SIZE), ("latents", ctypes.c_void_p),
                ("target", ctypes.c_void_p), ("of", ctypes.c_char_p), ("around", BOOL), ("map_steps", BOOL), ("residual", ctypes.c_int), ("shared", ctypes.c_int)]


# A tensor of each kind of layer.
WANTED = ("conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.1.norm1.weight", "down_blocks.1.resnets.0.conv_shortcut.weight",
          "down_blocks.1.downsamplers.0.conv.weight", "mid_block.resnets.0.time_emb_proj.bias", "mid_block.attentions.0.norm.bias",
          "up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_k.weight", "up_blocks.0.attentions.1.transformer_blocks.0.norm2.weight",
          "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_v.weight", "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.2.bias",
          "up_blocks.0.upsamplers.0.conv.bias", "conv_out.weight")


def compare_unet(c):
    """One step of EmojiCanvas and back: mean (e - target)^2 by latents, text states and tensors."""
    model, prompt, T = MODEL, b"An image of Cats in Bricks style.", 501
    config = json.loads((model / "unet" / "config.json").read_text())
    side, handle, error = config["sample_size"], ctypes.c_void_p(), ctypes.create_string_buffer(1024)

    def good(code):
        assert not code, error.raw[4:].split(b"\0")[0].decode()

    good(c.lib.saeuron_open(ctypes.byref(handle), None, str(model).encode(), error))
    c.lib.saeuron_text_length.restype = c.lib.saeuron_text_width.restype = SIZE
    text = np.empty((c.lib.saeuron_text_length(handle), c.lib.saeuron_text_width(handle)), F)
    good(c.lib.saeuron_encode_text(handle, prompt, pointer(text), error))
    latents, target = c.filled(1, 4, side, side, a=1.7), c.filled(1, 4, side, side, a=1.7)

    net = Unet(config, safetensors(model / "unet" / "diffusion_pytorch_model.safetensors")[0], WANTED)
    e, back = net.forward(np.ascontiguousarray(latents.transpose(0, 2, 3, 1)), T, text)
    d = e - target.transpose(0, 2, 3, 1)
    loss = sum16(np.square(d.ravel().astype(D))) / D(d.size)
    ours = {"latents": back(F(2 / D(d.size)) * d).transpose(0, 3, 1, 2), "text": net.dtext[None], **net.d}
    for of, derivative in ours.items():
        theirs, found = np.full(derivative.shape, np.nan, F), ctypes.c_double()
        options = GradientOptions(prompt, None, T, 0, side, side, latents.ctypes.data, target.ctypes.data, of.encode(), False, False, 0, 0)
        good(c.lib.gradient(handle, ctypes.byref(options), pointer(theirs), ctypes.byref(found), error))
        c.same(f"EmojiCanvas, derivative by {of}", derivative, theirs)
    c.same("EmojiCanvas, loss", np.array([loss]), np.array([D(found.value)]))
    c.lib.saeuron_close(handle)


# ---- what the program does ----

MODEL = library.ROOT / "weights" / "emojicanvas"


def run(command, *options):
    return subprocess.run([library.ROOT / "saeuron", command, "-m", MODEL, *options], check=True, capture_output=True, text=True).stdout


def compare_statistics(c):
    """mu and densities of two concepts at two steps, from the hook's activations."""
    hook, concepts, sampling = "up_blocks.1.attentions.2", {"One": ["A cat", "A dog in Bricks style", "The sea"], "Other": ["A bear"]}, ("--steps", "2", "--seed", "5")
    sae = Sae(MODEL / "sae" / hook)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "concepts.json").write_text(json.dumps(concepts))
        run("stats", "-q", "--hook", hook, *sampling, "--concepts", folder / "concepts.json", "-o", folder / "mu.safetensors", "--density", folder / "density.safetensors")
        mu, density = safetensors(folder / "mu.safetensors")[0], safetensors(folder / "density.safetensors")[0]
        (folder / "prompts.txt").write_text("\n".join(sum(concepts.values(), [])))
        run("collect", "-q", "--hook", hook, *sampling, "--prompts", folder / "prompts.txt", "-o", folder / "maps.safetensors")
        maps = safetensors(folder / "maps.safetensors")[0]["activations"]
    f, at = np.stack([sae.encode(x) for x in maps]).reshape(-1, 2, *maps.shape[1:2], sae.c["num_latents"]), 0
    for concept, prompts in concepts.items():
        own, at = f[at:at + len(prompts)], at + len(prompts)
        c.same(f"statistics of {concept}", np.stack([statistics(own[:, step]) for step in range(2)]), mu[concept])
        c.same(f"density of {concept}", ((own > 0).sum((0, 2)).astype(D) / D(own[:, 0, :, 0].size)).astype(F), density[concept])


class Dump:
    """The intermediates of `generate --dump`, of the rows of a batch: each is compared with the module of that name."""

    def __init__(self, c, folder):
        self.c, self.all, self.prefix, self.row = c, {p.name.removesuffix(".npy"): np.load(p) for p in folder.glob("*.npy")}, "", 0
        self.left = set(self.all)

    def take(self, name):
        self.left.discard(name)
        return self.all[name]

    def see(self, name, x):
        """x [1,H,W,C] or [N,C] of row self.row; where rows are alike there is one. VAE's inner resnets are not shown."""
        name = self.prefix + name
        if name in self.all:
            theirs = self.take(name)
            self.c.same(f"{name}, row {self.row}", x.transpose(0, 3, 1, 2) if x.ndim == 4 else x[None], theirs[self.row % len(theirs)][None])
        return x


def compare_picture(c):
    """EmojiCanvas' picture of ten steps without its style and without its object: every module of every step, both halves, and the file."""
    prompt, seed, T, concepts = "An image of Cats in Bricks style.", 7, 10, ("Cats", "Bricks")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run("generate", "-q", "-p", prompt, "--forget", ",".join(concepts), "--steps", str(T), "--map-steps", "--seed", str(seed), "-o", folder / "a.png", "--dump", folder / "dump")
        run("encode", "--image", folder / "a.png", "-o", folder / "moments.npy")
        dump, file, moments = Dump(c, folder / "dump"), (folder / "a.png").read_bytes(), np.load(folder / "moments.npy")
    ids = [[int(i) for i in run("tokenize", text).split()] for text in ("", prompt)]
    part = {name: json.loads((MODEL / name / f"{prefix}config.json").read_text()) for name, prefix in (("text_encoder", ""), ("unet", ""), ("vae", ""), ("scheduler", "scheduler_"))}
    tensors = {name: safetensors(next((MODEL / name).glob("*.safetensors")))[0] for name in ("text_encoder", "unet", "vae")}
    known = json.loads((MODEL / "concepts.json").read_text())
    ablations = {d["hook"]: Ablation(MODEL / "sae" / d["hook"], concept) for concept in concepts for d in known["domains"].values() if concept in d["concepts"]}

    def text(row):
        dump.prefix, dump.row = "text_encoder.", row
        return TextEncoder(part["text_encoder"], {k.removeprefix("text_model."): v for k, v in tensors["text_encoder"].items()}, see=dump.see).forward(ids[row])

    def half(x, t, row):
        """e of a row of the guided batch: without the prompt, with it."""
        def see(name, y):
            if name in ablations and ablations[name].how["half"] in ("both", ("unconditional", "conditional")[row]):
                y = ablations[name].edit(y.reshape(-1, y.shape[3]), t).reshape(y.shape)
            return dump.see(name, y)
        dump.row = row
        return Unet(part["unet"], tensors["unet"], see=see).forward(x, t, states[row])[0]

    states = [text(row) for row in range(2)]
    c.same("prompt_embeds", np.stack(states), dump.take("prompt_embeds"))
    ddim, side = Ddim(part["scheduler"], T), part["unet"]["sample_size"]
    x = randn(seed, 4 * side * side).reshape(1, 4, side, side)
    c.same("noise", x, dump.take("noise"))
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    for step, t in enumerate(ddim.timesteps):
        dump.prefix = f"step{step:03}.unet."
        u, e = (half(x, t, row) for row in range(2))
        e = u + F(known["guidance"]) * (e - u)
        x = ddim.step(x, e, t)
        for name, value in (("noise_pred", e), ("latents", x)):
            c.same(f"step {step}, {name}", value.transpose(0, 3, 1, 2), dump.take(f"step{step:03}.{name}"))
    dump.prefix, dump.row = "vae.", 0
    vae = Vae(part["vae"], tensors["vae"], see=dump.see)
    rgb = pixel(vae.decode(x))
    texts, at = [], 33  # behind IHDR; the texts are the program's
    while file[at + 4:at + 8] != b"IDAT":
        size = int.from_bytes(file[at:at + 4], "big")
        texts.append((file[at + 4:at + 8], file[at + 8:at + 8 + size]))
        at += size + 12
    c.same("the picture's file", np.frombuffer(png(rgb[0], texts), np.uint8), np.frombuffer(file, np.uint8))
    c.same("moments", vae.encode(rgb)[0].transpose(2, 0, 1), moments)
    c.same(f"intermediates that have no twin: {sorted(dump.left)}", np.array(len(dump.left)), np.array(0))


def main():
    with tempfile.TemporaryDirectory() as folder:
        c = Comparison(build(folder))
        for part in (compare_functions, compare_halves, compare_products, compare_norms, compare_order, compare_random, compare_resizes, compare_classifiers, compare_training, compare_unet, compare_statistics, compare_picture):
            part(c)
    print(f"{c.passed} passed, {c.failed} failed")
    return 1 if c.failed else 0


if __name__ == "__main__":
    sys.exit(main())
