/* command_train.c: the commands `train` and `measure`: an SAE made from activations, and tried on others.
 *
 *   files of activations, or a model to sample --training_run--> DIR; progress on stderr, a summary on stdout
 *   an SAE's folder, files of activations --measure_sae--> a table or JSON on stdout
 *
 * Not here: training (training/run.c, train.c), measuring (training/measure.c), maps (training/source.c). */
#include "files/decimal.h"
#include "program/messages.h"
#include "program/opening.h"
#include "training/measure.h"
#include "training/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static list hooks, data, folders;

/* ---- train: options ---- */

static training_options run;        /* most options below are its fields */
static const char *prompts;
static size_t expansion, latents, every, buffer = 1600;
static uint64_t noise_seed;
static int  type, topk, auxk;       /* of "F32|F16", "batch|token", "paper|released" */
static bool online, diff;

static const option train_table[] = {
    { "--hook", "HOOK", "where the SAE belongs, as up_blocks.1.attentions.2 (default: the data's)",
      .list = &hooks },
    { "--data", "FILE...", "activations that collect wrote: one list of maps, in the order given",
      .list = &data },
    { "--online", NULL, "sample --prompts while training, instead of --data: nothing is stored",
      .flag = &online },
    { "--prompts", "FILE", "with --online: sample each line of FILE", .text = &prompts },
    { "--buffer", "MAPS", "with --online: maps in memory, shuffled among themselves (default 1600)",
      .count = &buffer },
    { "--noise-seed", "S", "with --online: the seed of torch.randn (default 0)", .whole = &noise_seed },
    { "--every", "N", "with --online: steps 0, N, 2N, ... only (default 1)", .count = &every },
    { "--diff", NULL, "with --online: the hook's output less its input", .flag = &diff },
    { "--out", "DIR", "the folder of the SAE: cfg.json, sae.safetensors, train.tsv, density.tsv, train.json",
      .brief = "-o", .text = &run.dir },
    { "--resume", NULL, "go on from the checkpoint in --out, or begin where there is none",
      .flag = &run.resume },
    { "--latents", "N", "number of latents (default: by --expansion)", .count = &latents },
    { "--expansion", "E", "E times as many latents as the activation is wide (default 16)",
      .count = &expansion },
    { "--k", "K", "latents kept a token (default 32)", .count = &run.config.k },
    { "--topk", "batch|token", "keep the largest of the whole batch, K a token on average, or K of each "
                               "token (default batch)", .choice = &topk },
    { "--batch", "TOKENS", "tokens a step, a multiple of a map's (default 4096)",
      .count = &run.config.batch },
    { "--epochs", "N", "times over all maps (default 5; the paper's styles 10)", .count = &run.epochs },
    { "--lr", "RATE", "learning rate of the first step, falling to 0 (default 4e-4)",
      .real = &run.config.lr },
    { "--beta1", "B", "of Adam (default 0.9)", .real = &run.config.beta1 },
    { "--beta2", "B", "of Adam (default 0.999)", .real = &run.config.beta2 },
    { "--adam-eps", "EPS", "of Adam (default 6.25e-10)", .real = &run.config.eps },
    { "--clip", "NORM", "most that the gradients' joint norm may be (default 1)", .real = &run.config.clip },
    { "--auxk-alpha", "A", "weight of the dead latents' loss; 0: none (default 1/32)",
      .real = &run.config.auxk_alpha },
    { "--auxk", "paper|released", "what dead latents are to explain (docs/audit.md A2; default paper)",
      .choice = &auxk },
    { "--multi-topk", NULL, "add an eighth of the loss with 4 K latents", .flag = &run.config.multi_topk },
    { "--dead-feature-threshold", "TOKENS", "a latent that has not fired for more is dead (default 10000000)",
      .whole = &run.config.dead_threshold },
    { "--seed", "S", "the seed of the start and of the maps' order (default 42)", .whole = &run.config.seed },
    { "--checkpoint-every", "STEPS", "write a checkpoint so often; changes no bit (default 1000)",
      .count = &run.checkpoint_every },
    { "--log-every", "STEPS", "a row of train.tsv so often (default 10)", .count = &run.log_every },
    { "--dtype", "F32|F16", "of the SAE's tensors (default F32)", .choice = &type },
    { .group = sampling_options }, { .group = model_options }, { .group = synthetic_options },
    { .group = json_options }, { 0 },
};

static void set_defaults(void)
{
    train_defaults(&run.config, 1);
    expansion = run.config.n;
    run.epochs = 5;
    run.checkpoint_every = 1000;
    run.log_every = 10;
}

/* What only means something while sampling. */
static const char *const only_online[] = { "--prompts", "--buffer", "--noise-seed", "--every", "--diff",
                                           "--steps", "--cfg", "--negative", "--height", "--width",
                                           "--synthetic", "--model", NULL };

static int check_train(saeuron_error *err)
{
    if (online && data.count)
        return fail(err, SAEURON_EUSAGE, "--data and --online exclude each other");
    if (!online && !data.count)
        return fail(err, SAEURON_EUSAGE, "there is nothing to train on: --data FILE... or --online is "
                    "missing");
    if (!run.dir || !*run.dir)
        return fail(err, SAEURON_EUSAGE, "--out DIR is missing: in which folder should the SAE be?");
    if (hooks.count > 1 || (online && !hooks.count))
        return fail(err, SAEURON_EUSAGE, "one --hook HOOK is wanted: an SAE belongs to one");
    if (online && !prompts)
        return fail(err, SAEURON_EUSAGE, "--prompts FILE is missing: what should be sampled?");
    if (!online && first_given(only_online))
        return fail(err, SAEURON_EUSAGE, "%s means nothing without --online", first_given(only_online));
    if (every > 1000)
        return fail(err, SAEURON_EUSAGE, "--every must be from 1 to 1000");
    return SAEURON_OK;
}

/* The rest of run, of an SAE for activations of width d. */
static int complete(size_t d, saeuron_error *err)
{
    train_config *c = &run.config;
    if (given("--latents") && given("--expansion"))
        return fail(err, SAEURON_EUSAGE, "--latents and --expansion exclude each other");
    if (latents > (1u << 26) || expansion > 4096)
        return fail(err, SAEURON_EUSAGE, "--latents must be from 1 to 67108864, --expansion from 1 to 4096");
    c->d = d;
    c->n = latents ? latents : d * expansion;
    if (c->k > c->n || c->k > 2048)
        return fail(err, SAEURON_EUSAGE, "--k must be from 1 to 2048 and at most the number of latents, %zu",
                    c->n);
    if (c->batch > (1u << 20) || run.epochs > 1000000)
        return fail(err, SAEURON_EUSAGE, "--batch must be at most 1048576 tokens, --epochs at most 1000000");
    c->batch_topk = topk == 0;
    c->released_auxk = auxk == 1;
    run.type = type ? DT_F16 : DT_F32;
    return SAEURON_OK;
}

/* ---- train: where maps come from ---- */

/* The files of --data; of the hook named, if one is. */
static int open_files(map_source *s, saeuron_error *err)
{
    const char *hook = hooks.count ? hooks.item[0] : NULL;
    const int code = source_open(s, NULL, data.item, data.count, err);
    if (!code && hook && strcmp(strncmp(hook, "unet.", 5) ? hook : hook + 5, s->hook))
        return fail(err, SAEURON_EUSAGE, "--hook %.80s: %s holds activations of %.80s: name that hook, or "
                                         "other data", hook, data.item[0], s->hook);
    return code;
}

/* The model and its prompts, which outlive the source that samples them. */
typedef struct sampled { saeuron_context *x; prompt_lines p; } sampled;

static int open_online(sampled *w, map_source *s, saeuron_error *err)
{
    sampler_options o = { .hook = hooks.item[0], .diff = diff, .every = every, .sampling = sampling() };
    int code = open_model(&w->x, NULL, err);
    if (code || (code = read_prompts(&w->p, prompts, &w->x->host, err)) != SAEURON_OK)
        return code;
    o.sampling.seed = noise_seed;
    o.sampling.prompts = w->p.line;
    o.sampling.count = w->p.count;
    return source_open_online(s, w->x, &o, buffer, err);
}

static void close_online(sampled *w)
{
    if (w->x)
        free_prompts(&w->p, &w->x->host);
    saeuron_close(w->x);
}

/* ---- train: progress and summary ---- */

/* When this process began, after how many steps of the run. */
typedef struct pace { size_t first; double start; bool begun; } pace;

/* "step 120 of 5000, 51200 tokens/s, FVU 0.2101, ..., 35 s left": of the last step. The first step of a
 * process also takes what comes before all steps, so it counts for no rate. */
static int show_step(void *user, const training_step *s)
{
    pace *w = user;
    const train_report *r = s->report;
    const double now = os_seconds();
    if (os_interrupted())
        return 1;
    talk.start = now; /* what is sampled next counts from here */
    if (!w->begun) {
        *w = (pace){ .first = s->step, .start = now, .begun = true };
        talk.last = now;
    }
    if (s->step == w->first || !line_is_due())
        return 0;
    const double rate = (double)(s->step - w->first) / (now - w->start);
    show_line("step %zu of %zu, %.0f tokens/s, FVU %.4f, explained %.4f, L0 %.1f, auxk %.4f, dead %.1f %%, "
              "%.0f s left", s->step, s->steps, rate * (double)r->tokens, r->fvu, r->explained, r->l0,
              r->auxk, 100 * (double)r->dead / (double)s->latents, (double)(s->steps - s->step) / rate);
    return 0;
}

static int heed(void *user, const char *stage, size_t done, size_t total)
{
    (void)user, (void)stage, (void)done, (void)total;
    return os_interrupted();
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
    print_text(text);
    putchar('\n');
}

/* DIR/train.json: as it is, or the most of it as a table. */
static int print_summary(const char *dir, saeuron_error *err)
{
    static const char *const of_run[] = { "hook", "latents", "k", "steps", "tokens" };
    static const char *const of_sae[] = { "fvu", "l0", "dead" };
    char    path[1024];
    io_file f;
    json    root, measured;
    int     code = output_path(path, dir, TRAINING_SUMMARY, err);
    if (code || (code = io_open(&f, NULL, path, err)) != SAEURON_OK)
        return code;
    code = json_open_object(&root, (const char *)f.data, f.size, path, err);
    if (!code && as_json)
        fwrite(f.data, 1, f.size, stdout);
    else if (!code) {
        printf("sae\t");
        print_text(dir);
        putchar('\n');
        for (size_t i = 0; i < sizeof of_run / sizeof *of_run; i++)
            print_member(root, of_run[i]);
        for (size_t i = 0; json_get(root, "measured", &measured) && i < sizeof of_sae / sizeof *of_sae; i++)
            print_member(measured, of_sae[i]);
    }
    io_close(&f);
    return code;
}

static int run_train(saeuron_error *err)
{
    const saeuron_host host = { .progress = heed };
    map_source s = { .rows = 0 };
    sampled    w = { .x = NULL };
    pace       p = { .begun = false };
    int code = check_train(err);
    if (code)
        return code;
    machine(&run.threads, &run.isa);
    run.watch = show_step;
    run.user = &p;
    code = online ? open_online(&w, &s, err) : open_files(&s, err);
    if (!code)
        code = complete(s.d, err);
    if (!code)
        code = training_run(&s, &host, &run, err);
    clear_line();
    if (!code)
        code = print_summary(run.dir, err);
    source_close(&s);
    close_online(&w);
    return code;
}

const command command_train = {
    "train", "--data FILE... -o DIR",
    "an SAE, trained on activations or, with --online, while sampling",
    train_table, .defaults = set_defaults, .run = run_train,
};

/* ---- measure ---- */

static const option measure_table[] = {
    { "--data", "FILE...", "activations that collect wrote: one list of maps, in the order given",
      .list = &data },
    { .group = machine_options },
    { .group = json_options }, { 0 },
};

static int show_maps(void *user, const char *stage, size_t done, size_t total)
{
    (void)user;
    if (os_interrupted())
        return 1;
    if (line_is_due())
        show_line("%s %zu of %zu maps, %.0f s left", stage, done, total,
                  (os_seconds() - talk.start) / (double)done * (double)(total - done));
    return 0;
}

static int print_measurement(const measurement *m, const char *dir, const map_source *s, saeuron_error *err)
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
        text_add(&t, "maps\t%zu\ntokens\t%zu\nlatents\t%zu\nk\t%zu\nfvu\t%g\nl0\t%g\ndead\t%zu\n"
                 "dead_share\t%g\n\n", m->maps, m->tokens, m->n, m->k, m->fvu, m->l0, m->dead,
                 (double)m->dead / (double)m->n);
        density_table(m, &t);
    }
    if (t.failed)
        return fail(err, SAEURON_ENOMEM, "no memory to print");
    fwrite(t.at, 1, t.n, stdout);
    text_free(&t);
    return SAEURON_OK;
}

static int run_measure(saeuron_error *err)
{
    const saeuron_host host = { .progress = show_maps };
    measure_options p = { 0 };
    map_source  s = { .rows = 0 };
    measurement m;
    if (folders.count != 1)
        return fail(err, SAEURON_EUSAGE, folders.count
                    ? "one SAE's folder at a time; activations follow --data"
                    : "no SAE's folder is named; it goes first: saeuron measure DIR --data FILE...");
    if (!data.count)
        return fail(err, SAEURON_EUSAGE, "--data FILE... is missing: on which activations?");
    machine(&p.threads, &p.isa);
    expect(1, 0, 1);
    int code = source_open(&s, NULL, data.item, data.count, err);
    p.dir = folders.item[0];
    p.count = s.rows;
    if (!code)
        code = measure_sae(&m, &s, &host, &p, err);
    clear_line();
    if (!code)
        code = print_measurement(&m, p.dir, &s, err);
    source_close(&s);
    return code;
}

const command command_measure = {
    "measure", "DIR --data FILE...",
    "an SAE on activations it has not seen: FVU, L0, dead latents, densities",
    measure_table, &folders, .run = run_measure,
};
