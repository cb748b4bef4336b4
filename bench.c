/* bench.c: how fast this build is here, part by part, and how near the peak of its fused multiply-adds.
 *
 *   a model --sampled parts, timed--> one line a row on stdout
 *
 * Not here: comparison with PyTorch (tests/bench_peer.py runs this program beside it), any assertion about time.
 * Every figure is the median of several runs; machines are shared, so quote ratios of one run, not seconds. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BENCH_RUNS 5
enum { BIG_M = 1024, BIG_K = 1280, BIG_N = 1280 }; /* a product of Stable Diffusion's size */

typedef struct bench {
    sae_context *x;
    nn      c;
    arena   work;
    void   *memory;
    float  *in, *out, *text;
    int32_t *ids;
    size_t  N, h, w, images;
    int     code;
    sae_error *err;
} bench;

static size_t latent(const bench *b) { return b->h * b->w * b->x->unet.in_channels; }

/* ---- the parts; each runs once ---- */

static void run_text(bench *b) { clip_forward(&b->c, &b->x->text, b->text, b->ids, 1, b->N, NULL); }

static void run_step(bench *b)
{
    const size_t mark = arena_mark(b->c.work);
    text_kv kv;
    unet_text(&b->c, &b->x->unet, &kv, b->text, 2, b->N);
    unet_forward(&b->c, &b->x->unet, b->out, b->in, 501, &kv, 2, b->h, b->w, NULL);
    arena_release(b->c.work, mark);
}

static void run_vae(bench *b) { vae_decode(&b->c, &b->x->vae, b->out, b->in, 1, b->h, b->w, NULL); }

static void run_images(bench *b)
{
    static const char *const prompt[16] = { "An image of Cats in Sketch style.", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "" };
    const sae_generate_options g = { .prompts = prompt, .count = b->images };
    size_t W, H;
    unsigned char *rgb = NULL;
    if (sae_image_size(b->x, &g, &W, &H, b->err) || !(rgb = io_alloc(&b->x->host, b->images * W * H, 3)))
        b->code = b->err->code ? b->err->code : fail(b->err, SAE_ENOMEM, "no memory for %zu images", b->images);
    else
        b->code = sae_generate(b->x, &g, rgb, b->err);
    io_free(&b->x->host, rgb);
}

/* ---- timing ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one run, each sample being as many runs as last a tenth of a second; one warm-up. */
static double median_seconds(bench *b, void (*run)(bench *))
{
    double t[BENCH_RUNS];
    size_t runs = 1;
    run(b);
    double start = os_seconds();
    run(b);
    const double once = os_seconds() - start;
    if (once > 0 && once < 0.1)
        runs = (size_t)(0.1 / once) + 1;
    for (int i = 0; i < BENCH_RUNS && !b->code; i++) {
        start = os_seconds();
        for (size_t r = 0; r < runs && !b->code; r++)
            run(b);
        t[i] = (os_seconds() - start) / (double)runs;
    }
    if (b->code)
        return 0;
    qsort(t, BENCH_RUNS, sizeof *t, by_value);
    return t[BENCH_RUNS / 2];
}

static void row(bool as_json, const char *name, double value, const char *unit)
{
    printf(as_json ? "{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n" : "%-16s %10.4g %s\n", name, value, unit);
    fflush(stdout);
}

/* Memory for the parts, by running them without memory first. */
static int plan(bench *b)
{
    const size_t s = (size_t)1 << (b->x->vae.levels - 1), pixels = b->h * s * b->w * s * 3, n = 2 * latent(b);
    arena measure = { 0 };
    b->c.work = &measure;
    run_text(b);
    run_step(b);
    run_vae(b);
    nn_linear(&b->c, arena_floats(&measure, BIG_M * (BIG_N + 2 * BIG_K)), NULL, (weight){ NULL, DT_F16 }, NULL, BIG_M, BIG_K, BIG_N);
    measure.peak += BIG_N * BIG_K * 2;
    const size_t out = pixels > n ? pixels : n, text = 2 * b->N * b->x->text.D;
    const size_t bytes = measure.peak + 64 + (out + n + text + b->N) * sizeof(float) + 256;
    b->memory = measure.failed ? NULL : io_alloc(&b->x->host, bytes, 1);
    if (!b->memory)
        return fail(b->err, SAE_ENOMEM, "no memory for %zu bytes to measure with", bytes);
    b->work = (arena){ .base = b->memory, .size = bytes };
    b->c.work = &b->work;
    b->in = arena_floats(&b->work, n);
    b->out = arena_floats(&b->work, out);
    b->text = arena_floats(&b->work, text);
    b->ids = arena_bytes(&b->work, b->N, sizeof *b->ids);
    if (b->work.failed)
        return fail(b->err, SAE_ENOMEM, "the plan of the bench's memory was too small: this is a bug");
    for (size_t i = 0; i < n; i++)
        b->in[i] = rng_symmetric(1, 2, i, 1.0f);
    for (size_t i = 0; i < text; i++)
        b->text[i] = rng_symmetric(1, 3, i, 1.0f);
    for (size_t i = 0; i < b->N; i++)
        b->ids[i] = (int32_t)(i % b->x->text.vocab);
    return SAE_OK;
}

/* Tile against peak: the kernels' own ceiling on this machine, one thread. */
static void kernels(bench *b, bool as_json)
{
    const double peak = nn_bench_peak(&b->c), tile = nn_bench_tile(&b->c);
    row(as_json, "fma_peak", peak, "GFLOP/s, one thread, independent register chains");
    row(as_json, "tile", tile, "GFLOP/s, one thread, operands in cache");
    row(as_json, "tile_share", 100 * tile / peak, "% of the peak");
    row(as_json, "linear", nn_bench_gemm(&b->c, BIG_M, BIG_K, BIG_N), "GFLOP/s, one thread, F16 weights [1280,1280], 1024 rows");
    if (tile < 0.5 * peak)
        fprintf(stderr, "saeuron bench: the kernels reach less than half of the peak: try another compiler, or see docs/contract.md section 3\n");
}

int bench_run(sae_context *x, bool as_json, sae_error *err);
int bench_run(sae_context *x, bool as_json, sae_error *err)
{
    bench b = { .x = x, .err = err, .N = sae_text_length(x), .h = x->unet.sample_size, .w = x->unet.sample_size };
    if (!nn_init(&b.c, x->host.isa, x->threads, &b.work))
        return fail(err, SAE_EUSAGE, "kernels \"%.20s\" are not built in or not for this CPU", x->host.isa);
    b.code = plan(&b);
    if (!b.code) {
        kernels(&b, as_json);
        row(as_json, "text_encoder", median_seconds(&b, run_text), "s a prompt");
        row(as_json, "unet_step", median_seconds(&b, run_step), "s a guided step");
        row(as_json, "vae_decode", median_seconds(&b, run_vae), "s an image");
        b.images = 1;
        row(as_json, "image", median_seconds(&b, run_images), "s an image, default steps");
        b.images = 16;
        row(as_json, "images16", median_seconds(&b, run_images), "s for 16 images");
    }
    io_free(&x->host, b.memory);
    return b.code;
}
