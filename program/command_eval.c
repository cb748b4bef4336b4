/* command_eval.c: the commands `eval` and `sweep`: what their options mean, and what they print.
 *
 *   options --> model, classifiers, protocol --eval_run, sweep_run--> DIR, and a table or JSON on stdout
 *
 * Not here: the options' names and help (saeuron.c), what is drawn and counted (protocol.c, eval.c, sweep.c). */
#include "evaluation/sweep.h"
#include "files/decimal.h"
#include "forget.h"
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- eval ---- */

/* What both measuring commands open: the model, both classifiers, the protocol; and how images are drawn. */
typedef struct measuring {
    saeuron_context *x;
    saeuron_classifier *k[DOMAINS];
    protocol p;
    bool    concept[DOMAINS][LABELS];
    talk    t;
    saeuron_generate_options g;
    bool    json, open, begun;      /* begun: the table's head is printed */
} measuring;

/* The pieces of "A,B,C", one at a time: into piece; false at the end. An empty piece is one, so that it can be refused. */
static bool next_piece(const char **names, char *piece, size_t size)
{
    if (!*names)
        return false;
    const size_t n = strcspn(*names, ",");
    snprintf(piece, size, "%.*s", (int)(n < size ? n : size - 1), *names);
    *names = (*names)[n] ? *names + n + 1 : NULL;
    return true;
}

/* --seeds instead of the protocol's, or for the sweep's. */
static int read_seeds(protocol *p, const char *names, saeuron_error *err)
{
    char piece[32];
    p->seeds = 0;
    while (next_piece(&names, piece, sizeof piece)) {
        bool ok = p->seeds < SEEDS && io_parse_uint(piece, &p->seed[p->seeds]);
        for (size_t i = 0; ok && i < p->seeds; i++)
            ok = p->seed[i] != p->seed[p->seeds];
        if (!ok)
            return fail(err, SAEURON_EUSAGE, "--seeds wants at most %d whole numbers, no two alike, as 188,288; not \"%s\"", SEEDS, piece);
        p->seeds++;
    }
    return SAEURON_OK;
}

/* --domain and --concepts: which are forgotten, each alone. */
static int choose_concepts(measuring *w, const options *o, saeuron_error *err)
{
    const char *names = o->concepts;
    char piece[128];
    bool asked[DOMAINS];
    for (int d = 0; d < DOMAINS; d++) {
        asked[d] = w->p.measured[d] && (!o->domain || !strcmp(o->domain, domain_names[d]));
        for (size_t c = 0; asked[d] && !names && c < w->p.label[d].count; c++)
            w->concept[d][c] = w->p.label[d].concept[c];
    }
    if (o->domain && strcmp(o->domain, "style") && strcmp(o->domain, "object"))
        return fail(err, SAEURON_EUSAGE, "--domain must be style or object");
    if (!asked[STYLE] && !asked[OBJECT])
        return fail(err, SAEURON_EUSAGE, "protocol %s measures no %s", w->p.name, o->domain);
    while (next_piece(&names, piece, sizeof piece)) {
        bool found = false;
        for (int d = 0; d < DOMAINS; d++) {
            const uint32_t c = asked[d] ? label_find(&w->p.label[d], piece) : NO_LABEL;
            if (c != NO_LABEL && w->p.label[d].concept[c])
                found = w->concept[d][c] = true;
        }
        if (!found)
            return fail(err, SAEURON_EUSAGE, "--concepts: there is no concept \"%s\" to forget%s%s: concepts.json and the classifiers name them", piece,
                        o->domain ? " in domain " : "", o->domain ? o->domain : "");
    }
    return SAEURON_OK;
}

static int open_classifiers(measuring *w, const options *o, saeuron_error *err)
{
    char dir[1024], path[1024];
    int  code = SAEURON_OK;
    if (o->classifier ? (size_t)snprintf(dir, sizeof dir, "%s", o->classifier) >= sizeof dir : !io_join(dir, sizeof dir, w->x->dir, "classifier"))
        return fail(err, SAEURON_EUSAGE, "--classifier: the path is too long");
    for (int d = 0; d < DOMAINS && !code; d++)
        code = io_join(path, sizeof path, dir, domain_names[d]) ? saeuron_classifier_open(&w->k[d], &w->x->host, path, err)
                                                                : fail(err, SAEURON_EUSAGE, "--classifier: the path is too long");
    return code;
}

static void close_measuring(measuring *w)
{
    if (w->open)
        protocol_close(&w->p);
    for (int d = 0; d < DOMAINS; d++)
        saeuron_classifier_close(w->k[d]);
    saeuron_close(w->x);
}

/* Opens all of it; after an error, too, it wants close_measuring. The model's own errors are told at once, as *status. */
static int open_measuring(measuring *w, const options *o, int *status, saeuron_error *err)
{
    float *noise;
    int    code;
    *w = (measuring){ .json = o->json };
    if ((*status = open_model(&w->x, o, &w->t)) != 0)
        return SAEURON_EUSAGE;
    if ((code = open_classifiers(w, o, err)) != SAEURON_OK || (code = protocol_open(&w->p, w->x, w->k, o->protocol, err)) != SAEURON_OK)
        return code;
    w->open = true;
    if ((code = choose_concepts(w, o, err)) != SAEURON_OK || (code = place_saes(w->x, o, err)) != SAEURON_OK || (code = sampling(&w->g, o, w->x, &noise, err)) != SAEURON_OK)
        return code;
    if (!o->steps)
        w->g.steps = w->p.steps;
    if (!o->has_guidance && w->p.has_guidance) {
        w->g.guidance = w->p.guidance;
        w->g.has_guidance = true;
    }
    return code;
}

/* Seconds that so many images take, reckoned from a small batch of one step and one of two, the quicker of two runs each. Nothing is
 * forgotten meanwhile. */
static double plan_seconds(measuring *w, size_t images)
{
    saeuron_generate_options g = w->g;
    const bool quiet = w->t.quiet;
    const size_t steps = g.steps ? g.steps : w->x->default_steps, most = w->x->unet.sample_size <= 32 ? 8 : 1, batch = images < most ? images : most;
    size_t W, H;
    double took[2] = { 0, 0 };
    unsigned char *rgb = saeuron_image_size(w->x, &g, &W, &H, NULL) ? NULL : io_alloc(&w->x->host, batch, W * H * 3);
    const char **prompts = io_alloc(&w->x->host, batch, sizeof *prompts);
    bool ok = rgb && prompts && images;
    for (size_t i = 0; ok && i < batch; i++)
        prompts[i] = w->p.entry[0].prompt;
    g.prompts = prompts;
    g.count = batch;
    w->t.quiet = true;
    rest_hooks(w->x);
    for (size_t i = 0; ok && i < 4; i++) {
        const double start = os_seconds();
        g.steps = i % 2 + 1;
        ok = saeuron_generate(w->x, &g, rgb, NULL) == SAEURON_OK;
        if (i < 2 || os_seconds() - start < took[i % 2])
            took[i % 2] = os_seconds() - start;
    }
    w->t.quiet = quiet;
    io_free(&w->x->host, (void *)prompts);
    io_free(&w->x->host, rgb);
    return ok ? (took[0] + (double)(steps - 1) * (took[1] > took[0] ? took[1] - took[0] : 0)) * ((double)images / (double)batch) : 0;
}

/* Says what is to be done before it is begun. */
static int show_plan(void *user, size_t images, size_t there)
{
    measuring *w = user;
    const double seconds = w->t.quiet ? 0 : plan_seconds(w, images - there);
    clear_line();
    if (os_interrupted())
        return 1;
    if (!w->t.quiet)
        fprintf(stderr, "saeuron: %zu images, %zu of them there; about %.0f s to draw the others\n", images, there, seconds);
    return 0;
}

static int show_dry_plan(void *user, size_t images, size_t there)
{
    measuring *w = user;
    const double seconds = plan_seconds(w, images - there);
    clear_line();
    if (os_interrupted())
        return 1;
    printf(w->json ? "{\"images\": %zu, \"there\": %zu, \"seconds\": %.0f}\n" : "images\t%zu\nthere\t%zu\nseconds\t%.0f\n", images, there, seconds);
    return 0;
}

static void show_next(void *user, size_t done, size_t now, size_t images)
{
    measuring *w = user;
    if (!done)
        w->t.start = w->t.last = os_seconds();
    w->t.done = done;
    w->t.now = now;
    w->t.images = images;
}

static void print_share(rate s)
{
    if (s.images)
        printf("\t%.1f (%.1f-%.1f)", 100 * s.value, 100 * s.low, 100 * s.high);
    else
        printf("\t-");
}

static void show_result(void *user, int domain, const char *concept, const rate with[METRICS], const rate without[METRICS])
{
    measuring *w = user;
    clear_line();
    if (w->json)
        return;
    if (!w->begun)
        printf("domain\tconcept\tUA\tIRA\tCRA\twithout: UA\tIRA\tCRA\n");
    w->begun = true;
    printf("%s\t", domain_names[domain]);
    print_name(concept);
    for (int m = 0; m < METRICS; m++)
        print_share(with[m]);
    for (int m = 0; m < METRICS; m++)
        print_share(without[m]);
    putchar('\n');
}

/* DIR/NAME as it is, to stdout: the product as JSON. */
static int print_file(const saeuron_host *host, const char *dir, const char *name, saeuron_error *err)
{
    char    path[1024];
    io_file f;
    int     code = io_join(path, sizeof path, dir, name) ? io_open(&f, host, path, err) : fail(err, SAEURON_EUSAGE, "--out: the path is too long");
    if (code)
        return code;
    fwrite(f.data, 1, f.size, stdout);
    io_close(&f);
    return SAEURON_OK;
}

/* Everything that saeuron_forget takes but the concept's name, checked as `generate` checks it. */
static int read_choice(saeuron_forget_options *f, const options *o, saeuron_error *err)
{
    *f = (saeuron_forget_options){ .top = (size_t)o->top, .percentile = o->percentile, .strength = o->strength, .has_strength = o->has_strength };
    if (o->has_percentile && o->top)
        return fail(err, SAEURON_EUSAGE, "--top and --percentile exclude each other");
    if (o->has_percentile && !(o->percentile > 0 && o->percentile <= 100))
        return fail(err, SAEURON_EUSAGE, "--percentile must be above 0 and at most 100");
    return SAEURON_OK;
}

static int print_protocol(const protocol *p)
{
    text_out t = { .host = p->host };
    protocol_print(p, &t);
    if (!t.failed)
        fwrite(t.at, 1, t.n, stdout);
    const bool failed = t.failed;
    text_free(&t);
    return failed ? SAEURON_ENOMEM : SAEURON_OK;
}

int run_eval(const options *o)
{
    measuring w;
    saeuron_error err = { 0 };
    size_t    left = 0;
    int       status;
    if ((!o->out || !*o->out) && !o->print_protocol)
        return usage("eval", "%s is missing: in which folder should images and results be?", "--out DIR");
    int code = open_measuring(&w, o, &status, &err);
    eval_options e = { .p = &w.p, .k = { w.k[STYLE], w.k[OBJECT] }, .dir = o->out, .sampling = w.g, .concept = { w.concept[STYLE], w.concept[OBJECT] }, .quick = o->quick,
                       .dry = o->dry_run, .overlap = o->overlap, .watch = { &w, o->dry_run ? show_dry_plan : show_plan, show_next, show_result } };
    if (!code && o->seeds)
        code = read_seeds(&w.p, o->seeds, &err);
    if (!code && o->quick)
        w.p.seeds = 1;
    if (!code && o->shard)
        code = read_shard(o->shard, &e.shard, &e.shards, &err);
    if (!code)
        code = read_choice(&e.how, o, &err);
    if (!code && o->print_protocol) {
        code = print_protocol(&w.p) ? fail(&err, SAEURON_ENOMEM, "no memory to print a protocol") : SAEURON_OK;
    } else if (!code) {
        code = eval_run(w.x, &e, &left, &err);
        clear_line();
        if (!code && o->shard && !o->dry_run)
            printf(o->json ? "{\"left\": %zu}\n" : "images still to draw, by other shards\t%zu\n", left);
        if (!code && o->json && !o->shard && !o->dry_run)
            code = print_file(&w.x->host, o->out, "eval.json", &err);
    }
    close_measuring(&w);
    return !code ? 0 : status ? status : complain(&err);
}

/* ---- sweep ---- */

/* The numbers of "A,B,C", each within [low, high]; how many, or 0 and an error. */
static size_t read_reals(const char *option_name, const char *names, double low, double high, double *out, size_t size, saeuron_error *err)
{
    char   piece[40];
    size_t n = 0;
    while (next_piece(&names, piece, sizeof piece)) {
        if (n == size || !io_parse_double(piece, &out[n]) || !(out[n] >= low && out[n] <= high)) {
            fail(err, SAEURON_EUSAGE, "%s wants at most %zu numbers from %g to %g, as 1,2,4; not \"%s\"", option_name, size, low, high, piece);
            return 0;
        }
        n++;
    }
    return n;
}

/* Tops, then percentiles, each with every strength: where scores tie, the first stays. */
static int read_grid(sweep_options *s, const options *o, saeuron_error *err)
{
    double tops[16], percentiles[16], strengths[32];
    const char *const paper = s->domain == STYLE ? "-1" : "-1,-5,-10,-15,-20,-25,-30";
    size_t t = 0, p = 0;
    const size_t g = read_reals("--strengths", o->strengths ? o->strengths : paper, -1e6, 1e6, strengths, 32, err);
    if (!g || (o->percentiles && !(p = read_reals("--percentiles", o->percentiles, 1e-9, 100, percentiles, 16, err))))
        return SAEURON_EUSAGE;
    if ((o->tops || !o->percentiles) && !(t = read_reals("--tops", o->tops ? o->tops : "1,2,4,8", 1, 1 << 20, tops, 16, err)))
        return SAEURON_EUSAGE;
    if ((t + p) * g > GRID)
        return fail(err, SAEURON_EUSAGE, "a grid of %zu points is too large: at most %d", (t + p) * g, GRID);
    for (size_t i = 0; i < t + p; i++)
        for (size_t j = 0; j < g; j++) {
            const choice c = { .top = i < t ? (size_t)tops[i] : 0, .percentile = i < t ? 0 : percentiles[i - t], .strength = (float)strengths[j] };
            if (i < t && (double)c.top < tops[i])
                return fail(err, SAEURON_EUSAGE, "--tops wants whole numbers");
            for (size_t k = 0; k < s->points; k++)
                if (s->grid[k].top == c.top && s->grid[k].strength == c.strength && !(s->grid[k].percentile < c.percentile) && !(s->grid[k].percentile > c.percentile))
                    return fail(err, SAEURON_EUSAGE, "--tops, --percentiles and --strengths may name nothing twice");
            s->grid[s->points++] = c;
        }
    return SAEURON_OK;
}

static void show_choice(void *user, const char *concept, const choice *c, const double numbers[4], bool kept)
{
    measuring *w = user;
    char value[32], strength[32];
    io_format_double(value, sizeof value, c->top ? (double)c->top : c->percentile);
    io_format_float(strength, sizeof strength, c->strength);
    clear_line();
    if (!w->json && !w->begun)
        printf("concept\tchoice\tstrength\tUA\tIRA\tCRA\twithout: CRA\tCRA kept\n");
    w->begun = true;
    print_concept(concept, w->json);
    printf(w->json ? ", \"%s\": %s, \"strength\": %s, \"UA\": %.4f, \"IRA\": %.4f, \"CRA\": %.4f, \"without_CRA\": %.4f, \"kept\": %s}\n"
                   : "\t%s %s\t%s\t%.1f\t%.1f\t%.1f\t%.1f\t%s\n",
           c->top ? "top" : "percentile", value, strength, numbers[UA], numbers[IRA], numbers[CRA], numbers[3], w->json ? (kept ? "true" : "false") : kept ? "yes" : "no");
    fflush(stdout);
}

int run_sweep(const options *o)
{
    static sweep_options s; /* a grid is large for a stack */
    measuring w;
    saeuron_error err = { 0 };
    char      installed[1024] = "";
    uint64_t  test_seed[SEEDS];
    int       status;
    if (!o->out || !*o->out)
        return usage("sweep", "%s is missing: in which folder should the results be?", "--out DIR");
    int code = open_measuring(&w, o, &status, &err);
    bool any[DOMAINS] = { false, false };
    for (int d = 0; d < DOMAINS; d++)
        for (size_t c = 0; c < LABELS; c++)
            any[d] |= w.concept[d][c];
    if (!code && any[STYLE] && any[OBJECT])
        code = fail(&err, SAEURON_EUSAGE, "--domain style or object is missing: a sweep is of one of them");
    s = (sweep_options){ .e = { .p = &w.p, .k = { w.k[STYLE], w.k[OBJECT] }, .dir = o->out, .sampling = w.g, .concept = { w.concept[STYLE], w.concept[OBJECT] },
                                .overlap = o->overlap, .watch = { &w, show_plan, show_next, NULL } },
                         .domain = any[OBJECT] ? OBJECT : STYLE, .test_seed = test_seed, .test_seeds = w.p.seeds, .retained = 40, .finalists = 3,
                         .install = o->install, .chose = show_choice };
    memcpy(test_seed, w.p.seed, sizeof test_seed);
    if (!code)
        code = read_seeds(&w.p, o->seeds ? o->seeds : "1188,1288,1588", &err);
    if (!code)
        code = read_grid(&s, o, &err);
    if (!code)
        code = sweep_run(w.x, &s, installed, &err);
    clear_line();
    if (!code && !o->json)
        printf("%s/forget.json\n%s%s", o->out, installed, *installed ? "\n" : "");
    close_measuring(&w);
    return !code ? 0 : status ? status : complain(&err);
}
