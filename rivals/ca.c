/* ca.c: Concept Ablation (ca.h).
 *
 *   anchor prompts --the model samples, guided--> x0 of each picture
 *   a picture, t of 1000, noise --> x = sqrt(a_t) x0 + sqrt(1 - a_t) noise
 *   the student: e = UNet'(x, t, anchor), held still --> mean (UNet'(x, t, target) - e)^2 --AdamW--> a step
 *
 * As published it trains kv, the keys and values of the cross-attentions.
 *
 * Where this parts from the published code: that takes 1,000 pictures by 25 steps of eta 1 and 100 steps of
 * batches of eight at rate 1.6e-5; here pictures are by DDIM (eta 0), and a batch is one picture, so that
 * there are eight times the steps at an eighth of the rate. It enlarges and crops pictures; here none is
 * changed.
 *
 * Not here: sampling, the loop (lesson.c), passes and steps (student.c). Letters: n values of the latents. */
#include "rivals/ca.h"

#include <string.h>

/* The pictures: of which pair each is, and its latents. */
typedef struct gallery { const ca_options *o; size_t *pair; float *x0; } gallery;

/* Draws each picture's anchor to the end. */
static int draw_anchors(lesson *l, gallery *g, saeuron_error *err)
{
    const saeuron_host *host = &l->x->host;
    int code = SAEURON_OK;
    for (size_t i = 0; i < g->o->pictures && !code; i++) {
        g->pair[i] = lesson_below(l, g->o->count);
        code = lesson_sample(l, BY_MODEL, g->o->pairs[g->pair[i]].anchor, l->ddim.steps, err);
        memcpy(g->x0 + i * l->n, l->latents, l->n * sizeof *g->x0);
        if (!code && host->progress && host->progress(host->user, "drawing anchors", i + 1, g->o->pictures))
            code = fail(err, SAEURON_ECANCEL, "stopped: nothing was written");
    }
    return code;
}

/* EQ 49: one iteration; the loss before its step. */
static int iterate(lesson *l, size_t number, double *loss, saeuron_error *err)
{
    const gallery *g = l->method;
    const size_t i = lesson_below(l, g->o->pictures), t = lesson_below(l, 1000);
    const anchored *pair = &g->o->pairs[g->pair[i]];
    const float *x0 = g->x0 + i * l->n, *anchor = l->states + pair->anchor * l->text;
    const float *target = l->states + pair->target * l->text;
    int code = lesson_noise(l, err);
    (void)number;
    if (code)
        return code;
    ddim_add_noise(&l->ddim, l->latents, x0, l->noise, (int)t, l->n);
    code = student_predict(l->s, BY_STUDENT, l->e0, l->latents, (int)t, anchor, err);
    return code ? code : student_step(l->s, &l->adam, 0, l->latents, (int)t, target, l->e0, loss, err);
}

int ca(saeuron_context *x, const ca_options *o, const char *dir, saeuron_error *err)
{
    metadata said = { .n = 0 };
    gallery g = { .o = o };
    lesson l;
    int code = lesson_open(&l, x, &o->lesson, "ca", false, err);
    if (!code && (!o->count || !o->pictures))
        code = fail(err, SAEURON_EUSAGE, "there is no prompt with an anchor, or no picture");
    if (!code) {
        g.pair = io_alloc(&x->host, o->pictures, sizeof *g.pair);
        g.x0 = io_alloc(&x->host, times(o->pictures, l.n), sizeof *g.x0);
        if (!g.pair || !g.x0)
            code = fail(err, SAEURON_ENOMEM, "no memory for %zu pictures' latents", o->pictures);
    }
    l.method = &g;
    l.adam.decay = o->weight_decay;
    l.adam.decoupled = true;
    metadata_add(&said, "pictures", "%zu", o->pictures);
    metadata_add(&said, "weight_decay", "%g", o->weight_decay);
    if (!code)
        code = draw_anchors(&l, &g, err);
    if (!code)
        code = lesson_teach(&l, iterate, err);
    if (!code)
        code = lesson_save(&l, BY_STUDENT, dir, &said, err);
    io_free(&x->host, g.x0);
    io_free(&x->host, g.pair);
    lesson_close(&l);
    return code;
}
