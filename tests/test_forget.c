/* test_forget.c: forgetting, steering and reconstructing by the public calls: the right SAE, statistics and
 * choice are found, every wrong one is named, and the context can go on.
 *
 * Not here: what an ablation computes (test_select.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "scratch.h"
#include "shots.h"
#include "arithmetic/rng.h"
#include "forget.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* How far forgetting goes: 0 without it, more for more strength, and whoever the threads are, whatever the
 * batch. */
static void growth(void)
{
    static const float strength[] = { -1, -30, -900 };
    saeuron_context *x = fresh();
    shot s;
    double before = 0, alone;
    must_shoot(x, (saeuron_generate_options){ .count = 3 }, &s);
    CHECK(!(saeuron_growth(x) > 0), "nothing is forgotten, and growth is %g", saeuron_growth(x));
    for (size_t i = 0; i < 3; i++) {
        const saeuron_forget_options o = { .name = "Sketch", .top = 24, .strength = (double)strength[i],
                                           .has_strength = 1 };
        saeuron_error e = { 0 };
        rest_hooks(x);
        CHECK(saeuron_forget(x, &o, &e) == SAEURON_OK, "%s", e.text);
        must_shoot(x, (saeuron_generate_options){ .count = 3, .batch = 1 }, &s);
        alone = saeuron_growth(x);
        x->threads = 2;
        must_shoot(x, (saeuron_generate_options){ .count = 3 }, &s);
        x->threads = 1;
        CHECK(!(saeuron_growth(x) < alone) && !(saeuron_growth(x) > alone), "2 threads, one batch: growth "
              "%g, not %g", saeuron_growth(x), alone);
        CHECK(alone > before, "strength %g: growth %g, weaker %g", (double)strength[i], alone, before);
        before = alone;
    }
    CHECK(before > 2, "900 times stronger, activations grow %g times", before);
    done(x);
}

/* From now on Sketch alone is forgotten, in this half of the batch. */
static void must_forget_half(saeuron_context *x, int half)
{
    const saeuron_forget_options o = { .name = "Sketch", .top = 60, .has_half = 1, .half = half };
    saeuron_error e = { 0 };
    rest_hooks(x);
    CHECK(saeuron_forget(x, &o, &e) == SAEURON_OK, "%s", e.text);
}

/* One half of the guided batch alone is edited: each draws another picture than both and than none, on any
 * number of threads; without guidance there is the conditional one only. */
static void halves(void)
{
    shot plain, both, s[2], again;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 3 }, &plain);
    must_forget(x, "Sketch", 60);
    must_shoot(x, (saeuron_generate_options){ .count = 3 }, &both);
    for (int i = 0; i < 2; i++) {
        saeuron_generate_options o = { .count = 3 };
        must_forget_half(x, SAEURON_HALF_CONDITIONAL + i);
        must_shoot(x, o, &s[i]);
        CHECK(!same(&plain, &s[i]) && !same(&both, &s[i]), "half %d draws what both or none do", i);
        x->threads = 2;
        o.batch = 2;
        must_shoot(x, o, &again);
        x->threads = 1;
        CHECK(same(&s[i], &again), "half %d: 2 threads and batches of 2 change bits", i);
    }
    CHECK(!same(&s[0], &s[1]), "the halves are the same");
    const saeuron_generate_options one = { .count = 1, .guidance = 1, .has_guidance = 1 };
    check_error("no such half", shoot(x, one, &again, &e), SAEURON_EUSAGE, &e, "half|guidance");
    must_forget_half(x, SAEURON_HALF_BOTH);
    must_shoot(x, one, &both);
    must_forget_half(x, SAEURON_HALF_CONDITIONAL);
    must_shoot(x, one, &again);
    CHECK(same(&both, &again), "without guidance the conditional half is not all");
    for (int i = 0; i < 2; i++) { /* at one hook all is edited in the same half */
        const saeuron_forget_options o = { .name = "Van Gogh", .has_half = 1, .half = i ? 3 : 0 };
        check_error("two halves", saeuron_forget(x, &o, &e), SAEURON_EUSAGE, &e,
                    i ? "half|conditional" : "Van Gogh|half");
    }
    check_error("two halves", saeuron_steer(x, TINY_STYLES, 1, 0, &e), SAEURON_EUSAGE, &e, "latent 1|half");
    rest_hooks(x);
    CHECK(saeuron_steer(x, TINY_STYLES, 1, 0, &e) == SAEURON_OK, "%s", e.text);
    const saeuron_forget_options late = { .name = "Sketch", .has_half = 1,
                                          .half = SAEURON_HALF_CONDITIONAL };
    check_error("two halves", saeuron_forget(x, &late, &e), SAEURON_EUSAGE, &e, "Sketch|half");
    done(x);
}

/* Both hooks edit, each its own concept; the order of naming does not matter across hooks; remembering
 * restores. */
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
    CHECK(!same(&plain, &style) && !same(&plain, &object) && !same(&style, &both) && !same(&object, &both),
          "a hook edits nothing");
    CHECK(same(&both, &again), "the order of two hooks' concepts matters");
    saeuron_remember(x);
    must_shoot(x, o, &again);
    CHECK(same(&plain, &again), "remembering does not bring the picture back");
    done(x);
}

/* Steering by the public calls: on an SAE without statistics, at any number of steps, at both hooks, with
 * forgetting; factor 1 draws the plain picture; reconstruction is residual none with nothing selected;
 * remembering takes all back. */
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
    CHECK(saeuron_steer(x, TINY_STYLES, 5, 0, &e) == SAEURON_OK &&
              saeuron_steer(x, TINY_STYLES, 6, -30, &e) == SAEURON_OK &&
              saeuron_steer(x, TINY_OBJECTS, 5, 9, &e) == SAEURON_OK,
          "%s", e.text);
    must_shoot(x, o, &s);
    CHECK(!same(&plain, &s), "steering changes nothing");
    saeuron_remember(x);
    CHECK(saeuron_steer(x, TINY_OBJECTS, 5, 9, &e) == SAEURON_OK &&
              saeuron_steer(x, TINY_STYLES, 6, -30, &e) == SAEURON_OK &&
              saeuron_steer(x, TINY_STYLES, 5, 0, &e) == SAEURON_OK,
          "%s", e.text);
    must_shoot(x, o, &t);
    CHECK(same(&s, &t), "the order of steering matters");
    check_error("steps", try_forget(x, "Sketch", 60, 0, &e) ? -1 : shoot(x, o, &t, &e), SAEURON_EUSAGE, &e,
                "4 steps|map_steps");
    must_shoot(x, (saeuron_generate_options){ .count = 2, .steps = 3, .map_steps = 1 }, &t);
    CHECK(!same(&s, &t), "forgetting beside steering changes nothing");
    saeuron_remember(x);
    must_shoot(x, o, &s);
    CHECK(same(&plain, &s), "remembering does not bring the picture back");
    CHECK(saeuron_reconstruct(x, "unet." TINY_STYLES, &e) == SAEURON_OK &&
              saeuron_reconstruct(x, TINY_STYLES, &e) == SAEURON_OK && x->hooks == 1,
          "%s", e.text);
    must_shoot(x, o, &s);
    CHECK(!same(&plain, &s), "reconstruction changes nothing");
    saeuron_remember(x);
    CHECK(try_forget(x, "Sketch", 0, 100, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x,
               (saeuron_generate_options){
                   .count = 2, .steps = 3, .map_steps = 1, .residual = SAEURON_RESIDUAL_NONE },
               &t);
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

/* Each way in which steering can be asked for wrongly is named, leaves no SAE behind, and leaves what was
 * there. */
static void steer_errors(void)
{
    shot plain, s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    const saeuron_generate_options o = { .count = 1 };
    check_error("hook", saeuron_steer(x, "up_blocks.1.attentions.0", 1, 1, &e), SAEURON_EUSAGE, &e,
                "up_blocks.1.attentions.0");
    check_error("hook", saeuron_steer(x, NULL, 1, 1, &e), SAEURON_EUSAGE, &e, "hook");
    check_error("hook", saeuron_reconstruct(x, "", &e), SAEURON_EUSAGE, &e, "hook");
    check_error("hook", saeuron_reconstruct(x, "nowhere", &e), SAEURON_EUSAGE, &e, "nowhere");
    check_error("no SAE", saeuron_steer(x, "mid_block.attentions.0", 1, 1, &e), SAEURON_ENOENT, &e,
                "sae/mid_block.attentions.0|saeuron_use_sae");
    check_error("no SAE", saeuron_reconstruct(x, "mid_block.attentions.0", &e), SAEURON_ENOENT, &e,
                "sae/mid_block.attentions.0|saeuron_use_sae");
    check_error("latent", saeuron_steer(x, TINY_STYLES, 128, 1, &e), SAEURON_EUSAGE, &e,
                "latent 128|128|" TINY_STYLES);
    check_error("latent", saeuron_steer(x, TINY_STYLES, (size_t)1 << 32, 1, &e), SAEURON_EUSAGE, &e,
                "latent 4294967296");
    check_error("factor", saeuron_steer(x, TINY_STYLES, 1, NAN, &e), SAEURON_EUSAGE, &e, "factor|latent 1");
    check_error("factor", saeuron_steer(x, TINY_STYLES, 1, 1e39, &e), SAEURON_EUSAGE, &e, "factor");
    check_error("factor", saeuron_steer(x, TINY_STYLES, 1, -INFINITY, &e), SAEURON_EUSAGE, &e, "factor");
    CHECK(x->hooks == 0, "an error leaves an SAE loaded");
    CHECK(saeuron_steer(x, TINY_STYLES, 1, -9, &e) == SAEURON_OK, "%s", e.text);
    must_shoot(x, o, &plain);
    check_error("twice", saeuron_steer(x, "unet." TINY_STYLES, 1, 2, &e), SAEURON_EUSAGE, &e,
                "latent 1|twice");
    check_error("both", saeuron_reconstruct(x, TINY_STYLES, &e), SAEURON_EUSAGE, &e,
                TINY_STYLES "|reconstructed|steered");
    check_error(
        "released without guidance",
        shoot(x,
              (saeuron_generate_options){
                  .count = 1, .guidance = 1, .has_guidance = 1, .residual = SAEURON_RESIDUAL_RELEASED },
              &s, &e),
        SAEURON_EUSAGE, &e, "released|guidance");
    must_shoot(x, o, &s);
    CHECK(same(&plain, &s), "an error changed what was asked for");
    saeuron_remember(x);
    must_forget(x, "Sketch", 0);
    check_error("both", saeuron_reconstruct(x, TINY_STYLES, &e), SAEURON_EUSAGE, &e,
                TINY_STYLES "|reconstructed|forgotten");
    CHECK(saeuron_reconstruct(x, TINY_OBJECTS, &e) == SAEURON_OK, "another hook: %s", e.text);
    check_error("both", try_forget(x, "Cats", 0, 0, &e), SAEURON_EUSAGE, &e, "Cats|reconstructed");
    check_error("both", saeuron_steer(x, TINY_OBJECTS, 1, 2, &e), SAEURON_EUSAGE, &e,
                "latent 1|reconstructed");
    must_shoot(x, o, &s);
    done(x);
}

/* What a caller may not ask for is refused by its name. */
static void forget_options(void)
{
    static const struct { saeuron_forget_options o; const char *words; } bad[] = {
        { { .name = "Sketch", .min_density = -0.1 }, "min_density" },
        { { .name = "Sketch", .min_density = 1.1 }, "min_density" },
        { { .name = "Sketch", .min_lift = -1 }, "min_lift" },
        { { .name = "Sketch", .min_lift = 1e9 }, "min_lift" },
        { { .name = "Sketch", .has_half = 1, .half = -1 }, "half" },
        { { .name = "Sketch", .has_strength = 1, .strength = -2e6 }, "strength" },
        { { .name = "Sketch", .percentile = -1 }, "percentile" },
        { { .name = "Sketch", .has_window = 1, .first_step = 2, .end_step = 2 }, "window" },
        { { .name = "A name of more letters than any concept has, which no concept comes near to, ever" },
          "A name" },
    };
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int code = saeuron_forget(x, &bad[i].o, &e);
        CHECK(code && test_holds(e.text, bad[i].words) && x->hooks == 0, "%s: code %d, %s", bad[i].words,
              code, e.text);
    }
    done(x);
}

/* forget.json's pair counts unless the caller gives another; a percentile is a double, not a float's idea of
 * it. */
static void forget_choices(void)
{
    static const struct {
        saeuron_forget_options o;
        size_t top;
        double percentile;
        float strength;
        size_t first, end;
    } cases[] = {
        { { .name = "Sketch" }, 24, 99.999, -4, 0, 0 },
        { { .name = "Sketch", .has_window = 1, .first_step = 1, .end_step = 3 }, 24, 99.999, -4, 1, 3 },
        { { .name = "Sketch", .top = 3, .has_window = 1, .end_step = 2 }, 3, 99.999, -4, 0, 2 },
        { { .name = "Sketch", .top = 3 }, 3, 99.999, -4, 0, 0 },
        { { .name = "Sketch", .percentile = 99.7 }, 0, 99.7, -4, 0, 0 },
        { { .name = "Sketch", .strength = 0, .has_strength = 1 }, 24, 99.999, 0, 0, 0 },
        { { .name = "Van Gogh" }, 0, 99.999, -1, 0, 0 },
        { { .name = "Watercolor" }, 0, 70.1, -1, 0, 0 },
        { { .name = "Cats" }, 0, 80.1, -5.5f, 0, 0 },
        { { .name = "Dogs", .strength = -7.5, .has_strength = 1 }, 30, 99.999, -7.5f, 0, 0 },
    };
    saeuron_context *x = fresh();
    saeuron_error e = { 0 };
    tiny_edit(&files, STYLES "/forget.json", "\"top\": 24", "\"top\": 1");
    CHECK(saeuron_forget(x, &cases[0].o, &e) == SAEURON_OK && x->hook[0]->forget[0].how.top == 1, "%s",
          e.text);
    saeuron_remember(x);
    tiny_edit(&files, STYLES "/forget.json", "\"top\": 1", "\"top\": 24");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(saeuron_forget(x, &cases[i].o, &e) == SAEURON_OK && x->hooks == 1, "%s", e.text);
        const selection *s = &x->hook[0]->forget[0];
        CHECK(s->how.top == cases[i].top && (s->how.top || s->how.percentile == cases[i].percentile) &&
                  s->how.strength == cases[i].strength,
              "%s: top %zu, percentile %.17g, strength %g", s->concept, s->how.top, s->how.percentile,
              (double)s->how.strength);
        for (size_t t = 0; t < TINY_STEPS; t++) {
            const size_t n = s->start[t + 1] - s->start[t];
            const bool inside = !cases[i].end || (t >= cases[i].first && t < cases[i].end);
            const size_t want = !inside    ? 0
                              : s->how.top ? s->how.top
                                           : (size_t)ceil((1 - s->how.percentile / 100) * 127 - 1e-9);
            CHECK(n == want, "%s selects %zu latents at step %zu, not %zu", s->concept, n, t, want);
        }
        saeuron_remember(x);
    }
    done(x);
}

/* A name in two hooks' statistics is forgotten at the hook that is asked for, else where saeuron_use_sae
 * names an SAE, else at its domain's; and nowhere, where that leaves two. */
static void one_name_at_two_hooks(void)
{
    static const char *const objects[] = { "Sketch", "Dogs", "Sea" };
    static const struct { const char *edit, *asked, *placed, *hook; } cases[] = {
        { NULL, NULL, NULL, TINY_STYLES }, { NULL, TINY_OBJECTS, NULL, TINY_OBJECTS },
        { NULL, NULL, TINY_OBJECTS, TINY_OBJECTS }, { "Cats", NULL, NULL, NULL },
        { "Cats", "unet." TINY_STYLES, NULL, TINY_STYLES }, { "Cats", TINY_OBJECTS, NULL, TINY_OBJECTS },
        { "Cats", NULL, TINY_STYLES, TINY_STYLES }, { "domains", NULL, NULL, NULL },
    };
    saeuron_error e = { 0 };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const saeuron_forget_options o = { .name = "Sketch", .hook = cases[i].asked, .top = 1 };
        tiny_make(&files);
        tiny_add_statistics(&files, TINY_OBJECTS, objects);
        if (cases[i].edit)
            tiny_edit(&files, "concepts.json", cases[i].edit, i == 7 ? "_domains" : "Sketch");
        saeuron_context *x = opened(NULL, 1);
        if (cases[i].placed)
            CHECK(!saeuron_use_sae(x, cases[i].placed, NULL, NULL, &e), "%s", e.text);
        const int code = saeuron_forget(x, &o, &e);
        if (cases[i].hook)
            CHECK(!code && !strcmp(x->hook[0]->hook, cases[i].hook), "case %zu: at %s: %s", i,
                  code ? "no hook" : x->hook[0]->hook, e.text);
        else
            check_error("two hooks", code, SAEURON_EUSAGE, &e,
                        "Sketch|" TINY_STYLES "|" TINY_OBJECTS "|saeuron_forget_options.hook");
        done(x);
    }
    saeuron_context *x = fresh();
    const saeuron_forget_options none = { .name = "Sketch", .hook = "up_blocks.9.attentions.0" };
    const saeuron_forget_options other = { .name = "Sketch", .hook = TINY_OBJECTS };
    check_error("no such hook", saeuron_forget(x, &none, &e), SAEURON_EUSAGE, &e, "up_blocks.9.attentions.0");
    check_error("another hook", saeuron_forget(x, &other, &e), SAEURON_EUSAGE, &e, "Sketch");
    done(x);
}

/* Each way in which forgetting can be asked for wrongly is named; afterwards the context draws what it drew
 * before. */
static void forget_errors(void)
{
    shot plain, s;
    saeuron_error e = { 0 };
    saeuron_context *x = fresh();
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    check_error("unknown concept", try_forget(x, "Sketsh", 0, 0, &e), SAEURON_EUSAGE, &e,
                "Sketsh|did you mean Sketch?");
    check_error("unknown concept", try_forget(x, "cat", 0, 0, &e), SAEURON_EUSAGE, &e, "did you mean Cats?");
    check_error("no concept", try_forget(x, "", 0, 0, &e), SAEURON_EUSAGE, &e, "concept");
    check_error("no concept", try_forget(x, NULL, 0, 0, &e), SAEURON_EUSAGE, &e, "concept");
    const saeuron_forget_options late = { "Sketch", .has_window = 1, .first_step = 4, .end_step = 9 };
    const saeuron_forget_options empty = { "Sketch", .has_window = 1, .first_step = 2, .end_step = 2 };
    check_error("window", saeuron_forget(x, &late, &e), SAEURON_EUSAGE, &e, "window|step 4|4");
    check_error("window", saeuron_forget(x, &empty, &e), SAEURON_EUSAGE, &e, "window");
    check_error("percentile", try_forget(x, "Sketch", 0, 100.5, &e), SAEURON_EUSAGE, &e, "percentile");
    check_error("percentile", try_forget(x, "Sketch", 0, -1, &e), SAEURON_EUSAGE, &e, "percentile");
    check_error("percentile", try_forget(x, "Sketch", 0, NAN, &e), SAEURON_EUSAGE, &e, "percentile");
    check_error("strength",
                saeuron_forget(
                    x, &(saeuron_forget_options){ .name = "Sketch", .strength = NAN, .has_strength = 1 }, &e),
                SAEURON_EUSAGE, &e, "strength");
    check_error(
        "strength",
        saeuron_forget(x, &(saeuron_forget_options){ .name = "Sketch", .strength = 1e30, .has_strength = 1 },
                       &e),
        SAEURON_EUSAGE, &e, "strength");
    check_error("hook", saeuron_use_sae(x, "up_blocks.1.attentions.0", "d", NULL, &e), SAEURON_EUSAGE, &e,
                "up_blocks.1.attentions.0");
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(same(&plain, &s), "an error left something behind");
    must_forget(x, "Sketch", 60);
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &plain);
    check_error("twice", try_forget(x, "Sketch", 0, 0, &e), SAEURON_EUSAGE, &e, "Sketch|twice");
    must_shoot(x, (saeuron_generate_options){ .count = 1 }, &s);
    CHECK(same(&plain, &s), "an error left something behind");
    check_error(
        "released without guidance",
        shoot(x,
              (saeuron_generate_options){
                  .count = 1, .guidance = 1, .has_guidance = 1, .residual = SAEURON_RESIDUAL_RELEASED },
              &s, &e),
        SAEURON_EUSAGE, &e, "released|guidance");
    done(x);
}

/* Every damaged file of an SAE's folder is an error that names the file, and leaves a context that can go
 * on. */
static void sae_folder_errors(void)
{
    static const struct { const char *file, *from, *to, *words; int code; } cases[] = {
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 999", "cfg.json|\"k\"", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 0", "cfg.json|\"k\"", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"input_unit_norm\": true", "cfg.json|input_unit_norm",
          SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"sample_topk\": true", "cfg.json|sample_topk",
          SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"diff\": true", "cfg.json: \"diff\"|less its input",
          SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"topk\"", "\"jumprelu\"", "cfg.json|\"activation\"|jumprelu|groupmax",
          SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"topk\"", "true", "cfg.json|\"activation\"", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"topk\"}", "\"groupmax\", \"num_latents\": 124}",
          "cfg.json|124 latents|\"k\" 8|groupmax", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"mystery\": 1", "cfg.json|mystery", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "\"k\": 8", "\"k\": 8, \"d_in\": 64", "cfg.json|d_in", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "factor\": 4", "factor\": 5",
          "sae.safetensors|encoder.weight|[128, 32]|[160, 32]", SAEURON_EFORMAT },
        { STYLES "/cfg.json", "{", "[", "cfg.json", SAEURON_EFORMAT },
        { STYLES "/sae.safetensors", "W_dec", "W_doc", "sae.safetensors|W_dec", SAEURON_EFORMAT },
        { STYLES "/sae.safetensors", "encoder.weight", "encoder_weight", "sae.safetensors|encoder.weight",
          SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "501", "5x1", "stats.safetensors|timesteps", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "751, ", "     ", "stats.safetensors|timesteps", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\"timesteps\"", "\"tomesteps\"", "stats.safetensors|timesteps",
          SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "attentions.2", "attentions.1",
          "stats.safetensors|attentions.1|attentions.2", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\\\"Sketch\\\"", "\\\"Skitch\\\"", "stats.safetensors|prompts|Sketch",
          SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\\\": 2", "\\\": 0", "stats.safetensors|prompts", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "{\\\"Sketch\\\"", "[\\\"Sketch\\\"",
          "stats.safetensors: metadata \"prompts\": not valid JSON", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\\\": 2", "\\\": x",
          "stats.safetensors: metadata \"prompts\": not valid JSON", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "\"seed\":\"0\"", "\"sae\":\"00\"",
          "stats.safetensors|digest 00|make them again", SAEURON_EFORMAT },
        { STYLES "/stats.safetensors", "[4,128]", "[2,256]", "stats.safetensors", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\": 24", "\"top\": -1", "forget.json: Sketch|top", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\": 24", "\"top\": 0", "forget.json: Sketch|top", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\": 24", "\"top\": 24, \"percentile\": 99",
          "forget.json: Sketch|top|percentile", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\": 24", "\"percentile\": 101",
          "forget.json: Sketch|\"percentile\" must be from 0 to 100", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\": 24", "\"min_lift\": -1", "forget.json: Sketch|\"min_lift\"",
          SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"strength\": -4", "\"strength\": 1e7",
          "forget.json: Sketch|\"strength\" must be from -1000000 to 1000000", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\": 24", "\"topp\": 24", "forget.json|topp", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\"", "\"window\": [1], \"top\"", "forget.json: Sketch|\"window\"",
          SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\"", "\"window\": [0, 1, 2], \"top\"",
          "forget.json: Sketch|\"window\"", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\"", "\"window\": [-1, 2], \"top\"",
          "forget.json: Sketch|\"window\"", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\"", "\"window\": [0, 1001], \"top\"",
          "forget.json: Sketch|\"window\"", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"top\"", "\"window\": [0, \"b\"], \"top\"",
          "forget.json: Sketch|\"window\"", SAEURON_EFORMAT },
        { STYLES "/forget.json", "\"strength\": -4", "\"strength\": \"x\"", "forget.json|strength",
          SAEURON_EFORMAT },
        { STYLES "/forget.json", "{\"top\": 24, \"strength\": -4}", "24", "forget.json|Sketch",
          SAEURON_EFORMAT },
        { STYLES "/forget.json", "}", "", "forget.json", SAEURON_EFORMAT },
    };
    static const char *const gone[] = { "/cfg.json", "sae.safetensors" };
    static const char *const roots[] = { "[]", "3", "null" };
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
    for (size_t i = 0; i < 2 * COUNT(roots); i++) {
        saeuron_context *x = fresh();
        tiny_text(&files, i % 2 ? STYLES "/cfg.json" : STYLES "/forget.json", roots[i / 2]);
        check_error(roots[i / 2], try_forget(x, "Sketch", 0, 0, &e), SAEURON_EFORMAT, &e,
                    i % 2 ? "cfg.json: must hold a JSON object" : "forget.json: must hold a JSON object");
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
    check_error("no statistics", try_forget(x, "Sketch", 0, 0, &e), SAEURON_ENOENT, &e,
                "tiny/sae|saeuron_use_sae");
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
    check_error("NaN in an SAE", try_forget(x, "Sketch", 0, 0, &e), SAEURON_ENAN, &e,
                "sae.safetensors|encoder.bias|element 77");
    tiny_drop(&l);
    tiny_tensor_add(&l, "Sketch", DT_F32, 2, wide);
    tiny_save(&files, STYLES "/stats.safetensors", &l, 0, 1, "{\"timesteps\":\"751,501,251,1\"}");
    tiny_drop(&l);
    tiny_tensors(&l, "sae");
    tiny_save(&files, STYLES "/sae.safetensors", &l, 0, l.count, NULL);
    check_error("statistics of another SAE", try_forget(x, "Sketch", 0, 0, &e), SAEURON_EFORMAT, &e,
                "stats.safetensors|64|128");
    tiny_drop(&l);
    tiny_tensor_add(&l, "Sketch", DT_F32, 2, wide)->values[65] = INFINITY;
    tiny_save(&files, STYLES "/stats.safetensors", &l, 0, 1, "{\"timesteps\":\"751,501,251,1\"}");
    check_error("infinite statistics", try_forget(x, "Sketch", 0, 0, &e), SAEURON_ENAN, &e,
                "stats.safetensors|Sketch|step 1");
    tiny_drop(&l);
    tiny_tensor_add(&l, "Sketch", DT_I64, 2, wide);
    tiny_save(&files, STYLES "/stats.safetensors", &l, 0, 1, "{\"timesteps\":\"751,501,251,1\"}");
    check_error("integer statistics", try_forget(x, "Sketch", 0, 0, &e), SAEURON_EFORMAT, &e,
                "stats.safetensors|Sketch|F32");
    tiny_drop(&l);
    done(x);
}

/* saeuron_use_sae: another folder for a hook, with or without its own statistics; "unet." before the hook is
 * accepted. */
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
    static const size_t n = 4096, shapes[4][2] = { { 4096, 32 }, { 4096, 0 }, { 4096, 32 }, { 32, 0 } };
    static const size_t mu[2] = { TINY_STEPS, 4096 };
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

/* Moves a folder of the table. */
static void move_folder(const char *from, const char *to)
{
    size_t moved = 0;
    for (size_t i = 0; i < files.count; i++) {
        char *name = files.file[i].path + 5, rest[160];
        if (strncmp(name, from, strlen(from)) || name[strlen(from)] != '/')
            continue;
        snprintf(rest, sizeof rest, "%s", name + strlen(from));
        snprintf(name, sizeof files.file[i].path - 5, "%s%.80s", to, rest);
        moved++;
    }
    CHECK(moved, "there is no %s", from);
}

/* The released SAEs: folders whose names begin with "unet.", and every key their cfg.json has; sparsify's own
 * cfg.json, of which groupmax is another encoder. */
static void released_saes(void)
{
    static const char released[] = "{\"expansion_factor\": 4, \"normalize_decoder\": true, \"num_latents\": "
                                   "0, \"k\": 8, \"batch_topk\": true, \"sample_topk\": false, "
                                   "\"input_unit_norm\": false, \"multi_topk\": false, \"d_in\": 32}";
    static const char of_sparsify[] =
        "{\"activation\": \"topk\", \"expansion_factor\": 4, \"normalize_decoder\": true, \"num_latents\": "
        "0, \"k\": 8, \"multi_topk\": false, \"skip_connection\": false, \"embed_skip\": false, "
        "\"gram_lookup\": false, \"lookup_max_order\": 4, \"gram_table_hash\": null, \"transcode\": false, "
        "\"d_in\": 32}";
    static const struct { const char *keys, *words; } harmful[] = {
        { "\"input_unit_norm\": true", "input_unit_norm" }, { "\"sample_topk\": true", "sample_topk" },
        { "\"d_in\": 64", "d_in" }, { "\"transcode\": true", "transcode" },
        { "\"jumprelu\": true", "jumprelu" }, { "\"activation\": \"relu\"", "relu" },
        { "\"skip_connection\": true", "skip_connection" }, { "\"signed\": true", "signed" },
        { "\"embed_skip\": true", "embed_skip" }, { "\"gram_lookup\": true", "gram_lookup" },
    };
    picture plain, s;
    saeuron_error e = { 0 };
    tidy(&plain);
    tiny_text(&files, STYLES "/cfg.json", released);
    must_be("the released cfg.json", &plain);
    tiny_text(&files, STYLES "/cfg.json", of_sparsify);
    must_be("a cfg.json of today's sparsify", &plain);
    tiny_edit(&files, STYLES "/cfg.json", "topk", "groupmax");
    draw("groupmax", &s);
    CHECK(!same_picture(&plain, &s), "groupmax draws what topk draws");
    tiny_text(&files, STYLES "/cfg.json", released);
    move_folder(STYLES, "sae/unet." TINY_STYLES);
    must_be("a folder that begins with unet.", &plain);
    tiny_text(&files, STYLES "/README.md", "a folder without an SAE"); /* does not hide the other */
    must_be("an empty folder beside it", &plain);
    move_folder("sae/unet." TINY_STYLES, "elsewhere");
    draw_with("--sae unet.HOOK=DIR", &s, "unet." TINY_STYLES, "tiny/elsewhere");
    CHECK(same_picture(&plain, &s), "--sae unet.HOOK=DIR changes the picture");
    move_folder("elsewhere", STYLES);
    for (size_t i = 0; i < sizeof harmful / sizeof *harmful; i++) {
        char text[128];
        saeuron_context *x = NULL;
        const saeuron_host host = tiny_host(&files);
        const saeuron_forget_options forget = { .name = "Sketch" };
        snprintf(text, sizeof text, "{\"expansion_factor\": 4, \"k\": 8, %s}", harmful[i].keys);
        tiny_text(&files, STYLES "/cfg.json", text);
        int code = saeuron_open(&x, &host, "tiny", &e);
        code = code ? code : saeuron_forget(x, &forget, &e);
        CHECK(code == SAEURON_EFORMAT && test_holds(e.text, "cfg.json") &&
                  test_holds(e.text, harmful[i].words),
              "%s: %s", harmful[i].keys, e.text);
        saeuron_close(x);
    }
    tiny_free(&files);
}

/* The released SAE lies in the model under its own name, its statistics elsewhere: `--stats FILE` alone finds
 * it. */
static void stats_alone(void)
{
    static const char *const prompt = "An image of Cats in Sketch style.";
    picture plain, s = { 0 };
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    tidy(&plain);
    move_folder(STYLES, "sae/unet." TINY_STYLES);
    tiny_file *f = tiny_find(&files, "sae/unet." TINY_STYLES "/stats.safetensors");
    tiny_set(&files, "made/stats.safetensors", f->bytes, f->size);
    tiny_set(&files, "sae/unet." TINY_STYLES "/stats.safetensors", NULL, 0);
    const saeuron_host host = tiny_host(&files);
    const saeuron_forget_options forget = { .name = "Sketch", .top = 60 };
    const saeuron_generate_options o = { .prompts = &prompt, .count = 1, .latents = s.latents };
    int code = saeuron_open(&x, &host, "tiny", &e);
    code = code ? code : saeuron_use_sae(x, "unet." TINY_STYLES, NULL, "tiny/made/stats.safetensors", &e);
    code = code ? code : saeuron_forget(x, &forget, &e);
    code = code ? code : saeuron_generate(x, &o, s.rgb, &e);
    CHECK(!code && same_picture(&plain, &s), "statistics beside a released SAE: %s", e.text);
    saeuron_close(x);
    tiny_free(&files);
}

const test_case forget_tests[] = {
    { "rests", rests }, { "growth", growth }, { "halves", halves },
    { "two_hooks", two_hooks }, { "steers", steers }, { "steer_errors", steer_errors },
    { "one_name_at_two_hooks", one_name_at_two_hooks },
    { "forget_options", forget_options },
    { "forget_choices", forget_choices }, { "forget_errors", forget_errors },
    { "sae_folder_errors", sae_folder_errors }, { "sae_shape_errors", sae_shape_errors },
    { "sae_elsewhere", sae_elsewhere }, { "large_sae", large_sae }, { "released_saes", released_saes },
    { "stats_alone", stats_alone }, { NULL, NULL },
};
