/* command_select.c: the command `select`: which latents carry a concept, and what forgetting does to them.
 *
 *   --forget --saeuron_forget--> selections --> a table      --explain: one run --observe--> edits of a step
 *
 * Not here: scores, selection, ablation (select.c). */
#include "context.h"
#include "program/messages.h"
#include "program/opening.h"

#include <inttypes.h>
#include <stdio.h>

static const char *prompt;
static size_t at, limit = 32;
static bool   explain;

static const option options[] = {
    { .group = forget_options },
    { "--at", "STEP", "this step only", .size = &at },
    { "--explain", NULL, "sample --prompt and show the edits of one step, latent by latent",
      .flag = &explain },
    { "--prompt", "TEXT", "what to draw for --explain", .brief = "-p", .text = &prompt },
    { "--limit", "N", "at most N rows of --explain (default 32)", .size = &limit },
    { .group = start_options }, { .group = sampling_options }, { .group = batch_options },
    { .group = model_options },
    { .group = json_options }, { 0 },
};

/* ---- selections ---- */

static void print_selection(const ablation *a, const selection *s)
{
    const char *row = as_json ? ", \"hook\": \"%s\", \"step\": %zu, \"timestep\": %d, \"latent\": %" PRIu32
                             ", \"score\": %.9g, \"mean\": %.9g, \"threshold\": %.9g}\n"
                           : "\t%s\t%zu\t%d\t%" PRIu32 "\t%.9g\t%.9g\t%.9g\n";
    for (size_t t = 0; t < s->steps; t++)
        for (uint32_t i = s->start[t]; i < s->start[t + 1] && (!given("--at") || at == t); i++) {
            print_concept(s->concept);
            printf(row, a->hook, t, a->stats.timesteps[t], s->latent[i], (double)s->score[i],
                   (double)s->mu[i], (double)s->threshold[i]);
        }
}

static void print_selections(const saeuron_context *x)
{
    if (!as_json)
        printf("concept\thook\tstep\ttimestep\tlatent\tscore\tmean\tthreshold\n");
    for (size_t i = 0; i < x->hooks; i++)
        for (size_t j = 0; j < x->hook[i]->count; j++)
            print_selection(x->hook[i], &x->hook[i]->forget[j]);
}

/* ---- edits ---- */

/* now: the step being sampled. (With --map-steps an edit's own step is another: a row of the statistics.) */
typedef struct explaining { size_t shown; int now; } explaining;

static void show_edit(void *user, const edit *e)
{
    const char *row = as_json ? ", \"step\": %zu, \"row\": %zu, \"latent\": %zu, \"f\": %.9g, "
                                "\"mean\": %.9g, \"threshold\": %.9g, \"factor\": %.9g, "
                                "\"before\": %.9g, \"after\": %.9g}\n"
                              : "\t%zu\t%zu\t%zu\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n";
    explaining *w = user;
    if (w->now != (int)at || w->shown++ >= limit)
        return;
    print_concept(e->concept);
    printf(row, at, e->row, e->latent, (double)e->f, (double)e->mu, (double)e->threshold, (double)e->factor,
           (double)e->f, (double)e->after);
}

/* The tap: notes the step, whose first module comes before its hooks; stops after the step asked for. */
static int note_step(void *user, const char *name, int step, size_t first, float *v, const size_t shape[4],
                     int kind)
{
    explaining *w = user;
    (void)name, (void)first, (void)v, (void)shape, (void)kind;
    w->now = step;
    return step > (int)at;
}

static int explain_edits(saeuron_context *x, saeuron_error *err)
{
    explaining w = { .shown = 0 };
    saeuron_generate_options g = sampling();
    float *noise = NULL;
    g.prompts = &prompt;
    g.count = 1;
    g.tap = note_step;
    g.tap_user = &w;
    int code = read_noise(&g, x, &noise, err);
    for (size_t i = 0; i < x->hooks; i++) {
        x->hook[i]->observe = show_edit;
        x->hook[i]->observe_user = &w;
    }
    if (!code && !as_json)
        printf("concept\tstep\trow\tlatent\tf\tmean\tthreshold\tfactor\tbefore\tafter\n");
    if (!code)
        code = saeuron_generate(x, &g, NULL, err);
    if (code == SAEURON_ECANCEL && !os_interrupted())
        code = SAEURON_OK;
    if (!code)
        remark("%zu edits at step %zu%s; rows are tokens of the batch, the unconditional half first",
               w.shown, at, w.shown > limit ? " (see --limit)" : "");
    io_free(&x->host, noise);
    return code;
}

/* ---- select ---- */

/* The steps that --at counts: those sampled, or those of the statistics. */
static size_t steps_of(const saeuron_context *x)
{
    const size_t asked = sampling().steps;
    if (explain)
        return asked ? asked : x->default_steps;
    return x->hooks ? x->hook[0]->stats.steps : 0;
}

static int run(saeuron_error *err)
{
    saeuron_context *x = NULL;
    int code;
    if (!given("--forget"))
        return fail(err, SAEURON_EUSAGE, "--forget CONCEPT is missing");
    if (explain && !prompt)
        return fail(err, SAEURON_EUSAGE, "--explain samples a picture and wants its --prompt TEXT");
    if ((code = open_model(&x, NULL, err)) != SAEURON_OK)
        return code;
    code = forget_all(x, err);
    if (!code && given("--at") && at >= steps_of(x))
        code = fail(err, SAEURON_EUSAGE, "--at must be below %zu: there are %zu steps, counted from 0",
                    steps_of(x), steps_of(x));
    if (!code && explain)
        code = explain_edits(x, err);
    else if (!code)
        print_selections(x);
    saeuron_close(x);
    return code;
}

const command command_select = {
    "select", "--forget A",
    "the latents that carry a concept, step by step", options, .run = run,
};
