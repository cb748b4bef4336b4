/* test_optimizer.c: Adam and AdamW against their equations in double, step after step.
 * Not here: one number's bits (test_number.c, contract 6). */
#include "test.h"
#include "arithmetic/rng.h"
#include "gradients/optimizer.h"

#include <math.h>
#include <stdlib.h>

enum { N = 200, STEPS = 7 };

static void follow(bool decoupled, double decay)
{
    float  p[N], m[N] = { 0 }, v[N] = { 0 }, g[N];
    double P[N], M[N] = { 0 }, V[N] = { 0 }, worst = 0;
    optimizer o = { .lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .decay = decay,
                    .decoupled = decoupled };
    nn c;
    nn_init(&c, "reference", 1, NULL);
    for (size_t i = 0; i < N; i++)
        P[i] = (double)(p[i] = rng_symmetric(1, 1, i, 2.0f));
    for (int t = 1; t <= STEPS; t++) {
        optimizer_step(&o);
        for (size_t i = 0; i < N; i++) {
            double d = (double)(g[i] = rng_symmetric(1, (uint64_t)t + 1, i, i < N / 2 ? 1.0f : 1e-3f));
            if (decoupled)
                P[i] -= o.lr * decay * P[i];
            else
                d += decay * P[i];
            M[i] = 0.8 * M[i] + 0.2 * d;
            V[i] = 0.95 * V[i] + 0.05 * d * d;
            P[i] -= 0.02 * (M[i] / (1 - pow(0.8, t))) / (sqrt(V[i] / (1 - pow(0.95, t))) + 1e-3);
        }
        optimizer_update(&o, &c, p, m, v, g, N);
        for (size_t i = 0; i < N; i++)
            worst = fmax(worst, fabs(P[i] - (double)p[i]));
    }
    CHECK(worst < 2e-6, "decay %g, %s: %g away", decay, decoupled ? "AdamW" : "Adam", worst);
}

static void adam_plain(void) { follow(false, 0); }
static void adam_decay(void) { follow(false, 0.3); }
static void adamw(void) { follow(true, 0.3); }

const test_case optimizer_tests[] = {
    { "adam_plain", adam_plain }, { "adam_decay", adam_decay }, { "adamw", adamw }, { NULL, NULL },
};
