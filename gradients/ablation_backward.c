/* ablation_backward.c: the derivative through encode, edit and decode at a hook.
 *
 *   Paper     y = x + sum of (g - 1) f_i W_dec_i         dx = dy + sum of ((g - 1) dy.W_dec_i) W_enc_i
 *   None      y = sum of g f_i W_dec_i + b_dec           dx =      sum of (g dy.W_dec_i) W_enc_i
 *   Released  y = that + (sum of f_i W_dec_i + b_dec - x)   dx =   sum of ((g + 1) dy.W_dec_i) W_enc_i - dy
 *
 * over the latents i with f_i > 0, f_i = W_enc_i (x - b_dec) + b_enc_i; g the factor of the edit, else 1.
 * Not here: the edit itself (select.c). */
#include "gradients/ablation_backward.h"
#include "arithmetic/threads.h"
#include "saeuron.h"

#include <string.h>

/* EQ 41: One token: d [width] by its `count` latents. row [2 width]: scratch. */
static void token_backward(const ablation *a, float *d, const uint32_t *idx, const float *f, size_t count,
                           size_t step, int residual, float *row)
{
    const sae *s = &a->sae;
    const size_t n = s->d;
    float *sum = row + n;
    memset(sum, 0, n * sizeof *sum);
    for (size_t j = 0; j < count; j++) {
        const float g = ablation_factor(a, idx[j], f[j], step);
        const float share = residual == SAEURON_RESIDUAL_PAPER ? g - 1.0f
                          : residual == SAEURON_RESIDUAL_NONE ? g : g + 1.0f;
        if (share == 0)
            continue;
        nn_widen(row, s->W_dec, idx[j] * n, n);
        const float along = share * nn_dot(d, 1, row, 1, n);
        nn_widen(row, s->encoder.w, idx[j] * n, n);
        for (size_t i = 0; i < n; i++)
            sum[i] = sum[i] + along * row[i];
    }
    for (size_t i = 0; i < n; i++)
        d[i] = residual == SAEURON_RESIDUAL_PAPER ? d[i] + sum[i]
             : residual == SAEURON_RESIDUAL_NONE ? sum[i] : sum[i] - d[i];
}

void ablation_backward(nn *c, const ablation *a, float *d, const float *x, size_t M, size_t step)
{
    const size_t n = a->sae.d, k = a->sae.k, mark = arena_mark(c->work), threads = (size_t)c->threads;
    const int residual = a->reconstruct ? SAEURON_RESIDUAL_NONE : a->residual;
    uint32_t *idx = arena_bytes(c->work, times(M, k), sizeof *idx);
    float    *f = arena_floats(c->work, times(M, k));
    uint32_t *count = arena_bytes(c->work, M, sizeof *count);
    float    *row = arena_floats(c->work, times(threads, 2 * n));
    sae_encode(c, &a->sae, idx, f, count, row ? x : NULL, M);
    OMP(omp parallel for num_threads(c->threads) if (c->threads > 1))
    for (size_t m = 0; m < (row ? M : 0); m++)
        token_backward(a, d + m * n, idx + m * k, f + m * k, count[m], step, residual,
                       row + (size_t)thread_number() * 2 * n);
    arena_release(c->work, mark);
}
