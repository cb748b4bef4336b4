/* ddim.h: the DDIM schedule, its step, and classifier-free guidance.
 *
 *   scheduler_config.json --ddim_configure, ddim_set_timesteps--> ddim --guide, ddim_step--> latents
 *
 * Not here: the loop over steps (saeuron.c). Source: diffusers DDIMScheduler. */
#ifndef SAEURON_DDIM_H
#define SAEURON_DDIM_H

#include "files/json.h"

enum { PREDICT_EPSILON, PREDICT_V };
enum { LEADING, LINSPACE, TRAILING }; /* timestep_spacing */

typedef struct ddim {
    size_t train_steps, steps;
    int    prediction, spacing;
    bool   set_alpha_to_one;
    int    steps_offset;
    float  alphas_cumprod[1000];
    int    timesteps[1000];         /* of the chosen number of steps, in sampling order */
} ddim;

/* Reads the object of a saved scheduler, DDIM's or one that is trained alike; others are refused. */
int  ddim_configure(ddim *d, json object, const char *path, saeuron_error *err);
/* Fills timesteps, i = 0 .. steps-1. "leading": (steps-1-i) (1000 / steps) + steps_offset; "linspace": from
 * 999 to 0; "trailing": from 999 by 1000 / steps; both rounded, without the offset. SAEURON_EUSAGE for a
 * number of steps that has no such timesteps. */
int  ddim_set_timesteps(ddim *d, size_t steps, saeuron_error *err);
/* x [n] becomes the sample at the next timestep; e [n] is the model's output at step i (eta 0). Equation:
 * DDIM 12, x = sqrt(a') x0 + sqrt(1 - a') noise. */
void ddim_step(const ddim *d, float *x, const float *e, size_t i, size_t n);
/* x [n] = sqrt(a) x0 + sqrt(1 - a) noise, a of timestep t, which is below train_steps; not fused. Source:
 * DDIMScheduler.add_noise; DDIM, equation 4. */
void ddim_add_noise(const ddim *d, float *x, const float *x0, const float *noise, int t, size_t n);
/* e [n] = uncond + scale (cond - uncond), not fused; e may be uncond. */
void guide(float *e, const float *uncond, const float *cond, float scale, size_t n);

#endif
