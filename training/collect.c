/* collect.c: hooks read while sampling: their activations for training an SAE, and an SAE's statistics for forgetting.
 *
 *   prompts --saeuron_generate (recorder: conditional half)--> maps [N,d] --as they are--> activations, one file a hook
 *                                                            `--sae_encode, means--> mu(c,t), one tensor a concept
 *
 * Not here: the sampler (pipeline.c), the SAE (sae.c), what statistics select (select.c), training, files' bytes (io.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released SAE/cache_activations_runner_unlearn_canvas.py,
 * scripts/gather_sae_acts_ca_prompts.py and _cls.py.
 * Letters: T sampling steps, N tokens a map, d width, n latents, k latents a token, B images at a time, c a concept. */
#include "training/collect.h"
#include "arithmetic/rng.h"
#include "files/decimal.h"
#include "forget.h"
#include "training/merge.h"
#include "training/statistics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- parts, metadata ---- */

size_t shard_first(shard s, size_t count)
{
    return s.i * (count / s.N) + s.i * (count % s.N) / s.N;
}

static int check_shard(shard s, saeuron_error *err)
{
    return s.N && s.N <= IO_PARTS && s.i < s.N ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "a shard is I/N, I from 0 to N-1, N at most %d", IO_PARTS);
}

/* Key, value, key, value, ..., NULL of a header; every number as text. */
#define PAIRS 24
typedef struct metadata {
    const char *pair[2 * PAIRS + 1];
    char   number[PAIRS][32];
    char   timesteps[6000];
    size_t n;
} metadata;

static void put_text(metadata *m, const char *key, const char *text)
{
    m->pair[2 * m->n] = key;
    m->pair[2 * m->n++ + 1] = text;
    m->pair[2 * m->n] = NULL;
}

static void put_whole(metadata *m, const char *key, uint64_t x)
{
    snprintf(m->number[m->n], sizeof m->number[0], "%" PRIu64, x);
    put_text(m, key, m->number[m->n]);
}

static void put_digest(metadata *m, const char *key, uint64_t x)
{
    snprintf(m->number[m->n], sizeof m->number[0], "%016" PRIx64, x);
    put_text(m, key, m->number[m->n]);
}

static void put_shard(metadata *m, shard s)
{
    snprintf(m->number[m->n], sizeof m->number[0], "%zu/%zu", s.i, s.N);
    put_text(m, "shard", m->number[m->n]);
}

/* What was sampled, and how: the same for both kinds of file. Of the first so many timesteps every so many-th is named. */
static void put_sampling(metadata *m, const saeuron_context *x, const saeuron_generate_options *o, const ddim *d, size_t first, size_t every, size_t W, size_t H)
{
    size_t at = 0;
    put_digest(m, "model", saeuron_model_digest(x));
    put_whole(m, "seed", o->seed);
    io_format_float(m->number[m->n], sizeof m->number[0], o->has_guidance ? (float)o->guidance : x->default_guidance);
    put_text(m, "cfg", m->number[m->n]);
    put_whole(m, "steps", d->steps);
    for (size_t i = 0; i < first; i += every)
        at += (size_t)snprintf(m->timesteps + at, sizeof m->timesteps - at, "%s%d", i ? "," : "", d->timesteps[i]);
    put_text(m, "timesteps", m->timesteps);
    snprintf(m->number[m->n], sizeof m->number[0], "%zux%zu", W, H);
    put_text(m, "size", m->number[m->n]);
    put_text(m, "negative_prompt", o->negative_prompt ? o->negative_prompt : "");
}

/* Every prompt with its end, so that none runs into the next. */
static uint64_t digest_prompts(uint64_t h, const char *const *prompts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        h = nn_hash(h, prompts[i], strlen(prompts[i]));
    return h;
}

/* ---- sampling with a recorder ---- */

/* What both kinds of recording share: the run's sizes, and where a hook's maps come to lie. */
typedef struct session {
    saeuron_context *x;
    saeuron_generate_options g;         /* of the call to come */
    recorder r;
    ddim     ddim;
    size_t   W, H, steps, batch;
    size_t   sampled;               /* of the steps, the first so many */
    size_t   N[RECORDED], d[RECORDED]; /* of each module recorded */
} session;

static int session_open(session *s, saeuron_context *x, const saeuron_generate_options *o, size_t images, saeuron_error *err)
{
    int code;
    memset(s, 0, sizeof *s);
    s->x = x;
    s->g = *o;
    s->g.noise = NULL;
    s->g.tap = NULL;
    s->g.latents = NULL;
    s->ddim = x->ddim;
    s->steps = o->steps ? o->steps : x->default_steps;
    s->r.all = images;
    if (x->hooks)
        return fail(err, SAEURON_EUSAGE, "activations are recorded of the model as it is: forget, steer and reconstruct nothing first");
    if ((code = saeuron_image_size(x, o, &s->W, &s->H, err)) != SAEURON_OK || (code = ddim_set_timesteps(&s->ddim, s->steps, err)) != SAEURON_OK)
        return code;
    s->sampled = s->steps;
    s->batch = o->batch ? o->batch : usual_batch(x, s->W, s->H);
    s->batch = s->batch < images ? s->batch : images ? images : 1;
    if (s->batch > 1024)
        return fail(err, SAEURON_EUSAGE, "the batch must be at most 1024 images");
    s->g.batch = s->batch;
    return SAEURON_OK;
}

/* Records module name of the UNet, an attention or the ResNet before it; hook is the attention. */
static int session_add(session *s, const char *name, const char *hook, saeuron_error *err)
{
    const size_t i = s->r.count;
    size_t scale = 1, values;
    s->d[i] = unet_hook_width(&s->x->unet, hook, &scale);
    s->N[i] = (s->H >> (s->x->vae.levels - 1)) / scale * ((s->W >> (s->x->vae.levels - 1)) / scale);
    snprintf(s->r.module[i], sizeof s->r.module[i], "%s", name);
    if (!nn_mul(s->batch, s->N[i] * s->d[i], &values) || !(s->r.rows[i] = io_alloc(&s->x->host, values, sizeof(float))))
        return fail(err, SAEURON_ENOMEM, "no memory for the maps of %s: a smaller --batch needs less", hook);
    s->r.count++;
    return SAEURON_OK;
}

static void session_close(session *s)
{
    for (size_t i = 0; i < s->r.count; i++)
        io_free(&s->x->host, s->r.rows[i]);
    s->r.count = 0;
}

/* Samples `count` prompts whose noise begins at index. */
static int session_run(session *s, const char *const *prompts, size_t count, uint64_t index, saeuron_error *err)
{
    int code;
    if (!count)
        return SAEURON_OK;
    s->g.prompts = prompts;
    s->g.count = count;
    s->g.noise_index = index;
    s->x->record = &s->r;
    code = saeuron_generate(s->x, &s->g, NULL, err); /* NULL: nothing is decoded */
    s->x->record = NULL;
    s->r.before += count;
    return code;
}

/* ---- activations ---- */

/* collect_run: rows of a batch wait until all its steps are there, since a prompt's rows lie together in the file. */
typedef struct collecting {
    session s;
    const collect_options *o;
    size_t  rows;                   /* of a prompt: the steps collected */
    float  *kept[RECORDED];         /* [batch,rows,N,d] a hook */
    io_out  out[RECORDED];
    tensor_out tensor[RECORDED];
    size_t  written[RECORDED];      /* values */
} collecting;

/* Row `row` of each of B prompts, to [B,rows,map], from the hook's output [B,map]; in: its input, to be taken off, or NULL. */
static void keep_maps(float *to, const float *out, const float *in, size_t B, size_t rows, size_t row, size_t map)
{
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < map; i++)
            to[(b * rows + row) * map + i] = in ? out[b * map + i] - in[b * map + i] : out[b * map + i];
}

static int keep_step(void *user, size_t step, size_t first, size_t B, saeuron_error *err)
{
    collecting *c = user;
    const size_t every = c->o->every ? c->o->every : 1;
    int code = SAEURON_OK;
    (void)first;
    for (size_t h = 0; h < c->o->hook_count && step % every == 0; h++)
        keep_maps(c->kept[h], c->s.r.rows[h], c->o->diff ? c->s.r.rows[c->o->hook_count + h] : NULL, B, c->rows, step / every, c->s.N[h] * c->s.d[h]);
    for (size_t h = 0; h < c->o->hook_count && step + 1 == c->s.sampled && !code; h++) {
        const size_t n = B * c->rows * c->s.N[h] * c->s.d[h];
        code = tensors_put(&c->out[h], &c->tensor[h], c->written[h], c->kept[h], n, err);
        c->written[h] += n;
    }
    return code;
}

/* The ResNet whose output the attention at hook transforms: "up_blocks.1.resnets.2" of "up_blocks.1.attentions.2". */
static void input_of(char out[96], const char *hook)
{
    const char *word = strstr(hook, "attentions");
    snprintf(out, 96, "%.*sresnets%s", (int)(word - hook), hook, word + strlen("attentions"));
}

static int begin_hook(collecting *c, size_t h, const char *name, size_t first, size_t count, uint64_t digest, saeuron_error *err)
{
    const collect_options *o = c->o;
    metadata m = { .n = 0 };
    size_t   values;
    c->tensor[h] = (tensor_out){ .name = "activations", .type = o->type, .ndim = 3, .shape = { count * c->rows, c->s.N[h], c->s.d[h] } };
    if (!nn_mul(c->s.batch, c->rows * c->s.N[h] * c->s.d[h], &values) || !(c->kept[h] = io_alloc(&c->s.x->host, values, sizeof(float))))
        return fail(err, SAEURON_ENOMEM, "no memory for the maps of %s: a smaller --batch needs less", name);
    put_text(&m, "format", ACTIVATIONS_FORMAT);
    put_text(&m, "hook", name);
    put_sampling(&m, c->s.x, &o->sampling, &c->s.ddim, c->s.sampled, o->every ? o->every : 1, c->s.W, c->s.H);
    put_whole(&m, "every", o->every ? o->every : 1);
    put_text(&m, "diff", o->diff ? "1" : "0");
    put_whole(&m, "first_prompt", first);
    put_whole(&m, "prompts", count);
    put_whole(&m, "all_prompts", o->sampling.count);
    put_digest(&m, "prompts_digest", digest);
    put_shard(&m, o->part);
    return tensors_begin(&c->out[h], &c->s.x->host, o->paths[h], &c->tensor[h], 1, m.pair, err);
}

static int collect(collecting *c, saeuron_error *err)
{
    const collect_options *o = c->o;
    const saeuron_generate_options *g = &o->sampling;
    const shard  after = { o->part.i + 1, o->part.N };
    const size_t first = shard_first(o->part, g->count), count = shard_first(after, g->count) - first;
    const uint64_t digest = digest_prompts(0, g->prompts, g->count);
    char name[RECORDED][96], input[96];
    int  code = session_open(&c->s, c->s.x, g, count, err);
    c->s.r.step = keep_step;
    c->s.r.user = c;
    if (!code && o->first > c->s.steps)
        code = fail(err, SAEURON_EUSAGE, "there are no %zu first steps in a sampling of %zu", o->first, c->s.steps);
    if (!code && o->first)
        c->s.sampled = c->s.r.steps = o->first;
    c->rows = (c->s.sampled + (o->every ? o->every : 1) - 1) / (o->every ? o->every : 1);
    for (size_t h = 0; h < o->hook_count && !code; h++)
        if ((code = hook_name(c->s.x, o->hooks[h], name[h], err)) == SAEURON_OK)
            code = session_add(&c->s, name[h], name[h], err);
    for (size_t h = 0; h < o->hook_count && !code; h++)
        for (size_t i = 0; i < h && !code; i++)
            if (!strcmp(name[i], name[h]))
                code = fail(err, SAEURON_EUSAGE, "hook %s is named twice", name[h]);
    for (size_t h = 0; h < o->hook_count && o->diff && !code; h++) {
        input_of(input, name[h]);
        code = session_add(&c->s, input, name[h], err);
    }
    for (size_t h = 0; h < o->hook_count && !code; h++)
        code = begin_hook(c, h, name[h], first, count, digest, err);
    if (!code)
        code = session_run(&c->s, g->prompts + first, count, g->noise_index + first, err);
    for (size_t h = 0; h < o->hook_count && !code; h++)
        code = io_out_commit(&c->out[h], err);
    return code;
}

int collect_run(saeuron_context *x, const collect_options *o, saeuron_error *err)
{
    int code = check_shard(o->part, err);
    if (!code && (!o->hook_count || o->hook_count > RECORDED / 2))
        code = fail(err, SAEURON_EUSAGE, "from 1 to %d hooks can be collected at once", RECORDED / 2);
    if (!code && (!o->sampling.prompts || !o->sampling.count))
        code = fail(err, SAEURON_EUSAGE, "there is no prompt");
    if (!code && o->type != DT_F32 && o->type != DT_F16)
        code = fail(err, SAEURON_EUSAGE, "activations are written as F32 or F16");
    if (code)
        return code;
    collecting *c = io_alloc(&x->host, 1, sizeof *c);
    if (!c)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    memset(c, 0, sizeof *c);
    c->o = o;
    c->s.x = x;
    code = collect(c, err);
    for (size_t h = 0; h < RECORDED; h++) {
        io_out_abort(&c->out[h]);
        io_free(&x->host, c->kept[h]);
    }
    session_close(&c->s);
    io_free(&x->host, c);
    return code;
}

/* ---- the maps of any prompts ---- */

struct sampler {
    session s;
    sampler_options o;
    size_t  every, rows, latent;    /* rows: of a prompt; values of one image's latents */
    float  *noise;                  /* [batch,latent] */
    const char **prompts;           /* [batch] */
    float  *to;                     /* where the maps of the call that runs go */
};

static int give_step(void *user, size_t step, size_t first, size_t B, saeuron_error *err)
{
    sampler *p = user;
    const size_t map = p->s.N[0] * p->s.d[0];
    (void)err;
    if (step % p->every == 0)
        keep_maps(p->to + first * p->rows * map, p->s.r.rows[0], p->o.diff ? p->s.r.rows[1] : NULL, B, p->rows, step / p->every, map);
    return SAEURON_OK;
}

/* Of everything that decides what is sampled, by the metadata that collect would write; then of the prompts. */
static uint64_t sampling_digest(const sampler *p, const char *hook)
{
    metadata m = { .n = 0 };
    uint64_t h = 0;
    put_text(&m, "hook", hook);
    put_sampling(&m, p->s.x, &p->o.sampling, &p->s.ddim, p->s.sampled, p->every, p->s.W, p->s.H);
    put_whole(&m, "noise_index", p->o.sampling.noise_index);
    put_text(&m, "diff", p->o.diff ? "1" : "0");
    for (size_t i = 0; i < 2 * m.n; i++)
        h = nn_hash(h, m.pair[i], strlen(m.pair[i]));
    return digest_prompts(h, p->o.sampling.prompts, p->o.sampling.count);
}

static int open_sampler(sampler *p, sampler_facts *f, saeuron_error *err)
{
    const saeuron_host *host = &p->s.x->host;
    char input[96];
    int  code;
    if ((code = session_open(&p->s, p->s.x, &p->o.sampling, p->o.sampling.count, err)) != SAEURON_OK || (code = hook_name(p->s.x, p->o.hook, f->hook, err)) != SAEURON_OK ||
        (code = session_add(&p->s, f->hook, f->hook, err)) != SAEURON_OK)
        return code;
    if (p->o.diff) {
        input_of(input, f->hook);
        if ((code = session_add(&p->s, input, f->hook, err)) != SAEURON_OK)
            return code;
    }
    p->s.r.step = give_step;
    p->s.r.user = p;
    p->rows = (p->s.steps + p->every - 1) / p->every;
    p->latent = p->s.x->unet.in_channels * (p->s.H >> (p->s.x->vae.levels - 1)) * (p->s.W >> (p->s.x->vae.levels - 1));
    p->noise = io_alloc(host, p->s.batch, p->latent * sizeof *p->noise);
    p->prompts = io_alloc(host, p->s.batch, sizeof *p->prompts);
    if (!p->noise || !p->prompts)
        return fail(err, SAEURON_ENOMEM, "no memory for the noise of %zu images", p->s.batch);
    f->prompts = p->o.sampling.count;
    f->rows = p->rows;
    f->N = p->s.N[0];
    f->d = p->s.d[0];
    f->model = saeuron_model_digest(p->s.x);
    f->digest = sampling_digest(p, f->hook);
    return SAEURON_OK;
}

int sampler_open(sampler **s, saeuron_context *x, const sampler_options *o, sampler_facts *facts, saeuron_error *err)
{
    *s = NULL;
    if (!o->sampling.prompts || !o->sampling.count || o->sampling.count > UINT32_MAX)
        return fail(err, SAEURON_EUSAGE, "there is no prompt, or more than 4,294,967,295");
    sampler *p = *s = io_alloc(&x->host, 1, sizeof *p);
    if (!p)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    memset(p, 0, sizeof *p);
    p->o = *o;
    p->s.x = x;
    p->every = o->every ? o->every : 1;
    return open_sampler(p, facts, err);
}

int sampler_maps(sampler *p, float *maps, const uint32_t *prompt, size_t count, saeuron_error *err)
{
    const size_t map = p->s.N[0] * p->s.d[0];
    int code = SAEURON_OK;
    p->s.r.all = count;
    p->s.r.before = 0;
    for (size_t i = 0, B; i < count && !code; i += B) {
        B = count - i < p->s.batch ? count - i : p->s.batch;
        for (size_t b = 0; b < B; b++) {
            const uint64_t at = p->o.sampling.noise_index + prompt[i + b];
            p->prompts[b] = p->o.sampling.prompts[prompt[i + b]];
            if (!rng_randn(p->noise + b * p->latent, p->o.sampling.seed, (at + 1) * p->latent, at * p->latent, p->latent))
                return fail(err, SAEURON_EUSAGE, "the noise index %" PRIu64 " lies beyond the stream of random numbers", at);
        }
        p->s.g.noise = p->noise;
        p->to = maps + i * p->rows * map;
        code = session_run(&p->s, p->prompts, B, 0, err);
    }
    return code;
}

void sampler_close(sampler *p)
{
    if (!p)
        return;
    const saeuron_host host = p->s.x->host;
    session_close(&p->s);
    io_free(&host, p->noise);
    io_free(&host, (void *)p->prompts);
    io_free(&host, p);
}

/* ---- concepts ---- */

#define PROMPT_BYTES 16384
enum { CONCEPT_BYTES = 95 };

/* Filled twice: once to measure (list NULL), once with memory. */
typedef struct filling {
    concept_entry *list;
    const char **prompt;
    char  *text;
    size_t concepts, prompts, bytes;
    const char *path;
} filling;

static const char *put_string(filling *f, const char *text)
{
    char *to = f->text ? f->text + f->bytes : NULL;
    f->bytes += strlen(text) + 1;
    return to ? strcpy(to, text) : NULL;
}

static int begin_concept(filling *f, const char *name, saeuron_error *err)
{
    if (!*name || strlen(name) > CONCEPT_BYTES || strchr(name, ',') || !strncmp(name, "__", 2))
        return fail(err, SAEURON_EFORMAT, "%s: \"%.100s\" cannot name a concept: choose 1 to %d bytes without commas", f->path, name, CONCEPT_BYTES);
    for (size_t i = 0; f->list && i < f->concepts; i++)
        if (!strcmp(f->list[i].name, name))
            return fail(err, SAEURON_EFORMAT, "%s: concept %s is there twice", f->path, name);
    const char *own = put_string(f, name);
    if (f->list)
        f->list[f->concepts] = (concept_entry){ .name = own, .prompts = f->prompt + f->prompts, .first = f->prompts };
    f->concepts++;
    return SAEURON_OK;
}

/* One prompt of the concept begun last: line as it stands, without white space at its ends if it is a calibration line; styled: one
 * final full stop dropped, then " in STYLE style.", STYLE's underscores being spaces (released gather_sae_acts_ca_prompts.py). */
static int add_prompt(filling *f, json line, bool strip, const char *style, saeuron_error *err)
{
    char   text[PROMPT_BYTES + 2 * CONCEPT_BYTES], *from = text;
    size_t n;
    if (!json_string(line, text, PROMPT_BYTES, &n))
        return fail(err, SAEURON_EFORMAT, "%s: a prompt is no text of fewer than %d bytes", f->path, PROMPT_BYTES);
    while (strip && n && strchr(" \t\r\n\v\f", text[n - 1]))
        text[--n] = 0;
    while (strip && *from && strchr(" \t\r\n\v\f", *from))
        from++, n--;
    if (style) {
        n -= (size_t)(n && from[n - 1] == '.');
        const int more = snprintf(from + n, 2 * CONCEPT_BYTES, " in %s style.", style);
        for (int i = 0; i < more; i++)
            from[n + (size_t)i] = (char)(from[n + (size_t)i] == '_' ? ' ' : from[n + (size_t)i]);
    }
    const char *own = put_string(f, from);
    if (f->list) {
        f->prompt[f->prompts] = own;
        f->list[f->concepts - 1].count++;
    }
    f->prompts++;
    return SAEURON_OK;
}

/* The first `lines` of an array of prompts. */
static int add_lines(filling *f, json array, const char *concept_name, size_t lines, saeuron_error *err)
{
    json   line;
    size_t n = 0;
    int    code = SAEURON_OK;
    if (json_kind(array) != '[' || !json_length(array))
        return fail(err, SAEURON_EFORMAT, "%s: concept %.95s has no list of prompts: {\"%.95s\": [\"a prompt\", ...]}", f->path, concept_name, concept_name);
    for (json_iter it = json_begin(array); !code && (!lines || n < lines) && json_next(&it, NULL, &line); n++)
        code = add_prompt(f, line, false, NULL, err);
    return code;
}

/* A file of our own: {"NAME": ["prompt", ...], ...}. */
static int fill_file(filling *f, json root, size_t lines, saeuron_error *err)
{
    json key, array;
    char name[512];
    int  code = SAEURON_OK;
    if (json_kind(root) != '{')
        return fail(err, SAEURON_EFORMAT, "%s: is no object {\"CONCEPT\": [\"a prompt\", ...], ...}", f->path);
    for (json_iter it = json_begin(root); !code && json_next(&it, &key, &array);) {
        if (!json_string(key, name, sizeof name, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: the name of concept %zu is longer than %d bytes or holds a zero", f->path, f->concepts, CONCEPT_BYTES);
        if ((code = begin_concept(f, name, err)) == SAEURON_OK)
            code = add_lines(f, array, name, lines, err);
    }
    return code;
}

/* concepts.json's domain at hook: objects take their own calibration lines, styles the first line of every object. */
static int fill_domain(filling *f, json root, const char *hook, size_t lines, saeuron_error *err)
{
    const json none = { NULL, NULL };
    json domains = none, domain = none, key, value = none, calibration = none, array, line;
    char name[512], at[96];
    bool style = false, found = false;
    int  code = SAEURON_OK;
    json_get(root, "calibration", &calibration);
    json_get(root, "domains", &domains);
    for (json_iter it = json_begin(domains); !found && json_next(&it, &key, &domain);) {
        found = json_get(domain, "hook", &value) && json_string(value, at, sizeof at, NULL) && !strcmp(strncmp(at, "unet.", 5) ? at : at + 5, hook);
        style = json_equals(key, "style");
    }
    if (!found || !calibration.at)
        return fail(err, SAEURON_EFORMAT, "%s: %s: name the concepts and their prompts with --concepts FILE", f->path,
                    found ? "it has no \"calibration\"" : "none of its \"domains\" has this hook");
    value = none;
    json_get(domain, "concepts", &value);
    for (json_iter it = json_begin(value); !code && json_next(&it, NULL, &key);) {
        if (!json_string(key, name, sizeof name, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: the name of concept %zu is no text of at most %d bytes", f->path, f->concepts, CONCEPT_BYTES);
        if ((code = begin_concept(f, name, err)) != SAEURON_OK)
            return code;
        const size_t before = f->prompts;
        if (!style && json_get(calibration, name, &array))
            for (json_iter l = json_begin(array); !code && (!lines || f->prompts - before < lines) && json_next(&l, NULL, &line);)
                code = add_prompt(f, line, true, NULL, err);
        for (json_iter o = json_begin(style ? calibration : none); !code && (!lines || f->prompts - before < lines) && json_next(&o, NULL, &array);) {
            json_iter l = json_begin(array);
            if (json_next(&l, NULL, &line))
                code = add_prompt(f, line, true, name, err);
        }
        if (!code && f->prompts == before)
            code = fail(err, SAEURON_EFORMAT, "%s: \"calibration\" has no prompts for %.95s: name them with --concepts FILE", f->path, name);
    }
    return code;
}

int concepts_open(concept_set *c, const saeuron_context *x, const char *hook, const char *path, size_t lines, saeuron_error *err)
{
    char    name[96];
    io_file file;
    json    root = x->concepts;
    filling f = { .path = path ? path : x->concepts_file.path };
    int     code;
    memset(c, 0, sizeof *c);
    if ((code = hook_name(x, hook, name, err)) != SAEURON_OK)
        return code;
    if (!path && !root.at)
        return fail(err, SAEURON_ENOENT, "%.300s/concepts.json: there is none, so name the concepts and their prompts with --concepts FILE", x->dir);
    if (path && (code = io_open(&file, &x->host, path, err)) != SAEURON_OK)
        return code;
    if (path)
        code = json_open(&root, (const char *)file.data, file.size, path, err);
    for (int pass = 0; pass < 2 && !code; pass++) { /* once to measure, once to keep */
        if (pass) {
            const size_t lists = f.concepts * sizeof(concept_entry) + f.prompts * sizeof(char *);
            if (!(c->memory = io_alloc(&x->host, lists + f.bytes, 1))) {
                code = fail(err, SAEURON_ENOMEM, "%s: no memory for its prompts", f.path);
                break;
            }
            c->list = c->memory;
            c->count = f.concepts;
            c->prompts = f.prompts;
            f = (filling){ .list = c->list, .prompt = (const char **)(void *)(c->list + f.concepts), .text = (char *)c->memory + lists, .path = f.path };
        }
        code = path ? fill_file(&f, root, lines, err) : fill_domain(&f, root, name, lines, err);
        if (!code && !f.concepts)
            code = fail(err, SAEURON_EFORMAT, "%s: there is no concept in it", f.path);
    }
    if (path)
        io_close(&file);
    if (code)
        concepts_close(c, &x->host);
    return code;
}

void concepts_close(concept_set *c, const saeuron_host *host)
{
    io_free(host, c->memory);
    memset(c, 0, sizeof *c);
}

/* ---- statistics ---- */

typedef struct counting {
    session s;
    const stats_options *o;
    sae     sae;
    nn      c;
    arena   work;
    void   *memory, *rounded, *scratch; /* the arrays below; the SAE's tensors rounded; what encoding needs */
    uint32_t *idx, *count;          /* [batch N,k], [batch N] */
    float   *val;                   /* [batch N,k] */
    float   *mean;                  /* [batch,T,n]: f averaged over a map's tokens */
    double  *token, *sum;           /* [n]; [T,n]: sum of the concept's means so far */
    double  *fired;                 /* [T,n]: the concept's tokens at which f > 0 so far */
    io_out   out, density;
    tensor_out *tensor, *share;     /* a concept each */
    size_t   now, written;          /* concept of the part, its values written */
} counting;

/* x rounded to half precision; SAEURON_ENAN where it has no such number. */
static int round_half(float *x, size_t n, const char *what, saeuron_error *err)
{
    uint16_t h;
    for (size_t i = 0; i < n; i++) {
        if (!nn_f32_to_f16(&h, x[i]))
            return fail(err, SAEURON_ENAN, "%s: element %zu is too large for half precision: make statistics without --half", what, i);
        x[i] = nn_f16_to_f32(h);
    }
    return SAEURON_OK;
}

/* AUDIT A8: the SAE's tensors as sae.to(torch.float16) has them; c->sae then points at them. W_dec is not needed. */
static int round_sae(counting *c, saeuron_error *err)
{
    sae *s = &c->sae;
    const size_t weights = s->n * s->d;
    unsigned char *w = c->rounded = io_alloc(&c->s.x->host, 2 * weights + (s->n + s->d) * sizeof(float), 1);
    if (!w)
        return fail(err, SAEURON_ENOMEM, "no memory to round the SAE at %s to half precision", c->o->hook);
    float *bias = (float *)(void *)w, *b_dec = bias + s->n, row[256];
    int    code;
    memcpy(bias, s->encoder.bias, s->n * sizeof *bias);
    memcpy(b_dec, s->b_dec, s->d * sizeof *b_dec);
    if ((code = round_half(bias, s->n, "encoder.bias", err)) != SAEURON_OK || (code = round_half(b_dec, s->d, "b_dec", err)) != SAEURON_OK)
        return code;
    w += (s->n + s->d) * sizeof(float);
    for (size_t i = 0; i < weights; i += 256) {
        const size_t some = weights - i < 256 ? weights - i : 256;
        nn_widen(row, s->encoder.w, i, some);
        if ((code = round_half(row, some, "encoder.weight", err)) != SAEURON_OK)
            return code;
        for (size_t j = 0; j < some; j++) {
            uint16_t h = 0;
            nn_f32_to_f16(&h, row[j]);
            w[2 * (i + j)] = (unsigned char)(h & 255);
            w[2 * (i + j) + 1] = (unsigned char)(h >> 8);
        }
    }
    s->encoder.w = (weight){ .data = w, .type = DT_F16 };
    s->encoder.bias = bias;
    s->b_dec = b_dec;
    return SAEURON_OK;
}

/* sae_encode where x, x - b_dec and z are each rounded to half precision (products are summed as ours are, in float: a GPU's tensor cores
 * do so, too). x [M,d] is changed. x NULL: planning. */
static int encode_half(counting *c, float *x, size_t M, saeuron_error *err)
{
    const sae *s = &c->sae;
    const size_t block = M < SAE_TOKENS ? M : SAE_TOKENS, mark = arena_mark(c->c.work);
    float *z = arena_floats(c->c.work, block * s->n);
    int    code = z ? round_half(x, M * s->d, c->o->hook, err) : SAEURON_OK;
    for (size_t m = 0; z && m < M; m++)
        for (size_t j = 0; j < s->d; j++)
            x[m * s->d + j] = x[m * s->d + j] - s->b_dec[j];
    if (z && !code)
        code = round_half(x, M * s->d, c->o->hook, err);
    for (size_t m = 0; m < M && !code; m += block) {
        const size_t tokens = M - m < block ? M - m : block;
        apply_linear(&c->c, z, x ? x + m * s->d : NULL, &s->encoder, tokens);
        if (!z)
            break;
        if ((code = round_half(z, tokens * s->n, c->o->hook, err)) != SAEURON_OK)
            break;
        for (size_t t = 0; t < tokens; t++) {
            const size_t row = (m + t) * s->k;
            c->count[m + t] = sae_top_latents(s, c->idx + row, c->val + row, z + t * s->n);
        }
    }
    arena_release(c->c.work, mark);
    return code;
}

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
    if (c->o->half)
        code = encode_half(c, c->s.r.rows[0], B * N, err);
    else
        sae_encode(&c->c, &c->sae, c->idx, c->val, c->count, c->s.r.rows[0], B * N);
    if (!code && c->work.failed)
        code = fail(err, SAEURON_ENOMEM, "the plan of the encoder's memory was too small: this is a bug");
    for (size_t b = 0; b < B && !code; b++) {
        float *mean = c->mean + (b * T + step) * n;
        token_mean(c, mean, c->fired ? c->fired + step * n : NULL, b * N);
        if (c->o->half)
            code = round_half(mean, n, c->o->hook, err);
    }
    if (code || step + 1 < T)
        return code;
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
    if (c->o->half)
        code = round_half(c->mean, values, c->o->hook, err);
    if (!code && !c->o->per_prompt)
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
    if (c->o->half)
        encode_half(c, NULL, M, err);
    else
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

#define COUNTS_BYTES 16384 /* of metadata "prompts" that stats_load reads */

/* "20" where all concepts have as many prompts, else {"Cats": 80, ...}; to be freed. NULL: no memory. */
static char *describe_counts(const saeuron_host *host, const char *const *name, const size_t *count, size_t concepts)
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

static int too_many(const char *path, saeuron_error *err)
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
    put_text(&m, "format", STATISTICS_FORMAT);
    put_text(&m, "what", o->per_prompt ? "prompts" : "means");
    put_text(&m, "hook", c->s.r.module[0]);
    put_digest(&m, "sae", c->sae.digest);
    put_sampling(&m, c->s.x, &o->sampling, &c->s.ddim, c->s.sampled, 1, c->s.W, c->s.H);
    put_text(&m, "half", o->half ? "1" : "0");
    put_digest(&m, "prompts_digest", digest);
    put_whole(&m, "all_concepts", o->concepts->count);
    put_text(&m, "prompts", prompts ? prompts : "");
    put_shard(&m, o->part);
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

/* The SAE at the hook; rounded, it is not what would be packed. */
static int open_sae(counting *c, const char *hook, saeuron_error *err)
{
    char dir[1024];
    int  code = hook_folder(c->s.x, hook, dir, err);
    if (!code)
        code = hook_sae(c->s.x, hook, dir, !c->o->half, &c->sae, err);
    return !code && c->o->half ? round_sae(c, err) : code;
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
    if ((code = session_open(&c->s, c->s.x, &o->sampling, images, err)) != SAEURON_OK || (code = hook_name(c->s.x, o->hook, name, err)) != SAEURON_OK ||
        (code = open_sae(c, name, err)) != SAEURON_OK || (code = session_add(&c->s, name, name, err)) != SAEURON_OK || (code = plan_counting(c, count, err)) != SAEURON_OK ||
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
        code = session_run(&c->s, k->prompts, k->count, o->sampling.noise_index + k->first, err);
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
    int code = check_shard(o->part, err);
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
    session_close(&c->s);
    sae_unload(&c->sae, &x->host);
    io_free(&x->host, c->memory);
    io_free(&x->host, c->scratch);
    io_free(&x->host, c->rounded);
    io_free(&x->host, c);
    return code;
}

/* ---- parts ---- */

/* An open part: its tensors in the file's order, its place among the parts. */
typedef struct part_file { tensors t; size_t *order; shard s; } part_file;

/* The metadata string `key` of a part, or "" where it has none; false when it does not fit. */
static bool meta_text(const part_file *p, const char *key, char *out, size_t size)
{
    json v;
    out[0] = 0;
    if (!json_get(p->t.metadata, key, &v) || json_string(v, out, size, NULL))
        return true;
    out[0] = 0;
    return false;
}

static int open_part(part_file *p, const saeuron_host *host, const char *path, saeuron_error *err)
{
    json v;
    char text[64], format[64];
    int  code = tensors_open(&p->t, host, path, err);
    if (code)
        return code;
    if (!(p->order = io_alloc(host, p->t.count, sizeof *p->order)))
        return fail(err, SAEURON_ENOMEM, "%s: no memory for the order of its tensors", path);
    for (size_t j = 0; j < p->t.count; j++) { /* by place; `tensors` sorts by name */
        size_t at = j;
        for (; at && p->t.list[p->order[at - 1]].data > p->t.list[j].data; at--)
            p->order[at] = p->order[at - 1];
        p->order[at] = j;
    }
    meta_text(p, "format", format, sizeof format);
    if (strcmp(format, ACTIVATIONS_FORMAT) && strcmp(format, STATISTICS_FORMAT) && (*format || !json_get(p->t.metadata, "timesteps", &v)))
        return fail(err, SAEURON_EFORMAT, "%s: holds neither activations nor statistics: merge joins what collect and stats write", path);
    meta_text(p, "shard", text, sizeof text);
    p->s = (shard){ 0, 1 };
    if (*text && !io_parse_part(text, &p->s.i, &p->s.N))
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"shard\" is \"%.40s\", not I/N", path, text);
    return SAEURON_OK;
}

/* Puts the parts in order; every one must be there, once. whole: they are no parts of one run, but runs. */
static int order_parts(part_file *p, size_t count, bool *whole, saeuron_error *err)
{
    *whole = true;
    for (size_t i = 0; i < count; i++)
        *whole &= p[i].s.N == 1;
    for (size_t i = 0; i < count && !*whole; i++) {
        if (p[i].s.N != p[0].s.N)
            return fail(err, SAEURON_EFORMAT, "%s is shard %zu/%zu, but %s is of %zu: they are of different runs", p[i].t.path, p[i].s.i, p[i].s.N, p[0].t.path, p[0].s.N);
        for (size_t j = i; j && p[j - 1].s.i >= p[j].s.i; j--) {
            if (p[j - 1].s.i == p[j].s.i)
                return fail(err, SAEURON_EFORMAT, "%s and %s are both shard %zu/%zu", p[j - 1].t.path, p[j].t.path, p[j].s.i, p[j].s.N);
            const part_file swap = p[j];
            p[j] = p[j - 1];
            p[j - 1] = swap;
        }
    }
    for (size_t i = 0; i < count && !*whole; i++)
        if (p[i].s.i != i || (i + 1 == count && count != p[0].s.N))
            return fail(err, SAEURON_EFORMAT, "shard %zu/%zu is missing: %zu parts were given, all %zu are needed", p[i].s.i != i ? i : count, p[0].s.N, count, p[0].s.N);
    return SAEURON_OK;
}

/* Keys that may differ between parts of one run: their sums and the whole's values stand in the merged file. */
static bool own_key(json key) { return json_equals(key, "shard") || json_equals(key, "prompts") || json_equals(key, "first_prompt"); }

/* Keys in which runs joined as wholes must agree, where both say something; all keys are kept where all agree. */
static bool binding_key(json key)
{
    static const char *const keys[] = { "what", "hook", "sae", "model", "cfg", "steps", "timesteps", "size", "half", "negative_prompt" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_equals(key, keys[i]))
            return true;
    return false;
}

#define META_BYTES 32768

/* Whether all parts have what the first has under key, unless the key is a part's own; *all: they do. */
static int compare_key(const part_file *p, size_t count, json key, bool whole, bool *all, char *a, char *b, saeuron_error *err)
{
    char name[64];
    *all = true;
    if (!json_string(key, name, sizeof name, NULL))
        return fail(err, SAEURON_EFORMAT, "%s: its metadata has a key longer than %zu bytes", p[0].t.path, sizeof name - 1);
    meta_text(&p[0], name, a, META_BYTES);
    for (size_t i = 1; i < count; i++) {
        meta_text(&p[i], name, b, META_BYTES);
        if (!strcmp(a, b))
            continue;
        *all = false;
        if (!own_key(key) && (!whole || (binding_key(key) && *a && *b)))
            return fail(err, SAEURON_EFORMAT, "%s: its metadata has %s \"%.60s\", but that of %s has \"%.60s\": they are of different runs", p[i].t.path, name, b, p[0].t.path, a);
    }
    return SAEURON_OK;
}

/* Prompts of one part's concept `name`, from metadata "prompts". */
static int concept_prompts(const part_file *p, const char *text, const char *name, size_t *count, saeuron_error *err)
{
    json    v, n;
    int64_t x;
    int code = json_open(&v, text, strlen(text), p->t.path, err);
    if (code)
        return code;
    if (json_kind(v) == '{' && !json_get(v, name, &n))
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" lacks concept %.80s", p->t.path, name);
    if (!json_integer(json_kind(v) == '{' ? n : v, &x) || x < 1)
        return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" must be a count of at least 1, or one for each concept", p->t.path);
    *count = (size_t)x;
    return SAEURON_OK;
}

typedef struct merging {
    const saeuron_host *host;
    const char *path;               /* of the merged file */
    part_file *part;
    size_t parts, tensors, pairs;
    bool   whole, activations;
    tensor_out *list;
    const char **name;
    size_t *counts;
    const char **pair;
    char  *text, *a, *b, *prompts;  /* the metadata's texts; room to compare two */
} merging;

/* Every part's tensors, in order: the list of the merged file. */
static int list_tensors(merging *w, saeuron_error *err)
{
    size_t at = 0, all = 0;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < w->parts; i++) {
        const part_file *p = &w->part[i];
        if (!meta_text(p, "prompts", w->a, META_BYTES))
            return fail(err, SAEURON_EFORMAT, "%s: metadata \"prompts\" is longer than %d bytes", p->t.path, META_BYTES);
        for (size_t j = 0; j < p->t.count; j++, at++) {
            const tensor *t = &p->t.list[p->order[j]], *f = w->part[0].t.count ? &w->part[0].t.list[w->part[0].order[0]] : t;
            if (t->ndim < 2 || t->ndim > 3 || (t->type != DT_F32 && t->type != DT_F16) || (w->activations && (p->t.count != 1 || strcmp(t->name, "activations"))))
                return fail(err, SAEURON_EFORMAT, "%s: tensor %.80s is nothing that collect or stats write", p->t.path, t->name);
            if (t->type != f->type || t->ndim != f->ndim || t->shape[t->ndim - 1] != f->shape[f->ndim - 1] || t->shape[t->ndim - 2] != f->shape[f->ndim - 2])
                return fail(err, SAEURON_EFORMAT, "%s: tensor %.80s has another type or shape than %s has: they are of different runs", p->t.path, t->name, w->part[0].t.path);
            w->list[at] = (tensor_out){ .name = t->name, .type = t->type, .ndim = t->ndim, .shape = { t->shape[0], t->shape[1], t->ndim == 3 ? t->shape[2] : 0 } };
            w->name[at] = t->name;
            all += t->shape[0];
            if (!w->activations && (code = concept_prompts(p, *w->a ? w->a : "1", t->name, &w->counts[at], err)) != SAEURON_OK)
                return code;
        }
        if (w->activations && !p->t.count)
            return fail(err, SAEURON_EFORMAT, "%s: tensor activations is missing", p->t.path);
    }
    w->tensors = w->activations ? 1 : at;
    if (w->activations)
        w->list[0].shape[0] = all;
    return SAEURON_OK;
}

/* The merged file's metadata: the first part's, in its order, as a whole run would have written it. */
static int merge_metadata(merging *w, saeuron_error *err)
{
    json   key, v;
    size_t at = 0, room = 0;
    bool   all;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < w->parts; i++) { /* none may have keys that the first lacks */
        json_iter it = json_begin(w->part[i].t.metadata);
        while (!w->whole && json_next(&it, &key, NULL)) {
            char name[64];
            if (json_string(key, name, sizeof name, NULL) && !json_get(w->part[0].t.metadata, name, &v))
                return fail(err, SAEURON_EFORMAT, "%s: its metadata has %s, which that of %s lacks: they are of different runs", w->part[i].t.path, name, w->part[0].t.path);
        }
    }
    room = (size_t)(w->part[0].t.metadata.end - w->part[0].t.metadata.at) + META_BYTES;
    w->pair = io_alloc(w->host, 2 * json_length(w->part[0].t.metadata) + 1, sizeof *w->pair);
    w->text = io_alloc(w->host, room, 1);
    w->prompts = w->activations ? NULL : describe_counts(w->host, w->name, w->counts, w->tensors);
    if (!w->pair || !w->text || (!w->activations && !w->prompts))
        return fail(err, SAEURON_ENOMEM, "no memory for the merged file's header");
    if (w->prompts && strlen(w->prompts) >= COUNTS_BYTES)
        return too_many(w->path, err);
    for (json_iter it = json_begin(w->part[0].t.metadata); !code && json_next(&it, &key, NULL);) {
        if ((code = compare_key(w->part, w->parts, key, w->whole, &all, w->a, w->b, err)) != SAEURON_OK)
            return code;
        const char *value = w->a;
        if (json_equals(key, "shard"))
            value = "0/1";
        else if (json_equals(key, "first_prompt"))
            value = "0";
        else if (json_equals(key, "prompts") && w->activations)
            meta_text(&w->part[0], "all_prompts", w->a, META_BYTES);
        else if (json_equals(key, "prompts"))
            value = w->prompts;
        else if (json_equals(key, "all_concepts"))
            snprintf(w->a, META_BYTES, "%zu", w->tensors);
        else if (!all)
            continue;
        w->pair[w->pairs++] = w->text + at;
        json_string(key, w->text + at, room - at, NULL);
        at += strlen(w->text + at) + 1;
        w->pair[w->pairs++] = value == w->prompts ? value : w->text + at;
        if (value != w->prompts) {
            if (at + strlen(value) + 1 > room)
                return fail(err, SAEURON_EFORMAT, "%s: its metadata is longer than its header", w->part[0].t.path);
            strcpy(w->text + at, value);
            at += strlen(value) + 1;
        }
    }
    w->pair[w->pairs] = NULL;
    return code;
}

static int merge(merging *w, const char *const *paths, saeuron_error *err)
{
    size_t all = 0;
    char   format[64];
    io_out out;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < w->parts && !code; i++) {
        code = open_part(&w->part[i], w->host, paths[i], err);
        all += w->part[i].t.count;
    }
    if (code || (code = order_parts(w->part, w->parts, &w->whole, err)) != SAEURON_OK)
        return code;
    meta_text(&w->part[0], "format", format, sizeof format);
    w->activations = !strcmp(format, ACTIVATIONS_FORMAT);
    if (w->activations && w->whole && w->parts > 1)
        return fail(err, SAEURON_EFORMAT, "%s and %s hold the activations of whole runs, no parts of one: train takes several files", w->part[0].t.path, w->part[1].t.path);
    w->list = io_alloc(w->host, all, sizeof *w->list);
    w->name = io_alloc(w->host, all, sizeof *w->name);
    w->counts = io_alloc(w->host, all, sizeof *w->counts);
    w->a = io_alloc(w->host, META_BYTES, 2);
    if (!w->list || !w->name || !w->counts || !w->a)
        return fail(err, SAEURON_ENOMEM, "no memory for the list of %zu tensors", all);
    w->b = w->a + META_BYTES;
    if ((code = list_tensors(w, err)) != SAEURON_OK || (code = merge_metadata(w, err)) != SAEURON_OK)
        return code;
    code = tensors_begin(&out, w->host, w->path, w->list, w->tensors, w->pair, err);
    for (size_t i = 0; i < w->parts && !code; i++) {
        const part_file *p = &w->part[i];
        for (size_t j = 0; j < p->t.count && !code; j++)
            code = io_out_write(&out, p->t.list[p->order[j]].data, p->t.list[p->order[j]].bytes, err);
        tensors_release(&p->t);
    }
    if (!code)
        code = io_out_commit(&out, err);
    io_out_abort(&out);
    return code;
}

int merge_parts(const saeuron_host *host, const char *const *paths, size_t count, const char *out, saeuron_error *err)
{
    merging w = { .host = host, .path = out, .parts = count };
    int code;
    if (!count)
        return fail(err, SAEURON_EUSAGE, "there is nothing to merge");
    if (!(w.part = io_alloc(host, count, sizeof *w.part)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu parts", count);
    memset(w.part, 0, count * sizeof *w.part);
    code = merge(&w, paths, err);
    for (size_t i = 0; i < count; i++) {
        tensors_close(&w.part[i].t);
        io_free(host, w.part[i].order);
    }
    io_free(host, w.part);
    io_free(host, w.list);
    io_free(host, w.name);
    io_free(host, w.counts);
    io_free(host, w.pair);
    io_free(host, w.text);
    io_free(host, w.a);
    io_free(host, w.prompts);
    return code;
}
