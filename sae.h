/* sae.h: the sparse autoencoder at a hook, at use: TopK or GroupMax encode, and sparse decode.
 *
 *   x [M,d] --sae_encode--> k latents a token --sae_decode_sparse, + b_dec--> its reconstruction [M,d]
 *
 * Not here: its training (train.h), which latents matter (select.h). Source: SAeUron, section 3.1; sparsify's
 * Sae. Letters: d width, n latents, k latents kept a token, M tokens. */
#ifndef SAEURON_SAE_H
#define SAEURON_SAE_H

#include "layers/bind.h"

typedef struct sae {
    size_t d, n, k;
    bool   diff;                    /* trained on the hook's output less its input */
    bool   groupmax;                /* GroupMax: of k groups the largest each; else TopK */
    linear encoder;                 /* W_enc [n,d], b_enc [n] */
    weight W_dec;                   /* [n,d] */
    const float *b_dec;             /* [d] */
    tensors file;
    void  *memory;
    uint64_t digest;                /* of its tensors' bytes, as statistics record it */
} sae;

#define SAE_TOKENS 256              /* encoded at a time: bounds the [tokens,n] pre-activations */

/* Loads DIR/sae.safetensors and DIR/cfg.json, for sae_unload. c not NULL: the encoder is packed for its
 * kernels as well (four bytes a weight). */
int  sae_load(sae *s, const saeuron_host *host, const nn *c, const char *dir, saeuron_error *err);
void sae_unload(sae *s, const saeuron_host *host);
/* The walk of bind.h over its tensors. */
void sae_bind(binder *b, void *s);
/* f, the k largest of relu(W_enc (x - b_dec) + b_enc) a token, or with GroupMax the largest of each of k
 * groups, index ascending. x [M,d]; count [M]: how many of them are above 0, k at most; idx, val [M,k], of
 * which count[m] are set in row m. x NULL: plans (nn.h). */
void sae_encode(nn *c, const sae *s, uint32_t *idx, float *val, uint32_t *count, const float *x, size_t M);
/* The same of one token's z [n], which is changed; idx, val [k]; returns how many. */
uint32_t sae_top_latents(const sae *s, uint32_t *idx, float *val, float *z);
/* z [M,S] = W_enc (x - b_dec) + b_enc of the S latents named, before relu and TopK or GroupMax: the bits of
 * sae_encode. */
void sae_pre_activations(nn *c, const sae *s, float *z, const float *x, size_t M, const uint32_t *latent,
                         size_t S);
/* y [d] = sum over j < count of val[j] W_dec[idx[j],:], by contract 3's sparse rule, without b_dec; idx
 * ascending. row [2d]: scratch. */
void sae_decode_sparse(const sae *s, float *y, const uint32_t *idx, const float *val, size_t count,
                       float *row);

#endif
