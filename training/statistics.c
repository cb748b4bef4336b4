/* statistics.c: how an SAE's latents fire on each concept, step by step, measured while sampling.
 *
 *   maps [N,d] --sae_encode--> f [N,n] --mean over tokens--> [n] --mean over prompts--> mu(c,t) [n]
 *
 * Not here: the sampling (recording.c), the SAE (sae.c), what statistics select (select.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released scripts/gather_sae_acts_ca_prompts.py and _cls.py.
 * Letters: B images at a time, T sampling steps, N tokens of a map, d its width, n latents, k latents a
 * token, c a concept, t a step. AUDIT A8: all in float32, where the released code is in half precision. */
#include "training/statistics.h"
#include "arithmetic/rng.h"
#include "forget.h"

#include <inttypes.h>
#include <string.h>

typedef struct counting {
    recording s;
    const stats_options *o;
    sae      sae;
    nn       c;
    arena    work;
    void    *memory, *scratch;      /* the arrays below; what encoding needs */
    uint32_t *idx, *count;          /* [B N,k], [B N]: f of a batch at a step, as sae_encode writes it */
    float   *val;                   /* [B N,k] */
    double  *token;                 /* [n]: sums over a map's tokens */
    float   *mean;                  /* [B,T,n]: f averaged over a map's tokens */
    double  *sum;                   /* [T,n]: sum of these over the concept's prompts so far */
    double  *fired;                 /* [T,n]: its tokens at which f > 0 so far; NULL: not asked for */
    io_out   out, density;
    tensor_out *tensor, *share;     /* a concept each: of out, of density */
    size_t  *prompts;               /* of each concept */
    size_t   now, written;          /* the concept that is sampled; its values written */
} counting;

/* ---- the arithmetic ---- */

/* EQ 28: y[i] = (1/N) sum_m f[m,i] of the map whose tokens are first .. first + N - 1 of the batch: a
 * latent's sum is one double from +0, tokens ascending; divided by N; rounded to float once (contract 5).
 * fired [n], if not NULL, counts the tokens at which f > 0. */
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

/* After each step of a batch. After the last its prompts, ascending, join the concept's sum. */
static int count_step(void *user, size_t step, size_t first, size_t B, saeuron_error *err)
{
    counting *c = user;
    const size_t n = c->sae.n, T = c->s.steps, N = c->s.N[0];
    (void)first;
    sae_encode(&c->c, &c->sae, c->idx, c->val, c->count, c->s.r.rows[0], B * N);
    if (c->work.failed)
        return fail(err, SAEURON_ENOMEM, "the plan of the encoder's memory was too small: this is a bug");
    for (size_t b = 0; b < B; b++)
        token_mean(c, c->mean + (b * T + step) * n, c->fired ? c->fired + step * n : NULL, b * N);
    if (step + 1 < T)
        return SAEURON_OK;
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < T * n; i++)
            c->sum[i] += (double)c->mean[b * T * n + i];
    if (!c->o->per_prompt)
        return SAEURON_OK;
    c->written += B * T * n;
    return tensors_put(&c->out, &c->tensor[c->now], c->written - B * T * n, c->mean, B * T * n, err);
}

/* EQ 28: mu(c,t) = sum / prompts, in double, rounded to float once; density = fired / (prompts N), too. */
static int end_concept(counting *c, size_t prompts, saeuron_error *err)
{
    const size_t values = c->s.steps * c->sae.n;
    int code = SAEURON_OK;
    for (size_t i = 0; i < values; i++) /* c->mean is free: all batches are summed */
        c->mean[i] = (float)(c->sum[i] / (double)prompts);
    if (!c->o->per_prompt)
        code = tensors_put(&c->out, &c->tensor[c->now], 0, c->mean, values, err);
    for (size_t i = 0; i < values && c->fired; i++)
        c->mean[i] = (float)(c->fired[i] / ((double)prompts * (double)c->s.N[0]));
    if (!code && c->fired)
        code = tensors_put(&c->density, &c->share[c->now], 0, c->mean, values, err);
    return code;
}

/* ---- a run ---- */

/* Memory for everything but the maps: arrays in one block, the encoder's scratch in another. */
static int plan_counting(counting *c, size_t concepts, saeuron_error *err)
{
    const sae *s = &c->sae;
    const size_t T = c->s.steps, M = c->s.batch * c->s.N[0];
    size_t bytes;
    c->work = (arena){ 0 };
    if (!nn_init(&c->c, c->s.x->host.isa, c->s.x->threads, &c->work))
        return fail(err, SAEURON_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU",
                    c->s.x->host.isa);
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
        c->prompts = arena_bytes(&a, concepts, sizeof(size_t));
        if (pass)
            break;
        c->scratch = c->work.failed ? NULL : io_alloc(&c->s.x->host, bytes, 1);
        c->work = (arena){ .base = c->scratch, .size = bytes };
        bytes = a.peak + 64;
        c->memory = a.failed ? NULL : io_alloc(&c->s.x->host, bytes, 1);
        if (!c->memory || !c->scratch)
            return fail(err, SAEURON_ENOMEM,
                        "no memory for statistics of %zu latents and %zu steps: a smaller batch needs less",
                        s->n, T);
    }
    return SAEURON_OK;
}

#define PROMPTS_BYTES 16384 /* of metadata "prompts" that stats_load reads */

int describe_prompts(text_out *t, const char *path, const tensor_out *list, const size_t *prompts,
                     size_t concepts, saeuron_error *err)
{
    bool alike = true;
    for (size_t i = 0; i < concepts; i++)
        alike &= prompts[i] == prompts[0];
    if (alike)
        text_add(t, "%zu", concepts ? prompts[0] : 0);
    for (size_t i = 0; i < concepts && !alike; i++) {
        text_add(t, i ? ", " : "{");
        text_quote(t, list[i].name);
        text_add(t, ": %zu%s", prompts[i], i + 1 < concepts ? "" : "}");
    }
    if (t->failed)
        return fail(err, SAEURON_ENOMEM, "%s: no memory for its header", path);
    if (t->n >= PROMPTS_BYTES)
        return fail(err, SAEURON_EUSAGE,
                    "%s: too many concepts of unequal numbers of prompts for its header: "
                    "give all as many prompts (lines)", path);
    return SAEURON_OK;
}

/* Of all parts' concepts: names and prompts. */
static uint64_t digest_concepts(const concept_set *c)
{
    uint64_t h = 0;
    for (const concept_entry *e = c->list; e < c->list + c->count; e++)
        h = digest_prompts(nn_hash(h, e->name, strlen(e->name)), e->prompts, e->count);
    return h;
}

/* The headers of both files, for the count concepts of list. */
static int begin_files(counting *c, const concept_entry *list, size_t count, saeuron_error *err)
{
    const stats_options *o = c->o;
    const saeuron_host *host = &c->s.x->host;
    const size_t T = c->s.steps, n = c->sae.n;
    metadata m = { .n = 0 };
    text_out prompts = { .host = host };
    int code;
    for (size_t i = 0; i < count; i++) {
        c->prompts[i] = list[i].count;
        c->share[i] = c->tensor[i] = (tensor_out){
            .name = list[i].name, .type = o->type, .ndim = 2, .shape = { T, n }
        };
        c->share[i].type = DT_F32;
        if (o->per_prompt)
            c->tensor[i] = (tensor_out){ .name = list[i].name, .type = o->type, .ndim = 3,
                                         .shape = { list[i].count, T, n } };
    }
    code = describe_prompts(&prompts, o->path, c->tensor, c->prompts, count, err);
    metadata_text(&m, "format", STATISTICS_FORMAT);
    metadata_text(&m, "what", o->per_prompt ? "prompts" : "means");
    metadata_text(&m, "hook", c->s.r.module[0]);
    metadata_add(&m, "sae", "%016" PRIx64, c->sae.digest);
    recording_metadata(&c->s, &m, 1);
    metadata_text(&m, "half", "0"); /* always: so files keep their bytes (docs/formats.md) */
    metadata_add(&m, "prompts_digest", "%016" PRIx64, digest_concepts(o->concepts));
    metadata_add(&m, "all_concepts", "%zu", o->concepts->count);
    metadata_text(&m, "prompts", prompts.at);
    metadata_add(&m, "shard", "%zu/%zu", o->part.i, o->part.N);
    if (!code)
        code = tensors_begin(&c->out, host, o->path, c->tensor, count, m.pair, err);
    m.pair[3] = "density"; /* "what" */
    if (!code && o->density)
        code = tensors_begin(&c->density, host, o->density, c->share, count, m.pair, err);
    text_free(&prompts);
    return code;
}

static int open_sae(counting *c, const char *hook, saeuron_error *err)
{
    char dir[1024];
    const int code = hook_folder(c->s.x, hook, dir, err);
    return code ? code : hook_sae(c->s.x, hook, dir, &c->sae, err);
}

/* One concept: all its prompts sampled and counted, its tensors written. */
static int count_concept(counting *c, const concept_entry *e, saeuron_error *err)
{
    for (size_t i = 0; i < c->s.steps * c->sae.n; i++)
        c->sum[i] = 0;
    for (size_t i = 0; i < c->s.steps * c->sae.n && c->fired; i++)
        c->fired[i] = 0;
    c->written = 0;
    const uint64_t noise = c->o->sampling.noise_index + e->first;
    const int code = recording_run(&c->s, e->prompts, e->count, noise, err);
    return code ? code : end_concept(c, e->count, err);
}

static int count_concepts(counting *c, saeuron_error *err)
{
    const stats_options *o = c->o;
    const shard  after = { o->part.i + 1, o->part.N };
    const size_t first = shard_first(o->part, o->concepts->count);
    const size_t count = shard_first(after, o->concepts->count) - first;
    const concept_entry *list = o->concepts->list + first;
    size_t images = 0;
    char   name[96];
    int    code;
    for (size_t i = 0; i < count; i++)
        images += list[i].count;
    if ((code = recording_open(&c->s, c->s.x, &o->sampling, images, err)) != SAEURON_OK ||
        (code = hook_name(c->s.x, o->hook, name, err)) != SAEURON_OK ||
        (code = open_sae(c, name, err)) != SAEURON_OK ||
        (code = recording_add(&c->s, name, false, err)) != SAEURON_OK ||
        (code = plan_counting(c, count, err)) != SAEURON_OK ||
        (code = begin_files(c, list, count, err)) != SAEURON_OK)
        return code;
    c->s.r.step = count_step;
    c->s.r.user = c;
    for (c->now = 0; c->now < count && !code; c->now++)
        code = count_concept(c, &list[c->now], err);
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
