/* rng.c: two streams of random numbers.
 *
 *   SplitMix64 by counter: our own (initialisation, shuffling, hash-filled weights)      contract 6
 *   mt19937 and Box-Muller: torch.randn, bit for bit                                     contract 7
 *
 * Not here: who asks for which seed and stream. */
#include "arithmetic/rng.h"
#include "arithmetic/number.h"

/* ---- SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), addressed instead of iterated ---- */

uint64_t rng_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t rng_value(uint64_t seed, uint64_t stream, uint64_t i)
{
    return rng_mix(rng_mix(seed ^ rng_mix(stream)) + (i + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

float rng_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    return (float)(rng_value(seed, stream, i) >> 40) * 0x1p-24f;
}

float rng_symmetric(uint64_t seed, uint64_t stream, uint64_t i, float a)
{
    return (2.0f * rng_uniform(seed, stream, i) - 1.0f) * a;
}

uint32_t rng_below(uint64_t seed, uint64_t stream, uint64_t i, size_t n)
{
    return (uint32_t)((rng_value(seed, stream, i) >> 32) * (uint64_t)n >> 32);
}

void rng_shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t stream)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n; i-- > 1;) {
        const uint32_t j = rng_below(seed, stream, i, i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

/* ---- mt19937 (Matsumoto and Nishimura, ACM TOMACS 8, 1998) ---- */

void rng_mt_seed(rng_mt *r, uint64_t seed)
{
    r->state[0] = (uint32_t)(seed & 0xffffffffu);
    for (uint32_t i = 1; i < 624; i++)
        r->state[i] = 1812433253u * (r->state[i - 1] ^ r->state[i - 1] >> 30) + i;
    r->at = 624;
}

static void twist(uint32_t *s)
{
    for (int i = 0; i < 624; i++) {
        const uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % 624] & 0x7fffffffu);
        s[i] = s[(i + 397) % 624] ^ y >> 1 ^ (y & 1u ? 0x9908b0dfu : 0u);
    }
}

uint32_t rng_mt_next(rng_mt *r)
{
    if (r->at == 624) {
        twist(r->state);
        r->at = 0;
    }
    uint32_t y = r->state[r->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* ---- torch.randn: at::native's normal_fill, with Cephes' logf and sincosf as AVX2 code has them ---- */

/* log(u), u = 2^-24 j in (0,1]. */
static float cephes_log(float u)
{
    static const float p[9] = {
        7.0376836292e-2f, -1.151461031e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
        -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f
    };
    const uint32_t bits = f32_bits(u);
    const float    m = f32_from((bits & 0x007fffffu) | 0x3f000000u); /* [1/2,1) */
    const bool     small = m < 0.70710678f;
    const float    e = (float)((int)(bits >> 23) - 126 - (small ? 1 : 0));
    const float    x = small ? (m - 1.0f) + m : m - 1.0f, z = x * x;
    float y = p[0];

    for (int i = 1; i < 9; i++)
        y = fma32(y, x, p[i]);
    y = y * x;
    y = fma32(y, z, e * -2.1219444e-4f);
    y = fma32(-0.5f, z, y);
    return fma32(e, 0.693359375f, x + y);
}

/* sin and cos of theta in [0, 2 pi). */
static void cephes_sincos(float theta, float *sine, float *cosine)
{
    const int   j = ((int)(theta * 1.27323954f) + 1) & ~1;
    const float f = (float)j;
    float x = fma32(f, -0.78515625f, theta);
    x = fma32(f, -2.41875648e-4f, x);
    x = fma32(f, -3.77489498e-8f, x);
    const float z = x * x;
    float a = fma32(fma32(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f) * z;
    a = fma32(a, z, -(z * 0.5f)) + 1.0f;
    float b = fma32(fma32(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f) * z;
    b = fma32(b, x, x);
    const float s = j & 2 ? a : b, c = j & 2 ? b : a;
    *sine = j & 4 ? -s : s;
    *cosine = (j - 2) & 4 ? c : -c;
}

/* Sixteen uniforms to sixteen normals, in place (Box and Muller, 1958). */
static void normal16(float *d)
{
    for (int j = 0; j < 8; j++) {
        float sine, cosine;
        const float r = sqrtf(-2.0f * cephes_log(1.0f - d[j]));
        cephes_sincos(0x1.921fb6p+2f * d[j + 8], &sine, &cosine);
        d[j] = fma32(r * cosine, 1.0f, 0.0f);
        d[j + 8] = fma32(r * sine, 1.0f, 0.0f);
    }
}

static void uniform16(rng_mt *r, float *d)
{
    for (int j = 0; j < 16; j++)
        d[j] = (float)(rng_mt_next(r) & 0xffffffu) * 0x1p-24f;
}

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t sooner(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Copies the elements of d, which are at..at+15 of all, that lie in first..first+n-1. */
static void deliver(float *y, uint64_t first, uint64_t n, const float *d, uint64_t at)
{
    for (uint64_t i = later(first, at); i < sooner(first + n, at + 16); i++)
        y[i - first] = d[i - at];
}

/* Element i of a whole block i/16 depends on that block's sixteen draws alone. Where 16 does not divide
 * total, the last sixteen places are drawn again, after everything else, and overwrite what stood there. */
bool rng_randn(float *y, uint64_t seed, uint64_t total, uint64_t first, size_t n)
{
    rng_mt   r;
    float    d[16];
    uint64_t drawn = 0;

    if (total < 16 || first > total || n > total - first)
        return false;
    const uint64_t ragged = total % 16, whole = total - ragged, end = first + n;
    rng_mt_seed(&r, seed);
    for (; drawn < whole && drawn < end; drawn += 16) {
        uniform16(&r, d);
        if (drawn + 16 <= first)
            continue;
        normal16(d);
        deliver(y, first, n, d, drawn);
    }
    if (ragged && end > total - 16) {
        for (; drawn < whole; drawn += 16)
            uniform16(&r, d);
        for (uint64_t i = 0; i < ragged; i++)
            rng_mt_next(&r);
        uniform16(&r, d);
        normal16(d);
        deliver(y, first, n, d, total - 16);
    }
    return true;
}

/* ---- digest ---- */

uint64_t nn_hash(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t w = 0;
        for (size_t j = 0; j < 8 && i + j < n; j++)
            w |= (uint64_t)p[i + j] << (8 * j);
        h = rng_mix(h + w + UINT64_C(0x9e3779b97f4a7c15));
    }
    return rng_mix(h ^ n);
}
