/* reference.c: every operation as the shortest loop that has the right bits. Source: docs/contract.md. */
#include "arithmetic/nn.h"

/* ---- weights ---- */

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
