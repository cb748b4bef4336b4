/* lesson.h: the training that rivals share: texts to erase, latents sampled part of the way, one iteration
 * after another.
 *
 *   options --lesson_open--> lesson --lesson_teach: a method's iteration, again and again--> lesson_save
 *
 * Not here: what an iteration is (esd.c, sdd.c, ca.c), the UNet that learns (student.h). */
#ifndef SAEURON_LESSON_H
#define SAEURON_LESSON_H

#include "files/metadata.h"
#include "rivals/student.h"

enum { TRAIN_XATTN, TRAIN_NOXATTN, TRAIN_FULL, TRAIN_KV, TRAINABLE };   /* which tensors (lesson.c) */
extern const char *const trained_names[TRAINABLE];

typedef struct lesson_options {
    const char *const *erase;       /* texts */
    size_t   erased;
    int      trained;               /* TRAIN_* */
    size_t   iterations, steps;     /* steps: of sampling; 0: the model's */
    double   lr, start;             /* learning rate; guidance while sampling */
    uint64_t seed;
    /* Is told the mean loss of the iterations since it last was, now and then; may be NULL. */
    void   (*told)(void *user, size_t iteration, double loss);
    void    *user;
} lesson_options;

typedef struct lesson {
    saeuron_context *x;
    const lesson_options *o;
    const void *method;             /* the method's own options */
    student *s;
    optimizer adam;
    ddim     ddim;                  /* with the lesson's steps */
    size_t   h, w, n, text;         /* n: values of the latents; text: of a text's states */
    float   *states, *none;         /* [erased,N,D], of the empty text [N,D] */
    float   *latents, *noise, *e0, *ec; /* [n] */
    uint64_t stream, drawn;
    const char *name;               /* of the method */
} lesson;

/* The texts encoded, the student ready. For lesson_close, after an error, too. */
int  lesson_open(lesson *l, saeuron_context *x, const lesson_options *o, const char *name, bool averaged,
                 saeuron_error *err);
void lesson_close(lesson *l);
/* The next random number below n. */
size_t lesson_below(lesson *l, size_t n);
/* noise = that of the next random number. */
int  lesson_noise(lesson *l, saeuron_error *err);
/* latents = x after the first k of the sampler's steps for text number i, guided, by this UNet, from new
 * noise. */
int  lesson_sample(lesson *l, int by, size_t i, size_t k, saeuron_error *err);
/* Every iteration. progress is asked after each: stopped, SAEURON_ECANCEL. */
int  lesson_teach(lesson *l, int (*iterate)(lesson *l, size_t i, double *loss, saeuron_error *err),
                  saeuron_error *err);
/* Writes the folder; said: the method's own facts, to which those of every lesson are added. */
int  lesson_save(const lesson *l, int by, const char *dir, metadata *said, saeuron_error *err);

#endif
