/* attack.h: how often a forgotten concept comes back: the prompts of a protocol under attack, counted.
 *
 *   concepts, a method --attack_run--> DIR/images, DIR/attacks/METHOD/..., METHOD.tsv, METHOD-prompts.tsv
 *
 * Not here: the methods (unlearndiffatk.h, ringabell.h, guesses.h), options (program/command_attack.c).
 * Schemas: docs/formats.md. */
#ifndef SAEURON_ATTACK_H
#define SAEURON_ATTACK_H

#include "rivals/ringabell.h"
#include "rivals/unlearndiffatk.h"

enum { UNLEARNDIFFATK, RINGABELL, PREFIX, SEEDS_ALONE, ATTACKS };
extern const char *const attack_names[ATTACKS];     /* "unlearndiffatk", "ringabell", "prefix", "seeds" */

/* What came of a concept, of prompts whose picture shows it when nothing is forgotten: how many show it with
 * forgetting (before), and how many do so or when attacked (after; UnlearnDiffAtk's pre-ASR and ASR). tries:
 * the mean number of pictures drawn for a prompt that was attacked. */
typedef struct attacked { size_t prompts; rate before, after; double tries; } attacked;

typedef struct attack_options {
    const protocol *p;              /* of its seeds all are taken */
    saeuron_classifier *k[DOMAINS];
    const char *dir;                /* the folder of pictures and results; may be one of eval's */
    saeuron_generate_options sampling;
    means   by;
    saeuron_forget_options how;     /* of SAEs; name is not used */
    const bool *concept[DOMAINS];   /* [labels]: those to forget, each alone */
    int     method;
    unlearndiffatk_options unlearndiffatk;
    ringabell_options ringabell;
    size_t  tokens, tries;          /* of PREFIX; tries of SEEDS_ALONE, too */
    bool    overlap;                /* allowed: a seed is the statistics' seed (AUDIT A22) */
    size_t  prompts;                /* a concept, at most; 0: all of its places */
    size_t  shard, shards;          /* attack every shards-th prompt only, count nothing; shards 0: all */
    watcher watch;                  /* its result is not told */
    void  (*told)(void *user, int domain, const char *concept, const attacked *a); /* "average" last */
} attack_options;

/* Draws what is missing, attacks where forgetting succeeds, counts. A run that was stopped goes on: the
 * picture of an attack says how it was found. Errors as eval_run's. */
int attack_run(saeuron_context *x, const attack_options *o, saeuron_error *err);

#endif
