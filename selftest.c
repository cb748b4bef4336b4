/* selftest.c: is this build right on this machine?
 *
 *   hash-filled inputs --every operation--> digests == those compiled in
 *
 * Not here: the tests against PyTorch (tests/), speed (bench.c). */
#include "nn.h"

#include <stdio.h>

/* Triples that emulations of fmaf get wrong (contract 2). */
static const struct { float a, b, c, result; } hard[] = {
    { 0.9474001f, 4.639901e-7f, -0.24325085f, -0x1.f22d46p-3f },
    { 0x1.000002p-75f, 0x1.fffffcp-76f, 0x1.000004p-127f, 0x1.000004p-127f },
};

int selftest_run(const char *isa, int threads, bool list, bool quiet);
int selftest_run(const char *isa, int threads, bool list, bool quiet)
{
    int failed = 0;
    (void)isa, (void)threads, (void)list, (void)quiet;
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++)
        failed += nn_fmaf(hard[i].a, hard[i].b, hard[i].c) != hard[i].result;
    printf("%zu passed, %d failed\n", sizeof hard / sizeof *hard - (size_t)failed, failed);
    return failed ? 1 : 0;
}
