/* unet_backward.h: the UNet backwards: from the derivative of a loss by the predicted noise to those by the
 * latents, the text states and weights.
 *
 *   unet_forward --tape_record, its tap--> tape --unet_backward--> dx, dtext, wanted weights
 *
 * Not here: the loss (gradient.h), one operation's derivative (backward.h), an edit's at a hook
 * (ablation_backward.h). Source: torch.autograd of diffusers UNet2DConditionModel. */
#ifndef SAEURON_UNET_BACKWARD_H
#define SAEURON_UNET_BACKWARD_H

#include "gradients/backward.h"
#include "unet.h"

/* What unet_forward computed y from. */
typedef struct unet_inputs {
    const float *x;                 /* [B,H,W,in_channels] */
    float t;
    const float *text;              /* [B,N,text_width] */
    const text_kv *kv;              /* unet_text of it */
    size_t B, N, H, W;
} unet_inputs;

/* dx [B,H,W,in_channels] and dtext [B,N,text_width] from dy [B,H,W,out_channels], and the derivatives by the
 * UNet's weights that g wants. watch (may be NULL) sees the derivative by every hook's output, the last
 * first, and may change it in place. kept: of the pass from `in`. Activations inside a module are made
 * again. */
void unet_backward(backward *g, const unet *u, float *dx, float *dtext, const float *dy,
                   const unet_inputs *in, const tape *kept, const tap *watch);

#endif
