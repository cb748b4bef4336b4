/* metadata.h: the texts that a safetensors file carries beside its tensors: what they are and how they were
 * made.
 *
 *   facts --metadata_text, _add, _real--> key, value, ..., NULL --tensors_begin--> file
 *   file --tensors_open--> JSON object --metadata_get, _uint, _is--> facts
 *
 * Not here: which keys a file has (docs/formats.md), how the header holds them (tensors.c). */
#ifndef SAEURON_METADATA_H
#define SAEURON_METADATA_H

#include "files/json.h"
#include "files/print.h"

/* ---- writing ---- */

#define METADATA_PAIRS 32
#define METADATA_VALUE 48
/* Begins as { .n = 0 }. A copy points into the original, which must live as long as the copy. */
typedef struct metadata {
    const char *pair[2 * METADATA_PAIRS + 1];   /* key, value, ..., NULL: for tensors_begin, tensors_save */
    char   value[METADATA_PAIRS][METADATA_VALUE];
    size_t n;                                   /* pairs */
} metadata;

/* Each adds one pair. Keys must live as long as m. A pair beyond METADATA_PAIRS and a formatted value of
 * METADATA_VALUE bytes or more are mistakes of the caller: the first key then loses its value, and
 * tensors_begin refuses the list. */
void metadata_text(metadata *m, const char *key, const char *text);    /* text must live as long as m, too */
void metadata_add(metadata *m, const char *key, const char *format, ...) PRINTS(3, 4); /* as print_into */

/* ---- reading: m is tensors.metadata, which may be none ---- */

/* The text under key into out [size]. false when there is none, or it does not fit: then out is "". */
bool metadata_get(json m, const char *key, char *out, size_t size);
bool metadata_uint(json m, const char *key, uint64_t *x);      /* digits alone; else false, and *x stays */
bool metadata_is(json m, const char *key, const char *text);   /* true when this text stands under key */

#endif
