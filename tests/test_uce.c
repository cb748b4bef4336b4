/* test_uce.c: UCE's weights solve the paper's normal equations; the folder is the model's but for them.
 *
 * Not here: the options (test_cli.c), how well it forgets (docs/results.md). */
#include "test.h"
#include "judges.h"
#include "rivals/edited.h"
#include "rivals/uce.h"
#include "scratch.h"
#include "tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 16, D = 16 }; /* of the tiny model */

static const char *const erase[] = { "Sketch style", "Cats" };
static const char *const keep[] = { "Dogs", "Van Gogh style", "Sea" };

static uce_options usual(void)
{
    return (uce_options){ erase, COUNT(erase), "a picture", keep, COUNT(keep), 1.5, 0.1, 0.5, false };
}

static saeuron_context *opened_at(const char *dir, const saeuron_host *host)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    CHECK(saeuron_open(&x, host, judges_at(dir), &e) == SAEURON_OK, "%s", e.text);
    return x;
}

/* The states of a text, and the place of its last token. */
static size_t states_of(saeuron_context *x, const char *text, float *states)
{
    int32_t ids[N];
    size_t  count = 2;
    saeuron_error e = { 0 };
    CHECK(!saeuron_tokenize(x, text, ids, &count, NULL, &e), "%s", e.text);
    CHECK(!saeuron_encode_text(x, text, states, &e), "%s", e.text);
    return count - 2;
}

/* Both sides of W' (s sum c c^T + p sum c c^T + lambda I) = s sum W g c^T + p sum W c c^T + lambda W, from
 * the states themselves; the largest difference in terms of the largest value. */
static double misfit(saeuron_context *x, const uce_options *o, const float *W, const float *edited,
                     size_t rows)
{
    static float states[N * D], guide[N * D];
    double right[D], left[D], worst = 0, largest = 0;
    const size_t from = states_of(x, o->guide, guide);
    for (size_t r = 0; r < rows; r++, W += D, edited += D) {
        for (size_t j = 0; j < D; j++) {
            right[j] = o->lambda * (double)W[j];
            left[j] = o->lambda * (double)edited[j];
        }
        for (size_t t = 0; t < o->erased + o->preserved; t++) {
            const bool erased = t < o->erased;
            const double scale = erased ? o->erase_scale : o->preserve_scale;
            const size_t last = states_of(x, erased ? o->erase[t] : o->preserve[t - o->erased], states);
            const size_t n = o->last ? 1 : N - (erased && from > last ? from : last);
            for (size_t k = 0; k < n; k++) {
                const float *c = states + (last + k) * D, *g = erased ? guide + (from + k) * D : c;
                double wg = 0, wc = 0;
                for (size_t j = 0; j < D; j++) {
                    wg += (double)W[j] * (double)g[j];
                    wc += (double)edited[j] * (double)c[j];
                }
                for (size_t j = 0; j < D; j++) {
                    right[j] += scale * wg * (double)c[j];
                    left[j] += scale * wc * (double)c[j];
                }
            }
        }
        for (size_t j = 0; j < D; j++) {
            worst = fmax(worst, fabs(right[j] - left[j]));
            largest = fmax(largest, fabs(right[j]));
        }
    }
    return worst / largest;
}

/* Every attn2.to_k and to_v solves its equations and is another, every other tensor is the same. */
static void equations_hold(bool last)
{
    static float before[1 << 16], after[1 << 16];
    saeuron_error e = { 0 };
    uce_options o = usual();
    size_t edited = 0;
    o.last = last;
    judges_prepare();
    saeuron_context *x = opened_at("model", NULL);
    CHECK(!uce(x, &o, judges_at("uce"), &e), "%s", e.text);
    saeuron_context *y = opened_at("uce", NULL);
    for (size_t i = 0; x && y && i < x->unet_file.count; i++) {
        const tensor *a = &x->unet_file.list[i], *b = tensors_find(&y->unet_file, a->name);
        CHECK(b && b->count == a->count && a->count <= COUNT(before), "%s", a->name);
        if (!b || a->count > COUNT(before))
            continue;
        nn_widen(before, (weight){ .data = a->data, .type = a->type }, 0, a->count);
        nn_widen(after, (weight){ .data = b->data, .type = b->type }, 0, a->count);
        const bool is_same = !memcmp(before, after, a->count * sizeof *before);
        const bool wanted = strstr(a->name, "attn2.to_k.weight") || strstr(a->name, "attn2.to_v.weight");
        CHECK(is_same != wanted && (!wanted || b->type == DT_F32), "%s", a->name);
        edited += wanted;
        if (wanted)
            CHECK(misfit(x, &o, before, after, a->shape[0]) < 1e-6, "%s: %g", a->name,
                  misfit(x, &o, before, after, a->shape[0]));
    }
    CHECK(edited >= 4, "%zu matrices", edited);
    saeuron_close(x);
    saeuron_close(y);
}

static void rest(void) { equations_hold(false); }
static void last(void) { equations_hold(true); }

/* Of EmojiCanvas, whose weights are F16: those that stay keep their type, the edited ones are not rounded to
 * it. */
static void types(void)
{
    const uce_options o = usual();
    saeuron_context *x = NULL, *y;
    saeuron_error e = { 0 };
    size_t half = 0, full = 0;
    judges_prepare();
    CHECK(!saeuron_open(&x, NULL, "weights/emojicanvas", &e) && !uce(x, &o, judges_at("uce-emoji"), &e), "%s",
          e.text);
    saeuron_close(x);
    y = opened_at("uce-emoji", NULL);
    for (size_t i = 0; y && i < y->unet_file.count; i++) {
        half += y->unet_file.list[i].type == DT_F16;
        full += y->unet_file.list[i].type == DT_F32;
    }
    CHECK(half > 100 && full >= 8 && y && half + full == y->unet_file.count, "%zu of F16, %zu of F32", half,
          full);
    saeuron_close(y);
}

/* All else in the folder is the model's, byte for byte, and nothing more than a pipeline is there. */
static void folder(void)
{
    rest();
    CHECK(!judges_shell("cd '%s' && find . -type f ! -path './unet/d*' -exec cmp {} '%s'/{} \\;",
                        judges_at("uce"), judges_at("model")), "a copy differs");
    CHECK(!judges_shell("test ! -e '%s/sae' -a ! -e '%s/classifier'", judges_at("uce"), judges_at("uce")),
          "SAEs or classifiers were copied");
}

static void fails(const char *what, uce_options o, const char *dir, int wanted, const char *words)
{
    saeuron_error e = { 0 };
    saeuron_context *x = opened_at("model", NULL);
    judges_error(what, uce(x, &o, judges_at(dir), &e), wanted, &e, words);
    saeuron_close(x);
}

static void refusals(void)
{
    uce_options o = usual();
    judges_prepare();
    fails("the model's own folder", o, "model", SAEURON_EUSAGE, "is the model's own folder");
    o.lambda = 0;
    fails("no lambda", o, "uce", SAEURON_EUSAGE, "lambda must be above 0");
    o = usual();
    o.erased = 0;
    fails("nothing", o, "uce", SAEURON_EUSAGE, "no concept to erase");
    o = usual();
    o.erase_scale = 1e308;
    fails("too large", o, "uce", SAEURON_ENAN, "take a larger lambda|");
    o = usual();
    o.guide = "\xff";
    fails("no text", o, "uce", SAEURON_EUSAGE, "UTF-8");
}

static int uce_once(void *user, saeuron_error *e)
{
    const uce_options o = usual();
    return uce(user, &o, judges_at("uce"), e);
}

static void allocations_fail(void)
{
    counting c = { 0, 0, 0 };
    const saeuron_host host = { .user = &c, .alloc = count_alloc, .free = count_free, .threads = 1 };
    judges_prepare();
    saeuron_context *x = opened_at("model", &host);
    allocations_fail_by_one(&c, uce_once, x, 1000);
    saeuron_close(x);
}

const test_case uce_tests[] = {
    { "rest", rest }, { "last", last }, { "folder", folder }, { "types", types }, { "refusals", refusals },
    { "allocations_fail", allocations_fail }, { NULL, NULL },
};
