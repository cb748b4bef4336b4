/* test_ablation_backward.c: the derivative through an edit at a hook, against differences of the edit itself.
 *
 * Not here: the edit (test_select.c). */
#include "test.h"
#include "goldens.h"
#include "gradients/ablation_backward.h"
#include "saeuron.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;
static unsigned char memory[16u << 20];

enum { TOKENS = 24, STEP = 1 };

static void fresh_nn(nn *c, arena *work)
{
    *work = (arena){ .base = memory, .size = sizeof memory };
    CHECK(nn_init(c, NULL, 2, work), "nn_init failed");
}

/* The latents of one token and their factors; false if they differ from those in idx, factor. */
static bool same_edit(const ablation *a, const float *x, uint32_t *idx, float *factor, bool set)
{
    uint32_t now[64], count = 0;
    float    f[64];
    bool     same = true;
    arena    work;
    nn       c;
    fresh_nn(&c, &work);
    sae_encode(&c, &a->sae, now, f, &count, x, 1);
    for (size_t j = 0; j < a->sae.k; j++) {
        const float g = j < count ? ablation_factor(a, now[j], f[j], STEP) : 0;
        same &= set || (idx[j] == (j < count ? now[j] : 0) && factor[j] == g);
        idx[j] = j < count ? now[j] : 0;
        factor[j] = g;
    }
    return same;
}

/* sum of dy times the edited token. */
static double loss(const ablation *a, const float *x, const float *dy)
{
    float y[64];
    double sum = 0;
    arena work;
    nn    c;
    fresh_nn(&c, &work);
    memcpy(y, x, a->sae.d * sizeof *x);
    ablate(&c, a, y, 1, STEP);
    for (size_t i = 0; i < a->sae.d; i++)
        sum += (double)y[i] * (double)dy[i];
    return sum;
}

/* Of each token's each channel, where the same latents are edited on both sides. */
static void token_differences(const ablation *a, const char *what, float *x, const float *dy, const float *d,
                              size_t *tried, size_t *differs)
{
    const float h = 0x1p-9f;
    const size_t n = a->sae.d;
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fabs((double)d[i]) > largest ? fabs((double)d[i]) : largest;
        *differs += d[i] != dy[i];
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t idx[64];
        float    factor[64];
        const float was = x[i];
        same_edit(a, x, idx, factor, true);
        x[i] = was + h;
        const double above = loss(a, x, dy);
        bool same = same_edit(a, x, idx, factor, false);
        x[i] = was - h;
        const double quotient = (above - loss(a, x, dy)) / (2 * (double)h);
        same &= same_edit(a, x, idx, factor, false);
        x[i] = was;
        *tried += same;
        CHECK(!same || fabs(quotient - (double)d[i]) <= 0.01 * largest,
              "%s: channel %zu %g, but a difference says %g", what, i, (double)d[i], quotient);
    }
}

static void differences(void)
{
    static const struct { const char *what; int residual; bool reconstruct; } cases[] = {
        { "paper", SAEURON_RESIDUAL_PAPER, false }, { "released", SAEURON_RESIDUAL_RELEASED, false },
        { "none", SAEURON_RESIDUAL_NONE, false }, { "reconstruct", SAEURON_RESIDUAL_PAPER, true }
    };
    static float x[TOKENS * 64], dy[TOKENS * 64], d[TOKENS * 64];
    sae_run r;
    arena work;
    nn c;
    if (!sae_open_goldens(&r))
        return;
    fresh_nn(&c, &work);
    const size_t n = r.a.sae.d;
    memcpy(x, activations(&c, &r), sizeof x);
    memcpy(dy, input(&work, TOKENS * n, 1, "ablation.dy"), sizeof dy);
    const choice how = { .top = 40, .strength = -2 };
    CHECK(n == 64 && r.a.sae.k <= 64 && !ablation_forget(&r.a, &host, "Cats", how, &err), "%s", err.text);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        size_t tried = 0, differs = 0;
        r.a.residual = cases[k].residual;
        if (cases[k].reconstruct) {
            ablation_rest(&r.a, &host);
            CHECK(!ablation_reconstruct(&r.a, &err), "%s", err.text);
        }
        arena plan = { 0 };
        c.work = &plan;
        ablation_backward(&c, &r.a, NULL, NULL, TOKENS, STEP);
        work = (arena){ .base = memory, .size = plan.peak };
        c.work = &work;
        memcpy(d, dy, sizeof d);
        ablation_backward(&c, &r.a, d, x, TOKENS, STEP);
        CHECK(!work.failed && !work.used, "%s: planned %zu bytes", cases[k].what, plan.peak);
        for (size_t m = 0; m < TOKENS; m++)
            token_differences(&r.a, cases[k].what, x + m * n, dy + m * n, d + m * n, &tried, &differs);
        CHECK(tried > TOKENS * n / 2 && differs > TOKENS * n / 4, "%s: %zu tried, %zu differ from dy",
              cases[k].what, tried, differs);
    }
    ablation_rest(&r.a, &host);
    sae_close_goldens(&r, "none of these");
}

const test_case ablation_backward_tests[] = {
    { "differences", differences }, { NULL, NULL },
};
