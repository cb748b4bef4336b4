/* config.h: a network's config.json, field by field: read, defaulted, or refused by name.
 *
 *   json object --config_size, config_float, config_only, ...--> shapes of a network; the first error stays
 *
 * Not here: what the shapes mean (the networks). */
#ifndef SAEURON_CONFIG_H
#define SAEURON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "files/json.h"

/* A config.json being read: which file, and the first error. */
typedef struct config {
    json object;
    const char *path;
    int code;
    saeuron_error *err;
} config;

#define LEVELS 8   /* most entries of block_out_channels */
#define LAYERS 4   /* most layers_per_block + 1 */

bool   config_has(const config *c, const char *key); /* present and not null */
size_t config_size(config *c, const char *key, size_t absent, size_t low, size_t high);
float  config_float(config *c, const char *key, float absent);
double config_double(config *c, const char *key, double absent);
bool   config_bool(config *c, const char *key, bool absent);
void   config_string(config *c, const char *key, const char *absent, char *out, size_t size);
/* A number for all n places or a list of n. Returns n (from the list if *n is 0). */
size_t config_sizes(config *c, const char *key, size_t absent, size_t out[LEVELS], size_t n);
/* Refuses a key whose value is neither absent, null nor the JSON text only ("false", "\"silu\""). */
void   config_only(config *c, const char *key, const char *only);
/* Refuses keys that none of the lists (NULL-ended) holds; keys that begin with "_" pass. */
void   config_known(config *c, const char *const *read, const char *const *ignored);

#endif
