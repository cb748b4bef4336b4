/* forward.c: layers at work, and the ResNet block that UNet and VAE share.
 * Not here: the tensors behind a layer (bind.c), the arithmetic (arithmetic/nn.h). */
#include "layers/forward.h"
#include "arithmetic/threads.h"
#include "files/print.h"

#include <stdarg.h>

void apply_linear(nn *c, float *y, const float *x, const linear *l, size_t M)
{
    nn_linear(c, y, x, l->w, l->bias, M, l->in, l->out);
}

void apply_conv(nn *c, float *y, const float *x, const conv *l, size_t B, size_t H, size_t W)
{
    const conv_shape s = { .B = B, .H = H, .W = W, .ci = l->ci, .co = l->co, .k = l->k, .stride = 1,
                           .pad_before = l->k / 2, .pad_after = l->k / 2 };
    nn_conv2d(c, y, x, l->w, l->bias, &s);
}

void bind_resnet(binder *b, resnet *r, size_t ci, size_t co, size_t time_width, size_t groups, float eps)
{
    *r = (resnet){ .groups = groups, .eps = eps };
    bind_norm(b, "norm1", &r->norm1, ci);
    bind_conv(b, "conv1", &r->conv1, ci, co, 3);
    if (time_width)
        bind_linear(b, "time_emb_proj", &r->time_emb_proj, time_width, co);
    bind_norm(b, "norm2", &r->norm2, co);
    bind_conv(b, "conv2", &r->conv2, co, co, 3);
    if (ci != co)
        bind_conv(b, "conv_shortcut", &r->conv_shortcut, ci, co, 1);
}

/* y = shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time_emb_proj(silu(temb)))))
 *                                                                                 (ResnetBlock2D.forward) */
void resnet_forward(nn *c, const resnet *r, float *y, const float *x, const float *silu_temb,
                    size_t B, size_t H, size_t W)
{
    const size_t P = H * W, ci = r->conv1.ci, co = r->conv1.co, mark = arena_mark(c->work);
    float *h = arena_floats(c->work, B * P * (ci > co ? ci : co));
    float *g = arena_floats(c->work, B * P * co);

    nn_group_norm(c, h, x, r->norm1.gamma, r->norm1.beta, B, P, ci, r->groups, r->eps, true);
    apply_conv(c, g, h, &r->conv1, B, H, W);
    if (r->time_emb_proj.out) {
        float *t = arena_floats(c->work, co);
        apply_linear(c, t, silu_temb, &r->time_emb_proj, 1);
        nn_add_rows(c, g, g, t, 1, B * P, co);
    }
    nn_group_norm(c, h, g, r->norm2.gamma, r->norm2.beta, B, P, co, r->groups, r->eps, true);
    apply_conv(c, g, h, &r->conv2, B, H, W);
    if (r->conv_shortcut.k) {
        apply_conv(c, h, x, &r->conv_shortcut, B, H, W);
        x = h;
    }
    nn_add(c, y, x, g, B * P * co);
    arena_release(c->work, mark);
}

/* ---- taps ---- */

void report(listener *l, float *x, size_t B, size_t H, size_t W, size_t C, int kind, const char *format, ...)
{
    char name[128];
    const module_output o = { name, x, l->first, B, H, W, C, kind };
    va_list args;
    if (!l->tap || l->stop)
        return;
    va_start(args, format);
    print_values(name, sizeof name, format, args);
    va_end(args);
    l->stop = l->tap->fn(l->tap->user, l->c, &o);
}

/* ---- rows by thread ---- */

size_t rows_apart(const nn *c, bool packed, const tap *watch)
{
    return packed && !(watch && watch->whole) ? (size_t)c->threads : 1;
}

/* Part i's first row; that of part `parts` is their end. */
static size_t part_begins(size_t i, size_t parts, size_t rows) { return i * rows / parts; }

/* Plans as much memory for every part as the largest needs. */
static void plan_parts(nn *c, size_t parts, size_t rows, rows_pass *pass, void *job)
{
    const size_t mark = arena_mark(c->work);
    arena own = { 0 };
    nn    part = { c->kernels, 1, &own };
    pass(&part, job, 0, (rows + parts - 1) / parts);
    c->work->failed |= own.failed;
    arena_bytes(c->work, parts, own.peak); /* whole cache lines: see memory.h */
    arena_release(c->work, mark);
}

void by_rows(nn *c, bool packed, const tap *watch, size_t rows, rows_pass *pass, void *job)
{
    const size_t apart = rows_apart(c, packed, watch), parts = rows >= apart ? apart : 1;
    const arena *all = c->work;
    if (parts == 1) {
        pass(c, job, 0, rows);
        return;
    }
    if (!all->base) {
        plan_parts(c, parts, rows, pass, job);
        return;
    }
    const size_t share = (all->size - all->used) / parts / 64 * 64;
    int failed = 0;
    OMP(omp parallel for num_threads((int)parts) reduction(| : failed))
    for (size_t i = 0; i < parts; i++) {
        const size_t first = part_begins(i, parts, rows), end = part_begins(i + 1, parts, rows);
        arena own = { .base = all->base + all->used + i * share, .size = share };
        nn    part = { c->kernels, 1, &own };
        pass(&part, job, first, end - first);
        failed |= own.failed;
    }
    c->work->failed |= failed;
}
