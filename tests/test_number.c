/* test_number.c: formats and functions of one number, against the C library's in double; hard cases by hand.
 * Not here: all 2^32 floats (exhaustive.c), other compilers and machines (selftest.c), NumPy (twin.py). */
#include "test.h"
#include "arithmetic/number.h"
#include "arithmetic/rng.h"

/* The naive (float)((double)a*b + c) gets the first two wrong; most C libraries but glibc get one of them
 * wrong. */
static void fma_cases(void)
{
    static const struct { float a, b, c, y; } cases[] = {
        { 0.9474001f, 4.639901e-7f, -0.24325085f, -0x1.f22d46p-3f },
        { 0x1.000002p-75f, 0x1.fffffcp-76f, 0x1.000004p-127f, 0x1.000004p-127f },
        { 0x1.fffffep+127f, 2.0f, -0x1.fffffep+127f, 0x1.fffffep+127f },
        { 0x1p-126f, 0x1p-23f, 0x1p-149f, 0x1p-148f },
        { 0x1p-75f, -0x1p-75f, 0.0f, -0.0f },
        { 0x1.000002p+0f, 0x1.000002p+0f, -0x1.000004p+0f, 0x1p-46f },
        { 1.0f, 0x1p-24f, 1.0f, 1.0f },
        { 0x1.000002p+0f, 0x1p-24f, 1.0f, 0x1.000002p+0f },
        { -0x1.000002p+0f, 0x1p-24f, -1.0f, -0x1.000002p+0f },
        { 0.0f, 5.0f, -0.0f, 0.0f },
        { -0.0f, 5.0f, -0.0f, -0.0f },
        { HUGE_VALF, 1.0f, 1.0f, HUGE_VALF },
        { 1.0f, 1.0f, -HUGE_VALF, -HUGE_VALF }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const float a = cases[i].a, b = cases[i].b, c = cases[i].c;
        CHECK(f32_bits(nn_fmaf(a, b, c)) == f32_bits(cases[i].y), "fma case %zu is %a, not %a", i,
              (double)nn_fmaf(a, b, c), (double)cases[i].y);
        CHECK(f32_bits(fma32_soft(a, b, c)) == f32_bits(cases[i].y), "emulated fma case %zu is %a, not %a", i,
              (double)fma32_soft(a, b, c), (double)cases[i].y);
    }
    CHECK(nn_fmaf(HUGE_VALF, 0.0f, 1.0f) != nn_fmaf(HUGE_VALF, 0.0f, 1.0f), "infinity times zero");
    CHECK(fma32_soft(HUGE_VALF, 0.0f, 1.0f) != fma32_soft(HUGE_VALF, 0.0f, 1.0f),
          "infinity times zero, emulated");
}

/* Where a softmax takes the short way to the exponential, it must be the exponential. */
static void exp_short(void)
{
    for (uint32_t u = 0x80000000u; u <= f32_bits(EXP_NORMAL); u += 997)
        CHECK(f32_bits(exp32_normal(f32_from(u))) == f32_bits(exp32(f32_from(u))), "exp(%a)",
              (double)f32_from(u));
    CHECK(exp32_normal(0.0f) == 1.0f && f32_bits(exp32_normal(EXP_NORMAL)) == f32_bits(exp32(EXP_NORMAL)),
          "exp at the ends");
}

/* Whole range by bit patterns: the emulation against the processor, where number.c was built with a
 * hardware fma (else both are the emulation, and selftest.c compares across machines). */
static void fma_random(void)
{
    for (uint64_t i = 0; i < 300000; i++) {
        const float a = f32_from((uint32_t)rng_value(1, 1, i)), b = f32_from((uint32_t)rng_value(1, 2, i));
        const float near = -(a * b) * (1.0f + rng_symmetric(1, 4, i, 0x1p-22f));
        const float c = i % 2 ? f32_from((uint32_t)rng_value(1, 3, i)) : near;
        const float x = nn_fmaf(a, b, c), y = fma32_soft(a, b, c);
        if (x == x || y == y)
            CHECK(f32_bits(x) == f32_bits(y), "fma(%a, %a, %a): %a or %a", (double)a, (double)b, (double)c,
                  (double)x, (double)y);
    }
}

/* Distance to the truth in units of the last place of the truth's float. */
static double ulps(float y, double truth)
{
    const float t = (float)truth, size = t < 0 ? -t : t;
    const double place = (double)(f32_from(f32_bits(size) + 1) - size);
    const double d = ((double)y - truth) / place;
    return d < 0 ? -d : d;
}

static double exp_d(double x) { return exp(x); }
static double log_d(double x) { return log(x); }
static double erf_d(double x) { return erf(x); }

/* A wrong coefficient costs at least a few ulp somewhere. The bars are docs/contract.md's, section 5. */
static void elementary(void)
{
    static const struct {
        const char *name;
        float  (*f)(float);
        double (*truth)(double);
        float  from, to;
        double bar;
    } table[] = {
        { "exp", nn_expf, exp_d, -103.0f, 88.7f, 1.01 },
        { "exp near 0", nn_expf, exp_d, -1.0f, 1.0f, 1.01 },
        { "log", nn_logf, log_d, 1e-38f, 1e38f, 0.5001 },
        { "log near 1", nn_logf, log_d, 0.5f, 2.0f, 0.5001 },
        { "erf", nn_erff, erf_d, -4.5f, 4.5f, 1.06 },
        { "erf near 0", nn_erff, erf_d, -0.01f, 0.01f, 1.06 },
        { "exp, correctly rounded", nn_expf_cr, exp_d, -20.0f, 20.0f, 0.500001 }
    };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        double worst = 0.0;
        for (uint64_t i = 0; i < 20000; i++) {
            const float x = table[t].from + rng_uniform(2, t, i) * (table[t].to - table[t].from);
            const double d = ulps(table[t].f(x), table[t].truth((double)x));
            worst = d > worst ? d : worst;
        }
        CHECK(worst <= table[t].bar, "%s: %.4f ulp, allowed %.4f", table[t].name, worst, table[t].bar);
        test_note("%s: %.4f ulp of %.4f", table[t].name, worst, table[t].bar);
    }
}

/* Arguments whose exp lies nearest to the middle of two floats: a sum a few terms too short takes the
 * other one. */
static void exp_hardest(void)
{
    static const float cases[][2] = {
        { -0x1.beccfap-3f, 0x1.9ba502p-1f },
        { -0x1.c1cd9ap-2f, 0x1.49fd9p-1f },
        { -0x1.da035ep-2f, 0x1.4247b8p-1f },
        { -0x1.03d5bep+0f, 0x1.731b82p-2f },
        { -0x1.cf6ab2p-3f, 0x1.985178p-1f },
        { -0x1.d3300cp-3f, 0x1.97912ep-1f },
        { -0x1.e2a52p-3f, 0x1.9480a8p-1f },
        { -0x1.edfb24p-1f, 0x1.8633c4p-2f }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(nn_expf_cr(cases[i][0]) == cases[i][1], "exp(%a) is %a, not %a", (double)cases[i][0],
              (double)nn_expf_cr(cases[i][0]), (double)cases[i][1]);
}

static void elementary_ends(void)
{
    CHECK(nn_expf(0.0f) == 1.0f && nn_expf(-0.0f) == 1.0f && nn_expf_cr(0.0f) == 1.0f, "exp(0)");
    CHECK(nn_expf(88.8f) == HUGE_VALF && nn_expf(HUGE_VALF) == HUGE_VALF && nn_expf_cr(89.0f) == HUGE_VALF,
          "exp overflows to infinity");
    CHECK(nn_expf(-104.0f) == 0.0f && nn_expf(-HUGE_VALF) == 0.0f && nn_expf_cr(-200.0f) == 0.0f,
          "exp underflows to zero");
    CHECK(nn_expf(-103.5f) == 0x1p-149f && nn_expf(-90.0f) > 0.0f, "exp keeps subnormals");
    CHECK(nn_expf(NAN) != nn_expf(NAN) && nn_logf(NAN) != nn_logf(NAN) && nn_expf_cr(NAN) != nn_expf_cr(NAN),
          "NaN stays NaN");
    CHECK(nn_logf(0.0f) == -HUGE_VALF && nn_logf(HUGE_VALF) == HUGE_VALF && nn_logf(1.0f) == 0.0f,
          "log's ends");
    CHECK(nn_logf(-1.0f) != nn_logf(-1.0f) && ulps(nn_logf(0x1p-149f), log(0x1p-149)) < 0.5001,
          "log of -1 and of the least");
    CHECK(nn_erff(5.0f) == 1.0f && nn_erff(-HUGE_VALF) == -1.0f && f32_bits(nn_erff(-0.0f)) == 0x80000000u,
          "erf's ends");
    CHECK(nn_silu1(0.0f) == 0.0f && nn_silu1(-200.0f) == 0.0f && nn_silu1(100.0f) == 100.0f, "silu's ends");
    CHECK(nn_gelu1(10.0f) == 10.0f && nn_gelu1(-10.0f) == 0.0f && nn_quick_gelu1(60.0f) == 60.0f,
          "gelu's ends");
}

static void sines(void)
{
    double worst = 0.0;
    for (uint64_t i = 0; i < 20000; i++) {
        const double x = (double)rng_symmetric(3, 1, i, i % 2 ? 8192.0f : 2.0f);
        const double s = fabs(nn_sin(x) - sin(x)), c = fabs(nn_cos(x) - cos(x));
        worst = s > worst ? s : worst;
        worst = c > worst ? c : worst;
    }
    CHECK(worst <= 0x1.8p-53, "sin and cos are %a away", worst);
    CHECK(nn_sin(0.0) == 0.0 && nn_cos(0.0) == 1.0, "sin and cos of 0");
}

/* Every half there and back; every halfway point between neighbours goes to the even one. */
static void halves(void)
{
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t h = (uint16_t)i;
        const float    x = nn_f16_to_f32(h);
        uint16_t back;
        if ((h & 0x7c00u) == 0x7c00u) {
            CHECK(!nn_f32_to_f16(&back, x) && !(x - x == 0.0f), "%04x is not finite", (unsigned)h);
            continue;
        }
        CHECK(nn_f32_to_f16(&back, x) && back == h, "%04x comes back as %04x", (unsigned)h, (unsigned)back);
        if ((h & 0x7fffu) < 0x7bffu) {
            const float next = nn_f16_to_f32((uint16_t)(h + 1)), middle = x + 0.5f * (next - x);
            const uint16_t even = (uint16_t)(h & 1u ? h + 1 : h);
            CHECK(nn_f32_to_f16(&back, middle) && back == even, "the middle above %04x goes to %04x",
                  (unsigned)h, (unsigned)back);
            CHECK(nn_f32_to_f16(&back, f32_from(f32_bits(middle) + 1)) && back == h + 1,
                  "just above the middle of %04x", (unsigned)h);
            CHECK(nn_f32_to_f16(&back, f32_from(f32_bits(middle) - 1)) && back == h,
                  "just below the middle of %04x", (unsigned)h);
        }
    }
    uint16_t h;
    CHECK(nn_f32_to_f16(&h, 65519.996f) && h == 0x7bff && !nn_f32_to_f16(&h, 65520.0f) &&
          !nn_f32_to_f16(&h, NAN), "overflow");
    CHECK(nn_f16_to_f32(0x0001) == 0x1p-24f && nn_f16_to_f32(0xfbff) == -65504.0f,
          "the least and the largest");
    CHECK(bf16_widen(0x3f80) == 1.0f && bf16_widen(0x0001) == 0x1p-133f, "BF16");
}

static void sizes(void)
{
    CHECK(dtype_size(DT_F64) == 8 && dtype_size(DT_BF16) == 2 && dtype_size(DT_BOOL) == 1 &&
          dtype_size(DT_NONE) == 0, "sizes");
}

const test_case number_tests[] = {
    { "fma_cases", fma_cases },
    { "fma_random", fma_random },
    { "exp_short", exp_short },
    { "elementary", elementary },
    { "exp_hardest", exp_hardest },
    { "elementary_ends", elementary_ends },
    { "sines", sines },
    { "halves", halves },
    { "sizes", sizes },
    { NULL, NULL }
};
