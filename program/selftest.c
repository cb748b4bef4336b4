/* selftest.c: is this build right on this machine? One line an operation, "NAME digest", over hash-filled
 * inputs. The list is the same from every compiler, optimisation level, thread count, instruction set and
 * machine, big-endian ones included.
 *
 *   hash-filled inputs --every operation, small networks--> digests == tests/golden/digests.txt, compiled in
 *
 * Not here: truth (tests/ compares with PyTorch in float64), speed (bench.c). A line that changes is a new
 * contract version (docs/contract.md, section 11), never a new golden on one machine. */
#include "program/selftest.h"
#include "arithmetic/rng.h"
#include "clip.h"
#include "ddim.h"
#include "evaluation/classifier.h"
#include "gradients/clip_backward.h"
#include "gradients/unet_backward.h"
#include "layers/machine.h"
#include "train.h"
#include "unet.h"
#include "vae.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINES = 64 };
typedef struct list {
    arena   *work;
    uint64_t stream;    /* counts the tensors made */
    char     name[LINES][32];
    uint64_t digest[LINES];
    int      n;
} list;

/* The list of this contract version. */
static const struct { const char *name; uint64_t digest; } expected[] = {
#define D(name, digest) { #name, digest },
#include "tests/golden/digests.txt"
#undef D
};
enum { EXPECTED = sizeof expected / sizeof *expected };

static float *floats(list *l, size_t n)
{
    return arena_floats(l->work, n);
}

static float *filled(list *l, size_t n, float a)
{
    float *p = floats(l, n);
    l->stream++;
    for (size_t i = 0; p && i < n; i++)
        p[i] = rng_symmetric(7, l->stream, i, a);
    return p;
}

/* A weight of n elements as a file holds it. */
static weight stored(list *l, size_t n, dtype type, float a)
{
    const float   *x = filled(l, n, a);
    unsigned char *p = arena_bytes(l->work, n, 4);
    for (size_t i = 0; p && i < n; i++) {
        uint32_t u = f32_bits(x[i]);
        uint16_t h = 0;
        nn_f32_to_f16(&h, x[i]);
        u = type == DT_F16 ? h : type == DT_BF16 ? u >> 16 : u;
        for (size_t b = 0; b < dtype_size(type); b++)
            p[i * dtype_size(type) + b] = (unsigned char)(u >> 8 * b);
    }
    return (weight){ .data = p, .type = type };
}

/* Digest of n words as little-endian bytes of `size` each. */
static void add_words(list *l, const char *name, const uint64_t *w, size_t n, size_t size)
{
    uint64_t h = 0;
    if (!w || l->n == LINES)
        return;
    for (size_t i = 0; i < n; i++) {
        unsigned char b[8];
        for (size_t j = 0; j < size; j++)
            b[j] = (unsigned char)(w[i] >> 8 * j);
        h = nn_hash(h, b, size);
    }
    snprintf(l->name[l->n], sizeof l->name[0], "%s", name);
    l->digest[l->n++] = h;
}

static void add(list *l, const char *name, const float *y, size_t n)
{
    const size_t mark = arena_mark(l->work);
    uint64_t *w = arena_bytes(l->work, n, sizeof *w);
    for (size_t i = 0; w && y && i < n; i++)
        w[i] = f32_bits(y[i]);
    add_words(l, name, w, n, 4);
    arena_release(l->work, mark);
}

static void functions(list *l)
{
    enum { N = 20000 };
    static const struct { const char *name; float (*f)(float); } table[] = {
        { "exp", nn_expf }, { "exp_cr", nn_expf_cr }, { "log", nn_logf }, { "erf", nn_erff },
        { "silu", nn_silu1 }, { "gelu", nn_gelu1 }, { "quick_gelu", nn_quick_gelu1 }
    };
    float *y = floats(l, N);
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        for (size_t i = 0; i < N; i++) {
            const float x = rng_symmetric(7, 1000 + t, i, i % 2 ? 110.0f : 4.0f);
            y[i] = table[t].f(table[t].f == nn_logf ? x * x : x);
        }
        add(l, table[t].name, y, N);
    }
    for (size_t i = 0; i < N; i++) { /* of any bits; a NaN counts as 0 */
        const float a = f32_from((uint32_t)rng_value(7, 1, i)), b = f32_from((uint32_t)rng_value(7, 2, i));
        y[i] = nn_fmaf(a, b, f32_from((uint32_t)rng_value(7, 3, i)));
        y[i] = y[i] == y[i] ? y[i] : 0.0f;
    }
    add(l, "fma", y, N);
    uint64_t *w = arena_bytes(l->work, N, sizeof *w);
    for (size_t i = 0; w && i < N; i++) {
        const double x = (double)rng_symmetric(7, 4, i, 8192.0f);
        w[i] = f64_bits(i % 2 ? nn_sin(x) : nn_cos(x));
    }
    add_words(l, "sin_cos", w, N, 8);
    nn_timestep_embedding(y, 981.0f, 320, true, 0.0f);
    nn_timestep_embedding(y + 320, 17.0f, 64, false, 1.0f);
    add(l, "timestep", y, 384);
}

static void products(list *l, nn *c)
{
    static const struct { size_t M, K, N; dtype type; } linears[] = {
        { 1, 129, 33, DT_F32 }, { 13, 300, 50, DT_F16 }, { 3, 2177, 17, DT_BF16 }, { 5, 4225, 9, DT_F16 }
    };
    static const conv_shape convs[] = {
        { 2, 7, 6, 5, 19, 3, 1, 1, 1 }, { 1, 9, 8, 33, 16, 3, 2, 0, 1 }, { 1, 5, 5, 130, 40, 1, 1, 0, 0 },
        { 1, 4, 4, 240, 12, 3, 1, 1, 1 }
    };
    char name[32];
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        const size_t M = linears[i].M, K = linears[i].K, N = linears[i].N;
        float *y = floats(l, M * N), *x = filled(l, M * K, 1.0f), *b = filled(l, N, 1.0f);
        nn_linear(c, y, x, stored(l, N * K, linears[i].type, 0.1f), b, M, K, N);
        snprintf(name, sizeof name, "linear_%zu_%zu_%zu", M, K, N);
        add(l, name, y, M * N);
    }
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) {
        const conv_shape *s = &convs[i];
        const size_t n = s->B * conv_out(s, s->H) * conv_out(s, s->W) * s->co;
        float *y = floats(l, n);
        float *x = filled(l, s->B * s->H * s->W * s->ci, 1.0f), *b = filled(l, s->co, 1.0f);
        nn_conv2d(c, y, x, stored(l, s->co * s->ci * s->k * s->k, i % 2 ? DT_F32 : DT_F16, 0.1f), b, s);
        snprintf(name, sizeof name, "conv_%zux%zu_%zu_%zu", s->k, s->k, s->ci, s->co);
        add(l, name, y, n);
    }
    float *q = filled(l, 40 * 48, 3.0f), *k = filled(l, 2100 * 48, 3.0f), *v = filled(l, 2100 * 48, 1.0f);
    float *y = floats(l, 40 * 48);
    nn_attention(c, y, q, k, v, 2, 20, 77, 3, 16, false);
    add(l, "attention_77", y, 40 * 48);
    nn_attention(c, y, q, k, v, 1, 6, 2100, 1, 48, false);
    add(l, "attention_2100", y, 6 * 48);
    nn_attention(c, y, q, k, v, 2, 20, 20, 2, 24, true);
    add(l, "attention_causal", y, 40 * 48);
}

static void norms(list *l, nn *c)
{
    enum { N = 6 * 960 };
    float *x = filled(l, N, 3.0f), *gamma = filled(l, 960, 1.0f), *beta = filled(l, 960, 1.0f);
    float *y = floats(l, N);
    nn_layer_norm(c, y, x, gamma, beta, 6, 960, 1e-5f);
    add(l, "layer_norm", y, N);
    nn_group_norm(c, y, x, gamma, beta, 2, 30, 96, 32, 1e-5f, true);
    add(l, "group_norm_silu", y, N);
    nn_group_norm(c, y, x, gamma, beta, 1, 18, 320, 2, 1e-6f, false);
    add(l, "group_norm", y, N);
    nn_softmax(c, y, x, 6, 960);
    add(l, "softmax", y, N);
    nn_silu(c, y, x, N);
    add(l, "silu_n", y, N);
    nn_gelu(c, y, x, N);
    add(l, "gelu_n", y, N);
    nn_quick_gelu(c, y, x, N);
    add(l, "quick_gelu_n", y, N);
    nn_geglu(c, y, x, 6, 480);
    add(l, "geglu", y, N / 2);
    const double s = nn_sum16(x, N - 3), d = nn_sum16_sq(x, N - 3, 0.01);
    const uint64_t w[2] = { f64_bits(s), f64_bits(d) };
    add_words(l, "sums", w, 2, 8);
}

static void rest(list *l)
{
    enum { N = 20480 };
    float *z = filled(l, N, 4.0f), *y = floats(l, N);
    uint32_t idx[64];
    uint64_t w[64];
    const size_t k = nn_topk(idx, y, z, N, 64);
    for (size_t i = 0; i < k; i++)
        w[i] = idx[i];
    add_words(l, "topk", w, k, 4);
    for (size_t i = 0; i < 64; i++)
        w[i] = f64_bits(nn_quantile(z, N - i, (double)i / 63.0, y));
    add_words(l, "quantile", w, 64, 8);
    uint64_t *many = arena_bytes(l->work, N, sizeof *many);
    for (size_t i = 0; many && i < N; i++)
        many[i] = nn_pixel(z[i]);
    add_words(l, "pixel", many, N, 1);
    for (size_t i = 0; many && i < N; i++) {
        uint16_t h = 0;
        nn_f32_to_f16(&h, z[i] * (i % 3 ? 1.0f : 0x1p-15f));
        many[i] = h;
    }
    add_words(l, "to_f16", many, N, 2);
    for (size_t i = 0; many && i < N; i++)
        many[i] = rng_value(3, 4, i);
    add_words(l, "splitmix", many, N, 8);
    rng_randn(y, 20250118052, N, 0, N);
    add(l, "randn", y, N);
    rng_randn(y, 1, 16391, 0, 16391);
    add(l, "randn_ragged", y, 16391);
}

/* ---- networks: small ones, hash-filled, in Stable Diffusion's arrangement ---- */

static const char unet_config[] =
    "{\"in_channels\":4,\"out_channels\":4,\"sample_size\":8,\"block_out_channels\":[32,64],"
    "\"layers_per_block\":2,\"norm_num_groups\":8,\"cross_attention_dim\":24,\"attention_head_dim\":4,"
    "\"down_block_types\":[\"CrossAttnDownBlock2D\",\"DownBlock2D\"],"
    "\"up_block_types\":[\"UpBlock2D\",\"CrossAttnUpBlock2D\"]}";
static const char vae_config[] =
    "{\"block_out_channels\":[16,32],\"layers_per_block\":1,\"norm_num_groups\":8,\"latent_channels\":4}";
static const char clip_config[] =
    "{\"vocab_size\":64,\"max_position_embeddings\":16,\"hidden_size\":24,\"intermediate_size\":48,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":3}";
static const char vit_config[] =
    "{\"architecture\":\"vision_transformer\",\"img_size\":30,\"patch_size\":7,\"embed_dim\":40,\"depth\":2,"
    "\"num_heads\":5,\"mlp_ratio\":3.53,\"global_pool\":\"avg\",\"num_classes\":11,"
    "\"mean\":[0.485,0.456,0.406],\"std\":[0.229,0.224,0.225]}";

/* A tape, and what it keeps its outputs in. */
typedef struct recording { tape t; arena keep; } recording;

static recording *open_recording(list *l)
{
    enum { ROOM = 1 << 21 };
    recording *r = arena_bytes(l->work, 1, sizeof *r);
    if (r) {
        r->keep = (arena){ .base = arena_bytes(l->work, ROOM, 1), .size = ROOM };
        r->t.keep = &r->keep;
        r->t.count = 0;
    }
    return r;
}

/* One pass, and back from its output as if that were the loss's derivative by it. */
static void run_unet(list *l, nn *c, void *network)
{
    enum { N = 2 * 8 * 8 * 4, TEXT = 2 * 16 * 24, WEIGHTS = 32 * 4 * 9 };
    float *y = floats(l, N), *x = filled(l, N, 1.0f), *text = filled(l, TEXT, 1.0f);
    float *dx = floats(l, N), *dtext = floats(l, TEXT), *dw = floats(l, WEIGHTS);
    recording *kept = open_recording(l);
    const wanted conv_in = { &((unet *)network)->conv_in.w, dw };
    text_kv kv;
    const unet_inputs in = { x, 501, text, &kv, 2, 16, 8, 8 };
    if (!kept || !dw)
        return;
    const tap record = { tape_record, &kept->t, true };
    unet_text(c, network, &kv, text, 2, 16);
    unet_forward(c, network, y, x, 501, &kv, 2, 8, 8, &record);
    add(l, "unet", y, N);
    unet_backward(&(backward){ c, &conv_in, 1, NULL }, network, dx, dtext, y, &in, &kept->t, NULL);
    add(l, "unet_dlatents", dx, N);
    add(l, "unet_dtext", dtext, TEXT);
    add(l, "unet_dweight", dw, WEIGHTS);
}

static void run_vae(list *l, nn *c, void *network)
{
    enum { N = 16 * 16 * 3, MOMENTS = 8 * 8 * 8 };
    float *y = floats(l, N), *z = filled(l, 8 * 8 * 4, 1.0f), *moments = floats(l, MOMENTS);
    unsigned char *rgb = arena_bytes(l->work, N, 1);
    vae_decode(c, network, y, z, 1, 8, 8, NULL);
    add(l, "vae_decoder", y, N);
    for (size_t i = 0; rgb && i < N; i++) /* not `filled`: one tensor more would change all that follow */
        rgb[i] = (unsigned char)(rng_value(7, 2000, i) >> 56);
    if (rgb && y)
        vae_pixels(y, rgb, N);
    vae_encode(c, network, moments, y, 1, 16, 16, NULL);
    add(l, "vae_encoder", moments, MOMENTS);
    if (moments)
        vae_latents(network, moments, moments, MOMENTS / 2);
    add(l, "vae_latents", moments, MOMENTS / 2);
}

static void run_clip(list *l, nn *c, void *network)
{
    enum { N = 16 * 24 };
    float   *y = floats(l, N), *dx = floats(l, N);
    int32_t  ids[16];
    recording *kept = open_recording(l);
    if (!kept || !dx)
        return;
    const tap record = { tape_record, &kept->t, true };
    for (int i = 0; i < 16; i++)
        ids[i] = 3 * i;
    clip_forward(c, network, y, ids, 1, 16, &record);
    add(l, "text_encoder", y, N);
    clip_backward(&(backward){ .c = c }, network, dx, y, ids, 1, 16, &kept->t);
    add(l, "text_dtokens", dx, N);
}

/* Latents and their values, then the reconstruction without b_dec. */
static void run_sae(list *l, nn *c, void *network)
{
    enum { M = 70, K = 8, DIM = 24 }; /* more tokens than one block of sae_encode */
    sae *s = network;
    float    *x = filled(l, M * DIM, 2.0f), *val = floats(l, M * K);
    float    *y = floats(l, M * DIM), *row = floats(l, 2 * DIM);
    uint32_t *idx = arena_bytes(l->work, M * K, sizeof *idx), *count = arena_bytes(l->work, M, sizeof *count);
    uint64_t *w = arena_bytes(l->work, M * K, sizeof *w);
    size_t    n = 0;
    if (!w || !count || !row)
        return;
    sae_encode(c, s, idx, val, count, x, M);
    for (size_t m = 0; m < M; m++) {
        for (size_t j = 0; j < count[m]; j++)
            w[n++] = (uint64_t)idx[m * K + j] << 32 | f32_bits(val[m * K + j]);
        sae_decode_sparse(s, y + m * DIM, idx + m * K, val + m * K, count[m], row);
    }
    add_words(l, "sae_encode", w, n, 8);
    add(l, "sae_decode", y, M * DIM);
}

/* The schedule of Stable Diffusion and two steps of each prediction type. */
static void schedule(list *l)
{
#define SCALED_LINEAR "\"beta_schedule\":\"scaled_linear\",\"beta_start\":0.00085,\"beta_end\":0.012," \
                      "\"clip_sample\":false,\"steps_offset\":1"
    static const char *const configs[2] = {
        "{" SCALED_LINEAR ",\"set_alpha_to_one\":false}",
        "{" SCALED_LINEAR ",\"prediction_type\":\"v_prediction\"}",
    };
    ddim *d = arena_bytes(l->work, 1, sizeof *d);
    for (int i = 0; d && i < 2; i++) {
        float *x = filled(l, 256, 1.0f), *e = filled(l, 256, 1.0f);
        json object;
        if (!x || !e || json_open(&object, configs[i], strlen(configs[i]), "scheduler", NULL) ||
            ddim_configure(d, object, "scheduler", NULL) || ddim_set_timesteps(d, 20, NULL))
            return;
        ddim_step(d, x, e, 0, 256);
        ddim_step(d, x, e, 19, 256);
        if (!i)
            add(l, "alphas_cumprod", d->alphas_cumprod, d->train_steps);
        add(l, i ? "ddim_v" : "ddim_epsilon", x, 256);
    }
}

static int configure_sae(void *s, json o)
{
    (void)o;
    *(sae *)s = (sae){ .d = 24, .n = 200, .k = 8 };
    return SAEURON_OK;
}

/* Pictures, their rows and columns resized in both orders, then their logits. Streams of their own, as
 * run_vae's picture has. */
static void run_vit(list *l, nn *c, void *network)
{
    enum { B = 2, W = 45, H = 97, SIDE = 30, N = SIDE * SIDE * 3, CLASSES = 11 };
    unsigned char *rgb = arena_bytes(l->work, W * H * 3, 1), *small = arena_bytes(l->work, B * N, 1);
    float    *x = floats(l, B * N), *logits = floats(l, B * CLASSES);
    uint64_t *w = arena_bytes(l->work, B * N, sizeof *w);
    if (!rgb || !x || !w)
        return;
    for (size_t i = 0; i < W * H * 3; i++)
        rgb[i] = (unsigned char)(rng_value(7, 2001, i) >> 56);
    resize_bilinear(c, small, SIDE, SIDE, rgb, W, H);
    resize_bilinear(c, small + N, SIDE, SIDE, rgb, H, W);
    for (size_t i = 0; i < B * N; i++)
        w[i] = small[i];
    add_words(l, "resize", w, B * N, 1);
    vit_pixels(network, x, small, B * SIDE * SIDE);
    vit_forward(c, network, logits, NULL, x, B, NULL);
    add(l, "classifier", logits, B * CLASSES);
}

static int configure_vit(void *v, json o) { return vit_configure(v, o, "classifier", NULL); }
static int configure_unet(void *u, json o) { return unet_configure(u, o, "unet", NULL); }
static int configure_vae(void *v, json o) { return vae_configure(v, o, "vae", NULL); }
static int configure_clip(void *t, json o) { return clip_configure(t, o, "text_encoder", NULL); }

/* Every network is built and run here, in a workplace of its own: they are large structs. */
static void networks(list *l, nn *c)
{
    static const struct {
        const char *config;
        size_t size;
        int  (*configure)(void *, json);
        void (*bind)(binder *, void *);
        void (*run)(list *, nn *, void *);
    } table[] = {
        { clip_config, sizeof(clip), configure_clip, clip_bind, run_clip },
        { unet_config, sizeof(unet), configure_unet, unet_bind, run_unet },
        { vae_config, sizeof(vae), configure_vae, vae_bind, run_vae },
        { "{}", sizeof(sae), configure_sae, sae_bind, run_sae },
        { vit_config, sizeof(vit), configure_vit, vit_bind, run_vit },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *text = table[i].config;
        void *network = arena_bytes(l->work, table[i].size, 1), *memory = NULL;
        json object;
        if (network && !json_open(&object, text, strlen(text), "config", NULL) &&
            !table[i].configure(network, object) &&
            !bind_hashed(NULL, 5, DT_F32, 1, table[i].bind, network, &memory, NULL))
            table[i].run(l, c, network);
        io_free(NULL, memory);
    }
}

/* An SAE from its start through a few steps, latents dying on the way; then its state, its gradients, and the
 * reports. */
static void training(list *l, const nn *c, const char *name, bool batch_topk)
{
    enum { M = 37, DIM = 40, STEPS = 5 };
    train_config k;
    train_report r;
    trainer *t = NULL;
    trainer_tensor state[TRAINER_TENSORS];
    const size_t mark = arena_mark(l->work);
    float *x = floats(l, M * DIM);
    uint64_t *w = arena_bytes(l->work, 64, sizeof *w);
    size_t n = 0;
    train_defaults(&k, DIM);
    k.n = 1000; /* more than one block of the encoder */
    k.k = 5;
    k.batch = M;
    k.steps = 8;
    k.dead_threshold = 2 * M - 1;
    k.batch_topk = k.multi_topk = batch_topk;
    k.released_auxk = !batch_topk;
    k.seed = 3;
    if (!x || !w || trainer_open(&t, NULL, &k, c->threads, nn_isa_name(c), NULL))
        return;
    for (uint64_t step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < M * DIM; i++) /* streams of their own, as run_vae's picture has */
            x[i] = rng_symmetric(7, 2002 + step, i, 2.0f) + rng_symmetric(7, 2001, i % DIM, 1.0f);
        const size_t tokens = M - (size_t)step % 2;
        if ((step == 0 && trainer_start(t, x, tokens, NULL)) || trainer_step(t, x, tokens, &r, NULL))
            break;
        w[n++] = f64_bits(r.loss);
        w[n++] = f64_bits(r.auxk);
        w[n++] = r.dead;
    }
    trainer_tensors(t, state);
    for (size_t i = 0; i < TRAINER_TENSORS; i++) {
        uint64_t h = 0;
        for (size_t j = 0; j < state[i].count; j++) {
            const float    *f = state[i].data;
            const uint64_t *u = state[i].data;
            h = rng_mix(h + (state[i].type == DT_F32 ? f32_bits(f[j]) : u[j]) + 1);
        }
        w[n++] = h;
    }
    trainer_close(t);
    add_words(l, name, w, n, 8);
    arena_release(l->work, mark);
}

/* ---- the list, and what it should be ---- */

static void compute(list *l, nn *c, arena *work)
{
    *l = (list){ .work = work };
    arena_release(work, 0);
    functions(l);
    products(l, c);
    norms(l, c);
    rest(l);
    networks(l, c);
    schedule(l);
    training(l, c, "train_batch_topk", true);
    training(l, c, "train_topk", false);
}

/* Lines of l that are not as expected, each told on stdout. */
static int differences(const list *l, const nn *c)
{
    int different = 0;
    for (int i = 0; i < l->n || i < EXPECTED; i++) {
        const bool  have = i < l->n, wants = i < EXPECTED;
        const char *name = have ? l->name[i] : "nothing", *asked = wants ? expected[i].name : "nothing";
        const uint64_t digest = have ? l->digest[i] : 0, right = wants ? expected[i].digest : 0;
        if (have && wants && !strcmp(name, asked) && digest == right)
            continue;
        printf("%s, %d threads: %s is %016" PRIx64 ", should be %s %016" PRIx64 "\n", nn_isa_name(c),
               c->threads,
               name, digest, asked, right);
        different++;
    }
    return different;
}

/* One list; prints it when asked. */
static int test_one(const char *isa, int threads, bool show, arena *work, list *l)
{
    nn c;
    if (!nn_init(&c, isa, threads, work))
        return -1;
    compute(l, &c, work);
    for (int i = 0; show && i < l->n; i++)
        printf("D(%s, 0x%016" PRIx64 ")\n", l->name[i], l->digest[i]);
    return show ? 0 : differences(l, &c);
}

/* Whether a name is in nn_isa_list(). */
static bool built_in(const char *isa)
{
    const size_t n = strlen(isa);
    for (const char *p = nn_isa_list(); *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && !strncmp(p, isa, n))
            return true;
    return false;
}

int selftest_run(const char *isa, int threads, bool show, bool quiet)
{
    static const size_t size = (size_t)48 << 20;
    char   names[128];
    int    passed = 0, failed = 0, skipped = 0;
    list   l;
    arena  work = { .base = io_alloc(NULL, size, 1), .size = size };
    if (!work.base) {
        fprintf(stderr, "saeuron selftest: no memory for %zu bytes\n", size);
        return 1;
    }
    snprintf(names, sizeof names, "%s", isa || show ? isa ? isa : "" : nn_isa_list());
    for (char *name = names, *comma; name; name = comma ? comma + 1 : NULL) {
        if ((comma = strchr(name, ',')) != NULL)
            *comma = 0;
        const int first = isa || show ? threads : 1, last = isa || show ? threads : 2;
        for (int t = first; t <= last; t++) {
            const int  wrong = test_one(*name ? name : NULL, t, show, &work, &l);
            const bool skip = wrong < 0 && !show && built_in(name);
            if (wrong < 0 && !skip) {
                nn c;
                saeuron_error e = { 0 };
                choose_kernels(&c, isa, t, NULL, &e);
                fprintf(stderr, "saeuron selftest: %s\n", e.text);
            }
            if (skip && !quiet && t == first)
                printf("SKIPPED %s: not on this CPU\n", name);
            passed += wrong == 0;
            failed += wrong != 0 && !skip;
            skipped += skip;
        }
    }
    io_free(NULL, work.base);
    if (!show)
        printf("contract %d, %d operations a list: %d passed, %d failed", SAEURON_CONTRACT_VERSION,
               (int)EXPECTED,
               passed, failed);
    if (!show && skipped)
        printf(", %d skipped", skipped);
    if (!show)
        putchar('\n');
    return failed ? 1 : 0;
}
