/* collect.c: activations recorded while sampling: into files, or into memory for training that samples.
 *
 *   prompts --recording.c--> maps [B,N,d], step by step --keep_maps--> [B,rows,N,d], a prompt's rows together
 *     --> a file a hook (collect_run), or the caller's memory (sampler_maps)
 *   prompts --text encoder--> text states [N,D], a row a prompt --> a file (collect_run)
 *
 * Not here: the recording itself (recording.c), what is trained on the maps (source.c, run.c).
 * Source: SAeUron, arXiv 2501.18052, section 4; released SAE/cache_activations_runner_unlearn_canvas.py.
 * Letters: B images at a time, N tokens of a map, d its width; rows: maps of a prompt. */
#include "training/collect.h"
#include "arithmetic/rng.h"
#include "forget.h"

#include <inttypes.h>
#include <string.h>

/* Row `row` of each of B prompts, in to [B,rows,map], from a module's output [B,map]; less its input in,
 * if not NULL. */
static void keep_maps(float *to, const float *out, const float *in, size_t B, size_t rows, size_t row,
                      size_t map)
{
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < map; i++)
            to[(b * rows + row) * map + i] = in ? out[b * map + i] - in[b * map + i] : out[b * map + i];
}

/* ---- into files ---- */

/* The rows of a batch are kept until its last step is there: a prompt's rows lie together in the file. */
typedef struct collecting {
    recording s;
    const collect_options *o;
    size_t  every, rows;
    float  *kept[RECORDED];         /* [batch,rows,N,d] a hook */
    io_out  out[RECORDED];
    tensor_out tensor[RECORDED];
    size_t  written[RECORDED];      /* values */
} collecting;

static int keep_step(void *user, size_t step, size_t first, size_t B, saeuron_error *err)
{
    collecting *c = user;
    const size_t hooks = c->o->hook_count;
    int code = SAEURON_OK;
    (void)first;
    for (size_t h = 0; h < hooks && step % c->every == 0; h++)
        keep_maps(c->kept[h], c->s.r.rows[h], c->o->diff ? c->s.r.rows[hooks + h] : NULL, B, c->rows,
                  step / c->every, c->s.N[h] * c->s.d[h]);
    for (size_t h = 0; h < hooks && step + 1 == c->s.sampled && !code; h++) {
        const size_t n = B * c->rows * c->s.N[h] * c->s.d[h];
        code = tensors_put(&c->out[h], &c->tensor[h], c->written[h], c->kept[h], n, err);
        c->written[h] += n;
    }
    return code;
}

/* Which prompts a file is of: count of them, from number first; digest: of those of all parts. */
static void describe_part(metadata *m, const collect_options *o, size_t first, size_t count, uint64_t digest)
{
    metadata_add(m, "first_prompt", "%zu", first);
    metadata_add(m, "prompts", "%zu", count);
    metadata_add(m, "all_prompts", "%zu", o->sampling.count);
    metadata_add(m, "prompts_digest", "%016" PRIx64, digest);
    metadata_add(m, "shard", "%zu/%zu", o->part.i, o->part.N);
}

/* The file of hook h: count prompts, from number first. */
static int begin_hook(collecting *c, size_t h, size_t first, size_t count, uint64_t digest,
                      saeuron_error *err)
{
    const collect_options *o = c->o;
    const char *hook = c->s.r.module[h];
    metadata m = { .n = 0 };
    size_t   values;
    c->tensor[h] = (tensor_out){ .name = "activations", .type = o->type, .ndim = 3,
                                 .shape = { count * c->rows, c->s.N[h], c->s.d[h] } };
    if (!nn_mul(c->s.batch, c->rows * c->s.N[h] * c->s.d[h], &values) ||
        !(c->kept[h] = io_alloc(&c->s.x->host, values, sizeof(float))))
        return fail(err, SAEURON_ENOMEM, "no memory for the maps of %s: a smaller batch needs less", hook);
    metadata_text(&m, "format", ACTIVATIONS_FORMAT);
    metadata_text(&m, "hook", hook);
    recording_metadata(&c->s, &m, c->every);
    metadata_add(&m, "every", "%zu", c->every);
    metadata_text(&m, "diff", o->diff ? "1" : "0");
    describe_part(&m, o, first, count, digest);
    return tensors_begin(&c->out[h], &c->s.x->host, o->paths[h], &c->tensor[h], 1, m.pair, err);
}

/* Every hook's output is recorded, then, for differences, every hook's input. */
static int add_hooks(collecting *c, saeuron_error *err)
{
    const collect_options *o = c->o;
    char name[96];
    int  code = SAEURON_OK;
    for (size_t h = 0; h < o->hook_count && !code; h++) {
        code = hook_name(c->s.x, o->hooks[h], name, err);
        for (size_t i = 0; i < h && !code; i++)
            if (!strcmp(c->s.r.module[i], name))
                code = fail(err, SAEURON_EUSAGE, "hook %s is named twice", name);
        if (!code)
            code = recording_add(&c->s, name, false, err);
    }
    for (size_t h = 0; h < o->hook_count && o->diff && !code; h++)
        code = recording_add(&c->s, c->s.r.module[h], true, err);
    return code;
}

static int collect(collecting *c, saeuron_error *err)
{
    const collect_options *o = c->o;
    const saeuron_generate_options *g = &o->sampling;
    const shard  after = { o->part.i + 1, o->part.N };
    const size_t first = shard_first(o->part, g->count), count = shard_first(after, g->count) - first;
    const uint64_t digest = digest_prompts(0, g->prompts, g->count);
    int code = recording_open(&c->s, c->s.x, g, count, err);
    c->s.r.step = keep_step;
    c->s.r.user = c;
    if (!code && o->first > c->s.steps)
        code = fail(err, SAEURON_EUSAGE, "there are no %zu first steps in a sampling of %zu", o->first,
                    c->s.steps);
    if (!code && o->first)
        c->s.sampled = c->s.r.steps = o->first;
    c->every = o->every ? o->every : 1;
    c->rows = (c->s.sampled + c->every - 1) / c->every;
    if (!code)
        code = add_hooks(c, err);
    for (size_t h = 0; h < o->hook_count && !code; h++)
        code = begin_hook(c, h, first, count, digest, err);
    if (!code)
        code = recording_run(&c->s, g->prompts + first, count, g->noise_index + first, err);
    for (size_t h = 0; h < o->hook_count && !code; h++)
        code = io_out_commit(&c->out[h], err);
    return code;
}

/* ---- text states into a file ---- */

/* The rows of prompts first .. first + count - 1, encoded one after the other; states [N,D]: scratch. */
static int put_texts(io_out *out, const tensor_out *t, saeuron_context *x, const char *const *prompts,
                     size_t count, float *states, saeuron_error *err)
{
    const size_t n = t->shape[1] * t->shape[2];
    int code = SAEURON_OK;
    for (size_t i = 0; i < count && !code; i++) {
        code = saeuron_encode_text(x, prompts[i], states, err);
        if (!code)
            code = tensors_put(out, t, i * n, states, n, err);
        if (!code && x->host.progress && x->host.progress(x->host.user, "encoding", i + 1, count))
            code = fail(err, SAEURON_ECANCEL, "stopped");
    }
    return code;
}

static int collect_texts(saeuron_context *x, const collect_options *o, saeuron_error *err)
{
    const saeuron_generate_options *g = &o->sampling;
    const shard  after = { o->part.i + 1, o->part.N };
    const size_t first = shard_first(o->part, g->count), count = shard_first(after, g->count) - first;
    const tensor_out t = { .name = "activations", .type = o->type, .ndim = 3,
                           .shape = { count, saeuron_text_length(x), saeuron_text_width(x) } };
    metadata m = { .n = 0 };
    io_out   out = { 0 };
    if (o->hook_count > 1)
        return fail(err, SAEURON_EUSAGE, "hook " TEXT_HOOK " is collected alone: nothing is sampled for it");
    if (o->diff || o->every > 1 || o->first)
        return fail(err, SAEURON_EUSAGE, "text states are of no step and have no input: leave out %s",
                    o->diff ? "diff" : o->first ? "first" : "every");
    float *states = io_alloc(&x->host, t.shape[1], t.shape[2] * sizeof *states);
    if (!states)
        return fail(err, SAEURON_ENOMEM, "no memory for the states of a text");
    metadata_text(&m, "format", ACTIVATIONS_FORMAT);
    metadata_text(&m, "hook", TEXT_HOOK);
    metadata_add(&m, "model", "%016" PRIx64, saeuron_model_digest(x));
    metadata_text(&m, "diff", "0");
    describe_part(&m, o, first, count, digest_prompts(0, g->prompts, g->count));
    int code = tensors_begin(&out, &x->host, o->paths[0], &t, 1, m.pair, err);
    if (!code)
        code = put_texts(&out, &t, x, g->prompts + first, count, states, err);
    if (!code)
        code = io_out_commit(&out, err);
    io_out_abort(&out);
    io_free(&x->host, states);
    return code;
}

int collect_run(saeuron_context *x, const collect_options *o, saeuron_error *err)
{
    int code = shard_check(o->part, err);
    if (!code && (!o->hook_count || o->hook_count > RECORDED / 2))
        code = fail(err, SAEURON_EUSAGE, "from 1 to %d hooks can be collected at once", RECORDED / 2);
    if (!code && (!o->sampling.prompts || !o->sampling.count))
        code = fail(err, SAEURON_EUSAGE, "there is no prompt");
    if (!code && o->type != DT_F32 && o->type != DT_F16)
        code = fail(err, SAEURON_EUSAGE, "activations are written as F32 or F16");
    for (size_t h = 0; h < o->hook_count && !code; h++)
        if (!strcmp(o->hooks[h], TEXT_HOOK))
            return collect_texts(x, o, err);
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
    recording_close(&c->s);
    io_free(&x->host, c);
    return code;
}

/* ---- into memory ---- */

struct sampler {
    recording s;
    sampler_options o;
    size_t  every, rows, latent;    /* latent: values of one image's latents */
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
        keep_maps(p->to + first * p->rows * map, p->s.r.rows[0], p->o.diff ? p->s.r.rows[1] : NULL, B,
                  p->rows, step / p->every, map);
    return SAEURON_OK;
}

/* Of everything that decides what is sampled: keys and values of the metadata that collect would write;
 * then the prompts. */
static uint64_t sampling_digest(sampler *p, const char *hook)
{
    metadata m = { .n = 0 };
    uint64_t h = 0;
    metadata_text(&m, "hook", hook);
    recording_metadata(&p->s, &m, p->every);
    metadata_add(&m, "noise_index", "%" PRIu64, p->o.sampling.noise_index);
    metadata_text(&m, "diff", p->o.diff ? "1" : "0");
    for (size_t i = 0; i < 2 * m.n; i++)
        h = nn_hash(h, m.pair[i], strlen(m.pair[i]));
    return digest_prompts(h, p->o.sampling.prompts, p->o.sampling.count);
}

static int open_sampler(sampler *p, sampler_facts *f, saeuron_error *err)
{
    const saeuron_host *host = &p->s.x->host;
    const size_t down = p->s.x->vae.levels - 1; /* halvings from image to latents */
    int code;
    if ((code = recording_open(&p->s, p->s.x, &p->o.sampling, p->o.sampling.count, err)) != SAEURON_OK ||
        (code = hook_name(p->s.x, p->o.hook, f->hook, err)) != SAEURON_OK ||
        (code = recording_add(&p->s, f->hook, false, err)) != SAEURON_OK ||
        (p->o.diff && (code = recording_add(&p->s, f->hook, true, err)) != SAEURON_OK))
        return code;
    p->s.r.step = give_step;
    p->s.r.user = p;
    p->rows = (p->s.steps + p->every - 1) / p->every;
    p->latent = p->s.x->unet.in_channels * (p->s.H >> down) * (p->s.W >> down);
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

int sampler_open(sampler **s, saeuron_context *x, const sampler_options *o, sampler_facts *facts,
                 saeuron_error *err)
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

/* Prompts come in any order, so the noise of each batch is made here; saeuron_generate makes that of
 * consecutive images. */
int sampler_maps(sampler *p, float *maps, const uint32_t *prompt, size_t count, saeuron_error *err)
{
    const size_t map = p->s.N[0] * p->s.d[0], n = p->latent;
    int code = SAEURON_OK;
    p->s.r.all = count;
    p->s.r.before = 0;
    for (size_t i = 0, B; i < count && !code; i += B) {
        B = count - i < p->s.batch ? count - i : p->s.batch;
        for (size_t b = 0; b < B; b++) {
            const uint64_t at = p->o.sampling.noise_index + prompt[i + b];
            p->prompts[b] = p->o.sampling.prompts[prompt[i + b]];
            if (!rng_randn(p->noise + b * n, p->o.sampling.seed, (at + 1) * n, at * n, n))
                return fail(err, SAEURON_EUSAGE,
                            "the noise index %" PRIu64 " lies beyond the stream of random numbers", at);
        }
        p->s.g.noise = p->noise;
        p->to = maps + i * p->rows * map;
        code = recording_run(&p->s, p->prompts, B, 0, err);
    }
    return code;
}

void sampler_close(sampler *p)
{
    if (!p)
        return;
    const saeuron_host host = p->s.x->host;
    recording_close(&p->s);
    io_free(&host, p->noise);
    io_free(&host, (void *)p->prompts);
    io_free(&host, p);
}
