/* context.c: a model's folder opened and closed: its networks, scheduler, tokenizer and concepts, and what they must agree on.
 *
 *   DIR/{scheduler,text_encoder,unet,vae,tokenizer}/ --open_model--> saeuron_context
 *
 * Not here: the SAEs at its hooks (forget.c), sampling (saeuron.c). */
#include "context.h"
#include "arithmetic/rng.h"

#include <string.h>

#define TEAM_ENVIRONMENT "a thread of OpenMP's pool was started under a floating-point environment that flushes subnormals or does not round to nearest: " \
                         "start the pool after restoring it, or give the context 1 thread"

enum { SMALL = 1024 }; /* pixels of a latent that count as few */

/* ---- opening ---- */

/* DIR/SUB/NAME.json into *f and *object. */
int open_config(io_file *f, json *object, const saeuron_host *host, const char *dir, const char *name, saeuron_error *err)
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

bool guidance_ok(float g) { return g >= 0 && g <= 1e4f; } /* false for NaN */

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

size_t usual_batch(const saeuron_context *x, size_t W, size_t H) { return (W >> (x->vae.levels - 1)) * (H >> (x->vae.levels - 1)) <= SMALL ? 8 : 1; }

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
