/* reference.h: the definitions: nn_reference, the set of kernels that all others equal byte for byte, the
 * sums that the contract is made of, and the operations that need no second form. reference.c does nothing
 * else.
 *
 *   docs/contract.md --reference.c--> nn_reference, nn_dot, ... --tests/test_kernels.c--> equal to kernels.c
 *
 * Not here: what the entries of nn_reference compute (nn.h), functions of one number (number.h). Letters:
 * operations.h. */
#ifndef SAEURON_REFERENCE_H
#define SAEURON_REFERENCE_H

#include "arithmetic/operations.h"

extern const nn_kernels nn_reference; /* packs nothing, starts no threads, and its speed is not measured */

/* y[i] = element offset + i of w, i < n, widened exactly (contract 5, "Narrow floats"). */
void   nn_widen(float *y, weight w, size_t offset, size_t n);

/* ---- sums ---- */

/* Sum of a[i*sa] * b[i*sb], i < K, in blocks of 128 (contract 3). */
float  nn_dot(const float *a, size_t sa, const float *b, size_t sb, size_t K);
/* In double and sixteen lanes (contract 4): the sum of x[i], of (x[i] - mean)^2, of doubles x[i]; i < n. */
double nn_sum16(const float *x, size_t n);
double nn_sum16_sq(const float *x, size_t n, double mean);
double nn_sum16_d(const double *x, size_t n);

/* ---- moving and adding; y may be x in the first two; with y NULL they do nothing ---- */

void nn_add(nn *c, float *y, const float *a, const float *b, size_t n);              /* y = a + b */
/* y[b,p,j] = x[b,p,j] + t[b,j]: a time embedding on every pixel. x, y [B,P,C], t [B,C]. */
void nn_add_rows(nn *c, float *y, const float *x, const float *t, size_t B, size_t P, size_t C);
/* y [M,Ca+Cb]: the rows of a [M,Ca] and b [M,Cb] side by side   (torch.cat on channels). */
void nn_concat(nn *c, float *y, const float *a, size_t Ca, const float *b, size_t Cb, size_t M);
/* Nearest neighbour, twice as high and wide, or one less (torch.nn.functional.interpolate). y [B,H,W,C]; x
 * [B,h,w,C], h and w being half of H and W, rounded up. */
void nn_upsample2x(nn *c, float *y, const float *x, size_t B, size_t H, size_t W, size_t C);
/* y [B,P,C] from x [B,C,P] and back, P pixels: the only two functions that know PyTorch's channel-first
 * order. */
void nn_from_nchw(float *y, const float *x, size_t B, size_t C, size_t P);
void nn_to_nchw(float *y, const float *x, size_t B, size_t C, size_t P);
/* Index of the first value that is not finite, or n. */
size_t nn_first_bad(const float *x, size_t n);

/* ---- both ends of the UNet and the VAE ---- */

/* y [dim]: the sinusoid of timestep t   (diffusers.models.embeddings.get_timestep_embedding; contract 5).
 * half = dim/2; f_i = exp(-ln(10000) i / (half - shift)); [cos, sin] when flip_sin_to_cos, else [sin, cos];
 * dim even. */
void nn_timestep_embedding(float *y, float t, size_t dim, bool flip_sin_to_cos, float shift);
/* Pixel of a decoded value: 255 * clamp(x/2 + 1/2, 0, 1), rounded to the nearest, ties to even (contract
 * 5). */
unsigned char nn_pixel(float x);

#endif
