/* test_faults.c: every command of the program while calls of the system fail, one at a time: memory, opening,
 * reading, mapping, writing, flushing, renaming, removing; and the long ones killed at any moment.
 *
 *   command --once, counted--> what it writes     command, call K fails--> exit code, a line, what it leaves
 *
 * Whatever fails, the command either writes what it writes otherwise, or ends with exit code 1 and one line;
 * what it leaves then are whole files of the right bytes, and the same command run again finishes the work.
 * Of each command one call of each kind fails; with FAULTS=99 so many of them, spread evenly. SAEURON_FAULTY
 * names the program (build/tests/faulty). Not here: how a call fails (faults.h). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "judges.h"
#include "scratch.h"
#include "files/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prompts[] = "An image of Cats in Sketch style.\na dog\nthe sea, wide and blue\n";
static const char concepts[] = "{\"Cats\": [\"cat\", \"a cat\"], \"Dogs\": [\"dog\"]}\n";

/* Failures that no command may pass over: what was asked for is not there, or not for sure. */
static const char *const never[] = { "fread", "fwrite", "fflush", "fsync", "rename" };

/* $M: the model, $P: prompts, $C: concepts, $A: activations, $D: the same in two parts, $I: a picture; $O:
 * where the command writes. */
static const struct { const char *name, *arguments; } commands[] = {
    { "generate", "generate $M -p 'a cat' --forget Sketch --steps 4 -o $O/a.png" },
    { "generate, many", "generate $M --prompts $P --count 1 --steps 2 -o $O/%d.png" },
    { "generate, of a pipe", "generate $M --prompts /dev/stdin --count 1 --steps 1 -o $O/%d.png" },
    { "tokenize", "tokenize $M 'a cat'" },
    { "encode", "encode $M 'a cat' -o $O/a.npy" },
    { "encode, a picture", "encode $M --image $I -o $O/a.npy" },
    { "select", "select $M --forget Sketch" },
    { "collect", "collect $M --hook " TINY_STYLES " --prompts $P -o $O/a.safetensors" },
    { "train", "train $F --data $A -o $O/a --resume" },
    { "train, online", "train $M $F --online --hook " TINY_STYLES " --prompts $P -o $O/a --resume" },
    { "measure", "measure -q --threads 1 $SAE --data $A" },
    { "stats", "stats $M --hook " TINY_STYLES " --concepts $C -o $O/a.safetensors" },
    { "merge", "merge $D/0.safetensors $D/1.safetensors -o $O/a.safetensors" },
    { "eval", "eval $M --concepts Sketch --seeds 188 -o $O/a" },
    { "sweep", "sweep $M --domain style --concepts Sketch --seeds 1188,1288 --tops 2 --strengths=0,-1 "
               "-o $O/a" },
    { "gradient", "gradient $M -p 'a cat in Sketch style' --timestep 751 --of latents --forget Sketch "
                  "-o $O/a.npy" },
    { "attack", "attack $M --forget 'Van Gogh' --strength=-100 --prompts 2 --method seeds --tries 1 "
                "-o $O/a" },
    { "rival", "rival $M uce --forget Sketch -o $O/a" },
    { "rival, esd", "rival $M esd --forget Sketch --iterations 2 -o $O/a" },
    { "rival, sdd", "rival $M sdd --forget Sketch --iterations 2 -o $O/a" },
    { "rival, ca", "rival $M ca --forget Sketch --iterations 2 --pictures 2 -o $O/a" },
    { "info", "info $M" },
    { "info, a file", "info $A" },
    { "digest", "digest $A $SAE $I" },
};

/* Runs the command into $O; fault: the call that fails, or "". */
static int run(const char *program, const char *arguments, const char *fault)
{
    char line[2048];
    snprintf(line, sizeof line, "mkdir -p $O; rm -f $W/said; cat $P | FAULT='%s' FAULT_SAID=$W/said %s %s "
                                ">$O/stdout 2>$W/stderr", fault, program, arguments);
    return shell(line);
}

static size_t read_text(const char *name, char *to, size_t size)
{
    FILE *f = fopen(judges_at(name), "rb");
    const size_t n = f ? fread(to, 1, size - 1, f) : 0;
    to[n] = 0;
    if (f)
        fclose(f);
    return n;
}

static void prepare(const char *program)
{
    static bool ready;
    char text[3000];
    if (ready)
        return;
    ready = true;
    judges_prepare();
    snprintf(text, sizeof text, "-m %s --threads 1 -q", judges_at("model"));
    setenv("M", text, 1);
    setenv("W", judges_at(""), 1);
    setenv("O", judges_at("faults"), 1);
    setenv("R", judges_at("whole-run"), 1);
    setenv("P", judges_at("prompts.txt"), 1);
    setenv("C", judges_at("concepts.json"), 1);
    setenv("A", judges_at("acts.safetensors"), 1);
    setenv("I", judges_at("a.png"), 1);
    setenv("D", judges_at("halves"), 1);
    setenv("SAE", judges_at("model/sae/" TINY_STYLES), 1);
    setenv("F", "--threads 1 -q --latents 64 --k 4 --batch 48 --epochs 2 --checkpoint-every 3", 1);
    test_write_file(judges_at("prompts.txt"), prompts, sizeof prompts - 1);
    test_write_file(judges_at("concepts.json"), concepts, sizeof concepts - 1);
    snprintf(text, sizeof text,
             "mkdir -p $D; %s collect $M --hook " TINY_STYLES " --prompts $P -o $A >/dev/null && "
             "%s generate $M -p 'a cat' --steps 2 -o $I >/dev/null && for i in 0 1; do %s collect $M --hook "
             TINY_STYLES " --prompts $P -o $D/$i.safetensors --shard $i/2 >/dev/null; done",
             program, program, program);
    CHECK(shell(text) == 0, "cannot prepare");
}

/* One call of the command fails: "fread 2". */
static void fail_call(const char *program, const char *name, const char *arguments, const char *fault)
{
    char said[2048];
    shell("rm -rf $O");
    const int code = run(program, arguments, fault);
    read_text("said", said, sizeof said);
    CHECK(!strcmp(said, "failed\n"), "%s: there is no %s: %s", name, fault, said);
    read_text("stderr", said, sizeof said);
    CHECK(code == 0 || code == 1, "%s, %s: exit code %d: %s", name, fault, code, said);
    if (code == 0) {
        for (size_t i = 0; i < sizeof never / sizeof *never; i++)
            CHECK(strncmp(fault, never[i], strlen(never[i])), "%s, %s: nobody hears of it", name, fault);
        CHECK(shell("diff -r $R $O >$W/differs") == 0, "%s, %s: exit code 0, and other files", name, fault);
        return;
    }
    CHECK(!strncmp(said, "saeuron: ", 9) && strchr(said, '\n') == said + strlen(said) - 1 &&
          !strstr(said, "Success"), "%s, %s: no single line: \"%s\"", name, fault, said);
    /* but a checkpoint, and a table of which there are some rows */
    CHECK(shell("rm $O/stdout; diff -rq $R $O | grep -v -e \"^Only in $R\" -e 'checkpoint.safetensors$' "
                "-e '/results.tsv differ$' -e '^Only in .*tmp-0$' >$W/left") == 1,
          "%s, %s: other files were left", name, fault);
    CHECK(!strncmp(fault, "remove ", 7) || shell("find $O -name '*.tmp-*' | grep -q .") == 1,
          "%s, %s: half a file was left", name, fault);
    CHECK(run(program, arguments, "") == 0 && shell("diff -r $R $O >$W/differs") == 0,
          "%s, %s: run again, it does not end as it should", name, fault);
}

static void every_kind(void)
{
    const char *program = getenv("SAEURON_FAULTY"), *most = getenv("FAULTS");
    if (!program) {
        test_skip("SAEURON_FAULTY names no program: make test builds it");
        return;
    }
    prepare(program);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const char *name = commands[i].name, *arguments = commands[i].arguments;
        char kinds[1024], kind[32], fault[64];
        long calls, failed = 0, all = 0;
        int  length;
        shell("rm -rf $O $R");
        CHECK(run(program, arguments, "") == 0, "%s does not work", name);
        read_text("said", kinds, sizeof kinds);
        shell("mv $O $R");
        for (const char *at = kinds; sscanf(at, "%31s %ld\n%n", kind, &calls, &length) == 2; at += length) {
            const long some = most ? atol(most) : 1, step = calls < some ? 1 : (calls + some - 1) / some;
            for (long k = calls - (long)i % step; k > 0; k -= step, failed++) {
                snprintf(fault, sizeof fault, "%s %ld", kind, k);
                fail_call(program, name, arguments, fault);
            }
            all += calls;
        }
        CHECK(failed, "%s: no call failed", name);
        test_note("%s: %ld of %ld calls failed", name, failed, all);
    }
}

/* Killed outright at random moments, each run going on where the last was killed: the end is that of one
 * run, and no file of a killed one stays. KILLS: how many of each command (10). */
static void killed(void)
{
    static const char *const names[] = { "collect", "train", "train, online", "eval", "sweep" };
    const char *program = getenv("SAEURON_FAULTY"), *most = getenv("KILLS");
    const long  all = most ? atol(most) : 10;
    if (!program) {
        test_skip("SAEURON_FAULTY names no program: make test builds it");
        return;
    }
    prepare(program);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *arguments = NULL;
        for (size_t j = 0; j < sizeof commands / sizeof *commands; j++)
            arguments = strcmp(commands[j].name, names[i]) ? arguments : commands[j].arguments;
        char line[2048];
        long landed = 0;
        shell("rm -rf $O $R");
        const double begin = os_seconds();
        CHECK(run(program, arguments, "") == 0, "%s does not work", names[i]);
        const double lasts = os_seconds() - begin;
        shell("mv $O $R");
        for (long k = 0; k < all; k++) {
            snprintf(line, sizeof line,
                     "exec 2>/dev/null; mkdir -p $O; FAULT_SAID=$W/said %s %s >$O/stdout </dev/null & p=$!; "
                     "sleep %.4f; kill -9 $p; wait $p",
                     program, arguments, lasts * (double)(random_bits() % 1000) / 1000);
            const int code = shell(line);
            CHECK(code == 0 || code == 137, "%s: exit code %d", names[i], code);
            landed += code == 137;
            if (code == 0) {
                CHECK(shell("diff -r $R $O >$W/differs") == 0, "%s, killed %ld times, ends otherwise",
                      names[i], landed);
                shell("rm -rf $O");
            }
        }
        CHECK(run(program, arguments, "") == 0 && shell("diff -r $R $O >$W/differs") == 0,
              "%s, killed %ld times, ends otherwise", names[i], landed);
        CHECK(landed >= all / 3, "%s: only %ld of %ld were killed", names[i], landed, all);
        test_note("%s: %ld of %ld were killed", names[i], landed, all);
    }
}

const test_case faults_tests[] = { { "every_kind", every_kind }, { "killed", killed }, { NULL, NULL } };
