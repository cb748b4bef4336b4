/* test_esd.c: a student's step is that of the derivative; iterations of ESD, SDD and Concept Ablation,
 * written a second time; the same bytes whatever the threads; stops and failures leave nothing.
 *
 * Not here: the derivative (test_gradient.c), Adam (test_optimizer.c), the folder (test_uce.c). */
#include "test.h"
#include "judges.h"
#include "arithmetic/rng.h"
#include "gradients/gradient.h"
#include "rivals/ca.h"
#include "rivals/esd.h"
#include "rivals/sdd.h"
#include "scratch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SEED: one by which two iterations of each method take other texts and at least one step of sampling. */
enum { TEXT = 16 * 16, LARGEST = 1 << 15, SEED = 18 };
#define ATTENTION "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k.weight"
static const char *const texts[] = { "Sketch style", "a cat" };

static saeuron_context *opened_at(const char *dir, const saeuron_host *host)
{
    saeuron_context *x = NULL;
    saeuron_error e = { 0 };
    judges_prepare();
    CHECK(saeuron_open(&x, host, judges_at(dir), &e) == SAEURON_OK, "%s", e.text);
    return x;
}

/* The UNet's tensor of that name, widened; how many numbers. */
static size_t values_of(const saeuron_context *x, const char *name, float *out)
{
    const tensor *t = tensors_find(&x->unet_file, name);
    CHECK(t && t->count <= LARGEST, "%s", name);
    if (!t || t->count > LARGEST)
        return 0;
    nn_widen(out, (weight){ .data = t->data, .type = t->type }, 0, t->count);
    return t->count;
}

/* `after` is `before` after the first step of Adam by derivative d: p - lr g / (|g| + eps). */
static void check_first_step(const char *name, const float *before, const float *after, const float *d,
                             size_t n, double lr)
{
    double worst = 0, moved = 0;
    for (size_t i = 0; i < n; i++) {
        const double g = (double)d[i], want = (double)before[i] - lr * g / (fabs(g) + 1e-8);
        worst = fmax(worst, fabs(want - (double)after[i]));
        moved += after[i] != before[i];
    }
    CHECK(worst < 1e-3 * lr && moved > (double)n / 2, "%s: %g away, %g of %zu moved", name, worst, moved, n);
}

static bool some(const char *name)
{
    return !strcmp(name, "conv_in.weight") || !strcmp(name, "conv_out.bias") || !strcmp(name, ATTENTION);
}

/* A step moves each tensor that is trained by its derivative, and no other; the loss is of what the student
 * predicts; what the context draws in between is the student's. */
static void student_learns(void)
{
    static const char *const names[] = { "conv_in.weight", "conv_out.bias", ATTENTION };
    static float x[TINY_LATENT], target[TINY_LATENT], e[TINY_LATENT], states[TEXT];
    static float before[LARGEST], after[LARGEST], d[LARGEST];
    static unsigned char drawn[TINY_PIXELS], by_folder[TINY_PIXELS];
    const char *prompt = texts[1];
    const saeuron_generate_options shot = { .prompts = &prompt, .count = 1, .seed = 3 };
    saeuron_error err = { 0 };
    saeuron_context *c = opened_at("model", NULL);
    optimizer first = { .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
    student *s;
    double loss, again, sum = 0;
    for (size_t i = 0; i < TINY_LATENT; i++) {
        x[i] = rng_symmetric(1, 1, i, 1.0f);
        target[i] = rng_symmetric(1, 2, i, 1.0f);
    }
    CHECK(!saeuron_encode_text(c, prompt, states, &err), "%s", err.text);
    CHECK(!student_open(&s, c, 8, 8, some, false, &err), "%s", err.text);
    CHECK(!student_predict(s, BY_STUDENT, e, x, 751, states, &err), "%s", err.text);
    for (size_t i = 0; i < TINY_LATENT; i++)
        sum += pow((double)e[i] - (double)target[i], 2) / TINY_LATENT;
    optimizer_step(&first);
    CHECK(!student_step(s, &first, 0, x, 751, states, target, &loss, &err), "%s", err.text);
    CHECK(fabs(sum - loss) < 1e-5 * loss, "loss %g, of the prediction %g", loss, sum);
    CHECK(!student_save(s, BY_STUDENT, judges_at("esd-step"), NULL, &err), "%s", err.text);
    saeuron_context *y = opened_at("esd-step", NULL);
    for (size_t k = 0; k < COUNT(names); k++) {
        const gradient_options o = { .prompt = prompt, .timestep = 751, .h = 8, .w = 8, .latents = x,
                                     .target = target, .of = names[k] };
        CHECK(!gradient(c, &o, d, &again, &err) && again == loss, "%s: loss %g, %g", err.text, loss, again);
        const size_t n = values_of(c, names[k], before);
        values_of(y, names[k], after);
        check_first_step(names[k], before, after, d, n, first.lr);
    }
    for (size_t i = 0; i < c->unet_file.count; i++) {
        const char *name = c->unet_file.list[i].name;
        const size_t n = values_of(c, name, before);
        values_of(y, name, after);
        CHECK(some(name) || !memcmp(before, after, n * sizeof *before), "%s changed", name);
    }
    student_swap(s, BY_STUDENT);
    CHECK(!saeuron_generate(c, &shot, drawn, &err) && !saeuron_generate(y, &shot, by_folder, &err), "%s",
          err.text);
    CHECK(!memcmp(drawn, by_folder, sizeof drawn), "the student draws otherwise than its folder");
    student_swap(s, BY_MODEL);
    CHECK(!saeuron_generate(c, &shot, by_folder, &err) && memcmp(drawn, by_folder, sizeof drawn),
          "the model draws as its student");
    student_close(s);
    saeuron_close(y);
    saeuron_close(c);
}

/* Clipped derivatives, by an eps so large that Adam's first step shows their size; and an average that keeps
 * a tenth of what was. */
static void clips_and_averages(void)
{
    static const char *const names[] = { "conv_in.weight", "conv_out.bias", ATTENTION };
    static float x[TINY_LATENT], target[TINY_LATENT], states[TEXT];
    static float before[LARGEST], after[LARGEST], mean[LARGEST], d[3][LARGEST];
    saeuron_error err = { 0 };
    saeuron_context *c = opened_at("model", NULL);
    optimizer first = { .lr = 10, .beta1 = 0.9, .beta2 = 0.999, .eps = 1 };
    student *s;
    double loss, squares = 0, worst = 0;
    for (size_t i = 0; i < TINY_LATENT; i++)
        x[i] = target[i] = rng_symmetric(1, 1, i, 1.0f);
    CHECK(!saeuron_encode_text(c, texts[0], states, &err), "%s", err.text);
    CHECK(!student_open(&s, c, 8, 8, some, true, &err), "%s", err.text);
    optimizer_step(&first);
    CHECK(!student_step(s, &first, 0.01, x, 501, states, target, &loss, &err), "%s", err.text);
    student_average(s, 0.1);
    CHECK(!student_save(s, BY_STUDENT, judges_at("esd-step"), NULL, &err) &&
          !student_save(s, BY_AVERAGE, judges_at("esd-mean"), NULL, &err), "%s", err.text);
    student_close(s);
    for (size_t k = 0; k < 3; k++) {
        const gradient_options o = { .prompt = texts[0], .timestep = 501, .h = 8, .w = 8, .latents = x,
                                     .target = target, .of = names[k] };
        CHECK(!gradient(c, &o, d[k], &loss, &err), "%s", err.text);
        for (size_t i = 0, n = values_of(c, names[k], before); i < n; i++)
            squares += (double)d[k][i] * (double)d[k][i];
    }
    const double scale = 0.01 / (sqrt(squares) + 1e-6);
    CHECK(scale < 0.5, "a norm of %g is not clipped", sqrt(squares));
    saeuron_context *y = opened_at("esd-step", NULL), *z = opened_at("esd-mean", NULL);
    for (size_t k = 0; k < 3; k++) {
        const size_t n = values_of(c, names[k], before);
        values_of(y, names[k], after);
        values_of(z, names[k], mean);
        for (size_t i = 0; i < n; i++) {
            const double g = scale * (double)d[k][i], p = (double)before[i] - 10 * g / (fabs(g) + 1);
            worst = fmax(worst, fabs(p - (double)after[i]));
            worst = fmax(worst, fabs(0.1 * (double)before[i] + 0.9 * (double)after[i] - (double)mean[i]));
        }
    }
    CHECK(worst < 1e-6, "%g away", worst);
    saeuron_close(z);
    saeuron_close(y);
    saeuron_close(c);
}

/* ---- ESD and SDD ---- */

static esd_options usual(size_t iterations)
{
    return (esd_options){ { texts, COUNT(texts), TRAIN_XATTN, iterations, 4, 1e-3, 3, SEED, NULL, NULL },
                          1.5 };
}

static sdd_options usual_sdd(size_t iterations)
{
    return (sdd_options){ usual(iterations).lesson, 0.25, 0.1, 0 };
}

static size_t below(const char *method, size_t *drawn, size_t n)
{
    return (size_t)((rng_value(SEED, nn_hash(0, method, strlen(method)), (*drawn)++) >> 32) * n >> 32);
}

/* Keeps the latents after a step. */
typedef struct keeper { int step; float latents[TINY_LATENT]; } keeper;
static int keep(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4],
                int kind)
{
    keeper *k = user;
    (void)first, (void)kind;
    if (!strcmp(name, "latents") && step == k->step) /* [1,8,8,4] */
        nn_to_nchw(k->latents, values, 1, shape[3], shape[1] * shape[2]);
    return 0;
}

/* What iteration i of a method learns from: numbers drawn as contract 6 says, x sampled by the model in
 * folder `by`, the target by `teacher`; d: the student's derivative by one tensor. Returns the steps of
 * sampling. */
static size_t iteration(const char *method, size_t i, saeuron_context *by, saeuron_context *teacher,
                        saeuron_context *learner, size_t *drawn, float *d)
{
    static float noise[TINY_LATENT], e0[TINY_LATENT], ec[TINY_LATENT], none[TEXT], states[TEXT];
    static keeper k;
    const bool is_esd = !strcmp(method, "esd");
    saeuron_error err = { 0 };
    const char  *text = texts[is_esd ? below(method, drawn, 2) : i % 2];
    const size_t steps = below(method, drawn, 4);
    student *s;
    double loss;
    const uint64_t seed = rng_value(SEED, nn_hash(0, method, strlen(method)), (*drawn)++) >> 32;
    rng_randn(noise, seed, TINY_LATENT, 0, TINY_LATENT);
    const saeuron_generate_options g = { .prompts = &text, .count = 1, .noise = noise, .steps = 4,
                                         .guidance = 3, .has_guidance = 1, .tap = keep, .tap_user = &k };
    k.step = (int)steps - 1;
    memcpy(k.latents, noise, sizeof noise);
    CHECK(!saeuron_generate(by, &g, NULL, &err), "%s", err.text);
    ddim schedule = by->ddim;
    CHECK(!ddim_set_timesteps(&schedule, 4, &err), "%s", err.text);
    const int t = schedule.timesteps[steps];
    CHECK(!saeuron_encode_text(by, "", none, &err) && !saeuron_encode_text(by, text, states, &err) &&
          !student_open(&s, teacher, 8, 8, some, false, &err), "%s", err.text);
    CHECK(!student_predict(s, BY_STUDENT, e0, k.latents, t, none, &err) &&
          !student_predict(s, BY_STUDENT, ec, k.latents, t, states, &err), "%s", err.text);
    student_close(s);
    for (size_t j = 0; j < TINY_LATENT; j++)
        ec[j] = is_esd ? (float)((double)e0[j] - 1.5 * ((double)ec[j] - (double)e0[j])) : e0[j];
    const gradient_options o = { .prompt = text, .timestep = t, .h = 8, .w = 8, .latents = k.latents,
                                 .target = ec, .of = ATTENTION };
    CHECK(!gradient(learner, &o, d, &loss, &err), "%s", err.text);
    return steps;
}

/* The second of two steps of AdamW: from p, by derivatives g1 and g2. */
static double second_step(double p, double g1, double g2, double lr, double decay)
{
    const double m = (0.9 * 0.1 * g1 + 0.1 * g2) / (1 - 0.81);
    const double v = (0.999 * 0.001 * g1 * g1 + 0.001 * g2 * g2) / (1 - 0.999 * 0.999);
    return p - lr * decay * p - lr * m / (sqrt(v) + 1e-8);
}

/* Two iterations of ESD: which texts, how many steps, x by the student, the target e0 - eta (ec - e0) by the
 * model, Adam's steps. The rate is large, so that the student soon differs from the model. */
static void two_of_esd(void)
{
    static float d1[LARGEST], d2[LARGEST], before[LARGEST], after[LARGEST];
    esd_options o = usual(1);
    saeuron_error err = { 0 };
    saeuron_context *c = opened_at("model", NULL);
    size_t drawn = 0;
    double worst = 0;
    o.lesson.lr = 0.05;
    CHECK(!esd(c, &o, judges_at("esd-one"), &err), "%s", err.text);
    o.lesson.iterations = 2;
    CHECK(!esd(c, &o, judges_at("esd-two"), &err), "%s", err.text);
    saeuron_context *one = opened_at("esd-one", NULL), *two = opened_at("esd-two", NULL);
    CHECK(iteration("esd", 0, c, c, c, &drawn, d1) > 0, "the first text is noise still");
    size_t n = values_of(c, ATTENTION, before);
    values_of(one, ATTENTION, after);
    check_first_step(ATTENTION, before, after, d1, n, o.lesson.lr);
    CHECK(iteration("esd", 1, one, c, one, &drawn, d2) > 0, "the second text is noise still");
    values_of(one, ATTENTION, before);
    n = values_of(two, ATTENTION, after);
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs(second_step((double)before[i], (double)d1[i], (double)d2[i], 0.05, 0) -
                                 (double)after[i]));
    CHECK(worst < 1e-3 * o.lesson.lr, "the second step is %g away", worst);
    saeuron_close(one);
    saeuron_close(two);
    saeuron_close(c);
}

/* Two iterations of SDD: x by the average, the target by the student itself without a text, AdamW, and what
 * is kept is the average. With ema 0 the average is the student, so both can be had. */
static void two_of_sdd(void)
{
    static float d1[LARGEST], d2[LARGEST], p0[LARGEST], p1[LARGEST], kept[LARGEST];
    sdd_options o = usual_sdd(1);
    saeuron_error err = { 0 };
    saeuron_context *c = opened_at("model", NULL);
    size_t drawn = 0;
    double worst = 0;
    o.lesson.lr = 0.05;
    CHECK(!sdd(c, &o, judges_at("sdd-mean"), &err), "%s", err.text);
    o.ema = 0;
    CHECK(!sdd(c, &o, judges_at("sdd-one"), &err), "%s", err.text);
    o.ema = 0.25;
    o.lesson.iterations = 2;
    CHECK(!sdd(c, &o, judges_at("sdd-two"), &err), "%s", err.text);
    saeuron_context *mean = opened_at("sdd-mean", NULL), *one = opened_at("sdd-one", NULL);
    saeuron_context *two = opened_at("sdd-two", NULL);
    CHECK(iteration("sdd", 0, c, c, c, &drawn, d1) > 0, "the first text is noise still");
    CHECK(iteration("sdd", 1, mean, one, one, &drawn, d2) > 0, "the second text is noise still");
    const size_t n = values_of(c, ATTENTION, p0);
    values_of(one, ATTENTION, p1);
    values_of(two, ATTENTION, kept);
    for (size_t i = 0; i < n; i++) {
        const double p = (double)p0[i], g1 = (double)d1[i];
        const double first = p - 0.05 * 0.1 * p - 0.05 * g1 / (fabs(g1) + 1e-8);
        const double p2 = second_step((double)p1[i], g1, (double)d2[i], 0.05, 0.1);
        worst = fmax(worst, fabs(first - (double)p1[i]));
        worst = fmax(worst, fabs(0.25 * (0.25 * p + 0.75 * (double)p1[i]) + 0.75 * p2 - (double)kept[i]));
    }
    CHECK(worst < 1e-3 * o.lesson.lr, "%g away", worst);
    saeuron_close(two);
    saeuron_close(one);
    saeuron_close(mean);
    saeuron_close(c);
}

/* An iteration of Concept Ablation: pictures of anchors by the model, one of them noised to some t, the
 * target by the anchor, a step of AdamW. */
static void one_of_ca(void)
{
    static const anchored pairs[] = { { 0, 1 }, { 1, 0 } };
    static float x0[3][TINY_LATENT], noise[TINY_LATENT], x[TINY_LATENT], e[TINY_LATENT], states[TEXT];
    static float before[LARGEST], after[LARGEST], d[LARGEST];
    saeuron_error err = { 0 };
    saeuron_context *c = opened_at("model", NULL);
    ca_options o = { usual(1).lesson, pairs, 2, 3, 0.1 };
    size_t pair[3], drawn = 0;
    student *s;
    double loss, worst = 0;
    o.lesson.trained = TRAIN_KV;
    o.lesson.lr = 0.05;
    CHECK(!ca(c, &o, judges_at("ca-one"), &err), "%s", err.text);
    for (size_t i = 0; i < 3; i++) {
        pair[i] = below("ca", &drawn, 2);
        rng_randn(noise, rng_value(SEED, nn_hash(0, "ca", 2), drawn++) >> 32, TINY_LATENT, 0, TINY_LATENT);
        const saeuron_generate_options g = { .prompts = &texts[pairs[pair[i]].anchor], .count = 1, .steps = 4,
                                             .noise = noise, .guidance = 3, .has_guidance = 1,
                                             .latents = x0[i] };
        CHECK(!saeuron_generate(c, &g, NULL, &err), "%s", err.text);
    }
    const size_t i = below("ca", &drawn, 3), t = below("ca", &drawn, 1000);
    const double a = (double)c->ddim.alphas_cumprod[t];
    rng_randn(noise, rng_value(SEED, nn_hash(0, "ca", 2), drawn++) >> 32, TINY_LATENT, 0, TINY_LATENT);
    for (size_t j = 0; j < TINY_LATENT; j++)
        x[j] = (float)(sqrt(a) * (double)x0[i][j] + sqrt(1 - a) * (double)noise[j]);
    CHECK(!saeuron_encode_text(c, texts[pairs[pair[i]].anchor], states, &err), "%s", err.text);
    CHECK(!student_open(&s, c, 8, 8, some, false, &err), "%s", err.text);
    CHECK(!student_predict(s, BY_STUDENT, e, x, (int)t, states, &err), "%s", err.text);
    student_close(s);
    const gradient_options by = { .prompt = texts[pairs[pair[i]].target], .timestep = (int)t, .h = 8, .w = 8,
                                  .latents = x, .target = e, .of = ATTENTION };
    CHECK(!gradient(c, &by, d, &loss, &err), "%s", err.text);
    saeuron_context *one = opened_at("ca-one", NULL);
    const size_t n = values_of(c, ATTENTION, before);
    values_of(one, ATTENTION, after);
    for (size_t j = 0; j < n; j++) {
        const double p = (double)before[j] * (1 - 0.05 * 0.1), g = (double)d[j];
        worst = fmax(worst, fabs(p - 0.05 * g / (fabs(g) + 1e-8) - (double)after[j]));
    }
    CHECK(worst < 1e-3 * o.lesson.lr, "%g away", worst);
    o.count = 0;
    judges_error("no pairs", ca(c, &o, judges_at("ca-one"), &err), SAEURON_EUSAGE, &err, "no prompt with an");
    saeuron_close(one);
    saeuron_close(c);
}

/* Which tensors each kind trains. */
static void kinds(void)
{
    static const char *const names[] = { ATTENTION, "conv_in.weight", "time_embedding.linear_1.bias",
                                         "conv_out.weight", "mid_block.resnets.0.norm1.weight",
                                         "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_q.weight" };
    static const char *const trained[TRAINABLE] = { "100001", "010010", "111111", "100000" };
    static float before[LARGEST], after[LARGEST];
    for (int kind = 0; kind < TRAINABLE; kind++) {
        esd_options o = usual(2);
        saeuron_error err = { 0 };
        saeuron_context *c = opened_at("model", NULL);
        o.lesson.trained = kind;
        CHECK(!esd(c, &o, judges_at("esd-kind"), &err), "%s", err.text);
        saeuron_context *y = opened_at("esd-kind", NULL);
        for (size_t k = 0; k < COUNT(names); k++) {
            const size_t n = values_of(c, names[k], before);
            values_of(y, names[k], after);
            CHECK((memcmp(before, after, n * sizeof *before) != 0) == (trained[kind][k] == '1'),
                  "kind %d: %s", kind, names[k]);
        }
        saeuron_close(y);
        saeuron_close(c);
    }
}

static void same_bytes(void)
{
    for (int threads = 1; threads <= 3; threads++) {
        const saeuron_host host = { .threads = threads, .isa = threads == 1 ? "scalar" : NULL };
        const esd_options o = usual(4);
        char dir[32];
        saeuron_error err = { 0 };
        saeuron_context *c = opened_at("model", &host);
        snprintf(dir, sizeof dir, "esd-threads%d", threads);
        CHECK(!esd(c, &o, judges_at(dir), &err), "%s", err.text);
        CHECK(judges_same("esd-threads1", dir), "%d threads change bytes", threads);
        saeuron_close(c);
    }
}

/* Stopped at any iteration: an error, no folder; then it works. */
static void stops(void)
{
    const esd_options o = usual(3);
    for (long at = 1; at <= 4; at++) {
        stop calls = { 0, at };
        const saeuron_host host = { .user = &calls, .progress = count_calls, .threads = 1 };
        saeuron_error err = { 0 };
        saeuron_context *c = opened_at("model", &host);
        const int code = esd(c, &o, judges_at("esd-stopped"), &err);
        CHECK(code == (at < 4 ? SAEURON_ECANCEL : SAEURON_OK), "call %ld: %s", at, err.text);
        CHECK((judges_shell("test -e '%s'%s", judges_at("esd-stopped"), "") == 0) == (at == 4), "a folder");
        saeuron_close(c);
    }
}

static void refusals(void)
{
    saeuron_error err = { 0 };
    saeuron_context *c = opened_at("model", NULL);
    esd_options o = usual(1);
    o.lesson.erased = 0;
    judges_error("nothing", esd(c, &o, judges_at("esd-refused"), &err), SAEURON_EUSAGE, &err,
                 "no concept to erase");
    o = usual(1);
    o.lesson.steps = 1001;
    judges_error("steps", esd(c, &o, judges_at("esd-refused"), &err), SAEURON_EUSAGE, &err, "steps");
    o = usual(3);
    o.lesson.lr = 1e38;
    judges_error("rate", esd(c, &o, judges_at("esd-refused"), &err), SAEURON_ENAN, &err,
                 "not finite");
    saeuron_close(c);
}

static int esd_once(void *user, saeuron_error *err)
{
    const esd_options o = usual(1);
    return esd(user, &o, judges_at("esd-one"), err);
}

static void allocations_fail(void)
{
    counting n = { 0, 0, 0 };
    const saeuron_host host = { .user = &n, .alloc = count_alloc, .free = count_free, .threads = 1 };
    saeuron_context *c = opened_at("model", &host);
    allocations_fail_by_one(&n, esd_once, c, 1000);
    saeuron_close(c);
}

const test_case esd_tests[] = {
    { "student_learns", student_learns }, { "clips_and_averages", clips_and_averages },
    { "two_of_esd", two_of_esd }, { "two_of_sdd", two_of_sdd }, { "one_of_ca", one_of_ca },
    { "kinds", kinds },
    { "same_bytes", same_bytes }, { "stops", stops }, { "refusals", refusals },
    { "allocations_fail", allocations_fail }, { NULL, NULL },
};
