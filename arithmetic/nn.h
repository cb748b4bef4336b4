/* nn.h: the arithmetic of every network here: each operation with its equation, shapes and PyTorch function.
 *
 *   weights (files/tensors.h) --views--> linear, conv2d, norms, attention <--activations-- the networks
 *
 * Every operation here has two forms: reference.c defines it, kernels.c computes it fast with the same bytes;
 * nn.c hands on to the set that nn_init chose. Operations with one form stand in reference.h and order.h.
 * docs/contract.md fixes the bits. Not here: networks, files. Letters: operations.h.
 *
 * Planning. An nn whose arena has no memory only measures: arena_floats returns NULL, and an operation whose
 * output is NULL accounts for its scratch and returns. So the code that runs a network is also the code that
 * plans it. */
#ifndef SAEURON_NN_H
#define SAEURON_NN_H

#include "arithmetic/order.h"
#include "arithmetic/reference.h"

#define SAEURON_CONTRACT_VERSION 1 /* docs/contract.md; counts every change of output bits */

/* ---- context ---- */

/* Chooses kernels: isa "reference", "scalar", "sse2", "avx2", "avx512", "neon", "simd128", or NULL for the
 * best that this CPU runs. false when isa is unknown, not built in, or not runnable here; c then has the
 * reference. */
bool nn_init(nn *c, const char *isa, int threads, arena *work);
const char *nn_isa_name(const nn *c);
const char *nn_isa_list(void); /* the names that are built in, separated by commas, best last */
/* true when this thread rounds to nearest even and keeps subnormals (contract 1). Every public entry asks. */
bool nn_environment_ok(void);
/* The same for every thread of an OpenMP team of so many. The pool's threads keep the settings they were
 * started under, whatever the caller has restored since; and the pool may be the host program's. */
bool nn_team_environment_ok(int threads);

/* ---- products (contract 3) ---- */

/* y[i,j] = dot(x[i,:], W[j,:]) + bias[j]                                   (torch.nn.Linear)
 * x [M,K], W [N,K], bias [N] or NULL, y [M,N], y not overlapping x. */
void nn_linear(nn *c, float *y, const float *x, weight W, const float *bias, size_t M, size_t K, size_t N);

/* y = conv2d(x, W) + bias, k running over (ky, kx, ci), padding computed as +0          (torch.nn.Conv2d)
 * x [B,H,W,ci], W [co,ci,k,k], bias [co] or NULL, y [B,H',W',co]; H', W': conv_out. */
void nn_conv2d(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s);

/* softmax(q k^T / sqrt(head)) v by heads, head h in columns [h*head, (h+1)*head)
 *                                                    (torch.nn.functional.scaled_dot_product_attention)
 * q, y [B,Nq,heads*head]; k, v [B,Nk,heads*head]; causal: row i sees keys 0..i (needs Nq == Nk).
 * Scores are held for a block of queries at a time, never for all. */
void nn_attention(nn *c, float *y, const float *q, const float *k, const float *v,
                  size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal);

/* Weights that are used often are packed once, as c's kernels read them: dst, of nn_packed_size floats,
 * becomes W.packed, W being [N,ci,taps] (taps 1 for a linear layer, k*k for a convolution). 0 floats for the
 * reference. */
size_t nn_packed_size(const nn *c, size_t N, size_t taps, size_t ci);
void   nn_pack(const nn *c, float *dst, weight W, size_t N, size_t taps, size_t ci);

/* ---- norms (contract 4); x, y of one shape, may be the same ---- */

/* y = (x - mean) / sqrt(var + eps) * gamma + beta, each row      (torch.nn.LayerNorm) x [M,D], gamma, beta
 * [D]. */
void nn_layer_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                   size_t M, size_t D, float eps);
/* The same over each of G groups of C/G channels and all P pixels (torch.nn.GroupNorm), then silu if asked.
 * x [B,P,C], gamma, beta [C]. */
void nn_group_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                   size_t B, size_t P, size_t C, size_t G, float eps, bool silu);
/* y = exp(x - max) / sum, each row     (torch.softmax; attention has its own) x [M,N]. */
void nn_softmax(nn *c, float *y, const float *x, size_t M, size_t N);

/* ---- element by element (contract 5); y may be x ---- */

void nn_exp(nn *c, float *y, const float *x, size_t n);        /* e^x                        torch.exp */
void nn_silu(nn *c, float *y, const float *x, size_t n);       /* x / (1 + exp(-x))         torch.nn.SiLU */
void nn_gelu(nn *c, float *y, const float *x, size_t n);       /* x/2 (1 + erf(x / sqrt 2)) torch.nn.GELU */
void nn_quick_gelu(nn *c, float *y, const float *x, size_t n); /* x / (1 + exp(-1.702 x))   transformers */
/* y[i,j] = x[i,j] * gelu(x[i,D+j])     (diffusers.models.activations.GEGLU) x [M,2D], y [M,D], not the
 * same. */
void nn_geglu(nn *c, float *y, const float *x, size_t M, size_t D);

/* ---- training (contract 6): of one row or a few, on the caller's thread ---- */

/* y[j] = sum over k < count of val[k] x[idx[k] ld + j], j < n, by contract 3, only these terms counted.
 * idx NULL: 0, 1, ...; val NULL: all 1. */
void nn_sparse_sum(const nn *c, float *y, const float *x, size_t ld, const uint32_t *idx, const float *val,
                   size_t count, size_t n);
/* out[k] = dot16(a, x + idx[k] ld), k < count; a and each row of x [n]. */
void nn_sparse_dot(const nn *c, float *out, const float *a, const float *x, size_t ld, const uint32_t *idx,
                   size_t count, size_t n);
/* Sum of (x[j] - mean[j])^2, in double and sixteen lanes (contract 4's sum16); mean NULL: zeros. */
double nn_sum_squares(const nn *c, const float *x, const double *mean, size_t n);
/* w = w / (|w| + 2^-23), |w| a float. w [n]. */
void nn_unit_row(const nn *c, float *w, size_t n);
/* g = scale g, then less its part along w: g = g - dot16(g, w) w, fused. g, w [n]. */
void nn_project(const nn *c, float *g, const float *w, float scale, size_t n);
/* A step of Adam on p [n], with moments m and v, from the gradient scale * g. */
void nn_adam(const nn *c, float *p, float *m, float *v, const float *g, float scale, const adam *a, size_t n);
/* The values of z [n] that are bound or more, in order, to val, and first + their indices to idx. Returns how
 * many. A NaN is not among them. */
size_t nn_at_least(const nn *c, uint32_t *idx, float *val, const float *z, size_t n, float bound,
                   uint32_t first);
size_t nn_count_at_least(const nn *c, const float *z, size_t n, float bound); /* the same, counted only */

/* ---- for program/bench.c to time; both return how many multiply-adds they did, 0 for the reference ---- */

/* Independent chains of fma in registers; sink [64]. */
double nn_peak(const nn *c, size_t rounds, float *sink);
/* The kernels' register tile, operands in cache: a, b [2048 * 32], sink [12 * 32]. */
double nn_tile(const nn *c, size_t rounds, const float *a, const float *b, float *sink);

#endif
