/* context.h: an open model: its networks, tokenizer and scheduler, the SAEs at its hooks.
 *
 *   folder --context_open--> context --forget.c: SAEs at hooks--> --saeuron.c: sampling--> --context_close
 *
 * Not here: forgetting (forget.h), sampling (saeuron.c), what the caller may do (saeuron.h). */
#ifndef SAEURON_CONTEXT_H
#define SAEURON_CONTEXT_H

#include "clip.h"
#include "ddim.h"
#include "files/synthetic.h"
#include "saeuron.h"
#include "select.h"
#include "tokenizer.h"
#include "unet.h"
#include "vae.h"

/* Where the SAE of a hook lies: a folder, and the file of its statistics. */
typedef struct sae_place { char hook[96], dir[1024], stats[1024]; } sae_place;

#define HOOKS  (2 * LEVELS * LAYERS)    /* at most: the attentions of a UNet */
#define RECORDED HOOKS                  /* modules recorded at once, at most */
#define PLACES 16                       /* SAEs that saeuron_use_sae may name */

/* Modules of the UNet that are copied while saeuron_generate samples, the conditional half alone. Unlike a
 * tap it changes nothing, and rows may be split among threads. Progress counts the images of many calls. */
typedef struct recorder {
    size_t count;
    char   module[RECORDED][96];      /* "up_blocks.1.attentions.2" */
    float *rows[RECORDED];          /* [batch,N,C] each, of the caller: the module's output at this step */
    /* Called after the UNet's pass of each step, on the caller's thread; rows then holds images first ..
     * first + B - 1 of the call. An error ends the call. */
    int  (*step)(void *user, size_t step, size_t first, size_t B, saeuron_error *err);
    void  *user;
    size_t before, all;             /* images of earlier calls, of all calls */
    size_t steps;                   /* sampling ends after so many, nothing is decoded; 0: all */
} recorder;

struct saeuron_context {
    saeuron_host host;
    int      threads;
    const saeuron_host *files;      /* who serves the model's files: host, or that of the synthetic model */
    synthetic *made;                /* NULL: the model lies in files */
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
    sae_place *place[PLACES];       /* as saeuron_use_sae named them */
    size_t   places;
    ablation *hook[HOOKS];          /* those whose SAE is loaded */
    size_t   hooks;
    const recorder *record;         /* while training/ collects activations; else NULL */
    double   growth;                /* of the last call: saeuron_growth */
};

/* Opens the diffusers folder dir; made not NULL: the synthetic model of that name instead. Owned by the
 * caller: context_close. */
int context_open(saeuron_context **ctx, const saeuron_host *host, const char *dir, const char *made,
                 saeuron_error *err);
/* Gives back all but the hooks, which must be unloaded (unload_hooks in forget.h). */
void context_close(saeuron_context *ctx);
/* An error when a file that the model or an SAE reads was written to since it was opened: what was made of it
 * is of no one model. */
int context_unchanged(const saeuron_context *ctx, saeuron_error *err);
/* saeuron_model_digest. */
uint64_t context_digest(const saeuron_context *ctx);
/* DIR/NAME, a JSON object, into *f and *object, which is valid until io_close(f). */
int open_config(io_file *f, json *object, const saeuron_host *host, const char *dir, const char *name,
                saeuron_error *err);
/* Whether guidance is a number from 0 to 10000. */
bool guidance_ok(float guidance);
/* Images at a time that suit W x H pixels: one if they are large, so that each is done early. */
size_t usual_batch(const saeuron_context *ctx, size_t W, size_t H);
/* Of so small a latent several are drawn at a time, and the UNet's file stays in memory for the next. */
bool small_latent(size_t pixels);

#endif
