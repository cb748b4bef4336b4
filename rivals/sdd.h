/* sdd.h: the rival SDD, Safe self-Distillation Diffusion: the UNet learns to predict, for the concept's text,
 * what it predicts for none; the mean of its past is kept.
 * Not here: the training itself (lesson.h). Source: arXiv 2307.05977, equation 5; github.com
 * nannullna/safe-diffusion, train_sdd.py. */
#ifndef SAEURON_SDD_H
#define SAEURON_SDD_H

#include "rivals/lesson.h"

typedef struct sdd_options {
    lesson_options lesson;          /* iterations take the texts in turn */
    double ema;                     /* decay of the average */
    double weight_decay, clip;      /* AdamW's; the most that the derivatives' joint norm may be */
} sdd_options;

/* Trains, and writes the folder of the averaged model (save_edited). Stopped by progress, it writes
 * nothing. */
int sdd(saeuron_context *x, const sdd_options *o, const char *dir, saeuron_error *err);

#endif
