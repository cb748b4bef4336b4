/* gradient.h: the derivative of the denoising loss at one timestep: of one prompt, by whatever is named.
 *
 *   prompt --clip_forward--> text --unet_forward, hooks ablated--> e --loss--> mean (e - target)^2
 *   what is named <--clip_backward-- <--unet_backward-- derivative by e <-----------'
 *
 * Not here: one operation's derivative (backward.h), the files (program/command_gradient.c).
 * Source: the loss that a diffusion model is trained on (arXiv 2006.11239, equation 14), without guidance. */
#ifndef SAEURON_GRADIENT_H
#define SAEURON_GRADIENT_H

#include "context.h"

typedef struct gradient_options {
    const char  *prompt;
    const int32_t *ids;             /* [N], of tokenizer_encode, instead of the prompt; or NULL */
    int          timestep;          /* 0 to 999 */
    uint64_t     seed;              /* of the noise (torch.randn) */
    size_t       h, w;              /* sides of the latents */
    const float *latents, *target;  /* [1,C,h,w]; NULL: the noise */
    /* "text" (states [1,N,D]), "latents" ([1,C,h,w], the target held still), "tokens" (the embeddings that
     * the text encoder begins with, [1,N,D]), or a tensor's name, of the UNet or the text encoder. */
    const char  *of;
    bool         around;            /* past the edit at a hook, as if it were added without a derivative */
    bool         map_steps;         /* saeuron_generate_options' */
    int          residual, shared;
} gradient_options;

/* The derivative's shape. SAEURON_EUSAGE: there is no such tensor. */
int gradient_shape(const saeuron_context *ctx, const gradient_options *o, size_t shape[TENSOR_DIMS],
                   int *ndim, saeuron_error *err);
/* d, of that shape and the caller's, and the loss. What is forgotten, steered or reconstructed is so at its
 * hooks. Errors: SAEURON_EUSAGE for an option outside its range or a hook without this timestep,
 * SAEURON_ENAN, SAEURON_ENOMEM. */
int gradient(saeuron_context *ctx, const gradient_options *o, float *d, double *loss, saeuron_error *err);

/* The same for passes one after another, at the same hooks: planned, allocated, and weights turned, once. The
 * sides and `of` are those that gradient_open was given; everything else may differ from pass to pass. *w is
 * the caller's: gradient_close (NULL is fine). Whether a file was written to meanwhile is the caller's to ask
 * (context_unchanged). */
typedef struct gradients gradients;
int  gradient_open(gradients **w, saeuron_context *ctx, const gradient_options *o, saeuron_error *err);
int  gradient_next(gradients *w, const gradient_options *o, float *d, double *loss, saeuron_error *err);
void gradient_close(gradients *w);

/* Bytes that `gradient` allocates by the token embeddings, in one block, for latents of these sides. */
int gradient_memory(saeuron_context *ctx, size_t h, size_t w, size_t *bytes, saeuron_error *err);

#endif
