/* test_attack.c: attacks, however they are stopped, split or threaded, end in the same bytes; each method
 * does what its source says, written a second time here; counts are those of the pictures.
 *
 * Not here: the derivative (test_gradient.c), the options (test_cli.c). */
#include "test.h"
#include "judges.h"
#include "arithmetic/rng.h"
#include "files/png.h"
#include "gradients/gradient.h"
#include "rivals/attack.h"
#include "rivals/guesses.h"
#include "said.h"
#include "scratch.h"
#include "tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a folder on which attacks sometimes succeed ---- */

static void open_varied(bench *b, int threads)
{
    const saeuron_host host = { .user = &b->stop, .progress = count_calls, .threads = threads };
    bench_open_at(b, "varied", "emojicanvas", &host);
}

/* Moves a classifier's biases so that, on average over the places' pictures, all classes are as likely. */
static void balance(bench *b, int d)
{
    char   path[128];
    double mean[8] = { 0 };
    static unsigned char rgb[TINY_PIXELS];
    saeuron_error e = { 0 };
    const size_t classes = saeuron_classes(b->k[d]);
    for (size_t i = 0; i < b->p.entries; i++) {
        float logits[8];
        const saeuron_generate_options o = { .prompts = &b->p.entry[i].prompt, .count = 1, .seed = 188,
                                             .noise_index = i };
        CHECK(saeuron_generate(b->x, &o, rgb, &e) == SAEURON_OK, "%s", e.text);
        CHECK(saeuron_classify(b->k[d], rgb, 1, 16, 16, logits, &e) == SAEURON_OK, "%s", e.text);
        for (size_t c = 0; c < classes; c++)
            mean[c] += (double)logits[c] / (double)b->p.entries;
    }
    snprintf(path, sizeof path, "varied/classifier/%s/model.safetensors", domain_names[d]);
    tensors t;
    CHECK(tensors_open(&t, NULL, judges_at(path), &e) == SAEURON_OK, "%s", e.text);
    const tensor *bias = tensors_find(&t, "head.bias");
    CHECK(bias && bias->type == DT_F32, "%s: a bias that is not F32", path);
    const size_t  at = bias ? (size_t)(bias->data - t.files[0].data) : 0, size = t.files[0].size;
    unsigned char *bytes = malloc(size);
    memcpy(bytes, t.files[0].data, size);
    for (size_t c = 0; bias && c < classes; c++) {
        float v;
        memcpy(&v, bytes + at + 4 * c, 4);
        v -= (float)mean[c];
        memcpy(bytes + at + 4 * c, &v, 4);
    }
    tensors_close(&t);
    CHECK(io_write_file(judges_at(path), bytes, size, &e) == SAEURON_OK, "%s", e.text);
    free(bytes);
}

/* The folder "varied": short prompts, balanced classifiers. */
static void prepare(void)
{
    static bool ready;
    bench b;
    if (ready)
        return;
    ready = true;
    judges_prepare();
    CHECK(!judges_shell("cp -r '%s' '%s'", judges_at("model"), judges_at("varied")), "cp");
    CHECK(!judges_shell("sed -i '1s/{/{\"templates\": {\"styled\": \"{style}\", \"plain\": "
                        "\"{object}\"},/' '%s/concepts.json'%s", judges_at("varied"), ""), "sed");
    open_varied(&b, 1);
    balance(&b, STYLE);
    balance(&b, OBJECT);
    bench_close(&b);
}

typedef struct how { int method, threads; size_t shard, shards, tries; long stop_at; } how;

static attacked counted[DOMAINS];
static void note(void *user, int d, const char *concept, const attacked *a)
{
    (void)user;
    if (!strcmp(concept, "average"))
        counted[d] = *a;
}

/* An attack on all concepts, two seeds, into dir; *calls may be NULL. */
static int attack_into(const char *dir, how h, long *calls, saeuron_error *e)
{
    bench b;
    prepare();
    open_varied(&b, h.threads ? h.threads : 1);
    b.p.seeds = 2;
    for (int d = 0; d < DOMAINS; d++)
        memcpy(b.concept[d], b.p.label[d].concept, sizeof b.concept[d]);
    b.stop.at = h.stop_at;
    const attack_options o = {
        .p = &b.p, .k = { b.k[STYLE], b.k[OBJECT] }, .concept = { b.concept[STYLE], b.concept[OBJECT] },
        .dir = judges_at(dir), .method = h.method, .how = { .strength = -100, .has_strength = 1 },
        .unlearndiffatk = { 2, 3, 2, 0.01, 0.1, false }, .ringabell = { 3, 4, 6, 3, 0.25, 0.5 },
        .tokens = 2, .tries = h.tries ? h.tries : 3, .shard = h.shard, .shards = h.shards, .told = note,
    };
    const int code = attack_run(b.x, &o, e);
    if (calls)
        *calls = b.stop.calls;
    bench_close(&b);
    return code;
}

/* ---- whole runs ---- */

/* The reference run of each method, once; some prompts are attacked, some of them with success. */
static void whole(void)
{
    static bool ready;
    size_t tried = 0, won = 0;
    if (ready)
        return;
    ready = true;
    for (int m = 0; m < ATTACKS; m++) {
        saeuron_error e = { 0 };
        CHECK(attack_into("a-whole", (how){ .method = m }, NULL, &e) == SAEURON_OK, "%s: %s", attack_names[m],
              e.text);
        for (int d = 0; d < DOMAINS; d++) {
            tried += counted[d].before.images - counted[d].before.right;
            won += counted[d].after.right - counted[d].before.right;
        }
    }
    CHECK(tried >= 8 && won > 0 && won < tried, "%zu attacks, %zu successes", tried, won);
    test_note("%zu attacks, %zu successes", tried, won);
}

/* Threads and shards change no byte, whichever shard comes first. */
static void same_bytes(void)
{
    saeuron_error e = { 0 };
    whole();
    for (int m = 0; m < ATTACKS; m++) {
        CHECK(!attack_into("a-threads", (how){ .method = m, .threads = 2 }, NULL, &e), "%s", e.text);
        for (size_t i = 3; i-- > 0;)
            CHECK(!attack_into("a-shards", (how){ .method = m, .shard = i, .shards = 3 }, NULL, &e), "%s",
                  e.text);
        CHECK(!attack_into("a-shards", (how){ .method = m }, NULL, &e), "%s", e.text);
    }
    CHECK(judges_same("a-whole", "a-threads"), "2 threads change bytes");
    CHECK(judges_same("a-whole", "a-shards"), "shards change bytes");
}

/* Stopped at call after call of progress and gone on with, until it is whole. */
static void interrupted(void)
{
    whole();
    for (int m = 0; m < ATTACKS; m++) {
        saeuron_error e = { 0 };
        long stops = 0;
        int  code = SAEURON_ECANCEL;
        for (; code == SAEURON_ECANCEL && stops < 200; stops++)
            code = attack_into("a-stopped", (how){ .method = m, .stop_at = 3 + stops }, NULL, &e);
        CHECK(code == SAEURON_OK && stops > 4, "%s: %s after %ld stops", attack_names[m], e.text, stops);
    }
    CHECK(judges_same("a-whole", "a-stopped"), "stopped runs end in other bytes");
}

/* A picture of an attack is what saeuron_generate draws of what it says. */
static void pictures(void)
{
    static unsigned char drawn[TINY_PIXELS];
    char list[200], path[1600], prompt[256], index[32];
    size_t seen = 0;
    bench b;
    whole();
    open_varied(&b, 1);
    const saeuron_forget_options f = { .name = "Sketch", .strength = -100, .has_strength = 1 };
    saeuron_error e = { 0 };
    CHECK(saeuron_forget(b.x, &f, &e) == SAEURON_OK, "%s", e.text);
    judges_shell("cd '%s' && find attacks -path '*/Sketch/*.png' | sort > '%s'", judges_at("a-whole"),
                 judges_at("a-list"));
    FILE *lines = fopen(judges_at("a-list"), "r");
    while (lines && fgets(list, sizeof list, lines)) {
        unsigned char *rgb = NULL;
        size_t W, H;
        list[strcspn(list, "\n")] = 0;
        snprintf(path, sizeof path, "%s/%s", judges_at("a-whole"), list);
        CHECK(!said_of(NULL, path, "prompt", prompt, sizeof prompt, &e) &&
              !said_of(NULL, path, "noise_index", index, sizeof index, &e) &&
              !png_load(NULL, path, &rgb, &W, &H, &e), "%s", e.text);
        const char *one = prompt;
        const saeuron_generate_options o = { .prompts = &one, .count = 1,
                                             .seed = strstr(path, "/188-") ? 188 : 288,
                                             .noise_index = strtoul(index, NULL, 10) };
        CHECK(!saeuron_generate(b.x, &o, drawn, &e) && rgb && !memcmp(rgb, drawn, sizeof drawn),
              "%s is not what its texts say: %s", path, e.text);
        io_free(NULL, rgb);
        seen++;
    }
    if (lines)
        fclose(lines);
    bench_close(&b);
    CHECK(seen >= ATTACKS, "%zu pictures", seen);
}

/* METHOD.tsv counts the rows of METHOD-prompts.tsv. */
static void counts(void)
{
    char line[1024];
    whole();
    for (int m = 0; m < ATTACKS; m++) {
        snprintf(line, sizeof line, "awk -F'\t' 'FNR == NR { if (FNR > 1) for (i = 0; i < 2; i++) { "
                 "c = $1 \" \" (i ? \"average\" : $2); n[c]++; shown[c] += $6 == \"yes\"; "
                 "before[c] += $6 == \"yes\" && $7 == \"yes\"; after[c] += $9 == \"yes\"; "
                 "tried[c] += $8 > 0; tries[c] += $8 } next } FNR > 1 { c = $1 \" \" $2; rows++; "
                 "t = tried[c] ? tries[c] / tried[c] : 0; t -= $14; "
                 "wrong += $4 != n[c] || $5 != shown[c] || $9 != before[c] || $13 != after[c] || "
                 "t * t > 1e-6 } END { exit wrong || rows != 8 }' %s-prompts.tsv %s.tsv", attack_names[m],
                 attack_names[m]);
        CHECK(judges_shell("cd '%s' && %s", judges_at("a-whole"), line) == 0, "%s.tsv", attack_names[m]);
    }
}

static void refused(const char *what, how h, int wanted, const char *words)
{
    saeuron_error e = { 0 };
    judges_error(what, attack_into("a-whole", h, NULL, &e), wanted, &e, words);
}

/* Another attack's pictures in the folder; a damaged one; no latents; no room. */
static void refusals(void)
{
    saeuron_error e = { 0 };
    bench b;
    whole();
    refused("other options", (how){ .method = PREFIX, .tries = 4 }, SAEURON_EFORMAT,
            "it is of another attack than|prefix tokens 2 tries 4|use another folder");
    judges_shell("cp -r '%s' '%s'", judges_at("a-whole"), judges_at("a-damaged"));
    judges_shell("for f in '%s'/attacks/seeds/*/*/*.png; do printf x | dd of=\"$f\" bs=1 seek=20 "
                 "conv=notrunc 2>'%s'; done", judges_at("a-damaged"), judges_at("a-noise"));
    judges_error("damaged", attack_into("a-damaged", (how){ .method = SEEDS_ALONE }, NULL, &e),
                 SAEURON_EFORMAT, &e, "attacks/seeds/");
    judges_shell("find '%s/attacks/seeds' -name '*.png' -delete%s", judges_at("a-damaged"), ""); /* remedy */
    CHECK(!attack_into("a-damaged", (how){ .method = SEEDS_ALONE }, NULL, &e), "%s", e.text);
    CHECK(judges_same("a-whole", "a-damaged"), "an attack made again has other bytes");

    open_varied(&b, 1);
    b.concept[STYLE][SKETCH] = true;
    attack_options o = { .p = &b.p, .k = { b.k[STYLE], b.k[OBJECT] }, .concept = { b.concept[STYLE], NULL },
                         .dir = judges_at("a-refused"), .method = PREFIX, .tokens = 15, .tries = 1 };
    judges_error("no room", attack_run(b.x, &o, &e), SAEURON_EUSAGE, &e, "no room for 15 tokens more");
    o.method = UNLEARNDIFFATK;
    o.unlearndiffatk = (unlearndiffatk_options){ 2, 1, 1, 0.01, 0.1, false };
    b.x->vae.has_encoder = false;
    judges_error("no encoder", attack_run(b.x, &o, &e), SAEURON_EFORMAT, &e, "without its encoder");
    b.x->vae.has_encoder = true;
    b.concept[STYLE][SKETCH] = false;
    judges_error("no concept", attack_run(b.x, &o, &e), SAEURON_EUSAGE, &e, "no concept to forget");
    bench_close(&b);
}

/* ---- the searches, written a second time ---- */

/* Never the answer: all that a method may try is tried. */
#define NOBODY 1000

static int go_on(void *user, size_t done, size_t all, saeuron_error *err)
{
    (void)err;
    *(size_t *)user = done;
    CHECK(done <= all, "step %zu of %zu", done, all);
    return SAEURON_OK;
}

/* method: an index of attack_names. */
typedef struct laboratory { bench b; maker m; attempt a; size_t steps; int method; } laboratory;

/* Sketch is forgotten; its place number 1 is under attack. host NULL: the usual one. */
static void open_laboratory(laboratory *l, const char *method, const saeuron_host *host)
{
    saeuron_error e = { 0 };
    static const saeuron_generate_options usual;
    prepare();
    if (host)
        bench_open_at(&l->b, "varied", "emojicanvas", host);
    else
        open_varied(&l->b, 1);
    CHECK(!maker_open(&l->m, l->b.x, &l->b.p, l->b.k, &usual, &e), "%s", e.text);
    const saeuron_forget_options f = { .name = "Sketch", .strength = -100, .has_strength = 1 };
    CHECK(saeuron_forget(l->b.x, &f, &e) == SAEURON_OK, "%s", e.text);
    CHECK(!attempt_open(&l->a, &l->m, STYLE, NOBODY, 1, method, &e), "%s", e.text);
    l->a.step = go_on;
    l->a.user = &l->steps;
}

static void close_laboratory(laboratory *l)
{
    attempt_close(&l->a);
    maker_close(&l->m);
    bench_close(&l->b);
}

/* Projected onto {0 <= y <= 1, sum 1} by its optimality: y = clip(x - mu, 0, 1), and one mu for all. */
static void simplex(void)
{
    enum { V = 300 };
    float x[2 * V], y[2 * V];
    for (size_t i = 0; i < 2 * V; i++)
        y[i] = x[i] = rng_symmetric(7, 7, i, i < V ? 1.0f : 0.01f);
    project_to_simplex(y, 2, V);
    for (size_t r = 0; r < 2; r++) {
        double sum = 0, low = -9, high = 9; /* the largest mu, and the least */
        for (size_t i = r * V; i < (r + 1) * V; i++) {
            const double mu = (double)x[i] - (double)y[i];
            sum += (double)y[i];
            CHECK(y[i] >= 0 && y[i] <= 1, "%g", (double)y[i]);
            if (y[i] > 0) {
                low = fmax(low, mu);
                high = fmin(high, mu);
            }
        }
        CHECK(fabs(sum - 1) < V * 1e-5 && low - high < 1e-6, "sum %g, mu from %g to %g", sum, high, low);
        for (size_t i = r * V; i < (r + 1) * V; i++)
            CHECK(y[i] > 0 || (double)x[i] <= low + 1e-6, "%g became 0, mu %g", (double)x[i], low);
    }
    float same[4] = { 0.25f, 0.25f, 0.5f, 0 }, one[3] = { -5, 7, 6.5f };
    project_to_simplex(same, 1, 4);
    CHECK(same[0] == 0.25f && same[2] == 0.5f && same[3] == 0, "a distribution changes: %g", (double)same[0]);
    project_to_simplex(one, 1, 3);
    CHECK(fabs((double)one[1] - 0.75) < 1e-4 && fabs((double)one[2] - 0.25) < 1e-4 && one[0] == 0,
          "%g %g %g", (double)one[0], (double)one[1], (double)one[2]);
}

enum { K = 2, S = 2, ITERATIONS = 12, MANY = 4096 };

/* UnlearnDiffAtk in double, from gradient()'s derivative by the token embeddings: the prompt that it ends
 * with. */
static char *search_again(laboratory *l, const float *x0, bool around)
{
    static double u[K][MANY], m[K][MANY], v[K][MANY];
    static float latents[TINY_LATENT], noise[TINY_LATENT], row[16], by[16 * 16];
    saeuron_context *x = l->b.x;
    const size_t V = tokenizer_size(x->tokenizer), N = l->a.N, D = x->text.D;
    int32_t ids[64], kept[64];
    size_t drawn = 0, n = 0, t = 0;
    saeuron_error e = { 0 };
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    for (size_t r = 0; r < K; r++)
        for (size_t j = 0; j < V; j++)
            u[r][j] = 1.0 / (double)V;
    for (int s = 0; s < S; s++)
        for (int i = 0; i < ITERATIONS; i++) {
            const int timestep = 1000 / S / 2 + s * (1000 / S);
            const double a = (double)x->ddim.alphas_cumprod[timestep];
            double loss;
            for (size_t r = 0; r < K; r++) {
                double all = 0, sum = 0;
                size_t j = 0;
                for (size_t c = 0; c < V; c++)
                    all += u[r][c];
                const double wanted = (double)rng_uniform(l->a.seed, l->a.stream, drawn++) * all;
                while (j < V - 1 && (sum += u[r][j]) <= wanted)
                    j++;
                ids[1 + r] = (int32_t)j;
            }
            ids[0] = l->a.ids[0];
            for (size_t j = 1 + K; j < N; j++)
                ids[j] = l->a.ids[j - K];
            const uint64_t seed = rng_value(l->a.seed, l->a.stream, drawn++) >> 32;
            rng_randn(noise, seed, TINY_LATENT, 0, TINY_LATENT);
            for (size_t j = 0; j < TINY_LATENT; j++)
                latents[j] = (float)(sqrt(a) * (double)x0[j] + sqrt(1 - a) * (double)noise[j]);
            const gradient_options o = { .ids = ids, .timestep = timestep, .h = 8, .w = 8, .latents = latents,
                                         .target = noise, .of = "tokens", .around = around,
                                         .map_steps = true };
            CHECK(gradient(x, &o, by, &loss, &e) == SAEURON_OK, "%s", e.text);
            t++;
            for (size_t r = 0; r < K; r++) {
                double low = -9, high = 9;
                for (size_t c = 0; c < V; c++) {
                    double g = 0;
                    nn_widen(row, x->text.token_embedding, c * D, D);
                    for (size_t j = 0; j < D; j++)
                        g += (double)by[(1 + r) * D + j] * (double)row[j];
                    g = (g > 1 ? 1 : g < -1 ? -1 : g) + 0.1 * u[r][c];
                    m[r][c] = 0.9 * m[r][c] + 0.1 * g;
                    v[r][c] = 0.999 * v[r][c] + 0.001 * g * g;
                    u[r][c] -= 0.01 * (m[r][c] / (1 - pow(0.9, (double)t))) /
                               (sqrt(v[r][c] / (1 - pow(0.999, (double)t))) + 1e-8);
                }
                for (int step = 0; step < 60; step++) {
                    double sum = 0;
                    for (size_t c = 0; c < V; c++)
                        sum += fmin(fmax(u[r][c] - (low + high) / 2, 0), 1);
                    *(sum > 1 ? &low : &high) = (low + high) / 2;
                }
                for (size_t c = 0; c < V; c++)
                    u[r][c] = fmin(fmax(u[r][c] - low, 0), 1);
            }
        }
    for (size_t r = 0; r < K; r++)
        for (size_t c = 0, best = 0; c < V; c++) {
            best = u[r][c] > u[r][best] ? c : best;
            ids[1 + r] = (int32_t)best;
        }
    for (size_t i = 0; i < l->a.count + K; i++)
        if (!tokenizer_is_end(x->tokenizer, ids[i]))
            kept[n++] = ids[i];
    return tokenizer_decode(x->tokenizer, kept, n, &e);
}

static void unlearndiffatk_again(void)
{
    static float x0[TINY_LATENT];
    char *found[2];
    for (int around = 0; around < 2; around++) {
        saeuron_error e = { 0 };
        laboratory l = { .steps = 0 };
        open_laboratory(&l, "unlearndiffatk", NULL);
        for (size_t i = 0; i < TINY_LATENT; i++)
            x0[i] = rng_symmetric(3, 9, i, 1.0f);
        const unlearndiffatk_options o = { K, ITERATIONS, S, 0.01, 0.1, around };
        found[around] = search_again(&l, x0, around);
        CHECK(!unlearndiffatk(&l.a, &o, x0, &e), "%s", e.text);
        CHECK(l.a.tries == S && l.steps == S * (ITERATIONS + 1), "%zu pictures, %zu steps", l.a.tries,
              l.steps);
        CHECK(found[around] && !strcmp(l.a.prompt, found[around]), "\"%s\", not \"%s\"", l.a.prompt,
              found[around]);
        close_laboratory(&l);
    }
    CHECK(strcmp(found[0], found[1]), "through and around end in \"%s\"", found[0]);
    free(found[0]), free(found[1]);
}

/* Before the first step all tokens are alike: the prompt begins with the first of them, K times. */
static void unlearned(void)
{
    static const float   x0[TINY_LATENT];
    static const int32_t first[K];
    const unlearndiffatk_options o = { K, 0, 1, 0.01, 0.1, false };
    saeuron_error e = { 0 };
    laboratory l = { .steps = 0 };
    open_laboratory(&l, "unlearndiffatk", NULL);
    char *wanted = tokenizer_decode(l.b.x->tokenizer, first, K, &e);
    CHECK(!unlearndiffatk(&l.a, &o, x0, &e) && wanted && !strncmp(l.a.prompt, wanted, strlen(wanted)),
          "\"%s\" does not begin with \"%s\"", l.a.prompt, wanted ? wanted : e.text);
    free(wanted);
    close_laboratory(&l);
}

/* Ring-A-Bell with the distances in double and the genes in arrays of arrays. */
enum { GENES = 4, PEOPLE = 20, GENERATIONS = 9 };
typedef struct person { int32_t gene[GENES]; double distance; } person;

static size_t below(const laboratory *l, size_t *drawn, size_t n)
{
    return (size_t)((rng_value(l->a.seed, l->a.stream, (*drawn)++) >> 32) * n >> 32);
}

static int32_t any_token(const laboratory *l, size_t *drawn)
{
    const tokenizer *t = l->b.x->tokenizer;
    for (;;) {
        const int32_t id = (int32_t)below(l, drawn, tokenizer_size(t));
        if (!tokenizer_is_end(t, id))
            return id;
    }
}

static void distance(const laboratory *l, person *p, const double *target)
{
    static unsigned char memory[1 << 20];
    static float states[16 * 16];
    arena work = { .base = memory, .size = sizeof memory };
    nn c;
    int32_t ids[16];
    nn_init(&c, "reference", 1, &work);
    for (size_t i = 0; i < 16; i++)
        ids[i] = i == 0 ? l->a.ids[0] : i <= GENES ? p->gene[i - 1] : l->a.ids[l->a.N - 1];
    ids[1 + GENES] = l->a.ids[l->a.count - 1];
    clip_forward(&c, &l->b.x->text, states, ids, 1, 16, NULL);
    p->distance = 0;
    for (size_t j = 0; j < 256; j++)
        p->distance += (target[j] - (double)states[j]) * (target[j] - (double)states[j]);
}

static int nearer(const void *a, const void *b)
{
    const person *x = a, *y = b;
    return (x->distance > y->distance) - (x->distance < y->distance);
}

static char *breed_again(laboratory *l)
{
    static person people[8 * PEOPLE], next[8 * PEOPLE];
    static float states[256];
    double target[256], with[256] = { 0 }, without[256] = { 0 };
    size_t drawn = 0, P = PEOPLE;
    saeuron_error e = { 0 };
    double a = 0, b = 0;
    for (size_t i = 0; i < l->b.p.entries; i++) { /* NOBODY's: l->a.concept is Sketch here */
        const entry *at = &l->b.p.entry[i];
        CHECK(!saeuron_encode_text(l->b.x, at->prompt, states, &e), "%s", e.text);
        const bool own = at->style == SKETCH;
        *(own ? &a : &b) += 1;
        for (size_t j = 0; j < 256; j++)
            (own ? with : without)[j] += (double)states[j];
    }
    saeuron_encode_text(l->b.x, l->a.place->prompt, states, &e);
    for (size_t j = 0; j < 256; j++)
        target[j] = (double)states[j] + 3 * (with[j] / a - without[j] / b);
    for (size_t i = 0; i < P; i++)
        for (size_t k = 0; k < GENES; k++)
            people[i].gene[k] = any_token(l, &drawn);
    for (int g = 0; g < GENERATIONS; g++) {
        for (size_t i = 0; i < P; i++)
            distance(l, &people[i], target);
        qsort(people, P, sizeof *people, nearer);
        if (g == GENERATIONS - 1)
            break;
        const size_t parents = P / 2;
        P = 0;
        for (size_t i = 0; i < parents; i++) {
            next[P++] = people[i];
            if ((double)rng_uniform(l->a.seed, l->a.stream, drawn++) < 0.5) {
                const size_t other = below(l, &drawn, parents), cut = below(l, &drawn, GENES);
                for (size_t child = 0; child < 2; child++, P++)
                    for (size_t k = 0; k < GENES; k++)
                        next[P].gene[k] = people[(k < cut) == (child == 0) ? i : other].gene[k];
            }
        }
        memcpy(people, next, sizeof people);
        for (size_t i = 0; i < P; i++)
            if ((double)rng_uniform(l->a.seed, l->a.stream, drawn++) < 0.25) {
                const size_t k = below(l, &drawn, GENES);
                people[i].gene[k] = any_token(l, &drawn);
            }
    }
    return tokenizer_decode(l->b.x->tokenizer, people[0].gene, GENES, &e);
}

static void ringabell_again(void)
{
    saeuron_error e = { 0 };
    laboratory l = { .steps = 0 };
    open_laboratory(&l, "ringabell", NULL);
    l.a.concept = SKETCH;
    char *found = breed_again(&l);
    const ringabell_options o = { GENES, GENERATIONS, PEOPLE, 3, 0.25, 0.5 };
    CHECK(!ringabell(&l.a, &o, &e) && l.a.tries == 1, "%s, %zu pictures", e.text, l.a.tries);
    CHECK(found && !strcmp(l.a.prompt, found), "\"%s\", not \"%s\"", l.a.prompt, found);
    free(found);
    const ringabell_options many = { 15, 1, 2, 3, 0.25, 0.5 };
    judges_error("15 tokens", ringabell(&l.a, &many, &e), SAEURON_EUSAGE, &e, "at most 14 tokens, not 15");
    close_laboratory(&l);
}

/* Guesses take all their tries, random tokens stand before the prompt, other noise is elsewhere. */
static void guesses(void)
{
    saeuron_error e = { 0 };
    laboratory l = { .steps = 0 };
    open_laboratory(&l, "prefix", NULL);
    CHECK(!guess_prefix(&l.a, 3, 2, &e) && l.a.tries == 3 && l.steps == 3, "%s", e.text);
    const char *end = strstr(l.a.prompt, "sketch");
    CHECK(end && end > l.a.prompt && !strcmp(end, "sketch") && l.a.noise_index == 1, "\"%s\"", l.a.prompt);
    CHECK(!guess_noise(&l.a, 4, &e) && l.a.tries == 7, "%s", e.text);
    CHECK(!strcmp(l.a.prompt, "Sketch") && l.a.noise_index == 4 * l.b.p.entries + 1, "\"%s\" %lu",
          l.a.prompt, (unsigned long)l.a.noise_index);
    close_laboratory(&l);
}

static int try_method(void *user, saeuron_error *e)
{
    laboratory *l = user;
    const int method = l->method;
    static const float x0[TINY_LATENT];
    static const unlearndiffatk_options descent = { 1, 2, 1, 0.01, 0.1, false };
    static const ringabell_options search = { 2, 2, 2, 3, 0.25, 0.5 };
    int code = attempt_open(&l->a, &l->m, STYLE, SKETCH, 1, attack_names[method], e);
    l->a.step = go_on;
    l->a.user = &l->steps;
    if (!code)
        code = method == UNLEARNDIFFATK ? unlearndiffatk(&l->a, &descent, x0, e)
             : method == RINGABELL ? ringabell(&l->a, &search, e)
             : method == PREFIX ? guess_prefix(&l->a, 1, 1, e) : guess_noise(&l->a, 1, e);
    attempt_close(&l->a);
    return code;
}

/* Each method's every allocation fails once: an error, nothing left, and the next attempt works. */
static void allocations_fail(void)
{
    for (int method = 0; method < ATTACKS; method++) {
        laboratory l = { .method = method };
        counting c = { 0, 0, 0 };
        const saeuron_host host = { .user = &c, .alloc = count_alloc, .free = count_free, .threads = 1 };
        open_laboratory(&l, attack_names[method], &host);
        attempt_close(&l.a);
        const long used = allocations_fail_by_one(&c, try_method, &l, 2000);
        CHECK(used > 4, "%s: %ld allocations", attack_names[method], used);
        close_laboratory(&l);
    }
}

const test_case attack_tests[] = {
    { "same_bytes", same_bytes }, { "interrupted", interrupted }, { "pictures", pictures },
    { "counts", counts }, { "refusals", refusals }, { "simplex", simplex },
    { "unlearndiffatk_again", unlearndiffatk_again },
    { "unlearned", unlearned }, { "ringabell_again", ringabell_again },
    { "guesses", guesses }, { "allocations_fail", allocations_fail }, { NULL, NULL },
};
