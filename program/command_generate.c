/* command_generate.c: the command `generate`. */
#include "evaluation/picture.h"
#include "files/decimal.h"
#include "files/png.h"
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --steer HOOK:LATENT=FACTOR and --reconstruct HOOK. */
static int steer_all(saeuron_context *x, const options *o, saeuron_error *err)
{
    char hook[96], number[24];
    int  code = SAEURON_OK;
    for (size_t i = 0; !code && i < o->steer.count; i++) {
        const char *text = o->steer.item[i], *colon = strchr(text, ':'), *equals = colon ? strchr(colon, '=') : NULL;
        uint64_t latent;
        double   factor;
        if (!equals || (size_t)(colon - text) >= sizeof hook || (size_t)(equals - colon) > sizeof number)
            return fail(err, SAEURON_EUSAGE, "--steer wants HOOK:LATENT=FACTOR, as up_blocks.1.attentions.2:17=-3, not %.80s", text);
        snprintf(hook, sizeof hook, "%.*s", (int)(colon - text), text);
        snprintf(number, sizeof number, "%.*s", (int)(equals - colon - 1), colon + 1);
        if (!io_parse_uint(number, &latent) || latent > SIZE_MAX)
            return fail(err, SAEURON_EUSAGE, "--steer %.80s: the latent is no whole number", text);
        if (!io_parse_double(equals + 1, &factor))
            return fail(err, SAEURON_EUSAGE, "--steer %.80s: the factor is no number", text);
        code = saeuron_steer(x, hook, (size_t)latent, factor, err);
    }
    for (size_t i = 0; !code && i < o->reconstruct.count; i++)
        code = saeuron_reconstruct(x, o->reconstruct.item[i], err);
    return code;
}

/* ---- the texts of a picture ---- */

/* Writes image number j with what is needed to make it again. digest: the model's. */
static int save_image(const saeuron_context *x, const saeuron_generate_options *g, const options *o, const wires *w, size_t j, const unsigned char *rgb,
                      size_t W, size_t H, uint64_t digest, const char *path, saeuron_error *err)
{
    picture p;
    char *inject = describe_injections(x, w);
    int code = inject ? picture_describe(&p, x, g, j, W, H, digest, inject, err) : fail(err, SAEURON_ENOMEM, "%s: no memory for its texts", path);
    if (code) {
        io_free(&x->host, inject);
        return code;
    }
    code = png_save(&x->host, path, rgb, W, H, p.texts, err);
    if (!code && !o->json)
        printf("%s\n", path);
    if (!code && o->json) {
        printf("{\"path\": ");
        print_json_string(path);
        for (size_t i = 0; p.texts[i]; i += 2) {
            printf(", \"%s\": ", p.texts[i]);
            print_json_string(p.texts[i + 1]);
        }
        printf("}\n");
    }
    picture_free(&p, x);
    io_free(&x->host, inject);
    return code;
}

/* Where image j goes: the file named, or DIR/00000.png. */
static int image_path(char *path, size_t size, const options *o, size_t j, size_t count, saeuron_error *err)
{
    char name[32];
    const size_t n = strlen(o->out);
    const bool folder = count > 1 || (n && o->out[n - 1] == '/');
    snprintf(name, sizeof name, "%05zu.png", j);
    if (folder ? !io_join(path, size, o->out, name) : (size_t)snprintf(path, size, "%s", o->out) >= size)
        return fail(err, SAEURON_EUSAGE, "--out: the path is too long");
    return folder && !j ? io_make_dir(o->out, err) : SAEURON_OK;
}

/* Whether the first image can be written: before the minutes that it takes, not after. */
static int check_output(const options *o, size_t count, saeuron_error *err)
{
    char   path[1024];
    io_out f;
    int    code = image_path(path, sizeof path, o, 0, count, err);
    if (!code && (code = io_out_open(&f, path, err)) == SAEURON_OK)
        io_out_abort(&f);
    return code;
}

/* Makes and saves the images of g, a batch at a time so that a stop keeps what is done. */
static int make_images(saeuron_context *x, saeuron_generate_options *g, const options *o, const wires *w, talk *t, saeuron_error *err)
{
    const saeuron_generate_options all = *g;
    const uint64_t digest = saeuron_model_digest(x);
    size_t W, H, batch = g->tap ? all.count : all.batch ? all.batch : 8, pixels; /* a tap's names know no batch */
    unsigned char *rgb = NULL;
    char path[1024];
    int  code = saeuron_image_size(x, g, &W, &H, err);
    if (code)
        return code;
    batch = batch > all.count ? all.count : batch;
    if (!nn_mul(W * H * 3, batch, &pixels) || !(rgb = io_alloc(&x->host, pixels, 1)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu images at a time: use --batch", batch);
    t->start = t->last = os_seconds();
    t->images = all.count;
    for (size_t first = 0; !code && first < all.count; first += batch) {
        *g = all;
        g->prompts += first;
        g->count = all.count - first < batch ? all.count - first : batch;
        g->noise_index += first;
        g->batch = g->tap ? g->count : all.batch;
        if (all.noise)
            g->noise += first * x->unet.in_channels * (W * H >> 2 * (x->vae.levels - 1));
        t->done = first;
        t->now = g->count;
        code = saeuron_generate(x, g, rgb, err);
        for (size_t j = 0; !code && j < g->count; j++)
            if (!(code = image_path(path, sizeof path, o, first + j, all.count, err)))
                code = save_image(x, g, o, w, j, rgb + j * W * H * 3, W, H, digest, path, err);
    }
    io_free(&x->host, rgb);
    return code;
}

int run_generate(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error    err = { 0 };
    talk   t;
    char  *buffer = NULL;
    const char **prompts = NULL;
    float *noise = NULL;
    saeuron_generate_options g = { 0 };
    wires  w = { .dump = o->dump };

    if (!o->prompt == !o->prompts)
        return usage("generate", "%s or --prompts FILE must be given, and only one of them", "--prompt TEXT");
    if (!o->out || !*o->out)
        return usage("generate", "%s is missing: where should the picture go?", "--out FILE");
    if (o->prompts && o->count != 1)
        return usage("generate", "--count is for %s", "--prompt, not --prompts");
    if (!o->count || o->count > 1000000)
        return usage("generate", "%s must be from 1 to 1000000", "--count");
    int code = open_model(&x, o, &t);
    if (code)
        return code;
    g.count = (size_t)o->count;
    if (o->prompts)
        code = read_prompts(o, &x->host, &buffer, &prompts, &g.count, &err);
    else if (!(prompts = io_alloc(&x->host, g.count, sizeof *prompts)))
        code = fail(&err, SAEURON_ENOMEM, "no memory for %zu prompts", g.count);
    for (size_t i = 0; !code && !o->prompts && i < g.count; i++)
        prompts[i] = o->prompt;
    g.prompts = prompts;
    for (size_t i = 0; !code && i < (o->prompts ? g.count : 1); i++)
        warn_if_cut(x, prompts[i], o->quiet);
    if (!code)
        code = forget_all(x, o, &err);
    if (!code)
        code = steer_all(x, o, &err);
    if (!code)
        code = sampling(&g, o, x, &noise, &err);
    if (!code && (o->dump || o->inject.count)) {
        w.host = &x->host;
        w.steps = g.steps ? g.steps : x->default_steps;
        w.images = g.count;
        g.tap = use_wires;
        g.tap_user = &w;
        g.batch = g.count;
        code = open_injections(&w, x, g, o, &err);
        if (!code && o->dump)
            code = io_make_dir(o->dump, &err);
    }
    if (!code)
        code = check_output(o, g.count, &err);
    if (!code)
        code = make_images(x, &g, o, &w, &t, &err);
    if (w.err.code)
        err = w.err;
    if (code)
        clear_line();
    const int status = code ? complain(&err) : 0;
    if (x) {
        io_free(&x->host, buffer);
        io_free(&x->host, prompts);
        io_free(&x->host, noise);
        close_injections(&w, x);
    }
    saeuron_close(x);
    return status;
}
