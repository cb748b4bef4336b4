/* number.c: formats, and the longer functions of one number: sin, cos, exp correctly rounded.
 * Not here: the functions that run in lanes (number.h). Source: docs/contract.md, section 5. */
#include "arithmetic/number.h"

/* ---- weights ---- */

size_t dtype_size(dtype t)
{
    switch (t) {
    case DT_F64: case DT_I64:               return 8;
    case DT_F32: case DT_I32: case DT_OWN:  return 4;
    case DT_F16: case DT_BF16: case DT_I16: return 2;
    case DT_I8: case DT_U8: case DT_BOOL:   return 1;
    case DT_NONE:                           break;
    }
    return 0;
}

float nn_f16_to_f32(uint16_t h) { return f16_widen(h); }

/* Adding 2^k, chosen so that a half's last place becomes the float's last place, rounds to it. */
bool nn_f32_to_f16(uint16_t *h, float x)
{
    const uint16_t sign = (uint16_t)(f32_bits(x) >> 16 & 0x8000u);
    const float    a = f32_from(f32_bits(x) & 0x7fffffffu);

    if (!(a < 65520.0f)) /* halfway between the largest half and 2^16; also NaN */
        return false;
    if (a < 0x1p-14f) { /* subnormal: multiples of 2^-24 */
        *h = (uint16_t)(sign | (f32_bits(a + 0.5f) - f32_bits(0.5f)));
        return true;
    }
    const uint32_t u = f32_bits(a);
    *h = (uint16_t)(sign | (((u + 0xfffu + (u >> 13 & 1u)) >> 13) - (112u << 10)));
    return true;
}

/* ---- functions of one number ---- */

float nn_fmaf(float a, float b, float c) { return fma32(a, b, c); }
float nn_expf(float x) { return exp32(x); }
float nn_logf(float x) { return log32(x); }
float nn_erff(float x) { return erf32(x); }
float nn_silu1(float x) { return silu32(x); }
float nn_gelu1(float x) { return gelu32(x); }
float nn_quick_gelu1(float x) { return quick_gelu32(x); }

/* x = n pi/2 + r. pi/2 in parts of 33, 33 and 53 bits; n has 13, so the first two products are exact. */
static double reduce(double x, uint32_t *quadrant)
{
    const double t = x * 0x1.45f306dc9c883p-1 + 0x1.8p52, n = t - 0x1.8p52;

    *quadrant = (uint32_t)f64_bits(t) & 3u;
    return ((x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
}

/* Taylor's series, |r| <= pi/4: to r^17 and to r^18. */
static double sin_series(double r)
{
    const double z = r * r;
    double p = 0x1.952c77030ad4ap-49;
    p = p * z - 0x1.ae7f3e733b81fp-41;
    p = p * z + 0x1.6124613a86d09p-33;
    p = p * z - 0x1.ae64567f544e4p-26;
    p = p * z + 0x1.71de3a556c734p-19;
    p = p * z - 0x1.a01a01a01a01ap-13;
    p = p * z + 0x1.1111111111111p-7;
    p = p * z - 0x1.5555555555555p-3;
    return r + r * (z * p);
}

static double cos_series(double r)
{
    const double z = r * r;
    double p = -0x1.6827863b97d97p-53;
    p = p * z + 0x1.ae7f3e733b81fp-45;
    p = p * z - 0x1.93974a8c07c9dp-37;
    p = p * z + 0x1.1eed8eff8d898p-29;
    p = p * z - 0x1.27e4fb7789f5cp-22;
    p = p * z + 0x1.a01a01a01a01ap-16;
    p = p * z - 0x1.6c16c16c16c17p-10;
    p = p * z + 0x1.5555555555555p-5;
    return 1.0 - (0.5 * z - z * (z * p));
}

double nn_sin(double x)
{
    uint32_t     quadrant;
    const double r = reduce(x, &quadrant);
    const double y = quadrant & 1u ? cos_series(r) : sin_series(r);
    return quadrant & 2u ? -y : y;
}

double nn_cos(double x)
{
    uint32_t     quadrant;
    const double r = reduce(x, &quadrant);
    const double y = quadrant & 1u ? sin_series(r) : cos_series(r);
    return quadrant == 1u || quadrant == 2u ? -y : y;
}

/* hi + lo, about 106 bits; |lo| is at most half of hi's last place (Dekker, Numer. Math. 18, 1971). */
typedef struct twofold { double hi, lo; } twofold;

static twofold two_sum(double a, double b)
{
    const double s = a + b, t = s - a;
    return (twofold){ s, (a - (s - t)) + (b - t) };
}

static twofold two_product(double a, double b)
{
    const double p = a * b;
    const double ca = a * 0x1.000002p+27, cb = b * 0x1.000002p+27; /* 2^27 + 1: 53 bits into 26 and 26 */
    const double a1 = ca - (ca - a), a2 = a - a1, b1 = cb - (cb - b), b2 = b - b1;
    return (twofold){ p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2 };
}

static twofold twofold_product(twofold a, twofold b)
{
    const twofold p = two_product(a.hi, b.hi);
    return two_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

static twofold twofold_over(twofold a, double k)
{
    const double  q = a.hi / k;
    const twofold p = two_product(q, k);
    return two_sum(q, (((a.hi - p.hi) - p.lo) + a.lo) / k);
}

/* exp by 28 terms of Taylor's series in twofold numbers: some 95 bits right; the hardest float needs 60. */
float nn_expf_cr(float x)
{
    if (x != x)
        return x;
    const double a = x < -104.0f ? -104.0 : x > 89.0f ? 89.0 : (double)x;
    const double n = (a * 0x1.71547652b82fep+0 + 0x1.8p52) - 0x1.8p52;
    twofold r = two_sum(a - n * 0x1.62e42fefa2p-1, -n * 0x1.9ef35793c6p-41); /* both products exact */
    r = two_sum(r.hi, r.lo - n * 0x1.673007e5ed5e8p-81);
    twofold p = { 1.0, 0.0 };
    for (int k = 28; k >= 1; k--) { /* p = 1 + r p / k */
        const twofold q = twofold_over(twofold_product(r, p), (double)k);
        p = two_sum(1.0, q.hi);
        p = two_sum(p.hi, p.lo + q.lo);
    }
    const double scale = f64_from((uint64_t)(1023 + (int)n) << 52);
    return round_odd(p.hi * scale, p.lo * scale);
}
