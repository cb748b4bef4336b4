/* selftest.h: `saeuron selftest`, declared: every operation's digest against the list of this contract
 * version. Not for the library: it prints. */
#ifndef SAEURON_SELFTEST_H
#define SAEURON_SELFTEST_H

#include <stdbool.h>

/* isa NULL: every kernel set built in, with 1 thread and with 2; a set that this CPU cannot run is a line
 * SKIPPED unless quiet, and is counted at the end. show: prints the digests of the best set, or of isa,
 * instead. threads counts when isa or show is given. Returns the exit status. */
int selftest_run(const char *isa, int threads, bool show, bool quiet);

#endif
