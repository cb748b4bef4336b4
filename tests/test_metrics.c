/* test_metrics.c: what is counted, on answers made by hand, and the intervals.
 *
 * Not here: the same counts by other hands, on real answers (check_eval.py); what a protocol is (test_protocol.c). */
#include "test.h"
#include "judges.h"
#include "evaluation/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Answers made by hand, right but for these: Sketch is seen at the last seed only; Van Gogh not on Dogs; Seed_Images on Cats only;
 * Cats are not seen in Sketch, and unstyled not at the first seed; the Sea is not seen unstyled. */
static prediction *made_answers(const protocol *p)
{
    prediction *made = calloc(p->seeds * p->entries, sizeof *made);
    for (size_t j = 0; j < p->seeds * p->entries; j++) {
        const entry *e = &p->entry[j % p->entries];
        const size_t seed = j / p->entries;
        const bool style = e->style == SKETCH ? seed + 1 == p->seeds : e->style == VAN_GOGH ? e->object != DOGS : e->style == SEED_IMAGES ? e->object == CATS : true;
        const bool object = e->object == CATS ? e->style != SKETCH && (!e->plain || seed) : e->object == SEA ? !e->plain : true;
        made[j].label[STYLE] = style ? e->style : (e->style + 1) % 4;
        made[j].label[OBJECT] = object ? e->object : (e->object + 1) % 3;
    }
    return made;
}

/* Each protocol's numbers against counts by hand; the comment of a row says how. A place counted twice, the forgotten concept among
 * the others, or Seed_Images among the styles would change one of them. */
static void metrics(void)
{
    static const struct { const char *protocol; int domain; uint32_t concept; double value[METRICS]; size_t images[METRICS]; } cases[] = {
        /* UA 15 Sketch, 3 right; IRA mean of 10/15 and 15/15; CRA objects on 30, all right */
        { "emojicanvas", STYLE, SKETCH, { 0.8, 25 / 30.0, 1 }, { 15, 30, 30 } },
        /* UA 15, all right; IRA mean of 3/15, 10/15; CRA 30, Cats in Sketch wrong */
        { "emojicanvas", STYLE, WATERCOLOR, { 0, 13 / 30.0, 25 / 30.0 }, { 15, 30, 30 } },
        /* UA 20 Cats, 5 in Sketch and 1 unstyled wrong; IRA mean of 20/20, 15/20; CRA styles on 40: 2 + 5 + 10 + 0 */
        { "emojicanvas", OBJECT, CATS, { 0.3, 0.875, 17 / 40.0 }, { 20, 40, 40 } },
        /* CRA objects on the 15 unstyled: 4 + 5 + 0 */
        { "paper", STYLE, SKETCH, { 0.8, 25 / 30.0, 0.6 }, { 15, 30, 15 } },
        /* unstyled weigh 3 each: UA 1 - (10 + 3 x 4) / 30; IRA mean of 1 and 15/30; CRA mean of 3/15, 10/15, 1 over all objects */
        { "paper", OBJECT, CATS, { 8 / 30.0, 0.75, 28 / 45.0 }, { 20, 40, 45 } },
        { "released", STYLE, SKETCH, { 0.8, 25 / 30.0, 0.6 }, { 15, 30, 15 } },
        { "released", OBJECT, CATS, { 0.3, 0.875, 28 / 45.0 }, { 20, 40, 45 } },
        /* CRA objects on the 15 Sketch: Cats wrong */
        { "unlearncanvas", STYLE, SKETCH, { 0.8, 25 / 30.0, 10 / 15.0 }, { 15, 30, 15 } },
        { "unlearncanvas", OBJECT, CATS, { 0.3, 0.875, 28 / 45.0 }, { 20, 40, 45 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b;
        bench_open(&b, cases[i].protocol, 1);
        prediction *made = made_answers(&b.p);
        CHECK(b.p.entries == 12 && b.p.seeds == 5, "%s has %zu places, %zu seeds", cases[i].protocol, b.p.entries, b.p.seeds);
        for (int m = 0; m < METRICS; m++) {
            saeuron_error e = { 0 };
            rate r;
            CHECK(rate_rule(&r, &b.p, &b.p.rules[cases[i].domain][m], cases[i].domain, cases[i].concept, made, NULL, &e) == SAEURON_OK, "%s", e.text);
            if (m == UA)
                r = rate_opposite(r);
            CHECK(fabs(r.value - cases[i].value[m]) < 1e-14 && r.images == cases[i].images[m], "%s, %s: %s is %.17g of %zu images, by hand %.17g of %zu", cases[i].protocol,
                  b.p.label[cases[i].domain].name[cases[i].concept], metric_names[m], r.value, r.images, cases[i].value[m], cases[i].images[m]);
            CHECK(r.low >= 0 && r.low <= r.value && r.value <= r.high && r.high <= 1, "its interval is %g to %g", r.low, r.high);
        }
        free(made);
        bench_close(&b);
    }
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
    use[48 + 1] = use[1] = use[2] = true; /* Cats in Sketch at the last seed (right) and the first (wrong), in Van Gogh */
    CHECK(rate_rule(&r, &b.p, &all, STYLE, NO_LABEL, made, use, &e) == SAEURON_OK && r.images == 3 && r.right == 2, "%zu of %zu", r.right, r.images);
    made[1].label[STYLE] = NO_LABEL;
    CHECK(rate_rule(&r, &b.p, &all, STYLE, NO_LABEL, made, use, &e) == SAEURON_OK && r.images == 2 && r.right == 2, "%zu of %zu", r.right, r.images);
    memset(use, 0, sizeof use);
    CHECK(rate_rule(&r, &b.p, &all, STYLE, NO_LABEL, made, use, &e) == SAEURON_OK && !r.images, "%zu images of none", r.images);
    free(made);
    bench_close(&b);
}

/* Wilson's ends are scipy.stats.binomtest(right, n).proportion_ci(method="wilson")'s, at 0 and 1 too. Means: one stratum
 * is itself; two alike, and three that weigh as their images do, are all their images. */
static void intervals(void)
{
    static const struct { size_t right, n; double low, high; } cases[] = {
        { 0, 10, 0, 0.277532799862889 }, { 10, 10, 0.722467200137111, 1 }, { 50, 100, 0.403831530365996, 0.596168469634004 }, { 1, 3, 0.0614919447203963, 0.792340399197952 },
        { 97, 100, 0.915480635709472, 0.989745475975961 },
    };
    const double one = 1, alike[2] = { 4, 4 }, as_images[3] = { 2, 7, 10 }, unlike[2] = { 1, 3 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const rate r = rate_of(cases[i].right, cases[i].n), s = rate_sum(&r, &one, 1), pair[2] = { r, r }, t = rate_sum(pair, alike, 2), both = rate_of(2 * r.right, 2 * r.images);
        CHECK(fabs(r.low - cases[i].low) < 1e-12 && fabs(r.high - cases[i].high) < 1e-12, "%zu of %zu: %.15g to %.15g", cases[i].right, cases[i].n, r.low, r.high);
        CHECK(fabs(s.low - r.low) < 1e-15 && fabs(s.high - r.high) < 1e-15 && fabs(s.value - r.value) < 1e-15, "one stratum is not itself");
        CHECK(fabs(t.low - both.low) < 1e-14 && fabs(t.high - both.high) < 1e-14 && t.images == 2 * r.images, "two alike: %g to %g", t.low, t.high);
    }
    const rate three[3] = { rate_of(1, 2), rate_of(0, 0), rate_of(9, 10) }, u = rate_sum(three, as_images, 3), all = rate_of(10, 12);
    CHECK(fabs(u.value - all.value) < 1e-15 && fabs(u.low - all.low) < 1e-14 && u.images == 12, "a stratum without images weighs: %g, from %g", u.value, u.low);
    const rate v = rate_sum((rate[]){ three[0], three[2] }, unlike, 2); /* 1 / (1/16 / 2 + 9/16 / 10) = 80/7 */
    CHECK(fabs(v.value - 0.8) < 1e-15 && fabs(v.effective - 80 / 7.0) < 1e-13, "%g of %g images", v.value, v.effective);
}

const test_case metrics_tests[] = {
    { "metrics", metrics }, { "metrics_of_some", metrics_of_some }, { "intervals", intervals }, { NULL, NULL },
};
