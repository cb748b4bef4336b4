/* intermediates.h: --dump and --inject: intermediates of a run into files, and files into their places.
 *
 *   a run --tap--> values: --inject's file over them --> DIR/stepNNN.NAME.npy of --dump
 *
 * Not here: which intermediates there are (saeuron.h, tap). Names and shapes of files: docs/formats.md. */
#ifndef SAEURON_INTERMEDIATES_H
#define SAEURON_INTERMEDIATES_H

#include <stdbool.h>

#include "program/options.h"
#include "saeuron.h"

typedef struct injection injection;

/* What the tap does: first what --inject names, then the dump, so that what was injected is dumped. */
typedef struct intermediates {
    const char *dump;               /* the folder, or NULL */
    const saeuron_host *host;
    size_t      steps, images;      /* of the run */
    injection  *inject;
    size_t      count;              /* of inject */
    saeuron_error err;              /* the tap's: saeuron_generate only says that it was stopped */
} intermediates;

/* Reads the files of inject ("NAME=FILE.npy") and checks them against the run that g describes, makes the
 * folder of dump, and sets g's tap: g's images are then one batch. Neither given: g stays as it is. x must
 * outlive w; w is for intermediates_close, after an error, too. */
int   intermediates_open(intermediates *w, saeuron_context *x, saeuron_generate_options *g, const char *dump,
                         const list *inject, saeuron_error *err);
void  intermediates_close(intermediates *w);
/* "NAME DIGEST; ..." of what is injected, for a picture's text; the digest is `saeuron digest FILE`'s. Of
 * the caller, for io_free; NULL: no memory. */
char *intermediates_describe(const intermediates *w);

#endif
