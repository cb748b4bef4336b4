/* test_train.c: the trainer's arithmetic: gradients against finite differences and against a dense model in
 * double; ties, zeros, the dead; the same bytes from every kernel set, any threads, and after state was
 * carried over; errors; every allocation failing once.
 *
 * Not here: commands and runs and files (test_run.c). Letters: train.h. */
#include "test.h"
#include "goldens.h"
#include "tiny.h"
#include "arithmetic/rng.h"
#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- trainers and their tensors ---- */

static trainer_tensor named(trainer *t, const char *name)
{
    trainer_tensor list[TRAINER_TENSORS];
    trainer_tensors(t, list);
    for (size_t i = 0; i < TRAINER_TENSORS; i++)
        if (!strcmp(list[i].name, name))
            return list[i];
    test_failed(__FILE__, __LINE__, "no tensor %s", name);
    return list[0];
}

static float *floats_of(trainer *t, const char *name) { return named(t, name).data; }
static uint64_t *since_of(trainer *t) { return named(t, "tokens_since_fired").data; }

static trainer *opened(const train_config *k, int threads, const char *isa)
{
    trainer *t = NULL;
    saeuron_error e = { 0 };
    CHECK(trainer_open(&t, NULL, k, threads, isa, &e) == SAEURON_OK, "%s", e.text);
    return t;
}

static train_config small(size_t d, size_t n, size_t k, size_t batch)
{
    train_config c;
    train_defaults(&c, d);
    c.n = n;
    c.k = k;
    c.batch = batch;
    c.steps = 1000;
    c.seed = 5;
    return c;
}

/* A batch [M,d]: a few directions, a mean, noise. */
static float *batch(uint64_t seed, size_t M, size_t d)
{
    float *x = malloc((M * d + 1) * sizeof *x);
    for (size_t m = 0; m < M; m++)
        for (size_t j = 0; j < d; j++)
            x[m * d + j] = rng_symmetric(seed, 1, m * d + j, 1.0f) +
                           rng_symmetric(9, 2, (rng_value(seed, 3, m) % 5) * d + j, 2.0f) +
                           rng_symmetric(9, 4, j, 0.5f);
    return x;
}

static void stepped(trainer *t, const float *x, size_t M, train_report *r)
{
    saeuron_error e = { 0 };
    CHECK(trainer_step(t, x, M, r, &e) == SAEURON_OK, "%s", e.text);
}

static void started(trainer *t, const float *x, size_t M)
{
    saeuron_error e = { 0 };
    CHECK(trainer_start(t, x, M, &e) == SAEURON_OK, "%s", e.text);
}

/* ---- the dense model, in double: f whole, as PyTorch has it ---- */

enum { MFVU, MMULTI, MAUXK, MTERMS };
typedef struct model {
    train_config k;
    size_t  M;
    const float *x;
    bool   *dead;
    double *p[4], *g[4];            /* encoder.weight, encoder.bias, W_dec, b_dec, and their gradients */
    double *f[MTERMS];              /* [M,n] */
    double *error[MTERMS];          /* [M,d] */
    /* [M,d]: x^ - x held still, as the detached residual is; NULL: this pass's own */
    double *target;
    double  loss, fvu, multi, auxk;
} model;

static size_t size_of(const model *m, int i)
{
    return i == 0 || i == 2 ? m->k.n * m->k.d : i == 1 ? m->k.n : m->k.d;
}
static const char *const names[4] = { "encoder.weight", "encoder.bias", "W_dec", "b_dec" };

static model model_of(trainer *t, const float *x, size_t M)
{
    model m = { .k = *trainer_config(t), .M = M, .x = x };
    for (int i = 0; i < 4; i++) {
        const float *p = floats_of(t, names[i]);
        m.p[i] = malloc(size_of(&m, i) * sizeof(double));
        m.g[i] = malloc(size_of(&m, i) * sizeof(double));
        for (size_t j = 0; j < size_of(&m, i); j++)
            m.p[i][j] = (double)p[j];
    }
    m.dead = malloc(m.k.n);
    for (size_t i = 0; i < m.k.n; i++)
        m.dead[i] = since_of(t)[i] > m.k.dead_threshold;
    for (int i = 0; i < MTERMS; i++) {
        m.f[i] = malloc(M * m.k.n * sizeof(double));
        m.error[i] = malloc(M * m.k.d * sizeof(double));
    }
    return m;
}

static void model_free(model *m)
{
    for (int i = 0; i < 4; i++) {
        free(m->p[i]);
        free(m->g[i]);
    }
    for (int i = 0; i < MTERMS; i++) {
        free(m->f[i]);
        free(m->error[i]);
    }
    free(m->dead);
    free(m->target);
}

typedef struct pick { double v; size_t at; } pick;
static int by_rank(const void *a, const void *b)
{
    const pick *x = a, *y = b;
    return x->v > y->v ? -1 : x->v < y->v ? 1 : x->at < y->at ? -1 : 1;
}

/* f = z where it is among the `want` first of count values in order, and above 0. */
static void choose(double *f, const double *z, const bool *allowed, size_t n, size_t count, size_t want)
{
    pick *all = malloc(count * sizeof *all);
    for (size_t i = 0; i < count; i++) {
        all[i] = (pick){ z[i] > 0 ? z[i] : 0, i };
        f[i] = 0;
        if (allowed && !allowed[i % n])
            all[i].v = -1;
    }
    qsort(all, count, sizeof *all, by_rank);
    for (size_t i = 0; i < want && i < count; i++)
        if (all[i].v > 0)
            f[all[i].at] = all[i].v;
    free(all);
}

static void select_all(const model *m, double *f, const double *z, const bool *allowed, size_t want)
{
    const size_t n = m->k.n;
    want = want < n ? want : n;
    if (m->k.batch_topk)
        choose(f, z, allowed, n, m->M * n, m->M * want);
    else
        for (size_t i = 0; i < m->M; i++)
            choose(f + i * n, z + i * n, allowed, n, n, want);
}

/* Loss, and gradients when asked. */
static void model_run(model *m, bool gradients)
{
    const size_t d = m->k.d, n = m->k.n, M = m->M;
    double *z = malloc(M * n * sizeof *z), *dz = calloc(M * n, sizeof *dz), *G[MTERMS];
    double V = 0, sum[MTERMS] = { 0 };
    size_t dead = 0;
    for (size_t i = 0; i < n; i++)
        dead += m->dead[i];
    const bool aux = dead && m->k.auxk_alpha != 0;
    for (size_t i = 0; i < M; i++)
        for (size_t l = 0; l < n; l++) {
            double s = m->p[1][l];
            for (size_t j = 0; j < d; j++)
                s += ((double)m->x[i * d + j] - m->p[3][j]) * m->p[0][l * d + j];
            z[i * n + l] = s;
        }
    for (size_t j = 0; j < d; j++) {
        double mean = 0;
        for (size_t i = 0; i < M; i++)
            mean += (double)m->x[i * d + j] / (double)M;
        for (size_t i = 0; i < M; i++)
            V += ((double)m->x[i * d + j] - mean) * ((double)m->x[i * d + j] - mean);
    }
    select_all(m, m->f[MFVU], z, NULL, m->k.k);
    select_all(m, m->f[MMULTI], z, NULL, 4 * m->k.k);
    select_all(m, m->f[MAUXK], z, m->dead, dead < d / 2 ? dead : d / 2);
    const double scale = d / 2 == 0 ? 0 : dead < d / 2 ? (double)dead / (double)(d / 2) : 1;
    for (int t = 0; t < MTERMS; t++) {
        const bool on = t == MFVU || (t == MMULTI ? m->k.multi_topk : aux);
        const double part = t == MFVU ? 1 : t == MMULTI ? 0.125 : m->k.auxk_alpha * scale;
        G[t] = calloc(M * d, sizeof *G[t]);
        for (size_t i = 0; on && i < M; i++)
            for (size_t j = 0; j < d; j++) {
                double y = t == MAUXK && !m->k.released_auxk ? 0 : m->p[3][j];
                for (size_t l = 0; l < n; l++)
                    y += m->f[t][i * n + l] * m->p[2][l * d + j];
                const size_t at = i * d + j;
                if (t != MAUXK)
                    y -= (double)m->x[at];
                else if (m->k.released_auxk)
                    y -= m->error[MFVU][at]; /* (f W + b) - (x^ - x) */
                else
                    y += m->target ? m->target[at] : m->error[MFVU][at];
                m->error[t][at] = y;
                sum[t] += y * y;
                G[t][at] = 2 * part / V * y;
                if (t == MAUXK && m->k.released_auxk)
                    G[MFVU][at] -= G[t][at];
            }
    }
    m->fvu = sum[MFVU] / V;
    m->multi = sum[MMULTI] / V;
    m->auxk = scale * sum[MAUXK] / V;
    m->loss = m->fvu + m->multi / 8 + m->k.auxk_alpha * m->auxk;
    for (int i = 0; i < 4 && gradients; i++)
        memset(m->g[i], 0, size_of(m, i) * sizeof(double));
    for (int t = 0; t < MTERMS && gradients; t++)
        for (size_t i = 0; i < M; i++)
            for (size_t j = 0; j < d; j++) {
                const double g = G[t][i * d + j];
                m->g[3][j] += t == MAUXK && !m->k.released_auxk ? 0 : g;
                for (size_t l = 0; l < n; l++)
                    if (m->f[t][i * n + l] > 0) {
                        m->g[2][l * d + j] += m->f[t][i * n + l] * g;
                        dz[i * n + l] += g * m->p[2][l * d + j];
                    }
            }
    for (size_t i = 0; i < M && gradients; i++)
        for (size_t l = 0; l < n; l++) {
            m->g[1][l] += dz[i * n + l];
            for (size_t j = 0; j < d; j++) {
                m->g[0][l * d + j] += dz[i * n + l] * ((double)m->x[i * d + j] - m->p[3][j]);
                m->g[3][j] -= dz[i * n + l] * m->p[0][l * d + j];
            }
        }
    for (int t = 0; t < MTERMS; t++)
        free(G[t]);
    free(z);
    free(dz);
}

/* Every combination that changes the loss, by number; false at the end. */
static bool combination(train_config *k, int number, const char **what)
{
    static const struct { bool batch, multi; double alpha; bool released; const char *what; } table[] = {
        { true, false, 0, false, "batch, FVU" }, { false, false, 0, false, "token, FVU" },
        { true, false, 0.7, false, "batch, auxk" }, { false, false, 0.7, false, "token, auxk" },
        { true, false, 0.7, true, "batch, released auxk" },
        { false, false, 0.7, true, "token, released auxk" }, { true, true, 0, false, "batch, multi" },
        { false, true, 0, false, "token, multi" }, { true, true, 0.7, false, "batch, all" },
        { false, true, 0.7, true, "token, all, released" },
    };
    if (number >= (int)(sizeof table / sizeof *table))
        return false;
    k->batch_topk = table[number].batch;
    k->multi_topk = table[number].multi;
    k->auxk_alpha = table[number].alpha;
    k->released_auxk = table[number].released;
    *what = table[number].what;
    return true;
}

/* A trainer in mid-life: started, biases moved, every third latent dead. */
static trainer *prepared(const train_config *k, const float *x, size_t M, const char *isa)
{
    trainer *t = opened(k, 1, isa);
    started(t, x, M);
    for (size_t i = 0; i < k->n; i++) {
        floats_of(t, "encoder.bias")[i] = rng_symmetric(1, 1, i, 0.2f);
        /* above is dead, equal is not */
        since_of(t)[i] = i % 3 == 1 ? k->dead_threshold + 1 : k->dead_threshold;
    }
    for (size_t j = 0; j < k->d; j++)
        floats_of(t, "b_dec")[j] += rng_symmetric(1, 2, j, 0.2f);
    trainer_unit_rows(t);
    return t;
}

/* The largest difference of the trainer's gradients from g, in terms of each tensor's largest. */
static double distance(trainer *t, const model *m, double *const *g)
{
    double worst = 0;
    for (int i = 0; i < 4; i++) {
        char name[64];
        double largest = 1e-30, off = 0;
        snprintf(name, sizeof name, "grad.%s", names[i]);
        const float *got = floats_of(t, name);
        for (size_t j = 0; j < size_of(m, i); j++) {
            largest = fabs(g[i][j]) > largest ? fabs(g[i][j]) : largest;
            off = fabs((double)got[j] - g[i][j]) > off ? fabs((double)got[j] - g[i][j]) : off;
        }
        worst = off / largest > worst ? off / largest : worst;
    }
    return worst;
}

/* A sign, a factor, a path forgotten in any gradient: each derivative is a difference of losses, in double,
 * where no selection flips. */
static void gradients_are_derivatives(void)
{
    enum { D = 6, N = 20, M = 7 };
    train_config k = small(D, N, 3, M);
    const char  *what;
    for (int c = 0; combination(&k, c, &what); c++) {
        float *x = batch(11, M, D);
        trainer *t = prepared(&k, x, M, NULL);
        train_report r;
        saeuron_error e = { 0 };
        CHECK(trainer_gradients(t, x, M, &r, &e) == SAEURON_OK, "%s", e.text);
        model m = model_of(t, x, M), still;
        model_run(&m, false);
        CHECK(fabs(r.loss - m.loss) < 1e-5 * m.loss && fabs(r.fvu - m.fvu) < 1e-5 &&
                  fabs(r.auxk - (k.auxk_alpha != 0 ? m.auxk : 0)) < 1e-5 &&
                  fabs(r.multi - (k.multi_topk ? m.multi : 0)) < 1e-5,
              "%s: loss %g, in double %g", what, r.loss, m.loss);
        m.target = malloc(M * D * sizeof(double));
        memcpy(m.target, m.error[MFVU], M * D * sizeof(double));
        still = model_of(t, x, M);
        model_run(&still, false);
        size_t flips = 0;
        for (int i = 0; i < 4; i++)
            for (size_t j = 0; j < size_of(&m, i); j++) {
                const double h = 1e-6, at = m.p[i][j];
                double loss[2];
                for (int side = 0; side < 2; side++) {
                    m.p[i][j] = side ? at + h : at - h;
                    model_run(&m, false);
                    loss[side] = m.loss;
                    for (int f = 0; f < MTERMS; f++)
                        for (size_t l = 0; l < M * N; l++)
                            flips += (m.f[f][l] > 0) != (still.f[f][l] > 0);
                }
                m.p[i][j] = at;
                m.g[i][j] = (loss[1] - loss[0]) / (2 * h);
            }
        CHECK(flips == 0, "%s: %zu selections flipped: choose another point", what, flips);
        const double off = distance(t, &m, m.g);
        CHECK(off < 2e-5, "%s: a gradient is %g of its tensor's largest off", what, off);
        test_note("%s: within %.1e of the largest", what, off);
        model_free(&m);
        model_free(&still);
        trainer_close(t);
        free(x);
    }
}

/* Sizes around the encoder's blocks, chains of more than 128 and 2048 terms, few tokens and many; the dense
 * model has none of it. */
static void gradients_are_the_dense_ones(void)
{
    static const struct { size_t d, n, k, M; } sizes[] = {
        { 1, 1, 1, 2 }, { 3, 7, 2, 5 }, { 17, 959, 4, 9 }, { 16, 960, 5, 10 }, { 15, 961, 3, 11 },
        { 5, 966, 200, 150 }, { 8, 12, 12, 30 }, { 33, 400, 150, 3 }, { 4, 6, 2, 2200 },
    };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        /* fewer tokens than nominal */
        train_config k = small(sizes[s].d, sizes[s].n, sizes[s].k, sizes[s].M + 3);
        const char  *what;
        for (int c = 0; combination(&k, c, &what); c++) {
            float *x = batch(12 + s, sizes[s].M, k.d), *other = batch(40 + s, sizes[s].M, k.d);
            trainer *t = prepared(&k, x, sizes[s].M, NULL);
            train_report r;
            saeuron_error e = { 0 };
            /* rows that it fills and x does not are empty again */
            CHECK(trainer_gradients(t, other, sizes[s].M, &r, &e) == SAEURON_OK, "%s", e.text);
            CHECK(trainer_gradients(t, x, sizes[s].M, &r, &e) == SAEURON_OK, "%s", e.text);
            model m = model_of(t, x, sizes[s].M);
            model_run(&m, true);
            const double off = distance(t, &m, m.g);
            CHECK(off < 1e-4, "d %zu, n %zu, k %zu, M %zu, %s: a gradient is %g of its tensor's largest off",
                  k.d, k.n, k.k, sizes[s].M, what, off);
            double squares = 0;
            for (int i = 0; i < 4; i++)
                for (size_t j = 0; j < size_of(&m, i); j++)
                    squares += m.g[i][j] * m.g[i][j];
            CHECK(fabs(r.grad_norm - sqrt(squares)) <= 1e-4 * sqrt(squares), "%s: norm %g, in double %g",
                  what, r.grad_norm, sqrt(squares));
            model_free(&m);
            trainer_close(t);
            free(x);
            free(other);
        }
    }
}

/* Small integers everywhere, so that pre-activations are exact and most are tied: the lower token first, then
 * the lower latent. A list that is cut back while blocks still come must not forget it. */
static void ties_go_to_the_lower(void)
{
    enum { D = 5, N = 2000, M = 9 };
    train_config k = small(D, N, 6, M);
    const char  *what;
    for (int c = 0; combination(&k, c, &what); c++) {
        float x[M * D];
        trainer *t = opened(&k, 1, NULL);
        train_report r;
        saeuron_error e = { 0 };
        for (size_t i = 0; i < M * D; i++)
            x[i] = (float)(rng_value(4, 4, i) % 5) - 2.0f;
        for (size_t i = 0; i < N * D; i++) {
            floats_of(t, "encoder.weight")[i] = (float)(rng_value(4, 5, i) % 3) - 1.0f;
            floats_of(t, "W_dec")[i] = rng_symmetric(4, 6, i, 1.0f);
        }
        for (size_t i = 0; i < N; i++)
            since_of(t)[i] = i % 5 ? 0 : k.dead_threshold + 1;
        CHECK(trainer_gradients(t, x, M, &r, &e) == SAEURON_OK, "%s", e.text);
        model m = model_of(t, x, M);
        model_run(&m, true);
        const double off = distance(t, &m, m.g);
        CHECK(off < 1e-4, "%s: a gradient is %g of its tensor's largest off: another selection", what, off);
        model_free(&m);
        trainer_close(t);
    }
}

/* ---- counters, rates, rows ---- */

/* W_enc [n,d] = value at column 0, 0 elsewhere; x's column 0 is 1, so z[i] is value[i] for every token. W_dec
 * unit at column 1. */
static trainer *by_hand(const train_config *k, const float *value, float *x)
{
    trainer *t = opened(k, 1, NULL);
    for (size_t i = 0; i < k->n; i++) {
        floats_of(t, "encoder.weight")[i * k->d] = value[i];
        floats_of(t, "W_dec")[i * k->d + 1] = 1;
    }
    for (size_t i = 0; i < k->batch * k->d; i++)
        x[i] = i % k->d ? rng_symmetric(8, 8, i, 1.0f) : 1.0f;
    return t;
}

/* Which latents start to count again after a step, as a string of 0 and 1. */
static const char *fired(trainer *t, const float *x, size_t M)
{
    static char text[32];
    train_report r;
    const size_t n = trainer_config(t)->n;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        since_of(t)[i] = 1000 + i;
    stepped(t, x, M, &r);
    for (size_t i = 0; i < n; i++) {
        const uint64_t now = since_of(t)[i];
        CHECK(now == 0 || now == 1000 + i + trainer_config(t)->batch, "latent %zu counts %llu", i,
              (unsigned long long)now);
        text[i] = now == 0 ? '1' : '0';
        count += now == 0;
    }
    text[n] = 0;
    CHECK(r.fired == count, "reported %zu fired, counted %zu", r.fired, count);
    return text;
}

static void counters_follow_selection(void)
{
    static const float value[8] = { -1, 0.5f, -1, 3, 2, 0.25f, -1, 4 };
    static const struct { size_t k, M; bool batch, multi; uint64_t threshold; const char *want,
        *why; } table[] = {
        { 2, 3, false, false, 9999, "00010001", "the two largest of each token" },
        { 2, 3, true, false, 9999, "00010001", "the six largest of the batch" },
        { 1, 3, false, true, 9999, "01011001", "with multi, the 4k set counts" },
        { 6, 3, false, false, 9999, "11011101",
          "five are above 0: the first zero is selected too, and counts" },
        { 7, 3, false, false, 9999, "11111101", "two zeros" },
        { 6, 3, true, false, 9999, "11111111", "three zeros are missing in the batch: the first token's" },
        { 6, 2, true, false, 9999, "11111101", "two zeros are missing: the first token's first two" },
        { 5, 3, true, false, 9999, "01011101", "none is missing" },
        { 1, 3, true, false, 1, "00000001", "all are dead: what auxk selects does not count" },
    };
    for (size_t s = 0; s < sizeof table / sizeof *table; s++) {
        train_config k = small(4, 8, table[s].k, 3);
        float x[3 * 4];
        k.batch_topk = table[s].batch;
        k.multi_topk = table[s].multi;
        k.dead_threshold = table[s].threshold;
        trainer *t = by_hand(&k, value, x);
        const char *got = fired(t, x, table[s].M);
        CHECK(!strcmp(got, table[s].want), "%s: %s fired, should be %s", table[s].why, got, table[s].want);
        trainer_close(t);
    }
}

/* Dead means above the threshold before the step; auxk then has a value, and its latents stay dead. */
static void dead_latents_learn_but_stay_dead(void)
{
    static const float value[8] = { -1, 0.5f, -1, 3, 2, 0.25f, -1, 4 };
    train_config k = small(4, 8, 1, 3);
    float x[3 * 4];
    train_report r;
    k.dead_threshold = 7;
    k.lr = 1e-6;
    trainer *t = by_hand(&k, value, x);
    const size_t dead[] = { 0, 0, 0, 7, 7 }; /* counts before each step: 0, 3, 6, 9, 12 */
    for (size_t s = 0; s < sizeof dead / sizeof *dead; s++) {
        stepped(t, x, 2, &r); /* fewer tokens than nominal: still 3 */
        CHECK(r.dead == dead[s] && (r.auxk > 0) == (dead[s] > 0) && r.step == s && r.tokens == 2,
              "step %zu: %zu dead, auxk %g", s, r.dead, r.auxk);
        CHECK(since_of(t)[7] == 0 && since_of(t)[4] == 3 * (s + 1), "counts %llu and %llu",
              (unsigned long long)since_of(t)[7], (unsigned long long)since_of(t)[4]);
        CHECK((floats_of(t, "grad.encoder.bias")[4] != 0) == (dead[s] > 0),
              "latent 4 has gradient %g in step %zu", (double)floats_of(t, "grad.encoder.bias")[4], s);
        CHECK(floats_of(t, "grad.encoder.bias")[0] == 0, "latent 0, never above 0, has a gradient");
    }
    trainer_close(t);
}

/* The rate falls to 0 at S and stays there; rows are unit before a step and not after; the norm is
 * clipped. */
static void rates_rows_and_clipping(void)
{
    train_config k = small(12, 40, 3, 16);
    train_report r;
    float *x = batch(3, 16, 12);
    k.steps = 4;
    k.lr = 0.1;
    trainer *t = opened(&k, 1, NULL);
    started(t, x, 16);
    for (size_t s = 0; s < 6; s++) {
        double off = 0;
        float before[40];
        for (size_t i = 0; i < 40; i++)
            before[i] = floats_of(t, "encoder.bias")[i];
        stepped(t, x, 16, &r);
        CHECK(fabs(r.lr - 0.1 * (s < 4 ? (4.0 - (double)s) / 4 : 0)) < 1e-15, "step %zu: rate %g", s, r.lr);
        CHECK((memcmp(before, floats_of(t, "encoder.bias"), sizeof before) != 0) == (s < 4),
              "step %zu moved the bias, or not", s);
        for (size_t i = 0; i < 40; i++) {
            double size = 0;
            for (size_t j = 0; j < 12; j++)
                size += (double)floats_of(t, "W_dec")[i * 12 + j] * (double)floats_of(t, "W_dec")[i * 12 + j];
            off = fabs(sqrt(size) - 1) > off ? fabs(sqrt(size) - 1) : off;
        }
        CHECK(s >= 4 ? off < 1e-6 : off > 1e-4, "step %zu: rows are %g from unit length", s, off);
    }
    trainer_close(t);

    /* m after the first step is (1 - beta1) times the clipped gradient: its norm, the projection aside, is
     * 0.1 clip */
    k.clip = 1e-3;
    k.seed = 6;
    t = opened(&k, 1, NULL);
    started(t, x, 16);
    stepped(t, x, 16, &r);
    double m = 0, g = 0, along = 0;
    for (size_t i = 0; i < 40 * 12; i++) {
        m += (double)floats_of(t, "adam.m.encoder.weight")[i] *
             (double)floats_of(t, "adam.m.encoder.weight")[i];
        g += (double)floats_of(t, "grad.encoder.weight")[i] * (double)floats_of(t, "grad.encoder.weight")[i];
    }
    CHECK(r.grad_norm > 2e-3 && fabs(sqrt(m) / sqrt(g) - 0.1 * 1e-3 / r.grad_norm) < 1e-6 * 1e-3,
          "norm %g: m is %g of the gradient", r.grad_norm, sqrt(m / g));
    trainer_close(t);

    /* W_dec's update has no part along the row: m, which is the gradient that Adam saw, is at right angles to
     * it */
    k.lr = 0;
    t = opened(&k, 1, NULL);
    started(t, x, 16);
    stepped(t, x, 16, &r);
    for (size_t i = 0; i < 40; i++) {
        double dot = 0, size = 0;
        for (size_t j = 0; j < 12; j++) {
            dot += (double)floats_of(t, "adam.m.W_dec")[i * 12 + j] *
                   (double)floats_of(t, "W_dec")[i * 12 + j];
            size += fabs((double)floats_of(t, "adam.m.W_dec")[i * 12 + j]);
        }
        along = size > 0 && fabs(dot) / size > along ? fabs(dot) / size : along;
    }
    CHECK(along < 1e-6, "%g of a row's gradient lies along it", along);
    trainer_close(t);
    free(x);
}

/* Adam against its equations in double, from the gradients that the trainer itself reports. */
static void adam_is_adam(void)
{
    enum { D = 7, N = 30, M = 12, STEPS = 5 };
    train_config k = small(D, N, 3, M);
    double m[N] = { 0 }, v[N] = { 0 }, p[N];
    train_report r;
    k.lr = 0.01;
    k.steps = 10;
    float *x = batch(4, M, D);
    trainer *t = opened(&k, 1, NULL);
    started(t, x, M);
    for (size_t i = 0; i < N; i++)
        p[i] = (double)floats_of(t, "encoder.bias")[i];
    for (size_t s = 0; s < STEPS; s++) {
        stepped(t, x, M, &r);
        const double b1 = 1 - pow(k.beta1, (double)(s + 1)), b2 = 1 - pow(k.beta2, (double)(s + 1));
        const double scale = 1 / (r.grad_norm + 1e-6) < 1 ? 1 / (r.grad_norm + 1e-6) : 1;
        for (size_t i = 0; i < N; i++) {
            const double g = scale * (double)floats_of(t, "grad.encoder.bias")[i];
            m[i] = k.beta1 * m[i] + (1 - k.beta1) * g;
            v[i] = k.beta2 * v[i] + (1 - k.beta2) * g * g;
            p[i] -= r.lr * (m[i] / b1) / (sqrt(v[i] / b2) + k.eps);
            const double off = fabs(p[i] - (double)floats_of(t, "encoder.bias")[i]);
            CHECK(off < 1e-6, "step %zu, bias %zu: %g off", s, i, off);
        }
    }
    trainer_close(t);
    free(x);
}

/* ---- the start ---- */

static void median_of_points(void)
{
    static const float line[5] = { 1, 2, 3, 50, 900 }, same[4 * 2] = { 3, 4, 3, 4, 3, 4, 3, 4 };
    /* its mean, where the iteration begins, is one of the points */
    static const float cross[5 * 2] = { 1, 0, -1, 0, 0, 1, 0, -1, 0, 0 };
    const train_config one = small(1, 4, 1, 8), two = small(2, 4, 1, 8);
    trainer *t = opened(&one, 1, NULL);
    started(t, line, 5);
    CHECK(fabs((double)floats_of(t, "b_dec")[0] - 3) < 0.05, "the median of five numbers is %g",
          (double)floats_of(t, "b_dec")[0]);
    trainer_close(t);
    t = opened(&two, 2, NULL);
    started(t, same, 4);
    CHECK(floats_of(t, "b_dec")[0] == 3 && floats_of(t, "b_dec")[1] == 4, "of one point four times: %g, %g",
          (double)floats_of(t, "b_dec")[0], (double)floats_of(t, "b_dec")[1]);
    started(t, cross, 5);
    CHECK(fabs((double)floats_of(t, "b_dec")[0]) < 1e-9 && fabs((double)floats_of(t, "b_dec")[1]) < 1e-9,
          "of a cross: %g", (double)floats_of(t, "b_dec")[0]);
    trainer_close(t);

    /* elsewhere the directions to all points cancel, which is what makes it the median */
    const train_config k = small(6, 8, 2, 40);
    float *x = batch(21, 40, 6);
    double pull[6] = { 0 }, size = 0;
    t = opened(&k, 1, NULL);
    started(t, x, 40);
    for (size_t m = 0; m < 40; m++) {
        double r = 0;
        for (size_t j = 0; j < 6; j++)
            r += pow((double)x[m * 6 + j] - (double)floats_of(t, "b_dec")[j], 2);
        for (size_t j = 0; j < 6; j++)
            pull[j] += ((double)x[m * 6 + j] - (double)floats_of(t, "b_dec")[j]) / sqrt(r);
    }
    for (size_t j = 0; j < 6; j++)
        size += pull[j] * pull[j];
    CHECK(sqrt(size) < 1e-3, "the pull that is left is %g of 40", sqrt(size));
    const float bound = (float)(1 / sqrt(6.0));
    float low = 0, high = 0;
    for (size_t i = 0; i < 48; i++) {
        low = floats_of(t, "encoder.weight")[i] < low ? floats_of(t, "encoder.weight")[i] : low;
        high = floats_of(t, "encoder.weight")[i] > high ? floats_of(t, "encoder.weight")[i] : high;
    }
    CHECK(low >= -bound && high <= bound && low < -0.8f * bound && high > 0.8f * bound,
          "W_enc lies in [%g, %g]", (double)low, (double)high);
    CHECK(fabs((double)floats_of(t, "W_dec")[0] / (double)floats_of(t, "W_dec")[1] -
               (double)floats_of(t, "encoder.weight")[0] / (double)floats_of(t, "encoder.weight")[1]) < 1e-5,
          "W_dec's first row does not point where W_enc's does");
    trainer_close(t);
    free(x);
}

/* ---- the same bytes ---- */

/* Five steps of a trainer, latents dying on the way, their sizes varying; a digest of everything. */
static uint64_t life(const train_config *k, int threads, const char *isa, size_t carry_over)
{
    enum { STEPS = 5 };
    trainer_tensor a[TRAINER_TENSORS], b[TRAINER_TENSORS];
    trainer *t = opened(k, threads, isa);
    uint64_t h = 0;
    for (size_t s = 0; s < STEPS; s++) {
        const size_t M = k->batch - (k->batch > 2 ? s % 2 : 0);
        float *x = batch(30 + s, M, k->d);
        train_report r;
        memset(&r, 0, sizeof r);
        if (!s)
            started(t, x, M);
        if (s == carry_over) { /* into another trainer, through its tensors */
            trainer *next = opened(k, threads, isa);
            trainer_tensors(t, a);
            trainer_tensors(next, b);
            for (size_t i = 0; i < TRAINER_SAVED; i++)
                memcpy(b[i].data, a[i].data, a[i].count * dtype_size(a[i].type));
            trainer_close(t);
            t = next;
        }
        stepped(t, x, M, &r);
        h = nn_hash(h, &r.loss, sizeof r.loss);
        h = nn_hash(h, &r.explained, sizeof r.explained);
        h = nn_hash(h, &r.dead, sizeof r.dead);
        free(x);
    }
    trainer_tensors(t, a);
    for (size_t i = 0; i < TRAINER_TENSORS; i++)
        h = nn_hash(h, a[i].data, a[i].count * dtype_size(a[i].type));
    trainer_close(t);
    return h;
}

static void same_bytes_from_all(void)
{
    static const struct { size_t d, n, k, M; } sizes[] = {
        { 1, 1, 1, 2 }, { 2, 5, 2, 3 }, { 17, 33, 4, 19 }, { 33, 961, 7, 12 }, { 130, 100, 3, 20 },
        { 33, 200, 140, 5 }, { 16, 40, 40, 9 }, { 3, 6, 2, 2100 },
    };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        train_config k = small(sizes[s].d, sizes[s].n, sizes[s].k, sizes[s].M);
        const char  *what;
        k.dead_threshold = sizes[s].M;
        k.lr = 0.01;
        for (int c = 2; combination(&k, c, &what); c = c == 3 ? 8 : c + 1) { /* auxk, all */
            char list[128], *isa = list;
            const uint64_t want = life(&k, 1, "reference", 99);
            snprintf(list, sizeof list, "%s", nn_isa_list());
            while (isa) {
                char *comma = strchr(isa, ',');
                nn runs;
                if (comma)
                    *comma = 0;
                for (int threads = 1; threads <= 3 && nn_init(&runs, isa, threads, NULL); threads += 2)
                    CHECK(life(&k, threads, isa, threads == 3 ? 3 : 99) == want,
                          "d %zu, n %zu, k %zu, M %zu, %s: %s at %d threads has other bytes than the "
                          "reference",
                          k.d, k.n, k.k, sizes[s].M, what, isa, threads);
                isa = comma ? comma + 1 : NULL;
            }
        }
    }
}

/* One thread or two where there is work enough to share, at a size whose lists are cut back many times. */
static void same_bytes_when_shared(void)
{
    train_config k = small(40, 2500, 6, 500);
    const char  *what;
    k.dead_threshold = 800;
    for (int c = 2; combination(&k, c, &what); c = c == 3 ? 8 : c + 1) {
        const uint64_t want = life(&k, 1, NULL, 99);
        for (int threads = 2; threads <= 3; threads++)
            CHECK(life(&k, threads, NULL, 99) == want, "%s: %d threads have other bytes than one", what,
                  threads);
        CHECK(life(&k, 2, NULL, 2) == want, "%s: a trainer that went on from saved state has other bytes",
              what);
    }
}

/* State put back into the trainer it came from, which has gone on meanwhile: Adam's corrections go back
 * too. */
static void state_can_be_put_back(void)
{
    enum { D = 9, N = 30, M = 20 };
    const train_config k = small(D, N, 3, M);
    trainer_tensor list[TRAINER_TENSORS];
    void *kept[TRAINER_SAVED];
    float *x = batch(3, M, D), after[2][N];
    trainer *t = opened(&k, 1, NULL);
    started(t, x, M);
    stepped(t, x, M, NULL);
    trainer_tensors(t, list);
    for (size_t i = 0; i < TRAINER_SAVED; i++) {
        const size_t bytes = list[i].count * dtype_size(list[i].type);
        kept[i] = malloc(bytes);
        memcpy(kept[i], list[i].data, bytes);
    }
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < TRAINER_SAVED; i++)
            memcpy(list[i].data, kept[i], list[i].count * dtype_size(list[i].type));
        for (int s = 0; s < 3; s++)
            stepped(t, x, M, NULL);
        memcpy(after[again], floats_of(t, "encoder.bias"), sizeof after[0]);
    }
    CHECK(memcmp(after[0], after[1], sizeof after[0]) == 0, "the same three steps end elsewhere");
    for (size_t i = 0; i < TRAINER_SAVED; i++)
        free(kept[i]);
    trainer_close(t);
    free(x);
}

/* Every row operation of every kernel set against the reference, at the edges of its registers and chains. */
static void rows_equal_reference(void)
{
    enum { MOST = 4300, WIDTH = 1300 };
    static const size_t widths[] = {
        0, 1, 3, 7, 8, 15, 16, 17, 31, 32, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300, 1280
    };
    static const size_t counts[] = {
        0, 1, 2, 3, 4, 5, 127, 128, 129, 256, 2047, 2048, 2049, 2177, 4096, 4097, 4225
    };
    static float x[40 * WIDTH], y[2][WIDTH], val[MOST], m[2][WIDTH], v[2][WIDTH];
    static uint32_t idx[MOST];
    static double mean[WIDTH];
    char list[128], *isa = list;
    arena none = { 0 };
    nn ref, c;
    nn_init(&ref, "reference", 1, &none);
    for (size_t i = 0; i < 40 * WIDTH; i++)
        x[i] = rng_symmetric(1, 1, i, 1.0f);
    for (size_t i = 0; i < MOST; i++) {
        val[i] = rng_symmetric(1, 2, i, 1.0f);
        idx[i] = (uint32_t)(rng_value(1, 3, i) % 39);
    }
    for (size_t j = 0; j < WIDTH; j++)
        mean[j] = (double)rng_symmetric(1, 4, j, 1.0f);
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (; isa; isa = strchr(isa, ',') ? strchr(isa, ',') + 1 : NULL) {
        char name[16];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(isa, ","), isa);
        if (!nn_init(&c, name, 1, &none))
            continue;
#define SAME(what, a, b, n) \
    CHECK(memcmp(a, b, (n) * sizeof *(a)) == 0, "%s, %s: width %zu, count %zu", what, name, w, k)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            const size_t w = widths[i];
            size_t k = 0;
            const adam a = { 0.1f, 0.999f, 0.001f, 0.01f, 0.5f, 1e-9f };
            for (size_t q = 0; q < sizeof counts / sizeof *counts; q++) {
                k = counts[q];
                if (k > 300 && w > 300)
                    continue;
                nn_sparse_sum(&ref, y[0], x, WIDTH, idx, val, k, w);
                nn_sparse_sum(&c, y[1], x, WIDTH, idx, val, k, w);
                SAME("sparse_sum", y[0], y[1], w);
                if (k < 40 && w) {
                    nn_sparse_sum(&ref, y[0], x, WIDTH, NULL, NULL, k, w);
                    nn_sparse_sum(&c, y[1], x, WIDTH, NULL, NULL, k, w);
                    SAME("sum of all", y[0], y[1], w);
                }
                if (k < WIDTH) {
                    nn_sparse_dot(&ref, y[0], x, x + WIDTH, WIDTH, idx, k, w);
                    y[1][k] = 7;
                    nn_sparse_dot(&c, y[1], x, x + WIDTH, WIDTH, idx, k, w);
                    SAME("sparse_dot", y[0], y[1], k);
                    CHECK(y[1][k] == 7, "sparse_dot, %s: wrote past the end", name);
                }
            }
            const double s[4] = {
                nn_sum_squares(&ref, x, NULL, w), nn_sum_squares(&c, x, NULL, w),
                nn_sum_squares(&ref, x, mean, w), nn_sum_squares(&c, x, mean, w)
            };
            CHECK(f64_bits(s[0]) == f64_bits(s[1]) && f64_bits(s[2]) == f64_bits(s[3]),
                  "sum_squares, %s: width %zu", name, w);
            for (int side = 0; side < 2; side++) {
                const nn *who = side ? &c : &ref;
                memcpy(y[side], x, sizeof y[side]);
                nn_unit_row(who, y[side], w);
            }
            SAME("unit_row", y[0], y[1], WIDTH);
            for (int side = 0; side < 2; side++)
                nn_project(side ? &c : &ref, y[side], x + WIDTH, 0.7f, w);
            SAME("project", y[0], y[1], WIDTH);
            for (int side = 0; side < 2; side++) {
                memcpy(m[side], x + WIDTH, sizeof m[side]);
                for (size_t j = 0; j < WIDTH; j++)
                    v[side][j] = x[j] * x[j];
                nn_adam(side ? &c : &ref, y[side], m[side], v[side], x + 2 * WIDTH, 0.3f, &a, w);
            }
            SAME("adam", y[0], y[1], WIDTH);
            SAME("adam's m", m[0], m[1], WIDTH);
            SAME("adam's v", v[0], v[1], WIDTH);
            for (int q = 0; q < 4; q++) {
                static uint32_t where[2][WIDTH];
                const float least = q == 0 ? 0.9f : q == 1 ? 0.0f : q == 2 ? -2.0f : x[w / 2];
                const size_t n = nn_at_least(&ref, where[0], y[0], x, w, least, 5);
                const size_t again = nn_at_least(&c, where[1], y[1], x, w, least, 5);
                CHECK(n == again && n == nn_count_at_least(&c, x, w, least) &&
                          n == nn_count_at_least(&ref, x, w, least) &&
                          !memcmp(where[0], where[1], n * sizeof **where) &&
                          !memcmp(y[0], y[1], n * sizeof **y),
                      "at_least, %s: width %zu, %zu and %zu", name, w, n, again);
            }
        }
    }
    const float odd[3] = { f32_from(0x7fc00000u), 1.0f, -0.0f };
    uint32_t at[3];
    float    got[3];
    nn_init(&c, NULL, 1, &none);
    CHECK(nn_at_least(&c, at, got, odd, 3, 0.0f, 0) == 2 && at[0] == 1 && at[1] == 2,
          "a NaN was taken, or -0 was not");
}

/* Weights as a program has them give the products of weights as a file has them. */
static void own_weights_are_files_weights(void)
{
    enum { M = 5, K = 300, N = 70 };
    static float W[N * K], x[M * K], y[2][M * N];
    static unsigned char file[N * K * 4], memory[8 << 20];
    char list[128], *isa = list;
    for (size_t i = 0; i < N * K; i++) {
        W[i] = rng_symmetric(1, 1, i, 1.0f);
        for (size_t b = 0; b < 4; b++)
            file[4 * i + b] = (unsigned char)(f32_bits(W[i]) >> 8 * b);
    }
    for (size_t i = 0; i < M * K; i++)
        x[i] = rng_symmetric(1, 2, i, 1.0f);
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (; isa; isa = strchr(isa, ',') ? strchr(isa, ',') + 1 : NULL) {
        char name[16];
        nn c;
        arena work = { memory, sizeof memory, 0, 0, false };
        snprintf(name, sizeof name, "%.*s", (int)strcspn(isa, ","), isa);
        if (!nn_init(&c, name, 2, &work))
            continue;
        nn_linear(&c, y[0], x, (weight){ .data = file, .type = DT_F32 }, NULL, M, K, N);
        nn_linear(&c, y[1], x, (weight){ .data = (const unsigned char *)W, .type = DT_OWN }, NULL, M, K, N);
        CHECK(memcmp(y[0], y[1], sizeof y[0]) == 0, "%s: other products", name);
    }
}

/* ---- errors ---- */

static void bad_batches_are_refused(void)
{
    enum { D = 6, M = 5 };
    const train_config k = small(D, 12, 2, M);
    float *x = batch(2, M, D);
    trainer *t = opened(&k, 2, NULL);
    saeuron_error e = { 0 };
    started(t, x, M);
    stepped(t, x, M, NULL);
    const float bias = floats_of(t, "encoder.bias")[3], moment = floats_of(t, "adam.m.W_dec")[5];
    for (int i = 0; i < 2; i++) {
        const float keep = x[3 * D + 2];
        x[3 * D + 2] = i ? HUGE_VALF : f32_from(0x7fc00000u);
        CHECK(trainer_step(t, x, M, NULL, &e) == SAEURON_ENAN &&
              test_holds(e.text, "step 1|token 3|channel 2|not finite"),
              "\"%s\"", e.text);
        CHECK(trainer_start(t, x, M, &e) == SAEURON_ENAN && test_holds(e.text, "token 3|channel 2"), "\"%s\"",
              e.text);
        x[3 * D + 2] = keep;
    }
    CHECK(trainer_step(t, x, 0, NULL, &e) == SAEURON_EUSAGE && test_holds(e.text, "0 tokens"), "\"%s\"",
          e.text);
    CHECK(trainer_step(t, x, M + 1, NULL, &e) == SAEURON_EUSAGE && test_holds(e.text, "6 tokens|1 to 5"),
          "\"%s\"", e.text);
    for (size_t i = 0; i < M * D; i++)
        x[i] = x[i % D];
    CHECK(trainer_step(t, x, M, NULL, &e) == SAEURON_ENAN && test_holds(e.text, "step 1|loss|the same"),
          "\"%s\"", e.text);
    free(x);
    x = batch(2, M, D);
    const float keep = floats_of(t, "b_dec")[1];
    floats_of(t, "b_dec")[1] = HUGE_VALF;
    CHECK(trainer_step(t, x, M, NULL, &e) == SAEURON_ENAN && test_holds(e.text, "step 1|loss|not finite"),
          "\"%s\"", e.text);
    floats_of(t, "b_dec")[1] = keep;
    CHECK(floats_of(t, "encoder.bias")[3] == bias && floats_of(t, "adam.m.W_dec")[5] == moment &&
              *(uint64_t *)named(t, "step").data == 1,
          "a refused batch left something");
    stepped(t, x, M, NULL);
    trainer_close(t);
    free(x);
}

static void bad_settings_are_refused(void)
{
    const train_config good = small(6, 12, 2, 5);
    trainer *t;
    saeuron_error e = { 0 };
    static const char *const fields[] = {
        "k|13|12", "d is 0", "batch is 0", "lr", "beta1", "auxk_alpha", "n is 0",
        "d is 1048577", "k is 2049", "n is 67108865", "batch is 1048577", "eps is 1.5", "clip is 2e+30",
        "beta2 is 1", "2^31"
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        train_config k = good;
        switch (i) {
        case 0: k.k = 13; break;
        case 1: k.d = 0; break;
        case 2: k.batch = 0; break;
        case 3: k.lr = nan(""); break;
        case 4: k.beta1 = 1; break;
        case 5: k.auxk_alpha = -1; break;
        case 6: k.n = 0; break;
        case 7: k.d = (1 << 20) + 1; break;
        case 8: k.k = 2049, k.n = 4096; break;
        case 9: k.n = (1 << 26) + 1; break;
        case 10: k.batch = (1 << 20) + 1; break;
        case 11: k.eps = 1.5; break;
        case 12: k.clip = 2e30; break;
        case 13: k.beta2 = 1; break;
        default: k.batch = 1 << 20; k.k = 2048; k.n = 4096; break;
        }
        t = (trainer *)&k;
        CHECK(trainer_open(&t, NULL, &k, 1, NULL, &e) == SAEURON_EUSAGE && !t &&
                  test_holds(e.text, fields[i]),
              "%s: \"%s\"", fields[i], e.text);
    }
    CHECK(trainer_open(&t, NULL, &good, 1, "abacus", &e) == SAEURON_EUSAGE &&
          test_holds(e.text, "abacus|reference"),
          "\"%s\"", e.text);
    train_config k = good;
    k.d = 1 << 20;
    k.n = 1 << 26;
    CHECK(trainer_open(&t, NULL, &k, 1, NULL, &e) == SAEURON_ENOMEM &&
              test_holds(e.text, "memory|batch or n"),
          "\"%s\"", e.text);
}

/* ---- held out ---- */

/* A step's selection, block by block of latents, is batch_topk's on all of z: the same entries, bit for bit.
 * More latents than a block, more newcomers than a list holds, small whole numbers so that many tie, fewer
 * above 0 than are wanted. */
static void selection_is_batch_topk(void)
{
    static const struct { size_t n, k, M; bool tied; float bias; } cases[] = {
        { 40, 3, 9, false, 0 }, { 960, 8, 33, true, 0 }, { 961, 4, 64, true, 0 }, { 2500, 32, 50, false, 0 },
        { 2500, 2, 50, true, 0 }, { 2500, 32, 20, true, -9 }, { 1000, 60, 5, false, -6 },
    };
    enum { D = 6, MOST_Z = 50 * 2500, MOST = 50 * 32 };
    static float z[MOST_Z], val[2][MOST];
    static uint32_t at[2][MOST];
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const size_t n = cases[i / 2].n, k = cases[i / 2].k, M = cases[i / 2].M, group = i % 2 ? M : 1;
        const bool tied = cases[i / 2].tied;
        train_config cfg = small(D, n, k, M);
        cfg.batch_topk = i % 2;
        trainer *t = opened(&cfg, 2, NULL);
        float *x = batch(i, M, D), *W = floats_of(t, "encoder.weight"), *b = floats_of(t, "encoder.bias");
        train_report r;
        saeuron_error e = { 0 };
        started(t, x, M);
        memset(floats_of(t, "b_dec"), 0, D * sizeof(float)); /* so z = W x + b */
        for (size_t j = 0; tied && j < M * D; j++)
            x[j] = (float)(rng_value(4, 4, j) % 5) - 2.0f;
        for (size_t j = 0; tied && j < n * D; j++)
            W[j] = (float)(rng_value(4, 5, j) % 3) - 1.0f;
        for (size_t j = 0; j < n; j++)
            b[j] = cases[i / 2].bias;
        CHECK(trainer_gradients(t, x, M, &r, &e) == SAEURON_OK, "%s", e.text);
        for (size_t j = 0; j < M * n; j++)
            z[j] = nn_dot(x + j / n * D, 1, W + j % n * D, 1, D) + b[j % n];
        size_t want = 0;
        for (size_t m = 0; m < M; m += group) {
            const size_t more = batch_topk(at[0] + want, val[0] + want, z + m * n, group, n, k);
            for (size_t j = want; j < want + more; j++)
                at[0][j] += (uint32_t)(m * n);
            want += more;
        }
        const size_t got = trainer_selected(t, M, at[1], val[1]);
        CHECK(got == want && !memcmp(at[0], at[1], got * sizeof **at) &&
                  !memcmp(val[0], val[1], got * sizeof **val),
              "case %zu: %zu entries, by the definition %zu, or other ones", i, got, want);
        CHECK((want < M * k) == (cases[i / 2].bias < 0), "case %zu: %zu of %zu", i, want, M * k);
        free(x);
        trainer_close(t);
    }
}

/* Either of the two allocations fails: a line that says memory, nothing left. And no byte beyond the planned
 * is touched. */
static void allocations_fail(void)
{
    static tiny files;
    const train_config k = small(6, 12, 2, 5);
    for (long n = 1; n <= 3; n++) {
        const saeuron_host host = tiny_host(&files);
        trainer *made = NULL;
        saeuron_error e = { 0 };
        files.allocs = 0;
        files.fail_at = n;
        const int code = trainer_open(&made, &host, &k, 1, NULL, &e);
        CHECK(code == (n < 3 ? SAEURON_ENOMEM : SAEURON_OK) &&
                  (n == 3 || (test_holds(e.text, "memory") && !made)),
              "allocation %ld: code %d, \"%s\"", n, code, e.text);
        if (made) {
            float *x = batch(1, 5, 6);
            started(made, x, 5);
            stepped(made, x, 5, NULL);
            free(x);
        }
        CHECK(files.allocs <= 2 + (n < 3), "%ld allocations", files.allocs);
        trainer_close(made);
        CHECK(files.live == 0 && files.torn == 0, "%ld blocks are left, %ld torn", files.live, files.torn);
    }
}

/* Data made of 24 directions, two or three at a time: an SAE finds them. */
static void it_learns(void)
{
    enum { D = 16, N = 48, M = 256, DIRECTIONS = 24 };
    static float x[M * D];
    train_config k = small(D, N, 3, M);
    train_report r, first;
    k.lr = 0.005;
    k.steps = 400;
    trainer *t = opened(&k, 2, NULL);
    for (uint64_t s = 0; s < 400; s++) {
        memset(x, 0, sizeof x);
        for (size_t m = 0; m < M; m++)
            for (uint64_t i = 0; i < 3; i++) {
                const size_t which = rng_value(50, s, 3 * m + i) % DIRECTIONS;
                const float size = 1 + rng_uniform(51, s, 3 * m + i);
                for (size_t j = 0; j < D; j++)
                    x[m * D + j] += size * rng_symmetric(52, which, j, 1.0f);
            }
        if (!s)
            started(t, x, M);
        stepped(t, x, M, s ? &r : &first);
    }
    CHECK(first.fvu > 0.3 && r.fvu < 0.12 && r.explained > 0.8, "FVU fell from %g to %g", first.fvu, r.fvu);
    test_note("FVU from %.3f to %.3f", first.fvu, r.fvu);
    trainer_close(t);
}

/* ---- against PyTorch: goldens ---- */

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

enum { STEPS = 100, ATOMS = 64, EACH = 3 }; /* directions of the data, and how many of them a token has */

typedef struct run {
    tensors g;
    train_config c;
    size_t  batches;
    float  *x;           /* [batches,batch,d] */
    trainer *t;
    trainer_tensor state[TRAINER_TENSORS];
    char    name[64], draw[80];
} run;

static uint64_t stream(const char *draw, const char *what)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", draw, what);
    return nn_hash(0, name, strlen(name));
}

static float drawn(uint64_t of, size_t i, float bound) { return rng_symmetric(GOLDEN_SEED, of, i, bound); }

/* make.py's training_data: a mean, three of 64 directions a token with weights in [0,1), noise; times scale;
 * every operation rounded once. */
static void fill_data(float *x, const char *draw, float scale, size_t tokens, size_t d)
{
    const uint64_t mean = stream(draw, "mean"), atoms = stream(draw, "atoms"), which = stream(draw, "which");
    const uint64_t share = stream(draw, "weight"), noise = stream(draw, "noise");
    for (size_t t = 0; t < tokens; t++)
        for (size_t j = 0; j < d; j++) {
            float sum = drawn(mean, j, 1);
            for (size_t r = 0; r < EACH; r++) {
                const size_t atom = (size_t)(rng_value(GOLDEN_SEED, which, EACH * t + r) % ATOMS);
                sum += rng_uniform(GOLDEN_SEED, share, EACH * t + r) * drawn(atoms, atom * d + j, 1);
            }
            x[t * d + j] = (sum + drawn(noise, t * d + j, 0.1f)) * scale;
        }
}

static trainer_tensor *state(run *r, const char *name)
{
    for (size_t i = 0; i < TRAINER_TENSORS; i++)
        if (!strcmp(r->state[i].name, name))
            return &r->state[i];
    CHECK(false, "the trainer has no tensor %s", name);
    return &r->state[0];
}

/* make.py's training_start: W_dec's rows are made unit by the first step; the first `dead` latents are short
 * and have not fired for too long. */
static void fill_start(run *r, size_t dead, float shrink, float scale)
{
    const size_t d = r->c.d, n = r->c.n;
    float *W_enc = state(r, "encoder.weight")->data, *b_enc = state(r, "encoder.bias")->data;
    float *W_dec = state(r, "W_dec")->data, *b_dec = state(r, "b_dec")->data;
    uint64_t *since = state(r, "tokens_since_fired")->data;
    const uint64_t share = stream(r->draw, "encoder.weight"), bias = stream(r->draw, "encoder.bias");
    const uint64_t mean = stream(r->draw, "mean"), away = stream(r->draw, "b_dec");
    const float bound = (float)(1 / sqrt((double)d));
    for (size_t i = 0; i < n * d; i++) {
        W_enc[i] = drawn(share, i, bound);
        if (i < dead * d)
            W_enc[i] *= shrink;
        W_dec[i] = W_enc[i];
    }
    for (size_t i = 0; i < n; i++) {
        b_enc[i] = drawn(bias, i, 0.05f);
        since[i] = i < dead ? r->c.dead_threshold + 1 : 0;
    }
    for (size_t j = 0; j < d; j++)
        b_dec[j] = (drawn(mean, j, 1) + drawn(away, j, 0.1f)) * scale;
}

static const char *const parameters[] = { "encoder.weight", "encoder.bias", "W_dec", "b_dec" };

/* State PREFIX + each parameter against the golden NAME.AS.parameter. */
static void check_parameters(run *r, const char *prefix, const char *as)
{
    for (size_t i = 0; i < 4; i++) {
        char ours[64], full[160];
        snprintf(ours, sizeof ours, "%s%s", prefix, parameters[i]);
        snprintf(full, sizeof full, "%s.%s.%s", r->name, as, parameters[i]);
        const trainer_tensor *t = state(r, ours);
        check_truth(&r->g, full, t->data, t->count);
    }
}

static void check_number(run *r, const char *what, double x)
{
    char full[160];
    const float y = (float)x;
    snprintf(full, sizeof full, "%s.%s", r->name, what);
    check_truth(&r->g, full, &y, 1);
}

/* What the first step found, and the gradients it left. */
static void check_first(run *r, const train_report *found)
{
    char full[160];
    check_number(r, "fvu", found->fvu);
    check_number(r, "auxk", found->auxk);
    check_number(r, "multi", found->multi);
    check_number(r, "loss", found->loss);
    check_number(r, "grad_norm", found->grad_norm);
    check_number(r, "explained", found->explained);
    check_number(r, "explained_dev", found->explained_dev);
    check_number(r, "l0", found->l0);
    snprintf(full, sizeof full, "%s.first", r->name);
    const tensor *t = golden(&r->g, DT_I64, full);
    if (t)
        CHECK((int64_t)found->dead == i64_at(t, 0) && (int64_t)found->fired == i64_at(t, 1),
              "%s: %zu latents dead and %zu fired, not %" PRId64 " and %" PRId64, full, found->dead,
              found->fired, i64_at(t, 0), i64_at(t, 1));
    check_parameters(r, "grad.", "grad");
}

/* After ten steps: how long ago each latent fired, equal. */
static void check_counters(run *r)
{
    char full[160];
    const uint64_t *since = state(r, "tokens_since_fired")->data;
    snprintf(full, sizeof full, "%s.since", r->name);
    const tensor *t = golden(&r->g, DT_I64, full);
    for (size_t i = 0; t && i < r->c.n; i++)
        CHECK((int64_t)since[i] == i64_at(t, i), "%s: latent %zu fired %" PRIu64 " tokens ago, not %" PRId64,
              full, i, since[i], i64_at(t, i));
}

/* Dead latents after each of the hundred steps: within what PyTorch's own runs found, widened by as much as
 * they differ. */
static void check_dead(run *r, const size_t *dead)
{
    char full[160];
    snprintf(full, sizeof full, "%s.dead", r->name);
    const tensor *t = golden(&r->g, DT_I64, full);
    for (size_t s = 0; t && s < STEPS; s++) {
        const int64_t low = i64_at(t, 2 * s), high = i64_at(t, 2 * s + 1), spread = high - low,
                      x = (int64_t)dead[s];
        CHECK(x >= low - spread && x <= high + spread,
              "%s: %" PRId64 " latents are dead after step %zu, PyTorch's runs have %" PRId64 " to %" PRId64,
              full, x, s + 1, low, high);
    }
}

static size_t dead_now(run *r)
{
    const uint64_t *since = state(r, "tokens_since_fired")->data;
    size_t count = 0;
    for (size_t i = 0; i < r->c.n; i++)
        count += since[i] > r->c.dead_threshold;
    return count;
}

static void check_run(run *r)
{
    float  trace[STEPS] = { 0 };
    size_t dead[STEPS] = { 0 };
    char   full[160];
    for (size_t s = 0; s < STEPS; s++) {
        train_report found;
        if (trainer_step(r->t, r->x + s % r->batches * r->c.batch * r->c.d, r->c.batch, &found, &err)) {
            CHECK(false, "%s: step %zu: %s", r->name, s, err.text);
            return;
        }
        trace[s] = (float)found.fvu;
        dead[s] = dead_now(r);
        if (s == 0) {
            check_first(r, &found);
            check_parameters(r, "", "step1");
        }
        if (s == 9) {
            check_parameters(r, "", "step10");
            check_counters(r);
        }
    }
    snprintf(full, sizeof full, "%s.trace", r->name);
    check_truth(&r->g, full, trace, STEPS);
    check_dead(r, dead);
}

/* What the cases share; false is a failure already. */
static bool run_open(run *r, json v)
{
    memset(r, 0, sizeof *r);
    train_defaults(&r->c, size_at(v, "d"));
    r->c.n = size_at(v, "n");
    r->c.k = size_at(v, "k");
    r->c.batch = size_at(v, "batch");
    r->c.steps = size_at(v, "steps");
    r->c.lr = number(v, "lr", 0);
    r->c.auxk_alpha = number(v, "auxk_alpha", 0);
    r->c.dead_threshold = size_at(v, "dead_threshold");
    r->batches = size_at(v, "batches");
    CHECK(r->c.steps == STEPS, "the goldens are of %zu steps", r->c.steps);
    r->x = malloc(r->batches * r->c.batch * r->c.d * sizeof *r->x);
    CHECK(r->x, "no memory");
    return golden_open(&r->g, "train") && r->x && r->c.steps == STEPS;
}

/* A trainer for the case; false is a failure already. */
static bool trainer_for(run *r)
{
    const int code = trainer_open(&r->t, &host, &r->c, 2, NULL, &err);
    CHECK(!code, "%s", err.text);
    if (!code)
        trainer_tensors(r->t, r->state);
    return !code;
}

static void check_case(run *r, json v)
{
    /* short tokens have long gradients, which clipping meets */
    const float scale = (float)number(v, "scale", 1);
    char name[48], full[96];
    text_at(v, "name", name, sizeof name);
    snprintf(r->name, sizeof r->name, "train.%s", name);
    snprintf(full, sizeof full, "%s.draw", r->name);
    const tensor *draw = golden(&r->g, DT_I64, full);
    if (!draw)
        return;
    snprintf(r->draw, sizeof r->draw, "%s.%" PRId64, r->name, i64_at(draw, 0));
    r->c.batch_topk = flag(v, "batch_topk");
    r->c.multi_topk = flag(v, "multi_topk");
    r->c.released_auxk = flag(v, "released_auxk");
    if (!trainer_for(r))
        return;
    fill_data(r->x, r->draw, scale, r->batches * r->c.batch, r->c.d);
    fill_start(r, size_at(v, "dead"), (float)number(v, "shrink", 0.25), scale);
    check_run(r);
    trainer_close(r->t);
}

/* b_dec's start. */
static void check_median(run *r)
{
    fill_data(r->x, "train.median", 1, r->c.batch, r->c.d);
    if (!trainer_for(r))
        return;
    CHECK(!trainer_start(r->t, r->x, r->c.batch, &err), "%s", err.text);
    check_truth(&r->g, "train.median", state(r, "b_dec")->data, r->c.d);
    trainer_close(r->t);
}

/* Every case: loss terms, measures, gradients, integers of the first step; parameters after 1 and 10; FVU and
 * dead latents of all 100. */
static void training(void)
{
    static run r;
    io_file file;
    json v = config_open(&file, "train"), list, one;
    if (run_open(&r, v) && json_get(v, "cases", &list)) {
        for (json_iter it = json_begin(list); json_next(&it, NULL, &one);)
            check_case(&r, one);
        check_median(&r);
    }
    golden_close(&r.g);
    free(r.x);
    io_close(&file);
}

const test_case train_tests[] = {
    { "gradients_are_derivatives", gradients_are_derivatives },
    { "gradients_are_the_dense_ones", gradients_are_the_dense_ones },
    { "ties_go_to_the_lower", ties_go_to_the_lower },
    { "counters_follow_selection", counters_follow_selection },
    { "dead_latents_learn_but_stay_dead", dead_latents_learn_but_stay_dead },
    { "rates_rows_and_clipping", rates_rows_and_clipping }, { "adam_is_adam", adam_is_adam },
    { "median_of_points", median_of_points }, { "rows_equal_reference", rows_equal_reference },
    { "own_weights_are_files_weights", own_weights_are_files_weights },
    { "same_bytes_from_all", same_bytes_from_all }, { "same_bytes_when_shared", same_bytes_when_shared },
    { "state_can_be_put_back", state_can_be_put_back },
    { "bad_batches_are_refused", bad_batches_are_refused },
    { "bad_settings_are_refused", bad_settings_are_refused },
    { "selection_is_batch_topk", selection_is_batch_topk }, { "allocations_fail", allocations_fail },
    { "it_learns", it_learns }, { "training", training }, { NULL, NULL },
};
