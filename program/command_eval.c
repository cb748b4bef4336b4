/* command_eval.c: the commands `eval` and `sweep`: what their options mean, and what they print.
 *
 *   options --> model, classifiers, protocol --eval_run, sweep_run--> DIR, and a table or JSON on stdout
 *
 * Not here: what is drawn and counted (evaluation/). */
#include "evaluation/sweep.h"
#include "files/decimal.h"
#include "forget.h"
#include "program/measuring.h"
#include "program/messages.h"
#include "program/naming.h"
#include "program/opening.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *out, *seeds;

/* ---- eval ---- */

static const char *shard_text;
static bool quick, dry_run, print_only, together;

static const option eval_table[] = {
    { "--out", "DIR", "the folder of images and results", .brief = "-o", .text = &out },
    { .group = choice_options },
    { "--seeds", "S[,S...]", "instead of the protocol's", .text = &seeds },
    { "--together", NULL, "forget all concepts at once, as one list; else each alone", .flag = &together },
    { "--quick", NULL, "the first seed, and a third of the places", .flag = &quick },
    { "--shard", "I/N", "draw every N-th image only, from the I-th (from 0), and measure nothing",
      .text = &shard_text },
    { "--dry-run", NULL, "only say how many images there are to draw, and how long that takes",
      .flag = &dry_run },
    { "--print-protocol", NULL, "print the protocol as a JSON file that --protocol reads",
      .flag = &print_only },
    { .group = concepts_options }, { .group = measured_options }, { 0 },
};

static void print_share(rate s)
{
    if (s.images)
        printf("\t%.1f (%.1f-%.1f)", 100 * s.value, 100 * s.low, 100 * s.high);
    else
        printf("\t-");
}

static void print_figures(const figures *f)
{
    for (int m = 0; m < METRICS; m++)
        print_share(f->at[m]);
    if (f->distance < 0)
        printf("\t-");
    else
        printf("\t%.2f", f->distance);
}

static void show_result(void *user, int d, const char *concept, const figures *with, const figures *without)
{
    measuring *w = user;
    clear_line();
    if (as_json)
        return;
    if (!w->begun)
        printf("domain\tconcept\tUA\tIRA\tCRA\tCRA_own\tFD\twithout: UA\tIRA\tCRA\tCRA_own\tFD\n");
    w->begun = true;
    printf("%s\t", domain_names[d]);
    print_text(concept);
    print_figures(with);
    print_figures(without);
    putchar('\n');
}

/* FOLDER/eval.json to stdout, as it is. */
static int print_results(const char *folder, const saeuron_host *host, saeuron_error *err)
{
    char    path[1024];
    io_file f;
    int     code = output_path(path, folder, "eval.json", err);
    if (code || (code = io_open(&f, host, path, err)) != SAEURON_OK)
        return code;
    fwrite(f.data, 1, f.size, stdout);
    io_close(&f);
    return SAEURON_OK;
}

static int print_protocol(const protocol *p, saeuron_error *err)
{
    text_out t = { .host = p->host };
    protocol_print(p, &t);
    if (!t.failed)
        fwrite(t.at, 1, t.n, stdout);
    const int code = t.failed ? fail(err, SAEURON_ENOMEM, "no memory to print a protocol") : SAEURON_OK;
    text_free(&t);
    return code;
}

static int measure(measuring *w, saeuron_error *err)
{
    eval_options e = { .p = &w->p, .k = { w->k[STYLE], w->k[OBJECT] }, .dir = out, .sampling = w->g,
                       .by = w->means.by, .concept = { w->concept[STYLE], w->concept[OBJECT] },
                       .quick = quick, .dry = dry_run, .together = together, .overlap = w->overlap,
                       .watch = { w, dry_run ? show_dry_plan : show_plan, show_next, show_result } };
    eval_outcome outcome;
    int code = seeds ? read_seeds(&w->p, seeds, err) : SAEURON_OK;
    if (!code && quick)
        w->p.seeds = 1;
    if (!code && shard_text)
        code = read_shard(shard_text, &e.shard, &e.shards, err);
    if (!code)
        code = read_choice(&e.how, err);
    if (!code && print_only)
        return print_protocol(&w->p, err);
    if (!code)
        code = eval_run(w->x, &e, &outcome, err);
    clear_line();
    if (code || dry_run)
        return code;
    if (shard_text)
        printf(as_json ? "{\"left\": %zu}\n" : "images still to draw, by other shards\t%zu\n", outcome.left);
    else if (as_json)
        code = print_results(outcome.results, &w->x->host, err);
    return code;
}

static int run_eval(saeuron_error *err)
{
    static measuring w;
    if ((!out || !*out) && !print_only)
        return fail(err, SAEURON_EUSAGE, "--out DIR is missing: in which folder should images and results "
                                         "be?");
    int code = open_measuring(&w, err);
    if (!code)
        code = measure(&w, err);
    close_measuring(&w);
    return code;
}

const command command_eval = {
    "eval", "-o DIR",
    "UA, IRA, CRA and CRA_own of forgetting, concept by concept, with what they are measured on",
    eval_table, .run = run_eval,
};

/* ---- sweep ---- */

static const char *tops, *percentiles, *lifts, *windows, *halves, *strengths;
static int    chosen_by = SWEEP_MILDEST; /* of "mildest|paper" */
static double target = 95;
static size_t bisections = 3;
static bool   install;

static const option sweep_table[] = {
    { "--out", "DIR", "the folder of results", .brief = "-o", .text = &out },
    { "--rule", "mildest|paper", "the mildest pair that forgets (default); or the paper's: the best "
                                 "(UA + IRA)/2 of a grid", .choice = &chosen_by },
    { "--target", "UA", "a pair forgets when its UA reaches this, in per cent (default 95); of mildest",
      .real = &target },
    { "--tops", "K[,K...]", "the K best-scored latents a step (default 1,2,4,8, unless --percentiles)",
      .text = &tops },
    { "--percentiles", "P[,P...]", "latents scored above a percentile; the paper's: 99.99,99.995,99.999",
      .text = &percentiles },
    { "--min-lifts", "R[,R...]", "each of these of latents of this lift alone (eval's --min-lift); 0: of all "
                                 "(default)", .text = &lifts },
    { "--windows", "A-B[,A-B...]", "each of these at steps A to B - 1 alone; all: at every step (default)",
      .text = &windows },
    { "--halves", "H[,H...]", "each of these with both halves of the guided batch edited (both, the default) "
                              "or one (conditional, unconditional)", .text = &halves },
    { "--strengths", "G[,G...]", "from the weakest (default: 0,-0.03,-0.1,-0.3,-1,-3,-10,-30; of paper: "
                                 "objects -1,-5,-10,-15,-20,-25,-30, styles -1)", .text = &strengths },
    { "--bisections", "N", "further strengths between the last that does not forget and the first that does "
                           "(default 3); of mildest", .size = &bisections },
    { "--seeds", "S[,S...]", "the first chooses, the others validate (default 1188,1288,1588)",
      .text = &seeds },
    { "--write", NULL, "put the choice into forget.json beside the SAE, too", .flag = &install },
    { .group = concepts_options }, { .group = measured_options }, { 0 },
};

/* The numbers of "A,B,C", each within [low, high], no two alike; how many, or 0 and an error. */
static size_t read_reals(const char *option_name, const char *names, double low, double high, double *to,
                         size_t size, saeuron_error *err)
{
    char   piece[40];
    size_t n = 0;
    while (next_piece(&names, piece, sizeof piece)) {
        if (n == size || !io_parse_double(piece, &to[n]) || !(to[n] >= low && to[n] <= high)) {
            fail(err, SAEURON_EUSAGE, "%s wants at most %zu numbers from %.9g to %.9g, as 1,2,4; not \"%s\"",
                 option_name, size, low, high, piece);
            return 0;
        }
        for (size_t i = 0; i < n; i++)
            if (!(to[i] < to[n]) && !(to[i] > to[n])) {
                fail(err, SAEURON_EUSAGE, "%s may name nothing twice, as \"%s\"", option_name, piece);
                return 0;
            }
        n++;
    }
    return n;
}

/* The selections: tops, then percentiles; where results tie, the first stays. */
static int read_selections(sweep_options *s, saeuron_error *err)
{
    double value[SELECTIONS / 2];
    size_t n;
    if (tops || !percentiles) {
        if (!(n = read_reals("--tops", tops ? tops : "1,2,4,8", 1, 1 << 20, value, SELECTIONS / 2, err)))
            return SAEURON_EUSAGE;
        for (size_t i = 0; i < n; i++) {
            if ((double)(size_t)value[i] < value[i])
                return fail(err, SAEURON_EUSAGE, "--tops wants whole numbers");
            s->selection[s->selections++].top = (size_t)value[i];
        }
    }
    if (percentiles) {
        if (!(n = read_reals("--percentiles", percentiles, 1e-9, 100, value, SELECTIONS / 2, err)))
            return SAEURON_EUSAGE;
        for (size_t i = 0; i < n; i++)
            s->selection[s->selections++].percentile = value[i];
    }
    return SAEURON_OK;
}

static bool set_lift(const char *text, choice *c)
{
    return io_parse_double(text, &c->min_lift) && c->min_lift >= 0 && c->min_lift <= 1e6;
}

static bool set_window(const char *text, choice *c)
{
    return !strcmp(text, "all") || read_window(text, &c->first, &c->end);
}

static bool set_half(const char *text, choice *c)
{
    for (c->half = 0; c->half < HALVES && strcmp(text, half_name[c->half]);)
        c->half++;
    return c->half < HALVES;
}

/* Each selection so far with each of the names of "A,B,C", which set puts into it. wants: what a name may
 * be. */
static int vary(sweep_options *s, const char *option_name, const char *names, const char *wants,
                bool (*set)(const char *text, choice *c), saeuron_error *err)
{
    choice before[SELECTIONS];
    char   piece[40], known[160], now[160];
    const size_t each = s->selections;
    memcpy(before, s->selection, sizeof before);
    for (size_t n = 0; next_piece(&names, piece, sizeof piece); n++) {
        if ((n + 1) * each > SELECTIONS)
            return fail(err, SAEURON_EUSAGE, "--tops, --percentiles, --min-lifts, --windows and --halves "
                        "make more than %d selections: name fewer", SELECTIONS);
        for (size_t i = 0; i < each; i++) {
            s->selection[n * each + i] = before[i];
            if (!set(piece, &s->selection[n * each + i]))
                return fail(err, SAEURON_EUSAGE, "%s wants %s; not \"%s\"", option_name, wants, piece);
        }
        describe_selection(now, &s->selection[n * each]);
        for (size_t i = 0; i < n; i++) {
            describe_selection(known, &s->selection[i * each]);
            if (!strcmp(known, now))
                return fail(err, SAEURON_EUSAGE, "%s may name a value once only, not \"%s\" again",
                            option_name, piece);
        }
        s->selections = (n + 1) * each;
    }
    return SAEURON_OK;
}

static int read_strengths(sweep_options *s, saeuron_error *err)
{
    const bool paper = chosen_by == SWEEP_PAPER;
    const char *usual = !paper ? "0,-0.03,-0.1,-0.3,-1,-3,-10,-30"
                      : s->domain == STYLE ? "-1" : "-1,-5,-10,-15,-20,-25,-30";
    double value[STRENGTHS], before = 0;
    const char *names = strengths ? strengths : usual;
    if (!(s->strengths = read_reals("--strengths", names, -1e6, 1e6, value, STRENGTHS, err)))
        return SAEURON_EUSAGE;
    for (size_t i = 0; i < s->strengths; i++) {
        const double away = value[i] < 0 ? -value[i] : value[i];
        if (!paper && away < before)
            return fail(err, SAEURON_EUSAGE, "--strengths must go from the weakest on, as 0,-0.1,-1");
        s->strength[i] = (float)value[i];
        before = away;
    }
    return SAEURON_OK;
}

static int check_rule(saeuron_error *err)
{
    static const char *const only_mildest[] = { "--target", "--bisections", NULL };
    const char *idle = chosen_by == SWEEP_PAPER ? first_given(only_mildest) : NULL;
    if (idle)
        return fail(err, SAEURON_EUSAGE, "%s means nothing with --rule paper", idle);
    if (!(target >= 0 && target <= 100))
        return fail(err, SAEURON_EUSAGE, "--target must be from 0 to 100, in per cent");
    if (bisections > 16)
        return fail(err, SAEURON_EUSAGE, "--bisections must be at most 16");
    return SAEURON_OK;
}

static void print_number(const result *r, int i)
{
    if (!r->known[i])
        printf(as_json ? "null" : "-");
    else
        printf(as_json ? "%.4f" : "%.1f", r->at[i]);
}

static void show_choice(void *user, const char *concept, const choice *c, const result *r, bool kept)
{
    measuring *w = user;
    char value[32], select[160], strength[32];
    io_format_double(value, sizeof value, c->top ? (double)c->top : c->percentile);
    io_format_float(strength, sizeof strength, c->strength);
    describe_selection(select, c);
    clear_line();
    if (!as_json && !w->begun) {
        printf("concept\tchoice\tstrength");
        for (int i = 0; i < NUMBERS; i++)
            printf("\t%s", number_names[i]);
        printf(chosen_by == SWEEP_PAPER ? "\tCRA_kept\n" : "\tforgotten\n");
    }
    w->begun = true;
    print_concept(concept);
    if (as_json) {
        printf(", \"%s\": %s", c->top ? "top" : "percentile", value);
        if (c->min_lift > 0)
            printf(", \"min_lift\": %g", c->min_lift);
        if (c->end)
            printf(", \"window\": [%zu, %zu]", c->first, c->end);
        if (c->half != SAEURON_HALF_BOTH)
            printf(", \"half\": \"%s\"", half_name[c->half]);
        printf(", \"strength\": %s", strength);
    } else {
        printf("\t%s\t%s", select, strength);
    }
    for (int i = 0; i < NUMBERS; i++) {
        printf(as_json ? ", \"%s\": " : "\t", number_names[i]);
        print_number(r, i);
    }
    if (as_json)
        printf(", \"%s\": %s}\n", chosen_by == SWEEP_PAPER ? "CRA_kept" : "forgotten",
               kept ? "true" : "false");
    else
        printf("\t%s\n", kept ? "yes" : "no");
    fflush(stdout);
}

/* The one domain whose concepts are swept. */
static int swept_domain(const measuring *w, int *d, saeuron_error *err)
{
    bool any[DOMAINS] = { false, false };
    for (int i = 0; i < DOMAINS; i++)
        for (size_t c = 0; c < LABELS; c++)
            any[i] |= w->concept[i][c];
    *d = any[OBJECT] ? OBJECT : STYLE;
    if (any[STYLE] && any[OBJECT])
        return fail(err, SAEURON_EUSAGE, "--domain style or object is missing: a sweep is of one of them");
    return SAEURON_OK;
}

static int sweep(measuring *w, saeuron_error *err)
{
    static sweep_options s; /* a grid is large for a stack */
    char     installed[1024] = "";
    uint64_t test_seed[SEEDS];
    s = (sweep_options){ .e = { .p = &w->p, .k = { w->k[STYLE], w->k[OBJECT] }, .dir = out, .sampling = w->g,
                                .concept = { w->concept[STYLE], w->concept[OBJECT] }, .overlap = w->overlap,
                                .watch = { w, chosen_by == SWEEP_PAPER ? show_plan : show_most, show_next,
                                           NULL } },
                         .test_seed = test_seed, .test_seeds = w->p.seeds, .rule = { chosen_by, target },
                         .retained = 40, .finalists = chosen_by == SWEEP_PAPER ? 3 : SELECTIONS,
                         .bisections = bisections, .install = install,
                         .chose = show_choice };
    memcpy(test_seed, w->p.seed, sizeof test_seed);
    int code = means_name(&w->means.by)
             ? fail(err, SAEURON_EUSAGE, "a sweep is of SAEs: --rivals and --by mean nothing here")
             : swept_domain(w, &s.domain, err);
    if (!code)
        code = read_seeds(&w->p, seeds ? seeds : "1188,1288,1588", err);
    if (!code)
        code = check_rule(err);
    if (!code)
        code = read_selections(&s, err);
    if (!code)
        code = vary(&s, "--min-lifts", lifts, "numbers from 0 to 1e6, as 0,3", set_lift, err);
    if (!code)
        code = vary(&s, "--windows", windows, "steps from 0, as all,3-50", set_window, err);
    if (!code)
        code = vary(&s, "--halves", halves, "both, conditional or unconditional", set_half, err);
    if (!code)
        code = read_strengths(&s, err);
    if (!code)
        code = sweep_run(w->x, &s, installed, err);
    clear_line();
    if (!code && !as_json)
        printf("%s/forget.json\n%s%s", out, installed, *installed ? "\n" : "");
    return code;
}

static int run_sweep(saeuron_error *err)
{
    static measuring w;
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out DIR is missing: in which folder should the results be?");
    int code = open_measuring(&w, err);
    if (!code)
        code = sweep(&w, err);
    close_measuring(&w);
    return code;
}

const command command_sweep = {
    "sweep", "--domain D -o DIR",
    "the mildest top K and strength that forget each concept", sweep_table, .run = run_sweep,
};
