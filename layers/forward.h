/* forward.h: layers at work: linear, conv, the ResNet block that UNet and VAE share, and the tap at module
 * boundaries.
 *
 *   bound layers (bind.h), x [B,H,W,C] --apply_*, resnet_forward--> y
 *   a network's forward pass --tap--> its caller
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

/* fn is called at module boundaries with the module's path below its network ("down_blocks.0.resnets.1") and
 * its output, x [B,H,W,C] or [B,N,C] (then H = N, W = 1), as kind says (SAEURON_TAP_*). It may change the
 * values in place. If it returns not 0, the UNet's pass ends there. */
typedef struct tap {
    int  (*fn)(void *user, const char *name, float *x, size_t B, size_t H, size_t W, size_t C, int kind);
    void *user;
    bool  names;                    /* called while planning, too, with x NULL: names and shapes alone */
} tap;

#endif
