/* web.c: the library as a page calls it: files and a question in, a picture out; built as saeuron.wasm.
 *
 *   worker.js --room, add_file--> saeuron_host.map      worker.js --draw--> step, latent; picture or error
 *
 * A worker opens one model and draws one picture, so nothing is given back here: the worker's end does that.
 * Not here: what the page looks like (index.html, page.js), text and numbers of JavaScript (worker.js). */
#include "arithmetic/rng.h"
#include "context.h"
#include <stdlib.h>

#define FROM_PAGE(name) __attribute__((import_module("page"), import_name(#name)))
#define TO_PAGE(name)   __attribute__((export_name(#name)))

/* What worker.js gives: how far the sampling is; each latent chosen for a step; the pixels [height,width,3]
 * with the digest that `saeuron digest` prints; or one line that says what is wrong. */
FROM_PAGE(step) void step(size_t done, size_t total);
FROM_PAGE(latent) void latent(const char *hook, size_t row, int timestep, uint32_t number, float score);
FROM_PAGE(picture) void picture(const unsigned char *rgb, size_t width, size_t height, uint64_t digest);
FROM_PAGE(error) void error(const char *text);

/* ---- the host ---- */

typedef struct file {
    const char *path;
    const void *data;
    size_t size;
    struct file *next;
} file;
static file *files;

static void *host_alloc(void *user, size_t size)
{
    (void)user;
    return malloc(size);
}

static void host_free(void *user, void *p)
{
    (void)user;
    free(p);
}

static const void *host_map(void *user, const char *path, size_t *size)
{
    (void)user;
    for (const file *f = files; f; f = f->next)
        if (!strcmp(f->path, path)) {
            *size = f->size;
            return f->data;
        }
    return NULL;
}

static int host_progress(void *user, const char *stage, size_t done, size_t total)
{
    (void)user, (void)stage;
    step(done, total);
    return 0;               /* the page cancels by ending the worker */
}

/* ---- what worker.js calls ---- */

/* Memory for the worker to write to; NULL: there is none. */
TO_PAGE(room) void *web_room(size_t size) { return malloc(size); }

/* The model's file of that path; both path and data stay where they are. false: there is no memory. */
TO_PAGE(add_file) bool web_add_file(const char *path, const void *data, size_t size)
{
    file *f = malloc(sizeof *f);
    if (f)
        *f = (file){ path, data, size, files }, files = f;
    return f != NULL;
}

/* Tells the latents chosen for each step that will be sampled. */
static int tell_latents(const saeuron_context *ctx, size_t steps, saeuron_error *err)
{
    ddim d = ctx->ddim;
    const int code = ddim_set_timesteps(&d, steps, err);
    for (size_t i = 0; !code && i < ctx->hooks; i++) {
        const ablation  *a = ctx->hook[i];
        const selection *s = &a->forget[0];
        for (size_t j = 0; j < steps; j++) {
            const size_t row = stats_row(&a->stats, d.timesteps[j]);
            for (uint32_t k = s->start[row]; k < s->start[row + 1]; k++)
                latent(a->hook, j, d.timesteps[j], s->latent[k], s->score[k]);
        }
    }
    return code;
}

/* Draws the prompt with the model in the folder dir; concept: what is forgotten, or NULL. */
TO_PAGE(draw) void web_draw(const char *dir, const char *prompt, const char *concept, uint64_t seed,
                            size_t steps)
{
    const saeuron_host host = { .alloc = host_alloc, .free = host_free, .map = host_map,
                                .progress = host_progress, .pack = (size_t)256 << 20 };
    const saeuron_forget_options forget = { .name = concept };
    const saeuron_generate_options o = { .prompts = &prompt, .count = 1, .seed = seed, .steps = steps,
                                         .map_steps = 1 };
    saeuron_context *ctx;
    saeuron_error err;
    unsigned char *rgb = NULL;
    size_t width, height;

    int code = saeuron_open(&ctx, &host, dir, &err);
    if (!code && concept && (code = saeuron_forget(ctx, &forget, &err)) == SAEURON_OK)
        code = tell_latents(ctx, steps, &err);
    if (!code)
        code = saeuron_image_size(ctx, &o, &width, &height, &err);
    if (!code && (rgb = malloc(width * height * 3)) == NULL)
        code = fail(&err, SAEURON_ENOMEM, "not enough memory for the pixels: close other pages");
    if (!code)
        code = saeuron_generate(ctx, &o, rgb, &err);
    if (code)
        error(err.text);
    else
        picture(rgb, width, height, nn_hash(0, rgb, width * height * 3));
}
