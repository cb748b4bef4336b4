/* metrics.c: from answers to numbers: shares of right answers, their means and their 95 % intervals.
 *
 *   answers, a rule (protocol.c) --strata_of--> right answers, images, weight
 *            --rate_of--> UA, IRA, CRA, CRA_own
 *
 * Not here: what a rule counts (protocol.c), who answers (drawing.c).
 * Letters: a stratum has n images, the share v of right answers, and weight w; all w add up to 1. V = sum w v
 * is the mean. All in double, strata ascending; of libm only sqrt. */
#include "evaluation/metrics.h"

#include <math.h>
#include <string.h>

#define Z 0x1.f5c0331eeff84p+0 /* 1.959963984540054: 97.5 % of a normal distribution lie below */

/* ---- a mean of shares, and its interval ---- */

static double weight_of(const stratum *s) { return s->images && s->weight > 0 ? s->weight : 0; }

/* Whether V lies Z standard deviations or more above theta, a mean that is tried instead. The standard
 * deviation is that of V if the strata's shares were p, the likeliest with mean theta: they maximise the sum
 * of m (v log p + (1 - v) log(1 - p)), so by Lagrange there is one lambda > 0 for all strata with
 *
 *     v - p = lambda w / m * p (1 - p), so V - theta = lambda * variance, variance = sum w^2 p (1 - p) / m.
 *
 * theta falls as lambda grows; lambda is given, *theta follows. m = n - 1 + w takes the place of n:
 * v (1 - v) is on average (n - 1) / n of p (1 - p), but a stratum that stands alone (w = 1) has p = theta.
 * total: the sum of the weights as given. wrong: take the shares of wrong answers. */
static bool too_low(double *theta, const stratum *s, size_t n, double total, bool wrong, double lambda)
{
    double squared = 0; /* (V - theta)^2 / variance = lambda^2 * variance */
    *theta = 0;
    for (size_t i = 0; i < n; i++) {
        const double w = weight_of(&s[i]) / total;
        if (w <= 0)
            continue;
        const double m = (double)s[i].images - 1 + w, a = lambda * w / m;
        const double v = (double)(wrong ? s[i].images - s[i].right : s[i].right) / (double)s[i].images;
        const double root = sqrt((1 - a) * (1 - a) + 4 * a * (1 - v)); /* of v - p = a p (1 - p) */
        const double p = 2 * v / (1 + a + root);
        *theta += w * p;
        squared += a * a * m * p * (1 - p);
    }
    return squared >= Z * Z;
}

/* The lower end of the interval: the least theta that is not too low. lambda is found by doubling, then
 * halving. V > 0. */
static double low_end(const stratum *s, size_t n, double total, bool wrong)
{
    double theta, below = 0, above = 1;
    for (; !too_low(&theta, s, n, total, wrong, above) && above < 1e300; above *= 2)
        below = above;
    for (;;) {
        const double lambda = below + (above - below) / 2;
        const bool   past = too_low(&theta, s, n, total, wrong, lambda);
        if (lambda <= below || lambda >= above)
            return theta;
        *(past ? &above : &below) = lambda;
    }
}

/* EQ 36: the score interval. Of one stratum it is Wilson's (1927); unlike V +- Z sqrt(V (1 - V) / n) it is
 * no point at 0 and 1, where many of these shares lie. Of several it takes the likeliest shares, as Miettinen
 * and Nurminen (1985) do, so strata may differ in share, size and weight; tests/test_metrics.c shows how
 * often it holds the truth. It speaks of the images' noise: prompts and concepts are fixed, not sampled. */
rate rate_of(const stratum *s, size_t n)
{
    double total = 0;
    rate   out = { .images = 0 };
    for (size_t i = 0; i < n; i++)
        if (weight_of(&s[i]) > 0) {
            total += s[i].weight;
            out.value += s[i].weight * ((double)s[i].right / (double)s[i].images);
            out.images += s[i].images;
            out.right += s[i].right;
        }
    if (!out.images)
        return out;
    out.value /= total;
    out.low = out.right ? low_end(s, n, total, false) : 0;
    out.high = out.right < out.images ? 1 - low_end(s, n, total, true) : 1;
    return out;
}

rate rate_opposite(rate s)
{
    const size_t wrong = s.images - s.right;
    return (rate){ 1 - s.value, .low = 1 - s.high, .high = 1 - s.low, .images = s.images, .right = wrong };
}

/* ---- a rule's strata ---- */

static size_t groups(const protocol *p, const rule *r)
{
    return r->mean == MEAN_IMAGES ? 1 : p->label[r->mean == MEAN_STYLES ? STYLE : OBJECT].count;
}

size_t strata_most(const protocol *p, const rule *r) { return 2 * groups(p, r); }

/* Right answers and images of each group: at 2 g; its unstyled images, where they weigh otherwise, at 2 g +
 * 1. */
static void count(stratum *out, const protocol *p, const rule *r, int domain, const forgotten *f,
                  const prediction *made, const bool *use)
{
    for (size_t j = 0; j < p->seeds * p->entries; j++) {
        const entry   *e = &p->entry[j % p->entries];
        const uint32_t answer = made[j].label[r->judge], truth = r->judge == STYLE ? e->style : e->object;
        const uint32_t group = r->mean == MEAN_STYLES ? e->style : r->mean == MEAN_OBJECTS ? e->object : 0;
        const bool     used = !use || use[j];
        if (!used || answer == NO_LABEL || group == NO_LABEL || rule_weight(r, e, domain, f) <= 0)
            continue;
        stratum *s = &out[2 * group + (e->plain && r->plain != r->styled)];
        s->right += answer == truth;
        s->images++;
    }
}

size_t strata_of(stratum *out, const protocol *p, const rule *r, int domain, const forgotten *f,
                 const prediction *made, const bool *use)
{
    const size_t G = groups(p, r);
    size_t n = 0, counted = 0;
    memset(out, 0, 2 * G * sizeof *out);
    count(out, p, r, domain, f, made, use);
    for (size_t g = 0; g < G; g++)
        counted += out[2 * g].images || out[2 * g + 1].images;
    for (size_t g = 0; g < G; g++) {
        stratum both[2] = { out[2 * g], out[2 * g + 1] };
        const double styled = r->styled * (double)both[0].images, plain = r->plain * (double)both[1].images;
        both[0].weight = both[1].images && r->styled > 0 ? styled / (styled + plain) : 1;
        both[1].weight = r->styled > 0 ? plain / (styled + plain) : 1;
        for (int i = 0; i < 2; i++)
            if (both[i].images) {
                both[i].weight /= (double)counted;
                out[n++] = both[i];
            }
    }
    return n;
}

/* EQ 35: one number of UA (its opposite), IRA, CRA, CRA_own: which images count is the rule's. */
int rate_rule(rate *out, const protocol *p, const rule *r, int domain, const forgotten *f,
              const prediction *made, const bool *use, saeuron_error *err)
{
    stratum *s = io_alloc(p->host, strata_most(p, r), sizeof *s);
    if (!s)
        return fail(err, SAEURON_ENOMEM, "no memory to count");
    *out = rate_of(s, strata_of(s, p, r, domain, f, made, use));
    io_free(p->host, s);
    return SAEURON_OK;
}

double per_cent(double x)
{
    const double scaled = x * 1e6;
    return (double)(int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5) / 1e4;
}
