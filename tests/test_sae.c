/* test_sae.c: the SAE at use: TopK and decoding by their definitions, and as PyTorch computes them.
 *
 * Not here: what is done with latents (test_select.c), training (test_train.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "goldens.h"
#include "shots.h"
#include "arithmetic/rng.h"
#include "sae.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* sae_encode and sae_pre_activations against their definitions, bits: nn_dot, bias, relu of all, nn_topk; and
 * with GroupMax the first of the largest of each of the 8 groups of 16 latents.
 * Tokens so large that z is infinite or NaN are among them (relu swallows NaN: contract 8), and b_dec
 * itself. */
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
    sae both = x->hook[0]->sae, *const s = &both;
    plain_load(&p, s);
    random_input(input, ROWS * 32);
    for (size_t m = 0; m < ROWS; m++)
        for (size_t j = 0; j < 32; j++)
            input[m * 32 + j] = m == 5                     ? p.bd[j]
                                : m % 9 == 1               ? 1.5e38f * input[m * 32 + j]
                                : m % 9 == 2 && j % 7 == 2 ? INFINITY
                                                           : input[m * 32 + j];
    for (int run = 0; run < 4; run++) {
        arena work = { .base = memory, .size = sizeof memory };
        nn    c;
        nn_init(&c, NULL, 1 + run % 2, &work);
        s->groupmax = run / 2;
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
                CHECK(!memcmp(&some[m * 5 + j], &z[few[j]], sizeof *z) || z[few[j]] != z[few[j]],
                      "token %zu, latent %" PRIu32 ": %g, not %g", m, few[j], (double)some[m * 5 + j],
                      (double)z[few[j]]);
            for (size_t i = 0; i < 128; i++) {
                nan += z[i] != z[i];
                infinite += z[i] > 3.4e38f;
                z[i] = z[i] > 0 ? z[i] : 0;
            }
            nn_topk(at, v, z, 128, 8);
            for (uint32_t j = 0; s->groupmax && j < 8; j++) {
                at[j] = 16 * j;
                for (uint32_t i = 16 * j; i < 16 * j + 16; i++)
                    at[j] = z[i] > z[at[j]] ? i : at[j];
                v[j] = z[at[j]];
            }
            for (size_t j = 0; j < 8; j++)
                if (v[j] > 0) {
                    CHECK(kept < count[m] && idx[m * 8 + kept] == at[j] &&
                              !memcmp(&val[m * 8 + kept], &v[j], sizeof *v),
                          "token %zu, groupmax %d: latent %" PRIu32 " is not where it belongs",
                          m, s->groupmax, at[j]);
                    kept++;
                }
            CHECK(kept == count[m], "token %zu: %" PRIu32 " latents, not %zu", m, count[m], kept);
        }
    }
    CHECK(nan > 20 && infinite > 20, "%zu NaN, %zu infinities", nan, infinite);
    done(x);
}

/* A group whose first latent is negative or no number still has a largest; one without any above 0 has
 * none. */
static void first_of_group(void)
{
    const sae s = { .n = 12, .k = 3, .groupmax = true };
    float z[12] = { NAN, -1, 2, 2, -5, -4, -1, -2, -3, NAN, 0.5f, -1 }, val[3];
    uint32_t idx[3];
    const uint32_t count = sae_top_latents(&s, idx, val, z);
    CHECK(count == 2 && idx[0] == 2 && idx[1] == 10 && val[0] == 2 && val[1] == 0.5f,
          "%" PRIu32 " latents, the first two %" PRIu32 " and %" PRIu32, count, idx[0], idx[1]);
}

static void check_latents(sae_run *r, const uint32_t *idx, float *val, const uint32_t *count)
{
    const size_t k = r->a.sae.k;
    const tensor *want = golden(&r->g, DT_I64, "sae.idx"), *many = golden(&r->g, DT_I64, "sae.count");
    for (size_t m = 0; want && many && m < r->M; m++) {
        CHECK((int64_t)count[m] == i64_at(many, m), "token %zu has %" PRIu32 " latents, not %" PRId64, m,
              count[m], i64_at(many, m));
        for (size_t j = 0; j < k; j++) {
            if (j < count[m])
                CHECK((int64_t)idx[m * k + j] == i64_at(want, m * k + j),
                      "token %zu, place %zu: latent %" PRIu32 ", not %" PRId64, m, j, idx[m * k + j],
                      i64_at(want, m * k + j));
            else
                val[m * k + j] = 0;
        }
    }
    check_truth(&r->g, "sae.f", val, r->M * k);
}

static void run_encode(nn *c, void *user)
{
    sae_run *r = user;
    const size_t mark = arena_mark(c->work), k = r->a.sae.k, d = r->a.sae.d;
    const float *x = activations(c, r);
    uint32_t *idx = arena_bytes(c->work, r->M * k, sizeof *idx);
    uint32_t *count = arena_bytes(c->work, r->M, sizeof *count);
    float *val = arena_floats(c->work, r->M * k), *y = arena_floats(c->work, r->M * d);
    float *row = arena_floats(c->work, 2 * d);
    sae_encode(c, &r->a.sae, idx, val, count, x, r->M);
    for (size_t m = 0; y && m < r->M; m++)
        sae_decode_sparse(&r->a.sae, y + m * d, idx + m * k, val + m * k, count[m], row);
    if (y) {
        check_latents(r, idx, val, count);
        check_truth(&r->g, "sae.decode", y, r->M * d);
    }
    arena_release(c->work, mark);
}

/* TopK: which latents, ties among equal rows (the lower index), tokens with fewer than k, with none; values;
 * decoding. */
static void sae_encode_topk(void)
{
    static sae_run r;
    if (sae_open_goldens(&r))
        planned(run_encode, &r);
    sae_close_goldens(&r, "sae.");
}

/* EQ 14 of any number of latents, more than a block of 128, too: the chain of every dot product (contract
 * 3). */
static void decode_blocks(void)
{
    enum { D = 7, N = 300 };
    static float W[N * D], val[N];
    static uint32_t idx[N];
    const sae s = { .d = D, .n = N, .W_dec = { .data = (const unsigned char *)W, .type = DT_F32 } };
    float y[D], row[2 * D];
    random_input(W, N * D);
    random_input(val, N);
    for (uint32_t i = 0; i < N; i++)
        idx[i] = i;
    for (size_t count = 0; count <= N; count += count < 250 ? 1 : 50) {
        sae_decode_sparse(&s, y, idx, val, count, row);
        for (size_t i = 0; i < D; i++) {
            const float want = nn_dot(val, 1, W + i, D, count);
            CHECK(!memcmp(&y[i], &want, sizeof want), "%zu latents, output %zu: %.9g, not %.9g", count, i,
                  (double)y[i], (double)want);
        }
    }
}

const test_case sae_tests[] = {
    { "encode_definition", encode_definition }, { "first_of_group", first_of_group },
    { "sae_encode_topk", sae_encode_topk }, { "decode_blocks", decode_blocks },
    { NULL, NULL },
};
