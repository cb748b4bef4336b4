/* measuring.h: what commands share that draw the pictures of a protocol and have them judged.
 * Not here: what each draws and counts (evaluation/). */
#ifndef SAEURON_MEASURING_H
#define SAEURON_MEASURING_H

#include "program/means.h"

extern const option measured_options[];     /* --protocol, --domain, --classifier, how pictures are drawn */
extern const option concepts_options[];     /* --concepts */
/* The text "A,B,C" of --concepts, or of the option that a command has instead; NULL: all of the domain. */
extern const char *chosen_concepts;

/* The model, both classifiers, the protocol; and how images are drawn. */
typedef struct measuring {
    saeuron_context *x;
    saeuron_classifier *k[DOMAINS];
    protocol p;
    bool    concept[DOMAINS][LABELS];
    saeuron_generate_options g;
    opened_means means;
    bool    overlap;                /* --allow-overlap */
    bool    open, begun;            /* of p; the table's head is printed */
} measuring;

/* Opens all of it; after an error, too, it wants close_measuring. */
int  open_measuring(measuring *w, saeuron_error *err);
void close_measuring(measuring *w);

/* The numbers of "A,B,C", no two alike, become the protocol's seeds. */
int  read_seeds(protocol *p, const char *names, saeuron_error *err);

/* A watcher's functions (evaluation/drawing.h), whose user is a measuring: they say how many pictures there
 * are to draw and how long that takes; of show_most at most so many; show_dry_plan on stdout. */
int  show_plan(void *user, size_t images, size_t there);
int  show_most(void *user, size_t images, size_t there);
int  show_dry_plan(void *user, size_t images, size_t there);
void show_next(void *user, size_t done, size_t now, size_t images);

#endif
