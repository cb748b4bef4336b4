/* backward.c: the derivative of every operation of the networks. Its products are those of arithmetic/nn.h,
 * with an operand turned.
 *
 *   y = x W^T:  dx = dy W,  dW = dy^T x,  dbias = sum over rows of dy
 *
 * Not here: which derivatives are asked for (gradient.c), whole networks (unet_backward.c, clip_backward.c).
 * Source: torch.autograd; contract 6, "Derivatives". Letters: operations.h. */
#include "gradients/backward.h"
#include "arithmetic/threads.h"
#include "files/print.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum {
    TILE = 16,     /* rows and columns turned together; channels summed together */
    MANY = 1 << 14 /* elements that are worth waking threads for */
};

bool is_wanted(const backward *g, const void *field, float **d)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->list[i].field == field) {
            *d = g->list[i].d;
            return true;
        }
    return false;
}

/* ---- turning ---- */

/* A matrix of our own as a weight. */
static weight own(const float *w) { return (weight){ .data = (const unsigned char *)w, .type = DT_OWN }; }

/* y [N,M] = x [M,N] turned. */
static void transpose(nn *c, float *y, const float *x, size_t M, size_t N)
{
    if (!y)
        return;
    (void)c;
    OMP(omp parallel for num_threads(c->threads) if (M * N > MANY))
    for (size_t j0 = 0; j0 < N; j0 += TILE)
        for (size_t i0 = 0; i0 < M; i0 += TILE)
            for (size_t j = j0; j < least(j0 + TILE, N); j++)
                for (size_t i = i0; i < least(i0 + TILE, M); i++)
                    y[j * M + i] = x[i * N + j];
}

/* The weights of a layer for its dx, in memory of `keep`: [ci,co,taps] from W [co,ci,taps], the taps in
 * reverse order. */
static weight turn(nn *c, arena *keep, weight W, size_t co, size_t ci, size_t taps)
{
    float *y = arena_floats(keep, times(times(co, ci), taps));
    const size_t mark = arena_mark(c->work);
    float *wide = arena_floats(c->work, times(times(co, ci), taps));
    OMP(omp parallel for num_threads(c->threads) if (co * ci > MANY))
    for (size_t o = 0; o < (y && wide ? co : 0); o++)
        nn_widen(wide + o * ci * taps, W, o * ci * taps, ci * taps);
    OMP(omp parallel for num_threads(c->threads) if (co * ci > MANY))
    for (size_t i = 0; i < (y && wide ? ci : 0); i++)
        for (size_t o = 0; o < co; o++)
            for (size_t t = 0; t < taps; t++)
                y[(i * co + o) * taps + taps - 1 - t] = wide[(o * ci + i) * taps + t];
    arena_release(c->work, mark);
    return own(y);
}

/* The same, from what earlier passes have turned, if this pass keeps it. */
static weight turned_weight(backward *g, const weight *field, size_t co, size_t ci, size_t taps)
{
    turned_weights *t = g->turned;
    if (!t)
        return turn(g->c, g->c->work, *field, co, ci, taps);
    for (size_t i = 0; i < t->count; i++)
        if (t->at[i].field == field)
            return t->at[i].w;
    weight w = turn(g->c, t->keep, *field, co, ci, taps);
    const size_t n = nn_packed_size(g->c, ci, taps, co);
    float *packed = n ? arena_floats(t->keep, n) : NULL;
    if (packed)
        nn_pack(g->c, packed, w, ci, taps, co);
    w.packed = packed;
    if (t->count == TURNED)
        t->keep->failed = true;
    else {
        t->at[t->count].field = field;
        t->at[t->count++].w = w;
    }
    return w;
}

/* ---- linear ---- */

/* dbias [N] = the sum of dy [M,N] over its rows. */
static void bias_backward(backward *g, const float *const *bias, const float *dy, size_t M, size_t N)
{
    float *d;
    if (is_wanted(g, bias, &d) && d)
        nn_sparse_sum(g->c, d, dy, N, NULL, NULL, M, N);
}

void linear_backward(backward *g, float *dx, const float *dy, const float *x, const linear *l, size_t M)
{
    nn *c = g->c;
    const size_t mark = arena_mark(c->work);
    float *dw;
    nn_linear(c, dx, dy, turned_weight(g, &l->w, l->out, l->in, 1), NULL, M, l->out, l->in);
    arena_release(c->work, mark);
    if (is_wanted(g, &l->w, &dw)) {
        float *rows = arena_floats(c->work, times(M, l->out));
        float *columns = arena_floats(c->work, times(M, l->in));
        transpose(c, rows, dy, M, l->out);
        transpose(c, columns, x, M, l->in);
        nn_linear(c, dw, rows, own(columns), NULL, l->out, M, l->in);
        arena_release(c->work, mark);
    }
    bias_backward(g, &l->bias, dy, M, l->out);
}

/* ---- convolution ---- */

/* y [B,H,W,C]: dy [B,H',W',C] with its pixels `stride` apart, +0 between them. */
static void spread(float *y, const float *dy, const conv_shape *s)
{
    const size_t C = s->co, Ho = conv_out(s, s->H), Wo = conv_out(s, s->W);
    if (!y)
        return;
    memset(y, 0, s->B * s->H * s->W * C * sizeof *y);
    for (size_t b = 0; b < s->B; b++)
        for (size_t i = 0; i < Ho; i++)
            for (size_t j = 0; j < Wo; j++)
                memcpy(y + ((b * s->H + i * s->stride) * s->W + j * s->stride) * C,
                       dy + ((b * Ho + i) * Wo + j) * C, C * sizeof *y);
}

/* y [ci,M]: for each of the M output pixels the input under one tap, +0 outside. */
static void under_tap(float *y, const float *x, const conv_shape *s, size_t ky, size_t kx)
{
    const size_t Ho = conv_out(s, s->H), Wo = conv_out(s, s->W), M = s->B * Ho * Wo;
    for (size_t m = 0; y && m < M; m++) {
        const size_t b = m / (Ho * Wo), oy = m / Wo % Ho, ox = m % Wo;
        const size_t iy = oy * s->stride + ky - s->pad_before, ix = ox * s->stride + kx - s->pad_before;
        const bool   inside = iy < s->H && ix < s->W; /* a negative size_t is beyond both */
        for (size_t i = 0; i < s->ci; i++)
            y[i * M + m] = inside ? x[((b * s->H + iy) * s->W + ix) * s->ci + i] : 0.0f;
    }
}

/* dw [co,ci,k,k], tap by tap: of each, dy^T times the inputs under it. */
static void kernel_backward(nn *c, float *dw, const float *dy, const float *x, const conv_shape *s)
{
    const size_t M = s->B * conv_out(s, s->H) * conv_out(s, s->W), taps = s->k * s->k;
    const size_t mark = arena_mark(c->work);
    float *rows = arena_floats(c->work, times(M, s->co));
    float *columns = arena_floats(c->work, times(M, s->ci));
    float *of_tap = arena_floats(c->work, times(s->co, s->ci));
    transpose(c, rows, dy, M, s->co);
    for (size_t t = 0; t < (dw ? taps : 1); t++) {
        under_tap(columns, x, s, t / s->k, t % s->k);
        nn_linear(c, of_tap, rows, own(columns), NULL, s->co, M, s->ci);
        for (size_t i = 0; dw && i < s->co * s->ci; i++)
            dw[i * taps + t] = of_tap[i];
    }
    arena_release(c->work, mark);
}

void conv_backward(backward *g, float *dx, const float *dy, const float *x, const conv *l,
                   const conv_shape *s)
{
    nn *c = g->c;
    const size_t mark = arena_mark(c->work), pixels = conv_out(s, s->H) * conv_out(s, s->W);
    const conv_shape back = { .B = s->B, .H = s->H, .W = s->W, .ci = s->co, .co = s->ci, .k = s->k,
                              .stride = 1, .pad_before = s->k - 1 - s->pad_before,
                              .pad_after = s->k - 1 - s->pad_before };
    const float *all = dy;
    float *dw;
    if (s->stride > 1) {
        float *wide = arena_floats(c->work, times(s->B * s->H * s->W, s->co));
        spread(wide, dy, s);
        all = wide;
    }
    nn_conv2d(c, dx, all, turned_weight(g, &l->w, s->co, s->ci, s->k * s->k), NULL, &back);
    arena_release(c->work, mark);
    if (is_wanted(g, &l->w, &dw))
        kernel_backward(c, dw, dy, x, s);
    bias_backward(g, &l->bias, dy, s->B * pixels, s->co);
}

void apply_conv_backward(backward *g, float *dx, const float *dy, const float *x, const conv *l, size_t B,
                         size_t H, size_t W)
{
    const conv_shape s = { .B = B, .H = H, .W = W, .ci = l->ci, .co = l->co, .k = l->k, .stride = 1,
                           .pad_before = l->k / 2, .pad_after = l->k / 2 };
    conv_backward(g, dx, dy, x, l, &s);
}

/* ---- norms ---- */

/* dgamma [C], dbeta [C] = the sums over rows of dy unit and of dy; unit [M,C] = (x - mean) r. */
static void affine_backward(backward *g, const norm *l, const float *dy, const float *unit, size_t M)
{
    nn *c = g->c;
    const size_t mark = arena_mark(c->work), n = times(M, l->C);
    float *d;
    if (is_wanted(g, &l->gamma, &d)) {
        float *product = arena_floats(c->work, n);
        for (size_t i = 0; product && i < n; i++)
            product[i] = dy[i] * unit[i];
        if (product && d)
            nn_sparse_sum(c, d, product, l->C, NULL, NULL, M, l->C);
    }
    bias_backward(g, &l->beta, dy, M, l->C);
    arena_release(c->work, mark);
}

/* The sum of a[j] b[j], both widened: contract 4's sum16. */
static double sum16_product(const float *a, const float *b, size_t n)
{
    double lane[16] = { 0 };
    for (size_t j = 0; j < n; j++)
        lane[j % 16] += (double)a[j] * (double)b[j];
    return nn_sum16_d(lane, 16);
}

/* With u = (x - mean) r and a = dy gamma: dx = r ((a - mean of a) - u (mean of a u)). */
void layer_norm_backward(backward *g, float *dx, const float *dy, const float *x, const norm *l, size_t M,
                         float eps)
{
    nn *c = g->c;
    const size_t C = l->C, mark = arena_mark(c->work);
    float *unit = arena_floats(c->work, times(M, C));
    float *rs = arena_floats(c->work, M);
    OMP(omp parallel for num_threads(c->threads) if (M * C > MANY))
    for (size_t i = 0; i < (unit && rs ? M : 0); i++) {
        const double mean = nn_sum16(x + i * C, C) / (double)C;
        const double var = nn_sum16_sq(x + i * C, C, mean) / (double)C;
        rs[i] = (float)(1.0 / sqrt(var + (double)eps));
        for (size_t j = 0; j < C; j++)
            unit[i * C + j] = (x[i * C + j] - (float)mean) * rs[i];
    }
    affine_backward(g, l, dy, unit, M);
    OMP(omp parallel for num_threads(c->threads) if (M * C > MANY))
    for (size_t i = 0; i < (unit && rs ? M : 0); i++) {
        const float *u = unit + i * C;
        float *a = dx + i * C;
        for (size_t j = 0; j < C; j++)
            a[j] = dy[i * C + j] * l->gamma[j];
        const float of_a = (float)(nn_sum16(a, C) / (double)C);
        const float of_au = (float)(sum16_product(a, u, C) / (double)C);
        for (size_t j = 0; j < C; j++)
            a[j] = rs[i] * ((a[j] - of_a) - u[j] * of_au);
    }
    arena_release(c->work, mark);
}

/* What channel_sums adds up of pixel p and channel j. */
enum { VALUES, SQUARES, PRODUCTS };

/* sum[j] = the sum over pixels, in double, of a[p,j], of (a[p,j] - mean[j])^2, or of a[p,j] b[p,j]. */
static void channel_sums(nn *c, double *sum, int what, const float *a, const double *mean, const float *b,
                         size_t P, size_t C)
{
    (void)c;
    OMP(omp parallel for num_threads(c->threads) if (P * C > MANY))
    for (size_t j0 = 0; j0 < C; j0 += TILE) {
        const size_t n = least(TILE, C - j0);
        double acc[TILE] = { 0 };
        for (size_t p = 0; p < P; p++) {
            const float *v = a + p * C + j0;
            for (size_t j = 0; j < n && what == VALUES; j++)
                acc[j] += (double)v[j];
            for (size_t j = 0; j < n && what == SQUARES; j++)
                acc[j] += ((double)v[j] - mean[j0 + j]) * ((double)v[j] - mean[j0 + j]);
            for (size_t j = 0; j < n && what == PRODUCTS; j++)
                acc[j] += (double)v[j] * (double)b[p * C + j0 + j];
        }
        memcpy(sum + j0, acc, n * sizeof *sum);
    }
}

/* Each channel's sum becomes its group's mean, of P pixels and C/G channels. */
static void group_means(double *sum, size_t P, size_t C, size_t G)
{
    const size_t width = C / G;
    for (size_t from = 0; from < C; from += width) {
        double total = 0.0;
        for (size_t j = from; j < from + width; j++)
            total += sum[j];
        for (size_t j = from; j < from + width; j++)
            sum[j] = total / (double)(P * width);
    }
}

/* u [P,C] = (x - mean) r, and r [C] of each channel's group. scratch [C]. */
static void unit_groups(nn *c, float *u, float *r, double *scratch, double *mean, const float *x, size_t P,
                        size_t C, size_t G, float eps)
{
    channel_sums(c, mean, VALUES, x, NULL, NULL, P, C);
    group_means(mean, P, C, G);
    channel_sums(c, scratch, SQUARES, x, mean, NULL, P, C);
    group_means(scratch, P, C, G);
    for (size_t j = 0; j < C; j++)
        r[j] = (float)(1.0 / sqrt(scratch[j] + (double)eps));
    OMP(omp parallel for num_threads(c->threads) if (P * C > MANY))
    for (size_t p = 0; p < P; p++)
        for (size_t j = 0; j < C; j++)
            u[p * C + j] = (x[p * C + j] - (float)mean[j]) * r[j];
}

/* As layer_norm_backward, over groups: dx [P,C] of one sample, which comes in as a = dy gamma. */
static void group_backward(nn *c, float *dx, const float *u, const float *r, double *of_a, double *of_au,
                           size_t P, size_t C, size_t G)
{
    channel_sums(c, of_a, VALUES, dx, NULL, NULL, P, C);
    channel_sums(c, of_au, PRODUCTS, dx, NULL, u, P, C);
    group_means(of_a, P, C, G);
    group_means(of_au, P, C, G);
    OMP(omp parallel for num_threads(c->threads) if (P * C > MANY))
    for (size_t p = 0; p < P; p++)
        for (size_t j = 0; j < C; j++) {
            float *a = &dx[p * C + j];
            *a = r[j] * ((*a - (float)of_a[j]) - u[p * C + j] * (float)of_au[j]);
        }
}

void group_norm_backward(backward *g, float *dx, const float *dy, const float *x, const norm *l, size_t B,
                         size_t P, size_t G, float eps, bool silu)
{
    nn *c = g->c;
    const size_t C = l->C, each = times(P, C), n = times(B, each), mark = arena_mark(c->work);
    float *unit = arena_floats(c->work, n);
    float *r = arena_bytes(c->work, B, C * sizeof *r);
    double *sums = arena_bytes(c->work, 2 * C, sizeof *sums);
    if (silu) { /* dy is by silu's output: first that by its input */
        float *y = arena_floats(c->work, n), *inner = arena_floats(c->work, n);
        nn_group_norm(c, y, x, l->gamma, l->beta, B, P, C, G, eps, false);
        silu_backward(c, inner, dy, y, n);
        dy = inner;
    }
    for (size_t b = 0; sums && b < B; b++)
        unit_groups(c, unit + b * each, r + b * C, sums, sums + C, x + b * each, P, C, G, eps);
    affine_backward(g, l, dy, unit, B * P);
    OMP(omp parallel for num_threads(c->threads) if (n > MANY))
    for (size_t p = 0; p < (sums ? B * P : 0); p++)
        for (size_t j = 0; j < C; j++)
            dx[p * C + j] = dy[p * C + j] * l->gamma[j];
    for (size_t b = 0; sums && b < B; b++)
        group_backward(c, dx + b * each, unit + b * each, r + b * C, sums, sums + C, P, C, G);
    arena_release(c->work, mark);
}

/* ---- the ResNet block ---- */

void resnet_backward(backward *g, const resnet *r, float *dx, float *dtemb, const float *dy, const float *x,
                     const float *silu_temb, size_t B, size_t H, size_t W)
{
    nn *c = g->c;
    const size_t P = H * W, ci = r->conv1.ci, co = r->conv1.co, M = times(B, P), mark = arena_mark(c->work);
    float *h1 = arena_floats(c->work, times(M, ci)); /* silu(norm1(x)) */
    float *m = arena_floats(c->work, times(M, co));  /* conv1(h1) + time_emb_proj(silu_temb) */
    float *h2 = arena_floats(c->work, times(M, co)); /* silu(norm2(m)) */
    float *d = arena_floats(c->work, times(M, most(ci, co)));

    nn_group_norm(c, h1, x, r->norm1.gamma, r->norm1.beta, B, P, ci, r->groups, r->eps, true);
    apply_conv(c, m, h1, &r->conv1, B, H, W);
    if (r->time_emb_proj.out) {
        float *t = arena_floats(c->work, co);
        apply_linear(c, t, silu_temb, &r->time_emb_proj, 1);
        nn_add_rows(c, m, m, t, 1, M, co);
    }
    nn_group_norm(c, h2, m, r->norm2.gamma, r->norm2.beta, B, P, co, r->groups, r->eps, true);

    apply_conv_backward(g, d, dy, h2, &r->conv2, B, H, W);
    group_norm_backward(g, h2, d, m, &r->norm2, B, P, r->groups, r->eps, true); /* h2 is done with */
    if (r->time_emb_proj.out) {
        float *dt = arena_floats(c->work, co);
        if (dt)
            nn_sparse_sum(c, dt, h2, co, NULL, NULL, M, co);
        linear_backward(g, dtemb, dt, silu_temb, &r->time_emb_proj, 1);
    }
    apply_conv_backward(g, d, h2, h1, &r->conv1, B, H, W);
    group_norm_backward(g, d, d, x, &r->norm1, B, P, r->groups, r->eps, true);
    if (r->conv_shortcut.k) {
        apply_conv_backward(g, dx, dy, x, &r->conv_shortcut, B, H, W);
        dy = dx;
    }
    nn_add(c, dx, dy, d, times(M, ci));
    arena_release(c->work, mark);
}

/* ---- attention ---- */

typedef struct attention_job {
    float *dq, *dk, *dv;
    const float *dy, *y, *q, *k, *v;
    size_t Nq, Nk, heads, head;
    bool causal;
} attention_job;

/* One head of N rows, D apart: to [N,head], and back with a factor. */
static void gather(float *to, const float *from, size_t N, size_t D, size_t head)
{
    for (size_t i = 0; to && from && i < N; i++)
        memcpy(to + i * head, from + i * D, head * sizeof *to);
}

static void scatter(float *to, const float *from, float factor, size_t N, size_t D, size_t head)
{
    for (size_t i = 0; from && i < N; i++)
        for (size_t j = 0; j < head; j++)
            to[i * D + j] = factor * from[i * head + j];
}

/* p [Nq,Nk], which comes in as q k^T: the softmax of each row's scores; a masked key's is +0. */
static void probabilities(nn *c, float *p, size_t Nq, size_t Nk, float scale, bool causal)
{
    for (size_t i = 0; p && i < Nq; i++, p += Nk) {
        const size_t seen = causal ? i + 1 : Nk;
        for (size_t j = 0; j < seen; j++)
            p[j] = p[j] * scale;
        nn_softmax(c, p, p, 1, seen);
        for (size_t j = seen; j < Nk; j++)
            p[j] = 0.0f;
    }
}

/* With p = softmax(scale q k^T) and y = p v: dv = p^T dy; dp = dy v^T; ds = p (dp - dy y);
 * dq = scale ds k; dk = scale ds^T q. */
static void head_backward(nn *c, const attention_job *a, size_t b, size_t h)
{
    const size_t Nq = a->Nq, Nk = a->Nk, head = a->head, D = a->heads * head, mark = arena_mark(c->work);
    const size_t at_q = b * Nq * D + h * head, at_k = b * Nk * D + h * head, longer = most(Nq, Nk);
    const float scale = (float)(1.0 / sqrt((double)head));
    float *q = arena_floats(c->work, Nq * head), *k = arena_floats(c->work, Nk * head);
    float *v = arena_floats(c->work, Nk * head), *dy = arena_floats(c->work, Nq * head);
    float *turned = arena_floats(c->work, longer * head), *d = arena_floats(c->work, longer * head);
    float *p = arena_floats(c->work, times(Nq, Nk)), *ds = arena_floats(c->work, times(Nq, Nk));
    float *columns = arena_floats(c->work, times(Nq, Nk));
    const bool planned = !columns;

    gather(q, planned ? NULL : a->q + at_q, Nq, D, head);
    gather(dy, planned ? NULL : a->dy + at_q, Nq, D, head);
    gather(k, planned ? NULL : a->k + at_k, Nk, D, head);
    gather(v, planned ? NULL : a->v + at_k, Nk, D, head);
    nn_linear(c, p, q, own(k), NULL, Nq, head, Nk);
    probabilities(c, p, Nq, Nk, scale, a->causal);
    nn_linear(c, ds, dy, own(v), NULL, Nq, head, Nk);
    for (size_t i = 0; !planned && i < Nq; i++) {
        const float along = nn_dot(dy + i * head, 1, a->y + at_q + i * D, 1, head);
        for (size_t j = 0; j < Nk; j++)
            ds[i * Nk + j] = p[i * Nk + j] * (ds[i * Nk + j] - along);
    }
    transpose(c, turned, k, Nk, head);
    nn_linear(c, d, ds, own(turned), NULL, Nq, Nk, head);
    scatter(planned ? NULL : a->dq + at_q, d, scale, Nq, D, head);
    transpose(c, columns, ds, Nq, Nk);
    transpose(c, turned, q, Nq, head);
    nn_linear(c, d, columns, own(turned), NULL, Nk, Nq, head);
    scatter(planned ? NULL : a->dk + at_k, d, scale, Nk, D, head);
    transpose(c, columns, p, Nq, Nk);
    transpose(c, turned, dy, Nq, head);
    nn_linear(c, d, columns, own(turned), NULL, Nk, Nq, head);
    scatter(planned ? NULL : a->dv + at_k, d, 1.0f, Nk, D, head);
    arena_release(c->work, mark);
}

/* Heads first .. first + count - 1 of all samples' heads. */
static void heads_backward(nn *c, void *user, size_t first, size_t count)
{
    const attention_job *a = user;
    for (size_t i = first; i < (c->work->base ? first + count : first + 1); i++) /* one plans for all */
        head_backward(c, a, i / a->heads, i % a->heads);
}

void attention_backward(nn *c, float *dq, float *dk, float *dv, const float *dy, const float *y,
                        const float *q, const float *k, const float *v, size_t B, size_t Nq, size_t Nk,
                        size_t heads, size_t head, bool causal)
{
    attention_job job = { dq, dk, dv, dy, y, q, k, v, Nq, Nk, heads, head, causal };
    by_rows(c, true, NULL, B * heads, heads_backward, &job);
}

/* ---- element by element ---- */

/* x f(x) / x, for a function of the form x f(x): f(x), which is 1/2 at 0. */
static float share(float y, float x) { return x == 0.0f ? 0.5f : y / x; }

/* Of f(x) = y = x s with s = sigmoid(steep x): s + (steep y) (1 - s). */
static void sigmoid_backward(nn *c, void (*f)(nn *, float *, const float *, size_t), float steep, float *dx,
                             const float *dy, const float *x, size_t n)
{
    const size_t mark = arena_mark(c->work);
    float *y = arena_floats(c->work, n);
    f(c, y, x, n);
    OMP(omp parallel for num_threads(c->threads) if (n > MANY))
    for (size_t i = 0; i < (y ? n : 0); i++) {
        const float s = share(y[i], x[i]);
        dx[i] = dy[i] * (s + (steep * y[i]) * (1.0f - s));
    }
    arena_release(c->work, mark);
}

void silu_backward(nn *c, float *dx, const float *dy, const float *x, size_t n)
{
    sigmoid_backward(c, nn_silu, 1.0f, dx, dy, x, n);
}

void quick_gelu_backward(nn *c, float *dx, const float *dy, const float *x, size_t n)
{
    sigmoid_backward(c, nn_quick_gelu, 1.702f, dx, dy, x, n);
}

/* slope [n] of gelu(x) = x P(x), P the normal distribution: P + x exp(-x^2 / 2) / sqrt(2 pi). y: gelu(x). */
static void gelu_slope(nn *c, float *slope, float *y, const float *x, size_t n)
{
    OMP(omp parallel for num_threads(c->threads) if (n > MANY))
    for (size_t i = 0; i < (slope ? n : 0); i++)
        y[i] = (-0.5f * x[i]) * x[i];
    nn_exp(c, slope, y, n);
    nn_gelu(c, y, x, n);
    OMP(omp parallel for num_threads(c->threads) if (n > MANY))
    for (size_t i = 0; i < (slope ? n : 0); i++)
        slope[i] = share(y[i], x[i]) + x[i] * (slope[i] * 0x1.988454p-2f);
}

void gelu_backward(nn *c, float *dx, const float *dy, const float *x, size_t n)
{
    const size_t mark = arena_mark(c->work);
    float *slope = arena_floats(c->work, n), *y = arena_floats(c->work, n);
    gelu_slope(c, slope, y, x, n);
    OMP(omp parallel for num_threads(c->threads) if (n > MANY))
    for (size_t i = 0; i < (y ? n : 0); i++)
        dx[i] = dy[i] * slope[i];
    arena_release(c->work, mark);
}

/* x = [value, gate]: dvalue = dy gelu(gate), dgate = (dy value) gelu'(gate). */
void geglu_backward(nn *c, float *dx, const float *dy, const float *x, size_t M, size_t D)
{
    const size_t mark = arena_mark(c->work), n = times(M, D);
    float *gate = arena_floats(c->work, n), *slope = arena_floats(c->work, n), *y = arena_floats(c->work, n);
    for (size_t i = 0; y && i < M; i++)
        memcpy(gate + i * D, x + (2 * i + 1) * D, D * sizeof *gate);
    gelu_slope(c, slope, y, gate, n);
    OMP(omp parallel for num_threads(c->threads) if (n > MANY))
    for (size_t i = 0; i < (y ? M : 0); i++)
        for (size_t j = 0; j < D; j++) {
            const size_t at = i * D + j, value = 2 * i * D + j;
            dx[value + D] = (dy[at] * x[value]) * slope[at];
            dx[value] = dy[at] * y[at];
        }
    arena_release(c->work, mark);
}

/* ---- moving ---- */

void concat_backward(float *da, size_t Ca, float *db, size_t Cb, const float *dy, size_t M)
{
    for (size_t i = 0; dy && i < M; i++) {
        memcpy(da + i * Ca, dy + i * (Ca + Cb), Ca * sizeof *da);
        memcpy(db + i * Cb, dy + i * (Ca + Cb) + Ca, Cb * sizeof *db);
    }
}

/* The sum of the up to four pixels that one became, in the order of rows. */
void upsample2x_backward(nn *c, float *dx, const float *dy, size_t B, size_t H, size_t W, size_t C)
{
    const size_t h = (H + 1) / 2, w = (W + 1) / 2;
    (void)c;
    OMP(omp parallel for num_threads(c->threads) if (B * H * W * C > MANY))
    for (size_t r = 0; r < (dx ? B * h : 0); r++)
        for (size_t j = 0; j < w; j++) {
            float *to = dx + (r * w + j) * C;
            for (size_t k = 0; k < 4; k++) {
                const size_t i = r % h * 2 + k / 2, jj = 2 * j + k % 2;
                const float *from = dy + ((r / h * H + i) * W + jj) * C;
                for (size_t q = 0; i < H && jj < W && q < C; q++)
                    to[q] = k ? to[q] + from[q] : from[q];
            }
        }
}

/* ---- the loss ---- */

/* EQ 40: the loss, and de = 2/n (e - target). */
double denoising_loss(float *de, const float *e, const float *target, size_t n)
{
    const float share = (float)(2.0 / (double)n);
    if (!de)
        return 0;
    for (size_t i = 0; i < n; i++)
        de[i] = e[i] - target[i];
    const double loss = nn_sum16_sq(de, n, 0.0) / (double)n;
    for (size_t i = 0; i < n; i++)
        de[i] = share * de[i];
    return loss;
}

/* ---- what a forward pass leaves ---- */

int tape_record(void *user, nn *c, const module_output *o)
{
    tape *t = user;
    const size_t n = o->B * o->H * o->W * o->C;
    float *y = arena_floats(t->keep, n);
    (void)c;
    if (t->count == TAPE_OUTPUTS) {
        t->keep->failed = true;
        return 0;
    }
    print_into(t->output[t->count].name, sizeof t->output[0].name, "%s", o->name);
    if (y && o->x)
        memcpy(y, o->x, n * sizeof *y);
    t->output[t->count++].x = y;
    return 0;
}

float *tape_get(const tape *t, const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    print_values(name, sizeof name, format, args);
    va_end(args);
    for (size_t i = 0; i < t->count; i++)
        if (!strcmp(t->output[i].name, name))
            return t->output[i].x;
    return NULL;
}
