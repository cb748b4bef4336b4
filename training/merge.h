/* merge.h: the parts of one run joined to the file that one run would have written, to the byte.
 * Not here: who makes parts (collect.h, statistics.h). */
#ifndef SAEURON_MERGE_H
#define SAEURON_MERGE_H

#include <stddef.h>

#include "saeuron_host.h"

/* Joins the parts of one run, in any order, or the statistics of several runs that differ in their concepts alone. */
int merge_parts(const saeuron_host *host, const char *const *paths, size_t count, const char *out, saeuron_error *err);

#endif
