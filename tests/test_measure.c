/* test_measure.c: an SAE measured on activations, against plain loops in double.
 *
 *   hash-filled SAE, made-up activations --measure_add, cut in every way--> measurement == the definition's
 *
 * Not here: which map of a source comes when (test_source.c). */
#include "test.h"
#include "recorded.h"
#include "arithmetic/rng.h"
#include "training/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D = 10, N = 50, K = 4, M = 700 };

/* A hash-filled SAE of which every seventh latent never fires. memory is to be freed. */
static void make_sae(sae *s, float bias[N], void **memory)
{
    saeuron_error e = { 0 };
    *s = (sae){ .d = D, .n = N, .k = K };
    CHECK(bind_hashed(NULL, 3, DT_F32, 1, sae_bind, s, memory, &e) == SAEURON_OK, "%s", e.text);
    for (size_t i = 0; i < N; i++)
        bias[i] = i % 7 ? s->encoder.bias[i] : -100;
    s->encoder.bias = bias;
}

static void make_activations(float *x, size_t tokens)
{
    for (size_t i = 0; i < tokens * D; i++)
        x[i] = rng_symmetric(6, 1, i, 2.0f) + rng_symmetric(6, 2, i % D, 1.0f);
}

/* f [N] of one token in double: relu, then the K largest. */
static void plain_encode(const sae *s, double f[N], const float *x)
{
    const float *W = (const float *)(const void *)s->encoder.w.data;
    double z[N];
    for (size_t i = 0; i < N; i++) {
        z[i] = (double)s->encoder.bias[i];
        for (size_t j = 0; j < D; j++)
            z[i] += (double)W[i * D + j] * ((double)x[j] - (double)s->b_dec[j]);
    }
    for (size_t i = 0; i < N; i++) {
        size_t larger = 0;
        for (size_t j = 0; j < N; j++)
            larger += z[j] > z[i];
        f[i] = z[i] > 0 && larger < K ? z[i] : 0;
    }
}

typedef struct plain { double fvu; uint64_t fired[N]; size_t entries, dead; } plain;

static void plain_measure(plain *p, const sae *s, const float *x)
{
    const float *W_dec = (const float *)(const void *)s->W_dec.data;
    double mean[D] = { 0 }, error = 0, variance = 0;
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < M * D; i++)
        mean[i % D] += (double)x[i] / M;
    for (size_t m = 0; m < M; m++, x += D) {
        double f[N];
        plain_encode(s, f, x);
        for (size_t i = 0; i < N; i++)
            p->fired[i] += f[i] > 0;
        for (size_t j = 0; j < D; j++) {
            double y = (double)s->b_dec[j] - (double)x[j];
            for (size_t i = 0; i < N; i++)
                y += f[i] * (double)W_dec[i * D + j];
            error += y * y;
            variance += ((double)x[j] - mean[j]) * ((double)x[j] - mean[j]);
        }
    }
    p->fvu = error / variance;
    for (size_t i = 0; i < N; i++) {
        p->entries += (size_t)p->fired[i];
        p->dead += !p->fired[i];
    }
}

/* FVU, L0, dead latents and how often each fires, whatever blocks the tokens come in, threads and kernels; a
 * value that is not finite is named by its token, counted from the first of all. */
static void measured_is_counted(void)
{
    static const size_t cuts[] = { M, 1, 64, 255, 256, 257 };
    static float x[M * D], bias[N];
    void *memory = NULL;
    double fvu = 0;
    sae   s;
    plain p;
    make_sae(&s, bias, &memory);
    make_activations(x, M);
    plain_measure(&p, &s, x);
    CHECK(p.dead >= 8 && p.entries > M, "%zu dead, %zu entries", p.dead, p.entries);
    for (size_t c = 0; c < 2 * sizeof cuts / sizeof *cuts; c++) {
        const size_t cut = cuts[c / 2];
        const int threads = c % 2 ? 2 : 1;
        measure *q = NULL;
        measurement r;
        saeuron_error e = { 0 };
        CHECK(measure_open(&q, NULL, &s, threads, c / 2 % 2 ? "reference" : NULL, &e) == SAEURON_OK, "%s",
              e.text);
        for (size_t i = 0; i < M; i += cut)
            CHECK(measure_add(q, x + i * D, M - i < cut ? M - i : cut, &e) == SAEURON_OK, "%s", e.text);
        CHECK(measure_result(q, &r, &e) == SAEURON_OK, "%s", e.text);
        CHECK(r.tokens == M && r.n == N && r.k == K && r.dead == p.dead,
              "blocks of %zu: %zu tokens, %zu dead", cut, r.tokens, r.dead);
        CHECK(fabs(r.l0 - (double)p.entries / M) < 1e-12, "blocks of %zu: L0 %g", cut, r.l0);
        CHECK(!memcmp(measure_fired(q), p.fired, sizeof p.fired), "blocks of %zu: other latents fire", cut);
        CHECK(fabs(r.fvu - p.fvu) < 1e-6, "blocks of %zu: FVU %.9g, in double %.9g", cut, r.fvu, p.fvu);
        fvu = c ? fvu : r.fvu;
        CHECK(r.fvu == fvu, "blocks of %zu: FVU %a, of all at once %a", cut, r.fvu, fvu);
        const float keep = x[5 * D + 3];
        x[5 * D + 3] = HUGE_VALF;
        CHECK(measure_add(q, x, 64, &e) == SAEURON_ENAN && test_holds(e.text, "token 705|channel 3"),
              "\"%s\"", e.text);
        x[5 * D + 3] = keep;
        measure_close(q);
    }
    free(memory);
}

/* Too few tokens, unknown kernels. */
static void nothing_to_measure(void)
{
    static float x[D], bias[N];
    void *memory = NULL;
    measure *q = NULL;
    measurement r;
    saeuron_error e = { 0 };
    sae s;
    make_sae(&s, bias, &memory);
    make_activations(x, 1);
    CHECK(measure_open(&q, NULL, &s, 1, NULL, &e) == SAEURON_OK, "%s", e.text);
    CHECK(measure_result(q, &r, &e) == SAEURON_EUSAGE && test_holds(e.text, "0 tokens"), "\"%s\"", e.text);
    CHECK(measure_add(q, x, 1, &e) == SAEURON_OK, "%s", e.text);
    CHECK(measure_result(q, &r, &e) == SAEURON_EUSAGE, "one token has a variance");
    measure_close(q);
    CHECK(measure_open(&q, NULL, &s, 1, "abacus", &e) == SAEURON_EUSAGE && !q, "\"%s\"", e.text);
    free(memory);
}

/* Either of the two allocations fails: a line that says memory, nothing left. And no byte beyond the planned
 * is touched. */
static void allocations_fail(void)
{
    static tiny counted_host;
    static float x[300 * D], bias[N];
    void *memory = NULL;
    sae s;
    make_sae(&s, bias, &memory);
    make_activations(x, 300);
    for (long n = 1; n <= 3; n++) {
        const saeuron_host host = tiny_host(&counted_host);
        measure *m = NULL;
        saeuron_error e = { 0 };
        counted_host.allocs = 0;
        counted_host.fail_at = n;
        const int code = measure_open(&m, &host, &s, 1, NULL, &e);
        CHECK(code == (n < 3 ? SAEURON_ENOMEM : SAEURON_OK) &&
                  (n == 3 || (test_holds(e.text, "memory") && !m)),
              "allocation %ld: code %d, \"%s\"", n, code, e.text);
        if (m)
            CHECK(measure_add(m, x, 300, &e) == SAEURON_OK, "%s", e.text);
        CHECK(counted_host.allocs <= 2 + (n < 3), "%ld allocations", counted_host.allocs);
        measure_close(m);
        CHECK(counted_host.live == 0 && counted_host.torn == 0, "%ld blocks are left, %ld torn",
              counted_host.live, counted_host.torn);
    }
    free(memory);
}

static const char *at(const char *name) { return suite_path("measure", name); }
static const char *data(const char *name) { return suite_path("training", name); } /* of prepare */

/* Maps of a source: whole, in parts, with one thread and three: the same numbers; densities count every
 * latent once; a part alone is another number. */
static void maps_of_a_source(void)
{
    static const char *const parts[] = { "part0.safetensors", "part1.safetensors", "part2.safetensors" };
    measurement m[4];
    map_source s;
    saeuron_error e = { 0 };
    prepare();
    tiny_make(&files);
    tiny_write(&files, at("model"));
    tiny_free(&files);
    const char *const dir = at("model/sae/" TINY_STYLES);
    memset(m, 0, sizeof m);
    for (size_t i = 0; i < 4; i++) {
        const char *paths[3] = { data(i == 1 ? parts[0] : i == 3 ? parts[1] : "whole.safetensors"),
                                 data(parts[1]), data(parts[2]) };
        CHECK(source_open(&s, NULL, paths, i == 1 ? 3 : 1, &e) == SAEURON_OK, "%s", e.text);
        const measure_options o = { .dir = dir, .count = s.rows, .threads = i == 2 ? 3 : 1 };
        CHECK(measure_sae(&m[i], &s, NULL, &o, &e) == SAEURON_OK, "%s", e.text);
        source_close(&s);
        size_t latents = 0;
        for (size_t b = 0; b < DENSITY_BINS; b++)
            latents += m[i].bin[b];
        CHECK(latents == LATENTS && m[i].n == LATENTS && m[i].bin[0] == m[i].dead &&
              m[i].tokens == m[i].maps * TOKENS && m[i].l0 > 0 && m[i].l0 <= 8, "%zu latents in bins",
              latents);
    }
    CHECK(m[0].maps == ROWS && !memcmp(&m[0], &m[1], sizeof m[0]) && !memcmp(&m[0], &m[2], sizeof m[0]),
          "cut or threaded otherwise the numbers differ");
    CHECK(m[3].maps < ROWS && (m[3].fvu < m[0].fvu || m[3].fvu > m[0].fvu), "a part has the whole's FVU");
    const char *whole = data("whole.safetensors"); /* the same maps as part 1, out of the whole */
    CHECK(source_open(&s, NULL, &whole, 1, &e) == SAEURON_OK, "%s", e.text);
    const measure_options some = { .dir = dir, .first = STEPS * (PROMPTS / 3), .count = m[3].maps,
                                   .threads = 1 };
    CHECK(measure_sae(&m[1], &s, NULL, &some, &e) == SAEURON_OK && !memcmp(&m[1], &m[3], sizeof m[1]),
          "rows %zu to %zu of the whole are not part 1", some.first, some.first + some.count);
    source_close(&s);
    const char *narrow = at("narrow");
    make_file(narrow, 3, 0, 2, 3, NULL, NULL, DT_F32);
    CHECK(source_open(&s, NULL, &narrow, 1, &e) == SAEURON_OK, "%s", e.text);
    const measure_options o = { .dir = dir, .count = s.rows, .threads = 1 };
    const int code = measure_sae(&m[0], &s, NULL, &o, &e);
    check_error("another width", code, SAEURON_EFORMAT, &e, "32 wide|3 wide");
    source_close(&s);
}

/* An SAE of differences is measured on differences, one of outputs on outputs. */
static void kinds(void)
{
    static const char *const configs[] = {
        "{\"expansion_factor\": 4, \"k\": 8}", "{\"expansion_factor\": 4, \"k\": 8, \"diff\": true}"
    };
    const char *const dir = at("kinds/sae/" TINY_STYLES);
    char path_of[1300];
    prepare();
    tiny_make(&files);
    tiny_write(&files, at("kinds"));
    tiny_free(&files);
    snprintf(path_of, sizeof path_of, "%s/cfg.json", dir);
    for (int i = 0; i < 4; i++) {
        const char *path = at("kind");
        saeuron_error e = { 0 };
        map_source  s;
        measurement m;
        test_write_file(path_of, configs[i % 2], strlen(configs[i % 2]));
        make_file(path, 3, 0, 2, 32, "diff", i / 2 ? "1" : "0", DT_F32);
        CHECK(source_open(&s, NULL, &path, 1, &e) == SAEURON_OK, "%s", e.text);
        const measure_options o = { .dir = dir, .count = s.rows, .threads = 1 };
        const int code = measure_sae(&m, &s, NULL, &o, &e);
        if (i % 2 == i / 2)
            CHECK(code == SAEURON_OK, "%s", e.text);
        else
            check_error("another kind", code, SAEURON_EFORMAT, &e,
                        i % 2 ? "sae.safetensors|trained on the hook's output less its input,|its output:"
                              : "sae.safetensors|trained on the hook's output,|its output less its input:");
        source_close(&s);
    }
}

const test_case measure_tests[] = {
    { "measured_is_counted", measured_is_counted }, { "nothing_to_measure", nothing_to_measure },
    { "allocations_fail", allocations_fail }, { "maps_of_a_source", maps_of_a_source },
    { "kinds", kinds }, { NULL, NULL },
};
