/* sort.h: lists put in order; lists whose elements begin with their name, a const char *.
 * Not here: what else an element holds, and any other order (the caller's less). */
#ifndef SAEURON_SORT_H
#define SAEURON_SORT_H

#include <stdbool.h>
#include <stddef.h>

#include "saeuron_host.h"

/* Sorts list [n], of elements of `size` bytes, by less: heap sort, so that no input makes it slow and it
 * needs no memory. Equal elements end in any order. */
void sort_list(void *list, size_t n, size_t size, bool (*less)(const void *a, const void *b));

/* The same by their names. */
void sort_by_name(void *list, size_t n, size_t size);
/* The element of that name in a list so sorted; NULL: there is none. */
void *find_by_name(const void *list, size_t n, size_t size, const char *name);
/* *twice: a name that list [n], in any order, has twice, or NULL. SAEURON_ENOMEM, without a text, when there
 * is no memory for the names. */
int find_twice(const char **twice, const saeuron_host *host, const void *list, size_t n, size_t size);
/* Sorts names [n]; returns one that stands there twice, or NULL. */
const char *sort_names(const char **names, size_t n);

#endif
