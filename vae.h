/* vae.h: the VAE: latents to pixels, and pixels to latents.
 * Not here: PNG (files/png.h). Source: diffusers AutoencoderKL. */
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
    size_t latent_channels, image_channels, levels, layers, groups, channels[LEVELS]; /* layers_per_block; the decoder has one more */
    float  scaling_factor, shift_factor;
    bool   quant, post_quant, mid_attention;
    bool   has_encoder;             /* a file may hold the decoder alone; encoder and quant_conv are then empty */
    vae_half encoder, decoder;
    conv   quant_conv, post_quant_conv;
} vae;

int  vae_configure(vae *v, json object, const char *path, saeuron_error *err);
void vae_bind(binder *b, void *v);
/* s = 2^(levels-1): an image's side divided by its latents'. */
size_t vae_scale(const vae *v);
/* y [B,H*s,W*s,3] = AutoencoderKL.decode(z / scaling_factor + shift_factor), z [B,H,W,latent], s = vae_scale. */
void vae_decode(nn *c, const vae *v, float *y, const float *z, size_t B, size_t H, size_t W, const tap *watch);
/* x [n] = byte / 127.5 - 1 of rgb [n], which is VaeImageProcessor.preprocess' 2 (byte / 255) - 1 to the bit. */
void vae_pixels(float *x, const unsigned char *rgb, size_t n);
/* y [B,H/s,W/s,2*latent] = AutoencoderKL.encode(x).latent_dist: mean, then logvar, clamped; x [B,H,W,3], H and W multiples of s.
 * Only if v->has_encoder. */
void vae_encode(nn *c, const vae *v, float *y, const float *x, size_t B, size_t H, size_t W, const tap *watch);
/* z [n] = (mean - shift_factor) scaling_factor: the distribution's mode as the UNet knows latents; the inverse of decode's scaling. */
void vae_latents(const vae *v, float *z, const float *mean, size_t n);

#endif
