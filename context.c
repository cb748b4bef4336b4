/* context.c: a model's folder opened and closed: scheduler, networks, tokenizer, concepts, and what they must
 * agree on.
 *
 *   DIR/{scheduler,text_encoder,unet,vae,tokenizer}/, concepts.json --context_open--> saeuron_context
 *
 * Not here: the SAEs at its hooks (forget.c), sampling (saeuron.c).
 * Source: diffusers' folders, as DiffusionPipeline.save_pretrained writes them; docs/formats.md. */
#include "context.h"
#include "arithmetic/rng.h"
#include "layers/machine.h"

#include <string.h>

enum { SMALL = 1024 }; /* pixels of a latent */

bool small_latent(size_t pixels) { return pixels <= SMALL; }

bool guidance_ok(float guidance) { return guidance >= 0 && guidance <= 1e4f; } /* false for NaN */

int open_config(io_file *f, json *object, const saeuron_host *host, const char *dir, const char *name,
                saeuron_error *err)
{
    char path[1024];
    int  code;
    if (!io_join(path, sizeof path, dir, name))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", dir);
    if ((code = io_open(f, host, path, err)) != SAEURON_OK)
        return code;
    if ((code = json_open_object(object, (const char *)f->data, f->size, f->path, err)) != SAEURON_OK)
        io_close(f);
    return code;
}

/* ---- networks ---- */

/* One network of a folder: where its files are, how its config is read, how its tensors are bound. */
typedef struct network {
    const char *sub, *stem;         /* DIR/SUB/config.json, DIR/SUB/STEM.safetensors */
    tensors *file;
    void  **memory, *net;
    int   (*configure)(void *net, json object, const char *path, saeuron_error *err);
    void  (*bind)(binder *b, void *net);
} network;

static int configure_clip(void *t, json o, const char *path, saeuron_error *err)
{
    return clip_configure(t, o, path, err);
}
/* Saved by a diffusers older than 0.9. */
static bool saved_before_0_9(config *c)
{
    char version[32];
    config_string(c, "_diffusers_version", "", version, sizeof version);
    return !strncmp(version, "0.", 2) && version[2] >= '0' && version[2] < '9' &&
           (version[3] < '0' || version[3] > '9');
}

/* StableDiffusionPipeline takes 64 for a smaller sample_size of an old UNet. */
static int configure_unet(void *u, json o, const char *path, saeuron_error *err)
{
    config c = { .object = o, .path = path, .err = err };
    unet  *net = u;
    const int code = unet_configure(net, o, path, err);
    if (!code && saved_before_0_9(&c) && net->sample_size < 64)
        net->sample_size = 64;
    return code ? code : c.code;
}

static int configure_vae(void *v, json o, const char *path, saeuron_error *err)
{
    return vae_configure(v, o, path, err);
}

static int read_weights(saeuron_context *ctx, const network *n, const char *dir, saeuron_error *err)
{
    nn  c;
    int code;
    if (ctx->made)
        return bind_hashed(&ctx->host, 0, DT_F16, ctx->threads, n->bind, n->net, n->memory, err);
    if ((code = tensors_open_model(n->file, &ctx->host, dir, n->stem, err)) != SAEURON_OK)
        return code;
    nn_init(&c, ctx->host.isa, ctx->threads, NULL);
    code = bind_file(&ctx->host, n->file, &c, packs(&ctx->host, n->file), n->bind, n->net, n->memory, err);
    tensors_release(n->file); /* binding has read every value, to check it; what is needed will come back */
    return code;
}

static int open_network(saeuron_context *ctx, const network *n, saeuron_error *err)
{
    char    dir[1024];
    io_file f;
    json    object;
    int     code;
    if (!io_join(dir, sizeof dir, ctx->dir, n->sub))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", ctx->dir);
    if ((code = open_config(&f, &object, ctx->files, dir, "config.json", err)) != SAEURON_OK)
        return code;
    code = n->configure(n->net, object, f.path, err);
    io_close(&f);
    return code ? code : read_weights(ctx, n, dir, err);
}

static int open_networks(saeuron_context *ctx, saeuron_error *err)
{
    const network list[] = {
        { "text_encoder", "model", &ctx->text_file, &ctx->text_memory, &ctx->text, configure_clip,
          clip_bind },
        { "unet", "diffusion_pytorch_model", &ctx->unet_file, &ctx->unet_memory, &ctx->unet,
          configure_unet, unet_bind },
        { "vae", "diffusion_pytorch_model", &ctx->vae_file, &ctx->vae_memory, &ctx->vae, configure_vae,
          vae_bind },
    };
    int code = SAEURON_OK;
    for (size_t i = 0; i < sizeof list / sizeof *list && !code; i++)
        code = open_network(ctx, &list[i], err);
    return code;
}

/* What the networks must agree on. */
static int check_fit(const saeuron_context *ctx, saeuron_error *err)
{
    const unet  *u = &ctx->unet;
    const size_t C = ctx->vae.latent_channels;
    if (u->text_width != ctx->text.D)
        return fail(err, SAEURON_EFORMAT,
                    "%s: the UNet wants text states %zu wide (cross_attention_dim), the text encoder makes "
                    "%zu (hidden_size)",
                    ctx->dir, u->text_width, ctx->text.D);
    if (u->in_channels != C || u->out_channels != C)
        return fail(err, SAEURON_EFORMAT,
                    "%s: the UNet's in_channels %zu and out_channels %zu must both be the VAE's "
                    "latent_channels %zu",
                    ctx->dir, u->in_channels, u->out_channels, C);
    return SAEURON_OK;
}

/* ---- the other parts ---- */

static int open_scheduler(saeuron_context *ctx, saeuron_error *err)
{
    io_file f;
    json    object;
    int code = open_config(&f, &object, ctx->files, ctx->dir, "scheduler/scheduler_config.json", err);
    if (code)
        return code;
    code = ddim_configure(&ctx->ddim, object, f.path, err);
    io_close(&f);
    return code;
}

static int open_tokenizer(saeuron_context *ctx, saeuron_error *err)
{
    char dir[1024];
    int  code;
    if (!io_join(dir, sizeof dir, ctx->dir, "tokenizer"))
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", ctx->dir);
    if ((code = tokenizer_open(&ctx->tokenizer, ctx->files, dir, err)) != SAEURON_OK)
        return code;
    if (tokenizer_size(ctx->tokenizer) > ctx->text.vocab)
        return fail(err, SAEURON_EFORMAT,
                    "%s: the tokenizer has %zu ids, the text encoder's vocab_size is %zu: they belong to "
                    "different models",
                    dir, tokenizer_size(ctx->tokenizer), ctx->text.vocab);
    if (tokenizer_max_length(ctx->tokenizer) > ctx->text.positions)
        return tokenizer_set_max_length(ctx->tokenizer, ctx->text.positions, err);
    return SAEURON_OK;
}

/* "domains" holds objects; each may name a hook of this UNet. */
static int check_domains(const saeuron_context *ctx, config *c)
{
    json domains, key, domain;
    char name[32], hook[96];
    if (!config_has(c, "domains") || !json_get(c->object, "domains", &domains))
        return c->code;
    if (!c->code && json_kind(domains) != '{')
        c->code = fail(c->err, SAEURON_EFORMAT, "%s: \"domains\" must be an object", c->path);
    for (json_iter it = json_begin(domains); !c->code && json_next(&it, &key, &domain);) {
        config d = { .object = domain, .path = c->path, .err = c->err };
        if (!json_string(key, name, sizeof name, NULL))
            strcpy(name, "(a long name)");
        if (json_kind(domain) != '{')
            d.code = fail(c->err, SAEURON_EFORMAT, "%s: domain %s must be an object", c->path, name);
        config_string(&d, "hook", "", hook, sizeof hook);
        if (!d.code && *hook && !unet_hook_width(&ctx->unet, unet_bare_hook(hook), NULL))
            d.code = fail(c->err, SAEURON_EFORMAT, "%s: domain %s: \"hook\" %s is none of this UNet's: they "
                          "are its attentions, as up_blocks.1.attentions.2", c->path, name, hook);
        c->code = d.code;
    }
    return c->code;
}

/* concepts.json is ours. A model without it has diffusers' defaults, 50 steps and guidance 7.5. */
static int open_concepts(saeuron_context *ctx, saeuron_error *err)
{
    char path[1024];
    int  code;
    ctx->default_steps = 50;
    ctx->default_guidance = 7.5f;
    if (!io_join(path, sizeof path, ctx->dir, "concepts.json") || !io_exists(ctx->files, path))
        return SAEURON_OK;
    code = open_config(&ctx->concepts_file, &ctx->concepts, ctx->files, ctx->dir, "concepts.json", err);
    if (code) {
        ctx->concepts.at = NULL;
        return code;
    }
    config c = { .object = ctx->concepts, .path = ctx->concepts_file.path, .err = err };
    ctx->default_steps = config_size(&c, "steps", 50, 1, 1000);
    ctx->default_guidance = config_float(&c, "guidance", 7.5f);
    if (!c.code && !guidance_ok(ctx->default_guidance))
        c.code = fail(err, SAEURON_EFORMAT, "%s: \"guidance\" must be from 0 to 10000", c.path);
    return check_domains(ctx, &c);
}

/* ---- open and close ---- */

/* Notes where the model is: the synthetic one, or the folder dir. */
static int find_model(saeuron_context *ctx, const char *dir, const char *made, saeuron_error *err)
{
    io_file one;
    if (strlen(dir) >= sizeof ctx->dir)
        return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", dir);
    memcpy(ctx->dir, dir, strlen(dir) + 1);
    ctx->files = &ctx->host;
    if (made) {
        saeuron_error why = { 0 };
        if (!(ctx->made = synthetic_open(&ctx->host, made, &why)))
            return fail(err, why.code, "%s", why.text);
        ctx->files = synthetic_host(ctx->made);
    } else if (io_open(&one, &ctx->host, dir, NULL) == SAEURON_OK) {
        io_close(&one);
        return fail(err, SAEURON_EFORMAT,
                    "%.200s: is one file, a diffusers folder was expected: docs/convert.py makes one of it",
                    dir);
    }
    return SAEURON_OK;
}

int context_open(saeuron_context **out, const saeuron_host *host, const char *dir, const char *made,
                 saeuron_error *err)
{
    const int threads = host && host->threads > 0 ? host->threads : os_cores();
    saeuron_context *ctx;
    nn  c;
    int code;
    *out = NULL;
    if (err)
        *err = (saeuron_error){ 0 };
    if ((code = check_environment(threads, err)) != SAEURON_OK)
        return code;
    if ((code = choose_kernels(&c, host ? host->isa : NULL, 1, NULL, err)) != SAEURON_OK)
        return code;
    if (!(ctx = io_alloc(host, 1, sizeof *ctx)))
        return fail(err, SAEURON_ENOMEM, "no memory to open %.200s", dir);
    memset(ctx, 0, sizeof *ctx);
    if (host)
        ctx->host = *host;
    ctx->threads = threads;

    code = find_model(ctx, dir, made, err);
    if (!code)
        code = open_scheduler(ctx, err);
    if (!code)
        code = open_networks(ctx, err);
    if (!code)
        code = check_fit(ctx, err);
    if (!code)
        code = open_tokenizer(ctx, err);
    if (!code)
        code = open_concepts(ctx, err);
    if (code)
        context_close(ctx);
    else
        *out = ctx;
    return code;
}

void context_close(saeuron_context *ctx)
{
    const saeuron_host host = ctx->host;
    for (size_t i = 0; i < ctx->places; i++)
        io_free(&host, ctx->place[i]);
    tokenizer_close(ctx->tokenizer);
    if (ctx->concepts_file.data)
        io_close(&ctx->concepts_file);
    tensors_close(&ctx->text_file);
    tensors_close(&ctx->unet_file);
    tensors_close(&ctx->vae_file);
    io_free(&host, ctx->text_memory);
    io_free(&host, ctx->unet_memory);
    io_free(&host, ctx->vae_memory);
    synthetic_close(ctx->made);
    io_free(&host, ctx);
}

/* ---- facts ---- */

size_t usual_batch(const saeuron_context *ctx, size_t W, size_t H)
{
    const size_t scale = vae_scale(&ctx->vae);
    return small_latent((W / scale) * (H / scale)) ? 8 : 1;
}

int context_unchanged(const saeuron_context *ctx, saeuron_error *err)
{
    const tensors *const files[] = { &ctx->text_file, &ctx->unet_file, &ctx->vae_file };
    int code = SAEURON_OK;
    for (size_t i = 0; i < 3 && !code; i++)
        code = tensors_unchanged(files[i], err);
    for (size_t i = 0; i < ctx->hooks && !code; i++)
        if ((code = tensors_unchanged(&ctx->hook[i]->sae.file, err)) == SAEURON_OK)
            code = tensors_unchanged(&ctx->hook[i]->stats.file, err);
    return code;
}

uint64_t context_digest(const saeuron_context *ctx)
{
    const tensors *const files[] = { &ctx->text_file, &ctx->unet_file, &ctx->vae_file };
    uint64_t h = ctx->made ? nn_hash(0, SYNTHETIC, strlen(SYNTHETIC)) : 0;
    for (size_t i = 0; i < 3; i++) {
        h = tensors_digest(h, files[i]);
        tensors_release(files[i]);
    }
    return h;
}
