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

/* ---- opening ---- */

/* DIR/SUB/NAME.json into *f and *object. */
static int open_config(io_file *f, json *object, const saeuron_host *host, const char *dir, const char *name, saeuron_error *err)
{
    char path[1024];
    int  code;
    if (!io_join(path, sizeof path, dir, name))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", dir);
    if ((code = io_open(f, host, path, err)) != SAEURON_OK)
        return code;
    if ((code = json_open(object, (const char *)f->data, f->size, f->path, err)) != SAEURON_OK)
        io_close(f);
    return code;
}

/* One network: DIR/SUB/config.json, then DIR/SUB/STEM.safetensors, bound by walk. often: it runs often enough to be packed. */
static int open_network(saeuron_context *x, const char *sub, const char *stem, tensors *file, void **memory, void *network, bool often,
                        int (*configure)(void *, json, const char *, saeuron_error *), void (*walk)(binder *, void *), saeuron_error *err)
{
    char    dir[1024];
    io_file f;
    json    object;
    nn      c;
    size_t  weights = 0;
    int     code;
    if (!io_join(dir, sizeof dir, x->dir, sub))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", x->dir);
    if ((code = open_config(&f, &object, x->files, dir, "config.json", err)) != SAEURON_OK)
        return code;
    code = configure(network, object, f.path, err);
    io_close(&f);
    if (code)
        return code;
    if (x->made)
        return bind_hashed(&x->host, 0, DT_F16, x->threads, walk, network, memory, err);
    if ((code = tensors_open_model(file, &x->host, dir, stem, err)) != SAEURON_OK)
        return code;
    nn_init(&c, x->host.isa, x->threads, NULL);
    for (size_t i = 0; i < file->count; i++)
        weights += file->list[i].count;
    code = bind_file(&x->host, file, &c, often && weights <= x->host.pack / sizeof(float), walk, network, memory, err);
    tensors_release(file); /* every value was read, to check it; what is used will come back */
    return code;
}

static int configure_clip(void *t, json o, const char *path, saeuron_error *err) { return clip_configure(t, o, path, err); }
static int configure_unet(void *u, json o, const char *path, saeuron_error *err) { return unet_configure(u, o, path, err); }
static int configure_vae(void *v, json o, const char *path, saeuron_error *err) { return vae_configure(v, o, path, err); }

static int open_scheduler(saeuron_context *x, saeuron_error *err)
{
    io_file f;
    json    object;
    int code = open_config(&f, &object, x->files, x->dir, "scheduler/scheduler_config.json", err);
    if (code)
        return code;
    code = ddim_configure(&x->ddim, object, f.path, err);
    io_close(&f);
    return code;
}

static bool guidance_ok(float g) { return g >= 0 && g <= 1e4f; } /* false for NaN */

/* concepts.json is ours: a model without it forgets by the names in its statistics, at 50 steps and guidance 7.5. */
static int open_concepts(saeuron_context *x, saeuron_error *err)
{
    char path[1024];
    int  code;
    x->default_steps = 50;
    x->default_guidance = 7.5f;
    if (!io_join(path, sizeof path, x->dir, "concepts.json") || !io_exists(x->files, path))
        return SAEURON_OK;
    if ((code = open_config(&x->concepts_file, &x->concepts, x->files, x->dir, "concepts.json", err)) != SAEURON_OK) {
        x->concepts.at = NULL;
        return code;
    }
    config c = { .object = x->concepts, .path = x->concepts_file.path, .err = err };
    x->default_steps = config_size(&c, "steps", 50, 1, 1000);
    x->default_guidance = config_float(&c, "guidance", 7.5f);
    if (!c.code && !guidance_ok(x->default_guidance))
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"guidance\" must be from 0 to 10000", c.path);
    return c.code;
}

static int open_tokenizer(saeuron_context *x, saeuron_error *err)
{
    char dir[1024];
    int  code;
    if (!io_join(dir, sizeof dir, x->dir, "tokenizer"))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", x->dir);
    if ((code = tokenizer_open(&x->tokenizer, x->files, dir, err)) != SAEURON_OK)
        return code;
    if (tokenizer_size(x->tokenizer) > x->text.vocab)
        return fail(err, SAEURON_EFORMAT, "%s: the tokenizer has %zu ids, the text encoder's vocab_size is %zu: they belong to different models",
                    dir, tokenizer_size(x->tokenizer), x->text.vocab);
    if (tokenizer_max_length(x->tokenizer) > x->text.positions)
        return tokenizer_set_max_length(x->tokenizer, x->text.positions, err);
    return SAEURON_OK;
}

/* What the parts must agree on. */
static int check_fit(const saeuron_context *x, saeuron_error *err)
{
    if (x->unet.text_width != x->text.D)
        return fail(err, SAEURON_EFORMAT, "%s: the UNet wants text states %zu wide (cross_attention_dim), the text encoder makes %zu (hidden_size)",
                    x->dir, x->unet.text_width, x->text.D);
    if (x->unet.in_channels != x->vae.latent_channels || x->unet.out_channels != x->vae.latent_channels)
        return fail(err, SAEURON_EFORMAT, "%s: the UNet's in_channels %zu and out_channels %zu must both be the VAE's latent_channels %zu",
                    x->dir, x->unet.in_channels, x->unet.out_channels, x->vae.latent_channels);
    return SAEURON_OK;
}

/* Everything of the folder x->dir, or of x->made. */
static int open_parts(saeuron_context *x, saeuron_error *err)
{
    int code = open_scheduler(x, err);
    if (!code)
        code = open_network(x, "text_encoder", "model", &x->text_file, &x->text_memory, &x->text, false, configure_clip, clip_bind, err);
    if (!code)
        code = open_network(x, "unet", "diffusion_pytorch_model", &x->unet_file, &x->unet_memory, &x->unet, true, configure_unet, unet_bind, err);
    if (!code)
        code = open_network(x, "vae", "diffusion_pytorch_model", &x->vae_file, &x->vae_memory, &x->vae, false, configure_vae, vae_bind, err);
    if (!code)
        code = check_fit(x, err);
    if (!code)
        code = open_tokenizer(x, err);
    if (!code)
        code = open_concepts(x, err);
    return code;
}

/* The model in model_dir, or the synthetic one. */
static int open_model(saeuron_context **ctx, const saeuron_host *host, const char *model_dir, const char *made, saeuron_error *err)
{
    saeuron_context *x;
    io_file one;
    nn  c;
    int code = SAEURON_OK;
    *ctx = NULL;
    if (err)
        *err = (saeuron_error){ 0 };
    if (!nn_environment_ok())
        return fail(err, SAEURON_EENV, "the floating-point environment flushes subnormals or does not round to nearest: restore it before calling");
    if (!nn_init(&c, host ? host->isa : NULL, 1, NULL))
        return fail(err, SAEURON_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU; there are: %s", host->isa, nn_isa_list());
    if (!(x = io_alloc(host, 1, sizeof *x)))
        return fail(err, SAEURON_ENOMEM, "no memory to open %.200s", model_dir);
    memset(x, 0, sizeof *x);
    if (host)
        x->host = *host;
    x->files = &x->host;
    x->threads = x->host.threads > 0 ? x->host.threads : os_cores();
    if (!nn_team_environment_ok(x->threads))
        code = fail(err, SAEURON_EENV, TEAM_ENVIRONMENT);
    if (!code && made && !(x->made = synthetic_open(&x->host, made, err)))
        code = err ? err->code : SAEURON_EUSAGE;
    if (x->made)
        x->files = synthetic_host(x->made);
    if (!code && strlen(model_dir) >= sizeof x->dir)
        code = fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", model_dir);
    else if (!code && !x->made && io_open(&one, &x->host, model_dir, NULL) == SAEURON_OK) {
        io_close(&one);
        code = fail(err, SAEURON_EFORMAT, "%.200s: is one file, a diffusers folder was expected: docs/convert.py makes one of it", model_dir);
    }
    if (!code) {
        memcpy(x->dir, model_dir, strlen(model_dir) + 1);
        code = open_parts(x, err);
    }
    if (code) {
        saeuron_close(x);
        return code;
    }
    *ctx = x;
    return SAEURON_OK;
}

int saeuron_open(saeuron_context **ctx, const saeuron_host *host, const char *model_dir, saeuron_error *err)
{
    return open_model(ctx, host, model_dir, NULL, err);
}

int saeuron_open_synthetic(saeuron_context **ctx, const saeuron_host *host, const char *name, saeuron_error *err)
{
    return open_model(ctx, host, SYNTHETIC, name, err);
}

void saeuron_close(saeuron_context *x)
{
    if (!x)
        return;
    const saeuron_host host = x->host;
    saeuron_remember(x);
    for (size_t i = 0; i < x->places; i++)
        io_free(&host, x->place[i]);
    tokenizer_close(x->tokenizer);
    if (x->concepts_file.data)
        io_close(&x->concepts_file);
    tensors_close(&x->text_file);
    tensors_close(&x->unet_file);
    tensors_close(&x->vae_file);
    io_free(&host, x->text_memory);
    io_free(&host, x->unet_memory);
    io_free(&host, x->vae_memory);
    synthetic_close(x->made);
    io_free(&host, x);
}

/* ---- forgetting ---- */

static void unload_hook(saeuron_context *x, ablation *a)
{
    for (size_t j = 0; j < a->count; j++)
        selection_free(&a->forget[j], &x->host);
    stats_unload(&a->stats, &x->host);
    sae_unload(&a->sae, &x->host);
    io_free(&x->host, a);
}

/* Unloads the hooks at which nothing is asked for: those that an error leaves. */
static void drop_idle(saeuron_context *x)
{
    size_t kept = 0;
    for (size_t i = 0; i < x->hooks; i++)
        if (ablation_active(x->hook[i]))
            x->hook[kept++] = x->hook[i];
        else
            unload_hook(x, x->hook[i]);
    x->hooks = kept;
}

void pipeline_rest(saeuron_context *x)
{
    for (size_t i = 0; i < x->hooks; i++) {
        ablation *a = x->hook[i];
        while (a->count)
            selection_free(&a->forget[--a->count], &x->host);
        a->steers = 0;
        a->reconstruct = false;
    }
}

void saeuron_remember(saeuron_context *x)
{
    for (size_t i = 0; i < x->hooks; i++)
        unload_hook(x, x->hook[i]);
    x->hooks = 0;
}

static const char *bare(const char *hook) { return strncmp(hook, "unet.", 5) ? hook : hook + 5; }

static int check_hook(const saeuron_context *x, const char *hook, saeuron_error *err)
{
    return unet_hook_width(&x->unet, hook, NULL) ? SAEURON_OK :
        fail(err, SAEURON_EUSAGE, "there is no hook %.80s in this UNet: hooks are its attentions, as up_blocks.1.attentions.2", hook);
}

bool sae_folder(const saeuron_context *x, const char *hook, char dir[1024])
{
    static const char *const spelling[] = { "", "unet.", "" };
    char name[128], all[1024], path[1024];
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%.96s", spelling[i], hook);
        if (!io_join(all, sizeof all, x->dir, "sae") || !io_join(dir, 1024, all, name) || !io_join(path, sizeof path, dir, "cfg.json"))
            return false;
        if (io_exists(&x->host, path))
            break;
    }
    return true;
}

int saeuron_use_sae(saeuron_context *x, const char *hook, const char *sae_dir, const char *stats_path, saeuron_error *err)
{
    const int code = check_hook(x, hook = bare(hook), err);
    if (code)
        return code;
    if (x->places == sizeof x->place / sizeof *x->place)
        return fail(err, SAEURON_EUSAGE, "too many SAEs named: at most %zu", x->places);
    sae_place *p = io_alloc(&x->host, 1, sizeof *p);
    if (!p)
        return fail(err, SAEURON_ENOMEM, "no memory to note an SAE's folder");
    const int n = snprintf(p->hook, sizeof p->hook, "%s", hook);
    const int m = sae_dir ? snprintf(p->dir, sizeof p->dir, "%s", sae_dir) : sae_folder(x, hook, p->dir) ? 0 : -1;
    const int q = stats_path ? snprintf(p->stats, sizeof p->stats, "%s", stats_path) : snprintf(p->stats, sizeof p->stats, "%s/stats.safetensors", p->dir);
    if (n < 0 || m < 0 || q < 0 || (size_t)n >= sizeof p->hook || (size_t)m >= sizeof p->dir || (size_t)q >= sizeof p->stats) {
        io_free(&x->host, p);
        return fail(err, SAEURON_EUSAGE, "the path of the SAE for %.80s is too long", hook);
    }
    x->place[x->places++] = p;
    return SAEURON_OK;
}

/* Where the SAE of hook is, into dir and path: as named by saeuron_use_sae (the last wins; *named), else in the model's folder. */
static bool find_place(const saeuron_context *x, const char *hook, char dir[1024], char path[1024], bool *named)
{
    *named = true;
    for (size_t i = x->places; i-- > 0;)
        if (!strcmp(x->place[i]->hook, hook)) {
            memcpy(dir, x->place[i]->dir, sizeof x->place[i]->dir);
            memcpy(path, x->place[i]->stats, sizeof x->place[i]->stats);
            return true;
        }
    *named = false;
    return sae_folder(x, hook, dir) && io_join(path, 1024, dir, "stats.safetensors");
}

/* Insertions, deletions and changes between two names, case ignored: for "did you mean". At most 63 letters count. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b) < 63 ? strlen(b) : 63;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i] && i < 63; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            const size_t same = corner + ((a[i] | 32) != (b[j] | 32));
            const size_t side = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            corner = row[j + 1];
            row[j + 1] = same < side ? same : side;
        }
    }
    return row[n];
}

/* The hook whose statistics know the concept. near: the closest name seen, for the message. */
typedef struct found { char hook[96], dir[1024], stats[1024], near[96]; size_t near_distance; bool any; } found;

/* Looks for concept among the statistics of one hook: their tensors' names, without reading a value. */
static int look_at_hook(const saeuron_context *x, const char *hook, const char *concept, found *at, bool *yes, saeuron_error *err)
{
    char    dir[1024], path[1024];
    tensors t;
    int     code;
    bool    named;
    *yes = false;
    if (!find_place(x, hook, dir, path, &named) || (!named && !io_exists(&x->host, path)))
        return SAEURON_OK; /* a hook without statistics; but those that were asked for by name must be there */
    if ((code = tensors_open(&t, &x->host, path, err)) != SAEURON_OK)
        return code;
    at->any |= t.count > 0;
    *yes = tensors_find(&t, concept) != NULL;
    for (size_t i = 0; i < t.count; i++) {
        const size_t d = distance(concept, t.list[i].name);
        if (d < at->near_distance) {
            at->near_distance = d;
            snprintf(at->near, sizeof at->near, "%.90s", t.list[i].name);
        }
    }
    tensors_close(&t);
    if (*yes) {
        memcpy(at->hook, hook, strlen(hook) + 1);
        memcpy(at->dir, dir, sizeof dir);
        memcpy(at->stats, path, sizeof path);
    }
    return SAEURON_OK;
}

static int find_hook(const saeuron_context *x, const char *concept, found *at, saeuron_error *err)
{
    char hook[96];
    bool yes = false;
    memset(at, 0, sizeof *at);
    at->near_distance = (size_t)-1;
    for (size_t i = 0; !yes && unet_hook_name(&x->unet, i, hook, sizeof hook); i++) {
        const int code = look_at_hook(x, hook, concept, at, &yes, err);
        if (code)
            return code;
    }
    if (yes)
        return SAEURON_OK;
    if (!at->any)
        return fail(err, SAEURON_ENOENT, "%.200s/sae/: no hook has statistics here, so nothing can be forgotten; name an SAE with --sae HOOK=DIR", x->dir);
    return fail(err, SAEURON_EUSAGE, "concept %.80s is in no statistics of this model; did you mean %s?", concept, at->near);
}

int hook_sae(const saeuron_context *x, const char *hook, const char *dir, bool pack, sae *s, saeuron_error *err)
{
    const size_t width = unet_hook_width(&x->unet, hook, NULL);
    nn  c;
    int code;
    nn_init(&c, x->host.isa, x->threads, NULL);
    code = sae_load(s, &x->host, pack && x->unet.conv_in.w.packed ? &c : NULL, dir, err); /* a small model's SAE is small */
    if (!code && s->d != width)
        code = fail(err, SAEURON_EFORMAT, "%s: the SAE is %zu wide, the activation at %s is %zu: it was trained for another model or hook", s->file.path, s->d, hook, width);
    return code;
}

/* The ablation of a hook with the SAE of folder dir, loaded if it was not. */
static int load_sae(saeuron_context *x, const char *hook, const char *dir, ablation **out, saeuron_error *err)
{
    ablation *a;
    int code;
    for (size_t i = 0; i < x->hooks; i++)
        if (!strcmp(x->hook[i]->hook, hook)) {
            *out = x->hook[i];
            return SAEURON_OK;
        }
    if (!(a = io_alloc(&x->host, 1, sizeof *a)))
        return fail(err, SAEURON_ENOMEM, "no memory for the SAE of %s", hook);
    memset(a, 0, sizeof *a);
    memcpy(a->hook, hook, strlen(hook) + 1); /* a name that unet_hook_width knows: short */
    code = hook_sae(x, hook, dir, true, &a->sae, err);
    if (code) {
        unload_hook(x, a);
        return code;
    }
    x->hook[x->hooks++] = *out = a;
    return SAEURON_OK;
}

/* The statistics of a hook, loaded if they were not. */
static int load_stats(saeuron_context *x, ablation *a, const char *path, saeuron_error *err)
{
    char digest[24];
    int  code;
    if (a->stats.steps)
        return SAEURON_OK;
    code = stats_load(&a->stats, &x->host, path, err);
    if (!code && a->stats.n != a->sae.n)
        code = fail(err, SAEURON_EFORMAT, "%s: statistics of %zu latents for an SAE of %zu: make them again with this SAE", a->stats.file.path, a->stats.n, a->sae.n);
    snprintf(digest, sizeof digest, "%016" PRIx64, a->sae.digest);
    if (!code && a->stats.sae[0] && strcmp(a->stats.sae, digest))
        code = fail(err, SAEURON_EFORMAT, "%s: made with an SAE of digest %s, but the one beside it has %s: make them again", a->stats.file.path, a->stats.sae, digest);
    if (!code && a->stats.hook[0] && strcmp(bare(a->stats.hook), a->hook))
        code = fail(err, SAEURON_EFORMAT, "%s: its metadata says hook %.80s, but it lies at %s", a->stats.file.path, a->stats.hook, a->hook);
    if (code)
        stats_unload(&a->stats, &x->host);
    return code;
}

/* density.safetensors beside the statistics of a hook, loaded if it was not. */
static int load_density(saeuron_context *x, ablation *a, const char *stats_path, saeuron_error *err)
{
    char path[1024];
    const char *slash = strrchr(stats_path, '/');
    const int n = snprintf(path, sizeof path, "%.*sdensity.safetensors", slash ? (int)(slash - stats_path) + 1 : 0, stats_path);
    if (n < 0 || (size_t)n >= sizeof path)
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", stats_path);
    if (a->stats.density.file_count)
        return SAEURON_OK;
    if (!io_exists(&x->host, path))
        return fail(err, SAEURON_ENOENT, "%s: there is no such file, which --min-density reads: make it with stats --density", path);
    return stats_load_density(&a->stats, &x->host, path, err);
}

/* forget.json's entry for concept: {"top": K | "percentile": P, "strength": G}; what it lacks stays as it is in *how. */
static int read_forget_json(const saeuron_context *x, const char *dir, const char *concept, choice *how, saeuron_error *err)
{
    static const char *const read[] = { "top", "percentile", "strength", NULL };
    char    path[1024];
    io_file f;
    json    object, entry;
    int     code;
    if (!io_join(path, sizeof path, dir, "forget.json") || !io_exists(&x->host, path))
        return SAEURON_OK;
    if ((code = open_config(&f, &object, &x->host, dir, "forget.json", err)) != SAEURON_OK)
        return code;
    if (json_get(object, concept, &entry)) {
        config c = { .object = entry, .path = f.path, .err = err };
        if (json_kind(entry) != '{')
            c.code = fail(err, SAEURON_EFORMAT, "%s: the entry of %.80s is no object {\"top\" or \"percentile\", \"strength\"}", f.path, concept);
        config_known(&c, read, NULL);
        how->top = config_size(&c, "top", 0, 0, 1u << 26);
        how->percentile = config_double(&c, "percentile", how->percentile);
        how->strength = config_float(&c, "strength", how->strength);
        code = c.code;
    }
    io_close(&f);
    return code;
}

static int check_choice(const choice *how, saeuron_error *err)
{
    if (!how->top && !(how->percentile >= 0 && how->percentile <= 100))
        return fail(err, SAEURON_EUSAGE, "the percentile must be from 0 to 100");
    if (!(how->strength >= -1e6f && how->strength <= 1e6f))
        return fail(err, SAEURON_EUSAGE, "the strength must be a number from -1e6 to 1e6");
    if (!(how->min_density >= 0 && how->min_density <= 1))
        return fail(err, SAEURON_EUSAGE, "the least density must be from 0 to 1: a share of tokens");
    return SAEURON_OK;
}

static int forget(saeuron_context *x, const saeuron_forget_options *o, saeuron_error *err)
{
    found     at;
    ablation *a = NULL;
    choice    how = { .top = 0, .percentile = 99.999, .strength = -1 };
    int       code;
    if ((code = find_hook(x, o->name, &at, err)) != SAEURON_OK || (code = load_sae(x, at.hook, at.dir, &a, err)) != SAEURON_OK ||
        (code = load_stats(x, a, at.stats, err)) != SAEURON_OK || (code = read_forget_json(x, at.dir, o->name, &how, err)) != SAEURON_OK)
        return code;
    if (o->top)
        how.top = o->top;
    else if (o->percentile != 0) {
        how.top = 0;
        how.percentile = o->percentile;
    }
    if (o->has_strength)
        how.strength = (float)o->strength;
    how.min_density = o->min_density;
    if ((code = check_choice(&how, err)) != SAEURON_OK || (how.min_density > 0 && (code = load_density(x, a, at.stats, err)) != SAEURON_OK))
        return code;
    if (a->reconstruct)
        return fail(err, SAEURON_EUSAGE, "concept %.80s is forgotten at %s, which is reconstructed alone: choose one", o->name, a->hook);
    if (a->count == FORGETS)
        return fail(err, SAEURON_EUSAGE, "at most %d concepts can be forgotten at one hook", FORGETS);
    for (size_t i = 0; i < a->count; i++)
        if (!strcmp(a->forget[i].concept, o->name))
            return fail(err, SAEURON_EUSAGE, "concept %.80s is named twice", o->name);
    if ((code = selection_make(&a->forget[a->count], &x->host, &a->stats, (size_t)stats_find(&a->stats, o->name), how, err)) == SAEURON_OK)
        a->count++;
    return code;
}

int hook_name(const saeuron_context *x, const char *hook, char name[96], saeuron_error *err)
{
    const int code = check_hook(x, bare(hook), err);
    if (!code)
        memcpy(name, bare(hook), strlen(bare(hook)) + 1); /* a name that unet_hook_width knows: short */
    return code;
}

int hook_folder(const saeuron_context *x, const char *hook, char dir[1024], saeuron_error *err)
{
    char stats_path[1024];
    bool named;
    if (!find_place(x, hook, dir, stats_path, &named))
        return fail(err, SAEURON_EUSAGE, "the path of the SAE for %.80s is too long", hook);
    if (!named && !(io_join(stats_path, sizeof stats_path, dir, "cfg.json") && io_exists(&x->host, stats_path)))
        return fail(err, SAEURON_ENOENT, "%.300s/: there is no SAE for this hook; name its folder with --sae HOOK=DIR", dir);
    return SAEURON_OK;
}

/* The ablation of a hook named by the caller, its SAE loaded. */
static int open_hook(saeuron_context *x, const char *hook, ablation **a, saeuron_error *err)
{
    char dir[1024];
    int  code;
    if ((code = check_hook(x, hook, err)) != SAEURON_OK || (code = hook_folder(x, hook, dir, err)) != SAEURON_OK)
        return code;
    return load_sae(x, hook, dir, a, err);
}

static int steer(saeuron_context *x, const char *hook, size_t latent, double factor, saeuron_error *err)
{
    ablation *a = NULL;
    const int code = open_hook(x, bare(hook), &a, err);
    if (code)
        return code;
    if (latent >= a->sae.n)
        return fail(err, SAEURON_EUSAGE, "there is no latent %zu at %s: its SAE has %zu, counted from 0", latent, a->hook, a->sae.n);
    if (!(factor >= -(double)FLT_MAX && factor <= (double)FLT_MAX)) /* false for NaN */
        return fail(err, SAEURON_EUSAGE, "the factor of latent %zu at %s must be a number within float32's range", latent, a->hook);
    if (a->reconstruct)
        return fail(err, SAEURON_EUSAGE, "latent %zu is steered at %s, which is reconstructed alone: choose one", latent, a->hook);
    for (size_t i = 0; i < a->steers; i++)
        if (a->steer[i].latent == latent)
            return fail(err, SAEURON_EUSAGE, "latent %zu at %s is steered twice", latent, a->hook);
    if (a->steers == STEERS)
        return fail(err, SAEURON_EUSAGE, "at most %d latents can be steered at one hook", STEERS);
    a->steer[a->steers++] = (steering){ (uint32_t)latent, (float)factor };
    return SAEURON_OK;
}

static int reconstruct(saeuron_context *x, const char *hook, saeuron_error *err)
{
    ablation *a = NULL;
    const int code = open_hook(x, bare(hook), &a, err);
    if (code)
        return code;
    if (a->count || a->steers)
        return fail(err, SAEURON_EUSAGE, "%s is reconstructed alone, but %s there: choose one", a->hook, a->count ? "concepts are forgotten" : "latents are steered");
    a->reconstruct = true;
    return SAEURON_OK;
}

/* What each of the three entries begins and ends with. */
static int enter(const char *named, const char *what, saeuron_error *err)
{
    if (!nn_environment_ok())
        return fail(err, SAEURON_EENV, "the floating-point environment flushes subnormals or does not round to nearest");
    return named && *named ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "no %s is named", what);
}

static int leave(saeuron_context *x, int code)
{
    if (code)
        drop_idle(x);
    return code;
}

int saeuron_forget(saeuron_context *x, const saeuron_forget_options *o, saeuron_error *err)
{
    const int code = enter(o->name, "concept", err);
    return code ? code : leave(x, forget(x, o, err));
}

int saeuron_steer(saeuron_context *x, const char *hook, size_t latent, double factor, saeuron_error *err)
{
    const int code = enter(hook, "hook", err);
    return code ? code : leave(x, steer(x, hook, latent, factor, err));
}

int saeuron_reconstruct(saeuron_context *x, const char *hook, saeuron_error *err)
{
    const int code = enter(hook, "hook", err);
    return code ? code : leave(x, reconstruct(x, hook, err));
}

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

size_t usual_batch(const saeuron_context *x, size_t W, size_t H) { return (W >> (x->vae.levels - 1)) * (H >> (x->vae.levels - 1)) <= SMALL ? 8 : 1; }

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

uint64_t saeuron_model_digest(const saeuron_context *x)
{
    const tensors *const files[] = { &x->text_file, &x->unet_file, &x->vae_file };
    uint64_t h = x->made ? nn_hash(0, SYNTHETIC, strlen(SYNTHETIC)) : 0;
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < files[i]->count; j++)
            h = nn_hash(h, files[i]->list[j].data, files[i]->list[j].bytes);
    for (size_t i = 0; i < 3; i++)
        tensors_release(files[i]);
    return h;
}

const char *saeuron_kernels(const saeuron_context *x)
{
    nn c;
    return nn_init(&c, x->host.isa, 1, NULL) ? nn_isa_name(&c) : "none";
}

int saeuron_contract(void) { return SAEURON_CONTRACT_VERSION; }
