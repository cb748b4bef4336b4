/* test_npy.c: npy.c: what it reads back, what it refuses; its bytes are numpy.save's. Every allocation fails
 * once. Against NumPy itself: tests/check_files.py. */
#include "test.h"
#include "scratch.h"
#include "files/npy.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t make_npy(unsigned char *out, int version, const char *header, const void *data,
                       size_t data_size)
{
    const size_t n = strlen(header), start = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    out[7] = 0;
    le(out + 8, n, version == 1 ? 2 : 4);
    memcpy(out + start, header, n);
    if (data_size)
        memcpy(out + start + n, data, data_size);
    return start + n + data_size;
}

static int load_npy(const unsigned char *bytes, size_t n, float **values, size_t *shape, int *ndim,
                    saeuron_error *e)
{
    unsigned char *tight = malloc(n ? n : 1);
    memcpy(tight, bytes, n);
    one_file f = { tight, n, 0 };
    const saeuron_host host = { .user = &f, .map = map_one, .unmap = unmap_one };
    const int code = npy_load(&host, "memory", values, shape, ndim, e);
    CHECK(f.mapped == 0 && (code == 0) == (*values != NULL), "code %d", code);
    free(tight);
    return code;
}

static void npy_round_trip(void)
{
    static const float values[6] = { 0, -1, 0x1p-149f, FLT_MAX, 0.1f, -0.0f };
    static const size_t shapes[][3] = { { 2, 3 }, { 6 }, { 1, 6, 1 }, { 0, 7 } };
    static const int ndims[] = { 2, 1, 3, 2 };
    static const char head[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    saeuron_error e;
    float *back;
    size_t shape[TENSOR_DIMS], n;
    int ndim;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        CHECK(npy_save(NULL, at("a.npy"), values, shapes[i], ndims[i], &e) == SAEURON_OK, "%s", e.text);
        CHECK(npy_load(NULL, at("a.npy"), &back, shape, &ndim, &e) == SAEURON_OK, "%s", e.text);
        CHECK(ndim == ndims[i] && !memcmp(shape, shapes[i], (size_t)ndim * sizeof *shape), "shape %zu", i);
        CHECK(i == 3 || !memcmp(back, values, sizeof values), "values");
        io_free(NULL, back);
    }
    npy_save(NULL, at("a.npy"), values, shapes[0], 2, NULL);
    unsigned char *file = read_bytes(at("a.npy"), &n);
    CHECK(n == 128 + 24 && !memcmp(file, head, sizeof head - 1) && file[127] == '\n' && file[126] == ' ',
          "not what numpy.save writes (%zu bytes)", n);
    free(file);
    static const size_t grows[8] =
        { 0, 11111, 11111, 11111, 11111, 11111, 11111, 11111 }; /* 116 bytes, and room to grow: 136 */
    npy_save(NULL, at("a.npy"), values, grows, 8, NULL);
    free(read_bytes(at("a.npy"), &n));
    CHECK(n == 192, "%zu bytes: numpy.save leaves room for the first dimension to grow", n);
    static const size_t nine[9] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, huge[2] = { SIZE_MAX, 2 };
    CHECK(npy_save(NULL, at("no.npy"), values, nine, 9, &e) == SAEURON_EUSAGE &&
          npy_save(NULL, at("no.npy"), values, huge, 2, &e) == SAEURON_EUSAGE &&
          npy_save(NULL, at("no.npy"), values, huge, 1, &e) == SAEURON_EUSAGE && !files_like("no.npy"),
          "impossible shapes");
    CHECK(npy_save(NULL, at("s.npy"), values + 4, shapes[0], 0, &e) == SAEURON_OK &&
          npy_load(NULL, at("s.npy"), &back, shape, &ndim, &e) == SAEURON_OK && ndim == 0 && back[0] == 0.1f,
          "a scalar: %s", e.text);
    io_free(NULL, back);
}

static void npy_types(void)
{
    static const unsigned char half[4] = { 0x00, 0x3C, 0x01, 0x80 }, two[16] =
        { [6] = 0xF0, [7] = 0x3F, [8] = 0x01, [14] = 0xF0, [15] = 0xBF };
    unsigned char file[512];
    float *v;
    size_t shape[TENSOR_DIMS];
    int ndim;
    saeuron_error e;
    CHECK(!load_npy(file,
                    make_npy(file, 1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }\n", half, 4),
                    &v, shape, &ndim, &e) && v[0] == 1 && v[1] == -0x1p-24f, "F16: %s", e.text);
    io_free(NULL, v);
    CHECK(!load_npy(file, make_npy(file, 2, "{'shape':(2,1),'fortran_order':False,'descr':'<f8'}", two, 16),
                    &v, shape, &ndim, &e) && v[0] == 1 && v[1] == -1 && ndim == 2, "F64 rounds: %s", e.text);
    io_free(NULL, v);
}

static void npy_refuses(void)
{
#define H(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"
    static const unsigned char fine[8] = { 0 }, nan1[8] = { [6] = 0xC0, [7] = 0x7F };
    static const unsigned char huge8[8] = { [4] = 0x10, [6] = 0xF0, [7] = 0x47 }; /* 2^128 and more */
    static const unsigned char nan8[8] = { [6] = 0xF8, [7] = 0x7F };
    static const struct bad {
        int version;
        const char *header;
        const unsigned char *data;
        size_t size;
        int code;
        const char *why;
    } bad[] = {
        { 1, H("<f4", "True", "(2,)"), fine, 8, SAEURON_EFORMAT, "Fortran" },
        { 1, H("<i4", "False", "(2,)"), fine, 8, SAEURON_EFORMAT, "dtype" },
        { 1, H(">f4", "False", "(2,)"), fine, 8, SAEURON_EFORMAT, "dtype" },
        { 1, H("|O", "False", "(1,)"), fine, 8, SAEURON_EFORMAT, "dtype" },
        { 1, H("<f4", "False", "(3,)"), fine, 8, SAEURON_EFORMAT, "3 elements" },
        { 1, H("<f4", "False", "(1,)"), fine, 8, SAEURON_EFORMAT, "its 1 elements need 4 bytes, but 8" },
        { 1, H("<f4", "False", "()"), fine, 8, SAEURON_EFORMAT, "its 1 elements" },
        { 1, H("<f4", "False", "(0,)"), fine, 8, SAEURON_EFORMAT, "its 0 elements" },
        { 1, H("<f4", "False", "(2, 2)"), fine, 8, SAEURON_EFORMAT, "4 elements, but 8 bytes|cut short" },
        { 1, H("<c8", "False", "(1,)"), fine, 8, SAEURON_EFORMAT, "dtype" },
        { 1, H("<U2", "False", "(1,)"), fine, 8, SAEURON_EFORMAT, "dtype" },
        { 1, H("|V8", "False", "(1,)"), fine, 8, SAEURON_EFORMAT, "dtype" },
        { 1, H("<f4", "0", "(2,)"), fine, 8, SAEURON_EFORMAT, "Fortran" },
        { 1, H("<f4", "False", "2"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "[2]"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "(2,,)"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "(2.0,)"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)", fine, 8, SAEURON_EFORMAT, "damaged" },
        { 1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", fine, 8, SAEURON_EFORMAT,
          "dtype" },
        { 0, H("<f4", "False", "(2,)"), fine, 8, SAEURON_EFORMAT, "version 0" },
        { 255, H("<f4", "False", "(2,)"), fine, 8, SAEURON_EFORMAT, "version 255" },
        { 1, H("<f4", "False", "(2"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "(-2,)"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "(1,1,1,1,1,1,1,1,2)"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "(99999999999999999999,)"), fine, 8, SAEURON_EFORMAT, "shape" },
        { 1, H("<f4", "False", "(4294967296, 4294967296, 4)"), fine, 8, SAEURON_EFORMAT, "more elements" },
        { 1, H("<f4", "False", "(4611686018427387906,)"), fine, 8, SAEURON_EFORMAT, "elements" },
        { 1, "{'descr': '<f4', 'shape': (2,), }\n", fine, 8, SAEURON_EFORMAT, "lacks" },
        { 1, "hello", fine, 8, SAEURON_EFORMAT, "dictionary" },
        { 1, "{'x': 1}", fine, 8, SAEURON_EFORMAT, "damaged" },
        { 1, "{", fine, 8, SAEURON_EFORMAT, "damaged" },
        { 3, H("<f4", "False", "(2,)"), fine, 8, SAEURON_EFORMAT, "version 3" },
        { 1, H("<f4", "False", "(2,)"), nan1, 8, SAEURON_ENAN, "element 1" },
        { 1, H("<f8", "False", "(1,)"), huge8, 8, SAEURON_ENAN, "element 0" },
        { 1, H("<f8", "False", "(1,)"), nan8, 8, SAEURON_ENAN, "element 0" },
    };
    unsigned char file[512];
    float *v;
    size_t shape[TENSOR_DIMS];
    int ndim;
    saeuron_error e;
    for (size_t i = 0; i < COUNT(bad); i++) {
        const int code = load_npy(file,
                                  make_npy(file, bad[i].version, bad[i].header, bad[i].data, bad[i].size), &v,
                                  shape, &ndim, &e);
        CHECK(code == bad[i].code && test_holds(e.text, bad[i].why) && !strncmp(e.text, "memory: ", 8),
              "%s: %s", bad[i].header, code ? e.text : "accepted");
        io_free(NULL, v);
    }
    const size_t n = make_npy(file, 1, H("<f4", "False", "(2,)"), fine, 8);
    for (size_t i = 0; i < n; i++)
        CHECK(load_npy(file, i, &v, shape, &ndim, &e) == SAEURON_EFORMAT, "accepted when cut to %zu bytes",
              i);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 256; k += 5) {
            const unsigned char was = file[i];
            file[i] = (unsigned char)k;
            load_npy(file, n, &v, shape, &ndim, &e);
            io_free(NULL, v);
            file[i] = was;
        }
#undef H
}

static int run_load(const saeuron_host *h, saeuron_error *e)
{
    size_t shape[TENSOR_DIMS];
    float *values;
    int    ndim;
    const int code = npy_load(h, at("f.npy"), &values, shape, &ndim, e);
    io_free(h, values);
    return code;
}

static int run_save(const saeuron_host *h, saeuron_error *e)
{
    static const float values[6] = { 1, 2, 3 };
    return npy_save(h, at("f2.npy"), values, (const size_t[]){ 6 }, 1, e);
}

static void allocations_fail(void)
{
    static const float values[6] = { 1, 2, 3 };
    npy_save(NULL, at("f.npy"), values, (const size_t[]){ 6 }, 1, NULL);
    every_allocation_fails(run_load, 1);
    every_allocation_fails(run_save, 1);
}

const test_case npy_tests[] = {
    { "round_trip", npy_round_trip }, { "types", npy_types }, { "refuses", npy_refuses },
    { "allocations_fail", allocations_fail }, { NULL, NULL },
};
