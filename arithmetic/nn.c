/* nn.c: which kernels compute, and whether this machine rounds as they need. Every operation goes
 * to them.
 *
 *   isa --nn_init: built in, and runs on this CPU--> c->kernels
 *   nn_linear(c, ...) --> c->kernels->linear(c, ...)
 *
 * Not here: any arithmetic (reference.c defines it, kernels.c makes it fast), what operations take (nn.h). */
#include "arithmetic/nn.h"
#include "arithmetic/threads.h"

/* ---- choice ---- */

/* Built in, worst first. */
static const nn_kernels *const built_in[] = {
    &nn_reference,
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
#if defined(NN_HAVE_AVX2) || defined(NN_HAVE_AVX512)
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
    *c = (nn){ .kernels = &nn_reference, .threads = thread_count(threads), .work = work };
    for (size_t i = sizeof built_in / sizeof *built_in; i-- > 0;)
        if ((!isa || !strcmp(isa, built_in[i]->name)) && runnable(built_in[i]->name)) {
            c->kernels = built_in[i];
            return true;
        }
    return false;
}

const char *nn_isa_name(const nn *c) { return c->kernels->name; }

/* ---- environment ---- */

/* Volatile, so that the processor is asked and not the compiler. */
bool nn_environment_ok(void)
{
    volatile float  one = 1.0f, tie = 0x1p-24f, more = 0x1.8p-24f, low = FLT_MIN, half = 0.5f;
    volatile double one_d = 1.0, tie_d = 0x1p-53, more_d = 0x1.8p-53, low_d = DBL_MIN, half_d = 0.5;
    volatile float  up = one + more, even = one + tie, down = -one - more;
    volatile float  tiny = low * half, back = tiny / half;
    volatile double up_d = one_d + more_d, even_d = one_d + tie_d, down_d = -one_d - more_d;
    volatile double tiny_d = low_d * half_d, back_d = tiny_d / half_d;

    return up == 1.0f + FLT_EPSILON && even == 1.0f && down == -1.0f - FLT_EPSILON &&
           tiny != 0.0f && back == FLT_MIN &&
           up_d == 1.0 + DBL_EPSILON && even_d == 1.0 && down_d == -1.0 - DBL_EPSILON &&
           tiny_d != 0.0 && back_d == DBL_MIN;
}

bool nn_team_environment_ok(int threads)
{
    int wrong = 0;
    (void)threads;
    OMP(omp parallel num_threads(threads) if (threads > 1))
    if (!nn_environment_ok()) {
        OMP(omp atomic)
        wrong++;
    }
    return wrong == 0;
}

/* ---- hand-on ---- */

void nn_linear(nn *c, float *y, const float *x, weight W, const float *bias, size_t M, size_t K, size_t N)
{
    c->kernels->linear(c, y, x, W, bias, M, K, N);
}

void nn_conv2d(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s)
{
    c->kernels->conv2d(c, y, x, W, bias, s);
}

void nn_attention(nn *c, float *y, const float *q, const float *k, const float *v,
                  size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal)
{
    c->kernels->attention(c, y, q, k, v, B, Nq, Nk, heads, head, causal);
}

size_t nn_packed_size(const nn *c, size_t N, size_t taps, size_t ci)
{
    return c->kernels->packed_size(N, taps, ci);
}

void nn_pack(const nn *c, float *dst, weight W, size_t N, size_t taps, size_t ci)
{
    c->kernels->pack(dst, W, N, taps, ci);
}

void nn_group_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                   size_t B, size_t P, size_t C, size_t G, float eps, bool silu)
{
    c->kernels->group_norm(c, y, x, gamma, beta, B, P, C, G, eps, silu);
}

/* Those that need no scratch have nothing to plan. */

void nn_layer_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                   size_t M, size_t D, float eps)
{
    if (y)
        c->kernels->layer_norm(c, y, x, gamma, beta, M, D, eps);
}

void nn_softmax(nn *c, float *y, const float *x, size_t M, size_t N)
{
    if (y)
        c->kernels->softmax(c, y, x, M, N);
}

void nn_exp(nn *c, float *y, const float *x, size_t n)
{
    if (y)
        c->kernels->exponential(c, y, x, n);
}

void nn_silu(nn *c, float *y, const float *x, size_t n)
{
    if (y)
        c->kernels->silu(c, y, x, n);
}

void nn_gelu(nn *c, float *y, const float *x, size_t n)
{
    if (y)
        c->kernels->gelu(c, y, x, n);
}

void nn_quick_gelu(nn *c, float *y, const float *x, size_t n)
{
    if (y)
        c->kernels->quick_gelu(c, y, x, n);
}

void nn_geglu(nn *c, float *y, const float *x, size_t M, size_t D)
{
    if (y)
        c->kernels->geglu(c, y, x, M, D);
}

/* Training and timing: never planned. */

void nn_sparse_sum(const nn *c, float *y, const float *x, size_t ld, const uint32_t *idx, const float *val,
                   size_t count, size_t n)
{
    c->kernels->sparse_sum(y, x, ld, idx, val, count, n);
}

void nn_sparse_dot(const nn *c, float *out, const float *a, const float *x, size_t ld, const uint32_t *idx,
                   size_t count, size_t n)
{
    c->kernels->sparse_dot(out, a, x, ld, idx, count, n);
}

double nn_sum_squares(const nn *c, const float *x, const double *mean, size_t n)
{
    return c->kernels->sum_squares(x, mean, n);
}

void nn_unit_row(const nn *c, float *w, size_t n) { c->kernels->unit_row(w, n); }

void nn_project(const nn *c, float *g, const float *w, float scale, size_t n)
{
    c->kernels->project(g, w, scale, n);
}

void nn_adam(const nn *c, float *p, float *m, float *v, const float *g, float scale, const adam *a, size_t n)
{
    c->kernels->adam(p, m, v, g, scale, a, n);
}

size_t nn_at_least(const nn *c, uint32_t *idx, float *val, const float *z, size_t n, float bound,
                   uint32_t first)
{
    return c->kernels->at_least(idx, val, z, n, bound, first);
}

size_t nn_count_at_least(const nn *c, const float *z, size_t n, float bound)
{
    return c->kernels->count_at_least(z, n, bound);
}

double nn_peak(const nn *c, size_t rounds, float *sink) { return c->kernels->peak(rounds, sink); }

double nn_tile(const nn *c, size_t rounds, const float *a, const float *b, float *sink)
{
    return c->kernels->tile(rounds, a, b, sink);
}
