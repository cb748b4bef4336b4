/* optimizer.h: Adam and AdamW for what is trained by a backward pass.
 *
 *   derivatives --optimizer_step once, optimizer_update of every tensor--> parameters
 *
 * Not here: the SAE's trainer, which updates row by row (train.c). Source: torch.optim.Adam, AdamW. */
#ifndef SAEURON_OPTIMIZER_H
#define SAEURON_OPTIMIZER_H

#include "arithmetic/nn.h"

typedef struct optimizer {
    double lr, beta1, beta2, eps;
    double decay;                   /* weight_decay */
    bool   decoupled;               /* AdamW: p = p - lr decay p first; else Adam: g = g + decay p */
    double power1, power2;          /* beta1^t, beta2^t; 0 before the first step */
    adam   constants;               /* of this step */
} optimizer;

/* Begins the next step: t counts on. */
void optimizer_step(optimizer *o);
/* p [n] and its moments m, v, which begin as zeros, by the derivative g, which is used up. */
void optimizer_update(const optimizer *o, const nn *c, float *p, float *m, float *v, float *g, size_t n);

#endif
