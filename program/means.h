/* means.h: what forgets, if not SAEs at hooks: --by, --rivals and their options.
 *
 *   options --choose_means, open_means--> means (evaluation/drawing.h)
 *
 * Not here: the methods (rivals/), what is forgotten (naming.h). */
#ifndef SAEURON_MEANS_H
#define SAEURON_MEANS_H

#include "program/options.h"
#include "rivals/itd.h"
#include "rivals/safree.h"

extern const option means_options[];        /* --by, and what methods of it take */
extern const option rivals_options[];       /* --rivals */

typedef struct opened_means {
    means   by;
    text_editor editor;
    safree *safree;
    itd    *itd;
} opened_means;

/* What the options say; an error where those of several means are given. Before the model is opened. */
int  choose_means(opened_means *m, saeuron_error *err);
/* Opens the editor, if it is one. For close_means, after an error, too; before the model is closed. */
int  open_means(opened_means *m, saeuron_context *x, saeuron_error *err);
void close_means(opened_means *m);

#endif
