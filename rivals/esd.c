/* esd.c: ESD (esd.h).
 *
 *   text c, k of S steps by the student, guided --> x at timestep t
 *   the model: e0 = UNet(x, t, ""), ec = UNet(x, t, c) --> target = e0 - eta (ec - e0)
 *   the student: mean (UNet'(x, t, c) - target)^2 --AdamW without decay, which is Adam--> a step on
 *
 * Trained are, as published: xattn (ESD-x, for styles) everything of attn2; noxattn (ESD-u, for objects)
 * everything but attn2, the time embedding and what follows the last block; full everything.
 *
 * Where published code parts from the paper: eta is 1 and 1,000 iterations of rate 1e-5 in the paper's code,
 * 2 and 200 of 5e-5 in that of 2025; there the model itself samples, not the student. The paper's code draws
 * t between two steps of the sampler; here, as in 2025, t is the sampler's next.
 *
 * Not here: passes and steps (student.c), sampling (saeuron.c). Letters: n values of the latents, S steps. */
#include "rivals/esd.h"
#include "arithmetic/rng.h"
#include "files/metadata.h"
#include "rivals/student.h"

#include <string.h>

typedef struct lesson {
    saeuron_context *x;
    const esd_options *o;
    student *s;
    optimizer adam;
    ddim     ddim;                  /* with the run's steps */
    size_t   h, w, n, text;         /* text: values of a text's states */
    float   *states, *none;         /* [erased,N,D], [N,D] */
    float   *latents, *noise, *e0, *ec; /* [n] */
    uint64_t stream, drawn;
} lesson;

static bool is_xattn(const char *name) { return strstr(name, ".attn2.") != NULL; }
static bool is_other(const char *name)
{
    return !is_xattn(name) && strncmp(name, "time_embedding", 14) && strncmp(name, "conv_norm_out", 13) &&
           strncmp(name, "conv_out", 8);
}
static bool is_any(const char *name) { return *name != 0; }

static size_t below(lesson *l, size_t n)
{
    return (size_t)((rng_value(l->o->seed, l->stream, l->drawn++) >> 32) * (uint64_t)n >> 32);
}

/* A recorder's, who is here for its number of steps alone. */
static int record_nothing(void *user, size_t step, size_t first, size_t B, saeuron_error *err)
{
    (void)user, (void)step, (void)first, (void)B, (void)err;
    return SAEURON_OK;
}

/* latents = x after k of the sampler's steps, by the student, for text number i. */
static int sample(lesson *l, size_t i, size_t k, saeuron_error *err)
{
    static const char *const prompt = "";
    const recorder first_steps = { .step = record_nothing, .steps = k };
    const saeuron_generate_options g = {
        .prompts = &prompt, .count = 1, .noise = l->noise, .steps = l->ddim.steps, .guidance = l->o->start,
        .has_guidance = 1, .latents = l->latents, .prompt_embeds = l->states + i * l->text,
        .negative_prompt_embeds = l->none,
    };
    int (*const progress)(void *, const char *, size_t, size_t) = l->x->host.progress;
    if (!rng_randn(l->noise, rng_value(l->o->seed, l->stream, l->drawn++) >> 32, l->n, 0, l->n))
        return fail(err, SAEURON_EUSAGE, "latents of %zu values are too few for torch.randn's stream", l->n);
    memcpy(l->latents, l->noise, l->n * sizeof *l->latents);
    if (!k)
        return SAEURON_OK;
    l->x->host.progress = NULL; /* it is the training's */
    l->x->record = &first_steps;
    student_swap(l->s, true);
    const int code = saeuron_generate(l->x, &g, NULL, err);
    student_swap(l->s, false);
    l->x->record = NULL;
    l->x->host.progress = progress;
    return code;
}

/* EQ 47: one iteration; the loss before its step. */
static int iterate(lesson *l, double *loss, saeuron_error *err)
{
    const size_t i = below(l, l->o->erased), k = below(l, l->ddim.steps);
    const int    t = l->ddim.timesteps[k];
    const float *c = l->states + i * l->text, eta = (float)l->o->negative;
    int code = sample(l, i, k, err);
    if (!code)
        code = student_predict(l->s, false, l->e0, l->latents, t, l->none, err);
    if (!code)
        code = student_predict(l->s, false, l->ec, l->latents, t, c, err);
    for (size_t j = 0; j < l->n && !code; j++)
        l->ec[j] = l->e0[j] - eta * (l->ec[j] - l->e0[j]);
    optimizer_step(&l->adam);
    return code ? code : student_step(l->s, &l->adam, l->latents, t, c, l->ec, loss, err);
}

static int train(lesson *l, saeuron_error *err)
{
    enum { EVERY = 50 };
    const saeuron_host *host = &l->x->host;
    double sum = 0, loss = 0;
    int    code = SAEURON_OK;
    for (size_t i = 1; i <= l->o->iterations && !code; i++) {
        code = iterate(l, &loss, err);
        sum += loss;
        if (!code && l->o->told && i % EVERY == 0) {
            l->o->told(l->o->user, i, sum / EVERY);
            sum = 0;
        }
        if (!code && host->progress && host->progress(host->user, "training", i, l->o->iterations))
            code = fail(err, SAEURON_ECANCEL, "stopped: nothing was written");
    }
    return code;
}

static int save(const lesson *l, const char *dir, saeuron_error *err)
{
    static const char *const trained[] = { "xattn", "noxattn", "full" };
    metadata said = { .n = 0 };
    metadata_text(&said, "format", "pt");
    metadata_text(&said, "rival", "esd");
    metadata_text(&said, "trained", trained[l->o->trained]);
    metadata_add(&said, "iterations", "%zu", l->o->iterations);
    metadata_real(&said, "lr", l->o->lr);
    metadata_real(&said, "negative_guidance", l->o->negative);
    metadata_real(&said, "start_guidance", l->o->start);
    return student_save(l->s, dir, said.pair, err);
}

static int read_texts(lesson *l, saeuron_error *err)
{
    int code = saeuron_encode_text(l->x, "", l->none, err);
    for (size_t i = 0; i < l->o->erased && !code; i++)
        code = saeuron_encode_text(l->x, l->o->erase[i], l->states + i * l->text, err);
    return code;
}

int esd(saeuron_context *x, const esd_options *o, const char *dir, saeuron_error *err)
{
    static bool (*const trained[])(const char *) = { is_xattn, is_other, is_any };
    const saeuron_generate_options usual = { .count = 1 };
    lesson l = { .x = x, .o = o, .ddim = x->ddim, .text = saeuron_text_length(x) * saeuron_text_width(x),
                 .adam = { .lr = o->lr, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 },
                 .stream = nn_hash(0, "esd", 3) };
    size_t W, H;
    int code = saeuron_image_size(x, &usual, &W, &H, err);
    if (!code && !o->erased)
        code = fail(err, SAEURON_EUSAGE, "there is no concept to erase");
    if (!code)
        code = ddim_set_timesteps(&l.ddim, o->steps ? o->steps : x->default_steps, err);
    if (code)
        return code;
    l.h = H / vae_scale(&x->vae);
    l.w = W / vae_scale(&x->vae);
    l.n = x->unet.in_channels * l.h * l.w;
    l.none = io_alloc(&x->host, times(l.text, o->erased + 1) + 4 * l.n, sizeof *l.none);
    if (!l.none)
        return fail(err, SAEURON_ENOMEM, "no memory for %zu texts", o->erased);
    l.states = l.none + l.text;
    l.latents = l.states + o->erased * l.text;
    l.noise = l.latents + l.n;
    l.e0 = l.noise + l.n;
    l.ec = l.e0 + l.n;
    code = read_texts(&l, err);
    if (!code)
        code = student_open(&l.s, x, l.h, l.w, trained[o->trained], err);
    if (!code)
        code = train(&l, err);
    if (!code)
        code = save(&l, dir, err);
    student_close(l.s);
    io_free(&x->host, l.none);
    return code;
}
