/* statistics.h: how an SAE's latents fire on each concept, step by step, measured while sampling.
 *
 *   concepts' prompts --recording.c--> maps [N,d] --sae_encode, means--> mu(c,t) [T,n], a tensor a concept
 *
 * Not here: the concepts (concepts.h), what statistics select (select.h). Files: docs/formats.md.
 * Letters: T sampling steps, N tokens of a map, d its width, n latents, c a concept, t a step. */
#ifndef SAEURON_STATISTICS_H
#define SAEURON_STATISTICS_H

#include "files/text.h"
#include "training/concepts.h"
#include "training/recording.h"

#define STATISTICS_FORMAT "saeuron-statistics-1"

typedef struct stats_options {
    saeuron_generate_options sampling; /* no prompts; those of a concept start at noise_index + its first */
    shard   part;                   /* of the concepts */
    const char *hook;               /* whose SAE x knows */
    const char *path;               /* where the means go */
    const char *density;            /* where the share of tokens that fire a latent goes; NULL: nowhere */
    const concept_set *concepts;    /* of all parts */
    dtype   type;                   /* of the means: DT_F32 or DT_F16; densities are DT_F32 */
    bool    per_prompt;             /* [prompts,T,n] a concept, as the released files; else its mean [T,n] */
} stats_options;

/* Samples the part's concepts and writes mu(c,t), and densities. After an error there is neither file that
 * was not there before. */
int stats_make(saeuron_context *x, const stats_options *o, saeuron_error *err);

/* Metadata "prompts" of statistics with these tensors, a concept each, into t: "20" when the mean of every
 * concept has seen as many prompts, else {"Cats": 80, ...}. An error if it is too long for stats_load. The
 * caller frees t. */
int describe_prompts(text_out *t, const char *path, const tensor_out *list, const size_t *prompts,
                     size_t concepts, saeuron_error *err);

#endif
