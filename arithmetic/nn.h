/* nn.h: the arithmetic of every network here: each operation with its equation, shapes and PyTorch function.
 *
 *   weights (files/tensors.h) --views--> linear, conv2d, norms, attention <--activations-- clip.c, unet.c, vae.c, sae.c
 *
 * nn.c chooses the kernels and hands on; reference.c defines every operation; docs/contract.md fixes the bits.
 * Not here: networks, files. Letters: operations.h.
 *
 * Planning. An nn whose arena has no memory only measures: arena_floats returns NULL, and an operation whose output
 * is NULL accounts for its scratch and returns. So the code that runs a network is also the code that plans it. */
#ifndef SAEURON_NN_H
#define SAEURON_NN_H

#include "arithmetic/operations.h"

#define SAEURON_CONTRACT_VERSION 1 /* docs/contract.md; counts every change of output bits */

/* ---- context ---- */

/* Chooses kernels: isa "scalar", "sse2", "avx2", "avx512", "neon", or NULL for the best that this CPU runs.
 * false when isa is unknown, not built in, or not runnable here. */
bool nn_init(nn *c, const char *isa, int threads, arena *work);
const char *nn_isa_name(const nn *c);
/* Comma-separated names of the kernels built in, best last. */
const char *nn_isa_list(void);
/* true when this thread rounds to nearest even and keeps subnormals (contract 1). Checked by every public entry. */
bool nn_environment_ok(void);
/* The same of every thread of an OpenMP team of so many. A pool's threads keep the settings they were started under, whatever
 * their caller has restored since; and the pool may be the host program's. */
bool nn_team_environment_ok(int threads);

/* y[i] = element offset + i of w, i < n, widened exactly. */
void   nn_widen(float *y, weight w, size_t offset, size_t n);

/* ---- dot products (contract 3) ---- */

/* The definition: sum of a[i*sa] * b[i*sb], i < K. */
float nn_dot(const float *a, size_t sa, const float *b, size_t sb, size_t K);

/* y[i,j] = dot(x[i,:], W[j,:]) + bias[j]                                   (torch.nn.Linear)
 * x [M,K], W [N,K], bias [N] or NULL, y [M,N], y not overlapping x. */
void nn_linear(nn *c, float *y, const float *x, weight W, const float *bias, size_t M, size_t K, size_t N);

/* Output height or width: (n + pad_before + pad_after - k) / stride + 1. */
size_t conv_out(const conv_shape *s, size_t n);
/* y = conv2d(x, W) + bias, k running over (ky, kx, ci), padding executed as +0          (torch.nn.Conv2d)
 * x [B,H,W,ci], W [co,ci,k,k], bias [co] or NULL, y [B,H',W',co]. */
void nn_conv2d(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s);

/* softmax(q k^T / sqrt(head)) v by heads, head h in columns [h*head, (h+1)*head)
 *                                                    (torch.nn.functional.scaled_dot_product_attention)
 * q, y [B,Nq,heads*head]; k, v [B,Nk,heads*head]; causal: row i sees keys 0..i (needs Nq == Nk). Contract 4.
 * Scores are held for a block of queries at a time, never for all. */
void nn_attention(nn *c, float *y, const float *q, const float *k, const float *v,
                  size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal);

/* ---- norms and sums (contract 4) ---- */

double nn_sum16(const float *x, size_t n);                     /* sum of x[i], sixteen lanes */
double nn_sum16_sq(const float *x, size_t n, double mean);     /* sum of (x[i] - mean)^2 */
double nn_sum16_d(const double *x, size_t n);                  /* the same of doubles */
/* y = (x - mean) / sqrt(var + eps) * gamma + beta a row      (torch.nn.LayerNorm) x, y [M,D], may be the same. */
void nn_layer_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta, size_t M, size_t D, float eps);
/* The same over each of G groups of C/G channels and all P pixels (torch.nn.GroupNorm), then silu if asked.
 * x, y [B,P,C], may be the same. */
void nn_group_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                   size_t B, size_t P, size_t C, size_t G, float eps, bool silu);
/* y = exp(x - max) / sum a row (contract 4, "other softmax"). x, y [M,N], may be the same. */
void nn_softmax(nn *c, float *y, const float *x, size_t M, size_t N);

/* ---- element by element; y may be x ---- */

void nn_silu(nn *c, float *y, const float *x, size_t n);
void nn_gelu(nn *c, float *y, const float *x, size_t n);
void nn_quick_gelu(nn *c, float *y, const float *x, size_t n);
/* y[i,j] = x[i,j] * gelu(x[i,D+j])     (diffusers.models.activations.GEGLU) x [M,2D], y [M,D], not the same. */
void nn_geglu(nn *c, float *y, const float *x, size_t M, size_t D);
void nn_add(nn *c, float *y, const float *a, const float *b, size_t n);              /* y = a + b */
/* y[b,p,j] = x[b,p,j] + t[b,j]: a time embedding on every pixel. x, y [B,P,C], t [B,C]. */
void nn_add_rows(nn *c, float *y, const float *x, const float *t, size_t B, size_t P, size_t C);
/* y [M,Ca+Cb]: the rows of a [M,Ca] and b [M,Cb] side by side   (torch.cat on channels). */
void nn_concat(nn *c, float *y, const float *a, size_t Ca, const float *b, size_t Cb, size_t M);
/* Nearest neighbour, twice as high and wide (torch.nn.functional.interpolate). x [B,H,W,C], y [B,2H,2W,C]. */
void nn_upsample2x(nn *c, float *y, const float *x, size_t B, size_t H, size_t W, size_t C);
/* y [B,HW,C] from x [B,C,HW] and back: the only two places where PyTorch's channel-first order exists. */
void nn_from_nchw(float *y, const float *x, size_t B, size_t C, size_t P);
void nn_to_nchw(float *y, const float *x, size_t B, size_t C, size_t P);
/* Index of the first value that is not finite, or n. */
size_t nn_first_bad(const float *x, size_t n);

/* y [dim]: the sinusoid of timestep t   (diffusers.models.embeddings.get_timestep_embedding; contract 5).
 * half = dim/2; f_i = exp(-ln(10000) i / (half - shift)); [cos, sin] when flip, else [sin, cos]; dim even. */
void nn_timestep_embedding(float *y, float t, size_t dim, bool flip_sin_to_cos, float shift);

/* Pixel of a decoded value: round to even of 255 * clamp(x/2 + 1/2, 0, 1). */
unsigned char nn_pixel(float x);

/* ---- order (contract 5, "Sorting and TopK") ---- */

/* The k largest of z[0..n), value then lower index first; index ascending in idx, values in val.
 * Returns how many: k or n, whichever is less. */
size_t nn_topk(uint32_t *idx, float *val, const float *z, size_t n, size_t k);
/* Quantile of x [n] at q in [0,1], linear, in double (contract 5); scratch [n]. */
double nn_quantile(const float *x, size_t n, double q, float *scratch);

/* ---- training (contract 3 and 6): of one row or a few, on the caller's thread ---- */

/* y[j] = sum over k < count of val[k] x[idx[k] ld + j], j < n, by contract 3's sparse rule; idx NULL: 0, 1, ...; val NULL: all 1. */
void nn_sparse_sum(const nn *c, float *y, const float *x, size_t ld, const uint32_t *idx, const float *val, size_t count, size_t n);
/* out[k] = dot16(a, x + idx[k] ld), a and each row [n]: sixteen chains of fma, contract 6. */
void nn_sparse_dot(const nn *c, float *out, const float *a, const float *x, size_t ld, const uint32_t *idx, size_t count, size_t n);
/* sum16 of (x[j] - mean[j])^2 in double; mean NULL: zeros. */
double nn_sum_squares(const nn *c, const float *x, const double *mean, size_t n);
/* w = w / (|w| + eps of float), |w| a float. w [n]. */
void nn_unit_row(const nn *c, float *w, size_t n);
/* g = scale g, then less its part along w: g = g - dot16(g, w) w, fused. g, w [n]. */
void nn_project(const nn *c, float *g, const float *w, float scale, size_t n);
/* A step of Adam on p [n], with moments m and v, from gradient scale g. */
void nn_adam(const nn *c, float *p, float *m, float *v, const float *g, float scale, const adam *a, size_t n);
/* Those of z [n] that are `least` or more, and where (first + i), in order; returns how many. A NaN is not among them. */
size_t nn_at_least(const nn *c, uint32_t *idx, float *val, const float *z, size_t n, float least, uint32_t first);
size_t nn_count_at_least(const nn *c, const float *z, size_t n, float least);

#endif
