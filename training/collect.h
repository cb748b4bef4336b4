/* collect.h: activations recorded while sampling: into files, or into memory for training that samples.
 *
 *   prompts --collect_run--> a file a hook          prompts, some at a time --sampler_maps--> the same maps, in memory
 *
 * Not here: training (train.h), statistics (statistics.h). Files: docs/formats.md. */
#ifndef SAEURON_COLLECT_H
#define SAEURON_COLLECT_H

#include "training/recording.h"

#define ACTIVATIONS_FORMAT "saeuron-activations-1"

/* ---- activations ---- */

typedef struct collect_options {
    saeuron_generate_options sampling;  /* prompts, count: of all parts; noise_index is that of prompt 0 */
    shard   part;
    const char *const *hooks;       /* at least one */
    const char *const *paths;       /* where the activations of each go */
    size_t  hook_count;
    bool    diff;                   /* the hook's output less its input, as the released --output_or_diff=diff */
    size_t  every;                  /* 0 and 1: every step; else steps 0, every, 2 every, ... */
    size_t  first;                  /* of the first so many steps alone, and the others are not sampled; 0: of all */
    dtype   type;                   /* DT_F32 or DT_F16 */
} collect_options;

/* Samples the part's prompts and writes each hook's activations, conditional half only: [rows,N,d], a row a map of one (prompt, step).
 * Prompt j starts from the same noise in every part. After an error no file of these is there that was not before. */
int collect_run(saeuron_context *x, const collect_options *o, saeuron_error *err);

/* ---- the maps of any prompts, for training while sampling ---- */

typedef struct sampler sampler;
typedef struct sampler_options {
    saeuron_generate_options sampling;  /* prompts, count: all of them; they must outlive the sampler. noise_index is that of prompt 0 */
    const char *hook;
    bool    diff;
    size_t  every;                  /* as of collect_options */
} sampler_options;

typedef struct sampler_facts {
    char     hook[96];
    size_t   prompts, rows, N, d;   /* rows: maps of a prompt */
    uint64_t model, digest;         /* of the model; of all that decides what is sampled, the prompts too */
} sampler_facts;

/* Plans the sampling and takes its memory; for sampler_close, after an error too (*s is then NULL or not). x must outlive it. */
int  sampler_open(sampler **s, saeuron_context *x, const sampler_options *o, sampler_facts *facts, saeuron_error *err);
/* maps [count,rows,N,d] of the prompts of these numbers: for each the rows that collect_run writes of it, to the bit. */
int  sampler_maps(sampler *s, float *maps, const uint32_t *prompt, size_t count, saeuron_error *err);
void sampler_close(sampler *s);

#endif
