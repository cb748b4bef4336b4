/* test_select.c: the score of a latent where its means are so small that the 1e-8 under them counts.
 *
 * Not here: scores, selection and ablation as the released code has them (test_golden.c), through the public
 * interface (test_model.c). */
#include "test.h"
#include "tiny.h"
#include "select.h"

#include <math.h>

/* s_i = mu_i / (sum mu + 1e-8) - others_i / (sum others + 1e-8): at a sum of 1e-8 half of what it would be
 * without. */
static void epsilon(void)
{
    enum { N = 128 };
    static const struct { double mu, others, score[2]; } cases[] = {
        { 1e-8, 0, { 0.5, 0 } },        { 3e-8, 0, { 0.75, 0 } }, { 0, 1e-8, { 0, -0.5 } },
        { 1e-8, 3e-8, { 0.5, -0.75 } }, { 0, 0, { 0, 0 } },       { 1e-9, 1e-9, { 1 / 11.0, -1 / 11.0 } },
    };
    static const char *const names[] = { "Sketch", "Van Gogh", "Watercolor" };
    static tiny files;
    static tiny_list l;
    float score[N], scratch[4 * N];
    saeuron_error e = { 0 };
    tiny_make(&files);
    const saeuron_host host = tiny_host(&files);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stats s;
        for (size_t c = 0; c < 3; c++) { /* one latent of the concept's, another of each of the others' */
            tiny_tensor *t = tiny_tensor_add(&l, names[c], DT_F32, 2, (const size_t[]){ TINY_STEPS, N });
            for (size_t step = 0; step < TINY_STEPS; step++)
                t->values[step * N + (c ? 9 : 5)] = (float)(c ? cases[i].others : cases[i].mu);
        }
        tiny_save(&files, "sae/" TINY_STYLES "/stats.safetensors", &l, 0, 3,
                  "{\"hook\":\"unet." TINY_STYLES "\",\"steps\":\"4\",\"timesteps\":\"751, 501, 251, 1\","
                  "\"prompts\":\"{\\\"Sketch\\\": 2, \\\"Van Gogh\\\": 3, \\\"Watercolor\\\": 4}\"}");
        tiny_drop(&l);
        CHECK(stats_load(&s, &host, "tiny/sae/" TINY_STYLES "/stats.safetensors", &e) == SAEURON_OK, "%s",
              e.text);
        stats_score(&s, score, (size_t)stats_find(&s, "Sketch"), 1, scratch);
        CHECK(fabs(score[5] - cases[i].score[0]) < 1e-6 && fabs(score[9] - cases[i].score[1]) < 1e-6,
              "means %g and %g: scores %.9g and %.9g", cases[i].mu, cases[i].others, score[5], score[9]);
        stats_unload(&s, &host);
    }
    tiny_free(&files);
}

const test_case select_tests[] = { { "epsilon", epsilon }, { NULL, NULL } };
