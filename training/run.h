/* training.h: a training run and a measurement, declared: what stands between files of activations and files of SAEs.
 *
 *   map_source (activations.c) --batches--> trainer (train.c) --checkpoints--> DIR/checkpoint.safetensors, to go on from
 *                                                `--the end--> DIR/cfg.json, sae.safetensors, train.tsv, density.tsv, train.json
 *   SAE folder, map_source --measure_sae--> FVU, L0, dead latents, densities
 *
 * Not here: the arithmetic of a step (train.c), options and printing (command_train.c). Files: docs/formats.md.
 * Letters: N tokens a map, d width, n latents, k latents a token, M tokens a batch. */
#ifndef SAEURON_RUN_H
#define SAEURON_RUN_H

#include "train.h"
#include "training/source.h"

typedef struct training_step { size_t step, steps, epoch, epochs, tokens, latents; const train_report *report; } training_step; /* step: done, from 1 */

typedef struct training_options {
    train_config config;            /* d, steps are filled in */
    size_t epochs, checkpoint_every, log_every; /* the last two in steps */
    dtype  type;                    /* of the SAE's tensors: DT_F32 or DT_F16 */
    const char *dir;
    bool   resume;
    int    threads;
    const char *isa;
    /* After every step; not 0 ends the run with a checkpoint and SAEURON_ECANCEL. */
    int  (*watch)(void *user, const training_step *s);
    void  *user;
} training_options;

/* Trains on every map of the source, o->epochs times, into o->dir; the source is then shuffled by the seed. The same bytes however
 * often it was stopped or killed and resumed. After an error dir holds the last checkpoint, if there was one. */
int training_run(map_source *s, const saeuron_host *host, const training_options *o, saeuron_error *err);

#define TRAINING_SUMMARY "train.json"

#endif
