/* select.h: statistics of concepts, scores, the selected latents, and the ablation at a hook.
 * Not here: the SAE (sae.h), where hooks are (unet.h). Source: SAeUron, sections 3.3 and 3.4; released utils/hooks.py. */
#ifndef SAEURON_SELECT_H
#define SAEURON_SELECT_H

#include "sae.h"
#include "stats.h"

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

#endif
