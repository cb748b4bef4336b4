/* itd.c: Interpret-then-Deactivate (itd.h).
 *
 *   a prompt's states [N,D] --SAE--> features [N,n] --largest over tokens--> the `features` that it shows
 *   shown by the erased concepts' prompts and by no other's --> deactivated
 *   states of a prompt --features, the deactivated ones times tau--> y [N,D], and how far y is from them
 *     --far as the erased concepts' prompts are--> y, else the states as they were
 *
 * The start token counts in no choice, and its features are not turned; y is a reconstruction of it, too, as
 * published. "How far" is the mean of (y - states)^2, and far is 0.99 of the least of all erased prompts.
 *
 * Where this parts from the published code: that takes the residual stream behind layer 8 of CLIP's twelve;
 * here it is last_hidden_state, so nothing of the text encoder comes after it. Its prompts are those that are
 * drawn later; here they are concepts.json's calibration prompts, and the others are the domain's other
 * concepts'. It encodes a text without padding; here the padding is what the UNet gets. It multiplies by -8
 * while drawing and, for styles, by -6 to find the threshold; here by tau in both.
 *
 * Letters: N tokens of a text, D wide states, n features (the SAE's latents), k of them a token. */
#include "rivals/itd.h"
#include "arithmetic/order.h"
#include "files/print.h"
#include "forget.h"
#include "layers/machine.h"
#include "training/collect.h"
#include "training/concepts.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define SAFETY 0.99 /* of the least distance among the erased prompts */

struct itd {
    saeuron_context *x;
    itd_options o;
    char     dir[1024];
    sae      s;
    nn       c;
    arena    work;
    void    *memory;
    size_t   N, D;
    concept_set set[DOMAINS];       /* read when a concept of the domain is first forgotten */
    bool    *shows[DOMAINS];        /* [concepts of the set,n], for io_free */
    bool    *erased[DOMAINS];       /* [concepts of the set], behind shows */
    bool    *off;                   /* [n]: deactivated */
    double   threshold;
    float   *states, *y, *row;      /* [N,D], [N,D], [2D] */
    float   *val, *most, *top;      /* [N,k], [n], [features or n] */
    uint32_t *idx, *count, *best;   /* [N,k], [N], [features or n] */
};

static void lay_out(itd *m, arena *a)
{
    const size_t n = m->s.n, k = m->s.k, N = m->N;
    m->off = arena_bytes(a, n, sizeof *m->off);
    m->states = arena_floats(a, times(N, m->D));
    m->y = arena_floats(a, times(N, m->D));
    m->row = arena_floats(a, 2 * m->D);
    m->most = arena_floats(a, n);
    m->val = arena_floats(a, times(N, k));
    m->idx = arena_bytes(a, times(N, k), sizeof *m->idx);
    m->count = arena_bytes(a, N, sizeof *m->count);
    m->top = arena_floats(a, least(m->o.features, n));
    m->best = arena_bytes(a, least(m->o.features, n), sizeof *m->best);
}

/* ---- features ---- */

/* The features that a prompt shows: the strongest over its tokens but the first, of equal ones the lowest
 * number. shows [n] is added to. */
static void mark_shown(itd *m, bool *shows)
{
    memset(m->most, 0, m->s.n * sizeof *m->most);
    for (size_t i = 1; i < m->N; i++)
        for (size_t j = 0; j < m->count[i]; j++) {
            float *at = &m->most[m->idx[i * m->s.k + j]];
            const float v = m->val[i * m->s.k + j];
            *at = v > *at ? v : *at;
        }
    const size_t found = nn_topk(m->best, m->top, m->most, m->s.n, m->o.features);
    for (size_t f = 0; f < found; f++)
        shows[m->best[f]] |= m->top[f] > 0;
}

/* The features of m->states. */
static void encode(itd *m) { sae_encode(&m->c, &m->s, m->idx, m->val, m->count, m->states, m->N); }

static int read_prompt(itd *m, const char *prompt, saeuron_error *err)
{
    const int code = saeuron_encode_text(m->x, prompt, m->states, err);
    if (!code)
        encode(m);
    return code;
}

/* What the concepts of a domain show, by their calibration prompts; once. */
static int read_domain(itd *m, int d, saeuron_error *err)
{
    concept_set *set = &m->set[d];
    char hook[96];
    if (m->shows[d])
        return SAEURON_OK;
    if (!domain_hook(m->x, domain_names[d], hook))
        return fail(err, SAEURON_EFORMAT, "%.300s/concepts.json: domain %s has no \"hook\"", m->x->dir,
                    domain_names[d]);
    concepts_close(set, &m->x->host); /* of a call that failed */
    int code = concepts_open(set, m->x, hook, NULL, 0, err);
    if (code)
        return code;
    bool *shows = io_alloc(&m->x->host, set->count, (m->s.n + 1) * sizeof *shows);
    if (!shows)
        return fail(err, SAEURON_ENOMEM, "no memory for the features of %zu concepts", set->count);
    memset(shows, 0, set->count * m->s.n * sizeof *shows);
    m->erased[d] = shows + set->count * m->s.n;
    for (size_t c = 0; c < set->count && !code; c++)
        for (size_t i = 0; i < set->list[c].count && !code; i++)
            if ((code = read_prompt(m, set->list[c].prompts[i], err)) == SAEURON_OK)
                mark_shown(m, shows + c * m->s.n);
    if (code)
        io_free(&m->x->host, shows);
    else
        m->shows[d] = shows;
    return code;
}

/* ---- the edit ---- */

/* EQ 51: y = decode(f), f times tau where it is deactivated, but at the start token; returns the mean of
 * (y - states)^2, tokens and channels ascending, in double. */
static double deactivate(itd *m)
{
    const size_t D = m->D, k = m->s.k;
    const float tau = (float)m->o.strength;
    double sum = 0;
    for (size_t i = 0; i < m->N; i++) {
        float *y = m->y + i * D, *val = m->val + i * k;
        for (size_t j = 0; i && j < m->count[i]; j++)
            if (m->off[m->idx[i * k + j]])
                val[j] *= tau;
        sae_decode_sparse(&m->s, y, m->idx + i * k, val, m->count[i], m->row);
        for (size_t j = 0; j < D; j++) {
            y[j] += m->s.b_dec[j];
            const double e = (double)y[j] - (double)m->states[i * D + j];
            sum += e * e;
        }
    }
    return sum / (double)(m->N * D);
}

/* Deactivates the features that the erased concepts of the domain show, and no other does; how many. */
static size_t choose(itd *m, int d, const protocol *p, const forgotten *f)
{
    const concept_set *set = &m->set[d];
    size_t chosen = 0;
    for (size_t c = 0; c < set->count; c++) {
        const uint32_t label = concept_find(&p->label[d], set->list[c].name);
        m->erased[d][c] = label != NO_LABEL && f->has[d][label];
    }
    for (size_t l = 0; l < m->s.n; l++) {
        bool erased = false, kept = false;
        for (size_t c = 0; c < set->count; c++)
            *(m->erased[d][c] ? &erased : &kept) |= m->shows[d][c * m->s.n + l];
        m->off[l] |= erased && !kept;
        chosen += erased && !kept;
    }
    return chosen;
}

/* The least distance of the erased prompts of the domain lowers the threshold. */
static int lower_threshold(itd *m, int d, saeuron_error *err)
{
    int code = SAEURON_OK;
    for (size_t c = 0; c < m->set[d].count; c++) {
        const concept_entry *one = &m->set[d].list[c];
        for (size_t i = 0; m->erased[d][c] && i < one->count && !code; i++)
            if ((code = read_prompt(m, one->prompts[i], err)) == SAEURON_OK) {
                const double far = SAFETY * deactivate(m);
                m->threshold = far < m->threshold ? far : m->threshold;
            }
    }
    return code;
}

/* ---- the editor ---- */

static int forget_concepts(void *user, const protocol *p, const forgotten *f, const concept_texts *t,
                           text_out *said, saeuron_error *err)
{
    itd   *m = user;
    size_t chosen = 0;
    int    code = SAEURON_OK;
    if (!p)
        return fail(err, SAEURON_EFORMAT, "%.300s: itd learns concepts from the calibration prompts of "
                    "concepts.json, which is not there", m->x->dir);
    memset(m->off, 0, m->s.n * sizeof *m->off);
    m->threshold = HUGE_VAL;
    for (int d = 0; d < DOMAINS && !code; d++)
        if (forgotten_any(f, d) && (code = read_domain(m, d, err)) == SAEURON_OK)
            chosen += choose(m, d, p, f);
    if (!code && !chosen)
        return fail(err, SAEURON_EFORMAT, "%s: %s shows no feature that others do not: ask for more "
                    "features, or train an SAE of more latents", m->dir, t->erase[0]);
    for (int d = 0; d < DOMAINS && !code; d++)
        if (forgotten_any(f, d))
            code = lower_threshold(m, d, err);
    text_add(said, "itd features %zu tau %g sae %016" PRIx64 ": ", m->o.features, m->o.strength, m->s.digest);
    join_texts(said, t);
    return code;
}

static int edit_states(void *user, const char *prompt, float *states, saeuron_error *err)
{
    itd *m = user;
    (void)prompt, (void)err;
    memcpy(m->states, states, m->N * m->D * sizeof *states);
    encode(m);
    if (deactivate(m) >= m->threshold)
        memcpy(states, m->y, m->N * m->D * sizeof *states);
    return SAEURON_OK;
}

text_editor itd_editor(itd *m) { return (text_editor){ "itd", m, forget_concepts, edit_states }; }

/* ---- opened and closed ---- */

/* Memory for a text, once the SAE is there. */
static int prepare(itd *m, saeuron_error *err)
{
    const saeuron_context *x = m->x;
    const int code = choose_kernels(&m->c, x->host.isa, x->threads, &m->work, err);
    if (code)
        return code;
    lay_out(m, &m->work);
    sae_encode(&m->c, &m->s, NULL, NULL, NULL, NULL, m->N);
    if (m->work.failed || !(m->memory = io_alloc(&x->host, m->work.peak + 64, 1)))
        return fail(err, SAEURON_ENOMEM, "no memory for the features of a text");
    m->work = (arena){ .base = m->memory, .size = m->work.peak + 64 };
    lay_out(m, &m->work);
    return SAEURON_OK;
}

int itd_open(itd **out, saeuron_context *x, const itd_options *o, saeuron_error *err)
{
    itd *m = *out = io_alloc(&x->host, 1, sizeof *m);
    if (!m)
        return fail(err, SAEURON_ENOMEM, "no memory to begin");
    *m = (itd){ .x = x, .o = *o, .N = saeuron_text_length(x), .D = saeuron_text_width(x) };
    if (!(o->strength >= -1e4 && o->strength <= 1e4))
        return fail(err, SAEURON_EUSAGE, "tau must be from -10000 to 10000");
    if (o->dir ? print_into(m->dir, sizeof m->dir, "%s", o->dir) >= sizeof m->dir
               : !sae_folder(x, TEXT_HOOK, m->dir))
        return fail(err, SAEURON_EUSAGE, "the path of the SAE for " TEXT_HOOK " is too long");
    int code = sae_load(&m->s, &x->host, NULL, m->dir, err);
    m->o.features = o->features ? o->features : m->s.k;
    if (!code && (m->s.d != m->D || m->s.diff))
        code = fail(err, SAEURON_EFORMAT, "%s: is for activations %zu wide%s, but text states are %zu wide: "
                    "name an SAE that was trained on `collect --hook " TEXT_HOOK "`", m->dir, m->s.d,
                    m->s.diff ? ", less their input" : "", m->D);
    return code ? code : prepare(m, err);
}

void itd_close(itd *m)
{
    if (!m)
        return;
    const saeuron_host host = m->x->host;
    for (int d = 0; d < DOMAINS; d++) {
        concepts_close(&m->set[d], &host);
        io_free(&host, m->shows[d]);
    }
    sae_unload(&m->s, &host);
    io_free(&host, m->memory);
    io_free(&host, m);
}
