/* saeuron.c: the public interface, saeuron.h: every entry, and the loop that turns prompts into pixels.
 *
 *   prompts --tokenizer, clip--> text states --+
 *   seed --rng--> noise --> [ unet (at_module: ablate) -> guide -> ddim_step ] x T --> vae_decode --> pixels
 *   pixels --vae_encode--> moments of latents
 *
 * Not here: the networks (clip.c, unet.c, vae.c), the step (ddim.c), opening a folder (context.c), finding
 * and loading SAEs (forget.c), what an ablation does (select.c), classifiers (evaluation/), a terminal
 * (program/).
 * Source: diffusers StableDiffusionPipeline.__call__ (whose names for latents, noise_pred, prompt_embeds the
 * tap reports); released code utils/hooks.py for where the edit happens.
 * Letters: B images; R rows of the batch: with guidance 2 B, [uncond; cond], else B; C, h, w the latent. */
#include "saeuron.h"
#include "arithmetic/rng.h"
#include "arithmetic/threads.h"
#include "files/print.h"
#include "forget.h"
#include "layers/machine.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- opening ---- */

int saeuron_open(saeuron_context **ctx, const saeuron_host *host, const char *model_dir, saeuron_error *err)
{
    int code = need(ctx, "ctx", err);
    if (!code)
        *ctx = NULL;
    if (code || (code = need(model_dir, "model_dir", err)) != SAEURON_OK)
        return code;
    return context_open(ctx, host, model_dir, NULL, err);
}

int saeuron_open_synthetic(saeuron_context **ctx, const saeuron_host *host, const char *name,
                           saeuron_error *err)
{
    int code = need(ctx, "ctx", err);
    if (!code)
        *ctx = NULL;
    if (code || (code = need(name, "name", err)) != SAEURON_OK)
        return code;
    return context_open(ctx, host, SYNTHETIC, name, err);
}

void saeuron_close(saeuron_context *ctx)
{
    if (!ctx)
        return;
    unload_hooks(ctx);
    context_close(ctx);
}

/* ---- forgetting ---- */

/* What each of the three entries begins and ends with. */
static int enter(const saeuron_context *ctx, const char *named, const char *what, saeuron_error *err)
{
    int code = need(ctx, "ctx", err);
    if (code || (code = check_environment(ctx->threads, err)) != SAEURON_OK)
        return code;
    return named && *named ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "no %s is named", what);
}

static int leave(saeuron_context *ctx, int code)
{
    if (code)
        unload_idle(ctx); /* what was loaded for nothing */
    return code;
}

int saeuron_forget(saeuron_context *ctx, const saeuron_forget_options *o, saeuron_error *err)
{
    sae_place at;
    choice how;
    int code = need(o, "options", err);
    if (!code)
        code = enter(ctx, o->name, "concept", err);
    if (!code)
        code = find_concept(ctx, o->name, o->hook, &at, err);
    if (!code)
        code = usual_choice(ctx, &at, o->name, &how, err);
    if (code)
        return code;
    if (o->top || o->percentile != 0)
        how = (choice){ .top = o->top, .percentile = o->percentile, .strength = how.strength };
    if (o->has_window) {
        how.first = o->first_step;
        how.end = o->end_step;
    }
    if (o->has_strength)
        how.strength = (float)o->strength;
    how.min_density = o->min_density;
    if (o->min_lift != 0)
        how.min_lift = o->min_lift;
    if (o->has_half)
        how.half = o->half;
    return leave(ctx, forget(ctx, &at, o->name, how, err));
}

int saeuron_steer(saeuron_context *ctx, const char *hook, size_t latent, double factor, saeuron_error *err)
{
    const int code = enter(ctx, hook, "hook", err);
    return code ? code : leave(ctx, steer(ctx, hook, latent, factor, err));
}

int saeuron_reconstruct(saeuron_context *ctx, const char *hook, saeuron_error *err)
{
    const int code = enter(ctx, hook, "hook", err);
    return code ? code : leave(ctx, reconstruct(ctx, hook, err));
}

void saeuron_remember(saeuron_context *ctx)
{
    if (ctx)
        unload_hooks(ctx);
}

double saeuron_growth(const saeuron_context *ctx) { return ctx ? ctx->growth : 0; }

int saeuron_use_sae(saeuron_context *ctx, const char *hook, const char *sae_dir, const char *stats_path,
                    saeuron_error *err)
{
    int code;
    if ((code = need(ctx, "ctx", err)) != SAEURON_OK ||
        (code = need(hook, "hook", err)) != SAEURON_OK)
        return code;
    return use_sae(ctx, hook, sae_dir, stats_path, err);
}

/* ---- one call of saeuron_generate ---- */

typedef struct sampling {
    saeuron_context *ctx;
    const saeuron_generate_options *o;
    nn      c;
    arena   work;
    ddim    ddim;           /* with this call's steps */
    size_t  h, w, steps;    /* h, w: sides of the latent */
    size_t  batch;          /* images at a time */
    size_t  first, B;       /* of the batch at hand: the number of its first image, its images */
    size_t  decoded;        /* images of the batch at hand that the VAE is done with */
    float   guidance;
    bool    guided;
    int     step;           /* sampling step; -1 outside the loop */
    const char *network;    /* prefix of the names that the tap hears */
    int     code;           /* the first error's, failed the row in which a module's output has it */
    size_t  failed;
    saeuron_error *err;
    unsigned char *rgb;     /* NULL when planning */
    bool    names;          /* the tap is only told names: saeuron_intermediates */
    bool    pictures;       /* the latents are decoded */
    uint16_t step_of[HOOKS][1000]; /* row of each hook's statistics for each sampling step */
    double *growth;         /* [R]: saeuron_growth of each row of the batch at hand */
} sampling;

static size_t guided_rows(const sampling *s, size_t B) { return s->guided ? 2 * B : B; }
static size_t channels(const sampling *s) { return s->ctx->unet.in_channels; }
/* Values of one image's latents. */
static size_t latent_values(const sampling *s) { return channels(s) * s->h * s->w; }

/* ---- at every module ---- */

/* Ends the call with the error e at a module's output. Threads that take rows side by side may have one each:
 * that of the lowest row counts, whoever was first. */
static int end_with(sampling *s, const module_output *m, const saeuron_error *e)
{
    OMP(omp critical(end))
    if (!s->code || m->first < s->failed) {
        s->code = e->code;
        s->failed = m->first;
        if (s->err)
            *s->err = *e;
    }
    return e->code;
}

static int check_finite(sampling *s, const module_output *m)
{
    const size_t each = m->H * m->W * m->C, bad = nn_first_bad(m->x, m->B * each);
    saeuron_error e;
    if (bad == m->B * each)
        return SAEURON_OK;
    fail(&e, SAEURON_ENAN, "unet.%s is not finite at step %d, element %zu", m->name, s->step,
         m->first * each + bad);
    return end_with(s, m, &e);
}

/* Copies a module's output, B rows of n values, if it is recorded: the rows of the conditional half, each to
 * its image's place. Threads have different rows, so they write to different places. */
static int record(sampling *s, const module_output *m, size_t n)
{
    const recorder *r = s->ctx->record;
    const size_t uncond = s->guided ? s->B : 0;
    int code;
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->module[i], m->name))
            continue;
        if ((code = check_finite(s, m)) != SAEURON_OK)
            return code;
        for (size_t row = 0; row < m->B; row++)
            if (m->first + row >= uncond)
                memcpy(r->rows[i] + (m->first + row - uncond) * n, m->x + row * n, n * sizeof *m->x);
    }
    return SAEURON_OK;
}

/* Shows the caller's tap an output, or, to name it only, its name and shape with x NULL. */
static int tell(sampling *s, const module_output *m)
{
    const size_t shape[4] = { m->B, m->H, m->W, m->C };
    char full[160];
    saeuron_error e;
    print_into(full, sizeof full, "%s%s", s->network, m->name);
    if (!s->o->tap(s->o->tap_user, full, s->step, s->first + s->decoded + m->first, m->x, shape, m->kind))
        return SAEURON_OK;
    fail(&e, SAEURON_ECANCEL, "stopped by the caller at %s", full);
    return end_with(s, m, &e);
}

/* The square of the largest norm of x [N,d]'s tokens. */
static double longest(const float *x, size_t N, size_t d)
{
    double most = 0;
    for (size_t i = 0; i < N; i++, x += d) {
        double sum = 0;
        for (size_t j = 0; j < d; j++)
            sum += (double)x[j] * (double)x[j];
        most = sum > most ? sum : most;
    }
    return most;
}

/* Ablates the rows of m that are to be edited, and notes how much longer that makes a row's longest
 * activation. Threads have different rows. AUDIT A10: the paper's edit both halves. */
static void ablate_rows(sampling *s, nn *c, const ablation *a, const module_output *m, size_t step)
{
    const size_t N = m->H * m->W, mark = arena_mark(c->work);
    const size_t uncond = s->guided && m->first < s->B ? least(s->B - m->first, m->B) : 0; /* rows of it */
    const size_t from = ablation_half(a) == SAEURON_HALF_CONDITIONAL ? uncond : 0;
    const size_t end = ablation_half(a) == SAEURON_HALF_UNCONDITIONAL ? uncond : m->B;
    double *before = arena_bytes(c->work, m->B, sizeof *before);
    for (size_t b = from; before && a->count && b < end; b++)
        before[b] = longest(m->x + b * N * m->C, N, m->C);
    if (!m->x)
        ablate(c, a, NULL, m->B * N, step);
    else if (from < end)
        ablate(c, a, m->x + from * N * m->C, (end - from) * N, step);
    for (size_t b = from; before && a->count && b < end; b++) {
        const double after = longest(m->x + b * N * m->C, N, m->C);
        const double ratio = before[b] > 0 ? sqrt(after / before[b]) : 0;
        double *growth = &s->growth[m->first + b];
        *growth = ratio > *growth ? ratio : *growth;
    }
    arena_release(c->work, mark);
}

/* EQ 11: Where SAeUron's hooks are: called with every module's output [B,H,W,C]. Ablates it if something is
 * asked for at this hook, records it, then shows it to the caller's tap. x NULL: planning; then only a caller
 * that asks for names hears of it. */
static int at_module(void *user, nn *c, const module_output *m)
{
    sampling *s = user;
    int code;
    for (size_t i = 0; s->step >= 0 && i < s->ctx->hooks; i++) {
        const ablation *a = s->ctx->hook[i];
        if (!ablation_active(a) || strcmp(a->hook, m->name))
            continue;
        if (m->x && (code = check_finite(s, m)) != SAEURON_OK)
            return code;
        ablate_rows(s, c, a, m, m->x ? s->step_of[i][s->step] : 0);
    }
    if (m->x && s->step >= 0 && s->ctx->record && (code = record(s, m, m->H * m->W * m->C)) != SAEURON_OK)
        return code;
    return s->o->tap && (m->x || s->names) ? tell(s, m) : SAEURON_OK;
}

/* Shows the caller's tap what is no module's output: v [B,H,W,C]. Called when planning, too, with v NULL. */
static void show(sampling *s, const char *name, float *v, size_t B, size_t H, size_t W, size_t C, int kind)
{
    const module_output m = { name, v, 0, B, H, W, C, kind };
    s->network = "";
    if (s->o->tap && !s->code && (v || s->names))
        tell(s, &m);
}

static void show_latents(sampling *s, const char *name, float *v, size_t B)
{
    show(s, name, v, B, s->h, s->w, channels(s), SAEURON_TAP_IMAGE);
}

/* ---- before the loop ---- */

static const char text_overflow[] = "the text encoder's output is not finite: its weights are too large, "
                                    "fetch the model again";

/* Text states y [R,N,D] of the batch: the negative prompt's B times, then the prompts'. What the caller has
 * encoded is taken as it is; the text encoder runs for the rest, if there is any. */
static void encode_prompts(sampling *s, float *y, size_t B)
{
    const saeuron_generate_options *o = s->o;
    const size_t N = tokenizer_max_length(s->ctx->tokenizer), D = s->ctx->text.D;
    const size_t mark = arena_mark(s->c.work);
    const size_t uncond = s->guided ? B : 0, negatives = s->guided && !o->negative_prompt_embeds ? 1 : 0;
    const size_t texts = negatives + (o->prompt_embeds ? 0 : B);
    int32_t *ids = arena_bytes(s->c.work, texts * N, sizeof *ids);
    float   *states = arena_floats(s->c.work, texts * N * D); /* the negative prompt's, if any, come first */
    const tap watch = { at_module, s, true };

    for (size_t i = 0; ids && !s->code && i < texts; i++) {
        const char *negative = o->negative_prompt ? o->negative_prompt : "";
        const char *text = i < negatives ? negative : o->prompts[s->first + i - negatives];
        s->code = tokenizer_encode(s->ctx->tokenizer, ids + i * N, NULL, NULL, text, s->err);
    }
    if (!s->code && texts) {
        s->network = "text_encoder.";
        clip_forward(&s->c, &s->ctx->text, states, ids, texts, N, o->tap ? &watch : NULL);
        if (states)
            tensors_release(&s->ctx->text_file); /* not needed while sampling */
        if (states && !s->code && nn_first_bad(states, texts * N * D) < texts * N * D)
            s->code = fail(s->err, SAEURON_ENAN, "%s", text_overflow);
    }
    for (size_t i = 0; y && states && !s->code && i < uncond; i++)
        memcpy(y + i * N * D, negatives ? states : o->negative_prompt_embeds, N * D * sizeof *y);
    for (size_t i = 0; y && states && !s->code && i < B; i++) {
        const float *from = o->prompt_embeds ? o->prompt_embeds + (s->first + i) * N * D
                                             : states + (negatives + i) * N * D;
        memcpy(y + (uncond + i) * N * D, from, N * D * sizeof *y);
    }
    show(s, "prompt_embeds", y, guided_rows(s, B), N, 1, D, SAEURON_TAP_TOKENS);
    arena_release(s->c.work, mark);
}

/* EQ 3: Starting latents x [B,h,w,C]: the caller's noise, or image j's place in the seed's stream. */
static void start_noise(sampling *s, float *x, size_t B)
{
    const saeuron_generate_options *o = s->o;
    const size_t n = latent_values(s), mark = arena_mark(s->c.work);
    float *flat = arena_floats(s->c.work, n);
    for (size_t i = 0; flat && !s->code && i < B; i++) {
        const size_t   j = s->first + i;
        const uint64_t at = o->noise_index + j;
        if (!o->noise && !rng_randn(flat, o->seed, (at + 1) * n, at * n, n))
            s->code = fail(s->err, SAEURON_EUSAGE,
                           "an image of %zu latent values is too small for torch.randn's stream", n);
        else
            nn_from_nchw(x + i * n, o->noise ? o->noise + j * n : flat, 1, channels(s), s->h * s->w);
    }
    arena_release(s->c.work, mark);
}

/* ---- the loop ---- */

/* e = UNet(x) at the current step, both [R,h,w,C]; e NULL: its memory. A caller's tap, and who observes a
 * hook, see whole batches. */
static void predict(sampling *s, float *e, const float *x, const text_kv *kv, size_t R)
{
    const saeuron_context *ctx = s->ctx;
    tap watch = { at_module, s, s->o->tap != NULL };
    for (size_t i = 0; i < ctx->hooks; i++)
        watch.whole |= ctx->hook[i]->observe != NULL;
    s->network = "unet.";
    unet_forward(&s->c, &ctx->unet, e, x, (float)s->ddim.timesteps[s->step], kv, R, s->h, s->w,
                 s->o->tap || ctx->hooks || ctx->record ? &watch : NULL);
}

/* Steps of this call's loop; a recorder may end it early. */
static size_t steps_of(const sampling *s)
{
    const recorder *r = s->ctx->record;
    return r && r->steps && r->steps < s->steps ? r->steps : s->steps;
}

/* Tells the host how far sampling is after step i; not 0: stop. Counted in batches times steps, or images of
 * all the recorder's calls times steps. */
static int tell_progress(const sampling *s, size_t i, size_t B)
{
    const saeuron_host *host = &s->ctx->host;
    const recorder *r = s->ctx->record;
    const size_t steps = steps_of(s), batches = (s->o->count + s->batch - 1) / s->batch;
    const size_t done = r ? (r->before + s->first) * steps + (i + 1) * B
                          : s->first / s->batch * steps + i + 1;
    return host->progress ? host->progress(host->user, "sampling", done, (r ? r->all : batches) * steps) : 0;
}

/* The UNet's output e [R,h,w,C] must be finite before guidance mixes its halves. */
static int check_prediction(sampling *s, const float *e, size_t i, size_t R)
{
    const size_t n = R * latent_values(s), bad = nn_first_bad(e, n);
    bool edited = false;
    for (size_t h = 0; h < s->ctx->hooks; h++)
        edited |= ablation_active(s->ctx->hook[h]);
    if (bad == n)
        return SAEURON_OK;
    return fail(s->err, SAEURON_ENAN, "the UNet's output is not finite at step %zu (timestep %d): %s", i,
                s->ddim.timesteps[i],
                edited ? "weaken the strength or the factor"
                       : "its weights are too large, fetch the model again");
}

/* One step on x [B,h,w,C]: e = UNet(x), guidance, DDIM. e, both [R,h,w,C]: scratch. */
static void sample_step(sampling *s, size_t i, float *x, float *e, float *both, const text_kv *kv, size_t B)
{
    const recorder *r = s->ctx->record;
    const size_t n = B * latent_values(s);
    s->step = (int)i;
    memcpy(both, x, n * sizeof *x);
    if (s->guided)
        memcpy(both + n, x, n * sizeof *x);
    predict(s, e, both, kv, guided_rows(s, B));
    if (!s->code)
        s->code = check_prediction(s, e, i, guided_rows(s, B));
    if (!s->code && r)
        s->code = r->step(r->user, i, s->first, B, s->err);
    if (s->code)
        return;
    if (s->guided)
        guide(e, e, e + n, s->guidance, n);
    show_latents(s, "noise_pred", e, B);
    ddim_step(&s->ddim, x, e, i, n);
    show_latents(s, "latents", x, B);
    if (s->code)
        return;
    if (nn_first_bad(x, n) < n)
        s->code = fail(s->err, SAEURON_ENAN,
                       "the latents are not finite after step %zu (timestep %d), though the UNet's output "
                       "is: weaken the guidance", i, s->ddim.timesteps[i]);
    else if (tell_progress(s, i, B))
        s->code = fail(s->err, SAEURON_ECANCEL, "stopped at step %zu of %zu", i + 1, s->steps);
}

/* The loop over timesteps on x [B,h,w,C]; when planning, its memory and the names it shows. */
static void sample(sampling *s, float *x, const text_kv *kv, size_t B)
{
    const size_t R = guided_rows(s, B), mark = arena_mark(s->c.work);
    float *both = arena_floats(s->c.work, R * latent_values(s));
    float *e = arena_floats(s->c.work, R * latent_values(s));
    s->growth = arena_bytes(s->c.work, R, sizeof *s->growth);

    s->step = 0; /* planning stands for every step */
    if (!x) {
        predict(s, NULL, NULL, kv, R);
        show_latents(s, "noise_pred", NULL, B);
        show_latents(s, "latents", NULL, B);
    }
    for (size_t r = 0; s->growth && r < R; r++)
        s->growth[r] = 0;
    for (size_t i = 0; x && i < steps_of(s) && !s->code; i++)
        sample_step(s, i, x, e, both, kv, B);
    for (size_t r = 0; s->growth && r < R; r++)
        s->ctx->growth = s->growth[r] > s->ctx->growth ? s->growth[r] : s->ctx->growth;
    s->step = -1;
    arena_release(s->c.work, mark);
}

/* ---- after the loop ---- */

/* Latents x [B,h,w,C] into the caller's pixels, as many images at a time as threads take side by side. x
 * NULL: its memory. */
static void decode(sampling *s, const float *x, size_t B)
{
    const vae *v = &s->ctx->vae;
    const size_t scale = vae_scale(v), pixels = s->h * scale * s->w * scale * 3, mark = arena_mark(s->c.work);
    const size_t n = s->h * s->w * v->latent_channels;
    const tap    whole = { at_module, s, true }, *watch = s->o->tap ? &whole : NULL;
    const size_t together = least(B, rows_apart(&s->c, v->decoder.conv_in.w.packed, watch));
    float *y = arena_floats(s->c.work, times(together, pixels));

    s->network = "vae.";
    if (x && !small_latent(s->h * s->w))
        tensors_release(&s->ctx->unet_file); /* decoding needs most memory; the file cache keeps the UNet */
    for (s->decoded = 0; s->decoded < B && !s->code; s->decoded += together) {
        const size_t count = least(together, B - s->decoded);
        vae_decode(&s->c, v, y, x ? x + s->decoded * n : NULL, count, s->h, s->w, watch);
        if (!y)
            break;
        const size_t bad = s->code ? 0 : nn_first_bad(y, count * pixels);
        if (!s->code && bad < count * pixels)
            s->code = fail(s->err, SAEURON_ENAN, "the VAE's output is not finite at element %zu",
                           bad % pixels);
        for (size_t j = 0; !s->code && j < count * pixels; j++)
            s->rgb[(s->first + s->decoded) * pixels + j] = nn_pixel(y[j]);
    }
    s->decoded = 0;
    arena_release(s->c.work, mark);
}

/* One batch of B images from s->first; on an arena without memory it plans. */
static void run_batch(sampling *s, size_t B)
{
    const saeuron_context *ctx = s->ctx;
    const size_t N = tokenizer_max_length(ctx->tokenizer), R = guided_rows(s, B), n = latent_values(s);
    const size_t mark = arena_mark(s->c.work);
    float *x = arena_floats(s->c.work, B * n);
    const size_t loop = arena_mark(s->c.work);
    float *text = arena_floats(s->c.work, R * N * ctx->text.D);
    text_kv kv;

    s->step = -1;
    s->B = B;
    encode_prompts(s, text, B);
    if (!s->code) {
        unet_text(&s->c, &ctx->unet, &kv, text, R, N);
        start_noise(s, x, B);
    }
    if (!s->code)
        show_latents(s, "noise", x, B);
    if (!s->code)
        sample(s, x, &kv, B);
    arena_release(s->c.work, loop);
    for (size_t i = 0; x && s->o->latents && !s->code && i < B; i++)
        nn_to_nchw(s->o->latents + (s->first + i) * n, x + i * n, 1, channels(s), s->h * s->w);
    if (!s->code && s->pictures)
        decode(s, x, B);
    if (!s->code && s->work.base && s->work.failed)
        s->code = fail(s->err, SAEURON_ENOMEM, "the plan of this call's memory was too small: this is a bug");
    arena_release(s->c.work, mark);
}

/* ---- options ---- */

/* Which row of a hook's statistics serves each sampling step: the nearest timestep's, the first of two as
 * near. Without map_steps they must be the same steps, if a concept is forgotten there. */
static int map_steps(sampling *s, size_t hook)
{
    const ablation *a = s->ctx->hook[hook];
    const stats *known = &a->stats;
    const bool must_fit = a->count && !s->o->map_steps;
    for (size_t i = 0; i < s->steps; i++) {
        const int t = s->ddim.timesteps[i];
        s->step_of[hook][i] = (uint16_t)stats_row(known, t);
        if (must_fit && known->steps != s->steps)
            return fail(s->err, SAEURON_EUSAGE,
                        "the statistics at %s were made with %zu steps, this call has %zu: use steps %zu, or "
                        "map_steps to take the nearest timestep's",
                        a->hook, known->steps, s->steps, known->steps);
        if (must_fit && known->timesteps[i] != t)
            return fail(s->err, SAEURON_EUSAGE,
                        "the statistics at %s are of timestep %d at step %zu, where this model's scheduler "
                        "has %d (see steps_offset and timestep_spacing in it): use map_steps to take the "
                        "nearest timestep's",
                        a->hook, known->timesteps[i], i, t);
    }
    return SAEURON_OK;
}

int saeuron_image_size(const saeuron_context *ctx, const saeuron_generate_options *o, size_t *width,
                       size_t *height, saeuron_error *err)
{
    int code;
    if ((code = need(ctx, "ctx", err)) != SAEURON_OK ||
        (code = need(o, "o", err)) != SAEURON_OK ||
        (code = need(width, "width", err)) != SAEURON_OK ||
        (code = need(height, "height", err)) != SAEURON_OK)
        return code;
    const size_t scale = vae_scale(&ctx->vae);
    *width  = o->width ? o->width : ctx->unet.sample_size * scale;
    *height = o->height ? o->height : ctx->unet.sample_size * scale;
    if (*width % scale || *height % scale || *width > 8192 || *height > 8192)
        return fail(err, SAEURON_EUSAGE, "width and height must be multiples of %zu, at most 8192", scale);
    return SAEURON_OK;
}

/* The caller's text states [count,N,D] must be finite: attention would spread one NaN over the picture. */
static int check_embeds(const saeuron_context *ctx, const char *name, const float *embeds, size_t count,
                        saeuron_error *err)
{
    const size_t one = tokenizer_max_length(ctx->tokenizer) * ctx->text.D;
    for (size_t i = 0; embeds && i < count; i++)
        if (nn_first_bad(embeds + i * one, one) < one)
            return fail(err, SAEURON_ENAN, "%s of image %zu are not finite", name, i);
    return SAEURON_OK;
}

/* Every text that will be encoded or written down: a long run does not end at its last prompt. */
static int check_texts(const sampling *s)
{
    const saeuron_generate_options *o = s->o;
    char name[32] = "the prompt";
    int  code = o->negative_prompt ? tokenizer_check(o->negative_prompt, "negative_prompt", s->err)
                                   : SAEURON_OK;
    for (size_t i = 0; !o->prompt_embeds && i < o->count && !code; i++) {
        if (o->count > 1)
            print_into(name, sizeof name, "prompt %zu", i);
        code = o->prompts[i] ? tokenizer_check(o->prompts[i], name, s->err)
                             : fail(s->err, SAEURON_EUSAGE, "prompts[%zu] must not be NULL", i);
    }
    return code;
}

#define NOISE_MAX 1e6f

/* The caller's noise is finite and of a latent's size; torch.randn's stream, from which an image takes h w C
 * values, is long enough. */
static int check_noise(const sampling *s)
{
    const size_t n = latent_values(s), all = s->o->noise ? s->o->count * n : 0;
    for (size_t i = 0; i < all; i++)
        if (!(s->o->noise[i] >= -NOISE_MAX && s->o->noise[i] <= NOISE_MAX)) /* nor is NaN */
            return fail(s->err, SAEURON_EUSAGE,
                        "saeuron_generate_options.noise: element %zu is %g, but no latent lies beyond "
                        "%g: scale it down", i, (double)s->o->noise[i], (double)NOISE_MAX);
    if (s->o->noise)
        return SAEURON_OK;
    if (s->o->noise_index > UINT64_MAX / 2 / n - s->o->count)
        return fail(s->err, SAEURON_EUSAGE, "noise_index %" PRIu64 " lies beyond the random numbers' stream",
                    s->o->noise_index);
    if (n % 16)
        return fail(s->err, SAEURON_EUSAGE,
                    "a latent of %zu x %zu x %zu values is no multiple of 16, torch.randn's block: choose "
                    "another size",
                    channels(s), s->h, s->w);
    return SAEURON_OK;
}

static int check_hooks(const sampling *s)
{
    const saeuron_generate_options *o = s->o;
    if (o->residual < SAEURON_RESIDUAL_PAPER || o->residual > SAEURON_RESIDUAL_NONE)
        return fail(s->err, SAEURON_EUSAGE, "residual must be paper, released or none");
    if (o->shared < SAEURON_SHARED_LARGEST || o->shared > SAEURON_SHARED_RELEASED)
        return fail(s->err, SAEURON_EUSAGE, "shared must be largest or released");
    for (size_t i = 0; i < s->ctx->hooks; i++) {
        const ablation *a = s->ctx->hook[i];
        if (!s->guided && ablation_half(a) == SAEURON_HALF_UNCONDITIONAL)
            return fail(s->err, SAEURON_EUSAGE, "half unconditional needs a guidance above 1: below there is "
                        "no such half");
        if (!s->guided && (a->count || a->steers) && o->residual == SAEURON_RESIDUAL_RELEASED)
            return fail(s->err, SAEURON_EUSAGE,
                        "residual released needs a guidance above 1: the released hooks split a guided "
                        "batch");
    }
    return SAEURON_OK;
}

/* Refuses options, in s, that are outside their range. */
static int check_options(const sampling *s)
{
    const saeuron_generate_options *o = s->o;
    if (!guidance_ok(s->guidance))
        return fail(s->err, SAEURON_EUSAGE, "guidance must be from 0 to 10000");
    if (!o->count || (!o->prompts && !o->prompt_embeds))
        return fail(s->err, SAEURON_EUSAGE, "there is no prompt");
    if (s->batch > 1024)
        return fail(s->err, SAEURON_EUSAGE, "batch must be at most 1024 images");
    int code = check_embeds(s->ctx, "prompt_embeds", o->prompt_embeds, o->count, s->err);
    if (!code)
        code = check_embeds(s->ctx, "negative_prompt_embeds", o->negative_prompt_embeds, 1, s->err);
    if (!code)
        code = check_noise(s);
    return code ? code : check_hooks(s);
}

/* Fills what a call starts with, and checks it. */
static int prepare(sampling *s, saeuron_context *ctx, const saeuron_generate_options *o, saeuron_error *err)
{
    size_t W, H;
    int    code;
    *s = (sampling){ .ctx = ctx, .o = o, .err = err, .step = -1, .ddim = ctx->ddim, .pictures = true };
    if ((code = check_environment(ctx->threads, err)) != SAEURON_OK ||
        (code = saeuron_image_size(ctx, o, &W, &H, err)) != SAEURON_OK)
        return code;
    s->w = W / vae_scale(&ctx->vae);
    s->h = H / vae_scale(&ctx->vae);
    s->steps = o->steps ? o->steps : ctx->default_steps;
    s->guidance = o->has_guidance ? (float)o->guidance : ctx->default_guidance;
    s->guided = s->guidance > 1;
    s->batch = o->batch ? o->batch : usual_batch(ctx, W, H);
    if (s->batch > o->count)
        s->batch = o->count;
    if ((code = check_options(s)) != SAEURON_OK ||
        (code = ddim_set_timesteps(&s->ddim, s->steps, err)) != SAEURON_OK)
        return code;
    for (size_t i = 0; i < ctx->hooks; i++) {
        ctx->hook[i]->residual = o->residual;
        ctx->hook[i]->shared = o->shared;
        if ((code = map_steps(s, i)) != SAEURON_OK)
            return code;
    }
    nn_init(&s->c, ctx->host.isa, ctx->threads, &s->work); /* context_open has tried it */
    return SAEURON_OK;
}

/* ---- generating ---- */

/* A prepared call, in memory of the host: for io_free. */
static int begin(sampling **s, saeuron_context *ctx, const saeuron_generate_options *o, saeuron_error *err)
{
    int code;
    if ((code = need(ctx, "ctx", err)) != SAEURON_OK ||
        (code = need(o, "o", err)) != SAEURON_OK)
        return code;
    if (!(*s = io_alloc(&ctx->host, 1, sizeof **s)))
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    if ((code = prepare(*s, ctx, o, err)) != SAEURON_OK) {
        io_free(&ctx->host, *s);
        *s = NULL;
    }
    return code;
}

/* Bytes of scratch that the largest batch needs, by running batches without memory. */
static int plan(sampling *s, size_t *bytes)
{
    s->work = (arena){ 0 };
    run_batch(s, s->batch);
    if (!s->code && s->o->count % s->batch) /* fewer rows may be split into larger parts */
        run_batch(s, s->o->count % s->batch);
    if (s->code)
        return s->code;
    if (s->work.failed || s->work.peak > SIZE_MAX - 64)
        return fail(s->err, SAEURON_ENOMEM, "this size needs more memory than can be addressed");
    *bytes = s->work.peak + 64;
    return SAEURON_OK;
}

int saeuron_generate(saeuron_context *ctx, const saeuron_generate_options *o, unsigned char *rgb,
                     saeuron_error *err)
{
    sampling *s;
    size_t bytes = 0;
    void  *memory = NULL;
    int code = begin(&s, ctx, o, err);
    if (code)
        return code;
    s->pictures = rgb != NULL;
    ctx->growth = 0;
    code = check_texts(s);
    if (!code)
        code = plan(s, &bytes);
    if (!code && !(memory = io_alloc(&ctx->host, bytes, 1)))
        code = fail(err, SAEURON_ENOMEM,
                    "no memory for the %zu MB that sampling needs: a smaller batch, height or width needs "
                    "less",
                    bytes / 1000000 + 1);
    if (!code) {
        s->work = (arena){ .base = memory, .size = bytes };
        s->rgb = rgb;
        for (s->first = 0; s->first < o->count && !s->code; s->first += s->batch)
            run_batch(s, least(s->batch, o->count - s->first));
        code = s->code;
    }
    if (!code)
        code = context_unchanged(ctx, err);
    io_free(&ctx->host, memory);
    io_free(&ctx->host, s);
    return code;
}

int saeuron_intermediates(saeuron_context *ctx, const saeuron_generate_options *o, saeuron_error *err)
{
    sampling *s;
    size_t bytes;
    int code;
    if ((code = need(ctx, "ctx", err)) != SAEURON_OK || (code = need(o, "o", err)) != SAEURON_OK)
        return code;
    if (!o->tap)
        return fail(err, SAEURON_EUSAGE, "there is no tap to tell the names");
    if ((code = begin(&s, ctx, o, err)) != SAEURON_OK)
        return code;
    s->names = true;
    code = plan(s, &bytes);
    io_free(&ctx->host, s);
    return code;
}

static size_t bytes_of(const tensors *t)
{
    size_t sum = 0;
    for (size_t i = 0; i < t->file_count; i++)
        sum += t->files[i].size;
    return sum;
}

int saeuron_memory(saeuron_context *ctx, const saeuron_generate_options *o, size_t *work, size_t *weights,
                   saeuron_error *err)
{
    sampling *s;
    int code;
    if ((code = need(work, "work", err)) != SAEURON_OK ||
        (code = need(weights, "weights", err)) != SAEURON_OK ||
        (code = begin(&s, ctx, o, err)) != SAEURON_OK)
        return code;
    code = plan(s, work);
    *weights = bytes_of(&ctx->text_file) + bytes_of(&ctx->unet_file) + bytes_of(&ctx->vae_file);
    for (size_t i = 0; i < ctx->hooks; i++)
        *weights += bytes_of(&ctx->hook[i]->sae.file);
    io_free(&ctx->host, s);
    return code;
}

/* ---- images to latents ---- */

int saeuron_latent_size(const saeuron_context *ctx, size_t width, size_t height, size_t shape[3],
                        saeuron_error *err)
{
    int code;
    if ((code = need(ctx, "ctx", err)) != SAEURON_OK ||
        (code = need(shape, "shape", err)) != SAEURON_OK)
        return code;
    const size_t scale = vae_scale(&ctx->vae);
    if (!width || !height || width % scale || height % scale || width > 8192 || height > 8192)
        return fail(err, SAEURON_EUSAGE,
                    "an image of %zu x %zu pixels cannot be encoded: its sides must be multiples of %zu, at "
                    "most 8192: crop or pad it",
                    width, height, scale);
    shape[0] = ctx->vae.latent_channels;
    shape[1] = height / scale;
    shape[2] = width / scale;
    return SAEURON_OK;
}

/* rgb [H,W,3] to moments [2C,h,w]; on an arena without memory it plans. */
static void encode_image(nn *c, const vae *v, float *moments, const unsigned char *rgb, size_t H, size_t W)
{
    const size_t scale = vae_scale(v), P = H / scale * (W / scale), C = 2 * v->latent_channels;
    const size_t mark = arena_mark(c->work);
    float *x = arena_floats(c->work, H * W * 3);
    float *y = arena_floats(c->work, P * C);
    if (x)
        vae_pixels(x, rgb, H * W * 3);
    vae_encode(c, v, y, x, 1, H, W, NULL);
    if (y)
        nn_to_nchw(moments, y, 1, C, P);
    arena_release(c->work, mark);
}

int saeuron_encode_image(saeuron_context *ctx, const unsigned char *rgb, size_t width, size_t height,
                         float *moments, saeuron_error *err)
{
    size_t shape[3] = { 0 };
    arena  work = { 0 };
    nn     c;
    void  *memory = NULL;
    int    code;
    if ((code = need(ctx, "ctx", err)) != SAEURON_OK ||
        (code = need(rgb, "rgb", err)) != SAEURON_OK ||
        (code = need(moments, "moments", err)) != SAEURON_OK)
        return code;
    const vae *v = &ctx->vae;
    if ((code = check_environment(ctx->threads, err)) != SAEURON_OK)
        return code;
    if ((code = saeuron_latent_size(ctx, width, height, shape, err)) != SAEURON_OK)
        return code;
    if (!v->has_encoder)
        return fail(err, SAEURON_EFORMAT,
                    "%s: it holds no encoder, only the decoder, so it turns no image into latents: take the "
                    "model's whole VAE",
                    ctx->vae_file.path);
    nn_init(&c, ctx->host.isa, ctx->threads, &work);
    encode_image(&c, v, NULL, NULL, height, width);
    if (work.failed || work.peak > SIZE_MAX - 64 || !(memory = io_alloc(&ctx->host, work.peak + 64, 1)))
        return fail(err, SAEURON_ENOMEM,
                    "no memory for the %zu MB that encoding an image of %zu x %zu pixels needs: a smaller "
                    "one needs less",
                    work.peak / 1000000 + 1, width, height);
    work = (arena){ .base = memory, .size = work.peak + 64 };
    encode_image(&c, v, moments, rgb, height, width);
    const size_t n = 2 * shape[0] * shape[1] * shape[2], bad = work.failed ? n : nn_first_bad(moments, n);
    if (work.failed)
        code = fail(err, SAEURON_ENOMEM, "the plan of the VAE encoder's memory was too small: this is a bug");
    else if (bad < n)
        code = fail(err, SAEURON_ENAN, "the moments of the image's latents are not finite at element %zu",
                    bad);
    else if (ctx->host.progress && ctx->host.progress(ctx->host.user, "encoding", 1, 1))
        code = fail(err, SAEURON_ECANCEL, "stopped after encoding the image");
    io_free(&ctx->host, memory);
    return code;
}

void saeuron_mode(const saeuron_context *ctx, float *latents, const float *moments, size_t n)
{
    if (ctx && latents && moments)
        vae_latents(&ctx->vae, latents, moments, n);
}

/* ---- text ---- */

size_t saeuron_text_length(const saeuron_context *ctx)
{
    return ctx ? tokenizer_max_length(ctx->tokenizer) : 0;
}

size_t saeuron_text_width(const saeuron_context *ctx) { return ctx ? ctx->text.D : 0; }

const char *saeuron_token(const saeuron_context *ctx, int32_t id)
{
    return ctx ? tokenizer_piece(ctx->tokenizer, id) : NULL;
}

int saeuron_tokenize(const saeuron_context *ctx, const char *text, int32_t *ids, size_t *count, size_t *cut,
                     saeuron_error *err)
{
    int code;
    if ((code = need(ctx, "ctx", err)) != SAEURON_OK ||
        (code = need(text, "text", err)) != SAEURON_OK ||
        (code = need(ids, "ids", err)) != SAEURON_OK)
        return code;
    return tokenizer_encode(ctx->tokenizer, ids, count, cut, text, err);
}

int saeuron_encode_text(saeuron_context *ctx, const char *text, float *states, saeuron_error *err)
{
    arena    work = { 0 };
    nn       c;
    int code;
    if ((code = need(ctx, "ctx", err)) != SAEURON_OK ||
        (code = need(text, "text", err)) != SAEURON_OK ||
        (code = need(states, "states", err)) != SAEURON_OK ||
        (code = check_environment(ctx->threads, err)) != SAEURON_OK)
        return code;
    const size_t N = saeuron_text_length(ctx), n = N * ctx->text.D;
    nn_init(&c, ctx->host.isa, ctx->threads, &work);
    clip_forward(&c, &ctx->text, NULL, NULL, 1, N, NULL);
    int32_t *ids = io_alloc(&ctx->host, N, sizeof *ids);
    void *memory = ids && !work.failed ? io_alloc(&ctx->host, work.peak + 64, 1) : NULL;
    if (!memory)
        code = fail(err, SAEURON_ENOMEM, "no memory to encode a text");
    if (!code)
        code = tokenizer_encode(ctx->tokenizer, ids, NULL, NULL, text, err);
    if (!code) {
        work = (arena){ .base = memory, .size = work.peak + 64 };
        clip_forward(&c, &ctx->text, states, ids, 1, N, NULL);
        if (work.failed)
            code = fail(err, SAEURON_ENOMEM,
                        "the plan of the text encoder's memory was too small: this is a bug");
        else if (nn_first_bad(states, n) < n)
            code = fail(err, SAEURON_ENAN, "%s", text_overflow);
    }
    io_free(&ctx->host, memory);
    io_free(&ctx->host, ids);
    return code;
}

/* ---- facts ---- */

uint64_t saeuron_model_digest(const saeuron_context *ctx) { return ctx ? context_digest(ctx) : 0; }

const char *saeuron_kernels(const saeuron_context *ctx)
{
    nn c;
    if (!ctx)
        return NULL;
    nn_init(&c, ctx->host.isa, 1, NULL);
    return nn_isa_name(&c);
}

int saeuron_contract(void) { return SAEURON_CONTRACT_VERSION; }
