/* merge.h: the parts of one run joined to the file that one run would have written, to the byte.
 *
 *   activations or statistics of parts 0/N .. N-1/N, in any order --merge_parts--> those of 0/1
 *
 * Not here: who makes parts (collect.h, statistics.h). */
#ifndef SAEURON_MERGE_H
#define SAEURON_MERGE_H

#include <stddef.h>

#include "saeuron_host.h"

/* Joins the files at paths into the file out. They are all parts of one run, in any order; or statistics of
 * whole runs that differ in their concepts alone, whose tensors then follow one another. SAEURON_EFORMAT
 * names the files that do not belong together. After an error out is as it was. */
int merge_parts(const saeuron_host *host, const char *const *paths, size_t count, const char *out,
                saeuron_error *err);

#endif
