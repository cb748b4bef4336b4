/* concepts.h: concepts and the prompts that show them, from concepts.json or a file.
 *
 *   {"NAME": ["prompt", ...], ...}, or a domain of concepts.json --concepts_open--> concept_set
 *
 * Not here: what is measured on them (statistics.h). Files: docs/formats.md. */
#ifndef SAEURON_CONCEPTS_H
#define SAEURON_CONCEPTS_H

#include "context.h"

typedef struct concept_entry {
    const char *name;
    const char *const *prompts;
    size_t count;                   /* of its prompts */
    size_t first;                   /* the number of its first prompt, counted over all concepts */
} concept_entry;

typedef struct concept_set { concept_entry *list; size_t count, prompts; void *memory; } concept_set;

/* The concepts of the file concept_file, {"NAME": ["prompt", ...], ...}, in its order. NULL: those of
 * concepts.json's domain at hook with its calibration prompts (paper, section 4; released
 * gather_sae_acts_ca_prompts.py). Of each concept the first `lines` prompts; 0: all. The set is for
 * concepts_close; after an error it is empty. */
int concepts_open(concept_set *c, const saeuron_context *x, const char *hook, const char *concept_file,
                  size_t lines, saeuron_error *err);
void concepts_close(concept_set *c, const saeuron_host *host);

#endif
