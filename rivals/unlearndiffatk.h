/* unlearndiffatk.h: the attack UnlearnDiffAtk: tokens before a prompt, found by projected gradient descent on
 * the denoising loss of a picture of the concept.
 * Not here: the derivative (gradients/gradient.h). Source: arXiv 2310.11868, equation 5; github.com
 * OPTML-Group/Diffusion-MU-Attack, src/attackers/text_grad_.py, as SAeUron's Diffusion-MU-Attack uses it. */
#ifndef SAEURON_UNLEARNDIFFATK_H
#define SAEURON_UNLEARNDIFFATK_H

#include "rivals/attempt.h"

typedef struct unlearndiffatk_options {
    size_t tokens;                  /* k, of the prefix */
    size_t iterations;              /* steps at each timestep; then a picture is drawn */
    size_t timesteps;               /* S: they are 1000/S/2, then every 1000/S-th */
    double rate, decay;             /* of Adam: learning rate, weight decay */
    bool   around;                  /* the derivative goes past the edit at a hook (AUDIT A6) */
} unlearndiffatk_options;

/* x0 [C,h,w]: the latents of a picture of the concept, from the same prompt and noise, with nothing
 * forgotten. The prompt has room for the tokens. */
int unlearndiffatk(attempt *a, const unlearndiffatk_options *o, const float *x0, saeuron_error *err);

/* Each row of y [k,V] = x [k,V], projected to the simplex, in place: clip(x - mu, 0, 1) whose sum is 1, mu
 * found by halving until two bounds lie within 1e-5 (TextGrad.bisection). */
void project_to_simplex(float *x, size_t k, size_t V);

#endif
