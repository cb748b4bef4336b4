/* gradient.c: a pass of text encoder and UNet forwards, the loss, and the same way back.
 *
 * Everything runs twice: first on arenas without memory, which plans, then for good. Not here: the passes
 * backwards (unet_backward.c, clip_backward.c). Letters: N tokens, D the width of text states, n values of
 * the latents. */
#include "gradients/gradient.h"
#include "arithmetic/rng.h"
#include "forget.h"
#include "gradients/ablation_backward.h"
#include "gradients/clip_backward.h"
#include "gradients/unet_backward.h"
#include "layers/machine.h"

#include <string.h>

/* ---- what it is the derivative of ---- */

enum { OF_TEXT, OF_LATENTS, OF_TOKENS, OF_UNET, OF_ENCODER };

typedef struct subject {
    int    kind;                    /* OF_* */
    const void *field;              /* of a tensor: where its network holds it */
    int    ndim;
    size_t shape[TENSOR_DIMS];
} subject;

/* A walk over a copy of a network looks for a tensor by its name. */
typedef struct search { const char *name; const char *copy, *real; subject *found; } search;

static void compare(void *user, const char *name, const void *field, int ndim, const size_t *shape)
{
    search *s = user;
    if (strcmp(name, s->name) && (strncmp(name, "text_model.", 11) || strcmp(name + 11, s->name)))
        return;
    s->found->field = s->real + ((const char *)field - s->copy);
    s->found->ndim = ndim;
    memcpy(s->found->shape, shape, (size_t)ndim * sizeof *shape);
}

/* Looks for the tensor of that name in a network of `size` bytes; found->field stays NULL: it has none. */
static int find_tensor(const saeuron_context *ctx, const char *name, const void *network, size_t size,
                       void (*walk)(binder *, void *), subject *found, saeuron_error *err)
{
    arena  keep = { 0 };
    void  *copy = io_alloc(&ctx->host, size, 1);
    search s = { name, copy, network, found };
    binder b = { .keep = &keep, .list = compare, .list_user = &s, .err = err };
    if (!copy)
        return fail(err, SAEURON_ENOMEM, "no memory to look for a tensor");
    memcpy(copy, network, size);
    walk(&b, copy);
    io_free(&ctx->host, copy);
    return SAEURON_OK;
}

/* name without PREFIX; NULL: it begins otherwise. */
static const char *after(const char *name, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(name, prefix, n) ? NULL : name + n;
}

static int find_subject(const saeuron_context *ctx, const gradient_options *o, subject *s, saeuron_error *err)
{
    static const char *const names[] = { "text", "latents", "tokens" };
    const char *of_unet = after(o->of, "unet."), *of_text = after(o->of, "text_encoder.");
    const size_t states[3] = { 1, tokenizer_max_length(ctx->tokenizer), ctx->text.D };
    const size_t latents[4] = { 1, ctx->unet.in_channels, o->h, o->w };
    int code = SAEURON_OK;
    *s = (subject){ .kind = OF_TEXT, .ndim = 3 };
    while (s->kind <= OF_TOKENS && strcmp(o->of, names[s->kind]))
        s->kind++;
    if (s->kind == OF_LATENTS)
        s->ndim = 4;
    memcpy(s->shape, s->kind == OF_LATENTS ? latents : states, (size_t)s->ndim * sizeof *s->shape);
    if (s->kind <= OF_TOKENS)
        return SAEURON_OK;
    s->kind = OF_UNET;
    if (!of_text)
        code = find_tensor(ctx, of_unet ? of_unet : o->of, &ctx->unet, sizeof ctx->unet, unet_bind, s, err);
    if (!code && !s->field && !of_unet) {
        s->kind = OF_ENCODER;
        code = find_tensor(ctx, of_text ? of_text : o->of, &ctx->text, sizeof ctx->text, clip_bind, s, err);
    }
    if (!code && !s->field)
        code = fail(err, SAEURON_EUSAGE, "there is no tensor %.100s in the UNet or the text encoder: name "
                    "text, latents, tokens or one of those that `saeuron info --tensors` lists", o->of);
    return code;
}

int gradient_shape(const saeuron_context *ctx, const gradient_options *o, size_t shape[TENSOR_DIMS],
                   int *ndim, saeuron_error *err)
{
    subject s;
    const int code = find_subject(ctx, o, &s, err);
    if (code)
        return code;
    *ndim = s.ndim;
    memcpy(shape, s.shape, sizeof s.shape);
    return SAEURON_OK;
}

/* ---- one pass ---- */

/* An edit at a hook: the row of its statistics, and the output that it began with. */
typedef struct edited { const ablation *a; size_t step; float *x; } edited;

struct gradients {
    saeuron_context *ctx;
    const gradient_options *o;      /* of the pass at hand */
    subject  of;
    float   *d;                     /* the result; NULL while planning */
    double   loss;
    float   *x, *target, *noise;    /* [1,h,w,C] */
    int32_t *ids;                   /* [N] */
    tape     text, unet;            /* of each network's forward pass */
    edited   hook[HOOKS];
    size_t   hooks;
    nn       c;
    arena    work, keep, turning;   /* scratch; what a pass keeps; what all passes keep */
    turned_weights turned;
    bool     many;                  /* passes follow: turned is used, and progress is the caller's */
    size_t   modules, turns;        /* of the UNet's pass, on the way back, once planned */
    size_t   turned_at;             /* so many of the turns */
    unsigned char *memory;          /* of the arenas; NULL: not yet planned */
    saeuron_error *err;
    int      code;
};

/* The edit of this module; NULL: there is none. */
static edited *edit_at(gradients *w, const char *name)
{
    for (size_t i = 0; i < w->hooks; i++)
        if (!strcmp(w->hook[i].a->hook, name))
            return &w->hook[i];
    return NULL;
}

/* Tells the host's progress; it may stop the pass. */
static int tell(gradients *w, const char *stage, size_t done, size_t all)
{
    const saeuron_host *host = &w->ctx->host;
    if (!w->code && !w->many && host->progress && host->progress(host->user, stage, done, all))
        w->code = fail(w->err, SAEURON_ECANCEL, "stopped: nothing was written");
    return w->code;
}

/* Ablates a hook's output, keeping what it was, and records what the backward pass needs. */
static int at_module(void *user, nn *c, const module_output *m)
{
    gradients *w = user;
    const size_t M = m->H * m->W;
    edited *e = edit_at(w, m->name);
    if (m->x && nn_first_bad(m->x, M * m->C) < M * m->C) {
        w->code = fail(w->err, SAEURON_ENAN, "unet.%s is not finite: the latents or the weights are too "
                       "large", m->name);
        return w->code;
    }
    if (e) {
        e->x = arena_floats(&w->keep, M * m->C);
        if (m->x && e->x)
            memcpy(e->x, m->x, M * m->C * sizeof *m->x);
        ablate(c, e->a, m->x, M, e->step);
    }
    const int code = tape_record(&w->unet, c, m);
    return code || !m->x ? code : tell(w, "forward", w->unet.count, w->modules);
}

/* The derivative by an ablated output becomes that by what the UNet made. The backward pass has no way to
 * stop; what it ends with is then dropped. */
static int back_at_module(void *user, nn *c, const module_output *m)
{
    gradients *w = user;
    const edited *e = edit_at(w, m->name);
    if (e && !w->o->around)
        ablation_backward(c, e->a, m->x, e->x, m->H * m->W, e->step);
    w->turned_at++;
    return m->x ? tell(w, "backward", w->turned_at, w->turns) : 0;
}

/* A pass there and back; planning where the arenas have no memory. */
static void run(gradients *w)
{
    nn *c = &w->c;
    const saeuron_context *ctx = w->ctx;
    const size_t N = tokenizer_max_length(ctx->tokenizer), D = ctx->text.D, P = w->o->h * w->o->w;
    const size_t n = P * ctx->unet.out_channels, mark = arena_mark(c->work);
    const wanted  list = { w->of.field, w->d };
    backward      g = { c, &list, w->of.field ? 1 : 0, w->many ? &w->turned : NULL };
    const tap     of_text = { tape_record, &w->text, true }, of_unet = { at_module, w, true };
    const tap     back = { back_at_module, w, true };
    text_kv       kv;
    float *states = arena_floats(c->work, N * D), *dtext = arena_floats(c->work, N * D);
    float *dtokens = arena_floats(c->work, N * D);
    float *e = arena_floats(c->work, n), *de = arena_floats(c->work, n);
    float *dx = arena_floats(c->work, P * ctx->unet.in_channels);

    clip_forward(c, &ctx->text, states, w->ids, 1, N, &of_text);
    unet_text(c, &ctx->unet, &kv, states, 1, N);
    unet_forward(c, &ctx->unet, e, w->x, (float)w->o->timestep, &kv, 1, w->o->h, w->o->w, &of_unet);
    if (w->code || w->keep.failed || c->work->failed)
        return;
    w->loss = denoising_loss(de, e, w->target, n);
    const unet_inputs in = { w->x, (float)w->o->timestep, states, &kv, 1, N, w->o->h, w->o->w };
    unet_backward(&g, &ctx->unet, dx, dtext, de, &in, &w->unet, &back);
    if (!w->code && (w->of.kind == OF_TOKENS || w->of.kind == OF_ENCODER))
        clip_backward(&g, &ctx->text, dtokens, dtext, w->ids, 1, N, &w->text);
    if (w->d && w->of.kind == OF_LATENTS)
        nn_to_nchw(w->d, dx, 1, ctx->unet.in_channels, P);
    else if (w->d && !w->of.field)
        memcpy(w->d, w->of.kind == OF_TEXT ? dtext : dtokens, N * D * sizeof *w->d);
    arena_release(c->work, mark);
}

/* ---- before it ---- */

/* The row of a hook's statistics for the timestep: its own, or with map_steps the nearest. */
static int row_of(const gradients *w, const ablation *a, size_t *row)
{
    const stats *s = &a->stats;
    *row = stats_row(s, w->o->timestep);
    if (!a->count || w->o->map_steps || s->timesteps[*row] == w->o->timestep)
        return SAEURON_OK;
    return fail(w->err, SAEURON_EUSAGE, "the statistics at %s know no timestep %d; the nearest is %d: use "
                "it, or map_steps", a->hook, w->o->timestep, s->timesteps[*row]);
}

/* What is done at the hooks, without guidance. */
static int list_edits(gradients *w)
{
    for (size_t i = 0; i < w->ctx->hooks; i++) {
        ablation *a = w->ctx->hook[i];
        if (!ablation_active(a))
            continue;
        a->residual = w->o->residual;
        a->shared = w->o->shared;
        if (ablation_half(a) == SAEURON_HALF_UNCONDITIONAL)
            return fail(w->err, SAEURON_EUSAGE, "half unconditional: a derivative has no guidance, so there "
                        "is no such half");
        if ((a->count || a->steers) && a->residual == SAEURON_RESIDUAL_RELEASED)
            return fail(w->err, SAEURON_EUSAGE, "residual released: the released hooks split a guided batch, "
                        "and a derivative has no guidance");
        w->hook[w->hooks].a = a;
        const int code = row_of(w, a, &w->hook[w->hooks].step);
        if (code)
            return code;
        w->hooks++;
    }
    return SAEURON_OK;
}

static int check_latents(const gradients *w, const char *name, const float *x, size_t n)
{
    const size_t bad = x ? nn_first_bad(x, n) : n;
    if (bad < n)
        return fail(w->err, SAEURON_ENAN, "%s: element %zu is not finite", name, bad);
    return SAEURON_OK;
}

static int check(const gradients *w)
{
    const gradient_options *o = w->o;
    const size_t n = w->ctx->unet.in_channels * o->h * o->w;
    int code = o->ids ? SAEURON_OK : tokenizer_check(o->prompt, "the prompt", w->err);
    if (!code && (o->timestep < 0 || o->timestep > 999))
        code = fail(w->err, SAEURON_EUSAGE, "timestep must be from 0 to 999");
    if (!code && (!o->h || !o->w || o->h > 1024 || o->w > 1024))
        code = fail(w->err, SAEURON_EUSAGE, "sides of the latents must be from 1 to 1024");
    if (!code && n % 16 && !(o->latents && o->target))
        code = fail(w->err, SAEURON_EUSAGE, "latents of %zu values are no multiple of 16, torch.randn's "
                    "block: give both latents and target", n);
    if (!code && w->ctx->unet.out_channels != w->ctx->unet.in_channels)
        code = fail(w->err, SAEURON_EUSAGE, "this UNet predicts %zu channels of %zu: no noise to compare "
                    "with", w->ctx->unet.out_channels, w->ctx->unet.in_channels);
    if (!code)
        code = check_latents(w, "latents", o->latents, n);
    return code ? code : check_latents(w, "target", o->target, n);
}

/* The pass's latents, target and ids. */
static int fill_inputs(gradients *w)
{
    const gradient_options *o = w->o;
    const size_t C = w->ctx->unet.in_channels, P = o->h * o->w, n = C * P;
    if (!(o->latents && o->target) && !rng_randn(w->noise, o->seed, n, 0, n))
        return fail(w->err, SAEURON_EUSAGE, "latents of %zu values are too few for torch.randn's stream", n);
    nn_from_nchw(w->x, o->latents ? o->latents : w->noise, 1, C, P);
    nn_from_nchw(w->target, o->target ? o->target : w->noise, 1, C, P);
    if (!o->ids)
        return tokenizer_encode(w->ctx->tokenizer, w->ids, NULL, NULL, o->prompt, w->err);
    for (size_t i = 0; i < tokenizer_max_length(w->ctx->tokenizer); i++) {
        if (o->ids[i] < 0 || (size_t)o->ids[i] >= w->ctx->text.vocab)
            return fail(w->err, SAEURON_EUSAGE, "ids: there is no token %ld", (long)o->ids[i]);
        w->ids[i] = o->ids[i];
    }
    return SAEURON_OK;
}

/* ---- many passes ---- */

/* Runs a pass without memory; *bytes: of one block for all arenas. */
static int plan(gradients *w, size_t *bytes)
{
    const int code = choose_kernels(&w->c, w->ctx->host.isa, w->ctx->threads, &w->work, w->err);
    if (code)
        return code;
    w->text.keep = w->unet.keep = &w->keep;
    w->turned.keep = &w->turning;
    run(w);
    if (w->code)
        return w->code;
    const size_t kept = w->keep.peak + w->turning.peak;
    if (w->work.failed || w->keep.failed || w->turning.failed || kept > SIZE_MAX / 2 - w->work.peak)
        return fail(w->err, SAEURON_ENOMEM, "latents of this size need more memory than can be addressed");
    *bytes = kept + w->work.peak + 192;
    return SAEURON_OK;
}

/* Plans, and gives the arenas their memory. */
static int plan_and_allocate(gradients *w)
{
    size_t bytes = 0;
    int    code = plan(w, &bytes);
    if (!code && !(w->memory = io_alloc(&w->ctx->host, bytes, 1)))
        code = fail(w->err, SAEURON_ENOMEM, "no memory for the %zu MB that this derivative needs: smaller "
                    "latents need less", bytes / 1000000 + 1);
    if (code)
        return code;
    w->keep = (arena){ .base = w->memory, .size = w->keep.peak + 64 };
    w->turning = (arena){ .base = w->keep.base + w->keep.size, .size = w->turning.peak + 64 };
    w->work = (arena){ .base = w->turning.base + w->turning.size, .size = w->work.peak + 64 };
    w->turned = (turned_weights){ .keep = &w->turning };
    w->modules = w->unet.count;
    w->turns = w->turned_at;
    return SAEURON_OK;
}

int gradient_memory(saeuron_context *ctx, size_t h, size_t w, size_t *bytes, saeuron_error *err)
{
    const gradient_options o = { .of = "tokens", .h = h, .w = w };
    gradients *of = io_alloc(&ctx->host, 1, sizeof *of);
    if (!of)
        return fail(err, SAEURON_ENOMEM, "no memory to plan a derivative");
    *of = (gradients){ .ctx = ctx, .o = &o, .of = { .kind = OF_TOKENS }, .err = err };
    const int code = plan(of, bytes);
    io_free(&ctx->host, of);
    return code;
}

static int open_passes(gradients **out, saeuron_context *ctx, const gradient_options *o, bool many,
                       saeuron_error *err)
{
    gradients *w;
    int code = check_environment(ctx->threads, err);
    *out = NULL;
    if (code)
        return code;
    if (!(w = io_alloc(&ctx->host, 1, sizeof *w)))
        return fail(err, SAEURON_ENOMEM, "no memory for a derivative");
    *w = (gradients){ .ctx = ctx, .o = o, .many = many, .err = err };
    code = find_subject(ctx, o, &w->of, err);
    if (!code)
        code = check(w);
    if (!code) {
        const size_t n = ctx->unet.in_channels * o->h * o->w, N = tokenizer_max_length(ctx->tokenizer);
        w->x = io_alloc(&ctx->host, n, 3 * sizeof *w->x);
        w->ids = io_alloc(&ctx->host, N, sizeof *w->ids);
        if (w->x && w->ids) {
            w->target = w->x + n;
            w->noise = w->x + 2 * n;
        } else {
            code = fail(err, SAEURON_ENOMEM, "no memory for a derivative");
        }
    }
    if (code)
        gradient_close(w);
    else
        *out = w;
    return code;
}

int gradient_open(gradients **w, saeuron_context *ctx, const gradient_options *o, saeuron_error *err)
{
    return open_passes(w, ctx, o, true, err);
}

void gradient_close(gradients *w)
{
    if (!w)
        return;
    const saeuron_host *host = &w->ctx->host;
    io_free(host, w->memory);
    io_free(host, w->ids);
    io_free(host, w->x);
    io_free(host, w);
}

int gradient_next(gradients *w, const gradient_options *o, float *d, double *loss, saeuron_error *err)
{
    int code;
    w->o = o;
    w->err = err;
    w->code = SAEURON_OK;
    w->d = NULL;
    w->hooks = w->text.count = w->unet.count = w->turned_at = 0;
    code = check(w);
    if (!code)
        code = list_edits(w);
    if (!code)
        code = fill_inputs(w);
    if (!code && !w->memory)
        code = plan_and_allocate(w);
    if (code)
        return code;
    w->text.count = w->unet.count = w->turned_at = 0;
    arena_release(&w->keep, 0);
    arena_release(&w->work, 0);
    w->d = d;
    run(w);
    code = w->code;
    if (!code && (w->keep.failed || w->turning.failed || w->work.failed))
        code = fail(err, SAEURON_ENOMEM, "the plan of this derivative's memory was too small: this is a bug");
    size_t all = 1;
    for (int i = 0; i < w->of.ndim; i++)
        all *= w->of.shape[i];
    if (!code && nn_first_bad(d, all) < all)
        code = fail(err, SAEURON_ENAN, "the derivative is not finite: the latents, the target or the weights "
                    "are too large");
    *loss = w->loss;
    return code;
}

int gradient(saeuron_context *ctx, const gradient_options *o, float *d, double *loss, saeuron_error *err)
{
    gradients *w;
    int code = open_passes(&w, ctx, o, false, err);
    if (code)
        return code;
    code = gradient_next(w, o, d, loss, err);
    if (!code)
        code = context_unchanged(ctx, err);
    gradient_close(w);
    return code;
}
