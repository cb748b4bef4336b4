/* select.h: scores, the latents selected for a concept, and the ablation at a hook.
 *
 *   stats --selection_make--> latents of each step --ablation_forget--> ablation --ablate--> hook output
 *
 * Not here: the file of statistics (stats.h), the SAE (sae.h), where hooks are (unet.h), which SAE is whose
 * (forget.h).
 * Source: SAeUron, arXiv 2501.18052, sections 3.3 and 3.4; released code utils/hooks.py. */
#ifndef SAEURON_SELECT_H
#define SAEURON_SELECT_H

#include "sae.h"
#include "stats.h"

/* score [n] = s(t,c) of one step (paper equation 5; select.c). scratch [2n]. */
void latent_scores(const stats *s, float *score, size_t concept, size_t step, double *scratch);

/* Which latents are selected: the `top` best-scored, or, with top 0, those whose score is above the
 * percentile; of all, or, with min_density above 0, of those that fire at that share of the concept's tokens
 * at least, and, with min_lift above 0, of those whose mu is that many times the mean over all concepts at
 * least. strength: gamma. first, end: at these steps of the statistics alone, [first, end); end 0: at
 * all. half: SAEURON_HALF_*, the rows of the guided batch that are edited (AUDIT A10). */
typedef struct choice {
    size_t top;
    double percentile;
    float  strength;
    double min_density, min_lift;
    size_t first, end;
    int    half;
} choice;

#define HALVES 3
extern const char *const half_name[HALVES]; /* of each SAEURON_HALF_*, as options and files spell it */

/* The latents of one concept at one hook, step by step; ascending within a step. */
typedef struct selection {
    char     concept[96];
    choice   how;
    size_t   steps;
    uint32_t *start; /* [steps+1]: those of step t are start[t] .. start[t+1]-1 of the arrays below */
    uint32_t *latent;
    float    *score, *mu, *threshold;
    void     *memory;
} selection;

/* An error when min_density and min_lift leave no latent at any step, or the steps end before first. sel is
 * for selection_free, after an error, too. */
int selection_make(selection *sel, const saeuron_host *host, const stats *s, size_t concept, choice how,
                   saeuron_error *err);
void selection_free(selection *sel, const saeuron_host *host);

/* One edit of one latent at one token: f becomes after = factor f. For `select --explain`. */
typedef struct edit {
    const char *concept;
    size_t step, row, latent;
    float f, mu, threshold, factor, after;
} edit;
typedef void (*edit_observer)(void *user, const edit *e);

typedef struct steering { uint32_t latent; float factor; } steering;

#define FORGETS 64
#define STEERS  64
/* A hook, its SAE and what is done there: concepts forgotten, latents steered, or reconstruction alone. */
typedef struct ablation {
    char   hook[96];
    sae    sae;
    stats  stats;                   /* steps == 0: none; only forgetting needs them */
    size_t count, steers;           /* of forget, of steer */
    selection forget[FORGETS];
    steering  steer[STEERS];
    bool   reconstruct;             /* the output is decode(f); count and steers are 0 */
    int    residual, shared;        /* SAEURON_RESIDUAL_*, SAEURON_SHARED_* */
    edit_observer observe;          /* hears of every edit; or NULL */
    void  *observe_user;
} ablation;

/* Adds a concept of a->stats, a latent's factor, or the reconstruction; an error if it is there already, does
 * not go with what is there, or if there is no room. */
int ablation_forget(ablation *a, const saeuron_host *host, const char *concept, choice how,
                    saeuron_error *err);
int  ablation_steer(ablation *a, size_t latent, double factor, saeuron_error *err);
int  ablation_reconstruct(ablation *a, saeuron_error *err);
bool ablation_active(const ablation *a);    /* something is asked for at this hook */
/* The half of the guided batch that is edited at this hook: its concepts' (all name the same), else both. */
int  ablation_half(const ablation *a);
/* Nothing is asked for from now on; SAE and statistics stay. */
void ablation_rest(ablation *a, const saeuron_host *host);
/* Gives back what a holds, SAE and statistics too; a itself is the caller's. */
void ablation_free(ablation *a, const saeuron_host *host);

/* x [M,d], the hook's output, edited in place; step: the row of the statistics. x NULL: plans (nn.h). */
void ablate(nn *c, const ablation *a, float *x, size_t M, size_t step);

/* What f, the value of a latent that fires, is multiplied by at this step; 1 where nothing is done. */
float ablation_factor(const ablation *a, uint32_t latent, float f, size_t step);

#endif
