/* two_contexts.c: what saeuron.h promises of threads: two contexts in two threads, at once, on one folder.
 *
 *   saeuron_open, _forget, _tokenize, _encode_text, _generate: one after the other --+
 *   the same in two threads at the same time ---------------------------------------+--> equal, bit for bit
 *
 *     two_contexts MODEL [THREADS [ROUNDS]]     THREADS: of each context (default 1)
 *
 * Meant for ThreadSanitizer, which sees a race even when the bits come out right; libgomp is not
 * instrumented, its barriers look like none, so that build has no OpenMP (OMP=). With OpenMP it runs without
 * the sanitizer, THREADS 2: then two pools of threads are at work. Not part of tests/run: it needs pthreads
 * and builds of its own (.ci/run).
 * Not here: that threads inside one context change no bit (test_saeuron.c). */
#define _POSIX_C_SOURCE 200809L
#include "saeuron.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 2, SIDE = 32, PIXELS = SIDE * SIDE * 3, STATES = 77 * 1024, IDS = 77 };

/* What one thread does with a context of its own, and what came of it. Who forgets has packed weights too. */
typedef struct job {
    const char *model, *prompt, *forget; /* forget NULL: nothing */
    int      threads;
    pthread_barrier_t *together;         /* both open, then both sample, at once; NULL: alone */
    int      code;
    saeuron_error err;
    uint64_t digest;
    int32_t  ids[IDS];
    size_t   calls;                      /* of the progress callback */
    /* twice: the second call finds what the first has left in the context */
    unsigned char rgb[2 * PIXELS];
    float    states[STATES];
} job;

static int count(void *user, const char *stage, size_t done, size_t total)
{
    job *j = user;
    (void)stage, (void)done, (void)total;
    j->calls++;
    return 0;
}

static void wait_for_other(const job *j)
{
    if (j->together)
        pthread_barrier_wait(j->together);
}

/* Every step is done even after an error: the other thread waits at the barriers. */
static void *work(void *user)
{
    job *j = user;
    const saeuron_host host = {
        .user = j, .progress = count, .threads = j->threads, .pack = j->forget ? (size_t)64 << 20 : 0
    };
    const saeuron_forget_options forget = { .name = j->forget };
    const saeuron_generate_options g = { .prompts = &j->prompt,
                                         .count = 1,
                                         .seed = 3,
                                         .steps = STEPS,
                                         .height = SIDE,
                                         .width = SIDE,
                                         .map_steps = 1 };
    saeuron_context *x = NULL;

    wait_for_other(j);
    j->code = saeuron_open(&x, &host, j->model, &j->err);
    if (!j->code && (saeuron_text_length(x) > IDS || saeuron_text_length(x) * saeuron_text_width(x) > STATES))
        j->code = SAEURON_EUSAGE;
    if (!j->code && j->forget)
        j->code = saeuron_forget(x, &forget, &j->err);
    if (!j->code)
        j->code = saeuron_tokenize(x, j->prompt, j->ids, NULL, NULL, &j->err);
    wait_for_other(j);
    for (int i = 0; i < 2 && !j->code; i++)
        j->code = saeuron_generate(x, &g, j->rgb + i * PIXELS, &j->err);
    if (!j->code)
        j->code = saeuron_encode_text(x, j->prompt, j->states, &j->err);
    if (!j->code)
        j->digest = saeuron_model_digest(x);
    saeuron_close(x);
    return NULL;
}

static int failures;

static void check(int right, const char *what, int number)
{
    if (!right) {
        printf("FAIL: %s of context %d\n", what, number);
        failures++;
    }
}

int main(int argc, char **argv)
{
    static job alone[2], both[2];
    const int threads = argc > 2 ? atoi(argv[2]) : 1, rounds = argc > 3 ? atoi(argv[3]) : 2;
    pthread_barrier_t together;
    if (argc < 2) {
        fprintf(stderr, "usage: two_contexts MODEL [THREADS [ROUNDS]]\n");
        return 2;
    }
    pthread_barrier_init(&together, NULL, 2);
    for (int i = 0; i < 2; i++) {
        alone[i] = (job){ .model = argv[1],
                          .prompt = i ? "An image of Cats in Sketch style."
                                      : "An image of Flame in Mosaic style.",
                          .forget = i ? "Sketch" : NULL,
                          .threads = threads };
        work(&alone[i]);
        if (alone[i].code) {
            printf("FAIL: context %d: %s\n", i, alone[i].err.text);
            return 1;
        }
        check(!memcmp(alone[i].rgb, alone[i].rgb + PIXELS, PIXELS), "the second picture", i);
    }
    check(memcmp(alone[0].rgb, alone[1].rgb, PIXELS) != 0, "pictures: both are alike, that", 0);
    for (int round = 0; round < rounds; round++) {
        pthread_t id[2];
        for (int i = 0; i < 2; i++) {
            both[i] = (job){ .model = argv[1],
                             .prompt = alone[i].prompt,
                             .forget = alone[i].forget,
                             .threads = threads,
                             .together = &together };
            if (pthread_create(&id[i], NULL, work, &both[i])) {
                fprintf(stderr, "two_contexts: no thread could be started\n");
                return 1;
            }
        }
        for (int i = 0; i < 2; i++) {
            pthread_join(id[i], NULL);
            check(both[i].code == SAEURON_OK, both[i].code ? both[i].err.text : "", i);
            check(!memcmp(both[i].rgb, alone[i].rgb, sizeof alone[i].rgb), "the pictures", i);
            check(!memcmp(both[i].states, alone[i].states, sizeof alone[i].states), "the text states", i);
            check(!memcmp(both[i].ids, alone[i].ids, sizeof alone[i].ids), "the token ids", i);
            check(both[i].digest == alone[i].digest && both[i].calls == alone[i].calls, "digest or progress",
                  i);
        }
    }
    pthread_barrier_destroy(&together);
    printf("two contexts, %d rounds, %d threads each: %s\n", rounds, threads, failures ? "FAILED" : "equal");
    return failures ? 1 : 0;
}
