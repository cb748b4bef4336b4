/* options.c: the command line read by a command's table of options, and the table printed as help.
 *
 *   argv --parse--> variables            table --print_help--> stdout
 *
 * Not here: the tables (command_*.c, opening.c). */
#include "program/options.h"
#include "files/decimal.h"
#include "files/system.h"
#include "program/messages.h"

#include <stdio.h>
#include <string.h>

/* What every command takes. --help is main's. */
static bool help;
size_t max_memory;
static const option common_options[] = {
    { "--max-memory", "MB", "what the process may take at most; what would need more is refused (default: "
                            "the system's limits)", .count = &max_memory },
    { "--quiet", NULL, "no progress and no remarks on stderr", .brief = "-q", .flag = &talk.quiet },
    { "--help", NULL, "this text", .brief = "-h", .flag = &help },
    { 0 },
};

const option json_options[] = {
    { "--json", NULL, "print JSON", .flag = &as_json },
    { 0 },
};

/* ---- names ---- */

static bool ends(const option *o) { return !o->name && !o->group; }

/* The option of this name in a table and its groups; NULL: there is none. */
static const option *find_option(const option *table, const char *name)
{
    const option *found = NULL;
    for (const option *o = table; !found && !ends(o); o++) {
        if (o->group)
            found = find_option(o->group, name);
        else if (!strcmp(name, o->name) || (o->brief && !strcmp(name, o->brief)))
            found = o;
    }
    return found;
}

void consider(guess *g, const char *name)
{
    size_t n = 0;
    while (name[n] && name[n] == g->word[n])
        n++;
    if (n <= g->letters)
        return;
    g->letters = n;
    snprintf(g->hint, sizeof g->hint, "; did you mean %s?", name);
}

static void consider_options(guess *g, const option *table)
{
    for (const option *o = table; !ends(o); o++)
        if (o->group)
            consider_options(g, o->group);
        else
            consider(g, o->name);
}

/* ---- values ---- */

static list   seen;     /* the names of the options given */
static size_t room;     /* of every list: the words of the command line */

bool given(const char *option_name)
{
    for (size_t i = 0; i < seen.count; i++)
        if (!strcmp(seen.item[i], option_name))
            return true;
    return false;
}

const char *first_given(const char *const *option_names)
{
    while (*option_names && !given(*option_names))
        option_names++;
    return *option_names;
}

const belonging *first_stray(const belonging *belongs, int method)
{
    while (belongs->option && (!given(belongs->option) || belongs->methods >> method & 1))
        belongs++;
    return belongs->option ? belongs : NULL;
}

/* A list lives as long as the program. */
static int add(list *l, const char *item, saeuron_error *err)
{
    if (!l->item && !(l->item = io_alloc(NULL, room, sizeof *l->item)))
        return fail(err, SAEURON_ENOMEM, "no memory for the command line");
    l->item[l->count++] = item;
    return SAEURON_OK;
}

/* The place of word in "A|B|C"; -1: it is none of them. */
static int place_of(const char *word, const char *words)
{
    const size_t n = strlen(word);
    for (int i = 0;; i++) {
        const size_t m = strcspn(words, "|");
        if (m == n && !memcmp(word, words, n))
            return i;
        if (!words[m])
            return -1;
        words += m + 1;
    }
}

static int read_value(const option *o, const char *value, saeuron_error *err)
{
    uint64_t whole = 0;
    size_t *const size = o->count ? o->count : o->size;
    if (o->text)
        *o->text = value;
    if (o->list)
        return add(o->list, value, err);
    if ((o->whole || size) && (!io_parse_uint(value, &whole) || (size && whole > SIZE_MAX) ||
                               (o->count && !whole)))
        return fail(err, SAEURON_EUSAGE, "%s wants a whole number%s", o->name, o->count ? " from 1" : "");
    if (o->whole)
        *o->whole = whole;
    if (size)
        *size = (size_t)whole;
    if (o->real && !io_parse_double(value, o->real))
        return fail(err, SAEURON_EUSAGE, "%s wants a number", o->name);
    if (o->choice && (*o->choice = place_of(value, o->argument)) < 0)
        return fail(err, SAEURON_EUSAGE, "%s must be one of %s", o->name, o->argument);
    return SAEURON_OK;
}

/* ---- the command line ---- */

/* Whether an option takes more than one word: its argument is "FILE...". */
static bool takes_many(const option *o)
{
    const size_t n = strlen(o->argument);
    return n > 3 && !strcmp(o->argument + n - 3, "...");
}

/* argv[*i] is an option; moves *i to the last word that belongs to it. */
static int read_option(const command *c, int argc, char **argv, int *i, saeuron_error *err)
{
    char name[64];
    const char *word = argv[*i], *equals = !strncmp(word, "--", 2) ? strchr(word, '=') : NULL;
    snprintf(name, sizeof name, "%.*s", equals && equals - word < 60 ? (int)(equals - word) : 60, word);
    const option *o = find_option(c->options, name);
    if (!o && !(o = find_option(common_options, name))) {
        guess g = { .word = name, .letters = strlen("--") + 1 };
        consider_options(&g, c->options);
        return fail(err, SAEURON_EUSAGE, "there is no option %s here%s", name, g.hint);
    }
    int code = add(&seen, o->name, err);
    if (!o->argument && equals)
        return fail(err, SAEURON_EUSAGE, "%s takes no value", o->name);
    if (!o->argument) {
        *o->flag = true;
        return code;
    }
    if (!equals && *i + 1 == argc)
        return fail(err, SAEURON_EUSAGE, "%s wants a value", o->name);
    if (!code)
        code = read_value(o, equals ? equals + 1 : argv[++*i], err);
    while (!code && takes_many(o) && *i + 1 < argc && argv[*i + 1][0] != '-')
        code = read_value(o, argv[++*i], err);
    return code;
}

int parse(const command *c, int argc, char **argv, saeuron_error *err)
{
    bool only_words = false; /* after "--" */
    int  code = SAEURON_OK;
    room = (size_t)argc;
    if (c->defaults)
        c->defaults();
    for (int i = 2; i < argc && !code; i++) {
        if (!only_words && !strcmp(argv[i], "--"))
            only_words = true;
        else if (!only_words && argv[i][0] == '-' && argv[i][1])
            code = read_option(c, argc, argv, &i, err);
        else if (c->words)
            code = add(c->words, argv[i], err);
        else
            code = fail(err, SAEURON_EUSAGE, "%s is not an option; texts with spaces want quotes", argv[i]);
    }
    return code;
}

/* ---- help ---- */

static void print_options(const option *table)
{
    for (const option *o = table; !ends(o); o++) {
        char left[64];
        if (o->group) {
            print_options(o->group);
            continue;
        }
        snprintf(left, sizeof left, "%s%s%s%s%s", o->brief ? o->brief : "", o->brief ? ", " : "", o->name,
                 o->argument ? " " : "", o->argument ? o->argument : "");
        printf("  %-34s %s\n", left, o->help);
    }
}

void print_help(const command *c)
{
    printf("saeuron %s %s\n  %s\n\n", c->name, c->arguments, c->summary);
    print_options(c->options);
    print_options(common_options);
}
