/* test_gradient.c: derivatives of a whole pass on the tiny model: against differences of the loss, with and
 * without an edit at a hook; the same bytes whatever the kernels and threads; refusals are one line; every
 * allocation fails once.
 *
 * Not here: precision (test_unet_backward.c, test_clip_backward.c). */
#include "test.h"
#include "scratch.h"
#include "shots.h"
#include "gradients/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { T = 751 }; /* a timestep that the statistics know */

static gradient_options usual(const char *of)
{
    return (gradient_options){ .prompt = "a cat in Sketch style", .timestep = T, .seed = 4, .h = 8, .w = 8,
                               .of = of };
}

/* The derivative, to be freed, and its number of values. */
static float *derivative(saeuron_context *x, const gradient_options *o, size_t *n, double *loss)
{
    size_t shape[TENSOR_DIMS];
    int    ndim = 0;
    saeuron_error e = { 0 };
    CHECK(gradient_shape(x, o, shape, &ndim, &e) == SAEURON_OK, "%s: %s", o->of, e.text);
    *n = 1;
    for (int i = 0; i < ndim; i++)
        *n *= shape[i];
    float *d = calloc(*n + 1, sizeof *d);
    CHECK(gradient(x, o, d, loss, &e) == SAEURON_OK, "%s: %s", o->of, e.text);
    return d;
}

static double loss_of(saeuron_context *x, const gradient_options *o)
{
    size_t n;
    double loss;
    free(derivative(x, o, &n, &loss));
    return loss;
}

/* By the latents, of every fifth; `edited`: with concepts forgotten at a hook. */
static void differ(bool edited)
{
    static float latents[TINY_LATENT], target[TINY_LATENT];
    const float h = 0x1p-8f;
    double loss, largest = 0;
    size_t n, tried = 0;
    saeuron_context *x = fresh();
    gradient_options o = usual("latents");
    random_input(latents, TINY_LATENT);
    random_input(target, TINY_LATENT);
    o.latents = latents;
    o.target = target;
    if (edited)
        must_forget(x, "Sketch", 12);
    float *d = derivative(x, &o, &n, &loss);
    o.around = true;
    float *past = derivative(x, &o, &n, &loss);
    o.around = false;
    CHECK(n == TINY_LATENT && loss > 0, "%zu values, loss %g", n, loss);
    CHECK((memcmp(d, past, n * sizeof *d) != 0) == edited, "through the edit and past it");
    for (size_t i = 0; i < n; i++)
        largest = fabs((double)d[i]) > largest ? fabs((double)d[i]) : largest;
    for (size_t i = 0; i < n; i += 5) {
        const float was = latents[i];
        latents[i] = was + h;
        const double above = loss_of(x, &o);
        latents[i] = was - h;
        const double quotient = (above - loss_of(x, &o)) / (2 * (double)h);
        latents[i] = was;
        tried += fabs(quotient - (double)d[i]) < 0.02 * largest;
    }
    /* Where another latent comes among the k largest, the loss has a step, and its difference says
     * nothing. */
    CHECK(tried >= (edited ? 46 : 52), "%zu of 52 differences agree", tried);
    free(d), free(past);
    done(x);
}

static void plain(void) { differ(false); }
static void through(void) { differ(true); }

/* By each kind of thing, under each way to name it. */
static void every_kind(void)
{
    static const char *const of[] = { "text", "tokens", "unet.conv_in.weight", "conv_out.bias",
                                      "text_encoder.text_model.final_layer_norm.weight",
                                      "encoder.layers.0.mlp.fc1.weight" };
    saeuron_context *x = fresh();
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        size_t n, changed = 0;
        double loss;
        const gradient_options o = usual(of[k]);
        float *d = derivative(x, &o, &n, &loss);
        for (size_t i = 0; i < n; i++)
            changed += d[i] != 0;
        CHECK(changed > n / 4, "%s: %zu of %zu are not 0", of[k], changed, n);
        free(d);
    }
    done(x);
}

/* No kernels, no number of threads changes a bit. */
static void bits(void)
{
    static const char *const isa[] = { "reference", "scalar", NULL };
    static const char *const of[] = { "latents", "tokens", "down_blocks.0.resnets.0.conv1.weight" };
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        float *first = NULL;
        for (int i = 0; i < 3; i++)
            for (int threads = 1; threads <= 3; threads += 2) {
                size_t n;
                double loss;
                tiny_make(&files);
                saeuron_context *x = opened(isa[i], threads);
                const gradient_options o = usual(of[k]);
                must_forget(x, "Sketch", 12);
                float *d = derivative(x, &o, &n, &loss);
                CHECK(!first || !memcmp(first, d, n * sizeof *d), "%s: kernels %s, %d threads: other bits",
                      of[k], isa[i] ? isa[i] : "best", threads);
                if (first)
                    free(d);
                else
                    first = d;
                done(x);
            }
        free(first);
    }
}

static void refuses(saeuron_context *x, gradient_options o, int code, const char *words)
{
    static float d[1 << 16];
    double loss;
    saeuron_error e = { 0 };
    CHECK(gradient(x, &o, d, &loss, &e) == code && strstr(e.text, words), "\"%s\", not \"%s\"", e.text,
          words);
}

static void refusals(void)
{
    static float bad[TINY_LATENT] = { 0, NAN };
    gradient_options o = usual("text");
    saeuron_context *x = fresh();
    o.of = "conv_inn.weight";
    refuses(x, o, SAEURON_EUSAGE, "there is no tensor conv_inn.weight");
    o = usual("text_encoder.conv_in.weight");
    refuses(x, o, SAEURON_EUSAGE, "there is no tensor");
    o = usual("text");
    o.timestep = 1000;
    refuses(x, o, SAEURON_EUSAGE, "timestep must be from 0 to 999");
    o = usual("text");
    o.prompt = "\xff";
    refuses(x, o, SAEURON_EUSAGE, "UTF-8");
    o = usual("text");
    o.h = 0;
    refuses(x, o, SAEURON_EUSAGE, "sides of the latents");
    o.h = 1, o.w = 3;
    refuses(x, o, SAEURON_EUSAGE, "no multiple of 16");
    o = usual("text");
    o.latents = bad;
    refuses(x, o, SAEURON_ENAN, "latents: element 1 is not finite");
    o.latents = NULL;
    o.target = bad;
    refuses(x, o, SAEURON_ENAN, "target: element 1");
    must_forget(x, "Sketch", 4);
    o = usual("text");
    o.timestep = T - 3;
    refuses(x, o, SAEURON_EUSAGE, "know no timestep 748; the nearest is 751");
    o.map_steps = true; /* the remedies */
    loss_of(x, &o);
    o = usual("text");
    loss_of(x, &o);
    o.residual = SAEURON_RESIDUAL_RELEASED;
    refuses(x, o, SAEURON_EUSAGE, "residual released");
    saeuron_remember(x);
    saeuron_error e = { 0 };
    const saeuron_forget_options half = { .name = "Sketch", .top = 4, .has_half = true,
                                          .half = SAEURON_HALF_UNCONDITIONAL };
    CHECK(saeuron_forget(x, &half, &e) == SAEURON_OK, "%s", e.text);
    refuses(x, usual("text"), SAEURON_EUSAGE, "half unconditional");
    done(x);
}

/* Passes in a row give what each gives alone, whatever was asked in between, by prompt or by its ids; the
 * memory is asked for once. */
static void passes(void)
{
    static const int timestep[] = { T, 501, T };
    static const char *const prompt[] = { "a cat in Sketch style", "a dog", "a cat in Sketch style" };
    saeuron_context *x = fresh();
    saeuron_error e = { 0 };
    gradients *w;
    gradient_options o = usual("tokens");
    must_forget(x, "Sketch", 12);
    CHECK(gradient_open(&w, x, &o, &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; i < COUNT(timestep); i++) {
        int32_t ids[16];
        size_t n;
        double loss, alone;
        float d[16 * 16];
        o = usual("tokens");
        o.timestep = timestep[i];
        o.prompt = prompt[i];
        o.seed = i;
        float *want = derivative(x, &o, &n, &alone);
        CHECK(n == COUNT(d) && !saeuron_tokenize(x, o.prompt, ids, NULL, NULL, &e), "%s", e.text);
        const long before = files.allocs;
        if (i == 1) {
            o.prompt = NULL;
            o.ids = ids;
        }
        CHECK(gradient_next(w, &o, d, &loss, &e) == SAEURON_OK, "%s", e.text);
        CHECK(loss == alone && !memcmp(d, want, sizeof d), "pass %zu: loss %g, alone %g", i, loss, alone);
        CHECK(i != 1 || files.allocs == before, "%ld blocks more for a second pass", files.allocs - before);
        free(want);
        o.timestep = 1000;
        CHECK(gradient_next(w, &o, d, &loss, &e) == SAEURON_EUSAGE, "timestep 1000: %s", e.text);
        ids[3] = 1 << 20;
        o = (gradient_options){ .ids = ids, .timestep = T, .h = 8, .w = 8, .of = "tokens" };
        CHECK(gradient_next(w, &o, d, &loss, &e) == SAEURON_EUSAGE && strstr(e.text, "no token 1048576"),
              "%s", e.text);
    }
    gradient_close(w);
    done(x);
}

/* Stopped at call after call of progress: an error, nothing left, and the next call works. */
static void cancel(void)
{
    saeuron_context *x = fresh();
    const gradient_options o = usual("latents");
    size_t n;
    double loss;
    float *d = derivative(x, &o, &n, &loss);
    const long calls = files.progressed;
    CHECK(calls > 10, "%ld calls of progress", calls);
    for (long at = 1; at <= calls; at++) {
        saeuron_error e = { 0 };
        files.progressed = 0;
        files.cancel_at = at;
        CHECK(gradient(x, &o, d, &loss, &e) == SAEURON_ECANCEL, "call %ld: %s", at, e.text);
    }
    files.cancel_at = 0;
    loss_of(x, &o);
    free(d);
    done(x);
}

static int one(saeuron_context *x, saeuron_error *e)
{
    static float d[1 << 16];
    double loss;
    const gradient_options o = usual("text_encoder.encoder.layers.0.mlp.fc1.weight");
    return gradient(x, &o, d, &loss, e);
}

static void allocations_fail(void)
{
    saeuron_context *x = fresh();
    each_allocation_fails(x, one);
    done(x);
}

const test_case gradient_tests[] = {
    { "plain", plain }, { "through", through }, { "every_kind", every_kind }, { "bits", bits },
    { "passes", passes }, { "cancel", cancel }, { "refusals", refusals },
    { "allocations_fail", allocations_fail }, { NULL, NULL },
};
