/* options.c: the options of every command, and the parser that reads them. */
#include "evaluation/protocol.h"
#include "files/decimal.h"
#include "program/command.h"
#include "train.h"
#include "training/collect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

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

/* ---- parsing ---- */

static const option *find_option(const char *name, int command)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if ((table[i].commands & command) && (!strcmp(name, table[i].name) || (table[i].brief && !strcmp(name, table[i].brief))))
            return &table[i];
    return NULL;
}

/* Letters in common from the start: enough to guess what was meant. */
size_t letters_in_common(const char *a, const char *b)
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

int parse(options *o, const subcommand *c, int argc, char **argv)
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

int help_command(const subcommand *c)
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
