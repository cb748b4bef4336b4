/* drawing.h: the pictures of one list after another: drawn or found, and judged.
 *
 *   list --list_enter--> its concepts forgotten --list_check, list_draw--> pictures
 *        --list_classify--> answers
 *
 * Not here: what is counted on them (metrics.h), which lists there are (eval.c, sweep.c). */
#ifndef SAEURON_DRAWING_H
#define SAEURON_DRAWING_H

#include "evaluation/metrics.h"
#include "evaluation/picture.h"

/* What a run tells its caller. */
typedef struct watcher {
    void *user;
    /* Before anything is drawn: of how many images, how many are there. Not 0 stops. */
    int (*plan)(void *user, size_t images, size_t there);
    /* Before each call that draws or judges: how many are done, how many it is about, of how many. */
    void (*next)(void *user, size_t done, size_t now, size_t images);
    /* A row of the results: a concept's, or "average" of a domain; with and without forgetting. */
    void (*result)(void *user, int domain, const char *concept, const figures *with,
                   const figures *without);
} watcher;

/* How many images a run has drawn, of how many, and whom it tells. */
typedef struct tally { const watcher *watch; size_t done, images; } tally;
void tell_next(const tally *s, size_t now);

/* A method that changes the text states [N,D] of a prompt, and nothing else (rivals/safree.h). */
typedef struct text_editor {
    const char *name;               /* what its pictures lie under */
    void *user;
    /* From now on f is forgotten, whose texts are t; p NULL: t is all that is known of them. What a picture
     * says of it is added to said. */
    int (*forget)(void *user, const protocol *p, const forgotten *f, const concept_texts *t, text_out *said,
                  saeuron_error *err);
    /* states: the prompt's, as saeuron_encode_text gives them. */
    int (*edit)(void *user, const char *prompt, float *states, saeuron_error *err);
} text_editor;
/* states [N,D] of a prompt, edited; editor NULL: as they are. */
int edited_text(saeuron_context *x, const text_editor *editor, const char *prompt, float *states,
                saeuron_error *err);

/* How a list's concepts are forgotten: by SAEs at hooks; or by another method, whose model it is that lies in
 * RIVALS/NAME, NAME the list's; or with the concepts' names as the negative prompt; or by an editor. */
typedef struct means { const char *rivals; bool negative; const text_editor *editor; } means;

/* Draws images from texts encoded once, and judges them. */
typedef struct maker {
    saeuron_context *model;         /* the caller's */
    saeuron_context *x;             /* what draws: the model, or the rival of the list that was entered */
    means    by;                    /* maker_open sets SAEs at hooks */
    const protocol *p;
    saeuron_classifier *const *k;   /* [DOMAINS] */
    saeuron_generate_options options;   /* steps, guidance, residual, negative prompt, ... of every image */
    size_t   W, H, latent, text;    /* pixels of an image; values of a latent, of a text */
    size_t   batch;                 /* images a call */
    float  **embeds;                /* [entries] of [text], NULL until needed */
    float   *negative, *batch_embeds, *noise;
    unsigned char *rgb;             /* [batch,H,W,3] */
    const char **prompts;
    uint64_t digest, drawn_by;      /* of the model, of x */
    text_out without;               /* of the list that was entered: the negative prompt, if by.negative; what
                                     * the editor says; "" where it forgets nothing */
} maker;

/* What pictures that are forgotten so lie under: the last part of rivals, "negative", the editor's name; NULL
 * of SAEs. */
const char *means_name(const means *by);

/* Keeps x, p, k and what options point to. After an error there is nothing to close, and m->embeds is
 * NULL. */
int  maker_open(maker *m, saeuron_context *x, const protocol *p, saeuron_classifier *const k[DOMAINS],
                const saeuron_generate_options *options, saeuron_error *err);
void maker_close(maker *m);

/* One picture beside the lists: drawn into m->rgb, from elements [noise_index * C h w, ...) of
 * torch.randn(seed) as a list's image is from its place; both judges' answers to it; the texts of its file
 * (picture_free). What is forgotten is what the context forgets. */
int  maker_draw(maker *m, const char *prompt, uint64_t seed, uint64_t noise_index, saeuron_error *err);
int  maker_judge(const maker *m, const unsigned char *rgb, prediction *made, saeuron_error *err);
int  maker_describe(const maker *m, picture *said, const char *prompt, uint64_t seed, uint64_t noise_index,
                    saeuron_error *err);

/* The images of what is forgotten: one concept, several together, or none. A job is an image's number: that
 * of its seed * entries + place. */
typedef struct image_list {
    const char *dir;                /* DIR/images/NAME/PAIR holds them; NULL: none is kept */
    char     name[96];              /* "Mosaic"; "Mosaic+Cats"; "none" */
    char     pair[192];             /* "top_1_strength_-0.5"; of several the digest of forget; of none "", and
                                     * the folder is DIR/images/none */
    forgotten what;
    text_out forget;                /* what its images say under "forget" */
    bool    *wanted, *there;        /* [jobs]: asked for; found, or made */
    bool    *like[DOMAINS];         /* [jobs]: of none's images those that its own are likened to */
    prediction *made;               /* [jobs] */
    float   *features[DOMAINS];     /* [jobs,width] of a judge; NULL: not kept */
    size_t   width[DOMAINS];
} image_list;

int list_open(image_list *l, const protocol *p, const char *dir, const forgotten *what, saeuron_error *err);
void list_close(image_list *l, const protocol *p);
/* From now on the features by judge d are kept; list_drop_features ends it. */
int  list_keep_features(image_list *l, const maker *m, int d, saeuron_error *err);
void list_drop_features(image_list *l, const protocol *p);
/* Makes m->x forget what the list forgets, as m->by says; by SAEs as `how` says (NULL: forget.json). The
 * functions below are for the list that was entered last. */
int  list_enter(image_list *l, maker *m, const saeuron_forget_options *how, saeuron_error *err);
/* Finds the wanted images in the list's folder; those there must be whole and say that they are these. */
int  list_check(image_list *l, maker *m, saeuron_error *err);
/* Draws the wanted images that are not there and that `mine` [jobs] (NULL: all) holds, in batches. Saves
 * them; or, where none is kept, judges them at once. */
int  list_draw(image_list *l, maker *m, const bool *mine, tally *s, saeuron_error *err);
/* The pixels [H,W,3] of the image of a job that is there, for io_free; its file must say that it was made as
 * this run would make it. */
int  list_load(const image_list *l, const maker *m, size_t job, unsigned char **rgb, saeuron_error *err);
/* Judges all that are there. */
int  list_classify(image_list *l, maker *m, saeuron_error *err);
/* What is counted for l in a domain over what l wants, by the answers to the images in made: l itself, or
 * none, in which nothing is forgotten. The distance is that of made's own pictures to none's that l likens
 * them to, in the features by the other domain's judge, if these were kept. */
int list_measure(figures *out, const image_list *l, int domain, const image_list *made,
                 const image_list *none, const protocol *p, saeuron_error *err);

/* The answers to count images, from logits [count,classes] into domain d of out [count]: the class of the
 * largest logit, between equal ones the first, and its softmax. scratch [classes]. */
void answer(prediction *out, int d, const float *logits, float *scratch, size_t count, size_t classes);

/* The seed that the metadata of the statistics in use name; false when there is none. */
bool statistics_seed(const saeuron_context *x, uint64_t *seed);
/* An error where that is a test seed of a protocol that wants them apart, unless the overlap is allowed. */
int  refuse_overlap(const saeuron_context *x, const protocol *p, bool overlap, saeuron_error *err);

#endif
