/* opened.c: the tiny model opened and closed. See opened.h. */
#include "test.h"
#include "opened.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tiny files;

saeuron_context *opened(const char *isa, int threads) { return opened_packed(isa, threads, 0); }

saeuron_context *opened_packed(const char *isa, int threads, size_t pack)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    saeuron_host  host = tiny_host(&files);
    host.isa = isa;
    host.threads = threads;
    host.pack = pack;
    CHECK(saeuron_open(&x, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
    return x;
}

saeuron_context *fresh(void)
{
    tiny_make(&files);
    saeuron_context *x = opened(NULL, 1);
    if (!x) { /* not even the model as it was made: every test of this suite would crash */
        printf("the tiny model does not open; 0 passed, 1 failed\n");
        exit(1);
    }
    return x;
}

void done(saeuron_context *x)
{
    saeuron_close(x);
    CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0,
          "%ld blocks and %ld maps are left, %ld blocks torn", files.live, files.mapped, files.torn);
    tiny_free(&files);
}

void check_error(const char *what, int code, int wanted, const saeuron_error *e, const char *words)
{
    CHECK(code == wanted && e->code == wanted && test_holds(e->text, words) && !strchr(e->text, '\n') &&
              strlen(e->text) > 8,
          "%s: code %d (wanted %d), \"%s\" should hold %s", what, code, wanted, e->text, words);
}

void each_allocation_fails(saeuron_context *x, int (*run)(saeuron_context *, saeuron_error *))
{
    saeuron_error e = { 0 };
    const long before = files.live;
    files.allocs = 0;
    CHECK(run(x, &e) == SAEURON_OK, "%s", e.text);
    const long all = files.allocs;
    CHECK(all > 6, "%ld allocations", all);
    for (long n = 1; n <= all; n++) {
        files.allocs = 0;
        files.fail_at = n;
        e = (saeuron_error){ 0 };
        const int code = run(x, &e);
        const char *mb = strstr(e.text, " MB "); /* of this model: a number of three digits at most */
        CHECK(code == SAEURON_ENOMEM && e.code == SAEURON_ENOMEM && strstr(e.text, "memory") &&
                  (!mb || mb[-4] < '0' || mb[-4] > '9'),
              "allocation %ld of %ld: code %d, \"%s\"", n, all, code, e.text);
        CHECK(files.live == before && files.torn == 0, "allocation %ld: %ld blocks are left", n,
              files.live - before);
    }
    files.fail_at = 0;
    CHECK(run(x, &e) == SAEURON_OK, "afterwards: %s", e.text);
    test_note("%ld allocations", all);
}
