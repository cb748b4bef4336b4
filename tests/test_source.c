/* test_source.c: which map of the activations comes when, from files and sampled; files that do not belong
 * together, and damaged ones, refused by name.
 *
 * Not here: what a run makes of the maps (test_run.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "recorded.h"
#include "training/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *at(const char *name) { return suite_path("training", name); }

static int shell(const char *format, const char *a, const char *b)
{
    char line[4096];
    snprintf(line, sizeof line, format, a, b);
    return system(line);
}

/* Files follow one another in the order given, whatever their type; places may be asked for in any order. A
 * search that is off by one at a file's end, an order per file, or one that begins with the first element
 * would show. */
static void order_of_files(void)
{
    static float x[2 * 3];
    uint32_t want[12];
    map_source s;
    saeuron_error e = { 0 };
    make_file(at("o1"), 5, 0, 2, 3, NULL, NULL, DT_F32);
    make_file(at("o2"), 1, 5, 2, 3, "seed", "9", DT_F16);
    make_file(at("o3"), 6, 6, 2, 3, NULL, NULL, DT_F32);
    const char *const paths[] = { at("o1"), at("o2"), at("o3") };
    CHECK(source_open(&s, NULL, paths, 3, &e) == SAEURON_OK && source_shuffle(&s, 42, &e) == SAEURON_OK, "%s",
          e.text);
    CHECK(s.rows == 12 && s.N == 2 && s.d == 3 && !strcmp(s.hook, TINY_STYLES) &&
          !strcmp(s.model, "0123456789abcdef") && source_tail(&s) == 0, "%zu rows", s.rows);
    shuffled(want, 12, 42, 0, "shuffle");
    size_t moved = 0;
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < 12; i++) {
            const size_t place = pass ? 11 - i : i;
            CHECK(source_next(&s, x, place, &e) == SAEURON_OK, "%s", e.text);
            CHECK((uint32_t)x[0] == want[place] && x[5] - x[0] == 0x1p-6f, "place %zu holds row %g, not %u",
                  place, (double)x[0], want[place]);
            CHECK(source_row(&s, x, place, &e) == SAEURON_OK && (size_t)x[0] == place, "row %zu is row %g",
                  place, (double)x[0]);
            moved += want[place] != place;
        }
    CHECK(moved > 12, "nothing is shuffled");
    const uint64_t digest = s.digest;
    source_close(&s);
    const char *const other[] = { at("o3"), at("o2"), at("o1") };
    CHECK(source_open(&s, NULL, other, 3, &e) == SAEURON_OK && s.digest != digest,
          "other rows have the same digest");
    source_close(&s);
    CHECK(source_open(&s, NULL, paths, 0, &e) == SAEURON_EUSAGE, "no file");
    source_close(&s);
}

/* Window w holds prompts [w W, (w+1) W) of their shuffled order, the rows of each as collect writes them,
 * shuffled together. A buffer for all is the files' order. */
static void order_of_sampling(void)
{
    static const size_t buffers[] = { STEPS, 2 * STEPS, 3 * STEPS - 1, 5 * STEPS, 1000 };
    static float rows[ROWS][TOKENS * WIDTH], x[TOKENS * WIDTH];
    map_source f, s;
    saeuron_context *c = NULL;
    saeuron_error e = { 0 };
    prepare();
    const char *whole = at("whole.safetensors");
    CHECK(source_open(&f, NULL, &whole, 1, &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; i < ROWS; i++)
        CHECK(source_row(&f, rows[i], i, &e) == SAEURON_OK, "%s", e.text);
    tiny_make(&files);
    saeuron_host host = tiny_host(&files);
    host.threads = 1; /* a busy machine waits long for two */
    CHECK(saeuron_open(&c, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
    sampler_options o = { .sampling = { .prompts = spoken, .count = PROMPTS, .seed = 3 },
                          .hook = "unet." TINY_STYLES };
    for (size_t b = 0; b < sizeof buffers / sizeof *buffers; b++) {
        const size_t W = buffers[b] / STEPS < PROMPTS ? buffers[b] / STEPS : PROMPTS;
        const size_t last = (PROMPTS - 1) / W * W;
        uint32_t order[PROMPTS], place[ROWS], want[ROWS];
        o.sampling.batch = b % 2 ? 2 : 0; /* images at a time, the last fewer: no matter */
        CHECK(source_open_online(&s, c, &o, buffers[b], &e) == SAEURON_OK &&
              source_shuffle(&s, 7, &e) == SAEURON_OK, "%s", e.text);
        CHECK(s.rows == ROWS && s.N == TOKENS && s.d == WIDTH && !strcmp(s.hook, TINY_STYLES) &&
              !strcmp(s.model, f.model) && source_tail(&s) == last * STEPS, "buffer %zu", buffers[b]);
        shuffled(order, PROMPTS, 7, 0, "prompts");
        for (size_t first = 0; first < PROMPTS; first += W) {
            const size_t count = PROMPTS - first < W ? PROMPTS - first : W;
            for (size_t i = 0; i < count; i++) /* ascending within the window */
                for (size_t j = i + 1; j < count; j++)
                    if (order[first + j] < order[first + i]) {
                        const uint32_t keep = order[first + i];
                        order[first + i] = order[first + j];
                        order[first + j] = keep;
                    }
            shuffled(place, count * STEPS, 7, first / W, "shuffle");
            for (size_t i = 0; i < count * STEPS; i++)
                want[first * STEPS + i] =
                    (uint32_t)(order[first + place[i] / STEPS] * STEPS + place[i] % STEPS);
        }
        size_t wrong = 0;
        for (size_t i = 0; i < ROWS; i++) {
            CHECK(source_next(&s, x, i, &e) == SAEURON_OK, "%s", e.text);
            wrong += memcmp(x, rows[want[i]], sizeof x) != 0;
        }
        for (size_t i = ROWS; i > 0; i -= STEPS + 1) /* a window made out of turn */
            wrong += source_next(&s, x, i - 1, &e) || memcmp(x, rows[want[i - 1]], sizeof x);
        CHECK(wrong == 0, "buffer %zu: %zu maps are not those of their place", buffers[b], wrong);
        source_close(&s);
    }
    source_close(&f);
    /* every third step's output less its input */
    const char *hook = TINY_STYLES, *path = at("every.safetensors");
    const collect_options wanted = { .sampling = o.sampling, .part = { 0, 1 }, .hooks = &hook, .paths = &path,
                                     .hook_count = 1, .diff = true, .every = 3, .type = DT_F32 };
    o.diff = true;
    o.every = 3;
    CHECK(collect_run(c, &wanted, &e) == SAEURON_OK && source_open(&f, NULL, &path, 1, &e) == SAEURON_OK &&
          source_open_online(&s, c, &o, 100, &e) == SAEURON_OK, "%s", e.text);
    CHECK(source_shuffle(&f, 5, &e) == SAEURON_OK && source_shuffle(&s, 5, &e) == SAEURON_OK &&
          f.rows == 2 * PROMPTS && s.rows == f.rows, "%zu maps", s.rows);
    for (size_t i = 0; i < s.rows; i++)
        CHECK(source_next(&f, rows[0], i, &e) == SAEURON_OK && source_next(&s, x, i, &e) == SAEURON_OK &&
              !memcmp(x, rows[0], sizeof x), "of differences, every 3, map %zu differs", i);
    source_close(&s);
    o.every = 1;
    const int code = source_open_online(&s, c, &o, STEPS - 1, &e);
    check_error("a buffer of less than a prompt", code, SAEURON_EUSAGE, &e, "buffer must|4");
    source_close(&s);
    saeuron_close(c);
    CHECK(files.live == 0 && files.torn == 0, "%ld blocks are left, %ld torn", files.live, files.torn);
    tiny_free(&files);
    source_close(&f);
}

/* Files that are not of one kind: field and both are named. Files that hold no activations, or bad ones. */
static void mixed_files(void)
{
    static const struct { const char *key, *value; size_t tokens, width; const char *words; } cases[] = {
        { "hook", TINY_OBJECTS, 2, 3, "hook|" TINY_OBJECTS "|" TINY_STYLES },
        { "model", "fedcba9876543210", 2, 3, "model|fedcba9876543210" }, { "diff", "1", 2, 3, "diff" },
        { "steps", "4", 2, 3, "steps \"4\"|\"2\"" }, { "size", "32x32", 2, 3, "size" },
        { "cfg", "9", 2, 3, "cfg" },
        { "negative_prompt", "dog", 2, 3, "negative_prompt" }, { NULL, NULL, 3, 3, "3 x 3|2 x 3" },
        { NULL, NULL, 2, 4, "2 x 4|2 x 3" },
    };
    map_source s;
    saeuron_error e = { 0 };
    float x[6];
    make_file(at("m1"), 3, 0, 2, 3, NULL, NULL, DT_F32);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_file(at("m2"), 3, 0, cases[i].tokens, cases[i].width, cases[i].key, cases[i].value, DT_F32);
        const char *const paths[] = { at("m1"), at("m2") };
        const int code = source_open(&s, NULL, paths, 2, &e);
        check_error("mixed", code, SAEURON_EFORMAT, &e, "/training-m1|/training-m2");
        CHECK(test_holds(e.text, cases[i].words), "%s", e.text);
        source_close(&s);
    }
    static const struct { const char *command, *words; int code; } bad[] = {
        { "truncate -s -1 '%s'", "/training-m2", SAEURON_EFORMAT },
        { "truncate -s 0 '%s'", "/training-m2", SAEURON_EFORMAT },
        { "rm '%s'", "/training-m2", SAEURON_ENOENT },
        { "sed -i 's/\"activations\"/\"activation5\"/' '%s'", "/training-m2|collect", SAEURON_EFORMAT },
        { "sed -i 's/saeuron-activations-1/saeuron-activations-9/' '%s'", "/training-m2|collect",
          SAEURON_EFORMAT },
        { "sed -i 's/\\[3,2,3\\]/\\[3,2,1,3\\]/;' '%s'", "/training-m2", SAEURON_EFORMAT },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make_file(at("m2"), 3, 0, 2, 3, NULL, NULL, DT_F32);
        shell(bad[i].command, at("m2"), "");
        const char *const paths[] = { at("m1"), at("m2") };
        const int code = source_open(&s, NULL, paths, 2, &e);
        check_error(bad[i].command, code, bad[i].code, &e, bad[i].words);
        source_close(&s);
    }
    static char huge[TOKENIZER_PROMPT_MAX + 2]; /* the longest that a run may have, another, a longer one */
    for (size_t i = 0; i < 3; i++) {
        memset(huge, 'n', TOKENIZER_PROMPT_MAX + (i == 2));
        make_file(at("m0"), 3, 0, 2, 3, "negative_prompt", huge, DT_F32);
        huge[TOKENIZER_PROMPT_MAX - 1] = i == 1 ? 'x' : 'n';
        make_file(at("m2"), 3, 0, 2, 3, "negative_prompt", huge, DT_F32);
        const char *const paths[] = { at("m0"), at("m2") };
        const int code = source_open(&s, NULL, paths, 2, &e);
        if (i)
            check_error("a long text", code, SAEURON_EFORMAT, &e,
                        i == 1 ? "/training-m2|/training-m0|mixed"
                               : "m0: metadata \"negative_prompt\"|1048576");
        else
            CHECK(code == SAEURON_OK, "%s", e.text);
        source_close(&s);
    }
    make_file(at("m0"), 0, 0, 2, 3, NULL, NULL, DT_F32);
    const char *empty = at("m0"), *nan = at("m2");
    static const char long_hook[] = TINY_STYLES TINY_STYLES TINY_STYLES TINY_STYLES;
    for (int i = 0; i < 2; i++) {
        make_file(at("m2"), 3, 0, 2, 3, "hook", i ? long_hook : "", DT_F32);
        check_error("no hook", source_open(&s, NULL, &nan, 1, &e), SAEURON_EFORMAT, &e,
                    "/training-m2: metadata|\"hook\"");
        source_close(&s);
    }
    int code = source_open(&s, NULL, &empty, 1, &e);
    check_error("empty", code, SAEURON_EFORMAT, &e, "/training-m0|empty");
    source_close(&s);
    make_file(at("m2"), 3, 0, 2, 3, NULL, NULL, DT_F32);
    CHECK(shell("printf '\\377\\377\\377\\177' | dd of='%s%s' bs=1 seek=$(($(stat -c %%s \"$F\") - 4)) "
                "conv=notrunc 2>/dev/null", at("m2"), (setenv("F", at("m2"), 1), "")) == 0, "dd");
    CHECK(source_open(&s, NULL, &nan, 1, &e) == SAEURON_OK, "%s", e.text);
    CHECK(source_row(&s, x, 1, &e) == SAEURON_OK, "%s", e.text);
    code = source_row(&s, x, 2, &e);
    check_error("NaN", code, SAEURON_ENAN, &e, "/training-m2|row 2|token 1|channel 2");
    source_close(&s);
}

const test_case source_tests[] = {
    { "order_of_files", order_of_files }, { "order_of_sampling", order_of_sampling },
    { "mixed_files", mixed_files }, { NULL, NULL },
};
