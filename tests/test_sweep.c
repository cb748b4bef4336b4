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
static const sweep_rule paper = { .kind = SWEEP_PAPER }, mildest = { .target = 95 };

/* fourth: CRA without forgetting, of the paper's rule; CRA_own, of the mildest. */
static result made_result(const sweep_rule *by, double ua, double ira, double cra, double fourth)
{
    const double at[4] = { ua, ira, cra, fourth };
    const int    number[4] = { UA, IRA, CRA, by->kind == SWEEP_PAPER ? WITHOUT_CRA : CRA_OWN };
    result r = { .may_win = true };
    for (int m = 0; m < 4; m++) {
        r.known[number[m]] = at[m] >= 0;
        r.at[number[m]] = at[m] >= 0 ? at[m] : 0;
    }
    return r;
}

/* A case: the numbers of each point, and the point that must win. */
typedef struct contest { const char *what; size_t n, wins; double at[4][4]; } contest;

static void must_win(const sweep_rule *by, const contest *c)
{
    result r[4];
    for (size_t j = 0; j < c->n; j++)
        r[j] = made_result(by, c->at[j][0], c->at[j][1], c->at[j][2], c->at[j][3]);
    const size_t won = sweep_choose(by, r, c->n);
    CHECK(won == c->wins, "%s: point %zu wins, not %zu", c->what, won, c->wins);
    r[c->wins].may_win = false; /* who may not win does not, though better */
    CHECK(sweep_choose(by, r, c->n) != c->wins, "%s: one wins that may not", c->what);
    for (size_t j = 0; j < c->n; j++)
        r[j].may_win = false;
    CHECK(sweep_choose(by, r, c->n) == c->n, "%s: none may win, but one does", c->what);
}

/* UA, IRA, CRA, CRA without forgetting. */
static void choosing_as_the_paper(void)
{
    static const contest cases[] = {
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
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        must_win(&paper, &cases[i]);
    const result kept = made_result(&paper, 0, 0, 92, 97), lost = made_result(&paper, 0, 0, 91.99, 97);
    const result unknown = made_result(&paper, 0, 0, 50, NONE);
    CHECK(sweep_keeps(&paper, &kept) && !sweep_keeps(&paper, &lost) && sweep_keeps(&paper, &unknown),
          "which points keep CRA has changed");
}

/* UA, IRA, CRA, CRA_own; the target is 95. */
static void choosing_the_mildest(void)
{
    static const contest cases[] = {
        { "one that forgets before any that does not", 2, 1, { { 94.9, 99, 99, 99 }, { 95, 10, 10, 10 } } },
        { "of those that forget not the largest UA", 2, 0, { { 95, 99, 97, 90 }, { 100, 98, 96, 90 } } },
        { "IRA counts", 2, 1, { { 99, 90, 97, 90 }, { 99, 91, 97, 90 } } },
        { "CRA counts", 2, 1, { { 99, 90, 97, 90 }, { 99, 90, 98, 90 } } },
        { "own pictures count", 2, 1, { { 99, 90, 97, 90 }, { 99, 90, 97, 91 } } },
        { "the mean of the three", 2, 0, { { 99, 90, 90, 90 }, { 99, 99, 99, 70 } } },
        { "own pictures alone, in stage one", 2, 1, { { 99, NONE, NONE, 80 }, { 96, NONE, NONE, 85 } } },
        { "none forgets: the largest UA", 3, 2, { { 50, 99, 99, 99 }, { 60, 99, 99, 99 }, { 70, 9, 9, 9 } } },
        { "none forgets, UA alike: what is kept", 2, 1, { { 50, 90, 90, 90 }, { 50, 90, 90, 91 } } },
        { "a tie: the first", 2, 0, { { 96, 90, 91, 92 }, { 99, 92, 91, 90 } } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        must_win(&mildest, &cases[i]);
}

/* Halves between strengths: of 0, of the same sign, to two digits. */
static void between(void)
{
    static const struct { float weak, strong, half; } cases[] = {
        { 0, -0.03f, -0.015f }, { -0.03f, -0.1f, -0.055f }, { -1, -3, -1.7f }, { -10, -30, -17 },
        { -1, -1, -1 }, { 0, 0, 0 }, { -100, -1000, -320 }, { 1, 4, 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const float half = sweep_between(cases[i].weak, cases[i].strong);
        CHECK(!(half < cases[i].half) && !(half > cases[i].half), "between %g and %g: %g, not %g",
              (double)cases[i].weak, (double)cases[i].strong, (double)half, (double)cases[i].half);
    }
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

static void note_choice(void *user, const char *concept, const choice *c, const result *r, bool kept)
{
    (void)user, (void)concept, (void)r;
    if (choices.count < 4) {
        choices.c[choices.count] = *c;
        choices.kept[choices.count++] = kept;
    }
}

static size_t to_draw;              /* what the plan of the last sweep says */
static int note_plan(void *user, size_t images, size_t there)
{
    (void)user;
    to_draw = images - there;
    return 0;
}

typedef struct turn {
    long     stop_at;
    uint64_t seeds[3];
    size_t   test, selections, retained;
    bool     install, mildest;
    double   target;
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
               .concept = { b.concept[STYLE], b.concept[OBJECT] }, .watch = { .plan = note_plan } },
        .domain = STYLE, .test_seed = test_seeds, .test_seeds = t.test ? t.test : 1,
        .retained = t.retained ? t.retained : 2, .finalists = 2, .install = t.install, .chose = note_choice,
        .rule = { t.mildest ? SWEEP_MILDEST : SWEEP_PAPER, t.target }, .bisections = 2,
        .selection = { { .top = 8 }, { .percentile = 90 } }, .selections = t.selections ? t.selections : 2,
        .strength = { -1, -4 }, .strengths = 2,
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

/* The mildest rule: stage one counts own places alone and ends at the first strength that forgets, or
 * between; stage two counts others, too. Stopped or not, the bytes are the same. */
static void sweeps_mildest(void)
{
    saeuron_error e = { 0 };
    const turn t = { .mildest = true, .target = 80 };
    long stops = 0;
    int  code = SAEURON_ECANCEL;
    CHECK(sweep_into("mildest", t, &e) == SAEURON_OK && choices.count == 2, "%s", e.text);
    for (; code == SAEURON_ECANCEL && stops < 200; stops++) {
        turn stopped = t;
        stopped.stop_at = 3 + stops;
        code = sweep_into("milder", stopped, &e);
    }
    CHECK(code == SAEURON_OK && judges_same("mildest", "milder"), "%s: stopped, it ends in other bytes",
          e.text);
    /* Sketch is forgotten at -4, not at -1: two between, which do not suffice; Watercolor at once: two halves
     * of -1 */
    static const struct { const char *rows; int count; } expected[] = {
        { "^1.Sketch.*\t3\t[0-9a-f]*$", 8 }, { "^1.Watercolor.*\t3\t[0-9a-f]*$", 6 },
        { "^1.Watercolor.top 8.-0.25\t", 1 }, { "^1.Sketch.top 8.-2.8\t", 1 },
        { "^2.Watercolor.*.-0.25\t.*\t10\t[0-9a-f]*$", 2 },
        { "^2.Sketch.*.-4\t.*\t10\t[0-9a-f]*$", 2 }, { "^1.*\t-\t-\t[0-9.]*\t-\t", 14 }, { "^[12]", 18 },
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char row[96];
        snprintf(row, sizeof row, "test $(grep -c '%s' '%%s/results.tsv') = %d %%s", expected[i].rows,
                 expected[i].count);
        CHECK(!judges_shell(row, judges_at("mildest"), ""), "not %d rows %s", expected[i].count,
              expected[i].rows);
    }
    /* A table of more selections than are asked for: the others' rows stay, and count for nothing. Of the
     * first selection's four pairs at most Sketch has all, Watercolor one less, of three images; of two
     * strengths each has one of stage two, of ten images. */
    turn fewer = t;
    fewer.selections = 1;
    CHECK(sweep_into("mildest", fewer, &e) == SAEURON_OK && to_draw == 23, "%s: %zu images to draw", e.text,
          to_draw);
    CHECK(choices.c[0].top == 8 && choices.c[1].top == 8, "a selection that was not asked for is chosen");
}

/* The mildest rule: a pair that forgets at the first seed and not at the others gives way to the next
 * stronger strengths, until one forgets there, too. */
static void sweeps_stronger(void)
{
    saeuron_error e = { 0 };
    const turn t = { .mildest = true, .target = 90, .seeds = { 1288, 1188, 1588 }, .selections = 1 };
    CHECK(sweep_into("stronger", t, &e) == SAEURON_OK && choices.count == 2, "%s", e.text);
    CHECK(!judges_shell("test \"$(awk '$1 == 2 { print $2, $5 }' '%s/results.tsv' | tr '\n' ' ')\" = 'Sketch "
                        "-0.25 Sketch -1 Sketch -4 Watercolor -0.25 ' %s", judges_at("stronger"), ""),
          "stage two tries other strengths");
    CHECK(choices.c[0].strength < -3.9f && choices.c[1].strength > -0.3f, "%g and %g are chosen, not -4 and "
          "-0.25", (double)choices.c[0].strength, (double)choices.c[1].strength);
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
    CHECK(sweep_into("places", (turn){ .selections = 1, .retained = 3 }, &e) == SAEURON_OK, "%s", e.text);
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
    static const struct { const char *sed, *words; } rows[] = {
        { "5s/^/x/", "line 5" }, { "1s/stage/Stage/", "line 1" }, { "2s/$/\t/", "line 2" },
        { "3s/\t[^\t]*$//", "line 3" }, { "4s/^1/0/", "line 4" }, { "4s/^1/3/", "line 4" },
        { "5s/\t[^\t]*/\tnan/3", "line 5" }, { "5s/\t[^\t]*/\t1e9/3", "line 5" },
        { "5s/\t[^\t]*/\t/3", "line 5" }, { "6s/\t[^\t]*/\tx/4", "line 6" },
        { "3s/1/\\x00/", "line 3" }, { "7s/$/\\n/", "line 8" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        judges_shell("cp '%s/results.tsv' '%s'", judges_at("sweep"), judges_at("torn"));
        char line[96];
        snprintf(line, sizeof line, "sed -i '%s' '%%s/results.tsv' %%s", rows[i].sed);
        judges_shell(line, judges_at("torn"), "");
        judges_error(rows[i].sed, sweep_into("torn", (turn){ 0 }, &e), SAEURON_EFORMAT, &e, rows[i].words);
        judges_error(rows[i].sed, e.code, SAEURON_EFORMAT, &e, "results.tsv: |damaged|or delete this file");
    }
    judges_shell("rm '%s/results.tsv' %s", judges_at("torn"), "");
    CHECK(sweep_into("torn", (turn){ 0 }, &e) == SAEURON_OK && judges_same("sweep", "torn"),
          "without the file the sweep is not as it was: %s", e.text);
    static const char *const choices_json[] = { "", "[]", "{\"Cats\": ", "<html>" };
    for (size_t i = 0; i < sizeof choices_json / sizeof *choices_json; i++) {
        to_draw = 1;
        test_write_file(judges_at("torn/forget.json"), choices_json[i], strlen(choices_json[i]));
        judges_error(choices_json[i], sweep_into("torn", (turn){ 0 }, &e), SAEURON_EFORMAT, &e,
                     "forget.json");
        CHECK(to_draw == 1, "%s: found only after the pictures were counted", choices_json[i]);
    }
    judges_shell("rm '%s/forget.json' %s", judges_at("torn"), ""); /* as it says */
    CHECK(sweep_into("torn", (turn){ 0 }, &e) == SAEURON_OK && judges_same("sweep", "torn"), "%s", e.text);
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
    { "choosing_as_the_paper", choosing_as_the_paper }, { "choosing_the_mildest", choosing_the_mildest },
    { "between", between }, { "shuffled_places", shuffled_places }, { "sweeps", sweeps },
    { "sweeps_mildest", sweeps_mildest }, { "sweeps_stronger", sweeps_stronger },
    { "places_of_the_stages", places_of_the_stages }, { "sweep_refuses", sweep_refuses },
    { "sweep_installs", sweep_installs }, { NULL, NULL },
};
