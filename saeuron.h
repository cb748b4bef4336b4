/* saeuron.h: SAeUron (arXiv 2501.18052) as a library: generate with Stable Diffusion, forget while sampling.
 *
 *   saeuron_open --> saeuron_forget, saeuron_steer, saeuron_reconstruct (as often as wanted)
 *                --> saeuron_generate --> pixels (as often as wanted) --> saeuron_close
 *
 * No function here prints, exits or keeps global state. Two contexts may be used by two threads at once; one
 * context by one thread at a time. A function that takes err returns SAEURON_OK or an error code and, if err
 * is not NULL, fills it with one line for a person. After an error the context can be used again.
 * Other pointers may be NULL where it is said below. Elsewhere NULL is SAEURON_EUSAGE, and the line names the
 * argument; a function without err then does nothing, or returns 0 or NULL.
 * Bits: docs/contract.md. Files: docs/formats.md. */
#ifndef SAEURON_H
#define SAEURON_H

#include "saeuron_host.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The library is compiled with -fvisibility=hidden: it exports what is declared here. */
#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility push(default)
#endif

#define SAEURON_VERSION "0.1.0"

typedef struct saeuron_context saeuron_context;

/* Opens a diffusers pipeline folder: configs, tokenizer, and views into its safetensors files. *ctx is the
 * caller's: saeuron_close. host is copied (NULL: a zeroed one); what host->user points at is not. */
int  saeuron_open(saeuron_context **ctx, const saeuron_host *host, const char *model_dir, saeuron_error *err);
/* The same of a model without files, its weights filled by a hash, for measuring: "sd15", the architecture of
 * Stable Diffusion 1.5. Its pictures are noise, the same on every machine. It takes 2.2 GB of host->alloc. */
int  saeuron_open_synthetic(saeuron_context **ctx, const saeuron_host *host, const char *name,
                            saeuron_error *err);
void saeuron_close(saeuron_context *ctx);

/* ---- forgetting ---- */

enum { SAEURON_HALF_BOTH, SAEURON_HALF_CONDITIONAL, SAEURON_HALF_UNCONDITIONAL };

/* One concept to unlearn. Zeroed fields are found or defaulted. */
typedef struct saeuron_forget_options {
    const char *name;       /* as in the statistics: "Sketch", "Cats" (`concept` is a word of C++20) */
    size_t top;             /* the K best-scored latents a step; 0: by percentile */
    double percentile;      /* 0: from forget.json beside the SAE, else 99.999 */
    double strength;        /* gamma; used when has_strength, else forget.json's, else -1 */
    int    has_strength;
    double min_density;     /* only latents that fire at this share of the concept's tokens, at least; 0: all.
                             * AUDIT A3. Read from density.safetensors beside the statistics */
    double min_lift;        /* only latents whose mean on the concept is that many times their mean over all
                             * concepts, at least; 0: forget.json's, if it chose top or percentile, too */
    int    has_window;      /* only at steps [first_step, end_step) of the statistics (end_step 0: at all);
                             * else at those of forget.json, or at all where top or percentile is given */
    size_t first_step, end_step;
    int    has_half, half;  /* SAEURON_HALF_*: only in this half of the guided batch; else forget.json's, or
                             * both where top or percentile is given. AUDIT A10 */
    const char *hook;       /* where it is forgotten, "up_blocks.1.attentions.2"; NULL: found by the name */
} saeuron_forget_options;

/* Forgets one more concept from now on (paper sections 3.3 and 3.4). Its SAE and statistics are loaded from
 * MODEL/sae/HOOK/, of the hook whose statistics know it. Where those of several do, the one counts that
 * saeuron_use_sae has named, else the domain's that lists it in concepts.json; a name that is still of two is
 * refused: say options->hook. Several concepts and hooks may be combined; what is done at one hook is done in
 * the same half of the guided batch, else the call is refused. */
int  saeuron_forget(saeuron_context *ctx, const saeuron_forget_options *options, saeuron_error *err);
/* From now on multiplies latent (from 0) of the SAE at hook ("up_blocks.1.attentions.2") by factor wherever
 * it fires: at every step, in both halves of the guided batch (AUDIT A20). It needs no statistics and takes
 * any number of steps. Several latents, hooks and forgotten concepts may be combined; a steered latent obeys
 * its factor alone, whatever concept selects it. */
int  saeuron_steer(saeuron_context *ctx, const char *hook, size_t latent, double factor, saeuron_error *err);
/* From now on the hook's output is the SAE's reconstruction of it, decode(encode(x)). */
int  saeuron_reconstruct(saeuron_context *ctx, const char *hook, saeuron_error *err);
/* Forgets, steers and reconstructs nothing from now on. */
void saeuron_remember(saeuron_context *ctx);
/* How far forgetting went in the last saeuron_generate: of all maps at its hooks the largest ratio of the
 * norm of the longest activation after the edit to that of the longest before; 0: nothing was forgotten.
 * Above 1 the edit makes activations longer than any that the UNet gave it, and such as no SAE was trained
 * on. */
double saeuron_growth(const saeuron_context *ctx);
/* Names the folder of the SAE of a hook, and its statistics, instead of MODEL/sae/HOOK/; to be called before
 * the calls above. sae_dir NULL: MODEL/sae/HOOK/. stats_path NULL: SAE_DIR/stats.safetensors. */
int  saeuron_use_sae(saeuron_context *ctx, const char *hook, const char *sae_dir, const char *stats_path,
                     saeuron_error *err);

/* ---- generating ---- */

/* How the SAE's error returns (AUDIT A1); which of several concepts edits a latent they share (AUDIT A5). */
enum { SAEURON_RESIDUAL_PAPER, SAEURON_RESIDUAL_RELEASED, SAEURON_RESIDUAL_NONE };
enum { SAEURON_SHARED_LARGEST, SAEURON_SHARED_RELEASED };

typedef struct saeuron_generate_options {
    const char *const *prompts;     /* UTF-8 */
    size_t      count;              /* images: one a prompt */
    const char *negative_prompt;    /* NULL: "" */
    uint64_t    seed, noise_index;  /* image j starts from torch.randn(seed) [(noise_index+j) C h w, ...) */
    const float *noise;             /* instead of the seed's: [count,C,h,w]; or NULL */
    size_t      steps;              /* 0: the model's default */
    double      guidance;           /* used when has_guidance, else the model's default */
    int         has_guidance;
    size_t      height, width;      /* pixels; 0: the model's own */
    size_t      batch;              /* images at a time; 0: chosen. No bit depends on it */
    int         residual;           /* SAEURON_RESIDUAL_* */
    int         shared;             /* SAEURON_SHARED_* */
    int         map_steps;          /* takes the nearest timestep's statistics if they are of other steps */
    /* Sees every intermediate: its diffusers module path ("unet.up_blocks.1.attentions.2") or the name of
     * diffusers' variable ("prompt_embeds", "noise", "noise_pred", "latents"), the sampling step (-1 outside
     * the loop), the number of the first image it is of (the VAE takes one at a time), its values and their
     * kind (SAEURON_TAP_*). Values may be changed. Not 0 stops the call with SAEURON_ECANCEL. */
    int       (*tap)(void *user, const char *name, int step, size_t first, float *values,
                     const size_t shape[4], int kind);
    void       *tap_user;
    float      *latents;            /* [count,C,h,w], the final latents, or NULL */
    /* Texts encoded before, as by saeuron_encode_text, instead of prompts and negative_prompt: [count,N,D]
     * and [N,D]; NULL: encoded here. */
    const float *prompt_embeds, *negative_prompt_embeds;
} saeuron_generate_options;

/* Pixels of one image, three bytes each. Its sides must be multiples of the VAE's factor, at most 8192. */
int saeuron_image_size(const saeuron_context *ctx, const saeuron_generate_options *o, size_t *width,
                       size_t *height, saeuron_error *err);
/* rgb [count,height,width,3], rows from the top, of the caller; NULL: nothing is decoded.
 * StableDiffusionPipeline.__call__ with DDIM, eta 0. SAEURON_EIO, whatever was drawn, when a file of the
 * model or an SAE was written to since it was opened. */
int saeuron_generate(saeuron_context *ctx, const saeuron_generate_options *o, unsigned char *rgb,
                     saeuron_error *err);
/* Calls o->tap for each name that saeuron_generate will show it, before anything is computed: values are
 * NULL, and step 0 stands for all steps. Again for a last batch of another size. */
int saeuron_intermediates(saeuron_context *ctx, const saeuron_generate_options *o, saeuron_error *err);
/* Bytes that saeuron_generate will ask of host->alloc at once, and bytes of the model's files it reads. */
int saeuron_memory(saeuron_context *ctx, const saeuron_generate_options *o, size_t *work, size_t *weights,
                   saeuron_error *err);

/* ---- text ---- */

/* ids [saeuron_text_length], padded; *count: ids of the text itself, both ends included; *cut: ids beyond the
 * limit, dropped (0: none); both may be NULL. */
int saeuron_tokenize(const saeuron_context *ctx, const char *text, int32_t *ids, size_t *count, size_t *cut,
                     saeuron_error *err);
size_t saeuron_text_length(const saeuron_context *ctx);
size_t saeuron_text_width(const saeuron_context *ctx);
const char *saeuron_token(const saeuron_context *ctx, int32_t id);  /* the vocabulary's spelling, or NULL */
/* states [saeuron_text_length,saeuron_text_width]: the text encoder's last_hidden_state. */
int    saeuron_encode_text(saeuron_context *ctx, const char *text, float *states, saeuron_error *err);

/* ---- images to latents ---- */

/* shape = [C,h,w] of an image's latents. Its sides must be multiples of the VAE's factor, at most 8192. */
int saeuron_latent_size(const saeuron_context *ctx, size_t width, size_t height, size_t shape[3],
                        saeuron_error *err);
/* moments [2C,h,w] of rgb [height,width,3]: of the image's latents the mean, then the logarithm of the
 * variance, clamped to [-30, 20] (AutoencoderKL.encode). An error if the model's VAE came without its
 * encoder. progress is asked once, at the end. */
int saeuron_encode_image(saeuron_context *ctx, const unsigned char *rgb, size_t width, size_t height,
                         float *moments, saeuron_error *err);
/* latents [n] from the first n = C h w moments, the mean: scaled as saeuron_generate's noise and latents
 * are. Both may be the same memory. */
void saeuron_mode(const saeuron_context *ctx, float *latents, const float *moments, size_t n);

/* ---- classifiers ---- */

/* An image classifier: a Vision Transformer as timm saves it. It stands beside a context and needs none. */
typedef struct saeuron_classifier saeuron_classifier;

/* Opens a timm ViT's folder: config.json, model.safetensors. *k is the caller's: saeuron_classifier_close.
 * host as in saeuron_open. */
int  saeuron_classifier_open(saeuron_classifier **k, const saeuron_host *host, const char *dir,
                             saeuron_error *err);
void saeuron_classifier_close(saeuron_classifier *k);
size_t saeuron_classes(const saeuron_classifier *k);
/* Of class i: label_names of its config; NULL when it names none. */
const char *saeuron_class_name(const saeuron_classifier *k, size_t i);
/* logits [count,classes] of rgb [count,height,width,3], sides at most 32768. Each picture is resized to the
 * model's side as Pillow does (BILINEAR, antialiased; not at all when it has that size), normalised by the
 * config's mean and std, then VisionTransformer.forward. A picture's logits do not depend on those beside it.
 * progress hears of every sixteen pictures. */
int  saeuron_classify(saeuron_classifier *k, const unsigned char *rgb, size_t count, size_t width,
                      size_t height, float *logits, saeuron_error *err);
uint64_t saeuron_classifier_digest(const saeuron_classifier *k);    /* as saeuron_model_digest */

/* ---- facts ---- */

/* 64-bit digest of every tensor of the model: the same model has the same, whatever its files' names. */
uint64_t saeuron_model_digest(const saeuron_context *ctx);
const char *saeuron_kernels(const saeuron_context *ctx);            /* the instruction set in use */
int    saeuron_contract(void);                                  /* version of docs/contract.md */

#if defined(__GNUC__) && !defined(_WIN32)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
