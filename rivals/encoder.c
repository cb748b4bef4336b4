/* encoder.c: text states of token ids (encoder.h). Not here: what the ids are (ringabell.c, safree.c). */
#include "rivals/encoder.h"
#include "layers/machine.h"
#include "tokenizer.h"

int encoder_open(encoder *e, const saeuron_context *x, saeuron_error *err)
{
    *e = (encoder){ .x = x, .N = tokenizer_max_length(x->tokenizer), .D = x->text.D };
    const int code = choose_kernels(&e->c, x->host.isa, x->threads, &e->work, err);
    if (code)
        return code;
    clip_forward(&e->c, &x->text, NULL, NULL, ENCODED, e->N, NULL);
    if (e->work.failed || !(e->memory = io_alloc(&x->host, e->work.peak + 64, 1)))
        return fail(err, SAEURON_ENOMEM, "no memory to encode %d texts at a time", ENCODED);
    e->work = (arena){ .base = e->memory, .size = e->work.peak + 64 };
    return SAEURON_OK;
}

void encoder_close(encoder *e)
{
    if (e->x)
        io_free(&e->x->host, e->memory);
    *e = (encoder){ .x = NULL };
}

void encoder_run(encoder *e, float *states, const int32_t *ids, size_t B)
{
    clip_forward(&e->c, &e->x->text, states, ids, B, e->N, NULL);
}
