/* recording.c: modules of the UNet read while sampling, and the facts of that sampling for a file's header.
 *
 *   prompts, modules --recording_run--> maps [B,N,d] of each module, step by step
 *
 * Not here: the sampling loop (saeuron.c), what is done with the maps (collect.c, statistics.c). */
#include "training/recording.h"
#include "arithmetic/rng.h"
#include "files/decimal.h"
#include "files/print.h"

#include <inttypes.h>
#include <string.h>

/* ---- parts of a run ---- */

int shard_check(shard s, saeuron_error *err)
{
    if (s.N && s.N <= IO_PARTS && s.i < s.N)
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, "a shard is I/N, I from 0 to N-1, N at most %d", IO_PARTS);
}

size_t shard_first(shard s, size_t count)
{
    return s.i * (count / s.N) + s.i * (count % s.N) / s.N;
}

/* ---- sampling with a recorder ---- */

int recording_open(recording *s, saeuron_context *x, const saeuron_generate_options *o, size_t images,
                   saeuron_error *err)
{
    int code;
    memset(s, 0, sizeof *s);
    s->x = x;
    s->g = *o;
    s->g.noise = NULL;
    s->g.tap = NULL;
    s->g.latents = NULL;
    s->ddim = x->ddim;
    s->steps = s->sampled = o->steps ? o->steps : x->default_steps;
    s->r.all = images;
    if (x->hooks)
        return fail(err, SAEURON_EUSAGE, "activations are recorded of the model as it is: "
                    "forget, steer and reconstruct nothing first");
    if ((code = saeuron_image_size(x, o, &s->W, &s->H, err)) != SAEURON_OK ||
        (code = ddim_set_timesteps(&s->ddim, s->steps, err)) != SAEURON_OK)
        return code;
    s->batch = o->batch ? o->batch : usual_batch(x, s->W, s->H);
    s->batch = s->batch < images ? s->batch : images ? images : 1;
    if (s->batch > 1024)
        return fail(err, SAEURON_EUSAGE, "the batch must be at most 1024 images");
    s->g.batch = s->batch;
    return SAEURON_OK;
}

/* The ResNet whose output the attention at hook transforms: up_blocks.1.resnets.2 of
 * up_blocks.1.attentions.2. */
static void name_input(char out[96], const char *hook)
{
    const char *word = strstr(hook, "attentions");
    print_into(out, 96, "%.*sresnets%s", (int)(word - hook), hook, word + strlen("attentions"));
}

int recording_add(recording *s, const char *hook, bool input, saeuron_error *err)
{
    const size_t i = s->r.count, down = s->x->vae.levels - 1; /* halvings from image to latents */
    size_t level = 0, values;
    s->d[i] = unet_hook_width(&s->x->unet, hook, &level);
    s->N[i] = unet_side(s->H >> down, level) * unet_side(s->W >> down, level);
    if (input)
        name_input(s->r.module[i], hook);
    else
        print_into(s->r.module[i], sizeof s->r.module[i], "%s", hook);
    if (!nn_mul(s->batch, s->N[i] * s->d[i], &values) ||
        !(s->r.rows[i] = io_alloc(&s->x->host, values, sizeof(float))))
        return fail(err, SAEURON_ENOMEM, "no memory for the maps of %s: a smaller batch needs less", hook);
    s->r.count++;
    return SAEURON_OK;
}

int recording_run(recording *s, const char *const *prompts, size_t count, uint64_t index, saeuron_error *err)
{
    if (!count)
        return SAEURON_OK;
    s->g.prompts = prompts;
    s->g.count = count;
    s->g.noise_index = index;
    s->x->record = &s->r;
    const int code = saeuron_generate(s->x, &s->g, NULL, err); /* NULL: nothing is decoded */
    s->x->record = NULL;
    s->r.before += count;
    return code;
}

void recording_close(recording *s)
{
    for (size_t i = 0; i < s->r.count; i++)
        io_free(&s->x->host, s->r.rows[i]);
    s->r.count = 0;
}

/* ---- what was sampled ---- */

void recording_metadata(recording *s, metadata *m, size_t every)
{
    char   cfg[32];
    size_t at = 0;
    io_format_float(cfg, sizeof cfg, s->g.has_guidance ? (float)s->g.guidance : s->x->default_guidance);
    for (size_t i = 0; i < s->sampled; i += every)
        at += print_into(s->timesteps + at, sizeof s->timesteps - at, "%s%d", i ? "," : "",
                         s->ddim.timesteps[i]);
    metadata_add(m, "model", "%016" PRIx64, saeuron_model_digest(s->x));
    metadata_add(m, "seed", "%" PRIu64, s->g.seed);
    metadata_add(m, "cfg", "%s", cfg);
    metadata_add(m, "steps", "%zu", s->ddim.steps);
    metadata_text(m, "timesteps", s->timesteps);
    metadata_add(m, "size", "%zux%zu", s->W, s->H);
    metadata_text(m, "negative_prompt", s->g.negative_prompt ? s->g.negative_prompt : "");
}

uint64_t digest_prompts(uint64_t h, const char *const *prompts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        h = nn_hash(h, prompts[i], strlen(prompts[i]));
    return h;
}
