/* command_select.c: the command `select`. */
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_selection(const ablation *a, const selection *s, const options *o)
{
    for (size_t t = 0; t < s->steps; t++)
        for (uint32_t i = s->start[t]; i < s->start[t + 1] && (!o->has_at || o->at == t); i++) {
            print_concept(s->concept, o->json);
            printf(o->json ? ", \"hook\": \"%s\", \"step\": %zu, \"timestep\": %d, \"latent\": %" PRIu32
                             ", \"score\": %.9g, \"mean\": %.9g, \"threshold\": %.9g}\n"
                           : "\t%s\t%zu\t%d\t%" PRIu32 "\t%.9g\t%.9g\t%.9g\n",
                   a->hook, t, a->stats.timesteps[t], s->latent[i], (double)s->score[i], (double)s->mu[i], (double)s->threshold[i]);
        }
}

/* --explain: the edits of one step, as they happen. */
typedef struct explain { size_t step, limit, shown; int now; bool json; } explain; /* now: the sampling step; an edit's is the statistics' */

static void show_edit(void *user, const edit *e)
{
    explain *x = user;
    if (x->now != (int)x->step || x->shown++ >= x->limit)
        return;
    print_concept(e->concept, x->json);
    printf(x->json ? ", \"step\": %zu, \"row\": %zu, \"latent\": %zu, \"f\": %.9g, \"mean\": %.9g, \"threshold\": %.9g, "
                     "\"factor\": %.9g, \"before\": %.9g, \"after\": %.9g}\n"
                   : "\t%zu\t%zu\t%zu\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n",
           x->step, e->row, e->latent, (double)e->f, (double)e->mu, (double)e->threshold, (double)e->factor, (double)e->f, (double)e->after);
}

/* Notes the step (its first module comes before its hooks), and ends the sampling once the one asked for is over. */
static int stop_after(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    explain *x = user;
    (void)name, (void)first, (void)values, (void)shape, (void)kind;
    x->now = step;
    return step > (int)x->step;
}

static int explain_edits(saeuron_context *x, const options *o, saeuron_error *err)
{
    explain e = { .step = o->has_at ? (size_t)o->at : 0, .limit = (size_t)o->limit, .json = o->json, .now = -1 };
    saeuron_generate_options g = { .prompts = &o->prompt, .count = 1, .tap = stop_after, .tap_user = &e };
    float *noise = NULL;
    size_t W, H;
    unsigned char *rgb;
    int code = sampling(&g, o, x, &noise, err);
    if (!code && (code = saeuron_image_size(x, &g, &W, &H, err)) == SAEURON_OK) {
        for (size_t i = 0; i < x->hooks; i++) {
            x->hook[i]->observe = show_edit;
            x->hook[i]->observe_user = &e;
        }
        if (!o->json)
            printf("concept\tstep\trow\tlatent\tf\tmean\tthreshold\tfactor\tbefore\tafter\n");
        rgb = io_alloc(&x->host, W * H, 3);
        code = rgb ? saeuron_generate(x, &g, rgb, err) : fail(err, SAEURON_ENOMEM, "no memory for an image");
        io_free(&x->host, rgb);
        if (code == SAEURON_ECANCEL && !os_interrupted())
            code = SAEURON_OK;
        if (!code && !o->quiet)
            fprintf(stderr, "saeuron: %zu edits at step %zu%s; rows are tokens of the batch, the unconditional half first\n", e.shown, e.step,
                    e.shown > e.limit ? " (see --limit)" : "");
    }
    io_free(&x->host, noise);
    return code;
}

int run_select(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk t;
    int  code;
    if (!o->forget)
        return usage("select", "%s is missing", "--forget CONCEPT");
    if (o->explain && !o->prompt)
        return usage("select", "%s samples a picture and wants its --prompt TEXT", "--explain");
    if ((code = open_model(&x, o, &t)))
        return code;
    code = forget_all(x, o, &err);
    const size_t steps = o->explain && o->steps ? (size_t)o->steps : o->explain ? x->default_steps : x->hooks ? x->hook[0]->stats.steps : 0;
    if (!code && o->has_at && o->at >= steps)
        code = fail(&err, SAEURON_EUSAGE, "--at must be below %zu: there are %zu steps, counted from 0", steps, steps);
    if (!code && o->explain)
        code = explain_edits(x, o, &err);
    else if (!code && !o->json)
        printf("concept\thook\tstep\ttimestep\tlatent\tscore\tmean\tthreshold\n");
    for (size_t i = 0; !code && !o->explain && i < x->hooks; i++)
        for (size_t j = 0; j < x->hook[i]->count; j++)
            print_selection(x->hook[i], &x->hook[i]->forget[j], o);
    if (code)
        clear_line();
    saeuron_close(x);
    return code ? complain(&err) : 0;
}
