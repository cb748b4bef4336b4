/* sweep.h: the choice of top K or percentile, and strength, for each concept.
 * Not here: the evaluation (eval.h), options (program/command_eval.c). */
#ifndef SAEURON_SWEEP_H
#define SAEURON_SWEEP_H

#include "evaluation/eval.h"

#define GRID 256
typedef struct sweep_options {
    eval_options e;                 /* p's seeds: the first for stage one, the others to validate; concept of one domain */
    int      domain;
    const uint64_t *test_seed;      /* of the protocol itself, which the sweep may not touch */
    size_t   test_seeds, retained, finalists;
    choice   grid[GRID];            /* in order of preference where scores tie */
    size_t   points;
    bool     install;               /* also into the forget.json beside the SAE */
    /* A concept's choice; kept: its CRA stays within 5 points of no forgetting. numbers: UA, IRA, CRA, CRA without forgetting. */
    void   (*chose)(void *user, const char *concept, const choice *c, const double numbers[4], bool kept);
} sweep_options;

/* Chooses top K or percentile, and strength, for each concept: results.tsv and forget.json in e.dir. installed (or NULL): the
 * path that install wrote. */
int sweep_run(saeuron_context *x, const sweep_options *o, char installed[1024], saeuron_error *err);

/* ---- the rule ---- */

enum { KEPT_WITHIN = 5 };           /* points of CRA that forgetting may cost */

/* What a point of the grid came to, in per cent: UA, IRA, CRA, CRA without forgetting; known[m] false: nothing was counted. */
typedef struct result { bool done, known[4]; double at[4]; } result;

/* CRA is at most KEPT_WITHIN points below that of the same images without forgetting, or unknown. */
bool sweep_keeps(const result *r);
/* The best of the n results that may win, or n: of those that keep CRA the largest (UA + IRA) / 2 (of what is known of them); where
 * none keeps it, the largest CRA, then the same. Between equal ones the first. */
size_t sweep_choose(const result *r, const bool *may_win, size_t n);
/* order [entries]: the places, shuffled the same for every concept, model and machine: stage one takes the others from its front. */
void sweep_order(uint32_t *order, size_t entries);

#endif
