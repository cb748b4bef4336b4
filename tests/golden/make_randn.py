"""Writes randn.h: what torch.randn gives, for tests/test_rng.c. Development only; run with PyTorch on Linux x86-64.

    python tests/golden/make_randn.py > tests/golden/randn.h
"""
import numpy as np
import torch

MASK = (1 << 64) - 1


def mix(x):
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


def digest(words):
    """docs/contract.md, section 6: nn_hash, chained over the values' four bytes."""
    h = 0
    for w in words:
        h = mix(mix((h + int(w) + 0x9E3779B97F4A7C15) & MASK) ^ 4)
    return h


def main():
    capability = torch.backends.cpu.get_cpu_capability()
    assert capability in ("AVX2", "AVX512"), capability  # contract 7: the default code path gives other bits
    print(f"/* Made by tests/golden/make_randn.py with torch {torch.__version__.split('+')[0]}, {capability}. */")
    print("static const struct { uint64_t seed; size_t n; uint32_t head[16], tail[16]; uint64_t digest; } randn_golden_cases[] = {")
    for seed in (0, 1, 42, 2**32 - 1, 2**32 + 5):
        for n in (16, 17, 31, 32, 33, 64, 1000, 1024, 16384):
            y = torch.randn(n, generator=torch.Generator().manual_seed(seed)).numpy().view(np.uint32)
            words = [", ".join(f"0x{w:08x}" for w in part) for part in (y[:16], y[-16:])]
            print(f"    {{ UINT64_C({seed}), {n}, {{ {words[0]} }},\n      {{ {words[1]} }}, UINT64_C(0x{digest(y):016x}) }},")
    print("};")


main()
