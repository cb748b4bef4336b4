/* test_collect.c: collect on the tiny model of tiny.h: what it writes against what a tap sees; the same bytes
 * however it is threaded and batched; every mistake named; every allocation failing once.
 *
 * Not here: parts joined (test_merge.c), the same maps sampled for training (test_source.c), whether they are
 * PyTorch's (tests/fullsize.py), the program's messages (test_cli.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "recorded.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *at(const char *name) { return suite_path("collect", name); }

/* The other half of the batch, a row in another image's place, a step too many, an input for an output: each
 * shows in a value. Threads and batches, which split the batch differently, change no byte. */
static void activations(void)
{
    static const struct {
        saeuron_generate_options g;
        size_t every, first;
        bool   diff;
        dtype  type;
    } cases[] = {
        { { .seed = 3 }, 1, 0, false, DT_F32 },       { { .seed = 3 }, 1, 0, true, DT_F32 },
        { { .seed = 4, .noise_index = 2 }, 2, 0, false, DT_F32 }, { { .seed = 4 }, 3, 0, true, DT_F32 },
        { { .guidance = 1, .has_guidance = 1 }, 0, 0, false, DT_F32 },
        { { .negative_prompt = "dog", .guidance = 7, .has_guidance = 1 }, 5, 0, false, DT_F16 },
        { { .seed = 3 }, 1, 1, false, DT_F32 },       { { .seed = 3 }, 2, STEPS, true, DT_F16 },
    };
    const char *paths[2] = { at("a.safetensors"), at("b.safetensors") };
    const char *others[2] = { at("c.safetensors"), at("d.safetensors") };
    saeuron_error e = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t every = cases[i].every ? cases[i].every : 1;
        const size_t steps = cases[i].first ? cases[i].first : STEPS;
        const size_t rows = (steps + every - 1) / every;
        saeuron_context *x = fresh();
        watch_hooks(x, cases[i].g);
        CHECK(collected(x, cases[i].g, paths, 2, (shard){ 0, 1 }, cases[i].every, cases[i].first,
                        cases[i].diff, cases[i].type, &e) == SAEURON_OK, "%s", e.text);
        for (size_t h = 0; h < 2; h++) {
            tensors t;
            CHECK(tensors_open(&t, NULL, paths[h], &e) == SAEURON_OK, "%s", e.text);
            const tensor *a = tensors_find(&t, "activations");
            CHECK(a && t.count == 1 && a->ndim == 3 && a->shape[0] == PROMPTS * rows &&
                  a->shape[1] == TOKENS && a->shape[2] == WIDTH && a->type == cases[i].type,
                  "case %zu: shape", i);
            size_t wrong = 0;
            for (size_t j = 0; a && j < PROMPTS; j++)
                for (size_t r = 0; r < rows; r++)
                    for (size_t v = 0; v < TOKENS * WIDTH; v++) {
                        const float out = eye.out[h][j][r * every][v], in = eye.in[h][j][r * every][v];
                        const float want = cases[i].diff ? out - in : out;
                        float    got;
                        uint16_t half = 0;
                        nn_widen(&got, (weight){ .data = a->data, .type = a->type },
                                 (j * rows + r) * TOKENS * WIDTH + v, 1);
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
            x = opened(NULL, threads);
            CHECK(collected(x, g, others, 2, (shard){ 0, 1 }, cases[i].every, cases[i].first, cases[i].diff,
                            cases[i].type, &e) == SAEURON_OK, "%s", e.text);
            CHECK(same_files(paths[0], others[0]) && same_files(paths[1], others[1]),
                  "case %zu: other bytes with %d threads and batches of as many", i, threads);
            saeuron_close(x);
        }
        done(NULL);
    }
}

/* Metadata, key by key, in their order. */
static void header(void)
{
    static const char *const want[] = { "format", "saeuron-activations-1", "hook", TINY_STYLES, "model", NULL,
                                        "seed", "7", "cfg", "2.5", "steps", "4", "timesteps", "751,1",
                                        "size", "16x16", "negative_prompt", "d\"g", "every", "3", "diff", "1",
                                        "first_prompt", "2", "prompts", "3", "all_prompts", "5",
                                        "prompts_digest", NULL, "shard", "1/2" };
    const char *path = at("a.safetensors");
    char model[24], key_text[64], text[64];
    tensors t;
    json key, value;
    size_t n = 0;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    const collect_options o = { .sampling = { .prompts = spoken, .count = PROMPTS, .seed = 7,
                                              .guidance = 2.5, .has_guidance = 1, .negative_prompt = "d\"g" },
                                .part = { 1, 2 }, .hooks = hooks + 1, .paths = &path, .hook_count = 1,
                                .diff = true, .every = 3, .type = DT_F32 };
    CHECK(collect_run(x, &o, &e) == SAEURON_OK && tensors_open(&t, NULL, path, &e) == SAEURON_OK, "%s",
          e.text);
    snprintf(model, sizeof model, "%016" PRIx64, saeuron_model_digest(x));
    for (json_iter it = json_begin(t.metadata); json_next(&it, &key, &value); n += 2) {
        CHECK(json_string(key, key_text, sizeof key_text, NULL) &&
              json_string(value, text, sizeof text, NULL), "metadata");
        const bool known = n + 1 < sizeof want / sizeof *want; /* NULL: the model's digest, or anything */
        const char *any = !strcmp(key_text, "model") ? model : text;
        const char *wanted = known ? want[n + 1] ? want[n + 1] : any : "nothing";
        CHECK(known && !strcmp(key_text, want[n]) && !strcmp(text, wanted),
              "metadata %zu: %s = %s", n / 2, key_text, text);
    }
    CHECK(n == sizeof want / sizeof *want, "%zu pairs", n / 2);
    tensors_close(&t);
    done(x);
}

/* Text states: a row a prompt is what saeuron_encode_text gives, in F16 rounded; parts follow one another. */
static void text_states(void)
{
    static const char *const want[] = { "format", "hook", "model", "diff", "first_prompt", "prompts",
                                        "all_prompts", "prompts_digest", "shard" };
    static const char *const text[1] = { TEXT_HOOK };
    const char *path = at("t.safetensors");
    enum { VALUES = 16 * 16, KEYS = sizeof want / sizeof *want };
    static float states[VALUES];
    char  key_text[64];
    json  key;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    for (size_t part = 0; part < 2; part++) {
        const collect_options o = { .sampling = { .prompts = spoken, .count = PROMPTS }, .part = { part, 2 },
                                    .hooks = text, .paths = &path, .hook_count = 1,
                                    .type = part ? DT_F16 : DT_F32 };
        const size_t first = part * PROMPTS / 2, rows = (part + 1) * PROMPTS / 2 - first;
        tensors t;
        size_t  n = 0;
        CHECK(collect_run(x, &o, &e) == SAEURON_OK && tensors_open(&t, NULL, path, &e) == SAEURON_OK, "%s",
              e.text);
        const tensor *a = tensors_find(&t, "activations");
        CHECK(a && a->ndim == 3 && a->shape[0] == rows && a->shape[1] == 16 && a->shape[2] == 16 &&
              a->type == o.type, "part %zu: shape", part);
        for (size_t i = 0; a && i < rows; i++) {
            CHECK(!saeuron_encode_text(x, spoken[first + i], states, &e), "%s", e.text);
            for (size_t v = 0; v < VALUES; v++) {
                float    got;
                uint16_t half = 0;
                nn_widen(&got, (weight){ .data = a->data, .type = a->type }, i * VALUES + v, 1);
                nn_f32_to_f16(&half, states[v]);
                const float wanted = part ? nn_f16_to_f32(half) : states[v];
                CHECK(!memcmp(&got, &wanted, sizeof got), "part %zu, prompt %zu, value %zu", part, i, v);
            }
        }
        for (json_iter it = json_begin(t.metadata); json_next(&it, &key, NULL); n++)
            CHECK(json_string(key, key_text, sizeof key_text, NULL) && n < KEYS &&
                  !strcmp(key_text, want[n]), "metadata %zu: %s", n, key_text);
        CHECK(n == KEYS, "%zu keys", n);
        tensors_close(&t);
    }
    done(x);
}

/* ---- mistakes ---- */

static void mistakes(void)
{
    saeuron_error e = { 0 };
    const char *two[2] = { at("never"), at("never2") };
    const char *const twice[2] = { TINY_STYLES, "unet." TINY_STYLES };
    const char *const nowhere[1] = { "up_blocks.0.resnets.1" };
    saeuron_context *x = fresh();
    collect_options o = { .sampling = { .prompts = spoken, .count = PROMPTS }, .part = { 0, 1 },
                          .hooks = hooks, .paths = two, .hook_count = 1, .type = DT_F32 };
    o.part = (shard){ 2, 2 };
    check_error("shard 2/2", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "shard");
    o.part = (shard){ 0, 1 };
    o.hooks = nowhere;
    check_error("no hook", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "resnets.1|no hook");
    o.hooks = twice;
    o.hook_count = 2;
    check_error("a hook twice", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "twice");
    o.hooks = (const char *const[]){ TINY_STYLES, TEXT_HOOK };
    check_error("text states and others", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "text_encoder|alone");
    o.hooks++;
    o.hook_count = 1;
    o.every = 2;
    check_error("every second step of a text", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "leave out every");
    o.every = 1;
    o.first = 1;
    check_error("the first step of a text", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "leave out first");
    o.first = 0;
    o.diff = true;
    check_error("a text less its input", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "leave out diff");
    o.diff = false;
    o.every = 0;
    o.hooks = hooks;
    o.hook_count = 0;
    check_error("no hooks", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "hooks");
    o.hook_count = 1;
    o.type = DT_BF16;
    check_error("BF16", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "F32 or F16");
    o.type = DT_F32;
    o.sampling.count = 0;
    check_error("no prompt", collect_run(x, &o, &e), SAEURON_EUSAGE, &e, "prompt");
    o.sampling.count = PROMPTS;
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
    o.sampling = (saeuron_generate_options){ .prompts = spoken, .count = 1 };
    check_error("while steering", collect_run(x, &o, &e), SAEURON_EUSAGE, &e,
                "forget, steer and reconstruct nothing");
    saeuron_remember(x);
    done(x);
}

/* An activation that is not finite is named before it reaches a file. The UNet's first bias at float32's end
 * makes it so. */
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
    saeuron_context *x = opened(NULL, 1);
    const collect_options o = { .sampling = { .prompts = spoken, .count = 1 }, .part = { 0, 1 },
                                .hooks = hooks, .paths = &path, .hook_count = 1, .type = DT_F32 };
    check_error("not finite", collect_run(x, &o, &e), SAEURON_ENAN, &e,
                "unet." TINY_OBJECTS "|not finite|step 0");
    CHECK(!there(path), "a file of activations that are not finite is there");
    done(x);
}

static int two_hooks(saeuron_context *x, saeuron_error *e)
{
    const char *paths[2] = { at("e0"), at("e1") };
    return collected(x, (saeuron_generate_options){ .steps = 1 }, paths, 2, (shard){ 0, 1 }, 1, 0, true,
                     DT_F32, e);
}

static void allocations_fail(void)
{
    saeuron_context *x = fresh();
    each_allocation_fails(x, two_hooks);
    done(x);
}

const test_case collect_tests[] = {
    { "activations", activations }, { "header", header }, { "text_states", text_states },
    { "mistakes", mistakes },
    { "not_finite", not_finite }, { "allocations_fail", allocations_fail }, { NULL, NULL },
};
