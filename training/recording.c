/* recording.c: hooks read while sampling: a part of a run's prompts, sampled with a recorder; and the metadata that says what was sampled.
 *
 *   prompts --session_run: saeuron_generate (recorder: conditional half)--> maps [B,N,d] of each module, step by step
 *
 * Not here: what becomes of the maps (collect.c, statistics.c). */
#include "training/recording.h"
#include "arithmetic/rng.h"
#include "files/decimal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- parts, metadata ---- */

size_t shard_first(shard s, size_t count)
{
    return s.i * (count / s.N) + s.i * (count % s.N) / s.N;
}

int check_shard(shard s, saeuron_error *err)
{
    return s.N && s.N <= IO_PARTS && s.i < s.N ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "a shard is I/N, I from 0 to N-1, N at most %d", IO_PARTS);
}

void metadata_text(metadata *m, const char *key, const char *text)
{
    m->pair[2 * m->n] = key;
    m->pair[2 * m->n++ + 1] = text;
    m->pair[2 * m->n] = NULL;
}

void metadata_whole(metadata *m, const char *key, uint64_t x)
{
    snprintf(m->number[m->n], sizeof m->number[0], "%" PRIu64, x);
    metadata_text(m, key, m->number[m->n]);
}

void metadata_digest(metadata *m, const char *key, uint64_t x)
{
    snprintf(m->number[m->n], sizeof m->number[0], "%016" PRIx64, x);
    metadata_text(m, key, m->number[m->n]);
}

void metadata_shard(metadata *m, shard s)
{
    snprintf(m->number[m->n], sizeof m->number[0], "%zu/%zu", s.i, s.N);
    metadata_text(m, "shard", m->number[m->n]);
}

/* What was sampled, and how: the same for both kinds of file. Of the first so many timesteps every so many-th is named. */
void metadata_sampling(metadata *m, const saeuron_context *x, const saeuron_generate_options *o, const ddim *d, size_t first, size_t every, size_t W, size_t H)
{
    size_t at = 0;
    metadata_digest(m, "model", saeuron_model_digest(x));
    metadata_whole(m, "seed", o->seed);
    io_format_float(m->number[m->n], sizeof m->number[0], o->has_guidance ? (float)o->guidance : x->default_guidance);
    metadata_text(m, "cfg", m->number[m->n]);
    metadata_whole(m, "steps", d->steps);
    for (size_t i = 0; i < first; i += every)
        at += (size_t)snprintf(m->timesteps + at, sizeof m->timesteps - at, "%s%d", i ? "," : "", d->timesteps[i]);
    metadata_text(m, "timesteps", m->timesteps);
    snprintf(m->number[m->n], sizeof m->number[0], "%zux%zu", W, H);
    metadata_text(m, "size", m->number[m->n]);
    metadata_text(m, "negative_prompt", o->negative_prompt ? o->negative_prompt : "");
}

/* Every prompt with its end, so that none runs into the next. */
uint64_t digest_prompts(uint64_t h, const char *const *prompts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        h = nn_hash(h, prompts[i], strlen(prompts[i]));
    return h;
}

/* ---- sampling with a recorder ---- */

int session_open(session *s, saeuron_context *x, const saeuron_generate_options *o, size_t images, saeuron_error *err)
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
int session_add(session *s, const char *name, const char *hook, saeuron_error *err)
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

void session_close(session *s)
{
    for (size_t i = 0; i < s->r.count; i++)
        io_free(&s->x->host, s->r.rows[i]);
    s->r.count = 0;
}

/* Samples `count` prompts whose noise begins at index. */
int session_run(session *s, const char *const *prompts, size_t count, uint64_t index, saeuron_error *err)
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
