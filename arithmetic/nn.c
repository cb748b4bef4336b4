/* nn.c: which kernels compute, and whether this machine rounds as they need. Not here: any arithmetic (reference.c, kernels.c). */
#include "arithmetic/nn.h"

/* ---- context ---- */

/* Built in, worst first; "reference" is this file alone. */
static const struct nn_kernels *const built_in[] = {
    NULL,
#define LIST(isa) &nn_kernels_##isa,
    NN_KERNELS(LIST)
#undef LIST
};

const char *nn_isa_list(void)
{
#define NAME(isa) "," #isa
    return "reference" NN_KERNELS(NAME);
#undef NAME
}

/* Whether this CPU runs the instructions that the kernels were compiled for. */
static bool runnable(const char *isa)
{
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(isa, "avx2"))
        return avx2;
    if (!strcmp(isa, "avx512"))
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
    (void)isa;
    return true;
}

bool nn_init(nn *c, const char *isa, int threads, arena *work)
{
    const size_t count = sizeof built_in / sizeof *built_in;

    c->kernels = NULL;
#ifdef _OPENMP
    c->threads = threads > 0 ? threads : 1;
#else
    c->threads = 1;
    (void)threads;
#endif
    c->work = work;
    for (size_t i = count; i-- > 1;)
        if ((!isa || !strcmp(isa, built_in[i]->name)) && runnable(built_in[i]->name)) {
            c->kernels = built_in[i];
            return true;
        }
    return !isa || !strcmp(isa, "reference");
}

const char *nn_isa_name(const nn *c) { return c->kernels ? c->kernels->name : "reference"; }

/* Volatile, so that the processor is asked and not the compiler. */
bool nn_environment_ok(void)
{
    volatile float  one = 1.0f, tie = 0x1p-24f, more = 0x1.8p-24f, least = FLT_MIN, half = 0.5f;
    volatile double one_d = 1.0, tie_d = 0x1p-53, more_d = 0x1.8p-53, least_d = DBL_MIN, half_d = 0.5;
    volatile float  up = one + more, even = one + tie, down = -one - more, tiny = least * half, back = tiny / half;
    volatile double up_d = one_d + more_d, even_d = one_d + tie_d, down_d = -one_d - more_d;
    volatile double tiny_d = least_d * half_d, back_d = tiny_d / half_d;

    return up == 1.0f + FLT_EPSILON && even == 1.0f && down == -1.0f - FLT_EPSILON && tiny != 0.0f && back == FLT_MIN &&
           up_d == 1.0 + DBL_EPSILON && even_d == 1.0 && down_d == -1.0 - DBL_EPSILON && tiny_d != 0.0 && back_d == DBL_MIN;
}

bool nn_team_environment_ok(int threads)
{
    int wrong = 0;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) if (threads > 1)
#endif
    if (!nn_environment_ok()) {
#ifdef _OPENMP
#pragma omp atomic
#endif
        wrong++;
    }
    (void)threads;
    return wrong == 0;
}
