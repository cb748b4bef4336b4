/* vit.h: the Vision Transformer that judges pictures: normalised pixels to logits.
 * Not here: folders, resizing, names of classes (classifier.h). Source: timm.models.vision_transformer. */
#ifndef SAEURON_VIT_H
#define SAEURON_VIT_H

#include "layers/config.h"
#include "layers/forward.h"

typedef struct vit_block { norm norm1, norm2; linear qkv, proj, fc1, fc2; } vit_block; /* timm Block */

#define VIT_BLOCKS 64
#define VIT_IMAGES 16               /* pictures at a time: bounds the memory of saeuron_classify */
typedef struct vit {                /* timm VisionTransformer */
    size_t S, patch, D;             /* img_size, patch_size, embed_dim */
    size_t F;                       /* int(embed_dim * mlp_ratio) */
    size_t layers, heads, classes;  /* depth, num_heads, num_classes */
    size_t prefix;                  /* class tokens before the patches: 1, or 0 */
    bool   qkv_bias;
    bool   average;                 /* global_pool is avg, not token */
    bool   fc_norm;                 /* the last norm stands behind the pool */
    float  eps, mean[3], std[3];
    const float *cls_token, *pos_embed; /* [D], [prefix + patches, D] */
    conv   proj;                    /* patch_embed.proj */
    norm   norm;                    /* norm or fc_norm */
    linear head;
    vit_block block[VIT_BLOCKS];
} vit;

/* The sizes that config.json's object says, as timm reads it; anything that would be another network is
 * refused by name. path: for messages. */
int  vit_configure(vit *v, json object, const char *path, saeuron_error *err);
/* Every tensor of the network v by timm's name (layers/bind.h). */
void vit_bind(binder *b, void *v);
/* logits [B,classes] of x [B,S,S,3], normalised pixels (timm VisionTransformer.forward), and what the head is
 * given, features [B,D] (forward_head with pre_logits). features and watch may be NULL. On an arena without
 * memory it plans: x and logits may be NULL then. */
void vit_forward(nn *c, const vit *v, float *logits, float *features, const float *x, size_t B,
                 const tap *watch);

#endif
