/* test_bind.c: tensors bound to layers: what is wrong with one is said with its name and file; every type,
 * every way of sharding is the same model.
 *
 * Not here: safetensors itself (test_tensors.c), older names of tensors (test_clip.c, test_vae.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "shots.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is wrong with a tensor is said with its name and its file. */
static void tensor_errors(void)
{
    static const struct { const char *network, *file, *tensor; } victims[] = {
        { "unet", UNET, "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_k.weight" },
        { "unet", UNET, "conv_norm_out.bias" },
        { "vae", VAE, "decoder.up_blocks.1.resnets.0.conv_shortcut.weight" },
        { "vae", VAE, "encoder.down_blocks.0.downsamplers.0.conv.weight" }, { "vae", VAE, "quant_conv.bias" },
        { "text_encoder", TEXT, "text_model.encoder.layers.1.mlp.fc2.bias" },
    };
    static tiny_list l;
    char words[256];
    for (size_t i = 0; i < sizeof victims / sizeof *victims; i++)
        for (int kind = 0; kind < 8; kind++) {
            static const int codes[8] = {
                SAEURON_EFORMAT, SAEURON_EFORMAT, SAEURON_EFORMAT, SAEURON_EFORMAT, SAEURON_ENAN,
                SAEURON_ENAN, SAEURON_ENAN, SAEURON_EFORMAT
            };
            static const char *const says[8] = {
                "missing", "unknown", "shape", "F32, F16 or BF16", "not finite at element 3",
                "not finite at element 3", "not finite at element 3", "F32, F16 or BF16"
            };
            tiny_make(&files);
            tiny_tensors(&l, victims[i].network);
            tiny_tensor *v = tiny_tensor_named(&l, victims[i].tensor);
            snprintf(words, sizeof words, "%s|%s|%s", victims[i].file, victims[i].tensor, says[kind]);
            if (kind == 0)
                strcpy(v->name, "renamed"); /* missing comes before unknown */
            else if (kind == 1)
                snprintf(words, sizeof words, "%s|surplus.weight|unknown", victims[i].file),
                    tiny_tensor_add(&l, "surplus.weight", DT_F32, 1, (size_t[]){ 3 });
            else if (kind == 2)
                v->shape[0] += 1, v->count = v->count / (v->shape[0] - 1) * v->shape[0],
                                  v->values = realloc(v->values, v->count * sizeof *v->values),
                                  memset(v->values, 0, v->count * sizeof *v->values);
            else if (kind == 3)
                v->type = DT_F64;
            else if (kind == 4)
                v->values[3] = NAN;
            else if (kind == 5)
                v->type = DT_F16, v->values[3] = NAN;
            else if (kind == 6)
                v->type = DT_BF16, v->values[3] = -INFINITY;
            else
                v->type = DT_I64;
            tiny_save(&files, victims[i].file, &l, 0, l.count, NULL);
            open_fails(victims[i].tensor, codes[kind], words);
            tiny_drop(&l);
            tiny_free(&files);
        }
}

/* A value that only looks like NaN's neighbour must pass: the largest finite F32, F16 and BF16. */
static void largest_values_load(void)
{
    static tiny_list l;
    static const dtype types[] = { DT_F32, DT_F16, DT_BF16 };
    static const float largest[] = { 0x1.fffffep127f, 65504, 0x1.fep127f };
    for (size_t i = 0; i < 3; i++) {
        tiny_make(&files);
        tiny_tensors(&l, "vae");
        tiny_tensor *v = tiny_tensor_named(&l, "decoder.conv_in.weight");
        v->type = types[i];
        v->values[0] = largest[i];
        v->values[1] = -largest[i];
        tiny_save(&files, VAE, &l, 0, l.count, NULL);
        tiny_drop(&l);
        done(opened(NULL, 1));
    }
}

/* The same values as F32, F16, BF16, mixed, under fp16 names, and in shards, are the same model. */
static void dtypes_and_shards(void)
{
    static const struct { const char *network, *file; } parts[] = {
        { "unet", UNET }, { "vae", VAE }, { "text_encoder", TEXT }, { "sae", STYLES "/sae.safetensors" }
    };
    static tiny_list l;
    shot plain, s;
    uint64_t digest = 0;
    for (int kind = 0; kind < 6; kind++) {
        static const char *const kinds[] = { "F32", "F16", "BF16", "mixed", ".fp16. names", "shards" };
        saeuron_error e = { 0 };
        tiny_make(&files);
        for (size_t p = 0; p < 4; p++) {
            char name[160];
            tiny_tensors(&l, parts[p].network);
            for (size_t i = 0; i < l.count; i++)
                l.at[i].type = kind == 1 || kind == 4 ? DT_F16
                               : kind == 2            ? DT_BF16
                               : kind == 3            ? (dtype)(DT_F32 + i % 3)
                                                      : DT_F32;
            if (kind >= 4)
                tiny_set(&files, parts[p].file, NULL, 0);
            if (kind == 4) {
                snprintf(name, sizeof name, "%.*s.fp16.safetensors", (int)(strlen(parts[p].file) - 12),
                         parts[p].file);
                tiny_save(&files, name, &l, 0, l.count, NULL);
            } else if (kind == 5) {
                char *index = malloc(200 * l.count);
                const size_t half = l.count / 2, stem = strlen(parts[p].file) - 12;
                size_t at = (size_t)sprintf(index, "{\"metadata\": {}, \"weight_map\": {");
                const char *base = strrchr(parts[p].file, '/') + 1;
                for (size_t i = 0; i < l.count; i++)
                    at += (size_t)sprintf(index + at, "%s\"%s\": \"%.*s-0000%d-of-00002.safetensors\"",
                                          i ? ", " : "", l.at[i].name, (int)(strlen(base) - 12), base,
                                          i < half ? 1 : 2);
                strcpy(index + at, "}}");
                for (int n = 1; n <= 2; n++) {
                    snprintf(name, sizeof name, "%.*s-0000%d-of-00002.safetensors", (int)stem, parts[p].file,
                             n);
                    tiny_save(&files, name, &l, n == 1 ? 0 : half, n == 1 ? half : l.count, NULL);
                }
                snprintf(name, sizeof name, "%.*s.safetensors.index.json", (int)stem, parts[p].file);
                tiny_text(&files, name, index);
                free(index);
            } else {
                tiny_save(&files, parts[p].file, &l, 0, l.count, NULL);
            }
            tiny_drop(&l);
        }
        saeuron_context *x = opened(NULL, 1);
        if (x) {
            CHECK(try_forget(x, "Sketch", 60, 0, &e) == SAEURON_OK, "%s: %s", kinds[kind], e.text);
            must_shoot(x, (saeuron_generate_options){ .count = 1 }, kind ? &s : &plain);
            digest = kind ? digest : saeuron_model_digest(x);
            CHECK(kind == 0 || same(&plain, &s), "%s: another picture than F32's", kinds[kind]);
            CHECK((digest == saeuron_model_digest(x)) == (kind == 0 || kind == 5), "%s: the model's digest",
                  kinds[kind]);
        }
        done(x);
    }
}

/* host.pack holds a file's weights at four bytes each, or they are not packed. */
static void packs_what_fits(void)
{
    tensor list[2] = { { .count = 7 }, { .count = 3 } };
    const tensors file = { .list = list, .count = 2 };
    for (size_t bytes = 36; bytes < 44; bytes++)
        CHECK(packs(&(saeuron_host){ .pack = bytes }, &file) == (bytes >= 40), "at %zu bytes", bytes);
}

const test_case bind_tests[] = {
    { "tensor_errors", tensor_errors }, { "largest_values_load", largest_values_load },
    { "dtypes_and_shards", dtypes_and_shards }, { "packs_what_fits", packs_what_fits }, { NULL, NULL },
};
