/* esd.c: ESD (esd.h).
 *
 *   text c, k of S steps by the student, guided --> x at timestep t
 *   the model: e0 = UNet(x, t, ""), ec = UNet(x, t, c) --> target = e0 - eta (ec - e0)
 *   the student: mean (UNet'(x, t, c) - target)^2 --Adam--> a step on
 *
 * ESD-x trains xattn, for styles; ESD-u noxattn, for objects.
 *
 * Where published code parts from the paper: eta is 1 and 1,000 iterations of rate 1e-5 in the paper's code,
 * 2 and 200 of 5e-5 in that of 2025; there the model itself samples, not the student. The paper's code draws
 * t between two steps of the sampler; here, as in 2025, t is the sampler's next.
 *
 * Not here: sampling, the loop (lesson.c), passes and steps (student.c). Letters: n values of the latents. */
#include "rivals/esd.h"

/* EQ 47: one iteration; the loss before its step. */
static int iterate(lesson *l, size_t number, double *loss, saeuron_error *err)
{
    const esd_options *o = l->method;
    const size_t i = lesson_below(l, l->o->erased), k = lesson_below(l, l->ddim.steps);
    const int    t = l->ddim.timesteps[k];
    const float *c = l->states + i * l->text, eta = (float)o->negative;
    int code = lesson_sample(l, BY_STUDENT, i, k, err);
    (void)number;
    if (!code)
        code = student_predict(l->s, BY_MODEL, l->e0, l->latents, t, l->none, err);
    if (!code)
        code = student_predict(l->s, BY_MODEL, l->ec, l->latents, t, c, err);
    for (size_t j = 0; j < l->n && !code; j++)
        l->ec[j] = l->e0[j] - eta * (l->ec[j] - l->e0[j]);
    return code ? code : student_step(l->s, &l->adam, 0, l->latents, t, c, l->ec, loss, err);
}

int esd(saeuron_context *x, const esd_options *o, const char *dir, saeuron_error *err)
{
    metadata said = { .n = 0 };
    lesson l;
    int code = lesson_open(&l, x, &o->lesson, "esd", false, err);
    l.method = o;
    metadata_add(&said, "negative_guidance", "%g", o->negative);
    if (!code)
        code = lesson_teach(&l, iterate, err);
    if (!code)
        code = lesson_save(&l, BY_STUDENT, dir, &said, err);
    lesson_close(&l);
    return code;
}
