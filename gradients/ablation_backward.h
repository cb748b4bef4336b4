/* ablation_backward.h: the derivative through what is done at a hook.
 *
 *   derivative by the ablated output --ablation_backward--> by the output that the UNet made
 *
 * Not here: the ablation (select.h), the UNet backwards (unet_backward.h). Source: torch.autograd of the
 * released utils/hooks.py without its no_grad (AUDIT A6). */
#ifndef SAEURON_ABLATION_BACKWARD_H
#define SAEURON_ABLATION_BACKWARD_H

#include "arithmetic/nn.h"
#include "select.h"

/* d [M,d], the derivative by ablate's output, becomes that by its input x [M,d]: through the latents that
 * TopK or GroupMax keeps, at the step's factors. Which latents are kept, and which are above their threshold,
 * has no derivative. x NULL: plans (nn.h). */
void ablation_backward(nn *c, const ablation *a, float *d, const float *x, size_t M, size_t step);

#endif
