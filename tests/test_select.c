/* test_select.c: scores, selected latents and ablations: against the definitions in double, and against
 * PyTorch.
 *
 *   residuals, shared and steered latents, densities == plain loops
 *   scores, selections, ablated activations          == goldens
 *
 * Not here: which hook and SAE serve a concept (test_forget.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "goldens.h"
#include "shots.h"
#include "arithmetic/rng.h"
#include "select.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

/* At percentile 100 nothing is above the threshold: under `paper` no bit changes; the other two forms return
 * the SAE's work. */
static void nothing_selected(void)
{
    shot plain, s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &plain);
    CHECK(try_forget(x, "Sketch", 0, 100, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &s);
    CHECK(same(&plain, &s), "forgetting nothing changes bits");
    must_shoot(x, (saeuron_generate_options){ .count = 2, .residual = SAEURON_RESIDUAL_RELEASED }, &s);
    CHECK(!same(&plain, &s), "residual released with nothing selected is 2 decode(f) - x, not x");
    must_shoot(x, (saeuron_generate_options){ .count = 2, .residual = SAEURON_RESIDUAL_NONE }, &s);
    CHECK(!same(&plain, &s), "residual none is the reconstruction, not x");
    saeuron_remember(x);
    must_shoot(x, (saeuron_generate_options){ .count = 2, .residual = SAEURON_RESIDUAL_NONE }, &s);
    CHECK(same(&plain, &s), "remembering does not bring the picture back");
    done(x);
}

/* An ablation on the tiny style SAE, with selections made by hand. Returns the share of the memory planned
 * that it used. */
static double run_ablate(saeuron_context *x, ablation *a, float *y, const float *input, size_t step)
{
    arena work = { 0 };
    nn    c;
    CHECK(nn_init(&c, NULL, x->threads, &work), "no kernels");
    ablate(&c, a, NULL, ROWS, 0); /* the plan is made for step 0 and must do for all */
    const size_t planned = work.peak;
    void *memory = malloc(planned + 64);
    work = (arena){ .base = memory, .size = planned + 64 };
    memcpy(y, input, ROWS * 32 * sizeof *y);
    ablate(&c, a, y, ROWS, step);
    CHECK(!work.failed && work.used == 0, "ablate's plan was too small, or it keeps memory");
    free(memory);
    return (double)work.peak / (double)planned;
}

/* AUDIT A1, each form as method.md defines it, against the same in double: with nothing selected paper is x,
 * released 2 decode(f) - x, none decode(f); with latents selected, x + (f~ - f) W_dec, decode(f~) + decode(f)
 * - x, decode(f~). */
static void residual_forms(void)
{
    static float input[ROWS * 32], y[ROWS * 32];
    static plain_sae p;
    uint32_t start[2] = { 0, 0 }, latent[128];
    float    score[128] = { 0 }, mu[128], threshold[128];
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    ablation a = *x->hook[0];
    a.count = 1;
    a.forget[0] = (selection){ .how = { .top = 1, .strength = -3 },
                               .steps = 1,
                               .start = start,
                               .latent = latent,
                               .score = score,
                               .mu = mu,
                               .threshold = threshold };
    plain_load(&p, &a.sae);
    random_input(input, ROWS * 32);
    for (uint32_t i = 0; i < 128; i++) {
        latent[i] = i;
        mu[i] = 0.25f + (float)i / 512;
        threshold[i] = 0.5f;
    }
    for (int form = 0; form < 6; form++) {
        size_t edits = 0;
        double worst = 0;
        a.residual = form % 3;
        start[1] = form < 3 ? 0 : 128;
        run_ablate(x, &a, y, input, 0);
        for (size_t m = 0; m < ROWS; m++) {
            const float *in = input + m * 32;
            double f[128], g[128], df[32], dg[32];
            plain_encode(&p, f, in);
            for (size_t i = 0; i < 128; i++) {
                const bool on = form >= 3 && f[i] > 0.5;
                g[i] = on ? -3.0 * (double)mu[i] * f[i] : f[i];
                edits += on;
            }
            plain_decode(&p, df, f, true);
            plain_decode(&p, dg, g, true);
            for (size_t j = 0; j < 32; j++) {
                const double want = a.residual == SAEURON_RESIDUAL_PAPER ? (double)in[j] + (dg[j] - df[j])
                                    : a.residual == SAEURON_RESIDUAL_RELEASED
                                        ? dg[j] + (df[j] - (double)in[j])
                                        : dg[j];
                const double miss = fabs((double)y[m * 32 + j] - want);
                worst = miss > worst ? miss : worst;
            }
        }
        CHECK(worst < 2e-5 && (form < 3 || edits > ROWS),
              "residual %d, %s selected: %.2e from the definition, %zu edits", a.residual,
              form < 3 ? "nothing" : "all", worst, edits);
        if (form == SAEURON_RESIDUAL_PAPER)
            CHECK(!memcmp(y, input, sizeof y), "residual paper with nothing selected changes bits");
    }
    done(x);
}

/* The largest latent of the first token, and its f, as the ablation sees them. */
static float first_latent(ablation *a, float *input, uint32_t *latent)
{
    static unsigned char memory[1 << 18];
    arena work = { .base = memory, .size = sizeof memory };
    nn    c;
    uint32_t idx[8 * ROWS], count[ROWS];
    float val[8 * ROWS], best = 0;
    nn_init(&c, NULL, 1, &work);
    sae_encode(&c, &a->sae, idx, val, count, input, ROWS);
    for (uint32_t j = 0; j < count[0]; j++)
        if (val[j] > best) {
            best = val[j];
            *latent = idx[j];
        }
    CHECK(best > 0 && !work.failed, "no latent fires");
    return best;
}

/* AUDIT A5 and the strict threshold, on one latent: masks are taken on the original f; of the factors that
 * apply the one farthest from 1 counts, of equals the first named; f equal to the threshold does not fire.
 * `shared` released: the last concept's outcome stands, be it none. */
static void shared_latents(void)
{
    static float input[ROWS * 32], y[ROWS * 32];
    /* thresholds in f's: 1 is f itself */
    static const struct { float strength[2], threshold[2]; int winner; } cases[] = {
        /* farthest from 1, in either order */
        { { 0.5f, -2 }, { 0, 0 }, 1 }, { { -2, 0.5f }, { 0, 0 }, 0 },
        { { 3, -1 }, { 0, 0 }, 0 },    { { -1, 3 }, { 0, 0 }, 0 },          /* equally far: the first named */
        /* a mask above f never applies, even once f was enlarged */
        { { 1.5f, -2 }, { 0, 2 }, 0 }, { { 5, 1.5f }, { 0, 2 }, 0 },
        { { -2, -3 }, { 1, 1 }, -1 },  { { -2, -3 }, { 1, 0.999f }, 1 },    /* strict */
        { { 0, 1 }, { 0, 0 }, 0 },     { { 2.5f, 0 }, { 0, 0 }, 0 },
    };
    uint32_t start[2] = { 0, 1 }, latent[1] = { 0 };
    float    score[1] = { 0 }, mu[1] = { 1 }, threshold[2][1];
    edit_log    l;
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    ablation a = *x->hook[0];
    a.observe = note_edit;
    a.observe_user = &l;
    a.residual = SAEURON_RESIDUAL_PAPER;
    random_input(input, ROWS * 32);
    const float f = first_latent(&a, input, latent);
    /* the same again as the released scatter leaves it */
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        const size_t released = i % 2, which = i / 2;
        a.count = 2;
        a.shared = released ? SAEURON_SHARED_RELEASED : SAEURON_SHARED_LARGEST;
        for (size_t c = 0; c < 2; c++) {
            threshold[c][0] = cases[which].threshold[c] == 1 ? f : f * cases[which].threshold[c];
            a.forget[c] = (selection){ .how = { .top = 1, .strength = cases[which].strength[c] },
                                       .steps = 1,
                                       .start = start,
                                       .latent = latent,
                                       .score = score,
                                       .mu = mu,
                                       .threshold = threshold[c] };
            snprintf(a.forget[c].concept, sizeof a.forget[c].concept, "%s", c ? "second" : "first");
        }
        l.count = 0;
        run_ablate(x, &a, y, input, 0);
        const edit *e = NULL;
        for (size_t j = 0; j < l.count && j < 64; j++)
            if (l.at[j].row == 0)
                e = &l.at[j];
        /* the last, whatever came before */
        const int winner = !released                                              ? cases[which].winner
                           : f > threshold[1][0] && cases[which].strength[1] != 1 ? 1
                                                                                  : -1;
        if (winner < 0) {
            CHECK(!e, "case %zu: f was edited all the same", i);
            CHECK(!memcmp(y, input, 32 * sizeof *y), "case %zu: the token changed", i);
            continue;
        }
        const float factor = cases[which].strength[winner];
        CHECK(e && e->latent == latent[0] && e->f == f && e->factor == factor && e->after == factor * f &&
                  !strcmp(e->concept, winner ? "second" : "first"),
              "case %zu: %s with factor %g and after %g, not factor %g", i, e ? e->concept : "no edit",
              e ? (double)e->factor : 0, e ? (double)e->after : 0, (double)factor);
    }
    done(x);
}

/* Latents whose mean on the concept is less than min_lift times the mean over all concepts are out before the
 * K best are taken; one at the limit is in, one that never fires is not. */
static void min_lift(void)
{
    static float score[128], mu[128];
    static double scratch[256];
    saeuron_error e = { 0 };
    tiny_make(&files);
    saeuron_context *x = opened(NULL, 1);
    size_t fewer = 0;
    for (size_t top = 8; top <= 128; top += 120) {
        const saeuron_forget_options o = { .name = "Sketch", .top = top, .min_lift = 1.25 };
        CHECK(saeuron_forget(x, &o, &e) == SAEURON_OK, "%s", e.text);
        const stats *s = &x->hook[0]->stats;
        const selection *sel = &x->hook[0]->forget[0];
        for (size_t t = 0; t < TINY_STEPS; t++) {
            const float *mean = s->threshold + t * 128;
            latent_scores(s, score, 0, t, scratch);
            stats_mu(s, mu, 0, t);
            for (size_t i = 0; i < 128; i++) {
                size_t better = 0; /* latents lifted that stand before it */
                for (size_t j = 0; j < 128; j++)
                    better += mu[j] > 0 && (double)mu[j] >= 1.25 * (double)mean[j] &&
                              (score[j] > score[i] || (score[j] == score[i] && j < i));
                const bool in = mu[i] > 0 && (double)mu[i] >= 1.25 * (double)mean[i] && better < top;
                bool found = false;
                for (size_t k = sel->start[t]; k < sel->start[t + 1]; k++)
                    found |= sel->latent[k] == i;
                CHECK(found == in, "top %zu, step %zu: latent %zu is %s", top, t, i, found ? "in" : "out");
            }
            fewer += sel->start[t + 1] - sel->start[t] < top;
        }
        saeuron_remember(x);
    }
    CHECK(fewer >= TINY_STEPS, "the lift excludes nothing: %zu", fewer);
    saeuron_forget_options o = { .name = "Sketch", .top = 8, .min_lift = 1000 };
    check_error("none so lifted", saeuron_forget(x, &o, &e), SAEURON_EUSAGE, &e, "Sketch|min_lift");
    o.min_lift = -1;
    check_error("a negative lift", saeuron_forget(x, &o, &e), SAEURON_EUSAGE, &e, "min_lift");
    done(x);
}

/* AUDIT A3: latents that fire too seldom are out before the K best are taken, or the percentile of those that
 * are left; a latent at the limit is in. */
static void min_density(void)
{
    static const size_t shape[2] = { TINY_STEPS, 128 };
    static tiny_list l;
    static float score[128];
    static double scratch[256];
    saeuron_error e = { 0 };
    tiny_make(&files);
    for (size_t c = 0; c < 3; c++) {
        tiny_tensor *t = tiny_tensor_add(&l, (const char *const[]){ "Sketch", "Van Gogh", "Watercolor" }[c],
                                         DT_F32, 2, shape);
        for (size_t i = 0; i < t->count; i++)
            t->values[i] = (float)((i * 7 + c) % 16) / 16;
    }
    const char *const name = "sae/" TINY_STYLES "/density.safetensors";
    tiny_save(&files, name, &l, 0, 3, "{\"what\":\"density\",\"timesteps\":\"751,501,251,1\"}");
    saeuron_context *x = opened(NULL, 1);
    for (size_t top = 0; top <= 8; top += 8) {
        const saeuron_forget_options o = {
            .name = "Sketch", .top = top, .percentile = top ? 0 : 90, .min_density = 0.75
        };
        CHECK(saeuron_forget(x, &o, &e) == SAEURON_OK, "%s", e.text);
        const stats *s = &x->hook[0]->stats;
        const selection *sel = &x->hook[0]->forget[0];
        size_t all = 0;
        for (size_t t = 0; t < TINY_STEPS; t++) {
            size_t dense = 0, count = 0;
            latent_scores(s, score, 0, t, scratch);
            for (size_t i = 0; i < 128; i++) {
                size_t better = 0; /* dense latents that stand before it */
                for (size_t j = 0; j < 128; j++)
                    better += (t * 128 + j) * 7 % 16 >= 12 &&
                              (score[j] > score[i] || (score[j] == score[i] && j < i));
                if ((t * 128 + i) * 7 % 16 < 12)
                    continue;
                dense++;
                /* 32 are dense; r = 0.9 x 31 = 27.9: above it lie 4 */
                const bool in = top ? better < top : better < 4;
                count += in;
                bool found = false;
                for (size_t k = sel->start[t]; k < sel->start[t + 1]; k++)
                    found |= sel->latent[k] == i;
                CHECK(found == in, "top %zu, step %zu: latent %zu, behind %zu, is %s", top, t, i, better,
                      found ? "in" : "out");
            }
            CHECK(dense == 32 && sel->start[t + 1] - sel->start[t] == count,
                  "top %zu, step %zu: %zu of %zu selected", top, t,
                  (size_t)(sel->start[t + 1] - sel->start[t]), count);
            all += count;
        }
        CHECK(all == TINY_STEPS * (top ? top : 4), "%zu selected", all);
        saeuron_remember(x);
    }
    saeuron_forget_options o = { .name = "Sketch", .top = 8, .min_density = 0.95 };
    check_error("none so dense", saeuron_forget(x, &o, &e), SAEURON_EUSAGE, &e, "Sketch|min_density");
    o.min_density = 1.5;
    check_error("a share above 1", saeuron_forget(x, &o, &e), SAEURON_EUSAGE, &e, "from 0 to 1");
    o.name = "Cats";
    o.min_density = 0.5;
    check_error("no densities", saeuron_forget(x, &o, &e), SAEURON_ENOENT, &e,
                TINY_OBJECTS "/density.safetensors|min_density");
    saeuron_close(x);
    o.name = "Sketch";
    tiny_save(&files, name, &l, 0, 2, "{\"what\":\"density\",\"timesteps\":\"751,501,251,1\"}");
    x = opened(NULL, 1);
    check_error("a concept missing", saeuron_forget(x, &o, &e), SAEURON_EFORMAT, &e,
                "density.safetensors|Watercolor");
    tiny_save(&files, name, &l, 0, 3, "{\"what\":\"density\",\"timesteps\":\"751,501,251,2\"}");
    saeuron_close(x);
    x = opened(NULL, 1);
    check_error("other timesteps", saeuron_forget(x, &o, &e), SAEURON_EFORMAT, &e,
                "density.safetensors|timesteps");
    tiny_drop(&l);
    done(x);
}

/* AUDIT A20: a steered latent becomes FACTOR f wherever it fires, in each residual form, against the same in
 * double. Where a concept selects it, too, the FACTOR alone counts: not the concept's, not their product, and
 * 1 exempts it from forgetting. Reconstruction is decode(f), whatever the residual. */
static void steer_forms(void)
{
    static const struct { float factor[2]; bool forgotten, reconstruct; } cases[] = {
        { { -3, 0.5f }, false, false }, { { -3, 0.5f }, true, false }, { { 1, 1 }, true, false },
        { { 0, 40 }, true, false }, { { 1, 1 }, false, true }
    };
    static float input[ROWS * 32], y[ROWS * 32];
    static plain_sae p;
    uint32_t start[2] = { 0, 128 }, latent[128], some[2] = { 0, 0 };
    float    score[128] = { 0 }, mu[128], threshold[128];
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    ablation a = *x->hook[0];
    a.forget[0] = (selection){ .how = { .top = 1, .strength = -2 },
                               .steps = 1,
                               .start = start,
                               .latent = latent,
                               .score = score,
                               .mu = mu,
                               .threshold = threshold };
    plain_load(&p, &a.sae);
    random_input(input, ROWS * 32);
    first_latent(&a, input, &some[0]);
    memcpy(y, input + 32, 32 * sizeof *y);
    first_latent(&a, y, &some[1]);
    CHECK(some[0] != some[1], "the first two tokens are alike");
    for (uint32_t i = 0; i < 128; i++) {
        latent[i] = i;
        mu[i] = 0.25f + (float)i / 512;
        threshold[i] = 0.5f;
    }
    for (size_t i = 0; i < 3 * sizeof cases / sizeof *cases; i++) {
        size_t steered = 0;
        double worst = 0;
        a.residual = (int)(i % 3);
        a.count = cases[i / 3].forgotten;
        a.steers = cases[i / 3].reconstruct ? 0 : 2;
        a.reconstruct = cases[i / 3].reconstruct;
        for (size_t j = 0; j < 2; j++)
            a.steer[j] = (steering){ some[j], cases[i / 3].factor[j] };
        run_ablate(x, &a, y, input, 0);
        for (size_t m = 0; m < ROWS; m++) {
            const float *in = input + m * 32;
            double f[128], g[128], df[32], dg[32];
            plain_encode(&p, f, in);
            for (size_t l = 0; l < 128; l++) {
                const size_t j = l == some[0] ? 0 : l == some[1] ? 1 : 2;
                g[l] = a.steers && j < 2       ? (double)cases[i / 3].factor[j] * f[l]
                       : a.count && f[l] > 0.5 ? -2.0 * (double)mu[l] * f[l]
                                               : f[l];
                steered += j < 2 && f[l] > 0;
            }
            plain_decode(&p, df, f, true);
            plain_decode(&p, dg, g, true);
            for (size_t j = 0; j < 32; j++) {
                const double want = a.reconstruct                          ? df[j]
                                    : a.residual == SAEURON_RESIDUAL_PAPER ? (double)in[j] + (dg[j] - df[j])
                                    : a.residual == SAEURON_RESIDUAL_RELEASED
                                        ? dg[j] + (df[j] - (double)in[j])
                                        : dg[j];
                const double miss = fabs((double)y[m * 32 + j] - want);
                worst = miss > worst ? miss : worst;
            }
        }
        CHECK(worst < 5e-5 && steered > 8,
              "case %zu, residual %d: %.2e from the definition; %zu latents steered", i / 3, a.residual,
              worst, steered);
    }
    done(x);
}

/* Under residual paper the few selected latents are looked at first and only the tokens that they may change
 * are encoded. Random selections on boundaries: the bytes must be those of encoding every token, which an
 * observer asks for. With TopK and, a third of them, with GroupMax. */
static void few_latents(void)
{
    static float input[ROWS * 32], y[ROWS * 32], full[ROWS * 32];
    static plain_sae p;
    static const float factors[] = { -3, 0, 1, 0.5f, 40 };
    uint32_t start[2][3], latent[2][4];
    float    score[4] = { 0 }, mu[2][4], threshold[2][4], bias[128];
    size_t   kinds[3] = { 0, 0, 0 }; /* runs that change no token, some, all */
    edit_log    l;
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    for (size_t i = 0; i < 600; i++) {
        ablation a = *x->hook[0];
        uint64_t r = 0;
        size_t changed = 0;
#define DRAW(n) ((size_t)(rng_value(7, i, r++) % (n)))
        random_input(input, ROWS * 32);
        plain_load(&p, &a.sae);
        for (size_t m = 0; m < ROWS; m++)
            for (size_t j = 0; j < 32;
                 j++) /* some tokens at b_dec, where z is the bias alone; some far from it */
                input[m * 32 + j] = m % 7 == 3   ? p.bd[j]
                                    : m % 7 == 4 ? 30 * input[m * 32 + j]
                                                 : input[m * 32 + j];
        a.count = DRAW(3);
        a.steers = DRAW(3);
        a.residual = SAEURON_RESIDUAL_PAPER;
        a.sae.groupmax = i % 3 == 2;
        a.stats.steps = DRAW(2) ? a.stats.steps : 0; /* as if there were no statistics */
        memcpy(bias, a.sae.encoder.bias, sizeof bias);
        a.sae.encoder.bias = bias;
        /* latents that fire everywhere, nowhere, or as they are */
        const size_t pair = 2 * DRAW(60), pull = DRAW(4);
        bias[pair] += pull == 0 ? 500.0f : pull == 1 ? -500.0f : 0.0f;
        for (size_t c = 0; c < a.count; c++) {
            start[c][0] = 0;
            start[c][1] = (uint32_t)DRAW(3);
            start[c][2] = start[c][1] + (uint32_t)DRAW(3);
            /* two neighbours, often shared; the thresholds at 0, within f's range, above all */
            for (size_t j = 0; j < 4; j++) {
                latent[c][j] = (uint32_t)(pair + j % 2);
                mu[c][j] = DRAW(3) ? 0.5f : DRAW(2) ? 1.0f : 0.0f;
                threshold[c][j] = DRAW(3) == 0 ? 0.0f : DRAW(2) ? 0.4f * (float)DRAW(10) : 1e9f;
            }
            if (start[c][1] == 1)
                latent[c][1]--; /* the second step begins there */
            a.forget[c] = (selection){ .how = { .top = 1, .strength = factors[DRAW(5)] },
                                       .steps = 2,
                                       .start = start[c],
                                       .latent = latent[c],
                                       .score = score,
                                       .mu = mu[c],
                                       .threshold = threshold[c] };
        }
        for (size_t j = 0; j < a.steers; j++) {
            a.steer[j].latent = (uint32_t)(pair + j + DRAW(2) * 4);
            a.steer[j].factor = factors[DRAW(5)];
        }
        const size_t step = DRAW(2);
        x->threads = 1 + (int)DRAW(2);
        const double used = run_ablate(x, &a, y, input, step);
        a.observe = note_edit;
        a.observe_user = &l;
        run_ablate(x, &a, full, input, step);
        CHECK(!memcmp(y, full, sizeof y),
              "case %zu: %zu concepts, %zu steered: other bytes than by encoding every token", i, a.count,
              a.steers);
        for (size_t m = 0; m < ROWS; m++)
            changed += memcmp(y + m * 32, input + m * 32, 32 * sizeof *y) != 0;
        kinds[changed == 0 ? 0 : changed < ROWS ? 1 : 2]++;
        if (a.count == 0 && a.steers == 0)
            CHECK(used < 0.9 && !changed, "case %zu: without a latent to look at %.2f of the memory was used",
                  i, used);
    }
    test_note("%zu runs change no token, %zu some, %zu all", kinds[0], kinds[1], kinds[2]);
    CHECK(kinds[0] > 50 && kinds[1] > 50 && kinds[2] > 50, "%zu runs change no token, %zu some, %zu all",
          kinds[0], kinds[1], kinds[2]);
    done(x);
}

/* What a JSON object {"concept", "percentile" | "top", "strength"} chooses. */
static choice choice_of(json v)
{
    return (choice){ .top = size_at(v, "top"),
                     .percentile = number(v, "percentile", 0),
                     .strength = (float)number(v, "strength", -1) };
}

/* The golden NAME, [T,m], lists the latents chosen at each step. */
static void check_selection(tensors *g, const char *name, const stats *s, const char *concept, choice how)
{
    const tensor *t = golden(g, DT_I64, name);
    const int at = stats_find(s, concept);
    selection sel;
    CHECK(at >= 0, "the statistics lack %s", concept);
    if (!t || at < 0)
        return;
    if (selection_make(&sel, &host, s, (size_t)at, how, &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    const size_t m = t->shape[1];
    for (size_t step = 0; step < s->steps; step++) {
        CHECK(sel.start[step + 1] - sel.start[step] == m, "%s: step %zu selects %" PRIu32 " latents, not %zu",
              name, step, sel.start[step + 1] - sel.start[step], m);
        for (size_t j = 0; j < m && sel.start[step] + j < sel.start[step + 1]; j++)
            CHECK((int64_t)sel.latent[sel.start[step] + j] == i64_at(t, step * m + j),
                  "%s: step %zu selects %" PRIu32 ", not %" PRId64, name, step,
                  sel.latent[sel.start[step] + j], i64_at(t, step * m + j));
    }
    selection_free(&sel, &host);
}

static void check_scores(sae_run *r)
{
    const stats *s = &r->a.stats;
    float  *score = malloc(s->steps * s->n * sizeof *score);
    double *scratch = malloc(2 * s->n * sizeof *scratch);
    for (size_t c = 0; score && scratch && c < s->concepts; c++) {
        char name[64];
        snprintf(name, sizeof name, "select.score.%s", stats_name(s, c));
        for (size_t t = 0; t < s->steps; t++)
            latent_scores(s, score + t * s->n, c, t, scratch);
        check_truth(&r->g, name, score, s->steps * s->n);
    }
    free(score);
    free(scratch);
    check_truth(&r->g, "select.threshold", s->threshold, s->steps * s->n);
}

/* Scores, thresholds, and the sets that percentiles and top K choose, step by step; also in a domain of one
 * concept. */
static void scores_and_selection(void)
{
    static sae_run r;
    static stats one;
    json list, how;
    char name[64], concept[64];
    if (sae_open_goldens(&r) && json_get(r.v, "select", &list)) {
        size_t i = 0;
        check_scores(&r);
        CHECK(stats_load(&one, &host, GOLDENS "/sae/stats_one.safetensors", &err) == SAEURON_OK, "%s",
              err.text);
        for (json_iter it = json_begin(list); json_next(&it, NULL, &how); i++) {
            text_at(how, "concept", concept, sizeof concept);
            snprintf(name, sizeof name, "select.%zu", i);
            check_selection(&r.g, name, &r.a.stats, concept, choice_of(how));
            snprintf(name, sizeof name, "select.one.%zu", i);
            check_selection(&r.g, name, &one, "Cats", choice_of(how));
        }
        stats_unload(&one, &host);
    }
    sae_close_goldens(&r, "select.");
}

static void run_golden(nn *c, void *user)
{
    sae_run *r = user;
    const size_t mark = arena_mark(c->work);
    float *x = activations(c, r);
    ablate(c, &r->a, x, r->M, r->t);
    if (x)
        check_truth(&r->g, r->name, x, r->M * r->a.sae.d);
    arena_release(c->work, mark);
}

/* Two steps of one case, with every way for the SAE's error to return. */
static void check_ablation(sae_run *r, const char *name)
{
    static const char *const residuals[] = { "paper", "released", "none" };
    for (r->a.residual = SAEURON_RESIDUAL_PAPER; r->a.residual <= SAEURON_RESIDUAL_NONE; r->a.residual++)
        for (r->t = 0; r->t < 4; r->t += 2) {
            snprintf(r->name, sizeof r->name, "ablate.%s.%s.%zu", name, residuals[r->a.residual], r->t);
            planned_for(run_golden, r, false); /* the plan is for the step that selects most */
        }
}

/* The edit at a hook: masks, factors, latents that several concepts share (audit A5) or that are steered
 * (A20), residuals (A1). */
static void ablation_edits(void)
{
    static sae_run r;
    json list, v, forget, steer, how;
    char name[32], concept[64];
    if (sae_open_goldens(&r) && json_get(r.v, "ablate", &list))
        for (json_iter it = json_begin(list); json_next(&it, NULL, &v);) {
            text_at(v, "name", name, sizeof name);
            CHECK(json_get(v, "forget", &forget), "a config lacks \"forget\"");
            for (json_iter each = json_begin(forget); json_next(&each, NULL, &how);) {
                text_at(how, "concept", concept, sizeof concept);
                const int at = stats_find(&r.a.stats, concept);
                CHECK(at >= 0 && !selection_make(&r.a.forget[r.a.count++], &host, &r.a.stats, (size_t)at,
                                                 choice_of(how), &err),
                      "%s", err.text);
            }
            r.a.steers = 0;
            if (json_get(v, "steer", &steer))
                for (json_iter each = json_begin(steer); json_next(&each, NULL, &how);)
                    r.a.steer[r.a.steers++] = (steering){ (uint32_t)size_at(how, "latent"),
                                                          (float)number(how, "factor", 0) };
            check_ablation(&r, name);
            while (r.a.count)
                selection_free(&r.a.forget[--r.a.count], &host);
        }
    sae_close_goldens(&r, "ablate.");
}

/* s_i = mu_i / (sum mu + 1e-8) - others_i / (sum others + 1e-8): at a sum of 1e-8 half of what it would be
 * without. */
static void epsilon(void)
{
    enum { N = 128 };
    static const struct { double mu, others, score[2]; } cases[] = {
        { 1e-8, 0, { 0.5, 0 } },        { 3e-8, 0, { 0.75, 0 } }, { 0, 1e-8, { 0, -0.5 } },
        { 1e-8, 3e-8, { 0.5, -0.75 } }, { 0, 0, { 0, 0 } },       { 1e-9, 1e-9, { 1 / 11.0, -1 / 11.0 } },
    };
    static const char *const names[] = { "Sketch", "Van Gogh", "Watercolor" };
    static tiny_list l;
    float score[N];
    double scratch[2 * N];
    saeuron_error e = { 0 };
    tiny_make(&files);
    const saeuron_host served = tiny_host(&files);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stats s;
        for (size_t c = 0; c < 3; c++) { /* one latent of the concept's, another of each of the others' */
            tiny_tensor *t = tiny_tensor_add(&l, names[c], DT_F32, 2, (const size_t[]){ TINY_STEPS, N });
            for (size_t step = 0; step < TINY_STEPS; step++)
                t->values[step * N + (c ? 9 : 5)] = (float)(c ? cases[i].others : cases[i].mu);
        }
        tiny_save(&files, "sae/" TINY_STYLES "/stats.safetensors", &l, 0, 3,
                  "{\"hook\":\"unet." TINY_STYLES "\",\"steps\":\"4\",\"timesteps\":\"751, 501, 251, 1\","
                  "\"prompts\":\"{\\\"Sketch\\\": 2, \\\"Van Gogh\\\": 3, \\\"Watercolor\\\": 4}\"}");
        tiny_drop(&l);
        CHECK(stats_load(&s, &served, "tiny/sae/" TINY_STYLES "/stats.safetensors", &e) == SAEURON_OK, "%s",
              e.text);
        latent_scores(&s, score, (size_t)stats_find(&s, "Sketch"), 1, scratch);
        CHECK(fabs(score[5] - cases[i].score[0]) < 1e-6 && fabs(score[9] - cases[i].score[1]) < 1e-6,
              "means %g and %g: scores %.9g and %.9g", cases[i].mu, cases[i].others, score[5], score[9]);
        stats_unload(&s, &served);
    }
    tiny_free(&files);
}

const test_case select_tests[] = {
    { "nothing_selected", nothing_selected }, { "residual_forms", residual_forms },
    { "shared_latents", shared_latents }, { "min_density", min_density },
    { "min_lift", min_lift }, { "steer_forms", steer_forms },
    { "few_latents", few_latents }, { "scores_and_selection", scores_and_selection },
    { "ablation_edits", ablation_edits }, { "epsilon", epsilon }, { NULL, NULL },
};
