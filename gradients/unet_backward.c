/* unet_backward.c: UNet2DConditionModel backwards, module by module, each from its kept input.
 *
 *   dy --conv_out--> up blocks, last first --> mid block --> down blocks --conv_in--> dx
 *                     `-- skips: dskip --------------------------^      texts' keys, values --> dtext
 *
 * Not here: the forward pass (unet.c, which the functions here follow name by name), operations (backward.c).
 * Source: torch.autograd. Letters: as in unet.c; dX is the derivative of the loss by X. */
#include "gradients/unet_backward.h"
#include "files/print.h"

#include <string.h>

/* ---- one pass ---- */

typedef struct walk {
    backward *g;
    const unet *u;
    const unet_inputs *in;
    const tape *kept;
    float *silu_temb, *dtemb;       /* [1,time_width]; dtemb: summed over the ResNet blocks */
    float *dtext;                   /* summed over the cross-attentions */
    listener watch;
} walk;

static nn *of(const walk *w) { return w->g->c; }

/* sum [n] += the derivative by the input x of a linear layer. */
static void add_linear_backward(walk *w, float *sum, const float *dy, const float *x, const linear *l,
                                size_t M)
{
    nn *c = of(w);
    const size_t mark = arena_mark(c->work);
    float *d = arena_floats(c->work, times(M, l->in));
    linear_backward(w->g, d, dy, x, l, M);
    nn_add(c, sum, sum, d, times(M, l->in));
    arena_release(c->work, mark);
}

/* Of attend: dx [B,P,C], which comes in as the derivative by its output. x: its input. */
static void attend_backward(walk *w, const attention *a, const norm *before, float *dx, const float *x,
                            size_t P)
{
    nn *c = of(w);
    const unet_inputs *in = w->in;
    const size_t C = a->to_q.in, M = times(in->B, P), n = times(M, C), mark = arena_mark(c->work);
    const size_t N = a->text ? in->N : P, keys = times(in->B, N);
    float *h = arena_floats(c->work, n), *q = arena_floats(c->work, n), *o = arena_floats(c->work, n);
    float *k = a->text ? in->kv->k[a->text - 1] : arena_floats(c->work, n);
    float *v = a->text ? in->kv->v[a->text - 1] : arena_floats(c->work, n);
    float *dout = arena_floats(c->work, n), *dq = arena_floats(c->work, n);
    float *dk = arena_floats(c->work, times(keys, C)), *dv = arena_floats(c->work, times(keys, C));

    nn_layer_norm(c, h, x, before->gamma, before->beta, M, C, 1e-5f);
    apply_linear(c, q, h, &a->to_q, M);
    if (!a->text) {
        apply_linear(c, k, h, &a->to_k, M);
        apply_linear(c, v, h, &a->to_v, M);
    }
    nn_attention(c, o, q, k, v, in->B, P, N, a->heads, C / a->heads, false);

    linear_backward(w->g, dout, dx, o, &a->to_out, M);
    attention_backward(c, dq, dk, dv, dout, o, q, k, v, in->B, P, N, a->heads, C / a->heads, false);
    float *dh = dout; /* which is done with */
    const float *from = a->text ? in->text : h; /* what keys and values are made of */
    float *dfrom = a->text ? w->dtext : dh;
    linear_backward(w->g, dh, dq, h, &a->to_q, M);
    add_linear_backward(w, dfrom, dk, from, &a->to_k, keys);
    add_linear_backward(w, dfrom, dv, from, &a->to_v, keys);
    layer_norm_backward(w->g, dh, dh, x, before, M, 1e-5f);
    nn_add(c, dx, dx, dh, n);
    arena_release(c->work, mark);
}

/* Of feed_forward, likewise. */
static void feed_forward_backward(walk *w, const transformer *t, float *dx, const float *x, size_t P)
{
    nn *c = of(w);
    const size_t C = t->C, M = times(w->in->B, P), mark = arena_mark(c->work);
    float *h = arena_floats(c->work, times(M, C));
    float *f = arena_floats(c->work, times(M, 8 * C)), *df = arena_floats(c->work, times(M, 8 * C));
    float *g = arena_floats(c->work, times(M, 4 * C)), *dg = arena_floats(c->work, times(M, 4 * C));

    nn_layer_norm(c, h, x, t->norm3.gamma, t->norm3.beta, M, C, 1e-5f);
    apply_linear(c, f, h, &t->ff_in, M);
    nn_geglu(c, g, f, M, 4 * C);

    linear_backward(w->g, dg, dx, g, &t->ff_out, M);
    geglu_backward(c, df, dg, f, M, 4 * C);
    float *dh = g; /* which is done with */
    linear_backward(w->g, dh, df, h, &t->ff_in, M);
    layer_norm_backward(w->g, dh, dh, x, &t->norm3, M, 1e-5f);
    nn_add(c, dx, dx, dh, times(M, C));
    arena_release(c->work, mark);
}

/* Of transformer_forward, likewise, with C channels at path. */
static void transformer_backward(walk *w, const transformer *t, float *dx, const float *x, size_t H, size_t W,
                                 const char *path)
{
    static const char *const parts[3] = { "attn1", "attn2", "ff" };
    nn *c = of(w);
    const size_t B = w->in->B, P = H * W, n = times(times(B, P), t->C), mark = arena_mark(c->work);
    float *h = arena_floats(c->work, n), *d = arena_floats(c->work, n), *dh = arena_floats(c->work, n);
    float *g[4]; /* after proj_in, attn1, attn2, ff */

    nn_group_norm(c, h, x, t->norm.gamma, t->norm.beta, B, P, t->C, t->groups, 1e-6f, false);
    for (size_t i = 0; i < 4; i++)
        g[i] = arena_floats(c->work, n);
    apply_conv(c, g[0], h, &t->proj_in, B, H, W);
    for (size_t i = 0; i < 3; i++)
        nn_add(c, g[i + 1], tape_get(w->kept, "%s.transformer_blocks.0.%s", path, parts[i]), g[i], n);

    apply_conv_backward(w->g, d, dx, g[3], &t->proj_out, B, H, W);
    feed_forward_backward(w, t, d, g[2], P);
    attend_backward(w, &t->attn2, &t->norm2, d, g[1], P);
    attend_backward(w, &t->attn1, &t->norm1, d, g[0], P);
    apply_conv_backward(w->g, dh, d, h, &t->proj_in, B, H, W);
    group_norm_backward(w->g, dh, dh, x, &t->norm, B, P, t->groups, 1e-6f, false);
    nn_add(c, dx, dx, dh, n);
    arena_release(c->work, mark);
}

/* A ResNet block's, whose part by the time embedding is added to the others'. */
static void resnet_walk(walk *w, const resnet *r, float *dx, const float *dy, const float *x, size_t H,
                        size_t W)
{
    nn *c = of(w);
    const size_t mark = arena_mark(c->work), width = w->u->time_width;
    float *dtemb = arena_floats(c->work, width);
    resnet_backward(w->g, r, dx, dtemb, dy, x, w->silu_temb, w->in->B, H, W);
    nn_add(c, w->dtemb, w->dtemb, dtemb, width);
    arena_release(c->work, mark);
}

/* Layer j of a level: dx by the ResNet block's input x from d, which comes in as the derivative by the
 * layer's output, and is changed. */
static void layer_backward(walk *w, const unet_level *l, size_t j, float *dx, float *d, const float *x,
                           size_t H, size_t W, const char *path)
{
    char name[64];
    if (l->cross) {
        print_into(name, sizeof name, "%s.attentions.%zu", path, j);
        report(&w->watch, d, w->in->B, H, W, l->attentions[j].C, SAEURON_TAP_IMAGE, "%s", name);
        transformer_backward(w, &l->attentions[j], d, tape_get(w->kept, "%s.resnets.%zu", path, j), H, W,
                             name);
    }
    resnet_walk(w, &l->resnets[j], dx, d, x, H, W);
}

/* The output of layer j of a level at path. */
static float *layer_output(const walk *w, const unet_level *l, size_t j, const char *path)
{
    return tape_get(w->kept, "%s.%s.%zu", path, l->cross ? "attentions" : "resnets", j);
}

/* ---- the skips ---- */

/* What the down pass handed to the up pass, in the order it was made: each with its derivative. */
typedef struct skip { float *x, *d; size_t C; } skip;
typedef struct skips { skip at[LEVELS * LAYERS + 1]; size_t count; } skips;

static void push(walk *w, skips *s, float *x, size_t C, size_t level)
{
    const size_t P = times(unet_side(w->in->H, level), unet_side(w->in->W, level));
    s->at[s->count++] = (skip){ x, arena_floats(of(w)->work, times(times(w->in->B, P), C)), C };
}

static void list_skips(walk *w, skips *s)
{
    const unet *u = w->u;
    char path[40];
    s->count = 0;
    push(w, s, tape_get(w->kept, "conv_in"), u->channels[0], 0);
    for (size_t i = 0; i < u->levels; i++) {
        const unet_level *l = &u->down[i];
        print_into(path, sizeof path, "down_blocks.%zu", i);
        for (size_t j = 0; j < l->layers; j++)
            push(w, s, layer_output(w, l, j, path), u->channels[i], i);
        if (l->sampler.k)
            push(w, s, tape_get(w->kept, "%s.downsamplers.0", path), u->channels[i], i + 1);
    }
}

/* ---- blocks ---- */

/* Layer j of up block i: returns the derivative by the output of the module before, x [B,H,W,Cx]; the skip's
 * is set. d: by the layer's own output; is changed. */
static float *up_layer_backward(walk *w, size_t i, size_t j, float *d, const float *x, size_t Cx, skip *s)
{
    nn *c = of(w);
    const size_t level = w->u->levels - 1 - i;
    const size_t H = unet_side(w->in->H, level), W = unet_side(w->in->W, level);
    const size_t M = times(w->in->B, H * W);
    char path[40];
    float *dx = arena_floats(c->work, times(M, Cx));
    const size_t mark = arena_mark(c->work);
    float *both = arena_floats(c->work, times(M, Cx + s->C));
    float *dboth = arena_floats(c->work, times(M, Cx + s->C));
    print_into(path, sizeof path, "up_blocks.%zu", i);
    nn_concat(c, both, x, Cx, s->x, s->C, M);
    layer_backward(w, &w->u->up[i], j, dboth, d, both, H, W, path);
    concat_backward(dx, Cx, s->d, s->C, dboth, M);
    arena_release(c->work, mark);
    return dx;
}

/* The derivative by the input of the upsampler of up block i, x, from that by its output. */
static float *upsampler_backward(walk *w, size_t i, const float *d, const float *x)
{
    nn *c = of(w);
    const size_t below = w->u->levels - 1 - i, level = below - 1, C = w->u->channels[below], B = w->in->B;
    const size_t H = unet_side(w->in->H, level), W = unet_side(w->in->W, level);
    const size_t h = unet_side(w->in->H, below), v = unet_side(w->in->W, below);
    float *dx = arena_floats(c->work, times(times(B, h * v), C));
    const size_t mark = arena_mark(c->work), n = times(times(B, H * W), C);
    float *wide = arena_floats(c->work, n), *dwide = arena_floats(c->work, n);
    nn_upsample2x(c, wide, x, B, H, W, C);
    apply_conv_backward(w->g, dwide, d, wide, &w->u->up[i].sampler, B, H, W);
    upsample2x_backward(c, dx, dwide, B, H, W, C);
    arena_release(c->work, mark);
    return dx;
}

/* What the up pass had after its first n blocks, and its channels; of none, the mid block's output. */
static float *up_output(const walk *w, size_t n, size_t *C)
{
    const unet *u = w->u;
    const unet_level *l = &u->up[n ? n - 1 : 0];
    char path[40];
    *C = u->channels[n ? u->levels - n : u->levels - 1];
    if (!n)
        return tape_get(w->kept, "mid_block.resnets.1");
    print_into(path, sizeof path, "up_blocks.%zu", n - 1);
    return l->sampler.k ? tape_get(w->kept, "%s.upsamplers.0", path)
                        : layer_output(w, l, l->layers - 1, path);
}

/* All up blocks: returns the derivative by the mid block's output from d, that by the last up block's. */
static float *up_backward(walk *w, float *d, skips *s)
{
    const unet *u = w->u;
    size_t taken = 0;
    char path[40];
    for (size_t i = u->levels; i-- > 0;) {
        const unet_level *l = &u->up[i];
        print_into(path, sizeof path, "up_blocks.%zu", i);
        if (l->sampler.k)
            d = upsampler_backward(w, i, d, layer_output(w, l, l->layers - 1, path));
        for (size_t j = l->layers; j-- > 0; taken++) {
            size_t Cx = u->channels[u->levels - 1 - i];
            const float *x = j ? layer_output(w, l, j - 1, path) : up_output(w, i, &Cx);
            d = up_layer_backward(w, i, j, d, x, Cx, &s->at[taken]);
        }
    }
    return d;
}

/* The mid block: dx by its input x from d, which is changed. */
static void mid_backward(walk *w, float *dx, float *d, const float *x, size_t level)
{
    const unet *u = w->u;
    nn *c = of(w);
    const size_t H = unet_side(w->in->H, level), W = unet_side(w->in->W, level), mark = arena_mark(c->work);
    const size_t C = u->channels[level];
    float *dh = arena_floats(c->work, times(times(w->in->B, H * W), C));
    static const char name[] = "mid_block.attentions.0";
    resnet_walk(w, &u->mid_resnet[1], dh, d, tape_get(w->kept, "%s", name), H, W);
    report(&w->watch, dh, w->in->B, H, W, C, SAEURON_TAP_IMAGE, "%s", name);
    transformer_backward(w, &u->mid_attention, dh, tape_get(w->kept, "mid_block.resnets.0"), H, W, name);
    resnet_walk(w, &u->mid_resnet[0], dx, dh, x, H, W);
    arena_release(c->work, mark);
}

/* All down blocks: to each skip's derivative that by what was made of it is added, the last first. */
static void down_backward(walk *w, skips *s)
{
    const unet *u = w->u;
    nn *c = of(w);
    size_t k = s->count;
    char path[40];
    for (size_t i = u->levels; i-- > 0;) {
        const unet_level *l = &u->down[i];
        const size_t H = unet_side(w->in->H, i), W = unet_side(w->in->W, i);
        const size_t modules = l->layers + (l->sampler.k > 0);
        print_into(path, sizeof path, "down_blocks.%zu", i);
        for (size_t j = modules; j-- > 0;) {
            const skip *y = &s->at[--k], *x = y - 1;
            const size_t mark = arena_mark(c->work), n = times(times(w->in->B, H * W), x->C);
            const conv_shape shape = { .B = w->in->B, .H = H, .W = W, .ci = x->C, .co = y->C, .k = 3,
                                       .stride = 2, .pad_before = 1, .pad_after = 1 };
            float *dx = arena_floats(c->work, n);
            if (j == l->layers)
                conv_backward(w->g, dx, y->d, x->x, &l->sampler, &shape);
            else
                layer_backward(w, l, j, dx, y->d, x->x, H, W, path);
            nn_add(c, x->d, x->d, dx, n);
            arena_release(c->work, mark);
        }
    }
}

/* ---- the time embedding ---- */

/* Of embed_time: its layers' weights, if wanted; the timestep has no derivative. */
static void time_backward(walk *w)
{
    nn *c = of(w);
    const unet *u = w->u;
    const size_t mark = arena_mark(c->work), width = u->time_width;
    float *s = arena_floats(c->work, u->channels[0]), *ds = arena_floats(c->work, u->channels[0]);
    float *h = arena_floats(c->work, width), *a = arena_floats(c->work, width);
    float *d = arena_floats(c->work, width);
    nn_timestep_embedding(s, w->in->t, u->channels[0], u->flip_sin_to_cos, u->freq_shift);
    apply_linear(c, h, s, &u->time_1, 1);
    nn_silu(c, a, h, width);
    silu_backward(c, w->dtemb, w->dtemb, tape_get(w->kept, "time_embedding"), width);
    linear_backward(w->g, d, w->dtemb, a, &u->time_2, 1);
    silu_backward(c, d, d, h, width);
    linear_backward(w->g, ds, d, s, &u->time_1, 1);
    arena_release(c->work, mark);
}

/* ---- all of it ---- */

void unet_backward(backward *g, const unet *u, float *dx, float *dtext, const float *dy,
                   const unet_inputs *in, const tape *kept, const tap *watch)
{
    nn *c = g->c;
    const size_t mark = arena_mark(c->work), C = u->channels[0], top = u->levels - 1;
    const size_t P = times(in->H, in->W), n = times(times(in->B, P), C);
    walk   w = { .g = g, .u = u, .in = in, .kept = kept, .dtext = dtext, .watch = { .c = c, .tap = watch } };
    skips  s;
    size_t Cx;
    const float *last = up_output(&w, u->levels, &Cx);

    w.silu_temb = arena_floats(c->work, u->time_width);
    w.dtemb = arena_floats(c->work, u->time_width);
    nn_silu(c, w.silu_temb, tape_get(kept, "time_embedding"), u->time_width);
    if (w.dtemb && dtext) {
        memset(w.dtemb, 0, u->time_width * sizeof *w.dtemb);
        memset(dtext, 0, in->B * in->N * u->text_width * sizeof *dtext);
    }
    list_skips(&w, &s);
    float *h = arena_floats(c->work, n), *d = arena_floats(c->work, n);
    nn_group_norm(c, h, last, u->conv_norm_out.gamma, u->conv_norm_out.beta, in->B, P, C, u->groups, u->eps,
                  true);
    apply_conv_backward(g, d, dy, h, &u->conv_out, in->B, in->H, in->W);
    group_norm_backward(g, d, d, last, &u->conv_norm_out, in->B, P, u->groups, u->eps, true);

    d = up_backward(&w, d, &s);
    const skip *end = &s.at[s.count - 1];
    const size_t m = times(times(in->B, unet_side(in->H, top) * unet_side(in->W, top)), end->C);
    float *dmid = arena_floats(c->work, m);
    mid_backward(&w, dmid, d, end->x, top);
    nn_add(c, end->d, end->d, dmid, m);
    down_backward(&w, &s);
    apply_conv_backward(g, dx, s.at[0].d, in->x, &u->conv_in, in->B, in->H, in->W);
    time_backward(&w);
    arena_release(c->work, mark);
}
