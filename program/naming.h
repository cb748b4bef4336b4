/* naming.h: concepts named on a command line, as texts.
 *
 *   "A,B,C", concepts.json --name_concepts--> what is erased and what stays, as texts
 *
 * Not here: what is done with them. */
#ifndef SAEURON_NAMING_H
#define SAEURON_NAMING_H

#include "evaluation/protocol.h"

/* The next piece of "A,B,C"; false at the end. An empty piece is one, so that it can be refused. */
bool next_piece(const char **names, char *piece, size_t size);

typedef struct named {
    concept_texts t;
    protocol p;                     /* which knows them, if the model has concepts.json */
    bool     known;                 /* p is open */
    forgotten what;
    const saeuron_host *host;
} named;

/* The names of --forget: concepts of concepts.json, or without it texts of their own. For close_named, after
 * an error, too. */
int  name_concepts(named *n, const saeuron_context *x, const char *names, saeuron_error *err);
void close_named(named *n);

#endif
