/* context.h: an open model: its networks, tokenizer and scheduler, its hooks, and who records while it samples.
 *
 *   folder --saeuron_open--> context --forget.c: hooks--> --saeuron.c: sampling--> --saeuron_close
 *
 * Not here: forgetting (forget.h), sampling (saeuron.c). */
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

/* Where the SAE of a hook lies, when not in the model's folder. */
typedef struct sae_place { char hook[96], dir[1024], stats[1024]; } sae_place;

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
    const recorder *record;         /* while recording.c samples; else NULL */
};

/* Images at a time that suit pictures of W x H pixels: a large one takes minutes, and a stop waits for the end of its batch. */
size_t usual_batch(const struct saeuron_context *x, size_t W, size_t H);

#endif
