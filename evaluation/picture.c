/* picture.c: the texts that a picture carries, written and compared (picture.h).
 *
 * Not here: PNG itself (png.c), which pictures there are (drawing.c, program/command_generate.c). */
#include "evaluation/picture.h"
#include "arithmetic/rng.h"
#include "files/decimal.h"
#include "files/png.h"
#include "files/print.h"

#include <inttypes.h>
#include <string.h>

/* The digest of values as float32, little-endian. */
uint64_t digest_floats(const float *v, size_t n)
{
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char b[4];
        uint32_t u;
        memcpy(&u, &v[i], 4);
        for (int j = 0; j < 4; j++)
            b[j] = (unsigned char)(u >> 8 * j);
        h = nn_hash(h, b, 4);
    }
    return h;
}

void describe_selection(char out[160], const choice *how)
{
    size_t n = how->top ? print_into(out, 160, "top %zu", how->top)
                        : print_into(out, 160, "percentile %g", how->percentile);
    if (how->min_density > 0)
        n += print_into(out + n, 160 - n, " min-density %g", how->min_density);
    if (how->min_lift > 0)
        n += print_into(out + n, 160 - n, " min-lift %g", how->min_lift);
    if (how->end)
        n += print_into(out + n, 160 - n, " window %zu-%zu", how->first, how->end);
    if (how->half != SAEURON_HALF_BOTH)
        print_into(out + n, 160 - n, " half %s", half_name[how->half]);
}

void describe_choice(char out[192], const choice *how)
{
    char selected[160], strength[32];
    describe_selection(selected, how);
    io_format_float(strength, sizeof strength, how->strength);
    print_into(out, 192, "%.144s strength %.30s", selected, strength);
}

/* "Sketch top 3 strength -1 sae DIGEST statistics DIGEST; Cats ..." as it goes into the picture: all that
 * decides which latents are edited, and how. To be freed. NULL: no memory. */
static char *describe_forgetting(const saeuron_context *x)
{
    size_t at = 0, size = 1;
    for (size_t i = 0; i < x->hooks; i++)
        size += x->hook[i]->count * (sizeof x->hook[i]->forget[0].concept + 320);
    char *out = io_alloc(&x->host, size, 1);
    if (!out)
        return NULL;
    out[0] = 0;
    for (size_t i = 0; i < x->hooks; i++)
        for (size_t j = 0; j < x->hook[i]->count; j++) {
            const ablation  *a = x->hook[i];
            const selection *s = &a->forget[j];
            char how[192], density[32] = "";
            describe_choice(how, &s->how);
            if (s->how.min_density > 0)
                print_into(density, sizeof density, " density %016" PRIx64, a->stats.density_digest);
            at += print_into(out + at, size - at,
                             "%s%s %s sae %016" PRIx64 " statistics %016" PRIx64 "%s", at ? "; " : "",
                             s->concept, how, a->sae.digest, a->stats.digest, density);
        }
    return out;
}

/* "HOOK:LATENT=FACTOR sae DIGEST; ..." of what is steered, or "HOOK sae DIGEST; ..." of what is
 * reconstructed. To be freed. NULL: no memory. */
static char *describe_steering(const saeuron_context *x, bool reconstruction)
{
    size_t at = 0, size = 1;
    for (size_t i = 0; i < x->hooks; i++)
        size += (x->hook[i]->steers + 1) * (sizeof x->hook[i]->hook + 96);
    char *out = io_alloc(&x->host, size, 1);
    if (!out)
        return NULL;
    out[0] = 0;
    for (size_t i = 0; i < x->hooks; i++) {
        const ablation *a = x->hook[i];
        for (size_t j = 0; !reconstruction && j < a->steers; j++) {
            char factor[32];
            io_format_float(factor, sizeof factor, a->steer[j].factor);
            at += print_into(out + at, size - at, "%s%s:%" PRIu32 "=%s sae %016" PRIx64, at ? "; " : "",
                             a->hook, a->steer[j].latent, factor, a->sae.digest);
        }
        if (reconstruction && a->reconstruct)
            at += print_into(out + at, size - at, "%s%s sae %016" PRIx64, at ? "; " : "", a->hook,
                             a->sae.digest);
    }
    return out;
}

int picture_describe(picture *p, const saeuron_context *x, const saeuron_generate_options *g, size_t j,
                     size_t W, size_t H, uint64_t digest, const char *const *also, saeuron_error *err)
{
    static const char *const residuals[] = { "paper", "released", "none" };
    const size_t latents = x->unet.in_channels * (W * H >> 2 * (x->vae.levels - 1));
    const char **texts = p->texts;
    size_t n = 0;
    p->forget = describe_forgetting(x);
    p->steer = describe_steering(x, false);
    p->reconstruct = describe_steering(x, true);
    if (!p->forget || !p->steer || !p->reconstruct) {
        picture_free(p, x);
        return fail(err, SAEURON_ENOMEM, "no memory for a picture's texts");
    }
    print_into(p->seed, sizeof p->seed, "%" PRIu64, g->seed);
    print_into(p->index, sizeof p->index, "%" PRIu64, g->noise_index + j);
    print_into(p->steps, sizeof p->steps, "%zu", g->steps ? g->steps : x->default_steps);
    io_format_float(p->cfg, sizeof p->cfg, g->has_guidance ? (float)g->guidance : x->default_guidance);
    print_into(p->model, sizeof p->model, "%016" PRIx64, digest);
    print_into(p->contract, sizeof p->contract, "%d", saeuron_contract());
    print_into(p->size, sizeof p->size, "%zux%zu", W, H);
    texts[n++] = "prompt", texts[n++] = g->prompts[j];
    if (g->negative_prompt && *g->negative_prompt)
        texts[n++] = "negative_prompt", texts[n++] = g->negative_prompt;
    if (!g->noise) {
        texts[n++] = "seed", texts[n++] = p->seed;
        texts[n++] = "noise_index", texts[n++] = p->index;
    } else {
        print_into(p->noise, sizeof p->noise, "%016" PRIx64, digest_floats(g->noise + j * latents, latents));
        texts[n++] = "noise", texts[n++] = p->noise;
    }
    texts[n++] = "steps", texts[n++] = p->steps;
    texts[n++] = "cfg", texts[n++] = p->cfg;
    texts[n++] = "size", texts[n++] = p->size;
    if (*p->forget)
        texts[n++] = "forget", texts[n++] = p->forget;
    if (*p->steer)
        texts[n++] = "steer", texts[n++] = p->steer;
    if (*p->forget || *p->steer)
        texts[n++] = "residual", texts[n++] = residuals[g->residual];
    if (*p->forget && g->shared == SAEURON_SHARED_RELEASED)
        texts[n++] = "shared", texts[n++] = "released";
    if (*p->forget && g->map_steps)
        texts[n++] = "map_steps", texts[n++] = "yes";
    if (*p->reconstruct)
        texts[n++] = "reconstruct", texts[n++] = p->reconstruct;
    for (; also && *also; also++)
        texts[n++] = *also;
    texts[n++] = "model", texts[n++] = p->model;
    texts[n++] = "contract", texts[n++] = p->contract;
    texts[n] = NULL;
    return SAEURON_OK;
}

void picture_free(picture *p, const saeuron_context *x)
{
    io_free(&x->host, p->forget);
    io_free(&x->host, p->steer);
    io_free(&x->host, p->reconstruct);
}

/* What p says under keyword, or NULL. */
static const char *wanted(const picture *p, const char *keyword)
{
    for (size_t i = 0; p->texts[i]; i += 2)
        if (!strcmp(p->texts[i], keyword))
            return p->texts[i + 1];
    return NULL;
}

/* What `why` says of a damaged file, but with this run's remedy instead of its own, which stands behind its
 * last colon. */
static int make_again(const saeuron_error *why, saeuron_error *err)
{
    size_t kept = 0;
    if (why->code != SAEURON_EFORMAT)
        return fail(err, why->code, "%s", why->text);
    for (const char *at = why->text; (at = strstr(at, ": ")) != NULL; at++)
        kept = (size_t)(at - why->text);
    return fail(err, why->code, "%.*s: delete this file, and it is made again", (int)kept, why->text);
}

/* Whether the file f says what p says; else the error names the first keyword that differs. text [size]:
 * scratch, which every text of f fits. */
static int compare_texts(const picture *p, const png_file *f, char *text, size_t size, saeuron_error *err)
{
    static const char *const keys[] = { "model", "forget", "steps", "cfg", "seed", "noise_index", "prompt",
        "negative_prompt", "size", "noise", "residual", "shared", "half", "map_steps", "steer",
        "reconstruct", "inject", "contract" };
    static const char remedy[] = "use another folder, or delete this one";
    const char *path = f->f.path;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *want = wanted(p, keys[i]);
        saeuron_error why;
        const int code = png_text(f, keys[i], text, size, &why);
        if (code && code != SAEURON_ENOENT)
            return make_again(&why, err);
        if (code && want)
            return fail(err, SAEURON_EFORMAT, "%s: it does not say its %s, which should be \"%.120s\": %s",
                        path, keys[i], want, remedy);
        if (!code && !want)
            return fail(err, SAEURON_EFORMAT, "%s: made with %s \"%.120s\", but this run has none: %s", path,
                        keys[i], text, remedy);
        if (!code && strcmp(text, want))
            return fail(err, SAEURON_EFORMAT, "%s: made with %s \"%.120s\", but this run has \"%.120s\": %s",
                        path, keys[i], text, want, remedy);
    }
    return SAEURON_OK;
}

int picture_load(const picture *p, const saeuron_host *host, const char *path, size_t W, size_t H,
                 unsigned char **rgb, saeuron_error *err)
{
    png_file f;
    saeuron_error why;
    *rgb = NULL;
    int code = png_open(&f, host, path, &why);
    if (code)
        return make_again(&why, err);
    const size_t size = png_text_room(&f);
    char *text = io_alloc(host, size, 1);
    code = text ? compare_texts(p, &f, text, size, err)
                : fail(err, SAEURON_ENOMEM, "%s: no memory for its texts", path);
    if (!code && (f.W != W || f.H != H))
        code = fail(err, SAEURON_EFORMAT,
                    "%s: it has %zu x %zu pixels, not %zu x %zu: delete this file, and it is made again",
                    path, f.W, f.H, W, H);
    if (!code && png_pixels(&f, rgb, &why))
        code = make_again(&why, err);
    io_free(host, text);
    png_close(&f);
    return code;
}
