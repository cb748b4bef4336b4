/* order.c: TopK by a heap, quantiles by selection: neither sorts all values; the largest of each group.
 * Not here: relu before these (sae.c), a batch's TopK (train.c). */
#include "arithmetic/order.h"

#include <stdbool.h>

/* Whether candidate a comes before b: the larger value, then the lower index. */
static bool before(float va, uint32_t ia, float vb, uint32_t ib) { return va > vb || (va == vb && ia < ib); }

/* A heap whose root comes last by `before`; [n] entries, of which entry at may be out of place. */
static void sift(uint32_t *idx, float *val, size_t n, size_t at)
{
    const uint32_t i = idx[at];
    const float    v = val[at];

    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(val[child], idx[child], val[child + 1], idx[child + 1]))
            child++;
        if (!before(v, i, val[child], idx[child]))
            break;
        idx[at] = idx[child];
        val[at] = val[child];
    }
    idx[at] = i;
    val[at] = v;
}

/* The same for indices alone, the root the largest; val follows. */
static void sift_index(uint32_t *idx, float *val, size_t n, size_t at)
{
    const uint32_t i = idx[at];
    const float    v = val[at];

    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && idx[child] < idx[child + 1])
            child++;
        if (i >= idx[child])
            break;
        idx[at] = idx[child];
        val[at] = val[child];
    }
    idx[at] = i;
    val[at] = v;
}

static void swap_entries(uint32_t *idx, float *val, size_t a, size_t b)
{
    const uint32_t i = idx[a];
    const float    v = val[a];
    idx[a] = idx[b];
    val[a] = val[b];
    idx[b] = i;
    val[b] = v;
}

/* The k best so far lie in a heap, the worst at its root. A later equal value never enters, since its
 * index is higher. */
size_t nn_topk(uint32_t *idx, float *val, const float *z, size_t n, size_t k)
{
    k = k < n ? k : n;
    if (k == 0)
        return 0;
    for (size_t i = 0; i < k; i++) {
        idx[i] = (uint32_t)i;
        val[i] = z[i];
    }
    for (size_t i = k / 2; i-- > 0;)
        sift(idx, val, k, i);
    for (size_t i = k; i < n; i++)
        if (z[i] > val[0]) {
            idx[0] = (uint32_t)i;
            val[0] = z[i];
            sift(idx, val, k, 0);
        }
    for (size_t i = k / 2; i-- > 0;)
        sift_index(idx, val, k, i);
    for (size_t end = k; end-- > 1;) {
        swap_entries(idx, val, 0, end);
        sift_index(idx, val, end, 0);
    }
    return k;
}

void nn_groupmax(uint32_t *idx, float *val, const float *z, size_t n, size_t k)
{
    for (size_t j = 0; j < k; j++) {
        size_t most = n / k * j;
        for (size_t i = most + 1; i < n / k * (j + 1); i++)
            most = z[i] > z[most] ? i : most;
        idx[j] = (uint32_t)most;
        val[j] = z[most];
    }
}

/* Puts the value of rank r where it would lie sorted, nothing larger before it, nothing smaller behind
 * (Hoare's FIND). The pivot is the middle of three, so that sorted and constant input cost no more than
 * random input. */
static void select_rank(float *x, size_t n, size_t r)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        const float a = x[low], b = x[low + (high - low) / 2], d = x[high];
        const float pivot = a < b ? (b < d ? b : a < d ? d : a) : (a < d ? a : b < d ? d : b);
        size_t i = low, j = high;
        for (;;) {
            while (x[i] < pivot)
                i++;
            while (x[j] > pivot)
                j--;
            if (i >= j)
                break;
            const float t = x[i];
            x[i++] = x[j];
            x[j--] = t;
        }
        /* x[low..j] <= pivot <= x[i..high], and j + 1 >= i >= j */
        if (r <= j && j < high)
            high = j;
        else if (r < i)
            return;
        else
            low = i > low ? i : low + 1;
    }
}

double nn_quantile(const float *x, size_t n, double q, float *scratch)
{
    const double r = q * (double)(n - 1);
    const size_t at = (size_t)r < n - 1 ? (size_t)r : n - 1;

    for (size_t i = 0; i < n; i++)
        scratch[i] = x[i] + 0.0f; /* one zero only, so that equal values are equal bits */
    select_rank(scratch, n, at);
    const double low = (double)scratch[at];
    if (at == n - 1)
        return low;
    float next = scratch[at + 1];
    for (size_t i = at + 2; i < n; i++)
        next = scratch[i] < next ? scratch[i] : next;
    return low + (r - (double)at) * ((double)next - low);
}
