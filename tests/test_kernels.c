/* test_kernels.c: every kernel set that this machine runs against the reference, byte for byte.
 *
 *   nn_reference == scalar, sse2, avx2, avx512, neon at 1, 2 and 3 threads, in exactly the planned memory
 *
 * Not here: whether the reference is right (test_reference.c), the operations of training (test_train.c). */
#include "test.h"
#include "arrays.h"

#include <stdio.h>

static unsigned char memory[128u << 20];
static arena work = { memory, sizeof memory, 0, 0, false };

/* Chooses set i of those to compare with the reference, of nn_isa_list and able to run here; false at the
 * end. */
static bool kernels_of(nn *c, size_t i, int threads)
{
    char list[128], *name = list;
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (size_t seen = 0; name;) {
        char *comma = strchr(name, ',');
        if (comma)
            *comma = 0;
        if (strcmp(name, "reference") && nn_init(c, name, threads, &work) && seen++ == i)
            return true;
        name = comma ? comma + 1 : NULL;
    }
    return false;
}

/* Bytes equal, and the guard behind them untouched. */
static void same(const nn *c, const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (f32_bits(got[i]) != f32_bits(want[i])) {
            test_failed(__FILE__, __LINE__,
                        "%s, %s at %d threads: value %zu of %zu is %a, but the reference has %a",
                        what, nn_isa_name(c), c->threads, i, n, (double)got[i], (double)want[i]);
            return;
        }
    CHECK(got[n] == 12345.0f, "%s, %s: wrote past the end", what, nn_isa_name(c));
}

/* An operation with its arguments; y gets n values. */
typedef struct operation {
    void (*run)(nn *c, float *y, const void *arguments);
    const void *arguments;
    size_t n;
    const char *what;
    float *y0; /* y's first content, for operations in place; or NULL */
} operation;

/* Measures what o needs, then runs it in just that much memory. */
static void run_planned(nn *c, const operation *o, float *y)
{
    arena plan = { NULL, 0, 0, 0, false }, tight = { memory, 0, 0, 0, false };
    c->work = &plan;
    o->run(c, NULL, o->arguments);
    tight.size = plan.peak;
    c->work = &tight;
    for (size_t j = 0; j < o->n; j++)
        y[j] = o->y0 ? o->y0[j] : -777.0f;
    y[o->n] = 12345.0f;
    CHECK(plan.peak <= sizeof memory, "%s: planned %zu bytes", o->what, plan.peak);
    if (plan.peak > sizeof memory)
        return;
    memset(memory, 0x7f, plan.peak); /* scratch must not be taken for zeros */
    o->run(c, y, o->arguments);
    CHECK(!tight.failed && tight.peak == plan.peak, "%s, %s: planned %zu bytes, used %zu", o->what,
          nn_isa_name(c), plan.peak, tight.peak);
    CHECK(tight.used == 0, "%s, %s: kept %zu bytes", o->what, nn_isa_name(c), tight.used);
}

/* Runs o by the reference, then by every kernel set at 1 to 3 threads. */
static void compare(const operation *o)
{
    nn c;
    float *want = floats(o->n), *got = floats(o->n);

    nn_init(&c, "reference", 1, &work);
    run_planned(&c, o, want);
    for (size_t i = 0; kernels_of(&c, i, 1); i++)
        for (c.threads = 1; c.threads <= 3; c.threads++) {
            run_planned(&c, o, got);
            same(&c, o->what, got, want, o->n);
        }
    free(want);
    free(got);
}

/* Products too small for any float round to -0 after the first: a sum that starts at +0, in hi or in lo,
 * gives +0. */
static void dot_zeros(void)
{
    static const size_t sizes[] = { 1, 128, 129, 2048, 2049, 4097 };
    float *x = floats(3 * 4097), *w = floats(3 * 4097), y[10];
    nn c;
    for (size_t i = 0; i < 3 * 4097; i++) {
        x[i] = 0x1p-100f;
        w[i] = -0x1p-100f;
    }
    unsigned char *file = as_file(w, 3 * 4097, DT_F32);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        CHECK(f32_bits(nn_dot(x, 1, w, 1, sizes[s])) == 0x80000000u, "K = %zu: the reference", sizes[s]);
        for (size_t i = 0; kernels_of(&c, i, 1); i++) {
            nn_linear(&c, y, x, (weight){ .data = file + 1, .type = DT_F32 }, NULL, 3, sizes[s], 3);
            for (int j = 0; j < 9; j++)
                CHECK(f32_bits(y[j]) == 0x80000000u, "K = %zu: %s has %a", sizes[s], nn_isa_name(&c),
                      (double)y[j]);
        }
    }
    free(x);
    free(w);
    free(file);
}

/* W [N,ci,taps] with its panels made beforehand, as c's kernels read them. *panels is for free. */
static weight prepared(const nn *c, weight W, size_t N, size_t taps, size_t ci, float **panels)
{
    W.packed = *panels = floats(nn_packed_size(c, N, taps, ci));
    nn_pack(c, *panels, W, N, taps, ci);
    return W;
}

typedef struct linear_case {
    size_t M, K, N;
    dtype  type;
    bool   bias;
    const float *x, *b;
    weight W;
} linear_case;

static void run_linear(nn *c, float *y, const void *p)
{
    const linear_case *l = p;
    nn_linear(c, y, l->x, l->W, l->bias ? l->b : NULL, l->M, l->K, l->N);
}

static void run_linear_packed(nn *c, float *y, const void *p)
{
    const linear_case *l = p;
    float *panels;
    const weight W = prepared(c, l->W, l->N, 1, l->K, &panels);
    nn_linear(c, y, l->x, W, l->bias ? l->b : NULL, l->M, l->K, l->N);
    free(panels);
}

static void try_linear(size_t M, size_t K, size_t N, dtype type, bool bias)
{
    char what[96];
    float *x = filled(M * K), *w = filled(N * K), *b = filled(N);
    unsigned char *file = as_file(w, N * K, type);
    const linear_case l = { M, K, N, type, bias, x, b, { .data = file + 1, .type = type } };
    snprintf(what, sizeof what, "linear M %zu K %zu N %zu type %d", M, K, N, (int)type);
    compare(&(operation){ run_linear, &l, M * N, what, NULL });
    compare(&(operation){ run_linear_packed, &l, M * N, what, NULL });
    free(x);
    free(w);
    free(b);
    free(file);
}

/* Around the sizes of tiles and panels; and of contract 3's chains and chunks. */
static const size_t edges[] = {
    1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128,
        129
};
static const size_t lengths[] = {
    0, 1, 2, 3, 4, 5, 127, 128, 129, 255, 256, 257, 2047, 2048, 2049, 4095, 4096, 4097
};

/* Every edge in M, then in N, then in K; the other two where tiles are ragged too. */
static void linear_edges(void)
{
    for (size_t i = 0; i < COUNT(edges); i++) {
        try_linear(edges[i], 37, 41, DT_F32, true);
        try_linear(13, 130, edges[i], DT_F16, i % 2);
        try_linear(edges[i], 5, edges[COUNT(edges) - 1 - i], DT_BF16, true);
    }
    for (size_t i = 0; i < COUNT(lengths); i++) {
        try_linear(5, lengths[i], 19, DT_F16, true);
        try_linear(1, lengths[i], 33, DT_F32, false);
    }
}

/* More rows, and more columns, than are packed at a time; and enough work to wake threads. */
static void linear_large(void)
{
    try_linear(2100, 4097, 1, DT_F16, true);
    try_linear(1, 4097, 2100, DT_F16, true);
    try_linear(3, 65537, 150, DT_F16, true); /* several blocks of columns, the rows packed once */
    try_linear(13, 400001, 33, DT_F16, true); /* several of both, for tiles of 12 x 32 */
    try_linear(300, 150, 70, DT_F16, true);
    try_linear(150, 2100, 20, DT_F32, false);
}

/* Scratch never shrinks as rows are added: who plans for a block of rows may multiply fewer. */
static void linear_plans(void)
{
    nn c;
    for (size_t i = 0; kernels_of(&c, i, 1); i++)
        for (c.threads = 1; c.threads <= 5; c.threads++)
            for (size_t K = 8; K <= 4096; K *= 8) {
                size_t before = 0;
                for (size_t M = 1; M < 700; M++) {
                    arena plan = { NULL, 0, 0, 0, false };
                    c.work = &plan;
                    nn_linear(&c, NULL, NULL, (weight){ .type = DT_F16 }, NULL, M, K, 128);
                    CHECK(plan.peak >= before, "%s, %d threads, K %zu: %zu rows need %zu bytes, %zu rows %zu",
                          nn_isa_name(&c), c.threads, K, M - 1,
                          before, M, plan.peak);
                    before = plan.peak;
                }
            }
    c.work = &work;
}

/* As in PyTorch's module: the bias is added once, to the finished sum. */
static void linear_bias(void)
{
    nn c;
    float x[3] = { 1.0f, 0x1p-12f, 3.0f }, y[1], b[1] = { 0x1p24f };
    unsigned char *w = as_file(x, 3, DT_F32);
    nn_init(&c, NULL, 1, &work);
    nn_linear(&c, y, x, (weight){ .data = w + 1, .type = DT_F32 }, b, 1, 3, 1);
    CHECK(y[0] == nn_dot(x, 1, x, 1, 3) + 0x1p24f, "%a", (double)y[0]);
    free(w);
}

typedef struct conv_case { conv_shape s; const float *x, *b; weight W; } conv_case;
static void run_conv(nn *c, float *y, const void *p)
{
    const conv_case *v = p;
    nn_conv2d(c, y, v->x, v->W, v->b, &v->s);
}

static void run_conv_packed(nn *c, float *y, const void *p)
{
    const conv_case *v = p;
    float *panels;
    const weight W = prepared(c, v->W, v->s.co, v->s.k * v->s.k, v->s.ci, &panels);
    nn_conv2d(c, y, v->x, W, v->b, &v->s);
    free(panels);
}

static void try_conv(conv_shape s, dtype type, bool bias)
{
    char what[128];
    const size_t n = s.B * conv_out(&s, s.H) * conv_out(&s, s.W) * s.co;
    float *x = filled(s.B * s.H * s.W * s.ci), *w = filled(s.co * s.ci * s.k * s.k), *b = filled(s.co);
    unsigned char *file = as_file(w, s.co * s.ci * s.k * s.k, type);
    const conv_case v = { s, x, bias ? b : NULL, { .data = file + 1, .type = type } };
    snprintf(what, sizeof what, "conv B %zu H %zu W %zu ci %zu co %zu k %zu stride %zu pad %zu+%zu",
             s.B, s.H, s.W, s.ci, s.co,
             s.k, s.stride, s.pad_before, s.pad_after);
    compare(&(operation){ run_conv, &v, n, what, NULL });
    compare(&(operation){ run_conv_packed, &v, n, what, NULL });
    free(x);
    free(w);
    free(b);
    free(file);
}

static void conv_edges(void)
{
    static const size_t channels[] = { 1, 2, 3, 4, 5, 8, 127, 128, 129, 256, 257 };
    static const struct { size_t k, stride, before, after; } kinds[] = {
        { 1, 1, 0, 0 }, { 1, 2, 0, 0 }, { 3, 1, 1, 1 }, { 3, 2, 1, 1 }, { 3, 2, 0, 1 }, { 3, 1, 0, 0 },
        { 2, 2, 0, 0 }, { 5, 1, 2, 2 },
        { 4, 4, 0, 0 }
    };
    for (size_t i = 0; i < COUNT(kinds); i++) {
        try_conv((conv_shape){ 2, 5, 7, 3, 5, kinds[i].k, kinds[i].stride, kinds[i].before, kinds[i].after },
                 DT_F16, true);
        try_conv((conv_shape){ 1, 8, 6, 17, 33, kinds[i].k, kinds[i].stride, kinds[i].before,
                               kinds[i].after }, DT_F32, i % 2);
    }
    for (size_t i = 0; i < COUNT(channels); i++)
        try_conv((conv_shape){ 1, 3, 4, channels[i], 16, 3, 1, 1, 1 }, DT_F16, true);
    for (size_t i = 0; i < COUNT(edges); i++)
        try_conv((conv_shape){ 1, 3, 3, 4, edges[i], 3, 1, 1, 1 }, DT_BF16, true);
    for (size_t i = 0; i < COUNT(edges); i++)
        try_conv((conv_shape){ 1, 1, edges[i], 3, 9, 3, 1, 1, 1 }, DT_F16, false);
    try_conv((conv_shape){ 1, 16, 16, 3, 8, 16, 16, 0, 0 }, DT_F16, true); /* a ViT's patches */
    try_conv((conv_shape){ 2, 17, 15, 40, 50, 3, 1, 1, 1 }, DT_F16, true); /* enough for threads */
}

/* Groups of lines: that end inside a line and inside an image, that pass from one image to the next, of more
 * lines than one group holds; and so many rows that no thread keeps them all. */
static void conv_groups(void)
{
    try_conv((conv_shape){ 2, 33, 8, 64, 40, 3, 1, 1, 1 }, DT_F16, true);
    try_conv((conv_shape){ 3, 9, 12, 30, 33, 5, 1, 2, 2 }, DT_F32, true);
    try_conv((conv_shape){ 3, 10, 16, 40, 50, 3, 2, 1, 1 }, DT_F16, false);
    try_conv((conv_shape){ 5, 2, 4, 96, 96, 3, 1, 1, 1 }, DT_F16, true);
    try_conv((conv_shape){ 1, 20, 64, 80, 9, 3, 1, 1, 1 }, DT_F16, true);
    try_conv((conv_shape){ 1, 64, 64, 1024, 3, 1, 2, 0, 0 }, DT_F16, true);
    try_conv((conv_shape){ 0, 8, 8, 3, 4, 3, 1, 1, 1 }, DT_F16, true); /* no image at all */
}

/* Scratch never shrinks as images are added: who plans for a batch may run a smaller one. */
static void conv_plans(void)
{
    static const struct { size_t H, W, ci; } shapes[] = {
        { 4, 4, 96 }, { 8, 8, 512 }, { 16, 16, 640 }, { 5, 7, 300 }
    };
    nn c;
    for (size_t i = 0; kernels_of(&c, i, 1); i++)
        for (c.threads = 1; c.threads <= 5; c.threads++)
            for (size_t k = 0; k < COUNT(shapes); k++) {
                size_t before = 0;
                for (size_t B = 1; B < 60; B++) {
                    arena plan = { NULL, 0, 0, 0, false };
                    const conv_shape s = { B, shapes[k].H, shapes[k].W, shapes[k].ci, 48, 3, 1, 1, 1 };
                    c.work = &plan;
                    nn_conv2d(&c, NULL, NULL, (weight){ .type = DT_F16 }, NULL, &s);
                    CHECK(plan.peak >= before, "%s, %d threads, %zu x %zu x %zu: %zu images need %zu bytes, "
                          "%zu %zu", nn_isa_name(&c), c.threads, s.H, s.W, s.ci, B - 1, before, B, plan.peak);
                    before = plan.peak;
                }
            }
    c.work = &work;
}

typedef struct attention_case {
    size_t B, Nq, Nk, heads, head;
    bool   causal;
    const float *q, *k, *v;
} attention_case;

static void run_attention(nn *c, float *y, const void *p)
{
    const attention_case *a = p;
    nn_attention(c, y, a->q, a->k, a->v, a->B, a->Nq, a->Nk, a->heads, a->head, a->causal);
}

static void try_attention(size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal)
{
    char what[96];
    const size_t D = heads * head;
    float *q = filled(B * Nq * D), *k = filled(B * Nk * D), *v = filled(B * Nk * D);
    const attention_case a = { B, Nq, Nk, heads, head, causal, q, k, v };
    for (size_t i = 0; i < B * Nq * D; i++)
        q[i] *= 8.0f; /* so that the weights differ */
    snprintf(what, sizeof what, "attention B %zu %zu x %zu, %zu heads of %zu%s", B, Nq, Nk, heads, head,
             causal ? ", causal" : "");
    compare(&(operation){ run_attention, &a, B * Nq * D, what, NULL });
    free(q);
    free(k);
    free(v);
}

static void attention_edges(void)
{
    for (size_t i = 0; i < COUNT(edges); i++) {
        try_attention(1, edges[i], 5, 1, 8, false);
        try_attention(1, 3, edges[i], 2, 5, false);
        try_attention(1, 2, 7, 1, edges[i], false);
    }
    for (size_t i = 6; i < COUNT(lengths); i++)
        try_attention(1, 2, lengths[i], 1, 6, false);
    try_attention(2, 77, 77, 3, 16, true);
    try_attention(1, 130, 130, 1, 4, true);
    try_attention(2, 100, 77, 2, 40, false);
    try_attention(1, 800, 150, 1, 12, false); /* one head in parts */
}

/* A causal chain may underflow to -0: the keys that it must leave out would make it +0. Values of the second
 * key alone are positive. */
static void attention_zeros(void)
{
    enum { N = 40, HEAD = 4 };
    float q[N * HEAD], k[N * HEAD], v[N * HEAD];
    for (size_t i = 0; i < N * HEAD; i++) {
        q[i] = 1.0f;
        k[i] = i < HEAD ? 0.0f : -40.0f; /* every key but the first weighs e^-80 */
        v[i] = i < HEAD ? -0.0f : i < 2 * HEAD ? -0x1p-100f : 0x1p-60f;
    }
    const attention_case a = { 1, N, N, 1, HEAD, true, q, k, v };
    compare(&(operation){ run_attention, &a, N * HEAD, "attention, chains that end at -0", NULL });
}

typedef struct norm_case { size_t B, P, C, G; bool silu, in_place; const float *x, *gamma, *beta; } norm_case;
static void run_layer(nn *c, float *y, const void *p)
{
    const norm_case *n = p;
    nn_layer_norm(c, y, n->in_place ? y : n->x, n->gamma, n->beta, n->P, n->C, 1e-5f);
}
static void run_group(nn *c, float *y, const void *p)
{
    const norm_case *n = p;
    nn_group_norm(c, y, n->in_place ? y : n->x, n->gamma, n->beta, n->B, n->P, n->C, n->G, 1e-6f, n->silu);
}
static void run_softmax(nn *c, float *y, const void *p)
{
    const norm_case *n = p;
    nn_softmax(c, y, n->in_place ? y : n->x, n->P, n->C);
}

static void try_norm(size_t B, size_t P, size_t C, size_t G, bool silu, bool in_place)
{
    char what[96];
    float *x = filled(B * P * C), *gamma = filled(C), *beta = filled(C);
    const norm_case n = { B, P, C, G, silu, in_place, x, gamma, beta };
    snprintf(what, sizeof what, "norm B %zu P %zu C %zu G %zu%s", B, P, C, G, in_place ? ", in place" : "");
    if (G)
        compare(&(operation){ run_group, &n, B * P * C, what, in_place ? x : NULL });
    else {
        compare(&(operation){ run_layer, &n, P * C, what, in_place ? x : NULL });
        compare(&(operation){ run_softmax, &n, P * C, what, in_place ? x : NULL });
    }
    free(x);
    free(gamma);
    free(beta);
}

static void norm_edges(void)
{
    for (size_t i = 0; i < COUNT(edges); i++) {
        try_norm(1, 3, edges[i], 0, false, i % 2);
        try_norm(2, edges[i], 6, 3, i % 2, false);
        try_norm(1, 5, edges[i], 1, true, i % 2);
        try_norm(1, 4, edges[i] * 2, edges[i], false, false);
    }
    try_norm(1, 40, 2049, 0, false, true);
    try_norm(2, 100, 320, 32, true, true);
    try_norm(1, 33, 1000, 2, true, false); /* a group wider than a span of channels */
    try_norm(3, 200, 96, 32, false, false);
}

typedef void each_function(nn *c, float *y, const float *x, size_t n);
typedef struct each_case { each_function *f; const float *x; size_t n; bool in_place; } each_case;

static void run_each(nn *c, float *y, const void *p)
{
    const each_case *e = p;
    e->f(c, y, e->in_place ? y : e->x, e->n);
}

typedef struct geglu_case { const float *x; size_t M, D; } geglu_case;
static void run_geglu(nn *c, float *y, const void *p)
{
    const geglu_case *g = p;
    nn_geglu(c, y, g->x, g->M, g->D);
}

static void activations(void)
{
    static const struct { const char *name; each_function *f; } table[] = {
        { "exp", nn_exp }, { "silu", nn_silu }, { "gelu", nn_gelu }, { "quick_gelu", nn_quick_gelu }
    };
    static const size_t sizes[] = { 0, 1, 3, 15, 16, 17, 4095, 4096, 4097, 40000 };
    float *x = filled(80000);
    for (size_t i = 0; i < 80000; i++)
        x[i] *= i % 5 ? 8.0f : 120.0f;
    for (size_t t = 0; t < COUNT(table); t++)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            const each_case e = { table[t].f, x, sizes[s], s % 2 };
            compare(&(operation){ run_each, &e, sizes[s], table[t].name, e.in_place ? x : NULL });
        }
    for (size_t i = 0; i < COUNT(edges); i++)
        compare(&(operation){ run_geglu, &(geglu_case){ x, 3, edges[i] }, 3 * edges[i], "geglu", NULL });
    compare(&(operation){ run_geglu, &(geglu_case){ x, 40, 1000 }, 40000, "geglu", NULL });
    nn  c;
    float y[1], pair[2] = { 3.0f, -0.5f };
    nn_init(&c, "reference", 1, &work);
    nn_geglu(&c, y, pair, 1, 1);
    CHECK(y[0] == 3.0f * nn_gelu1(-0.5f), "the second half is the gate");
    free(x);
}

const test_case kernels_tests[] = {
    { "dot_zeros", dot_zeros },
    { "linear_edges", linear_edges },
    { "linear_large", linear_large },
    { "linear_plans", linear_plans },
    { "linear_bias", linear_bias },
    { "conv_edges", conv_edges }, { "conv_groups", conv_groups }, { "conv_plans", conv_plans },
    { "attention_edges", attention_edges },
    { "attention_zeros", attention_zeros },
    { "norm_edges", norm_edges },
    { "activations", activations },
    { NULL, NULL }
};
