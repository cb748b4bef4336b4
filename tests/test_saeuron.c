/* test_saeuron.c: saeuron.h as it promises: the same bits however they are made, taps, stops, every error
 * named, every allocation failing once; and diffusers' own pictures (goldens).
 *
 * Not here: forgetting (test_forget.c), folders (test_context.c), classifiers (test_vit.c), the program
 * (test_cli.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "goldens.h"
#include "shots.h"
#include "arithmetic/rng.h"

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

static const saeuron_host disk; /* malloc and files */
static saeuron_error err;

/* Rows of the last UNet pass, seen at conv_out. */
static int count_rows(void *user, const char *name, int step, size_t first, float *values,
                      const size_t shape[4], int kind)
{
    (void)step, (void)first, (void)values, (void)kind;
    if (!strcmp(name, "unet.conv_out"))
        *(size_t *)user = shape[0];
    return 0;
}

/* A chain split by threads, rows given to the wrong thread, or state shared between threads, shows in some
 * bit of guided, edited sampling: with weights packed and not (threads take rows, or share products), with
 * fewer and more threads than rows, and rows that do not divide by them. A tap sees the whole batch all the
 * same. */
static void threads_bits(void)
{
    static const struct { size_t count; int unguided; } calls[] = { { 1, 0 }, { 2, 0 }, { 3, 0 }, { 5, 1 } };
    static shot one[4], many;
    size_t rows;
    tiny_make(&files);
    for (int run = 0; run < 8; run++) {
        const int threads = 1 + run % 4;
        saeuron_context *x = opened_packed(NULL, threads, run < 4 ? 0 : 1 << 24);
        must_forget(x, "Sketch", 0);
        must_forget(x, "Cats", 0);
        for (size_t i = 0; i < 4; i++) {
            saeuron_generate_options o = { .count = calls[i].count,
                                           .seed = 5,
                                           .steps = 2,
                                           .map_steps = 1,
                                           .guidance = calls[i].unguided ? 1 : 3,
                                           .has_guidance = 1 };
            must_shoot(x, o, run ? &many : &one[i]);
            CHECK(!run || same(&one[i], &many), "run %d: %d threads draw %zu images with other bits", run,
                  threads, calls[i].count);
            o.tap = count_rows;
            o.tap_user = &rows;
            must_shoot(x, o, &many);
            CHECK(same(&one[i], &many) && rows == (calls[i].unguided ? 1 : 2) * calls[i].count,
                  "%d threads: a tap changes bits, or sees %zu rows", threads, rows);
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
            must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 1, .map_steps = 1 },
                       isa == list ? &first : &other);
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

/* Image j of a run is the image made alone with noise_index j; different images start from different
 * noise. */
static void noise_index(void)
{
    shot all, alone;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 4, .seed = 3, .noise_index = 2 }, &all);
    for (size_t j = 0; j < 4; j++) {
        must_shoot(
            x,
            (saeuron_generate_options){ .prompts = prompts + j, .count = 1, .seed = 3, .noise_index = 2 + j },
            &alone);
        CHECK(!memcmp(alone.latents, all.latents + j * TINY_LATENT, TINY_LATENT * sizeof(float)),
              "image %zu differs when made alone", j);
        CHECK(!memcmp(alone.rgb, all.rgb + j * TINY_PIXELS, TINY_PIXELS),
              "the pixels of image %zu differ when made alone", j);
    }
    must_shoot(x, (saeuron_generate_options){ .prompts = prompts, .count = 1, .seed = 3, .noise_index = 3 },
               &alone);
    CHECK(memcmp(alone.latents, all.latents, TINY_LATENT * sizeof(float)), "noise_index changes nothing");
    must_shoot(x, (saeuron_generate_options){ .prompts = prompts, .count = 1, .seed = 4, .noise_index = 2 },
               &alone);
    CHECK(memcmp(alone.latents, all.latents, TINY_LATENT * sizeof(float)), "the seed changes nothing");
    saeuron_error e = { 0 };
    check_error("noise_index at the end of uint64",
                shoot(x, (saeuron_generate_options){ .count = 1, .noise_index = UINT64_MAX }, &alone, &e),
                SAEURON_EUSAGE, &e, "noise");
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

/* Texts encoded before draw what the texts themselves draw, prompts and negative prompt alike, whatever batch
 * and guidance; an encoder that ran on `prompts` all the same would show in the third call. */
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
    must_shoot(x,
               (saeuron_generate_options){
                   .count = 5, .batch = 3, .prompt_embeds = all, .negative_prompt_embeds = negative },
               &given);
    CHECK(same(&said, &given), "texts encoded before draw other bits");
    must_shoot(
        x,
        (saeuron_generate_options){
            .count = 5, .batch = 3, .prompts = others, .prompt_embeds = all, .negative_prompt = "the sea" },
        &given);
    CHECK(same(&said, &given), "prompt_embeds are not used where there are prompts");
    must_shoot(x, (saeuron_generate_options){ .count = 5, .batch = 3, .negative_prompt_embeds = negative },
               &given);
    CHECK(same(&said, &given), "negative_prompt_embeds alone draw other bits");
    must_shoot(x, (saeuron_generate_options){ .count = 5, .guidance = 1, .has_guidance = 1 }, &said);
    must_shoot(x,
               (saeuron_generate_options){ .count = 5,
                                           .guidance = 1,
                                           .has_guidance = 1,
                                           .prompt_embeds = all,
                                           .negative_prompt_embeds = negative },
               &given);
    CHECK(same(&said, &given), "without guidance, texts encoded before draw other bits");
    saeuron_generate_options o = { .count = 5, .prompt_embeds = all };
    CHECK(saeuron_generate(x, &o, given.rgb, &e) == SAEURON_OK, "without prompts: %s", e.text);
    all[3 * one + 7] = nn_f16_to_f32(0x7e00);
    check_error("NaN in prompt_embeds", shoot(x, o, &given, &e), SAEURON_ENAN, &e, "prompt_embeds|image 3");
    negative[0] = nn_f16_to_f32(0x7c00);
    o = (saeuron_generate_options){ .count = 1, .negative_prompt_embeds = negative };
    check_error("infinity in negative_prompt_embeds", shoot(x, o, &given, &e), SAEURON_ENAN, &e,
                "negative_prompt_embeds");
    done(x);
}

/* A guidance of at most 1 runs one half of the batch, whatever it is; above, both. The default is
 * concepts.json's. */
static void guidance(void)
{
    shot plain, other;
    size_t rows = 0;
    saeuron_context *x = fresh();
    saeuron_generate_options o = {
        .count = 2, .guidance = 1, .has_guidance = 1, .tap = count_rows, .tap_user = &rows
    };
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

typedef struct seen_list { char line[96][112]; size_t count; } seen_list;

static int note_tap(void *user, const char *name, int step, size_t first, float *values,
                    const size_t shape[4], int kind)
{
    seen_list *l = user;
    CHECK(nn_first_bad(values, shape[0] * shape[1] * shape[2] * shape[3]) ==
              shape[0] * shape[1] * shape[2] * shape[3],
          "%s is not finite", name);
    if (l->count < 96)
        snprintf(l->line[l->count], sizeof l->line[0], "%s %d %zu [%zu,%zu,%zu,%zu] %s", name, step, first,
                 shape[0], shape[1], shape[2], shape[3], kind == SAEURON_TAP_TOKENS ? "tokens" : "image");
    l->count++;
    return 0;
}

/* The modules of one pass in diffusers' order, by hand from its sources: a dump's file names and shapes. */
static void tap_names(void)
{
    static const char *const in_unet[] = {
        "time_embedding -1- [1,1,1,64] tokens", "conv_in [2,8,8,16]", "down_blocks.0.resnets.0 [2,8,8,16]",
        "down_blocks.0.resnets.1 [2,8,8,16]", "down_blocks.0.downsamplers.0 [2,4,4,16]",
        "down_blocks.1.resnets.0 [2,4,4,32]", "T down_blocks.1.attentions.0",
        "down_blocks.1.resnets.1 [2,4,4,32]", "T down_blocks.1.attentions.1",
        "mid_block.resnets.0 [2,4,4,32]", "T mid_block.attentions.0", "mid_block.resnets.1 [2,4,4,32]",
        "up_blocks.0.resnets.0 [2,4,4,32]", "T up_blocks.0.attentions.0", "up_blocks.0.resnets.1 [2,4,4,32]",
        "T up_blocks.0.attentions.1", "up_blocks.0.resnets.2 [2,4,4,32]", "T up_blocks.0.attentions.2",
        "up_blocks.0.upsamplers.0 [2,8,8,32]", "up_blocks.1.resnets.0 [2,8,8,16]",
        "up_blocks.1.resnets.1 [2,8,8,16]", "up_blocks.1.resnets.2 [2,8,8,16]", "conv_out [2,8,8,4]",
    };
    static const char *const in_vae[] = {
        "decoder.conv_in [1,8,8,16]", "decoder.mid_block [1,8,8,16]",
        "decoder.up_blocks.0.resnets.0 [1,8,8,16]", "decoder.up_blocks.0.resnets.1 [1,8,8,16]",
        "decoder.up_blocks.0.upsamplers.0 [1,16,16,16]", "decoder.up_blocks.1.resnets.0 [1,16,16,8]",
        "decoder.up_blocks.1.resnets.1 [1,16,16,8]", "decoder.conv_out [1,16,16,3]",
    };
    static const char *const parts[] = {
        "transformer_blocks.0.attn1", "transformer_blocks.0.attn2", "transformer_blocks.0.ff"
    };
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
                snprintf(want[n++], sizeof want[0], "unet.%s.%s 0 0 [2,16,1,32] tokens", in_unet[i] + 2,
                         parts[p]);
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
        snprintf(want[n++], sizeof want[0], "vae.%.*s -1 0 %s image", (int)space, in_vae[i],
                 in_vae[i] + space + 1);
    }
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 1, .tap = note_tap, .tap_user = &l }, &s);
    CHECK(l.count == n, "%zu modules were seen, not %zu", l.count, n);
    for (size_t i = 0; i < n && i < l.count; i++)
        CHECK(!strcmp(l.line[i], want[i]), "module %zu is \"%s\", not \"%s\"", i, l.line[i], want[i]);
    done(x);
}

/* What saeuron_intermediates foretells: no value, and of each name one line, with step 0 for all. */
static int foretell(void *user, const char *name, int step, size_t first, float *values,
                    const size_t shape[4], int kind)
{
    seen_list *l = user;
    CHECK(!values && step <= 0 && first == 0, "%s is foretold with values, at step %d, for image %zu", name,
          step, first);
    if (l->count < 96)
        snprintf(l->line[l->count], sizeof l->line[0], "%s %d [%zu,%zu,%zu,%zu] %d", name, step, shape[0],
                 shape[1], shape[2], shape[3], kind);
    l->count++;
    return 0;
}

/* Strikes off what was foretold; only step 0 and what is outside the loop. The VAE's names come once an
 * image. */
static int fulfil(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4],
                  int kind)
{
    seen_list *l = user;
    char line[112];
    size_t i = 0;
    snprintf(line, sizeof line, "%s %d [%zu,%zu,%zu,%zu] %d", name, step, shape[0], shape[1], shape[2],
             shape[3], kind);
    while (i < l->count && strcmp(l->line[i], line))
        i++;
    CHECK(values && (step > 0 || first > 0 || i < l->count), "%s was not foretold", line);
    CHECK(first == 0 || !strncmp(name, "vae.", 4), "%s is of image %zu on", name, first);
    if (step <= 0 && first == 0 && i < l->count)
        l->line[i][0] = '-';
    return 0;
}

/* The names foretold are those that come, with and without guidance, for one image and several, edited or
 * not; an allocation that fails is said. A plan that left a module out would let --inject miss it. */
static void intermediates(void)
{
    static const saeuron_generate_options runs[] = {
        { .count = 1, .steps = 2 }, { .count = 3, .steps = 1, .batch = 3 },
        { .count = 2, .steps = 1, .guidance = 1, .has_guidance = 1 }
    };
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
        CHECK(saeuron_intermediates(x, &o, &e) == SAEURON_OK && l.count > 50 && l.count < 96, "%zu names, %s",
              l.count, e.text);
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

/* Statistics of 4 steps serve 4; another number is an error that says so, or takes the nearest timestep's
 * row. */
static void steps_mismatch(void)
{
    static const struct { size_t steps; int row[8]; } maps[] = {
        { 4, { 0, 1, 2, 3 } }, { 2, { 1, 3 } }, { 1, { 3 } }, { 5, { 0, 1, 1, 2, 3 } }
    };
    shot plain, s;
    edit_log l;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 60);
    check_error("2 steps for statistics of 4",
                shoot(x, (saeuron_generate_options){ .count = 1, .steps = 2 }, &s, &e), SAEURON_EUSAGE, &e,
                "4 steps|steps 4|map_steps|" TINY_STYLES);
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
        CHECK(l.count > 0 && seen[maps[i].row[0]], "%zu steps: the first edits do not come from row %d",
              maps[i].steps, maps[i].row[0]);
        for (int row = 0; row < 4 && l.count <= 64; row++) {
            bool wanted = false;
            for (size_t t = 0; t < maps[i].steps; t++)
                wanted |= maps[i].row[t] == row;
            CHECK(wanted || !seen[row], "%zu steps: row %d was used", maps[i].steps, row);
        }
    }
    done(x);
}

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

/* Every allocation fails once: SAEURON_ENOMEM with a line that says memory, nothing leaks, and the same
 * context then succeeds. */
static void allocations_fail(void)
{
    shot good, s;
    saeuron_error e = { 0 };
    saeuron_context *x = NULL;
    tiny_make(&files);
    for (int i = 0; i < 2; i++) { /* an SAE for a third hook, without statistics */
        const tiny_file *f = tiny_find(&files, i ? STYLES "/cfg.json" : STYLES "/sae.safetensors");
        tiny_set(&files,
                 i ? "sae/down_blocks.1.attentions.0/cfg.json"
                   : "sae/down_blocks.1.attentions.0/sae.safetensors",
                 f->bytes, f->size);
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
        CHECK(code == SAEURON_ENOMEM && e.code == SAEURON_ENOMEM && strstr(e.text, "memory") &&
                  (!strstr(e.text, " MB ") || strstr(e.text, " 1 MB ")),
              "allocation %ld of %ld: code %d, \"%s\"", n, all, code, e.text);
        if (x) { /* the context goes on */
            saeuron_remember(x);
            must_forget(x, "Sketch", 0);
            must_forget(x, "Cats", 9);
            CHECK(!saeuron_steer(x, TINY_OBJECTS, 3, -2, &e) &&
                      !saeuron_reconstruct(x, "down_blocks.1.attentions.0", &e),
                  "%s", e.text);
            must_shoot(x, (saeuron_generate_options){ .count = 1, .steps = 1, .map_steps = 1 }, &s);
            CHECK(same(&good, &s), "after the failure of allocation %ld the picture is another", n);
        }
        saeuron_close(x);
        CHECK(files.live == 0 && files.mapped == 0 && files.torn == 0,
              "allocation %ld: %ld blocks and %ld maps are left", n, files.live, files.mapped);
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
    CHECK(saeuron_encode_text(x, "cat", states, &e) == SAEURON_OK &&
              saeuron_tokenize(x, "cat", ids, NULL, NULL, &e) == SAEURON_OK,
          "%s", e.text);
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

/* saeuron_encode_image, too; and it takes one block, which it uses. */
static void image_allocations_fail(void)
{
    static float moments[2 * TINY_LATENT], again[2 * TINY_LATENT];
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    files.allocs = 0;
    files.largest = files.touched = 0;
    CHECK(made_up_moments(x, moments, &e) == SAEURON_OK, "%s", e.text);
    CHECK(files.allocs == 1 && files.touched * 3 >= files.largest * 2,
          "%ld allocations; of %zu bytes planned %zu were used", files.allocs, files.largest, files.touched);
    files.allocs = 0;
    files.fail_at = 1;
    check_error("no memory", made_up_moments(x, again, &e), SAEURON_ENOMEM, &e, "memory|16 x 16");
    files.fail_at = 0;
    CHECK(made_up_moments(x, again, &e) == SAEURON_OK && !memcmp(moments, again, sizeof moments),
          "after a failure the moments are others");
    done(x);
}

/* The plan: one allocation, of the size that saeuron_memory foretells, and no more than a half too large. */
static void one_allocation(void)
{
    static const saeuron_generate_options shapes[] = {
        { .count = 1 }, { .count = 4 }, { .count = 5, .batch = 2 },
        { .count = 1, .guidance = 1, .has_guidance = 1 }, { .count = 1, .width = 32, .height = 8 },
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
        CHECK(files.largest == work, "saeuron_memory says %zu bytes, saeuron_generate took %zu", work,
              files.largest);
        CHECK(files.touched <= work && files.touched * 3 >= work * 2,
              "shape %zu: of %zu bytes planned %zu were used", i, work, files.touched);
        files_size = tiny_find(&files, UNET)->size + tiny_find(&files, VAE)->size +
                     tiny_find(&files, TEXT)->size;
        if (i % 2)
            files_size += 2 * tiny_find(&files, STYLES "/sae.safetensors")->size;
        CHECK(weights == files_size, "saeuron_memory says %zu bytes of weights, the files have %zu", weights,
              files_size);
        done(x);
    }
}

/* A stop asked for by progress at any step, or by the tap at any module, ends the call there; then the
 * context draws the same bits. */
typedef struct stopper { long calls, stop_at; } stopper;

static int stop_tap(void *user, const char *name, int step, size_t first, float *values,
                    const size_t shape[4], int kind)
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
        CHECK(files.progressed == n, "progress was called %ld times after the stop at %ld",
              files.progressed - n, n);
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
        CHECK(t.calls == n, "the tap was called %ld times after its stop at %ld of %ld", t.calls - n, n,
              taps);
    }
    o.tap = NULL;
    must_shoot(x, o, &s);
    CHECK(same(&good, &s), "after a stop the picture is another");
    done(x);
}

/* A tap may change values (that is --inject): the change goes on into the picture. */
static int change_tap(void *user, const char *name, int step, size_t first, float *values,
                      const size_t shape[4], int kind)
{
    (void)first, (void)shape, (void)kind;
    if (!strcmp(name, user) && step <= 0)
        values[0] += 1;
    return 0;
}

static void taps_change(void)
{
    static char names[][64] = {
        "unet.time_embedding", "unet.conv_in", "unet.mid_block.resnets.1",
        "unet.up_blocks.0.attentions.1.transformer_block", "unet.conv_out", "text_encoder.encoder.layers.0",
        "vae.decoder.conv_in"
    };
    shot plain, s;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        must_shoot(x, (saeuron_generate_options){ .count = 1, .tap = change_tap, .tap_user = names[i] }, &s);
        CHECK(same(&plain, &s) == (i == 3), "a change at %s %s the picture", names[i],
              i == 3 ? "(no module) changes" : "does not change");
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
    int codes[2][6] = {
        { SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV },
        { SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV, SAEURON_EENV }
    };
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
        codes[i][5] = made_up_moments(x, moments, &e[i][5]);
        fesetround(FE_TONEAREST);
#ifdef __SSE2__
        _mm_setcsr(before);
#endif
    }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 6; j++)
            if (e[i][j].code || codes[i][j] != SAEURON_EENV)
                check_error(i ? "flush to zero" : "rounding upward", codes[i][j], SAEURON_EENV, &e[i][j],
                            "floating-point environment");
    must_shoot(x, o, &s);
    done(x);
}

/* A pool of threads that a host program started under another rounding keeps it: such a call is refused, or
 * its bits are right (a runtime may hand its caller's settings on: libomp does, libgomp does not). */
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
        CHECK(!memcmp(states[0], states[1], sizeof states[0]),
              "a pool that rounds upward changes the text states");
    must_shoot(x, o, &two);
    CHECK(same(&one, &two), "afterwards the picture differs");
    done(x);
#else
    test_skip("built without OpenMP: there is no pool");
#endif
}

/* Every option outside its range is refused with its name. */
static void option_errors(void)
{
    static const struct { saeuron_generate_options o; const char *words; } cases[] = {
        { { .count = 0 }, "prompt" }, { { .count = 1, .width = 17 }, "width" },
        { { .count = 1, .height = 20000 }, "height" }, { { .count = 1, .steps = 1000 }, "steps" },
        { { .count = 1, .steps = 1001 }, "steps" },
        { { .count = 1, .guidance = -1, .has_guidance = 1 }, "guidance" },
        { { .count = 1, .residual = 3 }, "residual" }, { { .count = 1, .residual = -1 }, "residual" },
        { { .count = 1, .guidance = 1e9, .has_guidance = 1 }, "guidance" },
        { { .count = 1, .shared = -1 }, "shared" }, { { .count = 1, .shared = 9 }, "shared" },
    };
    static const char *const bad[] = { "\xFF", "a\xC0\x80", "\xED\xA0\x80" };
    saeuron_error e = { 0 };
    shot s;
    int32_t ids[16];
    saeuron_context *x = fresh();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_error(cases[i].words, shoot(x, cases[i].o, &s, &e), SAEURON_EUSAGE, &e, cases[i].words);
    check_error(
        "NaN", shoot(x, (saeuron_generate_options){ .count = 1, .guidance = NAN, .has_guidance = 1 }, &s, &e),
        SAEURON_EUSAGE, &e, "guidance");
    check_error("no prompts", saeuron_generate(x, &(saeuron_generate_options){ .count = 1 }, s.rgb, &e),
                SAEURON_EUSAGE, &e, "prompt");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_error("not UTF-8",
                    shoot(x, (saeuron_generate_options){ .prompts = bad + i, .count = 1 }, &s, &e),
                    SAEURON_EUSAGE, &e, "UTF-8");
        check_error("not UTF-8", saeuron_tokenize(x, bad[i], ids, NULL, NULL, &e), SAEURON_EUSAGE, &e,
                    "UTF-8");
    }
    CHECK(shoot(x, (saeuron_generate_options){ .count = 0 }, &s, NULL) == SAEURON_EUSAGE, "err may be NULL");
    done(x);
}

/* The last prompt of many is looked at before the first step of the first, and so is the negative prompt of a
 * run that does not use it; the message says which. */
static void texts_before_sampling(void)
{
    static const char *const three[] = { "cat", "dog", "a\xC3" };
    static shot s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    files.progressed = 0;
    check_error("the last of three",
                shoot(x, (saeuron_generate_options){ .prompts = three, .count = 3, .batch = 1 }, &s, &e),
                SAEURON_EUSAGE, &e, "prompt 2 is not UTF-8|byte 1 (0xC3)");
    check_error("the negative prompt",
                shoot(x, (saeuron_generate_options){ .count = 1, .guidance = 1, .has_guidance = 1,
                                                     .negative_prompt = three[2] }, &s, &e),
                SAEURON_EUSAGE, &e, "negative_prompt is not UTF-8");
    CHECK(!files.progressed, "%ld steps were sampled before", files.progressed);
    must_shoot(x, (saeuron_generate_options){ .prompts = three, .count = 2, .batch = 1 }, &s);
    done(x);
}

/* Call number i: a pointer that must be there is NULL, called *name. false: there are no more calls. */
static bool call_with_null(size_t i, saeuron_context *x, int *code, const char **name, saeuron_error *e)
{
    static unsigned char rgb[TINY_PIXELS];
    static float  v[TINY_LATENT * 2];
    static int32_t ids[16];
    const char *const none[2] = { NULL, NULL };
    const saeuron_host host = tiny_host(&files);
    const saeuron_forget_options f = { .name = "Sketch" };
    const saeuron_generate_options o = { .prompts = prompts, .count = 1 };
    const saeuron_generate_options empty = { .prompts = none, .count = 2 };
    saeuron_context *out = x;
    saeuron_classifier *k = (saeuron_classifier *)(void *)v; /* never looked at */
    size_t W, H, shape[3];
    switch (i) {
    case 0: *name = "ctx"; *code = saeuron_open(NULL, &host, "tiny", e); break;
    case 1: *name = "model_dir"; *code = saeuron_open(&out, &host, NULL, e); break;
    case 2: *name = "ctx"; *code = saeuron_open_synthetic(NULL, &host, "sd15", e); break;
    case 3: *name = "name"; *code = saeuron_open_synthetic(&out, &host, NULL, e); break;
    case 4: *name = "ctx"; *code = saeuron_forget(NULL, &f, e); break;
    case 5: *name = "options"; *code = saeuron_forget(x, NULL, e); break;
    case 6: *name = "concept"; *code = saeuron_forget(x, &(saeuron_forget_options){ .top = 1 }, e); break;
    case 7: *name = "ctx"; *code = saeuron_steer(NULL, TINY_STYLES, 1, 2, e); break;
    case 8: *name = "hook"; *code = saeuron_steer(x, NULL, 1, 2, e); break;
    case 9: *name = "ctx"; *code = saeuron_reconstruct(NULL, TINY_STYLES, e); break;
    case 10: *name = "hook"; *code = saeuron_reconstruct(x, NULL, e); break;
    case 11: *name = "ctx"; *code = saeuron_use_sae(NULL, TINY_STYLES, "d", NULL, e); break;
    case 12: *name = "hook"; *code = saeuron_use_sae(x, NULL, "d", NULL, e); break;
    case 13: *name = "ctx"; *code = saeuron_image_size(NULL, &o, &W, &H, e); break;
    case 14: *name = "o"; *code = saeuron_image_size(x, NULL, &W, &H, e); break;
    case 15: *name = "width"; *code = saeuron_image_size(x, &o, NULL, &H, e); break;
    case 16: *name = "height"; *code = saeuron_image_size(x, &o, &W, NULL, e); break;
    case 17: *name = "ctx"; *code = saeuron_generate(NULL, &o, rgb, e); break;
    case 18: *name = "o"; *code = saeuron_generate(x, NULL, rgb, e); break;
    case 19: *name = "prompts[0]"; *code = saeuron_generate(x, &empty, rgb, e); break;
    case 20: *name = "o"; *code = saeuron_intermediates(x, NULL, e); break;
    case 21: *name = "ctx"; *code = saeuron_intermediates(NULL, &o, e); break;
    case 22: *name = "ctx"; *code = saeuron_memory(NULL, &o, &W, &H, e); break;
    case 23: *name = "o"; *code = saeuron_memory(x, NULL, &W, &H, e); break;
    case 24: *name = "work"; *code = saeuron_memory(x, &o, NULL, &H, e); break;
    case 25: *name = "weights"; *code = saeuron_memory(x, &o, &W, NULL, e); break;
    case 26: *name = "ctx"; *code = saeuron_tokenize(NULL, "a", ids, NULL, NULL, e); break;
    case 27: *name = "text"; *code = saeuron_tokenize(x, NULL, ids, NULL, NULL, e); break;
    case 28: *name = "ids"; *code = saeuron_tokenize(x, "a", NULL, NULL, NULL, e); break;
    case 29: *name = "ctx"; *code = saeuron_encode_text(NULL, "a", v, e); break;
    case 30: *name = "text"; *code = saeuron_encode_text(x, NULL, v, e); break;
    case 31: *name = "states"; *code = saeuron_encode_text(x, "a", NULL, e); break;
    case 32: *name = "ctx"; *code = saeuron_latent_size(NULL, 16, 16, shape, e); break;
    case 33: *name = "shape"; *code = saeuron_latent_size(x, 16, 16, NULL, e); break;
    case 34: *name = "ctx"; *code = saeuron_encode_image(NULL, rgb, 16, 16, v, e); break;
    case 35: *name = "rgb"; *code = saeuron_encode_image(x, NULL, 16, 16, v, e); break;
    case 36: *name = "moments"; *code = saeuron_encode_image(x, rgb, 16, 16, NULL, e); break;
    case 37: *name = "k"; *code = saeuron_classifier_open(NULL, &host, "tiny", e); break;
    case 38: *name = "dir"; *code = saeuron_classifier_open(&k, &host, NULL, e); break;
    case 39: *name = "k"; *code = saeuron_classify(NULL, rgb, 1, 16, 16, v, e); break;
    case 40: *name = "rgb"; *code = saeuron_classify(k, NULL, 1, 16, 16, v, e); break;
    case 41: *name = "logits"; *code = saeuron_classify(k, rgb, 1, 16, 16, NULL, e); break;
    default: return false;
    }
    CHECK(i != 1 && i != 3 ? out == x : !out, "call %zu: the context", i);
    return true;
}

/* A pointer that must be there and is not: SAEURON_EUSAGE and its name, with err or without; nothing, 0 or
 * NULL of functions without err. The context goes on. */
static void null_pointers(void)
{
    saeuron_error e = { 0 };
    shot plain, s;
    const char *name = "";
    int code = SAEURON_OK;
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    for (size_t i = 0; call_with_null(i, x, &code, &name, &e); i++) {
        check_error(name, code, SAEURON_EUSAGE, &e, name);
        CHECK(call_with_null(i, x, &code, &name, NULL) && code == SAEURON_EUSAGE,
              "call %zu without err: %d", i, code);
        e = (saeuron_error){ 0 };
    }
    float v[2] = { 1, 2 };
    saeuron_close(NULL);
    saeuron_remember(NULL);
    saeuron_mode(NULL, v, v, 2);
    saeuron_mode(x, NULL, v, 2);
    saeuron_mode(x, v, NULL, 2);
    saeuron_classifier_close(NULL);
    CHECK(v[0] == 1 && v[1] == 2, "saeuron_mode wrote");
    CHECK(!(saeuron_growth(NULL) > 0) && !saeuron_text_length(NULL) && !saeuron_text_width(NULL) &&
              !saeuron_token(NULL, 1) && !saeuron_classes(NULL) && !saeuron_class_name(NULL, 0) &&
              !saeuron_classifier_digest(NULL) && !saeuron_model_digest(NULL) && !saeuron_kernels(NULL),
          "something comes of NULL");
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(same(&plain, &s), "NULL left something behind");
    done(x);
}

/* The tidy folder, one tensor of a network so many times as large. */
static void make_large(const char *network, const char *file, const char *name, float factor)
{
    static tiny_list l;
    tiny_make(&files);
    tiny_tensors(&l, network);
    tiny_tensor *t = tiny_tensor_named(&l, name);
    for (size_t i = 0; i < t->count; i++)
        t->values[i] *= factor;
    save(&l, file);
}

/* Values that overflow on the way are an error with the place and what it can be, not a black picture. */
static void not_finite_on_the_way(void)
{
    static const struct { const char *network, *file, *name; float factor; const char *words; } cases[] = {
        { "text_encoder", TEXT, "text_model.final_layer_norm.weight", 3e38f,
          "text encoder's output is not finite|weights" },
        { "unet", UNET, "conv_out.weight", 3e38f,
          "UNet's output is not finite at step 0|weights are too large" },
        { "unet", UNET, "conv_out.weight", 1e35f, "latents are not finite after step 0|weaken the guidance" },
    };
    const saeuron_generate_options o = { .count = 1, .guidance = 9000, .has_guidance = 1 };
    shot s;
    saeuron_error e = { 0 }, first = { 0 };
    saeuron_context *x;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_large(cases[i].network, cases[i].file, cases[i].name, cases[i].factor);
        x = opened(NULL, 1);
        check_error(cases[i].name, shoot(x, o, &s, &e), SAEURON_ENAN, &e, cases[i].words);
        done(x);
    }
    make_large("unet", UNET, TINY_STYLES ".proj_out.weight", 3e38f);
    for (int run = 0; run < 12; run++) { /* threads apart have an error each: the lowest row's is told */
        x = opened_packed(NULL, 1 + run % 3, run < 3 ? 0 : 1 << 24);
        must_forget(x, "Sketch", 60);
        check_error("overflow", shoot(x, o, &s, &e), SAEURON_ENAN, &e,
                    "unet." TINY_STYLES "|not finite|step 0");
        if (!run)
            first = e;
        CHECK(!strcmp(first.text, e.text), "run %d: \"%s\" is \"%s\" elsewhere", run, e.text, first.text);
        saeuron_close(x);
    }
    done(NULL);
}

/* Noise that no latent is: named before anything is computed, by its place. */
static void impossible_noise(void)
{
    static const float values[] = { NAN, INFINITY, -2e6f, 1e38f };
    static float noise[2 * TINY_LATENT];
    shot s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    const saeuron_generate_options o = { .count = 2, .noise = noise };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        noise[TINY_LATENT + 3] = values[i];
        check_error("noise", shoot(x, o, &s, &e), SAEURON_EUSAGE, &e,
                    "saeuron_generate_options.noise|element 259|1000000");
    }
    noise[TINY_LATENT + 3] = 1e6f;
    must_shoot(x, o, &s);
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

/* The text encoder alone: states of the right size, finite, that depend on the text; ids with both ends and
 * the padding. */
static void text(void)
{
    static float a[16 * 16], b[16 * 16];
    int32_t ids[16];
    size_t  count = 0, cut = 9;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(saeuron_text_length(x) == 16 && saeuron_text_width(x) == 16, "%zu x %zu", saeuron_text_length(x),
          saeuron_text_width(x));
    CHECK(saeuron_encode_text(x, "cat", a, &e) == SAEURON_OK &&
              saeuron_encode_text(x, "dog", b, &e) == SAEURON_OK,
          "%s", e.text);
    CHECK(memcmp(a, b, sizeof a) && !memcmp(a, b, 16 * sizeof *a),
          "the texts' states: the start token's are equal, the others are not");
    CHECK(saeuron_tokenize(x, "Cat  sketch", ids, &count, &cut, &e) == SAEURON_OK && count == 4 && cut == 0,
          "%zu ids, %zu cut, %s", count, cut, e.text);
    CHECK(saeuron_token(x, ids[1]) && !strcmp(saeuron_token(x, ids[1]), "cat</w>") &&
              !strcmp(saeuron_token(x, ids[2]), "sketch</w>"),
          "the pieces are %s", saeuron_token(x, ids[1]));
    CHECK(ids[3] == ids[15] && !saeuron_token(x, -1) && !saeuron_token(x, 99999),
          "the padding, and ids out of range");
    CHECK(saeuron_tokenize(x, "a b c d e f g h i j k l m n o p", ids, &count, &cut, &e) == SAEURON_OK &&
              count == 16 && cut == 2,
          "%zu ids, %zu cut", count, cut);
    saeuron_close(x);
    /* 77 then, but the text encoder has 16 positions */
    tiny_set(&files, "tokenizer/tokenizer_config.json", NULL, 0);
    x = opened(NULL, 1);
    CHECK(saeuron_text_length(x) == 16 && saeuron_encode_text(x, "cat", b, &e) == SAEURON_OK &&
              !memcmp(b, a, sizeof a),
          "%zu tokens for 16 positions, or other states", saeuron_text_length(x));
    done(x);
}

/* The moments of an image depend on no number of threads and no kernels; on the image they do. */
static void image_bits(void)
{
    static float first[2 * TINY_LATENT], other[2 * TINY_LATENT], wide[4 * TINY_LATENT];
    unsigned char rgb[2 * TINY_PIXELS] = { 0 };
    size_t shape[3] = { 0 };
    char   list[128], *isa = list;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    CHECK(made_up_moments(x, first, &e) == SAEURON_OK, "%s", e.text);
    saeuron_close(x);
    snprintf(list, sizeof list, "%s", nn_isa_list());
    for (bool more = true; more;) {
        nn c;
        const size_t n = strcspn(isa, ",");
        more = isa[n] != 0;
        isa[n] = 0;
        for (int threads = 1; threads <= 3 && nn_init(&c, isa, 1, NULL); threads++) {
            x = opened(isa, threads);
            CHECK(made_up_moments(x, other, &e) == SAEURON_OK && !memcmp(first, other, sizeof first),
                  "%s, %d threads: other moments; %s", isa, threads, e.text);
            saeuron_close(x);
        }
        isa += n + more;
    }
    x = opened(NULL, 1);
    CHECK(saeuron_latent_size(x, 32, 16, shape, &e) == SAEURON_OK && shape[0] == 4 && shape[1] == 8 &&
              shape[2] == 16,
          "[%zu, %zu, %zu]", shape[0], shape[1], shape[2]);
    CHECK(saeuron_encode_image(x, rgb, 32, 16, wide, &e) == SAEURON_OK &&
              saeuron_encode_image(x, rgb, 16, 16, other, &e) == SAEURON_OK,
          "%s", e.text);
    CHECK(memcmp(first, other, sizeof first), "a black picture has the moments of any other");
    done(x);
}

/* Sizes that the VAE's factor does not divide, or that nobody has: before any memory is asked for. */
static void image_sizes(void)
{
    static const size_t bad[][2] = {
        { 15, 16 }, { 16, 15 }, { 0, 16 }, { 16, 0 }, { 8194, 16 }, { 16, SIZE_MAX - 1 }
    };
    static float moments[2 * TINY_LATENT];
    static const unsigned char rgb[TINY_PIXELS];
    saeuron_error e = { 0 };
    size_t shape[3];
    saeuron_context *x = fresh();
    files.allocs = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_error("a size", saeuron_encode_image(x, rgb, bad[i][0], bad[i][1], moments, &e), SAEURON_EUSAGE,
                    &e, "multiples of 2|8192");
        check_error("a size", saeuron_latent_size(x, bad[i][0], bad[i][1], shape, &e), SAEURON_EUSAGE, &e,
                    "multiples of 2|8192");
    }
    CHECK(files.allocs == 0, "%ld allocations for images of no size", files.allocs);
    CHECK(saeuron_encode_image(x, rgb, 2, 2, moments, &e) == SAEURON_OK, "%s", e.text); /* one latent pixel */
    done(x);
}

/* The logarithm of the variance is kept in [-30, 20], the mean is not; the mode is scaled, and shift_factor
 * not read. */
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
    CHECK(made_up_moments(x, m, &e) == SAEURON_OK, "%s", e.text);
    saeuron_mode(x, z, m, TINY_LATENT);
    for (size_t i = 0; i < 64; i++) {
        CHECK(m[i] > 100 && m[64 + i] < -100 && m[4 * 64 + i] == 20 && m[5 * 64 + i] == -30,
              "pixel %zu: means %g, %g, logarithms %g, %g", i, (double)m[i], (double)m[64 + i],
              (double)m[4 * 64 + i], (double)m[5 * 64 + i]);
        CHECK(m[6 * 64 + i] > -30 && m[6 * 64 + i] < 20 && m[6 * 64 + i] != m[7 * 64 + i],
              "pixel %zu: %g is no logarithm", i, (double)m[6 * 64 + i]);
    }
    for (size_t i = 0; i < TINY_LATENT; i++) {
        const float scaled = m[i] * 0.5f;
        CHECK(z[i] == scaled, "latent %zu is %g, not %g", i, (double)z[i], (double)scaled);
    }
    done(x);
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
    check_error("progress", made_up_moments(x, moments, &e), SAEURON_ECANCEL, &e, "stopped");
    files.cancel_at = 0;
    CHECK(made_up_moments(x, moments, &e) == SAEURON_OK && files.progressed == 2, "%s; %ld calls of progress",
          e.text, files.progressed);
    saeuron_close(x);
    tiny_tensors(&l, "vae");
    tiny_tensor *v = tiny_tensor_named(&l, "quant_conv.weight");
    for (size_t i = 0; i < v->count; i++)
        v->values[i] = i % 2 ? 3e38f : -3e38f;
    tiny_save(&files, VAE, &l, 0, l.count, NULL);
    tiny_drop(&l);
    x = opened(NULL, 1);
    check_error("overflow", made_up_moments(x, moments, &e), SAEURON_ENAN, &e, "not finite|latents");
    done(x);
}

#define WIDE   80                       /* latents 24 x 40, at the hooks 12 x 20 */
#define LOW    48
#define COUNT  3
#define VALUES (4 * 24 * 40)

typedef struct view { float latents[COUNT * VALUES]; unsigned char rgb[COUNT * LOW * WIDE * 3]; } view;

static const char *const views[COUNT] = { "An image of Cats in Sketch style.", "dog", "the sea" };

static int see_shapes(void *user, const char *name, int step, size_t first, float *values,
                      const size_t shape[4], int kind)
{
    size_t *seen = user;
    (void)step, (void)first, (void)values;
    if (!strcmp(name, "unet." TINY_STYLES))
        seen[0] += shape[1] == 12 && shape[2] == 20 && kind == SAEURON_TAP_IMAGE;
    else if (!strcmp(name, "unet.conv_out"))
        seen[1] += shape[1] == 24 && shape[2] == 40;
    else if (!strcmp(name, "vae.decoder.conv_out"))
        seen[2] += shape[1] == LOW && shape[2] == WIDE;
    else if (!strcmp(name, "unet." TINY_STYLES ".transformer_blocks.0.attn1"))
        seen[3] += shape[1] == 12 * 20 && shape[2] == 1;
    return 0;
}

/* Opens the tiny model with both a style and an object forgotten, and draws o at LOW x WIDE. */
static void view_with(int threads, saeuron_generate_options o, view *v)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    saeuron_host host = tiny_host(&files);
    const saeuron_forget_options style = { .name = "Sketch" }, object = { .name = "Cats" };
    host.threads = threads;
    memset(v, 0, sizeof *v);
    o.prompts = o.prompts ? o.prompts : views;
    o.count = o.count ? o.count : COUNT;
    o.steps = 2;
    o.map_steps = 1;
    o.height = LOW;
    o.width = WIDE;
    o.latents = v->latents;
    int code = saeuron_open(&x, &host, "tiny", &e);
    code = code ? code : saeuron_forget(x, &style, &e);
    code = code ? code : saeuron_forget(x, &object, &e);
    code = code ? code : saeuron_generate(x, &o, v->rgb, &e);
    CHECK(!code, "%s", e.text);
    saeuron_close(x);
}

/* Height taken for width, rows for columns, or a plan made for a square shows in some bit or shape. */
static void not_square(void)
{
    static view one, many;
    static float noise[COUNT * VALUES];
    size_t seen[4] = { 0 };
    tiny_make(&files);
    view_with(1, (saeuron_generate_options){ .seed = 3, .batch = 1 }, &one);
    for (int threads = 1; threads <= 3; threads++) {
        const size_t batch = threads == 2 ? 3 : 2;
        view_with(threads, (saeuron_generate_options){ .seed = 3, .batch = batch }, &many);
        CHECK(!memcmp(&one, &many, sizeof one), "%d threads, batches of %zu draw other bits", threads, batch);
    }
    view_with(1,
              (saeuron_generate_options){ .seed = 3,
                                          .noise_index = 2,
                                          .prompts = views + 2,
                                          .count = 1,
                                          .tap = see_shapes,
                                          .tap_user = seen },
              &many);
    CHECK(!memcmp(one.latents + 2 * VALUES, many.latents, VALUES * sizeof(float)),
          "image 2 differs when made alone");
    CHECK(seen[0] == 2 && seen[1] == 2 && seen[2] == 1 && seen[3] == 2,
          "shapes are not height before width: %zu %zu %zu %zu", seen[0], seen[1], seen[2], seen[3]);
    CHECK(rng_randn(noise, 3, COUNT * VALUES, 0, COUNT * VALUES), "randn refused");
    view_with(1, (saeuron_generate_options){ .noise = noise }, &many);
    CHECK(!memcmp(&one, &many, sizeof one), "the same noise, handed in, draws other bits");
    CHECK(files.live == 0 && files.torn == 0, "%ld blocks are left, %ld torn", files.live, files.torn);
    tiny_free(&files);
}

/* Sizes: multiples of the VAE's factor, whatever the UNet halves them to; one side given alone; and what
 * cannot be. */
static void sides(void)
{
    static const struct { size_t width, height, got_width, got_height; } good[] = {
        { 12, 20, 12, 20 }, { 20, 12, 20, 12 }, { 4, 36, 4, 36 }, { 0, 24, 16, 24 }, { 24, 0, 24, 16 },
        { 8, 8, 8, 8 }, { 4, 8, 4, 8 }, { 10, 16, 10, 16 }, { 16, 18, 16, 18 }, { 2, 16, 2, 16 },
        { 22, 8, 22, 8 },
    };
    static const struct { size_t width, height; const char *words; } bad[] = {
        { 9, 16, "multiples of 2" }, { 16, 1, "multiples of 2" }, { 10, 14, "multiple of 16|another size" },
        { 8196, 16, "at most 8192" }, { 16, 9000, "at most 8192" },
        { (size_t)-4, 16, "at most 8192" },
    };
    static unsigned char rgb[64 * 64 * 3];
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    tiny_make(&files);
    const saeuron_host host = tiny_host(&files);
    CHECK(saeuron_open(&x, &host, "tiny", &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; x && i < sizeof good / sizeof *good; i++) {
        const saeuron_generate_options o = {
            .prompts = prompts, .count = 1, .steps = 1, .width = good[i].width, .height = good[i].height
        };
        size_t W = 0, H = 0;
        CHECK(saeuron_image_size(x, &o, &W, &H, &e) == SAEURON_OK && W == good[i].got_width &&
                  H == good[i].got_height,
              "%zu x %zu is %zu x %zu", good[i].width, good[i].height, W, H);
        CHECK(saeuron_generate(x, &o, rgb, &e) == SAEURON_OK, "%zu x %zu: %s", good[i].width, good[i].height,
              e.text);
    }
    for (size_t i = 0; x && i < sizeof bad / sizeof *bad; i++) {
        const saeuron_generate_options o = {
            .prompts = prompts, .count = 1, .steps = 1, .width = bad[i].width, .height = bad[i].height
        };
        CHECK(saeuron_generate(x, &o, rgb, &e) == SAEURON_EUSAGE && test_holds(e.text, bad[i].words),
              "%zu x %zu: %s", bad[i].width, bad[i].height, e.text);
    }
    saeuron_close(x);
    CHECK(files.live == 0 && files.torn == 0, "%ld blocks are left, %ld torn", files.live, files.torn);
    tiny_free(&files);
}

/* Contract 9: within one level of stock diffusers, in at most 0.1 % of the bytes. */
static void check_image(tensors *g, const char *name, const unsigned char *rgb, size_t size)
{
    char full[64];
    size_t apart = 0, far = 0;
    snprintf(full, sizeof full, "%s.rgb", name);
    const tensor *t = golden(g, DT_U8, full);
    CHECK(t && t->count == size, "%s: the golden is no image of this size", full);
    for (size_t i = 0; t && t->count == size && i < size; i++) {
        const int d = abs((int)rgb[i] - (int)t->data[i]);
        apart += d > 0;
        far += d > 1;
    }
    CHECK(!far && apart <= size / 1000,
          "%s: %zu of %zu bytes differ from stock diffusers, %zu by more than one level", full, apart, size,
          far);
    test_note("%s: %zu of %zu bytes differ", full, apart, size);
}

static int residual_of(const char *name)
{
    return !strcmp(name, "released") ? SAEURON_RESIDUAL_RELEASED
           : !strcmp(name, "none")   ? SAEURON_RESIDUAL_NONE
                                     : SAEURON_RESIDUAL_PAPER;
}

/* Forgets what the case lists, by the choices kept beside the SAEs. */
static void forget_all(saeuron_context *x, json v)
{
    json list, concept;
    char name[64];
    saeuron_remember(x);
    if (json_get(v, "forget", &list))
        for (json_iter it = json_begin(list); json_next(&it, NULL, &concept);) {
            const saeuron_forget_options o = { .name = name };
            CHECK(json_string(concept, name, sizeof name, NULL) && saeuron_forget(x, &o, &err) == SAEURON_OK,
                  "%s", err.text);
        }
}

/* One case of configs/emojicanvas.json through the public interface: its final latents and its picture. */
static void check_whole(saeuron_context *x, tensors *g, json v)
{
    char name[32], full[64], prompt[128], negative[128], residual[16] = "paper";
    const char *const texts[1] = { prompt };
    size_t W, H;
    json text;
    text_at(v, "name", name, sizeof name);
    text_at(v, "prompt", prompt, sizeof prompt);
    const bool refused = json_get(v, "negative", &text) && json_string(text, negative, sizeof negative, NULL);
    if (json_get(v, "residual", &text))
        json_string(text, residual, sizeof residual, NULL);
    snprintf(full, sizeof full, "%s.seed", name);
    const tensor *seed = golden(g, DT_I64, full);
    saeuron_generate_options o = { .prompts = texts,
                                   .count = 1,
                                   .negative_prompt = refused ? negative : NULL,
                                   .seed = seed ? (uint64_t)i64_at(seed, 0) : 0,
                                   .steps = size_at(v, "steps"),
                                   .guidance = number(v, "guidance", 0),
                                   .has_guidance = number(v, "guidance", 0) > 0,
                                   .residual = residual_of(residual),
                                   .map_steps = 1 };
    forget_all(x, v);
    if (saeuron_image_size(x, &o, &W, &H, &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    const size_t n = W * H; /* more than the latents ever are */
    unsigned char *rgb = malloc(3 * n);
    o.latents = malloc(n * sizeof *o.latents);
    snprintf(full, sizeof full, "%s.latents", name);
    const tensor *t = tensors_find(g, full);
    CHECK(rgb && o.latents && t && t->count <= n, "%s: no golden, or no memory", full);
    if (rgb && o.latents && t && t->count <= n) {
        CHECK(saeuron_generate(x, &o, rgb, &err) == SAEURON_OK, "%s", err.text);
        check_truth(g, full, o.latents, t->count);
        check_image(g, name, rgb, 3 * n);
    }
    free(o.latents);
    free(rgb);
}

/* The trained model from prompt to pixels, 20 guided steps, with and without forgetting. */
static void emojicanvas(void)
{
    saeuron_context *x;
    tensors g;
    io_file f;
    json v;
    if (!io_exists(&disk, MODEL "/model_index.json")) {
        test_skip("there is no " MODEL " here");
        return;
    }
    if (!golden_open(&g, "emojicanvas"))
        return;
    if (same_model(&g)) {
        const int code = saeuron_open(&x, &disk, MODEL, &err);
        CHECK(code == SAEURON_OK, "%s", err.text);
        const json cases = config_open(&f, "emojicanvas");
        for (json_iter it = json_begin(cases); !code && json_next(&it, NULL, &v);)
            check_whole(x, &g, v);
        io_close(&f);
        if (!code)
            saeuron_close(x);
        golden_close(&g);
    } else {
        tensors_close(&g);
    }
}

/* Many pictures by one context (MANY: how many, 1,000): none leaves a block behind, or needs a larger one
 * than the first. */
static void many_calls(void)
{
    static shot s;
    const char *many = getenv("MANY");
    const long  all = many ? atol(many) : 1000;
    saeuron_generate_options o = { .count = 1, .steps = 1, .map_steps = 1 };
    saeuron_context *x = fresh();
    must_forget(x, "Sketch", 8);
    must_shoot(x, o, &s);
    const long   live = files.live, calls = files.allocs;
    const size_t largest = files.largest;
    must_shoot(x, o, &s);
    const long each = files.allocs - calls;
    while ((long)++o.seed < all - 1)
        must_shoot(x, o, &s);
    CHECK(files.live == live && files.largest == largest && files.allocs == calls + (all - 1) * each,
          "%ld blocks are left, the largest has %zu bytes, not %zu; %ld allocations a call",
          files.live - live, files.largest, largest, each);
    done(x);
}

const test_case saeuron_tests[] = {
    { "threads_bits", threads_bits }, { "isa_bits", isa_bits }, { "batch_bits", batch_bits },
    { "noise_index", noise_index }, { "noise_given", noise_given }, { "embeds_given", embeds_given },
    { "guidance", guidance }, { "tap_names", tap_names }, { "intermediates", intermediates },
    { "steps_mismatch", steps_mismatch }, { "allocations_fail", allocations_fail },
    { "text_allocations_fail", text_allocations_fail }, { "image_allocations_fail", image_allocations_fail },
    { "one_allocation", one_allocation }, { "cancels", cancels }, { "taps_change", taps_change },
    { "environment", environment }, { "environment_of_pool", environment_of_pool },
    { "option_errors", option_errors }, { "null_pointers", null_pointers },
    { "many_calls", many_calls },
    { "texts_before_sampling", texts_before_sampling }, { "not_finite_on_the_way", not_finite_on_the_way },
    { "impossible_noise", impossible_noise },
    { "sizes", sizes }, { "text", text }, { "image_bits", image_bits }, { "image_sizes", image_sizes },
    { "image_moments", image_moments }, { "image_fails", image_fails }, { "not_square", not_square },
    { "sides", sides }, { "emojicanvas", emojicanvas }, { NULL, NULL },
};
