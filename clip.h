/* clip.h: the CLIP text encoder: ids to text states.
 * Not here: ids from text (tokenizer.h). Source: transformers.CLIPTextModel. */
#ifndef SAEURON_CLIP_H
#define SAEURON_CLIP_H

#include "layers/forward.h"

enum { ACT_QUICK_GELU, ACT_GELU };

typedef struct clip_layer {
    norm   layer_norm1, layer_norm2;
    linear q_proj, k_proj, v_proj, out_proj, fc1, fc2;
} clip_layer;

#define CLIP_LAYERS 48
typedef struct clip {
    /* vocab_size, max_position_embeddings, hidden_size, intermediate_size */
    size_t vocab, positions, D, F, layers, heads;
    float  eps;
    int    act;
    bool   prefixed;                /* tensors begin with "text_model." */
    weight token_embedding, position_embedding;
    clip_layer layer[CLIP_LAYERS];
    norm   final_layer_norm;
} clip;

int  clip_configure(clip *t, json object, const char *path, saeuron_error *err);
void clip_bind(binder *b, void *t);
/* y [B,N,D]: last_hidden_state of ids [B,N] (transformers.CLIPTextModel). ids are checked against vocab by
 * the caller. */
void clip_forward(nn *c, const clip *t, float *y, const int32_t *ids, size_t B, size_t N, const tap *watch);

#endif
