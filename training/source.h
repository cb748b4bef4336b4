/* source.h: what an SAE is trained and measured on, as one list of maps.
 *
 *   files of `collect` --opened, compared--> maps [N,d] --shuffled once--> order of an epoch
 *   prompts --shuffled once--> buffers of maps, sampled in turn, each shuffled -----------^
 *
 * Not here: sampling (collect.h), training (run.h), measuring (measure.h). Files: docs/formats.md.
 * Letters: N tokens of a map, d its width, T maps of a prompt. */
#ifndef SAEURON_SOURCE_H
#define SAEURON_SOURCE_H

#include "training/collect.h"

typedef struct activation_file {
    tensors t;
    const tensor *a;                /* its only tensor, [rows,N,d] */
    size_t  first;                  /* its first row's number in the list */
} activation_file;

typedef struct map_source {
    const saeuron_host *host;
    char     hook[96], model[24];   /* as the metadata of the files has them */
    bool     diff;                  /* likewise: maps are the hook's output less its input */
    size_t   rows, N, d;            /* maps in all */
    uint64_t digest;                /* of what is trained on; docs/formats.md says of which bytes */
    size_t   buffer;                /* maps in memory while sampling; 0: files */
    uint32_t *order;                /* of an epoch: [rows]; while sampling [prompts] */
    /* files */
    activation_file *file;
    size_t   files, last;           /* last: the file that was read last */
    size_t   read;                  /* bytes since mapped pages were given back */
    /* sampling */
    sampler *sampler;
    uint64_t seed;                  /* of the order */
    size_t   prompts, T, window;    /* window: prompts in the buffer */
    size_t   held;                  /* the window whose maps are in `maps`, from 1; 0: none */
    uint32_t *place;                /* [window T]: the order within it */
    float   *maps;                  /* [window T,N,d] */
} map_source;

/* Opens files of `collect`, whose rows follow one another in the order given. All must be of one hook, model
 * and kind of sampling. For source_close, after an error too. */
int source_open(map_source *s, const saeuron_host *host, const char *const *paths, size_t count,
                saeuron_error *err);
/* Samples instead, about `buffer` maps at a time: whole prompts, one at least. x and what o points at must
 * outlive s. */
int source_open_online(map_source *s, saeuron_context *x, const sampler_options *o, size_t buffer,
                       saeuron_error *err);
void source_close(map_source *s);
/* An error when one of its files was written to since source_open. */
int  source_unchanged(const map_source *s, saeuron_error *err);

/* The order of every epoch (contract 6). Once, before source_next. */
int  source_shuffle(map_source *s, uint64_t seed, saeuron_error *err);
/* x [N,d]: the map at this place of the epoch's order. Any order of places will do; ascending is quick, since
 * while sampling a place outside the buffer makes a new one. SAEURON_ECANCEL while sampling; SAEURON_ENAN
 * when a value is not finite. */
int  source_next(map_source *s, float *x, size_t place, saeuron_error *err);
/* x [N,d]: row number `row` of files, unshuffled. */
int  source_row(map_source *s, float *x, size_t row, saeuron_error *err);
/* After an epoch: the first of its last places whose maps need no sampling. 0 of files. */
size_t source_tail(const map_source *s);

#endif
