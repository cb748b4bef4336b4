/* nn_kernels.h: the table of fast paths. nn_kernels.c is compiled once for each instruction set (-DNN_ISA=name), and
 * each object holds one table, nn_kernels_NAME; nn_init chooses. Equal byte for byte to the loops of nn.c. */
#ifndef SAEURON_NN_KERNELS_H
#define SAEURON_NN_KERNELS_H

#include "arithmetic/nn.h"

/* Every entry is the function of nn.h of that name. */
typedef struct nn_kernels {
    const char *name;
    void (*linear)(nn *c, float *y, const float *x, weight W, const float *bias, size_t M, size_t K, size_t N);
    void (*conv2d)(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s);
    void (*attention)(nn *c, float *y, const float *q, const float *k, const float *v,
                      size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal);
    void (*layer_norm)(nn *c, float *y, const float *x, const float *gamma, const float *beta, size_t M, size_t D, float eps);
    void (*group_norm)(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                       size_t B, size_t P, size_t C, size_t G, float eps, bool silu);
    void (*softmax)(nn *c, float *y, const float *x, size_t M, size_t N);
    void (*silu)(nn *c, float *y, const float *x, size_t n);
    void (*gelu)(nn *c, float *y, const float *x, size_t n);
    void (*quick_gelu)(nn *c, float *y, const float *x, size_t n);
    void (*geglu)(nn *c, float *y, const float *x, size_t M, size_t D);
    /* Floats that all of W [N,ci,taps] takes as this set's panels, and the packing itself: weight.packed. */
    size_t (*packed_size)(size_t N, size_t taps, size_t ci);
    void (*pack)(float *dst, weight W, size_t N, size_t taps, size_t ci);
    void (*sparse_sum)(float *y, const float *x, size_t ld, const uint32_t *idx, const float *val, size_t count, size_t n);
    void (*sparse_dot)(float *out, const float *a, const float *x, size_t ld, const uint32_t *idx, size_t count, size_t n);
    double (*sum_squares)(const float *x, const double *mean, size_t n);
    void (*unit_row)(float *w, size_t n);
    void (*project)(float *g, const float *w, float scale, size_t n);
    void (*adam)(float *p, float *m, float *v, const float *g, float scale, const adam *a, size_t n);
    size_t (*at_least)(uint32_t *idx, float *val, const float *z, size_t n, float least, uint32_t first);
    size_t (*count_at_least)(const float *z, size_t n, float least);
    /* For nn_bench_*: n rounds of multiply-adds, in registers alone (sink [33]) and of the register tile
     * (a, b [2048 * 32], sink [12 * 32]). Return how many multiply-adds that was. */
    double (*peak)(size_t n, float *sink);
    double (*tile)(size_t n, const float *a, const float *b, float *sink);
} nn_kernels;

/* Those built in, worst first. */
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
#define NN_KERNELS(X) X(scalar) NN_KERNELS_SSE2(X) NN_KERNELS_AVX2(X) NN_KERNELS_AVX512(X) NN_KERNELS_NEON(X)

#define NN_KERNELS_DECLARE(isa) extern const nn_kernels nn_kernels_##isa;
NN_KERNELS(NN_KERNELS_DECLARE)
#undef NN_KERNELS_DECLARE

#endif
