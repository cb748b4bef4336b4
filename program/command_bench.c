/* command_bench.c: the commands `selftest` and `bench`: is this build right, and how fast is it?
 *
 *   options --selftest.c--> digests, right or wrong          options, a model --bench.c--> rows
 *
 * Not here: what is computed and timed (selftest.c, bench.c). */
#include "program/bench.h"
#include "files/error.h"
#include "program/messages.h"
#include "program/opening.h"

int selftest_run(const char *isa, int threads, bool show, bool quiet); /* selftest.c */

static const char *only;
static size_t runs = 5;
static bool   listing, profile, with_load;

/* ---- selftest ---- */

static const option selftest_table[] = {
    { "--list", NULL, "print every digest, whether it is right or not", .flag = &listing },
    { .group = machine_options }, { 0 },
};

static int run_selftest(saeuron_error *err)
{
    const char *isa;
    int threads;
    (void)err;
    machine(&threads, &isa);
    return selftest_run(isa, threads, listing, talk.quiet);
}

const command command_selftest = {
    "selftest", "",
    "is this build right on this machine?", selftest_table, .run = run_selftest,
};

/* ---- bench ---- */

static const option bench_table[] = {
    { "--only", "ROW", "one row of the list by its name, also those that take minutes", .text = &only },
    { "--runs", "N", "each figure is the median of N runs (default 5)", .count = &runs },
    { "--profile", NULL, "one guided step instead, operation by operation", .flag = &profile },
    { "--with-load", NULL, "instead: a guided step alone, and beside a process that keeps a core busy",
      .flag = &with_load },
    { .group = model_options }, { .group = synthetic_options },
    { .group = json_options }, { 0 },
};

static int run_bench(saeuron_error *err)
{
    saeuron_context *x = NULL;
    int code;
    talk.quiet = true;
    if (runs > BENCH_RUNS_MAX)
        return fail(err, SAEURON_EUSAGE, "--runs must be from 1 to 99");
    if ((code = open_model(&x, NULL, err)) != SAEURON_OK)
        return code;
    const bench_options b = { .as_json = as_json, .profile = profile, .with_load = with_load, .runs = runs,
                              .only = only };
    code = bench_run(x, &b, err);
    saeuron_close(x);
    return code;
}

const command command_bench = {
    "bench", "",
    "how fast it is, and how near the peak", bench_table, .run = run_bench,
};
