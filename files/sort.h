/* sort.h: lists put in order, and names that stand in one twice.
 * Not here: which order (the caller's less). Nothing lies below this. */
#ifndef SAEURON_SORT_H
#define SAEURON_SORT_H

#include <stdbool.h>
#include <stddef.h>

/* Sorts list [n], of elements of `size` bytes, by less: heap sort, so that no input makes it slow and it
 * needs no memory. Equal elements end in any order. */
void sort_list(void *list, size_t n, size_t size, bool (*less)(const void *a, const void *b));
/* Sorts names [n]; returns one that stands there twice, or NULL. */
const char *sort_names(const char **names, size_t n);

#endif
