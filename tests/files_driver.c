/* files_driver.c: our readers and writers for tests/check_files.py, which compares them with safetensors,
 * NumPy, Pillow and Python's own json and float.
 *
 *   files_driver safetensors IN OUT DTYPE    tensors widened to float32, written as F32 or F16, metadata kept
 *   files_driver npy IN OUT
 *   files_driver png IN OUT [KEYWORD TEXT]...
 *   files_driver text IN KEYWORD
 *   files_driver numbers                     a line in: decimal text
 *                                            a line out: bits and text of the double, text of its float
 *   files_driver json FILE...                a line each: ok, or what is wrong */
#include "arithmetic/nn.h"
#include "files/decimal.h"
#include "files/npy.h"
#include "said.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int save_again(const tensors *t, const char *path, dtype type, saeuron_error *err)
{
    tensor_out  *out = calloc(t->count + 1, sizeof *out);
    const size_t entries = json_length(t->metadata);
    char       **metadata = calloc(2 * entries + 1, sizeof *metadata);
    json_iter    it = json_begin(t->metadata);
    json         key, value;
    for (size_t i = 0; i < 2 * entries && json_next(&it, &key, &value); i += 2) {
        metadata[i] = malloc(4096);
        metadata[i + 1] = malloc(4096);
        json_string(key, metadata[i], 4096, NULL);
        json_string(value, metadata[i + 1], 4096, NULL);
    }
    for (size_t i = 0; i < t->count; i++) {
        const tensor *x = &t->list[i];
        float *values = malloc(x->count * sizeof *values + 1);
        nn_widen(values, (weight){ .data = x->data, .type = x->type }, 0, x->count);
        out[i] = (tensor_out){ .name = x->name, .type = type, .ndim = x->ndim, .values = values };
        memcpy(out[i].shape, x->shape, sizeof x->shape);
    }
    const int code = tensors_save(NULL, path, out, t->count, (const char *const *)metadata, err);
    for (size_t i = 0; i < t->count; i++)
        free((void *)(uintptr_t)out[i].values);
    for (size_t i = 0; i < 2 * entries; i++)
        free(metadata[i]);
    free(metadata);
    free(out);
    return code;
}

static int safetensors(char **argv, saeuron_error *err)
{
    tensors t;
    int code = tensors_open(&t, NULL, argv[2], err);
    if (!code)
        code = save_again(&t, argv[3], strcmp(argv[4], "F16") ? DT_F32 : DT_F16, err);
    tensors_close(&t);
    return code;
}

static int npy(char **argv, saeuron_error *err)
{
    float *values;
    size_t shape[TENSOR_DIMS];
    int    ndim, code = npy_load(NULL, argv[2], &values, shape, &ndim, err);
    if (!code)
        code = npy_save(NULL, argv[3], values, shape, ndim, err);
    io_free(NULL, values);
    return code;
}

static int png(char **argv, saeuron_error *err)
{
    unsigned char *rgb;
    size_t W, H;
    int code = png_load(NULL, argv[2], &rgb, &W, &H, err);
    if (!code)
        code = png_save(NULL, argv[3], rgb, W, H, (const char *const *)(argv + 4), err);
    io_free(NULL, rgb);
    return code;
}

static int text(char **argv, saeuron_error *err)
{
    static char out[65536];
    const int code = said_of(NULL, argv[2], argv[3], out, sizeof out, err);
    if (!code)
        printf("%s", out);
    return code;
}

static int numbers(void)
{
    static char line[65536];
    char a[32], b[32];
    while (fgets(line, sizeof line, stdin)) {
        double   x;
        uint64_t bits;
        line[strcspn(line, "\n")] = 0;
        if (!io_parse_double(line, &x)) {
            puts("bad");
            continue;
        }
        memcpy(&bits, &x, 8);
        io_format_double(a, sizeof a, x);
        const bool fits = x >= -3.4028234663852886e38 && x <= 3.4028234663852886e38;
        io_format_float(b, sizeof b, fits ? (float)x : 0.0f);
        printf("%016" PRIx64 " %s %s\n", bits, a, b);
    }
    return 0;
}

static int check_json(char **argv, saeuron_error *err)
{
    for (char **path = argv + 2; *path; path++) {
        io_file f;
        json v;
        int code = io_open(&f, NULL, *path, err);
        if (code)
            return code;
        puts(json_open(&v, (const char *)f.data, f.size, *path, err) ? err->text : "ok");
        io_close(&f);
    }
    return 0;
}

int main(int argc, char **argv)
{
    saeuron_error err = { 0 };
    const char *what = argc > 1 ? argv[1] : "";
    int code = SAEURON_EUSAGE;
    if (!strcmp(what, "safetensors") && argc == 5)
        code = safetensors(argv, &err);
    else if (!strcmp(what, "npy") && argc == 4)
        code = npy(argv, &err);
    else if (!strcmp(what, "png") && argc >= 4)
        code = png(argv, &err);
    else if (!strcmp(what, "text") && argc == 4)
        code = text(argv, &err);
    else if (!strcmp(what, "numbers"))
        code = numbers();
    else if (!strcmp(what, "json"))
        code = check_json(argv, &err);
    else
        fail(&err, code, "usage: the head of tests/files_driver.c");
    if (code)
        fprintf(stderr, "files_driver: %s\n", err.text);
    return code != 0;
}
