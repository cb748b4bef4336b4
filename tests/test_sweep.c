/* test_sweep.c: sweeps, however they are stopped, end in the same bytes; the table and forget.json that they
 * write.
 *
 * Not here: the options (test_cli.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "judges.h"
#include "evaluation/sweep.h"

#include <stdio.h>
#include <string.h>

/* ---- the rule, on made-up results ---- */

#define NONE (-1.0) /* nothing was counted */
static result made_result(double ua, double ira, double cra, double without)
{
    const double at[4] = { ua, ira, cra, without };
    result r = { .done = true };
    for (int m = 0; m < 4; m++) {
        r.known[m] = at[m] >= 0;
        r.at[m] = r.known[m] ? at[m] : 0;
    }
    return r;
}

/* The table: UA, IRA, CRA, CRA without forgetting of each point, and the point that must win. */
static void choosing(void)
{
    static const struct { const char *what; size_t n, wins; double at[4][4]; } cases[] = {
        { "the largest UA", 3, 1, { { 80, 90, 95, 97 }, { 90, 90, 95, 97 }, { 85, 90, 95, 97 } } },
        { "(UA + IRA) / 2, not UA", 2, 1, { { 100, 60, 95, 97 }, { 90, 90, 95, 97 } } },
        { "(UA + IRA) / 2, not IRA", 2, 1, { { 60, 100, 95, 97 }, { 90, 90, 95, 97 } } },
        { "CRA is no part of the score", 2, 0, { { 91, 90, 93, 97 }, { 90, 90, 97, 97 } } },
        { "5 points below are kept", 2, 0, { { 99, 99, 92, 97 }, { 90, 90, 97, 97 } } },
        { "more than 5 are not", 2, 1, { { 99, 99, 91.9999, 97 }, { 90, 90, 97, 97 } } },
        { "each by its own CRA without forgetting", 2, 1, { { 99, 99, 85, 97 }, { 90, 90, 85, 88 } } },
        { "one that keeps CRA before any that does not", 3, 2,
          { { 100, 100, 50, 97 }, { 100, 100, 60, 97 }, { 1, 1, 96, 97 } } },
        { "none keeps it: the largest CRA", 3, 1,
          { { 100, 100, 50, 97 }, { 10, 10, 70, 97 }, { 90, 90, 60, 97 } } },
        { "none keeps it, CRA alike: the score", 2, 1, { { 70, 70, 60, 97 }, { 80, 80, 60, 97 } } },
        { "a tie: the first", 3, 0, { { 90, 80, 95, 97 }, { 80, 90, 96, 97 }, { 85, 85, 97, 97 } } },
        { "a tie where none keeps CRA: the first", 2, 0, { { 90, 80, 60, 97 }, { 80, 90, 60, 97 } } },
        { "no CRA is no loss", 2, 0, { { 91, 91, NONE, NONE }, { 90, 90, 97, 97 } } },
        { "UA alone", 2, 1, { { 80, NONE, NONE, NONE }, { 90, NONE, NONE, NONE } } },
        { "IRA alone", 2, 1, { { NONE, 80, NONE, NONE }, { NONE, 90, NONE, NONE } } },
    };
    bool all[4] = { true, true, true, true }, none[4] = { false };
    result r[4];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t j = 0; j < cases[i].n; j++) {
            const double *x = cases[i].at[j];
            r[j] = made_result(x[0], x[1], x[2], x[3]);
        }
        const size_t won = sweep_choose(r, all, cases[i].n);
        CHECK(won == cases[i].wins, "%s: point %zu wins, not %zu", cases[i].what, won, cases[i].wins);
        if (cases[i].n > 2) { /* who may not win does not, though better */
            bool others[4] = { true, true, true, true };
            others[won] = false;
            CHECK(sweep_choose(r, others, cases[i].n) != won, "%s: one wins that may not", cases[i].what);
        }
        CHECK(sweep_choose(r, none, cases[i].n) == cases[i].n, "%s: none may win, but one does",
              cases[i].what);
    }
    const result kept = made_result(0, 0, 92, 97), lost = made_result(0, 0, 91.99, 97);
    const result unknown = made_result(0, 0, 50, NONE);
    CHECK(sweep_keeps(&kept) && !sweep_keeps(&lost) && sweep_keeps(&unknown),
          "which points keep CRA has changed");
}

/* The places of stage one are a matter of this order, so it stays: of EmojiCanvas' 220 places the first, and
 * of twelve all. (Counted by docs/contract.md section 6 in Python: stream digest(0, "sweep"), seed 0.) */
static void shuffled_places(void)
{
    static const uint32_t twelve[12] = { 2, 4, 3, 0, 8, 1, 10, 5, 6, 9, 7, 11 },
                          first[12] = { 170, 4, 158, 122, 207, 151, 51, 5, 162, 55, 116, 46 };
    uint32_t o[220];
    sweep_order(o, 12);
    for (size_t i = 0; i < 12; i++)
        CHECK(o[i] == twelve[i], "twelve[%zu] = %u", i, o[i]);
    sweep_order(o, 220);
    for (size_t i = 0; i < 12; i++)
        CHECK(o[i] == first[i], "first[%zu] = %u", i, o[i]);
}

/* ---- whole sweeps ---- */

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

typedef struct turn {
    long     stop_at;
    uint64_t seeds[3];
    size_t   test, points, retained;
    bool     install;
} turn;

static int sweep_into(const char *dir, turn t, saeuron_error *e)
{
    static const uint64_t test_seeds[] = { 188, 0 }, seeds[] = { 1188, 1288, 1588 };
    static sweep_options o;
    bench b;
    char  installed[1024] = "";
    bench_open(&b, "emojicanvas", 1);
    b.concept[STYLE][SKETCH] = b.concept[STYLE][WATERCOLOR] = true;
    b.stop.at = t.stop_at;
    b.p.seeds = 3;
    memcpy(b.p.seed, t.seeds[0] || t.seeds[1] ? t.seeds : seeds, sizeof seeds);
    o = (sweep_options){
        .e = { .p = &b.p, .k = { b.k[STYLE], b.k[OBJECT] }, .dir = judges_at(dir),
               .concept = { b.concept[STYLE], b.concept[OBJECT] } },
        .domain = STYLE, .test_seed = test_seeds, .test_seeds = t.test ? t.test : 1,
        .retained = t.retained ? t.retained : 2, .finalists = 2, .install = t.install, .chose = note_choice,
        .grid = { { 8, 0, -1 }, { 8, 0, -4 }, { 0, 90, -1 }, { 24, 0, -2 } },
        .points = t.points ? t.points : 4,
    };
    choices.count = 0;
    const int code = sweep_run(b.x, &o, installed, e);
    CHECK(!t.install || code || test_holds(installed, "/sae/" TINY_STYLES "/forget.json"), "written: %s",
          installed);
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
    const char *dir = judges_at("sweep");
    CHECK(!judges_shell("test $(wc -l <'%s/results.tsv') = 13 && test $(grep -c '^2' '%s/results.tsv') = "
                        "4", dir, dir), "the table has other rows");
    /* stage one: 3 of the concept at one seed, 2 retained; stage two: 9 places at two seeds */
    CHECK(!judges_shell("test $(grep -c '^1.*\t5\t[0-9a-f]*$' '%s/results.tsv') = 8 %s", dir, ""),
          "stage one has other numbers of images");
    CHECK(!judges_shell("test $(grep -c '^2.*\t18\t[0-9a-f]*$' '%s/results.tsv') = 4 %s", dir, ""),
          "stage two has other numbers of images");
    for (size_t i = 0; i < choices.count; i++) { /* a choice is a finalist: it has a row of stage two */
        char row[64];
        const choice *c = &choices.c[i];
        const double value = c->top ? (double)c->top : c->percentile;
        snprintf(row, sizeof row, "^2.%s.%s %g.%g.", i ? "Watercolor" : "Sketch",
                 c->top ? "top" : "percentile", value, (double)c->strength);
        CHECK(!judges_shell("grep -q '%s' '%s/results.tsv'", row, judges_at("sweep")), "no row %s", row);
    }
    for (; code == SAEURON_ECANCEL && stops < 200; stops++)
        code = sweep_into("swept", (turn){ .stop_at = 3 + stops }, &e);
    CHECK(code == SAEURON_OK && stops > 8, "%s after %ld stops", e.text, stops);
    CHECK(judges_same("sweep", "swept"), "a sweep that was stopped ends in other bytes");
    CHECK(sweep_into("sweep", (turn){ 0 }, &e) == SAEURON_OK && judges_same("sweep", "swept"),
          "a second sweep changes the first's files: %s", e.text);
}

/* Without forgetting those places are drawn that the concepts' stages want: at the first seed each concept's
 * own and the first three others of the shuffled order, at the others all that count. */
static void places_of_the_stages(void)
{
    saeuron_error e = { 0 };
    uint32_t o[12];
    bool     wanted[12] = { false };
    sweep_order(o, 12);
    for (uint32_t concept = SKETCH; concept <= WATERCOLOR; concept += WATERCOLOR - SKETCH)
        for (size_t i = 0, kept = 0; i < 12; i++) {
            const uint32_t style = o[i] % 4; /* place: object * 4 + style; Seed_Images, 0, does not count */
            wanted[o[i]] |= style == concept || (style && style != concept && kept++ < 3);
        }
    CHECK(sweep_into("places", (turn){ .points = 1, .retained = 3 }, &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; i < 12; i++) {
        char path[1300];
        for (int seed = 0; seed < 2; seed++) {
            snprintf(path, sizeof path, "%s/images/none/%d-%05zu.png", judges_at("places"),
                     seed ? 1288 : 1188, i);
            const bool there = io_exists(NULL, path), should = seed ? i % 4 != 0 : wanted[i];
            CHECK(there == should, "%s is %s", path, there ? "there" : "missing");
        }
    }
}

static void sweep_refuses(void)
{
    saeuron_error e = { 0 };
    judges_error("a test seed", sweep_into("no", (turn){ .seeds = { 1188, 188, 5 } }, &e), SAEURON_EUSAGE,
                 &e, "188|test seed|seeds");
    judges_error("the statistics' seed", sweep_into("no", (turn){ .seeds = { 1188, 0, 5 } }, &e),
                 SAEURON_EUSAGE, &e, "seed 0|statistics");
    judges_error("the statistics' seed is a test seed", sweep_into("no", (turn){ .test = 2 }, &e),
                 SAEURON_EUSAGE, &e, "seed 0|test seed|overlap");
    CHECK(judges_shell("test ! -e '%s' %s", judges_at("no"), "") == 0,
          "a sweep that was refused has made a folder");
    CHECK(sweep_into("sweep", (turn){ 0 }, &e) == SAEURON_OK, "%s", e.text);
    judges_shell("cp -r '%s' '%s'", judges_at("sweep"), judges_at("torn"));
    judges_shell("sed -i '5s/^/x/' '%s/results.tsv' %s", judges_at("torn"), "");
    judges_error("a damaged row", sweep_into("torn", (turn){ 0 }, &e), SAEURON_EFORMAT, &e,
                 "results.tsv: line 5|damaged");
    judges_shell("cp '%s/results.tsv' '%s'", judges_at("sweep"), judges_at("torn"));
    judges_shell("truncate -s -4 '%s/results.tsv' %s", judges_at("torn"), "");
    judges_error("a cut table", sweep_into("torn", (turn){ 0 }, &e), SAEURON_EFORMAT, &e,
                 "results.tsv: line 13|damaged");
    judges_shell("cp '%s/results.tsv' '%s'", judges_at("sweep"), judges_at("torn"));
    judges_shell("rm -r '%s/images' %s", judges_at("torn"), "");
    judges_error("another seed", sweep_into("torn", (turn){ .seeds = { 1188, 1288, 1589 } }, &e),
                 SAEURON_EFORMAT, &e, "results.tsv: line 2|another");
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
    static const char before[] = "{\"Van Gogh\": {\"percentile\": 70.5, \"strength\": -1.5},"
                                 " \"Sketch\": {\"top\": 99}}\n";
    judges_shell("cp '%s' '%s'", path, judges_at("forget.json"));
    test_write_file(path, before, sizeof before - 1);
    CHECK(sweep_into("sweep", (turn){ .install = true }, &e) == SAEURON_OK && choices.count == 2, "%s",
          e.text);
    CHECK(io_open(&f, NULL, path, &e) == SAEURON_OK, "%s", e.text);
    CHECK(json_open(&v, (const char *)f.data, f.size, path, &e) == SAEURON_OK, "%s", e.text);
    snprintf(text, sizeof text, "%.*s", (int)f.size, (const char *)f.data);
    CHECK(json_length(v) == 3 &&
              strstr(text, "{\n \"Van Gogh\": {\"percentile\": 70.5, \"strength\": -1.5},\n \"Sketch\": {\""),
          "%s", text);
    if (choices.c[0].top)
        CHECK(json_get(v, "Sketch", &one) && json_get(one, "top", &top) && json_number(top, &x) &&
              (size_t)x == choices.c[0].top, "%s", text);
    io_close(&f);
    judges_shell("cp '%s' '%s'", judges_at("forget.json"), path);
}

const test_case sweep_tests[] = {
    { "choosing", choosing }, { "shuffled_places", shuffled_places }, { "sweeps", sweeps },
    { "places_of_the_stages", places_of_the_stages }, { "sweep_refuses", sweep_refuses },
    { "sweep_installs", sweep_installs }, { NULL, NULL },
};
