/* statistics.c: how an SAE's latents fire on each concept, step by step, measured while sampling.
 *
 *   maps [N,d] --sae_encode--> latents --mean over tokens, then prompts--> mu(c,t), one tensor a concept
 *
 * Not here: the sampling itself (recording.c), the SAE (sae.c), what statistics select (select.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released scripts/gather_sae_acts_ca_prompts.py and _cls.py.
 * Letters: T sampling steps, N tokens a map, d width, n latents, k latents a token, B images at a time, c a concept. */
#include "training/statistics.h"
#include "arithmetic/rng.h"
#include "forget.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct counting {
    recording s;
    const stats_options *o;
    sae     sae;
    nn      c;
    arena   work;
    void   *memory, *scratch;       /* the arrays below; what encoding needs */
    uint32_t *idx, *count;          /* [batch N,k], [batch N] */
    float   *val;                   /* [batch N,k] */
    float   *mean;                  /* [batch,T,n]: f averaged over a map's tokens */
    double  *token, *sum;           /* [n]; [T,n]: sum of the concept's means so far */
    double  *fired;                 /* [T,n]: the concept's tokens at which f > 0 so far */
    io_out   out, density;
    tensor_out *tensor, *share;     /* a concept each */
    size_t   now, written;          /* concept of the part, its values written */
} counting;

/* y [n] = f averaged over the N tokens of a map: for each latent one double from +0, tokens ascending, divided by N, rounded to float once
 * (contract 5). fired [n], or NULL, counts tokens. */
static void token_mean(const counting *c, float *y, double *fired, size_t first)
{
    const size_t n = c->sae.n, k = c->sae.k, N = c->s.N[0];
    for (size_t i = 0; i < n; i++)
        c->token[i] = 0;
    for (size_t m = first; m < first + N; m++)
        for (size_t j = m * k; j < m * k + c->count[m]; j++) {
            c->token[c->idx[j]] += (double)c->val[j];
            if (fired)
                fired[c->idx[j]] += 1;
        }
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(c->token[i] / (double)N);
}

static int count_step(void *user, size_t step, size_t first, size_t B, saeuron_error *err)
{
    counting *c = user;
    const size_t n = c->sae.n, T = c->s.steps, N = c->s.N[0];
    int code = SAEURON_OK;
    (void)first;
    sae_encode(&c->c, &c->sae, c->idx, c->val, c->count, c->s.r.rows[0], B * N);
    if (c->work.failed)
        return fail(err, SAEURON_ENOMEM, "the plan of the encoder's memory was too small: this is a bug");
    for (size_t b = 0; b < B; b++)
        token_mean(c, c->mean + (b * T + step) * n, c->fired ? c->fired + step * n : NULL, b * N);
    if (step + 1 < T)
        return SAEURON_OK;
    for (size_t b = 0; b < B; b++) /* prompts ascending */
        for (size_t i = 0; i < T * n; i++)
            c->sum[i] += (double)c->mean[b * T * n + i];
    if (c->o->per_prompt) {
        code = tensors_put(&c->out, &c->tensor[c->now], c->written, c->mean, B * T * n, err);
        c->written += B * T * n;
    }
    return code;
}

/* Writes mu(c,.) = sum / prompts, and the share of tokens that fired; c->mean is free by now. */
static int end_concept(counting *c, size_t prompts, saeuron_error *err)
{
    const size_t values = c->s.steps * c->sae.n;
    int code = SAEURON_OK;
    for (size_t i = 0; i < values; i++)
        c->mean[i] = (float)(c->sum[i] / (double)prompts);
    if (!c->o->per_prompt)
        code = tensors_put(&c->out, &c->tensor[c->now], 0, c->mean, values, err);
    for (size_t i = 0; i < values && c->fired; i++)
        c->mean[i] = (float)(c->fired[i] / ((double)prompts * (double)c->s.N[0]));
    if (!code && c->fired)
        code = tensors_put(&c->density, &c->share[c->now], 0, c->mean, values, err);
    return code;
}

/* Memory for everything but the maps: arrays in one block, the encoder's scratch in another. */
static int plan_counting(counting *c, size_t concepts, saeuron_error *err)
{
    const sae *s = &c->sae;
    const size_t T = c->s.steps, M = c->s.batch * c->s.N[0];
    size_t bytes;
    c->work = (arena){ 0 };
    if (!nn_init(&c->c, c->s.x->host.isa, c->s.x->threads, &c->work))
        return fail(err, SAEURON_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU", c->s.x->host.isa);
    sae_encode(&c->c, s, NULL, NULL, NULL, NULL, M);
    bytes = c->work.peak + 64;
    for (int pass = 0; pass < 2; pass++) {
        arena a = { .base = c->memory, .size = c->memory ? bytes : 0 };
        c->token = arena_bytes(&a, s->n, sizeof(double));
        c->sum   = arena_bytes(&a, T * s->n, sizeof(double));
        c->fired = c->o->density ? arena_bytes(&a, T * s->n, sizeof(double)) : NULL;
        c->mean  = arena_floats(&a, c->s.batch * T * s->n);
        c->val   = arena_floats(&a, M * s->k);
        c->idx   = arena_bytes(&a, M * s->k, sizeof(uint32_t));
        c->count = arena_bytes(&a, M, sizeof(uint32_t));
        c->tensor = arena_bytes(&a, concepts, sizeof(tensor_out));
        c->share = arena_bytes(&a, concepts, sizeof(tensor_out));
        if (pass)
            break;
        c->scratch = c->work.failed ? NULL : io_alloc(&c->s.x->host, bytes, 1);
        c->work = (arena){ .base = c->scratch, .size = bytes };
        bytes = a.peak + 64;
        c->memory = a.failed ? NULL : io_alloc(&c->s.x->host, bytes, 1);
        if (!c->memory || !c->scratch)
            return fail(err, SAEURON_ENOMEM, "no memory for statistics of %zu latents and %zu steps: a smaller --batch needs less", s->n, T);
    }
    return SAEURON_OK;
}

/* "20" where all concepts have as many prompts, else {"Cats": 80, ...}; to be freed. NULL: no memory. */
char *describe_counts(const saeuron_host *host, const char *const *name, const size_t *count, size_t concepts)
{
    bool   alike = true;
    size_t at = 0, size = 64;
    for (size_t i = 0; i < concepts; i++) {
        alike &= count[i] == count[0];
        size += json_quote(NULL, 0, name[i]) + 32;
    }
    char *out = io_alloc(host, size, 1);
    if (!out)
        return NULL;
    if (alike) {
        snprintf(out, size, "%zu", concepts ? count[0] : 0);
        return out;
    }
    for (size_t i = 0; i < concepts; i++) {
        at += (size_t)snprintf(out + at, size - at, i ? ", " : "{");
        at += json_quote(out + at, size - at, name[i]);
        at += (size_t)snprintf(out + at, size - at, ": %zu", count[i]);
    }
    snprintf(out + at, size - at, "}");
    return out;
}

int too_many(const char *path, saeuron_error *err)
{
    return fail(err, SAEURON_EUSAGE, "%s: too many concepts of unequal numbers of prompts for its header: make several files", path);
}

/* The headers of both files, for concepts first .. first + count - 1. */
static int begin_statistics(counting *c, size_t first, size_t count, saeuron_error *err)
{
    const stats_options *o = c->o;
    const concept_entry *list = o->concepts->list + first;
    const saeuron_host *host = &c->s.x->host;
    metadata m = { .n = 0 };
    uint64_t digest = 0;
    const char **names = io_alloc(host, count, sizeof *names);
    size_t *counts = io_alloc(host, count, sizeof *counts);
    char   *prompts = NULL;
    int     code = SAEURON_OK;
    for (size_t i = 0; names && counts && i < count; i++) {
        names[i] = list[i].name;
        counts[i] = list[i].count;
        c->tensor[i] = (tensor_out){ .name = list[i].name, .type = o->type, .ndim = 2, .shape = { c->s.steps, c->sae.n } };
        c->share[i] = c->tensor[i];
        c->share[i].type = DT_F32;
        if (o->per_prompt)
            c->tensor[i] = (tensor_out){ .name = list[i].name, .type = o->type, .ndim = 3, .shape = { list[i].count, c->s.steps, c->sae.n } };
    }
    for (size_t i = 0; i < o->concepts->count; i++)
        digest = digest_prompts(nn_hash(digest, o->concepts->list[i].name, strlen(o->concepts->list[i].name)), o->concepts->list[i].prompts, o->concepts->list[i].count);
    if (!names || !counts || !(prompts = describe_counts(host, names, counts, count)))
        code = fail(err, SAEURON_ENOMEM, "%s: no memory for its header", o->path);
    else if (strlen(prompts) >= COUNTS_BYTES)
        code = too_many(o->path, err);
    metadata_text(&m, "format", STATISTICS_FORMAT);
    metadata_text(&m, "what", o->per_prompt ? "prompts" : "means");
    metadata_text(&m, "hook", c->s.r.module[0]);
    metadata_add(&m, "sae", "%016" PRIx64, c->sae.digest);
    recording_metadata(&c->s, &m, 1);
    metadata_text(&m, "half", "0"); /* always: files keep their bytes (docs/formats.md) */
    metadata_add(&m, "prompts_digest", "%016" PRIx64, digest);
    metadata_add(&m, "all_concepts", "%zu", o->concepts->count);
    metadata_text(&m, "prompts", prompts ? prompts : "");
    metadata_add(&m, "shard", "%zu/%zu", o->part.i, o->part.N);
    if (!code)
        code = tensors_begin(&c->out, host, o->path, c->tensor, count, m.pair, err);
    m.pair[3] = "density";
    if (!code && o->density)
        code = tensors_begin(&c->density, host, o->density, c->share, count, m.pair, err);
    io_free(host, prompts);
    io_free(host, counts);
    io_free(host, names);
    return code;
}

static int open_sae(counting *c, const char *hook, saeuron_error *err)
{
    char dir[1024];
    const int code = hook_folder(c->s.x, hook, dir, err);
    return code ? code : hook_sae(c->s.x, hook, dir, true, &c->sae, err);
}

static int count_concepts(counting *c, saeuron_error *err)
{
    const stats_options *o = c->o;
    const shard  after = { o->part.i + 1, o->part.N };
    const size_t first = shard_first(o->part, o->concepts->count), count = shard_first(after, o->concepts->count) - first;
    const concept_entry *list = o->concepts->list + first;
    size_t images = 0;
    char   name[96];
    int    code;
    for (size_t i = 0; i < count; i++)
        images += list[i].count;
    if ((code = recording_open(&c->s, c->s.x, &o->sampling, images, err)) != SAEURON_OK || (code = hook_name(c->s.x, o->hook, name, err)) != SAEURON_OK ||
        (code = open_sae(c, name, err)) != SAEURON_OK || (code = recording_add(&c->s, name, false, err)) != SAEURON_OK || (code = plan_counting(c, count, err)) != SAEURON_OK ||
        (code = begin_statistics(c, first, count, err)) != SAEURON_OK)
        return code;
    c->s.r.step = count_step;
    c->s.r.user = c;
    for (c->now = 0; c->now < count && !code; c->now++) {
        const concept_entry *k = &list[c->now];
        for (size_t i = 0; i < c->s.steps * c->sae.n; i++) {
            c->sum[i] = 0;
            if (c->fired)
                c->fired[i] = 0;
        }
        c->written = 0;
        code = recording_run(&c->s, k->prompts, k->count, o->sampling.noise_index + k->first, err);
        if (!code)
            code = end_concept(c, k->count, err);
    }
    if (!code)
        code = io_out_commit(&c->out, err);
    if (!code && o->density)
        code = io_out_commit(&c->density, err);
    return code;
}

int stats_make(saeuron_context *x, const stats_options *o, saeuron_error *err)
{
    int code = shard_check(o->part, err);
    if (!code && o->type != DT_F32 && o->type != DT_F16)
        code = fail(err, SAEURON_EUSAGE, "statistics are written as F32 or F16");
    if (!code && o->density && !strcmp(o->density, o->path))
        code = fail(err, SAEURON_EUSAGE, "%s: statistics and densities want a file each", o->path);
    if (code)
        return code;
    counting *c = io_alloc(&x->host, 1, sizeof *c);
    if (!c)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    memset(c, 0, sizeof *c);
    c->o = o;
    c->s.x = x;
    code = count_concepts(c, err);
    io_out_abort(&c->out);
    io_out_abort(&c->density);
    recording_close(&c->s);
    sae_unload(&c->sae, &x->host);
    io_free(&x->host, c->memory);
    io_free(&x->host, c->scratch);
    io_free(&x->host, c);
    return code;
}
