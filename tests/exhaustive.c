/* exhaustive.c: every float there is, through every function of one number.
 *
 *   the lanes that this file's compiler makes of number.h == number.c, bit for bit      all six functions
 *   distance from the truth in ulp, by the C library's double functions                 exp log erf
 *   exp_cr is the float nearest to exp, by float128 where double cannot tell
 *
 *   exhaustive [STEP]      STEP 1: all 2^32 floats (minutes); STEP n: every n-th, from 0
 *
 * `make exhaustive` compiles this file for the best instruction set here, and number.c as always. The worst
 * distances go into docs/contract.md, section 5. Needs gcc for float128 (libquadmath); without, the cases
 * that ask for it are counted as unsure. */
#include "arithmetic/number.h"
#include "arithmetic/threads.h"

#include <stdio.h>
#include <stdlib.h>
#ifdef HAVE_QUADMATH
#include <quadmath.h>
#endif

enum { RUN = 4096 };

typedef void lanes_function(float *restrict y, const float *restrict x);
#define LANES(name)                                                         \
    static void name##_lanes(float *restrict y, const float *restrict x)    \
    {                                                                       \
        for (int i = 0; i < RUN; i++)                                       \
            y[i] = name##32(x[i]);                                          \
    }
LANES(exp)
LANES(log)
LANES(erf)
LANES(silu)
LANES(gelu)
LANES(quick_gelu)

static double exp_d(double x) { return exp(x); }
static double log_d(double x) { return log(x); }
static double erf_d(double x) { return erf(x); }

static const struct {
    const char *name;
    lanes_function *lanes;
    float  (*one)(float);
    double (*truth)(double);
    double bar; /* ulp that are allowed */
} table[] = {
    { "exp", exp_lanes, nn_expf, exp_d, 1.01 },
    { "log", log_lanes, nn_logf, log_d, 0.5001 },
    { "erf", erf_lanes, nn_erff, erf_d, 1.06 },
    { "silu", silu_lanes, nn_silu1, NULL, 0.0 },
    { "gelu", gelu_lanes, nn_gelu1, NULL, 0.0 },
    { "quick_gelu", quick_gelu_lanes, nn_quick_gelu1, NULL, 0.0 }
};

/* Distance in units of the last place of the float nearest to the truth. */
static double ulps(float y, double truth)
{
    const float  t = fabsf((float)truth), above = f32_from(f32_bits(t) + 1);
    const double place = t >= FLT_MAX ? 0x1p104 : (double)(above - t);
    return fabs((double)y - truth) / place;
}

/* All patterns from `from`, RUN of them, `step` apart: how many differ, and the worst distance and where. */
static int run(size_t f, uint32_t from, uint32_t step, double *worst, float *at)
{
    float x[RUN], y[RUN];
    int different = 0;

    for (uint32_t i = 0; i < RUN; i++)
        x[i] = f32_from(from + i * step);
    table[f].lanes(y, x);
    for (int i = 0; i < RUN; i++) {
        const float z = table[f].one(x[i]);
        different += f32_bits(y[i]) != f32_bits(z) && (y[i] == y[i] || z == z);
        if (table[f].truth && z - z == 0.0f && x[i] - x[i] == 0.0f) {
            const double d = ulps(z, table[f].truth((double)x[i]));
            if (d > *worst) {
                *worst = d;
                *at = x[i];
            }
        }
    }
    return different;
}

static int function(size_t f, uint32_t step)
{
    const int64_t runs = ((int64_t)1 << 32) / RUN / step;
    double worst = 0.0;
    float  at = 0.0f;
    long   different = 0;

    OMP(omp parallel reduction(+ : different))
    {
        double mine = 0.0;
        float  where = 0.0f;
        OMP(omp for schedule(dynamic, 64))
        for (int64_t r = 0; r < runs; r++)
            different += run(f, (uint32_t)(r * RUN * step), step, &mine, &where);
        OMP(omp critical)
        if (mine > worst) {
            worst = mine;
            at = where;
        }
    }
    printf("%-10s %ld of %lld differ", table[f].name, different, (long long)(runs * RUN));
    if (table[f].truth)
        printf("; worst %.5f ulp at %a (allowed %.4f)", worst, (double)at, table[f].bar);
    printf("\n");
    fflush(stdout);
    return different != 0 || (table[f].truth && worst > table[f].bar);
}

/* The nearest float to exp(x), or false where neither double nor float128 can tell. */
static int nearest_exp(float x, float *y)
{
    const double t = exp((double)x); /* within 2^-52 of the truth, relatively */
    const float  low = (float)(t * (1.0 - 0x1p-51)), high = (float)(t * (1.0 + 0x1p-51));
    *y = low;
    if (low == high)
        return 1;
#ifdef HAVE_QUADMATH
    const __float128 q = expq(x), middle = ((__float128)low + (__float128)high) / 2;
    const __float128 d = q - middle;
    *y = d > 0 ? high : low;
    return (d > 0 ? d : -d) > q * (__float128)0x1p-105;
#else
    return 0;
#endif
}

/* Every step-th float of [-104, 88.7] from 2^-25 in size on: below, the result is 1 or its neighbour. */
static int correctly_rounded(uint32_t step)
{
    long wrong = 0, unsure = 0, count = 0;

    OMP(omp parallel for schedule(dynamic, 4096) reduction(+ : wrong, unsure, count))
    for (int64_t i = 0x32000000; i <= 0x42d00000; i += step)
        for (uint32_t sign = 0; sign < 2; sign++) {
            const float x = f32_from((uint32_t)i | sign << 31);
            float y;
            if (x > 88.7f)
                continue;
            if (!nearest_exp(x, &y))
                unsure++;
            else
                wrong += nn_expf_cr(x) != y;
            count++;
        }
    printf("exp_cr     %ld of %ld not the nearest float; %ld unsure\n", wrong, count, unsure);
    return wrong != 0;
}

int main(int argc, char **argv)
{
    const long step = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    int bad = 0;

    if (step < 1 || step > 65536) {
        fprintf(stderr, "usage: exhaustive [STEP]\n");
        return 2;
    }
    for (size_t f = 0; f < sizeof table / sizeof *table; f++)
        bad |= function(f, (uint32_t)step);
    bad |= correctly_rounded((uint32_t)step);
    return bad;
}
