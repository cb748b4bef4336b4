/* synthetic.h: the files of a model without weights: configs and a tokenizer, served from memory as a folder
 * would be.
 * Not here: the filling of weights (layers/bind.h), who asks for it (context.c). */
#ifndef SAEURON_SYNTHETIC_H
#define SAEURON_SYNTHETIC_H

#include "saeuron_host.h"

typedef struct synthetic synthetic;
#define SYNTHETIC "synthetic-sd15" /* the folder that its files seem to lie in */

/* The model "sd15"; NULL and a message when there is none of that name, or no memory. For synthetic_close. */
synthetic *synthetic_open(const saeuron_host *host, const char *name, saeuron_error *err);
/* A host whose files are the configs and the tokenizer under SYNTHETIC; its memory is that of
 * synthetic_open's host. */
const saeuron_host *synthetic_host(const synthetic *s);
void synthetic_close(synthetic *s);

#endif
