/* sdd.c: SDD (sdd.h).
 *
 *   text c, k of S steps by the average, guided --> x at timestep t
 *   the student: e0 = UNet'(x, t, ""), held still --> mean (UNet'(x, t, c) - e0)^2 --AdamW--> a step on
 *   average = ema average + (1 - ema) student
 *
 * Where this parts from the published code: that draws t between two steps of the sampler, here it is the
 * sampler's next; its prompt for sampling joins all texts, here it is the iteration's, which is the same of
 * one text. In both the average, not the student, is what is kept.
 *
 * Not here: sampling, the loop (lesson.c), passes and steps (student.c). */
#include "rivals/sdd.h"

/* EQ 48: one iteration; the loss before its step. */
static int iterate(lesson *l, size_t number, double *loss, saeuron_error *err)
{
    const sdd_options *o = l->method;
    const size_t i = number % l->o->erased, k = lesson_below(l, l->ddim.steps);
    const int    t = l->ddim.timesteps[k];
    const float *c = l->states + i * l->text;
    int code = lesson_sample(l, BY_AVERAGE, i, k, err);
    if (!code)
        code = student_predict(l->s, BY_STUDENT, l->e0, l->latents, t, l->none, err);
    if (!code)
        code = student_step(l->s, &l->adam, o->clip, l->latents, t, c, l->e0, loss, err);
    if (!code)
        student_average(l->s, o->ema);
    return code;
}

int sdd(saeuron_context *x, const sdd_options *o, const char *dir, saeuron_error *err)
{
    metadata said = { .n = 0 };
    lesson l;
    int code = lesson_open(&l, x, &o->lesson, "sdd", true, err);
    l.method = o;
    l.adam.decay = o->weight_decay;
    l.adam.decoupled = true;
    metadata_add(&said, "ema_decay", "%g", o->ema);
    metadata_add(&said, "weight_decay", "%g", o->weight_decay);
    metadata_add(&said, "clip", "%g", o->clip);
    if (!code)
        code = lesson_teach(&l, iterate, err);
    if (!code)
        code = lesson_save(&l, BY_AVERAGE, dir, &said, err);
    lesson_close(&l);
    return code;
}
