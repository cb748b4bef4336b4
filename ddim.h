/* ddim.h: the DDIM schedule, its step, and classifier-free guidance.
 * Not here: the loop over steps (saeuron.c). Source: diffusers DDIMScheduler. */
#ifndef SAEURON_DDIM_H
#define SAEURON_DDIM_H

#include "files/json.h"

enum { PREDICT_EPSILON, PREDICT_V };

typedef struct ddim {
    size_t train_steps, steps;
    int    prediction;
    bool   set_alpha_to_one;
    int    steps_offset;
    float  alphas_cumprod[1000];
    int    timesteps[1000];         /* of the chosen number of steps, in sampling order */
} ddim;

int  ddim_configure(ddim *d, json object, const char *path, saeuron_error *err);
int  ddim_set_timesteps(ddim *d, size_t steps, saeuron_error *err);
/* x [n] becomes the sample at the next timestep; e [n] is the model's output at step number i. */
void ddim_step(const ddim *d, float *x, const float *e, size_t i, size_t n);
/* e [n] = uncond + scale (cond - uncond), not fused; e may be uncond. */
void guide(float *e, const float *uncond, const float *cond, float scale, size_t n);

#endif
