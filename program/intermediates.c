/* intermediates.c: --dump and --inject: every intermediate of a run into files, and files into their places. */
#include "evaluation/picture.h"
#include "files/npy.h"
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- --dump and --inject ---- */

/* The dimensions that a tap's values have in a file, in PyTorch's order: [B,N,C] or [B,C,H,W]. Returns how many. */
static int file_shape(size_t out[4], const size_t shape[4], int kind)
{
    const bool tokens = kind == SAEURON_TAP_TOKENS;
    out[0] = shape[0];
    out[1] = tokens ? shape[1] : shape[3];
    out[2] = tokens ? shape[3] : shape[1];
    out[3] = tokens ? 0 : shape[2];
    return tokens ? 3 : 4;
}

/* Among several images the VAE's values are of one: its number belongs to their name. */
static bool of_one_image(const wires *w, const char *name) { return w->images > 1 && !strncmp(name, "vae.", 4); }

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

/* DIR/stepNNN.NAME.npy, DIR/imageNNNNN.NAME.npy or DIR/NAME.npy. */
static int dump_values(wires *w, const char *name, int step, size_t first, const float *values, const size_t shape[4], int kind)
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

int use_wires(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    wires *w = user;
    for (size_t i = 0; i < w->injections; i++) { /* where two meet, the last named stays */
        const injection *in = &w->inject[i];
        if (strcmp(in->name, name) || (in->step >= 0 && in->step != step) || (in->image >= 0 && (size_t)in->image != first))
            continue;
        if (kind == SAEURON_TAP_TOKENS)
            memcpy(values, in->values, shape[0] * shape[1] * shape[3] * sizeof *values);
        else
            nn_from_nchw(values, in->values, shape[0], shape[3], shape[1] * shape[2]);
    }
    return w->dump ? dump_values(w, name, step, first, values, shape, kind) : SAEURON_OK;
}

/* "[2, 16, 32]". */
static void shape_text(char *out, size_t size, const size_t *shape, int ndim)
{
    size_t at = 0;
    for (int i = 0; i < ndim && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%zu%s", i ? ", " : "[", shape[i], i + 1 < ndim ? "" : "]");
}

/* Hears the names of a run before it begins: each file must have the shape of what it replaces. */
static int hear_name(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    wires *w = user;
    size_t want[4];
    char   wanted[112], found[220];
    const int ndim = file_shape(want, shape, kind);
    (void)first, (void)values;
    for (size_t i = 0; i < w->injections; i++) {
        injection *in = &w->inject[i];
        if (strcmp(in->name, name) || (in->step >= 0 && (step < 0 || (size_t)in->step >= w->steps)) ||
            (in->image >= 0 && (strncmp(name, "vae.", 4) || (size_t)in->image >= w->images)))
            continue;
        in->found = true;
        if (in->ndim == ndim && !memcmp(in->shape, want, (size_t)ndim * sizeof *want))
            continue;
        shape_text(wanted, sizeof wanted, want, ndim);
        shape_text(found, sizeof found, in->shape, in->ndim);
        return fail(&w->err, SAEURON_EFORMAT, "%s: its shape is %s, but that of %s in this run is %s", in->path, in->ndim ? found : "[]", in->what, wanted);
    }
    return SAEURON_OK;
}

/* Reads --inject's files, and checks name and shape of each against the run that g describes. */
int open_injections(wires *w, saeuron_context *x, saeuron_generate_options g, const options *o, saeuron_error *err)
{
    for (size_t i = 0; i < o->inject.count; i++) {
        injection  *in = &w->inject[i];
        const char *equals = strchr(o->inject.item[i], '=');
        size_t n = 1;
        int    code;
        if (!equals || equals == o->inject.item[i] || !equals[1])
            return fail(err, SAEURON_EUSAGE, "--inject wants NAME=FILE.npy, as step003.latents=here.npy, not %.80s", o->inject.item[i]);
        char *name = io_alloc(&x->host, (size_t)(equals - o->inject.item[i]) + 1, 1);
        if (!name)
            return fail(err, SAEURON_ENOMEM, "--inject: no memory for its names");
        memcpy(name, o->inject.item[i], (size_t)(equals - o->inject.item[i]));
        name[equals - o->inject.item[i]] = 0;
        *in = (injection){ .what = name, .name = name, .path = equals + 1 };
        w->injections++;
        in->step = take_number(&in->name, "step");
        in->image = in->step < 0 ? take_number(&in->name, "image") : -1;
        for (size_t j = 0; j < i; j++)
            if (!strcmp(w->inject[j].name, in->name) && w->inject[j].step == in->step && w->inject[j].image == in->image)
                return fail(err, SAEURON_EUSAGE, "--inject %.100s is given twice", in->what);
        if ((code = npy_load(&x->host, in->path, &in->values, in->shape, &in->ndim, err)) != SAEURON_OK)
            return code;
        for (int j = 0; j < in->ndim; j++)
            n *= in->shape[j];
        in->digest = digest_floats(in->values, n);
    }
    if (!w->injections)
        return SAEURON_OK;
    g.tap = hear_name;
    const int code = saeuron_intermediates(x, &g, err);
    for (size_t i = 0; !code && i < w->injections; i++)
        if (!w->inject[i].found)
            return fail(err, SAEURON_EUSAGE, "--inject %.100s: nothing in this run is called that; --dump DIR writes all that there is, by name", w->inject[i].what);
    return code;
}

void close_injections(wires *w, const saeuron_context *x)
{
    for (size_t i = 0; i < w->injections; i++) {
        io_free(&x->host, w->inject[i].values);
        io_free(&x->host, w->inject[i].what);
    }
}

/* "NAME DIGEST; ...": the digest is `saeuron digest FILE`'s. */
char *describe_injections(const saeuron_context *x, const wires *w)
{
    size_t at = 0, size = 1;
    for (size_t i = 0; i < w->injections; i++)
        size += strlen(w->inject[i].what) + 24;
    char *out = io_alloc(&x->host, size, 1);
    if (!out)
        return NULL;
    out[0] = 0;
    for (size_t i = 0; i < w->injections; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s %016" PRIx64, at ? "; " : "", w->inject[i].what, w->inject[i].digest);
    return out;
}
