/* concepts.h: concepts and the prompts that show them, from concepts.json or a file.
 * Not here: what is measured on them (statistics.h). */
#ifndef SAEURON_CONCEPTS_H
#define SAEURON_CONCEPTS_H

#include "context.h"

typedef struct concept_entry { const char *name; const char *const *prompts; size_t count, first; } concept_entry; /* first: prompts of those before */
typedef struct concept_set { concept_entry *list; size_t count, prompts; void *memory; } concept_set;

/* The concepts of file path, {"NAME": ["prompt", ...], ...}, in its order; or, path NULL, those of concepts.json's domain at hook with its
 * calibration prompts (method: paper section 4; released gather_sae_acts_ca_prompts.py). At most `lines` prompts a concept; 0: all. */
int  concepts_open(concept_set *c, const saeuron_context *x, const char *hook, const char *path, size_t lines, saeuron_error *err);
void concepts_close(concept_set *c, const saeuron_host *host);

#endif
