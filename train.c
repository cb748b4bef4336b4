/* train.c: an SAE's training step: forward and backward by hand, Adam.
 *
 *   x [M,d] --encode, select--> f (sparse) --decode--> x^ --> loss
 *      ^ gradients of W_enc, b_enc, W_dec, b_dec <--by token, by latent--' --> clip, project, Adam, counters
 *
 * Not here: batches and their order, checkpoints (training/run.c), held-out activations (training/measure.c),
 * the SAE at use (sae.c).
 * Source: SAeUron, arXiv 2501.18052, section 3.1 and appendix; TopK SAE, arXiv 2406.04093; BatchTopK, arXiv
 * 2412.06410; the released SAE/trainer.py and SAE/sae.py. Bits: docs/contract.md, section 6.
 * Letters: d width, n latents, k latents kept a token, M tokens; c = x - b_dec, f the sparse latents,
 * e = x^ - x, V the batch's variance.
 *
 * Only the encoder's forward pass is dense. f has k entries a token, and all other work goes by entries:
 * token by token for x^ and the gradient of f, latent by latent for the gradients of W_enc and W_dec. Each
 * sum has one order, so threads change no bit. */
#include "train.h"
#include "arithmetic/rng.h"
#include "arithmetic/threads.h"
#include "layers/machine.h"

#include <inttypes.h>

enum {
    COLUMNS = 960,      /* latents encoded at a time: a multiple of every tile; [M,COLUMNS] stays in cache */
    CHANNELS = 64,      /* channels summed together down the tokens */
    FEW = 1 << 16       /* values that are not worth waking threads for */
};

/* ---- what a trainer holds ---- */

enum { W_ENC, B_ENC, W_DEC, B_DEC, TENSORS }; /* contract 6's order */
enum { PARAMETER, MOMENT, SQUARE, GRADIENT, KINDS };

/* A sparse f [M,n]: its entries above 0, token by token and latent by latent, each ascending. */
typedef struct entries {
    uint32_t *start;            /* [M+1]: entries of token m are start[m] .. start[m+1]-1 of the next three */
    uint32_t *latent;
    float    *val, *grad;       /* f, and the loss's gradient with respect to it */
    uint32_t *from;             /* [n+2]: entries of latent i are from[i] .. from[i+1]-1 of the next four */
    uint32_t *token, *by_place; /* by_place: where val and grad of the entry are */
    float    *by_val, *by_grad; /* in latent_pass: scale * val, grad */
} entries;

/* The best entries so far, while the pre-activations come block by block of latents. whole: M * want of the
 * batch, in one list; else `want` of each token, a list each. */
typedef struct pool {
    bool      whole;
    size_t    want, room;       /* room: a list holds M * room entries if whole, else room */
    size_t   *count;            /* [M]: entries of each token's list; whole: where a token's newcomers go */
    float    *floor;            /* [M], whole: [1]: what a newcomer must reach */
    size_t    total;            /* whole: entries of the list */
    float    *val;
    uint32_t *latent, *token;   /* token: only if whole */
} pool;

/* A term of the loss: the squared error of a reconstruction from some f, and what its gradient is made of. */
typedef struct term {
    entries  f;
    float   *error;             /* [M,d]: what is squared; dL/d(reconstruction) = scale * error */
    float    scale;
    bool     on;
} term;
enum { FVU, MULTI, AUXK, TERMS };

struct trainer {
    const saeuron_host *host;
    train_config cfg;
    nn       c;
    arena    work;
    void    *memory;
    float   *tensor[KINDS][TENSORS];
    uint64_t *since, *step;     /* tokens since each latent fired [n]; steps made [1] */
    term     terms[TERMS];
    pool     pools[2];          /* of f, of auxk's */
    float   *direction;         /* [M,d], released auxk: dL/dx^, of the FVU and of auxk */
    float   *c_rows;            /* [M,d]: x - b_dec */
    float   *z;                 /* [M,COLUMNS] */
    double  *mean, *median;     /* [d], [d] */
    double  *row[TERMS + 1];    /* [M]: squares of each term's error a token; of x - mean */
    double  *norm[2];           /* [n]: squares of W_enc's and W_dec's gradient rows */
    float   *scratch;           /* [threads, 2d] */
    float   *zeros;             /* [d] */
    uint32_t *touched, *ties;   /* [n]: latents with a gradient; [M] */
    float   *touched_grad;      /* [n] */
    /* [n]: gradient rows that are not zero; fired in this step; dead before it */
    unsigned char *live, *fired, *dead;
    size_t   dead_count;
    double   power1, power2;    /* beta^powers */
    uint64_t powers;
    float    norm_all;          /* of the gradients */
};

static size_t aux_most(const train_config *cfg) { return least(cfg->d / 2, cfg->n); }
static size_t select_most(const train_config *cfg)
{
    return least(cfg->multi_topk ? 4 * cfg->k : cfg->k, cfg->n);
}

static size_t tensor_rows(const train_config *cfg, int i) { return i == W_ENC || i == W_DEC ? cfg->n : 1; }
static size_t tensor_width(const train_config *cfg, int i) { return i == B_ENC ? cfg->n : cfg->d; }

static void plan_entries(entries *e, arena *a, const train_config *cfg, size_t want)
{
    e->start = arena_bytes(a, cfg->batch + 1, sizeof *e->start);
    e->from = arena_bytes(a, cfg->n + 2, sizeof *e->from);
    e->latent = arena_bytes(a, cfg->batch, want * sizeof *e->latent);
    e->token = arena_bytes(a, cfg->batch, want * sizeof *e->token);
    e->by_place = arena_bytes(a, cfg->batch, want * sizeof *e->by_place);
    e->val = arena_bytes(a, cfg->batch, want * sizeof *e->val);
    e->grad = arena_bytes(a, cfg->batch, want * sizeof *e->grad);
    e->by_val = arena_bytes(a, cfg->batch, want * sizeof *e->by_val);
    e->by_grad = arena_bytes(a, cfg->batch, want * sizeof *e->by_grad);
}

/* A list is cut back to `want` once it holds more than twice that, so a block of newcomers finds room. */
static void plan_pool(pool *p, arena *a, const train_config *cfg, size_t want)
{
    const size_t columns = least(COLUMNS, cfg->n);
    p->whole = cfg->batch_topk;
    p->room = 2 * want + columns;
    p->val = arena_bytes(a, cfg->batch, p->room * sizeof *p->val);
    p->latent = arena_bytes(a, cfg->batch, p->room * sizeof *p->latent);
    p->token = p->whole ? arena_bytes(a, cfg->batch, p->room * sizeof *p->token) : NULL;
    p->count = arena_bytes(a, cfg->batch, sizeof *p->count);
    p->floor = arena_floats(a, cfg->batch);
}

/* Everything but the encoder's own scratch; without memory it measures. */
static void plan(trainer *t, arena *a)
{
    const train_config *cfg = &t->cfg;
    const size_t M = cfg->batch, d = cfg->d, n = cfg->n;
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < TENSORS; i++)
            t->tensor[kind][i] = arena_bytes(a, tensor_rows(cfg, i), tensor_width(cfg, i) * sizeof(float));
    t->since = arena_bytes(a, n, sizeof *t->since);
    t->step = arena_bytes(a, 1, sizeof *t->step);
    t->terms[FVU].on = true;
    t->terms[MULTI].on = cfg->multi_topk;
    plan_entries(&t->terms[FVU].f, a, cfg, least(cfg->k, n));
    plan_pool(&t->pools[0], a, cfg, select_most(cfg));
    if (cfg->multi_topk)
        plan_entries(&t->terms[MULTI].f, a, cfg, select_most(cfg));
    if (cfg->auxk_alpha != 0) {
        plan_entries(&t->terms[AUXK].f, a, cfg, aux_most(cfg));
        plan_pool(&t->pools[1], a, cfg, aux_most(cfg));
    }
    for (int i = 0; i < TERMS; i++)
        if (i == FVU || (i == MULTI ? cfg->multi_topk : cfg->auxk_alpha != 0))
            t->terms[i].error = arena_bytes(a, M, d * sizeof(float));
    t->direction = cfg->auxk_alpha != 0 && cfg->released_auxk ? arena_bytes(a, M, d * sizeof(float)) : NULL;
    t->c_rows = arena_bytes(a, M, d * sizeof(float));
    t->z = arena_bytes(a, M, least(COLUMNS, n) * sizeof(float));
    t->mean = arena_bytes(a, d, sizeof(double));
    t->median = arena_bytes(a, d, sizeof(double));
    for (int i = 0; i <= TERMS; i++)
        t->row[i] = arena_bytes(a, M, sizeof(double));
    for (int i = 0; i < 2; i++)
        t->norm[i] = arena_bytes(a, n, sizeof(double));
    t->scratch = arena_bytes(a, (size_t)t->c.threads, 2 * d * sizeof(float));
    t->zeros = arena_floats(a, d);
    t->touched = arena_bytes(a, n, sizeof *t->touched);
    t->touched_grad = arena_floats(a, n);
    t->ties = arena_bytes(a, M, sizeof *t->ties);
    t->live = arena_bytes(a, n, 1);
    t->fired = arena_bytes(a, n, 1);
    t->dead = arena_bytes(a, n, 1);
}

/* z = W_enc c + b_enc of latents first .. first+columns-1, every token   (torch.nn.Linear) */
static void encode(trainer *t, size_t M, size_t first, size_t columns)
{
    const float *w = t->tensor[PARAMETER][W_ENC], *b = t->tensor[PARAMETER][B_ENC];
    if (w && b) { /* else nothing is computed, only planned */
        w += first * t->cfg.d;
        b += first;
    }
    const weight W = { .data = (const unsigned char *)w, .type = DT_OWN };
    nn_linear(&t->c, t->z, t->c_rows, W, b, M, t->cfg.d, columns);
}

void train_defaults(train_config *c, size_t d)
{
    *c = (train_config){ .d = d, .n = d * 16, .k = 32, .batch = 4096, .batch_topk = true,
                         .lr = 4e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 6.25e-10,
                         .clip = 1, .auxk_alpha = 1.0 / 32, .dead_threshold = 10000000, .seed = 42 };
}

static int check_config(const train_config *cfg, saeuron_error *err)
{
    const struct { const char *name; double value, low, high; } reals[] = {
        { "lr", cfg->lr, 0, 1e3 }, { "beta1", cfg->beta1, 0, 0x1.fffffep-1 },
        { "beta2", cfg->beta2, 0, 0x1.fffffep-1 }, { "eps", cfg->eps, 0, 1 }, { "clip", cfg->clip, 0, 1e30 },
        { "auxk_alpha", cfg->auxk_alpha, 0, 1e6 },
    };
    const struct { const char *name; size_t value, high; } sizes[] = {
        { "d", cfg->d, (size_t)1 << 20 }, { "n", cfg->n, (size_t)1 << 26 }, { "k", cfg->k, 2048 },
        { "batch", cfg->batch, (size_t)1 << 20 },
    };
    size_t product;
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        if (!(reals[i].value >= reals[i].low && reals[i].value <= reals[i].high))
            return fail(err, SAEURON_EUSAGE, "training: %s is %g, but must lie between %g and %g",
                        reals[i].name, reals[i].value, reals[i].low, reals[i].high);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].high)
            return fail(err, SAEURON_EUSAGE, "training: %s is %zu, but must lie between 1 and %zu",
                        sizes[i].name, sizes[i].value, sizes[i].high);
    if (cfg->k > cfg->n)
        return fail(err, SAEURON_EUSAGE, "training: k is %zu, but there are only %zu latents", cfg->k,
                    cfg->n);
    if (!nn_mul(cfg->batch, select_most(cfg), &product) || product > UINT32_MAX / 2 ||
        !nn_mul(cfg->batch, aux_most(cfg), &product) || product > UINT32_MAX / 2)
        return fail(err, SAEURON_EUSAGE,
                    "training: a batch of %zu tokens has more selected latents than 2^31: make it smaller",
                    cfg->batch);
    return SAEURON_OK;
}

/* What trainer_open will allocate; 0: no size_t holds it. */
static size_t plan_bytes(trainer *t)
{
    arena only = { 0 };
    plan(t, &only);
    const size_t kept = arena_mark(&only);
    t->c.work = &only;
    encode(t, t->cfg.batch, 0, least(COLUMNS, t->cfg.n));
    if (kept && t->cfg.n % COLUMNS && t->cfg.n > COLUMNS)
        encode(t, t->cfg.batch, 0, t->cfg.n % COLUMNS);
    return only.failed || only.peak > SIZE_MAX - 64 ? 0 : only.peak + 64;
}

int trainer_open(trainer **out, const saeuron_host *host, const train_config *c, int threads, const char *isa,
                 saeuron_error *err)
{
    *out = NULL;
    int code = check_config(c, err);
    if (code)
        return code;
    trainer *t = io_alloc(host, 1, sizeof *t);
    if (!t)
        return fail(err, SAEURON_ENOMEM, "no memory for a trainer");
    *t = (trainer){ .host = host, .cfg = *c, .power1 = 1, .power2 = 1 };
    if ((code = choose_kernels(&t->c, isa, threads, NULL, err)) != SAEURON_OK) {
        io_free(host, t);
        return code;
    }
    const size_t bytes = plan_bytes(t);
    t->memory = bytes ? io_alloc(host, bytes, 1) : NULL;
    if (!t->memory) {
        io_free(host, t);
        return fail(err, SAEURON_ENOMEM,
                    "no memory for %zu MB to train %zu latents, %zu wide: a smaller batch or n needs less",
                    bytes >> 20, c->n, c->d);
    }
    const size_t skip = (64 - (size_t)((uintptr_t)t->memory % 64)) % 64;
    t->work = (arena){ .base = (unsigned char *)t->memory + skip, .size = bytes - 64 };
    t->c.work = &t->work;
    plan(t, &t->work);
    memset(t->work.base, 0, t->work.used);
    *out = t;
    return SAEURON_OK;
}

void trainer_close(trainer *t)
{
    if (!t)
        return;
    const saeuron_host *host = t->host;
    io_free(host, t->memory);
    io_free(host, t);
}

const train_config *trainer_config(const trainer *t) { return &t->cfg; }

void trainer_tensors(trainer *t, trainer_tensor list[TRAINER_TENSORS])
{
    static const char *const names[KINDS][TENSORS] = {
        { "encoder.weight", "encoder.bias", "W_dec", "b_dec" },
        { "adam.m.encoder.weight", "adam.m.encoder.bias", "adam.m.W_dec", "adam.m.b_dec" },
        { "adam.v.encoder.weight", "adam.v.encoder.bias", "adam.v.W_dec", "adam.v.b_dec" },
        { "grad.encoder.weight", "grad.encoder.bias", "grad.W_dec", "grad.b_dec" },
    };
    const size_t d = t->cfg.d, n = t->cfg.n;
    for (int kind = 0; kind < KINDS; kind++) {
        if (kind == GRADIENT) {
            *list++ = (trainer_tensor){ "tokens_since_fired", DT_I64, 1, { n, 0 }, n, t->since };
            *list++ = (trainer_tensor){ "step", DT_I64, 1, { 1, 0 }, 1, t->step };
        }
        for (int i = 0; i < TENSORS; i++, list++) {
            const bool matrix = i == W_ENC || i == W_DEC;
            *list = (trainer_tensor){ .name = names[kind][i], .type = DT_F32, .data = t->tensor[kind][i] };
            list->ndim = matrix ? 2 : 1;
            list->shape[0] = matrix || i == B_ENC ? n : d;
            list->shape[1] = matrix ? d : 0;
            list->count = matrix ? n * d : list->shape[0];
        }
    }
}

/* ---- batches ---- */

/* sum[j] = sum over m of by[m] x[m,j] (by NULL: of x[m,j]): one double a channel from +0, m ascending. */
static void channel_sums(const nn *c, double *sum, const float *x, const double *by, size_t M, size_t d)
{
    OMP(omp parallel for num_threads(c->threads) schedule(static) if (M * d > FEW))
    for (size_t j0 = 0; j0 < d; j0 += CHANNELS) {
        const size_t w = least(CHANNELS, d - j0);
        double acc[CHANNELS] = { 0 };
        for (size_t m = 0; m < M; m++) {
            const float *row = x + m * d + j0;
            for (size_t j = 0; by && j < w; j++)
                acc[j] += by[m] * (double)row[j];
            for (size_t j = 0; !by && j < w; j++)
                acc[j] += (double)row[j];
        }
        for (size_t j = 0; j < w; j++)
            sum[j0 + j] = acc[j];
    }
    (void)c;
}

/* out[m] = sum over j of (x[m,j] - mean[j])^2 */
static void row_squares(const nn *c, double *out, const float *x, const double *mean, size_t M, size_t d)
{
    OMP(omp parallel for num_threads(c->threads) schedule(static) if (M * d > FEW))
    for (size_t m = 0; m < M; m++)
        out[m] = nn_sum_squares(c, x + m * d, mean, d);
}

static int check_batch(const trainer *t, const float *x, size_t M, saeuron_error *err)
{
    const int code = check_environment(t->c.threads, err);
    if (code)
        return code;
    if (M < 1 || M > t->cfg.batch)
        return fail(err, SAEURON_EUSAGE, "a batch of %zu tokens: this trainer takes 1 to %zu", M,
                    t->cfg.batch);
    const size_t at = nn_first_bad(x, M * t->cfg.d);
    if (at < M * t->cfg.d)
        return fail(err, SAEURON_ENAN, "step %" PRIu64 ": token %zu, channel %zu of the batch is not finite",
                    *t->step, at / t->cfg.d, at % t->cfg.d);
    return SAEURON_OK;
}

/* ---- the start ---- */

/* EQ 15: g = the point with the least sum of distances to all tokens. Weiszfeld's iteration: from the mean,
 * at most 100 rounds, until g moves by less than 1e-5   (released SAE/utils.py, geometric_median)
 * A token at distance 0 weighs 1e12; the released code divides by zero there. */
static void geometric_median(trainer *t, const float *x, size_t M)
{
    enum { ROUNDS = 100 };
    const size_t d = t->cfg.d;
    double *g = t->median, *next = t->mean, *w = t->row[0];
    channel_sums(&t->c, g, x, NULL, M, d);
    for (size_t j = 0; j < d; j++)
        g[j] /= (double)M;
    for (int round = 0; round < ROUNDS; round++) {
        double lane[16] = { 0 };
        row_squares(&t->c, w, x, g, M, d);
        for (size_t m = 0; m < M; m++)
            w[m] = w[m] > 0 ? 1.0 / sqrt(w[m]) : 1.0 / 1e-12;
        const double sum = nn_sum16_d(w, M);
        for (size_t m = 0; m < M; m++)
            w[m] /= sum;
        channel_sums(&t->c, next, x, w, M, d);
        for (size_t j = 0; j < d; j++)
            lane[j % 16] += (next[j] - g[j]) * (next[j] - g[j]);
        memcpy(g, next, d * sizeof *g);
        if (sqrt(nn_sum16_d(lane, 16)) < 1e-5)
            break;
    }
}

int trainer_start(trainer *t, const float *x, size_t M, saeuron_error *err)
{
    const size_t d = t->cfg.d, n = t->cfg.n;
    const float  a = (float)(1.0 / sqrt((double)d));
    const uint64_t stream = nn_hash(0, "encoder.weight", strlen("encoder.weight"));
    float *W_enc = t->tensor[PARAMETER][W_ENC], *W_dec = t->tensor[PARAMETER][W_DEC];
    const int code = check_batch(t, x, M, err);
    if (code)
        return code;
    OMP(omp parallel for num_threads(t->c.threads) schedule(static) if (n * d > FEW))
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++)
            W_enc[i * d + j] = rng_symmetric(t->cfg.seed, stream, i * d + j, a);
        memcpy(W_dec + i * d, W_enc + i * d, d * sizeof *W_dec);
        nn_unit_row(&t->c, W_dec + i * d, d);
    }
    memset(t->tensor[PARAMETER][B_ENC], 0, n * sizeof(float));
    geometric_median(t, x, M);
    for (size_t j = 0; j < d; j++)
        t->tensor[PARAMETER][B_DEC][j] = (float)t->median[j];
    return SAEURON_OK;
}

void trainer_unit_rows(trainer *t)
{
    OMP(omp parallel for num_threads(t->c.threads) schedule(static) if (t->cfg.n * t->cfg.d > FEW))
    for (size_t i = 0; i < t->cfg.n; i++)
        nn_unit_row(&t->c, t->tensor[PARAMETER][W_DEC] + i * t->cfg.d, t->cfg.d);
}

/* ---- selection: the definition ---- */

/* EQ 17: The M*k largest of z [M,n], of which those above 0 stay: the same entries as of relu(z). Ties go to
 * the lower m n + i: the lower token, then the lower latent. */
size_t batch_topk(uint32_t *at, float *val, const float *z, size_t M, size_t n, size_t k)
{
    const size_t chosen = nn_topk(at, val, z, M * n, M * k);
    size_t kept = 0;
    for (size_t j = 0; j < chosen; j++)
        if (val[j] > 0) {
            at[kept] = at[j];
            val[kept++] = val[j];
        }
    return kept;
}

/* ---- selection: the same entries while z comes in blocks of latents, so that z [M,n] is never held ---- */

/* How many of x [count] are t or more; a long list is shared by the threads. */
static size_t count_reach(const nn *c, const float *x, size_t count, float t)
{
    enum { PART = 1 << 15 };
    size_t reach = 0;
    if (count < 8 * PART) /* no pragma is met: a region of one thread costs more than a token's list */
        return nn_count_at_least(c, x, count, t);
    OMP(omp parallel for num_threads(c->threads) schedule(static) reduction(+:reach))
    for (size_t i = 0; i < count; i += PART)
        reach += nn_count_at_least(c, x + i, least(PART, count - i), t);
    return reach;
}

/* The k-th largest of x [count], all above 0: the largest t that k of them reach, found bit by bit. */
static float kth_largest(const nn *c, const float *x, size_t count, size_t k)
{
    uint32_t low = 0, high = 0x7f800001u;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (count_reach(c, x, count, f32_from(middle)) >= k)
            low = middle;
        else
            high = middle;
    }
    return f32_from(low);
}

/* Of count > want entries keeps the `want` first in contract 5's order: the larger value, then the lower
 * token, then the lower latent. Those kept stay in their order; each token's entries lie by latent.
 * token NULL: all are one token's. ties: scratch [M]. Returns the least value kept. */
static float trim(const nn *c, float *val, uint32_t *latent, uint32_t *token, size_t count, size_t want,
                  uint32_t *ties, size_t M)
{
    const float floor = kth_largest(c, val, count, want);
    const size_t tokens = token ? M : 1;
    size_t above = 0, kept = 0;
    uint32_t one, *tie = token ? ties : &one; /* of each token's ties with the least, how many stay */
    for (size_t m = 0; m < tokens; m++)
        tie[m] = 0;
    for (size_t i = 0; i < count; i++) {
        above += val[i] > floor;
        tie[token ? token[i] : 0] += val[i] == floor;
    }
    for (size_t m = 0, left = want - above; m < tokens; m++) {
        tie[m] = (uint32_t)least(tie[m], left);
        left -= tie[m];
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t *mine = &tie[token ? token[i] : 0];
        if (val[i] < floor || (val[i] == floor && !*mine))
            continue;
        *mine -= val[i] == floor;
        val[kept] = val[i];
        latent[kept] = latent[i];
        if (token)
            token[kept] = token[i];
        kept++;
    }
    return floor;
}

static float next_up(float x) { return f32_from(f32_bits(x) + 1); } /* x >= 0 */

static void pool_begin(pool *p, size_t want, size_t M)
{
    p->want = want;
    p->total = 0;
    for (size_t m = 0; m < M; m++) {
        p->count[m] = 0;
        p->floor[m] = next_up(0);
    }
}

/* Cuts the list of the batch, or of token m, back to the best. A later entry of the same token has a higher
 * latent, so it must be larger than the least: next_up. In the batch it may be of a lower token. */
static void pool_trim(trainer *t, pool *p, size_t m, size_t M)
{
    if (p->whole) {
        p->floor[0] = trim(&t->c, p->val, p->latent, p->token, p->total, M * p->want, t->ties, M);
        p->total = M * p->want;
    } else {
        const size_t at = m * p->room;
        p->floor[m] = next_up(trim(&t->c, p->val + at, p->latent + at, NULL, p->count[m], p->want, NULL, 1));
        p->count[m] = p->want;
    }
}

/* Takes from z [M,columns], latents first and following, whatever may yet be among the best. */
static void pool_offer(trainer *t, pool *p, size_t M, size_t first, size_t columns)
{
    const nn *c = &t->c;
    if (!p->whole) {
        OMP(omp parallel for num_threads(c->threads) schedule(static) if (M * columns > FEW))
        for (size_t m = 0; m < M; m++) {
            const size_t at = m * p->room + p->count[m];
            p->count[m] += nn_at_least(c, p->latent + at, p->val + at, t->z + m * columns, columns,
                                       p->floor[m], (uint32_t)first);
            if (p->count[m] > 2 * p->want)
                pool_trim(t, p, m, M);
        }
        return;
    }
    /* In the first block every z above 0 is a newcomer, about half of all. So it is offered a few tokens at a
     * time: the floor rises before most are looked at. */
    const size_t part = p->total ? M : M / 8 + 1;
    for (size_t from = 0; from < M; from += part) {
        const size_t to = least(M, from + part);
        const float  floor = p->floor[0];
        OMP(omp parallel for num_threads(c->threads) schedule(static) if (M * columns > FEW))
        for (size_t m = from; m < to; m++)
            p->count[m] = nn_count_at_least(c, t->z + m * columns, columns, floor);
        for (size_t m = from; m < to; m++) { /* count: now where each token's newcomers go */
            const size_t newcomers = p->count[m];
            p->count[m] = p->total;
            p->total += newcomers;
        }
        OMP(omp parallel for num_threads(c->threads) schedule(static) if (M * columns > FEW))
        for (size_t m = from; m < to; m++) {
            const size_t at = p->count[m];
            const size_t newcomers = nn_at_least(c, p->latent + at, p->val + at, t->z + m * columns, columns,
                                                 floor, (uint32_t)first);
            for (size_t i = 0; i < newcomers; i++)
                p->token[at + i] = (uint32_t)m;
        }
        if (p->total > 2 * M * p->want)
            pool_trim(t, p, 0, M);
    }
}

/* The best of p as e, by token. p stays, so that fewer of them may be asked for next. */
static void pool_end(trainer *t, pool *p, entries *e, size_t M)
{
    if (p->whole && p->total > M * p->want)
        pool_trim(t, p, 0, M);
    memset(e->start, 0, (M + 1) * sizeof *e->start);
    if (p->whole) { /* a counting sort: within a token the list's order stays, which is by latent */
        uint32_t *next = t->ties;
        for (size_t i = 0; i < p->total; i++)
            e->start[p->token[i] + 1]++;
        for (size_t m = 0; m < M; m++) {
            e->start[m + 1] += e->start[m];
            next[m] = e->start[m];
        }
        for (size_t i = 0; i < p->total; i++) {
            const size_t at = next[p->token[i]]++;
            e->latent[at] = p->latent[i];
            e->val[at] = p->val[i];
        }
        return;
    }
    OMP(omp parallel for num_threads(t->c.threads) schedule(static) if (M * p->want > FEW))
    for (size_t m = 0; m < M; m++)
        if (p->count[m] > p->want)
            pool_trim(t, p, m, M);
    for (size_t m = 0; m < M; m++) {
        const size_t at = e->start[m];
        memcpy(e->latent + at, p->latent + m * p->room, p->count[m] * sizeof *e->latent);
        memcpy(e->val + at, p->val + m * p->room, p->count[m] * sizeof *e->val);
        e->start[m + 1] = (uint32_t)(at + p->count[m]);
    }
}

/* The same entries by latent. */
static void by_latent(entries *e, size_t M, size_t n)
{
    memset(e->from, 0, (n + 2) * sizeof *e->from);
    for (size_t j = 0; j < e->start[M]; j++)
        e->from[e->latent[j] + 2]++;
    for (size_t i = 0; i < n; i++)
        e->from[i + 2] += e->from[i + 1];
    for (size_t m = 0; m < M; m++)
        for (size_t j = e->start[m]; j < e->start[m + 1]; j++) {
            const size_t at = e->from[e->latent[j] + 1]++; /* from[i+1]: where i is */
            e->token[at] = (uint32_t)m;
            e->by_place[at] = (uint32_t)j;
        }
}

/* The latents that are dead before this step; auxk needs one at least. */
static void find_dead(trainer *t)
{
    t->dead_count = 0;
    for (size_t i = 0; i < t->cfg.n; i++) {
        t->dead[i] = t->since[i] > t->cfg.dead_threshold;
        t->dead_count += t->dead[i];
    }
    t->terms[AUXK].on = t->cfg.auxk_alpha != 0 && t->cfg.d / 2 > 0 && t->dead_count > 0;
}

/* z's columns of latents that are alive become 0, which no selection takes. */
static void mask_alive(trainer *t, size_t M, size_t first, size_t columns)
{
    OMP(omp parallel for num_threads(t->c.threads) schedule(static) if (M * columns > FEW))
    for (size_t m = 0; m < M; m++)
        for (size_t j = 0; j < columns; j++)
            t->z[m * columns + j] = t->dead[first + j] ? t->z[m * columns + j] : 0.0f;
}

/* EQ 17: f of every term: z = W_enc (x - b_dec) + b_enc; of relu(z) the M*k largest of the batch or the k
 * largest of each token, ties to the lower token and then the lower latent; multi: 4k in place of k; auxk: of
 * the dead latents alone, min(d/2, dead) in place of k. x [M,d]. */
static void forward_encode(trainer *t, const float *x, size_t M)
{
    const size_t d = t->cfg.d, n = t->cfg.n, step = least(COLUMNS, n);
    const float *b_dec = t->tensor[PARAMETER][B_DEC];
    const bool   aux = t->terms[AUXK].on;

    OMP(omp parallel for num_threads(t->c.threads) schedule(static) if (M * d > FEW))
    for (size_t m = 0; m < M; m++)
        for (size_t j = 0; j < d; j++)
            t->c_rows[m * d + j] = x[m * d + j] - b_dec[j];
    pool_begin(&t->pools[0], select_most(&t->cfg), M);
    if (aux)
        pool_begin(&t->pools[1], least(d / 2, t->dead_count), M);
    for (size_t i = 0; i < n; i += step) {
        const size_t columns = least(step, n - i);
        encode(t, M, i, columns);
        pool_offer(t, &t->pools[0], M, i, columns);
        if (aux) {
            mask_alive(t, M, i, columns);
            pool_offer(t, &t->pools[1], M, i, columns);
        }
    }
    if (t->terms[MULTI].on) {
        pool_end(t, &t->pools[0], &t->terms[MULTI].f, M);
        t->pools[0].want = least(t->cfg.k, n); /* of 4k, the best k */
    }
    pool_end(t, &t->pools[0], &t->terms[FVU].f, M);
    if (aux)
        pool_end(t, &t->pools[1], &t->terms[AUXK].f, M);
}

/* Which latents were selected for some token; returns how many. Where fewer than wanted are above 0, TopK
 * selects zeros too, the lower index first: they reconstruct nothing, but count as fired (released trainer:
 * did_fire of all indices). auxk's selection does not count. */
static size_t find_fired(trainer *t, size_t M)
{
    const entries *e = &t->terms[t->terms[MULTI].on ? MULTI : FVU].f;
    const size_t n = t->cfg.n, want = select_most(&t->cfg);
    size_t count = 0, missing = M * want - e->start[M];
    memset(t->fired, 0, n);
    for (size_t j = 0; j < e->start[M]; j++)
        t->fired[e->latent[j]] = 1;
    for (size_t m = 0; m < M && missing; m++) {
        size_t zeros = t->cfg.batch_topk ? missing : want - (e->start[m + 1] - e->start[m]), j = e->start[m];
        for (size_t i = 0; i < n && zeros; i++) {
            if (j < e->start[m + 1] && e->latent[j] == i) {
                j++;
                continue;
            }
            t->fired[i] = 1;
            zeros--;
            missing--;
        }
        if (t->cfg.batch_topk)
            break; /* the first token has enough zeros, or all latents have fired */
    }
    for (size_t i = 0; i < n; i++)
        count += t->fired[i];
    return count;
}

/* ---- forward and backward ---- */

/* y [d] = sum over the token's entries of f W_dec[latent,:] */
static void decode(const trainer *t, float *y, const entries *e, size_t m)
{
    const size_t at = e->start[m];
    nn_sparse_sum(&t->c, y, t->tensor[PARAMETER][W_DEC], t->cfg.d, e->latent + at, e->val + at,
                  e->start[m + 1] - at, t->cfg.d);
}

/* EQ 21: grad of the token's entries: dL/df = scale (error . W_dec[latent,:]). relu passes it on, since
 * entries are above 0: it is dL/dz too. */
static void decode_backward(const trainer *t, const entries *e, const float *error, float scale, size_t m)
{
    const size_t at = e->start[m], count = e->start[m + 1] - at;
    nn_sparse_dot(&t->c, e->grad + at, error, t->tensor[PARAMETER][W_DEC], t->cfg.d, e->latent + at, count,
                  t->cfg.d);
    for (size_t j = at; j < at + count; j++)
        e->grad[j] = scale * e->grad[j];
}

/* EQ 19: Token m of x: reconstructions, errors, the gradient of f, while the rows of W_dec are in cache.
 *   FVU    e = (f W_dec + b_dec) - x
 *   multi  the same with its f
 *   auxk   a = f W_dec + e, since its target is the residual x - x^ = -e, detached and decoded without bias
 *          AUDIT A2: released, a = (f W_dec + b_dec) - e, and e is not detached: dL/de gets -scale a too */
static void token_pass(trainer *t, const float *x, size_t m)
{
    const size_t d = t->cfg.d;
    const float *b_dec = t->tensor[PARAMETER][B_DEC];
    const float *in = x + m * d;
    double *const *row = t->row;
    float *e = t->terms[FVU].error + m * d;

    decode(t, e, &t->terms[FVU].f, m);
    for (size_t j = 0; j < d; j++)
        e[j] = (e[j] + b_dec[j]) - in[j];
    row[FVU][m] = nn_sum_squares(&t->c, e, NULL, d);
    if (t->terms[MULTI].on) {
        float *y = t->terms[MULTI].error + m * d;
        decode(t, y, &t->terms[MULTI].f, m);
        for (size_t j = 0; j < d; j++)
            y[j] = (y[j] + b_dec[j]) - in[j];
        row[MULTI][m] = nn_sum_squares(&t->c, y, NULL, d);
        decode_backward(t, &t->terms[MULTI].f, y, t->terms[MULTI].scale, m);
    }
    if (t->terms[AUXK].on) {
        float *a = t->terms[AUXK].error + m * d;
        decode(t, a, &t->terms[AUXK].f, m);
        for (size_t j = 0; j < d; j++)
            a[j] = t->cfg.released_auxk ? (a[j] + b_dec[j]) - e[j] : a[j] + e[j];
        row[AUXK][m] = nn_sum_squares(&t->c, a, NULL, d);
        decode_backward(t, &t->terms[AUXK].f, a, t->terms[AUXK].scale, m);
        if (t->cfg.released_auxk) {
            float *both = t->direction + m * d;
            for (size_t j = 0; j < d; j++)
                both[j] = t->terms[FVU].scale * e[j] - t->terms[AUXK].scale * a[j];
            decode_backward(t, &t->terms[FVU].f, both, 1.0f, m);
            return;
        }
    }
    decode_backward(t, &t->terms[FVU].f, e, t->terms[FVU].scale, m);
}

/* dL/d(reconstruction of term i) = *scale times the rows returned [M,d]. */
static const float *direction(const trainer *t, int i, float *scale)
{
    const bool both = i == FVU && t->terms[AUXK].on && t->cfg.released_auxk;
    *scale = both ? 1.0f : t->terms[i].scale;
    return both ? t->direction : t->terms[i].error;
}

/* EQ 22: Latent i's rows of the gradients: of each term, sums over the tokens at which it is selected.
 *   dL/dW_dec[i,:] = sum of (scale f) error   dL/dW_enc[i,:] = sum of (dL/dz) c   dL/db_enc[i] = sum of dL/dz
 * scratch [2d]. */
static void latent_pass(trainer *t, size_t i, float *scratch)
{
    const size_t d = t->cfg.d;
    const float  one = 1.0f;
    float *enc = t->tensor[GRADIENT][W_ENC] + i * d, *dec = t->tensor[GRADIENT][W_DEC] + i * d;
    float *b = t->tensor[GRADIENT][B_ENC] + i;
    bool any = false;
    *b = 0;
    for (int of = 0; of < TERMS; of++) {
        const entries *e = &t->terms[of].f;
        float scale;
        if (!t->terms[of].on || e->from[i] == e->from[i + 1])
            continue;
        const float *error = direction(t, of, &scale);
        const size_t at = e->from[i], count = e->from[i + 1] - at;
        for (size_t j = at; j < at + count; j++) {
            e->by_val[j] = scale * e->val[e->by_place[j]];
            e->by_grad[j] = e->grad[e->by_place[j]];
        }
        nn_sparse_sum(&t->c, any ? scratch : dec, error, d, e->token + at, e->by_val + at, count, d);
        nn_sparse_sum(&t->c, any ? scratch + d : enc, t->c_rows, d, e->token + at, e->by_grad + at, count, d);
        for (size_t j = 0; any && j < d; j++) {
            dec[j] = dec[j] + scratch[j];
            enc[j] = enc[j] + scratch[d + j];
        }
        const float sum = nn_dot(e->by_grad + at, 1, &one, 0, count);
        *b = any ? *b + sum : sum;
        any = true;
    }
    if (!any && t->live[i]) {
        memset(enc, 0, d * sizeof *enc);
        memset(dec, 0, d * sizeof *dec);
    }
    t->live[i] = any;
    t->norm[0][i] = any ? nn_sum_squares(&t->c, enc, NULL, d) : 0.0;
    t->norm[1][i] = any ? nn_sum_squares(&t->c, dec, NULL, d) : 0.0;
}

/* EQ 22: dL/db_dec = sum over tokens of dL/d(reconstruction), of terms that add b_dec (auxk if released),
 *                  - sum over latents of dL/db_enc W_enc, since c = x - b_dec. */
static void b_dec_pass(trainer *t, size_t M)
{
    const size_t d = t->cfg.d, threads = (size_t)t->c.threads;
    const size_t part = ((d + threads - 1) / threads + 15) / 16 * 16;
    float *out = t->tensor[GRADIENT][B_DEC];
    size_t touched = 0;
    for (size_t i = 0; i < t->cfg.n; i++)
        if (t->live[i]) {
            t->touched[touched] = (uint32_t)i;
            t->touched_grad[touched++] = t->tensor[GRADIENT][B_ENC][i];
        }
    OMP(omp parallel for num_threads(t->c.threads) schedule(static) if (d * (M + touched) > FEW))
    for (size_t j0 = 0; j0 < d; j0 += part) {
        const size_t w = least(part, d - j0);
        float *y = t->scratch + 2 * d * (size_t)thread_number();
        for (size_t j = j0; j < j0 + w; j++)
            out[j] = 0;
        for (int i = 0; i < TERMS; i++) {
            float scale;
            if (!t->terms[i].on || (i == AUXK && !t->cfg.released_auxk))
                continue;
            const float *error = direction(t, i, &scale);
            nn_sparse_sum(&t->c, y, error + j0, d, NULL, NULL, M, w);
            for (size_t j = 0; j < w; j++)
                out[j0 + j] = i ? out[j0 + j] + scale * y[j] : scale * y[j];
        }
        nn_sparse_sum(&t->c, y, t->tensor[PARAMETER][W_ENC] + j0, d, t->touched, t->touched_grad, touched, w);
        for (size_t j = 0; j < w; j++)
            out[j0 + j] = out[j0 + j] - y[j];
    }
}

/* Explained variance, of the tokens that are not the mean itself: 1 - |e|^2 / |x - mean|^2. */
static void explain(const trainer *t, train_report *r, size_t M)
{
    double *share = t->row[MULTI]; /* free by now */
    size_t count = 0;
    for (size_t m = 0; m < M; m++)
        if (t->row[TERMS][m] > 0)
            share[count++] = 1.0 - t->row[FVU][m] / t->row[TERMS][m];
    r->explained = count ? nn_sum16_d(share, count) / (double)count : 0.0;
    for (size_t m = 0; m < count; m++)
        share[m] = (share[m] - r->explained) * (share[m] - r->explained);
    r->explained_dev = count > 1 ? sqrt(nn_sum16_d(share, count) / (double)(count - 1)) : 0.0;
}

/* EQ 26: The learning rate of this step: lr max(0, (S - s) / S). */
static double rate(const trainer *t)
{
    const size_t S = t->cfg.steps;
    return t->cfg.lr * (S > *t->step ? (double)(S - *t->step) / (double)S : 0.0);
}

/* trainer_gradients of a batch that was checked. */
static int forward_backward(trainer *t, const float *x, size_t M, train_report *r, saeuron_error *err)
{
    const size_t d = t->cfg.d, n = t->cfg.n;
    train_report unused, *out = r ? r : &unused;
    memset(out, 0, sizeof *out);

    /* EQ 18: V = sum of (x - mean)^2, the mean a channel. d(term)/d(reconstruction) = scale error. */
    channel_sums(&t->c, t->mean, x, NULL, M, d);
    for (size_t j = 0; j < d; j++)
        t->mean[j] /= (double)M;
    row_squares(&t->c, t->row[TERMS], x, t->mean, M, d);
    const double V = nn_sum16_d(t->row[TERMS], M);
    find_dead(t);
    const double share = (double)t->dead_count / (double)(d / 2 ? d / 2 : 1);
    const double aux_scale = share < 1 ? share : 1;
    t->terms[FVU].scale = (float)(2.0 / V);
    t->terms[MULTI].scale = (float)(2.0 / V / 8.0);
    t->terms[AUXK].scale = (float)(2.0 / V * aux_scale * t->cfg.auxk_alpha);

    forward_encode(t, x, M);
    OMP(omp parallel for num_threads(t->c.threads) schedule(dynamic, 16) if (M * d > FEW))
    for (size_t m = 0; m < M; m++)
        token_pass(t, x, m);

    /* EQ 20: loss = FVU + alpha auxk + multi / 8 */
    out->fvu = nn_sum16_d(t->row[FVU], M) / V;
    out->multi = t->terms[MULTI].on ? nn_sum16_d(t->row[MULTI], M) / V : 0.0;
    out->auxk = t->terms[AUXK].on ? aux_scale * nn_sum16_d(t->row[AUXK], M) / V : 0.0;
    out->loss = out->fvu + t->cfg.auxk_alpha * out->auxk + out->multi / 8.0;
    if (!(fabs(out->loss) <= DBL_MAX))
        return fail(err, SAEURON_ENAN,
                    "step %" PRIu64 ": the loss is not finite (%s): lower lr, or look at the data",
                    *t->step, V > 0 ? "the weights have run away" : "every token of the batch is the same");

    for (int i = 0; i < TERMS; i++)
        if (t->terms[i].on)
            by_latent(&t->terms[i].f, M, n);
    OMP(omp parallel for num_threads(t->c.threads) schedule(dynamic, 32) if (M * d > FEW))
    for (size_t i = 0; i < n; i++)
        latent_pass(t, i, t->scratch + 2 * d * (size_t)thread_number());
    b_dec_pass(t, M);

    double squares = nn_sum16_d(t->norm[0], n); /* of all gradients, in this order */
    squares += nn_sum_squares(&t->c, t->tensor[GRADIENT][B_ENC], NULL, n);
    squares += nn_sum16_d(t->norm[1], n);
    squares += nn_sum_squares(&t->c, t->tensor[GRADIENT][B_DEC], NULL, d);
    t->norm_all = (float)sqrt(squares);
    if (!(t->norm_all <= FLT_MAX))
        return fail(err, SAEURON_ENAN,
                    "step %" PRIu64 ": the gradient is not finite: lower lr, or look at the data",
                    *t->step);
    explain(t, out, M);
    out->l0 = (double)t->terms[FVU].f.start[M] / (double)M;
    out->grad_norm = (double)t->norm_all;
    out->lr = rate(t);
    out->dead = t->dead_count;
    out->fired = find_fired(t, M);
    out->tokens = M;
    out->step = *t->step;
    return SAEURON_OK;
}

size_t trainer_selected(const trainer *t, size_t M, uint32_t *at, float *val)
{
    const entries *e = &t->terms[FVU].f;
    for (size_t m = 0; m < M; m++)
        for (size_t j = e->start[m]; j < e->start[m + 1]; j++)
            at[j] = (uint32_t)(m * t->cfg.n + e->latent[j]);
    memcpy(val, e->val, e->start[M] * sizeof *val);
    return e->start[M];
}

int trainer_gradients(trainer *t, const float *x, size_t M, train_report *r, saeuron_error *err)
{
    const int code = check_batch(t, x, M, err);
    return code ? code : forward_backward(t, x, M, r, err);
}

/* ---- the update ---- */

/* power1, power2 = beta1, beta2 to the power of steps, by repeated products. */
static void find_powers(trainer *t, uint64_t steps)
{
    if (t->powers > steps) {
        t->power1 = t->power2 = 1;
        t->powers = 0;
    }
    for (; t->powers < steps; t->powers++) {
        t->power1 *= t->cfg.beta1;
        t->power2 *= t->cfg.beta2;
    }
}

/* EQ 23: g *= min(1, clip / (norm + 1e-6))                     (torch.nn.utils.clip_grad_norm_)
 * Project: each row of W_dec's g loses its part along the row of W_dec.
 * Adam                                                         (torch.optim.Adam)
 * Counters: all advance by the nominal batch; those of latents that fired become 0. */
void trainer_update(trainer *t)
{
    const size_t d = t->cfg.d, n = t->cfg.n;
    float *const *p = t->tensor[PARAMETER], *const *m = t->tensor[MOMENT], *const *v = t->tensor[SQUARE];
    float *const *g = t->tensor[GRADIENT];
    const float  wanted = (float)t->cfg.clip / (t->norm_all + 1e-6f), scale = wanted < 1.0f ? wanted : 1.0f;
    find_powers(t, *t->step + 1);
    const float  step = (float)(rate(t) / (1.0 - t->power1)), root = (float)sqrt(1.0 - t->power2);
    const adam   a = { (float)(1.0 - t->cfg.beta1), (float)t->cfg.beta2, (float)(1.0 - t->cfg.beta2),
                       step, root, (float)t->cfg.eps };

    OMP(omp parallel for num_threads(t->c.threads) schedule(static) if (n * d > FEW))
    for (size_t i = 0; i < n; i++) {
        const size_t at = i * d;
        float *row = t->scratch + 2 * d * (size_t)thread_number();
        nn_adam(&t->c, p[W_ENC] + at, m[W_ENC] + at, v[W_ENC] + at, t->live[i] ? g[W_ENC] + at : t->zeros,
                scale, &a, d);
        if (t->live[i]) {
            memcpy(row, g[W_DEC] + at, d * sizeof *row);
            nn_project(&t->c, row, p[W_DEC] + at, scale, d);
        }
        nn_adam(&t->c, p[W_DEC] + at, m[W_DEC] + at, v[W_DEC] + at, t->live[i] ? row : t->zeros, 1.0f, &a, d);
    }
    nn_adam(&t->c, p[B_ENC], m[B_ENC], v[B_ENC], g[B_ENC], scale, &a, n);
    nn_adam(&t->c, p[B_DEC], m[B_DEC], v[B_DEC], g[B_DEC], scale, &a, d);
    for (size_t i = 0; i < n; i++)
        t->since[i] = t->fired[i] ? 0 : t->since[i] + t->cfg.batch;
    ++*t->step;
}

int trainer_step(trainer *t, const float *x, size_t M, train_report *r, saeuron_error *err)
{
    int code = check_batch(t, x, M, err); /* before the rows change */
    if (code)
        return code;
    trainer_unit_rows(t);
    if ((code = forward_backward(t, x, M, r, err)) != SAEURON_OK)
        return code;
    trainer_update(t);
    return SAEURON_OK;
}
