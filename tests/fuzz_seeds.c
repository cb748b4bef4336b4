/* fuzz_seeds.c: valid files: those that stand around the input, and the first inputs of each target (fuzz.h).
 *
 * Not here: the model's own files (tiny.c). */
#include "fuzz.h"
#include "files/npy.h"
#include "files/png.h"
#include "squeezed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the surroundings ---- */

#define TIMESTEPS "\"timesteps\":\"751,501,251,1\""
#define MAPS      "{\"format\":\"saeuron-activations-1\",\"hook\":\"" TINY_STYLES "\"," \
                  "\"model\":\"0123456789abcdef\",\"steps\":\"2\",\"timesteps\":\"501,1\",\"first_prompt\":"
#define PART      "{\"format\":\"saeuron-statistics-1\",\"what\":\"means\",\"hook\":\"" TINY_STYLES "\"," \
                  TIMESTEPS ",\"prompts\":\"2\",\"all_concepts\":\"2\",\"shard\":"

/* A file of tensors alike, at most three, whose names are divided by '|'. */
static void add_tensors(const char *file, const char *names, dtype type, int ndim, const size_t *shape,
                        const char *metadata)
{
    tiny_list *l = calloc(1, sizeof *l);
    char name[32];
    for (size_t n; *names; names += n + (names[n] == '|')) {
        n = strcspn(names, "|");
        snprintf(name, sizeof name, "%.*s", (int)n, names);
        tiny_tensor *x = tiny_tensor_add(l, name, type, ndim, shape);
        for (size_t i = 0; i < x->count; i++)
            x->values[i] = (float)((i * i + n) % 13) / 16;
    }
    tiny_save(&files, file, l, 0, l->count, metadata);
    tiny_drop(l);
    free(l);
}

void add_surroundings(void)
{
    static const size_t some[2] = { 2, 3 }, rows[3] = { 4, 1, 4 }, few[2] = { TINY_STEPS, 3 };
    tiny_make(&files);
    tiny_add_judges(&files);
    add_tensors("set/1.safetensors", "b|a", DT_F32, 2, some, "{\"hook\":\"up.1\"}");
    add_tensors("set/2.safetensors", "c", DT_F16, 2, some, NULL);
    tiny_text(&files, "set/a.safetensors.index.json",
              "{\"metadata\":{\"total_size\":60},\"weight_map\":{\"b\":\"1.safetensors\","
              "\"a\":\"1.safetensors\",\"c\":\"2.safetensors\"}}");
    add_tensors("maps.safetensors", "activations", DT_F32, 3, rows, MAPS "\"0\",\"shard\":\"0/1\"}");
    add_tensors("maps1.safetensors", "activations", DT_F16, 3, rows,
                MAPS "\"1\",\"prompts\":\"1\",\"all_prompts\":\"2\",\"shard\":\"1/2\"}");
    add_tensors("part1.safetensors", "Dogs", DT_F32, 2, few, PART "\"1/2\"}");
    tiny_text(&files, "protocol.json",
              "{\"name\": \"mine\", \"seeds\": [1188, 1288], \"steps\": 2, \"guidance\": 3, "
              "\"disjoint\": true, "
              "\"domains\": {\"style\": {\"UA\": {\"judge\": \"style\", \"of\": \"forgotten\", "
              "\"mean\": \"images\", \"styled\": 1, \"plain\": 0}, "
              "\"IRA\": {\"judge\": \"style\", \"of\": \"others\", "
              "\"mean\": \"styles\"}, \"CRA\": {\"judge\": \"object\", \"of\": \"all\", \"mean\": "
              "\"objects\", \"styled\": 0}}}, \"images\": [{\"prompt\": \"a\", \"object\": \"Cats\", "
              "\"style\": \"Sketch\"}, {\"prompt\": \"b\", \"object\": \"Sea\"}, {\"prompt\": \"c\", "
              "\"object\": \"Dogs\", \"style\": \"Watercolor\"}]}");
}

/* ---- first inputs ---- */

#ifdef FUZZ_STANDALONE

/* What `files` and the calls below leave in ./tiny, by name; anything else is a text itself. */
static const struct { const char *name, *part[3]; } seeds[] = {
    { "json", { "{\"weight_map\":{\"a\":\"b\\u00e9\\ud83d\\ude00\"},"
                "\"n\":[-1.5e-3,0,true,null,[{}],NaN]}" } },
    { "json", { "-123.456e-7" } },
    { "tensors", { "set/1.safetensors" } }, { "tensors", { "density.safetensors" } },
    { "index", { "set/a.safetensors.index.json", "set/1.safetensors" } },
    { "npy", { "seed.npy" } },
    { "png", { "seed.png" } }, { "png", { "fixed.png" } }, { "png", { "dynamic.png" } },
    { "png", { "picture.png" } },
    { "vocab", { "tokenizer/vocab.json", "tokenizer/merges.txt" } },
    { "vocab", { "tokenizer/vocab.json", "c a\n" } },
    { "tokenizer", { "seed-tokenizer.json" } },
    { "tokens", { "tokenizer/tokenizer_config.json", "{}", "{\"<x>\":525}" } },
    { "tokens", { "{\"added_tokens_decoder\":{\"525\":{\"content\":\"<x>\",\"lstrip\":true,\"rstrip\":true,"
                  "\"normalized\":false,\"single_word\":false,\"special\":true}},\"model_max_length\":77}",
                  "{\"bos_token\":{\"content\":\"<|startoftext|>\",\"lstrip\":false},\"pad_token\":\"<x>\","
                  "\"additional_special_tokens\":[\"<x>\"]}" } },
    { "prompts", { "An image of Cats.\r\n\n\xC3\x89t\xC3\xA9, 12 DOGS' <|endoftext|>\n"
                   "a\xCC\x81\xE2\x84\xAB\n" } },
    { "text", { "text_encoder/config.json" } },
    { "unet", { "unet/config.json" } },
    { "vae", { "vae/config.json" } },
    { "scheduler", { "scheduler/scheduler_config.json" } },
    { "scheduler", { "{\"_class_name\":\"EulerDiscreteScheduler\",\"beta_end\":0.012,\"beta_start\":0.00085,"
                     "\"beta_schedule\":\"scaled_linear\",\"clip_sample\":false,\"timestep_spacing\":"
                     "\"trailing\",\"prediction_type\":\"v_prediction\"}" } },
    { "classifier", { "classifier/style/config.json" } },
    { "classifier", { "classifier/style/config.json", "classifier/style/model.safetensors" } },
    { "sae", { "sae/" TINY_STYLES "/cfg.json" } },
    { "sae", { "{\"activation\":\"groupmax\",\"num_latents\":128,\"k\":8,\"d_in\":32,\"diff\":true}" } },
    { "sae", { "sae/" TINY_STYLES "/cfg.json", "sae/" TINY_STYLES "/sae.safetensors" } },
    { "statistics", { "sae/" TINY_STYLES "/stats.safetensors" } },
    { "statistics", { "density.safetensors" } },
    { "forget", { "sae/" TINY_STYLES "/forget.json" } },
    { "forget", { "{\"Sketch\":{\"percentile\":99.999,\"window\":[1,3],\"half\":\"conditional\","
                  "\"min_lift\":1.5,\"strength\":-1e-3}}" } },
    { "concepts", { "concepts.json" } },
    { "concepts", { "{\"domains\":{\"style\":{\"hook\":\"" TINY_STYLES "\",\"concepts\":[\"Sketch\"],"
                    "\"classes\":[\"Seed_Images\",\"Sketch\",\"Van Gogh\",\"Watercolor\"]},"
                    "\"object\":{\"hook\":\"" TINY_OBJECTS "\","
                    "\"concepts\":[\"Cats\",\"Dogs\",\"Sea\"]}},\"templates\":{\"styled\":"
                    "\"{object} in {style}\",\"plain\":\"{object}\"},\"calibration\":{\"Cats\":[\" a cat.\"],"
                    "\"Dogs\":[\"dog\"],\"Sea\":[\"x\",\"y\"]},\"protocol\":\"paper\"}" } },
    { "captions", { "{\"Cats\": [\"An image of Cats in Sketch style.\", \"dog\"], "
                    "\"The \\\"Sea\\\"\": [\"\"]}" } },
    { "protocol", { "protocol.json" } },
    { "parts", { "maps.safetensors" } }, { "parts", { "maps0.safetensors" } },
    { "parts", { "part0.safetensors" } }, { "parts", { "part1.safetensors" } },
    { "checkpoint", { "run/checkpoint.safetensors" } },
    { "sweep", { "swept/results.tsv", "swept/forget.json" } },
    { "command", { "generate\n-p\nAn image of Cats.\n--forget=Sketch,Cats\n--top\n8\n--strength=-1.5\n"
                   "--window\n0-20" } },
    { "command", { "merge\n--out\nx\n--quiet\n--\na.safetensors\n-b" } },
    { "command", { "train\n--data\na\nb\n--lr\n1e-3\n--epochs\n2\n--topk\nbatch\n--resume" } },
    { "command", { "sweep\n--tops\n1,2,4\n--strengths\n-1,-5\n--shard\n0/4\n--json" } },
};

static int write_seed(const char *dir, const char *name, const void *bytes, size_t n)
{
    static int number;
    char folder[512], path[600];
    snprintf(folder, sizeof folder, "%s/%s", dir, name);
    snprintf(path, sizeof path, "%s/%d", folder, number++);
    const int code = io_make_dir(folder, NULL);
    return code ? code : io_write_file(path, bytes, n, NULL);
}

/* The parts of a seed, a zero byte between them. */
static int write_parts(const char *dir, const char *name, const char *const part[3])
{
    char *bytes = malloc(1 << 20), path[300];
    size_t n = 0;
    for (size_t i = 0; i < 3 && part[i]; i++) {
        io_file f = { .data = NULL };
        snprintf(path, sizeof path, "tiny/%s", part[i]);
        if (i)
            bytes[n++] = 0;
        const bool found = strlen(part[i]) < 200 && io_open(&f, NULL, path, NULL) == SAEURON_OK;
        const size_t size = found ? f.size : strlen(part[i]);
        require(size < ((size_t)1 << 20) - n, "a seed is small");
        memcpy(bytes + n, found ? (const void *)f.data : part[i], size);
        n += size;
        if (found)
            io_close(&f);
    }
    const int code = write_seed(dir, name, bytes, n);
    free(bytes);
    return code;
}

/* tokenizer.json of the valid vocab.json and a few of its merges. */
static void add_tokenizer_json(void)
{
    const tiny_file *vocab = tiny_find(&files, "tokenizer/vocab.json");
    char *text = malloc(vocab->size + 256);
    sprintf(text, "{\"added_tokens\":[{\"id\":525,\"content\":\"<X>\",\"normalized\":true}],\"model\":{"
            "\"type\":\"BPE\",\"merges\":[\"c a\",[\"ca\",\"t</w>\"],\"d o\"],\"vocab\":%.*s}}",
            (int)vocab->size, (const char *)vocab->bytes);
    tiny_text(&files, "seed-tokenizer.json", text);
    free(text);
}

static int write_pictures(void)
{
    static const char *const texts[] = { "prompt", "An image of Cats.", "title", "\xC3\xA9", NULL };
    static const float values[6] = { 1, 2, 3, 4, 5, 6 };
    static const size_t shape[2] = { 2, 3 };
    unsigned char rgb[3 * 12 * 12];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (unsigned char)(i * i >> 4);
    int code = npy_save(NULL, "tiny/seed.npy", values, shape, 2, NULL);
    code = code ? code : png_save(NULL, "tiny/seed.png", rgb, 12, 12, texts, NULL);
    code = code ? code : png_save(NULL, "tiny/picture.png", rgb, 4, 4, picture_texts, NULL);
    code = code ? code : io_write_file("tiny/fixed.png", squeezed_fixed, sizeof squeezed_fixed, NULL);
    return code ? code : io_write_file("tiny/dynamic.png", squeezed_dynamic, sizeof squeezed_dynamic, NULL);
}

/* Pixels of each kind, and a zlib stream behind the length of its data. */
static int write_raw(const char *dir)
{
    unsigned char bytes[600];
    int code = SAEURON_OK;
    for (size_t kind = 0; kind < 11 && !code; kind++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)(i % 37 ? i * i : i % 5);
        bytes[0] = (unsigned char)kind;
        bytes[1] = 8;
        bytes[2] = 5;
        bytes[3] = kind >= 4 && kind < 8 ? 4 : 0;
        bytes[4] = kind >= 4 && kind < 8 ? 2 : 0;
        code = write_seed(dir, "pixels", bytes, sizeof bytes);
    }
    bytes[0] = SQUEEZED_ROWS & 255;
    bytes[1] = SQUEEZED_ROWS >> 8;
    memcpy(bytes + 2, squeezed_dynamic + SQUEEZED_ZLIB, sizeof squeezed_dynamic - SQUEEZED_ZLIB - 16);
    code = code ? code : write_seed(dir, "deflate", bytes, sizeof squeezed_dynamic - SQUEEZED_ZLIB - 14);
    memcpy(bytes + 2, squeezed_fixed + SQUEEZED_ZLIB, sizeof squeezed_fixed - SQUEEZED_ZLIB - 16);
    return code ? code : write_seed(dir, "deflate", bytes, sizeof squeezed_fixed - SQUEEZED_ZLIB - 14);
}

int write_seeds(const char *dir)
{
    static const size_t rows[3] = { 4, 1, 4 }, few[2] = { TINY_STEPS, 3 }, mu[2] = { TINY_STEPS, 128 };
    saeuron_error e = { 0 };
    add_tokenizer_json();
    add_tensors("density.safetensors", "Sketch|Van Gogh|Watercolor", DT_F16, 2, mu,
                "{\"what\":\"density\"," TIMESTEPS "}");
    add_tensors("maps0.safetensors", "activations", DT_F16, 3, rows,
                MAPS "\"0\",\"prompts\":\"1\",\"all_prompts\":\"2\",\"shard\":\"0/2\"}");
    add_tensors("part0.safetensors", "Cats", DT_F32, 2, few, PART "\"0/2\"}");
    tiny_write(&files, "tiny");
    host.map = NULL; /* from now on the files on the disk */
    int code = write_pictures();
    code = code ? code : train_a_step(&e) == SAEURON_ECANCEL ? SAEURON_OK : e.code;
    code = code ? code : sweep(true, &e);
    code = code ? code : write_raw(dir);
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds && !code; i++)
        code = write_parts(dir, seeds[i].name, seeds[i].part);
    if (code)
        fprintf(stderr, "no seeds: code %d %s\n", code, e.text);
    return code;
}

#endif
