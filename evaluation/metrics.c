/* metrics.c: from answers to numbers: shares of right answers, their means and their 95 % intervals.
 *
 *   predictions, rules (protocol.c) --> right and total of each stratum --> UA, IRA, CRA with intervals
 *
 * Not here: what counts (protocol.c), who answers (eval.c).
 * A stratum is a set of images that weigh alike in one share: those of one class, or all of them. Every number here is a mean
 * of p_i = right_i / n_i with fixed weights c_i over independent strata, in double, strata ascending; only sqrt is the library's. */
#include "evaluation/metrics.h"

#include <math.h>
#include <string.h>

#define Z 0x1.f5c0331eeff84p+0 /* 1.959963984540054: 97.5 % of a normal distribution lie below */

/* Wilson, 1927: the p that put v at most Z standard deviations, sqrt(p (1 - p) / N), off p. Unlike v +- Z sqrt(v (1 - v) / N) it
 * is no point at 0 and 1, where many of these shares lie, and never leaves [0,1]. */
static void wilson(rate *r)
{
    const double N = r->effective, v = r->value, z2 = Z * Z, scale = 1 + z2 / N;
    const double centre = (v + z2 / (2 * N)) / scale, half = Z * sqrt(v * (1 - v) / N + z2 / (4 * N * N)) / scale;
    r->low = v > 0 && centre > half ? centre - half : 0;
    r->high = v < 1 && centre + half < 1 ? centre + half : 1;
}

rate rate_of(size_t right, size_t n)
{
    rate r = { .images = n, .right = right, .effective = (double)n };
    if (n) {
        r.value = (double)right / (double)n;
        wilson(&r);
    }
    return r;
}

/* v = sum c_i p_i / sum c_i, with Wilson's interval at N = 1 / sum (c_i / sum c)^2 / N_i, Kish's effective number of images: of one
 * stratum, or of equal ones that weigh alike, the images themselves. The variance assumed is that of N images with one p, which
 * is never less than the strata's own (p (1 - p) is concave), so the interval errs towards the wide: tried on made-up truths it
 * holds 95 % and more, where a normal approximation of the strata's variances falls short near 1 (tests/check_eval.py prints both).
 * It is about the images' noise: prompts and concepts are fixed, not sampled. */
rate rate_sum(const rate *s, const double *c, size_t n)
{
    double total = 0, variance = 0;
    rate   out = { .images = 0 };
    for (size_t i = 0; i < n; i++)
        if (s[i].images && c[i] > 0) {
            total += c[i];
            variance += c[i] * c[i] / s[i].effective;
            out.value += c[i] * s[i].value;
            out.images += s[i].images;
            out.right += s[i].right;
        }
    if (out.images) {
        out.value /= total;
        out.effective = total * total / variance;
        wilson(&out);
    }
    return out;
}

rate rate_opposite(rate s)
{
    return (rate){ .value = 1 - s.value, .low = 1 - s.high, .high = 1 - s.low, .images = s.images, .right = s.images - s.right, .effective = s.effective };
}

/* Right answers and answers of the strata [2 G]: group g unstyled at 2 g + 1 where it weighs otherwise, else all at 2 g. */
static void count_strata(size_t (*strata)[2], const protocol *p, const rule *r, int domain, uint32_t concept, const prediction *made, const bool *use)
{
    for (size_t s = 0; s < p->seeds; s++)
        for (size_t i = 0; i < p->entries; i++) {
            const entry *e = &p->entry[i];
            const uint32_t answer = made[s * p->entries + i].label[r->judge], truth = r->judge == STYLE ? e->style : e->object;
            const uint32_t group = r->mean == MEAN_STYLES ? e->style : r->mean == MEAN_OBJECTS ? e->object : 0;
            if ((use && !use[s * p->entries + i]) || answer == NO_LABEL || group == NO_LABEL || rule_weight(r, e, domain, concept) <= 0)
                continue;
            size_t *at = strata[2 * group + (e->plain && r->plain != r->styled)];
            at[0] += answer == truth;
            at[1]++;
        }
}

int rate_rule(rate *out, const protocol *p, const rule *r, int domain, uint32_t concept, const prediction *made, const bool *use, saeuron_error *err)
{
    const size_t G = r->mean == MEAN_IMAGES ? 1 : p->label[r->mean == MEAN_STYLES ? STYLE : OBJECT].count;
    size_t (*strata)[2] = io_alloc(p->host, 2 * G, sizeof *strata);
    rate   *s = io_alloc(p->host, 2 * G, sizeof *s);
    double  *c = io_alloc(p->host, 2 * G, sizeof *c);
    int      code = SAEURON_OK;
    if (strata && s && c) {
        memset(strata, 0, 2 * G * sizeof *strata);
        count_strata(strata, p, r, domain, concept, made, use);
        for (size_t g = 0; g < G; g++) {
            const double styled = r->styled * (double)strata[2 * g][1], plain = r->plain * (double)strata[2 * g + 1][1];
            for (size_t i = 2 * g; i < 2 * g + 2; i++)
                s[i] = rate_of(strata[i][0], strata[i][1]);
            if (r->styled <= 0 || r->styled == r->plain) { /* one stratum: of unstyled images alone, or of all */
                c[2 * g] = strata[2 * g][1] ? 1 : 0;
                c[2 * g + 1] = strata[2 * g + 1][1] ? 1 : 0;
            } else {
                c[2 * g] = styled > 0 ? styled / (styled + plain) : 0;
                c[2 * g + 1] = plain > 0 ? plain / (styled + plain) : 0;
            }
        }
        *out = rate_sum(s, c, 2 * G);
    } else {
        code = fail(err, SAEURON_ENOMEM, "no memory to count");
    }
    io_free(p->host, c);
    io_free(p->host, s);
    io_free(p->host, strata);
    return code;
}

double per_cent(double x)
{
    const double scaled = x * 1e6;
    return (double)(int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5) / 1e4;
}
