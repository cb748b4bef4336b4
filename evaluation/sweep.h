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

#endif
