/* operations.h: the table of operations that every set of kernels fills, and the types that they take.
 *
 *   reference.c: each operation as the shortest loop with the right bits --> nn_reference   --nn_init--> nn.h
 *   kernels.c: the same, fast, once for each instruction set             --> nn_kernels_NAME
 *
 * Not here: what an operation computes (nn.h says it, reference.c does it), which set is chosen (nn.c).
 * Letters: B batch, H height, W width, C channels (ci in, co out), M rows (tokens), K length of a dot
 * product, N columns, D width of a model, n SAE latents. Activations are float32, channels last: [B,H,W,C],
 * the same bytes as tokens [B,H*W,C]. Weights keep PyTorch's shapes and the file's bytes. Every function
 * takes its output first. */
#ifndef SAEURON_OPERATIONS_H
#define SAEURON_OPERATIONS_H

#include "arithmetic/memory.h"
#include "arithmetic/number.h"

/* A matrix as it lies in its file: little-endian, row-major, of PyTorch's shape, at any address. */
typedef struct weight {
    const unsigned char *data;
    dtype type;          /* DT_F32, DT_F16 or DT_BF16; or DT_OWN, aligned */
    const float *packed; /* as the kernels read it (nn_pack), or NULL: they pack it anew at every use */
} weight;

typedef struct conv_shape {
    size_t B, H, W, ci, co;       /* of the input */
    size_t k, stride;             /* square kernel */
    size_t pad_before, pad_after; /* zeros on top and left, on bottom and right */
} conv_shape;

/* Output height or width of an input's height or width n. */
static inline size_t conv_out(const conv_shape *s, size_t n)
{
    return (n + s->pad_before + s->pad_after - s->k) / s->stride + 1;
}

/* Constants of one step of Adam (contract 6). */
typedef struct adam {
    float rate1, beta2, rate2; /* 1 - beta1, beta2, 1 - beta2 */
    float step, root, eps;     /* lr / (1 - beta1^t), sqrt(1 - beta2^t), epsilon */
} adam;

/* Which kernels, how many threads, whose scratch. One for each chain of calls; threads never share one. */
typedef struct nn {
    const struct nn_kernels *kernels;
    int    threads; /* OpenMP threads; 1 without OpenMP */
    arena *work;
} nn;

/* Each entry is the function of nn.h of that name. */
typedef struct nn_kernels {
    const char *name;
    void (*linear)(nn *c, float *y, const float *x, weight W, const float *bias,
                   size_t M, size_t K, size_t N);
    void (*conv2d)(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s);
    void (*attention)(nn *c, float *y, const float *q, const float *k, const float *v,
                      size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal);
    void (*layer_norm)(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                       size_t M, size_t D, float eps);
    void (*group_norm)(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                       size_t B, size_t P, size_t C, size_t G, float eps, bool silu);
    void (*softmax)(nn *c, float *y, const float *x, size_t M, size_t N);
    void (*exponential)(nn *c, float *y, const float *x, size_t n);
    void (*silu)(nn *c, float *y, const float *x, size_t n);
    void (*gelu)(nn *c, float *y, const float *x, size_t n);
    void (*quick_gelu)(nn *c, float *y, const float *x, size_t n);
    void (*geglu)(nn *c, float *y, const float *x, size_t M, size_t D);
    size_t (*packed_size)(size_t N, size_t taps, size_t ci);
    void (*pack)(float *dst, weight W, size_t N, size_t taps, size_t ci);
    void (*sparse_sum)(float *y, const float *x, size_t ld, const uint32_t *idx, const float *val,
                       size_t count, size_t n);
    void (*sparse_dot)(float *out, const float *a, const float *x, size_t ld, const uint32_t *idx,
                       size_t count, size_t n);
    double (*sum_squares)(const float *x, const double *mean, size_t n);
    void (*unit_row)(float *w, size_t n);
    void (*project)(float *g, const float *w, float scale, size_t n);
    void (*adam)(float *p, float *m, float *v, const float *g, float scale, const adam *a, size_t n);
    size_t (*at_least)(uint32_t *idx, float *val, const float *z, size_t n, float bound, uint32_t first);
    size_t (*count_at_least)(const float *z, size_t n, float bound);
    double (*peak)(size_t rounds, float *sink);
    double (*tile)(size_t rounds, const float *a, const float *b, float *sink);
} nn_kernels;

/* The sets of kernels.c that are built in, worst first. */
#if defined(NN_HAVE_SSE2)
#define NN_KERNELS_SSE2(X) X(sse2)
#else
#define NN_KERNELS_SSE2(X)
#endif
#if defined(NN_HAVE_AVX2)
#define NN_KERNELS_AVX2(X) X(avx2)
#else
#define NN_KERNELS_AVX2(X)
#endif
#if defined(NN_HAVE_AVX512)
#define NN_KERNELS_AVX512(X) X(avx512)
#else
#define NN_KERNELS_AVX512(X)
#endif
#if defined(NN_HAVE_NEON)
#define NN_KERNELS_NEON(X) X(neon)
#else
#define NN_KERNELS_NEON(X)
#endif
#if defined(NN_HAVE_SIMD128)
#define NN_KERNELS_SIMD128(X) X(simd128)
#else
#define NN_KERNELS_SIMD128(X)
#endif
#define NN_KERNELS(X)                                                                                        \
    X(scalar) NN_KERNELS_SSE2(X) NN_KERNELS_AVX2(X) NN_KERNELS_AVX512(X) NN_KERNELS_NEON(X)                  \
    NN_KERNELS_SIMD128(X)

#define NN_KERNELS_DECLARE(isa) extern const nn_kernels nn_kernels_##isa;
NN_KERNELS(NN_KERNELS_DECLARE)
#undef NN_KERNELS_DECLARE

#endif
