/* machine.c: the two refusals of machine.h. Not here: what a conforming machine does (docs/contract.md,
 * section 1). */
#include "layers/machine.h"

int check_environment(int threads, saeuron_error *err)
{
    if (!nn_environment_ok())
        return fail(err, SAEURON_EENV,
                    "the floating-point environment flushes subnormals or does not round to nearest: "
                    "restore it before calling");
    if (!nn_team_environment_ok(threads))
        return fail(err, SAEURON_EENV,
                    "a thread of OpenMP's pool was started under a floating-point environment that flushes "
                    "subnormals or does not round to nearest: start the pool after restoring it, "
                    "or ask for 1 thread");
    return SAEURON_OK;
}

int choose_kernels(nn *c, const char *isa, int threads, arena *work, saeuron_error *err)
{
    if (nn_init(c, isa, threads, work))
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU; there are: %s",
                isa, nn_isa_list());
}
