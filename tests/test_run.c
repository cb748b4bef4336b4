/* test_run.c: training runs on activations of the tiny model of tiny.h: the same bytes from files, parts,
 * sampling, any number of threads, however often stopped or killed; every foreign or damaged file named.
 *
 * Not here: which map comes when (test_source.c), the arithmetic of a step (test_train.c), measuring
 * (test_measure.c), the program's messages (test_cli.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "recorded.h"
#include "arithmetic/rng.h"
#include "training/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- help ---- */

static const char *at(const char *name) { return suite_path("training", name); }

static int shell(const char *format, const char *a, const char *b)
{
    char line[4096];
    snprintf(line, sizeof line, format, a, b);
    return system(line);
}

static bool same_folders(const char *a, const char *b)
{
    return shell("diff -r '%s' '%s' >/dev/null", at(a), at(b)) == 0 &&
           shell("test -s '%s/sae.safetensors' && test -s '%s/train.json'", at(a), at(b)) == 0;
}

/* ---- a run, and how it ends early ---- */

typedef struct how {
    const char *data[3];            /* none: sampled */
    size_t buffer;                  /* then */
    int    threads;
    /* call of progress or watch that stops it, kills it, or writes to its data (from 1; 0: none) */
    long   stop_at, kill_at, touch_at;
    bool   fresh;                   /* without --resume */
    const char *what;               /* the option that differs from the others', and its value */
    double value;
} how;

typedef struct counter { long calls, stop_at, kill_at, touch_at; } counter;

static int count_call(counter *c)
{
    if (++c->calls == c->kill_at)
        kill(getpid(), SIGKILL);
    if (c->calls == c->touch_at)
        shell("touch '%s' %s", at("whole.safetensors"), "");
    return c->stop_at && c->calls >= c->stop_at; /* as an interrupt does, it stays asked for */
}
static int on_progress(void *user, const char *stage, size_t done, size_t total)
{
    (void)stage, (void)done, (void)total;
    return count_call(user);
}
static int on_step(void *user, const training_step *s) { (void)s; return count_call(user); }

static void alter(training_options *o, const char *what, double value)
{
    train_config *c = &o->config;
    const struct { const char *name; size_t *whole; double *real; bool *flag; uint64_t *number; } all[] = {
        { "latents", &c->n, NULL, NULL, NULL }, { "k", &c->k, NULL, NULL, NULL },
        { "batch", &c->batch, NULL, NULL, NULL }, { "epochs", &o->epochs, NULL, NULL, NULL },
        { "topk", NULL, NULL, &c->batch_topk, NULL }, { "multi_topk", NULL, NULL, &c->multi_topk, NULL },
        { "auxk", NULL, NULL, &c->released_auxk, NULL },
        { "auxk_alpha", NULL, &c->auxk_alpha, NULL, NULL },
        { "dead_feature_threshold", NULL, NULL, NULL, &c->dead_threshold },
        { "lr", NULL, &c->lr, NULL, NULL },
        { "beta1", NULL, &c->beta1, NULL, NULL }, { "beta2", NULL, &c->beta2, NULL, NULL },
        { "adam_eps", NULL, &c->eps, NULL, NULL }, { "clip", NULL, &c->clip, NULL, NULL },
        { "seed", NULL, NULL, NULL, &c->seed }, { "log_every", &o->log_every, NULL, NULL, NULL },
        { "checkpoint_every", &o->checkpoint_every, NULL, NULL, NULL } };
    for (size_t i = 0; what && i < sizeof all / sizeof *all; i++)
        if (!strcmp(what, all[i].name)) {
            if (all[i].whole)
                *all[i].whole = (size_t)value;
            if (all[i].real)
                *all[i].real = value;
            if (all[i].flag)
                *all[i].flag = value > 0;
            if (all[i].number)
                *all[i].number = (uint64_t)value;
        }
    if (what && !strcmp(what, "dtype"))
        o->type = DT_F16;
}

/* 96 latents, k 4, 3 maps a batch, so that the last of an epoch's 7 has 2 of ROWS = 20; a checkpoint every 4
 * steps of 14. */
static void configure(training_options *o)
{
    train_defaults(&o->config, WIDTH);
    o->config.n = 96;
    o->config.k = 4;
    o->config.batch = 3 * TOKENS;
    o->config.dead_threshold = 100;
    o->config.lr = 1e-2;
}

static int train_with(map_source *s, const char *name, how h, counter *c, const saeuron_host *with,
                      saeuron_error *e)
{
    saeuron_host host = with ? *with : (saeuron_host){ .user = c, .progress = on_progress };
    training_options o = { .epochs = 2, .checkpoint_every = 4, .log_every = 3, .type = DT_F32,
                           .dir = at(name), .resume = !h.fresh, .threads = h.threads ? h.threads : 1,
                           .watch = on_step, .user = c };
    configure(&o);
    alter(&o, h.what, h.value);
    return training_run(s, &host, &o, e);
}

static int run_into(const char *name, how h, long *calls, saeuron_error *e)
{
    const char *paths[3];
    size_t count = 0;
    counter c = { 0, h.stop_at, h.kill_at, h.touch_at };
    map_source s = { .rows = 0 };
    static tiny model;
    saeuron_context *x = NULL;
    int code;
    for (; count < 3 && h.data[count]; count++)
        paths[count] = at(h.data[count]);
    if (count)
        code = source_open(&s, NULL, paths, count, e);
    else {
        tiny_make(&model);
        saeuron_host host = tiny_host(&model);
        host.threads = h.threads ? h.threads : 1;
        host.user = &model;
        const sampler_options o = { .sampling = { .prompts = spoken, .count = PROMPTS, .seed = 3 },
                                    .hook = TINY_STYLES };
        model.cancel_at = 0;
        code = saeuron_open(&x, &host, "tiny", e);
        if (!code)
            code = source_open_online(&s, x, &o, h.buffer, e);
    }
    if (!code)
        code = train_with(&s, name, h, &c, NULL, e);
    source_close(&s);
    if (!count) {
        saeuron_close(x);
        CHECK(model.live == 0 && model.torn == 0, "%ld blocks are left, %ld torn", model.live, model.torn);
        tiny_free(&model);
    }
    if (calls)
        *calls = c.calls;
    return code;
}

static void trained(const char *name, how h)
{
    saeuron_error e = { 0 };
    const int code = run_into(name, h, NULL, &e);
    CHECK(code == SAEURON_OK, "%s: %s", name, e.text);
}

/* ---- the same bytes ---- */

/* Whole and in parts, one thread and three, F16 and F32, files and sampling: what may not matter does not;
 * and what may, does. */
static void same_bytes(void)
{
    prepare();
    trained("w", (how){ .data = { "whole.safetensors" } });
    CHECK(!there(at("w/checkpoint.safetensors")) && there(at("w/train.tsv")) && there(at("w/density.tsv")) &&
          there(at("w/cfg.json")), "the folder is not whole, or its checkpoint was left");
    trained("p", (how){ .data = { "part0.safetensors", "part1.safetensors", "part2.safetensors" } });
    CHECK(same_folders("w", "p"), "parts, in order, are not the whole");
    trained("t", (how){ .data = { "whole.safetensors" }, .threads = 3 });
    CHECK(same_folders("w", "t"), "three threads are not one");
    trained("e", (how){ .data = { "whole.safetensors" }, .what = "checkpoint_every", .value = 1 });
    CHECK(same_folders("w", "e"), "the number of checkpoints changes the result");
    trained("h", (how){ .data = { "half.safetensors" } });
    trained("h3", (how){ .data = { "half.safetensors" }, .threads = 3 });
    CHECK(same_folders("h", "h3") && !same_folders("w", "h"),
          "F16 with three threads is not F16 with one, or is F32");
    trained("s", (how){ .buffer = 1000 });
    CHECK(shell("cmp -s '%s/train.tsv' '%s/train.tsv'", at("w"), at("s")) == 0,
          "sampled whole is not trained like files");
    trained("s2", (how){ .buffer = 2 * STEPS });
    trained("s3", (how){ .buffer = 2 * STEPS, .threads = 3 });
    CHECK(same_folders("s2", "s3") && shell("cmp -s '%s/train.tsv' '%s/train.tsv'", at("w"), at("s2")) != 0,
          "sampled by three threads is not sampled by one, or a small buffer does nothing");
}

/* Stopped cleanly at call after call, each time a bit later, so that every kind of call stops once: the end
 * is that of one run. */
static void stopped(void)
{
    static const how kinds[] = { { .data = { "whole.safetensors" } }, { .buffer = 2 * STEPS } };
    prepare();
    for (size_t i = 0; i < 2; i++) {
        saeuron_error e = { 0 };
        how  h = kinds[i];
        long calls, all = 0, stops = 0;
        int  code = SAEURON_ECANCEL;
        shell("rm -rf '%s' '%s'", at("whole"), at("stops"));
        CHECK(run_into("whole", h, &all, &e) == SAEURON_OK, "%s", e.text);
        for (; code == SAEURON_ECANCEL && stops < 100; stops++) {
            h.stop_at = 1 + stops % 3;
            code = run_into("stops", h, &calls, &e);
            CHECK(code == SAEURON_OK || (code == SAEURON_ECANCEL && test_holds(e.text, "resume goes on")),
                  "%s", e.text);
        }
        h.stop_at = 0;
        if (code == SAEURON_OK)
            code = run_into("stops", h, &calls, &e);
        CHECK(code == SAEURON_OK && stops > 5 && same_folders("whole", "stops"),
              "kind %zu: stopped %ld times it ends in other bytes: %s", i, stops, e.text);
        CHECK(calls == 0, "a finished run went on for %ld calls", calls);
        test_note("kind %zu: %ld calls, %ld stops", i, all, stops);
    }
    static const char *const parts[] = { "cfg.json", "train.tsv", "density.tsv" };
    saeuron_error e = { 0 };
    for (size_t i = 0; i < 3; i++) {
        shell("rm '%s/%s'", at("stops"), parts[i]);
        const int code = run_into("stops", kinds[1], NULL, &e);
        check_error(parts[i], code, SAEURON_EFORMAT, &e, parts[i]);
        shell("rm '%s/train.json'", at("stops"), ""); /* as the message says */
        CHECK(run_into("stops", kinds[1], NULL, &e) == SAEURON_OK && same_folders("whole", "stops"), "%s: %s",
              parts[i], e.text);
    }
}

/* Killed outright at 20 seeded points each, some of them inside a checkpoint, one after the other and each
 * from the start. */
static void killed(void)
{
    static const how kinds[] = { { .data = { "whole.safetensors" } }, { .buffer = 2 * STEPS } };
    prepare();
    for (size_t i = 0; i < 2; i++) {
        saeuron_error e = { 0 };
        long all = 0, kills = 0;
        shell("rm -rf '%s' '%s'", at("whole"), at("kills"));
        CHECK(run_into("whole", kinds[i], &all, &e) == SAEURON_OK, "%s", e.text);
        for (uint64_t p = 0; p < 20; p++) {
            how h = kinds[i];
            int status = 0;
            /* those that go on have less to do */
            h.kill_at = 1 + (long)(rng_value(6, i, p) % (uint64_t)(p % 4 ? all / 2 : all));
            if (p % 4 == 0)
                shell("rm -rf '%s' '%s'", at("kills"), at("none"));
            fflush(NULL);
            const pid_t child = fork();
            if (child == 0)
                _exit(run_into("kills", h, NULL, &e) != SAEURON_OK);
            waitpid(child, &status, 0);
            kills += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "kind %zu, point %d: a resumed run failed",
                  i, (int)p);
            if (p % 4 == 3) {
                CHECK(run_into("kills", kinds[i], NULL, &e) == SAEURON_OK && same_folders("whole", "kills"),
                      "kind %zu, point %d: other bytes after kills: %s", i, (int)p, e.text);
            }
        }
        CHECK(kills >= 10, "only %ld of 20 runs were killed", kills);
        test_note("kind %zu: %ld calls, %ld killed", i, all, kills);
    }
}

/* ---- what is refused ---- */

/* Each option that shapes the result is named when a resumed run has another; and other data is. */
static void other_options(void)
{
    static const struct { const char *what; double value; const char *words; } cases[] = {
        { "latents", 97, "latents 96|97" }, { "k", 5, "k 4|5" }, { "batch", 4 * TOKENS, "batch 48|64" },
        { "epochs", 3, "epochs 2|3" }, { "topk", 0, "topk batch|token" },
        { "multi_topk", 1, "multi_topk 0|1" }, { "auxk", 1, "auxk paper|released" },
        { "auxk_alpha", 0, "auxk_alpha 0.03125|0" },
        { "dead_feature_threshold", 101, "dead_feature_threshold 100|101" },
        { "lr", 0.02, "lr 0.01|0.02" }, { "beta1", 0.8, "beta1 0.9|0.8" },
        { "beta2", 0.99, "beta2 0.999|0.99" }, { "adam_eps", 1e-8, "adam_eps 6.25e-10|1e-08" },
        { "clip", 2, "clip 1|2" },
        { "seed", 43, "seed 42|43" }, { "log_every", 4, "log_every 3|4" }, { "dtype", 0, "dtype F32|F16" },
    };
    saeuron_error e = { 0 };
    prepare();
    CHECK(run_into("half-way", (how){ .data = { "whole.safetensors" }, .stop_at = 23 }, NULL,
                   &e) == SAEURON_ECANCEL && there(at("half-way/checkpoint.safetensors")), "%s", e.text);
    trained("finished", (how){ .data = { "whole.safetensors" } });
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const how h = { .data = { "whole.safetensors" }, .what = cases[i].what, .value = cases[i].value };
        int code = run_into("half-way", h, NULL, &e);
        check_error(cases[i].what, code, SAEURON_EFORMAT, &e, "checkpoint.safetensors|another folder");
        CHECK(test_holds(e.text, cases[i].words), "%s: %s", cases[i].what, e.text);
        code = run_into("finished", h, NULL, &e);
        check_error(cases[i].what, code, SAEURON_EFORMAT, &e, "sae.safetensors|another folder");
    }
    int code = run_into("half-way", (how){ .data = { "half.safetensors" } }, NULL, &e);
    check_error("other data", code, SAEURON_EFORMAT, &e, "data|checkpoint.safetensors");
    code = run_into("half-way", (how){ .data = { "part0.safetensors", "part1.safetensors" } }, NULL, &e);
    check_error("fewer data", code, SAEURON_EFORMAT, &e, "data|checkpoint.safetensors");
    code = run_into("half-way", (how){ .buffer = 1000 }, NULL, &e);
    check_error("sampled", code, SAEURON_EFORMAT, &e, "checkpoint.safetensors");
    code = run_into("half-way", (how){ .data = { "whole.safetensors" }, .fresh = true }, NULL, &e);
    check_error("again", code, SAEURON_EUSAGE, &e, "checkpoint.safetensors|resume|another folder");
    code = run_into("finished", (how){ .data = { "whole.safetensors" }, .fresh = true }, NULL, &e);
    check_error("again", code, SAEURON_EUSAGE, &e, "sae.safetensors|resume|another folder");
    trained("half-way", (how){ .data = { "part0.safetensors", "part1.safetensors", "part2.safetensors" } });
    CHECK(same_folders("half-way", "finished"), "after refusals the run ends in other bytes");
}

/* A checkpoint that was cut, altered, or is none. */
static void damaged_checkpoints(void)
{
    static const struct { const char *command, *words; int code; } cases[] = {
        { "truncate -s -1 '%s'", "checkpoint.safetensors", SAEURON_EFORMAT },
        { "truncate -s 5 '%s'", "checkpoint.safetensors", SAEURON_EFORMAT },
        { "truncate -s 0 '%s'", "checkpoint.safetensors", SAEURON_EFORMAT },
        { "sed -i 's/adam.m.W_dec/adam.m.W_doc/' '%s'", "adam.m.W_dec", SAEURON_EFORMAT },
        { "sed -i 's/saeuron-checkpoint-1/saeuron-checkpoint-2/' '%s'", "no checkpoint", SAEURON_EFORMAT },
        { "sed -i 's/\"step\":\"8\"/\"step\":\"9\"/' '%s'", "step", SAEURON_EFORMAT },
        { "sed -i 's/gradient_norm/gradient_form/' '%s'", "table", SAEURON_EFORMAT },
        { "sed -i 's/\"contract\":\"1\"/\"contract\":\"0\"/' '%s'", "contract 0|has 1", SAEURON_EFORMAT },
        { "o=$(($(head -c 8 '%s' | od -An -t u8) + 8)); printf '\\377\\377\\377\\377' | dd of=\"$F\" bs=1 "
          "seek=$o conv=notrunc 2>/dev/null", "encoder.weight|not finite", SAEURON_ENAN },
        { "o=$(($(head -c 8 '%s' | od -An -t u8) + 8 + $V)); printf '\\0\\0\\200\\277' | dd of=\"$F\" bs=1 "
          "seek=$o conv=notrunc 2>/dev/null", "adam.v.encoder.weight|negative", SAEURON_EFORMAT },
    };
    saeuron_error e = { 0 };
    char adam_v[32]; /* after the SAE's four tensors, and adam.m's */
    snprintf(adam_v, sizeof adam_v, "%zu", 2 * sizeof(float) * (2 * 96 * WIDTH + 96 + WIDTH));
    setenv("V", adam_v, 1);
    prepare();
    CHECK(run_into("cut", (how){ .data = { "whole.safetensors" }, .kill_at = 0, .stop_at = 23 }, NULL,
                   &e) == SAEURON_ECANCEL, "%s", e.text);
    shell("cp '%s/checkpoint.safetensors' '%s'", at("cut"), at("good"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shell("cp '%s' '%s/checkpoint.safetensors'", at("good"), at("cut"));
        setenv("F", at("cut/checkpoint.safetensors"), 1);
        shell(cases[i].command, at("cut/checkpoint.safetensors"), "");
        CHECK(shell("cmp -s '%s' '%s/checkpoint.safetensors'", at("good"), at("cut")) != 0,
              "case %zu altered nothing", i);
        const int code = run_into("cut", (how){ .data = { "whole.safetensors" } }, NULL, &e);
        check_error(cases[i].command, code, cases[i].code, &e, cases[i].words);
        CHECK(!there(at("cut/sae.safetensors")), "case %zu: something was written all the same", i);
    }
}

/* Data that is written to meanwhile: neither a checkpoint nor an SAE is made of it. */
static void data_written_to(void)
{
    static const struct { long call; double every; bool left; } cases[] = {
        { 1, 4, false }, { 14, 4, true }, { 1, 1000, false },
    };
    saeuron_error e = { 0 };
    prepare();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        shell("rm -rf '%s'; touch -d 2001-01-01 '%s'", at("touched"), at("whole.safetensors"));
        const how h = { .data = { "whole.safetensors" }, .touch_at = cases[i].call,
                        .what = "checkpoint_every", .value = cases[i].every };
        const int code = run_into("touched", h, NULL, &e);
        check_error("data", code, SAEURON_EIO, &e, "whole.safetensors|was written to");
        CHECK(there(at("touched/checkpoint.safetensors")) == cases[i].left &&
              !there(at("touched/sae.safetensors")), "call %ld", cases[i].call);
    }
}

/* A run is its trainer's start on the first batch and a step on every batch, maps in contract 6's order, the
 * last batch of an epoch with what is left. */
static void steps_by_hand(void)
{
    static float x[3 * TOKENS * WIDTH];
    enum { MAPS = 3, EPOCHS = 2, BATCHES = (ROWS + MAPS - 1) / MAPS };
    uint32_t order[ROWS];
    saeuron_error e = { 0 };
    training_options o;
    trainer *t = NULL;
    trainer_tensor state[TRAINER_TENSORS];
    tensors data, trained_sae;
    prepare();
    trained("by-hand", (how){ .data = { "whole.safetensors" } });
    shuffled(order, ROWS, 42, 0, "shuffle");
    configure(&o);
    o.config.steps = EPOCHS * (ROWS / MAPS); /* of the learning rate: full batches are counted */
    CHECK(!tensors_open(&data, NULL, at("whole.safetensors"), &e) && data.count == 1 &&
              data.list[0].count == ROWS * TOKENS * WIDTH &&
              !tensors_open(&trained_sae, NULL, at("by-hand/sae.safetensors"), &e) &&
              !trainer_open(&t, NULL, &o.config, 1, NULL, &e), "%s", e.text);
    for (size_t step = 0; t && step < EPOCHS * BATCHES; step++) {
        const size_t first = step % BATCHES * MAPS, maps = ROWS - first < MAPS ? ROWS - first : MAPS;
        for (size_t i = 0; i < maps; i++)
            nn_widen(x + i * TOKENS * WIDTH, (weight){ .data = data.list[0].data, .type = data.list[0].type },
                     order[first + i] * (size_t)(TOKENS * WIDTH), TOKENS * WIDTH);
        const bool started = step || !trainer_start(t, x, maps * TOKENS, &e);
        CHECK(started && !trainer_step(t, x, maps * TOKENS, NULL, &e), "%s", e.text);
    }
    trainer_tensors(t, state);
    for (size_t i = 0; i < 4; i++) {
        const tensor *saved = tensors_find(&trained_sae, state[i].name);
        float *want = malloc(state[i].count * sizeof *want);
        CHECK(saved && saved->count == state[i].count, "%s is missing", state[i].name);
        nn_widen(want, (weight){ .data = saved->data, .type = saved->type }, 0, state[i].count);
        CHECK(!memcmp(want, state[i].data, state[i].count * sizeof *want), "%s: other bytes", state[i].name);
        free(want);
    }
    trainer_close(t);
    tensors_close(&data);
    tensors_close(&trained_sae);
}

/* A NaN far in the data ends a run, and its last checkpoint stays. */
static void stops_at_nan(void)
{
    saeuron_error e = { 0 };
    uint32_t order[ROWS];
    char line[256];
    prepare();
    shuffled(order, ROWS, 42, 0, "shuffle");
    shell("cp '%s' '%s'", at("whole.safetensors"), at("nan.safetensors"));
    /* the row that comes last, so that four steps are done before it is read */
    setenv("F", at("nan.safetensors"), 1);
    snprintf(line, sizeof line,
             "o=$(($(head -c 8 $F | od -An -t u8) + 8 + %zu)); printf '\\377\\377\\377\\377' | dd of=$F "
             "bs=1 seek=$o conv=notrunc 2>/dev/null", order[ROWS - 1] * (size_t)(TOKENS * WIDTH * 4));
    shell(line, "", "");
    const int code = run_into("nan", (how){ .data = { "nan.safetensors" } }, NULL, &e);
    snprintf(line, sizeof line, "row %u,", order[ROWS - 1]);
    check_error("NaN", code, SAEURON_ENAN, &e, "nan.safetensors");
    CHECK(test_holds(e.text, line), "%s", e.text);
    CHECK(there(at("nan/checkpoint.safetensors")) && !there(at("nan/sae.safetensors")),
          "the checkpoint is gone, or an SAE is there");
}

/* A disk that fills in the middle of the second checkpoint: the first stays whole, and once there is room the
 * end is that of one run. */
typedef struct filling { long steps; struct rlimit before; } filling;

static int fill_disk(void *user, const training_step *s)
{
    filling *f = user;
    struct rlimit small = { 1024, f->before.rlim_max };
    if (s->step == 6)
        setrlimit(RLIMIT_FSIZE, &small);
    f->steps = (long)s->step;
    return 0;
}

static void full_disk(void)
{
    filling f = { 0, { 0, 0 } };
    map_source s;
    saeuron_error e = { 0 };
    prepare();
    trained("roomy", (how){ .data = { "whole.safetensors" } });
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &f.before);
    const char *path = at("whole.safetensors");
    CHECK(source_open(&s, NULL, &path, 1, &e) == SAEURON_OK, "%s", e.text);
    training_options o = { .epochs = 2, .checkpoint_every = 4, .log_every = 3, .type = DT_F32,
                           .dir = at("tight"), .threads = 1, .watch = fill_disk, .user = &f };
    configure(&o);
    const int code = training_run(&s, NULL, &o, &e);
    setrlimit(RLIMIT_FSIZE, &f.before);
    signal(SIGXFSZ, SIG_DFL);
    source_close(&s);
    check_error("full disk", code, SAEURON_EIO, &e, "tight/checkpoint.safetensors");
    CHECK(f.steps == 8 && shell("test \"$(ls '%s')\" = checkpoint.safetensors", at("tight"), "") == 0,
          "stopped after step %ld, or the first checkpoint is not alone", f.steps);
    CHECK(shell("grep -q '\"step\":\"4\"' '%s'", at("tight/checkpoint.safetensors"), "") == 0,
          "the checkpoint is not the first");
    trained("tight", (how){ .data = { "whole.safetensors" } });
    CHECK(same_folders("roomy", "tight"), "after a full disk the run ends in other bytes");
}

/* Options out of range, by name, before anything is written. */
static void bad_options(void)
{
    static const struct { const char *what; double value; const char *words; } cases[] = {
        { "k", 0, "k 0: must be" }, { "k", 97, "k 97: must be|96" }, { "batch", 0, "batch 0: must be" },
        { "batch", TOKENS - 1, "batch 15: must be|16" }, { "batch", TOKENS + 1, "batch 17: must be|16" },
        { "batch", TOKENS * (ROWS + 1), "20 maps|21|batch" }, { "epochs", 0, "epochs" },
        { "epochs", 1e19, "epochs|too many" }, { "checkpoint_every", 0, "checkpoint_every" },
        { "log_every", 0, "log_every" }, { "lr", 0, "lr must" }, { "lr", -1, "lr must" },
        { "lr", 1.5, "lr must" },
        { "beta1", 1, "beta1" }, { "beta2", -0.1, "beta2" }, { "adam_eps", 0, "eps must" },
        { "clip", 0, "clip" },
        { "auxk_alpha", -1, "auxk_alpha must" },
    };
    saeuron_error e = { 0 };
    prepare();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int code = run_into("bad", (how){ .data = { "whole.safetensors" }, .what = cases[i].what,
                                                .value = cases[i].value }, NULL, &e);
        check_error(cases[i].what, code, SAEURON_EUSAGE, &e, cases[i].words);
        CHECK(!there(at("bad")), "%s: a folder was made all the same", cases[i].what);
    }
}

/* Every allocation fails once: one line, no leak, no SAE; and then it works. */
static void allocations(void)
{
    saeuron_error e = { 0 };
    long fail_at = 1;
    int  code = SAEURON_ENOMEM;
    prepare();
    trained("plenty", (how){ .data = { "whole.safetensors" } });
    static tiny memory;
    memset(&memory, 0, sizeof memory);
    for (; fail_at < 400 && code == SAEURON_ENOMEM; fail_at++) {
        const char *path = at("whole.safetensors");
        counter c = { .calls = 0 };
        map_source s;
        saeuron_host host = tiny_host(&memory);
        host.map = NULL;
        host.unmap = NULL;
        memory.allocs = 0;
        memory.fail_at = fail_at;
        code = source_open(&s, &host, &path, 1, &e);
        if (!code)
            code = train_with(&s, "scarce", (how){ .threads = 1 }, &c, &host, &e);
        source_close(&s);
        CHECK(memory.live == 0 && memory.torn == 0, "allocation %ld: %ld blocks are left, %ld torn", fail_at,
              memory.live, memory.torn);
        CHECK(code == SAEURON_OK || (code == SAEURON_ENOMEM && !strchr(e.text, '\n')),
              "allocation %ld: code %d, %s", fail_at, code, e.text);
    }
    CHECK(code == SAEURON_OK && fail_at > 15 && same_folders("plenty", "scarce"), "after %ld failures: %s",
          fail_at, e.text);
    test_note("%ld allocations", fail_at - 2);
}

/* ---- what comes out ---- */

/* The table has every third step and the last; cfg.json and sae.safetensors are an SAE of ours; F16 halves
 * it; an SAE of differences says so. */
static void results(void)
{
    static char text[1 << 16];
    sae net;
    saeuron_error e = { 0 };
    prepare();
    trained("r", (how){ .data = { "whole.safetensors" } });
    trained("r16", (how){ .data = { "whole.safetensors" }, .what = "dtype" });
    FILE *f = fopen(at("r/train.tsv"), "rb");
    text[f ? fread(text, 1, sizeof text - 1, f) : 0] = 0;
    if (f)
        fclose(f);
    static const size_t steps[] = { 1, 4, 7, 10, 13, 14 }, epochs[] = { 1, 1, 1, 2, 2, 2 };
    static const size_t tokens[] = { 48, 192, 320, 464, 608, 640 };
    size_t line = 0;
    for (char *p = strchr(text, '\n'); p && p[1]; p = strchr(p + 1, '\n'), line++) {
        size_t found[3] = { 0 }, tabs = 0;
        sscanf(p + 1, "%zu\t%zu\t%zu", &found[0], &found[1], &found[2]);
        for (const char *q = p + 1; *q && *q != '\n'; q++)
            tabs += *q == '\t';
        CHECK(line < 6 && found[0] == steps[line] && found[1] == epochs[line] && found[2] == tokens[line] &&
              tabs == 13, "row %zu: step %zu, epoch %zu, %zu tokens, %zu tabs", line, found[0],
              found[1], found[2], tabs);
    }
    CHECK(line == 6 && test_holds(text, "step\tepoch\ttokens\tloss\tfvu|explained_variance|l0\tdead|lr\n"),
          "%zu rows", line);
    /* densities are counted on what the last window holds: one prompt's maps */
    trained("window", (how){ .buffer = 2 * STEPS });
    CHECK(shell("grep -q '\"measured\": {\"maps\": 4, \"tokens\": 64,' '%s/train.json'", at("window"),
                "") == 0, "the last window is not what was measured");
    CHECK(test_holds(text, "\t0\n"),
          "S is 6 batches of an epoch x 2, so steps 13 and 14 have a learning rate of 0");
    CHECK(sae_load(&net, NULL, NULL, at("r"), &e) == SAEURON_OK && net.n == 96 && net.k == 4 &&
          net.d == WIDTH && net.W_dec.type == DT_F32, "%s", e.text);
    sae_unload(&net, NULL);
    CHECK(sae_load(&net, NULL, NULL, at("r16"), &e) == SAEURON_OK && net.W_dec.type == DT_F16, "%s", e.text);
    sae_unload(&net, NULL);
    CHECK(!net.diff && shell("grep -q diff '%s/cfg.json'", at("r"), ""), "outputs are called differences");
    make_file(at("diff.safetensors"), ROWS, 0, TOKENS, WIDTH, "diff", "1", DT_F32);
    trained("rd", (how){ .data = { "diff.safetensors" } });
    CHECK(sae_load(&net, NULL, NULL, at("rd"), &e) == SAEURON_OK && net.diff, "no word of differences: %s",
          e.text);
    sae_unload(&net, NULL);
}

const test_case run_tests[] = {
    { "same_bytes", same_bytes }, { "steps_by_hand", steps_by_hand }, { "stopped", stopped },
    { "killed", killed },
    { "other_options", other_options }, { "damaged_checkpoints", damaged_checkpoints },
    { "data_written_to", data_written_to },
    { "stops_at_nan", stops_at_nan }, { "full_disk", full_disk }, { "bad_options", bad_options },
    { "allocations", allocations }, { "results", results }, { NULL, NULL },
};
