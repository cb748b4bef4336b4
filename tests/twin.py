"""twin.py: docs/contract.md and docs/method.md again, in NumPy: every operation, the networks of EmojiCanvas, sampling, training an SAE, selecting
latents and ablating them, a classifier, the way back through the UNet.

Written from the two documents and not from the C: where they part, one of the three is wrong. Every operation is a few lines
of float32 and float64 arithmetic, so that this file can be read as an executable specification.

Not here: the comparison with the C, bit for bit (check_twin.py). Needs NumPy."""
import decimal
import json
import zlib
from fractions import Fraction

import numpy as np

np.seterr(all="ignore")  # overflow to infinity and NaN are part of the contract
F, D, U32, U64 = np.float32, np.float64, np.uint32, np.uint64
MASK = (1 << 64) - 1


def h(text):
    """A hexadecimal constant as float32; it must be one exactly."""
    value = F(float.fromhex(text))
    assert float(value) == float.fromhex(text), text
    return value


def d(text):
    return D(float.fromhex(text))


# ---- 2. fused multiply-add ----

def fma(a, b, c):
    return fused(*(np.asarray(v, F).astype(D) for v in (a, b, c))).astype(F)


def fused(a, b, c):
    """fma of floats, all held as doubles: its float as a double."""
    p = a * b
    s = p + c
    t = s - p
    e = (p - (s - t)) + (c - t)  # s + e is the exact sum
    inexact = (e < 0) | (e > 0)
    towards_zero = np.signbit(s) != np.signbit(e)
    odd = (s.view(U64) - (inexact & towards_zero)) | inexact
    return odd.view(D).astype(F).astype(D)


def horner(x, *c):
    p = c[0]
    for k in c[1:]:
        p = fma(p, x, k)
    return p


def horner_d(x, *c):
    p = c[0]
    for k in c[1:]:
        p = p * x + k
    return p


# ---- 3. dot products ----

def dot(a, b):
    """Of the last axes, broadcast over the others."""
    K = a.shape[-1]
    shape = np.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    a, b = (np.ascontiguousarray(np.moveaxis(v, -1, 0), D) for v in (a, b))
    blocks = -(-K // 128)
    hi = lo = np.zeros(shape, F)
    for block in range(blocks):
        s = np.zeros(shape, D)
        for k in range(128 * block, min(128 * block + 128, K)):
            s = fused(a[k], b[k], s)
        lo = s.astype(F) if block % 16 == 0 else lo + s.astype(F)
        if block % 16 == 15 and block + 1 < blocks:
            hi = lo if block < 16 else hi + lo
    return hi + lo if blocks > 16 else lo


def linear(x, W, bias):
    y = dot(x[:, None, :], W[None, :, :])
    return y if bias is None else y + bias


def conv2d(x, W, bias, stride, before, after):
    """x [B,H,W,ci], W [co,ci,k,k]."""
    k = W.shape[2]
    x = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    rows, columns = (x.shape[1] - k) // stride + 1, (x.shape[2] - k) // stride + 1
    patches = np.stack([np.stack([x[:, i * stride:i * stride + k, j * stride:j * stride + k, :].reshape(x.shape[0], -1)
                                  for j in range(columns)], 1) for i in range(rows)], 1)
    kernel = W.transpose(0, 2, 3, 1).reshape(W.shape[0], -1)
    y = dot(patches[..., None, :], kernel)
    return y if bias is None else y + bias


def attention(q, k, v, heads, causal):
    B, Nq, width = q.shape
    head = width // heads
    scale = F(1 / np.sqrt(D(head)))
    y = np.empty_like(q)
    blocks = [(i, i + 1, i + 1) for i in range(Nq)] if causal else [(0, Nq, k.shape[1])]
    for b in range(B):
        for at in range(0, width, head):
            for first, end, n in blocks:
                keys, values = k[b, :n, at:at + head], v[b, :n, at:at + head]
                s = dot(q[b, first:end, None, at:at + head], keys) * scale
                e = exp(s - s.max(-1, keepdims=True))
                y[b, first:end, at:at + head] = dot(e[:, None, :], values.T) / dot(e, np.ones(n, F))[:, None]
    return y


# ---- 4. sums ----

def sum16(x):
    lanes = np.zeros(16, D)
    for at in range(0, len(x), 16):
        part = x[at:at + 16].astype(D)
        lanes[:len(part)] += part
    for half in (8, 4, 2, 1):
        lanes[:half] += lanes[half:2 * half]
    return lanes[0]


def sum16_sq(x, mean):
    difference = x.astype(D) - mean
    return sum16(difference * difference)


def layer_norm(x, gamma, beta, eps):
    y = np.empty_like(x)
    for i, row in enumerate(x):
        mean = sum16(row) / D(len(row))
        var = sum16_sq(row, mean) / D(len(row))
        y[i] = fma((row - F(mean)) * F(1 / np.sqrt(var + D(eps))), gamma, beta)
    return y


def group_norm(x, gamma, beta, groups, eps):
    """x [B,P,C]."""
    B, P, C = x.shape
    width, y = C // groups, np.empty_like(x)

    def total(values):  # [P,width], doubles
        channels = np.zeros(width, D)
        for p in range(P):
            channels = channels + values[p]
        s = D(0)
        for c in channels:
            s = s + c
        return s

    for b in range(B):
        for g in range(0, C, width):
            part = x[b, :, g:g + width]
            mean = total(part.astype(D)) / D(P * width)
            var = total((part.astype(D) - mean) * (part.astype(D) - mean)) / D(P * width)
            r = F(1 / np.sqrt(var + D(eps)))
            y[b, :, g:g + width] = fma((part - F(mean)) * r, gamma[g:g + width], beta[g:g + width])
    return y


def softmax(x):
    y = np.empty_like(x)
    for i, row in enumerate(x):
        e = exp(row - row.max())
        y[i] = e / F(sum16(e))
    return y


# ---- 5. functions ----

def power_of_two(n):
    return ((n.astype(np.int64) + 127) << 23).astype(U32).view(F)


def exp(x):
    x = np.asarray(x, F)
    x = np.where(x < F(-104), F(-104), x)
    x = np.where(x > F(89), F(89), x)
    nan = np.isnan(x)
    x = np.where(nan, F(0), x)
    M = h("0x1.8p23")
    t = fma(x, h("0x1.715476p+0"), M)
    n = t - M
    r = fma(n, h("-0x1.62e4p-1"), x)
    r = fma(n, h("-0x1.7f7d1cp-20"), r)
    q = horner(r, h("0x1.6a23ccp-10"), h("0x1.123a2p-7"), h("0x1.5558f2p-5"), h("0x1.555492p-3"), h("0x1.fffffcp-2"))
    p = fma(q, r * r, r) + F(1)
    n = n.astype(np.int64)
    n1 = n // 2
    return np.where(nan, F(np.nan), (p * power_of_two(n1)) * power_of_two(n - n1))


def log(x):
    x = np.asarray(x, F)
    usual = (x > 0) & (x < F(np.inf))
    v = np.where(usual, x, F(1)).astype(D)
    m, e = np.frexp(v)  # v = m 2^e, m in [1/2,1)
    low = m < d("0x1.6a09e667f3bcdp-1")
    m, e = np.where(low, 2 * m, m), np.where(low, e - 1, e)
    f = m - 1
    s = f / (2 + f)
    z = s * s
    q = horner_d(z, *(d(c) for c in ("0x1.3b13b13b13b14p-4", "0x1.745d1745d1746p-4", "0x1.c71c71c71c71cp-4",
                                      "0x1.2492492492492p-3", "0x1.999999999999ap-3", "0x1.5555555555555p-2")))
    y = (e.astype(D) * d("0x1.62e42fefa39efp-1") + (2 * s + (2 * s) * (z * q))).astype(F)
    return np.where(usual, y, np.where(x == 0, F(-np.inf), np.where(x < 0, F(np.nan), x)))


def erf(x):
    x = np.asarray(x, F)
    s = x * x
    p = horner(s, h("0x1.5ac32ep-14"), h("-0x1.a99ef6p-11"), h("0x1.54b5e4p-8"), h("-0x1.b80cb4p-6"), h("0x1.ce2df4p-4"),
               h("-0x1.812742p-2"), h("0x1.06eba8p-3"))
    p = fma(p, x, x)
    size = np.abs(x)
    t = np.where(size > F(4), F(4), size)
    q = horner(t, h("-0x1.bf8e7ep-13"), h("0x1.a4c4c2p-9"), h("-0x1.76c754p-6"), h("0x1.af0de4p-4"), h("0x1.457f46p-1"),
               h("0x1.072faep-3"))
    q = fma(q, t, t)
    return np.where(size > h("0x1.ep-1"), np.copysign(F(1) - exp(-q), x), p)


def silu(x):
    return x / (F(1) + exp(-x))


def quick_gelu(x):
    return x / (F(1) + exp(h("-0x1.b3b646p+0") * x))


def gelu(x):
    return (F(0.5) * x) * (F(1) + erf(x * h("0x1.6a09e6p-1")))


def sin_cos(x):
    M = d("0x1.8p52")
    n = (x * d("0x1.45f306dc9c883p-1") + M) - M
    r = ((x - n * d("0x1.921fb544p+0")) - n * d("0x1.0b4611a6p-34")) - n * d("0x1.3198a2e037073p-69")
    z = r * r
    p = horner_d(z, *(d(c) for c in ("0x1.952c77030ad4ap-49", "-0x1.ae7f3e733b81fp-41", "0x1.6124613a86d09p-33",
                                      "-0x1.ae64567f544e4p-26", "0x1.71de3a556c734p-19", "-0x1.a01a01a01a01ap-13",
                                      "0x1.1111111111111p-7", "-0x1.5555555555555p-3")))
    S = r + r * (z * p)
    p = horner_d(z, *(d(c) for c in ("-0x1.6827863b97d97p-53", "0x1.ae7f3e733b81fp-45", "-0x1.93974a8c07c9dp-37",
                                      "0x1.1eed8eff8d898p-29", "-0x1.27e4fb7789f5cp-22", "0x1.a01a01a01a01ap-16",
                                      "-0x1.6c16c16c16c17p-10", "0x1.5555555555555p-5")))
    C = 1 - (D(0.5) * z - z * (z * p))
    quadrant = n.astype(np.int64) % 4
    return np.choose(quadrant, [S, C, -S, -C]), np.choose(quadrant, [C, -S, -C, S])


def exp_cr(x):
    """The float nearest to e^x, by 60 decimal digits."""
    decimal.getcontext().prec = 60
    out = []
    for v in np.asarray(x, F).ravel():
        truth = Fraction(decimal.Decimal(float(v)).exp())
        guess = F(float(truth))
        near = [np.nextafter(guess, F(-np.inf)), guess, np.nextafter(guess, F(np.inf))]
        out.append(min((c for c in near if np.isfinite(c)), key=lambda c: abs(Fraction(float(c)) - truth)))
    return np.array(out, F)


def timestep_embedding(t, dim, flip, shift):
    half = dim // 2
    i = np.arange(half).astype(F)
    exponent = (h("-0x1.26bb1cp+3") * i) / (F(half) - F(shift))
    angle = F(t) * exp_cr(exponent)
    s, c = sin_cos(angle.astype(D))
    return np.concatenate([c, s] if flip else [s, c]).astype(F)


def pixel(x):
    v = fma(x, F(0.5), F(0.5))
    v = np.where(v > 0, v, F(0))
    v = np.where(v < 1, v, F(1))
    return np.rint(v * F(255)).astype(np.uint8)


def topk(z, k):
    order = sorted(range(len(z)), key=lambda i: (-float(z[i]), i))[:k]
    return np.array(sorted(order), U32)


def quantile(x, q):
    v = np.sort(x + F(0)).astype(D)
    r = D(q) * D(len(v) - 1)
    lo = int(np.floor(r))
    return v[lo] if lo == len(v) - 1 else v[lo] + (r - lo) * (v[lo + 1] - v[lo])


def resize_side(x, n, axis):
    """x of bytes, its side along the axis made n long."""
    N = x.shape[axis]
    if n == N:
        return x
    x, y = np.moveaxis(x, axis, 0).astype(np.int64), []
    scale = D(N) / D(n)
    width = scale if scale > 1 else D(1)
    v = D(1) / width
    for i in range(n):
        c = (D(i) + D(0.5)) * scale
        first, end = max(int((c - width) + D(0.5)), 0), min(int((c + width) + D(0.5)), N)
        p = [max(D(0), D(1) - abs(((D(j) - c) + D(0.5)) * v)) for j in range(first, end)]
        s = D(0)
        for one in p:
            s = s + one
        k = [int(D(0.5) + (one / s) * D(2 ** 22)) for one in p]
        y.append(np.minimum((2 ** 21 + sum(a * b for a, b in zip(k, x[first:end]))) >> 22, 255))
    return np.moveaxis(np.stack(y).astype(np.uint8), 0, axis)


def resize(x, w, h):
    """x [H,W,3] of bytes as Pillow 13 resizes it."""
    H, W = x.shape[:2]
    height_first = h < H and H - h > 2 * (W - w)
    return resize_side(resize_side(x, h, 0), w, 1) if height_first else resize_side(resize_side(x, w, 1), h, 0)


def classifier(c, t, pictures):
    """Logits of pictures [B,H,W,3] by the config c and its tensors t, float32: timm's VisionTransformer."""
    S, p, width = c["img_size"], c["patch_size"], c["embed_dim"]
    x = np.stack([resize(one, S, S) for one in pictures]).astype(F)
    x = (x / F(255) - np.array(c["mean"], F)) / np.array(c["std"], F)
    x = conv2d(x, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], p, 0, 0).reshape(len(x), -1, width)
    if c["class_token"]:
        x = np.concatenate([np.broadcast_to(t["cls_token"], (len(x), 1, width)), x], 1)
    x = x + t["pos_embed"]
    B, N = x.shape[:2]
    eps = F(c["norm_eps"])

    def norm(y, name):
        return layer_norm(y.reshape(-1, width), t[name + ".weight"], t[name + ".bias"], eps).reshape(y.shape)

    def apply(y, name):
        return linear(y.reshape(-1, y.shape[-1]), t[name + ".weight"], t.get(name + ".bias")).reshape(*y.shape[:-1], -1)

    for i in range(c["depth"]):
        at = f"blocks.{i}."
        q, k, v = np.split(apply(norm(x, at + "norm1"), at + "attn.qkv"), 3, -1)
        x = x + apply(attention(q, k, v, c["num_heads"], False), at + "attn.proj")
        x = x + apply(gelu(apply(norm(x, at + "norm2"), at + "mlp.fc1")), at + "mlp.fc2")
    average = c["global_pool"] == "avg"
    if not average:
        x = norm(x, "norm")[:, 0]
    else:
        first, total = int(c["class_token"]), np.zeros((B, width), D)
        for n in range(first, N):
            total = total + x[:, n].astype(D)
        x = norm((total / D(N - first)).astype(F), "fc_norm")
    return apply(x, "head")


# ---- 6. SplitMix64 and digests ----

def mix(x):
    x = np.asarray(x, U64)
    x = x ^ (x >> U64(30))
    x = x * U64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> U64(27))
    x = x * U64(0x94D049BB133111EB)
    return x ^ (x >> U64(31))


def value(seed, stream, i):
    return mix(mix(U64(seed) ^ mix(U64(stream))) + (np.asarray(i, U64) + U64(1)) * U64(0x9E3779B97F4A7C15))


def uniform(seed, stream, n):
    return (value(seed, stream, np.arange(n)) >> U64(40)).astype(F) * h("0x1p-24")


def symmetric(seed, stream, n, a):
    return (F(2) * uniform(seed, stream, n) - F(1)) * F(a)


def digest(state, data):
    for at in range(0, len(data), 8):
        w = int.from_bytes(data[at:at + 8].ljust(8, b"\0"), "little")
        state = int(mix(U64((state + w + 0x9E3779B97F4A7C15) & MASK)))
    return int(mix(U64(state ^ len(data))))


# ---- 6. training ----

TENSORS = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")


def sums16(x):
    """sum16 of the last axis."""
    x = np.asarray(x, D)
    lanes = np.zeros((*x.shape[:-1], 16), D)
    for at in range(0, x.shape[-1], 16):
        part = x[..., at:at + 16]
        lanes[..., :part.shape[-1]] += part
    for half in (8, 4, 2, 1):
        lanes[..., :half] += lanes[..., half:2 * half]
    return lanes[..., 0]


def squares(x):
    """sum16 of each row's squares."""
    x = np.asarray(x, D)
    return sums16(x * x)


def dot16(a, b):
    a, b = np.broadcast_arrays(a, b)
    lanes = np.zeros((*a.shape[:-1], 16), F)
    for at in range(0, a.shape[-1], 16):
        w = min(16, a.shape[-1] - at)
        lanes[..., :w] = fma(a[..., at:at + w], b[..., at:at + w], lanes[..., :w])
    for half in (8, 4, 2, 1):
        lanes[..., :half] = lanes[..., :half] + lanes[..., half:2 * half]
    return lanes[..., 0]


def sparse_sum(values, rows):
    """[d]: the sum of values[k] rows[k,:], k ascending, by section 3."""
    return dot(values, np.ascontiguousarray(rows.T))


def channel_sums(x):
    s = np.zeros(x.shape[1], D)
    for row in x:
        s = s + row
    return s


def unit_rows(w):
    return w / (np.sqrt(squares(w)).astype(F) + h("0x1p-23"))[:, None]


def geometric_median(x):
    x = x.astype(D)
    g = channel_sums(x) / D(len(x))
    for _ in range(100):
        r = squares(x - g)
        w = np.where(r > 0, 1 / np.sqrt(r), 1 / D(1e-12))
        w = w / sums16(w)
        last, g = g, channel_sums(w[:, None] * x)
        if np.sqrt(squares(g - last)) < 1e-5:
            break
    return g.astype(F)


def first_of(z, want):
    """The entries of the `want` largest of z's values above 0, [n] or [M,n]; and all that are selected, zeros too."""
    flat = z.ravel()
    order = np.lexsort((np.arange(len(flat)), -flat))[:want]
    f = np.zeros(len(flat), F)
    f[order] = flat[order]
    chosen = np.zeros(len(flat), bool)
    chosen[order] = True
    return f.reshape(z.shape), chosen.reshape(z.shape)


def encode(t, k, x):
    """EQ 12 and 13: f [N,n] of tokens [N,d] by an SAE's tensors t, of each its k largest above 0."""
    z = linear(x - t["b_dec"], t["encoder.weight"], t["encoder.bias"])
    return np.stack([first_of(np.where(row > 0, row, F(0)), k)[0] for row in z])


class Trainer:
    """State by the names that train.h gives it."""

    def __init__(self, c):
        n, d = c["n"], c["d"]
        shapes = {"encoder.weight": (n, d), "encoder.bias": (n,), "W_dec": (n, d), "b_dec": (d,)}
        self.c, self.s = c, {prefix + k: np.zeros(v, F) for prefix in ("", "adam.m.", "adam.v.", "grad.") for k, v in shapes.items()}
        self.s["tokens_since_fired"], self.s["step"] = np.zeros(n, U64), np.zeros(1, U64)

    def start(self, x):
        c, s = self.c, self.s
        W = symmetric(c["seed"], digest(0, b"encoder.weight"), c["n"] * c["d"], F(1 / np.sqrt(D(c["d"])))).reshape(c["n"], c["d"])
        s["encoder.weight"], s["W_dec"], s["b_dec"] = W, unit_rows(W), geometric_median(x)
        s["encoder.bias"][:] = 0

    def select(self, z, k):
        """f [M,n], its entries above 0; and what counts as selected."""
        z = np.where(z > 0, z, F(0))
        if self.c["batch_topk"]:
            return first_of(z, len(z) * k)
        rows = [first_of(row, k) for row in z]
        return np.stack([f for f, _ in rows]), np.stack([chosen for _, chosen in rows])

    def step(self, x):
        s = self.s
        s["W_dec"] = unit_rows(s["W_dec"])
        report, fired = self.gradients(x)
        self.update(report["norm"])
        s["tokens_since_fired"] += U64(self.c["batch"])
        s["tokens_since_fired"][fired] = 0
        s["step"] += U64(1)
        return report

    def gradients(self, x):
        c, s = self.c, self.s
        M, d = x.shape
        W_enc, W_dec, b_dec = s["encoder.weight"], s["W_dec"], s["b_dec"]
        mean = channel_sums(x.astype(D)) / D(M)
        away = squares(x.astype(D) - mean)
        V = sums16(away)
        dead = s["tokens_since_fired"] > U64(c["dead_threshold"])
        share = min(D(dead.sum()) / D(max(d // 2, 1)), D(1))
        centred = x - b_dec
        z = linear(centred, W_enc, s["encoder.bias"])

        def decode(f):
            return np.stack([sparse_sum(row[row > 0], W_dec[row > 0]) for row in f])

        f, fired = self.select(z, c["k"])
        e = (decode(f) + b_dec) - x
        terms, losses = [(f, e, F(2 / V))], {"fvu": sums16(squares(e)) / V, "multi": D(0), "auxk": D(0)}
        to_bias = [True]
        if c["multi_topk"]:
            g, fired = self.select(z, min(4 * c["k"], c["n"]))
            error = (decode(g) + b_dec) - x
            terms.append((g, error, F(2 / V / 8)))
            to_bias.append(True)
            losses["multi"] = sums16(squares(error)) / V
        if c["auxk_alpha"] and dead.any() and d // 2:
            g, _ = self.select(np.where(dead, z, F(0)), min(d // 2, int(dead.sum())))
            scale = F(2 / V * share * c["auxk_alpha"])
            if c["released_auxk"]:
                error = (decode(g) + b_dec) - e
                terms[0] = (f, terms[0][2] * e - scale * error, F(1))
            else:
                error = decode(g) + e
            terms.append((g, error, scale))
            to_bias.append(c["released_auxk"])
            losses["auxk"] = share * sums16(squares(error)) / V
        losses["loss"] = losses["fvu"] + c["auxk_alpha"] * losses["auxk"] + losses["multi"] / 8

        grad = {k: np.zeros_like(s[k]) for k in TENSORS}
        live = np.zeros(c["n"], bool)
        for f, error, scale in terms:
            df = np.where(f > 0, scale * dot16(error[:, None, :], W_dec[None]), F(0))
            for i in np.flatnonzero((f > 0).any(0)):
                at = np.flatnonzero(f[:, i] > 0)
                parts = {"W_dec": sparse_sum(scale * f[at, i], error[at]), "encoder.weight": sparse_sum(df[at, i], centred[at]),
                         "encoder.bias": dot(df[None, at, i], np.ones(len(at), F))[0]}
                for k, part in parts.items():
                    grad[k][i] = grad[k][i] + part if live[i] else part
                live[i] = True
        first = True
        for (_, error, scale), counts in zip(terms, to_bias):
            if counts:
                part = scale * sparse_sum(np.ones(M, F), error)
                grad["b_dec"], first = part if first else grad["b_dec"] + part, False
        grad["b_dec"] = grad["b_dec"] - sparse_sum(grad["encoder.bias"][live], W_enc[live])
        total = D(0)
        for k in TENSORS:
            rows = squares(np.atleast_2d(grad[k]))
            total = total + (sums16(rows) if grad[k].ndim == 2 else rows[0])
            s["grad." + k] = grad[k]
        self.live = live

        some = away > 0
        gain = 1 - squares(e)[some] / away[some]
        explained = sums16(gain) / D(len(gain))
        return {**losses, "norm": np.sqrt(total).astype(F), "explained": explained, "dead": int(dead.sum()), "fired": int(fired.any(0).sum()),
                "explained_dev": np.sqrt(sums16((gain - explained) * (gain - explained)) / D(len(gain) - 1))}, fired.any(0)

    def update(self, norm):
        c, s = self.c, self.s
        scale = min(F(c["clip"]) / (norm + h("0x1.0c6f7ap-20")), F(1))
        power1 = power2 = D(1)
        for _ in range(int(s["step"][0]) + 1):
            power1, power2 = power1 * D(c["beta1"]), power2 * D(c["beta2"])
        S = c["steps"]
        rate = D(c["lr"]) * (max(S - int(s["step"][0]), 0) / D(S))
        step, root = F(rate / (1 - power1)), F(np.sqrt(1 - power2))
        for k in TENSORS:
            g, p = scale * s["grad." + k], s[k]
            if k == "W_dec":
                along = dot16(g, p)[:, None]
                g = np.where(self.live[:, None], fma(-along, p, g), g)
            m, v = s["adam.m." + k], s["adam.v." + k]
            m = m + F(1 - c["beta1"]) * (g - m)
            v = F(c["beta2"]) * v + (F(1 - c["beta2"]) * g) * g
            s[k], s["adam.m." + k], s["adam.v." + k] = p - step * (m / (np.sqrt(v) / root + F(c["eps"]))), m, v

    def held_out(self, x):
        """FVU, latents a token, and at how many tokens each latent fires."""
        s, E = self.s, D(0)
        f = encode(s, self.c["k"], x)
        for row, token in zip(f, x):
            at = row > 0
            E = E + squares((sparse_sum(row[at], s["W_dec"][at]) + s["b_dec"]) - token)
        away = x.astype(D) - x[0].astype(D)
        total, q = channel_sums(away), channel_sums(away * away)
        return E / sums16(q - total * total / D(len(x))), D((f > 0).sum()) / D(len(x)), (f > 0).sum(0).astype(U64)


# ---- networks, there and back (6, "Derivatives") ----

def share(y, x):
    return np.where(x == 0, F(0.5), y / x)


def silu_back(dy, x):
    y = silu(x)
    s = share(y, x)
    return dy * (s + y * (F(1) - s))


def group_means(x, groups):
    """x [P,C], doubles: to each channel the mean of its group."""
    P, C = x.shape
    sums, total = channel_sums(x).reshape(groups, -1), np.zeros(groups, D)
    for j in range(C // groups):
        total = total + sums[:, j]
    return np.repeat(total / D(P * (C // groups)), C // groups)


def norm_back(dy, u, r, gamma, mean):
    """Of a norm: u = (x - mean) r; mean: as the norm takes one, of doubles."""
    a = dy * gamma
    m, n = mean(a.astype(D)).astype(F), mean(a.astype(D) * u.astype(D)).astype(F)
    return r * ((a - m) - u * n)


class Network:
    """Layers by a config and tensors. A module's function returns its output and the way back: from the derivative by the output to
    that by the input. On the way derivatives by the wanted tensors go to self.d. see(name, output) has a module's output, and the last word."""

    def __init__(self, config, tensors, wanted=(), see=lambda name, x: x):
        self.c, self.t, self.wanted, self.see, self.d = config, tensors, wanted, see, {}

    def keep(self, name, make):
        if name in self.wanted:
            self.d[name] = make().reshape(self.t[name].shape)

    def linear(self, x, name):
        W = self.t[name + ".weight"]
        W = W.reshape(W.shape[0], -1)

        def back(dy):
            self.keep(name + ".weight", lambda: linear(dy.T, x.T, None))
            self.keep(name + ".bias", lambda: dot(dy.T, np.ones(len(dy), F)))
            return linear(dy, W.T, None)
        return linear(x, W, self.t.get(name + ".bias")), back

    def conv(self, x, name, stride=1):
        W = self.t[name + ".weight"]
        k = W.shape[2]
        p = k // 2
        y = conv2d(x, W, self.t[name + ".bias"], stride, p, p)

        def kernel(dy):
            rows, padded, dw = dy.reshape(-1, dy.shape[3]).T, np.pad(x, ((0, 0), (p, p), (p, p), (0, 0))), np.empty_like(W)
            for i in range(k):
                for j in range(k):
                    under = padded[:, i:i + stride * dy.shape[1]:stride, j:j + stride * dy.shape[2]:stride]
                    dw[:, :, i, j] = linear(rows, under.reshape(-1, x.shape[3]).T, None)
            return dw

        def back(dy):
            self.keep(name + ".weight", lambda: kernel(dy))
            self.keep(name + ".bias", lambda: dot(dy.reshape(-1, dy.shape[3]).T, np.ones(dy[..., 0].size, F)))
            wide = dy
            if stride > 1:
                wide = np.zeros((*x.shape[:3], dy.shape[3]), F)
                wide[:, ::stride, ::stride] = dy
            return conv2d(wide, W[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), None, 1, k - 1 - p, k - 1 - p)
        return y, back

    def affine(self, dy, u, name):
        self.keep(name + ".weight", lambda: dot((dy * u).T, np.ones(len(dy), F)))
        self.keep(name + ".bias", lambda: dot(dy.T, np.ones(len(dy), F)))

    def layer_norm(self, x, name):
        gamma, beta, C = self.t[name + ".weight"], self.t[name + ".bias"], x.shape[1]

        def mean(v):
            return (sums16(v) / D(C))[:, None]

        def back(dy):
            m = mean(x)
            r = (1 / np.sqrt(mean((x - m) * (x - m)) + D(F(1e-5)))).astype(F)
            u = (x - m.astype(F)) * r
            self.affine(dy, u, name)
            return norm_back(dy, u, r, gamma, mean)
        return layer_norm(x, gamma, beta, F(1e-5)), back

    def group_norm(self, x, name, eps, activate):
        """x [1,H,W,C]."""
        gamma, beta, G, rows = self.t[name + ".weight"], self.t[name + ".bias"], self.c["norm_num_groups"], x.reshape(-1, x.shape[3])
        y = group_norm(rows[None], gamma, beta, G, F(eps))[0]

        def mean(v):
            return group_means(v, G)

        def back(dy):
            dy = dy.reshape(rows.shape)
            dy = silu_back(dy, y) if activate else dy
            m = mean(rows.astype(D))
            r = (1 / np.sqrt(mean((rows - m) * (rows - m)) + D(F(eps)))).astype(F)
            u = (rows - m.astype(F)) * r
            self.affine(dy, u, name)
            return norm_back(dy, u, r, gamma, mean).reshape(x.shape)
        return (silu(y) if activate else y).reshape(x.shape), back

    def resnet(self, x, name):
        eps = self.c.get("norm_eps", 1e-6)
        h1, norm1_b = self.group_norm(x, name + ".norm1", eps, True)
        m, conv1_b = self.conv(h1, name + ".conv1")
        timed = name + ".time_emb_proj.weight" in self.t
        if timed:
            t, time_b = self.linear(self.temb, name + ".time_emb_proj")
            m = m + t
        h2, norm2_b = self.group_norm(m, name + ".norm2", eps, True)
        y, conv2_b = self.conv(h2, name + ".conv2")
        shortcut, shortcut_b = self.conv(x, name + ".conv_shortcut") if name + ".conv_shortcut.weight" in self.t else (x, lambda dy: dy)

        def back(dy):
            dm = norm2_b(conv2_b(dy))
            if timed:
                self.dtemb = self.dtemb + time_b(dot(dm.reshape(-1, dm.shape[3]).T, np.ones(dm[..., 0].size, F))[None])
            return shortcut_b(dy) + norm1_b(conv1_b(dm))
        return self.see(name, shortcut + y), back

    def upsampler(self, x, name):
        y, conv_b = self.conv(np.repeat(np.repeat(x, 2, 1), 2, 2), name + ".upsamplers.0.conv")

        def back(dy):
            d = conv_b(dy)
            return ((d[:, ::2, ::2] + d[:, ::2, 1::2]) + d[:, 1::2, ::2]) + d[:, 1::2, 1::2]
        return self.see(name + ".upsamplers.0", y), back


class Unet(Network):
    """diffusers' UNet2DConditionModel (EQ 6)."""

    def attention(self, x, name, norm, text):
        """x [P,C] plus what to_out makes of attention; text None: over x itself."""
        h, norm_b = self.layer_norm(x, norm)
        heads, over = self.c["attention_head_dim"], h if text is None else text
        q, q_b = self.linear(h, name + ".to_q")
        k, k_b = self.linear(over, name + ".to_k")
        v, v_b = self.linear(over, name + ".to_v")
        o = attention(q[None], k[None], v[None], heads, False)[0]
        y, out_b = self.linear(o, name + ".to_out.0")

        def head(do, at, n):
            scale = F(1 / np.sqrt(D(n)))
            Q, K, V, dO, O = (a[:, at:at + n] for a in (q, k, v, do, o))
            p = softmax(dot(Q[:, None], K) * scale)
            ds = p * (dot(dO[:, None], V) - dot(dO, O)[:, None])
            return dot(ds[:, None], K.T) * scale, dot(ds.T[:, None], Q.T) * scale, dot(p.T[:, None], dO.T)

        def back(dy):
            do, n = out_b(dy), q.shape[1] // heads
            dq, dk, dv = (np.concatenate(parts, 1) for parts in zip(*(head(do, at, n) for at in range(0, q.shape[1], n))))
            dh = q_b(dq)
            if text is None:
                dh = (dh + k_b(dk)) + v_b(dv)
            else:
                self.dtext = (self.dtext + k_b(dk)) + v_b(dv)
            return dy + norm_b(dh)
        return x + self.see(name, y), back

    def feed_forward(self, x, name):
        n, norm_b = self.layer_norm(x, name + ".norm3")
        f, in_b = self.linear(n, name + ".ff.net.0.proj")
        value, gate = np.split(f, 2, 1)
        y, out_b = self.linear(value * gelu(gate), name + ".ff.net.2")

        def back(dy):
            dg, y = out_b(dy), gelu(gate)
            slope = share(y, gate) + gate * (exp((F(-0.5) * gate) * gate) * h("0x1.988454p-2"))
            return dy + norm_b(in_b(np.concatenate([dg * y, (dg * value) * slope], 1)))
        return x + self.see(name + ".ff", y), back

    def transformer(self, x, name):
        """x [1,H,W,C]."""
        block = name + ".transformer_blocks.0"
        n, norm_b = self.group_norm(x, name + ".norm", 1e-6, False)
        g, in_b = self.linear(n.reshape(-1, x.shape[3]), name + ".proj_in")
        g, b1 = self.attention(g, block + ".attn1", block + ".norm1", None)
        g, b2 = self.attention(g, block + ".attn2", block + ".norm2", self.text)
        g, b3 = self.feed_forward(g, block)
        y, out_b = self.linear(g, name + ".proj_out")

        def back(dy):
            d = in_b(b1(b2(b3(out_b(dy.reshape(g.shape))))))
            return dy + norm_b(d.reshape(x.shape))
        return self.see(name, x + y.reshape(x.shape)), back

    def layer(self, x, name, j, cross):
        y, resnet_b = self.resnet(x, f"{name}.resnets.{j}")
        if not cross:
            return y, resnet_b
        y, transformer_b = self.transformer(y, f"{name}.attentions.{j}")
        return y, lambda dy: resnet_b(transformer_b(dy))

    def forward(self, x, t, text):
        """x [1,H,W,4], sides that halve evenly; text [N,width]. Returns the noise and the way back, to dx; then self.dtext."""
        c = self.c
        self.text, self.dtext = text, np.zeros_like(text)
        s = timestep_embedding(t, c["block_out_channels"][0], c["flip_sin_to_cos"], c["freq_shift"])[None]
        h1, time1_b = self.linear(s, "time_embedding.linear_1")
        e, time2_b = self.linear(silu(h1), "time_embedding.linear_2")
        self.temb, self.dtemb = silu(e), np.zeros_like(e)
        self.see("time_embedding", e)
        h, in_b = self.conv(x, "conv_in")
        h = self.see("conv_in", h)
        skips, downs, ups = [h], [], []
        for i, kind in enumerate(c["down_block_types"]):
            name = f"down_blocks.{i}"
            for j in range(c["layers_per_block"]):
                h, b = self.layer(h, name, j, "CrossAttn" in kind)
                skips.append(h)
                downs.append(b)
            if i + 1 < len(c["down_block_types"]):
                h, b = self.conv(h, name + ".downsamplers.0.conv", 2)
                h = self.see(name + ".downsamplers.0", h)
                skips.append(h)
                downs.append(b)
        h, mid0_b = self.resnet(h, "mid_block.resnets.0")
        h, mid_b = self.transformer(h, "mid_block.attentions.0")
        h, mid1_b = self.resnet(h, "mid_block.resnets.1")
        for i, kind in enumerate(c["up_block_types"]):
            name = f"up_blocks.{i}"
            for j in range(c["layers_per_block"] + 1):
                before = h.shape[3]
                h, b = self.layer(np.concatenate([h, skips.pop()], 3), name, j, "CrossAttn" in kind)
                ups.append((b, before))
            if i + 1 < len(c["up_block_types"]):
                h, b = self.upsampler(h, name)
                ups.append((b, 0))
        g, norm_b = self.group_norm(h, "conv_norm_out", c["norm_eps"], True)
        y, out_b = self.conv(g, "conv_out")
        y = self.see("conv_out", y)

        def back(dy):
            d, dskips = norm_b(out_b(dy)), []
            for b, before in reversed(ups):
                d = b(d)
                if before:
                    d, skip = d[..., :before], d[..., before:]
                    dskips.append(skip)
            d = mid0_b(mid_b(mid1_b(d)))
            for b in reversed(downs):
                d = b(dskips.pop() + d)
            dx = in_b(dskips.pop() + d)
            time1_b(silu_back(time2_b(silu_back(self.dtemb, e)), h1))
            return dx
        return y, back


class TextEncoder(Network):
    """transformers' CLIPTextModel (EQ 2)."""

    def forward(self, ids):
        """ids [N] -> last_hidden_state [N,width]."""
        x = self.t["embeddings.token_embedding.weight"][ids] + self.t["embeddings.position_embedding.weight"][:len(ids)]

        def apply(x, name):
            return self.linear(x, name)[0]

        for i in range(self.c["num_hidden_layers"]):
            at = f"encoder.layers.{i}"
            h = self.layer_norm(x, at + ".layer_norm1")[0]
            q, k, v = (apply(h, f"{at}.self_attn.{p}_proj")[None] for p in "qkv")
            x = x + apply(attention(q, k, v, self.c["num_attention_heads"], True)[0], at + ".self_attn.out_proj")
            h = self.layer_norm(x, at + ".layer_norm2")[0]
            x = self.see(at, x + apply(quick_gelu(apply(h, at + ".mlp.fc1")), at + ".mlp.fc2"))
        return self.layer_norm(x, "final_layer_norm")[0]


class Vae(Network):
    """diffusers' AutoencoderKL without attention, as EmojiCanvas has it."""

    def middle(self, x, half):
        for j in range(2):
            x = self.resnet(x, f"{half}.mid_block.resnets.{j}")[0]
        return self.see(half + ".mid_block", x)

    def out(self, x, half):
        return self.see(half + ".conv_out", self.conv(self.group_norm(x, half + ".conv_norm_out", 1e-6, True)[0], half + ".conv_out")[0])

    def decode(self, z):
        """EQ 9: latents [1,h,w,4] -> pixels [1,H,W,3] in about -1 to 1."""
        x = self.conv(z / F(self.c["scaling_factor"]), "post_quant_conv")[0]
        x = self.middle(self.see("decoder.conv_in", self.conv(x, "decoder.conv_in")[0]), "decoder")
        for i in range(len(self.c["block_out_channels"])):
            name = f"decoder.up_blocks.{i}"
            for j in range(self.c["layers_per_block"] + 1):
                x = self.resnet(x, f"{name}.resnets.{j}")[0]
            if i + 1 < len(self.c["block_out_channels"]):
                x = self.upsampler(x, name)[0]
        return self.out(x, "decoder")

    def encode(self, rgb):
        """Bytes [1,H,W,3] -> mean and logarithm of the variance [1,h,w,8]."""
        x = self.conv(rgb.astype(F) / F(127.5) - F(1), "encoder.conv_in")[0]
        for i in range(len(self.c["block_out_channels"])):
            name = f"encoder.down_blocks.{i}"
            for j in range(self.c["layers_per_block"]):
                x = self.resnet(x, f"{name}.resnets.{j}")[0]
            if i + 1 < len(self.c["block_out_channels"]):
                at = name + ".downsamplers.0.conv"
                x = conv2d(x, self.t[at + ".weight"], self.t[at + ".bias"], 2, 0, 1)
        x = self.conv(self.out(self.middle(x, "encoder"), "encoder"), "quant_conv")[0]
        mean, variance = np.split(x, 2, -1)
        return np.concatenate([mean, np.clip(variance, F(-30), F(20))], -1)


# ---- files ----

def safetensors(path):
    """A file's tensors of float16 and float32, as float32, in their order; and its metadata."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    said = header.pop("__metadata__", {})
    return {name: np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[t["dtype"]], int(np.prod(t["shape"])), start + t["data_offsets"][0]).reshape(t["shape"]).astype(F)
            for name, t in header.items()}, said


def png(rgb, texts):
    """The file of pixels [H,W,3] with its text chunks given: rows stored, not compressed."""
    H, W = rgb.shape[:2]
    data, stored = b"".join(b"\0" + row.tobytes() for row in rgb), b"\x78\x01"
    for at in range(0, len(data), 65535):
        part = data[at:at + 65535]
        stored += bytes([at + len(part) == len(data)]) + len(part).to_bytes(2, "little") + (len(part) ^ 0xFFFF).to_bytes(2, "little") + part
    header = W.to_bytes(4, "big") + H.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    chunks = [(b"IHDR", header), *texts, (b"IDAT", stored + zlib.adler32(data).to_bytes(4, "big")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(len(d).to_bytes(4, "big") + k + d + zlib.crc32(k + d).to_bytes(4, "big") for k, d in chunks)


# ---- 5. a picture: DDIM, and what is forgotten ----

class Ddim:
    """EQ 4, 5 and 8; x and e of any shape; steps as timestep_spacing "leading" has them."""

    def __init__(self, c, steps):
        low, high = (F(np.sqrt(D(c[k]))) for k in ("beta_start", "beta_end"))
        i, by, a = np.arange(1000).astype(F), (high - low) / F(999), D(1)
        b = np.where(i < 500, fma(by, i, low), fma(-by, F(999) - i, high))
        self.a = []
        for one in F(1) - b * b:
            a = a * D(one)
            self.a.append(F(a))
        self.between = 1000 // steps
        self.timesteps = [(steps - 1 - i) * self.between + c["steps_offset"] for i in range(steps)]

    def step(self, x, e, t):
        a, before = self.a[t], self.a[max(t - self.between, 0)]
        p = (x - np.sqrt(F(1) - a) * e) / np.sqrt(a)
        return np.sqrt(before) * p + np.sqrt(F(1) - before) * e


class Sae:
    """sparsify's folder: cfg.json, sae.safetensors."""

    def __init__(self, folder):
        self.c, self.t = json.loads((folder / "cfg.json").read_text()), safetensors(folder / "sae.safetensors")[0]

    def encode(self, x):
        return encode(self.t, self.c["k"], x)


def statistics(maps):
    """EQ 28: mu [n] of a concept at a step: f [N,n] of each of its prompts."""
    means = [(channel_sums(f.astype(D)) / D(len(f))).astype(F) for f in maps]
    return (channel_sums(np.stack(means).astype(D)) / D(len(means))).astype(F)


class Ablation:
    """What SAeUron does to one concept at one hook, by the choice of forget.json."""

    def __init__(self, folder, concept):
        self.sae, (means, said) = Sae(folder), safetensors(folder / "stats.safetensors")
        self.how = json.loads((folder / "forget.json").read_text())[concept]
        self.timesteps = [int(t) for t in said["timesteps"].split(",")]
        prompts = json.loads(said["prompts"])
        self.steps = [self.select({k: v[row] for k, v in means.items()}, concept,
                                  {k: D(prompts if isinstance(prompts, int) else prompts[k]) for k in means}) for row in range(len(self.timesteps))]

    def select(self, mu, concept, prompts):
        """EQ 29 to 31: of a step's mu {concept: [n]} the latents selected, the concept's mu, the threshold."""
        own, others, total = mu[concept], np.zeros(len(mu[concept]), D), np.zeros(len(mu[concept]), D)
        for k, v in mu.items():
            total = total + v.astype(D)
            others = others if k == concept else others + prompts[k] * v.astype(D)
        others = others / D(sum(v for k, v in prompts.items() if k != concept))
        score = (own.astype(D) / (sum16(own) + D(1e-8)) - others / (sum16(others) + D(1e-8))).astype(F)
        threshold = (total / D(len(mu))).astype(F)
        may = np.flatnonzero((own > 0) & (own.astype(D) >= D(self.how["min_lift"]) * threshold.astype(D)))
        return may[topk(score[may], self.how["top"])], own, threshold

    def edit(self, x, timestep):
        """EQ 32 and 34: x [N,d] at a sampling step, by the statistics of the nearest timestep."""
        chosen, mu, threshold = self.steps[min(range(len(self.timesteps)), key=lambda i: abs(self.timesteps[i] - timestep))]
        factor, selected, y = F(self.how["strength"]) * mu, np.isin(np.arange(len(mu)), chosen), x.copy()
        for i, f in enumerate(self.sae.encode(x)):
            after = np.where(selected & (f > threshold), factor * f, f)
            at = after != f
            if at.any():
                y[i] = x[i] + sparse_sum((after - f)[at], self.sae.t["W_dec"][at])
        return y


# ---- 7. torch.randn ----

class MT19937:
    def __init__(self, seed):
        s = [seed & 0xFFFFFFFF]
        for i in range(1, 624):
            s.append((1812433253 * (s[-1] ^ s[-1] >> 30) + i) & 0xFFFFFFFF)
        self.s, self.at = s, 624

    def next(self):
        if self.at == 624:
            s = self.s
            for i in range(624):
                y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7FFFFFFF)
                s[i] = s[(i + 397) % 624] ^ (y >> 1) ^ (0x9908B0DF if y & 1 else 0)
            self.at = 0
        y = self.s[self.at]
        self.at += 1
        y ^= y >> 11
        y ^= (y << 7) & 0x9D2C5680
        y ^= (y << 15) & 0xEFC60000
        return y ^ (y >> 18)

    def uniforms(self, n):
        return np.array([self.next() & 0xFFFFFF for _ in range(n)], U32).astype(F) * h("0x1p-24")


def cephes_log(u):
    m, e = np.frexp(u)
    small = m < F(0.70710678)
    e = np.where(small, e - 1, e).astype(F)
    x = np.where(small, (m - F(1)) + m, m - F(1))
    z = x * x
    y = horner(x, *(F(c) for c in (7.0376836292e-2, -1.151461031e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                                   -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)))
    y = y * x
    y = fma(y, z, e * F(-2.1219444e-4))
    y = fma(F(-0.5), z, y)
    return fma(e, F(0.693359375), x + y)


def cephes_sin_cos(theta):
    j = ((theta * F(1.27323954)).astype(np.int32) + 1) & ~1
    x = theta
    for c in (-0.78515625, -2.41875648e-4, -3.77489498e-8):
        x = fma(j.astype(F), F(c), x)
    z = x * x
    a = horner(z, F(2.443315711809948e-5), F(-1.388731625493765e-3), F(4.166664568298827e-2)) * z
    a = fma(a, z, -(z * F(0.5))) + F(1)
    b = horner(z, F(-1.9515295891e-4), F(8.3321608736e-3), F(-1.6666654611e-1)) * z
    b = fma(b, x, x)
    s, c = np.where(j & 2, a, b), np.where(j & 2, b, a)
    return np.where(j & 4, -s, s), np.where((j - 2) & 4, c, -c)


def normals(u):
    """Blocks of sixteen uniforms, [blocks,16]."""
    R = np.sqrt(F(-2) * cephes_log(F(1) - u[:, :8]))
    s, c = cephes_sin_cos(h("0x1.921fb6p+2") * u[:, 8:])
    return np.concatenate([fma(R * c, F(1), F(0)), fma(R * s, F(1), F(0))], 1)


def randn(seed, n):
    r = MT19937(seed)
    u = r.uniforms(n)
    whole = n // 16 * 16
    y = np.empty(n, F)
    y[:whole] = normals(u[:whole].reshape(-1, 16)).ravel()
    if n % 16:
        y[-16:] = normals(r.uniforms(16).reshape(1, 16)).ravel()
    return y
