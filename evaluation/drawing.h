/* drawing.h: the pictures of one list after another: drawn or found, and judged.
 * Not here: what is counted on them (metrics.h), which lists there are (eval.h, sweep.h). */
#ifndef SAEURON_DRAWING_H
#define SAEURON_DRAWING_H

#include "evaluation/metrics.h"
#include "evaluation/picture.h"

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
    char     forget[416];           /* what its images say under "forget" */
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

/* UA, IRA, CRA of a list's concept on the answers in made, over what the list wants. */
int  list_measure(rate out[METRICS], const image_list *l, const protocol *p, const prediction *made, saeuron_error *err);

#endif
