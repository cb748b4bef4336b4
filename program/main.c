/* main.c: the program: its commands, and the exit code.
 *
 *   argv --options.c--> a command's variables --command_*.c--> files, and their paths on stdout
 *                                                      `--an error--> messages.c --> stderr, exit code
 *
 * Not here: any mathematics (the library), the options (beside their commands).
 * stdout is the product, stderr progress and messages. Exit 0 done, 1 failed, 2 the command line is wrong. */
#include "files/system.h"
#include "program/messages.h"
#include "program/options.h"
#include "saeuron.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const command *const commands[] = {
    &command_generate, &command_tokenize, &command_encode, &command_select, &command_collect, &command_train,
    &command_measure, &command_stats, &command_merge, &command_eval, &command_sweep, &command_attack,
    &command_rival, &command_gradient, &command_info, &command_digest, &command_selftest, &command_bench,
};
#define COMMANDS (sizeof commands / sizeof *commands)

static const command *find_command(const char *name, saeuron_error *err)
{
    guess g = { .word = name, .letters = 1 };
    for (size_t i = 0; i < COMMANDS; i++) {
        if (!strcmp(name, commands[i]->name))
            return commands[i];
        consider(&g, commands[i]->name);
    }
    fail(err, SAEURON_EUSAGE, "there is no command %.60s%s; see saeuron --help", name, g.hint);
    return NULL;
}

static void print_commands(void)
{
    printf("saeuron: concept unlearning in Stable Diffusion with sparse autoencoders "
           "(SAeUron, arXiv 2501.18052)\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        printf("  saeuron %-9s %-22s %s\n", commands[i]->name, commands[i]->arguments, commands[i]->summary);
    printf("\nsaeuron COMMAND --help shows its options; saeuron --version the version and that of the "
           "arithmetic contract.\n");
}

/* Within a signal handler: there is no way back to what was reading. */
static void lost_file(const char *path)
{
    fprintf(stderr, "saeuron: %s: became shorter while in use, or its disk failed: run again while nothing "
                    "writes to it\n", *path ? path : "a file");
    fflush(stderr);
    _Exit(1);
}

static int run_command(int argc, char **argv)
{
    saeuron_error  err = { 0 };
    const command *c = find_command(argv[1], &err);
    int code = c ? parse(c, argc, argv, &err) : SAEURON_EUSAGE;
    if (!code && given("--help")) {
        print_help(c);
    } else if (!code) {
        os_catch_signals(lost_file);
        code = max_memory ? os_limit_memory(max_memory, &err) : SAEURON_OK;
        code = code ? code : c->run(&err);
    }
    return code ? complain(c ? c->name : NULL, &err) : 0;
}

int main(int argc, char **argv)
{
    int code = 0;
    os_open_standard();
    if (!(argv = os_arguments(&argc, argv))) {
        fprintf(stderr, "saeuron: there is not enough memory for the command line\n");
        return 1;
    }
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_commands();
        code = argc < 2 ? 2 : 0;
    } else if (!strcmp(argv[1], "--version")) {
        printf("saeuron %s, arithmetic contract %d\n", SAEURON_VERSION, saeuron_contract());
    } else {
        code = run_command(argc, argv);
    }
    /* stdout may be a full disk or a closed pipe: a product that was not written is a failure. */
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "saeuron: standard output could not be written: %s\n",
                os_piped() ? "the program that reads it has ended" : "is the disk full?");
        code = 1;
    }
    return code;
}
