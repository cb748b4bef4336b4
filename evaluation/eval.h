/* eval.h: the evaluation of forgetting, concept by concept: pictures, answers, tables.
 * Not here: options and printing (program/command_eval.c). Schemas: docs/formats.md. */
#ifndef SAEURON_EVAL_H
#define SAEURON_EVAL_H

#include "evaluation/drawing.h"

/* What the runs tell their caller: how many images there are to make, and how many are made. */
typedef struct watcher {
    void *user;
    /* Before anything is drawn: of how many images, how many are there. Not 0 stops. */
    int (*plan)(void *user, size_t images, size_t there);
    /* Before each call that draws: how many are done, how many it makes. */
    void (*next)(void *user, size_t done, size_t now, size_t images);
    /* A row of the results: a concept's, or "average" of a domain; with and without forgetting. */
    void (*result)(void *user, int domain, const char *concept, const rate with[METRICS], const rate without[METRICS]);
} watcher;

/* How concepts are forgotten: as forget.json says, unless given here (as saeuron_forget_options). */
typedef struct eval_options {
    const protocol *p;
    saeuron_classifier *k[DOMAINS];
    const char *dir;                /* the folder of images and results */
    saeuron_generate_options sampling;
    saeuron_forget_options how;         /* name is not used */
    const bool *concept[DOMAINS];   /* [labels]: those to forget */
    bool   quick;                   /* the first seed alone, and every third place */
    bool   dry;                     /* stop after watcher.plan */
    bool   overlap;                 /* the statistics' seed may be a test seed */
    size_t shard, shards;           /* make only every shards-th image and measure nothing; shards 0: all */
    watcher watch;
} eval_options;

/* Makes what is missing, classifies, writes the results; *left: images that still miss (other shards'). */
int eval_run(saeuron_context *x, const eval_options *o, size_t *left, saeuron_error *err);

#endif
