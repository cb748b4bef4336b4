/* sweep.h: the choice of top K or percentile, and strength, for each concept.
 * Not here: the evaluation (eval.h), options (program/command_eval.c). */
#ifndef SAEURON_SWEEP_H
#define SAEURON_SWEEP_H

#include "evaluation/eval.h"

/* ---- the rule ---- */

/* What a pair came to, in per cent but for FD, as the columns of results.tsv. known[i] is false where nothing
 * was counted. */
enum { DISTANCE = METRICS, WITHOUT_IRA, WITHOUT_CRA, WITHOUT_CRA_OWN, WITHOUT_DISTANCE, NUMBERS };
extern const char *const number_names[NUMBERS];
typedef struct result { bool may_win, known[NUMBERS]; double at[NUMBERS]; } result;

/* Which of two results is better. Mildest: those whose UA reaches the target come first, by what is kept: the
 * mean of IRA, CRA and CRA_own, those that are known; then the others, by UA, then by what is kept. Paper:
 * those that keep CRA (sweep_keeps) come first, by (UA + IRA) / 2, or the one that is known; then the others,
 * by CRA, then alike. */
enum { SWEEP_MILDEST, SWEEP_PAPER };
typedef struct sweep_rule { int kind; double target; } sweep_rule; /* target: per cent of UA */
enum { KEPT_WITHIN = 5 };           /* points of CRA that forgetting may cost */

/* Whether a result forgets and keeps as the rule asks: UA reaches the target; or CRA is unknown, or at most
 * KEPT_WITHIN points below that of the same images without forgetting. */
bool sweep_keeps(const sweep_rule *by, const result *r);
/* The number of the best result of those that may win; n where none may. Between equal ones the first. */
size_t sweep_choose(const sweep_rule *by, const result *r, size_t n);
/* The strength halfway between two: of weak 0 half of strong, else their geometric mean, to two digits. */
float sweep_between(float weak, float strong);
/* order [entries]: the places, in an order that is the same for every concept, model and machine. */
void sweep_order(uint32_t *order, size_t entries);

/* ---- a sweep ---- */

enum { SELECTIONS = 32, STRENGTHS = 32 };
typedef struct sweep_options {
    eval_options e;                 /* of the protocol's seeds the first is stage one's */
    int      domain;                /* of all concepts */
    const uint64_t *test_seed;      /* those of the protocol itself, on which the sweep may not choose */
    size_t   test_seeds;
    sweep_rule rule;
    size_t   retained;              /* other places of the stage that takes some */
    size_t   finalists;             /* pairs in stage two */
    size_t   bisections;            /* of the mildest rule, for each selection */
    choice   selection[SELECTIONS]; /* tops or percentiles, in order of preference where results tie */
    size_t   selections;
    float    strength[STRENGTHS];   /* of mildest: from the weakest on */
    size_t   strengths;
    bool     install;               /* also into the forget.json beside the SAE */
    /* Is told a concept's choice, what it came to, and sweep_keeps of that. */
    void   (*chose)(void *user, const char *concept, const choice *c, const result *r, bool kept);
} sweep_options;

/* Chooses top K or percentile, and strength, for each concept: results.tsv and forget.json in e.dir.
 * installed (or NULL): the path that install wrote. */
int sweep_run(saeuron_context *x, const sweep_options *o, char installed[1024], saeuron_error *err);

#endif
