/* uce.h: the rival UCE, Unified Concept Editing: keys and values of every cross-attention changed in closed
 * form, so that a concept's text looks to the UNet as another does.
 * Not here: the folder that is written (edited.h). Source: arXiv 2308.14761, equation 7; github.com
 * rohitgandikota/unified-concept-editing, train-scripts/train_erase.py (2023), trainscripts/uce_sd_erase.py
 * (2025). */
#ifndef SAEURON_UCE_H
#define SAEURON_UCE_H

#include "context.h"

typedef struct uce_options {
    const char *const *erase;       /* texts to erase, */
    size_t erased;
    const char *guide;              /* each of which becomes this one */
    const char *const *preserve;    /* texts that stay */
    size_t preserved;
    double erase_scale, preserve_scale, lambda;
    bool   last;                    /* only the state of a text's last token; else all from there on */
} uce_options;

/* Writes the edited model's folder (save_edited). SAEURON_EUSAGE when nothing is erased or lambda is not
 * above 0; SAEURON_ENAN when the weights are too large. */
int uce(saeuron_context *x, const uce_options *o, const char *dir, saeuron_error *err);

#endif
