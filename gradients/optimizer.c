/* optimizer.c: Adam and AdamW (optimizer.h). Not here: one number's step (adam32 in arithmetic/number.h). */
#include "gradients/optimizer.h"

#include <math.h>

void optimizer_step(optimizer *o)
{
    o->power1 = (o->power1 > 0 ? o->power1 : 1) * o->beta1;
    o->power2 = (o->power2 > 0 ? o->power2 : 1) * o->beta2;
    o->constants = (adam){ (float)(1 - o->beta1), (float)o->beta2, (float)(1 - o->beta2),
                           (float)(o->lr / (1 - o->power1)), (float)sqrt(1 - o->power2), (float)o->eps };
}

/* EQ 46: Adam's step after g = g + decay p, or, decoupled, after p = p (1 - lr decay). */
void optimizer_update(const optimizer *o, const nn *c, float *p, float *m, float *v, float *g, size_t n)
{
    const float decay = (float)o->decay, kept = (float)(1 - o->lr * o->decay);
    for (size_t i = 0; o->decay > 0 && i < n; i++)
        if (o->decoupled)
            p[i] = p[i] * kept;
        else
            g[i] = g[i] + decay * p[i];
    nn_adam(c, p, m, v, g, 1.0f, &o->constants, n);
}
