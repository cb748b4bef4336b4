/* measuring.c: model, classifiers and protocol opened as the options say; progress over many pictures.
 *
 *   options --open_measuring--> measuring --> eval_run, sweep_run, attack_run
 *
 * Not here: what is drawn and counted (evaluation/), options of one command (command_*.c). */
#include "program/measuring.h"
#include "files/decimal.h"
#include "forget.h"
#include "program/messages.h"
#include "program/naming.h"
#include "program/opening.h"

#include <stdio.h>
#include <string.h>

static const char *protocol_name, *classifier;
const char *chosen_concepts;
static int  domain = -1;            /* of "style|object", STYLE and OBJECT; -1: both */
static bool overlap;

const option measured_options[] = {
    { "--protocol", "NAME|FILE", "emojicanvas, paper, released, unlearncanvas or a JSON file (default: "
                                 "concepts.json's, else emojicanvas)", .text = &protocol_name },
    { "--domain", "style|object", "concepts of this domain only", .choice = &domain },
    { "--classifier", "DIR", "the folder of both classifiers, style and object (default: MODEL/classifier)",
      .text = &classifier },
    { .group = rivals_options }, { .group = means_options },
    { "--allow-overlap", NULL, "measure although the statistics were made with a test seed (docs/audit.md "
                               "A22)", .flag = &overlap },
    { .group = sampling_options }, { .group = batch_options }, { .group = edit_options },
    { .group = model_options },
    { .group = json_options }, { 0 },
};

const option concepts_options[] = {
    { "--concepts", "A[,B...]", "these concepts only, each forgotten alone", .text = &chosen_concepts },
    { 0 },
};

/* ---- what is opened ---- */

int read_seeds(protocol *p, const char *names, saeuron_error *err)
{
    char piece[32];
    p->seeds = 0;
    while (next_piece(&names, piece, sizeof piece)) {
        bool ok = p->seeds < SEEDS && io_parse_uint(piece, &p->seed[p->seeds]);
        for (size_t i = 0; ok && i < p->seeds; i++)
            ok = p->seed[i] != p->seed[p->seeds];
        if (!ok)
            return fail(err, SAEURON_EUSAGE, "--seeds wants at most %d whole numbers, no two alike, as "
                                             "188,288; not \"%s\"", SEEDS, piece);
        p->seeds++;
    }
    return SAEURON_OK;
}

/* --domain and --concepts: which are forgotten, each alone. */
static int choose_concepts(measuring *w, saeuron_error *err)
{
    const char *names = chosen_concepts;
    char piece[128];
    bool asked[DOMAINS] = { false };
    for (int d = 0; d < DOMAINS; d++) {
        asked[d] = w->p.measured[d] && (domain < 0 || domain == d);
        for (size_t c = 0; asked[d] && !names && c < w->p.label[d].count; c++)
            w->concept[d][c] = w->p.label[d].concept[c];
    }
    if (!asked[STYLE] && !asked[OBJECT])
        return fail(err, SAEURON_EUSAGE, "protocol %s measures no %s", w->p.name,
                    domain < 0 ? "concept" : domain_names[domain]);
    while (next_piece(&names, piece, sizeof piece)) {
        bool found = false;
        for (int d = 0; d < DOMAINS; d++) {
            const uint32_t c = asked[d] ? concept_find(&w->p.label[d], piece) : NO_LABEL;
            if (c != NO_LABEL)
                found = w->concept[d][c] = true;
        }
        if (!found)
            return fail(err, SAEURON_EUSAGE, "%s: there is no concept \"%s\" to forget%s%s: "
                        "concepts.json and the classifiers name them",
                        given("--forget") ? "--forget" : "--concepts", piece,
                        domain < 0 ? "" : " in domain ", domain < 0 ? "" : domain_names[domain]);
    }
    return SAEURON_OK;
}

static int open_classifiers(measuring *w, saeuron_error *err)
{
    char dir[1024], path[1024];
    int  code = SAEURON_OK;
    if (!(classifier ? (size_t)snprintf(dir, sizeof dir, "%s", classifier) < sizeof dir
                     : io_join(dir, sizeof dir, w->x->dir, "classifier")))
        return fail(err, SAEURON_EUSAGE, "--classifier: the path is too long");
    for (int d = 0; d < DOMAINS && !code; d++)
        code = io_join(path, sizeof path, dir, domain_names[d])
             ? saeuron_classifier_open(&w->k[d], &w->x->host, path, err)
             : fail(err, SAEURON_EUSAGE, "--classifier: the path is too long");
    return code;
}

void close_measuring(measuring *w)
{
    close_means(&w->means);
    if (w->open)
        protocol_close(&w->p);
    for (int d = 0; d < DOMAINS; d++)
        saeuron_classifier_close(w->k[d]);
    saeuron_close(w->x);
}

/* How images are drawn: as the options say, else the protocol, else the model. */
static saeuron_generate_options drawn_as(const protocol *p)
{
    saeuron_generate_options g = sampling();
    if (!g.steps)
        g.steps = p->steps;
    if (!g.has_guidance && p->has_guidance) {
        g.guidance = p->guidance;
        g.has_guidance = true;
    }
    return g;
}

int open_measuring(measuring *w, saeuron_error *err)
{
    int code = choose_means(&w->means, err);
    if (!code)
        code = open_model(&w->x, NULL, err);
    if (!code)
        code = open_classifiers(w, err);
    if (!code)
        code = protocol_open(&w->p, w->x, w->k, protocol_name, err);
    if (code)
        return code;
    w->open = true;
    w->overlap = overlap;
    w->g = drawn_as(&w->p);
    if ((code = choose_concepts(w, err)) == SAEURON_OK)
        code = place_saes(w->x, err);
    return code ? code : open_means(&w->means, w->x, err);
}

/* ---- progress ---- */

/* Seconds that so many images take, by a small batch of one step and one of two, the quicker of two runs
 * each. Nothing is forgotten meanwhile. */
static double plan_seconds(measuring *w, size_t images)
{
    saeuron_generate_options g = w->g;
    const bool   quiet = talk.quiet;
    const size_t steps = g.steps ? g.steps : w->x->default_steps, most = w->x->unet.sample_size <= 32 ? 8 : 1;
    const size_t batch = images < most ? images : most;
    size_t W, H;
    double took[2] = { 0, 0 };
    unsigned char *rgb = saeuron_image_size(w->x, &g, &W, &H, NULL) ? NULL
                       : io_alloc(&w->x->host, batch, W * H * 3);
    const char **prompts = io_alloc(&w->x->host, batch, sizeof *prompts);
    bool ok = rgb && prompts && images;
    for (size_t i = 0; ok && i < batch; i++)
        prompts[i] = w->p.entry[0].prompt;
    g.prompts = prompts;
    g.count = batch;
    talk.quiet = true;
    rest_hooks(w->x);
    for (size_t i = 0; ok && i < 4; i++) {
        const double start = os_seconds();
        g.steps = i % 2 + 1;
        ok = saeuron_generate(w->x, &g, rgb, NULL) == SAEURON_OK;
        const double seconds = os_seconds() - start;
        if (i < 2 || seconds < took[i % 2])
            took[i % 2] = seconds;
    }
    talk.quiet = quiet;
    io_free(&w->x->host, (void *)prompts);
    io_free(&w->x->host, rgb);
    const double step = took[1] > took[0] ? took[1] - took[0] : 0;
    return ok ? (took[0] + (double)(steps - 1) * step) * ((double)images / (double)batch) : 0;
}

/* Says what is to be done before it is begun. most: "at most ", or "". */
static int tell_plan(measuring *w, size_t images, size_t there, const char *most)
{
    const double seconds = talk.quiet ? 0 : plan_seconds(w, images - there);
    if (os_interrupted())
        return 1;
    remark("%s%zu images, %zu of them there; %sabout %.0f s to draw the others", most, images, there, most,
           seconds);
    return 0;
}

int show_plan(void *user, size_t images, size_t there) { return tell_plan(user, images, there, ""); }

/* A search ends where it finds what it looks for. */
int show_most(void *user, size_t images, size_t there)
{
    return tell_plan(user, images, there, "at most ");
}

int show_dry_plan(void *user, size_t images, size_t there)
{
    const double seconds = plan_seconds(user, images - there);
    clear_line();
    if (os_interrupted())
        return 1;
    printf(as_json ? "{\"images\": %zu, \"there\": %zu, \"seconds\": %.0f}\n"
                   : "images\t%zu\nthere\t%zu\nseconds\t%.0f\n", images, there, seconds);
    return 0;
}

void show_next(void *user, size_t done, size_t now, size_t images)
{
    (void)user;
    expect(images, done, now);
}
