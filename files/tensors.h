/* tensors.h: safetensors: a file or a set of shards as a sorted list of named views; and tensors written.
 *
 *   path --tensors_open: every length checked--> tensor { name, type, shape, data } --> layers/bind.h
 *
 * Not here: what a tensor means (the networks). Source: github.com/huggingface/safetensors, "Format". */
#ifndef SAEURON_TENSORS_H
#define SAEURON_TENSORS_H

#include "arithmetic/number.h"
#include "files/json.h"
#include "files/system.h"

/* ---- reading ---- */

#define TENSOR_DIMS 8
typedef struct tensor {
    const char *name;       /* NUL-ended, owned by its tensors */
    dtype  type;
    int    ndim;
    size_t shape[TENSOR_DIMS], count;  /* count: product of shape */
    const unsigned char *data;
    size_t bytes;
    bool   used;            /* set by whoever bound it; one that stays unset is unknown to the network */
} tensor;

/* Every tensor of one file or of a sharded set (NAME.safetensors.index.json), sorted by name. */
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

/* Opens path, a .safetensors file or an index (*.json). Checked: the header's size and JSON, types, and that
 * the byte ranges fit the shapes and cover the data without overlap, hole or rest. */
int  tensors_open(tensors *t, const saeuron_host *host, const char *path, saeuron_error *err);
/* Opens DIR/STEM.safetensors or DIR/STEM.safetensors.index.json, else the .fp16 forms of both;
 * docs/formats.md says which goes first. SAEURON_ENOENT when there is none, or a pickle goes first; the
 * message names what is there. */
int  tensors_open_model(tensors *t, const saeuron_host *host, const char *dir, const char *stem,
                        saeuron_error *err);
void tensors_close(tensors *t);
void tensors_release(const tensors *t);                       /* io_release of its files */
int  tensors_unchanged(const tensors *t, saeuron_error *err); /* io_unchanged of its files */
tensor *tensors_find(const tensors *t, const char *name);     /* NULL when absent */
const char *io_dtype_name(dtype type);                        /* "F16"; "?" for DT_NONE */
/* h (0 at first) hashed on over every tensor's bytes, in file order: it tells contents apart, whatever their
 * file is called. */
uint64_t tensors_digest(uint64_t h, const tensors *t);

/* ---- writing: the header, then each tensor in the order given; all or nothing ---- */

typedef struct tensor_out {
    const char *name;
    dtype  type;
    int    ndim;
    size_t shape[TENSOR_DIMS];
    const float *values;
} tensor_out;

/* Stores values, which are float32, as type (DT_F32 or DT_F16). metadata (or NULL): key, value, ..., NULL
 * (metadata.h). The data begins at a multiple of 8 bytes. SAEURON_ENAN when a value is not finite or too
 * large for F16. */
int tensors_save(const saeuron_host *host, const char *path, const tensor_out *list, size_t count,
                 const char *const *metadata, saeuron_error *err);

/* The same in pieces, for tensors that no memory holds. tensors_begin writes the header and does not look at
 * values. The caller then puts the values of each tensor, in the list's order, n at a time, and commits. Here
 * a tensor may also be I64, by tensors_put_whole, or U8, by io_out_write. After an error of tensors_put:
 * io_out_abort. first: how many of o's values went before, for messages. */
int tensors_begin(io_out *out, const saeuron_host *host, const char *path, const tensor_out *list,
                  size_t count, const char *const *metadata, saeuron_error *err);
int tensors_put(io_out *out, const tensor_out *o, size_t first, const float *values, size_t n,
                saeuron_error *err);
int tensors_put_whole(io_out *out, const uint64_t *values, size_t n, saeuron_error *err); /* below 2^63 */

#endif
