/* test_model.c: the pipeline through its public interface, on the tiny model of tiny.h: the same bits however they are made,
 * every form of forgetting against a plain loop, every error named, every allocation failing once.
 *
 * Not here: whether the bits are PyTorch's (test_golden.c), files themselves (test_io.c), the program (test_cli.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "tiny.h"
#include "arithmetic/rng.h"
#include "forget.h"

#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#define MOST 6 /* images of one call */
#define UNET "unet/diffusion_pytorch_model.safetensors"
#define VAE  "vae/diffusion_pytorch_model.safetensors"
#define TEXT "text_encoder/model.safetensors"

/* ---- help ---- */

static tiny files;  /* each test makes and frees its own copy of the model */

/* Opens the tiny model; a failure to open fails the test, and NULL comes back. */
static saeuron_context *opened(const char *isa, int threads)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    saeuron_host  host = tiny_host(&files);
    host.isa = isa;
    host.threads = threads;
    CHECK(saeuron_open(&x, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
    return x;
}

static saeuron_context *fresh(void)
{
    tiny_make(&files);
    saeuron_context *x = opened(NULL, 1);
    if (!x) { /* not even the model as it was made: every test of this suite would crash */
        printf("the tiny model does not open; 0 passed, 1 failed\n");
        exit(1);
    }
    return x;
}

/* Closes, and checks that nothing stays: no memory, no mapping, nothing written outside its block. */
static void done(saeuron_context *x)
{
    saeuron_close(x);
    CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0, "%ld blocks and %ld maps are left, %ld blocks torn", files.live, files.mapped, files.torn);
    tiny_free(&files);
}

static int try_forget(saeuron_context *x, const char *concept, size_t top, double percentile, saeuron_error *e)
{
    const saeuron_forget_options o = { .name = concept, .top = top, .percentile = percentile };
    return saeuron_forget(x, &o, e);
}

static void must_forget(saeuron_context *x, const char *concept, size_t top)
{
    saeuron_error e = { 0 };
    CHECK(try_forget(x, concept, top, 0, &e) == SAEURON_OK, "%s", e.text);
}

static const char *const prompts[MOST] = { "An image of Cats in Sketch style.", "dog", "the sea", "An image of Dogs.", "", "in Van Gogh style" };

/* What a call draws. */
typedef struct shot { float latents[MOST * TINY_LATENT]; unsigned char rgb[MOST * TINY_PIXELS]; } shot;

static int shoot(saeuron_context *x, saeuron_generate_options o, shot *s, saeuron_error *e)
{
    memset(s, 0, sizeof *s);
    if (!o.prompts)
        o.prompts = prompts;
    o.latents = s->latents;
    return saeuron_generate(x, &o, s->rgb, e);
}

static void must_shoot(saeuron_context *x, saeuron_generate_options o, shot *s)
{
    saeuron_error e = { 0 };
    CHECK(shoot(x, o, s, &e) == SAEURON_OK, "%s", e.text);
}

static bool same(const shot *a, const shot *b) { return !memcmp(a, b, sizeof *a); }

/* An error is one line that names what it is about. */
static void check_error(const char *what, int code, int wanted, const saeuron_error *e, const char *words)
{
    CHECK(code == wanted && e->code == wanted && test_holds(e->text, words) && !strchr(e->text, '\n') && strlen(e->text) > 8,
          "%s: code %d (wanted %d), \"%s\" should hold %s", what, code, wanted, e->text, words);
}

/* saeuron_open must fail, leave nothing behind, and say so. */
static void open_fails(const char *what, int wanted, const char *words)
{
    saeuron_context *x = (saeuron_context *)(void *)&files;
    saeuron_error e = { 0 };
    const saeuron_host host = tiny_host(&files);
    const int code = saeuron_open(&x, &host, "tiny", &e);
    check_error(what, code, wanted, &e, words);
    CHECK(code == SAEURON_OK || (!x && files.live == 0 && files.mapped == 0), "%s: %ld blocks and %ld maps are left", what, files.live, files.mapped);
    if (!code)
        saeuron_close(x);
}

/* ---- the same bits, however they are made ---- */

/* Rows of the last UNet pass, seen at conv_out. */
static int count_rows(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    (void)step, (void)first, (void)values, (void)kind;
    if (!strcmp(name, "unet.conv_out"))
        *(size_t *)user = shape[0];
    return 0;
}

/* A chain split by threads, rows given to the wrong thread, or state shared between threads, shows in some bit of guided, edited
 * sampling: with fewer and more threads than rows, and rows that do not divide by them. A tap sees the whole batch all the same. */
static void threads_bits(void)
{
    static const struct { size_t count; int unguided; } calls[] = { { 1, 0 }, { 2, 0 }, { 3, 0 }, { 5, 1 } };
    static shot one[4], many;
    size_t rows;
    tiny_make(&files);
    for (int threads = 1; threads <= 4; threads++) {
        saeuron_context *x = opened(NULL, threads);
        must_forget(x, "Sketch", 0);
        must_forget(x, "Cats", 0);
        for (size_t i = 0; i < 4; i++) {
            saeuron_generate_options o = { .count = calls[i].count, .seed = 5, .steps = 2, .map_steps = 1, .guidance = calls[i].unguided ? 1 : 3, .has_guidance = 1 };
            must_shoot(x, o, threads == 1 ? &one[i] : &many);
            CHECK(threads == 1 || same(&one[i], &many), "%d threads draw %zu images with other bits than one", threads, calls[i].count);
            o.tap = count_rows;
            o.tap_user = &rows;
            must_shoot(x, o, &many);
            CHECK(same(&one[i], &many) && rows == (calls[i].unguided ? 1 : 2) * calls[i].count, "%d threads: a tap changes bits, or sees %zu rows", threads, rows);
        }
        saeuron_close(x);
    }
    done(NULL);
}

/* Every instruction set built in draws the reference's bits; saeuron_kernels says which was used. */
static void isa_bits(void)
{
    char  list[128], *isa = list;
    shot  first, other;
    tiny_make(&files);
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (bool more = true; more;) {
        nn c;
        const size_t n = strcspn(isa, ", ");
        more = isa[n] != 0;
        isa[n] = 0;
        if (nn_init(&c, isa, 1, NULL)) {
            saeuron_context *x = opened(isa, 1);
            CHECK(!strcmp(saeuron_kernels(x), isa), "asked for %s, got %s", isa, saeuron_kernels(x));
            must_forget(x, "Sketch", 0);
            must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 1, .map_steps = 1 }, isa == list ? &first : &other);
            CHECK(isa == list || same(&first, &other), "%s draws other bits than %s", isa, list);
            saeuron_close(x);
        } else {
            test_note("%s does not run here", isa);
        }
        isa += n + 1 + strspn(isa + n + 1, ", ");
    }
    done(NULL);
    tiny_make(&files);
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    saeuron_host host = tiny_host(&files);
    host.isa = "mmx";
    check_error("unknown kernels", saeuron_open(&x, &host, "tiny", &e), SAEURON_EUSAGE, &e, "mmx|built in");
    done(x);
}

/* An image does not depend on its neighbours: any batch gives the same bits, the last ragged one too. */
static void batch_bits(void)
{
    static const size_t batches[] = { 2, 3, 5, 0 };
    shot one, many;
    saeuron_context *x = fresh();
    must_forget(x, "Van Gogh", 20);
    must_forget(x, "Dogs", 0);
    must_shoot(x, (saeuron_generate_options){ .count = 5, .batch = 1 }, &one);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        must_shoot(x, (saeuron_generate_options){ .count = 5, .batch = batches[i] }, &many);
        CHECK(same(&one, &many), "batches of %zu draw other bits than of 1", batches[i]);
    }
    done(x);
}

/* Image j of a run is the image made alone with noise_index j; different images start from different noise. */
static void noise_index(void)
{
    shot all, alone;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 4, .seed = 3, .noise_index = 2 }, &all);
    for (size_t j = 0; j < 4; j++) {
        must_shoot(x, (saeuron_generate_options){ .prompts = prompts + j, .count = 1, .seed = 3, .noise_index = 2 + j }, &alone);
        CHECK(!memcmp(alone.latents, all.latents + j * TINY_LATENT, TINY_LATENT * sizeof(float)), "image %zu differs when made alone", j);
        CHECK(!memcmp(alone.rgb, all.rgb + j * TINY_PIXELS, TINY_PIXELS), "the pixels of image %zu differ when made alone", j);
    }
    must_shoot(x, (saeuron_generate_options){ .prompts = prompts, .count = 1, .seed = 3, .noise_index = 3 }, &alone);
    CHECK(memcmp(alone.latents, all.latents, TINY_LATENT * sizeof(float)), "noise_index changes nothing");
    must_shoot(x, (saeuron_generate_options){ .prompts = prompts, .count = 1, .seed = 4, .noise_index = 2 }, &alone);
    CHECK(memcmp(alone.latents, all.latents, TINY_LATENT * sizeof(float)), "the seed changes nothing");
    saeuron_error e = { 0 };
    check_error("noise_index at the end of uint64", shoot(x, (saeuron_generate_options){ .count = 1, .noise_index = UINT64_MAX }, &alone, &e), SAEURON_EUSAGE, &e, "noise");
    done(x);
}

/* Noise handed in, [count,C,h,w] as diffusers takes it, is the same start as the seed's. */
static void noise_given(void)
{
    static float noise[3 * TINY_LATENT];
    shot seeded, given;
    saeuron_context *x = fresh();
    CHECK(rng_randn(noise, 11, 3 * TINY_LATENT, 0, 3 * TINY_LATENT), "randn refused");
    must_shoot(x, (saeuron_generate_options){ .count = 3, .seed = 11, .batch = 2 }, &seeded);
    must_shoot(x, (saeuron_generate_options){ .count = 3, .noise = noise, .batch = 2 }, &given);
    CHECK(same(&seeded, &given), "the same noise, handed in, draws other bits");
    noise[5] += 1;
    must_shoot(x, (saeuron_generate_options){ .count = 3, .noise = noise }, &given);
    CHECK(!same(&seeded, &given), "the noise handed in is not used");
    done(x);
}

/* Texts encoded before draw what the texts themselves draw, prompts and negative prompt alike, whatever batch and guidance; an
 * encoder that ran on `prompts` all the same would show in the third call. */
static void embeds_given(void)
{
    static float all[5 * 16 * 16], negative[16 * 16];
    static const char *const others[] = { "dog", "dog", "dog", "dog", "dog" };
    shot said, given;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    const size_t one = saeuron_text_length(x) * saeuron_text_width(x);
    CHECK(one == 16 * 16, "a text has %zu values", one);
    for (size_t i = 0; i < 5; i++)
        CHECK(saeuron_encode_text(x, prompts[i], all + i * one, &e) == SAEURON_OK, "%s", e.text);
    CHECK(saeuron_encode_text(x, "the sea", negative, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x, (saeuron_generate_options){ .count = 5, .batch = 2, .negative_prompt = "the sea" }, &said);
    must_shoot(x, (saeuron_generate_options){ .count = 5, .batch = 3, .prompt_embeds = all, .negative_prompt_embeds = negative }, &given);
    CHECK(same(&said, &given), "texts encoded before draw other bits");
    must_shoot(x, (saeuron_generate_options){ .count = 5, .batch = 3, .prompts = others, .prompt_embeds = all, .negative_prompt = "the sea" }, &given);
    CHECK(same(&said, &given), "prompt_embeds are not used where there are prompts");
    must_shoot(x, (saeuron_generate_options){ .count = 5, .batch = 3, .negative_prompt_embeds = negative }, &given);
    CHECK(same(&said, &given), "negative_prompt_embeds alone draw other bits");
    must_shoot(x, (saeuron_generate_options){ .count = 5, .guidance = 1, .has_guidance = 1 }, &said);
    must_shoot(x, (saeuron_generate_options){ .count = 5, .guidance = 1, .has_guidance = 1, .prompt_embeds = all, .negative_prompt_embeds = negative }, &given);
    CHECK(same(&said, &given), "without guidance, texts encoded before draw other bits");
    saeuron_generate_options o = { .count = 5, .prompt_embeds = all };
    CHECK(saeuron_generate(x, &o, given.rgb, &e) == SAEURON_OK, "without prompts: %s", e.text);
    all[3 * one + 7] = nn_f16_to_f32(0x7e00);
    check_error("NaN in prompt_embeds", shoot(x, o, &given, &e), SAEURON_ENAN, &e, "prompt_embeds|image 3");
    negative[0] = nn_f16_to_f32(0x7c00);
    o = (saeuron_generate_options){ .count = 1, .negative_prompt_embeds = negative };
    check_error("infinity in negative_prompt_embeds", shoot(x, o, &given, &e), SAEURON_ENAN, &e, "negative_prompt_embeds");
    done(x);
}

/* An SAE that stays loaded without anything to forget changes no bit, and forgets again. */
static void rests(void)
{
    shot plain, forgot, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &plain);
    must_forget(x, "Sketch", 60);
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &forgot);
    rest_hooks(x);
    CHECK(x->hooks == 1 && !ablation_active(x->hook[0]) && x->hook[0]->stats.steps, "the SAE is not kept");
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &s);
    CHECK(same(&plain, &s), "at rest, a hook changes bits");
    must_forget(x, "Watercolor", 60);
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &s);
    CHECK(!same(&plain, &s) && !same(&forgot, &s), "the second concept is not forgotten");
    rest_hooks(x);
    must_forget(x, "Sketch", 60);
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &s);
    CHECK(same(&forgot, &s), "the first concept is not forgotten alike again");
    done(x);
}

/* A guidance of at most 1 runs one half of the batch, whatever it is; above, both. The default is concepts.json's. */
static void guidance(void)
{
    shot plain, other;
    size_t rows = 0;
    saeuron_context *x = fresh();
    saeuron_generate_options o = { .count = 2, .guidance = 1, .has_guidance = 1, .tap = count_rows, .tap_user = &rows };
    must_shoot(x, o, &plain);
    CHECK(rows == 2, "guidance 1 ran %zu rows for 2 images", rows);
    o.guidance = 0.5;
    o.negative_prompt = "dog";
    must_shoot(x, o, &other);
    CHECK(rows == 2 && same(&plain, &other), "guidance 0.5 is not the unguided picture");
    o.has_guidance = 0;
    must_shoot(x, o, &other);
    CHECK(rows == 4 && !same(&plain, &other), "the default guidance, 3, ran %zu rows", rows);
    plain = other;
    o.has_guidance = 1;
    o.guidance = 3;
    must_shoot(x, o, &other);
    CHECK(same(&plain, &other), "guidance 3 is not the default of concepts.json");
    o.negative_prompt = NULL;
    must_shoot(x, o, &other);
    CHECK(!same(&plain, &other), "the negative prompt changes nothing");
    plain = other;
    o.negative_prompt = "";
    must_shoot(x, o, &other);
    CHECK(same(&plain, &other), "no negative prompt is not the empty one");
    done(x);
}

/* ---- what a pass shows ---- */

typedef struct seen_list { char line[96][112]; size_t count; } seen_list;

static int note_tap(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    seen_list *l = user;
    CHECK(nn_first_bad(values, shape[0] * shape[1] * shape[2] * shape[3]) == shape[0] * shape[1] * shape[2] * shape[3], "%s is not finite", name);
    if (l->count < 96)
        snprintf(l->line[l->count], sizeof l->line[0], "%s %d %zu [%zu,%zu,%zu,%zu] %s", name, step, first, shape[0], shape[1], shape[2], shape[3],
                 kind == SAEURON_TAP_TOKENS ? "tokens" : "image");
    l->count++;
    return 0;
}

/* The modules of one pass in diffusers' order, by hand from its sources: a dump's file names and shapes. */
static void tap_names(void)
{
    static const char *const in_unet[] = {
        "time_embedding -1- [1,1,1,64] tokens", "conv_in [2,8,8,16]", "down_blocks.0.resnets.0 [2,8,8,16]", "down_blocks.0.resnets.1 [2,8,8,16]",
        "down_blocks.0.downsamplers.0 [2,4,4,16]", "down_blocks.1.resnets.0 [2,4,4,32]", "T down_blocks.1.attentions.0",
        "down_blocks.1.resnets.1 [2,4,4,32]", "T down_blocks.1.attentions.1", "mid_block.resnets.0 [2,4,4,32]", "T mid_block.attentions.0",
        "mid_block.resnets.1 [2,4,4,32]", "up_blocks.0.resnets.0 [2,4,4,32]", "T up_blocks.0.attentions.0", "up_blocks.0.resnets.1 [2,4,4,32]",
        "T up_blocks.0.attentions.1", "up_blocks.0.resnets.2 [2,4,4,32]", "T up_blocks.0.attentions.2", "up_blocks.0.upsamplers.0 [2,8,8,32]",
        "up_blocks.1.resnets.0 [2,8,8,16]", "up_blocks.1.resnets.1 [2,8,8,16]", "up_blocks.1.resnets.2 [2,8,8,16]", "conv_out [2,8,8,4]",
    };
    static const char *const in_vae[] = {
        "decoder.conv_in [1,8,8,16]", "decoder.mid_block [1,8,8,16]", "decoder.up_blocks.0.resnets.0 [1,8,8,16]", "decoder.up_blocks.0.resnets.1 [1,8,8,16]",
        "decoder.up_blocks.0.upsamplers.0 [1,16,16,16]", "decoder.up_blocks.1.resnets.0 [1,16,16,8]", "decoder.up_blocks.1.resnets.1 [1,16,16,8]",
        "decoder.conv_out [1,16,16,3]",
    };
    static const char *const parts[] = { "transformer_blocks.0.attn1", "transformer_blocks.0.attn2", "transformer_blocks.0.ff" };
    static seen_list l;
    static char want[96][112];
    size_t n = 0;
    shot   s;
    l.count = 0;
    for (int i = 0; i < 2; i++)
        snprintf(want[n++], sizeof want[0], "text_encoder.encoder.layers.%d -1 0 [2,16,1,16] tokens", i);
    snprintf(want[n++], sizeof want[0], "prompt_embeds -1 0 [2,16,1,16] tokens");
    snprintf(want[n++], sizeof want[0], "noise -1 0 [1,8,8,4] image");
    for (size_t i = 0; i < sizeof in_unet / sizeof *in_unet; i++) {
        char name[64];
        const size_t space = strcspn(in_unet[i] + 2, " ") + 2;
        snprintf(name, sizeof name, "%.*s", (int)space, in_unet[i]);
        if (in_unet[i][0] == 'T') {
            for (size_t p = 0; p < 3; p++)
                snprintf(want[n++], sizeof want[0], "unet.%s.%s 0 0 [2,16,1,32] tokens", in_unet[i] + 2, parts[p]);
            snprintf(want[n++], sizeof want[0], "unet.%s 0 0 [2,4,4,32] image", in_unet[i] + 2);
        } else if (strstr(in_unet[i], "tokens")) {
            snprintf(want[n++], sizeof want[0], "unet.time_embedding 0 0 [1,1,1,64] tokens");
        } else {
            snprintf(want[n++], sizeof want[0], "unet.%s 0 0 %s image", name, in_unet[i] + space + 1);
        }
    }
    snprintf(want[n++], sizeof want[0], "noise_pred 0 0 [1,8,8,4] image");
    snprintf(want[n++], sizeof want[0], "latents 0 0 [1,8,8,4] image");
    for (size_t i = 0; i < sizeof in_vae / sizeof *in_vae; i++) {
        const size_t space = strcspn(in_vae[i], " ");
        snprintf(want[n++], sizeof want[0], "vae.%.*s -1 0 %s image", (int)space, in_vae[i], in_vae[i] + space + 1);
    }
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 1, .tap = note_tap, .tap_user = &l }, &s);
    CHECK(l.count == n, "%zu modules were seen, not %zu", l.count, n);
    for (size_t i = 0; i < n && i < l.count; i++)
        CHECK(!strcmp(l.line[i], want[i]), "module %zu is \"%s\", not \"%s\"", i, l.line[i], want[i]);
    done(x);
}

/* What saeuron_intermediates foretells: no value, and of each name one line, with step 0 for all. */
static int foretell(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    seen_list *l = user;
    CHECK(!values && step <= 0 && first == 0, "%s is foretold with values, at step %d, for image %zu", name, step, first);
    if (l->count < 96)
        snprintf(l->line[l->count], sizeof l->line[0], "%s %d [%zu,%zu,%zu,%zu] %d", name, step, shape[0], shape[1], shape[2], shape[3], kind);
    l->count++;
    return 0;
}

/* Strikes off what was foretold; only step 0 and what is outside the loop. The VAE's names come once an image. */
static int fulfil(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    seen_list *l = user;
    char line[112];
    size_t i = 0;
    snprintf(line, sizeof line, "%s %d [%zu,%zu,%zu,%zu] %d", name, step, shape[0], shape[1], shape[2], shape[3], kind);
    while (i < l->count && strcmp(l->line[i], line))
        i++;
    CHECK(values && (step > 0 || first > 0 || i < l->count), "%s was not foretold", line);
    CHECK(first == 0 || !strncmp(name, "vae.", 4), "%s is of image %zu on", name, first);
    if (step <= 0 && first == 0 && i < l->count)
        l->line[i][0] = '-';
    return 0;
}

/* The names foretold are those that come, with and without guidance, for one image and several, edited or not; an allocation
 * that fails is said. A plan that left a module out would let --inject miss it. */
static void intermediates(void)
{
    static const saeuron_generate_options runs[] = { { .count = 1, .steps = 2 }, { .count = 3, .steps = 1, .batch = 3 }, { .count = 2, .steps = 1, .guidance = 1, .has_guidance = 1 } };
    static seen_list l;
    shot s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(saeuron_steer(x, TINY_STYLES, 5, 2, &e) == SAEURON_OK, "%s", e.text);
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        saeuron_generate_options o = runs[r];
        l.count = 0;
        o.prompts = prompts;
        o.tap = foretell;
        o.tap_user = &l;
        CHECK(saeuron_intermediates(x, &o, &e) == SAEURON_OK && l.count > 50 && l.count < 96, "%zu names, %s", l.count, e.text);
        o.tap = fulfil;
        must_shoot(x, o, &s);
        for (size_t i = 0; i < l.count; i++)
            CHECK(l.line[i][0] == '-', "%s did not come", l.line[i]);
    }
    saeuron_generate_options o = { .prompts = prompts, .count = 1, .tap = foretell, .tap_user = &l };
    files.allocs = 0;
    files.fail_at = 1;
    check_error("no memory", saeuron_intermediates(x, &o, &e), SAEURON_ENOMEM, &e, "memory");
    files.fail_at = 0;
    o.tap = NULL;
    check_error("no tap", saeuron_intermediates(x, &o, &e), SAEURON_EUSAGE, &e, "tap");
    done(x);
}

/* ---- forgetting ---- */

/* At percentile 100 nothing is above the threshold: under `paper` no bit changes; the other two forms return the SAE's work. */
static void nothing_selected(void)
{
    shot plain, s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &plain);
    CHECK(try_forget(x, "Sketch", 0, 100, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x, (saeuron_generate_options){ .count = 2 }, &s);
    CHECK(same(&plain, &s), "forgetting nothing changes bits");
    must_shoot(x, (saeuron_generate_options){ .count = 2, .residual = SAEURON_RESIDUAL_RELEASED }, &s);
    CHECK(!same(&plain, &s), "residual released with nothing selected is 2 decode(f) - x, not x");
    must_shoot(x, (saeuron_generate_options){ .count = 2, .residual = SAEURON_RESIDUAL_NONE }, &s);
    CHECK(!same(&plain, &s), "residual none is the reconstruction, not x");
    saeuron_remember(x);
    must_shoot(x, (saeuron_generate_options){ .count = 2, .residual = SAEURON_RESIDUAL_NONE }, &s);
    CHECK(same(&plain, &s), "remembering does not bring the picture back");
    done(x);
}

/* Both hooks edit, each its own concept; the order of naming does not matter across hooks; remembering restores. */
static void two_hooks(void)
{
    shot plain, style, object, both, again;
    const saeuron_generate_options o = { .count = 2 };
    saeuron_context *x = fresh();
    must_shoot(x, o, &plain);
    must_forget(x, "Sketch", 0);
    must_shoot(x, o, &style);
    must_forget(x, "Cats", 0);
    CHECK(x->hooks == 2, "two domains sit at %zu hooks", x->hooks);
    must_shoot(x, o, &both);
    saeuron_remember(x);
    must_forget(x, "Cats", 0);
    must_shoot(x, o, &object);
    must_forget(x, "Sketch", 0);
    must_shoot(x, o, &again);
    CHECK(!same(&plain, &style) && !same(&plain, &object) && !same(&style, &both) && !same(&object, &both), "a hook edits nothing");
    CHECK(same(&both, &again), "the order of two hooks' concepts matters");
    saeuron_remember(x);
    must_shoot(x, o, &again);
    CHECK(same(&plain, &again), "remembering does not bring the picture back");
    done(x);
}

/* The SAE in double, by the definition: f and the decoded sum of val over idx, with b_dec. */
typedef struct plain_sae { float we[128][32], be[128], wd[128][32], bd[32]; } plain_sae;

static void plain_load(plain_sae *p, const sae *s)
{
    nn_widen(p->we[0], s->encoder.w, 0, 128 * 32);
    nn_widen(p->wd[0], s->W_dec, 0, 128 * 32);
    memcpy(p->be, s->encoder.bias, sizeof p->be);
    memcpy(p->bd, s->b_dec, sizeof p->bd);
}

/* f [128]: the eight largest of relu(W_enc (x - b_dec) + b_enc), the rest 0. */
static void plain_encode(const plain_sae *p, double f[128], const float *x)
{
    double z[128];
    for (size_t i = 0; i < 128; i++) {
        z[i] = (double)p->be[i];
        for (size_t j = 0; j < 32; j++)
            z[i] += (double)p->we[i][j] * ((double)x[j] - (double)p->bd[j]);
        z[i] = z[i] > 0 ? z[i] : 0;
    }
    for (size_t i = 0; i < 128; i++) {
        size_t larger = 0;
        for (size_t j = 0; j < 128; j++)
            larger += z[j] > z[i] || (z[j] == z[i] && j < i);
        f[i] = larger < 8 ? z[i] : 0;
    }
}

static void plain_decode(const plain_sae *p, double y[32], const double f[128], bool bias)
{
    for (size_t j = 0; j < 32; j++) {
        y[j] = bias ? (double)p->bd[j] : 0;
        for (size_t i = 0; i < 128; i++)
            y[j] += f[i] * (double)p->wd[i][j];
    }
}

#define ROWS (SAE_TOKENS + 6) /* more than the encoder's block of tokens */

/* An ablation on the tiny style SAE, with selections made by hand. Returns the share of the memory planned that it used. */
static double run_ablate(saeuron_context *x, ablation *a, float *y, const float *input, size_t step)
{
    arena work = { 0 };
    nn    c;
    CHECK(nn_init(&c, NULL, x->threads, &work), "no kernels");
    ablate(&c, a, NULL, ROWS, 0); /* the plan is made for step 0 and must do for all */
    const size_t planned = work.peak;
    void *memory = malloc(planned + 64);
    work = (arena){ .base = memory, .size = planned + 64 };
    memcpy(y, input, ROWS * 32 * sizeof *y);
    ablate(&c, a, y, ROWS, step);
    CHECK(!work.failed && work.used == 0, "ablate's plan was too small, or it keeps memory");
    free(memory);
    return (double)work.peak / (double)planned;
}

static void random_input(float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = rng_symmetric(99, 1, i, 2.0f);
}

/* AUDIT A1, each form as method.md defines it, against the same in double: with nothing selected paper is x, released
 * 2 decode(f) - x, none decode(f); with latents selected, x + (f~ - f) W_dec, decode(f~) + decode(f) - x, decode(f~). */
static void residual_forms(void)
{
    static float input[ROWS * 32], y[ROWS * 32];
    static plain_sae p;
    uint32_t start[2] = { 0, 0 }, latent[128];
    float    score[128] = { 0 }, mu[128], threshold[128];
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    ablation a = *x->hook[0];
    a.count = 1;
    a.forget[0] = (selection){ .how = { .top = 1, .strength = -3 }, .steps = 1, .start = start, .latent = latent, .score = score, .mu = mu, .threshold = threshold };
    plain_load(&p, &a.sae);
    random_input(input, ROWS * 32);
    for (uint32_t i = 0; i < 128; i++) {
        latent[i] = i;
        mu[i] = 0.25f + (float)i / 512;
        threshold[i] = 0.5f;
    }
    for (int form = 0; form < 6; form++) {
        size_t edits = 0;
        double worst = 0;
        a.residual = form % 3;
        start[1] = form < 3 ? 0 : 128;
        run_ablate(x, &a, y, input, 0);
        for (size_t m = 0; m < ROWS; m++) {
            const float *in = input + m * 32;
            double f[128], g[128], df[32], dg[32];
            plain_encode(&p, f, in);
            for (size_t i = 0; i < 128; i++) {
                const bool on = form >= 3 && f[i] > 0.5;
                g[i] = on ? -3.0 * (double)mu[i] * f[i] : f[i];
                edits += on;
            }
            plain_decode(&p, df, f, true);
            plain_decode(&p, dg, g, true);
            for (size_t j = 0; j < 32; j++) {
                const double want = a.residual == SAEURON_RESIDUAL_PAPER ? (double)in[j] + (dg[j] - df[j])
                                  : a.residual == SAEURON_RESIDUAL_RELEASED ? dg[j] + (df[j] - (double)in[j]) : dg[j];
                const double miss = fabs((double)y[m * 32 + j] - want);
                worst = miss > worst ? miss : worst;
            }
        }
        CHECK(worst < 2e-5 && (form < 3 || edits > ROWS), "residual %d, %s selected: %.2e from the definition, %zu edits", a.residual,
              form < 3 ? "nothing" : "all", worst, edits);
        if (form == SAEURON_RESIDUAL_PAPER)
            CHECK(!memcmp(y, input, sizeof y), "residual paper with nothing selected changes bits");
    }
    done(x);
}

/* sae_encode and sae_pre_activations against their definitions, bits: nn_dot, bias, relu of all, nn_topk. Tokens so large that z is
 * infinite or NaN are among them (relu swallows NaN: contract 8), and b_dec itself. */
static void encode_definition(void)
{
    static unsigned char memory[1 << 20];
    static float input[ROWS * 32], val[ROWS * 8], z[128], some[ROWS * 5];
    static uint32_t idx[ROWS * 8], count[ROWS];
    static plain_sae p;
    static const uint32_t few[5] = { 127, 0, 64, 0, 3 };
    size_t nan = 0, infinite = 0;
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    const sae *s = &x->hook[0]->sae;
    plain_load(&p, s);
    random_input(input, ROWS * 32);
    for (size_t m = 0; m < ROWS; m++)
        for (size_t j = 0; j < 32; j++)
            input[m * 32 + j] = m == 5 ? p.bd[j] : m % 9 == 1 ? 1.5e38f * input[m * 32 + j] : m % 9 == 2 && j % 7 == 2 ? INFINITY : input[m * 32 + j];
    for (int threads = 1; threads < 3; threads++) {
        arena work = { .base = memory, .size = sizeof memory };
        nn    c;
        nn_init(&c, NULL, threads, &work);
        sae_encode(&c, s, idx, val, count, input, ROWS);
        sae_pre_activations(&c, s, some, input, ROWS, few, 5);
        CHECK(!work.failed && !work.used, "the encoder's memory");
        for (size_t m = 0; m < ROWS; m++) {
            float    centred[32], v[8];
            uint32_t at[8];
            size_t   kept = 0;
            for (size_t j = 0; j < 32; j++)
                centred[j] = input[m * 32 + j] - p.bd[j];
            for (size_t i = 0; i < 128; i++)
                z[i] = nn_dot(centred, 1, p.we[i], 1, 32) + p.be[i];
            for (size_t j = 0; j < 5; j++)
                CHECK(!memcmp(&some[m * 5 + j], &z[few[j]], sizeof *z) || z[few[j]] != z[few[j]], "token %zu, latent %" PRIu32 ": %g, not %g", m, few[j],
                      (double)some[m * 5 + j], (double)z[few[j]]);
            for (size_t i = 0; i < 128; i++) {
                nan += z[i] != z[i];
                infinite += z[i] > 3.4e38f;
                z[i] = z[i] > 0 ? z[i] : 0;
            }
            nn_topk(at, v, z, 128, 8);
            for (size_t j = 0; j < 8; j++)
                if (v[j] > 0) {
                    CHECK(kept < count[m] && idx[m * 8 + kept] == at[j] && !memcmp(&val[m * 8 + kept], &v[j], sizeof *v), "token %zu: latent %" PRIu32 " is not where it belongs", m, at[j]);
                    kept++;
                }
            CHECK(kept == count[m], "token %zu: %" PRIu32 " latents, not %zu", m, count[m], kept);
        }
    }
    CHECK(nan > 20 && infinite > 20, "%zu NaN, %zu infinities", nan, infinite);
    done(x);
}

typedef struct edits { edit at[64]; size_t count; } edits;

static void note_edit(void *user, const edit *e)
{
    edits *l = user;
    if (l->count < 64)
        l->at[l->count] = *e;
    l->count++;
}

/* The largest latent of the first token, and its f, as the ablation sees them. */
static float first_latent(ablation *a, float *input, uint32_t *latent)
{
    static unsigned char memory[1 << 18];
    arena work = { .base = memory, .size = sizeof memory };
    nn    c;
    uint32_t idx[8 * ROWS], count[ROWS];
    float val[8 * ROWS], best = 0;
    nn_init(&c, NULL, 1, &work);
    sae_encode(&c, &a->sae, idx, val, count, input, ROWS);
    for (uint32_t j = 0; j < count[0]; j++)
        if (val[j] > best) {
            best = val[j];
            *latent = idx[j];
        }
    CHECK(best > 0 && !work.failed, "no latent fires");
    return best;
}

/* AUDIT A5 and the strict threshold, on one latent: masks are taken on the original f; of the factors that apply the one
 * farthest from 1 counts, of equals the first named; f equal to the threshold does not fire. `shared` released: the last concept's
 * outcome stands, be it none. */
static void shared_latents(void)
{
    static float input[ROWS * 32], y[ROWS * 32];
    static const struct { float strength[2], threshold[2]; int winner; } cases[] = { /* thresholds in f's: 1 is f itself */
        { { 0.5f, -2 }, { 0, 0 }, 1 }, { { -2, 0.5f }, { 0, 0 }, 0 },       /* farthest from 1, in either order */
        { { 3, -1 }, { 0, 0 }, 0 },    { { -1, 3 }, { 0, 0 }, 0 },          /* equally far: the first named */
        { { 1.5f, -2 }, { 0, 2 }, 0 }, { { 5, 1.5f }, { 0, 2 }, 0 },        /* a mask above f never applies, even once f was enlarged */
        { { -2, -3 }, { 1, 1 }, -1 },  { { -2, -3 }, { 1, 0.999f }, 1 },    /* strict */
        { { 0, 1 }, { 0, 0 }, 0 },     { { 2.5f, 0 }, { 0, 0 }, 0 },
    };
    uint32_t start[2] = { 0, 1 }, latent[1] = { 0 };
    float    score[1] = { 0 }, mu[1] = { 1 }, threshold[2][1];
    edits    l;
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    ablation a = *x->hook[0];
    a.observe = note_edit;
    a.observe_user = &l;
    a.residual = SAEURON_RESIDUAL_PAPER;
    random_input(input, ROWS * 32);
    const float f = first_latent(&a, input, latent);
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) { /* the same again as the released scatter leaves it */
        const size_t released = i % 2, which = i / 2;
        a.count = 2;
        a.shared = released ? SAEURON_SHARED_RELEASED : SAEURON_SHARED_LARGEST;
        for (size_t c = 0; c < 2; c++) {
            threshold[c][0] = cases[which].threshold[c] == 1 ? f : f * cases[which].threshold[c];
            a.forget[c] = (selection){ .how = { .top = 1, .strength = cases[which].strength[c] }, .steps = 1, .start = start, .latent = latent, .score = score,
                                       .mu = mu, .threshold = threshold[c] };
            snprintf(a.forget[c].concept, sizeof a.forget[c].concept, "%s", c ? "second" : "first");
        }
        l.count = 0;
        run_ablate(x, &a, y, input, 0);
        const edit *e = NULL;
        for (size_t j = 0; j < l.count && j < 64; j++)
            if (l.at[j].row == 0)
                e = &l.at[j];
        const int winner = !released ? cases[which].winner : f > threshold[1][0] && cases[which].strength[1] != 1 ? 1 : -1; /* the last, whatever came before */
        if (winner < 0) {
            CHECK(!e, "case %zu: f was edited all the same", i);
            CHECK(!memcmp(y, input, 32 * sizeof *y), "case %zu: the token changed", i);
            continue;
        }
        const float factor = cases[which].strength[winner];
        CHECK(e && e->latent == latent[0] && e->f == f && e->factor == factor && e->after == factor * f && !strcmp(e->concept, winner ? "second" : "first"),
              "case %zu: %s with factor %g and after %g, not factor %g", i, e ? e->concept : "no edit", e ? (double)e->factor : 0, e ? (double)e->after : 0, (double)factor);
    }
    done(x);
}

/* AUDIT A3: latents that fire too seldom are out before the K best are taken, or the percentile of those that are left; a latent at
 * the limit is in. */
static void min_density(void)
{
    static const size_t shape[2] = { TINY_STEPS, 128 };
    static tiny_list l;
    static float score[128];
    static double scratch[256];
    saeuron_error e = { 0 };
    tiny_make(&files);
    for (size_t c = 0; c < 3; c++) {
        tiny_tensor *t = tiny_tensor_add(&l, (const char *const[]){ "Sketch", "Van Gogh", "Watercolor" }[c], DT_F32, 2, shape);
        for (size_t i = 0; i < t->count; i++)
            t->values[i] = (float)((i * 7 + c) % 16) / 16;
    }
    const char *const name = "sae/" TINY_STYLES "/density.safetensors";
    tiny_save(&files, name, &l, 0, 3, "{\"what\":\"density\",\"timesteps\":\"751,501,251,1\"}");
    saeuron_context *x = opened(NULL, 1);
    for (size_t top = 0; top <= 8; top += 8) {
        const saeuron_forget_options o = { .name = "Sketch", .top = top, .percentile = top ? 0 : 90, .min_density = 0.75 };
        CHECK(saeuron_forget(x, &o, &e) == SAEURON_OK, "%s", e.text);
        const stats *s = &x->hook[0]->stats;
        const selection *sel = &x->hook[0]->forget[0];
        size_t all = 0;
        for (size_t t = 0; t < TINY_STEPS; t++) {
            size_t dense = 0, count = 0;
            latent_scores(s, score, 0, t, scratch);
            for (size_t i = 0; i < 128; i++) {
                size_t better = 0; /* dense latents that stand before it */
                for (size_t j = 0; j < 128; j++)
                    better += (t * 128 + j) * 7 % 16 >= 12 && (score[j] > score[i] || (score[j] == score[i] && j < i));
                if ((t * 128 + i) * 7 % 16 < 12)
                    continue;
                dense++;
                const bool in = top ? better < top : better < 4; /* 32 are dense; r = 0.9 x 31 = 27.9: above it lie 4 */
                count += in;
                bool found = false;
                for (size_t k = sel->start[t]; k < sel->start[t + 1]; k++)
                    found |= sel->latent[k] == i;
                CHECK(found == in, "top %zu, step %zu: latent %zu, behind %zu, is %s", top, t, i, better, found ? "in" : "out");
            }
            CHECK(dense == 32 && sel->start[t + 1] - sel->start[t] == count, "top %zu, step %zu: %zu of %zu selected", top, t, (size_t)(sel->start[t + 1] - sel->start[t]), count);
            all += count;
        }
        CHECK(all == TINY_STEPS * (top ? top : 4), "%zu selected", all);
        saeuron_remember(x);
    }
    saeuron_forget_options o = { .name = "Sketch", .top = 8, .min_density = 0.95 };
    check_error("none so dense", saeuron_forget(x, &o, &e), SAEURON_EUSAGE, &e, "Sketch|min_density");
    o.min_density = 1.5;
    check_error("a share above 1", saeuron_forget(x, &o, &e), SAEURON_EUSAGE, &e, "from 0 to 1");
    o.name = "Cats";
    o.min_density = 0.5;
    check_error("no densities", saeuron_forget(x, &o, &e), SAEURON_ENOENT, &e, TINY_OBJECTS "/density.safetensors|min_density");
    saeuron_close(x);
    o.name = "Sketch";
    tiny_save(&files, name, &l, 0, 2, "{\"what\":\"density\",\"timesteps\":\"751,501,251,1\"}");
    x = opened(NULL, 1);
    check_error("a concept missing", saeuron_forget(x, &o, &e), SAEURON_EFORMAT, &e, "density.safetensors|Watercolor");
    tiny_save(&files, name, &l, 0, 3, "{\"what\":\"density\",\"timesteps\":\"751,501,251,2\"}");
    saeuron_close(x);
    x = opened(NULL, 1);
    check_error("other timesteps", saeuron_forget(x, &o, &e), SAEURON_EFORMAT, &e, "density.safetensors|timesteps");
    tiny_drop(&l);
    done(x);
}

/* AUDIT A20: a steered latent becomes FACTOR f wherever it fires, in each residual form, against the same in double. Where a
 * concept selects it, too, the FACTOR alone counts: not the concept's, not their product, and 1 exempts it from forgetting.
 * Reconstruction is decode(f), whatever the residual. */
static void steer_forms(void)
{
    static const struct { float factor[2]; bool forgotten, reconstruct; } cases[] = {
        { { -3, 0.5f }, false, false }, { { -3, 0.5f }, true, false }, { { 1, 1 }, true, false }, { { 0, 40 }, true, false }, { { 1, 1 }, false, true } };
    static float input[ROWS * 32], y[ROWS * 32];
    static plain_sae p;
    uint32_t start[2] = { 0, 128 }, latent[128], some[2] = { 0, 0 };
    float    score[128] = { 0 }, mu[128], threshold[128];
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    ablation a = *x->hook[0];
    a.forget[0] = (selection){ .how = { .top = 1, .strength = -2 }, .steps = 1, .start = start, .latent = latent, .score = score, .mu = mu, .threshold = threshold };
    plain_load(&p, &a.sae);
    random_input(input, ROWS * 32);
    first_latent(&a, input, &some[0]);
    memcpy(y, input + 32, 32 * sizeof *y);
    first_latent(&a, y, &some[1]);
    CHECK(some[0] != some[1], "the first two tokens are alike");
    for (uint32_t i = 0; i < 128; i++) {
        latent[i] = i;
        mu[i] = 0.25f + (float)i / 512;
        threshold[i] = 0.5f;
    }
    for (size_t i = 0; i < 3 * sizeof cases / sizeof *cases; i++) {
        size_t steered = 0;
        double worst = 0;
        a.residual = (int)(i % 3);
        a.count = cases[i / 3].forgotten;
        a.steers = cases[i / 3].reconstruct ? 0 : 2;
        a.reconstruct = cases[i / 3].reconstruct;
        for (size_t j = 0; j < 2; j++)
            a.steer[j] = (steering){ some[j], cases[i / 3].factor[j] };
        run_ablate(x, &a, y, input, 0);
        for (size_t m = 0; m < ROWS; m++) {
            const float *in = input + m * 32;
            double f[128], g[128], df[32], dg[32];
            plain_encode(&p, f, in);
            for (size_t l = 0; l < 128; l++) {
                const size_t j = l == some[0] ? 0 : l == some[1] ? 1 : 2;
                g[l] = a.steers && j < 2 ? (double)cases[i / 3].factor[j] * f[l] : a.count && f[l] > 0.5 ? -2.0 * (double)mu[l] * f[l] : f[l];
                steered += j < 2 && f[l] > 0;
            }
            plain_decode(&p, df, f, true);
            plain_decode(&p, dg, g, true);
            for (size_t j = 0; j < 32; j++) {
                const double want = a.reconstruct ? df[j] : a.residual == SAEURON_RESIDUAL_PAPER ? (double)in[j] + (dg[j] - df[j])
                                  : a.residual == SAEURON_RESIDUAL_RELEASED ? dg[j] + (df[j] - (double)in[j]) : dg[j];
                const double miss = fabs((double)y[m * 32 + j] - want);
                worst = miss > worst ? miss : worst;
            }
        }
        CHECK(worst < 5e-5 && steered > 8, "case %zu, residual %d: %.2e from the definition; %zu latents steered", i / 3, a.residual, worst, steered);
    }
    done(x);
}

/* Under residual paper the few selected latents are looked at first and only the tokens that they may change are encoded. Random
 * selections on boundaries: the bytes must be those of encoding every token, which an observer asks for. */
static void few_latents(void)
{
    static float input[ROWS * 32], y[ROWS * 32], full[ROWS * 32];
    static plain_sae p;
    static const float factors[] = { -3, 0, 1, 0.5f, 40 };
    uint32_t start[2][3], latent[2][4];
    float    score[4] = { 0 }, mu[2][4], threshold[2][4], bias[128];
    size_t   kinds[3] = { 0, 0, 0 }; /* runs that change no token, some, all */
    edits    l;
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 1);
    for (size_t i = 0; i < 600; i++) {
        ablation a = *x->hook[0];
        uint64_t r = 0;
        size_t changed = 0;
#define DRAW(n) ((size_t)(rng_value(7, i, r++) % (n)))
        random_input(input, ROWS * 32);
        plain_load(&p, &a.sae);
        for (size_t m = 0; m < ROWS; m++)
            for (size_t j = 0; j < 32; j++) /* some tokens at b_dec, where z is the bias alone; some far from it */
                input[m * 32 + j] = m % 7 == 3 ? p.bd[j] : m % 7 == 4 ? 30 * input[m * 32 + j] : input[m * 32 + j];
        a.count = DRAW(3);
        a.steers = DRAW(3);
        a.residual = SAEURON_RESIDUAL_PAPER;
        a.stats.steps = DRAW(2) ? a.stats.steps : 0; /* as if there were no statistics */
        memcpy(bias, a.sae.encoder.bias, sizeof bias);
        a.sae.encoder.bias = bias;
        const size_t pair = 2 * DRAW(60), pull = DRAW(4); /* latents that fire everywhere, nowhere, or as they are */
        bias[pair] += pull == 0 ? 500.0f : pull == 1 ? -500.0f : 0.0f;
        for (size_t c = 0; c < a.count; c++) {
            start[c][0] = 0;
            start[c][1] = (uint32_t)DRAW(3);
            start[c][2] = start[c][1] + (uint32_t)DRAW(3);
            for (size_t j = 0; j < 4; j++) { /* two neighbours, often shared; the thresholds at 0, within f's range, above all */
                latent[c][j] = (uint32_t)(pair + j % 2);
                mu[c][j] = DRAW(3) ? 0.5f : DRAW(2) ? 1.0f : 0.0f;
                threshold[c][j] = DRAW(3) == 0 ? 0.0f : DRAW(2) ? 0.4f * (float)DRAW(10) : 1e9f;
            }
            if (start[c][1] == 1)
                latent[c][1]--; /* the second step begins there */
            a.forget[c] = (selection){ .how = { .top = 1, .strength = factors[DRAW(5)] }, .steps = 2, .start = start[c], .latent = latent[c], .score = score, .mu = mu[c],
                                       .threshold = threshold[c] };
        }
        for (size_t j = 0; j < a.steers; j++) {
            a.steer[j].latent = (uint32_t)(pair + j + DRAW(2) * 4);
            a.steer[j].factor = factors[DRAW(5)];
        }
        const size_t step = DRAW(2);
        x->threads = 1 + (int)DRAW(2);
        const double used = run_ablate(x, &a, y, input, step);
        a.observe = note_edit;
        a.observe_user = &l;
        run_ablate(x, &a, full, input, step);
        CHECK(!memcmp(y, full, sizeof y), "case %zu: %zu concepts, %zu steered: other bytes than by encoding every token", i, a.count, a.steers);
        for (size_t m = 0; m < ROWS; m++)
            changed += memcmp(y + m * 32, input + m * 32, 32 * sizeof *y) != 0;
        kinds[changed == 0 ? 0 : changed < ROWS ? 1 : 2]++;
        if (a.count == 0 && a.steers == 0)
            CHECK(used < 0.9 && !changed, "case %zu: without a latent to look at %.2f of the memory was used", i, used);
    }
    test_note("%zu runs change no token, %zu some, %zu all", kinds[0], kinds[1], kinds[2]);
    CHECK(kinds[0] > 50 && kinds[1] > 50 && kinds[2] > 50, "%zu runs change no token, %zu some, %zu all", kinds[0], kinds[1], kinds[2]);
    done(x);
}

/* Steering by the public calls: on an SAE without statistics, at any number of steps, at both hooks, with forgetting; factor 1
 * draws the plain picture; reconstruction is residual none with nothing selected; remembering takes all back. */
static void steers(void)
{
    shot plain, s, t;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    const saeuron_generate_options o = { .count = 2, .steps = 3 };
    must_shoot(x, o, &plain);
    for (size_t latent = 0; latent < 128; latent++)
        if (latent < STEERS)
            CHECK(saeuron_steer(x, "unet." TINY_STYLES, latent, 1, &e) == SAEURON_OK, "%s", e.text);
    check_error("too many", saeuron_steer(x, TINY_STYLES, 100, 1, &e), SAEURON_EUSAGE, &e, "64");
    must_shoot(x, o, &s);
    CHECK(same(&plain, &s), "factor 1 changes bits");
    saeuron_remember(x);
    CHECK(saeuron_steer(x, TINY_STYLES, 5, 0, &e) == SAEURON_OK && saeuron_steer(x, TINY_STYLES, 6, -30, &e) == SAEURON_OK && saeuron_steer(x, TINY_OBJECTS, 5, 9, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x, o, &s);
    CHECK(!same(&plain, &s), "steering changes nothing");
    saeuron_remember(x);
    CHECK(saeuron_steer(x, TINY_OBJECTS, 5, 9, &e) == SAEURON_OK && saeuron_steer(x, TINY_STYLES, 6, -30, &e) == SAEURON_OK && saeuron_steer(x, TINY_STYLES, 5, 0, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x, o, &t);
    CHECK(same(&s, &t), "the order of steering matters");
    check_error("steps", try_forget(x, "Sketch", 60, 0, &e) ? -1 : shoot(x, o, &t, &e), SAEURON_EUSAGE, &e, "4 steps|map_steps");
    must_shoot(x, (saeuron_generate_options){ .count = 2, .steps = 3, .map_steps = 1 }, &t);
    CHECK(!same(&s, &t), "forgetting beside steering changes nothing");
    saeuron_remember(x);
    must_shoot(x, o, &s);
    CHECK(same(&plain, &s), "remembering does not bring the picture back");
    CHECK(saeuron_reconstruct(x, "unet." TINY_STYLES, &e) == SAEURON_OK && saeuron_reconstruct(x, TINY_STYLES, &e) == SAEURON_OK && x->hooks == 1, "%s", e.text);
    must_shoot(x, o, &s);
    CHECK(!same(&plain, &s), "reconstruction changes nothing");
    saeuron_remember(x);
    CHECK(try_forget(x, "Sketch", 0, 100, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x, (saeuron_generate_options){ .count = 2, .steps = 3, .map_steps = 1, .residual = SAEURON_RESIDUAL_NONE }, &t);
    CHECK(same(&s, &t), "reconstruction is not residual none with nothing selected");
    saeuron_remember(x);
    saeuron_close(x);
    tiny_set(&files, "sae/" TINY_STYLES "/stats.safetensors", NULL, 0);
    tiny_set(&files, "sae/" TINY_STYLES "/forget.json", NULL, 0);
    x = opened(NULL, 1);
    CHECK(saeuron_reconstruct(x, TINY_STYLES, &e) == SAEURON_OK, "without statistics: %s", e.text);
    must_shoot(x, o, &t);
    CHECK(same(&s, &t), "statistics matter to reconstruction");
    saeuron_remember(x);
    CHECK(saeuron_steer(x, TINY_STYLES, 3, -2, &e) == SAEURON_OK, "without statistics: %s", e.text);
    must_shoot(x, o, &t);
    done(x);
}

/* Each way in which steering can be asked for wrongly is named, leaves no SAE behind, and leaves what was there. */
static void steer_errors(void)
{
    shot plain, s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    const saeuron_generate_options o = { .count = 1 };
    check_error("hook", saeuron_steer(x, "up_blocks.1.attentions.0", 1, 1, &e), SAEURON_EUSAGE, &e, "up_blocks.1.attentions.0");
    check_error("hook", saeuron_steer(x, NULL, 1, 1, &e), SAEURON_EUSAGE, &e, "hook");
    check_error("hook", saeuron_reconstruct(x, "", &e), SAEURON_EUSAGE, &e, "hook");
    check_error("hook", saeuron_reconstruct(x, "nowhere", &e), SAEURON_EUSAGE, &e, "nowhere");
    check_error("no SAE", saeuron_steer(x, "mid_block.attentions.0", 1, 1, &e), SAEURON_ENOENT, &e, "sae/mid_block.attentions.0|saeuron_use_sae");
    check_error("no SAE", saeuron_reconstruct(x, "mid_block.attentions.0", &e), SAEURON_ENOENT, &e, "sae/mid_block.attentions.0|saeuron_use_sae");
    check_error("latent", saeuron_steer(x, TINY_STYLES, 128, 1, &e), SAEURON_EUSAGE, &e, "latent 128|128|" TINY_STYLES);
    check_error("latent", saeuron_steer(x, TINY_STYLES, (size_t)1 << 32, 1, &e), SAEURON_EUSAGE, &e, "latent 4294967296");
    check_error("factor", saeuron_steer(x, TINY_STYLES, 1, NAN, &e), SAEURON_EUSAGE, &e, "factor|latent 1");
    check_error("factor", saeuron_steer(x, TINY_STYLES, 1, 1e39, &e), SAEURON_EUSAGE, &e, "factor");
    check_error("factor", saeuron_steer(x, TINY_STYLES, 1, -INFINITY, &e), SAEURON_EUSAGE, &e, "factor");
    CHECK(x->hooks == 0, "an error leaves an SAE loaded");
    CHECK(saeuron_steer(x, TINY_STYLES, 1, -9, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x, o, &plain);
    check_error("twice", saeuron_steer(x, "unet." TINY_STYLES, 1, 2, &e), SAEURON_EUSAGE, &e, "latent 1|twice");
    check_error("both", saeuron_reconstruct(x, TINY_STYLES, &e), SAEURON_EUSAGE, &e, TINY_STYLES "|reconstructed|steered");
    check_error("released without guidance", shoot(x, (saeuron_generate_options){ .count = 1, .guidance = 1, .has_guidance = 1, .residual = SAEURON_RESIDUAL_RELEASED }, &s, &e),
                SAEURON_EUSAGE, &e, "released|guidance");
    must_shoot(x, o, &s);
    CHECK(same(&plain, &s), "an error changed what was asked for");
    saeuron_remember(x);
    must_forget(x, "Sketch", 0);
    check_error("both", saeuron_reconstruct(x, TINY_STYLES, &e), SAEURON_EUSAGE, &e, TINY_STYLES "|reconstructed|forgotten");
    CHECK(saeuron_reconstruct(x, TINY_OBJECTS, &e) == SAEURON_OK, "another hook: %s", e.text);
    check_error("both", try_forget(x, "Cats", 0, 0, &e), SAEURON_EUSAGE, &e, "Cats|reconstructed");
    check_error("both", saeuron_steer(x, TINY_OBJECTS, 1, 2, &e), SAEURON_EUSAGE, &e, "latent 1|reconstructed");
    must_shoot(x, o, &s);
    done(x);
}

/* Statistics of 4 steps serve 4; another number is an error that says so, or takes the nearest timestep's row. */
static void steps_mismatch(void)
{
    static const struct { size_t steps; int row[8]; } maps[] = { { 4, { 0, 1, 2, 3 } }, { 2, { 1, 3 } }, { 1, { 3 } }, { 5, { 0, 1, 1, 2, 3 } } };
    shot plain, s;
    edits l;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 60);
    check_error("2 steps for statistics of 4", shoot(x, (saeuron_generate_options){ .count = 1, .steps = 2 }, &s, &e), SAEURON_EUSAGE, &e, "4 steps|steps 4|map_steps|" TINY_STYLES);
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    must_shoot(x, (saeuron_generate_options){ .count = 1, .map_steps = 1 }, &s);
    CHECK(same(&plain, &s), "map_steps changes bits although the steps are the statistics'");
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        int seen[8] = { 0 };
        l.count = 0;
        x->hook[0]->observe = note_edit;
        x->hook[0]->observe_user = &l;
        must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = maps[i].steps, .map_steps = 1 }, &s);
        for (size_t j = 0; j < l.count && j < 64; j++)
            seen[l.at[j].step] = 1;
        CHECK(l.count > 0 && seen[maps[i].row[0]], "%zu steps: the first edits do not come from row %d", maps[i].steps, maps[i].row[0]);
        for (int row = 0; row < 4 && l.count <= 64; row++) {
            bool wanted = false;
            for (size_t t = 0; t < maps[i].steps; t++)
                wanted |= maps[i].row[t] == row;
            CHECK(wanted || !seen[row], "%zu steps: row %d was used", maps[i].steps, row);
        }
    }
    done(x);
}

/* forget.json's pair counts unless the caller gives another; a percentile is a double, not a float's idea of it. */
static void forget_choices(void)
{
    static const struct { saeuron_forget_options o; size_t top; double percentile; float strength; } cases[] = {
        { { .name = "Sketch" }, 24, 99.999, -4 },
        { { .name = "Sketch", .top = 3 }, 3, 99.999, -4 },
        { { .name = "Sketch", .percentile = 99.7 }, 0, 99.7, -4 },
        { { .name = "Sketch", .strength = 0, .has_strength = 1 }, 24, 99.999, 0 },
        { { .name = "Van Gogh" }, 0, 99.999, -1 },
        { { .name = "Watercolor" }, 0, 70.1, -1 },
        { { .name = "Cats" }, 0, 80.1, -5.5f },
        { { .name = "Dogs", .strength = -7.5, .has_strength = 1 }, 30, 99.999, -7.5f },
    };
    saeuron_context *x = fresh();
    saeuron_error e = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(saeuron_forget(x, &cases[i].o, &e) == SAEURON_OK && x->hooks == 1, "%s", e.text);
        const selection *s = &x->hook[0]->forget[0];
        CHECK(s->how.top == cases[i].top && (s->how.top || s->how.percentile == cases[i].percentile) && s->how.strength == cases[i].strength,
              "%s: top %zu, percentile %.17g, strength %g", s->concept, s->how.top, s->how.percentile, (double)s->how.strength);
        for (size_t t = 0; t < TINY_STEPS; t++) {
            const size_t n = s->start[t + 1] - s->start[t], want = s->how.top ? s->how.top : (size_t)ceil((1 - s->how.percentile / 100) * 127 - 1e-9);
            CHECK(n == want, "%s selects %zu latents at step %zu, not %zu", s->concept, n, t, want);
        }
        saeuron_remember(x);
    }
    done(x);
}

/* Each way in which forgetting can be asked for wrongly is named; afterwards the context draws what it drew before. */
static void forget_errors(void)
{
    shot plain, s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    check_error("unknown concept", try_forget(x, "Sketsh", 0, 0, &e), SAEURON_EUSAGE, &e, "Sketsh|did you mean Sketch?");
    check_error("unknown concept", try_forget(x, "cat", 0, 0, &e), SAEURON_EUSAGE, &e, "did you mean Cats?");
    check_error("no concept", try_forget(x, "", 0, 0, &e), SAEURON_EUSAGE, &e, "concept");
    check_error("no concept", try_forget(x, NULL, 0, 0, &e), SAEURON_EUSAGE, &e, "concept");
    check_error("percentile", try_forget(x, "Sketch", 0, 100.5, &e), SAEURON_EUSAGE, &e, "percentile");
    check_error("percentile", try_forget(x, "Sketch", 0, -1, &e), SAEURON_EUSAGE, &e, "percentile");
    check_error("percentile", try_forget(x, "Sketch", 0, NAN, &e), SAEURON_EUSAGE, &e, "percentile");
    check_error("strength", saeuron_forget(x, &(saeuron_forget_options){ .name = "Sketch", .strength = NAN, .has_strength = 1 }, &e), SAEURON_EUSAGE, &e, "strength");
    check_error("strength", saeuron_forget(x, &(saeuron_forget_options){ .name = "Sketch", .strength = 1e30, .has_strength = 1 }, &e), SAEURON_EUSAGE, &e, "strength");
    check_error("hook", saeuron_use_sae(x, "up_blocks.1.attentions.0", "d", NULL, &e), SAEURON_EUSAGE, &e, "up_blocks.1.attentions.0");
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(same(&plain, &s), "an error left something behind");
    must_forget(x, "Sketch", 60);
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    check_error("twice", try_forget(x, "Sketch", 0, 0, &e), SAEURON_EUSAGE, &e, "Sketch|twice");
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(same(&plain, &s), "an error left something behind");
    check_error("released without guidance", shoot(x, (saeuron_generate_options){ .count = 1, .guidance = 1, .has_guidance = 1, .residual = SAEURON_RESIDUAL_RELEASED }, &s, &e),
                SAEURON_EUSAGE, &e, "released|guidance");
    done(x);
}

#define STYLES "sae/" TINY_STYLES

/* Every damaged file of an SAE's folder is an error that names the file, and leaves a context that can go on. */
static void sae_folder_errors(void)
{
    static const struct { const char *file, *from, *to, *words; int code; } cases[] = {
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 999", "cfg.json|\"k\"", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 0", "cfg.json|\"k\"", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"input_unit_norm\": true", "cfg.json|input_unit_norm", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"sample_topk\": true", "cfg.json|sample_topk", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"mystery\": 1", "cfg.json|mystery", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"d_in\": 64", "cfg.json|d_in", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "factor\": 4", "factor\": 5", "sae.safetensors|encoder.weight|[128, 32]|[160, 32]", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "{", "[", "cfg.json", SAEURON_EFORMAT },
        { STYLES "/sae.safetensors", "W_dec", "W_doc", "sae.safetensors|W_dec", SAEURON_EFORMAT },
        { STYLES "/sae.safetensors", "encoder.weight", "encoder_weight", "sae.safetensors|encoder.weight", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "501", "5x1", "stats.safetensors|timesteps", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "751, ", "     ", "stats.safetensors|timesteps", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\"timesteps\"", "\"tomesteps\"", "stats.safetensors|timesteps", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "attentions.2", "attentions.1", "stats.safetensors|attentions.1|attentions.2", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\\\"Sketch\\\"", "\\\"Skitch\\\"", "stats.safetensors|prompts|Sketch", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\\\": 2", "\\\": 0", "stats.safetensors|prompts", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\"seed\":\"0\"", "\"sae\":\"00\"", "stats.safetensors|digest 00|make them again", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "[4,128]", "[2,256]", "stats.safetensors", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\": 24", "\"top\": -1", "forget.json|top", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\": 24", "\"topp\": 24", "forget.json|topp", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"strength\": -4", "\"strength\": \"x\"", "forget.json|strength", SAEURON_EFORMAT },
        { STYLES "/forget.json", "{\"top\": 24, \"strength\": -4}", "24", "forget.json|Sketch", SAEURON_EFORMAT },
        { STYLES "/forget.json", "}", "", "forget.json", SAEURON_EFORMAT },
    };
    static const char *const gone[] = { "/cfg.json", "sae.safetensors" };
    saeuron_error e;
    shot s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        saeuron_context *x = fresh();
        tiny_edit(&files, cases[i].file, cases[i].from, cases[i].to);
        e = (saeuron_error){ 0 };
        check_error(cases[i].to, try_forget(x, "Sketch", 0, 0, &e), cases[i].code, &e, cases[i].words);
        if (strstr(cases[i].file, "stats"))
            must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 1 }, &s);
        else
            must_forget(x, "Cats", 1);
        done(x);
    }
    for (size_t i = 0; i < 2; i++) {
        char name[96];
        saeuron_context *x = fresh();
        snprintf(name, sizeof name, STYLES "/%s", gone[i] + (*gone[i] == '/'));
        tiny_set(&files, name, NULL, 0);
        e = (saeuron_error){ 0 };
        check_error(name, try_forget(x, "Sketch", 0, 0, &e), SAEURON_ENOENT, &e, gone[i]);
        done(x);
    }
    saeuron_context *x = fresh();
    tiny_set(&files, STYLES "/stats.safetensors", NULL, 0);
    tiny_set(&files, "sae/" TINY_OBJECTS "/stats.safetensors", NULL, 0);
    check_error("no statistics", try_forget(x, "Sketch", 0, 0, &e), SAEURON_ENOENT, &e, "tiny/sae|saeuron_use_sae");
    done(x);
}

/* Statistics and SAEs that do not belong together, and values that are not numbers. */
static void sae_shape_errors(void)
{
    static const size_t wide[2] = { TINY_STEPS, 64 };
    static tiny_list l;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    tiny_tensors(&l, "sae");
    tiny_tensor_named(&l, "encoder.bias")->values[77] = NAN;
    tiny_save(&files, STYLES "/sae.safetensors", &l, 0, l.count, NULL);
    check_error("NaN in an SAE", try_forget(x, "Sketch", 0, 0, &e), SAEURON_ENAN, &e, "sae.safetensors|encoder.bias|element 77");
    tiny_drop(&l);
    tiny_tensor_add(&l, "Sketch", DT_F32, 2, wide);
    tiny_save(&files, STYLES "/stats.safetensors", &l, 0, 1, "{\"timesteps\":\"751,501,251,1\"}");
    tiny_drop(&l);
    tiny_tensors(&l, "sae");
    tiny_save(&files, STYLES "/sae.safetensors", &l, 0, l.count, NULL);
    check_error("statistics of another SAE", try_forget(x, "Sketch", 0, 0, &e), SAEURON_EFORMAT, &e, "stats.safetensors|64|128");
    tiny_drop(&l);
    tiny_tensor_add(&l, "Sketch", DT_F32, 2, wide)->values[65] = INFINITY;
    tiny_save(&files, STYLES "/stats.safetensors", &l, 0, 1, "{\"timesteps\":\"751,501,251,1\"}");
    check_error("infinite statistics", try_forget(x, "Sketch", 0, 0, &e), SAEURON_ENAN, &e, "stats.safetensors|Sketch|step 1");
    tiny_drop(&l);
    tiny_tensor_add(&l, "Sketch", DT_I64, 2, wide);
    tiny_save(&files, STYLES "/stats.safetensors", &l, 0, 1, "{\"timesteps\":\"751,501,251,1\"}");
    check_error("integer statistics", try_forget(x, "Sketch", 0, 0, &e), SAEURON_EFORMAT, &e, "stats.safetensors|Sketch|F32");
    tiny_drop(&l);
    done(x);
}

/* saeuron_use_sae: another folder for a hook, with or without its own statistics; "unet." before the hook is accepted. */
static void sae_elsewhere(void)
{
    shot here, there;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 60);
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &here);
    saeuron_remember(x);
    static const char *const parts[] = { "cfg.json", "sae.safetensors", "stats.safetensors", "forget.json" };
    char from[96], to[96];
    for (size_t i = 0; i < 4; i++) {
        snprintf(from, sizeof from, STYLES "/%s", parts[i]);
        snprintf(to, sizeof to, "elsewhere/%s", parts[i]);
        const tiny_file *f = tiny_find(&files, from);
        tiny_set(&files, to, f->bytes, f->size);
        tiny_set(&files, from, NULL, 0);
    }
    CHECK(try_forget(x, "Sketch", 60, 0, &e) != SAEURON_OK, "statistics that are gone were found");
    CHECK(saeuron_use_sae(x, "unet." TINY_STYLES, "tiny/elsewhere", NULL, &e) == SAEURON_OK, "%s", e.text);
    must_forget(x, "Sketch", 60);
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &there);
    CHECK(same(&here, &there), "the same SAE elsewhere draws other bits");
    done(x);
}

/* An SAE whose scratch is larger than all that the UNet needs: the plan must know of it. */
static void large_sae(void)
{
    static const size_t n = 4096, shapes[4][2] = { { 4096, 32 }, { 4096, 0 }, { 4096, 32 }, { 32, 0 } }, mu[2] = { TINY_STEPS, 4096 };
    static const char *const names[4] = { "encoder.weight", "encoder.bias", "W_dec", "b_dec" };
    static tiny_list l;
    shot plain, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    for (size_t i = 0; i < 4; i++) {
        tiny_tensor *v = tiny_tensor_add(&l, names[i], DT_F32, shapes[i][1] ? 2 : 1, shapes[i]);
        for (size_t j = 0; j < v->count; j++)
            v->values[j] = rng_symmetric(3, i, j, 0.25f);
    }
    tiny_save(&files, STYLES "/sae.safetensors", &l, 0, 4, NULL);
    tiny_text(&files, STYLES "/cfg.json", "{\"num_latents\": 4096, \"k\": 8}");
    tiny_drop(&l);
    tiny_tensor *v = tiny_tensor_add(&l, "Sketch", DT_F32, 2, mu);
    for (size_t j = 0; j < v->count; j++)
        v->values[j] = rng_uniform(3, 9, j) * 0.01f;
    tiny_save(&files, STYLES "/stats.safetensors", &l, 0, 1, "{\"timesteps\":\"751,501,251,1\"}");
    tiny_drop(&l);
    must_forget(x, "Sketch", n / 2);
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(!same(&plain, &s), "forgetting half of all latents changes nothing");
    done(x);
}

/* ---- memory, files, environment ---- */

/* Opens, forgets at both hooks, draws. */
static int whole_run(const saeuron_host *host, saeuron_context **x, shot *s, saeuron_error *e)
{
    int code = saeuron_open(x, host, "tiny", e);
    if (!code)
        code = saeuron_forget(*x, &(saeuron_forget_options){ .name = "Sketch" }, e);
    if (!code)
        code = saeuron_forget(*x, &(saeuron_forget_options){ .name = "Cats", .top = 9 }, e);
    if (!code)
        code = saeuron_steer(*x, TINY_OBJECTS, 3, -2, e);
    if (!code)
        code = saeuron_reconstruct(*x, "down_blocks.1.attentions.0", e);
    if (!code)
        code = shoot(*x, (saeuron_generate_options){ .count = 1, .steps = 1, .map_steps = 1 }, s, e);
    return code;
}

/* Every allocation fails once: SAEURON_ENOMEM with a line that says memory, nothing leaks, and the same context then succeeds. */
static void allocations_fail(void)
{
    shot good, s;
    saeuron_error e = { 0 };
    saeuron_context *x = NULL;
    tiny_make(&files);
    for (int i = 0; i < 2; i++) { /* an SAE for a third hook, without statistics */
        const tiny_file *f = tiny_find(&files, i ? STYLES "/cfg.json" : STYLES "/sae.safetensors");
        tiny_set(&files, i ? "sae/down_blocks.1.attentions.0/cfg.json" : "sae/down_blocks.1.attentions.0/sae.safetensors", f->bytes, f->size);
    }
    const saeuron_host host = tiny_host(&files);
    CHECK(whole_run(&host, &x, &good, &e) == SAEURON_OK, "%s", e.text);
    saeuron_close(x);
    const long all = files.allocs;
    CHECK(all > 30 && files.live == 0, "%ld allocations, %ld left", all, files.live);
    for (long n = 1; n <= all; n++) {
        files.allocs = 0;
        files.fail_at = n;
        e = (saeuron_error){ 0 };
        x = NULL;
        const int code = whole_run(&host, &x, &s, &e);
        CHECK(code == SAEURON_ENOMEM && e.code == SAEURON_ENOMEM && strstr(e.text, "memory"), "allocation %ld of %ld: code %d, \"%s\"", n, all, code, e.text);
        if (x) { /* the context goes on */
            saeuron_remember(x);
            must_forget(x, "Sketch", 0);
            must_forget(x, "Cats", 9);
            CHECK(!saeuron_steer(x, TINY_OBJECTS, 3, -2, &e) && !saeuron_reconstruct(x, "down_blocks.1.attentions.0", &e), "%s", e.text);
            must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 1, .map_steps = 1 }, &s);
            CHECK(same(&good, &s), "after the failure of allocation %ld the picture is another", n);
        }
        saeuron_close(x);
        CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0, "allocation %ld: %ld blocks and %ld maps are left", n, files.live, files.mapped);
    }
    test_note("%ld allocations", all);
    done(NULL);
}

/* saeuron_encode_text and saeuron_tokenize, too. */
static void text_allocations_fail(void)
{
    static float states[16 * 16], again[16 * 16];
    int32_t ids[16];
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(saeuron_encode_text(x, "cat", states, &e) == SAEURON_OK && saeuron_tokenize(x, "cat", ids, NULL, NULL, &e) == SAEURON_OK, "%s", e.text);
    for (long n = 1; n < 20; n++) {
        files.allocs = 0;
        files.fail_at = n;
        const int code = saeuron_encode_text(x, "cat", again, &e);
        if (files.allocs < n)
            break;
        CHECK(n < 19 && code == SAEURON_ENOMEM, "allocation %ld: code %d, %s", n, code, e.text);
    }
    CHECK(!memcmp(states, again, sizeof states), "the text's states differ after failures");
    done(x);
}

/* The moments [8,8,8] of a made-up picture of 16 x 16 pixels. */
static int encode_image(saeuron_context *x, float *moments, saeuron_error *e)
{
    unsigned char rgb[TINY_PIXELS];
    for (size_t i = 0; i < TINY_PIXELS; i++)
        rgb[i] = (unsigned char)rng_value(2, 3, i);
    return saeuron_encode_image(x, rgb, 16, 16, moments, e);
}

/* saeuron_encode_image, too; and it takes one block, which it uses. */
static void image_allocations_fail(void)
{
    static float moments[2 * TINY_LATENT], again[2 * TINY_LATENT];
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    files.allocs = 0;
    files.largest = files.touched = 0;
    CHECK(encode_image(x, moments, &e) == SAEURON_OK, "%s", e.text);
    CHECK(files.allocs == 1 && files.touched * 3 >= files.largest * 2, "%ld allocations; of %zu bytes planned %zu were used", files.allocs, files.largest, files.touched);
    files.allocs = 0;
    files.fail_at = 1;
    check_error("no memory", encode_image(x, again, &e), SAEURON_ENOMEM, &e, "memory|16 x 16");
    files.fail_at = 0;
    CHECK(encode_image(x, again, &e) == SAEURON_OK && !memcmp(moments, again, sizeof moments), "after a failure the moments are others");
    done(x);
}

/* The plan: one allocation, of the size that saeuron_memory foretells, and no more than a half too large. */
static void one_allocation(void)
{
    static const saeuron_generate_options shapes[] = {
        { .count = 1 }, { .count = 4 }, { .count = 5, .batch = 2 }, { .count = 1, .guidance = 1, .has_guidance = 1 }, { .count = 1, .width = 32, .height = 8 },
    };
    static unsigned char rgb[5 * TINY_PIXELS];
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        saeuron_generate_options o = shapes[i / 2];
        size_t work = 0, weights = 0, files_size = 0;
        saeuron_error e = { 0 };
        tiny_make(&files);
        saeuron_context *x = opened(NULL, 1 + (int)(i % 3));
        if (i % 2) {
            must_forget(x, "Sketch", 0);
            must_forget(x, "Cats", 0);
        }
        o.prompts = prompts;
        o.steps = TINY_STEPS;
        CHECK(saeuron_memory(x, &o, &work, &weights, &e) == SAEURON_OK, "%s", e.text);
        files.largest = files.touched = 0;
        CHECK(saeuron_generate(x, &o, rgb, &e) == SAEURON_OK, "%s", e.text);
        CHECK(files.largest == work, "saeuron_memory says %zu bytes, saeuron_generate took %zu", work, files.largest);
        CHECK(files.touched <= work && files.touched * 3 >= work * 2, "shape %zu: of %zu bytes planned %zu were used", i, work, files.touched);
        files_size = tiny_find(&files, UNET)->size + tiny_find(&files, VAE)->size + tiny_find(&files, TEXT)->size;
        if (i % 2)
            files_size += 2 * tiny_find(&files, STYLES "/sae.safetensors")->size;
        CHECK(weights == files_size, "saeuron_memory says %zu bytes of weights, the files have %zu", weights, files_size);
        done(x);
    }
}

/* A stop asked for by progress at any step, or by the tap at any module, ends the call there; then the context draws the same bits. */
typedef struct stopper { long calls, stop_at; } stopper;

static int stop_tap(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    stopper *s = user;
    (void)name, (void)step, (void)first, (void)values, (void)shape, (void)kind;
    return ++s->calls == s->stop_at;
}

static void cancels(void)
{
    shot good, s;
    stopper t = { 0, 0 };
    saeuron_error e;
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 0);
    saeuron_generate_options o = { .count = 3, .batch = 2 };
    files.progressed = 0;
    must_shoot(x, o, &good);
    const long all = files.progressed;
    CHECK(all == 2 * TINY_STEPS, "%ld calls of progress for 2 batches of %d steps", all, TINY_STEPS);
    for (long n = 1; n <= all; n++) {
        files.progressed = 0;
        files.cancel_at = n;
        e = (saeuron_error){ 0 };
        check_error("progress", shoot(x, o, &s, &e), SAEURON_ECANCEL, &e, "stopped");
        CHECK(files.progressed == n, "progress was called %ld times after the stop at %ld", files.progressed - n, n);
    }
    files.cancel_at = 0;
    must_shoot(x, o, &s);
    CHECK(same(&good, &s), "after a stop the picture is another");
    o.tap = stop_tap;
    o.tap_user = &t;
    must_shoot(x, o, &s);
    CHECK(same(&good, &s), "a tap that only looks changes the picture");
    const long taps = t.calls;
    for (long n = 1; n <= taps; n += n < 60 || n > taps - 20 ? 1 : 13) {
        t = (stopper){ 0, n };
        e = (saeuron_error){ 0 };
        check_error("tap", shoot(x, o, &s, &e), SAEURON_ECANCEL, &e, "stopped");
        CHECK(t.calls == n, "the tap was called %ld times after its stop at %ld of %ld", t.calls - n, n, taps);
    }
    o.tap = NULL;
    must_shoot(x, o, &s);
    CHECK(same(&good, &s), "after a stop the picture is another");
    done(x);
}

/* A tap may change values (that is --inject): the change goes on into the picture. */
static int change_tap(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    (void)first, (void)shape, (void)kind;
    if (!strcmp(name, user) && step <= 0)
        values[0] += 1;
    return 0;
}

static void taps_change(void)
{
    static char names[][64] = { "unet.time_embedding", "unet.conv_in", "unet.mid_block.resnets.1", "unet.up_blocks.0.attentions.1.transformer_block", "unet.conv_out",
                                "text_encoder.encoder.layers.0", "vae.decoder.conv_in" };
    shot plain, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        must_shoot(x, (saeuron_generate_options){ .count = 1, .tap = change_tap, .tap_user = names[i] }, &s);
        CHECK(same(&plain, &s) == (i == 3), "a change at %s %s the picture", names[i], i == 3 ? "(no module) changes" : "does not change");
    }
    done(x);
}

/* Flush-to-zero or another rounding is refused at every entry that computes, before anything is done. */
static void environment(void)
{
    static float states[16 * 16], moments[2 * TINY_LATENT];
    shot s;
    saeuron_context *x = fresh(), *y = NULL;
    const saeuron_host host = tiny_host(&files);
    const saeuron_generate_options o = { .prompts = prompts, .count = 1 };
    int codes[2][6] = { { SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV }, { SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV } };
    saeuron_error e[2][6];
    size_t a, b;
    memset(e, 0, sizeof e);
    for (int i = 0; i < 2; i++) {
#ifdef __SSE2__
        const unsigned before = _mm_getcsr();
        if (i)
            _mm_setcsr(before | 0x8040); /* flush to zero, denormals are zero */
        else
#else
        if (i)
            break;
#endif
            fesetround(FE_UPWARD);
        codes[i][0] = saeuron_open(&y, &host, "tiny", &e[i][0]);
        codes[i][1] = try_forget(x, "Sketch", 0, 0, &e[i][1]);
        codes[i][2] = shoot(x, o, &s, &e[i][2]);
        codes[i][3] = saeuron_encode_text(x, "cat", states, &e[i][3]);
        codes[i][4] = saeuron_memory(x, &o, &a, &b, &e[i][4]);
        codes[i][5] = encode_image(x, moments, &e[i][5]);
        fesetround(FE_TONEAREST);
#ifdef __SSE2__
        _mm_setcsr(before);
#endif
    }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 6; j++)
            if (e[i][j].code || codes[i][j] != SAEURON_EENV)
                check_error(i ? "flush to zero" : "rounding upward", codes[i][j], SAEURON_EENV, &e[i][j], "floating-point environment");
    must_shoot(x, o, &s);
    done(x);
}

/* A pool of threads that a host program started under another rounding keeps it: such a call is refused, or its bits are right
 * (a runtime may hand its caller's settings on: libomp does, libgomp does not). */
static void environment_of_pool(void)
{
#ifdef _OPENMP
    static float states[2][16 * 16];
    shot one, two;
    saeuron_error e[2];
    saeuron_context *x = fresh();
    const saeuron_generate_options o = { .prompts = prompts, .count = 2 };
    must_shoot(x, o, &one);
    CHECK(saeuron_encode_text(x, "cat", states[0], NULL) == SAEURON_OK, "cannot encode");
    saeuron_close(x);
    if (!(x = opened(NULL, 2)))
        return;
#pragma omp parallel num_threads(2)
    if (omp_get_thread_num())
        fesetround(FE_UPWARD);
    memset(e, 0, sizeof e);
    const int sampled = shoot(x, o, &two, &e[0]), encoded = saeuron_encode_text(x, "cat", states[1], &e[1]);
#pragma omp parallel num_threads(2)
    fesetround(FE_TONEAREST);
    if (sampled || e[0].code)
        check_error("sampling with a pool that rounds upward", sampled, SAEURON_EENV, &e[0], "OpenMP's pool");
    else
        CHECK(same(&one, &two), "a pool that rounds upward changes the picture");
    if (encoded || e[1].code)
        check_error("encoding with a pool that rounds upward", encoded, SAEURON_EENV, &e[1], "OpenMP's pool");
    else
        CHECK(!memcmp(states[0], states[1], sizeof states[0]), "a pool that rounds upward changes the text states");
    must_shoot(x, o, &two);
    CHECK(same(&one, &two), "afterwards the picture differs");
    done(x);
#else
    test_skip("built without OpenMP: there is no pool");
#endif
}

/* ---- loading ---- */

/* What is wrong with a tensor is said with its name and its file. */
static void tensor_errors(void)
{
    static const struct { const char *network, *file, *tensor; } victims[] = {
        { "unet", UNET, "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_k.weight" }, { "unet", UNET, "conv_norm_out.bias" },
        { "vae", VAE, "decoder.up_blocks.1.resnets.0.conv_shortcut.weight" }, { "vae", VAE, "encoder.down_blocks.0.downsamplers.0.conv.weight" }, { "vae", VAE, "quant_conv.bias" }, { "text_encoder", TEXT, "text_model.encoder.layers.1.mlp.fc2.bias" },
    };
    static tiny_list l;
    char words[256];
    for (size_t i = 0; i < sizeof victims / sizeof *victims; i++)
        for (int kind = 0; kind < 8; kind++) {
            static const int codes[8] = { SAEURON_EFORMAT, SAEURON_EFORMAT, SAEURON_EFORMAT, SAEURON_EFORMAT, SAEURON_ENAN, SAEURON_ENAN, SAEURON_ENAN, SAEURON_EFORMAT };
            static const char *const says[8] = { "missing", "unknown", "shape", "F32, F16 or BF16", "not finite at element 3", "not finite at element 3", "not finite at element 3", "F32, F16 or BF16" };
            tiny_make(&files);
            tiny_tensors(&l, victims[i].network);
            tiny_tensor *v = tiny_tensor_named(&l, victims[i].tensor);
            snprintf(words, sizeof words, "%s|%s|%s", victims[i].file, victims[i].tensor, says[kind]);
            if (kind == 0)
                strcpy(v->name, "renamed"); /* missing comes before unknown */
            else if (kind == 1)
                snprintf(words, sizeof words, "%s|surplus.weight|unknown", victims[i].file), tiny_tensor_add(&l, "surplus.weight", DT_F32, 1, (size_t[]){ 3 });
            else if (kind == 2)
                v->shape[0] += 1, v->count = v->count / (v->shape[0] - 1) * v->shape[0], v->values = realloc(v->values, v->count * sizeof *v->values),
                memset(v->values, 0, v->count * sizeof *v->values);
            else if (kind == 3)
                v->type = DT_F64;
            else if (kind == 4)
                v->values[3] = NAN;
            else if (kind == 5)
                v->type = DT_F16, v->values[3] = NAN;
            else if (kind == 6)
                v->type = DT_BF16, v->values[3] = -INFINITY;
            else
                v->type = DT_I64;
            tiny_save(&files, victims[i].file, &l, 0, l.count, NULL);
            open_fails(victims[i].tensor, codes[kind], words);
            tiny_drop(&l);
            tiny_free(&files);
        }
}

/* A value that only looks like NaN's neighbour must pass: the largest finite F32, F16 and BF16. */
static void largest_values_load(void)
{
    static tiny_list l;
    static const dtype types[] = { DT_F32, DT_F16, DT_BF16 };
    static const float largest[] = { 0x1.fffffep127f, 65504, 0x1.fep127f };
    for (size_t i = 0; i < 3; i++) {
        tiny_make(&files);
        tiny_tensors(&l, "vae");
        tiny_tensor *v = tiny_tensor_named(&l, "decoder.conv_in.weight");
        v->type = types[i];
        v->values[0] = largest[i];
        v->values[1] = -largest[i];
        tiny_save(&files, VAE, &l, 0, l.count, NULL);
        tiny_drop(&l);
        done(opened(NULL, 1));
    }
}

/* Each key with a wrong type, an unsupported value, or unknown: the message names file and key. */
static void config_errors(void)
{
    static const char u[] = "unet/config.json", v[] = "vae/config.json", t[] = "text_encoder/config.json", s[] = "scheduler/scheduler_config.json", c[] = "concepts.json";
    static const struct { const char *file, *from, *to, *words; } cases[] = {
        { u, "\"norm_eps\"", "\"norm_epsilon\"", "norm_epsilon|unknown" }, { u, "1e-05", "\"small\"", "norm_eps|number" }, { u, "\"silu\"", "\"gelu\"", "act_fn|silu" },
        { u, "\"layers_per_block\": 2", "\"layers_per_block\": 2.5", "layers_per_block" }, { u, "\"layers_per_block\": 2", "\"layers_per_block\": 9", "layers_per_block" },
        { u, "\"layers_per_block\": 2", "\"layers_per_block\": [2, 2]", "layers_per_block" },
        { u, "[16, 32]", "[16, 30]", "block_out_channels|30" }, { u, "[16, 32]", "16", "block_out_channels" }, { u, "[16, 32]", "[]", "block_out_channels" },
        { u, "[16, 32]", "[16, 32, 32]", "down_block_types" }, { u, "[16, 32]", "[16, -32]", "block_out_channels" }, { u, "[16, 32]", "[16,16,16,16,16,16,16,16,16]", "block_out_channels" },
        { u, "\"DownBlock2D\"", "\"AttnDownBlock2D\"", "down_block_types" }, { u, "\"UpBlock2D\"", "3", "up_block_types" }, { u, ", \"UpBlock2D\"", "", "up_block_types" },
        { u, "\"up_block_types\"", "\"_up\"", "up_block_types|missing" },
        { u, "true", "\"yes\"", "flip_sin_to_cos|true or false" }, { u, "\"attention_head_dim\": 2", "\"attention_head_dim\": 5", "heads" },
        { u, "\"attention_head_dim\": 2", "\"attention_head_dim\": [2]", "attention_head_dim" }, { u, "\"attention_head_dim\": 2", "\"attention_head_dim\": 0", "attention_head_dim" },
        { u, "\"freq_shift\": 0", "\"freq_shift\": 0, \"class_embed_type\": \"timestep\"", "class_embed_type" },
        { u, "\"freq_shift\": 0", "\"freq_shift\": 0, \"transformer_layers_per_block\": 12", "transformer_layers_per_block" },
        { u, "\"cross_attention_dim\": 16", "\"cross_attention_dim\": 24", "to_k.weight" }, { u, "\"in_channels\": 4", "\"in_channels\": 9", "conv_in.weight" },
        { u, "\"norm_num_groups\": 4", "\"norm_num_groups\": 0", "norm_num_groups" }, { u, "{", "", "unet/config.json" }, { u, "}", "", "unet/config.json" }, { u, "{", "[{", "unet/config.json" },
        { v, "\"act_fn\": \"silu\"", "\"act_fn\": \"relu\"", "act_fn" }, { v, "[8, 16]", "8", "block_out_channels" }, { v, "[8, 16]", "[8, 18]", "block_out_channels|18" },
        { v, "0.5", "0", "scaling_factor" }, { v, "0.5", "-1", "scaling_factor" }, { v, "\"UpDecoderBlock2D\"", "\"AttnUpDecoderBlock2D\"", "up_block_types" },
        { v, "\"latent_channels\": 4", "\"latent_channels\": 8", "encoder.conv_out.weight" }, { v, "{", "{\"down_block_types\": [\"AttnDownEncoderBlock2D\"],", "down_block_types|DownEncoderBlock2D" },
        { v, "{", "{\"in_channels\": 4,", "in_channels|3" }, { v, "{", "{\"use_quant_conv\": 1,", "use_quant_conv|true or false" }, { v, "{", "{\"use_quant_conv\": false,", "tensor quant_conv.|unknown" }, { v, "\"layers_per_block\"", "\"layers\"", "layers|unknown" },
        { t, "quick_gelu", "gelu_new", "hidden_act|gelu_new" }, { t, "\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "num_attention_heads" },
        { t, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 200", "num_hidden_layers" }, { t, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "encoder.layers.1" },
        { t, "\"vocab_size\": 5", "\"vocab_size\": 4", "token_embedding.weight" }, { t, "\"hidden_size\"", "\"hidden_sise\"", "hidden_sise|unknown" },
        { s, "scaled_linear", "linear", "beta_schedule" }, { s, "\"trained_betas\": null", "\"trained_betas\": [0.1]", "trained_betas" },
        { s, "\"num_train_timesteps\": 1000", "\"num_train_timesteps\": 500", "num_train_timesteps" }, { s, "\"steps_offset\": 1", "\"prediction_type\": \"sample\"", "prediction_type|sample" },
        { s, "\"steps_offset\": 1", "\"timestep_spacing\": \"trailing\"", "timestep_spacing" }, { s, "\"steps_offset\": 1", "\"rescale_betas_zero_snr\": true", "rescale_betas_zero_snr" },
        { s, "\"steps_offset\": 1", "\"steps_ofset\": 1", "steps_ofset|unknown" }, { s, "\"clip_sample\": false,", "", "clip_sample|PNDMScheduler" }, { s, "0.00085", "-1", "beta_start" }, { s, "0.012", "2", "beta_end" },
        { s, "0.012", "\"a\"", "beta_end" }, { s, "\"beta_schedule\"", "\"_beta\"", "beta_schedule|missing" },
        { c, "\"steps\": 4", "\"steps\": 0", "concepts.json|steps" }, { c, "\"guidance\": 3", "\"guidance\": \"3\"", "concepts.json|guidance" }, { c, "\"guidance\": 3", "\"guidance\": -3", "concepts.json|guidance" },
        { "tokenizer/vocab.json", "{", "[", "vocab.json" }, { "tokenizer/vocab.json", "\"a\": 97", "\"a\": 9999", "vocab.json" }, { "tokenizer/merges.txt", "c a", "c", "merges.txt" },
        { "tokenizer/tokenizer_config.json", "16", "-2", "tokenizer_config.json|model_max_length" },
    };
    char folder[128];
    static const char *const gone[] = { "unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt",
                                        UNET, VAE, TEXT };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_make(&files);
        tiny_edit(&files, cases[i].file, cases[i].from, cases[i].to);
        open_fails(cases[i].to, SAEURON_EFORMAT, cases[i].words);
        tiny_free(&files);
    }
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        tiny_make(&files);
        tiny_set(&files, gone[i], NULL, 0);
        snprintf(folder, sizeof folder, "%.*s|%s", (int)strcspn(gone[i], "/"), gone[i], strchr(gone[i], '/') + 1);
        open_fails(gone[i], SAEURON_ENOENT, folder);
        tiny_free(&files);
    }
}

/* Gives dimension 1 of every tensor whose name holds part another size, with zeros. */
static void widen(tiny_list *l, const char *part, size_t size)
{
    for (size_t i = 0; i < l->count; i++)
        if (strstr(l->at[i].name, part)) {
            tiny_tensor *v = &l->at[i];
            v->count = v->count / v->shape[1] * size;
            v->shape[1] = size;
            free(v->values);
            v->values = calloc(v->count, sizeof *v->values);
        }
}

/* Parts that are each sound but belong to different models. */
static void parts_do_not_fit(void)
{
    static tiny_list l;
    for (int kind = 0; kind < 3; kind++) {
        tiny_make(&files);
        tiny_tensors(&l, "unet");
        if (kind == 0) {
            widen(&l, "attn2.to_k.weight", 24);
            widen(&l, "attn2.to_v.weight", 24);
            tiny_edit(&files, "unet/config.json", "\"cross_attention_dim\": 16", "\"cross_attention_dim\": 24");
        } else if (kind == 1) {
            widen(&l, "conv_in.weight", 8);
            tiny_edit(&files, "unet/config.json", "\"in_channels\": 4", "\"in_channels\": 8");
        } else {
            tiny_edit(&files, "tokenizer/vocab.json", "{", "{\"new\": 525, ");
        }
        tiny_save(&files, UNET, &l, 0, l.count, NULL);
        tiny_drop(&l);
        open_fails("parts of two models", SAEURON_EFORMAT, kind == 0 ? "24|16|cross_attention_dim" : kind == 1 ? "in_channels|latent_channels" : "tokenizer|526|525|vocab_size");
        tiny_free(&files);
    }
}

/* What other files may carry without meaning anything, and keys that only their default may have. */
static void configs_accepted(void)
{
    static const struct { const char *file, *from, *to; } cases[] = {
        { "unet/config.json", "{", "{\"_name_or_path\": \"x\", \"torch_dtype\": \"float16\", \"dropout\": 0.0, \"class_embed_type\": null, \"dual_cross_attention\": false," },
        { "unet/config.json", "\"attention_head_dim\": 2", "\"attention_head_dim\": [4, 2], \"num_attention_heads\": null, \"downsample_padding\": 1.0" },
        { "unet/config.json", "\"attention_head_dim\": 2", "\"attention_head_dim\": 8, \"num_attention_heads\": 2" },
        { "vae/config.json", "{", "{\"force_upcast\": true, \"latents_mean\": null, \"in_channels\": 3, \"down_block_types\": [\"DownEncoderBlock2D\"]," },
        { "text_encoder/config.json", "{", "{\"transformers_version\": \"5\", \"projection_dim\": 16, \"dropout\": 0.0, \"bos_token_id\": 0," },
        { "scheduler/scheduler_config.json", "\"steps_offset\": 1", "\"steps_offset\": 0" }, /* the pipeline forces 1 */
        { "scheduler/scheduler_config.json", "\"clip_sample\": false", "\"clip_sample\": true" }, /* and false */
        { "scheduler/scheduler_config.json", "PNDMScheduler", "DDIMScheduler" },
        { "concepts.json", "{", "{\"note\": 1," },
    };
    shot plain, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    done(x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_make(&files);
        tiny_edit(&files, cases[i].file, cases[i].from, cases[i].to);
        x = opened(NULL, 1);
        if (x)
            must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
        CHECK(same(&plain, &s), "%s: %s changes the picture", cases[i].file, cases[i].to);
        done(x);
    }
}

/* Without concepts.json: 50 steps and guidance 7.5. */
static void defaults(void)
{
    shot a, b;
    tiny_make(&files);
    tiny_set(&files, "concepts.json", NULL, 0);
    saeuron_context *x = opened(NULL, 1);
    files.progressed = 0;
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &a);
    CHECK(files.progressed == 50, "the default is %ld steps", files.progressed);
    must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 50, .guidance = 7.5, .has_guidance = 1 }, &b);
    CHECK(same(&a, &b), "the default guidance is not 7.5");
    done(x);
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

/* SD 1.5's folders: the VAE's attention under its old names, in both its halves, position_ids, names without text_model. */
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

/* The same values as F32, F16, BF16, mixed, under fp16 names, and in shards, are the same model. */
static void dtypes_and_shards(void)
{
    static const struct { const char *network, *file; } parts[] = { { "unet", UNET }, { "vae", VAE }, { "text_encoder", TEXT }, { "sae", STYLES "/sae.safetensors" } };
    static tiny_list l;
    shot plain, s;
    uint64_t digest = 0;
    for (int kind = 0; kind < 6; kind++) {
        static const char *const kinds[] = { "F32", "F16", "BF16", "mixed", ".fp16. names", "shards" };
        saeuron_error e = { 0 };
        tiny_make(&files);
        for (size_t p = 0; p < 4; p++) {
            char name[160];
            tiny_tensors(&l, parts[p].network);
            for (size_t i = 0; i < l.count; i++)
                l.at[i].type = kind == 1 || kind == 4 ? DT_F16 : kind == 2 ? DT_BF16 : kind == 3 ? (dtype)(DT_F32 + i % 3) : DT_F32;
            if (kind >= 4)
                tiny_set(&files, parts[p].file, NULL, 0);
            if (kind == 4) {
                snprintf(name, sizeof name, "%.*s.fp16.safetensors", (int)(strlen(parts[p].file) - 12), parts[p].file);
                tiny_save(&files, name, &l, 0, l.count, NULL);
            } else if (kind == 5) {
                char *index = malloc(200 * l.count);
                const size_t half = l.count / 2, stem = strlen(parts[p].file) - 12;
                size_t at = (size_t)sprintf(index, "{\"metadata\": {}, \"weight_map\": {");
                const char *base = strrchr(parts[p].file, '/') + 1;
                for (size_t i = 0; i < l.count; i++)
                    at += (size_t)sprintf(index + at, "%s\"%s\": \"%.*s-0000%d-of-00002.safetensors\"", i ? ", " : "", l.at[i].name,
                                          (int)(strlen(base) - 12), base, i < half ? 1 : 2);
                strcpy(index + at, "}}");
                for (int n = 1; n <= 2; n++) {
                    snprintf(name, sizeof name, "%.*s-0000%d-of-00002.safetensors", (int)stem, parts[p].file, n);
                    tiny_save(&files, name, &l, n == 1 ? 0 : half, n == 1 ? half : l.count, NULL);
                }
                snprintf(name, sizeof name, "%.*s.safetensors.index.json", (int)stem, parts[p].file);
                tiny_text(&files, name, index);
                free(index);
            } else {
                tiny_save(&files, parts[p].file, &l, 0, l.count, NULL);
            }
            tiny_drop(&l);
        }
        saeuron_context *x = opened(NULL, 1);
        if (x) {
            CHECK(try_forget(x, "Sketch", 60, 0, &e) == SAEURON_OK, "%s: %s", kinds[kind], e.text);
            must_shoot(x, (saeuron_generate_options){ .count = 1 }, kind ? &s : &plain);
            digest = kind ? digest : saeuron_model_digest(x);
            CHECK(kind == 0 || same(&plain, &s), "%s: another picture than F32's", kinds[kind]);
            CHECK((digest == saeuron_model_digest(x)) == (kind == 0 || kind == 5), "%s: the model's digest", kinds[kind]);
        }
        done(x);
    }
}

/* A UNet with more attentions than any real one: no fixed table may overflow (ASan sees it). */
static void many_levels(void)
{
    static const char text[] = "{\"block_out_channels\": [4,4,4,4,4,4,4,4], \"norm_num_groups\": 2, \"attention_head_dim\": 1, \"cross_attention_dim\": 4, \"layers_per_block\": 3,"
        "\"down_block_types\": [\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\"],"
        "\"up_block_types\": [\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\"]}";
    static unet u;
    saeuron_error e = { 0 };
    json  v;
    void *weights = NULL;
    arena work = { 0 };
    nn    c;
    struct { text_kv kv; float *after[64]; } room; /* an overflow lands in after */
    static float states[4] = { 1, 2, 3, 4 };
    if (json_open(&v, text, strlen(text), "text", &e) || unet_configure(&u, v, "text", &e) || bind_network(NULL, NULL, 1, unet_bind, &u, &weights, &e)) {
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

/* ---- options ---- */

/* Every option outside its range is refused with its name. */
static void option_errors(void)
{
    static const struct { saeuron_generate_options o; const char *words; } cases[] = {
        { { .count = 0 }, "prompt" }, { { .count = 1, .width = 17 }, "width" }, { { .count = 1, .height = 20000 }, "height" }, { { .count = 1, .steps = 1000 }, "steps" },
        { { .count = 1, .steps = 1001 }, "steps" }, { { .count = 1, .guidance = -1, .has_guidance = 1 }, "guidance" }, { { .count = 1, .residual = 3 }, "residual" },
        { { .count = 1, .residual = -1 }, "residual" }, { { .count = 1, .guidance = 1e9, .has_guidance = 1 }, "guidance" },
    };
    static const char *const bad[] = { "\xFF", "a\xC0\x80", "\xED\xA0\x80" };
    saeuron_error e = { 0 };
    shot s;
    int32_t ids[16];
    saeuron_context *x = fresh();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_error(cases[i].words, shoot(x, cases[i].o, &s, &e), SAEURON_EUSAGE, &e, cases[i].words);
    check_error("NaN", shoot(x, (saeuron_generate_options){ .count = 1, .guidance = NAN, .has_guidance = 1 }, &s, &e), SAEURON_EUSAGE, &e, "guidance");
    check_error("no prompts", saeuron_generate(x, &(saeuron_generate_options){ .count = 1 }, s.rgb, &e), SAEURON_EUSAGE, &e, "prompt");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_error("not UTF-8", shoot(x, (saeuron_generate_options){ .prompts = bad + i, .count = 1 }, &s, &e), SAEURON_EUSAGE, &e, "UTF-8");
        check_error("not UTF-8", saeuron_tokenize(x, bad[i], ids, NULL, NULL, &e), SAEURON_EUSAGE, &e, "UTF-8");
    }
    CHECK(shoot(x, (saeuron_generate_options){ .count = 0 }, &s, NULL) == SAEURON_EUSAGE, "err may be NULL");
    done(x);
}

/* Values that overflow on the way are an error with the place, not a black picture. */
static void not_finite_on_the_way(void)
{
    static float noise[TINY_LATENT];
    shot s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    for (size_t i = 0; i < TINY_LATENT; i++)
        noise[i] = i % 2 ? 1e38f : -1e38f;
    const int code = shoot(x, (saeuron_generate_options){ .count = 1, .noise = noise, .guidance = 9000, .has_guidance = 1 }, &s, &e);
    check_error("overflow", code, SAEURON_ENAN, &e, "not finite|step 0");
    must_forget(x, "Sketch", 60);
    saeuron_close(x);
    noise[3] = NAN;
    x = opened(NULL, 2); /* each thread has its half of the batch, and its own error */
    must_forget(x, "Sketch", 60);
    check_error("NaN noise, two threads", shoot(x, (saeuron_generate_options){ .count = 1, .noise = noise }, &s, &e), SAEURON_ENAN, &e, "unet." TINY_STYLES "|not finite|step 0");
    check_error("NaN noise", shoot(x, (saeuron_generate_options){ .count = 1, .noise = noise }, &s, &e), SAEURON_ENAN, &e, "unet." TINY_STYLES "|not finite|step 0");
    done(x);
}

/* An image of another size; 16-value blocks of randn; the size that saeuron_image_size foretells. */
static void sizes(void)
{
    static unsigned char rgb[64 * 16 * 3];
    saeuron_error e = { 0 };
    size_t W = 0, H = 0;
    saeuron_context *x = fresh();
    saeuron_generate_options o = { .prompts = prompts, .count = 1, .width = 64, .height = 16 };
    CHECK(saeuron_image_size(x, &o, &W, &H, &e) == SAEURON_OK && W == 64 && H == 16, "%zu x %zu", W, H);
    CHECK(saeuron_generate(x, &o, rgb, &e) == SAEURON_OK, "%s", e.text);
    o.width = o.height = 0;
    CHECK(saeuron_image_size(x, &o, &W, &H, &e) == SAEURON_OK && W == 16 && H == 16, "%zu x %zu", W, H);
    o.width = o.height = 4;
    CHECK(saeuron_generate(x, &o, rgb, &e) == SAEURON_OK, "%s", e.text); /* 4 x 2 x 2 values: one block */
    done(x);
}

/* The text encoder alone: states of the right size, finite, that depend on the text; ids with both ends and the padding. */
static void text(void)
{
    static float a[16 * 16], b[16 * 16];
    int32_t ids[16];
    size_t  count = 0, cut = 9;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(saeuron_text_length(x) == 16 && saeuron_text_width(x) == 16, "%zu x %zu", saeuron_text_length(x), saeuron_text_width(x));
    CHECK(saeuron_encode_text(x, "cat", a, &e) == SAEURON_OK && saeuron_encode_text(x, "dog", b, &e) == SAEURON_OK, "%s", e.text);
    CHECK(memcmp(a, b, sizeof a) && !memcmp(a, b, 16 * sizeof *a), "the texts' states: the start token's are equal, the others are not");
    CHECK(saeuron_tokenize(x, "Cat  sketch", ids, &count, &cut, &e) == SAEURON_OK && count == 4 && cut == 0, "%zu ids, %zu cut, %s", count, cut, e.text);
    CHECK(saeuron_token(x, ids[1]) && !strcmp(saeuron_token(x, ids[1]), "cat</w>") && !strcmp(saeuron_token(x, ids[2]), "sketch</w>"), "the pieces are %s", saeuron_token(x, ids[1]));
    CHECK(ids[3] == ids[15] && !saeuron_token(x, -1) && !saeuron_token(x, 99999), "the padding, and ids out of range");
    CHECK(saeuron_tokenize(x, "a b c d e f g h i j k l m n o p", ids, &count, &cut, &e) == SAEURON_OK && count == 16 && cut == 2, "%zu ids, %zu cut", count, cut);
    saeuron_close(x);
    tiny_set(&files, "tokenizer/tokenizer_config.json", NULL, 0); /* 77 then, but the text encoder has 16 positions */
    x = opened(NULL, 1);
    CHECK(saeuron_text_length(x) == 16 && saeuron_encode_text(x, "cat", b, &e) == SAEURON_OK && !memcmp(b, a, sizeof a), "%zu tokens for 16 positions, or other states", saeuron_text_length(x));
    done(x);
}

/* ---- images to latents ---- */

/* The moments of an image depend on no number of threads and no kernels; on the image they do. */
static void image_bits(void)
{
    static float first[2 * TINY_LATENT], other[2 * TINY_LATENT], wide[4 * TINY_LATENT];
    unsigned char rgb[2 * TINY_PIXELS] = { 0 };
    size_t shape[3] = { 0 };
    char   list[128], *isa = list;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(encode_image(x, first, &e) == SAEURON_OK, "%s", e.text);
    saeuron_close(x);
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (bool more = true; more;) {
        nn c;
        const size_t n = strcspn(isa, ",");
        more = isa[n] != 0;
        isa[n] = 0;
        for (int threads = 1; threads <= 3 && nn_init(&c, isa, 1, NULL); threads++) {
            x = opened(isa, threads);
            CHECK(encode_image(x, other, &e) == SAEURON_OK && !memcmp(first, other, sizeof first), "%s, %d threads: other moments; %s", isa, threads, e.text);
            saeuron_close(x);
        }
        isa += n + more;
    }
    x = opened(NULL, 1);
    CHECK(saeuron_latent_size(x, 32, 16, shape, &e) == SAEURON_OK && shape[0] == 4 && shape[1] == 8 && shape[2] == 16, "[%zu, %zu, %zu]", shape[0], shape[1], shape[2]);
    CHECK(saeuron_encode_image(x, rgb, 32, 16, wide, &e) == SAEURON_OK && saeuron_encode_image(x, rgb, 16, 16, other, &e) == SAEURON_OK, "%s", e.text);
    CHECK(memcmp(first, other, sizeof first), "a black picture has the moments of any other");
    done(x);
}

/* Sizes that the VAE's factor does not divide, or that nobody has: before any memory is asked for. */
static void image_sizes(void)
{
    static const size_t bad[][2] = { { 15, 16 }, { 16, 15 }, { 0, 16 }, { 16, 0 }, { 8194, 16 }, { 16, SIZE_MAX - 1 } };
    static float moments[2 * TINY_LATENT];
    static const unsigned char rgb[TINY_PIXELS];
    saeuron_error e = { 0 };
    size_t shape[3];
    saeuron_context *x = fresh();
    files.allocs = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_error("a size", saeuron_encode_image(x, rgb, bad[i][0], bad[i][1], moments, &e), SAEURON_EUSAGE, &e, "multiples of 2|8192");
        check_error("a size", saeuron_latent_size(x, bad[i][0], bad[i][1], shape, &e), SAEURON_EUSAGE, &e, "multiples of 2|8192");
    }
    CHECK(files.allocs == 0, "%ld allocations for images of no size", files.allocs);
    CHECK(saeuron_encode_image(x, rgb, 2, 2, moments, &e) == SAEURON_OK, "%s", e.text); /* one latent pixel */
    done(x);
}

/* The logarithm of the variance is kept in [-30, 20], the mean is not; the mode is shifted, then scaled. */
static void image_moments(void)
{
    static tiny_list l;
    static float m[2 * TINY_LATENT], z[TINY_LATENT];
    saeuron_error e = { 0 };
    tiny_make(&files);
    tiny_tensors(&l, "vae");
    float *bias = tiny_tensor_named(&l, "quant_conv.bias")->values;
    bias[0] = bias[4] = 200;
    bias[1] = bias[5] = -200;
    tiny_save(&files, VAE, &l, 0, l.count, NULL);
    tiny_drop(&l);
    tiny_edit(&files, "vae/config.json", "{", "{\"shift_factor\": 0.25,");
    saeuron_context *x = opened(NULL, 1);
    CHECK(encode_image(x, m, &e) == SAEURON_OK, "%s", e.text);
    saeuron_mode(x, z, m, TINY_LATENT);
    for (size_t i = 0; i < 64; i++) {
        CHECK(m[i] > 100 && m[64 + i] < -100 && m[4 * 64 + i] == 20 && m[5 * 64 + i] == -30, "pixel %zu: means %g, %g, logarithms %g, %g", i, (double)m[i],
              (double)m[64 + i], (double)m[4 * 64 + i], (double)m[5 * 64 + i]);
        CHECK(m[6 * 64 + i] > -30 && m[6 * 64 + i] < 20 && m[6 * 64 + i] != m[7 * 64 + i], "pixel %zu: %g is no logarithm", i, (double)m[6 * 64 + i]);
    }
    for (size_t i = 0; i < TINY_LATENT; i++) {
        const float shifted = m[i] - 0.25f, scaled = shifted * 0.5f;
        CHECK(z[i] == scaled, "latent %zu is %g, not %g", i, (double)z[i], (double)scaled);
    }
    done(x);
}

/* A VAE saved without its encoder draws the same picture and says why it encodes none; quant_conv may be left over. Half an
 * encoder is an error as any missing tensor is (tensor_errors). */
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
            if (strncmp(l.at[i].name, "encoder.", 8) && (with_quant_conv || strncmp(l.at[i].name, "quant_conv.", 11)))
                kept.at[kept.count++] = l.at[i];
        CHECK(kept.count < l.count - 20, "%zu of %zu tensors are the decoder's", kept.count, l.count);
        tiny_save(&files, VAE, &kept, 0, kept.count, NULL);
        tiny_drop(&l);
        x = opened(NULL, 1);
        if (x) {
            must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
            CHECK(same(&plain, &s), "without the encoder the picture is another");
            check_error("no encoder", encode_image(x, moments, &e), SAEURON_EFORMAT, &e, VAE "|no encoder");
            must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
            CHECK(same(&plain, &s), "after the error the picture is another");
        }
        done(x);
    }
}

/* Weights whose products overflow are an error that says where, and a stop asked for meanwhile is obeyed. */
static void image_fails(void)
{
    static tiny_list l;
    static float moments[2 * TINY_LATENT];
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    files.progressed = 0;
    files.cancel_at = 1;
    check_error("progress", encode_image(x, moments, &e), SAEURON_ECANCEL, &e, "stopped");
    files.cancel_at = 0;
    CHECK(encode_image(x, moments, &e) == SAEURON_OK && files.progressed == 2, "%s; %ld calls of progress", e.text, files.progressed);
    saeuron_close(x);
    tiny_tensors(&l, "vae");
    tiny_tensor *v = tiny_tensor_named(&l, "quant_conv.weight");
    for (size_t i = 0; i < v->count; i++)
        v->values[i] = i % 2 ? 3e38f : -3e38f;
    tiny_save(&files, VAE, &l, 0, l.count, NULL);
    tiny_drop(&l);
    x = opened(NULL, 1);
    check_error("overflow", encode_image(x, moments, &e), SAEURON_ENAN, &e, "not finite|latents");
    done(x);
}

/* Two contexts do not know of each other. */
static void two_contexts(void)
{
    shot a, b;
    saeuron_context *x = fresh(), *y = opened(NULL, 1);
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &a);
    must_forget(y, "Sketch", 60);
    must_shoot(y, (saeuron_generate_options){ .count = 1 }, &b);
    CHECK(!same(&a, &b), "forgetting changes nothing");
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &b);
    CHECK(same(&a, &b), "what one context forgets, the other forgets");
    CHECK(saeuron_model_digest(x) == saeuron_model_digest(y) && saeuron_contract() == SAEURON_CONTRACT_VERSION, "digests differ");
    saeuron_close(y);
    done(x);
}

const test_case model_tests[] = {
    { "threads_bits", threads_bits }, { "isa_bits", isa_bits }, { "batch_bits", batch_bits }, { "noise_index", noise_index },
    { "noise_given", noise_given }, { "embeds_given", embeds_given }, { "rests", rests }, { "guidance", guidance }, { "tap_names", tap_names }, { "intermediates", intermediates }, { "nothing_selected", nothing_selected },
    { "two_hooks", two_hooks }, { "residual_forms", residual_forms }, { "shared_latents", shared_latents }, { "min_density", min_density }, { "encode_definition", encode_definition },
    { "steer_forms", steer_forms }, { "few_latents", few_latents }, { "steers", steers }, { "steer_errors", steer_errors }, { "steps_mismatch", steps_mismatch },
    { "forget_choices", forget_choices }, { "forget_errors", forget_errors }, { "sae_folder_errors", sae_folder_errors },
    { "sae_shape_errors", sae_shape_errors }, { "sae_elsewhere", sae_elsewhere }, { "large_sae", large_sae }, { "allocations_fail", allocations_fail },
    { "text_allocations_fail", text_allocations_fail }, { "image_allocations_fail", image_allocations_fail }, { "one_allocation", one_allocation }, { "cancels", cancels },
    { "taps_change", taps_change }, { "environment", environment }, { "environment_of_pool", environment_of_pool }, { "tensor_errors", tensor_errors }, { "largest_values_load", largest_values_load },
    { "config_errors", config_errors }, { "parts_do_not_fit", parts_do_not_fit }, { "configs_accepted", configs_accepted }, { "defaults", defaults }, { "old_names", old_names },
    { "linear_projection", linear_projection }, { "dtypes_and_shards", dtypes_and_shards }, { "many_levels", many_levels },
    { "option_errors", option_errors }, { "not_finite_on_the_way", not_finite_on_the_way }, { "sizes", sizes }, { "text", text },
    { "image_bits", image_bits }, { "image_sizes", image_sizes }, { "image_moments", image_moments }, { "decoder_only", decoder_only },
    { "image_fails", image_fails }, { "two_contexts", two_contexts }, { NULL, NULL },
};
