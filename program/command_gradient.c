/* command_gradient.c: the command `gradient`: the derivative of the denoising loss, into a file.
 *
 *   -p TEXT --timestep T, FILE.npy --gradient.c--> FILE.npy
 *
 * Not here: the derivative (gradients/). */
#include "files/npy.h"
#include "gradients/gradient.h"
#include "program/messages.h"
#include "program/opening.h"

#include <stdio.h>
#include <string.h>

static const char *prompt, *latents_path, *target_path, *of, *out;
static size_t timestep;
static uint64_t seed;
static int    edits;                /* through, around */

static const option options[] = {
    { "--prompt", "TEXT", "what the loss is conditioned on", .brief = "-p", .text = &prompt },
    { "--timestep", "T", "of the noise, 0 to 999", .size = &timestep },
    { "--of", "text|latents|tokens|TENSOR", "what the derivative is taken by: the text states, the latents, "
                                            "the token embeddings, or a tensor of UNet or text encoder by "
                                            "its name", .text = &of },
    { "--out", "FILE.npy", "the file to write", .brief = "-o", .text = &out },
    { "--seed", "S", "the seed of torch.randn, of the noise (default 0)", .whole = &seed },
    { "--latents", "FILE.npy", "what the UNet looks at, [1,4,h,w] (default: the noise)",
      .text = &latents_path },
    { "--target", "FILE.npy", "what it should predict, of that shape (default: the noise)",
      .text = &target_path },
    { "--edit", "through|around", "of a hook that is edited: through its latents, or past them, as under "
                                  "no_grad (docs/audit.md A6; default through)", .choice = &edits },
    { .group = forget_options }, { .group = model_options }, { .group = synthetic_options },
    { .group = json_options }, { 0 },
};

static int check_options(saeuron_error *err)
{
    static const char *const needed[][2] = {
        { "--prompt", "TEXT" }, { "--timestep", "T" }, { "--of", "text|latents|tokens|TENSOR" },
        { "--out", "FILE.npy" }
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!given(needed[i][0]))
            return fail(err, SAEURON_EUSAGE, "%s %s is missing", needed[i][0], needed[i][1]);
    if (!*out)
        return fail(err, SAEURON_EUSAGE, "--out FILE is missing: where should the numbers go?");
    if (timestep > 999)
        return fail(err, SAEURON_EUSAGE, "--timestep must be from 0 to 999");
    return SAEURON_OK;
}

/* path's array [1,C,h,w] into *values, io_free's; h and w are set, or must be these if they are already. */
static int read_latents(const saeuron_context *x, const char *path, float **values, gradient_options *o,
                        saeuron_error *err)
{
    size_t shape[TENSOR_DIMS];
    int    ndim, code = npy_load(&x->host, path, values, shape, &ndim, err);
    if (code)
        return code;
    if (ndim != 4 || shape[0] != 1 || shape[1] != x->unet.in_channels || !shape[2] || !shape[3])
        return fail(err, SAEURON_EFORMAT, "%s: latents must have shape [1, %zu, h, w]", path,
                    x->unet.in_channels);
    if (o->h && (shape[2] != o->h || shape[3] != o->w))
        return fail(err, SAEURON_EFORMAT, "%s: has latents of %zu x %zu, but those of --latents are %zu x "
                    "%zu", path, shape[2], shape[3], o->h, o->w);
    o->h = shape[2];
    o->w = shape[3];
    return SAEURON_OK;
}

/* Computes and writes what o asks for. */
static int write_gradient(saeuron_context *x, const gradient_options *o, saeuron_error *err)
{
    size_t shape[TENSOR_DIMS], n = 1;
    double loss = 0;
    int    ndim, code = gradient_shape(x, o, shape, &ndim, err);
    if (code)
        return code;
    for (int i = 0; i < ndim; i++)
        n = times(n, shape[i]);
    float *d = io_alloc(&x->host, n, sizeof *d);
    code = d ? gradient(x, o, d, &loss, err) : fail(err, SAEURON_ENOMEM, "no memory for the derivative");
    if (!code)
        code = npy_save(&x->host, out, d, shape, ndim, err);
    io_free(&x->host, d);
    if (code)
        return code;
    if (as_json) {
        printf("{\"path\": ");
        print_text(out);
        printf(", \"loss\": %.17g}\n", loss);
    } else {
        printf("%s\n", out);
        remark("the loss is %.6g", loss);
    }
    remark_if_cut(x, prompt);
    return SAEURON_OK;
}

static int run(saeuron_error *err)
{
    const saeuron_generate_options g = sampling();
    gradient_options o = { .prompt = prompt, .timestep = (int)timestep, .seed = seed, .of = of,
                           .around = edits == 1, .map_steps = g.map_steps, .residual = g.residual,
                           .shared = g.shared };
    saeuron_context *x = NULL;
    float *latents = NULL, *target = NULL;
    int code = check_options(err);
    if (code || (code = open_model(&x, NULL, err)) != SAEURON_OK)
        return code;
    if (latents_path)
        code = read_latents(x, latents_path, &latents, &o, err);
    if (!code && target_path)
        code = read_latents(x, target_path, &target, &o, err);
    if (!code && !o.h)
        o.h = o.w = x->unet.sample_size;
    o.latents = latents;
    o.target = target;
    if (!code)
        code = forget_all(x, err);
    if (!code)
        code = write_gradient(x, &o, err);
    io_free(&x->host, target);
    io_free(&x->host, latents);
    saeuron_close(x);
    return code;
}

const command command_gradient = {
    "gradient", "-p TEXT --of WHAT", "the derivative of the denoising loss by text, latents or a weight",
    options, NULL, .run = run,
};
