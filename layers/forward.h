/* forward.h: layers at work: linear, conv, the ResNet block that UNet and VAE share, and the tap at module boundaries.
 * Not here: binding (bind.h), the arithmetic (arithmetic/nn.h). Source: diffusers.models.resnet.ResnetBlock2D. */
#ifndef SAEURON_FORWARD_H
#define SAEURON_FORWARD_H

#include "layers/bind.h"

/* y [M,out] from x [M,in]. */
void apply_linear(nn *c, float *y, const float *x, const linear *l, size_t M);
/* Stride 1 and padding k/2. y [B,H,W,co] from x [B,H,W,ci]. */
void apply_conv(nn *c, float *y, const float *x, const conv *l, size_t B, size_t H, size_t W);

typedef struct resnet {             /* diffusers ResnetBlock2D; time_emb_proj.out == 0 in the VAE */
    norm   norm1, norm2;
    conv   conv1, conv2, conv_shortcut;  /* conv_shortcut.k == 0: none */
    linear time_emb_proj;
    size_t groups;
    float  eps;
} resnet;

/* resnet and its norm-silu-conv pairs, shared with the VAE; temb [1,time_width] after silu, or NULL. y may not be x. */
void resnet_forward(nn *c, const resnet *r, float *y, const float *x, const float *silu_temb, size_t B, size_t H, size_t W);
void bind_resnet(binder *b, resnet *r, size_t ci, size_t co, size_t time_width, size_t groups, float eps);

/* ---- taps and hooks ---- */

/* Called at module boundaries with the module's path below its network ("down_blocks.0.resnets.1") and its output,
 * x [B,H,W,C] or [B,N,C] (then H = N, W = 1), as kind says (SAEURON_TAP_*). The values may be changed in place (that is `--inject`). */
typedef struct tap {
    int  (*fn)(void *user, const char *name, float *x, size_t B, size_t H, size_t W, size_t C, int kind);
    void *user;
    bool  names;                    /* called while planning, too, with x NULL: names and shapes alone */
} tap;

#endif
