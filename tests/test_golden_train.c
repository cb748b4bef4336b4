/* test_golden_train.c: train.c against the released trainer's behaviour in PyTorch, by golden/train.safetensors.
 *
 *   configs/train.json, hash-filled start and batches --trainer_step, a hundred times--> reports, gradients, parameters, counters
 *                                                        --compared--> train.safetensors (make.py, class Training)
 *
 * Each case is a run of its own: TopK or BatchTopK, with and without multi-topk, dead latents, the released auxk (audit A2). No decision of
 * a case's first ten steps lies closer than float32 can tell, and no first gradient sampled so near Adam's eps that its rounding grows (make.py draws
 * other data where one does), so integers are equal there.
 * Not here: gradients by finite differences, equal bits for threads and kernels (test_train.c), the contract's bits (twin.py). */
#include "goldens.h"
#include "test.h"
#include "arithmetic/rng.h"
#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

static uint64_t stream(const char *draw, const char *what)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", draw, what);
    return nn_hash(0, name, strlen(name));
}

static float drawn(uint64_t of, size_t i, float bound) { return rng_symmetric(GOLDEN_SEED, of, i, bound); }

/* make.py's training_data: a mean, three of 64 directions a token with weights in [0,1), noise; times scale; every operation rounded once. */
static void fill_data(float *x, const char *draw, float scale, size_t tokens, size_t d)
{
    const uint64_t mean = stream(draw, "mean"), atoms = stream(draw, "atoms"), which = stream(draw, "which"), share = stream(draw, "weight"), noise = stream(draw, "noise");
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

/* ---- the trainer's state by name ---- */

static trainer_tensor *state(run *r, const char *name)
{
    for (size_t i = 0; i < TRAINER_TENSORS; i++)
        if (!strcmp(r->state[i].name, name))
            return &r->state[i];
    CHECK(false, "the trainer has no tensor %s", name);
    return &r->state[0];
}

/* make.py's training_start: W_dec's rows are made unit by the first step; the first `dead` latents are short and have not fired for too long. */
static void fill_start(run *r, size_t dead, float shrink, float scale)
{
    const size_t d = r->c.d, n = r->c.n;
    float *W_enc = state(r, "encoder.weight")->data, *b_enc = state(r, "encoder.bias")->data, *W_dec = state(r, "W_dec")->data, *b_dec = state(r, "b_dec")->data;
    uint64_t *since = state(r, "tokens_since_fired")->data;
    const uint64_t share = stream(r->draw, "encoder.weight"), bias = stream(r->draw, "encoder.bias"), mean = stream(r->draw, "mean"), away = stream(r->draw, "b_dec");
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
        CHECK((int64_t)found->dead == i64_at(t, 0) && (int64_t)found->fired == i64_at(t, 1), "%s: %zu latents dead and %zu fired, not %" PRId64 " and %" PRId64, full,
              found->dead, found->fired, i64_at(t, 0), i64_at(t, 1));
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
        CHECK((int64_t)since[i] == i64_at(t, i), "%s: latent %zu fired %" PRIu64 " tokens ago, not %" PRId64, full, i, since[i], i64_at(t, i));
}

/* Dead latents after each of the hundred steps: within what PyTorch's own runs found, widened by as much as they differ. */
static void check_dead(run *r, const size_t *dead)
{
    char full[160];
    snprintf(full, sizeof full, "%s.dead", r->name);
    const tensor *t = golden(&r->g, DT_I64, full);
    for (size_t s = 0; t && s < STEPS; s++) {
        const int64_t low = i64_at(t, 2 * s), high = i64_at(t, 2 * s + 1), spread = high - low, x = (int64_t)dead[s];
        CHECK(x >= low - spread && x <= high + spread, "%s: %" PRId64 " latents are dead after step %zu, PyTorch's runs have %" PRId64 " to %" PRId64, full, x, s + 1, low, high);
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
    const float scale = (float)number(v, "scale", 1); /* short tokens have long gradients, which clipping meets */
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

/* Every case: loss terms, measures, gradients, integers of the first step; parameters after 1 and 10; FVU and dead latents of all 100. */
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

const test_case golden_train_tests[] = {
    { "training", training },
    { NULL, NULL }
};
