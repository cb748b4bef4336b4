/* command_bench.c: the commands `selftest` and `bench`. */
#include "program/bench.h"
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int selftest_run(const char *isa, int threads, bool show, bool quiet); /* selftest.c */

int run_selftest(const options *o)
{
    return selftest_run(o->isa, o->threads ? (int)o->threads : os_cores(), o->listing, o->quiet);
}

int run_bench(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk t;
    options quiet = *o;
    quiet.quiet = true;
    if (!o->runs || o->runs > BENCH_RUNS_MAX)
        return usage("bench", "%s must be from 1 to 99", "--runs");
    int code = open_model(&x, &quiet, &t);
    if (code)
        return code;
    const bench_options b = { .as_json = o->json, .profile = o->profile, .runs = (size_t)o->runs, .only = o->only };
    code = bench_run(x, &b, &err);
    saeuron_close(x);
    return code ? complain(&err) : 0;
}
