/* command_encode.c: the commands `tokenize` and `encode`: a text to ids, a text or a picture to numbers.
 *
 *   text --> ids     text --> states [N,D] of the text encoder     FILE.png --> moments, latents of the VAE
 *
 * Not here: tokenizer, text encoder, VAE (tokenizer.c, clip.c, vae.c). */
#include "context.h"
#include "files/npy.h"
#include "files/png.h"
#include "program/messages.h"
#include "program/opening.h"

#include <inttypes.h>
#include <stdio.h>

static const char *out, *image;
static list texts;
static bool strings, latents;

static int one_text(saeuron_error *err)
{
    if (texts.count == 1)
        return SAEURON_OK;
    return fail(err, SAEURON_EUSAGE, texts.count ? "one text, in quotes, is wanted" : "a text is missing");
}

/* ---- tokenize ---- */

static const option tokenize_options[] = {
    { "--strings", NULL, "show the pieces beside their ids", .flag = &strings },
    { .group = model_options }, { .group = synthetic_options },
    { .group = json_options }, { 0 },
};

static void print_ids(const saeuron_context *x, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *before = i ? (as_json ? ", " : " ") : as_json ? "[" : "";
        if (strings && as_json) {
            printf("%s{\"id\": %" PRId32 ", \"piece\": ", before, ids[i]);
            print_text(saeuron_token(x, ids[i]));
            printf("}");
        } else if (strings) {
            printf("%" PRId32 "\t%s\n", ids[i], saeuron_token(x, ids[i]));
        } else {
            printf("%s%" PRId32, before, ids[i]);
        }
    }
    if (as_json || !strings)
        printf(as_json ? "]\n" : "\n");
}

static int run_tokenize(saeuron_error *err)
{
    saeuron_context *x = NULL;
    int code = one_text(err);
    if (code || (code = open_model(&x, NULL, err)) != SAEURON_OK)
        return code;
    const size_t n = saeuron_text_length(x);
    int32_t *ids = io_alloc(&x->host, n, sizeof *ids);
    code = ids ? saeuron_tokenize(x, texts.item[0], ids, NULL, NULL, err)
               : fail(err, SAEURON_ENOMEM, "no memory for %zu ids", n);
    if (!code) {
        print_ids(x, ids, n);
        remark_if_cut(x, texts.item[0]);
    }
    io_free(&x->host, ids);
    saeuron_close(x);
    return code;
}

const command command_tokenize = {
    "tokenize", "TEXT",
    "the ids that the text encoder reads", tokenize_options, &texts, .run = run_tokenize,
};

/* ---- encode ---- */

static const option encode_options[] = {
    { "--out", "FILE.npy", "the file to write", .brief = "-o", .text = &out },
    { "--image", "FILE.png", "encode this picture with the VAE instead of a text", .text = &image },
    { "--latents", NULL, "of --image: its latents [1,C,h,w], as --noise reads them, not mean and log "
                         "variance [2C,h,w]", .flag = &latents },
    { .group = model_options }, { .group = synthetic_options },
    { .group = json_options }, { 0 },
};

/* The states of a text, [N,D]. */
static int encode_text(saeuron_context *x, const char *text, saeuron_error *err)
{
    const size_t shape[2] = { saeuron_text_length(x), saeuron_text_width(x) };
    float *y = io_alloc(&x->host, shape[0] * shape[1], sizeof *y);
    int code = y ? saeuron_encode_text(x, text, y, err)
                 : fail(err, SAEURON_ENOMEM, "no memory for the text states");
    if (!code)
        code = npy_save(&x->host, out, y, shape, 2, err);
    if (!code)
        remark_if_cut(x, text);
    io_free(&x->host, y);
    return code;
}

/* The moments of a picture, [2C,h,w], or with --latents their mode as the UNet knows latents, [1,C,h,w]. */
static int encode_picture(saeuron_context *x, saeuron_error *err)
{
    unsigned char *rgb = NULL;
    float *y = NULL;
    size_t shape[4] = { 1 }, *const latent = shape + 1;
    saeuron_error size;
    png_file f;
    int code = png_open(&f, &x->host, image, err);
    if (code)
        return code;
    if (saeuron_latent_size(x, f.W, f.H, latent, &size))
        code = fail(err, SAEURON_EFORMAT, "%s: %s", image, size.text);
    const size_t n = code ? 0 : latent[0] * latent[1] * latent[2];
    if (!code && !(y = io_alloc(&x->host, n, 2 * sizeof *y)))
        code = fail(err, SAEURON_ENOMEM, "%s: no memory for its latents", image);
    if (!code)
        code = png_pixels(&f, &rgb, err);
    if (!code)
        code = saeuron_encode_image(x, rgb, f.W, f.H, y, err);
    if (!code && latents) {
        saeuron_mode(x, y, y, n);
        code = npy_save(&x->host, out, y, shape, 4, err);
    } else if (!code) {
        latent[0] *= 2;
        code = npy_save(&x->host, out, y, latent, 3, err);
    }
    io_free(&x->host, y);
    io_free(&x->host, rgb);
    png_close(&f);
    return code;
}

static int check_encode(saeuron_error *err)
{
    if (image && texts.count)
        return fail(err, SAEURON_EUSAGE, "--image and a text exclude each other: one at a time");
    if (!image && latents)
        return fail(err, SAEURON_EUSAGE, "--latents is for --image FILE.png");
    if (!image && one_text(err))
        return SAEURON_EUSAGE;
    if (!out || !*out)
        return fail(err, SAEURON_EUSAGE, "--out FILE is missing: where should the numbers go?");
    return SAEURON_OK;
}

static int run_encode(saeuron_error *err)
{
    saeuron_context *x = NULL;
    int code = check_encode(err);
    if (code || (code = open_model(&x, NULL, err)) != SAEURON_OK)
        return code;
    code = image ? encode_picture(x, err) : encode_text(x, texts.item[0], err);
    if (!code && as_json) {
        printf("{\"path\": ");
        print_text(out);
        printf("}\n");
    } else if (!code) {
        printf("%s\n", out);
    }
    saeuron_close(x);
    return code;
}

const command command_encode = {
    "encode", "TEXT -o FILE.npy",
    "the text encoder's states; with --image FILE.png a picture's latents",
    encode_options, &texts, .run = run_encode,
};
