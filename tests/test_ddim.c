/* test_ddim.c: DDIM and guidance: diffusers' timesteps, alphas and steps; schedulers as people have them.
 *
 * Not here: the loop (test_saeuron.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "goldens.h"
#include "shots.h"
#include "arithmetic/rng.h"
#include "ddim.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static saeuron_error err;

static void check_timesteps(tensors *g, const char *name, ddim *d, size_t steps)
{
    char full[64];
    snprintf(full, sizeof full, "%s.timesteps.%zu", name, steps);
    const tensor *t = golden(g, DT_I64, full);
    CHECK(ddim_set_timesteps(d, steps, &err) == SAEURON_OK, "%s", err.text);
    CHECK(t && t->count == steps, "%s: the golden has another length", full);
    for (size_t i = 0; t && i < t->count && i < steps; i++)
        CHECK(d->timesteps[i] == i64_at(t, i), "%s: step %zu is at %d, not %" PRId64, full, i,
              d->timesteps[i], i64_at(t, i));
}

enum { STEP_SIZE = 500 };

static void hash_fill(float *y, const char *name)
{
    for (size_t i = 0; i < STEP_SIZE; i++)
        y[i] = rng_symmetric(GOLDEN_SEED, nn_hash(0, name, strlen(name)), i, unit());
}

static void check_step(tensors *g, const char *name, ddim *d, size_t steps, size_t i)
{
    char full[64];
    float x[STEP_SIZE], e[STEP_SIZE];
    snprintf(full, sizeof full, "ddim.x.%zu", i);
    hash_fill(x, full);
    snprintf(full, sizeof full, "ddim.e.%zu", i);
    hash_fill(e, full);
    CHECK(ddim_set_timesteps(d, steps, &err) == SAEURON_OK, "%s", err.text);
    ddim_step(d, x, e, i, STEP_SIZE);
    snprintf(full, sizeof full, "%s.step.%zu.%zu", name, steps, i);
    check_bits(g, full, x, STEP_SIZE);
}

/* u + g (c - u), unfused. */
static void check_guidance(tensors *g)
{
    float u[STEP_SIZE], c[STEP_SIZE];
    hash_fill(u, "guide.u");
    hash_fill(c, "guide.c");
    guide(u, u, c, 7.5f, STEP_SIZE);
    check_bits(g, "guide", u, STEP_SIZE);
}

/* All integers and all bits: alphas, timesteps, and steps with noise and with velocity, the last one too;
 * guidance. */
static void schedule(void)
{
    static const char *const names[] = { "ddim15", "ddim2", "ddim_to_one" };
    static const size_t steps[] = { 1, 7, 20, 25, 50, 100, 333, 999 };
    static ddim d;
    tensors g;
    if (!golden_open(&g, "ddim"))
        return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        io_file f;
        char full[64];
        const json v = config_open(&f, names[i]);
        CHECK(ddim_configure(&d, v, names[i], &err) == SAEURON_OK, "%s", err.text);
        snprintf(full, sizeof full, "%s.alphas", names[i]);
        check_bits(&g, full, d.alphas_cumprod, 1000);
        for (size_t j = 0; j < sizeof steps / sizeof *steps; j++)
            check_timesteps(&g, names[i], &d, steps[j]);
        for (size_t T = 20; T <= 50; T += 30) {
            check_step(&g, names[i], &d, T, 0);
            check_step(&g, names[i], &d, T, T / 2);
            check_step(&g, names[i], &d, T, T - 1);
        }
        io_close(&f);
    }
    check_guidance(&g);
    golden_close(&g);
}

/* The hash (FNV-1a) of all timesteps of 1, 2, ..., 1000 steps as diffusers 0.42.1 has them, without the
 * numbers of steps for which it makes one more; and some in full, ties and the last one among them. */
static void spacings(void)
{
    static const struct { const char *name; uint64_t hash; size_t refused; int of3[3], of16[16]; } cases[] = {
        { "linspace", UINT64_C(0x8a0c265a5a9ebeec), 0, { 999, 500, 0 },
          { 999, 932, 866, 799, 733, 666, 599, 533, 466, 400, 333, 266, 200, 133, 67, 0 } },
        { "trailing", UINT64_C(0x5682ed7db9a3366a), 62, { 999, 666, 332 },
          { 999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61 } },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        static ddim d;
        char text[256];
        json v;
        uint64_t hash = UINT64_C(0xCBF29CE484222325);
        size_t   refused = 0;
        snprintf(text, sizeof text, "{\"beta_schedule\": \"scaled_linear\", \"clip_sample\": false, "
                 "\"steps_offset\": 1, \"timestep_spacing\": \"%s\"}", cases[k].name);
        CHECK(!json_open(&v, text, strlen(text), "s", &err) && !ddim_configure(&d, v, "s", &err), "%s",
              err.text);
        for (size_t n = 1; n <= 1000; n++) {
            if (ddim_set_timesteps(&d, n, &err)) {
                CHECK(strstr(err.text, "another number of steps"), "%zu: %s", n, err.text);
                refused++;
                continue;
            }
            for (size_t i = 0; i < n; i++)
                hash = (hash ^ (uint64_t)d.timesteps[i]) * UINT64_C(0x100000001B3);
            for (size_t i = 0; i < n && (n == 3 || n == 16); i++) {
                const int want = n == 3 ? cases[k].of3[i] : cases[k].of16[i];
                CHECK(d.timesteps[i] == want, "%s: step %zu of %zu is at %d, not %d", cases[k].name, i, n,
                      d.timesteps[i], want);
            }
        }
        CHECK(hash == cases[k].hash && refused == cases[k].refused,
              "%s: hash %016" PRIx64 ", %zu numbers of steps refused", cases[k].name, hash, refused);
    }
}

#define BETAS                                                                            \
    "\"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085, " \
    "\"num_train_timesteps\": 1000"

/* What DDIMScheduler.from_config makes of a saved scheduler, written out in full. */
static void as_ddim(const char *what, picture *s, int offset, bool to_one, const char *prediction,
                    const char *spacing)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": false, "
             "\"prediction_type\": \"%s\", \"rescale_betas_zero_snr\": false, \"set_alpha_to_one\": %s, "
             "%s\"thresholding\": false, \"timestep_spacing\": \"%s\", \"trained_betas\": null}",
             prediction, to_one ? "true" : "false", offset ? "\"steps_offset\": 1, " : "", spacing);
    tiny_text(&files, SCHEDULER, text);
    draw(what, s);
}

/* Schedulers as they were saved, and what DDIM makes of them. offset: of the timesteps; a key that is absent
 * is not forced by the pipeline (StableDiffusionPipeline sets it, from_config then drops what was no key of
 * the file). */
static void schedulers(void)
{
    static const struct { const char *text; int offset; bool to_one, v; const char *spacing; } cases[] = {
        /* SD 1.5 */
        { "\"_class_name\": \"PNDMScheduler\", \"_diffusers_version\": \"0.6.0\", " BETAS ", "
          "\"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1, \"trained_betas\": "
          "null, \"clip_sample\": false", 1, false, false, "leading" },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"clip_sample\": false, \"clip_sample_range\": "
          "1.0, \"dynamic_thresholding_ratio\": 0.995, \"prediction_type\": \"epsilon\", "
          "\"sample_max_value\": 1.0, \"set_alpha_to_one\": false, \"skip_prk_steps\": true, "
          "\"steps_offset\": 1, \"thresholding\": false, \"trained_betas\": null", 1, false, false,
          "leading" },
        /* SD 2.1, saved by Flax, loaded as DDIM; and 2.1-base */
        { "\"_class_name\": \"FlaxDDIMScheduler\", " BETAS ", \"clip_sample\": false, \"prediction_type\": "
          "\"v_prediction\", \"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1, "
          "\"trained_betas\": null", 1, false, true, "leading" },
        { "\"_class_name\": \"EulerDiscreteScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"interpolation_type\": \"linear\", \"prediction_type\": \"epsilon\", \"sample_max_value\": 1.0, "
          "\"set_alpha_to_one\": false, \"skip_prk_steps\": true, \"steps_offset\": 1, "
          "\"timestep_spacing\": \"leading\", \"trained_betas\": null, \"use_karras_sigmas\": true", 1, false,
          false, "leading" },
        /* fine-tuned and re-saved */
        { "\"_class_name\": \"LMSDiscreteScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"set_alpha_to_one\": false, \"timestep_values\": null, \"tensor_format\": \"pt\", "
          "\"trained_betas\": null", 0, false, false, "leading" },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"clip_sample\": false, \"skip_prk_steps\": true, "
          "\"trained_betas\": null", 0, true, false, "leading" },
        { "\"_class_name\": \"DDPMScheduler\", " BETAS ", \"clip_sample\": true, \"variance_type\": "
          "\"fixed_small\", \"steps_offset\": 0", 1, true, false, "leading" },
        { "\"_class_name\": \"DPMSolverMultistepScheduler\", " BETAS ", \"algorithm_type\": "
          "\"dpmsolver++\", \"clip_sample\": false, \"dynamic_thresholding_ratio\": 0.995, "
          "\"euler_at_final\": false, " "\"final_sigmas_type\": \"zero\", \"flow_shift\": 1.0, "
          "\"lower_order_final\": true, \"solver_order\": 2, \"solver_type\": \"midpoint\", "
          "\"steps_offset\": 1, \"thresholding\": false, \"use_lu_lambdas\": false, \"use_flow_sigmas\": "
          "false, \"variance_type\": null", 1, true, false, "leading" },
        { "\"_class_name\": \"UniPCMultistepScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"disable_corrector\": [], \"predict_x0\": true, \"solver_p\": null, \"solver_type\": \"bh2\", "
          "\"use_beta_sigmas\": false, \"use_exponential_sigmas\": false, \"set_alpha_to_one\": false, "
          "\"steps_offset\": 1", 1, false, false, "leading" },
        /* PNDM of SD 1.5 given to another class, and saved again */
        { "\"_class_name\": \"DPMSolverMultistepScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"lambda_min_clipped\": -Infinity, \"sigma_max\": Infinity, \"sigma_min\": NaN, "
          "\"set_alpha_to_one\": false, \"steps_offset\": 1, \"timestep_spacing\": \"linspace\"", 1, false,
          false, "linspace" },
        { "\"_class_name\": \"EulerDiscreteScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"rescale_betas_zero_snr\": false, \"set_alpha_to_one\": false, \"steps_offset\": 1, "
          "\"timestep_spacing\": \"trailing\", \"timestep_type\": \"discrete\"", 1, false, false,
          "trailing" },
        { "\"_class_name\": \"DDIMParallelScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"set_alpha_to_one\": false, \"steps_offset\": 1, \"timestep_spacing\": null", 1, false, false,
          "leading" },
        { "\"_class_name\": \"SASolverScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"corrector_order\": 2, \"predictor_order\": 2, \"tau_func\": null, \"set_alpha_to_one\": "
          "false, \"steps_offset\": 1", 1, false, false, "leading" },
    };
    static char text[1024];
    picture wanted, plain;
    tiny_make(&files);
    as_ddim("DDIM", &plain, 1, false, "epsilon", "leading");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        as_ddim("DDIM in full", &wanted, cases[i].offset, cases[i].to_one,
                cases[i].v ? "v_prediction" : "epsilon", cases[i].spacing);
        const bool like_plain = cases[i].offset && !cases[i].to_one && !cases[i].v;
        CHECK(same_picture(&wanted, &plain) == (like_plain && !strcmp(cases[i].spacing, "leading")),
              "case %zu draws what another schedule draws", i);
        snprintf(text, sizeof text, "{%s}", cases[i].text);
        tiny_text(&files, SCHEDULER, text);
        must_be(text, &wanted);
    }
    tiny_free(&files);
}

/* Statistics made under another offset are of other timesteps, in as many steps: the message must not ask for
 * the same number. */
static void offset_of_statistics(void)
{
    static const char *const prompt = "cat";
    static unsigned char rgb[TINY_PIXELS];
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    tiny_make(&files);
    tiny_edit(&files, SCHEDULER, "\"steps_offset\": 1,", "");
    const saeuron_host host = tiny_host(&files);
    const saeuron_forget_options forget = { .name = "Sketch" };
    saeuron_generate_options o = { .prompts = &prompt, .count = 1 };
    int code = saeuron_open(&x, &host, "tiny", &e);
    code = code ? code : saeuron_forget(x, &forget, &e);
    code = code ? code : saeuron_generate(x, &o, rgb, &e);
    CHECK(code == SAEURON_EUSAGE &&
          test_holds(e.text, TINY_STYLES "|timestep 751 at step 0|750|steps_offset|map_steps"),
          "%s", e.text);
    o.map_steps = 1;
    CHECK(x && saeuron_generate(x, &o, rgb, &e) == SAEURON_OK, "%s", e.text);
    saeuron_close(x);
    tiny_free(&files);
}

/* Models that DDIM cannot sample, and settings that would clip, are refused by name. */
static void schedulers_refused(void)
{
    static const struct { const char *text, *words; } cases[] = {
        { "\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"num_train_timesteps\": 1000, \"shift\": "
          "3.0, \"use_dynamic_shifting\": false", "FlowMatchEulerDiscreteScheduler" },
        { "\"_class_name\": \"LCMScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"original_inference_steps\": 50", "LCMScheduler" },
        { "\"_class_name\": \"FlatDDIMScheduler\", " BETAS ", \"clip_sample\": false", "FlatDDIMScheduler" },
        { "\"_class_name\": \"DDIMSchedulers\", " BETAS ", \"clip_sample\": false", "DDIMSchedulers" },
        { "\"_class_name\": [\"mine\", \"DDIMScheduler\"], " BETAS ", \"clip_sample\": false",
          "_class_name" },
        { "\"_class_name\": \"UniPCMultistepScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"use_flow_sigmas\": true", "use_flow_sigmas" },
        { "\"_class_name\": \"UniPCMultistepScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"prediction_type\": \"flow_prediction\"", "prediction_type|flow_prediction" },
        { "\"_class_name\": \"EulerDiscreteScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"timestep_spacing\": \"karras\"", "timestep_spacing|karras" },
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": false, \"prediction_type\": "
          "\"v_prediction\", \"trained_betas\": [0.1, 0.2]", "trained_betas" },
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": false, \"prediction_type\": "
          "\"v_prediction\", \"rescale_betas_zero_snr\": true", "rescale_betas_zero_snr" },
        { "\"_class_name\": \"DPMSolverMultistepScheduler\", " BETAS ", \"clip_sample\": false, "
          "\"thresholding\": true", "thresholding" },
        /* CompVis v1-4, first saved */
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"set_alpha_to_one\": false, \"skip_prk_steps\": "
          "true, \"steps_offset\": 1", "PNDMScheduler|clip_sample" },
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"steps_offset\": 1", "DDIMScheduler|clip_sample" },
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": 0", "clip_sample" },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"clip_sample\": false, \"steps_offset\": 2",
          "steps_offset" },
        { "\"_class_name\": \"PNDMScheduler\", " BETAS ", \"clip_sample\": false, \"skip_prk_stepz\": true",
          "skip_prk_stepz|unknown" },
        { "\"_class_name\": \"PNDMScheduler\", \"num_train_timesteps\": 1000, \"clip_sample\": false",
          "beta_schedule" },
        /* Python's words, where the key counts */
        { "\"_class_name\": \"DDIMScheduler\", \"beta_schedule\": \"scaled_linear\", \"clip_sample\": "
          "false, \"beta_start\": -Infinity", "beta_start|infinite|null" },
        { "\"_class_name\": \"DDIMScheduler\", " BETAS ", \"clip_sample\": false, \"trained_betas\": "
          "NaN", "trained_betas|infinite|null" },
    };
    char text[512], words[128];
    tiny_make(&files);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{%s}", cases[i].text);
        snprintf(words, sizeof words, SCHEDULER "|%s", cases[i].words);
        tiny_text(&files, SCHEDULER, text);
        open_fails(text, SAEURON_EFORMAT, words);
    }
    tiny_free(&files);
}

const test_case ddim_tests[] = {
    { "schedule", schedule }, { "spacings", spacings }, { "schedulers", schedulers },
    { "offset_of_statistics", offset_of_statistics }, { "schedulers_refused", schedulers_refused },
    { NULL, NULL },
};
