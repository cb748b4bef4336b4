/* saeuron.h: SAeUron (arXiv 2501.18052) as a library: generate with Stable Diffusion, forget concepts while sampling.
 *
 *   saeuron_open --> saeuron_forget, saeuron_steer, saeuron_reconstruct (as often as wanted) --> saeuron_generate --> pixels        saeuron_close
 *
 * No function here prints, exits or keeps global state. Two contexts may be used by two threads at once; one context
 * by one thread at a time. Every function returns SAEURON_OK or an error code and, if err is given, one line for a person.
 * After an error the context can be used again. Bits: docs/contract.md. Files: docs/formats.md. */
#ifndef SAEURON_H
#define SAEURON_H

#include "saeuron_host.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility push(default) /* the library is compiled with -fvisibility=hidden: what stands here is what it exports */
#endif

#define SAEURON_VERSION "0.1.0"

typedef struct saeuron_context saeuron_context;

/* Opens a diffusers pipeline folder: configs, tokenizer, and views into its safetensors files.
 * *ctx is owned by the caller; close it. host is copied (NULL: a zeroed one); what host->user points at is not. */
int  saeuron_open(saeuron_context **ctx, const saeuron_host *host, const char *model_dir, saeuron_error *err);
/* The same of a model without weights, filled by a hash: "sd15", the architecture of Stable Diffusion 1.5, for measuring. Its
 * pictures are noise, the same on every machine; it takes 2.2 GB of host->alloc. */
int  saeuron_open_synthetic(saeuron_context **ctx, const saeuron_host *host, const char *name, saeuron_error *err);
void saeuron_close(saeuron_context *ctx);

/* ---- forgetting ---- */

/* One concept to unlearn, by its name in the statistics ("Sketch", "Cats"). Zeroed fields are found or defaulted. */
typedef struct saeuron_forget_options {
    const char *name;       /* (not `concept`: C++20 keeps that word) */
    size_t top;             /* the K best-scored latents a step; 0: by percentile */
    double percentile;      /* 0: from forget.json beside the SAE, else 99.999 */
    double strength;        /* gamma; used when has_strength, else forget.json's, else -1 */
    int    has_strength;
    double min_density;     /* only latents that fire at so large a share of the concept's tokens (AUDIT A3); 0: all. It is read from
                             * density.safetensors beside the statistics */
} saeuron_forget_options;

/* Adds a concept to those forgotten from now on; its SAE and statistics are loaded from MODEL/sae/HOOK/, at whichever hook
 * has statistics for it (method: paper sections 3.3 and 3.4). Several concepts and both hooks may be combined. */
int  saeuron_forget(saeuron_context *ctx, const saeuron_forget_options *options, saeuron_error *err);
/* Multiplies latent (from 0) of the SAE at hook ("up_blocks.1.attentions.2") by factor wherever it fires, from now on: at
 * every step, in both halves of the guided batch (AUDIT A20). It needs no statistics and takes any number of steps. Several
 * latents, hooks and forgotten concepts may be combined; a steered latent obeys its factor alone, whatever concept selects it. */
int  saeuron_steer(saeuron_context *ctx, const char *hook, size_t latent, double factor, saeuron_error *err);
/* From now on the hook's output is the SAE's reconstruction of it, decode(encode(x)): what does the SAE lose? */
int  saeuron_reconstruct(saeuron_context *ctx, const char *hook, saeuron_error *err);
/* Forgets, steers and reconstructs nothing from now on. */
void saeuron_remember(saeuron_context *ctx);
/* Where the SAE of a hook and its statistics are, instead of MODEL/sae/HOOK/; before the calls above.
 * stats_path NULL: SAE_DIR/stats.safetensors. */
int  saeuron_use_sae(saeuron_context *ctx, const char *hook, const char *sae_dir, const char *stats_path, saeuron_error *err);

/* ---- generating ---- */

enum { SAEURON_RESIDUAL_PAPER, SAEURON_RESIDUAL_RELEASED, SAEURON_RESIDUAL_NONE };
enum { SAEURON_SHARED_LARGEST, SAEURON_SHARED_RELEASED };

typedef struct saeuron_generate_options {
    const char *const *prompts;     /* UTF-8 */
    size_t      count;              /* images: one a prompt */
    const char *negative_prompt;    /* NULL: "" */
    uint64_t    seed, noise_index;  /* image j starts from elements [(noise_index+j) C h w, ...) of torch.randn(seed) */
    const float *noise;             /* instead of the seed: [count,C,h,w]; NULL */
    size_t      steps;              /* 0: the model's default */
    double      guidance;           /* used when has_guidance, else the model's default */
    int         has_guidance;
    size_t      height, width;      /* pixels; 0: the model's own */
    size_t      batch;              /* images at a time; 0: chosen. No bit depends on it */
    int         residual;           /* SAEURON_RESIDUAL_*: how the SAE's error returns (AUDIT A1) */
    int         shared;             /* SAEURON_SHARED_*: which of several concepts edits a latent that they share (AUDIT A5) */
    int         map_steps;          /* another number of steps than the statistics': take the nearest timestep's */
    /* Sees every intermediate: its diffusers module path ("unet.up_blocks.1.attentions.2") or the name of diffusers' variable
     * ("prompt_embeds", "noise", "noise_pred", "latents"), the sampling step (-1 outside the loop) and the number of the
     * first image it is of (the VAE takes one at a time). Values may be changed. Not 0 stops the call with SAEURON_ECANCEL. */
    int       (*tap)(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind);
    void       *tap_user;
    float      *latents;            /* [count,C,h,w], the final latents, or NULL */
    /* Texts encoded before, as by saeuron_encode_text, instead of prompts and negative_prompt: [count,N,D] and [N,D]; NULL: encoded here. */
    const float *prompt_embeds, *negative_prompt_embeds;
} saeuron_generate_options;

/* Pixels of one image, three bytes each. */
int saeuron_image_size(const saeuron_context *ctx, const saeuron_generate_options *o, size_t *width, size_t *height, saeuron_error *err);
/* rgb [count,height,width,3], rows from the top, of the caller; NULL: nothing is decoded. StableDiffusionPipeline.__call__ with DDIM, eta 0. */
int saeuron_generate(saeuron_context *ctx, const saeuron_generate_options *o, unsigned char *rgb, saeuron_error *err);
/* Calls o->tap for each name that saeuron_generate will show it, before anything is computed: with values NULL, and once with step
 * 0 for all steps. Again for a last batch of another size. */
int saeuron_intermediates(saeuron_context *ctx, const saeuron_generate_options *o, saeuron_error *err);
/* Bytes that saeuron_generate will ask of host->alloc at once, and bytes of the model's files it reads. */
int saeuron_memory(saeuron_context *ctx, const saeuron_generate_options *o, size_t *work, size_t *weights, saeuron_error *err);

/* ---- text ---- */

/* ids [max], padded; *count: how many the text itself took, with both ends; *cut: pieces beyond the limit (0: none).
 * Each pointer but ids may be NULL. saeuron_text_length gives max. */
int    saeuron_tokenize(const saeuron_context *ctx, const char *text, int32_t *ids, size_t *count, size_t *cut, saeuron_error *err);
size_t saeuron_text_length(const saeuron_context *ctx);
size_t saeuron_text_width(const saeuron_context *ctx);
const char *saeuron_token(const saeuron_context *ctx, int32_t id);      /* the vocabulary's spelling, or NULL */
/* states [max,width]: the text encoder's last_hidden_state. */
int    saeuron_encode_text(saeuron_context *ctx, const char *text, float *states, saeuron_error *err);

/* ---- images to latents ---- */

/* shape = [C,h,w] of the latents of an image; an error if its sides are no multiples of the VAE's factor, or beyond 8192. */
int saeuron_latent_size(const saeuron_context *ctx, size_t width, size_t height, size_t shape[3], saeuron_error *err);
/* moments [2C,h,w] of rgb [height,width,3]: the mean and, clamped to [-30, 20], the logarithm of the variance of the image's latents
 * (AutoencoderKL.encode). An error if the model's VAE came without its encoder. progress is asked once, at the end. */
int saeuron_encode_image(saeuron_context *ctx, const unsigned char *rgb, size_t width, size_t height, float *moments, saeuron_error *err);
/* latents [n] from the first n = C h w moments, the mean: shifted and scaled as saeuron_generate's noise and latents are.
 * Both may be the same memory. */
void saeuron_mode(const saeuron_context *ctx, float *latents, const float *moments, size_t n);

/* ---- classifiers ---- */

/* An image classifier: a Vision Transformer as timm saves it. It stands beside a context and needs none. */
typedef struct saeuron_classifier saeuron_classifier;

/* Opens a timm ViT's folder: config.json, model.safetensors. *k is owned by the caller; close it. host as in saeuron_open. */
int  saeuron_classifier_open(saeuron_classifier **k, const saeuron_host *host, const char *dir, saeuron_error *err);
void saeuron_classifier_close(saeuron_classifier *k);
size_t saeuron_classes(const saeuron_classifier *k);
const char *saeuron_class_name(const saeuron_classifier *k, size_t i);   /* label_names of its config, or NULL when it names none */
/* logits [count,classes] of rgb [count,height,width,3], sides at most 32768: each picture resized to the model's side as Pillow
 * does (BILINEAR, antialiased; not at all when it has that size), normalised by the config's mean and std, then
 * VisionTransformer.forward. A picture's logits do not depend on those beside it. progress hears of every sixteen pictures. */
int  saeuron_classify(saeuron_classifier *k, const unsigned char *rgb, size_t count, size_t width, size_t height, float *logits, saeuron_error *err);
uint64_t saeuron_classifier_digest(const saeuron_classifier *k);         /* as saeuron_model_digest */

/* ---- facts ---- */

/* 64-bit digest of every tensor the model has bound: the same model gives the same number whatever its files are called. */
uint64_t saeuron_model_digest(const saeuron_context *ctx);
const char *saeuron_kernels(const saeuron_context *ctx);                /* the instruction set in use */
int    saeuron_contract(void);                                      /* version of docs/contract.md */

#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
