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

typedef struct entry { const char *name; int number; } entry;

/* Of every length the element of each name is found, and none of a name before, between or behind them; to
 * look for names that stand twice changes no list. */
static void by_name(void)
{
    static const char *const all[] = { "b", "d", "f", "h", "j", "l", "n" };
    static const char *const none[] = { "", "a", "g", "o" };
    for (size_t n = 0; n <= COUNT(all); n++) {
        entry list[COUNT(all) + 1];
        const char *twice = "x";
        for (size_t i = 0; i < n; i++)
            list[i] = (entry){ all[n - 1 - i], (int)(n - 1 - i) };
        CHECK(!find_twice(&twice, NULL, list, n, sizeof *list) && !twice, "of %zu", n);
        CHECK(!n || list[0].number == (int)n - 1, "the list of %zu was changed", n);
        sort_by_name(list, n, sizeof *list);
        for (size_t i = 0; i < n; i++) {
            const entry *found = find_by_name(list, n, sizeof *list, all[i]);
            CHECK(found && found->number == (int)i, "%zu of %zu", i, n);
        }
        for (size_t i = 0; i < COUNT(none); i++)
            CHECK(!find_by_name(list, n, sizeof *list, none[i]), "\"%s\" of %zu", none[i], n);
        list[n] = (entry){ all[n / 2], 9 };
        CHECK(!find_twice(&twice, NULL, list, n + 1, sizeof *list) && (n ? twice == all[n / 2] : !twice),
              "of %zu and one again", n);
    }
    counting memory = { 0, 0, 1 };
    const saeuron_host host = { .user = &memory, .alloc = count_alloc, .free = count_free };
    const entry one = { "a", 1 };
    const char *twice = "x";
    CHECK(find_twice(&twice, &host, &one, 1, sizeof one) == SAEURON_ENOMEM && !twice, "no memory");
}

const test_case sort_tests[] = {
    { "lists", lists }, { "names", names }, { "by_name", by_name }, { NULL, NULL },
};
