/* command_train.c: the commands `train` and `measure`: an SAE made from activations, and an SAE tried on others.
 *
 *   options --> files of activations, or a model to sample --training_run--> DIR; progress on stderr, a summary on stdout
 *   options --> an SAE's folder, files of activations --measure_sae--> a table or JSON on stdout
 *
 * Not here: the options' names and help (saeuron.c), training (training.c, train.c), maps (activations.c). */
#include "files/decimal.h"
#include "program/command.h"
#include "training/measure.h"
#include "training/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- progress ---- */

/* What the progress of a run knows: the line is about the step done last. */
typedef struct telling { talk *t; size_t first; double start; bool begun; } telling; /* first: steps done before this process began */

/* "step 120 of 5000, 51200 tokens/s, FVU 0.2101, ..., 35 s left". */
static void tell_step(const telling *w, const training_step *s, double now)
{
    const train_report *p = s->report;
    const double done = (double)(s->step - w->first), seconds = now - w->start;
    fprintf(stderr, "step %zu of %zu", s->step, s->steps);
    if (seconds > 0 && done > 0)
        fprintf(stderr, ", %.0f tokens/s", done * (double)p->tokens / seconds);
    fprintf(stderr, ", FVU %.4f, explained %.4f, L0 %.1f, auxk %.4f, dead %.1f %%", p->fvu, p->explained, p->l0, p->auxk, 100 * (double)p->dead / (double)s->latents);
    if (done > 0)
        fprintf(stderr, ", %.0f s left", seconds / done * (double)(s->steps - s->step));
}

static int show_step(void *user, const training_step *s)
{
    telling *w = user;
    talk *t = w->t;
    const double now = os_seconds();
    const int width = os_terminal_width();
    if (os_interrupted())
        return 1;
    if (!w->begun) { /* the first step is part of no rate: with it goes the start */
        *w = (telling){ .t = t, .first = s->step, .start = now, .begun = true };
        t->last = t->start = now;
        return 0;
    }
    t->start = now; /* what is sampled next is counted from here */
    if (t->quiet || now - t->last < (width ? 0.2 : 10))
        return 0;
    if (width)
        fprintf(stderr, "\r");
    tell_step(w, s, now);
    fprintf(stderr, width ? "   " : "\n");
    t->last = now;
    return 0;
}

static int heed(void *user, const char *stage, size_t done, size_t total)
{
    (void)user, (void)stage, (void)done, (void)total;
    return os_interrupted();
}

/* ---- train ---- */

static int read_config(training_options *r, const options *o, size_t d, saeuron_error *err)
{
    train_config *c = &r->config;
    train_defaults(c, d);
    if (o->has_sae_latents && o->has_expansion)
        return fail(err, SAEURON_EUSAGE, "--latents and --expansion exclude each other");
    if (o->sae_latents > (1u << 26) || o->expansion > 4096 || !o->expansion || (o->has_sae_latents && !o->sae_latents))
        return fail(err, SAEURON_EUSAGE, "--latents must be from 1 to 67108864, --expansion from 1 to 4096");
    c->n = o->has_sae_latents ? (size_t)o->sae_latents : d * (size_t)o->expansion;
    if (!o->k || o->k > c->n || o->k > 2048)
        return fail(err, SAEURON_EUSAGE, "--k must be from 1 to 2048 and at most the number of latents, %zu", c->n);
    if (o->tokens > (1u << 24) || o->epochs > 1000000 || o->checkpoint_every > SIZE_MAX / 2 || o->log_every > SIZE_MAX / 2)
        return fail(err, SAEURON_EUSAGE, "--batch must be at most 16777216 tokens, --epochs at most 1000000");
    c->k = (size_t)o->k;
    c->batch = (size_t)o->tokens;
    c->lr = o->lr;
    c->beta1 = o->beta1;
    c->beta2 = o->beta2;
    c->eps = o->adam_eps;
    c->clip = o->clip;
    c->auxk_alpha = o->auxk_alpha;
    c->dead_threshold = o->dead_threshold;
    c->seed = o->seed;
    c->multi_topk = o->multi_topk;
    if (o->topk && strcmp(o->topk, "batch") && strcmp(o->topk, "token"))
        return fail(err, SAEURON_EUSAGE, "--topk must be batch or token");
    if (o->auxk && strcmp(o->auxk, "paper") && strcmp(o->auxk, "released"))
        return fail(err, SAEURON_EUSAGE, "--auxk must be paper or released");
    c->batch_topk = !o->topk || !strcmp(o->topk, "batch");
    c->released_auxk = o->auxk && !strcmp(o->auxk, "released");
    r->epochs = (size_t)o->epochs;
    r->checkpoint_every = (size_t)o->checkpoint_every;
    r->log_every = (size_t)o->log_every;
    return read_type(&r->type, o->type, DT_F32, err);
}

/* What only means something while sampling, when it was given with files. */
static const char *only_online(const options *o)
{
    return o->prompts ? "--prompts" : o->steps ? "--steps" : o->has_guidance ? "--cfg" : o->negative ? "--negative" : o->height ? "--height" : o->width ? "--width"
         : o->every ? "--every" : o->diff ? "--diff" : o->noise_seed ? "--noise-seed" : o->synthetic ? "--synthetic" : o->model ? "--model" : NULL;
}

/* The files of --data; of the hook named, if one is. */
static int open_files(map_source *s, const options *o, saeuron_error *err)
{
    const char *hook = o->hooks.count ? o->hooks.item[0] : NULL;
    const int code = source_open(s, NULL, (const char *const *)(void *)o->data.item, o->data.count, err);
    if (!code && hook && strcmp(strncmp(hook, "unet.", 5) ? hook : hook + 5, s->hook))
        return fail(err, SAEURON_EUSAGE, "--hook %.80s: %s holds activations of %.80s: name that hook, or other data", hook, o->data.item[0], s->hook);
    return code;
}

/* The model and its prompts, to be sampled. */
typedef struct online { saeuron_context *x; char *buffer; const char **prompts; } online;

static int open_online(online *w, map_source *s, const options *o, int *status, talk *t, saeuron_error *err)
{
    sampler_options p = { .hook = o->hooks.item[0], .diff = o->diff, .every = (size_t)o->every };
    options noise = *o;
    float  *none = NULL;
    size_t  count = 0;
    int     code;
    if (o->every > 1000)
        return fail(err, SAEURON_EUSAGE, "--every must be from 1 to 1000");
    if ((*status = open_model(&w->x, o, t)) != 0)
        return SAEURON_EUSAGE;
    noise.seed = o->noise_seed;
    noise.batch = 0;
    if ((code = read_prompts(o, &w->x->host, &w->buffer, &w->prompts, &count, err)) != SAEURON_OK || (code = sampling(&p.sampling, &noise, w->x, &none, err)) != SAEURON_OK)
        return code;
    p.sampling.prompts = w->prompts;
    p.sampling.count = count;
    return source_open_online(s, w->x, &p, o->buffer > SIZE_MAX ? SIZE_MAX : (size_t)o->buffer, err);
}

static void close_online(online *w)
{
    if (!w->x)
        return;
    io_free(&w->x->host, (void *)w->prompts);
    io_free(&w->x->host, w->buffer);
    saeuron_close(w->x);
}

static void print_member(json object, const char *key)
{
    json   v;
    char   text[96];
    double x = 0;
    if (!json_get(object, key, &v))
        return;
    if (!json_string(v, text, sizeof text, NULL)) {
        json_number(v, &x);
        io_format_double(text, sizeof text, x);
    }
    printf("%s\t", key);
    print_name(text);
    putchar('\n');
}

/* DIR/train.json: as it is, or the most of it as a table. */
static int print_summary(const char *dir, bool as_json, saeuron_error *err)
{
    static const char *const of_run[] = { "hook", "latents", "k", "steps", "tokens" }, *const of_sae[] = { "fvu", "l0", "dead" };
    char    path[1024];
    io_file f;
    json    root, measured;
    int     code = io_join(path, sizeof path, dir, TRAINING_SUMMARY) ? io_open(&f, NULL, path, err) : fail(err, SAEURON_EUSAGE, "--out: the path is too long");
    if (code)
        return code;
    code = json_open(&root, (const char *)f.data, f.size, path, err);
    if (!code && as_json)
        fwrite(f.data, 1, f.size, stdout);
    else if (!code) {
        printf("sae\t");
        print_name(dir);
        putchar('\n');
        for (size_t i = 0; i < sizeof of_run / sizeof *of_run; i++)
            print_member(root, of_run[i]);
        for (size_t i = 0; json_get(root, "measured", &measured) && i < sizeof of_sae / sizeof *of_sae; i++)
            print_member(measured, of_sae[i]);
    }
    io_close(&f);
    return code;
}

int run_train(const options *o)
{
    saeuron_error err = { 0 };
    talk      t = { .quiet = o->quiet, .images = 1, .now = 1 };
    telling   told = { .t = &t };
    map_source s = { .rows = 0 };
    online    w = { NULL, NULL, NULL };
    int       status = 0, code;
    const saeuron_host host = { .progress = heed };
    training_options r = { .dir = o->out, .resume = o->resume, .threads = o->threads ? (int)(o->threads > 1024 ? 1024 : o->threads) : os_cores(), .isa = o->isa, .watch = show_step, .user = &told };

    if (o->online == (o->data.count > 0))
        return usage("train", "%s", o->online ? "--data and --online exclude each other" : "there is nothing to train on: --data FILE..., or --online --prompts FILE");
    if (!o->out || !*o->out)
        return usage("train", "%s is missing: in which folder should the SAE be?", "--out DIR");
    if (o->hooks.count > 1 || (o->online && !o->hooks.count))
        return usage("train", "one %s is wanted: an SAE belongs to one", "--hook HOOK");
    if (o->online && !o->prompts)
        return usage("train", "%s is missing: what should be sampled?", "--prompts FILE");
    if (!o->online && only_online(o))
        return usage("train", "%s means nothing without --online", only_online(o));
    if (o->has_threads && !o->threads)
        return usage("train", "%s must be at least 1", "--threads");
    code = o->online ? open_online(&w, &s, o, &status, &t, &err) : open_files(&s, o, &err);
    if (!code)
        code = read_config(&r, o, s.d, &err);
    if (!code)
        code = training_run(&s, &host, &r, &err);
    clear_line();
    if (!code)
        code = print_summary(o->out, o->json, &err);
    source_close(&s);
    close_online(&w);
    return !code ? 0 : status ? status : complain(&err);
}

/* ---- measure ---- */

static int show_measuring(void *user, const char *stage, size_t done, size_t total)
{
    talk *t = user;
    const double now = os_seconds();
    const int width = os_terminal_width();
    if (os_interrupted())
        return 1;
    if (t->quiet || now - t->last < (width ? 0.2 : 10))
        return 0;
    fprintf(stderr, "%s%s %zu of %zu maps, %.0f s left%s", width ? "\r" : "", stage, done, total, (now - t->start) / (double)done * (double)(total - done), width ? "   " : "\n");
    t->last = now;
    return 0;
}

static int print_measurement(const measurement *m, const char *dir, const map_source *s, bool as_json, saeuron_error *err)
{
    text_out t = { .host = NULL };
    if (as_json) {
        text_add(&t, "{\"sae\": ");
        text_quote(&t, dir);
        text_add(&t, ", \"hook\": ");
        text_quote(&t, s->hook);
        text_add(&t, ", \"data\": \"%016" PRIx64 "\", ", s->digest);
        measurement_json(m, &t);
        text_add(&t, "}\n");
    } else {
        text_add(&t, "maps\t%zu\ntokens\t%zu\nlatents\t%zu\nk\t%zu\nfvu\t", m->maps, m->tokens, m->n, m->k);
        text_real(&t, m->fvu);
        text_add(&t, "\nl0\t");
        text_real(&t, m->l0);
        text_add(&t, "\ndead\t%zu\ndead_share\t", m->dead);
        text_real(&t, (double)m->dead / (double)m->n);
        text_add(&t, "\n\n");
        density_table(m, &t);
    }
    if (t.failed)
        return fail(err, SAEURON_ENOMEM, "no memory to print");
    fwrite(t.at, 1, t.n, stdout);
    text_free(&t);
    return SAEURON_OK;
}

int run_measure(const options *o)
{
    saeuron_error   err = { 0 };
    talk        t = { .quiet = o->quiet, .start = os_seconds(), .last = os_seconds() };
    map_source  s = { .rows = 0 };
    measurement m;
    const saeuron_host host = { .user = &t, .progress = show_measuring };

    if (o->rest.count != 1)
        return usage("measure", "%s", o->rest.count ? "one SAE's folder at a time; activations follow --data" : "no SAE's folder is named; it goes first: saeuron measure DIR --data FILE...");
    if (!o->data.count)
        return usage("measure", "%s is missing: on which activations?", "--data FILE...");
    if (o->has_threads && !o->threads)
        return usage("measure", "%s must be at least 1", "--threads");
    int code = source_open(&s, NULL, (const char *const *)(void *)o->data.item, o->data.count, &err);
    const measure_options p = { .dir = o->rest.item[0], .count = s.rows, .threads = o->threads ? (int)(o->threads > 1024 ? 1024 : o->threads) : os_cores(), .isa = o->isa };
    if (!code)
        code = measure_sae(&m, &s, &host, &p, &err);
    clear_line();
    if (!code)
        code = print_measurement(&m, p.dir, &s, o->json, &err);
    source_close(&s);
    return code ? complain(&err) : 0;
}
