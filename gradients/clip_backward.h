/* clip_backward.h: the CLIP text encoder backwards: from the derivative of a loss by the text states to those
 * by the token embeddings and weights.
 *
 *   clip_forward --tape_record, its tap--> tape --clip_backward--> dx, wanted weights
 *
 * Not here: the text states' own derivative (unet_backward.h). Source: torch.autograd of transformers
 * CLIPTextModel. */
#ifndef SAEURON_CLIP_BACKWARD_H
#define SAEURON_CLIP_BACKWARD_H

#include "clip.h"
#include "gradients/backward.h"

/* dx [B,N,D], by the embeddings of the ids [B,N] (of tokens and positions together: inputs_embeds), from dy
 * [B,N,D], and the derivatives by the encoder's weights that g wants. kept: of the pass of those ids. */
void clip_backward(backward *g, const clip *t, float *dx, const float *dy, const int32_t *ids, size_t B,
                   size_t N, const tape *kept);

#endif
