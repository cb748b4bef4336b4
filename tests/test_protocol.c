/* test_protocol.c: protocols printed and read back; every fault of a protocol file, of classes and
 * classifiers named.
 *
 * Not here: what the rules count (test_metrics.c). */
#include "test.h"
#include "judges.h"

#include <stdio.h>
#include <string.h>

/* A printed protocol is read back as it was, numbers and places alike; places follow objects, then styles. */
static void protocol_files(void)
{
    static const char *const names[] = { "emojicanvas", "paper", "released", "unlearncanvas" };
    for (size_t i = 0; i < 4; i++) {
        bench b;
        protocol q;
        saeuron_error e = { 0 };
        bench_open(&b, names[i], 1);
        text_out t = { .host = &b.host }, u = { .host = &b.host };
        protocol_print(&b.p, &t);
        test_write_file(judges_at("p.json"), t.at, t.n);
        CHECK(protocol_open(&q, b.x, b.k, judges_at("p.json"), &e) == SAEURON_OK, "%s", e.text);
        protocol_print(&q, &u);
        CHECK(t.n == u.n && !memcmp(t.at, u.at, t.n), "%s is read back otherwise", names[i]);
        CHECK(!strcmp(q.entry[0].prompt, "An image of Cats.") && q.entry[0].plain &&
                  !strcmp(q.entry[2].prompt, "An image of Cats in Van Gogh style.") &&
                  q.entry[11].style == WATERCOLOR && q.entry[11].object == SEA,
              "the places of %s are in another order", names[i]);
        CHECK(q.steps == (i ? 100 : 0) && q.disjoint == !i, "%s: %zu steps", names[i], q.steps);
        text_free(&t);
        text_free(&u);
        protocol_close(&q);
        bench_close(&b);
    }
}

#define RULES \
    "\"style\": {\"UA\": {\"judge\": \"style\", \"of\": \"forgotten\", \"mean\": \"images\"}, " \
    "\"IRA\": {\"judge\": \"style\", \"of\": \"others\", \"mean\": \"styles\"}, " \
    "\"CRA\": {\"judge\": \"object\", \"of\": \"all\", \"mean\": \"images\", \"styled\": 0}}"
#define IMAGES \
    "[{\"prompt\": \"a\", \"object\": \"Cats\", \"style\": \"Sketch\"}, " \
    "{\"prompt\": \"b\", \"object\": \"Sea\"}]"
/* One seed and these rules and images; one seed, a rule for UA, and the images. */
#define FILE_OF(rules, images) "{\"seeds\": [1], \"domains\": {" rules "}, \"images\": " images "}"
#define UA_OF(rule) FILE_OF("\"style\": {\"UA\": {" rule "}}", IMAGES)
#define GOOD_UA "\"judge\": \"style\", \"of\": \"all\", \"mean\": \"images\""

static void protocol_errors(void)
{
    static const struct { const char *text, *words; } cases[] = {
        { "", "p.json" },
        { "[]", "p.json|object" },
        { "{\"seeds\": [1], \"domains\": {" RULES "}, \"images\": " IMAGES ", \"imgaes\": 1}", "imgaes" },
        { "{\"domains\": {" RULES "}, \"images\": " IMAGES "}", "seeds" },
        { "{\"seeds\": [1, 1], \"domains\": {" RULES "}, \"images\": " IMAGES "}", "seeds|no two alike" },
        { "{\"seeds\": [-1], \"domains\": {" RULES "}, \"images\": " IMAGES "}", "seeds" },
        { "{\"seeds\": [1], \"images\": " IMAGES "}", "domains" },
        { FILE_OF("", IMAGES), "domains" },
        { FILE_OF("\"style\": {}", IMAGES), "domains.style.UA" },
        { UA_OF("\"judge\": \"stile\", \"of\": \"all\", \"mean\": \"images\""), "domains.style.UA|judge" },
        { UA_OF("\"judge\": \"style\", \"of\": \"none\", \"mean\": \"images\""), "style.UA|\"of\"|others" },
        { UA_OF("\"judge\": \"style\", \"of\": \"all\""), "domains.style.UA|\"mean\"|images" },
        { UA_OF(GOOD_UA ", \"plane\": 0"), "domains.style.UA|plane" },
        { UA_OF(GOOD_UA ", \"plain\": 0, \"styled\": 0"), "domains.style.UA|weights" },
        { "{\"seeds\": [1], \"domains\": {" RULES "}}", "images" },
        { FILE_OF(RULES, "[]"), "images" },
        { FILE_OF(RULES, "[{\"object\": \"Cats\"}]"), "image 0|prompt" },
        { FILE_OF(RULES, "[{\"prompt\": \"a\\tb\"}]"), "image 0|control" },
        { FILE_OF(RULES, "[{\"prompt\": \"\"}]"), "image 0|prompt" },
        { FILE_OF(RULES, "[{\"prompt\": \"a\"}, {\"prompt\": 7}]"), "image 1|prompt" },
        { FILE_OF(RULES, "[{\"prompt\": \"a\\u0000b\"}]"), "image 0|prompt" },
        { FILE_OF(RULES, "[{\"prompt\": \"a\xC3\"}]"), "line 1|UTF-8" },
        { FILE_OF(RULES, "[[]]"), "image 0|prompt" },
        { FILE_OF(RULES, "{\"0\": {\"prompt\": \"a\"}}"), "images" },
        { UA_OF(GOOD_UA ", \"plain\": -1"), "domains.style.UA|weights" },
        { UA_OF(GOOD_UA ", \"styled\": 1e7"), "domains.style.UA|weights" },
        { UA_OF(GOOD_UA ", \"plain\": NaN"), "infinite or no number" },
        { "{\"seeds\": [1.5], \"domains\": {" RULES "}, \"images\": " IMAGES "}", "seeds" },
        { "{\"seeds\": {\"a\": 1}, \"domains\": {" RULES "}, \"images\": " IMAGES "}", "seeds" },
        { "{\"seeds\": [1], \"steps\": 1000, \"domains\": {" RULES "}, \"images\": " IMAGES "}",
          "steps" },
        { "{\"seeds\": [1], \"disjoint\": 0, \"domains\": {" RULES "}, \"images\": " IMAGES "}",
          "disjoint" },
        { "<!DOCTYPE html>", "p.json|web page" },
        { FILE_OF(RULES, "[{\"prompt\": \"a\", \"object\": \"Cow\"}]"), "image 0|Cow|object classifier" },
        { FILE_OF(RULES, "[{\"prompt\": \"a\", \"style\": 7}]"), "image 0|style" },
        { "{\"seeds\": [1], \"guidance\": -2, \"domains\": {" RULES "}, \"images\": " IMAGES "}",
          "guidance" },
        { "{\"seeds\": [1], \"steps\": 0, \"domains\": {" RULES "}, \"images\": " IMAGES "}", "\"steps\"" },
        { "{\"seeds\": [1], \"name\": \"../x\", \"domains\": {" RULES "}, \"images\": " IMAGES "}", "name" },
    };
    bench b;
    saeuron_error e = { 0 };
    protocol q;
    bench_open(&b, NULL, 1);
    CHECK(!strcmp(b.p.name, "emojicanvas"), "the default is %s", b.p.name);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_write_file(judges_at("p.json"), cases[i].text, strlen(cases[i].text));
        const int code = protocol_open(&q, b.x, b.k, judges_at("p.json"), &e);
        judges_error(cases[i].text, code, SAEURON_EFORMAT, &e, cases[i].words);
    }
    static char large[TOKENIZER_PROMPT_MAX + 1024]; /* the longest prompt that can be, and one longer */
    for (int longer = 0; longer < 2; longer++) {
        size_t n = (size_t)sprintf(large, "{\"seeds\": [1], \"domains\": {" RULES "}, \"images\": "
                                          "[{\"prompt\": \"a\"}, {\"prompt\": \"");
        memset(large + n, 'x', TOKENIZER_PROMPT_MAX + 1);
        strcpy(large + n + TOKENIZER_PROMPT_MAX + longer, "\"}]}");
        test_write_file(judges_at("p.json"), large, strlen(large));
        const int code = protocol_open(&q, b.x, b.k, judges_at("p.json"), &e);
        if (longer)
            judges_error("a long prompt", code, SAEURON_EFORMAT, &e,
                         "p.json: image 1: \"prompt\"|too long|shorten");
        else
            CHECK(code == SAEURON_OK, "%s", e.text);
        if (!code)
            protocol_close(&q);
    }
    static const char good[] =
        "{\"seeds\": [7], \"steps\": 3, \"domains\": {" RULES "}, \"images\": " IMAGES "}";
    test_write_file(judges_at("p.json"), good, strlen(good));
    CHECK(protocol_open(&q, b.x, b.k, judges_at("p.json"), &e) == SAEURON_OK && q.measured[STYLE] &&
              !q.measured[OBJECT] && q.steps == 3 && q.entry[1].plain && q.entries == 2,
          "%s", e.text);
    protocol_close(&q);
    judges_error("no such name", protocol_open(&q, b.x, b.k, "papers", &e), SAEURON_EUSAGE, &e,
                 "papers|emojicanvas, paper");
    judges_error("no such file", protocol_open(&q, b.x, b.k, judges_at("none.json"), &e), SAEURON_ENOENT, &e,
                 "none.json");
    bench_close(&b);
}

/* Classifiers of another model: too few outputs, other names; concepts.json that contradicts itself; no
 * concepts.json at all. */
static void classes(void)
{
    static const struct { const char *from, *to, *words; } cases[] = {
        { "\"Seed_Images\", \"Sketch\"", "\"Seed_Images\", \"Sketches\"", "Sketch|none of its classes" },
        { "\"Seed_Images\", \"Sketch\"", "\"Sketch\", \"Seed_Images\"",
          "class 0 of domain style is Sketch|Seed_Images" },
        { "\"Seed_Images\", \"Sketch\"", "\"Sketch\"", "domain style has 3 classes, its classifier 4" },
        { "\"Seed_Images\", \"Sketch\"", "\"a/b\", \"Sketch\"", "classes|slashes" },
        { "\"Seed_Images\", \"Sketch\"", "\"Sketch\", \"Sketch\"", "no two alike" },
        { "\"classes\": [", "\"classes\": [[], ", "classes" },
        { "\"concepts\": [\"Cats\"", "\"concepts\": 7, \"more\": [\"Cats\"", "domain object has no list" },
        { "\"concepts\": [\"Sketch\"", "\"concepts\": 7, \"more\": [\"Sketch\"",
          "\"concepts\" of domain style must be a list" },
        { "\"classes\": [", "\"classes\": 7, \"more\": [", "domain style has no list" },
        { "{\"steps\"", "{\"protocol\": \"mine\", \"steps\"", "no protocol mine" },
        { "{\"steps\"", "{\"protocol\": 3, \"steps\"", "protocol" },
        { "{\"steps\"", "{\"templates\": {\"plain\": 3}, \"steps\"", "template|plain" },
        { "{\"steps\"", "{\"templates\": {\"styled\": \"a\\tb\"}, \"steps\"", "template|styled|control" },
    };
    static tiny t;
    bench b;
    saeuron_error e = { 0 };
    bench_open(&b, NULL, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases + 1; i++) {
        saeuron_context *x;
        protocol q;
        const bool gone = i == sizeof cases / sizeof *cases;
        tiny_make(&t);
        tiny_edit(&t, "concepts.json", "\"concepts\": [\"Sketch\"", "\"classes\": [\"Seed_Images\", "
                  "\"Sketch\", \"Van Gogh\", \"Watercolor\"], \"concepts\": [\"Sketch\"");
        if (gone)
            tiny_set(&t, "concepts.json", NULL, 0);
        else
            tiny_edit(&t, "concepts.json", cases[i].from, cases[i].to);
        const saeuron_host host = tiny_host(&t);
        CHECK(saeuron_open(&x, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
        const int code = protocol_open(&q, x, b.k, NULL, &e);
        if (!gone) {
            CHECK(code && test_holds(e.text, cases[i].words), "\"%s\" should hold %s", e.text,
                  cases[i].words);
        } else {
            CHECK(code == SAEURON_OK && q.entries == 12 && !q.label[STYLE].concept[SEED_IMAGES] &&
                      q.label[STYLE].concept[SKETCH],
                  "from the classifiers' names: %s", e.text);
            protocol_close(&q);
        }
        saeuron_close(x);
        CHECK(t.live == 0, "%ld blocks are not given back", t.live);
        tiny_free(&t);
    }
    bench_close(&b);
}

/* The third that a quick evaluation takes, where unstyled images have no class: they stand behind the last
 * style, here as style 4. */
static void quick_places(void)
{
    protocol p = { .label = { [STYLE] = { .count = 4 }, [OBJECT] = { .count = 4 } } };
    for (uint32_t object = 0; object < 4; object++)
        for (uint32_t style = 0; style < 5; style++) {
            const entry e = { .style = style < 4 ? style : NO_LABEL, .object = object, .plain = style == 4 };
            CHECK(place_is_quick(&p, &e) == ((style + object) % 3 == 0), "object %u, style %u", object,
                  style);
        }
    CHECK(place_is_quick(&p, &(entry){ .style = 0, .object = NO_LABEL }),
          "an image without an object stands with the first");
}

/* Own images are likened to those of their objects that are not own; two without an object are alike. */
static void like_places(void)
{
    entry places[] = { { .style = 1, .object = 2 }, { .style = 1, .object = NO_LABEL },
                       { .style = 0, .object = 2 }, { .style = NO_LABEL, .object = 2, .plain = true },
                       { .style = 0, .object = NO_LABEL }, { .style = 0, .object = 0 },
                       { .style = 2, .object = 3 } };
    const bool wanted[] = { false, false, true, true, true, false, false };
    const protocol  p = { .entry = places, .entries = sizeof places / sizeof *places };
    const forgotten f = forgotten_one(STYLE, 1);
    bool like[sizeof places / sizeof *places];
    places_like(like, &p, STYLE, &f);
    for (size_t i = 0; i < p.entries; i++)
        CHECK(like[i] == wanted[i], "place %zu", i);
}

const test_case protocol_tests[] = {
    { "protocol_files", protocol_files }, { "protocol_errors", protocol_errors }, { "classes", classes },
    { "quick_places", quick_places }, { "like_places", like_places }, { NULL, NULL },
};
