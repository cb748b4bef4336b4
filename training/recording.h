/* recording.h: hooks read while sampling, for all who do: parts of a run, a sampling with a recorder, the metadata that says what was sampled.
 * Not here: what becomes of the maps (collect.h, statistics.h). */
#ifndef SAEURON_RECORDING_H
#define SAEURON_RECORDING_H

#include "context.h"

/* Part i of N of a run: [i*count/N, (i+1)*count/N) of its prompts or concepts. {0, 1}: all of it. */
typedef struct shard { size_t i, N; } shard;
/* The first of count things that belongs to part s: s.i * count / s.N, which no product overflows; that of the next part ends it. */
size_t shard_first(shard s, size_t count);
int check_shard(shard s, saeuron_error *err);

/* Key, value, key, value, ..., NULL of a header; every number as text. */
#define PAIRS 24
typedef struct metadata {
    const char *pair[2 * PAIRS + 1];
    char   number[PAIRS][32];
    char   timesteps[6000];
    size_t n;
} metadata;

void metadata_text(metadata *m, const char *key, const char *text);
void metadata_whole(metadata *m, const char *key, uint64_t x);
void metadata_digest(metadata *m, const char *key, uint64_t x);
void metadata_shard(metadata *m, shard s);
void metadata_sampling(metadata *m, const saeuron_context *x, const saeuron_generate_options *o, const ddim *d, size_t first, size_t every, size_t W, size_t H);
uint64_t digest_prompts(uint64_t h, const char *const *prompts, size_t count);

/* What both kinds of recording share: the run's sizes, and where a hook's maps come to lie. */
typedef struct session {
    saeuron_context *x;
    saeuron_generate_options g;         /* of the call to come */
    recorder r;
    ddim     ddim;
    size_t   W, H, steps, batch;
    size_t   sampled;               /* of the steps, the first so many */
    size_t   N[RECORDED], d[RECORDED]; /* of each module recorded */
} session;

int  session_open(session *s, saeuron_context *x, const saeuron_generate_options *o, size_t images, saeuron_error *err);
int  session_add(session *s, const char *name, const char *hook, saeuron_error *err);
int  session_run(session *s, const char *const *prompts, size_t count, uint64_t index, saeuron_error *err);
void session_close(session *s);

#endif
