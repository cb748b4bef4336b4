/* test_backward.c: every operation's derivative against differences of its output, in the planned memory.
 *
 * Not here: precision (the goldens of whole networks: test_unet_backward.c, test_clip_backward.c). */
#include "test.h"
#include "arrays.h"
#include "gradients/backward.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static unsigned char memory[8u << 20];

/* An input or weights: field is where a layer holds them; NULL: an input, whose derivative is an output. */
typedef struct variable { const char *name; float *at; size_t n; const void *field; } variable;

/* forward: y from the variables. back: of the inputs, in order, d; of weights by g. */
typedef struct problem {
    const char *name;
    size_t outputs;
    void (*forward)(nn *c, float *y);
    void (*back)(backward *g, float *const *d, const float *dy);
    variable v[8];
} problem;

static double loss(const problem *p, nn *c, float *y, const float *dy)
{
    double sum = 0;
    p->forward(c, y);
    for (size_t i = 0; i < p->outputs; i++)
        sum += (double)y[i] * (double)dy[i];
    return sum;
}

/* d of one variable against the difference quotient at +-h of each of its elements. */
static void differences(const problem *p, nn *c, const variable *v, const float *d, float *y, const float *dy)
{
    const float h = 0x1p-6f;
    double largest = 0;
    for (size_t i = 0; i < v->n; i++)
        largest = fabs((double)d[i]) > largest ? fabs((double)d[i]) : largest;
    CHECK(largest > 1e-3, "%s: the derivative by %s is nothing", p->name, v->name);
    for (size_t i = 0; i < v->n; i++) {
        const float x = v->at[i];
        v->at[i] = x + h;
        const double above = loss(p, c, y, dy);
        v->at[i] = x - h;
        const double below = loss(p, c, y, dy), quotient = (above - below) / (2 * (double)h);
        v->at[i] = x;
        CHECK(fabs(quotient - (double)d[i]) <= 2e-3 * largest, "%s: by %s[%zu] %g, but a difference says %g",
              p->name, v->name, i, (double)d[i], quotient);
    }
}

/* One pass of back, planned first; returns the derivatives in their order. */
static void run_back(const problem *p, nn *c, float *const *d, const float *dy)
{
    float *none[8] = { 0 }, *inputs[8] = { 0 };
    arena  plan = { 0 }, tight = { .base = memory };
    wanted list[8], empty[8];
    size_t count = 0, given_back = 0;
    for (size_t k = 0; p->v[k].n; k++)
        if (p->v[k].field) {
            empty[count] = (wanted){ p->v[k].field, NULL };
            list[count++] = (wanted){ p->v[k].field, d[k] };
        } else
            inputs[given_back++] = d[k];
    c->work = &plan;
    p->back(&(backward){ c, empty, count, NULL }, none, NULL);
    tight.size = plan.peak;
    memset(memory, 0x7f, sizeof memory); /* scratch must not be taken for zeros */
    c->work = &tight;
    p->back(&(backward){ c, list, count, NULL }, inputs, dy);
    CHECK(!tight.failed && tight.peak <= plan.peak && !tight.used,
          "%s: planned %zu bytes, used %zu, kept %zu", p->name, plan.peak, tight.peak, tight.used);
}

static void solve(const problem *p)
{
    static arena work = { memory, sizeof memory, 0, 0, false };
    float *dy = filled(p->outputs), *y = floats(p->outputs), *d[8] = { 0 };
    nn c;
    CHECK(nn_init(&c, NULL, 2, &work), "nn_init failed");
    for (size_t k = 0; p->v[k].n; k++)
        d[k] = floats(p->v[k].n);
    run_back(p, &c, d, dy);
    c.work = &work;
    for (size_t k = 0; p->v[k].n; k++) {
        differences(p, &c, &p->v[k], d[k], y, dy);
        free(d[k]);
    }
    free(dy);
    free(y);
}

static weight mine(const float *w) { return (weight){ .data = (const unsigned char *)w, .type = DT_OWN }; }

/* ---- linear ---- */

enum { M = 5, K = 7, N = 3 };
static linear line;
static float *x;

static void forward_linear(nn *c, float *y) { apply_linear(c, y, x, &line, M); }
static void back_linear(backward *g, float *const *d, const float *dy)
{
    linear_backward(g, d[0], dy, x, &line, M);
}

static void of_linear(void)
{
    float *w = filled(N * K), *bias = filled(N);
    x = filled(M * K);
    line = (linear){ mine(w), bias, K, N };
    solve(&(problem){ "linear", M * N, forward_linear, back_linear,
                      { { "x", x, M * K, NULL }, { "weight", w, N * K, &line.w },
                        { "bias", bias, N, &line.bias } } });
    line.bias = NULL; /* as to_q has none */
    solve(&(problem){ "linear without bias", M * N, forward_linear, back_linear,
                      { { "x", x, M * K, NULL }, { "weight", w, N * K, &line.w } } });
    free(w), free(bias), free(x);
}

/* ---- convolution ---- */

static conv kernel;
static conv_shape shape;

static void forward_conv(nn *c, float *y) { nn_conv2d(c, y, x, kernel.w, kernel.bias, &shape); }
static void back_conv(backward *g, float *const *d, const float *dy)
{
    conv_backward(g, d[0], dy, x, &kernel, &shape);
}

/* 3x3, 1x1, and stride 2 over sides that are odd and even. */
static void of_conv(void)
{
    static const struct { size_t k, stride, H, W; } cases[] = {
        { 3, 1, 4, 5 }, { 1, 1, 3, 2 }, { 3, 2, 5, 4 }, { 3, 2, 4, 7 }
    };
    enum { B = 2, CI = 3, CO = 2 };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const size_t k = cases[i].k, n = B * cases[i].H * cases[i].W * CI, taps = CO * CI * k * k;
        float *w = filled(taps), *bias = filled(CO);
        char name[32];
        x = filled(n);
        kernel = (conv){ mine(w), bias, CI, CO, k };
        shape = (conv_shape){ B, cases[i].H, cases[i].W, CI, CO, k, cases[i].stride, k / 2, k / 2 };
        snprintf(name, sizeof name, "conv %zu stride %zu, %zu", k, cases[i].stride, i);
        solve(&(problem){ name, B * conv_out(&shape, shape.H) * conv_out(&shape, shape.W) * CO, forward_conv,
                          back_conv,
                          { { "x", x, n, NULL }, { "weight", w, taps, &kernel.w },
                            { "bias", bias, CO, &kernel.bias } } });
        free(w), free(bias), free(x);
    }
}

/* ---- norms ---- */

enum { ROWS = 3, WIDTH = 20, SAMPLES = 2, PIXELS = 5, CHANNELS = 36, GROUPS = 4 };
static norm scale;
static bool with_silu;

static void forward_layer_norm(nn *c, float *y)
{
    nn_layer_norm(c, y, x, scale.gamma, scale.beta, ROWS, WIDTH, 1e-5f);
}
static void back_layer_norm(backward *g, float *const *d, const float *dy)
{
    layer_norm_backward(g, d[0], dy, x, &scale, ROWS, 1e-5f);
}
static void forward_group_norm(nn *c, float *y)
{
    nn_group_norm(c, y, x, scale.gamma, scale.beta, SAMPLES, PIXELS, CHANNELS, GROUPS, 1e-5f, with_silu);
}
static void back_group_norm(backward *g, float *const *d, const float *dy)
{
    group_norm_backward(g, d[0], dy, x, &scale, SAMPLES, PIXELS, GROUPS, 1e-5f, with_silu);
}

static void of_norms(void)
{
    float *gamma = filled(CHANNELS), *beta = filled(CHANNELS);
    x = filled(SAMPLES * PIXELS * CHANNELS);
    scale = (norm){ gamma, beta, WIDTH };
    solve(&(problem){ "layer_norm", ROWS * WIDTH, forward_layer_norm, back_layer_norm,
                      { { "x", x, ROWS * WIDTH, NULL }, { "gamma", gamma, WIDTH, &scale.gamma },
                        { "beta", beta, WIDTH, &scale.beta } } });
    scale.C = CHANNELS;
    for (int i = 0; i < 2; i++) {
        with_silu = i == 1;
        solve(&(problem){ i ? "group_norm, silu" : "group_norm", SAMPLES * PIXELS * CHANNELS,
                          forward_group_norm, back_group_norm,
                          { { "x", x, SAMPLES * PIXELS * CHANNELS, NULL },
                            { "gamma", gamma, CHANNELS, &scale.gamma },
                            { "beta", beta, CHANNELS, &scale.beta } } });
    }
    free(gamma), free(beta), free(x);
}

/* ---- attention ---- */

static struct { float *q, *k, *v; size_t B, Nq, Nk, heads, head; bool causal; } at;

static void forward_attention(nn *c, float *y)
{
    nn_attention(c, y, at.q, at.k, at.v, at.B, at.Nq, at.Nk, at.heads, at.head, at.causal);
}
static void back_attention(backward *g, float *const *d, const float *dy)
{
    nn *c = g->c;
    const size_t mark = arena_mark(c->work);
    float *y = arena_floats(c->work, at.B * at.Nq * at.heads * at.head);
    forward_attention(c, y);
    attention_backward(c, d[0], d[1], d[2], dy, y, at.q, at.k, at.v, at.B, at.Nq, at.Nk, at.heads, at.head,
                       at.causal);
    arena_release(c->work, mark);
}

static void of_attention(void)
{
    static const struct { const char *name; size_t Nq, Nk; bool causal; } cases[] = {
        { "attention", 4, 4, false }, { "cross-attention", 3, 5, false }, { "causal attention", 4, 4, true }
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const size_t D = 2 * 3, nq = 2 * cases[i].Nq * D, nk = 2 * cases[i].Nk * D;
        at.q = filled(nq), at.k = filled(nk), at.v = filled(nk);
        at.B = 2, at.Nq = cases[i].Nq, at.Nk = cases[i].Nk, at.heads = 2, at.head = 3;
        at.causal = cases[i].causal;
        solve(&(problem){ cases[i].name, nq, forward_attention, back_attention,
                          { { "q", at.q, nq, NULL }, { "k", at.k, nk, NULL }, { "v", at.v, nk, NULL } } });
        free(at.q), free(at.k), free(at.v);
    }
}

/* ---- element by element, and moving ---- */

enum { EACH = 40, WIDE = 9, HIGH = 3 };
static void (*each)(nn *c, float *y, const float *x, size_t n);
static void (*each_back)(nn *c, float *dx, const float *dy, const float *x, size_t n);

static void forward_each(nn *c, float *y) { each(c, y, x, EACH); }
static void back_each(backward *g, float *const *d, const float *dy) { each_back(g->c, d[0], dy, x, EACH); }
static void forward_geglu(nn *c, float *y) { nn_geglu(c, y, x, EACH / 10, 5); }
static void back_geglu(backward *g, float *const *d, const float *dy)
{
    geglu_backward(g->c, d[0], dy, x, EACH / 10, 5);
}

static void of_activations(void)
{
    static const struct { const char *name; void (*f)(nn *, float *, const float *, size_t);
                          void (*b)(nn *, float *, const float *, const float *, size_t); } table[] = {
        { "silu", nn_silu, silu_backward }, { "gelu", nn_gelu, gelu_backward },
        { "quick_gelu", nn_quick_gelu, quick_gelu_backward }
    };
    x = filled(EACH);
    for (size_t i = 0; i < EACH; i++)
        x[i] = i ? 4 * x[i] : 0; /* 0 has a rule of its own */
    for (size_t i = 0; i < COUNT(table); i++) {
        each = table[i].f;
        each_back = table[i].b;
        solve(&(problem){ table[i].name, EACH, forward_each, back_each, { { "x", x, EACH, NULL } } });
    }
    solve(&(problem){ "geglu", EACH / 2, forward_geglu, back_geglu, { { "x", x, EACH, NULL } } });
    free(x);
}

static float *second;
static void forward_concat(nn *c, float *y) { nn_concat(c, y, x, 3, second, 2, 4); }
static void back_concat(backward *g, float *const *d, const float *dy)
{
    (void)g;
    concat_backward(d[0], 3, d[1], 2, dy, 4);
}
static void forward_upsample(nn *c, float *y) { nn_upsample2x(c, y, x, 2, HIGH, WIDE, 2); }
static void back_upsample(backward *g, float *const *d, const float *dy)
{
    upsample2x_backward(g->c, d[0], dy, 2, HIGH, WIDE, 2);
}

static void of_moves(void)
{
    x = filled(40);
    second = filled(8);
    solve(&(problem){ "concat", 20, forward_concat, back_concat,
                      { { "a", x, 12, NULL }, { "b", second, 8, NULL } } });
    solve(&(problem){ "upsample2x", 2 * HIGH * WIDE * 2, forward_upsample, back_upsample,
                      { { "x", x, 2 * 2 * 5 * 2, NULL } } });
    free(x), free(second);
}

/* ---- the ResNet block ---- */

enum { SIDE = 3, CI = 4, CO = 6, TIME = 5 };
static resnet block;
static float *temb;

static void forward_resnet(nn *c, float *y) { resnet_forward(c, &block, y, x, temb, 2, SIDE, SIDE); }
static void back_resnet(backward *g, float *const *d, const float *dy)
{
    resnet_backward(g, &block, d[0], d[1], dy, x, temb, 2, SIDE, SIDE);
}

/* With a shortcut and a time embedding, and without, as the VAE's middle has it. */
static void of_resnet(void)
{
    float *w1 = filled(CO * CO * 9), *w2 = filled(CO * CO * 9), *ws = filled(CO * CI);
    float *wt = filled(CO * TIME);
    float *gamma = filled(CO), *beta = filled(CO), *bias = filled(CO);
    x = filled(2 * SIDE * SIDE * CO);
    temb = filled(TIME);
    for (size_t i = 0; i < CO; i++)
        gamma[i] = 1 + gamma[i] / 4;
    block = (resnet){ { gamma, beta, CI }, { gamma, beta, CO }, { mine(w1), bias, CI, CO, 3 },
                      { mine(w2), bias, CO, CO, 3 }, { mine(ws), bias, CI, CO, 1 },
                      { mine(wt), bias, TIME, CO }, 2, 1e-5f };
    solve(&(problem){ "resnet", 2 * SIDE * SIDE * CO, forward_resnet, back_resnet,
                      { { "x", x, 2 * SIDE * SIDE * CI, NULL }, { "temb", temb, TIME, NULL },
                        { "conv1", w1, CO * CI * 9, &block.conv1.w },
                        { "conv2", w2, CO * CO * 9, &block.conv2.w },
                        { "shortcut", ws, CO * CI, &block.conv_shortcut.w },
                        { "time", wt, CO * TIME, &block.time_emb_proj.w } } });
    block.norm1.C = block.conv1.ci = CO;
    block.conv_shortcut.k = block.time_emb_proj.out = 0;
    solve(&(problem){ "resnet alone", 2 * SIDE * SIDE * CO, forward_resnet, back_resnet,
                      { { "x", x, 2 * SIDE * SIDE * CO, NULL },
                        { "conv1", w1, CO * CO * 9, &block.conv1.w } } });
    free(w1), free(w2), free(ws), free(wt), free(gamma), free(beta), free(bias), free(x), free(temb);
}

/* ---- the tape ---- */

static void tapes(void)
{
    static tape t;
    static unsigned char room[TAPE_OUTPUTS * 64];
    arena keep = { .base = room, .size = sizeof room };
    float one = 1, two = 2;
    const module_output first = { "a.0", &one, 0, 1, 1, 1, 1, 0 }, next = { "a.1", &two, 0, 1, 1, 1, 1, 0 };
    const module_output more = { "more", &one, 0, 1, 1, 1, 1, 0 };
    t.keep = &keep;
    tape_record(&t, NULL, &first);
    tape_record(&t, NULL, &next);
    CHECK(*tape_get(&t, "a.%d", 1) == 2 && *tape_get(&t, "%s", "a.0") == 1 && !tape_get(&t, "a"), "names");
    for (size_t i = 2; i < TAPE_OUTPUTS; i++)
        tape_record(&t, NULL, &more);
    CHECK(!keep.failed, "%d outputs do not fit", TAPE_OUTPUTS);
    tape_record(&t, NULL, &more);
    CHECK(keep.failed, "more than %d outputs", TAPE_OUTPUTS);
}

const test_case backward_tests[] = {
    { "linear", of_linear }, { "conv", of_conv }, { "norms", of_norms }, { "attention", of_attention },
    { "activations", of_activations }, { "moves", of_moves }, { "resnet", of_resnet }, { "tapes", tapes },
    { NULL, NULL },
};
