/* select.c: which latents carry a concept, and what happens to them while sampling.
 *
 *   statistics mu(c,t) --score--> s(c,t) --percentile or top K--> selected latents --ablate--> hook output
 *
 * Not here: the file of statistics (stats.c), the SAE (sae.c), the hook's place in the UNet (unet.c), which
 * SAE and statistics serve a concept (forget.c), UA/IRA/CRA (evaluation/).
 * Source: SAeUron, arXiv 2501.18052, sections 3.3 and 3.4; released code utils/hooks.py,
 * SAE/unlearning_utils.py.
 * Letters: T sampling steps, n latents, d width, k latents a token, M tokens, c a concept, D its domain. */
#include "select.h"
#include "files/print.h"
#include "saeuron.h"

#include <float.h>
#include <string.h>

/* ---- score ---- */

/* EQ 30: s_i(t,c) = mu_i(t,c) / (sum_j mu_j(t,c) + 1e-8) - mu_i(t,D\c) / (sum_j mu_j(t,D\c) + 1e-8), where
 * mu(D\c) is the mean over the pooled prompts of the other concepts; in a domain of one concept s = mu
 *                                                                                      (paper equation 5).
 * In double, concepts ascending; each score is rounded to float once.
 * AUDIT A8: the released code takes means of half precision. */
void latent_scores(const stats *s, float *score, size_t concept, size_t step, double *scratch)
{
    const size_t n = s->n;
    double *others = scratch, pooled = 0;
    float  *mu = (float *)(void *)(scratch + n);
    for (size_t i = 0; i < n; i++)
        others[i] = 0;
    for (size_t c = 0; c < s->concepts; c++) {
        if (c == concept)
            continue;
        stats_mu(s, mu, c, step);
        pooled += s->prompts[c];
        for (size_t i = 0; i < n; i++)
            others[i] += s->prompts[c] * (double)mu[i];
    }
    stats_mu(s, mu, concept, step);
    if (s->concepts == 1) {
        memcpy(score, mu, n * sizeof *score);
        return;
    }
    for (size_t i = 0; i < n; i++)
        others[i] /= pooled;
    const double own = nn_sum16(mu, n) + 1e-8, rest = nn_sum16_d(others, n) + 1e-8;
    for (size_t i = 0; i < n; i++)
        score[i] = (float)((double)mu[i] / own - others[i] / rest);
}

/* ---- selection ---- */

/* What selecting one step works on, each [n] but sums [2n]. */
typedef struct workspace {
    double   *sums;
    float    *score, *some, *value;     /* scores of all latents, of those that may be selected; scratch */
    uint32_t *latent, *place;           /* the latents selected; those that may be */
} workspace;

static void *workspace_open(workspace *w, const saeuron_host *host, size_t n)
{
    void *memory = io_alloc(host, n, 2 * sizeof *w->sums + 3 * sizeof *w->score + 2 * sizeof *w->latent);
    if (memory) {
        w->sums = memory;
        w->score = (float *)(void *)(w->sums + 2 * n);
        w->some = w->score + n;
        w->value = w->some + n;
        w->latent = (uint32_t *)(void *)(w->value + n);
        w->place = w->latent + n;
    }
    return memory;
}

/* Keeps of the count latents in w->place those whose value / than [n] (than NULL: 1) is at least min, and not
 * 0. */
static size_t keep(workspace *w, size_t count, const float *than, double min)
{
    size_t kept = 0;
    for (size_t j = 0; j < count; j++) {
        const uint32_t i = w->place[j];
        if (w->value[i] > 0 && (double)w->value[i] >= min * (than ? (double)than[i] : 1))
            w->place[kept++] = i;
    }
    return kept;
}

/* The latents that may be selected: those that fire at min_density of the concept's tokens, and whose mu is
 * min_lift times the threshold, into w->place, their scores into w->some; returns how many.
 * AUDIT A3: the paper filters by activation frequency before it scores; the released code, and our default,
 * do not. The lift is this program's own. */
static size_t filter(const stats *s, workspace *w, size_t concept, size_t step, const choice *how)
{
    const tensor *t = how->min_density > 0 ? tensors_find(&s->density, stats_name(s, concept)) : NULL;
    size_t count = s->n;
    for (size_t i = 0; i < s->n; i++)
        w->place[i] = (uint32_t)i;
    if (t) {
        nn_widen(w->value, (weight){ .data = t->data, .type = t->type }, step * s->n, s->n);
        count = keep(w, count, NULL, how->min_density);
    }
    if (how->min_lift > 0) {
        stats_mu(s, w->value, concept, step);
        count = keep(w, count, s->threshold + step * s->n, how->min_lift);
    }
    for (size_t j = 0; j < count; j++)
        w->some[j] = w->score[w->place[j]];
    return count;
}

/* EQ 31: The latents of one step, ascending, into w->latent; returns how many: none outside the window. */
static size_t select_step(const stats *s, workspace *w, size_t concept, size_t step, choice how)
{
    size_t count = 0;
    if (how.end && (step < how.first || step >= how.end))
        return 0;
    latent_scores(s, w->score, concept, step, w->sums);
    const bool   some = how.min_density > 0 || how.min_lift > 0;
    const size_t found = some ? filter(s, w, concept, step, &how) : s->n;
    const float *score = some ? w->some : w->score;
    if (how.top) {
        count = nn_topk(w->latent, w->value, score, found, how.top);
    } else if (found) {
        const double cut = nn_quantile(score, found, how.percentile / 100, w->value);
        for (size_t i = 0; i < found; i++)
            if ((double)score[i] > cut)
                w->latent[count++] = (uint32_t)i;
    }
    for (size_t j = 0; some && j < count; j++)
        w->latent[j] = w->place[w->latent[j]];
    return count;
}

/* Arrays of a selection with room for total latents, in one block. */
static bool selection_layout(selection *sel, const saeuron_host *host, size_t total)
{
    sel->memory = io_alloc(host, sel->steps + 1 + 4 * total, sizeof(float));
    if (!sel->memory)
        return false;
    sel->start = sel->memory;
    sel->latent = sel->start + sel->steps + 1;
    sel->score = (float *)(void *)(sel->latent + total);
    sel->mu = sel->score + total;
    sel->threshold = sel->mu + total;
    return true;
}

/* Adds the latents of step t, whose scores are in w. */
static void selection_put(selection *sel, const stats *s, size_t concept, size_t t, workspace *w,
                          size_t count)
{
    size_t at = sel->start[t];
    stats_mu(s, w->value, concept, t);
    for (size_t j = 0; j < count; j++, at++) {
        const uint32_t i = w->latent[j];
        sel->latent[at] = i;
        sel->score[at] = w->score[i];
        sel->mu[at] = w->value[i];
        sel->threshold[at] = s->threshold[t * s->n + i];
    }
    sel->start[t + 1] = (uint32_t)at;
}

int selection_make(selection *sel, const saeuron_host *host, const stats *s, size_t concept, choice how,
                   saeuron_error *err)
{
    workspace w;
    size_t total = 0;
    int    code = SAEURON_OK;
    void  *memory = workspace_open(&w, host, s->n);

    memset(sel, 0, sizeof *sel);
    print_into(sel->concept, sizeof sel->concept, "%s", stats_name(s, concept));
    sel->how = how;
    sel->steps = s->steps;
    for (size_t t = 0; memory && t < s->steps; t++) /* once to count, once to keep */
        total += select_step(s, &w, concept, t, how);
    if (how.end && how.first >= s->steps)
        code = fail(err, SAEURON_EUSAGE, "the window begins at step %zu, but the statistics end after %zu",
                    how.first, s->steps);
    else if (!memory || total > UINT32_MAX / 32 || !selection_layout(sel, host, total))
        code = fail(err, SAEURON_ENOMEM, "no memory to select latents for %s", sel->concept);
    else if (!total && (how.min_density > 0 || how.min_lift > 0))
        code = fail(err, SAEURON_EUSAGE,
                    "no latent with min_density %g and min_lift %g is selected for %.90s: lower them",
                    how.min_density, how.min_lift, sel->concept);
    if (!code) {
        sel->start[0] = 0;
        for (size_t t = 0; t < s->steps; t++)
            selection_put(sel, s, concept, t, &w, select_step(s, &w, concept, t, how));
    }
    io_free(host, memory);
    return code;
}

void selection_free(selection *sel, const saeuron_host *host)
{
    io_free(host, sel->memory);
    memset(sel, 0, sizeof *sel);
}

/* ---- ablation: the definition ---- */

/* Place of latent among those selected at step, or -1. */
static long find_latent(const selection *sel, size_t step, uint32_t latent)
{
    size_t low = sel->start[step], high = sel->start[step + 1];
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (sel->latent[middle] < latent)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sel->start[step + 1] && sel->latent[low] == latent ? (long)low : -1;
}

/* f~ of one latent. EQ 33: if it is steered, FACTOR f. EQ 32: if a concept selects it and f > threshold,
 * gamma mu f. Otherwise f.
 * AUDIT A20: a steered latent obeys its FACTOR alone, whatever concept selects it: factor 1 exempts it from
 * forgetting.
 * AUDIT A5: the released order is undefined for latents that several concepts select. Here each concept
 * compares the original f with its threshold; of the factors gamma mu that apply, the one with the largest
 * |factor - 1| counts, at ties the first concept's. `shared` released: what the released code leaves on a
 * CPU, the last concept's value, be it f. */
static float edited(const ablation *a, uint32_t latent, float f, size_t step, edit *e)
{
    float most = -1, factor = 1;
    for (size_t i = 0; i < a->steers; i++)
        if (a->steer[i].latent == latent) {
            factor = a->steer[i].factor;
            *e = (edit){ .concept = "(steered)", .latent = latent, .f = f };
            e->factor = factor;
            e->after = factor * f;
            return e->after;
        }
    for (size_t c = 0; c < a->count; c++) {
        const selection *sel = &a->forget[c];
        const long at = find_latent(sel, step, latent);
        if (at < 0)
            continue;
        if (a->shared == SAEURON_SHARED_RELEASED)
            most = -1;
        if (!(f > sel->threshold[at])) /* strict, as released */
            continue;
        const float own = sel->how.strength * sel->mu[at], moved = own > 1 ? own - 1 : 1 - own;
        if (moved > most) {
            most = moved;
            factor = own;
            *e = (edit){ .concept = sel->concept, .latent = latent, .f = f, .mu = sel->mu[at],
                         .threshold = sel->threshold[at] };
        }
    }
    e->factor = most < 0 ? 1 : factor;
    e->after = most < 0 ? f : factor * f;
    return e->after;
}

float ablation_factor(const ablation *a, uint32_t latent, float f, size_t step)
{
    edit e;
    edited(a, latent, f, step, &e);
    return e.factor;
}

/* f [count] of one token becomes after [count] = f~; the observer hears of each change. */
static void edit_latents(const ablation *a, float *after, const uint32_t *idx, const float *f, size_t count,
                         size_t step, size_t row)
{
    for (size_t j = 0; j < count; j++) {
        edit e;
        after[j] = edited(a, idx[j], f[j], step, &e);
        if (after[j] != f[j] && a->observe) {
            e.step = step;
            e.row = row;
            a->observe(a->observe_user, &e);
        }
    }
}

/* EQ 34: Paper: x [d] becomes x + sum over the latents that change of (f~ - f) W_dec; x stays as it is where
 * none does. idx, after are overwritten. y [d], row [2d]: scratch. */
static void add_changes(const ablation *a, float *x, uint32_t *idx, const float *f, float *after,
                        size_t count, float *y, float *row)
{
    size_t changed = 0;
    for (size_t j = 0; j < count; j++)
        if (after[j] != f[j]) {
            idx[changed] = idx[j];
            after[changed++] = after[j] - f[j];
        }
    if (!changed)
        return;
    sae_decode_sparse(&a->sae, y, idx, after, changed, row);
    for (size_t i = 0; i < a->sae.d; i++)
        x[i] = x[i] + y[i];
}

/* None: x [d] becomes decode(f~). Released, AUDIT A1: decode(f~) + (decode(f) - x), the SAE's error with its
 * sign reversed. y, old [d], row [2d]: scratch. */
static void replace(const ablation *a, float *x, const uint32_t *idx, const float *f, const float *after,
                    size_t count, bool released, float *y, float *old, float *row)
{
    const size_t d = a->sae.d;
    sae_decode_sparse(&a->sae, y, idx, after, count, row);
    for (size_t i = 0; i < d; i++)
        y[i] = y[i] + a->sae.b_dec[i];
    if (released) {
        sae_decode_sparse(&a->sae, old, idx, f, count, row);
        for (size_t i = 0; i < d; i++)
            y[i] = y[i] + ((old[i] + a->sae.b_dec[i]) - x[i]);
    }
    memcpy(x, y, d * sizeof *x);
}

/* The ablation of every token of x [M,d]: encode, edit, and what the residual says. */
static void ablate_tokens(nn *c, const ablation *a, float *x, size_t M, size_t step)
{
    const size_t d = a->sae.d, k = a->sae.k, block = least(M, SAE_TOKENS), mark = arena_mark(c->work);
    const int residual = a->reconstruct ? SAEURON_RESIDUAL_NONE : a->residual;
    uint32_t *idx = arena_bytes(c->work, block * k, sizeof *idx);
    float    *f = arena_floats(c->work, block * k);
    uint32_t *count = arena_bytes(c->work, block, sizeof *count);
    float    *after = arena_floats(c->work, k);
    float    *row = arena_floats(c->work, 4 * d);

    if (!row) /* planning: one block stands for all */
        sae_encode(c, &a->sae, idx, f, count, NULL, block);
    for (size_t first = 0; row && first < M; first += block) {
        const size_t tokens = least(block, M - first);
        sae_encode(c, &a->sae, idx, f, count, x + first * d, tokens);
        for (size_t i = 0; i < tokens; i++) {
            float *token = x + (first + i) * d;
            uint32_t *latent = idx + i * k;
            edit_latents(a, after, latent, f + i * k, count[i], step, first + i);
            if (residual == SAEURON_RESIDUAL_PAPER)
                add_changes(a, token, latent, f + i * k, after, count[i], row + 2 * d, row);
            else
                replace(a, token, latent, f + i * k, after, count[i], residual == SAEURON_RESIDUAL_RELEASED,
                        row + 2 * d, row + 3 * d, row);
        }
    }
    arena_release(c->work, mark);
}

/* ---- what is asked for at a hook ---- */

bool ablation_active(const ablation *a) { return a->count || a->steers || a->reconstruct; }

const char *const half_name[HALVES] = { "both", "conditional", "unconditional" };

int ablation_half(const ablation *a) { return a->count ? a->forget[0].how.half : SAEURON_HALF_BOTH; }

int ablation_forget(ablation *a, const saeuron_host *host, const char *concept, choice how,
                    saeuron_error *err)
{
    const int c = stats_find(&a->stats, concept);
    if (a->reconstruct)
        return fail(err, SAEURON_EUSAGE,
                    "concept %.80s is forgotten at %s, which is reconstructed alone: choose one", concept,
                    a->hook);
    if (a->count == FORGETS)
        return fail(err, SAEURON_EUSAGE, "at most %d concepts can be forgotten at one hook", FORGETS);
    for (size_t i = 0; i < a->count; i++)
        if (!strcmp(a->forget[i].concept, concept))
            return fail(err, SAEURON_EUSAGE, "concept %.80s is named twice", concept);
    if (c < 0)
        return fail(err, SAEURON_EUSAGE, "concept %.80s is not in the statistics at %s", concept, a->hook);
    if ((a->count || a->steers) && how.half != ablation_half(a))
        return fail(err, SAEURON_EUSAGE,
                    "concept %.80s and what else is done at %s edit different rows: name one half "
                    "for all", concept, a->hook);
    const int code = selection_make(&a->forget[a->count], host, &a->stats, (size_t)c, how, err);
    if (code)
        selection_free(&a->forget[a->count], host);
    else
        a->count++;
    return code;
}

int ablation_steer(ablation *a, size_t latent, double factor, saeuron_error *err)
{
    if (latent >= a->sae.n)
        return fail(err, SAEURON_EUSAGE, "there is no latent %zu at %s: its SAE has %zu, counted from 0",
                    latent, a->hook, a->sae.n);
    if (!(factor >= -(double)FLT_MAX && factor <= (double)FLT_MAX)) /* false for NaN */
        return fail(err, SAEURON_EUSAGE,
                    "the factor of latent %zu at %s must be a number within float32's range", latent,
                    a->hook);
    if (a->reconstruct)
        return fail(err, SAEURON_EUSAGE,
                    "latent %zu is steered at %s, which is reconstructed alone: choose one", latent, a->hook);
    for (size_t i = 0; i < a->steers; i++)
        if (a->steer[i].latent == latent)
            return fail(err, SAEURON_EUSAGE, "latent %zu at %s is steered twice", latent, a->hook);
    if (ablation_half(a) != SAEURON_HALF_BOTH)
        return fail(err, SAEURON_EUSAGE,
                    "latent %zu at %s is steered in all rows, but concepts are forgotten in some: "
                    "name half both", latent, a->hook);
    if (a->steers == STEERS)
        return fail(err, SAEURON_EUSAGE, "at most %d latents can be steered at one hook", STEERS);
    a->steer[a->steers++] = (steering){ (uint32_t)latent, (float)factor };
    return SAEURON_OK;
}

int ablation_reconstruct(ablation *a, saeuron_error *err)
{
    if (a->count || a->steers)
        return fail(err, SAEURON_EUSAGE, "%s is reconstructed alone, but %s there: choose one", a->hook,
                    a->count ? "concepts are forgotten" : "latents are steered");
    a->reconstruct = true;
    return SAEURON_OK;
}

void ablation_rest(ablation *a, const saeuron_host *host)
{
    while (a->count)
        selection_free(&a->forget[--a->count], host);
    a->steers = 0;
    a->reconstruct = false;
}

void ablation_free(ablation *a, const saeuron_host *host)
{
    ablation_rest(a, host);
    stats_unload(&a->stats, host);
    sae_unload(&a->sae, host);
}

/* ---- ablation, fast: only the tokens that it may change, with the same bits ---- */

/* Most latents that one step may edit; those that several concepts share are counted for each. */
static size_t most_targets(const ablation *a)
{
    size_t sum = a->steers;
    for (size_t c = 0; c < a->count; c++) {
        const selection *sel = &a->forget[c];
        size_t most = 0;
        for (size_t t = 0; t < sel->steps; t++)
            most = sel->start[t + 1] - sel->start[t] > most ? sel->start[t + 1] - sel->start[t] : most;
        sum += most;
    }
    return sum;
}

/* The latents that this step may edit, into latent [most_targets]; returns how many. */
static size_t targets(const ablation *a, uint32_t *latent, size_t step)
{
    size_t S = 0;
    for (size_t i = 0; i < a->steers; i++)
        latent[S++] = a->steer[i].latent;
    for (size_t c = 0; c < a->count; c++)
        for (size_t at = a->forget[c].start[step]; at < a->forget[c].start[step + 1]; at++)
            latent[S++] = a->forget[c].latent[at];
    return S;
}

/* Whether it is enough to find the tokens that change: a token without an edit keeps its bits, nobody
 * observes, and looking first costs little, for at most a sixteenth of the latents may be edited. */
static bool few_suffice(const ablation *a, size_t most)
{
    return a->residual == SAEURON_RESIDUAL_PAPER && !a->reconstruct && !a->observe && most <= a->sae.n / 16;
}

/* The tokens in which a latent that may be edited fires, and would change if it is among the k largest:
 * ascending, into token [M]; returns how many. best [M]: the largest z of such a latent. */
static size_t firing(nn *c, const ablation *a, uint32_t *token, float *best, const float *x, size_t M,
                     size_t step, size_t most)
{
    const size_t mark = arena_mark(c->work);
    uint32_t *latent = arena_bytes(c->work, most, sizeof *latent);
    float    *z = arena_floats(c->work, M * most);
    const size_t S = z ? targets(a, latent, step) : most;
    size_t count = 0;
    edit   e;

    if (S)
        sae_pre_activations(c, &a->sae, z, x, M, latent, S);
    for (size_t m = 0; z && m < M; m++) {
        float largest = 0;
        for (size_t j = 0; j < S; j++) {
            const float f = z[m * S + j];
            if (f > largest && edited(a, latent[j], f, step, &e) != f)
                largest = f;
        }
        if (largest > 0) {
            best[count] = largest;
            token[count++] = (uint32_t)m;
        }
    }
    arena_release(c->work, mark);
    return count;
}

/* Takes off the list the tokens where k other latents are larger than best: there TopK leaves nothing to
 * edit. Returns how many tokens are left. It looks at R rivals only, the latents with the largest thresholds,
 * which are most often the larger ones; without statistics, at every n/R-th. A rival that is missed costs
 * time, never a bit. */
static size_t outdone(nn *c, const ablation *a, uint32_t *token, const float *best, size_t count,
                      const float *x, size_t M, size_t step)
{
    const size_t d = a->sae.d, k = a->sae.k, n = a->sae.n, block = least(M, SAE_TOKENS);
    const size_t R = n / 16 > 8 * k ? n / 16 : 8 * k < n ? 8 * k : n, mark = arena_mark(c->work);
    uint32_t *rival = arena_bytes(c->work, R, sizeof *rival);
    float    *mean = arena_floats(c->work, R);
    float    *some = arena_floats(c->work, block * d);
    float    *z = arena_floats(c->work, block * R);
    size_t    kept = 0;

    if (z && a->stats.steps)
        nn_topk(rival, mean, a->stats.threshold + step * n, n, R);
    for (size_t j = 0; z && !a->stats.steps && j < R; j++)
        rival[j] = (uint32_t)(n / R * j);
    if (!z) /* planning: one block stands for all */
        sae_pre_activations(c, &a->sae, NULL, NULL, block, NULL, R);
    for (size_t at = 0; z && at < count; at += block) {
        const size_t tokens = least(block, count - at);
        for (size_t i = 0; i < tokens; i++)
            memcpy(some + i * d, x + token[at + i] * d, d * sizeof *x);
        sae_pre_activations(c, &a->sae, z, some, tokens, rival, R);
        for (size_t i = 0; i < tokens; i++) {
            size_t larger = 0;
            for (size_t j = 0; j < R; j++)
                larger += z[i * R + j] > best[at + i];
            if (larger < k)
                token[kept++] = token[at + i];
        }
    }
    arena_release(c->work, mark);
    return kept;
}

/* The tokens that an edit may change, ascending, into token [M]; returns how many. No other token can change.
 * A token's f_i is relu(z_i) if TopK or GroupMax keeps latent i, else 0. At 0 nothing is edited. Where z_i >
 * 0, `firing` has tried the very edit that these may let happen, on the same bits (sae_pre_activations). With
 * GroupMax every token that it found stays. With TopK, of the latents it found at a token, the largest is
 * among the k largest of all if any of them is. So to encode these tokens alone gives the bits of encoding
 * all. */
static size_t candidates(nn *c, const ablation *a, uint32_t *token, const float *x, size_t M, size_t step,
                         size_t most)
{
    const size_t mark = arena_mark(c->work);
    float *best = arena_floats(c->work, M);
    const size_t found = firing(c, a, token, best, x, M, step, most);
    const size_t left = a->sae.groupmax ? found : outdone(c, a, token, best, found, x, M, step);
    arena_release(c->work, mark);
    return left;
}

/* What is ablated here may be of both halves of the guided batch, though mu is the conditional half's. */
void ablate(nn *c, const ablation *a, float *x, size_t M, size_t step)
{
    const size_t d = a->sae.d, block = least(M, SAE_TOKENS), most = most_targets(a);
    const size_t mark = arena_mark(c->work);
    if (!few_suffice(a, most)) {
        ablate_tokens(c, a, x, M, step);
        return;
    }
    uint32_t *token = arena_bytes(c->work, M, sizeof *token);
    float    *some = arena_floats(c->work, block * d);
    const size_t count = candidates(c, a, token, some ? x : NULL, M, step, most);
    if (!some) /* planning: one block stands for all */
        ablate_tokens(c, a, NULL, block, step);
    for (size_t at = 0; some && at < count; at += block) {
        const size_t tokens = least(block, count - at);
        for (size_t i = 0; i < tokens; i++)
            memcpy(some + i * d, x + token[at + i] * d, d * sizeof *x);
        ablate_tokens(c, a, some, tokens, step);
        for (size_t i = 0; i < tokens; i++)
            memcpy(x + token[at + i] * d, some + i * d, d * sizeof *x);
    }
    arena_release(c->work, mark);
}
