/* sweep.h: the choice of top K or percentile, and strength, for each concept.
 * Not here: the evaluation (eval.h), options (program/command_eval.c). */
#ifndef SAEURON_SWEEP_H
#define SAEURON_SWEEP_H

#include "evaluation/eval.h"

#define GRID 256
typedef struct sweep_options {
    eval_options e;                 /* of the protocol's seeds the first is stage one's */
    int      domain;                /* of all concepts */
    const uint64_t *test_seed;      /* those of the protocol itself, on which the sweep may not choose */
    size_t   test_seeds;
    size_t   retained;              /* other places in stage one */
    size_t   finalists;             /* points in stage two */
    choice   grid[GRID];            /* in order of preference where scores tie */
    size_t   points;
    bool     install;               /* also into the forget.json beside the SAE */
    /* Is told a concept's choice, its numbers (UA, IRA, CRA, CRA without forgetting), sweep_keeps of them. */
    void   (*chose)(void *user, const char *concept, const choice *c, const double numbers[4], bool kept);
} sweep_options;

/* Chooses top K or percentile, and strength, for each concept: results.tsv and forget.json in e.dir.
 * installed (or NULL): the path that install wrote. */
int sweep_run(saeuron_context *x, const sweep_options *o, char installed[1024], saeuron_error *err);

/* ---- the rule ---- */

enum { KEPT_WITHIN = 5 };           /* points of CRA that forgetting may cost */

/* What a point of the grid came to, in per cent: UA, IRA, CRA, CRA without forgetting. known[i] is false
 * where nothing was counted. */
typedef struct result { bool done, known[4]; double at[4]; } result;

/* Whether CRA is unknown, or at most KEPT_WITHIN points below that of the same images without forgetting. */
bool sweep_keeps(const result *r);
/* The number of the best result among those that may win; n where none may. Those that keep CRA come first,
 * by (UA + IRA) / 2 (or the one that is known); then the others by CRA, then alike. Between equal ones the
 * first. */
size_t sweep_choose(const result *r, const bool *may_win, size_t n);
/* order [entries]: the places, in an order that is the same for every concept, model and machine. */
void sweep_order(uint32_t *order, size_t entries);

#endif
