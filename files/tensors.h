/* tensors.h: safetensors: a file or a set of shards, as a sorted list of named, shaped views; and the same written.
 *
 *   path --tensors_open: every length checked--> tensor { name, type, shape, data } --> who binds them (layers/bind.h)
 *
 * Not here: what a tensor means (the networks). Source: github.com/huggingface/safetensors, "Format". */
#ifndef SAEURON_TENSORS_H
#define SAEURON_TENSORS_H

#include "arithmetic/number.h"
#include "files/json.h"
#include "files/system.h"

#define TENSOR_DIMS 8
typedef struct tensor {
    const char *name;       /* NUL-ended, owned by its tensors */
    dtype  type;
    int    ndim;
    size_t shape[TENSOR_DIMS], count;  /* count: product of shape */
    const unsigned char *data;
    size_t bytes;
    bool   used;            /* set by whoever bound it; what stays unset is an unknown tensor */
} tensor;

/* Every tensor of one file or of a sharded set (NAME.safetensors.index.json). Sorted by name. */
typedef struct tensors {
    tensor *list;
    size_t  count;
    json    metadata;       /* of the first file; at == NULL when there is none */
    io_file *files;
    size_t  file_count;
    const saeuron_host *host;
    void   *memory;
    char    path[1024];
} tensors;

/* Opens path, a .safetensors file or an index (*.json). Checks header size, JSON, dtypes, shapes against byte ranges, overlaps, holes, ends. */
int  tensors_open(tensors *t, const saeuron_host *host, const char *path, saeuron_error *err);
/* Opens DIR/STEM.safetensors or DIR/STEM.safetensors.index.json, else the .fp16 forms of both; which of two goes first:
 * docs/formats.md. SAEURON_ENOENT names what is there instead, as a pickle. */
int  tensors_open_model(tensors *t, const saeuron_host *host, const char *dir, const char *stem, saeuron_error *err);
void tensors_close(tensors *t);
void tensors_release(const tensors *t);                       /* io_release of its files */
tensor *tensors_find(const tensors *t, const char *name);     /* NULL when absent */
const char *io_dtype_name(dtype type);                        /* "F16"; "?" for DT_NONE */

/* Writing: the header first, then each tensor in the order given. All or nothing (write, then rename). */
typedef struct tensor_out { const char *name; dtype type; int ndim; size_t shape[TENSOR_DIMS]; const float *values; } tensor_out;
/* values are float32 and stored as type (DT_F32 or DT_F16). metadata (or NULL): key, value, key, value, ..., NULL.
 * SAEURON_EUSAGE when a key is empty, SAEURON_ENAN when a value is not finite or too large for F16. The data starts at a multiple of 8 bytes. */
int tensors_save(const saeuron_host *host, const char *path, const tensor_out *list, size_t count, const char *const *metadata, saeuron_error *err);

/* tensors_save in pieces, for what no memory holds: begin writes the header of list, whose values are not looked at; then the caller
 * puts n values at a time, in the list's order, each tensor's to its end (first: how many of o's went before, for messages), and
 * commits. After an error of put, io_out_abort. Here tensors may also be I64, whose values below 2^63 tensors_put_whole writes, and U8
 * (io_out_write). */
int  tensors_begin(io_out *out, const saeuron_host *host, const char *path, const tensor_out *list, size_t count, const char *const *metadata, saeuron_error *err);
int  tensors_put(io_out *out, const tensor_out *o, size_t first, const float *values, size_t n, saeuron_error *err);
int  tensors_put_whole(io_out *out, const uint64_t *values, size_t n, saeuron_error *err);

#endif
