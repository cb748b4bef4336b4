/* judges.h: what the tests of evaluation/ share: a tiny classifier in memory, and the tiny model with two of
 * them on the disk.
 *
 * Not here: the models themselves (tiny.h). */
#ifndef SAEURON_JUDGES_H
#define SAEURON_JUDGES_H

#include "tiny.h"
#include "evaluation/protocol.h"

/* The call fails with this code and one line that holds the words. */
void judges_error(const char *what, int code, int wanted, const saeuron_error *e, const char *words);

/* ---- a classifier in memory: "tiny/judge" ---- */

#define JUDGE_CONFIG "judge/config.json"
#define JUDGE_MODEL  "judge/model.safetensors"
/* Pictures of WIDE x HIGH pixels; MOST of them are more than two batches. */
enum { MOST = 35, WIDE = 17, HIGH = 14, PICTURE = 3 * WIDE * HIGH };

extern tiny judge_files;            /* each test makes and frees its own */
extern const char *const judge_names[TINY_CLASSES];
void judge_make(void);
saeuron_classifier *judge_opened_on(const saeuron_host *host);
saeuron_classifier *judge_opened(const char *isa, int threads, size_t pack);
void judge_done(saeuron_classifier *k);                 /* closes, and checks that nothing stays */
/* Opening fails, leaves nothing behind, and says so. */
void judge_open_fails(const char *what, int wanted, const char *words);

const unsigned char *judge_pictures(void);              /* [MOST] */
typedef struct verdict { float logits[MOST * TINY_CLASSES]; } verdict;
/* Classifies pictures first, first + 1, ... */
void judge_must(saeuron_classifier *k, size_t first, size_t count, verdict *v);
bool judge_same(const verdict *a, const verdict *b);

/* ---- a model, its classifiers and a protocol, on the disk: three styles, Seed_Images, three objects ---- */

enum { SEED_IMAGES, SKETCH, VAN_GOGH, WATERCOLOR };
enum { CATS, DOGS, SEA };

const char *judges_at(const char *name); /* a path in the folder of these tests, in one of eight buffers */
int  judges_shell(const char *format, const char *a, const char *b);
bool judges_same(const char *a, const char *b);         /* two folders, by name */
void judges_prepare(void);                              /* writes "model", once a run */

typedef struct stop { long calls, at; } stop; /* of progress; the call that stops (from 1; 0: none) */
typedef struct bench {
    saeuron_context *x;
    saeuron_classifier *k[DOMAINS];
    protocol p;
    saeuron_host host;
    stop stop;
    bool concept[DOMAINS][LABELS];
} bench;
void bench_open(bench *b, const char *named, int threads); /* named: the protocol */
void bench_open_at(bench *b, const char *model, const char *named, const saeuron_host *host);
int  count_calls(void *user, const char *stage, size_t done, size_t total); /* progress; user: a stop */
void bench_close(bench *b);

#endif
