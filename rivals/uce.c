/* uce.c: UCE (uce.h).
 *
 *   texts --text encoder--> states c, and g of the guide, [D] each --> M, z = M^-1 c
 *   W of every attn2.to_k, attn2.to_v --> W + sum of s W (g - c) z^T --edited.c--> folder
 *
 * The paper's closed form is W' = (s sum of (W g) c^T + p sum of (W c) c^T + lambda W) M^-1, the first sum
 * over what is erased, the second over what stays; M = s sum of c c^T + p sum of c c^T + lambda I. All but
 * s W (g - c) c^T of its first factor is W M, which leaves the form above: one solution for a state, and no
 * inverse.
 *
 * Which states of a text: the code of the paper takes all from its last token on, the end token's and the
 * padding's with it, and lays the guide's beside them from its own last token on; p is 0.1. The code of 2025
 * takes the last token's alone, and p is 1. Of "" the last token is the start token. Both codes know more
 * wordings ("painting by X"); here the concept's text stands alone.
 *
 * All in double, sums ascending; each new weight is rounded once.
 *
 * Letters: N tokens of a text, D wide states, s erase_scale, p preserve_scale. */
#include "rivals/uce.h"
#include "files/metadata.h"
#include "rivals/edited.h"
#include "tokenizer.h"

#include <math.h>
#include <string.h>

typedef struct edit_of_weights {
    saeuron_context *x;
    const uce_options *o;
    size_t   D, N, pairs;           /* pairs: of an erased state and the guide's beside it */
    double  *M;                     /* [D,D], then its Cholesky factor in the lower half */
    double  *c, *g, *z;             /* [pairs,D] each */
    double  *shift;                 /* [pairs]: s W (g - c) of one row */
    float   *states, *guide;        /* [N,D] */
    int32_t *ids;                   /* [N] */
} edit_of_weights;

/* ---- texts ---- */

/* The text's states, and the place of its last token. */
static int read_states(edit_of_weights *e, const char *text, float *states, size_t *last, saeuron_error *err)
{
    size_t count;
    const int code = tokenizer_encode(e->x->tokenizer, e->ids, &count, NULL, text, err);
    *last = code ? 0 : count - 2;
    return code ? code : saeuron_encode_text(e->x, text, states, err);
}

/* M = M + scale c c^T, its lower half. */
static void add_square(edit_of_weights *e, const double *c, double scale)
{
    for (size_t i = 0; i < e->D; i++)
        for (size_t j = 0; j <= i; j++)
            e->M[i * e->D + j] += scale * c[i] * c[j];
}

/* y [D] = the state number i. */
static void widen(const edit_of_weights *e, double *y, const float *states, size_t i)
{
    for (size_t j = 0; j < e->D; j++)
        y[j] = (double)states[i * e->D + j];
}

static int read_texts(edit_of_weights *e, saeuron_error *err)
{
    const uce_options *o = e->o;
    const size_t D = e->D;
    size_t from, last;
    int code = read_states(e, o->guide, e->guide, &from, err);
    memset(e->M, 0, D * D * sizeof *e->M);
    for (size_t i = 0; i < D; i++)
        e->M[i * D + i] = o->lambda;
    for (size_t i = 0; i < o->erased && !code; i++) {
        code = read_states(e, o->erase[i], e->states, &last, err);
        const size_t n = code ? 0 : o->last ? 1 : e->N - most(from, last);
        for (size_t k = 0; k < n; k++, e->pairs++) {
            widen(e, e->c + e->pairs * D, e->states, last + k);
            widen(e, e->g + e->pairs * D, e->guide, from + k);
            add_square(e, e->c + e->pairs * D, o->erase_scale);
        }
    }
    for (size_t i = 0; i < o->preserved && !code; i++) {
        code = read_states(e, o->preserve[i], e->states, &last, err);
        const size_t n = code ? 0 : o->last ? 1 : e->N - last;
        for (size_t k = 0; k < n; k++) {
            widen(e, e->z, e->states, last + k);
            add_square(e, e->z, o->preserve_scale);
        }
    }
    return code;
}

/* ---- M z = c ---- */

/* M's lower half becomes L, M = L L^T. M is lambda I and squares, so its pivots are at least lambda but for
 * rounding. */
static int factor(edit_of_weights *e, saeuron_error *err)
{
    const size_t D = e->D;
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = e->M[i * D + j];
            for (size_t k = 0; k < j; k++)
                sum -= e->M[i * D + k] * e->M[j * D + k];
            if (i == j && !(sum > 0 && sum < 1e300))
                return fail(err, SAEURON_ENAN, "the texts' states are too large beside lambda: take a larger "
                            "lambda");
            e->M[i * D + j] = i == j ? sqrt(sum) : sum / e->M[j * D + j];
        }
    return SAEURON_OK;
}

static void solve(const edit_of_weights *e, double *z, const double *c)
{
    const size_t D = e->D;
    for (size_t i = 0; i < D; i++) {
        z[i] = c[i];
        for (size_t k = 0; k < i; k++)
            z[i] -= e->M[i * D + k] * z[k];
        z[i] /= e->M[i * D + i];
    }
    for (size_t i = D; i-- > 0;) {
        for (size_t k = i + 1; k < D; k++)
            z[i] -= e->M[k * D + i] * z[k];
        z[i] /= e->M[i * D + i];
    }
}

/* ---- weights ---- */

static bool is_edited(const tensor *t, size_t D)
{
    const size_t n = strlen(t->name);
    const char *end = n > 18 ? t->name + n - 18 : "";
    return t->ndim == 2 && t->shape[1] == D &&
           (!strcmp(end, ".attn2.to_k.weight") || !strcmp(end, ".attn2.to_v.weight"));
}

/* EQ 45: W' = W + sum over the erased states of s W (g - c) z^T, row by row; y [out,D]. */
static void edit_matrix(const edit_of_weights *e, float *y, const tensor *t)
{
    const size_t D = e->D;
    nn_widen(y, (weight){ .data = t->data, .type = t->type }, 0, t->count);
    for (size_t r = 0; r < t->shape[0]; r++, y += D) {
        for (size_t i = 0; i < e->pairs; i++) {
            e->shift[i] = 0;
            for (size_t j = 0; j < D; j++)
                e->shift[i] += (double)y[j] * (e->g[i * D + j] - e->c[i * D + j]);
            e->shift[i] *= e->o->erase_scale;
        }
        for (size_t j = 0; j < D; j++) {
            double sum = (double)y[j];
            for (size_t i = 0; i < e->pairs; i++)
                sum += e->shift[i] * e->z[i * D + j];
            y[j] = (float)sum;
        }
    }
}

/* Edits every matrix, and writes the folder. */
static int edit_all(const edit_of_weights *e, const char *dir, saeuron_error *err)
{
    const tensors *file = &e->x->unet_file;
    const saeuron_host *host = &e->x->host;
    size_t values = 0, count = 0, at = 0;
    metadata said = { .n = 0 };
    for (size_t i = 0; i < file->count; i++)
        if (is_edited(&file->list[i], e->D)) {
            values += file->list[i].count;
            count++;
        }
    if (!count)
        return fail(err, SAEURON_EFORMAT, "%.300s/unet: has no attn2.to_k and attn2.to_v to edit", e->x->dir);
    float   *y = io_alloc(host, values, sizeof *y);
    changed *list = io_alloc(host, count, sizeof *list);
    int code = y && list ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for %zu edited weights", values);
    for (size_t i = 0, n = 0; i < file->count && !code; i++)
        if (is_edited(&file->list[i], e->D)) {
            edit_matrix(e, y + at, &file->list[i]);
            list[n++] = (changed){ file->list[i].name, y + at };
            at += file->list[i].count;
        }
    if (!code && nn_first_bad(y, values) < values)
        code = fail(err, SAEURON_ENAN, "an edited weight is not finite: take a larger lambda");
    metadata_text(&said, "format", "pt");
    metadata_text(&said, "rival", "uce");
    if (!code)
        code = save_edited(e->x, dir, list, count, said.pair, err);
    io_free(host, list);
    io_free(host, y);
    return code;
}

int uce(saeuron_context *x, const uce_options *o, const char *dir, saeuron_error *err)
{
    edit_of_weights e = { .x = x, .o = o, .D = x->text.D, .N = tokenizer_max_length(x->tokenizer) };
    const saeuron_host *host = &x->host;
    if (!o->erased)
        return fail(err, SAEURON_EUSAGE, "there is no concept to erase");
    if (!(o->lambda > 0))
        return fail(err, SAEURON_EUSAGE, "lambda must be above 0");
    const size_t D = e.D, most_pairs = times(o->erased, e.N);
    const size_t doubles = times(D, D) + times(times(3, most_pairs), D) + most_pairs;
    e.M = io_alloc(host, doubles, sizeof *e.M);
    e.states = io_alloc(host, times(2, e.N), D * sizeof *e.states);
    e.ids = io_alloc(host, e.N, sizeof *e.ids);
    int code = e.M && e.states && e.ids ? SAEURON_OK
             : fail(err, SAEURON_ENOMEM, "no memory to edit text states of width %zu", D);
    if (!code) {
        e.c = e.M + D * D;
        e.g = e.c + most_pairs * D;
        e.z = e.g + most_pairs * D;
        e.shift = e.z + most_pairs * D;
        e.guide = e.states + e.N * D;
        code = read_texts(&e, err);
    }
    if (!code)
        code = factor(&e, err);
    for (size_t i = 0; i < e.pairs && !code; i++)
        solve(&e, e.z + i * D, e.c + i * D);
    if (!code)
        code = edit_all(&e, dir, err);
    io_free(host, e.ids);
    io_free(host, e.states);
    io_free(host, e.M);
    return code;
}
