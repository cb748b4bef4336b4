/* ca.h: the rival Concept Ablation: the UNet learns to predict, for prompts with the concept, what it
 * predicts for anchor prompts without it.
 * Not here: the training itself (lesson.h). Source: arXiv 2303.13516, equation 5 (model-based); github.com
 * nupurkmr9/concept-ablation, diffusers/train.py. */
#ifndef SAEURON_CA_H
#define SAEURON_CA_H

#include "rivals/lesson.h"

/* Numbers of two texts of the lesson: a prompt with the concept, and its anchor. */
typedef struct anchored { size_t target, anchor; } anchored;

typedef struct ca_options {
    lesson_options lesson;          /* its texts are all prompts */
    const anchored *pairs;
    size_t   count;
    size_t   pictures;              /* of anchors, drawn before the training */
    double   weight_decay;          /* AdamW's */
} ca_options;

/* Trains, and writes the model's folder (save_edited). Stopped by progress, it writes nothing. */
int ca(saeuron_context *x, const ca_options *o, const char *dir, saeuron_error *err);

#endif
