/* test_vae.c: the VAE: diffusers' decoder and encoder in float64, its memory, its files as people have them.
 *
 * Not here: its layers (test_forward.c), saeuron_encode_image (test_saeuron.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "goldens.h"
#include "shots.h"
#include "arithmetic/rng.h"
#include "vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const saeuron_host host; /* malloc and files */
static saeuron_error err;

/* H, W: sides of the latents. shift: the golden's, z / scaling_factor + shift, which the program does not
 * know: here it is put into what goes in and taken from what comes out. */
typedef struct vae_run { vae v; watcher w; size_t H, W; float shift; } vae_run;

static void run_decoder(nn *c, void *user)
{
    const vae_run *r = user;
    const size_t mark = arena_mark(c->work), scale = (size_t)1 << (r->v.levels - 1);
    const tap seen = { watch, (void *)&r->w, true };
    char name[64];
    snprintf(name, sizeof name, "%s.latents", r->w.network);
    float *z = input_map(c->work, 2, r->v.latent_channels, r->H * r->W, name);
    for (size_t i = 0; z && i < 2 * r->H * r->W * r->v.latent_channels; i++)
        z[i] += r->shift * r->v.scaling_factor;
    float *y = arena_floats(c->work, 2 * r->H * r->W * scale * scale * 3);
    vae_decode(c, &r->v, y, z, 2, r->H, r->W, &seen);
    arena_release(c->work, mark);
}

static void run_encoder(nn *c, void *user)
{
    const vae_run *r = user;
    const size_t mark = arena_mark(c->work), scale = (size_t)1 << (r->v.levels - 1), H = r->H * scale;
    const size_t W = r->W * scale;
    const size_t P = 2 * r->H * r->W, C = r->v.latent_channels;
    const tap seen = { watch, (void *)&r->w, true };
    char name[64];
    snprintf(name, sizeof name, "%s.image", r->w.network);
    float *drawn = input(c->work, 2 * 3 * H * W, 1.0f, name);
    float *x = arena_floats(c->work, 2 * 3 * H * W);
    float *y = arena_floats(c->work, P * 2 * C);
    float *z = arena_floats(c->work, P * C);
    if (x)
        nn_from_nchw(x, drawn, 2, 3, H * W);
    vae_encode(c, &r->v, y, x, 2, H, W, &seen);
    if (y && z) {
        snprintf(name, sizeof name, "%s.moments", r->w.network);
        check_truth(r->w.g, name, y, P * 2 * C);
        for (size_t i = 0; i < P * 2 * C; i++)
            y[i] -= r->shift;
        for (size_t p = 0; p < P; p++)
            vae_latents(&r->v, z + p * C, y + p * 2 * C, C);
        snprintf(name, sizeof name, "%s.mode", r->w.network);
        check_truth(r->w.g, name, z, P * C);
    }
    arena_release(c->work, mark);
}

/* With attention in the middle and convolutions beside the latents, as SD has them, and without both. */
static void vae_goldens(tensors *g, void (*run)(nn *, void *))
{
    static const struct { const char *name; size_t H, W; } cases[] = {
        { "vae15", 8, 8 }, { "vae_plain", 6, 10 }
    };
    static vae_run r;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        io_file f;
        void *memory = NULL;
        r = (vae_run){ .w = { g, cases[i].name }, .H = cases[i].H, .W = cases[i].W };
        const json v = config_open(&f, cases[i].name);
        config c = { .object = v, .path = cases[i].name, .err = &err };
        r.shift = config_float(&c, "shift_factor", 0);
        if (vae_configure(&r.v, v, cases[i].name, &err) ||
            bind_hashed(&host, GOLDEN_SEED, DT_F32, 1, vae_bind, &r.v, &memory, &err))
            CHECK(false, "%s", err.text);
        else
            planned(run, &r);
        io_free(&host, memory);
        io_close(&f);
    }
}

static void vae_decoder(void)
{
    tensors g;
    if (!golden_open(&g, "vae"))
        return;
    vae_goldens(&g, run_decoder);
    golden_close(&g);
}

/* Every module of the encoder, the moments and their mode; and, to the bit, what it takes each byte of a
 * picture for. */
static void vae_encoder(void)
{
    tensors g;
    unsigned char bytes[256];
    float x[256];
    if (!golden_open(&g, "vae_encoder"))
        return;
    for (size_t i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    vae_pixels(x, bytes, 256);
    check_bits(&g, "image", x, 256);
    vae_goldens(&g, run_encoder);
    golden_close(&g);
}

/* Stable Diffusion's own VAE at 512 x 512, planned without weights: one image takes at most 1.2 GB to decode,
 * 0.7 GB to encode. */
static void vae_memory(void)
{
    static const char text[] = "{\"block_out_channels\": [128, 256, 512, 512], \"layers_per_block\": 2}";
    static vae v;
    json   object;
    arena  keep = { 0 }, work[2] = { { 0 }, { 0 } };
    binder b = { .keep = &keep, .err = &err };
    nn c;
    CHECK(!json_open(&object, text, sizeof text - 1, "config", &err) &&
              !vae_configure(&v, object, "config", &err),
          "%s", err.text);
    vae_bind(&b, &v);
    CHECK(!b.code && keep.peak / sizeof(float) > 83653863, "the plan is of another VAE: %zu parameters",
          keep.peak / sizeof(float));
    for (int threads = 1; threads <= 16; threads *= 4) { /* each has its own scratch in attention */
        CHECK(nn_init(&c, NULL, threads, &work[0]), "nn_init failed");
        vae_decode(&c, &v, NULL, NULL, 1, 64, 64, NULL);
        CHECK(nn_init(&c, NULL, threads, &work[1]), "nn_init failed");
        vae_encode(&c, &v, NULL, NULL, 1, 512, 512, NULL);
        CHECK(!work[0].failed && work[0].peak > 500000000 && work[0].peak <= 1200000000,
              "%d threads: decoding takes %zu bytes", threads, work[0].peak);
        CHECK(!work[1].failed && work[1].peak > 250000000 && work[1].peak <= 700000000,
              "%d threads: encoding takes %zu bytes", threads, work[1].peak);
        test_note("%d threads: %zu bytes to decode, %zu to encode", threads, work[0].peak, work[1].peak);
    }
}

/* Decoding z [C,h,w] through the model's VAE, and how far that lies from the picture rgb, in levels a
 * byte. */
typedef struct decoding {
    const vae *v;
    const float *z;
    const unsigned char *rgb;
    size_t h, w;
    double apart;
} decoding;

static void run_decoding(nn *c, void *user)
{
    decoding *d = user;
    const size_t mark = arena_mark(c->work), P = d->h * d->w, C = d->v->latent_channels;
    const size_t n = 3 * P << 2 * (d->v->levels - 1);
    float *x = arena_floats(c->work, P * C), *y = arena_floats(c->work, n);
    if (x)
        nn_from_nchw(x, d->z, 1, C, P);
    vae_decode(c, d->v, y, x, 1, d->h, d->w, NULL);
    d->apart = 0;
    for (size_t i = 0; y && i < n; i++)
        d->apart += abs((int)nn_pixel(y[i]) - (int)d->rgb[i]) / (double)n;
    arena_release(c->work, mark);
}

/* A picture of the trained model, encoded and decoded again, is nearly itself: far nearer than what any other
 * latents decode to. A wrong scale, or channels or rows out of order, could pass where each half is tested
 * alone. */
static void vae_round_trip(void)
{
    static const char *const texts[] = { "An image of Cats in Sketch style." };
    saeuron_generate_options o = { .prompts = texts, .count = 1, .steps = 20 };
    saeuron_context *x = NULL;
    size_t W, H, shape[3];
    if (!io_exists(&host, MODEL "/model_index.json")) {
        test_skip("there is no " MODEL " here");
        return;
    }
    if (saeuron_open(&x, &host, MODEL, &err) || saeuron_image_size(x, &o, &W, &H, &err) ||
        saeuron_latent_size(x, W, H, shape, &err)) {
        CHECK(false, "%s", err.text);
        saeuron_close(x);
        return;
    }
    const size_t n = shape[0] * shape[1] * shape[2];
    unsigned char *rgb = malloc(3 * W * H);
    float *moments = malloc(2 * n * sizeof *moments), *other = malloc(n * sizeof *other);
    CHECK(rgb && moments && other, "no memory");
    if (rgb && moments && other) {
        CHECK(!saeuron_generate(x, &o, rgb, &err) && !saeuron_encode_image(x, rgb, W, H, moments, &err), "%s",
              err.text);
        saeuron_mode(x, moments, moments, n);
        CHECK(rng_randn(other, 1, n, 0, n), "no noise");
        decoding itself = { &x->vae, moments, rgb, shape[1], shape[2], 0 },
                 noise = { &x->vae, other, rgb, shape[1], shape[2], 0 };
        planned(run_decoding, &itself);
        planned(run_decoding, &noise);
        CHECK(itself.apart < noise.apart / 10,
              "the picture comes back %.2f levels a byte from itself, random latents give %.2f", itself.apart,
              noise.apart);
        test_note("%.2f levels a byte from itself, random latents %.2f", itself.apart, noise.apart);
    }
    free(other);
    free(moments);
    free(rgb);
    saeuron_close(x);
}

static void rename_tail(tiny_list *l, const char *from, const char *to)
{
    size_t found = 0;
    for (size_t i = 0; i < l->count; i++) {
        char *at = strstr(l->at[i].name, from), rest[160];
        if (!at)
            continue;
        snprintf(rest, sizeof rest, "%s", at + strlen(from));
        snprintf(at, sizeof l->at[i].name - (size_t)(at - l->at[i].name), "%s%s", to, rest);
        found++;
    }
    CHECK(found, "no tensor's name holds %s", from);
}

/* SD 1.5's folders: the VAE's attention under its old names, in both its halves, position_ids, names without
 * text_model. */
static void old_names(void)
{
    static tiny_list l;
    shot plain, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    done(x);
    tiny_make(&files);
    tiny_tensors(&l, "vae");
    rename_tail(&l, "attentions.0.to_q", "attentions.0.query");
    rename_tail(&l, "attentions.0.to_k", "attentions.0.key");
    rename_tail(&l, "attentions.0.to_v", "attentions.0.value");
    rename_tail(&l, "attentions.0.to_out.0", "attentions.0.proj_attn");
    tiny_save(&files, VAE, &l, 0, l.count, "{\"format\":\"pt\"}");
    tiny_drop(&l);
    tiny_tensors(&l, "text_encoder");
    tiny_tensor_add(&l, "text_model.embeddings.position_ids", DT_I64, 2, (size_t[]){ 1, 16 });
    tiny_save(&files, TEXT, &l, 0, l.count, NULL);
    tiny_drop(&l);
    x = opened(NULL, 1);
    if (x)
        must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(same(&plain, &s), "old names change the picture");
    saeuron_close(x);
    tiny_tensors(&l, "text_encoder");
    rename_tail(&l, "text_model.", "");
    tiny_save(&files, TEXT, &l, 0, l.count, NULL);
    tiny_drop(&l);
    x = opened(NULL, 1);
    if (x)
        must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(same(&plain, &s), "names without text_model change the picture");
    done(x);
}

/* A VAE saved without its encoder draws the same picture and says why it encodes none; quant_conv may be left
 * over. Half an encoder is an error as any missing tensor is (tensor_errors). */
static void decoder_only(void)
{
    static tiny_list l, kept;
    static float moments[2 * TINY_LATENT];
    saeuron_error e = { 0 };
    shot plain, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    done(x);
    for (int with_quant_conv = 0; with_quant_conv < 2; with_quant_conv++) {
        tiny_make(&files);
        tiny_tensors(&l, "vae");
        kept.count = 0;
        for (size_t i = 0; i < l.count; i++)
            if (strncmp(l.at[i].name, "encoder.", 8) &&
                (with_quant_conv || strncmp(l.at[i].name, "quant_conv.", 11)))
                kept.at[kept.count++] = l.at[i];
        CHECK(kept.count < l.count - 20, "%zu of %zu tensors are the decoder's", kept.count, l.count);
        tiny_save(&files, VAE, &kept, 0, kept.count, NULL);
        tiny_drop(&l);
        x = opened(NULL, 1);
        if (x) {
            must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
            CHECK(same(&plain, &s), "without the encoder the picture is another");
            check_error("no encoder", made_up_moments(x, moments, &e), SAEURON_EFORMAT, &e,
                        VAE "|no encoder");
            must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
            CHECK(same(&plain, &s), "after the error the picture is another");
        }
        done(x);
    }
}

/* The VAE's attention before diffusers 0.18, in both shapes it had; a reader that takes 1x1 kernels for
 * another shape fails here. */
static void vae_attention_names(void)
{
    static tiny_list l;
    picture plain;
    tidy(&plain);
    for (int as_conv = 0; as_conv < 2; as_conv++) {
        tiny_tensors(&l, "vae");
        rename_part(&l, "attentions.0.to_q.", "attentions.0.query.");
        rename_part(&l, "attentions.0.to_k.", "attentions.0.key.");
        rename_part(&l, "attentions.0.to_v.", "attentions.0.value.");
        rename_part(&l, "attentions.0.to_out.0.", "attentions.0.proj_attn.");
        for (size_t i = 0; i < l.count; i++)
            if (as_conv && strstr(l.at[i].name, "attentions.0.") && l.at[i].ndim == 2)
                l.at[i].shape[2] = l.at[i].shape[3] = 1, l.at[i].ndim = 4;
        save(&l, VAE);
        must_be(as_conv ? "the old names as convolutions" : "the old names", &plain);
    }
    tiny_tensors(&l, "vae"); /* under both names: which one is meant? */
    tiny_tensor_add(&l, "decoder.mid_block.attentions.0.query.weight", DT_F32, 2, (size_t[]){ 16, 16 });
    save(&l, VAE);
    open_fails("both names", SAEURON_EFORMAT, "attentions.0.query.weight|unknown");
    tiny_free(&files);
}

const test_case vae_tests[] = {
    { "vae_decoder", vae_decoder }, { "vae_encoder", vae_encoder }, { "vae_memory", vae_memory },
    { "vae_round_trip", vae_round_trip }, { "old_names", old_names },
    { "vae_attention_names", vae_attention_names }, { "decoder_only", decoder_only }, { NULL, NULL },
};
