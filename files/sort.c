/* sort.c: heap sort. Source: Knuth, The Art of Computer Programming 3, section 5.2.3. */
#include "files/sort.h"

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

static bool name_less(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b) < 0;
}

const char *sort_names(const char **names, size_t n)
{
    sort_list(names, n, sizeof *names, name_less);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(names[i - 1], names[i]))
            return names[i];
    return NULL;
}
