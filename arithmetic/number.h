/* number.h: one number: its formats, and the functions of it.
 *
 * Every inline function is written without branches on values, so that a compiler may run it on many lanes at
 * once; the bits do not depend on whether it does. Each is the definition that docs/contract.md sections 2
 * and 5 print, operation for operation. reference.c and kernels.c take them from here; number.c holds the
 * longer ones. Not here: sums and matrices (operations.h), torch.randn's log (rng.c). */
#ifndef SAEURON_NUMBER_H
#define SAEURON_NUMBER_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "-ffast-math and its parts change results: build without them (docs/contract.md, section 1)"
#endif
#if !defined(FLT_EVAL_METHOD) || FLT_EVAL_METHOD != 0
/* docs/contract.md, section 1 */
#error "floats must be evaluated as floats: s390x needs -fexcess-precision=fast, i686 -msse2 -mfpmath=sse"
#endif
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
/* the check at run time asks with scalars, which do not */
#error "Helium's vectors of floats flush subnormals: build without them, as with -mcpu=cortex-m55+nomve"
#endif

static inline uint32_t f32_bits(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
static inline float f32_from(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }
static inline uint64_t f64_bits(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }
static inline double f64_from(uint64_t u) { double x; memcpy(&x, &u, sizeof x); return x; }

/* hi + lo as a float, rounded once; hi is a rounded sum, lo its error. An inexact hi is made odd first
 * (contract 2). */
static inline float round_odd(double hi, double lo)
{
    uint64_t       u = f64_bits(hi);
    const uint64_t inexact = (uint64_t)(lo < 0) | (uint64_t)(lo > 0);
    const uint64_t away = (u ^ f64_bits(lo)) >> 63; /* lo points towards zero */

    u = (u - (inexact & away)) | inexact;
    return (float)f64_from(u);
}

/* a*b + c, rounded once, in nothing but double additions (contract 2). */
static inline float fma32_soft(float a, float b, float c)
{
    const double p = (double)a * (double)b, z = (double)c;
    const double s = p + z, t = s - p;

    return round_odd(s, (p - (s - t)) + (z - t));
}

/* The same by the processor, where it is an instruction; never the C library's, which may be wrong (contract
 * 2). */
#if defined(__OPTIMIZE__) && (defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__aarch64__) || \
                              defined(__ARM_FEATURE_FMA))
#define NN_HARD_FMA 1
static inline float fma32(float a, float b, float c) { return fmaf(a, b, c); }
#else
#define NN_HARD_FMA 0
static inline float fma32(float a, float b, float c) { return fma32_soft(a, b, c); }
#endif

/* Nearest integer, ties to even, for |x| < 2^22. */
static inline float round_small(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

/* exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2)/2; exp(r) = 1 + (r + r^2 q(r)), q minimax of degree
 * 4. exp(r) for an x in [-104, 89]; *t is n + 1.5 * 2^23. */
static inline float exp32_fraction(float x, float *t)
{
    *t = fma32(x, 0x1.715476p+0f, 0x1.8p23f);
    const float n = *t - 0x1.8p23f;
    const float r = fma32(n, -0x1.7f7d1cp-20f, fma32(n, -0x1.62e4p-1f, x));
    float q = 0x1.6a23ccp-10f;
    q = fma32(q, r, 0x1.123a2p-7f);
    q = fma32(q, r, 0x1.5558f2p-5f);
    q = fma32(q, r, 0x1.555492p-3f);
    q = fma32(q, r, 0x1.fffffcp-2f);
    return fma32(q, r * r, r) + 1.0f;
}

/* Two products by powers of two, the first of them exact, so that a subnormal result is rounded once. */
static inline float exp32(float x)
{
    const float lowest = -104.0f, highest = 89.0f; /* beyond: 0 and infinity, as at these */
    const float a = x < lowest ? lowest : x;
    const float c = a > highest ? highest : a;     /* a NaN passes both */
    float t;
    const float    p = exp32_fraction(c, &t);
    const uint32_t biased = f32_bits(t) - 0x4b400000u + 1024u; /* n + 1024 */
    const uint32_t n1 = (biased >> 1) - 512u, n2 = biased - 1024u - n1;
    return (p * f32_from((n1 + 127u) << 23)) * f32_from((n2 + 127u) << 23);
}

/* exp32 for EXP_NORMAL <= x <= 0, where no result is subnormal: n goes straight into the exponent, half the
 * work. The same bits. */
#define EXP_NORMAL (-87.0f)
static inline float exp32_normal(float x)
{
    float t;
    const float p = exp32_fraction(x, &t);
    return f32_from(f32_bits(p) + (f32_bits(t) << 23)); /* t's fraction holds n; its higher bits leave */
}

/* log(x) = e ln 2 + 2 atanh(s), x = 2^e (1 + f), s = f / (2 + f), in double throughout; sqrt(1/2) <= 1 + f <
 * sqrt 2. */
static inline float log32(float x)
{
    const double   v = (double)x; /* a subnormal float is a normal double */
    const uint64_t u = f64_bits(v) + (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
    const int32_t  e = (int32_t)(u >> 52) - 1023;
    const double   f = f64_from((u & UINT64_C(0x000fffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd)) - 1.0;
    const double   s = f / (2.0 + f), z = s * s;
    double q = 0x1.3b13b13b13b14p-4;            /* 1/13 */
    q = q * z + 0x1.745d1745d1746p-4;           /* 1/11 */
    q = q * z + 0x1.c71c71c71c71cp-4;           /* 1/9 */
    q = q * z + 0x1.2492492492492p-3;           /* 1/7 */
    q = q * z + 0x1.999999999999ap-3;           /* 1/5 */
    q = q * z + 0x1.5555555555555p-2;           /* 1/3 */
    const float y = (float)((double)e * 0x1.62e42fefa39efp-1 + (2.0 * s + 2.0 * s * (z * q)));
    const float special = x == 0.0f ? -HUGE_VALF : x < 0.0f ? f32_from(0x7fc00000u) : x;
    return x > 0.0f && x <= FLT_MAX ? y : special;
}

/* erf: x + x P(x^2) up to 15/16, else 1 - exp(-(t + t Q(t))), t = min(|x|, 4), with x's sign. P, Q
 * minimax. */
static inline float erf32(float x)
{
    const float s = x * x;
    float p = 0x1.5ac32ep-14f;
    p = fma32(p, s, -0x1.a99ef6p-11f);
    p = fma32(p, s, 0x1.54b5e4p-8f);
    p = fma32(p, s, -0x1.b80cb4p-6f);
    p = fma32(p, s, 0x1.ce2df4p-4f);
    p = fma32(p, s, -0x1.812742p-2f);
    p = fma32(p, s, 0x1.06eba8p-3f);
    p = fma32(p, x, x);
    const float a = f32_from(f32_bits(x) & 0x7fffffffu);
    const float t = a > 4.0f ? 4.0f : a;
    float q = -0x1.bf8e7ep-13f;
    q = fma32(q, t, 0x1.a4c4c2p-9f);
    q = fma32(q, t, -0x1.76c754p-6f);
    q = fma32(q, t, 0x1.af0de4p-4f);
    q = fma32(q, t, 0x1.457f46p-1f);
    q = fma32(q, t, 0x1.072faep-3f);
    q = fma32(q, t, t);
    const float large = f32_from(f32_bits(1.0f - exp32(-q)) | (f32_bits(x) & 0x80000000u));
    return a > 0.9375f ? large : p;
}

static inline float silu32(float x) { return x / (1.0f + exp32(-x)); }
static inline float gelu32(float x) { return (0.5f * x) * (1.0f + erf32(x * 0x1.6a09e6p-1f)); }
static inline float quick_gelu32(float x) { return x / (1.0f + exp32(-1.702f * x)); }

/* One step of Adam on one number (contract 6); unfused. */
static inline void adam32(float *p, float *m, float *v, float g, float rate1, float beta2, float rate2,
                          float step, float root, float eps)
{
    *m = *m + rate1 * (g - *m);
    *v = beta2 * *v + (rate2 * g) * g;
    *p = *p - step * (*m / (sqrtf(*v) / root + eps));
}

/* Exact. A half's exponent and fraction, moved to a float's places, give a value 2^112 times too small. An
 * exponent of all ones (infinity, NaN) stays all ones. */
static inline float f16_widen(uint16_t h)
{
    const uint32_t magnitude = (uint32_t)(h & 0x7fffu) << 13;
    const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;
    const uint32_t u = f32_bits(f32_from(magnitude) * 0x1p112f) | special;
    return f32_from(u | ((uint32_t)(h & 0x8000u) << 16));
}
static inline float bf16_widen(uint16_t h) { return f32_from((uint32_t)h << 16); }

/* ---- formats (number.c) ---- */

typedef enum { DT_NONE, DT_F32, DT_F16, DT_BF16, DT_F64, DT_I64, DT_I32, DT_I16, DT_I8, DT_U8, DT_BOOL,
               DT_OWN /* float as this machine keeps it: weights in training, never a file's */ } dtype;

size_t dtype_size(dtype t);                                 /* bytes an element; 0 for DT_NONE */
float  nn_f16_to_f32(uint16_t h);                           /* exact */
bool   nn_f32_to_f16(uint16_t *h, float x);                 /* nearest even; false on overflow or NaN */

/* ---- functions of one number (contract 5) ---- */

float  nn_expf_cr(float x);                /* correctly rounded exp; the time embedding's */
double nn_sin(double x);                   /* |x| <= 2^13 */
double nn_cos(double x);

/* The inline functions above, to be called by address: fma32, exp32, log32, ... */
float  nn_fmaf(float a, float b, float c);
float  nn_expf(float x);
float  nn_logf(float x);
float  nn_erff(float x);
float  nn_silu1(float x);
float  nn_gelu1(float x);
float  nn_quick_gelu1(float x);

#endif
