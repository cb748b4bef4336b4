/* clip.h: the CLIP text encoder: ids to text states.
 *
 *   ids [B,N] --clip_forward--> last_hidden_state [B,N,D] --> unet_text
 *
 * Not here: ids from text (tokenizer.h). Source: transformers.CLIPTextModel. */
#ifndef SAEURON_CLIP_H
#define SAEURON_CLIP_H

#include "layers/forward.h"

enum { ACT_QUICK_GELU, ACT_GELU };

typedef struct clip_layer {
    norm   layer_norm1, layer_norm2;
    linear q_proj, k_proj, v_proj, out_proj, fc1, fc2;
} clip_layer;

#define CLIP_LAYERS 48 /* at most */
typedef struct clip {
    size_t vocab, positions;        /* vocab_size, max_position_embeddings */
    /* hidden_size, intermediate_size, num_hidden_layers, num_attention_heads */
    size_t D, F, layers, heads;
    float  eps;
    int    act;                     /* ACT_* */
    weight token_embedding, position_embedding;
    clip_layer layer[CLIP_LAYERS];
    norm   final_layer_norm;
} clip;

/* Reads a config.json's object; a key with another meaning here is refused. path: for messages. */
int  clip_configure(clip *t, json object, const char *path, saeuron_error *err);
/* The walk of bind.h over all tensors. */
void clip_bind(binder *b, void *t);
/* y [B,N,D] = token_embedding[ids] + position_embedding   (CLIPTextEmbeddings.forward); row [D]: scratch. y
 * NULL: does nothing. */
void clip_embed(const clip *t, float *y, float *row, const int32_t *ids, size_t B, size_t N);
/* y [B,N,D] = last_hidden_state of ids [B,N], each below vocab (CLIPTextModel.forward). y NULL: plans (nn.h).
 * watch (may be NULL) sees each layer's output; its return stops the layers. */
void clip_forward(nn *c, const clip *t, float *y, const int32_t *ids, size_t B, size_t N, const tap *watch);

#endif
