/* command_generate.c: the command `generate`: prompts to pictures, with what is forgotten or changed.
 *
 *   options --saeuron_forget, _steer, _reconstruct--> model --saeuron_generate, batch by batch--> FILE.png
 *
 * Not here: sampling (saeuron.c), a picture's texts (picture.c), --dump and --inject (intermediates.c). */
#include "evaluation/picture.h"
#include "files/decimal.h"
#include "files/png.h"
#include "program/intermediates.h"
#include "program/means.h"
#include "program/messages.h"
#include "program/naming.h"
#include "program/opening.h"

#include <stdio.h>
#include <string.h>

static const char *prompt, *prompts, *out, *dump;
static size_t count = 1;
static list   steer, reconstruct, inject;

static const option options[] = {
    { "--prompt", "TEXT", "what to draw", .brief = "-p", .text = &prompt },
    { "--prompts", "FILE", "one image for each line of FILE, instead of --prompt", .text = &prompts },
    { "--count", "N", "so many images of the prompt (default 1)", .count = &count },
    { "--out", "FILE", "the file to write; for several images a folder", .brief = "-o", .text = &out },
    { .group = start_options }, { .group = sampling_options }, { .group = batch_options },
    { .group = forget_options }, { .group = means_options },
    { "--steer", "HOOK:LATENT=FACTOR", "multiply one latent wherever it fires (docs/audit.md A20)",
      .list = &steer },
    { "--reconstruct", "HOOK", "the SAE's reconstruction instead of the activation", .list = &reconstruct },
    { "--dump", "DIR", "every intermediate as .npy, by its diffusers module path and step", .text = &dump },
    { "--inject", "NAME=FILE.npy", "put a file in an intermediate's place; NAME as --dump names it",
      .list = &inject },
    { .group = model_options }, { .group = synthetic_options },
    { .group = json_options }, { 0 },
};

/* ---- what is changed ---- */

/* --steer HOOK:LATENT=FACTOR. */
static int steer_one(saeuron_context *x, const char *text, saeuron_error *err)
{
    char hook[96], number[24];
    const char *colon = strchr(text, ':'), *equals = colon ? strchr(colon, '=') : NULL;
    uint64_t latent;
    double   factor;
    if (!equals || (size_t)(colon - text) >= sizeof hook || (size_t)(equals - colon) > sizeof number)
        return fail(err, SAEURON_EUSAGE, "--steer wants HOOK:LATENT=FACTOR, as "
                                         "up_blocks.1.attentions.2:17=-3, not %.80s", text);
    snprintf(hook, sizeof hook, "%.*s", (int)(colon - text), text);
    snprintf(number, sizeof number, "%.*s", (int)(equals - colon - 1), colon + 1);
    if (!io_parse_uint(number, &latent) || latent > SIZE_MAX)
        return fail(err, SAEURON_EUSAGE, "--steer %.80s: the latent is no whole number", text);
    if (!io_parse_double(equals + 1, &factor))
        return fail(err, SAEURON_EUSAGE, "--steer %.80s: the factor is no number", text);
    return saeuron_steer(x, hook, (size_t)latent, factor, err);
}

/* --forget by its name: what the negative prompt is, or what a picture says. */
static int forget_by_name(const opened_means *m, saeuron_context *x, text_out *said, saeuron_error *err)
{
    static named n;
    const char *names = forget_asked();
    if (!names || !*names)
        return fail(err, SAEURON_EUSAGE, "--by does nothing without --forget");
    int code = name_concepts(&n, x, names, err);
    if (!code && m->by.negative)
        join_texts(said, &n.t);
    else if (!code)
        code = m->editor.forget(m->editor.user, n.known ? &n.p : NULL, &n.what, &n.t, said, err);
    if (!code && said->failed)
        code = fail(err, SAEURON_ENOMEM, "no memory for what is forgotten");
    close_named(&n);
    return code ? code : place_saes(x, err);
}

/* --forget, --steer, --reconstruct. */
static int change_all(const opened_means *m, saeuron_context *x, text_out *said, saeuron_error *err)
{
    int code = means_name(&m->by) ? forget_by_name(m, x, said, err) : forget_all(x, err);
    if (!code && given("--residual") && !given("--forget") && !steer.count)
        code = fail(err, SAEURON_EUSAGE, "--residual does nothing without --forget or --steer");
    for (size_t i = 0; !code && i < steer.count; i++)
        code = steer_one(x, steer.item[i], err);
    for (size_t i = 0; !code && i < reconstruct.count; i++)
        code = saeuron_reconstruct(x, reconstruct.item[i], err);
    return code;
}

/* ---- pictures ---- */

/* A picture of W x H pixels; digest: the model's. */
typedef struct drawing {
    saeuron_context *x;
    intermediates    w;
    opened_means     means;
    text_out         said;          /* what forgets by name: the negative prompt, or what the editor says */
    float           *embeds;        /* [batch,N,D] of the editor, or NULL */
    size_t   count, W, H;           /* images in all */
    double   growth;                /* the largest of all calls (saeuron_growth) */
    uint64_t digest;
} drawing;

/* Where image j goes: the file named, or DIR/00000.png. */
static int image_path(char path[1024], size_t j, size_t images, saeuron_error *err)
{
    char name[32];
    const bool folder = images > 1 || is_folder(out);
    snprintf(name, sizeof name, "%05zu.png", j);
    const int code = output_path(path, out, folder ? name : NULL, err);
    return !code && folder && !j ? io_make_dir(out, err) : code;
}

/* Whether the first image can be written: asked before the minutes that it takes, not after. */
static int check_output(size_t images, saeuron_error *err)
{
    char   path[1024];
    io_out f;
    int    code = image_path(path, 0, images, err);
    if (!code && (code = io_out_open(&f, path, err)) == SAEURON_OK)
        io_out_abort(&f);
    return code;
}

static void print_picture(const picture *p, const char *path)
{
    if (!as_json) {
        printf("%s\n", path);
        return;
    }
    printf("{\"path\": ");
    print_text(path);
    for (size_t i = 0; p->texts[i]; i += 2) {
        printf(", \"%s\": ", p->texts[i]);
        print_text(p->texts[i + 1]);
    }
    printf("}\n");
}

/* Writes image j of the call g, image number `first` + j of all, with what is needed to make it again. */
static int save_image(const drawing *d, const saeuron_generate_options *g, size_t first, size_t j,
                      const unsigned char *rgb, saeuron_error *err)
{
    picture p;
    char    path[1024], *injected = intermediates_describe(&d->w);
    const char *also[5];
    size_t  n = 0;
    if (d->means.by.editor)
        also[n++] = "forget", also[n++] = d->said.at;
    if (injected && *injected)
        also[n++] = "inject", also[n++] = injected;
    also[n] = NULL;
    int code = injected ? picture_describe(&p, d->x, g, j, d->W, d->H, d->digest, also, err)
                        : fail(err, SAEURON_ENOMEM, "no memory for the texts of an image");
    if (!code) {
        code = image_path(path, first + j, d->count, err);
        if (!code)
            code = png_save(&d->x->host, path, rgb, d->W, d->H, p.texts, err);
        if (!code)
            print_picture(&p, path);
        picture_free(&p, d->x);
    }
    io_free(&d->x->host, injected);
    return code;
}

/* g->prompt_embeds: the prompts' states as the editor leaves them. A prompt that follows itself is encoded
 * once. */
static int edit_texts(drawing *d, saeuron_generate_options *g, saeuron_error *err)
{
    const text_editor *editor = d->means.by.editor;
    const size_t n = saeuron_text_length(d->x) * saeuron_text_width(d->x);
    int code = SAEURON_OK;
    for (size_t i = 0; editor && i < g->count && !code; i++) {
        float *states = d->embeds + i * n;
        if (i && g->prompts[i] == g->prompts[i - 1]) {
            memcpy(states, states - n, n * sizeof *states);
            continue;
        }
        code = edited_text(d->x, editor, g->prompts[i], states, err);
    }
    g->prompt_embeds = d->embeds;
    return code;
}

/* The images [first, first + n) of `all`, as a call of their own. */
static saeuron_generate_options part_of(const drawing *d, const saeuron_generate_options *all, size_t first,
                                        size_t n)
{
    saeuron_generate_options g = *all;
    g.prompts += first;
    g.count = n;
    g.noise_index += first;
    if (all->tap)
        g.batch = n;
    if (all->noise)
        g.noise += first * d->x->unet.in_channels * (d->W * d->H >> 2 * (d->x->vae.levels - 1));
    return g;
}

/* Makes and saves all images, a batch at a time so that a stop keeps what is done. With a tap there is one
 * batch: its names know no other. */
static int make_images(drawing *d, const saeuron_generate_options *all, saeuron_error *err)
{
    size_t batch = all->tap ? all->count : all->batch ? all->batch : 8, pixels;
    unsigned char *rgb = NULL;
    int    code = saeuron_image_size(d->x, all, &d->W, &d->H, err);
    if (code)
        return code;
    batch = batch > all->count ? all->count : batch;
    d->count = all->count;
    d->digest = saeuron_model_digest(d->x);
    const size_t text = saeuron_text_length(d->x) * saeuron_text_width(d->x);
    if (!nn_mul(d->W * d->H * 3, batch, &pixels) || !(rgb = io_alloc(&d->x->host, pixels, 1)) ||
        (d->means.by.editor && !(d->embeds = io_alloc(&d->x->host, times(batch, text), sizeof *d->embeds)))) {
        io_free(&d->x->host, rgb);
        return fail(err, SAEURON_ENOMEM, "no memory for %zu images at a time: use --batch", batch);
    }
    for (size_t first = 0; !code && first < all->count; first += batch) {
        const size_t n = all->count - first < batch ? all->count - first : batch;
        saeuron_generate_options g = part_of(d, all, first, n);
        expect(all->count, first, n);
        code = edit_texts(d, &g, err);
        if (!code)
            code = saeuron_generate(d->x, &g, rgb, err);
        d->growth = saeuron_growth(d->x) > d->growth ? saeuron_growth(d->x) : d->growth;
        for (size_t j = 0; !code && j < n; j++)
            code = save_image(d, &g, first, j, rgb + j * d->W * d->H * 3, err);
    }
    io_free(&d->x->host, d->embeds);
    io_free(&d->x->host, rgb);
    return code;
}

/* ---- generate ---- */

static int check_options(saeuron_error *err)
{
    if (!prompt == !prompts)
        return fail(err, SAEURON_EUSAGE, "--prompt TEXT or --prompts FILE must be given, and only one of "
                                         "them");
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out FILE is missing: where should the picture go?");
    if (prompts && count != 1)
        return fail(err, SAEURON_EUSAGE, "--count is for --prompt, not --prompts");
    if (count > 1000000)
        return fail(err, SAEURON_EUSAGE, "--count must be from 1 to 1000000");
    return SAEURON_OK;
}

/* The lines of --prompts, or --prompt --count times. */
static int list_prompts(prompt_lines *p, const saeuron_context *x, saeuron_error *err)
{
    int code = SAEURON_OK;
    if (prompts)
        code = read_prompts(p, prompts, &x->host, err);
    else if (!(p->line = io_alloc(&x->host, count, sizeof *p->line)))
        code = fail(err, SAEURON_ENOMEM, "no memory for %zu prompts", count);
    for (; !code && !prompts && p->count < count; p->count++)
        p->line[p->count] = prompt;
    for (size_t i = 0; !code && i < (prompts ? p->count : 1); i++)
        remark_if_cut(x, p->line[i]);
    return code;
}

static int draw(drawing *d, const prompt_lines *p, saeuron_error *err)
{
    saeuron_generate_options g = sampling();
    float *noise = NULL;
    d->said.host = &d->x->host;
    int    code = open_means(&d->means, d->x, err);
    if (!code)
        code = change_all(&d->means, d->x, &d->said, err);
    if (d->means.by.negative)
        g.negative_prompt = d->said.at;
    g.prompts = p->line;
    g.count = p->count;
    if (!code)
        code = read_noise(&g, d->x, &noise, err);
    if (!code)
        code = intermediates_open(&d->w, d->x, &g, dump, &inject, err);
    if (!code)
        code = check_output(g.count, err);
    if (!code)
        code = make_images(d, &g, err);
    if (!code)
        remark_growth(d->x, d->growth);
    if (code && d->w.err.code) /* the tap stopped it, and knows why */
        *err = d->w.err;
    intermediates_close(&d->w);
    close_means(&d->means);
    text_free(&d->said);
    io_free(&d->x->host, noise);
    return code;
}

static int run(saeuron_error *err)
{
    drawing d = { .x = NULL };
    prompt_lines p = { 0 };
    int code = check_options(err);
    if (!code)
        code = choose_means(&d.means, err);
    if (!code)
        code = open_model(&d.x, NULL, err);
    if (code)
        return code;
    code = list_prompts(&p, d.x, err);
    if (!code)
        code = draw(&d, &p, err);
    free_prompts(&p, &d.x->host);
    saeuron_close(d.x);
    return code;
}

const command command_generate = {
    "generate", "-p TEXT -o FILE.png",
    "draw a prompt, with --forget what SAeUron leaves of it", options, .run = run,
};
