/* edited.h: a model's folder in which some of the UNet's weights are others: what rivals that edit weights
 * leave, for `--model`, `eval --rivals` and diffusers.
 *
 *   a model, changed tensors --save_edited--> a diffusers folder
 *
 * Not here: what is changed (uce.h, lesson.h). */
#ifndef SAEURON_EDITED_H
#define SAEURON_EDITED_H

#include "context.h"

/* A tensor of the UNet's file by its name, and its values in the edited model, as many as it has. */
typedef struct changed { const char *name; const float *values; } changed;

/* Writes the folder dir: what a pipeline is made of, copied from x's, but for these tensors, which are stored
 * as F32; other weights keep their values and, if it is F32 or F16, their type. metadata (metadata.h) goes
 * into the UNet's file, which is written last. Classifiers and SAEs are not copied. Errors: SAEURON_EUSAGE
 * when dir is the model's own folder. */
int save_edited(const saeuron_context *x, const char *dir, const changed *list, size_t count,
                const char *const *metadata, saeuron_error *err);

#endif
