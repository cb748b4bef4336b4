/* saeuron.c: the program: its commands, their options and help, progress on stderr.
 *
 *   argv --options--> saeuron_open, saeuron_forget, saeuron_generate, ... --> files, and their paths on stdout
 *
 * Not here: any mathematics (all else), timing (bench.c), the commands that evaluate (command_eval.c), collect
 * (command_collect.c) and train (command_train.c).
 * stdout is the product; stderr is progress and messages. Exit 0 done, 1 failed, 2 usage. */
#include "arithmetic/rng.h"
#include "evaluation/picture.h"
#include "evaluation/protocol.h"
#include "files/decimal.h"
#include "files/npy.h"
#include "files/png.h"
#include "files/utf8.h"
#include "forget.h"
#include "program/bench.h"
#include "program/command.h"
#include "program/selftest.h"
#include "train.h"
#include "training/collect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* Where `make install` puts the small model's folder: the Makefile says it, from PREFIX. */
#ifndef SAEURON_SHARE
#define SAEURON_SHARE "/usr/local/share/saeuron"
#endif
#define MODEL_HERE "weights/emojicanvas"
#define MODEL_INSTALLED SAEURON_SHARE "/emojicanvas"

/* ---- options ---- */

enum { C_GENERATE = 1, C_TOKENIZE = 2, C_ENCODE = 4, C_SELECT = 8, C_INFO = 16, C_DIGEST = 32, C_SELFTEST = 64, C_BENCH = 128,
       C_EVAL = 256, C_SWEEP = 512, C_MEASURE = C_EVAL | C_SWEEP, C_MODEL = C_GENERATE | C_TOKENIZE | C_ENCODE | C_SELECT | C_INFO | C_BENCH | C_MEASURE,
       C_SAMPLE = C_GENERATE | C_SELECT, C_DRAW = C_SAMPLE | C_MEASURE };

/* What makes an SAE; bits from 4096 on. */
enum { C_COLLECT = 1 << 12, C_STATS = 1 << 13, C_MERGE = 1 << 14, C_RECORD = C_COLLECT | C_STATS, C_TRAIN = 1 << 15, C_ASSESS = 1 << 16 };

#define PACK ((size_t)256 << 20) /* bytes that a small model's weights may take once more, for speed */

typedef enum { FLAG, TEXT, LIST, FILES, WHOLE, REAL } value_kind; /* FILES: what follows, up to the next option */

/* One option: its names, the commands that take it, what follows it, where it goes, and the flag that says it was given. */
typedef struct option {
    const char *name, *brief;
    int    commands;
    value_kind kind;
    size_t to, given;
    const char *argument, *help;
} option;

#define AT(field) offsetof(options, field)
#define NONE ((size_t)-1)
static const option table[] = {
    { "--prompt", "-p", C_SAMPLE, TEXT, AT(prompt), NONE, "TEXT", "what to draw" },
    /* collect, train, measure, stats, merge */
    { "--hook", NULL, C_RECORD, LIST, AT(hooks), NONE, "HOOK", "where to look, as up_blocks.1.attentions.2; collect takes several" },
    { "--hook", NULL, C_TRAIN, LIST, AT(hooks), NONE, "HOOK", "where the SAE belongs, as up_blocks.1.attentions.2 (default: where the data is from)" },
    { "--data", NULL, C_TRAIN | C_ASSESS, FILES, AT(data), NONE, "FILE...", "activations that collect wrote: one list of maps, in the order given" },
    { "--online", NULL, C_TRAIN, FLAG, AT(online), NONE, NULL, "sample --prompts while training, instead: nothing is stored" },
    { "--prompts", NULL, C_COLLECT | C_TRAIN, TEXT, AT(prompts), NONE, "FILE", "sample each line of FILE" },
    { "--buffer", NULL, C_TRAIN, WHOLE, AT(buffer), NONE, "MAPS", "with --online: maps in memory, shuffled among themselves (default 1600)" },
    { "--noise-seed", NULL, C_TRAIN, WHOLE, AT(noise_seed), NONE, "S", "with --online: of torch.randn (default 0)" },
    { "--out", "-o", C_TRAIN, TEXT, AT(out), NONE, "DIR", "the folder of the SAE: cfg.json, sae.safetensors, train.tsv, density.tsv, train.json" },
    { "--resume", NULL, C_TRAIN, FLAG, AT(resume), NONE, NULL, "go on from the checkpoint in --out, or begin where there is none" },
    { "--latents", NULL, C_TRAIN, WHOLE, AT(sae_latents), AT(has_sae_latents), "N", "number of latents (default: by --expansion)" },
    { "--expansion", NULL, C_TRAIN, WHOLE, AT(expansion), AT(has_expansion), "E", "E times as many latents as the activation is wide (default 16)" },
    { "--k", NULL, C_TRAIN, WHOLE, AT(k), NONE, "K", "latents kept a token (default 32)" },
    { "--topk", NULL, C_TRAIN, TEXT, AT(topk), NONE, "batch|token", "keep the largest of the whole batch, K a token on average, or K of each token (default batch)" },
    { "--batch", NULL, C_TRAIN, WHOLE, AT(tokens), NONE, "TOKENS", "tokens a step, a multiple of a map's (default 4096)" },
    { "--epochs", NULL, C_TRAIN, WHOLE, AT(epochs), NONE, "N", "times over all maps (default 5; the paper's styles 10)" },
    { "--lr", NULL, C_TRAIN, REAL, AT(lr), NONE, "RATE", "learning rate of the first step, falling to 0 (default 4e-4)" },
    { "--beta1", NULL, C_TRAIN, REAL, AT(beta1), NONE, "B", "of Adam (default 0.9)" },
    { "--beta2", NULL, C_TRAIN, REAL, AT(beta2), NONE, "B", "of Adam (default 0.999)" },
    { "--adam-eps", NULL, C_TRAIN, REAL, AT(adam_eps), NONE, "EPS", "of Adam (default 6.25e-10)" },
    { "--clip", NULL, C_TRAIN, REAL, AT(clip), NONE, "NORM", "most that the gradients' joint norm may be (default 1)" },
    { "--auxk-alpha", NULL, C_TRAIN, REAL, AT(auxk_alpha), NONE, "A", "weight of the dead latents' loss; 0: none (default 1/32)" },
    { "--auxk", NULL, C_TRAIN, TEXT, AT(auxk), NONE, "paper|released", "what dead latents are to explain (docs/audit.md A2; default paper)" },
    { "--multi-topk", NULL, C_TRAIN, FLAG, AT(multi_topk), NONE, NULL, "add an eighth of the loss with 4 K latents" },
    { "--dead-feature-threshold", NULL, C_TRAIN, WHOLE, AT(dead_threshold), NONE, "TOKENS", "a latent that has not fired for more is dead (default 10000000)" },
    { "--seed", NULL, C_TRAIN, WHOLE, AT(seed), NONE, "S", "of the start and of the order of maps (default 42)" },
    { "--checkpoint-every", NULL, C_TRAIN, WHOLE, AT(checkpoint_every), NONE, "STEPS", "write a checkpoint so often; changes no bit (default 1000)" },
    { "--log-every", NULL, C_TRAIN, WHOLE, AT(log_every), NONE, "STEPS", "a row of train.tsv so often (default 10)" },
    { "--dtype", NULL, C_TRAIN, TEXT, AT(type), NONE, "F32|F16", "of the SAE's tensors (default F32)" },
    { "--concepts", NULL, C_STATS, TEXT, AT(concept_file), NONE, "FILE.json", "{\"CONCEPT\": [\"a prompt\", ...], ...} (default: concepts.json's calibration prompts)" },
    { "--lines", NULL, C_STATS, WHOLE, AT(lines), NONE, "N", "at most N prompts a concept (default: all)" },
    { "--out", "-o", C_RECORD | C_MERGE, TEXT, AT(out), NONE, "FILE.safetensors", "the file to write; of several hooks a folder, with HOOK.safetensors for each" },
    { "--density", NULL, C_STATS, TEXT, AT(density), NONE, "FILE.safetensors", "also write how often each latent fires, for --min-density" },
    { "--shard", NULL, C_RECORD, TEXT, AT(shard), NONE, "I/N", "part I (from 0) of N: of the prompts, or of the concepts; merge joins them" },
    { "--every", NULL, C_COLLECT | C_TRAIN, WHOLE, AT(every), NONE, "N", "steps 0, N, 2N, ... only (default 1)" },
    { "--first", NULL, C_COLLECT, WHOLE, AT(first), NONE, "N", "the first N steps only; the others are not sampled (default: all)" },
    { "--diff", NULL, C_COLLECT | C_TRAIN, FLAG, AT(diff), NONE, NULL, "the hook's output less its input" },
    { "--per-prompt", NULL, C_STATS, FLAG, AT(per_prompt), NONE, NULL, "[prompts, steps, latents] in F16, as the released dictionaries, not means" },
    { "--half", NULL, C_STATS, FLAG, AT(half), NONE, NULL, "compute in half precision, as the released code (docs/audit.md A8)" },
    { "--dtype", NULL, C_RECORD, TEXT, AT(type), NONE, "F32|F16", "of the tensors written (default: F32; with --per-prompt F16)" },
    { "--sae", NULL, C_STATS, LIST, AT(sae), NONE, "HOOK=DIR", "the SAE of the hook, when not in MODEL/sae/HOOK" },
    { "--seed", NULL, C_RECORD, WHOLE, AT(seed), AT(has_seed), "S", "of torch.randn (default 0; stats: 188, the paper's)" },
    /* generate, select, eval, sweep; some of the above */
    { "--negative", "-n", C_DRAW | C_RECORD | C_TRAIN, TEXT, AT(negative), NONE, "TEXT", "what to steer away from (default: nothing)" },
    { "--out", "-o", C_GENERATE | C_ENCODE | C_MEASURE, TEXT, AT(out), NONE, "FILE", "the file to write; for several images a folder" },
    { "--count", NULL, C_GENERATE, WHOLE, AT(count), NONE, "N", "so many images of the prompt (default 1)" },
    { "--prompts", NULL, C_GENERATE, TEXT, AT(prompts), NONE, "FILE", "one image for each line of FILE" },
    { "--forget", NULL, C_SAMPLE, TEXT, AT(forget), NONE, "A[,B...]", "concepts to unlearn, styles and objects alike" },
    { "--top", NULL, C_SAMPLE | C_EVAL, WHOLE, AT(top), NONE, "K", "ablate the K best-scored latents a step" },
    { "--percentile", NULL, C_SAMPLE | C_EVAL, REAL, AT(percentile), AT(has_percentile), "P", "or those scored above this percentile" },
    { "--strength", NULL, C_SAMPLE | C_EVAL, REAL, AT(strength), AT(has_strength), "G", "multiply them by G times their mean (default: the pair kept beside the SAE)" },
    { "--residual", NULL, C_DRAW, TEXT, AT(residual), NONE, "paper|released|none", "how the SAE's error returns (docs/audit.md A1; default paper)" },
    { "--steer", NULL, C_GENERATE, LIST, AT(steer), NONE, "HOOK:LATENT=FACTOR", "multiply one latent wherever it fires (docs/audit.md A20)" },
    { "--reconstruct", NULL, C_GENERATE, LIST, AT(reconstruct), NONE, "HOOK", "the SAE's reconstruction instead of the activation" },
    { "--sae", NULL, C_DRAW, LIST, AT(sae), NONE, "HOOK=DIR", "the SAE of a hook, when not in MODEL/sae/HOOK" },
    { "--stats", NULL, C_DRAW, LIST, AT(stats), NONE, "FILE", "statistics, when not beside their SAE" },
    { "--map-steps", NULL, C_DRAW, FLAG, AT(map_steps), NONE, NULL, "statistics of another number of steps: take the nearest timestep's" },
    { "--noise", NULL, C_SAMPLE, TEXT, AT(noise), NONE, "FILE.npy", "start from this noise [B,4,h,w] instead of the seed" },
    { "--noise-index", NULL, C_SAMPLE, WHOLE, AT(noise_index), NONE, "J", "place in the seed's stream of the first image (default 0)" },
    { "--seed", NULL, C_SAMPLE, WHOLE, AT(seed), NONE, "S", "of torch.randn (default 0)" },
    { "--steps", NULL, C_DRAW | C_RECORD | C_TRAIN | C_INFO, WHOLE, AT(steps), NONE, "T", "sampling steps (default: the model's)" },
    { "--cfg", NULL, C_DRAW | C_RECORD | C_TRAIN, REAL, AT(guidance), AT(has_guidance), "G", "classifier-free guidance (default: the model's); at most 1: none" },
    { "--height", NULL, C_DRAW | C_RECORD | C_TRAIN | C_INFO, WHOLE, AT(height), NONE, "PIXELS", "of an image (default: the model's)" },
    { "--width", NULL, C_DRAW | C_RECORD | C_TRAIN | C_INFO, WHOLE, AT(width), NONE, "PIXELS", "of an image (default: the model's)" },
    { "--batch", NULL, C_DRAW | C_RECORD | C_INFO, WHOLE, AT(batch), NONE, "N", "images at a time; changes speed and memory, never a bit" },
    { "--dump", NULL, C_GENERATE, TEXT, AT(dump), NONE, "DIR", "every intermediate as .npy, by its diffusers module path and step" },
    { "--inject", NULL, C_GENERATE, LIST, AT(inject), NONE, "NAME=FILE.npy", "put a file in an intermediate's place; NAME as --dump names it" },
    { "--protocol", NULL, C_MEASURE, TEXT, AT(protocol), NONE, "NAME|FILE", "emojicanvas, paper, released, unlearncanvas or a JSON file (default: concepts.json's, else emojicanvas)" },
    { "--domain", NULL, C_MEASURE, TEXT, AT(domain), NONE, "style|object", "concepts of this domain only" },
    { "--concepts", NULL, C_MEASURE, TEXT, AT(concepts), NONE, "A[,B...]", "these concepts only, each forgotten alone" },
    { "--seeds", NULL, C_MEASURE, TEXT, AT(seeds), NONE, "S[,S...]", "instead of the protocol's; of sweep: the first chooses, the others validate (default 1188,1288,1588)" },
    { "--classifier", NULL, C_MEASURE, TEXT, AT(classifier), NONE, "DIR", "the folder of both classifiers, style and object (default: MODEL/classifier)" },
    { "--shard", NULL, C_EVAL, TEXT, AT(shard), NONE, "I/N", "draw every N-th image only, from the I-th (from 0), and measure nothing" },
    { "--quick", NULL, C_EVAL, FLAG, AT(quick), NONE, NULL, "the first seed, and a third of the places" },
    { "--dry-run", NULL, C_EVAL, FLAG, AT(dry_run), NONE, NULL, "only say how many images there are to draw, and how long that takes" },
    { "--print-protocol", NULL, C_EVAL, FLAG, AT(print_protocol), NONE, NULL, "print the protocol as a JSON file that --protocol reads" },
    { "--tops", NULL, C_SWEEP, TEXT, AT(tops), NONE, "K[,K...]", "grid: the K best-scored latents a step (default 1,2,4,8, unless --percentiles)" },
    { "--percentiles", NULL, C_SWEEP, TEXT, AT(percentiles), NONE, "P[,P...]", "grid: latents scored above a percentile; the paper's: 99.99,99.995,99.999" },
    { "--strengths", NULL, C_SWEEP, TEXT, AT(strengths), NONE, "G[,G...]", "grid: strengths (default, the paper's: objects -1,-5,-10,-15,-20,-25,-30; styles -1)" },
    { "--write", NULL, C_SWEEP, FLAG, AT(install), NONE, NULL, "put the choice into forget.json beside the SAE, too" },
    { "--allow-overlap", NULL, C_MEASURE, FLAG, AT(overlap), NONE, NULL, "measure although the statistics were made with a test seed (docs/audit.md A22)" },
    { "--explain", NULL, C_SELECT, FLAG, AT(explain), NONE, NULL, "sample --prompt and show the edits of one step, latent by latent" },
    { "--at", NULL, C_SELECT, WHOLE, AT(at), AT(has_at), "STEP", "this step only" },
    { "--limit", NULL, C_SELECT, WHOLE, AT(limit), NONE, "N", "at most N rows of --explain (default 32)" },
    { "--strings", NULL, C_TOKENIZE, FLAG, AT(strings), NONE, NULL, "show the pieces beside their ids" },
    { "--image", NULL, C_ENCODE, TEXT, AT(image), NONE, "FILE.png", "encode this picture with the VAE instead of a text" },
    { "--latents", NULL, C_ENCODE, FLAG, AT(latents), NONE, NULL, "of --image: its latents [1,C,h,w], as --noise reads them, not mean and log variance [2C,h,w]" },
    { "--memory", NULL, C_INFO, FLAG, AT(memory), NONE, NULL, "the memory that generating an image takes" },
    { "--tensors", NULL, C_INFO, FLAG, AT(tensors), NONE, NULL, "every tensor: name, type, shape" },
    { "--only", NULL, C_BENCH, TEXT, AT(only), NONE, "ROW", "one row of the list by its name, also those that take minutes" },
    { "--runs", NULL, C_BENCH, WHOLE, AT(runs), NONE, "N", "each figure is the median of N runs (default 5)" },
    { "--profile", NULL, C_BENCH, FLAG, AT(profile), NONE, NULL, "one guided step instead, operation by operation" },
    { "--list", NULL, C_SELFTEST, FLAG, AT(listing), NONE, NULL, "print every digest, whether it is right or not" },
    { "--min-density", NULL, C_SAMPLE, REAL, AT(min_density), AT(has_min_density), "SHARE", "select latents that fire at this share of the concept's tokens at least (docs/audit.md A3)" },
    { "--shared", NULL, C_SAMPLE, TEXT, AT(shared), NONE, "largest|released", "which of several concepts edits a latent they share (docs/audit.md A5; default largest)" },
    { "--model", "-m", C_MODEL | C_RECORD | C_TRAIN, TEXT, AT(model), NONE, "DIR", "a diffusers pipeline folder (default: SAEURON_MODEL, else " MODEL_HERE ", else " MODEL_INSTALLED ")" },
    { "--synthetic", NULL, (C_MODEL & ~(C_SELECT | C_MEASURE)) | C_TRAIN, TEXT, AT(synthetic), NONE, "sd15", "instead: Stable Diffusion 1.5's architecture, hash-filled, 2.2 GB of memory" },
    { "--threads", NULL, C_MODEL | C_RECORD | C_TRAIN | C_ASSESS | C_SELFTEST, WHOLE, AT(threads), AT(has_threads), "N", "threads (default: all cores); no bit depends on them" },
    { "--isa", NULL, C_MODEL | C_RECORD | C_TRAIN | C_ASSESS | C_SELFTEST, TEXT, AT(isa), NONE, "NAME", "kernels to use (default: SAEURON_ISA, else the best here)" },
    { "--json", NULL, C_MODEL | C_TRAIN | C_ASSESS | C_DIGEST, FLAG, AT(json), NONE, NULL, "print JSON" },
    { "--quiet", "-q", C_MODEL | C_RECORD | C_TRAIN | C_ASSESS | C_MERGE | C_DIGEST | C_SELFTEST, FLAG, AT(quiet), NONE, NULL, "no progress and no remarks on stderr" },
    { "--help", "-h", ~0, FLAG, AT(help), NONE, NULL, "this text" },
};
#define OPTIONS (sizeof table / sizeof *table)

typedef struct subcommand {
    const char *name;
    int    bit;
    int  (*run)(const options *);
    const char *arguments, *summary;
} subcommand;

static const subcommand *find_command(const char *name);

/* ---- messages ---- */

int complain(const saeuron_error *err)
{
    fprintf(stderr, "saeuron: %s\n", err->text);
    return err->code == SAEURON_EUSAGE ? 2 : 1;
}

int usage(const char *command, const char *format, const char *what)
{
    saeuron_error err;
    fail(&err, SAEURON_EUSAGE, format, what); /* cleans control characters out of what */
    fprintf(stderr, "saeuron %s: %s; see saeuron %s --help\n", command, err.text, command);
    return 2;
}

/* stdout may be a full disk: a product that was not written is a failure. */
static int finish(int code)
{
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "saeuron: standard output could not be written: is the disk full?\n");
        return 1;
    }
    return code;
}

/* Bytes that the next character may have: at most 4, none beyond the end. */
static size_t ahead(const char *text)
{
    size_t n = 0;
    while (n < 4 && text[n])
        n++;
    return n;
}

/* text on stdout as a JSON string. What is not UTF-8 (a path may be) becomes U+FFFD. */
void print_json_string(const char *text)
{
    char out[16];
    putchar('"');
    while (*text) { /* a character at a time: no memory */
        uint32_t code;
        char     one[5] = { 0 };
        const size_t length = io_utf8(text, ahead(text), &code), n = length ? length : 1;
        memcpy(one, text, n);
        const size_t quoted = json_quote(out, sizeof out, one);
        printf("%.*s", (int)quoted - 2, out + 1);
        text += n;
    }
    putchar('"');
}

/* text on stdout as it is, but for control characters: names from a file must neither end the line nor talk to the terminal. */
void print_name(const char *text)
{
    while (*text) {
        uint32_t code;
        const size_t length = io_utf8(text, ahead(text), &code);
        if (!length || code < 32 || (code >= 0x7f && code < 0xa0))
            putchar('?');
        else
            printf("%.*s", (int)length, text);
        text += length ? length : 1;
    }
}

/* ---- progress ---- */

/* Takes the progress off a terminal, so that a message stands alone on its line. */
void clear_line(void)
{
    const int width = os_terminal_width();
    if (width)
        fprintf(stderr, "\r%*s\r", width > 72 ? 72 : width - 1, "");
}

static int show_progress(void *user, const char *stage, size_t done, size_t total)
{
    talk *t = user;
    const double now = os_seconds();
    const int width = os_terminal_width();
    if (os_interrupted())
        return 1;
    if (t->quiet || !total)
        return 0;
    const double share = ((double)t->done + (double)t->now * (double)done / (double)total) / (double)t->images;
    const double left = (now - t->start) / share * (1 - share);
    if (width) {
        if (done == total || now - t->last > 0.1) {
            fprintf(stderr, "\r%s %zu/%zu", stage, done, total);
            if (t->images > t->now && t->now == 1)
                fprintf(stderr, ", image %zu of %zu", t->done + 1, t->images);
            else if (t->images > t->now)
                fprintf(stderr, ", images %zu to %zu of %zu", t->done + 1, t->done + t->now, t->images);
            fprintf(stderr, ", %.0f s left   ", left);
            t->last = now;
        }
        if (done == total)
            clear_line();
    } else if (now - t->last > 10) { /* a log: a line now and then */
        fprintf(stderr, "%.0f %% of %zu images, %.0f s left\n", 100 * share, t->images, left);
        t->last = now;
    }
    return 0;
}

/* ---- parsing ---- */

static const option *find_option(const char *name, int command)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if ((table[i].commands & command) && (!strcmp(name, table[i].name) || (table[i].brief && !strcmp(name, table[i].brief))))
            return &table[i];
    return NULL;
}

/* Letters in common from the start: enough to guess what was meant. */
static size_t letters_in_common(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

static const option *nearest_option(const char *name, int command)
{
    const option *best = NULL;
    size_t most = 3;
    for (size_t i = 0; i < OPTIONS; i++) {
        const size_t n = letters_in_common(name, table[i].name);
        if ((table[i].commands & command) && n > most) {
            most = n;
            best = &table[i];
        }
    }
    return best;
}

static int set_option(options *o, const option *p, const char *value, const char *command)
{
    char *to = (char *)o + p->to;
    list *l;
    switch (p->kind) {
    case FLAG:
        *(bool *)(void *)to = true;
        break;
    case TEXT:
        *(const char **)(void *)to = value;
        break;
    case LIST:
        l = (list *)(void *)to;
        if (l->count == MANY)
            return usage(command, "%s is given too often", p->name);
        l->item[l->count++] = value;
        break;
    case FILES:
        o->data.item[o->data.count++] = (char *)(uintptr_t)value; /* as many as the command line has words: there is room */
        break;
    case WHOLE:
        if (!io_parse_uint(value, (uint64_t *)(void *)to))
            return usage(command, "%s wants a whole number", p->name);
        break;
    case REAL:
        if (!io_parse_double(value, (double *)(void *)to))
            return usage(command, "%s wants a number", p->name);
        break;
    }
    if (p->given != NONE)
        *(bool *)(void *)((char *)o + p->given) = true;
    return 0;
}

static int parse(options *o, const subcommand *c, int argc, char **argv)
{
    bool only_arguments = false; /* after "--" */
    train_config paper;
    train_defaults(&paper, 1);
    *o = (options){ .count = 1, .limit = 32, .runs = 5, .isa = getenv("SAEURON_ISA"), .rest.item = argv, .data.item = o->data.item,
                    .expansion = paper.n, .k = paper.k, .tokens = paper.batch, .epochs = 5, .checkpoint_every = 1000, .log_every = 10, .dead_threshold = paper.dead_threshold,
                    .buffer = 1600, .lr = paper.lr, .beta1 = paper.beta1, .beta2 = paper.beta2, .adam_eps = paper.eps, .clip = paper.clip, .auxk_alpha = paper.auxk_alpha,
                    .seed = c->bit == C_TRAIN ? paper.seed : 0 };
    if (o->isa && !*o->isa)
        o->isa = NULL;
    for (int i = 2; i < argc; i++) {
        char name[64];
        const char *equals = !strncmp(argv[i], "--", 2) ? strchr(argv[i], '=') : NULL, *value = NULL;
        if (!only_arguments && !strcmp(argv[i], "--")) {
            only_arguments = true;
            continue;
        }
        if (only_arguments || argv[i][0] != '-' || !argv[i][1]) {
            o->rest.item[o->rest.count++] = argv[i]; /* argv's own room: there are never more than were read */
            continue;
        }
        snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - argv[i]) : 60, argv[i]);
        const option *p = find_option(name, c->bit);
        if (!p) {
            const option *near = nearest_option(name, c->bit);
            char hint[160];
            snprintf(hint, sizeof hint, "%s here%s%s%s", name, near ? "; did you mean " : "", near ? near->name : "", near ? "?" : "");
            return usage(c->name, "there is no option %s", hint);
        }
        if (p->kind == FLAG && equals)
            return usage(c->name, "%s takes no value", p->name);
        if (p->kind != FLAG && !(value = equals ? equals + 1 : i + 1 < argc ? argv[++i] : NULL))
            return usage(c->name, "%s wants a value", p->name);
        int code = set_option(o, p, value, c->name);
        while (!code && p->kind == FILES && i + 1 < argc && argv[i + 1][0] != '-')
            code = set_option(o, p, argv[++i], c->name);
        if (code)
            return code;
    }
    return 0;
}

/* ---- opening what the options name ---- */

/* --model, else what SAEURON_MODEL names, else the first place where a model is. NULL: there is none. */
static const char *find_model(const options *o)
{
    static const char *const places[] = { MODEL_HERE, MODEL_INSTALLED };
    const char *named = o->model ? o->model : getenv("SAEURON_MODEL");
    char path[1024];
    if (named && (o->model || *named))
        return named;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (io_join(path, sizeof path, places[i], "scheduler/scheduler_config.json") && io_exists(NULL, path))
            return places[i];
    return NULL;
}

int open_model(saeuron_context **x, const options *o, talk *t)
{
    saeuron_error err = { 0 };
    const char *model = find_model(o);
    const saeuron_host host = { .user = t, .progress = show_progress, .threads = o->threads > 1024 ? 1024 : (int)o->threads, .isa = o->isa, .pack = PACK };
    if (o->has_threads && !o->threads)
        return fprintf(stderr, "saeuron: --threads must be at least 1\n"), 2;
    *t = (talk){ .quiet = o->quiet, .start = os_seconds(), .last = os_seconds(), .images = 1, .now = 1 };
    if (!model && !o->synthetic) {
        fail(&err, SAEURON_ENOENT, "there is no model at %s nor at %s: name a diffusers folder with --model DIR or in SAEURON_MODEL", MODEL_HERE, MODEL_INSTALLED);
        return complain(&err);
    }
    return (o->synthetic ? saeuron_open_synthetic(x, &host, o->synthetic, &err) : saeuron_open(x, &host, model, &err)) ? complain(&err) : 0;
}

/* --sae HOOK=DIR and --stats FILE (whose metadata names its hook). */
int place_saes(saeuron_context *x, const options *o, saeuron_error *err)
{
    char hook[96];
    int  code;
    for (size_t i = 0; i < o->sae.count; i++) {
        const char *equals = strchr(o->sae.item[i], '=');
        if (!equals || (size_t)(equals - o->sae.item[i]) >= sizeof hook)
            return fail(err, SAEURON_EUSAGE, "--sae wants HOOK=DIR, as up_blocks.1.attentions.2=my-sae");
        snprintf(hook, sizeof hook, "%.*s", (int)(equals - o->sae.item[i]), o->sae.item[i]);
        if ((code = saeuron_use_sae(x, hook, equals + 1, NULL, err)) != SAEURON_OK)
            return code;
    }
    for (size_t i = 0; i < o->stats.count; i++) {
        stats s;
        const char *dir = NULL;
        if ((code = stats_load(&s, &x->host, o->stats.item[i], err)) != SAEURON_OK)
            return code;
        memcpy(hook, s.hook, sizeof hook);
        if (!strncmp(hook, "unet.", 5))
            memmove(hook, hook + 5, strlen(hook + 5) + 1);
        stats_unload(&s, &x->host);
        if (!unet_hook_width(&x->unet, hook, NULL))
            return fail(err, SAEURON_EFORMAT, "%s: its metadata names %s%s: which hook is it for?", o->stats.item[i], *hook ? "no hook of this UNet, but " : "no hook", hook);
        for (size_t j = 0; j < x->places; j++)
            if (!strcmp(x->place[j]->hook, hook))
                dir = x->place[j]->dir;
        if ((code = saeuron_use_sae(x, hook, dir, o->stats.item[i], err)) != SAEURON_OK)
            return code;
    }
    return SAEURON_OK;
}

/* --forget A,B with --top, --percentile, --strength for all of them. */
static int forget_all(saeuron_context *x, const options *o, saeuron_error *err)
{
    const char *alone = o->top ? "--top" : o->has_percentile ? "--percentile" : o->has_strength ? "--strength" : o->has_min_density ? "--min-density" : o->shared ? "--shared" : NULL;
    int code = place_saes(x, o, err);
    if (!code && o->forget && !*o->forget)
        return fail(err, SAEURON_EUSAGE, "--forget names no concept");
    if (!code && !o->forget && alone)
        return fail(err, SAEURON_EUSAGE, "%s does nothing without --forget", alone);
    if (!code && !o->forget && !o->steer.count && o->residual)
        return fail(err, SAEURON_EUSAGE, "--residual does nothing without --forget or --steer");
    for (const char *p = o->forget; !code && p && *p;) {
        char name[96];
        const size_t n = strcspn(p, ",");
        if (n >= sizeof name)
            return fail(err, SAEURON_EUSAGE, "--forget: %.40s... is no concept", p);
        memcpy(name, p, n);
        name[n] = 0;
        const saeuron_forget_options f = { .name = name, .top = (size_t)o->top, .percentile = o->percentile, .strength = o->strength,
                                       .has_strength = o->has_strength, .min_density = o->min_density };
        code = saeuron_forget(x, &f, err);
        p += n + (p[n] == ',');
    }
    if (!code && o->has_percentile && o->top)
        return fail(err, SAEURON_EUSAGE, "--top and --percentile exclude each other");
    if (!code && o->has_percentile && !(o->percentile > 0 && o->percentile <= 100))
        return fail(err, SAEURON_EUSAGE, "--percentile must be above 0 and at most 100");
    return code;
}

/* --steer HOOK:LATENT=FACTOR and --reconstruct HOOK. */
static int steer_all(saeuron_context *x, const options *o, saeuron_error *err)
{
    char hook[96], number[24];
    int  code = SAEURON_OK;
    for (size_t i = 0; !code && i < o->steer.count; i++) {
        const char *text = o->steer.item[i], *colon = strchr(text, ':'), *equals = colon ? strchr(colon, '=') : NULL;
        uint64_t latent;
        double   factor;
        if (!equals || (size_t)(colon - text) >= sizeof hook || (size_t)(equals - colon) > sizeof number)
            return fail(err, SAEURON_EUSAGE, "--steer wants HOOK:LATENT=FACTOR, as up_blocks.1.attentions.2:17=-3, not %.80s", text);
        snprintf(hook, sizeof hook, "%.*s", (int)(colon - text), text);
        snprintf(number, sizeof number, "%.*s", (int)(equals - colon - 1), colon + 1);
        if (!io_parse_uint(number, &latent) || latent > SIZE_MAX)
            return fail(err, SAEURON_EUSAGE, "--steer %.80s: the latent is no whole number", text);
        if (!io_parse_double(equals + 1, &factor))
            return fail(err, SAEURON_EUSAGE, "--steer %.80s: the factor is no number", text);
        code = saeuron_steer(x, hook, (size_t)latent, factor, err);
    }
    for (size_t i = 0; !code && i < o->reconstruct.count; i++)
        code = saeuron_reconstruct(x, o->reconstruct.item[i], err);
    return code;
}

/* The options of sampling as the library takes them. *noise is the caller's to free. */
int sampling(saeuron_generate_options *g, const options *o, const saeuron_context *x, float **noise, saeuron_error *err)
{
    size_t shape[TENSOR_DIMS], want[4], width, height;
    int    ndim, code;
    *noise = NULL;
    g->negative_prompt = o->negative;
    g->seed = o->seed;
    g->noise_index = o->noise_index;
    g->steps = (size_t)o->steps;
    g->guidance = o->guidance;
    g->has_guidance = o->has_guidance;
    g->height = (size_t)o->height;
    g->width = (size_t)o->width;
    g->batch = (size_t)o->batch;
    g->map_steps = o->map_steps;
    if (o->residual && strcmp(o->residual, "paper")) {
        g->residual = !strcmp(o->residual, "released") ? SAEURON_RESIDUAL_RELEASED : !strcmp(o->residual, "none") ? SAEURON_RESIDUAL_NONE : -1;
        if (g->residual < 0)
            return fail(err, SAEURON_EUSAGE, "--residual must be paper, released or none");
    }
    if (o->shared && strcmp(o->shared, "largest") && strcmp(o->shared, "released"))
        return fail(err, SAEURON_EUSAGE, "--shared must be largest or released");
    g->shared = o->shared && !strcmp(o->shared, "released") ? SAEURON_SHARED_RELEASED : SAEURON_SHARED_LARGEST;
    if (!o->noise)
        return SAEURON_OK;
    if ((code = saeuron_image_size(x, g, &width, &height, err)) != SAEURON_OK || (code = npy_load(&x->host, o->noise, noise, shape, &ndim, err)) != SAEURON_OK)
        return code;
    want[0] = g->count;
    want[1] = x->unet.in_channels;
    want[2] = height >> (x->vae.levels - 1);
    want[3] = width >> (x->vae.levels - 1);
    if (ndim != 4 || memcmp(shape, want, sizeof want))
        return fail(err, SAEURON_EFORMAT, "%s: the noise must have shape [%zu, %zu, %zu, %zu]", o->noise, want[0], want[1], want[2], want[3]);
    g->noise = *noise;
    return SAEURON_OK;
}

/* ---- generate ---- */

int read_shard(const char *text, size_t *i, size_t *n, saeuron_error *err)
{
    return io_parse_part(text, i, n) ? SAEURON_OK : fail(err, SAEURON_EUSAGE, "--shard wants I/N with I from 0 to N-1, as 0/4; not \"%.40s\"", text);
}

/* The lines of a prompts file, as pointers into one buffer with NULs for newlines; empty lines are left out. */
int read_prompts(const options *o, const saeuron_host *host, char **buffer, const char ***prompts, size_t *count, saeuron_error *err)
{
    io_file f;
    int code = io_open(&f, host, o->prompts, err);
    size_t lines = 1;
    if (code)
        return code;
    for (size_t i = 0; i < f.size; i++)
        lines += f.data[i] == '\n';
    *buffer = io_alloc(host, f.size + 1, 1);
    *prompts = io_alloc(host, lines, sizeof **prompts);
    *count = 0;
    if (!*buffer || !*prompts) {
        io_close(&f);
        return fail(err, SAEURON_ENOMEM, "%s: no memory for its prompts", o->prompts);
    }
    memcpy(*buffer, f.data, f.size);
    (*buffer)[f.size] = 0;
    if (memchr(*buffer, 0, f.size))
        code = fail(err, SAEURON_EFORMAT, "%s: a NUL byte in it: prompts are lines of UTF-8 text", o->prompts);
    io_close(&f);
    for (char *p = *buffer + (strncmp(*buffer, "\xEF\xBB\xBF", 3) ? 0 : 3); !code && *p;) { /* a byte-order mark is no prompt */
        const size_t n = strcspn(p, "\n");
        const bool last = !p[n];
        p[n] = 0;
        if (n && p[n - 1] == '\r')
            p[n - 1] = 0;
        if (*p)
            (*prompts)[(*count)++] = p;
        p += n + !last;
    }
    if (!code && !*count)
        code = fail(err, SAEURON_EFORMAT, "%s: there is no prompt in it", o->prompts);
    return code;
}

static void warn_if_cut(const saeuron_context *x, const char *prompt, bool quiet)
{
    size_t cut = 0;
    int32_t *ids = io_alloc(&x->host, saeuron_text_length(x), sizeof *ids);
    if (ids && !saeuron_tokenize(x, prompt, ids, NULL, &cut, NULL) && cut && !quiet)
        fprintf(stderr, "saeuron: the prompt is %zu tokens longer than the text encoder's %zu: its end is cut off\n", cut, saeuron_text_length(x));
    io_free(&x->host, ids);
}

/* ---- --dump and --inject ---- */

/* --inject NAME=FILE: the file's values, and what in a run they replace. */
typedef struct injection {
    char       *what;               /* the option's NAME; owned */
    const char *path;
    const char *name;               /* NAME without its prefix */
    long   step, image;             /* of the prefix "stepN." or "imageN."; -1: every one */
    float *values;
    size_t shape[TENSOR_DIMS];
    int    ndim;
    bool   found;
    uint64_t digest;
} injection;

/* The two uses of the tap, in this order: what was injected is dumped. One batch: see make_images. */
typedef struct wires {
    const char *dump;               /* the folder, or NULL */
    const saeuron_host *host;
    size_t    steps, images, injections;
    injection inject[MANY];
    saeuron_error err;
} wires;

/* The dimensions that a tap's values have in a file, in PyTorch's order: [B,N,C] or [B,C,H,W]. Returns how many. */
static int file_shape(size_t out[4], const size_t shape[4], int kind)
{
    const bool tokens = kind == SAEURON_TAP_TOKENS;
    out[0] = shape[0];
    out[1] = tokens ? shape[1] : shape[3];
    out[2] = tokens ? shape[3] : shape[1];
    out[3] = tokens ? 0 : shape[2];
    return tokens ? 3 : 4;
}

/* Among several images the VAE's values are of one: its number belongs to their name. */
static bool of_one_image(const wires *w, const char *name) { return w->images > 1 && !strncmp(name, "vae.", 4); }

/* The number N of "stepN." or "imageN." at the start of *name, which moves behind it; -1 without one. */
static long take_number(const char **name, const char *word)
{
    const size_t n = strlen(word);
    const char *p = *name + n;
    long number = 0;
    if (strncmp(*name, word, n) || *p < '0' || *p > '9')
        return -1;
    for (; *p >= '0' && *p <= '9'; p++)
        number = number < 100000000 ? 10 * number + (*p - '0') : number;
    if (*p != '.')
        return -1;
    *name = p + 1;
    return number;
}

/* DIR/stepNNN.NAME.npy, DIR/imageNNNNN.NAME.npy or DIR/NAME.npy. */
static int dump_values(wires *w, const char *name, int step, size_t first, const float *values, const size_t shape[4], int kind)
{
    char   path[1024], file[256];
    size_t out[4];
    const int ndim = file_shape(out, shape, kind);
    if (step >= 0)
        snprintf(file, sizeof file, "step%03d.%s.npy", step, name);
    else if (of_one_image(w, name))
        snprintf(file, sizeof file, "image%05zu.%s.npy", first, name);
    else
        snprintf(file, sizeof file, "%s.npy", name);
    if (!io_join(path, sizeof path, w->dump, file))
        return fail(&w->err, SAEURON_EUSAGE, "--dump: the path is too long");
    if (kind == SAEURON_TAP_TOKENS)
        return npy_save(w->host, path, values, out, ndim, &w->err);
    const size_t P = shape[1] * shape[2];
    float *nchw = io_alloc(w->host, shape[0] * P * shape[3], sizeof *nchw);
    if (!nchw)
        return fail(&w->err, SAEURON_ENOMEM, "--dump: no memory for %s", name);
    nn_to_nchw(nchw, values, shape[0], shape[3], P);
    const int code = npy_save(w->host, path, nchw, out, ndim, &w->err);
    io_free(w->host, nchw);
    return code;
}

static int use_wires(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    wires *w = user;
    for (size_t i = 0; i < w->injections; i++) { /* where two meet, the last named stays */
        const injection *in = &w->inject[i];
        if (strcmp(in->name, name) || (in->step >= 0 && in->step != step) || (in->image >= 0 && (size_t)in->image != first))
            continue;
        if (kind == SAEURON_TAP_TOKENS)
            memcpy(values, in->values, shape[0] * shape[1] * shape[3] * sizeof *values);
        else
            nn_from_nchw(values, in->values, shape[0], shape[3], shape[1] * shape[2]);
    }
    return w->dump ? dump_values(w, name, step, first, values, shape, kind) : SAEURON_OK;
}

/* "[2, 16, 32]". */
static void shape_text(char *out, size_t size, const size_t *shape, int ndim)
{
    size_t at = 0;
    for (int i = 0; i < ndim && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%zu%s", i ? ", " : "[", shape[i], i + 1 < ndim ? "" : "]");
}

/* Hears the names of a run before it begins: each file must have the shape of what it replaces. */
static int hear_name(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    wires *w = user;
    size_t want[4];
    char   wanted[112], found[220];
    const int ndim = file_shape(want, shape, kind);
    (void)first, (void)values;
    for (size_t i = 0; i < w->injections; i++) {
        injection *in = &w->inject[i];
        if (strcmp(in->name, name) || (in->step >= 0 && (step < 0 || (size_t)in->step >= w->steps)) ||
            (in->image >= 0 && (strncmp(name, "vae.", 4) || (size_t)in->image >= w->images)))
            continue;
        in->found = true;
        if (in->ndim == ndim && !memcmp(in->shape, want, (size_t)ndim * sizeof *want))
            continue;
        shape_text(wanted, sizeof wanted, want, ndim);
        shape_text(found, sizeof found, in->shape, in->ndim);
        return fail(&w->err, SAEURON_EFORMAT, "%s: its shape is %s, but that of %s in this run is %s", in->path, in->ndim ? found : "[]", in->what, wanted);
    }
    return SAEURON_OK;
}

/* Reads --inject's files, and checks name and shape of each against the run that g describes. */
static int open_injections(wires *w, saeuron_context *x, saeuron_generate_options g, const options *o, saeuron_error *err)
{
    for (size_t i = 0; i < o->inject.count; i++) {
        injection  *in = &w->inject[i];
        const char *equals = strchr(o->inject.item[i], '=');
        size_t n = 1;
        int    code;
        if (!equals || equals == o->inject.item[i] || !equals[1])
            return fail(err, SAEURON_EUSAGE, "--inject wants NAME=FILE.npy, as step003.latents=here.npy, not %.80s", o->inject.item[i]);
        char *name = io_alloc(&x->host, (size_t)(equals - o->inject.item[i]) + 1, 1);
        if (!name)
            return fail(err, SAEURON_ENOMEM, "--inject: no memory for its names");
        memcpy(name, o->inject.item[i], (size_t)(equals - o->inject.item[i]));
        name[equals - o->inject.item[i]] = 0;
        *in = (injection){ .what = name, .name = name, .path = equals + 1 };
        w->injections++;
        in->step = take_number(&in->name, "step");
        in->image = in->step < 0 ? take_number(&in->name, "image") : -1;
        for (size_t j = 0; j < i; j++)
            if (!strcmp(w->inject[j].name, in->name) && w->inject[j].step == in->step && w->inject[j].image == in->image)
                return fail(err, SAEURON_EUSAGE, "--inject %.100s is given twice", in->what);
        if ((code = npy_load(&x->host, in->path, &in->values, in->shape, &in->ndim, err)) != SAEURON_OK)
            return code;
        for (int j = 0; j < in->ndim; j++)
            n *= in->shape[j];
        in->digest = digest_floats(in->values, n);
    }
    if (!w->injections)
        return SAEURON_OK;
    g.tap = hear_name;
    const int code = saeuron_intermediates(x, &g, err);
    for (size_t i = 0; !code && i < w->injections; i++)
        if (!w->inject[i].found)
            return fail(err, SAEURON_EUSAGE, "--inject %.100s: nothing in this run is called that; --dump DIR writes all that there is, by name", w->inject[i].what);
    return code;
}

static void close_injections(wires *w, const saeuron_context *x)
{
    for (size_t i = 0; i < w->injections; i++) {
        io_free(&x->host, w->inject[i].values);
        io_free(&x->host, w->inject[i].what);
    }
}

/* ---- the texts of a picture ---- */

/* "NAME DIGEST; ...": the digest is `saeuron digest FILE`'s. */
static char *describe_injections(const saeuron_context *x, const wires *w)
{
    size_t at = 0, size = 1;
    for (size_t i = 0; i < w->injections; i++)
        size += strlen(w->inject[i].what) + 24;
    char *out = io_alloc(&x->host, size, 1);
    if (!out)
        return NULL;
    out[0] = 0;
    for (size_t i = 0; i < w->injections; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s %016" PRIx64, at ? "; " : "", w->inject[i].what, w->inject[i].digest);
    return out;
}

/* Writes image number j with what is needed to make it again. digest: the model's. */
static int save_image(const saeuron_context *x, const saeuron_generate_options *g, const options *o, const wires *w, size_t j, const unsigned char *rgb,
                      size_t W, size_t H, uint64_t digest, const char *path, saeuron_error *err)
{
    picture p;
    char *inject = describe_injections(x, w);
    int code = inject ? picture_describe(&p, x, g, j, W, H, digest, inject, err) : fail(err, SAEURON_ENOMEM, "%s: no memory for its texts", path);
    if (code) {
        io_free(&x->host, inject);
        return code;
    }
    code = png_save(&x->host, path, rgb, W, H, p.texts, err);
    if (!code && !o->json)
        printf("%s\n", path);
    if (!code && o->json) {
        printf("{\"path\": ");
        print_json_string(path);
        for (size_t i = 0; p.texts[i]; i += 2) {
            printf(", \"%s\": ", p.texts[i]);
            print_json_string(p.texts[i + 1]);
        }
        printf("}\n");
    }
    picture_free(&p, x);
    io_free(&x->host, inject);
    return code;
}

/* Where image j goes: the file named, or DIR/00000.png. */
static int image_path(char *path, size_t size, const options *o, size_t j, size_t count, saeuron_error *err)
{
    char name[32];
    const size_t n = strlen(o->out);
    const bool folder = count > 1 || (n && o->out[n - 1] == '/');
    snprintf(name, sizeof name, "%05zu.png", j);
    if (folder ? !io_join(path, size, o->out, name) : (size_t)snprintf(path, size, "%s", o->out) >= size)
        return fail(err, SAEURON_EUSAGE, "--out: the path is too long");
    return folder && !j ? io_make_dir(o->out, err) : SAEURON_OK;
}

/* Whether the first image can be written: before the minutes that it takes, not after. */
static int check_output(const options *o, size_t count, saeuron_error *err)
{
    char   path[1024];
    io_out f;
    int    code = image_path(path, sizeof path, o, 0, count, err);
    if (!code && (code = io_out_open(&f, path, err)) == SAEURON_OK)
        io_out_abort(&f);
    return code;
}

/* Makes and saves the images of g, a batch at a time so that a stop keeps what is done. */
static int make_images(saeuron_context *x, saeuron_generate_options *g, const options *o, const wires *w, talk *t, saeuron_error *err)
{
    const saeuron_generate_options all = *g;
    const uint64_t digest = saeuron_model_digest(x);
    size_t W, H, batch = g->tap ? all.count : all.batch ? all.batch : 8, pixels; /* a tap's names know no batch */
    unsigned char *rgb = NULL;
    char path[1024];
    int  code = saeuron_image_size(x, g, &W, &H, err);
    if (code)
        return code;
    batch = batch > all.count ? all.count : batch;
    if (!nn_mul(W * H * 3, batch, &pixels) || !(rgb = io_alloc(&x->host, pixels, 1)))
        return fail(err, SAEURON_ENOMEM, "no memory for %zu images at a time: use --batch", batch);
    t->start = t->last = os_seconds();
    t->images = all.count;
    for (size_t first = 0; !code && first < all.count; first += batch) {
        *g = all;
        g->prompts += first;
        g->count = all.count - first < batch ? all.count - first : batch;
        g->noise_index += first;
        g->batch = g->tap ? g->count : all.batch;
        if (all.noise)
            g->noise += first * x->unet.in_channels * (W * H >> 2 * (x->vae.levels - 1));
        t->done = first;
        t->now = g->count;
        code = saeuron_generate(x, g, rgb, err);
        for (size_t j = 0; !code && j < g->count; j++)
            if (!(code = image_path(path, sizeof path, o, first + j, all.count, err)))
                code = save_image(x, g, o, w, j, rgb + j * W * H * 3, W, H, digest, path, err);
    }
    io_free(&x->host, rgb);
    return code;
}

static int run_generate(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error    err = { 0 };
    talk   t;
    char  *buffer = NULL;
    const char **prompts = NULL;
    float *noise = NULL;
    saeuron_generate_options g = { 0 };
    wires  w = { .dump = o->dump };

    if (!o->prompt == !o->prompts)
        return usage("generate", "%s or --prompts FILE must be given, and only one of them", "--prompt TEXT");
    if (!o->out || !*o->out)
        return usage("generate", "%s is missing: where should the picture go?", "--out FILE");
    if (o->prompts && o->count != 1)
        return usage("generate", "--count is for %s", "--prompt, not --prompts");
    if (!o->count || o->count > 1000000)
        return usage("generate", "%s must be from 1 to 1000000", "--count");
    int code = open_model(&x, o, &t);
    if (code)
        return code;
    g.count = (size_t)o->count;
    if (o->prompts)
        code = read_prompts(o, &x->host, &buffer, &prompts, &g.count, &err);
    else if (!(prompts = io_alloc(&x->host, g.count, sizeof *prompts)))
        code = fail(&err, SAEURON_ENOMEM, "no memory for %zu prompts", g.count);
    for (size_t i = 0; !code && !o->prompts && i < g.count; i++)
        prompts[i] = o->prompt;
    g.prompts = prompts;
    for (size_t i = 0; !code && i < (o->prompts ? g.count : 1); i++)
        warn_if_cut(x, prompts[i], o->quiet);
    if (!code)
        code = forget_all(x, o, &err);
    if (!code)
        code = steer_all(x, o, &err);
    if (!code)
        code = sampling(&g, o, x, &noise, &err);
    if (!code && (o->dump || o->inject.count)) {
        w.host = &x->host;
        w.steps = g.steps ? g.steps : x->default_steps;
        w.images = g.count;
        g.tap = use_wires;
        g.tap_user = &w;
        g.batch = g.count;
        code = open_injections(&w, x, g, o, &err);
        if (!code && o->dump)
            code = io_make_dir(o->dump, &err);
    }
    if (!code)
        code = check_output(o, g.count, &err);
    if (!code)
        code = make_images(x, &g, o, &w, &t, &err);
    if (w.err.code)
        err = w.err;
    if (code)
        clear_line();
    const int status = code ? complain(&err) : 0;
    if (x) {
        io_free(&x->host, buffer);
        io_free(&x->host, prompts);
        io_free(&x->host, noise);
        close_injections(&w, x);
    }
    saeuron_close(x);
    return status;
}

/* ---- tokenize, encode ---- */

static int one_text(const options *o, const char *command)
{
    return o->rest.count == 1 ? 0 : usage(command, "%s", o->rest.count ? "one text, in quotes, is wanted" : "a text is missing");
}

static int run_tokenize(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk   t;
    size_t count, cut;
    int    code = one_text(o, "tokenize");
    if (code || (code = open_model(&x, o, &t)))
        return code;
    const size_t max = saeuron_text_length(x);
    int32_t *ids = io_alloc(&x->host, max, sizeof *ids);
    code = ids ? saeuron_tokenize(x, o->rest.item[0], ids, &count, &cut, &err) : fail(&err, SAEURON_ENOMEM, "no memory for %zu ids", max);
    for (size_t i = 0; !code && i < max; i++) {
        const char *space = i ? (o->json ? ", " : " ") : o->json ? "[" : "";
        if (o->strings && o->json) {
            printf("%s{\"id\": %" PRId32 ", \"piece\": ", space, ids[i]);
            print_json_string(saeuron_token(x, ids[i]));
            printf("}");
        } else if (o->strings) {
            printf("%" PRId32 "\t%s\n", ids[i], saeuron_token(x, ids[i]));
        } else {
            printf("%s%" PRId32, space, ids[i]);
        }
    }
    if (!code && (o->json || !o->strings))
        printf(o->json ? "]\n" : "\n");
    if (!code)
        warn_if_cut(x, o->rest.item[0], o->quiet);
    io_free(&x->host, ids);
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

/* The states of a text, [N,D]. */
static int encode_text(saeuron_context *x, const options *o, saeuron_error *err)
{
    const size_t shape[2] = { saeuron_text_length(x), saeuron_text_width(x) };
    float *y = io_alloc(&x->host, shape[0] * shape[1], sizeof *y);
    int code = y ? saeuron_encode_text(x, o->rest.item[0], y, err) : fail(err, SAEURON_ENOMEM, "no memory for the text states");
    if (!code)
        code = npy_save(&x->host, o->out, y, shape, 2, err);
    if (!code)
        warn_if_cut(x, o->rest.item[0], o->quiet);
    io_free(&x->host, y);
    return code;
}

/* --image: its moments [2C,h,w] or, with --latents, their mode as the UNet knows latents, [1,C,h,w]. */
static int encode_picture(saeuron_context *x, const options *o, saeuron_error *err)
{
    unsigned char *rgb = NULL;
    float *y = NULL;
    size_t W, H, shape[4] = { 1 }, *const latent = shape + 1;
    saeuron_error size;
    int code = png_load(&x->host, o->image, &rgb, &W, &H, err);
    if (!code && saeuron_latent_size(x, W, H, latent, &size))
        code = fail(err, SAEURON_EFORMAT, "%s: %s", o->image, size.text);
    const size_t n = code ? 0 : latent[0] * latent[1] * latent[2];
    if (!code && !(y = io_alloc(&x->host, n, 2 * sizeof *y)))
        code = fail(err, SAEURON_ENOMEM, "%s: no memory for its latents", o->image);
    if (!code)
        code = saeuron_encode_image(x, rgb, W, H, y, err);
    if (!code && o->latents) {
        saeuron_mode(x, y, y, n);
        code = npy_save(&x->host, o->out, y, shape, 4, err);
    } else if (!code) {
        latent[0] *= 2;
        code = npy_save(&x->host, o->out, y, latent, 3, err);
    }
    io_free(&x->host, y);
    io_free(&x->host, rgb);
    return code;
}

static int run_encode(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk t;
    int  code = 0;
    if (o->image && o->rest.count)
        code = usage("encode", "%s and a text exclude each other: one at a time", "--image");
    else if (!o->image && o->latents)
        code = usage("encode", "%s is for --image FILE.png", "--latents");
    else if (!o->image)
        code = one_text(o, "encode");
    if (!code && (!o->out || !*o->out))
        code = usage("encode", "%s is missing: where should the numbers go?", "--out FILE");
    if (code || (code = open_model(&x, o, &t)))
        return code;
    t.quiet = true; /* there is nothing to tell on the way; it only listens for a stop */
    code = o->image ? encode_picture(x, o, &err) : encode_text(x, o, &err);
    if (!code)
        printf("%s\n", o->out);
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

/* ---- select ---- */

/* The first column, or the first member of a JSON object. */
void print_concept(const char *concept, bool as_json)
{
    if (!as_json) {
        print_name(concept);
        return;
    }
    printf("{\"concept\": ");
    print_json_string(concept);
}

static void print_selection(const ablation *a, const selection *s, const options *o)
{
    for (size_t t = 0; t < s->steps; t++)
        for (uint32_t i = s->start[t]; i < s->start[t + 1] && (!o->has_at || o->at == t); i++) {
            print_concept(s->concept, o->json);
            printf(o->json ? ", \"hook\": \"%s\", \"step\": %zu, \"timestep\": %d, \"latent\": %" PRIu32
                             ", \"score\": %.9g, \"mean\": %.9g, \"threshold\": %.9g}\n"
                           : "\t%s\t%zu\t%d\t%" PRIu32 "\t%.9g\t%.9g\t%.9g\n",
                   a->hook, t, a->stats.timesteps[t], s->latent[i], (double)s->score[i], (double)s->mu[i], (double)s->threshold[i]);
        }
}

/* --explain: the edits of one step, as they happen. */
typedef struct explain { size_t step, limit, shown; int now; bool json; } explain; /* now: the sampling step; an edit's is the statistics' */

static void show_edit(void *user, const edit *e)
{
    explain *x = user;
    if (x->now != (int)x->step || x->shown++ >= x->limit)
        return;
    print_concept(e->concept, x->json);
    printf(x->json ? ", \"step\": %zu, \"row\": %zu, \"latent\": %zu, \"f\": %.9g, \"mean\": %.9g, \"threshold\": %.9g, "
                     "\"factor\": %.9g, \"before\": %.9g, \"after\": %.9g}\n"
                   : "\t%zu\t%zu\t%zu\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n",
           x->step, e->row, e->latent, (double)e->f, (double)e->mu, (double)e->threshold, (double)e->factor, (double)e->f, (double)e->after);
}

/* Notes the step (its first module comes before its hooks), and ends the sampling once the one asked for is over. */
static int stop_after(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind)
{
    explain *x = user;
    (void)name, (void)first, (void)values, (void)shape, (void)kind;
    x->now = step;
    return step > (int)x->step;
}

static int explain_edits(saeuron_context *x, const options *o, saeuron_error *err)
{
    explain e = { .step = o->has_at ? (size_t)o->at : 0, .limit = (size_t)o->limit, .json = o->json, .now = -1 };
    saeuron_generate_options g = { .prompts = &o->prompt, .count = 1, .tap = stop_after, .tap_user = &e };
    float *noise = NULL;
    size_t W, H;
    unsigned char *rgb;
    int code = sampling(&g, o, x, &noise, err);
    if (!code && (code = saeuron_image_size(x, &g, &W, &H, err)) == SAEURON_OK) {
        for (size_t i = 0; i < x->hooks; i++) {
            x->hook[i]->observe = show_edit;
            x->hook[i]->observe_user = &e;
        }
        if (!o->json)
            printf("concept\tstep\trow\tlatent\tf\tmean\tthreshold\tfactor\tbefore\tafter\n");
        rgb = io_alloc(&x->host, W * H, 3);
        code = rgb ? saeuron_generate(x, &g, rgb, err) : fail(err, SAEURON_ENOMEM, "no memory for an image");
        io_free(&x->host, rgb);
        if (code == SAEURON_ECANCEL && !os_interrupted())
            code = SAEURON_OK;
        if (!code && !o->quiet)
            fprintf(stderr, "saeuron: %zu edits at step %zu%s; rows are tokens of the batch, the unconditional half first\n", e.shown, e.step,
                    e.shown > e.limit ? " (see --limit)" : "");
    }
    io_free(&x->host, noise);
    return code;
}

static int run_select(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk t;
    int  code;
    if (!o->forget)
        return usage("select", "%s is missing", "--forget CONCEPT");
    if (o->explain && !o->prompt)
        return usage("select", "%s samples a picture and wants its --prompt TEXT", "--explain");
    if ((code = open_model(&x, o, &t)))
        return code;
    code = forget_all(x, o, &err);
    const size_t steps = o->explain && o->steps ? (size_t)o->steps : o->explain ? x->default_steps : x->hooks ? x->hook[0]->stats.steps : 0;
    if (!code && o->has_at && o->at >= steps)
        code = fail(&err, SAEURON_EUSAGE, "--at must be below %zu: there are %zu steps, counted from 0", steps, steps);
    if (!code && o->explain)
        code = explain_edits(x, o, &err);
    else if (!code && !o->json)
        printf("concept\thook\tstep\ttimestep\tlatent\tscore\tmean\tthreshold\n");
    for (size_t i = 0; !code && !o->explain && i < x->hooks; i++)
        for (size_t j = 0; j < x->hook[i]->count; j++)
            print_selection(x->hook[i], &x->hook[i]->forget[j], o);
    if (code)
        clear_line();
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

/* ---- info, digest ---- */

static void print_shape(const tensor *t)
{
    putchar('[');
    for (int i = 0; i < t->ndim; i++)
        printf("%s%zu", i ? ", " : "", t->shape[i]);
    putchar(']');
}

static void print_tensor(const tensor *t, const char *before)
{
    printf("%s", before);
    print_name(t->name);
    printf("\t%s\t", io_dtype_name(t->type));
    print_shape(t);
    putchar('\n');
}

static size_t parameters(const tensors *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->list[i].count;
    return n;
}

static void print_network(const char *name, const tensors *f, bool all)
{
    size_t bytes = 0;
    for (size_t i = 0; i < f->file_count; i++)
        bytes += f->files[i].size;
    printf("%s\t%zu tensors\t%zu parameters\t%zu bytes\n", name, f->count, parameters(f), bytes);
    for (size_t i = 0; all && i < f->count; i++)
        print_tensor(&f->list[i], "  ");
}

/* The SAEs of a model, hook by hook: sizes and concepts. */
static int print_saes(saeuron_context *x, saeuron_error *err)
{
    char hook[96], dir[1024], path[1100];
    for (size_t i = 0; unet_hook_name(&x->unet, i, hook, sizeof hook); i++) {
        sae   s;
        stats st;
        if (!sae_folder(x, hook, dir))
            return fail(err, SAEURON_EUSAGE, "%.200s...: the path is too long", x->dir);
        snprintf(path, sizeof path, "%s/stats.safetensors", dir);
        printf("hook %s\twidth %zu", hook, unet_hook_width(&x->unet, hook, NULL));
        if (!io_exists(&x->host, path)) {
            printf("\n");
            continue;
        }
        int code = sae_load(&s, &x->host, NULL, dir, err);
        if (!code && (code = stats_load(&st, &x->host, path, err)) != SAEURON_OK)
            sae_unload(&s, &x->host);
        if (code)
            return code;
        printf("\tSAE %zu latents, k %zu\tstatistics of %zu steps, concepts", s.n, s.k, st.steps);
        for (size_t j = 0; j < st.concepts; j++) {
            putchar(' ');
            print_name(stats_name(&st, j));
        }
        printf("\n");
        stats_unload(&st, &x->host);
        sae_unload(&s, &x->host);
    }
    return SAEURON_OK;
}

static int info_model(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk t;
    const char *prompt = "";
    saeuron_generate_options g = { .prompts = &prompt, .count = o->batch ? (size_t)o->batch : 1, .batch = (size_t)o->batch,
                               .steps = (size_t)o->steps, .height = (size_t)o->height, .width = (size_t)o->width };
    size_t W, H, work, weights;
    int code = open_model(&x, o, &t);
    if (code)
        return code;
    code = saeuron_image_size(x, &g, &W, &H, &err);
    if (!code)
        code = saeuron_memory(x, &g, &work, &weights, &err);
    if (!code && o->json) {
        printf("{\"model\": ");
        print_json_string(x->dir);
        printf(", \"digest\": \"%016" PRIx64 "\", \"width\": %zu, \"height\": %zu, \"steps\": %zu, \"guidance\": %g, \"kernels\": \"%s\", "
               "\"threads\": %d, \"weights_bytes\": %zu, \"work_bytes\": %zu}\n",
               saeuron_model_digest(x), W, H, x->default_steps, (double)x->default_guidance, saeuron_kernels(x), x->threads, weights, work);
    } else if (!code && o->memory) {
        printf("weights\t%zu bytes, read where they lie\nwork\t%zu bytes, one allocation\n", weights, work);
    } else if (!code) {
        printf("model\t%s\ndigest\t%016" PRIx64 "\nimage\t%zu x %zu, %zu steps, guidance %g\n", x->dir, saeuron_model_digest(x), W, H,
               x->default_steps, (double)x->default_guidance);
        print_network("text_encoder", &x->text_file, o->tensors);
        print_network("unet", &x->unet_file, o->tensors);
        print_network("vae", &x->vae_file, o->tensors);
        code = print_saes(x, &err);
        printf("kernels\t%s (built in: %s), %d threads\nmemory\t%zu bytes of weights, %zu of work\n", saeuron_kernels(x), nn_isa_list(), x->threads, weights, work);
    }
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

static bool ends_with(const char *text, const char *tail)
{
    const size_t n = strlen(text), m = strlen(tail);
    return n >= m && !strcmp(text + n - m, tail);
}

/* "  key = value", or a member of a JSON object. */
static void print_pair(const char *key, const char *value, const char *before, bool as_json)
{
    printf("%s", as_json ? before : "  ");
    (as_json ? print_json_string : print_name)(key);
    printf(as_json ? ": " : " = ");
    (as_json ? print_json_string : print_name)(value);
    printf(as_json ? "" : "\n");
}

static void print_tensor_json(const tensor *t, const char *before)
{
    printf("%s{\"name\": ", before);
    print_json_string(t->name);
    printf(", \"dtype\": \"%s\", \"shape\": ", io_dtype_name(t->type));
    print_shape(t);
    putchar('}');
}

static int info_tensors(const char *path, bool as_json, saeuron_error *err)
{
    tensors t;
    json key, value;
    const char *before = "";
    int code = tensors_open(&t, NULL, path, err);
    if (code)
        return code;
    if (as_json) {
        printf("{\"file\": ");
        print_json_string(path);
        printf(", \"parameters\": %zu, \"tensors\": [", parameters(&t));
        for (size_t i = 0; i < t.count; i++)
            print_tensor_json(&t.list[i], i ? ", " : "");
        printf("], \"metadata\": {");
    } else {
        print_network(path, &t, true);
    }
    for (json_iter it = json_begin(t.metadata); json_next(&it, &key, &value);) {
        char k[256], v[4096];
        if (!json_string(key, k, sizeof k, NULL) || !json_string(value, v, sizeof v, NULL))
            continue;
        print_pair(k, v, before, as_json);
        before = ", ";
    }
    if (as_json)
        printf("}}\n");
    tensors_close(&t);
    return SAEURON_OK;
}

static int info_png(const char *path, bool as_json, saeuron_error *err)
{
    static const char *const keys[] = { "prompt", "negative_prompt", "seed", "noise_index", "noise", "steps", "cfg", "size", "forget", "steer", "residual", "shared", "map_steps", "reconstruct", "inject", "model", "contract" };
    unsigned char *rgb;
    size_t W, H;
    int code = png_load(NULL, path, &rgb, &W, &H, err);
    if (code)
        return code;
    io_free(NULL, rgb);
    if (as_json) {
        printf("{\"file\": ");
        print_json_string(path);
        printf(", \"width\": %zu, \"height\": %zu", W, H);
    } else {
        print_name(path);
        printf("\t%zu x %zu\n", W, H);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char text[16384];
        if (!png_text(NULL, path, keys[i], text, sizeof text, NULL))
            print_pair(keys[i], text, ", ", as_json);
    }
    if (as_json)
        printf("}\n");
    return SAEURON_OK;
}

static int info_sae(const char *dir, bool as_json, saeuron_error *err)
{
    sae s;
    const int code = sae_load(&s, NULL, NULL, dir, err);
    if (code)
        return code;
    if (as_json) {
        printf("{\"sae\": ");
        print_json_string(dir);
    } else {
        printf("SAE\t");
        print_name(dir);
    }
    printf(as_json ? ", \"width\": %zu, \"latents\": %zu, \"k\": %zu, \"digest\": \"%016" PRIx64 "\"}\n"
                   : "\nwidth\t%zu\nlatents\t%zu\nk\t%zu\ndigest\t%016" PRIx64 "\n", s.d, s.n, s.k, s.digest);
    sae_unload(&s, NULL);
    return SAEURON_OK;
}

/* A config.json at the top, and not beside a diffusers pipeline. */
static bool is_classifier(const char *dir)
{
    char path[1024];
    return io_join(path, sizeof path, dir, "config.json") && io_exists(NULL, path) &&
           io_join(path, sizeof path, dir, "scheduler/scheduler_config.json") && !io_exists(NULL, path);
}

static int info_classifier(const char *dir, bool as_json, bool all, saeuron_error *err)
{
    saeuron_classifier *k;
    const int code = saeuron_classifier_open(&k, NULL, dir, err);
    if (code)
        return code;
    const vit *v = &k->net;
    const char *before = "";
    if (as_json) {
        printf("{\"classifier\": ");
        print_json_string(dir);
    } else {
        printf("classifier\t");
        print_name(dir);
    }
    printf(as_json ? ", \"image\": %zu, \"patch\": %zu, \"width\": %zu, \"layers\": %zu, \"heads\": %zu, \"classes\": %zu, \"digest\": \"%016" PRIx64 "\""
                   : "\nimage\t%zu pixels a side, patches of %zu\nwidth\t%zu, %zu layers, %zu heads\nclasses\t%zu\ndigest\t%016" PRIx64 "\n",
           v->S, v->patch, v->D, v->layers, v->heads, saeuron_classes(k), saeuron_classifier_digest(k));
    printf(!as_json ? "%s" : ", \"names\": [", k->name ? "names" : "");
    for (size_t i = 0; k->name && i < saeuron_classes(k); i++, before = ", ") {
        printf("%s", as_json ? before : i ? ", " : "\t");
        (as_json ? print_json_string : print_name)(saeuron_class_name(k, i));
    }
    printf(as_json ? "]}\n" : k->name ? "\n" : "");
    if (!as_json)
        print_network("weights", &k->file, all);
    saeuron_classifier_close(k);
    return SAEURON_OK;
}

static int run_info(const options *o)
{
    saeuron_error err = { 0 };
    char path[1024];
    if (o->rest.count > 1)
        return usage("info", "%s", "one folder or file at a time");
    if (!o->rest.count)
        return info_model(o);
    const char *what = o->rest.item[0];
    if (ends_with(what, ".safetensors"))
        return info_tensors(what, o->json, &err) ? complain(&err) : 0;
    if (ends_with(what, ".png"))
        return info_png(what, o->json, &err) ? complain(&err) : 0;
    if (io_join(path, sizeof path, what, "cfg.json") && io_exists(NULL, path))
        return info_sae(what, o->json, &err) ? complain(&err) : 0;
    if (is_classifier(what))
        return info_classifier(what, o->json, o->tensors, &err) ? complain(&err) : 0;
    options with = *o;
    with.model = what;
    return info_model(&with);
}

static void print_digest(uint64_t h, const char *path, const char *name, bool as_json)
{
    if (!as_json) {
        printf("%016" PRIx64 "  ", h);
        print_name(path);
        printf("%s", *name ? "  " : "");
        print_name(name);
        putchar('\n');
        return;
    }
    printf("{\"digest\": \"%016" PRIx64 "\", \"file\": ", h);
    print_json_string(path);
    printf(", \"tensor\": ");
    print_json_string(name);
    printf("}\n");
}

/* The one digest of an SAE's folder or a classifier's; *known: it was one. */
static int digest_folder(const char *dir, bool as_json, bool *known, saeuron_error *err)
{
    char path[1024];
    sae  s;
    saeuron_classifier *k;
    int  code = SAEURON_OK;
    *known = true;
    if (io_join(path, sizeof path, dir, "cfg.json") && io_exists(NULL, path)) {
        if ((code = sae_load(&s, NULL, NULL, dir, err)) == SAEURON_OK) {
            print_digest(s.digest, dir, "", as_json);
            sae_unload(&s, NULL);
        }
    } else if (is_classifier(dir)) {
        if ((code = saeuron_classifier_open(&k, NULL, dir, err)) == SAEURON_OK) {
            print_digest(saeuron_classifier_digest(k), dir, "", as_json);
            saeuron_classifier_close(k);
        }
    } else {
        *known = false;
    }
    return code;
}

static int digest_file(const char *path, bool as_json, saeuron_error *err)
{
    tensors t;
    unsigned char *rgb;
    float *values;
    size_t W, H, shape[TENSOR_DIMS], n = 1;
    int ndim, code;
    if (ends_with(path, ".png")) {
        if ((code = png_load(NULL, path, &rgb, &W, &H, err)) == SAEURON_OK) {
            print_digest(nn_hash(0, rgb, W * H * 3), path, "", as_json);
            io_free(NULL, rgb);
        }
        return code;
    }
    if (ends_with(path, ".npy")) {
        if ((code = npy_load(NULL, path, &values, shape, &ndim, err)) == SAEURON_OK) {
            for (int i = 0; i < ndim; i++)
                n *= shape[i];
            print_digest(digest_floats(values, n), path, "", as_json);
            io_free(NULL, values);
        }
        return code;
    }
    if (!ends_with(path, ".safetensors")) {
        bool known;
        if ((code = digest_folder(path, as_json, &known, err)) != SAEURON_OK || known)
            return code;
        return fail(err, SAEURON_EUSAGE, "%s: digest reads .safetensors, .npy and .png files, and folders of SAEs and classifiers", path);
    }
    if ((code = tensors_open(&t, NULL, path, err)) != SAEURON_OK)
        return code;
    for (size_t i = 0; i < t.count; i++)
        print_digest(nn_hash(0, t.list[i].data, t.list[i].bytes), path, t.list[i].name, as_json);
    tensors_close(&t);
    return SAEURON_OK;
}

static int run_digest(const options *o)
{
    saeuron_error err = { 0 };
    if (!o->rest.count)
        return usage("digest", "%s", "no file is named");
    for (size_t i = 0; i < o->rest.count; i++)
        if (digest_file(o->rest.item[i], o->json, &err))
            return complain(&err);
    return 0;
}

/* ---- selftest, bench ---- */

static int run_selftest(const options *o)
{
    return selftest_run(o->isa, o->threads ? (int)o->threads : os_cores(), o->listing, o->quiet);
}

static int run_bench(const options *o)
{
    saeuron_context *x = NULL;
    saeuron_error err = { 0 };
    talk t;
    options quiet = *o;
    quiet.quiet = true;
    if (!o->runs || o->runs > BENCH_RUNS_MAX)
        return usage("bench", "%s must be from 1 to 99", "--runs");
    int code = open_model(&x, &quiet, &t);
    if (code)
        return code;
    const bench_options b = { .as_json = o->json, .profile = o->profile, .runs = (size_t)o->runs, .only = o->only };
    code = bench_run(x, &b, &err);
    saeuron_close(x);
    return code ? complain(&err) : 0;
}

/* ---- the commands ---- */

static const subcommand commands[] = {
    { "generate", C_GENERATE, run_generate, "-p TEXT -o FILE.png", "draw a prompt, with --forget what SAeUron leaves of it" },
    { "tokenize", C_TOKENIZE, run_tokenize, "TEXT", "the ids that the text encoder reads" },
    { "encode", C_ENCODE, run_encode, "TEXT -o FILE.npy", "the text encoder's states; with --image FILE.png a picture's latents" },
    { "select", C_SELECT, run_select, "--forget A", "the latents that carry a concept, step by step" },
    { "collect", C_COLLECT, run_collect, "--hook HOOK --prompts FILE -o FILE", "activations of hooks while sampling, to train an SAE on" },
    { "train", C_TRAIN, run_train, "--data FILE... -o DIR", "an SAE, trained on activations or, with --online, while sampling" },
    { "measure", C_ASSESS, run_measure, "DIR --data FILE...", "an SAE on activations it has not seen: FVU, L0, dead latents, densities" },
    { "stats", C_STATS, run_stats, "--hook HOOK -o FILE", "how an SAE's latents fire on each concept, step by step" },
    { "merge", C_MERGE, run_merge, "PART... -o FILE", "join the parts that collect and stats made" },
    { "eval", C_EVAL, run_eval, "-o DIR", "UA, IRA and CRA of forgetting, concept by concept, with what they are measured on" },
    { "sweep", C_SWEEP, run_sweep, "--domain D -o DIR", "the top K and the strength that forget each concept best" },
    { "info", C_INFO, run_info, "[DIR|FILE]", "what is in a model, an SAE, a classifier, a safetensors file or a picture" },
    { "digest", C_DIGEST, run_digest, "FILE...", "the 64-bit digest of tensors and of a picture's pixels" },
    { "selftest", C_SELFTEST, run_selftest, "", "is this build right on this machine?" },
    { "bench", C_BENCH, run_bench, "", "how fast it is, and how near the peak" },
};
#define COMMANDS (sizeof commands / sizeof *commands)

static const subcommand *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(name, commands[i].name))
            return &commands[i];
    return NULL;
}

static const char *nearest_command(const char *name)
{
    const char *best = NULL;
    size_t most = 1;
    for (size_t i = 0; i < COMMANDS; i++) {
        const size_t n = letters_in_common(name, commands[i].name);
        if (n > most) {
            most = n;
            best = commands[i].name;
        }
    }
    return best;
}

static int help(void)
{
    printf("saeuron: concept unlearning in Stable Diffusion with sparse autoencoders (SAeUron, arXiv 2501.18052)\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  saeuron %-9s %-22s %s\n", commands[i].name, commands[i].arguments, commands[i].summary);
    printf("\nsaeuron COMMAND --help shows its options; saeuron --version the version and that of the arithmetic contract.\n");
    return 0;
}

static int help_command(const subcommand *c)
{
    printf("saeuron %s %s\n  %s\n\n", c->name, c->arguments, c->summary);
    for (size_t i = 0; i < OPTIONS; i++) {
        char left[64];
        if (!(table[i].commands & c->bit))
            continue;
        snprintf(left, sizeof left, "%s%s%s%s%s", table[i].brief ? table[i].brief : "", table[i].brief ? ", " : "", table[i].name,
                 table[i].argument ? " " : "", table[i].argument ? table[i].argument : "");
        printf("  %-34s %s\n", left, table[i].help);
    }
    return 0;
}

int main(int argc, char **argv)
{
    options o = { .data.item = NULL };
    if (argc < 2) {
        help();
        return 2;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return finish(help());
    if (!strcmp(argv[1], "--version")) {
        printf("saeuron %s, arithmetic contract %d\n", SAEURON_VERSION, saeuron_contract());
        return finish(0);
    }
    const subcommand *c = find_command(argv[1]);
    if (!c) {
        const char *near = nearest_command(argv[1]);
        saeuron_error err;
        fail(&err, SAEURON_EUSAGE, "there is no command %.60s%s%s%s; see saeuron --help", argv[1], near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
        return complain(&err);
    }
    o.data.item = io_alloc(NULL, (size_t)argc, sizeof *o.data.item);
    int code = o.data.item ? parse(&o, c, argc, argv) : 1;
    if (!code && o.help)
        code = help_command(c);
    else if (!code && !(c->bit & (C_INFO | C_DIGEST | C_TOKENIZE | C_ENCODE | C_MERGE | C_ASSESS)) && o.rest.count)
        code = usage(c->name, "%s is not an option; texts with spaces want quotes", o.rest.item[0]);
    else if (!code) {
        os_catch_interrupt();
        code = c->run(&o);
    }
    io_free(NULL, o.data.item);
    return finish(code);
}
