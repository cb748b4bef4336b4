/* main.c: the program: its commands, their options and help, progress on stderr.
 *
 *   argv --options--> saeuron_open, saeuron_forget, saeuron_generate, ... --> files, and their paths on stdout
 *
 * Not here: any mathematics (all else), timing (bench.c), the commands that evaluate (command_eval.c), collect
 * (command_collect.c) and train (command_train.c).
 * stdout is the product; stderr is progress and messages. Exit 0 done, 1 failed, 2 usage. */
#include "program/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* stdout may be a full disk: a product that was not written is a failure. */
static int finish(int code)
{
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "saeuron: standard output could not be written: is the disk full?\n");
        return 1;
    }
    return code;
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
