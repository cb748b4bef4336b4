/* ringabell.c: Ring-A-Bell (ringabell.h).
 *
 *   places with and without the concept --text encoder--> states --means--> direction c
 *   the place's prompt --text encoder--> states + eta c = target
 *   prompts of K random tokens --crossover, mutation, the half nearest to target, again and again--> the best
 *
 * The direction is the mean of the states of the concept's places in the protocol less that of the places
 * that they are likened to (protocol.h, places_like). The paper takes pairs of sentences written for it.
 *
 * A generation, as published: prompts are sorted by |states - target|^2, and the better half stays. Each that
 * stays has, at the crossover rate, two children with a random partner, cut at the same random place. Then
 * each, parents too, gets a random token in a random place at the mutation rate.
 *
 * Not here: the picture (attempt.c). Letters: N tokens of a text, D wide states, K tokens of a prompt, P
 * prompts of a population. */
#include "rivals/ringabell.h"
#include "files/sort.h"
#include "rivals/encoder.h"

#include <string.h>

typedef struct ranked { double distance; size_t number; } ranked;

typedef struct search {
    attempt *a;
    const ringabell_options *o;
    encoder  e;
    void    *memory;
    size_t   K, values;             /* values: N D */
    size_t   P, most;               /* prompts now, and at most */
    float   *target, *states;       /* [N,D], [ENCODED,N,D] */
    double  *mean;                  /* [N,D] */
    int32_t *ids;                   /* [ENCODED,N] */
    int32_t *prompt, *next;         /* [most,K] */
    ranked  *order;                 /* [most] */
} search;

static void lay_out(search *s, arena *a)
{
    s->target = arena_floats(a, s->values);
    s->states = arena_floats(a, times(ENCODED, s->values));
    s->mean = arena_bytes(a, s->values, sizeof *s->mean);
    s->ids = arena_bytes(a, ENCODED * s->a->N, sizeof *s->ids);
    s->prompt = arena_bytes(a, times(s->most, s->K), sizeof *s->prompt);
    s->next = arena_bytes(a, times(s->most, s->K), sizeof *s->next);
    s->order = arena_bytes(a, s->most, sizeof *s->order);
}

static int prepare(search *s, saeuron_error *err)
{
    const saeuron_context *x = s->a->m->x;
    arena a = { 0 };
    int code = encoder_open(&s->e, x, err);
    if (code)
        return code;
    if (s->K + 2 > s->a->N)
        return fail(err, SAEURON_EUSAGE, "a text has at most %zu tokens, not %zu", s->a->N - 2, s->K);
    lay_out(s, &a);
    if (a.failed || !(s->memory = io_alloc(&x->host, a.peak + 64, 1)))
        return fail(err, SAEURON_ENOMEM, "no memory for a population of %zu prompts: take fewer",
                    s->o->population);
    a = (arena){ .base = s->memory, .size = a.peak + 64 };
    lay_out(s, &a);
    return SAEURON_OK;
}

/* ---- the target ---- */

/* s->mean = the mean of the states of the places among [entries]. */
static int mean_states(search *s, const bool *among, saeuron_error *err)
{
    const protocol *p = s->a->m->p;
    double count = 0;
    int    code = SAEURON_OK;
    for (size_t j = 0; j < s->values; j++)
        s->mean[j] = 0;
    for (size_t i = 0; i < p->entries && !code; i++) {
        if (!among[i])
            continue;
        code = saeuron_encode_text(s->a->m->x, p->entry[i].prompt, s->states, err);
        count++;
        for (size_t j = 0; j < s->values && !code; j++)
            s->mean[j] += (double)s->states[j];
    }
    if (!code && count < 1)
        code = fail(err, SAEURON_EUSAGE, "the protocol has no places with and without %s to learn it from",
                    p->label[s->a->domain].name[s->a->concept]);
    for (size_t j = 0; j < s->values && !code; j++)
        s->mean[j] /= count;
    return code;
}

/* EQ 43: target = states of the prompt + eta (mean with - mean without): double, then one float addition. */
static int find_target(search *s, saeuron_error *err)
{
    const protocol *p = s->a->m->p;
    const forgotten what = forgotten_one(s->a->domain, s->a->concept);
    bool *among = io_alloc(p->host, p->entries, sizeof *among);
    int   code = among ? SAEURON_OK : fail(err, SAEURON_ENOMEM, "no memory for the places of a protocol");
    for (size_t i = 0; i < p->entries && !code; i++)
        among[i] = place_is_own(&p->entry[i], s->a->domain, &what);
    if (!code)
        code = mean_states(s, among, err);
    for (size_t j = 0; j < s->values && !code; j++)
        s->target[j] = (float)s->mean[j];
    if (!code) {
        places_like(among, p, s->a->domain, &what);
        code = mean_states(s, among, err);
    }
    io_free(p->host, among);
    if (!code)
        code = saeuron_encode_text(s->a->m->x, s->a->place->prompt, s->states, err);
    for (size_t j = 0; j < s->values && !code; j++)
        s->target[j] = s->states[j] + (float)(s->o->eta * ((double)s->target[j] - s->mean[j]));
    return code;
}

/* ---- a generation ---- */

/* ids [N] of prompt number i: start, its tokens, end, padding, as the place's. */
static void complete(const search *s, int32_t *ids, size_t i)
{
    const attempt *a = s->a;
    ids[0] = a->ids[0];
    memcpy(ids + 1, s->prompt + i * s->K, s->K * sizeof *ids);
    ids[1 + s->K] = a->ids[a->count - 1];
    for (size_t j = s->K + 2; j < a->N; j++)
        ids[j] = a->count < a->N ? a->ids[a->N - 1] : a->ids[a->count - 1];
}

static bool is_nearer(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->distance < y->distance || (!(x->distance > y->distance) && x->number < y->number);
}

/* Ranks all prompts by the square of their states' distance from the target: sum16 of the float differences
 * squared. */
static void rank(search *s)
{
    for (size_t first = 0; first < s->P; first += ENCODED) {
        const size_t B = least(ENCODED, s->P - first);
        for (size_t i = 0; i < B; i++)
            complete(s, s->ids + i * s->a->N, first + i);
        encoder_run(&s->e, s->states, s->ids, B);
        for (size_t i = 0; i < B; i++) {
            float *d = s->states + i * s->values;
            for (size_t j = 0; j < s->values; j++)
                d[j] = s->target[j] - d[j];
            s->order[first + i] = (ranked){ nn_sum16_sq(d, s->values, 0.0), first + i };
        }
    }
    sort_list(s->order, s->P, sizeof *s->order, is_nearer);
}

/* The next prompt: the first `cut` tokens of one, the others of another. */
static void breed(search *s, const int32_t *one, const int32_t *other, size_t cut)
{
    int32_t *child = s->next + s->P++ * s->K;
    memcpy(child, one, cut * sizeof *child);
    memcpy(child + cut, other + cut, (s->K - cut) * sizeof *child);
}

/* The better half, its children, mutations. */
static void evolve(search *s)
{
    const size_t parents = most(s->P / 2, 1);
    int32_t *const before = s->prompt;
    s->P = 0;
    for (size_t i = 0; i < parents; i++) {
        const int32_t *one = before + s->order[i].number * s->K;
        breed(s, one, one, s->K);
        if ((double)attempt_uniform(s->a) < s->o->crossover) {
            const int32_t *other = before + s->order[attempt_below(s->a, parents)].number * s->K;
            const size_t cut = attempt_below(s->a, s->K);
            breed(s, one, other, cut);
            breed(s, other, one, cut);
        }
    }
    s->prompt = s->next;
    s->next = before;
    for (size_t i = 0; i < s->P; i++)
        if ((double)attempt_uniform(s->a) < s->o->mutation) {
            int32_t *gene = s->prompt + i * s->K + attempt_below(s->a, s->K);
            *gene = attempt_token(s->a);
        }
}

int ringabell(attempt *a, const ringabell_options *o, saeuron_error *err)
{
    const saeuron_context *x = a->m->x;
    search s = { .a = a, .o = o, .K = o->tokens, .values = a->m->text, .P = o->population };
    s.most = most(o->population, 3 * (o->population / 2));
    int code = prepare(&s, err);
    if (!code)
        code = find_target(&s, err);
    for (size_t i = 0; i < s.P * s.K && !code; i++)
        s.prompt[i] = attempt_token(a);
    for (size_t i = 0; i < o->generations && !code; i++) {
        rank(&s);
        if (i + 1 < o->generations)
            evolve(&s);
        code = a->step(a->user, i + 1, o->generations + 1, err);
    }
    if (!code)
        code = attempt_ids(a, s.prompt + s.order[0].number * s.K, s.K, err);
    io_free(&x->host, s.memory);
    encoder_close(&s.e);
    return code;
}
