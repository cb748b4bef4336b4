/* eval.h: what is measured, and on which images: protocols (protocol.c), their counts (metrics.c), the runs (eval.c, sweep.c).
 *
 *   protocol --entries, seeds--> images --classifiers--> predictions --rules--> UA, IRA, CRA --> eval.json, tables, forget.json
 *
 * Not here: options and printing (saeuron.c), the classifier (vit.c), how a picture is drawn (pipeline.c). Schemas: docs/formats.md.
 * Source: SAeUron, arXiv 2501.18052, section 4; UnlearnCanvas, arXiv 2402.11846; both released codes. */
#ifndef SAEURON_EVAL_H
#define SAEURON_EVAL_H

#include "layers/model.h"
#include "evaluation/picture.h"

/* ---- text being built: tables and JSON (protocol.c) ---- */

typedef struct text_out { const saeuron_host *host; char *at; size_t n, size; bool failed; } text_out;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void text_add(text_out *t, const char *format, ...);    /* no real numbers: text_real */
void text_quote(text_out *t, const char *s);            /* as a JSON string */
void text_real(text_out *t, double x);                  /* the shortest decimal that reads back the same */
int  text_save(text_out *t, const char *path, saeuron_error *err);  /* writes it whole, and frees it */
void text_free(text_out *t);

/* ---- protocols (protocol.c) ---- */

enum { STYLE, OBJECT, DOMAINS };
extern const char *const domain_names[DOMAINS];     /* "style", "object" */

enum { UA, IRA, CRA, METRICS };
extern const char *const metric_names[METRICS];

/* What one number counts: the share of right answers of a classifier on some of the images (UA: 1 - that share). */
enum { OF_FORGOTTEN, OF_OTHERS, OF_ALL };           /* images of the forgotten concept, of the domain's other concepts, of both */
enum { MEAN_IMAGES, MEAN_STYLES, MEAN_OBJECTS };    /* over images, or unweighted over the shares of styles or objects */
typedef struct rule {
    int    judge;                   /* STYLE or OBJECT: whose answer is compared with the image's own style or object */
    int    of, mean;
    double styled, plain;           /* weight of an image in a style, of an unstyled one; 0: not counted */
} rule;

#define LABELS 1024
#define SEEDS  64
#define NO_LABEL UINT32_MAX

/* A classifier's classes, in the order of its outputs; those that can be forgotten are concepts. */
typedef struct labels { const char *name[LABELS]; bool concept[LABELS]; size_t count; } labels;

/* One place of the list; its number is the place in the seed's stream of noise. style: NO_LABEL where unstyled images have no class. */
typedef struct entry { const char *prompt; uint32_t style, object; bool plain; } entry;

typedef struct protocol {
    char     name[64];
    size_t   steps;                 /* 0: the model's */
    double   guidance;
    bool     has_guidance;
    bool     disjoint;              /* the statistics' seed may not be a test seed */
    uint64_t seed[SEEDS];
    size_t   seeds;
    labels   label[DOMAINS];
    bool     measured[DOMAINS];     /* the protocol has rules for it */
    rule     rules[DOMAINS][METRICS];
    entry   *entry;
    size_t   entries;
    char    *pool;                  /* the strings */
    size_t   pool_used, pool_size;
    const saeuron_host *host;
} protocol;

#define PLAIN_STYLE "Seed_Images"   /* UnlearnCanvas' name for "in no style" */

/* named: "emojicanvas", "paper", "released", "unlearncanvas", a JSON file's path (it holds a '.' or '/'), or NULL: concepts.json's
 * "protocol", else emojicanvas. Classes: concepts.json's, which k's must be; without it, k's own. k [DOMAINS] may hold NULL. */
int  protocol_open(protocol *p, const saeuron_context *x, saeuron_classifier *const k[DOMAINS], const char *named, saeuron_error *err);
void protocol_close(protocol *p);
/* The protocol as a file that protocol_open reads. */
void protocol_print(const protocol *p, text_out *out);
/* What a metric counts, in words, for reports. */
void rule_print(const protocol *p, int domain, int metric, text_out *out);
/* Class of the name in a domain, or NO_LABEL. */
uint32_t label_find(const labels *l, const char *name);
/* Whether an image counts in a rule, and with what weight: 0 when it does not. */
double rule_weight(const rule *r, const entry *e, int domain, uint32_t concept);

/* ---- counts (metrics.c) ---- */

/* A classifier's answer to an image: the class of the largest logit and its softmax. label NO_LABEL: not asked. */
typedef struct prediction { uint32_t label[DOMAINS]; float probability[DOMAINS]; } prediction;

/* A share with its 95 % interval; images == 0: nothing counts, and the rest means nothing. */
typedef struct rate { double value, low, high; size_t images, right; double effective; } rate; /* effective: metrics.c, rate_sum */

/* Wilson's interval of right out of n. */
rate rate_of(size_t right, size_t n);
/* The mean of s with weights c, and its interval (metrics.c); skips those without images. */
rate rate_sum(const rate *s, const double *c, size_t n);
/* One number of one forgotten concept. prediction [seeds,entries], of which those with an answer count; use [seeds,entries] (or NULL):
 * only these. right, n: how many images were counted, whatever their weight. */
int  rate_rule(rate *out, const protocol *p, const rule *r, int domain, uint32_t concept, const prediction *made, const bool *use, saeuron_error *err);
rate rate_opposite(rate s);         /* 1 - s */
/* Per cent with four digits after the point: enough to tell one image among a million. */
double per_cent(double x);

/* ---- images of a list, made or found (eval.c) ---- */

/* Draws images of one list after another from texts encoded once. */
typedef struct maker {
    saeuron_context *x;
    const protocol *p;
    saeuron_generate_options options;   /* steps, guidance, residual, negative prompt, ... of every image */
    size_t   W, H, latent, text, batch; /* pixels of an image, values of a latent and of a text, images a call */
    float  **embeds;                /* [entries] of [text], NULL until needed */
    float   *negative, *batch_embeds, *noise;
    unsigned char *rgb;             /* [batch,H,W,3] */
    const char **prompts;
    uint64_t digest;                /* the model's */
} maker;

int  maker_open(maker *m, saeuron_context *x, const protocol *p, const saeuron_generate_options *options, saeuron_error *err);
void maker_close(maker *m);
/* Draws count <= batch images into m->rgb. A job is the number of an image: seed's number * entries + place. */
int  maker_draw(maker *m, const size_t *jobs, size_t count, saeuron_error *err);

/* The images of one forgotten concept, or of none. */
typedef struct image_list {
    char     name[96];              /* its folder: the concept, or "none" */
    int      domain;
    uint32_t concept;               /* NO_LABEL: none */
    char     forget[256];           /* what its images say under "forget" */
    bool    *wanted, *there;        /* [seeds,entries]: asked for; found or made */
    prediction *made;               /* [seeds,entries] */
} image_list;

int  list_open(image_list *l, const protocol *p, int domain, uint32_t concept, saeuron_error *err);
void list_close(image_list *l, const protocol *p);
/* Makes the context forget what the list forgets, as `how` says (NULL: forget.json). */
int  list_enter(image_list *l, maker *m, const saeuron_forget_options *how, saeuron_error *err);
/* After list_enter: finds the wanted images below dir; those there must be whole and say that they are these. */
int  list_check(image_list *l, maker *m, const char *dir, saeuron_error *err);
/* After list_check: draws and saves one batch of the wanted images that are not there and that `mine` [seeds,entries] (NULL: all)
 * holds; *count of them, 0 when there is none left. */
int  list_draw(image_list *l, maker *m, const char *dir, const bool *mine, size_t *count, saeuron_error *err);
/* After list_check: the answers to all that are there. */
int  list_classify(image_list *l, maker *m, const char *dir, saeuron_classifier *const k[DOMAINS], saeuron_error *err);
/* Answers of both classifiers to count images rgb [count,H,W,3]. */
int  classify(prediction *out, const maker *m, saeuron_classifier *const k[DOMAINS], const unsigned char *rgb, size_t count, saeuron_error *err);
/* The seed of the statistics in use, of their metadata; false when it is unknown. */
bool statistics_seed(const saeuron_context *x, uint64_t *seed);

/* What the runs tell their caller: how many images there are to make, and how many are made. */
typedef struct watcher {
    void *user;
    /* Before anything is drawn: of how many images, how many are there. Not 0 stops. */
    int (*plan)(void *user, size_t images, size_t there);
    /* Before each call that draws: how many are done, how many it makes. */
    void (*next)(void *user, size_t done, size_t now, size_t images);
    /* A row of the results: a concept's, or "average" of a domain; with and without forgetting. */
    void (*result)(void *user, int domain, const char *concept, const rate with[METRICS], const rate without[METRICS]);
} watcher;

/* How concepts are forgotten: as forget.json says, unless given here (as saeuron_forget_options). */
typedef struct eval_options {
    const protocol *p;
    saeuron_classifier *k[DOMAINS];
    const char *dir;                /* the folder of images and results */
    saeuron_generate_options sampling;
    saeuron_forget_options how;         /* name is not used */
    const bool *concept[DOMAINS];   /* [labels]: those to forget */
    bool   quick;                   /* the first seed alone, and every third place */
    bool   dry;                     /* stop after watcher.plan */
    bool   overlap;                 /* the statistics' seed may be a test seed */
    size_t shard, shards;           /* make only every shards-th image and measure nothing; shards 0: all */
    watcher watch;
} eval_options;

/* Makes what is missing, classifies, writes the results; *left: images that still miss (other shards'). */
int eval_run(saeuron_context *x, const eval_options *o, size_t *left, saeuron_error *err);

/* Whether a rule of the domain counts the image. */
bool place_counts(const protocol *p, const entry *e, int domain, uint32_t concept);
/* UA, IRA, CRA of a list's concept on the answers in made, over what the list wants. */
int  list_measure(rate out[METRICS], const image_list *l, const protocol *p, const prediction *made, saeuron_error *err);

/* ---- sweep.c ---- */

#define GRID 256
typedef struct sweep_options {
    eval_options e;                 /* p's seeds: the first for stage one, the others to validate; concept of one domain */
    int      domain;
    const uint64_t *test_seed;      /* of the protocol itself, which the sweep may not touch */
    size_t   test_seeds, retained, finalists;
    choice   grid[GRID];            /* in order of preference where scores tie */
    size_t   points;
    bool     install;               /* also into the forget.json beside the SAE */
    /* A concept's choice; kept: its CRA stays within 5 points of no forgetting. numbers: UA, IRA, CRA, CRA without forgetting. */
    void   (*chose)(void *user, const char *concept, const choice *c, const double numbers[4], bool kept);
} sweep_options;

/* Chooses top K or percentile, and strength, for each concept: results.tsv and forget.json in e.dir. installed (or NULL): the
 * path that install wrote. */
int sweep_run(saeuron_context *x, const sweep_options *o, char installed[1024], saeuron_error *err);

#endif
