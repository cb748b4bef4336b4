/* model.h: the parts of the pipeline to one another: networks bound from files, their forward passes, the sampler, the SAE.
 *
 *   tokenizer.c --ids--> clip.c --text states--> unet.c <--steps-- ddim.c --latents--> vae.c --> pixels
 *                                                  |  ^
 *                              hook output [B,N,d] v  | edited             (sae.c: latents, select.c: which and how)
 *   pixels --vit.c--> a classifier's logits
 *
 * Not here: the public interface (saeuron.h), arithmetic (nn.h), files (io.h).
 *
 * A network is one struct filled by one walk, NETWORK_bind, which names every tensor once, with its shape; the loader,
 * `info`, hash-filled test models and the tests all use that walk. */
#ifndef SAEURON_MODEL_H
#define SAEURON_MODEL_H

#include "files/io.h"
#include "arithmetic/nn.h"
#include "saeuron.h"
#include "tokenizer.h"

/* ---- layers (model.c) ---- */

typedef struct linear { weight w; const float *bias; size_t in, out; } linear;   /* torch.nn.Linear */
typedef struct conv   { weight w; const float *bias; size_t ci, co, k; } conv;   /* torch.nn.Conv2d, square */
typedef struct norm   { const float *gamma, *beta; size_t C; } norm;             /* LayerNorm, GroupNorm */

/* y [M,out] from x [M,in]. */
void apply_linear(nn *c, float *y, const float *x, const linear *l, size_t M);
/* Stride 1 and padding k/2. y [B,H,W,co] from x [B,H,W,ci]. */
void apply_conv(nn *c, float *y, const float *x, const conv *l, size_t B, size_t H, size_t W);

/* ---- binding tensors (model.c) ---- */

/* The walk over a network's tensors. With file it finds each tensor, checks shape and finiteness, and points at it;
 * without, it fills weights from the hash of contract 6 (for tests and benchmarks). Walked once with keep measuring,
 * once with memory. The first error stops it; later calls do nothing. */
typedef struct binder {
    tensors   *file;    /* NULL: hash-filled */
    uint64_t   seed;    /* of the hash */
    dtype      type;    /* hash-filled weights are stored as F32, or rounded to F16 */
    int        threads;
    const struct nn_kernels *kernels; /* not NULL: the weights of layers are packed for these as well */
    arena     *keep;    /* vectors widened to float32, hash-filled weights */
    char       prefix[256];
    size_t     at;      /* length of prefix */
    int        code;
    saeuron_error *err;
    /* Hears every tensor's name and shape as the walk comes to it; NULL, or for those who only want the list. */
    void     (*list)(void *user, const char *name, int ndim, const size_t *shape);
    void      *list_user;
} binder;

size_t bind_push(binder *b, const char *format, ...); /* enters a module: "resnets.%d"; returns the mark for bind_pop */
void   bind_pop(binder *b, size_t mark);
void   bind_linear(binder *b, const char *name, linear *l, size_t in, size_t out);
void   bind_linear_no_bias(binder *b, const char *name, linear *l, size_t in, size_t out);
void   bind_conv(binder *b, const char *name, conv *l, size_t ci, size_t co, size_t k);
void   bind_norm(binder *b, const char *name, norm *l, size_t C);
void   bind_matrix(binder *b, const char *name, weight *w, size_t rows, size_t columns);
void   bind_vector(binder *b, const char *name, const float **v, size_t n);
void   bind_array(binder *b, const char *name, const float **v, int ndim, const size_t *shape); /* of any shape, widened too */

/* Runs walk(b, network) twice (measure, bind) with prefix "" and refuses tensors that it did not name.
 * file may be NULL (hash-filled from seed). *memory: one block for io_free, holding what was widened. */
int bind_network(const saeuron_host *host, tensors *file, uint64_t seed, void (*walk)(binder *, void *), void *network,
                 void **memory, saeuron_error *err);

/* The same with c's threads, which check the file's values; with pack every layer's weights also lie in *memory as c's kernels
 * want them (four bytes a weight). And hash-filled with weights of a type, DT_F32 or DT_F16. */
int bind_file(const saeuron_host *host, tensors *file, const nn *c, bool pack, void (*walk)(binder *, void *), void *network, void **memory, saeuron_error *err);
int bind_hashed(const saeuron_host *host, uint64_t seed, dtype type, int threads, void (*walk)(binder *, void *), void *network, void **memory, saeuron_error *err);

/* The hash-filled value of element i of a tensor (contract 6): what bind_network uses without a file. */
float hash_weight(uint64_t seed, const char *name, int ndim, const size_t *shape, size_t i);

/* ---- configs (model.c) ---- */

/* A config.json being read: which file, and the first error. */
typedef struct config {
    json object;
    const char *path;
    int code;
    saeuron_error *err;
} config;

#define LEVELS 8   /* most entries of block_out_channels */
#define LAYERS 4   /* most layers_per_block + 1 */

bool   config_has(const config *c, const char *key); /* present and not null */
size_t config_size(config *c, const char *key, size_t absent, size_t low, size_t high);
float  config_float(config *c, const char *key, float absent);
double config_double(config *c, const char *key, double absent);
bool   config_bool(config *c, const char *key, bool absent);
void   config_string(config *c, const char *key, const char *absent, char *out, size_t size);
/* A number for all n places or a list of n. Returns n (from the list if *n is 0). */
size_t config_sizes(config *c, const char *key, size_t absent, size_t out[LEVELS], size_t n);
/* Refuses a key whose value is neither absent, null nor the JSON text only ("false", "\"silu\""). */
void   config_only(config *c, const char *key, const char *only);
/* Refuses keys that none of the lists (NULL-ended) holds; keys that begin with "_" pass. */
void   config_known(config *c, const char *const *read, const char *const *ignored);

/* ---- taps and hooks ---- */

enum { TAP_TOKENS, TAP_IMAGE };  /* how a dump shapes the values: [B,N,C] as they lie, or PyTorch's [B,C,H,W] */

/* Called at module boundaries with the module's path below its network ("down_blocks.0.resnets.1") and its output,
 * x [B,H,W,C] or [B,N,C] (then H = N, W = 1). The values may be changed in place (that is `--inject`). */
typedef struct tap {
    int  (*fn)(void *user, const char *name, float *x, size_t B, size_t H, size_t W, size_t C, int kind);
    void *user;
    bool  names;                    /* called while planning, too, with x NULL: names and shapes alone */
} tap;

/* ---- CLIP text encoder (clip.c) ---- */

enum { ACT_QUICK_GELU, ACT_GELU };

typedef struct clip_layer {
    norm   layer_norm1, layer_norm2;
    linear q_proj, k_proj, v_proj, out_proj, fc1, fc2;
} clip_layer;

#define CLIP_LAYERS 48
typedef struct clip {
    size_t vocab, positions, D, F, layers, heads; /* vocab_size, max_position_embeddings, hidden_size, intermediate_size */
    float  eps;
    int    act;
    bool   prefixed;                /* tensors begin with "text_model." */
    weight token_embedding, position_embedding;
    clip_layer layer[CLIP_LAYERS];
    norm   final_layer_norm;
} clip;

int  clip_configure(clip *t, json object, const char *path, saeuron_error *err);
void clip_bind(binder *b, void *t);
/* y [B,N,D]: last_hidden_state of ids [B,N] (transformers.CLIPTextModel). ids are checked against vocab by the caller. */
void clip_forward(nn *c, const clip *t, float *y, const int32_t *ids, size_t B, size_t N, const tap *watch);

/* ---- UNet (unet.c) ---- */

typedef struct resnet {             /* diffusers ResnetBlock2D; time_emb_proj.out == 0 in the VAE */
    norm   norm1, norm2;
    conv   conv1, conv2, conv_shortcut;  /* conv_shortcut.k == 0: none */
    linear time_emb_proj;
    size_t groups;
    float  eps;
} resnet;

typedef struct attention {          /* diffusers Attention */
    linear to_q, to_k, to_v, to_out;
    size_t heads;
    size_t text;                    /* cross-attention: its number in text_kv, counted from 1; else 0 */
} attention;

typedef struct transformer {        /* diffusers Transformer2DModel with one BasicTransformerBlock */
    norm   norm, norm1, norm2, norm3;
    conv   proj_in, proj_out;
    linear ff_in, ff_out;           /* ff.net.0.proj, ff.net.2 */
    attention attn1, attn2;
    size_t C, groups;
    bool   use_linear;              /* use_linear_projection: the tensors' shape only */
} transformer;

typedef struct unet_level {         /* one of down_blocks or up_blocks */
    bool   cross;                   /* has attentions */
    size_t layers;
    resnet resnets[LAYERS];
    transformer attentions[LAYERS];
    conv   sampler;                 /* downsamplers.0.conv or upsamplers.0.conv; k == 0: none */
} unet_level;

typedef struct unet {
    size_t in_channels, out_channels, sample_size, levels, layers, groups, text_width, time_width;
    size_t channels[LEVELS], heads[LEVELS];
    bool   cross_down[LEVELS], cross_up[LEVELS];
    bool   flip_sin_to_cos, use_linear;
    float  freq_shift, eps;
    size_t texts;                   /* number of cross-attentions */
    linear time_1, time_2;
    conv   conv_in, conv_out;
    norm   conv_norm_out;
    unet_level down[LEVELS], up[LEVELS];
    resnet mid_resnet[2];
    transformer mid_attention;
} unet;

/* Keys and values of the text for every cross-attention: the same at every step, so made once. */
#define UNET_TEXTS (2 * LEVELS * LAYERS)
typedef struct text_kv { float *k[UNET_TEXTS], *v[UNET_TEXTS]; size_t B, N; } text_kv;

int  unet_configure(unet *u, json object, const char *path, saeuron_error *err);
void unet_bind(binder *b, void *u);
/* Fills kv from text [B,N,text_width]; its memory is taken from c->work and stays until the caller releases it. */
void unet_text(nn *c, const unet *u, text_kv *kv, const float *text, size_t B, size_t N);
/* part: the rows [first, first + count) of all, where they lie. */
void unet_text_rows(const unet *u, text_kv *part, const text_kv *all, size_t first, size_t count);
/* y [B,H,W,out] = noise or velocity predicted for x [B,H,W,in] at timestep t (UNet2DConditionModel.forward).
 * H and W are multiples of 2^(levels-1). tap (may be NULL) sees every module's output, the hooks among them;
 * its non-zero return is handed back and ends the pass. */
int  unet_forward(nn *c, const unet *u, float *y, const float *x, float t, const text_kv *kv,
                  size_t B, size_t H, size_t W, const tap *watch);
/* Width of the activation at hook "up_blocks.1.attentions.2" (a leading "unet." is accepted), or 0: no such hook.
 * *scale: the map's side is the latent's divided by it. */
size_t unet_hook_width(const unet *u, const char *hook, size_t *scale);
/* The hooks by number, for lists and help; NULL past the last. */
bool unet_hook_name(const unet *u, size_t number, char *out, size_t size);

/* resnet and its norm-silu-conv pairs, shared with the VAE; temb [1,time_width] after silu, or NULL. y may not be x. */
void resnet_forward(nn *c, const resnet *r, float *y, const float *x, const float *silu_temb, size_t B, size_t H, size_t W);
void bind_resnet(binder *b, resnet *r, size_t ci, size_t co, size_t time_width, size_t groups, float eps);

/* ---- VAE (vae.c) ---- */

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
/* y [B,H*s,W*s,3] = AutoencoderKL.decode(z / scaling_factor + shift), z [B,H,W,latent], s = 2^(levels-1). */
void vae_decode(nn *c, const vae *v, float *y, const float *z, size_t B, size_t H, size_t W, const tap *watch);
/* x [n] = byte / 127.5 - 1 of rgb [n], which is VaeImageProcessor.preprocess' 2 (byte / 255) - 1 to the bit. */
void vae_pixels(float *x, const unsigned char *rgb, size_t n);
/* y [B,H/s,W/s,2*latent] = AutoencoderKL.encode(x).latent_dist: mean, then logvar, clamped; x [B,H,W,3], H and W multiples of s.
 * Only if v->has_encoder. */
void vae_encode(nn *c, const vae *v, float *y, const float *x, size_t B, size_t H, size_t W, const tap *watch);
/* z [n] = (mean - shift_factor) scaling_factor: the distribution's mode as the UNet knows latents; the inverse of decode's scaling. */
void vae_latents(const vae *v, float *z, const float *mean, size_t n);

/* ---- the classifier (vit.c) ---- */

typedef struct vit_block { norm norm1, norm2; linear qkv, proj, fc1, fc2; } vit_block; /* timm Block */

#define VIT_BLOCKS 64
#define VIT_IMAGES 16               /* pictures at a time: bounds the memory of saeuron_classify */
typedef struct vit {                /* timm VisionTransformer */
    size_t S, patch, D, F, layers, heads, classes; /* img_size, patch_size, embed_dim, int(embed_dim * mlp_ratio), depth, num_heads, num_classes */
    size_t prefix;                  /* class tokens before the patches: 1, or 0 */
    bool   qkv_bias, average, fc_norm; /* average: global_pool avg; fc_norm: the last norm stands behind the pool */
    float  eps, mean[3], std[3];
    const float *cls_token, *pos_embed; /* [D], [prefix + patches, D] */
    conv   proj;                    /* patch_embed.proj */
    norm   norm;                    /* norm or fc_norm */
    linear head;
    vit_block block[VIT_BLOCKS];
} vit;

int  vit_configure(vit *v, json object, const char *path, saeuron_error *err);
void vit_bind(binder *b, void *v);
/* logits [B,classes] of x [B,S,S,3], normalised pixels (timm VisionTransformer.forward, at use). */
void vit_forward(nn *c, const vit *v, float *logits, const float *x, size_t B, const tap *watch);
/* y [h,w,3] = Pillow's Image.resize((w, h), BILINEAR) of x [H,W,3], to the byte (contract 5, Resize). */
void resize_bilinear(nn *c, unsigned char *y, size_t w, size_t h, const unsigned char *x, size_t W, size_t H);
/* x [n,3] = (byte / 255 - mean) / std, unfused: torchvision's ToTensor and Normalize. */
void vit_pixels(const vit *v, float *x, const unsigned char *rgb, size_t n);

struct saeuron_classifier {
    saeuron_host host;
    char     dir[1024];
    vit      net;
    tensors  file;
    void    *memory;
    const char **name;              /* [classes], in one block with their texts; NULL: the config names none */
    int      threads;
};

/* ---- DDIM (ddim.c) ---- */

enum { PREDICT_EPSILON, PREDICT_V };

typedef struct ddim {
    size_t train_steps, steps;
    int    prediction;
    bool   set_alpha_to_one;
    int    steps_offset;
    float  alphas_cumprod[1000];
    int    timesteps[1000];         /* of the chosen number of steps, in sampling order */
} ddim;

int  ddim_configure(ddim *d, json object, const char *path, saeuron_error *err);
int  ddim_set_timesteps(ddim *d, size_t steps, saeuron_error *err);
/* x [n] becomes the sample at the next timestep; e [n] is the model's output at step number i. */
void ddim_step(const ddim *d, float *x, const float *e, size_t i, size_t n);
/* e = u + g (c - u), unfused; e may be u. */
void guide(float *e, const float *uncond, const float *cond, float g, size_t n);

/* ---- SAE (sae.c) ---- */

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
/* f, the k largest of relu(W_enc (x - b_dec) + b_enc) a token, index ascending. x [M,d]; idx, val [M,k], zero values
 * (index 0) where fewer than k are positive at the row's end; count [M]. */
void sae_encode(nn *c, const sae *s, uint32_t *idx, float *val, uint32_t *count, const float *x, size_t M);
/* relu(z), then its k largest that are above 0, index ascending. z [n], changed; idx, val [k]; returns how many. */
uint32_t sae_top_latents(const sae *s, uint32_t *idx, float *val, float *z);
/* z [M,S] = W_enc (x - b_dec) + b_enc of the S latents named alone, before relu and TopK: sae_encode's own bits. */
void sae_pre_activations(nn *c, const sae *s, float *z, const float *x, size_t M, const uint32_t *latent, size_t S);
/* y [d] = sum over j < count of val[j] W_dec[idx[j],:], by contract 3's sparse rule; idx ascending. Without b_dec. */
void sae_decode_sparse(const sae *s, float *y, const uint32_t *idx, const float *val, size_t count, float *row);

/* ---- statistics, selection, ablation (select.c) ---- */

typedef struct stats {
    tensors file;
    size_t  steps, n, concepts;
    int     timesteps[1000];
    char    hook[96], sae[24];      /* of the metadata; sae: the digest of the SAE that made them, or "" */
    float  *threshold;              /* [steps,n]: mean over concepts of mu */
    double *prompts;                /* a concept, in file order */
    void   *memory;
    tensors density;                /* of stats_load_density; file_count == 0: none */
} stats;

int  stats_load(stats *s, const saeuron_host *host, const char *path, saeuron_error *err);
/* The share of tokens at which each latent fires, a concept's tensor of mu's shape, for --min-density; made by the same SAE. */
int  stats_load_density(stats *s, const saeuron_host *host, const char *path, saeuron_error *err);
void stats_unload(stats *s, const saeuron_host *host);
int  stats_find(const stats *s, const char *concept);     /* number, or -1 */
const char *stats_name(const stats *s, size_t concept);
void stats_mu(const stats *s, float *mu, size_t concept, size_t step);   /* mu [n] */
/* score [n] of one step (paper eq. 5; method "Score and selection"). scratch [2n]. */
void stats_score(const stats *s, float *score, size_t concept, size_t step, float *scratch);

enum { RESIDUAL_PAPER, RESIDUAL_RELEASED, RESIDUAL_NONE };
/* top > 0, else percentile; of the latents that fire at min_density of the concept's tokens at least */
typedef struct choice { size_t top; double percentile; float strength; double min_density; } choice;

/* One forgotten concept at one hook: per step the selected latents, ascending. */
typedef struct selection {
    char     concept[96];
    choice   how;
    size_t   steps;
    uint32_t *start;                /* [steps+1] offsets into the arrays below */
    uint32_t *latent;
    float    *score, *mu, *threshold;
    void     *memory;
} selection;

int  selection_make(selection *sel, const saeuron_host *host, const stats *s, size_t concept, choice how, saeuron_error *err);
void selection_free(selection *sel, const saeuron_host *host);

/* One edit of one latent at one token, for `select --explain`. */
typedef struct edit { const char *concept; size_t step, row, latent; float f, mu, threshold, factor, after; } edit;
typedef void (*edit_observer)(void *user, const edit *e);

typedef struct steering { uint32_t latent; float factor; } steering;

#define FORGETS 64
#define STEERS  64
/* A hook with its SAE and what is done there: concepts forgotten, latents steered, or reconstruction alone. */
typedef struct ablation {
    char   hook[96];
    sae    sae;
    stats  stats;                   /* steps == 0: none; only forgetting needs them */
    size_t count, steers;
    selection forget[FORGETS];
    steering  steer[STEERS];
    bool   reconstruct;             /* the output is decode(f); count and steers are 0 */
    int    residual, shared;
    edit_observer observe;
    void  *observe_user;
} ablation;

bool ablation_active(const ablation *a);  /* something is asked for at this hook */
/* x [M,d], the hook's output at row `step` of the statistics, edited in place. */
void ablate(nn *c, const ablation *a, float *x, size_t M, size_t step);

/* ---- models without weights (synthetic.c) ---- */

typedef struct synthetic synthetic;
#define SYNTHETIC "synthetic-sd15" /* the folder that its files seem to lie in */

/* The model "sd15"; NULL and a message when there is none of that name, or no memory. For synthetic_close. */
synthetic *synthetic_open(const saeuron_host *host, const char *name, saeuron_error *err);
const saeuron_host *synthetic_host(const synthetic *s); /* serves configs and tokenizer by their paths; memory is host's */
void synthetic_close(synthetic *s);

/* ---- the pipeline (pipeline.c) ---- */

/* Where the SAE of a hook lies, when not in the model's folder. */
typedef struct sae_place { char hook[96], dir[1024], stats[1024]; } sae_place;

/* Where a model keeps the SAE of hook, into dir: MODEL/sae/HOOK, or MODEL/sae/unet.HOOK as the released SAEs spell it where
 * only that has a cfg.json. false when the path is too long. */
bool sae_folder(const struct saeuron_context *x, const char *hook, char dir[1024]);

/* As saeuron_remember, but SAEs and statistics stay loaded: for many concepts, one after the other. */
void pipeline_rest(struct saeuron_context *x);

/* hook without a leading "unet.", into name; an error when this UNet has no such hook. */
int hook_name(const struct saeuron_context *x, const char *hook, char name[96], saeuron_error *err);
/* The folder of the SAE of a hook (by hook_name's name), as saeuron_use_sae named it or in the model's folder; an error when there is none. */
int hook_folder(const struct saeuron_context *x, const char *hook, char dir[1024], saeuron_error *err);
/* Loads the SAE in dir, which must fit the hook (by hook_name's name); pack: its encoder is packed where the UNet is. The caller unloads
 * it, after an error, too. */
int hook_sae(const struct saeuron_context *x, const char *hook, const char *dir, bool pack, sae *s, saeuron_error *err);
/* Images at a time that suit pictures of W x H pixels: a large one takes minutes, and a stop waits for the end of its batch. */
size_t usual_batch(const struct saeuron_context *x, size_t W, size_t H);

#define RECORDED (2 * LEVELS * LAYERS)
/* Modules of the UNet looked at while saeuron_generate samples, the conditional half alone. Unlike a tap it changes nothing, and leaves the
 * batch's rows to the threads. saeuron_generate then counts progress over all calls that `before` and `all` speak of. */
typedef struct recorder {
    size_t count;
    char   module[RECORDED][96];    /* "up_blocks.1.attentions.2" */
    float *rows[RECORDED];          /* [batch,N,C] each, of the caller: the module's output at this step */
    /* After each step's prediction, on the caller's thread: rows holds images first .. first + B - 1 of the call. An error ends it. */
    int  (*step)(void *user, size_t step, size_t first, size_t B, saeuron_error *err);
    void  *user;
    size_t before, all;             /* images of earlier calls, of all calls */
    size_t steps;                   /* sampling ends after so many, and nothing is decoded; 0: after the last */
} recorder;

struct saeuron_context {
    saeuron_host host;
    synthetic *made;                /* NULL: the model lies in files */
    const saeuron_host *files;          /* who serves the model's: the caller's host, or made's */
    char     dir[1024];
    clip     text;
    unet     unet;
    vae      vae;
    ddim     ddim;
    tokenizer *tokenizer;
    tensors  text_file, unet_file, vae_file;
    void    *text_memory, *unet_memory, *vae_memory;
    io_file  concepts_file;
    json     concepts;              /* concepts.json; at == NULL when the model has none */
    size_t   default_steps;
    float    default_guidance;
    int      threads;
    ablation *hook[2 * LEVELS * LAYERS];
    size_t   hooks;
    sae_place *place[16];
    size_t   places;
    const recorder *record;         /* while collect.c samples; else NULL */
};

#endif
