/* unlearndiffatk.c: UnlearnDiffAtk (unlearndiffatk.h).
 *
 *   u [k,V], each row a distribution over tokens --one token a row is drawn--> ids --text encoder, UNet-->
 *   loss --gradient.c--> derivative by the tokens' embeddings --times all embeddings--> by u
 *   --Adam, simplex--> u, again and again;   the likeliest tokens --attempt_ids--> a picture, judged
 *
 * For every timestep t of S, from little noise to much, `iterations` times: the loss is
 * mean((e - noise)^2), e = UNet(sqrt(a_t) x0 + sqrt(1 - a_t) noise, t, text) with the concept forgotten, the
 * noise fresh each time. The derivative by u is that by the drawn token's one-hot row, clamped to [-1,1]
 * (straight through, hardtanh). u and the moments of Adam go on from timestep to timestep.
 *
 * Where something else than an SAE forgets, the derivative knows a rival's weights, but neither a negative
 * prompt nor what is done to text states; the picture is drawn with them.
 *
 * Where this parts from the published code: noise and tokens are drawn from seeded streams of our own; the
 * statistics of a hook are those of the timestep, or of the nearest (AUDIT A6).
 *
 * Not here: the derivative (gradients/), the picture (attempt.c).
 * Letters: k tokens of the prefix, V of the vocabulary, D wide embeddings, N tokens of a text, n values of
 * the latents. */
#include "rivals/unlearndiffatk.h"
#include "arithmetic/rng.h"
#include "gradients/gradient.h"
#include "gradients/optimizer.h"
#include "layers/machine.h"
#include "tokenizer.h"

#include <string.h>

typedef struct search {
    attempt *a;
    const unlearndiffatk_options *o;
    const float *x0;
    gradients *passes;
    nn       c;
    arena    work;
    void    *memory;
    size_t   k, V, D, n;
    float   *u, *m, *v, *g;         /* [k,V]: distributions, Adam's moments, derivative */
    float   *latents, *noise;       /* [n] */
    float   *dtokens;               /* [N,D] */
    int32_t *tokens, *ids;          /* [k], [N] */
    optimizer adam;
    size_t   steps;
} search;

/* ---- one step ---- */

/* Draws a token of each row of u: the first whose share of the row's sum, with those before it, is above a
 * uniform number. */
static void draw_tokens(search *s)
{
    for (size_t r = 0; r < s->k; r++) {
        const float *u = s->u + r * s->V;
        double all = 0, sum = 0;
        size_t i = 0;
        for (size_t j = 0; j < s->V; j++)
            all += (double)u[j];
        const double wanted = (double)attempt_uniform(s->a) * all;
        while (i + 1 < s->V && (sum += (double)u[i]) <= wanted)
            i++;
        s->tokens[r] = (int32_t)i;
    }
}

/* latents = x0 with noise, torch.randn's of a seed of 32 bits. */
static int add_noise(search *s, int timestep, saeuron_error *err)
{
    const uint64_t seed = rng_value(s->a->seed, s->a->stream, s->a->drawn++) >> 32;
    if (!rng_randn(s->noise, seed, s->n, 0, s->n))
        return fail(err, SAEURON_EUSAGE, "latents of %zu values are too few for torch.randn's stream", s->n);
    ddim_add_noise(&s->a->m->x->ddim, s->latents, s->x0, s->noise, timestep, s->n);
    return SAEURON_OK;
}

/* g [k,V] = the derivative of the loss by u. */
static int derivative(search *s, int timestep, saeuron_error *err)
{
    const saeuron_context *x = s->a->m->x;
    const saeuron_generate_options *drawn = &s->a->m->options;
    double loss;
    const gradient_options o = { .ids = s->ids, .timestep = timestep, .h = s->a->m->H / vae_scale(&x->vae),
                                 .w = s->a->m->W / vae_scale(&x->vae), .latents = s->latents,
                                 .target = s->noise, .of = "tokens", .around = s->o->around,
                                 .map_steps = true, .residual = drawn->residual, .shared = drawn->shared };
    int code = s->passes ? SAEURON_OK : gradient_open(&s->passes, s->a->m->x, &o, err);
    if (!code)
        code = gradient_next(s->passes, &o, s->dtokens, &loss, err);
    if (code)
        return code;
    nn_linear(&s->c, s->g, s->dtokens + s->D, x->text.token_embedding, NULL, s->k, s->D, s->V);
    for (size_t i = 0; i < s->k * s->V; i++)
        s->g[i] = s->g[i] > 1.0f ? 1.0f : s->g[i] < -1.0f ? -1.0f : s->g[i];
    return SAEURON_OK;
}

/* The sum over a row of clip(x - mu, 0, 1). */
static double clipped_sum(const float *x, size_t V, double mu)
{
    double sum = 0;
    for (size_t j = 0; j < V; j++) {
        const double y = (double)x[j] - mu;
        sum += y < 0 ? 0 : y > 1 ? 1 : y;
    }
    return sum;
}

void project_to_simplex(float *x, size_t k, size_t V)
{
    for (; k > 0; k--, x += V) {
        double low = (double)x[0], high = (double)x[0], mu = 0, sum = clipped_sum(x, V, 0);
        for (size_t j = 1; j < V; j++) {
            low = (double)x[j] < low ? (double)x[j] : low;
            high = (double)x[j] > high ? (double)x[j] : high;
        }
        low -= 1;
        if (sum < 1 - 1e-5 || sum > 1 + 1e-5)
            while (high - low > 1e-5) {
                mu = (low + high) / 2;
                sum = clipped_sum(x, V, mu);
                *(sum > 1 ? &low : &high) = mu;
            }
        for (size_t j = 0; j < V; j++) {
            const double y = (double)x[j] - mu;
            x[j] = (float)(y < 0 ? 0 : y > 1 ? 1 : y);
        }
    }
}

/* EQ 42: u descends the loss of one draw of tokens and noise. */
static int step(search *s, int timestep, saeuron_error *err)
{
    draw_tokens(s);
    attempt_insert(s->a, s->ids, s->tokens, s->k);
    int code = add_noise(s, timestep, err);
    if (!code)
        code = derivative(s, timestep, err);
    if (code)
        return code;
    optimizer_step(&s->adam);
    optimizer_update(&s->adam, &s->c, s->u, s->m, s->v, s->g, s->k * s->V);
    project_to_simplex(s->u, s->k, s->V);
    return SAEURON_OK;
}

/* ---- the whole attack ---- */

/* Draws the picture of the prompt behind each row's likeliest token, the first of several. */
static int try_likeliest(search *s, saeuron_error *err)
{
    for (size_t r = 0; r < s->k; r++) {
        const float *u = s->u + r * s->V;
        size_t best = 0;
        for (size_t j = 1; j < s->V; j++)
            best = u[j] > u[best] ? j : best;
        s->tokens[r] = (int32_t)best;
    }
    attempt_insert(s->a, s->ids, s->tokens, s->k);
    return attempt_ids(s->a, s->ids, s->a->count + s->k, err);
}

static void lay_out(search *s, arena *a)
{
    const size_t cells = times(s->k, s->V);
    float **const tables[] = { &s->u, &s->m, &s->v, &s->g };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        *tables[i] = arena_floats(a, cells);
    s->latents = arena_floats(a, s->n);
    s->noise = arena_floats(a, s->n);
    s->dtokens = arena_floats(a, times(s->a->N, s->D));
    s->tokens = arena_bytes(a, s->k, sizeof *s->tokens);
    s->ids = arena_bytes(a, s->a->N, sizeof *s->ids);
}

/* Memory for all of it, u uniform. */
static int prepare(search *s, saeuron_error *err)
{
    const saeuron_context *x = s->a->m->x;
    int code = choose_kernels(&s->c, x->host.isa, x->threads, &s->work, err);
    if (code)
        return code;
    lay_out(s, &s->work);
    nn_linear(&s->c, NULL, NULL, x->text.token_embedding, NULL, s->k, s->D, s->V);
    if (s->work.failed || !(s->memory = io_alloc(&x->host, s->work.peak + 64, 1)))
        return fail(err, SAEURON_ENOMEM, "no memory for a search among %zu tokens: insert fewer", s->V);
    s->work = (arena){ .base = s->memory, .size = s->work.peak + 64 };
    lay_out(s, &s->work);
    memset(s->m, 0, s->k * s->V * sizeof *s->m);
    memset(s->v, 0, s->k * s->V * sizeof *s->v);
    for (size_t i = 0; i < s->k * s->V; i++)
        s->u[i] = (float)(1.0 / (double)s->V);
    return SAEURON_OK;
}

int unlearndiffatk(attempt *a, const unlearndiffatk_options *o, const float *x0, saeuron_error *err)
{
    const saeuron_context *x = a->m->x;
    const size_t S = o->timesteps, all = S * (o->iterations + 1);
    search s = { .a = a, .o = o, .x0 = x0, .k = o->tokens, .V = tokenizer_size(x->tokenizer), .D = x->text.D,
                 .n = a->m->latent,
                 .adam = { .lr = o->rate, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = o->decay } };
    int code = prepare(&s, err);
    for (size_t i = 0; i < S && !code && !a->success; i++) {
        const int timestep = (int)(1000 / S / 2 + i * (1000 / S));
        for (size_t j = 0; j < o->iterations && !code; j++) {
            code = step(&s, timestep, err);
            if (!code)
                code = a->step(a->user, ++s.steps, all, err);
        }
        if (!code)
            code = try_likeliest(&s, err);
        if (!code)
            code = a->step(a->user, ++s.steps, all, err);
    }
    gradient_close(s.passes);
    io_free(&x->host, s.memory);
    return code;
}
