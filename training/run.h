/* run.h: a training run, from maps to the folder of an SAE.
 *
 *   map_source (source.h) --batches--> trainer (train.h) --now and then--> DIR/checkpoint.safetensors
 *     trainer, after the last step --> DIR/cfg.json, sae.safetensors, train.tsv, density.tsv, train.json
 *
 * Not here: the arithmetic of a step (train.h), options and printing (program/). Files: docs/formats.md. */
#ifndef SAEURON_RUN_H
#define SAEURON_RUN_H

#include "train.h"
#include "training/source.h"

/* What is told of a step. */
typedef struct training_step {
    size_t step, steps;             /* this one, from 1; of the run */
    size_t epoch, epochs;           /* this one, from 1; of the run */
    size_t tokens;                  /* trained on so far */
    size_t latents;
    const train_report *report;
} training_step;

typedef struct training_options {
    train_config config;            /* d and steps are filled in */
    size_t epochs;
    size_t checkpoint_every, log_every; /* in steps */
    dtype  type;                    /* of the SAE's tensors: DT_F32 or DT_F16 */
    const char *dir;
    bool   resume;                  /* goes on with the run in dir; without it a run there is an error */
    int    threads;
    const char *isa;                /* NULL: the best */
    /* After every step; not 0 ends the run with a checkpoint and SAEURON_ECANCEL. */
    int  (*watch)(void *user, const training_step *s);
    void  *user;
} training_options;

/* Trains on every map of s, o->epochs times, into o->dir; s is then shuffled by the seed. The bytes are the
 * same however often the run was stopped or killed and resumed. After an error dir holds the last checkpoint,
 * if there was one. */
int training_run(map_source *s, const saeuron_host *host, const training_options *o, saeuron_error *err);

#define TRAINING_SUMMARY "train.json"

#endif
