/* stats.h: a file of statistics at a hook: mu(c,t) by concept and step, the thresholds, and the densities beside them.
 *
 *   stats.safetensors --stats_load--> stats_mu, threshold --select.c--> scores, selected latents, edits
 *
 * Not here: how statistics are made (training/statistics.h), what they are used for (select.h). */
#ifndef SAEURON_STATS_H
#define SAEURON_STATS_H

#include "files/tensors.h"

typedef struct stats {
    tensors file;
    size_t  steps, n, concepts;
    int     timesteps[1000];
    char    hook[96], sae[24];      /* of the metadata; sae: the digest of the SAE that made them, or "" */
    float  *threshold;              /* [steps,n]: mean over concepts of mu */
    double *prompts;                /* a concept, in file order */
    void   *memory;
    uint64_t digest;                /* of mu, its tensors' bytes in file order, as sae.digest */
    tensors density;                /* of stats_load_density; file_count == 0: none */
    uint64_t density_digest;        /* likewise; 0: no density is loaded */
} stats;

int  stats_load(stats *s, const saeuron_host *host, const char *path, saeuron_error *err);
/* The share of tokens at which each latent fires, a concept's tensor of mu's shape, for --min-density; made by the same SAE. */
int  stats_load_density(stats *s, const saeuron_host *host, const char *path, saeuron_error *err);
void stats_unload(stats *s, const saeuron_host *host);
int  stats_find(const stats *s, const char *concept);     /* number, or -1 */
const char *stats_name(const stats *s, size_t concept);
void stats_mu(const stats *s, float *mu, size_t concept, size_t step);   /* mu [n] */

#endif
