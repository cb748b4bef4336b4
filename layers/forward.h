/* forward.h: layers at work: linear, conv, the ResNet block that UNet and VAE share, the tap at module
 * boundaries, rows by thread.
 *
 *   bound layers (bind.h), x [B,H,W,C] --apply_*, resnet_forward--> y
 *   a network's forward pass --tap--> its caller
 *   a batch --by_rows--> threads, a part of its rows each
 *
 * Not here: binding (bind.h), the arithmetic (arithmetic/nn.h). Source:
 * diffusers.models.resnet.ResnetBlock2D. */
#ifndef SAEURON_FORWARD_H
#define SAEURON_FORWARD_H

#include "layers/bind.h"

/* y [M,out] = x [M,in] W^T + bias   (torch.nn.Linear). */
void apply_linear(nn *c, float *y, const float *x, const linear *l, size_t M);
/* Stride 1, padding k/2: y [B,H,W,co] from x [B,H,W,ci]   (torch.nn.Conv2d). */
void apply_conv(nn *c, float *y, const float *x, const conv *l, size_t B, size_t H, size_t W);

typedef struct resnet {             /* diffusers ResnetBlock2D */
    norm   norm1, norm2;
    conv   conv1, conv2;
    conv   conv_shortcut;           /* k 0: none, because ci == co */
    linear time_emb_proj;           /* out 0: none, as in the VAE */
    size_t groups;
    float  eps;
} resnet;

/* Binds the block's tensors, ci to co channels; time_width 0: it takes no time embedding. */
void bind_resnet(binder *b, resnet *r, size_t ci, size_t co, size_t time_width, size_t groups, float eps);
/* y [B,H,W,co] from x [B,H,W,ci], not the same; silu_temb [1,time_width]: silu of the time embedding, or
 * NULL. */
void resnet_forward(nn *c, const resnet *r, float *y, const float *x, const float *silu_temb,
                    size_t B, size_t H, size_t W);

/* ---- taps ---- */

/* A module's output: name is its path below its network ("down_blocks.0.resnets.1"), x [B,H,W,C] or [B,N,C]
 * (then H = N, W = 1), as kind says (SAEURON_TAP_*); first: the batch's number of x's first row. */
typedef struct module_output {
    const char *name;
    float *x;
    size_t first, B, H, W, C;
    int    kind;
} module_output;

/* fn is called with every module's output. It may change the values in place, and compute on c, as ablations
 * do; while a pass is planned x is NULL, and fn plans what it computes. If it returns not 0, it is not called
 * again in that pass, and the UNet's pass ends there. Threads call it side by side, unless whole: then rows
 * are not taken apart. */
typedef struct tap {
    int  (*fn)(void *user, nn *c, const module_output *o);
    void *user;
    bool  whole;
} tap;

/* A tap, which may be NULL, during one pass over rows. */
typedef struct listener {
    nn *c;
    const tap *tap;
    size_t first;
    int    stop;                    /* what fn returned */
} listener;

/* Shows x, of B rows, to the tap; name as print_into forms it. */
void report(listener *l, float *x, size_t B, size_t H, size_t W, size_t C, int kind, const char *format, ...)
    PRINTS(8, 9);

/* ---- rows by thread ---- */

/* How many rows threads take side by side: as many as threads, if the weights are packed before (bind_file)
 * and no tap wants whole batches; else 1. watch may be NULL. */
size_t rows_apart(const nn *c, bool packed, const tap *watch);

/* Takes rows first..first+rows-1 of a batch through a network, on c. If c's arena has no memory it plans. */
typedef void rows_pass(nn *c, void *job, size_t first, size_t rows);

/* Takes all rows of a batch through a network. If there are as many as rows_apart says, or more, each thread
 * takes a part of them by itself, on its share of c's arena, and they meet once, at the end. Else all share
 * every product, since they share the packing. watch: the pass's tap, or NULL. */
void by_rows(nn *c, bool packed, const tap *watch, size_t rows, rows_pass *pass, void *job);

#endif
