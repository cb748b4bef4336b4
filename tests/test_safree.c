/* test_safree.c: SAFREE's states against the published formulas in another arithmetic; what it leaves alone.
 *
 * Not here: pictures drawn from the states (test_eval.c, test_cli.c). */
#include "test.h"
#include "opened.h"
#include "rivals/encoder.h"
#include "rivals/safree.h"
#include "tokenizer.h"

#include <math.h>
#include <string.h>

enum { N = 16, D = 16 }; /* of the tiny model */

static const char *const prompts[] = { "An image of Cats in Sketch style.", "cat", "",
                                       "sea sketch dog Van Gogh style image cats an of in" };
static const char *const erase[] = { "Sketch style", "Cats" };

static concept_texts texts(size_t count)
{
    concept_texts t = { .erased = count };
    t.erase = (const char **)(void *)erase;
    return t;
}

/* got [N,D] = the states of a prompt when the concepts are forgotten at alpha 0. */
static int edit_text(saeuron_context *x, const char *const *concepts, size_t count, const char *prompt,
                     float *got, saeuron_error *e)
{
    safree *s = NULL;
    concept_texts t = { .erased = count };
    text_out said = { .host = &x->host };
    int code = safree_open(&s, x, 0, e);
    t.erase = (const char **)(void *)concepts;
    if (!code) {
        const text_editor editor = safree_editor(s);
        code = editor.forget(editor.user, NULL, NULL, &t, &said, e);
        if (!code && said.failed)
            code = fail(e, SAEURON_ENOMEM, "no memory for what is forgotten");
        if (!code)
            code = edited_text(x, &editor, prompt, got, e);
    }
    text_free(&said);
    safree_close(s);
    return code;
}

/* States [N,D] of a text's ids, one of them replaced. */
static void states_masked(const saeuron_context *x, const char *text, size_t mask, float *states,
                          size_t *count)
{
    encoder e;
    int32_t ids[N];
    saeuron_error err = { 0 };
    CHECK(!tokenizer_encode(x->tokenizer, ids, count, NULL, text, &err), "%s", err.text);
    if (mask)
        ids[mask] = 0;
    CHECK(!encoder_open(&e, x, &err), "%s", err.text);
    encoder_run(&e, states, ids, 1);
    encoder_close(&e);
}

/* P [D,D] = E (E^T E)^-1 E^T of E's columns, the rows [n,D] (torch.pinverse of a matrix that has an inverse),
 * by elimination. */
static void projection(double P[D][D], double rows[][D], size_t n)
{
    double a[N][2 * N] = { { 0 } };
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < D; k++)
                a[i][j] += rows[i][k] * rows[j][k];
        a[i][n + i] = 1;
    }
    for (size_t i = 0; i < n; i++) {
        size_t p = i;
        for (size_t r = i; r < n; r++)
            p = fabs(a[r][i]) > fabs(a[p][i]) ? r : p;
        for (size_t j = 0; j < 2 * n; j++) {
            const double was = a[i][j];
            a[i][j] = a[p][j];
            a[p][j] = was;
        }
        for (size_t r = 0; r < n; r++) {
            const double f = r == i ? 0 : a[r][i] / a[i][i];
            for (size_t j = 0; j < 2 * n && r != i; j++)
                a[r][j] -= f * a[i][j];
        }
    }
    for (size_t r = 0; r < D; r++)
        for (size_t c = 0; c < D; c++) {
            P[r][c] = 0;
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++)
                    P[r][c] += rows[i][r] * a[i][n + j] / a[i][i] * rows[j][c];
        }
}

/* out [N,D] by safree_projection of the published code, from the same states; *edited: tokens that change.
 * False: a token's distance is too near the bound to tell. */
static bool published(saeuron_context *x, const char *prompt, size_t concepts, double alpha,
                      double out[N][D], size_t *edited)
{
    static float states[N * D], plain[N * D];
    double p[N][D], c[2][D], C[D][D], M[D][D], distance[N], all = 0;
    size_t count, n;
    bool   clear = true;
    states_masked(x, prompt, 0, plain, &count);
    n = count - 2;
    for (size_t i = 0; i < n; i++) {
        states_masked(x, prompt, 1 + i, states, &count);
        for (size_t j = 0; j < D; j++)
            p[i][j] = (double)states[(count - 1) * D + j];
    }
    for (size_t i = 0; i < concepts; i++) {
        size_t end;
        states_masked(x, erase[i], 0, states, &end);
        for (size_t j = 0; j < D; j++)
            c[i][j] = (double)states[(end - 1) * D + j];
    }
    projection(C, c, concepts);
    projection(M, p, n);
    for (size_t i = 0; i < n; i++) {
        distance[i] = 0;
        for (size_t j = 0; j < D; j++) {
            double d = p[i][j];
            for (size_t k = 0; k < D; k++)
                d -= C[j][k] * p[i][k];
            distance[i] += d * d;
        }
        all += distance[i] = sqrt(distance[i]);
    }
    *edited = 0;
    for (size_t i = 0; i < N; i++) {
        const size_t t = i - 1; /* its number between start and end */
        const bool inside = i > 0 && t < n;
        const double bound = inside && n > 1 ? (1 + alpha) * (all - distance[t]) / (double)(n - 1) : 0;
        const bool is_edited = inside && (n == 1 || !(distance[t] < bound));
        double y[D] = { 0 };
        clear &= !inside || fabs(distance[t] - bound) > 1e-6 * bound;
        *edited += is_edited;
        for (size_t j = 0; j < D; j++)
            for (size_t k = 0; k < D; k++)
                y[j] += M[j][k] * (double)plain[i * D + k];
        for (size_t j = 0; j < D; j++) {
            out[i][j] = is_edited ? y[j] : (double)plain[i * D + j];
            for (size_t k = 0; k < D && is_edited; k++)
                out[i][j] -= C[j][k] * y[k];
        }
    }
    return clear;
}

/* Of every prompt, one concept and two, several alphas: the published states within the rounding of float,
 * and to the bit where no token is edited. */
static void states(void)
{
    static const double alphas[] = { 0, 0.01, 0.1, 100 };
    static float got[N * D], plain[N * D];
    static double want[N][D];
    saeuron_error e = { 0 };
    size_t some = 0, none = 0;
    saeuron_context *x = fresh();
    for (size_t a = 0; a < sizeof alphas / sizeof *alphas; a++) {
        safree *s = NULL;
        CHECK(!safree_open(&s, x, alphas[a], &e), "%s", e.text);
        const text_editor editor = safree_editor(s);
        for (size_t concepts = 1; concepts <= 2; concepts++) {
            const concept_texts t = texts(concepts);
            text_out said = { .host = NULL };
            CHECK(!editor.forget(editor.user, NULL, NULL, &t, &said, &e), "%s", e.text);
            CHECK(said.at && !strcmp(strchr(said.at, ':'), concepts == 1 ? ": Sketch style"
                                                                          : ": Sketch style, Cats"),
                  "it says \"%s\"", said.at);
            text_free(&said);
            for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
                size_t edited;
                CHECK(published(x, prompts[i], concepts, alphas[a], want, &edited), "%s: cannot be told",
                      prompts[i]);
                CHECK(!saeuron_encode_text(x, prompts[i], plain, &e), "%s", e.text);
                memcpy(got, plain, sizeof got);
                CHECK(!editor.edit(editor.user, prompts[i], got, &e), "%s", e.text);
                for (size_t r = 0; r < N; r++)
                    for (size_t j = 0; j < D; j++)
                        CHECK(fabs((double)got[r * D + j] - want[r][j]) < 1e-4, "%s: token %zu: %g, not %g",
                              prompts[i], r, (double)got[r * D + j], want[r][j]);
                size_t changed = 0;
                for (size_t r = 0; r < N; r++)
                    changed += memcmp(got + r * D, plain + r * D, D * sizeof *got) != 0;
                CHECK(changed == edited, "%s: %zu tokens change, not %zu", prompts[i], changed, edited);
                some += edited > 0;
                none += edited == 0;
            }
        }
        safree_close(s);
    }
    CHECK(some > 8 && none > 8, "edited %zu times, not %zu", some, none);
    done(x);
}

/* What is edited has nothing of the concepts left: its end tokens' states are orthogonal to it. */
static void nothing_left(void)
{
    static float got[N * D], of[N * D];
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(!edit_text(x, erase, 2, "cat", got, &e), "%s", e.text);
    for (size_t i = 0; i < 2; i++) {
        size_t count;
        double dot = 0;
        states_masked(x, erase[i], 0, of, &count);
        for (size_t j = 0; j < D; j++)
            dot += (double)got[D + j] * (double)of[(count - 1) * D + j];
        CHECK(fabs(dot) < 1e-5, "%g of %s is left", dot, erase[i]);
    }
    done(x);
}

/* Texts that one concept spans are one row: thrice the same concept edits as once. */
static void spanned(void)
{
    static const char *const thrice[] = { "Cats", "Cats", "Cats" };
    static float once[N * D], again[N * D];
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(!edit_text(x, thrice, 1, prompts[0], once, &e) && !edit_text(x, thrice, 3, prompts[0], again, &e),
          "%s", e.text);
    CHECK(!memcmp(once, again, sizeof once), "a concept named thrice edits otherwise");
    done(x);
}

static void refusals(void)
{
    static const char *const no_text[] = { "\xff" };
    static float got[N * D];
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    safree *s = NULL;
    check_error("alpha", safree_open(&s, x, -1, &e), SAEURON_EUSAGE, &e, "alpha must be from 0 to 10000");
    safree_close(s);
    check_error("alpha", safree_open(&s, x, NAN, &e), SAEURON_EUSAGE, &e, "alpha must be from 0 to 10000");
    safree_close(s);
    check_error("no text", edit_text(x, no_text, 1, "cat", got, &e), SAEURON_EUSAGE, &e, "UTF-8");
    done(x);
}

static int edit_once(saeuron_context *x, saeuron_error *e)
{
    static float got[N * D];
    return edit_text(x, erase, 2, prompts[0], got, e);
}

static void allocations_fail(void)
{
    saeuron_context *x = fresh();
    each_allocation_fails(x, edit_once);
    done(x);
}

const test_case safree_tests[] = {
    { "states", states }, { "nothing_left", nothing_left }, { "spanned", spanned }, { "refusals", refusals },
    { "allocations_fail", allocations_fail }, { NULL, NULL },
};
