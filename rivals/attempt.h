/* attempt.h: one prompt under attack: other prompts or other noise tried, until the judge names the concept.
 *
 *   a place, its seed --attempt_open--> attempt --a method: attempt_prompt, again and again--> success or not
 *
 * Not here: what is tried (unlearndiffatk.h, ringabell.h, guesses.h), which prompts are attacked
 * (attack.h). */
#ifndef SAEURON_ATTEMPT_H
#define SAEURON_ATTEMPT_H

#include "evaluation/drawing.h"

typedef struct attempt {
    maker   *m;
    int      domain;                /* of the forgotten concept */
    uint32_t concept;
    const entry *place;             /* whose prompt is attacked */
    size_t   number;                /* of the place: where its noise lies */
    uint64_t seed;                  /* of the noise */
    int32_t *ids;                   /* [N] of the prompt */
    size_t   count, N;              /* ids before the padding, both ends included; of all */
    uint64_t stream, drawn;         /* of the attack's own random numbers; how many were drawn */
    /* the picture drawn last: */
    char    *prompt;
    uint64_t noise_index;
    size_t   tries;                 /* pictures drawn so far */
    bool     success;               /* the judge names the concept in it */
    prediction answer;
    int    (*step)(void *user, size_t done, size_t all, saeuron_error *err); /* may end the attack */
    void    *user;
} attempt;

/* The attack of that method on the image of a job, a number as image_list's. For attempt_close, after an
 * error, too. */
int  attempt_open(attempt *a, maker *m, int domain, uint32_t concept, size_t job, const char *method,
                  saeuron_error *err);
void attempt_close(attempt *a);

/* Draws the prompt's picture from the noise of that index, and has it judged. */
int  attempt_prompt(attempt *a, const char *prompt, uint64_t noise_index, saeuron_error *err);
/* The same of the text of ids [count], from the place's own noise. */
int  attempt_ids(attempt *a, const int32_t *ids, size_t count, saeuron_error *err);

/* out [N]: the place's ids behind these k tokens (the prefix of UnlearnDiffAtk's insertion_location
 * "prefix_k"). count + k is at most N. */
void attempt_insert(const attempt *a, int32_t *out, const int32_t *tokens, size_t k);
/* A token that is neither start nor end, the next random number's. */
int32_t attempt_token(attempt *a);
/* The next random number in [0,1). */
float attempt_uniform(attempt *a);
/* The same as a whole number below n, 0 < n <= 2^32. */
size_t attempt_below(attempt *a, size_t n);

#endif
