/* test_nn.c: nn.c against oracles of its own, and every kernel set that this machine runs against nn.c, byte for byte.
 *
 *   oracle (here, another formulation) == reference (nn.c) == scalar, sse2, avx2, avx512, neon at 1, 2 and 3 threads
 *
 * Not here: all 2^32 floats (exhaustive.c), other compilers and machines (selftest.c), the contract in NumPy (twin.py). */
#include "test.h"
#include "arithmetic/nn.h"
#include "arithmetic/rng.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- helpers ---- */

static unsigned char memory[96u << 20];
static arena work = { memory, sizeof memory, 0, 0, false };

static float *floats(size_t n)
{
    float *p = malloc((n + 1) * sizeof *p);
    if (!p)
        abort();
    return p;
}

/* Hash-filled in +-1, another stream each time. */
static float *filled(size_t n)
{
    static uint64_t stream;
    float *p = floats(n);
    stream++;
    for (size_t i = 0; i < n; i++)
        p[i] = rng_symmetric(11, stream, i, 1.0f);
    return p;
}

/* x as a file holds it, behind one odd byte: little-endian, unaligned. BF16 and F16 lose precision, identically for all. */
static unsigned char *as_file(const float *x, size_t n, dtype type)
{
    const size_t size = dtype_size(type);
    unsigned char *p = malloc(n * size + 2);
    if (!p)
        abort();
    for (size_t i = 0; i < n; i++) {
        uint32_t u = f32_bits(x[i]);
        uint16_t h;
        if (type == DT_F16) {
            nn_f32_to_f16(&h, x[i]);
            u = h;
        } else if (type == DT_BF16) {
            u >>= 16;
        }
        for (size_t b = 0; b < size; b++)
            p[1 + i * size + b] = (unsigned char)(u >> 8 * b);
    }
    return p;
}

/* The kernel sets to compare with the reference: name i of nn_isa_list that runs here, or false at the end. */
static bool kernels_of(nn *c, size_t i, int threads)
{
    char list[128], *name = list;
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (size_t seen = 0; name;) {
        char *comma = strchr(name, ',');
        if (comma)
            *comma = 0;
        if (strcmp(name, "reference") && nn_init(c, name, threads, &work) && seen++ == i)
            return true;
        name = comma ? comma + 1 : NULL;
    }
    return false;
}

/* Bytes equal, and the guard behind them untouched. */
static void same(const nn *c, const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (f32_bits(got[i]) != f32_bits(want[i])) {
            test_failed(__FILE__, __LINE__, "%s, %s at %d threads: value %zu of %zu is %a, but the reference has %a",
                        what, nn_isa_name(c), c->threads, i, n, (double)got[i], (double)want[i]);
            return;
        }
    CHECK(got[n] == 12345.0f, "%s, %s: wrote past the end", what, nn_isa_name(c));
}

/* An operation with its arguments; y gets n values. */
typedef struct operation {
    void (*run)(nn *c, float *y, const void *arguments);
    const void *arguments;
    size_t n;
    const char *what;
    float *y0; /* y's first content, for operations in place; or NULL */
} operation;

/* Runs it by the reference, then by every kernel set at one to three threads, in memory measured beforehand. */
static void compare(const operation *o)
{
    nn c;
    float *want = floats(o->n), *got = floats(o->n);

    nn_init(&c, "reference", 1, &work);
    if (o->y0)
        memcpy(want, o->y0, o->n * sizeof *want);
    o->run(&c, want, o->arguments);
    CHECK(!work.failed && work.used == 0, "%s: the reference needs %zu bytes", o->what, work.peak);
    for (size_t i = 0; kernels_of(&c, i, 1); i++)
        for (c.threads = 1; c.threads <= 3; c.threads++) {
            arena plan = { NULL, 0, 0, 0, false }, tight = { memory, 0, 0, 0, false };
            c.work = &plan;
            o->run(&c, NULL, o->arguments);
            tight.size = plan.peak;
            c.work = &tight;
            for (size_t j = 0; j < o->n; j++)
                got[j] = o->y0 ? o->y0[j] : -777.0f;
            got[o->n] = 12345.0f;
            memset(memory, 0x7f, plan.peak < sizeof memory ? plan.peak : 0); /* scratch must not be taken for zeros */
            CHECK(plan.peak <= sizeof memory, "%s: planned %zu bytes", o->what, plan.peak);
            if (plan.peak > sizeof memory)
                continue;
            o->run(&c, got, o->arguments);
            CHECK(!tight.failed && tight.peak == plan.peak, "%s, %s: planned %zu bytes, used %zu", o->what,
                  nn_isa_name(&c), plan.peak, tight.peak);
            CHECK(tight.used == 0, "%s, %s: kept %zu bytes", o->what, nn_isa_name(&c), tight.used);
            same(&c, o->what, got, want, o->n);
        }
    free(want);
    free(got);
}

/* ---- memory ---- */

/* A product that wraps, or a request past the end, must fail and stay failed: else a hostile file decides what is written where. */
static void arenas(void)
{
    unsigned char bytes[256];
    arena a = { bytes, sizeof bytes, 0, 0, false };
    size_t product;

    CHECK(!nn_mul(SIZE_MAX / 2, 3, &product) && nn_mul(SIZE_MAX, 1, &product) && nn_mul(0, SIZE_MAX, &product), "nn_mul");
    CHECK(arena_floats(&a, 1) == (float *)(void *)bytes && a.used == 64, "first request at the start, 64 bytes long");
    CHECK(arena_bytes(&a, 3, 64) == bytes + 64 && a.used == 256 && a.peak == 256, "the rest");
    const size_t mark = 64;
    arena_release(&a, mark);
    CHECK(a.used == 64 && a.peak == 256, "release");
    CHECK(!arena_bytes(&a, 193, 1) && a.failed && !arena_bytes(&a, 1, 1), "193 of 192 bytes left");
    arena b = { NULL, 0, 0, 0, false };
    CHECK(!arena_bytes(&b, 100, 10) && b.peak == 1024 && !b.failed, "measuring hands out nothing");
    CHECK(!arena_bytes(&b, SIZE_MAX / 4, 8) && b.failed, "an overflow while measuring");
    arena c = { NULL, 0, 0, 0, false };
    CHECK(!arena_bytes(&c, SIZE_MAX - 3, 1) && c.failed, "rounding up must not wrap");
}

static void contexts(void)
{
    nn c;
    CHECK(!nn_init(&c, "sse5", 1, &work), "an unknown instruction set");
    CHECK(nn_init(&c, NULL, 0, &work) && c.threads >= 1, "the best");
    CHECK(nn_init(&c, "scalar", 1, &work) && !strcmp(nn_isa_name(&c), "scalar"), "scalar is always there");
    CHECK(nn_init(&c, "reference", 1, &work) && !strcmp(nn_isa_name(&c), "reference"), "so is the reference");
    CHECK(nn_environment_ok(), "this machine rounds to nearest and keeps subnormals");
    nn_init(&c, NULL, 1, &work);
    test_note("kernels: %s of %s", nn_isa_name(&c), nn_isa_list());
}

/* ---- functions of one number ---- */

/* The naive (float)((double)a*b + c) gets the first two wrong; most C libraries but glibc get one of them wrong. */
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
        CHECK(f32_bits(nn_fmaf(a, b, c)) == f32_bits(cases[i].y), "fma case %zu is %a, not %a", i, (double)nn_fmaf(a, b, c),
              (double)cases[i].y);
        CHECK(f32_bits(fma32_soft(a, b, c)) == f32_bits(cases[i].y), "emulated fma case %zu is %a, not %a", i,
              (double)fma32_soft(a, b, c), (double)cases[i].y);
    }
    CHECK(nn_fmaf(HUGE_VALF, 0.0f, 1.0f) != nn_fmaf(HUGE_VALF, 0.0f, 1.0f), "infinity times zero");
    CHECK(fma32_soft(HUGE_VALF, 0.0f, 1.0f) != fma32_soft(HUGE_VALF, 0.0f, 1.0f), "infinity times zero, emulated");
}

/* Where a softmax takes the short way to the exponential, it must be the exponential. */
static void exp_short(void)
{
    for (uint32_t u = 0x80000000u; u <= f32_bits(EXP_NORMAL); u += 997)
        CHECK(f32_bits(exp32_normal(f32_from(u))) == f32_bits(exp32(f32_from(u))), "exp(%a)", (double)f32_from(u));
    CHECK(exp32_normal(0.0f) == 1.0f && f32_bits(exp32_normal(EXP_NORMAL)) == f32_bits(exp32(EXP_NORMAL)), "exp at the ends");
}

/* Whole range by bit patterns: the emulation against the processor, where nn.c was built with a hardware fma (else both
 * are the emulation, and selftest.c compares across machines). */
static void fma_random(void)
{
    for (uint64_t i = 0; i < 300000; i++) {
        const float a = f32_from((uint32_t)rng_value(1, 1, i)), b = f32_from((uint32_t)rng_value(1, 2, i));
        const float c = i % 2 ? f32_from((uint32_t)rng_value(1, 3, i)) : -(a * b) * (1.0f + rng_symmetric(1, 4, i, 0x1p-22f));
        const float x = nn_fmaf(a, b, c), y = fma32_soft(a, b, c);
        if (x == x || y == y)
            CHECK(f32_bits(x) == f32_bits(y), "fma(%a, %a, %a): %a or %a", (double)a, (double)b, (double)c, (double)x, (double)y);
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

/* A wrong coefficient costs at least a few ulp somewhere; the bars are those of docs/contract.md, section 5. */
static void elementary(void)
{
    static const struct { const char *name; float (*f)(float); double (*truth)(double); float from, to; double bar; } table[] = {
        { "exp", nn_expf, exp_d, -103.0f, 88.7f, 1.01 }, { "exp near 0", nn_expf, exp_d, -1.0f, 1.0f, 1.01 },
        { "log", nn_logf, log_d, 1e-38f, 1e38f, 0.5001 }, { "log near 1", nn_logf, log_d, 0.5f, 2.0f, 0.5001 },
        { "erf", nn_erff, erf_d, -4.5f, 4.5f, 1.06 }, { "erf near 0", nn_erff, erf_d, -0.01f, 0.01f, 1.06 },
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

/* Arguments whose exp lies nearest to the middle of two floats: a sum a few terms too short takes the other one. */
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
        CHECK(nn_expf_cr(cases[i][0]) == cases[i][1], "exp(%a) is %a, not %a", (double)cases[i][0], (double)nn_expf_cr(cases[i][0]), (double)cases[i][1]);
}

static void elementary_ends(void)
{
    CHECK(nn_expf(0.0f) == 1.0f && nn_expf(-0.0f) == 1.0f && nn_expf_cr(0.0f) == 1.0f, "exp(0)");
    CHECK(nn_expf(88.8f) == HUGE_VALF && nn_expf(HUGE_VALF) == HUGE_VALF && nn_expf_cr(89.0f) == HUGE_VALF, "exp overflows to infinity");
    CHECK(nn_expf(-104.0f) == 0.0f && nn_expf(-HUGE_VALF) == 0.0f && nn_expf_cr(-200.0f) == 0.0f, "exp underflows to zero");
    CHECK(nn_expf(-103.5f) == 0x1p-149f && nn_expf(-90.0f) > 0.0f, "exp keeps subnormals");
    CHECK(nn_expf(NAN) != nn_expf(NAN) && nn_logf(NAN) != nn_logf(NAN) && nn_expf_cr(NAN) != nn_expf_cr(NAN), "NaN stays NaN");
    CHECK(nn_logf(0.0f) == -HUGE_VALF && nn_logf(HUGE_VALF) == HUGE_VALF && nn_logf(1.0f) == 0.0f, "log's ends");
    CHECK(nn_logf(-1.0f) != nn_logf(-1.0f) && ulps(nn_logf(0x1p-149f), log(0x1p-149)) < 0.5001, "log of -1 and of the least");
    CHECK(nn_erff(5.0f) == 1.0f && nn_erff(-HUGE_VALF) == -1.0f && f32_bits(nn_erff(-0.0f)) == 0x80000000u, "erf's ends");
    CHECK(nn_silu1(0.0f) == 0.0f && nn_silu1(-200.0f) == 0.0f && nn_silu1(100.0f) == 100.0f, "silu's ends");
    CHECK(nn_gelu1(10.0f) == 10.0f && nn_gelu1(-10.0f) == 0.0f && nn_quick_gelu1(60.0f) == 60.0f, "gelu's ends");
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

/* diffusers' formula in double agrees to float32's precision of t * frequency; flip and shift are easily exchanged. */
static void timestep(void)
{
    float y[8], z[8];
    nn_timestep_embedding(y, 3.0f, 8, true, 0.0f);
    nn_timestep_embedding(z, 3.0f, 8, false, 1.0f);
    for (int i = 0; i < 4; i++) {
        const double f = exp(-log(10000.0) * i / 4.0), g = exp(-log(10000.0) * i / 3.0);
        CHECK(fabs((double)y[i] - cos(3.0 * f)) < 1e-6 && fabs((double)y[4 + i] - sin(3.0 * f)) < 1e-6, "flipped, value %d", i);
        CHECK(fabs((double)z[i] - sin(3.0 * g)) < 1e-6 && fabs((double)z[4 + i] - cos(3.0 * g)) < 1e-6, "shifted, value %d", i);
    }
}

static void pixels(void)
{
    CHECK(nn_pixel(-1.0f) == 0 && nn_pixel(1.0f) == 255 && nn_pixel(-5.0f) == 0 && nn_pixel(7.0f) == 255, "ends and beyond");
    CHECK(nn_pixel(0.0f) == 128, "127.5 goes to even");
    CHECK(nn_pixel(-0x1.fap-1f) == nn_pixel(-0.98828125f) && nn_pixel(0.00392f) == 128, "in between");
    int last = 0;
    for (int i = 0; i <= 4096; i++) {
        const int p = nn_pixel((float)i / 2048.0f - 1.0f);
        CHECK(p >= last && p <= last + 1, "not monotone at %d", i);
        last = p;
    }
}

/* ---- weights ---- */

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
            CHECK(nn_f32_to_f16(&back, middle) && back == even, "the middle above %04x goes to %04x", (unsigned)h, (unsigned)back);
            CHECK(nn_f32_to_f16(&back, f32_from(f32_bits(middle) + 1)) && back == h + 1, "just above the middle of %04x", (unsigned)h);
            CHECK(nn_f32_to_f16(&back, f32_from(f32_bits(middle) - 1)) && back == h, "just below the middle of %04x", (unsigned)h);
        }
    }
    uint16_t h;
    CHECK(nn_f32_to_f16(&h, 65519.996f) && h == 0x7bff && !nn_f32_to_f16(&h, 65520.0f) && !nn_f32_to_f16(&h, NAN), "overflow");
    CHECK(nn_f16_to_f32(0x0001) == 0x1p-24f && nn_f16_to_f32(0xfbff) == -65504.0f, "the least and the largest");
    CHECK(nn_bf16_to_f32(0x3f80) == 1.0f && nn_bf16_to_f32(0x0001) == 0x1p-133f, "BF16");
}

static void widening(void)
{
    static const dtype types[] = { DT_F32, DT_F16, DT_BF16 };
    float *x = filled(100);
    for (int t = 0; t < 3; t++) {
        unsigned char *p = as_file(x, 100, types[t]);
        float y[50];
        nn_widen(y, (weight){ .data = p + 1, .type = types[t] }, 37, 50);
        for (size_t i = 0; i < 50; i++) {
            uint16_t h = 0;
            nn_f32_to_f16(&h, x[37 + i]);
            const float want = t == 0 ? x[37 + i] : t == 1 ? nn_f16_to_f32(h) : nn_bf16_to_f32((uint16_t)(f32_bits(x[37 + i]) >> 16));
            CHECK(f32_bits(y[i]) == f32_bits(want), "type %d, value %zu", t, i);
        }
        free(p);
    }
    free(x);
    CHECK(dtype_size(DT_F64) == 8 && dtype_size(DT_BF16) == 2 && dtype_size(DT_BOOL) == 1 && dtype_size(DT_NONE) == 0, "sizes");
}

/* ---- dot products ---- */

/* Contract 3 told recursively: a chain; the fold of at most sixteen chains; the fold of those. */
static float chain(const float *a, const float *b, size_t n) { return n ? nn_fmaf(a[n - 1], b[n - 1], chain(a, b, n - 1)) : 0.0f; }
static float fold(const float *a, const float *b, size_t n, size_t piece, float (*part)(const float *, const float *, size_t))
{
    const size_t last = (n - 1) / piece * piece;
    return last ? fold(a, b, last, piece, part) + part(a + last, b + last, n - last) : part(a, b, n);
}
static float chunk(const float *a, const float *b, size_t n) { return fold(a, b, n, 128, chain); }

/* A chain that forgets to restart lo at block 16 passes every K <= 2048: so 2047..2049, 4096 and 6145. */
static void dot_blocks(void)
{
    static const size_t sizes[] = { 1, 2, 127, 128, 129, 255, 256, 257, 2047, 2048, 2049, 2176, 2177, 4095, 4096, 4097, 6145 };
    float *a = filled(6145), *b = filled(6145);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const float y = nn_dot(a, 1, b, 1, sizes[i]), want = fold(a, b, sizes[i], 2048, chunk);
        CHECK(f32_bits(y) == f32_bits(want), "K = %zu: %a, not %a", sizes[i], (double)y, (double)want);
    }
    CHECK(f32_bits(nn_dot(a, 1, b, 1, 0)) == 0, "no terms: +0");
    const float strided = nn_dot(a, 3, b, 2, 1000);
    float *c = floats(1000), *d = floats(1000);
    for (size_t i = 0; i < 1000; i++) {
        c[i] = a[3 * i];
        d[i] = b[2 * i];
    }
    CHECK(f32_bits(strided) == f32_bits(nn_dot(c, 1, d, 1, 1000)), "strides");
    free(a);
    free(b);
    free(c);
    free(d);
}

/* Products too small for any float round to -0 after the first: a sum that starts at +0, in hi or in lo, gives +0. */
static void dot_zeros(void)
{
    static const size_t sizes[] = { 1, 128, 129, 2048, 2049, 4097 };
    float *x = floats(3 * 4097), *w = floats(3 * 4097), y[10];
    nn c;
    for (size_t i = 0; i < 3 * 4097; i++) {
        x[i] = 0x1p-100f;
        w[i] = -0x1p-100f;
    }
    unsigned char *file = as_file(w, 3 * 4097, DT_F32);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        CHECK(f32_bits(nn_dot(x, 1, w, 1, sizes[s])) == 0x80000000u, "K = %zu: the reference", sizes[s]);
        for (size_t i = 0; kernels_of(&c, i, 1); i++) {
            nn_linear(&c, y, x, (weight){ .data = file + 1, .type = DT_F32 }, NULL, 3, sizes[s], 3);
            for (int j = 0; j < 9; j++)
                CHECK(f32_bits(y[j]) == 0x80000000u, "K = %zu: %s has %a", sizes[s], nn_isa_name(&c), (double)y[j]);
        }
    }
    free(x);
    free(w);
    free(file);
}

/* W [N,ci,taps] with its panels made beforehand, as c's kernels want them; for the reference as it is. *panels is for free. */
static weight prepared(const nn *c, weight W, size_t N, size_t taps, size_t ci, float **panels)
{
    *panels = NULL;
    if (c->kernels) {
        W.packed = *panels = floats(c->kernels->packed_size(N, taps, ci));
        c->kernels->pack(*panels, W, N, taps, ci);
    }
    return W;
}

typedef struct linear_case { size_t M, K, N; dtype type; bool bias; const float *x, *b; weight W; } linear_case;
static void run_linear(nn *c, float *y, const void *p)
{
    const linear_case *l = p;
    nn_linear(c, y, l->x, l->W, l->bias ? l->b : NULL, l->M, l->K, l->N);
}

static void run_linear_packed(nn *c, float *y, const void *p)
{
    const linear_case *l = p;
    float *panels;
    const weight W = prepared(c, l->W, l->N, 1, l->K, &panels);
    nn_linear(c, y, l->x, W, l->bias ? l->b : NULL, l->M, l->K, l->N);
    free(panels);
}

static void try_linear(size_t M, size_t K, size_t N, dtype type, bool bias)
{
    char what[96];
    float *x = filled(M * K), *w = filled(N * K), *b = filled(N);
    unsigned char *file = as_file(w, N * K, type);
    const linear_case l = { M, K, N, type, bias, x, b, { .data = file + 1, .type = type } };
    snprintf(what, sizeof what, "linear M %zu K %zu N %zu type %d", M, K, N, (int)type);
    compare(&(operation){ run_linear, &l, M * N, what, NULL });
    compare(&(operation){ run_linear_packed, &l, M * N, what, NULL });
    free(x);
    free(w);
    free(b);
    free(file);
}

static const size_t edges[] = { 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129 };
static const size_t lengths[] = { 0, 1, 2, 3, 4, 5, 127, 128, 129, 255, 256, 257, 2047, 2048, 2049, 4095, 4096, 4097 };
#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Every edge in M, then in N, then in K; the other two where tiles are ragged too. */
static void linear_edges(void)
{
    for (size_t i = 0; i < COUNT(edges); i++) {
        try_linear(edges[i], 37, 41, DT_F32, true);
        try_linear(13, 130, edges[i], DT_F16, i % 2);
        try_linear(edges[i], 5, edges[COUNT(edges) - 1 - i], DT_BF16, true);
    }
    for (size_t i = 0; i < COUNT(lengths); i++) {
        try_linear(5, lengths[i], 19, DT_F16, true);
        try_linear(1, lengths[i], 33, DT_F32, false);
    }
}

/* More rows, and more columns, than are packed at a time (8 Mi floats); and enough work for threads to wake. */
static void linear_large(void)
{
    try_linear(2100, 4097, 1, DT_F16, true);
    try_linear(1, 4097, 2100, DT_F16, true);
    try_linear(3, 65537, 150, DT_F16, true); /* several blocks of columns, the rows packed once */
    try_linear(13, 400001, 33, DT_F16, true); /* several of both, for tiles of 12 x 32 */
    try_linear(300, 150, 70, DT_F16, true);
    try_linear(150, 2100, 20, DT_F32, false);
}

/* Scratch never shrinks as rows are added: who plans for a block of rows may multiply fewer. */
static void linear_plans(void)
{
    nn c;
    for (size_t i = 0; kernels_of(&c, i, 1); i++)
        for (c.threads = 1; c.threads <= 5; c.threads++)
            for (size_t K = 8; K <= 4096; K *= 8) {
                size_t before = 0;
                for (size_t M = 1; M < 700; M++) {
                    arena plan = { NULL, 0, 0, 0, false };
                    c.work = &plan;
                    nn_linear(&c, NULL, NULL, (weight){ .type = DT_F16 }, NULL, M, K, 128);
                    CHECK(plan.peak >= before, "%s, %d threads, K %zu: %zu rows need %zu bytes, %zu rows %zu", nn_isa_name(&c), c.threads, K, M - 1,
                          before, M, plan.peak);
                    before = plan.peak;
                }
            }
    c.work = &work;
}

/* In the same order as PyTorch's module: the bias is added to the finished sum, once. */
static void linear_bias(void)
{
    nn c;
    float x[3] = { 1.0f, 0x1p-12f, 3.0f }, y[1], b[1] = { 0x1p24f };
    unsigned char *w = as_file(x, 3, DT_F32);
    nn_init(&c, NULL, 1, &work);
    nn_linear(&c, y, x, (weight){ .data = w + 1, .type = DT_F32 }, b, 1, 3, 1);
    CHECK(y[0] == nn_dot(x, 1, x, 1, 3) + 0x1p24f, "%a", (double)y[0]);
    free(w);
}

typedef struct conv_case { conv_shape s; const float *x, *b; weight W; } conv_case;
static void run_conv(nn *c, float *y, const void *p)
{
    const conv_case *v = p;
    nn_conv2d(c, y, v->x, v->W, v->b, &v->s);
}

static void run_conv_packed(nn *c, float *y, const void *p)
{
    const conv_case *v = p;
    float *panels;
    const weight W = prepared(c, v->W, v->s.co, v->s.k * v->s.k, v->s.ci, &panels);
    nn_conv2d(c, y, v->x, W, v->b, &v->s);
    free(panels);
}

static void try_conv(conv_shape s, dtype type, bool bias)
{
    char what[128];
    const size_t n = s.B * conv_out(&s, s.H) * conv_out(&s, s.W) * s.co;
    float *x = filled(s.B * s.H * s.W * s.ci), *w = filled(s.co * s.ci * s.k * s.k), *b = filled(s.co);
    unsigned char *file = as_file(w, s.co * s.ci * s.k * s.k, type);
    const conv_case v = { s, x, bias ? b : NULL, { .data = file + 1, .type = type } };
    snprintf(what, sizeof what, "conv B %zu H %zu W %zu ci %zu co %zu k %zu stride %zu pad %zu+%zu", s.B, s.H, s.W, s.ci, s.co,
             s.k, s.stride, s.pad_before, s.pad_after);
    compare(&(operation){ run_conv, &v, n, what, NULL });
    compare(&(operation){ run_conv_packed, &v, n, what, NULL });
    free(x);
    free(w);
    free(b);
    free(file);
}

static void conv_edges(void)
{
    static const size_t channels[] = { 1, 2, 3, 4, 5, 8, 127, 128, 129, 256, 257 };
    static const struct { size_t k, stride, before, after; } kinds[] = {
        { 1, 1, 0, 0 }, { 1, 2, 0, 0 }, { 3, 1, 1, 1 }, { 3, 2, 1, 1 }, { 3, 2, 0, 1 }, { 3, 1, 0, 0 }, { 2, 2, 0, 0 }, { 5, 1, 2, 2 },
        { 4, 4, 0, 0 }
    };
    for (size_t i = 0; i < COUNT(kinds); i++) {
        try_conv((conv_shape){ 2, 5, 7, 3, 5, kinds[i].k, kinds[i].stride, kinds[i].before, kinds[i].after }, DT_F16, true);
        try_conv((conv_shape){ 1, 8, 6, 17, 33, kinds[i].k, kinds[i].stride, kinds[i].before, kinds[i].after }, DT_F32, i % 2);
    }
    for (size_t i = 0; i < COUNT(channels); i++)
        try_conv((conv_shape){ 1, 3, 4, channels[i], 16, 3, 1, 1, 1 }, DT_F16, true);
    for (size_t i = 0; i < COUNT(edges); i++)
        try_conv((conv_shape){ 1, 3, 3, 4, edges[i], 3, 1, 1, 1 }, DT_BF16, true);
    for (size_t i = 0; i < COUNT(edges); i++)
        try_conv((conv_shape){ 1, 1, edges[i], 3, 9, 3, 1, 1, 1 }, DT_F16, false);
    try_conv((conv_shape){ 1, 16, 16, 3, 8, 16, 16, 0, 0 }, DT_F16, true); /* a ViT's patches */
    try_conv((conv_shape){ 2, 17, 15, 40, 50, 3, 1, 1, 1 }, DT_F16, true); /* enough for threads */
}

/* k runs over (ky, kx, ci), padding is counted: a patch written out by hand, K = 2304, so that blocks and chunks matter. */
static void conv_order(void)
{
    enum { C = 256, K = 9 * C };
    float *x = filled(4 * C), *w = filled(K), *patch = floats(K), *turned = floats(K), y[4];
    unsigned char *file = as_file(w, K, DT_F32);
    nn c;
    for (size_t t = 0; t < 9; t++)
        for (size_t i = 0; i < C; i++) {
            const size_t row = t / 3, column = t % 3; /* of a 4 x 4 padded image; pixel (0,0) sits at (1,1) */
            const bool inside = row >= 1 && column >= 1;
            patch[t * C + i] = inside ? x[((row - 1) * 2 + column - 1) * C + i] : 0.0f;
            turned[t * C + i] = w[i * 9 + t];
        }
    nn_init(&c, "reference", 1, &work);
    nn_conv2d(&c, y, x, (weight){ .data = file + 1, .type = DT_F32 }, NULL, &(conv_shape){ 1, 2, 2, C, 1, 3, 1, 1, 1 });
    CHECK(f32_bits(y[0]) == f32_bits(nn_dot(patch, 1, turned, 1, K)), "%a", (double)y[0]);
    free(x);
    free(w);
    free(patch);
    free(turned);
    free(file);
}

typedef struct attention_case { size_t B, Nq, Nk, heads, head; bool causal; const float *q, *k, *v; } attention_case;
static void run_attention(nn *c, float *y, const void *p)
{
    const attention_case *a = p;
    nn_attention(c, y, a->q, a->k, a->v, a->B, a->Nq, a->Nk, a->heads, a->head, a->causal);
}

static void try_attention(size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal)
{
    char what[96];
    const size_t D = heads * head;
    float *q = filled(B * Nq * D), *k = filled(B * Nk * D), *v = filled(B * Nk * D);
    const attention_case a = { B, Nq, Nk, heads, head, causal, q, k, v };
    for (size_t i = 0; i < B * Nq * D; i++)
        q[i] *= 8.0f; /* so that the weights differ */
    snprintf(what, sizeof what, "attention B %zu %zu x %zu, %zu heads of %zu%s", B, Nq, Nk, heads, head, causal ? ", causal" : "");
    compare(&(operation){ run_attention, &a, B * Nq * D, what, NULL });
    free(q);
    free(k);
    free(v);
}

static void attention_edges(void)
{
    for (size_t i = 0; i < COUNT(edges); i++) {
        try_attention(1, edges[i], 5, 1, 8, false);
        try_attention(1, 3, edges[i], 2, 5, false);
        try_attention(1, 2, 7, 1, edges[i], false);
    }
    for (size_t i = 6; i < COUNT(lengths); i++)
        try_attention(1, 2, lengths[i], 1, 6, false);
    try_attention(2, 77, 77, 3, 16, true);
    try_attention(1, 130, 130, 1, 4, true);
    try_attention(2, 100, 77, 2, 40, false);
    try_attention(1, 800, 150, 1, 12, false); /* one head in parts */
}

/* Against a double softmax: a forgotten scale, mask or head offset is far outside float's error. */
/* A causal chain may underflow to -0: the keys that it must leave out would make it +0. Values of the second key alone are positive. */
static void attention_zeros(void)
{
    enum { N = 40, HEAD = 4 };
    float q[N * HEAD], k[N * HEAD], v[N * HEAD];
    for (size_t i = 0; i < N * HEAD; i++) {
        q[i] = 1.0f;
        k[i] = i < HEAD ? 0.0f : -40.0f; /* every key but the first weighs e^-80 */
        v[i] = i < HEAD ? -0.0f : i < 2 * HEAD ? -0x1p-100f : 0x1p-60f;
    }
    const attention_case a = { 1, N, N, 1, HEAD, true, q, k, v };
    compare(&(operation){ run_attention, &a, N * HEAD, "attention, chains that end at -0", NULL });
}

static void attention_truth(void)
{
    enum { N = 9, HEADS = 2, HEAD = 4, D = HEADS * HEAD };
    nn c;
    float *q = filled(N * D), *k = filled(N * D), *v = filled(N * D), y[N * D];
    nn_init(&c, "reference", 1, &work);
    nn_attention(&c, y, q, k, v, 1, N, N, HEADS, HEAD, true);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < D; j++) {
            const size_t h = j / HEAD * HEAD;
            double sum = 0.0, o = 0.0;
            for (size_t n = 0; n <= i; n++) {
                double s = 0.0;
                for (size_t d = 0; d < HEAD; d++)
                    s += (double)q[i * D + h + d] * (double)k[n * D + h + d];
                sum += exp(s / 2.0);
                o += exp(s / 2.0) * (double)v[n * D + j];
            }
            CHECK(fabs((double)y[i * D + j] - o / sum) < 1e-6, "row %zu, column %zu: %g, not %g", i, j, (double)y[i * D + j], o / sum);
        }
    free(q);
    free(k);
    free(v);
}

/* ---- norms and sums ---- */

/* Sixteen lanes and their tree, told lane by lane. */
static void sums(void)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 31, 32, 33, 1000 };
    float *x = filled(1000);
    double d[1000];
    for (size_t i = 0; i < 1000; i++) {
        x[i] *= i % 3 ? 1.0f : 0x1p-30f; /* so that the order shows */
        d[i] = (double)x[i];
    }
    for (size_t s = 0; s < COUNT(sizes); s++) {
        double lane[16] = { 0 }, square[16] = { 0 };
        for (size_t l = 0; l < 16; l++)
            for (size_t i = l; i < sizes[s]; i += 16) {
                lane[l] += d[i];
                square[l] += (d[i] - 0.25) * (d[i] - 0.25);
            }
        double t[2];
        for (int i = 0; i < 2; i++) {
            const double *e = i ? square : lane;
            double four[4];
            for (int l = 0; l < 4; l++)
                four[l] = (e[l] + e[l + 8]) + (e[l + 4] + e[l + 12]);
            t[i] = (four[0] + four[2]) + (four[1] + four[3]);
        }
        CHECK(nn_sum16(x, sizes[s]) == t[0] && nn_sum16_d(d, sizes[s]) == t[0], "sum of %zu", sizes[s]);
        CHECK(nn_sum16_sq(x, sizes[s], 0.25) == t[1], "sum of squares of %zu", sizes[s]);
    }
    free(x);
}

typedef struct norm_case { size_t B, P, C, G; bool silu, in_place; const float *x, *gamma, *beta; } norm_case;
static void run_layer(nn *c, float *y, const void *p)
{
    const norm_case *n = p;
    nn_layer_norm(c, y, n->in_place ? y : n->x, n->gamma, n->beta, n->P, n->C, 1e-5f);
}
static void run_group(nn *c, float *y, const void *p)
{
    const norm_case *n = p;
    nn_group_norm(c, y, n->in_place ? y : n->x, n->gamma, n->beta, n->B, n->P, n->C, n->G, 1e-6f, n->silu);
}
static void run_softmax(nn *c, float *y, const void *p)
{
    const norm_case *n = p;
    nn_softmax(c, y, n->in_place ? y : n->x, n->P, n->C);
}

static void try_norm(size_t B, size_t P, size_t C, size_t G, bool silu, bool in_place)
{
    char what[96];
    float *x = filled(B * P * C), *gamma = filled(C), *beta = filled(C);
    const norm_case n = { B, P, C, G, silu, in_place, x, gamma, beta };
    snprintf(what, sizeof what, "norm B %zu P %zu C %zu G %zu%s", B, P, C, G, in_place ? ", in place" : "");
    if (G)
        compare(&(operation){ run_group, &n, B * P * C, what, in_place ? x : NULL });
    else {
        compare(&(operation){ run_layer, &n, P * C, what, in_place ? x : NULL });
        compare(&(operation){ run_softmax, &n, P * C, what, in_place ? x : NULL });
    }
    free(x);
    free(gamma);
    free(beta);
}

static void norm_edges(void)
{
    for (size_t i = 0; i < COUNT(edges); i++) {
        try_norm(1, 3, edges[i], 0, false, i % 2);
        try_norm(2, edges[i], 6, 3, i % 2, false);
        try_norm(1, 5, edges[i], 1, true, i % 2);
        try_norm(1, 4, edges[i] * 2, edges[i], false, false);
    }
    try_norm(1, 40, 2049, 0, false, true);
    try_norm(2, 100, 320, 32, true, true);
    try_norm(1, 33, 1000, 2, true, false); /* a group wider than a span of channels */
    try_norm(3, 200, 96, 32, false, false);
}

/* Against a double norm; eps and gamma exchanged, or variance over n - 1, would show. */
static void norm_truth(void)
{
    enum { P = 3, C = 4, G = 2 };
    nn c;
    float *x = filled(P * C), *gamma = filled(C), *beta = filled(C), y[P * C];
    nn_init(&c, "reference", 1, &work);
    nn_group_norm(&c, y, x, gamma, beta, 1, P, C, G, 0.01f, true);
    for (size_t i = 0; i < P * C; i++) {
        const size_t g = i % C / 2 * 2;
        double mean = 0.0, var = 0.0;
        for (size_t p = 0; p < P; p++)
            mean += ((double)x[p * C + g] + (double)x[p * C + g + 1]) / (2 * P);
        for (size_t p = 0; p < P; p++)
            for (size_t j = g; j < g + 2; j++)
                var += ((double)x[p * C + j] - mean) * ((double)x[p * C + j] - mean) / (2 * P);
        const double v = ((double)x[i] - mean) / sqrt(var + 0.01) * (double)gamma[i % C] + (double)beta[i % C];
        CHECK(fabs((double)y[i] - v / (1.0 + exp(-v))) < 1e-6, "group norm, value %zu", i);
    }
    nn_layer_norm(&c, y, x, gamma, beta, P, C, 0.01f);
    for (size_t i = 0; i < P * C; i++) {
        const float *row = x + i / C * C;
        const double mean = ((double)row[0] + (double)row[1] + (double)row[2] + (double)row[3]) / 4.0;
        double var = 0.0;
        for (int j = 0; j < 4; j++)
            var += ((double)row[j] - mean) * ((double)row[j] - mean) / 4.0;
        const double v = ((double)x[i] - mean) / sqrt(var + 0.01) * (double)gamma[i % C] + (double)beta[i % C];
        CHECK(fabs((double)y[i] - v) < 1e-6, "layer norm, value %zu", i);
    }
    free(x);
    free(gamma);
    free(beta);
}

/* ---- element by element ---- */

typedef struct each_case { void (*f)(nn *c, float *y, const float *x, size_t n); const float *x; size_t n; bool in_place; } each_case;
static void run_each(nn *c, float *y, const void *p)
{
    const each_case *e = p;
    e->f(c, y, e->in_place ? y : e->x, e->n);
}

typedef struct geglu_case { const float *x; size_t M, D; } geglu_case;
static void run_geglu(nn *c, float *y, const void *p)
{
    const geglu_case *g = p;
    nn_geglu(c, y, g->x, g->M, g->D);
}

static void activations(void)
{
    static const struct { const char *name; void (*f)(nn *c, float *y, const float *x, size_t n); } table[] = {
        { "silu", nn_silu }, { "gelu", nn_gelu }, { "quick_gelu", nn_quick_gelu }
    };
    static const size_t sizes[] = { 0, 1, 3, 15, 16, 17, 4095, 4096, 4097, 40000 };
    float *x = filled(80000);
    for (size_t i = 0; i < 80000; i++)
        x[i] *= i % 5 ? 8.0f : 120.0f;
    for (size_t t = 0; t < COUNT(table); t++)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            const each_case e = { table[t].f, x, sizes[s], s % 2 };
            compare(&(operation){ run_each, &e, sizes[s], table[t].name, e.in_place ? x : NULL });
        }
    for (size_t i = 0; i < COUNT(edges); i++)
        compare(&(operation){ run_geglu, &(geglu_case){ x, 3, edges[i] }, 3 * edges[i], "geglu", NULL });
    compare(&(operation){ run_geglu, &(geglu_case){ x, 40, 1000 }, 40000, "geglu", NULL });
    nn  c;
    float y[1], pair[2] = { 3.0f, -0.5f };
    nn_init(&c, "reference", 1, &work);
    nn_geglu(&c, y, pair, 1, 1);
    CHECK(y[0] == 3.0f * nn_gelu1(-0.5f), "the second half is the gate");
    free(x);
}

static void moving(void)
{
    nn c;
    nn_init(&c, NULL, 1, &work);
    const float x[6] = { 1, 2, 3, 4, 5, 6 }, t[2] = { 10, 20 };
    float y[24];
    nn_add(&c, y, x, x, 6);
    CHECK(y[0] == 2 && y[5] == 12, "add");
    nn_add_rows(&c, y, x, t, 1, 3, 2);
    CHECK(y[0] == 11 && y[1] == 22 && y[4] == 15 && y[5] == 26, "add_rows");
    nn_concat(&c, y, x, 2, t, 1, 2);
    CHECK(y[0] == 1 && y[1] == 2 && y[2] == 10 && y[3] == 3 && y[5] == 20, "concat");
    nn_upsample2x(&c, y, x, 1, 1, 3, 2);
    CHECK(y[0] == 1 && y[2] == 1 && y[4] == 3 && y[11] == 6 && y[12] == 1 && y[23] == 6, "upsample2x");
    nn_from_nchw(y, x, 1, 2, 3);
    CHECK(y[0] == 1 && y[1] == 4 && y[2] == 2 && y[5] == 6, "from_nchw");
    nn_to_nchw(y + 6, y, 1, 2, 3);
    CHECK(!memcmp(y + 6, x, sizeof x), "to_nchw undoes from_nchw");
    y[3] = NAN;
    CHECK(nn_first_bad(y, 6) == 3 && nn_first_bad(y, 3) == 3, "NaN");
    y[3] = -HUGE_VALF;
    CHECK(nn_first_bad(y, 6) == 3, "infinity");
}

/* ---- order ---- */

static int by_value_then_index(const void *a, const void *b)
{
    const float *x = *(const float *const *)a, *y = *(const float *const *)b; /* into one array: addresses are indices */
    return *x > *y ? -1 : *x < *y ? 1 : x < y ? -1 : x > y;
}

static int by_index(const void *a, const void *b)
{
    const float *x = *(const float *const *)a, *y = *(const float *const *)b;
    return x < y ? -1 : x > y;
}

/* Ties, zeros of both signs, constant, rising and falling input; k of 0, 1, n, more than n. */
static void topk(void)
{
    static const size_t sizes[] = { 1, 2, 3, 7, 64, 1000, 20480 }, ks[] = { 0, 1, 2, 3, 32, 999, 30000 };
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int kind = 0; kind < 5; kind++) {
            const size_t n = sizes[s];
            float *z = filled(n), *val = floats(n);
            uint32_t *idx = malloc(n * sizeof *idx);
            const float **order = malloc(n * sizeof *order);
            if (!idx || !order)
                abort();
            for (size_t i = 0; i < n; i++) {
                z[i] = kind == 0 ? z[i] : kind == 1 ? (float)((int)(z[i] * 3.0f)) * (i % 2 ? 1.0f : -1.0f) : kind == 2 ? 0.5f
                     : kind == 3 ? (float)i : -(float)i;
                order[i] = z + i;
            }
            for (size_t j = 0; j < COUNT(ks); j++) {
                const size_t k = ks[j] < n ? ks[j] : n, got = nn_topk(idx, val, z, n, ks[j]);
                qsort(order, n, sizeof *order, by_value_then_index);
                qsort(order, k, sizeof *order, by_index);
                CHECK(got == k, "n %zu, k %zu: %zu", n, ks[j], got);
                for (size_t i = 0; i < k; i++)
                    if (idx[i] != (uint32_t)(order[i] - z) || f32_bits(val[i]) != f32_bits(z[idx[i]])) {
                        test_failed(__FILE__, __LINE__, "n %zu, k %zu, kind %d: place %zu holds index %u", n, ks[j], kind, i, (unsigned)idx[i]);
                        break;
                    }
            }
            free(z);
            free(val);
            free(idx);
            free(order);
        }
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void quantile(void)
{
    for (size_t n = 1; n < 200; n += n < 20 ? 1 : 17)
        for (int kind = 0; kind < 4; kind++) {
            float *x = filled(n), *sorted = floats(n), *scratch = floats(n);
            for (size_t i = 0; i < n; i++)
                sorted[i] = x[i] = kind == 0 ? x[i] : kind == 1 ? (float)(int)(x[i] * 3.0f) : kind == 2 ? (float)i : 4.0f;
            qsort(sorted, n, sizeof *sorted, by_value);
            for (int p = 0; p <= 100; p += 5) {
                const double q = p / 100.0, r = q * (double)(n - 1);
                const size_t lo = (size_t)r;
                const double want = lo + 1 >= n ? (double)sorted[n - 1]
                                                : (double)sorted[lo] + (r - (double)lo) * ((double)sorted[lo + 1] - (double)sorted[lo]);
                const double y = nn_quantile(x, n, q, scratch);
                CHECK(y == want, "n %zu, kind %d, %d %%: %g, not %g", n, kind, p, y, want);
            }
            free(x);
            free(sorted);
            free(scratch);
        }
}

/* ---- digest ---- */

/* Values computed by hand from the definition (docs/contract.md, section 6); twin.py computes them again. */
static void digest(void)
{
    CHECK(nn_hash(0, "", 0) == rng_mix(0), "nothing");
    const uint64_t one = rng_mix(0x61 + UINT64_C(0x9e3779b97f4a7c15));
    CHECK(nn_hash(0, "a", 1) == rng_mix(one ^ 1), "one byte, padded with zeros");
    CHECK(nn_hash(0, "a\0", 2) != nn_hash(0, "a", 1), "the length counts");
    const uint64_t eight = rng_mix(UINT64_C(0x6867666564636261) + UINT64_C(0x9e3779b97f4a7c15));
    CHECK(nn_hash(0, "abcdefgh", 8) == rng_mix(eight ^ 8), "little-endian words");
    CHECK(nn_hash(nn_hash(0, "ab", 2), "cd", 2) != nn_hash(0, "abcd", 4), "chained, not concatenated");
}

const test_case nn_tests[] = {
    { "arenas", arenas },
    { "contexts", contexts },
    { "fma_cases", fma_cases },
    { "fma_random", fma_random },
    { "exp_short", exp_short },
    { "elementary", elementary },
    { "exp_hardest", exp_hardest },
    { "elementary_ends", elementary_ends },
    { "sines", sines },
    { "timestep", timestep },
    { "pixels", pixels },
    { "halves", halves },
    { "widening", widening },
    { "dot_blocks", dot_blocks },
    { "dot_zeros", dot_zeros },
    { "linear_edges", linear_edges },
    { "linear_large", linear_large },
    { "linear_plans", linear_plans },
    { "linear_bias", linear_bias },
    { "conv_edges", conv_edges },
    { "conv_order", conv_order },
    { "attention_edges", attention_edges },
    { "attention_zeros", attention_zeros },
    { "attention_truth", attention_truth },
    { "sums", sums },
    { "norm_edges", norm_edges },
    { "norm_truth", norm_truth },
    { "activations", activations },
    { "moving", moving },
    { "topk", topk },
    { "quantile", quantile },
    { "digest", digest },
    { NULL, NULL }
};
