/* lesson.c: the training that rivals share (lesson.h).
 *
 * Trained are, as published: xattn everything of attn2; noxattn everything but attn2, the time embedding and
 * what follows the last block; full everything; kv the keys and values of attn2.
 *
 * Not here: passes and steps (student.c), sampling (saeuron.c). Letters: n values of the latents. */
#include "rivals/lesson.h"
#include "arithmetic/rng.h"

#include <string.h>

static bool is_xattn(const char *name) { return strstr(name, ".attn2.") != NULL; }
static bool is_other(const char *name)
{
    return !is_xattn(name) && strncmp(name, "time_embedding", 14) && strncmp(name, "conv_norm_out", 13) &&
           strncmp(name, "conv_out", 8);
}
static bool is_any(const char *name) { return *name != 0; }
static bool is_kv(const char *name) { return strstr(name, ".attn2.to_k.") || strstr(name, ".attn2.to_v."); }

const char *const trained_names[TRAINABLE] = { "xattn", "noxattn", "full", "kv" };

/* ---- opening ---- */

static int read_texts(lesson *l, saeuron_error *err)
{
    int code = saeuron_encode_text(l->x, "", l->none, err);
    for (size_t i = 0; i < l->o->erased && !code; i++)
        code = saeuron_encode_text(l->x, l->o->erase[i], l->states + i * l->text, err);
    return code;
}

int lesson_open(lesson *l, saeuron_context *x, const lesson_options *o, const char *name, bool averaged,
                saeuron_error *err)
{
    static bool (*const trained[TRAINABLE])(const char *) = { is_xattn, is_other, is_any, is_kv };
    const saeuron_generate_options usual = { .count = 1 };
    size_t W, H;
    *l = (lesson){ .x = x, .o = o, .name = name, .ddim = x->ddim,
                   .text = saeuron_text_length(x) * saeuron_text_width(x),
                   .adam = { .lr = o->lr, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 },
                   .stream = nn_hash(0, name, strlen(name)) };
    int code = saeuron_image_size(x, &usual, &W, &H, err);
    if (!code && !o->erased)
        code = fail(err, SAEURON_EUSAGE, "there is no concept to erase");
    if (!code)
        code = ddim_set_timesteps(&l->ddim, o->steps ? o->steps : x->default_steps, err);
    if (code)
        return code;
    l->h = H / vae_scale(&x->vae);
    l->w = W / vae_scale(&x->vae);
    l->n = x->unet.in_channels * l->h * l->w;
    if (!(l->none = io_alloc(&x->host, times(l->text, o->erased + 1) + 4 * l->n, sizeof *l->none)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu texts", o->erased);
    l->states = l->none + l->text;
    l->latents = l->states + o->erased * l->text;
    l->noise = l->latents + l->n;
    l->e0 = l->noise + l->n;
    l->ec = l->e0 + l->n;
    code = read_texts(l, err);
    return code ? code : student_open(&l->s, x, l->h, l->w, trained[o->trained], averaged, err);
}

void lesson_close(lesson *l)
{
    student_close(l->s);
    io_free(&l->x->host, l->none);
    l->s = NULL;
    l->none = NULL;
}

/* ---- an iteration's parts ---- */

size_t lesson_below(lesson *l, size_t n) { return rng_below(l->o->seed, l->stream, l->drawn++, n); }

/* A recorder's, who is here for its number of steps alone. */
static int record_nothing(void *user, size_t step, size_t first, size_t B, saeuron_error *err)
{
    (void)user, (void)step, (void)first, (void)B, (void)err;
    return SAEURON_OK;
}

int lesson_noise(lesson *l, saeuron_error *err)
{
    if (rng_randn(l->noise, rng_value(l->o->seed, l->stream, l->drawn++) >> 32, l->n, 0, l->n))
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, "latents of %zu values are too few for torch.randn's stream", l->n);
}

int lesson_sample(lesson *l, int by, size_t i, size_t k, saeuron_error *err)
{
    static const char *const prompt = "";
    const recorder first_steps = { .step = record_nothing, .steps = k };
    const saeuron_generate_options g = {
        .prompts = &prompt, .count = 1, .noise = l->noise, .steps = l->ddim.steps, .guidance = l->o->start,
        .has_guidance = 1, .latents = l->latents, .prompt_embeds = l->states + i * l->text,
        .negative_prompt_embeds = l->none,
    };
    int (*const progress)(void *, const char *, size_t, size_t) = l->x->host.progress;
    int code = lesson_noise(l, err);
    memcpy(l->latents, l->noise, l->n * sizeof *l->latents);
    if (code || !k)
        return code;
    l->x->host.progress = NULL; /* it is the training's */
    l->x->record = &first_steps;
    student_swap(l->s, by);
    code = saeuron_generate(l->x, &g, NULL, err);
    student_swap(l->s, BY_MODEL);
    l->x->record = NULL;
    l->x->host.progress = progress;
    return code;
}

/* ---- all of it ---- */

int lesson_teach(lesson *l, int (*iterate)(lesson *l, size_t i, double *loss, saeuron_error *err),
                 saeuron_error *err)
{
    enum { EVERY = 50 };
    const saeuron_host *host = &l->x->host;
    double sum = 0, loss = 0;
    int    code = SAEURON_OK;
    for (size_t i = 0; i < l->o->iterations && !code; i++) {
        optimizer_step(&l->adam);
        code = iterate(l, i, &loss, err);
        sum += loss;
        if (!code && l->o->told && (i + 1) % EVERY == 0) {
            l->o->told(l->o->user, i + 1, sum / (double)EVERY);
            sum = 0;
        }
        if (!code && host->progress && host->progress(host->user, "training", i + 1, l->o->iterations))
            code = fail(err, SAEURON_ECANCEL, "stopped: nothing was written");
    }
    return code;
}

int lesson_save(const lesson *l, int by, const char *dir, metadata *said, saeuron_error *err)
{
    metadata_text(said, "format", "pt");
    metadata_text(said, "rival", l->name);
    metadata_text(said, "trained", trained_names[l->o->trained]);
    metadata_add(said, "iterations", "%zu", l->o->iterations);
    metadata_add(said, "lr", "%g", l->o->lr);
    metadata_add(said, "start_guidance", "%g", l->o->start);
    return student_save(l->s, by, dir, said->pair, err);
}
