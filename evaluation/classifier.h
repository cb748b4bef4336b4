/* classifier.h: a classifier's folder opened; pictures resized, normalised and judged.
 * Not here: the public entries (saeuron.h), the network (vit.h), what answers are counted for (metrics.h). */
#ifndef SAEURON_CLASSIFIER_H
#define SAEURON_CLASSIFIER_H

#include "evaluation/vit.h"
#include "saeuron.h"

/* y [h,w,3] = Pillow's Image.resize((w, h), BILINEAR) of x [H,W,3], to the byte (contract 5, Resize). */
void resize_bilinear(nn *c, unsigned char *y, size_t w, size_t h, const unsigned char *x, size_t W, size_t H);
/* x [n,3] = (byte / 255 - mean) / std, unfused: torchvision's ToTensor and Normalize. */
void vit_pixels(const vit *v, float *x, const unsigned char *rgb, size_t n);

/* As saeuron_classify, and the penultimate features [count,classifier_width] of each picture, on which its
 * logits rest (vit_forward); features may be NULL. */
int classifier_judge(saeuron_classifier *k, const unsigned char *rgb, size_t count, size_t width,
                     size_t height, float *logits, float *features, saeuron_error *err);
size_t classifier_width(const saeuron_classifier *k);

struct saeuron_classifier {
    saeuron_host host;
    char     dir[1024];
    vit      net;
    tensors  file;
    void    *memory;                /* what bind_file converted or packed */
    const char **name;              /* [classes], in one block with the texts; NULL: there are none */
    int      threads;
};

#endif
