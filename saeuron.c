/* pipeline.c: the public interface: a folder opened, concepts to forget, prompts to pixels.
 *
 *   prompts --tokenizer, clip--> text states --+
 *   seed --rng--> noise --> [ unet (hooks: ablate) -> guide -> ddim_step ] x T --> vae_decode --> pixels
 *   pixels --vae_encode--> moments of latents
 *
 * Not here: the networks (clip.c, unet.c, vae.c), the step (ddim.c), what an ablation does (select.c), a terminal (saeuron.c).
 * Source: diffusers StableDiffusionPipeline.__call__ (whose names for latents, noise_pred, prompt_embeds the tap reports);
 * released code utils/hooks.py for where the edit happens.
 * Letters: B images, B2 rows of the guided batch ([uncond; cond], so 2 B; B without guidance), C, h, w of the latent. */
#include "saeuron.h"
#include "arithmetic/rng.h"
#include "forget.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TEAM_ENVIRONMENT "a thread of OpenMP's pool was started under a floating-point environment that flushes subnormals or does not round to nearest: " \
                         "start the pool after restoring it, or give the context 1 thread"

enum { SMALL = 1024 }; /* pixels of a latent that count as few */

/* ---- one call of saeuron_generate ---- */

typedef struct call {
    saeuron_context *x;
    const saeuron_generate_options *o;
    nn      c;
    arena   work;
    ddim    ddim;           /* with this call's steps */
    size_t  h, w, steps, batch, first;  /* latent sides; first: number of the batch's first image */
    float   guidance;
    bool    guided;
    int     step;           /* sampling step; -1 outside the loop */
    const char *network;    /* prefix of the names that the tap reports */
    int     code;
    saeuron_error *err;
    unsigned char *rgb;     /* NULL when planning */
    bool    names;          /* the tap is only asked for: saeuron_intermediates */
    bool    pictures;       /* the latents are decoded */
    size_t  now;            /* images of the batch */
    uint16_t step_of[2 * LEVELS * LAYERS][1000]; /* row of each hook's statistics for each sampling step */
} call;

static size_t rows(const call *g, size_t B) { return g->guided ? 2 * B : B; }

/* Rows of a batch that one thread takes through a network, and what it came to. */
typedef struct part {
    call     *g;
    nn        c;
    arena     work;
    size_t    first, count; /* rows of the guided batch; in the VAE: the image of the batch */
    text_kv   kv;
    int       code;
    saeuron_error err;
} part;

/* Hands a part's error to the call. */
static void settle(call *g, const part *p)
{
    if (!p->code || g->code)
        return;
    g->code = p->code;
    if (g->err)
        *g->err = p->err;
}

/* The same of parts that ran side by side: the first error counts. */
static void settle_all(call *g, const part *p, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        settle(g, &p[i]);
        g->work.failed |= p[i].work.failed;
    }
}

/* Copies what is recorded of a module's output v [B,n]: the rows of the conditional half, each to its image's place. Threads have
 * different rows, so they write to different places. */
static int record(part *p, const char *name, const float *v, size_t B, size_t n)
{
    const call *g = p->g;
    const recorder *r = g->x->record;
    const size_t uncond = g->guided ? g->now : 0;
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->module[i], name))
            continue;
        const size_t bad = nn_first_bad(v, B * n);
        if (bad < B * n)
            return p->code = fail(&p->err, SAEURON_ENAN, "unet.%s is not finite at step %d, element %zu", name, g->step, bad);
        for (size_t row = 0; row < B; row++)
            if (p->first + row >= uncond)
                memcpy(r->rows[i] + (p->first + row - uncond) * n, v + row * n, n * sizeof *v);
    }
    return SAEURON_OK;
}

/* Sees every module's output: edits it where something is asked for at that hook, then shows it to the caller's tap.
 * v NULL: planning; the tap hears of it if it is only asked for names. */
static int seen(void *user, const char *name, float *v, size_t B, size_t H, size_t W, size_t C, int kind)
{
    part *p = user;
    const call *g = p->g;
    char full[160];
    const size_t shape[4] = { B, H, W, C };
    if (p->code || (!v && !g->names)) /* the text encoder and the VAE run to their end after a stop */
        return p->code;
    for (size_t i = 0; v && g->step >= 0 && i < g->x->hooks; i++) {
        const ablation *a = g->x->hook[i];
        if (!ablation_active(a) || strcmp(a->hook, name))
            continue;
        const size_t bad = nn_first_bad(v, B * H * W * C);
        if (bad < B * H * W * C)
            return p->code = fail(&p->err, SAEURON_ENAN, "unet.%s is not finite at step %d, element %zu", name, g->step, bad);
        ablate(&p->c, a, v, B * H * W, (size_t)g->step_of[i][g->step]);
    }
    if (v && g->step >= 0 && g->x->record && record(p, name, v, B, H * W * C))
        return p->code;
    if (!g->o->tap)
        return 0;
    snprintf(full, sizeof full, "%s%s", g->network, name);
    if (g->o->tap(g->o->tap_user, full, g->step, g->first + p->first, v, shape, kind))
        p->code = fail(&p->err, SAEURON_ECANCEL, "stopped by the caller at %s", full);
    if (!v) /* nobody looks at a part that was only planned */
        settle(p->g, p);
    return p->code;
}

/* The whole batch as one part, on the call's own scratch. */
static part whole(call *g) { return (part){ .g = g, .c = g->c }; }

/* Shows the tap what is no module's output: v [B,H,W,C]. Called when planning, too, with v NULL. */
static void show(call *g, const char *name, float *v, size_t B, size_t H, size_t W, size_t C, int kind)
{
    part all = whole(g);
    g->network = "";
    if (g->o->tap && !g->code) {
        seen(&all, name, v, B, H, W, C, kind);
        settle(g, &all);
    }
}

/* Text states of the batch [B2,N,D] into y: the negative prompt's B times, then the prompts'. What the caller has encoded is
 * taken as it is; the text encoder runs for the rest, if there is any. */
static void encode_prompts(call *g, float *y, size_t B)
{
    const size_t N = tokenizer_max_length(g->x->tokenizer), D = g->x->text.D, mark = arena_mark(g->c.work);
    const size_t negatives = g->guided && !g->o->negative_prompt_embeds ? 1 : 0, texts = negatives + (g->o->prompt_embeds ? 0 : B);
    int32_t *ids = arena_bytes(g->c.work, texts * N, sizeof *ids);
    float   *states = arena_floats(g->c.work, texts * N * D);
    part     all = whole(g);
    const tap watch = { seen, &all, g->names };

    for (size_t i = 0; ids && !g->code && i < texts; i++) {
        const bool negative = i < negatives;
        const char *text = negative ? g->o->negative_prompt ? g->o->negative_prompt : "" : g->o->prompts[g->first + i - negatives];
        g->code = tokenizer_encode(g->x->tokenizer, ids + i * N, NULL, NULL, text, g->err);
    }
    if (!g->code && texts) {
        g->network = "text_encoder.";
        clip_forward(&g->c, &g->x->text, states, ids, texts, N, g->o->tap ? &watch : NULL);
        settle(g, &all);
        if (states)
            tensors_release(&g->x->text_file); /* not needed while sampling */
    }
    for (size_t i = 0; y && states && !g->code && i < rows(g, B); i++) {
        const bool negative = g->guided && i < B;
        const size_t j = g->guided && !negative ? i - B : i; /* of the batch */
        const float *from = negative ? negatives ? states : g->o->negative_prompt_embeds
                                     : g->o->prompt_embeds ? g->o->prompt_embeds + (g->first + j) * N * D : states + (negatives + j) * N * D;
        memcpy(y + i * N * D, from, N * D * sizeof *y);
    }
    show(g, "prompt_embeds", y, rows(g, B), N, 1, D, TAP_TOKENS);
    arena_release(g->c.work, mark);
}

/* Starting latents x [B,h,w,C]: the caller's noise, or image j's place in the seed's stream. */
static int start_noise(call *g, float *x, size_t B)
{
    const size_t C = g->x->unet.in_channels, P = g->h * g->w, n = C * P, mark = arena_mark(g->c.work);
    float *flat = arena_floats(g->c.work, n);
    for (size_t i = 0; flat && i < B; i++) {
        const size_t j = g->first + i;
        const uint64_t at = g->o->noise_index + j;
        const float *from = g->o->noise ? g->o->noise + j * n : flat;
        if (!g->o->noise && !rng_randn(flat, g->o->seed, (at + 1) * n, at * n, n))
            return fail(g->err, SAEURON_EUSAGE, "an image of %zu latent values is too small for torch.randn's stream", n);
        nn_from_nchw(x + i * n, from, 1, C, P);
    }
    arena_release(g->c.work, mark);
    return SAEURON_OK;
}

/* One UNet pass of a part's rows: x to e, both [R,h,w,C]. */
static void pass_rows(part *p, float *e, const float *x)
{
    const call *g = p->g;
    const size_t n = g->h * g->w * g->x->unet.in_channels;
    const tap watch = { seen, p, g->names };
    unet_forward(&p->c, &g->x->unet, e ? e + p->first * n : NULL, x ? x + p->first * n : NULL, (float)g->ddim.timesteps[g->step < 0 ? 0 : g->step], &p->kv,
                 p->count, g->h, g->w, g->o->tap || g->x->hooks || g->x->record ? &watch : NULL);
}

/* Into how many parts the rows are split, a thread each. For a small latent, whole passes side by side meet once a step; threads that
 * share every product meet hundreds of times. A large one gives threads enough to do, and weights are packed once for all its
 * rows. A tap sees whole batches, so it gets one part. */
static size_t parts_of(const call *g, size_t R)
{
    bool watched = g->o->tap != NULL || g->h * g->w > SMALL;
    for (size_t i = 0; i < g->x->hooks; i++)
        watched |= g->x->hook[i]->observe != NULL;
    return watched || g->c.threads < 2 || R < (size_t)g->c.threads ? 1 : (size_t)g->c.threads;
}

/* Bytes of a part's scratch, by its plan. */
static size_t scratch_bytes(const arena *plan) { return plan->failed || plan->peak > SIZE_MAX - 128 ? SIZE_MAX : (plan->peak + 127) / 64 * 64; }

/* Bytes of scratch that a pass of `count` rows needs, an ablation on top. */
static size_t part_bytes(const part *like, size_t count)
{
    const call *g = like->g;
    part p = *like;
    p.work = (arena){ 0 };
    p.c.work = &p.work;
    p.first = 0;
    p.count = count;
    pass_rows(&p, NULL, NULL);
    const size_t peak = p.work.peak;
    for (size_t i = 0; i < g->x->hooks; i++) { /* planning does not reach it through the tap; it runs below the peak: an upper bound */
        size_t scale = 1;
        unet_hook_width(&g->x->unet, g->x->hook[i]->hook, &scale);
        p.work.used = peak;
        ablate(&p.c, g->x->hook[i], NULL, count * (g->h / scale) * (g->w / scale), 0);
    }
    return scratch_bytes(&p.work);
}

/* Splits R rows; each part has scratch of its own, from the call's. Returns NULL when planning. */
static part *split(call *g, const text_kv *kv, size_t R, size_t *count)
{
    const size_t G = *count = parts_of(g, R), each = (R + G - 1) / G;
    part like = whole(g);
    like.c.threads = G > 1 ? 1 : g->c.threads;
    like.kv = *kv;
    part *p = arena_bytes(g->c.work, G, sizeof *p);
    const size_t bytes = part_bytes(&like, each);
    unsigned char *memory = arena_bytes(g->c.work, G, bytes);
    for (size_t i = 0; p && memory && i < G; i++) {
        p[i] = like;
        p[i].first = i * R / G;
        p[i].count = (i + 1) * R / G - p[i].first;
        p[i].work = (arena){ .base = memory + i * bytes, .size = bytes };
        p[i].c.work = &p[i].work;
        unet_text_rows(&g->x->unet, &p[i].kv, kv, p[i].first, p[i].count);
    }
    return memory ? p : NULL;
}

/* e = UNet(x) at the current step, part by part. */
static void predict(call *g, part *p, size_t count, float *e, const float *x)
{
#ifdef _OPENMP
#pragma omp parallel for num_threads((int)count) if (count > 1)
#endif
    for (int i = 0; i < (int)count; i++)
        pass_rows(&p[i], e, x);
    settle_all(g, p, count);
}

/* The loop over timesteps on x [B,h,w,C]; when planning, only its memory. */
static void sample(call *g, float *x, const text_kv *kv, size_t B)
{
    const size_t n = B * g->h * g->w * g->x->unet.in_channels, R = rows(g, B), mark = arena_mark(g->c.work);
    float *both = arena_floats(g->c.work, R / B * n);
    float *e = arena_floats(g->c.work, R / B * n);
    const recorder *const recording = g->x->record;
    const size_t steps = recording && recording->steps && recording->steps < g->steps ? recording->steps : g->steps;
    const size_t total = recording ? recording->all * steps : (g->o->count + g->batch - 1) / g->batch * g->steps;
    size_t count;
    g->network = "unet.";
    g->step = 0; /* planning stands for every step */
    part *p = split(g, kv, R, &count);

    if (!x) {
        show(g, "noise_pred", NULL, B, g->h, g->w, g->x->unet.in_channels, TAP_IMAGE);
        show(g, "latents", NULL, B, g->h, g->w, g->x->unet.in_channels, TAP_IMAGE);
    }
    for (size_t i = 0; p && i < steps && !g->code; i++) {
        g->step = (int)i;
        g->network = "unet.";
        for (size_t r = 0; r < R / B; r++)
            memcpy(both + r * n, x, n * sizeof *x);
        predict(g, p, count, e, both);
        if (!g->code && recording)
            g->code = recording->step(recording->user, i, g->first, B, g->err);
        if (g->code)
            break;
        if (g->guided)
            guide(e, e, e + n, g->guidance, n);
        show(g, "noise_pred", e, B, g->h, g->w, g->x->unet.in_channels, TAP_IMAGE);
        ddim_step(&g->ddim, x, e, i, n);
        show(g, "latents", x, B, g->h, g->w, g->x->unet.in_channels, TAP_IMAGE);
        if (g->code)
            break;
        if (nn_first_bad(x, n) < n)
            g->code = fail(g->err, SAEURON_ENAN, "the latents are not finite after step %zu (timestep %d): weaken the guidance or the strength", i, g->ddim.timesteps[i]);
        else if (g->x->host.progress && g->x->host.progress(g->x->host.user, "sampling",
                                                            recording ? (recording->before + g->first) * steps + (i + 1) * B : g->first / g->batch * g->steps + i + 1, total))
            g->code = fail(g->err, SAEURON_ECANCEL, "stopped at step %zu of %zu", i + 1, g->steps);
    }
    g->step = -1;
    arena_release(g->c.work, mark);
}

/* Image p->first of the batch, x its latents, into the caller's pixels; x NULL: only its memory. */
static void decode_image(part *p, const float *x)
{
    const call *g = p->g;
    const vae *v = &g->x->vae;
    const size_t s = (size_t)1 << (v->levels - 1), pixels = g->h * s * g->w * s * 3, mark = arena_mark(p->c.work);
    const tap watch = { seen, p, g->names };
    float *y = arena_floats(p->c.work, pixels);

    vae_decode(&p->c, v, y, x, 1, g->h, g->w, g->o->tap ? &watch : NULL);
    const size_t bad = y && !p->code ? nn_first_bad(y, pixels) : pixels;
    if (bad < pixels)
        p->code = fail(&p->err, SAEURON_ENAN, "the VAE's output is not finite at element %zu", bad);
    for (size_t j = 0; y && !p->code && j < pixels; j++)
        g->rgb[(g->first + p->first) * pixels + j] = nn_pixel(y[j]);
    arena_release(p->c.work, mark);
}

/* Small images side by side, a thread each; a large one by all threads. */
static void decode(call *g, const float *x, size_t B)
{
    const size_t n = g->h * g->w * g->x->vae.latent_channels, mark = arena_mark(g->c.work), G = parts_of(g, B);
    part like = whole(g);
    g->network = "vae.";
    if (x && g->h * g->w > SMALL)
        tensors_release(&g->x->unet_file); /* a large decode is the most memory a picture needs; the UNet can wait in the file cache */
    like.c.threads = G > 1 ? 1 : g->c.threads;
    like.c.work = &like.work;
    decode_image(&like, NULL);
    settle(g, &like);
    const size_t bytes = scratch_bytes(&like.work);
    part *p = arena_bytes(g->c.work, G, sizeof *p);
    unsigned char *memory = arena_bytes(g->c.work, G, bytes);

    for (size_t first = 0; p && memory && first < B && !g->code; first += G) {
        const size_t count = B - first < G ? B - first : G;
        for (size_t i = 0; i < count; i++) {
            p[i] = like;
            p[i].first = first + i;
            p[i].work = (arena){ .base = memory + i * bytes, .size = bytes };
            p[i].c.work = &p[i].work;
        }
#ifdef _OPENMP
#pragma omp parallel for num_threads((int)count) if (count > 1)
#endif
        for (int i = 0; i < (int)count; i++)
            decode_image(&p[i], x + p[i].first * n);
        settle_all(g, p, count);
    }
    arena_release(g->c.work, mark);
}

/* One batch of B images from g->first; on an arena without memory it plans. */
static void run_batch(call *g, size_t B)
{
    const size_t N = tokenizer_max_length(g->x->tokenizer), C = g->x->unet.in_channels, n = g->h * g->w * C, mark = arena_mark(g->c.work);
    float *x = arena_floats(g->c.work, B * n);
    const size_t loop = arena_mark(g->c.work);
    float *text = arena_floats(g->c.work, rows(g, B) * N * g->x->text.D);
    text_kv kv;

    g->step = -1;
    g->now = B;
    encode_prompts(g, text, B);
    if (!g->code)
        unet_text(&g->c, &g->x->unet, &kv, text, rows(g, B), N);
    if (!g->code && (g->code = start_noise(g, x, B)) == SAEURON_OK)
        show(g, "noise", x, B, g->h, g->w, C, TAP_IMAGE);
    if (!g->code)
        sample(g, x, &kv, B);
    arena_release(g->c.work, loop);
    for (size_t i = 0; x && g->o->latents && !g->code && i < B; i++)
        nn_to_nchw(g->o->latents + (g->first + i) * n, x + i * n, 1, C, g->h * g->w);
    if (!g->code && g->pictures)
        decode(g, x, B);
    if (!g->code && g->work.base && g->work.failed)
        g->code = fail(g->err, SAEURON_ENOMEM, "the plan of this call's memory was too small: this is a bug");
    arena_release(g->c.work, mark);
}

/* Which row of each hook's statistics serves each sampling step. */
static int map_steps(call *g)
{
    for (size_t i = 0; i < g->x->hooks; i++) {
        const stats *s = &g->x->hook[i]->stats;
        for (size_t t = 0; t < g->steps; t++) {
            size_t best = 0;
            for (size_t r = 1; r < s->steps; r++) {
                const int now = s->timesteps[best] - g->ddim.timesteps[t], then = s->timesteps[r] - g->ddim.timesteps[t];
                best = (then < 0 ? -then : then) < (now < 0 ? -now : now) ? r : best;
            }
            if (g->x->hook[i]->count && !g->o->map_steps && s->steps == g->steps && s->timesteps[t] != g->ddim.timesteps[t])
                return fail(g->err, SAEURON_EUSAGE, "the statistics at %s are of timestep %d at step %zu, where this model's scheduler has %d (see steps_offset in it): "
                            "use --map-steps to take the nearest timestep's", g->x->hook[i]->hook, s->timesteps[t], t, g->ddim.timesteps[t]);
            if (g->x->hook[i]->count && !g->o->map_steps && (s->steps != g->steps || s->timesteps[t] != g->ddim.timesteps[t]))
                return fail(g->err, SAEURON_EUSAGE, "the statistics at %s were made with %zu steps, this call has %zu: use --steps %zu, or --map-steps to take the nearest timestep's",
                            g->x->hook[i]->hook, s->steps, g->steps, s->steps);
            g->step_of[i][t] = (uint16_t)best;
        }
    }
    return SAEURON_OK;
}

int saeuron_image_size(const saeuron_context *x, const saeuron_generate_options *o, size_t *width, size_t *height, saeuron_error *err)
{
    const size_t s = (size_t)1 << (x->vae.levels - 1), unit = s << (x->unet.levels - 1);
    *width  = o->width ? o->width : x->unet.sample_size * s;
    *height = o->height ? o->height : x->unet.sample_size * s;
    if (*width % unit || *height % unit || *width > 8192 || *height > 8192)
        return fail(err, SAEURON_EUSAGE, "width and height must be multiples of %zu, at most 8192", unit);
    return SAEURON_OK;
}

/* Text states of the caller's, [count,N,D] or NULL, must be finite: attention would spread one NaN over the picture. */
static int check_embeds(const saeuron_context *x, const char *name, const float *embeds, size_t count, saeuron_error *err)
{
    const size_t one = tokenizer_max_length(x->tokenizer) * x->text.D;
    for (size_t i = 0; embeds && i < count; i++)
        if (nn_first_bad(embeds + i * one, one) < one)
            return fail(err, SAEURON_ENAN, "%s of image %zu are not finite", name, i);
    return SAEURON_OK;
}

/* Checks the options and fills what a call starts with. */
static int prepare(call *g, saeuron_context *x, const saeuron_generate_options *o, saeuron_error *err)
{
    size_t W, H;
    int    code;
    *g = (call){ .x = x, .o = o, .err = err, .step = -1, .ddim = x->ddim, .pictures = true };
    if (!nn_environment_ok())
        return fail(err, SAEURON_EENV, "the floating-point environment flushes subnormals or does not round to nearest: restore it before calling");
    if (!nn_team_environment_ok(x->threads))
        return fail(err, SAEURON_EENV, TEAM_ENVIRONMENT);
    if ((code = saeuron_image_size(x, o, &W, &H, err)) != SAEURON_OK)
        return code;
    g->w = W >> (x->vae.levels - 1);
    g->h = H >> (x->vae.levels - 1);
    g->steps = o->steps ? o->steps : x->default_steps;
    g->guidance = o->has_guidance ? (float)o->guidance : x->default_guidance;
    if (!guidance_ok(g->guidance))
        return fail(err, SAEURON_EUSAGE, "the guidance must be from 0 to 10000");
    g->guided = g->guidance > 1;
    g->batch = o->batch ? o->batch : usual_batch(x, W, H);
    if (g->batch > o->count)
        g->batch = o->count;
    if (!o->count || (!o->prompts && !o->prompt_embeds))
        return fail(err, SAEURON_EUSAGE, "there is no prompt");
    if ((code = check_embeds(x, "prompt_embeds", o->prompt_embeds, o->count, err)) != SAEURON_OK ||
        (code = check_embeds(x, "negative_prompt_embeds", o->negative_prompt_embeds, 1, err)) != SAEURON_OK)
        return code;
    if (g->batch > 1024)
        return fail(err, SAEURON_EUSAGE, "the batch must be at most 1024 images");
    if (o->residual < SAEURON_RESIDUAL_PAPER || o->residual > SAEURON_RESIDUAL_NONE)
        return fail(err, SAEURON_EUSAGE, "the residual must be paper, released or none");
    if (!o->noise && o->noise_index > UINT64_MAX / 2 / (g->h * g->w * x->unet.in_channels) - o->count)
        return fail(err, SAEURON_EUSAGE, "the noise index %" PRIu64 " lies beyond the stream of random numbers", o->noise_index);
    if (!o->noise && g->h * g->w * x->unet.in_channels % 16)
        return fail(err, SAEURON_EUSAGE, "a latent of %zu x %zu x %zu values is no multiple of 16, torch.randn's block: choose another size", x->unet.in_channels, g->h, g->w);
    if (o->shared < SAEURON_SHARED_LARGEST || o->shared > SAEURON_SHARED_RELEASED)
        return fail(err, SAEURON_EUSAGE, "shared latents must go by largest or released");
    for (size_t i = 0; i < x->hooks; i++) {
        x->hook[i]->residual = o->residual;
        x->hook[i]->shared = o->shared;
    }
    if (x->hooks && !g->guided)
        for (size_t i = 0; i < x->hooks; i++)
            if ((x->hook[i]->count || x->hook[i]->steers) && o->residual == SAEURON_RESIDUAL_RELEASED)
                return fail(err, SAEURON_EUSAGE, "--residual released needs a guidance above 1: the released hooks split a guided batch");
    if ((code = ddim_set_timesteps(&g->ddim, g->steps, err)) != SAEURON_OK || (code = map_steps(g)) != SAEURON_OK)
        return code;
    if (!nn_init(&g->c, x->host.isa, x->threads, &g->work))
        return fail(err, SAEURON_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU; there are: %s", x->host.isa, nn_isa_list());
    return SAEURON_OK;
}

/* Bytes of scratch that the largest batch needs, by running them without memory. */
static int plan(call *g, size_t *bytes)
{
    g->work = (arena){ 0 };
    run_batch(g, g->batch);
    if (!g->code && g->o->count % g->batch) /* it may be split otherwise: fewer rows than threads */
        run_batch(g, g->o->count % g->batch);
    if (g->code)
        return g->code;
    if (g->work.failed || g->work.peak > SIZE_MAX - 64)
        return fail(g->err, SAEURON_ENOMEM, "this size needs more memory than can be addressed");
    *bytes = g->work.peak + 64;
    return SAEURON_OK;
}

int saeuron_generate(saeuron_context *x, const saeuron_generate_options *o, unsigned char *rgb, saeuron_error *err)
{
    call  *g = io_alloc(&x->host, 1, sizeof *g);
    size_t bytes = 0;
    void  *memory = NULL;
    int    code;
    if (!g)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    code = prepare(g, x, o, err);
    g->pictures = rgb != NULL;
    if (!code)
        code = plan(g, &bytes);
    if (!code && !(memory = io_alloc(&x->host, bytes, 1)))
        code = fail(err, SAEURON_ENOMEM, "no memory for the %zu MB that sampling needs: a smaller --batch, --height or --width needs less", bytes / 1000000 + 1);
    if (!code) {
        g->work = (arena){ .base = memory, .size = bytes };
        g->rgb = rgb;
        for (g->first = 0; g->first < o->count && !g->code; g->first += g->batch)
            run_batch(g, o->count - g->first < g->batch ? o->count - g->first : g->batch);
        code = g->code;
    }
    io_free(&x->host, memory);
    io_free(&x->host, g);
    return code;
}

int saeuron_intermediates(saeuron_context *x, const saeuron_generate_options *o, saeuron_error *err)
{
    size_t bytes;
    if (!o->tap)
        return fail(err, SAEURON_EUSAGE, "there is no tap to tell the names");
    call *g = io_alloc(&x->host, 1, sizeof *g);
    if (!g)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    int code = prepare(g, x, o, err);
    g->names = true;
    if (!code)
        code = plan(g, &bytes);
    io_free(&x->host, g);
    return code;
}

int saeuron_memory(saeuron_context *x, const saeuron_generate_options *o, size_t *work, size_t *weights, saeuron_error *err)
{
    const tensors *const files[] = { &x->text_file, &x->unet_file, &x->vae_file };
    call *g = io_alloc(&x->host, 1, sizeof *g);
    if (!g)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    int code = prepare(g, x, o, err);
    if (!code)
        code = plan(g, work);
    *weights = 0;
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < files[i]->file_count; j++)
            *weights += files[i]->files[j].size;
    for (size_t i = 0; i < x->hooks; i++)
        for (size_t j = 0; j < x->hook[i]->sae.file.file_count; j++)
            *weights += x->hook[i]->sae.file.files[j].size;
    io_free(&x->host, g);
    return code;
}

/* ---- images to latents ---- */

int saeuron_latent_size(const saeuron_context *x, size_t width, size_t height, size_t shape[3], saeuron_error *err)
{
    const size_t s = (size_t)1 << (x->vae.levels - 1);
    if (!width || !height || width % s || height % s || width > 8192 || height > 8192)
        return fail(err, SAEURON_EUSAGE, "an image of %zu x %zu pixels cannot be encoded: its sides must be multiples of %zu, at most 8192: crop or pad it", width, height, s);
    shape[0] = x->vae.latent_channels;
    shape[1] = height / s;
    shape[2] = width / s;
    return SAEURON_OK;
}

/* rgb [H,W,3] to moments; on an arena without memory it plans. */
static void encode_image(nn *c, const vae *v, float *moments, const unsigned char *rgb, size_t H, size_t W, const size_t shape[3])
{
    const size_t P = shape[1] * shape[2], C = 2 * shape[0], mark = arena_mark(c->work);
    float *x = arena_floats(c->work, H * W * 3);
    float *y = arena_floats(c->work, P * C);
    if (x)
        vae_pixels(x, rgb, H * W * 3);
    vae_encode(c, v, y, x, 1, H, W, NULL);
    if (y)
        nn_to_nchw(moments, y, 1, C, P);
    arena_release(c->work, mark);
}

int saeuron_encode_image(saeuron_context *x, const unsigned char *rgb, size_t width, size_t height, float *moments, saeuron_error *err)
{
    size_t shape[3], n;
    arena  work = { 0 };
    nn     c;
    void  *memory = NULL;
    int    code;
    if (!nn_environment_ok())
        return fail(err, SAEURON_EENV, "the floating-point environment flushes subnormals or does not round to nearest: restore it before calling");
    if (!nn_team_environment_ok(x->threads))
        return fail(err, SAEURON_EENV, TEAM_ENVIRONMENT);
    if ((code = saeuron_latent_size(x, width, height, shape, err)) != SAEURON_OK)
        return code;
    if (!x->vae.has_encoder)
        return fail(err, SAEURON_EFORMAT, "%s: it holds no encoder, only the decoder, so it turns no image into latents: take the model's whole VAE", x->vae_file.path);
    if (!nn_init(&c, x->host.isa, x->threads, &work))
        return fail(err, SAEURON_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU; there are: %s", x->host.isa, nn_isa_list());
    encode_image(&c, &x->vae, NULL, NULL, height, width, shape);
    if (work.failed || work.peak > SIZE_MAX - 64 || !(memory = io_alloc(&x->host, work.peak + 64, 1)))
        return fail(err, SAEURON_ENOMEM, "no memory for the %zu MB that encoding an image of %zu x %zu pixels needs: a smaller one needs less",
                    work.peak / 1000000 + 1, width, height);
    work = (arena){ .base = memory, .size = work.peak + 64 };
    encode_image(&c, &x->vae, moments, rgb, height, width, shape);
    n = 2 * shape[0] * shape[1] * shape[2];
    if (work.failed)
        code = fail(err, SAEURON_ENOMEM, "the plan of the VAE encoder's memory was too small: this is a bug");
    else if (nn_first_bad(moments, n) < n)
        code = fail(err, SAEURON_ENAN, "the moments of the image's latents are not finite at element %zu", nn_first_bad(moments, n));
    else if (x->host.progress && x->host.progress(x->host.user, "encoding", 1, 1))
        code = fail(err, SAEURON_ECANCEL, "stopped after encoding the image");
    io_free(&x->host, memory);
    return code;
}

void saeuron_mode(const saeuron_context *x, float *latents, const float *moments, size_t n) { vae_latents(&x->vae, latents, moments, n); }

/* ---- text and facts ---- */

size_t saeuron_text_length(const saeuron_context *x) { return tokenizer_max_length(x->tokenizer); }
size_t saeuron_text_width(const saeuron_context *x) { return x->text.D; }
const char *saeuron_token(const saeuron_context *x, int32_t id) { return tokenizer_piece(x->tokenizer, id); }

int saeuron_tokenize(const saeuron_context *x, const char *text, int32_t *ids, size_t *count, size_t *cut, saeuron_error *err)
{
    return tokenizer_encode(x->tokenizer, ids, count, cut, text, err);
}

int saeuron_encode_text(saeuron_context *x, const char *text, float *states, saeuron_error *err)
{
    const size_t N = saeuron_text_length(x);
    arena    work = { 0 };
    nn       c;
    void    *memory = NULL;
    int32_t *ids = io_alloc(&x->host, N, sizeof *ids);
    int      code = SAEURON_OK;
    if (!nn_environment_ok())
        code = fail(err, SAEURON_EENV, "the floating-point environment flushes subnormals or does not round to nearest: restore it before calling");
    else if (!nn_team_environment_ok(x->threads))
        code = fail(err, SAEURON_EENV, TEAM_ENVIRONMENT);
    else if (!nn_init(&c, x->host.isa, x->threads, &work))
        code = fail(err, SAEURON_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU; there are: %s", x->host.isa, nn_isa_list());
    if (!code) {
        clip_forward(&c, &x->text, NULL, NULL, 1, N, NULL);
        if (!ids || work.failed || !(memory = io_alloc(&x->host, work.peak + 64, 1)))
            code = fail(err, SAEURON_ENOMEM, "no memory to encode a text");
    }
    if (!code)
        code = tokenizer_encode(x->tokenizer, ids, NULL, NULL, text, err);
    if (!code) {
        work = (arena){ .base = memory, .size = work.peak + 64 };
        clip_forward(&c, &x->text, states, ids, 1, N, NULL);
        if (work.failed)
            code = fail(err, SAEURON_ENOMEM, "the plan of the text encoder's memory was too small: this is a bug");
        else if (nn_first_bad(states, N * x->text.D) < N * x->text.D)
            code = fail(err, SAEURON_ENAN, "the text states are not finite");
    }
    io_free(&x->host, memory);
    io_free(&x->host, ids);
    return code;
}

const char *saeuron_kernels(const saeuron_context *x)
{
    nn c;
    return nn_init(&c, x->host.isa, 1, NULL) ? nn_isa_name(&c) : "none";
}

int saeuron_contract(void) { return SAEURON_CONTRACT_VERSION; }
