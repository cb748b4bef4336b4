/* intermediates.c: --dump and --inject, on saeuron_generate's tap.
 *
 *   NAME=FILE --shape checked before the run--> values of the run --> FILE of the dump
 *
 * Not here: where the tap is called (saeuron.c, clip.c, unet.c, vae.c). */
#include "program/intermediates.h"
#include "evaluation/picture.h"
#include "files/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --inject NAME=FILE: the file's values, and what in a run they replace. */
struct injection {
    char       *what;               /* the option's NAME; owned */
    const char *path;
    const char *name;               /* NAME without its prefix */
    long   step, image;             /* of the prefix "stepN." or "imageN."; -1: every one */
    float *values;
    size_t shape[TENSOR_DIMS];
    int    ndim;
    bool   found;
    uint64_t digest;
};

/* The dimensions of a tap's values in a file, in PyTorch's order: [B,N,C] or [B,C,H,W]. Returns how many. */
static int file_shape(size_t out[4], const size_t shape[4], int kind)
{
    const bool tokens = kind == SAEURON_TAP_TOKENS;
    out[0] = shape[0];
    out[1] = tokens ? shape[1] : shape[3];
    out[2] = tokens ? shape[3] : shape[1];
    out[3] = tokens ? 0 : shape[2];
    return tokens ? 3 : 4;
}

/* ---- dump ---- */

/* The VAE decodes one image at a time: among several, the image's number belongs to its values' name. */
static bool of_one_image(const intermediates *w, const char *name)
{
    return w->images > 1 && !strncmp(name, "vae.", 4);
}

/* DIR/stepNNN.NAME.npy, DIR/imageNNNNN.NAME.npy or DIR/NAME.npy. */
static int dump_values(intermediates *w, const char *name, int step, size_t first, const float *values,
                       const size_t shape[4], int kind)
{
    char   path[1024], file[256];
    size_t out[4];
    const int ndim = file_shape(out, shape, kind);
    if (step >= 0)
        snprintf(file, sizeof file, "step%03d.%s.npy", step, name);
    else if (of_one_image(w, name))
        snprintf(file, sizeof file, "image%05zu.%s.npy", first, name);
    else
        snprintf(file, sizeof file, "%s.npy", name);
    if (!io_join(path, sizeof path, w->dump, file))
        return fail(&w->err, SAEURON_EUSAGE, "--dump: the path is too long");
    if (kind == SAEURON_TAP_TOKENS)
        return npy_save(w->host, path, values, out, ndim, &w->err);
    const size_t P = shape[1] * shape[2];
    float *nchw = io_alloc(w->host, shape[0] * P * shape[3], sizeof *nchw);
    if (!nchw)
        return fail(&w->err, SAEURON_ENOMEM, "--dump: no memory for %s", name);
    nn_to_nchw(nchw, values, shape[0], shape[3], P);
    const int code = npy_save(w->host, path, nchw, out, ndim, &w->err);
    io_free(w->host, nchw);
    return code;
}

/* The tap of a run. Where two injections meet, the one named last stays. */
static int inject_and_dump(void *user, const char *name, int step, size_t first, float *values,
                           const size_t shape[4], int kind)
{
    intermediates *w = user;
    for (size_t i = 0; i < w->count; i++) {
        const injection *in = &w->inject[i];
        if (strcmp(in->name, name) || (in->step >= 0 && in->step != step) ||
            (in->image >= 0 && (size_t)in->image != first))
            continue;
        if (kind == SAEURON_TAP_TOKENS)
            memcpy(values, in->values, shape[0] * shape[1] * shape[3] * sizeof *values);
        else
            nn_from_nchw(values, in->values, shape[0], shape[3], shape[1] * shape[2]);
    }
    return w->dump ? dump_values(w, name, step, first, values, shape, kind) : SAEURON_OK;
}

/* ---- inject ---- */

/* "[2, 16, 32]". */
static void shape_text(char *out, size_t size, const size_t *shape, int ndim)
{
    size_t at = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < ndim && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%zu", i ? ", " : "", shape[i]);
    if (at < size)
        snprintf(out + at, size - at, "]");
}

/* Whether `in` replaces the values of this name in the run; step 0 stands for all steps. */
static bool replaces(const injection *in, const intermediates *w, const char *name, int step)
{
    const bool of_step = in->step < 0 || (step >= 0 && (size_t)in->step < w->steps);
    const bool of_image = in->image < 0 || (!strncmp(name, "vae.", 4) && (size_t)in->image < w->images);
    return !strcmp(in->name, name) && of_step && of_image;
}

/* The tap of saeuron_intermediates, before the run: each file must have the shape of what it replaces. */
static int check_shapes(void *user, const char *name, int step, size_t first, float *values,
                        const size_t shape[4], int kind)
{
    intermediates *w = user;
    size_t want[4];
    char   wanted[112], found[220];
    const int ndim = file_shape(want, shape, kind);
    (void)first, (void)values;
    for (size_t i = 0; i < w->count; i++) {
        injection *in = &w->inject[i];
        if (!replaces(in, w, name, step))
            continue;
        in->found = true;
        if (in->ndim == ndim && !memcmp(in->shape, want, (size_t)ndim * sizeof *want))
            continue;
        shape_text(wanted, sizeof wanted, want, ndim);
        shape_text(found, sizeof found, in->shape, in->ndim);
        return fail(&w->err, SAEURON_EFORMAT, "%s: its shape is %s, but that of %s in this run is %s",
                    in->path, found, in->what, wanted);
    }
    return SAEURON_OK;
}

/* The number N of "stepN." or "imageN." at the start of *name, which moves behind it; -1 without one. */
static long take_number(const char **name, const char *word)
{
    const size_t n = strlen(word);
    const char *p = *name + n;
    long number = 0;
    if (strncmp(*name, word, n) || *p < '0' || *p > '9')
        return -1;
    for (; *p >= '0' && *p <= '9'; p++)
        number = number < 100000000 ? 10 * number + (*p - '0') : number;
    if (*p != '.')
        return -1;
    *name = p + 1;
    return number;
}

/* "NAME=FILE.npy" as the next injection of w. */
static int open_injection(intermediates *w, const char *text, saeuron_error *err)
{
    const char *equals = strchr(text, '=');
    injection  *in = &w->inject[w->count];
    size_t      n = 1;
    int         code;
    if (!equals || equals == text || !equals[1])
        return fail(err, SAEURON_EUSAGE, "--inject wants NAME=FILE.npy, as step003.latents=here.npy, not "
                                         "%.80s", text);
    const size_t length = (size_t)(equals - text);
    char *name = io_alloc(w->host, length + 1, 1);
    if (!name)
        return fail(err, SAEURON_ENOMEM, "--inject: no memory for its names");
    snprintf(name, length + 1, "%s", text);
    *in = (injection){ .what = name, .name = name, .path = equals + 1 };
    w->count++;
    in->step = take_number(&in->name, "step");
    in->image = in->step < 0 ? take_number(&in->name, "image") : -1;
    for (const injection *other = w->inject; other < in; other++)
        if (!strcmp(other->name, in->name) && other->step == in->step && other->image == in->image)
            return fail(err, SAEURON_EUSAGE, "--inject %.100s is given twice", in->what);
    if ((code = npy_load(w->host, in->path, &in->values, in->shape, &in->ndim, err)) != SAEURON_OK)
        return code;
    for (int j = 0; j < in->ndim; j++)
        n *= in->shape[j];
    in->digest = digest_floats(in->values, n);
    return SAEURON_OK;
}

/* Each injection must be among the intermediates of the run that g describes. */
static int check_names(intermediates *w, saeuron_context *x, saeuron_generate_options g, saeuron_error *err)
{
    g.tap = check_shapes;
    const int code = saeuron_intermediates(x, &g, err);
    for (size_t i = 0; !code && i < w->count; i++)
        if (!w->inject[i].found)
            return fail(err, SAEURON_EUSAGE, "--inject %.100s: nothing in this run is called that; --dump "
                                             "DIR writes all that there is, by name", w->inject[i].what);
    if (w->err.code)
        *err = w->err;
    return code;
}

int intermediates_open(intermediates *w, saeuron_context *x, saeuron_generate_options *g, const char *dump,
                       const list *inject, saeuron_error *err)
{
    int code = SAEURON_OK;
    *w = (intermediates){ .dump = dump, .host = &x->host, .steps = g->steps ? g->steps : x->default_steps,
                          .images = g->count };
    if (!dump && !inject->count)
        return SAEURON_OK;
    g->tap = inject_and_dump;
    g->tap_user = w;
    g->batch = g->count;
    if (inject->count && !(w->inject = io_alloc(w->host, inject->count, sizeof *w->inject)))
        return fail(err, SAEURON_ENOMEM, "--inject: no memory for its names");
    for (size_t i = 0; !code && i < inject->count; i++)
        code = open_injection(w, inject->item[i], err);
    if (!code && inject->count)
        code = check_names(w, x, *g, err);
    if (!code && dump)
        code = io_make_dir(dump, err);
    return code;
}

void intermediates_close(intermediates *w)
{
    for (size_t i = 0; i < w->count; i++) {
        io_free(w->host, w->inject[i].values);
        io_free(w->host, w->inject[i].what);
    }
    io_free(w->host, w->inject);
}

char *intermediates_describe(const intermediates *w)
{
    size_t at = 0, size = 1;
    for (size_t i = 0; i < w->count; i++)
        size += strlen(w->inject[i].what) + 24;
    char *out = io_alloc(w->host, size, 1);
    if (!out)
        return NULL;
    out[0] = 0;
    for (size_t i = 0; i < w->count; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s %016" PRIx64, at ? "; " : "", w->inject[i].what,
                               w->inject[i].digest);
    return out;
}
