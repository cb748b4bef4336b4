/* fuzz_files.c: hostile bytes for every reader: JSON, safetensors, .npy, PNG, numbers; and a classifier's
 * folder.
 *
 *   clang -std=c99 -g -O1 -fsanitize=fuzzer,address,undefined -I. -o fuzz SOURCES -lm
 *   ./fuzz -max_total_time=60 -max_len=4096 CORPUS_DIR
 *   cc -std=c99 -I. -DFUZZ_STANDALONE -o replay SOURCES -lm    without libFuzzer, any compiler
 *   ./replay FILE...                                            gives these files to their readers
 *   ./replay --seeds DIR                                        writes a first corpus: small valid files
 *
 * SOURCES: this file, every .c of files, arithmetic and layers, and evaluation/vit.c (as in .ci/run, fuzz).
 *
 * The first byte chooses the reader, the rest is the file, in memory exactly as long as it is, given through
 * saeuron_host.map. Of a classifier it is the config up to the first zero byte, then the tensors. It must not
 * crash, and what was accepted must hold: views lie inside the file, values can be walked, what we write
 * reads back the same. Memory is limited, so that a reader that trusts a length fails. */
#include "evaluation/classifier.h"
#include "files/decimal.h"
#include "files/npy.h"
#include "tests/said.h"
#include "tests/squeezed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_LIMIT ((size_t)256 << 20)

typedef struct input { const uint8_t *data; size_t size; } input;

static const void *map(void *user, const char *path, size_t *size)
{
    const input *in = user;
    const uint8_t *zero = in->size ? memchr(in->data, 0, in->size) : NULL;
    const size_t first = zero ? (size_t)(zero - in->data) : in->size;
    if (!strcmp(path, "in/config.json")) {
        *size = first;
        return in->data;
    }
    if (!strcmp(path, "in/model.safetensors") && zero) {
        *size = in->size - first - 1;
        return zero + 1;
    }
    if (strcmp(path, "in") != 0)
        return NULL;
    *size = in->size;
    return in->data;
}

static void *limited_alloc(void *user, size_t size)
{
    (void)user;
    return size > MEMORY_LIMIT ? NULL : malloc(size);
}

static void plain_free(void *user, void *p)
{
    (void)user;
    free(p);
}

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

/* Touches everything in v; returns how many values there are. */
static size_t walk(json v, int depth)
{
    char text[64];
    double x, y;
    int64_t n;
    bool b;
    json key, value;
    size_t count = 1, members = 0;
    require(depth <= 64, "depth");
    require(v.at < v.end, "a view lies in its text");
    json_string(v, text, sizeof text, NULL);
    json_bool(v, &b);
    json_integer(v, &n);
    if (json_number(v, &x)) {
        io_format_double(text, sizeof text, x);
        require(io_parse_double(text, &y) && x == y, "a number printed reads back");
    }
    for (json_iter it = json_begin(v); json_next(&it, &key, &value); members++) {
        if (json_kind(v) == '{') {
            require(json_kind(key) == '"', "a key is a string");
            if (json_string(key, text, sizeof text, NULL))
                require(members >= JSON_KEYS || json_get(v, text, &key), "a key is found");
        }
        count += walk(value, depth + 1);
    }
    require(members == json_length(v), "length");
    return count;
}

static void fuzz_json(const input *in)
{
    json v;
    saeuron_error e;
    if (json_open(&v, (const char *)in->data, in->size, "in", &e) == SAEURON_OK)
        walk(v, 0);
    else
        require(e.code == SAEURON_EFORMAT && *e.text, "a refusal says why");
}

static void fuzz_tensors(const saeuron_host *host, const input *in)
{
    tensors t;
    saeuron_error e;
    if (tensors_open(&t, host, "in", &e) == SAEURON_OK)
        for (size_t i = 0; i < t.count; i++) {
            const tensor *x = &t.list[i];
            require(x->data >= in->data && x->bytes <= (size_t)(in->data + in->size - x->data),
                    "a tensor lies in its file");
            require(x->bytes == x->count * dtype_size(x->type), "bytes");
            require(tensors_find(&t, x->name) == x, "a tensor is found by its name");
        }
    else
        require(*e.text && !strchr(e.text, '\n'), "a refusal is one line");
    tensors_close(&t);
}

static void fuzz_npy(const saeuron_host *host)
{
    float *values;
    size_t shape[TENSOR_DIMS];
    int ndim;
    npy_load(host, "in", &values, shape, &ndim, NULL);
    io_free(host, values);
}

static void fuzz_png(const saeuron_host *host)
{
    unsigned char *rgb;
    size_t W, H;
    char text[100];
    if (png_load(host, "in", &rgb, &W, &H, NULL) == SAEURON_OK)
        require(W > 0 && H > 0 && memchr(rgb, rgb[3 * W * H - 1], 3 * W * H), "pixels are there");
    io_free(host, rgb);
    said_of(host, "in", "prompt", text, sizeof text, NULL);
}

/* A folder that opens judges a picture: every size that its config gave was checked against a tensor's. */
static void fuzz_classifier(const saeuron_host *host)
{
    static const unsigned char rgb[3 * 5 * 7] = { 1, 2, 3, 255 };
    saeuron_classifier *k = NULL;
    saeuron_error e;
    if (saeuron_classifier_open(&k, host, "in", &e)) {
        require(!k && *e.text && !strchr(e.text, '\n'), "a refusal is one line");
        return;
    }
    float *logits = malloc(saeuron_classes(k) * sizeof *logits);
    const int code = saeuron_classify(k, rgb, 1, 5, 7, logits, &e);
    require(!code || code == SAEURON_ENOMEM || code == SAEURON_ENAN, "a classifier judges, or says why not");
    for (size_t i = 0; i < saeuron_classes(k); i++)
        require(!saeuron_class_name(k, i) || strlen(saeuron_class_name(k, i)) < 256, "a name is a text");
    free(logits);
    saeuron_classifier_close(k);
}

static void fuzz_number(const input *in)
{
    char text[512], out[32];
    double x, y;
    const size_t n = in->size < sizeof text - 1 ? in->size : sizeof text - 1;
    if (n)
        memcpy(text, in->data, n);
    text[n] = 0;
    if (io_parse_double(text, &x)) {
        io_format_double(out, sizeof out, x);
        require(io_parse_double(out, &y) && x == y, "a number printed reads back");
    }
    char quoted[4096];
    json v;
    const size_t length = json_quote(quoted, sizeof quoted, text);
    require(length <= sizeof quoted && json_open(&v, quoted, length, "quoted", NULL) == SAEURON_OK,
            "a quoted text is JSON");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *tight = malloc(size); /* a block of its own, so that the sanitizer knows both ends */
    input in = { memcpy(tight, data + 1, size - 1), size - 1 };
    const saeuron_host host =
        { .user = &in, .map = map, .alloc = limited_alloc, .free = plain_free, .threads = 1 };
    in.data = realloc(tight, size > 1 ? size - 1 : 1);
    switch (data[0]) {
    case 'j': fuzz_json(&in); break;
    case 's': fuzz_tensors(&host, &in); break;
    case 'n': fuzz_npy(&host); break;
    case 'p': fuzz_png(&host); break;
    case 'd': fuzz_number(&in); break;
    case 'v': fuzz_classifier(&host); break;
    default: break;
    }
    free((void *)(uintptr_t)in.data);
    return 0;
}

#ifdef FUZZ_STANDALONE

/* The file at from, behind the letter of its reader, as a seed called name. */
static int seed(const char *dir, const char *name, char letter, const char *bytes, size_t n)
{
    char path[1024], *all = malloc(n + 1);
    all[0] = letter;
    memcpy(all + 1, bytes, n);
    const int code = io_join(path, sizeof path, dir, name) ? io_write_file(path, all, n + 1, NULL)
        : SAEURON_EUSAGE;
    free(all);
    return code;
}

static int seed_file(const char *dir, const char *name, char letter, const char *path)
{
    io_file f;
    int code = io_open(&f, NULL, path, NULL);
    if (!code)
        code = seed(dir, name, letter, (const char *)f.data, f.size);
    io_close(&f);
    remove(path);
    return code;
}

/* A classifier's config, a zero byte, and its tensors. */
static int seed_classifier(const char *dir, const char *path)
{
    static const char config[] =
        "{\"architecture\":\"vision_transformer\",\"img_size\":[4,4],\"patch_size\":2,\"embed_dim\":2,"
        "\"depth\":1,\"num_heads\":1,\"num_classes\":2,\"label_names\":[\"a\",\"b\"],"
        "\"model_args\":{\"mlp_ratio\":1.5},"
        "\"pretrained_cfg\":{\"mean\":[0,0,0],\"std\":[1,1,1]}}";
    static const float values[36] = { 0.5f, -1, 0.25f, 2 };
    static const tensor_out list[] = {
        { "cls_token", DT_F16, 3, { 1, 1, 2 }, values }, { "pos_embed", DT_F16, 3, { 1, 5, 2 }, values },
        { "patch_embed.proj.weight", DT_F16, 4, { 2, 3, 2, 2 }, values },
        { "patch_embed.proj.bias", DT_F16, 1, { 2 }, values },
        { "blocks.0.norm1.weight", DT_F16, 1, { 2 }, values },
        { "blocks.0.norm1.bias", DT_F16, 1, { 2 }, values },
        { "blocks.0.attn.qkv.weight", DT_F16, 2, { 6, 2 }, values },
        { "blocks.0.attn.qkv.bias", DT_F16, 1, { 6 }, values },
        { "blocks.0.attn.proj.weight", DT_F16, 2, { 2, 2 }, values },
        { "blocks.0.attn.proj.bias", DT_F16, 1, { 2 }, values },
        { "blocks.0.norm2.weight", DT_F16, 1, { 2 }, values },
        { "blocks.0.norm2.bias", DT_F16, 1, { 2 }, values },
        { "blocks.0.mlp.fc1.weight", DT_F16, 2, { 3, 2 }, values },
        { "blocks.0.mlp.fc1.bias", DT_F16, 1, { 3 }, values },
        { "blocks.0.mlp.fc2.weight", DT_F16, 2, { 2, 3 }, values },
        { "blocks.0.mlp.fc2.bias", DT_F16, 1, { 2 }, values },
        { "norm.weight", DT_F16, 1, { 2 }, values }, { "norm.bias", DT_F16, 1, { 2 }, values },
        { "head.weight", DT_F16, 2, { 2, 2 }, values }, { "head.bias", DT_F16, 1, { 2 }, values },
    };
    io_file f;
    char   *all;
    int     code = tensors_save(NULL, path, list, sizeof list / sizeof *list, NULL, NULL);
    code = code ? code : io_open(&f, NULL, path, NULL);
    if (code || !(all = malloc(sizeof config + f.size)))
        return code ? code : SAEURON_ENOMEM;
    memcpy(all, config, sizeof config);
    memcpy(all + sizeof config, f.data, f.size);
    code = seed(dir, "classifier", 'v', all, sizeof config + f.size);
    io_close(&f);
    remove(path);
    free(all);
    return code;
}

static int write_seeds(const char *dir)
{
    static const char text[] =
        "{\"weight_map\":{\"a\":\"b\\u00e9\"},\"n\":[-1.5e-3,0,true,null,[{}]],\"__metadata__\":{}}",
        number[] = "-123.456e-7";
    static const char *const texts[] = { "prompt", "An image of Cats.", "title", "\xC3\xA9", NULL },
        *const metadata[] = { "hook", "up.1", NULL };
    const float values[6] = { 1, 2, 3, 4, 5, 6 };
    const size_t shape[2] = { 2, 3 };
    const tensor_out list[] =
        { { "b", DT_F32, 2, { 2, 3 }, values }, { "a", DT_F16, 1, { 4 }, values },
          { "none", DT_F32, 1, { 0 }, values } };
    unsigned char rgb[3 * 12 * 12];
    char path[1024];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (unsigned char)(i * i >> 4);
    if (!io_join(path, sizeof path, dir, "seed.tmp"))
        return SAEURON_EUSAGE;
    int code = io_make_dir(dir, NULL);
    code = code ? code : seed(dir, "json", 'j', text, sizeof text - 1);
    code = code ? code : seed(dir, "number", 'd', number, sizeof number - 1);
    code = code ? code : tensors_save(NULL, path, list, 3, metadata, NULL);
    code = code ? code : seed_file(dir, "safetensors", 's', path);
    code = code ? code : npy_save(NULL, path, values, shape, 2, NULL);
    code = code ? code : seed_file(dir, "npy", 'n', path);
    code = code ? code : png_save(NULL, path, rgb, 12, 12, texts, NULL);
    code = code ? code : seed_file(dir, "png", 'p', path);
    code = code ? code : seed(dir, "png-fixed", 'p', (const char *)squeezed_fixed, sizeof squeezed_fixed);
    code = code ? code : seed(dir, "png-dynamic", 'p', (const char *)squeezed_dynamic,
                              sizeof squeezed_dynamic);
    return code ? code : seed_classifier(dir, path);
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--seeds"))
        return write_seeds(argv[2]);
    for (int i = 1; i < argc; i++) {
        io_file f;
        saeuron_error e;
        if (io_open(&f, NULL, argv[i], &e)) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
        LLVMFuzzerTestOneInput(f.data, f.size);
        io_close(&f);
    }
    printf("%d files replayed\n", argc - 1);
    return 0;
}

#endif
