/* test_tensors.c: tensors.c: what it reads back, what it refuses, what it leaves behind.
 *
 * Hostile input comes three ways: tables of made files with the words that the message must hold, every
 * truncation, every byte changed (best run under -fsanitize=address,undefined; tests/fuzz_readers.c goes
 * further). Every allocation fails once. What other programs think of our files is tests/check_files.py's
 * subject. */
#include "test.h"
#include "scratch.h"
#include "arithmetic/nn.h"
#include "files/tensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file with the given header and data_size bytes of data (0, 1, 2, ...). */
static size_t make_safetensors(unsigned char *out, const char *header, size_t data_size)
{
    const size_t n = strlen(header);
    le(out, n, 8);
    memcpy(out + 8, header, n);
    for (size_t i = 0; i < data_size; i++)
        out[8 + n + i] = (unsigned char)i;
    return 8 + n + data_size;
}

static const float some_values[6] = { 0, 1, -2.5f, 65504, 0x1p-24f, -0.0f };
static const tensor_out some_tensors[] = {
    { "z.weight", DT_F32, 2, { 2, 3 }, some_values }, { "a.bias", DT_F16, 1, { 6 }, some_values },
    { "empty", DT_F32, 2, { 0, 5 }, some_values },
    { "scalar \"\xC3\xA9\"", DT_F16, 0, { 0 }, some_values + 2 },
};
static const char *const some_metadata[] = { "hook", "up.1.1", "prompt", "a \"b\"\n\xC3\xA9", NULL };

static void safetensors_round_trip(void)
{
    saeuron_error e;
    tensors t;
    char text[32];
    json v;
    const char *path = at("round.safetensors");
    CHECK(tensors_save(NULL, path, some_tensors, COUNT(some_tensors), some_metadata, &e) == SAEURON_OK, "%s",
          e.text);
    CHECK(tensors_open(&t, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    CHECK(t.count == 4 && !strcmp(t.list[0].name, "a.bias") && !strcmp(t.list[3].name, "z.weight"),
          "%zu tensors, or not sorted", t.count);
    const unsigned char *bytes = t.files[0].data;
    CHECK((t.list[0].data - bytes) % 2 == 0 &&
          tensors_find(&t, "z.weight")->data == bytes + 8 + (bytes[0] | (size_t)bytes[1] << 8),
          "the first tensor given is not the first stored");
    CHECK(bytes[0] % 8 == 0, "the data does not begin at a multiple of 8");
    for (size_t i = 0; i < COUNT(some_tensors); i++) {
        const tensor_out *o = &some_tensors[i];
        const tensor *x = tensors_find(&t, o->name);
        CHECK(x && x->type == o->type && x->ndim == o->ndim &&
              !memcmp(x->shape, o->shape, (size_t)o->ndim * sizeof(size_t)), "%s", o->name);
        for (size_t j = 0; x && j < x->count; j++) {
            float y;
            nn_widen(&y, (weight){ .data = x->data, .type = x->type }, j, 1);
            CHECK(y == o->values[j] && signbit(y) == signbit(o->values[j]), "%s[%zu] = %g", o->name, j,
                  (double)y);
        }
    }
    CHECK(!tensors_find(&t, "") && !tensors_find(&t, "zz") && !tensors_find(&t, "a.bia"),
          "found what is not there");
    CHECK(json_get(t.metadata, "prompt", &v) && json_string(v, text, sizeof text, NULL) &&
          !strcmp(text, some_metadata[3]), "metadata");
    tensors_close(&t);
    CHECK(tensors_save(NULL, path, NULL, 0, NULL, &e) == SAEURON_OK &&
          tensors_open(&t, NULL, path, &e) == SAEURON_OK && t.count == 0 && !t.metadata.at,
          "a file of nothing");
    tensors_close(&t);
    tensors_close(&t);
}

static void safetensors_dtypes(void)
{
    static const struct { const char *name; dtype type; } all[] = {
        { "F64", DT_F64 }, { "F32", DT_F32 }, { "F16", DT_F16 }, { "BF16", DT_BF16 }, { "I64", DT_I64 },
        { "I32", DT_I32 }, { "I16", DT_I16 }, { "I8", DT_I8 }, { "U8", DT_U8 }, { "BOOL", DT_BOOL },
    };
    unsigned char file[512];
    char header[256];
    for (size_t i = 0; i < COUNT(all); i++) {
        tensors t;
        saeuron_error e;
        const size_t bytes = 3 * dtype_size(all[i].type);
        snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%zu]}}",
                 all[i].name, bytes);
        test_write_file(at("dtype.safetensors"), file, make_safetensors(file, header, bytes));
        CHECK(tensors_open(&t, NULL, at("dtype.safetensors"), &e) == SAEURON_OK &&
              t.list[0].type == all[i].type && t.list[0].bytes == bytes, "%s: %s", all[i].name, e.text);
        tensors_close(&t);
    }
}

#define X(dtype, shape, offsets) "\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets

/* Each file breaks one rule of the format; the message must say which. All have 16 bytes of data. */
static void safetensors_refuses(void)
{
    static const struct { const char *header, *why; } bad[] = {
        { "[]", "'{'" }, { " {}", "'{'" }, { "{", "not valid JSON" }, { "{}", "its tensors end at byte 0" },
        { "{\"\":{" X("F32", "[4]", "[0,16]") "}}", "name of tensor 0 is empty" },
        { "{\"a\":1}", "no object" }, { "{\"a\":{}}", "dtype (none)" },
        { "{\"a\":{" X("F8_E4M3", "[16]", "[0,16]") "}}", "F8_E4M3" },
        { "{\"a\":{" X("F32", "4", "[0,16]") "}}", "shape" },
        { "{\"a\":{" X("F32", "[-4]", "[0,16]") "}}", "dimension 0" },
        { "{\"a\":{" X("F32", "[4.5]", "[0,16]") "}}", "dimension 0" },
        { "{\"a\":{" X("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]") "}}", "more than 8" },
        { "{\"a\":{" X("F32", "[4294967296,4294967296,4294967296]", "[0,16]") "}}", "more elements" },
        { "{\"a\":{" X("F32", "[4611686018427387905]", "[0,4]") "}}", "does not fit" },
        /* 2^62 + 1, times 4 wraps to 4 */
        { "{\"a\":{" X("F32", "[4611686018427387908]", "[0,16]") "}}", "does not fit" },
        { "{\"a\":{" X("F32", "[99999999999999999999]", "[0,16]") "}}", "dimension 0" },
        { "{\"a\":{" X("F32", "[3]", "[0,16]") "}}", "does not fit" },
        { "{\"a\":{" X("F32", "[4]", "[0]") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[4]", "[0,8,16]") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[4]", "[16,0]") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[4]", "[-16,0]") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[5]", "[0,20]") "}}", "ends at byte 20" },
        { "{\"a\":{" X("F32", "[4]", "[9223372036854775792,9223372036854775807]") "}}", "ends at byte" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", "shape" },
        { "{\"a\":{" X("F32", "[4]", "[0,16]") ",\"x\":1}}", "unknown field" },
        { "{\"a\":{" X("F32", "[3]", "[4,16]") "}}", "begins at byte 4" },
        { "{\"a\":{" X("F32", "[3]", "[0,12]") "}}", "end at byte 12" },
        { "{\"a\":{" X("F32", "[3]", "[0,12]") "},\"b\":{" X("F32", "[2]", "[8,16]") "}}",
          "begins at byte 8" },
        { "{\"a\":{" X("F32", "[1]", "[0,4]") "},\"b\":{" X("F32", "[2]", "[8,16]") "}}",
          "begins at byte 8" },
        { "{\"a\":{" X("F32", "[4]", "[0,16]") "},\"b\":{" X("F32", "[4]", "[0,16]") "}}",
          "begins at byte 0" },
        { "{\"a\":{" X("F32", "[0]", "[8,8]") "},\"b\":{" X("F32", "[4]", "[0,16]") "}}",
          "begins at byte 8" },
        { "{\"a\":{" X("F32", "[2]", "[0,8]") "},\"a\":{" X("F32", "[2]", "[8,16]") "}}", "twice" },
        { "{\"__metadata__\":[],\"a\":{" X("F32", "[4]", "[0,16]") "}}", "__metadata__" },
        { "{\"__metadata__\":{\"a\":1},\"a\":{" X("F32", "[4]", "[0,16]") "}}", "__metadata__" },
        { "{\"a\\u0000b\":{" X("F32", "[4]", "[0,16]") "}}", "holds a zero" },
        { "{\"\":{" X("F32", "[4]", "[0,16]") "}}", "name of tensor 0 is empty" },
        { "\xEF\xBB\xBF{}", "byte-order mark" }, { "{}{}", "follows" }, { "null", "'{'" },
        { "{\"a\":{" X("f32", "[4]", "[0,16]") "}}", "dtype f32" },
        { "{\"a\":{\"dtype\":7,\"shape\":[4],\"data_offsets\":[0,16]}}", "dtype (none)" },
        { "{\"a\":{" X("F32", "null", "[0,16]") "}}", "shape is no list" },
        { "{\"a\":{" X("F32", "[[4]]", "[0,16]") "}}", "dimension 0" },
        { "{\"a\":{" X("F32", "[2,\"2\"]", "[0,16]") "}}", "dimension 1" },
        { "{\"a\":{" X("F32", "[NaN]", "[0,16]") "}}", "no possible size" },
        { "{\"a\":{" X("F32", "[4]", "{\"0\":16}") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[4]", "[0.5,16.5]") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[4]", "[0,18446744073709551616]") "}}", "data_offsets" },
        { "{\"a\":{" X("F32", "[4]", "[0,16]") "},\"b\":{" X("U8", "[0]", "[17,17]") "}}",
          "ends at byte 17" },
        { "{\"__metadata__\":{\"a\":{\"b\":\"c\"}},\"a\":{" X("F32", "[4]", "[0,16]") "}}", "__metadata__" },
    };
    unsigned char file[512];
    for (size_t i = 0; i < COUNT(bad); i++) {
        tensors t;
        saeuron_error e;
        test_write_file(at("bad.safetensors"), file, make_safetensors(file, bad[i].header, 16));
        const int code = tensors_open(&t, NULL, at("bad.safetensors"), &e);
        CHECK(code == SAEURON_EFORMAT && strstr(e.text, bad[i].why), "%s: %s", bad[i].header, code ? e.text
              : "accepted");
        CHECK(code == 0 || strstr(e.text, "bad.safetensors"), "the message does not name the file: %s",
              e.text);
        tensors_close(&t);
    }
}

/* Names of 255 bytes pass and of 256 do not; a duplicate beyond JSON's own check is found; the header's size
 * is checked. */
static void safetensors_limits(void)
{
    tensors t;
    saeuron_error e;
    char name[257], header[512];
    unsigned char file[1024];
    for (size_t n = 255; n <= 256; n++) {
        memset(name, 'n', n);
        name[n] = 0;
        snprintf(header, sizeof header, "{\"%s\":{" X("F32", "[4]", "[0,16]") "}}", name);
        test_write_file(at("l.safetensors"), file, make_safetensors(file, header, 16));
        CHECK((tensors_open(&t, NULL, at("l.safetensors"), &e) == SAEURON_OK) == (n == 255),
              "a name of %zu bytes", n);
        tensors_close(&t);
    }
    char *many = malloc(1 << 20);
    size_t n = 1;
    many[0] = '{';
    for (int i = 0; i <= JSON_KEYS; i++)
        n += (size_t)sprintf(many + n, "%s\"t%d\":{" X("F32", "[0]", "[0,0]") "}", i ? "," : "",
                             i == JSON_KEYS ? 3 : i);
    strcpy(many + n, "}");
    unsigned char *big = malloc((1 << 20) + 8);
    test_write_file(at("l.safetensors"), big, make_safetensors(big, many, 0));
    CHECK(tensors_open(&t, NULL, at("l.safetensors"), &e) == SAEURON_EFORMAT &&
          strstr(e.text, "t3 is there twice"), "%s", e.text);
    free(big);
    free(many);
    static const struct { uint64_t size; const char *why; } headers[] = {
        { 100000001, "no safetensors" }, { 99999999, "cut short" }, { UINT64_MAX, "no safetensors" },
        { UINT64_MAX - 7, "no safetensors" }, { 9, "cut short" }, { 0, "JSON" },
    };
    for (size_t i = 0; i < COUNT(headers); i++) {
        memset(file, ' ', 16);
        le(file, headers[i].size, 8);
        test_write_file(at("l.safetensors"), file, 16);
        CHECK(tensors_open(&t, NULL, at("l.safetensors"), &e) == SAEURON_EFORMAT &&
              strstr(e.text, headers[i].why), "header of %" PRIu64 ": %s", headers[i].size, e.text);
    }
}

/* Opens a buffer as "memory" exactly as long as it is, so that a sanitizer sees a byte too far. */
static int open_buffer(const unsigned char *bytes, size_t n, saeuron_error *e)
{
    unsigned char *tight = malloc(n ? n : 1);
    memcpy(tight, bytes, n);
    one_file f = { tight, n, 0 };
    const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
    tensors t;
    const int code = tensors_open(&t, &host, "memory", e);
    for (size_t i = 0; i < t.count; i++)
        CHECK(t.list[i].data >= tight && t.list[i].bytes <= (size_t)(tight + n - t.list[i].data),
              "%s lies outside the file", t.list[i].name);
    tensors_close(&t);
    CHECK(f.mapped == 0, "%d maps were not given back", f.mapped);
    free(tight);
    return code;
}

static void safetensors_truncated_and_changed(void)
{
    saeuron_error e;
    size_t n;
    tensors_save(NULL, at("t.safetensors"), some_tensors, COUNT(some_tensors), some_metadata, NULL);
    unsigned char *file = read_bytes(at("t.safetensors"), &n);
    CHECK(open_buffer(file, n, &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; i < n; i++)
        CHECK(open_buffer(file, i, &e) == SAEURON_EFORMAT && strchr(e.text, ':'),
              "accepted when cut to %zu of %zu bytes", i, n);
    static const unsigned char to[] = { 0, '"', '{', '}', '[', ']', ',', ':', '9', '-', '\\', 0x80, 0xFF };
    const size_t header = 8 + file[0] + 256u * file[1];
    for (size_t i = 0; i < header; i++)
        for (size_t k = 0; k < COUNT(to); k++) {
            const unsigned char was = file[i];
            file[i] = to[k];
            open_buffer(file, n, &e);
            file[i] = was;
        }
    free(file);
}

static void safetensors_sharded(void)
{
    tensors t;
    saeuron_error e;
    unsigned char file[512];
    static const char first[] = "{\"__metadata__\":{\"k\":\"v\"},"
                                "\"b\":{" X("F32", "[1]", "[0,4]") "},\"d\":{" X("U8", "[3]", "[4,7]") "}}";
    test_write_file(at("s1.safetensors"), file, make_safetensors(file, first, 7));
    test_write_file(at("s2.safetensors"), file,
                    make_safetensors(file, "{\"a\":{" X("F16", "[2]", "[0,4]") "}}", 4));
    test_write_file(at("s3.safetensors"), file,
                    make_safetensors(file, "{\"b\":{" X("F16", "[2]", "[0,4]") "}}", 4));
    write_text("m.safetensors.index.json",
               "{\"metadata\":{\"total_size\":11},\"weight_map\":"
               "{\"a\":\"s2.safetensors\",\"b\":\"s1.safetensors\",\"d\":\"s1.safetensors\"}}");
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "m", &e) == SAEURON_OK && t.count == 3 &&
          t.file_count == 2, "%s", e.text);
    CHECK(!strcmp(t.list[0].name, "a") && tensors_find(&t, "d")->data[2] == 6 &&
          tensors_find(&t, "d")->type == DT_U8, "the tensors of both files");
    tensors_close(&t);
    static const struct { const char *index, *why; int code; } bad[] = {
        { "{\"weight_map\":{\"a\":\"../s2.safetensors\"}}", "same folder", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "same folder", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"..\"}}", "same folder", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"\"}}", "same folder", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":1}}", "file name", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\".\"}}", "same folder", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"x\\\\s2.safetensors\"}}", "same folder", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"s2\\u0000.safetensors\"}}", "file name", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":null}}", "file name", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"bad.index.json\"}}", "bad.index.json", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"pointer.safetensors\"}}", "pointer.safetensors: is a Git LFS pointer",
          SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"s2.safetensors\",\"a\":\"s1.safetensors\"}}", "twice", SAEURON_EFORMAT },
        { "{\"weight_map\":[]}", "no weight_map", SAEURON_EFORMAT },
        { "{}", "no weight_map", SAEURON_EFORMAT }, { "[", "not valid JSON", SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"s2.safetensors\",\"x\":\"s1.safetensors\"}}", "tensor x",
          SAEURON_EFORMAT },
        { "{\"weight_map\":{\"b\":\"s1.safetensors\",\"a\":\"s3.safetensors\"}}", "b is there twice",
          SAEURON_EFORMAT },
        { "{\"weight_map\":{\"a\":\"absent.safetensors\"}}", "absent.safetensors", SAEURON_ENOENT },
    };
    write_text("pointer.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n");
    for (size_t i = 0; i < COUNT(bad); i++) {
        write_text("bad.index.json", bad[i].index);
        const int code = tensors_open(&t, NULL, at("bad.index.json"), &e);
        CHECK(code == bad[i].code && strstr(e.text, bad[i].why), "%s: %s", bad[i].index, code ? e.text
              : "accepted");
        tensors_close(&t);
    }
}

static void model_names(void)
{
    tensors t;
    saeuron_error e;
    unsigned char file[256];
    const size_t n = make_safetensors(file, "{\"a\":{" X("F16", "[2]", "[0,4]") "}}", 4);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_ENOENT &&
          strstr(e.text, "net.safetensors"), "%s", e.text);
    test_write_file(at("net.bin"), file, 4);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_ENOENT && strstr(e.text, "pickle"),
          "%s", e.text);
    test_write_file(at("net.fp16.safetensors"), file, n);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_ENOENT && strstr(e.text, "net.bin"),
          "%s", e.text);
    remove(at("net.bin"));
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_OK && t.count == 1 &&
          strstr(t.path, "fp16"), "%s", e.text);
    tensors_close(&t);
    test_write_file(at("net.safetensors"), file, n);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "net", &e) == SAEURON_OK && !strstr(t.path, "fp16"),
          "the plain name comes first");
    tensors_close(&t);
    test_write_file(at("own.non_ema.safetensors"), file, n);
    CHECK(tensors_open_model(&t, NULL, test_tmp(), "own", &e) == SAEURON_ENOENT &&
          test_holds(e.text, "own.non_ema.safetensors|rename it to own.safetensors"), "%s", e.text);
    CHECK(!rename(at("own.non_ema.safetensors"), at("own.safetensors")) &&
          tensors_open_model(&t, NULL, test_tmp(), "own", &e) == SAEURON_OK, "renamed: %s", e.text);
    tensors_close(&t);
    CHECK(tensors_open(&t, NULL, at("nowhere.safetensors"), &e) == SAEURON_ENOENT &&
          strstr(e.text, "no such file"), "%s", e.text);
#ifndef SAEURON_PLAIN_C
    CHECK(tensors_open(&t, NULL, test_tmp(), &e) == SAEURON_EIO && strstr(e.text, "folder"), "%s", e.text);
#endif
}

#define NAME_64 "64 letters of a name: four times that is one byte more than 255."

static void save_refuses(void)
{
    static const float big[2] = { 1, 65520 }, nan2[2] = { 0, NAN }, inf2[2] = { -INFINITY, 0 }, fine[2] =
        { 0, 0 };
    static const struct { tensor_out list[2]; size_t count; int code; const char *why; } bad[] = {
        { { { "x", DT_F16, 1, { 2 }, big } }, 1, SAEURON_ENAN, "element 1 is 65520, which F16" },
        { { { "x", DT_F32, 1, { 2 }, nan2 } }, 1, SAEURON_ENAN, "element 1 is nan" },
        { { { "x", DT_F32, 1, { 2 }, inf2 } }, 1, SAEURON_ENAN, "element 0 is -inf" },
        { { { "x", DT_I32, 1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "only F32" },
        { { { "x", DT_F32, 1, { 2 }, fine }, { "x", DT_F32, 1, { 2 }, fine } }, 2, SAEURON_EUSAGE,
          "two tensors" },
        { { { "", DT_F32, 1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "cannot name" },
        { { { "__metadata__", DT_F32, 1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "cannot name" },
        { { { "x", DT_F32, 2, { SIZE_MAX, 2 }, fine } }, 1, SAEURON_EUSAGE, "shape" },
        { { { "x", DT_F32, 1, { SIZE_MAX / 2 }, fine } }, 1, SAEURON_EUSAGE, "shape" },
        { { { "x", DT_F32, -1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "shape" },
        { { { "x", DT_F32, TENSOR_DIMS + 1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "shape" },
        { { { NAME_64 NAME_64 NAME_64 NAME_64, DT_F32, 1, { 2 }, fine } }, 1, SAEURON_EUSAGE, "cannot name" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        saeuron_error e;
        const int code = tensors_save(NULL, at("never.safetensors"), bad[i].list, bad[i].count, NULL, &e);
        CHECK(code == bad[i].code && strstr(e.text, bad[i].why), "case %zu: %s", i, code ? e.text
              : "accepted");
    }
    CHECK(files_like("never") == 0, "%d files were left", files_like("never"));
}

static int run_open(const saeuron_host *h, saeuron_error *e)
{
    tensors t;
    const int code = tensors_open(&t, h, at("f.safetensors"), e);
    tensors_close(&t);
    return code;
}

static int run_index(const saeuron_host *h, saeuron_error *e)
{
    tensors t;
    const int code = tensors_open(&t, h, at("f.index.json"), e);
    tensors_close(&t);
    return code;
}

static int run_save(const saeuron_host *h, saeuron_error *e)
{
    return tensors_save(h, at("f2.safetensors"), some_tensors, COUNT(some_tensors), some_metadata, e);
}

static void allocations_fail(void)
{
    tensors_save(NULL, at("f.safetensors"), some_tensors, COUNT(some_tensors), NULL, NULL);
    write_text("f.index.json", "{\"weight_map\":{\"empty\":\"f.safetensors\"}}");
    every_allocation_fails(run_open, 2);
    every_allocation_fails(run_index, 2);
    every_allocation_fails(run_save, 1);
}

/* With map and alloc given, nothing else is touched: "memory" exists nowhere. */
static void host_only(void)
{
    size_t n;
    saeuron_error e;
    tensors t;
    tensors_save(NULL, at("h.safetensors"), some_tensors, COUNT(some_tensors), NULL, NULL);
    unsigned char *bytes = read_bytes(at("h.safetensors"), &n);
    one_file f = { bytes, n, 0 };
    saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
    CHECK(io_exists(&host, "memory") && !io_exists(&host, at("h.safetensors")) && f.mapped == 0,
          "a file of the system was seen");
    CHECK(tensors_open(&t, &host, "memory", &e) == SAEURON_OK && t.list[0].data > bytes &&
          t.list[0].data < bytes + n, "the caller's bytes are not used where they lie");
    tensors_close(&t);
    CHECK(f.mapped == 0, "not given back");
    CHECK(tensors_open(&t, &host, at("h.safetensors"), &e) == SAEURON_ENOENT,
          "a file of the system was opened");
    host.unmap = NULL;
    CHECK(tensors_open(&t, &host, "memory", &e) == SAEURON_OK, "unmap may be NULL");
    tensors_close(&t);
    free(bytes);
}

const test_case tensors_tests[] = {
    { "round_trip", safetensors_round_trip }, { "dtypes", safetensors_dtypes },
    { "refuses", safetensors_refuses }, { "limits", safetensors_limits },
    { "truncated_and_changed", safetensors_truncated_and_changed }, { "sharded", safetensors_sharded },
    { "model_names", model_names }, { "save_refuses", save_refuses },
    { "allocations_fail", allocations_fail }, { "host_only", host_only }, { NULL, NULL },
};
