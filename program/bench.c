/* bench.c: how fast this build is here, part by part, and how near the peak of its fused multiply-adds.
 *
 *   a model --parts, timed--> one line a row on stdout;   --profile: one guided step, operation by operation
 *
 * Every figure is the median of several runs; machines are shared, so quote ratios of one run, not seconds.
 * Not here: comparison with PyTorch (tests/bench_peer.py), any promise about time. */
#include "program/bench.h"
#include "arithmetic/rng.h"
#include "context.h"
#include "gradients/unet_backward.h"
#include "layers/machine.h"
#include "program/counting.h"
#include "train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BIG_M = 1024, BIG_K = 1280, BIG_N = 1280 }; /* a product of Stable Diffusion's size */
enum { SAE_EXPANSION = 16, SAE_K = 32, SELECTED = 2 }; /* the paper's SAE, latents forgotten at each hook */
#define IMAGE_STEP 0.2 /* whole images are timed where a step takes less than so many seconds */

/* ---- the parts; each runs once ---- */

typedef struct bench {
    const bench_options *o;
    saeuron_context *x;
    nn      c;
    arena   work;
    void   *memory;
    float  *in, *out, *text;
    int32_t *ids;
    text_kv kv;
    size_t  N, h, w, images;
    ablation *hook[2];
    size_t  hooks;
    tape   *tape;           /* of the way back, and the weights that it turns once */
    turned_weights *turned;
    float  *dx, *dtext;
    double  peak;
    int     code;
    saeuron_error *err;
} bench;

static size_t latent(const bench *b) { return b->h * b->w * b->x->unet.in_channels; }

static void run_text(bench *b) { clip_forward(&b->c, &b->x->text, b->text, b->ids, 1, b->N, NULL); }

static void run_step(bench *b)
{
    unet_forward(&b->c, &b->x->unet, b->out, b->in, 501, &b->kv, 2, b->h, b->w, NULL);
}

static int forget_here(void *user, nn *c, const module_output *o)
{
    bench *b = user;
    for (size_t i = 0; i < b->hooks; i++)
        if (!strcmp(o->name, b->hook[i]->hook))
            ablate(c, b->hook[i], o->x, o->B * o->H * o->W, 0);
    return 0;
}

static void run_forget(bench *b)
{
    const tap watch = { forget_here, b, false };
    unet_forward(&b->c, &b->x->unet, b->out, b->in, 501, &b->kv, 2, b->h, b->w, &watch);
}

/* A step kept on the tape, and back from its output to latents and text states. */
static void run_back(bench *b)
{
    const tap keep = { tape_record, b->tape, true };
    const unet_inputs in = { b->in, 501, b->text, &b->kv, 2, b->N, b->h, b->w };
    b->tape->count = 0;
    arena_release(b->tape->keep, 0);
    unet_forward(&b->c, &b->x->unet, b->out, b->in, 501, &b->kv, 2, b->h, b->w, &keep);
    unet_backward(&(backward){ .c = &b->c, .turned = b->turned }, &b->x->unet, b->dx, b->dtext, b->out, &in,
                  b->tape, NULL);
}

static void run_vae(bench *b) { vae_decode(&b->c, &b->x->vae, b->out, b->in, 1, b->h, b->w, NULL); }

static void run_images(bench *b)
{
    static const char *const prompt[16] = {
        "An image of Cats in Sketch style.", "", "", "", "", "", "", "", "", "", "", "", "", "", "", ""
    };
    const saeuron_generate_options g = { .prompts = prompt, .count = b->images };
    size_t W, H;
    unsigned char *rgb = NULL;
    if (saeuron_image_size(b->x, &g, &W, &H, b->err) || !(rgb = io_alloc(&b->x->host, b->images * W * H, 3)))
        b->code = b->err->code ? b->err->code
                               : fail(b->err, SAEURON_ENOMEM, "no memory for %zu images", b->images);
    else
        b->code = saeuron_generate(b->x, &g, rgb, b->err);
    io_free(&b->x->host, rgb);
}

/* ---- forgetting without statistics ---- */

static void drop_hooks(bench *b)
{
    for (size_t i = 0; i < b->hooks; i++) {
        io_free(&b->x->host, b->hook[i]->forget[0].memory);
        io_free(&b->x->host, b->hook[i]->sae.memory);
        io_free(&b->x->host, b->hook[i]);
    }
    b->hooks = 0;
}

/* A hash-filled SAE at hook with SELECTED latents to forget wherever they are above 0: half of all tokens,
 * far more than a trained latent fires at. */
static int make_hook(bench *b, const char *hook)
{
    const size_t d = unet_hook_width(&b->x->unet, hook, NULL);
    ablation *a = d ? io_alloc(&b->x->host, 1, sizeof *a) : NULL;
    int code;
    if (!d)
        return SAEURON_OK; /* this UNet has no such hook */
    if (!a)
        return fail(b->err, SAEURON_ENOMEM, "no memory for an SAE at %s", hook);
    memset(a, 0, sizeof *a);
    b->hook[b->hooks++] = a;
    snprintf(a->hook, sizeof a->hook, "%s", hook);
    a->sae.d = d;
    a->sae.n = d * SAE_EXPANSION;
    a->sae.k = SAE_K;
    a->count = 1;
    selection *s = &a->forget[0];
    code = bind_hashed(&b->x->host, b->hooks, DT_F32, b->x->threads, sae_bind, &a->sae, &a->sae.memory,
                       b->err);
    if (code)
        return code;
    float *m = io_alloc(&b->x->host, 2 + 4 * SELECTED, sizeof *m);
    if (!m)
        return fail(b->err, SAEURON_ENOMEM, "no memory for a selection");
    memset(m, 0, (2 + 4 * SELECTED) * sizeof *m);
    *s = (selection){ .how = { .top = SELECTED, .strength = -1 }, .steps = 1, .memory = m,
                      .start = (uint32_t *)(void *)m };
    s->latent = s->start + 2;
    s->score = m + 2 + SELECTED;
    s->mu = s->score + SELECTED;
    s->threshold = s->mu + SELECTED;
    s->start[1] = SELECTED;
    for (size_t i = 0; i < SELECTED; i++) {
        s->latent[i] = (uint32_t)(a->sae.n / 4 * (i + 1));
        s->mu[i] = 1;
    }
    return SAEURON_OK;
}

/* ---- timing ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of t [n], which it sorts. */
static double median(double *t, size_t n)
{
    qsort(t, n, sizeof *t, by_value);
    return t[n / 2];
}

/* Median seconds of one run; a sample is as many runs as last a tenth of a second. It has been run once
 * before. */
static double median_seconds(bench *b, void (*run)(bench *))
{
    double t[BENCH_RUNS_MAX];
    size_t runs = 1;
    double start = os_seconds();
    run(b);
    t[0] = os_seconds() - start;
    if (t[0] > 0 && t[0] < 0.1)
        runs = (size_t)(0.1 / t[0]) + 1;
    for (size_t i = runs == 1; i < b->o->runs && !b->code; i++) { /* a long run counts at once */
        start = os_seconds();
        for (size_t r = 0; r < runs && !b->code; r++)
            run(b);
        t[i] = (os_seconds() - start) / (double)runs;
    }
    return b->code ? 0 : median(t, b->o->runs);
}

static void row(const bench *b, const char *name, double value, const char *unit)
{
    printf(b->o->as_json ? "{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n" : "%-16s %10.4g %s\n",
           name, value, unit);
    fflush(stdout);
}

/* Prints one part's seconds, and its multiply-adds as a share of the peak of all threads. Returns the
 * seconds, 0 when it was not asked for. */
static double part(bench *b, const char *name, void (*run)(bench *), const char *unit)
{
    char    share[32];
    counted k;
    if (b->code || (b->o->only && strcmp(b->o->only, name)))
        return 0;
    double     work = 0;
    const bool counts = run != run_images; /* images are made with an nn of their own */
    if (counts)
        start_counting(&b->c, &k);
    run(b); /* a warm-up in any case */
    if (counts) {
        work = total_multiply_adds(&k);
        stop_counting(&b->c, &k);
    }
    const double t = median_seconds(b, run);
    if (b->code)
        return 0;
    row(b, name, t, unit);
    if (work > 0 && b->peak > 0) {
        snprintf(share, sizeof share, "%s_share", name);
        row(b, share, 100 * 2e-9 * work / t / (b->peak * b->x->threads), "% of the FMA peak of all threads");
    }
    return t;
}

/* The step, operation by operation: share of the time, GFLOP/s, share of the peak. */
static void profile(bench *b)
{
    counted k;
    if (b->peak == 0) /* the reference: nothing is known of its speed */
        return;
    run_step(b);
    start_counting(&b->c, &k);
    const double start = os_seconds();
    run_step(b);
    const double all = os_seconds() - start, threads = b->c.threads;
    double rest = all * threads;
    stop_counting(&b->c, &k);
    printf("%-18s %6s %9s %7s %9s %7s\n", "operation", "calls", "seconds", "share", "GFLOP/s", "of peak");
    for (int i = 0; i < OPS; i++) {
        const double speed = 2e-9 * k.multiply_adds[i] / k.seconds[i]; /* of one thread */
        rest -= k.seconds[i];
        if (!k.calls[i])
            continue;
        printf("%-18s %6zu %9.4f %6.1f%%", op_names[i], k.calls[i], k.seconds[i] / threads,
               100 * k.seconds[i] / (all * threads));
        if (k.multiply_adds[i] > 0)
            printf(" %9.1f %6.1f%%", speed * threads, 100 * speed / b->peak);
        printf("\n");
    }
    printf("%-18s %6s %9.4f %6.1f%%\n", "add, concat, ...", "", rest / threads,
           100 * rest / (all * threads));
    const double speed = 2e-9 * total_multiply_adds(&k) / all;
    printf("%-18s %6s %9.4f %6.1f%% %9.1f %6.1f%%\n", "guided step", "", all, 100.0, speed,
           100 * speed / (b->peak * b->x->threads));
}

/* A step alone and beside a process that keeps a core busy, by turns: the machine's own noise meets both. */
static int loaded(bench *b)
{
    double alone[BENCH_RUNS_MAX], beside[BENCH_RUNS_MAX], ratio[BENCH_RUNS_MAX];
    const size_t n = b->o->runs;
    run_step(b);
    for (size_t i = 0; i < n; i++) {
        alone[i] = median_seconds(b, run_step);
        const long busy = os_load_start();
        if (!busy)
            return fail(b->err, SAEURON_EUSAGE, "--with-load: this system gives no process to run beside");
        beside[i] = median_seconds(b, run_step);
        os_load_stop(busy);
        ratio[i] = beside[i] / alone[i];
    }
    row(b, "unet_step", median(alone, n), "s a guided step");
    row(b, "unet_step_loaded", median(beside, n), "s a guided step beside a process that keeps a core busy");
    row(b, "load_ratio", median(ratio, n), "times as long: the median of the pairs");
    return SAEURON_OK;
}

/* ---- an SAE's training, at the paper's size ---- */

/* A batch [M,d] that has something to learn: noise, a mean, and a few of 512 directions a token. */
static void make_batch(float *x, size_t M, size_t d)
{
    for (size_t m = 0; m < M; m++) {
        float *row = x + m * d;
        for (size_t j = 0; j < d; j++)
            row[j] = rng_symmetric(1, 4, m * d + j, 1.0f) + rng_symmetric(1, 5, j, 0.5f);
        for (size_t i = 0; i < 4; i++) {
            const size_t which = (size_t)(rng_value(1, 6, m * 4 + i) >> 55);
            const float  size = rng_uniform(1, 7, m * 4 + i) * 4;
            for (size_t j = 0; j < d; j++)
                row[j] += size * rng_symmetric(1, 8, which * d + j, 1.0f);
        }
    }
}

/* Whole steps of trainer_step, 4,096 tokens, 1280 x 20,480, k = 32: tokens a second, and the encoder's share
 * of the peak. */
static int train_rows(bench *b, const char *name, bool batch_topk)
{
    enum { WIDTH = 1280 };
    train_config k;
    trainer *t = NULL;
    double   seconds[BENCH_RUNS_MAX];
    char     share[32];
    train_defaults(&k, WIDTH);
    k.batch_topk = batch_topk;
    k.steps = 1 << 20;
    float *x = io_alloc(&b->x->host, k.batch, k.d * sizeof *x);
    if (!x)
        return fail(b->err, SAEURON_ENOMEM, "no memory for a batch of %zu tokens", k.batch);
    make_batch(x, k.batch, k.d);
    int code = trainer_open(&t, &b->x->host, &k, b->x->threads, nn_isa_name(&b->c), b->err);
    if (!code)
        code = trainer_start(t, x, k.batch, b->err);
    if (!code)
        code = trainer_step(t, x, k.batch, NULL, b->err); /* a warm-up */
    for (size_t i = 0; i < b->o->runs && !code; i++) {
        const double start = os_seconds();
        code = trainer_step(t, x, k.batch, NULL, b->err);
        seconds[i] = os_seconds() - start;
    }
    if (!code) {
        const double s = median(seconds, b->o->runs);
        row(b, name, (double)k.batch / s, "tokens/s, an SAE 1280 -> 20,480, k 32, batches of 4,096 tokens");
        snprintf(share, sizeof share, "%s_share", name);
        if (b->peak > 0)
            row(b, share,
                100 * 2e-9 * (double)k.batch * (double)k.d * (double)k.n / s / (b->peak * b->x->threads),
                "% of the FMA peak of all threads, counting the encoder's forward pass alone");
    }
    trainer_close(t);
    io_free(&b->x->host, x);
    return code;
}

/* Memory for the parts, by running them without memory first. */
static int plan(bench *b)
{
    const size_t s = (size_t)1 << (b->x->vae.levels - 1), pixels = b->h * s * b->w * s * 3, n = 2 * latent(b);
    arena only = { 0 };
    b->c.work = &only;
    run_text(b);
    unet_text(&b->c, &b->x->unet, &b->kv, NULL, 2, b->N);
    const size_t kv = arena_mark(&only);
    run_forget(b);
    arena_release(&only, kv);
    run_vae(b);
    nn_linear(&b->c, arena_floats(&only, BIG_M * (BIG_N + 2 * BIG_K)), NULL, (weight){ .type = DT_F16 }, NULL,
              BIG_M, BIG_K, BIG_N);
    only.peak += BIG_N * BIG_K * 2;
    const size_t out = pixels > n ? pixels : n, text = 2 * b->N * b->x->text.D;
    const size_t bytes = only.peak + 64 + (out + n + text + b->N) * sizeof(float) + 256;
    b->memory = only.failed ? NULL : io_alloc(&b->x->host, bytes, 1);
    if (!b->memory)
        return fail(b->err, SAEURON_ENOMEM, "no memory for %zu bytes to measure with", bytes);
    b->work = (arena){ .base = b->memory, .size = bytes };
    b->c.work = &b->work;
    b->in = arena_floats(&b->work, n);
    b->out = arena_floats(&b->work, out);
    b->text = arena_floats(&b->work, text);
    b->ids = arena_bytes(&b->work, b->N, sizeof *b->ids);
    if (b->work.failed)
        return fail(b->err, SAEURON_ENOMEM, "the plan of the bench's memory was too small: this is a bug");
    for (size_t i = 0; i < n; i++)
        b->in[i] = rng_symmetric(1, 2, i, 1.0f);
    for (size_t i = 0; i < text; i++)
        b->text[i] = rng_symmetric(1, 3, i, 1.0f);
    for (size_t i = 0; i < b->N; i++)
        b->ids[i] = (int32_t)(i % b->x->text.vocab);
    unet_text(&b->c, &b->x->unet, &b->kv, b->text, 2, b->N);
    return SAEURON_OK;
}

/* The row of run_back, in memory of its own, since it keeps a step's activations: first without memory, which
 * plans, then for good. */
static void backward_row(bench *b)
{
    static const char unit[] = "s a guided step and back, by latents and text states";
    const saeuron_host *host = &b->x->host;
    arena work = { 0 }, keep = { 0 }, turned = { 0 }, *const usual = b->c.work;
    unsigned char *memory = NULL;
    b->tape = io_alloc(host, 1, sizeof *b->tape);
    b->turned = io_alloc(host, 1, sizeof *b->turned);
    b->c.work = &work;
    for (int planned = 0; b->tape && b->turned && planned < 2; planned++) {
        *b->tape = (tape){ .keep = &keep };
        *b->turned = (turned_weights){ .keep = &turned };
        b->dx = arena_floats(&work, 2 * latent(b));
        b->dtext = arena_floats(&work, 2 * b->N * b->x->unet.text_width);
        if (planned) {
            part(b, "unet_backward", run_back, unit);
            break;
        }
        run_back(b);
        if (!work.failed && !keep.failed && !turned.failed)
            memory = io_alloc(host, work.peak + keep.peak + turned.peak + 192, 1);
        if (!memory)
            break;
        keep = (arena){ .base = memory, .size = keep.peak + 64 };
        turned = (arena){ .base = keep.base + keep.size, .size = turned.peak + 64 };
        work = (arena){ .base = turned.base + turned.size, .size = work.peak + 64 };
    }
    if (!memory)
        b->code = fail(b->err, SAEURON_ENOMEM, "no memory for a step and its way back");
    b->c.work = usual;
    io_free(host, memory);
    io_free(host, b->turned);
    io_free(host, b->tape);
}

/* ---- one thread, in GFLOP/s: a multiply-add is two operations ---- */

static double faster(double best, double multiply_adds, double took)
{
    return took > 0.0 && 2e-9 * multiply_adds / took > best ? 2e-9 * multiply_adds / took : best;
}

/* The best of 20 runs that are long enough to measure: of the kernels' tile, or with a NULL of their fused
 * multiply-adds in registers alone. 0 for the reference. */
static double kernel_speed(const nn *c, const float *a, const float *b, float *sink)
{
    double best = 0.0;
    size_t rounds = 1;

    for (int runs = 0; runs < 20;) {
        const double from = os_processor_seconds();
        const double work = a ? nn_tile(c, rounds, a, b, sink) : nn_peak(c, rounds, sink);
        const double took = os_processor_seconds() - from;
        if (work == 0.0)
            return 0.0;
        if (took < 0.005) {
            rounds *= 2;
            continue;
        }
        best = faster(best, work, took);
        runs++;
    }
    return best;
}

static double peak_speed(const nn *c)
{
    float sink[64];
    for (int i = 0; i < 64; i++)
        sink[i] = 1e-9f * (float)i;
    return kernel_speed(c, NULL, NULL, sink);
}

static double tile_speed(nn *c)
{
    const size_t mark = arena_mark(c->work), n = 2048 * 32;
    float *a = arena_floats(c->work, n), *b = arena_floats(c->work, n);
    float *sink = arena_floats(c->work, 12 * 32);
    double best = 0.0;

    if (a && b && sink) {
        for (size_t i = 0; i < n; i++)
            a[i] = b[i] = rng_symmetric(0, 0, i, 1.0f);
        best = kernel_speed(c, a, b, sink);
    }
    arena_release(c->work, mark);
    return best;
}

/* nn_linear with F16 weights, the best of five. */
static double linear_speed(const nn *c, size_t M, size_t K, size_t N)
{
    nn one = *c;
    const size_t mark = arena_mark(one.work);
    float *y = arena_floats(one.work, M * N), *x = arena_floats(one.work, M * K);
    unsigned char *W = arena_bytes(one.work, N, K * 2);
    double best = 0.0;

    one.threads = 1;
    if (y && x && W) {
        for (size_t i = 0; i < M * K; i++)
            x[i] = rng_symmetric(0, 0, i, 1.0f);
        for (size_t i = 0; i < N * K * 2; i++)
            W[i] = (unsigned char)(i % 2 ? 0x2c + i % 4 : i); /* halves of about 0.1 */
        for (int run = 0; run < 5; run++) {
            const double from = os_processor_seconds();
            nn_linear(&one, y, x, (weight){ .data = W, .type = DT_F16 }, NULL, M, K, N);
            best = faster(best, (double)M * (double)K * (double)N, os_processor_seconds() - from);
        }
    }
    arena_release(one.work, mark);
    return best;
}

/* Tile against peak: the kernels' own ceiling on this machine, one thread. */
static void kernels(bench *b)
{
    const double tile = tile_speed(&b->c);
    row(b, "fma_peak", b->peak, "GFLOP/s, one thread, independent register chains");
    row(b, "tile", tile, "GFLOP/s, one thread, operands in cache");
    row(b, "tile_share", 100 * tile / b->peak, "% of the peak");
    row(b, "linear", linear_speed(&b->c, BIG_M, BIG_K, BIG_N),
        "GFLOP/s, one thread, F16 weights [1280,1280], 1024 rows");
    if (tile < 0.5 * b->peak)
        fprintf(stderr, "saeuron bench: the kernels reach less than half of the peak: "
                        "try another compiler, or see docs/contract.md, section 10\n");
}

static int run_rows(bench *b)
{
    const char *only = b->o->only ? b->o->only : "";
    const bool  batch = !strcmp(only, "sae_train_step"), token = !strcmp(only, "sae_train_topk");
    if (batch || token) { /* over a gigabyte: to be asked for */
        b->peak = peak_speed(&b->c);
        return b->code = train_rows(b, only, batch);
    }
    if (!*only || !strcmp(only, "unet_forget")) {
        b->code = make_hook(b, "up_blocks.1.attentions.1");
        if (!b->code)
            b->code = make_hook(b, "up_blocks.1.attentions.2");
    }
    if (!b->code)
        b->code = plan(b);
    if (b->code)
        return b->code;
    b->peak = peak_speed(&b->c);
    if (b->o->with_load)
        return loaded(b);
    if (b->o->profile) {
        profile(b);
        return SAEURON_OK;
    }
    if (!*only && b->peak > 0)
        kernels(b);
    part(b, "text_encoder", run_text, "s a prompt");
    const double step = part(b, "unet_step", run_step, "s a guided step");
    if (b->hooks)
        part(b, "unet_forget", run_forget,
             "s a guided step, two latents forgotten at each hook of up_blocks.1");
    if (*only ? !strcmp(only, "unet_backward") : step <= IMAGE_STEP)
        backward_row(b);
    part(b, "vae_decode", run_vae, "s an image");
    if (*only ? strncmp(only, "image", 5) : step > IMAGE_STEP) /* minutes: to be asked for */
        return b->code;
    b->images = 1;
    part(b, "image", run_images, "s an image, default steps");
    b->images = 16;
    part(b, "images16", run_images, "s for 16 images");
    return b->code;
}

int bench_run(saeuron_context *x, const bench_options *o, saeuron_error *err)
{
    bench b = { .o = o, .x = x, .err = err, .N = saeuron_text_length(x) };
    b.h = b.w = x->unet.sample_size;
    int code = choose_kernels(&b.c, x->host.isa, x->threads, &b.work, err);
    if (!code)
        code = run_rows(&b);
    drop_hooks(&b);
    io_free(&x->host, b.memory);
    return code;
}
