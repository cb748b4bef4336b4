/* command.h: what the program's commands share: their options, messages, and how they open a model.
 *
 *   saeuron.c --options--> commands there, in command_eval.c, command_collect.c and command_train.c --> exit codes
 *
 * Not here: the library, which knows neither options nor a terminal. */
#ifndef SAEURON_COMMAND_H
#define SAEURON_COMMAND_H

#include "context.h"

/* ---- options ---- */

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
    bool     diff, per_prompt, has_seed, has_min_density;
    uint64_t sae_latents, expansion, k, tokens, epochs, checkpoint_every, log_every, dead_threshold, buffer, noise_seed; /* of train, with the paper's defaults */
    double   lr, beta1, beta2, adam_eps, clip, auxk_alpha;
    bool     has_sae_latents, has_expansion, online, resume, multi_topk;
    uint64_t runs, threads, seed, noise_index, steps, count, batch, height, width, top, at, limit;
    double   guidance, percentile, strength;
    bool     profile, quiet, json, map_steps, quick, dry_run, print_protocol, overlap, install, explain, strings, latents, memory, tensors, listing, help;
    bool     has_guidance, has_strength, has_percentile, has_at, has_threads;
} options;

/* ---- progress ---- */

/* images: of the whole command, done: of its finished calls, now: of the call that runs. */
typedef struct talk { bool quiet; double start, last; size_t images, done, now; } talk;

/* Takes the progress off a terminal, so that a message stands alone on its line. */
void clear_line(void);

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

/* --dtype: otherwise, when it is not given. */
int read_type(dtype *type, const char *text, dtype otherwise, saeuron_error *err);
/* --shard I/N. */
int read_shard(const char *text, size_t *i, size_t *n, saeuron_error *err);
/* The lines of --prompts, as pointers into *buffer; both are the caller's to free, after an error, too. */
int read_prompts(const options *o, const saeuron_host *host, char **buffer, const char ***prompts, size_t *count, saeuron_error *err);

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
