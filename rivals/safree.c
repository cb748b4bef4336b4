/* safree.c: SAFREE (safree.h).
 *
 *   texts of the concepts --text encoder, end token's state--> rows --orthonormal--> C [r,D]
 *   the prompt, each token masked in turn --the same--> p_i --orthonormal--> I [q,D]
 *   tokens i whose p_i lies far from C: states x_i --> (1 - C^T C) I^T I x_i
 *
 * A token is masked by id 0 in its place. What is left of p_i outside of C tells how much the others speak of
 * the concept: the farther, the more of it the masked token said. The start token, the end token and the
 * padding keep their states, as published.
 *
 * The published code takes E (E^T E)^+ E^T for the projection onto the rows E, in float32; here the rows are
 * made orthonormal in double, and one that the others span up to the rounding of the states is left out.
 * It takes several wordings for nudity; here a concept has its one text. Its two other parts, each an option
 * there, are not here: the filter that chooses at how many steps the edited states count (svf), and attention
 * to other frequencies in the UNet (lra). It also gives the concept as the negative prompt: --negative.
 *
 * All in double, sums ascending; an edited state is rounded once.
 *
 * Letters: N tokens of a text, n of them between start and end, D wide states. */
#include "rivals/safree.h"
#include "rivals/encoder.h"
#include "tokenizer.h"

#include <math.h>
#include <string.h>

#define SPANNED 1e-6 /* of a row's length: less is the rounding of its states */

struct safree {
    saeuron_context *x;
    double   alpha;
    encoder  e;
    size_t   N, D, r;               /* r: rows of C */
    double  *C;                     /* [r,D], for the concepts of `forget` */
    double  *p, *distance;          /* [N,D], [N] */
    float   *states;                /* [ENCODED,N,D] */
    int32_t *ids, *masked;          /* [N], [ENCODED,N] */
};

static double dot(const double *a, const double *b, size_t D)
{
    double sum = 0;
    for (size_t j = 0; j < D; j++)
        sum += a[j] * b[j];
    return sum;
}

/* x [D] less its projection onto the orthonormal rows Q [r,D]. */
static void take_out(double *x, const double *Q, size_t r, size_t D)
{
    for (; r > 0; r--, Q += D) {
        const double share = dot(x, Q, D);
        for (size_t j = 0; j < D; j++)
            x[j] -= share * Q[j];
    }
}

/* The rows [n,D] become orthonormal ones of the same span, in place; how many (Gram-Schmidt, twice). */
static size_t orthonormalize(double *rows, size_t n, size_t D)
{
    size_t r = 0;
    for (size_t i = 0; i < n; i++) {
        double *q = rows + r * D;
        memmove(q, rows + i * D, D * sizeof *q);
        const double before = sqrt(dot(q, q, D));
        take_out(q, rows, r, D);
        take_out(q, rows, r, D);
        const double length = sqrt(dot(q, q, D));
        if (!(length > SPANNED * before))
            continue;
        for (size_t j = 0; j < D; j++)
            q[j] /= length;
        r++;
    }
    return r;
}

/* ---- states of end tokens ---- */

/* y [D] = the state of token number `token`. */
static void widen(const safree *s, double *y, const float *states, size_t token)
{
    for (size_t j = 0; j < s->D; j++)
        y[j] = (double)states[token * s->D + j];
}

/* s->p [n,D] = p_i: the end token's states of the text of s->ids [count], its token 1 + i masked. */
static int mask_each(safree *s, size_t n, size_t count, saeuron_error *err)
{
    for (size_t first = 0; first < n; first += ENCODED) {
        const size_t B = least(ENCODED, n - first);
        for (size_t b = 0; b < B; b++) {
            memcpy(s->masked + b * s->N, s->ids, s->N * sizeof *s->ids);
            s->masked[b * s->N + 1 + first + b] = 0;
        }
        encoder_run(&s->e, s->states, s->masked, B);
        for (size_t b = 0; b < B; b++)
            widen(s, s->p + (first + b) * s->D, s->states + b * s->N * s->D, count - 1);
        if (nn_first_bad(s->states, B * s->N * s->D) < B * s->N * s->D)
            return fail(err, SAEURON_ENAN, "the text encoder's states are not finite when a token is masked");
    }
    return SAEURON_OK;
}

/* ---- the editor ---- */

static int forget_texts(void *user, const protocol *p, const forgotten *f, const concept_texts *t,
                        text_out *said, saeuron_error *err)
{
    safree *s = user;
    (void)p, (void)f;
    int     code = SAEURON_OK;
    io_free(&s->x->host, s->C);
    s->r = 0;
    if (!(s->C = io_alloc(&s->x->host, t->erased, s->D * sizeof *s->C)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu concepts", t->erased);
    text_add(said, "safree alpha %g: ", s->alpha);
    join_texts(said, t);
    for (size_t i = 0; i < t->erased && !code; i++) {
        size_t count = 1;
        code = tokenizer_encode(s->x->tokenizer, s->ids, &count, NULL, t->erase[i], err);
        if (!code)
            code = saeuron_encode_text(s->x, t->erase[i], s->states, err);
        if (!code)
            widen(s, s->C + i * s->D, s->states, count - 1);
    }
    if (!code)
        s->r = orthonormalize(s->C, t->erased, s->D);
    return code;
}

/* Whether token i of n is edited: d_i is not below (1 + alpha) times the mean of the others. One alone always
 * is, as published. */
static bool carries(const safree *s, size_t i, size_t n)
{
    double others = 0;
    for (size_t k = 0; k < n; k++)
        others += k == i ? 0 : s->distance[k];
    return n == 1 || !(s->distance[i] < (1 + s->alpha) * (others / (double)(n - 1)));
}

/* EQ 50: y = I^T I x, the part of x in the prompt's subspace; less what of it lies in C. */
static void project(safree *s, float *state, size_t q, double *x, double *y)
{
    widen(s, x, state, 0);
    for (size_t j = 0; j < s->D; j++)
        y[j] = x[j];
    take_out(y, s->p, q, s->D);
    for (size_t j = 0; j < s->D; j++)
        y[j] = x[j] - y[j];
    take_out(y, s->C, s->r, s->D);
    for (size_t j = 0; j < s->D; j++)
        state[j] = (float)y[j];
}

static int edit_states(void *user, const char *prompt, float *states, saeuron_error *err)
{
    safree *s = user;
    size_t  count;
    int     code = tokenizer_encode(s->x->tokenizer, s->ids, &count, NULL, prompt, err);
    const size_t n = code ? 0 : count - 2;
    if (!code)
        code = mask_each(s, n, count, err);
    if (code)
        return code;
    double *const x = s->p + n * s->D, *const y = x + s->D; /* two rows behind the masked prompts' */
    for (size_t i = 0; i < n; i++) {
        memcpy(x, s->p + i * s->D, s->D * sizeof *x);
        take_out(x, s->C, s->r, s->D);
        s->distance[i] = sqrt(dot(x, x, s->D));
    }
    const size_t q = orthonormalize(s->p, n, s->D);
    for (size_t i = 0; i < n; i++)
        if (carries(s, i, n))
            project(s, states + (1 + i) * s->D, q, x, y);
    return SAEURON_OK;
}

text_editor safree_editor(safree *s) { return (text_editor){ "safree", s, forget_texts, edit_states }; }

/* ---- opened and closed ---- */

int safree_open(safree **out, saeuron_context *x, double alpha, saeuron_error *err)
{
    const saeuron_host *host = &x->host;
    safree *s = *out = io_alloc(host, 1, sizeof *s);
    if (!s)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    *s = (safree){ .x = x, .alpha = alpha };
    if (!(alpha >= 0 && alpha <= 1e4))
        return fail(err, SAEURON_EUSAGE, "alpha must be from 0 to 10000");
    const int code = encoder_open(&s->e, x, err);
    if (code)
        return code;
    s->N = s->e.N;
    s->D = s->e.D;
    s->p = io_alloc(host, s->N, s->D * sizeof *s->p);
    s->distance = io_alloc(host, s->N, sizeof *s->distance);
    s->states = io_alloc(host, times(ENCODED, s->N), s->D * sizeof *s->states);
    s->ids = io_alloc(host, s->N, sizeof *s->ids);
    s->masked = io_alloc(host, times(ENCODED, s->N), sizeof *s->masked);
    return s->p && s->distance && s->states && s->ids && s->masked ? SAEURON_OK
         : fail(err, SAEURON_ENOMEM, "no memory for the texts of a prompt");
}

void safree_close(safree *s)
{
    if (!s)
        return;
    const saeuron_host host = s->x->host;
    encoder_close(&s->e);
    io_free(&host, s->C);
    io_free(&host, s->p);
    io_free(&host, s->distance);
    io_free(&host, s->states);
    io_free(&host, s->ids);
    io_free(&host, s->masked);
    io_free(&host, s);
}
