/* test_order.c: TopK and quantiles against the C library's qsort, GroupMax against its definition.
 * Not here: BatchTopK (test_train.c). */
#include "test.h"
#include "arrays.h"

static int by_value_then_index(const void *a, const void *b)
{
    /* into one array: addresses are indices */
    const float *x = *(const float *const *)a, *y = *(const float *const *)b;
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
                const float few = (float)((int)(z[i] * 3.0f)) * (i % 2 ? 1.0f : -1.0f);
                z[i] = kind == 0 ? z[i] : kind == 1 ? few : kind == 2 ? 0.5f : kind == 3 ? (float)i
                     : -(float)i;
                order[i] = z + i;
            }
            for (size_t j = 0; j < COUNT(ks); j++) {
                const size_t k = ks[j] < n ? ks[j] : n, got = nn_topk(idx, val, z, n, ks[j]);
                qsort(order, n, sizeof *order, by_value_then_index);
                qsort(order, k, sizeof *order, by_index);
                CHECK(got == k, "n %zu, k %zu: %zu", n, ks[j], got);
                for (size_t i = 0; i < k; i++)
                    if (idx[i] != (uint32_t)(order[i] - z) || f32_bits(val[i]) != f32_bits(z[idx[i]])) {
                        test_failed(__FILE__, __LINE__, "n %zu, k %zu, kind %d: place %zu holds index %u", n,
                                    ks[j], kind, i, (unsigned)idx[i]);
                        break;
                    }
            }
            free(z);
            free(val);
            free(idx);
            free(order);
        }
}

/* Groups of 1 to all values, with ties and zeros of both signs: the first of the largest. */
static void groupmax(void)
{
    enum { N = 240 };
    float *z = filled(N), val[N];
    uint32_t idx[N];
    for (size_t i = 0; i < N; i++)
        z[i] = (float)((int)(z[i] * 3.0f)) * (i % 2 ? 1.0f : -1.0f);
    for (size_t k = 1; k <= N; k++) {
        if (N % k)
            continue;
        nn_groupmax(idx, val, z, N, k);
        for (size_t j = 0; j < k; j++)
            for (size_t i = N / k * j; i < N / k * (j + 1); i++)
                CHECK(idx[j] / (N / k) == j && f32_bits(val[j]) == f32_bits(z[idx[j]]) &&
                          (i < idx[j] ? z[i] < val[j] : z[i] <= val[j]),
                      "k %zu: group %zu has index %u, but %g at %zu", k, j, (unsigned)idx[j], (double)z[i],
                      i);
    }
    free(z);
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
            for (size_t i = 0; i < n; i++) {
                const float few = (float)(int)(x[i] * 3.0f);
                sorted[i] = x[i] = kind == 0 ? x[i] : kind == 1 ? few : kind == 2 ? (float)i : 4.0f;
            }
            qsort(sorted, n, sizeof *sorted, by_value);
            for (int p = 0; p <= 100; p += 5) {
                const double q = p / 100.0, r = q * (double)(n - 1);
                const size_t lo = (size_t)r;
                const double at = (double)sorted[lo], next = (double)sorted[lo + 1 < n ? lo + 1 : lo];
                const double want = lo + 1 < n ? at + (r - (double)lo) * (next - at) : at;
                const double y = nn_quantile(x, n, q, scratch);
                CHECK(y == want, "n %zu, kind %d, %d %%: %g, not %g", n, kind, p, y, want);
            }
            free(x);
            free(sorted);
            free(scratch);
        }
}

const test_case order_tests[] = {
    { "topk", topk },
    { "groupmax", groupmax },
    { "quantile", quantile },
    { NULL, NULL }
};
