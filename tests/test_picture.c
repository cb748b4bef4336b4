/* test_picture.c: what a picture says of how it was made, and that a picture which says anything else is
 * refused.
 *
 * Not here: that the same text makes the same picture (test_cli.c), PNG itself (test_png.c). */
#include "test.h"
#include "judges.h"
#include "evaluation/picture.h"
#include "files/png.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static tiny files;

static saeuron_context *opened(const saeuron_host *host)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    CHECK(saeuron_open(&x, host, "tiny", &e) == SAEURON_OK, "%s", e.text);
    return x;
}

/* Densities of the styles, all of them this share. */
static void set_densities(float share)
{
    static const char *const names[] = { "Sketch", "Van Gogh", "Watercolor" };
    static tiny_list l;
    for (size_t c = 0; c < 3; c++) {
        tiny_tensor *t = tiny_tensor_add(&l, names[c], DT_F32, 2, (const size_t[]){ TINY_STEPS, 128 });
        for (size_t i = 0; i < t->count; i++)
            t->values[i] = share;
    }
    tiny_save(&files, "sae/" TINY_STYLES "/density.safetensors", &l, 0, 3,
              "{\"what\":\"density\",\"timesteps\":\"751,501,251,1\"}");
    tiny_drop(&l);
}

static void describe(picture *d, const saeuron_context *x, const saeuron_generate_options *g,
                     const char *inject)
{
    const char *const also[] = { "inject", inject, NULL };
    saeuron_error e = { 0 };
    CHECK(picture_describe(d, x, g, 0, 16, 16, 7, *inject ? also : NULL, &e) == SAEURON_OK, "%s", e.text);
}

/* The text "forget" names the SAE and the statistics, and the densities where they were asked for. */
static void names_its_files(void)
{
    static const char *const prompt = "cat";
    const saeuron_generate_options g = { .prompts = &prompt, .count = 1 };
    char     wanted[512], first[512] = "";
    saeuron_error e = { 0 };
    picture  d;
    tiny_make(&files);
    const saeuron_host host = tiny_host(&files);
    for (int i = 0; i < 3; i++) { /* densities asked for, other densities, none asked for */
        const saeuron_forget_options f = { .name = "Sketch", .top = 8, .min_density = i < 2 ? 0.25 : 0 };
        set_densities(i ? 0.75f : 0.5f);
        saeuron_context *x = opened(&host);
        CHECK(saeuron_forget(x, &f, &e) == SAEURON_OK, "%s", e.text);
        const ablation *a = x->hook[0];
        describe(&d, x, &g, "");
        int n = snprintf(wanted, sizeof wanted,
                         "Sketch top 8%s strength -4 sae %016" PRIx64 " statistics %016" PRIx64,
                         i < 2 ? " min-density 0.25" : "", a->sae.digest, a->stats.digest);
        if (i < 2)
            snprintf(wanted + n, sizeof wanted - (size_t)n, " density %016" PRIx64, a->stats.density_digest);
        CHECK(!strcmp(d.forget, wanted) && a->stats.digest, "\"%s\" should be \"%s\"", d.forget, wanted);
        CHECK(strcmp(d.forget, first), "other densities, but still \"%s\"", first);
        snprintf(first, sizeof first, "%s", d.forget);
        picture_free(&d, x);
        saeuron_close(x);
    }
    tiny_free(&files);
}

/* Whatever a picture says, a run that would say otherwise refuses it by that keyword, and so does a run that
 * would say nothing. */
static void refused_by_keyword(void)
{
    static const char *const prompt = "cat", *const other = "dog";
    static const float noise[TINY_LATENT] = { 1 };
    static unsigned char rgb[TINY_PIXELS];
    static const struct {
        const char *keyword; saeuron_generate_options g; const char *forget, *inject;
    } cases[] = {
        { "prompt", { .prompts = &other }, "Sketch", "" },
        { "negative_prompt", { .negative_prompt = "dog" }, "Sketch", "" },
        { "seed", { .seed = 1 }, "Sketch", "" },
        { "noise_index", { .noise_index = 1 }, "Sketch", "" },
        { "seed", { .noise = noise }, "Sketch", "" },
        { "steps", { .steps = 3 }, "Sketch", "" },
        { "cfg", { .guidance = 2, .has_guidance = 1 }, "Sketch", "" },
        { "forget", { 0 }, "Watercolor", "" },
        { "forget", { 0 }, NULL, "" },
        { "residual", { .residual = SAEURON_RESIDUAL_NONE }, "Sketch", "" },
        { "shared", { .shared = SAEURON_SHARED_RELEASED }, "Sketch", "" },
        { "map_steps", { .map_steps = 1 }, "Sketch", "" },
        { "inject", { 0 }, "Sketch", "noise 0123456789abcdef" },
    };
    char    path[1200], words[128];
    picture d;
    tiny_make(&files);
    const saeuron_host host = tiny_host(&files);
    snprintf(path, sizeof path, "%s/said.png", test_tmp());
    for (size_t i = 0; i <= sizeof cases / sizeof *cases; i++) {
        const bool same = i == sizeof cases / sizeof *cases;
        const saeuron_forget_options f = { .name = same ? "Sketch" : cases[i].forget };
        saeuron_generate_options plain = { .prompts = &prompt, .count = 1 }, g = same ? plain : cases[i].g;
        saeuron_error e = { 0 };
        unsigned char *pixels = NULL;
        saeuron_context *x = opened(&host);
        CHECK(saeuron_forget(x, &(saeuron_forget_options){ .name = "Sketch" }, &e) == SAEURON_OK, "%s",
              e.text);
        describe(&d, x, &plain, "");
        CHECK(png_save(NULL, path, rgb, 16, 16, d.texts, &e) == SAEURON_OK, "%s", e.text);
        picture_free(&d, x);
        saeuron_remember(x);
        CHECK(!f.name || saeuron_forget(x, &f, &e) == SAEURON_OK, "%s", e.text);
        g.count = 1;
        g.prompts = g.prompts ? g.prompts : &prompt;
        describe(&d, x, &g, same ? "" : cases[i].inject);
        const int code = picture_load(&d, NULL, path, 16, 16, &pixels, &e);
        if (same) {
            CHECK(code == SAEURON_OK, "its own picture is refused: %s", e.text);
        } else {
            snprintf(words, sizeof words, "said.png|%s|another folder", cases[i].keyword);
            judges_error(cases[i].keyword, code, SAEURON_EFORMAT, &e, words);
        }
        io_free(NULL, pixels);
        picture_free(&d, x);
        saeuron_close(x);
    }
    tiny_free(&files);
}

/* What was written is read, however long its texts are; a size is refused before a pixel is looked at. */
static void long_texts(void)
{
    enum { LONG = 200000 };
    static char prompt[LONG + 1];
    static unsigned char rgb[TINY_PIXELS];
    const char *const text = prompt;
    const saeuron_generate_options g = { .prompts = &text, .count = 1 };
    unsigned char *pixels;
    char    path[1200];
    picture d;
    saeuron_error e = { 0 };
    tiny_make(&files);
    const saeuron_host host = tiny_host(&files);
    saeuron_context *x = opened(&host);
    snprintf(path, sizeof path, "%s/long.png", test_tmp());
    for (int latin = 0; latin < 2; latin++) { /* tEXt, iTXt */
        memset(prompt, 'a', LONG);
        if (latin)
            memcpy(prompt, "\xC3\xA9", 2);
        describe(&d, x, &g, "");
        CHECK(png_save(NULL, path, rgb, 16, 16, d.texts, &e) == SAEURON_OK &&
                  picture_load(&d, NULL, path, 16, 16, &pixels, &e) == SAEURON_OK, "%s", e.text);
        io_free(NULL, pixels);
        prompt[LONG - 1] = 'b';
        judges_error("another end", picture_load(&d, NULL, path, 16, 16, &pixels, &e), SAEURON_EFORMAT, &e,
                     "long.png|prompt|another folder");
        prompt[LONG - 1] = 'a';
        judges_error("another size", picture_load(&d, NULL, path, 16, 32, &pixels, &e), SAEURON_EFORMAT, &e,
                     "long.png|16 x 16 pixels, not 16 x 32|delete this file");
        picture_free(&d, x);
    }
    saeuron_close(x);
    tiny_free(&files);
}

/* A choice says all that it sets, in one order, and nothing of what it leaves alone. */
static void choices_in_words(void)
{
    static const struct { choice how; const char *words; } cases[] = {
        { { .top = 3, .strength = -0.1f }, "top 3 strength -0.1" },
        { { .percentile = 99.5, .strength = 0, .half = SAEURON_HALF_UNCONDITIONAL },
          "percentile 99.5 half unconditional strength 0" },
        { { .top = 12, .strength = -1.5f, .min_density = 0.25, .min_lift = 3, .first = 10, .end = 20,
            .half = SAEURON_HALF_CONDITIONAL },
          "top 12 min-density 0.25 min-lift 3 window 10-20 half conditional strength -1.5" },
    };
    char words[192];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        describe_choice(words, &cases[i].how);
        CHECK(!strcmp(words, cases[i].words), "\"%s\", not \"%s\"", words, cases[i].words);
    }
}

const test_case picture_tests[] = {
    { "choices_in_words", choices_in_words },
    { "names_its_files", names_its_files }, { "refused_by_keyword", refused_by_keyword },
    { "long_texts", long_texts }, { NULL, NULL },
};
