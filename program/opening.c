/* opening.c: what commands open alike: the model, its SAEs, what is forgotten, how is sampled, prompts. */
#include "files/decimal.h"
#include "files/npy.h"
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACK ((size_t)256 << 20) /* bytes that a small model's weights may take once more, for speed */

/* ---- opening what the options name ---- */

/* --model, else what SAEURON_MODEL names, else the first place where a model is. NULL: there is none. */
static const char *find_model(const options *o)
{
    static const char *const places[] = { MODEL_HERE, MODEL_INSTALLED };
    const char *named = o->model ? o->model : getenv("SAEURON_MODEL");
    char path[1024];
    if (named && (o->model || *named))
        return named;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (io_join(path, sizeof path, places[i], "scheduler/scheduler_config.json") && io_exists(NULL, path))
            return places[i];
    return NULL;
}

int open_model(saeuron_context **x, const options *o, talk *t)
{
    saeuron_error err = { 0 };
    const char *model = find_model(o);
    const saeuron_host host = { .user = t, .progress = show_progress, .threads = o->threads > 1024 ? 1024 : (int)o->threads, .isa = o->isa, .pack = PACK };
    if (o->has_threads && !o->threads)
        return fprintf(stderr, "saeuron: --threads must be at least 1\n"), 2;
    *t = (talk){ .quiet = o->quiet, .start = os_seconds(), .last = os_seconds(), .images = 1, .now = 1 };
    if (!model && !o->synthetic) {
        fail(&err, SAEURON_ENOENT, "there is no model at %s nor at %s: name a diffusers folder with --model DIR or in SAEURON_MODEL", MODEL_HERE, MODEL_INSTALLED);
        return complain(&err);
    }
    return (o->synthetic ? saeuron_open_synthetic(x, &host, o->synthetic, &err) : saeuron_open(x, &host, model, &err)) ? complain(&err) : 0;
}

/* --sae HOOK=DIR and --stats FILE (whose metadata names its hook). */
int place_saes(saeuron_context *x, const options *o, saeuron_error *err)
{
    char hook[96];
    int  code;
    for (size_t i = 0; i < o->sae.count; i++) {
        const char *equals = strchr(o->sae.item[i], '=');
        if (!equals || (size_t)(equals - o->sae.item[i]) >= sizeof hook)
            return fail(err, SAEURON_EUSAGE, "--sae wants HOOK=DIR, as up_blocks.1.attentions.2=my-sae");
        snprintf(hook, sizeof hook, "%.*s", (int)(equals - o->sae.item[i]), o->sae.item[i]);
        if ((code = saeuron_use_sae(x, hook, equals + 1, NULL, err)) != SAEURON_OK)
            return code;
    }
    for (size_t i = 0; i < o->stats.count; i++) {
        stats s;
        const char *dir = NULL;
        if ((code = stats_load(&s, &x->host, o->stats.item[i], err)) != SAEURON_OK)
            return code;
        memcpy(hook, s.hook, sizeof hook);
        if (!strncmp(hook, "unet.", 5))
            memmove(hook, hook + 5, strlen(hook + 5) + 1);
        stats_unload(&s, &x->host);
        if (!unet_hook_width(&x->unet, hook, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: its metadata names %s%s: which hook is it for?", o->stats.item[i], *hook ? "no hook of this UNet, but " : "no hook", hook);
        for (size_t j = 0; j < x->places; j++)
            if (!strcmp(x->place[j]->hook, hook))
                dir = x->place[j]->dir;
        if ((code = saeuron_use_sae(x, hook, dir, o->stats.item[i], err)) != SAEURON_OK)
            return code;
    }
    return SAEURON_OK;
}

/* --forget A,B with --top, --percentile, --strength for all of them. */
int forget_all(saeuron_context *x, const options *o, saeuron_error *err)
{
    const char *alone = o->top ? "--top" : o->has_percentile ? "--percentile" : o->has_strength ? "--strength" : o->has_min_density ? "--min-density" : o->shared ? "--shared" : NULL;
    int code = place_saes(x, o, err);
    if (!code && o->forget && !*o->forget)
        return fail(err, SAEURON_EUSAGE, "--forget names no concept");
    if (!code && !o->forget && alone)
        return fail(err, SAEURON_EUSAGE, "%s does nothing without --forget", alone);
    if (!code && !o->forget && !o->steer.count && o->residual)
        return fail(err, SAEURON_EUSAGE, "--residual does nothing without --forget or --steer");
    for (const char *p = o->forget; !code && p && *p;) {
        char name[96];
        const size_t n = strcspn(p, ",");
        if (n >= sizeof name)
            return fail(err, SAEURON_EUSAGE, "--forget: %.40s... is no concept", p);
        memcpy(name, p, n);
        name[n] = 0;
        const saeuron_forget_options f = { .name = name, .top = (size_t)o->top, .percentile = o->percentile, .strength = o->strength,
                                       .has_strength = o->has_strength, .min_density = o->min_density };
        code = saeuron_forget(x, &f, err);
        p += n + (p[n] == ',');
    }
    if (!code && o->has_percentile && o->top)
        return fail(err, SAEURON_EUSAGE, "--top and --percentile exclude each other");
    if (!code && o->has_percentile && !(o->percentile > 0 && o->percentile <= 100))
        return fail(err, SAEURON_EUSAGE, "--percentile must be above 0 and at most 100");
    return code;
}

/* The options of sampling as the library takes them. *noise is the caller's to free. */
int sampling(saeuron_generate_options *g, const options *o, const saeuron_context *x, float **noise, saeuron_error *err)
{
    size_t shape[TENSOR_DIMS], want[4], width, height;
    int    ndim, code;
    *noise = NULL;
    g->negative_prompt = o->negative;
    g->seed = o->seed;
    g->noise_index = o->noise_index;
    g->steps = (size_t)o->steps;
    g->guidance = o->guidance;
    g->has_guidance = o->has_guidance;
    g->height = (size_t)o->height;
    g->width = (size_t)o->width;
    g->batch = (size_t)o->batch;
    g->map_steps = o->map_steps;
    if (o->residual && strcmp(o->residual, "paper")) {
        g->residual = !strcmp(o->residual, "released") ? SAEURON_RESIDUAL_RELEASED : !strcmp(o->residual, "none") ? SAEURON_RESIDUAL_NONE : -1;
        if (g->residual < 0)
            return fail(err, SAEURON_EUSAGE, "--residual must be paper, released or none");
    }
    if (o->shared && strcmp(o->shared, "largest") && strcmp(o->shared, "released"))
        return fail(err, SAEURON_EUSAGE, "--shared must be largest or released");
    g->shared = o->shared && !strcmp(o->shared, "released") ? SAEURON_SHARED_RELEASED : SAEURON_SHARED_LARGEST;
    if (!o->noise)
        return SAEURON_OK;
    if ((code = saeuron_image_size(x, g, &width, &height, err)) != SAEURON_OK || (code = npy_load(&x->host, o->noise, noise, shape, &ndim, err)) != SAEURON_OK)
        return code;
    want[0] = g->count;
    want[1] = x->unet.in_channels;
    want[2] = height >> (x->vae.levels - 1);
    want[3] = width >> (x->vae.levels - 1);
    if (ndim != 4 || memcmp(shape, want, sizeof want))
        return fail(err, SAEURON_EFORMAT, "%s: the noise must have shape [%zu, %zu, %zu, %zu]", o->noise, want[0], want[1], want[2], want[3]);
    g->noise = *noise;
    return SAEURON_OK;
}

int read_shard(const char *text, size_t *i, size_t *n, saeuron_error *err)
{
    return io_parse_part(text, i, n) ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "--shard wants I/N with I from 0 to N-1, as 0/4; not \"%.40s\"", text);
}

/* The lines of a prompts file, as pointers into one buffer with NULs for newlines; empty lines are left out. */
int read_prompts(const options *o, const saeuron_host *host, char **buffer, const char ***prompts, size_t *count, saeuron_error *err)
{
    io_file f;
    int code = io_open(&f, host, o->prompts, err);
    size_t lines = 1;
    if (code)
        return code;
    for (size_t i = 0; i < f.size; i++)
        lines += f.data[i] == '\n';
    *buffer = io_alloc(host, f.size + 1, 1);
    *prompts = io_alloc(host, lines, sizeof **prompts);
    *count = 0;
    if (!*buffer || !*prompts) {
        io_close(&f);
        return fail(err, SAEURON_ENOMEM, "%s: no memory for its prompts", o->prompts);
    }
    memcpy(*buffer, f.data, f.size);
    (*buffer)[f.size] = 0;
    if (memchr(*buffer, 0, f.size))
        code = fail(err, SAEURON_EFORMAT, "%s: a NUL byte in it: prompts are lines of UTF-8 text", o->prompts);
    io_close(&f);
    for (char *p = *buffer + (strncmp(*buffer, "\xEF\xBB\xBF", 3) ? 0 : 3); !code && *p;) { /* a byte-order mark is no prompt */
        const size_t n = strcspn(p, "\n");
        const bool last = !p[n];
        p[n] = 0;
        if (n && p[n - 1] == '\r')
            p[n - 1] = 0;
        if (*p)
            (*prompts)[(*count)++] = p;
        p += n + !last;
    }
    if (!code && !*count)
        code = fail(err, SAEURON_EFORMAT, "%s: there is no prompt in it", o->prompts);
    return code;
}

void warn_if_cut(const saeuron_context *x, const char *prompt, bool quiet)
{
    size_t cut = 0;
    int32_t *ids = io_alloc(&x->host, saeuron_text_length(x), sizeof *ids);
    if (ids && !saeuron_tokenize(x, prompt, ids, NULL, &cut, NULL) && cut && !quiet)
        fprintf(stderr, "saeuron: the prompt is %zu tokens longer than the text encoder's %zu: its end is cut off\n", cut, saeuron_text_length(x));
    io_free(&x->host, ids);
}

int read_type(dtype *type, const char *text, dtype otherwise, saeuron_error *err)
{
    *type = !text ? otherwise : !strcmp(text, "F32") ? DT_F32 : !strcmp(text, "F16") ? DT_F16 : DT_NONE;
    return *type != DT_NONE ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "--dtype must be F32 or F16");
}
