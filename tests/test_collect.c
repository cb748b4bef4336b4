/* test_collect.c: collect, stats and merge on the tiny model of tiny.h: what they write against what a tap sees and plain loops over
 * it; the same bytes however the work is split; every mistake named; every allocation failing once.
 *
 * Not here: whether the activations are PyTorch's, the program's messages (test_cli.c), selection by density (test_model.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "tiny.h"
#include "forget.h"
#include "training/collect.h"
#include "training/merge.h"
#include "training/statistics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 16        /* tokens of a map, 4 x 4 */
#define D 32
#define T TINY_STEPS
#define LATENTS 128
#define K 8
#define IMAGES 5

/* ---- help ---- */

static tiny files;

static saeuron_context *opened(int threads)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    saeuron_host  host = tiny_host(&files);
    host.threads = threads;
    CHECK(saeuron_open(&x, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
    return x;
}

static saeuron_context *fresh(void)
{
    tiny_make(&files);
    return opened(1);
}

static void done(saeuron_context *x)
{
    saeuron_close(x);
    CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0, "%ld blocks and %ld maps are left, %ld blocks torn", files.live, files.mapped, files.torn);
    tiny_free(&files);
}

static const char *at(const char *name)
{
    static char paths[128][256]; /* more than a test has */
    static int  next;
    char *path = paths[next++ % 128];
    snprintf(path, sizeof paths[0], "%s/%s", test_tmp(), name);
    return path;
}

static bool there(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

static bool same_files(const char *a, const char *b)
{
    io_file f[2];
    saeuron_error e = { 0 };
    const int code = io_open(&f[0], NULL, a, &e) || io_open(&f[1], NULL, b, &e);
    CHECK(!code, "%s", e.text);
    const bool same = !code && f[0].size == f[1].size && f[0].size && !memcmp(f[0].data, f[1].data, f[0].size);
    io_close(&f[0]);
    io_close(&f[1]);
    return same;
}

static void check_error(const char *what, int code, int wanted, const saeuron_error *e, const char *words)
{
    CHECK(code == wanted && e->code == wanted && test_holds(e->text, words) && !strchr(e->text, '\n'), "%s: code %d (wanted %d), \"%s\" should hold %s",
          what, code, wanted, e->text, words);
}

static const char *const prompts[IMAGES] = { "An image of Cats in Sketch style.", "dog", "the sea", "", "in Van Gogh style" };
static const char *const hooks[2] = { TINY_OBJECTS, "unet." TINY_STYLES };

/* What a tap sees of both hooks and of the ResNets before them, conditional half. */
typedef struct seen { float out[2][IMAGES][T][N * D], in[2][IMAGES][T][N * D]; size_t guided; } seen;
static seen eye;

static int look(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    static const char *const names[4] = { "unet." TINY_OBJECTS, "unet." TINY_STYLES, "unet.up_blocks.0.resnets.1", "unet.up_blocks.0.resnets.2" };
    seen *s = user;
    (void)kind;
    for (size_t i = 0; i < 4 && step >= 0; i++)
        if (!strcmp(name, names[i]))
            for (size_t b = 0; b < shape[0] / s->guided; b++)
                memcpy(i < 2 ? s->out[i][first + b][step] : s->in[i - 2][first + b][step], values + (shape[0] - shape[0] / s->guided + b) * N * D, N * D * sizeof *values);
    return 0;
}

/* The truth of a run of all prompts. */
static void watch(saeuron_context *x, saeuron_generate_options g)
{
    static unsigned char rgb[IMAGES * TINY_PIXELS];
    saeuron_error e = { 0 };
    memset(&eye, 0, sizeof eye);
    eye.guided = g.has_guidance && g.guidance <= 1 ? 1 : 2;
    g.prompts = prompts;
    g.count = IMAGES;
    g.tap = look;
    g.tap_user = &eye;
    g.batch = IMAGES;
    CHECK(saeuron_generate(x, &g, rgb, &e) == SAEURON_OK, "%s", e.text);
}

static int collected(saeuron_context *x, saeuron_generate_options g, const char *const *paths, size_t hook_count, shard part, size_t every, size_t first, bool diff, dtype type, saeuron_error *e)
{
    g.prompts = prompts;
    g.count = IMAGES;
    const collect_options o = { .sampling = g, .part = part, .hooks = hooks, .paths = paths, .hook_count = hook_count, .diff = diff, .every = every, .first = first, .type = type };
    return collect_run(x, &o, e);
}

/* ---- activations ---- */

/* The other half of the batch, a row in another image's place, a step too many, an input for an output: each shows in a value. Threads
 * and batches, which split the batch differently, change no byte. */
static void activations(void)
{
    static const struct { saeuron_generate_options g; size_t every, first; bool diff; dtype type; } cases[] = {
        { { .seed = 3 }, 1, 0, false, DT_F32 },       { { .seed = 3 }, 1, 0, true, DT_F32 },
        { { .seed = 4, .noise_index = 2 }, 2, 0, false, DT_F32 }, { { .seed = 4 }, 3, 0, true, DT_F32 },
        { { .guidance = 1, .has_guidance = 1 }, 0, 0, false, DT_F32 }, { { .negative_prompt = "dog", .guidance = 7, .has_guidance = 1 }, 5, 0, false, DT_F16 },
        { { .seed = 3 }, 1, 1, false, DT_F32 },       { { .seed = 3 }, 2, T, true, DT_F16 },
    };
    const char *paths[2] = { at("a.safetensors"), at("b.safetensors") }, *others[2] = { at("c.safetensors"), at("d.safetensors") };
    saeuron_error e = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t every = cases[i].every ? cases[i].every : 1, rows = ((cases[i].first ? cases[i].first : T) + every - 1) / every;
        saeuron_context *x = fresh();
        watch(x, cases[i].g);
        CHECK(collected(x, cases[i].g, paths, 2, (shard){ 0, 1 }, cases[i].every, cases[i].first, cases[i].diff, cases[i].type, &e) == SAEURON_OK, "%s", e.text);
        for (size_t h = 0; h < 2; h++) {
            tensors t;
            CHECK(tensors_open(&t, NULL, paths[h], &e) == SAEURON_OK, "%s", e.text);
            const tensor *a = tensors_find(&t, "activations");
            CHECK(a && t.count == 1 && a->ndim == 3 && a->shape[0] == IMAGES * rows && a->shape[1] == N && a->shape[2] == D && a->type == cases[i].type, "case %zu: shape", i);
            size_t wrong = 0;
            for (size_t j = 0; a && j < IMAGES; j++)
                for (size_t r = 0; r < rows; r++)
                    for (size_t v = 0; v < N * D; v++) {
                        const float out = eye.out[h][j][r * every][v], want = cases[i].diff ? out - eye.in[h][j][r * every][v] : out;
                        float    got;
                        uint16_t half = 0;
                        nn_widen(&got, (weight){ .data = a->data, .type = a->type }, (j * rows + r) * N * D + v, 1);
                        nn_f32_to_f16(&half, want);
                        wrong += got != (a->type == DT_F16 ? nn_f16_to_f32(half) : want);
                    }
            CHECK(wrong == 0, "case %zu, hook %zu: %zu values are not what the tap saw", i, h, wrong);
            tensors_close(&t);
        }
        saeuron_close(x);
        for (int threads = 1; threads <= 3; threads++) {
            saeuron_generate_options g = cases[i].g;
            g.batch = (size_t)threads;
            x = opened(threads);
            CHECK(collected(x, g, others, 2, (shard){ 0, 1 }, cases[i].every, cases[i].first, cases[i].diff, cases[i].type, &e) == SAEURON_OK, "%s", e.text);
            CHECK(same_files(paths[0], others[0]) && same_files(paths[1], others[1]), "case %zu: other bytes with %d threads and batches of as many", i, threads);
            saeuron_close(x);
        }
        done(NULL);
    }
}

/* Metadata, key by key, in their order. */
static void header(void)
{
    static const char *const want[] = { "format", "saeuron-activations-1", "hook", TINY_STYLES, "model", NULL, "seed", "7", "cfg", "2.5", "steps", "4", "timesteps", "751,1", "size", "16x16",
                                        "negative_prompt", "d\"g", "every", "3", "diff", "1", "first_prompt", "2", "prompts", "3", "all_prompts", "5", "prompts_digest", NULL, "shard", "1/2" };
    const char *path = at("a.safetensors");
    char model[24], key_text[64], text[64];
    tensors t;
    json key, value;
    size_t n = 0;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    const collect_options o = { .sampling = { .prompts = prompts, .count = IMAGES, .seed = 7, .guidance = 2.5, .has_guidance = 1, .negative_prompt = "d\"g" }, .part = { 1, 2 },
                                .hooks = hooks + 1, .paths = &path, .hook_count = 1, .diff = true, .every = 3, .type = DT_F32 };
    CHECK(collect_run(x, &o, &e) == SAEURON_OK && tensors_open(&t, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    snprintf(model, sizeof model, "%016" PRIx64, saeuron_model_digest(x));
    for (json_iter it = json_begin(t.metadata); json_next(&it, &key, &value); n += 2) {
        CHECK(json_string(key, key_text, sizeof key_text, NULL) && json_string(value, text, sizeof text, NULL), "metadata");
        const char *wanted = n + 1 < sizeof want / sizeof *want ? want[n + 1] ? want[n + 1] : !strcmp(key_text, "model") ? model : text : "nothing";
        CHECK(n + 1 < sizeof want / sizeof *want && !strcmp(key_text, want[n]) && !strcmp(text, wanted), "metadata %zu: %s = %s", n / 2, key_text, text);
    }
    CHECK(n == sizeof want / sizeof *want, "%zu pairs", n / 2);
    tensors_close(&t);
    done(x);
}

/* Any split, more parts than prompts too, merged in any order, gives the bytes of the whole. */
static void parts_of_activations(void)
{
    const char *whole = at("whole.safetensors"), *merged = at("merged.safetensors");
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(collected(x, (saeuron_generate_options){ .seed = 3 }, &whole, 1, (shard){ 0, 1 }, 2, 0, true, DT_F16, &e) == SAEURON_OK, "%s", e.text);
    for (size_t n = 1; n <= 7; n++) {
        const char *part[7];
        for (size_t i = 0; i < n; i++) {
            char name[32];
            const size_t p = (3 * i + 1) % n; /* out of order; n = 3 and 6 come in order, as they may */
            snprintf(name, sizeof name, "part%zu", n % 3 ? p : i);
            part[i] = at(name);
            CHECK(collected(x, (saeuron_generate_options){ .seed = 3, .batch = 1 + i % 2 }, &part[i], 1, (shard){ n % 3 ? p : i, n }, 2, 0, true, DT_F16, &e) == SAEURON_OK, "%s", e.text);
        }
        CHECK(merge_parts(&x->host, part, 0, merged, &e) == SAEURON_EUSAGE, "merged nothing");
        CHECK(merge_parts(NULL, part, n, merged, &e) == SAEURON_OK, "%zu parts: %s", n, e.text);
        CHECK(same_files(whole, merged), "%zu parts give other bytes", n);
    }
    done(x);
}

/* ---- concepts ---- */

static const char concept_file[] = "{\"Cats\": [\"An image of Cats in Sketch style.\", \"dog\"], \"Dogs\": [\"the sea\"], \"The \\\"Sea\\\"\": [\"\", \"in Van Gogh style\"]}";

static void concepts_of_a_file(void)
{
    static const struct { const char *text; int code; const char *words; } cases[] = {
        { "[1]", SAEURON_EFORMAT, "mine.json|no object" }, { "{", SAEURON_EFORMAT, "mine.json" }, { "{}", SAEURON_EFORMAT, "mine.json|no concept" }, { "{\"A\": []}", SAEURON_EFORMAT, "mine.json|A|no list" },
        { "{\"A\": \"x\"}", SAEURON_EFORMAT, "mine.json|A" }, { "{\"A\": [1]}", SAEURON_EFORMAT, "mine.json|prompt" }, { "{\"A,B\": [\"x\"]}", SAEURON_EFORMAT, "mine.json|A,B|comma" },
        { "{\"\": [\"x\"]}", SAEURON_EFORMAT, "mine.json|name" }, { "{\"A\": [\"x\\u0000\"]}", SAEURON_EFORMAT, "mine.json|prompt" },
        { "{\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\": [\"x\"]}", SAEURON_EFORMAT, "mine.json|95 bytes" },
        { "{\"A\": [\"x\"], \"A\": [\"y\"]}", SAEURON_EFORMAT, "mine.json" },
    };
    concept_set c;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    tiny_text(&files, "mine.json", concept_file);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK, "%s", e.text);
    CHECK(c.count == 3 && c.prompts == 5 && c.list[2].first == 3 && c.list[2].count == 2 && !strcmp(c.list[2].name, "The \"Sea\"") && !strcmp(c.list[2].prompts[1], "in Van Gogh style") &&
          !strcmp(c.list[0].prompts[1], "dog"), "%zu concepts, %zu prompts", c.count, c.prompts);
    concepts_close(&c, &x->host);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 1, &e) == SAEURON_OK && c.prompts == 3 && c.list[2].first == 2, "one line each: %s", e.text);
    concepts_close(&c, &x->host);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_text(&files, "mine.json", cases[i].text);
        check_error(cases[i].text, concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e), cases[i].code, &e, cases[i].words);
    }
    check_error("no file", concepts_open(&c, x, TINY_OBJECTS, "tiny/none.json", 0, &e), SAEURON_ENOENT, &e, "none.json");
    check_error("no hook", concepts_open(&c, x, "nowhere", "tiny/mine.json", 0, &e), SAEURON_EUSAGE, &e, "nowhere");
    check_error("no calibration", concepts_open(&c, x, TINY_OBJECTS, NULL, 0, &e), SAEURON_EFORMAT, &e, "concepts.json|calibration|--concepts");
    check_error("no domain", concepts_open(&c, x, "mid_block.attentions.0", NULL, 0, &e), SAEURON_EFORMAT, &e, "concepts.json|domains|--concepts");
    done(x);
}

/* The default: objects take their own lines as they stand, styles the first line of each object, its full stop dropped, in the style. */
static void concepts_of_a_model(void)
{
    concept_set c;
    saeuron_error e = { 0 };
    tiny_make(&files);
    tiny_edit(&files, "concepts.json", "}}}", "}}, \"calibration\": {\"Cats\": [\" A cat. \", \"Two cats\"], \"Dogs\": [\"A dog..\", \"x\", \"y\"], \"Sea\": [\"The\\tsea_side\"]}}");
    tiny_edit(&files, "concepts.json", "Van Gogh", "Van_Gogh");
    saeuron_context *x = opened(1);
    CHECK(concepts_open(&c, x, "unet." TINY_OBJECTS, NULL, 2, &e) == SAEURON_OK, "%s", e.text);
    CHECK(c.count == 3 && c.prompts == 5 && !strcmp(c.list[0].prompts[0], "A cat.") && !strcmp(c.list[1].prompts[0], "A dog..") && c.list[1].count == 2 &&
          !strcmp(c.list[2].prompts[0], "The\tsea_side") && c.list[2].first == 4, "objects: %zu prompts, \"%s\"", c.prompts, c.list[0].prompts[0]);
    concepts_close(&c, &x->host);
    CHECK(concepts_open(&c, x, TINY_STYLES, NULL, 0, &e) == SAEURON_OK, "%s", e.text);
    CHECK(c.count == 3 && c.prompts == 9 && !strcmp(c.list[1].name, "Van_Gogh") && !strcmp(c.list[1].prompts[0], "A cat in Van Gogh style.") &&
          !strcmp(c.list[1].prompts[1], "A dog. in Van Gogh style.") && !strcmp(c.list[2].prompts[2], "The\tsea_side in Watercolor style."), "styles: \"%s\"", c.list[1].prompts[0]);
    concepts_close(&c, &x->host);
    saeuron_close(x);
    tiny_edit(&files, "concepts.json", "\"Sea\": [", "\"Lake\": [");
    x = opened(1);
    check_error("a concept without lines", concepts_open(&c, x, TINY_OBJECTS, NULL, 0, &e), SAEURON_EFORMAT, &e, "concepts.json|calibration|Sea");
    done(x);
}

/* ---- statistics ---- */

static float rounded(float x)
{
    uint16_t h = 0;
    CHECK(nn_f32_to_f16(&h, x), "%g is too large", (double)x);
    return nn_f16_to_f32(h);
}

/* f of one token by plain loops: z by contract 3's chain (D < 128: one block), then the K largest above 0. half: rounded as A8 says. */
static void plain_latents(const sae *s, float f[LATENTS], const float *x, bool half)
{
    float z[LATENTS], w[D];
    for (size_t i = 0; i < LATENTS; i++) {
        float sum = 0;
        nn_widen(w, s->encoder.w, i * D, D);
        for (size_t j = 0; j < D; j++) {
            const float c = half ? rounded(rounded(x[j]) - rounded(s->b_dec[j])) : x[j] - s->b_dec[j];
            sum = nn_fmaf(c, half ? rounded(w[j]) : w[j], sum);
        }
        sum = sum + (half ? rounded(s->encoder.bias[i]) : s->encoder.bias[i]);
        z[i] = half ? rounded(sum) : sum;
        f[i] = 0;
    }
    for (size_t k = 0; k < K; k++) {
        size_t best = LATENTS;
        for (size_t i = 0; i < LATENTS; i++)
            if (f[i] == 0 && z[i] > 0 && (best == LATENTS || z[i] > z[best]))
                best = i;
        if (best < LATENTS)
            f[best] = z[best];
    }
}

static float half_if(bool half, float x) { return half ? rounded(x) : x; }

/* What one concept's tensors must hold. */
typedef struct truth { float prompt[2][T][LATENTS], mean[T][LATENTS], density[T][LATENTS]; } truth;

static void plain_statistics(truth *t, const sae *s, size_t hook, size_t first, size_t count, bool half)
{
    for (size_t step = 0; step < T; step++) {
        double sum[LATENTS] = { 0 }, fired[LATENTS] = { 0 };
        for (size_t p = 0; p < count; p++) {
            double token[LATENTS] = { 0 };
            for (size_t m = 0; m < N; m++) {
                float f[LATENTS];
                plain_latents(s, f, eye.out[hook][first + p][step] + m * D, half);
                for (size_t i = 0; i < LATENTS; i++) {
                    token[i] += (double)f[i];
                    fired[i] += f[i] > 0;
                }
            }
            for (size_t i = 0; i < LATENTS; i++) {
                t->prompt[p][step][i] = half_if(half, (float)(token[i] / N));
                sum[i] += (double)t->prompt[p][step][i];
            }
        }
        for (size_t i = 0; i < LATENTS; i++) {
            t->mean[step][i] = half_if(half, (float)(sum[i] / (double)count));
            t->density[step][i] = (float)(fired[i] / ((double)count * N));
        }
    }
}

static int counted(saeuron_context *x, concept_set *c, const char *hook, const char *path, const char *density, shard part, dtype type, bool per_prompt, bool half, size_t batch, saeuron_error *e)
{
    const stats_options o = { .sampling = { .seed = 9, .batch = batch }, .part = part, .hook = hook, .path = path, .density = density, .concepts = c, .type = type,
                              .per_prompt = per_prompt, .half = half };
    return stats_make(x, &o, e);
}

static void compare(const tensors *t, const char *name, const float *want, size_t count, dtype type, const char *what)
{
    const tensor *x = tensors_find(t, name);
    size_t wrong = 0;
    CHECK(x && x->count == count && x->type == type, "%s: tensor %s", what, name);
    for (size_t i = 0; x && x->count == count && i < count; i++) {
        float got;
        nn_widen(&got, (weight){ .data = x->data, .type = x->type }, i, 1);
        wrong += got != half_if(type == DT_F16, want[i]);
    }
    CHECK(wrong == 0, "%s: %zu of %zu values of %s are not the definition's", what, wrong, count, name);
}

/* Means over tokens, then prompts; the noise of a concept's prompts goes on where the one before it stopped; unequal numbers of prompts. */
static void statistics(void)
{
    static const struct { const char *hook; bool per_prompt, half; dtype type; } cases[] = {
        { TINY_OBJECTS, false, false, DT_F32 }, { "unet." TINY_STYLES, false, false, DT_F16 }, { TINY_STYLES, true, false, DT_F16 }, { TINY_OBJECTS, true, false, DT_F32 },
        { TINY_OBJECTS, false, true, DT_F16 }, { TINY_STYLES, true, true, DT_F32 },
    };
    static truth want;
    concept_set c;
    saeuron_error e = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tensors t, d;
        sae  s;
        char dir[1024], name[96];
        const char *path = at("stats.safetensors"), *density = at("density.safetensors"), *other = at("other.safetensors");
        saeuron_context *x = fresh();
        tiny_text(&files, "mine.json", concept_file);
        CHECK(concepts_open(&c, x, cases[i].hook, "tiny/mine.json", 0, &e) == SAEURON_OK, "%s", e.text);
        watch(x, (saeuron_generate_options){ .seed = 9 });
        CHECK(counted(x, &c, cases[i].hook, path, density, (shard){ 0, 1 }, cases[i].type, cases[i].per_prompt, cases[i].half, 0, &e) == SAEURON_OK, "%s", e.text);
        CHECK(hook_name(x, cases[i].hook, name, &e) == SAEURON_OK && hook_folder(x, name, dir, &e) == SAEURON_OK && sae_load(&s, &x->host, NULL, dir, &e) == SAEURON_OK, "%s", e.text);
        CHECK(tensors_open(&t, NULL, path, &e) == SAEURON_OK && tensors_open(&d, NULL, density, &e) == SAEURON_OK && t.count == 3 && d.count == 3, "%s", e.text);
        for (size_t k = 0; k < 3; k++) {
            plain_statistics(&want, &s, strcmp(name, TINY_OBJECTS) != 0, c.list[k].first, c.list[k].count, cases[i].half);
            if (cases[i].per_prompt)
                compare(&t, c.list[k].name, &want.prompt[0][0][0], c.list[k].count * T * LATENTS, cases[i].type, "per prompt");
            else
                compare(&t, c.list[k].name, &want.mean[0][0], T * LATENTS, cases[i].type, "means");
            compare(&d, c.list[k].name, &want.density[0][0], T * LATENTS, DT_F32, "density");
        }
        tensors_close(&t);
        tensors_close(&d);
        sae_unload(&s, &x->host);
        saeuron_close(x);
        x = opened(2);
        CHECK(counted(x, &c, cases[i].hook, other, NULL, (shard){ 0, 1 }, cases[i].type, cases[i].per_prompt, cases[i].half, 1, &e) == SAEURON_OK, "%s", e.text);
        CHECK(same_files(path, other), "case %zu: two threads and batches of one give other bytes", i);
        concepts_close(&c, &x->host);
        done(x);
    }
}

/* What stats writes, forget reads: whole, with its digests and counts of prompts. */
static void statistics_serve(void)
{
    concept_set c;
    stats s;
    saeuron_error e = { 0 };
    const char *path = at("stats.safetensors");
    saeuron_context *x = fresh();
    tiny_text(&files, "mine.json", concept_file);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK && counted(x, &c, TINY_OBJECTS, path, at("density.safetensors"), (shard){ 0, 1 }, DT_F32, false, false, 0, &e) == SAEURON_OK &&
          stats_load(&s, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    CHECK(s.concepts == 3 && s.steps == T && s.timesteps[0] == 751 && s.timesteps[3] == 1 && !strcmp(s.hook, TINY_OBJECTS) && s.sae[0] && s.prompts[stats_find(&s, "Cats")] == 2 &&
          s.prompts[stats_find(&s, "Dogs")] == 1, "%zu concepts", s.concepts);
    CHECK(stats_load_density(&s, NULL, at("density.safetensors"), &e) == SAEURON_OK, "%s", e.text);
    stats_unload(&s, NULL);
    CHECK(stats_load(&s, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    check_error("means for densities", stats_load_density(&s, NULL, path, &e), SAEURON_EFORMAT, &e, "stats.safetensors|density");
    stats_unload(&s, NULL);
    concepts_close(&c, &x->host);
    done(x);
}

/* Split between concepts, merged: the same bytes, of the densities, too. Statistics of several runs are joined, unless they disagree. */
static void parts_of_statistics(void)
{
    static const char one[] = "{\"Lake\": [\"a lake\", \"lakes\", \"the lake\"]}";
    concept_set c, lake;
    stats s;
    saeuron_error e = { 0 };
    const char *whole = at("whole.safetensors"), *dense = at("dense.safetensors"), *merged = at("merged.safetensors");
    saeuron_context *x = fresh();
    tiny_text(&files, "mine.json", concept_file);
    tiny_text(&files, "lake.json", one);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK && concepts_open(&lake, x, TINY_OBJECTS, "tiny/lake.json", 0, &e) == SAEURON_OK, "%s", e.text);
    for (int per_prompt = 0; per_prompt < 2; per_prompt++) {
        CHECK(counted(x, &c, TINY_OBJECTS, whole, dense, (shard){ 0, 1 }, DT_F16, per_prompt, false, 0, &e) == SAEURON_OK, "%s", e.text);
        for (size_t n = 1; n <= 4; n++) {
            const char *part[4], *density[4];
            for (size_t i = 0; i < n; i++) {
                char name[32];
                snprintf(name, sizeof name, "part%zu", i);
                part[n - 1 - i] = at(name);
                snprintf(name, sizeof name, "density%zu", i);
                density[i] = at(name);
                CHECK(counted(x, &c, TINY_OBJECTS, part[n - 1 - i], density[i], (shard){ i, n }, DT_F16, per_prompt, false, 0, &e) == SAEURON_OK, "%s", e.text);
            }
            CHECK(merge_parts(NULL, part, n, merged, &e) == SAEURON_OK, "%s", e.text);
            CHECK(same_files(whole, merged), "%zu parts of the statistics give other bytes", n);
            CHECK(merge_parts(NULL, density, n, merged, &e) == SAEURON_OK, "%s", e.text);
            CHECK(same_files(dense, merged), "%zu parts of the densities give other bytes", n);
        }
    }
    const char *both[2] = { at("whole.safetensors"), at("lake.safetensors") };
    CHECK(counted(x, &c, TINY_OBJECTS, both[0], NULL, (shard){ 0, 1 }, DT_F32, false, false, 0, &e) == SAEURON_OK &&
          counted(x, &lake, TINY_OBJECTS, both[1], NULL, (shard){ 0, 1 }, DT_F32, false, false, 0, &e) == SAEURON_OK, "%s", e.text);
    CHECK(merge_parts(NULL, both, 2, merged, &e) == SAEURON_OK && stats_load(&s, NULL, merged, &e) == SAEURON_OK, "%s", e.text);
    CHECK(s.concepts == 4 && s.prompts[stats_find(&s, "Lake")] == 3 && s.prompts[stats_find(&s, "Dogs")] == 1 && s.sae[0], "joined: %zu concepts", s.concepts);
    stats_unload(&s, NULL);
    const char *twice[2] = { both[0], both[0] };
    check_error("a concept twice", merge_parts(NULL, twice, 2, merged, &e), SAEURON_EUSAGE, &e, "two tensors|Cats");
    CHECK(counted(x, &lake, TINY_STYLES, both[1], NULL, (shard){ 0, 1 }, DT_F32, false, false, 0, &e) == SAEURON_OK, "%s", e.text);
    check_error("another hook", merge_parts(NULL, both, 2, merged, &e), SAEURON_EFORMAT, &e, "lake.safetensors|hook|" TINY_STYLES);
    concepts_close(&c, &x->host);
    concepts_close(&lake, &x->host);
    done(x);
}

/* ---- mistakes ---- */

/* Parts that do not belong together are refused by name, and the file that was there stays. */
static void parts_refused(void)
{
    saeuron_error e = { 0 };
    const char *a = at("p0"), *b = at("p1"), *c = at("p2"), *merged = at("keep");
    saeuron_context *x = fresh();
    const saeuron_generate_options g = { .seed = 3 }, other = { .seed = 4 };
    test_write_file(merged, "old", 3);
    CHECK(collected(x, g, &a, 1, (shard){ 0, 2 }, 1, 0, false, DT_F32, &e) == SAEURON_OK && collected(x, g, &b, 1, (shard){ 1, 2 }, 1, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("a part missing", merge_parts(NULL, (const char *const[]){ a }, 1, merged, &e), SAEURON_EFORMAT, &e, "shard 1/2 is missing");
    check_error("the first part missing", merge_parts(NULL, (const char *const[]){ b }, 1, merged, &e), SAEURON_EFORMAT, &e, "shard 0/2 is missing");
    check_error("a part twice", merge_parts(NULL, (const char *const[]){ a, b, b }, 3, merged, &e), SAEURON_EFORMAT, &e, "p1|both shard 1/2");
    CHECK(collected(x, other, &c, 1, (shard){ 1, 2 }, 1, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("another seed", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e), SAEURON_EFORMAT, &e, "p2|seed \"4\"|p0|\"3\"");
    CHECK(collected(x, g, &c, 1, (shard){ 1, 2 }, 2, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("other steps", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e), SAEURON_EFORMAT, &e, "p2|timesteps");
    CHECK(collected(x, g, &c, 1, (shard){ 1, 2 }, 1, 0, false, DT_F16, &e) == SAEURON_OK, "%s", e.text);
    check_error("another type", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e), SAEURON_EFORMAT, &e, "p2|type");
    CHECK(collected(x, g, &c, 1, (shard){ 1, 3 }, 1, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("another split", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e), SAEURON_EFORMAT, &e, "p2|1/3|different runs");
    CHECK(collected(x, g, &c, 1, (shard){ 0, 1 }, 1, 0, false, DT_F32, &e) == SAEURON_OK, "%s", e.text);
    check_error("whole runs", merge_parts(NULL, (const char *const[]){ c, c }, 2, merged, &e), SAEURON_EFORMAT, &e, "p2|whole runs");
    check_error("no file", merge_parts(NULL, (const char *const[]){ a, at("none") }, 2, merged, &e), SAEURON_ENOENT, &e, "none");
    io_file f;
    CHECK(io_open(&f, NULL, b, &e) == SAEURON_OK, "%s", e.text);
    test_write_file(c, f.data, f.size - 5);
    io_close(&f);
    check_error("cut short", merge_parts(NULL, (const char *const[]){ a, c }, 2, merged, &e), SAEURON_EFORMAT, &e, "p2|cut short");
    test_write_file(c, tiny_find(&files, "sae/" TINY_STYLES "/sae.safetensors")->bytes, tiny_find(&files, "sae/" TINY_STYLES "/sae.safetensors")->size);
    check_error("an SAE", merge_parts(NULL, (const char *const[]){ c }, 1, merged, &e), SAEURON_EFORMAT, &e, "p2|neither activations nor statistics");
    check_error("nowhere to go", merge_parts(NULL, (const char *const[]){ a, b }, 2, at("no/such/file"), &e), SAEURON_ENOENT, &e, "no/such/file");
    CHECK(io_open(&f, NULL, merged, &e) == SAEURON_OK && f.size == 3 && !memcmp(f.data, "old", 3), "a refused merge changed the file");
    io_close(&f);
    done(x);
}

static void mistakes(void)
{
    saeuron_error e = { 0 };
    concept_set c;
    const char *path = at("never"), *two[2] = { at("never"), at("never2") };
    const char *const twice[2] = { TINY_STYLES, "unet." TINY_STYLES }, *const nowhere[1] = { "up_blocks.0.resnets.1" };
    saeuron_context *x = fresh();
    collect_options o = { .sampling = { .prompts = prompts, .count = IMAGES }, .part = { 0, 1 }, .hooks = hooks, .paths = two, .hook_count = 1, .type = DT_F32 };
    o.part = (shard){ 2, 2 };
    check_error("shard 2/2", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "shard");
    o.part = (shard){ 0, 1 };
    o.hooks = nowhere;
    check_error("no hook", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "resnets.1|no hook");
    o.hooks = twice;
    o.hook_count = 2;
    check_error("a hook twice", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "twice");
    o.hooks = hooks;
    o.hook_count = 0;
    check_error("no hooks", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "hooks");
    o.hook_count = 1;
    o.type = DT_BF16;
    check_error("BF16", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "F32 or F16");
    o.type = DT_F32;
    o.sampling.count = 0;
    check_error("no prompt", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "prompt");
    o.sampling.count = IMAGES;
    o.sampling.steps = 1000;
    check_error("1000 steps", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "steps");
    o.sampling.steps = 0;
    o.sampling.batch = 2000;
    o.sampling.count = 1;
    o.sampling.noise_index = UINT64_MAX;
    check_error("noise beyond the stream", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "noise");
    CHECK(!there(two[0]), "a file of a failed run is there");
    o.sampling.noise_index = 0;
    for (long n = 1; n <= 4; n++) { /* a stop at any step: nothing stays */
        files.progressed = 0;
        files.cancel_at = n;
        check_error("a stop", collect_run(x, &o, &e), SAEURON_ECANCEL, &e, "stopped");
        CHECK(!there(two[0]), "a file of a stopped run is there");
    }
    files.cancel_at = 0;
    CHECK(!saeuron_steer(x, TINY_STYLES, 1, 2, &e), "%s", e.text);
    o.sampling = (saeuron_generate_options){ .prompts = prompts, .count = 1 };
    check_error("while steering", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "forget, steer and reconstruct nothing");
    saeuron_remember(x);
    tiny_text(&files, "mine.json", concept_file);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK, "%s", e.text);
    check_error("no SAE", counted(x, &c, "mid_block.attentions.0", path, NULL, (shard){ 0, 1 }, DT_F32, false, false, 0, &e), SAEURON_ENOENT, &e, "mid_block.attentions.0|--sae");
    check_error("one file for two", counted(x, &c, TINY_OBJECTS, path, path, (shard){ 0, 1 }, DT_F32, false, false, 0, &e), SAEURON_EUSAGE, &e, "a file each");
    check_error("nowhere to go", counted(x, &c, TINY_OBJECTS, at("no/such"), NULL, (shard){ 0, 1 }, DT_F32, false, false, 0, &e), SAEURON_ENOENT, &e, "no/such");
    check_error("nowhere for densities", counted(x, &c, TINY_OBJECTS, path, at("no/such"), (shard){ 0, 1 }, DT_F32, false, false, 0, &e), SAEURON_ENOENT, &e, "no/such");
    CHECK(!there(path), "statistics without densities are there");
    concepts_close(&c, &x->host);
    done(x);
}

/* An activation that is not finite is named before it reaches a file. The UNet's first bias at float32's end makes it so. */
static void not_finite(void)
{
    static tiny_list l;
    saeuron_error e = { 0 };
    const char *path = at("never");
    tiny_make(&files);
    tiny_tensors(&l, "unet");
    tiny_tensor *w = tiny_tensor_named(&l, "up_blocks.0.attentions.1.proj_out.bias");
    for (size_t i = 0; i < w->count; i++)
        w->values[i] = i % 2 ? 3.4e38f : -3.4e38f;
    w = tiny_tensor_named(&l, "up_blocks.0.attentions.1.proj_out.weight");
    for (size_t i = 0; i < w->count; i++)
        w->values[i] = 3e38f;
    tiny_save(&files, "unet/diffusion_pytorch_model.safetensors", &l, 0, l.count, NULL);
    tiny_drop(&l);
    saeuron_context *x = opened(1);
    const collect_options o = { .sampling = { .prompts = prompts, .count = 1 }, .part = { 0, 1 }, .hooks = hooks, .paths = &path, .hook_count = 1, .type = DT_F32 };
    check_error("not finite", collect_run(x, &o, &e), SAEURON_ENAN, &e, "unet." TINY_OBJECTS "|not finite|step 0");
    CHECK(!there(path), "a file of activations that are not finite is there");
    done(x);
}

/* Every allocation of a run of each kind fails once: SAEURON_ENOMEM, nothing left, and the context goes on. */
static int everything(saeuron_context *x, saeuron_error *e)
{
    const char *paths[2] = { at("e0"), at("e1") }, *parts[2] = { at("e2"), at("e3") };
    concept_set c = { 0 };
    int code = collected(x, (saeuron_generate_options){ .steps = 1 }, paths, 2, (shard){ 0, 1 }, 1, 0, true, DT_F32, e);
    if (!code)
        code = concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 1, e);
    for (size_t i = 0; i < 2 && !code; i++)
        code = counted(x, &c, TINY_OBJECTS, parts[i], at("e4"), (shard){ i, 2 }, DT_F16, i == 1, i == 1, 1, e);
    concepts_close(&c, &x->host);
    return code;
}

static int merge_from_memory(saeuron_context *x, saeuron_error *e) { return merge_parts(&x->host, (const char *const[]){ "tiny/m0", "tiny/m1" }, 2, at("e5"), e); }

static void allocations_fail(void)
{
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    tiny_text(&files, "mine.json", concept_file);
    const long before = files.live;
    for (int kind = 0; kind < 2; kind++) {
        int (*const run)(saeuron_context *, saeuron_error *) = kind ? merge_from_memory : everything;
        for (size_t i = 0; i < 2 && kind; i++) {
            const char *part = at("m");
            io_file f;
            CHECK(collected(x, (saeuron_generate_options){ .steps = 1 }, &part, 1, (shard){ i, 2 }, 1, 0, false, DT_F32, &e) == SAEURON_OK && io_open(&f, NULL, part, &e) == SAEURON_OK, "%s", e.text);
            tiny_set(&files, i ? "m1" : "m0", f.data, f.size);
            io_close(&f);
        }
        files.allocs = 0;
        CHECK(run(x, &e) == SAEURON_OK, "%s", e.text);
        const long all = files.allocs;
        CHECK(all > 8, "%ld allocations", all);
        for (long n = 1; n <= all; n++) {
            files.allocs = 0;
            files.fail_at = n;
            e = (saeuron_error){ 0 };
            const int code = run(x, &e);
            CHECK(code == SAEURON_ENOMEM && e.code == SAEURON_ENOMEM && strstr(e.text, "memory"), "allocation %ld of %ld: code %d, \"%s\"", n, all, code, e.text);
            CHECK(files.live == before && files.torn == 0, "allocation %ld: %ld blocks are left", n, files.live - before);
        }
        files.fail_at = 0;
        CHECK(run(x, &e) == SAEURON_OK, "afterwards: %s", e.text);
        test_note("%ld allocations", all);
    }
    done(x);
}

const test_case collect_tests[] = {
    { "activations", activations }, { "header", header }, { "parts_of_activations", parts_of_activations }, { "concepts_of_a_file", concepts_of_a_file },
    { "concepts_of_a_model", concepts_of_a_model }, { "statistics", statistics }, { "statistics_serve", statistics_serve },
    { "parts_of_statistics", parts_of_statistics }, { "parts_refused", parts_refused }, { "mistakes", mistakes }, { "not_finite", not_finite },
    { "allocations_fail", allocations_fail }, { NULL, NULL },
};
