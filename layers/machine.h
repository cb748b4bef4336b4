/* machine.h: what every entry asks of the machine before it computes: arithmetic that rounds as the contract
 * says, and kernels that run here; each refused with one message.
 *
 *   an entry --check_environment, choose_kernels--> an nn to compute with, or an error
 *
 * Not here: how both are found out (arithmetic/nn.h, which knows no errors). */
#ifndef SAEURON_MACHINE_H
#define SAEURON_MACHINE_H

#include "arithmetic/nn.h"
#include "files/error.h"

/* SAEURON_EENV when this thread, or one of an OpenMP team of so many threads, flushes subnormals or does not
 * round to nearest (contract 1). threads 1 asks this thread alone. */
int check_environment(int threads, saeuron_error *err);

/* nn_init; SAEURON_EUSAGE when isa (host.isa; NULL: the best) is unknown, not built in or not for this
 * CPU. */
int choose_kernels(nn *c, const char *isa, int threads, arena *work, saeuron_error *err);

#endif
