/* fuzz.h: hostile bytes for every reader. One target is one reader.
 *
 *   input --cut into the target's files, among valid ones--> target.run: what it accepted holds, or abort()
 *
 *   clang -std=c99 -g -O1 -fsanitize=fuzzer,address,undefined -I. -o fuzz SOURCES -lm
 *   FUZZ=TARGET ./fuzz -max_total_time=60 -dict=WORDS CORPUS_DIR
 *   cc -std=c99 -I. -DFUZZ_STANDALONE -o replay SOURCES -lm     without libFuzzer, any compiler
 *   FUZZ=TARGET ./replay FILE...       gives them to the target's reader, and prints what it says
 *   ./replay --seeds DIR               writes valid files of each target into DIR/TARGET
 *
 * SOURCES: tests/fuzz_*.c, tests/tiny.c, and every .c of the rooms but program/main.c and program/options.c
 * (as in .ci/run, fuzz). Trainings and sweeps leave files in ./tiny. */
#ifndef SAEURON_FUZZ_H
#define SAEURON_FUZZ_H

#include "tiny.h"
#include "walk.h"
#include "evaluation/protocol.h"

/* A reader. The input is given out as the file at path[0]; where there are several paths it is cut at its
 * first zero bytes, and the last file may hold more of them. A file whose part is missing is the valid one.
 * Without paths the input is no file. */
typedef struct target { const char *name, *path[3]; void (*run)(void); } target;
extern const target targets[];          /* ends with a row of zeros */

/* ---- the surroundings (fuzz_main.c) ---- */

/* The input, alone in a block as long as it is, so that the sanitizer knows both ends. */
extern const unsigned char *input;
extern size_t input_size;

/* The valid files of tiny.h, and those of fuzz_seeds.c. */
extern tiny files;
/* Has the files of the input, then those of `files`; memory is counted, and limited, so that a reader that
 * trusts a length fails. */
extern saeuron_host host;
/* From now on, until the next input, the file at path, too. bytes stay the caller's. */
void give_out(const char *path, const void *bytes, size_t size);

/* What code and e must be together: accepted, or one line that says why not. Returns whether it was
 * accepted. */
bool accepted(int code, const saeuron_error *e);

/* The tiny model and its two classifiers, opened once. */
saeuron_context *model(void);
saeuron_classifier *const *judges(void);        /* [DOMAINS] */

/* ---- valid files (fuzz_seeds.c) ---- */

#define RUN_DIR   "tiny/run"            /* of the target checkpoint */
#define SWEEP_DIR "tiny/swept"          /* of the target sweep */
void add_surroundings(void);            /* into `files`: what targets read beside the input */
int  write_seeds(const char *dir);

/* The calls that make a checkpoint and a sweep's table, and that read them again. draw: else a sweep stops
 * before it draws. (fuzz_readers.c) */
int train_a_step(saeuron_error *e);
int sweep(bool draw, saeuron_error *e);
extern const char *const picture_texts[];

#endif
