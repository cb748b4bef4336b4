/* run.c: a training run: batches in order, checkpoints to go on from, and the folder that is left at the end.
 *
 *   map_source --maps--> batch x [M,d] --trainer_step--> trainer --now and then--> DIR/checkpoint.safetensors
 *     trainer, after the last step --> DIR/cfg.json, sae.safetensors, train.tsv, density.tsv, train.json
 *
 * Not here: the arithmetic of a step (train.c), where maps come from and their order (source.c), densities
 * (measure.c).
 * Source: SAeUron, arXiv 2501.18052, section 4 and appendix; released scripts/train.py, SAE/trainer.py,
 * SAE/config.py.
 * Letters: N tokens of a map, d its width, M tokens of a batch.
 *
 * The checkpoint holds all of a run's state, the table of its steps too. A run that was killed does the same
 * steps again and ends in the same bytes: no file holds a time, a path or the number of threads. */
#include "training/run.h"
#include "training/measure.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHECKPOINT_FORMAT "saeuron-checkpoint-1"
#define SAE_FORMAT        "saeuron-sae-1"
#define LOG_TENSOR        "train.tsv"
#define MEASURED          1024      /* densities are counted on so many maps, the last of the last epoch */

static const char log_head[] = "step\tepoch\ttokens\tloss\tfvu\tauxk\tmulti\texplained_variance\t"
    "explained_variance_deviation\tl0\tdead\tfired\tgradient_norm\tlr\n";

typedef struct run {
    map_source *s;
    const saeuron_host *host;
    const training_options *o;
    train_config c;
    trainer *t;
    trainer_tensor state[TRAINER_TENSORS];
    size_t  maps, batches, total;   /* maps of a batch, batches of an epoch, steps of the run */
    size_t  step, saved;            /* steps done; those in the checkpoint (0: there is none) */
    float  *x;                      /* [maps N,d] */
    text_out log;                   /* train.tsv so far */
    metadata facts;                 /* what makes a run this one: of its checkpoint, SAE, summary */
    char    checkpoint[1024], sae[1024], summary[1024], config[1024], table[1024], density[1024]; /* paths */
} run;

/* ---- what makes a run ---- */

static void put_facts(run *r)
{
    metadata *f = &r->facts;
    const train_config *c = &r->c;
    metadata_text(f, "hook", r->s->hook);
    metadata_text(f, "model", r->s->model);
    metadata_add(f, "data", "%016" PRIx64, r->s->digest);
    metadata_add(f, "maps", "%zu", r->s->rows);
    metadata_add(f, "buffer", "%zu", r->s->buffer);
    metadata_add(f, "tokens_a_map", "%zu", r->s->N);
    metadata_add(f, "width", "%zu", c->d);
    metadata_add(f, "latents", "%zu", c->n);
    metadata_add(f, "k", "%zu", c->k);
    metadata_add(f, "batch", "%zu", c->batch);
    metadata_add(f, "epochs", "%zu", r->o->epochs);
    metadata_text(f, "topk", c->batch_topk ? "batch" : "token");
    metadata_add(f, "multi_topk", "%d", c->multi_topk);
    metadata_text(f, "auxk", c->released_auxk ? "released" : "paper");
    metadata_add(f, "auxk_alpha", "%g", c->auxk_alpha);
    metadata_add(f, "dead_feature_threshold", "%" PRIu64, c->dead_threshold);
    metadata_add(f, "lr", "%g", c->lr);
    metadata_add(f, "beta1", "%g", c->beta1);
    metadata_add(f, "beta2", "%g", c->beta2);
    metadata_add(f, "adam_eps", "%g", c->eps);
    metadata_add(f, "clip", "%g", c->clip);
    metadata_add(f, "seed", "%" PRIu64, c->seed);
    metadata_add(f, "log_every", "%zu", r->o->log_every);
    metadata_text(f, "dtype", io_dtype_name(r->o->type));
    metadata_add(f, "contract", "%d", SAEURON_CONTRACT_VERSION);
}

/* Refuses metadata of another run: the first fact that differs is named. */
static int compare_facts(const run *r, const tensors *t, saeuron_error *err)
{
    char text[96];
    for (size_t i = 0; i < r->facts.n; i++) {
        const char *key = r->facts.pair[2 * i], *now = r->facts.pair[2 * i + 1];
        if (!metadata_get(t->metadata, key, text, sizeof text))
            return fail(err, SAEURON_EFORMAT,
                        "%s: its metadata does not say its %s: it is not of this run; name another folder",
                        t->path, key);
        if (strcmp(text, now))
            return fail(err, SAEURON_EFORMAT,
                        "%s: was made with %s %s, but this run has %s: "
                        "give the same options and data as before, or another folder",
                        t->path, key, text, now);
    }
    return SAEURON_OK;
}

/* ---- checkpoints ---- */

/* A tensor of the trainer as one of a file. */
static tensor_out described(const trainer_tensor *t, dtype type)
{
    return (tensor_out){ .name = t->name, .type = type, .ndim = t->ndim,
                         .shape = { t->shape[0], t->ndim > 1 ? t->shape[1] : 0 } };
}

/* Progress of a checkpoint. The host's wish to stop is not heeded: whoever stops wants the checkpoint. */
static void tell_saved(const run *r, size_t done)
{
    if (r->host && r->host->progress)
        r->host->progress(r->host->user, "checkpoint", done, TRAINER_SAVED + 1);
}

/* Writes the whole state. The last checkpoint is replaced when the new one is whole: after an error it is as
 * it was. */
static int save_checkpoint(run *r, saeuron_error *err)
{
    tensor_out list[TRAINER_SAVED + 1];
    metadata f = r->facts;
    io_out out;
    int code = source_unchanged(r->s, err);
    if (code)
        return code;
    if (r->log.failed)
        return fail(err, SAEURON_ENOMEM, "%s: no memory to write it", r->table);
    for (size_t i = 0; i < TRAINER_SAVED; i++)
        list[i] = described(&r->state[i], r->state[i].type);
    list[TRAINER_SAVED] = (tensor_out){ .name = LOG_TENSOR, .type = DT_U8, .ndim = 1, .shape = { r->log.n } };
    metadata_text(&f, "format", CHECKPOINT_FORMAT);
    metadata_add(&f, "step", "%zu", r->step);
    code = tensors_begin(&out, r->host, r->checkpoint, list, TRAINER_SAVED + 1, f.pair, err);
    for (size_t i = 0; i < TRAINER_SAVED && !code; i++) {
        const trainer_tensor *t = &r->state[i];
        code = t->type == DT_F32 ? tensors_put(&out, &list[i], 0, t->data, t->count, err)
                                 : tensors_put_whole(&out, t->data, t->count, err);
        tell_saved(r, i + 1);
    }
    if (!code)
        code = io_out_write(&out, r->log.at, r->log.n, err);
    if (!code)
        code = io_out_commit(&out, err);
    io_out_abort(&out);
    if (code)
        return code;
    r->saved = r->step;
    tell_saved(r, TRAINER_SAVED + 1);
    return SAEURON_OK;
}

/* One tensor of the checkpoint into the trainer. */
static int load_tensor(const trainer_tensor *to, const tensors *t, saeuron_error *err)
{
    const tensor *from = tensors_find(t, to->name);
    if (!from || from->type != to->type || from->count != to->count || from->ndim != to->ndim ||
        from->shape[0] != to->shape[0])
        return fail(err, SAEURON_EFORMAT,
                    "%s: tensor %s is missing or of another shape: remove the file and train again", t->path,
                    to->name);
    if (to->type == DT_F32) {
        nn_widen(to->data, (weight){ .data = from->data, .type = DT_F32 }, 0, to->count);
        if (nn_first_bad(to->data, to->count) < to->count)
            return fail(err, SAEURON_ENAN, "%s: tensor %s is not finite: remove the file and train again",
                        t->path, to->name);
        for (size_t i = 0; i < to->count && !strncmp(to->name, "adam.v.", 7); i++)
            if (((const float *)to->data)[i] < 0) /* a mean of squares */
                return fail(err, SAEURON_EFORMAT,
                            "%s: tensor %s has a negative value: remove the file and train again", t->path,
                            to->name);
        return SAEURON_OK;
    }
    for (size_t i = 0; i < to->count; i++) {
        uint64_t x = 0;
        for (size_t b = 8; b-- > 0;)
            x = x << 8 | from->data[8 * i + b];
        ((uint64_t *)to->data)[i] = x;
    }
    return SAEURON_OK;
}

/* The checkpoint's step, and its table of steps into r->log: it begins with log_head and has no zero. */
static int load_steps(run *r, const tensors *t, saeuron_error *err)
{
    const uint64_t trained = *(uint64_t *)r->state[TRAINER_SAVED - 1].data;
    const tensor *log = tensors_find(t, LOG_TENSOR);
    const size_t head = sizeof log_head - 1;
    uint64_t step = 0;
    if (!metadata_uint(t->metadata, "step", &step) || !step || step > r->total || trained != step || !log ||
        log->type != DT_U8 || log->bytes < head || memcmp(log->data, log_head, head) ||
        memchr(log->data, 0, log->bytes))
        return fail(err, SAEURON_EFORMAT,
                    "%s: its step or its table of steps is not whole: remove the file and train again",
                    r->checkpoint);
    r->step = r->saved = (size_t)step;
    for (size_t at = 0, some; at < log->bytes; at += some) { /* in pieces: text_add's precision is an int */
        some = log->bytes - at < 4096 ? log->bytes - at : 4096;
        text_add(&r->log, "%.*s", (int)some, (const char *)log->data + at);
    }
    return SAEURON_OK;
}

static int load_checkpoint(run *r, saeuron_error *err)
{
    tensors t;
    int code = tensors_open(&t, r->host, r->checkpoint, err);
    if (!code && !metadata_is(t.metadata, "format", CHECKPOINT_FORMAT))
        code = fail(err, SAEURON_EFORMAT, "%s: is no checkpoint of this program: remove it and train again",
                    r->checkpoint);
    if (!code)
        code = compare_facts(r, &t, err);
    for (size_t i = 0; i < TRAINER_SAVED && !code; i++) {
        code = load_tensor(&r->state[i], &t, err);
        tensors_release(&t); /* its pages are not needed twice */
    }
    if (!code)
        code = load_steps(r, &t, err);
    tensors_close(&t);
    return code;
}

/* ---- steps ---- */

static void log_step(run *r, const training_step *s)
{
    const train_report *p = s->report;
    text_add(&r->log, "%zu\t%zu\t%zu\t%g\t%g\t%g\t%g\t%g\t%g\t%g\t%zu\t%zu\t%g\t%g\n", s->step, s->epoch,
             s->tokens, p->loss, p->fvu, p->auxk, p->multi, p->explained, p->explained_dev, p->l0, p->dead,
             p->fired, p->grad_norm, p->lr);
}

/* The next step. Its batch b is maps [b maps, (b+1) maps) of the epoch's order; the last may have fewer.
 * *stop: the watcher wants no more. */
static int one_step(run *r, bool *stop, saeuron_error *err)
{
    map_source *s = r->s;
    const size_t epoch = r->step / r->batches, first = r->step % r->batches * r->maps;
    const size_t count = s->rows - first < r->maps ? s->rows - first : r->maps;
    train_report report;
    int code = SAEURON_OK;
    for (size_t i = 0; i < count && !code; i++)
        code = source_next(s, r->x + i * s->N * s->d, first + i, err);
    if (!code && !r->step)
        code = trainer_start(r->t, r->x, count * s->N, err);
    if (!code)
        code = trainer_step(r->t, r->x, count * s->N, &report, err);
    if (code)
        return code;
    r->step++;
    const training_step now = { .step = r->step,
                                .steps = r->total,
                                .epoch = epoch + 1,
                                .epochs = r->o->epochs,
                                .tokens = (epoch * s->rows + first + count) * s->N,
                                .latents = r->c.n,
                                .report = &report };
    if ((r->step - 1) % r->o->log_every == 0 || r->step == r->total)
        log_step(r, &now);
    *stop = r->o->watch && r->o->watch(r->o->user, &now);
    return SAEURON_OK;
}

/* Ends a run that is to stop: with a checkpoint, if there was a step, and SAEURON_ECANCEL. */
static int stopped(run *r, saeuron_error *err)
{
    const int code = r->step > r->saved ? save_checkpoint(r, err) : SAEURON_OK;
    if (code)
        return code;
    if (!r->step)
        return fail(err, SAEURON_ECANCEL, "stopped before the first step");
    return fail(err, SAEURON_ECANCEL, "stopped after step %zu of %zu: resume goes on from there", r->step,
                r->total);
}

static int all_steps(run *r, saeuron_error *err)
{
    bool stop = false;
    int  code = SAEURON_OK;
    while (r->step < r->total && !code && !stop) {
        code = one_step(r, &stop, err);
        if (!code && !stop && r->step < r->total && r->step % r->o->checkpoint_every == 0)
            code = save_checkpoint(r, err);
    }
    return stop || code == SAEURON_ECANCEL ? stopped(r, err) : code;
}

/* ---- the end ---- */

/* sparsify's SaeConfig, and our own key diff. AUDIT A4: batch_topk says how the SAE was trained; at use TopK
 * is per token. */
static int save_config(const run *r, saeuron_error *err)
{
    text_out t = { .host = r->host };
    const train_config *c = &r->c;
    text_add(&t, "{\n  \"activation\": \"topk\",\n  \"expansion_factor\": %zu,\n",
             c->d <= c->n ? c->n / c->d : 1);
    text_add(&t, "  \"normalize_decoder\": true,\n  \"num_latents\": %zu,\n  \"k\": %zu,\n", c->n, c->k);
    text_add(&t, "  \"batch_topk\": %s,\n  \"sample_topk\": false,\n", c->batch_topk ? "true" : "false");
    text_add(&t, "  \"input_unit_norm\": false,\n  \"multi_topk\": %s,\n", c->multi_topk ? "true" : "false");
    if (r->s->diff)
        text_add(&t, "  \"diff\": true,\n");
    text_add(&t, "  \"d_in\": %zu\n}\n", c->d);
    return text_save(&t, r->config, err);
}

static int save_sae(const run *r, saeuron_error *err)
{
    tensor_out list[4];
    metadata f = r->facts;
    metadata_text(&f, "format", SAE_FORMAT);
    for (size_t i = 0; i < 4; i++) { /* encoder.weight, encoder.bias, W_dec, b_dec */
        list[i] = described(&r->state[i], r->o->type);
        list[i].values = r->state[i].data;
    }
    return tensors_save(r->host, r->sae, list, 4, f.pair, err);
}

static int save_summary(const run *r, const measurement *m, saeuron_error *err)
{
    text_out t = { .host = r->host };
    text_add(&t, "{");
    for (size_t i = 0; i < r->facts.n; i++) {
        const char *key = r->facts.pair[2 * i], *value = r->facts.pair[2 * i + 1];
        text_add(&t, "%s", i ? ", " : "");
        text_quote(&t, key);
        text_add(&t, ": ");
        if (value == r->facts.value[i] && strcmp(key, "data")) /* was formatted, so a number; or the digest */
            text_add(&t, "%s", value);
        else
            text_quote(&t, value);
    }
    text_add(&t, ",\n \"steps\": %zu, \"tokens\": %zu,\n \"measured\": {", r->total,
             r->s->rows * r->s->N * r->o->epochs);
    measurement_json(m, &t);
    text_add(&t, "}}\n");
    return text_save(&t, r->summary, err);
}

/* Writes the folder, the summary last; then removes the checkpoint. A run killed in between does all this
 * again. */
static int finish(run *r, saeuron_error *err)
{
    map_source *s = r->s;
    const size_t tail = source_tail(s), first = s->rows - tail > MEASURED ? s->rows - MEASURED : tail;
    const measure_options o = { .dir = r->o->dir, .first = first, .count = s->rows - first, .ordered = true,
                                .threads = r->o->threads, .isa = r->o->isa };
    measurement m;
    text_out density = { .host = r->host };
    int code;
    if (r->log.failed)
        return fail(err, SAEURON_ENOMEM, "%s: no memory to write it", r->table);
    if ((code = source_unchanged(s, err)) != SAEURON_OK ||
        (code = save_config(r, err)) != SAEURON_OK || (code = save_sae(r, err)) != SAEURON_OK ||
        (code = io_write_file(r->table, r->log.at, r->log.n, err)) != SAEURON_OK)
        return code;
    code = measure_sae(&m, s, r->host, &o, err);
    if (code)
        return code == SAEURON_ECANCEL ? stopped(r, err) : code;
    density_table(&m, &density);
    if ((code = text_save(&density, r->density, err)) != SAEURON_OK ||
        (code = save_summary(r, &m, err)) != SAEURON_OK)
        return code;
    remove(r->checkpoint);
    return SAEURON_OK;
}

/* ---- the run ---- */

static int check_options(run *r, saeuron_error *err)
{
    const training_options *o = r->o;
    const map_source *s = r->s;
    const train_config *c = &r->c;
    if (!o->epochs || !o->checkpoint_every || !o->log_every)
        return fail(err, SAEURON_EUSAGE, "epochs, checkpoint_every and log_every must be at least 1");
    if (o->type != DT_F32 && o->type != DT_F16)
        return fail(err, SAEURON_EUSAGE, "type must be F32 or F16");
    if (!c->n || !c->k || c->k > c->n)
        return fail(err, SAEURON_EUSAGE, "k %zu: must be from 1 to the number of latents, %zu", c->k, c->n);
    if (!(c->lr > 0 && c->lr <= 1))
        return fail(err, SAEURON_EUSAGE, "lr must be above 0 and at most 1");
    if (!(c->beta1 >= 0 && c->beta1 < 1 && c->beta2 >= 0 && c->beta2 < 1))
        return fail(err, SAEURON_EUSAGE, "beta1 and beta2 must be from 0 to below 1");
    if (!(c->eps > 0 && c->eps <= 1) || !(c->clip > 0 && c->clip <= 1e30))
        return fail(err, SAEURON_EUSAGE, "eps must be above 0 and at most 1, clip above 0");
    if (!(c->auxk_alpha >= 0 && c->auxk_alpha <= 1e6))
        return fail(err, SAEURON_EUSAGE, "auxk_alpha must be from 0 to a million");
    if (r->c.batch < s->N || r->c.batch % s->N)
        return fail(err, SAEURON_EUSAGE, "batch %zu: must be a multiple of the %zu tokens of a map",
                    r->c.batch, s->N);
    r->maps = r->c.batch / s->N;
    if (s->rows < r->maps)
        return fail(err, SAEURON_EUSAGE,
                    "the data has %zu maps, fewer than a batch's %zu: collect more, or give a smaller batch",
                    s->rows, r->maps);
    r->batches = (s->rows + r->maps - 1) / r->maps;
    if (!nn_mul(r->batches, o->epochs, &r->total) || !nn_mul(s->rows / r->maps, o->epochs, &r->c.steps) ||
        r->total > SIZE_MAX / r->c.batch)
        return fail(err, SAEURON_EUSAGE, "epochs %zu: too many", o->epochs);
    r->c.d = s->d;
    return SAEURON_OK;
}

static int name_files(run *r, saeuron_error *err)
{
    static const char *const names[] = {
        "checkpoint.safetensors", "sae.safetensors", TRAINING_SUMMARY, "cfg.json", "train.tsv", "density.tsv"
    };
    char *const paths[] = { r->checkpoint, r->sae, r->summary, r->config, r->table, r->density };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!io_join(paths[i], sizeof r->sae, r->o->dir, names[i]))
            return fail(err, SAEURON_EUSAGE, "dir: the path is too long");
    return SAEURON_OK;
}

/* What the folder holds already. *done: this very run, finished. */
static int look_at_folder(run *r, bool *done, saeuron_error *err)
{
    const char *const ours[] = { r->checkpoint, r->sae, r->config, r->summary };
    const char *const parts[] = { r->config, r->table, r->density };
    tensors t;
    int     code;
    *done = false;
    for (size_t i = 0; i < sizeof ours / sizeof *ours && !r->o->resume; i++)
        if (io_exists(r->host, ours[i]))
            return fail(err, SAEURON_EUSAGE,
                        "%s: is there already: resume goes on with that run; else name another folder",
                        ours[i]);
    if (io_exists(r->host, r->checkpoint) || !io_exists(r->host, r->sae))
        return SAEURON_OK;
    code = tensors_open(&t, r->host, r->sae, err);
    if (!code)
        code = compare_facts(r, &t, err);
    tensors_close(&t);
    *done = io_exists(r->host, r->summary);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && *done && !code; i++)
        if (!io_exists(r->host, parts[i]))
            code = fail(err, SAEURON_EFORMAT,
                        "%s: is missing of a finished run: put it back, or remove %s to train again",
                        parts[i], r->summary);
    return code;
}

static int run_steps(run *r, saeuron_error *err)
{
    size_t values;
    bool   done;
    int    code;
    if ((code = check_options(r, err)) != SAEURON_OK || (code = name_files(r, err)) != SAEURON_OK)
        return code;
    put_facts(r);
    if ((code = look_at_folder(r, &done, err)) != SAEURON_OK || done)
        return code;
    if ((code = trainer_open(&r->t, r->host, &r->c, r->o->threads, r->o->isa, err)) != SAEURON_OK ||
        (code = source_shuffle(r->s, r->c.seed, err)) != SAEURON_OK)
        return code;
    trainer_tensors(r->t, r->state);
    if (!nn_mul(r->maps * r->s->N, r->s->d, &values) || !(r->x = io_alloc(r->host, values, sizeof *r->x)))
        return fail(err, SAEURON_ENOMEM, "no memory for a batch of %zu tokens", r->c.batch);
    if (io_exists(r->host, r->checkpoint))
        code = load_checkpoint(r, err);
    else
        text_add(&r->log, "%s", log_head);
    if (!code)
        code = io_make_dir(r->o->dir, err);
    if (!code)
        code = all_steps(r, err);
    return code ? code : finish(r, err);
}

int training_run(map_source *s, const saeuron_host *host, const training_options *o, saeuron_error *err)
{
    run *r = io_alloc(host, 1, sizeof *r);
    if (!r)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    memset(r, 0, sizeof *r);
    r->s = s;
    r->host = host;
    r->o = o;
    r->c = o->config;
    r->log.host = host;
    const int code = run_steps(r, err);
    trainer_close(r->t);
    text_free(&r->log);
    io_free(host, r->x);
    io_free(host, r);
    return code;
}
