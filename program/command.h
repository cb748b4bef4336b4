/* command.h: what the program's commands share: their options, messages, and how they open a model.
 *
 *   saeuron.c --options--> commands there, in command_eval.c, command_collect.c and command_train.c --> exit codes
 *
 * Not here: the library, which knows neither options nor a terminal. */
#ifndef SAEURON_COMMAND_H
#define SAEURON_COMMAND_H

#include "context.h"

/* ---- options ---- */

/* Where `make install` puts the small model's folder: the Makefile says it, from PREFIX. */
#ifndef SAEURON_SHARE
#define SAEURON_SHARE "/usr/local/share/saeuron"
#endif
#define MODEL_HERE "weights/emojicanvas"
#define MODEL_INSTALLED SAEURON_SHARE "/emojicanvas"

#define MANY 64
typedef struct list { const char *item[MANY]; size_t count; } list;

typedef struct arguments { char **item; size_t count; } arguments; /* what is no option: as many as the command line holds */

typedef struct options {
    const char *protocol, *domain, *concepts, *seeds, *classifier, *shard, *tops, *percentiles, *strengths;
    const char *model, *synthetic, *prompt, *negative, *out, *prompts, *forget, *residual, *noise, *dump, *image, *only, *isa;
    const char *type, *concept_file, *density, *shared, *topk, *auxk;
    list     sae, stats, steer, reconstruct, inject, hooks;
    arguments rest, data;
    uint64_t every, first, lines;
    double   min_density;
    bool     diff, per_prompt, half, has_seed, has_min_density;
    uint64_t sae_latents, expansion, k, tokens, epochs, checkpoint_every, log_every, dead_threshold, buffer, noise_seed; /* of train, with the paper's defaults */
    double   lr, beta1, beta2, adam_eps, clip, auxk_alpha;
    bool     has_sae_latents, has_expansion, online, resume, multi_topk;
    uint64_t runs, threads, seed, noise_index, steps, count, batch, height, width, top, at, limit;
    double   guidance, percentile, strength;
    bool     profile, quiet, json, map_steps, quick, dry_run, print_protocol, overlap, install, explain, strings, latents, memory, tensors, listing, help;
    bool     has_guidance, has_strength, has_percentile, has_at, has_threads;
} options;

enum { C_GENERATE = 1, C_TOKENIZE = 2, C_ENCODE = 4, C_SELECT = 8, C_INFO = 16, C_DIGEST = 32, C_SELFTEST = 64, C_BENCH = 128,
       C_EVAL = 256, C_SWEEP = 512, C_MEASURE = C_EVAL | C_SWEEP, C_MODEL = C_GENERATE | C_TOKENIZE | C_ENCODE | C_SELECT | C_INFO | C_BENCH | C_MEASURE,
       C_SAMPLE = C_GENERATE | C_SELECT, C_DRAW = C_SAMPLE | C_MEASURE };

/* What makes an SAE; bits from 4096 on. */
enum { C_COLLECT = 1 << 12, C_STATS = 1 << 13, C_MERGE = 1 << 14, C_RECORD = C_COLLECT | C_STATS, C_TRAIN = 1 << 15, C_ASSESS = 1 << 16 };

typedef enum { FLAG, TEXT, LIST, FILES, WHOLE, REAL } value_kind; /* FILES: what follows, up to the next option */

/* One option: its names, the commands that take it, what follows it, where it goes, and the flag that says it was given. */
typedef struct option {
    const char *name, *brief;
    int    commands;
    value_kind kind;
    size_t to, given;
    const char *argument, *help;
} option;

typedef struct subcommand {
    const char *name;
    int    bit;
    int  (*run)(const options *);
    const char *arguments, *summary;
} subcommand;

/* Reads argv from its second word on; the exit code, 0 if all is well. */
int parse(options *o, const subcommand *c, int argc, char **argv);
int help_command(const subcommand *c);
size_t letters_in_common(const char *a, const char *b);

/* ---- progress ---- */

/* images: of the whole command, done: of its finished calls, now: of the call that runs. */
typedef struct talk { bool quiet; double start, last; size_t images, done, now; } talk;

/* Takes the progress off a terminal, so that a message stands alone on its line. */
void clear_line(void);
int show_progress(void *user, const char *stage, size_t done, size_t total);

/* ---- messages: each returns the exit code ---- */

int complain(const saeuron_error *err);
int usage(const char *command, const char *format, const char *what);

/* ---- stdout: names and texts from files can neither end a line nor talk to the terminal ---- */

void print_json_string(const char *text);
void print_name(const char *text);
void print_concept(const char *concept, bool as_json); /* the first column, or the first member of a JSON object */

/* ---- opening what the options name ---- */

/* The model, with this talk's progress; an exit code, 0 if it is open. */
int open_model(saeuron_context **x, const options *o, talk *t);
/* --sae HOOK=DIR and --stats FILE. */
int place_saes(saeuron_context *x, const options *o, saeuron_error *err);
/* The options of sampling as the library takes them. *noise is the caller's to free. */
int sampling(saeuron_generate_options *g, const options *o, const saeuron_context *x, float **noise, saeuron_error *err);

/* --forget A,B with --top, --percentile, --strength for all of them. */
int forget_all(saeuron_context *x, const options *o, saeuron_error *err);
void warn_if_cut(const saeuron_context *x, const char *prompt, bool quiet);

/* --dtype: otherwise, when it is not given. */
int read_type(dtype *type, const char *text, dtype otherwise, saeuron_error *err);
/* --shard I/N. */
int read_shard(const char *text, size_t *i, size_t *n, saeuron_error *err);
/* The lines of --prompts, as pointers into *buffer; both are the caller's to free, after an error, too. */
int read_prompts(const options *o, const saeuron_host *host, char **buffer, const char ***prompts, size_t *count, saeuron_error *err);

/* ---- intermediates.c ---- */

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


int use_wires(void *user, const char *name, int step, size_t first, float *values, const size_t shape[4], int kind);
int open_injections(wires *w, saeuron_context *x, saeuron_generate_options g, const options *o, saeuron_error *err);
void close_injections(wires *w, const saeuron_context *x);
char *describe_injections(const saeuron_context *x, const wires *w);

/* ---- the other commands ---- */

int run_generate(const options *o);
int run_tokenize(const options *o);
int run_encode(const options *o);
int run_select(const options *o);
int run_info(const options *o);
int run_digest(const options *o);
int run_selftest(const options *o);
int run_bench(const options *o);

/* ---- command_collect.c ---- */

int run_collect(const options *o);
int run_stats(const options *o);
int run_merge(const options *o);

/* ---- command_train.c ---- */

int run_train(const options *o);
int run_measure(const options *o);

/* ---- command_eval.c ---- */

int run_eval(const options *o);
int run_sweep(const options *o);

#endif
