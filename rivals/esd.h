/* esd.h: the rival ESD, Erased Stable Diffusion: the UNet learns to predict, for the concept's text, what
 * lies opposite to it.
 * Not here: the step (student.h). Source: arXiv 2303.07345, equation 6; github.com rohitgandikota/erasing,
 * train-scripts/train-esd.py (2023), esd_sd.py (2025). */
#ifndef SAEURON_ESD_H
#define SAEURON_ESD_H

#include "context.h"

enum { ESD_XATTN, ESD_NOXATTN, ESD_FULL };  /* ESD-x, ESD-u, all */

typedef struct esd_options {
    const char *const *erase;       /* texts; each iteration takes one at random */
    size_t   erased;
    int      trained;               /* ESD_* */
    size_t   iterations, steps;     /* steps: of sampling; 0: the model's */
    double   lr, negative, start;   /* learning rate; eta; guidance while sampling */
    uint64_t seed;
    /* Is told the mean loss of the iterations since it last was, now and then; may be NULL. */
    void   (*told)(void *user, size_t iteration, double loss);
    void    *user;
} esd_options;

/* Trains, and writes the model's folder (save_edited). progress is asked after each iteration: stopped,
 * nothing is written. */
int esd(saeuron_context *x, const esd_options *o, const char *dir, saeuron_error *err);

#endif
