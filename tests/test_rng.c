/* test_rng.c: torch.randn against PyTorch's own bits (tests/golden/randn.h, made by
 * tests/golden/make_randn.py), mt19937 against its authors' numbers, SplitMix64 and the
 * digest against their definitions. Not here: digests of longer streams (selftest.c). */
#include "test.h"
#include "arithmetic/nn.h"
#include "arithmetic/rng.h"

#include <stdlib.h>

#include "golden/randn.h"

/* The reference implementation's first outputs for seed 5489, and its 10,000th (C++11, 26.5.5). */
static void mt19937(void)
{
    rng_mt r;
    rng_mt_seed(&r, 5489);
    CHECK(rng_mt_next(&r) == 3499211612u && rng_mt_next(&r) == 581869302u, "the first two");
    for (int i = 2; i < 9999; i++)
        rng_mt_next(&r);
    CHECK(rng_mt_next(&r) == 4123659995u, "the 10,000th");
    rng_mt s;
    rng_mt_seed(&r, 7);
    rng_mt_seed(&s, UINT64_C(0x500000007));
    CHECK(rng_mt_next(&r) == rng_mt_next(&s), "seeds count modulo 2^32");
}

/* Whole small tensors, and the last sixteen places of larger ones: a ragged end is drawn again. */
static void randn_golden(void)
{
    for (size_t i = 0; i < sizeof randn_golden_cases / sizeof *randn_golden_cases; i++) {
        const uint64_t seed = randn_golden_cases[i].seed;
        const size_t   n = randn_golden_cases[i].n;
        float *y = malloc(n * sizeof *y);
        if (!y)
            abort();
        CHECK(rng_randn(y, seed, n, 0, n), "n %zu", n);
        for (size_t j = 0; j < 16; j++) {
            CHECK(f32_bits(y[j]) == randn_golden_cases[i].head[j], "seed %llu, n %zu: value %zu is %a",
                  (unsigned long long)seed, n, j, (double)y[j]);
            CHECK(f32_bits(y[n - 16 + j]) == randn_golden_cases[i].tail[j],
                  "seed %llu, n %zu: value %zu is %a", (unsigned long long)seed, n, n - 16 + j,
                  (double)y[n - 16 + j]);
        }
        uint64_t h = 0; /* bytes little-endian, on any machine */
        for (size_t j = 0; j < n; j++) {
            const uint32_t u = f32_bits(y[j]);
            const unsigned char b[4] = { (unsigned char)u, (unsigned char)(u >> 8), (unsigned char)(u >> 16),
                                         (unsigned char)(u >> 24) };
            h = nn_hash(h, b, 4);
        }
        CHECK(h == randn_golden_cases[i].digest, "seed %llu, n %zu: digest %016llx", (unsigned long long)seed,
              n, (unsigned long long)h);
        free(y);
    }
}

/* Any window of a tensor equals that part of the whole: before, across and inside the ragged end. */
static void randn_windows(void)
{
    static const size_t totals[] = { 16, 17, 31, 32, 33, 64, 100, 650 };
    float whole[650], part[650];
    for (size_t t = 0; t < sizeof totals / sizeof *totals; t++) {
        const size_t total = totals[t];
        rng_randn(whole, 3, total, 0, total);
        for (size_t first = 0; first <= total; first += total > 100 ? 37 : 1)
            for (size_t n = 0; first + n <= total; n += total > 100 ? 29 : 3) {
                CHECK(rng_randn(part, 3, total, first, n), "a window");
                for (size_t i = 0; i < n; i++)
                    if (f32_bits(part[i]) != f32_bits(whole[first + i])) {
                        test_failed(__FILE__, __LINE__, "total %zu, window %zu+%zu, value %zu", total, first,
                                    n, i);
                        break;
                    }
            }
    }
    CHECK(!rng_randn(part, 3, 15, 0, 15), "fewer than 16 is another algorithm");
    CHECK(!rng_randn(part, 3, 20, 21, 0) && !rng_randn(part, 3, 20, 10, 11), "windows past the end");
}

/* A logarithm above 0 would make a value NaN; a wrong sine or cosine would change mean or variance. */
static void randn_finite(void)
{
    float *y = malloc(100000 * sizeof *y);
    double sum = 0.0, square = 0.0;
    if (!y)
        abort();
    rng_randn(y, 12, 100000, 0, 100000);
    CHECK(nn_first_bad(y, 100000) == 100000, "a value is not finite");
    for (size_t i = 0; i < 100000; i++) {
        sum += (double)y[i];
        square += (double)y[i] * (double)y[i];
    }
    CHECK(sum / 1e5 < 0.02 && sum / 1e5 > -0.02 && square / 1e5 > 0.98 && square / 1e5 < 1.02,
          "mean %g, square %g", sum / 1e5, square / 1e5);
    free(y);
}

/* The published first outputs of SplitMix64 from state 0 are mix(1 gamma), mix(2 gamma), ... */
static void splitmix(void)
{
    const uint64_t gamma = UINT64_C(0x9e3779b97f4a7c15);
    CHECK(rng_mix(gamma) == UINT64_C(0xe220a8397b1dcdaf) &&
          rng_mix(2 * gamma) == UINT64_C(0x6e789e6aa1b965f4), "published values");
    CHECK(rng_value(5, 9, 3) == rng_mix(rng_mix(5 ^ rng_mix(9)) + 4 * gamma), "value(seed, stream, i)");
    CHECK(rng_uniform(5, 9, 3) == (float)(rng_value(5, 9, 3) >> 40) / 16777216.0f, "uniform");
    for (uint64_t i = 0; i < 100; i++) /* one rounded product: 2 a u - a would differ in places */
        CHECK(rng_symmetric(5, 9, i, 0.1f) == (2.0f * rng_uniform(5, 9, i) - 1.0f) * 0.1f,
              "symmetric, value %llu", (unsigned long long)i);
}

/* Values computed by hand from the definition (docs/contract.md, section 6); twin.py computes them again. */
static void digest(void)
{
    CHECK(nn_hash(0, "", 0) == rng_mix(0), "nothing");
    const uint64_t one = rng_mix(0x61 + UINT64_C(0x9e3779b97f4a7c15));
    CHECK(nn_hash(0, "a", 1) == rng_mix(one ^ 1), "one byte, padded with zeros");
    CHECK(nn_hash(0, "a\0", 2) != nn_hash(0, "a", 1), "the length counts");
    const uint64_t eight = rng_mix(UINT64_C(0x6867666564636261) + UINT64_C(0x9e3779b97f4a7c15));
    CHECK(nn_hash(0, "abcdefgh", 8) == rng_mix(eight ^ 8), "little-endian words");
    CHECK(nn_hash(nn_hash(0, "ab", 2), "cd", 2) != nn_hash(0, "abcd", 4), "chained, not concatenated");
}

const test_case rng_tests[] = {
    { "mt19937", mt19937 },
    { "randn_golden", randn_golden },
    { "randn_windows", randn_windows },
    { "randn_finite", randn_finite },
    { "splitmix", splitmix },
    { "digest", digest },
    { NULL, NULL }
};
