/* activations.h: what an SAE is trained and measured on, as one list of maps, declared.
 *
 *   files of `collect` --open, checked against each other--> maps [N,d], in the order given --Fisher-Yates--> an epoch's order
 *   prompts --sampler (collect.c)--> a buffer of maps, shuffled, one buffer after the other --------------------^
 *
 * Not here: sampling (collect.c), training (training.c), measuring (measure.c). Files: docs/formats.md.
 * Letters: N tokens a map, d width, T maps of a prompt. */
#ifndef SAEURON_ACTIVATIONS_H
#define SAEURON_ACTIVATIONS_H

#include "training/collect.h"

typedef struct activation_file { tensors t; const tensor *a; size_t first; } activation_file; /* first: its first row's number */

typedef struct map_source {
    const saeuron_host *host;
    char     hook[96], model[24];   /* as the metadata of the files has them */
    size_t   rows, N, d;            /* maps in all */
    uint64_t digest;                /* of what is trained on; docs/formats.md says of which bytes */
    size_t   buffer;                /* maps held at a time while sampling; 0: files */
    uint32_t *order;                /* [rows], of an epoch; while sampling: [prompts] */
    /* files */
    activation_file *file;
    size_t   files, last;           /* last: the file that was read last */
    size_t   read;                  /* bytes since the pages were given back */
    /* sampling */
    sampler *sampler;
    uint64_t seed;
    size_t   prompts, T, window;    /* window: prompts sampled at a time */
    size_t   held, held_rows;       /* the window whose maps are in `maps`, from 1 (0: none); how many */
    uint32_t *place;                /* [window T]: the order within it */
    float   *maps;                  /* [window T,N,d] */
} map_source;

/* Opens the files of `collect`, whose rows follow one another in the order given; all must be of one hook, model and sampling. */
int  source_open(map_source *s, const saeuron_host *host, const char *const *paths, size_t count, saeuron_error *err);
/* Samples instead, about `buffer` maps at a time (whole prompts, at least one's). x and what o points at must outlive it. */
int  source_open_online(map_source *s, saeuron_context *x, const sampler_options *o, size_t buffer, saeuron_error *err);
void source_close(map_source *s);   /* after an error of open, too */

/* The order of every epoch (contract 6). Once, before source_next. */
int  source_shuffle(map_source *s, uint64_t seed, saeuron_error *err);
/* x [N,d], the map at this place of the epoch's order. Places may be asked for in any order; ascending is quick. While sampling a
 * new buffer is made when the place lies in another; that can be cancelled. SAEURON_ENAN when a value is not finite. */
int  source_next(map_source *s, float *x, size_t place, saeuron_error *err);
/* x [N,d], row number `row` of files, unshuffled. */
int  source_row(map_source *s, float *x, size_t row, saeuron_error *err);
/* The first place of those that can be read without sampling after the last place was. */
size_t source_tail(const map_source *s);

#endif
