/* test_cli.c: the program as a person meets it: each command, each mistake. Runs ./saeuron, or
 * $SAEURON_PROGRAM, which may begin with an emulator ("qemu-s390x ./saeuron"), through the shell on the tiny
 * model of tiny.h. There $M is "-m MODEL --threads 1 -q", $V the same without -q, $T the run's folder, $O an
 * empty folder.
 *
 * A mistake costs exactly one line on stderr that begins with "saeuron" and names the option or the file,
 * exit code 1 (it failed) or 2 (usage), nothing on stdout, and nothing new in $O.
 * Not here: the bits (test_saeuron.c). */
#define _POSIX_C_SOURCE 200809L
#include "test.h"
#include "tiny.h"
#include "arithmetic/rng.h"
#include "files/npy.h"
#include "files/png.h"
#include "said.h"
#include "scratch.h"
#include "training/collect.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- help ---- */

static char out[1 << 20], err[1 << 16]; /* what the last command printed */
static unsigned char bytes[2][1 << 20];

static size_t read_file(const char *path, void *to, size_t size)
{
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(to, 1, size, f) : 0;
    if (f)
        fclose(f);
    return n;
}

/* The model on the disk, $M, $T, $O: once a run. */
static void prepare(void)
{
    static bool ready;
    char text[1400];
    const char *program = getenv("SAEURON_PROGRAM");
    if (ready)
        return;
    ready = true;
    static tiny t;
    tiny_make(&t);
    tiny_write(&t, at("model"));
    tiny_free(&t);
    snprintf(text, sizeof text, "-m %s/model --threads 1", test_tmp());
    setenv("V", text, 1);
    strcat(text, " -q"); /* a slow machine would report progress */
    setenv("M", text, 1);
    setenv("T", test_tmp(), 1);
    setenv("O", at("out"), 1);
    snprintf(text, sizeof text, "%s%s", program && strchr(program, '/') ? "" : "./", program ? program
             : "saeuron");
    setenv("S", text, 1);
    unsetenv("SAEURON_ISA");
    unsetenv("SAEURON_MODEL");
    CHECK(io_make_dir(at("out"), NULL) == SAEURON_OK, "cannot make a folder");
    CHECK(strchr(text, ' ') || access(text, X_OK) == 0,
          "there is no program %s: make it first, or name it in SAEURON_PROGRAM", text);
}

/* Runs `before $S arguments after`, keeps what it printed, returns its exit code. */
static int run_in(const char *before, const char *arguments, const char *after)
{
    static char line[8192];
    prepare();
    snprintf(line, sizeof line, "%s $S %s >$T/stdout 2>$T/stderr </dev/null %s", before, arguments, after);
    const int code = shell(line);
    out[read_file(at("stdout"), out, sizeof out - 1)] = 0;
    err[read_file(at("stderr"), err, sizeof err - 1)] = 0;
    return code;
}

static int run(const char *arguments) { return run_in("", arguments, ""); }

/* Runs what must work; quiet: without a word on stderr. */
static void works(const char *arguments)
{
    const int code = run(arguments);
    CHECK(code == 0 && !*err, "saeuron %s: exit code %d, stderr \"%s\"", arguments, code, err);
}

/* The last command printed all these words. */
static void printed(const char *words) { CHECK(test_holds(out, words), "it should hold %s: %s", words, out); }

static size_t lines_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Entries of a folder of this run, without . and .. */
static int entries(const char *name)
{
    int n = 0;
    DIR *d = opendir(at(name));
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (d)
        closedir(d);
    return n;
}

/* What every mistake must look like, however the command was started. */
static void check_refusal(const char *what, int code, int wanted, const char *words)
{
    CHECK(code == wanted, "saeuron %s: exit code %d, not %d; \"%s\"", what, code, wanted, err);
    CHECK(lines_of(err) == 1 && err[strlen(err) - 1] == '\n' && !strncmp(err, "saeuron", 7),
          "saeuron %s: stderr is no single line: \"%s\"", what, err);
    CHECK(test_holds(err, words), "saeuron %s: \"%s\" should hold %s", what, err, words);
    CHECK(entries("out") == 0, "saeuron %s: something was left in the output's folder", what);
    if (entries("out"))
        shell("rm -rf $O/*");
}

static void refused(const char *arguments, int wanted, const char *words)
{
    const int code = run(arguments);
    check_refusal(arguments, code, wanted, words);
    CHECK(!*out, "saeuron %s: printed \"%.200s\" all the same", arguments, out);
}

/* Both files have the same bytes, and some. */
static bool same_files(const char *a, const char *b)
{
    const size_t n = read_file(a, bytes[0], sizeof bytes[0]), m = read_file(b, bytes[1], sizeof bytes[1]);
    return n && n == m && !memcmp(bytes[0], bytes[1], n);
}

static void clean(void) { shell("rm -rf $O/*"); }

/* Every line of text is JSON; returns how many. */
static size_t json_lines(const char *text)
{
    size_t lines = 0;
    for (size_t n; *text; text += n + (text[n] == '\n'), lines++) {
        json v;
        saeuron_error e = { 0 };
        n = strcspn(text, "\n");
        CHECK(json_open(&v, text, n, "a line", &e) == SAEURON_OK, "%.*s: %s", (int)(n < 200 ? n : 200), text,
              e.text);
    }
    return lines;
}

/* ---- mistakes on the command line: exit code 2 ---- */

/* Each names the option, and where one was nearly meant, that one. A number that wraps
 * or is cut short would pass silently. */
static void usage_errors(void)
{
    static const struct { const char *arguments, *words; } cases[] = {
        { "paint", "no command paint|--help" }, { "genrate -p cat", "genrate|did you mean generate?" },
        { "se", "did you mean select?" }, /* and not selftest, which has as much in common */
        { "--modle x", "--modle" },
        { "generate $M -o $O/a.png", "--prompt|--prompts" }, { "generate $M -p cat", "--out" },
        { "generate $M -p cat --prompts f -o $O/a.png", "--prompt" },
        { "generate $M -p cat -o $O/a.png --promt dog", "--promt|did you mean --prompt" },
        { "generate $M -p cat -o $O/a.png --sede 1", "--sede" },
        { "generate $M -p cat -o $O/a.png --thread 1", "--thread|did you mean --threads?" },
        { "generate $M -p cat -o $O/a.png --strings", "--strings" },
        { "generate $M -p cat -o $O/a.png -z", "-z" }, { "generate $M -p cat -o", "--out|value" },
        { "generate $M -p cat -o $O/a.png --seed", "--seed|value" },
        { "generate $M -p cat -o $O/a.png --seed one", "--seed|whole number" },
        { "generate $M -p cat -o $O/a.png --seed 1.5", "--seed" },
        { "generate $M -p cat -o $O/a.png --seed -1", "--seed" },
        { "generate $M -p cat -o $O/a.png --seed 18446744073709551616", "--seed" },
        { "generate $M -p cat -o $O/a.png --seed ''", "--seed" },
        { "generate $M -p cat -o $O/a.png --steps 0x10", "--steps" },
        { "generate $M -p cat -o $O/a.png --cfg high", "--cfg|number" },
        { "generate $M -p cat -o $O/a.png --cfg nan", "--cfg" },
        { "generate $M -p cat -o $O/a.png --cfg 1e999", "--cfg" },
        { "generate $M -p cat -o $O/a.png --cfg -1", "guidance|(--cfg)" },
        { "generate $M -p cat -o $O/a.png --quiet=yes", "--quiet|no value" },
        { "generate $M -p cat -o $O/a.png --threads 0", "--threads" },
        { "generate $M -p cat -o $O/a.png --count 0", "--count" },
        { "generate $M -p cat -o $O/a.png --count 99999999999", "--count" },
        { "generate $M --prompts $T/x --count 2 -o $O/a.png", "--count" },
        { "generate $M -p cat -o $O/a.png dog", "dog" },
        { "generate $M -p cat -o $O/a.png --isa mmx", "mmx" },
        { "generate $M -p cat -o $O/a.png --width 17", "width|(--height, --width)" },
        { "generate $M -p cat -o $O/a.png --height 99999999", "height" },
        { "generate $M -p cat -o $O/a.png --steps 1000", "steps|(--steps)" },
        { "generate $M -p cat -o $O/a.png --steps 4000000000000", "steps" },
        { "generate $M -p cat -o $O/ --count 1025 --batch 1025", "batch|--batch" },
        { "generate $M -p cat -o $O/a.png --noise-index 18446744073709551615", "noise" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --residual full",
          "--residual|one of paper|released|none" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --top 2 --percentile 99", "--top|--percentile" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --window 3", "--window|A-B" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --window 3-3", "--window|A-B" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --window 4-9", "window|step 4" },
        { "generate $M -p cat -o $O/a.png --window 0-3", "--window|--forget" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --min-lift -1", "--min-lift" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --min-lift 1000", "Sketch|--min-lift|lower" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --percentile 0", "percentile" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --percentile 100.1", "percentile" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --strength 1e9", "strength|(--strength)" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --steps 3", "4 steps|--steps|--map-steps" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --cfg 1 --residual released", "released" },
        { "generate $M -p cat -o $O/a.png --forget sketsh", "sketsh|did you mean Sketch?" },
        { "generate $M -p cat -o $O/a.png --forget Sketch,Sketch", "Sketch|twice" },
        { "generate $M -p cat -o $O/a.png --forget Sketch,Katze", "Katze|did you mean" },
        { "generate $M -p cat -o $O/a.png --forget ''", "--forget" },
        { "generate $M -p cat -o $O/a.png --forget ,", "concept" },
        { "generate $M -p cat -o $O/a.png --top 3", "--forget" },
        { "generate $M -p cat -o $O/a.png --strength -3", "--forget" },
        { "generate $M -p cat -o $O/a.png --residual none", "--forget" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --sae nonsense", "--sae|HOOK=DIR" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --sae up_blocks.9.attentions.0=$T",
          "up_blocks.9.attentions.0" },
        { "generate $M -p cat -o $O/a.png --steer up_blocks.9.attentions.0:1=2", "up_blocks.9.attentions.0" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES "=2", "--steer|HOOK:LATENT=FACTOR" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":1", "--steer|HOOK:LATENT=FACTOR" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":128=2", "latent 128" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":-1=2", "--steer|latent" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":=2", "--steer|latent" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":1=", "--steer|factor" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":1=nan", "--steer|factor" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":1=1e39", "factor" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":1=2 --steer unet." TINY_STYLES ":1=3",
          "latent 1|twice" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":1=2 --residual full", "--residual" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":1=2 --top 3", "--forget" },
        { "generate $M -p cat -o $O/a.png --reconstruct nowhere", "nowhere" },
        { "generate $M -p cat -o $O/a.png --reconstruct " TINY_STYLES " --residual none",
          "--residual|--steer" },
        { "generate $M -p cat -o $O/a.png --reconstruct " TINY_STYLES " --forget Sketch",
          TINY_STYLES "|reconstructed|choose one" },
        { "generate $M -p cat -o $O/a.png --reconstruct " TINY_STYLES " --steer " TINY_STYLES ":1=2",
          TINY_STYLES "|reconstructed|choose one" },
        { "select $M --forget Sketch --steer " TINY_STYLES ":1=2", "--steer" },
        { "generate $M -p cat -o $O/a.png --inject", "--inject|value" },
        { "generate $M -p cat -o $O/a.png --inject noise", "--inject|NAME=FILE.npy" },
        { "generate $M -p cat -o $O/a.png --inject =x.npy", "--inject|NAME=FILE.npy" },
        { "generate $M -p cat -o $O/a.png --inject noise=", "--inject|NAME=FILE.npy" },
        { "generate $M -p \"$(printf 'a\\377b')\" -o $O/a.png", "UTF-8" },
        { "generate $M -p cat -n \"$(printf 'a\\377b')\" -o $O/a.png", "UTF-8" },
        { "tokenize $M", "text" }, { "tokenize $M a cat", "one text" },
        { "tokenize $M \"$(printf '\\300\\200')\"", "UTF-8" },
        { "generate $M -p cat -o ''", "--out" }, { "encode $M cat -o ''", "--out" }, { "encode $M", "text" },
        { "encode $M cat", "--out" }, { "encode $M cat -o $O/e.npy --forget Cats", "--forget" },
        { "encode $M cat --image $T/a.png -o $O/e.npy", "--image|one at a time" },
        { "encode $M cat --latents -o $O/e.npy", "--latents|--image" },
        { "encode $M --image $T/a.png", "--out" },
        { "encode $M --image", "--image|value" },
        { "generate $M -p cat -o $O/a.png --image $T/a.png", "--image" },
        { "select $M", "--forget" }, { "select $M --forget Sketch --explain", "--prompt" },
        { "select $M --forget Sketch --at 4", "--at|4 steps" },
        { "select $M --forget Sketch --explain -p cat --at 4", "--at|4 steps" },
        { "select $M --forget Nobody", "Nobody" }, { "select $M --forget Sketch dog", "dog" },
        { "info $M a b", "one folder or file" }, { "digest", "no file" },
        { "digest $T/model/concepts.json", "concepts.json" },
        { "generate $M \"--$(printf 'a\\nb')\" -p cat", "--a?b" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].arguments, 2, cases[i].words);
    CHECK(run("") == 2 && strstr(out, "generate") && !*err,
          "without arguments: the commands, and exit code 2");
}

/* ---- files that are not there, or not what they should be: exit code 1 ---- */

/* 0 is no word for "as usual": each option that counts refuses it, whatever the command. */
static void zeros(void)
{
    static const struct { const char *command; const char *const options[8]; } cases[] = {
        { "generate $M -p cat -o $O/a.png --forget Sketch", { "--count", "--steps", "--height", "--width",
                                                              "--batch", "--threads", "--top" } },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a", { "--every", "--first" } },
        { "stats $M --hook " TINY_STYLES " -o $O/a", { "--lines" } },
        { "train --data $T/acts.safetensors -o $O/a", { "--buffer", "--every", "--latents", "--expansion",
                                                        "--k", "--batch", "--epochs" } },
        { "train --data $T/acts.safetensors -o $O/a", { "--checkpoint-every", "--log-every" } },
        { "bench $M", { "--runs" } },
        { "generate $M -p cat -o $O/a.png --forget Sketch", { "--min-lift" } },
    };
    char line[300], words[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t j = 0; j < 8 && cases[i].options[j]; j++) {
            snprintf(line, sizeof line, "%s %s 0", cases[i].command, cases[i].options[j]);
            snprintf(words, sizeof words, "%s %s", cases[i].options[j],
                     strcmp(cases[i].options[j], "--min-lift") ? "wants a whole number from 1"
                                                               : "must be above 0");
            refused(line, 2, words);
        }
}

/* Each names the path. */
static void missing_files(void)
{
    static const struct { const char *arguments, *words; } cases[] = {
        { "generate -m $T/nowhere -p cat -o $O/a.png", "/nowhere/" },
        { "generate -m $T/model/concepts.json -p cat -o $O/a.png", "concepts.json" },
        { "generate $M --prompts $T/nowhere.txt -o $O/a.png", "nowhere.txt" },
        { "generate $M --prompts $T -o $O/a.png", "folder" },
        { "generate $M -p cat --noise $T/nowhere.npy -o $O/a.png", "nowhere.npy" },
        { "tokenize -m $T/nowhere cat", "/nowhere/" },
        { "encode -m $T/nowhere cat -o $O/e.npy", "/nowhere/" },
        { "encode $M --image $T/nowhere.png -o $O/e.npy", "nowhere.png" },
        { "select -m $T/nowhere --forget Sketch", "/nowhere/" }, { "info $T/nowhere", "/nowhere" },
        { "info $T/nowhere.safetensors", "nowhere.safetensors" },
        { "info $T/nowhere.png", "nowhere.png" }, { "digest $T/nowhere.npy", "nowhere.npy" },
        { "digest $T/nowhere.png", "nowhere.png" },
        { "digest $T/nowhere.safetensors", "nowhere.safetensors" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --stats $T/nowhere.safetensors",
          "nowhere.safetensors" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --sae "
          TINY_STYLES "=$T/nowhere --stats $T/model/sae/" TINY_STYLES "/stats.safetensors", "/nowhere" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --sae " TINY_STYLES "=$T/nowhere",
          "/nowhere/stats.safetensors" },
        { "generate $M -p cat -o $O/a.png --forget Sketch --stats "
          "$T/model/unet/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors" },
        { "generate $M -p cat -o $O/a.png --steer mid_block.attentions.0:1=2",
          "sae/mid_block.attentions.0|--sae" },
        { "generate $M -p cat -o $O/a.png --reconstruct mid_block.attentions.0",
          "sae/mid_block.attentions.0|--sae" },
        { "generate $M -p cat -o $O/a.png --steer " TINY_STYLES ":1=2 --sae " TINY_STYLES "=$T/nowhere",
          "/nowhere" },
        { "generate $M -p cat -o $O/a.png --inject noise=$T/nowhere.npy", "nowhere.npy" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].arguments, 1, cases[i].words);
    shell("mkdir $T/bare && cp -r $T/model/* $T/bare && rm -r $T/bare/sae");
    refused("generate -m $T/bare --threads 1 -q -p cat -o $O/a.png --forget Sketch", 1, "/sae/|--sae");
    shell("printf 'cat\\n\\0dog\\n' >$T/nul.txt; printf '\\n\\n\\r\\n' >$T/empty.txt; : >$T/zero.txt");
    refused("generate $M --prompts $T/nul.txt -o $O/", 1, "nul.txt: line 2|NUL");
    refused("generate $M --prompts $T/empty.txt -o $O/", 1, "empty.txt|no prompt");
    refused("generate $M --prompts $T/zero.txt -o $O/", 1, "zero.txt|no prompt");
    shell("rm -r $T/bare");
}

/* A file of prompts is looked at whole before the first picture is drawn; the message says which line. */
static void damaged_prompts(void)
{
    static const struct { const char *make, *words; } cases[] = {
        { "printf 'cat\n\ndog\n\377\n'", "f.txt: line 4|UTF-8|byte 0 (0xFF)" },
        { "printf 'cat\na\303'", "f.txt: line 2|UTF-8|byte 1" },
        { "printf '\357\273\277cat\n\355\240\200'", "f.txt: line 2|UTF-8" },
        { "printf 'c\\0a\\0t\\0'", "f.txt: line 1|NUL byte" },
        { "{ echo cat; head -c 1048577 /dev/zero | tr '\\0' x; }", "f.txt: line 2|too long|1048576" },
        { "printf '\357\273\277'", "f.txt|no prompt" },
        { "echo version https://git-lfs.github.com/spec/v1", "f.txt|Git LFS" },
        { "echo '<!DOCTYPE html>'", "f.txt|web page" },
    };
    static const char *const commands[] = {
        "generate $M --prompts $T/f.txt -o $O/ --batch 1",
        "collect $M --hook " TINY_STYLES " --prompts $T/f.txt -o $O/a.safetensors",
    };
    prepare();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[200];
        snprintf(line, sizeof line, "%s >$T/f.txt", cases[i].make);
        shell(line);
        for (size_t k = 0; k < sizeof commands / sizeof *commands; k++)
            refused(commands[k], 1, cases[i].words);
    }
    refused("generate $M -p cat -n \"$(printf 'a\\377b')\" --cfg 1 -o $O/a.png", 2,
            "negative_prompt|--negative");
}

/* A copy of the model with one file altered goes to $T/bad; the command must fail and name that file. */
static void damaged(const char *name, const char *what, const char *words, const char *more)
{
    static tiny t;
    char  path[300], line[300];
    tiny_file *f;
    size_t n;
    tiny_make(&t);
    f = tiny_find(&t, name);
    if (!strncmp(what, "cut ", 4)) {
        n = (size_t)strtoul(what + 4, NULL, 10);
        f->size = n < f->size ? n : f->size - (n - 1000000);
    } else if (!strncmp(what, "put ", 4)) {
        tiny_text(&t, name, what + 4);
    } else if (!strncmp(what, "header ", 7)) { /* another header size */
        uint64_t size = strtoull(what + 7, NULL, 10);
        for (int i = 0; i < 8; i++, size >>= 8)
            f->bytes[i] = (unsigned char)(size & 255);
    } else {
        char from[128];
        n = strcspn(what, "|");
        snprintf(from, sizeof from, "%.*s", (int)n, what);
        tiny_edit(&t, name, from, what + n + 1);
    }
    f = tiny_find(&t, name);
    snprintf(path, sizeof path, "%s/bad/%s", test_tmp(), name);
    test_write_file(path, f->bytes, f->size);
    snprintf(line, sizeof line, "generate -m $T/bad --threads 1 -q -p cat -o $O/a.png --steps 4 %s", more);
    refused(line, 1, words);
    tiny_free(&t);
    tiny_make(&t);
    f = tiny_find(&t, name);
    test_write_file(path, f->bytes, f->size);
    tiny_free(&t);
}

/* Truncated and hostile safetensors, JSON of every file, wrong shapes and dtypes, NaN. */
static void damaged_models(void)
{
    static const char u[] = "unet/diffusion_pytorch_model.safetensors",
        v[] = "vae/diffusion_pytorch_model.safetensors";
    static const char s[] = "sae/" TINY_STYLES "/stats.safetensors",
        a[] = "sae/" TINY_STYLES "/sae.safetensors";
    static const struct { const char *file, *what, *words, *more; } cases[] = {
        { u, "cut 0", u, "" }, { u, "cut 7", u, "" }, { u, "cut 100", u, "" }, { u, "cut 20000", u, "" },
        { u, "cut 1000001", u, "" }, { u, "cut 1050000", u, "" },
        { u, "header 0", u, "" }, { u, "header 18446744073709551615", u, "" },
        { u, "header 4000000000", u, "" }, { u, "header 5", u, "" },
        { u, "put not a model", u, "" }, { u, "conv_in.weight|conv_in.height", "conv_in", "" },
        { u, "\"F32\"|\"F99\"", "F99", "" }, { u, "\"F32\"|\"I16\"", u, "" },
        { u, "[16,4,3,3]|[16,4,9,1]", "conv_in.weight|[16, 4, 9, 1]|[16, 4, 3, 3]", "" },
        { u, "[16,4,3,3]|[99999999]", "conv_in.weight", "" },
        { u, "[16,4,3,3]|[-6,4,3,3]", "conv_in.weight", "" },
        { u, "\"data_offsets\":[0,|\"data_offsets\":[1,", u, "" },
        { u, "\"data_offsets\":[0,|\"data_offsets\":[9,", u, "" },
        { u, "{\"conv_in.weight\"|{\"\\u001b[31m\\nxx\"", u, "" },
        { v, "cut 100", v, "" }, { v, "decoder.conv_in|decoder.conv_on", "decoder.conv_in", "" },
        { "unet/config.json", "put {", "unet/config.json", "" },
        { "unet/config.json", "put ", "unet/config.json", "" },
        { "unet/config.json", "put []", "unet/config.json", "" },
        { "unet/config.json", "put {\"a\":1,\"a\":2}", "unet/config.json", "" },
        { "unet/config.json", "0.|0..", "unet/config.json", "" },
        { "unet/config.json", "1e-05|1e-05, \"mystery\": 7", "unet/config.json|mystery", "" },
        { "vae/config.json", "[8, 16]|8", "vae/config.json|block_out_channels", "" },
        { "scheduler/scheduler_config.json", "scaled_linear|cosine", "scheduler_config.json|beta_schedule",
          "" },
        { "text_encoder/config.json", "quick_gelu|relu", "text_encoder/config.json|hidden_act", "" },
        { "concepts.json", "put nothing", "concepts.json", "" },
        { "tokenizer/vocab.json", "put {\"a\": -1}", "vocab.json", "" },
        { "tokenizer/merges.txt", "put a b c d", "merges.txt", "" },
        { s, "cut 90", s, "--forget Sketch" },
        { s, "751, |7x1, ", "stats.safetensors|timesteps", "--forget Sketch" },
        { a, "cut 1000100", a, "--forget Sketch" }, { a, "W_dec|W_doc", "W_dec", "--forget Sketch" },
        { "sae/" TINY_STYLES "/cfg.json", "\"k\": 8|\"k\": 4096", "cfg.json", "--forget Sketch" },
        { "sae/" TINY_STYLES "/forget.json", "put {\"Sketch\": {\"top\": \"all\"}}", "forget.json",
          "--forget Sketch" },
        { "sae/" TINY_STYLES "/forget.json", "put {\"Sketch\": {\"window\": [3, 1]}}", "forget.json|window",
          "--forget Sketch" },
        { "sae/" TINY_STYLES "/forget.json", "put {\"Sketch\": {\"half\": \"left\"}}",
          "forget.json|half|both", "--forget Sketch" },
        { "sae/" TINY_STYLES "/forget.json", "put {\"Sketch\": {\"window\": [1]}}", "forget.json|window",
          "--forget Sketch" },
        { "sae/" TINY_STYLES "/forget.json", "put {\"Sketch\": {\"window\": 20}}", "forget.json|window",
          "--forget Sketch" },
    };
    static tiny_list l;
    static tiny t;
    prepare();
    shell("mkdir $T/bad && cp -r $T/model/* $T/bad");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(cases[i].what, "0.|0..")) /* (no such text in it) */
            damaged(cases[i].file, cases[i].what, cases[i].words, cases[i].more);
    /* deep nesting must neither be believed nor overflow the stack */
    memset(bytes[0], '[', 200000);
    test_write_file(at("bad/unet/config.json"), bytes[0], 200000);
    refused("info $T/bad", 1, "unet/config.json");
    shell("cp $T/model/unet/config.json $T/bad/unet");
    tiny_make(&t);
    tiny_tensors(&l, "vae");
    memset(tiny_tensor_named(&l, "decoder.conv_out.bias")->values, 0xff, 3 * sizeof(float));
    tiny_save(&t, v, &l, 0, l.count, NULL);
    test_write_file(at("bad/vae/diffusion_pytorch_model.safetensors"), tiny_find(&t, v)->bytes,
                    tiny_find(&t, v)->size);
    refused("generate -m $T/bad --threads 1 -q -p cat -o $O/a.png", 1, "decoder.conv_out.bias|not finite");
    tiny_drop(&l);
    tiny_free(&t);
    shell("rm -r $T/bad");
}

/* Noise and pictures that are damaged or of another kind. What a picture's header and texts say is known
 * before its pixels are: of 16 x 15 whose IDAT is "no zlib". */
static void damaged_inputs(void)
{
    static const char no_pixels[] =
        "\211\120\116\107\015\012\032\012\000\000\000\015\111\110\104\122\000\000\000\020\000\000\000"
        "\017\010\000\000\000\000\310\030\020\363\000\000\000\006\164\105\130\164\163\145\145\144\000"
        "\067\061\066\121\007\000\000\000\007\111\104\101\124\156\157\040\172\154\151\142\370\160\334"
        "\061\000\000\000\000\111\105\116\104\256\102\140\202";
    static const size_t shape[4] = { 1, 4, 8, 8 }, wrong[4] = { 1, 8, 4, 8 };
    static float noise[256];
    prepare();
    for (size_t i = 0; i < 256; i++)
        noise[i] = 0.5f;
    CHECK(npy_save(NULL, at("n.npy"), noise, shape, 4, NULL) == SAEURON_OK &&
          npy_save(NULL, at("wrong.npy"), noise, wrong, 4, NULL) == SAEURON_OK, "cannot save");
    works("generate $M -p cat -o $O/a.png --noise $T/n.npy");
    shell("cp $O/a.png $T/good.png; head -c 200 $T/n.npy >$T/cut.npy; head -c 300 $T/good.png >$T/cut.png; "
          "echo picture >$T/no.png; : >$T/zero.png; : >$T/zero.npy");
    clean();
    refused("generate $M -p cat -o $O/a.png --noise $T/wrong.npy", 1, "wrong.npy|[1, 4, 8, 8]");
    refused("generate $M -p cat -o $O/ --count 2 --noise $T/n.npy", 1, "n.npy|[2, 4, 8, 8]");
    refused("generate $M -p cat -o $O/a.png --noise $T/cut.npy", 1, "cut.npy|cut short");
    refused("generate $M -p cat -o $O/a.png --noise $T/zero.npy", 1, "zero.npy");
    refused("generate $M -p cat -o $O/a.png --noise $T/good.png", 1, "good.png");
    noise[7] = (float)(1e30 * 1e30);
    npy_save(NULL, at("inf.npy"), noise, shape, 4, NULL);
    refused("generate $M -p cat -o $O/a.png --noise $T/inf.npy", 1, "inf.npy|element 7");
    refused("encode $M --image $T/cut.png -o $O/e.npy", 1, "cut.png");
    refused("encode $M --image $T/no.png -o $O/e.npy", 1, "no.png|PNG");
    refused("encode $M --image $T/zero.png -o $O/e.npy", 1, "zero.png");
    refused("encode $M --image $T/n.npy -o $O/e.npy", 1, "n.npy|PNG");
    refused("encode $M --image $T -o $O/e.npy", 1, "folder");
    CHECK(png_save(NULL, at("odd.png"), bytes[1], 16, 15, NULL, NULL) == SAEURON_OK, "cannot save");
    refused("encode $M --image $T/odd.png -o $O/e.npy", 1, "odd.png|16 x 15|multiples of 2");
    refused("encode $M --image $T/odd.png --latents -o $O/e.npy", 1, "odd.png|16 x 15|multiples of 2");
    test_write_file(at("pixels.png"), no_pixels, sizeof no_pixels - 1);
    refused("encode $M --image $T/pixels.png -o $O/e.npy", 1, "pixels.png|16 x 15|multiples of 2");
    refused("digest $T/pixels.png", 1, "pixels.png|compressed pixels");
    works("info $T/pixels.png");
    printed("16 x 15\n|seed = 7\n");
    refused("info $T/cut.png", 1, "cut.png");
    refused("info $T/no.png", 1, "no.png");
    refused("digest $T/zero.png", 1, "zero.png");
    refused("digest $T/cut.npy", 1, "cut.npy");
    const size_t n = read_file(at("good.png"), bytes[0], sizeof bytes[0]);
    bytes[0][n / 2] ^= 4;
    test_write_file(at("flipped.png"), bytes[0], n);
    refused("digest $T/flipped.png", 1, "flipped.png");
}

/* ---- output that cannot be written: exit code 1, nothing half-written ---- */

/* Each is found before the sampling, not after: noise of 1e38 would make that fail first. */
static void unwritable(void)
{
    static const struct { const char *arguments, *words; } cases[] = {
        { "generate $M -p cat -o $T/no/such/a.png --noise $T/huge1.npy", "/no/such/a.png" },
        { "generate $M -p cat -o $T/model/concepts.json/a.png --noise $T/huge1.npy", "concepts.json/a.png" },
        { "generate $M -p cat -o $T/model --noise $T/huge1.npy", "/model|folder" },
        { "generate $M -p cat -o $T/model/concepts.json --count 2 --noise $T/huge2.npy", "concepts.json" },
        { "generate $M -p cat -o $T/model/concepts.json/ --noise $T/huge1.npy", "concepts.json" },
        { "generate $M -p cat -o /proc/a.png --noise $T/huge1.npy", "/proc/a.png" },
        { "generate $M -p cat -o /proc/ --noise $T/huge1.npy", "/proc/00000.png" },
        { "generate $M -p cat -o $O/a.png --dump /proc/dump --noise $T/huge1.npy", "/proc/dump" },
        { "generate $M -p cat -o $O/a.png --dump $T/model/concepts.json --noise $T/huge1.npy",
          "concepts.json" },
        { "encode $M cat -o $T/no/such/e.npy", "/no/such/e.npy" },
        { "encode $M cat -o /proc/e.npy", "/proc/e.npy" },
        { "encode $M --image $T/black.png -o $T/no/such/e.npy", "/no/such/e.npy" },
        { "encode $M --image $T/black.png --latents -o $T/model", "/model" },
    };
    static const size_t shape[2][4] = { { 1, 4, 8, 8 }, { 2, 4, 8, 8 } };
    static float noise[512];
    prepare();
    for (size_t i = 0; i < 512; i++)
        noise[i] = i % 2 ? 1e38f : -1e38f;
    npy_save(NULL, at("huge1.npy"), noise, shape[0], 4, NULL);
    npy_save(NULL, at("huge2.npy"), noise, shape[1], 4, NULL);
    memset(bytes[0], 0, TINY_PIXELS);
    CHECK(png_save(NULL, at("black.png"), bytes[0], 16, 16, NULL, NULL) == SAEURON_OK, "cannot save");
    refused("generate $M -p cat -o $O/a.png --noise $T/huge1.npy --cfg 9000", 2, "--noise|element 0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[300];
        snprintf(line, sizeof line, "%s%s", cases[i].arguments, cases[i].arguments[0] == 'g' ? " --cfg 9000"
                 : "");
        refused(line, 1, cases[i].words);
        CHECK(!strstr(err, "not finite"), "%s: found only after sampling", line);
    }
    if (geteuid() != 0) {
        shell("mkdir $T/locked && chmod 555 $T/locked");
        refused("generate $M -p cat -o $T/locked/a.png", 1, "locked/a.png");
        shell("chmod 755 $T/locked && rmdir $T/locked");
    }
}

/* A reader that has ended is no full disk. */
static void closed_pipe(void)
{
    prepare();
    const int code = run_in("trap '' PIPE; mkfifo $T/nobody; exec 3<>$T/nobody 4>$T/nobody 3>&-;",
                            "--version", ">&4");
    check_refusal("--version", code, 1, "standard output|the program that reads it has ended");
    remove(at("nobody"));
}

/* /dev/full for stdout and for files; a limit on file size stands for a disk that fills while writing. */
static void full_disk(void)
{
    static const char *const printing[] = { "tokenize $M cat", "select $M --forget Sketch",
                                            "info $T/model --threads 1",
                                                "digest $T/model/vae/diffusion_pytorch_model.safetensors",
                                                    "--version", "generate --help" };
    prepare();
    if (access("/dev/full", W_OK) != 0) {
        test_skip("no /dev/full here");
        return;
    }
    for (size_t i = 0; i < sizeof printing / sizeof *printing; i++) {
        const int code = run_in("", printing[i], ">/dev/full");
        check_refusal(printing[i], code, 1, "standard output");
    }
    refused("generate $M -p cat -o /dev/full", 1, "/dev/full");
    refused("encode $M cat -o /dev/full", 1, "/dev/full");
    CHECK(png_save(NULL, at("black.png"), bytes[1], 64, 64, NULL, NULL) == SAEURON_OK, "cannot save");
    refused("encode $M --image $T/black.png -o /dev/full", 1, "/dev/full");
    for (int ignored = 0; ignored < 2; ignored++) {
        /* 1024 bytes: LLVM's OpenMP needs a file of so many */
        const char *const limit = ignored ? "trap '' XFSZ; ulimit -f 2; " : "ulimit -f 2; ";
        static const char *const writing[] = { "encode $M cat -o $O/e.npy",
                                               "generate $M -p cat -o $O/a.png --width 64 --height 64",
                                                   "generate $M -p cat -o $O/a.png --dump $O",
                                                       "encode $M --image $T/black.png -o $O/e.npy" };
        for (size_t i = 0; i < sizeof writing / sizeof *writing; i++) {
            char line[300];
            /* no limit on cat */
            snprintf(line, sizeof line, "(%s $S %s 2>&1 >/dev/null </dev/null; echo $?) | cat >$T/stderr",
                     limit, writing[i]);
            shell(line);
            err[read_file(at("stderr"), err, sizeof err - 1)] = 0;
            char *last = strrchr(err, '\n') ? strrchr(err, '\n') - 1 : err; /* its exit code */
            CHECK(last > err && *last == '1', "%s: no error although the file cannot grow", writing[i]);
            *last = 0;
            check_refusal(writing[i], 1, 1, i % 3 == 0 ? "e.npy" : i == 1 ? "a.png" : ".npy");
        }
    }
    /* what was there before stays */
    shell("echo old >$O/a.png");
    shell("ulimit -f 2; $S generate $M -p cat -o $O/a.png --width 64 --height 64 >/dev/null 2>&1");
    CHECK(shell("echo old | cmp -s - $O/a.png") == 0 && entries("out") == 1,
          "a failed write damaged the file that was there");
    clean();
}

/* Too little memory at any point: one line, no crash. The limit is on the address space; skipped where
 * even --version needs more. */
static void little_memory(void)
{
    char before[64], line[400];
    bool succeeded = false;
    int  tried = 0;
    prepare();
    if (run_in("ulimit -v 400000;", "--version", "") != 0) {
        test_skip("a limit on memory stops this build from starting");
        return;
    }
    const int code = run_in("ulimit -v 400000;", "generate $M -p cat -o $O/a.png --width 8192 --height 8192",
                            "");
    check_refusal("generate --width 8192", code, 1, "memory");
    const int limited = run("generate $M -p cat -o $O/a.png --width 4096 --height 4096 --max-memory 100");
    check_refusal("--max-memory 100", limited, 1, "no memory for the|smaller batch, height or width");
    works("generate $M -p cat -o $O/a.png --steps 1 --max-memory 1000");
    clean();
    unsigned char *black = calloc(2048 * 2048, 3);
    CHECK(black && png_save(NULL, at("large.png"), black, 2048, 2048, NULL, NULL) == SAEURON_OK,
          "cannot save");
    free(black);
    check_refusal("encode --image", run_in("ulimit -v 400000;", "encode $M --image $T/large.png -o $O/e.npy",
                                           ""), 1, "memory|2048 x 2048");
    for (long limit = 2000; limit < 400000 && !succeeded; limit += limit < 20000 ? 150 : 10000) {
        snprintf(before, sizeof before, "ulimit -v %ld;", limit);
        snprintf(line, sizeof line, "%s $S --version >/dev/null 2>&1", before);
        if (shell(line) != 0)
            continue;
        const int got = run_in(before, "generate $M -p cat -o $O/a.png --steps 1 --forget Sketch --map-steps",
                               "");
        succeeded = got == 0;
        /* OpenMP's own few bytes failed: it says so and ends the program, whatever we do */
        if (strstr(err, "libgomp") || strstr(err, "OMP:"))
            continue;
        if (!succeeded)
            check_refusal(before, got, 1, "");
        tried++;
    }
    CHECK(succeeded && tried > 1, "%d limits were tried", tried);
    test_note("%d limits", tried);
    clean();
}

/* A stop from outside: one line, exit code 1, no half-written file. */
static void stopped(void)
{
    const int code = run_in("", "generate $M -p cat -o $O/a.png --steps 999 --width 64 --height 64",
                            "& p=$!; sleep 0.4; kill -TERM $p; wait $p");
    check_refusal("generate, stopped", code, 1, "stopped at step|of 999");
}

/* ---- what must work ---- */

/* The same command gives the same bytes, whatever threads, kernels and batch; another
 * seed another picture. */
static void generates(void)
{
    works("generate $M -p 'a cat' -o $O/a.png");
    CHECK(strstr(out, "/out/a.png\n") && lines_of(out) == 1, "stdout is \"%s\", not the path", out);
    works("generate $M -p 'a cat' -o $O/b.png");
    CHECK(same_files(at("out/a.png"), at("out/b.png")), "the same command gives other bytes");
    works("generate $M -p 'a cat' -o $O/b.png --threads 2 --isa scalar --batch 3 --cfg 3 --steps 4 --seed 0 "
          "--residual paper --forget Sketch --percentile 100");
    CHECK(!same_files(at("out/a.png"), at("out/b.png")), "a picture says what was forgotten");
    shell("$S digest $O/a.png | cut -c 1-16 >$T/one; $S digest $O/b.png | cut -c 1-16 >$T/two");
    CHECK(same_files(at("one"), at("two")), "other threads, kernels or a forgetting of nothing change "
                                            "pixels");
    works("generate $M -p 'a cat' -o $O/b.png --threads 2 --isa scalar --batch 3");
    CHECK(same_files(at("out/a.png"), at("out/b.png")), "threads, kernels or batch change the file's bytes");
    works("generate $M -p 'a cat' -o $O/b.png --seed 1");
    CHECK(!same_files(at("out/a.png"), at("out/b.png")), "the seed changes nothing");
    works("generate $M --prompt='a cat' --out=$O/b.png -n dog");
    CHECK(!same_files(at("out/a.png"), at("out/b.png")), "the negative prompt changes nothing");
    CHECK(run("generate $V -p 'a cat' -o $O/b.png") == 0 && !strchr(err, '\r'),
          "progress that is not on a terminal is lines: \"%s\"", err);
    clean();
}

/* --count, --prompts: a folder of numbered pictures; each equals the one made alone with
 * its --noise-index. */
static void many_images(void)
{
    works("generate $M -p cat -o $O/ --count 11 --batch 4 --seed 9");
    CHECK(entries("out") == 11 && lines_of(out) == 11, "%d files, %zu paths", entries("out"), lines_of(out));
    works("generate $M -p cat -o $T/one.png --noise-index 9 --seed 9");
    CHECK(same_files(at("one.png"), at("out/00009.png")), "image 9 of many is not the image made alone");
    clean();
    shell("printf 'cat\\r\\n\\ndog in sketch style\\n  \\ncat' >$T/prompts.txt");
    works("generate $M --prompts $T/prompts.txt -o $O/new/folder --seed 9 --noise-index 3");
    CHECK(entries("out/new/folder") == 4, "%d files of 4 prompts", entries("out/new/folder"));
    works("generate $M -p cat -o $T/one.png --noise-index 6 --seed 9");
    CHECK(same_files(at("one.png"), at("out/new/folder/00003.png")), "the last line is not the prompt alone");
    works("generate $M -p cat -o $T/one.png --noise-index 3 --seed 9");
    CHECK(same_files(at("one.png"), at("out/new/folder/00000.png")),
          "a line's carriage return belongs to the prompt");
    works("generate $M -p cat -o $O/single/");
    CHECK(entries("out/single") == 1, "a path with a slash at its end is a folder");
    clean();
}

/* --noise FILE is the seed's noise, for every image of a run that needs several batches. */
static void noise_file(void)
{
    static float noise[11 * 256];
    static const size_t shape[4] = { 11, 4, 8, 8 };
    char a[64], b[64];
    prepare();
    rng_randn(noise, 5, 11 * 256, 0, 11 * 256);
    npy_save(NULL, at("noise.npy"), noise, shape, 4, NULL);
    works("generate $M -p cat -o $O/a/ --count 11 --noise $T/noise.npy");
    works("generate $M -p cat -o $O/b/ --count 11 --seed 5");
    for (int i = 0; i < 11; i++) {
        snprintf(a, sizeof a, "out/a/%05d.png", i);
        snprintf(b, sizeof b, "out/b/%05d.png", i);
        unsigned char *rgb[2] = { NULL, NULL };
        size_t W, H;
        CHECK(!png_load(NULL, at(a), &rgb[0], &W, &H, NULL) && !png_load(NULL, at(b), &rgb[1], &W, &H, NULL),
              "image %d is missing", i);
        CHECK(rgb[0] && rgb[1] && !memcmp(rgb[0], rgb[1], W * H * 3),
              "image %d from the file is not the seed's", i);
        io_free(NULL, rgb[0]);
        io_free(NULL, rgb[1]);
    }
    clean();
}

/* Forgetting at one hook and both, all residuals, by top, percentile and strength: every
 * choice draws another picture. */
static void forgets(void)
{
    static const char *const ways[] = {
        "", "--forget Sketch", "--forget Cats", "--forget Sketch,Cats", "--forget 'Van Gogh' --top 40",
            "--forget Sketch --top 60", "--forget Sketch --percentile 60",
        "--forget Sketch --strength -9", "--forget Sketch --residual released",
            "--forget Sketch --residual none", "--forget Dogs --top 20 --strength 0",
        "--steer " TINY_STYLES ":62=-30", "--steer unet." TINY_OBJECTS ":88=-30",
            "--steer " TINY_STYLES ":62=-30 --steer " TINY_STYLES ":6=9",
                "--steer " TINY_STYLES ":62=-30 --residual released",
        "--steer " TINY_STYLES ":62=-30 --residual none", "--steer " TINY_STYLES ":62=-30 --forget Sketch",
            "--steer " TINY_STYLES ":62=-30 --forget Cats", "--reconstruct " TINY_STYLES,
        "--reconstruct " TINY_STYLES " --reconstruct " TINY_OBJECTS,
            "--reconstruct " TINY_STYLES " --forget Cats",
    };
    enum { WAYS = sizeof ways / sizeof *ways };
    char line[300], a[32], b[32];
    for (int i = 0; i < WAYS; i++) {
        snprintf(line, sizeof line, "generate $M -p 'cat in sketch style' -o $O/%d.png %s", i, ways[i]);
        works(line);
        for (int j = 0; j < i; j++) {
            unsigned char *rgb[2] = { NULL, NULL };
            size_t W = 0, H = 0;
            snprintf(a, sizeof a, "out/%d.png", i);
            snprintf(b, sizeof b, "out/%d.png", j);
            png_load(NULL, at(a), &rgb[0], &W, &H, NULL);
            png_load(NULL, at(b), &rgb[1], &W, &H, NULL);
            CHECK(rgb[0] && rgb[1] && memcmp(rgb[0], rgb[1], W * H * 3), "\"%s\" and \"%s\" draw the same",
                  ways[i], ways[j]);
            io_free(NULL, rgb[0]);
            io_free(NULL, rgb[1]);
        }
    }
    /* the SAE named elsewhere, its hook spelt as the released folders spell it, is the same SAE */
    shell("cp -r $T/model/sae/" TINY_STYLES " $T/elsewhere");
    works("generate $M -p 'cat in sketch style' -o $O/a.png --forget Sketch --sae unet."
          TINY_STYLES "=$T/elsewhere");
    CHECK(same_files(at("out/a.png"), at("out/1.png")), "--sae draws other bits");
    works("generate $M -p 'cat in sketch style' -o $O/a.png --forget unet." TINY_STYLES ":Sketch");
    CHECK(same_files(at("out/a.png"), at("out/1.png")), "HOOK:CONCEPT draws other bits");
    works("generate $M -p 'cat in sketch style' -o $O/a.png --forget Sketch --sae "
          TINY_STYLES "=$T/elsewhere --stats $T/elsewhere/stats.safetensors");
    CHECK(same_files(at("out/a.png"), at("out/1.png")), "--stats draws other bits");
    shell("rm $T/elsewhere/stats.safetensors");
    works("generate $M -p 'cat in sketch style' -o $O/a.png --forget Sketch --sae "
          TINY_STYLES "=$T/elsewhere --stats $T/model/sae/" TINY_STYLES "/stats.safetensors");
    CHECK(same_files(at("out/a.png"), at("out/1.png")),
          "--stats without statistics beside the SAE draws other bits");
    works("generate $M -p cat -o $O/a.png --forget Sketch --steps 7 --map-steps");
    shell("rm -r $T/elsewhere");
    clean();
}

/* A strength that leaves no picture is remarked on, with forget.json's pair where that is milder. */
static void forgets_too_much(void)
{
    static const char *const line = "generate -m $T/model --threads 1 -p 'cat in sketch style' -o $O/a.png "
                                    "--forget Sketch ";
    char with[200];
    snprintf(with, sizeof with, "%s--strength -900", line);
    CHECK(run(with) == 0 && test_holds(err, "activations up to | times as long|--strength|forget.json has "
                                            "Sketch top 24 strength -4\n"), "%s", err);
    shell("cp -R $T/model $T/strong && sed -i 's/-4/-900/' $T/strong/sae/" TINY_STYLES "/forget.json");
    CHECK(run("generate -m $T/strong --threads 1 -p 'cat in sketch style' -o $O/a.png --forget Sketch") ==
              0 && strstr(err, "--strength keeps more\n"), "its own pair: %s", err);
    shell("rm -r $T/strong");
    snprintf(with, sizeof with, "%s--strength -900 -q", line);
    CHECK(run(with) == 0 && !*err, "%s", err);
    snprintf(with, sizeof with, "%s--strength 0", line);
    CHECK(run(with) == 0 && !strstr(err, "activations"), "%s", err);
    clean();
}

/* A window of steps, a lift, one half of the batch: from the command line as from forget.json, in the
 * picture's texts; a window's ends matter. */
static void forgets_in_a_window(void)
{
    static const char *const line = "generate %s -p 'cat in sketch style' --forget Sketch -o $O/%s.png %s";
    static const struct { const char *model, *picture, *more; } runs[] = {
        { "$M", "all", "" }, { "$M", "from", "--window 1-4" }, { "$M", "to", "--window 0-3" },
        { "$M", "inner", "--window 1-3" },
        { "-m $T/windowed -q", "kept", "" }, { "-m $T/windowed -q", "top", "--top 24" },
        { "$M", "lift", "--window 1-3 --min-lift 1.25" }, { "-m $T/lifted -q", "lifted", "" },
        { "$M", "half", "--half conditional" }, { "-m $T/halved -q", "halved", "" },
        { "-m $T/halved -q", "both", "--half both" }, { "-m $T/halved -q", "anew", "--top 24" },
    };
    char with[300];
    shell("cp -r $T/model $T/windowed && "
          "echo '{\"Sketch\": {\"top\": 24, \"strength\": -4, \"window\": [1, 3]}}' "
          ">$T/windowed/sae/" TINY_STYLES "/forget.json; cp -r $T/windowed $T/lifted && "
          "sed -i 's/24,/24, \"min_lift\": 1.25,/' $T/lifted/sae/" TINY_STYLES "/forget.json; "
          "cp -r $T/windowed $T/halved && "
          "sed -i 's/\"window\": .*]/\"half\": \"conditional\"/' $T/halved/sae/" TINY_STYLES "/forget.json");
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        snprintf(with, sizeof with, line, runs[i].model, runs[i].picture, runs[i].more);
        works(with);
    }
    CHECK(same_files(at("out/inner.png"), at("out/kept.png")), "forget.json's window draws otherwise");
    CHECK(same_files(at("out/all.png"), at("out/top.png")), "--top keeps forget.json's window");
    CHECK(!same_files(at("out/all.png"), at("out/from.png")) &&
          !same_files(at("out/all.png"), at("out/to.png")) &&
          !same_files(at("out/to.png"), at("out/inner.png")), "an end of the window does not matter");
    CHECK(same_files(at("out/lift.png"), at("out/lifted.png")) &&
          !same_files(at("out/lift.png"), at("out/inner.png")), "the lift is another, or does nothing");
    CHECK(same_files(at("out/half.png"), at("out/halved.png")) &&
          !same_files(at("out/half.png"), at("out/all.png")), "the half is another, or does nothing");
    CHECK(same_files(at("out/all.png"), at("out/both.png")) && same_files(at("out/all.png"),
          at("out/anew.png")), "forget.json's half stays where the caller names another, or a selection");
    works("info $O/half.png");
    printed("Sketch top 24 half conditional strength -4 sae ");
    works("info $O/inner.png");
    printed("Sketch top 24 window 1-3 strength -4 sae ");
    works("info $O/lift.png");
    printed("Sketch top 24 min-lift 1.25 window 1-3 strength -4 sae ");
    shell("rm -r $T/windowed $T/lifted $T/halved");
    clean();
}

/* The texts in a picture are what it takes to make its file again, to the byte. */
static void remade(void)
{
    static const char *const made[] = {
        "-p 'a cat' --seed 77 --noise-index 5 --steps 3 --cfg 2.1 --width 32 --height 8",
            "-p '\xC3\xA9t\xC3\xA9 \"cat\" \\ $HOME 100%' -n 'a dog' --seed 18446744073709551615",
        "-p dog --forget Sketch --residual released", "-p dog --forget Watercolor",
            "-p dog --forget 'Van Gogh' --percentile 33.3 --strength -0.1 --residual none",
        "-p '' --cfg 0.5", "-p dog --forget Sketch,Cats --top 7 --strength 2",
            "-p dog --forget Cats --steps 6 --map-steps",
        "-p dog --steer " TINY_STYLES ":62=-30.1 --steer unet." TINY_OBJECTS ":7=1e-3 --steps 3",
            "-p dog --steer " TINY_STYLES ":62=0 --residual none --forget Sketch",
        "-p dog --reconstruct unet." TINY_STYLES " --steer " TINY_OBJECTS ":127=3 --residual released",
            "-p dog --reconstruct " TINY_STYLES " --reconstruct " TINY_OBJECTS,
    };
    char line[1500], value[600], more[300];
    prepare();
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        static const struct { const char *key, *option; } texts[] = {
            { "prompt", "-p" }, { "negative_prompt", "-n" }, { "seed", "--seed" },
            { "noise_index", "--noise-index" }, { "steps", "--steps" }, { "cfg", "--cfg" },
            { "residual", "--residual" },
        };
        snprintf(line, sizeof line, "generate $M -o $O/a.png %s", made[i]);
        works(line);
        size_t n = (size_t)snprintf(line, sizeof line, "generate $M -o $O/b.png");
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            if (!said_of(NULL, at("out/a.png"), texts[k].key, value, sizeof value, NULL)) {
                setenv(texts[k].key, value, 1);
                n += (size_t)snprintf(line + n, sizeof line - n, " %s \"$%s\"", texts[k].option,
                                      texts[k].key);
            }
        CHECK(!said_of(NULL, at("out/a.png"), "size", value, sizeof value, NULL) && strchr(value, 'x'),
              "no size in the picture");
        n += (size_t)snprintf(line + n, sizeof line - n, " --width %s", value);
        char *cross = strstr(line, "--width");
        cross = cross ? strchr(cross, 'x') : NULL;
        if (cross) {
            snprintf(more, sizeof more, " --height %s", strchr(value, 'x') + 1);
            *cross = 0;
            n = strlen(line);
            n += (size_t)snprintf(line + n, sizeof line - n, "%s", more);
        }
        if (!said_of(NULL, at("out/a.png"), "map_steps", value, sizeof value, NULL))
            n += (size_t)snprintf(line + n, sizeof line - n, " --map-steps");
        /* "NAME top K strength G sae DIGEST; NAME ..." */
        if (!said_of(NULL, at("out/a.png"), "forget", value, sizeof value, NULL)) {
            char names[200] = "", how[100] = "";
            for (char *p = value; p && *p; p = strchr(p, ';') ? strchr(p, ';') + 2 : NULL) {
                char *k = strstr(p, " top ") ? strstr(p, " top ") : strstr(p, " percentile ");
                char which[16], number[32], strength[32];
                CHECK(k && sscanf(k, " %15s %31s strength %31s sae", which, number, strength) == 3,
                      "the picture says forget \"%s\"", value);
                if (!k)
                    break;
                snprintf(names + strlen(names), sizeof names - strlen(names), "%s%.*s", *names ? "," : "",
                         (int)(k - p), p);
                snprintf(how, sizeof how, " --%s %s --strength %s", which, number, strength);
            }
            setenv("FORGET", names, 1);
            snprintf(line + n, sizeof line - n, " --forget \"$FORGET\"%s", how);
        }
        for (int k = 0; k < 2; k++) /* "HOOK:LATENT=FACTOR sae DIGEST; ..." and "HOOK sae DIGEST; ..." */
            if (!said_of(NULL, at("out/a.png"), k ? "reconstruct" : "steer", value, sizeof value, NULL))
                for (char *p = value; p; p = strchr(p, ';') ? strchr(p, ';') + 2 : NULL) {
                    n = strlen(line);
                    snprintf(line + n, sizeof line - n, " --%s %.*s", k ? "reconstruct" : "steer",
                             (int)strcspn(p, " "), p);
                    CHECK(strstr(p, " sae ") == p + strcspn(p, " "), "the picture says \"%s\"", p);
                }
        works(line);
        CHECK(same_files(at("out/a.png"), at("out/b.png")), "\"%s\" is not made again by \"%s\"", made[i],
              line);
    }
    clean();
}

/* --dump: a .npy for each module and step in PyTorch's order of dimensions; the last
 * gives the picture's pixels. */
static void dumps(void)
{
    static const struct { const char *file; size_t shape[4]; int ndim; } some[] = {
        { "text_encoder.encoder.layers.1.npy", { 2, 16, 16 }, 3 },
        { "step000.unet.conv_in.npy", { 2, 16, 8, 8 }, 4 },
        { "step002.unet.time_embedding.npy", { 1, 1, 64 }, 3 },
        { "step001.unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.npy", { 2, 16, 32 }, 3 },
        { "step003.unet." TINY_STYLES ".npy", { 2, 32, 4, 4 }, 4 },
        { "step003.unet.conv_out.npy", { 2, 4, 8, 8 }, 4 }, { "prompt_embeds.npy", { 2, 16, 16 }, 3 },
        { "noise.npy", { 1, 4, 8, 8 }, 4 },
        { "step001.noise_pred.npy", { 1, 4, 8, 8 }, 4 }, { "step003.latents.npy", { 1, 4, 8, 8 }, 4 },
        { "vae.decoder.conv_out.npy", { 1, 3, 16, 16 }, 4 },
    };
    float *v = NULL;
    size_t shape[TENSOR_DIMS], W = 0, H = 0, wrong = 0;
    unsigned char *rgb = NULL;
    int ndim = 0;
    char name[160];
    works("generate $M -p cat -o $T/plain.png");
    works("generate $M -p cat -o $T/dumped.png --dump $O/d");
    CHECK(same_files(at("plain.png"), at("dumped.png")), "--dump changes the picture");
    CHECK(entries("out/d") == 2 + 2 + 4 * (23 + 3 * 6 + 2) + 8, "%d files in the dump", entries("out/d"));
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        saeuron_error e = { 0 };
        snprintf(name, sizeof name, "out/d/%s", some[i].file);
        CHECK(npy_load(NULL, at(name), &v, shape, &ndim, &e) == SAEURON_OK && ndim == some[i].ndim &&
              !memcmp(shape, some[i].shape, (size_t)ndim * sizeof *shape), "%s: %s [%zu, %zu, %zu, %zu]",
                  name, e.text, shape[0], shape[1], shape[2], shape[3]);
        if (i + 1 < sizeof some / sizeof *some)
            io_free(NULL, v);
    }
    CHECK(!png_load(NULL, at("plain.png"), &rgb, &W, &H, NULL), "no picture");
    for (size_t p = 0; rgb && v && p < 256; p++)
        for (size_t c = 0; c < 3; c++)
            wrong += rgb[3 * p + c] != nn_pixel(v[256 * c + p]);
    CHECK(rgb && v && !wrong, "%zu pixels are not what the dump holds", wrong);
    io_free(NULL, rgb);
    io_free(NULL, v);
    clean();
}

/* The values of a .npy changed, into another; some more than others, so that no norm takes it back. */
static void change_file(const char *from, const char *to)
{
    size_t shape[TENSOR_DIMS], n = 1;
    int    ndim = 0;
    float *v = NULL;
    CHECK(npy_load(NULL, from, &v, shape, &ndim, NULL) == SAEURON_OK, "cannot read %s", from);
    for (int i = 0; v && i < ndim; i++)
        n *= shape[i];
    for (size_t i = 0; v && i < n; i++)
        v[i] = i % 3 ? v[i] : 2 * v[i] + 3;
    CHECK(v && npy_save(NULL, to, v, shape, ndim, NULL) == SAEURON_OK, "cannot write %s", to);
    io_free(NULL, v);
}

/* Whether two pictures have the same pixels. */
static bool same_pixels(const char *a, const char *b)
{
    unsigned char *rgb[2] = { NULL, NULL };
    size_t W[2] = { 0, 0 }, H[2] = { 0, 0 };
    png_load(NULL, a, &rgb[0], &W[0], &H[0], NULL);
    png_load(NULL, b, &rgb[1], &W[1], &H[1], NULL);
    const bool same = rgb[0] && rgb[1] && W[0] == W[1] && H[0] == H[1] &&
        !memcmp(rgb[0], rgb[1], W[0] * H[0] * 3);
    io_free(NULL, rgb[0]);
    io_free(NULL, rgb[1]);
    return same;
}

/* Every file of a dump, injected alone where it came from, gives the same pixels; changed, others. Of an
 * edited run: what was dumped at a hook is what the edit left. A value that is shown but not used, or not
 * where it is used, would show here. */
static void injects(void)
{
    static char names[256][160];
    size_t count = 0;
    char   line[600];
    works("generate $M -p cat -o $T/dumped.png --dump $T/wires --forget Sketch --steer "
          TINY_OBJECTS ":88=-9 --steps 2 --map-steps");
    DIR *d = opendir(at("wires"));
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && count < 256)
            snprintf(names[count++], sizeof names[0], "%.*s", (int)strlen(e->d_name) - 4, e->d_name);
    if (d)
        closedir(d);
    CHECK(count == 4 + 2 * 43 + 8, "%zu files", count);
    for (size_t i = 0; i < count; i++) {
        snprintf(line, sizeof line, "generate $M -p cat -o $O/a.png --forget Sketch --steer "
                 TINY_OBJECTS ":88=-9 --steps 2 --map-steps --inject %s=$T/wires/%s.npy", names[i], names[i]);
        works(line);
        CHECK(same_pixels(at("dumped.png"), at("out/a.png")), "%s injected gives another picture", names[i]);
        snprintf(line, sizeof line, "wires/%s.npy", names[i]);
        change_file(at(line), at("changed.npy"));
        snprintf(line, sizeof line, "generate $M -p cat -o $O/a.png --forget Sketch --steer "
                 TINY_OBJECTS ":88=-9 --steps 2 --map-steps --inject %s=$T/changed.npy", names[i]);
        works(line);
        CHECK(!same_pixels(at("dumped.png"), at("out/a.png")), "%s changed gives the same picture", names[i]);
    }
    shell("rm -r $T/wires");
    clean();
}

/* Names with and without their step, several files, several images, what the picture
 * says of it, and what is refused. */
static void injects_by_name(void)
{
    works("generate $M -p cat -o $T/one.png --dump $T/wires");
    change_file(at("wires/step001.latents.npy"), at("x.npy"));
    /* every step at once is each step in turn */
    works("generate $M -p cat -o $O/a.png --inject latents=$T/x.npy");
    works("generate $M -p cat -o $O/b.png --inject step000.latents=$T/x.npy --inject step001.latents=$T/x.npy"
          " --inject step2.latents=$T/x.npy --inject step003.latents=$T/x.npy");
    CHECK(same_pixels(at("out/a.png"), at("out/b.png")) && !same_pixels(at("out/a.png"), at("one.png")),
          "a name without its step is not every step");
    /* where two meet, the last named stays; the dump holds what was injected */
    works("generate $M -p cat -o $O/b.png --inject latents=$T/wires/step000.latents.npy --inject "
          "step003.latents=$T/x.npy --dump $O/d");
    CHECK(same_pixels(at("out/a.png"), at("out/b.png")), "another picture");
    CHECK(same_files(at("x.npy"), at("out/d/step003.latents.npy")) &&
          same_files(at("wires/step000.latents.npy"), at("out/d/step002.latents.npy")),
          "the dump does not hold what was injected, or not the last named");
    works("generate $M -p cat -o $O/b.png --inject step003.latents=$T/x.npy --inject "
          "latents=$T/wires/step003.latents.npy");
    CHECK(same_pixels(at("one.png"), at("out/b.png")), "the last named does not stay");
    /* the seed's noise, dumped, starts the same run from another seed; so it does for --noise */
    works("generate $M -p cat -o $O/b.png --inject noise=$T/wires/noise.npy --seed 9");
    CHECK(same_pixels(at("one.png"), at("out/b.png")), "the noise injected is not the seed's");
    works("generate $M -p cat -o $O/b.png --noise $T/wires/noise.npy");
    CHECK(same_pixels(at("one.png"), at("out/b.png")), "the noise dumped is not what --noise reads");
    works("generate $M -p dog -o $O/b.png --inject prompt_embeds=$T/wires/prompt_embeds.npy");
    CHECK(same_pixels(at("one.png"), at("out/b.png")), "the text states injected are not the prompt's");
    /* the picture says what was injected, by name and digest */
    shell("$S digest $T/x.npy $T/wires/noise.npy | cut -c 1-16 | tr '\n' ' ' >$T/digests");
    out[read_file(at("digests"), out, sizeof out - 1)] = 0;
    char want[200];
    snprintf(want, sizeof want, "  inject = step003.latents %.16s; noise %.16s\n", out, out + 17);
    works("generate $M -p cat -o $O/a.png --inject step003.latents=$T/x.npy --inject "
          "noise=$T/wires/noise.npy");
    works("info $O/a.png");
    CHECK(strstr(out, want), "%s lacks %s", out, want);
    clean();
    /* several images: the VAE's files are by image, all others hold the batch */
    works("generate $M -p cat -o $O/two --count 2 --dump $T/wires2");
    CHECK(entries("wires2") == 4 + 4 * 43 + 2 * 8, "%d files of two images", entries("wires2"));
    change_file(at("wires2/image00001.vae.decoder.mid_block.npy"), at("x.npy"));
    works("generate $M -p cat -o $O/changed --count 2 --inject image00001.vae.decoder.mid_block=$T/x.npy");
    CHECK(same_pixels(at("out/two/00000.png"), at("out/changed/00000.png")) &&
          !same_pixels(at("out/two/00001.png"), at("out/changed/00001.png")),
              "the change is not in image 1 alone");
    works("generate $M -p cat -o $O/changed --count 2 --inject "
          "vae.decoder.mid_block=$T/wires2/image00000.vae.decoder.mid_block.npy");
    CHECK(same_pixels(at("out/two/00000.png"), at("out/changed/00000.png")) &&
          !same_pixels(at("out/two/00001.png"), at("out/changed/00001.png")),
              "a name without its image is not every image");
    works("generate $M -p cat -o $O/changed --count 2 --inject "
          "step001.unet.mid_block.resnets.1=$T/wires2/step001.unet.mid_block.resnets.1.npy");
    CHECK(same_pixels(at("out/two/00000.png"), at("out/changed/00000.png")) &&
          same_pixels(at("out/two/00001.png"), at("out/changed/00001.png")),
              "a batch injected gives other pictures");
    clean();
    /* refused before anything is computed */
    static const struct { int code; const char *arguments, *words; } cases[] = {
        { 2, "step004.latents=$T/x.npy", "step004.latents|--dump" },
        { 2, "step000.noise=$T/x.npy", "step000.noise|--dump" }, { 2, "latent=$T/x.npy", "latent|--dump" },
        { 2, "step000.unet.up_blocks.9.resnets.0=$T/x.npy", "up_blocks.9" },
        { 2, "image00000.latents=$T/x.npy", "image00000.latents" },
        { 2, "image00001.vae.decoder.conv_in=$T/wires/vae.decoder.conv_in.npy", "image00001" },
        { 2, "noise=$T/wires/noise.npy --inject noise=$T/wires/noise.npy", "noise|twice" },
        { 2, "step1.latents=$T/wires/noise.npy --inject step001.latents=$T/wires/noise.npy",
          "step001.latents|twice" },
        { 1, "noise=$T/x.npy", "x.npy|[1, 16, 8, 8]|noise|[1, 4, 8, 8]" },
        { 1, "step000.unet.conv_in=$T/wires/prompt_embeds.npy",
          "prompt_embeds.npy|[2, 16, 16]|[2, 16, 8, 8]" },
        { 1, "prompt_embeds=$T/wires/noise.npy", "noise.npy|[1, 4, 8, 8]|prompt_embeds|[2, 16, 16]" },
        { 1, "noise=$T/one.png", "one.png" }, { 1, "noise=$T/wires", "/wires|folder" },
        { 1, "noise=$T/wires2/noise.npy", "[2, 4, 8, 8]|[1, 4, 8, 8]" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[400];
        snprintf(line, sizeof line, "generate $M -p cat -o $O/a.png --inject %s", cases[i].arguments);
        refused(line, cases[i].code, cases[i].words);
    }
    shell("rm -r $T/wires $T/wires2");
}

/* --json of every command: one JSON value a line, its strings escaped. */
static void json_output(void)
{
    static const struct { const char *arguments; size_t lines; } cases[] = {
        { "generate $M -p 'say \"cat\" \\ \xC3\xA9' -o $O/a.png --json --forget Sketch,Cats", 1 },
        { "tokenize $M --json 'a \"cat\"'", 1 }, { "tokenize $M --json --strings 'a \"cat\" \\'", 1 },
        { "generate $M -p cat -o $O/b.png --json --steer " TINY_STYLES ":62=-30 --reconstruct " TINY_OBJECTS,
          1 },
        { "select $M --json --forget Sketch", 96 },
        { "select $M --json -q --forget Sketch --explain -p cat --limit 5", 5 }, { "info $M --json", 1 },
        { "info --json $T/model/vae/diffusion_pytorch_model.safetensors", 1 }, { "info --json $O/a.png", 1 },
        { "info --json $T/model/sae/" TINY_STYLES, 1 },
        { "digest --json $O/a.png", 1 },
        { "digest --json $T/model/sae/" TINY_STYLES "/stats.safetensors", 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        works(cases[i].arguments);
        CHECK(json_lines(out) == cases[i].lines, "saeuron %s: %zu lines, not %zu", cases[i].arguments,
              lines_of(out), cases[i].lines);
    }
    clean();
}

/* Names from a hostile file reach the terminal and JSON harmless. */
static void hostile_names(void)
{
    static tiny_list l;
    static tiny t;
    prepare();
    tiny_make(&t);
    tiny_tensor_add(&l, "a\\u001b[31m\\\"b\\\\c\\nd", DT_F32, 2,
                    (size_t[]){ TINY_STEPS, 128 })->values[3] = 1;
    tiny_save(&t, "sae/" TINY_STYLES "/stats.safetensors", &l, 0, 1,
              "{\"timesteps\":\"751,501,251,1\",\"k\\u001b\":\"v\\nw\"}");
    tiny_write(&t, at("hostile"));
    static const char *const commands[] = { "info --threads 1 $T/hostile",
                                            "info $T/hostile/sae/" TINY_STYLES "/stats.safetensors",
                                                "digest $T/hostile/sae/" TINY_STYLES "/stats.safetensors" };
    for (size_t i = 0; i < 3; i++) {
        works(commands[i]);
        CHECK(!strchr(out, 27), "%s: an escape character reaches the terminal", commands[i]);
    }
    setenv("N", "a\x1b[31m\"b\\c\nd", 1);
    works("select -m $T/hostile --threads 1 -q --json --forget \"$N\" --top 1");
    CHECK(json_lines(out) == 4, "%zu lines", lines_of(out));
    works("select -m $T/hostile --threads 1 -q --forget \"$N\" --top 1");
    CHECK(!strchr(out, 27) && lines_of(out) == 5,
          "an escape character reaches the terminal, or a name breaks the line");
    works("digest --json $T/hostile/sae/" TINY_STYLES "/stats.safetensors");
    CHECK(json_lines(out) == 1, "%zu lines", lines_of(out));
    tiny_drop(&l);
    tiny_free(&t);
    shell("rm -r $T/hostile");
}

/* Ids on one line, with pieces one a line; what is cut is said once, on stderr. */
static void tokenizes(void)
{
    works("tokenize $M 'Cat  sketch'");
    CHECK(!strcmp(out, "523 513 522 524 524 524 524 524 524 524 524 524 524 524 524 524\n"), "ids are %s",
          out);
    works("tokenize $M --strings 'Cat  sketch'");
    CHECK(lines_of(out) == 16 && strstr(out, "513\tcat</w>\n522\tsketch</w>\n"), "pieces are %s", out);
    CHECK(run("tokenize $V 'a b c d e f g h i j k l m n o p q'") == 0 && lines_of(err) == 1 &&
          strstr(err, "3 tokens"), "nothing is said of the cut: \"%s\"", err);
    works("tokenize $M 'a b c d e f g h i j k l m n o p q'");
    works("tokenize $M -- -q");
}

/* encode writes what saeuron_encode_text gives. */
static void encodes(void)
{
    static tiny t;
    static float states[16 * 16];
    size_t shape[TENSOR_DIMS];
    int    ndim = 0;
    float *v = NULL;
    saeuron_context *x = NULL;
    works("encode $M 'the sea' -o $O/e.npy");
    CHECK(strstr(out, "out/e.npy\n"), "stdout is %s", out);
    works("encode $M 'the sea' -o $O/e.npy --json");
    CHECK(json_lines(out) == 1 && test_holds(out, "{\"path\": \"|out/e.npy\"}"), "stdout is %s", out);
    tiny_make(&t);
    const saeuron_host host = tiny_host(&t);
    CHECK(!saeuron_open(&x, &host, "tiny", NULL) && !saeuron_encode_text(x, "the sea", states, NULL),
          "cannot encode");
    CHECK(!npy_load(NULL, at("out/e.npy"), &v, shape, &ndim, NULL) && ndim == 2 && shape[0] == 16 &&
          shape[1] == 16 && !memcmp(v, states, sizeof states), "the states differ");
    io_free(NULL, v);
    saeuron_close(x);
    tiny_free(&t);
    clean();
}

/* encode --image writes what saeuron_encode_image gives, with --latents what
 * saeuron_mode makes of it; --noise reads that. */
static void encodes_pictures(void)
{
    static tiny t;
    static float moments[768], latents[384];
    static const size_t shapes[2][4] = { { 8, 8, 12 }, { 1, 4, 8, 12 } };
    size_t shape[TENSOR_DIMS], W = 0, H = 0;
    unsigned char *rgb = NULL;
    int    ndim = 0;
    float *v = NULL;
    saeuron_context *x = NULL;
    works("generate $M -p cat --width 24 -o $T/cat.png");
    works("encode $M --image $T/cat.png -o $O/m.npy");
    CHECK(strstr(out, "out/m.npy\n") && lines_of(out) == 1, "stdout is %s", out);
    works("encode $M --image $T/cat.png -o $O/z.npy --latents --threads 2");
    tiny_make(&t);
    const saeuron_host host = tiny_host(&t);
    CHECK(!saeuron_open(&x, &host, "tiny", NULL) && !png_load(NULL, at("cat.png"), &rgb, &W, &H, NULL) &&
          !saeuron_encode_image(x, rgb, W, H, moments, NULL), "cannot encode");
    saeuron_mode(x, latents, moments, 384);
    for (int i = 0; i < 2; i++) {
        CHECK(!npy_load(NULL, at(i ? "out/z.npy" : "out/m.npy"), &v, shape, &ndim, NULL) && ndim == 3 + i &&
              !memcmp(shape, shapes[i], (size_t)ndim * sizeof *shape) &&
                  !memcmp(v, i ? latents : moments, i ? sizeof latents : sizeof moments), "%s differ", i
                      ? "the latents" : "the moments");
        io_free(NULL, v);
    }
    works("generate $M -p cat --width 24 -o $O/a.png --noise $O/z.npy");
    io_free(NULL, rgb);
    saeuron_close(x);
    tiny_free(&t);
    clean();
    /* a folder whose VAE came without its encoder draws, and names its file */
    shell("cp -r $T/model $T/drawer");
    static tiny_list l, kept;
    tiny_make(&t);
    tiny_tensors(&l, "vae");
    for (size_t i = 0; i < l.count; i++)
        if (strncmp(l.at[i].name, "encoder.", 8) && strncmp(l.at[i].name, "quant_conv", 10))
            kept.at[kept.count++] = l.at[i];
    tiny_save(&t, "vae/diffusion_pytorch_model.safetensors", &kept, 0, kept.count, NULL);
    tiny_drop(&l);
    tiny_write(&t, at("drawer"));
    tiny_free(&t);
    works("generate -m $T/drawer --threads 1 -q -p cat -o $T/drawn.png");
    refused("encode -m $T/drawer --threads 1 -q --image $T/cat.png -o $O/e.npy", 1,
            "drawer/vae/diffusion_pytorch_model.safetensors|no encoder");
    shell("rm -r $T/drawer");
}

/* select: K rows a step, scores as they should rank; --explain: every edit obeys its own numbers. */
static void selects(void)
{
    works("select $M --forget Sketch");
    CHECK(lines_of(out) == 1 + 4 * 24 && !strncmp(out, "concept\thook\tstep\ttimestep\tlatent", 31),
          "%zu lines", lines_of(out));
    works("select $M --forget Sketch,Cats --top 3 --at 2");
    CHECK(lines_of(out) == 1 + 2 * 3, "%s", out);
    printed("Sketch\t" TINY_STYLES "\t2\t251\t|Cats\t" TINY_OBJECTS "\t2\t251\t");
    for (int mapped = 0; mapped < 2; mapped++) {
        char command[200];
        size_t rows = 0;
        snprintf(command, sizeof command, "select $M --forget Sketch --top 60 --strength -3 --explain -p cat "
                 "--limit 1000 %s", mapped ? "--at 0 --steps 2 --map-steps" : "--at 2");
        works(command);
        for (char *line = strchr(out, '\n'); line && line[1]; line = strchr(line + 1, '\n'), rows++) {
            char concept[32];
            unsigned step, row, latent;
            float f, mean, threshold, factor, before, after;
            const bool read = sscanf(line + 1, "%31s %u %u %u %g %g %g %g %g %g", concept, &step, &row,
                                     &latent, &f, &mean, &threshold, &factor, &before, &after) == 10;
            CHECK(read && step == (mapped ? 0u : 2u) && row < 32 && latent < 128 && f > threshold &&
                  factor == -3 * mean && before == f && after == factor * f, "a row is %.120s", line + 1);
        }
        CHECK(rows > 10, "only %zu edits were explained", rows);
    }
    CHECK(run("select $V --forget Sketch --top 60 --explain -p cat --limit 3") == 0 && lines_of(out) == 4 &&
          strstr(err, "edits at step 0"), "%s%s", out, err);
}

/* info and digest of a classifier's folder, names and all; what is wrong with one is said with its file. */
static void informs_of_classifiers(void)
{
    static tiny t;
    static const char *const names[] = { "Cats", "\xC3\x84pfel", "a\\tb" };
    char digest[64];
    memset(&t, 0, sizeof t);
    tiny_add_classifier(&t, "judge", 3, names);
    tiny_write(&t, at("c"));
    works("info $T/c/judge");
    printed("classifier\t|image\t12 pixels a side, patches of 4\n|width\t16, 2 layers, 2 "
            "heads\n|classes\t3\n|digest\t|names\tCats, \xC3\x84pfel, a|weights\t32 tensors\t");
    CHECK(!strstr(out, "a\tb"), "a name's tab came through: %s", out);
    snprintf(digest, sizeof digest, "%.16s  ", strstr(out, "digest") ? strstr(out, "digest") + 7 : "");
    works("info $T/c/judge --tensors");
    printed("  pos_embed\tF32\t[1, 10, 16]\n|  blocks.1.attn.qkv.weight\tF32\t[48, 16]");
    works("info $T/c/judge --json");
    printed("{\"classifier\": |\"image\": 12|\"classes\": 3|\"names\": [\"Cats\", |\"a\\u0009b\"]}\n");
    works("digest $T/c/judge $T/model/sae/" TINY_STYLES);
    CHECK(!strncmp(out, digest, strlen(digest)) && lines_of(out) == 2, "%s is not info's %s", out, digest);
    check_refusal("digest of a folder", run("digest $T/model"), 2, "folders of SAEs and classifiers");
    tiny_edit(&t, "judge/config.json", "\"depth\": 2", "\"depth\": 3");
    tiny_write(&t, at("c"));
    check_refusal("info of a classifier", run("info $T/c/judge"), 1,
                  "judge/model.safetensors: tensor blocks.2.norm1.weight");
    check_refusal("digest of a classifier", run("digest $T/c/judge"), 1,
                  "judge/model.safetensors: tensor blocks.2.norm1.weight");
    check_refusal("info of a text encoder", run("info $T/model/text_encoder"), 1,
                  "text_encoder/config.json: it names no \"architecture\"");
    tiny_free(&t);
    tiny_make(&t); /* a pipeline with a config.json of its own is a pipeline */
    tiny_text(&t, "config.json", "{}");
    tiny_write(&t, at("p"));
    works("info $T/p");
    printed("model\t|unet\t");
    tiny_free(&t);
}

/* info of a model, an SAE, a safetensors file and a picture; digest of each kind of file. */
static void informs(void)
{
    works("generate $M -p 'a \xC3\xA9 cat' -o $O/a.png --forget Cats");
    works("info $M");
    printed("digest\t|16 x 16, 4 steps, guidance 3|unet\t|hook "
            TINY_STYLES "\twidth 32\tSAE 128 latents, k 8|Van Gogh|kernels\t|bytes of weights");
    works("info $T/model --threads 1 --tensors");
    CHECK(test_holds(out, "  conv_in.weight\tF32\t[16, 4, 3, 3]\n|  "
                          "decoder.conv_out.bias\tF32\t[3]\n|text_model.final_layer_norm.weight"),
                              "no tensors");
    works("info $M --memory --batch 4");
    printed("weights\t|work\t|one allocation");
    works("info $T/model/sae/" TINY_STYLES);
    printed("width\t32\nlatents\t128\nk\t8\ndigest\t");
    works("info $T/model/sae/" TINY_STYLES "/stats.safetensors");
    printed("Sketch\tF32\t[4, 128]\n|timesteps = 751, 501, 251, 1\n");
    static char words[20001]; /* a text is shown whole, however long */
    static const char *const facts[] = { "key", words, NULL };
    memset(words, 'w', sizeof words - 1);
    CHECK(!tensors_save(NULL, at("long.safetensors"), NULL, 0, facts, NULL) &&
          !png_save(NULL, at("long.png"), bytes[0], 1, 1, (const char *const[]){ "prompt", words, NULL },
                    NULL), "cannot save");
    works("info $T/long.safetensors");
    CHECK(strstr(out, words), "a value of 20,000 bytes is not there: %.80s", out);
    works("info $T/long.png");
    CHECK(strstr(out, words), "a prompt of 20,000 bytes is not there: %.80s", out);
    works("info $O/a.png");
    printed("16 x 16\n|  prompt = a \xC3\xA9 cat\n|  seed = 0\n|  noise_index = 0\n|  steps = 4\n|  cfg = "
            "3\n|  forget = Cats percentile 80.1 strength -5.5 sae |  residual = paper\n|  model = |  "
            "contract = ");
    CHECK(!test_holds(out, "threads") && !test_holds(out, "/out/a.png\n  path"),
          "a picture must not know its threads or path");
    static const size_t shape[1] = { 3 };
    static const float values[3] = { 1, 2, 3 };
    npy_save(NULL, at("v.npy"), values, shape, 1, NULL);
    works("digest $O/a.png $T/v.npy $T/model/sae/" TINY_STYLES "/sae.safetensors");
    CHECK(lines_of(out) == 2 + 4, "%s", out);
    printed("a.png\n|v.npy\n|sae.safetensors  W_dec\n");
    clean();
}

/* Without --model the environment names the model, as --model would; --model wins. */
static void default_model(void)
{
    static char named[512];
    works("tokenize -q -m $T/model cat");
    snprintf(named, sizeof named, "%.500s", out);
    CHECK(run_in("SAEURON_MODEL=$T/model", "tokenize -q cat", "") == 0 && *out && !strcmp(out, named),
          "with SAEURON_MODEL: \"%s\" \"%s\"", out, err);
    CHECK(run_in("SAEURON_MODEL=$T/nowhere", "tokenize $M cat", "") == 0,
          "--model does not win over SAEURON_MODEL: %s", err);
    const int code = run_in("SAEURON_MODEL=$T/nowhere", "tokenize -q cat", "");
    check_refusal("tokenize with SAEURON_MODEL=$T/nowhere", code, 1, "nowhere/scheduler");
}

/* ---- collect, stats, merge ---- */

static const char recorded_prompts[] = "a cat\n\nthe sea\ndog\n",
    recorded_concepts[] = "{\"Cats\": [\"cat\", \"a cat\"], \"Dogs\": [\"dog\"]}\n";

/* What the program prints and writes; parts merged are the whole; what stats wrote is forgotten with,
 * beside its SAE and elsewhere. */
static void records(void)
{
    prepare();
    test_write_file(at("prompts.txt"), recorded_prompts, sizeof recorded_prompts - 1);
    test_write_file(at("concepts.json"), recorded_concepts, sizeof recorded_concepts - 1);
    works("collect $M --hook " TINY_STYLES " --hook unet."
          TINY_OBJECTS " --prompts $T/prompts.txt -o $O/acts");
    CHECK(lines_of(out) == 2, "%s", out);
    printed("/acts/" TINY_STYLES ".safetensors\n|/acts/" TINY_OBJECTS ".safetensors\n");
    works("collect $M --hook unet." TINY_OBJECTS " --prompts $T/prompts.txt -o $O/p0 --shard 0/2");
    works("collect $M --hook " TINY_OBJECTS " --prompts $T/prompts.txt -o $O/p1 --shard 1/2 --threads 2");
    works("merge $O/p1 $O/p0 -o $O/p");
    CHECK(!strcmp(strrchr(out, '/'), "/p\n"), "%s", out);
    CHECK(same_files(at("out/p"), at("out/acts/" TINY_OBJECTS ".safetensors")), "merged parts differ");
    works("info $O/acts/" TINY_OBJECTS ".safetensors");
    printed("activations\tF32\t[12, 16, 32]|  shard = 0/1");
    works("collect $M --hook text_encoder --prompts $T/prompts.txt -o $O/t0 --shard 0/2");
    works("collect $M --hook text_encoder --prompts $T/prompts.txt -o $O/t1 --shard 1/2");
    works("collect $M --hook text_encoder --prompts $T/prompts.txt -o $O/t");
    works("merge $O/t0 $O/t1 -o $O/u");
    CHECK(same_files(at("out/t"), at("out/u")), "merged parts of text states differ");
    works("stats $M --hook " TINY_OBJECTS " --concepts $T/concepts.json -o $O/s.safetensors --density "
                                          "$O/density.safetensors");
    CHECK(lines_of(out) == 2, "%s", out);
    works("info $O/s.safetensors");
    printed("Cats\tF32\t[4, 128]|Dogs\tF32|  seed = 188|  prompts = {\"Cats\": 2, \"Dogs\": 1}");
    works("stats $M --hook " TINY_OBJECTS " --concepts $T/concepts.json -o $O/q.safetensors --per-prompt");
    works("info $O/q.safetensors");
    printed("Cats\tF16\t[2, 4, 128]");
    works("generate $M -p cat -o $O/plain.png --steps 4");
    works("generate $M -p cat -o $O/forgot.png --steps 4 --stats $O/s.safetensors --forget Cats --top 20 "
          "--strength -9 --min-density 0.1");
    CHECK(!same_files(at("out/plain.png"), at("out/forgot.png")),
          "forgetting by our own statistics changes nothing");
    works("info $O/forgot.png");
    printed("forget = Cats top 20 min-density 0.1 strength -9 sae ");
    works("generate $M -p cat -o $O/half.png --forget Cats --half conditional");
    works("info $O/half.png");
    printed("forget = Cats percentile 80.1 half conditional strength -5.5 sae ");
    works("generate $M -p cat -o $O/shared.png --forget Cats,Dogs --shared released");
    works("info $O/shared.png");
    printed("shared = released");
    clean();
}

/* Each mistake names the option or the file, and leaves nothing. */
static void records_refused(void)
{
    static const struct { const char *arguments; int code; const char *words; } cases[] = {
        { "collect $M --prompts $T/prompts.txt -o $O/a", 2, "--hook" },
        { "collect $M --hook " TINY_STYLES " -o $O/a", 2, "--prompts" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt", 2, "--out" },
        { "collect $M --hook nowhere --prompts $T/prompts.txt -o $O/a", 2, "nowhere" },
        { "collect $M --hook text_encoder --prompts $T/prompts.txt -o $O/a --cfg 2", 2,
          "--cfg means nothing" },
        { "train --online --hook text_encoder $M --prompts $T/prompts.txt -o $O/a", 2, "text_encoder" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/none.txt -o $O/a", 1, "none.txt" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a --shard 2/2", 2,
          "--shard|2/2" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a --shard 1", 2, "--shard" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a --dtype BF16", 2, "--dtype" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a --every 1001", 2, "--every" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $T/no/such/a", 1, "no/such/a" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o /dev/full", 1, "/dev/full" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a --forget Cats", 2, "--forget" },
        { "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a extra", 2, "extra" },
        { "stats $M -o $O/a", 2, "--hook" },
        { "stats $M --hook " TINY_STYLES " --hook " TINY_OBJECTS " -o $O/a", 2, "--hook" },
        { "stats $M --hook " TINY_STYLES, 2, "--out" },
        { "stats $M --hook " TINY_STYLES " -o $O/a", 1, "concepts.json|--concepts" },
        { "stats $M --hook " TINY_STYLES " -o $O/a --concepts $T/prompts.txt", 1, "prompts.txt" },
        { "stats $M --hook mid_block.attentions.0 -o $O/a --concepts $T/concepts.json", 1,
          "mid_block.attentions.0|--sae" },
        { "stats $M --hook " TINY_STYLES " -o $O/a --concepts $T/concepts.json --density $O/a", 2,
          "a file each" },
        { "stats $M --hook " TINY_STYLES " -o /dev/full --concepts $T/concepts.json", 1, "/dev/full" },
        { "merge -o $O/a", 2, "part" }, { "merge $T/prompts.txt", 2, "--out" },
        { "merge $T/prompts.txt -o $O/a", 1, "prompts.txt" }, { "merge $T/none -o $O/a", 1, "none" },
        { "merge $T/model/sae/" TINY_STYLES "/sae.safetensors -o $O/a", 1, "sae.safetensors|neither" },
        { "generate $M -p cat -o $O/a.png --forget Cats --shared both", 2, "--shared" },
        { "generate $M -p cat -o $O/a.png --shared released", 2, "--shared|--forget" },
        { "generate $M -p cat -o $O/a.png --half conditional", 2, "--half|--forget" },
        { "generate $M -p cat -o $O/a.png --half conditional --reconstruct " TINY_STYLES, 2,
          "--half|--forget" },
        { "generate $M -p cat -o $O/a.png --half conditional --forget Cats --steer " TINY_OBJECTS ":1=0", 2,
          "latent 1|half both (--half)" },
        { "generate $M -p cat -o $O/a.png --forget Cats --half unconditional --cfg 1", 2, "--half|--cfg" },
        { "generate $M -p cat -o $O/a.png --forget Cats --min-density 2", 2, "density" },
        { "generate $M -p cat -o $O/a.png --min-density 0.1", 2, "--min-density|--forget" },
        { "generate $M -p cat -o $O/a.png --forget Cats --min-density 0.1", 1,
          "density.safetensors|--min-density" },
    };
    prepare();
    test_write_file(at("prompts.txt"), recorded_prompts, sizeof recorded_prompts - 1);
    test_write_file(at("concepts.json"), recorded_concepts, sizeof recorded_concepts - 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].arguments, cases[i].code, cases[i].words);
    static const char *const writing[] = {
        "collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a",
        "stats $M --hook " TINY_STYLES " --concepts $T/concepts.json -o $O/a --per-prompt",
    };
    for (size_t i = 0; i < 2; i++) { /* a disk that fills while writing */
        char line[300];
        snprintf(line, sizeof line, "(trap '' XFSZ; ulimit -f 2; $S %s 2>&1 >/dev/null </dev/null; echo $?)"
                                    " | cat >$T/stderr", writing[i]);
        shell(line);
        err[read_file(at("stderr"), err, sizeof err - 1)] = 0;
        CHECK(test_holds(err, "saeuron: |/out/a") && err[strlen(err) - 2] == '1' && entries("out") == 0,
              "%s: \"%s\"", writing[i], err);
    }
}

/* Every operation and network has the bytes of tests/golden/digests.txt, by every kernel set that runs. */
static void selftest(void)
{
    works("selftest");
    printed(" passed, 0 failed"); /* and sets of kernels that this processor lacks are skipped */
    works("selftest --list");
    shell("cp tests/golden/digests.txt $T/digests");
    CHECK(same_files(at("stdout"), at("digests")), "selftest --list is not one list: %zu lines",
          lines_of(out));
}

/* The speed of a step alone and beside a process that keeps a core busy, and of one row. Times are nobody's
 * truth: what must hold is that they are there. */
static void benches(void)
{
    works("bench $M --with-load --runs 1 --json");
    printed("\"name\": \"unet_step\", \"value\": |\"unet_step_loaded\"|\"load_ratio\"");
    works("bench $M --only unet_backward --runs 1");
    printed("s a guided step and back");
    works("bench $M --only unet_step --runs 1");
    printed("s a guided step\nunet_step_share ");
    CHECK(lines_of(out) == 2, "%s", out);
}

/* ---- train, measure ---- */

/* $A: activations of the styles' hook, 12 maps of 16 tokens, 32 wide; $F: options that
 * make training on them quick. */
static void prepare_maps(void)
{
    static bool ready;
    prepare();
    if (ready)
        return;
    ready = true;
    test_write_file(at("prompts.txt"), recorded_prompts, sizeof recorded_prompts - 1);
    works("collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $T/acts.safetensors");
    works("collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $T/acts0.safetensors --shard 0/2");
    works("collect $M --hook " TINY_STYLES " --prompts $T/prompts.txt -o $T/acts1.safetensors --shard 1/2");
    works("collect $M --hook " TINY_OBJECTS " --prompts $T/prompts.txt -o $T/objects.safetensors");
    setenv("A", at("acts.safetensors"), 1);
    setenv("F", "--threads 1 -q --latents 64 --k 4 --batch 48 --epochs 3 --checkpoint-every 5 --log-every 1",
           1);
}

/* Activations that become shorter while an SAE learns from them: the page that is gone ends the program. A
 * checkpoint would see sooner that they were written to. */
static void data_cut(void)
{
    prepare_maps();
    const int code = run_in("cp $A $T/cut.safetensors;",
                            "train --data $T/cut.safetensors -o $T/cut --threads 1 -q --latents 64 --k 4 "
                            "--batch 48 --epochs 99999 --checkpoint-every 1000000000",
                            "& p=$!; sleep 0.4; truncate -s 10 $T/cut.safetensors; wait $p");
    check_refusal("train, its data cut", code, 1, "cut.safetensors: became shorter while in use");
}

/* From activations, from their parts, while sampling: the same SAE, which measure
 * measures and generate uses. */
static void trains(void)
{
    prepare_maps();
    works("train $F --hook unet." TINY_STYLES " --data $A -o $O/a");
    CHECK(lines_of(out) == 9, "%s", out);
    printed("sae\t|/out/a\nhook\t"
            TINY_STYLES "\nlatents\t64\nk\t4\nsteps\t12\ntokens\t576\nfvu\t|l0\t|dead\t");
    CHECK(entries("out/a") == 5, "%d files in the SAE's folder", entries("out/a"));
    works("train $F --data $T/acts0.safetensors $T/acts1.safetensors -o $O/b --checkpoint-every 1 --threads "
          "2");
    CHECK(shell("diff -r $O/a $O/b") == 0, "parts, checkpoints or threads change the result");
    works("train $M $F --online --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/c --json");
    CHECK(same_files(at("stdout"), at("out/c/train.json")) &&
          test_holds(out, "\"buffer\": 1600|\"measured\": {\"maps\": 12|\"density\": [[0, 0, "), "%s", out);
    CHECK(same_files(at("out/a/train.tsv"), at("out/c/train.tsv")) &&
          same_files(at("out/a/density.tsv"), at("out/c/density.tsv")),
              "sampling meanwhile trains otherwise");
    shell("$S digest $O/a | cut -c 1-16 >$T/one; $S digest $O/c | cut -c 1-16 >$T/two");
    CHECK(same_files(at("one"), at("two")), "sampling meanwhile makes another SAE");
    works("train $F --data $A -o $O/a --resume");
    CHECK(lines_of(out) == 9 && shell("diff -r $O/a $O/b") == 0, "a finished run was changed");
    works("train $F --data $A -o $O/d --topk token --auxk released --multi-topk --auxk-alpha 0.5 "
          "--dead-feature-threshold 50 --seed 7 --lr 0.01 --beta1 0.8 --beta2 0.99 --adam-eps 1e-8 --clip 2 "
          "--dtype F16");
    works("info $O/d/sae.safetensors");
    CHECK(test_holds(out, "encoder.weight\tF16\t[64, 32]|topk = token|auxk = released|multi_topk = "
                          "1|auxk_alpha = 0.5|dead_feature_threshold = 50|seed = 7|lr = 0.01|beta1 = "
                          "0.8|beta2 = 0.99|adam_eps = 1e-08|clip = 2|hook = "
                              TINY_STYLES "|maps = 12|epochs = 3"), "%s", out);
    works("train $F --data $A -o $O/e --k 2 --resume");
    works("measure -q $O/a --data $A");
    printed("maps\t12\ntokens\t192\nlatents\t64\nk\t4\nfvu\t|l0\t|dead\t|\n\nlow\thigh\tlatents\n0\t0\t");
    CHECK(lines_of(out) == 28, "%s", out);
    works("measure -q $O/a --data $A --json");
    CHECK(json_lines(out) == 1, "%s", out);
    printed("{\"sae\": \"|\"hook\": \"" TINY_STYLES "\"|\"fvu\": |[0.31622776601683794, 1, ");
    shell("cp $T/stdout $T/one");
    works("measure -q $O/a --json --threads 3 --data $T/acts0.safetensors $T/acts1.safetensors");
    CHECK(same_files(at("one"), at("stdout")), "cut into parts the activations measure otherwise: %s", out);
    works("generate $M -p cat -o $O/r.png --reconstruct " TINY_STYLES " --sae " TINY_STYLES "=$O/a");
    works("info $O/a");
    printed("latents\t64\nk\t4");
    CHECK(run_in("", "train --threads 1 --latents 64 --k 4 --batch 48 --epochs 1 --data $A -o $O/talks",
                 "") == 0 && !*err, "a short run is not silent on a log: %s", err);
    clean();
}

/* Each mistake names the option or the file, and leaves nothing. */
static void trains_refused(void)
{
    static const struct { const char *arguments; int code; const char *words; } cases[] = {
        { "train $F -o $O/a", 2, "--data|--online" }, { "train $F --data $A", 2, "--out" },
        { "train $F --data", 2, "--data|value" },
        { "train $F --data $A --online --hook x -o $O/a", 2, "--data|--online" },
        { "train $F --online --hook " TINY_STYLES " -o $O/a", 2, "--prompts" },
        { "train $F --online --prompts $T/prompts.txt -o $O/a", 2, "--hook" },
        { "train $M $F --online --hook nowhere --prompts $T/prompts.txt -o $O/a", 2, "nowhere" },
        { "train $M $F --online --hook " TINY_STYLES " --prompts $T/none.txt -o $O/a", 1, "none.txt" },
        { "train $M $F --online --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a --buffer 3", 2,
          "--buffer|4" },
        { "train $M $F --online --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a --every 1001", 2,
          "--every" },
        { "train $M $F --online --hook " TINY_STYLES " --prompts $T/prompts.txt -o $O/a --buffer "
                                                     "18446744073709551615 --steps 1 --width 17", 2,
                                                         "width" },
        { "train $F --hook " TINY_OBJECTS " --data $A -o $O/a", 2, TINY_OBJECTS "|" TINY_STYLES },
        { "train $F --hook a --hook b --data $A -o $O/a", 2, "--hook" },
        { "train $F --data $A -o $O/a --steps 4", 2, "--steps|--online" },
        { "train $M $F --data $A -o $O/a", 2, "--model|--online" },
        { "train $F --data $A -o $O/a --prompts x", 2, "--prompts|--online" },
        { "train $F --data $A -o $O/a --noise-seed 3", 2, "--noise-seed|--online" },
        { "train $F --data $T/none -o $O/a", 1, "none" },
        { "train $F --data $T/model/sae/" TINY_STYLES "/sae.safetensors -o $O/a", 1,
          "sae.safetensors|collect" },
        { "train $F --data $T/prompts.txt -o $O/a", 1, "prompts.txt" },
        { "train $F --data $A $T/objects.safetensors -o $O/a", 1,
          "hook|objects.safetensors|acts.safetensors" },
        { "train $F --data $A -o $O/a --k 0", 2, "--k" },
        { "train $F --data $A -o $O/a --k 65", 2, "--k|64" },
        { "train $F --data $A -o $O/a --expansion 2", 2, "--latents|--expansion" },
        { "train $F --data $A -o $O/a --latents 0", 2, "--latents" },
        { "train --data $A -o $O/a --expansion 0", 2, "--expansion" },
        { "train $F --data $A -o $O/a --batch 47", 2, "--batch|16" },
        { "train $F --data $A -o $O/a --batch 208", 2, "12 maps|13|--batch" },
        { "train $F --data $A -o $O/a --batch 99999999999", 2, "--batch" },
        { "train $F --data $A -o $O/a --epochs 0", 2, "--epochs" },
        { "train $F --data $A -o $O/a --lr 0", 2, "--lr" },
        { "train $F --data $A -o $O/a --lr nan", 2, "--lr" },
        { "train $F --data $A -o $O/a --beta1 1", 2, "--beta1" },
        { "train $F --data $A -o $O/a --adam-eps 0", 2, "--adam-eps" },
        { "train $F --data $A -o $O/a --clip 0", 2, "--clip" },
        { "train $F --data $A -o $O/a --auxk-alpha -1", 2, "--auxk-alpha" },
        { "train $F --data $A -o $O/a --auxk both", 2, "--auxk|released" },
        { "train $F --data $A -o $O/a --topk sample", 2, "--topk|one of batch|token" },
        { "train $F --data $A -o $O/a --dtype BF16", 2, "--dtype" },
        { "train $F --data $A -o $O/a --checkpoint-every 0", 2, "--checkpoint-every" },
        { "train $F --data $A -o $O/a --log-every 0", 2, "--log-every" },
        { "train --data $A -o $O/a --threads 0", 2, "--threads" },
        { "train $F --data $A -o $O/a --isa mmx", 2, "mmx" },
        { "train $F --data $A -o $T/prompts.txt", 1, "prompts.txt" },
        { "train $F -o $O/a $A", 2, "acts.safetensors" },
        { "train $F --data $A -o /proc/sae", 1, "/proc/sae" },
        { "measure $T/model/sae/" TINY_STYLES, 2, "--data" }, { "measure --data $A", 2, "folder|first" },
        { "measure $T/a $T/b --data $A", 2, "one SAE" }, { "measure $T/nowhere --data $A", 1, "/nowhere" },
        { "measure $T/model/sae/" TINY_STYLES " --data $T/none", 1, "none" },
        { "measure $T/model/sae/" TINY_STYLES " --data $A --threads 0", 2, "--threads" },
        { "measure $T/model/sae/" TINY_STYLES " --data $A --isa mmx", 2, "mmx" },
        { "measure $T/model/sae/" TINY_STYLES " --data $A $T/objects.safetensors", 1,
          "hook|objects.safetensors" },
        { "measure $T/model/sae/" TINY_STYLES " --data $T/cut.safetensors", 1, "cut.safetensors" },
        { "train $F --data $T/cut.safetensors -o $O/a", 1, "cut.safetensors" },
    };
    prepare_maps();
    shell("cp $A $T/cut.safetensors && truncate -s -4 $T/cut.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].arguments, cases[i].code, cases[i].words);
    works("train $F --data $A -o $T/there");
    refused("train $F --data $A -o $T/there", 2, "/there/|--resume|another");
    refused("train $F --data $A -o $T/there --k 5 --resume", 1, "/there/sae.safetensors|k 4|has 5");
    refused("train $F --data $T/objects.safetensors -o $T/there --resume", 1,
            "/there/sae.safetensors|hook " TINY_STYLES "|" TINY_OBJECTS);
    refused("train $F --data $A -o $T/model/sae/" TINY_STYLES, 2, "sae.safetensors|--resume|another");
    refused("train $F --data $A -o $T/model/sae/" TINY_STYLES " --resume", 1,
            "sae.safetensors|not of this run");
    if (run_in("", "measure -q $T/there --json --data $A", ">/dev/full") != 1)
        CHECK(access("/dev/full", W_OK) != 0, "a full disk on standard output was not noticed");
    shell("rm -r $T/there");
}

/* Stopped by a signal; on a disk that fills: what was trained stays in the checkpoint. */
static void training_stopped(void)
{
    prepare_maps();
    setenv("G", "--threads 1 -q --latents 256 --k 4 --batch 48 --epochs 40 --checkpoint-every 3 --data", 1);
    const int code = run_in("", "train $G $A --epochs 100000 -o $T/stopped",
                            "& p=$!; until [ -e $T/stopped/checkpoint.safetensors ]; do sleep 0.02; done; "
                            "kill -INT $p; kill -TERM $p; wait $p");
    check_refusal("train, stopped", code, 1, "stopped after step|--resume");
    CHECK(shell("ls $T/stopped | grep -qx checkpoint.safetensors && test $(ls $T/stopped | wc -l) = 1") == 0,
          "something beside the checkpoint was left");
    shell("rm -r $T/stopped; (trap '' XFSZ; ulimit -f 2; $S train $G $A -o $T/trained-full 2>&1 >/dev/null "
          "</dev/null; echo $?) | cat >$T/stderr");
    err[read_file(at("stderr"), err, sizeof err - 1)] = 0;
    CHECK(test_holds(err, "saeuron: |/trained-full/checkpoint.safetensors") && err[strlen(err) - 2] == '1' &&
          shell("test -z \"$(ls $T/trained-full)\"") == 0, "a full disk: \"%s\"", err);
    shell("rm -r $T/trained-full");
}

/* A script of docs/scale.md, from the line that holds `first` to the fence after it, as
 * a person would copy it. */
static int run_script(const char *first, const char *before)
{
    char line[2048];
    snprintf(line, sizeof line, "awk '/^```/ { inside = !inside; if (!inside && found) exit; text = \"\"; "
                                "next } inside { text = text $0 \"\\n\"; if (index($0, \"%s\")) found = 1 } "
                                "END { printf \"%%s\", text }' docs/scale.md > $T/script.sh && grep -q '%s' "
                                "$T/script.sh && cd $O && %s sh -e $T/script.sh >$T/stdout 2>$T/stderr "
                                "</dev/null", first, first, before);
    return shell(line);
}

/* docs/scale.md's script for GNU parallel, word for word: its merged files are those of one run. */
static void scales(void)
{
    prepare();
    if (shell("parallel --version 2>/dev/null | grep -q '^GNU parallel'") != 0) {
        test_skip("GNU parallel is not installed");
        return;
    }
    test_write_file(at("prompts.txt"), recorded_prompts, sizeof recorded_prompts - 1);
    test_write_file(at("concepts.json"), recorded_concepts, sizeof recorded_concepts - 1);
    works("collect $M --hook " TINY_OBJECTS " --prompts $T/prompts.txt -o $T/whole-acts.safetensors");
    works("stats $M --hook " TINY_OBJECTS " --concepts $T/concepts.json -o $T/whole-stats.safetensors");
    const int code = run_script("parallel --halt",
                                "SAEURON=\"$(case $S in /*) echo $S;; *) echo $OLDPWD/$S;; esac)\" "
                                "MODEL=$T/model HOOK=" TINY_OBJECTS " PROMPTS=$T/prompts.txt "
                                "CONCEPTS=$T/concepts.json PARTS=3 JOBS=2");
    err[read_file(at("stderr"), err, sizeof err - 1)] = 0;
    CHECK(code == 0, "docs/scale.md's script: exit code %d, \"%s\"", code, err);
    CHECK(same_files(at("out/activations.safetensors"), at("whole-acts.safetensors")),
          "the script's activations are not those of one run");
    CHECK(same_files(at("out/stats.safetensors"), at("whole-stats.safetensors")),
          "the script's statistics are not those of one run");
    clean();
}

/* --help of each command lists its options; --version names the contract; each on stdout with exit code 0. */
static void helps(void)
{
    static const char *const commands[] = { "generate", "tokenize", "encode", "select", "collect", "train",
                                            "measure", "stats", "merge", "eval", "sweep", "attack",
                                            "rival", "gradient", "info", "digest", "selftest", "bench" };
    char line[64];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        snprintf(line, sizeof line, "%s --help", commands[i]);
        works(line);
        snprintf(line, sizeof line, "saeuron %s|--help", commands[i]);
        printed(line);
        works("--help");
        CHECK(strstr(out, commands[i]), "the list of commands lacks %s", commands[i]);
    }
    shell("cp $T/stdout $T/help");
    works("-h");
    CHECK(same_files(at("stdout"), at("help")), "-h is not --help");
    works("help");
    CHECK(same_files(at("stdout"), at("help")), "help is not --help");
    run_in("SAEURON_MODEL=", "info", "");
    CHECK(strstr(out, "model\tweights/emojicanvas\n"), "without --model, where weights/ is: %s", out);
    works("collect -h");
    printed("--hook HOOK|--prompts FILE|--every N|--diff|--shard I/N|--dtype");
    works("train -h");
    printed("--data FILE...|--online|--buffer MAPS|1600|--resume|--latents N|--k K|--topk batch|token|"
            "--batch TOKENS|--auxk paper|released|--dead-feature-threshold|--checkpoint-every");
    works("stats -h");
    printed("--hook HOOK|--concepts FILE|--per-prompt|--density|--lines|--shard I/N");
    works("generate -h");
    printed("-p, --prompt TEXT|--forget|--residual paper|released|none|--map-steps|--dump DIR|--inject "
            "NAME=FILE.npy|--steer HOOK:LATENT=FACTOR|--reconstruct HOOK");
    works("--version");
    snprintf(line, sizeof line, "saeuron %s, arithmetic contract %d\n", SAEURON_VERSION,
             SAEURON_CONTRACT_VERSION);
    CHECK(!strcmp(out, line), "%s", out);
}

/* ---- eval, sweep ---- */

/* $J: a model with both classifiers, $E: eval of two concepts on two seeds. */
static void prepare_judged(void)
{
    static bool ready;
    static tiny t;
    char text[2800];
    prepare();
    if (ready)
        return;
    ready = true;
    tiny_make(&t);
    tiny_add_judges(&t);
    tiny_write(&t, at("judged"));
    tiny_free(&t);
    snprintf(text, sizeof text, "-m %s/judged --threads 1 -q", test_tmp());
    setenv("J", text, 1);
    strcat(text, " --concepts Sketch,Cats --seeds 188,288");
    setenv("E", text, 1);
}

/* Which option means something to which method of `rival` and of `attack`: each is tried with each. */
static void options_of_methods(void)
{
    static const struct {
        const char *command, *methods[4], *nothing;
        struct { const char *option; bool means[4]; } options[18];
    } tables[] = {
        { "rival ", { "uce", "esd", "sdd", "ca" }, " means nothing to ",
          { { "--guide x", { 1, 0, 0, 0 } }, { "--preserve none", { 1, 0, 0, 0 } },
            { "--erase-scale 2", { 1, 0, 0, 0 } }, { "--preserve-scale 2", { 1, 0, 0, 0 } },
            { "--states last", { 1, 0, 0, 0 } }, { "--lambda 2", { 1, 0, 0, 0 } },
            { "--train full", { 0, 1, 1, 1 } }, { "--iterations 2", { 0, 1, 1, 1 } },
            { "--lr 1", { 0, 1, 1, 1 } }, { "--start-guidance 2", { 0, 1, 1, 1 } },
            { "--seed 2", { 0, 1, 1, 1 } }, { "--weight-decay 1", { 0, 0, 1, 1 } },
            { "--negative-guidance 2", { 0, 1, 0, 0 } }, { "--ema 1", { 0, 0, 1, 0 } },
            { "--clip 2", { 0, 0, 1, 0 } }, { "--pictures 2", { 0, 0, 0, 1 } } } },
        { "attack --method ", { "unlearndiffatk", "ringabell", "prefix", "seeds" },
          " means nothing with --method ",
          { { "--tokens 2", { 1, 1, 1, 0 } }, { "--iterations 2", { 1, 0, 0, 0 } },
            { "--timesteps 2", { 1, 0, 0, 0 } }, { "--rate 1", { 1, 0, 0, 0 } },
            { "--decay 1", { 1, 0, 0, 0 } }, { "--edit around", { 1, 0, 0, 0 } },
            { "--generations 2", { 0, 1, 0, 0 } }, { "--population 2", { 0, 1, 0, 0 } },
            { "--eta 1", { 0, 1, 0, 0 } }, { "--mutation 1", { 0, 1, 0, 0 } },
            { "--crossover 1", { 0, 1, 0, 0 } }, { "--tries 2", { 0, 0, 1, 1 } } } },
    };
    char line[200], words[80];
    prepare_judged();
    for (size_t t = 0; t < COUNT(tables); t++)
        for (size_t i = 0; i < COUNT(tables[t].options) && tables[t].options[i].option; i++)
            for (size_t m = 0; m < 4; m++) {
                const char *option = tables[t].options[i].option, *method = tables[t].methods[m];
                snprintf(line, sizeof line, "%s%s $J --forget Nobody -o $O/a %s", tables[t].command, method,
                         option);
                snprintf(words, sizeof words, "%.*s%s%s", (int)strcspn(option, " "), option,
                         tables[t].nothing, method);
                refused(line, 2, tables[t].options[i].means[m] ? "no concept \"Nobody\"" : words);
            }
    clean();
}

/* What other methods and attacks are asked on the command line. */
static void rivals_and_attacks(void)
{
    static const struct { const char *arguments, *words; } cases[] = {
        { "rival", "which rival?|uce, esd, sdd or ca" }, { "rival ucf --forget A -o $O/a", "which rival?" },
        { "rival uce esd --forget A -o $O/a", "which rival?" }, { "rival uce $M -o $O/a", "--forget C is" },
        { "rival uce $M --forget Sketch", "--out DIR" }, { "rival uce $M --forget Skotch -o $O/a", "Skotch" },
        { "rival uce $M --forget Sketch --lambda 0 -o $O/a", "lambda must be above 0" },
        { "rival sdd $M --forget Sketch --ema 2 -o $O/a", "--ema must be from 0 to 1" },
        { "rival ca $M --forget Sketch --weight-decay=-1 -o $O/a", "--weight-decay must be from 0" },
        { "attack $M -o ''", "--out names no" },
        { "attack $M --tries 3 -o $O/a", "--tries means nothing with --method unlearndiffatk" },
        { "attack $M --method ringabell --population 1 -o $O/a", "--population must be from 2" },
        { "attack $M --timesteps 501 -o $O/a", "--timesteps must be from 1 to 500" },
        { "eval $M --rivals $O --top 2 -o $O/a", "--top means nothing with --rivals" },
        { "eval $M --by negative --strength=-1 -o $O/a", "--strength means nothing with --by negative" },
        { "eval $M --by negative --negative x -o $O/a", "--negative means nothing with --by negative" },
        { "eval $M --by sae --rivals $O -o $O/a", "--rivals and --by exclude each other" },
        { "sweep $E --domain style --concepts Sketch --by negative -o $O/a", "a sweep is of SAEs" },
        { "attack $J --by negative --edit around -o $O/a", "--edit means nothing without SAEs" },
        { "eval $J --concepts Seed_Images -o $O/a", "no concept \"Seed_Images\"" },
        { "rival uce $J --forget Seed_Images -o $O/a", "no concept \"Seed_Images\"" },
        { "eval $M --by safree --tau=-2 -o $O/a", "--tau means nothing without --by itd" },
        { "eval $M --by itd --alpha 2 -o $O/a", "--alpha means nothing without --by safree" },
        { "generate $M -p a --by safree -o $O/a.png", "--by does nothing without --forget" },
        { "generate $M -p a --by safree --forget '' -o $O/a.png", "--by does nothing without --forget" },
        { "generate $M -p a --by safree --forget Cats,Nobody -o $O/a.png", "no concept \"Nobody\"" },
        { "generate $M -p a --by safree --forget Cats --top 3 -o $O/a.png", "--top means nothing with --by" },
        { "generate $M -p a --by safree --forget Cats --alpha=-1 -o $O/a.png", "alpha must be from 0" },
        { "generate $M -p a --by negative --forget Cats -n dog -o $O/a.png", "--negative means nothing" },
    };
    prepare_judged();
    for (size_t i = 0; i < COUNT(cases); i++)
        refused(cases[i].arguments, 2, cases[i].words);
    works("rival uce $M --forget Sketch,Cats --threads 1 -o $O/edited");
    CHECK(strstr(out, "/edited\n"), "%s", out);
    works("info --model $O/edited");
    works("generate $M -p 'a cat' --forget Sketch,Cats --by negative -o $O/n.png");
    works("generate $M -p 'a cat' -n 'Sketch style, Cats' -o $O/m.png");
    CHECK(same_files(at("out/n.png"), at("out/m.png")), "--by negative is not the negative prompt");
    works("generate $M -p 'a cat' --count 3 --batch 2 --forget Cats --by safree -o $O/s/");
    works("generate $M -p 'a cat' --count 3 --forget Cats --by safree --threads 2 -o $O/t/");
    works("info $O/s/00002.png");
    printed("forget = safree alpha 0.01: Cats");
    CHECK(same_files(at("out/s/00002.png"), at("out/t/00002.png")), "batches of edited texts differ");
    clean();
    refused("generate $M -p a --forget Cats --by itd -o $O/a.png", 1, "sae/text_encoder");
    clean();
}

/* Mistakes of both commands, and files that are not there: one line, nothing in the folder. */
static void measuring_errors(void)
{
    static const struct { const char *arguments; int code; const char *words; } cases[] = {
        { "eval $J", 2, "--out" }, { "sweep $J", 2, "--out" },
        { "eval $J -o $O/e --protocol papers", 2, "papers|emojicanvas" },
        { "eval $J -o $O/e --protocol $T/none.json", 1, "none.json" },
        { "eval $J -o $O/e --domain styles", 2, "--domain" },
        { "eval $J -o $O/e --concepts Sketsh", 2, "--concepts|Sketsh" },
        { "eval $J -o $O/e --concepts Seed_Images", 2, "Seed_Images" },
        { "eval $J -o $O/e --domain style --concepts Cats", 2, "Cats|domain style" },
        { "eval $J -o $O/e --concepts Cats,", 2, "--concepts" },
        { "eval $J -o $O/e --concepts ''", 2, "--concepts" },
        { "eval $J -o $O/e --seeds 1,x", 2, "--seeds|x" },
        { "eval $J -o $O/e --seeds 1,1", 2, "--seeds|no two alike" },
        { "eval $J -o $O/e --seeds ''", 2, "--seeds" },
        { "eval $J -o $O/e --shard 3", 2, "--shard|I/N" }, { "eval $J -o $O/e --shard 3/3", 2, "--shard" },
        { "eval $J -o $O/e --shard 0/0", 2, "--shard" }, { "eval $J -o $O/e --shard -1/3", 2, "--shard" },
        { "eval $J -o $O/e --top 2 --percentile 9", 2, "--top|--percentile" },
        { "eval $J -o $O/e --steps 3", 2, "4 steps|--steps|--map-steps" },
        { "eval $J -o $O/e --seeds 0", 2, "seed 0|--allow-overlap" },
        { "eval $J -o $O/e --batch 2000", 2, "batch" }, { "eval $J -o $O/e --prompt cat", 2, "--prompt" },
        { "eval $J -o $O/e --protocol paper", 2, "4 steps|100" },
        { "eval $M -o $O/e", 1, "model/classifier/style" },
        { "eval $J -o $O/e --classifier $T/nowhere", 1, "nowhere/style" },
        { "eval $J -o $T/model/concepts.json", 1, "concepts.json" },
        { "eval $J -o /proc/e", 1, "/proc/e" },
        { "eval $J -o $O/e --stats $T/nowhere.safetensors", 1, "nowhere.safetensors" },
        { "sweep $J -o $O/s", 2, "--domain" },
        { "sweep $J -o $O/s --domain style --tops 1,x", 2, "--tops|x" },
        { "sweep $J -o $O/s --domain style --tops 1.5", 2, "--tops|whole" },
        { "sweep $J -o $O/s --domain style --tops 0", 2, "--tops|from 1 to 1048576" },
        { "sweep $J -o $O/s --domain style --percentiles 101", 2, "--percentiles" },
        { "sweep $J -o $O/s --domain style --tops 1,1", 2, "twice" },
        { "sweep $J -o $O/s --domain style --strengths ''", 2, "--strengths" },
        { "sweep $J -o $O/s --domain style --strengths=-1,-0.5", 2, "--strengths|weakest" },
        { "sweep $J -o $O/s --domain style --rule best", 2, "--rule|mildest" },
        { "sweep $J -o $O/s --domain style --windows 0-2,3", 2, "--windows|3" },
        { "sweep $J -o $O/s --domain style --min-lifts 2,x", 2, "--min-lifts|x" },
        { "sweep $J -o $O/s --domain style --halves both,neither", 2, "--halves|neither" },
        { "sweep $J -o $O/s --domain style --halves both,conditional,both", 2, "--halves|once" },
        { "sweep $J -o $O/s --domain style --halves both --half both", 2, "--half" },
        { "sweep $J -o $O/s --domain style --min-lifts 0,1,2,3,4,5,6,7,8", 2, "--min-lifts|fewer" },
        { "sweep $J -o $O/s --domain style --target 101", 2, "--target|100" },
        { "sweep $J -o $O/s --domain style --bisections 17", 2, "--bisections|16" },
        { "sweep $J -o $O/s --domain style --rule paper --target 90", 2, "--target|--rule paper" },
        { "sweep $J -o $O/s --domain style --seeds 1188", 2, "two seeds" },
        { "sweep $J -o $O/s --domain style --seeds 1188,188", 2, "188|test seed" },
        { "sweep $J -o $O/s --domain style --seeds 1188,0", 2, "seed 0|statistics" },
        { "sweep $J -o $O/s --quick", 2, "--quick" },
    };
    prepare_judged();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].arguments, cases[i].code, cases[i].words);
    shell("cp -r $T/judged $T/other && sed -i 's/Watercolor/Aquarelle/' "
          "$T/other/classifier/style/config.json");
    refused("eval -m $T/other -q --threads 1 -o $O/e", 1,
            "concepts.json|class 3 of domain style is Watercolor|Aquarelle");
    shell("cp $T/judged/classifier/style/config.json $T/other/classifier/style && truncate -s -9 "
          "$T/other/classifier/object/model.safetensors");
    refused("eval -m $T/other -q --threads 1 -o $O/e", 1, "other/classifier/object/model.safetensors");
    shell("rm -rf $T/other/classifier/object && cp -r $T/judged/classifier/object $T/other/classifier && "
          "truncate -s -9 $T/other/sae/" TINY_OBJECTS "/sae.safetensors");
    refused("eval -m $T/other -q --threads 1 -o $T/half", 1, "other/sae/" TINY_OBJECTS "/sae.safetensors");
    shell("rm -rf $T/other $T/half");
}

/* What eval, sweep and attack print; a table, JSON, a protocol that --protocol reads, a plan. */
static void measures(void)
{
    prepare_judged();
    works("eval $E -o $O/e");
    CHECK(lines_of(out) == 5, "%s", out);
    printed("domain\tconcept\tUA|style\tSketch\t|style\taverage\t|object\tCats\t|object\taverage\t");
    shell("cp $O/e/eval.json $T/eval.json");
    works("eval $E -o $O/e --json");
    CHECK(same_files(at("stdout"), at("eval.json")), "--json is not eval.json: %s", out);
    works("eval $E -o $O/e --dry-run --json");
    CHECK(!strncmp(out, "{\"images\": 66, \"there\": 66, \"seconds\": 0}", 40) && json_lines(out) == 1, "%s",
          out);
    works("eval $J --protocol emojicanvas --print-protocol >$T/e.json; $S eval $J --protocol $T/e.json "
          "--print-protocol");
    CHECK(same_files(at("stdout"), at("e.json")), "a printed protocol is read otherwise");
    CHECK(strstr(out, "\"styled\": 1, \"plain\": 0") && !strstr(out, "\"styled\": 2"), "%s", out);
    works("eval $E -o $O/f --protocol $T/e.json");
    CHECK(shell("diff -r $O/e $O/f >/dev/null") == 0, "a printed protocol measures otherwise");
    works("eval $E -o $O/g --shard 1/2");
    CHECK(strstr(out, "\t33\n") && lines_of(out) == 1, "%s", out);
    CHECK(run("eval -m $T/judged --threads 1 --concepts Cats --seeds 188 -o $O/h") == 0 &&
          strstr(err, "24 images, 0 of them there; about "), "%s", err);
    works("sweep $J --domain object --concepts Cats --tops 8,24 --strengths=-1,-4 --seeds 5,6 -o $O/s");
    CHECK(lines_of(out) == 3, "%s", out);
    printed("concept\tchoice\t|Cats\ttop |/out/s/forget.json\n");
    works("sweep $J --domain object --concepts Cats --tops 8,24 --strengths=-1,-4 --seeds 5,6 -o $O/s "
          "--json");
    CHECK(json_lines(out) == 1, "%s", out);
    printed("{\"concept\": \"Cats\", \"top\": |\"forgotten\": ");
    works("sweep $J --domain object --concepts Cats --tops 24 --min-lifts 1.25 --windows 1-3 --halves "
          "conditional --strengths=-4 --bisections 0 --seeds 5,6 -o $O/t >/dev/null; cat $O/t/forget.json");
    printed("{\"top\": 24, \"min_lift\": 1.25, \"window\": [1, 3], \"half\": \"conditional\", "
            "\"strength\": -4}");
    works("sweep $J --domain object --concepts Cats --tops 24 --halves both,conditional --strengths=-4 "
          "--bisections 0 --seeds 5,6 -o $O/u >/dev/null; "
          "awk -F '\t' '$1 == 2 && !seen[$9]++' $O/u/results.tsv");
    CHECK(lines_of(out) == 2, "both halves and one leave pictures at one distance: %s", out);
    works("attack $J --forget 'Van Gogh,Cats' --method seeds --tries 1 -o $O/a");
    CHECK(lines_of(out) == 5, "%s", out);
    printed("concept\tdomain\tprompts\tshown\tpre_ASR\tASR\ttries\nVan Gogh\tstyle\t|\n"
            "Cats\tobject\t4\t0\t-\t-\t0.0\naverage\tobject\t");
    works("attack $J --forget 'Van Gogh' --method seeds --tries 1 -o $O/a --json");
    CHECK(json_lines(out) == 2, "%s", out);
    printed("{\"concept\": \"Van Gogh\", \"domain\": \"style\", \"prompts\": |\"ASR_interval\": [");
    clean();
}

/* A disk that fills: the file is named, nothing half-written stays, and the run goes on
 * once there is room. */
static void measuring_full_disk(void)
{
    prepare_judged();
    works("eval $E -o $O/whole");
    shell("cp -r $O/whole $O/full && rm $O/full/*.*"); /* the images are there, the results not */
    shell("(ulimit -f 2; $S eval $E -o $O/full 2>&1 >/dev/null </dev/null; echo $?) | cat >$T/stderr");
    err[read_file(at("stderr"), err, sizeof err - 1)] = 0;
    CHECK(test_holds(err, "saeuron: |/out/full/|.tsv|\n1\n") && lines_of(err) == 2, "%s", err);
    CHECK(shell("test -z \"$(find $O/full -name '*.tmp*')\" && test ! -e $O/full/eval.json") == 0,
          "something half-written stayed");
    works("eval $E -o $O/full");
    CHECK(shell("diff -r $O/whole $O/full >/dev/null") == 0, "after a full disk the results differ");
    if (access("/dev/full", W_OK) == 0) {
        const int code = run_in("", "eval $J --print-protocol", ">/dev/full");
        clean();
        check_refusal("eval --print-protocol", code, 1, "standard output");
    }
    clean();
}

const test_case cli_tests[] = {
    { "usage_errors", usage_errors }, { "rivals_and_attacks", rivals_and_attacks },
    { "options_of_methods", options_of_methods }, { "zeros", zeros },
    { "missing_files", missing_files },
    { "damaged_prompts", damaged_prompts },
    { "damaged_models", damaged_models }, { "damaged_inputs", damaged_inputs },
    { "unwritable", unwritable }, { "closed_pipe", closed_pipe },
    { "full_disk", full_disk }, { "little_memory", little_memory },
    { "stopped", stopped }, { "generates", generates },
    { "many_images", many_images }, { "noise_file", noise_file }, { "forgets", forgets },
    { "forgets_too_much", forgets_too_much }, { "forgets_in_a_window", forgets_in_a_window },
    { "remade", remade }, { "dumps", dumps }, { "injects", injects }, { "injects_by_name", injects_by_name },
    { "json_output", json_output }, { "hostile_names", hostile_names }, { "tokenizes", tokenizes },
    { "encodes", encodes }, { "encodes_pictures", encodes_pictures }, { "selects", selects },
    { "informs", informs }, { "informs_of_classifiers", informs_of_classifiers }, { "records", records },
    { "selftest", selftest }, { "benches", benches },
    { "records_refused", records_refused }, { "data_cut", data_cut },
    { "trains", trains }, { "trains_refused", trains_refused },
    { "training_stopped", training_stopped }, { "scales", scales }, { "default_model", default_model },
    { "helps", helps },
    { "measuring_errors", measuring_errors }, { "measures", measures },
    { "measuring_full_disk", measuring_full_disk }, { NULL, NULL },
};
