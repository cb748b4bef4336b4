/* test_drawing.c: what counts as a classifier's answer; where a list's concept is forgotten.
 *
 * Not here: lists drawn, found and judged, which need a whole run (test_eval.c, test_sweep.c). */
#include "test.h"
#include "opened.h"
#include "evaluation/drawing.h"

#include <math.h>
#include <string.h>

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

/* A style and an object of one name: each list forgets at its own domain's hook, and has a name of its
 * own. */
static void twins(void)
{
    static const char *const styles[] = { "Seed_Images", "Sketch", "Van Gogh", "Watercolor" };
    static const char *const objects[] = { "Sketch", "Dogs", "Sea" };
    static const struct { int domain; uint32_t concept; const char *hook, *name; } cases[] = {
        { STYLE, 1, TINY_STYLES, "Sketch.style" }, { OBJECT, 0, TINY_OBJECTS, "Sketch.object" },
        { OBJECT, 1, TINY_OBJECTS, "Dogs" },
    };
    const saeuron_generate_options plain = { .steps = TINY_STEPS };
    saeuron_classifier *k[DOMAINS] = { NULL, NULL };
    saeuron_error e = { 0 };
    for (int hooks = 1; hooks >= 0; hooks--) { /* without hooks in concepts.json nobody can tell */
        protocol p;
        maker m;
        tiny_make(&files);
        tiny_add_judges(&files);
        tiny_add_classifier(&files, "classifier/style", 4, styles);
        tiny_add_classifier(&files, "classifier/object", 3, objects);
        tiny_add_statistics(&files, TINY_OBJECTS, objects);
        tiny_edit(&files, "concepts.json", "Cats", "Sketch");
        if (!hooks)
            tiny_edit(&files, "concepts.json", "\"hook\": \"" TINY_OBJECTS "\", ", "");
        saeuron_context *x = opened(NULL, 1);
        const saeuron_host host = tiny_host(&files);
        for (int d = 0; d < DOMAINS; d++)
            CHECK(saeuron_classifier_open(&k[d], &host, d == STYLE ? "tiny/classifier/style"
                                                                   : "tiny/classifier/object", &e) ==
                      SAEURON_OK, "%s", e.text);
        CHECK(protocol_open(&p, x, k, "emojicanvas", &e) == SAEURON_OK, "%s", e.text);
        CHECK(maker_open(&m, x, &p, k, &plain, &e) == SAEURON_OK, "%s", e.text);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const forgotten what = forgotten_one(cases[i].domain, cases[i].concept);
            const ablation *at = NULL;
            image_list l;
            CHECK(list_open(&l, &p, NULL, &what, &e) == SAEURON_OK, "%s", e.text);
            CHECK(!strcmp(l.name, cases[i].name), "%s is called %s", cases[i].name, l.name);
            const int code = list_enter(&l, &m, NULL, &e);
            for (size_t h = 0; h < x->hooks; h++)
                at = x->hook[h]->count ? x->hook[h] : at;
            if (!hooks && i == 1)
                check_error("no hook", code, SAEURON_EFORMAT, &e,
                            "Sketch|style and an object|concepts.json|hook");
            else
                CHECK(!code && at && !strcmp(at->hook, cases[i].hook), "%s is forgotten at %s: %s",
                      cases[i].name, at ? at->hook : "no hook", e.text);
            list_close(&l, &p);
        }
        maker_close(&m);
        protocol_close(&p);
        for (int d = 0; d < DOMAINS; d++)
            saeuron_classifier_close(k[d]);
        done(x);
    }
}

const test_case drawing_tests[] = {
    { "first_of_the_largest", first_of_the_largest }, { "twins", twins }, { NULL, NULL },
};
