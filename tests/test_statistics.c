/* test_statistics.c: stats on the tiny model of tiny.h: means and densities against plain loops over what a
 * tap sees; the same bytes however it is threaded and batched; every mistake named; every allocation failing
 * once.
 *
 * Not here: parts joined (test_merge.c), selection by score and density (test_select.c), the program's
 * messages (test_cli.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "recorded.h"
#include "forget.h"

#include <stdio.h>
#include <string.h>

#define K 8

static const char *at(const char *name) { return suite_path("statistics", name); }

static float rounded(float x)
{
    uint16_t h = 0;
    CHECK(nn_f32_to_f16(&h, x), "%g is too large", (double)x);
    return nn_f16_to_f32(h);
}

/* f of one token by plain loops: z by contract 3's chain (WIDTH < 128: one block), then its K largest
 * above 0. */
static void plain_latents(const sae *s, float f[LATENTS], const float *x)
{
    float z[LATENTS], w[WIDTH];
    for (size_t i = 0; i < LATENTS; i++) {
        float sum = 0;
        nn_widen(w, s->encoder.w, i * WIDTH, WIDTH);
        for (size_t j = 0; j < WIDTH; j++)
            sum = nn_fmaf(x[j] - s->b_dec[j], w[j], sum);
        z[i] = sum + s->encoder.bias[i];
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

/* What one concept's tensors must hold. */
typedef struct truth {
    float prompt[2][STEPS][LATENTS], mean[STEPS][LATENTS], density[STEPS][LATENTS];
} truth;

static void plain_statistics(truth *t, const sae *s, size_t hook, size_t first, size_t count)
{
    for (size_t step = 0; step < STEPS; step++) {
        double sum[LATENTS] = { 0 }, fired[LATENTS] = { 0 };
        for (size_t p = 0; p < count; p++) {
            double token[LATENTS] = { 0 };
            for (size_t m = 0; m < TOKENS; m++) {
                float f[LATENTS];
                plain_latents(s, f, eye.out[hook][first + p][step] + m * WIDTH);
                for (size_t i = 0; i < LATENTS; i++) {
                    token[i] += (double)f[i];
                    fired[i] += f[i] > 0;
                }
            }
            for (size_t i = 0; i < LATENTS; i++) {
                t->prompt[p][step][i] = (float)(token[i] / TOKENS);
                sum[i] += (double)t->prompt[p][step][i];
            }
        }
        for (size_t i = 0; i < LATENTS; i++) {
            t->mean[step][i] = (float)(sum[i] / (double)count);
            t->density[step][i] = (float)(fired[i] / ((double)count * TOKENS));
        }
    }
}

static void compare(const tensors *t, const char *name, const float *want, size_t count, dtype type,
                    const char *what)
{
    const tensor *x = tensors_find(t, name);
    size_t wrong = 0;
    CHECK(x && x->count == count && x->type == type, "%s: tensor %s", what, name);
    for (size_t i = 0; x && x->count == count && i < count; i++) {
        float got;
        nn_widen(&got, (weight){ .data = x->data, .type = x->type }, i, 1);
        wrong += got != (type == DT_F16 ? rounded(want[i]) : want[i]);
    }
    CHECK(wrong == 0, "%s: %zu of %zu values of %s are not the definition's", what, wrong, count, name);
}

/* Means over tokens, then prompts; the noise of a concept's prompts goes on where the one before it stopped;
 * unequal numbers of prompts. */
static void statistics(void)
{
    static const struct { const char *hook; bool per_prompt; dtype type; } cases[] = {
        { TINY_OBJECTS, false, DT_F32 }, { "unet." TINY_STYLES, false, DT_F16 },
        { TINY_STYLES, true, DT_F16 },   { TINY_OBJECTS, true, DT_F32 },
    };
    static truth want;
    concept_set c;
    saeuron_error e = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tensors t, d;
        sae  s;
        char dir[1024], name[96];
        const char *path = at("stats.safetensors"), *density = at("density.safetensors");
        const char *other = at("other.safetensors");
        saeuron_context *x = fresh();
        tiny_text(&files, "mine.json", concept_file);
        CHECK(concepts_open(&c, x, cases[i].hook, "tiny/mine.json", 0, &e) == SAEURON_OK, "%s", e.text);
        watch_hooks(x, (saeuron_generate_options){ .seed = 9 });
        CHECK(counted(x, &c, cases[i].hook, path, density, (shard){ 0, 1 }, cases[i].type,
                      cases[i].per_prompt, 0, &e) == SAEURON_OK, "%s", e.text);
        CHECK(hook_name(x, cases[i].hook, name, &e) == SAEURON_OK &&
              hook_folder(x, name, dir, &e) == SAEURON_OK &&
              sae_load(&s, &x->host, NULL, dir, &e) == SAEURON_OK, "%s", e.text);
        CHECK(tensors_open(&t, NULL, path, &e) == SAEURON_OK &&
              tensors_open(&d, NULL, density, &e) == SAEURON_OK && t.count == 3 && d.count == 3, "%s",
              e.text);
        for (size_t k = 0; k < 3; k++) {
            plain_statistics(&want, &s, strcmp(name, TINY_OBJECTS) != 0, c.list[k].first, c.list[k].count);
            if (cases[i].per_prompt)
                compare(&t, c.list[k].name, &want.prompt[0][0][0], c.list[k].count * STEPS * LATENTS,
                        cases[i].type, "per prompt");
            else
                compare(&t, c.list[k].name, &want.mean[0][0], STEPS * LATENTS, cases[i].type, "means");
            compare(&d, c.list[k].name, &want.density[0][0], STEPS * LATENTS, DT_F32, "density");
        }
        tensors_close(&t);
        tensors_close(&d);
        sae_unload(&s, &x->host);
        saeuron_close(x);
        x = opened(NULL, 2);
        CHECK(counted(x, &c, cases[i].hook, other, NULL, (shard){ 0, 1 }, cases[i].type, cases[i].per_prompt,
                      1, &e) == SAEURON_OK, "%s", e.text);
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
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK &&
          counted(x, &c, TINY_OBJECTS, path, at("density.safetensors"), (shard){ 0, 1 }, DT_F32, false, 0,
                  &e) == SAEURON_OK &&
          stats_load(&s, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    CHECK(s.concepts == 3 && s.steps == STEPS && s.timesteps[0] == 751 && s.timesteps[3] == 1 &&
          !strcmp(s.hook, TINY_OBJECTS) && s.sae[0] && s.prompts[stats_find(&s, "Cats")] == 2 &&
          s.prompts[stats_find(&s, "Dogs")] == 1, "%zu concepts", s.concepts);
    CHECK(stats_load_density(&s, NULL, at("density.safetensors"), &e) == SAEURON_OK, "%s", e.text);
    stats_unload(&s, NULL);
    CHECK(stats_load(&s, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    check_error("means for densities", stats_load_density(&s, NULL, path, &e), SAEURON_EFORMAT, &e,
                "stats.safetensors|density");
    stats_unload(&s, NULL);
    concepts_close(&c, &x->host);
    done(x);
}

static void mistakes(void)
{
    saeuron_error e = { 0 };
    concept_set c;
    const char *path = at("never");
    saeuron_context *x = fresh();
    tiny_text(&files, "mine.json", concept_file);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK, "%s", e.text);
    check_error("no SAE", counted(x, &c, "mid_block.attentions.0", path, NULL, (shard){ 0, 1 }, DT_F32, false,
                                  0, &e), SAEURON_ENOENT, &e, "mid_block.attentions.0|saeuron_use_sae");
    check_error("one file for two", counted(x, &c, TINY_OBJECTS, path, path, (shard){ 0, 1 }, DT_F32, false,
                                            0, &e), SAEURON_EUSAGE, &e, "a file each");
    check_error("nowhere to go", counted(x, &c, TINY_OBJECTS, at("no/such"), NULL, (shard){ 0, 1 }, DT_F32,
                                         false, 0, &e), SAEURON_ENOENT, &e, "no/such");
    check_error("nowhere for densities", counted(x, &c, TINY_OBJECTS, path, at("no/such"), (shard){ 0, 1 },
                                                 DT_F32, false, 0, &e), SAEURON_ENOENT, &e, "no/such");
    CHECK(!there(path), "statistics without densities are there");
    check_error("BF16", counted(x, &c, TINY_OBJECTS, path, NULL, (shard){ 0, 1 }, DT_BF16, false, 0, &e),
                SAEURON_EUSAGE, &e, "written as F32 or F16");
    concepts_close(&c, &x->host);
    static char many[32768]; /* unequal numbers of prompts of concepts whose names fill the header */
    size_t n = (size_t)sprintf(many, "{\"a\": [\"x\", \"y\"]");
    for (int i = 0; i < 180; i++)
        n += (size_t)sprintf(many + n, ", \"%090d\": [\"x\"]", i);
    strcpy(many + n, "}");
    tiny_text(&files, "mine.json", many);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK, "%s", e.text);
    check_error("a long header", counted(x, &c, TINY_OBJECTS, path, NULL, (shard){ 0, 1 }, DT_F32, false, 0,
                                         &e), SAEURON_EUSAGE, &e, "never|as many prompts (lines)");
    concepts_close(&c, &x->host);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 1, &e) == SAEURON_OK, "%s", e.text);
    CHECK(counted(x, &c, TINY_OBJECTS, path, NULL, (shard){ 0, 90 }, DT_F32, false, 0, &e) == SAEURON_OK,
          "one of each: %s", e.text);
    concepts_close(&c, &x->host);
    done(x);
}

static int two_parts(saeuron_context *x, saeuron_error *e)
{
    const char *parts[2] = { at("e0"), at("e1") };
    concept_set c = { 0 };
    int code = concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 1, e);
    for (size_t i = 0; i < 2 && !code; i++)
        code = counted(x, &c, TINY_OBJECTS, parts[i], at("e2"), (shard){ i, 2 }, DT_F16, i == 1, 1, e);
    concepts_close(&c, &x->host);
    return code;
}

static void allocations_fail(void)
{
    saeuron_context *x = fresh();
    tiny_text(&files, "mine.json", concept_file);
    each_allocation_fails(x, two_parts);
    done(x);
}

const test_case statistics_tests[] = {
    { "statistics", statistics }, { "statistics_serve", statistics_serve }, { "mistakes", mistakes },
    { "allocations_fail", allocations_fail }, { NULL, NULL },
};
