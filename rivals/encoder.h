/* encoder.h: text states of token ids, some texts at a time, for methods that make up ids of their own.
 * Not here: states of a text (saeuron_encode_text), the text encoder itself (clip.h). */
#ifndef SAEURON_ENCODER_H
#define SAEURON_ENCODER_H

#include "context.h"

enum { ENCODED = 16 }; /* texts at a time, at most */

typedef struct encoder {
    const saeuron_context *x;
    size_t N, D;                    /* tokens of a text, width of a state */
    nn     c;
    arena  work;
    void  *memory;
} encoder;

/* Keeps x. For encoder_close, after an error, too. */
int  encoder_open(encoder *e, const saeuron_context *x, saeuron_error *err);
void encoder_close(encoder *e);
/* states [B,N,D] of ids [B,N], each of the vocabulary. */
void encoder_run(encoder *e, float *states, const int32_t *ids, size_t B);

#endif
