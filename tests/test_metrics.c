/* test_metrics.c: what is counted, on answers made by hand, and the intervals.
 *
 * Not here: the same counts by other hands, on real answers (check_eval.py); what a protocol is
 * (test_protocol.c). */
#include "test.h"
#include "judges.h"
#include "arithmetic/rng.h"
#include "evaluation/frechet.h"
#include "evaluation/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Answers made by hand, right but for these: Sketch is seen at the last seed only; Van Gogh not on Dogs;
 * Seed_Images on Cats only; Cats are not seen in Sketch, and unstyled not at the first seed; the Sea is not
 * seen unstyled. */
static prediction *made_answers(const protocol *p)
{
    prediction *made = calloc(p->seeds * p->entries, sizeof *made);
    for (size_t j = 0; j < p->seeds * p->entries; j++) {
        const entry *e = &p->entry[j % p->entries];
        const size_t seed = j / p->entries;
        bool style = true, object = true;
        if (e->style == SKETCH)
            style = seed + 1 == p->seeds;
        else if (e->style == VAN_GOGH)
            style = e->object != DOGS;
        else if (e->style == SEED_IMAGES)
            style = e->object == CATS;
        if (e->object == CATS)
            object = e->style != SKETCH && (!e->plain || seed);
        else if (e->object == SEA)
            object = !e->plain;
        made[j].label[STYLE] = style ? e->style : (e->style + 1) % 4;
        made[j].label[OBJECT] = object ? e->object : (e->object + 1) % 3;
    }
    return made;
}

/* Each protocol's numbers against counts by hand; the comment of a row says how. A place counted twice, the
 * forgotten concept among the others, or Seed_Images among the styles would change one of them. */
static void metrics(void)
{
    static const struct {
        const char *protocol; int domain; uint32_t concept; double value[METRICS]; size_t images[METRICS];
    } cases[] = {
        /* UA 15 Sketch, 3 right; IRA mean of 10/15 and 15/15; CRA objects on 30, all right; of
         * its own the Cats are wrong */
        { "emojicanvas", STYLE, SKETCH, { 0.8, 25 / 30.0, 1, 10 / 15.0 }, { 15, 30, 30, 15 } },
        /* UA 15, all right; IRA mean of 3/15, 10/15; CRA 30, Cats in Sketch wrong */
        { "emojicanvas", STYLE, WATERCOLOR, { 0, 13 / 30.0, 25 / 30.0, 1 }, { 15, 30, 30, 15 } },
        /* UA 20 Cats, 5 in Sketch and 1 unstyled wrong; IRA mean of 20/20, 15/20; CRA styles on 40: 17; of
         * its own 20 4 in Sketch are wrong */
        { "emojicanvas", OBJECT, CATS, { 0.3, 0.875, 17 / 40.0, 0.8 }, { 20, 40, 40, 20 } },
        /* CRA objects on the 15 unstyled: 4 + 5 + 0 */
        { "paper", STYLE, SKETCH, { 0.8, 25 / 30.0, 0.6, 10 / 15.0 }, { 15, 30, 15, 15 } },
        /* unstyled weigh 3: UA 1 - (10 + 3 x 4) / 30; IRA mean of 1, 15/30; CRA mean of 3/15, 10/15, 1 */
        { "paper", OBJECT, CATS, { 8 / 30.0, 0.75, 28 / 45.0, 11 / 15.0 }, { 20, 40, 45, 15 } },
        { "released", STYLE, SKETCH, { 0.8, 25 / 30.0, 0.6, 10 / 15.0 }, { 15, 30, 15, 15 } },
        { "released", OBJECT, CATS, { 0.3, 0.875, 28 / 45.0, 11 / 15.0 }, { 20, 40, 45, 15 } },
        /* CRA objects on the 15 Sketch: Cats wrong */
        { "unlearncanvas", STYLE, SKETCH, { 0.8, 25 / 30.0, 10 / 15.0, 10 / 15.0 }, { 15, 30, 15, 15 } },
        { "unlearncanvas", OBJECT, CATS, { 0.3, 0.875, 28 / 45.0, 11 / 15.0 }, { 20, 40, 45, 15 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        bench_open(&b, cases[i].protocol, 1);
        prediction *made = made_answers(&b.p);
        CHECK(b.p.entries == 12 && b.p.seeds == 5, "%s has %zu places, %zu seeds", cases[i].protocol,
              b.p.entries, b.p.seeds);
        for (int m = 0; m < METRICS; m++) {
            saeuron_error e = { 0 };
            rate r;
            const int d = cases[i].domain;
            const forgotten what = forgotten_one(d, cases[i].concept);
            const int code = rate_rule(&r, &b.p, &b.p.rules[d][m], d, &what, made, NULL, &e);
            CHECK(code == SAEURON_OK, "%s", e.text);
            if (m == UA)
                r = rate_opposite(r);
            CHECK(fabs(r.value - cases[i].value[m]) < 1e-14 && r.images == cases[i].images[m],
                  "%s, %s: %s is %.17g of %zu images, by hand %.17g of %zu", cases[i].protocol,
                  b.p.label[d].name[cases[i].concept], metric_names[m], r.value, r.images,
                  cases[i].value[m], cases[i].images[m]);
            CHECK(r.low >= 0 && r.low <= r.value && r.value <= r.high && r.high <= 1,
                  "its interval is %g to %g", r.low, r.high);
        }
        free(made);
        bench_close(&b);
    }
}

/* Several concepts forgotten together, by hand: both styles are own ones and no others; a forgotten object's
 * images count in a style's UA and IRA, but not as kept objects, and the other way round. */
static void metrics_together(void)
{
    static const struct {
        int domain; bool sketch, van_gogh, cats; double value[METRICS]; size_t images[METRICS];
    } cases[] = {
        /* UA 30, Sketch 3 right, Van Gogh not on Dogs: 10; IRA Watercolor; CRA its 15; own 30, Cats in Sketch
         * wrong */
        { STYLE, true, true, false, { 17 / 30.0, 1, 1, 25 / 30.0 }, { 30, 15, 15, 30 } },
        /* UA, IRA of Sketch alone; CRA without Cats 20; own without Cats 10 */
        { STYLE, true, false, true, { 0.8, 25 / 30.0, 1, 1 }, { 15, 30, 20, 10 } },
        /* UA, IRA of Cats alone; CRA styles on 40 without the 10 in Sketch: 15; own without Sketch 15 */
        { OBJECT, true, false, true, { 0.3, 0.875, 15 / 30.0, 1 }, { 20, 40, 30, 15 } },
    };
    bench b;
    bench_open(&b, "emojicanvas", 1);
    prediction *made = made_answers(&b.p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int m = 0; m < METRICS; m++) {
            saeuron_error e = { 0 };
            forgotten what = { { { false } } };
            rate r;
            const int d = cases[i].domain;
            what.has[STYLE][SKETCH] = cases[i].sketch;
            what.has[STYLE][VAN_GOGH] = cases[i].van_gogh;
            what.has[OBJECT][CATS] = cases[i].cats;
            const int code = rate_rule(&r, &b.p, &b.p.rules[d][m], d, &what, made, NULL, &e);
            CHECK(code == SAEURON_OK, "%s", e.text);
            if (m == UA)
                r = rate_opposite(r);
            CHECK(fabs(r.value - cases[i].value[m]) < 1e-14 && r.images == cases[i].images[m],
                  "case %zu: %s is %.17g of %zu images, by hand %.17g of %zu", i, metric_names[m], r.value,
                  r.images, cases[i].value[m], cases[i].images[m]);
        }
    free(made);
    bench_close(&b);
}

/* Images that were not asked count nowhere, nor do those outside `use`. */
static void metrics_of_some(void)
{
    bench b;
    saeuron_error e = { 0 };
    rate r;
    bool use[60] = { false };
    bench_open(&b, "emojicanvas", 1);
    prediction *made = made_answers(&b.p);
    const rule all = { STYLE, OF_ALL, MEAN_IMAGES, 1, 1 };
    const forgotten nothing = { { { false } } };
    /* Cats in Sketch, right at the last seed and wrong at the first; Cats in Van Gogh, right */
    use[48 + 1] = use[1] = use[2] = true;
    int code = rate_rule(&r, &b.p, &all, STYLE, &nothing, made, use, &e);
    CHECK(code == SAEURON_OK && r.images == 3 && r.right == 2, "%zu of %zu", r.right, r.images);
    made[1].label[STYLE] = NO_LABEL;
    code = rate_rule(&r, &b.p, &all, STYLE, &nothing, made, use, &e);
    CHECK(code == SAEURON_OK && r.images == 2 && r.right == 2, "%zu of %zu", r.right, r.images);
    memset(use, 0, sizeof use);
    code = rate_rule(&r, &b.p, &all, STYLE, &nothing, made, use, &e);
    CHECK(code == SAEURON_OK && !r.images, "%zu images of none", r.images);
    free(made);
    bench_close(&b);
}

/* Of one stratum the ends are scipy.stats.binomtest(right, n).proportion_ci(method="wilson")'s, at 0 and 1
 * too. Of two alike they are nearly those of all their images. */
static void intervals(void)
{
    static const struct { size_t right, n; double low, high; } cases[] = {
        { 0, 10, 0, 0.277532799862889 },
        { 10, 10, 0.722467200137111, 1 },
        { 50, 100, 0.403831530365996, 0.596168469634004 },
        { 1, 3, 0.0614919447203963, 0.792340399197952 },
        { 97, 100, 0.915480635709472, 0.989745475975961 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t right = cases[i].right, n = cases[i].n;
        const stratum pair[] = { { 4, right, n }, { 4, right, n } };
        const rate r = rate_of(pair, 1), two = rate_of(pair, 2);
        const rate all = rate_of(&(stratum){ 1, 2 * right, 2 * n }, 1);
        CHECK(fabs(r.low - cases[i].low) < 1e-12 && fabs(r.high - cases[i].high) < 1e-12,
              "%zu of %zu: %.15g to %.15g", right, n, r.low, r.high);
        const double wider = (two.high - two.low) / (all.high - all.low); /* about sqrt(n / (n - 1/2)) */
        CHECK(wider > 1 && wider < 1 + 0.6 / (double)n, "two alike of %zu of %zu: %g times as wide as all",
              right, n, wider);
        CHECK(two.images == 2 * n && two.right == 2 * right, "%zu of %zu images", two.right, two.images);
    }
    const stratum some[] = { { 2, 1, 2 }, { 7, 0, 0 }, { 0, 3, 3 }, { 6, 9, 10 } };
    const rate u = rate_of(some, 4), v = rate_of((stratum[]){ some[0], some[3] }, 2);
    CHECK(fabs(u.value - 0.8) < 1e-15 && u.images == 12 && u.low >= v.low && u.low <= v.low,
          "no images or no weight count: %g", u.value);
    CHECK(!rate_of(some + 1, 2).images && !rate_of(NULL, 0).images, "nothing is counted as something");
}

/* What a stratum counts for: its images less the one that its own share takes up, unless it stands alone. */
static double counted(const stratum *s) { return (double)s->images - 1 + s->weight; }

/* Log-likelihood of two strata at shares p and q. */
static double likelihood(const stratum s[2], double p, double q)
{
    const double share[2] = { p, q };
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        const double v = (double)s[i].right / (double)s[i].images;
        sum += counted(&s[i]) * (v * log(share[i]) + (1 - v) * log(1 - share[i]));
    }
    return sum;
}

/* The definition, for two strata: at either end, with the likeliest shares that have that mean (found by
 * trying all), the mean seen lies Z standard deviations away. */
static void ends_by_definition(void)
{
    static const stratum cases[][2] = { { { 0.25, 1, 2 }, { 0.75, 9, 10 } },
                                        { { 0.5, 240, 250 }, { 0.5, 3, 5 } },
                                        { { 0.5, 7, 9 }, { 0.5, 2, 90 } } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const stratum *s = cases[i];
        const rate r = rate_of(s, 2);
        for (int high = 0; high < 2; high++) {
            const double theta = high ? r.high : r.low;
            double best = -INFINITY, variance = 0;
            for (int step = 1; step < 200000; step++) {
                const double p = step / 200000.0, q = (theta - s[0].weight * p) / s[1].weight;
                const double l = q > 0 && q < 1 ? likelihood(s, p, q) : -INFINITY;
                if (l <= best)
                    continue;
                best = l;
                variance = s[0].weight * s[0].weight * p * (1 - p) / counted(&s[0]) +
                           s[1].weight * s[1].weight * q * (1 - q) / counted(&s[1]);
            }
            const double z = fabs(r.value - theta) / sqrt(variance);
            CHECK(fabs(z - 1.959963984540054) < 2e-4, "case %zu: the end %g lies %g standard deviations off",
                  i, theta, z);
        }
    }
}

/* How often the interval holds the truth: seldom less than it says, though classes differ in share, size and
 * weight. The first row is an object's UA as the paper scores it (1 - 0.4^5 = 98.98 % is exact there): the
 * variance of as many images of one share would be far too small. */
static void coverage(void)
{
    enum { MOST_STRATA = 38, TRIALS = 4000 };
    static const struct { size_t strata, sizes[2]; double low, high, less; } cases[] = {
        /* strata, images of even and odd ones, true shares from low to high, odd ones' `less` */
        { 2, { 250, 5 }, 1, 1, 0.4 },     { 2, { 250, 9 }, 0.98, 0.98, 0.38 },
        { 2, { 250, 5 }, 0.5, 0.5, 0 },   { 2, { 250, 5 }, 0.4, 0.4, 0.4 },
        { 2, { 250, 5 }, 0.05, 0.05, 0 }, { 1, { 100, 0 }, 0.98, 0.98, 0 },
        { 1, { 100, 0 }, 0.02, 0.02, 0 }, { 9, { 20, 20 }, 0.7, 1, 0 },
        { 9, { 100, 100 }, 0.95, 1, 0 },  { 9, { 100, 100 }, 0.99, 1, 0 },
        { 9, { 100, 100 }, 0, 0.05, 0 },  { 10, { 100, 100 }, 0.998, 0.998, 0 },
        { 19, { 55, 55 }, 0.5, 1, 0 },    { 9, { 60, 6 }, 0.6, 0.9, 0.1 },
        { 38, { 50, 5 }, 0.5, 0.9, 0.2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stratum s[MOST_STRATA];
        double  truth = 0, share[MOST_STRATA];
        size_t  held = 0, drawn = 0;
        for (size_t j = 0; j < cases[i].strata; j++) {
            const double at = cases[i].strata > 1 ? (double)j / (double)(cases[i].strata - 1) : 0;
            s[j] = (stratum){ .weight = 1, .images = cases[i].sizes[j % 2] };
            share[j] = cases[i].low + at * (cases[i].high - cases[i].low) - (j % 2 ? cases[i].less : 0);
            truth += share[j] / (double)cases[i].strata;
        }
        for (size_t t = 0; t < TRIALS; t++) {
            for (size_t j = 0; j < cases[i].strata; j++) {
                s[j].right = 0;
                for (size_t n = 0; n < s[j].images; n++)
                    s[j].right += rng_uniform(11, i, drawn++) < (float)share[j];
            }
            const rate r = rate_of(s, cases[i].strata);
            held += r.low <= truth + 1e-12 && truth <= r.high + 1e-12;
        }
        const double held_share = 100.0 * (double)held / TRIALS;
        test_note("%zu strata of %zu and %zu images, shares %g to %g, odd ones %g less: %.1f %%",
                  cases[i].strata, cases[i].sizes[0], cases[i].sizes[1], cases[i].low, cases[i].high,
                  cases[i].less, held_share);
        CHECK(held_share >= 93 && held_share <= 99.1,
              "row %zu: the 95 %% interval holds the truth in %.1f %%", i, held_share);
    }
}

/* Vectors of small whole numbers and quarters, of full rank. */
static void made_features(float *out, size_t n, size_t d, size_t a, size_t b)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            out[i * d + j] = 0.5f * (float)((7 * i + a * j + b * i * j) % 11) - 2 +
                             0.25f * (float)(i * i * (j + 1) % 13);
}

/* Frechet distances as mpmath counts them with 60 digits: means, covariances, the roots of the eigenvalues of
 * their product (check_eval.py asks scipy on real features). Sets of fewer vectors than values, either side
 * the larger; a set and itself; a shift; one value by hand: (1 - 3)^2 + (sqrt 2 - sqrt 8)^2. */
static void frechet(void)
{
    static const struct { size_t n, m, d; double distance; } cases[] = {
        { 5, 8, 3, 12.756469317142076 }, { 8, 5, 3, 9.4613966070869216 }, { 3, 4, 6, 37.271738814854253 },
        { 40, 90, 16, 39.282201029618247 },
    };
    static float x[90 * 16], y[90 * 16];
    saeuron_error e = { 0 };
    double out;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = cases[i].n, m = cases[i].m, d = cases[i].d;
        made_features(x, n, d, 3, 1);
        made_features(y, m, d, 5, 2);
        CHECK(frechet_distance(&out, NULL, x, n, y, m, d, &e) == SAEURON_OK, "%s", e.text);
        CHECK(fabs(out / cases[i].distance - 1) < 1e-9, "%zu, %zu vectors of %zu: %.15g, mpmath %.15g", n, m,
              d, out, cases[i].distance);
        CHECK(frechet_distance(&out, NULL, x, n, x, n, d, &e) == SAEURON_OK && out < 1e-9,
              "a set is %g from itself", out);
        for (size_t j = 0; j < n * d; j++)
            y[j] = x[j] + 3;
        CHECK(frechet_distance(&out, NULL, x, n, y, n, d, &e) == SAEURON_OK &&
                  fabs(out - 9 * (double)d) < 1e-6, "shifted by 3 in %zu values: %g", d, out);
    }
    const float one[2] = { 0, 2 }, other[2] = { 1, 5 };
    CHECK(frechet_distance(&out, NULL, one, 2, other, 2, 1, &e) == SAEURON_OK && fabs(out - 6) < 1e-12, "%g",
          out);
}

const test_case metrics_tests[] = {
    { "metrics", metrics }, { "metrics_together", metrics_together },
    { "metrics_of_some", metrics_of_some }, { "intervals", intervals },
    { "ends_by_definition", ends_by_definition }, { "coverage", coverage },
    { "frechet", frechet }, { NULL, NULL },
};
