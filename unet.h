/* unet.h: the UNet: latents, timestep and text states to predicted noise; its attentions are the hooks.
 *
 *   text states --unet_text, once--> keys, values --+
 *   latents, timestep --------------------------------+--unet_forward, step by step--> noise
 *
 * Not here: what happens at a hook (saeuron.c, select.h). Source: diffusers UNet2DConditionModel. */
#ifndef SAEURON_UNET_H
#define SAEURON_UNET_H

#include "layers/config.h"
#include "layers/forward.h"

typedef struct attention {          /* diffusers Attention */
    linear to_q, to_k, to_v, to_out;
    size_t heads;
    size_t text;                    /* cross-attention: its number in text_kv, counted from 1; else 0 */
} attention;

typedef struct transformer {        /* diffusers Transformer2DModel with one BasicTransformerBlock */
    norm   norm, norm1, norm2, norm3;
    conv   proj_in, proj_out;
    linear ff_in, ff_out;           /* ff.net.0.proj, ff.net.2 */
    attention attn1, attn2;
    size_t C, groups;
} transformer;

typedef struct unet_level {         /* one of down_blocks or up_blocks */
    bool   cross;                   /* has attentions */
    size_t layers;
    resnet resnets[LAYERS];
    transformer attentions[LAYERS];
    conv   sampler;                 /* downsamplers.0.conv or upsamplers.0.conv; k == 0: none */
} unet_level;

typedef struct unet {
    size_t in_channels, out_channels, sample_size, levels, layers, groups, text_width, time_width;
    size_t channels[LEVELS], heads[LEVELS];
    bool   cross_down[LEVELS], cross_up[LEVELS];
    bool   flip_sin_to_cos;
    float  freq_shift, eps;
    size_t texts;                   /* number of cross-attentions */
    linear time_1, time_2;
    conv   conv_in, conv_out;
    norm   conv_norm_out;
    unet_level down[LEVELS], up[LEVELS];
    resnet mid_resnet[2];
    transformer mid_attention;
} unet;

/* Keys and values of the text for every cross-attention: the same at every step, so made once. */
#define UNET_TEXTS (2 * LEVELS * LAYERS)
typedef struct text_kv { float *k[UNET_TEXTS], *v[UNET_TEXTS]; size_t N; } text_kv;

/* Reads a config.json's object; an option that is not supported is refused. path: for messages. */
int  unet_configure(unet *u, json object, const char *path, saeuron_error *err);
/* The walk of bind.h over all tensors. */
void unet_bind(binder *b, void *u);
/* Fills kv from text [B,N,text_width]. Its memory is c->work's and stays until the caller releases it. */
void unet_text(nn *c, const unet *u, text_kv *kv, const float *text, size_t B, size_t N);
/* y [B,H,W,out_channels] = the noise (or velocity) predicted for x [B,H,W,in_channels] at timestep t
 * (UNet2DConditionModel.forward). H and W are multiples of 2^(levels-1). y NULL: plans (nn.h). Rows
 * are taken by_rows, if the weights are packed. watch (may be NULL) sees every module's output, the hooks'
 * among them; if it returns anything but 0, its part of the pass ends, and that is returned. */
int  unet_forward(nn *c, const unet *u, float *y, const float *x, float t, const text_kv *kv,
                  size_t B, size_t H, size_t W, const tap *watch);
/* hook without a leading "unet.", as "up_blocks.1.attentions.2": inside hook. */
const char *unet_bare_hook(const char *hook);
/* Width of the activation at a hook, with or without "unet." before it; 0: there is no such hook.
 * *level (may be NULL): how often the latents are halved there. */
size_t unet_hook_width(const unet *u, const char *hook, size_t *level);
/* The side of the maps at a level, of latents of that side: halved level times, rounded up each time. */
size_t unet_side(size_t side, size_t level);
/* Hook number 0, 1, ... in the order of the tensors, into out; false past the last. */
bool unet_hook_name(const unet *u, size_t number, char *out, size_t size);

#endif
