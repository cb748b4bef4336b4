/* test_text.c: text.c: what is added is there, in order, however it grows; without memory nothing is
 * saved. */
#include "test.h"
#include "scratch.h"
#include "files/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Many pieces of every kind across every growth, and a text longer than all before it. */
static void grows(void)
{
    static char long_text[5000], want[400000];
    text_out t = { .host = NULL };
    saeuron_error e;
    size_t n = 0, size;
    memset(long_text, 'x', sizeof long_text - 1);
    for (int i = 0; i < 3000; i++) {
        text_add(&t, "%d\t", i);
        text_quote(&t, "a \"b\"\n");
        text_add(&t, "%g%s", 0.5 * i, i % 100 ? "" : long_text);
        n += (size_t)snprintf(want + n, sizeof want - n, "%d\t\"a \\\"b\\\"\\u000a\"%g%s", i, 0.5 * i, i % 100
                              ? "" : long_text);
    }
    CHECK(!t.failed && t.n == n && !memcmp(t.at, want, n + 1), "%zu bytes, not %zu", t.n, n);
    CHECK(text_save(&t, at("text"), &e) == SAEURON_OK && !t.at && !t.n, "%s", e.text);
    unsigned char *file = read_bytes(at("text"), &size);
    CHECK(size == n && !memcmp(file, want, n), "%zu bytes in the file", size);
    free(file);
    CHECK(text_save(&t, at("empty"), &e) == SAEURON_OK, "%s", e.text);
    free(read_bytes(at("empty"), &size));
    CHECK(size == 0, "%zu bytes of nothing", size);
}

static int run(const saeuron_host *h, saeuron_error *e)
{
    text_out t = { .host = h };
    for (int i = 0; i < 1000; i++)
        text_add(&t, "%d ", i);
    text_quote(&t, "end");
    return text_save(&t, at("fails"), e);
}

static void allocations_fail(void) { every_allocation_fails(run, 2); }

const test_case text_tests[] =
    { { "grows", grows }, { "allocations_fail", allocations_fail }, { NULL, NULL } };
