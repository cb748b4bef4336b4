/* sort.c: heap sort, and a binary search by name.
 * Source: Knuth, The Art of Computer Programming 3, sections 5.2.3 and 6.2.1. */
#include "files/sort.h"
#include "files/system.h"

#include <string.h>

static void swap(unsigned char *a, unsigned char *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

void sort_list(void *list, size_t n, size_t size, bool (*less)(const void *a, const void *b))
{
    unsigned char *at = list;
    for (size_t start = n / 2, end = n; end > 1;) {
        if (start > 0)
            start--;
        else
            swap(at + --end * size, at, size);
        for (size_t root = start, child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && less(at + child * size, at + (child + 1) * size))
                child++;
            if (!less(at + root * size, at + child * size))
                break;
            swap(at + root * size, at + child * size, size);
        }
    }
}

/* ---- by name ---- */

static const char *name_of(const void *element) { return *(const char *const *)element; }

static bool name_less(const void *a, const void *b) { return strcmp(name_of(a), name_of(b)) < 0; }

void sort_by_name(void *list, size_t n, size_t size) { sort_list(list, n, size, name_less); }

void *find_by_name(const void *list, size_t n, size_t size, const char *name)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const void  *at = (const unsigned char *)list + middle * size;
        const int    order = strcmp(name_of(at), name);
        if (order == 0)
            return (void *)(uintptr_t)at;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *sort_names(const char **names, size_t n)
{
    sort_by_name(names, n, sizeof *names);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(names[i - 1], names[i]))
            return names[i];
    return NULL;
}

int find_twice(const char **twice, const saeuron_host *host, const void *list, size_t n, size_t size)
{
    const char **names = io_alloc(host, n, sizeof *names);
    *twice = NULL;
    if (!names)
        return SAEURON_ENOMEM;
    for (size_t i = 0; i < n; i++)
        names[i] = name_of((const unsigned char *)list + i * size);
    *twice = sort_names(names, n);
    io_free(host, names);
    return SAEURON_OK;
}
