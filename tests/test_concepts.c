/* test_concepts.c: concepts and their prompts, from a file and from concepts.json; mistakes in both named.
 *
 * Not here: what is measured on them (test_statistics.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "recorded.h"

#include <stdio.h>
#include <string.h>

static void concepts_of_a_file(void)
{
    static const struct { const char *text; int code; const char *words; } cases[] = {
        { "[1]", SAEURON_EFORMAT, "mine.json|no object" }, { "{", SAEURON_EFORMAT, "mine.json" },
        { "{}", SAEURON_EFORMAT, "mine.json|no concept" },
        { "{\"A\": []}", SAEURON_EFORMAT, "mine.json|A|no list" },
        { "{\"A\": \"x\"}", SAEURON_EFORMAT, "mine.json|A" },
        { "{\"A\": [1]}", SAEURON_EFORMAT, "mine.json|prompt 0 of \"A\"" },
        { "{\"A\": [\"x\"], \"B\": [\"x\", \"y\", null]}", SAEURON_EFORMAT, "mine.json|prompt 2 of \"B\"" },
        { "{\"A\": [\"x\", \"\xFF\"]}", SAEURON_EFORMAT, "mine.json|line 1, byte 14|UTF-8" },
        { "{\"__x\": [\"x\"]}", SAEURON_EFORMAT, "mine.json|__x" },
        { "{\"A\": {\"x\": \"y\"}}", SAEURON_EFORMAT, "mine.json|A|no list" },
        { "{\"A\": null}", SAEURON_EFORMAT, "mine.json|A|no list" },
        { "{\"A\": [\"x\"]} {}", SAEURON_EFORMAT, "mine.json|follows" },
        { "{\"A\": [\"x\"], \"A\\u0000\": [\"x\"]}", SAEURON_EFORMAT, "mine.json|concept 1|zero" },
        { "version https://git-lfs.github.com/spec/v1\n", SAEURON_EFORMAT, "mine.json|git lfs pull" },
        { "{\"A,B\": [\"x\"]}", SAEURON_EFORMAT, "mine.json|A,B|comma" },
        { "{\"\": [\"x\"]}", SAEURON_EFORMAT, "mine.json|name" },
        { "{\"A\": [\"x\\u0000\"]}", SAEURON_EFORMAT, "mine.json|prompt" },
        { "{\"01234567890123456789012345678901234567890123456789"
          "01234567890123456789012345678901234567890123456789\": [\"x\"]}",
          SAEURON_EFORMAT, "mine.json|95 bytes" },
        { "{\"A\": [\"x\"], \"A\": [\"y\"]}", SAEURON_EFORMAT, "mine.json" },
    };
    concept_set c;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    tiny_text(&files, "mine.json", concept_file);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e) == SAEURON_OK, "%s", e.text);
    CHECK(c.count == 3 && c.prompts == 5 && c.list[2].first == 3 && c.list[2].count == 2 &&
          !strcmp(c.list[2].name, "The \"Sea\"") && !strcmp(c.list[2].prompts[1], "in Van Gogh style") &&
          !strcmp(c.list[0].prompts[1], "dog"), "%zu concepts, %zu prompts", c.count, c.prompts);
    concepts_close(&c, &x->host);
    CHECK(concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 1, &e) == SAEURON_OK && c.prompts == 3 &&
          c.list[2].first == 2, "one line each: %s", e.text);
    concepts_close(&c, &x->host);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_text(&files, "mine.json", cases[i].text);
        check_error(cases[i].text, concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e), cases[i].code,
                    &e, cases[i].words);
    }
    check_error("no file", concepts_open(&c, x, TINY_OBJECTS, "tiny/none.json", 0, &e), SAEURON_ENOENT, &e,
                "none.json");
    check_error("no hook", concepts_open(&c, x, "nowhere", "tiny/mine.json", 0, &e), SAEURON_EUSAGE, &e,
                "nowhere");
    check_error("no calibration", concepts_open(&c, x, TINY_OBJECTS, NULL, 0, &e), SAEURON_EFORMAT, &e,
                "concepts.json|calibration|concept_file");
    check_error("no domain", concepts_open(&c, x, "mid_block.attentions.0", NULL, 0, &e), SAEURON_EFORMAT, &e,
                "concepts.json|domains|concept_file");
    done(x);
}

/* A concept twice among more than JSON itself compares; a prompt as long as may be, and one byte longer. */
static void many_and_long(void)
{
    enum { LONGEST = 16383 };
    static char text[64 * (JSON_KEYS + 8) + 2 * LONGEST];
    concept_set c;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    for (int twice = 0; twice < 2; twice++) {
        size_t n = 0;
        for (int i = 0; i <= JSON_KEYS; i++)
            n += (size_t)sprintf(text + n, "%s\"c%d\": [\"x\"]", i ? ", " : "{",
                                 twice && i == JSON_KEYS ? 7 : i);
        strcpy(text + n, "}");
        tiny_text(&files, "mine.json", text);
        const int code = concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e);
        if (twice)
            check_error("a concept twice", code, SAEURON_EFORMAT, &e, "mine.json|c7|twice|rename");
        else
            CHECK(code == SAEURON_OK && c.count == JSON_KEYS + 1, "%s", e.text);
        concepts_close(&c, &x->host);
    }
    for (int longer = 0; longer < 2; longer++) {
        const int n = sprintf(text, "{\"A\": [\"x\", \"");
        memset(text + n, 'y', LONGEST + 1);
        strcpy(text + n + LONGEST + longer, "\"]}");
        tiny_text(&files, "mine.json", text);
        const int code = concepts_open(&c, x, TINY_OBJECTS, "tiny/mine.json", 0, &e);
        if (longer)
            check_error("a long prompt", code, SAEURON_EFORMAT, &e,
                        "mine.json|prompt 1 of \"A\"|16384|shorten");
        else
            CHECK(code == SAEURON_OK && c.prompts == 2, "%s", e.text);
        concepts_close(&c, &x->host);
    }
    done(x);
}

/* The default: objects take their own lines as they stand, styles the first line of each object, its full
 * stop dropped, in the style. */
static void concepts_of_a_model(void)
{
    concept_set c;
    saeuron_error e = { 0 };
    tiny_make(&files);
    tiny_edit(&files, "concepts.json", "}}}",
              "}}, \"calibration\": {\"Cats\": [\" A cat. \", \"Two cats\"], "
              "\"Dogs\": [\"A dog..\", \"x\", \"y\"], \"Sea\": [\"The\\tsea_side\"]}}");
    tiny_edit(&files, "concepts.json", "Van Gogh", "Van_Gogh");
    saeuron_context *x = opened(NULL, 1);
    CHECK(concepts_open(&c, x, "unet." TINY_OBJECTS, NULL, 2, &e) == SAEURON_OK, "%s", e.text);
    CHECK(c.count == 3 && c.prompts == 5 && !strcmp(c.list[0].prompts[0], "A cat.") &&
          !strcmp(c.list[1].prompts[0], "A dog..") && c.list[1].count == 2 &&
          !strcmp(c.list[2].prompts[0], "The\tsea_side") && c.list[2].first == 4,
          "objects: %zu prompts, \"%s\"", c.prompts, c.list[0].prompts[0]);
    concepts_close(&c, &x->host);
    CHECK(concepts_open(&c, x, TINY_STYLES, NULL, 0, &e) == SAEURON_OK, "%s", e.text);
    CHECK(c.count == 3 && c.prompts == 9 && !strcmp(c.list[1].name, "Van_Gogh") &&
          !strcmp(c.list[1].prompts[0], "A cat in Van Gogh style.") &&
          !strcmp(c.list[1].prompts[1], "A dog. in Van Gogh style.") &&
          !strcmp(c.list[2].prompts[2], "The\tsea_side in Watercolor style."), "styles: \"%s\"",
          c.list[1].prompts[0]);
    concepts_close(&c, &x->host);
    saeuron_close(x);
    static const struct { const char *hook, *from, *to, *words; } cases[] = {
        { TINY_OBJECTS, "\"Sea\": [", "\"Lake\": [", "calibration|Sea|concept_file" },
        { TINY_OBJECTS, "\"Two cats\"", "[\"Two\"]", "prompt 1 of \"Cats\"" },
        { TINY_STYLES, "\"A dog..\"", "[\"A dog\"]", "prompt 0 of \"Dogs\"" },
        { TINY_OBJECTS, "\"calibration\": {", "\"calibration\": 7, \"more\": {", "calibration|no object" },
        { TINY_OBJECTS, "\"concepts\": [\"Cats\"", "\"concepts\": 7, \"more\": [\"Cats\"", TINY_OBJECTS },
        { TINY_OBJECTS, "\"calibration\": {\"Cats\"", "\"calibration\": {\"C\\u0000\"", "name 0|zero" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_edit(&files, "concepts.json", cases[i].from, cases[i].to);
        x = opened(NULL, 1);
        check_error(cases[i].words, concepts_open(&c, x, cases[i].hook, NULL, 0, &e), SAEURON_EFORMAT, &e,
                    "concepts.json");
        check_error(cases[i].words, e.code, SAEURON_EFORMAT, &e, cases[i].words);
        tiny_text(&files, "mine.json", concept_file); /* what the message says helps */
        CHECK(concepts_open(&c, x, cases[i].hook, "tiny/mine.json", 0, &e) == SAEURON_OK, "%s", e.text);
        concepts_close(&c, &x->host);
        saeuron_close(x);
        tiny_edit(&files, "concepts.json", cases[i].to, cases[i].from);
    }
    CHECK(files.live == 0 && files.mapped == 0, "%ld blocks and %ld maps are left", files.live, files.mapped);
    tiny_free(&files);
}

const test_case concepts_tests[] = {
    { "concepts_of_a_file", concepts_of_a_file }, { "many_and_long", many_and_long },
    { "concepts_of_a_model", concepts_of_a_model },
    { NULL, NULL },
};
