/* itd.h: the rival Interpret-then-Deactivate: an SAE on the text encoder's output. Features that only the
 * concept's prompts show are turned around, in prompts that show them. The UNet is as it was.
 *
 *   calibration prompts --itd_editor.forget--> features, threshold --.edit--> text states of a prompt
 *
 * Not here: training the SAE (`collect --hook text_encoder`, `train`), what is drawn from the states
 * (evaluation/drawing.h). Source: arXiv 2503.09446, section 4; github.com NANSirun/Interpret-then-deactivate,
 * eval_scripts/generate_images_scripts/generate_images.py. */
#ifndef SAEURON_ITD_H
#define SAEURON_ITD_H

#include "evaluation/drawing.h"

typedef struct itd itd;

typedef struct itd_options {
    const char *dir;                /* of the SAE; NULL: MODEL/sae/text_encoder */
    size_t features;                /* a prompt shows so many: those that fire strongest at any of its tokens;
                                     * 0: the SAE's k */
    double strength;                /* tau: deactivated features are multiplied by it */
} itd_options;

/* Loads the SAE. Keeps x and o->dir. *m is the caller's, after an error, too: itd_close. */
int  itd_open(itd **m, saeuron_context *x, const itd_options *o, saeuron_error *err);
void itd_close(itd *m);
/* Its forget wants concepts of concepts.json, whose calibration prompts it reads; SAEURON_EFORMAT when none
 * of the features is theirs alone. */
text_editor itd_editor(itd *m);

#endif
