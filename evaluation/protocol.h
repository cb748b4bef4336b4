/* protocol.h: which images are made, and what is counted on them: classes, rules, places, seeds.
 * Not here: counting (metrics.h), making (drawing.h). Source: SAeUron, section 4; UnlearnCanvas, arXiv 2402.11846. */
#ifndef SAEURON_PROTOCOL_H
#define SAEURON_PROTOCOL_H

#include "context.h"
#include "evaluation/classifier.h"
#include "files/text.h"

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
/* Whether a rule of the domain counts the image. */
bool place_counts(const protocol *p, const entry *e, int domain, uint32_t concept);
/* Whether the image is of the third that a quick evaluation takes: every third along the diagonals of objects and styles, so that
 * each object and each style keeps some. An unstyled image without a class stands behind the last style. */
bool place_is_quick(const protocol *p, const entry *e);

#endif
