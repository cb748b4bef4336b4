/* sae.h: the sparse autoencoder at a hook, at use: TopK encode and sparse decode.
 * Not here: its training (train.h), which latents matter (select.h). Source: SAeUron, section 3.1; sparsify's
 * Sae. */
#ifndef SAEURON_SAE_H
#define SAEURON_SAE_H

#include "layers/bind.h"

typedef struct sae {
    size_t d, n, k;
    linear encoder;
    weight W_dec;
    const float *b_dec;
    tensors file;
    void  *memory;
    uint64_t digest;                /* of its tensors, as statistics record it */
} sae;

#define SAE_TOKENS 256              /* encoded at a time: bounds the [tokens,n] pre-activations */

/* c not NULL: the encoder is packed for its kernels as well (four bytes a weight). */
int  sae_load(sae *s, const saeuron_host *host, const nn *c, const char *dir, saeuron_error *err);
void sae_unload(sae *s, const saeuron_host *host);
void sae_bind(binder *b, void *s);
/* f, the k largest of relu(W_enc (x - b_dec) + b_enc) a token, index ascending. x [M,d]; idx, val [M,k], zero
 * values (index 0) where fewer than k are positive at the row's end; count [M]. */
void sae_encode(nn *c, const sae *s, uint32_t *idx, float *val, uint32_t *count, const float *x, size_t M);
/* relu(z), then its k largest that are above 0, index ascending. z [n], changed; idx, val [k]; returns how
 * many. */
uint32_t sae_top_latents(const sae *s, uint32_t *idx, float *val, float *z);
/* z [M,S] = W_enc (x - b_dec) + b_enc of the S latents named alone, before relu and TopK: sae_encode's own
 * bits. */
void sae_pre_activations(nn *c, const sae *s, float *z, const float *x, size_t M, const uint32_t *latent,
                         size_t S);
/* y [d] = sum over j < count of val[j] W_dec[idx[j],:], by contract 3's sparse rule; idx ascending. Without
 * b_dec. */
void sae_decode_sparse(const sae *s, float *y, const uint32_t *idx, const float *val, size_t count,
                       float *row);

#endif
