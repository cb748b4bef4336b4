/* recorded.h: the tiny model of tiny.h for the tests of training/: opened with every block counted, its hooks
 * seen through a tap, its activations and statistics made; and files of activations made by hand.
 * Not here: the model itself (tiny.h). */
#ifndef SAEURON_RECORDED_H
#define SAEURON_RECORDED_H

#include "opened.h"
#include "training/collect.h"
#include "training/statistics.h"

#define TOKENS  16  /* of a map, 4 x 4 */
#define WIDTH   32
#define STEPS   TINY_STEPS
#define LATENTS 128
#define PROMPTS 5
#define ROWS    (PROMPTS * STEPS)

extern const char *const spoken[PROMPTS], *const hooks[2]; /* hooks: objects, styles */
extern const char concept_file[]; /* the same prompts: two concepts of two, one of one */

/* The file `name` of a suite in this run's folder: suites run in one process, each with files of its own. */
const char *suite_path(const char *suite, const char *name);
bool there(const char *path);
bool same_files(const char *a, const char *b);

/* What a tap sees of both hooks and of the ResNets before them, conditional half. */
typedef struct seen { float out[2][PROMPTS][STEPS][TOKENS * WIDTH],
                      in[2][PROMPTS][STEPS][TOKENS * WIDTH]; size_t guided; } seen;
extern seen eye;
void watch_hooks(saeuron_context *x, saeuron_generate_options g); /* the truth of a run of all prompts */

/* collect_run of all prompts, stats_make. */
int collected(saeuron_context *x, saeuron_generate_options g, const char *const *paths, size_t hook_count,
              shard part, size_t every, size_t first, bool diff, dtype type, saeuron_error *e);
int counted(saeuron_context *x, concept_set *c, const char *hook, const char *path, const char *density,
            shard part, dtype type, bool per_prompt, size_t batch, saeuron_error *e);

/* ---- files to train on ---- */

/* "whole.safetensors", "half.safetensors" (F16) and "part0", "part1", "part2.safetensors" of suite
 * "training", of all prompts at TINY_STYLES, seed 3: made once a run. */
void prepare(void);
/* A file of collect's kind, made by hand: value = row number (from first) + token / 100; key=value of the
 * metadata replaced. */
void make_file(const char *path, size_t rows, size_t first, size_t tokens, size_t width, const char *key,
               const char *value, dtype type);
/* Contract 6, written again: the order of n places. */
void shuffled(uint32_t *order, size_t n, uint64_t seed, uint64_t window, const char *stream);

#endif
