/* safree.h: the rival SAFREE: from the tokens of a prompt that carry the concept its direction is taken, in
 * the text encoder's output. No weight changes, and nothing is trained.
 *
 *   concepts' texts --safree_editor.forget--> subspace --.edit--> text states of a prompt
 *
 * Not here: what is drawn from the states (evaluation/drawing.h). Source: arXiv 2410.12761, section 4.1 and
 * 4.2; github.com jaehong31/SAFREE, models/modified_stable_diffusion_pipeline.py, safree_projection. */
#ifndef SAEURON_SAFREE_H
#define SAEURON_SAFREE_H

#include "evaluation/drawing.h"

typedef struct safree safree;

/* alpha: a token whose masking leads farther from the concept than 1 + alpha times the mean of the others is
 * edited; 0.01 as published. Keeps x. *s is the caller's, after an error, too: safree_close. */
int  safree_open(safree **s, saeuron_context *x, double alpha, saeuron_error *err);
void safree_close(safree *s);
/* Its forget wants a concept at least. Errors: SAEURON_ENOMEM; what saeuron_encode_text says. */
text_editor safree_editor(safree *s);

#endif
