/* test_unet.c: the UNet: diffusers' in float64, module by module; shapes that files may have.
 *
 * Not here: its layers (test_forward.c), what happens at its hooks (test_select.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "goldens.h"
#include "shots.h"
#include "arithmetic/rng.h"
#include "unet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

typedef struct unet_run { unet u; watcher w; } unet_run;

/* One pass at timestep t; seen is NULL except where every module is compared. */
static void unet_pass(nn *c, const unet_run *r, const char *x_name, const char *text_name, size_t B, size_t H,
                      size_t W, size_t N, int t, const char *result, const tap *seen)
{
    const size_t mark = arena_mark(c->work), n = B * H * W * r->u.out_channels;
    char name[3][64];
    text_kv kv;
    snprintf(name[0], sizeof name[0], "%s.%s", r->w.network, x_name);
    snprintf(name[1], sizeof name[1], "%s.%s", r->w.network, text_name);
    snprintf(name[2], sizeof name[2], "%s.%s", r->w.network, result);
    const float *x = input_map(c->work, B, r->u.in_channels, H * W, name[0]);
    const float *text_states = input(c->work, B * N * r->u.text_width, unit(), name[1]);
    float *y = arena_floats(c->work, n);
    unet_text(c, &r->u, &kv, text_states, B, N);
    CHECK(unet_forward(c, &r->u, y, x, (float)t, &kv, B, H, W, seen) == 0, "%s: the pass stopped", name[2]);
    if (y && !seen)
        check_truth(r->w.g, name[2], y, n);
    arena_release(c->work, mark);
}

static void run_unet(nn *c, void *user)
{
    static const int at[] = { 1, 261, 601, 999 };
    const unet_run *r = user;
    const tap seen = { watch, (void *)&r->w, true };
    const size_t side = r->u.sample_size;
    unet_pass(c, r, "latents", "text", 2, side, side, 77, 501, "conv_out", &seen);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", at[i]);
        unet_pass(c, r, "latents", "text", 2, side, side, 77, at[i], name, NULL);
    }
    unet_pass(c, r, "wide", "short", 1, 8, 24, 11, 741, "wide", NULL);
}

/* Runs `run` on the network of that config, filled by hash; g: its goldens, or NULL. */
static void run_network(const char *name, tensors *g, void (*run)(nn *c, void *user))
{
    static unet_run r; /* some 100 kB */
    io_file f;
    void *memory = NULL;
    r.w = (watcher){ g, name };
    const json v = config_open(&f, name);
    if (unet_configure(&r.u, v, name, &err) ||
        bind_hashed(&host, GOLDEN_SEED, DT_F32, 1, unet_bind, &r.u, &memory, &err))
        CHECK(false, "%s", err.text);
    else
        planned(run, &r);
    io_free(&host, memory);
    io_close(&f);
}

static void unet_goldens(const char *name)
{
    tensors g;
    if (!golden_open(&g, name))
        return;
    run_network(name, &g, run_unet);
    golden_close(&g);
}

/* Latents of 7 x 10, whose sides are odd where they are halved: what diffusers 0.42.1 makes of them in
 * float64, with its upsample_size. Six values [c,i,j] and the sum of squares. */
static void run_odd_sides(nn *c, void *user)
{
    static const struct { const char *name; double sum, at[6]; } truths[] = {
        { "unet15", 93.59548148382552,
          { -0.33129571, 0.401401888, 0.651410532, 0.301560481, 0.0260660831, 0.0929769657 } },
        { "unet2", 90.45376997369486,
          { -0.442327618, 0.246621969, 0.304324815, 0.408036308, 0.276332348, 0.389744989 } },
    };
    static const size_t places[6][3] = { { 0, 0, 0 }, { 1, 3, 4 }, { 2, 6, 0 }, { 3, 0, 9 }, { 0, 6, 9 },
                                         { 1, 5, 8 } };
    enum { H = 7, W = 10, C = 4, N = 5 };
    const unet_run *r = user;
    const size_t mark = arena_mark(c->work), k = strcmp(r->w.network, truths[0].name) != 0;
    char name[2][64];
    text_kv kv;
    double sum = 0;
    snprintf(name[0], sizeof name[0], "%s.odd", r->w.network);
    snprintf(name[1], sizeof name[1], "%s.odd_text", r->w.network);
    const float *x = input_map(c->work, 1, C, H * W, name[0]);
    const float *text_states = input(c->work, N * r->u.text_width, unit(), name[1]);
    float *y = arena_floats(c->work, H * W * C);
    unet_text(c, &r->u, &kv, text_states, 1, N);
    CHECK(unet_forward(c, &r->u, y, x, 741.0f, &kv, 1, H, W, NULL) == 0, "the pass stopped");
    for (size_t i = 0; y && i < H * W * C; i++)
        sum += (double)y[i] * (double)y[i];
    for (size_t i = 0; y && i < 6; i++) {
        const double got = (double)y[(places[i][1] * W + places[i][2]) * C + places[i][0]];
        CHECK(fabs(got - truths[k].at[i]) < 5e-6, "%s: value %zu is %.9g, not %.9g", r->w.network, i, got,
              truths[k].at[i]);
    }
    CHECK(!y || fabs(sum - truths[k].sum) < 1e-4, "%s: the squares sum to %.9g", r->w.network, sum);
    arena_release(c->work, mark);
}

static void odd_sides(void)
{
    run_network("unet15", NULL, run_odd_sides);
    run_network("unet2", NULL, run_odd_sides);
}

/* Block arrangement of SD 1.5: 1x1 convolutions around the transformers, eight heads everywhere. */
static void unet15(void) { unet_goldens("unet15"); }
/* Of SD 2.x: linear projections, heads a block. */
static void unet2(void) { unet_goldens("unet2"); }

/* use_linear_projection saves proj_in and proj_out as [C,C] instead of [C,C,1,1]: the same matrices. */
static void linear_projection(void)
{
    static tiny_list l;
    shot plain, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    saeuron_close(x);
    tiny_tensors(&l, "unet");
    for (size_t i = 0; i < l.count; i++)
        if (strstr(l.at[i].name, "attentions") && l.at[i].ndim == 4)
            l.at[i].ndim = 2;
    tiny_save(&files, UNET, &l, 0, l.count, NULL);
    tiny_drop(&l);
    tiny_edit(&files, "unet/config.json", "{", "{\"use_linear_projection\": true,");
    x = opened(NULL, 1);
    if (x)
        must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(same(&plain, &s), "linear projections change the picture");
    done(x);
}

/* A UNet with more attentions than any real one: no fixed table may overflow (ASan sees it). */
static void many_levels(void)
{
    static const char text[] = "{\"block_out_channels\": [4,4,4,4,4,4,4,4], \"norm_num_groups\": 2, "
                               "\"attention_head_dim\": 1, \"cross_attention_dim\": 4, \"layers_per_block\": "
                               "3,\"down_block_types\": "
                               "[\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\","
                               "\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\","
                               "\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\"],\"up_block_types\": "
                               "[\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\","
                               "\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\","
                               "\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\"]}";
    static unet u;
    saeuron_error e = { 0 };
    json  v;
    void *weights = NULL;
    arena work = { 0 };
    nn    c;
    struct { text_kv kv; float *after[64]; } room; /* an overflow lands in after */
    static float states[4] = { 1, 2, 3, 4 };
    if (json_open(&v, text, strlen(text), "text", &e) || unet_configure(&u, v, "text", &e) ||
        bind_hashed(NULL, 1, DT_F32, 1, unet_bind, &u, &weights, &e)) {
        CHECK(false, "%s", e.text);
        return;
    }
    memset(&room, 0, sizeof room);
    nn_init(&c, NULL, 1, &work);
    unet_text(&c, &u, &room.kv, NULL, 1, 1);
    work = (arena){ .base = malloc(work.peak + 64), .size = work.peak + 64 };
    unet_text(&c, &u, &room.kv, states, 1, 1);
    CHECK(!work.failed && u.texts == 57, "%zu attentions, not 8 * 3 + 1 + 8 * 4", u.texts);
    for (size_t i = 0; i < 64; i++)
        CHECK(!room.after[i], "%zu cross-attentions overflow a table of %d", u.texts, UNET_TEXTS);
    free(work.base);
    io_free(NULL, weights);
}

const test_case unet_tests[] = {
    { "unet15", unet15 }, { "unet2", unet2 }, { "odd_sides", odd_sides },
    { "linear_projection", linear_projection }, { "many_levels", many_levels }, { NULL, NULL },
};
