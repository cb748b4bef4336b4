/* protocol.h: which images are drawn, and what is counted on them: classes, rules, places, seeds.
 *
 *   a name or a JSON file, concepts.json, the classifiers' classes --protocol_open--> protocol
 *
 * Not here: counting (metrics.h), drawing (drawing.h).
 * Source: SAeUron, section 4; UnlearnCanvas, arXiv 2402.11846. */
#ifndef SAEURON_PROTOCOL_H
#define SAEURON_PROTOCOL_H

#include "context.h"
#include "evaluation/classifier.h"
#include "files/text.h"

enum { STYLE, OBJECT, DOMAINS };
static inline int other_domain(int domain) { return domain == STYLE ? OBJECT : STYLE; }
extern const char *const domain_names[DOMAINS];     /* "style", "object" */

enum { UA, IRA, CRA, CRA_OWN, METRICS };
extern const char *const metric_names[METRICS];     /* "UA", "IRA", "CRA", "CRA_own" */

/* What one number counts: the share of a classifier's right answers on some of the images (UA: 1 - that
 * share). */
enum { OF_FORGOTTEN, OF_OTHERS, OF_ALL };           /* the forgotten concept's, the domain's others', both */
enum { MEAN_IMAGES, MEAN_STYLES, MEAN_OBJECTS };    /* over images; over styles' or objects' shares */
typedef struct rule {
    int    judge;                   /* STYLE or OBJECT: what is asked of an image */
    int    of, mean;
    double styled, plain;           /* weight of an image in a style, of an unstyled one; 0: not counted */
} rule;

#define LABELS 1024
#define SEEDS  64
#define NO_LABEL UINT32_MAX

/* A classifier's classes, in the order of its outputs; those that can be forgotten are concepts. */
typedef struct labels { const char *name[LABELS]; bool concept[LABELS]; size_t count; } labels;

/* Classes that are forgotten together, of one domain or both; all false: nothing is. */
typedef struct forgotten { bool has[DOMAINS][LABELS]; } forgotten;
forgotten forgotten_one(int domain, uint32_t concept);
bool forgotten_any(const forgotten *f, int domain);

/* One place of the list; its number says which part of a seed's noise it starts from. style is NO_LABEL where
 * unstyled images have no class. */
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

/* named: "emojicanvas", "paper", "released", "unlearncanvas", or the path of a JSON file (with a '.' or '/'
 * in it); NULL: concepts.json's "protocol", else emojicanvas. The classes are those of concepts.json, which
 * the classifiers k must share, or without it k's own. k [DOMAINS] may hold NULL. To be closed after
 * success. */
int protocol_open(protocol *p, const saeuron_context *x, saeuron_classifier *const k[DOMAINS],
                  const char *named, saeuron_error *err);
void protocol_close(protocol *p);
/* The protocol as the JSON file that protocol_open reads. */
void protocol_print(const protocol *p, text_out *out);
/* What a metric counts, in words, for eval.json. */
void rule_print(const protocol *p, int domain, int metric, text_out *out);
/* A concept's name as a text by itself: "Ink Art style", "Cats". */
void concept_text(char out[128], int domain, const char *name);
/* The concepts as such texts: those of f, and all others, styles first. For free_texts, after an error,
 * too. */
typedef struct concept_texts {
    char  (*text)[128];
    const char **erase, **keep;     /* into text */
    size_t  erased, kept;
} concept_texts;
int  name_texts(concept_texts *t, const protocol *p, const forgotten *f, saeuron_error *err);
void free_texts(concept_texts *t, const saeuron_host *host);
void join_texts(text_out *out, const concept_texts *t);     /* "Mosaic style, Cats": what is erased */
/* The class of this name, or NO_LABEL; the same if it is a concept. */
uint32_t label_find(const labels *l, const char *name);
uint32_t concept_find(const labels *l, const char *name);
/* The weight of an image in a rule of the domain, when f is forgotten; 0: it does not count. What is asked of
 * an image and forgotten itself counts in the UA of its own domain alone. */
double rule_weight(const rule *r, const entry *e, int domain, const forgotten *f);
/* Whether any rule of the domain counts the image. */
bool place_counts(const protocol *p, const entry *e, int domain, const forgotten *f);
/* Whether the image is of what is forgotten in the domain. */
bool place_is_own(const entry *e, int domain, const forgotten *f);
/* like [entries]: the images that own ones are likened to (frechet.h). They are not own, but an own one has
 * their class of the other domain: the same objects in other styles and in none. */
void places_like(bool *like, const protocol *p, int domain, const forgotten *f);
/* Whether the image is of the third that a quick evaluation takes: along the diagonals of objects and styles,
 * so that each object and each style keeps some. An unstyled image without a class stands behind the last
 * style. */
bool place_is_quick(const protocol *p, const entry *e);

#endif
