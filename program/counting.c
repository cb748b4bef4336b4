/* counting.c: the set of kernels of counting.h. Not here: which operations exist (arithmetic/nn.h). */
#include "program/counting.h"
#include "arithmetic/threads.h"
#include "files/system.h"

const char *const op_names[OPS] = {
    "conv 3x3", "conv 1x1", "linear", "self-attention", "cross-attention", "group norm, silu",
    "layer norm", "geglu", "silu"
};

static counted *of(nn *c) { return (counted *)(void *)(uintptr_t)c->kernels; }

/* Threads that take rows side by side count at the same time. */
static void count(nn *c, int op, double multiply_adds, double since)
{
    counted *k = of(c);
    const double seconds = (os_seconds() - since) * c->threads;
    OMP(omp critical(counting))
    {
        k->seconds[op] += seconds;
        k->multiply_adds[op] += multiply_adds;
        k->calls[op]++;
    }
}

static void count_linear(nn *c, float *y, const float *x, weight W, const float *bias,
                         size_t M, size_t K, size_t N)
{
    const double since = os_seconds();
    of(c)->real->linear(c, y, x, W, bias, M, K, N);
    count(c, OP_LINEAR, (double)M * (double)K * (double)N, since);
}

static void count_conv2d(nn *c, float *y, const float *x, weight W, const float *bias, const conv_shape *s)
{
    const double pixels = (double)s->B * (double)conv_out(s, s->H) * (double)conv_out(s, s->W);
    const double since = os_seconds();
    of(c)->real->conv2d(c, y, x, W, bias, s);
    count(c, s->k == 1 ? OP_CONV1 : OP_CONV3, pixels * (double)(s->k * s->k * s->ci) * (double)s->co, since);
}

static void count_attention(nn *c, float *y, const float *q, const float *k, const float *v,
                            size_t B, size_t Nq, size_t Nk, size_t heads, size_t head, bool causal)
{
    const double since = os_seconds(), pairs = (double)B * (double)Nq * (double)Nk * (causal ? 0.5 : 1.0);
    of(c)->real->attention(c, y, q, k, v, B, Nq, Nk, heads, head, causal);
    count(c, Nq == Nk ? OP_SELF : OP_CROSS, 2 * pairs * (double)(heads * head), since);
}

static void count_layer_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                             size_t M, size_t D, float eps)
{
    const double since = os_seconds();
    of(c)->real->layer_norm(c, y, x, gamma, beta, M, D, eps);
    count(c, OP_LAYER_NORM, 0, since);
}

static void count_group_norm(nn *c, float *y, const float *x, const float *gamma, const float *beta,
                             size_t B, size_t P, size_t C, size_t G, float eps, bool silu)
{
    const double since = os_seconds();
    of(c)->real->group_norm(c, y, x, gamma, beta, B, P, C, G, eps, silu);
    count(c, OP_GROUP_NORM, 0, since);
}

static void count_geglu(nn *c, float *y, const float *x, size_t M, size_t D)
{
    const double since = os_seconds();
    of(c)->real->geglu(c, y, x, M, D);
    count(c, OP_GEGLU, 0, since);
}

static void count_silu(nn *c, float *y, const float *x, size_t n)
{
    const double since = os_seconds();
    of(c)->real->silu(c, y, x, n);
    count(c, OP_SILU, 0, since);
}

void start_counting(nn *c, counted *k)
{
    *k = (counted){ .table = *c->kernels, .real = c->kernels };
    k->table.linear = count_linear;
    k->table.conv2d = count_conv2d;
    k->table.attention = count_attention;
    k->table.layer_norm = count_layer_norm;
    k->table.group_norm = count_group_norm;
    k->table.geglu = count_geglu;
    k->table.silu = count_silu;
    c->kernels = &k->table;
}

void stop_counting(nn *c, const counted *k) { c->kernels = k->real; }

double total_multiply_adds(const counted *k)
{
    double sum = 0;
    for (int i = 0; i < OPS; i++)
        sum += k->multiply_adds[i];
    return sum;
}
