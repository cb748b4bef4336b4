/* student.c: a UNet that learns (student.h).
 *
 * The copy shares the model's memory but for the tensors that are trained; these lie in memory of its own, as
 * float32, beside Adam's moments and the derivative.
 *
 * Not here: the loss's target (esd.c, sdd.c), the passes themselves (unet.c, gradients/unet_backward.c).
 * Letters: N tokens, D wide text states, n values of the latents. */
#include "rivals/student.h"
#include "files/print.h"
#include "gradients/unet_backward.h"
#include "layers/machine.h"
#include "rivals/edited.h"

#include <math.h>
#include <string.h>

/* A tensor that is trained: its name, its place in the copy, and its n numbers. */
typedef struct learned {
    char   name[160];
    size_t offset, n;
    int    ndim;
    float *p, *m, *v, *d, *average; /* of the student, Adam's moments, the derivative */
} learned;

struct student {
    saeuron_context *x;
    unet     net[3];                /* BY_MODEL: what the context had; the copy; the average's */
    bool     averaged;
    size_t   h, w, n;
    bool   (*is_trained)(const char *name);
    learned *list;
    wanted  *wants;                 /* of the list: fields of net, derivatives */
    size_t   count, room, numbers;
    float   *numbers_of_all;        /* [4 or 5,numbers]: p, m, v, d, average */
    nn       c;
    arena    work, keep;
    void    *memory;
    tape     kept;
    /* of the pass at hand: */
    const unet  *by;
    const float *text, *in, *target; /* [C,h,w] */
    float   *out;                   /* [C,h,w], or NULL */
    int      timestep;
    double   loss;
};

/* ---- what is trained ---- */

/* Notes a tensor that is trained; beyond the list's room it is only counted. */
static void note(void *user, const char *name, const void *field, int ndim, const size_t *shape)
{
    student *s = user;
    size_t n = 1;
    if (!s->is_trained(name))
        return;
    for (int i = 0; i < ndim; i++)
        n = times(n, shape[i]);
    if (s->count < s->room) {
        learned *l = &s->list[s->count];
        *l = (learned){ .offset = (size_t)((const char *)field - (const char *)&s->net[BY_STUDENT]), .n = n,
                        .ndim = ndim };
        print_into(l->name, sizeof l->name, "%s", name);
    }
    s->count++;
    s->numbers = s->numbers > SIZE_MAX - n ? SIZE_MAX : s->numbers + n;
}

/* Walks over the copy, which a walk fills with nonsense. */
static void list_tensors(student *s, saeuron_error *err)
{
    arena  only = { 0 };
    binder b = { .keep = &only, .list = note, .list_user = s, .err = err };
    s->count = s->numbers = 0;
    s->net[BY_STUDENT] = s->net[BY_MODEL];
    unet_bind(&b, &s->net[BY_STUDENT]);
    s->net[BY_STUDENT] = s->net[BY_MODEL];
}

/* The field of one of the UNets becomes memory of its own, with the model's values. */
static void own_tensor(student *s, int by, const learned *l, float *values)
{
    void *field = (char *)&s->net[by] + l->offset;
    if (l->ndim > 1) {
        weight *w = field;
        nn_widen(values, *w, 0, l->n);
        *w = (weight){ .data = (const unsigned char *)values, .type = DT_OWN };
    } else {
        const float **v = field;
        memcpy(values, *v, l->n * sizeof *values);
        *v = values;
    }
}

static int own_all(student *s, saeuron_error *err)
{
    const saeuron_host *host = &s->x->host;
    const size_t kinds = s->averaged ? 5 : 4;
    float *at;
    list_tensors(s, err);
    if (!s->count)
        return fail(err, SAEURON_EUSAGE, "no tensor of the UNet is trained");
    s->room = s->count;
    s->list = io_alloc(host, s->room, sizeof *s->list);
    s->wants = io_alloc(host, s->room, sizeof *s->wants);
    s->numbers_of_all = io_alloc(host, times(kinds, s->numbers), sizeof *s->numbers_of_all);
    if (!s->list || !s->wants || !s->numbers_of_all)
        return fail(err, SAEURON_ENOMEM, "no memory to train %zu numbers", s->numbers);
    list_tensors(s, err);
    s->net[BY_AVERAGE] = s->net[BY_MODEL];
    at = s->numbers_of_all;
    memset(at, 0, kinds * s->numbers * sizeof *at);
    for (size_t i = 0; i < s->count; i++) {
        learned *l = &s->list[i];
        l->p = at;
        l->m = at + s->numbers;
        l->v = at + 2 * s->numbers;
        l->d = at + 3 * s->numbers;
        l->average = s->averaged ? at + 4 * s->numbers : NULL;
        at += l->n;
        own_tensor(s, BY_STUDENT, l, l->p);
        if (s->averaged)
            own_tensor(s, BY_AVERAGE, l, l->average);
        s->wants[i] = (wanted){ (char *)&s->net[BY_STUDENT] + l->offset, NULL }; /* planning */
    }
    return SAEURON_OK;
}

/* ---- a pass ---- */

/* Forward, and with a target the loss and the way back; planning where the arenas have no memory. */
static void run(student *s)
{
    nn *c = &s->c;
    const saeuron_context *x = s->x;
    const size_t N = tokenizer_max_length(x->tokenizer), C = x->unet.in_channels, P = s->h * s->w, n = s->n;
    const size_t mark = arena_mark(c->work);
    const tap record = { tape_record, &s->kept, true };
    backward g = { c, s->wants, s->count, NULL };
    text_kv kv;
    float *in = arena_floats(c->work, n), *e = arena_floats(c->work, n), *de = arena_floats(c->work, n);
    float *target = arena_floats(c->work, n), *dx = arena_floats(c->work, n);
    float *dtext = arena_floats(c->work, N * x->text.D);

    if (in)
        nn_from_nchw(in, s->in, 1, C, P);
    unet_text(c, s->by, &kv, s->text, 1, N);
    s->kept.count = 0;
    unet_forward(c, s->by, e, in, (float)s->timestep, &kv, 1, s->h, s->w, s->target ? &record : NULL);
    if (e && s->out)
        nn_to_nchw(s->out, e, 1, C, P);
    if (s->target && !s->keep.failed && !c->work->failed) {
        if (target)
            nn_from_nchw(target, s->target, 1, C, P);
        s->loss = denoising_loss(de, e, target, n);
        const unet_inputs given = { in, (float)s->timestep, s->text, &kv, 1, N, s->h, s->w };
        unet_backward(&g, s->by, dx, dtext, de, &given, &s->kept, NULL);
    }
    arena_release(c->work, mark);
}

/* Plans the longest pass, and gives the arenas their memory. */
static int prepare(student *s, saeuron_error *err)
{
    static const float any;
    int code = choose_kernels(&s->c, s->x->host.isa, s->x->threads, &s->work, err);
    if (code)
        return code;
    s->kept.keep = &s->keep;
    s->by = &s->net[BY_STUDENT];
    s->target = &any; /* is not read: there is no memory for it */
    run(s);
    s->target = NULL;
    if (s->work.failed || s->keep.failed || s->keep.peak > SIZE_MAX / 2 - s->work.peak ||
        !(s->memory = io_alloc(&s->x->host, s->keep.peak + s->work.peak + 128, 1)))
        return fail(err, SAEURON_ENOMEM, "no memory for a pass of the UNet and its way back");
    s->keep = (arena){ .base = s->memory, .size = s->keep.peak + 64 };
    s->work = (arena){ .base = s->keep.base + s->keep.size, .size = s->work.peak + 64 };
    for (size_t i = 0; i < s->count; i++)
        s->wants[i].d = s->list[i].d;
    return SAEURON_OK;
}

int student_open(student **out, saeuron_context *x, size_t h, size_t w, bool (*trained)(const char *name),
                 bool averaged, saeuron_error *err)
{
    student *s;
    int code = check_environment(x->threads, err);
    *out = NULL;
    if (code)
        return code;
    if (!(s = io_alloc(&x->host, 1, sizeof *s)))
        return fail(err, SAEURON_ENOMEM, "no memory for a student");
    *s = (student){ .x = x, .h = h, .w = w, .n = x->unet.in_channels * h * w, .is_trained = trained,
                    .averaged = averaged };
    s->net[BY_MODEL] = x->unet;
    code = own_all(s, err);
    if (!code)
        code = prepare(s, err);
    if (code)
        student_close(s);
    else
        *out = s;
    return code;
}

void student_close(student *s)
{
    if (!s)
        return;
    const saeuron_host *host = &s->x->host;
    student_swap(s, BY_MODEL);
    io_free(host, s->memory);
    io_free(host, s->numbers_of_all);
    io_free(host, s->wants);
    io_free(host, s->list);
    io_free(host, s);
}

void student_swap(student *s, int by) { s->x->unet = s->net[by]; }

/* ---- a step ---- */

static int pass(student *s, saeuron_error *err)
{
    arena_release(&s->work, 0);
    arena_release(&s->keep, 0);
    run(s);
    if (s->work.failed || s->keep.failed)
        return fail(err, SAEURON_ENOMEM, "the plan of a student's memory was too small: this is a bug");
    return SAEURON_OK;
}

int student_predict(student *s, int by, float *e, const float *x, int timestep, const float *text,
                    saeuron_error *err)
{
    s->by = &s->net[by];
    s->in = x;
    s->text = text;
    s->timestep = timestep;
    s->target = NULL;
    s->out = e;
    const int code = pass(s, err);
    if (!code && nn_first_bad(e, s->n) < s->n)
        return fail(err, SAEURON_ENAN, "what the UNet predicts is not finite: take a smaller learning rate");
    return code;
}

/* All derivatives times min(1, limit / (norm + 1e-6)), norm that of all together (clip_grad_norm_). */
static void clip_derivatives(student *s, double limit)
{
    double squares = 0;
    for (size_t i = 0; i < s->count; i++)
        squares += nn_sum16_sq(s->list[i].d, s->list[i].n, 0.0);
    const double wanted_scale = limit / (sqrt(squares) + 1e-6);
    const float  scale = wanted_scale < 1 ? (float)wanted_scale : 1.0f;
    for (size_t i = 0; scale < 1.0f && i < s->count; i++)
        for (size_t j = 0; j < s->list[i].n; j++)
            s->list[i].d[j] = scale * s->list[i].d[j];
}

int student_step(student *s, const optimizer *o, double limit, const float *x, int timestep,
                 const float *text, const float *target, double *loss, saeuron_error *err)
{
    s->by = &s->net[BY_STUDENT];
    s->in = x;
    s->text = text;
    s->timestep = timestep;
    s->target = target;
    s->out = NULL;
    const int code = pass(s, err);
    if (code)
        return code;
    for (size_t i = 0; i < s->count; i++)
        if (nn_first_bad(s->list[i].d, s->list[i].n) < s->list[i].n)
            return fail(err, SAEURON_ENAN, "the derivative by unet.%s is not finite: take a smaller learning "
                        "rate", s->list[i].name);
    if (limit > 0)
        clip_derivatives(s, limit);
    for (size_t i = 0; i < s->count; i++) {
        learned *l = &s->list[i];
        optimizer_update(o, &s->c, l->p, l->m, l->v, l->d, l->n);
    }
    *loss = s->loss;
    return SAEURON_OK;
}

void student_average(student *s, double decay)
{
    const float kept = (float)decay, share = (float)(1 - decay);
    for (size_t i = 0; i < s->count; i++) {
        float *average = s->list[i].average;
        for (size_t j = 0; j < s->list[i].n; j++)
            average[j] = kept * average[j] + share * s->list[i].p[j];
    }
}

int student_save(const student *s, int by, const char *dir, const char *const *metadata, saeuron_error *err)
{
    const saeuron_host *host = &s->x->host;
    changed *list = io_alloc(host, s->count, sizeof *list);
    if (!list)
        return fail(err, SAEURON_ENOMEM, "no memory for a list of %zu tensors", s->count);
    for (size_t i = 0; i < s->count; i++)
        list[i] = (changed){ s->list[i].name, by == BY_AVERAGE ? s->list[i].average : s->list[i].p };
    const int code = save_edited(s->x, dir, list, s->count, metadata, err);
    io_free(host, list);
    return code;
}
