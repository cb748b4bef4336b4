/* recorded.c: see recorded.h. */
#include "test.h"
#include "recorded.h"
#include "arithmetic/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

seen eye;

const char *const spoken[PROMPTS] = { "An image of Cats in Sketch style.", "dog", "the sea", "",
                                       "in Van Gogh style" };
const char *const hooks[2] = { TINY_OBJECTS, "unet." TINY_STYLES };

const char concept_file[] = "{\"Cats\": [\"An image of Cats in Sketch style.\", \"dog\"], "
                            "\"Dogs\": [\"the sea\"], \"The \\\"Sea\\\"\": [\"\", \"in Van Gogh style\"]}";

const char *suite_path(const char *suite, const char *name)
{
    static char paths[128][256]; /* more than a test has */
    static int  next;
    char *path = paths[next++ % 128];
    snprintf(path, sizeof paths[0], "%s/%s-%s", test_tmp(), suite, name);
    return path;
}

bool there(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

bool same_files(const char *a, const char *b)
{
    io_file f[2];
    saeuron_error e = { 0 };
    const int code = io_open(&f[0], NULL, a, &e) || io_open(&f[1], NULL, b, &e);
    CHECK(!code, "%s", e.text);
    const bool same = !code && f[0].size == f[1].size && f[0].size &&
        !memcmp(f[0].data, f[1].data, f[0].size);
    io_close(&f[0]);
    io_close(&f[1]);
    return same;
}

static int look(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4],
                int kind)
{
    static const char *const names[4] = { "unet." TINY_OBJECTS, "unet." TINY_STYLES,
                                          "unet.up_blocks.0.resnets.1", "unet.up_blocks.0.resnets.2" };
    seen *s = user;
    (void)kind;
    for (size_t i = 0; i < 4 && step >= 0; i++)
        if (!strcmp(name, names[i]))
            for (size_t b = 0; b < shape[0] / s->guided; b++)
                memcpy(i < 2 ? s->out[i][first + b][step] : s->in[i - 2][first + b][step],
                       values + (shape[0] - shape[0] / s->guided + b) * TOKENS * WIDTH,
                       TOKENS * WIDTH * sizeof *values);
    return 0;
}

void watch_hooks(saeuron_context *x, saeuron_generate_options g)
{
    static unsigned char rgb[PROMPTS * TINY_PIXELS];
    saeuron_error e = { 0 };
    memset(&eye, 0, sizeof eye);
    eye.guided = g.has_guidance && g.guidance <= 1 ? 1 : 2;
    g.prompts = spoken;
    g.count = PROMPTS;
    g.tap = look;
    g.tap_user = &eye;
    g.batch = PROMPTS;
    CHECK(saeuron_generate(x, &g, rgb, &e) == SAEURON_OK, "%s", e.text);
}

int collected(saeuron_context *x, saeuron_generate_options g, const char *const *paths, size_t hook_count,
              shard part, size_t every, size_t first, bool diff, dtype type, saeuron_error *e)
{
    g.prompts = spoken;
    g.count = PROMPTS;
    const collect_options o = { .sampling = g, .part = part, .hooks = hooks, .paths = paths,
                                .hook_count = hook_count, .diff = diff, .every = every, .first = first,
                                .type = type };
    return collect_run(x, &o, e);
}

int counted(saeuron_context *x, concept_set *c, const char *hook, const char *path, const char *density,
            shard part, dtype type, bool per_prompt, size_t batch, saeuron_error *e)
{
    const stats_options o = { .sampling = { .seed = 9, .batch = batch }, .part = part, .hook = hook,
                              .path = path, .density = density, .concepts = c, .type = type,
                              .per_prompt = per_prompt };
    return stats_make(x, &o, e);
}

void prepare(void)
{
    static const char *const hook[] = { TINY_STYLES };
    static const struct { const char *name; shard part; dtype type; } made[] = {
        { "whole.safetensors", { 0, 1 }, DT_F32 }, { "half.safetensors", { 0, 1 }, DT_F16 },
        { "part0.safetensors", { 0, 3 }, DT_F32 }, { "part1.safetensors", { 1, 3 }, DT_F32 },
        { "part2.safetensors", { 2, 3 }, DT_F32 },
    };
    static bool ready;
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    if (ready)
        return;
    ready = true;
    tiny_make(&files);
    saeuron_host host = tiny_host(&files);
    host.threads = 1; /* a busy machine waits long for two */
    CHECK(saeuron_open(&x, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        const char *path = suite_path("training", made[i].name);
        const collect_options o = { .sampling = { .prompts = spoken, .count = PROMPTS, .seed = 3 },
                                    .part = made[i].part, .hooks = hook, .paths = &path, .hook_count = 1,
                                    .type = made[i].type };
        CHECK(collect_run(x, &o, &e) == SAEURON_OK, "%s", e.text);
    }
    saeuron_close(x);
    tiny_free(&files);
}

void make_file(const char *path, size_t rows, size_t first, size_t tokens, size_t width, const char *key,
               const char *value, dtype type)
{
    const char *pair[] = { "format", ACTIVATIONS_FORMAT, "hook", TINY_STYLES, "model", "0123456789abcdef",
                           "seed", "0", "cfg", "7.5", "steps", "2", "timesteps", "501,1", "size", "16x16",
                           "negative_prompt", "", "every", "1", "diff", "0", NULL };
    saeuron_error e = { 0 };
    float *x = malloc(rows * tokens * width * sizeof *x);
    for (size_t i = 0; i < rows * tokens * width; i++)
        x[i] = (float)(first + i / (tokens * width)) + (float)(i % (tokens * width) / width) * 0x1p-6f;
    for (size_t i = 0; pair[i] && key; i += 2)
        if (!strcmp(pair[i], key))
            pair[i + 1] = value;
    const tensor_out t = { .name = "activations", .type = type, .ndim = 3, .shape = { rows, tokens, width },
                           .values = x };
    CHECK(tensors_save(NULL, path, &t, 1, pair, &e) == SAEURON_OK, "%s", e.text);
    free(x);
}

void shuffled(uint32_t *order, size_t n, uint64_t seed, uint64_t window, const char *stream)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n - 1; i > 0; i--) {
        const size_t j = (size_t)(((rng_value(seed, nn_hash(window, stream, 7), i) >> 32) * (i + 1)) >> 32);
        const uint32_t keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
}
