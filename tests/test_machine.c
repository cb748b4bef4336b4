/* test_machine.c: the two refusals that every entry begins with, by code and words.
 * Not here: that each entry makes them (test_saeuron.c, test_vit.c). */
#include "test.h"
#include "arithmetic/threads.h"
#include "layers/machine.h"

#include <fenv.h>
#include <string.h>

/* Another rounding is refused in the caller; and in the pool, where it stays when the caller has gone back.
 * (A runtime may hand its caller's settings on to the pool: libomp does, libgomp does not. Then the pool is
 * right.) */
static void environment(void)
{
    saeuron_error e[3];
    memset(e, 0, sizeof e);
    CHECK(check_environment(1, &e[0]) == SAEURON_OK && check_environment(3, &e[0]) == SAEURON_OK, "%s",
          e[0].text);
    fesetround(FE_UPWARD);
    const int here = check_environment(1, &e[1]);
    fesetround(FE_TONEAREST);
    OMP(omp parallel num_threads(2))
    if (thread_number())
        fesetround(FE_UPWARD);
    const bool right = nn_team_environment_ok(2);
    const int  alone = check_environment(1, &e[2]), pool = check_environment(2, &e[2]);
    OMP(omp parallel num_threads(2))
    fesetround(FE_TONEAREST);
    CHECK(here == SAEURON_EENV && test_holds(e[1].text, "floating-point environment|restore"), "%d: %s", here,
          e[1].text);
    CHECK(alone == SAEURON_OK, "one thread is refused for the pool");
    CHECK(right ? pool == SAEURON_OK : pool == SAEURON_EENV &&
          test_holds(e[2].text, "OpenMP's pool|1 thread"), "%d: %s", pool,
          e[2].text);
    test_note("a pool that rounds upward: %s", pool ? "refused" : "rounds as its caller");
    CHECK(check_environment(2, NULL) == SAEURON_OK, "afterwards");
}

static void kernels(void)
{
    nn c;
    saeuron_error e = { 0 };
    CHECK(choose_kernels(&c, NULL, 1, NULL, &e) == SAEURON_OK && c.kernels && c.threads == 1, "the best: %s",
          e.text);
    const int code = choose_kernels(&c, "sse5", 1, NULL, &e);
    CHECK(code == SAEURON_EUSAGE && test_holds(e.text, "\"sse5\"|there are: reference,scalar"), "%d: %s",
          code, e.text);
}

const test_case machine_tests[] = {
    { "environment", environment },
    { "kernels", kernels },
    { NULL, NULL }
};
