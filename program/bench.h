/* bench.h: `saeuron bench`, declared; bench.c measures. Not for the library: it prints. */
#ifndef SAEURON_BENCH_H
#define SAEURON_BENCH_H

#include "saeuron.h"

#include <stdbool.h>

#define BENCH_RUNS_MAX 99
typedef struct bench_options {
    bool   as_json;
    bool   profile, with_load; /* instead of the rows: a step by operations; a step beside a busy process */
    size_t runs;        /* 1 to BENCH_RUNS_MAX: each figure is their median */
    const char *only;   /* one row, by its name; NULL: all but those that take minutes */
} bench_options;

/* Prints the rows on stdout. Returns SAEURON_OK or an error. */
int bench_run(saeuron_context *x, const bench_options *o, saeuron_error *err);

#endif
