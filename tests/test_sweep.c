/* test_sweep.c: sweeps, however they are stopped, end in the same bytes; the table and forget.json that they write.
 *
 * Not here: the options (test_cli.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "judges.h"
#include "evaluation/sweep.h"

#include <stdio.h>
#include <string.h>

typedef struct chosen { size_t count; choice c[4]; bool kept[4]; } chosen;
static chosen choices;

static void note_choice(void *user, const char *concept, const choice *c, const double numbers[4], bool kept)
{
    (void)user, (void)concept, (void)numbers;
    if (choices.count < 4) {
        choices.c[choices.count] = *c;
        choices.kept[choices.count++] = kept;
    }
}

typedef struct turn { long stop_at; uint64_t seeds[3]; size_t test; bool install; size_t points; } turn;

static int sweep_into(const char *dir, turn t, saeuron_error *e)
{
    static const uint64_t test_seeds[] = { 188, 0 };
    static sweep_options o;
    bench b;
    char  installed[1024] = "";
    bench_open(&b, "emojicanvas", 1);
    b.concept[STYLE][SKETCH] = b.concept[STYLE][WATERCOLOR] = true;
    b.stop.at = t.stop_at;
    b.p.seeds = 3;
    memcpy(b.p.seed, t.seeds[0] || t.seeds[1] ? t.seeds : (const uint64_t[]){ 1188, 1288, 1588 }, 3 * sizeof *b.p.seed);
    o = (sweep_options){ .e = { .p = &b.p, .k = { b.k[STYLE], b.k[OBJECT] }, .dir = judges_at(dir), .concept = { b.concept[STYLE], b.concept[OBJECT] } }, .domain = STYLE,
                         .test_seed = test_seeds, .test_seeds = t.test ? t.test : 1, .retained = 2, .finalists = 2, .install = t.install, .chose = note_choice,
                         .grid = { { 8, 0, -1 }, { 8, 0, -4 }, { 0, 90, -1 }, { 24, 0, -2 } }, .points = t.points ? t.points : 4 };
    choices.count = 0;
    const int code = sweep_run(b.x, &o, installed, e);
    CHECK(!t.install || code || test_holds(installed, "/sae/" TINY_STYLES "/forget.json"), "written: %s", installed);
    bench_close(&b);
    return code;
}

static void sweeps(void)
{
    saeuron_error e = { 0 };
    long stops = 0;
    int  code = SAEURON_ECANCEL;
    CHECK(sweep_into("sweep", (turn){ 0 }, &e) == SAEURON_OK && choices.count == 2, "%s", e.text);
    /* 1 head, 2 concepts x (4 points + 2 finalists) */
    CHECK(judges_shell("test $(wc -l <'%s/results.tsv') = 13 && test $(grep -c '^2' '%s/results.tsv') = 4", judges_at("sweep"), judges_at("sweep")) == 0, "the table has other rows");
    /* stage one: 3 of the concept at one seed, 2 retained; stage two: 9 places at two seeds */
    CHECK(judges_shell("test $(grep -c '^1.*\t5\t[0-9a-f]*$' '%s/results.tsv') = 8 && test $(grep -c '^2.*\t18\t[0-9a-f]*$' '%s/results.tsv') = 4", judges_at("sweep"), judges_at("sweep")) == 0, "other numbers of images");
    for (; code == SAEURON_ECANCEL && stops < 200; stops++)
        code = sweep_into("swept", (turn){ .stop_at = 3 + stops }, &e);
    CHECK(code == SAEURON_OK && stops > 8, "%s after %ld stops", e.text, stops);
    CHECK(judges_same("sweep", "swept"), "a sweep that was stopped ends in other bytes");
    CHECK(sweep_into("sweep", (turn){ 0 }, &e) == SAEURON_OK && judges_same("sweep", "swept"), "a second sweep changes the first's files: %s", e.text);
}

static void sweep_refuses(void)
{
    saeuron_error e = { 0 };
    judges_error("a test seed", sweep_into("no", (turn){ .seeds = { 1188, 188, 5 } }, &e), SAEURON_EUSAGE, &e, "188|test seed|--seeds");
    judges_error("the statistics' seed", sweep_into("no", (turn){ .seeds = { 1188, 0, 5 } }, &e), SAEURON_EUSAGE, &e, "seed 0|statistics");
    judges_error("the statistics' seed is a test seed", sweep_into("no", (turn){ .test = 2 }, &e), SAEURON_EUSAGE, &e, "seed 0|test seed|--allow-overlap");
    CHECK(judges_shell("test ! -e '%s' %s", judges_at("no"), "") == 0, "a sweep that was refused has made a folder");
    CHECK(sweep_into("sweep", (turn){ 0 }, &e) == SAEURON_OK, "%s", e.text);
    judges_shell("cp -r '%s' '%s'", judges_at("sweep"), judges_at("torn"));
    judges_shell("sed -i '5s/^/x/' '%s/results.tsv' %s", judges_at("torn"), "");
    judges_error("a damaged row", sweep_into("torn", (turn){ 0 }, &e), SAEURON_EFORMAT, &e, "results.tsv: line 5|damaged");
    judges_shell("cp '%s/results.tsv' '%s'", judges_at("sweep"), judges_at("torn"));
    judges_shell("truncate -s -4 '%s/results.tsv' %s", judges_at("torn"), "");
    judges_error("a cut table", sweep_into("torn", (turn){ 0 }, &e), SAEURON_EFORMAT, &e, "results.tsv: line 13|damaged");
    judges_shell("cp '%s/results.tsv' '%s'", judges_at("sweep"), judges_at("torn"));
    judges_shell("rm -r '%s/images' %s", judges_at("torn"), "");
    judges_error("another seed", sweep_into("torn", (turn){ .seeds = { 1188, 1288, 1589 } }, &e), SAEURON_EFORMAT, &e, "results.tsv: line 2|another");
}

/* forget.json beside the SAE keeps what it says of other concepts, and is what saeuron_forget reads. */
static void sweep_installs(void)
{
    saeuron_error e = { 0 };
    char path[1300], text[1024];
    io_file f;
    json v = { NULL, NULL }, one, top;
    double x = 0;
    judges_prepare();
    snprintf(path, sizeof path, "%s/sae/" TINY_STYLES "/forget.json", judges_at("model"));
    static const char before[] = "{\"Van Gogh\": {\"percentile\": 70.5, \"strength\": -1.5}, \"Sketch\": {\"top\": 99}}\n";
    judges_shell("cp '%s' '%s'", path, judges_at("forget.json"));
    test_write_file(path, before, sizeof before - 1);
    CHECK(sweep_into("sweep", (turn){ .install = true }, &e) == SAEURON_OK && choices.count == 2, "%s", e.text);
    CHECK(io_open(&f, NULL, path, &e) == SAEURON_OK && json_open(&v, (const char *)f.data, f.size, path, &e) == SAEURON_OK, "%s", e.text);
    snprintf(text, sizeof text, "%.*s", (int)f.size, (const char *)f.data);
    CHECK(json_length(v) == 3 && strstr(text, "{\n \"Van Gogh\": {\"percentile\": 70.5, \"strength\": -1.5},\n \"Sketch\": {\""), "%s", text);
    if (choices.c[0].top)
        CHECK(json_get(v, "Sketch", &one) && json_get(one, "top", &top) && json_number(top, &x) && (size_t)x == choices.c[0].top, "%s", text);
    io_close(&f);
    judges_shell("cp '%s' '%s'", judges_at("forget.json"), path);
}

const test_case sweep_tests[] = {
    { "sweeps", sweeps }, { "sweep_refuses", sweep_refuses }, { "sweep_installs", sweep_installs }, { NULL, NULL },
};
