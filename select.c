/* select.c: which latents carry a concept, and what happens to them while sampling.
 *
 *   statistics mu(c,t) --score--> s(t) --percentile or top K--> selected latents --ablate--> hook output
 *
 * Not here: the SAE itself (sae.c), the hook's place in the UNet (unet.c), who forgets what (pipeline.c), UA/IRA/CRA.
 * Source: SAeUron, arXiv 2501.18052, sections 3.3 and 3.4; released code utils/hooks.py, SAE/unlearning_utils.py.
 * Letters: T sampling steps, n latents, d width, k latents a token, M tokens, c a concept, D all concepts of its domain. */
#include "select.h"
#include "saeuron.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- score ---- */

/* s_i(t,c) = mu_i(t,c) / (sum_j mu_j(t,c) + 1e-8) - mu_i(t,D\c) / (sum_j mu_j(t,D\c) + 1e-8), where mu(D\c) is the mean
 * over the pooled prompts of the other concepts; a domain of one concept: s = mu   (paper equation 5).
 * In double by concept ascending; each score rounded to float once. AUDIT A8: the released code is half precision here. */
void stats_score(const stats *s, float *score, size_t concept, size_t step, float *scratch)
{
    const size_t n = s->n;
    float  *mu = scratch;
    double *others = (double *)(void *)(scratch + n + n % 2), pooled = 0;
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

/* Of one step: the latents that fire often enough, into idx, their scores into some, both [n]; returns how many.
 * AUDIT A3: the paper filters by activation frequency before it scores, the released code does not; default: it does not. */
static size_t dense_enough(const stats *s, uint32_t *idx, float *some, const float *score, size_t concept, size_t step, double min)
{
    const tensor *t = tensors_find(&s->density, stats_name(s, concept));
    size_t count = 0;
    nn_widen(some, (weight){ .data = t->data, .type = t->type }, step * s->n, s->n);
    for (size_t i = 0; i < s->n; i++)
        if ((double)some[i] >= min) {
            some[count] = score[i]; /* count is at most i */
            idx[count++] = (uint32_t)i;
        }
    return count;
}

/* select_step among the latents that fire often enough: the K best of those, or those above the percentile of theirs. */
static size_t select_dense(const stats *s, uint32_t *idx, const float *score, size_t concept, size_t step, choice how, float *scratch)
{
    float    *some = scratch + s->n;
    uint32_t *place = (uint32_t *)(void *)(scratch + 2 * s->n);
    const size_t found = dense_enough(s, place, some, score, concept, step, how.min_density);
    size_t count = 0;
    if (how.top)
        count = nn_topk(idx, scratch, some, found, how.top);
    const double cut = how.top || !found ? 0 : nn_quantile(some, found, how.percentile / 100, scratch);
    for (size_t i = 0; !how.top && i < found; i++)
        if ((double)some[i] > cut)
            idx[count++] = (uint32_t)i;
    for (size_t j = 0; j < count; j++)
        idx[j] = place[idx[j]];
    return count;
}

/* The latents of one step, ascending, into idx [n]; returns how many. scratch [4n+8] as floats. */
static size_t select_step(const stats *s, uint32_t *idx, float *score, size_t concept, size_t step, choice how, float *scratch)
{
    size_t count = 0;
    stats_score(s, score, concept, step, scratch);
    if (how.min_density > 0)
        return select_dense(s, idx, score, concept, step, how, scratch);
    if (how.top)
        return nn_topk(idx, scratch, score, s->n, how.top);
    const double cut = nn_quantile(score, s->n, how.percentile / 100, scratch);
    for (size_t i = 0; i < s->n; i++)
        if ((double)score[i] > cut)
            idx[count++] = (uint32_t)i;
    return count;
}

/* Arrays of a selection with room for total latents, in one block. */
static bool selection_layout(selection *sel, const saeuron_host *host, size_t total)
{
    sel->memory = io_alloc(host, (sel->steps + 1 + 4 * total) * sizeof(float), 1);
    if (!sel->memory)
        return false;
    sel->start = sel->memory;
    sel->latent = sel->start + sel->steps + 1;
    sel->score = (float *)(void *)(sel->latent + total);
    sel->mu = sel->score + total;
    sel->threshold = sel->mu + total;
    return true;
}

/* Fills the arrays from idx, score of step t. */
static void selection_put(selection *sel, const stats *s, size_t concept, size_t t, const uint32_t *idx, size_t count, const float *score, float *mu)
{
    size_t at = sel->start[t];
    stats_mu(s, mu, concept, t);
    for (size_t j = 0; j < count; j++, at++) {
        sel->latent[at] = idx[j];
        sel->score[at] = score[idx[j]];
        sel->mu[at] = mu[idx[j]];
        sel->threshold[at] = s->threshold[t * s->n + idx[j]];
    }
    sel->start[t + 1] = (uint32_t)at;
}

int selection_make(selection *sel, const saeuron_host *host, const stats *s, size_t concept, choice how, saeuron_error *err)
{
    float    *scratch = io_alloc(host, 6 * s->n + 8, sizeof *scratch);
    float    *score = scratch ? scratch + 4 * s->n + 8 : NULL;
    uint32_t *idx = scratch ? (uint32_t *)(void *)(score + s->n) : NULL;
    size_t    total = 0;

    memset(sel, 0, sizeof *sel);
    snprintf(sel->concept, sizeof sel->concept, "%s", stats_name(s, concept));
    sel->how = how;
    sel->steps = s->steps;
    for (size_t t = 0; scratch && t < s->steps; t++) /* once to count, once to keep */
        total += select_step(s, idx, score, concept, t, how, scratch);
    if (!scratch || total > UINT32_MAX / 32 || !selection_layout(sel, host, total)) {
        io_free(host, scratch);
        return fail(err, SAEURON_ENOMEM, "no memory to select latents for %s", sel->concept);
    }
    if (!total && how.min_density > 0) {
        io_free(host, scratch);
        selection_free(sel, host);
        return fail(err, SAEURON_EUSAGE, "no latent that fires at %g of its tokens is selected for %.90s: lower --min-density", how.min_density, stats_name(s, concept));
    }
    sel->start[0] = 0;
    for (size_t t = 0; t < s->steps; t++) {
        const size_t count = select_step(s, idx, score, concept, t, how, scratch);
        selection_put(sel, s, concept, t, idx, count, score, scratch);
    }
    io_free(host, scratch);
    return SAEURON_OK;
}

void selection_free(selection *sel, const saeuron_host *host)
{
    io_free(host, sel->memory);
    memset(sel, 0, sizeof *sel);
}

/* ---- ablation ---- */

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

/* f~ of one latent: FACTOR f where it is steered; else gamma mu f for the concept whose factor gamma mu moves it most; f
 * itself where none applies.
 * AUDIT A20: a steered latent obeys its FACTOR alone, whatever concept selects it: factor 1 exempts it from forgetting.
 * AUDIT A5: the released order is undefined for latents that concepts share. Each mask is taken on the original f; of the
 * factors that apply, the one with the largest |factor - 1|; ties, the first concept named. `shared` released: what its scatter
 * leaves on a CPU, the last concept's value, be it f itself. */
static float edited(const ablation *a, uint32_t latent, float f, size_t step, edit *e)
{
    float most = -1, factor = 1;
    for (size_t i = 0; i < a->steers; i++)
        if (a->steer[i].latent == latent) {
            const float g = a->steer[i].factor;
            *e = (edit){ .concept = "(steered)", .latent = latent, .f = f, .factor = g, .after = g * f };
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
            *e = (edit){ .concept = sel->concept, .latent = latent, .f = f, .mu = sel->mu[at], .threshold = sel->threshold[at] };
        }
    }
    if (most < 0)
        return f;
    e->factor = factor;
    e->after = factor * f;
    return e->after;
}

/* One token: x [d] becomes x + sum (f~ - f) W_dec (paper), or as residual says; decode(f) where the hook is reconstructed.
 * idx, f [count]; changed, after [k]; row [4d]. */
static void ablate_token(const ablation *a, float *x, const uint32_t *idx, const float *f, size_t count, size_t step, size_t m,
                         uint32_t *changed, float *after, float *row)
{
    const size_t d = a->sae.d;
    const int residual = a->reconstruct ? RESIDUAL_NONE : a->residual;
    float *y = row + 2 * d, *old = row + 3 * d;
    size_t n = 0;
    for (size_t j = 0; j < count; j++) {
        edit e;
        const float g = edited(a, idx[j], f[j], step, &e);
        if (g != f[j] && a->observe) {
            e.step = step;
            e.row = m;
            a->observe(a->observe_user, &e);
        }
        if (residual != RESIDUAL_PAPER) {
            after[j] = g;
        } else if (g != f[j]) {
            changed[n] = idx[j];
            after[n++] = g - f[j];
        }
    }
    if (residual == RESIDUAL_PAPER) {
        if (!n)
            return;
        sae_decode_sparse(&a->sae, y, changed, after, n, row);
        for (size_t i = 0; i < d; i++)
            x[i] = x[i] + y[i];
        return;
    }
    sae_decode_sparse(&a->sae, y, idx, after, count, row);
    for (size_t i = 0; i < d; i++)
        y[i] = y[i] + a->sae.b_dec[i];
    if (residual == RESIDUAL_RELEASED) { /* AUDIT A1: + (decode(f) - x), the SAE's error with its sign reversed */
        sae_decode_sparse(&a->sae, old, idx, f, count, row);
        for (size_t i = 0; i < d; i++)
            y[i] = y[i] + ((old[i] + a->sae.b_dec[i]) - x[i]);
    }
    memcpy(x, y, d * sizeof *x);
}

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

/* Whether the few selected latents may be looked at before all n: only where tokens without an edit keep their bits, where
 * nobody watches, and while a sixteenth of the latents at most is selected, so that looking twice costs little. */
static bool few_suffice(const ablation *a, size_t most)
{
    return a->residual == RESIDUAL_PAPER && !a->reconstruct && !a->observe && most <= a->sae.n / 16;
}

/* The tokens in which a selected latent fires and would be edited, if it is among the k largest, ascending, into token [M];
 * returns how many. best [M]: the largest z of such a latent. */
static size_t firing(nn *c, const ablation *a, uint32_t *token, float *best, const float *x, size_t M, size_t step, size_t most)
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

/* Strikes off the tokens where k latents are larger than best, so that no edit can happen; returns how many are left. Looks at
 * R latents alone, those with the largest means, which most often are larger; without statistics, latents from all over. One
 * that is not found costs time, never a bit. */
static size_t outdone(nn *c, const ablation *a, uint32_t *token, const float *best, size_t count, const float *x, size_t M, size_t step)
{
    const size_t d = a->sae.d, k = a->sae.k, n = a->sae.n, block = M < SAE_TOKENS ? M : SAE_TOKENS, mark = arena_mark(c->work);
    const size_t R = n / 16 > 8 * k ? n / 16 : 8 * k < n ? 8 * k : n;
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
        const size_t tokens = count - at < block ? count - at : block;
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

/* The tokens that an edit may change, ascending, into token [M]; returns how many. No other can change: f_i of a token is
 * either relu(z_i) or, outside its k largest, 0. At 0 no edit is made; and where z_i > 0, the edit that TopK might let
 * happen is the one tried in `firing`, on the same bits (sae_pre_activations). Of the selected latents that fire, the largest
 * is among the k largest of all if any is. So encoding these tokens alone gives the bits of encoding all. */
static size_t candidates(nn *c, const ablation *a, uint32_t *token, const float *x, size_t M, size_t step, size_t most)
{
    const size_t mark = arena_mark(c->work);
    float *best = arena_floats(c->work, M);
    const size_t count = firing(c, a, token, best, x, M, step, most), left = outdone(c, a, token, best, count, x, M, step);
    arena_release(c->work, mark);
    return left;
}

bool ablation_active(const ablation *a) { return a->count || a->steers || a->reconstruct; }

void ablate(nn *c, const ablation *a, float *x, size_t M, size_t step)
{
    const size_t d = a->sae.d, k = a->sae.k, block = M < SAE_TOKENS ? M : SAE_TOKENS, most = most_targets(a), mark = arena_mark(c->work);
    const bool few = few_suffice(a, most);
    uint32_t *token = arena_bytes(c->work, M, sizeof *token);
    float    *some = arena_floats(c->work, block * d);
    uint32_t *idx = arena_bytes(c->work, block * k, sizeof *idx);
    float    *f = arena_floats(c->work, block * k);
    uint32_t *count = arena_bytes(c->work, block, sizeof *count);
    uint32_t *changed = arena_bytes(c->work, k, sizeof *changed);
    float    *after = arena_floats(c->work, k);
    float    *row = arena_floats(c->work, 4 * d);
    size_t    all = 0;

    if (few) /* AUDIT A10: of both halves of the guided batch, though mu is the conditional's */
        all = candidates(c, a, token, row ? x : NULL, M, step, most);
    else
        while (row && all < M) {
            token[all] = (uint32_t)all;
            all++;
        }
    if (!row) /* planning: one block stands for all */
        sae_encode(c, &a->sae, idx, f, count, NULL, block);
    for (size_t at = 0; at < all; at += block) {
        const size_t tokens = all - at < block ? all - at : block;
        for (size_t i = 0; i < tokens; i++)
            memcpy(some + i * d, x + token[at + i] * d, d * sizeof *x);
        sae_encode(c, &a->sae, idx, f, count, some, tokens);
        for (size_t i = 0; i < tokens; i++) {
            const size_t m = token[at + i];
            ablate_token(a, some + i * d, idx + i * k, f + i * k, count[i], step, m, changed, after, row);
            memcpy(x + m * d, some + i * d, d * sizeof *x);
        }
    }
    arena_release(c->work, mark);
}
