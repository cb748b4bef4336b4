/* bind.h: layers, and the walk that binds a network's tensors to them by name.
 *
 *   NETWORK_bind(binder) names every tensor once, with its shape --> views into the safetensors file
 *                                                               \--> or hash-filled weights
 *
 * A network is one struct filled by one such walk; the loader, `info`, hash-filled test models and the tests
 * use it. Not here: what a layer computes (forward.h), config.json (config.h), any one network (the root).
 * Source: the tensor names are PyTorch's module paths, as diffusers and transformers save them. */
#ifndef SAEURON_BIND_H
#define SAEURON_BIND_H

#include "arithmetic/nn.h"
#include "files/tensors.h"

typedef struct linear { weight w; const float *bias; size_t in, out; } linear; /* Linear, w [out,in] */
typedef struct conv { weight w; const float *bias; size_t ci, co, k; } conv;   /* Conv2d, w [co,ci,k,k] */
typedef struct norm { const float *gamma, *beta; size_t C; } norm;             /* LayerNorm, GroupNorm */

/* The walk over a network's tensors. With file it finds each tensor, checks its shape, and points at it;
 * without, it fills weights from the hash of contract 6 (for tests and benchmarks). A network is walked
 * twice: first keep only measures, then it has memory. The first error stops the walk; later calls do
 * nothing. */
typedef struct binder {
    tensors   *file;    /* NULL: hash-filled */
    uint64_t   seed;    /* of the hash */
    dtype      type;    /* of hash-filled weights: DT_F16, else DT_F32 */
    int        threads;
    const nn  *pack;    /* not NULL: layers' weights are packed for its kernels as well */
    arena     *keep;    /* what the file does not hold: widened vectors, panels, hash-filled weights */
    char       prefix[256];
    size_t     at;      /* length of prefix */
    int        code;    /* the first error's, or SAEURON_OK */
    saeuron_error *err;
    /* Is told every tensor's full name and shape, and which field of the network it goes to; NULL when nobody
     * wants the list. */
    void     (*list)(void *user, const char *name, const void *field, int ndim, const size_t *shape);
    void      *list_user;
} binder;

/* Enters a module below the prefix ("resnets.%d"); returns the mark for bind_pop, which leaves it. */
size_t bind_push(binder *b, const char *format, ...);
void   bind_pop(binder *b, size_t mark);

/* Each binds the tensors of one layer NAME below the prefix (NAME.weight, NAME.bias), or one tensor of that
 * name. */
void   bind_linear(binder *b, const char *name, linear *l, size_t in, size_t out);
void   bind_linear_no_bias(binder *b, const char *name, linear *l, size_t in, size_t out);
void   bind_conv(binder *b, const char *name, conv *l, size_t ci, size_t co, size_t k);
void   bind_norm(binder *b, const char *name, norm *l, size_t C);
void   bind_matrix(binder *b, const char *name, weight *w, size_t rows, size_t columns);
/* A matrix keeps its file's type; these two are widened to float32. */
void   bind_vector(binder *b, const char *name, const float **v, size_t n);
void   bind_array(binder *b, const char *name, const float **v, int ndim, const size_t *shape);

/* Whether a file's weights fit, packed, into host.pack: the one rule for what bind_file packs. */
bool packs(const saeuron_host *host, const tensors *file);
/* Binds a whole network: walk(b, network) runs twice (measure, bind) with prefix "". *memory: one block for
 * io_free, NULL after an error. Errors: SAEURON_EFORMAT, SAEURON_ENAN, SAEURON_ENOMEM.
 *
 * From a file: every tensor must be finite, and one that the walk did not name is refused. c's threads
 * check the values (c NULL: one does); with pack, every layer's weights also lie in *memory as c's kernels
 * read them (four bytes a weight). */
int bind_file(const saeuron_host *host, tensors *file, const nn *c, bool pack, void (*walk)(binder *, void *),
              void *network, void **memory, saeuron_error *err);
/* Hash-filled, with weights of a type, DT_F32 or DT_F16. */
int bind_hashed(const saeuron_host *host, uint64_t seed, dtype type, int threads,
                void (*walk)(binder *, void *), void *network, void **memory, saeuron_error *err);

/* The hash-filled value of element i of a tensor (contract 6). */
float hash_weight(uint64_t seed, const char *name, int ndim, const size_t *shape, size_t i);

#endif
