/* statistics.h: how an SAE's latents fire on each concept, step by step, measured while sampling.
 * Not here: what statistics are for (select.h), the concepts (concepts.h). */
#ifndef SAEURON_STATISTICS_H
#define SAEURON_STATISTICS_H

#include "training/concepts.h"
#include "training/recording.h"

#define STATISTICS_FORMAT  "saeuron-statistics-1"

typedef struct stats_options {
    saeuron_generate_options sampling;  /* without prompts; prompt p of concept c starts from noise_index + first + p */
    shard   part;                   /* of the concepts */
    const char *hook, *path;
    const char *density;            /* where the share of tokens at which each latent fires goes; NULL: nowhere */
    const concept_set *concepts;    /* of all parts */
    dtype   type;
    bool    per_prompt;             /* [prompts,T,n] a concept, as the released dictionaries, instead of its mean [T,n] */
} stats_options;

int stats_make(saeuron_context *x, const stats_options *o, saeuron_error *err);

#define COUNTS_BYTES 16384 /* of metadata "prompts" that stats_load reads */
char *describe_counts(const saeuron_host *host, const char *const *name, const size_t *count, size_t concepts);
int too_many(const char *path, saeuron_error *err);

#endif
