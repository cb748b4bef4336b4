/* backward.h: the derivative of every operation of the networks: from a loss's by the output to its by the
 * input, and by weights that are asked for.
 *
 *   dy, and what the forward pass had --NAME_backward--> dx, and of the wanted weights dw
 *
 * dy, dx, ... are the derivatives of one number, the loss, by y, x, ...; each has the shape of what it is the
 * derivative by. Every function writes its outputs, it adds to none. The order of every sum is contract 6,
 * "Derivatives".
 *
 * Planning (arithmetic/nn.h): on an arena without memory all pointers are NULL, and a function accounts for
 * its scratch.
 *
 * Not here: forward passes (arithmetic/nn.h, layers/forward.h), whole networks (unet_backward.h,
 * clip_backward.h).
 * Source: torch.autograd of the PyTorch function that nn.h names for each operation. Letters: operations.h.
 */
#ifndef SAEURON_BACKWARD_H
#define SAEURON_BACKWARD_H

#include "layers/config.h"
#include "layers/forward.h"

/* A tensor of a network whose derivative is asked for: the field that holds it (&conv->w, &norm->gamma), and
 * where the derivative goes, in PyTorch's shape. */
typedef struct wanted { const void *field; float *d; } wanted;

/* Weights as dx needs them, turned and packed, each made at its first use and kept for the passes that
 * follow. TURNED: more layers than any network here has. */
#define TURNED (40 * LEVELS * LAYERS)
typedef struct turned_weights {
    arena *keep;
    size_t count;
    struct { const weight *field; weight w; } at[TURNED];
} turned_weights;

/* A backward pass: what it computes with, what it is asked for; turned: NULL where there is one pass only. */
typedef struct backward { nn *c; const wanted *list; size_t count; turned_weights *turned; } backward;

/* Whether the derivative by the tensor in this field is wanted; then *d is where it goes. */
bool is_wanted(const backward *g, const void *field, float **d);

/* ---- layers, whose weights' derivatives go where they are wanted ---- */

/* Of apply_linear: dx [M,in] from dy [M,out]. x [M,in]. */
void linear_backward(backward *g, float *dx, const float *dy, const float *x, const linear *l, size_t M);
/* Of nn_conv2d with stride 1 or 2 and l's weights: dx [B,H,W,ci] from dy [B,H',W',co]. x [B,H,W,ci]. */
void conv_backward(backward *g, float *dx, const float *dy, const float *x, const conv *l,
                   const conv_shape *s);
/* Of apply_conv. */
void apply_conv_backward(backward *g, float *dx, const float *dy, const float *x, const conv *l, size_t B,
                         size_t H, size_t W);
/* Of nn_layer_norm: dx from dy, both [M,C]. x [M,C]. dx may be dy. */
void layer_norm_backward(backward *g, float *dx, const float *dy, const float *x, const norm *l, size_t M,
                         float eps);
/* Of nn_group_norm: dx from dy, both [B,P,C]. x [B,P,C]. dx may be dy. */
void group_norm_backward(backward *g, float *dx, const float *dy, const float *x, const norm *l, size_t B,
                         size_t P, size_t G, float eps, bool silu);
/* Of resnet_forward: dx [B,H,W,ci] from dy [B,H,W,co], and dtemb [1,time_width] by silu_temb; without a time
 * embedding both are NULL. x [B,H,W,ci]. */
void resnet_backward(backward *g, const resnet *r, float *dx, float *dtemb, const float *dy, const float *x,
                     const float *silu_temb, size_t B, size_t H, size_t W);

/* ---- operations without weights ---- */

/* Of nn_attention, whose output was y: dq from dy, all [B,Nq,heads*head]; dk, dv [B,Nk,heads*head]. */
void attention_backward(nn *c, float *dq, float *dk, float *dv, const float *dy, const float *y,
                        const float *q, const float *k, const float *v, size_t B, size_t Nq, size_t Nk,
                        size_t heads, size_t head, bool causal);
/* Of nn_silu, nn_gelu, nn_quick_gelu: dx from dy, all [n]. dx may be dy. */
void silu_backward(nn *c, float *dx, const float *dy, const float *x, size_t n);
void gelu_backward(nn *c, float *dx, const float *dy, const float *x, size_t n);
void quick_gelu_backward(nn *c, float *dx, const float *dy, const float *x, size_t n);
/* Of nn_geglu: dx [M,2D] from dy [M,D]. x [M,2D]. */
void geglu_backward(nn *c, float *dx, const float *dy, const float *x, size_t M, size_t D);
/* Of nn_concat: da [M,Ca] and db [M,Cb] from dy [M,Ca+Cb]. */
void concat_backward(float *da, size_t Ca, float *db, size_t Cb, const float *dy, size_t M);
/* Of nn_upsample2x: dx [B,h,w,C] from dy [B,H,W,C]. */
void upsample2x_backward(nn *c, float *dx, const float *dy, size_t B, size_t H, size_t W, size_t C);

/* The loss, mean of (e - target)^2, and its derivative by e, de = 2/n (e - target), all [n]. de NULL: 0. */
double denoising_loss(float *de, const float *e, const float *target, size_t n);

/* ---- what a forward pass leaves ---- */

/* Copies of modules' outputs, in memory of its own, since the pass takes back what it works with. */
#define TAPE_OUTPUTS (10 * LEVELS * LAYERS)
typedef struct tape {
    arena *keep;
    size_t count;
    struct { char name[96]; float *x; } output[TAPE_OUTPUTS];
} tape;

/* The fn of a tap that sees whole batches: keeps a copy of a module's output on the tape that is its user. */
int tape_record(void *user, nn *c, const module_output *o);
/* The output of that name, formed as print_into does; NULL while planning. */
float *tape_get(const tape *t, const char *format, ...) PRINTS(2, 3);

#endif
