/* vae.h: the VAE: latents to pixels, and pixels to latents.
 *
 *   latents --vae_decode--> image in [-1,1]
 *   bytes --vae_pixels--> image in [-1,1] --vae_encode--> moments --vae_latents--> latents
 *
 * Not here: PNG (files/png.h), drawing from the moments. Source: diffusers AutoencoderKL. */
#ifndef SAEURON_VAE_H
#define SAEURON_VAE_H

#include "layers/config.h"
#include "layers/forward.h"

typedef struct vae_attention { norm group_norm; linear to_q, to_k, to_v, to_out; } vae_attention;
typedef struct vae_level {          /* DownEncoderBlock2D or UpDecoderBlock2D */
    resnet resnets[LAYERS];
    conv   sampler;                 /* downsamplers.0.conv or upsamplers.0.conv; k == 0: none */
} vae_level;

typedef struct vae_half {           /* Encoder or Decoder */
    conv   conv_in, conv_out;
    norm   conv_norm_out;
    resnet mid_resnet[2];
    vae_attention mid;
    vae_level level[LEVELS];        /* down_blocks or up_blocks */
} vae_half;

typedef struct vae {
    size_t latent_channels, levels, groups, channels[LEVELS];
    size_t layers;                  /* layers_per_block; a level of the decoder has one more */
    float  scaling_factor;
    bool   quant, post_quant, mid_attention;
    bool   has_encoder;             /* else the file holds the decoder alone; encoder, quant_conv are empty */
    vae_half encoder, decoder;
    conv   quant_conv, post_quant_conv;
} vae;

/* Reads a config.json's object; an option that is not supported is refused. path: for messages. */
int  vae_configure(vae *v, json object, const char *path, saeuron_error *err);
/* The walk of bind.h over all tensors. */
void vae_bind(binder *b, void *v);
/* s = 2^(levels-1): an image's side divided by its latents'. */
size_t vae_scale(const vae *v);
/* y [B,sH,sW,3] = AutoencoderKL.decode(z / scaling_factor), z [B,H,W,latent_channels], s = vae_scale.
 * y NULL: plans (nn.h). watch (may be NULL) sees each block's output. */
void vae_decode(nn *c, const vae *v, float *y, const float *z, size_t B, size_t H, size_t W,
                const tap *watch);
/* x [n] = rgb / 127.5 - 1: the bits of VaeImageProcessor.preprocess, 2 (rgb / 255) - 1. */
void vae_pixels(float *x, const unsigned char *rgb, size_t n);
/* y [B,H/s,W/s,2 latent_channels] = AutoencoderKL.encode(x).latent_dist: mean, then logvar, clamped; x
 * [B,H,W,3], H and W multiples of s. Only if has_encoder. y NULL: plans. */
void vae_encode(nn *c, const vae *v, float *y, const float *x, size_t B, size_t H, size_t W,
                const tap *watch);
/* z [n] = mean scaling_factor: the mode of the distribution, scaled as the UNet's latents. */
void vae_latents(const vae *v, float *z, const float *mean, size_t n);

#endif
