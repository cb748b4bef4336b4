/* bind.h: layers, and the walk that binds a network's tensors to them by name.
 *
 *   NETWORK_bind(binder) names every tensor once, with its shape --> views into the safetensors file, or hash-filled weights
 *
 * A network is one struct filled by one such walk; the loader, `info`, hash-filled test models and the tests all use it.
 * Not here: what a layer computes (forward.h), config.json (config.h), any one network (the root). */
#ifndef SAEURON_BIND_H
#define SAEURON_BIND_H

#include "arithmetic/nn.h"
#include "files/tensors.h"

typedef struct linear { weight w; const float *bias; size_t in, out; } linear;   /* torch.nn.Linear */
typedef struct conv   { weight w; const float *bias; size_t ci, co, k; } conv;   /* torch.nn.Conv2d, square */
typedef struct norm   { const float *gamma, *beta; size_t C; } norm;             /* LayerNorm, GroupNorm */

/* The walk over a network's tensors. With file it finds each tensor, checks shape and finiteness, and points at it;
 * without, it fills weights from the hash of contract 6 (for tests and benchmarks). Walked once with keep measuring,
 * once with memory. The first error stops it; later calls do nothing. */
typedef struct binder {
    tensors   *file;    /* NULL: hash-filled */
    uint64_t   seed;    /* of the hash */
    dtype      type;    /* hash-filled weights are stored as F32, or rounded to F16 */
    int        threads;
    const nn  *pack;    /* not NULL: the weights of layers are packed for these kernels as well */
    arena     *keep;    /* vectors widened to float32, hash-filled weights */
    char       prefix[256];
    size_t     at;      /* length of prefix */
    int        code;
    saeuron_error *err;
    /* Hears every tensor's name and shape as the walk comes to it; NULL, or for those who only want the list. */
    void     (*list)(void *user, const char *name, int ndim, const size_t *shape);
    void      *list_user;
} binder;

size_t bind_push(binder *b, const char *format, ...); /* enters a module: "resnets.%d"; returns the mark for bind_pop */
void   bind_pop(binder *b, size_t mark);
void   bind_linear(binder *b, const char *name, linear *l, size_t in, size_t out);
void   bind_linear_no_bias(binder *b, const char *name, linear *l, size_t in, size_t out);
void   bind_conv(binder *b, const char *name, conv *l, size_t ci, size_t co, size_t k);
void   bind_norm(binder *b, const char *name, norm *l, size_t C);
void   bind_matrix(binder *b, const char *name, weight *w, size_t rows, size_t columns);
void   bind_vector(binder *b, const char *name, const float **v, size_t n);
void   bind_array(binder *b, const char *name, const float **v, int ndim, const size_t *shape); /* of any shape, widened too */

/* Runs walk(b, network) twice (measure, bind) with prefix "" and refuses tensors that it did not name.
 * file may be NULL (hash-filled from seed). *memory: one block for io_free, holding what was widened. */
int bind_network(const saeuron_host *host, tensors *file, uint64_t seed, void (*walk)(binder *, void *), void *network,
                 void **memory, saeuron_error *err);

/* The same with c's threads, which check the file's values; with pack every layer's weights also lie in *memory as c's kernels
 * want them (four bytes a weight). And hash-filled with weights of a type, DT_F32 or DT_F16. */
int bind_file(const saeuron_host *host, tensors *file, const nn *c, bool pack, void (*walk)(binder *, void *), void *network, void **memory, saeuron_error *err);
int bind_hashed(const saeuron_host *host, uint64_t seed, dtype type, int threads, void (*walk)(binder *, void *), void *network, void **memory, saeuron_error *err);

/* The hash-filled value of element i of a tensor (contract 6): what bind_network uses without a file. */
float hash_weight(uint64_t seed, const char *name, int ndim, const size_t *shape, size_t i);

#endif
