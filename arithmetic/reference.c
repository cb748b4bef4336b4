/* reference.c: every operation as the shortest loop that has the right bits: the definition in C.
 *
 *   docs/contract.md --these loops--> nn_reference, a set of kernels; the others equal it byte for byte
 *
 * Not here: functions of one number (number.h), tiles and threads (kernels.c), which set is chosen (nn.c).
 * Source: docs/contract.md; nn.h names the PyTorch function of each operation. Letters: operations.h. */
#include "arithmetic/reference.h"
#include "arithmetic/threads.h"

/* ---- weights ---- */

static uint16_t little16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t little32(const unsigned char *p)
{
    return (uint32_t)little16(p) | (uint32_t)little16(p + 2) << 16;
}

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

/* ---- products (contract 3) ---- */

/* Contract 3, word for word: s sums a block of 128, lo sums sixteen blocks, hi sums the finished lo. */
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

static void linear(nn *c, float *y, const float *x, weight W, const float *bias, size_t M, size_t K, size_t N)
{
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

static void conv2d(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s)
{
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

/* One query of one head: q, y [head]; keys k and values v of n rows, D apart; score [n] is scratch. */
static void attend(float *y, const float *q, const float *k, const float *v, size_t n, size_t D, size_t head,
                   float *score)
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

static void attention(nn *c, float *y, const float *q, const float *k, const float *v,
                      size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal)
{
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

/* ---- sums and norms (contract 4) ---- */

/* Sixteen lanes to one: lane l += lane l+8, then l+4, l+2, l+1. */
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

static void layer_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                       size_t M, size_t D, float eps)
{
    (void)c;
    for (size_t i = 0; i < M; i++, x += D, y += D) {
        const double mean = nn_sum16(x, D) / (double)D;
        const double var = nn_sum16_sq(x, D, mean) / (double)D;
        const float  m = (float)mean, r = (float)(1.0 / sqrt(var + (double)eps));
        for (size_t j = 0; j < D; j++)
            y[j] = fma32((x[j] - m) * r, gamma[j], beta[j]);
    }
}

/* Sum of x[p,i] (or of (x[p,i] - mean)^2) over a group of x [P,C]: over pixels, then over channels. */
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

static void group_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                       size_t B, size_t P, size_t C, size_t G, float eps, bool silu)
{
    const size_t width = C / G;

    (void)c;
    if (!y)
        return;
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

static void softmax(nn *c, float *y, const float *x, size_t M, size_t N)
{
    (void)c;
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

static void exponential(nn *c, float *y, const float *x, size_t n)
{
    (void)c;
    for (size_t i = 0; i < n; i++)
        y[i] = exp32(x[i]);
}

static void silu(nn *c, float *y, const float *x, size_t n)
{
    (void)c;
    for (size_t i = 0; i < n; i++)
        y[i] = silu32(x[i]);
}

static void gelu(nn *c, float *y, const float *x, size_t n)
{
    (void)c;
    for (size_t i = 0; i < n; i++)
        y[i] = gelu32(x[i]);
}

static void quick_gelu(nn *c, float *y, const float *x, size_t n)
{
    (void)c;
    for (size_t i = 0; i < n; i++)
        y[i] = quick_gelu32(x[i]);
}

static void geglu(nn *c, float *y, const float *x, size_t M, size_t D)
{
    (void)c;
    for (size_t i = 0; i < M; i++, x += 2 * D, y += D)
        for (size_t j = 0; j < D; j++)
            y[j] = x[j] * gelu32(x[D + j]);
}

/* ---- moving and adding ---- */

/* More elements than this are worth waking threads for. */
enum { MANY = 1 << 16 };

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
    const size_t h = (H + 1) / 2, w = (W + 1) / 2;
    OMP(omp parallel for num_threads(c->threads) if (B * H * W * C > MANY))
    for (size_t r = 0; r < B * H; r++) /* B and H together */
        for (size_t j = 0; j < W; j++)
            memcpy(y + (r * W + j) * C, x + ((r / H * h + r % H / 2) * w + j / 2) * C, C * sizeof *y);
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

/* ---- both ends of the UNet and the VAE ---- */

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

/* EQ 10: 255 clamp(x/2 + 1/2, 0, 1), to the nearest, ties to even. */
unsigned char nn_pixel(float x)
{
    const float v = fma32(x, 0.5f, 0.5f), low = v > 0.0f ? v : 0.0f, u = low < 1.0f ? low : 1.0f;
    return (unsigned char)round_small(u * 255.0f);
}

/* ---- training (contract 6) ---- */

/* nn_dot of val with each column of x, of which only rows idx count. */
static void sparse_sum(float *y, const float *x, size_t ld, const uint32_t *idx, const float *val,
                       size_t count, size_t n)
{
    const size_t nb = count / 128 + (count % 128 != 0);

    for (size_t j = 0; j < n; j++) {
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

/* Element j goes to chain j % 16; then tree16, in float. */
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

static void sparse_dot(float *out, const float *a, const float *x, size_t ld, const uint32_t *idx,
                       size_t count, size_t n)
{
    for (size_t k = 0; k < count; k++)
        out[k] = dot16(a, x + idx[k] * ld, n);
}

static double sum_squares(const float *x, const double *mean, size_t n)
{
    double lane[16] = { 0 };
    for (size_t j = 0; j < n; j++) {
        const double d = (double)x[j] - (mean ? mean[j] : 0.0);
        lane[j % 16] += d * d;
    }
    return tree16(lane);
}

/* EQ 16: w = w / (norm(w) + 2^-23). */
static void unit_row(float *w, size_t n)
{
    const float norm = (float)sqrt(sum_squares(w, NULL, n)) + FLT_EPSILON;
    for (size_t j = 0; j < n; j++)
        w[j] = w[j] / norm;
}

/* EQ 24: g = scale g, less its part along w. */
static void project(float *g, const float *w, float scale, size_t n)
{
    for (size_t j = 0; j < n; j++)
        g[j] = scale * g[j];
    const float along = -dot16(g, w, n);
    for (size_t j = 0; j < n; j++)
        g[j] = fma32(along, w[j], g[j]);
}

/* EQ 25: Adam's step, adam32 of each number. */
static void adam_row(float *p, float *m, float *v, const float *g, float scale, const adam *a, size_t n)
{
    for (size_t j = 0; j < n; j++)
        adam32(&p[j], &m[j], &v[j], scale * g[j], a->rate1, a->beta2, a->rate2, a->step, a->root, a->eps);
}

static size_t at_least(uint32_t *idx, float *val, const float *z, size_t n, float bound, uint32_t first)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (z[i] >= bound) {
            idx[count] = first + (uint32_t)i;
            val[count++] = z[i];
        }
    return count;
}

static size_t count_at_least(const float *z, size_t n, float bound)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += z[i] >= bound;
    return count;
}

/* ---- what has no meaning here ---- */

/* The reference reads weights as they lie in their file. */
static size_t packed_size(size_t N, size_t taps, size_t ci)
{
    (void)N, (void)taps, (void)ci;
    return 0;
}

static void pack(float *dst, weight W, size_t N, size_t taps, size_t ci)
{
    (void)dst, (void)W, (void)N, (void)taps, (void)ci;
}

/* Nobody asks how fast it is. */
static double peak(size_t rounds, float *sink)
{
    (void)rounds, (void)sink;
    return 0.0;
}

static double tile(size_t rounds, const float *a, const float *b, float *sink)
{
    (void)rounds, (void)a, (void)b, (void)sink;
    return 0.0;
}

const nn_kernels nn_reference = {
    "reference", linear, conv2d, attention, layer_norm, group_norm, softmax, exponential, silu, gelu,
    quick_gelu, geglu, packed_size, pack, sparse_sum, sparse_dot, sum_squares, unit_row, project, adam_row,
    at_least, count_at_least, peak, tile
};
