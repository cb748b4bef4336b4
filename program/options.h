/* options.h: a command, its table of options, and the one parser and the one help for all of them.
 *
 *   argv --parse--> the variables that the command's table names --run--> its product
 *
 * Not here: which commands there are (main.c), what an option means (the file that holds its variable). */
#ifndef SAEURON_OPTIONS_H
#define SAEURON_OPTIONS_H

#include <stdbool.h>

#include "saeuron_host.h"

typedef struct list { const char **item; size_t count; } list;

/* A row of a table: what the help says, and where the value goes. Exactly one of the pointers is given, and
 * its type says how the value is read. A table ends with a row of zeros. */
typedef struct option {
    const char *name, *argument, *help; /* argument: what the help calls the value; NULL: there is none */
    const char *brief;                  /* "-p"; NULL: there is none */
    bool        *flag;                  /* becomes true */
    const char **text;                  /* the value as it is */
    list        *list;                  /* one more text; of "FILE...", all up to the next option */
    size_t      *count;                 /* a whole number from 1: a variable that is 0 was not given */
    size_t      *size;                  /* a whole number from 0 */
    uint64_t    *whole;                 /* a whole number that may need 64 bits: a seed */
    double      *real;
    int         *choice;                /* the value's place in argument, "paper|released|none": 0, 1, 2 */
    const struct option *group;         /* instead of all the above: the rows of another table */
} option;

extern const option json_options[];      /* --json, for commands that can */
extern size_t max_memory;                /* --max-memory, in MB; 0: not given */

typedef struct command {
    const char *name, *arguments, *summary;
    const option *options;
    list  *words;                       /* what is no option goes here; NULL: nothing else is taken */
    void (*defaults)(void);             /* sets defaults that are no constants; may be NULL */
    int  (*run)(saeuron_error *err);    /* SAEURON_OK or an error; one without a text has been told */
} command;

/* The commands, each in the file that it is named after or that names it in its first line. */
extern const command command_generate, command_tokenize, command_encode, command_select, command_collect,
                     command_train, command_measure, command_stats, command_merge, command_eval,
                     command_sweep, command_attack, command_rival, command_gradient, command_info,
                     command_digest, command_selftest, command_bench;

/* Reads what follows "saeuron COMMAND" into the command's variables; the last of an option given twice. */
int  parse(const command *c, int argc, char **argv, saeuron_error *err);
bool given(const char *option_name);    /* whether the command line has it, be it in its brief form */
const char *first_given(const char *const *option_names); /* of names [...], NULL: the first given, or NULL */
/* An option that only some of a command's methods know, methods being the bits 1 << method. */
typedef struct belonging { const char *option; unsigned methods; } belonging;
/* Of belongs [...], an option NULL: the first given that is not of the method, or NULL. */
const belonging *first_stray(const belonging *belongs, int method);
void print_help(const command *c);

/* Which of several names was meant by a word that is none of them: the one that has the most letters from the
 * start in common with it, and more than `letters`. hint: "; did you mean NAME?", or "". */
typedef struct guess { const char *word; size_t letters; char hint[64]; } guess;
void consider(guess *g, const char *name);

#endif
