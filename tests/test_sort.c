/* test_sort.c: heap sort on lists of every small length; names that stand twice. */
#include "test.h"
#include "scratch.h"
#include "files/sort.h"

#include <stdio.h>
#include <string.h>

typedef struct pair { int key; char rest[9]; } pair;

static bool pair_less(const void *a, const void *b)
{
    return ((const pair *)a)->key < ((const pair *)b)->key;
}

/* Every element is there once, whole, and none before a smaller one. */
static void lists(void)
{
    for (size_t n = 0; n < 70; n++) {
        pair   list[70];
        size_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            list[i].key = (int)(random_bits() % 40);
            snprintf(list[i].rest, sizeof list[i].rest, "%d", list[i].key);
        }
        for (size_t i = 0; i < n; i++)
            sum += (size_t)list[i].key;
        sort_list(list, n, sizeof *list, pair_less);
        for (size_t i = 0; i < n; i++) {
            char rest[9];
            snprintf(rest, sizeof rest, "%d", list[i].key);
            CHECK((!i || list[i - 1].key <= list[i].key) && !strcmp(rest, list[i].rest), "%zu of %zu", i, n);
            sum -= (size_t)list[i].key;
        }
        CHECK(!sum, "%zu elements are others than before", n);
    }
}

static void names(void)
{
    const char *three[] = { "b", "c", "a" }, *again[] = { "b", "a", "c", "", "a" };
    CHECK(!sort_names(three, 3) && !strcmp(three[0], "a") && !strcmp(three[2], "c"), "%s %s %s", three[0],
          three[1], three[2]);
    const char *twice = sort_names(again, 5);
    CHECK(twice && !strcmp(twice, "a"), "%s", twice ? twice : "none");
    CHECK(!sort_names(NULL, 0), "of no names one is there twice");
}

const test_case sort_tests[] = { { "lists", lists }, { "names", names }, { NULL, NULL } };
