/* recording.h: modules of the UNet read while sampling, for whoever does something with their activations.
 *
 *   prompts, modules --recording_run--> maps [B,N,d] of each module, step by step; nothing is decoded
 *
 * Not here: what is done with the maps (collect.h, statistics.h). Letters: N tokens of a map, d its width,
 * B images at a time. */
#ifndef SAEURON_RECORDING_H
#define SAEURON_RECORDING_H

#include "context.h"
#include "files/metadata.h"

/* Part i of N of a run: things [i*count/N, (i+1)*count/N) of its count prompts or concepts. {0, 1}: all of
 * them. */
typedef struct shard { size_t i, N; } shard;
/* SAEURON_EUSAGE unless i < N and N is at most IO_PARTS. */
int    shard_check(shard s, saeuron_error *err);
/* The first of count things that belongs to part s: s.i * count / s.N, whose product cannot overflow. That
 * of part s.i + 1 ends it. */
size_t shard_first(shard s, size_t count);

typedef struct recording {
    saeuron_context *x;
    saeuron_generate_options g;     /* of the next call of saeuron_generate */
    recorder r;                     /* r.step and r.user are the caller's to set, after recording_open */
    ddim     ddim;                  /* with this sampling's timesteps */
    size_t   W, H;                  /* of the image, in pixels */
    size_t   steps, sampled;        /* of the sampling; the first so many are run */
    size_t   batch;                 /* B, at most */
    size_t   N[RECORDED], d[RECORDED]; /* of each module recorded */
    char     timesteps[6000];       /* text of the last recording_metadata */
} recording;

/* Plans the sampling of `images` images in all with o's options, its prompts aside; x must outlive s.
 * SAEURON_EUSAGE while x forgets, steers or reconstructs. For recording_close, after an error too. */
int  recording_open(recording *s, saeuron_context *x, const saeuron_generate_options *o, size_t images,
                    saeuron_error *err);
/* One module more: the attention at hook ("up_blocks.1.attentions.2"), or (input) the ResNet whose output
 * it transforms. Its maps of a batch are then s->r.rows[i] [B,N[i],d[i]], i counting the calls from 0,
 * whenever s->r.step is called. */
int  recording_add(recording *s, const char *hook, bool input, saeuron_error *err);
/* Samples count prompts, whose noise has the numbers index, index + 1, .... */
int recording_run(recording *s, const char *const *prompts, size_t count, uint64_t index, saeuron_error *err);
void recording_close(recording *s);

/* What is sampled and how: model, seed, cfg, steps, timesteps, size, negative_prompt. Every every-th of
 * the timesteps that are run is named. m needs s as long as it lives, until the next call. */
void recording_metadata(recording *s, metadata *m, size_t every);
/* h continued by the prompts, each with its end, so that none runs into the next. */
uint64_t digest_prompts(uint64_t h, const char *const *prompts, size_t count);

#endif
