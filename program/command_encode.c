/* command_encode.c: the commands `tokenize` and `encode`. */
#include "files/npy.h"
#include "files/png.h"
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int one_text(const options *o, const char *command)
{
    return o->rest.count == 1 ? 0 : usage(command, "%s", o->rest.count ? "one text, in quotes, is wanted" : "a text is missing");
}

int run_tokenize(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk   t;
    size_t count, cut;
    int    code = one_text(o, "tokenize");
    if (code || (code = open_model(&x, o, &t)))
        return code;
    const size_t max = saeuron_text_length(x);
    int32_t *ids = io_alloc(&x->host, max, sizeof *ids);
    code = ids ? saeuron_tokenize(x, o->rest.item[0], ids, &count, &cut, &err) : fail(&err, SAEURON_ENOMEM, "no memory for %zu ids", max);
    for (size_t i = 0; !code && i < max; i++) {
        const char *space = i ? (o->json ? ", " : " ") : o->json ? "[" : "";
        if (o->strings && o->json) {
            printf("%s{\"id\": %" PRId32 ", \"piece\": ", space, ids[i]);
            print_json_string(saeuron_token(x, ids[i]));
            printf("}");
        } else if (o->strings) {
            printf("%" PRId32 "\t%s\n", ids[i], saeuron_token(x, ids[i]));
        } else {
            printf("%s%" PRId32, space, ids[i]);
        }
    }
    if (!code && (o->json || !o->strings))
        printf(o->json ? "]\n" : "\n");
    if (!code)
        warn_if_cut(x, o->rest.item[0], o->quiet);
    io_free(&x->host, ids);
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

/* The states of a text, [N,D]. */
static int encode_text(saeuron_context *x, const options *o, saeuron_error *err)
{
    const size_t shape[2] = { saeuron_text_length(x), saeuron_text_width(x) };
    float *y = io_alloc(&x->host, shape[0] * shape[1], sizeof *y);
    int code = y ? saeuron_encode_text(x, o->rest.item[0], y, err) : fail(err, SAEURON_ENOMEM, "no memory for the text states");
    if (!code)
        code = npy_save(&x->host, o->out, y, shape, 2, err);
    if (!code)
        warn_if_cut(x, o->rest.item[0], o->quiet);
    io_free(&x->host, y);
    return code;
}

/* --image: its moments [2C,h,w] or, with --latents, their mode as the UNet knows latents, [1,C,h,w]. */
static int encode_picture(saeuron_context *x, const options *o, saeuron_error *err)
{
    unsigned char *rgb = NULL;
    float *y = NULL;
    size_t W, H, shape[4] = { 1 }, *const latent = shape + 1;
    saeuron_error size;
    int code = png_load(&x->host, o->image, &rgb, &W, &H, err);
    if (!code && saeuron_latent_size(x, W, H, latent, &size))
        code = fail(err, SAEURON_EFORMAT, "%s: %s", o->image, size.text);
    const size_t n = code ? 0 : latent[0] * latent[1] * latent[2];
    if (!code && !(y = io_alloc(&x->host, n, 2 * sizeof *y)))
        code = fail(err, SAEURON_ENOMEM, "%s: no memory for its latents", o->image);
    if (!code)
        code = saeuron_encode_image(x, rgb, W, H, y, err);
    if (!code && o->latents) {
        saeuron_mode(x, y, y, n);
        code = npy_save(&x->host, o->out, y, shape, 4, err);
    } else if (!code) {
        latent[0] *= 2;
        code = npy_save(&x->host, o->out, y, latent, 3, err);
    }
    io_free(&x->host, y);
    io_free(&x->host, rgb);
    return code;
}

int run_encode(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk t;
    int  code = 0;
    if (o->image && o->rest.count)
        code = usage("encode", "%s and a text exclude each other: one at a time", "--image");
    else if (!o->image && o->latents)
        code = usage("encode", "%s is for --image FILE.png", "--latents");
    else if (!o->image)
        code = one_text(o, "encode");
    if (!code && (!o->out || !*o->out))
        code = usage("encode", "%s is missing: where should the numbers go?", "--out FILE");
    if (code || (code = open_model(&x, o, &t)))
        return code;
    t.quiet = true; /* there is nothing to tell on the way; it only listens for a stop */
    code = o->image ? encode_picture(x, o, &err) : encode_text(x, o, &err);
    if (!code)
        printf("%s\n", o->out);
    saeuron_close(x);
    return code ? complain(&err) : 0;
}
