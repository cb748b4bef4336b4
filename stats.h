/* stats.h: a file of statistics at a hook: mu(c,t) by concept and step, the thresholds, and the densities
 * beside them.
 *
 *   stats.safetensors --stats_load--> stats_mu, threshold --select.c--> scores, selected latents, edits
 *
 * Not here: how statistics are made (training/statistics.h), what they are used for (select.h). */
#ifndef SAEURON_STATS_H
#define SAEURON_STATS_H

#include "files/tensors.h"

typedef struct stats {
    tensors file; /* a tensor [T,n] a concept: mu, the mean of f over the concept's tokens */
    size_t  steps, n, concepts;
    int     timesteps[1000];        /* of each row */
    char    hook[96], sae[24];      /* of the metadata; sae: the digest of the SAE that made them, or "" */
    float  *threshold;              /* [T,n]: mean over concepts of mu */
    double *prompts;                /* of each concept, in file order */
    void   *memory;
    uint64_t digest;                /* of mu: its tensors' bytes in file order, as sae.digest */
    tensors density;                /* of stats_load_density; file_count == 0: none */
    uint64_t density_digest;        /* likewise; 0: none */
} stats;

/* Checks shapes, timesteps, and that every mu is finite. s is for stats_unload, except after an error. */
int  stats_load(stats *s, const saeuron_host *host, const char *path, saeuron_error *err);
/* Densities: the share of tokens at which each latent fires, a tensor of mu's shape for each concept. They
 * must come from the same SAE and have the same timesteps. After an error s is as it was. */
int  stats_load_density(stats *s, const saeuron_host *host, const char *path, saeuron_error *err);
void stats_unload(stats *s, const saeuron_host *host);
int  stats_find(const stats *s, const char *concept);       /* its number, or -1 */
const char *stats_name(const stats *s, size_t concept);
/* The row whose timestep is nearest, the first of two as near; 0 where there is none. */
size_t stats_row(const stats *s, int timestep);
/* mu [n] of one concept and step, widened to float. */
void stats_mu(const stats *s, float *mu, size_t concept, size_t step);

#endif
