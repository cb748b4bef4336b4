/* esd.h: the rival ESD, Erased Stable Diffusion: the UNet learns to predict, for the concept's text, what
 * lies opposite to it.
 * Not here: the training itself (lesson.h). Source: arXiv 2303.07345, equation 6; github.com
 * rohitgandikota/erasing, train-scripts/train-esd.py (2023), esd_sd.py (2025). */
#ifndef SAEURON_ESD_H
#define SAEURON_ESD_H

#include "rivals/lesson.h"

typedef struct esd_options {
    lesson_options lesson;          /* each iteration takes one of the texts at random */
    double negative;                /* eta */
} esd_options;

/* Trains, and writes the model's folder (save_edited). Stopped by progress, it writes nothing. */
int esd(saeuron_context *x, const esd_options *o, const char *dir, saeuron_error *err);

#endif
