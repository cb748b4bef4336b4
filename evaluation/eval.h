/* eval.h: the evaluation of forgetting, concept by concept: pictures, answers, tables.
 * Not here: options and printing (program/command_eval.c). Schemas: docs/formats.md. */
#ifndef SAEURON_EVAL_H
#define SAEURON_EVAL_H

#include "evaluation/drawing.h"

/* How concepts are forgotten: as forget.json says, unless given here (as saeuron_forget_options). */
typedef struct eval_options {
    const protocol *p;
    saeuron_classifier *k[DOMAINS];
    const char *dir;                /* the folder of images and results */
    saeuron_generate_options sampling;
    means    by;
    saeuron_forget_options how;     /* of SAEs; name is not used */
    const bool *concept[DOMAINS];   /* [labels]: those to forget */
    bool   together;                /* all at once, as one list; else each alone */
    bool   quick;                   /* the first seed alone, and every third place */
    bool   dry;                     /* stop after watcher.plan */
    bool   overlap;                 /* allowed: a test seed is the statistics' seed (AUDIT A22) */
    size_t shard, shards;           /* draw only every shards-th image, measure nothing; shards 0: draw all */
    watcher watch;
} eval_options;

/* What eval_run came to: images still missing, as other shards' may be; the folder of the results. */
typedef struct eval_outcome { size_t left; char results[1024]; } eval_outcome;

/* Draws what is missing, judges, writes the results: into DIR, or, where `how` names a pair or a part of it,
 * into DIR/PAIR. The pictures of a concept lie in DIR/images/CONCEPT/PAIR either way. */
int eval_run(saeuron_context *x, const eval_options *o, eval_outcome *out, saeuron_error *err);

#endif
