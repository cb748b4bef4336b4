"""twin.py: docs/contract.md again, in NumPy, and bit for bit against arithmetic/; a classifier whole, against vit.c; training, against train.c;
the UNet of EmojiCanvas there and back, against gradients/.

Written from the contract and not from the C: where they part, one of the three is wrong. Every operation is a few lines
of float32 and float64 arithmetic, so that this file can be read as an executable specification.

    python tests/twin.py            builds them with $CC (gcc) and the scalar kernels, and compares; needs NumPy

The last line is "N passed, N failed".
"""
import ctypes
import decimal
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from fractions import Fraction

import numpy as np

import library

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
    a, b, c = (np.asarray(v, F).astype(D) for v in (a, b, c))
    p = a * b
    s = p + c
    t = s - p
    e = (p - (s - t)) + (c - t)
    return round_odd(s, e)


def round_odd(s, e):
    """The float nearest to s + e, where e is the error of the sum s."""
    s, e = np.broadcast_arrays(np.asarray(s, D), np.asarray(e, D))
    u = np.ascontiguousarray(s).view(U64)
    inexact = (e < 0) | (e > 0)
    towards_zero = np.signbit(s) != np.signbit(e)
    u = np.where(inexact & towards_zero, u - U64(1), u)
    u = np.where(inexact, u | U64(1), u)
    return u.view(D).astype(F)


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
    blocks = -(-K // 128)
    hi = lo = np.zeros(shape, F)
    for block in range(blocks):
        s = np.zeros(shape, F)
        for k in range(128 * block, min(128 * block + 128, K)):
            s = fma(a[..., k], b[..., k], s)
        lo = s if block % 16 == 0 else lo + s
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
        s, E, q, total = self.s, D(0), D(0), D(0)
        z = linear(x - s["b_dec"], s["encoder.weight"], s["encoder.bias"])
        f = np.stack([first_of(np.where(row > 0, row, F(0)), self.c["k"])[0] for row in z])
        for row, token in zip(f, x):
            at = row > 0
            E = E + squares((sparse_sum(row[at], s["W_dec"][at]) + s["b_dec"]) - token)
        away = x.astype(D) - x[0].astype(D)
        total, q = channel_sums(away), channel_sums(away * away)
        return E / sums16(q - total * total / D(len(x))), D((f > 0).sum()) / D(len(x)), (f > 0).sum(0).astype(U64)


# ---- the UNet, there and back (6, "Derivatives") ----

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


class Unet:
    """diffusers' UNet2DConditionModel by its config and tensors. A module's function returns its output and the way back: from the
    derivative by the output to that by the input. On the way derivatives by the wanted tensors go to self.d."""

    def __init__(self, config, tensors, wanted):
        self.c, self.t, self.wanted, self.d = config, tensors, wanted, {}

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
        return x + y, back

    def feed_forward(self, x, name):
        n, norm_b = self.layer_norm(x, name + ".norm3")
        f, in_b = self.linear(n, name + ".ff.net.0.proj")
        value, gate = np.split(f, 2, 1)
        y, out_b = self.linear(value * gelu(gate), name + ".ff.net.2")

        def back(dy):
            dg, y = out_b(dy), gelu(gate)
            slope = share(y, gate) + gate * (exp((F(-0.5) * gate) * gate) * h("0x1.988454p-2"))
            return dy + norm_b(in_b(np.concatenate([dg * y, (dg * value) * slope], 1)))
        return x + y, back

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
        return x + y.reshape(x.shape), back

    def resnet(self, x, name):
        h1, norm1_b = self.group_norm(x, name + ".norm1", self.c["norm_eps"], True)
        m, conv1_b = self.conv(h1, name + ".conv1")
        t, time_b = self.linear(self.temb, name + ".time_emb_proj")
        h2, norm2_b = self.group_norm(m + t, name + ".norm2", self.c["norm_eps"], True)
        y, conv2_b = self.conv(h2, name + ".conv2")
        shortcut, shortcut_b = self.conv(x, name + ".conv_shortcut") if name + ".conv_shortcut.weight" in self.t else (x, lambda dy: dy)

        def back(dy):
            dm = norm2_b(conv2_b(dy))
            self.dtemb = self.dtemb + time_b(dot(dm.reshape(-1, dm.shape[3]).T, np.ones(dm[..., 0].size, F))[None])
            return shortcut_b(dy) + norm1_b(conv1_b(dm))
        return shortcut + y, back

    def layer(self, x, name, j, cross):
        y, resnet_b = self.resnet(x, f"{name}.resnets.{j}")
        if not cross:
            return y, resnet_b
        y, transformer_b = self.transformer(y, f"{name}.attentions.{j}")
        return y, lambda dy: resnet_b(transformer_b(dy))

    def upsampler(self, x, name):
        y, conv_b = self.conv(np.repeat(np.repeat(x, 2, 1), 2, 2), name + ".upsamplers.0.conv")

        def back(dy):
            d = conv_b(dy)
            return ((d[:, ::2, ::2] + d[:, ::2, 1::2]) + d[:, 1::2, ::2]) + d[:, 1::2, 1::2]
        return y, back

    def forward(self, x, t, text):
        """x [1,H,W,4], sides that halve evenly; text [N,width]. Returns the noise and the way back, to dx; then self.dtext."""
        c = self.c
        self.text, self.dtext = text, np.zeros_like(text)
        s = timestep_embedding(t, c["block_out_channels"][0], c["flip_sin_to_cos"], c["freq_shift"])[None]
        h1, time1_b = self.linear(s, "time_embedding.linear_1")
        e, time2_b = self.linear(silu(h1), "time_embedding.linear_2")
        self.temb, self.dtemb = silu(e), np.zeros_like(e)
        h, in_b = self.conv(x, "conv_in")
        skips, downs, ups = [h], [], []
        for i, kind in enumerate(c["down_block_types"]):
            name = f"down_blocks.{i}"
            for j in range(c["layers_per_block"]):
                h, b = self.layer(h, name, j, "CrossAttn" in kind)
                skips.append(h)
                downs.append(b)
            if i + 1 < len(c["down_block_types"]):
                h, b = self.conv(h, name + ".downsamplers.0.conv", 2)
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


# ---- arithmetic/, by ctypes ----

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


# Three steps each. d across sixteen lanes and the dot's blocks; n across train.c's blocks of 960 latents; entries of a latent and tokens across 128
# and 2,048; batches that are short; latents dead from the start, some with equal rows (ties), some that never fire; more selected than are above 0.
TRAINING = (
    dict(d=20, n=40, k=5, M=(37, 37, 11)),
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


def tensors_of(path):
    """A safetensors file's tensors of float16 and float32, as float32."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, t in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, end = t["data_offsets"]
            found[name] = np.frombuffer(data[start + first:start + end], {"F16": "<f2", "F32": "<f4"}[t["dtype"]]).reshape(t["shape"]).astype(F)
    return found


# A tensor of each kind of layer.
WANTED = ("conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.1.norm1.weight", "down_blocks.1.resnets.0.conv_shortcut.weight",
          "down_blocks.1.downsamplers.0.conv.weight", "mid_block.resnets.0.time_emb_proj.bias", "mid_block.attentions.0.norm.bias",
          "up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_k.weight", "up_blocks.0.attentions.1.transformer_blocks.0.norm2.weight",
          "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_v.weight", "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.2.bias",
          "up_blocks.0.upsamplers.0.conv.bias", "conv_out.weight")


def compare_unet(c):
    """One step of EmojiCanvas and back: mean (e - target)^2 by latents, text states and tensors."""
    model, prompt, T = library.ROOT / "weights" / "emojicanvas", b"An image of Cats in Bricks style.", 501
    config = json.loads((model / "unet" / "config.json").read_text())
    side, handle, error = config["sample_size"], ctypes.c_void_p(), ctypes.create_string_buffer(1024)

    def good(code):
        assert not code, error.raw[4:].split(b"\0")[0].decode()

    good(c.lib.saeuron_open(ctypes.byref(handle), None, str(model).encode(), error))
    c.lib.saeuron_text_length.restype = c.lib.saeuron_text_width.restype = SIZE
    text = np.empty((c.lib.saeuron_text_length(handle), c.lib.saeuron_text_width(handle)), F)
    good(c.lib.saeuron_encode_text(handle, prompt, pointer(text), error))
    latents, target = c.filled(1, 4, side, side, a=1.7), c.filled(1, 4, side, side, a=1.7)

    net = Unet(config, tensors_of(model / "unet" / "diffusion_pytorch_model.safetensors"), WANTED)
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


def main():
    with tempfile.TemporaryDirectory() as folder:
        c = Comparison(build(folder))
        for part in (compare_functions, compare_halves, compare_products, compare_norms, compare_order, compare_random, compare_resizes, compare_classifiers, compare_training, compare_unet):
            part(c)
    print(f"{c.passed} passed, {c.failed} failed")
    return 1 if c.failed else 0


if __name__ == "__main__":
    sys.exit(main())
