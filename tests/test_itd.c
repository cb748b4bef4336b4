/* test_itd.c: Interpret-then-Deactivate against its rules written a second time; what it refuses.
 *
 * Not here: pictures drawn from the states (test_eval.c, test_cli.c), the SAE's training (test_run.c). */
#include "test.h"
#include "arithmetic/rng.h"
#include "opened.h"
#include "rivals/itd.h"

#include <math.h>
#include <string.h>

enum { N = 16, D = 16, LATENTS = 64, K = 4, SEED = 7 }; /* of the tiny model; of the SAE */

#define SAE    "sae/text_encoder"
#define CONFIG "{\"d_in\": 16, \"num_latents\": 64, \"k\": 4, \"activation\": \"topk\"}\n"
static const char calibration[] = "\"calibration\": {\"Cats\": [\"a cat\", \"cat sat in sun\"], \"Dogs\": "
                                  "[\"dog ran\"], \"Sea\": [\"sea at noon\", \"an old sea\"]}, \"steps\": 4";
static const char *const objects[3][2] = { { "a cat", "cat sat in sun" }, { "dog ran", NULL },
                                           { "sea at noon", "an old sea" } };
static const char *const styles[3][3] = {
    { "a cat in Sketch style.", "dog ran in Sketch style.", "sea at noon in Sketch style." },
    { "a cat in Van Gogh style.", "dog ran in Van Gogh style.", "sea at noon in Van Gogh style." },
    { "a cat in Watercolor style.", "dog ran in Watercolor style.", "sea at noon in Watercolor style." }
};
static const char *const prompts[] = { "a cat in Sketch style.", "An image of Cats.", "sea", "",
                                       "dog ran in Watercolor style." };

static tiny_list net;               /* the SAE's tensors */

static const float *values(const char *name) { return tiny_tensor_named(&net, name)->values; }

static void fill(const char *name, unsigned ndim, size_t a, size_t b, double scale)
{
    tiny_tensor *t = tiny_tensor_add(&net, name, DT_F32, (int)ndim, (const size_t[]){ a, b });
    for (size_t i = 0; i < t->count; i++)
        t->values[i] = (float)(scale * ((double)rng_below(SEED, ndim * a, i, 257) - 128) / 128);
}

/* The tiny folder with calibration prompts and an SAE of text states, opened. */
static saeuron_context *prepared(void)
{
    tiny_make(&files);
    tiny_edit(&files, "concepts.json", "\"steps\": 4", calibration);
    net.count = 0;
    fill("encoder.weight", 2, LATENTS, D, 1);
    fill("encoder.bias", 1, LATENTS, 0, 0.5);
    fill("W_dec", 2, LATENTS, D, 0.5);
    fill("b_dec", 1, D, 0, 0.25);
    tiny_save(&files, SAE "/sae.safetensors", &net, 0, net.count, NULL);
    tiny_text(&files, SAE "/cfg.json", CONFIG);
    return opened(NULL, 1);
}

static void finish(saeuron_context *x)
{
    done(x);
    tiny_drop(&net);
}

/* ---- the rules, a second time ---- */

typedef struct features { double f[N][LATENTS]; } features;

static void encode(saeuron_context *x, const char *prompt, double states[N][D], features *y)
{
    static float s[N * D];
    const float *W = values("encoder.weight"), *b = values("encoder.bias"), *centre = values("b_dec");
    saeuron_error e = { 0 };
    CHECK(!saeuron_encode_text(x, prompt, s, &e), "%s", e.text);
    memset(y, 0, sizeof *y);
    for (size_t i = 0; i < N; i++) {
        double z[LATENTS];
        for (size_t j = 0; j < D; j++)
            states[i][j] = (double)s[i * D + j];
        for (size_t l = 0; l < LATENTS; l++) {
            z[l] = (double)b[l];
            for (size_t j = 0; j < D; j++)
                z[l] += (double)W[l * D + j] * (states[i][j] - (double)centre[j]);
        }
        for (size_t k = 0; k < K; k++) {
            size_t best = 0;
            for (size_t l = 1; l < LATENTS; l++)
                best = z[l] > z[best] ? l : best;
            if (z[best] > 0)
                y->f[i][best] = z[best];
            z[best] = -1e9;
        }
    }
}

/* Marks the `most` features that a prompt shows. */
static void show(saeuron_context *x, const char *prompt, size_t most, bool *shows)
{
    static features y;
    double states[N][D], top[LATENTS] = { 0 };
    encode(x, prompt, states, &y);
    for (size_t i = 1; i < N; i++)
        for (size_t l = 0; l < LATENTS; l++)
            top[l] = fmax(top[l], y.f[i][l]);
    for (size_t k = 0; k < most; k++) {
        size_t best = 0;
        for (size_t l = 1; l < LATENTS; l++)
            best = top[l] > top[best] ? l : best;
        shows[best] |= top[best] > 0;
        top[best] = 0;
    }
}

/* out [N,D] = the reconstruction with features turned; the mean square of its distance. */
static double turn(saeuron_context *x, const char *prompt, const bool *off, double tau, double out[N][D])
{
    static features y;
    const float *W = values("W_dec"), *centre = values("b_dec");
    double states[N][D], sum = 0;
    encode(x, prompt, states, &y);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++) {
            out[i][j] = (double)centre[j];
            for (size_t l = 0; l < LATENTS; l++)
                out[i][j] += y.f[i][l] * (i && off[l] ? tau : 1) * (double)W[l * D + j];
            sum += (out[i][j] - states[i][j]) * (out[i][j] - states[i][j]);
        }
    return sum / (N * D);
}

/* What is deactivated of style 0 and, if `both`, of object 0; and the threshold. */
static double learn(saeuron_context *x, bool both, size_t most, double tau, bool *off)
{
    bool   own[2][LATENTS] = { { false } }, others[2][LATENTS] = { { false } };
    double out[N][D], least = 1e300;
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < 3; i++)
            show(x, styles[c][i], most, c ? others[0] : own[0]);
        for (size_t i = 0; i < 2 && objects[c][i]; i++)
            show(x, objects[c][i], most, c ? others[1] : own[1]);
    }
    for (size_t l = 0; l < LATENTS; l++)
        off[l] = (own[0][l] && !others[0][l]) || (both && own[1][l] && !others[1][l]);
    for (size_t i = 0; i < 3; i++)
        least = fmin(least, turn(x, styles[0][i], off, tau, out));
    for (size_t i = 0; both && i < 2; i++)
        least = fmin(least, turn(x, objects[0][i], off, tau, out));
    return 0.99 * least;
}

/* ---- tests ---- */

/* Sketch, or Sketch and Cats, forgotten; said is the caller's to free. */
static int forget_some(itd *m, const saeuron_context *x, bool both, text_out *said, saeuron_error *e)
{
    static saeuron_classifier *const nobody[DOMAINS];
    static protocol p;
    forgotten f = { { { false } } };
    concept_texts t;
    const text_editor editor = itd_editor(m);
    int code = protocol_open(&p, x, nobody, NULL, e);
    if (code)
        return code;
    f.has[STYLE][label_find(&p.label[STYLE], "Sketch")] = true;
    f.has[OBJECT][label_find(&p.label[OBJECT], "Cats")] = both;
    if ((code = name_texts(&t, &p, &f, e)) == SAEURON_OK)
        code = editor.forget(editor.user, &p, &f, &t, said, e);
    free_texts(&t, p.host);
    protocol_close(&p);
    return code;
}

static void states(void)
{
    static const struct { size_t features; double tau; bool both; } cases[] = {
        { 3, -1, false }, { 3, -1, true }, { 6, -8, false }, { 6, 0.5, true }, { 0, -2, true },
        { 2 * LATENTS, -1, true },
    };
    static float got[N * D], plain[N * D];
    double want[N][D];
    saeuron_error e = { 0 };
    size_t edited = 0, left = 0;
    saeuron_context *x = prepared();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const itd_options o = { NULL, cases[c].features, cases[c].tau };
        bool   off[LATENTS];
        itd   *m = NULL;
        text_out said = { .host = NULL };
        const size_t most = cases[c].features ? cases[c].features : K;
        const double threshold = learn(x, cases[c].both, most, cases[c].tau, off);
        CHECK(!itd_open(&m, x, &o, &e) && !forget_some(m, x, cases[c].both, &said, &e), "case %zu: %s", c,
              e.text);
        const text_editor editor = itd_editor(m);
        for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
            const double far = turn(x, prompts[i], off, cases[c].tau, want);
            CHECK(fabs(far - threshold) > 1e-5 * threshold, "case %zu, %s: cannot be told", c, prompts[i]);
            CHECK(!saeuron_encode_text(x, prompts[i], plain, &e), "%s", e.text);
            memcpy(got, plain, sizeof got);
            CHECK(!editor.edit(editor.user, prompts[i], got, &e), "%s", e.text);
            const bool same = !memcmp(got, plain, sizeof got);
            CHECK(same == (far < threshold), "case %zu, %s: %g, threshold %g", c, prompts[i], far, threshold);
            for (size_t j = 0; j < N * D && !same; j++)
                CHECK(fabs((double)got[j] - want[j / D][j % D]) < 1e-4, "case %zu, %s: value %zu: %g, not %g",
                      c, prompts[i], j, (double)got[j], want[j / D][j % D]);
            edited += !same;
            left += same;
        }
        CHECK(said.at && strstr(said.at, cases[c].both ? ": Sketch style, Cats" : ": Sketch style") &&
                  strstr(said.at, cases[c].tau < -4 ? "itd features 6 tau -8 sae " : "itd features "),
              "it says %s", said.at);
        text_free(&said);
        itd_close(m);
    }
    CHECK(edited > 5 && left > 5, "edited %zu times, not %zu", edited, left);
    finish(x);
}

static void refuses(const char *what, itd_options o, int wanted, const char *words)
{
    saeuron_context *x = opened(NULL, 1);
    saeuron_error e = { 0 };
    text_out said = { .host = NULL };
    itd *m = NULL;
    int  code = itd_open(&m, x, &o, &e);
    if (!code)
        code = forget_some(m, x, true, &said, &e);
    check_error(what, code, wanted, &e, words);
    text_free(&said);
    itd_close(m);
    saeuron_close(x);
}

static void refusals(void)
{
    const itd_options o = { NULL, 3, -1 };
    saeuron_context *x = prepared();
    saeuron_close(x);
    refuses("tau", (itd_options){ NULL, 3, NAN }, SAEURON_EUSAGE, "tau must be from -10000 to 10000");
    refuses("no SAE there", (itd_options){ "tiny/sae/none", 3, -1 }, SAEURON_ENOENT, "tiny/sae/none");
    refuses("an SAE of a hook", (itd_options){ "tiny/sae/" TINY_STYLES, 3, -1 }, SAEURON_EFORMAT,
            "32 wide|16 wide|collect --hook text_encoder");
    tiny_edit(&files, SAE "/cfg.json", "\"k\": 4", "\"k\": 4, \"diff\": true");
    refuses("of differences", o, SAEURON_EFORMAT, "less their input|collect --hook text_encoder");
    tiny_edit(&files, "concepts.json", "calibration", "something");
    tiny_text(&files, SAE "/cfg.json", CONFIG);
    refuses("no calibration", o, SAEURON_EFORMAT, "concepts.json|calibration");
    tiny_edit(&files, "concepts.json", "something", "calibration");
    memset(tiny_tensor_named(&net, "encoder.weight")->values, 0, LATENTS * D * sizeof(float));
    tiny_save(&files, SAE "/sae.safetensors", &net, 0, net.count, NULL);
    refuses("all show the same", o, SAEURON_EFORMAT, "text_encoder|Sketch style|an SAE of more latents");
    x = opened(NULL, 1);
    saeuron_error e = { 0 };
    itd *m = NULL;
    text_out said = { .host = NULL };
    CHECK(!itd_open(&m, x, &o, &e), "%s", e.text);
    const text_editor editor = itd_editor(m);
    check_error("no concepts.json", editor.forget(editor.user, NULL, NULL, NULL, &said, &e), SAEURON_EFORMAT,
                &e, "calibration prompts of concepts.json");
    itd_close(m);
    finish(x);
}

static int edit_once(saeuron_context *x, saeuron_error *e)
{
    static float got[N * D];
    const itd_options o = { NULL, 3, -1 };
    itd *m = NULL;
    text_out said = { .host = &x->host };
    int code = itd_open(&m, x, &o, e);
    if (!code)
        code = forget_some(m, x, true, &said, e);
    if (!code && said.failed)
        code = fail(e, SAEURON_ENOMEM, "no memory for what is forgotten");
    if (!code) {
        const text_editor editor = itd_editor(m);
        code = edited_text(x, &editor, prompts[0], got, e);
    }
    text_free(&said);
    itd_close(m);
    return code;
}

static void allocations_fail(void)
{
    saeuron_context *x = prepared();
    each_allocation_fails(x, edit_once);
    finish(x);
}

const test_case itd_tests[] = {
    { "states", states }, { "refusals", refusals }, { "allocations_fail", allocations_fail }, { NULL, NULL },
};
