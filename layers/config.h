/* config.h: a network's config.json, field by field: read, defaulted, or refused by name.
 *
 *   json object --config_size, config_float, config_only, ...--> shapes of a network; the first error stays
 *
 * Not here: what the shapes mean (the networks), JSON itself (files/json.h). */
#ifndef SAEURON_CONFIG_H
#define SAEURON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "files/json.h"

/* A config.json being read: which file, and the first error. After an error every reader returns `absent`. */
typedef struct config {
    json object;
    const char *path; /* for messages */
    int code;
    saeuron_error *err;
} config;

#define LEVELS 8   /* most entries of block_out_channels */
#define LAYERS 4   /* most layers_per_block + 1 */

bool   config_has(const config *c, const char *key); /* present and not null */

/* The value of key, or `absent` where the key is missing or null. A value of another kind is an error. */
size_t config_size(config *c, const char *key, size_t absent, size_t low, size_t high); /* low to high */
float  config_float(config *c, const char *key, float absent);
float  config_positive(config *c, const char *key, float absent);   /* above 0, as a float, too */
double config_double(config *c, const char *key, double absent);
bool   config_bool(config *c, const char *key, bool absent);
void   config_string(config *c, const char *key, const char *absent, char *out, size_t size);
/* A number for all places of out, or a list of n (of any length up to LEVELS if n is 0). Returns the list's
 * length, or n when there is no list. */
size_t config_sizes(config *c, const char *key, size_t absent, size_t out[LEVELS], size_t n);

/* Refuses a key whose value is neither missing, null nor the JSON text `only` ("false", "\"silu\""). */
void   config_only(config *c, const char *key, const char *only);
/* Refuses keys that neither of the lists (NULL-ended; may be NULL) holds. Keys that begin with "_" pass. */
void   config_known(config *c, const char *const *read, const char *const *ignored);

#endif
