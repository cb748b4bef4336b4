/* test_print.c: print_into against the C library's snprintf, and by hand where that is asked for less.
 *
 * Not here: what is printed (the tests of each file). */
#include "test.h"
#include "files/print.h"
#include "scratch.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Both give the same bytes, whole and cut at every length, and the same length. */
#define SAME(...) \
    do { \
        char a[200], b[200]; \
        const int n = snprintf(a, sizeof a, __VA_ARGS__); \
        const size_t m = print_into(b, sizeof b, __VA_ARGS__); \
        CHECK(n >= 0 && m == (size_t)n && !strcmp(a, b), "\"%s\" (%zu), not \"%s\" (%d)", b, m, a, n); \
        for (size_t size = 0; size <= m + 1; size++) { \
            memset(a, '!', sizeof a); \
            memset(b, '!', sizeof b); \
            snprintf(a, size, __VA_ARGS__); \
            CHECK(print_into(b, size, __VA_ARGS__) == m && !memcmp(a, b, sizeof a), "cut at %zu", size); \
        } \
    } while (0)

static void texts(void)
{
    const char not_ended[3] = { 'a', 'b', 'c' };
    SAME("nothing to convert");
    SAME("100 %%, %s and %s", "one", "");
    SAME("%s|%10s|%.2s|%5.2s|%.0s|", "left", "right", "cut", "both", "gone");
    SAME("%.*s|%*s|%*.*s|", 3, "abcdef", 6, "pad", 6, 2, "both");
    SAME("%.3s", not_ended);
    SAME("%c%c", 'x', '\n');
}

static void numbers(void)
{
    static const long long values[] = { 0, 1, -1, 9, 10, -10, INT_MAX, INT_MIN, LLONG_MAX, LLONG_MIN };
    for (size_t i = 0; i < COUNT(values); i++) {
        const long long x = values[i];
        SAME("%d %ld %lld", (int)x, (long)x, x);
        SAME("%u %lu %llu %zu", (unsigned)x, (unsigned long)x, (unsigned long long)x, (size_t)x);
        SAME("%x %X %lx %016llx %02X", (unsigned)x, (unsigned)x, (unsigned long)x, (unsigned long long)x,
             (unsigned)x);
        SAME("%05zu|%3d|%06d|%*d|%1u", (size_t)(unsigned)x, (int)x, (int)x, 12, (int)x, (unsigned)x);
        SAME("%" PRIu64 " %" PRIx64 " %016" PRIx64 " %" PRIu32 " %" PRId64, (uint64_t)x, (uint64_t)x,
             (uint64_t)x, (uint32_t)x, (int64_t)x);
    }
    for (int i = 0; i < 2000; i++) {
        const uint64_t x = random_bits() >> random_bits() % 64;
        SAME("%" PRIu64 " %zu %" PRIx64 " %d", x, (size_t)x, x, (int)x);
    }
}

/* %g is the shortest decimal that reads back, whatever its length. */
static void reals(void)
{
    static const struct { double x; const char *text; } cases[] = {
        { 0, "0" }, { 1048576, "1048576" }, { 0.1, "0.1" }, { -1.5, "-1.5" }, { 1e22, "1e+22" },
        { 1.0 / 3, "0.3333333333333333" }, { 1e6, "1000000" },
    };
    char text[64];
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK(print_into(text, sizeof text, "%g", cases[i].x) == strlen(cases[i].text) &&
              !strcmp(text, cases[i].text), "%s, not %s", text, cases[i].text);
        print_into(text, sizeof text, "<%30g>", cases[i].x);
        CHECK(strlen(text) == 32 && !strcmp(text + 31 - strlen(cases[i].text), strcat(strcpy(
              (char[64]){ 0 }, cases[i].text), ">")), "%s", text);
    }
}

/* A conversion that is not ended ends the text; one that is unknown stands for its letter. */
static void damaged(void)
{
    char text[32];
    const char *const formats[] = { "abc%", "abc%0", "abc%5.", "abc%l", "abc%q" };
    for (size_t i = 0; i < COUNT(formats); i++) {
        const char *volatile format = formats[i];
        print_into(text, sizeof text, format, 0);
        CHECK(!strncmp(text, "abc", 3) && strlen(text) <= 4, "%s", text);
    }
}

const test_case print_tests[] = {
    { "texts", texts }, { "numbers", numbers }, { "reals", reals }, { "damaged", damaged }, { NULL, NULL },
};
