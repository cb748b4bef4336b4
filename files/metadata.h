/* metadata.h: the texts that a safetensors file carries beside its tensors: what they are of and how they were made.
 *
 *   facts --metadata_text, _add, _real--> key, value, ..., NULL --tensors_begin--> file --tensors_open--> metadata_get, _uint, _is
 *
 * Not here: which keys a file has (docs/formats.md, and whoever writes it), how the header holds them (tensors.c). */
#ifndef SAEURON_METADATA_H
#define SAEURON_METADATA_H

#include "files/json.h"

/* ---- to be written ---- */

#define METADATA_PAIRS 32
#define METADATA_VALUE 48
/* Begins as { .n = 0 }. A copy holds what the original holds, and needs it as long as it lives: values stay where they are. */
typedef struct metadata {
    const char *pair[2 * METADATA_PAIRS + 1];   /* key, value, ..., NULL: what tensors_begin and tensors_save take */
    char   value[METADATA_PAIRS][METADATA_VALUE];
    size_t n;                                   /* pairs */
} metadata;

/* One pair more; keys must live as long as m. A pair beyond METADATA_PAIRS, and a formatted value of more than METADATA_VALUE - 1
 * bytes, are mistakes of the program: the list then begins with an empty key, which tensors_begin refuses. */
void metadata_text(metadata *m, const char *key, const char *text);        /* text must live as long as m */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void metadata_add(metadata *m, const char *key, const char *format, ...);   /* no real numbers: metadata_real */
void metadata_real(metadata *m, const char *key, double x);                /* the shortest decimal that reads back the same */

/* ---- read: m is tensors.metadata, which may be none ---- */

/* The text under key into out [size]. false when there is none, or it does not fit: then out is "". */
bool metadata_get(json m, const char *key, char *out, size_t size);
bool metadata_uint(json m, const char *key, uint64_t *x);       /* a whole number in digits; else false, and *x stays */
bool metadata_is(json m, const char *key, const char *text);    /* whether there is this text under key */

#endif
