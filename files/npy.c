/* npy.c: NumPy's .npy: arrays in and out, as float32.
 *
 *   path --io_open--> bytes --header: a Python literal--> shape, type --> float32
 *   float32 --npy_save--> path
 *
 * Not here: what an array means. Source: numpy.lib.format. */
#include "files/npy.h"
#include "arithmetic/nn.h"
#include "files/bytes.h"
#include "files/text.h"

#include <math.h>
#include <string.h>

#define MAGIC 10 /* bytes before the header of format 1.0: the magic text, the version, the header's length */

/* Where in the header's text we are. The header is a Python literal: {'descr': '<f4', 'fortran_order': False,
 * 'shape': (3, 4), }, its keys in any order                                       (numpy.lib.format) */
typedef struct npy_scan { const char *at, *end; } npy_scan;

/* Passes spaces, then s if it is there. */
static bool npy_take(npy_scan *p, const char *s)
{
    const size_t n = strlen(s);
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n'))
        p->at++;
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, s, n) != 0)
        return false;
    p->at += n;
    return true;
}

/* (3, 4), (3,) or () */
static bool npy_shape(npy_scan *p, size_t shape[TENSOR_DIMS], int *ndim)
{
    *ndim = 0;
    if (!npy_take(p, "("))
        return false;
    while (!npy_take(p, ")")) {
        size_t x = 0;
        const char *start = (npy_take(p, ""), p->at);
        for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
            const size_t digit = (size_t)(*p->at - '0');
            if (x > (SIZE_MAX - digit) / 10)
                return false;
            x = 10 * x + digit;
        }
        if (p->at == start || *ndim == TENSOR_DIMS)
            return false;
        shape[(*ndim)++] = x;
        if (!npy_take(p, ",")) /* after the only or last size, then, the parenthesis */
            return npy_take(p, ")");
    }
    return true;
}

static int npy_header(npy_scan *p, dtype *type, size_t shape[TENSOR_DIMS], int *ndim, const char *path,
                      saeuron_error *err)
{
    unsigned seen = 0;
    if (!npy_take(p, "{"))
        return fail(err, SAEURON_EFORMAT, "%s: its header is no dictionary: save it again with numpy.save",
                    path);
    while (!npy_take(p, "}")) {
        if (npy_take(p, "'descr':")) {
            *type = npy_take(p, "'<f4'") ? DT_F32
                  : npy_take(p, "'<f2'") ? DT_F16
                  : npy_take(p, "'<f8'") ? DT_F64 : DT_NONE;
            if (*type == DT_NONE)
                return fail(err, SAEURON_EFORMAT,
                            "%s: its dtype is none of <f2, <f4, <f8: save it again after .astype('<f4')",
                            path);
            seen |= 1;
        } else if (npy_take(p, "'fortran_order':")) {
            if (!npy_take(p, "False"))
                return fail(err, SAEURON_EFORMAT,
                            "%s: is in Fortran order: save it again after numpy.ascontiguousarray", path);
            seen |= 2;
        } else if (npy_take(p, "'shape':")) {
            if (!npy_shape(p, shape, ndim))
                return fail(err, SAEURON_EFORMAT,
                            "%s: its shape cannot be read (at most %d dimensions): "
                            "save it again with numpy.save", path, TENSOR_DIMS);
            seen |= 4;
        } else
            return fail(err, SAEURON_EFORMAT, "%s: its header is damaged: save it again with numpy.save",
                        path);
        npy_take(p, ",");
    }
    if (seen != 7)
        return fail(err, SAEURON_EFORMAT,
                    "%s: its header lacks descr, fortran_order or shape: save it again with numpy.save",
                    path);
    return SAEURON_OK;
}

/* Element i as float32. A double is rounded to nearest; what float32 cannot hold becomes an infinity, found
 * later. */
static float npy_value(const unsigned char *p, dtype type)
{
    const uint64_t bits = get_le(p, (int)dtype_size(type));
    const uint32_t low = (uint32_t)bits;
    double d;
    float  f;
    if (type == DT_F16)
        return nn_f16_to_f32((uint16_t)bits);
    memcpy(&f, &low, 4);
    memcpy(&d, &bits, 8);
    if (type == DT_F64)
        f = d != d ? NAN : fabs(d) >= 0x1.ffffffp127 ? INFINITY : (float)d;
    return f;
}

/* The parts of an open file: type, shape, and where its data lies; checks that its length is right to the
 * byte. */
static int npy_parts(const io_file *f, dtype *type, size_t shape[TENSOR_DIMS], int *ndim, size_t *count,
                     const unsigned char **data, saeuron_error *err)
{
    size_t bytes;
    if (f->size < 12 || memcmp(f->data, "\x93NUMPY", 6) != 0)
        return fail(err, SAEURON_EFORMAT, "%s: is no .npy file", f->path);
    const int version = f->data[6];
    if ((version != 1 && version != 2) || f->data[7] != 0)
        return fail(err, SAEURON_EFORMAT, "%s: is .npy version %d.%d; 1.0 and 2.0 are read: save it again",
                    f->path, version, f->data[7]);
    const size_t start = version == 1 ? 10 : 12;
    const uint64_t length = get_le(f->data + 8, version == 1 ? 2 : 4);
    if (length > f->size - start)
        return fail(err, SAEURON_EFORMAT, "%s: ends inside its header: it was cut short, make it again",
                    f->path);
    npy_scan scan = { (const char *)f->data + start, (const char *)f->data + start + length };
    const int code = npy_header(&scan, type, shape, ndim, f->path, err);
    if (code)
        return code;
    *count = 1;
    for (int i = 0; i < *ndim; i++)
        if (!nn_mul(*count, shape[i], count))
            return fail(err, SAEURON_EFORMAT, "%s: its shape has more elements than any memory", f->path);
    *data = f->data + start + length;
    const size_t have = f->size - start - (size_t)length;
    if (!nn_mul(*count, dtype_size(*type), &bytes) || bytes > have)
        return fail(err, SAEURON_EFORMAT,
                    "%s: its shape needs %zu elements, but %zu bytes follow the header: "
                    "it was cut short, make it again", f->path, *count, have);
    if (bytes < have)
        return fail(err, SAEURON_EFORMAT,
                    "%s: its %zu elements need %zu bytes, but %zu follow the header: "
                    "it was written over or joined, make it again", f->path, *count, bytes, have);
    return SAEURON_OK;
}

int npy_load(const saeuron_host *host, const char *path, float **values, size_t shape[TENSOR_DIMS], int *ndim,
             saeuron_error *err)
{
    io_file f;
    dtype type = DT_NONE;
    size_t count;
    const unsigned char *data = NULL;
    *values = NULL;
    int code = io_open(&f, host, path, err);
    if (code)
        return code;
    code = npy_parts(&f, &type, shape, ndim, &count, &data, err);
    if (!code && !(*values = io_alloc(host, count, sizeof(float))))
        code = fail(err, SAEURON_ENOMEM, "%s: not enough memory for its values", path);
    if (!code) {
        for (size_t i = 0; i < count; i++)
            (*values)[i] = npy_value(data + i * dtype_size(type), type);
        const size_t bad = nn_first_bad(*values, count);
        if (bad < count)
            code = fail(err, SAEURON_ENAN, "%s: element %zu is not a finite float32: look where it was made",
                        path, bad);
    }
    if (code) {
        io_free(host, *values);
        *values = NULL;
    }
    io_close(&f);
    return code;
}

/* The header's text as numpy.save writes it: room for the first dimension to grow to 21 digits, then spaces
 * and a newline, so that the data begins at a multiple of 64. */
static void put_header(text_out *t, const size_t *shape, int ndim)
{
    size_t grow = 21;
    text_add(t, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < ndim; i++) {
        const size_t before = t->n;
        text_add(t, "%zu", shape[i]);
        if (i == 0)
            grow -= t->n - before;
        text_add(t, "%s", ndim == 1 ? "," : i < ndim - 1 ? ", " : "");
    }
    text_add(t, "), }%*s", ndim > 0 ? (int)grow : 0, "");
    text_add(t, "%*s\n", (int)(63 - (MAGIC + t->n) % 64), "");
}

/* Everything before the values. */
static int write_header(io_out *out, const saeuron_host *host, const size_t *shape, int ndim,
                        saeuron_error *err)
{
    unsigned char magic[MAGIC] = "\x93NUMPY\x01"; /* and the minor version, 0 */
    text_out t = { .host = host };
    put_header(&t, shape, ndim);
    put_le(magic + 8, t.n, 2);
    int code = SAEURON_OK;
    if (t.failed)
        code = fail(err, SAEURON_ENOMEM, "%s: not enough memory for its header", out->path);
    if (!code)
        code = io_out_write(out, magic, MAGIC, err);
    if (!code)
        code = io_out_write(out, t.at, t.n, err);
    text_free(&t);
    return code;
}

int npy_save(const saeuron_host *host, const char *path, const float *values, const size_t *shape, int ndim,
             saeuron_error *err)
{
    unsigned char buffer[4096];
    size_t count = 1, bytes;
    io_out out;
    for (int i = 0; i < ndim; i++)
        if (i == TENSOR_DIMS || !nn_mul(count, shape[i], &count))
            return fail(err, SAEURON_EUSAGE, "%s: impossible shape", path);
    if (!nn_mul(count, 4, &bytes))
        return fail(err, SAEURON_EUSAGE, "%s: impossible shape", path);
    int code = io_out_open(&out, path, err);
    if (!code)
        code = write_header(&out, host, shape, ndim, err);
    for (size_t i = 0; i < count && !code;) {
        size_t n = 0;
        for (; n < sizeof buffer && i < count; n += 4, i++)
            put_le(buffer + n, f32_bits(values[i]), 4);
        code = io_out_write(&out, buffer, n, err);
    }
    if (!code)
        code = io_out_commit(&out, err);
    if (code)
        io_out_abort(&out);
    return code;
}
