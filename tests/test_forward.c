/* test_forward.c: every layer type against PyTorch's, in float64 (configs/layers.json).
 *
 * Not here: whole networks (test_clip.c, test_unet.c, test_vae.c), fast kernels against the reference
 * (test_nn.c). */
#include "test.h"
#include "goldens.h"
#include "arithmetic/rng.h"
#include "arithmetic/threads.h"
#include "layers/bind.h"
#include "layers/forward.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

typedef struct layer {
    json    v;
    char    name[64], op[32];
    linear  l;
    conv    k;
    norm    n;
    tensors *g;
} layer;

static void layer_bind(binder *b, void *user)
{
    layer *x = user;
    if (!strcmp(x->op, "linear"))
        (flag(x->v, "bias") ? bind_linear : bind_linear_no_bias)(b, x->name, &x->l, size_at(x->v, "K"),
                                                                 size_at(x->v, "N"));
    else if (!strcmp(x->op, "conv"))
        bind_conv(b, x->name, &x->k, size_at(x->v, "ci"), size_at(x->v, "co"), size_at(x->v, "k"));
    else if (!strcmp(x->op, "group_norm"))
        bind_norm(b, x->name, &x->n, size_at(x->v, "C"));
    else if (!strcmp(x->op, "layer_norm"))
        bind_norm(b, x->name, &x->n, size_at(x->v, "D"));
}

/* Input PART of the layer, n elements. */
static float *part(nn *c, const layer *x, const char *name, size_t n)
{
    char full[80];
    snprintf(full, sizeof full, "%s.%s", x->name, name);
    return input(c->work, n, (float)number(x->v, "a", sqrt(3.0)), full);
}

static float *part_map(nn *c, const layer *x, size_t B, size_t C, size_t P)
{
    char full[80];
    snprintf(full, sizeof full, "%s.x", x->name);
    return input_map(c->work, B, C, P, full);
}

static void layer_check(const layer *x, const float *y, size_t n)
{
    if (y)
        check_truth(x->g, x->name, y, n);
}

static void run_linear(nn *c, layer *x)
{
    const size_t M = size_at(x->v, "M");
    const float *in = part(c, x, "x", M * x->l.in);
    float *y = arena_floats(c->work, M * x->l.out);
    apply_linear(c, y, in, &x->l, M);
    layer_check(x, y, M * x->l.out);
}

static void run_conv(nn *c, layer *x)
{
    conv_shape s = { .B = size_at(x->v, "B"),
                     .H = size_at(x->v, "H"),
                     .W = size_at(x->v, "W"),
                     .ci = x->k.ci,
                     .co = x->k.co,
                     .k = x->k.k,
                     .stride = size_at(x->v, "stride"),
                     .pad_before = size_at(x->v, "pad_before"),
                     .pad_after = size_at(x->v, "pad_after") };
    const size_t n = s.B * conv_out(&s, s.H) * conv_out(&s, s.W) * s.co;
    const float *in = part_map(c, x, s.B, s.ci, s.H * s.W);
    float *y = arena_floats(c->work, n);
    nn_conv2d(c, y, in, x->k.w, x->k.bias, &s);
    layer_check(x, y, n);
}

static void run_group_norm(nn *c, layer *x)
{
    const size_t B = size_at(x->v, "B"), P = size_at(x->v, "P"), C = x->n.C;
    float *y = part_map(c, x, B, C, P);
    nn_group_norm(c, y, y, x->n.gamma, x->n.beta, B, P, C, size_at(x->v, "G"), (float)number(x->v, "eps", 0),
                  flag(x->v, "silu"));
    layer_check(x, y, B * P * C);
}

static void run_layer_norm(nn *c, layer *x)
{
    const size_t M = size_at(x->v, "M"), D = x->n.C;
    float *y = part(c, x, "x", M * D);
    nn_layer_norm(c, y, y, x->n.gamma, x->n.beta, M, D, (float)number(x->v, "eps", 0));
    layer_check(x, y, M * D);
}

static void run_softmax(nn *c, layer *x)
{
    const size_t M = size_at(x->v, "M"), N = size_at(x->v, "N");
    float *y = part(c, x, "x", M * N);
    nn_softmax(c, y, y, M, N);
    layer_check(x, y, M * N);
}

static void run_activation(nn *c, layer *x)
{
    const size_t n = size_at(x->v, "n");
    float *y = part(c, x, "x", n);
    if (!strcmp(x->op, "silu"))
        nn_silu(c, y, y, n);
    else if (!strcmp(x->op, "gelu"))
        nn_gelu(c, y, y, n);
    else
        nn_quick_gelu(c, y, y, n);
    layer_check(x, y, n);
}

static void run_geglu(nn *c, layer *x)
{
    const size_t M = size_at(x->v, "M"), D = size_at(x->v, "D");
    const float *in = part(c, x, "x", M * 2 * D);
    float *y = arena_floats(c->work, M * D);
    nn_geglu(c, y, in, M, D);
    layer_check(x, y, M * D);
}

static void run_attention(nn *c, layer *x)
{
    const size_t B = size_at(x->v, "B"), Nq = size_at(x->v, "Nq"), Nk = size_at(x->v, "Nk");
    const size_t heads = size_at(x->v, "heads"), head = size_at(x->v, "head"), C = heads * head;
    const float *q = part(c, x, "q", B * Nq * C), *k = part(c, x, "k", B * Nk * C);
    const float *v = part(c, x, "v", B * Nk * C);
    float *y = arena_floats(c->work, B * Nq * C);
    nn_attention(c, y, q, k, v, B, Nq, Nk, heads, head, flag(x->v, "causal"));
    layer_check(x, y, B * Nq * C);
}

static void run_upsample(nn *c, layer *x)
{
    const size_t B = size_at(x->v, "B"), H = size_at(x->v, "H"), W = size_at(x->v, "W");
    const size_t C = size_at(x->v, "C");
    const float *in = part_map(c, x, B, C, H * W);
    float *y = arena_floats(c->work, 4 * B * H * W * C);
    nn_upsample2x(c, y, in, B, 2 * H, 2 * W, C);
    if (y)
        check_bits(x->g, x->name, y, 4 * B * H * W * C);
}

static void run_timestep_embedding(nn *c, layer *x)
{
    const size_t dim = size_at(x->v, "dim");
    json list, t;
    if (!json_get(x->v, "t", &list))
        return;
    float *y = arena_floats(c->work, json_length(list) * dim), *row = y;
    json_iter it = json_begin(list);
    while (y && json_next(&it, NULL, &t)) {
        double at = -1;
        CHECK(json_number(t, &at), "%s: a timestep is no number", x->name);
        nn_timestep_embedding(row, (float)at, dim, flag(x->v, "flip"), (float)number(x->v, "shift", 0));
        row += dim;
    }
    if (y)
        check_bits(x->g, x->name, y, json_length(list) * dim);
}

static const struct { const char *op; void (*run)(nn *, layer *); } layer_ops[] = {
    { "linear", run_linear },           { "conv", run_conv },
    { "group_norm", run_group_norm },   { "layer_norm", run_layer_norm },
    { "softmax", run_softmax },         { "silu", run_activation },
    { "gelu", run_activation },         { "quick_gelu", run_activation },
    { "geglu", run_geglu },             { "attention", run_attention },
    { "upsample", run_upsample },       { "timestep_embedding", run_timestep_embedding },
};

static void run_layer(nn *c, void *user)
{
    layer *x = user;
    const size_t mark = arena_mark(c->work);
    for (size_t i = 0; i < sizeof layer_ops / sizeof *layer_ops; i++)
        if (!strcmp(layer_ops[i].op, x->op))
            layer_ops[i].run(c, x);
    arena_release(c->work, mark);
}

/* The pixel of every halfway case, of its neighbours and of values beyond the ends. */
static void check_pixels(tensors *g)
{
    const tensor *x = golden(g, DT_F32, "pixel.x"), *y = golden(g, DT_U8, "pixel");
    CHECK(x && y && x->count == y->count, "the pixel goldens differ in length");
    for (size_t i = 0; x && y && i < x->count && i < y->count; i++)
        CHECK(nn_pixel(f32_at(x, i)) == y->data[i], "pixel of %a is %d, not %d", (double)f32_at(x, i),
              nn_pixel(f32_at(x, i)), y->data[i]);
}

/* Every layer type by itself: says which operation is wrong when a network is. */
static void layers(void)
{
    tensors g;
    io_file f;
    json    v;
    if (!golden_open(&g, "layers"))
        return;
    json_iter it = json_begin(config_open(&f, "layers"));
    while (json_next(&it, NULL, &v)) {
        layer x = { .v = v, .g = &g };
        void *memory;
        text_at(v, "name", x.name, sizeof x.name);
        text_at(v, "op", x.op, sizeof x.op);
        if (bind_hashed(&host, GOLDEN_SEED, DT_F32, 1, layer_bind, &x, &memory, &err)) {
            CHECK(false, "%s", err.text);
            continue;
        }
        planned(run_layer, &x);
        io_free(&host, memory);
    }
    check_pixels(&g);
    io_close(&f);
    golden_close(&g);
}

/* ---- rows by thread ---- */

enum { ROWS = 9, SCRATCH = 100 }; /* scratch: floats a row */

typedef struct rows_job { int taken[ROWS], passes, shared; } rows_job;

/* Marks its rows and fills its scratch, which no other part may hold. */
static void mark_rows(nn *c, void *user, size_t first, size_t rows)
{
    rows_job *job = user;
    const size_t mark = arena_mark(c->work), n = rows * SCRATCH;
    float *own = arena_floats(c->work, n);
    for (size_t i = 0; own && i < n; i++)
        own[i] = (float)first;
    for (size_t i = 0; own && i < rows; i++)
        job->taken[first + i]++;
    for (size_t i = 0; own && i < n; i++)
        if (own[i] != (float)first)
            job->taken[first] = -1000;
    OMP(omp critical(test))
    {
        job->passes += own != NULL;
        job->shared += own && c->threads > 1;
    }
    arena_release(c->work, mark);
}

static void take_rows(int threads, size_t rows, bool packed, const tap *watch)
{
    static unsigned char memory[ROWS * SCRATCH * 2 * sizeof(float)];
    arena work = { 0 };
    nn    c;
    nn_init(&c, NULL, threads, &work);
    const bool apart = rows >= (size_t)c.threads && packed && !(watch && watch->whole);
    rows_job job = { .passes = 0 };

    by_rows(&c, packed, watch, rows, mark_rows, &job);
    CHECK(!job.passes && work.used == 0 && !work.failed, "planning ran a pass");
    work = (arena){ .base = memory, .size = work.peak };
    by_rows(&c, packed, watch, rows, mark_rows, &job);
    CHECK(!work.failed && work.used == 0 && work.size <= sizeof memory, "%d threads, %zu rows: a wrong plan",
          threads, rows);
    CHECK(job.passes == (apart ? c.threads : 1) && job.shared == (!apart && c.threads > 1),
          "%d threads, %zu rows: %d passes, %d of them by all", threads, rows, job.passes, job.shared);
    for (size_t i = 0; i < ROWS; i++)
        CHECK(job.taken[i] == (i < rows), "%d threads, %zu rows: row %zu was taken %d times", threads, rows,
              i, job.taken[i]);
    work.size /= 2;
    by_rows(&c, packed, watch, rows, mark_rows, &job);
    CHECK(work.failed, "%d threads, %zu rows: half of the memory is enough", threads, rows);
}

/* Every row is taken once, on memory of its own, in exactly what was planned: by each thread apart if the
 * weights are packed, no tap wants whole batches, and each has a row; else by all threads together. */
static void rows_taken(void)
{
    static const tap whole = { NULL, NULL, true }, any = { NULL, NULL, false };
    for (int threads = 1; threads <= 4; threads++)
        for (size_t rows = 1; rows <= ROWS; rows++) {
            take_rows(threads, rows, true, NULL);
            take_rows(threads, rows, true, &any);
            take_rows(threads, rows, true, &whole);
            take_rows(threads, rows, false, NULL);
        }
}

const test_case forward_tests[] = {
    { "layers", layers }, { "rows_taken", rows_taken }, { NULL, NULL },
};
