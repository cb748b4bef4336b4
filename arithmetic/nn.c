/* nn.c: every operation of nn.h as the shortest loop that has the right bits: the reference.
 *
 *   nn_linear(c, ...) --c->kernels?--> the fast path (nn_kernels.c), equal byte for byte
 *                     --none?-------> the loop here, which is the definition
 *
 * Not here: the functions of one number that vectorise (nn_math.h), random numbers (rng.c), the tiles and the threads
 * (nn_kernels.c). Source: docs/contract.md; each operation names the PyTorch function that it is. Letters: nn.h. */
#include "arithmetic/nn.h"
#include "arithmetic/rng.h"

#include <time.h>

/* ---- memory ---- */

bool nn_mul(size_t a, size_t b, size_t *out)
{
    *out = a * b;
    return b == 0 || a <= SIZE_MAX / b;
}

void *arena_bytes(arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (a->failed || !nn_mul(count, size, &bytes) || bytes > SIZE_MAX - 63 - a->used) {
        a->failed = true;
        return NULL;
    }
    bytes = (bytes + 63) / 64 * 64;
    if (a->base && bytes > a->size - a->used) {
        a->failed = true;
        return NULL;
    }
    void *p = a->base ? a->base + a->used : NULL;
    a->used += bytes;
    if (a->used > a->peak)
        a->peak = a->used;
    return p;
}

float *arena_floats(arena *a, size_t n) { return arena_bytes(a, n, sizeof(float)); }
size_t arena_mark(const arena *a) { return a->used; }
void   arena_release(arena *a, size_t mark) { a->used = mark; }

/* ---- context ---- */

/* Built in, worst first; "reference" is this file alone. */
static const struct nn_kernels *const built_in[] = {
    NULL,
#define LIST(isa) &nn_kernels_##isa,
    NN_KERNELS(LIST)
#undef LIST
};

const char *nn_isa_list(void)
{
#define NAME(isa) "," #isa
    return "reference" NN_KERNELS(NAME);
#undef NAME
}

/* Whether this CPU runs the instructions that the kernels were compiled for. */
static bool runnable(const char *isa)
{
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(isa, "avx2"))
        return avx2;
    if (!strcmp(isa, "avx512"))
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
    (void)isa;
    return true;
}

bool nn_init(nn *c, const char *isa, int threads, arena *work)
{
    const size_t count = sizeof built_in / sizeof *built_in;

    c->kernels = NULL;
#ifdef _OPENMP
    c->threads = threads > 0 ? threads : 1;
#else
    c->threads = 1;
    (void)threads;
#endif
    c->work = work;
    for (size_t i = count; i-- > 1;)
        if ((!isa || !strcmp(isa, built_in[i]->name)) && runnable(built_in[i]->name)) {
            c->kernels = built_in[i];
            return true;
        }
    return !isa || !strcmp(isa, "reference");
}

const char *nn_isa_name(const nn *c) { return c->kernels ? c->kernels->name : "reference"; }

/* Volatile, so that the processor is asked and not the compiler. */
bool nn_environment_ok(void)
{
    volatile float  one = 1.0f, tie = 0x1p-24f, more = 0x1.8p-24f, least = FLT_MIN, half = 0.5f;
    volatile double one_d = 1.0, tie_d = 0x1p-53, more_d = 0x1.8p-53, least_d = DBL_MIN, half_d = 0.5;
    volatile float  up = one + more, even = one + tie, down = -one - more, tiny = least * half, back = tiny / half;
    volatile double up_d = one_d + more_d, even_d = one_d + tie_d, down_d = -one_d - more_d;
    volatile double tiny_d = least_d * half_d, back_d = tiny_d / half_d;

    return up == 1.0f + FLT_EPSILON && even == 1.0f && down == -1.0f - FLT_EPSILON && tiny != 0.0f && back == FLT_MIN &&
           up_d == 1.0 + DBL_EPSILON && even_d == 1.0 && down_d == -1.0 - DBL_EPSILON && tiny_d != 0.0 && back_d == DBL_MIN;
}

bool nn_team_environment_ok(int threads)
{
    int wrong = 0;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) if (threads > 1)
#endif
    if (!nn_environment_ok()) {
#ifdef _OPENMP
#pragma omp atomic
#endif
        wrong++;
    }
    (void)threads;
    return wrong == 0;
}

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
float nn_bf16_to_f32(uint16_t h) { return bf16_widen(h); }

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

static uint16_t little16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t little32(const unsigned char *p) { return (uint32_t)little16(p) | (uint32_t)little16(p + 2) << 16; }

/* Element i of w, from little-endian bytes. */
static float weight_at(weight w, size_t i)
{
    switch (w.type) {
    case DT_F32:  return f32_from(little32(w.data + 4 * i));
    case DT_F16:  return f16_widen(little16(w.data + 2 * i));
    case DT_OWN:  return ((const float *)(const void *)w.data)[i];
    default:      return bf16_widen(little16(w.data + 2 * i));
    }
}

void nn_widen(float *y, weight w, size_t offset, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = weight_at(w, offset + i);
}

/* ---- functions of one number ---- */

float nn_fmaf(float a, float b, float c) { return fma32(a, b, c); }
float nn_expf(float x) { return exp32(x); }
float nn_logf(float x) { return log32(x); }
float nn_erff(float x) { return erf32(x); }
float nn_silu1(float x) { return silu32(x); }
float nn_gelu1(float x) { return gelu32(x); }
float nn_quick_gelu1(float x) { return quick_gelu32(x); }

/* x = n pi/2 + r by three parts of pi/2 (33, 33 and 53 bits; n has 13, so the first two products are exact). */
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

/* A number of about 106 bits: hi + lo, |lo| at most half of hi's last place (Dekker, Numer. Math. 18, 1971). */
typedef struct twofold { double hi, lo; } twofold;

static twofold two_sum(double a, double b)
{
    const double s = a + b, t = s - a;
    return (twofold){ s, (a - (s - t)) + (b - t) };
}

static twofold two_product(double a, double b)
{
    const double p = a * b;
    const double ca = a * 0x1.000002p+27, cb = b * 0x1.000002p+27; /* 2^27 + 1: splits 53 bits into 26 and 26 */
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

/* exp by Taylor's series of 28 terms in twofold numbers: some 95 bits right, where the hardest float needs 60. */
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

/* ---- dot products ---- */

/* Blocks of 128; lo gathers sixteen blocks, hi gathers lo's: contract 3, word for word. */
float nn_dot(const float *a, size_t sa, const float *b, size_t sb, size_t K)
{
    const size_t nb = K / 128 + (K % 128 != 0);
    float hi = 0.0f, lo = 0.0f;

    for (size_t block = 0; block < nb; block++) {
        const size_t end = block + 1 < nb ? 128 * (block + 1) : K;
        float s = 0.0f;
        for (size_t k = 128 * block; k < end; k++)
            s = fma32(a[k * sa], b[k * sb], s);
        lo = block % 16 ? lo + s : s;
        if (block % 16 == 15 && block + 1 < nb)
            hi = block < 16 ? lo : hi + lo;
    }
    return nb > 16 ? hi + lo : lo;
}

void nn_linear(nn *c, float *y, const float *x, weight W, const float *bias, size_t M, size_t K, size_t N)
{
    if (c->kernels) {
        c->kernels->linear(c, y, x, W, bias, M, K, N);
        return;
    }
    const size_t mark = arena_mark(c->work);
    float *row = arena_floats(c->work, K);
    if (y && row)
        for (size_t j = 0; j < N; j++) {
            nn_widen(row, W, j * K, K);
            for (size_t i = 0; i < M; i++) {
                const float s = nn_dot(x + i * K, 1, row, 1, K);
                y[i * N + j] = bias ? s + bias[j] : s;
            }
        }
    arena_release(c->work, mark);
}

size_t conv_out(const conv_shape *s, size_t n) { return (n + s->pad_before + s->pad_after - s->k) / s->stride + 1; }

/* The k*k*ci inputs under output pixel (oy, ox) of x [H,W,ci], zeros outside. */
static void conv_patch(float *patch, const float *x, const conv_shape *s, size_t oy, size_t ox)
{
    for (size_t ky = 0; ky < s->k; ky++)
        for (size_t kx = 0; kx < s->k; kx++, patch += s->ci) {
            const size_t iy = oy * s->stride + ky - s->pad_before, ix = ox * s->stride + kx - s->pad_before;
            const bool   inside = iy < s->H && ix < s->W; /* a negative size_t is beyond both */
            for (size_t i = 0; i < s->ci; i++)
                patch[i] = inside ? x[(iy * s->W + ix) * s->ci + i] : 0.0f;
        }
}

void nn_conv2d(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s)
{
    if (c->kernels) {
        c->kernels->conv2d(c, y, x, W, bias, s);
        return;
    }
    const size_t mark = arena_mark(c->work), taps = s->k * s->k, K = taps * s->ci;
    const size_t Ho = conv_out(s, s->H), Wo = conv_out(s, s->W);
    float *patch = arena_floats(c->work, K), *w = arena_bytes(c->work, s->co, K * sizeof(float));

    if (y && patch && w) {
        for (size_t o = 0; o < s->co; o++) /* [co,ci,ky,kx] to [co,ky,kx,ci] */
            for (size_t i = 0; i < s->ci; i++)
                for (size_t t = 0; t < taps; t++)
                    w[o * K + t * s->ci + i] = weight_at(W, (o * s->ci + i) * taps + t);
        for (size_t b = 0; b < s->B; b++)
            for (size_t p = 0; p < Ho * Wo; p++, y += s->co) {
                conv_patch(patch, x + b * s->H * s->W * s->ci, s, p / Wo, p % Wo);
                for (size_t o = 0; o < s->co; o++) {
                    const float v = nn_dot(patch, 1, w + o * K, 1, K);
                    y[o] = bias ? v + bias[o] : v;
                }
            }
    }
    arena_release(c->work, mark);
}

/* One query's row: q [head], keys k and values v of n rows, D apart; score [n] is scratch. */
static void attend(float *y, const float *q, const float *k, const float *v, size_t n, size_t D, size_t head, float *score)
{
    const float scale = (float)(1.0 / sqrt((double)head)), one = 1.0f;
    float largest = -HUGE_VALF;

    for (size_t j = 0; j < n; j++) {
        score[j] = nn_dot(q, 1, k + j * D, 1, head) * scale;
        largest = score[j] > largest ? score[j] : largest;
    }
    for (size_t j = 0; j < n; j++)
        score[j] = exp32(score[j] - largest);
    const float l = nn_dot(score, 1, &one, 0, n);
    for (size_t i = 0; i < head; i++)
        y[i] = nn_dot(score, 1, v + i, D, n) / l;
}

void nn_attention(nn *c, float *y, const float *q, const float *k, const float *v,
                  size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal)
{
    if (c->kernels) {
        c->kernels->attention(c, y, q, k, v, B, Nq, Nk, heads, head, causal);
        return;
    }
    const size_t mark = arena_mark(c->work), D = heads * head;
    float *score = arena_floats(c->work, Nk);

    if (y && score)
        for (size_t b = 0; b < B; b++)
            for (size_t i = 0; i < Nq; i++)
                for (size_t h = 0; h < heads; h++) {
                    const size_t at = (b * Nq + i) * D + h * head, from = b * Nk * D + h * head;
                    attend(y + at, q + at, k + from, v + from, causal ? i + 1 : Nk, D, head, score);
                }
    arena_release(c->work, mark);
}

/* ---- norms and sums ---- */

/* Sixteen lanes to one: l += l+8, +4, +2, +1. */
static double tree16(double *lane)
{
    for (size_t half = 8; half; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

double nn_sum16(const float *x, size_t n)
{
    double lane[16] = { 0 };
    for (size_t i = 0; i < n; i++)
        lane[i % 16] += (double)x[i];
    return tree16(lane);
}

double nn_sum16_sq(const float *x, size_t n, double mean)
{
    double lane[16] = { 0 };
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - mean;
        lane[i % 16] += d * d;
    }
    return tree16(lane);
}

double nn_sum16_d(const double *x, size_t n)
{
    double lane[16] = { 0 };
    for (size_t i = 0; i < n; i++)
        lane[i % 16] += x[i];
    return tree16(lane);
}

void nn_layer_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta, size_t M, size_t D, float eps)
{
    if (c->kernels) {
        c->kernels->layer_norm(c, y, x, gamma, beta, M, D, eps);
        return;
    }
    if (!y)
        return;
    for (size_t i = 0; i < M; i++, x += D, y += D) {
        const double mean = nn_sum16(x, D) / (double)D;
        const double var = nn_sum16_sq(x, D, mean) / (double)D;
        const float  m = (float)mean, r = (float)(1.0 / sqrt(var + (double)eps));
        for (size_t j = 0; j < D; j++)
            y[j] = fma32((x[j] - m) * r, gamma[j], beta[j]);
    }
}

/* Sum of x[p,i] (or of (x[p,i] - mean)^2) over a group: per channel over pixels, then over channels. x [P,C]. */
static double group_sum(const float *x, size_t P, size_t C, size_t from, size_t to, const double *mean)
{
    double sum = 0.0;
    for (size_t i = from; i < to; i++) {
        double channel = 0.0;
        for (size_t p = 0; p < P; p++) {
            const double v = (double)x[p * C + i], d = mean ? v - *mean : v;
            channel += mean ? d * d : v;
        }
        sum += channel;
    }
    return sum;
}

void nn_group_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                   size_t B, size_t P, size_t C, size_t G, float eps, bool silu)
{
    if (c->kernels) {
        c->kernels->group_norm(c, y, x, gamma, beta, B, P, C, G, eps, silu);
        return;
    }
    if (!y)
        return;
    const size_t width = C / G;
    for (size_t b = 0; b < B; b++, x += P * C, y += P * C)
        for (size_t g = 0; g < G; g++) {
            const double n = (double)(P * width);
            const double mean = group_sum(x, P, C, g * width, (g + 1) * width, NULL) / n;
            const double var = group_sum(x, P, C, g * width, (g + 1) * width, &mean) / n;
            const float  m = (float)mean, r = (float)(1.0 / sqrt(var + (double)eps));
            for (size_t p = 0; p < P; p++)
                for (size_t i = g * width; i < (g + 1) * width; i++) {
                    const float v = fma32((x[p * C + i] - m) * r, gamma[i], beta[i]);
                    y[p * C + i] = silu ? silu32(v) : v;
                }
        }
}

void nn_softmax(nn *c, float *y, const float *x, size_t M, size_t N)
{
    if (c->kernels) {
        c->kernels->softmax(c, y, x, M, N);
        return;
    }
    if (!y)
        return;
    for (size_t i = 0; i < M; i++, x += N, y += N) {
        float largest = -HUGE_VALF;
        for (size_t j = 0; j < N; j++)
            largest = x[j] > largest ? x[j] : largest;
        for (size_t j = 0; j < N; j++)
            y[j] = exp32(x[j] - largest);
        const float sum = (float)nn_sum16(y, N);
        for (size_t j = 0; j < N; j++)
            y[j] = y[j] / sum;
    }
}

/* ---- element by element ---- */

/* One operation on n values; the fast path if there is one. */
#define ELEMENTWISE(name)                                              \
    void nn_##name(nn *c, float *y, const float *x, size_t n)          \
    {                                                                  \
        if (!y)                                                        \
            return;                                                    \
        if (c->kernels) {                                              \
            c->kernels->name(c, y, x, n);                              \
            return;                                                    \
        }                                                              \
        for (size_t i = 0; i < n; i++)                                 \
            y[i] = name##32(x[i]);                                     \
    }
ELEMENTWISE(silu)
ELEMENTWISE(gelu)
ELEMENTWISE(quick_gelu)

void nn_geglu(nn *c, float *y, const float *x, size_t M, size_t D)
{
    if (!y)
        return;
    if (c->kernels) {
        c->kernels->geglu(c, y, x, M, D);
        return;
    }
    for (size_t i = 0; i < M; i++, x += 2 * D, y += D)
        for (size_t j = 0; j < D; j++)
            y[j] = x[j] * gelu32(x[D + j]);
}

/* Elements that are worth waking threads for, to move or add. */
enum { MANY = 1 << 16 };
#ifdef _OPENMP
#define OMP(text) _Pragma(#text)
#else
#define OMP(text)
#endif

void nn_add(nn *c, float *y, const float *a, const float *b, size_t n)
{
    if (!y)
        return;
    (void)c;
    OMP(omp parallel for num_threads(c->threads) if (n > MANY))
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

void nn_add_rows(nn *c, float *y, const float *x, const float *t, size_t B, size_t P, size_t C)
{
    if (!y)
        return;
    (void)c;
    OMP(omp parallel for num_threads(c->threads) if (B * P * C > MANY))
    for (size_t i = 0; i < B * P; i++)
        for (size_t j = 0; j < C; j++)
            y[i * C + j] = x[i * C + j] + t[i / P * C + j];
}

void nn_concat(nn *c, float *y, const float *a, size_t Ca, const float *b, size_t Cb, size_t M)
{
    if (!y)
        return;
    (void)c;
    OMP(omp parallel for num_threads(c->threads) if (M * (Ca + Cb) > MANY))
    for (size_t i = 0; i < M; i++) {
        memcpy(y + i * (Ca + Cb), a + i * Ca, Ca * sizeof *y);
        memcpy(y + i * (Ca + Cb) + Ca, b + i * Cb, Cb * sizeof *y);
    }
}

void nn_upsample2x(nn *c, float *y, const float *x, size_t B, size_t H, size_t W, size_t C)
{
    if (!y)
        return;
    (void)c;
    OMP(omp parallel for num_threads(c->threads) if (B * H * W * C * 4 > MANY))
    for (size_t r = 0; r < B * H * 2; r++) /* B and H together: row r of y is row r/2 of x */
        for (size_t j = 0; j < W * 2; j++)
            memcpy(y + (r * W * 2 + j) * C, x + (r / 2 * W + j / 2) * C, C * sizeof *y);
}

void nn_from_nchw(float *y, const float *x, size_t B, size_t C, size_t P)
{
    if (!y)
        return;
    for (size_t b = 0; b < B; b++, x += C * P, y += C * P)
        for (size_t p = 0; p < P; p++)
            for (size_t i = 0; i < C; i++)
                y[p * C + i] = x[i * P + p];
}

void nn_to_nchw(float *y, const float *x, size_t B, size_t C, size_t P) { nn_from_nchw(y, x, B, P, C); }

size_t nn_first_bad(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((f32_bits(x[i]) & 0x7f800000u) == 0x7f800000u)
            return i;
    return n;
}

void nn_timestep_embedding(float *y, float t, size_t dim, bool flip_sin_to_cos, float shift)
{
    if (!y)
        return;
    const size_t half = dim / 2;
    float *sines = flip_sin_to_cos ? y + half : y, *cosines = flip_sin_to_cos ? y : y + half;

    for (size_t i = 0; i < half; i++) {
        const float exponent = (-0x1.26bb1cp+3f * (float)i) / ((float)half - shift); /* -ln 10000 */
        const float angle = t * nn_expf_cr(exponent);
        sines[i] = (float)nn_sin((double)angle);
        cosines[i] = (float)nn_cos((double)angle);
    }
}

unsigned char nn_pixel(float x)
{
    const float v = fma32(x, 0.5f, 0.5f), low = v > 0.0f ? v : 0.0f, u = low < 1.0f ? low : 1.0f;
    return (unsigned char)round_small(u * 255.0f);
}

/* ---- order ---- */

/* Whether candidate a comes before b: the larger value, then the lower index. */
static bool before(float va, uint32_t ia, float vb, uint32_t ib) { return va > vb || (va == vb && ia < ib); }

/* A heap whose root comes last by `before`; [n] entries, of which entry at may be out of place. */
static void sift(uint32_t *idx, float *val, size_t n, size_t at)
{
    const uint32_t i = idx[at];
    const float    v = val[at];

    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(val[child], idx[child], val[child + 1], idx[child + 1]))
            child++;
        if (!before(v, i, val[child], idx[child]))
            break;
        idx[at] = idx[child];
        val[at] = val[child];
    }
    idx[at] = i;
    val[at] = v;
}

/* The same for indices alone, the root the largest; val follows. */
static void sift_index(uint32_t *idx, float *val, size_t n, size_t at)
{
    const uint32_t i = idx[at];
    const float    v = val[at];

    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && idx[child] < idx[child + 1])
            child++;
        if (i >= idx[child])
            break;
        idx[at] = idx[child];
        val[at] = val[child];
    }
    idx[at] = i;
    val[at] = v;
}

static void swap_entries(uint32_t *idx, float *val, size_t a, size_t b)
{
    const uint32_t i = idx[a];
    const float    v = val[a];
    idx[a] = idx[b];
    val[a] = val[b];
    idx[b] = i;
    val[b] = v;
}

/* The k best so far lie in a heap, the worst at its root. A later equal value never enters: its index is higher. */
size_t nn_topk(uint32_t *idx, float *val, const float *z, size_t n, size_t k)
{
    k = k < n ? k : n;
    if (k == 0)
        return 0;
    for (size_t i = 0; i < k; i++) {
        idx[i] = (uint32_t)i;
        val[i] = z[i];
    }
    for (size_t i = k / 2; i-- > 0;)
        sift(idx, val, k, i);
    for (size_t i = k; i < n; i++)
        if (z[i] > val[0]) {
            idx[0] = (uint32_t)i;
            val[0] = z[i];
            sift(idx, val, k, 0);
        }
    for (size_t i = k / 2; i-- > 0;)
        sift_index(idx, val, k, i);
    for (size_t end = k; end-- > 1;) {
        swap_entries(idx, val, 0, end);
        sift_index(idx, val, end, 0);
    }
    return k;
}

/* Puts the value of rank r where it would lie sorted, nothing larger before it, nothing smaller behind (Hoare's FIND).
 * The pivot is the middle of three, so that sorted and constant input cost no more than random input. */
static void select_rank(float *x, size_t n, size_t r)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        const float a = x[low], b = x[low + (high - low) / 2], d = x[high];
        const float pivot = a < b ? (b < d ? b : a < d ? d : a) : (a < d ? a : b < d ? d : b);
        size_t i = low, j = high;
        for (;;) {
            while (x[i] < pivot)
                i++;
            while (x[j] > pivot)
                j--;
            if (i >= j)
                break;
            const float t = x[i];
            x[i++] = x[j];
            x[j--] = t;
        }
        /* x[low..j] <= pivot <= x[i..high], and j + 1 >= i >= j */
        if (r <= j && j < high)
            high = j;
        else if (r < i)
            return;
        else
            low = i > low ? i : low + 1;
    }
}

double nn_quantile(const float *x, size_t n, double q, float *scratch)
{
    const double r = q * (double)(n - 1);
    const size_t at = (size_t)r < n - 1 ? (size_t)r : n - 1;

    for (size_t i = 0; i < n; i++)
        scratch[i] = x[i] + 0.0f; /* one zero only, so that equal values are equal bits */
    select_rank(scratch, n, at);
    const double low = (double)scratch[at];
    if (at == n - 1)
        return low;
    float next = scratch[at + 1];
    for (size_t i = at + 2; i < n; i++)
        next = scratch[i] < next ? scratch[i] : next;
    return low + (r - (double)at) * ((double)next - low);
}

/* ---- training ---- */

void nn_sparse_sum(const nn *c, float *y, const float *x, size_t ld, const uint32_t *idx, const float *val, size_t count, size_t n)
{
    if (c->kernels) {
        c->kernels->sparse_sum(y, x, ld, idx, val, count, n);
        return;
    }
    const size_t nb = count / 128 + (count % 128 != 0);
    for (size_t j = 0; j < n; j++) { /* nn_dot, its second row gathered */
        float hi = 0.0f, lo = 0.0f;
        for (size_t block = 0; block < nb; block++) {
            const size_t end = block + 1 < nb ? 128 * (block + 1) : count;
            float s = 0.0f;
            for (size_t k = 128 * block; k < end; k++)
                s = fma32(val ? val[k] : 1.0f, x[(idx ? idx[k] : k) * ld + j], s);
            lo = block % 16 ? lo + s : s;
            if (block % 16 == 15 && block + 1 < nb)
                hi = block < 16 ? lo : hi + lo;
        }
        y[j] = nb > 16 ? hi + lo : lo;
    }
}

/* Element j goes to chain j % 16; then the tree of tree16, in float. */
static float dot16(const float *a, const float *b, size_t n)
{
    float lane[16] = { 0 };
    for (size_t j = 0; j < n; j++)
        lane[j % 16] = fma32(a[j], b[j], lane[j % 16]);
    for (size_t half = 8; half; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

void nn_sparse_dot(const nn *c, float *out, const float *a, const float *x, size_t ld, const uint32_t *idx, size_t count, size_t n)
{
    if (c->kernels) {
        c->kernels->sparse_dot(out, a, x, ld, idx, count, n);
        return;
    }
    for (size_t k = 0; k < count; k++)
        out[k] = dot16(a, x + idx[k] * ld, n);
}

double nn_sum_squares(const nn *c, const float *x, const double *mean, size_t n)
{
    if (c->kernels)
        return c->kernels->sum_squares(x, mean, n);
    double lane[16] = { 0 };
    for (size_t j = 0; j < n; j++) {
        const double d = (double)x[j] - (mean ? mean[j] : 0.0);
        lane[j % 16] += d * d;
    }
    return tree16(lane);
}

void nn_unit_row(const nn *c, float *w, size_t n)
{
    if (c->kernels) {
        c->kernels->unit_row(w, n);
        return;
    }
    const float norm = (float)sqrt(nn_sum_squares(c, w, NULL, n)) + FLT_EPSILON;
    for (size_t j = 0; j < n; j++)
        w[j] = w[j] / norm;
}

void nn_project(const nn *c, float *g, const float *w, float scale, size_t n)
{
    if (c->kernels) {
        c->kernels->project(g, w, scale, n);
        return;
    }
    for (size_t j = 0; j < n; j++)
        g[j] = scale * g[j];
    const float along = -dot16(g, w, n);
    for (size_t j = 0; j < n; j++)
        g[j] = fma32(along, w[j], g[j]);
}

void nn_adam(const nn *c, float *p, float *m, float *v, const float *g, float scale, const adam *a, size_t n)
{
    if (c->kernels) {
        c->kernels->adam(p, m, v, g, scale, a, n);
        return;
    }
    for (size_t j = 0; j < n; j++)
        adam32(&p[j], &m[j], &v[j], scale * g[j], a->rate1, a->beta2, a->rate2, a->step, a->root, a->eps);
}

size_t nn_at_least(const nn *c, uint32_t *idx, float *val, const float *z, size_t n, float least, uint32_t first)
{
    if (c->kernels)
        return c->kernels->at_least(idx, val, z, n, least, first);
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (z[i] >= least) {
            idx[count] = first + (uint32_t)i;
            val[count++] = z[i];
        }
    return count;
}

size_t nn_count_at_least(const nn *c, const float *z, size_t n, float least)
{
    if (c->kernels)
        return c->kernels->count_at_least(z, n, least);
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += z[i] >= least;
    return count;
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

/* ---- speed ---- */

/* Processor seconds: other programs do not count. */
static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

double nn_bench_peak(const nn *c)
{
    float  sink[64] = { 0 };
    double best = 0.0;

    if (!c->kernels)
        return 0.0;
    for (int i = 0; i < 64; i++)
        sink[i] = 1e-9f * (float)i;
    for (size_t n = 1000, runs = 0; runs < 20;) {
        const double from = seconds(), work = c->kernels->peak(n, sink), took = seconds() - from;
        if (took < 0.005) { /* too short to measure */
            n *= 2;
            continue;
        }
        best = 2e-9 * work / took > best ? 2e-9 * work / took : best;
        runs++;
    }
    return best;
}

double nn_bench_tile(nn *c)
{
    const size_t mark = arena_mark(c->work), n = 2048 * 32;
    float *a = arena_floats(c->work, n), *b = arena_floats(c->work, n), *sink = arena_floats(c->work, 12 * 32);
    double best = 0.0;

    if (c->kernels && a && b && sink) {
        for (size_t i = 0; i < n; i++)
            a[i] = b[i] = rng_symmetric(0, 0, i, 1.0f);
        for (size_t rounds = 1, runs = 0; runs < 20;) {
            const double from = seconds(), work = c->kernels->tile(rounds, a, b, sink), took = seconds() - from;
            if (took < 0.005) {
                rounds *= 2;
                continue;
            }
            best = 2e-9 * work / took > best ? 2e-9 * work / took : best;
            runs++;
        }
    }
    arena_release(c->work, mark);
    return best;
}

double nn_bench_gemm(nn *c, size_t M, size_t K, size_t N)
{
    const size_t mark = arena_mark(c->work);
    float *y = arena_bytes(c->work, M, N * sizeof *y), *x = arena_bytes(c->work, M, K * sizeof *x);
    unsigned char *W = arena_bytes(c->work, N, K * 2);
    double best = 0.0;

    if (c->kernels && y && x && W) {
        nn one = *c;
        one.threads = 1;
        for (size_t i = 0; i < M * K; i++)
            x[i] = rng_symmetric(0, 0, i, 1.0f);
        for (size_t i = 0; i < N * K * 2; i++)
            W[i] = (unsigned char)(i % 2 ? 0x2c + i % 4 : i); /* halves of about 0.1 */
        for (int run = 0; run < 5; run++) {
            const double from = seconds();
            nn_linear(&one, y, x, (weight){ .data = W, .type = DT_F16 }, NULL, M, K, N);
            const double took = seconds() - from;
            if (took > 0.0 && 2e-9 * (double)M * (double)K * (double)N / took > best)
                best = 2e-9 * (double)M * (double)K * (double)N / took;
        }
    }
    arena_release(c->work, mark);
    return best;
}
