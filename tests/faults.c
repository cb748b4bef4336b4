/* faults.c: which call of the system fails in the faulty program: FAULT="fread 2", the second of its kind.
 * The file FAULT_SAID then holds "failed"; or, when there were not so many, the kinds and how many of each.
 *
 * Not here: the calls (faults.h), the test (test_faults.c). Calls are counted in one thread. */
#include "faults.h"

#include <stdbool.h>
#include <string.h>

FILE *fault_unread;

static struct { const char *name; long calls; } kinds[32];
static bool begun, failed;

/* Through no double: these lines are no part of the program. */
static void say(void)
{
    FILE *f = (fopen)(getenv("FAULT_SAID"), "w");
    for (size_t i = 0; f && !failed && i < sizeof kinds / sizeof *kinds && kinds[i].name; i++)
        fprintf(f, "%s %ld\n", kinds[i].name, kinds[i].calls);
    if (f && failed)
        fprintf(f, "failed\n");
    if (f)
        (fclose)(f);
}

int fault_now(const char *name, int reason)
{
    const char *fault = getenv("FAULT");
    const size_t n = strlen(name);
    size_t i = 0;
    if (!begun)
        atexit(say);
    begun = true;
    while (kinds[i].name && strcmp(kinds[i].name, name))
        i++;
    kinds[i].name = name;
    kinds[i].calls++;
    if (failed || !fault || strncmp(fault, name, n) || fault[n] != ' ' || atol(fault + n) != kinds[i].calls)
        return false;
    failed = true;
    errno = reason;
    return true;
}
