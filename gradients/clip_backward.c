/* clip_backward.c: CLIPTextTransformer backwards, layer by layer, each from its kept input.
 *
 *   dy --final_layer_norm--> layers, last first --> dx --rows by id--> dW of token_embedding
 *
 * Not here: the forward pass (clip.c, which the functions here follow name by name), operations (backward.c).
 * Source: torch.autograd. Letters: as in clip.c; dX is the derivative of the loss by X. */
#include "gradients/clip_backward.h"

#include <string.h>

/* Of x + mlp(layer_norm2(x)): dx [M,D], which comes in as the derivative by the sum. */
static void mlp_backward(backward *g, const clip *t, const clip_layer *l, float *dx, const float *x, size_t M)
{
    nn *c = g->c;
    const size_t D = t->D, n = times(M, D), wide = times(M, t->F), mark = arena_mark(c->work);
    float *h = arena_floats(c->work, n), *d = arena_floats(c->work, n);
    float *f = arena_floats(c->work, wide), *df = arena_floats(c->work, wide);
    float *a = arena_floats(c->work, wide);

    nn_layer_norm(c, h, x, l->layer_norm2.gamma, l->layer_norm2.beta, M, D, t->eps);
    apply_linear(c, f, h, &l->fc1, M);
    (t->act == ACT_GELU ? nn_gelu : nn_quick_gelu)(c, a, f, wide);

    linear_backward(g, df, dx, a, &l->fc2, M);
    (t->act == ACT_GELU ? gelu_backward : quick_gelu_backward)(c, df, df, f, wide);
    linear_backward(g, d, df, h, &l->fc1, M);
    layer_norm_backward(g, d, d, x, &l->layer_norm2, M, t->eps);
    nn_add(c, dx, dx, d, n);
    arena_release(c->work, mark);
}

/* Of encoder_layer: dx [B,N,D], which comes in as the derivative by its output, from its input x. What the
 * forward pass had is made again; between its halves lies x + self_attn(layer_norm1(x)). */
static void layer_backward(backward *g, const clip *t, const clip_layer *l, float *dx, const float *x,
                           size_t B, size_t N)
{
    nn *c = g->c;
    const size_t D = t->D, M = times(B, N), n = times(M, D), mark = arena_mark(c->work);
    float *h = arena_floats(c->work, n), *q = arena_floats(c->work, n), *k = arena_floats(c->work, n);
    float *v = arena_floats(c->work, n), *o = arena_floats(c->work, n), *middle = arena_floats(c->work, n);
    float *dq = arena_floats(c->work, n), *dk = arena_floats(c->work, n), *dv = arena_floats(c->work, n);
    float *d = arena_floats(c->work, n), *dh = arena_floats(c->work, n);

    nn_layer_norm(c, h, x, l->layer_norm1.gamma, l->layer_norm1.beta, M, D, t->eps);
    apply_linear(c, q, h, &l->q_proj, M);
    apply_linear(c, k, h, &l->k_proj, M);
    apply_linear(c, v, h, &l->v_proj, M);
    nn_attention(c, o, q, k, v, B, N, N, t->heads, D / t->heads, true);
    apply_linear(c, d, o, &l->out_proj, M);
    nn_add(c, middle, x, d, n);

    mlp_backward(g, t, l, dx, middle, M);
    linear_backward(g, d, dx, o, &l->out_proj, M);
    attention_backward(c, dq, dk, dv, d, o, q, k, v, B, N, N, t->heads, D / t->heads, true);
    linear_backward(g, dh, dq, h, &l->q_proj, M);
    linear_backward(g, d, dk, h, &l->k_proj, M);
    nn_add(c, dh, dh, d, n);
    linear_backward(g, d, dv, h, &l->v_proj, M);
    nn_add(c, dh, dh, d, n);
    layer_norm_backward(g, dh, dh, x, &l->layer_norm1, M, t->eps);
    nn_add(c, dx, dx, dh, n);
    arena_release(c->work, mark);
}

/* dW of token_embedding [vocab,D]: to each id's row the derivatives of its tokens are added, tokens
 * ascending; of position_embedding [positions,D] likewise. Other rows are +0. */
static void embeddings_backward(backward *g, const clip *t, const float *dx, const int32_t *ids, size_t B,
                                size_t N)
{
    const struct { const weight *w; size_t rows; } table[] = {
        { &t->token_embedding, t->vocab }, { &t->position_embedding, t->positions }
    };
    for (size_t k = 0; k < 2; k++) {
        float *d;
        if (!is_wanted(g, table[k].w, &d) || !d)
            continue;
        memset(d, 0, table[k].rows * t->D * sizeof *d);
        for (size_t i = 0; i < B * N; i++) {
            float *row = d + (k ? i % N : (size_t)ids[i]) * t->D;
            for (size_t j = 0; j < t->D; j++)
                row[j] = row[j] + dx[i * t->D + j];
        }
    }
}

void clip_backward(backward *g, const clip *t, float *dx, const float *dy, const int32_t *ids, size_t B,
                   size_t N, const tape *kept)
{
    nn *c = g->c;
    const size_t D = t->D, M = times(B, N), mark = arena_mark(c->work);
    float *first = arena_floats(c->work, times(M, D));
    float *row = arena_floats(c->work, D);
    const float *last = t->layers ? tape_get(kept, "encoder.layers.%zu", t->layers - 1) : first;

    clip_embed(t, first, row, ids, B, N);
    layer_norm_backward(g, dx, dy, last, &t->final_layer_norm, M, t->eps);
    for (size_t i = t->layers; i-- > 0;)
        layer_backward(g, t, &t->layer[i], dx, i ? tape_get(kept, "encoder.layers.%zu", i - 1) : first, B, N);
    embeddings_backward(g, t, dx, ids, B, N);
    arena_release(c->work, mark);
}
