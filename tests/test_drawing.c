/* test_drawing.c: what counts as a classifier's answer.
 *
 * Not here: lists drawn, found and judged, which need a whole run (test_eval.c, test_sweep.c). */
#include "test.h"
#include "evaluation/drawing.h"

#include <math.h>

/* Between equal logits the first counts, wherever they stand; -0 and +0 are equal. The probability is its
 * softmax. */
static void first_of_the_largest(void)
{
    static const struct { float logits[4]; uint32_t first; double probability; } cases[] = {
        { { 1, 3, 3, 3 }, 1, 0.318945 },       { { 2, 2, 2, 2 }, 0, 0.25 },
        { { 5, 1, 1, 5 }, 0, 0.491007 },       { { -4, -4, -3, -3 }, 2, 0.365529 },
        { { -0.0f, 0, -1, -2 }, 0, 0.399486 }, { { 0, -0.0f, -1, -2 }, 0, 0.399486 },
        { { 1, 2, 3, 4 }, 3, 0.643914 },
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    float      logits[COUNT][4], scratch[4];
    prediction made[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        made[i] = (prediction){ .label = { 7, 7 } };
        for (size_t j = 0; j < 4; j++)
            logits[i][j] = cases[i].logits[j];
    }
    answer(made, OBJECT, logits[0], scratch, COUNT, 4);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(made[i].label[OBJECT] == cases[i].first, "row %zu: class %u, not %u", i, made[i].label[OBJECT],
              cases[i].first);
        CHECK(fabs(made[i].probability[OBJECT] - cases[i].probability) < 1e-5, "row %zu: %.9g", i,
              made[i].probability[OBJECT]);
        CHECK(made[i].label[STYLE] == 7, "row %zu: the other domain's answer is touched", i);
    }
}

const test_case drawing_tests[] = { { "first_of_the_largest", first_of_the_largest }, { NULL, NULL } };
